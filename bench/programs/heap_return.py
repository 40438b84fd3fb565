"""How much memory goes back when nearly all of many mixed objects are freed at random, and then the rest.

    heap_return.py OBJECTS FREED_PERCENT [idle]

Builds that many objects of nine kinds, lets go of FREED_PERCENT of them, chosen at random (with a seed),
then of all, and reads the resident memory after each step. In between there is a full collection on every
side, which also empties the interpreter's own stores of free objects, and then memory is asked back: by
midden.compact() where BENCH_SIDE=midden, by the C library's malloc_trim otherwise. With ``idle`` nobody
asks: the program sleeps until midden has given memory back by itself. Prints one JSON object.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import random
import sys
from time import perf_counter, sleep
from typing import Any

ON_MIDDEN = os.environ.get("BENCH_SIDE") == "midden"
if ON_MIDDEN:
    import midden

    midden.enable()

SEED = 20


class Plain:
    """An object with a dict."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size


class Slotted:
    """An object with slots."""

    __slots__ = ("after", "name", "size")

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size, self.after = name, size, None


NAMES = [f"name {i}" for i in range(100)]


def make(kind: int, name: str, size: int) -> Any:
    """Return a new object of one of nine kinds; `size` is from 1 to 16, rarely up to 320."""
    if kind == 0:
        return (name,) * (size + 1)
    if kind == 1:
        return [name] * size
    if kind == 2:
        return dict.fromkeys(NAMES[:size], size)
    if kind == 3:
        return Plain(name, size)
    if kind == 4:
        return Slotted(name, size)
    if kind == 5:
        return name * size
    if kind == 6:
        return size * 1.5
    if kind == 7:
        return set(NAMES[:size])
    return bytearray(16 * size)


def build(count: int) -> list[Any]:
    """Return a list of that many objects, their kinds and sizes in random order."""
    pick = random.Random(SEED).random
    made: list[Any] = [None] * count
    for i in range(count):
        size = 1 + int(16 * pick() ** 2)
        if pick() < 0.01:
            size *= 20
        made[i] = make(int(9 * pick()), NAMES[i % 100], size)
    return made


def content(objects: list[Any]) -> int:
    """Return a number that depends on all of what the objects hold."""
    total = 0
    for i, one in enumerate(objects):
        if isinstance(one, (Plain, Slotted)):
            one = (one.name, one.size)
        elif isinstance(one, dict):
            one = tuple(one.items())
        elif isinstance(one, (list, set)):
            one = tuple(sorted(one))
        elif isinstance(one, bytearray):
            one = bytes(one)
        total = (total * 31 + hash(one) + i) & 0xFFFFFFFFFFFF
    return total


def resident() -> int:
    """Return the resident memory of this process in KiB, counted page by page."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:"))


def ask_back() -> float:
    """Ask for all memory that can be given back; return the seconds that took."""
    began = perf_counter()
    if ON_MIDDEN:
        midden.compact()
    else:
        ctypes.CDLL(None).malloc_trim(0)
    return perf_counter() - began


def sleep_on() -> float:
    """Sleep until midden has compacted the idle program, and nothing changes any more; return the seconds.

    There is a young collection now and then, as there is in a service that waits.
    """
    began = perf_counter()
    calm, last = 0, 0
    while perf_counter() - began < 30 and calm < 10:
        gc.collect(0)
        sleep(0.2)
        now = resident()
        calm = calm + 1 if now == last and midden.stats()["heap"]["idle_compactions"] else 0
        last = now
    return perf_counter() - began


def main(arguments: list[str]) -> None:
    """Build, free, read."""
    count, percent = int(arguments[0]), float(arguments[1])
    gc.collect()
    memory = {"before": resident()}
    objects = build(count)
    memory["built"] = resident()
    pick = random.Random(SEED + 1).random
    survivors = [one for one in objects if pick() * 100 >= percent]
    del objects
    memory["freed"] = resident()
    gc.collect()
    memory["collected"] = resident()
    check = content(survivors)
    seconds = sleep_on() if "idle" in arguments else ask_back()
    memory["asked back"] = resident()
    same = content(survivors) == check
    heap = midden.stats()["heap"] if ON_MIDDEN else None
    left = len(survivors)
    del survivors
    gc.collect()
    memory["all freed"] = resident()
    ask_back()
    memory["all asked back"] = resident()
    if ON_MIDDEN and not midden.stats()["heap"]["serving"]:
        sys.exit(f"the heap does not serve: {midden.stats()['heap']['declined']}")
    if not same:
        sys.exit("the survivors are not what they were")
    print(
        json.dumps(
            {"memory_kib": memory, "survivors": left, "check": check, "seconds": seconds, "heap": heap}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
