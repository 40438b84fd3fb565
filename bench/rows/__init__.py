"""The rows of the benchmark, in the order in which they run. Each module here is one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from report import Outcome
from sides import BenchError, Interpreter, Side, midden, stock

NAMES = (
    "standstill",
    "growth",
    "finder",
    "finder_lists",
    "throughput",
    "short",
    "startup",
    "memory",
    "heap_speed",
    "heap_peers",
    "heap_peak",
    "heap_return",
    "heap_clone",
)
"""Every row. `load(name)` imports it."""


@dataclass(frozen=True)
class Context:
    """What a row is told: the interpreters (the main one first), how many rounds, and whether to be quick."""

    interpreters: list[Interpreter]
    rounds: int
    quick: bool

    @property
    def main(self) -> Interpreter:
        """The interpreter that every row uses."""
        return self.interpreters[0]

    def sides(self, outcome: Outcome, python: str | None = None) -> list[Side]:
        """Return stock and midden for `python`; stock alone, and a note, if midden cannot be built."""
        python = python or self.main.path
        try:
            return [stock(python), midden(python)]
        except BenchError as error:
            outcome.notes.append(f"stock only: {error}")
            return [stock(python)]


@dataclass(frozen=True)
class Row:
    """A row: its name, one line of what it shows, and the function that measures it."""

    name: str
    title: str
    measure: Callable[[Context, Outcome], None]


def load(name: str) -> Row:
    """Import the row called `name`."""
    module = import_module(f"rows.{name}")
    return Row(name, module.TITLE, module.measure)
