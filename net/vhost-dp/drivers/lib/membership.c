/*
 * vhost-dp: what an interface receives for a guest
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include <sys/socket.h>
#include "qemu/lockable.h"
#include "membership.h"

void vhost_dp_wanted_filter_init(VhostDPWantedFilter *wanted)
{
    qemu_mutex_init(&wanted->lock);
}

void vhost_dp_wanted_filter_destroy(VhostDPWantedFilter *wanted)
{
    vhost_dp_control_unref(wanted->control);
    qemu_mutex_destroy(&wanted->lock);
}

void vhost_dp_wanted_filter_set(VhostDPWantedFilter *wanted,
                                VhostDPControl *control)
{
    VhostDPControl *old;

    WITH_QEMU_LOCK_GUARD(&wanted->lock) {
        old = wanted->control;
        wanted->control = control ? vhost_dp_control_ref(control) : NULL;
    }
    vhost_dp_control_unref(old);
}

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

static VhostDPMembershipState membership_for(const VhostDPControl *control)
{
    return !control->filters || control->state.alluni ||
           control->state.uni_overflow || filter_has_vlans(&control->state) ?
           VHOST_DP_MEMBER_OF_ALL : VHOST_DP_MEMBER_OF_FILTER;
}

static bool membership_change_one(int fd, int option, int ifindex, int type,
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
static bool membership_change(int fd, int option, int ifindex,
                              VhostDPMembershipState state,
                              const VhostDPControl *control)
{
    const VhostDPControlState *s;
    bool ok = true;
    unsigned i;

    switch (state) {
    case VHOST_DP_MEMBER_OF_NOTHING:
        return true;
    case VHOST_DP_MEMBER_OF_ALL:
        return membership_change_one(fd, option, ifindex, PACKET_MR_PROMISC,
                                     NULL);
    case VHOST_DP_MEMBER_OF_FILTER:
        break;
    }
    s = &control->state;
    ok &= membership_change_one(fd, option, ifindex, PACKET_MR_UNICAST, s->mac);
    if (s->allmulti || s->multi_overflow) {
        ok &= membership_change_one(fd, option, ifindex, PACKET_MR_ALLMULTI,
                                    NULL);
    }
    for (i = 0; i < s->nmacs; i++) {
        bool multi = i >= s->first_multi;

        if ((s->macs[i][0] & 1) == multi) {
            ok &= membership_change_one(fd, option, ifindex,
                                        multi ? PACKET_MR_MULTICAST
                                              : PACKET_MR_UNICAST, s->macs[i]);
        }
    }
    return ok;
}

bool vhost_dp_membership_begin(VhostDPMembership *membership, int fd,
                               int ifindex)
{
    if (!membership_change(fd, PACKET_ADD_MEMBERSHIP, ifindex,
                           VHOST_DP_MEMBER_OF_ALL, NULL)) {
        return false;
    }
    membership->state = VHOST_DP_MEMBER_OF_ALL;
    return true;
}

/* @control replaces what the socket has asked for */
static void membership_replace(VhostDPMembership *membership, int fd,
                               int ifindex, const VhostDPControl *control)
{
    VhostDPMembershipState state = membership_for(control);

    /* First what is new, so that no frame is missed in between */
    if (state == VHOST_DP_MEMBER_OF_FILTER &&
        !membership_change(fd, PACKET_ADD_MEMBERSHIP, ifindex, state,
                           control)) {
        membership_change(fd, PACKET_DROP_MEMBERSHIP, ifindex, state, control);
        state = VHOST_DP_MEMBER_OF_ALL;
    }
    if (state == VHOST_DP_MEMBER_OF_ALL && membership->state == state) {
        return;
    }
    if (state == VHOST_DP_MEMBER_OF_ALL) {
        membership_change(fd, PACKET_ADD_MEMBERSHIP, ifindex, state, NULL);
    }
    membership_change(fd, PACKET_DROP_MEMBERSHIP, ifindex, membership->state,
                      membership->applied);
    membership->state = state;
}

bool vhost_dp_membership_follow(VhostDPMembership *membership, int fd,
                                int ifindex, VhostDPWantedFilter *wanted)
{
    g_autoptr(VhostDPControl) control = NULL;

    WITH_QEMU_LOCK_GUARD(&wanted->lock) {
        if (wanted->control) {
            control = vhost_dp_control_ref(wanted->control);
        }
    }
    /* A membership that was refused is not asked for again at each look */
    if (!control || membership->applied == control ||
        membership->state == VHOST_DP_MEMBER_OF_NOTHING) {
        return false;
    }
    membership_replace(membership, fd, ifindex, control);
    vhost_dp_control_unref(membership->applied);
    membership->applied = g_steal_pointer(&control);
    return true;
}

void vhost_dp_membership_forget(VhostDPMembership *membership)
{
    vhost_dp_control_unref(membership->applied);
    membership->applied = NULL;
    membership->state = VHOST_DP_MEMBER_OF_NOTHING;
}

void vhost_dp_membership_end(VhostDPMembership *membership, int fd,
                             int ifindex)
{
    membership_change(fd, PACKET_DROP_MEMBERSHIP, ifindex, membership->state,
                      membership->applied);
    vhost_dp_membership_forget(membership);
}
