"""Going back to stock with disable(), at any moment; enable() and hold()."""

from __future__ import annotations

import textwrap

import pytest
from subject import run

# Where the program calls disable(): each with the collector at another point of its work.
ANYWHERE = {
    "at once": "midden.disable()",
    "in flight": "pid = fly(); midden.disable()",
    "in a start callback": """
        gc.callbacks.append(lambda phase, info: phase == "start" and midden.disable()); churn(lambda: not midden.is_enabled())""",
    "first in a start callback": """
        gc.callbacks.insert(0, lambda phase, info: phase == "start" and midden.disable()); churn(lambda: not midden.is_enabled())""",
    "in a stop callback": """
        gc.callbacks.append(lambda phase, info: phase == "stop" and midden.disable()); churn(lambda: not midden.is_enabled())""",
    "in a callback, in flight": """
        pid = fly(); gc.callbacks.append(lambda phase, info: midden.disable()); churn(lambda: not midden.is_enabled())""",
    "in a candidate's finalizer": """
        class Ends:
            def __del__(self): midden.disable()
        e = Ends(); e.e = e; age(); del e
        dead = Dead(3000)
        try: midden.collect(timeout=20)
        except RuntimeError: pass
        gc.collect()""",
    "in a weak reference's callback": """
        e = cycle(1); reference = weakref.ref(e, lambda _: midden.disable()); age(); del e
        try: midden.collect(timeout=20)
        except RuntimeError: pass""",
    "in a thread": "in_thread(midden.disable)",
    "in a thread, in flight": "pid = fly(); in_thread(midden.disable)",
    "by a thread, while another waits": """
        catch = Catch()
        threading.Timer(0.5, midden.disable).start()
        try: midden.collect(timeout=20)
        except (RuntimeError, TimeoutError): pass""",
    "in a signal handler": """
        signal.signal(signal.SIGALRM, lambda *_: midden.disable()); signal.setitimer(signal.ITIMER_REAL, 0.05)
        churn(lambda: not midden.is_enabled())""",
    "under hold": """
        with midden.hold(): midden.disable()""",
}


@pytest.mark.parametrize("where", list(ANYWHERE))
def test_disable_anywhere(where: str) -> None:
    """disable() at any moment: stock again, entirely, with nothing left in flight; and enable() works again."""
    run(f"""
plain = gc.get_threshold()
live = Live()
midden.enable()
if 1:
{textwrap.indent(textwrap.dedent(ANYWHERE[where]).strip(), '    ')}
assert wait_for(lambda: not midden.is_enabled(), 5), "still enabled"
assert all(type(one).__name__ == "function" for one in gc.callbacks), f"midden's callback was left: {{gc.callbacks}}"
gc.callbacks.clear()
assert no_clones(), "a clone was left"
assert not midden.stats()["in_flight"] and not midden.stats()["enabled"]
assert gc.get_threshold() == plain and gc.isenabled(), (gc.get_threshold(), gc.isenabled())
gc.set_threshold(10, 1, 1)
assert full_collections(lambda: grow(200_000)) > 0, "no automatic full collections"
gc.set_threshold(*plain)
dead = Dead(100); gc.collect(); assert dead.left() == 0
midden.enable()
dead = Dead(100); midden.collect(timeout=30); assert dead.left() == 0
live.check()
""")


@pytest.mark.parametrize("collect", ["midden.collect(in_place=True)", "gc.collect()", "midden.collect(timeout=20)"])
def test_off_and_on_within_a_collection(collect: str) -> None:
    """A finalizer calls disable() and enable() again: the heap is all there afterwards."""
    run(f"""
        midden.enable(fast_collect=True)
        class Switch:
            def __del__(self): midden.disable(); midden.enable(fast_collect=True)
        live = Live()
        for _ in range(3):
            before = len(gc.get_objects())
            one = Switch(); one.me = one; age(); del one
            {collect}
            assert abs(len(gc.get_objects()) - before) < 1000, (before, len(gc.get_objects()))
            live.check()
        dead = Dead(100); midden.collect(timeout=20); assert dead.left() == 0
        gc.collect(); live.check()
    """)


