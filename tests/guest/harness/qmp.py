# SPDX-License-Identifier: GPL-2.0-or-later
"""A small QMP client: commands in order over a unix socket, events kept until somebody asks for them."""

import json
import select
import socket
import time


class QmpError(Exception):
    """QEMU answered a command with an error."""


class QmpTimeout(Exception):
    """QEMU did not answer, or an event did not come, in time."""


class QmpClosed(Exception):
    """QEMU closed the connection."""


class Qmp:
    def __init__(self, path, timeout=30):
        """Connect to QEMU's monitor. `timeout` is how long an answer may take, in seconds."""
        self.timeout = timeout
        self.events = []
        self._buffer = b""
        self._next_id = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._message(time.monotonic() + timeout, "the greeting")
        self.command("qmp_capabilities")

    def close(self):
        self._socket.close()

    def _message(self, deadline, what):
        """The next message; `what` names what is being waited for."""
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                raise QmpTimeout(f"QEMU did not send {what} in time")
            try:
                data = self._socket.recv(1 << 16)
            except ConnectionError:
                data = b""
            if not data:
                raise QmpClosed(f"QEMU closed its monitor while {what} was waited for")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    def command(self, name, /, timeout=None, **arguments):
        """Run a command and return what it returns. A '_' in an argument's name stands for '-', and '__'
        for '_'."""
        arguments = {"_".join(part.replace("_", "-") for part in key.split("__")): value
                     for key, value in arguments.items()}
        self._next_id += 1
        request = {"execute": name, "id": self._next_id}
        if arguments:
            request["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as e:
            raise QmpClosed(f"QEMU took no command {name}: {e.strerror}") from None
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            message = self._message(deadline, f"its answer to {name}")
            if "event" in message:
                self.events.append(message)
            elif message.get("id") == self._next_id:
                if "error" in message:
                    raise QmpError(f"{name} {arguments}: {message['error']['desc']}")
                return message["return"]

    def hmp(self, line):
        """Run a line of the human monitor and return its output."""
        return self.command("human-monitor-command", command_line=line).replace("\r\n", "\n")

    def wait_event(self, name, timeout=None, **data):
        """Wait for an event whose data has the given members; it is taken out of the list."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            for event in self.events:
                if event["event"] == name and data.items() <= event.get("data", {}).items():
                    self.events.remove(event)
                    return event
            message = self._message(deadline, f"the event {name} {data or ''}".rstrip())
            if "event" in message:
                self.events.append(message)
