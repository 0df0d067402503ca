/*
 * vhost-dp: the driver side of a packed virtqueue, for unit tests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Virtio 1.3, section 2.8.  As MockQueue it shares no code with the device
 * side and may break every rule.  A "place" is an index into the descriptor
 * ring with the wrap counter in bit 15.
 */

#ifndef TESTS_VHOST_DP_LIB_MOCK_PACKED_H
#define TESTS_VHOST_DP_LIB_MOCK_PACKED_H

#include "mock.h"

#define MOCK_PACKED_WRAP    0x8000      /* in a place */
#define MOCK_PACKED_START   0x8000      /* where a new queue begins */

/* Flags of a descriptor */
#define MOCK_PACKED_AVAIL   0x0080
#define MOCK_PACKED_USED    0x8000

/* Flags of an event suppression structure */
#define MOCK_PACKED_ENABLE  0
#define MOCK_PACKED_DISABLE 1
#define MOCK_PACKED_DESC    2

typedef struct MockPacked {
    MockMemory *mm;
    unsigned num;
    bool event_idx;
    bool big_endian;
    uint64_t desc, driver, device;      /* guest addresses */

    uint16_t next;              /* place to write the next descriptor to */
    uint16_t published;         /* place behind the last one published */
    uint16_t first_flags;       /* of the first that is not published yet */
    uint16_t last_used;         /* place of the next used descriptor */
    bool junk;                  /* fill fields that have no meaning */

    unsigned nfree;             /* descriptors of the ring */
    unsigned nids;
    uint16_t *ids;              /* a stack of free buffer ids */
    uint16_t *ndescs;           /* by buffer id, 0: free */
} MockPacked;

/**
 * mock_packed_init: make a queue with an empty ring
 * @start: place where both sides begin (a queue that has run before)
 */
void mock_packed_init(MockPacked *q, MockMemory *mm, unsigned num,
                      uint64_t desc, uint64_t driver, uint64_t device,
                      uint16_t start, bool event_idx, bool big_endian);
void mock_packed_destroy(MockPacked *q);

/* The place @n descriptors after @place, at most one round */
uint16_t mock_packed_after(MockPacked *q, uint16_t place, unsigned n);

/* Flags that make the descriptor at @place available */
uint16_t mock_packed_avail(uint16_t place);

/* Put free buffer ids in a random order */
void mock_packed_shuffle(MockPacked *q, GRand *rand);

/**
 * mock_packed_add: a chain of direct descriptors, not published yet
 *
 * Returns the buffer id, or -1 if there are too few free descriptors.
 */
int mock_packed_add(MockPacked *q, const MockSeg *segs, unsigned n);

/* The same with an indirect table at @table */
int mock_packed_add_indirect(MockPacked *q, const MockSeg *segs, unsigned n,
                             uint64_t table);

/* Put a descriptor in the ring, whatever it is, but available */
void mock_packed_add_desc(MockPacked *q, uint64_t addr, uint32_t len,
                          uint16_t id, uint16_t flags);

/* Write a descriptor, to the ring or to any other place */
void mock_packed_set_desc(MockPacked *q, unsigned i, uint64_t addr,
                          uint32_t len, uint16_t id, uint16_t flags);
void mock_packed_write_desc(MockPacked *q, uint64_t gpa, uint64_t addr,
                            uint32_t len, uint16_t id, uint16_t flags);

/**
 * mock_packed_publish: make all chains available
 *
 * Returns true if the driver has to kick (virtio 1.3, 2.8.10).
 */
bool mock_packed_publish(MockPacked *q);

/* Is there a used descriptor? */
bool mock_packed_has_used(MockPacked *q);

/* Take the next used descriptor, free its chain */
bool mock_packed_get_used(MockPacked *q, uint32_t *id, uint32_t *len);

/* IN_ORDER (2.8.8): free a chain that has no used descriptor, and go past it */
void mock_packed_take_back(MockPacked *q, uint32_t id);

/* Fields of the ring, in host byte order */
uint16_t mock_packed_desc_flags(MockPacked *q, unsigned i);
void mock_packed_set_flags(MockPacked *q, unsigned i, uint16_t flags);
uint16_t mock_packed_device_flags(MockPacked *q);
uint16_t mock_packed_device_event(MockPacked *q);
void mock_packed_set_driver_flags(MockPacked *q, uint16_t flags);
void mock_packed_set_driver_event(MockPacked *q, uint16_t place);

/* For mock_memory_check_exact(): what used descriptors write */
MockRange mock_packed_range_used(MockPacked *q, unsigned first, unsigned n);
MockRange mock_packed_range_device_flags(MockPacked *q);
MockRange mock_packed_range_device_event(MockPacked *q);

#endif /* TESTS_VHOST_DP_LIB_MOCK_PACKED_H */
