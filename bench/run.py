"""Measure midden beside stock CPython, row by row. See `script/bench --help`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import NoReturn

import report
import rows
from measure import PROGRESS
from sides import ROOT, BenchError, build, discover


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="script/bench",
        description="Run midden and stock CPython side by side, in turn, and print their ratios.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows to run (default: all); see --list")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument(
        "--quick", action="store_true", help="small heaps, one round: does it work, not how well"
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PY",
        help="interpreter to measure on; again for more (default: all found, the system's first)",
    )
    parser.add_argument(
        "--rounds", type=int, default=0, metavar="N", help="rounds of A B (default: 3; quick: 1)"
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build" / "bench", metavar="DIR", help="where results go"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with status 1 when a target is not reached"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in rows.NAMES]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)} (there are: {', '.join(rows.NAMES)})")
    if options.rounds < 0:
        parser.error("--rounds must be positive")
    return options


def main(arguments: list[str]) -> int:
    """Run the rows asked for; return 1 if one failed (or missed its target, with --strict), else 0."""
    options = parse(arguments)
    if options.list:
        for name in rows.NAMES:
            print(f"{name:12} {rows.load(name).title}")
        return 0
    context = rows.Context(
        discover(options.python), options.rounds or (1 if options.quick else 3), options.quick
    )
    about = report.machine() | {
        "interpreters": ", ".join(one.label for one in context.interpreters),
        "rounds": context.rounds,
        "quick": context.quick,
    }
    print("\n".join(f"{key}: {value}" for key, value in about.items()) + "\n", flush=True)
    PROGRESS.start("building midden")
    try:
        build(context.main.path)
    except BenchError as error:
        PROGRESS.clear()
        print(f"note: {error}; stock side only\n", flush=True)
    outcomes: list[report.Outcome] = []
    for name in options.names or rows.NAMES:
        row = rows.load(name)
        outcome = report.Outcome(name, row.title)
        try:
            row.measure(context, outcome)
        except BenchError as error:
            PROGRESS.clear()
            outcome.failures.append(str(error))
        PROGRESS.clear()
        outcomes.append(outcome)
        print(report.text(outcome), flush=True)
        written = report.write(outcomes, about, options.output)
    print("written: " + ", ".join(map(str, written)))
    missed = [target.show() for outcome in outcomes for target in outcome.targets if target.reached is False]
    for line in missed:
        print(f"not reached: {line}")
    failed = [f"{outcome.name}: {failure}" for outcome in outcomes for failure in outcome.failures]
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed or (options.strict and missed) else 0


def fail(message: str) -> NoReturn:
    """End with one line on stderr."""
    PROGRESS.clear()
    print(f"script/bench: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchError as problem:
        fail(str(problem))
    except KeyboardInterrupt:
        fail("interrupted")
