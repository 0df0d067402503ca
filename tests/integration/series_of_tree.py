# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: series_of_tree.py BUILD; see scripts/series.py check, which this is."""

import subprocess
import sys

import tap

sys.exit(subprocess.run([sys.executable, '-B', tap.ROOT / 'scripts/series.py',
                         'check', '--build-dir', sys.argv[1]],
                        check=False).returncode)
