# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: next_qemu.py BUILD; see scripts/next.py, which this is."""

import subprocess
import sys

import tap

sys.exit(subprocess.run([sys.executable, '-B', tap.ROOT / 'scripts/next.py',
                         sys.argv[1]], check=False).returncode)
