/*
 * vhost-dp: tests of virtqueues: descriptors and buffers
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each test is for both ring formats.  Sections are those of the virtio
 * specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_ring.h"
#include "tests/vhost-dp/lib/rig.h"

/* Pop the only chain that was published; it has these @n segments */
static void check_pop(Rig *r, int id, const MockRange *want, unsigned n)
{
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    check_chain(r, 0, id, want, n);
}

/* Give it back */
static void finish(Rig *r, int id)
{
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, id, 100);
}

/* Sections 2.7.5 and 2.8.6 */
static void test_direct_chain(Setup s)
{
    static const MockRange want[] = {
        { DATA_GPA, 12 }, { DATA_GPA + 0x100, 1 }, { HIGH_GPA + 4, 1500 },
    };
    GRand *rand = g_rand_new_with_seed(1);
    MockSeg segs[] = {
        { DATA_GPA, 12 }, { DATA_GPA + 0x100, 1 }, { HIGH_GPA + 4, 1500 },
    };
    Rig *r;
    unsigned i;

    s.num = 8;
    r = rig_new(s);
    for (i = 0; i < 20; i++) {
        int id;

        rig_shuffle(r, rand);
        id = rig_add_chain(r, segs, 3);
        rig_publish(r);
        check_pop(r, id, want, 3);
        g_assert_cmpuint(r->burst.chain[0].ndescs, ==, 3);
        finish(r, id);
    }
    check_healthy(r);
    g_rand_free(rand);
    rig_free(r);
}

/* A chain of all descriptors is no loop (2.7.5.3.1 and 2.8.17) */
static void test_chain_of_all_descriptors(Setup s)
{
    GRand *rand = g_rand_new_with_seed(2);
    g_autofree MockSeg *segs = g_new0(MockSeg, s.num);
    Rig *r;
    unsigned i, j;

    rig_begin_before_end(&s, s.num - s.num / 2);
    r = rig_new(s);
    for (j = 0; j < s.num; j++) {
        segs[j] = (MockSeg) { DATA_GPA + 3 * j, 2, false };
    }
    for (i = 0; i < 5; i++) {
        int id;

        rig_shuffle(r, rand);
        id = rig_add_chain(r, segs, s.num);
        g_assert_cmpint(id, >=, 0);
        rig_publish(r);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        g_assert_cmpuint(r->burst.chain[0].nsegs, ==, s.num);
        g_assert_cmpuint(r->burst.chain[0].ndescs, ==, s.num);
        for (j = 0; j < s.num; j++) {
            g_assert_true(r->burst.chain[0].iov[j].iov_base ==
                          mock_memory_ptr(r->mm, DATA_GPA + 3 * j, 2));
        }
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        r->burst.nchains = 1;
        finish(r, id);
    }
    check_healthy(r);
    g_rand_free(rand);
    rig_free(r);
}

/*
 * Sections 2.7.5.3 and 2.8.7: a table takes one descriptor of the ring.  In
 * that of a packed ring descriptors are in order, and nothing but WRITE has a
 * meaning.
 */
static void test_indirect_chain(Setup s)
{
    static const MockRange want[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
        { DATA_GPA + 0x30, 4 }, { DATA_GPA + 0x40, 5 },
    };
    MockSeg segs[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
        { DATA_GPA + 0x30, 4 }, { DATA_GPA + 0x40, 5 },
    };
    Rig *r;
    unsigned i, n;

    s.num = s.packed ? 3 : 2;
    r = rig_new(s);
    for (i = 0; i < 20; i++) {
        for (n = 1; n <= 5; n++) {
            /* More than the ring has; tables have any alignment */
            int id = rig_add_indirect(r, segs, n, TABLE_GPA + i);

            rig_publish(r);
            check_pop(r, id, want, n);
            if (s.packed) {
                g_assert_cmpuint(r->burst.chain[0].ndescs, ==, 1);
            }
            finish(r, id);
        }
        r->p.junk = !r->p.junk;
    }
    check_healthy(r);
    rig_free(r);
}

/* The write flag of a descriptor that refers to a table has no meaning */
static void test_indirect_ignores_write_flag(Setup s)
{
    MockSeg seg = { DATA_GPA, 7 };
    Rig *r = rig_new(s);
    int id = rig_add_indirect(r, &seg, 1, TABLE_GPA);

    rig_publish(r);
    rig_rewrite(r, 0, id, TABLE_GPA, 16,
                VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE);
    check_pop(r, id, &(MockRange) { DATA_GPA, 7 }, 1);
    check_healthy(r);
    rig_free(r);
}

