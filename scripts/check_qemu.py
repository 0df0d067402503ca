#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run QEMU's own tests, and compare with what QEMU does without vhost-dp.

usage: check_qemu.py --build-dir DIR [--known FILE] [--record] [--only PATTERN]

The suites are unit, qtest and the schema's (qapi-*), without vhost-dp's own
tests.  A test that fails is run once more by itself, since some are not made
for a busy machine.  What still fails must be in FILE, a list of the tests that
fail with QEMU as it is shipped, built with the same options, on this kind of
machine; anything else is vhost-dp's fault.  Whatever fails is told with the
reason, and so is a test of the list that passes.

Where a /dev/kvm runs no guests, as in some virtual machines, the tests do not
get to see it: they take it on trust, and migration-test waits for ever.

With --record nothing is compared and the list is written: DIR then is a build
of QEMU as it is shipped.  --only is for a look at some tests, by their names.
"""

import argparse
import fnmatch
import os
import re
import subprocess
import sys
import tempfile
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


# A file that can be opened neither for writing nor as a device hides /dev/kvm,
# in a mount namespace; "$1" is that file.
HIDE = 'mount --bind "$1" /dev/kvm && mount -o remount,ro,bind /dev/kvm && ' \
       'shift && exec "$@"'


def kvm_runs_guests(qemu):
    """Whether firmware gets to its end: there is nothing to boot, QEMU exits."""
    try:
        return subprocess.run(
            [qemu, '-accel', 'kvm', '-nodefaults', '-display', 'none',
             '-boot', 'reboot-timeout=1', '-no-reboot'], timeout=20,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


# migration-test takes several minutes on an idle machine.
PATIENCE = 10


class Runner(check.Runner):
    """meson's tests by name, each with the reasons for which it fails."""

    def __init__(self, build):
        super().__init__(build)
        self.wrapper = []

    def hide_kvm(self, file):
        """Run tests without /dev/kvm; @file is an empty file."""
        self.wrapper = ['unshare', '--mount' if os.geteuid() == 0 else '-rm',
                        'sh', '-c', HIDE, 'sh', file]

    def theirs(self, only='*'):
        """The names of QEMU's own tests."""
        return [test['name'] for test in self.tests
                if not OURS.search(test['name'])
                and fnmatch.fnmatchcase(test['name'], only)
                and any(SUITES.fullmatch(suite.rpartition(':')[2])
                        for suite in test['suite'])]

    def results(self, names, processes):
        """Run the tests @names; map each to meson's result, and reasons."""
        log = self.build / 'meson-logs' / 'vhost-dp-qemu.json'
        log.unlink(missing_ok=True)
        said = self._meson([*self.wrapper, str(self.meson), 'test',
                            '-C', str(self.build), '--no-rebuild',
                            '--logbase', 'vhost-dp-qemu',
                            '--timeout-multiplier', str(PATIENCE),
                            '--num-processes', str(processes), *names])
        found = {}
        for record in self._records(log):
            name = check.plain_name(record['name'])
            failed = check.count_test(record, name in self.tap).failed
            found[name] = (record['result'], [
                f'{case}: {reason}'.strip(': ') for _, case, reason in failed])
        if not found:
            print(said, flush=True)
        return {name: found.get(name, ('did not run', [])) for name in names}


def bad(results):
    return {name for name, (result, _) in results.items()
            if result in check.FAILED or result == 'did not run'}


def tell(title, name, outcome):
    """One line for a test, and one for each reason."""
    result, reasons = outcome
    print(f'{title}: {name} ({result})')
    for reason in reasons:
        print(f'    {reason}')


def read_known(path):
    if not path.exists():
        raise PrepareError(f'there is no list {path}: make one with --record')
    lines = (re.sub('#.*', '', line).strip()
             for line in path.read_text().splitlines())
    return {line for line in lines if line}


def run(arguments):
    runner = Runner(arguments.build_dir)
    with tempfile.NamedTemporaryFile(prefix='vhost-dp-') as empty:
        if os.access('/dev/kvm', os.R_OK | os.W_OK) and \
           not kvm_runs_guests(runner.build / 'qemu-system-x86_64'):
            say('KVM runs no guests here: the tests do without')
            runner.hide_kvm(empty.name)
        return compare(runner, arguments)


def compare(runner, arguments):
    names = runner.theirs(arguments.only)
    if not names:
        raise PrepareError(f'the build has no test {arguments.only}')
    known = set() if arguments.record else read_known(arguments.known)
    say(f'Testing QEMU ({len(names)} tests)')
    results = runner.results(names, os.cpu_count())
    again = sorted(bad(results) - known)
    if again:
        for name in again:
            tell('failed', name, results[name])
        say(f'Once more, one by one: {", ".join(again)}')
        results.update(runner.results(again, 1))
    failed = bad(results)
    skipped = sum(result == 'SKIP' for result, _ in results.values())
    if arguments.record:
        arguments.known.write_text(HEAD + ''.join(
            f'{name}\n' for name in sorted(failed)))
        for name in sorted(failed):
            tell('fails', name, results[name])
        say(f'{len(names)} tests, {len(failed)} failed, {skipped} skipped: '
            f'{arguments.known} is written')
        return 0
    for name in sorted(known & failed):
        tell('fails without vhost-dp, too', name, results[name])
    for name in sorted(known & set(names) - failed):
        print(f'passed, although {arguments.known.name} has it: {name}')
    new = sorted(failed - known)
    for name in new:
        tell('fails, and does not without vhost-dp', name, results[name])
    print(f'{len(names) - len(failed) - skipped} passed, {len(new)} failed, '
          f'{skipped} skipped, {len(failed & known)} known to fail')
    return 1 if new else 0


def main():
    parser = argparse.ArgumentParser(description="Run QEMU's own tests.")
    parser.add_argument('--build-dir', required=True)
    parser.add_argument('--known', type=Path, default=KNOWN, metavar='FILE')
    parser.add_argument('--record', action='store_true')
    parser.add_argument('--only', default='*', metavar='PATTERN')
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
