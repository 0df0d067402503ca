#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vhost-dp-vhost-user and vhost-dp-stream with passt as their peer.

By vhost-user, passt takes a frame in one descriptor only (Debian 13's) or in 16 (later ones), has no offloads, and leaves
TCP checksums out. VHOST_DP_PASST is the command of another passt than the machine's own. What of this needs
no passt is tested by tests/qtest/vhost-dp/peers-test.c.
"""

import unittest

from harness import passt, program, tap
from harness.backends import Nic
from harness.case import GuestCase
from harness.guest import Guest
from harness.httpd import FileServer
from harness.netns import Missing
from mkimage import ImageError

_LEASE = r"""cat > /tmp/lease <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ifconfig $interface $ip netmask $subnet mtu ${mtu:-1500}
route add default gw $router
END
chmod +x /tmp/lease; udhcpc -i eth0 -n -q -s /tmp/lease -O mtu"""


class Default(GuestCase):
    """A guest and its NIC as they are by default."""

    title = "passt"
    device = {}
    options = ("--vhost-user",)

    @staticmethod
    def driver(path):
        """The driver that connects to passt."""
        return {"qom-type": "vhost-dp-vhost-user", "id": "dp0", "path": path}

    @classmethod
    def setUpClass(cls):
        if cls.missing():
            raise unittest.SkipTest(cls.missing())
        cls.peer = passt.Passt(*cls.options)
        cls.addClassCleanup(cls.peer.close)
        cls.peer.start()
        cls.server = FileServer()
        cls.addClassCleanup(cls.server.close)
        cls.nic = Nic(0, {"type": "vhost-dp", "id": "vd0", "driver": "dp0"},
                      [cls.driver(cls.peer.socket)])
        cls.guest = Guest(cls.setup.qemu, cls.setup.image, cls.nic.arguments(named=True, **cls.device),
                          accel=cls.setup.accel)
        cls.addClassCleanup(cls.guest.close)
        cls.guest.start()
        cls.guest.wait_ready()
        cls.guest.sh(f"ifconfig eth0 up; {_LEASE}", timeout=60)

    @staticmethod
    def missing():
        """Why the machine's passt does not do, or None."""
        try:
            passt.need_vhost_user()
        except Missing as e:
            return str(e)
        return None

    def tearDown(self):
        """All of it, passt included, is as it was."""
        info = self.guest.qmp.command("query-vhost-dp")[0]
        self.assertTrue(self.peer.runs(), self.peer.said())
        self.assertTrue(info["link-up"], info)
        self.assertEqual(info["peer"]["connects"], 1)
        self.assertEqual(info["peer"]["violations"], [])

    def test_a_lease(self):
        """DHCP gives the host's address and the largest MTU"""
        self.assertIn(passt.GUEST4, self.guest.sh("ifconfig eth0"))
        self.assertIn("MTU:65520", self.guest.sh("ifconfig eth0"))

    def test_b_pings(self):
        """pings of all sizes"""
        for size in (56, 2100, 4200, 30000, 65000):
            with self.subTest(size):
                self.guest_pings(passt.HOST4, size=size)

    def test_c_transfer(self):
        """files both ways, in frames of 64 KB and of 1500 bytes"""
        for mtu, megabytes in ((65520, 32), (1500, 8)):
            with self.subTest(mtu):
                self.guest.sh(f"ifconfig eth0 mtu {mtu}")
                self.transfer(megabytes, passt.HOST4)


class WithoutChecksums(Default):
    """The guest verifies all checksums itself, as firmware does."""

    title = "passt, guest_csum=off"
    device = {"guest_csum": False}
    test_a_lease = None


class Stream(Default):
    """passt's own protocol, by vhost-dp-stream; every passt has it."""

    title = "passt, stream"
    options = ()

    @staticmethod
    def driver(path):
        return {"qom-type": "vhost-dp-stream", "id": "dp0", "addr.type": "unix", "addr.path": path}

    @staticmethod
    def missing():
        return None


def main():
    args = program.parser("Test vhost-dp-vhost-user and vhost-dp-stream with passt. Prints TAP.").parse_args()
    try:
        passt.need()
        GuestCase.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    passt.make_network()
    tap.run([Default, WithoutChecksums, Stream])


if __name__ == "__main__":
    main()
