/*
 * vhost-dp-tap: what becomes of the interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: an interface can be set down and up, be renamed, be
 * moved to another network namespace and be deleted while it is used.  A
 * descriptor stays bound to its interface, so a new name or namespace changes
 * nothing.  An interface that is down, or gone, takes the link down.
 *
 * tap_look() runs in the thread of the interface's watch (ifwatch.h), where
 * it may wait for the kernel, and publishes the state (the first time it runs
 * in the thread that opens the driver).  The queue pairs follow
 * it in their IOThreads without a system call that could wait.  They make the
 * watch look when the kernel does not take a frame.
 *
 * Which interface is behind a descriptor is said by its network namespace and
 * its number there; one of the same name and address may be in another.  The
 * kernel tells the namespace (TUNGETDEVNETNS) to those with CAP_NET_ADMIN.  For
 * others, an interface that was opened by name is in QEMU's namespace, and of a
 * descriptor that was passed tap_is_here() finds out.  What is not known to be
 * there, or has left it, is looked at once a second through the descriptor: it
 * is writable while the interface is up.
 *
 * A tap that QEMU made is down until the administrator has set it up.  It does
 * not take the link down before it was up once, as with other back ends: the
 * guest need not see its link come up late.
 *
 * If an interface that was opened by name is deleted and comes back, its
 * queues are opened anew here, and each queue pair puts its own in place of the
 * old one, behind the same descriptor number.  QEMU never creates a deleted
 * interface again: that is the administrator's decision.  Passed descriptors of
 * a deleted interface cannot be replaced.
 */

#include "qemu/osdep.h"
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "tap-int.h"
#include "trace.h"

/* Linux 5.2; not in the headers of all C libraries */
#ifndef TUNGETDEVNETNS
#define TUNGETDEVNETNS _IO('T', 227)
#endif

/* A bit of the interface's message level that means nothing to the kernel */
#define TAP_TOKEN (1u << 30)

/* How often an interface may be renamed while it is looked for */
#define TAP_LOCATE_TRIES 3

/* How often to try again soon with an interface that somebody else has */
#define TAP_BUSY_TRIES 20

/* Looks that wait for another program that opens the interface */
#define TAP_TURN_LOOKS 3
#define TAP_BUSY_MS 50
#define TAP_RETRY_MS 1000

/* ---- Through the descriptor ---- */

/* Without waiting for anybody */
static short tap_poll(int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLOUT };

    return poll(&pfd, 1, 0) > 0 ? pfd.revents : 0;
}

/* A macvtap does not tell: the watch finds out */
bool vhost_dp_tap_is_gone(const TapQueue *q)
{
    return tap_poll(q->fd) & POLLERR;
}

/* A tap is not writable while it is down, or while its sndbuf= is used up */
static VhostDPIfState tap_fd_state(VhostDPTap *tap)
{
    return (tap->has_sndbuf && tap->sndbuf) ||
           (tap_poll(tap->queue[0].fd) & POLLOUT) ? VHOST_DP_IF_UP :
                                                    VHOST_DP_IF_DOWN;
}

static bool tap_get_msglevel(int sock, const char *name, uint32_t *value)
{
    struct ethtool_value ev = { .cmd = ETHTOOL_GMSGLVL };
    struct ifreq ifr = { .ifr_data = (void *)&ev };

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    if (ioctl(sock, SIOCETHTOOL, &ifr) < 0) {
        return false;
    }
    *value = ev.data;
    return true;
}

/* Have two interfaces, which are called the same, the same address? */
static bool tap_same_address(int fd, int sock, const char *name)
{
    struct ifreq ours = {}, named = {};

    pstrcpy(named.ifr_name, sizeof(named.ifr_name), name);
    return ioctl(fd, SIOCGIFHWADDR, &ours) == 0 &&
           ioctl(sock, SIOCGIFHWADDR, &named) == 0 &&
           !memcmp(ours.ifr_hwaddr.sa_data, named.ifr_hwaddr.sa_data, 6);
}

/*
 * Is the interface that is called @name in the namespace of @sock the one
 * behind @fd?  It is not if the addresses differ.  If not, change a bit through
 * the descriptor that harms nobody, and look whether it changed there.  What
 * the other bits are is known from there alone, so this waits for the address.
 * A macvtap has no such bit, and is believed its name and address.
 */
