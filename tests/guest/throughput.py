#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare back ends under a guest's TCP: bytes per second, and per CPU-second of what moves them.

What moves them is vhost-dp's IOThread, or QEMU's main loop, and all of vhost-user's peer. The guest is the
limit under TCG, so its rate says little; what the data path spends on a byte does, but for a peer that
polls, which is never idle. The back ends run in turns, and the first is compared with the others by
medians. A round that stands still is counted, and is in no median. For the rings and drivers alone,
without a guest's TCP, see tests/bench.
"""

import itertools
import os
import statistics
import sys
import time

from harness import program
from harness.backends import BACKENDS
from harness.guest import Guest, GuestError, TooSlow
from harness.httpd import MB, FileServer
from harness.netns import Missing
from mkimage import ImageError


WAYS = "to the guest", "from the guest"


def _cpu_seconds(threads):
    total = 0
    for thread in threads:
        with open(f"{thread}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def _data_threads(guest, backend, nic):
    tasks = f"/proc/{guest.pid}/task"
    threads = set()
    if backend.counters:
        queues = [queue for info in guest.qmp.command("query-vhost-dp") for queue in info["queues"]]
        threads = {f"{tasks}/{queue['thread-id']}" for queue in queues}
    if nic.switch:
        tasks = f"/proc/{nic.switch.process.pid}/task"
        threads |= {f"{tasks}/{thread}" for thread in os.listdir(tasks)}
    return threads or {f"{tasks}/{guest.pid}"}      # QEMU's main loop


def measure(setup, backend, options):
    """What measure_nic() does, on a new NIC."""
    nic = backend.nic()
    try:
        return measure_nic(setup, backend, nic, options)
    finally:
        if nic.switch:
            nic.switch.close()


def measure_nic(setup, backend, nic, options):
    """MB per second, and per CPU-second of the data path: {"to the guest": ..., "from the guest": ...}.

    None if a transfer stood still."""
    megabytes = options.megabytes
    arguments, more = nic.arguments(), {}
    if options.iommu:
        arguments = ["-device", "intel-iommu,intremap=off",
                     *nic.arguments(iommu_platform=True, disable__legacy=True)]
        more = {"machine": "q35,kernel-irqchip=split", "append": "intel_iommu=on iommu.strict=1"}
    memory = 512 + 2 * megabytes
    # vhost-user needs it; so all have the same
    arguments += ["-object", f"memory-backend-memfd,id=ram0,size={memory}M,share=on",
                  "-machine", "memory-backend=ram0"]
    size = megabytes * MB
    url = f"http://{nic.host4}:{FileServer.PORT}/data/{size}"
    commands = dict(zip(WAYS, (f"wget -q -O /dev/null {url}",
                               f"http-put /tmp/data {nic.host4} {FileServer.PORT} back")))
    with FileServer(), Guest(setup.qemu, setup.image, arguments, accel=setup.accel,
                             memory=memory, **more) as guest:
        guest.start()
        backend.host_up(nic)
        guest.wait_ready()
        guest.sh(nic.net_up)
        try:
            guest.sh(f"wget -q -O /tmp/data {url}", timeout=options.patience)
            threads = _data_threads(guest, backend, nic)
            return {way: _transfer(guest, command, threads, options) for way, command in commands.items()}
        except TooSlow:
            return None


def _transfer(guest, command, threads, options):
    before, began = _cpu_seconds(threads), time.monotonic()
    guest.sh(command, timeout=options.patience)
    seconds = time.monotonic() - began
    return options.megabytes / seconds, options.megabytes / (_cpu_seconds(threads) - before)


def report(results):
    """Print medians, and how the first back end compares."""
    for name, rounds in results.items():
        if None in rounds:
            print(f"{name}: stood still in {rounds.count(None)} of {len(rounds)} rounds")
    done = {name: [each for each in rounds if each] for name, rounds in results.items() if any(rounds)}
    first = next(iter(results))
    for way, (index, unit) in itertools.product(WAYS, enumerate(("second", "CPU-second"))):
        values = {name: [each[way][index] for each in rounds] for name, rounds in done.items()}
        medians = {name: statistics.median(values[name]) for name in values}
        for name, median in medians.items():
            ratio = f", {first} has {medians[first] / median:.2f} x" if first in medians else ""
            print(f"{way}: {name}: {median:.3g} MB per {unit} ({min(values[name]):.3g} to "
                  f"{max(values[name]):.3g}){ratio}")


def main():
    options = program.parser(__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--against", metavar="BACKEND", nargs="+", choices=BACKENDS, default=["stock-tap"],
                         help="what to compare with (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each (default: %(default)s)")
    options.add_argument("--iommu", action="store_true",
                         help="behind an intel-iommu, which the guest maps each buffer in")
    options.add_argument("--megabytes", type=int, default=64, metavar="N",
                         help="what to transfer each way (default: %(default)s)")
    options.add_argument("--patience", type=int, default=600, metavar="SECONDS",
                         help="when a transfer stands still (default: %(default)s)")
    args = options.parse_args()
    try:
        setup = program.Program(args)
        names = [args.driver, *args.against]
        results = {name: [] for name in names}
        for _ in range(args.rounds):
            for name in names:
                results[name].append(measure(setup, BACKENDS[name], args))
    except (Missing, ImageError, GuestError, OSError) as e:
        sys.exit(f"throughput: {e}")
    report(results)


if __name__ == "__main__":
    main()
