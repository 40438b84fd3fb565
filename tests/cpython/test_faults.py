"""The clone dies, hangs or is refused; pages and threads are refused; memory runs out. The program goes on.

Every program ends with the same two questions: is what lives intact, and does the garbage still go? And what
failed is counted in stats(). That nothing outlives a program is checked by subject.execute for all.
"""

from __future__ import annotations

import pytest
import subject
from subject import run

# After whatever happened: the collector works or falls back, the live are whole, the dead go.
RECOVERED = """
def recovered(dead, live, failures=1):
    live.check()
    told = None
    for _ in range(5):
        try:
            told = midden.collect(timeout=30)
        except (TimeoutError, OSError, MemoryError, RuntimeError) as error:
            told = error
        if dead.left() == 0:
            break
    assert dead.left() == 0, (dead.left(), told, midden.stats())
    live.check()
    gc.collect()
    live.check()
    stats = midden.stats()
    assert stats["snapshots_failed"] >= failures, stats
    assert stats["enabled"] and not stats["in_flight"], stats
    assert no_clones(), "a clone is left"
"""


def survive(source: str, **more: object) -> subject.Ended:
    """Run a program that may call recovered()."""
    return run(subject.textwrap.dedent(RECOVERED) + subject.textwrap.dedent(source), **more)  # type: ignore[arg-type]


# --- injected ----------------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["clone=1", "clone=2", "clone=*", "shared=1", "shared=*", "kill=1", "kill=2", "kill=3", "kill=4",
                                   "kill=*", "clone=2,shared=3,kill=3"])
def test_one_fault(fault: str) -> None:
    """An explicit collection all the same reclaims, by another try or by the search in place."""
    survive("""
        midden.enable()
        for turn in range(4):
            dead, live = Dead(500), Live(500)
            told = midden.collect(timeout=30)
            assert dead.left() == 0, (turn, dead.left(), told, midden.stats())
            live.check()
        # One refusal of shared pages is no failure: less room is asked for.
        recovered(dead, live, os.environ["MIDDEN_FAULT"] != "shared=1")
    """, env={"MIDDEN_FAULT": fault})


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["clone=*", "shared=*", "map=*", "thread=*", "kill=1", "kill=2", "kill=3", "kill=4", "kill=*",
                                   "hang=2"])
def test_automatic_collections_under_faults(fault: str) -> None:
    """Nothing is asked for; the program just allocates. Whatever can still be done is done; memory stays bounded."""
    run("""
        midden.enable()
        live = Live()
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            dead = Dead(200)
            churn(seconds=0.05)
            live.check()
        stats = midden.stats()
        fault = os.environ["MIDDEN_FAULT"]
        assert stats["snapshots_failed"] > 0 or fault.startswith("thread"), stats
        midden.disable()
        gc.collect(); assert dead.left() == 0
        live.check()
    """, env={"MIDDEN_FAULT": fault, "MIDDEN_TORTURE": "2", "MIDDEN_TIMEOUT": "0.1"})


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["map", "shared", "thread", "clone"])
def test_the_nth_refusal(kind: str) -> None:
    """Each request to the system refused in turn, in enable() and two collections; stops when none is left."""
    for number in range(1, 15):
        ended = survive("""
            try:
                midden.enable()
                for in_place in (False, True):
                    dead, live = Dead(200), Live(200)
                    midden.collect(timeout=30, in_place=in_place)
                    live.check()
            except (MemoryError, OSError, RuntimeError) as error:
                assert str(error), "an exception that says nothing"
                midden.enable()
                dead, live = Dead(200), Live(200)
            recovered(dead, live, 0)
        """, env={"MIDDEN_FAULT": f"{kind}={number}"})
        assert ended.err == "", ended.err
        if kind in ("shared", "thread", "clone") and number == 4:
            break


@pytest.mark.faults
@pytest.mark.parametrize("stage", ["1", "2", "3", "4", "*"])
def test_a_clone_that_hangs(stage: str) -> None:
    """Ends by the time-out, which collect() need not wait for."""
    survive("""
        midden.enable()
        dead, live = Dead(500), Live()
        begin = time.monotonic()
        try:
            midden.collect(timeout=0.1)
        except TimeoutError:
            pass
        assert time.monotonic() - begin < 2, time.monotonic() - begin
        assert churn(lambda: midden.stats()["snapshots_failed"], 10), midden.stats()
        assert no_clones(), "the hanging clone is still there"
        recovered(dead, live)
    """, env={"MIDDEN_FAULT": f"hang={stage}", "MIDDEN_TIMEOUT": "0.5"})


