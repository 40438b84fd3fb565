"""``python -m midden``: the same as the command ``midden``."""

import sys

if sys.version_info < (3, 11):  # the rest of the command may not even compile there
    sys.stderr.write("midden: needs Python 3.11 or newer; this is %d.%d\n" % sys.version_info[:2])
    sys.exit(2)

from midden.cli import main

if __name__ == "__main__":
    sys.exit(main())
