/*
 * vhost-dp: tests of packed virtqueues: descriptors, and rules about them
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_ring.h"
#include "vhost-dp-rig.h"

#define W MOCK_PACKED_WRAP
#define AT(place) ((place) ^ W)

/* Give back what was popped, and look at the first used descriptor */
static void finish(Rig *r, int id)
{
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, id, 100);
}

/* Section 2.8.6: descriptors that follow each other, also across the end */
static void test_direct_chain(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true });
    GRand *rand = g_rand_new_with_seed(1);
    MockSeg segs[] = {
        { DATA_GPA, 12 }, { DATA_GPA + 0x100, 1 }, { HIGH_GPA + 4, 1500 },
    };
    unsigned i;

    for (i = 0; i < 20; i++) {
        int id;

        mock_packed_shuffle(&r->p, rand);
        id = rig_add_chain(r, segs, 3);
        rig_publish(r);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        /* The buffer id of the last one: the others' is junk */
        check_chain(r, 0, id, (MockRange[]) {
            { DATA_GPA, 12 }, { DATA_GPA + 0x100, 1 }, { HIGH_GPA + 4, 1500 },
        }, 3);
        g_assert_cmpuint(r->burst.chain[0].ndescs, ==, 3);
        finish(r, id);
    }
    check_healthy(r);
    g_rand_free(rand);
    rig_free(r);
}

/* A chain of as many descriptors as the ring has is no loop (2.8.17) */
static void test_chain_of_all_descriptors(gconstpointer opaque)
{
    unsigned num = *(const unsigned *)opaque;
    Rig *r = rig_new((Setup) { .num = num, .packed = true,
                               .start = AT((num / 2) | W) });
    g_autofree MockSeg *segs = g_new0(MockSeg, num);
    unsigned i, j;

    for (j = 0; j < num; j++) {
        segs[j] = (MockSeg) { DATA_GPA + 3 * j, 2, false };
    }
    for (i = 0; i < 5; i++) {
        int id = rig_add_chain(r, segs, num);

        g_assert_cmpint(id, >=, 0);
        rig_publish(r);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        g_assert_cmpuint(r->burst.chain[0].nsegs, ==, num);
        g_assert_cmpuint(r->burst.chain[0].ndescs, ==, num);
        for (j = 0; j < num; j++) {
            g_assert_true(r->burst.chain[0].iov[j].iov_base ==
                          mock_memory_ptr(r->mm, DATA_GPA + 3 * j, 2));
        }
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        r->burst.nchains = 1;
        finish(r, id);
    }
    check_healthy(r);
    rig_free(r);
}

/*
 * Section 2.8.7: a table's descriptors are in order, and nothing but WRITE
 * has a meaning in them; the table takes one descriptor of the ring.
 */
static void test_indirect_chain(void)
{
    Rig *r = rig_new((Setup) { .num = 3, .packed = true });
    MockSeg segs[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
        { DATA_GPA + 0x30, 4 }, { DATA_GPA + 0x40, 5 },
    };
    MockRange want[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
        { DATA_GPA + 0x30, 4 }, { DATA_GPA + 0x40, 5 },
    };
    unsigned i, n;

    for (i = 0; i < 20; i++) {
        for (n = 1; n <= 5; n++) {
            /* More than the ring has; tables have any alignment */
            int id = mock_packed_add_indirect(&r->p, segs, n, TABLE_GPA + i);

            rig_publish(r);
            g_assert_cmpuint(rig_pop(r, 64), ==, 1);
            check_chain(r, 0, id, want, n);
            g_assert_cmpuint(r->burst.chain[0].ndescs, ==, 1);
            finish(r, id);
        }
        r->p.junk = !r->p.junk;
    }
    check_healthy(r);
    rig_free(r);
}

/* The write flag of a descriptor that refers to a table has no meaning */
static void test_indirect_ignores_write_flag(void)
{
    Rig *r = rig_new((Setup) { .num = 4, .packed = true });

    mock_packed_write_desc(&r->p, TABLE_GPA, DATA_GPA, 7, 0, 0);
    mock_packed_add_desc(&r->p, TABLE_GPA, 16, 3,
                         VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE);
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    check_chain(r, 0, 3, &(MockRange) { DATA_GPA, 7 }, 1);
    check_healthy(r);
    rig_free(r);
}

