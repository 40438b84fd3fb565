"""Buffers that move: contents stay, whoever looks at them meanwhile goes on, and what may be in use by C code stays.

The programs compact explicitly, at the worst moments they can think of; with MIDDEN_COMPACT=1 midden does it
itself after every young collection. spiked.py makes the sparse slabs that give it something to move.
"""

from __future__ import annotations

import callers
import pytest
import spiked
import subject
from subject import run, same_as_stock

HEAP = "from spiked import *\nimport random\nmidden.enable()\n"
SEED = f"SEED = {subject.SEED}\n"


def evacuate(source: str, **more: object) -> subject.Ended:
    """Run a program that may use spiked.py."""
    return run(HEAP + SEED + subject.textwrap.dedent(source), **more)  # type: ignore[arg-type]


# --- contents --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", spiked.MAKE)
def test_contents(kind: str) -> None:
    """Most of what is movable moves, nothing of the rest does; all of it is as before, and can be written to."""
    evacuate("""
        spike = Spike(kind, SEED)
        count = compact()
        if kind in STAY:
            assert count < 100, count  # odds and ends of the interpreter's own
        else:
            assert count > len(spike.kept) // 3, (count, len(spike.kept))
        spike.check()
        spike.change(); spike.changed()
        compact(); spike.changed()
        del spike; gc.collect(); compact()
    """.replace("kind", repr(kind)))


def test_memory_goes_back() -> None:
    """What moved leaves whole pages behind."""
    evacuate("""
        spike = Spike("dict of holes", SEED, 60_000)
        before = midden.stats()["heap"]
        compact()
        after = midden.stats()["heap"]
        assert after["resident_bytes"] < before["resident_bytes"] / 3, (before, after)
        assert after["live_bytes"] <= before["live_bytes"] * 1.01, (before, after)
        spike.check()
    """)


def test_all_at_once_and_again() -> None:
    """Spikes of all kinds above each other; each compaction finds what the one before left, and some more garbage."""
    evacuate("""
        rng = random.Random(SEED)
        spikes = []
        for turn in range(4):
            spikes += [Spike(kind, rng.random(), 4000, 0.1) for kind in MAKE]
            for spike in spikes:
                for number in rng.sample(list(spike.kept), len(spike.kept) // 3):
                    del spike.kept[number]
            compact()
            for spike in spikes: spike.check()
        assert moved() > 1000, moved()
        for spike in spikes: spike.change()
        compact()
        for spike in spikes: spike.changed()
    """, timeout=120)


def test_containers_of_every_kind() -> None:
    """Owners are found behind lists, tuples, dicts, deques, instances, closures; one that refers to itself moves, too."""
    evacuate("""
        import collections
        class Holder: pass
        def holder(one): h = Holder(); h.one = one; return h, lambda h: h.one
        def slotted(one):
            class Slotted: __slots__ = "one"
            h = Slotted(); h.one = one; return h, lambda h: h.one
        def closure(one): return (lambda: one), lambda h: h()
        def first(h): return h[0]
        WRAP = [lambda one: ([one], first), lambda one: ((one,), first), lambda one: ({0: one}, first),
                lambda one: (collections.deque([one]), first), lambda one: (collections.OrderedDict({0: one}), first),
                lambda one: (collections.defaultdict(list, {0: one}), first), holder, slotted, closure]
        for wrap in WRAP:
            made = {number: wrap([number] * (9 + number % 2)) for number in range(0, 20_000)}
            rng = random.Random(SEED)
            made = {number: one for number, one in made.items() if rng.random() < 0.05}
            at = {number: table_at(look(h)) for number, (h, look) in made.items()}
            gc.collect(); compact()
            count = sum(table_at(look(h)) != at[number] for number, (h, look) in made.items())
            assert count > len(made) // 2, (wrap(1), count)
            assert all(look(h) == [number] * (9 + number % 2) for number, (h, look) in made.items())
        # A list with many owners in it, itself in a sparse slab; and one that holds itself.
        lists = [[[j] * 9 for j in range(i % 7)] for i in range(20_000)][::30]
        for one in lists: one.append(one)
        at = [table_at(one) for one in lists]
        gc.collect(); compact()
        assert all(one[-1] is one and one[:-1] == [[j] * 9 for j in range(i * 30 % 7)] for i, one in enumerate(lists))
    """)


