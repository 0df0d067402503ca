/*
 * vhost-dp-dump: a ring of recorded frames between two threads
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each queue pair has one.  The pair's IOThread puts frames in, the writer
 * takes them out; neither waits for the other, and there is no lock.  A frame
 * that finds no room is counted and not recorded.
 */

#ifndef NET_VHOST_DP_DRIVERS_DUMP_RING_H
#define NET_VHOST_DP_DRIVERS_DUMP_RING_H

#include "qemu/atomic.h"

/* A recorded frame; @kept bytes of it follow.  Metadata as in VhostDPFrame. */
typedef struct VhostDPDumpRecord {
    uint64_t time;              /* ns since 1970, less than UINT64_MAX */
    uint32_t len;               /* of the frame */
    uint32_t kept;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint8_t flags;
    uint8_t gso_type;
    bool tx;                    /* the guest sent it */
} VhostDPDumpRecord;

/* How far the IOThread is: what was put in, and what became of all frames */
typedef struct VhostDPDumpMark {
    uint64_t head;              /* bytes, free-running */
    uint64_t recorded;
    uint64_t lost;              /* there was no room, or no recording */
    uint64_t unmatched;         /* not wanted */
} VhostDPDumpMark;

typedef struct VhostDPDumpRing VhostDPDumpRing;

struct VhostDPDumpRing {
    uint8_t *data;
    uint64_t size;              /* a power of 2 */
    unsigned pair;
    VhostDPDumpRing *next;      /* the writer's list, see there */

    /* The IOThread's own */
    VhostDPDumpMark now;        /* not published yet */
    uint64_t tail_seen;

    /* Between the threads, each with one that writes it; atomic */
    VhostDPDumpMark published;  /* by the IOThread */
    uint64_t tail;              /* by the writer */
};

/**
 * vhost_dp_dump_ring_new: make a ring
 * @size: at least that many bytes; twice the longest frame is needed
 *
 * Thread: any.  Returns NULL if there is no memory.
 */
VhostDPDumpRing *vhost_dp_dump_ring_new(unsigned pair, uint64_t size);

/* Thread: any.  Nobody uses it any more. */
void vhost_dp_dump_ring_free(VhostDPDumpRing *ring);

/**
 * vhost_dp_dump_ring_add: begin a frame, in @ring->now
 * @record: copied
 *
 * Thread: IOThread.  Returns where @record->kept bytes are to be put before the
 * frame is published; or NULL if there is no room, and counts the frame.
 */
uint8_t *vhost_dp_dump_ring_add(VhostDPDumpRing *ring,
                                const VhostDPDumpRecord *record);

/**
 * vhost_dp_dump_ring_publish: let the writer and others see frames
 * @mark: a copy of @ring->now from after the last of these frames; later ones
 *        are forgotten
 *
 * Thread: IOThread.
 */
void vhost_dp_dump_ring_publish(VhostDPDumpRing *ring,
                                const VhostDPDumpMark *mark);

/* Is it half full?  Thread: IOThread. */
static inline bool vhost_dp_dump_ring_is_busy(const VhostDPDumpRing *ring)
{
    return ring->now.head - qatomic_read(&ring->tail) > ring->size / 2;
}

/* Are there frames to take out?  Thread: the writer. */
static inline bool vhost_dp_dump_ring_has(const VhostDPDumpRing *ring)
{
    return qatomic_read(&ring->published.head) != ring->tail;
}

/**
 * vhost_dp_dump_ring_peek: the oldest frame, or NULL
 *
 * Its bytes are behind it; both stay until vhost_dp_dump_ring_remove().
 * Thread: the writer.
 */
const VhostDPDumpRecord *vhost_dp_dump_ring_peek(VhostDPDumpRing *ring);

/* Take the frame out that peek has returned.  Thread: the writer. */
void vhost_dp_dump_ring_remove(VhostDPDumpRing *ring);

/* Add what was counted so far.  @head of @sum has no meaning.  Thread: any. */
void vhost_dp_dump_ring_count(const VhostDPDumpRing *ring,
                              VhostDPDumpMark *sum);

#endif /* NET_VHOST_DP_DRIVERS_DUMP_RING_H */
