"""``midden heap``: run a program and show its heap at exit or when a signal arrives, or show a saved one.

The program runs as with ``midden run``, which carries our words into it (run.py): ``heap``, ``heap-at-exit``,
``heap-signal=SIGUSR2``, and the file in MIDDEN_RUN_HEAP. There `_startup` calls `summary`, and that calls us.
"""

from __future__ import annotations

import os
import sys

from midden import heapmap
from midden.heapmap import HeapMap, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# --- the command ----------------------------------------------------------------------------------------


def words(signal: str | None, at_exit: bool) -> list[str]:
    """The options as words of MIDDEN_RUN. Raises `UsageError` for a signal that cannot be waited for."""
    if signal is None:
        return ["heap", "heap-at-exit"]
    return ["heap", "heap-signal=" + _signal_name(signal), *["heap-at-exit"] * at_exit]


def _signal_name(told: str) -> str:
    import signal

    from midden.cli import UsageError

    name = told.upper() if told.upper().startswith("SIG") else "SIG" + told.upper()
    try:
        known = signal.Signals(int(told)) if told.isdecimal() else signal.Signals[name]
    except (KeyError, ValueError):
        raise UsageError(f"there is no signal {told!r}") from None
    # Who gets one of the latter must not go on, or is stopped for good reason.
    refused = ("KILL", "STOP", "SEGV", "BUS", "FPE", "ILL", "ABRT", "TRAP", "SYS")
    if known.name in ["SIG" + one for one in refused]:
        raise UsageError(f"{known.name} cannot be waited for; take USR1 or USR2")
    return known.name


def check_suffix(path: str) -> None:
    """Raise `UsageError` when the name of a file does not say how to write it."""
    from midden.cli import UsageError

    try:
        heapmap.suffix_of(path)
    except ValueError as error:
        raise UsageError(f"can't write heap file {path!r}: {error}") from None


def show(path: str, output: str | None) -> int:
    """Show a saved heap, or write it in another form; returns the exit status."""
    from midden.cli import UsageError

    try:
        with open(path, "rb") as file:
            picture = HeapMap.from_json(file.read())
    except OSError as error:
        raise UsageError(f"can't read heap file {path!r}: {_reason(error)}") from None
    except (ValueError, RecursionError) as error:
        reason = str(error) if "midden" in str(error) else "not a heap saved by midden"
        raise UsageError(f"can't read heap file {path!r}: {reason}") from None
    if output is None:
        sys.stdout.write(printable(picture, sys.stdout.encoding))
        sys.stdout.flush()
        return 0
    try:
        picture.save(output)
    except OSError as error:
        raise UsageError(f"can't write heap file {output!r}: {_reason(error)}") from None
    return 0


def _reason(error: OSError) -> str:
    return f"[Errno {error.errno}] {error.strerror}"


def printable(picture: HeapMap, encoding: str | None) -> str:
    """The text, in characters that an encoding has."""
    text = picture.text()
    try:
        text.encode(encoding or "ascii")
    except (UnicodeError, LookupError):
        text = picture.text(ascii=True)
    return text


# --- in the program -------------------------------------------------------------------------------------


class Shower:
    """Shows the heap of this process when asked: on stderr, or in a file."""

    def __init__(self, path: str | None, say: Callable[[str], None], quiet: bool) -> None:
        self.pid = os.getpid()
        self.path = path
        self.say = say
        self.quiet = quiet
        self.count = 0  # signals
        if path is not None:  # now, while nothing of the program's can hide what this needs
            import json  # noqa: F401

            from midden import heappage  # noqa: F401

    def listen(self, name: str) -> None:
        """Show it whenever that signal arrives."""
        import signal

        self.moment = "on " + name
        signal.signal(signal.Signals[name], self._arrived)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        path = self.path
        if path is not None:
            path = numbered(path, self.count, None if os.getpid() == self.pid else os.getpid())
        self.show(self.moment, path)

    def show_at_exit(self) -> None:
        self.show("at exit", self.path)

    def show(self, moment: str, path: str | None) -> None:
        """Nothing here may raise into the program."""
        try:
            picture = heapmap.heap_map(moment)
            if path is None:
                encoding = sys.__stderr__.encoding if sys.__stderr__ else "ascii"
                self.say(printable(picture, encoding).rstrip("\n"))
                return
            picture.save(path)
            if not self.quiet:
                live, free = size(picture.live_bytes), size(picture.free_bytes)
                share = f"{picture.fragmentation * 100:.1f} %"
                self.say(f"midden: wrote {path}: {live} live, {free} free ({share})")
        except OSError as error:
            self.say(f"midden: can't write heap file {path!r}: {_reason(error)}")
        except Exception as error:
            self.say(f"midden: no picture of the heap: {error or type(error).__name__}")


def numbered(path: str, number: int, pid: int | None) -> str:
    """Where the n-th picture goes: heap.html -> heap.3.html; of a child of the program heap.<pid>.3.html."""
    root, suffix = os.path.splitext(path)
    return f"{root}.{number}{suffix}" if pid is None else f"{root}.{pid}.{number}{suffix}"