def test_disable_leaves_no_callback_behind() -> None:
    """gc.callbacks is as it was."""
    run("""
        mine = lambda phase, info: None
        gc.callbacks.append(mine)
        before = list(gc.callbacks)
        for _ in range(3):
            midden.enable()
            midden.collect(timeout=30)
            midden.disable()
            assert gc.callbacks == before, gc.callbacks
        assert no_clones() and not zombies(), "an ended clone was not reaped"
    """)


def test_enable_twice_and_disable_twice() -> None:
    """Either is allowed and changes nothing; a thread may do it; thousands of times may."""
    run("""
        midden.disable()
        assert not midden.is_enabled()
        midden.enable(); midden.enable()
        assert midden.is_enabled() and midden.stats()["enabled"]
        dead = Dead(100); midden.collect(timeout=30); assert dead.left() == 0
        midden.disable(); midden.disable()
        assert not midden.is_enabled()
        in_thread(midden.enable)
        assert midden.is_enabled()
        for _ in range(2000):
            midden.disable(); midden.enable()
        dead = Dead(100); midden.collect(timeout=30); assert dead.left() == 0
        for bad in [dict(collector=1, nothing=2), dict(fast=True)]:
            try: midden.enable(**bad)
            except TypeError: pass
            else: raise AssertionError(bad)
        try: midden.enable(True)
        except TypeError: pass
        else: raise AssertionError("positional arguments")
    """)


# --- hold --------------------------------------------------------------------------------------------------------


def test_hold() -> None:
    """No automatic collection inside, nested or not, whatever leaves it; explicit ones work."""
    run("""
        midden.enable()
        def quiet(seconds=0.1):
            before = [one["collections"] for one in gc.get_stats()], midden.stats()["snapshots"]
            kept = grow(20_000); churn(seconds=seconds)
            return ([one["collections"] for one in gc.get_stats()], midden.stats()["snapshots"]) == before
        assert not quiet()
        with midden.hold():
            assert quiet()
            with midden.hold():
                assert quiet()
            assert quiet()
            dead = Dead(100); gc.collect(); assert dead.left() == 0
            dead = Dead(100); midden.collect(timeout=30); assert dead.left() == 0
            assert quiet()
        assert not quiet()
        for error in (KeyError, KeyboardInterrupt, SystemExit):
            try:
                with midden.hold(), midden.hold():
                    raise error
            except error:
                pass
            assert not quiet()
        def function():
            with midden.hold():
                return quiet()
        assert function() and not quiet()
        assert gc.isenabled()
        gc.disable()
        with midden.hold():
            assert not gc.isenabled()
        assert not gc.isenabled()
    """, env={"MIDDEN_TORTURE": "1"})


def test_hold_in_threads() -> None:
    """As long as any thread holds, nothing is collected; in flight when it begins, too."""
    run("""
        midden.enable()
        entered, leave = threading.Event(), threading.Event()
        def holder():
            with midden.hold():
                entered.set(); leave.wait()
        thread = threading.Thread(target=holder); thread.start(); entered.wait()
        before = gc.get_stats()[0]["collections"]
        with midden.hold():
            kept = grow(20_000)
        kept = grow(20_000)
        assert gc.get_stats()[0]["collections"] == before, "collected while a thread held"
        leave.set(); thread.join()
        kept = grow(20_000)
        assert gc.get_stats()[0]["collections"] > before
        dead = Dead(300)
        pid = fly_by_itself()
        with midden.hold():
            os.kill(pid, signal.SIGCONT); time.sleep(0.4); kept = grow(20_000)
            assert dead.left() == 300
        assert churn(lambda: dead.left() == 0, 20)
    """, env={"MIDDEN_TORTURE": "10"})


def test_hold_while_not_enabled() -> None:
    """A library may use it without asking whether midden is enabled."""
    run("""
        with midden.hold():
            midden.enable()
        dead = Dead(100); midden.collect(timeout=30); assert dead.left() == 0
        with midden.hold():
            midden.disable()
        with midden.hold():
            pass
        gc.set_threshold(10, 1, 1)
        assert full_collections(grow) > 0
    """)
