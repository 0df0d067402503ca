/*
 * vhost-dp-tap: the data side
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: one file descriptor per queue pair, used only by the
 * pair's IOThread between attach and detach.  Each frame travels with a struct
 * virtio_net_hdr (IFF_VNET_HDR, linux/if_tun.h), which is the frame's offload
 * metadata in little-endian byte order.
 *
 * A burst is one io_uring submission (util/uring-burst.c), and system calls
 * where io_uring cannot be had.  For one or two frames these are used in any
 * case, being faster.
 *
 * Short frames are copied behind their header and sent from there: one write
 * of one buffer costs less than a vector of two.  Long ones are sent from
 * where they are.
 *
 * Received frames are read into slots, a batch at a time, and lent from there.
 * A read that finds nothing is wasted, so the size of a batch follows the
 * traffic; and after such a read the next one waits until the descriptor is
 * readable.  A batch may hold more bytes than a burst; the rest is lent with
 * the next.
 *
 * A queue pair that the guest does not use is detached from the interface
 * (TUNSETQUEUE), or the kernel would steer flows to it.
 *
 * What happens to the interface is tap-link.c's business.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/memalign.h"
#include "net/eth.h"
#include "tap-int.h"
#include "net/vhost-dp/drivers/lib/vnet-hdr.h"
#include "trace.h"

/* Fewer operations than that are cheaper as system calls (measured) */
#define TAP_URING_MIN 3

/* How long not to read after an error that says nothing of when it ends */
#define TAP_RX_PAUSE_MS 10

/* Reads in a batch when there is little to do: a frame, and nothing */
#define TAP_RX_BATCH_MIN 2

#define TAP_MEM (TAP_TX_BUF + TAP_RX_SLOTS * (size_t)TAP_RX_SLOT)

QEMU_BUILD_BUG_ON(TAP_RX_SLOTS > VHOST_DP_BURST_FRAMES);
QEMU_BUILD_BUG_ON(TAP_RX_SLOT < TAP_RX_FRAME + VHOST_DP_MAX_FRAME);
QEMU_BUILD_BUG_ON(TAP_TX_IOVS < TAP_MAX_SEGMENTS + 1);

/* ---- Handlers, and the life of a queue ---- */

static void tap_readable(void *opaque)
{
    TapQueue *q = opaque;

    q->rx_drained = false;
    vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
}

static void tap_writable(void *opaque)
{
    TapQueue *q = opaque;

    vhost_dp_tap_unblock(q);
}

void vhost_dp_tap_unblock(TapQueue *q)
{
    if (q->tx_blocked) {
        q->tx_blocked = false;
        vhost_dp_tap_update_handlers(q);
        vhost_dp_port_ready(q->port, VHOST_DP_READY_TX);
    }
}

void vhost_dp_tap_update_handlers(TapQueue *q)
{
    bool readable = q->rx_enabled && !q->rx_paused;

    aio_set_fd_handler(q->ctx, q->fd,
                       readable && !q->gone ? tap_readable : NULL,
                       q->tx_blocked && !q->gone ? tap_writable : NULL,
                       NULL, NULL, q);
}

/*
 * The descriptor may stay readable while reads fail: without a pause the
 * IOThread would be busy with that.
 */
static void tap_pause_reading(TapQueue *q)
{
    q->rx_drained = true;
    q->rx_paused = true;
    vhost_dp_tap_update_handlers(q);
    timer_mod(q->rx_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                           TAP_RX_PAUSE_MS);
}

static void tap_resume_reading(void *opaque)
{
    TapQueue *q = opaque;

    q->rx_paused = false;
    vhost_dp_tap_update_handlers(q);
}

/* VhostDPTapClass.stop_io */
static void tap_free_uring(TapQueue *q)
{
    uring_burst_free(q->uring);
    q->uring = NULL;
}

static void tap_use_syscalls(TapQueue *q, const char *why)
{
    tap_free_uring(q);
    qatomic_set(&q->io, TAP_IO_SYSCALLS);
    trace_vhost_dp_tap_syscalls(q->fd, why);
    warn_report_once("vhost-dp-tap: a system call for each frame, which is "
                     "slower: %s", why);
}

