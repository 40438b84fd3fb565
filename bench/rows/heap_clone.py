"""The stand-still for a clone: objects in huge pages of midden's heap, beside CPython's 4 KiB pages."""

from __future__ import annotations

import statistics
from pathlib import Path

from measure import alternate
from report import Outcome, Target, mib, ms
from sides import PROGRAMS, BenchError, Side, build

from rows import Context

TITLE = "pause for a clone with 10 M live objects: CPython's 4 KiB pages ÷ huge pages of midden's heap"
COLUMNS = ("4 KiB pages", "huge pages")
AT_LEAST = 10.0
CLONES = "7"
HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row."""
    outcome.columns = COLUMNS
    setting = HUGE.read_text().strip() if HUGE.exists() else "[never]"
    target = Target("median pause for a clone, 4 KiB pages ÷ huge pages", ">=", AT_LEAST)
    outcome.targets.append(target)
    if "[never]" in setting:
        outcome.notes.append(f"skipped: this system gives no huge pages ({HUGE}: {setting})")
        return
    outcome.notes.append(f"{HUGE}: {setting}")
    python = context.main.path
    try:
        sides = [Side("pymalloc", python, build(python)), Side("midden", python, build(python))]
    except BenchError as error:
        outcome.notes.append(f"skipped: {error}")
        return
    objects = "1000000" if context.quick else "10000000"
    rounds = 1 if context.quick else max(1, context.rounds - 1)
    runs = alternate(sides, rounds, PROGRAMS / "heap_clone.py", [objects, CLONES], label=outcome.name)
    left, right = runs["pymalloc"], runs["midden"]

    def each(key: str, clones: slice) -> tuple[list[float], list[float]]:
        one, other = ([statistics.median(run.report[key][clones]) for run in side] for side in (left, right))
        return one, other

    spread = outcome.compare(f"idle, median of {CLONES} clones", *each("idle_s", slice(None)), ms)
    target.ratio = spread.median if spread else None
    outcome.compare("idle, the first clone", *each("idle_s", slice(0, 1)), ms)
    outcome.compare("idle, the second", *each("idle_s", slice(1, 2)), ms)
    outcome.compare("idle, median of the later ones", *each("idle_s", slice(2, None)), ms)
    outcome.compare(f"reading all over, median of {CLONES}", *each("busy_s", slice(None)), ms)
    outcome.compare("reading all over, the first", *each("busy_s", slice(0, 1)), ms)
    outcome.compare("reading all over, the second", *each("busy_s", slice(1, 2)), ms)
    outcome.compare("reading all over, the last", *each("busy_s", slice(-1, None)), ms)
    for key, when in (
        ("start", "before the first"),
        ("after_idle", "after the idle ones"),
        ("end", "at the end"),
    ):
        for field, what in (("VmRSS", "resident"), ("VmPTE", "page tables"), ("huge", "in huge pages")):
            sizes = [[run.report[key][field] for run in side] for side in (left, right)]
            outcome.compare(f"{what}, {when}", sizes[0], sizes[1], mib)
    outcome.notes.append(
        "what the program writes while a clone lives breaks huge pages up: the next clone copies more tables"
    )
    if context.quick:
        outcome.notes.append("quick: 1 M objects instead of 10 M")
    outcome.raw = {side: [run.report for run in those] for side, those in runs.items()}
