# SPDX-License-Identifier: GPL-2.0-or-later
"""How the programs of this directory begin: options, signals, the namespace, QEMU and the image."""

import argparse
import os
import signal

import mkimage

from . import hardware, netns
from .backends import BACKENDS

_HERE = os.path.dirname(os.path.realpath(__file__))


def parser(description):
    """An option parser with the options that all programs have."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--build-dir", metavar="DIR",
                        default=os.path.join(_HERE, "..", "..", "..", "build"),
                        help="where QEMU was built (default: build/ of this repository)")
    result.add_argument("--qemu", metavar="FILE", help="a QEMU elsewhere")
    result.add_argument("--image-dir", metavar="DIR",
                        help="where the guest image is kept (default: guest/ of the build directory)")
    result.add_argument("--driver", choices=BACKENDS, default="tap",
                        help="the back end of the guest's NIC (default: %(default)s)")
    result.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto",
                        help="how the guest runs (default: kvm where it works, otherwise tcg)")
    return result


def _end(*_):
    raise KeyboardInterrupt


class Program:
    """What a program works with: `qemu`, `image`, `backend` and `accel`."""

    def __init__(self, args, say=lambda text: None):
        """Enter the namespace (which starts the program again) and see to everything that a guest
        needs. Raises netns.Missing for what this machine lacks, others for what is wrong."""
        signal.signal(signal.SIGTERM, _end)    # so that clean-up happens
        build = os.path.realpath(args.build_dir)
        self.qemu = args.qemu or os.path.join(build, "qemu-system-x86_64")
        if not os.access(self.qemu, os.X_OK):
            raise FileNotFoundError(f"there is no QEMU at {self.qemu}: build it with 'make', or say where "
                                    "it is with --build-dir or --qemu")
        self.backend = BACKENDS[args.driver]
        self.backend.missing()
        hardware.firmware_arguments(self.qemu)    # says what is missing

        def make_image():
            self.image = mkimage.make_image(args.image_dir or os.path.join(build, "guest"), say=say)

        netns.enter(before=make_image)    # fetching the kernel needs the machine's network
        make_image()
        self.accel = hardware.accelerator(self.qemu, self.image) if args.accel == "auto" else args.accel