/* VhostDPTapClass.start_io */
static void tap_use_uring(TapQueue *q)
{
    Error *err = NULL;
    bool registered;

    q->uring = uring_burst_new(q->fd, VHOST_DP_BURST_FRAMES, &err);
    if (!q->uring) {
        tap_use_syscalls(q, error_get_pretty(err));
        error_free(err);
        return;
    }
    registered = uring_burst_register(q->uring, q->mem, TAP_MEM);
    qatomic_set(&q->io, TAP_IO_URING);
    trace_vhost_dp_tap_uring(q->fd, registered);
}

static bool tap_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                       AioContext *ctx, Error **errp)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];

    q->mem = qemu_memalign(qemu_real_host_page_size(), TAP_MEM);
    q->tx_buf = q->mem;
    q->rx_buf = q->mem + TAP_TX_BUF;
    q->rx_batch = TAP_RX_BATCH_MIN;
    q->rx_have = 0;
    q->rx_next = 0;
    vhost_dp_tap_start(q, port, ctx);
    return true;
}

/*
 * The watch's thread sees to it, as it may have to wait.  Frames that come
 * until then are the first pair's.
 */
static void tap_set_inactive(TapQueue *q, bool inactive)
{
    if (q->inactive != inactive) {
        qatomic_set(&q->inactive, inactive);
        vhost_dp_ifwatch_look(q->tap->link.watch);
    }
}

static bool tap_set_active(VhostDPDriver *drv, unsigned pair, bool active)
{
    tap_set_inactive(&VHOST_DP_TAP(drv)->queue[pair], !active);
    return false;
}

static void tap_detach(VhostDPDriver *drv, unsigned pair)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];

    if (q->rx_next < q->rx_have) {
        vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_STOPPED,
                              q->rx_have - q->rx_next);
    }
    vhost_dp_tap_stop(q);
    qatomic_set(&q->io, TAP_IO_UNKNOWN);
    qemu_vfree(q->mem);
    q->mem = NULL;
}

void vhost_dp_tap_start(TapQueue *q, VhostDPPort *port, AioContext *ctx)
{
    VhostDPTap *tap = q->tap;

    q->port = port;
    q->ctx = ctx;
    tap_set_inactive(q, false);
    q->rx_enabled = false;
    q->rx_drained = false;
    q->rx_paused = false;
    q->rx_timer = aio_timer_new(ctx, QEMU_CLOCK_REALTIME, SCALE_MS,
                                tap_resume_reading, q);
    q->tx_blocked = false;
    q->tx_in_order = tap->has_sndbuf && tap->sndbuf;
    q->gone = false;
    VHOST_DP_TAP_GET_CLASS(tap)->start_io(q);
    vhost_dp_tap_link_start(q);
}

void vhost_dp_tap_stop(TapQueue *q)
{
    vhost_dp_link_detach(&q->tap->link, q - q->tap->queue);
    timer_free(q->rx_timer);
    q->rx_timer = NULL;
    q->gone = true;
    vhost_dp_tap_update_handlers(q);
    VHOST_DP_TAP_GET_CLASS(q->tap)->stop_io(q);
    q->port = NULL;
}

void vhost_dp_tap_suspend(TapQueue *q)
{
    q->gone = true;
    vhost_dp_tap_update_handlers(q);
    VHOST_DP_TAP_GET_CLASS(q->tap)->stop_io(q);
}

/* What was read before, and not lent yet, is still good */
void vhost_dp_tap_resume(TapQueue *q)
{
    q->gone = false;
    q->rx_drained = false;
    VHOST_DP_TAP_GET_CLASS(q->tap)->start_io(q);
    vhost_dp_tap_update_handlers(q);
}

/* The kernel answers EBADFD once the interface is deleted */
static void tap_gone(TapQueue *q)
{
    if (!q->gone) {
        q->gone = true;
        vhost_dp_tap_update_handlers(q);
        vhost_dp_tap_link_check(q);
    }
}

