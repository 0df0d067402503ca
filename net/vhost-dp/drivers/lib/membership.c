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

/* From one change of the memberships to the next */
#define MEMBERSHIP_CHANGE_MS 100

/* Until the kernel is asked again for what it refused */
#define MEMBERSHIP_RETRY_MS 1000

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
 * Add or drop memberships by @option: the first @n of those that @control asks
 * for.  Returns how many were made, before one failed or there were no more.
 */
static unsigned membership_change_filter(int fd, int option, int ifindex,
                                         const VhostDPControl *control,
                                         unsigned n)
{
    const VhostDPControlState *s = &control->state;
    unsigned done = 0;
    unsigned i;

    if (done == n || !membership_change_one(fd, option, ifindex,
                                            PACKET_MR_UNICAST, s->mac)) {
        return done;
    }
    done++;
    if (s->allmulti || s->multi_overflow) {
        if (done == n || !membership_change_one(fd, option, ifindex,
                                                PACKET_MR_ALLMULTI, NULL)) {
            return done;
        }
        done++;
    }
    for (i = 0; i < s->nmacs; i++) {
        bool multi = i >= s->first_multi;

        if ((s->macs[i][0] & 1) != multi) {
            continue;
        }
        if (done == n || !membership_change_one(fd, option, ifindex,
                                                multi ? PACKET_MR_MULTICAST
                                                      : PACKET_MR_UNICAST,
                                                s->macs[i])) {
            return done;
        }
        done++;
    }
    return UINT_MAX;
}

/* All that @control asks for, or none of it.  Returns false if it failed. */
static bool membership_add_filter(int fd, int ifindex,
                                  const VhostDPControl *control)
{
    unsigned done = membership_change_filter(fd, PACKET_ADD_MEMBERSHIP, ifindex,
                                             control, UINT_MAX);

    if (done != UINT_MAX) {
        membership_change_filter(fd, PACKET_DROP_MEMBERSHIP, ifindex, control,
                                 done);
        return false;
    }
    return true;
}

static bool membership_add_all(int fd, int ifindex)
{
    return membership_change_one(fd, PACKET_ADD_MEMBERSHIP, ifindex,
                                 PACKET_MR_PROMISC, NULL);
}

static void membership_drop(const VhostDPMembership *membership, int fd,
                            int ifindex)
{
    switch (membership->state) {
    case VHOST_DP_MEMBER_OF_NOTHING:
        break;
    case VHOST_DP_MEMBER_OF_ALL:
        membership_change_one(fd, PACKET_DROP_MEMBERSHIP, ifindex,
                              PACKET_MR_PROMISC, NULL);
        break;
    case VHOST_DP_MEMBER_OF_FILTER:
        membership_change_filter(fd, PACKET_DROP_MEMBERSHIP, ifindex,
                                 membership->applied, UINT_MAX);
        break;
    }
}

bool vhost_dp_membership_begin(VhostDPMembership *membership, int fd,
                               int ifindex)
{
    if (!membership_add_all(fd, ifindex)) {
        return false;
    }
    membership->state = VHOST_DP_MEMBER_OF_ALL;
    return true;
}

/*
 * What @control asks for replaces what the socket has asked for.  Returns false
 * if that failed, and nothing has changed.
 */
static bool membership_replace(VhostDPMembership *membership, int fd,
                               int ifindex, const VhostDPControl *control)
{
    VhostDPMembershipState state = membership_for(control);

    /* First what is new, so that no frame is missed in between */
    if (state == VHOST_DP_MEMBER_OF_FILTER &&
        !membership_add_filter(fd, ifindex, control)) {
        state = VHOST_DP_MEMBER_OF_ALL;
    }
    if (state == VHOST_DP_MEMBER_OF_ALL) {
        if (membership->state == state) {
            return true;
        }
        if (!membership_add_all(fd, ifindex)) {
            return false;
        }
    }
    membership_drop(membership, fd, ifindex);
    membership->state = state;
    return true;
}

int64_t vhost_dp_membership_follow(VhostDPMembership *membership, int fd,
                                   int ifindex, VhostDPWantedFilter *wanted)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    g_autoptr(VhostDPControl) control = NULL;

    if (membership->state == VHOST_DP_MEMBER_OF_NOTHING &&
        !vhost_dp_membership_begin(membership, fd, ifindex)) {
        return MEMBERSHIP_RETRY_MS;
    }
    WITH_QEMU_LOCK_GUARD(&wanted->lock) {
        if (wanted->control) {
            control = vhost_dp_control_ref(wanted->control);
        }
    }
    if (!control || membership->applied == control) {
        return 0;
    }
    if (now < membership->next) {
        return membership->next - now;
    }
    membership->next = now + MEMBERSHIP_CHANGE_MS;
    if (!membership_replace(membership, fd, ifindex, control)) {
        return MEMBERSHIP_RETRY_MS;
    }
    vhost_dp_control_unref(membership->applied);
    membership->applied = g_steal_pointer(&control);
    return 0;
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
    membership_drop(membership, fd, ifindex);
    vhost_dp_membership_forget(membership);
}
