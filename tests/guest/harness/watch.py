# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks at QEMU from outside while something else is done to it: its monitor, its heap, its threads."""

import contextlib
import re
import threading
import time

from .qmp import Qmp


class Watcher:
    """Asks query-vhost-dp over a monitor of its own, all the time, in a thread of its own."""

    def __init__(self, path, pause=0.02, timeout=30):
        self.path = path
        self.answers = 0
        self.slowest = 0.0
        self.problem = None     # the exception that ended it
        self._pause = pause
        self._timeout = timeout
        self._lock = threading.Lock()    # held while it asks
        self._end = threading.Event()
        self._qmp = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._qmp = Qmp(self.path, self._timeout)
        self._thread.start()

    def stop(self):
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._qmp:
            self._qmp.close()
            self._qmp = None

    def check(self):
        """Raise what went wrong."""
        if self.problem:
            raise AssertionError(f"the second monitor: {self.problem!r}") from self.problem

    @contextlib.contextmanager
    def paused(self):
        """QEMU is replaced in here."""
        with self._lock:
            self._qmp.close()
            yield
            self._qmp = Qmp(self.path, self._timeout)

    def _run(self):
        while not self._end.wait(self._pause):
            with self._lock:
                try:
                    self._ask()
                except Exception as e:    # check() raises it, whatever it is
                    self.problem = e
                    return

    def _ask(self):
        start = time.monotonic()
        infos = self._qmp.command("query-vhost-dp")
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.answers += 1
        self._qmp.events.clear()
        for info in infos:
            if info["link-up"] == ("link-reason" in info):
                raise AssertionError(f"link-up and link-reason contradict each other: {info}")
            for pair in info["queues"]:
                if not 0 <= pair["index"] < info["max-queue-pairs"]:
                    raise AssertionError(f"there is no such queue pair: {info}")


def heap(pid):
    """Bytes of private memory in use, without what is executable: TCG's code."""
    total = 0
    counts = False
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            found = re.match(r"[0-9a-f]+-[0-9a-f]+ (\S+) ", line)
            if found:
                counts = "x" not in found[1] and "p" in found[1]
            elif counts and line.startswith("Anonymous:"):
                total += int(line.split()[1]) * 1024
    return total


def activity(pid, thread):
    """How often a thread has been switched to, and the milliseconds that it ran."""
    with open(f"/proc/{pid}/task/{thread}/status") as f:
        switches = sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
    with open(f"/proc/{pid}/task/{thread}/schedstat") as f:
        return switches, int(f.read().split()[0]) / 1e6
