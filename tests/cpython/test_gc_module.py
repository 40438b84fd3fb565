"""The gc module keeps its meaning while midden is enabled, and has it back entirely when it is not.

Where the meaning is a value, the same program runs as stock and under midden and must print the same.
"""

from __future__ import annotations

from subject import run, same_as_stock

# --- thresholds and automatic collections ------------------------------------------------------------------


def test_get_threshold_returns_what_the_program_set() -> None:
    """Before, while and after midden is enabled; zero and missing arguments too."""
    run("""
        plain = gc.get_threshold()
        midden.enable()
        assert gc.get_threshold() == plain
        for given in [(123, 4, 5), (1, 1, 1), (0, 7, 8), (50_000, 20, 1000), (10**9, 10**9, 10**9)]:
            gc.set_threshold(*given)
            assert gc.get_threshold() == given, (given, gc.get_threshold())
            churn(seconds=0.02)
            assert gc.get_threshold() == given, (given, gc.get_threshold())
        gc.set_threshold(900)
        assert gc.get_threshold()[0] == 900
        gc.set_threshold(77, 8, 9)
        midden.disable()
        assert gc.get_threshold() == (77, 8, 9), gc.get_threshold()
        midden.enable()
        assert gc.get_threshold() == (77, 8, 9), gc.get_threshold()
        midden.disable()
        gc.set_threshold(*plain)
        midden.enable()
        assert gc.get_threshold() == plain
    """)


def test_set_threshold_alone_prints_as_stock() -> None:
    """Also with bad arguments."""
    same_as_stock("""
        for given in [(5,), (6, 7), (8, 9, 10), (0,), (), (1, 2, 3, 4), ("x",), (2**40,), (-1, -1, -1)]:
            try:
                gc.set_threshold(*given)
            except Exception as error:
                print(type(error).__name__)
            print(gc.get_threshold())
    """)


def test_stock_collects_the_oldest_generation_by_itself() -> None:
    """The control of the test below: without midden the same program sees full collections."""
    run("""
        gc.set_threshold(1, 1, 1)
        assert full_collections(grow) > 0
        gc.set_threshold(100, 2, 2)
        assert full_collections(grow) > 0
    """)


def test_no_automatic_collection_of_the_oldest_generation() -> None:
    """Whatever the thresholds; by the callbacks and by gc.get_stats()."""
    run("""
        midden.enable()
        before = gc.get_stats()[2]["collections"]
        for given in [(1, 1, 1), (100, 2, 2), (700, 10, 1)]:
            gc.set_threshold(*given)
            assert full_collections(grow) == 0, given
        in_thread(lambda: gc.set_threshold(10, 1, 1))
        assert full_collections(lambda: in_thread(grow)) == 0
        assert gc.get_stats()[2]["collections"] == before
    """)


def test_young_collections_still_happen() -> None:
    """Generations 0 and 1 are CPython's, at the program's thresholds."""
    run("""
        midden.enable()
        gc.set_threshold(500, 5, 5)
        before = [one["collections"] for one in gc.get_stats()]
        kept = grow(50_000)
        after = [one["collections"] for one in gc.get_stats()]
        assert after[0] - before[0] >= 50, (before, after)
        assert after[1] - before[1] >= 5, (before, after)
        gc.set_threshold(0)
        before = [one["collections"] for one in gc.get_stats()]
        more = grow(50_000)
        assert [one["collections"] for one in gc.get_stats()] == before
    """)


def test_old_garbage_is_reclaimed_by_itself() -> None:
    """With nothing but allocation going on; and when the snapshot's answer arrives in an idle program."""
    run("""
        midden.enable()
        dead, live = Dead(2000), Live()
        assert churn(lambda: dead.left() == 0, 20), (dead.left(), midden.stats())
        live.check()
    """, env={"MIDDEN_TORTURE": "1"})
    run("""
        midden.enable()
        gc.set_threshold(0)
        dead, live = Dead(2000), Live()
        midden.collect(wait=False)
        assert wait_for(lambda: dead.left() == 0, 20), (dead.left(), midden.stats())
        live.check()
    """)


