/*
 * vhost-dp-vhost-user: frames to and from another process, by vhost-user
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the object and its options.  vhost-user-conn.c holds the
 * connection, vhost-user-proto.c speaks the protocol, vq-pair.c moves the
 * frames.
 *
 * The peer is a back end as -netdev vhost-user has it, but it gets virtqueues
 * and buffers of the driver's own, and never the guest's memory.  Control runs
 * in the main loop; the IOThreads see no more of it than the set of virtqueues
 * that a queue pair is to use (see vq.h).
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "vhost-user-int.h"
#include "trace.h"

/* ---- Options ---- */

static bool vu_check_path(VhostDPVhostUser *vu, Error **errp)
{
    const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

    if (!*vu->path || strlen(vu->path) > most) {
        error_setg(errp, "path=%s: the path of a UNIX socket has 1 to %zu "
                   "bytes", vu->path, most);
        return false;
    }
    return true;
}

static bool vu_check_options(VhostDPDriver *drv, Error **errp)
{
    ERRP_GUARD();
    VhostDPVhostUser *vu = VHOST_DP_VHOST_USER(drv);

    if (!vu->path == !vu->chardev) {
        error_setg(errp, "%s", vu->path ?
                   "path= and chardev= exclude each other" :
                   "path= or chardev= is needed");
        error_append_hint(errp, "Give the path of the peer's socket with "
                          "path=.\n");
        return false;
    }
    if (vu->chardev && vu->server_set) {
        error_setg(errp, "server= is an option of the chardev when there is "
                   "chardev=");
        return false;
    }
    if (vu->reconnect_ms > VU_MAX_RECONNECT_MS) {
        error_setg(errp, "reconnect-ms=%u: 0 to %u are accepted",
                   vu->reconnect_ms, VU_MAX_RECONNECT_MS);
        return false;
    }
    if (!vhost_dp_vq_check_num(vu->queue_size, errp)) {
        return false;
    }
    if (vu->mtu && (vu->mtu < 68 || vu->mtu > UINT16_MAX)) {
        error_setg(errp, "mtu=%u: 68 to %u are accepted, or 0 for none",
                   vu->mtu, UINT16_MAX);
        return false;
    }
    return !vu->path || vu_check_path(vu, errp);
}

static const VhostDPOption vu_options[] = {
    VHOST_DP_OPTION("path", STR, VhostDPVhostUser, path,
        "UNIX socket of the peer"),
    VHOST_DP_OPTION("chardev", STR, VhostDPVhostUser, chardev,
        "socket chardev that is connected to the peer, instead of path"),
    VHOST_DP_OPTION("server", BOOL, VhostDPVhostUser, server,
        "listen at path, and let the peer connect (default: off)",
        .has = offsetof(VhostDPVhostUser, server_set)),
    VHOST_DP_OPTION("reconnect-ms", UINT32, VhostDPVhostUser, reconnect_ms,
        "delay before the first attempt to connect again, in ms; later ones "
        "double it, up to 5 s; 0: do not (default: 100)"),
    VHOST_DP_OPTION("queue-size", UINT32, VhostDPVhostUser, queue_size,
        "entries of each virtqueue shared with the peer, halved while the peer "
        "refuses them (default: 256)"),
    VHOST_DP_OPTION("packed", BOOL, VhostDPVhostUser, packed,
        "use packed virtqueues if the peer has them (default: on)"),
    VHOST_DP_OPTION("mtu", UINT32, VhostDPVhostUser, mtu,
        "MTU to tell the peer; 0: none (default)"),
    VHOST_DP_OPTION("hugetlb", BOOL, VhostDPVhostUser, hugetlb,
        "deprecated, without effect"),
    { }
};

/* ---- Control side ---- */

/* In a queue pair's IOThread; the BH in vhost-user-conn.c goes on from here */
static void vu_pair_failed(void *opaque, unsigned index, VhostDPVqSet *set,
                           VhostDPPeerViolation violation)
{
    VhostDPVhostUser *vu = opaque;

    WITH_QEMU_LOCK_GUARD(&vu->lock) {
        if (vu->broken_set) {
            vhost_dp_vqset_unref(vu->broken_set);
        }
        vu->broken_set = vhost_dp_vqset_ref(set);
        vu->broken_why = violation;
    }
    qemu_bh_schedule(vu->bh);
}

static void vu_free_pairs(VhostDPVhostUser *vu)
{
    unsigned i;

    for (i = 0; i < vu->npairs; i++) {
        vhost_dp_vqpair_free(vu->pair[i]);
    }
    g_free(vu->pair);
    vu->pair = NULL;
    vu->npairs = 0;
}

