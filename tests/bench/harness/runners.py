# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that are measured: QEMU under the load generator, bare loops, DPDK.

Each run gives the generator's result, a dict; see print_result() in loadgen.c.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from . import sandbox

GENERATOR_CPU = 0
DATA_CPU = 1

INTERFACE = '@interface@'
PEER = '@peer@'


class RunError(Exception):
    """A run failed; the text says why."""


class Tools:
    """What there is on this machine."""

    def __init__(self, build, qemu=None, stock_qemu=None):
        self.build = Path(build)
        self.qemu = Path(qemu or self.build / 'qemu-system-x86_64')
        self.stock_qemu = Path(stock_qemu or self.qemu)
        where = self.build / 'vhost-dp' / 'tests' / 'bench'
        self.loadgen = where / 'vhost-dp-loadgen'
        self.bare = where / 'vhost-dp-bare'
        for tool in (self.qemu, self.stock_qemu, self.loadgen):
            if not tool.exists():
                raise RunError(f'{tool} is not there: run make')
        self.two_cores = (os.cpu_count() or 1) >= 2
        self.testpmd = shutil.which('dpdk-testpmd')
        self.drivers = self._drivers()

    def _drivers(self):
        text = subprocess.run([self.qemu, '-object', 'help'], check=False,
                              capture_output=True, text=True).stdout
        return set(re.findall(r'^\s*vhost-dp-(\S+)', text, re.MULTILINE))

    def qemu_versions(self):
        """Which QEMU is ours, and which is stock."""
        def version(path):
            text = subprocess.run([path, '--version'], check=True,
                                  capture_output=True, text=True).stdout
            return text.splitlines()[0].replace('QEMU emulator version ', '')

        ours = version(self.qemu)
        if self.stock_qemu == self.qemu:
            return f'{ours}; "stock" is the same binary'
        return f'{ours}; "stock" is {version(self.stock_qemu)}'

    def dpdk_version(self):
        """The version of dpdk-testpmd, or None."""
        if not self.testpmd:
            return None
        text = subprocess.run(['dpkg-query', '-W', '-f=${Version}',
                               'dpdk-dev'], check=False,
                              capture_output=True, text=True).stdout
        return text or 'of unknown version'

    def pin(self, data_cpu=DATA_CPU):
        """The options that keep generator and data path apart."""
        if not self.two_cores:
            return []
        return ['--cpu', str(GENERATOR_CPU), '--data-cpu', str(data_cpu)]


def tsc_mhz():
    """The frequency that dpdk-testpmd counts cycles in, or None."""
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='ascii')
    except OSError:
        return None
    # on x86, Linux derives BogoMIPS from it
    match = re.search(r'^bogomips\s*: ([\d.]+)', text, re.MULTILINE)
    return float(match[1]) / 2 if match else None


def run_json(command, timeout=120):
    """Run @command, and parse its output; RunError when it fails."""
    try:
        result = subprocess.run([str(word) for word in command],
                                stdin=subprocess.DEVNULL, capture_output=True,
                                text=True, timeout=timeout, check=False,
                                preexec_fn=sandbox.die_with_parent)
    except subprocess.TimeoutExpired:
        raise RunError(f'no end after {timeout} s') from None
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        raise RunError('\n'.join(lines[-4:]) or
                       f'exit status {result.returncode}')
    return json.loads(result.stdout)


_numbers = itertools.count()


def loadgen(tools, options, qemu_options, qemu=None):
    """Run the generator; options are words, those of QEMU too.

    INTERFACE in them becomes a name that is new each time: with io_uring, an
    interface may outlive its process by some milliseconds.
    """
    words = [*tools.pin(), *options, '--', qemu or tools.qemu,
             *qemu_options]
    name = f'bench{next(_numbers)}'
    return run_json([tools.loadgen] + [str(word).replace(INTERFACE, name)
                                       for word in words])


# What comes behind -- : a netdev net0

def vhost_dp(driver, properties='', netdev=''):
    """-netdev vhost-dp with an object of a driver."""
    return ['-object', f'vhost-dp-{driver},id=bench0{properties}',
            '-netdev', f'vhost-dp,id=net0,driver=bench0{netdev}']


def vhost_dp_tap(netdev=''):
    """-netdev vhost-dp on a TAP interface."""
    return vhost_dp('tap', f',ifname={INTERFACE}', netdev)


