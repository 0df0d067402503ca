/*
 * vhost-dp: what the engine's two directions have in common
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: used buffers become visible burst by burst, but the
 * guest is called once for all that were used in a turn: a flush notes that
 * there is somebody to call.
 *
 * If the guest allows a delay (port-coalesce.c), the ring does not ask whether
 * it wants to be called before the call is due.  That is looked at after each
 * pass; and a timer looks when the port has gone to sleep, or does something
 * else, before it is due.  A queue that stops, and parameters that change, make
 * the call at once (vhost_dp_pair_call_held()): control does that, under the
 * lock, and the IOThread finds nothing left to do.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/memalign.h"
#include "port-frame.h"

/* vhost_dp_port_flush() for a queue whose calls are delayed */
static void port_flush_delayed(VhostDPEnginePort *port, unsigned queue)
{
    VhostDPVring *vq = &port->pair.vq[queue];
    PortCoalesce *coalesce = &port->coalesce[queue];
    PortStats *stats = &port->stats[queue];
    unsigned chains = vq->nshadow;
    bool first = !vq->undecided;
    int64_t now = first ? qemu_clock_get_ns(QEMU_CLOCK_REALTIME) : 0;

    vhost_dp_vring_flush(vq);
    vhost_dp_port_coalesce_used(coalesce,
                                &port->conf.coalesce[queue], stats->packets,
                                chains, first, now);
    /*
     * A guest that waits for room to send needs the call, whatever it allowed:
     * with half of the ring it may not have enough for a frame.
     */
    coalesce->descs = (first ? 0 : coalesce->descs) + coalesce->new_descs;
    coalesce->new_descs = 0;
    if (coalesce->descs >= vq->num / 2) {
        port_coalesce_hurry(coalesce);
    }
    if (!first) {
        vhost_dp_count(&stats->calls_coalesced, 1);
    }
    port->delayed = true;
}

void vhost_dp_port_flush(VhostDPEnginePort *port, unsigned queue)
{
    VhostDPVring *vq = &port->pair.vq[queue];

    if (!vq->nshadow) {
        return;
    }
    if (unlikely(vq->hold_calls)) {
        port_flush_delayed(port, queue);
    } else if (vhost_dp_vring_flush(vq)) {
        port->pair.call_pending[queue] = true;
        port->call = true;
    } else {
        vhost_dp_count(&port->stats[queue].calls_suppressed, 1);
    }
}

/* Calls the guest for a queue, if it wants that now */
static void port_call_due(VhostDPEnginePort *port, unsigned queue)
{
    VhostDPPair *pair = &port->pair;
    VhostDPVring *vq = &pair->vq[queue];

    QEMU_LOCK_GUARD(&pair->lock);
    if (!vq->undecided) {
        /* Control has called, and the queue may have stopped */
        return;
    }
    if (vhost_dp_vring_decide(vq)) {
        pair->call_pending[queue] = true;
        vhost_dp_pair_call(pair);
    } else {
        vhost_dp_count(&port->stats[queue].calls_suppressed, 1);
    }
}

void vhost_dp_port_call_due(VhostDPEnginePort *port, int64_t now)
{
    unsigned i;

    port->delayed = false;
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        if (vhost_dp_port_coalesce_due(&port->coalesce[i],
                                       port->stats[i].packets, now)) {
            port_call_due(port, i);
        }
        port->delayed |= port->coalesce[i].state != PORT_COALESCE_CLOSED;
    }
}

/* Have the timer look when the first of the delayed calls is due */
static void port_arm_call_timer(VhostDPEnginePort *port)
{
    uint64_t first = UINT64_MAX;
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        if (port->coalesce[i].state != PORT_COALESCE_CLOSED) {
            first = MIN(first, port->coalesce[i].until);
        }
    }
    /*
     * The timer is never set back: under load most calls are made before they
     * are due by time, and a timer that fires too early is armed again here.
     * A timer that is not armed has UINT64_MAX.
     */
    if (first < timer_expire_time_ns(&port->call_timer)) {
        timer_mod_ns(&port->call_timer, first);
    }
}

void vhost_dp_port_call_timer(void *opaque)
{
    VhostDPEnginePort *port = opaque;

    vhost_dp_port_call_due(port, qemu_clock_get_ns(QEMU_CLOCK_REALTIME));
    port_arm_call_timer(port);
}

void vhost_dp_port_call(VhostDPEnginePort *port)
{
    if (unlikely(port->delayed)) {
        port_arm_call_timer(port);
    }
    if (port->call) {
        port->call = false;
        qemu_mutex_lock(&port->pair.lock);
        vhost_dp_pair_call(&port->pair);
        qemu_mutex_unlock(&port->pair.lock);
    }
}

/* Not cleared: a port that moves nothing has no use for pages */
PortTxBurst *vhost_dp_port_burst_new(void)
{
    PortTxBurst *burst = qemu_memalign(PORT_CACHE_LINE, sizeof(*burst));

    burst->bounce = NULL;
    port_burst_reset(burst);
    return burst;
}

void vhost_dp_port_burst_free(PortTxBurst *burst)
{
    g_free(burst->bounce);
    qemu_vfree(burst);
}

void vhost_dp_port_linearise(PortTxBurst *burst, VhostDPFrame *frame)
{
    bool private_head = frame->flags || frame->gso_type;
    size_t skip = private_head ? frame->iov[0].iov_len : 0;
    uint8_t *buf;

    if (!burst->bounce) {
        /* Each segment of a burst may have headers of its own */
        burst->bounce = g_malloc(VHOST_DP_BURST_BYTES + VHOST_DP_MAX_FRAME +
                                 sizeof(burst->heads));
    }
    buf = burst->bounce + burst->bounced;
    iov_to_buf(frame->iov, frame->iovcnt, skip, buf, frame->len - skip);
    burst->bounced += frame->len - skip;

    frame->inl[0] = frame->iov[0];
    frame->inl[private_head].iov_base = buf;
    frame->inl[private_head].iov_len = frame->len - skip;
    frame->iovcnt = 1 + private_head;
    frame->iov = frame->inl;
}
