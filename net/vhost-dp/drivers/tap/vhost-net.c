/*
 * vhost-dp-vhost-net: frames to and from a TAP interface by the kernel's
 * vhost-net
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a vhost-dp-tap whose frames are moved by threads of the
 * kernel, one for each queue pair.  vhost-net is made for the virtqueues of a
 * guest.  Here it gets virtqueues in private memory (vq.h), of which QEMU is
 * the driver: the kernel sees neither the guest's virtqueues nor the guest's
 * memory.
 *
 * The interface, its options and its comings and goings are the parent's
 * (tap.c, tap-open.c, tap-link.c).  This file is the rest of the object, and
 * what runs in the IOThreads; vhost-net-kernel.c sets up the kernel's side.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "standard-headers/linux/virtio_net.h"
#include "vhost-net-int.h"
#include "trace.h"

static VhostDPDriverClass *vnet_parent(void)
{
    return VHOST_DP_DRIVER_CLASS(object_class_by_name(TYPE_VHOST_DP_TAP));
}

static VnetPair *vnet_pair(VhostDPDriver *drv, unsigned pair)
{
    return &VHOST_DP_VHOST_NET(drv)->pair[pair];
}

static VnetPair *vnet_pair_of(TapQueue *q)
{
    return vnet_pair(VHOST_DP_DRIVER(q->tap), q - q->tap->queue);
}

/* ---- In the IOThread ---- */

static VhostDPVq *vnet_tx(VnetPair *pair)
{
    return &pair->vn->set->vq[2 * pair->index + 1];
}

static void vnet_start_io(TapQueue *q)
{
    VnetPair *pair = vnet_pair_of(q);
    int r;

    if (q->fault) {
        return;
    }
    r = vhost_dp_vnet_set_backend(pair, q->fd);
    pair->stopped = r < 0;
    /* If it was deleted just now, the next start is when it is back */
    if (r < 0 && !vhost_dp_tap_is_gone(q)) {
        q->fault = g_strdup_printf("vhost-net cannot use the interface: %s",
                                   strerror(-r));
    }
    /* The worker looks at received frames by itself */
    event_notifier_set(&vnet_tx(pair)->kick);
}

/*
 * The worker has stopped.  Frames that it took, and could not send as the
 * interface was deleted, it has forgotten: it will not use them any more.
 */
static void vnet_take_back(VnetPair *pair)
{
    vhost_dp_vqpair_tx_take_back(pair->vq);
    vhost_dp_vnet_set_base(pair, 1, vnet_tx(pair)->flushed);
}

static void vnet_stop_io(TapQueue *q)
{
    VnetPair *pair = vnet_pair_of(q);
    unsigned i;

    vhost_dp_vnet_set_backend(pair, -1);
    pair->stopped = true;
    vnet_take_back(pair);
    for (i = 0; i < 2; i++) {
        event_notifier_test_and_clear(&pair->ring[i].error);
    }
}

/* Has a worker that stopped taken frames from the ring without using them? */
static bool vnet_has_lost(VnetPair *pair)
{
    vhost_dp_vq_tx_reap(vnet_tx(pair));
    return vhost_dp_vnet_get_base(pair, 1) != vnet_tx(pair)->next_used;
}

/*
 * Let the worker begin anew where it was.  Returns false if it was there
 * before, with an error, and it was not that it could not send: so it is the
 * ring.
 */
static bool vnet_try_again(VnetRing *ring, TapQueue *q)
{
    VnetPair *pair = ring->pair;
    unsigned at;

    vhost_dp_vnet_set_backend(pair, -1);
    at = vhost_dp_vnet_get_base(pair, ring - pair->ring);
    if (vnet_has_lost(pair)) {
        vnet_take_back(pair);
    } else if (ring->had_error && ring->error_at == at) {
        return false;
    } else {
        ring->had_error = true;
        ring->error_at = at;
    }
    event_notifier_test_and_clear(&ring->error);
    vnet_start_io(q);
    vhost_dp_tap_link_check(q);
    return true;
}

/*
 * The worker found something wrong: with a ring, or when it sent.  The latter
 * happens when the interface is deleted, and it goes on.
 */
static void vnet_error(void *opaque)
{
    VnetRing *ring = opaque;
    VnetPair *pair = ring->pair;
    TapQueue *q = &pair->vn->parent_obj.queue[pair->index];

    if (!event_notifier_test_and_clear(&ring->error) || q->fault) {
        return;
    }
    if (vhost_dp_tap_is_gone(q)) {
        q->gone = true;
        vnet_stop_io(q);
        vhost_dp_tap_link_check(q);
        return;
    }
    if (vnet_try_again(ring, q)) {
        return;
    }
    q->fault = g_strdup("vhost-net cannot use the virtqueues any more");
    trace_vhost_dp_vhost_net_fault(vnet_id(pair->vn), pair->index,
                                   q->fault);
    vhost_dp_vqpair_set(pair->vq, NULL, q->fault);
}

