"""Short programs made of many small objects that refer to each other, some in cycles."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable


class Tree:
    """A node of a binary tree that knows its parent: every tree is one big cycle."""

    __slots__ = ("left", "parent", "right")

    def __init__(self, parent: Tree | None, depth: int) -> None:
        self.parent = parent
        self.left = Tree(self, depth - 1) if depth else None
        self.right = Tree(self, depth - 1) if depth else None

    def count(self) -> int:
        """Return the number of nodes."""
        return 1 + (self.left.count() if self.left else 0) + (self.right.count() if self.right else 0)


def binary_trees() -> int:
    """Make and drop trees of several depths while a long-lived one stands."""
    standing = Tree(None, 13)
    total = 0
    for depth in range(4, 13, 2):
        for _ in range(1 << (13 - depth)):
            total += Tree(None, depth).count()
    return total + standing.count()


class Packet:
    """A message between the scheduler's tasks."""

    def __init__(self, sender: Task, kind: int) -> None:
        self.sender, self.kind, self.data = sender, kind, [0, 0, 0, 0]


class Task:
    """A task with a queue, a priority, and a function that handles one packet."""

    def __init__(self, name: str, priority: int, handle: Callable[[Task, Packet], None]) -> None:
        self.name, self.priority, self.handle = name, priority, handle
        self.queue: deque[Packet] = deque()
        self.peers: list[Task] = []
        self.done = 0


def scheduler(packets: int = 60_000) -> dict[str, int]:
    """Run six tasks that pass packets to each other, the most urgent first; return what each handled."""

    def worker(task: Task, packet: Packet) -> None:
        for i in range(4):
            packet.data[i] = (packet.data[i] + task.priority * (i + 1)) % 26
        peer = task.peers[(task.done + packet.kind) % len(task.peers)]
        if task.done % 3:
            packet.sender = task
            peer.queue.append(packet)
        else:
            peer.queue.append(Packet(task, (packet.kind + 1) % 4))

    tasks = [Task(f"task {n}", n, worker) for n in range(1, 7)]
    for task in tasks:
        task.peers = [other for other in tasks if other is not task]
        task.queue.extend(Packet(task, kind) for kind in range(4))
    for _ in range(packets):
        ready = max(
            (task for task in tasks if task.queue), key=lambda task: task.priority + len(task.queue) * 2
        )
        ready.done += 1
        ready.handle(ready, ready.queue.popleft())
    return {task.name: task.done for task in tasks}


class Variable:
    """A value with the constraints that read and write it."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.readers: list[Equality] = []


class Equality:
    """Keeps ``target = source × scale + offset``."""

    def __init__(self, source: Variable, target: Variable, scale: float, offset: float) -> None:
        self.source, self.target, self.scale, self.offset = source, target, scale, offset
        source.readers.append(self)

    def enforce(self) -> bool:
        """Make it hold; return whether the target changed."""
        value = self.source.value * self.scale + self.offset
        changed = value != self.target.value
        self.target.value = value
        return changed


def constraints(length: int = 1_000) -> float:
    """Build a chain and a fan of one-way constraints and plan and push values through them."""
    first = Variable(1.0)
    chain = [first]
    for _ in range(length):
        chain.append(Variable(0.0))
        Equality(chain[-2], chain[-1], 1.0, 0.5)
    for i in range(length):
        Equality(chain[i], Variable(0.0), 10.0, float(i))
    for value in range(20):
        first.value = float(value)
        waiting = list(first.readers)
        while waiting:
            constraint = waiting.pop()
            if constraint.enforce():
                waiting.extend(constraint.target.readers)
    return chain[-1].value


class Point:
    """A crossing of the board; `group` is shared by all stones of a chain."""

    def __init__(self, place: int) -> None:
        self.place, self.stone = place, 0
        self.around: list[Point] = []
        self.group: Group | None = None


class Group:
    """A chain of stones of one colour."""

    def __init__(self, colour: int) -> None:
        self.colour = colour
        self.points: set[Point] = set()

    def has_liberty(self) -> bool:
        """Return whether any stone of the chain has a free crossing beside it."""
        return any(near.stone == 0 for point in self.points for near in point.around)


def go_board(games: int = 20, size: int = 9) -> int:
    """Play random games on a small board, capturing as the rules say; return the stones left over."""
    pick = random.Random(3)
    total = 0
    for _ in range(games):
        points = [Point(i) for i in range(size * size)]
        for point in points:
            row, column = divmod(point.place, size)
            for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= r < size and 0 <= c < size:
                    point.around.append(points[r * size + c])
        for turn in range(160):
            point = points[int(pick.random() * len(points))]
            if point.stone == 0:
                _play(point, 1 + turn % 2)
        total += sum(1 for point in points if point.stone)
    return total


def _play(point: Point, colour: int) -> None:
    """Put a stone there, join its chains, take what it captures."""
    point.stone = colour
    point.group = group = Group(colour)
    group.points.add(point)
    for near in point.around:
        if near.stone == colour and near.group is not None and near.group is not group:
            group.points |= near.group.points
    for member in group.points:
        member.group = group
    for near in point.around:
        other = near.group
        if near.stone not in (0, colour) and other is not None and not other.has_liberty():
            for captured in other.points:
                captured.stone, captured.group = 0, None
    if not group.has_liberty():
        for member in group.points:
            member.stone, member.group = 0, None
