/*
 * vhost-dp: the state of the host's network interfaces
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A driver object has one watch while it is open.  The watch calls the driver's
 * look() in a thread of its own, which all watches of the process share, when
 * there is a reason to: the kernel told of a change of the driver's interface,
 * a queue pair could not send, or it is time to try again.  There the driver
 * may make system calls that wait for the kernel's RTNL lock, which others may
 * hold for 150 ms while they make or delete interfaces; neither an IOThread
 * that moves frames nor a holder of the BQL may, but in open and close.
 *
 * What look() finds it publishes.  The queue pairs are told by a bottom half in
 * their AioContexts; whoever else wants to know reads what was published.
 */

#ifndef NET_VHOST_DP_DRIVERS_LIB_IFWATCH_H
#define NET_VHOST_DP_DRIVERS_LIB_IFWATCH_H

#include <linux/netlink.h>
#include <net/if.h>
#include "qemu/aio.h"

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
 * Thread: any that may wait: the watch's, or the caller of open.  Lock: none.
 *
 * Returns VHOST_DP_IF_UP also where the kernel does not tell (ENOMEM): a link
 * that went down by mistake would wait for a change that does not come.
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
 * vhost_dp_if_reason: why no frames can be moved, for vhost_dp_port_set_link
 *
 * Returns: newly allocated; NULL if @state is VHOST_DP_IF_UP.
 */
char *vhost_dp_if_reason(VhostDPIfState state, const char *ifname);

/**
 * vhost_dp_if_tap_queues: how many queues of a tap interface are open
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
 * @ifindex; or, if that is 0, about one that is called @ifname?  Makes no
 * system call.
 */
bool vhost_dp_if_is_meant(const struct nlmsghdr *nh, int ifindex,
                          const char *ifname);

/*
 * Are two sockets of one network namespace?  False if the kernel does not say
 */
bool vhost_dp_if_same_netns(int a, int b);

/* ---- Watching ---- */

typedef struct VhostDPIfWatch VhostDPIfWatch;

/**
 * vhost_dp_ifwatch_new: begin to watch for a driver that is being opened
 * @queue_pairs: how many may call vhost_dp_ifwatch_attach()
 * @look: see above.  Before it looks at the state it has to call one of the
 *        vhost_dp_ifwatch_follow functions, so that a change after that is
 *        reported, and then vhost_dp_ifwatch_publish().  It must not take the
 *        BQL.
 *
 * @look is called for the first time by the calling thread, before the return,
 * and by one thread at a time.
 *
 * Lock: BQL, for whose holder the first look may wait as open does.  Waits for
 * no other watch.  Returns NULL with @errp set if there is no thread or
 * descriptor for it.
 */
VhostDPIfWatch *vhost_dp_ifwatch_new(unsigned queue_pairs,
                                     void (*look)(VhostDPIfWatch *watch,
                                                  void *opaque),
                                     void *opaque, Error **errp);

/*
 * Returns when @look does not run, and will not again: waits for a look of this
 * watch that has begun, and for no other.  No queue pair is attached.  @watch
 * may be NULL, and is not to be used any more.  Lock: BQL.
 */
void vhost_dp_ifwatch_free(VhostDPIfWatch *watch);

/*
 * Call @look soon, and tell the queue pairs what it publishes, even if nothing
 * is new.  Thread and lock: any.
 */
void vhost_dp_ifwatch_look(VhostDPIfWatch *watch);

/*
 * Call @fn in the watch's thread.  That may be after vhost_dp_ifwatch_free(),
 * so @opaque must not belong to the driver.  Thread and lock: any.
 */
void vhost_dp_ifwatch_run(VhostDPIfWatch *watch, void (*fn)(void *opaque),
                          void *opaque);

/**
 * vhost_dp_ifwatch_attach: have @changed called when something was published
 * @ctx: the AioContext of the calling thread, in which it is called
 *
 * The caller reads what was published before once itself.  Lock: none.
 */
void vhost_dp_ifwatch_attach(VhostDPIfWatch *watch, unsigned pair,
                             AioContext *ctx, void (*changed)(void *opaque),
                             void *opaque);

/* Thread: that of vhost_dp_ifwatch_attach().  Lock: none. */
void vhost_dp_ifwatch_detach(VhostDPIfWatch *watch, unsigned pair);

/**
 * vhost_dp_ifwatch_read: what was published last
 * @name: set to the interface's name, IFNAMSIZ bytes, if not NULL
 * @reason: set to why the link is down, newly allocated, or to NULL; if not
 * NULL
 *
 * Makes no system call.  Thread and lock: any.
 */
VhostDPIfState vhost_dp_ifwatch_read(VhostDPIfWatch *watch, char *name,
                                     char **reason);

/* ---- For look(), and called by it alone ---- */

/**
 * vhost_dp_ifwatch_publish: say how it is
 * @name: of the interface
 * @reason: why frames cannot be moved; NULL if they can.  Copied.
 *
 * Queue pairs are told if that is new, or if one of them has asked.
 */
void vhost_dp_ifwatch_publish(VhostDPIfWatch *watch, VhostDPIfState state,
                              const char *name, const char *reason);

/* Tell the queue pairs even if nothing is new */
void vhost_dp_ifwatch_tell(VhostDPIfWatch *watch);

/* Messages of interface @ifindex are of interest, and no others; 0: none */
void vhost_dp_ifwatch_follow(VhostDPIfWatch *watch, int ifindex);

/* Messages of interfaces called @name are of interest, and no others */
void vhost_dp_ifwatch_follow_name(VhostDPIfWatch *watch, const char *name);

/*
 * The kernel sends no messages about this interface: look once a second, until
 * one of the functions above is called.
 */
void vhost_dp_ifwatch_follow_clock(VhostDPIfWatch *watch);

/* Look again in @ms milliseconds, if there is no reason before */
void vhost_dp_ifwatch_look_in(VhostDPIfWatch *watch, int64_t ms);

/**
 * vhost_dp_ifwatch_enter: watch in another network namespace from now on
 * @netns: a descriptor of the namespace, which is closed; or -1 for QEMU's own,
 *         where a watch begins
 *
 * Returns false if that is not possible, for want of privileges or descriptors.
 * Then the namespace is QEMU's own.
 */
bool vhost_dp_ifwatch_enter(VhostDPIfWatch *watch, int netns);

/* A socket of the namespace that is being watched, for vhost_dp_if_state() */
int vhost_dp_ifwatch_sock(VhostDPIfWatch *watch);

#endif /* NET_VHOST_DP_DRIVERS_LIB_IFWATCH_H */
