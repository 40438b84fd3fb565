"""A bounded queue of objects that refer to themselves: what falls out of it is cyclic trash with a payload.

    cyclic_queue.py KEPT PAYLOAD TOTAL

The shape of the toy on which CPython's incremental collector was seen to let memory grow (and of cyclotron's
`run-queue`). Prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import sys
from collections import deque
from time import perf_counter

from heap import memory


class Selfish:
    """Holds some bytes, and itself."""

    def __init__(self, payload: int) -> None:
        self.payload = bytes(payload)
        self.itself = self


def main(arguments: list[str]) -> None:
    """Push `total` objects through the queue."""
    kept, payload, total = map(int, arguments)
    gc.set_threshold(2000, 10)
    began = perf_counter()
    queue: deque[Selfish] = deque(maxlen=kept)
    for _ in range(total):
        queue.append(Selfish(payload))
    print(json.dumps({"seconds": perf_counter() - began, "memory_kib": memory()}))


if __name__ == "__main__":
    main(sys.argv[1:])
