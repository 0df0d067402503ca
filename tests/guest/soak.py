#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Soak vhost-dp: everything that stress.py does to a NIC, and more, for as long as you like.

In addition to stress.py's loops: the host's interface goes down, or is deleted and made again; the guest
changes offloads, the number of queue pairs and the size of its rings (which resets them one by one); the
machine is reset; the guest moves through a file into another QEMU. The NICs are on different drivers.

All the time both NICs move files both ways, whose SHA-256 has to be right, and a second monitor asks
query-vhost-dp. QEMU's heap must not grow, nor may threads or descriptors be left over; in the end, when
the guest is quiet, the threads of the data path have to sleep.

What is done comes from --seed, which is printed: the same seed does the same again.
"""

import argparse
import os
import random
import time

import stress
from harness import netns
from harness.backends import BACKENDS
from harness.case import no_faults, threads
from harness.guest import GuestError
from harness.httpd import MB
from harness.watch import Watcher, activity, heap

# Those whose interface on the host can go away and come back
_DRIVERS = ("tap", "af-packet", "af-xdp")

# What ethtool calls the guest's offloads
_OFFLOADS = ("tx", "tso", "rx-gro-hw", "gro", "gso", "sg")

# Loops between looks at what goes on all the time
_LOOK_EVERY = 20

# Growth of the heap that is no leak: fragments, caches
_HEAP_GROWTH = 24 * MB

_RAM = 512    # MB


class Soak(stress.Stress):
    """The guest, and what can be done to it."""

    # Guest RAM is not on the heap; nor is the code that TCG makes, which is limited all the same.
    GUEST = {"machine": "pc,memory-backend=ram", "memory": _RAM, "reboot": True, "watched": True}

    WEIGHTS = stress.Stress.WEIGHTS | {
        "host_down": 6, "host_again": 4, "offloads": 10, "pairs": 8, "rings": 6, "file": 2, "reset": 1,
    }

    def __init__(self, setup, options, server):
        super().__init__(setup, options, server)
        self.watcher = Watcher(self.guest.path("watch"))
        self.looks = 0
        self.heap_then = None
        self.sums = dict.fromkeys(("get", "put"), 0)

    def make_nic(self, number, setup):
        name = self.options.drivers[number % len(self.options.drivers)]
        backend = BACKENDS[name]
        netdev = self.netdev_options()
        if number == 0:
            netdev["queues"] = 2
        nic = backend.nic(number, **netdev)
        nic.backend = backend
        nic.device = {"addr": f"{0x10 + number:#x}", "mq": number == 0}
        return nic

    def more_arguments(self):
        return ["-object", f"memory-backend-memfd,id=ram,size={_RAM}M,share=on"]

    def close(self):
        self.watcher.stop()
        super().close()

    def boot(self):
        super().boot()
        self.watcher.start()

    # --- traffic ---

    def traffic(self):
        """Files both ways on both NICs, and pings from the guest."""
        want = self.server.sha256()
        for nic in self.nics:
            n, url = nic.number, f"http://{nic.host4}:{self.server.PORT}/data"
            self.guest.sh(f"wget -q -O /tmp/file{n} {url} && sha256sum /tmp/file{n} | grep -q {want}")
            self.guest.background(f"get{n}", f"""
                while :; do
                    if timeout 5 wget -q -O /tmp/get{n}.data {url}; then
                        case $(sha256sum /tmp/get{n}.data) in
                        {want}*) echo >> /tmp/get.good ;;
                        *) echo get{n} >> /tmp/bad ;;
                        esac
                    fi
                    sleep 0.1
                done""")
            self.guest.background(f"put{n}", f"""
                while :; do
                    sum=$(timeout 5 http-put /tmp/file{n} {nic.host4} {self.server.PORT} back)
                    case $sum in
                    {want}) echo >> /tmp/put.good ;;
                    ????????????????????????????????????????????????????????????????) echo put{n} >> /tmp/bad ;;
                    esac
                    sleep 0.1
                done""")
            self.guest.background(f"ping{n}",
                                  f"while :; do ping -q -i 0.01 -w 3 -s 500 {nic.host4} || sleep 0.1; done")

    def quiet(self):
        for nic in self.nics:
            for what in ("get", "put", "ping"):
                self.guest.stop(f"{what}{nic.number}")

    def look(self):
        """What goes on all the time has gone well."""
        self.looks += 1
        self.watcher.check()
        no_faults(self.guest)
        bad = self.guest.sh("cat /tmp/bad 2>/dev/null; true").strip()
        if bad:
            raise AssertionError(f"files were damaged: {bad}")

    def count_files(self):
        for what in self.sums:
            lines = self.guest.sh(f"wc -l < /tmp/{what}.good 2>/dev/null || echo 0; rm -f /tmp/{what}.good")
            self.sums[what] += int(lines.split()[0])

    # --- the loops ---

    def _ethtool(self, nic, *commands):
        self.guest.sh(f"dev=$(net-up {nic.mac} {nic.guest4}/24 {nic.guest6}/64 | head -n 1) && "
                      + " && ".join(f"ethtool {each}" for each in commands))

    def loop_offloads(self, nic):
        chosen = self.random.sample(_OFFLOADS, self.random.randint(1, len(_OFFLOADS)))
        self._ethtool(nic, "-K $dev " + " ".join(f"{name} off" for name in chosen))
        self.dwell()
        self._ethtool(nic, "-K $dev " + " ".join(f"{name} on" for name in _OFFLOADS))

    def loop_pairs(self, _):
        nic = self.nics[0]
        self._ethtool(nic, "-L $dev combined 1")
        self.dwell()
        self._ethtool(nic, "-L $dev combined 2")

    def loop_rings(self, nic):
        sizes = [self.random.choice((64, 128, 256)) for _ in range(2)]
        self._ethtool(nic, "-G $dev rx {} tx {}".format(*sizes))
        self.dwell()
        self._ethtool(nic, "-G $dev rx 256 tx 256")

    def loop_host_down(self, nic):
        name = nic.netdev["driver"]
        netns.ip("link", "set", "dev", name, "down")
        self.dwell()
        netns.ip("link", "set", "dev", name, "up")
        nic.backend.host_up(nic)

    def loop_host_again(self, nic):
        netns.ip("link", "del", "dev", nic.netdev["driver"])
        self.dwell()
        nic.backend.before_qemu(nic, nic.netdev.get("queues", 1))
        nic.backend.host_up(nic)

    def _up_again(self):
        """The guest has booted."""
        self.guest.wait_ready()
        for nic in self.nics:
            self.net_up(nic)
        self.traffic()

    def loop_reset(self, _):
        self.count_files()
        self.qmp.command("system_reset")
        self._up_again()

    def loop_file(self, _):
        """The guest goes on in another QEMU."""
        with self.watcher.paused():
            self.guest.move_through_file()
            self.qmp = self.guest.qmp
            self.qmp.timeout = self.options.patience
        self.heap_then = None    # another process

    # --- the whole ---

    def resources(self):
        """Without the names of QEMU's first threads, which are by chance: another process may differ."""
        names, files = super().resources()
        first = sum(n for name, n in names.items() if not name.startswith("IO dp-"))
        return {name: n for name, n in names.items() if name.startswith("IO dp-")} | {"other": first}, files

    def state(self):
        """For whoever looks into a failure."""
        parts = [netns.ip("-s", "link", "show"), self.qmp.hmp("info vhost-dp"), self.guest.said()]
        try:
            parts.append(self.guest.sh("ifconfig -a; grep virtio /proc/interrupts; dmesg | tail -n 20", timeout=10))
        except GuestError as e:
            parts.append(str(e))
        return "\n".join(parts)

    def one(self, kind, nic):
        try:
            super().one(kind, nic)
        except (AssertionError, GuestError) as e:
            raise AssertionError(f"{e}\n{self.state()}") from e
        if self.random.randrange(_LOOK_EVERY) == 0:
            self.look()

    def run(self):
        done = super().run()
        self.look()
        self.count_files()
        return done


