"""Threads, subinterpreters and other allocators, with snapshots as often as can be."""

from __future__ import annotations

import pytest
import subject
from subject import run

TORTURE = {"MIDDEN_TORTURE": "1"}


def test_many_threads_that_allocate_and_collect() -> None:
    """Each thread checks its own structures; some collect, in every way."""
    run("""
        midden.enable()
        sys.setswitchinterval(0.0005)
        live, failures = Live(500), []
        end = time.monotonic() + 1.5
        def work(number):
            try:
                mine = Live(200)
                while time.monotonic() < end:
                    dead = Dead(5)
                    churn(seconds=0.01)
                    if number == 0: gc.collect(number % 3)
                    if number == 1: midden.collect(timeout=30)
                    if number == 2: midden.collect(wait=False)
                    if number == 3: midden.collect(in_place=True)
                    if number == 4:
                        with midden.hold(): churn(seconds=0.002)
                    mine.check(); live.check()
            except BaseException as error:
                failures.append((number, repr(error)))
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not failures, failures
        live.check()
        dead = Dead(50); midden.collect(timeout=30); assert dead.left() == 0
    """, env=TORTURE)


def test_a_thread_that_ends_right_after_it_launched() -> None:
    """The clone is the process's, not the thread's: the flight goes on."""
    run("""
        midden.enable()
        for _ in range(5):
            dead = Dead(100)
            caught = []
            in_thread(lambda: caught.append(fly()))
            time.sleep(0.05)
            land(caught[0])
            assert dead.left() == 0, midden.stats()
        assert midden.stats()["snapshots_failed"] == 0, midden.stats()
    """)


def test_two_threads_wait_at_once() -> None:
    """Both come back, and both with the garbage gone."""
    run("""
        midden.enable()
        ballast(60_000)
        for _ in range(5):
            dead, told = Dead(200), []
            threads = [threading.Thread(target=lambda: told.append(midden.collect(timeout=30))) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert dead.left() == 0 and len(told) == 3, (dead.left(), told)
    """)


def test_a_clone_dies_while_another_thread_collects() -> None:
    """What collect() does instead must wait for the collection that a slow finalizer holds up."""
    run("""
        midden.enable()
        live, dead = Live(), Dead(100)
        class Slow:
            def __del__(self): time.sleep(0.5)
        rings = [cycle(-1) for _ in range(1000)]
        slow = Slow(); slow.me = slow
        catch = Catch()
        def collects():
            global rings, slow
            pid = catch.caught()
            del rings, slow
            threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
            gc.collect()
        thread = threading.Thread(target=collects); thread.start()
        midden.collect(timeout=30)
        thread.join()
        assert dead.left() == 0
        live.check()
        for _ in range(3): gc.collect(); live.check()
        before = len(gc.get_objects())
        midden.collect(timeout=30)
        assert before > 150_000 and abs(len(gc.get_objects()) - before) < 1000
    """)


def test_threads_that_never_end() -> None:
    """Daemon threads at work while the interpreter ends."""
    for _ in range(3):
        run("""
            midden.enable()
            for _ in range(4):
                threading.Thread(target=lambda: churn(seconds=60), daemon=True).start()
            churn(seconds=0.2)
        """, env=TORTURE, timeout=20)


def test_trace_and_profile_functions() -> None:
    """Python code that runs on every event does not find midden in a strange place."""
    run("""
        midden.enable()
        live, count = Live(100), 0
        def trace(frame, event, argument):
            global count
            count += 1
            return trace
        sys.settrace(trace); sys.setprofile(lambda *_: None)
        dead = Dead(50)
        churn(seconds=0.3)
        midden.collect(timeout=20)
        sys.settrace(None); sys.setprofile(None)
        assert dead.left() == 0 and count
        live.check()
    """, env=TORTURE)


# --- subinterpreters ------------------------------------------------------------------------------------------------

# make(own_gil) -> id, do(id, source), end(id), for every version
INTERPRETERS = """
try:
    import _interpreters as low
except ImportError:
    import _xxsubinterpreters as low
def make(own_gil):
    if sys.version_info >= (3, 13): return low.create("isolated" if own_gil else "legacy")
    if sys.version_info >= (3, 12): return low.create(isolated=own_gil)
    return low.create()
def do(which, source):
    told = low.run_string(which, source)
    assert told is None, told
end = low.destroy
OTHER = '''
import gc
gc.set_threshold(50, 2, 2)
for turn in range(300):
    kept = []
    for i in range(60):
        x = [i]; x.append(x); kept.append(x)
    del x
gc.collect()
assert gc.get_threshold() == (50, 2, 2)
assert gc.get_stats()[2]["collections"] > 1, gc.get_stats()
'''
"""


