/*
 * vhost-dp: tests of the device side of split virtqueues
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

/* Section 2.7: a chain goes to the device and comes back, for every size */

static void test_round_trip(gconstpointer opaque)
{
    unsigned num = *(const unsigned *)opaque;
    Rig *r = rig_new((Setup) { .num = num });
    unsigned i;

    g_assert_cmpuint(rig_pop(r, 1), ==, 0);
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    for (i = 0; i < 3 * num; i++) {
        uint64_t gpa = DATA_GPA + (i % 64) * 32;
        int id = rig_add(r, gpa, 1 + i % 32);

        g_assert_cmpuint(rig_pop(r, 1), ==, 0);
        g_assert_true(mock_queue_publish(&r->q));
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        check_chain(r, 0, id, &(MockRange) { gpa, 1 + i % 32 }, 1);
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        r->burst.chain[0].id = id;
        vhost_dp_vring_push(&r->vq, &r->burst.chain[0], i);
        check_no_used(r);
        g_assert_true(vhost_dp_vring_flush(&r->vq));
        check_used(r, id, i);
        check_no_used(r);
        g_assert_false(vhost_dp_vring_flush(&r->vq));
    }
    check_healthy(r);
    rig_free(r);
}

/* Section 2.7.6: all entries of the available ring can be in use */
static void test_full_ring(gconstpointer opaque)
{
    unsigned num = *(const unsigned *)opaque;
    Rig *r = rig_new((Setup) { .num = num });
    unsigned round, got, i;

    for (round = 0; round < 3; round++) {
        for (i = 0; i < num; i++) {
            g_assert_cmpint(rig_add(r, DATA_GPA + i, 1), >=, 0);
        }
        g_assert_cmpint(rig_add(r, DATA_GPA, 1), ==, -1);
        mock_queue_publish(&r->q);
        for (got = 0; got < num; got += r->burst.nchains) {
            g_assert_cmpuint(rig_pop(r, VHOST_DP_VRING_BURST), ==,
                             MIN(num - got, VHOST_DP_VRING_BURST));
            for (i = 0; i < r->burst.nchains; i++) {
                check_chain(r, i, r->burst.chain[i].id,
                            &(MockRange) { DATA_GPA + got + i, 1 }, 1);
            }
            rig_push(r);
            vhost_dp_vring_flush(&r->vq);
        }
        g_assert_cmpuint(mock_queue_used_idx(&r->q), ==, (round + 1) * num);
        for (i = 0; i < num; i++) {
            uint32_t id, len;

            g_assert_true(mock_queue_get_used(&r->q, &id, &len));
            g_assert_cmpuint(len, ==, 100 + i % VHOST_DP_VRING_BURST);
        }
        check_no_used(r);
    }
    check_healthy(r);
    rig_free(r);
}

/* Sections 2.7.6, 2.7.8: indices are free-running, modulo 65536 */

static void test_avail_index_wraps(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .start = 65533 });

    rig_offer(r, 8, 4);
    g_assert_cmpuint(rig_pop(r, 2), ==, 2);
    g_assert_cmpuint(r->vq.last_avail, ==, 65535);
    g_assert_cmpuint(rig_pop(r, 1), ==, 1);
    g_assert_cmpuint(r->vq.last_avail, ==, 0);
    g_assert_cmpuint(rig_pop(r, 64), ==, 5);
    g_assert_cmpuint(r->vq.last_avail, ==, 5);
    check_chain(r, 0, 3, &(MockRange) { DATA_GPA + 3 * 16, 4 }, 1);
    check_chain(r, 4, 7, &(MockRange) { DATA_GPA + 7 * 16, 4 }, 1);
    check_healthy(r);
    rig_free(r);
}

static void test_used_index_wraps(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .start = 65533 });
    unsigned i;

    rig_offer(r, 8, 4);
    g_assert_cmpuint(rig_pop(r, 64), ==, 8);
    for (i = 0; i < 2; i++) {
        vhost_dp_vring_push(&r->vq, &r->burst.chain[i], i);
    }
    vhost_dp_vring_flush(&r->vq);
    g_assert_cmpuint(mock_queue_used_idx(&r->q), ==, 65535);
    vhost_dp_vring_push(&r->vq, &r->burst.chain[2], 2);
    vhost_dp_vring_flush(&r->vq);
    g_assert_cmpuint(mock_queue_used_idx(&r->q), ==, 0);
    for (i = 3; i < 8; i++) {
        vhost_dp_vring_push(&r->vq, &r->burst.chain[i], i);
    }
    vhost_dp_vring_flush(&r->vq);
    g_assert_cmpuint(mock_queue_used_idx(&r->q), ==, 5);
    for (i = 0; i < 8; i++) {
        check_used(r, i, i);
    }
    check_no_used(r);
    rig_free(r);
}

/* A whole cycle of 65536 chains, and a bit more */
static void test_many_turns(void)
{
    Rig *r = rig_new((Setup) { .num = 256, .event_idx = true });
    unsigned i;

    for (i = 0; i < 65536 + 2000; i += 100) {
        rig_turn(r, 100);
    }
    g_assert_cmpuint(r->vq.last_avail, ==, (uint16_t)i);
    g_assert_cmpuint(mock_queue_used_idx(&r->q), ==, (uint16_t)i);
    check_healthy(r);
    rig_free(r);
}

/* Bursts */

static void test_burst_limited_by_chains(void)
{
    Rig *r = rig_new((Setup) { .num = 16 });

    rig_offer(r, 10, 4);
    g_assert_cmpuint(rig_pop(r, 0), ==, 0);
    g_assert_cmpuint(rig_pop(r, 3), ==, 3);
    g_assert_cmpuint(r->burst.nsegs, ==, 3);
    check_chain(r, 0, 0, &(MockRange) { DATA_GPA, 4 }, 1);
    g_assert_cmpuint(rig_pop(r, 6), ==, 6);
    check_chain(r, 0, 3, &(MockRange) { DATA_GPA + 48, 4 }, 1);
    g_assert_cmpuint(rig_pop(r, 6), ==, 1);
    g_assert_cmpuint(rig_pop(r, 6), ==, 0);
    check_healthy(r);
    rig_free(r);
}

