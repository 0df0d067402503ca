#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stress vhost-dp's control side: all that can be done to a NIC, in random order, while it is busy.

A guest with two NICs and two virtual CPUs keeps traffic going on both. Each loop does one thing to one
of them: stop and cont, link off and on, masking interrupts (the guest moves them between its CPUs), the
guest's driver or interface down and up, unplugging device, netdev and driver object, all or some, and
plugging them again; or it adds and removes a netdev that no device uses. After each loop both NICs must
answer a ping from the host within --patience seconds: a lost interrupt or kick, or a path that was not
started again, shows there. QEMU must answer every QMP command in that time too: a deadlock shows there.
In the end QEMU must have the threads and as many descriptors as it had in the beginning.

The order comes from --seed, which is printed. The output is TAP.
"""

import argparse
import random
import time

from harness import program, tap
from harness.case import GuestCase, network_state, open_files, threads
from harness.guest import Guest
from harness.httpd import MB, FileServer
from harness.netns import Missing
from harness.ping import Pinger
from mkimage import ImageError

NICS = 2
SPARE = 2    # the number of the NIC that has no device

# With a thread for each of the guest's CPUs, QEMU 10.0's TCG aborted about once in 200 times that a device
# came or went: a CPU found a section of the memory map that was no longer there (iotlb_to_section()), while
# another one unmapped a BAR. Guests that hung, or answered no ping, are taken for the same.
_ACCEL = {"tcg": "tcg,thread=single"}


class Stress:
    """The guest under stress, and what can be done to it."""

    GUEST = {}    # more arguments of Guest

    def __init__(self, setup, options, server):
        self.options = options
        self.random = random.Random(options.seed)
        self.server = server
        self.shared = options.shared_iothread
        self.nics = [self.make_nic(number, setup) for number in range(NICS)]
        self.spare = self.make_nic(SPARE, setup)
        if options.packed:
            for nic in self.nics:
                nic.device["packed"] = True
        for nic in (*self.nics, self.spare):
            nic.backend.before_qemu(nic, nic.netdev.get("queues", 1))
        arguments = ["-name", "guest,debug-threads=on"]
        if self.shared:
            arguments += ["-object", "iothread,id=io0"]
        arguments += self.more_arguments()
        for nic in self.nics:
            arguments += nic.arguments(named=True)
        self.guest = Guest(setup.qemu, setup.image, arguments, cpus=2,
                           **{"accel": _ACCEL.get(setup.accel, setup.accel)} | self.GUEST)
        self.pingers = [Pinger(nic.guest4) for nic in self.nics]
        self.slowest = {}    # kind of loop: seconds
        self.worst_ping = 0.0
        self.before = None   # resources() in the beginning

    def make_nic(self, number, setup):
        """A NIC, with the back end that it is on as `backend`."""
        nic = setup.backend.nic(number, **self.netdev_options())
        nic.backend = setup.backend
        return nic

    def netdev_options(self):
        return {"iothread": "io0"} if self.shared else {}

    def more_arguments(self):
        """More of QEMU's command line, in front of the NICs."""
        return []

    def close(self):
        self.guest.close()
        for nic in (*self.nics, self.spare):
            nic.backend.after_qemu(nic)

    def boot(self):
        self.guest.start()
        self.qmp = self.guest.qmp
        self.qmp.timeout = self.options.patience
        for nic in self.nics:
            nic.backend.host_up(nic)
        self.guest.wait_ready()
        for nic in self.nics:
            self.net_up(nic)
        self.traffic()

    def traffic(self):
        """Load on both NICs that leaves some of the guest's CPU time to the guest."""
        for nic in self.nics:
            url = f"http://{nic.host4}:{self.server.PORT}/data/{MB}"
            self.guest.background(f"get{nic.number}",
                                  f"while :; do timeout 3 wget -q -O /dev/null {url}; sleep 0.05; done")
            self.guest.background(f"ping{nic.number}",
                                  f"while :; do ping -q -i 0.002 -w 3 -s 500 {nic.host4} || sleep 0.1; done")

    def net_up(self, nic):
        deadline = time.monotonic() + 60
        while True:
            status, output = self.guest.sh(nic.net_up, check=False)
            if status == 0:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"the guest does not see {nic.id}: {output.strip()}")
            time.sleep(0.02)

    def dwell(self):
        """A moment, often none, in which the data path may do something."""
        if self.random.random() < 0.6:
            time.sleep(self.random.random() * 0.02)

    # --- the loops ---

    def loop_stop(self, _):
        self.qmp.command("stop")
        self.dwell()
        self.qmp.command("cont")

    def loop_stop_twice(self, _):
        """Without a moment in between, so that a start meets what the stop left to be done."""
        for _ in range(2):
            self.qmp.command("stop")
            self.qmp.command("cont")

    def loop_link(self, nic):
        name = self.random.choice((nic.id, nic.netdev["id"]))
        self.qmp.command("set_link", name=name, up=False)
        self.dwell()
        self.qmp.command("set_link", name=name, up=True)

    def loop_link_stopped(self, nic):
        """The link changes while the guest is stopped."""
        self.qmp.command("stop")
        self.qmp.command("set_link", name=nic.id, up=False)
        self.qmp.command("cont")
        self.dwell()
        self.qmp.command("stop")
        self.qmp.command("set_link", name=nic.id, up=True)
        self.qmp.command("cont")

    def loop_mask(self, _):
        """Moving an interrupt masks and unmasks it."""
        self.guest.sh("for i in 1 2 3 4; do for irq in $(grep virtio /proc/interrupts | cut -d: -f1); do "
                      "echo $((1 + (i + irq) % 2)) > /proc/irq/$irq/smp_affinity; done; done; true")

    def loop_interface(self, nic):
        self.guest.sh(f"dev=$({nic.net_up} | head -n 1) && ip link set $dev down && {nic.net_up}")

    def loop_rebind(self, nic):
        self.guest.sh(f"dev=$({nic.net_up} | head -n 1) && "
                      "virtio=$(basename $(readlink /sys/class/net/$dev/device)) && "
                      "cd /sys/bus/virtio/drivers/virtio_net && echo $virtio > unbind && echo $virtio > bind")
        self.net_up(nic)

    def loop_spare(self, _):
        self._add_back_end(self.spare)
        self.dwell()
        self._delete_back_end(self.spare)

    def loop_device(self, nic):
        self._unplug(nic)
        self._plug(nic)

    def loop_everything(self, nic):
        self._unplug(nic)
        self._delete_back_end(nic)
        self._add_back_end(nic)
        self._plug(nic)

    def loop_netdev_first(self, nic):
        self.qmp.command("netdev_del", id=nic.netdev["id"])
        self.dwell()
        self._unplug(nic)
        self._delete_objects(nic)
        self._add_back_end(nic)
        self._plug(nic)

    def _delete_objects(self, nic):
        for each in reversed(nic.objects):
            self.qmp.command("object-del", id=each["id"])

    def _delete_back_end(self, nic):
        self.qmp.command("netdev_del", id=nic.netdev["id"])
        self._delete_objects(nic)

    def _add_back_end(self, nic):
        for each in nic.objects:
            self.qmp.command("object-add", **each)
        self.qmp.command("netdev_add", **nic.netdev)

    def _unplug(self, nic):
        self.qmp.command("device_del", id=nic.id)
        self.qmp.wait_event("DEVICE_DELETED", timeout=60, device=nic.id)

    def _plug(self, nic):
        self.qmp.command("device_add", **nic.device_arguments())
        self.net_up(nic)

    # How often each is done: what involves the guest's kernel takes long.
    WEIGHTS = {
        "stop": 25, "stop_twice": 15, "link": 20, "link_stopped": 10, "spare": 15,
        "mask": 6, "interface": 3, "rebind": 1, "device": 2, "everything": 2, "netdev_first": 1,
    }

    def one(self, kind, nic):
        start = time.monotonic()
        getattr(self, f"loop_{kind}")(nic)
        self.slowest[kind] = max(self.slowest.get(kind, 0), time.monotonic() - start)
        self.events_forgotten()
        for pinger, each in zip(self.pingers, self.nics):
            took = pinger.ping(self.options.patience)
            if took is None:
                raise AssertionError(f"{each.id} answered no ping within {self.options.patience} s\n"
                                     + network_state(self.guest, each.backend.counters))
            self.worst_ping = max(self.worst_ping, took)

    def events_forgotten(self):
        self.qmp.events.clear()

    def run(self):
        """All loops; returns how many of each kind were done."""
        self.before = self.least()
        done = dict.fromkeys(self.options.kinds, 0)
        end = time.monotonic() + self.options.seconds if self.options.seconds else None
        kinds = list(self.options.kinds)
        weights = [self.WEIGHTS[kind] for kind in kinds]
        for number in range(self.options.loops):
            if end and time.monotonic() > end:
                break
            kind = self.random.choices(kinds, weights)[0]
            nic = self.random.choice(self.nics)
            try:
                self.one(kind, nic)
            except Exception as e:
                raise AssertionError(
                    f"loop {number} ({kind} of {nic.id}) with seed {self.options.seed}: {e}") from e
            done[kind] += 1
        return done

    def least(self):
        """resources() of a moment when nothing that was released is still there."""
        seen = []
        end = time.monotonic() + 1
        while time.monotonic() < end:
            seen.append(self.resources())
            time.sleep(0.05)
        return min(seen, key=lambda each: (sum(each[0].values()), each[1]))

    def resources(self):
        """Threads by name, and the number of descriptors."""
        names = {}
        for name in threads(self.guest.pid).values():
            if name != "worker" and not name.startswith("iou-"):    # thread pools, QEMU's and the kernel's
                names[name] = names.get(name, 0) + 1
        return names, open_files(self.guest.pid)


