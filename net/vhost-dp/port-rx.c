/*
 * vhost-dp: the engine's bursts from the driver to the guest
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the port's IOThread; see port-turn.c.  The
 * driver lends a burst of frames, which are copied into the guest's buffers,
 * each with a virtio-net header in front.  With mergeable receive buffers
 * (virtio 1.3, 5.1.6.4) a frame may take several chains; they become visible
 * together.  Frames for which there are no buffers stay lent: reception is
 * disabled, the guest is asked to kick when it has posted some, and then the
 * burst goes on.
 *
 * The inbox, with frames that other pairs' threads received, is a second source
 * of lent frames, in turns with the driver.  Long frames are received without
 * being lent: see port-rx-into.c.  With RSS, frames that the driver lent may go
 * to other pairs' inboxes before any is delivered here: see port-rx-steer.c.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/memalign.h"
#include "net/vhost-dp/offload/offload.h"
#include "port-rx.h"
#include "port-rx-frame.h"
#include "port-rx-int.h"
#include "port-rx-steer.h"
#include "trace.h"

/* How many chains ahead a buffer is fetched into the cache */
#define RX_PREFETCH 4

PortRx *vhost_dp_port_rx_new(void)
{
    PortRx *rx = qemu_memalign(PORT_CACHE_LINE, sizeof(*rx));

    /* Not frames and head: a port that moves nothing has no use for pages */
    memset(rx, 0, offsetof(PortRx, frames));
    return rx;
}

void vhost_dp_port_rx_free(PortRx *rx)
{
    vhost_dp_port_soft_free_rx(rx->soft);
    vhost_dp_port_rx_into_free(rx->into);
    vhost_dp_port_rx_steer_free(rx->steer);
    qemu_vfree(rx);
}

/* ---- Lent frames ---- */

/* Give all of them back */
static void rx_release(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;

    if (unlikely(rx->source == PORT_RX_FROM_INBOX)) {
        vhost_dp_inbox_release(port->inbox);
    } else if (rx->source == PORT_RX_FROM_DRIVER && port->dc->rx_release) {
        port->dc->rx_release(port->drv, port->index, rx->lent);
    }
    rx->lent = 0;
    rx->end = 0;
    rx->next = 0;
}

/* Nothing waits any more: see vhost_dp_port_rx_discard() */
static void rx_lose(VhostDPEnginePort *port, VhostDPDropReason reason)
{
    PortRx *rx = port->rx;
    bool hand_over;

    if (!rx->lent) {
        return;
    }
    if (rx->soft_left) {
        /* The guest has got a part of it here */
        port_drop(port, VHOST_DP_RX, reason, 1);
        rx->next++;
    }
    rx->soft_left = 0;
    vhost_dp_port_soft_rx_end(rx->soft);
    /* From another inbox they could come behind later ones of their flows */
    hand_over = reason == VHOST_DP_DROP_REASON_DISABLED && port->index &&
                rx->source != PORT_RX_FROM_INBOX;
    port_drop(port, VHOST_DP_RX, reason,
              hand_over ? vhost_dp_port_rx_hand_over(port) :
                          rx->end - rx->next);
    rx_release(port);
}

void vhost_dp_port_rx_count_inbox(VhostDPEnginePort *port)
{
    VhostDPInboxLost lost = vhost_dp_inbox_take_lost(port->inbox);

    if (lost.full) {
        port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_QUEUE_FULL,
                  lost.full);
    }
    if (lost.closed) {
        port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_STOPPED,
                  lost.closed);
    }
}

/* ---- The state ---- */

/* Who hands over has the first pair's inbox keep memory for it */
static void rx_set_state(VhostDPEnginePort *port, PortRxState state)
{
    PortRx *rx = port->rx;
    bool before = rx->state == PORT_RX_HAND_OVER;
    bool after = state == PORT_RX_HAND_OVER;

    if (state == PORT_RX_DRIVER && rx->state < PORT_RX_DRIVER) {
        vhost_dp_port_rx_raise_fence(port);
    }
    rx->state = state;
    if (after == before) {
        return;
    }
    if (after) {
        vhost_dp_inbox_join(port_first_inbox(port));
    } else {
        vhost_dp_inbox_leave(port_first_inbox(port));
    }
    trace_vhost_dp_port_redirect(port->set->netdev, port->index, after);
}

