/*
 * vhost-dp-af-xdp: the data side
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the queue pair's IOThread.
 *
 * Received frames are lent from the chunks where the kernel put them.  Their
 * chunks go back to the kernel by the fill ring when they are released.  There
 * is no system call for a frame, only poll when there was none.
 *
 * A frame that is sent is copied into free chunks, and a burst ends with
 * sendto(), in which the kernel does the work: it takes 32 descriptors at a
 * time, so there may be several calls.  Chunks come back by the completion
 * ring.  Nothing tells of that, poll neither; so if there are none, or the
 * kernel does not take what is in the ring, a timer tries again.
 *
 * The state of the interface is af-xdp-link.c's business, and so are new
 * sockets when it comes back: meanwhile nothing here touches the old one.
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include "net/eth.h"
#include "af-xdp-int.h"

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

/* Until there may be room again; and if the kernel gave an error */
#define AFXDP_RETRY_NS (100 * SCALE_US)
#define AFXDP_ERROR_NS (100 * SCALE_MS)

static AfXdpQueue *afxdp_queue(VhostDPDriver *drv, unsigned pair)
{
    return &VHOST_DP_AF_XDP(drv)->queue[pair];
}

static void afxdp_retry_in(AfXdpQueue *q, int64_t ns)
{
    timer_mod(q->timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + ns);
}

/* ---- Losses ---- */

static uint64_t afxdp_since(uint64_t now, __u64 *seen)
{
    uint64_t n = now - *seen;

    *seen = now;
    return n;
}

/*
 * Count what the kernel had no chunk for, or found too long.  It does not say
 * which; frames too long there are only where they have to fit one chunk.
 */
static void afxdp_count_losses(AfXdpQueue *q)
{
    struct xdp_statistics now = {};
    socklen_t len = sizeof(now);
    uint64_t dropped, empty, full;

    if (q->left || q->fd < 0 ||
        getsockopt(q->fd, SOL_XDP, XDP_STATISTICS, &now, &len) < 0) {
        return;
    }
    dropped = afxdp_since(now.rx_dropped, &q->seen.rx_dropped);
    empty = afxdp_since(now.rx_fill_ring_empty_descs,
                        &q->seen.rx_fill_ring_empty_descs);
    full = afxdp_since(now.rx_ring_full, &q->seen.rx_ring_full);
    if (!q->sg && dropped > empty) {
        vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_TOO_LARGE,
                              dropped - empty);
        dropped = empty;
    }
    if (dropped + full) {
        vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_NO_BUFFER,
                              dropped + full);
    }
}

/* Count frames in @ring, from entry @from to entry @to */
static unsigned afxdp_count_frames(const AfXdpRing *ring, uint32_t from,
                                   uint32_t to)
{
    unsigned n = 0;

    for (; from != to; from++) {
        n += !(afxdp_desc(ring, from)->options & XDP_PKT_CONTD);
    }
    return n;
}

/* The socket is going to be closed with what is in its rings */
static void afxdp_count_lost_rings(AfXdpQueue *q)
{
    unsigned rx, tx;

    if (!q->rx.map) {
        return;
    }
    afxdp_count_losses(q);
    rx = afxdp_count_frames(&q->rx, q->rx.pos, q->rx.pos +
                            MIN(afxdp_filled(&q->rx), AFXDP_RX_CHUNKS));
    tx = afxdp_count_frames(&q->tx, q->tx.pos -
                            MIN(afxdp_pending(&q->tx), AFXDP_TX_CHUNKS),
                            q->tx.pos);
    if (rx) {
        vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_LINK_DOWN, rx);
    }
    if (tx) {
        vhost_dp_port_drop_tx(q->port, VHOST_DP_DROP_REASON_LINK_DOWN, tx);
    }
}

/* ---- Handlers ---- */

static void afxdp_readable(void *opaque)
{
    AfXdpQueue *q = opaque;

    afxdp_count_losses(q);
    vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
}

