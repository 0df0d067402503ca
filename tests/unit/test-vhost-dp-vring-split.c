/*
 * vhost-dp: tests of what only split virtqueues have
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/virtio_ring.h"
#include "tests/vhost-dp/lib/rig.h"

/* Sections 2.7.6, 2.7.8: indices are free-running, modulo 65536 */

static void test_avail_index_wraps(Setup s)
{
    Rig *r;

    s.num = 8;
    s.start = 65533;
    r = rig_new(s);
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

static void test_used_index_wraps(Setup s)
{
    /* Chains that are used in each flush, and the index after it */
    static const struct {
        unsigned n, idx;
    } flushes[] = { { 2, 65535 }, { 1, 0 }, { 5, 5 } };
    unsigned i, j, done = 0;
    Rig *r;

    s.num = 8;
    s.start = 65533;
    r = rig_new(s);
    rig_offer(r, 8, 4);
    g_assert_cmpuint(rig_pop(r, 64), ==, 8);
    for (i = 0; i < ARRAY_SIZE(flushes); i++) {
        for (j = 0; j < flushes[i].n; j++, done++) {
            vhost_dp_vring_push(&r->vq, &r->burst.chain[done], done);
        }
        vhost_dp_vring_flush(&r->vq);
        g_assert_cmpuint(mock_queue_used_idx(&r->q), ==, flushes[i].idx);
    }
    for (i = 0; i < 8; i++) {
        check_used(r, i, i);
    }
    check_no_used(r);
    rig_free(r);
}

/* The used index is the ring's, whatever the queue knew before */
static void test_start_reads_used_index(Setup s)
{
    Rig *r;

    s.num = 8;
    r = rig_new(s);
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

/*
 * A driver that offers more chains than the ring has entries, each time the
 * device looks: whatever is written and reported stays inside the used ring.
 */
static void test_flush_stays_in_ring(Setup s)
{
    Rig *r = rig_new(s);
    unsigned i, pushed = 0;

    for (i = 0; i < 5; i++) {
        mock_queue_set_desc(&r->q, 0, DATA_GPA, 4, 0, 0);
        mock_queue_add_head(&r->q, 0);
        rig_publish(r);
        pushed += rig_pop(r, 64);
        rig_push(r);
    }
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    check_written(r, 0, MIN(s.num, pushed));
    rig_free(r);
}

/* Sections 2.7.7 and 2.7.7.2: calls, that is notifications to the driver */

static void test_call_flag(Setup s)
{
    Rig *r = rig_new(s);

    g_assert_true(rig_turn(r, 1));
    g_assert_true(rig_turn(r, 2));
    rig_want_no_call(r);
    g_assert_false(rig_turn(r, 1));
    g_assert_false(rig_turn(r, 3));
    rig_want_call(r);
    g_assert_true(rig_turn(r, 1));
    rig_free(r);
}

/* With EVENT_IDX the flags are ignored */
static void test_call_event_ignores_flag(Setup s)
{
    Rig *r;

    s.event_idx = true;
    r = rig_new(s);
    rig_want_no_call(r);
    g_assert_true(rig_turn(r, 1));
    rig_want_call_at(r, 0);
    g_assert_true(rig_turn(r, 1));
    g_assert_false(rig_turn(r, 1));
    rig_free(r);
}

/*
 * Section 6.3, legacy interface: with VIRTIO_F_NOTIFY_ON_EMPTY the driver is
 * called when all that it made available is used, whatever it wishes.
 */
static void test_call_on_empty(Setup s)
{
    Rig *r;
    uint32_t id, len;
    unsigned i;

    s.notify_on_empty = true;
    r = rig_new(s);
    /* With EVENT_IDX, the first one that is not about this is a call */
    rig_offer(r, 2, 8);
    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(rig_pop(r, 1), ==, 1);
        rig_push(r);
        g_assert_true(vhost_dp_vring_flush(&r->vq));
        g_assert_true(rig_get_used(r, &id, &len));
    }
    rig_want_no_call(r);
    rig_want_call_at(r, 20000);
    for (i = 1; i <= 3; i++) {
        g_assert_true(rig_turn(r, i));
        rig_offer(r, 3, 8);
        g_assert_cmpuint(rig_pop(r, 1), ==, 1);
        rig_push(r);
        g_assert_false(vhost_dp_vring_flush(&r->vq));
        /* One that was taken, and is not used yet, counts */
        g_assert_cmpuint(rig_pop(r, 2), ==, 2);
        vhost_dp_vring_push(&r->vq, &r->burst.chain[0], 8);
        g_assert_false(vhost_dp_vring_flush(&r->vq));
        vhost_dp_vring_push(&r->vq, &r->burst.chain[1], 8);
        g_assert_true(vhost_dp_vring_flush(&r->vq));
        while (rig_get_used(r, &id, &len)) {
            rig_want_call_at(r, 20000);
        }
    }
    check_healthy(r);
    rig_free(r);
}

/*
 * Call when the element with index used_event was written.  Every distance of
 * the event from the index, across the wrap.
 */
static void test_call_event_index(gconstpointer opaque)
{
    Rig *r = rig_new((Setup) { .num = 16, .event_idx = true,
                               .start = *(const uint16_t *)opaque });
    unsigned n;
    int distance;

    rig_turn(r, 1);             /* the first call is unconditional */
    for (n = 1; n <= 6; n++) {
        for (distance = -3; distance < 10; distance++) {
            rig_want_call_at(r, distance);
            g_assert_cmpint(rig_turn(r, n), ==,
                            distance >= 0 && distance < n);
        }
    }
    /* As far away as can be */
    rig_want_call_at(r, 32768);
    g_assert_false(rig_turn(r, 16));
    rig_free(r);
}

/*
 * Descriptors in any order, also in a table (2.7.5.3); the last descriptor of
 * a chain may refer to one (2.7.5.3.2)
 */
static void test_direct_then_indirect(Setup s)
{
    static const MockRange want[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
        { DATA_GPA + 0x30, 4 }, { DATA_GPA + 0x40, 5 },
    };
    GRand *rand = g_rand_new_with_seed(3);
    MockSeg segs[] = {
        { DATA_GPA, 1 }, { DATA_GPA + 0x10, 2 }, { DATA_GPA + 0x20, 3 },
        { DATA_GPA + 0x30, 4 }, { DATA_GPA + 0x40, 5 },
    };
    Rig *r;
    unsigned i;

    s.num = 4;
    r = rig_new(s);
    for (i = 0; i < 40; i++) {
        int id = mock_queue_add_indirect(&r->q, segs, 5, i % 4, TABLE_GPA + i,
                                         rand);

        g_assert_cmpint(id, >=, 0);
        rig_publish(r);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        check_chain(r, 0, id, want, 5);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, id, 100);
        rig_shuffle(r, rand);
    }
    check_healthy(r);
    g_rand_free(rand);
    rig_free(r);
}

