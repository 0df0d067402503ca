/*
 * vhost-dp-stream: frames to and from the socket
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: all of this runs in the queue pair's IOThread.  The main
 * loop offers a connection (stream-conn.c), and a bottom half takes it.  From
 * then on the connection is the queue pair's alone, until it ends here; the
 * main loop is told, and offers another one.
 *
 * Receive: one recv() fills a large buffer, and frames are lent where they are
 * in it.  When no whole frame is left there, the part of one that may be is
 * moved to the front, for the next recv().  All frames have been given back by
 * then.
 *
 * Transmit: one sendmsg() sends the whole burst, lengths included.  When the
 * socket takes only a part of it, the frame that was cut counts as sent; a copy
 * of its rest goes out before everything else, and all other frames stay in the
 * guest's ring until there is room.
 *
 * The peer is not trusted.  A length that no frame has cannot be skipped, since
 * the next length is not known: it ends the connection.
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "net/eth.h"
#include "stream-int.h"
#include "trace.h"

/* How long to wait before the kernel is asked for memory again */
#define STREAM_TX_RETRY_MS 1

static void stream_readable(void *opaque);
static void stream_writable(void *opaque);

/* The connection, if it has not ended */
static StreamConn *stream_live(VhostDPStream *s)
{
    return s->conn && s->conn->fd >= 0 ? s->conn : NULL;
}

static void stream_watch(VhostDPStream *s)
{
    StreamConn *conn = stream_live(s);

    if (conn) {
        aio_set_fd_handler(s->ctx, conn->fd,
                           s->rx_enabled ? stream_readable : NULL,
                           s->tx == STREAM_TX_FULL ? stream_writable : NULL,
                           NULL, NULL, s);
    }
}

static void stream_unwatch(VhostDPStream *s)
{
    StreamConn *conn = stream_live(s);

    if (conn) {
        aio_set_fd_handler(s->ctx, conn->fd, NULL, NULL, NULL, NULL, NULL);
    }
    timer_del(&s->tx_timer);
}

/* ---- Begin and end of a connection ---- */

/* Whole frames that were received and that nobody has seen */
static unsigned stream_count_left(const StreamConn *conn)
{
    size_t at = conn->in_at;
    unsigned n = 0;

    while (conn->in_end - at >= STREAM_HEADER) {
        uint32_t len = ldl_be_p(conn->in + at);

        if (len > STREAM_MAX_LENGTH ||
            len > conn->in_end - at - STREAM_HEADER) {
            break;
        }
        at += STREAM_HEADER + len;
        n++;
    }
    return n;
}

/*
 * The connection is of no use any more.  It is freed when no frames of it are
 * lent; the bottom half does so, and makes the engine drop what waits.
 */
static void stream_end(VhostDPStream *s, const char *reason)
{
    StreamConn *conn = s->conn;

    trace_vhost_dp_stream_ended(s->parent_obj.id, conn, reason);
    stream_unwatch(s);
    s->tx = STREAM_TX_OPEN;
    if (conn->out_at < conn->out_end) {
        vhost_dp_port_drop_tx(s->port, VHOST_DP_DROP_REASON_LINK_DOWN, 1);
    }
    vhost_dp_port_drop_rx(s->port, VHOST_DP_DROP_REASON_LINK_DOWN,
                          stream_count_left(conn));
    /* Whoever else has the socket must see the end, too */
    shutdown(conn->fd, SHUT_RDWR);
    if (!conn->keep_fd) {
        close(conn->fd);
    }
    conn->fd = -1;
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        g_free(s->reason);
        s->reason = g_strdup(reason);
        s->ended = true;
        qemu_bh_schedule(s->bh);
    }
    qemu_bh_schedule(s->ended_bh);
    vhost_dp_port_set_link(s->port, false, reason);
}

static void stream_end_errno(VhostDPStream *s, const char *what, int err)
{
    g_autofree char *reason = g_strdup_printf("the connection has failed: "
                                              "%s: %s", what, strerror(err));

    stream_end(s, reason);
}

