#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run QEMU's own tests, and compare with what QEMU does without vhost-dp.

usage: check_qemu.py --build-dir DIR [--known FILE] [--record]

The suites are unit, qtest and the schema's (qapi-*), without vhost-dp's own
tests.  A test that fails is run once more by itself, since some are not made
for a busy machine.  What still fails must be in FILE, a list of the tests that
fail with QEMU as it is shipped, built with the same options, on this kind of
machine; anything else is vhost-dp's fault.  A test of the list that passes is
told.

With --record nothing is compared and the list is written: DIR then is a build
of QEMU as it is shipped.
"""

import argparse
import os
import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import check                                                # noqa: E402
from prep.common import PrepareError, say                   # noqa: E402

SUITES = re.compile(r'(unit|qtest-x86_64|qapi-\w+)')
OURS = re.compile(r'vhost-dp|uring-burst')
KNOWN = Path(os.path.realpath(__file__)).parent / 'qemu-known.list'
HEAD = '''\
# SPDX-License-Identifier: GPL-2.0-or-later
#
# QEMU's tests that fail with QEMU as it is shipped; read and written by
# scripts/check_qemu.py.
'''


class Runner(check.Runner):
    """meson's tests by name, without counting their cases."""

    def theirs(self):
        """The names of QEMU's own tests."""
        return [test['name'] for test in self.tests
                if not OURS.search(test['name'])
                and any(SUITES.fullmatch(suite.rpartition(':')[2])
                        for suite in test['suite'])]

    def results(self, names, processes):
        """Run the tests @names; map each to meson's result."""
        log = self.build / 'meson-logs' / 'vhost-dp-qemu.json'
        log.unlink(missing_ok=True)
        self._meson([str(self.meson), 'test', '-C', str(self.build),
                     '--no-rebuild', '--logbase', 'vhost-dp-qemu',
                     '--timeout-multiplier', '4',
                     '--num-processes', str(processes), *names])
        found = {check.plain_name(record['name']): record['result']
                 for record in self._records(log)}
        return {name: found.get(name, 'did not run') for name in names}


def bad(results):
    return {name for name, result in results.items()
            if result in check.FAILED or result == 'did not run'}


def read_known(path):
    if not path.exists():
        raise PrepareError(f'there is no list {path}: make one with --record')
    lines = (re.sub('#.*', '', line).strip()
             for line in path.read_text().splitlines())
    return {line for line in lines if line}


def run(arguments):
    runner = Runner(arguments.build_dir)
    names = runner.theirs()
    known = set() if arguments.record else read_known(arguments.known)
    say(f'Testing QEMU ({len(names)} tests)')
    results = runner.results(names, os.cpu_count())
    again = sorted(bad(results) - known)
    if again:
        say(f'Once more, one by one: {", ".join(again)}')
        results.update(runner.results(again, 1))
    failed = bad(results)
    skipped = sum(result == 'SKIP' for result in results.values())
    if arguments.record:
        arguments.known.write_text(HEAD + ''.join(
            f'{name}\n' for name in sorted(failed)))
        say(f'{len(names)} tests, {len(failed)} failed, {skipped} skipped: '
            f'{arguments.known} is written')
        return 0
    for name in sorted(known - failed):
        print(f'passed, although {arguments.known.name} has it: {name}')
    new = sorted(failed - known)
    for name in new:
        print(f'fails, and does not without vhost-dp: {name} '
              f'({results[name]})')
    print(f'{len(names) - len(failed) - skipped} passed, {len(new)} failed, '
          f'{skipped} skipped, {len(failed & known)} known to fail')
    return 1 if new else 0


def main():
    parser = argparse.ArgumentParser(description="Run QEMU's own tests.")
    parser.add_argument('--build-dir', required=True)
    parser.add_argument('--known', type=Path, default=KNOWN, metavar='FILE')
    parser.add_argument('--record', action='store_true')
    try:
        return run(parser.parse_args())
    except PrepareError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
