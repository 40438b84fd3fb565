"""Runs a program in the interpreter under test, with a time-out, and says all that is needed to run it again.

MIDDEN_PYTHON  the interpreter under test; default: the one that runs pytest. It needs no pytest itself.
MIDDEN_SITE    the directory that holds the midden package built for it; default: where script/test builds it
MIDDEN_SEED    the seed of everything random; printed when a test fails

Every program gets a mark in its environment. A clone inherits it, so a clone (or anything else) that outlives
its program is found by looking for the mark, and is a failure, whatever the program said.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PYTHON = os.environ.get("MIDDEN_PYTHON", sys.executable)
SEED = int(os.environ.get("MIDDEN_SEED") or secrets.randbelow(1 << 32))

# What every program may use without importing it; watch.py tells of the rest.
PRELUDE = """\
import gc, json, os, signal, sys, threading, time, weakref
import midden
from watch import *
"""


@dataclass
class Ended:
    """A program that has run; status is negative for a signal."""

    source: str
    status: int
    out: str
    err: str

    def told(self) -> object:
        """The last line of its stdout, as JSON."""
        return json.loads(self.out.strip().splitlines()[-1])


@functools.lru_cache
def site() -> str:
    """The directory that holds the package: MIDDEN_SITE, or the build for the interpreter under test."""
    if os.environ.get("MIDDEN_SITE"):
        return os.environ["MIDDEN_SITE"]
    tag = subprocess.run([PYTHON, "-c", "import sys; print(sys.implementation.cache_tag)"], capture_output=True,
                         text=True, check=True).stdout.strip()
    for name in (f"test-{tag}", tag):
        if (HERE.parent.parent / "build" / name / "site").is_dir():
            return str(HERE.parent.parent / "build" / name / "site")
    return ""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a program: ours without midden's settings, and with what the test asks for."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("MIDDEN_", "PYTHON")) or name == "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPATH"] = os.pathsep.join([site(), str(HERE)])
    env["PYTHONHASHSEED"] = "0"
    env["PYTHONFAULTHANDLER"] = "1"
    env["MIDDEN_SEED"] = str(SEED)
    env.update(extra or {})
    return env


def marked(mark: str) -> list[int]:
    """The processes, zombies apart, that carry the mark."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if mark.encode() in Path("/proc", entry, "environ").read_bytes():
                    found.append(int(entry))
            except OSError:
                pass
    return found


def outlived(mark: str, grace: float = 3.0) -> list[int]:
    """The processes with the mark that are still there after a moment of grace; they are ended."""
    until = time.monotonic() + grace
    while (left := marked(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return left


def execute(command: list[str], source: str, extra: Mapping[str, str] | None, timeout: float,
            status: int | None) -> Ended:
    """Run a command; fail the test on another exit status, on a time-out, and on processes left over."""
    mark = f"MIDDEN_MARK={secrets.token_hex(8)}"
    env = environment(extra)
    env[mark.partition("=")[0]] = mark.partition("=")[2]
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
    late = False
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        late = True
        for pid in marked(mark):  # faulthandler, where the program registered it, tells where it hangs
            os.kill(pid, signal.SIGABRT if pid == process.pid else signal.SIGKILL)
        out, err = process.communicate()
    left = outlived(mark)
    ended = Ended(source, process.returncode, out, err)
    settings = " ".join(f"{name}={value}" for name, value in sorted((extra or {}).items()))
    if late:
        blame(ended, f"did not end in {timeout} s", settings)
    if status is not None and ended.status != status:
        blame(ended, f"ended with status {ended.status}, not {status}", settings)
    if left:
        blame(ended, f"{len(left)} processes outlived the program", settings)
    return ended


def blame(ended: Ended, what: str, settings: str = "") -> None:
    """Fail the test with the program, its output and how to run it again."""
    pytest.fail(f"the program {what}\nMIDDEN_SEED={SEED} {settings} python={PYTHON}\n"
                f"--- program\n{ended.source}\n--- stdout\n{ended.out[-4000:]}\n--- stderr\n{ended.err[-6000:]}", pytrace=False)


def run(source: str, *, env: Mapping[str, str] | None = None, timeout: float = 60, status: int | None = 0,
        options: tuple[str, ...] = ()) -> Ended:
    """Run a program that may use the names of PRELUDE; it says that it is wrong by an exception."""
    source = PRELUDE + textwrap.dedent(source)
    return execute([PYTHON, *options, "-c", source], source, env, timeout, status)


def run_file(name: str, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 60,
             status: int | None = 0) -> Ended:
    """Run a file of this directory."""
    return execute([PYTHON, str(HERE / name), *arguments], " ".join([name, *arguments]), env, timeout, status)


def same_as_stock(source: str, *, env: Mapping[str, str] | None = None, timeout: float = 60) -> Ended:
    """Run the program as stock (MIDDEN_ON unset) and under midden; they must print the same."""
    begin = """\
        import gc, os, sys, time, weakref
        if "MIDDEN_ON" in os.environ:
            import midden
            midden.enable()
        """
    whole = textwrap.dedent(begin) + textwrap.dedent(source)
    command = [PYTHON, "-c", whole]
    stock = execute(command, whole, env, timeout, 0)
    mine = execute(command, whole, {**(env or {}), "MIDDEN_ON": "1"}, timeout, 0)
    if mine.out != stock.out:
        blame(mine, f"printed something else than stock, which printed:\n{stock.out[-3000:]}")
    return mine


@functools.lru_cache
def version() -> tuple[int, int]:
    """The version of the interpreter under test."""
    done = subprocess.run([PYTHON, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True,
                          check=True)
    major, minor = map(int, done.stdout.split())
    return major, minor


@functools.lru_cache
def why_not() -> str | None:
    """Why midden cannot be tested in this interpreter; None if it can."""
    probe = "import midden\nmidden.enable()\nassert midden.is_enabled(), 'it declines'"
    done = subprocess.run([PYTHON, "-c", probe], env=environment(), capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it died"])[-1]


@functools.lru_cache
def has_faults() -> bool:
    """Whether the extension was built with -Dfaults=true."""
    probe = PRELUDE + "midden.enable()\ntry: midden.collect()\nexcept Exception: pass\nprint(midden.stats()['snapshots_failed'])"
    done = subprocess.run([PYTHON, "-c", probe], env=environment({"MIDDEN_FAULT": "clone=*"}), capture_output=True, text=True)
    return done.returncode == 0 and done.stdout.strip() not in ("", "0")


def has_module(name: str) -> bool:
    """Whether the interpreter under test can import a module."""
    return subprocess.run([PYTHON, "-c", f"import {name}"], capture_output=True).returncode == 0
