# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: the table of cases.

A case compares one subject of ours with its peers, which are run in turns with
it.  Its name is driver/ring/direction/size.
"""

from . import runners
from .runners import INTERFACE, PEER

MPPS = 'million packets per CPU-second'
GSO_SEGMENT = 1448
GSO_SIZE = 64000


class Case:
    """A name, a unit, a subject, its peers; how to get figures from runs."""

    def __init__(self, name, subjects, figures, quick=False, repeat=None,
                 notes=None):
        self.name = name
        self.notes = notes or {}        # why a peer has no figure
        self.subjects = subjects        # 'ours' and peers: functions
        self.figures = figures          # list of Figure
        self.quick = quick
        self.repeat = repeat            # rounds, if not the usual number


class Figure:
    """A number in the result of a run; None if it has no such number."""

    def __init__(self, suffix, unit, get, higher_is_better=True):
        self.suffix = suffix            # replaces the case's direction
        self.unit = unit
        self.get = get
        self.higher_is_better = higher_is_better


def rate(result):
    """Packets per CPU-second of the data path, in millions.

    A thread that polls uses all of its core, whatever it is given to do.  So
    that it does not look slow when it has to wait for the generator, its rate
    is the better one of two: that of all its time, and that of the polls that
    found something, which testpmd counts.
    """
    rates = [result['packets_per_cpu_second'] / 1e6]
    if result.get('busy_cycles') and result.get('tsc_mhz'):
        rates.append(result['tsc_mhz'] / result['busy_cycles'])
    return max(rates)


RATE = [Figure(None, MPPS, rate)]


def echo_rate(result):
    """The same for frames that go out and come back, each counted once."""
    return rate(result | {'packets_per_cpu_second': result['rx_packets'] /
                          result['cpu_seconds']})


def with_others(get):
    """Of all threads that work on packets, not of QEMU's alone.

    QEMU's other threads sleep meanwhile.  A peer that has one such thread gets
    the same figure as before; None: not known.
    """
    def rate_of_all(result):
        own = get(result)
        if 'others_busy_cycles' not in result:
            return own
        if not result['others_busy_cycles'] or not result.get('tsc_mhz'):
            return None
        others = result['tsc_mhz'] / result['others_busy_cycles']
        return 1 / (1 / own + 1 / others)
    return rate_of_all


# Why there is no figure
TX_FRONT = ("testpmd's txonly counts the time in which the ring is full, and "
            'the frames that it then drops')
ALL_FRONT = ("its back end makes the frames (flowgen), which ours does not "
             '(macswap)')


def latency(suffix):
    return [
        Figure(f'{suffix}', 'us, median',
               lambda r: r['latency_us']['median'], False),
        Figure(f'{suffix}-p99', 'us, 99 %',
               lambda r: r['latency_us']['p99'], False),
        Figure(f'{suffix}-p999', 'us, 99.9 %',
               lambda r: r['latency_us']['p999'], False),
    ]


IDLE = [
    Figure('idle-wakeups', 'wake-ups per second, whole QEMU',
           lambda r: r['qemu_wakeups'] / r['seconds'], False),
    Figure('idle-cpu', 'ms of CPU per second, whole QEMU',
           lambda r: r['qemu_cpu_seconds'] * 1e3 / r['seconds'], False),
]


class Table:
    """Makes the cases for this machine."""

    def __init__(self, tools, quick):
        self.tools = tools
        self.quick = quick
        self.seconds = ['--seconds', '0.4' if quick else '1',
                        '--warmup', '0.1' if quick else '0.2']
        self.cases = []

    def has_vhost_user(self):
        """Is there somebody to connect to?"""
        return ('vhost-user' in self.tools.drivers and self.tools.testpmd and
                self.tools.two_cores)

    def _loadgen(self, options, netdev):
        return lambda: runners.loadgen(self.tools, self.seconds + options,
                                       netdev)

    def _stock(self, options, netdev):
        return lambda: runners.loadgen(self.tools, self.seconds + options,
                                       netdev, self.tools.stock_qemu)

    def _testpmd(self, mode, size, options):
        return lambda: runners.testpmd(self.tools, mode, size,
                                       self.seconds + options)

    def _bare(self, method, options):
        return lambda: runners.bare(self.tools, method,
                                    self.seconds + options)

    def _add(self, *args, **kwargs):
        case = Case(*args, **kwargs)
        if case.quick or not self.quick:
            self.cases.append(case)

    @staticmethod
    def _shape(size):
        """Options of generator and bare loop for frames of @size."""
        if size <= 1514:
            return ['--size', str(size)]
        return ['--size', str(size), '--gso', str(GSO_SEGMENT)]

    def null(self, ring, size, quick):
        """The ring engine alone, against DPDK's."""
        shape = self._shape(size) + ['--ring', ring]
        tx = ['--mode', 'tx'] + shape
        rx = ['--mode', 'rx'] + shape
        make = runners.vhost_dp('null', f',flat-out=on,size={size}')
        self._add(f'null/{ring}/tx/{size}', {
            'ours': self._loadgen(tx, runners.vhost_dp('null')),
            'vhost-user-dpdk': self._testpmd('rxonly', size, tx),
        }, RATE, quick)
        self._add(f'null/{ring}/rx/{size}', {
            'ours': self._loadgen(rx + ['--expect', 'null'], make),
            'vhost-user-dpdk': self._testpmd('txonly', size,
                                             rx + ['--expect', 'any']),
        }, RATE, quick)

    def vhost_user(self, ring, size, quick):
        """A back end in another process: our private rings and a copy."""
        shape = ['--size', str(size), '--ring', ring]
        base = self.seconds + shape
        seconds = float(self.seconds[1])

        def subjects(mode, words, driver=None, whole=False):
            made = {
                'ours': lambda: runners.vhost_user(self.tools, mode, size,
                                                   base + words, whole),
                'vhost-user-dpdk': self._testpmd(mode, size, shape + words),
            }
            if driver:
                made['dpdk'] = lambda: runners.virtio_user(
                    self.tools, driver, size, ring, seconds)
            return made

        # a run takes some seconds, as DPDK takes its time to start
        few = 2 if self.quick else 3
        figures = list(RATE)
        if not self.quick:
            figures.append(Figure('tx-all', MPPS, with_others(rate)))
        self._add(f'vhost-user/{ring}/tx/{size}',
                  subjects('rxonly', ['--mode', 'tx'], whole=not self.quick),
                  figures, quick, few, {'dpdk': TX_FRONT})
        self._add(f'vhost-user/{ring}/rx/{size}',
                  subjects('txonly', ['--mode', 'rx', '--expect', 'any'],
                           ('rxonly', 'txonly')), RATE, quick, few)
        if ring == 'packed' or size > 64:
            return
        self._add(f'vhost-user/{ring}/echo/{size}',
                  subjects('macswap', ['--mode', 'both', '--expect', 'echo'],
                           ('io', 'flowgen'), True),
                  [Figure('echo', MPPS, echo_rate),
                   Figure('echo-all', MPPS, with_others(echo_rate))],
                  False, few, {'dpdk': ALL_FRONT})

    def tap(self, ring, size, quick):
        """A TAP interface, against QEMU's main loop and a bare loop."""
        gso = size > 1514
        shape = self._shape(size)
        drv = shape + ['--tap', INTERFACE, '--ring', ring]
        tx = ['--mode', 'tx'] + drv
        rx = ['--mode', 'rx', '--source', INTERFACE] + drv
        # The same memory is in use on both sides
        buffers = '64' if gso else '256'
        fill = ['--fill', '256' if gso else '8000']
        rx += fill
        if gso:
            tx += ['--segments', '3', '--buffers', buffers]
            rx += ['--ring-size', '1024']
        loop = shape + ['--buffers', buffers]
        self._add(f'tap/{ring}/tx/{size}', {
            'ours': self._loadgen(tx, runners.vhost_dp_tap()),
            'stock': self._stock(tx, runners.stock_tap()),
            'bare': self._bare('tx-writev' if gso else 'tx-uring', loop),
        }, RATE, quick)
        self._add(f'tap/{ring}/rx/{size}', {
            'ours': self._loadgen(rx, runners.vhost_dp_tap()),
            'stock': self._stock(rx, runners.stock_tap()),
            'bare': self._bare('rx-readv' if gso else 'rx-uring',
                               loop + fill),
        }, RATE, quick)

    def _veth_loadgen(self, options, netdev):
        return lambda: runners.on_veth(
            lambda words: runners.loadgen(self.tools, words[:-len(netdev)],
                                          words[-len(netdev):]),
            self.seconds + options + netdev)

    def _veth_bare(self, method, options):
        return lambda: runners.on_veth(
            lambda words: runners.bare(self.tools, method, words),
            self.seconds + options + ['--ifname', INTERFACE])

    def socket(self, driver, ring, size, quick):
        """A driver with a socket on a veth pair, against a bare socket."""
        gso = size > 1514
        shape = self._shape(size)
        netdev = runners.vhost_dp(driver, f',ifname={INTERFACE}')
        drv = shape + ['--ring', ring]
        loop = shape + ['--buffers', '64' if gso else '256']
        # As many as the smallest of the drivers' rings can hold
        source = ['--source', PEER, '--fill', '128']
        tx = ['--mode', 'tx'] + drv
        if gso:
            tx += ['--segments', '3', '--buffers', '64']
        self._add(f'{driver}/{ring}/tx/{size}', {
            'ours': self._veth_loadgen(tx, netdev),
            'bare': self._veth_bare('tx-sendmmsg', loop),
        }, RATE, quick)
        self._add(f'{driver}/{ring}/rx/{size}', {
            'ours': self._veth_loadgen(
                ['--mode', 'rx', '--ring-size', '1024'] + drv + source,
                netdev),
            'bare': self._veth_bare('rx-recvmmsg', loop + source),
        }, RATE, quick)

    def xdp(self, ring, size, quick):
        """An AF_XDP socket on a veth pair.  There is no bare loop of receiving:

        it costs next to nothing, as the sender's CPU does the kernel's work.
        So its peer is the driver that one would use otherwise.
        """
        netdev = runners.vhost_dp('af-xdp', f',ifname={INTERFACE}')
        other = runners.vhost_dp('af-packet', f',ifname={INTERFACE}')
        shape = ['--size', str(size)]
        rx = ['--mode', 'rx', '--ring-size', '1024', '--ring', ring,
              '--source', PEER, '--fill', '128'] + shape
        self._add(f'af-xdp/{ring}/tx/{size}', {
            'ours': self._veth_loadgen(
                ['--mode', 'tx', '--ring', ring] + shape, netdev),
            'bare': self._veth_bare('tx-xdp', shape + ['--buffers', '256']),
        }, RATE, quick)
        self._add(f'af-xdp/{ring}/rx/{size}', {
            'ours': self._veth_loadgen(rx, netdev),
            'af-packet': self._veth_loadgen(rx, other),
        }, RATE, quick)

    def slirp(self, ring, size):
        """Datagrams to the host, against -netdev user in the main loop."""
        words = ['--mode', 'tx', '--user', '--size', str(size), '--ring', ring]
        self._add(f'slirp/{ring}/tx/{size}', {
            'ours': self._loadgen(words, runners.vhost_dp('slirp')),
            'user': self._stock(words, runners.stock_user()),
        }, RATE)

    def tap_latency(self, ring):
        """One frame at a time, against QEMU's main loop."""
        samples = '500' if self.quick else '3000'
        base = ['--tap', INTERFACE, '--ring', ring, '--samples', samples]
        # The second is what --mode needs; 'tx' is from kick to wire
        for direction, options, quick in (
                ('tx', ['--sink', INTERFACE], True),
                ('rx', ['--source', INTERFACE], False),
                ('echo', ['--source', INTERFACE, '--sink', INTERFACE], False)):
            words = base + ['--mode', f'latency-{direction}'] + options
            self._add(f'tap/{ring}/latency-{direction}/60', {
                'ours': self._loadgen(words, runners.vhost_dp_tap()),
                'stock': self._stock(words, runners.stock_tap()),
            }, latency(f'latency-{direction}'), quick)
            self._add(f'tap/{ring}/latency-{direction}-polling/60', {
                'ours': self._loadgen(words, runners.vhost_dp_tap_polling()),
                'stock': self._stock(words, runners.stock_tap()),
            }, latency(f'latency-{direction}-polling'), False)

    def idle(self, ring):
        """What an idle device costs."""
        words = ['--mode', 'idle', '--tap', INTERFACE, '--ring', ring,
                 '--seconds', '1' if self.quick else '5', '--warmup', '0.5']
        self._add(f'tap/{ring}/idle/0', {
            'ours': lambda: runners.loadgen(self.tools, words,
                                            runners.vhost_dp_tap()),
            'stock': lambda: runners.loadgen(self.tools, words,
                                             runners.stock_tap(),
                                             self.tools.stock_qemu),
        }, IDLE, True, repeat=1 if self.quick else 3)

    def null_pairs(self, ring):
        """Two queue pairs on one IOThread against one.

        On IOThreads of their own they would be faster than the generator, and
        mostly sleep and wake up.
        """
        words = ['--mode', 'tx', '--size', '64', '--ring', ring]
        two = ['-object', 'iothread,id=io0',
               *runners.vhost_dp('null', '', ',queues=2,iothread=io0')]
        self._add(f'null/{ring}/tx-2-pairs/64', {
            'ours': self._loadgen(words + ['--pairs', '2'], two),
            'one-pair': self._loadgen(words, runners.vhost_dp('null')),
        }, RATE)

    def tap_pairs(self, ring):
        """Two queue pairs, each on an IOThread of its own, against one."""
        words = ['--mode', 'tx', '--tap', INTERFACE, *self._shape(60),
                 '--ring', ring]
        self._add(f'tap/{ring}/tx-2-pairs/60', {
            'ours': self._loadgen(words + ['--pairs', '2'],
                                  runners.vhost_dp_tap(',queues=2')),
            'one-pair': self._loadgen(words, runners.vhost_dp_tap()),
        }, RATE)

    def make(self, rings):
        """All cases that this build can run."""
        for ring in rings:
            if 'null' in self.tools.drivers:
                self.null(ring, 64, True)
                self.null(ring, 1500, False)
                self.null_pairs(ring)
            if 'tap' in self.tools.drivers:
                self.tap(ring, 60, True)
                self.tap(ring, 1500, ring == 'split')
                self.tap(ring, GSO_SIZE, ring == 'split')
                self.tap_pairs(ring)
            if 'af-packet' in self.tools.drivers:
                self.socket('af-packet', ring, 60, ring == 'split')
                self.socket('af-packet', ring, GSO_SIZE, False)
            if 'af-xdp' in self.tools.drivers:
                self.xdp(ring, 60, ring == 'split')
                self.xdp(ring, 1500, False)
            if 'slirp' in self.tools.drivers:
                self.slirp(ring, 60)
        if 'slirp' in self.tools.drivers:
            self.slirp('split', 1500)
        if self.has_vhost_user():
            for ring in rings:
                self.vhost_user(ring, 64, ring == 'split')
            self.vhost_user('split', 1500, False)
        if 'null' in self.tools.drivers:
            self.null('split', 256, False)
        if 'tap' in self.tools.drivers:
            self.tap('split', 512, False)
            self.tap_latency('split')
            self.idle('split')
        return self.cases


