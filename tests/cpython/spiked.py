"""Owners of buffers as a spike leaves them: many were made, a few at random are left, so that slabs are sparse.

Runs in the interpreter under test. Each kind says how to make one owner from a number, and what it must then
contain; so what a compaction has done to it can be told at any time, without having looked at it before.
"""

from __future__ import annotations

import array
import collections
import gc
import random
import sys
from collections.abc import Callable
from typing import Any

VERSION = sys.version_info[:2]


class Plain:
    """An instance with attributes, which lie where the interpreter likes best."""

    def __init__(self, number: int) -> None:
        self.first = self.second = self.third = number
        self.text = f"instance {number}"
        self.fifth = self.sixth = [number]


class Table(dict):  # type: ignore[type-arg]
    """A dict, but not exactly one: it stays tracked whatever it holds."""


def _with_vars(number: int) -> Plain:
    one = Plain(number)
    assert vars(one)["first"] == number  # now it has a dict, which took over its values
    return one


def _orphan(number: int) -> dict[str, Any]:
    return vars(Plain(number))  # from 3.13 on its values were the instance's, and are its own now


MAKE: dict[str, Callable[[int], Any]] = {
    "list": lambda number: [number] * (3 + number % 50),
    "list, long": lambda number: [number] * 45,
    "dict": lambda number: {key: number for key in range(number % 40)},
    "dict of names": lambda number: {f"name{key}": number for key in range(1 + number % 40)},
    "dict of both": lambda number: {"a": number, (number,): [number], number: "a"},
    "dict of holes": lambda number: _without({key: number for key in range(40)}, range(number % 40)),
    "set": lambda number: set(range(number, number + 6 + number % 60)),
    "set of holes": lambda number: set(range(number, number + 60)) - set(range(number + 7, number + 7 + number % 50)),
    "bytearray": lambda number: bytearray(b"%d," % number * (2 + number % 30)),
    "bytearray, long": lambda number: bytearray(b"%08d" % number * 45),
    "bytearray, cut": lambda number: _without_head(bytearray(b"%d," % number * (2 + number % 30)), number % 5),
    "instance": Plain,
    "vars of an instance": _with_vars,
    "vars of nobody": _orphan,
    "array": lambda number: array.array("q", range(number % 50)),
    "subclass": lambda number: Table({key: number for key in range(number % 40)}),
    "OrderedDict": lambda number: collections.OrderedDict.fromkeys(range(1 + number % 40), number),
    "frozenset": lambda number: frozenset(range(number, number + 6 + number % 60)),
}
STAY = {"array", "subclass", "OrderedDict", "frozenset"}
STAY |= {"bytearray", "bytearray, long", "bytearray, cut"} if VERSION >= (3, 15) else set()
STAY |= {"instance", "vars of an instance"} if VERSION >= (3, 13) else set()
MOVE = [kind for kind in MAKE if kind not in STAY]


def _without(table: dict[int, int], keys: range) -> dict[int, int]:
    for key in keys:
        del table[key]
    return table


def _without_head(data: bytearray, count: int) -> bytearray:
    del data[:count]
    return data


def content(one: Any) -> Any:
    """What it contains, and in which order; reading it leaves no dict of an instance behind."""
    if isinstance(one, Plain):
        return one.first, one.second, one.third, one.text, one.fifth, one.sixth
    if isinstance(one, dict):
        return list(one.items())
    return sorted(one) if isinstance(one, (set, frozenset)) else list(one)


class Spike:
    """What is left of a spike, in the oldest generation. `kept` is the container that refers to it."""

    def __init__(self, kind: str, seed: int, number: int = 20_000, share: float = 0.05) -> None:
        self.kind = kind
        rng = random.Random(seed)
        was = gc.isenabled()
        gc.disable()
        self.kept: Any = {number: MAKE[kind](number) for number in range(number)}
        for one in list(self.kept):
            if rng.random() >= share:
                del self.kept[one]
        self.kept = Table(self.kept)
        gc.collect()
        if was:
            gc.enable()

    def check(self) -> None:
        """Raise if anything is not as it was made."""
        for number, one in self.kept.items():
            made = MAKE[self.kind](number)
            assert type(one) is type(made) and content(one) == content(made), (self.kind, number, one)

    def change(self) -> None:
        """Write to everything, so that whoever has the wrong idea of its memory does harm."""
        for number, one in self.kept.items():
            if isinstance(one, (list, array.array)):
                one.extend(range(number % 20))
            elif isinstance(one, bytearray):
                one += b"x" * (number % 20)
            elif isinstance(one, dict):
                one.update({key: number for key in range(100, 100 + number % 20)})
            elif isinstance(one, set):
                one.update(range(-number % 20, 0))
            elif isinstance(one, Plain):
                for key in range(number % 20):
                    setattr(one, f"more{key}", number)

    def changed(self) -> None:
        """Raise if it is not what change() has made of it."""
        other = Spike.__new__(Spike)
        other.kind, other.kept = self.kind, {number: MAKE[self.kind](number) for number in self.kept}
        other.change()
        for number, one in self.kept.items():
            assert content(one) == content(other.kept[number]), (self.kind, number, one)
            if isinstance(one, Plain):
                assert vars(one) == vars(other.kept[number]), (number, vars(one))


def moved() -> int:
    """How many blocks have moved so far."""
    import midden
    return int(midden.stats()["heap"]["moved_blocks"])


def compact() -> int:
    """Compact, verify lists and heap, and return how many blocks moved."""
    import midden
    before = moved()
    midden.compact()
    midden._core.check_lists()
    midden._core.check_heap()
    return moved() - before


def table_at(one: Any) -> int:
    """The address of the buffer of a list, dict, set or bytearray, as CPython's headers place it."""
    import ctypes
    offset = {list: 24, dict: 32, set: 40, bytearray: 32}[type(one)]
    return ctypes.c_size_t.from_address(id(one) + offset).value
