/*
 * vhost-dp: tests of split virtqueues: descriptors, and rules about them
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

/* Sections 2.7.5 and 2.7.5.3: descriptors and tables of descriptors */

static void test_direct_chain(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });
    GRand *rand = g_rand_new_with_seed(1);
    MockSeg segs[] = {
        { DATA_GPA, 12 }, { DATA_GPA + 0x100, 1 }, { HIGH_GPA + 4, 1500 },
    };
    unsigned i;

    for (i = 0; i < 20; i++) {
        int id;

        mock_queue_shuffle(&r->q, rand);
        id = mock_queue_add(&r->q, segs, 3);
        mock_queue_publish(&r->q);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        check_chain(r, 0, id, (MockRange[]) {
            { DATA_GPA, 12 }, { DATA_GPA + 0x100, 1 }, { HIGH_GPA + 4, 1500 },
        }, 3);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, id, 100);
    }
    check_healthy(r);
    g_rand_free(rand);
    rig_free(r);
}

/* A chain of as many descriptors as the table has is no loop (2.7.5.3.1) */
static void test_chain_of_all_descriptors(gconstpointer opaque)
{
    unsigned num = *(const unsigned *)opaque;
    Rig *r = rig_new((Setup) { .num = num });
    GRand *rand = g_rand_new_with_seed(2);
    g_autofree MockSeg *segs = g_new0(MockSeg, num);
    unsigned i, j;

    for (j = 0; j < num; j++) {
        segs[j] = (MockSeg) { DATA_GPA + 3 * j, 2, false };
    }
    for (i = 0; i < 5; i++) {
        int id;

        mock_queue_shuffle(&r->q, rand);
        id = mock_queue_add(&r->q, segs, num);
        g_assert_cmpint(id, >=, 0);
        mock_queue_publish(&r->q);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        g_assert_cmpuint(r->burst.chain[0].nsegs, ==, num);
        for (j = 0; j < num; j++) {
            g_assert_true(r->burst.chain[0].iov[j].iov_base ==
                          mock_memory_ptr(r->mm, DATA_GPA + 3 * j, 2));
        }
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, id, 100);
    }
    check_healthy(r);
    g_rand_free(rand);
    rig_free(r);
}

static void test_indirect_chain(void)
{
    Rig *r = rig_new((Setup) { .num = 2 });
    GRand *rand = g_rand_new_with_seed(3);
    MockSeg segs[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
        { DATA_GPA + 0x30, 4 }, { DATA_GPA + 0x40, 5 },
    };
    MockRange want[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
        { DATA_GPA + 0x30, 4 }, { DATA_GPA + 0x40, 5 },
    };
    unsigned i;

    for (i = 0; i < 20; i++) {
        /* More descriptors than the ring has; tables have any alignment */
        int id = mock_queue_add_indirect(&r->q, segs, 5, 0, TABLE_GPA + i,
                                         i ? rand : NULL);

        mock_queue_publish(&r->q);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        check_chain(r, 0, id, want, 5);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, id, 100);
    }
    check_healthy(r);
    g_rand_free(rand);
    rig_free(r);
}

/* The last descriptor of a chain may be indirect (2.7.5.3.2) */
static void test_direct_then_indirect(void)
{
    Rig *r = rig_new((Setup) { .num = 4 });
    MockSeg segs[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
        { DATA_GPA + 0x30, 4 }, { DATA_GPA + 0x40, 5 },
    };
    MockRange want[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
        { DATA_GPA + 0x30, 4 }, { DATA_GPA + 0x40, 5 },
    };
    unsigned ndirect;

    for (ndirect = 0; ndirect < 4; ndirect++) {
        int id = mock_queue_add_indirect(&r->q, segs, 5, ndirect, TABLE_GPA,
                                         NULL);

        g_assert_cmpint(id, >=, 0);
        mock_queue_publish(&r->q);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        check_chain(r, 0, id, want, 5);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, id, 100);
    }
    check_healthy(r);
    rig_free(r);
}