/* Take what the main loop offers, or what it says about there being nothing */
static void stream_follow(VhostDPStream *s)
{
    g_autofree char *reason = NULL;

    if (stream_live(s) || (s->conn && s->conn->lent)) {
        return;
    }
    vhost_dp_stream_conn_free(s->conn);
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->conn = g_steal_pointer(&s->offered);
        reason = s->conn ? NULL : g_strdup(s->reason);
    }
    trace_vhost_dp_stream_follow(s->parent_obj.id, s->conn, reason ?: "");
    if (s->conn) {
        s->tx = s->conn->out_at < s->conn->out_end ? STREAM_TX_FULL :
                                                     STREAM_TX_OPEN;
        stream_watch(s);
    }
    vhost_dp_port_set_link(s->port, s->conn != NULL, reason);
}

/* Is there a frame in the buffer, or a length that ends the connection? */
static bool stream_has_frame(const StreamConn *conn)
{
    size_t have = conn->in_end - conn->in_at;
    uint32_t len;

    if (have < STREAM_HEADER) {
        return false;
    }
    len = ldl_be_p(conn->in + conn->in_at);
    return len > STREAM_MAX_LENGTH || have - STREAM_HEADER >= len;
}

static void stream_bh(void *opaque)
{
    VhostDPStream *s = opaque;

    stream_follow(s);
    if (s->rx_enabled && stream_live(s) && stream_has_frame(s->conn)) {
        vhost_dp_port_ready(s->port, VHOST_DP_READY_RX);
    }
    /* A new peer has room; without a peer the waiting frames are dropped */
    if (s->tx == STREAM_TX_OPEN) {
        vhost_dp_port_ready(s->port, VHOST_DP_READY_TX);
    }
}

bool vhost_dp_stream_attach(VhostDPDriver *drv, unsigned pair,
                            VhostDPPort *port, AioContext *ctx, Error **errp)
{
    VhostDPStream *s = VHOST_DP_STREAM(drv);

    s->port = port;
    s->ctx = ctx;
    s->conn = NULL;
    s->rx_enabled = false;
    s->tx = STREAM_TX_OPEN;
    aio_timer_init(ctx, &s->tx_timer, QEMU_CLOCK_REALTIME, SCALE_MS,
                   stream_writable, s);
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->bh = aio_bh_new(ctx, stream_bh, s);
    }
    stream_follow(s);
    return true;
}

/* The connection stays, with what was received: see attach() */
void vhost_dp_stream_detach(VhostDPDriver *drv, unsigned pair)
{
    VhostDPStream *s = VHOST_DP_STREAM(drv);

    stream_unwatch(s);
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        qemu_bh_delete(s->bh);
        s->bh = NULL;
        if (stream_live(s)) {
            s->offered = g_steal_pointer(&s->conn);
        }
    }
    g_clear_pointer(&s->conn, vhost_dp_stream_conn_free);
    s->port = NULL;
}

/* ---- Transmit ---- */

static void stream_block(VhostDPStream *s, int err)
{
    s->tx = STREAM_TX_FULL;
    if (err == ENOBUFS || err == ENOMEM) {
        /* For memory there is no event to wait for */
        s->tx = STREAM_TX_NO_MEMORY;
        timer_mod(&s->tx_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                                STREAM_TX_RETRY_MS);
    }
    stream_watch(s);
}

/*
 * Send @cnt elements of @iov.  Returns the number of bytes that were sent,
 * which may be 0; or -1: the connection has ended.  After less than all, @s is
 * blocked.
 */
static ssize_t stream_send(VhostDPStream *s, struct iovec *iov, unsigned cnt,
                           size_t len)
{
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = cnt };
    ssize_t r = RETRY_ON_EINTR(sendmsg(s->conn->fd, &msg,
                                       MSG_NOSIGNAL | MSG_DONTWAIT));

    if (r == len) {
        return r;
    }
    if (r < 0 && errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM) {
        stream_end_errno(s, "send", errno);
        return -1;
    }
    stream_block(s, r < 0 ? errno : EAGAIN);
    return MAX(r, 0);
}

/* The rest of the frame that was cut, if there is one */
static struct iovec stream_rest(const StreamConn *conn)
{
    return (struct iovec) { conn->out + conn->out_at,
                            conn->out_end - conn->out_at };
}

