"""Run CPython's own regrtest and write down the outcome of every test case, as it happens.

    python record.py OUTCOMES.jsonl [REGRTEST OPTIONS…] TEST…

A line per event, written at once, so that a crash loses nothing and the last "start" names its culprit:
`{"event": "start", "test": ID}` or `{"event": OUTCOME, "test": ID, "seconds": S, "detail": TRACEBACK}`.
regrtest's own `--junit-xml` is not enough: it is written at the end, and leaves out failed subtests.

Runs in the interpreter under test (3.11 to 3.15), with or without midden; knows nothing of midden.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import unittest


class Recorder:
    """Hooks the result class that regrtest uses for every test file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.process = os.getpid()
        self.started = time.monotonic()

    def write(self, event: str, test: object, err: object = None) -> None:
        """Append one line. Opens the file each time: tests close descriptors they did not open."""
        if os.getpid() != self.process:
            return
        entry: dict[str, object] = {"event": event, "test": identity(test)}
        if event != "start":
            entry["seconds"] = round(time.monotonic() - self.started, 4)
        if isinstance(err, str):
            entry["detail"] = err
        elif err is not None:
            entry["detail"] = "".join(traceback.format_exception(*err))[-4000:]  # type: ignore[misc]
        line = (json.dumps(entry) + "\n").encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def install(self, result_class: type) -> None:
        """Wrap the result class's methods; what they did before, they still do."""

        def wrap(name: str, event: str) -> None:
            plain = getattr(result_class, name)

            def wrapped(result: object, test: object, *rest: object) -> object:
                self.write(event, test, rest[0] if rest else None)
                return plain(result, test, *rest)

            setattr(result_class, name, wrapped)

        wrap("addSuccess", "ok")
        wrap("addError", "error")
        wrap("addFailure", "failure")
        wrap("addSkip", "skipped")
        wrap("addExpectedFailure", "expected failure")
        wrap("addUnexpectedSuccess", "unexpected success")

        plain_start = result_class.startTest  # type: ignore[attr-defined]
        plain_subtest = result_class.addSubTest  # type: ignore[attr-defined]

        def start(result: object, test: object) -> object:
            self.started = time.monotonic()
            self.write("start", test)
            return plain_start(result, test)

        def subtest(result: object, test: object, part: object, err: object) -> object:
            if err is not None:
                self.write("subtest failed", test, err)
            return plain_subtest(result, test, part, err)

        result_class.startTest = start  # type: ignore[attr-defined]
        result_class.addSubTest = subtest  # type: ignore[attr-defined]


def identity(test: object) -> str:
    """The test's dotted name, or what stands in for it (a failing setUpClass has no name of its own)."""
    try:
        return str(test.id())  # type: ignore[attr-defined]
    except Exception:
        return str(test)


def result_class() -> type:
    """regrtest's result class, wherever this version keeps it."""
    try:
        from test.libregrtest.testresult import RegressionTestResult
    except ImportError:
        from test.support.testresult import RegressionTestResult  # 3.11
    assert issubclass(RegressionTestResult, unittest.TestResult)
    return RegressionTestResult


def run() -> None:
    """Take our argument out of sys.argv and go on as `python -m test` would."""
    outcomes = sys.argv.pop(1)
    if sys.path and os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):
        del sys.path[0]
    Recorder(outcomes).install(result_class())
    from test.libregrtest.main import main

    main()


if __name__ == "__main__":
    run()