/* The write flag of a descriptor that refers to a table has no meaning */
static void test_indirect_ignores_write_flag(void)
{
    Rig *r = rig_new((Setup) { .num = 4 });

    mock_queue_write_desc(&r->q, TABLE_GPA, DATA_GPA, 7, 0, 0);
    mock_queue_set_desc(&r->q, 0, TABLE_GPA, 16,
                        VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0);
    mock_queue_add_head(&r->q, 0);
    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    check_chain(r, 0, 0, &(MockRange) { DATA_GPA, 7 }, 1);
    check_healthy(r);
    rig_free(r);
}

/* Every byte of a table can be the last one of a region */
static void test_indirect_crosses_regions(void)
{
    Rig *r = rig_new((Setup) { .num = 4 });
    MockSeg segs[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
    };
    MockRange want[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
    };
    uint64_t gpa;

    for (gpa = BORDER_GPA - 48; gpa <= BORDER_GPA; gpa++) {
        int id = mock_queue_add_indirect(&r->q, segs, 3, 0, gpa, NULL);

        mock_queue_publish(&r->q);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        check_chain(r, 0, id, want, 3);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, id, 100);
    }
    /* A descriptor in three regions: 0x2a345 is one of a single byte */
    for (gpa = 0x2a345 - 15; gpa < 0x2a346; gpa++) {
        int id = mock_queue_add_indirect(&r->q, segs, 3, 0, gpa, NULL);

        mock_queue_publish(&r->q);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        check_chain(r, 0, id, want, 3);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, id, 100);
    }
    check_healthy(r);
    rig_free(r);
}

/* The last bytes of RAM can be a table, and a buffer */
static void test_end_of_ram(void)
{
    Rig *r = rig_new((Setup) { .num = 4 });
    uint64_t end = LAST_GPA + LAST_SIZE;
    MockSeg seg = { end - 17, 1 };
    int id = mock_queue_add_indirect(&r->q, &seg, 1, 0, end - 16, NULL);

    rig_add(r, end - 1, 1);
    rig_add(r, LAST_GPA, LAST_SIZE);
    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 3);
    check_chain(r, 0, id, &(MockRange) { end - 17, 1 }, 1);
    check_chain(r, 1, 1, &(MockRange) { end - 1, 1 }, 1);
    check_chain(r, 2, 2, &(MockRange) { LAST_GPA, LAST_SIZE }, 1);
    check_healthy(r);
    rig_free(r);
}

static void test_buffer_in_two_regions(void)
{
    Rig *r = rig_new((Setup) { .num = 4 });
    MockSeg segs[] = { { DATA_GPA, 12 }, { 0x2fff0, 0x18 },
                       { DATA_GPA + 32, 1 } };
    int id = mock_queue_add(&r->q, segs, 3);

    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    check_chain(r, 0, id, (MockRange[]) {
        { DATA_GPA, 12 }, { 0x2fff0, 0x10 }, { SMALL_GPA, 8 },
        { DATA_GPA + 32, 1 },
    }, 4);
    check_healthy(r);
    rig_free(r);
}

static void test_buffer_in_three_regions(void)
{
    Rig *r = rig_new((Setup) { .num = 4, .writable = true });
    MockSeg segs[] = { { 0x2fff0, 0x20, true }, { 0x2a344, 3, true } };
    int id = mock_queue_add(&r->q, segs, 2);
    unsigned i, j;

    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    check_chain(r, 0, id, (MockRange[]) {
        { 0x2fff0, 0x10 }, { SMALL_GPA, 8 }, { 0x30008, 8 },
        { 0x2a344, 1 }, { 0x2a345, 1 }, { 0x2a346, 1 },
    }, 6);

    /* Each segment's region is what its bytes are to be reported to */
    mock_memory_snapshot(r->mm);
    for (j = 0; j < 6; j++) {
        struct iovec *iov = &r->burst.chain[0].iov[j];

        for (i = 0; i < iov->iov_len; i++) {
            ((uint8_t *)iov->iov_base)[i] ^= 0xff;
        }
        vhost_dp_memory_dirty(r->burst.chain[0].region[j], iov->iov_base,
                              iov->iov_len);
    }
    mock_memory_check_exact(r->mm, (MockRange[]) {
        { 0x2fff0, 0x20 }, { 0x2a344, 3 },
    }, 2);
    rig_free(r);
}

