"""Run CPython's own tests as stock and under midden, and compare them outcome for outcome.

    python tests/regrtest/run.py [--python PY] [--torture N] [--compact N] [--set quick|whole|heap] [TEST…]

Each test file runs in a process of its own, first as stock, then through `PY -m midden run --children`
with MIDDEN_TORTURE=N (a snapshot every N young collections), and MIDDEN_COMPACT=N (a compaction every N). A test case differs when its outcomes do;
a file in which one does is run once more on both sides, and only what differs again counts. Differences
with an entry in allowed.toml are listed with their reason and do not fail the run.

Exit status: 0 no difference, 1 differences, 2 a bad option or an interpreter that cannot be used.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORD = HERE / "record.py"

# What the collector can break, quickest first. "quick" is what script/test runs.
QUICK = ["test_gc", "test_weakref", "test_weakset", "test_generators", "test_coroutines", "test_asyncgen", "test_dict",
         "test_descr", "test_xml_etree_c", "test_sqlite3", "test_ctypes"]
WHOLE = QUICK + ["test_fork1", "test_capi", "test_io", "test_subprocess", "test_threading", "test_asyncio",
                 "test_multiprocessing_fork"]

# gc.set_threshold() for both sides: so many young collections, and so many snapshots, in tests that allocate little.
THRESHOLD = 100

# What the heap can break, compacting all the time.
HEAP = ["test_list", "test_dict", "test_set", "test_bytes", "test_array", "test_memoryview", "test_buffer", "test_deque",
        "test_ordered_dict", "test_iter", "test_sort", "test_json", "test_pickle", "test_io", "test_threading"]

# How bad an outcome is: a case that ran twice (or had failing subtests) counts as its worst.
RANK = ["ok", "skipped", "expected failure", "unexpected success", "subtest failed", "failure", "error", "unfinished"]


@dataclass
class Outcome:
    """How one test case ended; detail is a traceback or the reason for a skip."""

    kind: str
    detail: str = ""


@dataclass
class Run:
    """One test file, run once."""

    seconds: float = 0.0
    status: str = "ok"  # of the whole file: ok, failed, environment changed, killed by SIGSEGV, timed out …
    cases: dict[str, Outcome] = field(default_factory=dict)
    tail: str = ""  # the end of what it printed
    snapshots: int | None = None  # how many midden took in the first process, as it says itself


@dataclass
class Difference:
    """A test case whose outcome under midden is not that of stock."""

    test: str
    stock: str
    midden: str
    detail: str
    reason: str | None = None  # from allowed.toml


def interrogate(python: str, tests: list[str]) -> tuple[tuple[int, int, int], list[str]]:
    """The version of the interpreter under test, and which of the tests it has; status 2 if it has no tests at all."""
    probe = ("import sys, test.support, test.libregrtest; from importlib.util import find_spec; "
             f"print(*sys.version_info[:3], *[one for one in {tests!r} if find_spec('test.' + one)])")
    try:
        done = subprocess.run([python, "-c", probe], capture_output=True, text=True, timeout=60)
    except OSError as error:
        raise SystemExit(usage_error(f"{python}: {error.strerror}")) from None
    if done.returncode:
        raise SystemExit(usage_error(f"{python}: cannot import its test package (Debian: libpythonX.Y-testsuite)"))
    major, minor, micro, *there = done.stdout.split()
    return (int(major), int(minor), int(micro)), there


def usage_error(message: str) -> int:
    """Say what is wrong in one line; the exit status."""
    print(f"run.py: {message}", file=sys.stderr)
    return 2


STATUSES = {0: "ok", 1: "error", 2: "failed", 3: "environment changed", 4: "no tests ran", 5: "failed, then passed"}


def status_name(code: int) -> str:
    """regrtest's exit status in words."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return STATUSES.get(code, f"exit status {code}")