static void test_burst_limited_by_bytes(void)
{
    Rig *r = rig_new((Setup) { .num = 16 });

    rig_offer(r, 10, 100);
    /* No more once that many are gathered: the last one may go beyond */
    g_assert_cmpuint(vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, 64, 1),
                     ==, 1);
    g_assert_cmpuint(vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, 64, 100),
                     ==, 1);
    g_assert_cmpuint(vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, 64, 101),
                     ==, 2);
    g_assert_cmpuint(vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, 64, 300),
                     ==, 3);
    g_assert_cmpuint(vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, 2, 300),
                     ==, 2);
    g_assert_cmpuint(vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, 64,
                                        UINT32_MAX), ==, 1);
    check_healthy(r);
    rig_free(r);
}

/* Bytes of a burst do not overflow, as large as chains may be */
static void test_burst_bytes_do_not_overflow(void)
{
    Rig *r = rig_new((Setup) { .num = 16 });
    MockSeg segs[4];
    unsigned i;

    for (i = 0; i < 4; i++) {
        segs[i] = (MockSeg) { HUGE_GPA, GiB - 1, false };
    }
    for (i = 0; i < 4; i++) {
        mock_queue_add(&r->q, segs, 4);
    }
    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    g_assert_cmpuint(r->burst.chain[1].len, ==, 4 * (GiB - 1));
    check_healthy(r);
    rig_free(r);
}

/* A chain that does not fit into the burst's segments is left for the next */
static void test_burst_limited_by_segments(void)
{
    enum { N = 700 };
    Rig *r = rig_new((Setup) { .num = 16 });
    g_autofree MockSeg *segs = g_new0(MockSeg, VHOST_DP_VRING_MAX_SEGS);
    unsigned i;

    for (i = 0; i < VHOST_DP_VRING_MAX_SEGS; i++) {
        segs[i] = (MockSeg) { DATA_GPA + i, 1, false };
    }
    mock_queue_add_indirect(&r->q, segs, N, 0, TABLE_GPA, NULL);
    mock_queue_add_indirect(&r->q, segs, N, 0, TABLE_GPA + 0x3000, NULL);
    mock_queue_add_indirect(&r->q, segs, VHOST_DP_VRING_MAX_SEGS, 0,
                            TABLE_GPA + 0x6000, NULL);
    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    g_assert_cmpuint(r->burst.nsegs, ==, N);
    g_assert_cmpuint(r->burst.chain[0].id, ==, 0);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    g_assert_cmpuint(r->burst.nsegs, ==, N);
    g_assert_cmpuint(r->burst.chain[0].id, ==, 1);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    g_assert_cmpuint(r->burst.chain[0].id, ==, 2);
    g_assert_cmpuint(r->burst.chain[0].nsegs, ==, VHOST_DP_VRING_MAX_SEGS);
    g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    check_healthy(r);
    rig_free(r);
}

/* The largest chain and 255 small ones fit into one burst, with one to spare */
static void test_burst_full(void)
{
    Rig *r = rig_new((Setup) { .num = 256 });
    g_autofree MockSeg *segs = g_new0(MockSeg, VHOST_DP_VRING_MAX_SEGS);
    unsigned i;

    for (i = 0; i < VHOST_DP_VRING_MAX_SEGS; i++) {
        segs[i] = (MockSeg) { DATA_GPA + i, 1, false };
    }
    for (i = 0; i < 254; i++) {
        rig_add(r, DATA_GPA + i, 1);
    }
    rig_add(r, 0x2a344, 2);
    mock_queue_add_indirect(&r->q, segs, VHOST_DP_VRING_MAX_SEGS, 0,
                            TABLE_GPA, NULL);
    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, VHOST_DP_VRING_BURST), ==, 256);
    g_assert_cmpuint(r->burst.nsegs, ==, ARRAY_SIZE(r->burst.iov));
    check_chain(r, 0, 0, &(MockRange) { DATA_GPA, 1 }, 1);
    check_chain(r, 254, 254,
                (MockRange[]) { { 0x2a344, 1 }, { 0x2a345, 1 } }, 2);
    g_assert_cmpuint(r->burst.chain[255].len, ==, VHOST_DP_VRING_MAX_SEGS);
    check_healthy(r);
    rig_free(r);
}

static void test_rewind_pops_same_chains(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .start = 65534 });
    unsigned i, round;

    rig_offer(r, 5, 4);
    for (round = 0; round < 3; round++) {
        g_assert_cmpuint(rig_pop(r, 64), ==, 5);
        for (i = 0; i < 5; i++) {
            check_chain(r, i, i, &(MockRange) { DATA_GPA + 16 * i, 4 }, 1);
        }
        vhost_dp_vring_rewind(&r->vq, &r->burst, 5);
        g_assert_cmpuint(r->burst.nchains, ==, 0);
        g_assert_cmpuint(r->vq.last_avail, ==, 65534);
    }
    vhost_dp_vring_rewind(&r->vq, &r->burst, 0);
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    g_assert_cmpuint(mock_queue_used_idx(&r->q), ==, 65534);
    rig_free(r);
}