/* The first buffer of a chain, too, and the whole of what is contiguous */
static void test_first_buffer_in_many_regions(void)
{
    Rig *r = rig_new((Setup) { .num = 4 });
    MockSeg seg = { DATA_GPA, 0x20000 };
    int id = mock_queue_add(&r->q, &seg, 1);

    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    check_chain(r, 0, id, (MockRange[]) {
        { DATA_GPA, 0xa345 }, { 0x2a345, 1 }, { 0x2a346, 0x5cba },
        { SMALL_GPA, 8 }, { 0x30008, 0xfff8 },
    }, 5);
    check_healthy(r);
    rig_free(r);
}

/*
 * Section 2.7.4: the device must not assume how a message is framed.  Cut a
 * header of 12 bytes and some data in every way that has three parts.
 */
static void test_any_framing(void)
{
    enum { LEN = 20 };
    Rig *r = rig_new((Setup) { .num = 4 });
    uint8_t data[LEN], got[LEN];
    unsigned a, b, i;

    for (i = 0; i < LEN; i++) {
        data[i] = i * 7 + 1;
    }
    for (a = 1; a < LEN - 1; a++) {
        for (b = a + 1; b < LEN; b++) {
            /* The second part is in two regions, the last one is high */
            MockSeg segs[] = {
                { DATA_GPA + a, a }, { SMALL_GPA - 1, b - a },
                { HIGH_GPA + b, LEN - b },
            };
            size_t pos = 0;

            mock_memory_write(r->mm, segs[0].gpa, data, a);
            mock_memory_write(r->mm, segs[1].gpa, data + a, b - a);
            mock_memory_write(r->mm, segs[2].gpa, data + b, LEN - b);
            mock_queue_add(&r->q, segs, 3);
            mock_queue_publish(&r->q);
            g_assert_cmpuint(rig_pop(r, 1), ==, 1);
            g_assert_cmpuint(r->burst.chain[0].len, ==, LEN);
            for (i = 0; i < r->burst.chain[0].nsegs; i++) {
                struct iovec *iov = &r->burst.chain[0].iov[i];

                g_assert_cmpuint(pos + iov->iov_len, <=, LEN);
                memcpy(got + pos, iov->iov_base, iov->iov_len);
                pos += iov->iov_len;
            }
            g_assert_cmpmem(got, pos, data, LEN);
            rig_push(r);
            vhost_dp_vring_flush(&r->vq);
            check_used(r, 0, 100);
        }
    }
    check_healthy(r);
    rig_free(r);
}

/* Section 2.7.4.2: readable descriptors first; a queue takes its direction */
static void test_takes_own_direction(gconstpointer opaque)
{
    bool writable = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .writable = writable });
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
    id[0] = mock_queue_add(&r->q, segs, 4);
    id[1] = mock_queue_add_indirect(&r->q, segs, 4, 1, TABLE_GPA, NULL);
    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    check_chain(r, 0, id[0], want, 2);
    check_chain(r, 1, id[1], want, 2);
    check_healthy(r);
    rig_free(r);
}

/* A descriptor is copied once: later changes by the driver have no effect */
static void test_descriptor_changes_after_pop(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });
    MockSeg segs[] = { { DATA_GPA, 12 }, { DATA_GPA + 0x100, 100 } };
    MockRange want[] = { { DATA_GPA, 12 }, { DATA_GPA + 0x100, 100 } };
    unsigned i;

    mock_queue_add(&r->q, segs, 2);
    mock_queue_add_indirect(&r->q, segs, 2, 0, TABLE_GPA, NULL);
    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    for (i = 0; i < 8; i++) {
        mock_queue_set_desc(&r->q, i, UINT64_MAX, 0, 0xffff, 0xffff);
        mock_queue_write_desc(&r->q, TABLE_GPA + 16 * i, UINT64_MAX, 0,
                              0xffff, 0xffff);
    }
    r->q.next_avail = 0;
    mock_queue_add_head(&r->q, 0xffff);
    mock_queue_add_head(&r->q, 0xffff);
    check_chain(r, 0, 0, want, 2);
    check_chain(r, 1, 2, want, 2);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, 0, 100);
    check_used(r, 2, 101);
    check_healthy(r);
    rig_free(r);
}