@pytest.mark.faults
def test_a_clone_that_hangs_in_an_idle_program() -> None:
    """The time-out needs no allocation to be noticed."""
    run("""
        midden.enable()
        midden.collect(wait=False)
        assert wait_for(lambda: midden.stats()["snapshots_failed"], 10), midden.stats()
        assert no_clones()
    """, env={"MIDDEN_FAULT": "hang=2", "MIDDEN_TIMEOUT": "0.5"})


@pytest.mark.faults
def test_exit_and_disable_do_not_wait_for_a_clone_that_hangs() -> None:
    """Nor does a fork."""
    run("""
        midden.enable()
        begin = time.monotonic()
        midden.collect(wait=False)
        if os.fork() == 0:
            assert not midden.stats()["in_flight"]
            os._exit(0)
        assert os.wait()[1] == 0
        midden.disable()
        midden.enable()
        midden.collect(wait=False)
        assert time.monotonic() - begin < 5
    """, env={"MIDDEN_FAULT": "hang=*"}, timeout=20)


# --- from outside ----------------------------------------------------------------------------------------------


def test_killed_from_outside() -> None:
    """SIGKILL while somebody waits for it, and while nobody does."""
    survive("""
        midden.enable()
        dead, live = Dead(500), Live()
        os.kill(fly(), signal.SIGKILL)
        assert churn(lambda: midden.stats()["snapshots_failed"] == 1, 10), midden.stats()
        catch = Catch()
        threading.Thread(target=lambda: os.kill(catch.caught(), signal.SIGKILL)).start()
        midden.collect(timeout=30)
        assert dead.left() == 0
        recovered(dead, live, 2)
    """)


def test_killed_at_any_moment() -> None:
    """A thread kills clones as they come, some late."""
    survive("""
        midden.enable()
        dead, live = Dead(500), Live()
        ballast(200_000)
        over, pause = False, random.Random(SEED)
        def hunt():
            while not over:
                for pid in clones():
                    time.sleep(pause.random() * 0.01)
                    try: os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError: pass
        hunter = threading.Thread(target=hunt); hunter.start()
        for _ in range(25):
            more = Dead(20)
            try: midden.collect(timeout=20)
            except TimeoutError: pass
            live.check()
        over = True; hunter.join()
        recovered(dead, live)
    """.replace("over, pause", "import random; over, pause"))


def test_other_signals_do_not_reach_it() -> None:
    """A signal to the whole group, and the clone goes on: its signals are blocked, and no handler runs twice."""
    run("""
        midden.enable()
        heard = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda number, frame: heard.append(number))
        dead = Dead(300)
        pid = fly()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            os.killpg(0, number)
        time.sleep(0.1)
        assert len(heard) == 4, heard
        land(pid)
        assert midden.stats()["snapshots_failed"] == 0 and dead.left() == 0, midden.stats()
    """)


def test_reaped_by_somebody_else() -> None:
    """A program that waits with __WALL, for whatever reason, takes our clone's end away from us."""
    survive("""
        midden.enable()
        dead, live = Dead(300), Live()
        pid = fly()
        os.kill(pid, signal.SIGKILL)
        WALL = 0x40000000
        assert wait_for(lambda: os.waitpid(-1, os.WNOHANG | WALL)[0] == pid, 5)
        assert churn(landed, 10), midden.stats()
        recovered(dead, live)
    """)


def test_no_more_processes_allowed() -> None:
    """RLIMIT_NPROC, as a user who is not root."""
    survive("""
        import resource
        midden.enable()
        dead, live = Dead(300), Live()
        if os.geteuid() == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
        midden.collect(timeout=30)
        assert midden.stats()["snapshots_failed"] >= 1, midden.stats()
        churn(seconds=0.2)
        resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
        recovered(dead, live)
    """)


# --- memory --------------------------------------------------------------------------------------------------------