static void test_rewind_some(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .start = 65534 });
    unsigned i;

    rig_offer(r, 8, 4);
    g_assert_cmpuint(rig_pop(r, 6), ==, 6);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 4);
    g_assert_cmpuint(r->burst.nchains, ==, 2);
    rig_push(r);
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    check_used(r, 0, 100);
    check_used(r, 1, 101);
    check_no_used(r);
    /* What the driver changed in between is seen: nothing was kept */
    mock_queue_set_desc(&r->q, 2, DATA_GPA + 0x1000, 5, 0, 0);
    g_assert_cmpuint(rig_pop(r, 64), ==, 6);
    check_chain(r, 0, 2, &(MockRange) { DATA_GPA + 0x1000, 5 }, 1);
    for (i = 1; i < 6; i++) {
        check_chain(r, i, i + 2,
                    &(MockRange) { DATA_GPA + 16 * (i + 2), 4 }, 1);
    }
    rig_free(r);
}

/* As many elements in a flush as can be, and all of the ring */
static void test_flush_whole_ring(void)
{
    Rig *r = rig_new((Setup) { .num = VHOST_DP_VRING_BURST, .start = 77 });
    unsigned i;

    rig_offer(r, VHOST_DP_VRING_BURST, 4);
    g_assert_cmpuint(rig_pop(r, VHOST_DP_VRING_BURST), ==,
                     VHOST_DP_VRING_BURST);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_queue_range_elems(&r->q, 0, VHOST_DP_VRING_BURST),
        mock_queue_range_used_idx(&r->q),
    }, 2);
    for (i = 0; i < VHOST_DP_VRING_BURST; i++) {
        check_used(r, i, 100 + i);
    }
    check_no_used(r);
    rig_free(r);
}

/* Dirty marking */

static void test_dirty_used(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    rig_offer(r, 3, 4);
    mock_memory_snapshot(r->mm);
    rig_pop(r, 64);
    rig_push(r);
    /* Neither pop nor push write to the guest */
    mock_memory_check_exact(r->mm, NULL, 0);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_queue_range_elems(&r->q, 0, 3),
        mock_queue_range_used_idx(&r->q),
    }, 2);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);
    rig_free(r);
}

static void test_dirty_used_wraps(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .start = 6 });

    rig_offer(r, 5, 4);
    rig_pop(r, 64);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_queue_range_elems(&r->q, 6, 2),
        mock_queue_range_elems(&r->q, 0, 3),
        mock_queue_range_used_idx(&r->q),
    }, 3);
    check_used(r, 0, 100);
    check_used(r, 1, 101);
    check_used(r, 2, 102);
    check_used(r, 3, 103);
    check_used(r, 4, 104);
    rig_free(r);
}

/* Exactly up to the end of the ring: no second part */
static void test_dirty_used_to_end(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .start = 5 });

    rig_offer(r, 3, 4);
    rig_pop(r, 64);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_queue_range_elems(&r->q, 5, 3),
        mock_queue_range_used_idx(&r->q),
    }, 2);
    rig_free(r);
}

static void test_dirty_flags(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });
    MockRange flags = mock_queue_range_flags(&r->q);

    mock_memory_snapshot(r->mm);
    vhost_dp_vring_disable_notify(&r->vq);
    mock_memory_check_exact(r->mm, &flags, 1);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_enable_notify(&r->vq);
    mock_memory_check_exact(r->mm, &flags, 1);
    rig_free(r);
}

static void test_dirty_avail_event(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = true });
    MockRange event = mock_queue_range_avail_event(&r->q);

    rig_offer(r, 3, 4);
    rig_pop(r, 64);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_disable_notify(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);
    vhost_dp_vring_enable_notify(&r->vq);
    mock_memory_check_exact(r->mm, &event, 1);
    g_assert_cmpuint(mock_queue_avail_event(&r->q), ==, 3);
    rig_free(r);
}

/* What start and stop write is reported, too */
static void test_dirty_start_stop(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new_stopped((Setup) { .num = 8, .start = 1000,
                                       .event_idx = event_idx });
    MockRange range = event_idx ? mock_queue_range_avail_event(&r->q)
                                : mock_queue_range_flags(&r->q);

    mock_memory_snapshot(r->mm);
    g_assert_cmpint(rig_start(r), ==, 0);
    mock_memory_check_exact(r->mm, &range, 1);
    rig_offer(r, 3, 4);
    vhost_dp_vring_disable_notify(&r->vq);
    rig_pop(r, 64);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_stop(&r->vq);
    mock_memory_check_exact(r->mm, &range, 1);
    rig_free(r);
}

/*
 * A driver that offers more chains than the ring has entries, each time the
 * device looks: whatever is written and reported stays inside the used ring.
 */
static void test_flush_stays_in_ring(gconstpointer opaque)
{
    unsigned num = *(const unsigned *)opaque;
    Rig *r = rig_new((Setup) { .num = num });
    unsigned i, pushed = 0;

    for (i = 0; i < 5; i++) {
        mock_queue_set_desc(&r->q, 0, DATA_GPA, 4, 0, 0);
        mock_queue_add_head(&r->q, 0);
        mock_queue_publish(&r->q);
        pushed += rig_pop(r, 64);
        rig_push(r);
    }
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_queue_range_elems(&r->q, 0, MIN(num, pushed)),
        mock_queue_range_used_idx(&r->q),
    }, 2);
    rig_free(r);
}

/* Section 2.7.10: notifications from the driver, without EVENT_IDX */

static void test_notify_flag(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    g_assert_cmpuint(mock_queue_used_flags(&r->q), ==, 0);
    vhost_dp_vring_disable_notify(&r->vq);
    g_assert_cmpuint(mock_queue_used_flags(&r->q), ==,
                     VRING_USED_F_NO_NOTIFY);
    vhost_dp_vring_disable_notify(&r->vq);
    g_assert_cmpuint(mock_queue_used_flags(&r->q), ==,
                     VRING_USED_F_NO_NOTIFY);
    rig_add(r, DATA_GPA, 1);
    g_assert_false(mock_queue_publish(&r->q));
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    g_assert_cmpuint(mock_queue_used_flags(&r->q), ==, 0);
    rig_add(r, DATA_GPA, 1);
    g_assert_true(mock_queue_publish(&r->q));
    rig_free(r);
}

