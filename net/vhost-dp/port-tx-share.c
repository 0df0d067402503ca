/*
 * vhost-dp: ports that share a driver queue
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: with a driver that has N queue pairs, and a netdev that
 * has more, port P sends by the driver queue of port P modulo N, its owner.
 * Frames whose metadata was checked are copied into P's outbox; P's bit is set
 * in the owner's bitmap; and the owner's bottom half is scheduled if the bit
 * was not set before.  The owner sends bursts of its own ring and of the
 * outboxes in turns, the outboxes one after the other.  When the driver has no
 * room, both wait; then the outbox becomes full, P's frames stay in P's ring,
 * and the owner has P's bottom half scheduled when there is room.  So a driver
 * without room stops the guest's queues, and nothing is lost.
 *
 * A port may get another owner, or a driver queue of its own, when the netdev
 * moves to another driver.  P sends nothing until the owner that it had has
 * sent all of the outbox, so frames of a flow do not overtake each other.  An
 * owner that has no driver queue any more sends by its own outbox.  That ends:
 * owners have lower numbers.  P does not know of such frames, nor of the rest
 * of one that its owner has begun to cut: it may overtake these.
 *
 * P does in software what the driver does not do, as far as P knows.  What the
 * driver takes may change until the owner sends the frame, so the owner looks
 * at the metadata once more.
 *
 * Frames that a driver queue receives reach such ports by RSS, or because they
 * have sent for the flow: see port-rx-steer.c.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/lockable.h"
#include "net/vhost-dp/offload/offload.h"
#include "port-tx-int.h"
#include "port-tx-share.h"

/* ---- A port without a driver queue ---- */

static bool share_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                         AioContext *ctx, Error **errp)
{
    return true;
}

static void share_detach(VhostDPDriver *drv, unsigned pair)
{
}

/* Nothing is received, and so nothing while the pair is not used either */
static bool share_set_active(VhostDPDriver *drv, unsigned pair, bool active)
{
    return true;
}

static unsigned share_rx_burst(VhostDPDriver *drv, unsigned pair,
                               VhostDPFrame *frames, unsigned n)
{
    return 0;
}

static void share_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
}

VhostDPDriverClass vhost_dp_port_no_driver = {
    .attach = share_attach,
    .detach = share_detach,
    .set_active = share_set_active,
    .rx_burst = share_rx_burst,
    .rx_enable = share_rx_enable,
};

/* ---- What it sends ---- */

static VhostDPEnginePort *share_owner(const VhostDPEnginePort *port)
{
    return port->set->port[port->tx_owner];
}

bool vhost_dp_port_tx_follow(VhostDPEnginePort *port)
{
    unsigned owner = port->index % port->nqueues;

    if (likely(owner == port->tx_owner)) {
        return true;
    }
    if (!vhost_dp_outbox_route(port->outbox,
                               owner == port->index ? VHOST_DP_OUTBOX_NOBODY :
                                                      owner)) {
        return false;
    }
    qatomic_set(&port->tx_owner, owner);
    return true;
}

/* Tells @port that the outbox of port @from has frames for it */
static void share_announce(VhostDPEnginePort *port, unsigned from)
{
    unsigned long bit = BIT_MASK(from);

    if (!(qatomic_fetch_or(&port->outboxes[BIT_WORD(from)], bit) & bit)) {
        vhost_dp_inbox_wake(port->inbox);
    }
}

/* Into the outbox.  Wakes us up when there is room again. */
static __attribute__((noinline)) unsigned
share_put(VhostDPEnginePort *port, const VhostDPFrame *frames, unsigned n)
{
    unsigned lost;
    unsigned taken = vhost_dp_outbox_put(port->outbox, frames, n, &lost);

    if (taken) {
        share_announce(share_owner(port), port->index);
    }
    port_drop(port, VHOST_DP_TX, VHOST_DP_DROP_REASON_QUEUE_FULL, lost);
    return taken + lost;
}

unsigned vhost_dp_port_tx_give(VhostDPEnginePort *port, VhostDPFrame *frames,
                               unsigned n)
{
    return likely(!port_tx_is_shared(port)) ?
           port->dc->tx_burst(port->drv, port->index, frames, n) :
           share_put(port, frames, n);
}

