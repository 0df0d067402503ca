/*
 * vhost-dp-af-xdp: what becomes of the interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: an interface that goes down, or is deleted, takes the
 * link down (link.h).  afxdp_look() may wait for the kernel.
 *
 * The kernel reports some changes to nobody: that the program was taken off the
 * interface, that a veth's peer has another say about VLAN tags, or that there
 * are resources again for a program or a socket.  So afxdp_look() runs once a
 * second, too, while frames may come, and after a failure.
 *
 * When an interface of the same name exists again, it gets a new program and
 * new sockets.  They are opened here.  A queue pair leaves its socket, rings
 * and memory to the watch's thread for that time (vhost_dp_link_ask).
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "af-xdp-int.h"
#include "trace.h"

/* What a socket had that was closed is not free at once */
#define AFXDP_REOPEN_MS 20
#define AFXDP_REOPEN_TRIES 50

/* For changes that nobody tells of, and failures that last */
#define AFXDP_LOOK_MS 1000

/* @r: the negative errno of what failed.  Try again soon if that may help. */
static void afxdp_failed(VhostDPAfXdp *xdp, int r)
{
    VhostDPIfWatch *watch = xdp->link.watch;

    if (r == -EAGAIN && xdp->open_tries < AFXDP_REOPEN_TRIES) {
        xdp->open_tries++;
        vhost_dp_ifwatch_look_in(watch, AFXDP_REOPEN_MS);
    } else {
        vhost_dp_ifwatch_look_in(watch, AFXDP_LOOK_MS);
    }
}

/*
 * Interface @ifindex exists, and may be another one of the same name: see to
 * it that all sockets are on it, and that frames come, and all of them whole.
 * Returns false with @errp set on failure; sets @wait while a queue pair has
 * not left its socket yet.
 */
static bool afxdp_prepare(VhostDPAfXdp *xdp, int ifindex, bool *wait,
                          Error **errp)
{
    bool checked = false;
    unsigned i;
    int r = 0;

    for (i = 0; i < xdp->nqueues && !r; i++) {
        AfXdpQueue *q = &xdp->queue[i];

        if (q->ifindex == ifindex) {
            if (!checked) {
                r = vhost_dp_afxdp_prog_check(xdp, ifindex, errp);
                checked = true;
            }
        } else if (vhost_dp_link_ask(&xdp->link, i)) {
            r = vhost_dp_afxdp_reopen(q, ifindex, errp);
            if (!r) {
                vhost_dp_link_offer(&xdp->link, i);
            }
        } else {
            *wait = true;
        }
    }
    if (r) {
        afxdp_failed(xdp, r);
    }
    return r == 0;
}

int64_t vhost_dp_afxdp_follow_filter(VhostDPAfXdp *xdp, int ifindex)
{
    VhostDPMembership *m = &xdp->membership;
    const VhostDPControl *before;
    int64_t ms;

    if (xdp->members < 0) {
        return 0;
    }
    if (xdp->members_ifindex != ifindex) {
        /* The memberships went with the interface that is gone */
        vhost_dp_membership_forget(m);
        xdp->members_ifindex = ifindex;
    }
    before = m->applied;
    ms = vhost_dp_membership_follow(m, xdp->members, ifindex, &xdp->wanted);
    if (m->applied != before) {
        trace_vhost_dp_afxdp_filter(xdp->parent_obj.id, ifindex,
                                    m->state == VHOST_DP_MEMBER_OF_ALL);
    }
    return ms;
}

static void afxdp_look(VhostDPDriver *drv)
{
    VhostDPAfXdp *xdp = VHOST_DP_AF_XDP(drv);
    VhostDPIfWatch *watch = xdp->link.watch;
    int bound = xdp->queue[0].ifindex;
    g_autofree char *reason = NULL;
    char name[IFNAMSIZ];
    VhostDPIfState state;
    Error *err = NULL;
    bool wait = false;
    int64_t ms = 0;
    int ifindex;

    /* The socket is bound to a number: the interface may have a new name */
    vhost_dp_ifwatch_follow(watch, bound);
    if (!vhost_dp_if_name(xdp->ctl, bound, name)) {
        pstrcpy(name, sizeof(name), xdp->real_ifname);
        vhost_dp_ifwatch_follow_name(watch, name);
    }
    state = vhost_dp_if_state(xdp->ctl, name, &ifindex);
    if (ifindex && !afxdp_prepare(xdp, ifindex, &wait, &err)) {
        vhost_dp_ifwatch_publish(watch, state, name, error_get_pretty(err));
        error_free(err);
        return;
    }
    if (wait) {
        return;
    }
    xdp->open_tries = 0;
    if (ifindex) {
        ms = vhost_dp_afxdp_follow_filter(xdp, ifindex);
        vhost_dp_ifwatch_follow(watch, ifindex);
        state = vhost_dp_if_state(xdp->ctl, name, &ifindex);
    }
    if (!ms && ifindex && state == VHOST_DP_IF_UP) {
        ms = AFXDP_LOOK_MS;
    }
    if (ms) {
        vhost_dp_ifwatch_look_in(watch, ms);
    }
    reason = vhost_dp_if_reason(state, name);
    vhost_dp_ifwatch_publish(watch, state, name, reason);
}

static const VhostDPLinkOps afxdp_link_ops = {
    .look = afxdp_look,
    .leave = vhost_dp_afxdp_leave,
    .take = vhost_dp_afxdp_take,
    .set_link = vhost_dp_afxdp_set_link,
};

bool vhost_dp_afxdp_link_open(VhostDPAfXdp *xdp, Error **errp)
{
    xdp->open_tries = 0;
    return vhost_dp_link_open(&xdp->link, VHOST_DP_DRIVER(xdp), xdp->nqueues,
                              &afxdp_link_ops, errp);
}