def run_once(python: str, test: str, *, midden: bool, torture: int, compact: int, site: str | None, limit: float) -> Run:
    """Run one test file in its own directory and session; never raises for what the tests do."""
    scratch = tempfile.mkdtemp(prefix="midden-regrtest-")
    outcomes = os.path.join(scratch, "outcomes.jsonl")
    env = {k: v for k, v in os.environ.items() if not k.startswith("MIDDEN_")}
    env["PYTHONHASHSEED"] = "0"
    env.pop("PYTHONPATH", None)
    command = [python]
    if midden:
        env["MIDDEN_TORTURE"] = str(torture)
        env["MIDDEN_COMPACT"] = str(compact)
        if site:
            env["PYTHONPATH"] = site
        stats = os.path.join(scratch, "stats.json")
        command += ["-m", "midden", "run", "-q", "--stats", stats, "--children"]
    command += [str(RECORD), outcomes, "-v", "--fail-env-changed", "--threshold", str(THRESHOLD), f"--timeout={limit:.0f}", test]
    done = Run()
    started = time.monotonic()
    with open(os.path.join(scratch, "printed"), "w+b") as printed:
        process = subprocess.Popen(command, env=env, cwd=scratch, stdin=subprocess.DEVNULL, stdout=printed,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            done.status = status_name(process.wait(limit + 30))
        except subprocess.TimeoutExpired:
            done.status = "timed out"
        finally:
            try:  # whatever a test left behind; the session is ours
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        done.seconds = time.monotonic() - started
        printed.seek(0, os.SEEK_END)
        printed.seek(max(0, printed.tell() - 6000))
        done.tail = printed.read().decode(errors="replace")
    done.cases = read_outcomes(outcomes)
    if midden and os.path.exists(stats):
        with open(stats, encoding="utf-8") as file:
            done.snapshots = json.load(file).get("snapshots")
    shutil.rmtree(scratch, ignore_errors=True)
    return done


def read_outcomes(path: str) -> dict[str, Outcome]:
    """What record.py wrote; a case that started and never ended is "unfinished"."""
    cases: dict[str, Outcome] = {}
    if not os.path.exists(path):
        return cases
    running: str | None = None
    for line in open(path, encoding="utf-8"):
        entry = json.loads(line)
        name, event = entry["test"], entry["event"]
        if event == "start":
            running = name
            continue
        if event != "subtest failed":
            running = None
        known = cases.get(name)
        if known is None or RANK.index(event) >= RANK.index(known.kind):
            cases[name] = Outcome(event, entry.get("detail", ""))
        if event == "subtest failed":
            running = None
    if running is not None:
        cases[running] = Outcome("unfinished")
    return cases


def compare(test: str, stock: Run, midden: Run) -> list[Difference]:
    """The cases that ended otherwise, and the file itself if its status did."""
    found = []
    for name in sorted(stock.cases.keys() | midden.cases.keys()):
        mine = midden.cases.get(name, Outcome("did not run"))
        theirs = stock.cases.get(name, Outcome("did not run"))
        if mine.kind != theirs.kind:
            found.append(Difference(name, theirs.kind, mine.kind, mine.detail or theirs.detail))
    if stock.status != midden.status:
        found.append(Difference(f"{test} (file)", stock.status, midden.status, midden.tail))
    return found


def load_allowed(path: Path) -> list[dict[str, object]]:
    """The documented differences; every entry must say which test and why."""
    if not path.exists():
        return []
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("allowed", [])
    for entry in entries:
        if not entry.get("test") or not entry.get("reason"):
            raise SystemExit(usage_error(f"{path.name}: an entry lacks its test or its reason: {entry}"))
    return entries


def reason_for(difference: Difference, allowed: list[dict[str, object]], version: tuple[int, int, int]) -> str | None:
    """Why this difference is accepted on this version; None if it is not."""
    short = f"{version[0]}.{version[1]}"
    for entry in allowed:
        versions = entry.get("versions")
        if entry["test"] == difference.test and (versions is None or short in versions):  # type: ignore[operator]
            return str(entry["reason"])
    return None


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0],
                                     epilog="MIDDEN_SITE, or --site: the directory that holds the midden package.")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="test files, e.g. test_gc (default: the set)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter under test")
    parser.add_argument("--site", default=os.environ.get("MIDDEN_SITE"), help="put this on its PYTHONPATH")
    parser.add_argument("--torture", type=int, default=1, metavar="N", help="a snapshot every N young collections (1)")
    parser.add_argument("--compact", type=int, default=0, metavar="N", help="a compaction every N young collections")
    parser.add_argument("--set", choices=["quick", "whole", "heap"], default="whole", help="which tests when none are named")
    parser.add_argument("--stock-only", action="store_true", help="only the baseline: no midden, no comparison")
    parser.add_argument("--limit", type=float, default=900, metavar="SECONDS", help="for one run of one file (900)")
    parser.add_argument("--allowed", type=Path, default=HERE / "allowed.toml", help="the documented differences")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write everything as JSON, too")
    return parser.parse_args()