/* Every byte of a table can be the last one of a region */
static void test_indirect_crosses_regions(void)
{
    Rig *r = rig_new((Setup) { .num = 4, .packed = true });
    MockSeg segs[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
    };
    MockRange want[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
    };
    static const uint64_t from[] = { BORDER_GPA - 48, 0x2a345 - 47 };
    static const uint64_t to[] = { BORDER_GPA, 0x2a346 };
    unsigned i;
    uint64_t gpa;

    for (i = 0; i < 2; i++) {
        for (gpa = from[i]; gpa <= to[i]; gpa++) {
            int id = mock_packed_add_indirect(&r->p, segs, 3, gpa);

            rig_publish(r);
            g_assert_cmpuint(rig_pop(r, 64), ==, 1);
            check_chain(r, 0, id, want, 3);
            finish(r, id);
        }
    }
    check_healthy(r);
    rig_free(r);
}

/* The last bytes of RAM can be a table, and a buffer */
static void test_end_of_ram(void)
{
    Rig *r = rig_new((Setup) { .num = 4, .packed = true });
    uint64_t end = LAST_GPA + LAST_SIZE;
    MockSeg seg = { end - 17, 1 };
    int id = mock_packed_add_indirect(&r->p, &seg, 1, end - 16);

    rig_add(r, end - 1, 1);
    rig_add(r, LAST_GPA, LAST_SIZE);
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 3);
    check_chain(r, 0, id, &(MockRange) { end - 17, 1 }, 1);
    check_chain(r, 1, 1, &(MockRange) { end - 1, 1 }, 1);
    check_chain(r, 2, 2, &(MockRange) { LAST_GPA, LAST_SIZE }, 1);
    check_healthy(r);
    rig_free(r);
}

static void test_buffer_in_regions(void)
{
    Rig *r = rig_new((Setup) { .num = 4, .packed = true, .writable = true });
    MockSeg segs[] = { { DATA_GPA, 0x20000, true }, { 0x2fff0, 0x20, true },
                       { 0x2a344, 3, true } };
    int id = rig_add_chain(r, segs, 3);

    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    check_chain(r, 0, id, (MockRange[]) {
        { DATA_GPA, 0xa345 }, { 0x2a345, 1 }, { 0x2a346, 0x5cba },
        { SMALL_GPA, 8 }, { 0x30008, 0xfff8 },
        { 0x2fff0, 0x10 }, { SMALL_GPA, 8 }, { 0x30008, 8 },
        { 0x2a344, 1 }, { 0x2a345, 1 }, { 0x2a346, 1 },
    }, 11);
    g_assert_cmpuint(r->burst.chain[0].ndescs, ==, 3);
    check_healthy(r);
    rig_free(r);
}

/* Section 2.8.17: readable descriptors first; a queue takes its direction */
static void test_takes_own_direction(gconstpointer opaque)
{
    bool writable = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .packed = true,
                               .writable = writable });
    MockSeg segs[] = {
        { DATA_GPA, 1, false }, { DATA_GPA + 0x10, 2, false },
        { DATA_GPA + 0x20, 3, true }, { DATA_GPA + 0x30, 4, true },
    };
    MockRange want[2];
    int id[2];
    unsigned i;

    for (i = 0; i < 2; i++) {
        unsigned n = writable ? 2 + i : i;

        want[i] = (MockRange) { segs[n].gpa, segs[n].len };
    }
    id[0] = rig_add_chain(r, segs, 4);
    id[1] = mock_packed_add_indirect(&r->p, segs, 4, TABLE_GPA);
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    check_chain(r, 0, id[0], want, 2);
    check_chain(r, 1, id[1], want, 2);
    g_assert_cmpuint(r->burst.chain[0].ndescs, ==, 4);
    check_healthy(r);
    rig_free(r);
}

