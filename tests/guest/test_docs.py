#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages about drivers (docs/system/devices/vhost-dp/): all are there, and each one's example works as
it is written. So do those of the page about libvirt and tuning.

What is added to QEMU's command line is what the test has in place of a disk: a kernel, its firmware and
its monitor. It goes behind what the page says, by a qemu-system-x86_64 of the test's in PATH.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from harness import docs, netns, passt, program, tap
from harness.backends import BACKENDS
from harness.guest import Guest
from harness.netns import Missing
from mkimage import ImageError


# Pages whose example tests/nested runs, too: this machine may lack what it needs
NESTED = {"vhost-net": "/dev/vhost-net"}
# Pages whose example needs a program that is no driver's
WITH_PASST = ("stream",)


def _interfaces():
    return {name for _, name in socket.if_nameindex()}


def _remove_but(there):
    """Delete the interfaces that an example made: another one may use the same addresses."""
    for name in _interfaces() - there:
        if name in _interfaces():    # the other end of a veth pair goes with the first
            netns.ip("link", "del", name)


def _end_group(leader):
    """End all processes of a group whose leader we have started, and wait until they have."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        leader.poll()    # it is in the group until it has been waited for
        try:
            os.killpg(leader.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise RuntimeError(f"process group {leader.pid} does not end")


class Examples(unittest.TestCase):
    setup = None

    def check(self, page):
        before, command, in_guest = docs.example(page)
        directory = tempfile.TemporaryDirectory(prefix="vhost-dp-")
        self.addCleanup(directory.cleanup)
        with open(os.path.join(directory.name, "guest.img"), "wb") as disk:
            disk.truncate(1 << 20)
        environment = dict(os.environ, PATH=f"{directory.name}:{os.environ['PATH']}", USER="root")
        self.addCleanup(_remove_but, _interfaces())
        if page in WITH_PASST:
            passt.make_network()
            os.chmod(directory.name, 0o777)     # root's passt becomes nobody
        self.run_before(before, directory.name, environment)

        guest = Guest(self.setup.qemu, self.setup.image, accel=self.setup.accel)
        self.addCleanup(guest.close)
        wrapper = os.path.join(directory.name, "qemu-system-x86_64")
        with open(wrapper, "w") as f:
            f.write(f'#!/bin/sh\nexec {shlex.quote(self.setup.qemu)} "$@" {shlex.join(guest.command_line[1:])}\n')
        os.chmod(wrapper, 0o755)
        guest.command_line = ["env", f"--chdir={directory.name}", f"PATH={environment['PATH']}", "sh", "-e", "-c",
                              "exec " + command]
        guest.start()
        guest.wait_ready()
        guest.sh(f"set -e\n{in_guest}")

        for info in guest.qmp.command("query-vhost-dp"):
            for way in ("rx", "tx"):
                self.assertGreater(sum(pair[way]["packets"] for pair in info["queues"]), 0, f"{way}: {info}")
        self.assertEqual(guest.quit(), 0)

    def run_before(self, commands, directory, environment):
        """What comes before QEMU; programs that it leaves in the background end with the test."""
        shell = subprocess.Popen(["sh", "-e", "-c", commands], cwd=directory, env=environment, start_new_session=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)   # ours is TAP
        self.addCleanup(_end_group, shell)
        self.assertEqual(shell.wait(60), 0, commands)


# virsh, for the one command of the page. libvirt keeps one connection to the monitor, to which a descriptor
# belongs; here it is one monitor, too, and a connection for each command.
VIRSH = """\
import json, socket, sys
name, guest, *words = sys.argv[2:]
assert name == "qemu-monitor-command", name
fds = []
if words[0] == "--pass-fds":
    fds = [int(words[1])]
    words = words[2:]
monitor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
monitor.connect(sys.argv[1])
answers = monitor.makefile()
answers.readline()
for line, passed in ('{ "execute": "qmp_capabilities" }', []), (" ".join(words).replace("\\n", " "), fds):
    socket.send_fds(monitor, [line.encode()], passed)
    answer = {}
    while "return" not in answer:
        answer = json.loads(answers.readline())
        if "error" in answer:
            sys.exit(line + ": " + answer["error"]["desc"])
