# Enables midden before the program starts: `midden run` (run.py tells how) puts this folder in front of
# PYTHONPATH, and Python's own `site` imports this module, in any process and any version of Python that
# inherits the variable. Hence: nothing here that an old Python cannot parse, and no import beyond os and sys.
#
# What the program sees afterwards is what it would see without us: os.environ, sys.path, and its own
# sitecustomize, if there is one. The only trace is the imported package `midden`.
import os
import sys


def _off_the_path(folder):
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    sys.path_importer_cache.pop(folder, None)


def _start():
    here = os.path.dirname(os.path.abspath(__file__))
    _off_the_path(here)
    words = os.environ.get("MIDDEN_RUN")
    if words is None:
        return
    words = words.split(",")
    stats = os.environ.get("MIDDEN_RUN_STATS")
    heap = os.environ.get("MIDDEN_RUN_HEAP")
    if "children" not in words:
        before = os.environ.get("MIDDEN_RUN_PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before  # where it was: the order of variables stays, too
        else:
            os.environ.pop("PYTHONPATH", None)
        for name in ("MIDDEN_RUN", "MIDDEN_RUN_STATS", "MIDDEN_RUN_HEAP", "MIDDEN_RUN_PYTHONPATH"):
            os.environ.pop(name, None)

    if sys.version_info < (3, 11):
        if "quiet" not in words:
            sys.stderr.write(
                "midden: collector off: Python %d.%d is too old, 3.11 is needed; running as stock Python\n"
                % sys.version_info[:2]
            )
        return

    home = os.path.dirname(os.path.dirname(here))  # where the package lies, installed or not
    known = home in sys.path_importer_cache
    sys.path.insert(0, home)
    try:
        from midden import summary
    finally:
        sys.path.remove(home)
        if not known:
            sys.path_importer_cache.pop(home, None)
    summary.start(words, stats, heap)


def _own_sitecustomize():
    # Make room for the sitecustomize that Python would have imported without us. When there is none,
    # the ImportError goes on to `site`, which passes over it, as it would have.
    sys.modules.pop("sitecustomize", None)
    import sitecustomize  # noqa: F401


try:
    try:
        _start()
    except Exception as error:
        sys.stderr.write("midden: collector off: %s; running as stock Python\n" % (error,))
finally:
    _own_sitecustomize()