def test_no_more_address_space() -> None:
    """RLIMIT_AS just above what is mapped: the clone, its answer or the finder is refused; the program gets MemoryError
    where it would as stock, and goes on."""
    survive("""
        import resource
        midden.enable()
        ballast(50_000)
        dead, live = Dead(300), Live()
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        for spare in (0, 1 << 20, 4 << 20, 16 << 20, 64 << 20):
            with open("/proc/self/statm") as statm:
                mapped = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (mapped + spare, hard))
            hoard = []
            for in_place in (False, True):
                try:
                    midden.collect(timeout=20, in_place=in_place)
                except MemoryError:
                    pass
            try:
                while len(hoard) < 300_000: hoard.append([len(hoard)])
            except MemoryError:
                pass
            hoard.clear()
            try:
                midden.collect(timeout=20)
            except MemoryError:
                pass
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            live.check()
        recovered(dead, live, 0)
    """)


@pytest.mark.parametrize("what", ["midden.enable()", "midden.collect(timeout=20)", "midden.collect(in_place=True)", "midden.stats()",
                                  "midden.disable()", "midden.collect(wait=False)", "gc.collect()", "grow(3000)",
                                  "midden.hold().__enter__()", "midden.enable(fast_collect=True)"])
def test_every_allocation_refused_in_turn(what: str) -> None:
    """_testcapi.set_nomemory: the N-th allocation of Python fails, for every N, in each operation."""
    if not subject.has_module("_testcapi"):
        pytest.skip("this interpreter has no _testcapi")
    run(f"""
        import _testcapi
        def attempt():
            {what}
        live = Live(300)
        for number in range(1, 60):
            if {what!r} not in ("midden.enable()", "midden.enable(fast_collect=True)"):
                midden.enable()
            dead = Dead(20)
            _testcapi.set_nomemory(number, number + 1)
            try:
                attempt()
            except MemoryError:
                pass
            except RuntimeError as error:
                if "can't allocate lock" not in str(error): raise  # CPython's, from an import
            finally:
                _testcapi.remove_mem_hooks()
            gc.enable()
            midden.disable()
            gc.collect()
            live.check()
        midden.enable()
        dead = Dead(20); midden.collect(timeout=20); assert dead.left() == 0
        live.check()
    """, timeout=90)


def test_memory_hooks_that_come_and_go_in_flight() -> None:
    """tracemalloc and other allocator hooks, put over midden's record of frees and taken away again."""
    survive("""
        import tracemalloc
        midden.enable()
        live = Live()
        def free_candidates():
            for one in gc.get_objects():
                if type(one) is Node and one.value < 0:
                    one.other = None
            return [Node(7) for _ in range(2000)]
        for turn in range(3):
            for plan in ("start", "stop", "both", "around"):
                held = [cycle(-10 * i - 10) for i in range(300)]; age(); del held
                if plan in ("stop", "around"): tracemalloc.start()
                pid = fly()
                if plan in ("start", "both"): tracemalloc.start()
                kept = free_candidates()
                if plan in ("stop", "both"): tracemalloc.stop()
                kept += free_candidates()
                land(pid)
                if tracemalloc.is_tracing(): tracemalloc.stop()
                assert all(node.value == 7 and node.whole() for node in kept), plan
                live.check()
        recovered(Dead(100), live, 0)
    """)


def test_test_hooks_removed_in_flight() -> None:
    """_testcapi puts the allocators back as they were before: without midden's record, if that came after."""
    if not subject.has_module("_testcapi"):
        pytest.skip("this interpreter has no _testcapi")
    survive("""
        import _testcapi
        midden.enable()
        live = Live()
        for turn in range(3):
            held = [cycle(-10 * i - 10) for i in range(300)]; age(); del held
            ballast()
            _testcapi.set_nomemory(1 << 30)
            pid = fly()
            _testcapi.remove_mem_hooks()
            for one in gc.get_objects():
                if type(one) is Node and one.value < 0:
                    one.other = None
            del one
            kept = [Node(7) for _ in range(3000)]
            land(pid)
            assert all(node.value == 7 and node.whole() for node in kept)
            live.check()
        recovered(Dead(100), live, 0)
    """)
