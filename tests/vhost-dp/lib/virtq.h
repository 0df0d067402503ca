/*
 * vhost-dp: tests, the driver's side of a virtqueue in mapped memory
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Split and packed virtqueues (virtio 1.3, 2.7 and 2.8) in guest memory that is
 * mapped here.  The device works on them at the same time, in another process
 * or thread: hence the barriers.  Which descriptors a chain gets, and who
 * remembers them, is the user's affair: the load generator and the stress test
 * have a fixed place for each buffer (tests/bench/ring.c), the qtests take
 * descriptors in turn (tests/qtest/vhost-dp/guest-ring.c).  The unit tests'
 * driver, which works on scattered memory in both byte orders, is in mock.h.
 *
 * A place says where an entry is.  In a split ring it is an index that counts
 * on and on; in a packed ring the number of a descriptor, with the wrap counter
 * in bit 15, as event suppression has it (2.8.10).
 *
 * A Virtq belongs to one thread at a time.  All fields of the rings are
 * little-endian (1.4).  These functions are in a header so that the load
 * generator stays faster than what it measures.
 */

#ifndef TESTS_VHOST_DP_LIB_VIRTQ_H
#define TESTS_VHOST_DP_LIB_VIRTQ_H

#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_ring.h"

#define VIRTQ_WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)
#define VIRTQ_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define VIRTQ_USED (1u << VRING_PACKED_DESC_F_USED)

typedef struct Virtq {
    bool packed;
    bool event_idx;
    unsigned num;               /* entries; split: a power of two */

    /* The three areas (2.6), in this process */
    union {
        struct vring_desc *desc;
        struct vring_packed_desc *pdesc;
    };
    union {
        struct vring_avail *avail;
        struct vring_packed_desc_event *driver_event;
    };
    union {
        struct vring_used *used;
        struct vring_packed_desc_event *device_event;
    };

    /* Places */
    uint16_t next;              /* of what is added next */
    uint16_t published;         /* behind what the device may see */
    uint16_t reaped;            /* of the used entry that is looked at next */

    uint16_t first_flags;       /* packed: of the first not published */
} Virtq;

/* What a device says about a used chain */
typedef struct VirtqUsed {
    uint16_t id;                /* of the head, or of the buffer */
    bool wrote;                 /* packed: if not, @len means nothing (2.8.4) */
    uint32_t len;
} VirtqUsed;

/* Sizes of the areas in bytes */
static inline size_t virtq_desc_size(unsigned num)
{
    QEMU_BUILD_BUG_ON(sizeof(struct vring_desc) !=
                      sizeof(struct vring_packed_desc));
    return num * sizeof(struct vring_desc);
}

static inline size_t virtq_driver_size(bool packed, unsigned num)
{
    return packed ? sizeof(struct vring_packed_desc_event) :
                    offsetof(struct vring_avail, ring[num + 1]);
}

static inline size_t virtq_device_size(bool packed, unsigned num)
{
    return packed ? sizeof(struct vring_packed_desc_event) :
                    offsetof(struct vring_used, ring[num]) + sizeof(uint16_t);
}

/**
 * virtq_init: begin an empty ring
 * @desc, @driver, @device: the areas, filled with zeroes
 */
static inline void virtq_init(Virtq *vq, bool packed, bool event_idx,
                              unsigned num, void *desc, void *driver,
                              void *device)
{
    uint16_t start = packed ? VIRTQ_WRAP : 0;

    *vq = (Virtq) {
        .packed = packed, .event_idx = event_idx, .num = num,
        .desc = desc, .avail = driver, .used = device,
        .next = start, .published = start, .reaped = start,
    };
}

/* ---- Places ---- */

/* The number of the entry */
static inline unsigned virtq_slot(const Virtq *vq, uint16_t place)
{
    return vq->packed ? place & ~VIRTQ_WRAP : place & (vq->num - 1);
}

/* The place @n entries behind @place; packed: @n is at most the ring's size */
static inline uint16_t virtq_after(const Virtq *vq, uint16_t place, unsigned n)
{
    uint16_t wrap = place & VIRTQ_WRAP;
    unsigned slot = (place & ~VIRTQ_WRAP) + n;

    if (!vq->packed) {
        return place + n;
    }
    if (slot >= vq->num) {
        slot -= vq->num;
        wrap ^= VIRTQ_WRAP;
    }
    return slot | wrap;
}