void vhost_dp_port_rx_open(VhostDPEnginePort *port)
{
    port->rx->ready = true;
    rx_set_state(port, PORT_RX_DRIVER);
}

void vhost_dp_port_rx_discard(VhostDPEnginePort *port,
                              VhostDPDropReason reason)
{
    bool disabled = reason == VHOST_DP_DROP_REASON_DISABLED;

    port->rx->ready = true;
    port->rx->lost_for = reason;
    rx_set_state(port, disabled && port_first_inbox(port) ?
                       PORT_RX_HAND_OVER : PORT_RX_DISCARD);
}

void vhost_dp_port_rx_off(VhostDPEnginePort *port)
{
    rx_set_state(port, PORT_RX_OFF);
}

void vhost_dp_port_rx_drop(VhostDPEnginePort *port, VhostDPDropReason reason)
{
    rx_lose(port, reason);
    if (port->rx->state >= PORT_RX_DRIVER) {
        rx_set_state(port, PORT_RX_OFF);
    }
}

void vhost_dp_port_rx_admit(VhostDPEnginePort *port)
{
    WITH_QEMU_LOCK_GUARD(&port->pair.lock) {
        /* What control has changed since, it has told the inbox */
        if (qatomic_read(&port->changed)) {
            /* The state is about to follow */
        } else if (port->rx->state >= PORT_RX_DRIVER) {
            vhost_dp_inbox_open(port->inbox, false);
        } else {
            vhost_dp_inbox_close(port->inbox);
        }
    }
    /* If control wants the lent ones dropped, this will be called again */
    vhost_dp_inbox_drop_stale(port->inbox);
    vhost_dp_port_rx_count_inbox(port);
}

/*
 * Frames that wait for buffers of this port must not be in the way of those for
 * others.  Returns true if none is lent any more.
 */
static bool rx_wait_in_inbox(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;
    bool all = vhost_dp_port_rx_wait_in_inbox(port);

    rx_release(port);
    if (!all) {
        rx->source = PORT_RX_FROM_COPY;
        rx->lent = 1;
        rx->end = 1;
    }
    return all;
}

/* Steering may be on now: what waits must not be in the way */
static void rx_follow_steering(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;

    if ((rx->looks & PORT_RX_STEERS) && rx->lent &&
        rx->source != PORT_RX_FROM_INBOX && rx_wait_in_inbox(port) &&
        rx->state >= PORT_RX_DRIVER) {
        rx->state = PORT_RX_DRIVER;
    }
}

void vhost_dp_port_rx_control(VhostDPEnginePort *port, VhostDPControl *control)
{
    vhost_dp_port_rx_set_control(port, control);
    rx_follow_steering(port);
}

void vhost_dp_port_rx_queues(VhostDPEnginePort *port)
{
    vhost_dp_port_rx_update_steering(port);
    rx_follow_steering(port);
}

void vhost_dp_port_rx_expire(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;

    /* A thread that got no CPU for a while is about to deliver them */
    bool dry = rx->state >= PORT_RX_GUEST;

    if (dry && rx->source == PORT_RX_FROM_INBOX) {
        rx_lose(port, VHOST_DP_DROP_REASON_QUEUE_FULL);
        vhost_dp_port_rx_kicked(port);
    }
    vhost_dp_inbox_end_expiry(port->inbox, dry);
    vhost_dp_port_rx_count_inbox(port);
}

void vhost_dp_port_rx_ready(VhostDPEnginePort *port)
{
    port->rx->ready = true;
}

