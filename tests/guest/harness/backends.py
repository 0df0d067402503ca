# SPDX-License-Identifier: GPL-2.0-or-later
"""The back ends that the tests run on, as a table: how a NIC on each is put together.

A new vhost-dp driver is one more class here, entered in BACKENDS. Every NIC has a number: 0 is tap0,
vd0, nic0, on the network 192.0.2.0/24 and 2001:db8::/64; 1 is tap1 and so on.
"""

import shlex

from . import netns, relay, testpmd

_NETS4 = ["192.0.2", "198.51.100", "203.0.113", "198.18.0"]    # meant for documentation, and for tests


def _option(value):
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _join(kind, properties):
    """An option that is a list is given once for each element."""
    return ",".join([kind] + [f"{key}={_option(each)}" for key, value in properties.items()
                              for each in (value if isinstance(value, list) else [value])])


class Nic:
    """One NIC: what QEMU is told, on the command line or over QMP, and its addresses."""

    def __init__(self, number, netdev, objects):
        self.number = number
        self.netdev = netdev        # netdev_add's arguments
        self.objects = objects      # object-add's arguments, one after the other
        self.device = {}            # more properties of the device
        self.more = []              # more of the command line
        self.interface = None       # its name on the host, where it has one
        self.switch = None          # the testpmd that is in between, if one is
        self.id = f"nic{number}"
        self.mac = f"52:54:00:12:34:{0x56 + number:02x}"
        self.host4, self.guest4 = (f"{_NETS4[number]}.{host}" for host in (1, 2))
        prefix = f"2001:db8:{number}::" if number else "2001:db8::"
        self.host6, self.guest6 = (f"{prefix}{host}" for host in (1, 2))

    def arguments(self, named=False, **device):
        """The part of the command line, in the order of the documentation's example."""
        netdev, objects = dict(self.netdev), [dict(each) for each in self.objects]
        args = ["-netdev", _join(netdev.pop("type"), netdev)]
        for each in objects:
            args += ["-object", _join(each.pop("qom-type"), each)]
        return args + [*self.more, "-device", _join("virtio-net-pci", self._device(device, named))]

    def device_arguments(self, **device):
        """device_add's arguments, for Qmp.command()."""
        own = {key.replace("_", "__"): value for key, value in self._device(device, True).items()}
        return {"driver": "virtio-net-pci", **own}

    def _device(self, device, named):
        own = {"netdev": self.netdev["id"]}
        if named:
            own |= {"id": self.id, "mac": self.mac}
        return own | {key.replace("__", "-"): value for key, value in (self.device | device).items()}

    @property
    def net_up(self):
        """The command that brings the NIC up in the guest."""
        return f"net-up {self.mac} {self.guest4}/24 {self.guest6}/64"


class VhostDpTap:
    """-netdev vhost-dp on vhost-dp-tap."""

    counters = True         # query-vhost-dp knows it
    max_queues = 8          # queue pairs that the driver supports
    fewer_queues = True     # the guest may use fewer of them than there are
    host_is_peer = True     # what the guest reaches is the namespace's own network stack
    any_size = True         # any MTU, and datagrams in many fragments
    is_told = True          # the host's side makes no frames that the guest does not take
    answers_follow = True   # received frames of a flow come through the queue pair that sends it
    rings = True            # the tests of what drivers know nothing of are done with this one
    returns = True          # the host's interface may go away and come back
    keeps_books = True      # host_counts() tells of every frame, where the host is the peer

    def missing(self):
        """Raise netns.Missing where this machine cannot run it."""
        netns.need_tun()

    def nic(self, number=0, **netdev):
        """A NIC; `netdev` are options of -netdev vhost-dp, such as iothread or queues."""
        tap = f"tap{number}"
        nic = Nic(number, {"type": "vhost-dp", "id": f"vd{number}", "driver": tap, **netdev},
                  [{"qom-type": "vhost-dp-tap", "id": tap}])
        nic.interface = tap
        return nic

    def before_qemu(self, nic, queues=1):
        """Make what must outlive QEMU's back end. A tap that exists is attached to, and stays."""
        netns.ip("tuntap", "add", "dev", nic.interface, "mode", "tap",
                 *(["multi_queue"] if queues > 1 else []))

    def after_qemu(self, nic):
        """Undo before_qemu()."""
        netns.ip("link", "del", nic.interface)

    def host_up(self, nic, mtu=None):
        """Bring the host's side up, once QEMU has made it."""
        netns.interface_up(nic.interface, f"{nic.host4}/24", f"{nic.host6}/64", mtu)

    def host_counts(self, nic):
        """Frames that the host's interface has received from QEMU, those of them that it dropped, that it
        has sent to QEMU, and that it could not send. Empty where nobody counts them."""
        stats = netns.link(nic.interface)["stats64"]
        return {"received": stats["rx"]["packets"], "received lost": 0, "sent": stats["tx"]["packets"],
                "lost": stats["tx"]["dropped"]}


