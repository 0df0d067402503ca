#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stress vhost-dp behind an IOMMU: as stress.py, with an intel-iommu in front of the NICs.

The guest maps each buffer and unmaps it when it is done with it, through ATS, and everything that
stress.py does happens meanwhile. One more kind of loop lets a device pass the IOMMU, or no longer.
"""

import stress


class IommuStress(stress.Stress):
    """The same, and what can be done to an IOMMU."""

    GUEST = {"machine": "q35,kernel-irqchip=split", "append": "intel_iommu=on iommu.strict=1"}

    WEIGHTS = stress.Stress.WEIGHTS | {"pass": 2}

    def make_nic(self, number, setup):
        nic = super().make_nic(number, setup)
        # ATS is for Express devices, which a port's are
        nic.device = {"bus": f"port{number}", "iommu_platform": True, "ats": True}
        return nic

    def more_arguments(self):
        arguments = ["-device", "intel-iommu,intremap=off,device-iotlb=on"]
        for number in range(stress.NICS):
            arguments += ["-device", f"pcie-root-port,id=port{number},chassis={number}"]
        return arguments

    def loop_pass(self, nic):
        """The guest's kernel lets the device pass the IOMMU, or no longer."""
        kind = self.random.choice(("identity", "DMA"))
        self.guest.sh(f"dev=$({nic.net_up} | head -n 1) && pci=$(readlink -f /sys/class/net/$dev/device/..) && "
                      "cd /sys/bus/pci/drivers/virtio-pci && echo ${pci##*/} > unbind && "
                      f"echo {kind} > $pci/iommu_group/type && echo ${{pci##*/}} > bind")
        self.net_up(nic)


class IommuStressTest(stress.StressTest):
    subject = IommuStress


def main():
    IommuStressTest.title = "stress behind an IOMMU"
    options = stress.parser(__doc__.splitlines()[0] + " Prints TAP.", IommuStress.WEIGHTS)
    stress.run(IommuStressTest, options.parse_args())


if __name__ == "__main__":
    main()
