#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the tests of a finished build and count their cases.

usage: check.py --build-dir DIR [--timeout-multiplier N] [--only PATTERN]
                [unit] [models] [tsan] [differential] [fuzz] [qtest] [guest]
                [nested] [integration] [versions] [next]

Each suite is one run of `meson test`; while it goes on there is a line per
finished test.  A TAP test counts by its cases, any other test as one.  What
failed or was skipped is listed at the end with the reason, and the last line is
"N passed, N failed, N skipped".  The exit status is 1 when anything failed,
when a suite has no tests, and when something was to run but did not.

The logs are DIR/meson-logs/vhost-dp-SUITE.txt and .json.
"""

import argparse
import fnmatch
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from prep.common import Alive, PrepareError, say, verbose   # noqa: E402


class Suite:
    """Which of meson's tests belong to it, and how many run at a time."""

    def __init__(self, meson_suite, patterns, processes=None):
        self.meson_suite = meson_suite
        self.patterns = patterns
        self.processes = processes

    def select(self, tests, only=()):
        """The names of its tests among meson's list @tests, in order."""
        return [test['name'] for test in tests
                if self.meson_suite in
                (suite.rpartition(':')[2] for suite in test['suite'])
                and any(fnmatch.fnmatchcase(test['name'], pattern)
                        for pattern in self.patterns)
                and (not only or any(fnmatch.fnmatchcase(test['name'], pattern)
                                     for pattern in only))]


# QEMU's own tests of the code next to ours run with ours.
SUITES = {
    'unit': Suite('unit', ['test-vhost-dp-*']),
    # It runs as many checks at a time as there are processors
    'models': Suite('models', ['*'], processes=1),
    'tsan': Suite('tsan', ['*'], processes=1),
    'differential': Suite('differential', ['*']),
    'fuzz': Suite('fuzz', ['*']),
    'qtest': Suite('qtest', [
        'qtest-x86_64/vhost-dp/*',
        'qtest-aarch64/vhost-dp/*',     # make check-aarch64
        'qtest-x86_64/qos-test',
        'qtest-x86_64/netdev-socket',
        'qtest-x86_64/test-netfilter',
        'qtest-x86_64/test-filter-mirror',
        'qtest-x86_64/test-filter-redirector',
        'qtest-x86_64/virtio-net-failover',
    ], processes=2),
    'guest': Suite('guest', ['*'], processes=2),
    'nested': Suite('nested', ['*'], processes=1),
    'integration': Suite('integration', ['*']),
    # It has two QEMUs, and another build directory
    'versions': Suite('versions', ['*'], processes=1),
    # It compiles with all processors
    'next': Suite('next', ['*'], processes=1),
}

FAILED = ('FAIL', 'ERROR', 'TIMEOUT', 'INTERRUPT', 'UNEXPECTEDPASS')
TAP_LINE = re.compile(
    r'(?P<bad>not )?ok\b\s*(?P<number>\d+)?\s*(?:- )?\s*'
    r'(?P<name>[^#]*?)\s*(?:#\s*(?P<directive>SKIP|TODO)\S*\s*(?P<why>.*))?$',
    re.IGNORECASE)


class Count:
    """Cases that passed, failed and were skipped."""

    def __init__(self):
        self.passed = 0
        self.failed = []                # (test, case, reason)
        self.skipped = []

    def __str__(self):
        return (f'{self.passed} passed, {len(self.failed)} failed, '
                f'{len(self.skipped)} skipped')

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def tap_reason(lines):
    """Why a case failed: @lines are what follows its line."""
    said = [line[1:].strip() for line in
            itertools.takewhile(lambda line: line.startswith('#'), lines)]
    errors = [text for text in said
              if re.match(r'[\w.]*(Error|Exception|Failure)\b', text)]
    return (errors + said + [''])[0]


def parse_tap(test, text):
    """Count the cases in the TAP output @text; return (count, skip reason).

    The reason is that of a plan that skips the whole test.
    """
    count = Count()
    whole = None
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        plan = re.match(r'1\.\.0\s*(?:#\s*(?:SKIP\S*)?\s*(.*))?$', line,
                        re.IGNORECASE)
        if plan:
            whole = plan[1] or ''
            continue
        match = TAP_LINE.match(line)
        if not match:
            continue
        case = match['name'] or match['number'] or '?'
        directive = (match['directive'] or '').upper()
        if directive == 'SKIP' and not match['bad']:
            count.skipped.append((test, case, match['why']))
        elif directive == 'TODO':
            # expected to fail: neither good nor bad news
            count.skipped.append((test, case, f'to do: {match["why"]}'))
        elif match['bad']:
            count.failed.append((test, case, tap_reason(lines[number:])))
        else:
            count.passed += 1
    return count, whole


def how_it_ended(record):
    code = record.get('returncode')
    if record['result'] == 'TIMEOUT':
        return 'timed out'
    if isinstance(code, int) and code < 0:
        try:
            return f'killed by {signal.Signals(-code).name}'
        except ValueError:
            return f'killed by signal {-code}'
    return f'{record["result"].lower()}, exit status {code}'


def why_it_broke_off(record):
    """How it ended, behind which case, and its last words."""
    why = how_it_ended(record)
    stdout = record.get('stdout') or ''
    good = re.findall(r'^ok\b.*?(/\S+)', stdout, re.MULTILINE)
    words = re.search(r'^Bail out!\s*(?:FATAL-ERROR:\s*)?(\S.*)$', stdout,
                      re.MULTILINE)
    return (why + (f' after {good[-1]}' if good else '')
            + (f': {words[1].strip()}' if words else ''))


