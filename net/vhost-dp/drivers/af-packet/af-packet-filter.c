/*
 * vhost-dp-af-packet: what the interface receives
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a socket is opened promiscuous, as a guest is until it
 * asks for less.  When it has, the interface is asked for the guest's addresses
 * by memberships of the socket, and then it need not be promiscuous any more:
 * a card leaves out what is for others.  What comes anyway is filtered by the
 * engine, so the interface may receive too much, but never too little.  So it
 * stays promiscuous where memberships cannot say what the guest wants: all
 * unicast frames, or VLANs, which a card may filter when it is not.
 *
 * Memberships are the interface's, whichever socket has them: of a fanout group
 * the first socket has all.  A change needs the kernel's RTNL, so the thread of
 * the interface's watch makes it.  The socket remembers the snapshot that
 * its memberships are of, because each that was added has to be dropped.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "net/vhost-dp-control.h"
#include "af-packet-int.h"
#include "trace.h"

/* Can a card that is not promiscuous have VLANs of its own? */
static bool filter_has_vlans(const VhostDPControlState *state)
{
    unsigned i;

    /* Frames of VLAN 0 have no VLAN but a priority */
    for (i = 1; i < ARRAY_SIZE(state->vlans); i++) {
        if (state->vlans[i]) {
            return true;
        }
    }
    return state->vlans[0] & ~1u;
}

static AfpMembership filter_membership(const VhostDPControl *control)
{
    return !control->filters || control->state.alluni ||
           control->state.uni_overflow || filter_has_vlans(&control->state) ?
           AFP_MEMBER_OF_ALL : AFP_MEMBER_OF_FILTER;
}

static bool filter_change_one(int fd, int option, int ifindex, int type,
                              const uint8_t *mac)
{
    struct packet_mreq mreq = { .mr_ifindex = ifindex, .mr_type = type };

    if (mac) {
        mreq.mr_alen = VHOST_DP_MAC_LEN;
        memcpy(mreq.mr_address, mac, VHOST_DP_MAC_LEN);
    }
    return setsockopt(fd, SOL_PACKET, option, &mreq, sizeof(mreq)) == 0;
}

/*
 * Add or drop memberships, by @option; @control: of the filter.  Returns false
 * if one of them failed; the others were made anyway.
 */
static bool filter_change(int fd, int option, int ifindex,
                          AfpMembership membership,
                          const VhostDPControl *control)
{
    const VhostDPControlState *state;
    bool ok = true;
    unsigned i;

    switch (membership) {
    case AFP_MEMBER_OF_NOTHING:
        return true;
    case AFP_MEMBER_OF_ALL:
        return filter_change_one(fd, option, ifindex, PACKET_MR_PROMISC, NULL);
    case AFP_MEMBER_OF_FILTER:
        break;
    }
    state = &control->state;
    ok &= filter_change_one(fd, option, ifindex, PACKET_MR_UNICAST, state->mac);
    if (state->allmulti || state->multi_overflow) {
        ok &= filter_change_one(fd, option, ifindex, PACKET_MR_ALLMULTI, NULL);
    }
    for (i = 0; i < state->nmacs; i++) {
        bool multi = i >= state->first_multi;

        if ((state->macs[i][0] & 1) == multi) {
            ok &= filter_change_one(fd, option, ifindex,
                                    multi ? PACKET_MR_MULTICAST
                                          : PACKET_MR_UNICAST,
                                    state->macs[i]);
        }
    }
    return ok;
}

/* @wanted replaces what the socket has; @ifindex: of its interface */
static void filter_replace(AfpSocket *s, int ifindex, VhostDPControl *wanted)
{
    AfpMembership membership = filter_membership(wanted);

    /* First what is new, so that no frame is missed in between */
    if (membership == AFP_MEMBER_OF_FILTER &&
        !filter_change(s->fd, PACKET_ADD_MEMBERSHIP, ifindex, membership,
                       wanted)) {
        filter_change(s->fd, PACKET_DROP_MEMBERSHIP, ifindex, membership,
                      wanted);
        membership = AFP_MEMBER_OF_ALL;
    }
    if (membership == AFP_MEMBER_OF_ALL && s->membership == membership) {
        return;
    }
    if (membership == AFP_MEMBER_OF_ALL) {
        filter_change(s->fd, PACKET_ADD_MEMBERSHIP, ifindex, membership, NULL);
    }
    filter_change(s->fd, PACKET_DROP_MEMBERSHIP, ifindex, s->membership,
                  s->applied);
    s->membership = membership;
}

void vhost_dp_afp_filter_apply(VhostDPAfPacket *afp)
{
    g_autoptr(VhostDPControl) wanted = NULL;
    AfpSocket *s = &afp->queue[0].sock;
    char name[IFNAMSIZ];
    int ifindex = vhost_dp_afp_bound_to(s->fd, name);

    WITH_QEMU_LOCK_GUARD(&afp->wanted_lock) {
        wanted = afp->wanted ? vhost_dp_control_ref(afp->wanted) : NULL;
    }
    /* A membership that was refused is not asked for again at each look */
    if (!wanted || !ifindex || s->applied == wanted ||
        s->membership == AFP_MEMBER_OF_NOTHING) {
        return;
    }
    filter_replace(s, ifindex, wanted);
    vhost_dp_control_unref(s->applied);
    s->applied = g_steal_pointer(&wanted);
    trace_vhost_dp_af_packet_filter(afp->parent_obj.id, name,
                                    s->membership == AFP_MEMBER_OF_ALL);
}

void vhost_dp_afp_filter_forget(AfpSocket *s)
{
    vhost_dp_control_unref(s->applied);
    s->applied = NULL;
    s->membership = AFP_MEMBER_OF_NOTHING;
}

void vhost_dp_afp_filter_drop(AfpSocket *s, int ifindex)
{
    filter_change(s->fd, PACKET_DROP_MEMBERSHIP, ifindex, s->membership,
                  s->applied);
    vhost_dp_afp_filter_forget(s);
}

void vhost_dp_afp_set_rx_filter(VhostDPDriver *drv, VhostDPControl *control)
{
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(drv);
    VhostDPControl *old;

    WITH_QEMU_LOCK_GUARD(&afp->wanted_lock) {
        old = afp->wanted;
        afp->wanted = vhost_dp_control_ref(control);
    }
    vhost_dp_control_unref(old);
    vhost_dp_ifwatch_look(afp->link.watch);
}
