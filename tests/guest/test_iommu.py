#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest whose IOMMU stands in front of the NIC: integrity and life cycle on a vhost-dp driver.

One class is one guest. They differ in the vIOMMU's options and in how the guest's kernel uses it:
strict unmaps each buffer when it is done with it, lazy much later and everything at once, and
pass-through lets the device go past the vIOMMU.
"""

from harness import program, tap
from harness.case import GuestCase
from harness.netns import Missing
from mkimage import ImageError

VARIANTS = {
    # The title: intel-iommu's options, the guest's kernel command line, the NIC's ring
    "strict, device-iotlb, packed": ("device-iotlb=on", "intel_iommu=on iommu.strict=1", True),
    "lazy, caching-mode": ("caching-mode=on", "intel_iommu=on iommu.strict=0", False),
    "strict": ("", "intel_iommu=on iommu.strict=1", False),
    "lazy, device-iotlb, caching-mode, packed":
        ("device-iotlb=on,caching-mode=on", "intel_iommu=on iommu.strict=0", True),
    "pass-through": ("", "intel_iommu=on iommu=pt", False),
    "pass-through, device-iotlb, packed": ("device-iotlb=on", "intel_iommu=on iommu=pt", True),
    "not used by the guest": ("", "intel_iommu=off", False),
}

# Of these, what is run if nothing else is asked for
QUICK = 2


class Iommu(GuestCase):
    """The tests; subclasses say which vIOMMU."""

    machine = "q35,kernel-irqchip=split"
    translates = True
    ats = False

    def _misses(self):
        queue = self.guest.qmp.command("query-vhost-dp")[0]["queues"][0]
        return {way: (queue[way]["iotlb-hits"], queue[way]["iotlb-misses"]) for way in ("rx", "tx")}

    def _uses_ats(self):
        """Has the guest enabled ATS of the NIC? (PCI Express, the extended capability 15)"""
        config = bytes.fromhex(self.guest.sh(
            "hexdump -v -e '1/1 \"%02x\"' /sys/class/net/eth0/device/../config"))
        at = 0x100
        while at and len(config) > at:
            header = int.from_bytes(config[at:at + 4], "little")
            if header & 0xffff == 15:
                return bool(config[at + 7] & 0x80)
            at = header >> 20
        return False

    def _works(self):
        self.host_pings()
        self.guest_reaches(self.nic.host4)

    def test_a_transfer(self):
        """ping and 16 MB both ways; the vIOMMU is asked if it translates"""
        self.guest_pings(self.nic.host4)
        self.host_pings()
        self.transfer(16)
        self.assertEqual(self._uses_ats(), self.ats)
        for way, (hits, misses) in self._misses().items():
            if self.translates:
                self.assertGreater(hits, 1000, way)
                self.assertGreater(misses, 10, way)
            else:
                self.assertEqual(misses, 0, f"{way}: a vIOMMU that lets the device pass was asked")

    def test_b_life_cycle(self):
        """under traffic: stop, cont, link down and up, the driver lets go and comes back"""
        with self.traffic():
            for _ in range(5):
                self.guest.qmp.command("stop")
                self.guest.qmp.command("cont")
            self._works()
            self.guest.qmp.command("set_link", name=self.nic.id, up=False)
            self.guest.qmp.command("set_link", name=self.nic.id, up=True)
            self.wait_until(lambda: "1" in self.guest.sh("cat /sys/class/net/eth0/carrier"), "link up")
            self._works()
            for _ in range(2):
                self.guest.sh("cd /sys/bus/virtio/drivers/virtio_net && dev=$(basename virtio*) && "
                              "echo $dev > unbind && echo $dev > bind && " + self.nic.net_up)
                self._works()
        self.transfer(8)


def classes():
    for title, (options, append, packed) in VARIANTS.items():
        # Only an Express device, which a port's is, has ATS
        ats = "device-iotlb" in options
        yield type(Iommu)(f"Iommu {title}", (Iommu,), {
            "title": title, "append": append,
            "options": ["-device", ",".join(filter(None, ("intel-iommu,intremap=off", options))),
                        "-device", "pcie-root-port,id=port0,chassis=1"],
            "device": {"iommu_platform": True, "disable__legacy": True, "packed": packed,
                       "bus": "port0" if ats else "pcie.0", "ats": ats},
            "ats": ats, "translates": "iommu.strict" in append})


def main():
    options = program.parser("Test a guest with a vIOMMU on a vhost-dp driver. Prints TAP.")
    options.add_argument("--only", metavar="TEXT", default="",
                         help="run the guests whose title holds this text")
    options.add_argument("--quick", action="store_true", help=f"run the first {QUICK} guests")
    args = options.parse_args()
    try:
        GuestCase.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    chosen = [each for each in classes() if args.only in each.title]
    tap.run(chosen[:QUICK] if args.quick else chosen)


if __name__ == "__main__":
    main()
