#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What vhost-dp-slirp does besides moving frames: DHCP, TFTP, ports forwarded both ways, restrict."""

import hashlib
import os
import socket
import tempfile
import threading

from harness import program, tap
from harness.case import GuestCase
from harness.netns import Missing
from mkimage import ImageError

_PORT = 2222
_FILE = bytes(range(256)) * 400


def _ask_guest(port):
    """What the guest's server says to somebody who connects to a port of the host."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
        return s.makefile().read()


def _shout(server):
    """Send one connection's bytes back in capital letters; what a character device leads to."""
    with server.accept()[0] as s:
        while data := s.recv(1000):
            s.sendall(data.upper())


class Services(GuestCase):
    """A guest with everything switched on."""

    title = "services"

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="vhost-dp-")
        cls.addClassCleanup(directory.cleanup)
        with open(os.path.join(directory.name, "boot.img"), "wb") as f:
            f.write(_FILE)
        path = os.path.join(directory.name, "socket")
        server = socket.socket(socket.AF_UNIX)
        cls.addClassCleanup(server.close)
        server.bind(path)
        server.listen()
        threading.Thread(target=_shout, args=(server,), daemon=True).start()
        cls.driver = {"tftp": directory.name, "bootfile": "boot.img", "hostname": "dp-guest",
                      "domainname": "example.org", "hostfwd": f"tcp:127.0.0.1:{_PORT}-:22",
                      "guestfwd": ["tcp:10.0.2.100:7-cmd:head -n 1", f"tcp:10.0.2.101:7-unix:{path}"]}
        super().setUpClass()

    def test_dhcp(self):
        """DHCP gives the address, the router, the name server and the names"""
        self.guest.sh("printf '#!/bin/sh\\nenv >> /tmp/lease\\n' > /tmp/script; chmod +x /tmp/script")
        self.guest.sh("udhcpc -i eth0 -n -q -s /tmp/script -O domain -O hostname -x hostname:x", timeout=30)
        lease = self.guest.sh("cat /tmp/lease")
        for line in ("ip=10.0.2.15", "router=10.0.2.2", "dns=10.0.2.3", "domain=example.org",
                     "hostname=dp-guest", "boot_file=boot.img"):
            self.assertIn(line, lease.split(), lease)

    def test_tftp(self):
        """a file by TFTP, intact"""
        self.guest.sh("cd /tmp && tftp -g -r boot.img 10.0.2.2", timeout=30)
        self.assertEqual(self.guest.sh("sha256sum < /tmp/boot.img").split()[0],
                         hashlib.sha256(_FILE).hexdigest())

    def test_hostfwd(self):
        """a connection to the host's port ends in the guest"""
        self.guest.background("server", "while :; do echo hello | nc -l -p 22; done")
        self.addCleanup(self.guest.stop, "server")
        self.guest.sh("for i in $(seq 100); do netstat -ltn | grep -q :22 && exit; sleep 0.1; done; exit 1")
        self.assertEqual(_ask_guest(_PORT), "hello\n")

    def test_hostfwd_monitor(self):
        """a port that the monitor adds leads to the guest, until it removes it"""
        self.guest.background("server", "while :; do echo hello | nc -l -p 23; done")
        self.addCleanup(self.guest.stop, "server")
        self.guest.sh("for i in $(seq 100); do netstat -ltn | grep -q :23 && exit; sleep 0.1; done; exit 1")
        vd, port = self.nic.netdev["id"], _PORT + 1
        self.assertEqual(self.guest.qmp.hmp(f"hostfwd_add {vd} tcp:127.0.0.1:{port}-:23"), "")
        self.assertEqual(_ask_guest(port), "hello\n")
        self.assertIn("TCP[HOST_FORWARD]", self.guest.qmp.hmp("info usernet"))
        self.assertIn("removed", self.guest.qmp.hmp(f"hostfwd_remove {vd} tcp:127.0.0.1:{port}"))
        with self.assertRaises(ConnectionRefusedError):
            _ask_guest(port)

    def test_guestfwd_program(self):
        """a connection of the guest ends in a program of the host, each in one of its own"""
        for word in ("one", "two"):
            self.assertEqual(self.guest.sh(f"echo {word} | nc 10.0.2.100 7", timeout=30), f"{word}\n")

    def test_guestfwd_device(self):
        """a connection of the guest ends in a character device, which answers from the main loop"""
        self.guest.background("caller", "(echo quiet; sleep 60) | nc 10.0.2.101 7 >/tmp/answer")
        self.addCleanup(self.guest.stop, "caller")
        self.wait_until(lambda: self.guest.sh("cat /tmp/answer", check=False)[1] == "QUIET\n", "the answer")


class Restricted(GuestCase):
    """A guest that may not get out."""

    title = "restrict=on"
    driver = {"restrict": True}

    def test_isolated(self):
        """the guest reaches nothing of the host"""
        self.guest_pings(self.nic.host4)    # that is slirp itself
        status, out = self.guest.sh(
            f"wget -T 2 -q -O /dev/null http://{self.nic.host4}:{self.server.PORT}/data/1", check=False)
        self.assertNotEqual(status, 0, out)


def main():
    options = program.parser("Test the services of vhost-dp-slirp. Prints TAP.")
    options.set_defaults(driver="slirp")
    args = options.parse_args()
    try:
        GuestCase.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    tap.run([Services, Restricted])


if __name__ == "__main__":
    main()
