"""What a graph of the oracle is, how one is drawn from a seed, and what must be true of it afterwards.

A spec is plain data, so that it can be drawn by hypothesis, sent to another process and printed:

    {"nodes": [{"kind": "list", "age": 2, "edges": [1, 0], "weak": [[1, "plain"]], "final": "log"}, …],
     "roots": [3]}

Nodes are named by their index. `age` is the generation it has grown to when the roots are dropped.
`edges` are strong references, `weak` are weak references with a callback that the node holds; the callback
of a "self" one refers to the node, so the node's death and the reference's are one. `final` is a finalizer
that refers to the node; `target` is the node that a finalizer acts on:

    log        says that it ran                    resurrect   stores the node in a live list
    raise      raises                              relink      stores the target there
    drop       takes target from the roots         unlink      takes the node's own references away
    spawn      makes more cyclic garbage           leaf        as log, but refers to nothing

Imports nothing but the standard library: it runs in the interpreter under test, too.
"""

from __future__ import annotations

import random
from typing import Any

Spec = dict[str, Any]
Counts = dict[str, int]

FINALIZERS = ["log", "raise", "resurrect", "relink", "drop", "unlink", "spawn", "leaf"]
HARMLESS = {None, "log", "raise", "leaf"}  # with only these, one collection ends it all
ACTS_ON_TARGET = {"relink", "drop"}

# A finalizer that fails leaves a traceback and its frame, which is a new cycle.
LEAVE_GARBAGE = {"generator, stubborn"}

# Kinds that note something themselves when they are finalized: the name of the event.
OWN_EVENTS = {"generator": "finally", "generator, stubborn": "finally", "coroutine": "finally",
              "async generator": "finally", "instance with __del__": "del", "io raw": "close",
              "io buffered": "close", "io text": "close", "task": "loop: Task was destroyed but it is pending!"}


# --- drawing -----------------------------------------------------------------------------------------


