# SPDX-License-Identifier: GPL-2.0-or-later
"""An HTTP server on the host's side: serves one block of random bytes and takes it back.

GET /data gives the bytes, GET /data/N the first N of them; PUT takes a body, hashes it and answers
with its SHA-256. What went over the wire and how long it took is remembered per request.
"""

import hashlib
import http.server
import os
import socket
import threading
import time

MB = 1 << 20


class Transfer:
    """What one request moved."""

    def __init__(self, size, seconds, sha256):
        self.size = size
        self.seconds = seconds
        self.sha256 = sha256

    @property
    def rate(self):
        """MB per second."""
        return self.size / MB / max(self.seconds, 1e-6)


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        content = self.server.content
        if parts[0] != "data":
            return self.send_error(404)
        size = int(parts[1]) if len(parts) > 1 else len(content)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        start = time.monotonic()
        for at in range(0, size, 1 << 18):
            self.wfile.write(content[at:min(at + (1 << 18), size)])
        # Everything is sent when the peer has closed: the buffers of the socket hold much.
        self.connection.shutdown(socket.SHUT_WR)
        while self.connection.recv(4096):
            pass
        self._done("GET", size, start, None)

    def do_PUT(self):
        left = size = int(self.headers["Content-Length"])
        digest = hashlib.sha256()
        start = time.monotonic()
        while left:
            data = self.rfile.read1(min(left, 1 << 18))
            if not data:
                return
            digest.update(data)
            left -= len(data)
        self._done("PUT", size, start, digest.hexdigest())
        answer = digest.hexdigest().encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _done(self, verb, size, start, sha256):
        self.server.last[verb] = Transfer(size, time.monotonic() - start, sha256)


class _Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, *_):
        pass    # a peer that goes away in the middle is what some tests are about


class FileServer:
    """Listens on all addresses of the namespace. Use as a context manager, or call close()."""

    PORT = 8000

    def __init__(self, size=64 * MB):
        self._server = _Server(("::", self.PORT), _Handler)
        self._server.content = memoryview(os.urandom(size))
        self._server.last = {}
        self.size = size
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def sha256(self, size=None):
        """The sum of the first `size` bytes."""
        return hashlib.sha256(self._server.content[:self.size if size is None else size]).hexdigest()

    def last(self, verb):
        """The last finished "GET" or "PUT"; waits a moment for one that is just being finished."""
        deadline = time.monotonic() + 20
        while verb not in self._server.last and time.monotonic() < deadline:
            time.sleep(0.01)
        return self._server.last[verb]

    def forget(self):
        self._server.last.clear()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
