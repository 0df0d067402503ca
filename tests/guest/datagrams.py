# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests for a guest's class: small UDP datagrams in masses, and where every frame of them went."""

import socket

from harness import netns
from harness.books import Books, flood

_SEGMENT = 1000
_UDP_SEGMENT = 103      # linux/udp.h; of SOL_UDP


class DatagramTests:
    """A mix-in for a GuestCase whose back end keeps_books."""

    DATAGRAMS = 12000

    def _flood_from_guest(self):
        mac = netns.link(self.nic.interface)["address"]
        out = self.guest.sh(f"udp-flood eth0 {mac} {self.nic.host4} {self.DATAGRAMS // self.cpus}")
        return int(out.split()[-1])

    def test_udp_from_guest(self):
        """every frame accounted for: small datagrams from all of the guest's CPUs"""
        books = Books(self)
        before = [pair["tx"]["packets"] for pair in self._pairs()]
        sent = self._flood_from_guest()
        counts = books.settle()
        self.assertEqual(sent, self.DATAGRAMS // self.cpus * self.cpus, "pktgen did not send them all")
        for pair, packets in zip(self._pairs(), before):
            self.assertGreater(pair["tx"]["packets"] - packets, 0.9 * sent / self.cpus)
        # Nobody listens at the port: the host checks their sums, and counts them so
        arrived = counts["host udp NoPorts"]
        self.assertEqual(counts["host udp InCsumErrors"], 0)
        lost = Books.drops(counts, "tx") + counts["host received lost"]
        self.assertTrue(sent <= arrived + lost <= sent + 100, f"{sent} were sent, {arrived} arrived: {counts}")

    def _check_to_guest(self, sent, counts):
        arrived = counts["guest udp NoPorts"]
        self.assertEqual(counts["guest udp InCsumErrors"], 0)
        lost = Books.drops(counts, "rx") + counts["host lost"]
        self.assertTrue(sent <= arrived + lost <= sent + 100, f"{sent} were sent, {arrived} arrived: {counts}")

    def test_udp_to_guest(self):
        """every frame accounted for: small datagrams to the guest, faster than it can take them"""
        books = Books(self)
        sent = flood(self.nic.guest4, self.DATAGRAMS)
        self._check_to_guest(sent, books.settle())

    def test_udp_to_stopped_guest(self):
        """every frame accounted for: the guest is stopped, and the host's queue runs over"""
        books = Books(self)
        self.guest.qmp.command("stop")
        sent = flood(self.nic.guest4, self.DATAGRAMS // 4)
        self.guest.qmp.command("cont")
        counts = books.settle()
        self._check_to_guest(sent, counts)
        self.assertGreater(Books.drops(counts, "rx") + counts["host lost"], 0, "so much fits in no queue")
        self.assertGreater(counts["guest udp NoPorts"], 0, "what was queued did not arrive")

    def test_udp_link_down(self):
        """every frame accounted for: the link is down for a part of the time"""
        books = Books(self)
        sent = 0

        def dropped():
            return Books.drops(books.now(), "rx", ("link-down",))

        for _ in range(3):
            before = dropped()
            self.guest.qmp.command("set_link", name=self.nic.id, up=False)
            sent += flood(self.nic.guest4, self.DATAGRAMS // 20)
            # Or the link may be up again before QEMU has seen any of them
            self.wait_until(lambda: dropped() > before, "a frame dropped for the link")
            self.guest.qmp.command("set_link", name=self.nic.id, up=True)
            sent += flood(self.nic.guest4, self.DATAGRAMS // 20)
        self._check_to_guest(sent, books.settle(links=True))

    def test_udp_segments(self):
        """datagrams that the host's kernel segments arrive one by one, or those of a call as one"""
        books = Books(self)
        calls, each = 20, 20
        before = self._received()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, _SEGMENT)
            for _ in range(calls):
                s.sendto(bytes(each * _SEGMENT), (self.nic.guest4, 9))
        wanted = {calls * each}
        if "uso4" in self.guest.qmp.command("query-vhost-dp")[0]["guest-offloads"]:
            # Linux 6.2 and later take them whole; nobody listens, so each counts once
            wanted.add(calls)

        def arrived():
            return (self._received() - before >= calls * each * _SEGMENT and
                    books.now()["guest udp NoPorts"] in wanted)

        self.wait_until(arrived, f"the arrival of {calls * each} datagrams")
        self.assertEqual(books.now()["guest udp InCsumErrors"], 0)

    def _received(self):
        return sum(pair["rx"]["bytes"] for pair in self._pairs())

    def _pairs(self):
        return self.guest.qmp.command("query-vhost-dp")[0]["queues"]
