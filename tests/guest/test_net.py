#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's network on a vhost-dp driver: reachability, integrity, offloads, counters, life cycle.

One class is one guest. Those of OFFERS and RINGS differ in what the device offers, and each does the same
short set of transfers; Traffic and LifeCycle look closer at a guest with the defaults, Software at one whose
driver does no offloads.
"""

import json
import re
import subprocess

from datagrams import DatagramTests
from filters import FilterTests
from harness import netns, program, tap
from harness.case import GuestCase, threads
from harness.netns import Missing
from harness.qmp import QmpError
from mkimage import ImageError
from offloads import OffloadTests


class Traffic(GuestCase):
    """A NIC as the documentation's example has it."""

    title = "defaults"

    def test_ping_ipv4(self):
        """ping both ways, IPv4"""
        self.guest_pings(self.nic.host4)
        self.host_pings(self.nic.guest4)

    def test_ping_ipv6(self):
        """ping both ways, IPv6"""
        self.guest_pings(self.nic.host6)
        self.host_pings(self.nic.guest6)

    def test_ping_sizes(self):
        """ping with payloads from nothing to a full frame, and fragmented"""
        sizes = (0, 1, 17, 18, 1400, 1471, 1472)
        if self.setup.backend.any_size:
            sizes += (1473, 8000, 60000)
        for size in sizes:
            self.guest_pings(self.nic.host4, count=1, size=size)
            self.host_pings(size=size)

    def test_transfer_ipv4(self):
        """64 MB both ways, IPv4"""
        self.transfer(64)

    def test_transfer_ipv6(self):
        """16 MB both ways, IPv6"""
        self.transfer(16, self.nic.host6)


