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
 * Each queue pair looks for itself, in its IOThread, when there is a reason to:
 * the kernel told of a change (ifwatch.c), or did not take a frame.  In another
 * namespace it does not tell.  There the descriptor becomes writable when the
 * interface comes up, frames are refused when it goes down, and a timer does
 * for a guest that sends none.
 *
 * A tap that QEMU made is down until the administrator has set it up.  It does
 * not take the link down before it was up once, as with other back ends: the
 * guest need not see its link come up late.
 *
 * If an interface that was opened by name is deleted, and then there again, its
 * queues are opened anew, and take the place of the old ones behind the same
 * descriptor numbers.  It is not for us to create it: whoever deleted it knows
 * why.  An interface of which we were passed descriptors cannot be had again.
 */

#include "qemu/osdep.h"
#include <poll.h>
#include <sys/ioctl.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/sockets.h"
#include "net/tap-linux.h"
#include "tap-int.h"
#include "trace.h"

/* ---- State ---- */

/*
 * The state of the interface that q->name names in QEMU's namespace;
 * VHOST_DP_IF_GONE if there is none, or it is not ours.
 */
static VhostDPIfState tap_state_here(TapQueue *q)
{
    VhostDPIfState state = VHOST_DP_IF_GONE;
    struct ifreq ours = {}, named = {};
    int sock = qemu_socket(AF_INET, SOCK_DGRAM, 0);

    if (sock < 0) {
        return state;
    }
    pstrcpy(named.ifr_name, sizeof(named.ifr_name), q->name);
    if (ioctl(q->fd, SIOCGIFHWADDR, &ours) == 0 &&
        ioctl(sock, SIOCGIFHWADDR, &named) == 0 &&
        !memcmp(ours.ifr_hwaddr.sa_data, named.ifr_hwaddr.sa_data, 6)) {
        state = vhost_dp_if_state(sock, q->name, NULL);
    }
    close(sock);
    return state;
}

/* A tap that is down is not writable; nor is one whose sndbuf= is used up */
static bool tap_is_writable(TapQueue *q)
{
    struct pollfd pfd = { .fd = q->fd, .events = POLLOUT };

    return poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLOUT);
}

/* @elsewhere: the kernel does not tell of changes; @wait_up: the fd does */
static VhostDPIfState tap_get_state(TapQueue *q, bool *elsewhere,
                                    bool *wait_up)
{
    bool writable = tap_is_writable(q);
    struct ifreq ifr = {};
    VhostDPIfState state;

    *elsewhere = false;
    *wait_up = false;
    if (ioctl(q->fd, TUNGETIFF, &ifr) < 0) {
        return VHOST_DP_IF_GONE;
    }
    pstrcpy(q->name, sizeof(q->name), ifr.ifr_name);
    state = tap_state_here(q);
    if (state == VHOST_DP_IF_GONE) {
        *elsewhere = true;
        state = writable || q->tx_in_order ? VHOST_DP_IF_UP : VHOST_DP_IF_DOWN;
    }
    *wait_up = state == VHOST_DP_IF_DOWN && !writable;
    return state;
}

/* ---- An interface that is there again ---- */

/* Ask again after: set_offload() may have come in between */
static void tap_restore_offloads(TapQueue *q)
{
    uint32_t offloads;

    do {
        offloads = qatomic_read(&q->tap->rx_offloads);
        vhost_dp_tap_apply_offloads(q->fd, offloads);
    } while (qatomic_read(&q->tap->rx_offloads) != offloads);
}

/*
 * Returns false if there is none, or it cannot be used; then @errp is set, and
 * @again if it is worth to try again.
 */
static bool tap_reattach(TapQueue *q, bool *again, Error **errp)
{
    VhostDPTap *tap = q->tap;
    int fd = vhost_dp_tap_reopen(tap, q - tap->queue, errp);

    if (fd < 0) {
        *again = if_nametoindex(tap->real_ifname) != 0;
        return false;
    }
    vhost_dp_tap_suspend(q);
    if (RETRY_ON_EINTR(dup3(fd, q->fd, O_CLOEXEC)) < 0) {
        error_setg_errno(errp, errno, "cannot replace descriptor %d", q->fd);
        close(fd);
        return false;
    }
    close(fd);
    tap_restore_offloads(q);
    vhost_dp_tap_resume(q);
    trace_vhost_dp_tap_reattach(tap->real_ifname, q->fd);
    return true;
}

/* ---- The link ---- */

static void tap_set_link(TapQueue *q, const char *reason)
{
    reason = q->fault ?: reason;
    q->down = reason != NULL;
    vhost_dp_port_set_link(q->port, !q->down, reason);
    if (q->down) {
        /* What waits is to be dropped, not to wait for the interface */
        vhost_dp_tap_unblock(q);
    }
}

/* The interface was deleted.  Returns why it is not there again, or NULL. */
static char *tap_come_back(TapQueue *q, bool *again)
{
    g_autofree char *why = NULL;
    Error *err = NULL;

    if (q->tap->passed.n) {
        return g_strdup_printf("interface '%s' was deleted, and %s= cannot "
                               "open it again", q->name,
                               q->tap->fd ? "fd" : "fds");
    }
    if (tap_reattach(q, again, &err)) {
        return NULL;
    }
    why = g_strdup(error_get_pretty(err));
    error_free(err);
    trace_vhost_dp_tap_reattach_failed(q->tap->real_ifname, why);
    return g_steal_pointer(&why);
}

static void tap_check_link(void *opaque)
{
    TapQueue *q = opaque;
    g_autofree char *reason = NULL;
    bool elsewhere, wait_up;
    bool again = false;
    VhostDPIfState state = tap_get_state(q, &elsewhere, &wait_up);

    if (state == VHOST_DP_IF_GONE) {
        reason = tap_come_back(q, &again);
        if (!reason) {
            state = tap_get_state(q, &elsewhere, &wait_up);
        }
    }
    q->gone = state == VHOST_DP_IF_GONE;
    q->wait_up = wait_up;
    vhost_dp_tap_update_handlers(q);
    vhost_dp_ifwatch_poll(q->watch, elsewhere || again);

    if (state == VHOST_DP_IF_DOWN && q->was_up) {
        reason = vhost_dp_if_reason(state, q->name);
    } else if (state == VHOST_DP_IF_GONE && !reason) {
        reason = vhost_dp_if_reason(state, q->name);
    } else if (!reason) {
        q->was_up |= state != VHOST_DP_IF_DOWN;
    }
    tap_set_link(q, reason);
}

void vhost_dp_tap_link_check(TapQueue *q)
{
    /* It is known already, and every frame says so again */
    if (!q->down && (q->was_up || q->gone)) {
        qemu_bh_schedule(q->check_bh);
    }
}

void vhost_dp_tap_link_writable(TapQueue *q)
{
    tap_check_link(q);
}

void vhost_dp_tap_link_start(TapQueue *q)
{
    q->was_up = false;
    q->down = false;
    q->wait_up = false;
    pstrcpy(q->name, sizeof(q->name), q->tap->real_ifname);
    q->check_bh = aio_bh_new(q->ctx, tap_check_link, q);
    q->watch = vhost_dp_ifwatch_new(q->ctx, -1, tap_check_link, q);
    tap_check_link(q);
}

void vhost_dp_tap_link_stop(TapQueue *q)
{
    vhost_dp_ifwatch_free(q->watch);
    q->watch = NULL;
    qemu_bh_delete(q->check_bh);
    q->check_bh = NULL;
    q->wait_up = false;
}
