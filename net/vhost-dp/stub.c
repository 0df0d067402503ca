/*
 * vhost-dp: for targets without virtio-net
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/coroutine.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-vhost-dp.h"
#include "monitor/hmp.h"
#include "net/clients.h"

int net_init_vhost_dp(const Netdev *opts, const char *name,
                      NetClientState *peer, Error **errp)
{
    error_setg(errp, "vhost-dp needs virtio-net, which this target lacks");
    return -1;
}

VhostDPInfoList *qmp_query_vhost_dp(Error **errp)
{
    return NULL;
}

void hmp_info_vhost_dp(Monitor *mon, const QDict *qdict)
{
}

void coroutine_fn qmp_vhost_dp_set_driver(const char *id, const char *driver,
                                          bool has_announce, bool announce,
                                          Error **errp)
{
    error_setg(errp, "vhost-dp needs virtio-net, which this target lacks");
}

void coroutine_fn hmp_vhost_dp_set_driver(Monitor *mon, const QDict *qdict)
{
}
