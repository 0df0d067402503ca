/*
 * vhost-dp: the engine's bursts from the guest to the driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the port's IOThread; see port.c.  A burst
 * takes chains from the transmit queue and turns each into a frame: the
 * virtio-net header is copied once and becomes offload metadata, the rest is
 * handed to the driver where it is, in guest memory.  Only a frame with
 * metadata has its headers copied too, so that what was checked is what is
 * sent; what the driver does not do with such a frame is done before
 * (port-soft.c).  When the driver returns it is done with the memory, and the
 * chains are used.  What the driver did not take stays in the queue.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "net/eth.h"
#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp/offload/offload.h"
#include "port-int.h"

/* A virtio-net header, of which only a part matters here (virtio 1.3, 5.1.6) */
static void tx_read_hdr(VhostDPEnginePort *port, const VhostDPChain *chain,
                        VhostDPFrame *frame)
{
    struct virtio_net_hdr hdr;

    if (likely(chain->iov[0].iov_len >= sizeof(hdr))) {
        memcpy(&hdr, chain->iov[0].iov_base, sizeof(hdr));
    } else {
        iov_to_buf(chain->iov, chain->nsegs, 0, &hdr, sizeof(hdr));
    }
    /* One copy, then checks: keep the compiler from reading it again */
    barrier();

    /* The device must ignore the other flags (virtio 1.3, 5.1.6.2.2) */
    frame->flags = hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
    frame->gso_type = hdr.gso_type;
    if (likely(!frame->flags && !frame->gso_type)) {
        return;
    }
    if (port->hdr_swap) {
        bswap16s(&hdr.hdr_len);
        bswap16s(&hdr.gso_size);
        bswap16s(&hdr.csum_start);
        bswap16s(&hdr.csum_offset);
    }
    frame->hdr_len = hdr.hdr_len;
    frame->gso_size = hdr.gso_size;
    frame->csum_start = hdr.csum_start;
    frame->csum_offset = hdr.csum_offset;
}

/* Move the headers out of the guest's reach and check the metadata */
static int tx_check_metadata(VhostDPEnginePort *port, VhostDPFrame *frame,
                             uint8_t *head)
{
    unsigned room = ARRAY_SIZE(port->tx_iov) - port->tx_niov;
    struct iovec *iov = &port->tx_iov[port->tx_niov];
    size_t head_len = MIN(frame->len, VHOST_DP_HEAD_BYTES);
    bool allowed;

    iov_to_buf(frame->iov, frame->iovcnt, 0, head, head_len);
    if (!vhost_dp_offload_check(frame, head, head_len)) {
        return VHOST_DP_DROP_REASON_BAD_HEADER;
    }
    allowed = vhost_dp_offload_allowed(frame, port->caps.tx_offloads) &&
              frame->len <= port->caps.max_frame &&
              !vhost_dp_offload_too_many(frame, frame->hdr_len,
                                         port->caps.max_datagrams);
    if (!allowed && frame->gso_type) {
        return TX_SEGMENT;
    }

    iov[0].iov_base = head;
    iov[0].iov_len = head_len;
    frame->iovcnt = 1 + iov_copy(iov + 1, room - 1, frame->iov, frame->iovcnt,
                                 head_len, frame->len - head_len);
    frame->iov = iov;
    port->tx_niov += frame->iovcnt;
    if (!allowed) {
        vhost_dp_port_tx_checksum(port, frame);
    }
    return TX_SEND;
}

void vhost_dp_port_tx_linearise(VhostDPEnginePort *port, VhostDPFrame *frame)
{
    bool private_head = frame->flags || frame->gso_type;
    size_t skip = private_head ? frame->iov[0].iov_len : 0;
    uint8_t *buf;

    if (!port->tx_bounce) {
        /* Each segment of a burst may have headers of its own */
        port->tx_bounce = g_malloc(VHOST_DP_BURST_BYTES + VHOST_DP_MAX_FRAME +
                                   sizeof(port->tx_heads));
    }
    buf = port->tx_bounce + port->tx_bounced;
    iov_to_buf(frame->iov, frame->iovcnt, skip, buf, frame->len - skip);
    port->tx_bounced += frame->len - skip;

    frame->inl[0] = frame->iov[0];
    frame->inl[private_head].iov_base = buf;
    frame->inl[private_head].iov_len = frame->len - skip;
    frame->iovcnt = 1 + private_head;
    frame->iov = frame->inl;
}

/*
 * Make a frame of a chain.  Returns TX_SEND or TX_SEGMENT, or the reason for
 * dropping it.
 */
