"""Throughput of a service that makes more than a million cyclic objects a second over a large old heap."""

from __future__ import annotations

from measure import Run, alternate
from report import Outcome, Target, count, disclose, mib, per_second
from sides import PROGRAMS

from rows import Context

TITLE = "throughput of a service making a million cyclic objects a second over 6 M old ones"
AT_LEAST = 1.1
HOPS = "5"
ASKED_PER_S = 1e6


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row."""
    objects, seconds = ("1000000", "8") if context.quick else ("6000000", "30")
    runs = alternate(
        context.sides(outcome),
        context.rounds,
        PROGRAMS / "churn.py",
        [objects, seconds, HOPS],
        label=outcome.name,
    )
    stock, midden = runs["stock"], runs.get("midden", [])

    def figure(side: list[Run], *keys: str) -> list[float]:
        found = []
        for run in side:
            value = run.report
            for key in keys:
                value = value[key]
            found.append(float(value))  # type: ignore[arg-type]
        return found

    rate = outcome.compare(
        "cyclic objects made",
        figure(stock, "objects_per_s"),
        figure(midden, "objects_per_s"),
        per_second,
        upside_down=True,
    )
    outcome.compare(
        "the same between collections",
        [_rate_without(r) for r in stock],
        [_rate_without(r) for r in midden],
        per_second,
        upside_down=True,
    )
    for key, what in (("VmHWM", "peak resident, program alone"), ("VmRSS", "resident at the end")):
        outcome.compare(
            what,
            figure(stock, "memory_kib", "end", key),
            figure(midden, "memory_kib", "end", key),
            mib,
            upside_down=True,
        )
    outcome.compare(
        "page faults while serving",
        figure(stock, "minor_faults"),
        figure(midden, "minor_faults"),
        count,
        upside_down=True,
    )
    disclose(outcome, midden)
    asked = min(_rate_without(run) for run in stock)
    if asked < ASKED_PER_S:
        outcome.notes.append(
            f"this machine makes only {per_second(asked)} between collections: not yet the row meant"
        )
    if context.quick:
        outcome.notes.append("quick: 1 M old objects instead of 6 M")
    outcome.notes.append(
        '"between collections" leaves out the time that the interpreter\'s callbacks account for'
    )
    outcome.targets.append(
        Target("throughput, midden ÷ stock", ">=", AT_LEAST, rate.median if rate else None)
    )


def _rate_without(run: Run) -> float:
    """Return the rate at which objects are made while no collection runs: what the service asks for."""
    busy = sum(generation["total_s"] for generation in run.report["collections"])
    return float(run.report["objects_per_s"] * run.report["seconds"] / (run.report["seconds"] - busy))
