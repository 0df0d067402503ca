/*
 * vhost-dp: a guest for unit tests, made of fake memory and a virtio driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * MockMemory is the guest's memory: areas that may be neighbours in guest
 * addresses but never are in QEMU's.  It stands in for system/physmem.c, as
 * mock.c implements the address_space_cache functions that vhost-dp calls.
 * Every byte that was reported as written is kept, so that a test can compare
 * what changed with what was reported.
 *
 * MockQueue is the driver side of a split virtqueue (virtio 1.3, section 2.7).
 * It shares no code with the device side and may break every rule.
 */

#ifndef TESTS_VHOST_DP_LIB_MOCK_H
#define TESTS_VHOST_DP_LIB_MOCK_H

#include "qemu/bswap.h"
#include "hw/virtio/vhost-dp-memory.h"

/* Guest memory */

typedef enum MockKind {
    MOCK_RAM,
    MOCK_DEVICE,                /* something that is not RAM */
    MOCK_RESERVED,              /* RAM, too large to be compared or touched */
    MOCK_ERROR,                 /* address_space_cache_init() fails */
} MockKind;

typedef struct MockArea {
    uint64_t gpa;
    uint64_t size;
    MockKind kind;
    uint64_t piece;             /* most bytes in one cache, 0: no limit */

    uint8_t *host;
    void *alloc;                /* what host is part of */
    uint8_t *before;            /* content at mock_memory_snapshot() */
    uint8_t *dirty;             /* 1 for a byte that was reported since */
} MockArea;

typedef struct MockRange {
    uint64_t gpa;
    uint64_t len;
} MockRange;

typedef struct MockMemory {
    AddressSpace as;
    unsigned nareas;
    MockArea *areas;
    unsigned refs;              /* caches that are not destroyed yet */
    unsigned inits;             /* caches ever made */
} MockMemory;

/**
 * mock_memory_new: make memory of @n areas, by ascending gpa
 *
 * RAM is filled with a pattern; @areas (gpa, size, kind, piece) is copied.
 */
MockMemory *mock_memory_new(const MockArea *areas, unsigned n);

/**
 * mock_memory_clone: same guest addresses and content, elsewhere in QEMU
 */
MockMemory *mock_memory_clone(const MockMemory *mm);

/**
 * mock_memory_free: all caches have to be destroyed
 */
void mock_memory_free(MockMemory *mm);

/**
 * mock_memory_table: make vhost-dp's table, one section for each area
 *
 * @skip: leave out the areas whose bit is set
 */
VhostDPMemory *mock_memory_table(MockMemory *mm, uint64_t skip);

/**
 * mock_memory_ptr: where @len contiguous bytes at @gpa are; they have to exist
 */
void *mock_memory_ptr(MockMemory *mm, uint64_t gpa, uint64_t len);

/* Like the guest's CPU: across areas, and not reported as dirty */
void mock_memory_write(MockMemory *mm, uint64_t gpa, const void *buf,
                       uint64_t len);
void mock_memory_read(MockMemory *mm, uint64_t gpa, void *buf, uint64_t len);

/**
 * mock_memory_snapshot: remember the content, forget what was reported
 */
void mock_memory_snapshot(MockMemory *mm);

/**
 * mock_memory_check: every byte that changed since the snapshot was reported
 */
void mock_memory_check(MockMemory *mm);

/**
 * mock_memory_check_exact: the bytes in @ranges were reported, and no other
 */
void mock_memory_check_exact(MockMemory *mm, const MockRange *ranges,
                             unsigned n);

/* What both drivers use */

/* To and from the byte order of a guest, which is its own inverse */
static inline uint16_t mock_swap16(bool big_endian, uint16_t v)
{
    return big_endian ? cpu_to_be16(v) : cpu_to_le16(v);
}

static inline uint32_t mock_swap32(bool big_endian, uint32_t v)
{
    return big_endian ? cpu_to_be32(v) : cpu_to_le32(v);
}

static inline uint64_t mock_swap64(bool big_endian, uint64_t v)
{
    return big_endian ? cpu_to_be64(v) : cpu_to_le64(v);
}

