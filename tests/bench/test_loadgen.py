#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The load generator itself: what it refuses, what it notices, what it leaves.

usage: test_loadgen.py BUILD_DIR

Uses vhost-dp-null, which needs no interface and no privileges.  Prints TAP.
"""

import json
import os
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

ROOT = Path(os.path.realpath(__file__)).parents[2]
sys.path.insert(0, str(ROOT / 'tests/integration'))

import tap                                                  # noqa: E402

BUILD = Path(sys.argv[1] if len(sys.argv) > 1 else 'build').resolve()
LOADGEN = BUILD / 'vhost-dp/tests/bench/vhost-dp-loadgen'
QEMU = str(BUILD / 'qemu-system-x86_64')


def null(options='', netdev=''):
    """The command line of a QEMU with a vhost-dp-null netdev."""
    return ['--', QEMU, '-object', f'vhost-dp-null,id=null0{options}',
            '-netdev', f'vhost-dp,id=net0,driver=null0{netdev}']


def loadgen(*words):
    return subprocess.run([str(LOADGEN), *words], check=False, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60)


def children(pid):
    """The processes that @pid started."""
    found = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            words = path.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(words[1]) == pid:
            found.append(int(path.parent.name))
    return found


def wait_until(what, seconds=20):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError('this took too long')
        time.sleep(0.02)


class Refused(unittest.TestCase):
    """Bad input: an error that names option and value, and a failure."""

    def check(self, words, *texts):
        result = loadgen(*words)
        self.assertNotEqual(result.returncode, 0)
        for text in texts:
            self.assertIn(text, result.stderr)

    def test_options(self):
        for option, value, text in (
                ('--mode', 'foo', 'latency-tx'), ('--size', '10', '60'),
                ('--size', '70000', '65549'), ('--ring', 'triple', 'packed'),
                ('--pairs', '0', '1 to'), ('--ring-size', '100', 'power'),
                ('--seconds', 'x', 'number')):
            with self.subTest(option=option, value=value):
                self.check([option, value, *null()], f'{option} {value}', text)

    def test_user_has_one_queue_pair(self):
        self.check(['--pairs', '2', '--user', *null()], '--user is for')

    def test_unknown_option(self):
        self.check(['--bogus', *null()], '--bogus')

    def test_no_qemu(self):
        self.check([], 'QEMU')

    def test_qemu_is_missing(self):
        self.check(['--', '/nonexistent/qemu'], '/nonexistent/qemu')

    def test_qemu_does_not_start(self):
        self.check(['--', QEMU, '-netdev', 'nosuch,id=net0'], 'nosuch')

    def test_device_lacks_queue_pairs(self):
        self.check(['--pairs', '2', *null()], 'queues=2')


class Runs(unittest.TestCase):
    """What it sends is counted by QEMU; what is wrong is a failure."""

    def check_tx(self, ring):
        result = loadgen('--mode', 'tx', '--ring', ring, '--packets', '50000',
                         '--seconds', '20', *null())
        self.assertEqual(result.returncode, 0, result.stderr)
        answer = json.loads(result.stdout)
        self.assertGreaterEqual(answer['packets'], 50000)
        queue = answer['vhost-dp'][0]['queues'][0]
        self.assertEqual(queue['ring-format'], ring)
        self.assertGreaterEqual(queue['tx']['packets'], answer['packets'])

    def test_tx_split(self):
        self.check_tx('split')

    def test_tx_packed(self):
        self.check_tx('packed')

    def test_rx(self):
        for ring in ('split', 'packed'):
            with self.subTest(ring=ring):
                result = loadgen('--mode', 'rx', '--ring', ring, '--expect',
                                 'null', '--size', '200', '--seconds', '0.5',
                                 '--check-all',
                                 *null(',flat-out=on,size=200'))
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertGreater(json.loads(result.stdout)['packets'], 1000)

    def test_wrong_frames_are_noticed(self):
        result = loadgen('--mode', 'both', '--expect', 'echo', '--seconds',
                         '1', *null(',rate=10000'))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn('wrong', result.stderr)


class Leaves(unittest.TestCase):
    """Nothing stays when it is ended in the middle of a run."""

    def check_signal(self, number):
        # pylint: disable-next=consider-using-with
        process = subprocess.Popen([str(LOADGEN), '--seconds', '60', *null()],
                                   stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: children(process.pid))
            qemu = children(process.pid)[0]
            time.sleep(0.5)
            process.send_signal(number)
            process.wait(timeout=20)
        finally:
            process.kill()
            process.wait()
        self.assertNotEqual(process.returncode, 0)
        wait_until(lambda: not Path(f'/proc/{qemu}').exists())

    def test_interrupted(self):
        self.check_signal(signal.SIGINT)

    def test_terminated(self):
        self.check_signal(signal.SIGTERM)

    def test_killed(self):
        self.check_signal(signal.SIGKILL)


if __name__ == '__main__':
    tap.main()
