# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests for a guest's class: frames that the guest did not ask for do not get to it."""

import socket

FOREIGN = bytes.fromhex("020000000099")
GROUP = bytes.fromhex("01005e010203")       # 224.1.2.3 and others
SOURCE = bytes.fromhex("0200000000aa")
ETHERTYPE = bytes.fromhex("88b5")           # IEEE 802, local experimental
COUNT = 20


class FilterTests:
    """A mix-in for a GuestCase whose host sends what it likes."""

    def _send(self, to, vlan=None):
        tag = bytes.fromhex("8100") + vlan.to_bytes(2, "big") if vlan else b""
        frame = (to + SOURCE + tag + ETHERTYPE).ljust(60, b"\0")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
            s.bind((self.nic.interface, 0))
            for _ in range(COUNT):
                s.send(frame)

    def _filtered(self):
        infos = self.guest.qmp.command("query-vhost-dp")
        return sum(drop["frames"] for info in infos for pair in info["queues"] for drop in pair["rx"]["drops"]
                   if drop["reason"] == "filtered")

    def _received(self):
        return int(self.guest.sh("cat /sys/class/net/eth0/statistics/rx_packets"))

    def _check_filtered(self, to, vlan=None):
        before = self._filtered()
        self._send(to, vlan)
        self.wait_until(lambda: self._filtered() >= before + COUNT, f"{COUNT} frames that are left out")

    def _check_delivered(self, to, vlan=None):
        before = self._received()
        self._send(to, vlan)
        self.wait_until(lambda: self._received() >= before + COUNT, f"{COUNT} frames in the guest")

    def test_filter_promiscuous(self):
        """frames for another station come while the guest is promiscuous"""
        self._check_filtered(FOREIGN)
        self.guest.sh("ifconfig eth0 promisc")
        self._check_delivered(FOREIGN)
        self.guest.sh("ifconfig eth0 -promisc")
        self._check_filtered(FOREIGN)

    def test_filter_multicast(self):
        """frames for a group come while the guest asks for all groups"""
        self._check_filtered(GROUP)
        self.guest.sh("ifconfig eth0 allmulti")
        self._check_delivered(GROUP)
        self.guest.sh("ifconfig eth0 -allmulti")
        self._check_filtered(GROUP)

    def test_filter_vlan(self):
        """frames of a VLAN come while the guest has an interface in it"""
        own = bytes.fromhex(self.nic.mac.replace(":", ""))
        self.guest.sh("modprobe 8021q")
        self._check_filtered(own, 5)
        self.guest.sh("ip link add link eth0 name eth0.5 type vlan id 5 && ip link set eth0.5 up")
        self._check_delivered(own, 5)
        self._check_filtered(own, 6)
        self.guest.sh("ip link del eth0.5")
        self._check_filtered(own, 5)
