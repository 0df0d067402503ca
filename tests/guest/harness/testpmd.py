# SPDX-License-Identifier: GPL-2.0-or-later
"""DPDK's testpmd, with a port that is a vhost-user back end."""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time

from . import netns
from .netns import Missing

_PR_SET_PDEATHSIG = 1


def need():
    """Whether it can be run here."""
    if not shutil.which("dpdk-testpmd"):
        raise Missing("there is no command dpdk-testpmd: install dpdk-dev and librte-meta-net")


def _lcores():
    """Two lcores, the second of which never sleeps, on CPUs that we may use: two of them if there are."""
    cpus = sorted(os.sched_getaffinity(0))
    return f"0@{cpus[0]},1@{cpus[1 % len(cpus)]}"


def die_with_parent():
    """For a new process: it ends when this program does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# testpmd drops what a port does not take at once. With these it waits for the port, up to 0.1 s.
_PATIENT = "set fwd io retry\nset burst tx delay 50 retry 2000\n"


class Testpmd:
    """One testpmd; `vhost` are options of net_vhost, `more` are other arguments."""

    def __init__(self, vhost="", mode="io", ports=(), more=()):
        self.directory = tempfile.TemporaryDirectory(prefix="vhost-dp-")
        self.socket = os.path.join(self.directory.name, "peer")
        self.log = os.path.join(self.directory.name, "log")
        self.process = None
        self.command = ["dpdk-testpmd", "--no-pci", "--no-huge", "--no-shconf", "-m", "256", "--lcores", _lcores(),
                        "--vdev", f"net_vhost0,iface={self.socket}{vhost}"]
        for port in ports:
            self.command += ["--vdev", port]
        self.command += ["--", "--auto-start", f"--forward-mode={mode}", "--nb-cores=1",
                         "--total-num-mbufs=8192", *more]

    def start(self):
        """Start it; it ends when this program does."""
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(    # pylint: disable=R1732
                self.command, stdin=subprocess.PIPE, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def said(self):
        """What it has printed."""
        with open(self.log, errors="replace") as log:
            return log.read()

    def wait(self, condition, what, timeout=60):
        """Wait until condition() holds."""
        end = time.monotonic() + timeout
        while not condition():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.said()}\ndpdk-testpmd has ended")
            if time.monotonic() > end:
                raise RuntimeError(f"{self.said()}\ndpdk-testpmd: {what}")
            time.sleep(0.05)

    def signal(self, number):
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self):
        """End it at once, as a crash would."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process = None

    def close(self):
        """End it, and remove what it left behind."""
        self.kill()
        self.directory.cleanup()


class Switch(Testpmd):
    """testpmd between QEMU, which listens, and a tap interface that it makes."""

    def __init__(self, interface, vhost="", patient=False):
        super().__init__(f",client=1{vhost}", ports=[f"net_tap0,iface={interface}"])
        self.interface = interface
        if patient:
            commands = os.path.join(self.directory.name, "commands")
            with open(commands, "w") as f:
                f.write(_PATIENT)
            self.command.append(f"--cmdline-file={commands}")

    def start(self):
        """Start it, and wait for the interface."""
        super().start()
        self.wait(lambda: netns.exists(self.interface), f"does not make {self.interface}")
