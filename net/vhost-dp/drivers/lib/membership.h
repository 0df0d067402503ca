/*
 * vhost-dp: what an interface receives for a guest
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An interface leaves out frames to addresses that nobody has asked it for.  A
 * packet socket asks by memberships (packet(7)), for as long as it is open and
 * the interface exists.
 *
 * The interface is promiscuous at first, as a guest is until it asks for less.
 * When it has, the interface is asked for the guest's addresses alone, and a
 * card then leaves out what is for others.  What comes anyway is filtered by
 * the engine, so the interface may receive too much, but never too little.  It
 * stays promiscuous where memberships cannot say what the guest wants: all
 * unicast frames, or VLANs, which a card may filter when it is not.
 */

#ifndef NET_VHOST_DP_DRIVERS_LIB_MEMBERSHIP_H
#define NET_VHOST_DP_DRIVERS_LIB_MEMBERSHIP_H

#include "qemu/thread.h"
#include "qemu/timer.h"
#include "net/vhost-dp-control.h"

/* ---- What the guest asks for, until a thread that may wait looks ---- */

typedef struct VhostDPWantedFilter {
    QemuMutex lock;             /* guards @control, for no longer than a look */
    VhostDPControl *control;    /* a reference, or NULL: nothing was asked */
} VhostDPWantedFilter;

/* Thread: any, before and after all others */
void vhost_dp_wanted_filter_init(VhostDPWantedFilter *wanted);
void vhost_dp_wanted_filter_destroy(VhostDPWantedFilter *wanted);

/**
 * vhost_dp_wanted_filter_set: the guest asks for something else
 * @control: a snapshot, of which this takes a reference; NULL: for nothing
 *
 * Thread: any.  Does not wait.
 */
void vhost_dp_wanted_filter_set(VhostDPWantedFilter *wanted,
                                VhostDPControl *control);

/* ---- What a packet socket has asked its interface for ---- */

typedef enum VhostDPMembershipState {
    VHOST_DP_MEMBER_OF_NOTHING,
    VHOST_DP_MEMBER_OF_ALL,     /* the interface is promiscuous */
    VHOST_DP_MEMBER_OF_FILTER,  /* what snapshot @applied asks for */
} VhostDPMembershipState;

/*
 * Memberships that were added have to be dropped one by one, so the snapshot is
 * kept that they are of.
 *
 * Thread: one at a time.  The functions may wait for the kernel's RTNL.
 */
typedef struct VhostDPMembership {
    VhostDPMembershipState state;
    VhostDPControl *applied;    /* a reference: looked at last, or NULL */
    int64_t next;               /* the earliest time of another change; ms */
} VhostDPMembership;

/**
 * vhost_dp_membership_begin: interface @ifindex receives everything
 * @fd: a packet socket, which has no memberships
 *
 * Returns false with errno set if the kernel refuses.
 */
bool vhost_dp_membership_begin(VhostDPMembership *membership, int fd,
                               int ifindex);

/**
 * vhost_dp_membership_follow: ask the interface for what the guest wants now
 * @ifindex: the interface; it receives everything, if it was not asked yet
 *
 * Does nothing if nothing has changed.  A guest can change its mind all the
 * time, and each change costs others the kernel's RTNL: so there are ten in a
 * second at most.
 *
 * Returns 0; or in how many milliseconds it has to be called again, because it
 * was too early, or the kernel refused: until then the interface receives what
 * was asked for before.
 */
int64_t vhost_dp_membership_follow(VhostDPMembership *membership, int fd,
                                int ifindex, VhostDPWantedFilter *wanted);

/* The memberships have gone, with the interface or the socket */
void vhost_dp_membership_forget(VhostDPMembership *membership);

/* Take the memberships from socket @fd, which stays open */
void vhost_dp_membership_end(VhostDPMembership *membership, int fd,
                             int ifindex);

#endif /* NET_VHOST_DP_DRIVERS_LIB_MEMBERSHIP_H */
