/*
 * vhost-dp-slirp: libslirp, in the queue pair's IOThread
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: libslirp wants to be asked before each wait which
 * descriptors to watch and how long to sleep.  An AioContext has no hook for
 * that, but the answer changes only when libslirp was called.  So after each
 * input, event or timer a bottom half asks it again, brings an epoll set in
 * line, of which the AioContext watches the one descriptor, and arms one timer.
 *
 * All of that happens in bottom halves and timers, under net_slirp_lock(), and
 * never in a burst.  The callbacks come from there, and from the main loop if
 * the monitor or a character device calls libslirp.
 *
 * Between open and attach, and between detach and close, nobody runs it: its
 * timers are then only noted.
 */

#include "qemu/osdep.h"
#include <sys/epoll.h>
#include "qemu/log.h"
#include "slirp-int.h"

/* Sockets are left alone above that many frames for the guest */
#define SLIRP_RING_HIGH (SLIRP_RING / 2)

/* Descriptors that are looked at in one go */
#define SLIRP_EVENTS 64

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
 * libslirp calls this when there is room in one of its buffers, and when a call
 * by the main loop has made frames, or descriptors to watch
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

const SlirpCb vhost_dp_slirp_callbacks = {
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
    /* A number that was closed and is used again is in the array already */
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

    /* Attached again: it has sockets that slirp_fill() has not met yet */
    if (fd < 0 || fd >= s->fds->len) {
        return 0;
    }
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

void vhost_dp_slirp_set_paused(VhostDPSlirp *s, bool paused)
{
    if (s->paused != paused) {
        s->paused = paused;
        aio_set_fd_handler(s->ctx, s->epfd, paused ? NULL : slirp_io_ready,
                           NULL, NULL, NULL, s);
    }
}

/* ---- Running it ---- */

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
        vhost_dp_slirp_set_paused(s, true);
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

/* ---- Attaching ---- */

bool vhost_dp_slirp_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
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
    vhost_dp_slirp_set_paused(s, false);
    qemu_bh_schedule(s->bh);
    return true;
}

void vhost_dp_slirp_detach(VhostDPDriver *drv, unsigned pair)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    SlirpTimer *t;
    unsigned i;

    vhost_dp_slirp_set_paused(s, true);
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