def correctness(tools, rings):
    """Runs whose every frame is checked; [(name, function)]."""
    checks = []

    def add(name, options, qemu):
        checks.append((name, lambda: runners.loadgen(
            tools, ['--seconds', '0.3', '--check-all'] + options, qemu)))

    for ring in rings:
        ours = runners.vhost_dp_tap()
        base = ['--ring', ring, '--tap', INTERFACE]
        gso = ['--size', str(GSO_SIZE), '--gso', str(GSO_SEGMENT)]
        if 'tap' not in tools.drivers:
            break
        add(f'tap/{ring}/tx/60', base + ['--mode', 'tx', '--sink', INTERFACE,
                                         '--rate', '20k'], ours)
        add(f'tap/{ring}/tx/{GSO_SIZE}',
            base + gso + ['--mode', 'tx', '--sink', INTERFACE, '--rate', '1k',
                          '--segments', '3'], ours)
        add(f'tap/{ring}/rx/60', base + ['--mode', 'rx', '--source',
                                         INTERFACE], ours)
        add(f'tap/{ring}/rx/{GSO_SIZE}',
            base + gso + ['--mode', 'rx', '--source', INTERFACE,
                          '--ring-size', '1024', '--window', '16'], ours)
        add(f'tap/{ring}/both/60', base + ['--mode', 'both', '--source',
                                           INTERFACE], ours)
    return checks
