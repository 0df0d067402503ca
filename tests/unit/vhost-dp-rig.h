/*
 * vhost-dp: a driver and a device that share a virtqueue, for unit tests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Numbers of sections are those of the virtio specification, version 1.3.
 */

#ifndef TESTS_UNIT_VHOST_DP_RIG_H
#define TESTS_UNIT_VHOST_DP_RIG_H

#include "hw/virtio/vhost-dp-vring.h"
#include "vhost-dp-mock-packed.h"

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
    uint64_t no_access;         /* address of a page that is not mapped */
} Rig;

/* With a vIOMMU, data is here, and in as many pages */
#define IOMMU_PAGES     96

/* Answer what was missed; a fault breaks the queue.  Returns their number. */
unsigned rig_resolve(Rig *r);

/* Make a queue that is not started */
Rig *rig_new_stopped(Setup s);

int rig_start(Rig *r);

Rig *rig_new(Setup s);

void rig_free(Rig *r);

/* The base to start from, as set_vring_base has it */
uint32_t rig_base(Rig *r);

/* Somebody else takes the queue over: only the base is handed on */
void rig_hand_over(Rig *r);

/* Add a chain that is not published yet; returns its id, or -1 */
int rig_add(Rig *r, uint64_t gpa, uint32_t len);
int rig_add_chain(Rig *r, const MockSeg *segs, unsigned n);

/* Returns true if the driver has to kick */
bool rig_publish(Rig *r);

bool rig_get_used(Rig *r, uint32_t *id, uint32_t *len);

/* IN_ORDER: a chain that has no used element of its own */
void rig_take_back(Rig *r, uint32_t id);

/* Make @n chains available, each with a buffer of @len bytes */
void rig_offer(Rig *r, unsigned n, uint32_t len);

unsigned rig_pop(Rig *r, unsigned max);

/* Push all chains of the burst, the length is 100 + their number in it */
void rig_push(Rig *r);

/* A complete turn of @n chains on both sides */
bool rig_turn(Rig *r, unsigned n);

void check_used(Rig *r, uint32_t id, uint32_t len);

void check_no_used(Rig *r);

/* Chain @i of the burst has exactly these segments */
void check_chain(Rig *r, unsigned i, int id, const MockRange *segs,
                 unsigned n);

uint64_t violations(Rig *r);

void check_healthy(Rig *r);

/* The queue is broken, and nothing moves any more */
void check_broken(Rig *r, VhostDPViolation why);

/* The driver resets the device after DEVICE_NEEDS_RESET (section 2.1.1) */
void rig_reset(Rig *r);

/* The same guest memory is somewhere else in QEMU now */
void rig_move_memory(Rig *r, uint64_t skip);

/* For queues of several sizes; a pointer to the size is passed */
void rig_test_sizes(const char *name, GTestDataFunc func);

/* Once without VIRTIO_F_EVENT_IDX, once with it */
void rig_test_event(const char *name, GTestDataFunc func);

/* The same for packed virtqueues, of other sizes */
void rig_test_packed_sizes(const char *name, GTestDataFunc func);
void rig_test_packed_event(const char *name, GTestDataFunc func);

/* What the paths of all tests begin with */
#define RIG_SPLIT "/vhost-dp/vring/split/"
#define RIG_PACKED "/vhost-dp/vring/packed/"

#endif /* TESTS_UNIT_VHOST_DP_RIG_H */
