# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests for a guest's class: the guest changes its offloads (ethtool -K) while the NIC is in use."""

# What the guest's kernel leaves to the device: checksums of what it sends, segmentation of what it sends,
# segments of what it receives (VIRTIO_NET_CTRL_GUEST_OFFLOADS). The second needs the first.
_COMBINATIONS = [(False, False, False), (True, False, False), (True, True, False),
                 (False, False, True), (True, True, True)]


class OffloadTests:
    """A mix-in for a GuestCase."""

    def _set_offloads(self, checksums, segmentation, large):
        names = {"tx": checksums, "tso": segmentation, "rx-gro-hw": large}
        self.guest.sh("ethtool -K eth0 "
                      + " ".join(f"{name} {'on' if on else 'off'}" for name, on in names.items()))
        self.wait_until(lambda: ("tso4" in self._offloads()["guest-offloads"]) == large,
                        f"rx-gro-hw {large} in query-vhost-dp")

    def _offloads(self):
        return self.guest.qmp.command("query-vhost-dp")[0]

    def _soft(self):
        """What vhost-dp has done in software."""
        queues = self._offloads()["queues"]
        return {(way, what): sum(queue[way][f"software-{what}"] for queue in queues)
                for way in ("rx", "tx") for what in ("checksums", "segments")}

    def _expected(self, checksums, segmentation, large):
        """What has to be done in software for transfers with TCP both ways, over IPv4 and IPv6."""
        driver = set(self._offloads()["tx-offloads"])
        return {("tx", "checksums"): checksums and "csum" not in driver,
                ("tx", "segments"): segmentation and not {"tso4", "tso6"} <= driver,
                ("rx", "segments"): not large and not self.setup.backend.is_told}

    def test_offload_combinations(self):
        """each combination of offloads, set while running: 4 MB both ways, and who does the work"""
        for combination in _COMBINATIONS:
            with self.subTest("checksums {}, segmentation {}, large frames to the guest {}".format(*combination)):
                self._set_offloads(*combination)
                before = self._soft()
                self.transfer(4)
                self.transfer(1, self.nic.host6)
                after = self._soft()
                for what, expected in self._expected(*combination).items():
                    self.assertEqual(after[what] > before[what], expected,
                                     f"{what} done in software: {after[what] - before[what]}")

    def test_offload_changes(self):
        """offloads change under traffic; then 8 MB both ways"""
        with self.traffic():
            for combination in _COMBINATIONS + _COMBINATIONS[::-1]:
                self._set_offloads(*combination)
                self.host_pings()
            self.guest_reaches(self.nic.host4)
        self._set_offloads(True, True, True)
        self.transfer(8)
