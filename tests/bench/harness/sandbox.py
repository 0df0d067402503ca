# SPDX-License-Identifier: GPL-2.0-or-later
"""A place for the benchmark that leaves nothing behind.

The benchmark runs in namespaces for processes, interfaces and mounts: when it
ends, however it ends, the kernel kills every process that it started, and
removes every interface, and the file system that it has for temporary files
(on SCRATCH, hiding what is there).
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

INSIDE = 'VHOST_DP_BENCH_INSIDE'
PROGRAMS = {'unshare': 'util-linux', 'ip': 'iproute2'}  # and their packages
SCRATCH = Path('/dev/shm')
PR_SET_PDEATHSIG = 1


class SandboxError(Exception):
    """There can be no sandbox here."""


def die_with_parent():
    """In a child: be killed when the parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def directory():
    """The directory for temporary files, or None outside of the sandbox."""
    return SCRATCH if INSIDE in os.environ else None


def _command():
    command = ['unshare', '--net', '--pid', '--fork', '--mount-proc',
               '--kill-child=SIGKILL']
    if os.geteuid() != 0:
        # needs no privileges where user namespaces are allowed
        command += ['--user', '--map-root-user']
    return command + ['sh', '-ec', f'mount -t tmpfs tmpfs {SCRATCH}\n'
                      'ip link set lo up\n'
                      'exec "$@"', 'sh']


def _check():
    for program, package in PROGRAMS.items():
        if not shutil.which(program):
            raise SandboxError(f'{program} is not installed (Debian package '
                               f'{package})')
    result = subprocess.run(_command() + ['true'], capture_output=True,
                            text=True, check=False)
    if result.returncode:
        raise SandboxError('there can be no namespaces here: '
                           + result.stderr.strip())


def run_inside(argv):
    """Run this program again inside; return its exit status."""
    _check()

    def interrupted(number, _frame):
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE='1')
    env[INSIDE] = '1'
    # A process group of its own: the terminal's Ctrl-C comes to us alone
    child = subprocess.Popen(  # pylint: disable=consider-using-with
        _command() + [sys.executable, '-B'] + argv, env=env,
        preexec_fn=die_with_parent, process_group=0)
    try:
        return child.wait()
    except KeyboardInterrupt:
        print('\ninterrupted', file=sys.stderr)
        return 130
    finally:
        child.kill()
        child.wait()
