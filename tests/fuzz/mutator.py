"""One fuzzed program: threads that build, age, drop, revive and take apart random object graphs under midden.

    python mutator.py --seed N --seconds S --mode stock|midden|fast

Every thread owns a world of nodes of all kinds (tests/cpython/kinds.py) whose references it also keeps in a model of
plain numbers. What the model says is reachable must be there and whole, after every few steps; what it
says is dead must have died by the end, after stock's own last collection. Prints one JSON line: what went
wrong, and figures. A crash or a hang is seen by fuzz.py.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
import threading
import time
import warnings
import weakref
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cpython"))

import kinds  # noqa: E402

THREADS = 3
LARGEST = 400  # nodes of one world that its roots may reach
# An event loop belongs to one thread; thread-locals are empty in others; SQLite has a global mutex, which a fork in
# another thread leaves locked in the child for ever, as stock.
SHY = {"task", "future", "thread local", "sqlite3 connection", "sqlite3 cursor"}


class World:
    """One thread's graph and its model. A node is a number; `live` holds what this thread refers to directly."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.names = [name for name in kinds.KINDS if name not in SHY]
        self.live: dict[int, Any] = {}
        self.edges: dict[int, list[int]] = {}
        self.kind: dict[int, str] = {}
        self.tokens: dict[int, weakref.ref[kinds.Token]] = {}
        self.wrong: list[str] = []
        self.steps = 0
        self.next = 0
        self.died = 0

    def note(self, event: str, label: int) -> None:
        """Finalizers of some kinds call this, in whatever thread."""

    def make(self) -> None:
        """A new node, linked both ways with a few others."""
        label, self.next = self.next, self.next + 1
        name = self.rng.choice(self.names)
        token = kinds.Token(label, self.note)
        head = kinds.KINDS[name].make(token)
        self.kind[label], self.edges[label], self.live[label] = name, [], head
        self.tokens[label] = weakref.ref(token)
        del token
        for _ in range(self.rng.randrange(4)):
            self.link(label, self.rng.choice(list(self.live)))
            self.link(self.rng.choice(list(self.live)), label)

    def link(self, source: int, target: int) -> None:
        """A strong reference, in the world and in the model."""
        kinds.KINDS[self.kind[source]].add(self.live[source], self.live[target])
        self.edges[source].append(target)

    def drop(self) -> None:
        """Let go of some nodes: they die at once, become cyclic garbage, or live on through others."""
        count = min(len(self.live), self.rng.choice([1, 1, 5, 50]))
        for label in self.rng.sample(list(self.live), count):
            del self.live[label]

    def recover(self) -> None:
        """Refer again to nodes that are reachable: pick a root and follow a reference."""
        if not self.live:
            return
        label = self.rng.choice(list(self.live))
        inside = kinds.KINDS[self.kind[label]].look(self.live[label])
        if inside is not None and self.edges[label] and len(inside) == len(self.edges[label]) + 1:
            position = self.rng.randrange(len(self.edges[label]))
            self.live[self.edges[label][position]] = inside[position + 1]

    def revive(self) -> None:
        """Reach for something dead through its weak reference; what comes back must be whole. Sometimes break it."""
        label = self.rng.choice(list(self.tokens))
        token = self.tokens[label]()
        if token is None:
            return
        if not token.intact() or token.label != label:
            self.wrong.append(f"a weak reference gives a damaged token, of node {label}")
        elif self.rng.random() < 0.3:
            token.payload = kinds.payload_for(label)  # write into it
        for referrer in gc.get_referrers(token) if self.rng.random() < 0.02 else ():
            if isinstance(referrer, list) and label not in self.reachable() and referrer and referrer[0] is token:
                del referrer[1:]  # take a dead node apart: its neighbours may be freed at once

    def reachable(self) -> set[int]:
        """What the model says lives."""
        seen: set[int] = set()
        todo = list(self.live)
        while todo:
            label = todo.pop()
            if label not in seen:
                seen.add(label)
                todo.extend(self.edges[label])
        return seen

    def check(self) -> None:
        """Compare everything reachable with the model."""
        todo, seen = list(self.live.items()), set()
        while todo:
            label, head = todo.pop()
            if label in seen:
                continue
            seen.add(label)
            inside = kinds.KINDS[self.kind[label]].look(head)
            if inside is None or type(inside[0]) is not kinds.Token or inside[0].label != label or not inside[0].intact():
                self.wrong.append(f"live node {label} ({self.kind[label]}) is damaged")
            elif len(inside) != len(self.edges[label]) + 1:
                self.wrong.append(f"live node {label} ({self.kind[label]}) has {len(inside) - 1} references, not {len(self.edges[label])}")
            else:
                todo.extend(zip(self.edges[label], inside[1:]))
        if len(seen) > LARGEST:
            self.live.clear()

    def forget(self) -> None:
        """Take what has died out of the model."""
        for label in [label for label, token in self.tokens.items() if token() is None]:
            self.died += 1
            del self.tokens[label], self.kind[label]

    def step(self, mode: str) -> None:
        """One random step."""
        self.steps += 1
        what = self.rng.random()
        if what < 0.55 or not self.live:
            self.make()
        elif what < 0.70:
            self.drop()
        elif what < 0.80:
            self.recover()
        elif what < 0.90:
            self.revive()
        elif what < 0.96:
            churn(self.rng.randrange(2000))
        elif what < 0.98:
            self.check()
            if self.rng.random() < 0.2:
                self.forget_safely()
        else:
            meddle(self.rng, mode)

    def forget_safely(self) -> None:
        """forget(), but only labels that nothing in the model can still name."""
        named = self.reachable()
        for label in [label for label, token in self.tokens.items() if token() is None]:
            if label in named:
                self.wrong.append(f"node {label} ({self.kind[label]}) died while reachable")
            else:
                self.died += 1
                del self.tokens[label]


