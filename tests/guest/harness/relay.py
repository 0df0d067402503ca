# SPDX-License-Identifier: GPL-2.0-or-later
"""A tap interface behind a stream socket: what -netdev stream of another QEMU is, with a hub and -netdev tap.

As a program: relay.py SOCKET INTERFACE. It listens, makes the interface, and carries frames for one peer after
the other. What comes while there is no peer is lost, as on a cable that is not plugged in.
"""

import fcntl
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time

from . import netns, testpmd

_TUNSETIFF = 0x400454CA
_IFF_TAP_NO_PI = 0x1002


class Relay:
    """The program, as testpmd.Switch is one."""

    def __init__(self, interface):
        self.directory = tempfile.TemporaryDirectory(prefix="vhost-dp-")
        self.socket = os.path.join(self.directory.name, "peer")
        self.interface = interface
        self.process = None

    def start(self):
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(    # pylint: disable=R1732
            [sys.executable, "-m", "harness.relay", self.socket, self.interface],
            cwd=os.path.dirname(os.path.dirname(os.path.realpath(__file__))), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, preexec_fn=testpmd.die_with_parent)
        end = time.monotonic() + 30
        while not (os.path.exists(self.socket) and netns.exists(self.interface)):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the relay does not listen")
            time.sleep(0.05)

    def close(self):
        """End it, and its interface with it."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self.directory.cleanup()


def _carry(tap, peer):
    """Until the peer has gone."""
    buffer = bytearray()
    selector = selectors.DefaultSelector()
    selector.register(tap, selectors.EVENT_READ)
    selector.register(peer, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj == tap:
                frame = os.read(tap, 65536 + 18)
                peer.sendall(struct.pack("!I", len(frame)) + frame)
                continue
            data = peer.recv(1 << 18)
            if not data:
                return
            buffer += data
            at = 0
            while len(buffer) >= at + 4:
                end = at + 4 + int.from_bytes(buffer[at:at + 4], "big")
                if len(buffer) < end:
                    break
                try:
                    os.write(tap, buffer[at + 4:end])
                except OSError:     # the interface is down
                    pass
                at = end
            del buffer[:at]


def main():
    path, interface = sys.argv[1:]
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH", interface.encode(), _IFF_TAP_NO_PI))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            peer, _ = listener.accept()
            with peer:
                try:
                    _carry(tap, peer)
                except ConnectionError:
                    pass


if __name__ == "__main__":
    main()
