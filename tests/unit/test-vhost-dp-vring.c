/*
 * vhost-dp: tests of the device side of virtqueues: chains go round
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
#include "tests/vhost-dp/lib/rig.h"

/* Add a chain of @n buffers of a byte, in a table */
static int add_table(Rig *r, unsigned n, uint64_t table)
{
    g_autofree MockSeg *segs = g_new0(MockSeg, n);
    unsigned i;

    for (i = 0; i < n; i++) {
        segs[i] = (MockSeg) { DATA_GPA + i, 1, r->s.writable };
    }
    return rig_add_indirect(r, segs, n, table);
}

static unsigned pop_bytes(Rig *r, unsigned max, uint32_t max_bytes)
{
    return vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, max, max_bytes);
}

/* Sections 2.7 and 2.8: a chain goes to the device and comes back */

static void test_round_trip(Setup s)
{
    Rig *r = rig_new(s);
    unsigned i;

    g_assert_cmpuint(rig_pop(r, 1), ==, 0);
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    for (i = 0; i < 5 * s.num; i++) {
        uint64_t gpa = DATA_GPA + (i % 64) * 32;
        int id = rig_add(r, gpa, 1 + i % 32);

        g_assert_cmpuint(rig_pop(r, 1), ==, 0);
        g_assert_true(rig_publish(r));
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        check_chain(r, 0, id, &(MockRange) { gpa, 1 + i % 32 }, 1);
        vhost_dp_vring_push(&r->vq, &r->burst.chain[0], i);
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        check_no_used(r);
        g_assert_true(vhost_dp_vring_flush(&r->vq));
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        check_used(r, id, i);
        check_no_used(r);
        g_assert_false(vhost_dp_vring_flush(&r->vq));
    }
    check_healthy(r);
    rig_free(r);
}

/* Sections 2.7.6 and 2.8.1: all entries can be available, and then all used */
static void test_full_ring(Setup s)
{
    Rig *r = rig_new(s);
    g_autofree uint16_t *ids = g_new0(uint16_t, s.num);
    unsigned round, got, i;

    for (round = 0; round < 4; round++) {
        for (i = 0; i < s.num; i++) {
            int id = rig_add(r, DATA_GPA + i, 1);

            g_assert_cmpint(id, >=, 0);
            ids[i] = id;
        }
        g_assert_cmpint(rig_add(r, DATA_GPA, 1), ==, -1);
        rig_publish(r);
        for (got = 0; got < s.num; got += r->burst.nchains) {
            g_assert_cmpuint(rig_pop(r, VHOST_DP_VRING_BURST), ==,
                             MIN(s.num - got, VHOST_DP_VRING_BURST));
            for (i = 0; i < r->burst.nchains; i++) {
                check_chain(r, i, ids[got + i],
                            &(MockRange) { DATA_GPA + got + i, 1 }, 1);
            }
            /* Packed: no more can come, and the engine relies on it */
            g_assert_cmpint(r->burst.full, ==,
                            s.packed && s.num <= VHOST_DP_VRING_BURST);
            rig_push(r);
            vhost_dp_vring_flush(&r->vq);
        }
        check_progress(r, (round + 1) * s.num, (round + 1) * s.num);
        for (i = 0; i < s.num; i++) {
            check_used(r, ids[i], 100 + i % VHOST_DP_VRING_BURST);
        }
        check_no_used(r);
    }
    check_healthy(r);
    rig_free(r);
}

/* A whole cycle of 65536 entries, and a bit more */
static void test_many_turns(Setup s)
{
    Rig *r;
    unsigned i;

    s.num = 256;
    s.event_idx = true;
    r = rig_new(s);
    for (i = 0; i < 65536 + 2000; i += 100) {
        rig_turn(r, 100);
    }
    check_progress(r, i, i);
    check_healthy(r);
    rig_free(r);
}

/* Bursts */

static void test_burst_limited_by_chains(Setup s)
{
    Rig *r;

    s.num = 16;
    r = rig_new(s);
    rig_offer(r, 16, 4);
    g_assert_cmpuint(rig_pop(r, 0), ==, 0);
    g_assert_cmpuint(rig_pop(r, 3), ==, 3);
    g_assert_cmpuint(r->burst.nsegs, ==, 3);
    check_chain(r, 0, 0, &(MockRange) { DATA_GPA, 4 }, 1);
    g_assert_cmpuint(rig_pop(r, 12), ==, 12);
    check_chain(r, 0, 3, &(MockRange) { DATA_GPA + 48, 4 }, 1);
    g_assert_false(r->burst.full);
    g_assert_cmpuint(rig_pop(r, 12), ==, 1);
    g_assert_cmpint(r->burst.full, ==, s.packed);
    g_assert_cmpuint(rig_pop(r, 12), ==, 0);
    check_healthy(r);
    rig_free(r);
}

