"""A snapshot in flight while the program forks, execs, waits for children, becomes a daemon, or ends."""

from __future__ import annotations

import textwrap

import pytest
from subject import run

# --- fork ----------------------------------------------------------------------------------------------------


def test_fork_in_flight() -> None:
    """The child starts idle and enabled, and its collector works; the parent's flight goes on."""
    run("""
        midden.enable()
        dead, live = Dead(500), Live()
        pid = fly()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert midden.is_enabled() and not midden.stats()["in_flight"]
                live.check()
                told = midden.collect(timeout=30)
                assert not told["in_place"] and dead.left() == 0, (told, dead.left())
                more = Dead(100); midden.collect(timeout=30); assert more.left() == 0
                live.check()
                gc.set_threshold(10, 1, 1); assert full_collections(grow) == 0
                midden.disable()
                assert full_collections(lambda: grow(200_000)) > 0
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0) == (child, 0)
        assert midden.stats()["in_flight"]
        land(pid)
        assert dead.left() == 0 and midden.stats()["snapshots_failed"] == 0, (dead.left(), midden.stats())
        live.check()
    """)


def test_fork_while_reclaiming() -> None:
    """A finalizer forks in the middle of a slice; both sides end with every finalizer run once."""
    run("""
        midden.enable()
        ran = []
        class Forks:
            def __init__(self, number): self.number, self.me = number, self
            def __del__(self):
                ran.append(self.number)
                if self.number == 500: children.append(os.fork())
        children = []
        many = [Forks(number) for number in range(1000)]
        live = Live()
        del many
        try: midden.collect(timeout=30)
        except RuntimeError: pass
        for _ in range(3): gc.collect()
        live.check()
        assert sorted(ran) == list(range(1000)), len(ran)
        assert midden.collect(timeout=30)["found"] == 0
        if children[0] == 0: os._exit(0)
        assert os.waitpid(children[0], 0)[1] == 0
    """)


def test_forks_at_every_moment() -> None:
    """A busy program under torture that forks all the time, from several threads; children collect, too."""
    run("""
        import warnings; warnings.simplefilter("ignore")
        midden.enable()
        live = Live(500)
        over = False
        def busy():
            while not over: churn(seconds=0.01)
        threads = [threading.Thread(target=busy) for _ in range(2)]
        for thread in threads: thread.start()
        for turn in range(20):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    churn(seconds=0.02)
                    live.check()
                    if turn % 4 == 0:
                        dead = Dead(20); midden.collect(timeout=20); assert dead.left() == 0
                    status = 0
                finally:
                    os._exit(status)
            churn(seconds=0.005)
            assert os.waitpid(child, 0)[1] == 0, turn
        over = True
        for thread in threads: thread.join()
        live.check()
    """, env={"MIDDEN_TORTURE": "1"}, timeout=90)


def test_no_warning_about_threads_at_fork() -> None:
    """CPython 3.12 and later warn when a process with threads forks; midden's helper is none of the program's."""
    run("""
        import warnings; warnings.simplefilter("error")
        midden.enable()
        for _ in range(3):
            pid = fly()
            child = os.fork()
            if child == 0: os._exit(0)
            os.waitpid(child, 0)
            land(pid)
            assert threading.active_count() == 1
    """)


def test_a_flight_that_begins_between_the_fork_and_its_hooks() -> None:
    """Another hook (or another thread) launches after midden's own has run: one helper, one clone, no crash."""
    run("""
        os.register_at_fork(before=lambda: midden.collect(wait=False))  # runs after midden's, which is registered later
        midden.enable()
        ballast(60_000)
        live = Live(500)
        for _ in range(20):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    dead = Dead(20); midden.collect(timeout=20); live.check()
                    status = dead.left()
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
            assert churn(landed)
            assert wait_for(lambda: len(os.listdir("/proc/self/task")) == 1, 2), "a helper thread was left"
        live.check()
    """)


def test_multiprocessing_and_subprocess_in_flight() -> None:
    """Pools by fork, and processes by vfork or posix_spawn."""
    run("""
        import multiprocessing, subprocess
        def work(number):
            dead = Dead(20); midden.collect(timeout=20)
            return number * number + dead.left()
        if __name__ == "__main__":
            midden.enable()
            live, dead = Live(), Dead(300)
            pid = fly()
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(work, range(20)) == [n * n for n in range(20)]
            assert midden.stats()["in_flight"]
            assert subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout == "42\\n"
            assert subprocess.run(["/bin/sh", "-c", "exit 3"], preexec_fn=lambda: None).returncode == 3
            assert os.system("exit 4") >> 8 == 4
            land(pid)
            live.check(); assert dead.left() == 0
    """)


# --- waiting for children ----------------------------------------------------------------------------------------


