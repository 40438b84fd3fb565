"""What it costs to start: an empty program, as it comes and through `midden run` (disclosed, no target)."""

from __future__ import annotations

from measure import alternate
from report import Outcome, ms
from sides import BenchError, embedded, stock

from rows import Context

TITLE = "starting and ending a process that does nothing"


def measure(context: Context, outcome: Outcome) -> None:
    """Measure the row."""
    rounds = 5 if context.quick else 10 * context.rounds
    python = context.main.path
    sides = context.sides(outcome)
    empty = ["-c", "pass"]
    runs = alternate(sides, rounds, empty, label=f"{outcome.name} empty", report=False)
    stock_wall = [run.wall_s for run in runs["stock"]]
    outcome.compare("midden run -c pass", stock_wall, [r.wall_s for r in runs.get("midden", [])], ms)
    try:
        inside = embedded(python)
    except BenchError:
        return
    enabling = {
        "import midden": "import midden",
        "import midden; midden.enable()": "import midden; midden.enable()",
    }
    for what, code in enabling.items():
        pair: dict[str, list[float]] = {"stock": [], "midden": []}
        for _ in range(rounds):
            for side, program in ((stock(python), "pass"), (inside, code)):
                done = alternate([side], 1, ["-c", program], label=f"{outcome.name}: {what}", report=False)
                pair[side.name].append(done[side.name][0].wall_s)
        outcome.compare(what, pair["stock"], pair["midden"], ms)
