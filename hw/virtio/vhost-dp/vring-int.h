/*
 * vhost-dp: what the ring formats share (vring*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vring-access.h has what the loops of both formats share.
 */

#ifndef HW_VIRTIO_VHOST_DP_VRING_INT_H
#define HW_VIRTIO_VHOST_DP_VRING_INT_H

#include "qemu/bswap.h"
#include "hw/virtio/vhost-dp-vring.h"
#include "standard-headers/linux/virtio_ring.h"

/* Convert a value from the driver's byte order to the host's, or back */
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

/* Are the address and the alignment of a part of a ring valid? */
bool vhost_dp_vring_check_part(const VhostDPRingPart *part, uint64_t size,
                               uint64_t align);

/* Map a part of a ring.  False: it is not in RAM as one piece. */
bool vhost_dp_vring_map_part(VhostDPMemory *mem, VhostDPRingPart *part,
                             uint64_t size);

/* Drop the host pointers of all parts of a ring */
void vhost_dp_vring_unmap(VhostDPVring *vq);

#endif /* HW_VIRTIO_VHOST_DP_VRING_INT_H */
