"""The finder over lists that a collection has permuted, and over the heap's own bits of old objects."""

from __future__ import annotations

from measure import alternate
from report import Outcome, Target, ms
from sides import PROGRAMS, BenchError, Side, build

from rows import Context

TITLE = "finder, 6 M shuffled objects: following the interpreter's lists ÷ reading the heap's bits"
COLUMNS = ("lists", "bits")
AT_LEAST: dict[tuple[int, ...], float] = {(3, 11): 1.5, (3, 13): 2.5}
PLACES = (
    ("clone_s", "in the clone, program idle"),
    ("clone_cpu_s", "processor time of a clone, its end included (disclosed)"),
    ("in_place_s", "in place (disclosed)"),
)


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row on each interpreter."""
    outcome.columns = COLUMNS
    objects = "1000000" if context.quick else "6000000"
    rounds = 1 if context.quick else max(1, context.rounds - 1)
    for interpreter in context.interpreters:
        label = interpreter.label
        ratio = None
        try:
            site = build(interpreter.path)
            sides = [
                Side("lists", interpreter.path, site, run=True, extra=(("MIDDEN_ROSTER", "0"),)),
                Side("bits", interpreter.path, site, run=True),
            ]
            args = [objects, "3", "clone", "in_place"]
            runs = alternate(sides, rounds, PROGRAMS / "finder.py", args, label=f"{outcome.name} {label}")
        except BenchError as error:
            outcome.failures.append(f"{label}: {error}")
            continue
        for key, what in PLACES:
            left, right = ([min(run.report[key]) for run in runs[side.name]] for side in sides)
            spread = outcome.compare(f"{label}: {what}", left, right, ms)
            if spread and key == "clone_s":
                ratio = spread.median
        outcome.raw[label] = {side: [run.report for run in those] for side, those in runs.items()}
        bound = AT_LEAST.get(interpreter.version[:2])
        if bound:
            outcome.targets.append(Target(f"{label}: search in the clone, lists ÷ bits", ">=", bound, ratio))
    outcome.notes.append(
        "the heap serves on both sides; MIDDEN_ROSTER=0 keeps the searches of one on the lists. A full "
        "collection of the interpreter came before; least of the repeats in each process"
    )
    if context.quick:
        outcome.notes.append("quick: 1 M objects instead of 6 M")
