/*
 * vhost-dp-slirp: a network without privileges, by libslirp
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: libslirp ends the guest's connections and makes sockets
 * of the host from them.  All of it runs in the queue pair's IOThread while
 * the driver is attached, and in bottom halves and timers alone: it writes to
 * sockets and reads files (TFTP), for which nobody is to wait who wants the
 * queue pair's lock.  So frames from the guest are copied, as they have to be
 * in one piece anyway, and wait for the bottom half.  Frames to the guest,
 * which libslirp produces at any time, wait in a ring until the engine borrows
 * them.
 *
 * libslirp wants to be asked before each wait which descriptors to watch and
 * how long to sleep.  An AioContext has no hook for that, but the answer
 * changes only when libslirp was called.  So after each input, event or timer
 * a bottom half asks it again, brings an epoll set in line, of which the
 * AioContext watches the one descriptor, and arms one timer.
 *
 * libslirp has state that belongs to the whole process, and the monitor's
 * commands (hostfwd_add and the like) and character devices (guestfwd=) call
 * it from the main loop.  So whoever calls it, or changes what its callbacks
 * use, has net_slirp_lock(), which is the same for all instances.  A frame to
 * the guest may then be made by the main loop, too, while the engine, which
 * needs no lock, borrows those of before: hence the barriers in the ring.
 *
 * What the guest sends to a character device waits for the main loop, which
 * alone has to do with it: net/slirp.c keeps it.  For a device that is behind,
 * segments with more are lost (net_slirp_takes()), and the guest sends them
 * again: to wait would hold up all other connections.
 *
 * When the guest takes frames more slowly than the host's sockets deliver,
 * the sockets are not looked at until the ring has room again: then the
 * senders' windows close, and nothing is lost.
 *
 * Between open and attach, and between detach and close, nobody runs it: its
 * timers are then only noted.
 */

#include "qemu/osdep.h"
#include <sys/epoll.h>
#include <libslirp.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "qemu/log.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "net/checksum.h"
#include "net/eth.h"
#include "net/slirp.h"
#include "standard-headers/linux/virtio_net.h"
#include "slirp.h"
#include "trace.h"

#define TYPE_VHOST_DP_SLIRP "vhost-dp-slirp"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPSlirp, VHOST_DP_SLIRP)

/* An Ethernet header and the largest IPv4 datagram, for TSO */
#define SLIRP_MAX_FRAME (sizeof(struct eth_header) + UINT16_MAX)

/* Frames from the guest that wait for libslirp */
#define SLIRP_INPUT_FRAMES 256
#define SLIRP_INPUT_BYTES (512 * KiB)

QEMU_BUILD_BUG_ON(SLIRP_INPUT_BYTES < SLIRP_MAX_FRAME);

/* Frames that wait for the guest; a power of two */
#define SLIRP_RING 1024

/* Sockets are left alone above, and looked at again below that many frames */
#define SLIRP_RING_HIGH (SLIRP_RING / 2)
#define SLIRP_RING_LOW (SLIRP_RING / 4)

/* Room for a frame: libslirp's MTU of 1500 bytes, and its header */
#define SLIRP_STRIDE 1536

/* Descriptors that are looked at in one go */
#define SLIRP_EVENTS 64

/* A descriptor as libslirp wants it to be watched */
typedef struct SlirpFd {
    uint32_t events;            /* in the epoll set with these; 0: is not */
    uint32_t revents;           /* what epoll said, for slirp_pollfds_poll() */
    uint32_t round;             /* of the last fill that asked for it */
    bool watched;               /* in the array of that name */
} SlirpFd;

/* A timer of libslirp's */
typedef struct SlirpTimer {
    QLIST_ENTRY(SlirpTimer) next;
    VhostDPSlirp *s;
    SlirpTimerId id;
    void *cb_opaque;
    int64_t expire;             /* ms, or -1 */
    QEMUTimer timer;            /* while attached */
} SlirpTimer;

struct VhostDPSlirp {
    SlirpOptions opts;          /* the parent, and what the user wrote */

    /* While open */
    SlirpState *stack;
    Slirp *slirp;               /* of the stack */
    int epfd;
    QLIST_HEAD(, SlirpTimer) timers;
    bool rx_csum;               /* the guest takes the host's word; atomic */