# --- collect ------------------------------------------------------------------------------------------------


def test_collect_returns_what_stock_returns() -> None:
    """For every generation, with garbage in each; with fast_collect too (see test_fast_collect)."""
    same_as_stock("""
        gc.collect(); gc.disable()
        def trash(n):
            for _ in range(n):
                x = []; x.append(x)
        trash(3); print(gc.collect(0), gc.collect(0))
        trash(4); print(gc.collect(1), gc.collect(1))
        trash(5); print(gc.collect(2), gc.collect())
        held = []
        for _ in range(6):
            x = []; x.append(x); held.append(x)
        gc.collect(0); gc.collect(1); del held, x
        print(gc.collect(0), gc.collect(1), gc.collect(), gc.collect())
        for bad in (-1, 3, "x"):
            try: gc.collect(bad)
            except Exception as error: print(type(error).__name__, error)
        print([one["uncollectable"] for one in gc.get_stats()], sorted(gc.get_stats()[0]))
    """)


def test_fast_collect() -> None:
    """gc.collect() finds and returns the same, counts in gc.get_stats(), calls the callbacks; disable() ends it."""
    run("""
        def figures():
            gc.collect(); gc.collect()
            told, seen = [], lambda phase, info: told.append((phase, info["generation"], info["collected"]))
            dead, live = Dead(500), Live()
            gc.callbacks.append(seen)
            before = gc.get_stats()[2]["collections"]
            found = [gc.collect(), gc.collect(), gc.collect(0), gc.collect(1), gc.collect(generation=2)]
            full = [one[:2] for one in told if one[1] == 2], sum(one[2] for one in told if one[0] == "stop")
            gc.callbacks.remove(seen)
            live.check()
            return found, dead.left(), full, gc.get_stats()[2]["collections"] - before
        gc.disable()
        stock = figures()
        midden.enable(fast_collect=True)
        fast = figures()
        assert fast[:2] == stock[:2], (stock, fast)
        assert fast[2][1] == stock[2][1], (stock, fast)
        midden.disable()
        assert figures() == stock
    """)


def test_midden_collect_tells_what_it_did() -> None:
    """Its keys; found and reclaimed are exact for plain garbage; in place too."""
    run("""
        midden.enable()
        gc.collect(); gc.disable()
        for in_place in (False, True):
            dead, live = Dead(1000, 3), Live()
            told = midden.collect(timeout=30, in_place=in_place)
            assert set(told) >= {"found", "reclaimed", "clone_s", "find_s", "reclaim_s", "in_place"}, told
            assert dead.left() == 0 and told["in_place"] is in_place, (told, dead.left())
            assert told["found"] >= 3000 and told["reclaimed"] >= 3000, told
            assert all(told[key] >= 0 for key in ("clone_s", "find_s", "reclaim_s")), told
            assert gc.collect() == 0
            live.check()
        again = midden.collect(timeout=30)
        assert again["found"] == again["reclaimed"] == 0, again
    """)


def test_midden_collect_when_not_enabled() -> None:
    """Says so, or works; never crashes, and leaves things as they were."""
    run("""
        try:
            midden.collect(timeout=30)
        except (RuntimeError, ValueError):
            pass
        assert not midden.is_enabled()
        assert gc.collect() >= 0
    """)


def test_a_collection_out_of_time_goes_on() -> None:
    """TimeoutError, then the answer is used all the same; timeout=0 does not wait at all."""
    run("""
        midden.enable()
        dead = Dead(2000)
        for timeout in (0, 0.5):
            catch = Catch()
            try: midden.collect(timeout=timeout)
            except TimeoutError: pass
            else: raise AssertionError("it did not time out")
            pid = catch.caught()
            assert midden.stats()["in_flight"]
        land(pid)
        assert churn(lambda: dead.left() == 0, 20), (dead.left(), midden.stats())
    """)


