# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/check_qemu.py makes of the results of QEMU's own tests."""

import argparse
import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import tap
import check_qemu


class FakeRunner:
    """Runs tests whose results are given, for the first and the second time."""

    first = {}
    second = {}
    rounds = []

    def __init__(self, build):
        self.rounds.clear()

    def theirs(self):
        return list(self.first)

    def results(self, names, processes):
        self.rounds.append((sorted(names), processes))
        source = self.first if len(self.rounds) == 1 else self.second
        return {name: source[name] for name in names}


class CheckQemu(unittest.TestCase):
    def run_with(self, first, known='', second=None, record=False):
        """Returns the status, what was said, and the list."""
        FakeRunner.first = first
        FakeRunner.second = second or {}
        with tempfile.TemporaryDirectory() as scratch, \
             mock.patch.object(check_qemu, 'Runner', FakeRunner), \
             contextlib.redirect_stdout(io.StringIO()) as said:
            path = Path(scratch) / 'list'
            path.write_text(known)
            status = check_qemu.run(argparse.Namespace(
                build_dir='', known=path, record=record))
            return status, said.getvalue(), path.read_text()

    def test_good(self):
        status, said, _ = self.run_with({'a': 'OK', 'b': 'SKIP'})
        self.assertEqual(status, 0)
        self.assertIn('1 passed, 0 failed, 1 skipped, 0 known', said)
        self.assertEqual(len(FakeRunner.rounds), 1)

    def test_new_failure(self):
        status, said, _ = self.run_with({'a': 'OK', 'b': 'FAIL'},
                                        second={'b': 'TIMEOUT'})
        self.assertEqual(status, 1)
        self.assertIn('fails, and does not without vhost-dp: b (TIMEOUT)',
                      said)
        self.assertEqual(FakeRunner.rounds[1], (['b'], 1))

    def test_busy_machine(self):
        status, said, _ = self.run_with({'a': 'TIMEOUT'}, second={'a': 'OK'})
        self.assertEqual(status, 0)
        self.assertIn('1 passed, 0 failed', said)

    def test_did_not_run(self):
        status, _, _ = self.run_with({'a': 'did not run'},
                                     second={'a': 'did not run'})
        self.assertEqual(status, 1)

    def test_known(self):
        status, said, _ = self.run_with({'a': 'ERROR', 'b': 'OK'},
                                        known='# why\na  # and more\nb\n')
        self.assertEqual(status, 0)
        self.assertIn('passed, although list has it: b', said)
        self.assertIn('1 passed, 0 failed, 0 skipped, 1 known to fail', said)
        self.assertEqual(len(FakeRunner.rounds), 1)

    def test_record(self):
        status, _, known = self.run_with({'a': 'FAIL', 'b': 'OK', 'c': 'FAIL'},
                                         second={'a': 'FAIL', 'c': 'OK'},
                                         known='b\n', record=True)
        self.assertEqual(status, 0)
        self.assertEqual([line for line in known.splitlines()
                          if not line.startswith('#')], ['a'])
        self.assertIn('SPDX-License', known)


if __name__ == '__main__':
    tap.main()
