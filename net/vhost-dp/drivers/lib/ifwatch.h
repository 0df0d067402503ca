/*
 * vhost-dp: the state of the host's network interfaces
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A driver object has one watch while it is open.  The watch calls the driver's
 * look() when the kernel has reported a change of the driver's interface, when
 * a queue pair could not send, or when it is time to try again.  look() runs in
 * a thread that all watches of the process share.  There the driver may make
 * system calls that wait for the kernel's RTNL lock, which other programs may
 * hold for 150 ms while they make or delete interfaces.  An IOThread that moves
 * frames must not make such calls, and a holder of the BQL only in open and
 * close.
 *
 * look() publishes the state that it finds.  A bottom half in the AioContext of
 * each queue pair reports it; other code reads what was published last.
 */

#ifndef NET_VHOST_DP_DRIVERS_LIB_IFWATCH_H
#define NET_VHOST_DP_DRIVERS_LIB_IFWATCH_H

#include <linux/netlink.h>
#include <net/if.h>
#include "qemu/aio.h"

typedef enum VhostDPIfState {
    VHOST_DP_IF_GONE,           /* there is no such interface */
    VHOST_DP_IF_DOWN,           /* set down by the administrator */
    VHOST_DP_IF_NO_CARRIER,     /* no cable, or the peer is down */
    VHOST_DP_IF_UP,
} VhostDPIfState;

/**
 * vhost_dp_if_state: look up an interface by its name
 * @sock: any socket; the interface is looked for in its network namespace
 * @ifindex: if not NULL, set to the interface's number, or to 0; then errno
 *           says why
 *
 * Thread: one that may wait: the watch's, or that of open.  Lock: none.
 *
 * Returns VHOST_DP_IF_UP also if the kernel has no answer (ENOMEM): a link that
 * goes down by mistake would stay down until the next change.
 */
VhostDPIfState vhost_dp_if_state(int sock, const char *ifname, int *ifindex);

/**
 * vhost_dp_if_name: look up an interface's name by its number
 * @sock: any socket; the interface is looked for in its network namespace
 * @name: set to the name, IFNAMSIZ bytes, if there is one
 *
 * Thread: as vhost_dp_if_state().  Returns false if there is none.
 */
bool vhost_dp_if_name(int sock, int ifindex, char *name);

/**
 * vhost_dp_if_reason: make the reason for vhost_dp_port_set_link()
 *
 * Returns newly allocated memory, or NULL if @state is VHOST_DP_IF_UP.
 */
char *vhost_dp_if_reason(VhostDPIfState state, const char *ifname);

/**
 * vhost_dp_if_tap_queues: count the open queues of a tap interface
 * @nl: a netlink socket (NETLINK_ROUTE) that is not subscribed to anything;
 *      the interface is looked for in its network namespace
 * @n: set to the number of queues, those that are detached included
 *
 * Thread: as vhost_dp_if_state().  Returns false if there is no such interface,
 * or the kernel does not tell (before Linux 4.20, and for macvtap).
 */
bool vhost_dp_if_tap_queues(int nl, const char *ifname, unsigned *n);

/*
 * Is message @nh, whose length was checked, about the interface with the number
 * @ifindex or, if that is 0, about one with the name @ifname?  Makes no system
 * call.
 */
bool vhost_dp_if_is_meant(const struct nlmsghdr *nh, int ifindex,
                          const char *ifname);

/* Are two sockets in one network namespace?  False if that is not known. */
bool vhost_dp_if_same_netns(int a, int b);

/* ---- Watching ---- */

typedef struct VhostDPIfWatch VhostDPIfWatch;

/**
 * vhost_dp_ifwatch_new: make a watch for a driver that is being opened
 * @queue_pairs: how many queue pairs call vhost_dp_ifwatch_attach()
 * @look: looks at the interface.  It has to call one of the
 *        vhost_dp_ifwatch_follow functions first, so that later changes are
 *        reported, then look, and then call vhost_dp_ifwatch_publish().  It
 *        must not take the BQL.
 *
 * @look is called for the first time before this function returns, by the
 * calling thread, and by one thread at a time.
 *
 * Lock: BQL; the first look may wait, as open may.  Waits for no other watch.
 * Returns NULL with @errp set if there is no thread or descriptor left.
 */
