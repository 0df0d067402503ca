/*
 * vhost-dp: long frames, straight into the guest's buffers
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: long frames are received without a copy of the engine's,
 * if the driver has rx_into and the guest has posted buffers for any frame: the
 * first bytes go to private memory, where nobody can change what is checked
 * there, the rest goes to the guest's buffers at once.  Buffers that were not
 * needed stay in the queue.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "net/vhost-dp/offload/offload.h"
#include "port-rx-frame.h"
#include "port-rx-int.h"
#include "port-rx-steer.h"

/* Chains to look at: with smaller buffers it is not worth it */
#define RX_INTO_CHAINS 256

struct PortRxInto {
    struct iovec iov[VHOST_DP_INTO_SEGMENTS];
    VhostDPRegion *region[VHOST_DP_INTO_SEGMENTS];  /* of each */
    uint8_t copy[VHOST_DP_MAX_FRAME];   /* of a frame, as if lent */
};

/*
 * The vectors for a frame of any length in the chains of the burst from @first
 * on, up to @end, without their first @skip bytes.  Returns the number, or 0
 * if there is no room for such a frame, or it is in too many places.
 *
 * A guest's buffers often lie side by side.  Each vector costs the kernel some
 * time, and interrupts its copying, so neighbours become one.
 */
static unsigned rx_into_vectors(VhostDPEnginePort *port, unsigned first,
                                unsigned end, size_t skip)
{
    PortRxInto *into = port->rx->into;
    size_t want = port->conf.hdr_len + VHOST_DP_MAX_FRAME;
    struct iovec *last = NULL;
    unsigned niov = 0;
    uint64_t room = 0;
    unsigned i, j;

    for (i = first; i < end && room < want; i++) {
        const VhostDPChain *chain = &port->burst->chain[i];

        room += chain->len;
        for (j = 0; j < chain->nsegs; j++) {
            size_t n = MIN(skip, chain->iov[j].iov_len);
            uint8_t *base = chain->iov[j].iov_base + n;
            size_t len = chain->iov[j].iov_len - n;

            skip -= n;
            if (!len) {
                continue;
            }
            if (last && last->iov_base + last->iov_len == base &&
                into->region[niov - 1] == chain->region[j]) {
                last->iov_len += len;
                continue;
            }
            if (niov == ARRAY_SIZE(into->iov)) {
                return 0;
            }
            into->region[niov] = chain->region[j];
            last = &into->iov[niov++];
            last->iov_base = base;
            last->iov_len = len;
        }
    }
    return room < want ? 0 : niov;
}

/* @len bytes were written to the vectors */
static void rx_into_dirty(const PortRxInto *into, unsigned niov, size_t len)
{
    unsigned i;

    for (i = 0; i < niov && len; i++) {
        const struct iovec *iov = &into->iov[i];
        size_t n = MIN(len, iov->iov_len);

        vhost_dp_memory_dirty(into->region[i], iov->iov_base, n);
        len -= n;
    }
}

/* Bytes of a frame that rx_into has put into the vectors */
static size_t rx_into_rest(const VhostDPFrame *frame)
{
    return frame->len - MIN(frame->len, VHOST_DP_HEAD_BYTES);
}

/*
 * A frame is in the vectors, but for its head and the header in front, which
 * go to the start of the chains from @first on.  Returns the number of chains
 * that the frame takes.
 */
static unsigned rx_into_finish(VhostDPEnginePort *port, VhostDPVring *vq,
                               const VhostDPFrame *frame, unsigned first,
                               unsigned niov)
{
    const VhostDPChain *chain = &port->burst->chain[first];
    struct virtio_net_hdr_v1_hash hdr;
    struct iovec head = {
        .iov_base = port->rx->head,
        .iov_len = MIN(frame->len, VHOST_DP_HEAD_BYTES),
    };
    PortRxCopy src = {
        .cur = { .iov_base = &hdr, .iov_len = port->conf.hdr_len },
        .next = &head,
        .left = 1,
    };
    size_t len = port->conf.hdr_len + frame->len;
    unsigned nchains;
    unsigned i;

    for (nchains = 0; len; nchains++) {
        size_t n = MIN(len, chain[nchains].len);

        vhost_dp_vring_push(vq, &chain[nchains], n);
        len -= n;
    }
    vhost_dp_port_rx_make_hdr(&port->conf, frame,
                              port->rx->looks & PORT_RX_HASHES, nchains, &hdr);
    len = port->conf.hdr_len + head.iov_len;
    for (i = 0; len; i++) {
        size_t n = MIN(len, chain[i].len);

        rx_copy_to_chain(&src, &chain[i], n);
        len -= n;
    }
    rx_into_dirty(port->rx->into, niov, frame->len - head.iov_len);
    return nchains;
}

/* Can the guest be given a frame with the metadata that it has? */
static bool rx_into_takes(const VhostDPEnginePort *port,
                          const VhostDPFrame *frame)
{
    size_t head_len = MIN(frame->len, VHOST_DP_HEAD_BYTES);

    return vhost_dp_offload_allowed(frame, port->conf.offloads) &&
           (!frame->gso_type ||
            vhost_dp_port_rx_gso_fits(frame, port->rx->head, head_len));
}

/*
 * The guest agreed to less since the host made the frame, or cannot make use of
 * its metadata: copy it, and let it go the way of lent frames, which are
 * processed in software.
 */
