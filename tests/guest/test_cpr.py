#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU is replaced under a running guest that has traffic (CPR), on one interface.

cpr-transfer: a new QEMU takes over from the one that runs. Both have the descriptor of the TAP, which the
test opened; whichever runs the guest uses it. cpr-exec (QEMU 10.2 and later): QEMU executes its successor,
which finds the descriptor where it was. RAM is not copied either way.
"""

import fcntl
import json
import os
import struct
import unittest

from harness import netns, program, tap
from harness.backends import BACKENDS
from harness.case import GuestCase, no_faults
from harness.guest import Guest
from harness.httpd import MB, FileServer
from harness.netns import Missing
from harness.qmp import QmpError
from mkimage import ImageError
from test_migration import Echo

_TUNSETIFF = 0x400454ca
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


def open_tap(name):
    """A descriptor that QEMU inherits, of a new interface that goes when nobody has it open."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
    return fd


def channel(kind, path):
    """A channel of a migration."""
    return {"channel-type": kind, "addr": {"transport": "socket", "type": "unix", "path": path}}


class Cpr(GuestCase):
    title = "cpr-transfer"
    mode = "cpr-transfer"
    machine = "pc,memory-backend=ram0,aux-ram-share=on"
    options = ["-object", "memory-backend-memfd,id=ram0,size=512M,share=on"]
    rounds = 3

    @classmethod
    def setUpClass(cls):
        cls.nic = BACKENDS["tap"].nic(0)
        cls.fd = open_tap(cls.nic.interface)
        cls.addClassCleanup(os.close, cls.fd)
        cls.nic.objects[0]["fd"] = cls.fd
        netns.interface_up(cls.nic.interface, f"{cls.nic.host4}/24", f"{cls.nic.host6}/64")
        cls.server = FileServer()
        cls.addClassCleanup(cls.server.close)
        cls.guest = cls._qemu()
        cls.addClassCleanup(lambda: cls.guest.close())
        cls.guest.start()
        if not cls._has_mode():
            raise unittest.SkipTest(f"this QEMU has no {cls.mode}")
        cls.guest.wait_ready()
        cls.guest.sh(cls.nic.net_up)

    @classmethod
    def _has_mode(cls):
        try:
            cls.guest.qmp.command("migrate-set-parameters", mode=cls.mode)
        except QmpError:
            return False
        cls.guest.qmp.command("migrate-set-parameters", mode="normal")
        return True

    @classmethod
    def _qemu(cls, *options):
        return Guest(cls.setup.qemu, cls.setup.image,
                     ["-name", "guest,debug-threads=on", *cls.options, *cls.nic.arguments(named=True), *options],
                     machine=cls.machine, accel=cls.setup.accel, inherit=(cls.fd,))

    def _wait_completed(self, guest, who):
        def status():
            return guest.qmp.command("query-migrate").get("status")
        self.wait_until(lambda: status() in ("completed", "failed"), who, 60)
        self.assertEqual(status(), "completed", guest.qmp.command("query-migrate"))

    def _replace(self):
        """One QEMU to the next."""
        main, cpr = self.guest.path("main"), self.guest.path("cpr")
        to = self._qemu("-incoming", f"unix:{main}", "-incoming", json.dumps(channel("cpr", cpr)))
        try:
            to.launch()     # it answers when it has got what the CPR channel brings
            self.wait_until(lambda: os.path.exists(cpr), "the CPR channel")
            self.guest.qmp.command("migrate-set-parameters", mode=self.mode)
            self.guest.qmp.command("migrate", channels=[channel("main", main), channel("cpr", cpr)])
            to.connect()
            self._wait_completed(self.guest, "migration")
            self._wait_completed(to, "the new QEMU")
            to.take_shell(self.guest)
        except BaseException:
            to.close()
            raise
        self._tell()
        self.assertEqual(self.guest.quit(), 0)
        self.guest.close()
        type(self).guest = to

    def _tell(self):
        no_faults(self.guest)
        info = self.guest.qmp.command("query-migrate")
        tap.comment(f"downtime {info['downtime']} ms, {info['ram']['transferred'] // 1024} KiB of RAM moved")

    def test_connection(self):
        """one connection with traffic both ways lives on"""
        echo = Echo()
        self.addCleanup(echo.close)
        self.guest.sh(f"nc {self.nic.host4} {echo.PORT} -e /bin/cat </dev/null >/dev/null 2>&1 &")
        echo.accept()
        for _ in range(self.rounds):
            before = echo.size
            self.wait_until(lambda: echo.size > before + 4 * MB, "traffic", 60)  # pylint: disable=cell-var-from-loop
            self._replace()
            self.host_pings()
            self.transfer(2)
        self.assertTrue(echo.end(), "what came back is not what was sent")
        tap.comment(f"{echo.size / MB:.0f} MB, the longest silence was {echo.gap:.1f} s")


class CprExec(Cpr):
    title = "cpr-exec"
    mode = "cpr-exec"

    def _replace(self):
        state = self.guest.path("state")
        command = [*self.guest.command_line, "-incoming", f"file:{state}"]
        no_faults(self.guest)
        self.guest.qmp.command("migrate-set-parameters", mode=self.mode, cpr_exec_command=command)
        self.guest.qmp.command("migrate", uri=f"file:{state}")
        self.guest.reconnect()
        self._wait_completed(self.guest, "the new QEMU")
        os.unlink(state)


def main():
    options = program.parser("Test that QEMU can be replaced under a guest with traffic. Prints TAP.")
    options.add_argument("--only", metavar="TEXT", default="", help="run the guests whose title holds this text")
    args = options.parse_args()
    try:
        GuestCase.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    tap.run([each for each in (Cpr, CprExec) if args.only in each.title])


if __name__ == "__main__":
    main()
