"""Input for the programs that we did not write: a documentation tree for Sphinx, a source tree for mypy.

Both are made from what the distribution installs anyway, in a folder that the caller throws away.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

DOCUMENTS = Path("/usr/share/doc/docutils-doc")
"""Docutils' own documentation, if the package docutils-doc is there."""

# fmt: off
MODULES = [
    "abc", "argparse", "array", "ast", "asyncio", "base64", "bisect", "bz2", "calendar", "cmath", "cmd",
    "code", "codecs", "collections", "collections.abc", "colorsys", "compileall", "concurrent.futures",
    "configparser", "contextlib", "contextvars", "copy", "csv", "ctypes", "dataclasses", "datetime",
    "decimal", "difflib", "dis", "doctest", "email", "email.message", "email.headerregistry", "enum",
    "errno", "filecmp", "fileinput", "fnmatch", "fractions", "ftplib", "functools", "gc", "getopt", "glob",
    "graphlib", "gzip", "hashlib", "heapq", "hmac", "html", "html.parser", "http.client", "http.cookies",
    "http.server", "imaplib", "importlib", "importlib.metadata", "inspect", "io", "ipaddress", "itertools",
    "json", "linecache", "locale", "logging", "logging.config", "logging.handlers", "lzma", "mailbox",
    "mimetypes", "mmap", "multiprocessing", "multiprocessing.pool", "numbers", "opcode", "operator",
    "optparse", "os", "os.path", "pathlib", "pdb", "pickle", "pickletools", "pkgutil", "platform",
    "plistlib", "poplib", "pprint", "profile", "pstats", "queue", "random", "re", "reprlib", "sched",
    "secrets", "select", "selectors", "shelve", "shlex", "shutil", "signal", "smtplib", "socket",
    "socketserver", "sqlite3", "ssl", "stat", "statistics", "string", "struct", "subprocess", "symtable",
    "sys", "sysconfig", "tarfile", "tempfile", "textwrap", "threading", "time", "timeit", "token",
    "tokenize", "trace", "traceback", "tracemalloc", "types", "typing", "unittest", "unittest.mock",
    "urllib.parse", "urllib.request", "urllib.robotparser", "uuid", "venv", "warnings", "wave", "weakref",
    "wsgiref.handlers", "xml.dom.minidom", "xml.etree.ElementTree", "xml.sax", "xmlrpc.client", "zipapp",
    "zipfile", "zipimport", "zoneinfo",
]
# fmt: on

_CONF = """\
project = "sample"
extensions = [{extensions}]
source_suffix = {{{suffixes}}}
exclude_patterns = ["**/include/*"]
suppress_warnings = ["*"]
html_theme = "basic"
autodoc_default_options = {{"members": True, "undoc-members": True, "show-inheritance": True}}
"""


def documentation(folder: Path, share: float = 1.0) -> str:
    """Make a Sphinx source tree in `folder` and return what it is, for the reader.

    It holds docutils' own documentation if that is installed, and a page of API reference for each of `share`
    of the standard library's modules.
    """
    folder.mkdir(parents=True, exist_ok=True)
    modules = MODULES[: max(1, round(len(MODULES) * share))]
    pages = []
    for module in modules:
        (folder / f"{module}.rst").write_text(f"{module}\n{'=' * len(module)}\n\n.. automodule:: {module}\n")
        pages.append(module)
    what = f"API reference of {len(modules)} modules of the standard library"
    suffixes = "'.rst': 'restructuredtext'"
    if DOCUMENTS.is_dir() and any(DOCUMENTS.rglob("*.txt")):
        shutil.copytree(DOCUMENTS, folder / "docutils", ignore=shutil.ignore_patterns("*.html", "*.gz"))
        what += " and docutils' own documentation"
        suffixes += ", '.txt': 'restructuredtext'"
    listed = "".join(f"   {page}\n" for page in pages)
    (folder / "index.rst").write_text(f"Sample\n======\n\n.. toctree::\n\n{listed}")
    (folder / "conf.py").write_text(_CONF.format(extensions='"sphinx.ext.autodoc"', suffixes=suffixes))
    return what


def sources(
    folder: Path, packages: tuple[str, ...] = ("asyncio", "email", "importlib", "unittest", "xml")
) -> list[str]:
    """Copy `packages` of the standard library into `folder` under other names; return these names.

    Under their own names mypy would find them twice, there and in its stubs.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        shutil.copytree(
            library / package, folder / f"sample_{package}", ignore=shutil.ignore_patterns("__pycache__")
        )
    return [f"sample_{package}" for package in packages]
