/*
 * vhost-dp-af-xdp: the program that hands frames to the sockets
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the interface's driver, or the kernel's network stack
 * in its place (mode=skb), runs a program for each frame.  Ours looks the
 * receive queue up in a map (BPF_MAP_TYPE_XSKMAP) of sockets.  Frames of
 * queues without a socket go on to the host.
 *
 * The program is attached by a BPF link, which lives as long as its
 * descriptor: however QEMU ends, the kernel removes it.  libxdp 1.3 cannot do
 * that; it attaches a dispatcher of its own by netlink, which stays, and needs
 * a mounted BPF file system.
 *
 * With inhibit=on the program and the map are somebody else's: the sockets
 * were entered already (sock-fds=), or are by us (map-path=).
 */

#include "qemu/osdep.h"
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "af-xdp-int.h"
#include "trace.h"

/* Linux 5.18; not in the headers of all C libraries */
#define AFXDP_PROG_HAS_FRAGS (1u << 5)

/* @errp is guarded */
static void afxdp_no_permission(Error **errp)
{
    error_append_hint(errp, "Give QEMU CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, "
                      "in the host's initial user namespace, or let a "
                      "privileged program open the sockets and pass them "
                      "with inhibit=on,sock-fds=.\n");
}

/* ---- The program ---- */

static bool afxdp_map_create(VhostDPAfXdp *xdp, Error **errp)
{
    ERRP_GUARD();

    xdp->map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "vhost_dp_xsks",
                              sizeof(uint32_t), sizeof(int),
                              xdp->start_queue + xdp->nqueues, NULL);
    if (xdp->map >= 0) {
        return true;
    }
    if (errno == EPERM) {
        error_setg(errp, "no permission to create a BPF map");
        afxdp_no_permission(errp);
    } else {
        error_setg_errno(errp, errno, "cannot create a BPF map of sockets");
    }
    return false;
}

/* redirect_map(&map, rx_queue_index, XDP_PASS); returns a descriptor or -1 */
static int afxdp_prog_load(int map, Error **errp)
{
    ERRP_GUARD();
    struct bpf_insn insns[] = {
        {   /* r2 = ctx->rx_queue_index */
            .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_2,
            .src_reg = BPF_REG_1,
            .off = offsetof(struct xdp_md, rx_queue_index),
        },
        {   /* r1 = map, an instruction of two */
            .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = BPF_REG_1,
            .src_reg = BPF_PSEUDO_MAP_FD, .imm = map,
        },
        { },
        {   /* r3 = what to do without a socket */
            .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3,
            .imm = XDP_PASS,
        },
        { .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map },
        { .code = BPF_JMP | BPF_EXIT },
    };
    LIBBPF_OPTS(bpf_prog_load_opts, opts,
                .prog_flags = AFXDP_PROG_HAS_FRAGS);
    int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "vhost_dp", "GPL", insns,
                           ARRAY_SIZE(insns), &opts);

    if (fd < 0 && errno == EINVAL) {
        opts.prog_flags = 0;
        fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "vhost_dp", "GPL", insns,
                           ARRAY_SIZE(insns), &opts);
    }
    if (fd < 0 && errno == EPERM) {
        error_setg(errp, "no permission to load an XDP program");
        afxdp_no_permission(errp);
    } else if (fd < 0) {
        error_setg_errno(errp, errno, "cannot load an XDP program");
    }
    return fd;
}

static void afxdp_link_failed(VhostDPAfXdp *xdp, bool native, int err,
                              Error **errp)
{
    ERRP_GUARD();

    if (err == EBUSY || err == EEXIST) {
        error_setg(errp, "the interface has an XDP program already");
        error_append_hint(errp, "Remove it with 'ip link set dev %s xdp off', "
                          "or use its map of sockets with inhibit=on and "
                          "sock-fds= or map-path=.\n", xdp->real_ifname);
    } else if (err == EPERM) {
        error_setg(errp, "no permission to attach an XDP program");
        afxdp_no_permission(errp);
    } else if (native) {
        error_setg_errno(errp, err, "mode=native: the interface's driver takes "
                         "no XDP program");
        error_append_hint(errp, "Without mode=, and with mode=skb, the network "
                          "stack takes the place of the driver. Or the MTU is "
                          "too large, or the interface has fewer receive "
                          "queues than its peer has transmit queues.\n");
    } else {
        error_setg_errno(errp, err, "cannot attach an XDP program");
        error_append_hint(errp, "Linux 5.9 or later is needed.\n");
    }
}

