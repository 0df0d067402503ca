# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding our own files."""

import os
import re
from pathlib import Path

IGNORED = re.compile(r'^\.|~$|\.(orig|rej|pyc|swp)$|^__pycache__$|^#.*#$')


def collect_files(root, places):
    """Map the relative path to the path, for all files below @places."""
    found = {}
    for place in places:
        for where, directories, names in os.walk(Path(root) / place):
            directories[:] = [d for d in directories if not IGNORED.search(d)]
            for name in names:
                if not IGNORED.search(name):
                    path = Path(where) / name
                    found[str(path.relative_to(root))] = path
    return found
