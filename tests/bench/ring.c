/*
 * vhost-dp bench: the driver side of a virtqueue
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Descriptors are written for every post, as a guest does, although they are
 * always the same: the device has to fetch the cache lines either way.  Every
 * buffer takes the same number of descriptors, so used ones of a packed ring
 * are found at multiples of that without a table by id.
 */

#include "qemu/osdep.h"
#include "ring.h"
#include "util.h"

static unsigned per_buffer(const Ring *ring)
{
    return ring->indirect ? 1 : ring->nsegs;
}

unsigned ring_max_buffers(const Ring *ring)
{
    return ring->num / per_buffer(ring);
}

void ring_init(Ring *ring, Machine *machine)
{
    size_t desc_size = virtq_desc_size(ring->num);
    size_t tables = ring->indirect ? desc_size * RING_MAX_SEGS : 0;
    void *desc, *driver, *device;

    ring->per_buf = per_buffer(ring);
    if (ring->nbuf > ring_max_buffers(ring)) {
        bench_fail("%u buffers of %u descriptors do not fit into a ring of "
                   "%u entries", ring->nbuf, ring->per_buf, ring->num);
    }
    desc = machine_alloc(machine, desc_size + tables, 4096, &ring->desc_gpa);
    driver = machine_alloc(machine,
                           virtq_driver_size(ring->packed, ring->num),
                           ring->packed ? 64 : 4096, &ring->driver_gpa);
    device = machine_alloc(machine,
                           virtq_device_size(ring->packed, ring->num),
                           ring->packed ? 64 : 4096, &ring->device_gpa);
    virtq_init(&ring->vq, ring->packed, ring->event_idx, ring->num, desc,
               driver, device);
    ring_want_call(ring, false);
}

/* ---- Posting ---- */

static inline uint16_t write_flag(const Ring *ring)
{
    return ring->device_writes ? VRING_DESC_F_WRITE : 0;
}

/* Where @id's indirect table is, counted in descriptors of the ring */
static inline size_t table_at(const Ring *ring, uint16_t id)
{
    return ring->num + (size_t)id * RING_MAX_SEGS;
}

static inline uint64_t table_gpa(const Ring *ring, uint16_t id)
{
    return ring->desc_gpa + virtq_desc_size(table_at(ring, id));
}

/* A chain of @id's segments; each names its successor as @base and so on */
static inline void write_chain(Ring *ring, struct vring_desc *desc,
                               uint16_t base, uint16_t id)
{
    const RingSeg *segs = &ring->segs[id * ring->nsegs];
    uint16_t flags = write_flag(ring);
    unsigned i;

    for (i = 0; i < ring->nsegs; i++) {
        bool last = i == ring->nsegs - 1;

        virtq_set_desc(&desc[i], segs[i].gpa, segs[i].len,
                       flags | (last ? 0 : VRING_DESC_F_NEXT),
                       last ? 0 : base + i + 1);
    }
}

static inline void post_split(Ring *ring, Virtq *vq, uint16_t id)
{
    struct vring_desc *desc = vq->desc;
    uint16_t head = id * ring->per_buf;

    if (ring->indirect) {
        write_chain(ring, desc + table_at(ring, id), 0, id);
        virtq_set_desc(&desc[head], table_gpa(ring, id),
                       virtq_desc_size(ring->nsegs), VRING_DESC_F_INDIRECT, 0);
    } else {
        write_chain(ring, desc + head, head, id);
    }
    virtq_add_head(vq, head);
}

static inline void post_packed(Ring *ring, Virtq *vq, uint16_t id)
{
    const RingSeg *segs = &ring->segs[id * ring->nsegs];
    uint16_t flags = write_flag(ring);
    unsigned i;

    if (ring->indirect) {
        struct vring_packed_desc *table = vq->pdesc + table_at(ring, id);

        for (i = 0; i < ring->nsegs; i++) {
            virtq_set_packed_desc(&table[i], segs[i].gpa, segs[i].len, 0,
                                  flags);
        }
        virtq_add_packed_desc(vq, table_gpa(ring, id),
                              virtq_desc_size(ring->nsegs), id,
                              VRING_DESC_F_INDIRECT);
        return;
    }
    for (i = 0; i < ring->nsegs; i++) {
        virtq_add_packed_desc(vq, segs[i].gpa, segs[i].len, id,
                              flags | (i < ring->nsegs - 1 ?
                                       VRING_DESC_F_NEXT : 0));
    }
}

/*
 * What the loops below work on: a copy, which the compiler can have in
 * registers, of a format that it knows
 */
static inline Virtq begin(const Ring *ring, bool packed)
{
    Virtq vq = ring->vq;

    vq.packed = packed;
    return vq;
}

static inline bool post(Ring *ring, bool packed, const uint16_t *ids,
                        unsigned n)
{
    Virtq vq = begin(ring, packed);
    bool kick;
    unsigned i;

    for (i = 0; i < n; i++) {
        if (packed) {
            post_packed(ring, &vq, ids[i]);
        } else {
            post_split(ring, &vq, ids[i]);
        }
    }
    kick = virtq_publish(&vq);
    ring->vq = vq;
    return kick;
}

bool ring_post(Ring *ring, const uint16_t *ids, unsigned n)
{
    return ring->packed ? post(ring, true, ids, n) : post(ring, false, ids, n);
}

/* ---- Used buffers ---- */

static inline unsigned reap(Ring *ring, bool packed, RingUsed *used,
                            unsigned max)
{
    /* What an id of the ring is divided by: split rings name the head */
    unsigned heads = packed ? 1 : ring->per_buf;
    Virtq vq = begin(ring, packed);
    unsigned n = 0, left;

    while (n < max && (left = virtq_count_used(&vq))) {
        for (; left && n < max; left--, n++) {
            VirtqUsed elem = virtq_read_used(&vq);

            used[n].id = heads == 1 ? elem.id : elem.id / heads;
            used[n].len = elem.len;
            virtq_skip_used(&vq, ring->per_buf);
        }
    }
    ring->vq.reaped = vq.reaped;
    return n;
}

unsigned ring_reap(Ring *ring, RingUsed *used, unsigned max)
{
    unsigned n = ring->packed ? reap(ring, true, used, max) :
                                reap(ring, false, used, max);

    if (n && ring->event_idx && !ring->packed && !ring->calls) {
        /* Keep the event out of reach */
        qatomic_set(&ring->vq.avail->ring[ring->num],
                    cpu_to_le16(ring->vq.reaped - 1));
    }
    return n;
}

void ring_want_call(Ring *ring, bool want)
{
    ring->calls = want;
    if (ring->event_idx && (want || !ring->packed)) {
        virtq_set_used_event(&ring->vq, ring->vq.reaped - !want);
    } else {
        virtq_set_no_call(&ring->vq, !want);
    }
}
