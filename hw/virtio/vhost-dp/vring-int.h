/*
 * vhost-dp: what the ring formats share (vring*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A format finds descriptors and copies them; what a descriptor may say, and
 * how its buffer gets into a burst, is the same for all and is here.  These
 * functions are the innermost loop of a format's pop, so they are inline.
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

typedef enum VringResult {
    VRING_OK,
    VRING_EMPTY,                /* the driver made no more available */
    VRING_FULL,                 /* no room in the burst: leave the chain */
    VRING_BAD,                  /* the queue is broken */
} VringResult;

static inline VringResult vring_bad(VhostDPVring *vq, VhostDPViolation why)
{
    vhost_dp_vring_violation(vq, why);
    return VRING_BAD;
}

/* Map a part of the ring: all of it in one piece of RAM */
bool vring_map_part(VhostDPMemory *mem, VhostDPRingPart *part, uint64_t size,
                    uint64_t align);

/* Forget where the parts of the ring are */
void vring_unmap(VhostDPVring *vq);

/* Copy @len bytes from guest memory that may be cut by region boundaries */
bool vring_read(VhostDPVring *vq, VhostDPMemory *mem, uint64_t gpa, void *buf,
                uint64_t len);

/* Begin with an empty chain, behind what is in @burst */
static inline void vring_begin_chain(VhostDPBurst *burst, VhostDPChain *chain)
{
    chain->nsegs = 0;
    chain->len = 0;
    chain->iov = &burst->iov[burst->nsegs];
    chain->region = &burst->region[burst->nsegs];
}

/* Add a buffer to @chain, cut at region boundaries */
static inline VringResult vring_add_buffer(VhostDPVring *vq,
                                           VhostDPMemory *mem,
                                           VhostDPBurst *burst,
                                           VhostDPChain *chain,
                                           uint64_t gpa, uint32_t len)
{
    unsigned *hit = chain->nsegs ? &vq->hit_data : &vq->hit_first;

    if (len > UINT32_MAX - chain->len) {
        return vring_bad(vq, VHOST_DP_VIOLATION_CHAIN_LENGTH);
    }
    chain->len += len;
    while (len) {
        VhostDPRegion *region;
        uint64_t n = len;
        void *host;

        if (chain->nsegs == VHOST_DP_VRING_MAX_SEGS) {
            return vring_bad(vq, VHOST_DP_VIOLATION_CHAIN_SEGMENTS);
        }
        if (burst->nsegs == ARRAY_SIZE(burst->iov)) {
            return VRING_FULL;
        }
        host = vhost_dp_memory_map(mem, hit, gpa, &n, &region);
        if (!host) {
            return vring_bad(vq, VHOST_DP_VIOLATION_BUFFER_ADDRESS);
        }
        burst->iov[burst->nsegs].iov_base = host;
        burst->iov[burst->nsegs].iov_len = n;
        burst->region[burst->nsegs] = region;
        burst->nsegs++;
        chain->nsegs++;
        gpa += n;
        len -= n;
    }
    return VRING_OK;
}

/*
 * Check a descriptor that refers to a buffer, and add the buffer if it is of
 * the queue's direction.  @seen_writable is false before a chain's first.
 */
static inline VringResult vring_take_desc(VhostDPVring *vq, VhostDPMemory *mem,
                                          VhostDPBurst *burst,
                                          VhostDPChain *chain,
                                          uint64_t gpa, uint32_t len,
                                          uint16_t flags, bool *seen_writable)
{
    bool writable = flags & VRING_DESC_F_WRITE;

    if (*seen_writable && !writable) {
        return vring_bad(vq, VHOST_DP_VIOLATION_DESCRIPTOR_ORDER);
    }
    *seen_writable = writable;
    if (len == 0) {
        return vring_bad(vq, VHOST_DP_VIOLATION_ZERO_LENGTH);
    }
    if (gpa + len < gpa) {
        return vring_bad(vq, VHOST_DP_VIOLATION_BUFFER_ADDRESS);
    }
    if (writable != vq->writable) {
        return VRING_OK;
    }
    return vring_add_buffer(vq, mem, burst, chain, gpa, len);
}

/* Check an indirect table; its descriptors have 16 bytes in every format */
static inline VringResult vring_check_table(VhostDPVring *vq, uint64_t gpa,
                                            uint32_t len)
{
    QEMU_BUILD_BUG_ON(sizeof(struct vring_desc) !=
                      sizeof(struct vring_packed_desc));

    if (len == 0 || len % sizeof(struct vring_desc)) {
        return vring_bad(vq, VHOST_DP_VIOLATION_INDIRECT_SIZE);
    }
    if (gpa + len < gpa) {
        return vring_bad(vq, VHOST_DP_VIOLATION_TABLE_ADDRESS);
    }
    return VRING_OK;
}

/* After the last descriptor */
static inline VringResult vring_end_chain(VhostDPVring *vq,
                                          const VhostDPChain *chain)
{
    if (!chain->nsegs) {
        return vring_bad(vq, VHOST_DP_VIOLATION_NO_BUFFER);
    }
    return VRING_OK;
}

#endif /* HW_VIRTIO_VHOST_DP_VRING_INT_H */
