"""A large live heap in a shuffled layout, and the cyclic garbage of a service. Shared by the programs here.

Imports nothing but the standard library and knows nothing of midden: it must be the same program on every
side.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from typing import Any


class Record:
    """An object with slots, the third kind of container in the heap beside lists and dicts."""

    __slots__ = ("owner", "peer")

    def __init__(self, owner: Any, peer: Any) -> None:
        self.owner = owner
        self.peer = peer


def shuffled(n: int) -> Iterator[int]:
    """Yield 0 … n-1 in a fixed, scattered order (a full-period congruential generator; much cheaper than
    `random.shuffle`, and its neighbours lie far apart, which is all that is needed)."""
    mask = (1 << max(n - 1, 1).bit_length()) - 1
    x = 12345 & mask
    for _ in range(mask + 1):
        if x < n:
            yield x
        x = (x * 1664525 + 1013904223) & mask


def build(n: int) -> list[Any]:
    """Return a list that keeps about `n` container objects alive, linked at random across the whole heap.

    Of ten containers six are lists, one is a dict, two are objects with slots and one is a tuple. The lists'
    links go to random places. Ends with a full collection, after which the interpreter's own list of old
    objects runs through memory in that random order too, as it does in any service that has been up for a
    while.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    lists: list[list[Any]] = []
    others: list[Any] = []
    for _ in range(n // 10):
        a, b, c, d, e, f = [None, None], [None, None], [None, None], [None, None], [None, None], [None, None]
        lists += (a, b, c, d, e, f)
        others += ({"owner": a, "peer": b}, Record(c, d), Record(e, a), (f, c))
    count, rest = len(lists), len(others)
    keep: list[Any] = [None] * count
    before = lists[-1]
    for place, i in enumerate(shuffled(count)):
        one = lists[i]
        before[0] = one
        one[1] = others[i % rest]
        keep[place] = before = one
    before[0] = keep[0]
    others_kept = [others[i] for i in shuffled(rest)]
    del lists, others
    if was_enabled:
        gc.enable()
    gc.collect()
    return [keep, others_kept]


def cluster(payload: Any) -> list[Any]:
    """Return the root of eleven containers that refer to each other in cycles, as a request's parts do."""
    head: list[Any] = [None, None, payload]
    back = {"head": head}
    head[0] = [
        [head],
        [head, back],
        [head],
        (head, back),
        Record(head, back),
        Record(back, head),
        [head],
        {"up": head},
    ]
    head[1] = back
    return head


CLUSTER_SIZE = 11
"""Container objects in one `cluster`."""


def leave_standing(heap: Any) -> None:
    """Keep the interpreter from taking `heap` apart at exit, when nothing is measured any more."""
    gc.freeze()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(heap))


def memory() -> dict[str, int]:
    """Return VmRSS, VmHWM and VmPTE of this process, in KiB."""
    found: dict[str, int] = {}
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key in ("VmRSS", "VmHWM", "VmPTE"):
                found[key] = int(value.split()[0])
    return found
