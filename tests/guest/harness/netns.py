# SPDX-License-Identifier: GPL-2.0-or-later
"""A network of one's own: every test runs in a network namespace that dies with it.

enter() starts the calling program again inside a new namespace, with a user namespace around it where
the caller is not root. Whatever it makes there (taps, addresses, servers) is gone when it ends, and
nothing outside is touched.
"""

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys

_MARK = "VHOST_DP_NETNS"    # in the environment: the process that is inside the namespace


class Missing(Exception):
    """This machine or account lacks something; a test is skipped, the demo fails, and the text says why."""


def _read(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return None


def _unshare():
    """The command that runs another one in a new network namespace."""
    if not shutil.which("unshare"):
        raise Missing("there is no command unshare: install util-linux")
    user = ["unshare", "--user", "--map-root-user", "--net", "--"]
    tries = [["unshare", "--net", "--"], user] if os.geteuid() == 0 else [user]
    for command in tries:
        done = subprocess.run([*command, "true"], capture_output=True, text=True)
        if done.returncode == 0:
            return command
    reasons = {
        "/proc/sys/kernel/unprivileged_userns_clone": "0",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
        "/proc/sys/user/max_user_namespaces": "0",
        "/proc/sys/user/max_net_namespaces": "0",
    }
    found = [f"{path} is {value}" for path, value in reasons.items() if _read(path) == value]
    raise Missing("no network namespace can be made here without more privileges: "
                  + (", ".join(found) or done.stderr.strip()))


def enter(before=lambda: None):
    """Be in a private network namespace: returns there, in a new run of this program.

    `before` is called first, outside, where the machine's own network can still be reached.
    """
    if os.environ.get(_MARK) == str(os.getpid()):
        ip("link", "set", "lo", "up")
        return
    command = _unshare()
    if not shutil.which("ip"):
        raise Missing("there is no command ip: install iproute2")
    before()
    os.environ[_MARK] = str(os.getpid())    # unshare replaces us, and is replaced: the number stays
    sys.stdout.flush()
    os.execvp(command[0], [*command, sys.executable, *sys.orig_argv[1:]])


def need_tun():
    """Whether tap interfaces can be made."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except FileNotFoundError:
        raise Missing("/dev/net/tun is missing: load the kernel module tun") from None
    except OSError as e:
        raise Missing(f"/dev/net/tun cannot be opened ({e.strerror}): it needs mode 0666, "
                      "which is what udev gives it, or run this as root") from None


def need_vhost_net():
    """Whether there is vhost-net."""
    try:
        os.close(os.open("/dev/vhost-net", os.O_RDWR))
    except OSError as e:
        raise Missing(f"/dev/vhost-net cannot be opened ({e.strerror}): it needs the kernel module vhost_net, "
                      "and access for this account") from None


def users_are_the_hosts():
    """Whether root is root, and not that of a user namespace."""
    return list(map(int, _read("/proc/self/uid_map").split())) == [0, 0, 2**32 - 1]


def need_bpf():
    """Whether XDP programs can be loaded: as root, and not of a user namespace."""
    effective = next(line for line in _read("/proc/self/status").splitlines() if line.startswith("CapEff:"))
    if not users_are_the_hosts() or not int(effective.split()[1], 16) >> 39 & 1:
        raise Missing("XDP programs cannot be loaded by this account (no CAP_BPF): run this as root")


def need_userfaultfd():
    """Whether page faults of a process can be handled by itself, which postcopy migration needs."""
    try:
        os.close(os.open("/dev/userfaultfd", os.O_RDWR))
        return
    except OSError:
        pass    # an older kernel, or only for root: there is a system call as well
    number = {"x86_64": 323, "aarch64": 282}[platform.machine()]    # asm/unistd.h
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(number, os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        raise Missing(f"no userfaultfd for this account ({os.strerror(ctypes.get_errno())}), and so no postcopy: "
                      "run this as root, or set vm.unprivileged_userfaultfd=1")
    os.close(fd)


def _run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"'{' '.join(map(str, command))}' failed: {done.stderr.strip()}")
    return done.stdout


def ip(*arguments):
    """Run ip(8); an error carries what it said."""
    return _run("ip", *arguments)


def ethtool(*arguments):
    """Run ethtool(8); an error carries what it said."""
    return _run("ethtool", *arguments)


def link(name):
    """An interface as ip(8) knows it, with its counters in "stats64"."""
    return json.loads(ip("-s", "-j", "link", "show", "dev", name))[0]


def exists(name):
    """Is there an interface of this name?"""
    return os.path.exists(f"/proc/sys/net/ipv4/conf/{name}")


def listens(port):
    """Whether a program in the namespace waits for TCP connections on this port."""
    listening = f":{port:04X} ", " 0A "
    for name in ("tcp", "tcp6"):
        for line in (_read(f"/proc/net/{name}") or "").splitlines():
            if all(part in line for part in listening):
                return True
    return False


def interface_up(name, ip4, ip6, mtu=None):
    """Give an interface of the host's side its addresses and bring it up."""
    ip("addr", "replace", ip4, "dev", name)
    ip("-6", "addr", "replace", ip6, "dev", name, "nodad")
    if mtu:
        ip("link", "set", "dev", name, "mtu", mtu)
    ip("link", "set", "dev", name, "up")
    for table in ("arp_cache", "ndisc_cache"):    # a lost question is asked again soon, not after a second
        ip("ntable", "change", "name", table, "dev", name, "retrans", 100,
           "mcast_probes", 20)