    /* While attached; under net_slirp_lock() */
    VhostDPPort *port;
    AioContext *ctx;
    QEMUBH *bh;
    GArray *fds;                /* SlirpFd, by descriptor */
    uint8_t *ring;              /* SLIRP_RING frames to the guest */
    uint16_t ring_len[SLIRP_RING];
    uint32_t ring_head;         /* atomic: next to fill; free-running */
    unsigned lost_too_large;    /* frames that have not been counted */
    unsigned lost_queue_full;

    /* While attached; the IOThread's own */
    QEMUTimer timer;            /* when libslirp wants to be called */
    bool rx_enabled;
    bool paused;                /* the sockets wait for room in the ring */
    GArray *watched;            /* int: those in the epoll set, each once */
    uint32_t round;
    uint8_t *input;             /* frames from the guest, each in one piece */
    size_t input_used;
    uint32_t input_len[SLIRP_INPUT_FRAMES];
    unsigned ninput;
    bool input_full;            /* the engine waits for room */
    uint32_t ring_lent;         /* next to lend */
    uint32_t ring_tail;         /* atomic: oldest that is not released */
};

/* ---- What libslirp calls ---- */

/* A frame to the guest */
static ssize_t slirp_send_packet(const void *buf, size_t len, void *opaque)
{
    VhostDPSlirp *s = opaque;
    uint32_t slot = s->ring_head % SLIRP_RING;

    if (!s->port) {
        return len;
    }
    if (len > SLIRP_STRIDE) {
        s->lost_too_large++;
    } else if (s->ring_head - qatomic_load_acquire(&s->ring_tail) ==
               SLIRP_RING) {
        s->lost_queue_full++;
    } else {
        memcpy(s->ring + slot * SLIRP_STRIDE, buf, len);
        s->ring_len[slot] = len;
        qatomic_store_release(&s->ring_head, s->ring_head + 1);
    }
    return len;
}

static void slirp_guest_error(const char *msg, void *opaque)
{
    qemu_log_mask(LOG_GUEST_ERROR, "%s", msg);
}

/* Time does not pass while the guest is stopped */
static int64_t slirp_clock_get_ns(void *opaque)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

static void slirp_run_soon(VhostDPSlirp *s)
{
    if (s->bh) {
        qemu_bh_schedule(s->bh);
    }
}

static void slirp_timer_fires(void *opaque)
{
    SlirpTimer *t = opaque;

    net_slirp_lock();
    t->expire = -1;
    slirp_handle_timer(t->s->slirp, t->id, t->cb_opaque);
    slirp_run_soon(t->s);
    net_slirp_unlock();
}

static void slirp_timer_arm(SlirpTimer *t)
{
    aio_timer_init_with_attrs(t->s->ctx, &t->timer, QEMU_CLOCK_VIRTUAL,
                              SCALE_MS, QEMU_TIMER_ATTR_EXTERNAL,
                              slirp_timer_fires, t);
    if (t->expire >= 0) {
        timer_mod(&t->timer, t->expire);
    }
}

static void *slirp_timer_new_opaque(SlirpTimerId id, void *cb_opaque,
                                    void *opaque)
{
    VhostDPSlirp *s = opaque;
    SlirpTimer *t = g_new0(SlirpTimer, 1);

    t->s = s;
    t->id = id;
    t->cb_opaque = cb_opaque;
    t->expire = -1;
    QLIST_INSERT_HEAD(&s->timers, t, next);
    if (s->ctx) {
        slirp_timer_arm(t);
    }
    return t;
}

static void slirp_timer_free(void *timer, void *opaque)
{
    SlirpTimer *t = timer;

    if (t->s->ctx) {
        timer_del(&t->timer);
    }
    QLIST_REMOVE(t, next);
    g_free(t);
}

static void slirp_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    SlirpTimer *t = timer;

    t->expire = expire_ms;
    if (t->s->ctx) {
        timer_mod(&t->timer, expire_ms);
    }
}

static void slirp_register_poll_fd(int fd, void *opaque)
{
    /* slirp_fill() will meet it */
}

static void slirp_unwatch(VhostDPSlirp *s, int fd, SlirpFd *f)
{
    if (f->events) {
        epoll_ctl(s->epfd, EPOLL_CTL_DEL, fd, NULL);
        f->events = 0;
        f->revents = 0;
    }
}

