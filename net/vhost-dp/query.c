/*
 * vhost-dp: query-vhost-dp and "info vhost-dp"
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the main loop, under the BQL, and waits for
 * nobody: it takes no lock that an IOThread holds while it works, and makes no
 * system call.  What it tells is published by those who know it: counters are
 * read while the IOThreads write them (see vhost_dp_count()), so counters of
 * one answer need not fit each other to the packet; the link is the netdev's
 * last news of it; and what drivers tell of an interface is what its watch
 * found.
 */

#include "qemu/osdep.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-vhost-dp.h"
#include "netdev.h"

static VhostDPOffloadList *query_offloads(uint32_t offloads)
{
    VhostDPOffloadList *list = NULL;
    VhostDPOffloadList **tail = &list;
    unsigned i;

    /* The enum names the VHOST_DP_OFFLOAD_* bits in their order */
    QEMU_BUILD_BUG_ON(VHOST_DP_OFFLOAD_USO6 !=
                      1u << (VHOST_DP_OFFLOAD__MAX - 1));
    for (i = 0; i < VHOST_DP_OFFLOAD__MAX; i++) {
        if (offloads & (1u << i)) {
            QAPI_LIST_APPEND(tail, i);
        }
    }
    return list;
}

static VhostDPInfo *query_netdev(VhostDPNetdev *netdev)
{
    VhostDPInfo *info = g_new0(VhostDPInfo, 1);
    VhostDPQueuePairInfoList **tail = &info->queues;
    g_auto(VhostDPDriverInfo) drv = {};
    unsigned i;

    vhost_dp_driver_query(netdev->drv, &netdev->caps, &drv);
    info->id = g_strdup(netdev->id);
    info->driver = g_strdup(netdev->drv->id);
    info->driver_type = g_strdup(object_get_typename(OBJECT(netdev->drv)));
    info->interface = g_steal_pointer(&drv.interface);
    info->has_io = drv.has_io;
    info->io = drv.io;
    info->peer = g_steal_pointer(&drv.peer);
    info->has_filters = drv.filters;
    info->filters = g_steal_pointer(&drv.filters);
    info->max_queue_pairs = netdev->caps.max_queue_pairs;
    info->max_frame = netdev->caps.max_frame;
    info->max_segments = netdev->caps.max_segments;
    info->rx_poll = netdev->caps.rx_poll;
    info->busy_poll_us = netdev->busy_poll_us;
    info->mac_spoof_check = netdev->mac_spoof_check;
    info->tx_offloads = query_offloads(drv.tx_offloads);
    info->rx_offloads = query_offloads(drv.rx_offloads);
    info->guest_offloads = query_offloads(netdev->offloads);
    info->link_up = !netdev->driver_down;
    info->link_reason = g_strdup(netdev->driver_reason);
    for (i = 0; i < netdev->nqueues; i++) {
        QAPI_LIST_APPEND(tail, vhost_dp_port_query(netdev->queue[i]->port));
    }
    return info;
}

VhostDPInfoList *qmp_query_vhost_dp(Error **errp)
{
    VhostDPInfoList *list = NULL;
    VhostDPInfoList **tail = &list;
    VhostDPNetdev *netdev;

    QTAILQ_FOREACH(netdev, &vhost_dp_netdevs, next) {
        QAPI_LIST_APPEND(tail, query_netdev(netdev));
    }
    return list;
}

/* ---- HMP ---- */

static void print_offloads(Monitor *mon, const char *title,
                           VhostDPOffloadList *list)
{
    monitor_printf(mon, "  %s:", title);
    if (!list) {
        monitor_printf(mon, " none");
    }
    for (; list; list = list->next) {
        monitor_printf(mon, " %s", VhostDPOffload_str(list->value));
    }
    monitor_printf(mon, "\n");
}

/* Frames that the guest did not ask for are not lost to it */
static uint64_t count_drops(const VhostDPQueueInfo *q)
{
    VhostDPDropInfoList *drop;
    uint64_t n = 0;

    for (drop = q->drops; drop; drop = drop->next) {
        if (drop->value->reason != VHOST_DP_DROP_REASON_FILTERED) {
            n += drop->value->frames;
        }
    }
    return n;
}

