/*
 * vhost-dp: the state of the host's network interfaces
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_IFWATCH_H
#define NET_VHOST_DP_IFWATCH_H

#include "block/aio.h"

typedef enum VhostDPIfState {
    VHOST_DP_IF_GONE,           /* there is no such interface */
    VHOST_DP_IF_DOWN,           /* the administrator's switch */
    VHOST_DP_IF_NO_CARRIER,     /* no cable, or the peer is down */
    VHOST_DP_IF_UP,
} VhostDPIfState;

/**
 * vhost_dp_if_state: look up an interface by its name
 * @sock: any socket; the interface is looked for in its network namespace
 * @ifindex: if not NULL, set to the interface's number, or to 0; then errno
 *           says why
 *
 * Thread: any.  Lock: none.
 *
 * Returns VHOST_DP_IF_UP also where the kernel does not tell (ENOMEM): a link
 * that went down by mistake would wait for a change that does not come.
 */
VhostDPIfState vhost_dp_if_state(int sock, const char *ifname, int *ifindex);

/**
 * vhost_dp_if_reason: why no frames can be moved, for vhost_dp_port_set_link
 *
 * Returns: newly allocated; NULL if @state is VHOST_DP_IF_UP.
 */
char *vhost_dp_if_reason(VhostDPIfState state, const char *ifname);

typedef struct VhostDPIfWatch VhostDPIfWatch;

/**
 * vhost_dp_ifwatch_new: be told when interfaces change
 * @ctx: the AioContext of the calling thread
 * @sock: a socket whose network namespace is meant, which may be another than
 *        QEMU's if somebody else opened it; or -1 for QEMU's own
 * @changed: called in @ctx when an interface, any one, was made, deleted,
 *           renamed, switched up or down, or got or lost its carrier.  May be
 *           called without a reason: look at the state with
 *           vhost_dp_if_state().  It may free the watch.
 *
 * A change after the return is reported; the caller looks once itself.
 *
 * The kernel tells of it (rtnetlink(7)), so watching costs nothing while
 * nothing changes.  Only where it does not, which is in another network
 * namespace than QEMU's, @changed is called once a second.
 *
 * Thread: that of @ctx, as for vhost_dp_ifwatch_free().  Lock: none.
 */
VhostDPIfWatch *vhost_dp_ifwatch_new(AioContext *ctx, int sock,
                                     void (*changed)(void *opaque),
                                     void *opaque);

/**
 * vhost_dp_ifwatch_poll: call @changed once a second besides, or not any more
 *
 * For an interface that has moved to another network namespace, and to try
 * again what failed.  May be called from @changed.
 *
 * Thread: that of @ctx.  Lock: any.
 */
void vhost_dp_ifwatch_poll(VhostDPIfWatch *watch, bool poll);

/* @watch may be NULL */
void vhost_dp_ifwatch_free(VhostDPIfWatch *watch);

#endif /* NET_VHOST_DP_IFWATCH_H */
