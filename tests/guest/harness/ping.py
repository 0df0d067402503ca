# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMP echo from the host's side, quick enough to be asked for after every step of a stress test."""

import os
import select
import socket
import struct
import time


def _checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


class Pinger:
    """Asks one address, IPv4 or IPv6."""

    def __init__(self, address):
        self.address = address
        self._v6 = ":" in address
        self._request, self._reply = (128, 129) if self._v6 else (8, 0)
        if self._v6:
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        else:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._ident = os.getpid() & 0xFFFF
        self._sequence = 0

    def close(self):
        self._socket.close()

    def _send(self, size):
        self._sequence = (self._sequence + 1) & 0xFFFF
        body = os.urandom(size)
        head = struct.pack("!BBHHH", self._request, 0, 0, self._ident, self._sequence)
        if not self._v6:    # the kernel sums ICMPv6 itself
            head = struct.pack("!BBHHH", 8, 0, _checksum(head + body), self._ident, self._sequence)
        try:
            self._socket.sendto(head + body, (self.address, 0))
        except OSError:
            pass    # no route or no neighbour yet: the next one may get through
        return body

    def ping(self, timeout=2.0, size=56, interval=0.1):
        """Send requests until one is answered with the same data. Seconds taken, or None."""
        start = time.monotonic()
        sent = {}
        while (now := time.monotonic()) < start + timeout:
            body = self._send(size)
            sent[self._sequence] = body
            until = now + interval
            while (left := until - time.monotonic()) > 0:
                if not select.select([self._socket], [], [], left)[0]:
                    break
                data = self._socket.recv(1 << 16)
                if not self._v6:
                    data = data[(data[0] & 15) * 4:]
                kind, _, _, ident, sequence = struct.unpack("!BBHHH", data[:8])
                if kind == self._reply and ident == self._ident and sent.get(sequence) == data[8:]:
                    return time.monotonic() - start
        return None