@pytest.mark.parametrize("own_gil", [False, True])
def test_subinterpreters_stay_stock(own_gil: bool) -> None:
    """They allocate and collect, full collections too, in threads, while the main one is served; the clone sees only its own."""
    if own_gil and subject.version() < (3, 12):
        pytest.skip("before 3.12 there is one GIL")
    if not own_gil and subject.version() == (3, 12):
        pytest.skip("3.12 hangs now and then in this program, as stock: 3 times in 25")
    run(INTERPRETERS + f"""
midden.enable()
live, dead = Live(500), Dead(30)
failures = []
others = [make({own_gil}) for _ in range(2)]
def work(which):
    try:
        for _ in range(3): do(which, OTHER)
    except BaseException as error:
        failures.append(repr(error))
threads = [threading.Thread(target=work, args=(which,)) for which in others]
for thread in threads: thread.start()
while any(thread.is_alive() for thread in threads):
    dead = Dead(30); churn(seconds=0.02); live.check()
for thread in threads: thread.join()
assert not failures, failures
for which in others: end(which)
midden.collect(timeout=30)
live.check()
assert dead.left() == 0
""", env=TORTURE, timeout=90)


@pytest.mark.parametrize("own_gil", [False, True])
def test_midden_in_a_subinterpreter(own_gil: bool) -> None:
    """Importing or enabling it there is refused with an exception, not a crash; the main one is not disturbed."""
    if own_gil and subject.version() < (3, 12):
        pytest.skip("before 3.12 there is one GIL")
    run(INTERPRETERS + f"""
midden.enable()
pid = fly()
which = make({own_gil})
do(which, '''
try:
    import midden
    midden.enable()
except Exception as error:
    assert str(error)
else:
    raise AssertionError("enabled")
for call in ("midden.disable()", "midden.stats()", "midden.is_enabled()", "midden.collect(timeout=5)", "midden.collect(in_place=True)",
             "midden.hold().__enter__()"):
    try: eval(call)
    except Exception as error: assert str(error)
import gc
gc.collect()
''')
end(which)
assert midden.is_enabled()
land(pid)
dead = Dead(100); midden.collect(timeout=30); assert dead.left() == 0
assert midden.stats()["snapshots_failed"] == 0
""")


def test_subinterpreters_that_end_in_flight() -> None:
    """A whole interpreter's objects are freed between the snapshot and the reclaiming."""
    run(INTERPRETERS + """
midden.enable()
live = Live(500)
for _ in range(3):
    which = make(False)
    do(which, OTHER)
    dead = Dead(200)
    pid = fly()
    end(which)
    land(pid)
    live.check(); assert dead.left() == 0
""")


# --- other allocators ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"PYTHONMALLOC": "debug"}, {"PYTHONMALLOC": "malloc"}, {"PYTHONMALLOC": "malloc_debug"},
                                      {"PYTHONDEVMODE": "1"}, {"PYTHONTRACEMALLOC": "5"}],
                         ids=lambda settings: "=".join(*settings.items()))
def test_allocators(settings: dict[str, str]) -> None:
    """A busy program under torture, freeing candidates itself, with blocks that lie elsewhere or are fenced."""
    run("""
        midden.enable()
        live = Live(500)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            dead = Dead(50); rings = [cycle(-1) for _ in range(50)]; age()
            references = [weakref.ref(ring) for ring in rings]; del rings
            churn(seconds=0.02)
            for reference in references[::2]:
                node = reference()
                if node is not None: node.other = None
            live.check()
        midden.collect(timeout=30)
        assert dead.left() == 0
        live.check()
    """, env={**settings, **TORTURE})


def test_tracemalloc_on_and_off() -> None:
    """At any moment, under torture, with threads."""
    run("""
        import tracemalloc
        midden.enable()
        live = Live(500)
        over = False
        def busy():
            while not over: churn(seconds=0.01); Dead(3)
        thread = threading.Thread(target=busy); thread.start()
        for turn in range(25):
            tracemalloc.start(turn % 3 + 1)
            dead = Dead(20); churn(seconds=0.01)
            tracemalloc.take_snapshot() if turn % 10 == 0 else None
            tracemalloc.stop()
            churn(seconds=0.01)
            live.check()
        over = True; thread.join()
        midden.collect(timeout=30); assert dead.left() == 0
        live.check()
    """, env=TORTURE)
