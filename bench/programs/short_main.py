"""Run one of the short or the allocating programs: ``short_main.py NAME [REPEATS]``. Prints one JSON object.

With ``BENCH_SIDE=midden`` in the environment it enables midden first, with ``BENCH_SIDE=heap`` its heap
alone; that cost is inside ``seconds`` like the rest, but not inside ``work_s``.
"""

from __future__ import annotations

from time import perf_counter

_BEGAN = perf_counter()

import importlib  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

SIDE = os.environ.get("BENCH_SIDE")
enable_s = 0.0
if SIDE in ("midden", "heap"):
    import midden

    midden.enable(collector=SIDE == "midden")
    enable_s = perf_counter() - _BEGAN

import alloc  # noqa: E402
import short  # noqa: E402


def peak_kib() -> int:
    """Return the most memory that was resident, in KiB."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


def main(arguments: list[str]) -> None:
    """Run the program named first, as often as its entry (or the second argument) says."""
    package = short if arguments[0] in short.PROGRAMS else alloc
    module, function, repeats = package.PROGRAMS[arguments[0]]
    work = getattr(importlib.import_module(f"{package.__name__}.{module}"), function)
    if len(arguments) > 1:
        repeats = int(arguments[1])
    began = perf_counter()
    for _ in range(repeats):
        result = work()
    ended = perf_counter()
    if SIDE == "heap" and not midden.stats()["heap"]["serving"]:
        sys.exit(f"the heap does not serve: {midden.stats()['heap']['declined']}")
    print(
        f'{{"seconds": {ended - _BEGAN:.6f}, "work_s": {ended - began:.6f}, "enable_s": {enable_s:.6f}, '
        f'"peak_kib": {peak_kib()}, "check": "{hash(str(result))}"}}'
    )


if __name__ == "__main__":
    main(sys.argv[1:])
