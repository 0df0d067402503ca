#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""XDP programs and AF_XDP sockets on the guest's NIC, bound and unbound in a loop under traffic.

A program makes the guest's driver change its offloads and use more or fewer queues. Sockets without copies
make it reset a queue (VIRTIO_F_RING_RESET) and post buffers that are the socket's; they need
iommu_platform=on and a kernel from 6.11 on, so the one that the image has by itself copies. The NIC has to
work while they are there, and after they are gone. For another kernel:

    mkimage.py --output DIR --deb FILE; test_xdp.py --image-dir DIR
"""

import contextlib
import os
import random
import re
import socket
import struct
import tempfile
import threading
import time

import mkimage
from harness import netns, program, tap
from harness.case import GuestCase
from harness.netns import Missing
from mkimage import ImageError

PROGRAM = "vhost-dp-guest-xdp"    # xdp.c, in the build directory
PORT = 5005                       # as xdp.c has it

# Linux from 6.11 on receives without copies, and 6.13 sends so
RECEIVES, SENDS = (6, 11), (6, 13)


def payload(number):
    """What follows from a number: xdp.c makes, and checks, the same."""
    size = 4 + number * 37 % 2**32 % 1397
    return struct.pack("!I", number) + bytes((number * 7 + i) & 0xff for i in range(4, size))


class Peer:
    """The host's end: sends datagrams to the sockets in the guest, and counts those that they sent."""

    def __init__(self, nic):
        self.received = self.damaged = 0
        self._to = nic.guest4, PORT
        self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.bind((nic.host4, PORT))
        self._in.settimeout(0.1)
        # Flows of several ports come by several queues
        self._out = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(16)]
        self._end = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._receive)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join()
        for each in (self._in, *self._out):
            each.close()

    def _send(self):
        number = 0
        while not self._end.wait(0.005):
            for out in random.sample(self._out, 4):
                number += 1
                with contextlib.suppress(OSError):    # no neighbour yet: others will get through
                    out.sendto(payload(number), self._to)

    def _receive(self):
        while not self._end.is_set():
            with contextlib.suppress(TimeoutError):
                data = self._in.recv(2048)
                if len(data) >= 4 and data == payload(struct.unpack("!I", data[:4])[0]):
                    self.received += 1
                else:
                    self.damaged += 1


