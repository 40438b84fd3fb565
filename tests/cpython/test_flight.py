"""What the program does to candidates between the snapshot and their reclaiming: revive them, free them, use their
memory again, move them between generations. A candidate is a proposal; whatever became of it, nothing breaks.

Rings with negative values are the candidates; the program finds them through weak references or gc.get_objects(), which
are the two ways in which Python code reaches what is dead.
"""

from __future__ import annotations

import pytest
import subject
from subject import run

# doomed(n): n old dead rings, by weak references. Afterwards `settle` lands the flight and checks all.
TOOLS = """
def doomed(rings=500, members=3):
    held = [cycle(-10 * ring - 10, members) for ring in range(rings)]
    references = [weakref.ref(node) for node in held]
    gc.disable(); age(); gc.enable()
    del held
    return references

def members(node):
    found = [node]
    while found[-1].other is not node:
        found.append(found[-1].other)
    return found

def whole_ring(node):
    ring = members(node)
    return len(ring) == 3 and all(type(one) is Node and one.whole() and one.value < 0 for one in ring)

def settle(pid):
    land(pid)
    live.check()
    told = midden.collect(timeout=30)
    live.check()
    assert midden.stats()["snapshots_failed"] == 0, midden.stats()
    midden.disable()
    gc.collect()
    live.check()

import random
rng = random.Random(SEED)
midden.enable()
live = Live()
"""


def fly(source: str, **more: object) -> None:
    """Run a program that may use TOOLS."""
    run(TOOLS + subject.textwrap.dedent(source), **more)  # type: ignore[arg-type]


def test_revived_by_weak_references() -> None:
    """Kept: whole rings, every third one; the others go."""
    fly("""
        references = doomed()
        pid = fly()
        revived = [references[i]() for i in range(0, 500, 3)]
        settle(pid)
        assert all(whole_ring(node) for node in revived)
        assert [r() is not None for r in references] == [i % 3 == 0 for i in range(500)]
    """)


def test_revived_and_dropped_again() -> None:
    """Alive for a moment: either collection may find it dead, and it dies once."""
    fly("""
        references = doomed()
        pid = fly()
        for reference in references: assert whole_ring(reference())
        settle(pid)
        assert not any(reference() for reference in references)
    """)


def test_revived_into_and_by_others() -> None:
    """Linked from live objects, from other candidates and to new objects."""
    fly("""
        references = doomed()
        pid = fly()
        nodes = [reference() for reference in references]
        keep = []
        for i in range(0, 490, 7):
            live.nodes[i].extra = nodes[i]              # from an old live object
            nodes[i].extra = nodes[i + 1]               # to another candidate
            nodes[i + 1].extra = [Node(i), nodes[i + 2]]  # through new objects to a third
            nodes[i + 3].extra = live                   # a candidate that refers to the living
        del nodes
        settle(pid)
        for i in range(0, 490, 7):
            first = live.nodes[i].extra
            second = first.extra; new, third = second.extra
            assert whole_ring(first) and whole_ring(second) and whole_ring(third) and new.value == i
        alive = [reference() is not None for reference in references]
        assert alive == [i % 7 in (0, 1, 2) and i - i % 7 < 490 for i in range(500)]
    """)


@pytest.mark.parametrize("again", ["Node(7)", "[7]", "{7: 7}", "(7, [])", "{7}", "Slots()", "set()", "lambda: 7", "bytearray(40)"])
def test_freed_and_used_again(again: str) -> None:
    """Candidates are freed by count, and their memory holds live objects of the same or other types at once."""
    fly(f"""
        class Slots: __slots__ = ("a", "b", "c", "__weakref__")
        doomed(); references = doomed()
        pid = fly()
        for reference in references:
            node = reference()
            for one in members(node): one.other = None
        del node, one
        assert not any(reference() for reference in references)
        kept = [{again} for _ in range(6000)]
        before = repr(kept) if {again!r} not in ("Slots()", "Node(7)", "lambda: 7") else len(kept)
        settle(pid)
        assert before == (repr(kept) if {again!r} not in ("Slots()", "Node(7)", "lambda: 7") else len(kept))
        if {again!r} == "Node(7)": assert all(one.value == 7 and one.whole() for one in kept)
        if {again!r} == "lambda: 7": assert all(one() == 7 for one in kept)
    """)


def test_freed_and_used_again_for_what_never_was_an_object() -> None:
    """The block becomes a string's or a number's: what lies in front of it is no list links."""
    fly("""
        references = doomed(1000)
        pid = fly()
        for reference in references:
            for one in members(reference()): one.other = None
        del one
        kept = [b"x" * (size % 97) for size in range(20000)] + [str(i) * 3 for i in range(20000)] + [float(i) for i in range(20000)]
        before = hash(tuple(kept))
        settle(pid)
        assert before == hash(tuple(kept))
    """)


