/*
 * vhost-dp: the engine's bursts from the guest to the driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the port's IOThread; see port-turn.c.  A burst
 * takes chains from the transmit queue and turns each into a frame: the
 * virtio-net header is copied once and becomes offload metadata, the rest is
 * handed to the driver where it is, in guest memory.  Only a frame with
 * metadata has its headers copied too, so that what was checked is what is
 * sent; what the driver does not do with such a frame is done before
 * (port-soft.c).  When the driver returns it is done with the memory, and the
 * chains are used.  What the driver did not take stays in the queue.  A port
 * that has no driver queue of its own gives its frames to one that has:
 * port-tx-share.c.
 *
 * Frames of QEMU's own, such as announcements, come from other threads by a
 * short list, and go to the driver as a burst of one.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "net/eth.h"
#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp/offload/offload.h"
#include "port-tx.h"
#include "port-tx-int.h"
#include "port-tx-share.h"

/* Frames of QEMU's own that wait for the IOThread, at most */
#define TX_INJECT_MAX 16

PortTx *vhost_dp_port_tx_new(void)
{
    PortTx *tx = g_new0(PortTx, 1);

    tx->lost_for = VHOST_DP_DROP_REASON_LINK_DOWN;
    tx->burst = vhost_dp_port_burst_new();
    qemu_mutex_init(&tx->inject_lock);
    QSIMPLEQ_INIT(&tx->inject);
    return tx;
}

void vhost_dp_port_tx_free(PortTx *tx)
{
    TxInjected *packet, *next;

    QSIMPLEQ_FOREACH_SAFE(packet, &tx->inject, next, next) {
        g_free(packet);
    }
    qemu_mutex_destroy(&tx->inject_lock);
    vhost_dp_port_soft_free_tx(tx->soft);
    vhost_dp_port_soft_free_tx(tx->relay.soft);
    vhost_dp_port_burst_free(tx->burst);
    g_free(tx);
}

/* ---- The state ---- */

void vhost_dp_port_tx_open(VhostDPEnginePort *port)
{
    port->tx->state = vhost_dp_port_tx_follow(port) ? PORT_TX_OPEN :
                                                      PORT_TX_BLOCKED;
}

void vhost_dp_port_tx_reroute(VhostDPEnginePort *port)
{
    if (port->tx->state == PORT_TX_LOST) {
        vhost_dp_port_tx_follow(port);
    } else {
        vhost_dp_port_tx_open(port);
        qemu_bh_schedule(port->bh);
    }
}

void vhost_dp_port_tx_lose(VhostDPEnginePort *port, VhostDPDropReason reason)
{
    port->tx->state = PORT_TX_LOST;
    port->tx->lost_for = reason;
    vhost_dp_port_tx_follow(port);
}

void vhost_dp_port_tx_ready(VhostDPEnginePort *port)
{
    if (port->tx->state == PORT_TX_BLOCKED) {
        vhost_dp_port_tx_open(port);
    }
}

void vhost_dp_port_tx_look(VhostDPEnginePort *port)
{
    if (unlikely(port_tx_is_shared(port)) && !vhost_dp_port_tx_waits(port)) {
        vhost_dp_port_tx_follow(port);
        vhost_dp_port_tx_ready(port);
    }
    if (port->outboxes && vhost_dp_port_relay_ready(port)) {
        port->tx->relay.on = true;
    }
}

void vhost_dp_port_tx_drop_rest(VhostDPEnginePort *port,
                                VhostDPDropReason reason)
{
    vhost_dp_port_soft_drop_rest(port, port->tx->soft, reason);
}

/* ---- Frames of chains ---- */

