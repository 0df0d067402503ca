#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Several drivers side by side: one guest with a NIC on each of them, all on one IOThread."""

from harness import program, tap
from harness.backends import BACKENDS
from harness.books import Books, Flood
from harness.case import GuestCase, no_faults
from harness.guest import Guest
from harness.httpd import MB, FileServer
from harness.netns import Missing
from mkimage import ImageError


class SideBySide(GuestCase):
    title = "drivers on one IOThread"
    DRIVERS = ["tap", "af-packet", "slirp"]
    PRIVILEGED = "af-xdp"
    without = None          # why that one is missing

    @classmethod
    def setUpClass(cls):
        cls.backends = [BACKENDS[name] for name in cls.DRIVERS]
        cls.nics = [backend.nic(number, iothread="io0") for number, backend in enumerate(cls.backends)]
        cls.server = FileServer()
        cls.addClassCleanup(cls.server.close)
        arguments = ["-name", "guest,debug-threads=on", "-object", "iothread,id=io0"]
        for nic in cls.nics:
            arguments += nic.arguments(named=True)
        cls.guest = Guest(cls.setup.qemu, cls.setup.image, arguments, accel=cls.setup.accel)
        cls.addClassCleanup(cls.guest.close)
        cls.guest.start()
        for backend, nic in zip(cls.backends, cls.nics):
            backend.host_up(nic)
        cls.guest.wait_ready()
        for nic in cls.nics:
            cls.guest.sh(nic.net_up)

    @classmethod
    def tearDownClass(cls):
        no_faults(cls.guest)
        status = cls.guest.quit()
        if status:
            raise AssertionError(f"QEMU ended with status {status}")

    def _moved(self):
        """Bytes of each NIC so far, both ways."""
        infos = {info["id"]: info for info in self.guest.qmp.command("query-vhost-dp")}
        return [sum(infos[nic.netdev["id"]]["queues"][0][way]["bytes"] for way in ("rx", "tx"))
                for nic in self.nics]

    def test_a_privileged(self):
        """the driver that only root may use is among them"""
        if self.without:
            self.skipTest(self.without)
        self.assertIn(self.PRIVILEGED, self.DRIVERS)

    def test_a_thread(self):
        """all run in the IOThread that they were given"""
        infos = self.guest.qmp.command("query-vhost-dp")
        self.assertEqual(sorted(info["driver-type"] for info in infos),
                         sorted(f"vhost-dp-{name}" for name in self.DRIVERS))
        self.assertEqual({queue["iothread"] for info in infos for queue in info["queues"]}, {"io0"})
        self.assertEqual(len({queue["thread-id"] for info in infos for queue in info["queues"]}), 1)

    def test_b_one_by_one(self):
        """8 MB both ways on each"""
        for nic in self.nics:
            with self.subTest(nic.netdev["driver"]):
                self.guest_pings(nic.host4)
                self.transfer(8, nic.host4)

    def test_c_all_at_once(self):
        """16 MB to the guest on all of them at the same time, and 4 MB back"""
        size = 16 * MB
        part = 4 * MB
        before = self._moved()
        gets = " ".join(
            f"(wget -q -O /tmp/data{nic.number} http://{nic.host4}:{self.server.PORT}/data/{size}; "
            f"head -c {part} /tmp/data{nic.number} > /tmp/part{nic.number}; "
            f"http-put /tmp/part{nic.number} {nic.host4} {self.server.PORT} back > /tmp/sum{nic.number}) &"
            for nic in self.nics)
        self.guest.sh(gets + " wait", timeout=120)
        for nic, was, is_now in zip(self.nics, before, self._moved()):
            with self.subTest(nic.netdev["driver"]):
                received, sent = self.guest.sh(
                    f"sha256sum < /tmp/data{nic.number}; cat /tmp/sum{nic.number}; "
                    f"rm /tmp/*{nic.number}").splitlines()
                self.assertEqual(received.split()[0], self.server.sha256(size), "what the guest received is damaged")
                self.assertEqual(sent, self.server.sha256(part), "what the guest sent arrived damaged")
                self.assertGreater(is_now - was, size + part)

    def test_d_none_starves(self):
        """a flood for one leaves the others their share; every frame of it is accounted for"""
        for flooded, backend in zip(self.nics, self.backends):
            if not backend.host_is_peer:
                continue
            with self.subTest(flooded.netdev["driver"]):
                books = Books(self, flooded, backend)
                with Flood(flooded.guest4) as flood:
                    for nic in self.nics:
                        if nic is not flooded:
                            before = flood.sent
                            self.guest_reaches(nic.host4)
                            self.assertGreater(flood.sent - before, 1000, "that was no flood")
                counts = books.settle()
                arrived = counts["guest udp NoPorts"]
                self.assertGreater(arrived, 0)
                lost = Books.drops(counts, "rx") + counts["host lost"]
                self.assertTrue(flood.sent <= arrived + lost <= flood.sent + 100,
                                f"{flood.sent} were sent, {arrived} arrived: {counts}")
                tap.comment(f"{flooded.netdev['driver']}: {flood.sent} datagrams sent, {arrived} arrived")

    def test_e_one_goes(self):
        """a NIC and its driver go, and the others go on"""
        nic = self.nics[0]
        for other in self.nics[1:]:
            self.guest.background(f"ping{other.number}", f"ping -q -A -s 500 {other.host4}")
        self.guest.qmp.command("device_del", id=nic.id)
        self.guest.qmp.wait_event("DEVICE_DELETED", timeout=60, device=nic.id)
        self.guest.qmp.command("netdev_del", id=nic.netdev["id"])
        self.guest.qmp.command("object-del", id=nic.objects[0]["id"])
        for other in self.nics[1:]:
            self.guest_reaches(other.host4)
            self.guest.stop(f"ping{other.number}")
            self.transfer(1, other.host4)


def main():
    args = program.parser("Test several vhost-dp drivers on one IOThread. Prints TAP.").parse_args()
    try:
        for name in SideBySide.DRIVERS:
            BACKENDS[name].missing()
        try:
            BACKENDS[SideBySide.PRIVILEGED].missing()
            SideBySide.DRIVERS.append(SideBySide.PRIVILEGED)
        except Missing as e:
            SideBySide.without = str(e)
        GuestCase.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    tap.run([SideBySide])


if __name__ == "__main__":
    main()