/* Section 2.7.10.1: ..., and the field after the used ring with it */
static void test_notify_event(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = true, .start = 65533 });
    unsigned i;

    g_assert_cmpuint(mock_queue_avail_event(&r->q), ==, 65533);
    /* Busy: one kick, and then none while the device does not ask */
    rig_add(r, DATA_GPA, 1);
    g_assert_true(mock_queue_publish(&r->q));
    vhost_dp_vring_disable_notify(&r->vq);
    for (i = 0; i < 5; i++) {
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, 0, 100);
        rig_add(r, DATA_GPA, 1);
        g_assert_false(mock_queue_publish(&r->q));
    }
    /* The flags must not be used with EVENT_IDX */
    g_assert_cmpuint(mock_queue_used_flags(&r->q), ==, 0);

    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    g_assert_cmpuint(mock_queue_avail_event(&r->q), ==, 3);
    rig_add(r, DATA_GPA, 1);
    g_assert_true(mock_queue_publish(&r->q));
    rig_free(r);
}

/*
 * Section 2.7.10.1: a chain that became available after the last look, and
 * before notifications were enabled, has no kick: it has to be seen.
 */
static void test_enable_notify_looks_again(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = event_idx,
                               .start = 65535 });

    rig_offer(r, 1, 1);
    vhost_dp_vring_disable_notify(&r->vq);
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    g_assert_cmpuint(rig_pop(r, 8), ==, 0);
    rig_add(r, DATA_GPA, 1);
    g_assert_false(mock_queue_publish(&r->q));
    g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
    if (event_idx) {
        g_assert_cmpuint(mock_queue_avail_event(&r->q), ==, 0);
    }
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    g_assert_cmpuint(rig_pop(r, 8), ==, 0);
    rig_add(r, DATA_GPA, 1);
    g_assert_true(mock_queue_publish(&r->q));
    rig_free(r);
}

/* Rewound chains (too few for a frame): only more of them are news */
static void test_enable_notify_after_rewind(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = event_idx });

    rig_offer(r, 3, 1);
    g_assert_cmpuint(rig_pop(r, 8), ==, 3);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 3);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    rig_add(r, DATA_GPA, 1);
    g_assert_true(mock_queue_publish(&r->q));
    g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
    g_assert_cmpuint(rig_pop(r, 8), ==, 4);
    rig_free(r);
}

/* Section 2.7.7: calls, that is notifications to the driver */

static void test_call_flag(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    g_assert_true(rig_turn(r, 1));
    g_assert_true(rig_turn(r, 2));
    mock_queue_set_avail_flags(&r->q, VRING_AVAIL_F_NO_INTERRUPT);
    g_assert_false(rig_turn(r, 1));
    g_assert_false(rig_turn(r, 3));
    mock_queue_set_avail_flags(&r->q, 0);
    g_assert_true(rig_turn(r, 1));
    rig_free(r);
}

/* Section 2.7.7.2: with EVENT_IDX the flags are ignored */
static void test_call_event_ignores_flag(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = true });

    mock_queue_set_avail_flags(&r->q, VRING_AVAIL_F_NO_INTERRUPT);
    g_assert_true(rig_turn(r, 1));
    mock_queue_set_used_event(&r->q, 1);
    g_assert_true(rig_turn(r, 1));
    g_assert_false(rig_turn(r, 1));
    rig_free(r);
}

/* Section 2.7.7.2: without EVENT_IDX the event field is ignored */
static void test_call_flag_ignores_event(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    mock_queue_set_used_event(&r->q, 1000);
    g_assert_true(rig_turn(r, 1));
    g_assert_true(rig_turn(r, 1));
    rig_free(r);
}

/*
 * Section 2.7.7.2: call when the element with index used_event was written.
 * Every distance of the event from the index, across the wrap.
 */
static void test_call_event_index(gconstpointer opaque)
{
    uint16_t start = *(const uint16_t *)opaque;
    Rig *r = rig_new((Setup) { .num = 16, .event_idx = true,
                               .start = start });
    unsigned n;
    int distance;

    rig_turn(r, 1);             /* the first call is unconditional */
    for (n = 1; n <= 6; n++) {
        for (distance = -3; distance < 10; distance++) {
            uint16_t old = mock_queue_used_idx(&r->q);
            bool expect = distance >= 0 && distance < n;

            mock_queue_set_used_event(&r->q, old + distance);
            g_assert_cmpint(rig_turn(r, n), ==, expect);
        }
    }
    /* As far away as can be */
    mock_queue_set_used_event(&r->q, mock_queue_used_idx(&r->q) + 32768);
    g_assert_false(rig_turn(r, 16));
    rig_free(r);
}

/* The first flush after a start calls: nobody knows what was called for */
static void test_call_first_after_start(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = true });
    unsigned i;

    for (i = 0; i < 3; i++) {
        mock_queue_set_used_event(&r->q, 30000);
        g_assert_true(rig_turn(r, 1));
        g_assert_false(rig_turn(r, 1));
        g_assert_false(rig_turn(r, 2));
        vhost_dp_vring_stop(&r->vq);
        g_assert_cmpint(rig_start(r), ==, 0);
    }
    /* A flush of nothing is no flush */
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    g_assert_true(rig_turn(r, 1));
    rig_free(r);
}

/* Elements of several pops, one flush: one decision about all of them */
static void test_call_once_for_all(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = true });

    rig_turn(r, 1);
    mock_queue_set_used_event(&r->q, 1);
    rig_offer(r, 2, 1);
    g_assert_cmpuint(rig_pop(r, 1), ==, 1);
    rig_push(r);
    g_assert_cmpuint(rig_pop(r, 1), ==, 1);
    rig_push(r);
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    check_used(r, 0, 100);
    check_used(r, 1, 100);
    g_assert_false(rig_turn(r, 1));
    rig_free(r);
}