class MtuTests:
    """A mix-in: frames of other sizes."""

    def test_mtu(self):
        """MTU 9000, set while running, and back"""
        for mtu in (9000, 1500):
            self.setup.backend.host_up(self.nic, mtu)
            self.guest.sh(f"{self.nic.net_up} {mtu}")
            for size in (mtu - 28, mtu - 29, mtu // 2):
                self.guest_pings(self.nic.host4, count=1, size=size)
                self.host_pings(size=size)
            self.transfer(8)


class CounterTests:
    """A mix-in: what query-vhost-dp tells."""

    def _info(self):
        infos = self.guest.qmp.command("query-vhost-dp")
        self.assertEqual([info["id"] for info in infos], [self.nic.netdev["id"]])
        return infos[0]

    def _packets(self):
        queues = self._info()["queues"]
        return {way: {what: sum(queue[way][what] for queue in queues) for what in ("packets", "bytes")}
                for way in ("rx", "tx")}

    def _guest_packets(self):
        out = self.guest.sh("cd /sys/class/net/eth0/statistics; "
                            "cat rx_packets rx_bytes tx_packets tx_bytes")
        values = list(map(int, out.split()))
        return {"rx": dict(zip(("packets", "bytes"), values[:2])),
                "tx": dict(zip(("packets", "bytes"), values[2:]))}

    def test_counters(self):
        """query-vhost-dp counts what the guest counts"""
        before, guest_before = self._packets(), self._guest_packets()
        self.transfer(8)
        self.guest_pings(self.nic.host4, count=10)
        after, guest_after = self._packets(), self._guest_packets()
        for way in ("rx", "tx"):
            ours, guests = ({what: b[way][what] - a[way][what] for what in ("packets", "bytes")}
                            for a, b in ((before, after), (guest_before, guest_after)))
            # The guest counts what it sent when it looks at the ring again, which may be later.
            self.assertAlmostEqual(ours["packets"], guests["packets"], delta=40 + guests["packets"] // 20,
                                   msg=f"{way}: {ours} in QEMU, {guests} in the guest")
            self.assertAlmostEqual(ours["bytes"], guests["bytes"], delta=guests["bytes"] // 20,
                                   msg=f"{way}: {ours} in QEMU, {guests} in the guest")
            self.assertGreater(ours["bytes"], 8 << 20, f"{way}: fewer bytes than were transferred")

    def test_thread(self):
        """the data path runs in the thread that query-vhost-dp names"""
        queue = self._info()["queues"][0]
        thread, name = queue["thread-id"], queue["iothread"]
        self.assertNotEqual(thread, self.guest.pid, "that is the main thread")
        running = threads(self.guest.pid)
        self.assertIn(thread, running, f"QEMU has no such thread: {running}")
        self.assertEqual(running[thread], f"IO {name}"[:15], "the thread's name does not tell its IOThread")
        before = self.thread_seconds(thread)
        self.transfer(16)
        used = self.thread_seconds(thread) - before
        self.assertGreater(used, 0.001, "32 MB went through the guest, but the thread used no CPU time")


# Names begin with what is special. '__' stands for '-' in a property's name.
OFFERS = {
    "no offloads, plain ring": {
        "device": {"csum": False, "gso": False, "guest_csum": False, "mrg_rxbuf": False,
                   "indirect_desc": False, "event_idx": False}},
}

# What drivers know nothing of, so that one of them will do. Packed rings are Multiqueue's business.
RINGS = {
    "legacy device": {"device": {"disable__modern": True, "disable__legacy": False}},
    "host_mtu=9000, q35": {"device": {"host_mtu": 9000}, "machine": "q35", "mtu": 9000},
}

# For drivers of which the guest has to use all queue pairs, so that Multiqueue is not for them
ALL_PAIRS = {
    "four queue pairs in use": {
        "device": {"mq": True, "vectors": 10}, "netdev": {"queues": 4}, "queues": 4, "cpus": 4},
}


class Variant(GuestCase):
    mtu = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.mtu:
            cls.setup.backend.host_up(cls.nic, cls.mtu)

    def test_all(self):
        """ping both ways and 8 MB both ways"""
        self.guest_pings(self.nic.host4)
        self.host_pings()
        if self.mtu:
            self.assertEqual(self.guest.sh("cat /sys/class/net/eth0/mtu").strip(), str(self.mtu))
            self.host_pings(size=self.mtu - 28)
        self.transfer(8)
        if self.queues > 1:
            for queue in range(self.queues):
                self._uses_queue(queue)

    def _interrupts(self, queue):
        return sum(map(int, self.guest.sh(
            f"grep virtio0-input.{queue} /proc/interrupts | cut -d: -f2 | cut -dP -f1").split()))

    def _sent(self, queue):
        if not self.setup.backend.counters:
            return 0
        return self.guest.qmp.command("query-vhost-dp")[0]["queues"][queue]["tx"]["packets"]

    def _uses_queue(self, queue):
        """What a CPU of the guest sends goes through its own queue; with TAP the answers come back there."""
        before = self._interrupts(queue), self._sent(queue)
        self.guest.sh(f"taskset {1 << queue:x} ping -c 5 -i 0.1 -W 10 {self.nic.host4}")
        if self.setup.backend.answers_follow:
            self.assertGreater(self._interrupts(queue), before[0], f"nothing came through queue pair {queue}")
        if self.setup.backend.counters:
            self.assertGreaterEqual(self._sent(queue), before[1] + 5, f"not sent through queue pair {queue}")


class Multiqueue(GuestCase):
    """Four queue pairs on two IOThreads, the way the guest's administrator and its CPUs use them."""

    title = "four queue pairs"
    PAIRS = 4
    cpus = queues = PAIRS
    device = {"mq": True, "vectors": 2 * PAIRS + 2, "notf_coal": True, "vq_notf_coal": True}
    options = ["-object", "iothread,id=t0", "-object", "iothread,id=t1"]
    netdev = {"queues": PAIRS, "iothread-vq-mapping.0.iothread": "t0",
              "iothread-vq-mapping.1.iothread": "t1"}

    def _pairs(self):
        return self.guest.qmp.command("query-vhost-dp")[0]["queues"]

    def _set_pairs(self, n):
        self.guest.sh(f"ethtool -L eth0 combined {n}")
        self.wait_until(lambda: [pair["enabled"] for pair in self._pairs()] ==
                        [i < n for i in range(self.PAIRS)], f"query-vhost-dp with {n} enabled pairs")

    def test_a_threads(self):
        """the pairs are spread over the IOThreads, and the guest uses them all"""
        pairs = self._pairs()
        self.assertEqual([pair["iothread"] for pair in pairs], ["t0", "t1", "t0", "t1"])
        self.assertEqual(len({pair["thread-id"] for pair in pairs}), 2)
        self.assertTrue(all(pair["enabled"] and pair["attached"] for pair in pairs))
        self.assertEqual({pair["ring-format"] for pair in pairs},
                         {"packed" if self.device.get("packed") else "split"})
        for cpu in range(self.PAIRS):
            before = pairs[cpu]["tx"]["packets"]
            self.guest.sh(f"taskset {1 << cpu:x} ping -c 3 -i 0.1 -W 10 {self.nic.host4}")
            self.assertGreater(self._pairs()[cpu]["tx"]["packets"], before,
                               f"what CPU {cpu} sent did not go through queue pair {cpu}")

    def test_b_change(self):
        """ethtool -L changes the number of pairs under traffic"""
        with self.traffic():
            for n in (1, 4, 2, 3, 1, 2, 4):
                self._set_pairs(n)
                self.host_pings()
                self.guest_reaches(self.nic.host4)
        self.transfer(8)

    def _iperf(self, *options):
        """Run iperf3 between the guest and the host; the bytes that arrived."""
        server = subprocess.Popen(["iperf3", "--server", "--one-off", "--json"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
        try:
            self.wait_until(lambda: netns.listens(5201), "iperf3's server")
            out = self.guest.sh(f"iperf3 --client {self.nic.host4} --json --parallel 4 --time 2 "
                                + " ".join(options))
        finally:
            server.kill()
            server.communicate()
        return json.loads(out)["end"]["sum_received"]["bytes"]

    def test_c_iperf(self):
        """iperf3 with four streams, both ways"""
        for options in ((), ("--reverse",)):
            self.assertGreater(self._iperf(*options), 1 << 20)

    def _coalesce(self, **how):
        self.guest.sh("ethtool -C eth0 " + " ".join(f"{name.replace('_', '-')} {n}" for name, n in how.items()))

    def test_c_notifications(self):
        """ethtool -C delays interrupts, also under traffic, and none is lost"""
        self._coalesce(rx_usecs=200, rx_frames=64, tx_usecs=300, tx_frames=32)
        for pair in self._pairs():
            self.assertEqual((pair["rx"]["coalesce-usecs"], pair["rx"]["coalesce-packets"]), (200, 64))
            self.assertEqual((pair["tx"]["coalesce-usecs"], pair["tx"]["coalesce-packets"]), (300, 32))
        self.transfer(8)
        self.assertGreater(sum(pair["rx"]["calls-coalesced"] for pair in self._pairs()), 0)
        with self.traffic():
            for usecs in (0, 5000, 64, 1000):
                self._coalesce(rx_usecs=usecs, tx_usecs=usecs)
                self.guest_reaches(self.nic.host4)
        self._coalesce(rx_usecs=0, rx_frames=0, tx_usecs=0, tx_frames=1)
        self.transfer(8)

    def _counts(self):
        """What QEMU and what the guest counted since the start, as two dictionaries."""
        ours = {}
        for way in ("rx", "tx"):
            for what in ("packets", "bytes"):
                ours[f"{way}_{what}"] = sum(pair[way][what] for pair in self._pairs())
        # Frames on a pair that was just disabled: the guest sent them, and counts them.
        lost = sum(drop["frames"] for pair in self._pairs() for drop in pair["tx"]["drops"])
        guest = {name: int(self.guest.sh(f"cat /sys/class/net/eth0/statistics/{name}")) for name in ours}
        return ours, guest, lost

    def test_d_counters(self):
        """after all that, query-vhost-dp has the guest's own counts, to the byte"""
        result = []

        def agree():
            result[:] = self._counts()
            ours, guest, lost = result
            if lost:
                ours = {name: n for name, n in ours.items() if name != "tx_bytes"}
                ours["tx_packets"] += lost
            return ours.items() <= guest.items()

        try:
            self.wait_until(agree, "agreement")
        except self.failureException:
            self.fail(f"QEMU counted {result[0]} ({result[2]} lost), the guest {result[1]}\n{self.state()}")
        self.assertGreater(result[0]["rx_bytes"], 8 << 20)
        self.assertGreater(result[0]["tx_bytes"], 8 << 20)


class MultiqueuePacked(Multiqueue):
    """The same with packed virtqueues, busy polling, and RSS."""

    title = "four queue pairs, packed, polling"
    device = {**Multiqueue.device, "packed": True, "rss": True, "hash": True}
    netdev = {**Multiqueue.netdev, "busy-poll-us": 50}

    def _received(self):
        return [pair["rx"]["packets"] for pair in self._pairs()]

    def test_ca_rss(self):
        """ethtool -X chooses the pairs that receive, under traffic, and ethtool -x shows them"""
        with self.traffic():
            for weights in ((0, 1, 0, 0), (1, 0, 1, 0), (0, 0, 0, 1), (1, 1, 1, 1)):
                self.guest.sh("ethtool -X eth0 weight " + " ".join(map(str, weights)))
                table = re.findall(r"^ *\d+:((?: +\d+)+)$", self.guest.sh("ethtool -x eth0"), re.MULTILINE)
                self.assertEqual({int(pair) for line in table for pair in line.split()},
                                 {pair for pair, weight in enumerate(weights) if weight})
                before = self._received()
                self.assertGreater(self._iperf("--reverse"), 1 << 20)
                got = [now - then for now, then in zip(self._received(), before)]
                wrong = sum(n for n, weight in zip(got, weights) if not weight)
                # ARP has no hash, and goes to the first
                self.assertLess(wrong, 20 + sum(got) // 100, f"received with weights {weights}: {got}")

    def test_cb_hash_fields(self):
        """ethtool -N rx-flow-hash: with addresses alone, all streams of iperf3 come to one pair"""
        # Linux tells the device of other fields while it uses the hash itself
        self.guest.sh("ethtool -K eth0 rxhash on")
        for fields, ports in (("sd", False), ("sdfn", True)):
            self.guest.sh(f"ethtool -N eth0 rx-flow-hash tcp4 {fields}")
            self.assertEqual("src port" in self.guest.sh("ethtool -n eth0 rx-flow-hash tcp4"), ports)
            before = self._received()
            self.assertGreater(self._iperf("--reverse"), 1 << 20)
            got = [now - then for now, then in zip(self._received(), before)]
            if not ports:
                # Frames of other flows are few
                self.assertLess(sum(got) - max(got), 50 + sum(got) // 100, f"received without ports: {got}")


class Software(DatagramTests, OffloadTests, MtuTests, GuestCase):
    """A driver that is told to use no offloads of the host, with four queue pairs."""

    title = "offloads=off, four queue pairs"
    driver = {"offloads": False}
    cpus = queues = Multiqueue.PAIRS
    device = Multiqueue.device
    options = Multiqueue.options
    netdev = Multiqueue.netdev

    def test_transfer(self):
        """64 MB both ways, IPv4, and 16 MB, IPv6"""
        self.transfer(64)
        self.transfer(16, self.nic.host6)


class LifeCycle(GuestCase):
    """Everything that management software does to a NIC, while it is busy: twice, and stress.py has more."""

    title = "life cycle"
    reboot = True
    keep_tap = True

    def setUp(self):
        self.start_traffic()

    def tearDown(self):
        self.stop_traffic()

    def _works(self):
        self.host_pings()
        self.guest_reaches(self.nic.host4)

    def test_a_stop_cont(self):
        """stop and cont under traffic"""
        for _ in range(20):
            self.guest.qmp.command("stop")
            self.guest.qmp.command("cont")
        self._works()

    def test_b_set_link(self):
        """set_link off stops traffic, on starts it again"""
        for _ in range(2):
            self.guest.qmp.command("set_link", name=self.nic.id, up=False)
            self.wait_until(lambda: "0" in self.guest.sh("cat /sys/class/net/eth0/carrier"), "link down")
            self.assertNotEqual(self.guest.sh(f"ping -c 1 -W 1 {self.nic.host4}", check=False)[0], 0,
                                "a ping got through a link that is down")
            self.guest.qmp.command("set_link", name=self.nic.id, up=True)
            self.wait_until(lambda: "1" in self.guest.sh("cat /sys/class/net/eth0/carrier"), "link up")
            self._works()

    def test_c_set_link_of_netdev(self):
        """set_link on the netdev"""
        for _ in range(5):
            self.guest.qmp.command("set_link", name=self.nic.netdev["id"], up=False)
            self.guest.qmp.command("set_link", name=self.nic.netdev["id"], up=True)
        self.wait_until(lambda: "1" in self.guest.sh("cat /sys/class/net/eth0/carrier"), "link up")
        self._works()

    def test_d_rebind(self):
        """the guest's driver lets go of the device and takes it again"""
        for _ in range(2):
            self.guest.sh("cd /sys/bus/virtio/drivers/virtio_net && dev=$(basename virtio*) && "
                          "echo $dev > unbind && echo $dev > bind && " + self.nic.net_up)
            self._works()

    def _unplug(self):
        self.guest.qmp.command("device_del", id=self.nic.id)
        self.guest.qmp.wait_event("DEVICE_DELETED", timeout=60, device=self.nic.id)

    def _plug(self):
        self.guest.qmp.command("device_add", **self.nic.device_arguments(**self.device))
        self.wait_until(lambda: self.guest.sh(self.nic.net_up, check=False)[0] == 0,
                        "the guest's interface")
        self._works()

    def test_e_device(self):
        """device_del and device_add, the netdev stays"""
        for _ in range(2):
            self._unplug()
            self._plug()

    def test_f_everything(self):
        """device_del, netdev_del, object-del, and all back"""
        qmp = self.guest.qmp
        for _ in range(2):
            self._unplug()
            qmp.command("netdev_del", id=self.nic.netdev["id"])
            for each in reversed(self.nic.objects):
                qmp.command("object-del", id=each["id"])
            for each in self.nic.objects:
                qmp.command("object-add", **each)
            qmp.command("netdev_add", **self.nic.netdev)
            self._plug()

    def test_g_netdev_first(self):
        """netdev_del under an attached NIC, which then goes"""
        qmp = self.guest.qmp
        qmp.command("netdev_del", id=self.nic.netdev["id"])
        self.guest.sh("true")
        self._unplug()
        for each in reversed(self.nic.objects):
            qmp.command("object-del", id=each["id"])
        for each in self.nic.objects:
            qmp.command("object-add", **each)
        qmp.command("netdev_add", **self.nic.netdev)
        self._plug()

    def test_h_driver_in_use(self):
        """a driver that a netdev holds cannot be deleted, nor claimed twice"""
        if not self.nic.objects:
            self.skipTest("this back end has no driver object")
        driver = self.nic.objects[-1]["id"]
        with self.assertRaises(QmpError):
            self.guest.qmp.command("object-del", id=driver)
        with self.assertRaises(QmpError):
            self.guest.qmp.command("netdev_add", type="vhost-dp", id="second", driver=driver)
        self._works()

    def test_i_reset(self):
        """system_reset under traffic"""
        self.guest.qmp.command("system_reset")
        self.guest.wait_ready()
        self.guest.sh(self.nic.net_up)
        self._works()
        self.start_traffic()


class HostInterface(GuestCase):
    """What an administrator of the host does to the interface, while it is busy."""

    title = "the host's interface"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(cls._remove)

    @classmethod
    def _remove(cls):
        """What test_deleted() made outlives QEMU."""
        if netns.exists(cls.nic.interface):
            cls.setup.backend.after_qemu(cls.nic)

    def setUp(self):
        self.name = self.nic.netdev["driver"]    # QEMU's end, where there are two
        self.start_traffic()

    def tearDown(self):
        self.stop_traffic()

    def _is(self, reason):
        """The guest sees it, and query-vhost-dp says why: None for up."""
        def seen():
            info = self.guest.qmp.command("query-vhost-dp")[0]
            carrier = self.guest.sh("cat /sys/class/net/eth0/carrier").strip()
            return (info["link-up"], info.get("link-reason"), carrier) == (
                reason is None, reason, "01"[reason is None])

        self.wait_until(seen, f"link {reason or 'up'}")

    def _works(self):
        self._is(None)
        self.host_pings()
        self.transfer(1)

    def test_down(self):
        """down and up"""
        for _ in range(3):
            netns.ip("link", "set", "dev", self.name, "down")
            self._is(f"interface '{self.name}' is down")
            netns.ip("link", "set", "dev", self.name, "up")
            self._works()

    def test_deleted(self):
        """deleted and made again"""
        for _ in range(3):
            netns.ip("link", "del", "dev", self.name)
            self._is(f"interface '{self.name}' was deleted")
            self.setup.backend.before_qemu(self.nic)
            self.setup.backend.host_up(self.nic)
            self._works()

    def test_renamed(self):
        """renamed, and back"""
        for old, new in ((self.name, "other"), ("other", self.name)):
            netns.ip("link", "set", "dev", old, "down")
            netns.ip("link", "set", "dev", old, "name", new)
            netns.ip("link", "set", "dev", new, "up")
            self._works()


def traffic(backend):
    """Traffic, with the tests that this back end allows."""
    mixins = []
    if backend.any_size:
        mixins.append(MtuTests)
    if backend.counters:
        mixins += [CounterTests, OffloadTests]
        if backend.host_is_peer and backend.keeps_books:
            mixins += [DatagramTests, FilterTests]
    return type("Traffic", (*mixins, Traffic), {})


def classes(backend):
    yield traffic(backend)
    variants = {**OFFERS, **(RINGS if backend.rings else {})}
    if backend.max_queues > 1 and not backend.fewer_queues:
        variants |= ALL_PAIRS
    for title, what in variants.items():
        yield type(Variant)(f"Variant {title}", (Variant,), {"title": title, **what})
    if backend.counters and backend.fewer_queues and backend.max_queues >= Multiqueue.PAIRS:
        yield from (Multiqueue, MultiqueuePacked, Software)
    yield LifeCycle
    if backend.returns:
        yield HostInterface


def main():
    options = program.parser("Test a guest's network on a vhost-dp driver. Prints TAP.")
    options.add_argument("--only", metavar="TEXT", default="",
                         help="run the guests whose title holds this text")
    options.add_argument("--skip", metavar="TEXT", help="but not those whose title holds this one")
    args = options.parse_args()
    try:
        GuestCase.setup = program.Program(args, tap.comment)
    except Missing as e:
        tap.skip_all(str(e))
    except (ImageError, OSError) as e:
        tap.bail_out(str(e))
    tap.run([each for each in classes(GuestCase.setup.backend)
             if args.only in each.title and not (args.skip and args.skip in each.title)])


if __name__ == "__main__":
    main()
