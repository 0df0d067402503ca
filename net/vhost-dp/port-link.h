/*
 * vhost-dp: the link of a port
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the port's driver says of its interface, and whether there is a driver
 * at all.  Two reasons, as a driver keeps its word while it cannot be attached.
 * Thread: any, for everything but init and destroy.  Lock: any; its own is a
 * leaf.
 */

#ifndef NET_VHOST_DP_PORT_LINK_H
#define NET_VHOST_DP_PORT_LINK_H

#include "qemu/thread.h"

/* Private to port-link.c */
typedef struct PortLink {
    QemuMutex lock;
    char *down;                 /* why the driver's link is down, or NULL: up */
    char *detached;             /* why there is no driver, or NULL */
} PortLink;

void vhost_dp_port_link_init(PortLink *link);
void vhost_dp_port_link_destroy(PortLink *link);

/*
 * @why the driver's link is down, or NULL: it is up.  Returns whether that is
 * new; a new reason is, too, such as "deleted" after "down".
 */
bool vhost_dp_port_link_set_down(PortLink *link, const char *why);

/* @why no driver could be attached, or NULL: there is one.  As above. */
bool vhost_dp_port_link_set_detached(PortLink *link, const char *why);

/*
 * Is the link up?  If not, and @reason is not NULL, that is set to why, newly
 * allocated.
 */
bool vhost_dp_port_link_get(PortLink *link, char **reason);

#endif /* NET_VHOST_DP_PORT_LINK_H */