/* Start and stop */

static void test_stop_enables_notify(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    vhost_dp_vring_disable_notify(&r->vq);
    vhost_dp_vring_stop(&r->vq);
    g_assert_cmpuint(mock_queue_used_flags(&r->q), ==, 0);
    rig_add(r, DATA_GPA, 1);
    g_assert_true(mock_queue_publish(&r->q));
    rig_free(r);
}

static void test_stop_enables_notify_event(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = true });

    vhost_dp_vring_disable_notify(&r->vq);
    rig_turn(r, 3);
    vhost_dp_vring_stop(&r->vq);
    g_assert_cmpuint(mock_queue_avail_event(&r->q), ==, 3);
    rig_add(r, DATA_GPA, 1);
    g_assert_true(mock_queue_publish(&r->q));
    rig_free(r);
}

/* The same when nobody disabled notifications since they were enabled */
static void test_stop_refreshes_event(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = true });

    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    rig_turn(r, 3);
    vhost_dp_vring_stop(&r->vq);
    rig_add(r, DATA_GPA, 1);
    g_assert_true(mock_queue_publish(&r->q));
    rig_free(r);
}

static void test_stopped_queue_is_quiet(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    rig_offer(r, 3, 1);
    g_assert_cmpuint(rig_pop(r, 1), ==, 1);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    vhost_dp_vring_stop(&r->vq);
    mock_memory_snapshot(r->mm);
    g_assert_cmpuint(rig_pop(r, 8), ==, 0);
    g_assert_cmpuint(r->burst.nchains, ==, 0);
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    vhost_dp_vring_disable_notify(&r->vq);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    vhost_dp_vring_remap(&r->vq, r->mem);
    vhost_dp_vring_stop(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);
    g_assert_cmpuint(r->vq.last_avail, ==, 1);
    check_healthy(r);
    rig_free(r);
}

static void test_never_started_is_quiet(void)
{
    Rig *r = rig_new_stopped((Setup) { .num = 8 });

    rig_offer(r, 3, 1);
    mock_memory_snapshot(r->mm);
    g_assert_cmpuint(rig_pop(r, 8), ==, 0);
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    vhost_dp_vring_disable_notify(&r->vq);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    vhost_dp_vring_remap(&r->vq, r->mem);
    vhost_dp_vring_stop(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);
    check_healthy(r);
    rig_free(r);
}

/* Section 2.7.8: what the driver sees goes on where it was */
static void test_handover(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .start = 65534 });
    uint16_t last_avail;

    rig_offer(r, 6, 4);
    g_assert_cmpuint(rig_pop(r, 6), ==, 6);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 3);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    vhost_dp_vring_stop(&r->vq);
    last_avail = vhost_dp_vring_get_base(&r->vq);
    g_assert_cmpuint(last_avail, ==, 1);

    /* Somebody else runs the queue */
    vhost_dp_vring_init(&r->vq, false);
    r->vq.num = 8;
    r->vq.swap = HOST_BIG_ENDIAN;
    r->vq.desc.gpa = DESC_GPA;
    r->vq.avail.gpa = AVAIL_GPA;
    r->vq.used.gpa = USED_GPA;
    vhost_dp_vring_set_base(&r->vq, last_avail);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_cmpuint(rig_pop(r, 8), ==, 3);
    check_chain(r, 0, 3, &(MockRange) { DATA_GPA + 48, 4 }, 1);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    g_assert_cmpuint(mock_queue_used_idx(&r->q), ==, 4);
    check_used(r, 0, 100);
    check_used(r, 1, 101);
    check_used(r, 2, 102);
    check_used(r, 3, 100);
    check_used(r, 4, 101);
    check_used(r, 5, 102);
    check_no_used(r);
    check_healthy(r);
    rig_free(r);
}

/* The used index is the ring's, whatever the queue knew before */
static void test_start_reads_used_index(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    rig_turn(r, 5);
    vhost_dp_vring_stop(&r->vq);
    mock_queue_destroy(&r->q);
    mock_queue_init(&r->q, r->mm, 8, DESC_GPA, AVAIL_GPA, USED_GPA, 40001,
                    false, false);
    vhost_dp_vring_set_base(&r->vq, 40001);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_true(rig_turn(r, 2));
    g_assert_cmpuint(mock_queue_used_idx(&r->q), ==, 40003);
    check_healthy(r);
    rig_free(r);
}

/* Also where it differs from last_avail: not all that was taken was used */
static void test_start_with_unused_chains(void)
{
    Rig *r = rig_new_stopped((Setup) { .num = 8, .start = 65534 });
    MockRange elem = mock_queue_range_elems(&r->q, 65534, 1);

    rig_offer(r, 3, 4);
    vhost_dp_vring_set_base(&r->vq, 0);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    check_chain(r, 0, 2, &(MockRange) { DATA_GPA + 32, 4 }, 1);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        elem, mock_queue_range_used_idx(&r->q),
    }, 2);
    g_assert_cmpuint(mock_queue_used_idx(&r->q), ==, 65535);
    check_used(r, 2, 100);
    check_no_used(r);
    check_healthy(r);
    rig_free(r);
}

/* What was pushed and never flushed belongs to the past */
static void test_start_forgets_pushed(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    rig_offer(r, 2, 4);
    g_assert_cmpuint(rig_pop(r, 8), ==, 2);
    rig_push(r);
    vhost_dp_vring_stop(&r->vq);
    vhost_dp_vring_set_base(&r->vq, 0);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    g_assert_cmpuint(rig_pop(r, 8), ==, 2);
    rig_push(r);
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    check_used(r, 0, 100);
    check_used(r, 1, 101);
    check_no_used(r);
    rig_free(r);
}