/* A field of a ring, atomically; the device may run in another thread */
uint16_t mock_load16(MockMemory *mm, bool big_endian, uint64_t gpa);
void mock_store16(MockMemory *mm, bool big_endian, uint64_t gpa, uint16_t v);

/* Put the @n elements of @v in a random order */
void mock_shuffle(uint16_t *v, unsigned n, GRand *rand);

/* The driver */

typedef struct MockSeg {
    uint64_t gpa;
    uint32_t len;
    bool writable;              /* by the device */
} MockSeg;

typedef struct MockQueue {
    MockMemory *mm;
    unsigned num;
    bool event_idx;
    bool big_endian;
    uint64_t desc, avail, used; /* guest addresses */

    uint16_t next_avail;        /* including chains not published yet */
    uint16_t avail_idx;         /* published */
    uint16_t last_used;
    unsigned nfree;
    uint16_t *free;             /* a stack of free descriptors */
    uint16_t *ndesc;            /* by head: descriptors of the chain */
    uint16_t *chain;            /* by head: num of them */
} MockQueue;

/**
 * mock_queue_init: make a queue with empty rings
 * @start: both indices begin here (a queue that has run before)
 */
void mock_queue_init(MockQueue *q, MockMemory *mm, unsigned num,
                     uint64_t desc, uint64_t avail, uint64_t used,
                     uint16_t start, bool event_idx, bool big_endian);
void mock_queue_destroy(MockQueue *q);

/* Put free descriptors in a random order */
void mock_queue_shuffle(MockQueue *q, GRand *rand);

/**
 * mock_queue_add: a chain of direct descriptors, not published yet
 *
 * Returns the head, or -1 if there are too few free descriptors.
 */
int mock_queue_add(MockQueue *q, const MockSeg *segs, unsigned n);

/**
 * mock_queue_add_indirect: a chain with an indirect table
 * @ndirect: segments that get a direct descriptor, before the indirect one
 * @table: guest address for the table
 * @rand: if not NULL, descriptors are in a random order in the table
 */
int mock_queue_add_indirect(MockQueue *q, const MockSeg *segs, unsigned n,
                            unsigned ndirect, uint64_t table, GRand *rand);

/* Put @head in the available ring, whatever it is */
void mock_queue_add_head(MockQueue *q, uint16_t head);

/* Write a descriptor, to the queue's table or to any other */
void mock_queue_set_desc(MockQueue *q, unsigned i, uint64_t addr, uint32_t len,
                         uint16_t flags, uint16_t next);
void mock_queue_write_desc(MockQueue *q, uint64_t gpa, uint64_t addr,
                           uint32_t len, uint16_t flags, uint16_t next);

/**
 * mock_queue_publish: make all chains available
 *
 * Returns true if the driver has to kick (virtio 1.3, 2.7.13.4).
 */
bool mock_queue_publish(MockQueue *q);

/**
 * mock_queue_get_used: take the next used element, free its descriptors
 */
bool mock_queue_get_used(MockQueue *q, uint32_t *id, uint32_t *len);

/* IN_ORDER (2.7.9): free a chain that has no used element, and go past it */
void mock_queue_take_back(MockQueue *q, uint32_t id);

/* Fields of the rings, in host byte order */
uint16_t mock_queue_used_idx(MockQueue *q);
uint16_t mock_queue_used_flags(MockQueue *q);
uint16_t mock_queue_avail_event(MockQueue *q);
void mock_queue_set_avail_idx(MockQueue *q, uint16_t idx);
void mock_queue_set_avail_flags(MockQueue *q, uint16_t flags);
void mock_queue_set_used_event(MockQueue *q, uint16_t idx);

/* Where the parts of the used ring are: for mock_memory_check_exact() */
MockRange mock_queue_range_flags(MockQueue *q);
MockRange mock_queue_range_used_idx(MockQueue *q);
MockRange mock_queue_range_elems(MockQueue *q, unsigned first, unsigned n);
MockRange mock_queue_range_avail_event(MockQueue *q);

#endif /* TESTS_VHOST_DP_LIB_MOCK_H */
