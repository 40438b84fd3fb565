"""The scripts that guard the project: they find what they are there to find."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def layers(root: Path, *arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, root / "script/check-layers", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture
def sources(tmp_path):
    """A little tree of sources that keeps the rules."""
    for layer in ("platform", "graph", "snapshot", "cpython"):
        folder = tmp_path / "src" / layer
        folder.mkdir(parents=True)
        (folder / f"{layer}.h").write_text("#include <stdint.h>\n")
        (folder / f"{layer}.c").write_text(f'#include "{layer}.h"\n')
        (folder / "meson.build").write_text(f"sources = ['{layer}.c']\n")
    (tmp_path / "src/platform/platform.c").write_text("#include <sys/mman.h>\n")
    (tmp_path / "src/cpython/cpython.c").write_text('#include <Python.h>\n#include "graph/graph.h"\n')
    (tmp_path / "src/cpython/compat.h").write_text("#if PY_VERSION_HEX >= 0x030c0000\n#endif\n")
    return tmp_path / "src"


def test_sources_that_keep_the_layers(root, sources):
    assert layers(root, sources) == (0, "")


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("graph/graph.c", '#include "snapshot.h"', "not to its left"),
        ("graph/graph.c", '#include "../snapshot/snapshot.h"', "not to its left"),
        ("platform/platform.c", "# include\t\"graph/graph.h\"", "not to its left"),
        ("snapshot/snapshot.c", "#include <Python.h>", "Python.h outside src/cpython"),
        ("snapshot/snapshot.c", "#include <sys/mman.h>", "outside src/platform"),
        ("snapshot/snapshot.c", "#include <unistd.h>", "outside src/platform"),
        ("graph/graph.c", '#include "nowhere.h"', "not found"),
        ("cpython/cpython.c", "#if PY_VERSION_HEX < 1\n#endif", "compat.h"),
        ("graph/new.c", "", "meson.build"),
        ("graph/graph.c", "/* #include <Python.h> */\n// PY_VERSION_HEX", ""),
    ],
)
def test_sources_that_do_not(root, sources, file, text, told):
    (sources / file).write_text(f"\n{text}\n")
    status, out = layers(root, sources)
    assert (status == 1 and told in out and f"src/{file}:" in out) if told else (status, out) == (0, "")


def test_exported_symbols(root, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or shutil.which("nm") is None:
        pytest.skip("no compiler")
    for name, status in (("midden_new", 0), ("PyInit__core", 0), ("helper", 1), ("xmidden_new", 1)):
        (tmp_path / "a.c").write_text(f"int {name}(void) {{ return 0; }}\nstatic int inner;\n")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", tmp_path / "a.so", tmp_path / "a.c"], check=True)
        done = subprocess.run([root / "script/check-symbols", tmp_path], capture_output=True, text=True)
        assert done.returncode == status, done.stdout
        assert (name in done.stdout) == bool(status)


def test_the_extension_exports_its_init_function_only(root, site):
    assert subprocess.run([root / "script/check-symbols", site]).returncode == 0


@pytest.mark.parametrize("script", ["bootstrap", "build", "test", "format", "check-symbols"])
def test_help(root, script):
    done = subprocess.run([root / "script" / script, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"script/{script}" in done.stdout and not done.stdout.startswith("#")


@pytest.mark.parametrize("script", ["bootstrap", "build", "test", "format"])
def test_unknown_option(root, script):
    done = subprocess.run([root / "script" / script, "--bogus"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "--bogus" in done.stderr


def test_shell_scripts_are_clean(root):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    scripts = [path for path in [*(root / "script").iterdir(), root / ".ci/run"] if path.is_file()]
    scripts = [path for path in scripts if b"bash" in path.read_bytes().split(b"\n", 1)[0]]
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
