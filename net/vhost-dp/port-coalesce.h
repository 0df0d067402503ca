/*
 * vhost-dp: how long a call may be delayed
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Notification coalescing (virtio 1.3, 5.1.6.5.9) as a state machine on counts
 * and points in time, which knows no port.  Times are in ns of
 * QEMU_CLOCK_REALTIME.
 */

#ifndef NET_VHOST_DP_PORT_COALESCE_H
#define NET_VHOST_DP_PORT_COALESCE_H

/* What the guest allows for one queue.  Guarded by pair.lock. */
typedef struct PortCoalesceConf {
    uint32_t max_packets;
    uint32_t max_usecs;
} PortCoalesceConf;

/*
 *     CLOSED --used buffers--> OPEN --port_coalesce_hurry()--> DUE
 *     OPEN, DUE --vhost_dp_port_coalesce_due()--> CLOSED
 *
 * A call that control makes meanwhile leaves the delay as it is; the next used
 * buffers then open it anew.
 */
typedef enum PortCoalesceState {
    PORT_COALESCE_CLOSED,       /* no call is delayed */
    PORT_COALESCE_OPEN,         /* a call is delayed, until it is due */
    PORT_COALESCE_DUE,          /* the call has to be made now */
} PortCoalesceState;

/* A delay of one queue's call.  The port's IOThread's own. */
typedef struct PortCoalesce {
    PortCoalesceState state;
    unsigned descs;             /* entries of the ring that it is about */
    unsigned new_descs;         /* the same, of the burst at hand */
    int64_t until;              /* when the call is due */
    uint64_t enough;            /* of all packets: from when on it is */
    uint64_t counted;           /* of all packets: that were seen */
} PortCoalesce;

/* Make a delayed call at the next chance */
static inline void port_coalesce_hurry(PortCoalesce *coalesce)
{
    if (coalesce->state == PORT_COALESCE_OPEN) {
        coalesce->state = PORT_COALESCE_DUE;
    }
}

/* Is there any delay?  Otherwise each packet is due at once. */
static inline bool port_coalesce_is_on(const PortCoalesceConf *conf)
{
    return conf->max_packets > 1 && conf->max_usecs;
}

/**
 * vhost_dp_port_coalesce_used: buffers were used
 * @packets: of the queue until now, those of these buffers included
 * @chains: how many were used: an upper bound for the packets in them
 * @first: nothing else waits for a call, so the delay begins with these
 * @now: needed with @first only
 */
void vhost_dp_port_coalesce_used(PortCoalesce *coalesce,
                                 const PortCoalesceConf *conf,
                                 uint64_t packets, unsigned chains, bool first,
                                 int64_t now);

/**
 * vhost_dp_port_coalesce_due: is the call due at @now?
 *
 * Closes the delay if so.
 */
bool vhost_dp_port_coalesce_due(PortCoalesce *coalesce, uint64_t packets,
                                int64_t now);

#endif /* NET_VHOST_DP_PORT_COALESCE_H */