static int afxdp_link_create(int prog, int ifindex, bool native)
{
    LIBBPF_OPTS(bpf_link_create_opts, opts,
                .flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);

    return bpf_link_create(prog, ifindex, BPF_XDP, &opts);
}

static bool afxdp_link(VhostDPAfXdp *xdp, int prog, int ifindex, Error **errp)
{
    bool native = !xdp->has_mode || xdp->mode == VHOST_DP_AF_XDP_MODE_NATIVE;

    xdp->link = afxdp_link_create(prog, ifindex, native);
    if (xdp->link < 0 && !xdp->has_mode && errno != EPERM &&
        errno != EBUSY && errno != EEXIST) {
        native = false;
        xdp->link = afxdp_link_create(prog, ifindex, native);
    }
    if (xdp->link < 0) {
        afxdp_link_failed(xdp, native, errno, errp);
        return false;
    }
    xdp->native = native;
    return true;
}

/* ---- Somebody else's ---- */

static bool afxdp_map_open(VhostDPAfXdp *xdp, Error **errp)
{
    ERRP_GUARD();
    struct bpf_map_info info = {};
    uint32_t len = sizeof(info);

    xdp->map = bpf_obj_get(xdp->map_path);
    if (xdp->map < 0) {
        error_setg_errno(errp, errno, "map-path=%s: cannot open the map",
                         xdp->map_path);
        error_append_hint(errp, "It is the path of a map that was pinned to a "
                          "BPF file system, as in /sys/fs/bpf/xsks_map; to use "
                          "it takes CAP_BPF.\n");
        return false;
    }
    if (bpf_obj_get_info_by_fd(xdp->map, &info, &len) < 0 ||
        info.type != BPF_MAP_TYPE_XSKMAP) {
        error_setg(errp, "map-path=%s: this is not a map of AF_XDP sockets",
                   xdp->map_path);
        error_append_hint(errp, "Its type has to be BPF_MAP_TYPE_XSKMAP.\n");
        return false;
    }
    return true;
}

/* ---- Both ---- */

bool vhost_dp_afxdp_prog_attach(VhostDPAfXdp *xdp, int ifindex, Error **errp)
{
    bool ok;
    int prog;

    if (xdp->ifindex == ifindex) {
        return true;
    }
    vhost_dp_afxdp_prog_detach(xdp);
    if (xdp->inhibit) {
        ok = !xdp->map_path || afxdp_map_open(xdp, errp);
    } else {
        ok = afxdp_map_create(xdp, errp);
        prog = ok ? afxdp_prog_load(xdp->map, errp) : -1;
        ok = prog >= 0 && afxdp_link(xdp, prog, ifindex, errp);
        if (prog >= 0) {
            close(prog);        /* the link has it */
        }
    }
    if (!ok) {
        vhost_dp_afxdp_prog_detach(xdp);
        return false;
    }
    xdp->ifindex = ifindex;
    trace_vhost_dp_afxdp_attach(afxdp_id(xdp), ifindex, xdp->inhibit,
                                xdp->native);
    return true;
}

void vhost_dp_afxdp_prog_detach(VhostDPAfXdp *xdp)
{
    if (xdp->link >= 0) {
        close(xdp->link);
    }
    if (xdp->map >= 0) {
        close(xdp->map);
    }
    xdp->link = -1;
    xdp->map = -1;
    xdp->ifindex = 0;
    xdp->native = false;
}

bool vhost_dp_afxdp_prog_add(AfXdpQueue *q, Error **errp)
{
    ERRP_GUARD();
    VhostDPAfXdp *xdp = q->xdp;
    uint32_t key = xdp->inhibit ? xdp->map_start_index + q->pair :
                                  afxdp_queue_id(q);

    if (xdp->map < 0 ||
        bpf_map_update_elem(xdp->map, &key, &q->fd, BPF_ANY) == 0) {
        return true;
    }
    if (errno == E2BIG && xdp->map_path) {
        error_setg(errp, "map-path=%s: the map has no entry %u",
                   xdp->map_path, key);
        error_append_hint(errp, "Entries from map-start-index= on are used, "
                          "one for each queue pair.\n");
    } else {
        error_setg_errno(errp, errno, "cannot enter the socket of queue %u "
                         "into the map", afxdp_queue_id(q));
    }
    return false;
}