static void test_burst_limited_by_bytes(Setup s)
{
    Rig *r;

    s.num = 16;
    r = rig_new(s);
    rig_offer(r, 16, 100);
    /* No more once that many are gathered: the last one may go beyond */
    g_assert_cmpuint(pop_bytes(r, 64, 1), ==, 1);
    g_assert_cmpuint(pop_bytes(r, 64, 100), ==, 1);
    g_assert_cmpuint(pop_bytes(r, 64, 101), ==, 2);
    g_assert_cmpuint(pop_bytes(r, 64, 300), ==, 3);
    g_assert_cmpuint(pop_bytes(r, 2, 300), ==, 2);
    check_chain(r, 0, 7, &(MockRange) { DATA_GPA + 7 * 16, 100 }, 1);
    g_assert_cmpuint(pop_bytes(r, 64, UINT32_MAX), ==, 7);
    check_healthy(r);
    rig_free(r);
}

/* Bytes of a burst do not overflow, as large as chains may be */
static void test_burst_bytes_do_not_overflow(Setup s)
{
    Rig *r = rig_new(s);
    MockSeg segs[4];
    unsigned i;

    for (i = 0; i < 4; i++) {
        segs[i] = (MockSeg) { HUGE_GPA, GiB - 1, false };
    }
    for (i = 0; i < 4; i++) {
        rig_add_chain(r, segs, 4);
    }
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    g_assert_cmpuint(r->burst.chain[1].len, ==, 4 * (GiB - 1));
    check_healthy(r);
    rig_free(r);
}

/* A chain that does not fit into the burst's segments is left for the next */
static void test_burst_limited_by_segments(Setup s)
{
    static const unsigned n[] = { 700, 700, VHOST_DP_VRING_MAX_SEGS };
    Rig *r = rig_new(s);
    int id[3];
    unsigned i;

    for (i = 0; i < 3; i++) {
        id[i] = add_table(r, n[i], TABLE_GPA + i * 0x3000);
    }
    rig_publish(r);
    for (i = 0; i < 3; i++) {
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        g_assert_cmpuint(r->burst.nsegs, ==, n[i]);
        g_assert_cmpuint(r->burst.chain[0].nsegs, ==, n[i]);
        g_assert_cmpint(r->burst.chain[0].id, ==, id[i]);
        g_assert_cmpint(r->burst.full, ==, i < 2);
        /* A packed ring has no index: the one that was left is news */
        g_assert_cmpint(vhost_dp_vring_enable_notify(&r->vq), ==,
                        s.packed && i < 2);
    }
    g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    check_healthy(r);
    rig_free(r);
}

/* The largest chain and 255 small ones fit into one burst, with one to spare */
static void test_burst_full(Setup s)
{
    MockSeg seg = { 0x2a344, 2 };
    Rig *r;
    unsigned i;

    s.num = 256;
    r = rig_new(s);
    for (i = 0; i < 254; i++) {
        rig_add(r, DATA_GPA + i, 1);
    }
    rig_add_chain(r, &seg, 1);
    add_table(r, VHOST_DP_VRING_MAX_SEGS, TABLE_GPA);
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, VHOST_DP_VRING_BURST), ==, 256);
    g_assert_cmpuint(r->burst.nsegs, ==, ARRAY_SIZE(r->burst.iov));
    check_chain(r, 0, 0, &(MockRange) { DATA_GPA, 1 }, 1);
    check_chain(r, 254, 254,
                (MockRange[]) { { 0x2a344, 1 }, { 0x2a345, 1 } }, 2);
    g_assert_cmpuint(r->burst.chain[255].len, ==, VHOST_DP_VRING_MAX_SEGS);
    check_healthy(r);
    rig_free(r);
}

/* Rewinding: chains of these many descriptors fill a ring of 8 */

enum { NCHAINS = 4 };
static const unsigned chain_descs[NCHAINS] = { 2, 3, 1, 2 };

static Rig *rewind_rig(Setup s, int *id)
{
    Rig *r;
    unsigned i;

    s.num = 8;
    rig_begin_before_end(&s, 3);
    r = rig_new(s);
    for (i = 0; i < NCHAINS; i++) {
        id[i] = rig_offer_chain(r, chain_descs[i]);
    }
    return r;
}

