/*
 * vhost-dp: the link of a port
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The link is down when the driver says so of its interface, or when the driver
 * could not be attached.  The two reasons are kept apart: what the driver said
 * still holds when a later attach succeeds.
 * Thread: any, except for init and destroy.  Lock: any; the link's own lock is
 * a leaf.
 */

#ifndef NET_VHOST_DP_PORT_LINK_H
#define NET_VHOST_DP_PORT_LINK_H

#include "qemu/thread.h"

/* Private to port-link.c */
typedef struct PortLink {
    QemuMutex lock;
    bool held;                  /* changes are noted in @next; the IOThread's */
    char *down;                 /* why the driver's link is down, or NULL: up */
    char *next;
    char *detached;             /* why there is no driver, or NULL */
} PortLink;

void vhost_dp_port_link_init(PortLink *link);
void vhost_dp_port_link_destroy(PortLink *link);

/*
 * Sets why the driver's link is down; @why == NULL: it is up.  Returns true if
 * the state or the reason is new, such as "deleted" after "down".
 */
bool vhost_dp_port_link_set_down(PortLink *link, const char *why);

/*
 * The port moves to another driver: what the link was is what it is, until
 * vhost_dp_port_link_let_go(), and then what was set since, or up.  That
 * returns true if this is new.  A second call of _hold() forgets what was set.
 * Thread: the port's IOThread.
 */
void vhost_dp_port_link_hold(PortLink *link);
bool vhost_dp_port_link_let_go(PortLink *link);

/*
 * Sets why the driver could not be attached; @why == NULL: it is attached.
 * Returns true if that is new.
 */
bool vhost_dp_port_link_set_detached(PortLink *link, const char *why);

/*
 * Is the link up?  @reason: if not NULL, set to why it is down, newly
 * allocated, or to NULL if it is up.
 */
bool vhost_dp_port_link_get(PortLink *link, char **reason);

#endif /* NET_VHOST_DP_PORT_LINK_H */
