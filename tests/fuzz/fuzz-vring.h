/*
 * vhost-dp: what an input of the ring's fuzz target is made of
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Shared by the target and by the program that makes its first inputs.  An
 * input is a header of FUZZ_HEADER bytes and operations until it ends.  All
 * numbers are little-endian; what is out of range is taken modulo the range.
 */

#ifndef TESTS_FUZZ_VRING_H
#define TESTS_FUZZ_VRING_H

#include "tests/vhost-dp/lib/mock.h"

/* byte 0: FUZZ_CONFIG_*; 1: size of the ring; 2, 3: where it begins */
#define FUZZ_HEADER             4

#define FUZZ_CONFIG_PACKED      (1 << 0)
#define FUZZ_CONFIG_EVENT_IDX   (1 << 1)
#define FUZZ_CONFIG_WRITABLE    (1 << 2)
#define FUZZ_CONFIG_BIG_ENDIAN  (1 << 3)
#define FUZZ_CONFIG_IOMMU       (1 << 4)
#define FUZZ_CONFIGS            (1 << 5)

#define FUZZ_MAX_NUM            32

enum {
    FUZZ_POKE,          /* area, offset (2), length, that many bytes */
    FUZZ_AVAIL,         /* number: make it available, whatever it is */
    FUZZ_POP,           /* most chains, most bytes (2) */
    FUZZ_USE,           /* chains to push, length written / 256 */
    FUZZ_REWIND,        /* the rest */
    FUZZ_FLUSH,
    FUZZ_ENABLE,
    FUZZ_DISABLE,
    FUZZ_RESTART,       /* where it was */
    FUZZ_START_AT,      /* base (4) */
    FUZZ_REMAP,         /* areas to leave out (1) */
    FUZZ_MOVE_RING,     /* which part, offset (2): addresses, then restart */
    FUZZ_MUTATE,        /* area, offset (2), value: in the middle of an access */
    FUZZ_ACCESS,        /* IOMMU: page, what the device may do with it */
    FUZZ_NOPS
};

#define FUZZ_DESC_GPA   0x1000
#define FUZZ_AVAIL_GPA  0x2000
#define FUZZ_USED_GPA   0x2080
#define FUZZ_TABLE_GPA  0x3000
#define FUZZ_DATA_GPA   0x4000
#define FUZZ_DATA_SIZE  0x800
#define FUZZ_HUGE_GPA   0x200000000ULL

/* Neighbours and gaps, not RAM, too much for 32 bits, the very end */
static const MockArea fuzz_areas[] = {
    { .gpa = FUZZ_DESC_GPA, .size = FUZZ_MAX_NUM * 16 },
    { .gpa = FUZZ_AVAIL_GPA, .size = 0x210 },
    { .gpa = FUZZ_TABLE_GPA, .size = 0x208 },
    { .gpa = 0x3208, .size = 0x1f8 },
    { .gpa = FUZZ_DATA_GPA, .size = 0x345 },
    { .gpa = 0x4345, .size = 1 },
    { .gpa = 0x4346, .size = 0x4ba },
    { .gpa = 0x6000, .size = 0x1000, .kind = MOCK_DEVICE },
    { .gpa = 0x7000, .size = 0x100 },
    { .gpa = FUZZ_HUGE_GPA, .size = 0x180000000ULL, .kind = MOCK_RESERVED },
    { .gpa = -0x100ULL, .size = 0x100 },
};

/*
 * The same with an IOMMU, whose pages are areas of their own: contiguous in its
 * addresses, but not in QEMU.
 */
#define FUZZ_PAGE(n)    { .gpa = (n) * 0x1000ULL, .size = 0x1000 }

static const MockArea fuzz_pages[] = {
    FUZZ_PAGE(0), FUZZ_PAGE(1), FUZZ_PAGE(2), FUZZ_PAGE(3), FUZZ_PAGE(4),
    FUZZ_PAGE(5),
    { .gpa = 0x6000, .size = 0x1000, .kind = MOCK_DEVICE },
    FUZZ_PAGE(7), FUZZ_PAGE(8),
    { .gpa = -0x1000ULL, .size = 0x1000 },
};

static inline MockMemory *fuzz_memory(uint8_t config)
{
    return config & FUZZ_CONFIG_IOMMU ?
           mock_memory_new(fuzz_pages, ARRAY_SIZE(fuzz_pages)) :
           mock_memory_new(fuzz_areas, ARRAY_SIZE(fuzz_areas));
}

/* As in an input, to the sizes that the format has */
static inline unsigned fuzz_num(bool packed, uint8_t byte)
{
    return packed ? 1 + byte % FUZZ_MAX_NUM : 1u << byte % 6;
}

#endif /* TESTS_FUZZ_VRING_H */
