/*
 * vhost-dp bench: the driver side of a virtqueue
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a guest's virtio driver does, in batches, on a Virtq (see virtq.h) in
 * guest RAM, which is mapped here.
 *
 * A buffer is named by its id, from 0 to nbuf - 1.  Each id owns the same
 * number of segments, so its descriptors (or its indirect table) are found by
 * the id and there is no free list.  Whoever posts an id must have reaped it
 * before.
 */

#ifndef BENCH_RING_H
#define BENCH_RING_H

#include "tests/vhost-dp/lib/virtq.h"
#include "machine.h"

/* Most ids in one ring_post() or ring_reap() */
#define RING_BATCH 64

#define RING_MAX_SEGS 32

typedef struct RingSeg {
    uint64_t gpa;
    uint32_t len;
} RingSeg;

typedef struct RingUsed {
    uint16_t id;
    uint32_t len;
} RingUsed;

typedef struct Ring {
    /* Set by the caller, before ring_init() */
    bool packed;
    bool event_idx;
    bool indirect;              /* a table for each buffer */
    bool device_writes;         /* an RX queue */
    unsigned num;               /* entries */
    unsigned nbuf;              /* ids */
    unsigned nsegs;             /* of each buffer */
    RingSeg *segs;              /* nbuf * nsegs */

    /* Set by ring_init(): guest addresses for the device */
    uint64_t desc_gpa;
    uint64_t driver_gpa;
    uint64_t device_gpa;

    Virtq vq;
    bool calls;                 /* interrupts are wanted */
    unsigned per_buf;           /* descriptors of the ring for a buffer */
} Ring;

/**
 * ring_init: lay the ring out in guest RAM
 *
 * Exits with a message when nbuf buffers do not fit into the ring.
 */
void ring_init(Ring *ring, Machine *machine);

/**
 * ring_max_buffers: how many buffers fit
 */
unsigned ring_max_buffers(const Ring *ring);

/**
 * ring_post: make the buffers @ids available, all with one publication
 * @n: 1 to RING_BATCH
 *
 * Returns true if the device has to be kicked.
 */
bool ring_post(Ring *ring, const uint16_t *ids, unsigned n);

/**
 * ring_reap: take up to @max used buffers
 */
unsigned ring_reap(Ring *ring, RingUsed *used, unsigned max);

/**
 * ring_has_used: would ring_reap() find anything?
 */
static inline bool ring_has_used(Ring *ring)
{
    return virtq_count_used(&ring->vq);
}

/**
 * ring_want_call: ask for an interrupt when the next buffer is used, or for
 * none at all
 *
 * The caller has to reap once more afterwards: what was used meanwhile may
 * have come without.
 */
void ring_want_call(Ring *ring, bool want);

#endif /* BENCH_RING_H */
