"""Run a program as it is, or on midden's heap: ``heap_main.py (FILE | -m MODULE) [ARGS…]``.

With ``BENCH_SIDE=heap`` in the environment midden's heap is enabled first, without its collector. When the
program has ended, the most memory that was resident is written, in KiB, to the file that ``BENCH_PEAK``
names.
"""

from __future__ import annotations

import atexit
import os
import runpy
import sys
from pathlib import Path

ON_HEAP = os.environ.get("BENCH_SIDE") == "heap"
if ON_HEAP:
    import midden

    midden.enable(collector=False)


def leave_peak(path: str) -> None:
    """Write the peak of this process there."""
    if ON_HEAP and not midden.stats()["heap"]["serving"]:
        sys.stderr.write(f"the heap does not serve: {midden.stats()['heap']['declined']}\n")
        os._exit(1)
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(line.split()[1] for line in file if line.startswith("VmHWM:"))
    Path(path).write_text(peak)


def main(arguments: list[str]) -> None:
    """Run what the arguments name, as the interpreter would."""
    atexit.register(leave_peak, os.environ["BENCH_PEAK"])
    if arguments[0] == "-m":
        sys.argv[:] = arguments[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = arguments
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