/* Before libslirp closes @fd, whose number may soon be another's */
static void slirp_unregister_poll_fd(int fd, void *opaque)
{
    VhostDPSlirp *s = opaque;

    if (s->fds && fd >= 0 && fd < s->fds->len) {
        slirp_unwatch(s, fd, &g_array_index(s->fds, SlirpFd, fd));
    }
}

/*
 * There is room in one of libslirp's buffers; or there are frames, or
 * descriptors to watch, that a call by the main loop has made
 */
static void slirp_notify(void *opaque)
{
    slirp_run_soon(opaque);
}

static void slirp_init_completed(Slirp *slirp, void *opaque)
{
    VhostDPSlirp *s = opaque;

    s->slirp = slirp;
}

static const SlirpCb slirp_callbacks = {
    .send_packet = slirp_send_packet,
    .guest_error = slirp_guest_error,
    .clock_get_ns = slirp_clock_get_ns,
    .timer_free = slirp_timer_free,
    .timer_mod = slirp_timer_mod,
#if SLIRP_CHECK_VERSION(4, 9, 0)
    .register_poll_socket = slirp_register_poll_fd,
    .unregister_poll_socket = slirp_unregister_poll_fd,
#else
    .register_poll_fd = slirp_register_poll_fd,
    .unregister_poll_fd = slirp_unregister_poll_fd,
#endif
    .notify = slirp_notify,
    .init_completed = slirp_init_completed,
    .timer_new_opaque = slirp_timer_new_opaque,
};

/* ---- Descriptors and the timer ---- */

/* libslirp's events have poll's meanings, and epoll's are poll's */
static uint32_t slirp_to_epoll(int events)
{
    return (events & SLIRP_POLL_IN ? EPOLLIN : 0) |
           (events & SLIRP_POLL_OUT ? EPOLLOUT : 0) |
           (events & SLIRP_POLL_PRI ? EPOLLPRI : 0) |
           (events & SLIRP_POLL_ERR ? EPOLLERR : 0) |
           (events & SLIRP_POLL_HUP ? EPOLLHUP : 0);
}

