/*
 * vhost-dp-af-packet: frames to and from any Ethernet interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the object and its options.  af-packet-socket.c opens
 * the sockets, af-packet-io.c moves the frames.
 *
 * The guest is on the wire behind the interface: it receives what comes in
 * there, whatever address it is for, and what it sends goes out.  The host's
 * own network stack goes on using the interface: it sees what the guest sees,
 * but neither sees what the other sends.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "af-packet-int.h"

/* ---- Options ---- */

/* How many queue pairs fd= or fds= are for; 0 with @errp set if it is wrong */
static unsigned afp_count_fds(VhostDPAfPacket *afp, Error **errp)
{
    unsigned n = vhost_dp_fds_count(afp_fds_option(afp), afp->fd ?: afp->fds,
                                    errp);

    if (n > AFP_MAX_QUEUE_PAIRS) {
        error_setg(errp, "fds=%s: there are %u descriptors: 1 to %d are "
                   "accepted", afp->fds, n, AFP_MAX_QUEUE_PAIRS);
        return 0;
    }
    return n;
}

static bool afp_check_options(VhostDPDriver *drv, Error **errp)
{
    ERRP_GUARD();
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(drv);
    const char *name = afp_ifname(afp);

    if (!!afp->ifname + !!afp->fd + !!afp->fds > 1) {
        error_setg(errp, "ifname=, fd= and fds= exclude each other");
        error_append_hint(errp, "A descriptor is bound to its interface.\n");
        return false;
    }
    if (afp_is_passed(afp)) {
        return afp_count_fds(afp, errp) > 0;
    }
    if (!*name || strlen(name) >= IFNAMSIZ) {
        error_setg(errp, "%s%s is not the name of an interface: it has 1 to %d "
                   "characters",
                   afp->ifname ? "ifname=" : "the default of ifname=, id=",
                   name, IFNAMSIZ - 1);
        error_append_hint(errp, "Give the interface with ifname=.\n");
        return false;
    }
    return true;
}

static char *afp_read_ifname(VhostDPDriver *drv)
{
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(drv);

    if (afp->real_ifname[0]) {
        return g_strdup(afp->real_ifname);
    }
    return g_strdup(afp_is_passed(afp) ? "" : afp_ifname(afp));
}

static void afp_fds_changed(VhostDPDriver *drv)
{
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(drv);

    vhost_dp_fds_close(&afp->passed);
    afp->passed_used = false;
    afp->passed_joined = false;
}

static const VhostDPOption afp_options[] = {
    VHOST_DP_OPTION("ifname", STR, VhostDPAfPacket, ifname,
        "Ethernet interface to use (default: the object's id)",
        .read = afp_read_ifname),
    VHOST_DP_OPTION("fd", STR, VhostDPAfPacket, fd,
        "packet socket, bound to the interface and all protocols, as a number "
        "or as the name given to getfd",
        .changed = afp_fds_changed),
    VHOST_DP_OPTION("fds", STR, VhostDPAfPacket, fds,
        "such sockets, one for each queue pair, separated by colons",
        .changed = afp_fds_changed),
    { }
};

/* ---- Control side ---- */

static void afp_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(drv);
    unsigned n = afp_is_passed(afp) ? afp_count_fds(afp, NULL) :
                                      AFP_MAX_QUEUE_PAIRS;

    *caps = (VhostDPCaps) {
        .max_queue_pairs = MAX(n, 1),
        .max_frame = VHOST_DP_MAX_FRAME,
        .max_segments = AFP_MAX_SEGMENTS,
        .max_datagrams = VHOST_DP_LINUX_DATAGRAMS,
        .tx_offloads = afp->offloads,
        /*
         * The kernel cannot be told what the guest takes: frames come as the
         * interface, or its GRO, made them.
         */
        .rx_offloads = afp->offloads,
        .rx_poll = true,
    };
}

static void afp_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(drv);

    info->interface = afp_is_passed(afp) ?
        g_strdup_printf("ifname=%s,%s=%s", afp->real_ifname,
                        afp_fds_option(afp), afp->fd ?: afp->fds) :
        g_strdup_printf("ifname=%s", afp->real_ifname);
}

static void afp_set_rx_filter(VhostDPDriver *drv, VhostDPControl *control)
{
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(drv);

    vhost_dp_wanted_filter_set(&afp->wanted, control);
    vhost_dp_ifwatch_look(afp->link.watch);
}

/* ---- The object ---- */

static void afp_instance_init(Object *obj)
{
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(obj);

    qemu_mutex_init(&afp->lock);
    vhost_dp_wanted_filter_init(&afp->wanted);
}

static void afp_instance_finalize(Object *obj)
{
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(obj);

    vhost_dp_fds_close(&afp->passed);
    vhost_dp_wanted_filter_destroy(&afp->wanted);
    qemu_mutex_destroy(&afp->lock);
}

static void afp_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->check_options = afp_check_options;
    dc->open = vhost_dp_afp_open;
    dc->close = vhost_dp_afp_close;
    dc->get_caps = afp_get_caps;
    dc->query = afp_query;
    dc->set_rx_filter = afp_set_rx_filter;
    vhost_dp_afp_io_class_init(dc);
    vhost_dp_driver_add_options(oc, afp_options);
}

static const TypeInfo afp_info = {
    .name = TYPE_VHOST_DP_AF_PACKET,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(VhostDPAfPacket),
    .instance_init = afp_instance_init,
    .instance_finalize = afp_instance_finalize,
    .class_init = afp_class_init,
};

static void afp_register_types(void)
{
    type_register_static(&afp_info);
}

type_init(afp_register_types)
