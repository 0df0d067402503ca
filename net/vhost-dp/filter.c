/*
 * vhost-dp: the abstract filter, parent of drivers that stand on a driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: open claims the inner driver as a netdev would, for the
 * same netdev, so that a driver is part of one chain only, once.  Every
 * function is handed to the inner driver, and what that says to its port is
 * handed to the port above.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "filter.h"

/* ---- The port that the inner driver sees ---- */

static void filter_ready(VhostDPPort *below, unsigned what)
{
    vhost_dp_port_ready(vhost_dp_filter_queue_of(below)->above, what);
}

static void filter_drop_rx(VhostDPPort *below, VhostDPDropReason reason,
                           uint64_t n)
{
    vhost_dp_port_drop_rx(vhost_dp_filter_queue_of(below)->above, reason, n);
}

static void filter_drop_tx(VhostDPPort *below, VhostDPDropReason reason,
                           uint64_t n)
{
    vhost_dp_port_drop_tx(vhost_dp_filter_queue_of(below)->above, reason, n);
}

static void filter_set_link(VhostDPPort *below, bool up, const char *reason)
{
    vhost_dp_port_set_link(vhost_dp_filter_queue_of(below)->above, up, reason);
}

static void filter_set_tx_offloads(VhostDPPort *below, uint32_t offloads)
{
    vhost_dp_port_set_tx_offloads(vhost_dp_filter_queue_of(below)->above,
                                  offloads);
}

static void filter_set_queues(VhostDPPort *below, unsigned n)
{
    vhost_dp_port_set_queues(vhost_dp_filter_queue_of(below)->above, n);
}

const VhostDPPortOps vhost_dp_filter_port_ops = {
    .ready = filter_ready,
    .drop_rx = filter_drop_rx,
    .drop_tx = filter_drop_tx,
    .set_link = filter_set_link,
    .set_tx_offloads = filter_set_tx_offloads,
    .set_queues = filter_set_queues,
};

/* ---- Control ---- */

bool vhost_dp_filter_check_options(VhostDPDriver *drv, Error **errp)
{
    ERRP_GUARD();

    if (!VHOST_DP_FILTER(drv)->driver) {
        error_setg(errp, "driver= is missing: the id of the driver that the "
                   "filter stands on");
        error_append_hint(errp, "For example: -object vhost-dp-tap,id=tap0 "
                          "-object %s,id=%s,driver=tap0\n",
                          object_get_typename(OBJECT(drv)), drv->id);
        return false;
    }
    return true;
}

void vhost_dp_filter_close(VhostDPDriver *drv)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);
    unsigned i;

    for (i = 0; i < f->nqueues; i++) {
        g_free(f->queue[i]);
    }
    g_clear_pointer(&f->queue, g_free);
    f->nqueues = 0;
    vhost_dp_driver_release_for(f->inner, drv);
    f->inner = NULL;
}

bool vhost_dp_filter_open(VhostDPDriver *drv, unsigned queue_pairs,
                          Error **errp)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);
    VhostDPFilterClass *fc = VHOST_DP_FILTER_GET_CLASS(drv);
    unsigned i;

    f->inner = vhost_dp_driver_claim_for(f->driver, drv, queue_pairs, errp);
    if (!f->inner) {
        return false;
    }
    f->inner_dc = VHOST_DP_DRIVER_GET_CLASS(f->inner);
    vhost_dp_driver_get_caps(f->inner, &f->caps);
    f->nqueues = queue_pairs;
    f->queue = g_new0(VhostDPFilterQueue *, queue_pairs);
    for (i = 0; i < queue_pairs; i++) {
        f->queue[i] = g_malloc0(fc->queue_size);
        f->queue[i]->below.ops = fc->port_ops;
        f->queue[i]->filter = f;
        f->queue[i]->pair = i;
    }
    return true;
}

/* Before open the inner driver is not known: its own limit counts then */
static void filter_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);

    if (f->inner) {
        *caps = f->caps;
    } else {
        *caps = (VhostDPCaps) { .max_queue_pairs = UINT32_MAX };
    }
}

static void filter_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);
    VhostDPFilterClass *fc = VHOST_DP_FILTER_GET_CLASS(drv);
    VhostDPFilterInfo *own = g_new0(VhostDPFilterInfo, 1);
    VhostDPCounterList **tail = &own->counters;
    uint32_t tx_offloads = info->tx_offloads;
    uint32_t rx_offloads = info->rx_offloads;

    vhost_dp_driver_query(f->inner, &f->caps, info);
    /* With the filter's own offloads=off there are none */
    info->tx_offloads &= tx_offloads;
    info->rx_offloads &= rx_offloads;
    own->id = g_strdup(drv->id);
    own->type = g_strdup(object_get_typename(OBJECT(drv)));
    own->driver = g_strdup(f->inner->id);
    own->driver_type = g_strdup(object_get_typename(OBJECT(f->inner)));
    if (fc->add_counters) {
        fc->add_counters(f, &tail);
    }
    own->error = g_strdup(fc->get_error ? fc->get_error(f) : NULL);
    QAPI_LIST_PREPEND(info->filters, own);
}