unsigned vhost_dp_port_tx_offer(VhostDPEnginePort *port, unsigned n)
{
    PortTx *tx = port->tx;
    unsigned taken;

    tx->state = PORT_TX_BLOCKED;
    taken = vhost_dp_port_tx_give(port, tx->burst->frames, n);
    if (likely(taken == n)) {
        tx->state = PORT_TX_OPEN;
    }
    return taken;
}

bool vhost_dp_port_tx_waits(VhostDPEnginePort *port)
{
    return vhost_dp_outbox_is_awaited(port->outbox);
}

void vhost_dp_port_tx_update_caps(VhostDPEnginePort *port)
{
    uint32_t offloads = qatomic_read(&share_owner(port)->tx_offloads);

    port->caps.tx_offloads = offloads & port->most_tx_offloads;
    qatomic_set(&port->tx_offloads, port->caps.tx_offloads);
}

/* ---- What it sends for others ---- */

static unsigned relay_words(const VhostDPEnginePort *port)
{
    return BITS_TO_LONGS(port->set->nports);
}

bool vhost_dp_port_relay_ready(VhostDPEnginePort *port)
{
    unsigned i;

    for (i = 0; i < relay_words(port); i++) {
        if (qatomic_read(&port->outboxes[i])) {
            return true;
        }
    }
    return false;
}

/* The next port with frames, in a circle, whose bit is cleared; -1: none */
static int relay_choose(VhostDPEnginePort *port)
{
    PortTxRelay *relay = &port->tx->relay;
    unsigned words = relay_words(port);
    unsigned first = BIT_WORD(relay->next);
    unsigned long mask = BITMAP_FIRST_WORD_MASK(relay->next);
    unsigned i;

    /* The word where it begins comes twice, in two parts */
    for (i = 0; i <= words; i++) {
        unsigned word = (first + i) % words;
        unsigned long bits = qatomic_read(&port->outboxes[word]) & mask;

        if (bits) {
            unsigned from = word * BITS_PER_LONG + ctzl(bits);

            qatomic_fetch_and(&port->outboxes[word], ~BIT_MASK(from));
            relay->next = (from + 1) % port->set->nports;
            return from;
        }
        mask = i + 1 == words ? ~BITMAP_FIRST_WORD_MASK(relay->next) : -1UL;
    }
    return -1;
}

/* The first @n frames of the outbox of port @from were dealt with */
static void relay_release(VhostDPEnginePort *port, unsigned from, unsigned n,
                          bool more)
{
    VhostDPEnginePort *sender = port->set->port[from];

    if (more) {
        /* No need to wake anybody: relay.on is set */
        qatomic_fetch_or(&port->outboxes[BIT_WORD(from)], BIT_MASK(from));
    }
    if (n && vhost_dp_outbox_release(sender->outbox, n)) {
        vhost_dp_inbox_wake(sender->inbox);
    }
}

typedef enum RelayFate {
    RELAY_SEND,
    RELAY_CUT,                  /* into segments, in bursts of their own */
    RELAY_DROP,                 /* too large for this driver */
} RelayFate;

/*
 * Frame @i of the burst gets its checksum, in a copy of its head: if the driver
 * does not take the frame, it comes out of the outbox again.
 */
static void relay_checksum(PortTxBurst *burst, unsigned i)
{
    VhostDPFrame *frame = &burst->frames[i];
    size_t head_len = MIN(frame->len, VHOST_DP_HEAD_BYTES);

    memcpy(burst->heads[i], frame->inl[0].iov_base, head_len);
    frame->inl[1].iov_base = frame->inl[0].iov_base + head_len;
    frame->inl[1].iov_len = frame->len - head_len;
    frame->inl[0].iov_base = burst->heads[i];
    frame->inl[0].iov_len = head_len;
    frame->iovcnt = frame->inl[1].iov_len ? 2 : 1;
    vhost_dp_port_soft_checksum(burst, frame);
}

