# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's versions: which are known, and how they are compared.

A version is x.y.z; from z = 50 on it is the development tree that leads to the
release after x.y.
"""

import re

from .common import PrepareError

# What `make check' and `make check-next' look at.
DEFAULT = '10.0'
NEXT = '10.2'
OLDEST = (10, 0)

# What was tried besides, by hand; the last one is newer than all releases then.
TRIED = ('10.1', '10.2.50')

KNOWN = (f'QEMU {DEFAULT} and {NEXT} are tested; {" and ".join(TRIED)} (the '
         'development tree of February 2026) were tried')


def series(text):
    """(x, y) of the series x.y; PrepareError if @text is none."""
    match = re.fullmatch(r'(\d+)\.(\d+)', text)
    if not match:
        raise PrepareError(f'{text!r} is no series of QEMU\'s releases: it is '
                           f'two numbers and a dot, as {DEFAULT} or {NEXT}')
    return int(match[1]), int(match[2])


def parse(text):
    """(x, y, z) of the version @text, or None if it has another form."""
    match = re.fullmatch(r'(\d+)\.(\d+)\.(\d+)', text)
    return tuple(map(int, match.groups())) if match else None


def is_development(version):
    return version[2] >= 50


def since(version):
    """The release in which what is new in a tree of @version first is: x.y of a
    release, and what a development tree leads to.
    """
    x, y, _ = version
    if is_development(version):
        # three releases a year: x.0, x.1 and x.2
        x, y = (x, y + 1) if y < 2 else (x + 1, 0)
    return f'{x}.{y}'


def is_tested(version):
    return not is_development(version) and \
        version[:2] in (series(DEFAULT), series(NEXT))


def condition(text):
    """What the condition >=x.y or >=x.y.z asks for, as (x, y, z), or None."""
    match = re.fullmatch(r'>=(\d+)\.(\d+)(?:\.(\d+))?', text)
    return tuple(int(part or 0) for part in match.groups()) if match else None
