"""A large shuffled heap with a little garbage in it: how long does it take to find that?

    finder.py OBJECTS REPEATS [WAY...]

On every side the interpreter's own `gc.collect()` is timed (way "collect"). Where midden is enabled its
finder is timed too: in place ("in_place"), in a clone beside an idle program ("clone"), and in a clone
beside a program that goes on reading its heap ("clone_busy"). WAYs are some of these, in the order wanted;
default all. Before each search 1,100 old objects in cycles are let go of; one that finds anything else
fails the program. Prints one JSON object; every list in it holds seconds.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from heap import CLUSTER_SIZE, build, cluster, leave_standing, memory

DOOMED = 100
"""Clusters that die before each search."""


def read_along(keep: list[Any], until: threading.Event) -> int:
    """Keep this processor busy with reading random places of the heap until told to stop."""
    seed = total = 0
    size = len(keep)
    while not until.is_set():
        for _ in range(2000):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            total += len(keep[seed % size][0])
    return total


def beside_busy(midden: Any, keep: list[Any]) -> dict[str, Any]:
    """Collect in a clone while this thread reads along; return what `midden.collect` reports."""
    done = threading.Event()
    answer: dict[str, Any] = {}

    def collect() -> None:
        try:
            answer.update(midden.collect())
        finally:
            done.set()

    thread = threading.Thread(target=collect)
    thread.start()
    read_along(keep, done)
    thread.join()
    return answer


def stock() -> tuple[int, float]:
    """Make the interpreter's own full collection; return what it found and the seconds."""
    began = perf_counter()
    found = gc.collect()
    return found, perf_counter() - began


def processor_s(midden: Any) -> float:
    """Return the processor seconds of all clones so far."""
    return float(midden.stats()["child_cpu_s"])


def answer(found: dict[str, Any]) -> tuple[int, float]:
    """Return the same of what `midden.collect` returned."""
    return int(found["found"]), float(found["find_s"])


def main(arguments: list[str]) -> None:
    """Build, time, report."""
    objects, repeats, ways = int(arguments[0]), int(arguments[1]), arguments[2:]
    doomed = [cluster(0) for _ in range(DOOMED * repeats * 4)]
    heap = build(objects)
    gc.disable()
    result: dict[str, Any] = {"objects": len(gc.get_objects())}

    def search(find: Callable[[], tuple[int, float]]) -> list[float]:
        """Let go of some objects and look for them, `repeats` times; return the seconds of each search."""
        took = []
        for _ in range(repeats):
            del doomed[-DOOMED:]
            found, seconds = find()
            if found != DOOMED * CLUSTER_SIZE:
                sys.exit(f"found {found} dead objects, not {DOOMED * CLUSTER_SIZE}")
            took.append(seconds)
        return took

    searches = {"collect": stock}
    if os.environ.get("BENCH_SIDE") != "stock":
        import midden

        searches["in_place"] = lambda: answer(midden.collect(in_place=True))
        searches["clone"] = lambda: answer(midden.collect())
        searches["clone_busy"] = lambda: answer(beside_busy(midden, heap[0]))
    for way in ways or searches:
        before = processor_s(midden) if way == "clone" else 0.0
        result[f"{way}_s"] = search(searches[way])
        if way == "clone":
            result["clone_cpu_s"] = [(processor_s(midden) - before) / repeats]
    result["memory_kib"] = memory()
    leave_standing(heap)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