static bool vu_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    VhostDPVhostUser *vu = VHOST_DP_VHOST_USER(drv);
    unsigned i;

    if (vu->hugetlb) {
        warn_report("vhost-dp-vhost-user '%s': hugetlb=on is deprecated, and "
                    "has no effect: the peer could take such pages away from "
                    "QEMU", drv->id);
    }
    vu->npairs = queue_pairs;
    vu->pair = g_new0(VhostDPVqPair *, queue_pairs);
    vu->active = MAKE_64BIT_MASK(0, queue_pairs);
    for (i = 0; i < queue_pairs; i++) {
        vu->pair[i] = vhost_dp_vqpair_new(i, vu_pair_failed, vu);
    }
    if (!vhost_dp_vu_conn_open(vu, errp)) {
        vu_free_pairs(vu);
        return false;
    }
    trace_vhost_dp_vu_open(drv->id, queue_pairs);
    return true;
}

static void vu_close(VhostDPDriver *drv)
{
    VhostDPVhostUser *vu = VHOST_DP_VHOST_USER(drv);

    vhost_dp_vu_conn_close(vu);
    vu_free_pairs(vu);
    trace_vhost_dp_vu_close(drv->id);
}

static void vu_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    /* What the peer hands over is agreed on with it once: no set_offload */
    vhost_dp_vqpair_get_caps(caps);
}

static void vu_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    VhostDPVhostUser *vu = VHOST_DP_VHOST_USER(drv);
    const VhostDPVqSet *set = vu->state == VU_RUNNING ? vu->set : NULL;

    info->interface = vu->chardev ?
        g_strdup_printf("chardev=%s", vu->chardev) :
        g_strdup_printf("path=%s%s", vu->path, vu->server ? ",server=on" : "");
    info->peer = vhost_dp_vqpair_query(vu->pair, vu->npairs, set, vu->connects);
    info->tx_offloads = set ? vhost_dp_vq_tx_offloads(set->features) : 0;
    info->rx_offloads = set ? vhost_dp_vq_rx_offloads(set->features) : 0;
}

/* ---- Data side ---- */

static VhostDPVqPair *vu_pair(VhostDPDriver *drv, unsigned pair)
{
    return VHOST_DP_VHOST_USER(drv)->pair[pair];
}

static bool vu_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                      AioContext *ctx, Error **errp)
{
    vhost_dp_vqpair_attach(vu_pair(drv, pair), port, ctx);
    return true;
}

static void vu_detach(VhostDPDriver *drv, unsigned pair)
{
    vhost_dp_vqpair_detach(vu_pair(drv, pair));
}

static bool vu_set_active(VhostDPDriver *drv, unsigned pair, bool active)
{
    VhostDPVhostUser *vu = VHOST_DP_VHOST_USER(drv);

    WITH_QEMU_LOCK_GUARD(&vu->lock) {
        uint64_t bit = 1ULL << pair;

        qatomic_set(&vu->active, active ? vu->active | bit :
                                              vu->active & ~bit);
    }
    qemu_bh_schedule(vu->bh);
    /* What is under way comes here still: the first pair gets it */
    return false;
}

static unsigned vu_tx_burst(VhostDPDriver *drv, unsigned pair,
                            VhostDPFrame *frames, unsigned n)
{
    return vhost_dp_vqpair_tx_burst(vu_pair(drv, pair), frames, n);
}

static unsigned vu_rx_burst(VhostDPDriver *drv, unsigned pair,
                            VhostDPFrame *frames, unsigned n)
{
    return vhost_dp_vqpair_rx_burst(vu_pair(drv, pair), frames, n);
}

static void vu_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    vhost_dp_vqpair_rx_release(vu_pair(drv, pair), n);
}

static void vu_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    vhost_dp_vqpair_rx_enable(vu_pair(drv, pair), enable);
}

/* ---- The object ---- */

static void vu_instance_init(Object *obj)
{
    VhostDPVhostUser *vu = VHOST_DP_VHOST_USER(obj);

    qemu_mutex_init(&vu->lock);
    vu->reconnect_ms = VU_DEFAULT_RECONNECT_MS;
    vu->queue_size = VU_DEFAULT_QUEUE_SIZE;
    vu->packed = true;
}

static void vu_instance_finalize(Object *obj)
{
    qemu_mutex_destroy(&VHOST_DP_VHOST_USER(obj)->lock);
}

static void vu_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->check_options = vu_check_options;
    dc->open = vu_open;
    dc->close = vu_close;
    dc->get_caps = vu_get_caps;
    dc->query = vu_query;
    dc->attach = vu_attach;
    dc->detach = vu_detach;
    dc->set_active = vu_set_active;
    dc->tx_burst = vu_tx_burst;
    dc->rx_burst = vu_rx_burst;
    dc->rx_release = vu_rx_release;
    dc->rx_enable = vu_rx_enable;
    vhost_dp_driver_add_options(oc, vu_options);
}

static const TypeInfo vu_info = {
    .name = TYPE_VHOST_DP_VHOST_USER,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(VhostDPVhostUser),
    .instance_init = vu_instance_init,
    .instance_finalize = vu_instance_finalize,
    .class_init = vu_class_init,
};

static void vu_register_types(void)
{
    type_register_static(&vu_info);
}

type_init(vu_register_types)
