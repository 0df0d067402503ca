#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure vhost-dp against its peers.

usage: bench.py --build-dir DIR [--quick] [--only TEXT] [--list] ...

Every case has a subject of ours and one or more peers, which run in turns,
round by round.  Results are medians; see README.rst for what they mean.
They are written to DIR/bench: results.json, results.md, and plots.
"""

import argparse
import os
import platform
import re
import statistics
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from harness import cases, plots, profile, report, runners, sandbox  # noqa


class Machine:
    """What the figures were taken on, and how quiet it was."""

    def __init__(self, tools):
        self.tools = tools
        self.start = time.monotonic()
        self.load = os.getloadavg()[0]
        self.ticks = self._ticks()

    @staticmethod
    def _ticks():
        """(all, idle, stolen) of all CPUs since boot."""
        with open('/proc/stat', encoding='ascii') as stat:
            fields = [int(word) for word in stat.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4], fields[7]

    def describe(self):
        """What does not change during the run; lines."""
        with open('/proc/cpuinfo', encoding='ascii') as info:
            model = re.search(r'^model name\s*: (.*)', info.read(),
                              re.MULTILINE)
        dpdk = self.tools.dpdk_version()
        return [
            f'Machine: {os.cpu_count()} CPUs, '
            f'{model[1] if model else platform.machine()}',
            f'Kernel: {platform.release()}',
            f'QEMU: {self.tools.qemu_versions()}',
            f'DPDK: {dpdk}, no huge pages' if dpdk
            else 'DPDK: dpdk-testpmd is not installed',
        ]

    def noise(self, entries):
        """How much to trust the figures."""
        total, idle, stolen = (now - then for now, then in
                               zip(self._ticks(), self.ticks))
        spreads = [e['spread'] for e in entries if 'million' in e['unit']]
        text = (f'Noise: load average {self.load:.1f} before the run; '
                f'CPUs {1 - idle / max(total, 1):.0%} busy and '
                f'{stolen / max(total, 1):.1%} stolen during it')
        if spreads:
            text += (f'; spread of the rates {statistics.median(spreads):.0%} '
                     f'in the median, {max(spreads):.0%} at most')
        if self.load > 1:
            text += ('. OTHER WORK WAS RUNNING when it started: '
                     'the figures are no more than a hint')
        return text


class Bench:
    """One run of the whole table."""

    def __init__(self, tools, quick, only):
        self.quick = quick
        self.tools = tools
        self.machine = Machine(tools)
        self.rounds = 3 if quick else 5
        self.limit = 165 if quick else 1140         # seconds
        self.problems = []
        self.failures = 0
        self.rings = self._rings()
        table = cases.Table(tools, quick)
        if not table.has_vhost_user():
            self.problems.append('vhost-user was left out: it takes '
                                 'dpdk-testpmd (Debian package dpdk-dev) and '
                                 'two CPUs')
        self.cases = [case for case in table.make(self.rings)
                      if not only or only in case.name]
        self.runs = [(case, {subject: [] for subject in case.subjects})
                     for case in self.cases]

    def say(self, text):
        elapsed = time.monotonic() - self.machine.start
        print(f'[{elapsed:5.0f} s] {text}', flush=True)

    def _rings(self):
        """The ring formats that our side offers."""
        if 'null' not in self.tools.drivers:
            return ['split']
        try:
            runners.loadgen(self.tools, ['--ring', 'packed', '--packets',
                                         '1000', '--warmup', '0.01'],
                            runners.vhost_dp('null'))
        except runners.RunError as error:
            self.problems.append(f'Packed rings were left out: {error}')
            return ['split']
        return ['split', 'packed']

    def late(self, share=1.0):
        return time.monotonic() - self.machine.start > self.limit * share

    def check(self):
        """Is what arrives what was sent?"""
        for name, run in cases.correctness(self.tools, self.rings):
            try:
                run()
                self.say(f'correct: {name}')
            except runners.RunError as error:
                self.failures += 1
                self.problems.append(f'WRONG: {name}: {error}')
                self.say(f'WRONG: {name}: {error}')

    def one(self, case, runs, subject, number):
        """One run of one subject."""
        figure = case.figures[0]
        try:
            result = case.subjects[subject]()
        except runners.RunError as error:
            text = f'{case.name}, {subject}: {error}'
            self.problems.append(text)
            self.say(text)
            if subject == 'ours':
                self.failures += 1
            # it will not be better the next time
            case.subjects = {name: run for name, run in case.subjects.items()
                             if name != subject}
            return
        runs[subject].append(result)
        self.say(f'{case.name} {number}: {subject} '
                 f'{report.number(figure.get(result))} {figure.unit}')

    def measure(self):
        """All rounds; those that there is no time for are left out."""
        for i, (case, runs) in enumerate(self.runs):
            for number in range(1, (case.repeat or self.rounds) + 1):
                # the rest of the table gets its share of the time
                if number > 1 and self.late((i + 2) / (len(self.runs) + 1)):
                    self.problems.append(f'{case.name}: stopped after '
                                         f'{number - 1} rounds, for lack of '
                                         'time')
                    break
                # the order changes, too: A B, B A
                order = list(case.subjects)
                for subject in order if number % 2 else order[::-1]:
                    self.one(case, runs, subject, number)

    def write(self, directory, profile_text):
        """The files; returns the entries."""
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.glob('*.png'):
            old.unlink()
        entries = [entry for case, runs in self.runs
                   for entry in report.rows(case, runs)]
        report.write_json(directory / 'results.json', entries)
        paths, trouble = plots.make(directory, entries, self.runs)
        self.problems += [f'plot: {text}' for text in trouble]
        noise = self.machine.noise(entries)
        text = ['# vhost-dp bench', '']
        text += [f'- {line}' for line in self.machine.describe() + [noise]]
        text += ['', '## Ratios', '', report.table(entries)]
        busy = report.dpdk_table(self.runs)
        if busy:
            text += ['## DPDK, with and without its idle polls', '', busy]
        text += ['## Wall-clock rates', '', report.extra_table(self.runs)]
        text += ['## Where the time of the data path goes', '', profile_text]
        if self.problems:
            text += ['## Left out, or wrong', '']
            text += [f'- {problem}' for problem in self.problems]
        text += [''] + [f'![{path.stem}]({path.name})' for path in paths]
        (directory / 'results.md').write_text('\n'.join(text) + '\n',
                                              encoding='utf-8')
        print()
        print(report.table(entries))
        print(noise)
        for problem in self.problems:
            print(problem)
        print(f'Results: {directory}/results.md, results.json, '
              f'{len(paths)} plots')
        return entries


def arguments():
    parser = argparse.ArgumentParser(
        description='Measure vhost-dp against its peers.')
    parser.add_argument('--build-dir', required=True)
    parser.add_argument('--quick', action='store_true',
                        help='fewer cases and rounds: under three minutes')
    parser.add_argument('--only', metavar='TEXT',
                        help='only cases whose name contains TEXT')
    parser.add_argument('--qemu', metavar='PATH',
                        help="our QEMU, if it is not the build's")
    parser.add_argument('--stock-qemu', metavar='PATH',
                        help='the QEMU of the peer "stock", if another')
    parser.add_argument('--list', action='store_true',
                        help='show the cases, and end')
    return parser.parse_args()


def inside(args):
    """In the sandbox."""
    tools = runners.Tools(os.path.realpath(args.build_dir), args.qemu,
                          args.stock_qemu)
    bench = Bench(tools, args.quick, args.only)
    if args.list:
        for case in bench.cases:
            print(case.name, *case.subjects)
        return 0
    if not bench.cases:
        print(f'no case has {args.only!r} in its name; see --list',
              file=sys.stderr)
        return 2
    for line in bench.machine.describe():
        print(line, flush=True)
    bench.check()
    bench.measure()
    text = 'Not measured when QUICK.\n'
    if not args.quick and not args.only:
        text = profile.report(tools, bench.say)
    entries = bench.write(Path(args.build_dir) / 'bench', text)
    return 1 if bench.failures or not entries else 0


def main():
    args = arguments()
    try:
        if sandbox.directory():
            return inside(args)
        return sandbox.run_inside(sys.argv)
    except (runners.RunError, sandbox.SandboxError) as error:
        print(f'bench: error: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