def main() -> int:
    """Run, compare, print; the exit status."""
    chosen = options()
    python = shutil.which(chosen.python)
    if python is None:
        return usage_error(f"{chosen.python}: no such interpreter")
    if chosen.torture < 1:
        return usage_error("--torture must be 1 or more")
    if chosen.compact < 0:
        return usage_error("--compact must be 0 or more")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored, and tests count on it
    allowed = load_allowed(chosen.allowed)
    wanted = chosen.tests or {"quick": QUICK, "whole": WHOLE, "heap": HEAP}[chosen.set]
    version, tests = interrogate(python, wanted)
    if chosen.tests and len(tests) != len(wanted):
        return usage_error(f"{python} has no {', '.join(sorted(set(wanted) - set(tests)))}")
    print(f"{python} is {'.'.join(map(str, version))}; torture {chosen.torture}", flush=True)
    for missing in sorted(set(wanted) - set(tests)):
        print(f"{missing}: not among the tests of this interpreter")
    print(f"{'test':<28}{'cases':>7}{'stock':>9}{'midden':>9}{'snapshots':>11}  differences", flush=True)
    everything: list[Difference] = []
    saved: dict[str, object] = {}
    for test in tests:
        def once(midden: bool, test: str = test) -> Run:
            return run_once(python, test, midden=midden, torture=chosen.torture,
                            compact=chosen.compact, site=chosen.site, limit=chosen.limit)

        stock = once(False)
        if chosen.stock_only:
            bad = [f"{name}: {case.kind}" for name, case in stock.cases.items()
                   if RANK.index(case.kind) > RANK.index("expected failure")]
            print(f"{test:<28}{len(stock.cases):>7}{stock.seconds:>8.1f}s{'-':>9}{'-':>11}  {stock.status}", *bad, sep="\n      ",
                  flush=True)
            saved[test] = {"seconds": stock.seconds, "status": stock.status, "cases": len(stock.cases), "bad": bad}
            continue
        midden = once(True)
        differences = compare(test, stock, midden)
        if differences:  # flaky, or real? The same case must differ twice.
            again = {d.test for d in compare(test, once(False), once(True))}
            differences = [d for d in differences if d.test in again]
        for difference in differences:
            difference.reason = reason_for(difference, allowed, version)
        fresh = [d for d in differences if d.reason is None]
        note = "none" if not differences else f"{len(fresh)}, and {len(differences) - len(fresh)} allowed"
        print(f"{test:<28}{len(stock.cases):>7}{stock.seconds:>8.1f}s{midden.seconds:>8.1f}s"
              f"{'?' if midden.snapshots is None else midden.snapshots:>11}  {note}", flush=True)
        everything += differences
        saved[test] = {"stock": stock.seconds, "midden": midden.seconds, "cases": len(stock.cases),
                       "differences": [vars(d) for d in differences]}
    report(everything)
    if chosen.save:
        chosen.save.write_text(json.dumps(saved, indent=1), encoding="utf-8")
    return 1 if any(d.reason is None for d in everything) else 0


def report(differences: list[Difference]) -> None:
    """List the differences, the allowed ones with their reason, the others with what the tests said."""
    for difference in differences:
        print(f"\n{difference.test}\n  stock: {difference.stock}; midden: {difference.midden}")
        if difference.reason is not None:
            print(f"  allowed: {difference.reason}")
        else:
            print("  | " + "\n  | ".join(difference.detail.strip().splitlines()[-25:]))


if __name__ == "__main__":
    sys.exit(main())