def churn(number: int) -> None:
    """Young garbage, which makes collections happen."""
    for value in range(number):
        ring: list[Any] = [value]
        ring.append(ring)


def meddle(rng: random.Random, mode: str) -> None:
    """Use gc and midden as a program may, at a bad moment."""
    choices: list[Any] = [lambda: gc.collect(0), lambda: gc.collect(1), gc.collect, gc.freeze, gc.unfreeze, gc.get_objects,
                          lambda: gc.set_threshold(rng.choice([10, 100, 700]), rng.choice([1, 5]), 5), fork]
    if mode != "stock":
        import midden

        choices += [lambda: midden.collect(wait=False), lambda: midden.collect(timeout=1), lambda: midden.collect(in_place=True),
                    midden.stats, lambda: (midden.disable(), midden.enable(fast_collect=mode == "fast")), hold]
    try:
        rng.choice(choices)()
    except (TimeoutError, MemoryError):
        pass
    except RuntimeError:  # another thread has just called disable()
        if mode == "stock":
            raise


def hold() -> None:
    """Allocate while nothing may be collected."""
    import midden

    with midden.hold():
        churn(500)


def fork() -> None:
    """A child that collects and ends."""
    child = os.fork()
    if child == 0:
        churn(1000)
        gc.collect()
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        raise AssertionError("a forked child did not end well")


def main() -> int:
    """Run the threads for so long; then end everything and look what is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--mode", choices=["stock", "midden", "fast"], default="midden")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda told: None
    sys.setswitchinterval(0.001)
    gc.set_threshold(200, 5, 5)
    if chosen.mode != "stock":
        import midden

        midden.enable(fast_collect=chosen.mode == "fast")
    end = time.monotonic() + chosen.seconds
    worlds = [World(chosen.seed * 1000 + number) for number in range(THREADS)]

    def work(world: World) -> None:
        try:
            while time.monotonic() < end and not world.wrong:
                world.step(chosen.mode)
        except BaseException as error:
            world.wrong.append(f"raised {error!r}")
            raise

    threads = [threading.Thread(target=work, args=(world,)) for world in worlds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures: dict[str, Any] = {}
    if chosen.mode != "stock":
        figures = {key: midden.stats()[key] for key in ("snapshots", "snapshots_failed", "candidates", "reclaimed", "fallbacks")}
        midden.disable()
    gc.unfreeze()
    wrong = []
    for world in worlds:
        world.check()
        world.live.clear()
    for _ in range(3):
        gc.collect()
    for number, world in enumerate(worlds):
        left = [label for label, token in world.tokens.items() if token() is not None]
        if left:
            world.wrong.append(f"never died: {[(label, world.kind.get(label)) for label in left[:5]]}")
        wrong += [f"thread {number}: {what}" for what in world.wrong]
    print(json.dumps({"wrong": wrong[:20], "steps": sum(world.steps for world in worlds), **figures}), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
