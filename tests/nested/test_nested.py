#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run device tests inside a guest, with modules of its kernel that this machine may not have.

The guest has this build's QEMU, which runs there under -accel qtest, and the programs that are named on the
command line, which drive it. What they print comes back over a serial port and is printed as one TAP.

    test_nested.py --build-dir build tap-test@vhost-dp-vhost-net:-p:/x86_64/vhost-dp/tap/down

Behind the @ is a driver that is used in place of vhost-dp-tap, behind colons are arguments of the test.
"""

import argparse
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "guest"))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import mkimage                                              # noqa: E402
from harness import docs, tap                                   # noqa: E402
from harness.guest import Guest, GuestError                 # noqa: E402
from harness.hardware import firmware_arguments             # noqa: E402
from harness.netns import Missing                           # noqa: E402
import image                                                # noqa: E402

# What the tests and the drivers under test need of the kernel
MODULES = ["tun", "veth", "macvtap", "vhost_net"]

# QEMU, the tests, and twice the initramfs, until the kernel has unpacked it
MEMORY = 1024

# The kernel's own words about a fault, in the guest's console
FAULT = re.compile(r"BUG:|Oops|WARNING: CPU|general protection|Call Trace|Kernel panic")

RESULT = re.compile(r"(not ok|ok)\b\s*\d*\s*-?\s*([^#]*?)\s*(# SKIP.*)?$")


class Test:
    """A program with its arguments, as on the command line."""

    def __init__(self, build, text):
        program, *self.arguments = text.split(":")
        program, _, self.driver = program.partition("@")
        self.program = os.path.join(build, "tests/qtest/vhost-dp", program)
        self.name = f"{program} on {self.driver}" if self.driver else program


class Results:
    """The results of all programs, as one TAP."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def case(self, ok, name):
        self.count += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name}", flush=True)

    def program(self, name, status, output):
        """Take over what the program `name` printed before it ended with `status`."""
        plan = None
        seen = failed = 0
        for line in output.splitlines():
            found = RESULT.match(line)
            if found:
                seen += 1
                failed += found[1] != "ok"
                # The guest is there to have all that a test may need
                self.case(found[1] == "ok" and not found[3], f"{name}: {found[2]}")
                if found[3]:
                    tap.comment(f"skipped in the guest: {found[3]}")
            elif re.match(r"1\.\.\d+", line):
                plan = int(line.split()[0][3:])
        if not seen or plan != seen or bool(status) != bool(failed):
            self.case(False, f"{name} ended with status {status} after {seen} of {plan} cases")
        if status:
            tap.comment(output)

    def finish(self):
        print(f"1..{self.count}", flush=True)
        sys.exit(1 if self.failed or not self.count else 0)


def run(guest, results, qemu, test, timeout):
    environment = f"QTEST_QEMU_BINARY={qemu} VHOST_DP_QTEST_OWNS_HOST=1"
    if test.driver:
        environment += f" VHOST_DP_QTEST_TAP_DRIVER={test.driver}"
    began = time.monotonic()
    # What a test that hangs has printed is wanted, too
    status, output = guest.sh(f"cd /tmp && {environment} timeout -s ABRT {timeout} "
                              f"{test.program} --tap {' '.join(test.arguments)}",
                              timeout=timeout + 60, check=False)
    results.program(test.name, status, output)
    tap.comment(f"{test.name}: {time.monotonic() - began:.0f} s")


def boot(guest, results):
    """Boot, and see that the kernel has what the tests need."""
    guest.start()
    guest.wait_ready(180)
    tap.comment(f"kernel {guest.sh('uname -r').strip()}, modules {', '.join(MODULES)}")
    status, said = guest.sh(f"modprobe -a {' '.join(MODULES)} && ls -l /dev/net/tun /dev/vhost-net", check=False)
    if status:
        tap.comment(said)
    results.case(status == 0, "the guest's kernel has tun and vhost-net")
    return status == 0


def example(guest, results, qemu, page):
    """Run the example of a driver's page as it is written, up to the guest, which -accel qtest has none of."""
    before, command, _ = docs.example(page)
    wrapper = f'exec {qemu} "$@" -accel qtest -nodefaults -display none -monitor stdio'
    status, output = guest.sh(f"""set -e
        mkdir -p /tmp/example /etc
        echo root:x:0:0::/:/bin/sh >/etc/passwd
        echo 1 >/proc/sys/vm/overcommit_memory    # the example's guest may be larger than this one
        cd /tmp/example
        dd if=/dev/zero of=guest.img bs=1M count=1 2>/dev/null
        echo '#!/bin/sh' >qemu-system-x86_64
        echo '{wrapper}' >>qemu-system-x86_64
        chmod +x qemu-system-x86_64
        export USER=root PATH=/tmp/example:$PATH
        ip() {{ /nested/ip "$@"; }}    # busybox's shell prefers its own to what is in PATH
        {before}
        (echo info vhost-dp; echo quit) | {command}""", timeout=60, check=False)
    good = not status and re.search(rf"driver \S+ \(vhost-dp-{page}\), .*, link up", output)
    results.case(bool(good), f"the example of {page}.rst")
    if not good:
        tap.comment(output)


def no_faults(guest):
    """What the guest's kernel complained of, which the tests may not make it do."""
    return [line for line in guest.sh("dmesg").splitlines() if FAULT.search(line)]


def main():
    parser = argparse.ArgumentParser(description="Run device tests inside a guest. Prints TAP.")
    parser.add_argument("--build-dir", metavar="DIR", default=os.path.join(HERE, "..", "..", "build"))
    parser.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="of each test (%(default)s)")
    parser.add_argument("--example", action="append", default=[], metavar="PAGE",
                        help="run the example of this page of docs/system/devices/vhost-dp, too")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="a program of tests/qtest/vhost-dp in the build directory")
    args = parser.parse_args()
    build = os.path.realpath(args.build_dir)
    qemu = os.path.join(build, "qemu-system-x86_64")
    tests = [Test(build, text) for text in args.tests]

    results = Results()
    try:
        firmware_arguments(qemu)
        base = mkimage.make_image(os.path.join(build, "guest"), say=tap.comment)
        made = image.make_image(base, os.path.join(build, "nested"), qemu,
                                sorted({test.program for test in tests}))
    except Missing as e:
        tap.skip_all(str(e))
    except (mkimage.ImageError, OSError) as e:
        tap.bail_out(str(e))
    with Guest(qemu, made, memory=MEMORY, accel="tcg") as guest:
        try:
            if boot(guest, results):
                for test in tests:
                    run(guest, results, qemu, test, args.timeout)
                for page in args.example:
                    example(guest, results, qemu, page)
                faults = no_faults(guest)
                tap.comment("\n".join(faults))
                results.case(not faults, "the guest's kernel found no fault")
        except GuestError as e:
            tap.comment(str(e))
            results.case(False, "the guest went on")
    results.finish()


if __name__ == "__main__":
    main()
