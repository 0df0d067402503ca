/*
 * vhost-dp: a driver that stands on another driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A filter is a driver whose host interface is another driver:
 *
 *     -object vhost-dp-tap,id=tap0
 *     -object vhost-dp-throttle,id=lim0,driver=tap0,tx-bps=1G
 *     -netdev vhost-dp,id=vd0,driver=lim0
 *
 * Upwards it implements the driver's side of include/net/vhost-dp.h, downwards
 * the port's side.  TYPE_VHOST_DP_FILTER does both by handing everything on; a
 * filter is a child of it that overrides what it looks at.  Filters can stand
 * on filters.  All of a chain's data-side functions for a queue pair run in the
 * pair's IOThread, so a filter needs no lock for what belongs to a pair.
 */

#ifndef NET_VHOST_DP_FILTER_H
#define NET_VHOST_DP_FILTER_H

#include "net/vhost-dp.h"

#define TYPE_VHOST_DP_FILTER "vhost-dp-filter"
OBJECT_DECLARE_TYPE(VhostDPFilter, VhostDPFilterClass, VHOST_DP_FILTER)

/* What a filter has for each queue pair.  Its own struct embeds this one. */
typedef struct VhostDPFilterQueue {
    VhostDPPort below;          /* what the inner driver sees */

    /* Set by open */
    VhostDPFilter *filter;
    unsigned pair;

    /* The IOThread's own, between attach and detach */
    VhostDPPort *above;         /* what the filter sees: attach()'s @port */
} VhostDPFilterQueue;

struct VhostDPFilter {
    VhostDPDriver parent_obj;

    char *driver;               /* option; BQL */

    /* While open; set by open and close, under the BQL */
    VhostDPDriver *inner;       /* with a reference, claimed */
    VhostDPDriverClass *inner_dc;
    VhostDPCaps caps;           /* the inner driver's */
    unsigned nqueues;
    VhostDPFilterQueue **queue;
};

struct VhostDPFilterClass {
    VhostDPDriverClass parent_class;

    /* Size of the filter's own struct for a queue pair */
    size_t queue_size;

    /* What the inner driver calls: preset, and may be replaced by a table */
    const VhostDPPortOps *port_ops;

    /**
     * add_counters: what the filter counts, for query-vhost-dp
     * @tail: of the list to append to
     *
     * Called while open, and while frames are moved.  It must not wait.
     * Optional.  Lock: BQL.
     */
    void (*add_counters)(VhostDPFilter *filter, VhostDPCounterList ***tail);

    /**
     * get_error: why the filter no longer does its work, for query-vhost-dp
     *
     * Called as add_counters.  Returns NULL while it does.  Optional.
     */
    const char *(*get_error)(VhostDPFilter *filter);
};

/**
 * vhost_dp_filter_queue: the filter's struct for queue pair @pair
 *
 * Thread: any, between open and close.
 */
static inline VhostDPFilterQueue *vhost_dp_filter_queue(VhostDPDriver *drv,
                                                        unsigned pair)
{
    return VHOST_DP_FILTER(drv)->queue[pair];
}

/* The queue pair whose port the inner driver calls as @below */
static inline VhostDPFilterQueue *vhost_dp_filter_queue_of(VhostDPPort *below)
{
    return container_of(below, VhostDPFilterQueue, below);
}

/**
 * vhost_dp_filter_port_ops: the preset port_ops, each of which hands on
 *
 * For filters that replace some of them.
 */
extern const VhostDPPortOps vhost_dp_filter_port_ops;

/*
 * What the functions of VhostDPDriverClass are preset to, for filters that have
 * more to do in these
 */
bool vhost_dp_filter_check_options(VhostDPDriver *drv, Error **errp);
bool vhost_dp_filter_open(VhostDPDriver *drv, unsigned queue_pairs,
                          Error **errp);
void vhost_dp_filter_close(VhostDPDriver *drv);
bool vhost_dp_filter_attach(VhostDPDriver *drv, unsigned pair,
                            VhostDPPort *port, AioContext *ctx, Error **errp);
void vhost_dp_filter_detach(VhostDPDriver *drv, unsigned pair);

/**
 * vhost_dp_filter_add_counter: append a counter to a list
 * @name: what query-vhost-dp calls it
 *
 * Thread: any.
 */
void vhost_dp_filter_add_counter(VhostDPCounterList ***tail, const char *name,
                                 uint64_t value);

#endif /* NET_VHOST_DP_FILTER_H */