/* Entries of the ring that the first @n chains take */
static unsigned chains_entries(Rig *r, unsigned n)
{
    unsigned i, entries = 0;

    for (i = 0; i < n; i++) {
        entries += r->s.packed ? chain_descs[i] : 1;
    }
    return entries;
}

static void test_rewind_pops_same_chains(Setup s)
{
    static const MockRange want[] = {
        { DATA_GPA, 4 }, { DATA_GPA + 16, 4 }, { DATA_GPA + 32, 4 },
    };
    int id[NCHAINS];
    Rig *r = rewind_rig(s, id);
    unsigned i, keep;

    for (keep = 0; keep < NCHAINS; keep++) {
        g_assert_cmpuint(rig_pop(r, 64), ==, NCHAINS);
        g_assert_cmpint(r->burst.full, ==, s.packed);
        for (i = 0; i < NCHAINS; i++) {
            check_chain(r, i, id[i], want, chain_descs[i]);
            g_assert_cmpuint(r->burst.chain[i].ndescs, ==, chain_descs[i]);
        }
        check_progress(r, chains_entries(r, NCHAINS), 0);
        vhost_dp_vring_rewind(&r->vq, &r->burst, NCHAINS - keep);
        g_assert_cmpuint(r->burst.nchains, ==, keep);
        check_progress(r, chains_entries(r, keep), 0);
        vhost_dp_vring_rewind(&r->vq, &r->burst, keep);
        check_progress(r, 0, 0);
    }
    vhost_dp_vring_rewind(&r->vq, &r->burst, 0);
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    check_no_used(r);
    check_progress(r, 0, 0);
    check_healthy(r);
    rig_free(r);
}

static void test_rewind_some(Setup s)
{
    static const MockRange want[] = { { DATA_GPA, 4 }, { DATA_GPA + 16, 4 } };
    int id[NCHAINS];
    Rig *r = rewind_rig(s, id);
    unsigned two = chains_entries(r, 2);

    g_assert_cmpuint(rig_pop(r, 64), ==, NCHAINS);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 2);
    g_assert_cmpuint(r->burst.nchains, ==, 2);
    rig_push(r);
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    check_progress(r, two, two);
    check_used(r, id[0], 100);
    check_used(r, id[1], 101);
    check_no_used(r);
    /* What the driver changed in between is seen: nothing was kept */
    rig_rewrite(r, two, id[2], DATA_GPA + 0x1000, 5, 0);
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    check_chain(r, 0, id[2], &(MockRange) { DATA_GPA + 0x1000, 5 }, 1);
    check_chain(r, 1, id[3], want, 2);
    check_healthy(r);
    rig_free(r);
}

/* Used elements; what the device writes is marked as dirty, and no more */

/* As many elements in a flush as can be, and all of the ring; in two rounds */
static void test_flush_whole_ring(Setup s)
{
    Rig *r;
    unsigned round, i;

    s.num = VHOST_DP_VRING_BURST;
    rig_begin_before_end(&s, 77);
    r = rig_new(s);
    for (round = 0; round < 2; round++) {
        rig_offer(r, s.num, 4);
        g_assert_cmpuint(rig_pop(r, s.num), ==, s.num);
        rig_push(r);
        mock_memory_snapshot(r->mm);
        vhost_dp_vring_flush(&r->vq);
        check_written(r, s.num - 77, s.num);
        for (i = 0; i < s.num; i++) {
            check_used(r, r->burst.chain[i].id, 100 + i);
        }
        check_no_used(r);
        check_progress(r, (round + 1) * s.num, (round + 1) * s.num);
    }
    rig_free(r);
}

static void test_dirty_used(Setup s)
{
    Rig *r;

    s.num = 8;
    r = rig_new(s);
    rig_offer(r, 3, 4);
    mock_memory_snapshot(r->mm);
    rig_pop(r, 64);
    rig_push(r);
    /* Neither pop nor push write to the guest */
    mock_memory_check_exact(r->mm, NULL, 0);
    vhost_dp_vring_flush(&r->vq);
    check_written(r, 0, 3);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);

    /* A single one, however many descriptors it gives back */
    rig_offer_chain(r, 4);
    rig_pop(r, 64);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    check_written(r, 3, 1);
    rig_free(r);
}