static void test_chain_of_most_segments(void)
{
    Rig *r = rig_new((Setup) { .num = 4 });
    g_autofree MockSeg *segs = g_new0(MockSeg, VHOST_DP_VRING_MAX_SEGS);
    unsigned i;

    for (i = 0; i < VHOST_DP_VRING_MAX_SEGS; i++) {
        segs[i] = (MockSeg) { DATA_GPA + i, 1, false };
    }
    mock_queue_add_indirect(&r->q, segs, VHOST_DP_VRING_MAX_SEGS, 0,
                            TABLE_GPA, NULL);
    /* One descriptor less: the last buffer is in two regions */
    segs[VHOST_DP_VRING_MAX_SEGS - 2] = (MockSeg) { 0x2a344, 2, false };
    mock_queue_add_indirect(&r->q, segs, VHOST_DP_VRING_MAX_SEGS - 1, 0,
                            TABLE_GPA + 0x4000, NULL);
    mock_queue_publish(&r->q);
    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        g_assert_cmpuint(r->burst.chain[0].nsegs, ==,
                         VHOST_DP_VRING_MAX_SEGS);
        g_assert_cmpuint(r->burst.chain[0].len, ==, VHOST_DP_VRING_MAX_SEGS);
    }
    check_healthy(r);
    rig_free(r);
}

static void test_chain_of_most_bytes(void)
{
    Rig *r = rig_new((Setup) { .num = 4 });
    MockSeg segs[] = {
        { HUGE_GPA, GiB }, { HUGE_GPA, GiB }, { HUGE_GPA, GiB },
        { HUGE_GPA, GiB - 1 },
    };

    mock_queue_add(&r->q, segs, 4);
    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    g_assert_cmpuint(r->burst.chain[0].len, ==, UINT32_MAX);
    check_healthy(r);
    rig_free(r);
}

/*
 * Violations.  Descriptors 8 and up are ours to misuse; good chains take
 * those from 0.  A queue's own direction is "own", the other one "other".
 */

typedef struct Violation {
    const char *name;
    void (*add)(Rig *r);
    VhostDPViolation why;
} Violation;

enum { BAD = 8, BAD_NUM = 16 };

static uint16_t own(Rig *r)
{
    return r->s.writable ? VRING_DESC_F_WRITE : 0;
}

static uint16_t other(Rig *r)
{
    return r->s.writable ? 0 : VRING_DESC_F_WRITE;
}

static void bad_desc(Rig *r, unsigned i, uint64_t gpa, uint32_t len,
                     uint16_t flags, uint16_t next)
{
    mock_queue_set_desc(&r->q, BAD + i, gpa, len, flags, BAD + next);
}

static void bad_table(Rig *r, unsigned i, uint64_t gpa, uint32_t len,
                      uint16_t flags, uint16_t next)
{
    mock_queue_write_desc(&r->q, TABLE_GPA + 16 * i, gpa, len, flags, next);
}

static void bad_head(Rig *r)
{
    mock_queue_add_head(&r->q, BAD);
}

static void bad_indirect(Rig *r, uint64_t gpa, uint32_t len)
{
    bad_desc(r, 0, gpa, len, VRING_DESC_F_INDIRECT, 0);
    bad_head(r);
}

static void bad_buffer(Rig *r, uint64_t gpa, uint32_t len)
{
    bad_desc(r, 0, DATA_GPA, 12, own(r) | VRING_DESC_F_NEXT, 1);
    bad_desc(r, 1, gpa, len, own(r), 0);
    bad_head(r);
}

static void bad_head_beyond(Rig *r)
{
    mock_queue_add_head(&r->q, BAD_NUM);
}

static void bad_head_far_beyond(Rig *r)
{
    mock_queue_add_head(&r->q, 65535);
}

static void bad_next_beyond(Rig *r)
{
    bad_desc(r, 0, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT, BAD_NUM - BAD);
    bad_head(r);
}

static void bad_indirect_next_beyond(Rig *r)
{
    /* A number that would be fine in the ring's own table */
    bad_table(r, 0, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT, 2);
    bad_table(r, 2, DATA_GPA, 4, own(r), 0);
    bad_indirect(r, TABLE_GPA, 2 * 16);
}

