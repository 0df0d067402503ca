/*
 * vhost-dp-tap: frames to and from a Linux TAP interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: this file is the object and its options, all under the
 * BQL.  tap-open.c gets the descriptors, one for each queue pair.  In the
 * pairs' IOThreads, tap-io.c moves the frames, and tap-link.c sees what becomes
 * of the interface.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include "qemu/ctype.h"
#include "qapi/error.h"
#include "net/tap_int.h"
#include "tap-int.h"

/* ---- Checking options ---- */

/* What the kernel's dev_valid_name() accepts; %d asks it for a number */
static bool tap_valid_name(const char *name)
{
    const char *p;

    if (!*name || !strcmp(name, ".") || !strcmp(name, "..")) {
        return false;
    }
    for (p = name; *p; p++) {
        if (*p == '/' || *p == ':' || g_ascii_isspace(*p)) {
            return false;
        }
    }
    return true;
}

static bool tap_check_name(VhostDPTap *tap, Error **errp)
{
    ERRP_GUARD();
    const char *name = tap->ifname ?: tap->parent_obj.id;

    if (strlen(name) >= IFNAMSIZ) {
        error_setg(errp, "%s%s is too long for the name of an interface: at "
                   "most %d characters",
                   tap->ifname ? "ifname=" : "the default of ifname=, id=",
                   name, IFNAMSIZ - 1);
        error_append_hint(errp, "Give a shorter name with ifname=.\n");
        return false;
    }
    if (!tap_valid_name(name)) {
        error_setg(errp, "ifname=%s is not a valid name of an interface", name);
        error_append_hint(errp, "A name has 1 to %d characters other than "
                          "'/', ':' and white space.\n", IFNAMSIZ - 1);
        return false;
    }
    return true;
}

static bool tap_check_exclusive(const char *name1, const char *value1,
                                const char *name2, const char *value2,
                                Error **errp)
{
    if (value1 && value2) {
        error_setg(errp, "%s=%s and %s=%s exclude each other", name1, value1,
                   name2, value2);
        return false;
    }
    return true;
}

static bool tap_check_options(VhostDPDriver *drv, Error **errp)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);

    if (!tap_check_exclusive("ifname", tap->ifname, "fd", tap->fd, errp) ||
        !tap_check_exclusive("ifname", tap->ifname, "fds", tap->fds, errp) ||
        !tap_check_exclusive("fd", tap->fd, "fds", tap->fds, errp)) {
        return false;
    }
    if (tap->fd || tap->fds) {
        return vhost_dp_fds_count(vhost_dp_tap_fds_option(tap),
                                  tap->fd ?: tap->fds, errp) > 0;
    }
    return tap_check_name(tap, errp);
}

/* ---- Options ---- */

static char *tap_read_ifname(VhostDPDriver *drv)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);
    char name[IFNAMSIZ];

    vhost_dp_tap_get_name(tap, name);
    if (name[0]) {
        return g_strdup(name);
    }
    return g_strdup(tap->ifname ?: tap->fd || tap->fds ? "" : drv->id);
}

static void tap_fds_changed(VhostDPDriver *drv)
{
    vhost_dp_fds_close(&VHOST_DP_TAP(drv)->passed);
}

static const VhostDPOption tap_options[] = {
    VHOST_DP_OPTION("ifname", STR, VhostDPTap, ifname,
        "tap interface to attach to, or to create (default: the object's id); "
        "reads back the interface's real name",
        .read = tap_read_ifname),
    VHOST_DP_OPTION("fd", STR, VhostDPTap, fd,
        "open descriptor of a tap interface, as a number or as the name given "
        "to getfd",
        .changed = tap_fds_changed),
    VHOST_DP_OPTION("fds", STR, VhostDPTap, fds,
        "open descriptors of the queues of a tap interface, separated by "
        "colons: one for each queue pair, or fewer",
        .changed = tap_fds_changed),
    VHOST_DP_OPTION("sndbuf", SIZE, VhostDPTap, sndbuf,
        "limit of bytes sent and not yet taken by the host's network "
        "(default: 0, no limit)",
        .has = offsetof(VhostDPTap, has_sndbuf)),
    { }
};

/* ---- What the netdev asks ---- */

static void tap_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);
    unsigned n = TAP_MAX_QUEUES;

    if (tap->one_queue) {
        n = 1;
    } else if (tap->fd || tap->fds) {
        n = vhost_dp_fds_count(vhost_dp_tap_fds_option(tap),
                               tap->fd ?: tap->fds, NULL);
    }
    *caps = (VhostDPCaps) {
        .max_queue_pairs = MAX(n, 1),
        .max_frame = VHOST_DP_MAX_FRAME,
        .max_segments = TAP_MAX_SEGMENTS,
        .max_datagrams = VHOST_DP_LINUX_DATAGRAMS,
        .tx_offloads = tap->offloads,
        .rx_offloads = tap->offloads,
        .rx_into = true,
    };
}

static char *tap_describe(VhostDPTap *tap)
{
    GString *text = g_string_new("ifname=");
    char name[IFNAMSIZ];
    unsigned i;

    vhost_dp_tap_get_name(tap, name);
    g_string_append(text, name);
    if (tap->passed.n) {
        g_string_append_printf(text, ",%s=", vhost_dp_tap_fds_option(tap));
        for (i = 0; i < tap->nqueues; i++) {
            g_string_append_printf(text, "%s%d", i ? ":" : "",
                                   tap->queue[i].fd);
        }
    }
    return g_string_free(text, false);
}

static void tap_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);
    unsigned i;

    info->interface = tap_describe(tap);
    /* Report "system-calls" if any queue pair fell back from io_uring */
    for (i = 0; i < tap->nqueues; i++) {
        TapIO io = qatomic_read(&tap->queue[i].io);

        if (io != TAP_IO_UNKNOWN && (!info->has_io || io == TAP_IO_SYSCALLS)) {
            info->has_io = true;
            info->io = io == TAP_IO_URING ? VHOST_DP_IO_METHOD_IO_URING :
                                            VHOST_DP_IO_METHOD_SYSTEM_CALLS;
        }
    }
}

static void tap_set_offload(VhostDPDriver *drv, uint32_t offloads)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);

    /* A property of the interface, so one queue is as good as all */
    qatomic_set(&tap->rx_offloads, offloads);
    vhost_dp_tap_apply_offloads(tap->queue[0].fd, offloads);
}

/* ---- The object ---- */

static void tap_instance_finalize(Object *obj)
{
    vhost_dp_fds_close(&VHOST_DP_TAP(obj)->passed);
}

static void tap_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);
    VhostDPTapClass *tc = VHOST_DP_TAP_CLASS(oc);

    tc->hdr_len = sizeof(struct virtio_net_hdr);
    dc->check_options = tap_check_options;
    dc->open = vhost_dp_tap_open;
    dc->close = vhost_dp_tap_close;
    dc->get_caps = tap_get_caps;
    dc->query = tap_query;
    dc->set_offload = tap_set_offload;
    vhost_dp_tap_io_class_init(tc);

    vhost_dp_driver_add_options(oc, tap_options);
}

static const TypeInfo tap_info = {
    .name = TYPE_VHOST_DP_TAP,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(VhostDPTap),
    .instance_finalize = tap_instance_finalize,
    .class_size = sizeof(VhostDPTapClass),
    .class_init = tap_class_init,
};

static void tap_register_types(void)
{
    type_register_static(&tap_info);
}

type_init(tap_register_types)