void vhost_dp_port_rx_kicked(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;

    if (rx->state == PORT_RX_GUEST || rx->state == PORT_RX_GUEST_POLL) {
        rx->state = PORT_RX_DRIVER;
    }
}

bool vhost_dp_port_rx_settle(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;
    bool enable = (rx->state == PORT_RX_DISCARD ||
                   rx->state == PORT_RX_HAND_OVER ||
                   rx->state == PORT_RX_DRIVER ||
                   (rx->state >= PORT_RX_GUEST &&
                    (rx->looks & PORT_RX_STEERS))) &&
                  port->turn.state != PORT_TURN_PARKED &&
                  !rx_polls_driver(port);

    if (enable == rx->enabled) {
        return false;
    }
    rx->enabled = enable;
    port->dc->rx_enable(port->drv, port->index, enable);
    return enable && rx->ready;
}

/* ---- Into the guest's buffers ---- */

static inline void rx_copy_plain(VhostDPEnginePort *port, VhostDPVring *vq,
                                 const VhostDPFrame *frame,
                                 const VhostDPChain *chain)
{
    uint8_t *buf = chain->iov[0].iov_base;
    unsigned hdr_len = port->conf.hdr_len;
    size_t len = hdr_len + frame->len;

    rx_write_plain_hdr(&port->conf, frame, port->rx->looks & PORT_RX_HASHES,
                       buf);
    memcpy(buf + hdr_len, frame->iov[0].iov_base, frame->len);
    vhost_dp_memory_dirty(chain->region[0], buf, len);
    vhost_dp_vring_push(vq, chain, len);
}

/* Copy a frame into @nchains chains from @first on */
static void rx_copy_frame(VhostDPEnginePort *port, VhostDPVring *vq,
                          const VhostDPFrame *frame, unsigned first,
                          unsigned nchains)
{
    struct virtio_net_hdr_v1_hash hdr;
    size_t len = port->conf.hdr_len + frame->len;
    PortRxCopy src = {
        .cur = { .iov_base = &hdr, .iov_len = port->conf.hdr_len },
        .next = frame->iov,
        .left = frame->iovcnt,
    };
    unsigned i;

    vhost_dp_port_rx_make_hdr(&port->conf, frame,
                              port->rx->looks & PORT_RX_HASHES, nchains, &hdr);
    for (i = first; i < first + nchains; i++) {
        const VhostDPChain *chain = &port->burst->chain[i];
        size_t n = MIN(len, chain->len);

        rx_copy_to_chain(&src, chain, n);
        vhost_dp_vring_push(vq, chain, n);
        len -= n;
    }
}

static __attribute__((noinline)) bool
rx_takes_metadata(VhostDPEnginePort *port, const VhostDPFrame *frame)
{
    PortRx *rx = port->rx;
    size_t head_len = MIN(frame->len, VHOST_DP_HEAD_BYTES);

    /* What was begun in software ends there, whatever the guest takes now */
    return !vhost_dp_port_soft_rx_active(rx->soft) &&
           vhost_dp_offload_allowed(frame, port->conf.offloads) &&
           (!frame->gso_type ||
            vhost_dp_port_rx_gso_fits(frame, port_rx_head(rx, frame),
                                      head_len));
}

/* Can a lent frame be given to the guest with the metadata that it has? */
static inline bool rx_takes(VhostDPEnginePort *port, const VhostDPFrame *frame)
{
    return likely(!frame->flags && !frame->gso_type) ||
           rx_takes_metadata(port, frame);
}

static inline bool rx_exceeds_mtu(VhostDPEnginePort *port,
                                  const VhostDPFrame *frame)
{
    PortRx *rx = port->rx;

    if (likely(frame->len <= port->conf.rx_safe_len) ||
        vhost_dp_port_soft_rx_active(rx->soft)) {
        return false;
    }
    iov_to_buf(frame->iov, frame->iovcnt, 0, rx->head, VHOST_DP_HEAD_BYTES);
    return vhost_dp_port_rx_exceeds_mtu(&port->conf, frame, rx->head);
}