static const RigTest tests[] = {
    { "avail-index-wraps", test_avail_index_wraps, FOR_SPLIT },
    { "used-index-wraps", test_used_index_wraps, FOR_SPLIT },
    { "start/reads-used-index", test_start_reads_used_index, FOR_SPLIT },
    { "flush/stays-in-ring", test_flush_stays_in_ring, FOR_SPLIT | BY_SIZE },
    { "call/flag", test_call_flag, FOR_SPLIT },
    { "call/event-ignores-flag", test_call_event_ignores_flag, FOR_SPLIT },
    { "call/on-empty", test_call_on_empty, FOR_SPLIT | BY_EVENT },
    { "chain/direct-then-indirect", test_direct_then_indirect, FOR_SPLIT },
};

int main(int argc, char **argv)
{
    static const uint16_t starts[] = { 0, 65400, 65500, 65530, 32700 };
    unsigned i;

    g_test_init(&argc, &argv, NULL);
    rig_add_tests(tests, ARRAY_SIZE(tests));
    for (i = 0; i < ARRAY_SIZE(starts); i++) {
        g_autofree char *path = g_strdup_printf(RIG_SPLIT "call/event-index/%u",
                                                starts[i]);

        g_test_add_data_func(path, &starts[i], test_call_event_index);
    }
    return g_test_run();
}