def test_waiting_lets_others_run() -> None:
    """collect() in the main thread neither holds the GIL nor keeps signals from their handlers."""
    run("""
        midden.enable()
        catch, ran = Catch(), []
        thread = threading.Thread(target=lambda: [ran.append(1) or time.sleep(0.01) for _ in range(20)])
        signal.signal(signal.SIGALRM, lambda *_: ran.append("signal") or os.kill(catch.caught(), signal.SIGCONT))
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        thread.start()
        midden.collect(timeout=20)
        thread.join()
        assert ran.count(1) == 20 and "signal" in ran, ran
    """)


def test_an_exception_in_a_signal_handler_ends_the_wait() -> None:
    """As KeyboardInterrupt would; the collection goes on."""
    run("""
        midden.enable()
        catch = Catch()
        def stop(*_): raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        try: midden.collect(timeout=20)
        except KeyboardInterrupt: pass
        else: raise AssertionError("not interrupted")
        land(catch.caught())
    """)


# --- freeze, get_objects, get_count ----------------------------------------------------------------------------


def test_freeze_and_unfreeze() -> None:
    """What is frozen is nobody's to collect; what is unfrozen is again."""
    run("""
        midden.enable()
        gc.collect(); gc.disable()
        gc.unfreeze()  # 3.12 begins with some
        assert gc.get_freeze_count() == 0
        dead, live = Dead(500), Live()
        gc.freeze()
        count = gc.get_freeze_count()
        assert count >= 1500
        told = midden.collect(timeout=30)
        assert dead.left() == 500 and told["found"] == 0, (dead.left(), told)
        assert count - 100 < gc.get_freeze_count() <= count, "frozen objects still die when nobody refers to them"
        other = Dead(300)
        midden.collect(timeout=30)
        assert (dead.left(), other.left()) == (500, 0)
        gc.unfreeze()
        assert gc.get_freeze_count() == 0
        midden.collect(timeout=30)
        assert dead.left() == 0
        live.check()
    """)


def test_freeze_and_unfreeze_in_flight() -> None:
    """Candidates that got frozen stay; the count stays right; frozen ones that got thawed may go."""
    run("""
        midden.enable()
        gc.disable()
        dead, live = Dead(500), Live()
        pid = fly()
        gc.freeze()
        count = gc.get_freeze_count()
        land(pid)
        assert gc.get_freeze_count() == count, (count, gc.get_freeze_count())
        assert dead.left() == 500
        more = grow(250_000)  # what is frozen does not keep the clone busy
        pid = fly()
        gc.unfreeze()
        land(pid)
        midden.collect(timeout=30)
        assert dead.left() == 0
        live.check()
    """)


def test_get_objects() -> None:
    """Every object is in the generation that it is in under stock, and once."""
    same_as_stock("""
        class Mark: pass
        gc.collect(); gc.disable()
        old = [Mark() for _ in range(5)]; gc.collect(0); gc.collect(1)
        middle = [Mark() for _ in range(6)]; gc.collect(0)
        young = [Mark() for _ in range(7)]
        def count(g): return sum(type(o) is Mark for o in gc.get_objects(generation=g))
        print([count(g) for g in (None, 0, 1, 2)])
        if "MIDDEN_ON" in os.environ:
            midden.collect(wait=False)
        print([count(g) for g in (None, 0, 1, 2)][0])
        for bad in (-1, 3, "x"):
            try: gc.get_objects(generation=bad)
            except Exception as error: print(type(error).__name__, error)
        print(len(gc.get_referrers(young[0])), len(gc.get_referents(old)), gc.is_tracked(old), gc.is_tracked(1),
              gc.is_finalized(old))
    """)


