/*
 * virtio-net: device statistics (virtio 1.4, 5.1.6.5.11)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What VIRTIO_NET_F_DEVICE_STATS tells the guest.  The counters of receive and
 * transmit virtqueues are the back end's; one that has none does not get the
 * feature.
 *
 * Lock: the BQL, for all functions.
 */

#ifndef HW_VIRTIO_VIRTIO_NET_STATS_H
#define HW_VIRTIO_VIRTIO_NET_STATS_H

typedef struct VirtIONet VirtIONet;

/* Counters of the control queue.  A reset of the device does not clear them. */
typedef struct VirtIONetStats {
    uint64_t commands;
    uint64_t commands_ok;
} VirtIONetStats;

/**
 * virtio_net_stats_check: can the back end do what the property asks for?
 *
 * Before the device is realized.  Returns false with @errp set if
 * device_stats=on cannot be had.
 */
bool virtio_net_stats_check(const VirtIONet *n, Error **errp);

/* The control queue has answered a command with @ack */
void virtio_net_stats_count(VirtIONet *n, uint8_t ack);

/**
 * virtio_net_handle_stats: a command of class VIRTIO_NET_CTRL_STATS
 * @iov, @iov_cnt: command-specific data
 * @in_sg, @in_num: the device-writable part; its first byte is the ack
 * @result: raised by the number of bytes that were written behind the ack
 *
 * Returns VIRTIO_NET_OK, or VIRTIO_NET_ERR; then nothing was written.
 */
int virtio_net_handle_stats(VirtIONet *n, uint8_t cmd, const struct iovec *iov,
                            unsigned iov_cnt, const struct iovec *in_sg,
                            unsigned in_num, size_t *result);

#endif /* HW_VIRTIO_VIRTIO_NET_STATS_H */
