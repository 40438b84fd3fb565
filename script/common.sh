# shellcheck shell=bash
# What every script here starts with: `. "$(dirname "$0")/common.sh"`. Goes to the project's root.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
export ROOT=$PWD

# The interpreter everything is built for and tested with, unless told otherwise. The system's own comes
# first, since the packages that script/bootstrap installs are for that one.
if [ -z "${PYTHON:-}" ]; then
    PYTHON=/usr/bin/python3
    [ -x "$PYTHON" ] || PYTHON=python3
fi

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }
have() { command -v "$1" >/dev/null 2>&1; }

# The option's value: `value "$@"` for "--option VALUE".
value() {
    if [ $# -lt 2 ] || [ -z "$2" ]; then die "$1 needs a value"; fi
    printf '%s' "$2"
}

# Print the opening comment of the calling script, as its help.
help() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0; }

# Where an interpreter lies, and the tag that names its build (cpython-311).
python_path() { "$1" -c 'import sys; print(sys.executable)' 2>/dev/null || die "$1 does not run"; }
python_tag() {
    "$1" -c 'import sys, sysconfig
tag = sys.implementation.cache_tag
print(tag + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""))'
}