VhostDPIfWatch *vhost_dp_ifwatch_new(unsigned queue_pairs,
                                     void (*look)(VhostDPIfWatch *watch,
                                                  void *opaque),
                                     void *opaque, Error **errp);

/*
 * Frees a watch to which no queue pair is attached.  Waits for a look of this
 * watch that has begun, and for no other watch; @look is not called any more.
 * @watch may be NULL.  Lock: BQL.
 */
void vhost_dp_ifwatch_free(VhostDPIfWatch *watch);

/*
 * Call @look soon, and report to the queue pairs what it publishes, even if
 * nothing is new.  Thread and lock: any.
 */
void vhost_dp_ifwatch_look(VhostDPIfWatch *watch);

/*
 * Call @fn in the watch's thread, possibly after vhost_dp_ifwatch_free(), so
 * @opaque must not belong to the driver.  Thread and lock: any.
 */
void vhost_dp_ifwatch_run(VhostDPIfWatch *watch, void (*fn)(void *opaque),
                          void *opaque);

/**
 * vhost_dp_ifwatch_attach: have @changed called after a state was published
 * @ctx: the AioContext of the calling thread, in which @changed is called
 *
 * The caller reads once by itself what was published before.  Lock: none.
 */
void vhost_dp_ifwatch_attach(VhostDPIfWatch *watch, unsigned pair,
                             AioContext *ctx, void (*changed)(void *opaque),
                             void *opaque);

/* Thread: that of vhost_dp_ifwatch_attach().  Lock: none. */
void vhost_dp_ifwatch_detach(VhostDPIfWatch *watch, unsigned pair);

/**
 * vhost_dp_ifwatch_read: return the state that was published last
 * @name: set to the interface's name, IFNAMSIZ bytes, if not NULL
 * @reason: set to why the link is down, newly allocated, or to NULL; if not
 * NULL
 *
 * Makes no system call.  Thread and lock: any.
 */
VhostDPIfState vhost_dp_ifwatch_read(VhostDPIfWatch *watch, char *name,
                                     char **reason);

/* ---- Called by look() only ---- */

/**
 * vhost_dp_ifwatch_publish: publish the interface's state
 * @name: the interface's name
 * @reason: why frames cannot be moved; NULL if they can.  Copied.
 *
 * Reported to the queue pairs if anything is new, or if one of them has called
 * vhost_dp_ifwatch_look().
 */
void vhost_dp_ifwatch_publish(VhostDPIfWatch *watch, VhostDPIfState state,
                              const char *name, const char *reason);

/* Report the state to the queue pairs even if nothing is new */
void vhost_dp_ifwatch_tell(VhostDPIfWatch *watch);

/* Follow messages about interface @ifindex only; 0: none */
void vhost_dp_ifwatch_follow(VhostDPIfWatch *watch, int ifindex);

/* Follow messages about interfaces with the name @name only */
void vhost_dp_ifwatch_follow_name(VhostDPIfWatch *watch, const char *name);

/*
 * The kernel sends no messages about this interface: look once a second, until
 * one of the functions above is called.
 */
void vhost_dp_ifwatch_follow_clock(VhostDPIfWatch *watch);

/* Look again in @ms milliseconds, or earlier for another reason */
void vhost_dp_ifwatch_look_in(VhostDPIfWatch *watch, int64_t ms);

/**
 * vhost_dp_ifwatch_enter: watch in another network namespace from now on
 * @netns: a descriptor of the namespace, which is closed; or -1 for QEMU's own,
 *         which is the initial one
 *
 * Returns false if there are not enough privileges or descriptors.  Then the
 * watch is in QEMU's own namespace.
 */
bool vhost_dp_ifwatch_enter(VhostDPIfWatch *watch, int netns);

/* Returns a socket of the watched namespace, for vhost_dp_if_state() */
int vhost_dp_ifwatch_sock(VhostDPIfWatch *watch);

#endif /* NET_VHOST_DP_DRIVERS_LIB_IFWATCH_H */