def test_get_count() -> None:
    """Three numbers; the first grows with allocation and falls to about nothing by a collection."""
    run("""
        gc.collect(); gc.disable()
        midden.enable()
        first = gc.get_count()
        kept = [[] for _ in range(1000)]
        second = gc.get_count()
        assert len(first) == 3 and 900 <= second[0] - first[0] <= 1100, (first, second)
        midden.collect(timeout=30)
        gc.collect(0)
        assert gc.get_count()[0] < 200
        gc.collect()
        assert gc.get_count()[1:] == (0, 0) or gc.get_count()[2] == 0
    """)


# --- callbacks --------------------------------------------------------------------------------------------------


def test_callbacks_are_told_as_ever() -> None:
    """start and stop alternate, with the keys of stock, and their figures add up."""
    run("""
        told = []
        gc.callbacks.append(lambda phase, info: told.append((phase, dict(info))))
        midden.enable()
        gc.callbacks.append(lambda phase, info: told.append((phase, dict(info))))
        dead = Dead(1000)
        midden.collect(timeout=30)
        churn(seconds=0.1)
        gc.disable()
        mine = told[-400:]
        assert len(mine) > 4
        phases = [phase for phase, info in told if set(info) >= {"generation", "collected", "uncollectable"}]
        assert len(phases) == len(told)
        one = [told[i] for i in range(len(told)) if i % 2 == 0]
        assert {phase for phase, _ in told} == {"start", "stop"}
        assert sum(info["collected"] for phase, info in told if phase == "stop") >= 3000
        stats = gc.get_stats()
        assert sum(s["collected"] for s in stats) >= 3000, stats
    """)


def test_callbacks_cleared() -> None:
    """While nothing happens, in flight, and from a callback: midden comes back, and nothing is lost."""
    run("""
        midden.enable()
        live = Live()
        for when in ("idle", "flight", "callback"):
            dead = Dead(500)
            if when == "idle":
                gc.callbacks.clear()
            elif when == "flight":
                pid = fly(); gc.callbacks.clear(); os.kill(pid, signal.SIGCONT)
            else:
                gc.callbacks.insert(0, lambda phase, info: gc.callbacks.clear())
                churn(lambda: not gc.callbacks, 5)
            for _ in range(10):
                try: midden.collect(timeout=10)
                except TimeoutError: pass
                if dead.left() == 0: break
            assert dead.left() == 0, (when, dead.left(), midden.stats())
            assert midden.is_enabled()
            gc.set_threshold(10, 1, 1)
            assert full_collections(grow) == 0, when
            gc.set_threshold(700, 10, 10)
        live.check()
        gc.callbacks.clear()
        midden.disable()
        gc.set_threshold(10, 1, 1)
        assert full_collections(grow) > 0
        assert gc.callbacks == []
    """, env={"MIDDEN_TORTURE": "20"})


def test_callbacks_saved_and_cleared() -> None:
    """As test suites do: our callback lives on in the saved copy. collect() must not wait for ever."""
    run("""
        midden.enable()
        dead, live = Dead(100), Live()
        saved = gc.callbacks[:]
        gc.callbacks.clear()
        midden.collect(timeout=10)
        assert dead.left() == 0
        gc.callbacks[:] = saved
        dead = Dead(100); midden.collect(timeout=10); assert dead.left() == 0
        live.check()
    """, timeout=30)


def test_callbacks_rearranged_or_doubled() -> None:
    """A program that copies the list, reverses it or holds our callback twice does no harm."""
    run("""
        midden.enable()
        gc.callbacks[:] = gc.callbacks[::-1] + gc.callbacks
        dead, live = Dead(500), Live()
        midden.collect(timeout=30)
        churn(seconds=0.2)
        assert dead.left() == 0
        for callback in list(gc.callbacks):
            for arguments in [("start", {}), ("stop", {"generation": 2}), ("nothing", None), (), (1, 2, 3)]:
                try: callback(*arguments)
                except Exception: pass
        midden.collect(timeout=30)
        live.check()
        midden.disable()
        churn(seconds=0.1)
    """, env={"MIDDEN_TORTURE": "3"})