static int tx_make_frame(VhostDPEnginePort *port, VhostDPChain *chain,
                         VhostDPFrame *frame, uint8_t *head)
{
    unsigned iovcnt = chain->nsegs;
    int r = TX_SEND;

    tx_read_hdr(port, chain, frame);
    frame->len = chain->len - port->hdr_len;
    frame->iov = chain->iov;
    if (likely(frame->iov[0].iov_len > port->hdr_len)) {
        frame->iov[0].iov_base += port->hdr_len;
        frame->iov[0].iov_len -= port->hdr_len;
    } else {
        iov_discard_front(&frame->iov, &iovcnt, port->hdr_len);
    }
    frame->iovcnt = iovcnt;

    if (frame->len < sizeof(struct eth_header)) {
        return VHOST_DP_DROP_REASON_TOO_SHORT;
    }
    if (unlikely(frame->len > port->caps.max_frame) &&
        (!frame->gso_type || frame->len > VHOST_DP_MAX_FRAME)) {
        return VHOST_DP_DROP_REASON_TOO_LARGE;
    }
    if (unlikely(frame->flags || frame->gso_type)) {
        r = tx_check_metadata(port, frame, head);
    }
    if (unlikely(r == TX_SEND && frame->iovcnt > port->caps.max_segments)) {
        vhost_dp_port_tx_linearise(port, frame);
    }
    return r;
}

/*
 * Cut a frame.  @n, the end of the burst, is lowered to what there is room for.
 */
static void tx_segment(VhostDPEnginePort *port, unsigned chain,
                       unsigned *nframes, unsigned *n)
{
    int r = vhost_dp_port_tx_segment(port, chain, nframes);

    if (r == TX_FULL || r == TX_REST) {
        *n = r == TX_FULL ? chain : chain + 1;
    } else {
        *n = MIN(*n, chain + 1 + VHOST_DP_BURST_FRAMES - *nframes);
    }
    port->tx_drop[chain] = r;
}

/*
 * Turn the burst's chains into frames.  @n is lowered to the number of chains
 * that were looked at.  Returns the number of frames.
 */
static unsigned tx_make_frames(VhostDPEnginePort *port, VhostDPVring *vq,
                               unsigned *n)
{
    unsigned nframes = 0;
    unsigned i;

    port->tx_niov = 0;
    port->tx_bounced = 0;
    port->tx_summed = 0;
    port->tx_cut = 0;
    for (i = 0; i < *n; i++) {
        VhostDPChain *chain = &port->burst.chain[i];

        if (unlikely(chain->len < port->hdr_len)) {
            if (vhost_dp_chain_is_unreadable(chain)) {
                port->tx_drop[i] = VHOST_DP_DROP_REASON_BAD_BUFFER;
                continue;
            }
            vhost_dp_vring_violation(vq, VHOST_DP_VIOLATION_SHORT_HEADER);
            *n = i;
            break;
        }
        if (unlikely(!port->attached)) {
            port->tx_drop[i] = VHOST_DP_DROP_REASON_LINK_DOWN;
            continue;
        }
        if (unlikely(port->inactive)) {
            port->tx_drop[i] = VHOST_DP_DROP_REASON_DISABLED;
            continue;
        }
        port->tx_drop[i] = tx_make_frame(port, chain,
                                         &port->tx_frames[nframes],
                                         port->tx_heads[nframes]);
        if (likely(port->tx_drop[i] == TX_SEND)) {
            port->tx_chain[nframes++] = i;
        } else if (port->tx_drop[i] == TX_SEGMENT) {
            tx_segment(port, i, &nframes, n);
        }
    }
    return nframes;
}

/*
 * The driver took @taken frames.  What it left is made anew the next time, so
 * work on it does not count yet.
 */
static void tx_count_soft(VhostDPEnginePort *port, unsigned taken)
{
    uint64_t mask = taken < 64 ? (1ULL << taken) - 1 : UINT64_MAX;
    PortStats *stats = &port->stats[VHOST_DP_TX];

    vhost_dp_count(&stats->soft_checksums, ctpop64(port->tx_summed & mask));
    vhost_dp_count(&stats->soft_segments, ctpop64(port->tx_cut & mask));
}

/* Use the first @n chains of the burst */
static void tx_complete(VhostDPEnginePort *port, VhostDPVring *vq, unsigned n)
{
    uint64_t packets = 0;
    uint64_t bytes = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        const VhostDPChain *chain = &port->burst.chain[i];

        vhost_dp_vring_push(vq, chain, 0);
        if (likely(port->tx_drop[i] == TX_SEND)) {
            packets++;
            bytes += chain->len - port->hdr_len;
        } else if (port->tx_drop[i] >= 0) {
            port_drop(port, VHOST_DP_TX, port->tx_drop[i], 1);
            if (port->tx_drop[i] == VHOST_DP_DROP_REASON_BAD_BUFFER) {
                vhost_dp_count(
                    &vq->violations[VHOST_DP_VIOLATION_BUFFER_ADDRESS], 1);
            }
        }
    }
    port_count_burst(port, VHOST_DP_TX, packets, bytes);
}