def test_every_kind_freed_in_flight() -> None:
    """One dead node of each kind, taken apart through its token while the clone looks at it."""
    fly("""
        import kinds
        sys.unraisablehook = lambda told: None
        import warnings; warnings.simplefilter("ignore")
        held, tokens = [], []
        for turn in range(10):
            for name, kind in kinds.KINDS.items():
                token = kinds.Token(len(tokens), lambda event, label: None)
                head = kind.make(token); kind.add(head, head); token.guard = head
                held.append(head); tokens.append(weakref.ref(token))
        del token, head
        gc.disable(); age(); gc.enable(); held.clear()
        pid = fly()
        for reference in tokens:
            token = reference()
            if token is not None and rng.random() < 0.5:
                inside = kinds.KINDS[list(kinds.KINDS)[token.label % len(kinds.KINDS)]].look(token.guard)
                if isinstance(inside, list): inside.clear()
                token.guard = None
            del token
        kept = [Node(7) for _ in range(3000)] + [[i] for i in range(3000)]
        settle(pid)
        assert all(one.value == 7 and one.whole() for one in kept[:3000]) and kept[3000:] == [[i] for i in range(3000)]
        gc.collect(); gc.collect()
        assert not any(reference() for reference in tokens)
    """)


def test_collected_by_the_program_in_flight() -> None:
    """gc.collect() of every generation takes the candidates first."""
    fly("""
        for generation in (2, 1, 0):
            references = doomed()
            pid = fly()
            gc.collect(generation)
            kept = [Node(7) for _ in range(2000)]
            if midden.stats()["in_flight"]: land(pid)
            live.check()
            assert all(one.value == 7 and one.whole() for one in kept)
        midden.collect(timeout=30)
        assert not any(reference() for reference in references)
    """)


def test_untracked_and_tracked_in_flight() -> None:
    """Dicts and tuples that the collector untracks and tracks again while they are candidates."""
    fly("""
        held = []
        for i in range(1000):
            d = {"a": 1}; d["self"] = d; t = (d,); d["t"] = t; d["mark"] = Node(-i - 1)
            held.append(d)
        marks = [weakref.ref(d["mark"]) for d in held]
        gc.disable(); age(); gc.enable(); del held, d, t
        pid = fly()
        for one in gc.get_objects():
            if type(one) is dict and "mark" in one:
                if type(one["mark"]) is Node and rng.random() < 0.5: del one["self"], one["t"], one["mark"]
        del one
        settle(pid)
        assert not any(mark() for mark in marks)
    """)


def test_lists_and_dicts_that_grow_in_flight() -> None:
    """Their buffers move; the objects stay. Live ones among the old, and revived candidates."""
    fly("""
        references = doomed()
        tables = [([i], {i: i}, {i}) for i in range(2000)]
        pid = fly()
        nodes = [reference() for reference in references[::2]]
        for i, (a, b, c) in enumerate(tables):
            a.extend(range(i % 50)); b.update(dict.fromkeys(range(i % 70))); c.update(range(i % 90))
        for node in nodes:
            for number in range(40): setattr(node, f"more{number}", number)
        settle(pid)
        assert all(whole_ring(node) and node.more39 == 39 for node in nodes)
        assert all(len(a) == 1 + i % 50 and set(b) == {i, *range(i % 70)} and c == {i, *range(i % 90)} for i, (a, b, c) in enumerate(tables))
    """)


def test_finalizers_that_see_later_slices() -> None:
    """Torture makes slices of 100: a chain of rings longer than that, whose finalizers look down the chain."""
    run("""
        import random
        midden.enable()
        wrong, ran = [], []
        class Link:
            def __init__(self, number, below): self.number, self.below, self.me, self.text = number, below, self, str(number)
            def __del__(self):
                ran.append(self.number)
                link, steps = self, 0
                while link is not None and steps < 20:
                    if link.me is not link or link.text != str(link.number): wrong.append((self.number, link.number))
                    link, steps = link.below, steps + 1
        chain = None
        for number in range(2000): chain = Link(number, chain)
        live = Live()
        gc.disable(); age(); gc.enable(); del chain
        assert churn(lambda: len(ran) == 2000, 30), (len(ran), midden.stats())
        assert not wrong, wrong[:10]
        assert sorted(ran) == list(range(2000))
        live.check()
    """, env={"MIDDEN_TORTURE": "1"})


def test_one_component_larger_than_any_slice() -> None:
    """200,000 objects in one cycle: handed over whole, reclaimed, counted."""
    fly("""
        first = last = Node(-1)
        for i in range(2, 200_000): last.other = Node(-i); last = last.other
        last.other = first
        reference = weakref.ref(first)
        gc.disable(); age(); gc.enable(); del first, last
        told = midden.collect(timeout=60)
        assert reference() is None and told["reclaimed"] >= 199_999, told
        live.check()
    """)


def test_a_long_chain_of_small_components() -> None:
    """No recursion, in the finder's order nor in reclaiming, that runs out of stack."""
    fly("""
        chain = None
        for i in range(200_000):
            link = [chain]; link.append(link); chain = link
        probe = Node(-1); chain.append(probe); reference = weakref.ref(probe)
        gc.disable(); age(); gc.enable(); del chain, link, probe
        told = midden.collect(timeout=60)
        assert reference() is None and told["reclaimed"] >= 200_000, told
        chain = None
        for i in range(300_000): chain = [chain]
        chain.append(chain)
        told = midden.collect(timeout=60); live.check()
        del chain; midden.collect(timeout=60); live.check()
    """, timeout=120)
