/*
 * vhost-dp: query-vhost-dp and "info vhost-dp"
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the main loop, under the BQL.  Counters are
 * read while the IOThreads write them (see vhost_dp_count()), so counters of
 * one answer need not fit each other to the packet.
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
    Object *obj = OBJECT(netdev->drv);
    unsigned i;

    info->id = g_strdup(netdev->id);
    info->driver = g_strdup(object_get_canonical_path_component(obj));
    info->driver_type = g_strdup(object_get_typename(obj));
    info->interface =
        VHOST_DP_DRIVER_GET_CLASS(netdev->drv)->describe(netdev->drv);
    info->max_queue_pairs = netdev->caps.max_queue_pairs;
    info->max_frame = netdev->caps.max_frame;
    info->tx_offloads = query_offloads(netdev->caps.tx_offloads);
    info->rx_offloads = query_offloads(netdev->caps.rx_offloads);
    info->guest_offloads = query_offloads(netdev->offloads);
    info->link_up = true;
    for (i = 0; i < netdev->nqueues; i++) {
        VhostDPPort *port = netdev->queue[i]->port;

        if (info->link_up) {
            info->link_up = vhost_dp_port_get_link(port, &info->link_reason);
        }
        QAPI_LIST_APPEND(tail, vhost_dp_port_query(port));
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

static void print_queue(Monitor *mon, const char *name,
                        const VhostDPQueueInfo *q)
{
    VhostDPDropInfoList *drop;
    VhostDPViolationInfoList *violation;

    monitor_printf(mon, "    %-2s %-8s %5u %12" PRIu64 " %14" PRIu64
                   " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64
                   "\n", name, VhostDPQueueState_str(q->state), q->size,
                   q->packets, q->bytes, q->bursts, q->kicks, q->calls,
                   q->calls_suppressed);
    for (drop = q->drops; drop; drop = drop->next) {
        monitor_printf(mon, "       dropped (%s): %" PRIu64 "\n",
                       VhostDPDropReason_str(drop->value->reason),
                       drop->value->frames);
    }
    for (violation = q->violations; violation; violation = violation->next) {
        monitor_printf(mon, "       violation (%s): %" PRIu64 "\n",
                       VhostDPViolation_str(violation->value->violation),
                       violation->value->count);
    }
}

static void print_pair(Monitor *mon, const VhostDPQueuePairInfo *pair)
{
    monitor_printf(mon, "  queue pair %u: iothread %s (thread %" PRId64 "), %s",
                   pair->index, pair->iothread, pair->thread_id,
                   pair->enabled ? "enabled" : "disabled");
    if (pair->has_ring_format) {
        monitor_printf(mon, ", %s rings",
                       VhostDPRingFormat_str(pair->ring_format));
    }
    monitor_printf(mon, "\n    %-2s %-8s %5s %12s %14s %10s %10s %10s %10s\n",
                   "", "state", "size", "packets", "bytes", "bursts", "kicks",
                   "calls", "suppressed");
    print_queue(mon, "rx", pair->rx);
    print_queue(mon, "tx", pair->tx);
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

        monitor_printf(mon, "%s: driver %s (%s), %s, link %s%s%s\n",
                       info->id, info->driver, info->driver_type,
                       info->interface, info->link_up ? "up" : "down",
                       info->link_reason ? ": " : "",
                       info->link_reason ?: "");
        print_offloads(mon, "driver's offloads, tx", info->tx_offloads);
        print_offloads(mon, "driver's offloads, rx", info->rx_offloads);
        print_offloads(mon, "guest's offloads, rx", info->guest_offloads);
        for (pair = info->queues; pair; pair = pair->next) {
            print_pair(mon, pair->value);
        }
    }
}