static void bad_loop_self(Rig *r)
{
    bad_desc(r, 0, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT, 0);
    bad_head(r);
}

static void bad_loop_of_two(Rig *r)
{
    bad_desc(r, 0, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT, 1);
    bad_desc(r, 1, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT, 2);
    bad_desc(r, 2, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT, 1);
    bad_head(r);
}

static void bad_loop_other(Rig *r)
{
    bad_desc(r, 0, DATA_GPA, 4, other(r) | VRING_DESC_F_NEXT, 0);
    bad_head(r);
}

static void bad_loop_indirect(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT, 1);
    bad_table(r, 1, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT, 0);
    bad_indirect(r, TABLE_GPA, 2 * 16);
}

static void bad_order(Rig *r)
{
    bad_desc(r, 0, DATA_GPA, 4, VRING_DESC_F_NEXT, 1);
    bad_desc(r, 1, DATA_GPA, 4, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 2);
    bad_desc(r, 2, DATA_GPA, 4, 0, 0);
    bad_head(r);
}

static void bad_order_indirect(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
    bad_table(r, 1, DATA_GPA, 4, 0, 0);
    bad_indirect(r, TABLE_GPA, 2 * 16);
}

static void bad_order_across_table(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, 0, 0);
    bad_desc(r, 0, DATA_GPA, 4, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
    bad_desc(r, 1, TABLE_GPA, 16, VRING_DESC_F_INDIRECT, 0);
    bad_head(r);
}

static void bad_zero_first(Rig *r)
{
    bad_desc(r, 0, DATA_GPA, 0, own(r) | VRING_DESC_F_NEXT, 1);
    bad_desc(r, 1, DATA_GPA, 4, own(r), 0);
    bad_head(r);
}

static void bad_zero_last(Rig *r)
{
    bad_buffer(r, DATA_GPA, 0);
}

static void bad_zero_other(Rig *r)
{
    /* Before the own part on receive, after it on transmit */
    unsigned first = r->s.writable ? 1 : 0;

    bad_desc(r, first, DATA_GPA, 4, own(r) | (first ? 0 : VRING_DESC_F_NEXT),
             1);
    bad_desc(r, !first, DATA_GPA, 0,
             other(r) | (first ? VRING_DESC_F_NEXT : 0), 1);
    bad_head(r);
}

static void bad_nested(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, own(r) | VRING_DESC_F_NEXT, 1);
    bad_table(r, 1, TABLE_GPA + 64, 16, VRING_DESC_F_INDIRECT, 0);
    bad_table(r, 4, DATA_GPA, 4, own(r), 0);
    bad_indirect(r, TABLE_GPA, 2 * 16);
}

static void bad_nested_itself(Rig *r)
{
    bad_table(r, 0, TABLE_GPA, 16, VRING_DESC_F_INDIRECT, 0);
    bad_indirect(r, TABLE_GPA, 16);
}

static void bad_size_zero(Rig *r)
{
    bad_indirect(r, TABLE_GPA, 0);
}

static void bad_size_less(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, own(r), 0);
    bad_indirect(r, TABLE_GPA, 15);
}

static void bad_size_more(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, own(r), 0);
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
    mock_queue_write_desc(&r->q, -16ULL, DATA_GPA, 4,
                          own(r) | VRING_DESC_F_NEXT, 1);
    mock_queue_write_desc(&r->q, 0, DATA_GPA, 4, own(r), 0);
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

    mock_queue_write_desc(&r->q, gpa, DATA_GPA, 4,
                          own(r) | VRING_DESC_F_NEXT, 1);
    bad_indirect(r, gpa, 32);
}

static void bad_buffer_gap(Rig *r)
{
    bad_buffer(r, GAP_GPA, 4);
}

static void bad_buffer_first(Rig *r)
{
    bad_desc(r, 0, GAP_GPA, 4, own(r), 0);
    bad_head(r);
}

static void bad_buffer_device(Rig *r)
{
    bad_buffer(r, DEVICE_GPA + 16, 4);
}

static void bad_buffer_into_gap(Rig *r)
{
    bad_buffer(r, GAP_GPA - 4, 5);
}

static void bad_buffer_into_device(Rig *r)
{
    bad_buffer(r, DEVICE_GPA - 4, 8);
}