/* May the driver get frame @i of the burst?  Does what is missing. */
static RelayFate relay_look(const VhostDPEnginePort *port, PortTxBurst *burst,
                            unsigned i)
{
    const VhostDPCaps *caps = &port->caps;
    VhostDPFrame *frame = &burst->frames[i];
    bool fits = frame->len <= caps->max_frame;

    if (likely(!frame->flags && !frame->gso_type)) {
        return likely(fits) ? RELAY_SEND : RELAY_DROP;
    }
    if (vhost_dp_offload_allowed(frame, caps->tx_offloads) && fits &&
        !vhost_dp_offload_too_many(frame, frame->hdr_len,
                                   caps->max_datagrams)) {
        return RELAY_SEND;
    }
    if (frame->gso_type) {
        return RELAY_CUT;
    }
    if (!fits) {
        return RELAY_DROP;
    }
    relay_checksum(burst, i);
    return RELAY_SEND;
}

/* Frame 0 of the burst, which cannot be sent as it is, leaves the outbox */
static void relay_special(VhostDPEnginePort *port, RelayFate fate)
{
    PortTx *tx = port->tx;

    if (fate == RELAY_CUT &&
        vhost_dp_port_soft_take(port, &tx->relay.soft, &tx->burst->frames[0])) {
        return;
    }
    port_drop(port, VHOST_DP_TX, VHOST_DP_DROP_REASON_TOO_LARGE, 1);
}

/* A burst of the outbox of port @from.  Lock held. */
static void relay_burst(VhostDPEnginePort *port, unsigned from)
{
    PortTx *tx = port->tx;
    PortTxBurst *burst = tx->burst;
    RelayFate fate = RELAY_SEND;
    unsigned n, got, done;
    bool more;

    port_burst_reset(burst);
    got = vhost_dp_outbox_get(port->set->port[from]->outbox, port->index,
                              burst->frames, VHOST_DP_BURST_FRAMES, &more);
    if (tx->state == PORT_TX_LOST) {
        port_drop(port, VHOST_DP_TX, tx->lost_for, got);
        relay_release(port, from, got, more);
        return;
    }
    for (n = 0; n < got; n++) {
        fate = relay_look(port, burst, n);
        if (fate != RELAY_SEND) {
            break;
        }
    }
    if (!n && got) {
        relay_special(port, fate);
        done = 1;
    } else {
        done = n ? vhost_dp_port_tx_offer(port, n) : 0;
        if (unlikely(burst->summed && done)) {
            vhost_dp_count(&port->stats[VHOST_DP_TX].soft_checksums,
                           ctpop64(burst->summed & MAKE_64BIT_MASK(0, done)));
        }
    }
    relay_release(port, from, done, more || done < got);
}

/* A burst of segments of a frame that was in an outbox.  Lock held. */
static void relay_burst_of_rest(VhostDPEnginePort *port)
{
    PortTx *tx = port->tx;
    PortTxSoft *soft = tx->relay.soft;

    if (tx->state == PORT_TX_LOST) {
        vhost_dp_port_soft_drop_rest(port, soft, tx->lost_for);
        return;
    }
    vhost_dp_port_soft_make_rest(port, soft, tx->burst);
    vhost_dp_port_soft_sent_rest(port, soft, vhost_dp_port_tx_offer(
        port, tx->burst->nframes));
}

unsigned vhost_dp_port_relay(VhostDPEnginePort *port)
{
    PortTx *tx = port->tx;
    bool rest = tx->relay.soft && vhost_dp_port_soft_has_rest(tx->relay.soft);
    int from;

    if (tx->state == PORT_TX_BLOCKED) {
        return 0;
    }
    from = rest ? 0 : relay_choose(port);
    if (from < 0) {
        /* A bit that is set from now on schedules the bottom half */
        tx->relay.on = false;
        return 0;
    }
    port_poll_worked(&port->poll);
    qemu_mutex_lock(&port->pair.lock);
    if (rest) {
        relay_burst_of_rest(port);
    } else {
        relay_burst(port, from);
    }
    qemu_mutex_unlock(&port->pair.lock);
    return tx->state == PORT_TX_BLOCKED ? 0 : PORT_MORE;
}