class VhostDpVhostNet(VhostDpTap):
    """-netdev vhost-dp on vhost-dp-vhost-net: a tap again, with a driver of another type."""

    def missing(self):
        """Where this is not, the nested suite has the driver."""
        super().missing()
        netns.need_vhost_net()

    def nic(self, number=0, **netdev):
        """A NIC, as on a tap."""
        nic = super().nic(number, **netdev)
        nic.objects[0]["qom-type"] = "vhost-dp-vhost-net"
        return nic


class VhostDpAfPacket(VhostDpTap):
    """-netdev vhost-dp on vhost-dp-af-packet: one end of a veth pair; the other one has the host's addresses."""

    answers_follow = False  # a hash says which queue pair gets a flow
    is_told = False
    rings = False

    def missing(self):
        """It needs nothing but the namespace."""

    def nic(self, number=0, **netdev):
        """A NIC. The interface has to be there before QEMU, and is made here."""
        name = f"veth{number}"
        nic = Nic(number, {"type": "vhost-dp", "id": f"vd{number}", "driver": name, **netdev},
                  [{"qom-type": "vhost-dp-af-packet", "id": name}])
        nic.interface = f"peer{number}"
        self.before_qemu(nic, netdev.get("queues", 1))
        return nic

    def before_qemu(self, nic, queues=1):
        """Make the pair, unless it is there."""
        name = nic.netdev["driver"]
        if not netns.exists(name):
            self.make_pair(name, nic.interface, queues)
            netns.ip("link", "set", "dev", name, "addrgenmode", "none")    # the host is silent on this end
            netns.ip("link", "set", "dev", name, "up")
            netns.ip("link", "set", "dev", nic.interface, "up")

    def make_pair(self, name, peer, _queues):
        """Make the interfaces."""
        netns.ip("link", "add", name, "type", "veth", "peer", "name", peer)

    def host_up(self, nic, mtu=None):
        """Bring the host's end up; both have one MTU."""
        if mtu:
            netns.ip("link", "set", "dev", nic.netdev["driver"], "mtu", mtu)
        super().host_up(nic, mtu)

    def host_counts(self, nic):
        """As QEMU's end counts. Either end drops what it sends while the CPU's backlog is full."""
        ours, peer = (netns.link(name)["stats64"] for name in (nic.netdev["driver"], nic.interface))
        return {"received": ours["tx"]["packets"] + ours["tx"]["dropped"],
                "received lost": ours["tx"]["dropped"], "sent": ours["rx"]["packets"],
                "lost": peer["tx"]["dropped"]}


class VhostDpAfXdp(VhostDpAfPacket):
    """-netdev vhost-dp on vhost-dp-af-xdp: as many queues of a veth interface as there are queue pairs."""

    max_queues = 4
    fewer_queues = False    # veth goes on sending to each
    is_told = True          # veth makes none with checksum offload switched off

    def missing(self):
        """XDP programs are a matter of the initial user namespace."""
        netns.need_bpf()

    def nic(self, number=0, **netdev):
        """A NIC, on an interface that is made here, with the right number of queues."""
        if netns.exists(f"veth{number}"):
            netns.ip("link", "del", f"veth{number}")
        nic = super().nic(number, **netdev)
        nic.objects[0]["qom-type"] = "vhost-dp-af-xdp"
        return nic

    def make_pair(self, name, peer, queues):
        """XDP needs what is on the wire: checksums that are finished, and VLAN tags in their place."""
        count = ["numtxqueues", queues, "numrxqueues", queues]
        netns.ip("link", "add", name, *count, "type", "veth", "peer", "name", peer, *count)
        netns.ethtool("-K", peer, "tx", "off", "txvlan", "off", "tx-vlan-stag-hw-insert", "off")


class VhostDpVhostUser(VhostDpTap):
    """-netdev vhost-dp on vhost-dp-vhost-user: DPDK's testpmd is the switch between it and a tap of the host."""

    max_queues = 1          # the tap of testpmd has one
    rings = False
    any_size = False        # buffers of testpmd that come from the tap have 1500 bytes
    returns = False         # the interface is testpmd's, which goes and comes in test_vhost_user.py
    keeps_books = False     # testpmd in between does not say what it loses
    vhost = ""              # more options of testpmd's vhost port
    patient = False         # testpmd waits for a port that takes no frame, and drops none

    def missing(self):
        """testpmd, and what it makes."""
        netns.need_tun()
        testpmd.need()

    def nic(self, number=0, **netdev):
        """A NIC. testpmd may be started before QEMU, which listens, or after it."""
        name = f"vu{number}"
        switch = testpmd.Switch(f"sw{number}", self.vhost, self.patient)
        nic = Nic(number, {"type": "vhost-dp", "id": f"vd{number}", "driver": name, **netdev},
                  [{"qom-type": "vhost-dp-vhost-user", "id": name, "path": switch.socket, "server": True}])
        nic.interface = switch.interface
        nic.switch = switch
        switch.start()
        return nic

    def before_qemu(self, nic, queues=1):
        """It has been made."""

    def after_qemu(self, nic):
        """End testpmd, and its interface with it."""
        nic.switch.close()

    def host_counts(self, nic):
        """The interface's are not QEMU's."""
        return {}


