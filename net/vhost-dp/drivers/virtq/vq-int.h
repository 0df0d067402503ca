/*
 * vhost-dp: driver-side rings, split and packed (vq*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The innermost loops of vq.c, so they are inline.  What is made available is
 * one descriptor each: for a buffer, or for several that are side by side, by
 * the number of the first.
 *
 * Split: descriptor i of the table is for what begins with buffer i.  Packed:
 * descriptors are used in ring order; the buffer id is that number.
 */

#ifndef NET_VHOST_DP_DRIVERS_VIRTQ_VQ_INT_H
#define NET_VHOST_DP_DRIVERS_VIRTQ_VQ_INT_H

#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_net.h"
#include "standard-headers/linux/virtio_ring.h"
#include "vq.h"

#define VQ_HDR_BYTES    sizeof(struct virtio_net_hdr_v1)

/* Bits of a packed descriptor's flags, and of a place */
#define VQ_AVAIL        (1u << VRING_PACKED_DESC_F_AVAIL)
#define VQ_USED         (1u << VRING_PACKED_DESC_F_USED)
#define VQ_WRAP         (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

static inline void vq_break(VhostDPVq *vq, VhostDPPeerViolation why)
{
    vq->broken = true;
    vq->violation = why;
}

static inline uint8_t *vq_buf(const VhostDPVq *vq, unsigned i)
{
    return vq->buf + (size_t)i * VHOST_DP_VQ_BUF_BYTES;
}

static inline uint64_t vq_buf_iova(const VhostDPVq *vq, unsigned i)
{
    return vq->buf_iova + (uint64_t)i * VHOST_DP_VQ_BUF_BYTES;
}

/* Has the peer nothing? */
static inline bool vq_is_idle(const VhostDPVq *vq)
{
    return vq->next_used == vq->flushed;
}

/* ---- Split (virtio 1.3, 2.7) ---- */

static inline uint16_t *vq_split_used_event(const VhostDPVq *vq)
{
    return &((struct vring_avail *)vq->driver)->ring[vq->num];
}

static inline uint16_t *vq_split_avail_event(const VhostDPVq *vq)
{
    return (uint16_t *)&((struct vring_used *)vq->device)->ring[vq->num];
}

static inline void vq_split_add(VhostDPVq *vq, uint16_t i)
{
    struct vring_desc *desc = vq->desc;
    struct vring_avail *avail = vq->driver;

    /* All of it: the peer may have written anything there */
    desc[i].addr = cpu_to_le64(vq_buf_iova(vq, i));
    desc[i].len = cpu_to_le32(vq->bufs[i].len);
    desc[i].flags = cpu_to_le16(vq->rx ? VRING_DESC_F_WRITE : 0);
    desc[i].next = 0;
    avail->ring[vq->next_avail++ & (vq->num - 1)] = cpu_to_le16(i);
}

static inline bool vq_split_flush(VhostDPVq *vq)
{
    struct vring_avail *avail = vq->driver;
    struct vring_used *used = vq->device;
    uint16_t old = vq->flushed;

    vq->flushed = vq->next_avail;
    qatomic_store_release(&avail->idx, cpu_to_le16(vq->flushed));
    /* The device writes the event before it reads the index (2.7.13.4.1) */
    smp_mb();
    if (vq->event_idx) {
        uint16_t event = le16_to_cpu(qatomic_read(vq_split_avail_event(vq)));

        return vring_need_event(event, vq->flushed, old);
    }
    return !(le16_to_cpu(qatomic_read(&used->flags)) & VRING_USED_F_NO_NOTIFY);
}

static inline bool vq_split_has_used(const VhostDPVq *vq)
{
    struct vring_used *used = vq->device;

    return le16_to_cpu(qatomic_read(&used->idx)) != vq->next_used;
}