/* A descriptor is copied once: later changes by the driver have no effect */
static void test_descriptor_changes_after_pop(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true });
    MockSeg segs[] = { { DATA_GPA, 12 }, { DATA_GPA + 0x100, 100 } };
    MockRange want[] = { { DATA_GPA, 12 }, { DATA_GPA + 0x100, 100 } };
    unsigned i;

    rig_add_chain(r, segs, 2);
    mock_packed_add_indirect(&r->p, segs, 2, TABLE_GPA);
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    for (i = 0; i < 8; i++) {
        mock_packed_set_desc(&r->p, i, UINT64_MAX, 0, 0xffff, 0xff7f);
        mock_packed_write_desc(&r->p, TABLE_GPA + 16 * i, UINT64_MAX, 0,
                               0xffff, 0xffff);
    }
    check_chain(r, 0, 0, want, 2);
    check_chain(r, 1, 1, want, 2);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, 0, 100);
    check_used(r, 1, 101);
    check_healthy(r);
    rig_free(r);
}

/* A buffer id is the driver's business: any 16 bits come back (2.8.13) */
static void test_any_buffer_id(void)
{
    static const uint16_t ids[] = { 0, 8, 0x8000, 0xffff, 1234, 1234 };
    Rig *r = rig_new((Setup) { .num = 8, .packed = true });
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(ids); i++) {
        mock_packed_add_desc(&r->p, DATA_GPA, 4, ids[i], 0);
    }
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, ARRAY_SIZE(ids));
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    for (i = 0; i < ARRAY_SIZE(ids); i++) {
        uint8_t id[2];

        mock_memory_read(r->mm, DESC_GPA + 16 * i + 12, id, 2);
        g_assert_cmphex(id[0] | id[1] << 8, ==, ids[i]);
    }
    check_healthy(r);
    rig_free(r);
}

static void test_chain_of_most(void)
{
    Rig *r = rig_new((Setup) { .num = 4, .packed = true });
    g_autofree MockSeg *segs = g_new0(MockSeg, VHOST_DP_VRING_MAX_SEGS);
    MockSeg huge[] = {
        { HUGE_GPA, GiB }, { HUGE_GPA, GiB }, { HUGE_GPA, GiB },
        { HUGE_GPA, GiB - 1 },
    };
    unsigned i;

    for (i = 0; i < VHOST_DP_VRING_MAX_SEGS; i++) {
        segs[i] = (MockSeg) { DATA_GPA + i, 1, false };
    }
    mock_packed_add_indirect(&r->p, segs, VHOST_DP_VRING_MAX_SEGS, TABLE_GPA);
    /* One descriptor less: the last buffer is in two regions */
    segs[VHOST_DP_VRING_MAX_SEGS - 2] = (MockSeg) { 0x2a344, 2, false };
    mock_packed_add_indirect(&r->p, segs, VHOST_DP_VRING_MAX_SEGS - 1,
                             TABLE_GPA + 0x4000);
    mock_packed_add_indirect(&r->p, huge, 4, TABLE_GPA + 0x8000);
    rig_publish(r);
    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(rig_pop(r, 1), ==, 1);
        g_assert_cmpuint(r->burst.chain[0].nsegs, ==,
                         VHOST_DP_VRING_MAX_SEGS);
        g_assert_cmpuint(r->burst.chain[0].len, ==, VHOST_DP_VRING_MAX_SEGS);
    }
    g_assert_cmpuint(rig_pop(r, 1), ==, 1);
    g_assert_cmpuint(r->burst.chain[0].len, ==, UINT32_MAX);
    check_healthy(r);
    rig_free(r);
}

/*
 * Violations.  A queue's own direction is "own", the other one "other"; two
 * good chains of a descriptor each come first.
 */

typedef struct Violation {
    const char *name;
    void (*add)(Rig *r);
    VhostDPViolation why;
} Violation;

enum { BAD_NUM = 16, BAD_ID = 9 };

static uint16_t own(Rig *r)
{
    return r->s.writable ? VRING_DESC_F_WRITE : 0;
}

static uint16_t other(Rig *r)
{
    return r->s.writable ? 0 : VRING_DESC_F_WRITE;
}

static void bad_desc(Rig *r, uint64_t gpa, uint32_t len, uint16_t flags)
{
    mock_packed_add_desc(&r->p, gpa, len, BAD_ID, flags);
}