/* Lock held.  Returns true if there may be more. */
static bool tx_burst(VhostDPEnginePort *port, VhostDPVring *vq)
{
    unsigned popped, looked_at, done, nframes;
    unsigned taken = 0;
    bool notified = vq->notify;
    bool all = true;

    vhost_dp_vring_disable_notify(vq);
    popped = vhost_dp_vring_pop(vq, port->backend.mem, &port->burst,
                                VHOST_DP_BURST_FRAMES, VHOST_DP_BURST_BYTES);
    port_count_look(port, VHOST_DP_TX, popped);
    if (!popped) {
        /* After a miss: again, when it was resolved */
        return vq->missed ? true :
               port->polling ? false : vhost_dp_vring_enable_notify(vq);
    }
    if (!notified) {
        vhost_dp_count(&port->stats[VHOST_DP_TX].kicks_suppressed, 1);
    }

    looked_at = popped;
    nframes = tx_make_frames(port, vq, &looked_at);
    if (nframes) {
        port->tx_room = false;
        taken = port->dc->tx_burst(port->drv, port->index, port->tx_frames,
                                   nframes);
        all = taken == nframes;
        port->tx_blocked = !all && !port->tx_room;
    }
    if (unlikely(port->tx_summed | port->tx_cut)) {
        tx_count_soft(port, taken);
    }
    done = all ? looked_at : port->tx_chain[taken];
    if (unlikely(!all) && vhost_dp_port_tx_keep_rest(port, taken)) {
        port->tx_drop[done++] = TX_REST;
    }

    tx_complete(port, vq, done);
    vhost_dp_vring_rewind(vq, &port->burst, popped - done);
    vhost_dp_port_flush(port, VHOST_DP_TX);
    return !port->tx_blocked;
}

bool vhost_dp_port_tx(VhostDPEnginePort *port)
{
    VhostDPBackend *be = &port->backend;
    VhostDPVring *vq = &be->vq[VHOST_DP_TX];
    bool more = false;

    if (port->tx_blocked) {
        return false;
    }

    qemu_mutex_lock(&be->lock);
    /*
     * Those of a disabled pair too, or its frames would be stuck there.  But
     * one that was just enabled, and the driver not told, is left alone: the
     * reconcile BH is on its way, and a turn follows it.
     */
    if (port_queue_runs(port, VHOST_DP_TX) && !vq->broken &&
        likely(!port->inactive || !be->enabled)) {
        more = unlikely(port->tx_rest) ? vhost_dp_port_tx_rest(port) :
                                         tx_burst(port, vq);
        if (unlikely(vq->broken)) {
            vhost_dp_backend_report(be);
            more = false;
        }
        port->missed |= vhost_dp_backend_missed(be);
    }
    qemu_mutex_unlock(&be->lock);
    return more;
}

void vhost_dp_port_tx_injected(VhostDPEnginePort *port)
{
    VhostDPBackend *be = &port->backend;

    for (;;) {
        g_autofree PortInject *packet = NULL;
        VhostDPFrame frame = {};
        uint64_t lost;

        WITH_QEMU_LOCK_GUARD(&port->side_lock) {
            packet = QSIMPLEQ_FIRST(&port->inject);
            if (packet) {
                QSIMPLEQ_REMOVE_HEAD(&port->inject, next);
                port->ninject--;
            }
            lost = port->inject_lost;
            port->inject_lost = 0;
        }
        if (lost) {
            port_drop(port, VHOST_DP_TX, VHOST_DP_DROP_REASON_QUEUE_FULL,
                      lost);
        }
        if (!packet) {
            return;
        }
        if (!port->attached || port->inactive ||
            packet->len < sizeof(struct eth_header) ||
            packet->len > port->caps.max_frame) {
            port_drop(port, VHOST_DP_TX,
                      !port->attached ? VHOST_DP_DROP_REASON_LINK_DOWN :
                      port->inactive ? VHOST_DP_DROP_REASON_DISABLED :
                      packet->len > port->caps.max_frame ?
                      VHOST_DP_DROP_REASON_TOO_LARGE :
                      VHOST_DP_DROP_REASON_TOO_SHORT, 1);
            continue;
        }

        frame.inl[0].iov_base = packet->data;
        frame.inl[0].iov_len = packet->len;
        frame.iov = frame.inl;
        frame.iovcnt = 1;
        frame.len = packet->len;
        WITH_QEMU_LOCK_GUARD(&be->lock) {
            if (port->dc->tx_burst(port->drv, port->index, &frame, 1)) {
                port_count_burst(port, VHOST_DP_TX, 1, packet->len);
            } else {
                /* No room: an announcement is not worth waiting for */
                port_drop(port, VHOST_DP_TX, VHOST_DP_DROP_REASON_NO_BUFFER,
                          1);
            }
        }
    }
}