static void afxdp_update_handlers(AfXdpQueue *q)
{
    if (!q->left && q->fd >= 0) {
        aio_set_fd_handler(q->ctx, q->fd,
                           q->rx_enabled ? afxdp_readable : NULL,
                           NULL, NULL, NULL, q);
    }
}

/* ---- The link ---- */

static void afxdp_kick(AfXdpQueue *q);

static void afxdp_room(AfXdpQueue *q)
{
    if (q->tx_refused) {
        q->tx_refused = false;
        vhost_dp_port_ready(q->port, VHOST_DP_READY_TX);
    }
}

void vhost_dp_afxdp_set_link(VhostDPDriver *drv, unsigned pair,
                             VhostDPIfState state, const char *reason)
{
    AfXdpQueue *q = afxdp_queue(drv, pair);
    g_autofree char *opened = NULL;

    if (q->left && !reason) {
        opened = g_strdup_printf("interface '%s' is being opened again",
                                 q->xdp->real_ifname);
        reason = opened;
    }
    q->down = reason != NULL;
    vhost_dp_port_set_link(q->port, !q->down, reason);
    if (q->down) {
        /* Drop the frames that wait: the interface may never come back */
        afxdp_room(q);
    } else {
        /* The kernel left what was in the ring when the link went */
        afxdp_kick(q);
    }
}

static void afxdp_release(AfXdpQueue *q, unsigned n);

/* The watch's thread closes the socket, and opens a new one */
void vhost_dp_afxdp_leave(VhostDPDriver *drv, unsigned pair)
{
    AfXdpQueue *q = afxdp_queue(drv, pair);

    if (q->fd >= 0) {
        afxdp_count_lost_rings(q);
        aio_set_fd_handler(q->ctx, q->fd, NULL, NULL, NULL, NULL, NULL);
    }
    q->left = true;
    q->left_frames = 0;
}

void vhost_dp_afxdp_take(VhostDPDriver *drv, unsigned pair)
{
    AfXdpQueue *q = afxdp_queue(drv, pair);

    q->left = false;
    afxdp_release(q, q->left_frames);
    afxdp_update_handlers(q);
}

/* ---- Transmission ---- */

/*
 * Take back the chunks that were sent.  Whatever is in the ring, it stays
 * within their part of the memory.
 */
static void afxdp_reap(AfXdpQueue *q)
{
    const uint32_t mask = (AFXDP_TX_CHUNKS - 1) * AFXDP_CHUNK;
    uint32_t n = MIN(afxdp_filled(&q->done), AFXDP_TX_CHUNKS - q->tx_nfree);

    while (n--) {
        uint32_t addr = *afxdp_addr(&q->done, q->done.pos++);

        q->tx_free[q->tx_nfree++] = AFXDP_TX_START +
                                    ((addr - AFXDP_TX_START) & mask);
    }
    qatomic_store_release(q->done.consumer, q->done.pos);
}

/*
 * Have the kernel send what is in the ring.  What it does not take is tried
 * again by the timer.
 */