static void bad_table(Rig *r, unsigned i, uint64_t gpa, uint32_t len,
                      uint16_t flags)
{
    mock_packed_write_desc(&r->p, TABLE_GPA + 16 * i, gpa, len, 0, flags);
}

static void bad_indirect(Rig *r, uint64_t gpa, uint32_t len)
{
    bad_desc(r, gpa, len, VRING_DESC_F_INDIRECT);
}

static void bad_buffer(Rig *r, uint64_t gpa, uint32_t len)
{
    bad_desc(r, DATA_GPA, 12, own(r) | VRING_DESC_F_NEXT);
    bad_desc(r, gpa, len, own(r));
}

static void fill_with_next(Rig *r, uint16_t flags)
{
    unsigned i;

    for (i = 0; i < BAD_NUM; i++) {
        uint16_t avail = mock_packed_avail(i < 2 ? 0 : W);

        mock_packed_set_desc(&r->p, i, DATA_GPA, 4, BAD_ID,
                             flags | VRING_DESC_F_NEXT | avail);
    }
}

/* Around the ring, into what the device has: 14 are left of 16 */
static void bad_chain_around(Rig *r)
{
    unsigned i;

    for (i = 0; i < 14; i++) {
        bad_desc(r, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT);
    }
}

static void bad_order(Rig *r)
{
    bad_desc(r, DATA_GPA, 4, VRING_DESC_F_NEXT);
    bad_desc(r, DATA_GPA, 4, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT);
    bad_desc(r, DATA_GPA, 4, 0);
}

static void bad_order_indirect(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, VRING_DESC_F_WRITE);
    bad_table(r, 1, DATA_GPA, 4, 0);
    bad_indirect(r, TABLE_GPA, 2 * 16);
}

static void bad_zero_first(Rig *r)
{
    bad_desc(r, DATA_GPA, 0, own(r) | VRING_DESC_F_NEXT);
    bad_desc(r, DATA_GPA, 4, own(r));
}

static void bad_zero_last(Rig *r)
{
    bad_buffer(r, DATA_GPA, 0);
}

static void bad_zero_in_table(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, own(r));
    bad_table(r, 1, DATA_GPA, 0, own(r));
    bad_indirect(r, TABLE_GPA, 2 * 16);
}

static void bad_zero_other(Rig *r)
{
    /* Before the own part on receive, after it on transmit */
    if (r->s.writable) {
        bad_desc(r, DATA_GPA, 0, other(r) | VRING_DESC_F_NEXT);
        bad_desc(r, DATA_GPA, 4, own(r));
    } else {
        bad_desc(r, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT);
        bad_desc(r, DATA_GPA, 0, other(r));
    }
}

static void bad_nested(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, own(r));
    bad_table(r, 1, TABLE_GPA + 64, 16, VRING_DESC_F_INDIRECT);
    bad_table(r, 4, DATA_GPA, 4, own(r));
    bad_indirect(r, TABLE_GPA, 2 * 16);
}

static void bad_chained_first(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, own(r));
    bad_desc(r, TABLE_GPA, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT);
    bad_desc(r, DATA_GPA, 4, own(r));
}

static void bad_chained_last(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, own(r));
    bad_desc(r, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT);
    bad_desc(r, TABLE_GPA, 16, VRING_DESC_F_INDIRECT);
}

static void bad_size_zero(Rig *r)
{
    bad_indirect(r, TABLE_GPA, 0);
}

static void bad_size_less(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, own(r));
    bad_indirect(r, TABLE_GPA, 15);
}

static void bad_size_more(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, own(r));
    bad_indirect(r, TABLE_GPA, 17);
}

static void bad_table_in_gap(Rig *r)
{
    bad_indirect(r, GAP_GPA, 16);
}

static void bad_table_in_device(Rig *r)
{
    bad_indirect(r, DEVICE_GPA, 16);
}

static void bad_table_wraps(Rig *r)
{
    mock_packed_write_desc(&r->p, -16ULL, DATA_GPA, 4, 0, own(r));
    mock_packed_write_desc(&r->p, 0, DATA_GPA, 4, 0, own(r));
    bad_indirect(r, -16ULL, 32);
}

