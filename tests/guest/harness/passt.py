# SPDX-License-Identifier: GPL-2.0-or-later
"""passt carries a guest's connections by sockets of the host. Its peer is a vhost-user front end, or the other end
of a stream socket.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
import time

from . import netns
from .netns import Missing

# What passt finds in the namespace, and gives to the guest by DHCP
GUEST4 = "192.0.2.2"
GATEWAY4 = "192.0.2.1"
# An address of the host
HOST4 = "198.51.100.1"


def _command():
    """VHOST_DP_PASST is a command to use in place of the machine's own."""
    return shlex.split(os.environ.get("VHOST_DP_PASST", "passt"))


def need():
    """Whether there is a passt; all of them have a stream socket."""
    if not shutil.which(_command()[0]):
        raise Missing("there is no command passt: install passt")


def need_vhost_user():
    """Whether there is one that speaks vhost-user."""
    need()
    command = _command()
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    if "--vhost-user" not in done.stdout + done.stderr:
        raise Missing("this passt has no --vhost-user: Debian 13's is the first to have it")


def make_network():
    """The interface, address and default route that passt wants, and HOST4."""
    netns.ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
    netns.ip("addr", "add", f"{GUEST4}/24", "dev", "up0")
    netns.ip("link", "set", "up0", "up")
    netns.ip("link", "set", "up1", "up")
    netns.ip("route", "add", "default", "via", GATEWAY4)
    netns.ip("addr", "add", f"{HOST4}/32", "dev", "lo")
    # passt pings by sockets that not everybody may have
    with open("/proc/sys/net/ipv4/ping_group_range", "w") as f:
        f.write("0 2147483647" if netns.users_are_the_hosts() else "0 0")


class Passt:
    """One passt. It listens at `socket`, serves one connection, and ends with it."""

    def __init__(self, *options):
        self.options = options
        self.directory = tempfile.TemporaryDirectory(prefix="vhost-dp-")
        os.chmod(self.directory.name, 0o777)    # root's passt becomes nobody
        self.socket = os.path.join(self.directory.name, "peer")
        self.log = os.path.join(self.directory.name, "log")
        self.process = None

    def start(self):
        """Start it, and wait for the socket."""
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(    # pylint: disable=R1732
                [*_command(), "--foreground", "--one-off", *self.options, "--no-map-gw", "--ipv4-only",
                 "--socket", self.socket], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while not os.path.exists(self.socket):
            if not self.runs() or time.monotonic() > end:
                raise RuntimeError(f"{self.said()}\npasst does not listen")
            time.sleep(0.05)

    def runs(self):
        """Whether it has not ended."""
        return self.process.poll() is None

    def said(self):
        """What it has printed."""
        with open(self.log, errors="replace") as log:
            return log.read()

    def close(self):
        """End it, and remove what it left behind."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self.directory.cleanup()
