/*
 * vhost-dp-dump: a ring of recorded frames between two threads
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: each frame is one piece of memory, its record and its
 * bytes, so that both sides use it in place.  One that does not fit in front of
 * the memory's end begins at its start, and a mark says that the rest is left
 * out.  Head and tail count bytes and never wrap.
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/memalign.h"
#include "dump-ring.h"

#define RING_ALIGN sizeof(uint64_t)

/* In place of a record's time: the memory up to its end is not used */
#define RING_LEFT_OUT UINT64_MAX

VhostDPDumpRing *vhost_dp_dump_ring_new(unsigned pair, uint64_t size)
{
    VhostDPDumpRing *ring = g_new0(VhostDPDumpRing, 1);

    ring->pair = pair;
    ring->size = pow2ceil(size);
    ring->data = qemu_try_memalign(qemu_real_host_page_size(), ring->size);
    if (!ring->data) {
        g_free(ring);
        return NULL;
    }
    return ring;
}

void vhost_dp_dump_ring_free(VhostDPDumpRing *ring)
{
    qemu_vfree(ring->data);
    g_free(ring);
}

static uint8_t *ring_at(const VhostDPDumpRing *ring, uint64_t pos)
{
    return ring->data + (pos & (ring->size - 1));
}

static uint64_t ring_to_end(const VhostDPDumpRing *ring, uint64_t pos)
{
    return ring->size - (pos & (ring->size - 1));
}

static uint64_t record_size(const VhostDPDumpRecord *record)
{
    return ROUND_UP(sizeof(*record) + record->kept, RING_ALIGN);
}

uint8_t *vhost_dp_dump_ring_add(VhostDPDumpRing *ring,
                                const VhostDPDumpRecord *record)
{
    uint64_t size = record_size(record);
    uint64_t head = ring->now.head;
    uint64_t to_end = ring_to_end(ring, head);
    uint64_t left_out = to_end < size ? to_end : 0;
    uint8_t *p;

    if (head + left_out + size - ring->tail_seen > ring->size) {
        ring->tail_seen = qatomic_load_acquire(&ring->tail);
        if (head + left_out + size - ring->tail_seen > ring->size) {
            ring->now.lost++;
            return NULL;
        }
    }
    if (left_out) {
        *(uint64_t *)ring_at(ring, head) = RING_LEFT_OUT;
        head += left_out;
    }
    p = ring_at(ring, head);
    memcpy(p, record, sizeof(*record));
    ring->now.head = head + size;
    ring->now.recorded++;
    return p + sizeof(*record);
}

void vhost_dp_dump_ring_publish(VhostDPDumpRing *ring,
                                const VhostDPDumpMark *mark)
{
    ring->now = *mark;
    qatomic_set(&ring->published.recorded, mark->recorded);
    qatomic_set(&ring->published.lost, mark->lost);
    qatomic_set(&ring->published.unmatched, mark->unmatched);
    qatomic_store_release(&ring->published.head, mark->head);
}

const VhostDPDumpRecord *vhost_dp_dump_ring_peek(VhostDPDumpRing *ring)
{
    uint64_t head = qatomic_load_acquire(&ring->published.head);
    const VhostDPDumpRecord *record;

    if (ring->tail == head) {
        return NULL;
    }
    record = (const VhostDPDumpRecord *)ring_at(ring, ring->tail);
    if (*(const uint64_t *)record == RING_LEFT_OUT) {
        qatomic_store_release(&ring->tail,
                              ring->tail + ring_to_end(ring, ring->tail));
        /* It was published together with the frame behind it */
        record = (const VhostDPDumpRecord *)ring_at(ring, ring->tail);
    }
    return record;
}

void vhost_dp_dump_ring_remove(VhostDPDumpRing *ring)
{
    const void *record = ring_at(ring, ring->tail);

    qatomic_store_release(&ring->tail, ring->tail + record_size(record));
}

void vhost_dp_dump_ring_count(const VhostDPDumpRing *ring, VhostDPDumpMark *sum)
{
    sum->recorded += qatomic_read(&ring->published.recorded);
    sum->lost += qatomic_read(&ring->published.lost);
    sum->unmatched += qatomic_read(&ring->published.unmatched);
}