class SoakTest(stress.StressTest):
    subject = Soak

    @classmethod
    def setUpClass(cls):
        stress.tap.comment(f"seed {cls.options.seed}")
        super().setUpClass()

    def test_c_files(self):
        """files went through all the time"""
        stress.tap.comment("transfers with the right SHA-256: "
                           + ", ".join(f"{n} {what}" for what, n in self.stress.sums.items())
                           + f"; query-vhost-dp answered {self.stress.watcher.answers} times, "
                           f"at worst after {self.stress.watcher.slowest * 1000:.0f} ms")
        for what, n in self.stress.sums.items():
            self.assertGreater(n, 0, f"no {what}")
        self.assertGreater(self.stress.watcher.answers, 0)

    def test_d_heap(self):
        """plugging and unplugging, over and over: the heap does not grow"""
        loops = ("everything", "host_again", "spare", "stop_twice", "link")
        sizes = []
        for _ in range(2):
            for number in range(self.options.heap_loops):
                for kind in loops:
                    self.stress.one(kind, self.stress.nics[number % len(self.stress.nics)])
            sizes.append(heap(self.stress.guest.pid))
        stress.tap.comment(f"heap: {sizes[0] / MB:.1f} MB, later {sizes[1] / MB:.1f} MB")
        self.assertLess(sizes[1] - sizes[0], _HEAP_GROWTH, "QEMU's heap grows")

    def test_e_idle(self):
        """the threads of the data path sleep when there is nothing to do"""
        self.stress.watcher.stop()
        self.stress.watcher.check()
        self.stress.quiet()
        pid = self.stress.guest.pid
        ours = {pair["thread-id"] for info in self.stress.qmp.command("query-vhost-dp")
                for pair in info["queues"]}
        did = {}

        def asleep():
            """In some seconds, that is: connections that were cut off have to come to their ends first."""
            before = {thread: activity(pid, thread) for thread in ours}
            time.sleep(3)
            for thread in ours:
                did[thread] = [now - then for now, then in zip(activity(pid, thread), before[thread])]
            return all(switches < 15 and ran < 100 for switches, ran in did.values())

        try:
            self.wait_until(asleep, "sleep", 60)
        except self.failureException:
            self.fail(f"how often threads woke up in 3 s, and the milliseconds they ran: {did}, {threads(pid)}\n"
                      f"{self.stress.state()}")