/* Copies the next used element.  Returns false if there is none. */
static inline bool vq_split_next_used(VhostDPVq *vq, uint32_t *id,
                                      uint32_t *len)
{
    struct vring_used *used = vq->device;
    struct vring_used_elem *elem;
    uint16_t idx = le16_to_cpu(qatomic_load_acquire(&used->idx));
    uint16_t n = idx - vq->next_used;

    if (!n) {
        return false;
    }
    if (unlikely(n > (uint16_t)(vq->flushed - vq->next_used))) {
        vq_break(vq, VHOST_DP_PEER_VIOLATION_USED_INDEX);
        return false;
    }
    elem = &used->ring[vq->next_used & (vq->num - 1)];
    *id = le32_to_cpu(qatomic_read(&elem->id));
    *len = le32_to_cpu(qatomic_read(&elem->len));
    return true;
}

static inline void vq_split_enable_call(VhostDPVq *vq, unsigned skip)
{
    struct vring_avail *avail = vq->driver;

    if (vq->event_idx) {
        qatomic_set(vq_split_used_event(vq),
                    cpu_to_le16(vq->next_used + skip));
    } else {
        qatomic_set(&avail->flags, 0);
    }
}

static inline void vq_split_disable_call(VhostDPVq *vq)
{
    struct vring_avail *avail = vq->driver;

    /* With EVENT_IDX flags have to be 0, and the event stays (2.7.7.1) */
    if (!vq->event_idx) {
        qatomic_set(&avail->flags, cpu_to_le16(VRING_AVAIL_F_NO_INTERRUPT));
    }
}

/* ---- Packed (virtio 1.3, 2.8) ---- */

static inline uint16_t vq_index(uint16_t place)
{
    return place & ~VQ_WRAP;
}

/* The place @n <= num descriptors behind @place */
static inline uint16_t vq_after(const VhostDPVq *vq, uint16_t place,
                                unsigned n)
{
    unsigned i = vq_index(place) + n;

    if (i < vq->num) {
        return i | (place & VQ_WRAP);
    }
    return (i - vq->num) | (~place & VQ_WRAP);
}

/* How far @place is behind the start of @now's round; less than 0: before */
static inline int vq_relative(const VhostDPVq *vq, uint16_t place,
                              uint16_t now)
{
    return vq_index(place) - ((place ^ now) & VQ_WRAP ? vq->num : 0);
}

static inline void vq_packed_add(VhostDPVq *vq, uint16_t i)
{
    struct vring_packed_desc *ring = vq->desc;
    struct vring_packed_desc *desc = &ring[vq_index(vq->next_avail)];
    uint16_t flags = vq->next_avail & VQ_WRAP ? VQ_AVAIL : VQ_USED;

    flags |= vq->rx ? VRING_DESC_F_WRITE : 0;
    desc->addr = cpu_to_le64(vq_buf_iova(vq, i));
    desc->len = cpu_to_le32(vq->bufs[i].len);
    desc->id = cpu_to_le16(i);
    /* The device goes no further than the first until the flush */
    if (vq->next_avail == vq->flushed) {
        vq->first_flags = flags;
    } else {
        desc->flags = cpu_to_le16(flags);
    }
    vq->next_avail = vq_after(vq, vq->next_avail, 1);
}

static inline bool vq_packed_flush(VhostDPVq *vq)
{
    struct vring_packed_desc *ring = vq->desc;
    struct vring_packed_desc_event *event = vq->device;
    uint16_t now = vq->next_avail;
    uint16_t old = vq->flushed;
    uint16_t flags;

    vq->flushed = now;
    qatomic_store_release(&ring[vq_index(old)].flags,
                          cpu_to_le16(vq->first_flags));
    /* The device writes the event before it reads the flags (2.8.21.3.1) */
    smp_mb();
    flags = le16_to_cpu(qatomic_load_acquire(&event->flags));
    if (flags == VRING_PACKED_EVENT_FLAG_DISABLE) {
        return false;
    }
    if (!vq->event_idx || flags != VRING_PACKED_EVENT_FLAG_DESC) {
        return true;
    }
    return vring_need_event(
        vq_relative(vq, le16_to_cpu(qatomic_read(&event->off_wrap)), now),
        vq_index(now), vq_relative(vq, old, now));
}