/* A start with chains that wait already: there will be no kick for them */
static void test_start_with_waiting_chains(void)
{
    Rig *r = rig_new_stopped((Setup) { .num = 8, .event_idx = true });

    rig_offer(r, 8, 4);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
    g_assert_cmpuint(rig_pop(r, 8), ==, 8);
    check_healthy(r);
    rig_free(r);
}

/* Section 2.7: sizes are powers of two; VHOST_DP_VRING_MAX_NUM is our own */
static void test_start_refuses_sizes(void)
{
    static const unsigned bad[] = { 0, 3, 6, 1023, 1025, 2048, 32768, 65536,
                                    UINT_MAX, 0x80000000u };
    Rig *r = rig_new_stopped((Setup) { .num = 8 });
    unsigned i;

    mock_memory_snapshot(r->mm);
    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        r->vq.num = bad[i];
        g_assert_cmpint(rig_start(r), ==, -EINVAL);
        g_assert_false(r->vq.running);
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        vhost_dp_vring_stop(&r->vq);
    }
    mock_memory_check_exact(r->mm, NULL, 0);
    check_healthy(r);
    rig_free(r);
}

typedef struct RingAddr {
    uint64_t desc, avail, used;
    bool event_idx;
    bool ok;
} RingAddr;

/* Section 2.7: alignment; and all of a part has to be in one region */
static void test_start_checks_addresses(void)
{
    /* Sizes for 16 entries without EVENT_IDX: 256, 36 and 132 bytes */
    static const RingAddr addrs[] = {
        { DESC_GPA, AVAIL_GPA, USED_GPA, .ok = true },
        /* misaligned */
        { DESC_GPA + 8, AVAIL_GPA, USED_GPA },
        { DESC_GPA + 15, AVAIL_GPA, USED_GPA },
        { DESC_GPA, AVAIL_GPA + 1, USED_GPA },
        { DESC_GPA, AVAIL_GPA, USED_GPA + 2 },
        { DESC_GPA, AVAIL_GPA, USED_GPA + 1 },
        /* just aligned */
        { DESC_GPA + 16, AVAIL_GPA + 2, USED_GPA + 4, .ok = true },
        /* in a gap */
        { GAP_GPA, AVAIL_GPA, USED_GPA },
        { DESC_GPA, GAP_GPA, USED_GPA },
        { DESC_GPA, AVAIL_GPA, GAP_GPA },
        /* not RAM */
        { DEVICE_GPA, AVAIL_GPA, USED_GPA },
        { DESC_GPA, DEVICE_GPA, USED_GPA },
        { DESC_GPA, AVAIL_GPA, DEVICE_GPA },
        /* end of the address space */
        { -16ULL, AVAIL_GPA, USED_GPA },
        { DESC_GPA, -2ULL, USED_GPA },
        { DESC_GPA, AVAIL_GPA, -4ULL },
        /* up to the end of RAM, and beyond */
        { LAST_GPA + LAST_SIZE - 256, AVAIL_GPA, USED_GPA, .ok = true },
        { LAST_GPA + LAST_SIZE - 240, AVAIL_GPA, USED_GPA },
        { DESC_GPA, LAST_GPA + LAST_SIZE - 36, USED_GPA, .ok = true },
        { DESC_GPA, LAST_GPA + LAST_SIZE - 34, USED_GPA },
        { DESC_GPA, AVAIL_GPA, LAST_GPA + LAST_SIZE - 132, .ok = true },
        { DESC_GPA, AVAIL_GPA, LAST_GPA + LAST_SIZE - 128 },
        /* up to the end of a region that has a neighbour, and across */
        { BORDER_GPA - 8 - 256, AVAIL_GPA, USED_GPA, .ok = true },
        { BORDER_GPA - 8 - 240, AVAIL_GPA, USED_GPA },
        { DESC_GPA, BORDER_GPA - 36, USED_GPA, .ok = true },
        { DESC_GPA, BORDER_GPA - 34, USED_GPA },
        { DESC_GPA, AVAIL_GPA, BORDER_GPA - 132, .ok = true },
        { DESC_GPA, AVAIL_GPA, BORDER_GPA - 128 },
        /* EVENT_IDX needs two bytes more */
        { DESC_GPA, BORDER_GPA - 36, USED_GPA, .event_idx = true },
        { DESC_GPA, BORDER_GPA - 38, USED_GPA, .event_idx = true,
          .ok = true },
        { DESC_GPA, AVAIL_GPA, BORDER_GPA - 132, .event_idx = true },
        { DESC_GPA, AVAIL_GPA, BORDER_GPA - 136, .event_idx = true,
          .ok = true },
    };
    Rig *r = rig_new_stopped((Setup) { .num = 16 });
    static const uint8_t zero[512];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(addrs); i++) {
        const RingAddr *a = &addrs[i];

        r->s.event_idx = a->event_idx;
        r->vq.desc.gpa = a->desc;
        r->vq.avail.gpa = a->avail;
        r->vq.used.gpa = a->used;
        if (a->ok) {
            mock_memory_write(r->mm, a->avail, zero, 36);
            mock_memory_write(r->mm, a->used, zero, 132);
        }
        mock_memory_snapshot(r->mm);
        g_test_message("address set %u", i);
        g_assert_cmpint(rig_start(r), ==, a->ok ? 0 : -EFAULT);
        g_assert_cmpint(r->vq.running, ==, a->ok);
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        vhost_dp_vring_stop(&r->vq);
        mock_memory_check(r->mm);
        if (!a->ok) {
            mock_memory_check_exact(r->mm, NULL, 0);
        }
    }
    check_healthy(r);
    rig_free(r);
}