def _drivers(text):
    for name in text.split(","):
        if name not in _DRIVERS:
            raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(_DRIVERS)}")
    return text.split(",")


def main():
    options = stress.parser(__doc__.splitlines()[0] + " Prints TAP.", Soak.WEIGHTS)
    options.add_argument("--drivers", type=_drivers, default=["tap", "af-packet"], metavar="D,D",
                         help=f"of the two NICs, out of {', '.join(_DRIVERS)} (default: tap,af-packet)")
    options.add_argument("--heap-loops", type=int, default=10, metavar="N",
                         help="rounds of plugging for each look at the heap (default: %(default)s)")
    options.set_defaults(loops=10 ** 9, seconds=120, seed=None)
    args = options.parse_args()
    if args.seed is None:
        args.seed = random.randrange(1 << 32)
    if "VHOST_DP_SOAK_SEED" in os.environ:    # the program starts again in its namespace
        args.seed = int(os.environ["VHOST_DP_SOAK_SEED"])
    os.environ["VHOST_DP_SOAK_SEED"] = str(args.seed)
    try:
        for name in args.drivers:
            BACKENDS[name].missing()
    except netns.Missing as e:
        stress.tap.skip_all(str(e))
    SoakTest.title = f"soak, {' and '.join(args.drivers)}"
    stress.run(SoakTest, args)


if __name__ == "__main__":
    main()