typedef struct RxFill {
    unsigned used;              /* chains of the burst */
    unsigned packets;
    uint64_t bytes;
    bool progress;              /* something was delivered or dropped */
} RxFill;

/*
 * Put what the guest gets in place of a frame with metadata that it did not
 * agree to into the burst's @n chains, from @fill->used on.  Returns true if
 * that was all of it.
 */
static bool rx_fill_soft(VhostDPEnginePort *port, VhostDPVring *vq, unsigned n,
                         bool mergeable, RxFill *fill)
{
    PortRx *rx = port->rx;
    const VhostDPFrame *lent = &rx->frames[rx->next];

    do {
        const VhostDPFrame *frame =
            vhost_dp_port_soft_rx_frame(port, &rx->soft, lent);
        unsigned nchains;

        if (!frame) {
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_BAD_HEADER, 1);
            fill->progress = true;
            return true;
        }
        if (fill->used == n || rx->soft_work == VHOST_DP_BURST_FRAMES) {
            return false;
        }
        nchains = rx_count_chains(port, fill->used,
                                  mergeable ? n : fill->used + 1,
                                  port->conf.hdr_len + frame->len);
        if (!nchains && mergeable) {
            return false;
        }
        fill->progress = true;
        rx->soft_work++;
        if (!nchains) {
            /* The segments that follow are as long, except for the last one */
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_TOO_LARGE, 1);
            rx->soft_left = 0;
            vhost_dp_port_soft_rx_end(rx->soft);
            return true;
        }
        rx_copy_frame(port, vq, frame, fill->used, nchains);
        fill->used += nchains;
        fill->packets++;
        fill->bytes += frame->len;
        rx->soft_left = vhost_dp_port_soft_rx_next(port, rx->soft);
    } while (rx->soft_left);
    return true;
}

/*
 * Put lent frames into the @n chains of the burst, until there are no more
 * frames or too few chains.  Returns the number of chains used; *@progress is
 * set if a frame was dealt with.
 */
static unsigned rx_fill_burst(VhostDPEnginePort *port, VhostDPVring *vq,
                              unsigned n, bool *progress)
{
    bool mergeable = port->pair.features & (1ULL << VIRTIO_NET_F_MRG_RXBUF);
    PortRx *rx = port->rx;
    uint64_t packets = 0;
    uint64_t bytes = 0;
    unsigned used = 0;

    *progress = false;
    while (rx->next < rx->end) {
        const VhostDPFrame *frame = &rx->frames[rx->next];
        size_t len = port->conf.hdr_len + frame->len;
        unsigned nchains;

        if (unlikely(rx_exceeds_mtu(port, frame))) {
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_EXCEEDS_MTU, 1);
        } else if (unlikely(!rx_takes(port, frame))) {
            RxFill fill = { .used = used };
            bool all = rx_fill_soft(port, vq, n, mergeable, &fill);

            used = fill.used;
            packets += fill.packets;
            bytes += fill.bytes;
            *progress |= fill.progress;
            if (!all) {
                break;
            }
        } else {
            if (used == n) {
                break;
            }
            nchains = rx_count_chains(port, used, mergeable ? n : used + 1,
                                      len);
            if (nchains) {
                const VhostDPChain *chain = &port->burst->chain[used];

                /* The guest has not touched its buffers for long */
                if (used + RX_PREFETCH < n) {
                    __builtin_prefetch(chain[RX_PREFETCH].iov[0].iov_base, 1);
                }
                if (likely(rx_is_plain(frame, chain, nchains))) {
                    rx_copy_plain(port, vq, frame, chain);
                } else {
                    rx_copy_frame(port, vq, frame, used, nchains);
                }
                used += nchains;
                packets++;
                bytes += frame->len;
            } else if (mergeable) {
                break;
            } else {
                port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_TOO_LARGE,
                          1);
            }
        }
        rx->next++;
        *progress = true;
    }
    rx_count_burst(port, packets, bytes);
    return used;
}

/* ---- A burst ---- */

