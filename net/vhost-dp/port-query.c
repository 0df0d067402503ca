/*
 * vhost-dp: what query-vhost-dp shows of a port
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: reads, under the BQL, what the port's IOThread writes
 * meanwhile, and takes no lock.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "standard-headers/linux/virtio_config.h"
#include "port-frame.h"
#include "port.h"

static VhostDPQueueInfo *port_query_queue(VhostDPEnginePort *port,
                                          unsigned queue)
{
    const PortStats *stats = &port->stats[queue];
    VhostDPPair *pair = &port->pair;
    VhostDPQueueInfo *info = g_new0(VhostDPQueueInfo, 1);
    uint64List **sizes = &info->burst_sizes;
    VhostDPDropInfoList **drops = &info->drops;
    VhostDPViolationInfoList **violations = &info->violations;
    VhostDPVring *vq = &pair->vq[queue];
    unsigned i;

    /* All but @broken, and counters, changes under the BQL, which we hold */
    info->state = qatomic_read(&vq->broken) ? VHOST_DP_QUEUE_STATE_BROKEN :
                  vq->running ? VHOST_DP_QUEUE_STATE_RUNNING :
                  VHOST_DP_QUEUE_STATE_STOPPED;
    info->size = vq->num;

    info->packets = qatomic_read(&stats->packets);
    info->bytes = qatomic_read(&stats->bytes);
    for (i = 0; i < PORT_BURST_SIZES; i++) {
        uint64_t n = qatomic_read(&stats->bursts[i]);

        info->bursts += n;
        QAPI_LIST_APPEND(sizes, n);
    }
    info->polls = qatomic_read(&stats->polls);
    info->poll_hits = qatomic_read(&stats->poll_hits);
    info->kicks = qatomic_read(&stats->kicks);
    info->kicks_suppressed = qatomic_read(&stats->kicks_suppressed);
    info->iotlb_hits = qatomic_read(&vq->iotlb_hits);
    info->iotlb_misses = qatomic_read(&vq->iotlb_misses);
    info->calls = qatomic_read(&pair->calls[queue]);
    info->calls_suppressed = qatomic_read(&stats->calls_suppressed);
    info->calls_coalesced = qatomic_read(&stats->calls_coalesced);
    info->coalesce_packets = port->conf.coalesce[queue].max_packets;
    info->coalesce_usecs = port->conf.coalesce[queue].max_usecs;
    info->direct_packets = qatomic_read(&stats->direct);
    info->steered_packets = qatomic_read(&stats->steered);
    info->software_checksums = qatomic_read(&stats->soft_checksums);
    info->software_segments = qatomic_read(&stats->soft_segments);

    for (i = 0; i < VHOST_DP_DROP_REASON__MAX; i++) {
        uint64_t n = qatomic_read(&stats->drops[i]);

        if (n) {
            VhostDPDropInfo *drop = g_new0(VhostDPDropInfo, 1);

            drop->reason = i;
            drop->frames = n;
            QAPI_LIST_APPEND(drops, drop);
        }
    }
    for (i = 0; i < VHOST_DP_VIOLATION__MAX; i++) {
        uint64_t n = qatomic_read(&vq->violations[i]);

        if (n) {
            VhostDPViolationInfo *violation = g_new0(VhostDPViolationInfo, 1);

            violation->violation = i;
            violation->count = n;
            QAPI_LIST_APPEND(violations, violation);
        }
    }
    return info;
}

VhostDPQueuePairInfo *vhost_dp_port_query(VhostDPEnginePort *port)
{
    VhostDPQueuePairInfo *info = g_new0(VhostDPQueuePairInfo, 1);

    info->index = port->index;
    info->iothread = g_strdup(port->iothread_name);
    info->thread_id = port->iothread->thread_id;
    /* Written under the BQL, which the caller holds */
    info->enabled = port->pair.enabled;
    info->attached = qatomic_read(&port->driver_state) !=
                     PORT_DRIVER_DETACHED;
    info->driver_queue_pair = qatomic_read(&port->tx_owner);
    info->has_ring_format = port->pair.started;
    info->ring_format =
        port->pair.features & (1ULL << VIRTIO_F_RING_PACKED) ?
        VHOST_DP_RING_FORMAT_PACKED : VHOST_DP_RING_FORMAT_SPLIT;
    info->rx = port_query_queue(port, VHOST_DP_RX);
    info->tx = port_query_queue(port, VHOST_DP_TX);
    return info;
}
