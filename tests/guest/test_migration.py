#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that moves from one QEMU to the next while it has traffic: its connections live on.

The host's ends of the NICs are ports of one bridge, which learns from the announcement where the guest
is. Each move is to another back end. vhost-dp/migration-test knows each frame and each page; here it is
the guest's own kernel that has to find everything as it was.
"""

import hashlib
import os
import socket
import threading
import time

from harness import netns, program, tap
from harness.backends import BACKENDS
from harness.case import GuestCase, no_faults
from harness.guest import Guest, TooSlow
from harness.httpd import MB, FileServer
from harness.netns import Missing
from mkimage import ImageError

BRIDGE = "br0"


class Echo:
    """One TCP connection to a guest that sends back what it gets, as fast as it can, until end().

    Both sums are of the bytes in order, so they differ if anything is lost, damaged or comes twice.
    """

    PORT = 7000

    def __init__(self):
        self._listener = socket.create_server(("0.0.0.0", self.PORT))
        self._end = threading.Event()
        self._sent = hashlib.sha256()
        self._got = hashlib.sha256()
        self.size = 0
        self.gap = 0.0              # the longest time that nothing came in
        self._threads = []

    def accept(self):
        """The guest calls."""
        self._listener.settimeout(60)
        self._socket = self._listener.accept()[0]
        self._socket.settimeout(60)
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self):
        block = os.urandom(MB)
        at = 0
        while not self._end.is_set():
            part = block[at:at + 65521]
            at = (at + len(part)) % MB
            self._socket.sendall(part)
            self._sent.update(part)
        self._socket.shutdown(socket.SHUT_WR)

    def _receive(self):
        last = time.monotonic()
        while data := self._socket.recv(1 << 18):
            now = time.monotonic()
            self.gap = max(self.gap, now - last)
            last = now
            self._got.update(data)
            self.size += len(data)

    def end(self, timeout=60):
        """Wait until all is back; whether it is what was sent."""
        self._end.set()
        for thread in self._threads:
            thread.join(timeout)
            if thread.is_alive():
                return False
        return self._got.digest() == self._sent.digest()

    def close(self):
        self._end.set()
        self._listener.close()
        if self._threads:
            self._socket.close()


class Migration(GuestCase):
    title = "migration"
    device = {}
    pairs = 1
    rounds = 1
    other_qemu = None
    START = "tap"
    WAY = [("tap", False), ("af-packet", True), ("stock-tap", False), ("tap", True)]   # True: postcopy

    @classmethod
    def setUpClass(cls):
        netns.ip("link", "add", BRIDGE, "type", "bridge", "forward_delay", 0, "mcast_snooping", 0)
        cls.addClassCleanup(netns.ip, "link", "del", BRIDGE)
        cls.number = 0
        cls.guest = cls.nic = None
        nic = cls._nic(cls.START)
        netns.interface_up(BRIDGE, f"{nic.host4}/24", f"{nic.host6}/64")
        cls.server = FileServer()
        cls.addClassCleanup(cls.server.close)
        cls.guest, cls.nic = cls._qemu(nic), nic
        cls.addClassCleanup(lambda: cls.guest.close())
        cls.guest.wait_ready()
        cls.guest.sh(nic.net_up)
        if cls.pairs > 1:
            cls.guest.sh(f"ethtool -L eth0 combined {cls.pairs}")

    @classmethod
    def tearDownClass(cls):
        status = cls.guest.quit()
        if status:
            raise AssertionError(f"QEMU ended with status {status}")

    @classmethod
    def _nic(cls, name):
        """The guest's NIC on the next interface; to the guest it is always the same one."""
        first = BACKENDS["tap"].nic(0)
        nic = BACKENDS[name].nic(cls.number, **({"queues": cls.pairs} if cls.pairs > 1 else {}))
        cls.number = (cls.number + 1) % 3   # there are two at a time
        nic.back_end = name
        for attribute in ("id", "mac", "host4", "host6", "guest4", "guest6"):
            setattr(nic, attribute, getattr(first, attribute))
        return nic

    @classmethod
    def _qemu(cls, nic, *options):
        guest = Guest((nic.back_end.startswith("stock-") and cls.other_qemu) or cls.setup.qemu, cls.setup.image,
                      ["-name", "guest,debug-threads=on", *cls.options,
                       *nic.arguments(named=True, **cls.device), *options],
                      machine=cls.machine, cpus=cls.cpus, accel=cls.setup.accel, append=cls.append)
        try:
            guest.start()
            netns.ip("link", "set", "dev", nic.interface, "master", BRIDGE)
            netns.ip("link", "set", "dev", nic.interface, "up")
        except BaseException:
            guest.close()
            raise
        return guest

    def _need_userfaultfd(self):
        try:
            netns.need_userfaultfd()
        except Missing as e:
            self.skipTest(str(e))

    def _status(self, guest=None):
        return (guest or self.guest).qmp.command("query-migrate").get("status")

    def _run(self, to, postcopy):
        """Migrate, and wait until it is over."""
        uri = f"unix:{os.path.join(to.dir, 'migration')}"
        capability = [{"capability": "postcopy-ram", "state": postcopy}]
        to.qmp.command("migrate-set-capabilities", capabilities=capability)
        self.guest.qmp.command("migrate-set-capabilities", capabilities=capability)
        to.qmp.command("migrate-incoming", uri=uri)
        self.guest.qmp.command("migrate", uri=uri)
        if postcopy:
            self.wait_until(lambda: self._status() != "setup", "migration")
            self.guest.qmp.command("migrate-start-postcopy")
        self.wait_until(lambda: self._status() in ("completed", "failed"), "migration", 120)
        self.assertEqual(self._status(), "completed", self.guest.qmp.command("query-migrate"))
        self.wait_until(lambda: self._status(to) == "completed", "the destination", 60)

    def _move(self, name, postcopy):
        nic = self._nic(name)
        to = self._qemu(nic, "-incoming", "defer")
        try:
            self._run(to, postcopy)
            info = self.guest.qmp.command("query-migrate")
            to.take_shell(self.guest)
        except BaseException:
            to.close()
            raise
        if BACKENDS[self.nic.back_end].counters:
            no_faults(self.guest)
        self.assertEqual(self.guest.quit(), 0)
        self.guest.close()
        tap.comment(f"{self.nic.back_end} to {name}, {'postcopy' if postcopy else 'precopy'}: downtime "
                    f"{info['downtime']} ms of {info['total-time']} ms")
        type(self).guest, type(self).nic = to, nic

    def _rings(self):
        """Where the device is in its rings, for whoever looks into a failure."""
        path = f"/machine/peripheral/{self.nic.id}/virtio-backend"
        return "\n".join(str(self.guest.qmp.command("x-query-virtio-queue-status", path=path, queue=number))
                         for number in range(2 * self.pairs))

    def test_connection(self):
        """one connection with at least 64 MB both ways lives through all of it"""
        echo = Echo()
        self.addCleanup(echo.close)
        self.guest.sh(f"nc {self.nic.host4} {echo.PORT} -e /bin/cat </dev/null >/dev/null 2>&1 &")
        echo.accept()
        for name, postcopy in self.WAY * self.rounds:
            with self.subTest(back_end=name, postcopy=postcopy):
                if postcopy:
                    self._need_userfaultfd()
                before = echo.size
                self.wait_until(lambda: echo.size > before + 4 * MB, "traffic", 60)
                self._move(name, postcopy)
                self.host_pings()
                try:
                    self.transfer(2)
                except TooSlow as e:
                    self.fail(f"{e}\n{self._rings()}")
        self.wait_until(lambda: echo.size >= 64 * MB, "64 MB", 120)
        self.assertTrue(echo.end(), "what came back is not what was sent")
        tap.comment(f"{echo.size / MB:.0f} MB, the longest silence was {echo.gap:.1f} s")
        if BACKENDS[self.nic.back_end].counters:
            no_faults(self.guest)