def draw(seed: int, kinds: list[str], largest: int = 60) -> Spec:
    """A graph from a seed: a few shapes side by side, with references across and everything else."""
    rng = random.Random(seed)
    nodes: list[dict[str, Any]] = []
    palette = rng.sample(kinds, rng.randint(1, len(kinds)))
    size = rng.randint(1, largest)
    while len(nodes) < size:
        add_shape(rng, nodes, palette)
    number = len(nodes)
    for _ in range(rng.choice([0, 1, number // 4, number])):
        nodes[rng.randrange(number)]["edges"].append(rng.randrange(number))
    for _ in range(rng.choice([0, 0, number // 3, number])):
        nodes[rng.randrange(number)]["weak"].append([rng.randrange(number), rng.choice(["plain", "self"])])
    harmless = rng.random() < 0.5
    for node in nodes:
        node["age"] = rng.choice([0, 1, 2, 2])
        if rng.random() < 0.3:
            node["final"] = rng.choice(["log", "raise", "leaf"] if harmless else FINALIZERS)
            node["target"] = rng.randrange(number)
    roots = sorted(rng.sample(range(number), rng.choice([0, 1, number // 3])) if number > 2 else [])
    return {"nodes": nodes, "roots": roots}


def add_shape(rng: random.Random, nodes: list[dict[str, Any]], palette: list[str]) -> None:
    """Append a ring, a clique, a chain, a chain of rings or a star."""
    start, length = len(nodes), rng.randint(1, 12)
    for _ in range(length):
        nodes.append({"kind": rng.choice(palette), "age": 2, "edges": [], "weak": [], "final": None, "target": 0})
    members = range(start, start + length)
    shape = rng.choice(["ring", "clique", "chain", "rings", "star", "self"])
    for index in members:
        follower = index + 1 if index + 1 < start + length else start
        if shape == "ring" or (shape == "chain" and follower != start):
            nodes[index]["edges"].append(follower)
        elif shape == "clique":
            nodes[index]["edges"].extend(m for m in members if length <= 5 or rng.random() < 0.3)
        elif shape == "rings":
            nodes[index]["edges"] += [index] if follower == start else [index, follower]
        elif shape == "star":
            nodes[start]["edges"].append(index)
            nodes[index]["edges"].append(start)
        elif shape == "self":
            nodes[index]["edges"].append(index)


# --- what it means -------------------------------------------------------------------------------------


def reach(spec: Spec, starts: Any) -> set[int]:
    """All that the starts lead to by strong references, themselves included."""
    seen: set[int] = set()
    todo = list(starts)
    while todo:
        label = todo.pop()
        if label not in seen:
            seen.add(label)
            todo.extend(spec["nodes"][label]["edges"])
    return seen


class Expectation:
    """What the spec says about the collection that follows when all but the roots is let go."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        nodes = spec["nodes"]
        self.dead = set(range(len(nodes))) - reach(spec, spec["roots"])
        saved = [n for n in self.dead if nodes[n]["final"] == "resurrect"]
        saved += [nodes[n]["target"] for n in self.dead if nodes[n]["final"] == "relink"]
        self.saved = reach(spec, saved) & self.dead
        dropped = [nodes[n]["target"] for n in self.dead if nodes[n]["final"] == "drop"]
        self.dropped = reach(spec, dropped) - self.dead
        self.must_die = self.dead - self.saved
        self.must_live = set(range(len(nodes))) - self.dead - self.dropped
        self.harmless = all(nodes[n]["final"] in HARMLESS and nodes[n]["kind"] not in LEAVE_GARBAGE for n in self.dead)

    def once(self, label: int) -> tuple[int, int]:
        """How often an event that comes with a node's end may have happened after the collection."""
        if label in self.must_die:
            return 1, 1
        return (0, 1) if label in self.saved or label in self.dropped else (0, 0)

    def callback(self, holder: int, target: int, bond: str) -> tuple[int, int]:
        """How often a weak reference's callback may have run after the collection.

        A reference that dies with or before its target is silent; one that lives is heard. When both
        die and the reference does not lead to its target, the target may go in an earlier collection
        (stock: the holder was older), and then it is heard.
        """
        if target in self.must_live:
            return 0, 0
        if holder in self.must_live and target in self.must_die:
            return 1, 1
        together = holder in self.must_die and target in self.must_die
        if together and bond == "self" and target in reach(self.spec, [holder]):
            return 0, 0
        return 0, 1


def judge(spec: Spec, result: dict[str, Any]) -> list[str]:
    """Everything in a run's result that no order of stock's allows; empty when all is well.

    The result comes from program.py: the events counted after the first collection ("first") and at
    the very end ("last"), the objects that were damaged, and what the final stock collection found.
    """
    wrong: list[str] = list(result["damage"])
    expected = Expectation(spec)
    first, last = result["first"], result["last"]

    def check(event: str, allowed: tuple[int, int], counts: Counts, when: str) -> None:
        seen = counts.get(event, 0)
        if not allowed[0] <= seen <= allowed[1]:
            wrong.append(f"{when}: {event} {seen} times, allowed {allowed[0]} to {allowed[1]}")

    for label, node in enumerate(spec["nodes"]):
        events = [f"died {label}", f"finalize {label}"]
        if node["final"] is not None:
            events.append(f"{node['final']} {label}")
        if node["kind"] in OWN_EVENTS:
            events.append(f"{OWN_EVENTS[node['kind']]} {label}")
        for event in events:
            check(event, expected.once(label), first, "after the collection")
            check(event, (1, 1), last, "at the end")
        for number, (target, bond) in enumerate(node["weak"]):
            event = f"callback {label}.{number}"
            check(event, expected.callback(label, target, bond), first, "after the collection")
            check(event, (0, 1), last, "at the end")
    late = [f"died {n}" for n in sorted(expected.must_die) if result["second"].get(f"died {n}")]
    if late:
        wrong.append(f"stock's own collection found what was dead at the snapshot: {late}")
    if expected.harmless and result["left"]:
        wrong.append(f"stock's own collection found {result['left']} objects, and nothing was left to find")
    if result["alive"]:
        wrong.append(f"never died: {result['alive']}")
    return wrong


def summary(spec: Spec, result: dict[str, Any]) -> Counts:
    """The part of a result that must be the same in every mode: all but the callbacks between the dead."""
    return {event: count for event, count in result["last"].items() if not event.startswith("callback")}
