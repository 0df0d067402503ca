#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# vhost-dp-vhost-user with Open vSwitch and DPDK (port type dpdkvhostuserclient):
# frames go out, come back with their addresses exchanged, and are all compared.
#
# usage: unshare -n tests/guest/ovs-dpdk.sh [BUILD_DIR]
#
# Not part of `make check'.  Needs Debian's openvswitch-switch-dpdk, or its files
# and those of openvswitch-switch and -common below $OVS_ROOT, and two CPUs; no
# huge pages: OVS adds --in-memory by itself, which does not go with --no-huge,
# unless it is told --legacy-mem.

set -eu
build=$(realpath "${1:-build}")
root=${OVS_ROOT:-}
PATH=$root/usr/bin:$root/usr/sbin:$PATH
dir=$(mktemp -d)
export OVS_RUNDIR="$dir" OVS_LOGDIR="$dir" OVS_DBDIR="$dir" OVS_SYSCONFDIR="$dir"
pids=

finish() {
    status=$?
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ $status != 0 ]; then
        tail -20 "$dir"/*.log >&2 2>/dev/null || true
    fi
    rm -rf "$dir"
    exit $status
}
trap finish EXIT

vsctl() {
    ovs-vsctl --db="unix:$dir/db.sock" -t 60 "$@"
}

ovsdb-tool create "$dir/conf.db" "$root/usr/share/openvswitch/vswitch.ovsschema"
ovsdb-server --remote="punix:$dir/db.sock" "$dir/conf.db" >"$dir/db.log" 2>&1 &
pids=$!
while [ ! -S "$dir/db.sock" ]; do sleep 0.1; done
vsctl --no-wait init -- set Open_vSwitch . other_config:dpdk-init=true \
    other_config:dpdk-extra="--no-huge --legacy-mem -m 1024 --no-pci --no-shconf" \
    other_config:pmd-cpu-mask=0x2
"$root/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk" "unix:$dir/db.sock" \
    >"$dir/vswitchd.log" 2>&1 &
pids="$! $pids"
vsctl add-br br0 -- set bridge br0 datapath_type=netdev -- \
    add-port br0 vhost0 -- set Interface vhost0 type=dpdkvhostuserclient \
    options:vhost-server-path="$dir/peer"
swap='push:NXM_OF_ETH_SRC[],push:NXM_OF_ETH_DST[],pop:NXM_OF_ETH_SRC[],pop:NXM_OF_ETH_DST[]'
ovs-ofctl del-flows "unix:$dir/br0.mgmt"
ovs-ofctl add-flow "unix:$dir/br0.mgmt" "in_port=vhost0,actions=$swap,IN_PORT"

echo_frames() {
    "$build/vhost-dp/tests/bench/vhost-dp-loadgen" --mode both --expect echo \
        --check-all --nap --size 1000 --seconds 2 --rate 20k -- \
        "$build/qemu-system-x86_64" \
        -object "vhost-dp-vhost-user,id=vu0,path=$dir/peer,server=on,packed=$1" \
        -netdev vhost-dp,id=net0,driver=vu0 >"$dir/result"
}

for packed in off on; do
    # OVS drops what comes before its own threads know of the connection
    echo_frames $packed || echo_frames $packed || echo_frames $packed
    echo "ok packed=$packed:" "$(grep -o '"rx_packets": [0-9]*' "$dir/result" | head -1)"
done
