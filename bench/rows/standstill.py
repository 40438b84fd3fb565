"""Longest stand-still with ten million live containers, while cyclic garbage arises all the time."""

from __future__ import annotations

from measure import Run, alternate
from report import Outcome, Target, count, disclose, mib, ms, per_second, secs
from sides import PROGRAMS

from rows import Context

TITLE = "longest stand-still, 10 M live containers in a shuffled layout, garbage all the time"
AT_LEAST = 20.0
HOPS = "10"


def longest_full(run: Run) -> float:
    """Return the longest collection of the oldest generation that the interpreter reported, in seconds."""
    return float(run.report["collections"][-1]["max_s"])


def compare(outcome: Outcome, runs: dict[str, list[Run]]) -> float | None:
    """Fill in lines for `runs` of churn.py; return the median ratio of the longest gaps, if there is one."""
    stock, midden = runs["stock"], runs.get("midden", [])

    def gaps(side: list[Run], key: str) -> list[float]:
        return [run.report["gap"][key] for run in side]

    longest = outcome.compare(
        "longest gap between two steps", gaps(stock, "max_s"), gaps(midden, "max_s"), ms
    )
    for name, key in (("99.99 %", "p9999_s"), ("99.9 %", "p999_s"), ("99 %", "p99_s"), ("median", "p50_s")):
        outcome.compare(f"gap, {name}", gaps(stock, key), gaps(midden, key), ms)
    for generation, name in enumerate(("youngest", "middle", "oldest")):
        one, other = ([r.report["collections"][generation] for r in side] for side in (stock, midden))
        for key, form in (("max_s", ms), ("total_s", secs)):
            what = f"interpreter's own callbacks: {'longest' if form is ms else 'total'}, {name}"
            outcome.compare(what, [f[key] for f in one], [f[key] for f in other], form)
    full = [[r.report["collections"][2]["count"] for r in side] for side in (stock, midden)]
    outcome.compare("collections of the oldest generation", full[0], full[1], count)
    rates = [[r.report["objects_per_s"] for r in side] for side in (stock, midden)]
    outcome.compare("cyclic objects made", rates[0], rates[1], per_second, upside_down=True)
    for key, name in (
        ("VmHWM", "peak resident, program alone"),
        ("VmRSS", "resident at the end"),
        ("VmPTE", "page tables"),
    ):
        sizes = [[r.report["memory_kib"]["end"][key] for r in side] for side in (stock, midden)]
        outcome.compare(name, sizes[0], sizes[1], mib, upside_down=True)
    faults = [[r.report["minor_faults"] for r in side] for side in (stock, midden)]
    outcome.compare(
        "page faults while serving (copy-on-write included)", faults[0], faults[1], count, upside_down=True
    )
    disclose(outcome, midden)
    return longest.median if longest else None


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row."""
    objects, seconds = ("1000000", "10") if context.quick else ("10000000", "45")
    runs = alternate(
        context.sides(outcome),
        context.rounds,
        PROGRAMS / "churn.py",
        [objects, seconds, HOPS],
        label=outcome.name,
    )
    ratio = compare(outcome, runs)
    if min(run.report["collections"][2]["count"] for run in runs["stock"]) < 1:
        outcome.notes.append("stock made no full collection in a round: its longest gap there says nothing")
    if context.quick:
        outcome.notes.append("quick: 1 M objects instead of 10 M")
    outcome.targets.append(Target("longest stand-still, stock ÷ midden", ">=", AT_LEAST, ratio))
    outcome.raw = {side: [run.report for run in those] for side, those in runs.items()}
