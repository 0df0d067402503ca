# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest: QEMU with the guest image, its monitor, and a shell in it.

The guest's console goes to a file, which error messages quote. Commands go to the agent of the image
(rootfs/sbin/agent) over a second serial port. QEMU dies with the process that started it, whatever
becomes of that one.
"""

import base64
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from .hardware import firmware_arguments
from .qmp import Qmp, QmpClosed

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class GuestError(Exception):
    """The guest, or QEMU, did not do what it should; the text says what, with the end of their output."""


class TooSlow(GuestError):
    """The guest did not do it in time."""


class CommandError(GuestError):
    """A shell command in the guest ended with a status that is not 0."""


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _tail(path, lines=15):
    try:
        with open(path, errors="replace") as f:
            return "".join(f.readlines()[-lines:]).strip()
    except OSError:
        return ""


class Guest:
    """One QEMU process with one guest in it. Use as a context manager, or call close()."""

    def __init__(self, qemu, image, arguments=(), memory=512, cpus=1, accel="tcg", machine="pc",
                 reboot=False, append="", watched=False, inherit=()):
        """`image` is what mkimage.make_image() returned, `arguments` the devices' part of the command
        line, `append` more of the kernel's. Where `reboot` is false a guest that resets ends QEMU.
        `watched`: there is a second QMP monitor, path("watch"). `inherit`: descriptors that QEMU has
        under the same numbers."""
        self.dir = tempfile.mkdtemp(prefix="vhost-dp-")
        self.process = None
        self.qmp = None
        self._shell = None
        self._pending = b""
        self._number = 0
        self._inherit = inherit
        kernel, initramfs = image
        self.command_line = [
            qemu, *firmware_arguments(qemu), "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", machine, "-accel", accel, "-cpu", "host" if accel == "kvm" else "max",
            "-smp", str(cpus), "-m", str(memory), "-kernel", kernel, "-initrd", initramfs,
            # Under TCG on a busy host the kernel's check of its timer fails without any reason.
            "-append", f"console=ttyS0 quiet panic=-1 mitigations=off no_timer_check {append}",
            "-serial", f"file:{self.path('console')}",
            "-serial", f"unix:{self.path('shell')},server=on,wait=off",
            "-qmp", f"unix:{self.path('qmp')},server=on,wait=off",
            *(["-qmp", f"unix:{self.path('watch')},server=on,wait=off"] if watched else []),
            *([] if reboot else ["-no-reboot"]), *arguments]

    def path(self, name):
        """A file that lives as long as the guest."""
        return os.path.join(self.dir, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- starting and ending ---

    def start(self, timeout=30, more=()):
        """Start QEMU. When this returns its devices and host interfaces exist and it answers QMP."""
        self.launch(more)
        self.connect(timeout)

    def launch(self, more=()):
        """Start QEMU, and do not wait."""
        with open(self.path("stderr"), "w") as errors:
            self.process = subprocess.Popen([*self.command_line, *more], stdin=subprocess.DEVNULL, stdout=errors,
                                            stderr=errors, preexec_fn=_die_with_parent,
                                            pass_fds=self._inherit)

    def connect(self, timeout=30):
        """Wait until QEMU answers QMP, and connect to the guest's shell."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.qmp = Qmp(self.path("qmp"))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.02)
            except QmpClosed:
                self.process.wait(10)
            self._still_runs()
            if time.monotonic() > deadline:
                raise GuestError(f"QEMU answered no monitor within {timeout} s{self.said()}")
        self._shell = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._shell.connect(self.path("shell"))

    def reconnect(self, timeout=60):
        """QEMU has replaced, or is about to replace, itself: wait for that, and connect."""
        deadline = time.monotonic() + timeout
        try:
            while time.monotonic() < deadline:
                self.qmp.command("query-status")
                time.sleep(0.02)
        except QmpClosed:
            pass
        self.qmp.close()
        self._shell.close()
        self.connect(timeout)

    def wait_ready(self, timeout=120):
        """Wait until the guest has booted and its shell answers."""
        line = self._line(time.monotonic() + timeout, "boot")
        if line != "READY":
            raise GuestError(f"the guest's agent began with {line!r}{self.said()}")

    def take_shell(self, source):
        """The guest has come here from `source`, and so its shell goes on here."""
        self._number = source._number

    def close(self):
        """End QEMU and remove what belonged to it."""
        if self.qmp:
            self.qmp.close()
        if self._shell:
            self._shell.close()
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def move_through_file(self, timeout=120):
        """Migrate to a file, end QEMU, and go on in a new one with the same command line."""
        uri = f"file:{self.path('state')}"
        self.qmp.command("migrate", uri=uri)
        self._wait_migrated(timeout)
        self.quit()
        self.qmp.close()
        self._shell.close()
        self.start(more=["-incoming", uri])
        self._wait_migrated(timeout)
        self.qmp.command("cont")
        os.unlink(self.path("state"))

    def _wait_migrated(self, timeout):
        deadline = time.monotonic() + timeout
        while (info := self.qmp.command("query-migrate")).get("status") != "completed":
            if info.get("status") == "failed" or time.monotonic() > deadline:
                raise GuestError(f"migration: {info}{self.said()}")
            time.sleep(0.02)

    def quit(self, timeout=60):
        """Let QEMU end by itself, which must work, and return its exit status."""
        try:
            self.qmp.command("quit")
        except QmpClosed:
            pass
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise GuestError(f"QEMU did not end within {timeout} s after 'quit'{self.said()}") from None

    @property
    def pid(self):
        return self.process.pid

    def said(self):
        """What QEMU and the guest said last, to be put behind an error."""
        text = ""
        for what, name in (("QEMU said", "stderr"), ("the guest's console ends with", "console")):
            tail = _tail(self.path(name))
            if tail:
                text += f"\n{what}:\n" + "\n".join("  " + line for line in tail.splitlines())
        return text

    def _still_runs(self):
        status = self.process.poll()
        if status is not None:
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            raise GuestError(f"QEMU ended {how}{self.said()}")

    # --- the shell ---

    def _receive(self, deadline, what):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._shell], [], [], left)[0]:
            self._still_runs()
            raise TooSlow(f"the guest did not {what} in time{self.said()}")
        try:
            data = self._shell.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
            self._still_runs()
            raise GuestError(f"QEMU closed the guest's shell{self.said()}")
        self._pending += data

    def _line(self, deadline, what):
        while b"\n" not in self._pending:
            self._receive(deadline, what)
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode(errors="replace").strip("\r\0")

    def sh(self, command, timeout=60, check=True):
        """Run a shell command in the guest and return its output (stdout and stderr together).

        With check=False the result is (status, output) instead, and a status that is not 0 no error.
        """
        self._number += 1
        deadline = time.monotonic() + timeout
        what = f"finish '{command}'"
        encoded = base64.b64encode(command.encode()).decode()
        self._shell.sendall(f"RUN {self._number} {encoded}\n".encode())
        line = self._line(deadline, what)
        if line == "READY":
            raise GuestError(f"the guest rebooted while it ran '{command}'{self.said()}")
        verb, number, status, size = line.split()
        if verb != "DONE" or int(number) != self._number:
            raise GuestError(f"the guest's agent answered {line!r} to command {self._number}")
        while len(self._pending) < int(size):
            self._receive(deadline, what)
        output = self._pending[:int(size)].decode(errors="replace")
        self._pending = self._pending[int(size):]
        if not check:
            return int(status), output
        if int(status):
            raise CommandError(f"'{command}' failed in the guest with status {status}: {output.strip()}")
        return output

    def background(self, name, command):
        """Start a shell loop in the guest under a name; stop() ends it."""
        self.sh(f"setsid sh -c '{command}' </dev/null >/tmp/{name}.log 2>&1 & echo $! >/tmp/{name}.pid")

    def stop(self, name):
        # A process that has just been started may not lead its group yet
        self.sh(f"pid=$(cat /tmp/{name}.pid); kill -- -$pid || kill $pid", check=False)