class MigrationPacked(Migration):
    """The same with the other ring format and several queue pairs."""

    title = "migration, packed rings, two queue pairs"
    device = {"packed": True, "mq": True}
    pairs = 2
    cpus = 2
    WAY = [("stock-tap", True), ("tap", False)]


class MigrationIommu(Migration):
    """Rings and buffers are behind a vIOMMU, whose tables are in the RAM that moves."""

    title = "migration, vIOMMU"
    machine = "q35,kernel-irqchip=split"
    append = "intel_iommu=on iommu.strict=1"
    options = ["-device", "intel-iommu,intremap=off,device-iotlb=on"]
    device = {"iommu_platform": True, "disable__legacy": True, "ats": True}
    WAY = [("tap", True), ("stock-tap", False), ("tap", False)]


def main():
    options = program.parser("Test migration of a guest between back ends. Prints TAP.")
    options.add_argument("--only", metavar="TEXT", default="",
                         help="run the guests whose title holds this text")
    options.add_argument("--rounds", metavar="N", type=int,
                         default=os.environ.get("VHOST_DP_MIGRATION_ROUNDS", "1"),
                         help="how often each guest goes its way (default: %(default)s, from "
                         "VHOST_DP_MIGRATION_ROUNDS)")
    options.add_argument("--other-qemu", metavar="FILE",
                         help="a QEMU of the same version, without vhost-dp, for the back ends of stock QEMU")
    args = options.parse_args()
    Migration.other_qemu = args.other_qemu
    Migration.rounds = args.rounds
    try:
        GuestCase.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    classes = [Migration, MigrationPacked, MigrationIommu]
    tap.run([each for each in classes if args.only in each.title])


if __name__ == "__main__":
    main()