def test_one_container_of_very_many() -> None:
    """More owners in one container than are dealt with at once, in each way that referents are listed."""
    evacuate("""
        import collections
        MAKERS = [list, tuple, lambda made: dict(enumerate(made)), collections.deque,
                  lambda made: collections.OrderedDict(enumerate(made))]
        for make in MAKERS:
            made = [[i] * (3 + i % 20) for i in range(400_000)]
            kept = make(made[::21]); del made
            gc.collect(); count = compact()
            assert count > 9_000, (make, count)
            found = list(kept.values() if hasattr(kept, "values") else kept)
            assert found == [[i] * (3 + i % 20) for i in range(0, 400_000, 21)], make
            del found
            del kept
    """, timeout=120)


# --- who looks at them meanwhile ---------------------------------------------------------------------------------


def test_iterators_and_views() -> None:
    """Iterators that were half way through go on with the next item, views see all of it."""
    evacuate("""
        TAKE = [iter, reversed, enumerate, lambda one: zip(one, one), lambda one: map(repr, one)]
        VIEWS = [dict.keys, dict.values, dict.items, lambda one: iter(one.items()), lambda one: reversed(one.values())]
        for kind in MOVE:
            spike = Spike(kind, SEED, 12_000)
            alive, views = [], []
            for number, one in spike.kept.items():
                if isinstance(one, Plain): one = vars(one) if number % 2 else one
                if isinstance(one, Plain): continue
                takes = TAKE + (VIEWS if isinstance(one, dict) else []) if not isinstance(one, set) else [TAKE[0]] + TAKE[2:]
                take = takes[number % len(takes)]
                if take in VIEWS[:3]:
                    views.append((take(one), list(take(one))))
                    continue
                whole = list(take(one))
                iterator = take(one)
                for _ in range(number % (len(whole) + 1)): next(iterator)
                alive.append((iterator, whole[number % (len(whole) + 1):]))
            compact()
            assert all(list(view) == whole for view, whole in views), kind
            assert all(list(iterator) == rest for iterator, rest in alive), kind
            spike.check()
    """, timeout=120)


def test_caches_of_the_interpreter() -> None:
    """Globals, module attributes, methods and instance attributes that running code has been specialized for."""
    evacuate("""
        import types
        modules = []
        lines = ["value = 0", "def get(): return value", "def put(new):", " global value", " value = new", "class C:", " x = 1",
                 " def m(self): return self.x"]
        for i in range(3000):
            module = types.ModuleType("one")
            exec("\\n".join(lines), module.__dict__)
            modules.append(module)
        def all_of():
            out = []
            for module in modules:
                for _ in range(3): out.append((module.get(), module.value, module.C().m(), module.C.x))
            return out
        for _ in range(10): all_of()
        del modules[::2], modules[::3]
        gc.collect()
        for turn in range(5):
            for i, module in enumerate(modules): module.put(turn + i)
            before = all_of()
            compact()
            assert all_of() == before
            for module in modules: setattr(module, f"more{turn}", turn)
            assert all_of() == before
    """)


# --- what stays --------------------------------------------------------------------------------------------------


def test_exported_and_promised_memory_stays() -> None:
    """A memoryview keeps a bytearray in place; buffer_info() of an array holds as long as its length does."""
    evacuate("""
        import array
        spike = Spike("bytearray", SEED)
        views = {number: memoryview(one) for number, one in spike.kept.items() if number % 2}
        at = {number: table_at(one) for number, one in spike.kept.items()}
        arrays = [array.array("q", range(i % 50)) for i in range(20_000)][::30]
        where = [one.buffer_info() for one in arrays]
        gc.collect(); compact()
        assert all(table_at(spike.kept[number]) == at[number] for number in views)
        assert VERSION >= (3, 15) or any(table_at(one) != at[number] for number, one in spike.kept.items())
        assert [one.buffer_info() for one in arrays] == where
        for number, view in views.items():
            view[0] = ord("x")
            assert bytes(view) == b"x" + bytes(MAKE["bytearray"](number))[1:] == spike.kept[number]
        views.clear(); del view; compact()
    """)


def test_shared_lists_stay() -> None:
    """A list or bytearray with a second reference may be in somebody's hands, who has its address."""
    evacuate("""
        for kind in ("list", "bytearray"):
            spike = Spike(kind, SEED)
            second = {number: one for number, one in spike.kept.items() if number % 2}
            at = {number: table_at(one) for number, one in spike.kept.items()}
            gc.collect(); compact()
            assert all(table_at(one) == at[number] for number, one in second.items())
            second.clear(); compact()
            if kind in MOVE: assert sum(table_at(spike.kept[number]) != at[number] for number in spike.kept) > len(at) // 2
            spike.check()
    """)


