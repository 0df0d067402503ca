/*
 * vhost-dp bench: the driver side of a packed virtqueue (virtio 1.3, 2.8)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A batch is published by its first descriptor: its flags are written last.
 * Every buffer takes the same number of descriptors, so used ones are found
 * at multiples of that without a table by id.  All fields are little-endian
 * (1.4).
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_ring.h"
#include "ring.h"

#define AVAIL_BIT (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED_BIT  (1u << VRING_PACKED_DESC_F_USED)

static void packed_init(Ring *ring, Machine *machine)
{
    size_t desc = ring->num * sizeof(struct vring_packed_desc);
    size_t table = ring->indirect ? desc * RING_MAX_SEGS : 0;

    ring->desc = machine_alloc(machine, desc + table, 4096, &ring->desc_gpa);
    ring->driver = machine_alloc(machine,
                                 sizeof(struct vring_packed_desc_event), 64,
                                 &ring->driver_gpa);
    ring->device = machine_alloc(machine,
                                 sizeof(struct vring_packed_desc_event), 64,
                                 &ring->device_gpa);
    ring->avail_idx = 0;
    ring->used_idx = 0;
    ring->avail_wrap = true;
    ring->used_wrap = true;
    ring_want_call(ring, false);
}

static inline uint16_t packed_avail_flags(const Ring *ring)
{
    return ring->avail_wrap ? AVAIL_BIT : USED_BIT;
}

static inline void packed_advance(const Ring *ring, uint16_t *idx, bool *wrap,
                                  unsigned n)
{
    *idx += n;
    if (*idx >= ring->num) {
        *idx -= ring->num;
        *wrap = !*wrap;
    }
}

/* Returns the address and length of @id's indirect table */
static inline RingSeg packed_write_table(Ring *ring, uint16_t id,
                                         uint16_t flags)
{
    size_t at = ring->num + (size_t)id * RING_MAX_SEGS;
    struct vring_packed_desc *table =
        (struct vring_packed_desc *)ring->desc + at;
    const RingSeg *segs = &ring->segs[id * ring->nsegs];
    unsigned i;

    for (i = 0; i < ring->nsegs; i++) {
        table[i].addr = cpu_to_le64(segs[i].gpa);
        table[i].len = cpu_to_le32(segs[i].len);
        table[i].id = 0;
        table[i].flags = cpu_to_le16(flags);
    }
    return (RingSeg) {
        .gpa = ring->desc_gpa + at * sizeof(*table),
        .len = ring->nsegs * sizeof(*table),
    };
}

static bool packed_post(Ring *ring, const uint16_t *ids, unsigned n)
{
    struct vring_packed_desc *desc = ring->desc;
    struct vring_packed_desc_event *wish = ring->device;
    uint16_t write = ring->device_writes ? VRING_DESC_F_WRITE : 0;
    uint16_t first = ring->avail_idx;
    uint16_t first_flags = 0;
    uint16_t off_wrap, flags, event;
    unsigned i, j;

    for (i = 0; i < n; i++) {
        RingSeg table;
        const RingSeg *segs = &ring->segs[ids[i] * ring->nsegs];

        if (ring->indirect) {
            table = packed_write_table(ring, ids[i], write);
            segs = &table;
        }
        for (j = 0; j < ring->per_buf; j++) {
            struct vring_packed_desc *d = &desc[ring->avail_idx];
            uint16_t f = packed_avail_flags(ring);

            if (ring->indirect) {
                f |= VRING_DESC_F_INDIRECT;
            } else {
                f |= write | (j < ring->per_buf - 1 ? VRING_DESC_F_NEXT : 0);
            }
            d->addr = cpu_to_le64(segs[j].gpa);
            d->len = cpu_to_le32(segs[j].len);
            d->id = cpu_to_le16(ids[i]);
            if (i == 0 && j == 0) {
                first_flags = f;
            } else {
                d->flags = cpu_to_le16(f);
            }
            packed_advance(ring, &ring->avail_idx, &ring->avail_wrap, 1);
        }
    }
    qatomic_store_release(&desc[first].flags, cpu_to_le16(first_flags));

    /* The descriptors, then the device's wish (virtio 1.3, 2.8.21.3.1) */
    smp_mb();
    flags = le16_to_cpu(qatomic_load_acquire(&wish->flags));
    if (flags != VRING_PACKED_EVENT_FLAG_DESC) {
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    }
    /* An event of the other lap is one lap behind, or it would be too far */
    off_wrap = le16_to_cpu(qatomic_read(&wish->off_wrap));
    event = off_wrap & ~(1u << VRING_PACKED_EVENT_F_WRAP_CTR);
    if ((off_wrap >> VRING_PACKED_EVENT_F_WRAP_CTR) != ring->avail_wrap) {
        event -= ring->num;
    }
    return vring_need_event(event, ring->avail_idx,
                            ring->avail_idx - n * ring->per_buf);
}

static bool packed_has_used(Ring *ring)
{
    struct vring_packed_desc *desc = ring->desc;
    uint16_t flags =
        le16_to_cpu(qatomic_load_acquire(&desc[ring->used_idx].flags));

    return !!(flags & USED_BIT) == ring->used_wrap &&
           !!(flags & AVAIL_BIT) == ring->used_wrap;
}

static unsigned packed_reap(Ring *ring, RingUsed *used, unsigned max)
{
    struct vring_packed_desc *desc = ring->desc;
    unsigned n = 0;

    while (n < max && packed_has_used(ring)) {
        struct vring_packed_desc *d = &desc[ring->used_idx];

        used[n].id = le16_to_cpu(d->id);
        used[n].len = le32_to_cpu(d->len);
        n++;
        packed_advance(ring, &ring->used_idx, &ring->used_wrap, ring->per_buf);
    }
    return n;
}

static void packed_want_call(Ring *ring, bool want)
{
    struct vring_packed_desc_event *wish = ring->driver;
    uint16_t flags = VRING_PACKED_EVENT_FLAG_DISABLE;

    ring->calls = want;
    if (want && ring->event_idx) {
        qatomic_set(&wish->off_wrap,
                    cpu_to_le16(ring->used_idx | ring->used_wrap <<
                                VRING_PACKED_EVENT_F_WRAP_CTR));
        smp_wmb();
        flags = VRING_PACKED_EVENT_FLAG_DESC;
    } else if (want) {
        flags = VRING_PACKED_EVENT_FLAG_ENABLE;
    }
    qatomic_set(&wish->flags, cpu_to_le16(flags));
    smp_mb();
}

const RingOps ring_packed_ops = {
    .init = packed_init,
    .post = packed_post,
    .reap = packed_reap,
    .has_used = packed_has_used,
    .want_call = packed_want_call,
};
