# SPDX-License-Identifier: GPL-2.0-or-later
"""The base of the guest tests: a class of tests shares one guest, booted before the first of them."""

import contextlib
import os
import time
import unittest
from collections import Counter

from . import netns
from .guest import Guest
from .httpd import MB, FileServer
from .ping import Pinger


class GuestCase(unittest.TestCase):
    """Subclasses say what the guest is; `setup` (program.Program) is set by the program."""

    setup = None
    title = ""               # in front of every test's name
    device = {}              # properties of the NIC
    netdev = {}              # options of the netdev
    driver = {}              # options of the driver object
    options = []             # more of QEMU's command line
    machine = "pc"
    append = ""              # more of the guest's kernel command line
    cpus = 1
    queues = 1
    reboot = False
    keep_tap = False         # the host's tap is there before QEMU and stays
    known_faults = ()        # of the guest's kernel: (way, violation, reason of the drops that it explains)

    @classmethod
    def setUpClass(cls):
        backend = cls.setup.backend
        cls.nic = backend.nic(0, **cls.netdev)
        if cls.driver:
            cls.nic.objects[-1] |= cls.driver
        cls.server = FileServer()
        cls.addClassCleanup(cls.server.close)
        if cls.keep_tap:
            backend.before_qemu(cls.nic, cls.queues)
            cls.addClassCleanup(backend.after_qemu, cls.nic)
        cls.guest = Guest(
            cls.setup.qemu, cls.setup.image,
            ["-name", "guest,debug-threads=on", *cls.options,
             *cls.nic.arguments(named=True, **cls.device)],
            machine=cls.machine, cpus=cls.cpus, accel=cls.setup.accel, reboot=cls.reboot,
            append=cls.append)
        cls.addClassCleanup(cls.guest.close)
        cls.guest.start()
        backend.host_up(cls.nic)
        cls.guest.wait_ready()
        cls.guest.sh(cls.nic.net_up)

    @classmethod
    def tearDownClass(cls):
        if cls.setup.backend.counters:
            no_faults(cls.guest, cls.known_faults)
        status = cls.guest.quit()
        if status:
            raise AssertionError(f"QEMU ended with status {status}")

    def shortDescription(self):
        return f"{self.title}: {(self._testMethodDoc or self._testMethodName).strip().splitlines()[0]}"

    # --- what tests ask for ---

    def guest_pings(self, address, count=3, size=56):
        """All of `count` pings from the guest, which is at rest, are answered."""
        out = self.guest.sh(f"ping -c {count} -i 0.1 -W 10 -s {size} {address}", check=False)[1]
        if f"{count} packets received" not in out:
            self.fail(f"pings to {address} of {size} bytes were lost:\n{out}{self.state()}")

    def guest_reaches(self, address, size=56):
        """One of several pings from the guest is answered. For a busy guest: its ping has a small
        buffer, which the answers to other pings fill as well."""
        status, out = self.guest.sh(f"for i in 1 2 3 4 5 6 7 8 9 10; do ping -c 1 -W 1 -s {size} {address} && "
                                    "exit; done; exit 1", check=False)
        if status:
            self.fail(f"no ping to {address} was answered:\n{out}{self.state()}")

    def host_pings(self, address=None, timeout=10.0, size=56):
        """A ping from the host is answered; where the host cannot ping, one of several from the guest."""
        address = address or self.nic.guest4
        if self.setup.backend.host_is_peer:
            if Pinger(address).ping(timeout, size) is None:
                self.fail(f"the guest at {address} answered no ping of {size} bytes in {timeout} s\n"
                          f"{self.state()}")
        else:
            self.guest_reaches(self.nic.host4, size)

    def state(self):
        """What host, QEMU and guest know about the network, for whoever looks into a failure."""
        return network_state(self.guest, self.setup.backend.counters)

    def transfer(self, megabytes, host=None):
        """Fetch so much into the guest and send it back: nothing is lost or damaged."""
        host = host or self.nic.host4
        url = f"[{host}]" if ":" in host else host
        size = megabytes * MB
        self.server.forget()
        received = self.guest.sh(f"wget -q -O /tmp/data http://{url}:{self.server.PORT}/data/{size} && "
                                 "sha256sum /tmp/data", timeout=120).split()[0]
        self.assertEqual(received, self.server.sha256(size), "what the guest received is damaged")
        answer = self.guest.sh(f"http-put /tmp/data {host} {self.server.PORT} back; rm /tmp/data",
                               timeout=120)
        self.assertEqual(answer.strip(), received, "what the guest sent arrived damaged")

    def start_traffic(self):
        """Traffic both ways that goes on until stop_traffic(), and outlives a NIC that goes away."""
        url = f"http://{self.nic.host4}:{self.server.PORT}/data/{4 * MB}"
        self.guest.background(
            "get", f"while :; do timeout 3 wget -q -O /dev/null {url} || sleep 0.1; done")
        self.guest.background(
            "ping", f"while :; do ping -q -A -w 3 -s 1000 {self.nic.host4} || sleep 0.1; done")

    def stop_traffic(self):
        self.guest.stop("get")
        self.guest.stop("ping")

    @contextlib.contextmanager
    def traffic(self):
        """There is traffic both ways in here."""
        self.start_traffic()
        try:
            yield
        finally:
            self.stop_traffic()

    def thread_seconds(self, thread):
        """CPU time that a thread of QEMU has used."""
        with open(f"/proc/{self.guest.pid}/task/{thread}/schedstat") as f:
            return int(f.read().split()[0]) / 1e9

    # The time is what a machine with much else to do may need, here as in all that waits

    def wait_until(self, condition, what, timeout=20.0, every=0.05):
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"{what} did not come about within {timeout} s")
            time.sleep(every)


def network_state(guest, counters=True):
    """What host, QEMU and guest know about the network; `counters`: query-vhost-dp is one of them."""
    parts = {"host": netns.ip("-s", "link", "show") + netns.ip("neigh", "show")}
    if counters:
        parts["QEMU"] = guest.qmp.hmp("info vhost-dp")
    parts["guest"] = guest.sh("ifconfig -a; ip neigh; grep virtio /proc/interrupts; "
                              "grep Icmp: /proc/net/snmp; true")
    return "".join(f"--- {what} ---\n{text}" for what, text in parts.items())


# Drops that no guest driver that keeps the rules can cause.
_FAULTS = ("bad-header", "too-short")


def no_faults(guest, known=()):
    """vhost-dp found nothing wrong with what the guest's driver, which is a good one, did. What is `known` of
    it stopped no queue: see GuestCase.known_faults."""
    for info in guest.qmp.command("query-vhost-dp"):
        for pair in info["queues"]:
            for way in ("rx", "tx"):
                drops = {drop["reason"]: drop["frames"] for drop in pair[way]["drops"]}
                expected = {violation: reason for known_way, violation, reason in known if known_way == way}
                explained = Counter()
                for each in pair[way]["violations"]:
                    if each["violation"] in expected:
                        explained[expected[each["violation"]]] += each["count"]
                found = [each for each in pair[way]["violations"] if each["violation"] not in expected]
                found += [{reason: count} for reason, count in explained.items() if drops.get(reason) != count]
                found += [drop for drop in pair[way]["drops"] if drop["reason"] in _FAULTS]
                if found:
                    raise AssertionError(f"{info['id']}, queue pair {pair['index']}, {way}: {found}")


def threads(pid):
    """The threads of a process: {thread id: name}."""
    result = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/comm") as f:
                result[int(thread)] = f.read().strip()
        except FileNotFoundError:
            pass    # it has just ended
    return result


def open_files(pid):
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