"""


class Libvirt(unittest.TestCase):
    """What the page says about libvirt, without libvirt: QEMU gets what it would get from it."""

    setup = None

    def start(self, arguments):
        guest = Guest(self.setup.qemu, self.setup.image, accel=self.setup.accel, arguments=arguments)
        self.addCleanup(guest.close)
        self.addCleanup(_remove_but, _interfaces())
        return guest

    def ping(self, guest):
        guest.sh("set -e\nip link set eth0 up\nip address add 198.51.100.2/24 dev eth0\nping -c 3 198.51.100.1")
        self.assertEqual(guest.quit(), 0)

    def test_xml(self):
        """the XML connects the guest to tap0, in the IOThread that libvirt makes"""
        guest = self.start(["-object", "iothread,id=iothread1", *docs.libvirt_arguments()])
        netns.ip("tuntap", "add", "mode", "tap", "name", "tap0", "vnet_hdr")
        netns.interface_up("tap0", "198.51.100.1/24", "fec0::1/64")
        guest.start()
        [info] = guest.qmp.command("query-vhost-dp")
        self.assertEqual(info["queues"][0]["iothread"], "iothread1")
        guest.wait_ready()
        self.ping(guest)

    def test_passed_descriptor(self):
        """the commands plug a device in whose macvtap interface somebody else has opened"""
        if os.geteuid() != 0 or not netns.users_are_the_hosts() or not os.access("/dev/net/tun", os.W_OK):
            self.skipTest("only root may open a macvtap interface")
        guest = self.start([])
        guest.command_line += ["-chardev", f"socket,id=virsh,path={guest.dir}/virsh,server=on,wait=off",
                               "-mon", "chardev=virsh,mode=control"]
        netns.ip("link", "add", "eth1", "type", "veth", "peer", "name", "outside")
        netns.ip("link", "set", "eth1", "up")
        netns.interface_up("outside", "198.51.100.1/24", "fec0::1/64")
        guest.start()
        guest.wait_ready()
        with open(os.path.join(guest.dir, "virsh.py"), "w") as f:
            f.write(VIRSH)
        commands = f"""
            mount -t sysfs none /sys    # the namespace's
            virsh() {{ {shlex.quote(sys.executable)} {guest.dir}/virsh.py {guest.dir}/virsh "$@"; }}
            {docs.virsh_commands()}"""
        done = subprocess.run(["unshare", "--mount", "sh", "-e", "-c", commands], capture_output=True, text=True,
                              timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        guest.sh("i=0; until test -e /sys/class/net/eth0 || test $i = 300; do i=$((i + 1)); sleep 0.1; done")
        self.ping(guest)


class Completeness(unittest.TestCase):
    setup = None

    def ask(self, what):
        """The first words of what -object says to a question for help."""
        text = subprocess.run([self.setup.qemu, "-object", what], check=True, capture_output=True, text=True).stdout
        return [line.split()[0] for line in text.splitlines() if line.startswith("  ")]

    def test_drivers(self):
        """every driver has a page, and its page has every option"""
        drivers = [name for name in self.ask("help") if name.startswith("vhost-dp-")]
        self.assertEqual(docs.pages(), sorted(name.removeprefix("vhost-dp-") for name in drivers))
        for driver in drivers:
            text = docs.text(driver.removeprefix("vhost-dp-"))
            for option in self.ask(f"{driver},help"):
                name = option.partition("=")[0]
                self.assertIn(f"``{name}=", text, f"option {name} of {driver}")


def _test(page):
    def test(self):
        try:
            if page in WITH_PASST:
                passt.need()
            elif page in BACKENDS:
                BACKENDS[page].missing()
        except Missing as e:
            self.skipTest(str(e))
        self.check(page)
    test.__doc__ = f"the example of {page}.rst"
    return test


def _nested_test(page, build):
    def test(self):
        with open(os.path.join(build, "meson-info", "intro-tests.json")) as f:
            commands = [each["cmd"] for each in json.load(f) if each["name"] == "nested"]
        self.assertTrue(any(f"--example {page}" in " ".join(command) for command in commands), commands)
    test.__doc__ = f"{NESTED[page]} is missing here: the nested suite runs the example of {page}.rst"
    return test


def main():
    args = program.parser("Test the examples of the documentation. Prints TAP.").parse_args()
    try:
        Examples.setup = Completeness.setup = Libvirt.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    for page in [*docs.pages(), docs.HOSTING]:
        if page in NESTED and not os.path.exists(NESTED[page]):
            test = _nested_test(page, args.build_dir)
        else:
            test = _test(page)
        setattr(Examples, f"test_{os.path.basename(page)}", test)
    tap.run([Completeness, Examples, Libvirt])


if __name__ == "__main__":
    main()