def test_the_clone_is_not_a_child_to_wait_for() -> None:
    """waitpid(-1), wait, waitid, wait3: ECHILD while only a clone is there; else the program's own child."""
    run("""
        midden.enable()
        dead = Dead(300)
        pid = fly()
        for wait in (lambda: os.waitpid(-1, os.WNOHANG), os.wait, lambda: os.wait3(0), lambda: os.waitpid(0, 0),
                     lambda: os.waitid(os.P_ALL, 0, os.WEXITED), lambda: os.waitpid(pid, os.WNOHANG)):
            try: told = wait()
            except ChildProcessError: pass
            else: raise AssertionError(told)
        children = set()
        for number in range(5):
            child = os.fork()
            if child == 0: os._exit(number)
            children.add(child)
        os.kill(pid, signal.SIGCONT)
        reaped = set()
        while True:
            try: reaped.add(os.waitpid(-1, 0)[0])
            except ChildProcessError: break
        assert reaped == children, (reaped, children)
        assert churn(landed)
        assert dead.left() == 0 and midden.stats()["snapshots_failed"] == 0, midden.stats()
    """)


def test_a_loop_that_reaps_all() -> None:
    """As init processes and supervisors have one: it never sees a clone, and midden never sees its children."""
    run("""
        midden.enable()
        live = Live(500)
        seen, over, expected = [], False, 0
        def reap():
            while not over:
                try: seen.append(os.waitpid(-1, os.WNOHANG))
                except ChildProcessError: pass
                time.sleep(0.001)
        thread = threading.Thread(target=reap); thread.start()
        for number in range(15):
            dead = Dead(30)
            child = os.fork()
            if child == 0: os._exit(7)
            expected += 1
            midden.collect(timeout=20)
            assert dead.left() == 0
        assert wait_for(lambda: sum(pid != 0 for pid, _ in seen) == expected, 10), seen
        over = True; thread.join()
        assert {status >> 8 for pid, status in seen if pid} == {7}
        assert midden.stats()["snapshots_failed"] == 0
        live.check()
    """)


def test_sigchld() -> None:
    """A handler hears of the program's children only; nor does ignoring the signal hurt; nor set_wakeup_fd."""
    run("""
        midden.enable()
        heard = []
        signal.signal(signal.SIGCHLD, lambda *_: heard.append(1))
        reading, writing = os.pipe(); os.set_blocking(writing, False); os.set_blocking(reading, False)
        signal.set_wakeup_fd(writing)
        for _ in range(5):
            dead = Dead(30); midden.collect(timeout=20); assert dead.left() == 0
        def told():
            try: return os.read(reading, 10)
            except BlockingIOError: return b""
        assert heard == [] and told() == b""
        pid = fly(); time.sleep(0.05)
        heard.clear(); told()  # of being stopped, by us, the kernel tells all the same
        os.kill(pid, signal.SIGKILL); churn(landed)
        time.sleep(0.1)
        assert heard == [] and told() == b""
        child = os.fork()
        if child == 0: os._exit(0)
        os.waitpid(child, 0); time.sleep(0.05)
        assert heard == [1]
        failed = midden.stats()["snapshots_failed"]
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(5):
            dead = Dead(30); midden.collect(timeout=20); assert dead.left() == 0
        os.kill(fly(), signal.SIGKILL)
        assert churn(landed)
        assert midden.stats()["snapshots_failed"] == failed + 1, midden.stats()
    """)


def test_asyncio_subprocesses() -> None:
    """asyncio's child watchers, with flights all the time."""
    run("""
        import asyncio, warnings; warnings.simplefilter("ignore")
        midden.enable()
        async def one(number):
            process = await asyncio.create_subprocess_exec("/bin/sh", "-c", f"exit {number}")
            return await process.wait()
        async def all():
            return await asyncio.gather(*[one(number) for number in range(10)])
        assert asyncio.run(all()) == list(range(10))
    """, env={"MIDDEN_TORTURE": "1"})


# --- descriptors, daemons, exec -------------------------------------------------------------------------------------


def test_all_descriptors_closed() -> None:
    """In flight, and before a flight; midden has none of its own that could be missed or found in another's place."""
    run("""
        midden.enable()
        before = sorted(os.listdir("/proc/self/fd"))
        dead, live = Dead(300), Live()
        out = os.dup(1); keep = 200; os.dup2(out, keep); os.close(out)
        pid = fly()
        assert len(os.listdir("/proc/self/fd")) <= len(before) + 1
        os.closerange(0, keep)
        first = os.open("/dev/null", os.O_RDWR)
        assert first == 0
        land(pid)
        assert dead.left() == 0
        for _ in range(3):
            dead = Dead(100); midden.collect(timeout=20); assert dead.left() == 0
        live.check()
        os.write(keep, b"done\\n")
    """)


