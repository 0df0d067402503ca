/*
 * vhost-dp: the netdev, for hw/net/virtio-net.c
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_NET_H
#define NET_VHOST_DP_NET_H

#include "net/net.h"

/**
 * vhost_dp_reset_device: the device is reset
 * @nc: of type NET_CLIENT_DRIVER_VHOST_DP: any of the device's queue pairs
 *
 * Lock: BQL.  The device does not run.  Its queues are not in error any more.
 */
void vhost_dp_reset_device(NetClientState *nc);

/**
 * vhost_dp_reset_queue: the guest resets one queue (VIRTIO_F_RING_RESET)
 * @nc: of type NET_CLIENT_DRIVER_VHOST_DP: the queue's pair
 * @index: the queue's number in the device
 *
 * Lock: BQL.  When it returns nothing touches the ring, and virtio.c has the
 * state of the queue.  Also for a queue, or a device, that does not run.
 */
void vhost_dp_reset_queue(NetClientState *nc, unsigned index);

/**
 * vhost_dp_enable_queue: the guest enables one queue while the device runs
 * @nc: of type NET_CLIENT_DRIVER_VHOST_DP: the queue's pair
 * @index: the queue's number in the device
 *
 * Lock: BQL.  A queue that cannot be started is left reset, and the device
 * asks for a reset.
 */
void vhost_dp_enable_queue(NetClientState *nc, unsigned index);

/**
 * vhost_dp_start_failed: vhost could not be started, and nothing of it runs
 * @nc: of type NET_CLIENT_DRIVER_VHOST_DP: the first queue pair
 * @err: why, a negative errno
 *
 * Says so in the log, and takes the NIC's link down soon.  It comes up for
 * another try after a second, and when set_link or the VM's start cause one.
 *
 * Lock: BQL.
 */
void vhost_dp_start_failed(NetClientState *nc, int err);

#endif /* NET_VHOST_DP_NET_H */
