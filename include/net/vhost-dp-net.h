/*
 * vhost-dp: the netdev, for hw/net/vhost_net.c
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_NET_H
#define NET_VHOST_DP_NET_H

#include "net/net.h"

struct vhost_net;

/**
 * vhost_dp_get_vhost_net: the vhost device of one queue pair
 * @nc: of type NET_CLIENT_DRIVER_VHOST_DP
 *
 * Lock: BQL.  Returns NULL while the netdev is being created or deleted.
 */
struct vhost_net *vhost_dp_get_vhost_net(NetClientState *nc);

#endif /* NET_VHOST_DP_NET_H */