static void bad_buffer_wraps(Rig *r)
{
    bad_buffer(r, -4ULL, 8);
}

static void bad_buffer_4g(Rig *r)
{
    bad_buffer(r, DATA_GPA, UINT32_MAX - 12);
}

static void bad_length(Rig *r)
{
    unsigned i;

    for (i = 0; i < 4; i++) {
        bad_desc(r, i, HUGE_GPA, GiB, own(r) | (i < 3 ? VRING_DESC_F_NEXT : 0),
                 i + 1);
    }
    bad_head(r);
}

static void bad_segments(Rig *r)
{
    unsigned i, n = VHOST_DP_VRING_MAX_SEGS + 1;

    for (i = 0; i < n; i++) {
        bad_table(r, i, DATA_GPA, 1,
                  own(r) | (i + 1 < n ? VRING_DESC_F_NEXT : 0), i + 1);
    }
    bad_indirect(r, TABLE_GPA, n * 16);
}

/* 1024 descriptors, but one buffer is in two regions */
static void bad_segments_cut(Rig *r)
{
    unsigned i, n = VHOST_DP_VRING_MAX_SEGS;

    for (i = 0; i < n; i++) {
        bad_table(r, i, 0x2a344, i + 1 < n ? 1 : 2,
                  own(r) | (i + 1 < n ? VRING_DESC_F_NEXT : 0), i + 1);
    }
    bad_indirect(r, TABLE_GPA, n * 16);
}

static void bad_no_buffer(Rig *r)
{
    bad_desc(r, 0, DATA_GPA, 4, other(r), 0);
    bad_head(r);
}

static void bad_no_buffer_indirect(Rig *r)
{
    bad_table(r, 0, DATA_GPA, 4, other(r) | VRING_DESC_F_NEXT, 1);
    bad_table(r, 1, DATA_GPA, 4, other(r), 0);
    bad_indirect(r, TABLE_GPA, 2 * 16);
}

static const Violation bad_chains[] = {
    /* 2.7.13.1 and 2.7.5 */
    { "head-beyond-table", bad_head_beyond,
      VHOST_DP_VIOLATION_DESCRIPTOR_INDEX },
    { "head-far-beyond-table", bad_head_far_beyond,
      VHOST_DP_VIOLATION_DESCRIPTOR_INDEX },
    { "next-beyond-table", bad_next_beyond,
      VHOST_DP_VIOLATION_DESCRIPTOR_INDEX },
    { "indirect-next-beyond-table", bad_indirect_next_beyond,
      VHOST_DP_VIOLATION_DESCRIPTOR_INDEX },
    /* 2.7.5.2: drivers must not add loops */
    { "loop-of-one", bad_loop_self, VHOST_DP_VIOLATION_DESCRIPTOR_LOOP },
    { "loop-behind-first", bad_loop_of_two,
      VHOST_DP_VIOLATION_DESCRIPTOR_LOOP },
    { "loop-in-other-direction", bad_loop_other,
      VHOST_DP_VIOLATION_DESCRIPTOR_LOOP },
    { "loop-in-table", bad_loop_indirect,
      VHOST_DP_VIOLATION_DESCRIPTOR_LOOP },
    /* 2.7.4.2 */
    { "readable-after-writable", bad_order,
      VHOST_DP_VIOLATION_DESCRIPTOR_ORDER },
    { "readable-after-writable-in-table", bad_order_indirect,
      VHOST_DP_VIOLATION_DESCRIPTOR_ORDER },
    { "readable-table-after-writable", bad_order_across_table,
      VHOST_DP_VIOLATION_DESCRIPTOR_ORDER },
    /* 2.7.5: a length is not zero */
    { "zero-length-first", bad_zero_first, VHOST_DP_VIOLATION_ZERO_LENGTH },
    { "zero-length-last", bad_zero_last, VHOST_DP_VIOLATION_ZERO_LENGTH },
    { "zero-length-other-direction", bad_zero_other,
      VHOST_DP_VIOLATION_ZERO_LENGTH },
    /* 2.7.5.3.1 */
    { "table-in-table", bad_nested, VHOST_DP_VIOLATION_INDIRECT_NESTED },
    { "table-in-itself", bad_nested_itself,
      VHOST_DP_VIOLATION_INDIRECT_NESTED },
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
    /* 2.7.5: addr is a guest-physical address */
    { "buffer-in-gap", bad_buffer_gap, VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "first-buffer-in-gap", bad_buffer_first,
      VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "buffer-in-device", bad_buffer_device,
      VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "buffer-ends-in-gap", bad_buffer_into_gap,
      VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "buffer-ends-in-device", bad_buffer_into_device,
      VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "buffer-wraps-address-space", bad_buffer_wraps,
      VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "buffer-larger-than-memory", bad_buffer_4g,
      VHOST_DP_VIOLATION_BUFFER_ADDRESS },
    { "chain-of-4-gib", bad_length, VHOST_DP_VIOLATION_CHAIN_LENGTH },
    { "chain-of-1025-segments", bad_segments,
      VHOST_DP_VIOLATION_CHAIN_SEGMENTS },
    { "chain-of-1025-segments-by-cut", bad_segments_cut,
      VHOST_DP_VIOLATION_CHAIN_SEGMENTS },
    { "no-buffer", bad_no_buffer, VHOST_DP_VIOLATION_NO_BUFFER },
    { "no-buffer-in-table", bad_no_buffer_indirect,
      VHOST_DP_VIOLATION_NO_BUFFER },
};

