#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the guest image: a kernel and an initramfs, in a directory of the build.

The kernel is the one that Debian's package linux-image-cloud-amd64 stands for, fetched with the
machine's own apt, unpacked and never installed. The initramfs is a busybox, a few programs of this
machine with their libraries, the few kernel modules that the tests want, and the files of
tests/guest/rootfs; it is written here, in cpio's "newc" form,
which needs neither root nor cpio. What was fetched once is used from then on, so later runs are
offline; an image that is newer than everything that it is made of is left as it is.

    mkimage.py --output build/guest            makes build/guest/vmlinuz and build/guest/initramfs.gz
    mkimage.py --output build/guest --refresh  asks apt for the kernel again
"""

import argparse
import fcntl
import glob
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOTFS = os.path.join(HERE, "rootfs")
KERNEL_PACKAGE = "linux-image-cloud-amd64"

# What the guest can load, without what these need in turn (that is looked up).
MODULES = [
    "virtio_pci", "virtio_mmio", "virtio_net",   # the device under test
    "pktgen",                                    # packets as fast as the guest can make them
    "8021q",                                     # VLANs
    "tun", "veth", "macvtap", "vhost_net",       # interfaces for a QEMU in the guest (tests/nested)
    "vfio_pci", "vfio_iommu_type1",              # a second-level guest or a user-space driver
]

# What the guest has of this machine's programs: the package's name is the program's.
PROGRAMS = ["iperf3", "ethtool"]


class ImageError(Exception):
    """The image cannot be made; the text says why and what to do."""


def _run(command, **kwargs):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, **kwargs).stdout
    except FileNotFoundError:
        raise ImageError(f"{command[0]} is not installed, but the guest image needs it") from None
    except subprocess.CalledProcessError as e:
        said = (e.stderr or e.stdout or "").strip()
        raise ImageError(f"'{' '.join(command)}' failed with status {e.returncode}: {said}") from None


# --- the kernel -----------------------------------------------------------------------------------

def _kernel_package():
    """The package that holds the kernel: the one that the metapackage depends on."""
    for line in _run(["apt-cache", "depends", KERNEL_PACKAGE]).splitlines():
        found = re.match(r"\s*Depends:\s+(linux-image-\S+)", line)
        if found:
            return found.group(1)
    raise ImageError(f"apt knows no package {KERNEL_PACKAGE}: run 'apt-get update' (as root) with a "
                     "Debian amd64 archive among apt's sources, or give a kernel package with --deb")


def _fetch_kernel(where, deb):
    """Fill the directory `where` with the kernel package's files."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(where)) as tmp:
        if not deb:
            os.chmod(tmp, 0o755)
            _run(["apt-get", "download", "-q", _kernel_package()], cwd=tmp)
            deb = glob.glob(os.path.join(tmp, "*.deb"))[0]
        files = os.path.join(tmp, "files")
        _run(["dpkg-deb", "--extract", deb, files])
        if not glob.glob(os.path.join(files, "boot", "vmlinuz-*")):
            raise ImageError(f"{deb} holds no boot/vmlinuz-*: it is no kernel package")
        shutil.rmtree(where, ignore_errors=True)
        os.rename(files, where)


def _module_dir(kernel):
    for pattern in ("lib/modules/*", "usr/lib/modules/*"):
        found = glob.glob(os.path.join(kernel, pattern))
        if found:
            return found[0]
    raise ImageError(f"no lib/modules under {kernel}: remove that directory and try again")


def _module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def _module_content(path):
    with open(path, "rb") as f:
        data = f.read()
    if path.endswith(".xz"):
        return lzma.decompress(data)
    if path.endswith(".gz"):
        return gzip.decompress(data)
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout
    return data


def _modules(kernel):
    """The wanted modules and what they need: {name: (path in the image, content, [names needed])}."""
    top = _module_dir(kernel)
    files = {}
    for folder, _, names in os.walk(top):
        for name in names:
            if ".ko" in name:
                files[_module_name(name)] = os.path.join(folder, name)
    chosen = {}

    def add(name):
        if name in chosen or name not in files:
            return    # built into the kernel, or of another kernel version: the guest's init copes
        content = _module_content(files[name])
        needs = re.search(rb"\0depends=([^\0]*)\0", content)
        needs = [n.replace("-", "_") for n in needs.group(1).decode().split(",") if n] if needs else []
        for other in needs:
            add(other)
        inside = os.path.relpath(files[name], top)
        inside = inside[:inside.index(".ko")] + ".ko"
        chosen[name] = (inside, content, needs)

    for name in MODULES:
        add(name)
    return os.path.basename(top), chosen


def _modules_dep(chosen):
    """modules.dep as modprobe reads it: each module with all that it needs, the nearest first."""
    def closure(name, seen):
        for other in chosen[name][2]:
            if other in chosen and other not in seen:
                seen.append(other)
                closure(other, seen)
        return seen

    # A module must stand before everything that it needs, however it was reached.
    order = list(chosen)    # _modules() added needs first
    lines = []
    for name, (path, _, _) in chosen.items():
        needs = sorted(closure(name, []), key=order.index, reverse=True)
        lines.append(f"{path}: {' '.join(chosen[n][0] for n in needs)}".rstrip())
    return "\n".join(lines) + "\n"


# --- the initramfs --------------------------------------------------------------------------------

