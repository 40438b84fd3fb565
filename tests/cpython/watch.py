"""What the programs under test use to make garbage, to see it go, and to find the clone.

Runs in the interpreter under test. The clone is found as anyone could find it: among the children
of the process, of which a program of these tests has no other unless it says so.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import midden

SEED = int(os.environ.get("MIDDEN_SEED", "0"))


class Node:
    """Something that can be in a cycle, carries a value and takes weak references."""

    def __init__(self, value: int) -> None:
        self.value = value
        self.other: Any = None
        self.text = f"value {value}"

    def whole(self) -> bool:
        """Whether its memory is still its own."""
        return self.text == f"value {self.value}"


def age() -> None:
    """Let everything that lives grow into the oldest generation."""
    gc.collect(0)
    gc.collect(1)


def cycle(value: int, members: int = 3) -> Node:
    """A ring of new nodes; returns one."""
    nodes = [Node(value + i) for i in range(members)]
    for left, right in zip(nodes, nodes[1:] + nodes[:1]):
        left.other = right
    return nodes[0]


class Dead:
    """Old garbage: rings that were alive long enough to grow old, and are not any more."""

    def __init__(self, rings: int, members: int = 3) -> None:
        held = [cycle(i * members, members) for i in range(rings)]
        was = gc.isenabled()
        gc.disable()
        self.gone = 0
        self.seen = [weakref.ref(node, self._count) for node in held]
        age()
        if was:
            gc.enable()
        del held

    def _count(self, reference: object) -> None:
        self.gone += 1

    def left(self) -> int:
        """How many rings have not been reclaimed."""
        return len(self.seen) - self.gone


class Live:
    """An old structure with cycles, with everything in it checked by `whole`."""

    def __init__(self, size: int = 3000) -> None:
        self.nodes = [Node(i) for i in range(size)]
        order = random.Random(SEED).sample(range(size), size)
        for node, index in zip(self.nodes, order):
            node.other = self.nodes[index]
        self.order = order
        self.table = {node.text: [node, (node.value, {node.value})] for node in self.nodes}
        age()

    def check(self) -> None:
        """Raise if anything in it is not as it was made."""
        for value, (node, index) in enumerate(zip(self.nodes, self.order)):
            assert type(node) is Node and node.value == value and node.whole(), f"live node {value} is damaged"
            assert node.other is self.nodes[index], f"live node {value} refers elsewhere"
            assert self.table[node.text] == [node, (value, {value})], f"the entry of live node {value} is damaged"


def churn(until: Callable[[], object] = lambda: False, seconds: float = 10.0) -> bool:
    """Make young garbage, so that collections happen, until something is true; whether it became so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if until():
            return True
        for number in range(300):
            kept: list[Any] = [number]
            kept.append(kept)
    return bool(until())


def wait_for(until: Callable[[], object], seconds: float = 10.0) -> bool:
    """Do nothing until something is true; whether it became so."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def landed() -> bool:
    """Whether no snapshot is in flight."""
    return not midden.stats()["in_flight"]


def clones() -> list[int]:
    """The living children of this process. (/proc/PID/task/TID/children is not in every kernel.)"""
    own, found = os.getpid(), []
    others = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != own]
    # The youngest first, and the older ones not at all, unless numbers have begun anew.
    younger = sorted((pid for pid in others if pid > own), reverse=True)
    for pid in younger or others:
        fields = status_fields(pid)
        if fields[1:2] == [str(own)] and fields[0] not in "ZX":
            found.append(pid)
    return found


def status_fields(pid: int) -> list[str]:
    """What /proc/PID/stat says behind the name: the state, the parent, …; empty if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()
    except OSError:
        return []


def state(pid: int) -> str:
    """The kernel's letter for what a process does; "" if there is none."""
    return (status_fields(pid) or [""])[0]


_ballast: list[Any] = []


def ballast(objects: int = 300_000) -> None:
    """Make the heap so large that a clone is busy long enough to be caught."""
    if not _ballast:
        was = gc.isenabled()
        gc.disable()
        _ballast.extend([number] for number in range(objects))
        age()
        if was:
            gc.enable()


def no_clones(seconds: float = 2.0) -> bool:
    """Whether no clone runs. One that has answered or was killed may need a moment to end."""
    return wait_for(lambda: not clones(), seconds)


def zombies() -> list[int]:
    """The children that have ended and were not reaped."""
    own = str(os.getpid())
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and status_fields(int(pid))[:2] == ["Z", own]]


class Catch:
    """Stops the next clone in its tracks, from a thread, while the program does what launches it."""

    def __init__(self) -> None:
        ballast()
        self.pid = 0
        self._known = set(clones())
        self._over = False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self.pid and not self._over:
            for pid in set(clones()) - self._known:
                os.kill(pid, signal.SIGSTOP)
                if wait_for(lambda pid=pid: state(pid) in ("T", "Z", ""), 2) and state(pid) == "T":  # type: ignore[misc]
                    self.pid = pid
                    return

    def caught(self, seconds: float = 10.0) -> int:
        """The clone's process id, when it is stopped."""
        found = wait_for(lambda: self.pid, seconds)
        self._over = True
        assert found, "no clone could be caught"
        return self.pid


def fly() -> int:
    """Launch a snapshot with collect(wait=False) and stop its clone; its process id. Resume with land()."""
    ballast()
    for _ in range(20):
        midden.collect(wait=False)
        pid = stopped()
        if pid:
            return pid
        churn(landed)
    raise AssertionError("no clone could be caught")


def fly_by_itself() -> int:
    """As fly(), with a snapshot that midden launches of its own accord: needs MIDDEN_TORTURE."""
    ballast()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if midden.stats()["in_flight"] and (pid := stopped()):
            return pid
        churn(seconds=0.001)
    raise AssertionError("no clone could be caught")


def stopped() -> int:
    """Stop the clone that runs now; 0 if there is none or it was too late."""
    for pid in clones():
        os.kill(pid, signal.SIGSTOP)
        if wait_for(lambda pid=pid: state(pid) in ("T", "Z", ""), 2) and state(pid) == "T":  # type: ignore[misc]
            if midden.stats()["in_flight"]:
                return pid
            os.kill(pid, signal.SIGCONT)
    return 0


def land(pid: int, seconds: float = 30.0) -> None:
    """Let a stopped clone go on, and the program until the answer has been dealt with.

    With gc disabled the program stays idle: garbage would only pile up.
    """
    os.kill(pid, signal.SIGCONT)
    assert churn(landed, seconds) if gc.isenabled() else wait_for(landed, seconds), "still in flight"


def full_collections(work: Callable[[], object]) -> int:
    """How many collections of the oldest generation start while work runs."""
    count = 0

    def watch(phase: str, info: dict[str, int]) -> None:
        nonlocal count
        count += phase == "start" and info["generation"] == 2

    gc.callbacks.append(watch)
    try:
        work()
    finally:
        if watch in gc.callbacks:
            gc.callbacks.remove(watch)
    return count


def grow(objects: int = 60_000) -> list[Any]:
    """Make many long-lived objects: with a low threshold, stock starts full collections."""
    return [[number] for number in range(objects)]


def in_thread(work: Callable[[], object]) -> None:
    """Run work in a thread, to its end; what it raises is raised here."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