typedef enum RxResult {
    RX_DONE,                    /* all frames were delivered or dropped */
    RX_AGAIN,                   /* there are new buffers: come again */
    RX_NO_BUFFERS,              /* the guest kicks when it has posted some */
    RX_NO_BUFFERS_POLL,         /* nobody says so: look again */
    RX_BROKEN,                  /* the guest's driver broke a rule */
} RxResult;

/*
 * The @n chains of the burst are all that there are, and too small for a
 * frame.  Can the guest post more?  Not if the descriptors that are left are
 * fewer than any of these chains took; then waiting would be for ever.
 */
static bool rx_posted_all(const VhostDPEnginePort *port,
                          const VhostDPVring *vq, unsigned n)
{
    const VhostDPChain *chain = port->burst->chain;
    unsigned least = vq->num;
    unsigned sum = 0;
    unsigned i;

    if (port->burst->full || n == VHOST_DP_VRING_BURST) {
        return true;
    }
    for (i = 0; i < n; i++) {
        sum += chain[i].ndescs;
        least = MIN(least, chain[i].ndescs);
    }
    return sum + least > vq->num;
}

/*
 * Deliver the lent frames.  Lock held.  A guest can make each of them need a
 * pop of its own, with more descriptors than a burst has: look at no more than
 * one burst's, and the pop's that goes beyond, at a time.
 */
static RxResult rx_deliver(VhostDPEnginePort *port, VhostDPVring *vq)
{
    PortRx *rx = port->rx;
    bool notified = vq->notify;
    bool dealt = false;         /* with a frame, or a part of one */
    unsigned looked = 0;        /* at descriptors */
    unsigned want = 0;

    vhost_dp_vring_disable_notify(vq);
    while (rx->next < rx->end) {
        unsigned max = MAX(want, rx->end - rx->next);
        unsigned n, used;
        bool progress;

        if (unlikely(dealt && looked >= VHOST_DP_VRING_MAX_DESCS)) {
            return RX_AGAIN;
        }
        n = vhost_dp_vring_pop(vq, port->pair.mem, port->burst, max,
                               want == VHOST_DP_VRING_BURST ?
                               PORT_RX_WANT_BYTES : UINT32_MAX);
        rx_count_pop(port, notified, n);
        if (rx->state != PORT_RX_DRIVER) {
            /* The look was for buffers; what follows is no look of its own */
            port_count_look(port, VHOST_DP_RX, n);
            port_poll_looked(&port->poll);
        }
        notified = false;
        looked += n + port->burst->ndescs;
        used = rx_fill_burst(port, vq, n, &progress);
        vhost_dp_vring_rewind(vq, port->burst, n - used);
        vhost_dp_port_flush(port, VHOST_DP_RX);

        if (progress) {
            dealt = true;
            want = MIN(rx->soft_left, VHOST_DP_BURST_FRAMES);
            if (unlikely(rx->soft_work == VHOST_DP_BURST_FRAMES)) {
                /* That took its time: let others have the lock */
                rx->soft_work = 0;
                return RX_AGAIN;
            }
        } else if (vq->broken) {
            return RX_BROKEN;
        } else if (vq->missed) {
            return RX_AGAIN;
        } else if (rx_posted_all(port, vq, n)) {
            port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_TOO_LARGE, 1);
            rx->soft_left = 0;
            vhost_dp_port_soft_rx_end(rx->soft);
            rx->next++;
            dealt = true;
        } else if (n == max) {
            /* There may be more chains; the frame needs them */
            want = VHOST_DP_VRING_BURST;
        } else if (port_poll_is_on(&port->poll)) {
            return RX_NO_BUFFERS_POLL;
        } else {
            return vhost_dp_vring_enable_notify(vq) ? RX_AGAIN : RX_NO_BUFFERS;
        }
    }
    return RX_DONE;
}