static int slirp_from_epoll(uint32_t events)
{
    return (events & EPOLLIN ? SLIRP_POLL_IN : 0) |
           (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) |
           (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
           (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

/* By slirp_pollfds_fill().  The index is the descriptor. */
static int slirp_add_poll(int fd, int events, void *opaque)
{
    VhostDPSlirp *s = opaque;
    struct epoll_event event = {
        .events = slirp_to_epoll(events),
        .data.fd = fd,
    };
    SlirpFd *f;

    if (fd >= s->fds->len) {
        g_array_set_size(s->fds, fd + 1);
    }
    f = &g_array_index(s->fds, SlirpFd, fd);
    f->round = s->round;
    if (f->events == event.events) {
        return fd;
    }
    if (epoll_ctl(s->epfd, f->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
                  &event) < 0) {
        /* Out of memory, or of watches: try again at the next fill */
        return fd;
    }
    /* One that was closed, and its number used again, is in there still */
    if (!f->watched) {
        g_array_append_val(s->watched, fd);
        f->watched = true;
    }
    f->events = event.events;
    return fd;
}

static int slirp_get_revents(int fd, void *opaque)
{
    VhostDPSlirp *s = opaque;

    return slirp_from_epoll(g_array_index(s->fds, SlirpFd, fd).revents);
}

/* Ask libslirp what to watch until when */
static void slirp_fill(VhostDPSlirp *s)
{
    uint32_t timeout = UINT32_MAX;
    unsigned i, n = 0;

    s->round++;
    slirp_pollfds_fill(s->slirp, &timeout, slirp_add_poll, s);
    for (i = 0; i < s->watched->len; i++) {
        int fd = g_array_index(s->watched, int, i);
        SlirpFd *f = &g_array_index(s->fds, SlirpFd, fd);

        if (f->round != s->round) {
            slirp_unwatch(s, fd, f);
        }
        f->watched = f->events != 0;
        if (f->watched) {
            g_array_index(s->watched, int, n++) = fd;
        }
    }
    g_array_set_size(s->watched, n);

    if (timeout == UINT32_MAX) {
        timer_del(&s->timer);
    } else {
        timer_mod(&s->timer, qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL) + timeout);
    }
}

static void slirp_io_ready(void *opaque)
{
    VhostDPSlirp *s = opaque;

    qemu_bh_schedule(s->bh);
}

/* Look at the sockets, or leave them alone */
static void slirp_set_paused(VhostDPSlirp *s, bool paused)
{
    if (s->paused != paused) {
        s->paused = paused;
        aio_set_fd_handler(s->ctx, s->epfd, paused ? NULL : slirp_io_ready,
                           NULL, NULL, NULL, s);
    }
}

/* The IOThread's view of it */
static uint32_t slirp_ring_head(const VhostDPSlirp *s)
{
    return qatomic_load_acquire(&s->ring_head);
}

static uint32_t slirp_ring_used(const VhostDPSlirp *s)
{
    return slirp_ring_head(s) - s->ring_tail;
}

/* What the guest has sent */
static void slirp_run_input(VhostDPSlirp *s)
{
    uint8_t *buf = s->input;
    unsigned i;

    for (i = 0; i < s->ninput; i++) {
        if (net_slirp_takes(s->stack, buf, s->input_len[i])) {
            slirp_input(s->slirp, buf, s->input_len[i]);
        } else {
            vhost_dp_port_drop_tx(s->port, VHOST_DP_DROP_REASON_QUEUE_FULL, 1);
        }
        buf += s->input_len[i];
    }
    s->ninput = 0;
    s->input_used = 0;
}

/* Give libslirp the frames, the events and the time that there are */
static void slirp_run_events(VhostDPSlirp *s)
{
    struct epoll_event events[SLIRP_EVENTS];
    int n = 0;
    int i;

    slirp_run_input(s);
    if (!s->paused) {
        n = MAX(epoll_wait(s->epfd, events, SLIRP_EVENTS, 0), 0);
    }
    for (i = 0; i < n; i++) {
        g_array_index(s->fds, SlirpFd, events[i].data.fd).revents =
            events[i].events;
    }
    /* With an "error" it looks at its timers, and not at the sockets */
    slirp_pollfds_poll(s->slirp, s->paused, slirp_get_revents, s);
    for (i = 0; i < n; i++) {
        g_array_index(s->fds, SlirpFd, events[i].data.fd).revents = 0;
    }
}

static void slirp_count_lost(VhostDPSlirp *s)
{
    vhost_dp_port_drop_rx(s->port, VHOST_DP_DROP_REASON_TOO_LARGE,
                          s->lost_too_large);
    vhost_dp_port_drop_rx(s->port, VHOST_DP_DROP_REASON_QUEUE_FULL,
                          s->lost_queue_full);
    s->lost_too_large = 0;
    s->lost_queue_full = 0;
}

/* Let libslirp run; ask it what it wants next */
static void slirp_run(void *opaque)
{
    VhostDPSlirp *s = opaque;
    unsigned ready = 0;

    net_slirp_lock();
    slirp_run_events(s);
    slirp_fill(s);
    slirp_count_lost(s);
    net_slirp_unlock();

    if (slirp_ring_used(s) > SLIRP_RING_HIGH) {
        slirp_set_paused(s, true);
    }
    if (s->rx_enabled && s->ring_lent != slirp_ring_head(s)) {
        ready |= VHOST_DP_READY_RX;
    }
    if (s->input_full) {
        s->input_full = false;
        ready |= VHOST_DP_READY_TX;
    }
    if (ready) {
        vhost_dp_port_ready(s->port, ready);
    }
}

/* ---- Control side ---- */

static bool slirp_check_options(VhostDPDriver *drv, Error **errp)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    g_autoptr(NetdevUserOptions) user = NULL;

    user = vhost_dp_slirp_options_get(&s->opts, errp);
    return user && net_slirp_check(user, errp);
}

static void slirp_close(VhostDPDriver *drv)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);

    trace_vhost_dp_slirp_close(drv->id);
    net_slirp_free(s->stack);
    s->stack = NULL;
    s->slirp = NULL;
    close(s->epfd);
    s->epfd = -1;
}

