/*
 * vhost-dp-af-xdp: frames to and from queues of an interface, by XDP
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the object and its options, which are named as those of
 * QEMU's own -netdev af-xdp.  af-xdp-prog.c has the program that the interface
 * runs, af-xdp-socket.c opens the sockets, af-xdp-io.c moves the frames.
 *
 * The guest gets what comes in by the queues that it has; what comes in by
 * others is the host's, as before.
 *
 * XDP knows nothing of offloads: checksums and segmentation are the engine's
 * work, in software.  A frame with a checksum that was left to be finished
 * later, as the host's own network stack sends on a veth interface, looks to
 * the guest like a damaged one; there it has to be switched off on the other
 * end (ethtool -K PEER tx off).
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "af-xdp-int.h"

/* ---- Checking options ---- */

static bool afxdp_check_inhibit(VhostDPAfXdp *xdp, Error **errp)
{
    ERRP_GUARD();

    if (xdp->sock_fds && xdp->map_path) {
        error_setg(errp, "sock-fds=%s and map-path=%s exclude each other",
                   xdp->sock_fds, xdp->map_path);
        return false;
    }
    if (xdp->inhibit && !xdp->sock_fds && !xdp->map_path) {
        error_setg(errp, "inhibit=on needs sock-fds= or map-path=");
        error_append_hint(errp, "Without a program of its own the driver gets "
                          "frames only by sockets, or a map of them, of "
                          "somebody else's.\n");
        return false;
    }
    if (!xdp->inhibit && (xdp->sock_fds || xdp->map_path)) {
        error_setg(errp, "%s=%s needs inhibit=on",
                   xdp->sock_fds ? "sock-fds" : "map-path",
                   xdp->sock_fds ?: xdp->map_path);
        error_append_hint(errp, "The XDP program is somebody else's then.\n");
        return false;
    }
    if (xdp->map_start_index && !xdp->map_path) {
        error_setg(errp, "map-start-index=%u needs map-path=",
                   xdp->map_start_index);
        return false;
    }
    return true;
}

static bool afxdp_check_options(VhostDPDriver *drv, Error **errp)
{
    ERRP_GUARD();
    VhostDPAfXdp *xdp = VHOST_DP_AF_XDP(drv);
    const char *name = afxdp_ifname(xdp);

    if (!*name || strlen(name) >= IFNAMSIZ) {
        error_setg(errp, "%s%s is not the name of an interface: it has 1 to %d "
                   "characters",
                   xdp->ifname ? "ifname=" : "the default of ifname=, id=",
                   name, IFNAMSIZ - 1);
        error_append_hint(errp, "Give the interface with ifname=.\n");
        return false;
    }
    if (xdp->start_queue > INT16_MAX) {
        error_setg(errp, "start-queue=%u is too large: 0 to %d are accepted",
                   xdp->start_queue, INT16_MAX);
        return false;
    }
    return afxdp_check_inhibit(xdp, errp) &&
           (!xdp->sock_fds ||
            vhost_dp_fds_count("sock-fds", xdp->sock_fds, errp) > 0);
}

/* ---- Options ---- */

static char *afxdp_read_ifname(VhostDPDriver *drv)
{
    return g_strdup(afxdp_ifname(VHOST_DP_AF_XDP(drv)));
}

/* What runs now, or what was asked for */
static char *afxdp_read_mode(VhostDPDriver *drv)
{
    VhostDPAfXdp *xdp = VHOST_DP_AF_XDP(drv);
    bool skb = xdp->ifindex && !xdp->inhibit && !xdp->native;

    return g_strdup(VhostDPAfXdpMode_str(xdp->has_mode ? xdp->mode : skb ?
                                         VHOST_DP_AF_XDP_MODE_SKB :
                                         VHOST_DP_AF_XDP_MODE_NATIVE));
}

static void afxdp_option_changed(VhostDPDriver *drv)
{
    vhost_dp_afxdp_forget_passed(VHOST_DP_AF_XDP(drv));
}

#define AFXDP_OPTION(name, type, field, ...) \
    VHOST_DP_OPTION(name, type, VhostDPAfXdp, field, __VA_ARGS__, \
                    .changed = afxdp_option_changed)