static void violation(const Violation *v, bool writable, bool big_endian)
{
    Rig *r = rig_new((Setup) { .num = BAD_NUM, .writable = writable,
                               .big_endian = big_endian });

    rig_add(r, DATA_GPA, 4);
    rig_add(r, DATA_GPA + 16, 5);
    v->add(r);
    rig_add(r, DATA_GPA + 32, 6);
    mock_queue_publish(&r->q);
    mock_memory_snapshot(r->mm);

    /* What came before is delivered, and nothing else */
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    g_assert_cmpuint(r->burst.nchains, ==, 2);
    g_assert_cmpuint(r->burst.nsegs, ==, 2);
    check_chain(r, 0, 0, &(MockRange) { DATA_GPA, 4 }, 1);
    check_chain(r, 1, 1, &(MockRange) { DATA_GPA + 16, 5 }, 1);
    g_assert_cmpuint(r->vq.last_avail, ==, 2);
    rig_push(r);
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    check_used(r, 0, 100);
    check_used(r, 1, 101);
    check_no_used(r);
    check_broken(r, v->why);
    mock_memory_check(r->mm);

    rig_reset(r);
    g_assert_true(rig_turn(r, 3));
    g_assert_cmpuint(violations(r), ==, 1);
    /* Counters go on */
    v->add(r);
    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    g_assert_true(r->vq.broken);
    g_assert_cmpuint(r->vq.violations[v->why], ==, 2);
    g_assert_cmpuint(violations(r), ==, 2);
    rig_free(r);
}

static void test_violation(gconstpointer opaque)
{
    violation(opaque, false, false);
    violation(opaque, true, false);
    violation(opaque, false, true);
    violation(opaque, true, true);
}

/* Section 2.7.6: no more entries than the queue has are in the ring */

static void test_avail_index_jumps(void)
{
    static const uint16_t bad[] = { 9, 10, 1000, 32768, 65535 };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        Rig *r = rig_new((Setup) { .num = 8, .start = 65530 });

        mock_queue_set_avail_idx(&r->q, 65530 + bad[i]);
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        check_broken(r, VHOST_DP_VIOLATION_AVAILABLE_INDEX);
        rig_reset(r);
        g_assert_true(rig_turn(r, 3));
        rig_free(r);
    }
}

/* As many as the queue has are fine, but not one more behind them */
static void test_avail_index_jumps_later(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    rig_offer(r, 8, 4);
    g_assert_cmpuint(rig_pop(r, 3), ==, 3);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    mock_queue_set_avail_idx(&r->q, 11);
    g_assert_cmpuint(rig_pop(r, 3), ==, 3);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_healthy(r);
    mock_queue_set_avail_idx(&r->q, 15);
    g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    check_broken(r, VHOST_DP_VIOLATION_AVAILABLE_INDEX);
    rig_free(r);
}

