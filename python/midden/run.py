"""``midden run``: become a plain Python that enables midden before the program starts.

The command replaces itself (exec) by the same interpreter, with the same flags, running the program. So
the program has its own ``__main__``, arguments, tracebacks, signals, stdin and exit status: they are not
imitated, they are Python's. midden gets in through `_startup/sitecustomize.py`, whose folder is put in front
of PYTHONPATH; it puts PYTHONPATH back before any of the program's code runs.

The variables that carry the options (read without any import, so that starting stays fast):

    MIDDEN_RUN              words separated by commas: pid=N (the launching process), quiet, children,
                            fast-collect; heap, heap-at-exit, heap-signal=NAME (heaprun.py)
    MIDDEN_RUN_STATS        where the stats file goes, absolute; unset: nowhere
    MIDDEN_RUN_HEAP         where the heap's picture goes, absolute; unset: to stderr
    MIDDEN_RUN_PYTHONPATH   PYTHONPATH as it was; unset: it was not set
"""

from __future__ import annotations

import os
import stat
import sys
from typing import NoReturn

from midden.cli import UsageError

STARTUP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_startup")


def _target(program: list[str], command: str) -> list[str]:
    """Check what is to be run, as far as python itself would refuse with its own name in the message."""
    if not program:
        raise UsageError(f"{command} needs a SCRIPT, -m MODULE or -c CODE (midden {command} --help)")
    first = program[0]
    if first in ("-m", "-c") and len(program) == 1:
        raise UsageError("-m needs a module name" if first == "-m" else "-c needs the code to run")
    if first == "-" or first[:2] in ("-m", "-c"):
        return program
    try:
        if stat.S_ISREG(os.stat(first).st_mode):  # opening a pipe would be noticed at its other end
            with open(first, "rb"):
                pass
    except (OSError, ValueError) as error:
        where = os.path.join(os.getcwd(), first)
        raise UsageError(f"can't open file {where!r}: {_reason(error)}") from None
    # A script may be called -x.py when it comes after "--"; to python that would be an option.
    return [os.path.join(os.curdir, first) if first.startswith("-") else first, *program[1:]]


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"[Errno {error.errno}] {error.strerror}"
    return str(error)


def writable_file(path: str, what: str) -> str:
    """The absolute path, if a file can be written there; nothing is created yet. what: "stats file"."""
    where = os.path.abspath(path)
    if os.path.isdir(where):
        raise UsageError(f"can't write {what} {where!r}: it is a folder")
    folder = os.path.dirname(where)
    if os.path.exists(where):
        writable = os.access(where, os.W_OK)
    elif os.path.isdir(folder):
        writable = os.access(folder, os.W_OK | os.X_OK)
    else:
        raise UsageError(f"can't write {what} {where!r}: there is no folder {folder!r}")
    if not path or not writable:
        raise UsageError(f"can't write {what} {where!r}: permission denied")
    return where


def interpreter_flags() -> list[str]:
    """The flags that this interpreter was started with, to be given to the next.

    They are read off the original command line, since sys.flags does not tell all (-u, for one).
    """
    before = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv[1:])]
    if before + sys.argv[1:] == sys.orig_argv and len(before) >= 2:
        flags, last = before[1:-1], before[-1]
        if last == "-mmidden":
            return flags
        if last == "midden" and flags and flags[-1].startswith("-") and flags[-1].endswith("m"):
            combined = flags.pop()[:-1]  # -m, or -um
            return flags if combined == "-" else [*flags, combined]
        if os.path.exists(last) and os.path.abspath(last) == os.path.abspath(sys.argv[0]):
            return flags
    import subprocess  # started in some other way, e.g. by a test: what sys.flags tells

    flags = list(subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]
    return flags


def environment(words: list[str], stats: str | None, heap: str | None) -> dict[str, str]:
    """This process's environment, changed so that the next Python starts with midden enabled."""
    changed = dict(os.environ)
    if "MIDDEN_RUN" in changed:  # we were started by a `midden run --children`: begin from before it
        before = changed.pop("MIDDEN_RUN_PYTHONPATH", None)
        changed.pop("MIDDEN_RUN_STATS", None)
        changed.pop("MIDDEN_RUN_HEAP", None)
    else:
        before = changed.get("PYTHONPATH")
    changed["MIDDEN_RUN"] = ",".join([f"pid={os.getpid()}", *words])  # exec keeps the pid
    if stats is not None:
        changed["MIDDEN_RUN_STATS"] = stats
    if heap is not None:
        changed["MIDDEN_RUN_HEAP"] = heap
    changed["PYTHONPATH"] = STARTUP
    if before is not None:
        changed["MIDDEN_RUN_PYTHONPATH"] = before
        if before:  # an empty one means none; "STARTUP:" would mean the current folder
            changed["PYTHONPATH"] += os.pathsep + before
    return changed


def run(
    program: list[str],
    *,
    quiet: bool = False,
    stats: str | None = None,
    children: bool = False,
    fast_collect: bool = False,
) -> NoReturn:
    """``midden run``: replace this process by the program. Raises `UsageError` when that cannot work."""
    words = ["quiet"] * quiet + ["children"] * children + ["fast-collect"] * fast_collect
    become(program, "run", words, stats=stats)


def become(
    program: list[str],
    command: str,
    words: list[str],
    *,
    stats: str | None = None,
    heap: str | None = None,
) -> NoReturn:
    """Replace this process by the program, with these words of MIDDEN_RUN, on behalf of a command of ours."""
    program = _target(program, command)
    stats = None if stats is None else writable_file(stats, "stats file")
    heap = None if heap is None else writable_file(heap, "heap file")
    if not sys.executable:
        raise UsageError("this Python does not know its own path (sys.executable is empty)")
    if os.pathsep in STARTUP:
        raise UsageError(f"midden lies in a folder whose name PYTHONPATH cannot hold: {STARTUP!r}")
    for flag, letters in ((sys.flags.no_site, "-S"), (sys.flags.isolated, "-I")):
        if flag:
            raise UsageError(
                f"{command} does not work with python {letters}: it starts through PYTHONPATH and site"
            )
    if sys.flags.ignore_environment:
        raise UsageError(f"{command} does not work with python -E: it starts through PYTHONPATH and site")
    arguments = [sys.executable, *interpreter_flags(), *program]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(sys.executable, arguments, environment(words, stats, heap))
    except (OSError, ValueError) as error:
        raise UsageError(f"can't start {sys.executable!r}: {_reason(error)}") from None
