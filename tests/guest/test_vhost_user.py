#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vhost-dp-vhost-user with DPDK's testpmd as its peer: traffic, what is shared, and a peer that dies, stops or
runs out of descriptors.
"""

import os
import re
import resource
import signal
import time

from harness import program, tap, testpmd
from harness.backends import BACKENDS, Nic
from harness.case import GuestCase
from harness.guest import Guest
from harness.netns import Missing
from mkimage import ImageError

# Guest memory that can be told from all other by its name, and that could be shared
RAM = ["-object", "memory-backend-memfd,id=ram0,size=512M,share=on", "-machine", "memory-backend=ram0"]


def files_of(pid):
    """What a process has open, and what it has mapped: names, with all of their pages."""
    opened = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            opened.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    mapped = {}
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            where, _, _, _, _, *name = line.split(None, 5)
            first, last = (int(address, 16) for address in where.split("-"))
            if name:
                mapped[name[0].strip()] = mapped.get(name[0].strip(), 0) + last - first
    return opened, mapped


class PeerCase(GuestCase):
    """What both guests ask for."""

    def info(self):
        return self.guest.qmp.command("query-vhost-dp", timeout=5)[0]

    def wait_link(self, up, timeout=60):
        self.wait_until(lambda: self.info()["link-up"] is up, f"link {'up' if up else 'down'}", timeout)

    def counted(self, way):
        return self.info()["queues"][0][way]["packets"]


class Switched(PeerCase):
    """testpmd is the switch between the guest and an interface of the host."""

    options = RAM
    packed = True
    restarts = 10

    def works(self):
        self.wait_link(True)
        # the guest may have to ask for the host's address again
        self.wait_until(lambda: "1 packets received" in self.guest.sh(
            f"ping -c 1 -W 2 {self.nic.host4}", check=False)[1], "an answer to a ping", 60)

    def restart(self):
        self.nic.switch.kill()
        self.wait_link(False)
        self.nic.switch.start()
        self.setup.backend.host_up(self.nic)

    @classmethod
    def setUpClass(cls):
        cls.title = f"{'packed' if cls.packed else 'split'} rings"
        cls.driver = {"packed": cls.packed}
        super().setUpClass()
        cls.addClassCleanup(cls.nic.switch.close)

    def test_a_moves(self):
        """the guest pings, and moves 64 MB both ways"""
        self.works()
        self.guest_pings(self.nic.host4)
        self.transfer(64)
        packed = 1 << 34
        self.assertEqual(bool(self.info()["peer"]["features"] & packed), self.packed)

    def test_b_shares_its_own_memory_only(self):
        """testpmd has the driver's memory mapped, and nothing of the guest's"""
        shared = self.info()["peer"]["shared-memory"]
        opened, mapped = files_of(self.nic.switch.process.pid)
        memfds = {name.removesuffix(" (deleted)"): size for name, size in mapped.items() if "memfd:" in name}
        memfds.pop("/memfd:nohuge")     # DPDK's own
        self.assertEqual(memfds, {"/memfd:vhost-dp-rings": shared})
        self.assertLess(shared, 5 << 20)
        self.assertFalse([name for name in opened if "memfd:" in name and "nohuge" not in name
                          and "vhost-dp-rings" not in name], opened)
        # the names are right: QEMU has both
        names = " ".join(files_of(self.guest.pid)[1])
        self.assertIn("memfd:vhost-dp-rings", names)
        self.assertIn("memfd:memory-backend-memfd", names)

    def test_c_peer_dies(self):
        """testpmd is killed and started again under traffic, and the traffic returns"""
        with self.traffic():
            for _ in range(self.restarts):
                self.restart()
                self.works()
        self.transfer(4)
        self.assertGreater(self.info()["peer"]["connects"], self.restarts)
        self.assertEqual(self.info()["peer"]["violations"], [])

    def test_d_peer_stops(self):
        """testpmd is stopped for a while: QEMU and the guest go on, and the traffic returns"""
        with self.traffic():
            time.sleep(0.5)
            self.nic.switch.signal(signal.SIGSTOP)
            try:
                for _ in range(20):
                    self.info()
                    self.guest.sh("true", timeout=20)
                    time.sleep(0.1)
                self.guest.qmp.command("stop", timeout=5)
                self.guest.qmp.command("cont", timeout=5)
            finally:
                self.nic.switch.signal(signal.SIGCONT)
            self.works()
        self.transfer(4)

    def test_e_peer_stops_and_dies(self):
        """testpmd is killed while it is stopped"""
        with self.traffic():
            self.nic.switch.signal(signal.SIGSTOP)
            time.sleep(0.5)
            self.restart()
            self.works()


class SwitchedSplit(Switched):
    packed = False
    restarts = 2
    test_b_shares_its_own_memory_only = test_d_peer_stops = test_e_peer_stops_and_dies = None


class Modes(PeerCase):
    """testpmd listens, and is source, sink or mirror."""

    title = "testpmd alone"

    @classmethod
    def setUpClass(cls):
        cls.peer = testpmd.Testpmd()
        cls.addClassCleanup(cls.peer.close)
        cls.start_peer("rxonly")
        # QEMU finds the socket by a name that can be taken away
        cls.name = cls.peer.socket + ".qemu"
        os.symlink(cls.peer.socket, cls.name)
        cls.nic = Nic(0, {"type": "vhost-dp", "id": "vd0", "driver": "vu0"},
                      [{"qom-type": "vhost-dp-vhost-user", "id": "vu0", "path": cls.name}])
        cls.guest = Guest(cls.setup.qemu, cls.setup.image, cls.nic.arguments(named=True), accel=cls.setup.accel)
        cls.addClassCleanup(cls.guest.close)
        cls.guest.start()
        cls.guest.wait_ready()
        cls.guest.sh(cls.nic.net_up)

    @classmethod
    def start_peer(cls, mode):
        cls.peer.command = [re.sub("--forward-mode=.*", f"--forward-mode={mode}", word) for word in cls.peer.command]
        cls.peer.start()
        cls.peer.wait(lambda: "binding succeeded" in cls.peer.said(), "does not start")

    def end_peer(self):
        self.peer.kill()
        self.wait_link(False)
        if os.path.exists(self.peer.socket):    # of the one that was killed
            os.unlink(self.peer.socket)

    def change(self, mode):
        self.end_peer()
        self.start_peer(mode)
        self.wait_link(True)

    def connections(self):
        """How many there are to the peer's socket, accepted or not."""
        with open("/proc/net/unix") as sockets:
            return sum(line.split()[-1] == self.peer.socket for line in sockets) - 1    # the listening one

    def flood(self, count):
        sent = self.guest.sh(f"udp-flood eth0 02:00:00:00:00:01 192.0.2.77 {count}", timeout=120)
        self.assertEqual(int(sent.split()[-1]), count)

    def test_rxonly(self):
        """a sink"""
        self.change("rxonly")
        before = self.counted("tx")
        self.flood(5000)
        self.wait_until(lambda: self.counted("tx") >= before + 5000, "5000 frames", 30)

    def test_macswap(self):
        """a mirror: what the guest sends comes back"""
        self.change("macswap")
        before = self.counted("rx")
        self.flood(5000)
        # more than the buffers of testpmd hold may be lost, by testpmd
        self.wait_until(lambda: self.counted("rx") > before + 500, "frames that come back", 30)

    def test_txonly(self):
        """a source, as fast as it can"""
        self.guest.sh("ip link set eth0 promisc on")    # the frames are for another address
        self.change("txonly")
        before = self.counted("rx")
        self.wait_until(lambda: self.counted("rx") > before + 5000, "5000 frames", 60)
        self.change("rxonly")
        self.guest.sh("ip link set eth0 promisc off", timeout=60)

    def _without_descriptors(self, room):
        self.end_peer()
        os.unlink(self.name)
        self.start_peer("rxonly")
        pid = self.peer.process.pid
        used = set(map(int, os.listdir(f"/proc/{pid}/fd")))
        free = [number for number in range(len(used) + room + 1) if number not in used]
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[room], limits[1]))
        os.symlink(self.peer.socket, self.name)
        self.wait_until(lambda: self.connections() > 0, "a connection", 30)
        for _ in range(20):
            self.assertFalse(self.info()["link-up"], "testpmd cannot have got what it needs")
            time.sleep(0.1)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        # what it missed makes it say no, or nothing: then the connection begins anew
        self.wait_link(True, 90)

    def test_no_descriptors(self):
        """testpmd has no room for the descriptors that it gets: QEMU tries again until it has"""
        for room, why in ((0, "not for the connection"), (1, "for the connection only")):
            with self.subTest(why):
                self._without_descriptors(room)


def main():
    parser = program.parser("Test vhost-dp-vhost-user with testpmd. Prints TAP.")
    args = parser.parse_args()
    args.driver = "vhost-user"
    try:
        BACKENDS["vhost-user"].missing()
        GuestCase.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    tap.run([Switched, SwitchedSplit, Modes])


if __name__ == "__main__":
    main()
