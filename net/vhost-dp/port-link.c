/*
 * vhost-dp: the link of a port
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the IOThread writes, the main loop reads, and neither
 * waits for more than a copied string.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "port-link.h"

void vhost_dp_port_link_init(PortLink *link)
{
    qemu_mutex_init(&link->lock);
}

void vhost_dp_port_link_destroy(PortLink *link)
{
    qemu_mutex_destroy(&link->lock);
    g_free(link->down);
    g_free(link->next);
    g_free(link->detached);
}

static bool link_set(PortLink *link, char **reason, const char *why)
{
    QEMU_LOCK_GUARD(&link->lock);
    if (!g_strcmp0(*reason, why)) {
        return false;
    }
    g_free(*reason);
    *reason = g_strdup(why);
    return true;
}

bool vhost_dp_port_link_set_down(PortLink *link, const char *why)
{
    return link_set(link, link->held ? &link->next : &link->down, why) &&
           !link->held;
}

void vhost_dp_port_link_hold(PortLink *link)
{
    QEMU_LOCK_GUARD(&link->lock);
    link->held = true;
    g_clear_pointer(&link->next, g_free);
}

bool vhost_dp_port_link_let_go(PortLink *link)
{
    QEMU_LOCK_GUARD(&link->lock);
    link->held = false;
    if (!g_strcmp0(link->down, link->next)) {
        g_clear_pointer(&link->next, g_free);
        return false;
    }
    g_free(link->down);
    link->down = g_steal_pointer(&link->next);
    return true;
}

bool vhost_dp_port_link_set_detached(PortLink *link, const char *why)
{
    return link_set(link, &link->detached, why);
}

bool vhost_dp_port_link_get(PortLink *link, char **reason)
{
    const char *why;

    QEMU_LOCK_GUARD(&link->lock);
    why = link->detached ?: link->down;
    if (reason) {
        *reason = g_strdup(why);
    }
    return !why;
}