def test_the_clone_holds_no_descriptor() -> None:
    """The other end of a pipe sees its end at once, a lock is free at once, while a clone still flies."""
    run("""
        import fcntl, tempfile
        midden.enable()
        reading, writing = os.pipe()
        locked = tempfile.NamedTemporaryFile()
        lock = open(locked.name); fcntl.flock(lock, fcntl.LOCK_EX)
        for attempt in range(10):
            pid = fly()
            if not (held := os.listdir(f"/proc/{pid}/fd")): break
            land(pid)  # caught before the call that drops them
        assert held == [], held
        os.close(writing); lock.close()
        signal.alarm(10)
        assert os.read(reading, 1) == b""
        other = open(locked.name); fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        land(pid)
    """)


def test_daemon() -> None:
    """Fork twice, new session, all descriptors closed, in flight: the daemon collects on."""
    run("""
        import tempfile
        place = tempfile.mkdtemp()
        midden.enable()
        dead, live = Dead(300), Live()
        pid = fly()
        if os.fork() == 0:
            os.setsid()
            if os.fork() != 0: os._exit(0)
            os.chdir("/"); os.closerange(0, 256)
            for _ in range(3): os.open("/dev/null", os.O_RDWR)
            try:
                live.check()
                told = midden.collect(timeout=30)
                live.check()
                text = json.dumps([dead.left(), told["in_place"], midden.is_enabled()])
            except BaseException as error:
                text = json.dumps(repr(error))
            with open(place + "/new", "w") as file: file.write(text)
            os.rename(place + "/new", place + "/told")
            os._exit(0)
        os.wait()
        assert wait_for(lambda: os.path.exists(place + "/told"), 30)
        assert json.load(open(place + "/told")) == [0, False, True], open(place + "/told").read()
        land(pid)
        assert dead.left() == 0
    """)


@pytest.mark.parametrize("how", ["os.execv", "from a thread"])
def test_exec(how: str) -> None:
    """The new program has no clone, and no child that it did not make, for longer than a moment."""
    new = """
import os, sys, time
sys.path[:0] = os.environ["PYTHONPATH"].split(":")
end = time.monotonic() + 5
from watch import clones
while clones() and time.monotonic() < end: time.sleep(0.01)
assert not clones(), "the clone lives on in the new program"
try: os.waitpid(-1, 0)
except ChildProcessError: print("new program")
"""
    ended = run(f"""
        new = {textwrap.dedent(new)!r}
        midden.enable()
        pid = fly()
        os.kill(pid, signal.SIGCONT)
        def go(): os.execv(sys.executable, [sys.executable, "-c", new])
        {"in_thread(go)" if how == "from a thread" else "go()"}
    """)
    assert ended.out == "new program\n", ended


# --- the end ---------------------------------------------------------------------------------------------------------

ENDS = {
    "falling off": ("pass", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ("raise ValueError", 1),
    "os._exit": ("os._exit(4)", 4),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)", -15),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -9),
    "abort": ("import faulthandler; faulthandler.disable(); os.abort()", -6),
    "sys.exit in a thread's join": ("t = threading.Thread(target=time.sleep, args=(0.2,)); t.start(); sys.exit(5)", 5),
    "a daemon thread": ("threading.Thread(target=lambda: [churn(seconds=0.1) for _ in range(100)], daemon=True).start(); sys.exit(6)", 6),
    "collecting at exit": ("import atexit; atexit.register(lambda: midden.collect(timeout=20))", 0),
    "disabled at exit": ("import atexit; atexit.register(midden.disable)", 0),
    "enabled at exit": ("import atexit; midden.disable(); atexit.register(midden.enable)", 0),
    "enabled late": ("class Late:\n    def __del__(self):\n        try: midden.enable()\n        except midden.Unsupported: pass\nlate = Late(); late.me = late; sys.modules['late'] = late", 0),
}


@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize("stopped", [True, False], ids=["clone stopped", "clone running"])
def test_exit_in_flight(end: str, stopped: bool) -> None:
    """The exit status is the program's, its output is whole, and the clone does not outlive it.

    (Where nothing of the program gets to run at its end, a clone that we have stopped cannot notice that end.)
    """
    code, status = ENDS[end]
    stopped = stopped and status >= 0 and end != "os._exit"
    source = textwrap.dedent("""
        midden.enable()
        dead, live = Dead(300), Live()
        pid = fly()
        import atexit
        atexit.register(lambda: print("atexit", flush=True))
        """) + ("" if stopped else "os.kill(pid, signal.SIGCONT)\n") + code + "\n"
    ended = run(source, status=status, timeout=30)
    if status >= 0 and end != "os._exit":
        assert ended.out == "atexit\n", ended
    if end != "an exception" and status >= 0:
        assert ended.err == "", ended.err
