# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/check_qemu.py makes of the results of QEMU's own tests."""

import argparse
import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import tap
import check_qemu


class FakeRunner:
    """Runs tests whose results are given, for the first and the second time."""

    first = {}
    second = {}
    rounds = []

    def __init__(self):
        self.rounds.clear()

    def theirs(self, only):
        return list(self.first)

    def results(self, names, processes):
        self.rounds.append((sorted(names), processes))
        source = self.first if len(self.rounds) == 1 else self.second
        return {name: (source[name], [f'{name}/case: of round '
                                      f'{len(self.rounds)}']
                       if source[name] in ('FAIL', 'ERROR') else [])
                for name in names}


class CheckQemu(unittest.TestCase):
    def run_with(self, first, known='', second=None, record=False):
        """Returns the status, what was said, and the list."""
        FakeRunner.first = first
        FakeRunner.second = second or {}
        with tempfile.TemporaryDirectory() as scratch, \
             contextlib.redirect_stdout(io.StringIO()) as said:
            path = Path(scratch) / 'list'
            path.write_text(known)
            status = check_qemu.compare(FakeRunner(), argparse.Namespace(
                known=path, record=record, only='*'))
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
        self.assertIn('failed: b (FAIL)\n    b/case: of round 1', said)

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
        self.assertIn('fails without vhost-dp, too: a (ERROR)\n'
                      '    a/case: of round 1', said)
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

    def test_reasons(self):
        """What a failed test said of itself, from meson's own log."""
        with tempfile.TemporaryDirectory() as scratch:
            build = Path(scratch)
            (build / 'pyvenv/bin').mkdir(parents=True)
            (build / 'meson-info').mkdir()
            (build / 'meson-logs').mkdir()
            (build / 'meson-info/intro-tests.json').write_text(json.dumps(
                [{'name': 'a', 'protocol': 'tap', 'suite': ['qemu:unit']},
                 {'name': 'b', 'protocol': 'exitcode', 'suite': ['qemu:unit']},
                 {'name': 'c', 'protocol': 'tap', 'suite': ['qemu:other']},
                 {'name': 'test-vhost-dp-d', 'protocol': 'tap',
                  'suite': ['qemu:unit']}]))
            records = [{'name': 'qemu:unit / a', 'result': 'FAIL',
                        'returncode': 1, 'stdout':
                        'ok 1 one\nnot ok 2 two\n# 1 is not 2\n'},
                       {'name': 'qemu:unit / b', 'result': 'TIMEOUT',
                        'returncode': -15}]
            meson = build / 'pyvenv/bin/meson'
            meson.write_text('#!/bin/sh\ncat >'
                             f'{build}/meson-logs/vhost-dp-qemu.json <<E\n'
                             + '\n'.join(map(json.dumps, records)) + '\nE\n')
            meson.chmod(0o755)
            runner = check_qemu.Runner(build)
            self.assertEqual(runner.theirs(), ['a', 'b'])
            self.assertEqual(runner.theirs('b*'), ['b'])
            with contextlib.redirect_stdout(io.StringIO()):
                results = runner.results(['a', 'b', 'e'], 1)
        self.assertEqual(results, {'a': ('FAIL', ['two: 1 is not 2']),
                                   'b': ('TIMEOUT', ['timed out']),
                                   'e': ('did not run', [])})


if __name__ == '__main__':
    tap.main()