/* Every byte of a table can be the last one of a region */
static void test_indirect_crosses_regions(Setup s)
{
    static const MockRange want[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
    };
    /* Two regions; and three of them, as 0x2a345 is one of a single byte */
    static const struct {
        uint64_t from, to;
    } tables[] = {
        { BORDER_GPA - 48, BORDER_GPA }, { 0x2a345 - 47, 0x2a346 },
    };
    MockSeg segs[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
    };
    Rig *r = rig_new(s);
    uint64_t gpa;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(tables); i++) {
        for (gpa = tables[i].from; gpa <= tables[i].to; gpa++) {
            int id = rig_add_indirect(r, segs, 3, gpa);

            rig_publish(r);
            check_pop(r, id, want, 3);
            finish(r, id);
        }
    }
    check_healthy(r);
    rig_free(r);
}

/* The last bytes of RAM can be a table, and a buffer */
static void test_end_of_ram(Setup s)
{
    uint64_t end = LAST_GPA + LAST_SIZE;
    MockSeg seg = { end - 17, 1 };
    Rig *r = rig_new(s);
    int id = rig_add_indirect(r, &seg, 1, end - 16);

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

static void test_buffer_in_two_regions(Setup s)
{
    static const MockRange want[] = {
        { DATA_GPA, 12 }, { 0x2fff0, 0x10 }, { SMALL_GPA, 8 },
        { DATA_GPA + 32, 1 },
    };
    MockSeg segs[] = { { DATA_GPA, 12 }, { 0x2fff0, 0x18 },
                       { DATA_GPA + 32, 1 } };
    Rig *r = rig_new(s);
    int id = rig_add_chain(r, segs, 3);

    rig_publish(r);
    check_pop(r, id, want, 4);
    g_assert_cmpuint(r->burst.chain[0].ndescs, ==, 3);
    check_healthy(r);
    rig_free(r);
}

static void test_buffer_in_three_regions(Setup s)
{
    static const MockRange want[] = {
        { 0x2fff0, 0x10 }, { SMALL_GPA, 8 }, { 0x30008, 8 },
        { 0x2a344, 1 }, { 0x2a345, 1 }, { 0x2a346, 1 },
    };
    MockSeg segs[] = { { 0x2fff0, 0x20, true }, { 0x2a344, 3, true } };
    unsigned i, j;
    Rig *r;
    int id;

    s.writable = true;
    r = rig_new(s);
    id = rig_add_chain(r, segs, 2);
    rig_publish(r);
    check_pop(r, id, want, 6);

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
    check_healthy(r);
    rig_free(r);
}

/* The first buffer of a chain, too, and the whole of what is contiguous */
static void test_first_buffer_in_many_regions(Setup s)
{
    static const MockRange want[] = {
        { DATA_GPA, 0xa345 }, { 0x2a345, 1 }, { 0x2a346, 0x5cba },
        { SMALL_GPA, 8 }, { 0x30008, 0xfff8 },
    };
    Rig *r = rig_new(s);
    int id = rig_add(r, DATA_GPA, 0x20000);

    rig_publish(r);
    check_pop(r, id, want, 5);
    check_healthy(r);
    rig_free(r);
}

/*
 * Section 2.7.4: the device must not assume how a message is framed.  Cut a
 * header of 12 bytes and some data in every way that has three parts.
 */
static void test_any_framing(Setup s)
{
    enum { LEN = 20 };
    uint8_t data[LEN], got[LEN];
    unsigned a, b, i;
    Rig *r;

    s.num = 4;
    r = rig_new(s);
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
            rig_add_chain(r, segs, 3);
            rig_publish(r);
            g_assert_cmpuint(rig_pop(r, 1), ==, 1);
            g_assert_cmpuint(r->burst.chain[0].len, ==, LEN);
            for (i = 0; i < r->burst.chain[0].nsegs; i++) {
                struct iovec *iov = &r->burst.chain[0].iov[i];

                g_assert_cmpuint(pos + iov->iov_len, <=, LEN);
                memcpy(got + pos, iov->iov_base, iov->iov_len);
                pos += iov->iov_len;
            }
            g_assert_cmpmem(got, pos, data, LEN);
            finish(r, 0);
        }
    }
    check_healthy(r);
    rig_free(r);
}

/* Readable descriptors first; a queue takes its direction (2.7.4.2, 2.8.17) */
static void takes_own_direction(Setup s)
{
    MockSeg segs[] = {
        { DATA_GPA, 1, false }, { DATA_GPA + 0x10, 2, false },
        { DATA_GPA + 0x20, 3, true }, { DATA_GPA + 0x30, 4, true },
    };
    unsigned first = s.writable ? 2 : 0;
    MockRange want[] = {
        { segs[first].gpa, segs[first].len },
        { segs[first + 1].gpa, segs[first + 1].len },
    };
    Rig *r = rig_new(s);
    unsigned n = 2;
    int id[3];

    id[0] = rig_add_chain(r, segs, 4);
    id[1] = rig_add_indirect(r, segs, 4, TABLE_GPA);
    if (!s.packed) {
        /* With the border in the table, or not */
        id[n++] = mock_queue_add_indirect(&r->q, segs, 4, 1,
                                          TABLE_GPA + 0x100, NULL);
    }
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, n);
    g_assert_cmpuint(r->burst.chain[0].ndescs, ==, 4);
    while (n--) {
        check_chain(r, n, id[n], want, 2);
    }
    check_healthy(r);
    rig_free(r);
}