def test_an_address_on_the_stack_stays() -> None:
    """C code that keeps the address of a buffer while it calls Python code, as it should not: here, libc's qsort."""
    evacuate("""
        import ctypes
        rng = random.Random(SEED)
        libc = ctypes.CDLL(None)
        compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p))
        @compare_type
        def compare(a, b):
            global calls
            calls += 1
            if calls in (2, 3):
                compact()
                in_place.append(table_at(spike.kept[number]) == before)
            return (a[0] > b[0]) - (a[0] < b[0])
        later = []
        for kind in ("list, long", "bytearray, long"):
            if kind in STAY: continue
            for depth in range(3):
                spike = Spike(kind, SEED + depth)
                at = {number: table_at(one) for number, one in spike.kept.items()}
                # In a slab that will be emptied: what is near it moves, it does not.
                number = rng.choice(list(spike.kept))
                before, calls, in_place = at[number], 0, []
                def sort(depth):
                    if depth: return [sort(depth - 1) for _ in range(1)]
                    libc.qsort(ctypes.c_void_p(before), ctypes.c_size_t(45), ctypes.c_size_t(8), compare)
                list(map(sort, [depth]))
                assert in_place == [True, True], in_place
                assert sum(table_at(one) != at[n] for n, one in spike.kept.items()) > len(at) // 2
                for other in list(spike.kept)[::2]: spike.kept.pop(other) if other != number else 0
                compact()
                later.append(table_at(spike.kept[number]) != before)
        assert any(later), "what was held once stays for good"
    """)


def test_an_address_on_another_stack_stays() -> None:
    """The same, while another thread compacts."""
    evacuate("""
        import ctypes
        libc = ctypes.CDLL(None)
        compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p))
        @compare_type
        def compare(a, b):
            if not inside.is_set():
                inside.set(); go_on.wait(30)
            return (a[0] > b[0]) - (a[0] < b[0])
        spike = Spike("list, long", SEED)
        at = {number: table_at(one) for number, one in spike.kept.items()}
        number = random.Random(SEED).choice(list(spike.kept))
        inside, go_on = threading.Event(), threading.Event()
        arguments = ctypes.c_void_p(at[number]), ctypes.c_size_t(45), ctypes.c_size_t(8), compare
        sorting = threading.Thread(target=lambda: libc.qsort(*arguments))
        sorting.start(); inside.wait(30)
        others = [threading.Thread(target=go_on.wait) for _ in range(20)]
        for one in others: one.start()
        compact()
        assert table_at(spike.kept[number]) == at[number]
        assert sum(table_at(one) != at[n] for n, one in spike.kept.items()) > len(at) // 2
        go_on.set(); sorting.join()
        for one in others: one.join()
        compact(); spike.check()
    """)


# --- C code that calls Python code -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", callers.WORK)
def test_c_code_that_calls_python_code(name: str) -> None:
    """Whatever compacts in the middle of it, the outcome is the same as stock's."""
    same_as_stock(f"import callers\ncallers.main({name!r})\n", timeout=180)


def test_finalizers_and_weak_references() -> None:
    """Items die while their containers are cleared, replaced and resized, and finalizers compact."""
    evacuate("""
        class Dying:
            def __init__(self, number): self.number = number
            def __del__(self):
                dead.append(self.number)
                if armed and len(dead) % 20 == 0 and not collecting: compact()
        dead, armed, collecting = [], False, False
        def watch(phase, info):
            global collecting
            collecting = phase == "start"
        gc.callbacks.append(watch)
        made = [([Dying(i) for i in range(12)], {i: Dying(i) for i in range(12)}, {Dying(i) for i in range(12)})
                for _ in range(3000)][::30]
        dead.clear(); gc.collect(); armed = True
        for number, (a, b, c) in enumerate(made):
            if number % 4 == 0: a.clear(); b.clear(); c.clear()
            if number % 4 == 1: a[:] = [1] * 12; b.update(dict.fromkeys(b, 1)); c.update(range(90))
            if number % 4 == 2: a.pop(); b.popitem(); c.pop()
            if number % 4 == 3: a.extend(a); b.pop(3); c.discard(min(c, key=id))
        assert len(dead) > 1000, len(dead)
        for number, (a, b, c) in enumerate(made):
            assert (len(a), len(b), len(c)) == [(0, 0, 0), (12, 12, 102), (11, 11, 11), (24, 11, 11)][number % 4]
            assert all(x == 1 or x.number in range(12) for x in a)
        armed = False; made.clear(); compact()
    """)


