"""Run one of the short programs: ``short_main.py NAME [REPEATS]``. Prints one JSON object.

With ``BENCH_SIDE=midden`` in the environment it enables midden first; that cost is inside ``seconds`` like
the rest.
"""

from __future__ import annotations

from time import perf_counter

_BEGAN = perf_counter()

import importlib  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

enable_s = 0.0
if os.environ.get("BENCH_SIDE") == "midden":
    import midden

    midden.enable()
    enable_s = perf_counter() - _BEGAN

from short import PROGRAMS  # noqa: E402


def main(arguments: list[str]) -> None:
    """Run the program named first, as often as its entry (or the second argument) says."""
    module, function, repeats = PROGRAMS[arguments[0]]
    work = getattr(importlib.import_module(f"short.{module}"), function)
    if len(arguments) > 1:
        repeats = int(arguments[1])
    for _ in range(repeats):
        result = work()
    seconds, check = perf_counter() - _BEGAN, hash(str(result))
    print(f'{{"seconds": {seconds:.6f}, "enable_s": {enable_s:.6f}, "check": "{check}"}}')


if __name__ == "__main__":
    main(sys.argv[1:])