static bool tap_is_here(int fd, int sock, const char *name)
{
    uint32_t before, during;
    bool same;

    if (!tap_same_address(fd, sock, name)) {
        return false;
    }
    if (!vhost_dp_tap_fd_is_tun(fd)) {
        return true;
    }
    if (!tap_get_msglevel(sock, name, &before) ||
        ioctl(fd, TUNSETDEBUG, before ^ TAP_TOKEN) < 0) {
        return false;           /* before Linux 5.8 */
    }
    same = tap_get_msglevel(sock, name, &during) &&
           during == (before ^ TAP_TOKEN);
    ioctl(fd, TUNSETDEBUG, same ? before : 0);
    return same;
}

/* ---- Where it is, and how ---- */

/*
 * Find the number of the interface, which was called @name just now, in its
 * namespace, and watch there; 0 if it cannot be found.
 *
 * Returns false if it may have another name by now: look again.
 */
static bool tap_locate(VhostDPTap *tap, const char *name)
{
    VhostDPIfWatch *watch = tap->link.watch;
    int fd = tap->queue[0].fd;
    int netns = ioctl(fd, TUNGETDEVNETNS);
    char found[IFNAMSIZ];
    int sock;

    if (netns >= 0) {
        tap->ifindex = 0;
        tap->located = true;
        if (!vhost_dp_ifwatch_enter(watch, netns)) {
            return true;
        }
        vhost_dp_if_state(vhost_dp_ifwatch_sock(watch), name, &tap->ifindex);
        return tap->ifindex != 0;
    }
    vhost_dp_ifwatch_enter(watch, -1);
    sock = vhost_dp_ifwatch_sock(watch);
    if (!tap->located) {
        vhost_dp_if_state(sock, name, &tap->ifindex);
        if (tap->passed.n && tap->ifindex && !tap_is_here(fd, sock, name)) {
            tap->ifindex = 0;
        }
        return tap->ifindex != 0;
    }
    if (!vhost_dp_if_name(sock, tap->ifindex, found)) {
        tap->ifindex = 0;
        return true;
    }
    return !strcmp(found, name);
}

/* Sets @name, IFNAMSIZ bytes, if the interface is there */
static VhostDPIfState tap_get_state(VhostDPTap *tap, char *name)
{
    VhostDPIfWatch *watch = tap->link.watch;
    TapQueue *q = &tap->queue[0];
    struct ifreq ifr = {};
    VhostDPIfState state;
    int ifindex, tries;

    for (tries = 0; tries < TAP_LOCATE_TRIES; tries++) {
        if (ioctl(q->fd, TUNGETIFF, &ifr) < 0) {
            /* Errors of a deleted tap and of a deleted macvtap */
            if (errno == EBADFD || errno == ENOLINK) {
                return VHOST_DP_IF_GONE;
            }
            continue;
        }
        pstrcpy(name, IFNAMSIZ, ifr.ifr_name);
        if (!tap_locate(tap, name)) {
            /* The interface may be in another namespace: stop to look for it */
            tap->located |= tries == TAP_LOCATE_TRIES - 1;
            continue;
        }
        tap->located = true;
        if (!tap->ifindex) {
            break;
        }
        /* What changes from here on is reported */
        vhost_dp_ifwatch_follow(watch, tap->ifindex);
        state = vhost_dp_if_state(vhost_dp_ifwatch_sock(watch), name,
                                  &ifindex);
        if (ifindex == tap->ifindex) {
            return state;
        }
    }
    vhost_dp_ifwatch_follow_clock(watch);
    return tap_fd_state(tap);
}

/* ---- Queues that the guest does not use ---- */

/* Let the kernel use each queue, or not.  Interfaces with one queue cannot. */
static void tap_set_queues(VhostDPTap *tap)
{
    unsigned i;

    for (i = 0; i < tap->nqueues && tap->nqueues > 1; i++) {
        TapQueue *q = &tap->queue[i];

        vhost_dp_tap_set_queue(q, !qatomic_read(&q->inactive));
    }
}

