"""The program under test of the oracle: builds a graph, lets go of it, collects, tells what happened.

    python program.py MODE --seed N [--largest N]     one graph drawn from a seed; prints what is wrong
    python program.py MODE --spec JSON                one graph given as a spec
    python program.py MODE --serve                    a spec per line on stdin, a result per line on stdout

MODE: stock     gc.collect() of an interpreter that never heard of midden
      midden    midden.collect()
      in_place  midden.collect(in_place=True)
      fast      gc.collect() under midden.enable(fast_collect=True)
      torture   no explicit collection: automatic ones, with MIDDEN_TORTURE=1, while the program churns
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import kinds
import model

MODES = ["stock", "midden", "in_place", "fast", "torture"]


class Guard:
    """The finalizer of a node, of whatever kind: token -> guard -> node."""

    def __init__(self, graph: Graph, label: int, head: Any) -> None:
        self.graph = graph
        self.label = label
        self.head = head

    def __del__(self) -> None:
        self.graph.finalize(self)


class Graph:
    """One spec made real, and what is seen of it. Holds the nodes only through `hold`, `roots`, `saved`."""

    def __init__(self, spec: model.Spec) -> None:
        self.spec = spec
        self.expected = model.Expectation(spec)
        self.events: Counter[str] = Counter()
        self.damage: list[str] = []
        self.hold: list[Any] = []
        self.roots: dict[int, Any] = {}
        self.saved: list[tuple[int, Any]] = []
        self.unlinked: set[int] = set()
        self.witnesses: list[weakref.ref[kinds.Token]] = []
        self.turn = itertools.count()
        self.over = False

    def note(self, event: str, label: int) -> None:
        """Count an event, and look at another node through its weak reference while we are at it."""
        self.events[f"{event} {label}"] += 1
        if self.witnesses:
            token = self.witnesses[next(self.turn) % len(self.witnesses)]()
            if token is not None and not token.intact():
                self.damage.append(f"in {event} {label}: a weak reference gives a damaged token")

    # --- building

    def build(self) -> None:
        """Make the nodes, oldest first, collecting in between so that they get old; then keep the roots."""
        nodes = self.spec["nodes"]
        self.hold = [None] * len(nodes)
        for age in (2, 1, 0):
            for label, node in enumerate(nodes):
                if node["age"] == age:
                    self.hold[label] = self.make(label, node)
            for label, node in enumerate(nodes):
                self.link(label, node, age)
            if age:
                gc.collect(age - 1)
        self.roots = {label: self.hold[label] for label in self.spec["roots"]}

    def make(self, label: int, node: dict[str, Any]) -> Any:
        """One node with its token, finalizer and witnesses; nothing keeps it but the caller."""
        token = kinds.Token(label, self.note)
        head = kinds.KINDS[node["kind"]].make(token)
        if node["final"] is not None:
            token.guard = Guard(self, label, head if node["final"] != "leaf" else None)
        self.witnesses.append(weakref.ref(token, lambda ref: self.note("died", label)))
        weakref.finalize(token, self.note, "finalize", label).atexit = False
        return head

    def link(self, label: int, node: dict[str, Any], age: int) -> None:
        """Add the references of a node that became possible with the nodes of this age, in order."""
        head = self.hold[label]
        if head is None:
            return
        known = [n["age"] for n in self.spec["nodes"]]
        if known[label] != age and all(known[target] != age for target in node["edges"] + [t for t, _ in node["weak"]]):
            return
        done = getattr(self, "linked", {})
        self.linked = done
        position = done.get(label, 0)
        while position < len(node["edges"]) and self.hold[node["edges"][position]] is not None:
            kinds.KINDS[node["kind"]].add(head, self.hold[node["edges"][position]])
            position += 1
        done[label] = position
        token = self.token_of(label, head)
        while len(token.weak) < len(node["weak"]) and self.hold[node["weak"][len(token.weak)][0]] is not None:
            target, bond = node["weak"][len(token.weak)]
            token.weak.append(self.weak(label, head, len(token.weak), target, bond))

    def weak(self, label: int, head: Any, number: int, target: int, bond: str) -> Any:
        """A weak reference with a callback to the target's token; a "self" one's callback leads to head."""
        name = f"{label}.{number}"

        def plain(ref: object) -> None:
            self.events[f"callback {name}"] += 1

        def bound(ref: object) -> None:
            self.events[f"callback {name}"] += 1
            if head is None:
                self.damage.append(f"callback {name}: its own closure was cleared")

        return weakref.ref(self.token_of(target, self.hold[target]), plain if bond == "plain" else bound)

    # --- looking

    def token_of(self, label: int, head: Any) -> kinds.Token:
        """The token of a node that is surely whole."""
        inside = kinds.KINDS[self.spec["nodes"][label]["kind"]].look(head)
        assert inside is not None
        return inside[0]

    def examine(self, starts: list[tuple[int, Any]], when: str, finalizing: bool) -> None:
        """Walk from the starts and compare with the spec all that is reached: kind, token, references.

        A node whose own finalizer has run (a closed generator, a task) may be empty while finalizers run,
        and afterwards if it was brought back to life.
        """
        seen: set[int] = set()
        todo = list(starts)
        while todo and len(seen) < 200:
            label, head = todo.pop()
            if label in seen:
                continue
            seen.add(label)
            node = self.spec["nodes"][label]
            try:
                inside = kinds.KINDS[node["kind"]].look(head)
            except (AttributeError, ValueError, KeyError, TypeError, IndexError) as error:
                self.damage.append(f"{when}: node {label} ({node['kind']}) cannot be read: {error!r}")
                continue
            if inside is None:
                if not finalizing and label not in self.expected.saved:
                    self.damage.append(f"{when}: node {label} ({node['kind']}) was finalized while reachable")
                continue
            token, *targets = inside
            if type(token) is not kinds.Token or token.label != label or not token.intact():
                self.damage.append(f"{when}: node {label} ({node['kind']}) has lost its token: {type(token)}")
            elif label not in self.unlinked:
                if len(targets) != len(node["edges"]):
                    self.damage.append(f"{when}: node {label} ({node['kind']}) has {len(targets)} references, "
                                       f"not {len(node['edges'])}")
                todo.extend(zip(node["edges"], targets))

    # --- finalizers

    def finalize(self, guard: Guard) -> None:
        """What a node's finalizer does; called once for each guard, with all it leads to still whole."""
        node = self.spec["nodes"][guard.label]
        final = node["final"]
        self.note(final, guard.label)
        if final == "leaf":
            return
        self.examine([(guard.label, guard.head)], f"in finalizer of {guard.label}", True)
        if final == "raise":
            raise ArithmeticError(f"from the finalizer of node {guard.label}")
        if self.over:
            return
        if final == "resurrect":
            self.saved.append((guard.label, guard.head))
        elif final == "relink":
            self.find(guard.label, guard.head, node["target"])
        elif final == "drop":
            self.roots.pop(node["target"], None)
        elif final == "unlink":
            self.unlink(guard.label, guard.head)
        elif final == "spawn":
            for _ in range(50):
                cycle: list[Any] = []
                cycle.append(cycle)

    def find(self, label: int, head: Any, target: int) -> None:
        """Save the target if this node leads to it directly (else it may be anything, anywhere)."""
        inside = kinds.KINDS[self.spec["nodes"][label]["kind"]].look(head)
        for known, value in zip(self.spec["nodes"][label]["edges"], (inside or [None])[1:]):
            if known == target and label not in self.unlinked:
                self.saved.append((target, value))
                return

    def unlink(self, label: int, head: Any) -> None:
        """Take a list's references away; other kinds keep theirs."""
        if isinstance(head, list):
            self.unlinked.add(label)
            del head[1:]