/* How many entries @to is behind @from, at most the ring's size */
static inline uint16_t virtq_distance(const Virtq *vq, uint16_t from,
                                      uint16_t to)
{
    if (!vq->packed) {
        return to - from;
    }
    return (to & ~VIRTQ_WRAP) - (from & ~VIRTQ_WRAP) +
           ((to ^ from) & VIRTQ_WRAP ? vq->num : 0);
}

/* ---- Making chains available ---- */

static inline void virtq_set_desc(struct vring_desc *desc, uint64_t addr,
                                  uint32_t len, uint16_t flags, uint16_t next)
{
    desc->addr = cpu_to_le64(addr);
    desc->len = cpu_to_le32(len);
    desc->flags = cpu_to_le16(flags);
    desc->next = cpu_to_le16(next);
}

static inline void virtq_set_packed_desc(struct vring_packed_desc *desc,
                                         uint64_t addr, uint32_t len,
                                         uint16_t id, uint16_t flags)
{
    desc->addr = cpu_to_le64(addr);
    desc->len = cpu_to_le32(len);
    desc->id = cpu_to_le16(id);
    desc->flags = cpu_to_le16(flags);
}

/* Split: add the chain that begins with descriptor @head */
static inline void virtq_add_head(Virtq *vq, uint16_t head)
{
    vq->avail->ring[virtq_slot(vq, vq->next)] = cpu_to_le16(head);
    vq->next++;
}

/*
 * Packed: add a descriptor; AVAIL and USED are added to @flags.  The flags of
 * the first descriptor that is not published are held back: the device looks
 * at descriptors in order, so it sees none behind that one (2.8.21.1).
 */
static inline void virtq_add_packed_desc(Virtq *vq, uint64_t addr,
                                         uint32_t len, uint16_t id,
                                         uint16_t flags)
{
    struct vring_packed_desc *desc = &vq->pdesc[virtq_slot(vq, vq->next)];

    flags |= vq->next & VIRTQ_WRAP ? VIRTQ_AVAIL : VIRTQ_USED;
    if (vq->next == vq->published) {
        vq->first_flags = flags;
        flags = le16_to_cpu(desc->flags);
    }
    virtq_set_packed_desc(desc, addr, len, id, flags);
    vq->next = virtq_after(vq, vq->next, 1);
}

/* ---- Telling the device ---- */

/*
 * Does the device want to be told of what is between @old and Virtq.next?
 * (2.7.13.4, 2.8.21.3.1)
 */
static inline bool virtq_needs_kick(const Virtq *vq, uint16_t old)
{
    uint16_t now = virtq_slot(vq, vq->next);
    uint16_t flags, off_wrap, event;

    if (!vq->packed && vq->event_idx) {
        uint16_t *avail_event = (uint16_t *)&vq->used->ring[vq->num];

        event = le16_to_cpu(qatomic_read(avail_event));
        return vring_need_event(event, vq->next, old);
    }
    if (!vq->packed) {
        return !(le16_to_cpu(qatomic_read(&vq->used->flags)) &
                 VRING_USED_F_NO_NOTIFY);
    }
    flags = le16_to_cpu(qatomic_read(&vq->device_event->flags));
    if (flags != VRING_PACKED_EVENT_FLAG_DESC) {
        g_assert_cmpuint(flags, <=, VRING_PACKED_EVENT_FLAG_DISABLE);
        return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
    }
    g_assert_true(vq->event_idx);
    /* The flags before the place that they speak of */
    smp_rmb();
    off_wrap = le16_to_cpu(qatomic_read(&vq->device_event->off_wrap));
    event = off_wrap & ~VIRTQ_WRAP;
    /* An event of the other lap is one lap behind, or it would be too far */
    if ((off_wrap ^ vq->next) & VIRTQ_WRAP) {
        event -= vq->num;
    }
    return vring_need_event(event, now, now - virtq_distance(vq, old,
                                                             vq->next));
}