static inline bool vq_packed_is_used(const VhostDPVq *vq, uint16_t flags)
{
    uint16_t want = vq->next_used & VQ_WRAP ? VQ_AVAIL | VQ_USED : 0;

    return (flags & (VQ_AVAIL | VQ_USED)) == want;
}

static inline bool vq_packed_has_used(const VhostDPVq *vq)
{
    struct vring_packed_desc *ring = vq->desc;
    uint16_t *flags = &ring[vq_index(vq->next_used)].flags;

    return vq_packed_is_used(vq, le16_to_cpu(qatomic_read(flags)));
}

static inline bool vq_packed_next_used(VhostDPVq *vq, uint32_t *id,
                                       uint32_t *len)
{
    struct vring_packed_desc *ring = vq->desc;
    struct vring_packed_desc *desc = &ring[vq_index(vq->next_used)];
    uint16_t flags = le16_to_cpu(qatomic_load_acquire(&desc->flags));

    if (!vq_packed_is_used(vq, flags)) {
        return false;
    }
    *id = le16_to_cpu(qatomic_read(&desc->id));
    *len = flags & VRING_DESC_F_WRITE ? le32_to_cpu(qatomic_read(&desc->len)) :
                                        0;
    return true;
}

static inline void vq_packed_enable_call(VhostDPVq *vq, unsigned skip)
{
    struct vring_packed_desc_event *event = vq->driver;

    if (vq->event_idx) {
        qatomic_set(&event->off_wrap,
                    cpu_to_le16(vq_after(vq, vq->next_used, skip)));
        /* The device reads off_wrap after flags that say so */
        qatomic_store_release(&event->flags,
                              cpu_to_le16(VRING_PACKED_EVENT_FLAG_DESC));
    } else {
        qatomic_set(&event->flags,
                    cpu_to_le16(VRING_PACKED_EVENT_FLAG_ENABLE));
    }
}

static inline void vq_packed_disable_call(VhostDPVq *vq)
{
    struct vring_packed_desc_event *event = vq->driver;

    qatomic_set(&event->flags, cpu_to_le16(VRING_PACKED_EVENT_FLAG_DISABLE));
}

/* vq.c, for vhost_dp_vqset_start(): give all buffers to the peer */
void vhost_dp_vq_post_all(VhostDPVq *vq);

/* ---- Both ---- */

/* Make bufs[@i] available; it becomes visible by a flush */
static inline void vq_add(VhostDPVq *vq, uint16_t i)
{
    if (vq->packed) {
        vq_packed_add(vq, i);
    } else {
        vq_split_add(vq, i);
    }
}

static inline bool vq_has_used(const VhostDPVq *vq)
{
    if (vq_is_idle(vq)) {
        return false;
    }
    return vq->packed ? vq_packed_has_used(vq) : vq_split_has_used(vq);
}

/*
 * Take what the peer has used next: it is the caller's now.  Returns the number
 * of buffers, or 0 if there are none, or if the queue has just broken.
 */
static inline unsigned vq_get_used(VhostDPVq *vq, VhostDPVqUsed *u)
{
    unsigned nbufs;
    uint32_t id, len;

    if (vq_is_idle(vq) ||
        !(vq->packed ? vq_packed_next_used(vq, &id, &len) :
                       vq_split_next_used(vq, &id, &len))) {
        return 0;
    }
    nbufs = id < vq->num ? vq->bufs[id].nbufs : 0;
    if (unlikely(!nbufs)) {
        vq_break(vq, VHOST_DP_PEER_VIOLATION_USED_ID);
        return 0;
    }
    /* On transmit the length says nothing (virtio 1.3, 2.7.8.2) */
    if (unlikely(vq->rx && len > vq->bufs[id].len)) {
        vq_break(vq, VHOST_DP_PEER_VIOLATION_USED_LENGTH);
        return 0;
    }
    u->id = id;
    u->len = len;
    vq->bufs[id].nbufs = 0;
    vq->next_used = vq->packed ? vq_after(vq, vq->next_used, 1) :
                                 vq->next_used + 1;
    return nbufs;
}

#endif /* NET_VHOST_DP_DRIVERS_VIRTQ_VQ_INT_H */
