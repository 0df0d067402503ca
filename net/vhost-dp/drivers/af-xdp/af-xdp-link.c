/*
 * vhost-dp-af-xdp: what becomes of the interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: an interface that goes down, or is deleted, takes the
 * link down.  afxdp_look() runs in the thread of the interface's watch
 * (ifwatch.h), where it may wait for the kernel, and publishes the state.  The
 * queue pairs follow it in their IOThreads (af-xdp-io.c).
 *
 * Of some changes there is no message: that the program was taken off the
 * interface, that a veth's peer has another say about VLAN tags, or that what
 * was missing for a program or a socket is there.  So afxdp_look() runs once a
 * second, too, while frames may come, and after a failure.
 *
 * When an interface of the same name is there again, it gets a new program
 * and new sockets.  They are opened here.  A queue pair leaves its socket,
 * rings and memory to the watch's thread for that time; AfXdpQueue.turn says
 * whose they are.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "af-xdp-int.h"

/* What a socket had that was closed is not free at once */
#define AFXDP_REOPEN_MS 20
#define AFXDP_REOPEN_TRIES 50

/* For changes that nobody tells of, and failures that last */
#define AFXDP_LOOK_MS 1000

/* @r: the negative errno of what failed.  Try again soon if that may help. */
static void afxdp_failed(VhostDPAfXdp *xdp, VhostDPIfWatch *watch, int r)
{
    if (r == -EAGAIN && xdp->open_tries < AFXDP_REOPEN_TRIES) {
        xdp->open_tries++;
        vhost_dp_ifwatch_look_in(watch, AFXDP_REOPEN_MS);
    } else {
        vhost_dp_ifwatch_look_in(watch, AFXDP_LOOK_MS);
    }
}

/* Returns 0, or a negative errno with @errp set */
static int afxdp_reopen(AfXdpQueue *q, VhostDPIfWatch *watch, int ifindex,
                        Error **errp)
{
    int r = vhost_dp_afxdp_reopen(q, ifindex, errp);

    if (!r) {
        qatomic_store_release(&q->turn, AFXDP_TURN_BACK);
        vhost_dp_ifwatch_tell(watch);
    }
    return r;
}

/*
 * Interface @ifindex is there, and may be another one of the same name: see to
 * it that all sockets are on it, and that frames come, and all of them whole.
 * Returns false with @errp set on failure; sets @wait while a queue pair has
 * not left its socket yet.
 */
static bool afxdp_prepare(VhostDPAfXdp *xdp, VhostDPIfWatch *watch,
                          int ifindex, bool *wait, Error **errp)
{
    bool checked = false;
    unsigned i;
    int r = 0;

    for (i = 0; i < xdp->nqueues && !r; i++) {
        AfXdpQueue *q = &xdp->queue[i];
        AfXdpTurn turn = qatomic_load_acquire(&q->turn);

        if (q->ifindex == ifindex) {
            if (!checked) {
                r = vhost_dp_afxdp_prog_check(xdp, ifindex, errp);
                checked = true;
            }
        } else if (turn == AFXDP_TURN_WATCH) {
            r = afxdp_reopen(q, watch, ifindex, errp);
        } else {
            if (turn == AFXDP_TURN_PAIR) {
                qatomic_set(&q->turn, AFXDP_TURN_ASKED);
                vhost_dp_ifwatch_tell(watch);
            }
            *wait = true;
        }
    }
    if (r) {
        afxdp_failed(xdp, watch, r);
    }
    return r == 0;
}

static void afxdp_look(VhostDPIfWatch *watch, void *opaque)
{
    VhostDPAfXdp *xdp = opaque;
    int bound = xdp->queue[0].ifindex;
    g_autofree char *reason = NULL;
    char name[IFNAMSIZ];
    VhostDPIfState state;
    Error *err = NULL;
    bool wait = false;
    int ifindex;

    /* It may have been renamed: the socket is bound to the number */
    vhost_dp_ifwatch_follow(watch, bound);
    if (!vhost_dp_if_name(xdp->ctl, bound, name)) {
        pstrcpy(name, sizeof(name), xdp->real_ifname);
        vhost_dp_ifwatch_follow_name(watch, name);
    }
    state = vhost_dp_if_state(xdp->ctl, name, &ifindex);
    if (ifindex && !afxdp_prepare(xdp, watch, ifindex, &wait, &err)) {
        vhost_dp_ifwatch_publish(watch, state, name, error_get_pretty(err));
        error_free(err);
        return;
    }
    if (wait) {
        return;
    }
    xdp->open_tries = 0;
    if (ifindex) {
        vhost_dp_ifwatch_follow(watch, ifindex);
        state = vhost_dp_if_state(xdp->ctl, name, &ifindex);
    }
    if (ifindex && state == VHOST_DP_IF_UP) {
        vhost_dp_ifwatch_look_in(watch, AFXDP_LOOK_MS);
    }
    reason = vhost_dp_if_reason(state, name);
    vhost_dp_ifwatch_publish(watch, state, name, reason);
}

bool vhost_dp_afxdp_link_open(VhostDPAfXdp *xdp, Error **errp)
{
    xdp->open_tries = 0;
    xdp->watch = vhost_dp_ifwatch_new(xdp->nqueues, afxdp_look, xdp, errp);
    return xdp->watch != NULL;
}