/* A start that failed can be repeated with better values */
static void test_start_after_failed_start(void)
{
    Rig *r = rig_new_stopped((Setup) { .num = 16 });

    r->vq.used.gpa = GAP_GPA;
    g_assert_cmpint(rig_start(r), ==, -EFAULT);
    r->vq.used.gpa = USED_GPA;
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_true(rig_turn(r, 4));
    check_healthy(r);
    rig_free(r);
}

/* The memory table changes while the queue runs */

static void test_remap_moves(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = event_idx });
    unsigned i;

    rig_turn(r, 2);
    for (i = 0; i < 3; i++) {
        MockSeg segs[] = { { DATA_GPA, 12 }, { HIGH_GPA, 100 },
                           { 0x2fff8, 12 } };
        int id = mock_queue_add_indirect(&r->q, segs, 3, 1, BORDER_GPA - 8,
                                         NULL);

        mock_queue_publish(&r->q);
        rig_move_memory(r, i == 1 ? 1 << AREA_BYTE : 0);
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        check_chain(r, 0, id, (MockRange[]) {
            { DATA_GPA, 12 }, { HIGH_GPA, 100 }, { 0x2fff8, 8 },
            { SMALL_GPA, 4 },
        }, 4);
        rig_push(r);
        /* With a used element that waits, too */
        rig_move_memory(r, 0);
        vhost_dp_vring_flush(&r->vq);
        mock_memory_check_exact(r->mm, (MockRange[]) {
            mock_queue_range_elems(&r->q, 2 + i, 1),
            mock_queue_range_used_idx(&r->q),
        }, 2);
        check_used(r, id, 100);
        vhost_dp_vring_disable_notify(&r->vq);
        vhost_dp_vring_enable_notify(&r->vq);
    }
    check_healthy(r);
    rig_free(r);
}

/* The ring's own memory is the same, but what was around it has gone */
static void test_remap_fewer_regions(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    rig_add(r, HIGH_GPA, 4);
    rig_add(r, HIGH_GPA, 4);
    mock_queue_publish(&r->q);
    g_assert_cmpuint(rig_pop(r, 1), ==, 1);
    rig_push(r);
    rig_move_memory(r, ~(1ULL << AREA_RING | 1ULL << AREA_HIGH));
    g_assert_cmpuint(r->mem->nregions, ==, 2);
    g_assert_cmpuint(rig_pop(r, 1), ==, 1);
    check_chain(r, 0, 1, &(MockRange) { HIGH_GPA, 4 }, 1);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, 0, 100);
    check_used(r, 1, 100);
    check_healthy(r);
    rig_free(r);
}

static void test_remap_stopped(void)
{
    Rig *r = rig_new((Setup) { .num = 8 });

    vhost_dp_vring_stop(&r->vq);
    rig_move_memory(r, 1 << AREA_RING);
    g_assert_cmpint(rig_start(r), ==, -EFAULT);
    rig_move_memory(r, 0);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_true(rig_turn(r, 2));
    check_healthy(r);
    rig_free(r);
}

/* A running queue whose ring is not RAM any more */
static void test_remap_without_ring(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = event_idx });

    rig_offer(r, 4, 4);
    g_assert_cmpuint(rig_pop(r, 2), ==, 2);
    rig_push(r);
    rig_move_memory(r, 1 << AREA_RING);
    g_assert_true(r->vq.broken);
    mock_memory_snapshot(r->mm);
    /* What waited for the flush has nowhere to go */
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    check_broken(r, VHOST_DP_VIOLATION_RING_ADDRESS);
    mock_memory_check_exact(r->mm, NULL, 0);

    /* Memory that comes back does not mend it: a start does */
    rig_move_memory(r, 0);
    mock_memory_snapshot(r->mm);
    check_broken(r, VHOST_DP_VIOLATION_RING_ADDRESS);
    vhost_dp_vring_stop(&r->vq);
    mock_memory_check(r->mm);
    vhost_dp_vring_set_base(&r->vq, 0);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_cmpuint(rig_pop(r, 8), ==, 4);
    rig_free(r);
}

static void test_stop_without_ring(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .event_idx = event_idx });

    vhost_dp_vring_disable_notify(&r->vq);
    rig_move_memory(r, 1 << AREA_RING);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_stop(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);
    rig_free(r);
}

/* Section 2.7, "big-endian driver": a legacy guest of another byte order */

static void test_big_endian(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 256, .start = 0xfffe,
                               .event_idx = event_idx, .big_endian = true });
    MockSeg segs[] = { { DATA_GPA + 1, 0x102, false },
                       { HIGH_GPA + 0x23, 0x304, false },
                       { DATA_GPA + 0x800, 9, true } };
    int id = mock_queue_add_indirect(&r->q, segs, 3, 1, TABLE_GPA, NULL);
    uint32_t got_id, len;

    g_assert_true(mock_queue_publish(&r->q));
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    check_chain(r, 0, id, (MockRange[]) {
        { DATA_GPA + 1, 0x102 }, { HIGH_GPA + 0x23, 0x304 },
    }, 2);
    vhost_dp_vring_push(&r->vq, &r->burst.chain[0], 0x01020304);
    mock_memory_snapshot(r->mm);
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_queue_range_elems(&r->q, 0xfe, 1),
        mock_queue_range_used_idx(&r->q),
    }, 2);
    g_assert_true(mock_queue_get_used(&r->q, &got_id, &len));
    g_assert_cmpuint(got_id, ==, id);
    g_assert_cmphex(len, ==, 0x01020304);

    /* Wishes of both sides */
    if (event_idx) {
        g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
        g_assert_cmpuint(mock_queue_avail_event(&r->q), ==, 0xffff);
        mock_queue_set_used_event(&r->q, 0xffff);
        g_assert_true(rig_turn(r, 1));
        mock_queue_set_used_event(&r->q, 3);
        g_assert_false(rig_turn(r, 3));
        g_assert_true(rig_turn(r, 1));
    } else {
        vhost_dp_vring_disable_notify(&r->vq);
        g_assert_cmpuint(mock_queue_used_flags(&r->q), ==,
                         VRING_USED_F_NO_NOTIFY);
        mock_queue_set_avail_flags(&r->q, VRING_AVAIL_F_NO_INTERRUPT);
        g_assert_false(rig_turn(r, 3));
    }

    /* The used index is read from the ring at start */
    vhost_dp_vring_stop(&r->vq);
    g_assert_cmpint(rig_start(r), ==, 0);
    rig_turn(r, 200);
    check_healthy(r);
    rig_free(r);
}