class Cpio:
    """An archive in cpio's newc form, in memory."""

    def __init__(self):
        self.out = io.BytesIO()
        self.inode = 0
        self.folders = set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self.inode += 1
        raw = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(raw), 0)
        self.out.write(b"070701" + b"".join(b"%08x" % f for f in fields) + raw)
        self.out.write(b"\0" * (-self.out.tell() % 4) + data)
        self.out.write(b"\0" * (-self.out.tell() % 4))

    def folder(self, name):
        if not name or name in self.folders:
            return
        self.folder(os.path.dirname(name))
        self.folders.add(name)
        self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o644):
        self.folder(os.path.dirname(name))
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        self.folder(os.path.dirname(name))
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name, major, minor):
        self.folder(os.path.dirname(name))
        self._entry(name, stat.S_IFCHR | 0o600, rdev=(major, minor))

    def finish(self):
        self._entry("TRAILER!!!", 0)
        return self.out.getvalue()


def _busybox():
    """A statically linked busybox; the guest has no C library."""
    found = shutil.which("busybox", path=os.environ.get("PATH", "") + ":/bin:/usr/bin")
    if not found:
        raise ImageError("no busybox on this machine: install the package busybox-static")
    with open(found, "rb") as f:
        data = f.read()
    if b"/lib64/ld-linux-x86-64.so.2" in data[:4096]:
        raise ImageError(f"{found} is not statically linked: install busybox-static instead of busybox")
    return found, data


def find_program(name):
    """The path of a program of this machine."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin:/bin:/sbin")
    if not found:
        raise ImageError(f"no {name} on this machine: install the package {name}")
    return found


def _program_files():
    """The programs and the libraries that they need: {path in the image: path on this machine}."""
    files = {}
    for name in PROGRAMS:
        program = find_program(name)
        files["bin/" + name] = program
        for library in re.findall(r"(?:=>\s+)?(/\S+) \(0x", _run(["ldd", program])):
            files[library.lstrip("/")] = library
            # The C library loads it when a thread is cancelled, and ends the program without it
            unwinder = os.path.join(os.path.dirname(library), "libgcc_s.so.1")
            if os.path.basename(library) == "libc.so.6" and os.path.exists(unwinder):
                files[unwinder.lstrip("/")] = unwinder
    return files


def _rootfs_files():
    for folder, _, names in os.walk(ROOTFS):
        for name in names:
            yield os.path.join(folder, name)


def _initramfs(kernel):
    archive = Cpio()
    for folder in ("proc", "sys", "dev", "tmp", "run", "root"):
        archive.folder(folder)
    archive.device("dev/console", 5, 1)    # for the first process, before anything is mounted
    archive.file("bin/busybox", _busybox()[1], 0o755)
    archive.link("bin/sh", "busybox")
    for inside, path in sorted(_program_files().items()):
        with open(path, "rb") as f:
            archive.file(inside, f.read(), 0o755)
    version, chosen = _modules(kernel)
    for path, content, _ in chosen.values():
        archive.file(f"lib/modules/{version}/{path}", content)
    archive.file(f"lib/modules/{version}/modules.dep", _modules_dep(chosen).encode())
    for path in sorted(_rootfs_files()):
        with open(path, "rb") as f:
            archive.file(os.path.relpath(path, ROOTFS), f.read(), 0o755)
    return gzip.compress(archive.finish(), 6, mtime=0)


def _older(output, inputs):
    """Whether `output` is missing or older than one of `inputs`."""
    if not os.path.exists(output):
        return True
    made = os.stat(output).st_mtime
    return any(os.stat(i).st_mtime > made for i in inputs)


def _replace(path, data):
    with open(path + ".new", "wb") as f:
        f.write(data)
    os.rename(path + ".new", path)


def make_image(output, refresh=False, deb=None, say=lambda text: None):
    """Make what is missing or out of date under `output`. Returns the paths of kernel and initramfs."""
    os.makedirs(output, exist_ok=True)
    kernel = os.path.join(os.path.abspath(output), "kernel")
    vmlinuz, initramfs = (os.path.join(output, n) for n in ("vmlinuz", "initramfs.gz"))
    with open(os.path.join(output, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)    # two tests may start at once
        if refresh or deb or not os.path.isdir(kernel):
            say("fetching the guest's kernel")
            _fetch_kernel(kernel, deb)
            for old in (vmlinuz, initramfs):
                if os.path.lexists(old):
                    os.remove(old)
        if not os.path.exists(vmlinuz):
            shutil.copyfile(glob.glob(os.path.join(kernel, "boot", "vmlinuz-*"))[0], vmlinuz + ".new")
            os.rename(vmlinuz + ".new", vmlinuz)
        if _older(initramfs, [os.path.abspath(__file__), _busybox()[0], *_program_files().values(),
                              *_rootfs_files()]):
            say("packing the guest's initramfs")
            _replace(initramfs, _initramfs(kernel))
    return vmlinuz, initramfs


def add_archive(image, initramfs, archive):
    """Write the file `initramfs`: the initramfs of `image` with another archive (Cpio.finish()) behind it.
    Returns the new image."""
    kernel, base = image
    with open(base, "rb") as f:
        data = f.read()
    # An archive begins at a multiple of four bytes (the kernel's Documentation, early-userspace buffer format)
    _replace(initramfs, data + b"\0" * (-len(data) % 4) + archive)
    return kernel, initramfs


def main():
    parser = argparse.ArgumentParser(description="Make the guest image: a kernel and an initramfs.")
    parser.add_argument("--output", required=True, metavar="DIR", help="the directory that it goes to")
    parser.add_argument("--refresh", action="store_true", help="ask apt for the kernel again")
    parser.add_argument("--deb", metavar="FILE", help="take the kernel from this package, not from apt")
    args = parser.parse_args()
    try:
        for path in make_image(args.output, args.refresh, args.deb, say=print):
            print(f"{path}: {os.path.getsize(path) >> 10} KB")
    except (ImageError, OSError) as e:
        sys.exit(f"mkimage: {e}")


if __name__ == "__main__":
    main()
