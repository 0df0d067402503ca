/*
 * vhost-dp-slirp: a network without privileges, by libslirp
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: libslirp ends the guest's connections and makes sockets
 * of the host from them.  All of it runs in the queue pair's IOThread while
 * the driver is attached, and in bottom halves and timers alone (slirp-loop.c):
 * it writes to sockets and reads files (TFTP), for which nobody is to wait who
 * wants the queue pair's lock.  Frames go to and from there through buffers
 * (slirp-io.c).  This file is the object, under the BQL; its options are in
 * slirp-options.c, and what they mean in QEMU's net/slirp.c.
 *
 * libslirp has state that belongs to the whole process, and the monitor's
 * commands (hostfwd_add and the like) and character devices (guestfwd=) call
 * it from the main loop.  So whoever calls it, or changes what its callbacks
 * use, has net_slirp_lock(), which is the same for all instances.
 *
 * What the guest sends to a character device waits for the main loop, which
 * alone has to do with it: net/slirp.c keeps it.  For a device that is behind,
 * segments with more are lost (net_slirp_takes()), and the guest sends them
 * again: to wait would hold up all other connections.
 */

#include "qemu/osdep.h"
#include <sys/epoll.h>
#include "qapi/error.h"
#include "slirp-int.h"
#include "trace.h"

static bool slirp_check_options(VhostDPDriver *drv, Error **errp)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    g_autoptr(NetdevUserOptions) user = NULL;

    user = vhost_dp_slirp_options_get(&s->opts, errp);
    return user && net_slirp_check(user, errp);
}

static void slirp_close(VhostDPDriver *drv)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);

    trace_vhost_dp_slirp_close(drv->id);
    net_slirp_free(s->stack);
    s->stack = NULL;
    s->slirp = NULL;
    close(s->epfd);
    s->epfd = -1;
}

static bool slirp_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    g_autoptr(NetdevUserOptions) user = NULL;

    user = vhost_dp_slirp_options_get(&s->opts, errp);
    if (!user) {
        return false;
    }
    s->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (s->epfd < 0) {
        error_setg_errno(errp, errno, "cannot create an epoll set");
        return false;
    }
    s->stack = net_slirp_new(user, drv->claimed_by, &vhost_dp_slirp_callbacks,
                             s, errp);
    if (!s->stack) {
        close(s->epfd);
        s->epfd = -1;
        return false;
    }
    trace_vhost_dp_slirp_open(drv->id, slirp_version_string());
    return true;
}

static void slirp_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) {
        .max_queue_pairs = 1,
        .max_frame = SLIRP_MAX_FRAME,
        /* Frames are copied into one piece anyway */
        .max_segments = VHOST_DP_MAX_FRAME,
        .tx_offloads = VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_TSO4 |
                       VHOST_DP_OFFLOAD_ECN,
        .rx_offloads = VHOST_DP_OFFLOAD_CSUM,
    };
}

static void slirp_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    info->interface = g_strdup(net_slirp_describe(VHOST_DP_SLIRP(drv)->stack));
}

static void slirp_set_offload(VhostDPDriver *drv, uint32_t offloads)
{
    qatomic_set(&VHOST_DP_SLIRP(drv)->rx_csum,
                !!(offloads & VHOST_DP_OFFLOAD_CSUM));
}

/* ---- The object ---- */

static void slirp_instance_init(Object *obj)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(obj);

    s->epfd = -1;
    QLIST_INIT(&s->timers);
    vhost_dp_slirp_options_init(&s->opts);
}

static void slirp_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->check_options = slirp_check_options;
    dc->open = slirp_open;
    dc->close = slirp_close;
    dc->get_caps = slirp_get_caps;
    dc->query = slirp_query;
    dc->set_offload = slirp_set_offload;
    dc->attach = vhost_dp_slirp_attach;
    dc->detach = vhost_dp_slirp_detach;
    vhost_dp_slirp_io_class_init(dc);
    vhost_dp_driver_add_options(oc, vhost_dp_slirp_options);
}

static const TypeInfo slirp_info = {
    .name = TYPE_VHOST_DP_SLIRP,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(VhostDPSlirp),
    .instance_init = slirp_instance_init,
    .class_init = slirp_class_init,
};

static void slirp_register_types(void)
{
    type_register_static(&slirp_info);
}

type_init(slirp_register_types)
