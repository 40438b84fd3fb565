"""Start midden in a program launched by ``midden run``, and tell at its exit what it did.

Called by `_startup/sitecustomize.py` before any of the program's code: imports as little as possible.
Nothing here may raise into the program, nor change its exit status.
"""

from __future__ import annotations

import atexit
import os
import stat
import sys
from time import monotonic

import midden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from midden import Stats


class _Run:
    """What has to be known at exit."""

    __slots__ = (
        "pid", "launched", "children", "quiet", "stats", "shows_heap", "heap", "off", "began", "stderr",
    )  # fmt: skip

    def __init__(self, words: list[str], stats: str | None) -> None:
        self.pid = os.getpid()
        self.launched = f"pid={self.pid}" in words  # not a child of the program
        self.children = "children" in words
        self.quiet = "quiet" in words
        self.stats = stats
        self.shows_heap = "heap" in words  # instead of the summary
        self.heap: Any = None  # what shows it at exit
        self.off = ""  # the reason why the collector is off
        self.began = monotonic()
        self.stderr = _identity(2)


def start(words: list[str], stats: str | None, heap: str | None = None) -> None:
    """Enable midden, or say in one line why not.

    words: those of MIDDEN_RUN. stats: the stats file. heap: where `midden heap` is to show it, None: stderr.
    """
    run = _Run(words, stats)
    stock = False
    try:
        midden.enable(fast_collect="fast-collect" in words)
    except Exception as error:
        run.off = str(error) or type(error).__name__
        stock = not _enable_heap()
        if not run.quiet:
            rest = "; running as stock Python" if stock else "; the heap serves"
            _say(run, f"midden: collector off: {run.off}{rest}")
    if run.shows_heap and run.launched:
        _show_heap(run, words, heap)
        if stock:
            run.heap = None  # it was told; but a signal must not end the program
    atexit.register(_finish, run)  # the first to be registered is the last to run


def _enable_heap() -> bool:
    """The heap alone, where the collector cannot run."""
    try:
        midden.enable(collector=False)
    except Exception:
        return False
    return True


def _show_heap(run: _Run, words: list[str], path: str | None) -> None:
    """Prepare for `midden heap`: at exit, when a signal arrives, or both."""
    try:
        from midden import heaprun

        shower = heaprun.Shower(path, lambda text: _say(run, text), run.quiet)
        for word in words:
            if word.startswith("heap-signal="):
                shower.listen(word.partition("=")[2])
        run.heap = shower if "heap-at-exit" in words else None
    except Exception as error:
        _say(run, f"midden: no picture of the heap: {type(error).__name__}: {error}")


def _finish(run: _Run) -> None:
    try:
        here = run.launched and os.getpid() == run.pid
        if not here and not run.children:
            return  # a forked child: the launching process tells
        if here and run.heap is not None:
            run.heap.show_at_exit()
        stats = midden.stats()
        if here and not run.quiet and not run.off and not run.shows_heap:
            _say(run, describe(stats))
        if run.stats is not None:
            _write(run, run.stats if here else child_file(run.stats, os.getpid()), stats)
    except Exception as error:
        _say(run, f"midden: no summary: {type(error).__name__}: {error}")


def child_file(path: str, pid: int) -> str:
    """Where a child process of the program writes its stats: run.json -> run.<pid>.json."""
    root, suffix = os.path.splitext(path)
    return f"{root}.{pid}{suffix or '.json'}"


def _write(run: _Run, path: str, stats: Stats) -> None:
    import json

    about: dict[str, Any] = {
        "midden": midden.__version__,
        "python": sys.version.split()[0],
        "pid": os.getpid(),
        "argv": list(map(str, getattr(sys, "argv", []))),
        "seconds": monotonic() - run.began,
        "collector_off": run.off or None,
    }
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**stats, "run": about}, file, indent=2)
            file.write("\n")
    except OSError as error:
        _say(run, f"midden: can't write stats file {path!r}: [Errno {error.errno}] {error.strerror}")


# --- the summary ----------------------------------------------------------------------------------------


def describe(stats: Stats) -> str:
    """The summary: one to three lines, from what `midden.stats` returned."""
    return "\n".join("midden: " + line for line in [*_collector(stats), *_memory(stats["heap"])])


def _memory(heap: Any) -> list[str]:
    """What the heap holds and gave back, if that is worth a line."""
    if not heap.get("serving") or (heap["resident_bytes"] < 32 << 20 and heap["returned_bytes"] < 1 << 20):
        return []
    from midden.heapmap import size

    line = f"heap {size(heap['live_bytes'])} in use, {size(heap['free_bytes'])} free"
    if heap["returned_bytes"]:
        line += f" · {size(heap['returned_bytes'])} given back"
    return [line]


def _collector(stats: Stats) -> list[str]:
    every: dict[str, Any] = dict(stats["pauses"])
    own = every.pop("full")  # what the program asked for with gc.collect() is not the collector's doing
    if stats["fallbacks"]:
        every["full"] = own
    pauses = every.values()
    longest = max((pause["max_s"] for pause in pauses), default=0.0)
    total = sum(pause["total_s"] for pause in pauses)
    still = f"longest stand-still {duration(longest)}, {duration(total)} in all"
    if own["count"] and not stats["fallbacks"]:
        still += f" (and {_count(own['count'], 'gc.collect()')}, longest {duration(own['max_s'])})"
    if not stats["snapshots"] and not stats["reclaimed"]:
        return [f"no snapshot was needed · {still}"]
    snapshots = _count(stats["snapshots"], "snapshot")
    if stats["snapshots_failed"]:
        snapshots += f" ({stats['snapshots_failed']:,} failed)"
    if stats["fallbacks"]:
        snapshots += f", {_count(stats['fallbacks'], 'collection')} in place"
    found = _count(stats["candidates"], "dead object")
    naps: Any = stats.get("naps")  # the program was held back, since garbage arose faster than it was found
    if naps and naps["count"]:
        still += f", {duration(naps['total_s'])} of naps besides"
    return [
        f"{snapshots} · {found} found, {stats['reclaimed']:,} reclaimed",
        f"{still} · child CPU {duration(stats['child_cpu_s'])}",
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 or noun.endswith(')') else 's'}"


def duration(seconds: float) -> str:
    """Three digits are enough: 0.31 ms, 12.3 ms, 310 ms, 1.9 s, 1,234 s."""
    if seconds <= 0:
        return "0 s"
    if seconds < 0.9995:
        ms = seconds * 1e3
        return f"{ms:.0f} ms" if ms >= 99.95 else f"{ms:.1f} ms" if ms >= 9.995 else f"{ms:.2f} ms"
    return f"{seconds:,.0f} s" if seconds >= 99.95 else f"{seconds:.1f} s"


# --- stderr ---------------------------------------------------------------------------------------------


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_ours(run: _Run) -> bool:
    """Whether descriptor 2 is still a place for messages.

    A program that closed it may have opened a socket or a pipe of its own there.
    """
    if run.stderr is None:
        return False
    if _identity(2) == run.stderr:
        return True
    try:
        mode = os.fstat(2).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISCHR(mode)


def _say(run: _Run, text: str) -> None:
    """Write lines to the process's stderr, whatever the program made of sys.stderr."""
    if not _is_ours(run):
        return
    encoding = "ascii"
    try:
        encoding = sys.__stderr__.encoding
        sys.stderr.flush()
    except Exception:
        pass
    try:
        data = text.encode(encoding)
    except (UnicodeError, LookupError):
        data = text.replace(" ·", ";").encode("ascii", "backslashreplace")
    data += b"\n"
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        pass
