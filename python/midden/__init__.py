"""midden: a concurrent cycle collector for CPython.

A full garbage collection stops a Python program for as long as it takes to look at every object. midden
looks for dead cycles in a copy-on-write clone of the process instead, while the program goes on, and gives
what it found to CPython's own young collections, in slices of a few milliseconds.

    import midden

    midden.enable()          # from here on, no full collection stops the program
    ...
    midden.stats()           # what it did, and how long the program stood still for it

Or, for an unmodified program, on the command line: ``midden run app.py``.

Importing midden changes nothing and works everywhere. Where the collector cannot run (another system, an
interpreter without the extension), `is_enabled` is False, `enable` raises `Unsupported` with the reason,
and `disable`, `hold` and `stats` do nothing, so a program need not ask first.

Threads: every function may be called from any thread of the main interpreter. All times are seconds,
all sizes bytes.
"""

from __future__ import annotations

import sys as _sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from .heapmap import HeapMap

__all__ = [
    "Unsupported",
    "collect",
    "compact",
    "disable",
    "enable",
    "heap_map",
    "hold",
    "is_enabled",
    "stats",
]

__version__ = "0.1.0"

try:
    from . import _core
except ImportError as _error:
    _core = None
    # The import system's own words name modules and paths; what helps is which interpreter lacks what.
    _python = "%s %d.%d" % (_sys.implementation.name.replace("cpython", "CPython"), *_sys.version_info[:2])
    if getattr(_error, "name", None) == __name__ + "._core" or "cannot import name" in str(_error):
        _missing = "midden is not built for " + _python
    else:
        _missing = "midden's extension does not load in %s: %s" % (_python, _error)

    class Unsupported(RuntimeError):
        """The collector cannot run here; the message is one phrase that says why."""

else:
    _missing = ""
    Unsupported = _core.Unsupported


def enable(*, collector: bool = True, heap: bool = True, fast_collect: bool = False) -> None:
    """Let midden take over the oldest generation of the garbage collector, and serve Python's memory.

    From now on CPython never collects that generation by itself; midden finds its dead cycles in clones of
    the process, and CPython's young collections reclaim them. The `gc` module keeps its meaning:
    ``gc.disable()`` stops the automatic work of both, ``gc.collect()`` still collects everything, at once.

    collector: run concurrent collections. heap: serve new objects and buffers from midden's own heap, which gives
    memory back (`compact`); what was allocated before stays where it is. A tool that watches allocations
    (tracemalloc, memray, PYTHONMALLOC) keeps the heap out, since it would lose sight of them:
    ``stats()["heap"]["declined"]`` then says why. fast_collect: let ``gc.collect()`` use midden's finder, with the same meaning and return value.

    Enabling twice is allowed; what is on stays on. Raises `Unsupported` where the collector cannot run (or,
    with ``collector=False``, the heap), and then nothing has changed.
    """
    if _core is None:
        raise Unsupported(_missing)
    _core.enable(collector=collector, heap=heap, fast_collect=fast_collect)


def disable() -> None:
    """Go back to stock CPython entirely.

    A snapshot in flight is dropped; what it would have found is found later by CPython's own collections. The
    heap serves no new requests; what it holds lives on, and goes back to it.
    Does nothing when midden is not enabled.
    """
    if _core is not None:
        _core.disable()


def is_enabled() -> bool:
    """Whether midden is enabled in this process. A forked child inherits it."""
    return _core is not None and _core.is_enabled()


def collect(
    wait: bool = True, timeout: float | None = None, in_place: bool = False
) -> dict[str, Any] | None:
    """Collect the whole heap once, concurrently.

    wait: sleep, with the GIL released, until everything that was dead at the call is reclaimed, and return
    a new dict: ``found`` and ``reclaimed`` (objects), ``clone_s``, ``find_s`` and ``reclaim_s`` (seconds
    spent cloning, finding, reclaiming), ``in_place`` (bool: no clone was used). With ``wait=False``, start
    it and return None; while a snapshot is in flight that changes nothing.

    timeout: seconds to wait at most; then TimeoutError is raised, and the collection goes on.
    in_place: stop the program and find the garbage here, without a clone: faster in all than
    ``gc.collect()`` on large heaps, but it stands still.

    Finalizers and weak reference callbacks may run in the calling thread. Raises `Unsupported` where the
    collector cannot run.
    """
    if _core is None:
        raise Unsupported(_missing)
    return _core.collect(wait=wait, timeout=timeout, in_place=in_place)


