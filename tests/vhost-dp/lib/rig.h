/*
 * vhost-dp: a driver and a device that share a virtqueue, for unit tests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Numbers of sections are those of the virtio specification, version 1.3.
 */

#ifndef TESTS_VHOST_DP_LIB_RIG_H
#define TESTS_VHOST_DP_LIB_RIG_H

#include "hw/virtio/vhost-dp-vring.h"
#include "mock-packed.h"

/* Guest addresses: see layout[] */
#define BOTTOM_SIZE     0x100           /* first and last bytes of all, to */
#define TOP_SIZE        0x100ULL        /* see what wraps around */
#define DESC_GPA        0x10000
#define AVAIL_GPA       0x14000
#define USED_GPA        0x15000
#define DATA_GPA        0x20000
#define SMALL_GPA       0x30000         /* a region of 8 bytes */
#define GAP_GPA         0x40000
#define TABLE_GPA       0x50000
#define BORDER_GPA      0x58008         /* in the middle of a descriptor */
#define DEVICE_GPA      0x60000         /* not RAM */
#define LAST_GPA        0x70000         /* ends with a gap */
#define LAST_SIZE       0x1000
#define HIGH_GPA        0x100000000ULL
#define HUGE_GPA        0x200000000ULL

enum {
    AREA_BOTTOM, AREA_RING, AREA_DATA0, AREA_BYTE, AREA_DATA1, AREA_SMALL,
    AREA_DATA2,
    AREA_TABLE0, AREA_TABLE1, AREA_DEVICE, AREA_LAST, AREA_HIGH, AREA_HUGE,
    AREA_TOP,
};

typedef struct Setup {
    unsigned num;
    bool packed;
    /*
     * Where both sides begin.  Split: both indices.  Packed: a place, but
     * with bit 15 inverted, so that 0 is where a new queue begins.
     */
    uint16_t start;
    bool event_idx;
    bool notify_on_empty;
    bool in_order;
    bool big_endian;
    bool writable;
    /*
     * With a vIOMMU.  Guest addresses are then those of the IOMMU, and each
     * page is somewhere else in QEMU; rings begin @skew bytes later.
     */
    bool iommu;
    unsigned skew;
} Setup;

/* A driver, a device, and memory between the two */
typedef struct Rig {
    Setup s;
    MockMemory *mm;
    VhostDPMemory *mem;
    MockQueue q;                /* split */
    MockPacked p;               /* packed */
    VhostDPVring vq;
    VhostDPBurst burst;

    /* The vIOMMU, if there is one */
    VhostDPIotlb *iotlb;
    unsigned resolved;          /* misses that got an answer */
    uint64_t no_access;         /* address of a page that is refused */
} Rig;

/* With a vIOMMU, data is here, and in as many pages */
#define IOMMU_PAGES     96

/* Answer what was missed.  Returns how many pages that were. */
unsigned rig_resolve(Rig *r);

/* Make a queue that is not started */
Rig *rig_new_stopped(Setup s);

int rig_start(Rig *r);

Rig *rig_new(Setup s);

void rig_free(Rig *r);

/* Both sides begin @n entries before the ring, and the index, begins anew */
void rig_begin_before_end(Setup *s, unsigned n);

/*
 * The base, as set_vring_base has it, of a device that has taken and used that
 * many entries since the driver began at Setup.start
 */
uint32_t rig_base(Rig *r, unsigned taken, unsigned used);

/* Somebody else takes the queue over: only the base is handed on */
void rig_hand_over(Rig *r);

/* Add a chain that is not published yet; returns its id, or -1 */
int rig_add(Rig *r, uint64_t gpa, uint32_t len);
int rig_add_chain(Rig *r, const MockSeg *segs, unsigned n);
int rig_add_indirect(Rig *r, const MockSeg *segs, unsigned n, uint64_t table);

/* Put free descriptors, or buffer ids, in a random order */
void rig_shuffle(Rig *r, GRand *rand);

/*
 * Overwrite what was published as chain @id, of one descriptor, in the entry
 * that is @n after the first
 */
void rig_rewrite(Rig *r, unsigned n, int id, uint64_t gpa, uint32_t len,
                 uint16_t flags);

/* Returns true if the driver has to kick */
bool rig_publish(Rig *r);

bool rig_get_used(Rig *r, uint32_t *id, uint32_t *len);

/* IN_ORDER: a chain that has no used element of its own */
void rig_take_back(Rig *r, uint32_t id);

/* Make @n chains available, each with a buffer of @len bytes */
void rig_offer(Rig *r, unsigned n, uint32_t len);

/* Make one chain of @n buffers available; returns its id */
int rig_offer_chain(Rig *r, unsigned n);

unsigned rig_pop(Rig *r, unsigned max);

/*
 * What the driver wishes: a call at the next flush, no call, or (with
 * EVENT_IDX) a call for the entry that is @distance after the next to be used
 */
void rig_want_call(Rig *r);
void rig_want_no_call(Rig *r);
void rig_want_call_at(Rig *r, int distance);

/* Push all chains of the burst, the length is 100 + their number in it */
void rig_push(Rig *r);

/* A complete turn of @n chains on both sides */
bool rig_turn(Rig *r, unsigned n);

void check_used(Rig *r, uint32_t id, uint32_t len);

void check_no_used(Rig *r);

/* Chain @i of the burst has exactly these segments */
void check_chain(Rig *r, unsigned i, int id, const MockRange *segs,
                 unsigned n);

/* Entries that the device has taken, and used, since the driver began */
void check_progress(Rig *r, unsigned taken, unsigned used);

/* The device asks for a kick, with EVENT_IDX for entry @n; or for none */
void check_asks_kick(Rig *r, unsigned n);
void check_asks_no_kick(Rig *r);

/* Where the device writes that it asks for a kick */
MockRange rig_range_asks(Rig *r);

/*
 * Since the snapshot nothing was reported but used elements, from slot @first
 * of the ring over @n entries (and what tells the driver about them)
 */
void check_written(Rig *r, unsigned first, unsigned n);

uint64_t violations(Rig *r);

void check_healthy(Rig *r);

/* The queue is broken, and nothing moves any more */
void check_broken(Rig *r, VhostDPViolation why);

/* The driver resets the device after DEVICE_NEEDS_RESET (section 2.1.1) */
void rig_reset(Rig *r);

/* The same, but then driver and device agree upon the other ring format */
void rig_change_format(Rig *r);

/* The same guest memory is somewhere else in QEMU now */
void rig_move_memory(Rig *r, uint64_t skip);

/*
 * Tests.  Rules that hold for both ring formats have one test, which runs for
 * each of them; in the rig's terms an "entry" is what a ring counts.  That is
 * a chain in a split ring, and a descriptor in a packed one.
 */

/* For which formats, and over what else */
enum {
    FOR_SPLIT = 1,
    FOR_PACKED = 2,
    FOR_BOTH = FOR_SPLIT | FOR_PACKED,
    BY_EVENT = 4,       /* without VIRTIO_F_EVENT_IDX, and with it */
    BY_SIZE = 8,        /* for queues of several sizes */
};

typedef struct RigTest {
    const char *name;
    void (*run)(Setup s);       /* the rest of @s is for the test to fill in */
    unsigned how;
} RigTest;

/* Add @n tests; @tests has to stay */
void rig_add_tests(const RigTest *tests, unsigned n);

/* What the paths of all tests begin with */
#define RIG_SPLIT "/vhost-dp/vring/split/"
#define RIG_PACKED "/vhost-dp/vring/packed/"

#endif /* TESTS_VHOST_DP_LIB_RIG_H */