static void rx_into_lend(VhostDPEnginePort *port, const VhostDPFrame *frame,
                         unsigned niov)
{
    PortRx *rx = port->rx;
    PortRxInto *into = rx->into;
    VhostDPFrame *lent = &rx->frames[0];
    size_t n = MIN(frame->len, VHOST_DP_HEAD_BYTES);

    memcpy(into->copy, rx->head, n);
    iov_to_buf(into->iov, niov, 0, into->copy + n, frame->len - n);
    *lent = *frame;
    lent->inl[0].iov_base = into->copy;
    lent->inl[0].iov_len = frame->len;
    lent->iov = lent->inl;
    lent->iovcnt = 1;
    rx->source = PORT_RX_FROM_COPY;
    rx->lent = 1;
    rx->end = 1;
    rx->next = 0;
}

/*
 * Receive frames into the @n chains of the burst.  Returns the number of
 * chains used; *@more is cleared if the driver has no more frames, *@tried set
 * if it was asked at all.
 */
static unsigned rx_into_chains(VhostDPEnginePort *port, VhostDPVring *vq,
                               unsigned n, bool *more, bool *tried)
{
    bool mergeable = port->pair.features & (1ULL << VIRTIO_NET_F_MRG_RXBUF);
    PortRx *rx = port->rx;
    PortRxInto *into = rx->into;
    size_t skip = port->conf.hdr_len + VHOST_DP_HEAD_BYTES;
    uint64_t packets = 0;
    uint64_t bytes = 0;
    uint64_t lost = 0;          /* bytes that the guest does not get */
    unsigned nlost = 0;
    unsigned used = 0;
    unsigned tries;

    for (tries = 0; tries < VHOST_DP_BURST_FRAMES &&
                    bytes + lost < VHOST_DP_BURST_BYTES; tries++) {
        VhostDPFrame frame;
        unsigned niov;
        int r;

        niov = rx_into_vectors(port, used, mergeable ? n : MIN(used + 1, n),
                               skip);
        if (!niov) {
            break;
        }
        *tried = true;
        r = port->dc->rx_into(port->drv, port->index, &frame, rx->head,
                              into->iov, niov);
        if (r == 0) {
            *more = false;
            break;
        }
        if (r < 0) {
            rx_into_dirty(into, niov, SIZE_MAX);
        } else if (unlikely(frame.len > VHOST_DP_MAX_FRAME)) {
            rx_into_dirty(into, niov, SIZE_MAX);
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_TOO_LARGE, 1);
        } else if (unlikely(rx->looks) &&
                   !vhost_dp_port_rx_look_at(port, &frame, rx->head)) {
            rx_into_dirty(into, niov, rx_into_rest(&frame));
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_FILTERED, 1);
            lost += frame.len;
            nlost++;
        } else if (unlikely(frame.len > port->conf.rx_safe_len) &&
                   vhost_dp_port_rx_exceeds_mtu(&port->conf, &frame,
                                                rx->head)) {
            rx_into_dirty(into, niov, rx_into_rest(&frame));
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_EXCEEDS_MTU, 1);
            lost += frame.len;
            nlost++;
        } else if (unlikely(!rx_into_takes(port, &frame))) {
            rx_into_dirty(into, niov, rx_into_rest(&frame));
            rx_into_lend(port, &frame, niov);
            break;
        } else {
            used += rx_into_finish(port, vq, &frame, used, niov);
            packets++;
            bytes += frame.len;
        }
    }
    rx_count_burst(port, packets, bytes);
    if (unlikely(nlost) && !packets) {
        rx->long_frames = lost >= nlost * (uint64_t)PORT_RX_INTO_MIN;
    }
    vhost_dp_count(&port->stats[VHOST_DP_RX].direct, packets);
    return used;
}

PortRxIntoResult vhost_dp_port_rx_into(VhostDPEnginePort *port)
{
    VhostDPPair *pair = &port->pair;
    VhostDPVring *vq = &pair->vq[VHOST_DP_RX];
    bool more = true;
    bool tried = false;
    bool notified;
    unsigned n, used;

    if (!port->rx->into) {
        port->rx->into = g_new(PortRxInto, 1);
    }
    QEMU_LOCK_GUARD(&pair->lock);
    if (!port_queue_runs(port, VHOST_DP_RX) || !pair->enabled || vq->broken) {
        return PORT_RX_INTO_UNFIT;
    }
    notified = vq->notify;
    vhost_dp_vring_disable_notify(vq);
    n = vhost_dp_vring_pop(vq, pair->mem, port->burst, RX_INTO_CHAINS,
                           PORT_RX_WANT_BYTES);
    used = rx_into_chains(port, vq, n, &more, &tried);
    /* Buffers that stay in the queue were no find */
    rx_count_pop(port, notified, used);
    vhost_dp_vring_rewind(vq, port->burst, n - used);
    vhost_dp_port_flush(port, VHOST_DP_RX);
    /* What misses is asked for when there is nothing to be had without it */
    port_end_burst(port, VHOST_DP_RX);
    return !tried ? PORT_RX_INTO_UNFIT :
           more ? PORT_RX_INTO_MORE : PORT_RX_INTO_NONE;
}

void vhost_dp_port_rx_into_free(PortRxInto *into)
{
    g_free(into);
}
