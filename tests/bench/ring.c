/*
 * vhost-dp bench: what both ring formats have in common
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
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
    ring->per_buf = per_buffer(ring);
    if (ring->nbuf > ring_max_buffers(ring)) {
        bench_fail("%u buffers of %u descriptors do not fit into a ring of "
                   "%u entries", ring->nbuf, ring->per_buf, ring->num);
    }
    ring->ops = ring->packed ? &ring_packed_ops : &ring_split_ops;
    ring->ops->init(ring, machine);
}