void vhost_dp_tap_set_queue(TapQueue *q, bool attached)
{
    struct ifreq ifr = {
        .ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE,
    };

    if (q->detached == !attached) {
        return;
    }
    if (ioctl(q->fd, TUNSETQUEUE, &ifr) < 0) {
        /* The interface has gone; if not, the first pair gets the frames */
        trace_vhost_dp_tap_set_queue_failed(q->fd, attached, errno);
        return;
    }
    q->detached = !attached;
}

/* ---- An interface that comes back ---- */

/* Ask again after: set_offload() may have come in between */
static void tap_restore_offloads(VhostDPTap *tap)
{
    uint32_t offloads;

    do {
        offloads = qatomic_read(&tap->rx_offloads);
        vhost_dp_tap_apply_offloads(tap->queue[0].fd, offloads);
    } while (qatomic_read(&tap->rx_offloads) != offloads);
}

/*
 * Closing the last descriptor of a queue may wait for the kernel, so those of
 * the queue that is replaced are closed here, and not in an IOThread.
 */
void vhost_dp_tap_close_swap(TapQueue *q)
{
    if (q->new_fd >= 0) {
        close(q->new_fd);
    }
    if (q->old_fd >= 0) {
        close(q->old_fd);
    }
    q->new_fd = q->old_fd = -1;
}

/* All queues were offered, and all were taken */
static void tap_taken(VhostDPDriver *drv)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);
    unsigned i;

    for (i = 0; i < tap->nqueues; i++) {
        vhost_dp_tap_close_swap(&tap->queue[i]);
        tap->queue[i].detached = false;
    }
    tap_restore_offloads(tap);
    trace_vhost_dp_tap_reattach(tap->real_ifname, tap->queue[0].fd);
}

static bool tap_reopen_queues(VhostDPTap *tap, int sock, Error **errp)
{
    unsigned i, k;

    for (i = 0; i < tap->nqueues; i++) {
        TapQueue *q = &tap->queue[i];

        q->old_fd = fcntl(q->fd, F_DUPFD_CLOEXEC, 0);
        if (q->old_fd < 0) {
            error_setg_errno(errp, errno, "cannot replace descriptor %d",
                             q->fd);
        } else {
            q->new_fd = vhost_dp_tap_reopen(tap, i, sock, errp);
        }
        if (q->new_fd < 0) {
            for (k = 0; k <= i; k++) {
                vhost_dp_tap_close_swap(&tap->queue[k]);
            }
            return false;
        }
    }
    for (i = 0; i < tap->nqueues; i++) {
        vhost_dp_link_offer(&tap->link, i);
    }
    return true;
}

/*
 * Open all queues anew.  Returns false with @errp set if that is not possible.
 *
 * One try for the turn: all watches share this thread.  While another program
 * has it, or an interface that is there cannot be opened, the watch looks again
 * soon; what holds the name for longer does not keep us from the interface.
 */
static bool tap_reopen(VhostDPTap *tap, int sock, Error **errp)
{
    int turn = vhost_dp_tap_take_turn(tap->real_ifname, 1);
    bool ok;

    if (turn < 0 && errno == EADDRINUSE && tap->tries < TAP_TURN_LOOKS &&
        vhost_dp_if_state(sock, tap->real_ifname, NULL) != VHOST_DP_IF_GONE) {
        error_setg(errp, "another program opens interface '%s'",
                   tap->real_ifname);
        return false;
    }
    ok = tap_reopen_queues(tap, sock, errp);
    vhost_dp_tap_end_turn(turn);
    return ok;
}

/*
 * The interface was deleted.  Returns why it has not come back; or NULL, then
 * the queue pairs have new queues to take.
 */
