"""C code that calls Python code while it is at work on lists, dicts, sets and bytearrays.

Each piece of work takes a list, a dict and a set that are old and alone in sparse slabs, lets C code do something
with them that calls `f` all the time, and returns what came out. `f` returns its argument, and now and then it
compacts, if midden is on. What is printed must be the same with and without.

Runs in the interpreter under test; imports midden only if it is on.
"""

from __future__ import annotations

import bisect
import copy
import csv
import functools
import gc
import heapq
import io
import itertools
import json
import os
import pickle
import re
import struct
import threading
from collections.abc import Callable
from typing import Any

import spiked

Work = Callable[[list[Any], dict[Any, Any], set[Any]], Any]
WORK: dict[str, Work] = {}
COMPACTING = "MIDDEN_ON" in os.environ
turn = 0


def f(one: Any = None, *more: Any) -> Any:
    """Return the argument; every seventh time, compact."""
    global turn
    turn += 1
    if COMPACTING and turn % 7 == 1:
        spiked.compact()
    return one


def work(function: Work) -> Work:
    """Register a piece of work."""
    WORK[function.__name__] = function
    return function


# --- objects whose methods call f ----------------------------------------------------------------------------------


class Plain:
    """Holds something."""

    def __init__(self, x: Any) -> None:
        self.x = x


class Key(Plain):
    """To be hashed, with many collisions, and compared."""

    def __hash__(self) -> int:
        return int(f(self.x)) % 5

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and f(self.x) == other.x

    def __lt__(self, other: Any) -> Any:
        return f(self.x) < other.x


class Shown(Plain):
    """To be formatted."""

    def __repr__(self) -> str:
        return str(f(f"<{self.x}>"))

    def __format__(self, spec: str) -> str:
        return repr(self)


class Reduced(Plain):
    """To be pickled and copied."""

    def __reduce__(self) -> Any:
        return Reduced, (f(self.x),)


class Index(Plain):
    """To be taken for an int."""

    def __index__(self) -> int:
        return int(f(self.x))


class Mapping(dict):  # type: ignore[type-arg]
    """A dict that has its own idea of its keys."""

    def keys(self) -> Any:
        return f(list(super().keys()))

    def __getitem__(self, key: Any) -> Any:
        return f(super().__getitem__(key))


def keys(values: Any) -> list[Key]:
    """A Key of each."""
    return [Key(x) for x in values]


def called(*args: Any, **kwargs: Any) -> Any:
    """Something to call with arguments that were unpacked."""
    return f(args), f(kwargs)


# --- lists ---------------------------------------------------------------------------------------------------------