class Xdp(GuestCase):
    """The tests; subclasses say how many queue pairs there are."""

    rounds = 4
    sockets = 1              # on so many queues: all that the guest's driver uses
    known_faults = [("tx", "buffer-address", "bad-buffer"), ("tx", "iommu-fault", "bad-buffer")]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.version = tuple(map(int, re.match(r"(\d+)\.(\d+)", cls.guest.sh("uname -r")).groups()))
        cls.host_mac = netns.link(cls.nic.interface)["address"]

    def _works(self):
        """The guest, which is busy, can be reached, and reaches the host from each of its CPUs."""
        self.host_pings()
        for cpu in range(self.cpus):
            status, out = self.guest.sh(
                f"for i in 1 2 3 4 5 6 7 8 9 10; do taskset {1 << cpu:x} ping -c 1 -W 1 {self.nic.host4} && exit; "
                "done; exit 1", check=False)
            if status:
                self.fail(f"nothing that CPU {cpu} sends is answered:\n{out}{self.state()}\n{self._kernel_says()}")

    def _kernel_says(self):
        return self.guest.sh("dmesg | tail -n 30", check=False)[1]

    def _all_well(self):
        """After a loop: nothing stands still, and what is sent arrives undamaged."""
        self._works()
        self.transfer(2)
        if self.guest.sh("dmesg | grep -E 'NETDEV WATCHDOG|TX timeout'", check=False)[1]:
            self.fail(f"a queue stood still\n{self._kernel_says()}")
        if self.setup.backend.counters:
            for pair in self.guest.qmp.command("query-vhost-dp")[0]["queues"]:
                if [pair[way]["state"] for way in ("rx", "tx")] != ["running"] * 2:
                    self.fail(f"a queue has stopped\n{self.state()}")

    def _bad_buffers(self):
        if not self.setup.backend.counters:
            return 0
        return sum(drop["frames"] for pair in self.guest.qmp.command("query-vhost-dp")[0]["queues"]
                   for drop in pair["tx"]["drops"] if drop["reason"] == "bad-buffer")

    def _command(self, mode, order, milliseconds):
        return (f"/bin/{PROGRAM} eth0 {mode} {milliseconds} {self.sockets} {order} {self.nic.guest4} "
                f"{self.nic.host4} {self.host_mac}")

    def _use_sockets(self, peer, mode, order):
        """Let sockets send and receive for a while; whether those of this mode can send."""
        before, bad = peer.received, self._bad_buffers()
        out = self.guest.sh(self._command(mode, order, 300))
        sent, received, in_a_row, damaged = map(int, re.findall(r"\d+", out))
        self.assertGreater(sent, 0)
        self.assertEqual(damaged, 0, f"order {order}: of {received} frames that the sockets received")
        if in_a_row < 20:
            self.fail(f"order {order}: {in_a_row} good frames in a row, of {received}\n{self.state()}")
        if mode == "copy" or self.version >= SENDS and self._bad_buffers() == bad:
            self.wait_until(lambda: peer.received > before, "anything of what the sockets sent")

    def _loop(self, mode):
        with Peer(self.nic) as peer, self.traffic():
            for i in range(self.rounds):
                self._use_sockets(peer, mode, i % 4)
                self._works()
        self.assertEqual(peer.damaged, 0, f"of {peer.received} datagrams")
        self._all_well()

    def test_a_program(self):
        """a program that lets all pass comes and goes"""
        with self.traffic():
            for i in range(self.rounds):
                self.guest.sh(f"/bin/{PROGRAM} eth0 pass {i % 3 * 100}")
                if i % 2:
                    self._works()
        self._all_well()

    def test_b_copies(self):
        """sockets that copy are bound to all queues and closed, in each order"""
        self._loop("copy")

    def test_c_no_copies(self):
        """sockets without copies, which this kernel has or refuses"""
        if self.version >= RECEIVES:
            self._loop("zerocopy")
        else:
            self.assertEqual(self.guest.sh(self._command("zerocopy", 0, 1), check=False)[0], 3)
            self._all_well()
            self.skipTest(f"Linux {self.version[0]}.{self.version[1]}: its virtio-net has sockets without copies from 6.11 on")

    def test_d_killed(self):
        """the program is killed in the middle"""
        mode = "zerocopy" if self.version >= RECEIVES else "copy"
        with Peer(self.nic), self.traffic():
            for i in range(self.rounds):
                self.guest.background("xdp", self._command(mode, i % 4, 10000))
                time.sleep(random.random())
                self.guest.sh(f"killall -KILL {PROGRAM}", check=False)
                self.guest.stop("xdp")
                self._works()
        self._all_well()


def classes():
    four = {"queues": 4, "netdev": {"queues": 4}}
    offers = {"iommu_platform": True, "disable__legacy": True}
    mq = {**offers, "mq": True, "vectors": 10}
    variants = {
        # Without KASLR what the driver has of its own always is outside of the guest's RAM, for a device
        "one pair, nokaslr": {"device": offers, "append": "nokaslr"},
        "four pairs": {"device": mq, "cpus": 4, "sockets": 4, **four},
        # The other two are for what programs send, which otherwise shares queues with the kernel
        "four pairs, two of them in use, packed, nokaslr":
            {"device": {**mq, "packed": True}, "append": "nokaslr", "cpus": 2, "sockets": 2, **four},
    }
    for title, what in variants.items():
        yield type(Xdp)(f"Xdp {title}", (Xdp,), {"title": title, **what})


def main():
    options = program.parser("Test XDP and AF_XDP in a guest on a vhost-dp driver. Prints TAP.")
    options.add_argument("--only", metavar="TEXT", default="",
                         help="run the guests whose title holds this text")
    options.add_argument("--rounds", metavar="N", type=int, default=Xdp.rounds,
                         help="how often each test binds and unbinds (default: %(default)s)")
    options.add_argument("--program", metavar="FILE", help=f"the guest's end ({PROGRAM} of the build)")
    args = options.parse_args()
    Xdp.rounds = args.rounds
    try:
        GuestCase.setup = program.Program(args, tap.comment)
        with open(args.program or os.path.join(args.build_dir, "vhost-dp", "tests", "guest", PROGRAM), "rb") as f:
            archive = mkimage.Cpio()
            archive.file("bin/" + PROGRAM, f.read(), 0o755)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    with tempfile.TemporaryDirectory(prefix="vhost-dp-") as folder:
        GuestCase.setup.image = mkimage.add_archive(GuestCase.setup.image, os.path.join(folder, "initramfs"),
                                                    archive.finish())
        tap.run([each for each in classes() if args.only in each.title])


if __name__ == "__main__":
    main()