#define SPLIT RIG_SPLIT

static void add_ring_tests(void)
{
    rig_test_sizes("round-trip", test_round_trip);
    rig_test_sizes("full-ring", test_full_ring);
    g_test_add_func(SPLIT "avail-index-wraps", test_avail_index_wraps);
    g_test_add_func(SPLIT "used-index-wraps", test_used_index_wraps);
    g_test_add_func(SPLIT "both-indices-go-round", test_many_turns);
    g_test_add_func(SPLIT "burst/limited-by-chains",
                    test_burst_limited_by_chains);
    g_test_add_func(SPLIT "burst/limited-by-bytes",
                    test_burst_limited_by_bytes);
    g_test_add_func(SPLIT "burst/limited-by-segments",
                    test_burst_limited_by_segments);
    g_test_add_func(SPLIT "burst/bytes-do-not-overflow",
                    test_burst_bytes_do_not_overflow);
    g_test_add_func(SPLIT "burst/full", test_burst_full);
    g_test_add_func(SPLIT "rewind/pops-same-chains",
                    test_rewind_pops_same_chains);
    g_test_add_func(SPLIT "rewind/some", test_rewind_some);
    g_test_add_func(SPLIT "flush/whole-ring", test_flush_whole_ring);
    rig_test_sizes("flush/stays-in-ring", test_flush_stays_in_ring);
    g_test_add_func(SPLIT "dirty/used", test_dirty_used);
    g_test_add_func(SPLIT "dirty/used-wraps", test_dirty_used_wraps);
    g_test_add_func(SPLIT "dirty/used-to-end-of-ring",
                    test_dirty_used_to_end);
    g_test_add_func(SPLIT "dirty/flags", test_dirty_flags);
    g_test_add_func(SPLIT "dirty/avail-event", test_dirty_avail_event);
    rig_test_event("dirty/start-and-stop", test_dirty_start_stop);
}

static void add_notify_tests(void)
{
    static const uint16_t starts[] = { 0, 65400, 65500, 65530, 32700 };
    unsigned i;

    g_test_add_func(SPLIT "notify/flag", test_notify_flag);
    g_test_add_func(SPLIT "notify/event", test_notify_event);
    rig_test_event("notify/enable-looks-again", test_enable_notify_looks_again);
    rig_test_event("notify/enable-after-rewind",
                   test_enable_notify_after_rewind);
    g_test_add_func(SPLIT "call/flag", test_call_flag);
    g_test_add_func(SPLIT "call/event-ignores-flag",
                    test_call_event_ignores_flag);
    g_test_add_func(SPLIT "call/flag-ignores-event",
                    test_call_flag_ignores_event);
    for (i = 0; i < ARRAY_SIZE(starts); i++) {
        g_autofree char *path = g_strdup_printf(SPLIT "call/event-index/%u",
                                                starts[i]);

        g_test_add_data_func(path, &starts[i], test_call_event_index);
    }
    g_test_add_func(SPLIT "call/first-after-start",
                    test_call_first_after_start);
    g_test_add_func(SPLIT "call/once-for-all", test_call_once_for_all);
}

static void add_control_tests(void)
{
    g_test_add_func(SPLIT "stop/enables-notify/flags",
                    test_stop_enables_notify);
    g_test_add_func(SPLIT "stop/enables-notify/event-idx",
                    test_stop_enables_notify_event);
    g_test_add_func(SPLIT "stop/enables-notify/event-idx-never-disabled",
                    test_stop_refreshes_event);
    g_test_add_func(SPLIT "stop/stopped-is-quiet",
                    test_stopped_queue_is_quiet);
    g_test_add_func(SPLIT "stop/never-started-is-quiet",
                    test_never_started_is_quiet);
    g_test_add_func(SPLIT "start/after-stop", test_handover);
    g_test_add_func(SPLIT "start/reads-used-index",
                    test_start_reads_used_index);
    g_test_add_func(SPLIT "start/with-unused-chains",
                    test_start_with_unused_chains);
    g_test_add_func(SPLIT "start/forgets-pushed", test_start_forgets_pushed);
    g_test_add_func(SPLIT "start/with-waiting-chains",
                    test_start_with_waiting_chains);
    g_test_add_func(SPLIT "start/refuses-sizes", test_start_refuses_sizes);
    g_test_add_func(SPLIT "start/checks-addresses",
                    test_start_checks_addresses);
    g_test_add_func(SPLIT "start/after-failed-start",
                    test_start_after_failed_start);
    rig_test_event("big-endian-driver", test_big_endian);
    rig_test_event("remap/memory-moves", test_remap_moves);
    g_test_add_func(SPLIT "remap/fewer-regions", test_remap_fewer_regions);
    g_test_add_func(SPLIT "remap/stopped", test_remap_stopped);
    rig_test_event("remap/without-ring", test_remap_without_ring);
    rig_test_event("remap/stop-without-ring", test_stop_without_ring);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_ring_tests();
    add_notify_tests();
    add_control_tests();
    return g_test_run();
}
