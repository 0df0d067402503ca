/*
 * vhost-dp: which queue pair has last sent for a flow
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * With several queue pairs and without RSS, received frames should come to the
 * queue pair on which the guest has sent for their flow (virtio 1.3,
 * 5.1.6.5.6).  The ports of a netdev share a table: those that send write it,
 * those that receive read it, and none of them waits.
 *
 * Flows that share a bucket of the table are one to it.  What is in it is a
 * hint: it may name a pair that is not used any more.
 */

#ifndef NET_VHOST_DP_PORT_FLOWS_H
#define NET_VHOST_DP_PORT_FLOWS_H

#include "qemu/atomic.h"
#include "net/vhost-dp.h"

/* Buckets, a power of two */
#define VHOST_DP_FLOWS 4096

typedef struct VhostDPFlows {
    uint16_t pair[VHOST_DP_FLOWS];      /* atomic: 1 + its number; 0: none */
} VhostDPFlows;

/**
 * vhost_dp_flows_bucket: the bucket of a frame's flow
 * @frame: its bytes may be changed by others meanwhile
 * @sent: by the guest, or else to it.  Both directions of a flow have the same
 *        bucket.
 *
 * Thread: any.  Returns -1 if the frame is no IP packet.
 */
int vhost_dp_flows_bucket(const VhostDPFrame *frame, bool sent);

/* Queue pair @pair has sent for it.  Thread: any. */
static inline void vhost_dp_flows_sent(VhostDPFlows *flows, unsigned bucket,
                                       unsigned pair)
{
    /* As a rule it is there already, and the cache line stays shared */
    if (qatomic_read(&flows->pair[bucket]) != pair + 1) {
        qatomic_set(&flows->pair[bucket], pair + 1);
    }
}

/* The queue pair that last sent for it, or @other.  Thread: any. */
static inline unsigned vhost_dp_flows_find(const VhostDPFlows *flows,
                                           unsigned bucket, unsigned other)
{
    unsigned pair = qatomic_read(&flows->pair[bucket]);

    return pair ? pair - 1 : other;
}

#endif /* NET_VHOST_DP_PORT_FLOWS_H */
