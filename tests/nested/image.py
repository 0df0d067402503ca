# SPDX-License-Identifier: GPL-2.0-or-later
"""The image of the nested tests: the guest image of tests/guest, and this build's QEMU and device
tests in it, at the places where they are on this machine.

An initramfs may be several archives, one behind the other, so what the two have in common is made once.
The archive that is added is not compressed: the guest would take longer to unpack it than to copy it.
"""

import os
import re
import subprocess
import tempfile

import mkimage
from harness import hardware

# Firmware of the machines that the tests have, which have no display
FIRMWARE = ["bios-256k.bin", "kvmvapic.bin", "efi-virtio.rom"]

# What the examples of the documentation use, and busybox cannot do: in /nested of the image
PROGRAMS = ["ip"]


def _libraries(program):
    said = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return re.findall(r"(?:=>\s+)?(/\S+) \(0x", said)


def _firmware(qemu):
    """{path in the image: path on this machine}: where QEMU looks first, and so finds it there."""
    folders = subprocess.run([qemu, "-L", "help"], check=True, capture_output=True, text=True).stdout.split("\n")
    folders += [argument for argument in hardware.firmware_arguments(qemu) if argument != "-L"]
    files = {}
    for name in FIRMWARE:
        found = [os.path.join(each, name) for each in folders if os.path.exists(os.path.join(each, name))]
        if not found:
            raise mkimage.ImageError(f"there is no {name} on this machine: install the packages seabios and "
                                     "qemu-system-data")
        files[os.path.join(folders[0], name)] = found[0]
    return files


def _stripped(program):
    """A program's content without its symbols, which are two thirds of it."""
    with tempfile.NamedTemporaryFile() as out:
        try:
            subprocess.run(["strip", "-o", out.name, program], check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise mkimage.ImageError("strip is not installed: install the package binutils") from None
        except subprocess.CalledProcessError as e:
            raise mkimage.ImageError(f"strip {program}: {e.stderr.strip()}") from None
        with open(out.name, "rb") as f:
            return f.read()


def _archive(programs, plain):
    archive = mkimage.Cpio()
    for path in programs:
        archive.file(path.lstrip("/"), _stripped(path), 0o755)
    for inside, path in sorted(plain.items()):
        with open(path, "rb") as f:
            archive.file(inside.lstrip("/"), f.read(), 0o755)
    return archive.finish()


def make_image(image, output, qemu, tests):
    """Make what is missing or out of date under the directory `output`.

    `image` is what mkimage.make_image() returned, `tests` the programs to run. Returns kernel and initramfs.
    """
    programs = [qemu, *tests]
    tools = {"nested/" + name: mkimage.find_program(name) for name in PROGRAMS}
    plain = _firmware(qemu) | tools
    for program in [*programs, *tools.values()]:
        if not os.access(program, os.X_OK):
            raise mkimage.ImageError(f"there is no {program}: build it with 'make'")
        plain |= {library: library for library in _libraries(program)}
    os.makedirs(output, exist_ok=True)
    return mkimage.add_archive(image, os.path.join(output, "initramfs"), _archive(programs, plain))
