/*
 * virtio-net: notification coalescing (virtio 1.3, 5.1.6.5.9)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the driver asked for by VIRTIO_NET_F_NOTF_COAL and
 * VIRTIO_NET_F_VQ_NOTF_COAL: how long the device may delay the used buffer
 * notifications of each virtqueue.  The back end delays them; one that cannot
 * does not get the features.
 *
 * Lock: the BQL, for all functions.
 */

#ifndef HW_VIRTIO_VIRTIO_NET_COALESCE_H
#define HW_VIRTIO_VIRTIO_NET_COALESCE_H

#include "migration/vmstate.h"

typedef struct VirtIONet VirtIONet;

/* If one of them is zero, notifications are not delayed */
typedef struct VirtIONetCoal {
    uint32_t max_packets;
    uint32_t max_usecs;
} VirtIONetCoal;

enum { VIRTIO_NET_COAL_RX, VIRTIO_NET_COAL_TX, VIRTIO_NET_COAL_DIRECTIONS };

typedef struct VirtIONetCoalesce {
    /* By RX_SET and TX_SET: what a virtqueue has that is enabled again */
    VirtIONetCoal all[VIRTIO_NET_COAL_DIRECTIONS];
    /* What is in effect, by the number of the receive or transmit virtqueue */
    VirtIONetCoal *queue;
    uint16_t nqueues;
} VirtIONetCoalesce;

/**
 * virtio_net_check_back_end: are a control queue and vhost-dp there?
 * @property: that needs them, for the message
 *
 * Before the device is realized.  Returns false with @errp set if not.
 */
bool virtio_net_check_back_end(const VirtIONet *n, const char *property,
                               Error **errp);

/**
 * virtio_net_coalesce_check: can the back end do what the properties ask for?
 *
 * Before the device is realized.  Returns false with @errp set if notf_coal=on
 * or vq_notf_coal=on cannot be had.
 */
bool virtio_net_coalesce_check(const VirtIONet *n, Error **errp);

/* When the number of queue pairs is known, and at the device's end */
void virtio_net_coalesce_init(VirtIONet *n);
void virtio_net_coalesce_free(VirtIONet *n);

/* The device is reset: all parameters are zero */
void virtio_net_coalesce_reset(VirtIONet *n);

/* A receive or transmit virtqueue is reset (VIRTIO_F_RING_RESET) */
void virtio_net_coalesce_reset_queue(VirtIONet *n, unsigned index);

/* The back end is about to be started: tell it all parameters */
void virtio_net_coalesce_start(VirtIONet *n);

/**
 * virtio_net_handle_coalesce: a command of class VIRTIO_NET_CTRL_NOTF_COAL
 * @iov, @iov_cnt: command-specific data
 * @in_sg, @in_num: the device-writable part; its first byte is the ack
 * @result: raised by the number of bytes that were written behind the ack
 *
 * Returns VIRTIO_NET_OK, or VIRTIO_NET_ERR; then nothing has changed.
 */
int virtio_net_handle_coalesce(VirtIONet *n, uint8_t cmd,
                               const struct iovec *iov, unsigned iov_cnt,
                               const struct iovec *in_sg, unsigned in_num,
                               size_t *result);

extern const VMStateDescription vmstate_virtio_net_coalesce;

#endif /* HW_VIRTIO_VIRTIO_NET_COALESCE_H */