/* The pair has taken its link down; the interface must not bring it up again */
static void vnet_failed(void *opaque, unsigned index, VhostDPVqSet *set,
                        VhostDPPeerViolation violation)
{
    VnetPair *pair = opaque;
    TapQueue *q = &pair->vn->parent_obj.queue[index];

    if (!q->fault) {
        q->fault = g_strdup_printf("vhost-net broke a rule: %s",
                                   VhostDPPeerViolation_str(violation));
        trace_vhost_dp_vhost_net_fault(vnet_id(pair->vn), index,
                                       q->fault);
    }
}

static void vnet_listen(VnetPair *pair, AioContext *ctx, bool listen)
{
    unsigned i;

    for (i = 0; i < 2; i++) {
        aio_set_fd_handler(ctx, event_notifier_get_fd(&pair->ring[i].error),
                           listen ? vnet_error : NULL, NULL, NULL, NULL,
                           &pair->ring[i]);
    }
}

static bool vnet_attach(VhostDPDriver *drv, unsigned index, VhostDPPort *port,
                        AioContext *ctx, Error **errp)
{
    VnetPair *pair = vnet_pair(drv, index);

    /* In this order: the interface has the last word on the link */
    vhost_dp_vqpair_attach(pair->vq, port, ctx);
    vnet_listen(pair, ctx, true);
    vhost_dp_tap_start(&VHOST_DP_TAP(drv)->queue[index], port, ctx);
    return true;
}

static void vnet_detach(VhostDPDriver *drv, unsigned index)
{
    VnetPair *pair = vnet_pair(drv, index);
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[index];

    vnet_listen(pair, q->ctx, false);
    /* The worker stops first, so what is left in the rings was not sent */
    vhost_dp_tap_stop(q);
    vhost_dp_vqpair_detach(pair->vq);
}

static unsigned vnet_tx_burst(VhostDPDriver *drv, unsigned index,
                              VhostDPFrame *frames, unsigned n)
{
    VnetPair *pair = vnet_pair(drv, index);

    if (unlikely(pair->stopped)) {
        vhost_dp_port_drop_tx(VHOST_DP_TAP(drv)->queue[index].port,
                              VHOST_DP_DROP_REASON_LINK_DOWN, n);
        return n;
    }
    return vhost_dp_vqpair_tx_burst(pair->vq, frames, n);
}

static unsigned vnet_rx_burst(VhostDPDriver *drv, unsigned index,
                              VhostDPFrame *frames, unsigned n)
{
    return vhost_dp_vqpair_rx_burst(vnet_pair(drv, index)->vq, frames, n);
}

static void vnet_rx_release(VhostDPDriver *drv, unsigned index, unsigned n)
{
    vhost_dp_vqpair_rx_release(vnet_pair(drv, index)->vq, n);
}

static void vnet_rx_enable(VhostDPDriver *drv, unsigned index, bool enable)
{
    vhost_dp_vqpair_rx_enable(vnet_pair(drv, index)->vq, enable);
}

/* ---- What the netdev asks ---- */

static bool vnet_check_options(VhostDPDriver *drv, Error **errp)
{
    VhostDPVhostNet *vn = VHOST_DP_VHOST_NET(drv);

    if (!vnet_parent()->check_options(drv, errp) ||
        !vhost_dp_vq_check_num(vn->queue_size, errp)) {
        return false;
    }
    if (vn->vhostfd && vn->vhostfds) {
        error_setg(errp, "vhostfd=%s and vhostfds=%s exclude each other",
                   vn->vhostfd, vn->vhostfds);
        return false;
    }
    return !(vn->vhostfd || vn->vhostfds) ||
           vhost_dp_fds_count(vnet_fds_option(vn), vn->vhostfd ?: vn->vhostfds,
                              errp);
}

static void vnet_close(VhostDPDriver *drv)
{
    VhostDPVhostNet *vn = VHOST_DP_VHOST_NET(drv);
    unsigned i;

    vhost_dp_vnet_close(vn);
    for (i = 0; i < vn->npairs; i++) {
        vhost_dp_vqpair_free(vn->pair[i].vq);
    }
    g_free(vn->pair);
    vn->pair = NULL;
    vn->npairs = 0;
    vnet_parent()->close(drv);
}

static bool vnet_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    VhostDPVhostNet *vn = VHOST_DP_VHOST_NET(drv);
    unsigned i;

    if (!vnet_parent()->open(drv, queue_pairs, errp)) {
        return false;
    }
    queue_pairs = VHOST_DP_TAP(drv)->nqueues;
    vn->pair = g_new0(VnetPair, queue_pairs);
    vn->npairs = queue_pairs;
    for (i = 0; i < queue_pairs; i++) {
        VnetPair *pair = &vn->pair[i];

        pair->vn = vn;
        pair->index = i;
        pair->fd = -1;
        pair->vq = vhost_dp_vqpair_new(i, vnet_failed, pair);
    }
    if (!vhost_dp_vnet_open(vn, errp)) {
        vnet_close(drv);
        return false;
    }
    return true;
}

