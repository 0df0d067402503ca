# SPDX-License-Identifier: GPL-2.0-or-later
"""Every frame accounted for: what guest, QEMU and host have counted for a NIC, and whether it adds up.

Between two looks, at rest:

    from the guest    sent by the guest        = given to the driver + drops of the engine's
                      given to the driver      = received by the host's interface + drops of the driver's
    to the guest      sent by the host's interface = given to the guest + drops
                      given to the guest       = received by the guest

Not for frames that vhost-dp segments: it counts one where the interface counts several.
"""

import socket
import threading

from . import netns
from .ping import Pinger

# Transmit drops of frames that the driver had been given, so that they are among the queue's packets.
# (It may be too-large, too; and link-down can be the engine's. Neither happens to what is sent here.)
_DRIVERS = ("no-buffer", "driver-error", "link-down")


def udp_counts(text):
    """The UDP line of /proc/net/snmp as a dictionary."""
    names, values = (line.split()[1:] for line in text.splitlines() if line.startswith("Udp:"))
    return dict(zip(names, map(int, values)))


def host_udp():
    """What became of the datagrams that reached this namespace."""
    with open("/proc/net/snmp") as f:
        return udp_counts(f.read())


def flood(address, count, port=9, size=18):
    """Send small datagrams to the guest, as fast as may be; how many were sent."""
    payload = bytes(size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(count):
            s.sendto(payload, (address, port))
    return count


class Flood:
    """Sends small datagrams to the guest from a thread, as fast as may be, while one is in its context."""

    def __init__(self, address):
        self.sent = 0
        self._address = address
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _run(self):
        while not self._end.is_set():
            self.sent += flood(self._address, 100)


class Books:
    """The counters of one NIC of a GuestCase, from the moment that this is made."""

    def __init__(self, case, nic=None, backend=None):
        self.case = case
        self.nic = nic or case.nic
        self.backend = backend or case.setup.backend
        if self.backend.host_is_peer:
            # A host that asks for an address that it has lost in the flood drops frames, and tells nobody
            netns.ip("neigh", "replace", self.nic.guest4, "lladdr", self.nic.mac, "dev", self.nic.interface,
                     "nud", "permanent")
        self.start = self._rest()

    def _rest(self):
        """Wait until nothing is on its way: the guest counts what it sent somewhat later."""
        seen = []

        def still():
            seen.append(self._read())
            return seen[-2:-1] == seen[-1:]

        self.case.wait_until(still, "rest", 30.0, every=0.2)
        return seen[-1]

    def _read(self):
        guest = self.case.guest
        out = guest.sh(f"cd $(dirname $(grep -l '^{self.nic.mac}$' /sys/class/net/*/address | head -n 1))/"
                       "statistics; cat rx_packets tx_packets; cat /proc/net/snmp")
        lines = out.splitlines()
        counts = {"guest rx": int(lines[0]), "guest tx": int(lines[1])}
        counts |= {f"guest udp {name}": n for name, n in udp_counts(out).items()}
        counts |= {f"host udp {name}": n for name, n in host_udp().items()}
        info = next(info for info in guest.qmp.command("query-vhost-dp") if info["id"] == self.nic.netdev["id"])
        for pair in info["queues"]:
            for way in ("rx", "tx"):
                counts[f"{way} packets"] = counts.get(f"{way} packets", 0) + pair[way]["packets"]
                for drop in pair[way]["drops"]:
                    name = f"{way} dropped {drop['reason']}"
                    counts[name] = counts.get(name, 0) + drop["frames"]
        return counts | {f"host {name}": n for name, n in self.backend.host_counts(self.nic).items()}

    def now(self):
        """What was counted since the beginning."""
        return {name: n - self.start.get(name, 0) for name, n in self._read().items()}

    @staticmethod
    def drops(counts, way, reasons=None):
        """Frames dropped by vhost-dp, all or for these reasons."""
        prefix = f"{way} dropped "
        return sum(n for name, n in counts.items()
                   if name.startswith(prefix) and (reasons is None or name[len(prefix):] in reasons))

    def _sides(self, counts, links):
        """What has to be equal: (what, one number, the other)."""
        by_driver = self.drops(counts, "tx", _DRIVERS)
        engines = self.drops(counts, "tx") - by_driver
        if not links:
            yield "the guest's tx_packets", counts["guest tx"], counts["tx packets"] + engines
        yield "the guest's rx_packets", counts["guest rx"], counts["rx packets"]
        if "host received" in counts:
            yield "what the host received", counts["host received"], counts["tx packets"] - by_driver
            yield "what the host sent", counts["host sent"], counts["rx packets"] + self.drops(counts, "rx")

    def settle(self, links=False, timeout=30.0):
        """Wait until everything adds up, which it has to at rest; returns the counters.

        `links`: the link was down meanwhile. What the guest sends before it knows is dropped by virtio-net
        itself, and nobody counts it.
        """
        counts, wrong = {}, []

        def balanced():
            # A frame more, as a packet socket tells of lost frames with the next one that is not
            if self.backend.host_is_peer:
                Pinger(self.nic.guest4).ping()
            counts.clear()
            counts.update(self.now())
            wrong[:] = [f"{what}: {one}, but by vhost-dp's count {other}"
                        for what, one, other in self._sides(counts, links) if one != other]
            return not wrong

        try:
            self.case.wait_until(balanced, "agreement", timeout)
        except self.case.failureException:
            if not wrong:
                raise
            changed = {name: n for name, n in counts.items() if n}
            self.case.fail("\n".join(wrong) + f"\nSince the beginning: {changed}\n{self.case.state()}")
        return counts
