"""Memory that goes back when most objects are freed at random, beside CPython's allocator."""

from __future__ import annotations

from measure import Run, alternate
from report import Outcome, Target, count, mib, ms, times
from sides import PROGRAMS, BenchError, Interpreter, Side, embedded, stock

from rows import Context

TITLE = "resident after most of 4 M mixed objects were freed at random, and memory was asked back"
COLUMNS = ("pymalloc", "midden")
AT_MOST = {"99": 0.35, "95": 0.65}
ALL_AT_MOST = 1.10
TARGET_VERSION = (3, 13)
"""The minor version that the targets are for; the main interpreter where it is missing."""


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row on each interpreter."""
    outcome.columns = COLUMNS
    objects = "400000" if context.quick else "4000000"
    rounds = 1 if context.quick else max(1, context.rounds - 2)
    judged = next((one for one in context.interpreters if one.version[:2] == TARGET_VERSION), context.main)
    for interpreter in context.interpreters:
        sides = [stock(interpreter.path)]
        try:
            sides.append(embedded(interpreter.path))
        except BenchError as error:
            outcome.notes.append(f"{interpreter.label}: stock only: {error}")
        whole: list[float] = []
        for percent, bound in AT_MOST.items():
            ratio, kept = _compare(interpreter, sides, rounds, [objects, percent], outcome)
            whole += kept
            if interpreter is judged:
                what = f"{interpreter.label}: resident after {percent} % were freed, midden ÷ pymalloc"
                outcome.targets.append(Target(what, "<=", bound, ratio))
        if interpreter is judged:
            _idle(interpreter, sides[1:], objects, outcome)
            outcome.targets.append(
                Target(
                    f"{interpreter.label}: resident after all were freed ÷ before there were any, midden",
                    "<=",
                    ALL_AT_MOST,
                    max(whole, default=None),
                )
            )
    outcome.notes.append(
        "asked back: midden.compact() there, gc.collect() and malloc_trim(0) here; not asked: gc.collect() "
        "alone on both sides. compact() does each part in one slice; the idle program has slices of a budget"
    )
    if context.quick:
        outcome.notes.append("quick: 400,000 objects instead of 4 M")


def _idle(interpreter: Interpreter, sides: list[Side], objects: str, outcome: Outcome) -> None:
    """Let the program sleep instead of asking: what goes back by itself, and how long a slice of that is."""
    label = f"{interpreter.label}, 99 % freed, then idle"
    args = [objects, "99", "idle"]
    try:
        runs = alternate(sides, 1, PROGRAMS / "heap_return.py", args, label=f"{outcome.name} {label}")
    except BenchError as error:
        outcome.failures.append(f"{label}: {error}")
        return
    for one in (run.report for side in runs.values() for run in side):
        heap = one["heap"]
        outcome.alone(f"{label}: resident", [one["memory_kib"]["asked back"]], mib)
        outcome.alone(f"{label}: longest slice, moving", [heap["longest_evacuate_s"]], ms)
        outcome.alone(f"{label}: longest slice, purging", [heap["longest_purge_s"]], ms)
        if not heap["idle_compactions"]:
            outcome.notes.append(f"{label}: midden did nothing by itself in 30 s")


def _compare(
    interpreter: Interpreter, sides: list[Side], rounds: int, args: list[str], outcome: Outcome
) -> tuple[float | None, list[float]]:
    """Run one share; return the ratio of what stayed resident, and midden's end over its beginning."""
    label = f"{interpreter.label}, {args[1]} % freed"
    try:
        runs = alternate(sides, rounds, PROGRAMS / "heap_return.py", args, label=f"{outcome.name} {label}")
    except BenchError as error:
        outcome.failures.append(f"{label}: {error}")
        return None, []
    left, right = runs["stock"], runs.get("midden", [])
    if len({(run.report["check"], run.report["survivors"]) for run in left + right}) != 1:
        outcome.failures.append(f"{label}: the survivors differ between the sides")

    def at(side: list[Run], key: str) -> list[float]:
        return [float(run.report["memory_kib"][key]) for run in side]

    ratio = None
    for key, what in (
        ("built", "resident with all objects"),
        ("collected", "not asked"),
        ("asked back", "asked back"),
    ):
        spread = outcome.compare(f"{label}: {what}", at(left, key), at(right, key), mib, upside_down=True)
        ratio = spread.median if spread else None
    what = f"{label}: midden asked, pymalloc not"
    outcome.compare(what, at(left, "collected"), at(right, "asked back"), mib, upside_down=True)
    ends = []
    for side in (left, right):
        ends.append([a / b for a, b in zip(at(side, "all asked back"), at(side, "before"), strict=True)])
    outcome.compare(f"{label}: after all were freed ÷ before", ends[0], ends[1], times, upside_down=True)
    if right:
        heaps = [run.report["heap"] for run in right]
        outcome.alone(f"{label}: live bytes in the heap", [one["live_bytes"] / 1024 for one in heaps], mib)
        outcome.alone(f"{label}: bytes moved", [one["moved_bytes"] / 1024 for one in heaps], mib)
        outcome.alone(f"{label}: blocks moved", [one["moved_blocks"] for one in heaps], count)
        outcome.alone(f"{label}: compact(), moving", [one["longest_evacuate_s"] for one in heaps], ms)
        outcome.alone(f"{label}: compact(), purging", [one["longest_purge_s"] for one in heaps], ms)
        outcome.alone(f"{label}: compact() in all", [run.report["seconds"] for run in right], ms)
    return ratio, ends[1]