/* The first reason is kept, whatever follows */
static void test_first_violation_is_kept(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    vhost_dp_vring_violation(&r->vq, VHOST_DP_VIOLATION_SHORT_HEADER);
    check_broken(r, VHOST_DP_VIOLATION_SHORT_HEADER);
    vhost_dp_vring_violation(&r->vq, VHOST_DP_VIOLATION_ZERO_LENGTH);
    g_assert_cmpint(r->vq.violation, ==, VHOST_DP_VIOLATION_SHORT_HEADER);
    g_assert_cmpuint(r->vq.violations[VHOST_DP_VIOLATION_ZERO_LENGTH], ==, 1);
    rig_free(r);
}

/*
 * Loops are bounded, however large a table claims to be: the lock is held
 * meanwhile.  "next" has 16 bits, so 65536 descriptors are more than enough
 * to find any loop; 2^28 would take seconds.
 */
static void test_loop_in_huge_table(void)
{
    unsigned writable;

    for (writable = 0; writable < 2; writable++) {
        Rig *r = rig_new((Setup) { .num = BAD_NUM, .writable = writable });
        gint64 begin;

        bad_table(r, 0, DATA_GPA, 4, other(r) | VRING_DESC_F_NEXT, 0);
        bad_indirect(r, TABLE_GPA, 0xfffffff0);
        mock_queue_publish(&r->q);
        begin = g_get_monotonic_time();
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        g_assert_cmpint(g_get_monotonic_time() - begin, <,
                        G_USEC_PER_SEC / 4);
        g_assert_true(r->vq.broken);
        g_assert_cmpuint(violations(r), ==, 1);
        rig_free(r);
    }
}

#define SPLIT RIG_SPLIT

static void add_descriptor_tests(void)
{
    g_test_add_func(SPLIT "chain/direct", test_direct_chain);
    rig_test_sizes("chain/all-descriptors", test_chain_of_all_descriptors);
    g_test_add_func(SPLIT "chain/indirect", test_indirect_chain);
    g_test_add_func(SPLIT "chain/direct-then-indirect",
                    test_direct_then_indirect);
    g_test_add_func(SPLIT "chain/write-flag-of-table-is-ignored",
                    test_indirect_ignores_write_flag);
    g_test_add_func(SPLIT "chain/table-crosses-regions",
                    test_indirect_crosses_regions);
    g_test_add_func(SPLIT "chain/at-end-of-ram", test_end_of_ram);
    g_test_add_func(SPLIT "chain/buffer-in-two-regions",
                    test_buffer_in_two_regions);
    g_test_add_func(SPLIT "chain/buffer-in-three-regions",
                    test_buffer_in_three_regions);
    g_test_add_func(SPLIT "chain/first-buffer-in-many-regions",
                    test_first_buffer_in_many_regions);
    g_test_add_func(SPLIT "chain/any-framing", test_any_framing);
    g_test_add_data_func(SPLIT "chain/own-direction/tx", NULL,
                         test_takes_own_direction);
    g_test_add_data_func(SPLIT "chain/own-direction/rx", "",
                         test_takes_own_direction);
    g_test_add_func(SPLIT "chain/descriptor-changes-after-pop",
                    test_descriptor_changes_after_pop);
    g_test_add_func(SPLIT "chain/1024-segments", test_chain_of_most_segments);
    g_test_add_func(SPLIT "chain/4-gib-less-1", test_chain_of_most_bytes);
}

static void add_violation_tests(void)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(bad_chains); i++) {
        g_autofree char *path = g_strdup_printf(SPLIT "violation/%s",
                                                bad_chains[i].name);

        g_test_add_data_func(path, &bad_chains[i], test_violation);
    }
    g_test_add_func(SPLIT "violation/avail-index-jumps",
                    test_avail_index_jumps);
    g_test_add_func(SPLIT "violation/avail-index-jumps-later",
                    test_avail_index_jumps_later);
    g_test_add_func(SPLIT "violation/first-is-kept",
                    test_first_violation_is_kept);
    g_test_add_func(SPLIT "violation/loop-in-huge-table",
                    test_loop_in_huge_table);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_descriptor_tests();
    add_violation_tests();
    return g_test_run();
}
