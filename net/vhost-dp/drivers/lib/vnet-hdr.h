/*
 * vhost-dp: a frame's offload metadata, as a virtio-net header
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For drivers that exchange virtio-net headers with the host: TAP
 * (TUNSETVNETLE), PACKET_VNET_HDR, and virtqueues.  The first ten bytes are the
 * same in all kinds of headers (virtio 1.3, 5.1.6).
 *
 * Thread: any.  Lock: none.
 */

#ifndef NET_VHOST_DP_DRIVERS_LIB_VNET_HDR_H
#define NET_VHOST_DP_DRIVERS_LIB_VNET_HDR_H

#include "qemu/bswap.h"
#include "net/vhost-dp.h"
#include "standard-headers/linux/virtio_net.h"

/* The byte order of a header */
typedef enum VhostDPVnetHdrOrder {
    VHOST_DP_VNET_HDR_HOST,
    VHOST_DP_VNET_HDR_LE,       /* little-endian */
} VhostDPVnetHdrOrder;

static inline uint16_t vhost_dp_vnet_hdr_swap(uint16_t value,
                                              VhostDPVnetHdrOrder order)
{
    return order == VHOST_DP_VNET_HDR_LE ? cpu_to_le16(value) : value;
}

/**
 * vhost_dp_vnet_hdr_put: write the metadata of @frame to @hdr
 */
static inline void vhost_dp_vnet_hdr_put(struct virtio_net_hdr *hdr,
                                         const VhostDPFrame *frame,
                                         VhostDPVnetHdrOrder order)
{
    memset(hdr, 0, sizeof(*hdr));
    if (likely(!frame->flags && !frame->gso_type)) {
        return;
    }
    hdr->flags = frame->flags;
    hdr->gso_type = frame->gso_type;
    hdr->hdr_len = vhost_dp_vnet_hdr_swap(frame->hdr_len, order);
    hdr->gso_size = vhost_dp_vnet_hdr_swap(frame->gso_size, order);
    hdr->csum_start = vhost_dp_vnet_hdr_swap(frame->csum_start, order);
    hdr->csum_offset = vhost_dp_vnet_hdr_swap(frame->csum_offset, order);
}

/**
 * vhost_dp_vnet_hdr_get: read the metadata of @frame from @hdr
 * @hdr: in private memory
 * @frame: its @len is set
 *
 * Returns false if the header does not fit a frame of that length.
 */
static inline bool vhost_dp_vnet_hdr_get(const struct virtio_net_hdr *hdr,
                                         VhostDPFrame *frame,
                                         VhostDPVnetHdrOrder order)
{
    frame->flags = hdr->flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM |
                                 VIRTIO_NET_HDR_F_DATA_VALID);
    frame->gso_type = hdr->gso_type;
    if (likely(!frame->flags && !frame->gso_type)) {
        return true;
    }
    frame->hdr_len = vhost_dp_vnet_hdr_swap(hdr->hdr_len, order);
    frame->gso_size = vhost_dp_vnet_hdr_swap(hdr->gso_size, order);
    frame->csum_start = vhost_dp_vnet_hdr_swap(hdr->csum_start, order);
    frame->csum_offset = vhost_dp_vnet_hdr_swap(hdr->csum_offset, order);
    if (frame->gso_type && !frame->gso_size) {
        return false;
    }
    return !(frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
           (uint32_t)frame->csum_start + frame->csum_offset +
           sizeof(uint16_t) <= frame->len;
}

#endif /* NET_VHOST_DP_DRIVERS_LIB_VNET_HDR_H */