def compact() -> int:
    """Give back all memory that can be given back, now, and return how many bytes that was.

    Buffers that belong to one object (the items of lists, the tables of dicts and sets, bytearrays) move
    out of sparsely used memory, where nobody can notice; then every empty page of the heap goes back to the
    system, and the C library is asked for its own (``malloc_trim``). The program stands still meanwhile. The same
    happens by itself, in slices, when the program is idle or memory is short.

    Returns 0 where midden cannot run. Raises RuntimeError within a garbage collection.
    """
    return 0 if _core is None else _core.compact()


def stats() -> dict[str, Any]:
    """Return a new dict of what midden has done in this process.

    ``enabled``, ``in_flight``: bool. ``snapshots``, ``snapshots_failed``: how many were tried, and how many
    of those brought no answer. ``candidates``, ``reclaimed``: objects proposed, and objects freed.
    ``fallbacks``: collections that had to be made in place. ``child_cpu_s``: CPU seconds of all clones.
    ``pauses``: for each cause of a stand-still (``clone``, ``reclaim``, ``young``, ``full``) a dict of
    ``count``, ``total_s``, ``max_s``, ``p50_s``, ``p99_s``. ``heap``: ``live_bytes`` in blocks,
    ``mapped_bytes`` of address space in use, ``resident_bytes`` that hold memory, ``returned_bytes`` given back so
    far, each None where it is not known (without the heap, ``resident_bytes`` is the process's);
    ``serving``, ``declined`` (why it does not serve, or None), and with a heap ``blocks``, ``free_bytes``
    (resident, in no block), ``side_bytes`` (tables beside it), ``moved_blocks``, ``moved_bytes``, ``purges`` (system
    calls), ``compactions``, ``idle_compactions``, ``longest_evacuate_s``, ``longest_purge_s`` (one slice).

    Besides: ``naps``, the time for which the program was held back, like a pause; ``middle``, how often
    (``count``) and how many (``objects``) old objects were handed over without a search; ``oversized``,
    components that were more than twice a slice; ``find_s``, seconds that searches took; ``finder_bytes``,
    the most memory that one needed; ``record_bytes``, what the record of freed memory holds on to;
    ``page_faults`` during flights; ``last_failure``, why a snapshot failed last, or None. More keys may come.

    Where the extension is missing, the same keys with zeros and None.
    """
    if _core is not None:
        return _core.stats()
    return {
        "enabled": False,
        "in_flight": False,
        "snapshots": 0,
        "snapshots_failed": 0,
        "candidates": 0,
        "reclaimed": 0,
        "fallbacks": 0,
        "child_cpu_s": 0.0,
        "pauses": {
            cause: {"count": 0, "total_s": 0.0, "max_s": 0.0, "p50_s": 0.0, "p99_s": 0.0}
            for cause in ("clone", "reclaim", "young", "full")
        },
        "heap": {
            **dict.fromkeys(("live_bytes", "mapped_bytes", "resident_bytes", "returned_bytes")),
            "serving": False,
            "declined": _missing,
        },
        "naps": {"count": 0, "total_s": 0.0, "max_s": 0.0, "p50_s": 0.0, "p99_s": 0.0},
        "middle": {"count": 0, "objects": 0},
        "oversized": 0,
        "find_s": 0.0,
        "finder_bytes": 0,
        "record_bytes": 0,
        "page_faults": 0,
        "last_failure": None,
    }


def heap_map() -> HeapMap:
    """Take a picture of midden's heap: what it holds by size class, and how full each of its pages is.

    ``print(midden.heap_map())`` shows it as text; ``.save("heap.html")``, or ``.svg``, ``.json``, ``.txt``,
    writes a file (OSError when that fails, ValueError for another suffix). ``.live_bytes``, ``.free_bytes``,
    ``.resident_bytes``, ``.returned_bytes`` are its totals, and ``.fragmentation`` is the part of the
    resident memory that is free, 0 to 1. It is of one moment, and what it needs itself is not in it.

    Taking it costs up to 0.15 s for each gigabyte that is resident; the program stands still meanwhile.

    Raises `Unsupported` where the heap cannot serve, and RuntimeError before `enable` was called.
    """
    from .heapmap import heap_map

    return heap_map()


class hold:
    """A context manager: no automatic collection starts inside.

        with midden.hold():
            answer_the_request()

    It holds for the whole process, not for a thread; it nests, and may be entered by several threads at
    once: collections resume when the last one has left. A snapshot in flight goes on, but nothing is handed
    over meanwhile. ``gc.collect()`` and `collect` called inside still work. Does nothing where midden is
    not enabled.
    """

    __slots__ = ()

    def __enter__(self) -> hold:
        if _core is not None:
            _core.hold_enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if _core is not None:
            _core.hold_leave()