/* Returns false if there is nothing to be had that way */
static bool rx_try_into(VhostDPEnginePort *port, unsigned *left)
{
    PortRx *rx = port->rx;

    if (likely(!rx->long_frames) || !port->caps.rx_into || !rx->ready ||
        !rx_may_ask(port) || rx->state != PORT_RX_DRIVER ||
        (rx->looks & PORT_RX_STEERS)) {
        return false;
    }
    /* The driver may say in rx_into that there are more */
    rx->ready = false;
    switch (vhost_dp_port_rx_into(port)) {
    case PORT_RX_INTO_MORE:
        rx->ready = true;
        *left |= PORT_MORE;
        return true;
    case PORT_RX_INTO_NONE:
        return true;
    case PORT_RX_INTO_UNFIT:
        break;
    }
    rx->ready = true;
    return false;
}

/* Ask the driver for up to @n frames.  Returns -1 if it may not be asked. */
static int rx_ask_driver(VhostDPEnginePort *port, VhostDPFrame *frames,
                         unsigned n)
{
    PortRx *rx = port->rx;
    bool poll = !rx->ready;
    unsigned got;

    if (poll ? !rx_polls_driver(port) : !rx_may_ask(port)) {
        return -1;
    }
    /* The driver may say in rx_burst that there are more */
    rx->ready = false;
    got = port->dc->rx_burst(port->drv, port->index, frames, n);
    if (got) {
        rx->ready = true;
        port_poll_worked(&port->poll);
    }
    if (poll) {
        port_count_look(port, VHOST_DP_RX, got);
    }
    return got;
}

/*
 * Ask the driver for frames to be lent.  Returns false if there are none; all
 * may have been for others: then PORT_MORE in *@left says to come again.
 */
static bool rx_fetch(VhostDPEnginePort *port, unsigned *left)
{
    PortRx *rx = port->rx;
    /* What is read ahead of rx_into has to be copied */
    bool one = rx->long_frames && port->caps.rx_into &&
               !(rx->looks & PORT_RX_STEERS);
    int n = rx_ask_driver(port, rx->frames, one ? 1 : VHOST_DP_BURST_FRAMES);

    if (n < 0) {
        return false;
    }
    rx->source = PORT_RX_FROM_DRIVER;
    rx->next = 0;
    rx->lent = n;
    rx->end = n;
    if (unlikely(rx->looks & PORT_RX_LOOKS) && n &&
        rx->state >= PORT_RX_DRIVER) {
        vhost_dp_port_rx_look(port);
        if (!rx->end) {
            rx_release(port);
            *left |= PORT_MORE;
        }
    }
    return rx->lent > 0;
}

/*
 * Frames wait for buffers of this port: the driver's next ones go to inboxes,
 * the port's own among them.  Returns PORT_MORE or 0.
 */
static unsigned rx_fetch_past(VhostDPEnginePort *port)
{
    VhostDPFrame *frames = vhost_dp_port_rx_past_frames(port);
    int n;

    if ((port->rx->looks & PORT_RX_FENCE) &&
        !vhost_dp_port_rx_fence_is_over(port)) {
        return PORT_MORE;
    }
    n = rx_ask_driver(port, frames, VHOST_DP_BURST_FRAMES);
    if (n <= 0) {
        return 0;
    }
    vhost_dp_port_rx_look_past(port, frames, n);
    if (port->dc->rx_release) {
        port->dc->rx_release(port->drv, port->index, n);
    }
    return PORT_MORE;
}

/* Ask the inbox for frames.  Returns false if there are none. */
static bool rx_fetch_inbox(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;

    rx->source = PORT_RX_FROM_INBOX;
    rx->next = 0;
    rx->lent = vhost_dp_inbox_get(port->inbox, rx->frames,
                                  VHOST_DP_BURST_FRAMES);
    rx->end = rx->lent;
    vhost_dp_port_rx_count_inbox(port);
    if (rx->lent) {
        port_poll_worked(&port->poll);
    }
    return rx->lent > 0;
}