static void print_traffic(Monitor *mon, const char *name,
                          const VhostDPQueueInfo *q)
{
    monitor_printf(mon, "    %-2s %-8s %4u %15" PRIu64 " %17" PRIu64
                   " %11" PRIu64 "\n", name, VhostDPQueueState_str(q->state),
                   q->size, q->packets, q->bytes, count_drops(q));
}

static void print_notifications(Monitor *mon, const char *name,
                                const VhostDPQueueInfo *q)
{
    monitor_printf(mon, "    %-2s %11" PRIu64 " %11" PRIu64 " %11" PRIu64
                   " %11" PRIu64 " %11" PRIu64 " %11" PRIu64 "\n", name,
                   q->kicks, q->kicks_suppressed, q->calls,
                   q->calls_suppressed, q->polls, q->poll_hits);
}

static void print_bursts(Monitor *mon, const char *name,
                         const VhostDPQueueInfo *q)
{
    uint64List *n;

    monitor_printf(mon, "    %-2s", name);
    for (n = q->burst_sizes; n; n = n->next) {
        monitor_printf(mon, " %9" PRIu64, n->value);
    }
    monitor_printf(mon, "\n");
}

static void print_losses(Monitor *mon, const char *name,
                         const VhostDPQueueInfo *q)
{
    VhostDPDropInfoList *drop;
    VhostDPViolationInfoList *violation;

    if (q->direct_packets) {
        monitor_printf(mon, "    %s straight to the guest's buffers: %" PRIu64
                       " packets\n", name, q->direct_packets);
    }
    if (q->coalesce_packets > 1 && q->coalesce_usecs) {
        monitor_printf(mon, "    %s calls delayed for up to %u packets or %u "
                       "us: %" PRIu64 " bursts had none of their own\n", name,
                       q->coalesce_packets, q->coalesce_usecs,
                       q->calls_coalesced);
    }
    if (q->steered_packets) {
        monitor_printf(mon, "    %s for other queue pairs: %" PRIu64
                       " packets\n", name, q->steered_packets);
    }
    if (q->software_checksums || q->software_segments) {
        monitor_printf(mon, "    %s in software: %" PRIu64 " checksums, %"
                       PRIu64 " segments\n", name, q->software_checksums,
                       q->software_segments);
    }
    if (q->iotlb_hits || q->iotlb_misses) {
        monitor_printf(mon, "    %s IOMMU translations: %" PRIu64
                       " remembered, %" PRIu64 " asked for\n", name,
                       q->iotlb_hits, q->iotlb_misses);
    }
    for (drop = q->drops; drop; drop = drop->next) {
        monitor_printf(mon, "    %s dropped (%s): %" PRIu64 "\n", name,
                       VhostDPDropReason_str(drop->value->reason),
                       drop->value->frames);
    }
    for (violation = q->violations; violation; violation = violation->next) {
        monitor_printf(mon, "    %s violation (%s): %" PRIu64 "\n", name,
                       VhostDPViolation_str(violation->value->violation),
                       violation->value->count);
    }
}

static void print_filters(Monitor *mon, const VhostDPFilterInfoList *filter)
{
    const VhostDPCounterList *counter;

    for (; filter; filter = filter->next) {
        const VhostDPFilterInfo *f = filter->value;

        monitor_printf(mon, "  filter %s (%s) on %s (%s)", f->id, f->type,
                       f->driver, f->driver_type);
        for (counter = f->counters; counter; counter = counter->next) {
            monitor_printf(mon, "%s%s %" PRIu64,
                           counter == f->counters ? ": " : ", ",
                           counter->value->name, counter->value->value);
        }
        monitor_printf(mon, "\n");
        if (f->error) {
            monitor_printf(mon, "    does nothing any more: %s\n", f->error);
        }
    }
}

