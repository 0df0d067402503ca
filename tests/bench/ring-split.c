/*
 * vhost-dp bench: the driver side of a split virtqueue (virtio 1.3, 2.7)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Descriptors are written for every post, as a guest does, although they are
 * always the same: the device has to fetch the cache lines either way.  All
 * fields are little-endian (1.4).
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_ring.h"
#include "ring.h"

static struct vring_avail *split_avail(Ring *ring)
{
    return ring->driver;
}

static struct vring_used *split_used(Ring *ring)
{
    return ring->device;
}

/* Written by the driver, behind the available ring */
static uint16_t *split_used_event(Ring *ring)
{
    return &split_avail(ring)->ring[ring->num];
}

/* Written by the device, behind the used ring */
static uint16_t *split_avail_event(Ring *ring)
{
    return (uint16_t *)&split_used(ring)->ring[ring->num];
}

static void split_init(Ring *ring, Machine *machine)
{
    size_t desc = ring->num * sizeof(struct vring_desc);
    size_t avail = offsetof(struct vring_avail, ring[ring->num]) + 2;
    size_t used = offsetof(struct vring_used, ring[ring->num]) + 2;
    size_t table = ring->indirect ? desc * RING_MAX_SEGS : 0;

    ring->desc = machine_alloc(machine, desc + table, 4096, &ring->desc_gpa);
    ring->driver = machine_alloc(machine, avail, 4096, &ring->driver_gpa);
    ring->device = machine_alloc(machine, used, 4096, &ring->device_gpa);
    ring->avail_idx = 0;
    ring->used_idx = 0;
    ring_want_call(ring, false);
}

static inline void split_write_desc(Ring *ring, struct vring_desc *desc,
                                    uint16_t index, uint16_t base,
                                    const RingSeg *segs)
{
    uint16_t flags = ring->device_writes ? VRING_DESC_F_WRITE : 0;
    unsigned i;

    for (i = 0; i < ring->nsegs; i++) {
        bool last = i == ring->nsegs - 1;

        desc[index + i].addr = cpu_to_le64(segs[i].gpa);
        desc[index + i].len = cpu_to_le32(segs[i].len);
        desc[index + i].flags = cpu_to_le16(flags |
                                            (last ? 0 : VRING_DESC_F_NEXT));
        desc[index + i].next = cpu_to_le16(last ? 0 : base + i + 1);
    }
}

static inline void split_write_buffer(Ring *ring, uint16_t id)
{
    struct vring_desc *desc = ring->desc;
    const RingSeg *segs = &ring->segs[id * ring->nsegs];

    if (ring->indirect) {
        size_t at = ring->num + id * RING_MAX_SEGS;

        split_write_desc(ring, desc + at, 0, 0, segs);
        desc[id].addr = cpu_to_le64(ring->desc_gpa + at * sizeof(*desc));
        desc[id].len = cpu_to_le32(ring->nsegs * sizeof(*desc));
        desc[id].flags = cpu_to_le16(VRING_DESC_F_INDIRECT);
        desc[id].next = 0;
    } else {
        split_write_desc(ring, desc, id * ring->nsegs, id * ring->nsegs, segs);
    }
}

static bool split_post(Ring *ring, const uint16_t *ids, unsigned n)
{
    struct vring_avail *avail = split_avail(ring);
    uint16_t old = ring->avail_idx;
    unsigned i;

    for (i = 0; i < n; i++) {
        split_write_buffer(ring, ids[i]);
        avail->ring[(uint16_t)(old + i) & (ring->num - 1)] =
            cpu_to_le16(ids[i] * ring->per_buf);
    }
    ring->avail_idx = old + n;
    qatomic_store_release(&avail->idx, cpu_to_le16(ring->avail_idx));

    /* The index, then the device's wish (virtio 1.3, 2.7.13.4.1) */
    smp_mb();
    if (ring->event_idx) {
        uint16_t event = le16_to_cpu(qatomic_read(split_avail_event(ring)));

        return vring_need_event(event, ring->avail_idx, old);
    }
    return !(le16_to_cpu(qatomic_read(&split_used(ring)->flags)) &
             VRING_USED_F_NO_NOTIFY);
}

static unsigned split_reap(Ring *ring, RingUsed *used, unsigned max)
{
    struct vring_used *ur = split_used(ring);
    uint16_t idx = le16_to_cpu(qatomic_load_acquire(&ur->idx));
    unsigned n = MIN((uint16_t)(idx - ring->used_idx), max);
    unsigned i;

    for (i = 0; i < n; i++) {
        unsigned slot = (uint16_t)(ring->used_idx + i) & (ring->num - 1);

        used[i].id = le32_to_cpu(ur->ring[slot].id) / ring->per_buf;
        used[i].len = le32_to_cpu(ur->ring[slot].len);
    }
    ring->used_idx += n;
    if (n && ring->event_idx && !ring->calls) {
        /* Keep the event out of reach */
        qatomic_set(split_used_event(ring),
                    cpu_to_le16(ring->used_idx - 1));
    }
    return n;
}

static bool split_has_used(Ring *ring)
{
    return le16_to_cpu(qatomic_load_acquire(&split_used(ring)->idx)) !=
           ring->used_idx;
}

static void split_want_call(Ring *ring, bool want)
{
    ring->calls = want;
    if (ring->event_idx) {
        qatomic_set(split_used_event(ring),
                    cpu_to_le16(ring->used_idx - !want));
    } else {
        qatomic_set(&split_avail(ring)->flags,
                    cpu_to_le16(want ? 0 : VRING_AVAIL_F_NO_INTERRUPT));
    }
    smp_mb();
}

const RingOps ring_split_ops = {
    .init = split_init,
    .post = split_post,
    .reap = split_reap,
    .has_used = split_has_used,
    .want_call = split_want_call,
};
