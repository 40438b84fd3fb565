"""A service in miniature: a large old heap, cyclic garbage all the time, and a clock read at every step.

    churn.py OBJECTS SECONDS [WORK]

Each step makes one cluster of cyclic objects; every second cluster is kept in a ring for a while, so that it
gets old before it dies. The clock is read after every step: the longest gap between two readings is the
longest time that the program stood still, whoever caused it (the collector, the system, a nap), and it is
read the same way on every side. The interpreter's own callbacks time its collections besides. WORK is the
number of random places in the old heap that a step reads, plus a little formatting, as a service would.
Prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from array import array
from time import perf_counter_ns
from typing import Any

from heap import CLUSTER_SIZE, build, cluster, leave_standing, memory

RING = 20_000
CAPACITY = 6_000_000


class Watch:
    """Times the interpreter's collections, by generation, through `gc.callbacks`."""

    def __init__(self) -> None:
        self.count = [0, 0, 0]
        self.total = [0, 0, 0]
        self.longest = [0, 0, 0]
        self._began = 0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = perf_counter_ns()
            return
        took = perf_counter_ns() - self._began
        generation = info["generation"]
        self.count[generation] += 1
        self.total[generation] += took
        if took > self.longest[generation]:
            self.longest[generation] = took

    def report(self) -> list[dict[str, float]]:
        """Return count, total and longest of each generation, in seconds."""
        return [
            {"count": c, "total_s": t / 1e9, "max_s": m / 1e9}
            for c, t, m in zip(self.count, self.total, self.longest, strict=True)
        ]


def work(keep: list[Any], seed: int, hops: int) -> str:
    """Read `hops` random places of the old heap and format a line about them."""
    total = 0
    size = len(keep)
    for _ in range(hops):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        total += len(keep[seed % size][0])
    return f"request {seed:08x} read {hops} records, {total} links"


def serve(keep: list[Any], seconds: float, hops: int, gaps: array[int]) -> tuple[int, int]:
    """Make garbage for `seconds`, noting every gap in `gaps`. Return steps and nanoseconds taken."""
    ring: list[Any] = [None] * RING
    capacity = len(gaps)
    now = began = perf_counter_ns()
    end = began + int(seconds * 1e9)
    step = 0
    while now < end and step < capacity:
        head = cluster(work(keep, step, hops) if hops else step)
        if step & 1:
            ring[(step >> 1) % RING] = head
        then = now
        now = perf_counter_ns()
        gaps[step] = now - then
        step += 1
    return step, now - began


def quantile(ordered: list[int], share: float) -> float:
    """Return the figure below which `share` of `ordered` lies, in seconds."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1e9


def main(arguments: list[str]) -> None:
    """Build, serve, report."""
    objects, seconds = int(arguments[0]), float(arguments[1])
    hops = int(arguments[2]) if len(arguments) > 2 else 0
    began = perf_counter_ns()
    heap = build(objects)
    loaded = perf_counter_ns()
    gaps = array("Q", bytes(8 * CAPACITY))
    watch = Watch()
    gc.callbacks.append(watch)
    at_start = memory()
    before = resource.getrusage(resource.RUSAGE_SELF)
    steps, took = serve(heap[0], seconds, hops, gaps)
    after = resource.getrusage(resource.RUSAGE_SELF)
    gc.callbacks.remove(watch)
    gc.disable()
    at_end = memory()
    leave_standing(heap)
    ordered = sorted(gaps[:steps])
    print(
        json.dumps(
            {
                "load_s": (loaded - began) / 1e9,
                "steps": steps,
                "seconds": took / 1e9,
                "objects_per_s": steps * CLUSTER_SIZE / (took / 1e9),
                "gap": {
                    "p50_s": quantile(ordered, 0.5),
                    "p99_s": quantile(ordered, 0.99),
                    "p999_s": quantile(ordered, 0.999),
                    "p9999_s": quantile(ordered, 0.9999),
                    "max_s": ordered[-1] / 1e9,
                    "longest_s": [gap / 1e9 for gap in ordered[-10:]],
                },
                "collections": watch.report(),
                "minor_faults": after.ru_minflt - before.ru_minflt,
                "memory_kib": {"start": at_start, "end": at_end},
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
