"""Chains of small objects closed into cycles, with a payload, dropped by the thousand.

    cycle_chains.py LENGTH PAYLOAD LIVE TOTAL

Makes rings of LENGTH linked objects, one of them with PAYLOAD bytes; lets go of all of them whenever LIVE
objects are held; ends after TOTAL objects. The shape of cyclotron's `run`: the collector counts objects,
memory is in the payload, and what was held a little too long has become old. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

from heap import memory


class Tally:
    """How many objects have died, and the most dead ones that were waiting to be collected."""

    waiting = 0
    most_waiting = 0


class Witness:
    """Rides in a ring and tells when the ring is reclaimed."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def __del__(self) -> None:
        Tally.waiting -= self.size


class Link:
    """One object of a ring."""

    __slots__ = ("after", "payload", "witness")

    payload: bytes
    witness: Witness

    def __init__(self, after: Link | None) -> None:
        self.after = after


def ring(length: int, payload: int) -> Link:
    """Return a ring of `length` links."""
    last = link = Link(None)
    for _ in range(length - 1):
        link = Link(link)
    last.after = link
    last.witness = Witness(length)
    if payload:
        last.payload = bytes(payload)
    return link


def main(arguments: list[str]) -> None:
    """Make rings, drop rings."""
    length, payload, live, total = map(int, arguments)
    began = perf_counter()
    held: list[Link] = []
    for _ in range(total // length):
        held.append(ring(length, payload))
        if len(held) * length >= live:
            Tally.waiting += len(held) * length
            held.clear()
            Tally.most_waiting = max(Tally.most_waiting, Tally.waiting)
    print(
        json.dumps({"seconds": perf_counter() - began, "waiting": Tally.most_waiting, "memory_kib": memory()})
    )


if __name__ == "__main__":
    main(sys.argv[1:])