/* ---- From the guest ---- */

/* A frame could not be written: @err says why.  Returns true to drop it. */
static bool tap_write_failed(TapQueue *q, int err)
{
    VhostDPDropReason reason;

    switch (err) {
    case EAGAIN:
        if (q->tx_in_order) {
            q->tx_blocked = true;
            vhost_dp_tap_update_handlers(q);
            return false;
        }
        /* fall through */
    case ENOBUFS:
    case ENOMEM:
        reason = VHOST_DP_DROP_REASON_NO_BUFFER;
        break;
    case EIO:
        /* The interface is not up (drivers/net/tun.c) */
        vhost_dp_tap_link_check(q);
        reason = VHOST_DP_DROP_REASON_LINK_DOWN;
        break;
    case EBADFD:
        tap_gone(q);
        reason = VHOST_DP_DROP_REASON_LINK_DOWN;
        break;
    default:
        reason = VHOST_DP_DROP_REASON_DRIVER_ERROR;
        break;
    }
    vhost_dp_port_drop_tx(q->port, reason, 1);
    return true;
}

/* Copy a frame behind its header */
static void tap_put_copy(const VhostDPFrame *frame, uint8_t *buf)
{
    unsigned i;

    vhost_dp_vnet_hdr_put((struct virtio_net_hdr *)buf, frame,
                          VHOST_DP_VNET_HDR_LE);
    buf += sizeof(struct virtio_net_hdr);
    for (i = 0; i < frame->iovcnt; i++) {
        memcpy(buf, frame->iov[i].iov_base, frame->iov[i].iov_len);
        buf += frame->iov[i].iov_len;
    }
}

/*
 * Make operations of the first frames.  Returns how many: fewer than @n where
 * the vectors do not suffice.
 */
static unsigned tap_prepare_writes(TapQueue *q, const VhostDPFrame *frames,
                                   unsigned n)
{
    uint8_t *buf = q->tx_buf;
    unsigned niov = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        const VhostDPFrame *frame = &frames[i];
        UringBurstOp *op = &q->op[i];

        if (likely(frame->len <= TAP_TX_COPY)) {
            tap_put_copy(frame, buf);
            op->code = URING_BURST_WRITE;
            op->buf = buf;
            op->len = sizeof(struct virtio_net_hdr) + frame->len;
            buf += ROUND_UP(op->len, 64);
        } else {
            struct iovec *iov = &q->tx_iov[niov];

            if (frame->iovcnt + 1 > TAP_TX_IOVS - niov) {
                break;
            }
            vhost_dp_vnet_hdr_put(&q->tx_hdr[i], frame, VHOST_DP_VNET_HDR_LE);
            iov[0].iov_base = &q->tx_hdr[i];
            iov[0].iov_len = sizeof(q->tx_hdr[i]);
            memcpy(&iov[1], frame->iov, frame->iovcnt * sizeof(iov[0]));
            op->code = URING_BURST_WRITEV;
            op->buf = iov;
            op->len = frame->iovcnt + 1;
            niov += op->len;
        }
    }
    return i;
}

static ssize_t tap_write(TapQueue *q, const UringBurstOp *op)
{
    ssize_t r = op->code == URING_BURST_WRITE ?
                RETRY_ON_EINTR(write(q->fd, op->buf, op->len)) :
                RETRY_ON_EINTR(writev(q->fd, op->buf, op->len));

    return r < 0 ? -errno : r;
}

/* Returns false if io_uring cannot be used, any more or for so few */
static bool tap_run_burst(TapQueue *q, unsigned n)
{
    if (!q->uring || n < TAP_URING_MIN) {
        return false;
    }
    if (unlikely(!uring_burst_run(q->uring, q->op, n))) {
        tap_use_syscalls(q, "io_uring does not work any more");
    }
    return true;
}

