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
 * Called while the device does not run.  Ends all violations of its queues.
 * Lock: BQL.
 */
void vhost_dp_reset_device(NetClientState *nc);

/**
 * vhost_dp_reset_queue: the guest resets one queue (VIRTIO_F_RING_RESET)
 * @nc: of type NET_CLIENT_DRIVER_VHOST_DP: the queue's pair
 * @index: the queue's number in the device
 *
 * When it returns nothing uses the ring any more, and virtio.c has the state
 * of the queue.  The queue or the device need not run.  Lock: BQL.
 */
void vhost_dp_reset_queue(NetClientState *nc, unsigned index);

/**
 * vhost_dp_enable_queue: the guest enables one queue while the device runs
 * @nc: of type NET_CLIENT_DRIVER_VHOST_DP: the queue's pair
 * @index: the queue's number in the device
 *
 * If the queue cannot be started it stays reset, and the device asks the guest
 * for a reset.  Lock: BQL.
 */
void vhost_dp_enable_queue(NetClientState *nc, unsigned index);

/**
 * vhost_dp_set_coalesce: say how long notifications of a queue may be delayed
 * @nc: of type NET_CLIENT_DRIVER_VHOST_DP: the queue's pair
 * @tx: the transmit queue, and not the receive queue
 * @max_packets: the notification is due with so many packets
 * @max_usecs: or so many microseconds after the first of them
 *
 * If one of the two is zero there is no delay.
 * Lock: BQL.  The device may be running, and is not stopped.
 */
void vhost_dp_set_coalesce(NetClientState *nc, bool tx, uint32_t max_packets,
                           uint32_t max_usecs);

/* Counters of one queue.  They begin with the netdev and never go back. */
typedef struct VhostDPNetStats {
    uint64_t kicks;             /* notifications taken from the guest */
    uint64_t packets;
    uint64_t bytes;
    uint64_t calls;             /* notifications sent to the guest */
    uint64_t drops;             /* lost frames, without "filtered" ones */
    /*
     * Those of @drops that the guest has caused: it was too slow to take them
     * (receive), or it described them wrongly (transmit)
     */
    uint64_t guest_drops;
} VhostDPNetStats;

/**
 * vhost_dp_get_stats: read the counters of a queue
 * @nc: of type NET_CLIENT_DRIVER_VHOST_DP: the queue's pair
 * @tx: the transmit queue, and not the receive queue
 *
 * Waits for nobody.  The counters may differ from each other by the frames of
 * one burst, which goes on meanwhile.  Lock: BQL.
 */
void vhost_dp_get_stats(NetClientState *nc, bool tx, VhostDPNetStats *stats);

/**
 * vhost_dp_start_failed: vhost could not be started, and no queue runs
 * @nc: of type NET_CLIENT_DRIVER_VHOST_DP: the first queue pair
 * @err: why, a negative errno
 *
 * Logs the error, and takes the NIC's link down by a bottom half.  The link
 * comes up for another try after one second; set_link and the start of the VM
 * cause a try, too.
 *
 * Lock: BQL.
 */
void vhost_dp_start_failed(NetClientState *nc, int err);

#endif /* NET_VHOST_DP_NET_H */
