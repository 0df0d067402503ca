# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a unittest module with TAP output, and find the repository.

A test module ends with tap.main().  Importing this makes the parts of
scripts/ importable.
"""

import os
import sys
import unittest
from pathlib import Path

# The tests are reached through links in the prepared tree.
ROOT = Path(os.path.realpath(__file__)).parents[2]

sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / 'scripts'))


class TapResult(unittest.TestResult):
    """One line per test method."""

    def __init__(self):
        super().__init__()
        self.number = 0
        self.failed_parts = False

    def _line(self, good, test, comment=''):
        self.number += 1
        name = test.id().partition('.')[2] or test.id()
        print(f'{"ok" if good else "not ok"} {self.number} - {name}{comment}',
              flush=True)

    @staticmethod
    def _explain(text):
        for line in text.splitlines():
            print(f'# {line}')

    def startTest(self, test):
        super().startTest(test)
        self.failed_parts = False

    def addSuccess(self, test):
        super().addSuccess(test)
        self._line(True, test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line(False, test)
        self._explain(self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._line(False, test)
        self._explain(self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            if not self.failed_parts:
                self._line(False, test)
            self.failed_parts = True
            kind = self.failures if issubclass(err[0], test.failureException) \
                else self.errors
            self._explain(f'{subtest}\n{kind[-1][1]}')

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(True, test, f' # SKIP {reason}')


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(
        sys.modules['__main__'])
    print(f'1..{suite.countTestCases()}')
    result = TapResult()
    suite.run(result)
    sys.exit(not result.wasSuccessful())