class StressTest(GuestCase):
    options = None
    broken = False
    subject = Stress

    @classmethod
    def setUpClass(cls):
        cls.server = FileServer(size=MB)
        cls.addClassCleanup(cls.server.close)
        cls.stress = cls.subject(cls.setup, cls.options, cls.server)
        cls.addClassCleanup(cls.stress.close)
        cls.stress.boot()

    @classmethod
    def tearDownClass(cls):
        cls.guest = cls.stress.guest
        super().tearDownClass()

    def test_a_every_kind(self):
        """each kind of loop, once on each NIC"""
        for kind in self.options.kinds:
            for nic in self.stress.nics:
                try:
                    self.stress.one(kind, nic)
                except Exception as e:
                    type(self).broken = True    # what follows would fail for the same reason
                    raise AssertionError(f"{kind} of {nic.id}: {e}") from e

    def test_b_random(self):
        """in random order"""
        if self.broken:
            self.skipTest("one by one they failed already")
        start = time.monotonic()
        done = self.stress.run()
        tap.comment(f"{sum(done.values())} loops in {time.monotonic() - start:.0f} s "
                    f"with seed {self.options.seed}: "
                    + ", ".join(f"{count} {kind}" for kind, count in done.items()))
        tap.comment("the slowest of each kind, in ms: "
                    + ", ".join(f"{kind} {took * 1000:.0f}" for kind, took in self.stress.slowest.items())
                    + f"; the slowest ping {self.stress.worst_ping * 1000:.0f}")
        deadline = time.monotonic() + 20
        while (now := self.stress.resources()) != self.stress.before and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(now, self.stress.before, "threads and descriptors, and what they were in the beginning")