/*
 * Have frames lent, by the inbox and the driver in turns; by the inbox alone
 * while frames from here wait in it.  Returns false if there are none, or
 * rx_into took them: then PORT_MORE in *@left says if to come again.
 */
static bool rx_get(VhostDPEnginePort *port, unsigned *left)
{
    PortRx *rx = port->rx;
    /* In other states what is there is for the state that is about to come */
    bool inbox = vhost_dp_inbox_ready(port->inbox) &&
                 rx->state >= PORT_RX_DRIVER;

    if (unlikely(inbox)) {
        if ((rx->source != PORT_RX_FROM_INBOX ||
             vhost_dp_port_rx_self_waits(port)) && rx_fetch_inbox(port)) {
            return true;
        }
        rx->source = PORT_RX_FROM_DRIVER;
    }
    if (unlikely(rx->looks & PORT_RX_FENCE) &&
        !vhost_dp_port_rx_fence_is_over(port)) {
        *left |= PORT_MORE;
        return inbox && rx_fetch_inbox(port);
    }
    if (rx_try_into(port, left)) {
        *left |= inbox ? PORT_MORE : 0;
        return false;
    }
    return rx_fetch(port, left) || (unlikely(inbox) && rx_fetch_inbox(port));
}

/* The state that follows from a burst.  Returns PORT_MORE or 0. */
static unsigned rx_follow(VhostDPEnginePort *port, RxResult result)
{
    PortRx *rx = port->rx;

    switch (result) {
    case RX_DONE:
        rx_release(port);
        rx->state = PORT_RX_DRIVER;
        return PORT_MORE;
    case RX_AGAIN:
        if (rx->state == PORT_RX_GUEST) {
            /* The look took the guest's notifications away */
            rx->state = PORT_RX_GUEST_POLL;
        }
        return PORT_MORE;
    case RX_NO_BUFFERS:
    case RX_NO_BUFFERS_POLL:
        port_call_soon(port, VHOST_DP_RX);
        if ((rx->looks & PORT_RX_STEERS) &&
            rx->source == PORT_RX_FROM_DRIVER && rx_wait_in_inbox(port)) {
            /* The next burst is the inbox's, and waits */
            rx->state = PORT_RX_DRIVER;
            return PORT_MORE;
        }
        rx->state = result == RX_NO_BUFFERS ? PORT_RX_GUEST :
                                              PORT_RX_GUEST_POLL;
        return rx->looks & PORT_RX_STEERS ? rx_fetch_past(port) : 0;
    case RX_BROKEN:
        vhost_dp_port_rx_drop(port, VHOST_DP_DROP_REASON_STOPPED);
        vhost_dp_port_rx_admit(port);
        return 0;
    }
    g_assert_not_reached();
}

unsigned vhost_dp_port_rx(VhostDPEnginePort *port)
{
    VhostDPPair *pair = &port->pair;
    VhostDPVring *vq = &pair->vq[VHOST_DP_RX];
    PortRx *rx = port->rx;
    RxResult result;
    unsigned left = 0;

    if (rx->state == PORT_RX_OFF) {
        return 0;
    }
    if (rx->state == PORT_RX_GUEST && !port_poll_is_on(&port->poll)) {
        return rx->looks & PORT_RX_STEERS ? rx_fetch_past(port) : 0;
    }
    if (!rx->lent && !rx_get(port, &left)) {
        return left;
    }
    if (unlikely(rx->state < PORT_RX_DRIVER)) {
        rx_lose(port, rx->lost_for);
        return PORT_MORE;
    }

    WITH_QEMU_LOCK_GUARD(&pair->lock) {
        if (unlikely(!port_queue_runs(port, VHOST_DP_RX) || !pair->enabled)) {
            /* The reconcile BH is on its way */
            return 0;
        }
        result = vq->broken ? RX_BROKEN : rx_deliver(port, vq);
        if (unlikely(vq->broken)) {
            result = RX_BROKEN;
        }
        left = port_end_burst(port, VHOST_DP_RX);
    }
    return left | rx_follow(port, result);
}