void vhost_dp_filter_add_counter(VhostDPCounterList ***tail, const char *name,
                                 uint64_t value)
{
    VhostDPCounter *counter = g_new0(VhostDPCounter, 1);

    counter->name = g_strdup(name);
    counter->value = value;
    QAPI_LIST_APPEND(*tail, counter);
}

static void filter_set_offload(VhostDPDriver *drv, uint32_t offloads)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);

    if (f->inner_dc->set_offload) {
        f->inner_dc->set_offload(f->inner, offloads);
    }
}

static void filter_set_rx_filter(VhostDPDriver *drv,
                                 struct VhostDPControl *control)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);

    if (f->inner_dc->set_rx_filter) {
        f->inner_dc->set_rx_filter(f->inner, control);
    }
}

/* ---- The data side ---- */

bool vhost_dp_filter_attach(VhostDPDriver *drv, unsigned pair,
                            VhostDPPort *port, AioContext *ctx, Error **errp)
{
    ERRP_GUARD();
    VhostDPFilter *f = VHOST_DP_FILTER(drv);
    VhostDPFilterQueue *q = f->queue[pair];

    q->above = port;
    if (!f->inner_dc->attach(f->inner, pair, &q->below, ctx, errp)) {
        vhost_dp_driver_prepend(f->inner, errp);
        return false;
    }
    return true;
}

void vhost_dp_filter_detach(VhostDPDriver *drv, unsigned pair)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);

    f->inner_dc->detach(f->inner, pair);
}

static bool filter_set_active(VhostDPDriver *drv, unsigned pair, bool active)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);

    return f->inner_dc->set_active &&
           f->inner_dc->set_active(f->inner, pair, active);
}

static unsigned filter_tx_burst(VhostDPDriver *drv, unsigned pair,
                                VhostDPFrame *frames, unsigned n)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);

    return f->inner_dc->tx_burst(f->inner, pair, frames, n);
}

static unsigned filter_rx_burst(VhostDPDriver *drv, unsigned pair,
                                VhostDPFrame *frames, unsigned n)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);

    return f->inner_dc->rx_burst(f->inner, pair, frames, n);
}

/* Called if the inner driver's caps.rx_into is set */
static int filter_rx_into(VhostDPDriver *drv, unsigned pair,
                          VhostDPFrame *frame, uint8_t *head,
                          const struct iovec *iov, unsigned iovcnt)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);

    return f->inner_dc->rx_into(f->inner, pair, frame, head, iov, iovcnt);
}

static void filter_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);

    if (f->inner_dc->rx_release) {
        f->inner_dc->rx_release(f->inner, pair, n);
    }
}

static void filter_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);

    f->inner_dc->rx_enable(f->inner, pair, enable);
}

/* ---- The object ---- */

static const VhostDPOption filter_options[] = {
    VHOST_DP_OPTION("driver", STR, VhostDPFilter, driver,
        "id of the vhost-dp driver that the filter stands on"),
    { }
};

static void filter_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);
    VhostDPFilterClass *fc = VHOST_DP_FILTER_CLASS(oc);

    dc->check_options = vhost_dp_filter_check_options;
    dc->open = vhost_dp_filter_open;
    dc->close = vhost_dp_filter_close;
    dc->get_caps = filter_get_caps;
    dc->query = filter_query;
    dc->set_offload = filter_set_offload;
    dc->set_rx_filter = filter_set_rx_filter;
    dc->attach = vhost_dp_filter_attach;
    dc->detach = vhost_dp_filter_detach;
    dc->set_active = filter_set_active;
    dc->tx_burst = filter_tx_burst;
    dc->rx_burst = filter_rx_burst;
    dc->rx_into = filter_rx_into;
    dc->rx_release = filter_rx_release;
    dc->rx_enable = filter_rx_enable;

    fc->queue_size = sizeof(VhostDPFilterQueue);
    fc->port_ops = &vhost_dp_filter_port_ops;

    vhost_dp_driver_add_options(oc, filter_options);
}

static const TypeInfo filter_info = {
    .name = TYPE_VHOST_DP_FILTER,
    .parent = TYPE_VHOST_DP_DRIVER,
    .abstract = true,
    .instance_size = sizeof(VhostDPFilter),
    .class_size = sizeof(VhostDPFilterClass),
    .class_init = filter_class_init,
};

static void filter_register_types(void)
{
    type_register_static(&filter_info);
}

type_init(filter_register_types)