/* A virtio-net header, of which only a part matters here (virtio 1.3, 5.1.6) */
static void tx_read_hdr(const VhostDPEnginePort *port,
                        const VhostDPChain *chain, VhostDPFrame *frame)
{
    struct virtio_net_hdr hdr;

    if (likely(chain->iov[0].iov_len >= sizeof(hdr))) {
        memcpy(&hdr, chain->iov[0].iov_base, sizeof(hdr));
    } else {
        iov_to_buf(chain->iov, chain->nsegs, 0, &hdr, sizeof(hdr));
    }
    /* The copy is checked: the compiler must not read guest memory again */
    barrier();

    /* The device must ignore the other flags (virtio 1.3, 5.1.6.2.2) */
    frame->flags = hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
    frame->gso_type = hdr.gso_type;
    if (likely(!frame->flags && !frame->gso_type)) {
        return;
    }
    if (port->conf.hdr_swap) {
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

/*
 * Is the sender another one than the guest may be?  @head: the first bytes of
 * the frame, where the guest cannot change them any more.
 */
static bool tx_is_spoofed(const VhostDPEnginePort *port, const uint8_t *head)
{
    return port->conf.checks_source &&
           memcmp(head + ETH_ALEN, port->conf.control->state.source, ETH_ALEN);
}

/* The frame begins with @head, which replaces as many bytes of the guest's */
static void tx_use_head(PortTxBurst *burst, VhostDPFrame *frame, uint8_t *head,
                        size_t head_len)
{
    unsigned room = ARRAY_SIZE(burst->iov) - burst->niov;
    struct iovec *iov = &burst->iov[burst->niov];

    iov[0].iov_base = head;
    iov[0].iov_len = head_len;
    frame->iovcnt = 1 + iov_copy(iov + 1, room - 1, frame->iov, frame->iovcnt,
                                 head_len, frame->len - head_len);
    frame->iov = iov;
    burst->niov += frame->iovcnt;
}

/* Move the addresses out of the guest's reach and check the sender's */
static PortFate tx_check_source(const VhostDPEnginePort *port,
                                PortTxBurst *burst, VhostDPFrame *frame,
                                uint8_t *head)
{
    iov_to_buf(frame->iov, frame->iovcnt, 0, head, sizeof(struct eth_header));
    if (tx_is_spoofed(port, head)) {
        return port_fate_drop(VHOST_DP_DROP_REASON_SPOOFED);
    }
    tx_use_head(burst, frame, head, sizeof(struct eth_header));
    return port_fate(PORT_FATE_SEND);
}

/* Move the headers out of the guest's reach and check the metadata */
static PortFate tx_check_metadata(const VhostDPEnginePort *port,
                                  PortTxBurst *burst, VhostDPFrame *frame,
                                  uint8_t *head)
{
    const VhostDPCaps *caps = &port->caps;
    size_t head_len = MIN(frame->len, VHOST_DP_HEAD_BYTES);
    bool allowed;

    iov_to_buf(frame->iov, frame->iovcnt, 0, head, head_len);
    if (unlikely(tx_is_spoofed(port, head))) {
        return port_fate_drop(VHOST_DP_DROP_REASON_SPOOFED);
    }
    if (!vhost_dp_offload_check(frame, head, head_len)) {
        return port_fate_drop(VHOST_DP_DROP_REASON_BAD_HEADER);
    }
    allowed = vhost_dp_offload_allowed(frame, caps->tx_offloads) &&
              frame->len <= caps->max_frame &&
              !vhost_dp_offload_too_many(frame, frame->hdr_len,
                                         caps->max_datagrams);
    if (!allowed && frame->gso_type) {
        return port_fate(PORT_FATE_CUT);
    }

    tx_use_head(burst, frame, head, head_len);
    if (!allowed) {
        vhost_dp_port_soft_checksum(burst, frame);
    }
    return port_fate(PORT_FATE_SEND);
}

/*
 * Make a frame of a chain, behind the last one of the burst.  Returns
 * PORT_FATE_SEND, PORT_FATE_CUT or PORT_FATE_DROP.
 */
static PortFate tx_make_frame(const VhostDPEnginePort *port,
                              PortTxBurst *burst, VhostDPChain *chain)
{
    VhostDPFrame *frame = &burst->frames[burst->nframes];
    unsigned hdr_len = port->conf.hdr_len;
    unsigned iovcnt = chain->nsegs;
    PortFate fate = port_fate(PORT_FATE_SEND);

    tx_read_hdr(port, chain, frame);
    frame->len = chain->len - hdr_len;
    frame->iov = chain->iov;
    if (likely(frame->iov[0].iov_len > hdr_len)) {
        frame->iov[0].iov_base += hdr_len;
        frame->iov[0].iov_len -= hdr_len;
    } else {
        iov_discard_front(&frame->iov, &iovcnt, hdr_len);
    }
    frame->iovcnt = iovcnt;

    if (frame->len < sizeof(struct eth_header)) {
        return port_fate_drop(VHOST_DP_DROP_REASON_TOO_SHORT);
    }
    if (unlikely(frame->len > port->caps.max_frame) &&
        (!frame->gso_type || frame->len > VHOST_DP_MAX_FRAME)) {
        return port_fate_drop(VHOST_DP_DROP_REASON_TOO_LARGE);
    }
    if (unlikely(frame->flags || frame->gso_type)) {
        fate = tx_check_metadata(port, burst, frame,
                                 burst->heads[burst->nframes]);
    } else if (unlikely(port->conf.checks_source)) {
        fate = tx_check_source(port, burst, frame,
                               burst->heads[burst->nframes]);
    }
    if (unlikely(fate.kind == PORT_FATE_SEND &&
                 frame->iovcnt > port->caps.max_segments)) {
        vhost_dp_port_linearise(burst, frame);
    }
    return fate;
}

/*
 * Cut the frame of a chain.  @n, the end of the burst, is lowered to what there
 * is room for.
 */
static PortFate tx_cut(VhostDPEnginePort *port, unsigned chain, unsigned *n)
{
    PortTx *tx = port->tx;
    PortFate fate = vhost_dp_port_soft_cut(port, &tx->soft, tx->burst, chain);

    if (fate.kind == PORT_FATE_STAY) {
        *n = chain;
    } else if (fate.kind == PORT_FATE_REST) {
        *n = chain + 1;
    } else {
        *n = MIN(*n, chain + 1 + VHOST_DP_BURST_FRAMES - tx->burst->nframes);
    }
    return fate;
}

/*
 * Turn the ring's chains into frames.  @n is lowered to the number of chains
 * that were looked at.
 */
static void tx_make_frames(VhostDPEnginePort *port, VhostDPVring *vq,
                           unsigned *n)
{
    PortTx *tx = port->tx;
    PortTxBurst *burst = tx->burst;
    unsigned i;

    port_burst_reset(burst);
    for (i = 0; i < *n; i++) {
        VhostDPChain *chain = &port->burst->chain[i];

        if (unlikely(chain->len < port->conf.hdr_len)) {
            if (vhost_dp_chain_is_unreadable(chain)) {
                tx->fate[i] = port_fate_drop(VHOST_DP_DROP_REASON_BAD_BUFFER);
                continue;
            }
            vhost_dp_vring_violation(vq, VHOST_DP_VIOLATION_SHORT_HEADER);
            *n = i;
            break;
        }
        if (unlikely(tx->state == PORT_TX_LOST)) {
            tx->fate[i] = port_fate_drop(tx->lost_for);
            continue;
        }
        tx->fate[i] = tx_make_frame(port, burst, chain);
        if (likely(tx->fate[i].kind == PORT_FATE_SEND)) {
            burst->chain[burst->nframes++] = i;
        } else if (tx->fate[i].kind == PORT_FATE_CUT) {
            tx->fate[i] = tx_cut(port, i, n);
        }
    }
}

/* ---- Bursts ---- */

/* What is received for the burst's flows comes to this pair from now on */
static __attribute__((noinline)) void tx_note_flows(VhostDPEnginePort *port)
{
    const PortTxBurst *burst = port->tx->burst;
    unsigned i;

    for (i = 0; i < burst->nframes; i++) {
        int bucket = vhost_dp_flows_bucket(&burst->frames[i], true);

        if (bucket >= 0) {
            vhost_dp_flows_sent(port->set->flows, bucket, port->index);
        }
    }
}

/*
 * The driver took @taken frames.  What it left is made anew the next time, so
 * work on it does not count yet.
 */
static void tx_count_soft(VhostDPEnginePort *port, const PortTxBurst *burst,
                          unsigned taken)
{
    uint64_t mask = taken < 64 ? (1ULL << taken) - 1 : UINT64_MAX;
    PortStats *stats = &port->stats[VHOST_DP_TX];

    vhost_dp_count(&stats->soft_checksums, ctpop64(burst->summed & mask));
    vhost_dp_count(&stats->soft_segments, ctpop64(burst->cut & mask));
}

/* Use the first @n chains of the burst */
static void tx_complete(VhostDPEnginePort *port, VhostDPVring *vq, unsigned n)
{
    const PortFate *fate = port->tx->fate;
    unsigned hdr_len = port->conf.hdr_len;
    uint64_t packets = 0;
    uint64_t bytes = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        const VhostDPChain *chain = &port->burst->chain[i];

        vhost_dp_vring_push(vq, chain, 0);
        if (likely(fate[i].kind == PORT_FATE_SEND)) {
            packets++;
            bytes += chain->len - hdr_len;
        } else if (fate[i].kind == PORT_FATE_DROP) {
            port_drop(port, VHOST_DP_TX, fate[i].reason, 1);
            if (fate[i].reason == VHOST_DP_DROP_REASON_BAD_BUFFER) {
                vhost_dp_count(&vq->violations[port->burst->unreadable], 1);
            }
        }
    }
    if (unlikely(vq->hold_calls)) {
        for (i = 0; i < n; i++) {
            port->coalesce[VHOST_DP_TX].new_descs +=
                port->burst->chain[i].ndescs;
        }
    }
    port_count_burst(port, VHOST_DP_TX, packets, bytes);
}

/* Lock held.  Returns true if there may be more. */
static bool tx_burst(VhostDPEnginePort *port, VhostDPVring *vq)
{
    PortTx *tx = port->tx;
    PortTxBurst *burst = tx->burst;
    unsigned popped, looked_at, done;
    unsigned taken = 0;
    bool notified = vq->notify;

    vhost_dp_vring_disable_notify(vq);
    popped = vhost_dp_vring_pop(vq, port->pair.mem, port->burst,
                                VHOST_DP_BURST_FRAMES, VHOST_DP_BURST_BYTES);
    port_count_look(port, VHOST_DP_TX, popped);
    if (!popped) {
        /* After a miss: again, when it was resolved */
        return vq->missed ? true :
               port_poll_is_on(&port->poll) ? false :
               vhost_dp_vring_enable_notify(vq);
    }
    if (!notified) {
        vhost_dp_count(&port->stats[VHOST_DP_TX].kicks_suppressed, 1);
    }

    looked_at = popped;
    /* For what is lost they do not matter, and may be the new driver's */
    if (unlikely(port_tx_is_shared(port)) && tx->state != PORT_TX_LOST) {
        vhost_dp_port_tx_update_caps(port);
    }
    tx_make_frames(port, vq, &looked_at);
    if (unlikely(port->notes_flows)) {
        tx_note_flows(port);
    }
    if (burst->nframes) {
        taken = vhost_dp_port_tx_offer(port, burst->nframes);
    }
    if (unlikely(burst->summed | burst->cut)) {
        tx_count_soft(port, burst, taken);
    }
    done = looked_at;
    if (unlikely(taken < burst->nframes)) {
        done = burst->chain[taken];
        if (vhost_dp_port_soft_keep_rest(port, tx->soft, burst, taken)) {
            tx->fate[done++] = port_fate(PORT_FATE_REST);
        }
    }

    tx_complete(port, vq, done);
    vhost_dp_vring_rewind(vq, port->burst, popped - done);
    vhost_dp_port_flush(port, VHOST_DP_TX);
    return tx->state != PORT_TX_BLOCKED;
}

/* A burst of the rest of a frame.  Lock held.  Returns as tx_burst(). */
static bool tx_burst_of_rest(VhostDPEnginePort *port)
{
    PortTx *tx = port->tx;

    port_poll_worked(&port->poll);
    if (tx->state == PORT_TX_LOST) {
        vhost_dp_port_tx_drop_rest(port, tx->lost_for);
        return true;
    }
    vhost_dp_port_soft_make_rest(port, tx->soft, tx->burst);
    vhost_dp_port_soft_sent_rest(port, tx->soft, vhost_dp_port_tx_offer(
        port, tx->burst->nframes));
    return tx->state != PORT_TX_BLOCKED;
}

/* A burst of the port's own ring */
static unsigned tx_from_ring(VhostDPEnginePort *port)
{
    VhostDPPair *pair = &port->pair;
    VhostDPVring *vq = &pair->vq[VHOST_DP_TX];
    PortTx *tx = port->tx;
    unsigned left = 0;

    if (tx->state == PORT_TX_BLOCKED) {
        return 0;
    }

    qemu_mutex_lock(&pair->lock);
    /*
     * A disabled pair is served, too, or its frames would be stuck in the ring.
     * A pair that was just enabled, of which the driver does not know yet, is
     * left alone: port_reconcile() will run, and a turn follows it.
     */
    if (port_queue_runs(port, VHOST_DP_TX) && !vq->broken &&
        likely(!pair->enabled || !port_is_inactive(port))) {
        if (unlikely(tx->soft) && vhost_dp_port_soft_has_rest(tx->soft) ?
            tx_burst_of_rest(port) : tx_burst(port, vq)) {
            left = PORT_MORE;
        }
        if (unlikely(vq->broken)) {
            left = 0;
        }
        left |= port_end_burst(port, VHOST_DP_TX);
    }
    qemu_mutex_unlock(&pair->lock);
    return left;
}

/* And one of other ports' frames.  The first may leave the driver no room. */
static __attribute__((noinline)) unsigned
tx_and_relay(VhostDPEnginePort *port)
{
    PortTx *tx = port->tx;
    bool first = tx->relay.first;
    unsigned left;

    tx->relay.first = !first;
    left = first ? vhost_dp_port_relay(port) : tx_from_ring(port);
    if (!vhost_dp_pair_may_run(&port->pair)) {
        return left | PORT_MORE;
    }
    return left | (first ? tx_from_ring(port) : vhost_dp_port_relay(port));
}

unsigned vhost_dp_port_tx(VhostDPEnginePort *port)
{
    return unlikely(port->tx->relay.on) ? tx_and_relay(port) :
                                          tx_from_ring(port);
}

/* ---- Frames of QEMU's own ---- */

void vhost_dp_port_tx_inject(VhostDPEnginePort *port, const void *buf,
                             size_t len)
{
    PortTx *tx = port->tx;
    TxInjected *packet;

    /* One byte more than a driver takes is enough to be counted as too large */
    len = MIN(len, VHOST_DP_MAX_FRAME + 1);
    QEMU_LOCK_GUARD(&tx->inject_lock);
    if (tx->ninject == TX_INJECT_MAX) {
        tx->inject_lost++;
        return;
    }
    packet = g_malloc(sizeof(*packet) + len);
    packet->len = len;
    memcpy(packet->data, buf, len);
    QSIMPLEQ_INSERT_TAIL(&tx->inject, packet, next);
    tx->ninject++;
}

/* Returns NULL if there is none; @lost: how many there was no place for */
static TxInjected *tx_take_injected(PortTx *tx, uint64_t *lost)
{
    TxInjected *packet;

    QEMU_LOCK_GUARD(&tx->inject_lock);
    packet = QSIMPLEQ_FIRST(&tx->inject);
    if (packet) {
        QSIMPLEQ_REMOVE_HEAD(&tx->inject, next);
        tx->ninject--;
    }
    *lost = tx->inject_lost;
    tx->inject_lost = 0;
    return packet;
}

static void tx_send_injected(VhostDPEnginePort *port, TxInjected *packet)
{
    VhostDPFrame frame = {
        .inl[0] = { .iov_base = packet->data, .iov_len = packet->len },
        .iov = frame.inl,
        .iovcnt = 1,
        .len = packet->len,
    };

    QEMU_LOCK_GUARD(&port->pair.lock);
    if (vhost_dp_port_tx_give(port, &frame, 1)) {
        port_count_burst(port, VHOST_DP_TX, 1, packet->len);
    } else {
        /* No room: an announcement is not worth waiting for */
        port_drop(port, VHOST_DP_TX, VHOST_DP_DROP_REASON_NO_BUFFER, 1);
    }
}

void vhost_dp_port_tx_injected(VhostDPEnginePort *port)
{
    PortTx *tx = port->tx;

    for (;;) {
        g_autofree TxInjected *packet = NULL;
        uint64_t lost;

        packet = tx_take_injected(tx, &lost);
        if (lost) {
            port_drop(port, VHOST_DP_TX, VHOST_DP_DROP_REASON_QUEUE_FULL,
                      lost);
        }
        if (!packet) {
            return;
        }
        if (tx->state == PORT_TX_LOST) {
            port_drop(port, VHOST_DP_TX, tx->lost_for, 1);
        } else if (packet->len > port->caps.max_frame) {
            port_drop(port, VHOST_DP_TX, VHOST_DP_DROP_REASON_TOO_LARGE, 1);
        } else if (packet->len < sizeof(struct eth_header)) {
            port_drop(port, VHOST_DP_TX, VHOST_DP_DROP_REASON_TOO_SHORT, 1);
        } else {
            tx_send_injected(port, packet);
        }
    }
}