static void afxdp_kick(AfXdpQueue *q)
{
    uint32_t before;
    int err;

    while (afxdp_pending(&q->tx) && afxdp_needs_wakeup(&q->tx)) {
        before = qatomic_read(q->tx.consumer);
        if (sendto(q->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0) {
            if (q->zerocopy) {
                return;         /* the interface's driver has been told */
            }
            err = EAGAIN;
        } else {
            err = errno;
        }
        if (err == EBUSY && !q->zerocopy) {
            /* The interface dropped a frame (xsk_generic_xmit) */
            vhost_dp_port_drop_tx(q->port, VHOST_DP_DROP_REASON_NO_BUFFER, 1);
        }
        if (err != EINTR && before == qatomic_read(q->tx.consumer)) {
            q->tx_failed = err != EAGAIN && err != EBUSY && err != ENOBUFS;
            afxdp_retry_in(q, q->tx_failed ? 0 : AFXDP_RETRY_NS);
            return;
        }
    }
}

/* Copy a frame into chunks, of which there are enough, and the ring */
static void afxdp_put_frame(AfXdpQueue *q, const VhostDPFrame *frame)
{
    const struct iovec *iov = frame->iov;
    uint32_t left = frame->len;
    size_t skip = 0;

    while (left) {
        struct xdp_desc *desc = afxdp_desc(&q->tx, q->tx.pos++);
        uint32_t room = MIN(left, AFXDP_CHUNK);
        uint8_t *to;

        desc->addr = q->tx_free[--q->tx_nfree];
        desc->len = room;
        left -= room;
        desc->options = left ? XDP_PKT_CONTD : 0;
        to = q->umem + desc->addr;
        while (room) {
            size_t n = MIN(iov->iov_len - skip, room);

            memcpy(to, (uint8_t *)iov->iov_base + skip, n);
            to += n;
            room -= n;
            skip += n;
            if (skip == iov->iov_len) {
                iov++;
                skip = 0;
            }
        }
    }
}

static unsigned afxdp_chunks(const VhostDPFrame *frame)
{
    return DIV_ROUND_UP(frame->len, AFXDP_CHUNK);
}

static bool afxdp_has_room(AfXdpQueue *q, unsigned chunks)
{
    if (likely(q->tx_nfree >= chunks)) {
        return true;
    }
    qatomic_store_release(q->tx.producer, q->tx.pos);
    afxdp_kick(q);
    afxdp_reap(q);
    return q->tx_nfree >= chunks;
}

static unsigned afxdp_tx_burst(VhostDPDriver *drv, unsigned pair,
                               VhostDPFrame *frames, unsigned n)
{
    AfXdpQueue *q = afxdp_queue(drv, pair);
    unsigned i;

    if (unlikely(q->down)) {
        vhost_dp_port_drop_tx(q->port, VHOST_DP_DROP_REASON_LINK_DOWN, n);
        return n;
    }
    afxdp_reap(q);
    for (i = 0; i < n; i++) {
        unsigned chunks = afxdp_chunks(&frames[i]);

        if (unlikely(chunks > (q->sg ? AFXDP_MAX_FRAME_CHUNKS : 1))) {
            /* A new interface may be able to do less than the old one */
            vhost_dp_port_drop_tx(q->port, VHOST_DP_DROP_REASON_TOO_LARGE, 1);
            continue;
        }
        if (unlikely(!afxdp_has_room(q, chunks))) {
            q->tx_refused = true;
            if (!timer_pending(q->timer)) {
                afxdp_retry_in(q, AFXDP_RETRY_NS);
            }
            return i;
        }
        afxdp_put_frame(q, &frames[i]);
    }
    qatomic_store_release(q->tx.producer, q->tx.pos);
    afxdp_kick(q);
    return n;
}

/* Something did not work a moment ago */
static void afxdp_timer(void *opaque)
{
    AfXdpQueue *q = opaque;

    if (q->tx_failed) {
        q->tx_failed = false;
        vhost_dp_ifwatch_look(q->xdp->link.watch);
    }
    if (q->down || q->fd < 0) {
        return;
    }
    afxdp_kick(q);
    if (q->tx_failed) {
        /* The link is up, and yet nothing can be sent: it can wait */
        afxdp_retry_in(q, AFXDP_ERROR_NS);
    }
    afxdp_reap(q);
    if (q->tx_nfree >= AFXDP_MAX_FRAME_CHUNKS) {
        afxdp_room(q);
    } else if (q->tx_refused && !timer_pending(q->timer)) {
        afxdp_retry_in(q, AFXDP_RETRY_NS);
    }
}

/* ---- Reception ---- */

/* Give a chunk back to the kernel */
static void afxdp_give_back(AfXdpQueue *q, uint64_t addr)
{
    *afxdp_addr(&q->fill, q->fill.pos++) = addr & ~(uint64_t)(AFXDP_CHUNK - 1);
}

static void afxdp_publish_fill(AfXdpQueue *q)
{
    qatomic_store_release(q->fill.producer, q->fill.pos);
    if (unlikely(afxdp_needs_wakeup(&q->fill))) {
        recvfrom(q->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
    }
}

/* Is it a piece of a chunk of reception? */
static bool afxdp_desc_ok(const struct xdp_desc *desc)
{
    return desc->addr < AFXDP_TX_START && desc->len &&
           desc->addr % AFXDP_CHUNK + desc->len <= AFXDP_CHUNK;
}

/*
 * How many entries the next frame has, out of @n; 0 if its end is not there
 * yet.  Sets @len to its length, 0 if it is malformed.
 */
static unsigned afxdp_measure(AfXdpQueue *q, uint32_t n, uint32_t *len)
{
    bool ok = true;
    unsigned i;

    *len = 0;
    for (i = 0; i < n; i++) {
        const struct xdp_desc *desc = afxdp_desc(&q->rx, q->rx.pos + i);

        ok &= afxdp_desc_ok(desc);
        *len += desc->len;
        if (likely(!(desc->options & XDP_PKT_CONTD))) {
            *len = ok ? *len : 0;
            return i + 1;
        }
    }
    return 0;
}

/* Drop the next @n entries, which are a frame, or the begin of a long one */
static void afxdp_drop(AfXdpQueue *q, unsigned n, VhostDPDropReason reason)
{
    const struct xdp_desc *desc = NULL;

    if (!q->rx_skip) {
        vhost_dp_port_drop_rx(q->port, reason, 1);
    }
    while (n--) {
        desc = afxdp_desc(&q->rx, q->rx.pos++);
        if (desc->addr < AFXDP_TX_START) {
            afxdp_give_back(q, desc->addr);
        }
    }
    q->rx_skip = desc->options & XDP_PKT_CONTD;
}

/* Lend the next @n entries as one frame */
static void afxdp_lend(AfXdpQueue *q, unsigned n, uint32_t len,
                       VhostDPFrame *frame)
{
    struct iovec *iov = &q->rx_iov[q->rx_nlent];
    unsigned i;

    for (i = 0; i < n; i++) {
        const struct xdp_desc *desc = afxdp_desc(&q->rx, q->rx.pos++);

        iov[i].iov_base = q->umem + desc->addr;
        iov[i].iov_len = desc->len;
    }
    q->rx_nlent += n;
    q->rx_pieces[q->rx_nframes++] = n;
    frame->iov = iov;
    frame->iovcnt = n;
    frame->len = len;
    frame->flags = 0;
    frame->gso_type = 0;
}

/* Take the next frame, of @n entries.  Returns false if it was dropped. */
static bool afxdp_take(AfXdpQueue *q, unsigned n, uint32_t len,
                       VhostDPFrame *frame)
{
    VhostDPDropReason reason;

    if (unlikely(q->rx_skip || !len)) {
        reason = VHOST_DP_DROP_REASON_DRIVER_ERROR;
    } else if (unlikely(len > VHOST_DP_MAX_FRAME)) {
        reason = VHOST_DP_DROP_REASON_TOO_LARGE;
    } else if (unlikely(len < sizeof(struct eth_header))) {
        reason = VHOST_DP_DROP_REASON_TOO_SHORT;
    } else {
        afxdp_lend(q, n, len, frame);
        return true;
    }
    afxdp_drop(q, n, reason);
    return false;
}

static unsigned afxdp_rx_burst(VhostDPDriver *drv, unsigned pair,
                               VhostDPFrame *frames, unsigned n)
{
    AfXdpQueue *q = afxdp_queue(drv, pair);
    uint32_t start = q->rx.pos;
    uint32_t have, len, filled;
    size_t bytes = 0;
    unsigned i = 0;
    unsigned tries, entries;

    if (unlikely(q->left || q->fd < 0)) {
        return 0;
    }
    filled = afxdp_filled(&q->rx);
    have = MIN(filled, AFXDP_RX_CHUNKS);
    q->rx_first = q->rx_nlent = 0;
    q->rx_frame = q->rx_nframes = 0;
    /* Bounded by tries, so that dropped frames cannot hold it up */
    for (tries = 0; tries < n && have && bytes < VHOST_DP_BURST_BYTES;
         tries++) {
        entries = afxdp_measure(q, have, &len);
        if (unlikely(!entries)) {
            if (have < AFXDP_RX_CHUNKS) {
                break;          /* the rest is to come */
            }
            afxdp_drop(q, have, VHOST_DP_DROP_REASON_TOO_LARGE);
            break;
        }
        have -= entries;
        if (likely(afxdp_take(q, entries, len, &frames[i]))) {
            bytes += len;
            i++;
        }
    }
    qatomic_store_release(q->rx.consumer, q->rx.pos);
    if (unlikely(filled >= AFXDP_RX_CHUNKS / 2)) {
        afxdp_count_losses(q);
    }
    if (unlikely(!i && q->rx.pos != start)) {
        /* 0 would tell the engine that no frame waits: more may be there */
        afxdp_publish_fill(q);
        vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
    }
    return i;
}

static void afxdp_release(AfXdpQueue *q, unsigned n)
{
    while (n--) {
        unsigned pieces = q->rx_pieces[q->rx_frame++];

        q->rx_nlent -= pieces;
        while (pieces--) {
            uint8_t *p = q->rx_iov[q->rx_first++].iov_base;

            if (likely(q->fd >= 0)) {
                afxdp_give_back(q, p - q->umem);
            }
        }
    }
    if (likely(q->fd >= 0)) {
        afxdp_publish_fill(q);
    }
}

static void afxdp_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    AfXdpQueue *q = afxdp_queue(drv, pair);

    if (unlikely(q->left)) {
        /* The watch's thread sees them as lent, and leaves their chunks out */
        q->left_frames += n;
        return;
    }
    afxdp_release(q, n);
}

static void afxdp_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    AfXdpQueue *q = afxdp_queue(drv, pair);

    q->rx_enabled = enable;
    afxdp_update_handlers(q);
    if (enable) {
        /* While the guest had no buffers the kernel may have run out, too */
        afxdp_count_losses(q);
    }
}