def last_line(text):
    lines = [line for line in (text or '').splitlines() if line.strip()]
    return lines[-1].strip() if lines else ''


def count_test(record, is_tap):
    """The cases of one test, from meson's record of it."""
    name = record['name']
    result = record['result']
    stdout = record.get('stdout') or ''
    count, whole = parse_tap(name, stdout) if is_tap else (Count(), None)
    cases = count.passed + len(count.failed) + len(count.skipped)
    if result in FAILED:
        if not count.failed:
            # it broke off, or never said a word
            count.failed.append((name, '', why_it_broke_off(record)))
    elif result == 'SKIP':
        if cases == 0:
            why = whole or last_line(stdout) or last_line(record.get('stderr'))
            count.skipped.append((name, '', why))
    elif cases == 0:
        count.passed += 1
    return count


def plain_name(pretty):
    """meson's "project:suite / name" without what comes before the name."""
    return pretty.rpartition(' / ')[2]


class Runner:
    """Runs suites in one build directory."""

    def __init__(self, build, patience=1, only=()):
        self.patience = patience
        self.only = only
        self.build = Path(os.path.realpath(build))
        self.meson = self.build / 'pyvenv' / 'bin' / 'meson'
        listing = self.build / 'meson-info' / 'intro-tests.json'
        if not self.meson.exists() or not listing.exists():
            raise PrepareError(f'{build} holds no finished build: run make')
        self.tests = json.loads(listing.read_text(encoding='utf-8'))
        self.tap = {test['name'] for test in self.tests
                    if test['protocol'] == 'tap'}

    def run(self, name):
        """Run the suite @name; return its count."""
        suite = SUITES[name]
        count = Count()
        names = suite.select(self.tests, self.only)
        if not names:
            count.failed.append((name, '', 'the build defines no such test'))
            say(f'Testing {name}: there are no tests')
            return count
        say(f'Testing {name} ({len(names)} '
            f'test{"s" if len(names) != 1 else ""})')
        base = f'vhost-dp-{name}'
        log = self.build / 'meson-logs' / f'{base}.json'
        log.unlink(missing_ok=True)
        command = [str(self.meson), 'test', '-C', str(self.build),
                   '--no-rebuild', '--logbase', base,
                   '--timeout-multiplier', str(self.patience)]
        if suite.processes:
            command += ['--num-processes', str(suite.processes)]
        if verbose():
            command.append('--verbose')
        said = self._meson(command + names)

        ran = set()
        for record in self._records(log):
            ran.add(plain_name(record['name']))
            record['name'] = plain_name(record['name'])
            its = count_test(record, record['name'] in self.tap)
            if its.failed:
                self._show(record)
            count.add(its)
        for missing in [test for test in names if test not in ran]:
            count.failed.append((missing, '', 'did not run'))
        if not ran:
            print(said, flush=True)
        print(f'    {name}: {count}', flush=True)
        return count

    def _meson(self, command):
        """Run meson, showing its line per finished test; return the rest."""
        env = dict(os.environ, PYTHONDONTWRITEBYTECODE='1')
        rest = []
        with Alive(), subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors='replace',
                env=env) as process:
            for line in process.stdout:
                if verbose() or re.match(r'\s*\d+/\d+ ', line):
                    print('\r    ' + line.rstrip(), flush=True)
                else:
                    rest.append(line)
        return ''.join(rest[-25:])

    @staticmethod
    def _records(log):
        try:
            lines = log.read_text(encoding='utf-8').splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    @staticmethod
    def _show(record):
        """What a failed test wrote of its failures, and the end of it."""
        for stream in ('stdout', 'stderr'):
            lines = (record.get(stream) or '').splitlines()
            bad = [n for n, line in enumerate(lines)
                   if line.startswith('not ok')]
            lines = [line for n, line in enumerate(lines)
                     if n >= len(lines) - 30
                     or any(start <= n < start + 60 for start in bad)]
            if lines:
                print(f'    ---- {record["name"]}, of its {stream}')
                for line in lines:
                    print(f'    {line}')
        print('    ----', flush=True)


def show_list(title, cases):
    if not cases:
        return
    print(f'{title}:')
    for test, case, reason in cases:
        print('    ' + test + (f': {case}' if case else '')
              + (f' ({reason})' if reason else ''))


def main():
    parser = argparse.ArgumentParser(description='Run tests, count cases.')
    parser.add_argument('--build-dir', required=True)
    parser.add_argument('--timeout-multiplier', type=int, default=1,
                        metavar='N', help='wait longer, for slow builds')
    parser.add_argument('--only', action='append', default=[],
                        metavar='PATTERN',
                        help="leave out meson's other tests of the suites")
    parser.add_argument('suites', nargs='*', metavar='suite',
                        help=', '.join(SUITES))
    arguments = parser.parse_args()
    for name in arguments.suites:
        if name not in SUITES:
            parser.error(f'{name!r} is no suite; there are '
                         + ', '.join(SUITES))
    total = Count()
    try:
        runner = Runner(arguments.build_dir, arguments.timeout_multiplier,
                        arguments.only)
        for name in arguments.suites or list(SUITES):
            total.add(runner.run(name))
    except PrepareError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    show_list('Skipped', total.skipped)
    show_list('Failed', total.failed)
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == '__main__':
    sys.exit(main())
