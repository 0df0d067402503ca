/*
 * virtio-net: back ends that are a virtio-net data path within QEMU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VIRTIO_NET_BACKEND_H
#define NET_VIRTIO_NET_BACKEND_H

#include "net/net.h"

/* Counters of one queue.  They begin with the netdev and never go back. */
typedef struct VirtIONetQueueStats {
    uint64_t kicks;             /* notifications taken from the guest */
    uint64_t packets;
    uint64_t bytes;
    uint64_t calls;             /* notifications sent to the guest */
    uint64_t drops;             /* lost frames; "filtered" ones are not lost */
    /*
     * The part of @drops that the guest has caused: it had no buffers
     * (receive), or described the frames wrongly (transmit)
     */
    uint64_t guest_drops;
} VirtIONetQueueStats;

/*
 * VirtIONetBackend: what virtio-net asks and tells such a back end
 *
 * NetClientInfo.virtio_net of the back end's netdev.  The back end offers the
 * guest the same features with and without vhost, and takes part in vhost: it
 * has NetClientInfo.get_vhost_net.
 *
 * All functions are required and are called with the BQL held.  "@nc" is the
 * back end's client, the NIC's peer, of the queue pair that is meant.
 */
struct VirtIONetBackend {
    /**
     * @control_changed: the NIC has executed a command of its control queue
     *
     * Receive filter, queue pairs, RSS or offloads may have changed.  Not
     * called for changes before the NIC starts, see NetClientInfo.start.
     * @nc is the first queue pair.
     */
    void (*control_changed)(NetClientState *nc);

    /**
     * @reset_device: the device is reset
     *
     * Called while the device does not run.  Ends all violations of its
     * queues.  @nc is any of the queue pairs.
     */
    void (*reset_device)(NetClientState *nc);

    /**
     * @reset_queue: the guest resets one queue (VIRTIO_F_RING_RESET)
     * @index: the queue's number in the device
     *
     * When it returns nothing uses the ring any more, and virtio.c has the
     * state of the queue.  The queue or the device need not run.
     */
    void (*reset_queue)(NetClientState *nc, unsigned index);

    /**
     * @enable_queue: the guest enables one queue while the device runs
     * @index: the queue's number in the device
     *
     * If the queue cannot be started it stays reset, and the device asks the
     * guest for a reset.
     */
    void (*enable_queue)(NetClientState *nc, unsigned index);

    /**
     * @start_failed: vhost could not be started, and no queue runs
     * @err: why, a negative errno
     *
     * virtio-net does not fall back on its own data path.  The back end logs
     * the error, takes the NIC's link down by a bottom half, and sees to it
     * that there is another try.  @nc is the first queue pair.
     */
    void (*start_failed)(NetClientState *nc, int err);

    /**
     * @set_coalesce: how long notifications of a queue may be delayed
     * @tx: the transmit queue, and not the receive queue
     * @max_packets: the notification is due with so many packets
     * @max_usecs: or so many microseconds after the first of them
     *
     * If one of the two is zero there is no delay.  The device may be
     * running, and is not stopped.
     */
    void (*set_coalesce)(NetClientState *nc, bool tx, uint32_t max_packets,
                         uint32_t max_usecs);

    /**
     * @get_stats: read the counters of a queue
     * @tx: the transmit queue, and not the receive queue
     *
     * Waits for nobody.  The counters may differ from each other by the
     * frames of one burst, which goes on meanwhile.
     */
    void (*get_stats)(NetClientState *nc, bool tx, VirtIONetQueueStats *stats);
};

/**
 * virtio_net_backend: the functions of the back end that has @nc, or NULL
 * @nc: the peer of a NIC's client; may be NULL
 *
 * NULL if there is no back end, or it is none of this kind.
 */
static inline const VirtIONetBackend *
virtio_net_backend(const NetClientState *nc)
{
    return nc ? nc->info->virtio_net : NULL;
}

#endif /* NET_VIRTIO_NET_BACKEND_H */