static void test_takes_own_direction_tx(Setup s)
{
    takes_own_direction(s);
}

static void test_takes_own_direction_rx(Setup s)
{
    s.writable = true;
    takes_own_direction(s);
}

/* A descriptor is copied once: later changes by the driver have no effect */
static void test_descriptor_changes_after_pop(Setup s)
{
    static const MockRange want[] = {
        { DATA_GPA, 12 }, { DATA_GPA + 0x100, 100 },
    };
    MockSeg segs[] = { { DATA_GPA, 12 }, { DATA_GPA + 0x100, 100 } };
    uint8_t junk[8 * 16];
    Rig *r;
    int id[2];
    unsigned i;

    s.num = 8;
    r = rig_new(s);
    id[0] = rig_add_chain(r, segs, 2);
    id[1] = rig_add_indirect(r, segs, 2, TABLE_GPA);
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    /* All descriptors, and the entries of a split ring that refer to them */
    memset(junk, 0xff, sizeof(junk));
    mock_memory_write(r->mm, DESC_GPA, junk, 8 * 16);
    mock_memory_write(r->mm, TABLE_GPA, junk, 8 * 16);
    mock_memory_write(r->mm, AVAIL_GPA + 4, junk, 8 * 2);
    for (i = 0; i < 2; i++) {
        check_chain(r, i, id[i], want, 2);
    }
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, id[0], 100);
    check_used(r, id[1], 101);
    check_healthy(r);
    rig_free(r);
}

static void test_chain_of_most_segments(Setup s)
{
    g_autofree MockSeg *segs = g_new0(MockSeg, VHOST_DP_VRING_MAX_SEGS);
    Rig *r = rig_new(s);
    unsigned i;

    for (i = 0; i < VHOST_DP_VRING_MAX_SEGS; i++) {
        segs[i] = (MockSeg) { DATA_GPA + i, 1, false };
    }
    rig_add_indirect(r, segs, VHOST_DP_VRING_MAX_SEGS, TABLE_GPA);
    /* One descriptor less: the last buffer is in two regions */
    segs[VHOST_DP_VRING_MAX_SEGS - 2] = (MockSeg) { 0x2a344, 2, false };
    rig_add_indirect(r, segs, VHOST_DP_VRING_MAX_SEGS - 1,
                     TABLE_GPA + 0x4000);
    rig_publish(r);
    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        g_assert_cmpuint(r->burst.chain[0].nsegs, ==,
                         VHOST_DP_VRING_MAX_SEGS);
        g_assert_cmpuint(r->burst.chain[0].len, ==, VHOST_DP_VRING_MAX_SEGS);
    }
    check_healthy(r);
    rig_free(r);
}

static void test_chain_of_most_bytes(Setup s)
{
    MockSeg segs[] = {
        { HUGE_GPA, GiB }, { HUGE_GPA, GiB }, { HUGE_GPA, GiB },
        { HUGE_GPA, GiB - 1 },
    };
    Rig *r = rig_new(s);
    unsigned i;

    rig_add_chain(r, segs, 4);
    rig_add_indirect(r, segs, 4, TABLE_GPA);
    rig_publish(r);
    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(rig_pop(r, 1), ==, 1);
        g_assert_cmpuint(r->burst.chain[0].len, ==, UINT32_MAX);
    }
    check_healthy(r);
    rig_free(r);
}

static const RigTest tests[] = {
    { "chain/direct", test_direct_chain, FOR_BOTH },
    { "chain/all-descriptors", test_chain_of_all_descriptors,
      FOR_BOTH | BY_SIZE },
    { "chain/indirect", test_indirect_chain, FOR_BOTH },
    { "chain/write-flag-of-table-is-ignored",
      test_indirect_ignores_write_flag, FOR_BOTH },
    { "chain/table-crosses-regions", test_indirect_crosses_regions,
      FOR_BOTH },
    { "chain/at-end-of-ram", test_end_of_ram, FOR_BOTH },
    { "chain/buffer-in-two-regions", test_buffer_in_two_regions, FOR_BOTH },
    { "chain/buffer-in-three-regions", test_buffer_in_three_regions,
      FOR_BOTH },
    { "chain/first-buffer-in-many-regions", test_first_buffer_in_many_regions,
      FOR_BOTH },
    { "chain/any-framing", test_any_framing, FOR_BOTH },
    { "chain/own-direction/tx", test_takes_own_direction_tx, FOR_BOTH },
    { "chain/own-direction/rx", test_takes_own_direction_rx, FOR_BOTH },
    { "chain/descriptor-changes-after-pop",
      test_descriptor_changes_after_pop, FOR_BOTH },
    { "chain/1024-segments", test_chain_of_most_segments, FOR_BOTH },
    { "chain/4-gib-less-1", test_chain_of_most_bytes, FOR_BOTH },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add_tests(tests, ARRAY_SIZE(tests));
    return g_test_run();
}
