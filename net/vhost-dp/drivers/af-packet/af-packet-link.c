/*
 * vhost-dp-af-packet: what becomes of the interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: an interface that goes down, or is deleted, takes the
 * link down (link.h).  afp_look() may wait for the kernel.
 *
 * When an interface of the same name exists again, a single socket is bound to
 * it.  The sockets of a fanout group are replaced: new ones are made here, and
 * each queue pair takes its own.
 *
 * A socket that was passed can be of another network namespace than
 * QEMU's.  The state is had through the socket in any case; changes are
 * reported there if the watch may enter that namespace, and otherwise it
 * looks once a second.
 */

#include "qemu/osdep.h"
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "af-packet-int.h"
#include "trace.h"

/* How long until a failure to use an interface that is there is tried again */
#define AFP_RETRY_MS 1000

/* All queue pairs have new sockets */
static void afp_taken(VhostDPDriver *drv)
{
    /* The guest may have changed the pairs since the new group was made */
    vhost_dp_afp_update_pairs(VHOST_DP_AF_PACKET(drv));
}

/*
 * The interface that all sockets are bound to, or 0; see vhost_dp_afp_bound_to
 */
static int afp_bound(VhostDPAfPacket *afp, char *name)
{
    int ifindex = 0;
    unsigned i;

    for (i = 0; i < afp->nqueues; i++) {
        ifindex = vhost_dp_afp_bound_to(afp->queue[i].sock.fd, name);
        if (!ifindex) {
            pstrcpy(name, IFNAMSIZ, afp->real_ifname);
            break;
        }
    }
    return ifindex;
}

/* Are changes of the interface reported? */
static bool afp_enter(VhostDPAfPacket *afp)
{
    VhostDPIfWatch *watch = afp->link.watch;
    int sock = afp->queue[0].sock.fd;
    int netns;

    if (vhost_dp_if_same_netns(sock, vhost_dp_ifwatch_sock(watch))) {
        return true;
    }
    netns = ioctl(sock, SIOCGSKNS);
    return netns >= 0 && vhost_dp_ifwatch_enter(watch, netns);
}

static VhostDPIfState afp_find(VhostDPAfPacket *afp, char *name, int *bound,
                               int *ifindex)
{
    VhostDPIfWatch *watch = afp->link.watch;

    *bound = afp_bound(afp, name);
    if (!afp_enter(afp)) {
        vhost_dp_ifwatch_follow_clock(watch);
    } else if (*bound) {
        vhost_dp_ifwatch_follow(watch, *bound);
        *bound = afp_bound(afp, name);
    } else {
        vhost_dp_ifwatch_follow_name(watch, name);
    }
    return vhost_dp_if_state(afp->queue[0].sock.fd, name, ifindex);
}

/* Ask the interface for what the guest wants */
static void afp_follow_filter(VhostDPAfPacket *afp)
{
    AfpSocket *s = &afp->queue[0].sock;
    const VhostDPControl *before = s->membership.applied;
    char name[IFNAMSIZ];
    int ifindex = vhost_dp_afp_bound_to(s->fd, name);
    int64_t ms;

    if (!ifindex) {
        return;
    }
    ms = vhost_dp_membership_follow(&s->membership, s->fd, ifindex,
                                    &afp->wanted);
    if (ms) {
        vhost_dp_ifwatch_look_in(afp->link.watch, ms);
    }
    if (s->membership.applied != before) {
        trace_vhost_dp_af_packet_filter(afp->parent_obj.id, name,
                                        s->membership.state ==
                                        VHOST_DP_MEMBER_OF_ALL);
    }
}

static void afp_look(VhostDPDriver *drv)
{
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(drv);
    VhostDPIfWatch *watch = afp->link.watch;
    g_autofree char *reason = NULL;
    char name[IFNAMSIZ];
    VhostDPIfState state;
    int bound, ifindex;
    Error *err = NULL;

    state = afp_find(afp, name, &bound, &ifindex);
    /* Before Linux 6.13 a group needs an interface that is up */
    if (!bound && ifindex &&
        (state != VHOST_DP_IF_DOWN || afp->nqueues == 1)) {
        if (!vhost_dp_afp_reopen(afp, ifindex, &err)) {
            vhost_dp_ifwatch_publish(watch, VHOST_DP_IF_GONE, name,
                                     error_get_pretty(err));
            error_free(err);
            /*
             * Nobody tells when there is memory or a descriptor again.  A
             * group that was passed cannot be had again by waiting.
             */
            if (afp->nqueues == 1 || !afp_is_passed(afp)) {
                vhost_dp_ifwatch_look_in(watch, AFP_RETRY_MS);
            }
            return;
        }
        if (afp->nqueues > 1) {
            return;
        }
        state = afp_find(afp, name, &bound, &ifindex);
    }
    afp_follow_filter(afp);
    reason = vhost_dp_if_reason(state, name);
    vhost_dp_ifwatch_publish(watch, state, name, reason);
}

static const VhostDPLinkOps afp_link_ops = {
    .look = afp_look,
    .taken = afp_taken,
    .take = vhost_dp_afp_take,
    .set_link = vhost_dp_afp_set_link,
};

bool vhost_dp_afp_link_open(VhostDPAfPacket *afp, Error **errp)
{
    return vhost_dp_link_open(&afp->link, VHOST_DP_DRIVER(afp), afp->nqueues,
                              &afp_link_ops, errp);
}
