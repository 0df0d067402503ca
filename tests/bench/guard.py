#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guard of the packet path without timings.

usage: guard.py --build-dir DIR

Three things that a careless change breaks, and that a count shows on any
machine, however busy: instructions that the ring code takes per frame
(callgrind), allocations per frame (a preloaded counter), and system calls per
frame (strace) of the IOThread of vhost-dp-null.  The bounds leave room for
other compilers; a test that fails names the count.
"""

import argparse
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

# Instructions per frame in the ring code, when it goes in bursts of 64
BOUNDS = {'tx': 220, 'rx': 220}
TURNS = 50

# The ring and what is inlined into it; guest memory is a fake
RING_FILES = re.compile(r'vhost-dp/vring|vhost-dp-vring\.h|vhost-dp-memory\.h')

FRAMES = 1000000
ALLOCATIONS = 0.001
SYSTEM_CALLS = 0.1


class Skip(Exception):
    """A test cannot run here; the text says why."""


def need(program, package):
    if not shutil.which(program):
        raise Skip(f'{program} is not installed (Debian package {package})')


def run(command, **kwargs):
    """Run @command; its output, or an exception that shows it."""
    result = subprocess.run([str(word) for word in command], check=False,
                            stdin=subprocess.DEVNULL, capture_output=True,
                            text=True, timeout=100, **kwargs)
    if result.returncode:
        raise AssertionError(f'{command[0]}: exit status '
                             f'{result.returncode}: {result.stderr[-600:]}')
    return result


def ring_instructions(path):
    """The instructions of RING_FILES in a file of callgrind's."""
    names = {}
    total = 0
    inside = False
    skip = False

    def file_is_ring(text):
        # "(12) name" defines a number, "(12)" repeats it
        number, _, name = text.partition(' ')
        if name:
            names[number] = name
        return RING_FILES.search(names.get(number, '')) is not None

    for line in path.read_text(encoding='utf-8').splitlines():
        kind, _, value = line.partition('=')
        if kind in ('fl', 'fi', 'fe'):
            inside = file_is_ring(value)
        elif kind in ('cfi', 'cfl'):
            file_is_ring(value)
        elif kind == 'calls':
            skip = True                 # the cost of a callee follows
        elif re.match(r'[+*-]?\d*\s+\d+$', line):
            if inside and not skip:
                total += int(line.split()[1])
            skip = False
    return total


def is_sanitized(program):
    with open(program, 'rb') as binary:
        return b'__asan_init' in binary.read()


class Guard:
    """The tests."""

    def __init__(self, build, scratch):
        self.qemu = build / 'qemu-system-x86_64'
        where = build / 'vhost-dp' / 'tests' / 'bench'
        self.loadgen = where / 'vhost-dp-loadgen'
        self.hot_path = where / 'vhost-dp-hot-path'
        self.counter = where / 'libvhost-dp-count-malloc.so'
        self.scratch = scratch

    def instructions(self, direction):
        """The ring code takes few instructions per frame"""
        need('valgrind', 'valgrind')
        if is_sanitized(self.hot_path):
            raise Skip('valgrind cannot run what has sanitizers in it')
        out = self.scratch / f'callgrind.{direction}'
        run(['valgrind', '--tool=callgrind', f'--callgrind-out-file={out}',
             '--compress-strings=yes', '--compress-pos=no',
             '--toggle-collect=hot_path_turns', self.hot_path, direction,
             TURNS])
        count = ring_instructions(out) / (TURNS * 64)
        assert 10 < count, f'{count:.1f} instructions per frame: not credible'
        assert count <= BOUNDS[direction], \
            f'{count:.1f} instructions per frame, at most ' \
            f'{BOUNDS[direction]} are allowed'
        return f'{count:.1f} instructions per frame'

    def _generate(self, direction, extra=(), env=None):
        """FRAMES frames through vhost-dp-null; the generator's result."""
        options = ['--mode', direction, '--packets', FRAMES,
                   '--warmup', '0.01']
        null = 'vhost-dp-null,id=null0'
        if direction == 'rx':
            options += ['--expect', 'null']
            null += ',flat-out=on'
        return run([self.loadgen, *options, *extra, '--', self.qemu,
                    '-object', null,
                    '-netdev', 'vhost-dp,id=net0,driver=null0'], env=env)

    def allocations(self, direction):
        """No allocation per frame"""
        if is_sanitized(self.qemu):
            raise Skip('sanitizers have an allocator of their own')
        counts = self.scratch / f'malloc.{direction}'
        env = dict(os.environ, LD_PRELOAD=str(self.counter),
                   COUNT_MALLOC=str(counts))
        result = self._generate(direction, env=env)
        match = re.search(r'"thread-id": (\d+)', result.stdout)
        assert match, 'the result names no thread'
        slots = dict(struct.iter_unpack('QQ', counts.read_bytes()))
        # a thread that never allocates has no slot
        count = slots.get(int(match[1]), 0)
        assert slots, 'nothing was counted'
        assert count <= ALLOCATIONS * FRAMES, \
            f'{count} allocations for {FRAMES} frames'
        return f'{count} allocations for {FRAMES} frames'

    def system_calls(self, direction):
        """Few system calls per frame"""
        need('strace', 'strace')
        log = self.scratch / f'strace.{direction}'
        probe = subprocess.run(['strace', '-o', '/dev/null', 'true'],
                               capture_output=True, text=True, check=False)
        if probe.returncode:
            raise Skip('strace does not work here: ' + probe.stderr.strip())
        self._generate(direction, [
            '--during', f'exec strace -qq -o {log} -p $LOADGEN_TIDS'])
        if not log.exists():
            raise Skip('strace could not attach')
        count = log.read_bytes().count(b'\n')
        assert count, 'strace saw no system call'
        assert count <= SYSTEM_CALLS * FRAMES, \
            f'{count} system calls for {FRAMES} frames'
        return f'{count} system calls for {FRAMES} frames'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--build-dir', required=True, type=Path)
    build = parser.parse_args().build_dir.resolve()
    tests = [(name, direction)
             for name in ('instructions', 'allocations', 'system_calls')
             for direction in ('tx', 'rx')]
    failed = 0
    print(f'1..{len(tests)}', flush=True)
    with tempfile.TemporaryDirectory(prefix='vhost-dp-guard-') as scratch:
        guard = Guard(build, Path(scratch))
        for number, (name, direction) in enumerate(tests, 1):
            test = getattr(guard, name)
            title = f'{number} - {direction}: {test.__doc__}'
            try:
                print(f'# {test(direction)}')
                print(f'ok {title}', flush=True)
            except Skip as reason:
                print(f'ok {title} # SKIP {reason}', flush=True)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failed += 1
                for line in str(error).splitlines():
                    print(f'# {line}')
                print(f'not ok {title}', flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