@work
def sort(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Its items are taken away meanwhile."""
    L.sort(key=f)
    return L, sorted(L, key=f, reverse=True), min(L, key=f), max(D, key=f), max(S, key=f)


@work
def sort_in_sort(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Several at a time."""
    L.sort(key=lambda x: sorted(map(f, L)))
    return sorted(L, key=lambda x: (sorted(D, key=f), x))


@work
def change_in_sort(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """What a sort finds out at its end."""
    seen: list[Any] = []

    def key(x: Any) -> Any:
        L.append(f(x))
        seen.append(len(L))
        return x

    try:
        L.sort(key=key)
    except ValueError as error:
        seen.append(str(error))
    return seen, L


@work
def join(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """The items are put into a list of join's own."""
    out = "".join(map(str, map(f, L))), b",".join(bytes([f(x) % 256]) for x in L)
    L[:] = map(str, L)
    return out, "".join(L) + f(""), " ".join(map(f, L))


@work
def extend(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """The list is referred to by C code only, or is the one that is read."""
    L.extend(map(f, L[:]))
    L.extend(f(x) for x in L[:9])
    L.extend(f(x) for x in [L[i] for i in range(len(L))])
    return L * 2, L + f([]), list(map(f, L)), tuple(map(f, D)), set(map(f, S))


@work
def slices(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Positions that are asked for."""
    L[1:3] = map(f, L)
    L[::2] = [f(x) for x in L[::2]]
    del L[f(1):f(4)]
    L[Index(2)] = L[Index(1)]
    return L, L[f(0):f(9)], L[Index(1):Index(5)], L.pop(Index(3))


@work
def compare(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Item by item."""
    a, b = keys(L), keys(L)
    L[:] = keys(L)
    out = a == b, a < b, a.index(Key(L[-1].x)), a.count(Key(L[0].x)), Key(L[1].x) in a, L == a
    L.remove(Key(L[-1].x))
    L.insert(f(2), Key(7))
    return out, L


@work
def heaps(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """C code with a list of its caller's."""
    out = [bisect.bisect(sorted(L), x, key=f) for x in L]
    L[:] = keys(L)
    heapq.heapify(L)
    return out, [heapq.heappop(L).x for _ in range(len(L))]


@work
def calls(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Arguments, and what is unpacked."""
    first, *rest = map(f, L)
    named = {f"k{key}": value for key, value in D.items()}
    return (first, rest, [*map(f, L)], {**D, "x": f(1)}, called(f(L), *L, **named),
            called(*map(f, L), **Mapping({"a": f(1)})))


@work
def texts(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """What a container shows of itself."""
    L[:] = [Shown(x) for x in L]
    D.update((key, Shown(value)) for key, value in list(D.items()))
    return f"{L} {D} {f(len(S))!r}", "{} {}".format(Shown(2), L), repr([D, L]), "%s" % (L,)


# --- dicts and sets ------------------------------------------------------------------------------------------------


@work
def lookups(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Keys that collide."""
    E = {Key(x): f(x) for x in L}
    return [E[Key(x)] for x in L], [E.get(Key(x + 1)) for x in L], Key(L[0]) in E


@work
def changes(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Insertions and deletions of such keys."""
    for x in L:
        D[Key(x)] = f(x)
    out = [D.pop(Key(x), None) for x in L], D.setdefault(Key(3), f(3)), len(D)
    D.update((Key(x), f(x)) for x in L)
    D.update({Key(x): x for x in L})
    return out, list(D.values())


@work
def merges(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Of two dicts, and of dicts in dicts."""
    a = {Key(x): x for x in L[:8]}
    out = len(a | {Key(x): f(x) for x in L}), len({**a, **D}), a == {Key(x): f(x) for x in L[:8]}
    D.update({key: {Key(key): value} for key, value in list(D.items())})
    return out, {key: {Key(key): f(next(iter(one.values())))} for key, one in D.items()} == D


@work
def iteration(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Iterators that f interrupts."""
    return ([(key, f(value)) for key, value in D.items()], [f(key) for key in D], list(map(f, D.values())),
            list(zip(D, map(f, D))), dict(zip(map(f, D), L)), sorted(map(f, S)), dict.fromkeys(map(f, L), 1))


@work
def sets(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Two at a time."""
    numbers = set(S)
    S.clear()
    S.update(keys(L[:9]))
    others = {Key(f(x)) for x in L[3:12]}
    out = len(S | others), len(S & others), len(S ^ others), len(S - others), S == others, S.isdisjoint(keys(L))
    S.discard(Key(L[0]))
    S.add(Key(9))
    S -= {Key(L[1])}
    S |= set(keys(list(numbers)[:5]))
    return out, S <= others, len(S)


@work
def attributes(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Of instances, and of classes."""
    one = Plain(1)
    for x in L[:40]:
        setattr(one, f"a{f(x)}", x)
    made = type("Made", (Plain,), {f"a{x}": f(x) for x in L})
    return sorted(vars(one)), [f(getattr(one, name)) for name in vars(one)], [getattr(made(1), f"a{x}") for x in L]


# --- modules in C --------------------------------------------------------------------------------------------------


@work
def iterators(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """itertools, functools."""
    return (functools.reduce(lambda a, b: f(a) + b, L), sum(map(f, L)), sum([[f(x)] for x in L], []),
            list(itertools.chain(L, map(f, D))), list(itertools.islice(itertools.cycle(L), f(20))),
            list(itertools.product(L[:3], map(f, L[:3]))), list(itertools.permutations(map(f, L[:4]), 2)),
            [key for key, _ in itertools.groupby(L, f)], list(itertools.accumulate(L, lambda a, b: f(a + b))),
            [list(map(f, one)) for one in itertools.tee(L)])


@work
def jsons(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Structures that are walked with borrowed references."""
    plain = json.loads(json.dumps(L), parse_int=lambda x: f(int(x)))
    D["o"], D["l"] = Plain(1), L
    L.append(Plain(2))
    return (plain, json.dumps({str(key): value for key, value in D.items()}, default=lambda o: f(o.x)),
            json.JSONEncoder(default=lambda o: f([o.x, L[0]])).encode(L), json.dumps(L, default=lambda o: f(3), indent=1))


@work
def pickles(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """And copies."""
    L.append(Reduced(L[0]))
    D["r"] = Reduced(1)
    return (pickle.loads(pickle.dumps(L, 2)), pickle.loads(pickle.dumps((L, D, S))), copy.deepcopy(L), copy.copy(D),
            copy.deepcopy((D, S, f(L)))[0])


class Chunks(io.RawIOBase):
    """A file that calls f."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.written += f(bytes(data))
        return len(data)


@work
def files(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """What is written is read from buffers meanwhile."""
    chunks, text = Chunks(), io.StringIO()
    D["b"] = bytearray(range(200)) * 100
    pickle.Pickler(chunks, 5).dump((L, D))
    chunks.writelines(bytearray([f(x) % 256]) for x in L)
    csv.writer(text).writerows([[Shown(x) for x in L], map(f, L)])
    return chunks.written[:5000], len(chunks.written), text.getvalue()


@work
def bytearrays(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Indexes that are asked for while the bytes are at hand."""
    data = D["b"] = bytearray(map(f, [x % 256 for x in L]))
    data.extend(f(x) % 256 for x in L)
    data[: f(3)] = data
    data[Index(1)] = Index(7)
    data.insert(Index(2), Index(8))
    into = bytearray(800)
    struct.pack_into(f"{len(L)}q", into, 0, *map(Index, L))
    return (data, data.find(b"a", Index(1)), data.replace(b"a", f(b"b")), b"".join([data, f(data)]), into,
            [f(x) for x in struct.iter_unpack("q", into[:80])], re.sub(b"[0-9]", lambda m: f(m[0]), data),
            re.sub("[0-9]", lambda m: str(f(int(m[0]))), str(L)))


@work
def threads(L: list[Any], D: dict[Any, Any], S: set[Any]) -> Any:
    """Sorts and lookups in several."""
    started = [threading.Thread(target=lambda: [sorted(L, key=f), {Key(x): x for x in L[:9]}]) for _ in range(3)]
    for one in started:
        one.start()
    out = sorted(L, key=f)
    for one in started:
        one.join()
    return out


# --- running -------------------------------------------------------------------------------------------------------


def shown(one: Any) -> Any:
    """Plain data, in an order that is the same in every process."""
    if isinstance(one, Plain):
        return "object", shown(one.x)
    if isinstance(one, (list, tuple)):
        return [shown(each) for each in one]
    if isinstance(one, dict):
        return [(shown(key), shown(value)) for key, value in one.items()]
    if isinstance(one, (set, frozenset)):
        return sorted((shown(each) for each in one), key=repr)
    return one


def main(name: str) -> None:
    """Do a piece of work on one group after the other, letting most of each go, so that slabs get sparser."""
    groups: list[Any] = [[[(7 * (i + j)) % 101 for j in range(12 + i % 9)], {j * 3: j for j in range(12 + i % 9)},
                          {(5 * j + i) % 97 for j in range(12 + i % 9)}] for i in range(9000)][::60]
    gc.collect()
    for number, group in enumerate(groups[:20]):
        out = WORK[name](*group)
        if number % 4 == 0:
            print(shown(out), shown(group))
        del group[1:], out
        if COMPACTING:
            spiked.compact()
    print(shown(groups))
    assert not COMPACTING or spiked.moved() > 100, spiked.moved()
