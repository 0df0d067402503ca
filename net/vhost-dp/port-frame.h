/*
 * vhost-dp: what the engine's two directions have in common
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Counting, what follows a burst, and the frames of a burst on their way to the
 * driver.  Thread: the port's IOThread.  "Lock" is the queue pair's.
 */

#ifndef NET_VHOST_DP_PORT_FRAME_H
#define NET_VHOST_DP_PORT_FRAME_H

#include "port-int.h"

/* ---- Counting ---- */

/* Counts lost frames */
static inline void port_drop(VhostDPEnginePort *port, unsigned queue,
                             VhostDPDropReason reason, uint64_t n)
{
    vhost_dp_count(&port->stats[queue].drops[reason], n);
}

/* Counts a burst that moved @packets frames */
static inline void port_count_burst(VhostDPEnginePort *port, unsigned queue,
                                    uint64_t packets, uint64_t bytes)
{
    PortStats *stats = &port->stats[queue];

    if (packets) {
        vhost_dp_count(&stats->packets, packets);
        vhost_dp_count(&stats->bytes, bytes);
        vhost_dp_count(&stats->bursts[31 - clz32(packets)], 1);
    }
}

/*
 * Counts a look at the queue's ring, or at the driver, that found @n chains
 * or frames
 */
static inline void port_count_look(VhostDPEnginePort *port, unsigned queue,
                                   unsigned n)
{
    PortStats *stats = &port->stats[queue];

    if (unlikely(port->poll.looking)) {
        vhost_dp_count(&stats->polls, 1);
        if (n) {
            vhost_dp_count(&stats->poll_hits, 1);
            port_poll_hit(&port->poll);
        }
    }
    if (n) {
        port_poll_worked(&port->poll);
    }
}

/* ---- A burst ---- */

/* What is left to do after a burst: bits */
#define PORT_MORE   (1u << 0)   /* there may be more work */
#define PORT_MISSED (1u << 1)   /* the vIOMMU has to be asked first */

/*
 * Does a queue run, and has the bottom half seen its last start?  A queue that
 * was reset and enabled meanwhile must not get frames from before (virtio 1.3,
 * 2.6.1.1); the bottom half is scheduled then, and a turn follows it.
 * Lock held.
 */
static inline bool port_queue_runs(const VhostDPEnginePort *port,
                                   unsigned queue)
{
    const VhostDPPair *pair = &port->pair;

    return pair->vq[queue].running &&
           likely(pair->generation[queue] == port->generation[queue]);
}

/* Flushes a queue, and notes whether to call the guest.  Lock held. */
void vhost_dp_port_flush(VhostDPEnginePort *port, unsigned queue);

/*
 * Ends a burst that was flushed: reports a queue that was broken.  Lock held.
 * Returns PORT_MISSED or 0.
 */
static inline unsigned port_end_burst(VhostDPEnginePort *port, unsigned queue)
{
    VhostDPPair *pair = &port->pair;

    if (unlikely(pair->vq[queue].broken)) {
        /* Nothing more comes to a delayed call */
        port_coalesce_hurry(&port->coalesce[queue]);
        vhost_dp_pair_report(pair);
    }
    return vhost_dp_pair_missed(pair) ? PORT_MISSED : 0;
}

/*
 * Calls the guest once for all flushes before.  Delayed calls are left to the
 * timer.  Lock: none.
 */
void vhost_dp_port_call(VhostDPEnginePort *port);

/*
 * Makes those of the delayed calls that are due at @now, if port->delayed is
 * set.  Lock: none.
 */
void vhost_dp_port_call_due(VhostDPEnginePort *port, int64_t now);

/* The guest has no buffers left: it is not to wait for a call */
static inline void port_call_soon(VhostDPEnginePort *port, unsigned queue)
{
    port_coalesce_hurry(&port->coalesce[queue]);
}

/* For port->call_timer; @opaque is the port */
void vhost_dp_port_call_timer(void *opaque);

/* ---- Frames on their way to the driver ---- */

/*
 * PortTxBurst: the frames of one tx_burst
 *
 * Scratch space: only @bounce is kept after a burst.  The frames come from
 * chains of the ring, in order; a chain that was cut has several frames, its
 * segments.
 */
typedef struct PortTxBurst {
    unsigned nframes;
    unsigned niov;              /* of iov: in use */
    uint64_t summed;            /* bits: frames with checksums of port-soft.c */
    uint64_t cut;               /* bits: frames that are segments of its */
    uint8_t *bounce;            /* for frames with too many pieces, or NULL */
    size_t bounced;             /* bytes of it in use */
    /* The number of each frame's chain in the burst of the ring */
    QEMU_ALIGNED(PORT_CACHE_LINE) uint8_t chain[VHOST_DP_BURST_FRAMES];
    QEMU_ALIGNED(PORT_CACHE_LINE) VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    /* Pieces of all frames; a frame may add its head, and a part of a piece */
    struct iovec iov[VHOST_DP_VRING_MAX_DESCS + 2 * VHOST_DP_BURST_FRAMES];
    uint8_t heads[VHOST_DP_BURST_FRAMES][VHOST_DP_HEAD_BYTES];
} PortTxBurst;

QEMU_BUILD_BUG_ON(VHOST_DP_BURST_FRAMES > 64);  /* summed, cut */
QEMU_BUILD_BUG_ON(offsetof(PortTxBurst, frames) % PORT_CACHE_LINE);

PortTxBurst *vhost_dp_port_burst_new(void);
void vhost_dp_port_burst_free(PortTxBurst *burst);

/* Empties the burst */
static inline void port_burst_reset(PortTxBurst *burst)
{
    burst->nframes = 0;
    burst->niov = 0;
    burst->summed = 0;
    burst->cut = 0;
    burst->bounced = 0;
}

/* Copies a frame into one piece, or two if its headers are private already */
void vhost_dp_port_linearise(PortTxBurst *burst, VhostDPFrame *frame);

#endif /* NET_VHOST_DP_PORT_FRAME_H */
