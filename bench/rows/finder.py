"""The finder alone, against the interpreter's own full collection, on every interpreter at hand."""

from __future__ import annotations

from measure import Run, alternate
from report import Outcome, Target, ms
from sides import PROGRAMS, BenchError

from rows import Context

TITLE = "finder alone, 6 M shuffled objects: the interpreter's full collection ÷ finder"
AT_LEAST: dict[tuple[int, ...], float] = {(3, 11): 2.5, (3, 13): 6.0}
PLACES = (
    ("in_place_s", "finder in place"),
    ("clone_s", "finder in the clone, program idle"),
    ("clone_busy_s", "finder in the clone, program busy (disclosed)"),
)


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row on each interpreter."""
    objects, repeats = ("1000000", "3") if context.quick else ("6000000", "3")
    rounds = 1 if context.quick else max(1, context.rounds - 1)
    for interpreter in context.interpreters:
        label = interpreter.label
        sides = context.sides(outcome, interpreter.path)
        try:
            runs = alternate(
                sides, rounds, PROGRAMS / "finder.py", [objects, repeats], label=f"{outcome.name} {label}"
            )
        except BenchError as error:
            outcome.failures.append(f"{label}: {error}")
            continue
        stock = [min(run.report["collect_s"]) for run in runs["stock"]]
        midden: list[Run] = runs.get("midden", [])
        ratio = None
        for key, what in PLACES:
            spread = outcome.compare(f"{label}: {what}", stock, [min(run.report[key]) for run in midden], ms)
            if spread and key == "in_place_s":
                ratio = spread.median
            if not midden:
                break
        if midden:
            again = [min(run.report["collect_s"]) for run in midden]
            outcome.compare(f"{label}: gc.collect() itself, midden enabled", stock, again, ms)
        bound = AT_LEAST.get(interpreter.version[:2])
        if bound:
            outcome.targets.append(Target(f"{label}: full collection ÷ finder in place", ">=", bound, ratio))
    outcome.notes.append("least of the repeats in each process, on either side; gc.disable() while timing")
    if context.quick:
        outcome.notes.append("quick: 1 M objects instead of 6 M")