static bool slirp_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    g_autoptr(NetdevUserOptions) user = NULL;

    user = vhost_dp_slirp_options_get(&s->opts, errp);
    if (!user) {
        return false;
    }
    s->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (s->epfd < 0) {
        error_setg_errno(errp, errno, "cannot create an epoll set");
        return false;
    }
    s->stack = net_slirp_new(user, drv->claimed_by, &slirp_callbacks, s, errp);
    if (!s->stack) {
        close(s->epfd);
        s->epfd = -1;
        return false;
    }
    trace_vhost_dp_slirp_open(drv->id, slirp_version_string());
    return true;
}

static void slirp_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) {
        .max_queue_pairs = 1,
        .max_frame = SLIRP_MAX_FRAME,
        /* Frames are copied into one piece anyway */
        .max_segments = VHOST_DP_MAX_FRAME,
        .tx_offloads = VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_TSO4 |
                       VHOST_DP_OFFLOAD_ECN,
        .rx_offloads = VHOST_DP_OFFLOAD_CSUM,
    };
}

static void slirp_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    info->interface = g_strdup(net_slirp_describe(VHOST_DP_SLIRP(drv)->stack));
}

static void slirp_set_offload(VhostDPDriver *drv, uint32_t offloads)
{
    qatomic_set(&VHOST_DP_SLIRP(drv)->rx_csum,
                !!(offloads & VHOST_DP_OFFLOAD_CSUM));
}

/* ---- Data side ---- */

static bool slirp_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                         AioContext *ctx, Error **errp)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    SlirpTimer *t;

    s->watched = g_array_new(false, false, sizeof(int));
    s->input = g_malloc(SLIRP_INPUT_BYTES);
    s->input_used = 0;
    s->ninput = 0;
    s->input_full = false;
    s->ring_lent = s->ring_tail = 0;
    s->rx_enabled = false;
    aio_timer_init_with_attrs(ctx, &s->timer, QEMU_CLOCK_VIRTUAL, SCALE_MS,
                              QEMU_TIMER_ATTR_EXTERNAL, slirp_io_ready, s);

    net_slirp_lock();
    s->port = port;
    s->ctx = ctx;
    s->fds = g_array_new(false, true, sizeof(SlirpFd));
    s->ring = g_malloc(SLIRP_RING * SLIRP_STRIDE);
    s->ring_head = 0;
    s->bh = aio_bh_new(ctx, slirp_run, s);
    QLIST_FOREACH(t, &s->timers, next) {
        slirp_timer_arm(t);
    }
    net_slirp_unlock();

    s->paused = true;
    slirp_set_paused(s, false);
    qemu_bh_schedule(s->bh);
    return true;
}

static void slirp_detach(VhostDPDriver *drv, unsigned pair)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    SlirpTimer *t;
    unsigned i;

    slirp_set_paused(s, true);
    timer_del(&s->timer);

    net_slirp_lock();
    QLIST_FOREACH(t, &s->timers, next) {
        timer_del(&t->timer);
    }
    qemu_bh_delete(s->bh);
    s->bh = NULL;
    for (i = 0; i < s->watched->len; i++) {
        epoll_ctl(s->epfd, EPOLL_CTL_DEL,
                  g_array_index(s->watched, int, i), NULL);
    }
    slirp_count_lost(s);
    vhost_dp_port_drop_rx(s->port, VHOST_DP_DROP_REASON_STOPPED,
                          slirp_ring_used(s));
    vhost_dp_port_drop_tx(s->port, VHOST_DP_DROP_REASON_STOPPED, s->ninput);
    g_array_free(s->fds, true);
    s->fds = NULL;
    g_free(s->ring);
    s->ring = NULL;
    s->port = NULL;
    s->ctx = NULL;
    net_slirp_unlock();

    g_array_free(s->watched, true);
    s->watched = NULL;
    g_free(s->input);
    s->input = NULL;
}

/*
 * Finish a TCP segment that is longer than the wire's: libslirp takes it as it
 * is, but as a datagram whose lengths and checksums are right.  A guest need
 * not have set them (virtio 1.3, 5.1.6.2).
 */
static bool slirp_finish_tso(uint8_t *buf, uint32_t len)
{
    struct ip_header *ip;
    size_t l2 = eth_get_l2_hdr_length(buf);

    if (len < l2 + sizeof(*ip) || len - l2 > UINT16_MAX) {
        return false;
    }
    ip = (struct ip_header *)(buf + l2);
    stw_be_p(&ip->ip_len, len - l2);
    net_checksum_calculate(buf, len, CSUM_IP | CSUM_TCP);
    return true;
}