def collector(mode: str) -> Callable[[Graph], int]:
    """What "collect" means in a mode; enables midden if the mode wants it."""
    if mode == "stock":
        return lambda graph: gc.collect()
    import midden

    midden.enable(fast_collect=mode == "fast")
    if mode == "fast":
        return lambda graph: gc.collect()
    if mode == "midden":
        return lambda graph: midden.collect(timeout=60)["found"]
    if mode == "in_place":
        return lambda graph: midden.collect(in_place=True)["found"]
    gc.set_threshold(50, 2, 10)

    def churn(graph: Graph) -> int:
        """Allocate until all that must die has died, or for a few seconds."""
        must = [f"died {label}" for label in graph.expected.must_die]
        until = time.monotonic() + 5
        while time.monotonic() < until and any(not graph.events[event] for event in must):
            kept = [[number] for number in range(500)]
            for cycle in kept:
                cycle.append(cycle)  # type: ignore[arg-type]
        return 0

    return churn


def run(spec: model.Spec, mode: str, collect: Callable[[Graph], int]) -> dict[str, Any]:
    """Build, let go, collect, check; then let stock look for leftovers; then end everything."""
    plain_hook = sys.unraisablehook
    gc.collect()  # the last run's Graph: what is counted below is this graph alone
    graph = Graph(spec)
    events = graph.events

    def unraisable(told: Any) -> None:
        events[f"unraisable {told.exc_type.__name__}"] += 1

    sys.unraisablehook = unraisable
    try:
        graph.build()
        if mode != "torture":
            gc.disable()
        graph.hold = []
        found = collect(graph)
        first = dict(events)
        graph.examine([*graph.roots.items(), *graph.saved], "after the collection", False)
        if mode not in ("stock", "torture"):
            import midden

            midden.disable()
            left = gc.collect()
            midden.enable(fast_collect=mode == "fast")
        else:
            left = gc.collect()
        second = {event: count - first.get(event, 0) for event, count in events.items()}
        graph.examine([*graph.roots.items(), *graph.saved], "after stock's collection", False)
        for _ in range(3):  # finalizers that resurrect or drop make more to collect
            graph.roots.clear()
            graph.saved.clear()
            collect(graph)
        graph.over = True
        graph.saved.clear()
        gc.collect()
        gc.collect()
        alive = [ref().label for ref in graph.witnesses if ref() is not None]  # type: ignore[union-attr]
        return {"first": first, "second": second, "last": dict(events), "found": found,
                "left": 0 if mode == "torture" else left, "damage": graph.damage, "alive": alive}
    finally:
        sys.unraisablehook = plain_hook
        kinds.Loop.note = print  # it was the Graph's
        gc.enable()


def main(arguments: list[str]) -> int:
    """The command line; 1 if something is wrong with the graph asked for."""
    mode, option, *rest = arguments
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda told: None
    for one in kinds.KINDS.values():  # caches filled before anything is counted
        one.look(one.make(kinds.Token(0, lambda event, label: None)))
    gc.collect()
    collect = collector(mode)
    if option == "--serve":
        for line in sys.stdin:
            print(json.dumps(run(json.loads(line), mode, collect)), flush=True)
        return 0
    if option == "--seed":
        largest = int(rest[2]) if rest[1:2] == ["--largest"] else 60
        spec = model.draw(int(rest[0]), list(kinds.KINDS), largest)
    else:
        spec = json.loads(rest[0])
    result = run(spec, mode, collect)
    wrong = model.judge(spec, result)
    print(json.dumps(spec), json.dumps(result), *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