static unsigned tap_tx_burst(VhostDPDriver *drv, unsigned pair,
                             VhostDPFrame *frames, unsigned n)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];
    unsigned done = 0;

    while (done < n) {
        unsigned m = tap_prepare_writes(q, &frames[done], n - done);
        bool tried = !q->tx_in_order && tap_run_burst(q, m);
        unsigned i;

        for (i = 0; i < m; i++) {
            ssize_t r = q->op[i].result;

            if (!tried || unlikely(r == -ECANCELED)) {
                r = tap_write(q, &q->op[i]);
            }
            if (unlikely(r < 0) && !tap_write_failed(q, -r)) {
                return done + i;
            }
        }
        done += m;
    }
    return n;
}

/* ---- To the guest ---- */

static void tap_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];

    q->rx_enabled = enable;
    q->rx_drained = false;
    vhost_dp_tap_update_handlers(q);
    if (enable && q->rx_next < q->rx_have) {
        /* The descriptor does not report frames that were read ahead */
        vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
    }
}

static uint8_t *tap_slot(TapQueue *q, unsigned slot)
{
    return q->rx_buf + slot * TAP_RX_SLOT + TAP_RX_FRAME;
}

static ssize_t tap_read(TapQueue *q, const UringBurstOp *op)
{
    ssize_t r = RETRY_ON_EINTR(read(q->fd, op->buf, op->len));

    return r < 0 ? -errno : r;
}

/* A read failed with @err.  Returns false if another read would fail, too. */
static bool tap_read_failed(TapQueue *q, int err)
{
    switch (err) {
    case EAGAIN:
    case EINTR:
        break;
    case EBADFD:
        tap_gone(q);
        break;
    case EFAULT:
    case EINVAL:
        /* The kernel drops a frame for which the buffer has no room */
        vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_TOO_LARGE, 1);
        return true;
    default:
        vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_DRIVER_ERROR, 1);
        tap_pause_reading(q);
        break;
    }
    q->rx_drained = true;
    return false;
}

/* Read a batch of frames, @max at most, into the slots, which are all free */
static void tap_fill_slots(TapQueue *q, unsigned max)
{
    unsigned n = MIN(q->rx_batch, max);
    bool tried;
    unsigned i;

    for (i = 0; i < n; i++) {
        q->op[i].code = URING_BURST_READ;
        q->op[i].buf = tap_slot(q, i) - sizeof(struct virtio_net_hdr);
        q->op[i].len = sizeof(struct virtio_net_hdr) + VHOST_DP_MAX_FRAME;
    }
    tried = tap_run_burst(q, n);

    q->rx_next = 0;
    q->rx_have = 0;
    for (i = 0; i < n; i++) {
        ssize_t r = q->op[i].result;

        if (!tried || unlikely(r == -ECANCELED)) {
            r = tap_read(q, &q->op[i]);
        }
        if (r >= 0) {
            q->rx_slot[q->rx_have].slot = i;
            q->rx_slot[q->rx_have++].len = r;
        } else if (!tap_read_failed(q, -r) && !tried) {
            break;
        }
    }
    if (unlikely(!q->rx_have && !q->rx_drained)) {
        /* Nothing but frames for which there is no room?  See there. */
        tap_pause_reading(q);
    }
    /* Most batches should end with the one read that finds nothing */
    q->rx_batch = q->rx_drained ? MAX(q->rx_have + 1, TAP_RX_BATCH_MIN) :
                                  2 * n;
    q->rx_batch = MIN(q->rx_batch, TAP_RX_SLOTS);
}

/* Make a frame of what was read into a slot.  Returns false to drop it. */
static bool tap_make_frame(TapQueue *q, unsigned slot, ssize_t len,
                           VhostDPFrame *frame, VhostDPDropReason *reason)
{
    uint8_t *buf = tap_slot(q, slot);
    const struct virtio_net_hdr *hdr = (void *)(buf - sizeof(*hdr));

    if (unlikely(len < sizeof(*hdr) + sizeof(struct eth_header))) {
        *reason = VHOST_DP_DROP_REASON_TOO_SHORT;
        return false;
    }
    frame->len = len - sizeof(*hdr);
    frame->inl[0].iov_base = buf;
    frame->inl[0].iov_len = frame->len;
    frame->iov = frame->inl;
    frame->iovcnt = 1;
    *reason = VHOST_DP_DROP_REASON_BAD_HEADER;
    return vhost_dp_vnet_hdr_get(hdr, frame, VHOST_DP_VNET_HDR_LE);
}

