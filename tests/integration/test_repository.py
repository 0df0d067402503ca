# SPDX-License-Identifier: GPL-2.0-or-later
"""Properties of the repository itself."""

import ast
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

import tap
from prep import edits

# Put together here, so that this file does not hold what it looks for.
ARCHIVE = re.compile(r'\b[a-z]+\.' + r'debian\.' + r'(org|net)')
ADDRESS = re.compile(r'\b(https?|ftp):' + r'//')
# Where the tables and scripts of preparation are: no address at all.
PREPARATION = ('scripts/', 'integration/', '.ci/', 'configure', 'Makefile',
               'meson.build')
PRODUCT = ('net/', 'hw/', 'include/', 'util/', 'qapi/', 'compat/')
# What is written by hand, and read: not the documentation
SOURCE = {'.c', '.h', '.inc', '.py', '.sh', '.pml', '.json'}
MAX_LINES = 800
CODE = {'.c', '.h', '.py', '.sh', '.toml', '.build', '.list', '.json', '.rst'}


def our_files():
    """Paths of all text files, relative to the repository."""
    for directory, directories, names in os.walk(tap.ROOT):
        directories[:] = [name for name in directories
                          if name not in ('.git', '__pycache__')
                          and not (Path(directory) == tap.ROOT
                                   and name.startswith('build'))
                          and not os.path.exists(os.path.join(
                              directory, name, 'vhost-dp.json'))
                          and not name.endswith(('.src', '.src.tmp'))]
        for name in names:
            path = Path(directory) / name
            if path.is_symlink() or name.endswith(('~', '.pyc')):
                continue
            yield str(path.relative_to(tap.ROOT))


def text_of(path):
    return (tap.ROOT / path).read_text(encoding='utf-8', errors='replace')


class Repository(unittest.TestCase):
    def test_no_archive_address(self):
        for path in our_files():
            text = text_of(path)
            self.assertIsNone(ARCHIVE.search(text), path)
            if path.startswith(PREPARATION):
                self.assertIsNone(ADDRESS.search(text), path)

    def test_licence_tags(self):
        missing = []
        for path in our_files():
            if Path(path).suffix not in CODE \
               and not os.access(tap.ROOT / path, os.X_OK):
                continue
            text = text_of(path)
            if text.strip() and 'SPDX-License-' + 'Identifier:' \
               not in text[:1000]:
                missing.append(path)
        self.assertEqual(missing, [])

    def test_python_is_sound(self):
        for path in our_files():
            if path.endswith('.py'):
                ast.parse(text_of(path), path)

    def test_files_are_short(self):
        """Code that has grown longer is split by subject."""
        long = {path: lines for path in our_files()
                if path.startswith(PRODUCT + ('tests/', 'scripts/'))
                and Path(path).suffix in SOURCE
                for lines in [text_of(path).count('\n')] if lines > MAX_LINES}
        self.assertEqual(long, {}, f'files of more than {MAX_LINES} lines')

    def test_tables(self):
        """The real tables are well-formed."""
        self.assertTrue(edits.load(tap.ROOT / 'integration'))

    def test_entry_points(self):
        for name in ('configure', '.ci/run', 'scripts/need.sh',
                     'scripts/python.sh'):
            self.assertTrue(os.access(tap.ROOT / name, os.X_OK), name)

    def test_example_is_small(self):
        """docs/devel/vhost-dp-driver.rst: less than 150 lines of code."""
        code = text_of('tests/unit/vhost-dp-example.c')
        code = re.sub(r'/\*.*?\*/', '', code, flags=re.DOTALL)
        lines = [line for line in code.splitlines() if line.strip()]
        self.assertLess(len(lines), 150)

    def test_figures(self):
        """The picture of the measurements is that of their table."""
        script = tap.ROOT / 'tests/bench/figures.py'
        self.assertEqual(subprocess.run(
            [sys.executable, '-B', script, '--check'], check=False).returncode,
            0, 'run tests/bench/figures.py')


if __name__ == '__main__':
    tap.main()