/* Half of a descriptor is RAM, and it is not to be used */
static void bad_table_end(Rig *r)
{
    bad_indirect(r, LAST_GPA + LAST_SIZE - 8, 16);
}

static void bad_table_later(Rig *r)
{
    uint64_t gpa = LAST_GPA + LAST_SIZE - 16;

    mock_packed_write_desc(&r->p, gpa, DATA_GPA, 4, 0, own(r));
    bad_indirect(r, gpa, 32);
}

static void bad_buffer_gap(Rig *r)
{
    bad_buffer(r, GAP_GPA, 4);
}

static void bad_buffer_first(Rig *r)
{
    bad_desc(r, GAP_GPA, 4, own(r));
}

static void bad_buffer_device(Rig *r)
{
    bad_buffer(r, DEVICE_GPA + 16, 4);
}

static void bad_buffer_into_gap(Rig *r)
{
    bad_buffer(r, GAP_GPA - 4, 5);
}

static void bad_buffer_wraps(Rig *r)
{
    bad_buffer(r, -4ULL, 8);
}

static void bad_length(Rig *r)
{
    unsigned i;

    for (i = 0; i < 4; i++) {
        bad_desc(r, HUGE_GPA, GiB, own(r) | (i < 3 ? VRING_DESC_F_NEXT : 0));
    }
}

static void bad_segments(Rig *r)
{
    unsigned i, n = VHOST_DP_VRING_MAX_SEGS + 1;

    for (i = 0; i < n; i++) {
        bad_table(r, i, DATA_GPA, 1, own(r));
    }
    bad_indirect(r, TABLE_GPA, n * 16);
}

/* The same with descriptors of the other direction: loops are bounded */
static void bad_segments_other(Rig *r)
{
    unsigned i, n = VHOST_DP_VRING_MAX_SEGS + 1;

    for (i = 0; i < n; i++) {
        bad_table(r, i, DATA_GPA, 1, other(r));
    }
    bad_indirect(r, TABLE_GPA, 0xfffffff0);
}

/* 1024 descriptors, but one buffer is in two regions */
static void bad_segments_cut(Rig *r)
{
    unsigned i, n = VHOST_DP_VRING_MAX_SEGS;

    for (i = 0; i < n; i++) {
        bad_table(r, i, 0x2a344, i + 1 < n ? 1 : 2, own(r));
    }
    bad_indirect(r, TABLE_GPA, n * 16);
}

static void bad_no_buffer(Rig *r)
{
    bad_desc(r, DATA_GPA, 4, other(r));
}

static void bad_no_buffer_indirect(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, other(r));
    bad_table(r, 1, DATA_GPA, 4, other(r));
    bad_indirect(r, TABLE_GPA, 2 * 16);
}

