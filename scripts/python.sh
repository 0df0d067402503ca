#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run python 3.11 or later with the given arguments.
#
# Taken, in this order: $PYTHON (an error when it is unsuitable), the system's
# /usr/bin/python3, python3 from PATH.  With --which, print the interpreter
# instead of running it; exit status 1 and no output when there is none.

suitable()
{
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

python=
if [ -n "${PYTHON:-}" ]; then
    if ! suitable "$PYTHON"; then
        echo "error: PYTHON (or --python) is '$PYTHON', which is no python 3.11 or later" >&2
        exit 2
    fi
    python=$PYTHON
else
    for candidate in /usr/bin/python3 python3; do
        if suitable "$candidate"; then
            python=$(command -v "$candidate")
            break
        fi
    done
fi

if [ "${1:-}" = --which ]; then
    [ -n "$python" ] || exit 1
    printf '%s\n' "$python"
    exit 0
fi
if [ -z "$python" ]; then
    echo "error: python 3.11 or later is needed; none was found" >&2
    exit 1
fi
exec "$python" "$@"
