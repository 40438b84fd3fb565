"""Small objects by the hundred thousand: dropped at once, in order, from the top of a tree, or at random."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple


class Pair:
    """An object with slots."""

    __slots__ = ("first", "second")

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second


class Plain:
    """An object with a dict."""

    def __init__(self, name: str, value: int) -> None:
        self.name, self.value = name, value


class Row(NamedTuple):
    """A tuple with names."""

    key: int
    weight: float
    label: str


def small_objects(count: int = 40_000) -> float:
    """Build rows of small objects of several kinds, add something up, drop all of them, again and again."""
    total = 0.0
    for turn in range(2):
        triples = [(i, i + 0.5, turn) for i in range(count)]
        pairs = [Pair(i, one) for i, one in enumerate(triples)]
        plain = [Plain("plain", i + turn) for i in range(count)]
        rows = [Row(i, i * 0.25, "row") for i in range(count)]
        boxes = [[one] for one in pairs]
        total += sum(one.second[1] for one in pairs) + sum(one.value for one in plain)
        total += sum(row.weight for row in rows) + sum(box[0].first for box in boxes)
        for a, b in zip(triples, rows, strict=True):  # short-lived ones
            x, y = (a[0] * 1.5, b.key), [a, b]
            total += x[0] + len(y)
    return total


def grow(depth: int, seed: int) -> Any:
    """Return a tree of dicts, lists and tuples, as a parser would make."""
    if depth == 0:
        return {"leaf": seed, "text": f"leaf {seed}"}
    below = [grow(depth - 1, seed * 3 + i) for i in range(3)]
    kind = seed % 3
    if kind == 0:
        return {"id": seed, "below": below}
    return (seed, *below) if kind == 1 else below


def renew(tree: Any) -> Any:
    """Return a copy in which every number is larger by one, without changing the tree."""
    if isinstance(tree, dict):
        return {key: renew(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(renew, tree))
    return tree + 1 if isinstance(tree, int) else tree


def leaves(tree: Any) -> int:
    """Return the sum of the numbers in it."""
    if isinstance(tree, dict):
        return sum(map(leaves, tree.values()))
    if isinstance(tree, (list, tuple)):
        return sum(map(leaves, tree))
    return tree if isinstance(tree, int) else 0


def data_trees(depth: int = 9) -> int:
    """Grow a tree of 30,000 nodes, renew it a few times, and chains 900 deep, taken apart recursively."""
    tree = grow(depth, 1)
    for _ in range(4):
        tree = renew(tree)
    total = leaves(tree)
    for _ in range(30):
        chain: Any = None
        for i in range(900):
            chain = (i, chain)
        total += depth_of(chain)
    return total


def depth_of(chain: Any) -> int:
    """Return the length of a chain, by recursion."""
    return 0 if chain is None else 1 + depth_of(chain[1])


def messages(count: int) -> Iterator[Any]:
    """Yield objects of mixed kinds and sizes, as they come in through a socket."""
    for i in range(count):
        kind = i % 8
        if kind == 0:
            yield {"id": i, "body": "x" * (i % 300), "tags": [i, i + 1]}
        elif kind == 1:
            yield (i, i * 2.5, str(i))
        elif kind == 2:
            yield bytes(i % 2_000)
        elif kind == 3:
            yield [i] * (i % 40)
        elif kind == 4:
            yield Plain(f"message {i}", i)
        elif kind == 5:
            yield Pair(i * 1.25, None)
        elif kind == 6:
            yield bytearray(i % 700)
        else:
            yield {i, i + 1, i + 2}


def queue_churn(waiting: int = 30_000, count: int = 120_000) -> int:
    """Push mixed messages through a queue, first in, first out, and read something of each."""
    queue: deque[Any] = deque()
    total = 0
    for message in messages(count):
        queue.append(message)
        if len(queue) > waiting:
            oldest = queue.popleft()
            total += len(oldest) if hasattr(oldest, "__len__") else 1
    return total + len(queue)


def random_lifetimes(live: int = 20_000, count: int = 90_000) -> int:
    """Keep a table of mixed objects and replace one at random all the time: what makes holes in a heap."""
    pick = random.Random(11).random
    table: list[Any] = [None] * live
    for message in messages(count):
        table[int(pick() * live)] = message
        if pick() < 0.1:
            table[int(pick() * live)] = "y" * int(pick() * pick() * 4_000)
    return sum(1 for one in table if one is not None) + sum(len(one) for one in table if type(one) is str)
