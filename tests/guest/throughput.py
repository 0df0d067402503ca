#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare back ends under a guest's TCP: bytes per CPU-second of the thread that moves them.

The guest is the limit under TCG, so its rate says nothing; what the data path's thread spends on a
byte does. The back ends run in turns, and the first is compared with the others by medians. For the
rings and drivers alone, without a guest's TCP, see tests/bench.
"""

import statistics
import sys

from harness import program
from harness.backends import BACKENDS
from harness.guest import Guest, GuestError
from harness.httpd import MB, FileServer
from harness.netns import Missing
from mkimage import ImageError


def _cpu_seconds(guest, threads):
    total = 0
    for thread in threads:
        with open(f"/proc/{guest.pid}/task/{thread}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def _data_threads(guest, backend):
    if not backend.counters:
        return [guest.pid]      # QEMU's main loop
    return [queue["thread-id"] for info in guest.qmp.command("query-vhost-dp") for queue in info["queues"]]


def measure(setup, backend, megabytes, iommu=False):
    """MB per CPU-second of the data path: {"to the guest": ..., "from the guest": ...}"""
    nic = backend.nic()
    arguments, more = nic.arguments(), {}
    if iommu:
        arguments = ["-device", "intel-iommu,intremap=off",
                     *nic.arguments(iommu_platform=True, disable__legacy=True)]
        more = {"machine": "q35,kernel-irqchip=split", "append": "intel_iommu=on iommu.strict=1"}
    size = megabytes * MB
    url = f"http://{nic.host4}:{FileServer.PORT}/data/{size}"
    commands = {
        "to the guest": f"wget -q -O /dev/null {url}",
        "from the guest": f"http-put /tmp/data {nic.host4} {FileServer.PORT} back",
    }
    result = {}
    with FileServer(), Guest(setup.qemu, setup.image, arguments, accel=setup.accel,
                             memory=512 + 2 * megabytes, **more) as guest:
        guest.start()
        backend.host_up(nic)
        guest.wait_ready()
        guest.sh(nic.net_up)
        guest.sh(f"wget -q -O /tmp/data {url}", timeout=600)
        threads = _data_threads(guest, backend)
        for way, command in commands.items():
            before = _cpu_seconds(guest, threads)
            guest.sh(command, timeout=600)
            result[way] = megabytes / (_cpu_seconds(guest, threads) - before)
    return result


def main():
    options = program.parser(__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--against", metavar="BACKEND", nargs="+", choices=BACKENDS, default=["stock-tap"],
                         help="what to compare with (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each (default: %(default)s)")
    options.add_argument("--iommu", action="store_true",
                         help="behind an intel-iommu, which the guest maps each buffer in")
    options.add_argument("--megabytes", type=int, default=64, metavar="N",
                         help="what to transfer each way (default: %(default)s)")
    args = options.parse_args()
    try:
        setup = program.Program(args)
        names = [args.driver, *args.against]
        results = {name: [] for name in names}
        for _ in range(args.rounds):
            for name in names:
                results[name].append(measure(setup, BACKENDS[name], args.megabytes, args.iommu))
    except (Missing, ImageError, GuestError, OSError) as e:
        sys.exit(f"throughput: {e}")
    for way in results[names[0]][0]:
        medians = {name: statistics.median(r[way] for r in results[name]) for name in names}
        for name in names:
            values = [r[way] for r in results[name]]
            print(f"{way}: {name}: {medians[name]:.0f} MB per CPU-second ({min(values):.0f} to "
                  f"{max(values):.0f}), {args.driver} has {medians[names[0]] / medians[name]:.2f} x")


if __name__ == "__main__":
    main()