static const Violation bad_chains[] = {
    /* 2.8.17: not longer than the queue */
    { "chain-around-ring", bad_chain_around,
      VHOST_DP_VIOLATION_DESCRIPTOR_LOOP },
    /* 2.8.5 and 2.8.17 */
    { "readable-after-writable", bad_order,
      VHOST_DP_VIOLATION_DESCRIPTOR_ORDER },
    { "readable-after-writable-in-table", bad_order_indirect,
      VHOST_DP_VIOLATION_DESCRIPTOR_ORDER },
    /* 2.8.13: a length is not zero */
    { "zero-length-first", bad_zero_first, VHOST_DP_VIOLATION_ZERO_LENGTH },
    { "zero-length-last", bad_zero_last, VHOST_DP_VIOLATION_ZERO_LENGTH },
    { "zero-length-in-table", bad_zero_in_table,
      VHOST_DP_VIOLATION_ZERO_LENGTH },
    { "zero-length-other-direction", bad_zero_other,
      VHOST_DP_VIOLATION_ZERO_LENGTH },
    /* 2.8.7 and 2.8.19 */
    { "table-in-table", bad_nested, VHOST_DP_VIOLATION_INDIRECT_NESTED },
    { "table-first-in-chain", bad_chained_first,
      VHOST_DP_VIOLATION_INDIRECT_CHAINED },
    { "table-last-in-chain", bad_chained_last,
      VHOST_DP_VIOLATION_INDIRECT_CHAINED },
    { "table-of-no-bytes", bad_size_zero, VHOST_DP_VIOLATION_INDIRECT_SIZE },
    { "table-of-15-bytes", bad_size_less, VHOST_DP_VIOLATION_INDIRECT_SIZE },
    { "table-of-17-bytes", bad_size_more, VHOST_DP_VIOLATION_INDIRECT_SIZE },
    { "table-in-gap", bad_table_in_gap, VHOST_DP_VIOLATION_TABLE_ADDRESS },
    { "table-in-device", bad_table_in_device,
      VHOST_DP_VIOLATION_TABLE_ADDRESS },
    { "table-wraps-address-space", bad_table_wraps,
      VHOST_DP_VIOLATION_TABLE_ADDRESS },
    { "table-ends-in-gap", bad_table_end, VHOST_DP_VIOLATION_TABLE_ADDRESS },
    { "table-continues-in-gap", bad_table_later,
      VHOST_DP_VIOLATION_TABLE_ADDRESS },
    /* 2.8.13: addr is a guest-physical address */
    { "buffer-in-gap", bad_buffer_gap, VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "first-buffer-in-gap", bad_buffer_first,
      VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "buffer-in-device", bad_buffer_device,
      VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "buffer-ends-in-gap", bad_buffer_into_gap,
      VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "buffer-wraps-address-space", bad_buffer_wraps,
      VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "chain-of-4-gib", bad_length, VHOST_DP_VIOLATION_CHAIN_LENGTH },
    { "chain-of-1025-segments", bad_segments,
      VHOST_DP_VIOLATION_CHAIN_SEGMENTS },
    { "chain-of-too-many-in-other-direction", bad_segments_other,
      VHOST_DP_VIOLATION_CHAIN_SEGMENTS },
    { "chain-of-1025-segments-by-cut", bad_segments_cut,
      VHOST_DP_VIOLATION_CHAIN_SEGMENTS },
    { "no-buffer", bad_no_buffer, VHOST_DP_VIOLATION_NO_BUFFER },
    { "no-buffer-in-table", bad_no_buffer_indirect,
      VHOST_DP_VIOLATION_NO_BUFFER },
};

static void violation(const Violation *v, bool writable, bool big_endian)
{
    Rig *r = rig_new((Setup) { .num = BAD_NUM, .packed = true,
                               .writable = writable,
                               .big_endian = big_endian });

    rig_add(r, DATA_GPA, 4);
    rig_add(r, DATA_GPA + 16, 5);
    v->add(r);
    rig_publish(r);
    mock_memory_snapshot(r->mm);

    /* What came before is delivered, and nothing else */
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    g_assert_cmpuint(r->burst.nsegs, ==, 2);
    check_chain(r, 0, 0, &(MockRange) { DATA_GPA, 4 }, 1);
    check_chain(r, 1, 1, &(MockRange) { DATA_GPA + 16, 5 }, 1);
    g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==,
                    (2 | W) | (uint32_t)(0 | W) << 16);
    rig_push(r);
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    check_used(r, 0, 100);
    check_used(r, 1, 101);
    check_no_used(r);
    check_broken(r, v->why);
    mock_memory_check(r->mm);

    rig_reset(r);
    g_assert_true(rig_turn(r, 2));
    g_assert_cmpuint(violations(r), ==, 1);
    /* Counters go on; one that is too long now may be just right here */
    if (v->why != VHOST_DP_VIOLATION_DESCRIPTOR_LOOP) {
        v->add(r);
        rig_publish(r);
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        g_assert_true(r->vq.broken);
        g_assert_cmpuint(r->vq.violations[v->why], ==, 2);
        g_assert_cmpuint(violations(r), ==, 2);
    }
    rig_free(r);
}

static void test_violation(gconstpointer opaque)
{
    violation(opaque, false, false);
    violation(opaque, true, false);
    violation(opaque, false, true);
    violation(opaque, true, true);
}