static void stream_writable(void *opaque)
{
    VhostDPStream *s = opaque;
    StreamConn *conn = stream_live(s);
    struct iovec rest;

    if (!conn || s->tx == STREAM_TX_OPEN) {
        return;
    }
    s->tx = STREAM_TX_OPEN;
    rest = stream_rest(conn);
    if (rest.iov_len) {
        ssize_t r = stream_send(s, &rest, 1, rest.iov_len);

        if (r < 0) {
            return;
        }
        conn->out_at += r;
    }
    if (s->tx == STREAM_TX_OPEN) {
        stream_watch(s);
        vhost_dp_port_ready(s->port, VHOST_DP_READY_TX);
    }
}

/* Copy what is behind the first @sent bytes of the frame and its header */
static void stream_keep_rest(StreamConn *conn, const VhostDPFrame *frame,
                             size_t sent)
{
    uint8_t *to;

    if (!conn->out) {
        conn->out = g_malloc(STREAM_OUT_BYTES);
    }
    to = conn->out;
    if (sent < STREAM_HEADER) {
        uint8_t header[STREAM_HEADER];

        stl_be_p(header, frame->len);
        memcpy(to, header + sent, STREAM_HEADER - sent);
        to += STREAM_HEADER - sent;
        sent = STREAM_HEADER;
    }
    sent -= STREAM_HEADER;
    to += iov_to_buf(frame->iov, frame->iovcnt, sent, to, frame->len - sent);
    conn->out_at = 0;
    conn->out_end = to - conn->out;
}

/* How many of @n frames did @sent bytes, which begin with the rest, finish? */
static unsigned stream_account(StreamConn *conn, const VhostDPFrame *frames,
                               unsigned n, size_t sent)
{
    size_t rest = MIN(sent, conn->out_end - conn->out_at);
    unsigned i;

    conn->out_at += rest;
    sent -= rest;
    for (i = 0; i < n && sent; i++) {
        size_t len = STREAM_HEADER + frames[i].len;

        if (sent < len) {
            stream_keep_rest(conn, &frames[i], sent);
            return i + 1;
        }
        sent -= len;
    }
    return i;
}

/* Returns how many of @n frames were finished with; -1: connection ended */
static int stream_send_frames(VhostDPStream *s, const VhostDPFrame *frames,
                              unsigned n)
{
    StreamConn *conn = s->conn;
    struct iovec *iov = s->iov;
    struct iovec *end = iov + STREAM_IOV;
    size_t len = conn->out_end - conn->out_at;
    ssize_t sent;
    unsigned i;

    if (len) {
        *iov++ = stream_rest(conn);
    }
    for (i = 0; i < n && frames[i].iovcnt < end - iov; i++) {
        stl_be_p(&s->header[i], frames[i].len);
        *iov++ = (struct iovec) { &s->header[i], STREAM_HEADER };
        memcpy(iov, frames[i].iov, frames[i].iovcnt * sizeof(*iov));
        iov += frames[i].iovcnt;
        len += STREAM_HEADER + frames[i].len;
    }
    sent = stream_send(s, s->iov, iov - s->iov, len);
    return sent < 0 ? -1 : stream_account(conn, frames, i, sent);
}

unsigned vhost_dp_stream_tx_burst(VhostDPDriver *drv, unsigned pair,
                                  VhostDPFrame *frames, unsigned n)
{
    VhostDPStream *s = VHOST_DP_STREAM(drv);
    unsigned taken = 0;

    while (stream_live(s) && s->tx == STREAM_TX_OPEN && taken < n) {
        int r = stream_send_frames(s, frames + taken, n - taken);

        taken += MAX(r, 0);
    }
    if (!stream_live(s)) {
        vhost_dp_port_drop_tx(s->port, VHOST_DP_DROP_REASON_LINK_DOWN,
                              n - taken);
        return n;
    }
    return taken;
}

/* ---- Receive ---- */