static const VhostDPOption afxdp_options[] = {
    AFXDP_OPTION("ifname", STR, ifname,
        "Ethernet interface to use (default: the object's id)",
        .read = afxdp_read_ifname),
    {
        .name = "mode",
        .type = VHOST_DP_OPTION_ENUM,
        .enum_name = "VhostDPAfXdpMode",
        .lookup = &VhostDPAfXdpMode_lookup,
        .offset = offsetof(VhostDPAfXdp, mode),
        .has = offsetof(VhostDPAfXdp, has_mode),
        .description =
            "where the XDP program runs: in the interface's driver (native), "
            "or in the network stack (skb); by default native if possible",
        .read = afxdp_read_mode,
        .changed = afxdp_option_changed,
    },
    AFXDP_OPTION("force-copy", BOOL, force_copy,
        "have the kernel copy frames even if the interface's driver can do "
        "without"),
    AFXDP_OPTION("start-queue", UINT32, start_queue,
        "queue of the interface for the first queue pair (default: 0)"),
    AFXDP_OPTION("inhibit", BOOL, inhibit,
        "load no XDP program: the interface has one"),
    AFXDP_OPTION("sock-fds", STR, sock_fds,
        "AF_XDP sockets that are not bound, and are in the program's map, one "
        "for each queue pair, separated by colons"),
    AFXDP_OPTION("map-path", STR, map_path,
        "pinned map of sockets to enter those of the queue pairs into"),
    AFXDP_OPTION("map-start-index", UINT32, map_start_index,
        "index in the map for the first queue pair (default: 0)"),
    { }
};

/* ---- What the netdev asks ---- */

static void afxdp_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    VhostDPAfXdp *xdp = VHOST_DP_AF_XDP(drv);
    unsigned n = xdp->nqueues ?: AFXDP_MAX_QUEUE_PAIRS;
    bool sg = true;
    unsigned i;

    for (i = 0; i < xdp->nqueues; i++) {
        sg &= xdp->queue[i].sg;
    }
    if (xdp->sock_fds) {
        n = vhost_dp_fds_count("sock-fds", xdp->sock_fds, NULL);
    }
    *caps = (VhostDPCaps) {
        .max_queue_pairs = MAX(1, MIN(n, AFXDP_MAX_QUEUE_PAIRS)),
        .max_frame = sg ? VHOST_DP_MAX_FRAME : AFXDP_CHUNK,
        .max_segments = IOV_MAX,
        .rx_poll = true,
    };
}

static void afxdp_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    VhostDPAfXdp *xdp = VHOST_DP_AF_XDP(drv);
    const AfXdpQueue *q = &xdp->queue[0];
    GString *text = g_string_new(NULL);

    g_string_printf(text, "ifname=%s,start-queue=%u,", xdp->real_ifname,
                    xdp->start_queue);
    if (xdp->sock_fds) {
        g_string_append_printf(text, "sock-fds=%s,", xdp->sock_fds);
    } else if (xdp->map_path) {
        g_string_append_printf(text, "map-path=%s,", xdp->map_path);
    } else {
        g_string_append(text, qatomic_read(&xdp->native) ? "mode=native," :
                                                           "mode=skb,");
    }
    g_string_append(text, qatomic_read(&q->zerocopy) ? "zero-copy" : "copy");
    info->interface = g_string_free(text, false);
}

static void afxdp_set_rx_filter(VhostDPDriver *drv, VhostDPControl *control)
{
    VhostDPAfXdp *xdp = VHOST_DP_AF_XDP(drv);

    vhost_dp_wanted_filter_set(&xdp->wanted, control);
    vhost_dp_ifwatch_look(xdp->link.watch);
}

/* ---- The object ---- */

static void afxdp_instance_init(Object *obj)
{
    VhostDPAfXdp *xdp = VHOST_DP_AF_XDP(obj);

    qemu_mutex_init(&xdp->lock);
    vhost_dp_wanted_filter_init(&xdp->wanted);
    xdp->ctl = -1;
    xdp->members = -1;
    xdp->map = -1;
    xdp->prog_link = -1;
}

static void afxdp_instance_finalize(Object *obj)
{
    VhostDPAfXdp *xdp = VHOST_DP_AF_XDP(obj);

    vhost_dp_afxdp_forget_passed(xdp);
    vhost_dp_wanted_filter_destroy(&xdp->wanted);
    qemu_mutex_destroy(&xdp->lock);
}

static void afxdp_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->check_options = afxdp_check_options;
    dc->open = vhost_dp_afxdp_open;
    dc->close = vhost_dp_afxdp_close;
    dc->get_caps = afxdp_get_caps;
    dc->query = afxdp_query;
    dc->set_rx_filter = afxdp_set_rx_filter;
    vhost_dp_afxdp_io_class_init(dc);
    vhost_dp_driver_add_options(oc, afxdp_options);
}

static const TypeInfo afxdp_info = {
    .name = TYPE_VHOST_DP_AF_XDP,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(VhostDPAfXdp),
    .instance_init = afxdp_instance_init,
    .instance_finalize = afxdp_instance_finalize,
    .class_init = afxdp_class_init,
};

static void afxdp_register_types(void)
{
    type_register_static(&afxdp_info);
}

type_init(afxdp_register_types)