/* NEXT in all descriptors, in either direction: there is no end */
static void test_endless_chain(void)
{
    unsigned i;

    for (i = 0; i < 4; i++) {
        Rig *r = rig_new((Setup) { .num = BAD_NUM, .packed = true,
                                   .start = AT(2 | W), .writable = i & 1 });

        fill_with_next(r, i & 2 ? own(r) : other(r));
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        check_broken(r, VHOST_DP_VIOLATION_DESCRIPTOR_LOOP);
        rig_reset(r);
        g_assert_true(rig_turn(r, BAD_NUM));
        rig_free(r);
    }
}

/* Section 2.8.1: descriptors are the device's until it has used them */
static void test_taken_back(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true });
    unsigned i;

    rig_offer(r, 8, 4);
    g_assert_cmpuint(rig_pop(r, 8), ==, 8);
    for (i = 0; i < 8; i++) {
        mock_packed_set_desc(&r->p, i, DATA_GPA, 4, i, mock_packed_avail(0));
    }
    g_assert_cmpuint(rig_pop(r, 8), ==, 0);
    g_assert_true(r->vq.broken);
    g_assert_cmpuint(
        r->vq.violations[VHOST_DP_VIOLATION_AVAILABLE_INDEX], ==, 1);
    g_assert_cmpuint(violations(r), ==, 1);
    rig_reset(r);
    g_assert_true(rig_turn(r, 8));
    rig_free(r);
}

/* A chain that runs into descriptors which the device has */
static void test_chain_into_taken(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true });
    unsigned i;

    rig_offer(r, 5, 4);
    g_assert_cmpuint(rig_pop(r, 8), ==, 5);
    for (i = 0; i < 4; i++) {
        mock_packed_set_desc(&r->p, (5 + i) % 8, DATA_GPA, 4, 7,
                             VRING_DESC_F_NEXT | mock_packed_avail(W));
    }
    mock_packed_set_desc(&r->p, 0, DATA_GPA, 4, 7, mock_packed_avail(0));
    rig_push(r);
    g_assert_cmpuint(rig_pop(r, 8), ==, 0);
    g_assert_true(r->vq.broken);
    g_assert_cmpuint(
        r->vq.violations[VHOST_DP_VIOLATION_DESCRIPTOR_LOOP], ==, 1);
    /* What was pushed before is used all the same */
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_packed_range_used(&r->p, 0, 5),
    }, 1);
    rig_free(r);
}

int main(int argc, char **argv)
{
    unsigned i;

    g_test_init(&argc, &argv, NULL);

    g_test_add_func(RIG_PACKED "chain/direct", test_direct_chain);
    rig_test_packed_sizes("chain/all-descriptors",
                          test_chain_of_all_descriptors);
    g_test_add_func(RIG_PACKED "chain/indirect", test_indirect_chain);
    g_test_add_func(RIG_PACKED "chain/write-flag-of-table-is-ignored",
                    test_indirect_ignores_write_flag);
    g_test_add_func(RIG_PACKED "chain/table-crosses-regions",
                    test_indirect_crosses_regions);
    g_test_add_func(RIG_PACKED "chain/at-end-of-ram", test_end_of_ram);
    g_test_add_func(RIG_PACKED "chain/buffer-in-regions",
                    test_buffer_in_regions);
    g_test_add_data_func(RIG_PACKED "chain/own-direction/tx", NULL,
                         test_takes_own_direction);
    g_test_add_data_func(RIG_PACKED "chain/own-direction/rx", "",
                         test_takes_own_direction);
    g_test_add_func(RIG_PACKED "chain/descriptor-changes-after-pop",
                    test_descriptor_changes_after_pop);
    g_test_add_func(RIG_PACKED "chain/any-buffer-id", test_any_buffer_id);
    g_test_add_func(RIG_PACKED "chain/most-segments-and-bytes",
                    test_chain_of_most);
    for (i = 0; i < ARRAY_SIZE(bad_chains); i++) {
        g_autofree char *path = g_strdup_printf(RIG_PACKED "violation/%s",
                                                bad_chains[i].name);

        g_test_add_data_func(path, &bad_chains[i], test_violation);
    }
    g_test_add_func(RIG_PACKED "violation/endless-chain", test_endless_chain);
    g_test_add_func(RIG_PACKED "violation/taken-back", test_taken_back);
    g_test_add_func(RIG_PACKED "violation/chain-into-taken",
                    test_chain_into_taken);
    return g_test_run();
}