def parser(description, weights):
    """The options; `weights` has the kinds of loops that there are."""
    def kinds(text):
        for kind in text.split(","):
            if kind not in weights:
                raise argparse.ArgumentTypeError(f"there is no kind '{kind}'")
        return text.split(",")

    options = program.parser(description)
    options.add_argument("--loops", type=int, default=1000, metavar="N",
                         help="how many loops (default: %(default)s)")
    options.add_argument("--seconds", type=float, metavar="S", help="end after this time at the latest")
    options.add_argument("--seed", type=int, default=1, metavar="N",
                         help="what makes the order (default: %(default)s)")
    options.add_argument("--kinds", metavar="K,K...", type=kinds, default=list(weights),
                         help=f"kinds of loops to do (default: all: {' '.join(weights)})")
    options.add_argument("--shared-iothread", action="store_true",
                         help="run both NICs on one IOThread that is given, instead of one each of their own")
    options.add_argument("--packed", action="store_true", help="offer packed virtqueues to the guest")
    options.add_argument("--patience", type=float, default=10.0, metavar="S",
                         help="how long an answer may take (default: %(default)s)")
    return options


def run(test, args):
    """Run the tests of class `test`, and end."""
    try:
        GuestCase.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    test.options = args
    test.title += ", " + ", ".join(
        ["one IOThread shared" if args.shared_iothread else "own IOThreads"] + ["packed rings"] * args.packed)
    tap.run([test])


def main():
    StressTest.title = "stress"
    run(StressTest, parser("Stress the control side of vhost-dp. Prints TAP.", Stress.WEIGHTS).parse_args())


if __name__ == "__main__":
    main()
