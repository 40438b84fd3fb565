"""A large shuffled heap that is cloned again and again: how long does the program stand still for each clone?

    heap_clone.py OBJECTS CLONES

With ``BENCH_SIDE=pymalloc`` midden's heap stays off, so that all objects are in CPython's own 4 KiB pages.
First come clones beside an idle program, then as many beside one that reads its heap all the time: it
writes reference counts, and so takes pages out of what it shares with the clone. Prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import midden
from finder import beside_busy

from heap import build, leave_standing, memory

ON_HEAP = os.environ.get("BENCH_SIDE") != "pymalloc"


def huge_kib() -> int:
    """Return how much of this process lies in huge pages, in KiB."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("AnonHugePages:"))


def clones(count: int, collect: Callable[[], Any]) -> list[float]:
    """Collect that often, each time in a clone; return the seconds of each pause for it."""
    took = []
    for _ in range(count):
        before = midden.stats()["pauses"]["clone"]
        collect()
        after = midden.stats()["pauses"]["clone"]
        if after["count"] != before["count"] + 1:
            sys.exit(f"{after['count'] - before['count']} clones, not one: {midden.stats()['last_failure']}")
        took.append(after["total_s"] - before["total_s"])
    return took


def main(arguments: list[str]) -> None:
    """Build, clone, report."""
    objects, count = int(arguments[0]), int(arguments[1])
    midden.enable(heap=ON_HEAP)
    gc.disable()
    heap = build(objects)
    if midden.stats()["heap"]["serving"] is not ON_HEAP:
        sys.exit(f"the heap does not serve: {midden.stats()['heap']['declined']}")
    result: dict[str, Any] = {"start": memory() | {"huge": huge_kib()}}
    result["idle_s"] = clones(count, midden.collect)
    result["after_idle"] = memory() | {"huge": huge_kib()}
    result["busy_s"] = clones(count, lambda: beside_busy(midden, heap[0]))
    result["end"] = memory() | {"huge": huge_kib()}
    leave_standing(heap)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
