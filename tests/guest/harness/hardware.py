# SPDX-License-Identifier: GPL-2.0-or-later
"""What this machine has for a guest to run on: firmware, and an accelerator."""

import os
import subprocess

from .netns import Missing

# Where Debian's packages seabios, qemu-system-data and ipxe-qemu put what a PC needs.
_FIRMWARE = {
    "bios-256k.bin": ("seabios", "/usr/share/seabios"),
    "linuxboot_dma.bin": ("qemu-system-data", "/usr/share/qemu"),
    "efi-virtio.rom": ("ipxe-qemu", "/usr/lib/ipxe/qemu"),
}


def firmware_arguments(qemu):
    """The -L options that `qemu` needs; one that is not installed looks in its build directory only."""
    listed = subprocess.run([qemu, "-L", "help"], capture_output=True, text=True, check=True).stdout
    arguments = []
    for name, (package, folder) in _FIRMWARE.items():
        if any(os.path.exists(os.path.join(known, name)) for known in listed.splitlines()):
            continue
        if not os.path.exists(os.path.join(folder, name)):
            raise Missing(f"there is no {name} on this machine: install the package {package}")
        arguments += ["-L", folder]
    return arguments


def _kvm_may_work():
    try:
        open("/dev/kvm", "r+b", buffering=0).close()
        with open("/proc/cpuinfo") as f:
            flags = next((line for line in f if line.startswith("flags")), "").split()
    except OSError:
        return False
    return "vmx" in flags or "svm" in flags


def accelerator(qemu, image, timeout=15):
    """"kvm" where KVM really boots the guest, which is tried, otherwise "tcg"."""
    from .guest import Guest, GuestError    # which imports this module

    if _kvm_may_work():
        try:
            with Guest(qemu, image, accel="kvm") as guest:
                guest.start()
                guest.wait_ready(timeout)
            return "kvm"
        except GuestError:
            pass
    return "tcg"
