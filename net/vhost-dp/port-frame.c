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
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/memalign.h"
#include "port-frame.h"

void vhost_dp_port_flush(VhostDPEnginePort *port, unsigned queue)
{
    VhostDPVring *vq = &port->pair.vq[queue];

    if (!vq->nshadow) {
        return;
    }
    if (vhost_dp_vring_flush(vq)) {
        port->pair.call_pending[queue] = true;
        port->call = true;
    } else {
        vhost_dp_count(&port->stats[queue].calls_suppressed, 1);
    }
}

void vhost_dp_port_call(VhostDPEnginePort *port)
{
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