# --- passes in slices --------------------------------------------------------------------------------------------


# Waits until a pass of the keeper has begun to move something: then, most likely, it is not at its end yet.
IN_A_PASS = """
def in_a_pass():
    for turn in range(8):
        spikes.extend(Spike(kind, SEED + turn, 30_000, 0.1) for kind in ("list", "dict of holes", "set", "instance"))
        before = moved()
        churn(lambda: moved() > before, 1.2)  # a tick sees that there is something to give back
        if wait_for(lambda: time.sleep(0.02) or moved() > before, 6):
            return
    raise AssertionError(midden.stats()["heap"])
"""


def test_slices_of_the_idle_keeper() -> None:
    """The program sleeps, and a pass runs a slice at a time; what it then does between slices is of all kinds."""
    evacuate(IN_A_PASS + """
spikes = []
for round in range(2):
    in_a_pass()
    for turn in range(12):
        if turn % 6 in (0, 1, 5): gc.collect([0, 1, 0, 0, 0, 2][turn % 6])
        if turn % 6 == 2: gc.freeze(); gc.unfreeze()
        if turn % 6 == 3: midden.collect(wait=False)
        if turn % 6 == 4: spikes.append(Spike("list", turn, 2000))
        time.sleep(0.003)
        if turn % 4 == 0: spikes[turn % len(spikes)].check()
        midden._core.check_lists()
for spike in spikes: spike.check()
compact()
for spike in spikes: spike.check(); spike.change(); spike.changed()
""", timeout=180, env={"MIDDEN_CHECK": "1"})


def test_disabled_and_forked_in_a_pass() -> None:
    """A pass that was under way ends; the heap is whole, in parent and child."""
    evacuate(IN_A_PASS + """
spikes = []
in_a_pass()
pid = os.fork()
for spike in spikes: spike.check()
compact()
for spike in spikes: spike.check(); spike.change(); spike.changed()
if pid == 0: os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
spikes.clear()
in_a_pass()
midden.disable()
midden._core.check_heap()
for spike in spikes: spike.check()
midden.enable()
compact()
for spike in spikes: spike.check(); spike.change(); spike.changed()
""", timeout=180)


# --- after every young collection ------------------------------------------------------------------------------------


def test_after_every_young_collection() -> None:
    """Threads with sparse structures of all kinds, written to at random; MIDDEN_COMPACT=1 compacts all the time."""
    evacuate("""
        gc.set_threshold(50)
        spikes = [Spike(kind, SEED, 3000, 0.1) for kind in MAKE]
        def work(seed):
            rng = random.Random(seed)
            own = {}
            for turn in range(3000):
                number = rng.randrange(60)
                kind = rng.choice(list(MAKE))
                own[number] = kind, MAKE[kind](number), [[number]]
                kind, one, cycle = own[rng.choice(list(own))]
                cycle.append(cycle)
                number = cycle[0][0]
                assert content(one) == content(MAKE[kind](number)), (kind, number, one)
        raised = []
        threading.excepthook = raised.append
        threads = [threading.Thread(target=work, args=[SEED + number]) for number in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not raised, raised
        for spike in spikes: spike.check(); spike.change(); spike.changed()
        assert midden.stats()["heap"]["compactions"] > 20, midden.stats()["heap"]
    """, timeout=180, env={"MIDDEN_COMPACT": "1", "MIDDEN_CHECK": "1"})


@pytest.mark.parametrize("mode", ["midden", "torture"])
def test_the_oracle_while_compacting(mode: str) -> None:
    """The graphs of the oracle, with a compaction after every young collection."""
    extra = {"MIDDEN_COMPACT": "1", "MIDDEN_CHECK": "1"} | ({"MIDDEN_TORTURE": "1"} if mode == "torture" else {})
    for seed in range(subject.SEED, subject.SEED + 6):
        ended = subject.run_file("program.py", mode, "--seed", str(seed), env=extra, timeout=120)
        assert "damage" not in ended.err, ended.err