/* Publish what was added.  Returns the place where that began. */
static inline uint16_t virtq_publish_quietly(Virtq *vq)
{
    uint16_t old = vq->published;

    /* The chains, and the ring's entries, before what makes them valid */
    smp_wmb();
    if (!vq->packed) {
        qatomic_set(&vq->avail->idx, cpu_to_le16(vq->next));
    } else if (vq->next != old) {
        qatomic_set(&vq->pdesc[virtq_slot(vq, old)].flags,
                    cpu_to_le16(vq->first_flags));
    }
    vq->published = vq->next;
    return old;
}

/* The same.  Returns whether the device has to be kicked. */
static inline bool virtq_publish(Virtq *vq)
{
    uint16_t old = virtq_publish_quietly(vq);

    /* That before the look at what the device wants */
    smp_mb();
    return virtq_needs_kick(vq, old);
}

/* ---- Used chains ---- */

/*
 * How many used entries are there for sure?  Of a packed ring not more than one
 * is looked at.
 */
static inline unsigned virtq_count_used(const Virtq *vq)
{
    uint16_t both = VIRTQ_AVAIL | VIRTQ_USED;
    uint16_t flags;

    if (!vq->packed) {
        return (uint16_t)(le16_to_cpu(qatomic_load_acquire(&vq->used->idx)) -
                          vq->reaped);
    }
    /* 2.8.1: both bits are the wrap counter */
    flags = qatomic_load_acquire(&vq->pdesc[virtq_slot(vq, vq->reaped)].flags);
    return (le16_to_cpu(flags) & both) ==
           (vq->reaped & VIRTQ_WRAP ? both : 0);
}

/* The used entry at Virtq.reaped, which has to be there */
static inline VirtqUsed virtq_read_used(const Virtq *vq)
{
    unsigned slot = virtq_slot(vq, vq->reaped);

    if (vq->packed) {
        const struct vring_packed_desc *desc = &vq->pdesc[slot];

        return (VirtqUsed) {
            .id = le16_to_cpu(desc->id),
            .wrote = le16_to_cpu(desc->flags) & VRING_DESC_F_WRITE,
            .len = le32_to_cpu(desc->len),
        };
    }
    return (VirtqUsed) {
        .id = le32_to_cpu(vq->used->ring[slot].id),
        .wrote = true,
        .len = le32_to_cpu(vq->used->ring[slot].len),
    };
}

/* Go on behind a used chain: one entry of a split ring, @n descriptors */
static inline void virtq_skip_used(Virtq *vq, unsigned n)
{
    vq->reaped = virtq_after(vq, vq->reaped, vq->packed ? n : 1);
}

/* ---- When to be told ---- */

/*
 * No interrupts, or those that the device thinks fit.  Look at the ring once
 * more after this: what was used meanwhile may have come without.
 */
static inline void virtq_set_no_call(Virtq *vq, bool set)
{
    if (vq->packed) {
        qatomic_set(&vq->driver_event->flags,
                    cpu_to_le16(set ? VRING_PACKED_EVENT_FLAG_DISABLE :
                                      VRING_PACKED_EVENT_FLAG_ENABLE));
    } else {
        qatomic_set(&vq->avail->flags,
                    cpu_to_le16(set ? VRING_AVAIL_F_NO_INTERRUPT : 0));
    }
    /* Before the user looks at the ring */
    smp_mb();
}

/* EVENT_IDX: an interrupt when the entry at @place is used; look once more */
static inline void virtq_set_used_event(Virtq *vq, uint16_t place)
{
    if (vq->packed) {
        qatomic_set(&vq->driver_event->off_wrap, cpu_to_le16(place));
        /* The place before the flags that speak of it */
        smp_wmb();
        qatomic_set(&vq->driver_event->flags,
                    cpu_to_le16(VRING_PACKED_EVENT_FLAG_DESC));
    } else {
        qatomic_set(&vq->avail->ring[vq->num], cpu_to_le16(place));
    }
    /* Before the user looks at the ring */
    smp_mb();
}

#endif /* TESTS_VHOST_DP_LIB_VIRTQ_H */