/* ---- The life of a queue pair ---- */

static bool afxdp_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                         AioContext *ctx, Error **errp)
{
    AfXdpQueue *q = afxdp_queue(drv, pair);

    q->port = port;
    q->ctx = ctx;
    q->down = false;
    q->rx_enabled = false;
    q->tx_refused = false;
    q->tx_failed = false;
    q->timer = aio_timer_new(ctx, QEMU_CLOCK_REALTIME, SCALE_NS, afxdp_timer,
                             q);
    vhost_dp_link_attach(&q->xdp->link, pair, ctx);
    return true;
}

static void afxdp_detach(VhostDPDriver *drv, unsigned pair)
{
    AfXdpQueue *q = afxdp_queue(drv, pair);

    afxdp_count_losses(q);
    vhost_dp_link_detach(&q->xdp->link, pair);
    timer_free(q->timer);
    q->timer = NULL;
    q->rx_enabled = false;
    afxdp_update_handlers(q);
    q->port = NULL;
}

void vhost_dp_afxdp_io_class_init(VhostDPDriverClass *dc)
{
    dc->attach = afxdp_attach;
    dc->detach = afxdp_detach;
    dc->tx_burst = afxdp_tx_burst;
    dc->rx_burst = afxdp_rx_burst;
    dc->rx_release = afxdp_rx_release;
    dc->rx_enable = afxdp_rx_enable;
}