static void vnet_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    VhostDPVhostNet *vn = VHOST_DP_VHOST_NET(drv);
    uint32_t offloads = VHOST_DP_TAP(drv)->offloads;
    unsigned n = VHOST_DP_VQ_MAX_PAIRS;
    VhostDPCaps tap_caps;

    vnet_parent()->get_caps(drv, &tap_caps);
    if (vn->vhostfd || vn->vhostfds) {
        n = vhost_dp_fds_count(vnet_fds_option(vn),
                               vn->vhostfd ?: vn->vhostfds, NULL);
    }
    vhost_dp_vqpair_get_caps(caps);
    caps->max_queue_pairs = MAX(1, MIN(tap_caps.max_queue_pairs,
                                       MIN(n, VHOST_DP_VQ_MAX_PAIRS)));
    caps->max_datagrams = VHOST_DP_LINUX_DATAGRAMS;
    caps->tx_offloads = offloads;
    caps->rx_offloads = offloads;
}

/* The parent knows of no io_uring, as the kernel moves the frames */
static void vnet_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    VhostDPVhostNet *vn = VHOST_DP_VHOST_NET(drv);
    g_autofree VhostDPVqPair **pairs = g_new(VhostDPVqPair *, vn->npairs);
    GString *text;
    unsigned i;

    vnet_parent()->query(drv, info);
    text = g_string_new(info->interface);
    g_free(info->interface);
    if (vn->passed.n) {
        g_string_append_printf(text, ",%s=", vnet_fds_option(vn));
    }
    for (i = 0; i < vn->npairs; i++) {
        pairs[i] = vn->pair[i].vq;
        if (vn->passed.n) {
            g_string_append_printf(text, "%s%d", i ? ":" : "",
                                   vn->pair[i].fd);
        }
    }
    info->interface = g_string_free(text, false);
    info->peer = vhost_dp_vqpair_query(pairs, vn->npairs, vn->set, 1);
}

/* ---- Options ---- */

static void vnet_fds_changed(VhostDPDriver *drv)
{
    vhost_dp_fds_close(&VHOST_DP_VHOST_NET(drv)->passed);
}

static const VhostDPOption vnet_options[] = {
    VHOST_DP_OPTION("vhostfd", STR, VhostDPVhostNet, vhostfd,
        "open descriptor of /dev/vhost-net, as a number or as the name given "
        "to getfd",
        .changed = vnet_fds_changed),
    VHOST_DP_OPTION("vhostfds", STR, VhostDPVhostNet, vhostfds,
        "open descriptors of /dev/vhost-net, one for each queue pair, "
        "separated by colons",
        .changed = vnet_fds_changed),
    VHOST_DP_OPTION("poll-us", UINT32, VhostDPVhostNet, poll_us,
        "microseconds that the kernel's thread looks for frames before it "
        "sleeps (default: 0)",
        .has = offsetof(VhostDPVhostNet, has_poll_us)),
    VHOST_DP_OPTION("queue-size", UINT32, VhostDPVhostNet, queue_size,
        "entries of each virtqueue shared with the kernel (default: 512)"),
    VHOST_DP_OPTION("hugetlb", BOOL, VhostDPVhostNet, hugetlb,
        "virtqueues and buffers in huge pages (default: off)"),
    { }
};

/* ---- The object ---- */

static void vnet_instance_init(Object *obj)
{
    VHOST_DP_VHOST_NET(obj)->queue_size = VNET_DEFAULT_QUEUE_SIZE;
}

static void vnet_instance_finalize(Object *obj)
{
    vhost_dp_fds_close(&VHOST_DP_VHOST_NET(obj)->passed);
}

static void vnet_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);
    VhostDPTapClass *tc = VHOST_DP_TAP_CLASS(oc);

    /* vhost-net writes how many buffers a frame takes into the header */
    tc->hdr_len = sizeof(struct virtio_net_hdr_v1);
    tc->start_io = vnet_start_io;
    tc->stop_io = vnet_stop_io;

    dc->check_options = vnet_check_options;
    dc->open = vnet_open;
    dc->close = vnet_close;
    dc->get_caps = vnet_get_caps;
    dc->query = vnet_query;
    dc->attach = vnet_attach;
    dc->detach = vnet_detach;
    dc->tx_burst = vnet_tx_burst;
    dc->rx_burst = vnet_rx_burst;
    dc->rx_into = NULL;
    dc->rx_release = vnet_rx_release;
    dc->rx_enable = vnet_rx_enable;

    vhost_dp_driver_add_options(oc, vnet_options);
}

static const TypeInfo vnet_info = {
    .name = TYPE_VHOST_DP_VHOST_NET,
    .parent = TYPE_VHOST_DP_TAP,
    .instance_size = sizeof(VhostDPVhostNet),
    .instance_init = vnet_instance_init,
    .instance_finalize = vnet_instance_finalize,
    .class_init = vnet_class_init,
};

static void vnet_register_types(void)
{
    type_register_static(&vnet_info);
}

type_init(vnet_register_types)
