# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the cycles of the data path's thread go, from perf's samples.

perf samples by the CPU clock where there are no hardware counters, as in most
virtual machines; that is enough for shares.
"""

import re
import shutil
import subprocess

from . import runners, sandbox
from .runners import INTERFACE

# The first that matches a user-space symbol names its part
PARTS = [
    ('notification', r'event_notifier|eventfd|^aio_|^fdmon|qemu_bh|^ppoll|'
                     r'__poll|aio_bh|qemu_poll|timerlist|port_kick|'
                     r'io_uring_submit_and_wait_timeout'),
    ('copy', r'^_*mem(cpy|move|set)|iov_(to|from)_buf|rx_fill_chain|'
             r'rx_copy'),
    ('ring', r'^split_|^packed_|vring|virtqueue|vhost_dp_memory|address_space|'
             r'invalidate_and_set_dirty|physical_memory'),
    ('driver', r'^(tap|null|afp|xdp|slirp)_|io_uring|__writev|writev|readv|'
               r'^__libc_(read|write)'),
]
KERNEL_NOTIFICATION = re.compile(
    r'eventfd|schedule|ep_|epoll|poll|futex|wake|dequeue_|enqueue_|hrtimer|'
    r'switch|pick_')
OTHER = 'engine'
NAMES = ('ring', 'copy', OTHER, 'driver', 'kernel', 'notification')


def why_not():
    """Why there can be no profile, or None."""
    if not shutil.which('perf'):
        return 'perf is not installed (Debian package linux-perf)'
    probe = subprocess.run(
        ['perf', 'record', '-q', '-e', 'cpu-clock', '-o',
         sandbox.directory() / 'probe.data', 'true'],
        capture_output=True, text=True, check=False)
    if probe.returncode:
        lines = probe.stderr.strip().splitlines()
        return 'perf cannot record here: ' + (lines[0] if lines else '')
    return None


def classify(in_kernel, symbol):
    """The part of the data path that @symbol belongs to."""
    if in_kernel:
        if KERNEL_NOTIFICATION.search(symbol):
            return 'notification'
        return 'kernel'
    for part, pattern in PARTS:
        if re.search(pattern, symbol):
            return part
    return OTHER


def split(tools, options, qemu):
    """Run the generator under perf.

    Returns ({part: share}, [(share, symbol)], packets per CPU-second).
    """
    data = sandbox.directory() / 'perf.data'
    record = (f'exec perf record -q -e cpu-clock -F 3989 -t $LOADGEN_TIDS '
              f'-o {data}')
    result = runners.loadgen(tools, options + ['--during', record], qemu)
    text = subprocess.run(
        ['perf', 'report', '-i', data, '--stdio', '-F', 'overhead,sym',
         '--percent-limit', '0'], capture_output=True, text=True,
        check=True).stdout
    shares = dict.fromkeys(NAMES, 0.0)
    symbols = []
    for line in text.splitlines():
        match = re.match(r'\s*([\d.]+)%\s+\[([.kH])\]\s+(\S+)', line)
        if match:
            share = float(match[1]) / 100
            shares[classify(match[2] == 'k', match[3])] += share
            symbols.append((share, match[3]))
    return shares, symbols, result['packets_per_cpu_second']


def report(tools, say):
    """Markdown: a table of shares, and ns per packet."""
    reason = why_not()
    if reason:
        return f'Not available: {reason}.\n'
    base = ['--seconds', '1', '--warmup', '0.2']
    tap = base + ['--tap', INTERFACE]
    runs = []
    if 'null' in tools.drivers:
        runs += [('null/split/tx/64', base + ['--mode', 'tx', '--size', '64'],
                  runners.vhost_dp('null')),
                 ('null/split/rx/64', base + ['--mode', 'rx', '--size', '64',
                                              '--expect', 'null'],
                  runners.vhost_dp('null', ',flat-out=on,size=64'))]
    if 'tap' in tools.drivers:
        runs += [('tap/split/tx/60', tap + ['--mode', 'tx'],
                  runners.vhost_dp_tap()),
                 ('tap/split/rx/60', tap + ['--mode', 'rx', '--source',
                                            INTERFACE, '--window', '400'],
                  runners.vhost_dp_tap()),
                 ('tap/split/tx/60, stock', tap + ['--mode', 'tx'],
                  runners.stock_tap())]
    lines = ['| case | ns per packet | ' + ' | '.join(NAMES) + ' |',
             '|---|---:|' + '---:|' * len(NAMES)]
    top = []
    for name, options, qemu in runs:
        say(f'profile of {name}')
        try:
            shares, symbols, rate = split(tools, options, qemu)
        except (runners.RunError, subprocess.CalledProcessError) as error:
            lines.append(f'| {name} | failed: {error} |')
            continue
        ns = 1e9 / rate
        lines.append(f'| {name} | {ns:.0f} | ' + ' | '.join(
            f'{shares[part]:.0%} ({shares[part] * ns:.0f} ns)'
            for part in NAMES) + ' |')
        top.append(f'- {name}: ' + ', '.join(
            f'{symbol} {share:.0%}' for share, symbol in symbols[:8]))
    return '\n'.join(lines) + '\n\nThe largest symbols:\n' \
        + '\n'.join(top) + '\n'
