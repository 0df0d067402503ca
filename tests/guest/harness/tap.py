# SPDX-License-Identifier: GPL-2.0-or-later
"""unittest with its results as TAP, so that meson counts every test."""

import sys
import time
import traceback
import unittest


def comment(text):
    for line in text.strip().splitlines():
        print(f"# {line}", flush=True)


class _Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.count = 0
        self._program = self._test = time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self._test = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        now = time.monotonic()
        comment(f"{now - self._test:.1f} s, up to {now - self._program:.1f} s")

    def _line(self, ok, test, note=""):
        self.count += 1
        name = getattr(test, "shortDescription", test.id)() or test.id()
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name}{note}", flush=True)

    def addSuccess(self, test):
        self._line(True, test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(True, test, f" # SKIP {reason}")

    def _bad(self, test, error):
        self._line(False, test)
        comment("".join(traceback.format_exception(*error)))

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self._bad(subtest, error)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._bad(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self._bad(test, error)


def skip_all(reason):
    print(f"1..0 # SKIP {reason}")
    sys.exit(0)


def bail_out(reason):
    """End with an error before the first test."""
    print(f"Bail out! {reason}")
    sys.exit(1)


def run(classes):
    """Run the test classes in order and end the program."""
    loader = unittest.TestLoader()
    suite = unittest.TestSuite(loader.loadTestsFromTestCase(each) for each in classes)
    result = _Result()
    suite.run(result)
    print(f"1..{result.count}", flush=True)
    sys.exit(0 if result.wasSuccessful() else 1)