static char *tap_come_back(VhostDPTap *tap, const char *name)
{
    VhostDPIfWatch *watch = tap->link.watch;
    Error *err = NULL;
    char *why;
    int sock;

    vhost_dp_ifwatch_enter(watch, -1);
    sock = vhost_dp_ifwatch_sock(watch);
    if (tap->passed.n) {
        vhost_dp_ifwatch_follow(watch, 0);
        return g_strdup_printf("interface '%s' was deleted, and %s= cannot "
                               "open it again", name,
                               vhost_dp_tap_fds_option(tap));
    }
    vhost_dp_ifwatch_follow_name(watch, tap->real_ifname);
    if (tap_reopen(tap, sock, &err)) {
        tap->located = false;
        tap->tries = 0;
        return NULL;
    }
    if (vhost_dp_if_state(sock, tap->real_ifname, NULL) != VHOST_DP_IF_GONE) {
        vhost_dp_ifwatch_look_in(watch, tap->tries++ < TAP_BUSY_TRIES ?
                                 TAP_BUSY_MS : TAP_RETRY_MS);
    } else {
        tap->tries = 0;
    }
    why = g_strdup(error_get_pretty(err));
    error_free(err);
    trace_vhost_dp_tap_reattach_failed(tap->real_ifname, why);
    return why;
}

/* ---- The watch ---- */

static void tap_look(VhostDPDriver *drv)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);
    VhostDPIfWatch *watch = tap->link.watch;
    bool first = !tap->located;
    g_autofree char *reason = NULL;
    VhostDPIfState state;

    tap_set_queues(tap);
    state = tap_get_state(tap, tap->name);
    if (first && tap->passed.n && tap->ifindex) {
        vhost_dp_tap_count_queues(tap, vhost_dp_ifwatch_sock(watch),
                                  tap->name);
    }
    if (state == VHOST_DP_IF_GONE) {
        reason = tap_come_back(tap, tap->name);
        if (!reason) {
            return;
        }
    } else if (state != VHOST_DP_IF_DOWN) {
        tap->was_up = true;
    }
    if (!reason && (tap->was_up || state != VHOST_DP_IF_DOWN)) {
        reason = vhost_dp_if_reason(state, tap->name);
    }
    vhost_dp_ifwatch_publish(watch, state, tap->name, reason);
}

/* ---- The queue pairs' IOThreads ---- */

/* Takes the new queue.  If that fails the next look finds the old one gone. */
static void tap_take(VhostDPDriver *drv, unsigned pair)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];

    vhost_dp_tap_suspend(q);
    if (RETRY_ON_EINTR(dup3(q->new_fd, q->fd, O_CLOEXEC)) < 0) {
        trace_vhost_dp_tap_reattach_failed(q->tap->real_ifname,
                                           strerror(errno));
    }
    vhost_dp_tap_resume(q);
}

static void tap_set_link(VhostDPDriver *drv, unsigned pair,
                         VhostDPIfState state, const char *reason)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];

    q->gone = state == VHOST_DP_IF_GONE;
    q->was_up |= state == VHOST_DP_IF_UP || state == VHOST_DP_IF_NO_CARRIER;
    vhost_dp_tap_update_handlers(q);
    reason = q->fault ?: reason;
    q->down = reason != NULL;
    vhost_dp_port_set_link(q->port, !q->down, reason);
    if (q->down) {
        /* Drop the frames that wait: the interface may never come back */
        vhost_dp_tap_unblock(q);
    }
}

void vhost_dp_tap_link_check(TapQueue *q)
{
    /* Each frame fails while the link is down: ask for one look only */
    if (!q->down && (q->was_up || q->gone)) {
        vhost_dp_ifwatch_look(q->tap->link.watch);
    }
}

void vhost_dp_tap_link_start(TapQueue *q)
{
    q->was_up = false;
    q->down = false;
    vhost_dp_link_attach(&q->tap->link, q - q->tap->queue, q->ctx);
}

/* ---- Life cycle ---- */

static const VhostDPLinkOps tap_link_ops = {
    .look = tap_look,
    .taken = tap_taken,
    .take = tap_take,
    .set_link = tap_set_link,
};

bool vhost_dp_tap_link_open(VhostDPTap *tap, Error **errp)
{
    tap->ifindex = 0;
    tap->located = false;
    tap->was_up = false;
    tap->tries = 0;
    tap->nopen = 0;
    pstrcpy(tap->name, sizeof(tap->name), tap->real_ifname);
    return vhost_dp_link_open(&tap->link, VHOST_DP_DRIVER(tap), tap->nqueues,
                              &tap_link_ops, errp);
}
