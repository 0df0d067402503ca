#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Build and run the fuzz targets of code that reads what a guest wrote.

usage: run.py --build-dir DIR [--time SECONDS] [--format NAME] [--tap]

A target is compiled by clang, with libFuzzer, AddressSanitizer and
UndefinedBehaviorSanitizer, from the sources of its unit test, with the options
that the unit test has in compile_commands.json.  First it replays the inputs
in corpus/TARGET, then it makes up its own for the given time.

What it finds to be interesting stays in DIR/vhost-dp/fuzz and is where the
next run goes on; with --tap each run begins anew.  An input that breaks
something is kept there, too: mend what it shows, and put it into corpus/TARGET.

"registers" is another thing: the qtest vhost-dp/registers-test for the given
time, with seeds that are new each time, and also under KVM where that works.
"""

import argparse
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent

SANITIZE = ['-Wno-unused-command-line-argument',
            '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined',
            # QOM and GLib call functions by other types than they have
            '-fno-sanitize=function', '-fno-omit-frame-pointer', '-g', '-O1']

# Options of gcc's that clang does not know, or that hide errors
UNWANTED = re.compile(r'-M|-W|-fzero-call-used-regs|-ftrivial-auto-var-init'
                      r'|-O\d|-fdiagnostics|-g$')


class FuzzError(Exception):
    """Something could not be done; the text is for people."""


class Target:
    """A fuzz target, and the unit test whose sources it shares."""

    def __init__(self, name, test, sources, generator, wraps=(),
                 max_len=4096):
        self.name = name
        self.test = test
        self.sources = sources          # what they are called ends like this
        self.wraps = wraps
        self.generator = generator
        self.max_len = max_len


TARGETS = [
    Target('vring', 'test-vhost-dp-vring',
           ['vhost-dp/lib/mock.c', 'vhost-dp/iotlb.c',
            'vhost-dp/memory.c', 'vhost-dp/vring.c',
            'vhost-dp/vring-packed.c', 'vhost-dp/vring-packed-iommu.c',
            'vhost-dp/vring-split.c', 'vhost-dp/vring-split-iommu.c'],
           wraps=['vhost_dp_memory_search'],
           generator=['vhost-dp/lib/mock.c',
                      'vhost-dp/lib/mock-packed.c',
                      'vhost-dp/memory.c']),
    Target('offload', 'test-vhost-dp-offload',
           ['offload/classify.c', 'offload/headers.c', 'offload/csum.c',
            'offload/segment.c'],
           generator=['vhost-dp/lib/frames.c'], max_len=1024),
]

# What --format takes: the target, and what it is to look at
FORMATS = {'split': 'vring', 'packed': 'vring', 'vring': 'vring',
           'offload': 'offload', 'registers': 'registers'}

REGISTERS = 'tests/qtest/vhost-dp/registers-test'


class Builder:
    """Compiles and links below BUILD/vhost-dp/fuzz."""

    def __init__(self, build):
        self.build = build
        self.out = build / 'vhost-dp' / 'fuzz'
        self.out.mkdir(parents=True, exist_ok=True)
        self.clang = shutil.which('clang')
        if not self.clang:
            raise FuzzError('there is no clang: scripts/need.sh run installs '
                            'it')
        listing = build / 'compile_commands.json'
        self.commands = json.loads(listing.read_text(encoding='utf-8'))

    def _of_test(self, test):
        """Map source (absolute) to gcc's command, for a unit test."""
        found = {}
        for entry in self.commands:
            if f'tests/unit/{test}.p/' in entry['output']:
                source = os.path.join(entry['directory'], entry['file'])
                found[os.path.normpath(source)] = entry['command']
        if not found:
            raise FuzzError(f'compile_commands.json knows no {test}')
        return found

    @staticmethod
    def _options(command):
        """What of gcc's command is for clang as well."""
        words = shlex.split(command)
        first = next(i for i, word in enumerate(words)
                     if word.startswith('-'))
        words = iter(words[first:])
        options = []
        for word in words:
            if word in ('-o', '-c', '-MF', '-MQ'):
                next(words)
            elif not UNWANTED.match(word):
                options.append(word)
        return options

    def _libraries(self, test):
        """What a unit test is linked with, but for its own objects."""
        listing = subprocess.run(['ninja', '-t', 'commands', '-s',
                                  f'tests/unit/{test}'], cwd=self.build,
                                 text=True, check=True,
                                 stdout=subprocess.PIPE).stdout
        return [word for word in shlex.split(listing)
                if re.search(r'\.(o|a|so)$|^-l|^-Wl,--(start|end)-group$',
                             word) and f'/{test}.p/' not in word]

    def _run(self, command):
        done = subprocess.run(command, cwd=self.build, text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise FuzzError(f'{shlex.join(map(str, command))}\n{done.stdout}')

    def _compile(self, job):
        source, options, target = job
        self._run([self.clang, *options, '-I', HERE, '-c', source,
                   '-o', target])
        return target

    def program(self, target, name, own, sources, extra):
        """Build the program @name; return its path."""
        commands = self._of_test(target.test)
        options = self._options(next(iter(commands.values())))
        chosen = [HERE / own] + sorted(
            source for source in commands
            if any(source.endswith('/' + end) for end in sources))
        if len(chosen) != 1 + len(sources):
            raise FuzzError(f'sources of {name}: {chosen}')
        unit = next(source for source in commands
                    if source.endswith(f'/{target.test}.c'))
        options += ['-I', os.path.dirname(unit), *SANITIZE]
        objects = self.out / f'{name}.p'
        objects.mkdir(exist_ok=True)
        jobs = [(source, options + extra,
                 objects / (os.path.basename(source) + '.o'))
                for source in chosen]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = list(pool.map(self._compile, jobs))
        program = self.out / name
        self._run([self.clang, *SANITIZE, *extra, *made,
                   *self._libraries(target.test), '-o', program])
        return program

    def fuzzer(self, target):
        return self.program(target, f'fuzz-{target.name}',
                            f'fuzz-{target.name}.c', target.sources,
                            ['-fsanitize=fuzzer',
                             *(f'-Wl,--wrap={wrap}' for wrap in target.wraps)])

    def generate(self, target, directory):
        """Make the first inputs of @target in @directory."""
        directory.mkdir(parents=True, exist_ok=True)
        program = self.program(target, f'generate-{target.name}',
                               f'generate-{target.name}.c', target.generator,
                               [])
        self._run([program, directory])


def environment(look_at):
    env = dict(os.environ)
    env['ASAN_OPTIONS'] = 'detect_leaks=1:allocator_may_return_null=1'
    env['UBSAN_OPTIONS'] = 'print_stacktrace=1'
    env.pop('VHOST_DP_FUZZ_FORMAT', None)
    if look_at in ('split', 'packed'):
        env['VHOST_DP_FUZZ_FORMAT'] = look_at
    return env


def fuzz(program, arguments, look_at, log):
    """Run libFuzzer; return (good, its last words)."""
    with open(log, 'w', encoding='utf-8') as output:
        done = subprocess.run([program, *arguments], env=environment(look_at),
                              cwd=log.parent, stdout=output,
                              stderr=subprocess.STDOUT, check=False)
    lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    if done.returncode == 0:
        return True, lines[-1:]
    # The reason comes before the statistics
    return False, [line for line in lines if re.search(
        r'ERROR|SUMMARY|runtime error|Test unit written|^\S+\.c:\d+:'
        r'|^ +#\d+ ', line)][:25]


class Report:
    """Prints for TAP or for people; remembers whether all was well."""

    def __init__(self, tap, cases):
        self.tap = tap
        self.number = 0
        self.bad = False
        if tap:
            print(f'1..{cases}')

    def case(self, good, name, lines):
        self.number += 1
        self.bad |= not good
        if self.tap:
            print('ok' if good else 'not ok', self.number, '-', name)
        else:
            print(f'{name}: {"good" if good else "FAILED"}')
        for line in lines:
            print(f'# {line}' if self.tap else f'    {line}')
        sys.stdout.flush()


def run_target(builder, target, arguments, report):
    program = builder.fuzzer(target)
    kept = HERE / 'corpus' / target.name
    work = builder.out / f'corpus-{target.name}'
    if arguments.tap:
        shutil.rmtree(work, ignore_errors=True)
    builder.generate(target, work / 'first')
    (work / 'found').mkdir(exist_ok=True)

    inputs = sorted(path for path in kept.iterdir() if path.is_file())
    good, lines = fuzz(program, inputs, 'all',
                       builder.out / f'replay-{target.name}.log')
    report.case(good, f'{target.name}: replay {len(inputs)} kept inputs',
                [] if good else lines)

    seconds = arguments.time
    log = builder.out / f'fuzz-{target.name}.log'
    good, lines = fuzz(program, [
        f'-max_total_time={seconds}', f'-max_len={target.max_len}',
        '-timeout=20', '-rss_limit_mb=2048', '-print_final_stats=1',
        *(['-seed=1'] if arguments.tap else []),
        f'-artifact_prefix={builder.out}/{target.name}-',
        work / 'found', work / 'first', kept], arguments.format, log)
    if good:
        text = log.read_text(encoding='utf-8', errors='replace')
        runs = re.search(r'number_of_executed_units:\s*(\d+)', text)
        edges = re.findall(r'\bcov: (\d+)', text)
        lines = [f'{runs[1]} inputs, {edges[-1]} edges'
                 if runs and edges else 'no statistics']
        # More than the first inputs; how many more is the machine's matter
        good = bool(runs) and int(runs[1]) > 300
    report.case(good, f'{target.name}: fuzz for {seconds} s', lines)


def fuzz_registers(build, seconds, report):
    """Run the qtest that writes to registers: all of its cases in @seconds."""
    seed = int(os.environ.get('VHOST_DP_FUZZ_SEED',
                              random.SystemRandom().randrange(1 << 31)))
    program = build / REGISTERS
    env = dict(os.environ, VHOST_DP_FUZZ_SEED=str(seed),
               QTEST_QEMU_BINARY=str(build / 'qemu-system-x86_64'))
    listing = subprocess.run([program, '-l'], env=env, text=True, check=True,
                             stdout=subprocess.PIPE).stdout
    cases = len(re.findall(r'^/', listing, re.MULTILINE))
    env['VHOST_DP_FUZZ_SECONDS'] = str(max(1, seconds // cases))
    log = build / 'vhost-dp' / 'fuzz' / 'registers.log'
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'w', encoding='utf-8') as output:
        done = subprocess.run([program, '--tap'], env=env, stdout=output,
                              stderr=subprocess.STDOUT, check=False)
    lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    rounds = sum(line.startswith('# seed ') for line in lines)
    good = done.returncode == 0
    report.case(good, f'registers: fuzz for {seconds} s', [
        f'{rounds} rounds, from seed {seed}'] if good else lines[-60:])


def main():
    parser = argparse.ArgumentParser(description='Build and run fuzz targets.')
    parser.add_argument('--build-dir', required=True, type=Path)
    parser.add_argument('--time', type=int, default=60, metavar='SECONDS',
                        help='for each target (default: %(default)s)')
    parser.add_argument('--format', choices=sorted(FORMATS),
                        help='only this')
    parser.add_argument('--tap', action='store_true',
                        help='as a test: output is TAP, nothing is kept')
    arguments = parser.parse_args()
    targets = [target for target in TARGETS
               if FORMATS.get(arguments.format, target.name) == target.name]
    report = Report(arguments.tap, 2 * len(targets))
    build = arguments.build_dir.resolve()
    try:
        if targets:
            builder = Builder(build)
        for target in targets:
            run_target(builder, target, arguments, report)
        # With --tap it is one of the device tests
        if arguments.format in (None, 'registers') and not arguments.tap:
            fuzz_registers(build, arguments.time, report)
    except (FuzzError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 1 if report.bad else 0


if __name__ == '__main__':
    sys.exit(main())