/* Across the end of the ring, and just up to it, in rounds of either kind */
static void test_dirty_used_wraps(Setup s)
{
    Rig *r;
    unsigned round, i;

    s.num = 8;
    rig_begin_before_end(&s, 2);
    r = rig_new(s);
    for (round = 0; round < 4; round++) {
        rig_offer(r, 5, 4);
        g_assert_cmpuint(rig_pop(r, 64), ==, 5);
        rig_push(r);
        mock_memory_snapshot(r->mm);
        vhost_dp_vring_flush(&r->vq);
        check_written(r, 6, 5);
        for (i = 0; i < 5; i++) {
            check_used(r, r->burst.chain[i].id, 100 + i);
        }
        rig_turn(r, 3);
    }
    rig_free(r);
}

/* Exactly up to the end of the ring: no second part */
static void test_dirty_used_to_end(Setup s)
{
    Rig *r;
    unsigned round;

    s.num = 8;
    rig_begin_before_end(&s, 3);
    r = rig_new(s);
    for (round = 0; round < 2; round++) {
        rig_offer(r, 3, 4);
        g_assert_cmpuint(rig_pop(r, 64), ==, 3);
        rig_push(r);
        mock_memory_snapshot(r->mm);
        vhost_dp_vring_flush(&r->vq);
        check_written(r, 5, 3);
        while (r->burst.nchains--) {
            uint32_t id, len;

            g_assert_true(rig_get_used(r, &id, &len));
        }
        rig_turn(r, 5);
    }
    rig_free(r);
}

static void test_dirty_notify(Setup s)
{
    Rig *r = rig_new(s);
    MockRange asks = rig_range_asks(r);
    MockRange flags = s.packed ? mock_packed_range_device_flags(&r->p) :
                                 mock_queue_range_flags(&r->q);

    rig_offer(r, 3, 4);
    rig_pop(r, 64);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_disable_notify(&r->vq);
    /* A split ring's event stays behind by itself */
    mock_memory_check_exact(r->mm, &flags, s.event_idx && !s.packed ? 0 : 1);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_disable_notify(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);
    vhost_dp_vring_enable_notify(&r->vq);
    mock_memory_check_exact(r->mm, &asks, 1);
    check_asks_kick(r, 3);
    rig_free(r);
}

/* What start and stop write is reported, too */
static void test_dirty_start_stop(Setup s)
{
    MockRange asks;
    Rig *r;

    s.start = MOCK_PACKED_WRAP | 3;
    r = rig_new_stopped(s);
    asks = rig_range_asks(r);
    mock_memory_snapshot(r->mm);
    g_assert_cmpint(rig_start(r), ==, 0);
    mock_memory_check_exact(r->mm, &asks, 1);
    rig_offer(r, 3, 4);
    vhost_dp_vring_disable_notify(&r->vq);
    rig_pop(r, 64);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_stop(&r->vq);
    mock_memory_check_exact(r->mm, &asks, 1);
    rig_free(r);
}

static const RigTest tests[] = {
    { "round-trip", test_round_trip, FOR_BOTH | BY_SIZE },
    { "full-ring", test_full_ring, FOR_BOTH | BY_SIZE },
    { "both-indices-go-round", test_many_turns, FOR_BOTH },
    { "burst/limited-by-chains", test_burst_limited_by_chains, FOR_BOTH },
    { "burst/limited-by-bytes", test_burst_limited_by_bytes, FOR_BOTH },
    { "burst/limited-by-segments", test_burst_limited_by_segments, FOR_BOTH },
    { "burst/bytes-do-not-overflow", test_burst_bytes_do_not_overflow,
      FOR_BOTH },
    { "burst/full", test_burst_full, FOR_BOTH },
    { "rewind/pops-same-chains", test_rewind_pops_same_chains, FOR_BOTH },
    { "rewind/some", test_rewind_some, FOR_BOTH },
    { "flush/whole-ring", test_flush_whole_ring, FOR_BOTH },
    { "dirty/used", test_dirty_used, FOR_BOTH },
    { "dirty/used-wraps", test_dirty_used_wraps, FOR_BOTH },
    { "dirty/used-to-end-of-ring", test_dirty_used_to_end, FOR_BOTH },
    { "dirty/notify", test_dirty_notify, FOR_BOTH | BY_EVENT },
    { "dirty/start-and-stop", test_dirty_start_stop, FOR_BOTH | BY_EVENT },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add_tests(tests, ARRAY_SIZE(tests));
    return g_test_run();
}
