"""``midden run`` behaves as python does: every test runs the same thing both ways and compares."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import zipapp
from pathlib import Path

import pytest

TELL = """\
import json, os, sys
main = sys.modules["__main__"]
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": list(sys.flags),
    "executable": sys.executable, "xoptions": sys._xoptions, "warnoptions": sys.warnoptions,
    "environ": dict(os.environ), "cwd": os.getcwd(), "importers": sorted(p for p in sys.path_importer_cache if not p.endswith("/midden")),
    "main": sorted(vars(main)), "name": __name__, "file": getattr(main, "__file__", "none"),
    "spec": getattr(main.__spec__, "name", None), "loader": type(main.__loader__).__name__, "package": str(getattr(main, "__package__", "none")),
    "modules": sorted(m for m in sys.modules if m.split(".")[0] not in ("midden", "__future__", "atexit", "gc")),
    "sitecustomize": str(sys.modules.get("sitecustomize")),
    "hooks": [sys.excepthook.__qualname__, len(sys.meta_path), len(sys.path_hooks)],
    "stdin": sys.stdin.read(),
}, indent=1))
"""


def test_a_script_sees_what_python_shows_it(shell):
    shell.write("tell.py", TELL)
    stock, run = shell.both("tell.py", "a", "--stats", "-q", "", "--", "-m", "ä", stdin="some input\n")
    assert '"some input' in stock.out
    run.same_as(stock)


@pytest.mark.parametrize(
    "flags",
    [("-u",), ("-B", "-X", "dev"), ("-O",), ("-W", "error::UserWarning"), ("-X", "utf8=0"), ("-P",), ("-s",)],
    ids=" ".join,
)
def test_the_interpreters_flags_reach_the_program(shell, flags):
    shell.write("tell.py", TELL)
    stock, run = shell.both("tell.py", "a", flags=flags)
    run.same_as(stock)


def test_flags_combined_with_m(shell):
    code = "import sys; print(sys.flags.optimize, int(sys.flags.dont_write_bytecode))"
    assert shell.python("-OBm", "midden", "run", "-q", "-c", code).out == "1 1\n"
    assert shell.python("-mmidden", "run", "-q", "-c", code).out == "0 0\n"


def test_c(shell):
    stock, run = shell.both("-c", TELL, "a", "-b", stdin="x")
    run.same_as(stock)


def test_c_glued_to_its_code(shell):
    stock, run = shell.both("-cimport sys; print(sys.argv)", "a")
    run.same_as(stock)


def test_m_module(shell):
    shell.write("tell.py", TELL)
    stock, run = shell.both("-m", "tell", "a", "-m")
    run.same_as(stock)


def test_m_glued_to_its_module(shell):
    shell.write("tell.py", TELL)
    stock, run = shell.both("-mtell", "a")
    run.same_as(stock)


def test_m_package(shell):
    shell.write("pack/__init__.py", "print(__name__)")
    shell.write("pack/inner/__init__.py", "print(__name__)")
    shell.write("pack/inner/__main__.py", TELL)
    stock, run = shell.both("-m", "pack.inner", "a")
    run.same_as(stock)


def test_m_of_a_missing_module(shell):
    stock, run = shell.both("-m", "there_is_none")
    assert stock.status == 1
    run.same_as(stock)


def test_folder_and_zip(shell):
    shell.write("app/__main__.py", TELL)
    stock, run = shell.both("app", "a")
    run.same_as(stock)
    zipapp.create_archive(shell.folder / "app", shell.folder / "app.pyz")
    stock, run = shell.both("app.pyz", "a")
    run.same_as(stock)


def test_folder_without_main(shell):
    (shell.folder / "empty").mkdir()
    stock, run = shell.both("empty")
    assert stock.status == 1
    run.same_as(stock)


def test_script_from_stdin(shell):
    stock, run = shell.both("-", "a", stdin="import sys; print(sys.argv, __name__)\nraise KeyError(1)\n")
    assert stock.status == 1
    run.same_as(stock)


def test_script_from_a_pipe(shell):
    results = []
    for before in ((), ("-m", "midden", "run")):
        reader, writer = os.pipe()
        os.write(writer, b"print('from the pipe')\n")
        os.close(writer)
        results.append(shell.python(*before, f"/dev/fd/{reader}", pass_fds=(reader,)))
        os.close(reader)
    assert results[0].out == "from the pipe\n"
    assert (results[1].status, results[1].out) == (0, "from the pipe\n")


def test_script_whose_name_looks_like_an_option(shell):
    shell.write("-odd.py", "import sys; print(len(sys.argv))")
    assert shell.midden("run", "--", "-odd.py", "a").out == "2\n"


@pytest.mark.parametrize(
    "ending",
    [
        "pass",
        "sys.exit()",
        "sys.exit(0)",
        "sys.exit(3)",
        "sys.exit(-1)",
        "sys.exit(2**40)",
        "sys.exit(True)",
        "sys.exit('in words')",
        "sys.exit((1, 2))",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "raise BaseException('base')",
        "os._exit(7)",
        "os.abort()",
        "os.kill(os.getpid(), 9)",
        "sys.stdout.write('no newline')",
        "sys.stderr.close(); sys.exit(4)",
        "os.close(2); sys.exit(4)",
        "sys.stdout.close(); sys.exit(4)",
        "import atexit; atexit.register(print, 'at exit'); sys.exit(5)",
        "import atexit; atexit.register(int, 'x'); sys.exit(5)",
        "import atexit; atexit._clear(); sys.exit(5)",
        "import threading; threading.Thread(target=lambda: print('thread')).start()",
        "import threading; threading.Thread(target=lambda: 1/0).start()",
        "import asyncio; asyncio.run(asyncio.sleep(0)); 1/0",
        "sys.path.clear(); sys.exit(6)",
        "sys.modules.clear()",
        "os.chdir('/'); sys.exit(6)",
        "os.environ.clear(); sys.exit(6)",
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))",
    ],
)
def test_how_the_program_ends(shell, ending):
    shell.write("ends.py", f"import os, sys\nprint('begun', flush=True)\n{ending}\n")
    stock, run = shell.both("ends.py")
    run.same_as(stock)


def test_traceback(shell):
    shell.write(
        "deep.py",
        "def outer():\n    inner()\n\ndef inner():\n    try:\n        {}['key']\n"
        "    except KeyError as error:\n        raise ValueError('wrong') from error\n\nouter()\n",
    )
    stock, run = shell.both("deep.py")
    assert "inner()" in stock.err and stock.status == 1
    run.same_as(stock)
    assert run.ours  # and the summary comes all the same


def test_syntax_error(shell):
    shell.write("bad.py", "print(1)\nif:\n")
    stock, run = shell.both("bad.py")
    run.same_as(stock)


def test_sys_exit_in_words_is_on_stderr_before_the_summary(shell):
    run = shell.midden("run", "-c", "import sys; sys.exit('bye')")
    assert run.err.splitlines()[0] == "bye"
    assert run.err.splitlines()[1].startswith("midden: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
def test_signals(shell, number):
    shell.write("wait.py", "import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    results = []
    for before in ((), ("-m", "midden", "run")):
        with shell.start(*before, "wait.py") as process:
            assert process.stdout.readline() == "ready\n"
            while "\nState:\tS" not in Path(f"/proc/{process.pid}/status").read_text():
                time.sleep(0.01)  # until it sleeps
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        err = "".join(line for line in err.splitlines(True) if not line.startswith("midden: "))
        results.append((process.returncode, err))
    assert results[0][0] == -number
    assert results[1] == results[0]


def test_a_program_that_handles_its_signals(shell):
    code = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE), "
        "signal.getsignal(signal.SIGCHLD), signal.pthread_sigmask(0, []), flush=True)\ntime.sleep(60)"
    )
    lines = []
    for before in ((), ("-m", "midden", "run")):
        with shell.start(*before, "-c", code) as process:
            lines.append(process.stdout.readline())
            process.terminate()
            process.communicate(timeout=60)
        assert process.returncode == 9
    assert lines[0] == lines[1]


def test_the_process_id_stays(shell):
    """exec: supervisors see one process."""
    with shell.start("-m", "midden", "run", "-c", "import os; print(os.getpid())") as process:
        out, _ = process.communicate(timeout=60)
    assert int(out) == process.pid


def test_descriptors_of_the_program(shell):
    code = "import os; print(sorted(os.listdir('/proc/self/fd')))"
    stock, run = shell.both("-c", code)
    run.same_as(stock)


def test_stdout_is_left_alone(shell):
    run = shell.midden("run", "-c", "print('x' * 10)")
    assert run.out == "x" * 10 + "\n"
    assert run.ours


@pytest.mark.parametrize("value", [None, "", "{site}", "{site}:{other}", "rel:{site}::{other}", "{site}:{site}"])
def test_pythonpath_is_put_back(shell, site, tmp_path, value):
    """Whatever it was; midden is started here as the installed command is, by its own path."""
    launcher = tmp_path / "launcher.py"
    launcher.write_text(
        f"import sys\nsys.path.insert(0, {str(site)!r})\nfrom midden.cli import main\nsys.exit(main())\n"
    )
    other = tmp_path / "other"
    other.mkdir()
    (shell.folder / "rel").mkdir()
    shell.write("tell.py", TELL)
    del shell.environment["PYTHONPATH"]
    if value is not None:
        shell.environment["PYTHONPATH"] = value.format(site=site, other=other)
    stock = shell.python("tell.py")
    run = shell.python(str(launcher), "run", "tell.py")
    run.same_as(stock)
    again = shell.python(str(launcher), "run", "-q", "-c", "import midden; print(midden.__file__)")
    assert again.out == f"{site}/midden/__init__.py\n"


def test_the_users_sitecustomize_runs(shell, tmp_path):
    customs = tmp_path / "customs"
    customs.mkdir()
    (customs / "sitecustomize.py").write_text(
        "import os, sys\nsys.custom = sorted(os.environ), list(sys.path), __name__, __file__\n"
    )
    (customs / "usercustomize.py").write_text("import sys; sys.user = 'own'\n")
    shell.environment["PYTHONPATH"] += f":{customs}"
    code = "import sys, sitecustomize\nprint(sys.custom, getattr(sys, 'user', 'none'), sitecustomize)"
    stock, run = shell.both("-c", code)
    assert "'sitecustomize'" in stock.out
    run.same_as(stock)


@pytest.mark.parametrize("fault", ["1/0", "raise ImportError('no such')", "import there_is_none"])
def test_the_users_sitecustomize_fails(shell, tmp_path, fault):
    customs = tmp_path / "customs"
    customs.mkdir()
    (customs / "sitecustomize.py").write_text(fault + "\n")
    shell.environment["PYTHONPATH"] += f":{customs}"
    stock, run = shell.both("-c", "import sys; print('sitecustomize' in sys.modules)")
    assert run.out == stock.out and run.status == stock.status
    assert (run.theirs.splitlines() or [""])[-1] == (stock.err.splitlines() or [""])[-1]


@pytest.mark.parametrize(
    ("flags", "named"), [(("-I",), "-I"), (("-S",), "-S"), (("-E",), "-E"), (("-IS",), "-S")], ids=str
)
def test_flags_that_leave_no_way_in(shell, site, tmp_path, flags, named):
    launcher = tmp_path / "launcher.py"
    launcher.write_text(
        f"import sys\nsys.path.insert(0, {str(site)!r})\nfrom midden.cli import main\nsys.exit(main())\n"
    )
    run = shell.python(str(launcher), "run", "-c", "print(1)", flags=flags)
    assert (run.status, run.out, len(run.err.splitlines())) == (2, "", 1)
    assert run.err.startswith("midden: ") and f"python {named}:" in run.err


def test_a_virtual_environment(shell, tmp_path):
    if shell.python("-m", "venv", "--without-pip", str(tmp_path / "venv")).status != 0:
        pytest.skip("this Python makes no virtual environments")
    python = tmp_path / "venv/bin/python"
    command = [python, "-m", "midden", "run", "-q", "-c", "import sys; print(sys.prefix)"]
    done = subprocess.run(
        command, env=shell.environment, cwd=shell.folder, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (f"{tmp_path}/venv\n", "")


def test_an_ascii_locale(shell):
    shell.environment |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    shell.write("tell.py", TELL)
    stock, run = shell.both("tell.py", "a")
    run.same_as(stock)
    assert run.ours and run.err.isascii()


def test_midden_is_enabled_and_importable(shell):
    run = shell.midden("run", "-q", "-c", "import midden; print(midden.is_enabled())")
    assert (run.out, run.err) == ("True\n", "")


def test_a_program_with_a_module_named_as_ours(shell):
    """Its sys.path[0] comes first for everything but the package midden itself, which is loaded already."""
    for name in ("run", "cli", "check", "summary", "json"):
        shell.write(f"{name}.py", f"print('my {name}')")
    stock, run = shell.both("-c", "import run, cli, check, summary, json")
    run.same_as(stock)


def test_started_by_a_thread_pool_and_subinterpreters(shell):
    code = (
        "import concurrent.futures as f\n"
        "with f.ThreadPoolExecutor(4) as pool: print(sum(pool.map(lambda n: len([[] for _ in range(n)]), "
        "range(300))))\n"
    )
    stock, run = shell.both("-c", code)
    run.same_as(stock)


def test_pathological_arguments(shell):
    stock, run = shell.both("-c", "import sys; print(ascii(sys.argv))", os.fsdecode(b"\xff\xfe"), "a\nb", "")
    run.same_as(stock)


def test_a_script_path_with_odd_letters(shell):
    script: Path = shell.write("späß und \n.py", TELL)
    stock, run = shell.both(str(script))
    run.same_as(stock)