static void stream_bad_length(VhostDPStream *s, uint32_t len)
{
    g_autofree char *reason = g_strdup_printf(
        "the peer sent a frame length of %u, and %d is the most", len,
        STREAM_MAX_LENGTH);

    qatomic_set(&s->bad_lengths, s->bad_lengths + 1);
    stream_end(s, reason);
}

/* Lend whole frames from the buffer */
static unsigned stream_lend(VhostDPStream *s, VhostDPFrame *frames, unsigned n)
{
    StreamConn *conn = s->conn;
    unsigned got = 0, small = 0, large = 0;
    size_t bytes = 0;

    while (got < n && bytes < VHOST_DP_BURST_BYTES && stream_has_frame(conn)) {
        uint8_t *data = conn->in + conn->in_at + STREAM_HEADER;
        uint32_t len = ldl_be_p(conn->in + conn->in_at);

        if (len > STREAM_MAX_LENGTH) {
            stream_bad_length(s, len);
            break;
        }
        conn->in_at += STREAM_HEADER + len;
        if (len < sizeof(struct eth_header) || len > VHOST_DP_MAX_FRAME) {
            *(len > VHOST_DP_MAX_FRAME ? &large : &small) += 1;
            continue;
        }
        frames[got] = (VhostDPFrame) { .iov = frames[got].inl, .iovcnt = 1,
                                       .inl = { { data, len } }, .len = len };
        got++;
        bytes += len;
    }
    conn->lent += got;
    vhost_dp_port_drop_rx(s->port, VHOST_DP_DROP_REASON_TOO_SHORT, small);
    vhost_dp_port_drop_rx(s->port, VHOST_DP_DROP_REASON_TOO_LARGE, large);
    return got;
}

/* Nothing is lent.  Returns whether there are new bytes in the buffer. */
static bool stream_fill(VhostDPStream *s)
{
    StreamConn *conn = s->conn;
    size_t have = conn->in_end - conn->in_at;
    size_t room = STREAM_IN_BYTES - have;
    ssize_t r;

    if (!conn->in) {
        conn->in = g_malloc(STREAM_IN_BYTES);
    }
    if (conn->in_at) {
        memmove(conn->in, conn->in + conn->in_at, have);
        conn->in_at = 0;
        conn->in_end = have;
    }
    r = RETRY_ON_EINTR(recv(conn->fd, conn->in + have, room, MSG_DONTWAIT));
    if (r > 0) {
        conn->in_end += r;
        conn->in_dry = r < room;
        return true;
    }
    if (!r) {
        stream_end(s, "the peer has closed the connection");
    } else if (errno == EAGAIN) {
        conn->in_dry = true;
    } else {
        stream_end_errno(s, "receive", errno);
    }
    return false;
}

unsigned vhost_dp_stream_rx_burst(VhostDPDriver *drv, unsigned pair,
                                  VhostDPFrame *frames, unsigned n)
{
    VhostDPStream *s = VHOST_DP_STREAM(drv);
    unsigned got;

    if (!stream_live(s)) {
        return 0;
    }
    got = stream_lend(s, frames, n);
    /* What comes after a recv() that emptied the socket is an event */
    if (!got && stream_live(s) && !s->conn->in_dry && stream_fill(s)) {
        got = stream_lend(s, frames, n);
    }
    return got;
}

static void stream_readable(void *opaque)
{
    VhostDPStream *s = opaque;
    StreamConn *conn = stream_live(s);

    if (conn && s->rx_enabled) {
        conn->in_dry = false;
        vhost_dp_port_ready(s->port, VHOST_DP_READY_RX);
    }
}

void vhost_dp_stream_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    VhostDPStream *s = VHOST_DP_STREAM(drv);

    s->conn->lent -= n;
    if (!s->conn->lent && !stream_live(s)) {
        /* There may be another connection */
        qemu_bh_schedule(s->bh);
    }
}

void vhost_dp_stream_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    VhostDPStream *s = VHOST_DP_STREAM(drv);

    s->rx_enabled = enable;
    stream_watch(s);
    if (enable && stream_live(s) && stream_has_frame(s->conn)) {
        vhost_dp_port_ready(s->port, VHOST_DP_READY_RX);
    }
}