class VhostDpStream(VhostDpTap):
    """-netdev vhost-dp on vhost-dp-stream: a program of ours is between it and a tap of the host."""

    max_queues = 1
    rings = False
    returns = False
    keeps_books = False     # the program in between counts nothing

    def nic(self, number=0, **netdev):
        """A NIC. The program listens when QEMU is started."""
        name = f"st{number}"
        other = relay.Relay(f"sw{number}")
        nic = Nic(number, {"type": "vhost-dp", "id": f"vd{number}", "driver": name, **netdev},
                  [{"qom-type": "vhost-dp-stream", "id": name, "addr.type": "unix", "addr.path": other.socket}])
        nic.interface = other.interface
        nic.switch = other
        other.start()
        return nic

    def before_qemu(self, nic, queues=1):
        """It has been made."""

    def after_qemu(self, nic):
        """End the program, and its interface with it."""
        nic.switch.close()

    def host_counts(self, nic):
        """The interface's are not QEMU's."""
        return {}


class VhostDpSlirp:
    """-netdev vhost-dp on vhost-dp-slirp: the guest has a network of its own, behind QEMU."""

    counters = True
    max_queues = 1
    fewer_queues = True
    host_is_peer = False
    answers_follow = True
    any_size = False        # libslirp answers no ping of several fragments, and its MTU is fixed
    is_told = True
    rings = False
    returns = False

    def missing(self):
        """It needs nothing of the machine."""

    def nic(self, number=0, **netdev):
        """A NIC; the addresses are libslirp's, in a network of its own for each."""
        slirp = f"slirp{number}"
        nic = Nic(number, {"type": "vhost-dp", "id": f"vd{number}", "driver": slirp, **netdev},
                  [{"qom-type": "vhost-dp-slirp", "id": slirp}])
        if number:
            nic.objects[0] |= {"net": f"10.0.{2 + number}.0/24", "ipv6-prefix": f"fec0:{number}::"}
        nic.host4, nic.guest4 = (f"10.0.{2 + number}.{host}" for host in (2, 15))
        prefix = f"fec0:{number}::" if number else "fec0::"
        nic.host6, nic.guest6 = (f"{prefix}{host}" for host in (2, 15))
        return nic

    def before_qemu(self, nic, queues=1):
        """Nothing outlives QEMU's back end."""

    def after_qemu(self, nic):
        """Nothing is there."""

    def host_up(self, nic, mtu=None):
        """There is no interface."""

    def host_counts(self, nic):
        """Nobody counts: libslirp's frames end in it."""
        return {}


class StockUser(VhostDpSlirp):
    """QEMU's own -netdev user."""

    counters = False

    def nic(self, number=0, **netdev):
        nic = super().nic(number)
        nic.netdev = {"type": "user", "id": f"vd{number}"}
        nic.objects = []
        return nic


class StockTap(VhostDpTap):
    """QEMU's own -netdev tap, without vhost: what the same tests give without vhost-dp."""

    counters = False
    returns = False

    def nic(self, number=0, **netdev):
        netdev.pop("iothread", None)
        nic = super().nic(number)
        nic.netdev = {"type": "tap", "id": f"vd{number}", "ifname": nic.interface, "script": "no",
                      "downscript": "no", **netdev}
        nic.objects = []
        return nic


class StockVhostUser(VhostDpVhostUser):
    """QEMU's own -netdev vhost-user, with the same testpmd. Guest memory has to be shared.

    DPDK takes no frame for a page that it has to ask for first, which strict mapping makes of each.
    """

    counters = False
    vhost = ",iommu-support=1"
    patient = True

    def nic(self, number=0, **_netdev):
        nic = super().nic(number)
        name = f"vu{number}"
        nic.netdev = {"type": "vhost-user", "id": f"vd{number}", "chardev": name}
        nic.objects = []
        nic.more = ["-chardev", f"socket,id={name},path={nic.switch.socket},server=on"]
        return nic


BACKENDS = {"tap": VhostDpTap(), "vhost-net": VhostDpVhostNet(), "vhost-user": VhostDpVhostUser(),
            "af-packet": VhostDpAfPacket(), "af-xdp": VhostDpAfXdp(), "slirp": VhostDpSlirp(),
            "stream": VhostDpStream(),
            "stock-tap": StockTap(), "stock-user": StockUser(), "stock-vhost-user": StockVhostUser()}


def quoted(arguments):
    """A command line as a shell would take it."""
    return " ".join(shlex.quote(a) for a in arguments)