def test_other_callbacks_that_raise() -> None:
    """Are reported as ever, and hinder nobody."""
    run("""
        told = []
        sys.unraisablehook = lambda info: told.append(info.exc_type)
        def bad(phase, info): raise LookupError
        gc.callbacks.insert(0, bad)
        midden.enable()
        gc.callbacks.append(bad)
        dead, live = Dead(500), Live()
        midden.collect(timeout=30)
        assert dead.left() == 0
        assert told and set(told) == {LookupError}, set(told)
        live.check()
    """)


def test_callbacks_that_collect() -> None:
    """gc.collect() and midden.collect() in a callback, a finalizer, a weak reference's callback: no hang, no crash."""
    run("""
        midden.enable()
        done = []
        def again(phase, info):
            if len(done) < 40:
                done.append(gc.collect())
                try: midden.collect(timeout=5)
                except (RuntimeError, TimeoutError): pass
        class Collects:
            def __del__(self):
                done.append(gc.collect())
                try: midden.collect(timeout=5)
                except (RuntimeError, TimeoutError): pass
        live = Live()
        gc.callbacks.append(again)
        for _ in range(10):
            a = Collects(); a.a = a; del a
            dead = Dead(50)
            reference = weakref.ref(cycle(1), lambda _: midden.collect(wait=False))
            midden.collect(timeout=30)
        gc.callbacks.remove(again)
        assert churn(lambda: midden.collect(timeout=30) and dead.left() == 0, 20)
        live.check()
    """, timeout=120)


# --- debugging, disabling ------------------------------------------------------------------------------------------


def test_saveall_and_garbage() -> None:
    """DEBUG_SAVEALL puts the found into gc.garbage, alive and whole; without it gc.garbage stays empty."""
    same_as_stock("""
        class Node: pass
        gc.collect(); gc.disable()
        def dead(n):
            held = [Node() for _ in range(n)]
            for number, node in enumerate(held):
                node.me, node.number = node, number
            gc.collect(0); gc.collect(1)
        def collect():
            if "MIDDEN_ON" in os.environ: midden.collect(timeout=30)
            else: gc.collect()
        dead(50); gc.set_debug(gc.DEBUG_SAVEALL); print(gc.get_debug())
        collect()
        print(sorted(node.number for node in gc.garbage if isinstance(node, Node)))
        print(all(node.me is node for node in gc.garbage if isinstance(node, Node)))
        gc.set_debug(0); gc.garbage.clear(); collect(); collect()
        print(gc.garbage, gc.collect())
        dead(20); collect(); print(gc.garbage, gc.collect())
    """)


def test_gc_disable_stops_midden_too() -> None:
    """No snapshot and no reclaiming by itself; explicit collections work; enable() resumes."""
    run("""
        midden.enable()
        gc.disable()
        assert churn(landed)
        before = midden.stats()["snapshots"]
        dead = Dead(200)
        kept = grow(); churn(seconds=0.3)
        assert midden.stats()["snapshots"] == before and dead.left() == 200
        assert not gc.isenabled()
        gc.enable()
        assert gc.isenabled()
        assert churn(lambda: dead.left() == 0, 20), midden.stats()
    """, env={"MIDDEN_TORTURE": "1"})


def test_gc_disable_in_flight() -> None:
    """The answer waits, or is used by an explicit collection; nothing happens by itself."""
    run("""
        midden.enable()
        gc.disable()
        dead = Dead(200)
        gc.enable()
        pid = fly_by_itself()
        gc.disable()
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)
        kept = grow()
        assert dead.left() == 200, dead.left()
        gc.enable()
        assert churn(lambda: dead.left() == 0, 20), midden.stats()
    """, env={"MIDDEN_TORTURE": "10"})
