/*
 * vhost-dp: what the ring formats share (vring*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the loops of a format share is in vring-access.h.
 */

#ifndef HW_VIRTIO_VHOST_DP_VRING_INT_H
#define HW_VIRTIO_VHOST_DP_VRING_INT_H

#include "qemu/bswap.h"
#include "hw/virtio/vhost-dp-vring.h"
#include "standard-headers/linux/virtio_ring.h"

/* A value of the driver's, to or from the host's byte order */
static inline uint16_t vring16(const VhostDPVring *vq, uint16_t v)
{
    return unlikely(vq->swap) ? bswap16(v) : v;
}

static inline uint32_t vring32(const VhostDPVring *vq, uint32_t v)
{
    return unlikely(vq->swap) ? bswap32(v) : v;
}

static inline uint64_t vring64(const VhostDPVring *vq, uint64_t v)
{
    return unlikely(vq->swap) ? bswap64(v) : v;
}

/* May a part of the ring be where it is, whatever is there? */
bool vhost_dp_vring_check_part(const VhostDPRingPart *part, uint64_t size,
                               uint64_t align);

/* Map a part of the ring: all of it in one piece of RAM */
bool vhost_dp_vring_map_part(VhostDPMemory *mem, VhostDPRingPart *part,
                             uint64_t size);

/* Forget where the parts of the ring are */
void vhost_dp_vring_unmap(VhostDPVring *vq);

#endif /* HW_VIRTIO_VHOST_DP_VRING_INT_H */
