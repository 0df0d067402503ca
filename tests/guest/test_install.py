#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is installed works: by 'make install', below another prefix, and from the Debian package."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from harness import program, tap
from harness.guest import Guest
from harness.netns import Missing
from mkimage import ImageError

_SCRIPT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "scripts", "package.py")


class Installed(unittest.TestCase):
    setup = None
    build = None

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="vhost-dp-")
        self.addCleanup(scratch.cleanup)
        self.place = scratch.name

    def package(self, *words):
        done = subprocess.run([sys.executable, "-B", _SCRIPT, words[0], "--build-dir", self.build, *words[1:]],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def check(self, qemu):
        """The program is complete, and runs a guest."""
        said = subprocess.run([qemu, "--version"], check=True, capture_output=True, text=True).stdout
        with open(os.path.join(self.build, "src", "VERSION"), encoding="utf-8") as version:
            self.assertIn("QEMU emulator version " + version.read().strip(), said)
        said = subprocess.run([qemu, "-object", "help"], check=True, capture_output=True, text=True).stdout
        self.assertIn("vhost-dp-tap", said)
        with Guest(qemu, self.setup.image, accel=self.setup.accel, arguments=[
                "-object", "vhost-dp-slirp,id=s0", "-netdev", "vhost-dp,id=vd0,driver=s0",
                "-device", "virtio-net-pci,netdev=vd0"]) as guest:
            guest.start()
            guest.wait_ready()
            guest.sh("set -e\nip link set eth0 up\nip address add 10.0.2.15/24 dev eth0\nping -c 3 10.0.2.2")
            self.assertEqual(guest.quit(), 0)

    def test_install(self):
        """make install DESTDIR=, with a prefix of one's own"""
        self.package("install", "--destdir", self.place, "--prefix", "/opt/vhost-dp")
        self.check(os.path.join(self.place, "opt/vhost-dp/bin/qemu-system-x86_64"))

    def test_package(self):
        """the Debian package: beside the distribution's QEMU, and with the documentation"""
        if not shutil.which("dpkg-deb"):
            self.skipTest("this is no Debian system")
        self.package("deb", "--output", self.place)
        [package] = glob.glob(os.path.join(self.place, "*.deb"))
        fields = subprocess.run(["dpkg-deb", "-f", package], check=True, capture_output=True, text=True).stdout
        self.assertRegex(fields, r"(?m)^Depends: .*\blibc6 .*\bseabios\b")
        root = os.path.join(self.place, "root")
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        self.check(os.path.join(root, "usr/bin/qemu-system-x86_64-vhost-dp"))
        files = [os.path.relpath(os.path.join(where, name), root) for where, _, names in os.walk(root) for name in names]
        for name in files:
            self.assertRegex(name, r"^usr/(lib/qemu-vhost-dp/|bin/[^/]*-vhost-dp$|share/doc/qemu-system-x86-vhost-dp/)")
        self.assertTrue(any(name.endswith("/vhost-dp/tap.rst") for name in files))


def main():
    args = program.parser("Test what is installed. Prints TAP.").parse_args()
    Installed.build = os.path.realpath(args.build_dir)
    try:
        Installed.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    tap.run([Installed])


if __name__ == "__main__":
    main()