static unsigned tap_rx_burst(VhostDPDriver *drv, unsigned pair,
                             VhostDPFrame *frames, unsigned n)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];
    size_t bytes = 0;
    unsigned i = 0;

    if (q->rx_next == q->rx_have && !q->rx_drained) {
        tap_fill_slots(q, n);
    }
    while (q->rx_next < q->rx_have && i < n && bytes < VHOST_DP_BURST_BYTES) {
        unsigned k = q->rx_next++;
        VhostDPDropReason reason;

        if (likely(tap_make_frame(q, q->rx_slot[k].slot, q->rx_slot[k].len,
                                  &frames[i], &reason))) {
            bytes += frames[i].len;
            i++;
        } else {
            vhost_dp_port_drop_rx(q->port, reason, 1);
        }
    }
    return i;
}

/* A frame that was read ahead goes first, and has to be copied */
static int tap_copy_into(TapQueue *q, VhostDPFrame *frame, uint8_t *head,
                         const struct iovec *iov, unsigned iovcnt)
{
    unsigned k = q->rx_next++;
    VhostDPDropReason reason;
    VhostDPFrame from;
    const uint8_t *buf;
    size_t n;

    if (!tap_make_frame(q, q->rx_slot[k].slot, q->rx_slot[k].len, &from,
                        &reason)) {
        vhost_dp_port_drop_rx(q->port, reason, 1);
        return -1;
    }
    *frame = from;
    buf = from.inl[0].iov_base;
    n = MIN(from.len, VHOST_DP_HEAD_BYTES);
    memcpy(head, buf, n);
    iov_from_buf(iov, iovcnt, 0, buf + n, from.len - n);
    return 1;
}

static int tap_rx_into(VhostDPDriver *drv, unsigned pair, VhostDPFrame *frame,
                       uint8_t *head, const struct iovec *iov, unsigned iovcnt)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];
    ssize_t len;

    if (q->rx_next < q->rx_have) {
        return tap_copy_into(q, frame, head, iov, iovcnt);
    }
    if (q->rx_drained) {
        return 0;
    }
    /* What rx_burst reads ahead now would have to be copied */
    q->rx_batch = 1;
    q->rx_iov[0].iov_base = &q->rx_hdr;
    q->rx_iov[0].iov_len = sizeof(q->rx_hdr);
    q->rx_iov[1].iov_base = head;
    q->rx_iov[1].iov_len = VHOST_DP_HEAD_BYTES;
    memcpy(&q->rx_iov[2], iov, iovcnt * sizeof(*iov));
    len = RETRY_ON_EINTR(readv(q->fd, q->rx_iov, 2 + iovcnt));
    if (len < 0) {
        return tap_read_failed(q, errno) ? -1 : 0;
    }
    if (unlikely(len < sizeof(q->rx_hdr) + sizeof(struct eth_header))) {
        vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_TOO_SHORT, 1);
        return -1;
    }
    frame->len = len - sizeof(q->rx_hdr);
    if (unlikely(!vhost_dp_vnet_hdr_get(&q->rx_hdr, frame,
                                        VHOST_DP_VNET_HDR_LE))) {
        vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_BAD_HEADER, 1);
        return -1;
    }
    return 1;
}

void vhost_dp_tap_io_class_init(VhostDPTapClass *tc)
{
    VhostDPDriverClass *dc = &tc->parent_class;

    tc->start_io = tap_use_uring;
    tc->stop_io = tap_free_uring;
    dc->attach = tap_attach;
    dc->detach = tap_detach;
    dc->set_active = tap_set_active;
    dc->tx_burst = tap_tx_burst;
    dc->rx_burst = tap_rx_burst;
    dc->rx_into = tap_rx_into;
    dc->rx_enable = tap_rx_enable;
}