def vhost_dp_tap_polling():
    """The same with busy polling, which outlasts the pauses of latency."""
    return vhost_dp('tap', f',ifname={INTERFACE}', ',busy-poll-us=1000')


def stock_tap():
    """-netdev tap, through QEMU's main loop."""
    return ['-netdev', f'tap,id=net0,ifname={INTERFACE},script=no,'
            'downscript=no,vhost=off']


def stock_user():
    """-netdev user."""
    return ['-netdev', 'user,id=net0']


def bare(tools, method, options):
    """A bare loop on an interface."""
    pin = (['--cpu', str(DATA_CPU), '--source-cpu', str(GENERATOR_CPU)]
           if tools.two_cores else [])
    return run_json([tools.bare, '--method', method, *pin, *options])


class Veth:
    """Two interfaces, each the other's end; a context manager."""

    def __init__(self):
        number = next(_numbers)
        self.name = f'veth{number}'     # the driver's
        self.peer = f'peer{number}'     # the host's

    @staticmethod
    def _ip(*words):
        done = subprocess.run(['ip', *words], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise RunError(f'ip {" ".join(words)}: {done.stderr.strip()}')

    def __enter__(self):
        self._ip('link', 'add', self.name, 'type', 'veth', 'peer', 'name',
                 self.peer)
        for name in (self.name, self.peer):
            # no frames of the host's own
            self._ip('link', 'set', name, 'addrgenmode', 'none')
            self._ip('link', 'set', name, 'up')
        return self

    def __exit__(self, *_):
        self._ip('link', 'del', self.name)


def on_veth(run, words):
    """run(words) with INTERFACE and PEER in them those of a new pair."""
    with Veth() as veth:
        return run([str(word).replace(INTERFACE, veth.name)
                    .replace(PEER, veth.peer) for word in words])


class Testpmd:
    """dpdk-testpmd with one port, a vhost-user back end; a context manager.

    Its worker is on CPU @cpu.
    """

    name = 'testpmd'

    def __init__(self, tools, mode, size, cpu=DATA_CPU):
        if not tools.testpmd:
            raise RunError('dpdk-testpmd is not installed (Debian package '
                           'dpdk-dev)')
        self.socket = sandbox.directory() / 'testpmd.sock'
        self.log = sandbox.directory() / f'{self.name}.log'
        other = GENERATOR_CPU + DATA_CPU - cpu
        # --no-huge: huge pages would have to be taken from the system
        self.command = [
            tools.testpmd, '--no-pci', '--no-huge', '--no-shconf', '-m', '512',
            '-l', f'{GENERATOR_CPU},{DATA_CPU}', '--main-lcore', str(other),
            '--vdev', self.device(),
            '--', f'--forward-mode={mode}', '--nb-cores=1', '--auto-start',
            '--total-num-mbufs=16384', '--record-core-cycles',
            f'--txpkts={size}']
        self.process = None
        self.cpu_seconds = 0            # of the worker, in all

    def device(self):
        """The port."""
        return f'net_vhost0,iface={self.socket},queues=1'

    def prepare(self):
        """Before it starts."""
        self.socket.unlink(missing_ok=True)

    def is_ready(self):
        """Can the other side come?"""
        return self.socket.exists()

    def __enter__(self):
        self.prepare()
        with open(self.log, 'wb') as log:
            # It ends when its input does
            self.process = subprocess.Popen(  # pylint: disable=R1732
                self.command, stdin=subprocess.PIPE, stdout=log, stderr=log,
                preexec_fn=sandbox.die_with_parent)
        end = time.monotonic() + 20
        while not self.is_ready():
            if self.process.poll() is not None:
                raise RunError('dpdk-testpmd: ' + self.last_line())
            if time.monotonic() > end:
                self.__exit__()
                raise RunError('dpdk-testpmd does not start')
            time.sleep(0.02)
        # it is bound before it listens
        time.sleep(0.2)
        return self

    def _look_at_worker(self):
        """What CPU time the thread that polls has used."""
        for task in Path(f'/proc/{self.process.pid}/task').iterdir():
            name = (task / 'comm').read_text(encoding='ascii')
            if name.startswith(('rte-worker', 'lcore-worker')):
                ran = (task / 'schedstat').read_text(encoding='ascii')
                self.cpu_seconds = int(ran.split()[0]) / 1e9

    def last_line(self):
        """What it said last."""
        lines = self.log.read_text(errors='replace').strip().splitlines()
        return lines[-1] if lines else 'said nothing'

    def __exit__(self, *_):
        if self.process.poll() is None:
            self._look_at_worker()
            self.process.stdin.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.prepare()

    def _cycles(self):
        """(TSC cycles per packet, packets), of bursts that were not empty."""
        text = self.log.read_text(errors='replace')
        match = re.search(r'CPU cycles/packet=([\d.]+) .*packets=(\d+)', text)
        return (float(match[1]), int(match[2])) if match else (None, 0)

    def busy_cycles(self):
        """TSC cycles per packet in such bursts, or None.

        They go on while another thread has the CPU.
        """
        return self._cycles()[0]

    def packets(self):
        """How many there were."""
        return self._cycles()[1]


class VirtioUser(Testpmd):
    """dpdk-testpmd whose port is DPDK's driver of another one's rings."""

    name = 'virtio-user'

    def __init__(self, tools, mode, size, ring, back):
        self.back = back
        self.ring = ring
        super().__init__(tools, mode, size)

    def device(self):
        # As many entries as vhost-dp-vhost-user has
        return (f'net_virtio_user0,path={self.back.socket},queues=1,'
                f'queue_size=256,packed_vq={int(self.ring == "packed")}')

    def prepare(self):
        pass

    def is_ready(self):
        """Has the other one got the rings?"""
        return 'ready for processing' in self.back.log.read_text(
            errors='replace')


def testpmd(tools, mode, size, options):
    """The generator against testpmd as its vhost-user back end."""
    with Testpmd(tools, mode, size) as pmd:
        netdev = ['-chardev', f'socket,id=bench0,path={pmd.socket}',
                  '-netdev', 'vhost-user,id=net0,chardev=bench0']
        worker = ['--thread', f'{pmd.process.pid}:rte-worker']
        try:
            result = loadgen(tools, options + worker, netdev)
        except RunError as error:
            if 'no such thread' not in str(error):
                raise
            # as older versions call it
            worker = ['--thread', f'{pmd.process.pid}:lcore-worker']
            result = loadgen(tools, options + worker, netdev)
    result['busy_cycles'] = pmd.busy_cycles()
    result['tsc_mhz'] = tsc_mhz()
    return result


def _vhost_user(tools, mode, size, options, data_cpu):
    worker_cpu = GENERATOR_CPU + DATA_CPU - data_cpu
    with Testpmd(tools, mode, size, worker_cpu) as pmd:
        result = run_json([tools.loadgen, *tools.pin(data_cpu), '--nap',
                           *options, '--', tools.qemu,
                           *vhost_dp('vhost-user', f',path={pmd.socket}')])
    return result, pmd.busy_cycles()


def vhost_user(tools, mode, size, options, whole):
    """The generator, vhost-dp-vhost-user, and testpmd behind it.

    Three threads are busy, and there may be two CPUs: our data path has one for
    itself.  For the @whole of it there is a second run, in which testpmd's
    worker has: its cycles say nothing while it shares a CPU.
    """
    result, _ = _vhost_user(tools, mode, size, options, DATA_CPU)
    if whole:
        _, cycles = _vhost_user(tools, mode, size, options, GENERATOR_CPU)
        result['others_busy_cycles'] = cycles
        result['tsc_mhz'] = tsc_mhz()
    return result


def virtio_user(tools, modes, size, ring, seconds):
    """DPDK on both sides: @modes of the driver and of the back end."""
    with Testpmd(tools, modes[1], size, GENERATOR_CPU) as back:
        with VirtioUser(tools, modes[0], size, ring, back) as front:
            start = time.monotonic()
            time.sleep(seconds)
            seconds = time.monotonic() - start
    packets = front.packets()
    if not packets:
        raise RunError('no packets: ' + front.last_line())
    return {
        'rx_packets': packets,
        'packets_per_second': packets / seconds,
        'gbit_per_second': packets * size * 8e-9 / seconds,
        'cpu_seconds': front.cpu_seconds,
        'packets_per_cpu_second': packets / front.cpu_seconds,
        'busy_cycles': front.busy_cycles(),
        'others_busy_cycles': None,
        'tsc_mhz': tsc_mhz(),
    }