static void print_peer(Monitor *mon, const VhostDPPeerInfo *peer)
{
    VhostDPPeerViolationInfoList *violation;

    monitor_printf(mon, "  peer: %s, %" PRIu64 " connections",
                   peer->connected ? "connected" : "not connected",
                   peer->connects);
    if (peer->has_features) {
        monitor_printf(mon, ", features 0x%" PRIx64, peer->features);
    }
    if (peer->has_shared_memory) {
        monitor_printf(mon, ", %" PRIu64 " KiB of memory shared",
                       peer->shared_memory / KiB);
    }
    monitor_printf(mon, "\n");
    for (violation = peer->violations; violation;
         violation = violation->next) {
        monitor_printf(mon, "    peer's violation (%s): %" PRIu64 "\n",
                       VhostDPPeerViolation_str(violation->value->violation),
                       violation->value->count);
    }
}

static void print_pair(Monitor *mon, const VhostDPQueuePairInfo *pair)
{
    monitor_printf(mon, "  queue pair %u: iothread %s (thread %" PRId64
                   "), %s, %s", pair->index, pair->iothread, pair->thread_id,
                   pair->enabled ? "enabled" : "disabled",
                   pair->attached ? "attached" : "not attached");
    if (pair->driver_queue_pair != pair->index) {
        monitor_printf(mon, ", sends by the driver's queue pair %u",
                       pair->driver_queue_pair);
    }
    if (pair->has_ring_format) {
        monitor_printf(mon, ", %s rings",
                       VhostDPRingFormat_str(pair->ring_format));
    }
    monitor_printf(mon, "\n       %-8s %4s %15s %17s %11s\n", "state", "size",
                   "packets", "bytes", "drops");
    print_traffic(mon, "rx", pair->rx);
    print_traffic(mon, "tx", pair->tx);
    monitor_printf(mon, "       %11s %11s %11s %11s %11s %11s\n", "kicks",
                   "suppressed", "calls", "suppressed", "polls", "hits");
    print_notifications(mon, "rx", pair->rx);
    print_notifications(mon, "tx", pair->tx);
    monitor_printf(mon, "    %12s %9s %9s %9s %9s %9s %9s\n", "bursts of 1",
                   "2-3", "4-7", "8-15", "16-31", "32-63", "64");
    print_bursts(mon, "rx", pair->rx);
    print_bursts(mon, "tx", pair->tx);
    print_losses(mon, "rx", pair->rx);
    print_losses(mon, "tx", pair->tx);
}

void hmp_info_vhost_dp(Monitor *mon, const QDict *qdict)
{
    g_autoptr(VhostDPInfoList) list = qmp_query_vhost_dp(&error_abort);
    VhostDPInfoList *l;
    VhostDPQueuePairInfoList *pair;

    if (!list) {
        monitor_printf(mon, "There are no vhost-dp netdevs\n");
    }
    for (l = list; l; l = l->next) {
        const VhostDPInfo *info = l->value;

        monitor_printf(mon, "%s: driver %s (%s), %s%s%s, link %s%s%s\n",
                       info->id, info->driver, info->driver_type,
                       info->interface, info->has_io ? ", by " : "",
                       info->has_io ? VhostDPIoMethod_str(info->io) : "",
                       info->link_up ? "up" : "down",
                       info->link_reason ? ": " : "",
                       info->link_reason ?: "");
        monitor_printf(mon, "  driver's limits: %u queue pairs, frames of %u "
                       "bytes in %u segments\n", info->max_queue_pairs,
                       info->max_frame, info->max_segments);
        print_filters(mon, info->filters);
        if (info->peer) {
            print_peer(mon, info->peer);
        }
        if (info->mac_spoof_check) {
            monitor_printf(mon, "  frames from other addresses than the "
                           "guest's are not sent\n");
        }
        if (info->busy_poll_us) {
            monitor_printf(mon, "  busy polling: %u us, %s\n",
                           info->busy_poll_us, info->rx_poll ?
                           "rings and driver" : "rings");
        }
        print_offloads(mon, "driver's offloads, tx", info->tx_offloads);
        print_offloads(mon, "driver's offloads, rx", info->rx_offloads);
        print_offloads(mon, "guest's offloads, rx", info->guest_offloads);
        for (pair = info->queues; pair; pair = pair->next) {
            print_pair(mon, pair->value);
        }
    }
}
