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
    char *down;                 /* why the driver's link is down, or NULL: up */
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