static void slirp_finish_csum(uint8_t *buf, const VhostDPFrame *frame)
{
    uint16_t csum = net_raw_checksum(buf + frame->csum_start,
                                     frame->len - frame->csum_start);

    /* In UDP zero would say that there is none (RFC 768) */
    stw_be_p(buf + frame->csum_start + frame->csum_offset, csum ?: 0xffff);
}

/* Returns false if there is no room */
static bool slirp_queue_input(VhostDPSlirp *s, const VhostDPFrame *frame)
{
    uint8_t *buf = s->input + s->input_used;

    if (s->ninput == SLIRP_INPUT_FRAMES ||
        frame->len > SLIRP_INPUT_BYTES - s->input_used) {
        return false;
    }
    iov_to_buf(frame->iov, frame->iovcnt, 0, buf, frame->len);
    if (frame->gso_type) {
        if (!slirp_finish_tso(buf, frame->len)) {
            vhost_dp_port_drop_tx(s->port, VHOST_DP_DROP_REASON_BAD_HEADER, 1);
            return true;
        }
    } else if (frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        slirp_finish_csum(buf, frame);
    }
    s->input_len[s->ninput++] = frame->len;
    s->input_used += frame->len;
    return true;
}

static unsigned slirp_tx_burst(VhostDPDriver *drv, unsigned pair,
                               VhostDPFrame *frames, unsigned n)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    unsigned i;

    for (i = 0; i < n && slirp_queue_input(s, &frames[i]); i++) {
        /* All of it is in the condition */
    }
    s->input_full = i < n;
    qemu_bh_schedule(s->bh);
    return i;
}

static unsigned slirp_rx_burst(VhostDPDriver *drv, unsigned pair,
                               VhostDPFrame *frames, unsigned n)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    bool csum = qatomic_read(&s->rx_csum);
    uint32_t head = slirp_ring_head(s);
    unsigned i;

    for (i = 0; i < n && s->ring_lent != head; i++) {
        uint32_t slot = s->ring_lent++ % SLIRP_RING;
        VhostDPFrame *frame = &frames[i];

        frame->inl[0].iov_base = s->ring + slot * SLIRP_STRIDE;
        frame->inl[0].iov_len = s->ring_len[slot];
        frame->iov = frame->inl;
        frame->iovcnt = 1;
        frame->len = s->ring_len[slot];
        /* libslirp's checksums are complete, and come from this process */
        frame->flags = csum ? VIRTIO_NET_HDR_F_DATA_VALID : 0;
        frame->gso_type = VIRTIO_NET_HDR_GSO_NONE;
    }
    return i;
}

static void slirp_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);

    qatomic_store_release(&s->ring_tail, s->ring_tail + n);
    if (s->paused && slirp_ring_used(s) < SLIRP_RING_LOW) {
        slirp_set_paused(s, false);
    }
}

static void slirp_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);

    s->rx_enabled = enable;
    if (enable && s->ring_lent != slirp_ring_head(s)) {
        vhost_dp_port_ready(s->port, VHOST_DP_READY_RX);
    }
}

/* ---- The object ---- */

static void slirp_instance_init(Object *obj)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(obj);

    s->epfd = -1;
    QLIST_INIT(&s->timers);
    vhost_dp_slirp_options_init(&s->opts);
}

static void slirp_class_init(ObjectClass *oc, void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->check_options = slirp_check_options;
    dc->open = slirp_open;
    dc->close = slirp_close;
    dc->get_caps = slirp_get_caps;
    dc->query = slirp_query;
    dc->set_offload = slirp_set_offload;
    dc->attach = slirp_attach;
    dc->detach = slirp_detach;
    dc->tx_burst = slirp_tx_burst;
    dc->rx_burst = slirp_rx_burst;
    dc->rx_release = slirp_rx_release;
    dc->rx_enable = slirp_rx_enable;
    vhost_dp_driver_add_options(oc, vhost_dp_slirp_options);
}

static const TypeInfo slirp_info = {
    .name = TYPE_VHOST_DP_SLIRP,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(VhostDPSlirp),
    .instance_init = slirp_instance_init,
    .class_init = slirp_class_init,
};

static void slirp_register_types(void)
{
    type_register_static(&slirp_info);
}

type_init(slirp_register_types)
