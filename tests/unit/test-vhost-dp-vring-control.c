/*
 * vhost-dp: tests of virtqueues: notifications, start, stop, what moves
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each test is for both ring formats.  Sections are those of the virtio
 * specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "tests/vhost-dp/lib/rig.h"

/* Notifications from the driver */

/* Sections 2.7.10 and 2.8.10: without EVENT_IDX */
static void test_notify_flags(Setup s)
{
    Rig *r = rig_new(s);
    unsigned i;

    check_asks_kick(r, 0);
    for (i = 0; i < 2; i++) {
        vhost_dp_vring_disable_notify(&r->vq);
        check_asks_no_kick(r);
    }
    rig_add(r, DATA_GPA, 1);
    g_assert_false(rig_publish(r));
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    check_asks_kick(r, 1);
    rig_add(r, DATA_GPA, 1);
    g_assert_true(rig_publish(r));
    rig_free(r);
}

static void test_notify_event(Setup s)
{
    Rig *r;
    unsigned i;

    s.num = 4;
    s.event_idx = true;
    rig_begin_before_end(&s, 2);
    r = rig_new(s);
    check_asks_kick(r, 0);
    rig_add(r, DATA_GPA, 1);
    g_assert_true(rig_publish(r));
    /* Busy: no kick while the device does not ask, over many rounds */
    vhost_dp_vring_disable_notify(&r->vq);
    for (i = 0; i < 25; i++) {
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, 0, 100);
        rig_add(r, DATA_GPA, 1);
        g_assert_false(rig_publish(r));
    }
    check_asks_no_kick(r);
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, 0, 100);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    check_asks_kick(r, 26);
    /* One kick for what is added first, and none after it */
    rig_add(r, DATA_GPA, 1);
    g_assert_true(rig_publish(r));
    rig_add(r, DATA_GPA, 1);
    g_assert_false(rig_publish(r));
    rig_free(r);
}

/*
 * Sections 2.7.10.1 and 2.8.21.3: a chain that became available after the last
 * look, and before notifications were enabled, has no kick: it has to be seen.
 */
static void test_enable_looks_again(Setup s)
{
    Rig *r;
    unsigned i;
    int id[3];

    s.num = s.packed ? 3 : 4;
    rig_begin_before_end(&s, 1);
    r = rig_new(s);
    for (i = 0; i < 10; i++) {
        id[0] = rig_add(r, DATA_GPA, 1);
        rig_publish(r);
        vhost_dp_vring_disable_notify(&r->vq);
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        rig_push(r);
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        id[1] = rig_add(r, DATA_GPA, 1);
        g_assert_false(rig_publish(r));
        g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
        check_asks_kick(r, 3 * i + 1);
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        rig_push(r);
        g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
        check_asks_kick(r, 3 * i + 2);
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, id[0], 100);
        check_used(r, id[1], 100);
        id[2] = rig_add(r, DATA_GPA, 1);
        g_assert_true(rig_publish(r));
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, id[2], 100);
    }
    check_healthy(r);
    rig_free(r);
}

/* Rewound chains (too few for a frame): only more of them are news */
static void test_enable_after_rewind(Setup s)
{
    Rig *r;

    s.num = 8;
    rig_begin_before_end(&s, 2);
    r = rig_new(s);
    rig_offer(r, 3, 1);
    vhost_dp_vring_disable_notify(&r->vq);
    g_assert_cmpuint(rig_pop(r, 8), ==, 3);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 3);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    check_asks_kick(r, 3);
    rig_add(r, DATA_GPA, 1);
    g_assert_true(rig_publish(r));
    g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
    g_assert_cmpuint(rig_pop(r, 8), ==, 4);
    /* Without an index, those that were not looked at are not known */
    vhost_dp_vring_rewind(&r->vq, &r->burst, 4);
    g_assert_cmpuint(rig_pop(r, 2), ==, 2);
    g_assert_cmpint(vhost_dp_vring_enable_notify(&r->vq), ==, s.packed);
    rig_free(r);
}

/* Who runs the queue next expects kicks */
static void test_stop_enables_notify(Setup s)
{
    unsigned disable;

    s.num = 4;
    for (disable = 0; disable < 2; disable++) {
        Rig *r = rig_new(s);

        if (disable) {
            vhost_dp_vring_disable_notify(&r->vq);
        } else {
            g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
        }
        rig_turn(r, 3);
        rig_turn(r, 3);
        vhost_dp_vring_stop(&r->vq);
        check_asks_kick(r, 6);
        rig_add(r, DATA_GPA, 1);
        g_assert_true(rig_publish(r));
        rig_free(r);
    }
}

/* Sections 2.7.7 and 2.8.10: calls, that is notifications to the driver */

/* Without EVENT_IDX the event field has no meaning */
static void test_call_flags_ignore_event(Setup s)
{
    Rig *r = rig_new(s);

    rig_want_call_at(r, 5);
    g_assert_true(rig_turn(r, 1));
    g_assert_true(rig_turn(r, 1));
    rig_want_call(r);
    g_assert_true(rig_turn(r, 1));
    rig_free(r);
}

/* The first flush after a start calls: nobody knows what was called for */
static void test_call_first_after_start(Setup s)
{
    Rig *r;
    unsigned i;

    s.num = 8;
    s.event_idx = true;
    r = rig_new(s);
    for (i = 0; i < 3; i++) {
        rig_want_call_at(r, 7);
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
static void test_call_once_for_all(Setup s)
{
    Rig *r;

    s.event_idx = true;
    r = rig_new(s);
    rig_turn(r, 1);
    rig_want_call_at(r, 0);
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

static void test_stopped_queue_is_quiet(Setup s)
{
    Rig *r = rig_new_stopped(s);
    unsigned i;

    rig_offer(r, 3, 1);
    for (i = 0; i < 2; i++) {
        /* Never started, and stopped */
        mock_memory_snapshot(r->mm);
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        g_assert_cmpuint(r->burst.nchains, ==, 0);
        g_assert_false(vhost_dp_vring_flush(&r->vq));
        vhost_dp_vring_disable_notify(&r->vq);
        g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
        vhost_dp_vring_remap(&r->vq, r->mem);
        vhost_dp_vring_stop(&r->vq);
        mock_memory_check_exact(r->mm, NULL, 0);
        check_progress(r, i, i);
        if (!i) {
            g_assert_cmpint(rig_start(r), ==, 0);
            g_assert_cmpuint(rig_pop(r, 1), ==, 1);
            rig_push(r);
            vhost_dp_vring_flush(&r->vq);
            vhost_dp_vring_stop(&r->vq);
        }
    }
    check_healthy(r);
    rig_free(r);
}

/* Section 2.7.8: what the driver sees goes on where it was */
static void test_hand_over(Setup s)
{
    static const MockRange want[] = { { DATA_GPA, 4 }, { DATA_GPA + 16, 4 } };
    MockSeg segs[] = { { DATA_GPA, 4 }, { DATA_GPA + 16, 4 } };
    unsigned entries = s.packed ? 2 : 1;        /* of a chain */
    Rig *r;
    int id[4];
    unsigned i;

    s.num = 8;
    rig_begin_before_end(&s, 2);
    r = rig_new(s);
    for (i = 0; i < 4; i++) {
        id[i] = rig_add_chain(r, segs, 2);
    }
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 8), ==, 4);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 1);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    vhost_dp_vring_stop(&r->vq);
    check_progress(r, 3 * entries, 3 * entries);

    /* Somebody else runs the queue */
    rig_hand_over(r);
    check_progress(r, 3 * entries, 3 * entries);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    check_chain(r, 0, id[3], want, 2);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    for (i = 0; i < 4; i++) {
        check_used(r, id[i], 100 + i % 3);
    }
    check_no_used(r);
    /* A base is not taken while the queue runs; to stop twice is to stop */
    vhost_dp_vring_set_base(&r->vq, 0);
    vhost_dp_vring_stop(&r->vq);
    vhost_dp_vring_stop(&r->vq);
    check_progress(r, 4 * entries, 4 * entries);
    check_healthy(r);
    rig_free(r);
}

/* Used is behind: somebody before us has not used all that was taken */
static void test_start_with_unused_chains(Setup s)
{
    Rig *r;

    s.num = 8;
    rig_begin_before_end(&s, 2);
    r = rig_new_stopped(s);
    rig_offer(r, 8, 4);
    vhost_dp_vring_set_base(&r->vq, rig_base(r, 7, 0));
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    check_chain(r, 0, 7, &(MockRange) { DATA_GPA + 7 * 16, 4 }, 1);
    g_assert_cmpint(r->burst.full, ==, s.packed);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    check_written(r, 6, 1);
    check_used(r, 7, 100);
    check_no_used(r);
    check_progress(r, 8, 1);
    check_healthy(r);
    rig_free(r);
}

/* What was pushed and never flushed belongs to the past */
static void test_start_forgets_pushed(Setup s)
{
    Rig *r;

    s.num = 2;
    r = rig_new(s);
    rig_offer(r, 2, 4);
    g_assert_cmpuint(rig_pop(r, 8), ==, 2);
    rig_push(r);
    vhost_dp_vring_stop(&r->vq);
    check_progress(r, 2, 0);
    vhost_dp_vring_set_base(&r->vq, rig_base(r, 0, 0));
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    g_assert_cmpuint(rig_pop(r, 8), ==, 2);
    rig_push(r);
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    check_used(r, 0, 100);
    check_used(r, 1, 101);
    check_no_used(r);
    check_healthy(r);
    rig_free(r);
}

/* A start with chains that wait already: there will be no kick for them */
static void test_start_with_waiting_chains(Setup s)
{
    Rig *r;

    s.num = 8;
    r = rig_new_stopped(s);
    rig_offer(r, 8, 4);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
    g_assert_cmpuint(rig_pop(r, 8), ==, 8);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    check_healthy(r);
    rig_free(r);
}

/*
 * Split sizes are powers of two (2.7), packed ones need not be (2.8.10.1);
 * VHOST_DP_VRING_MAX_NUM is our own limit.
 */
static void test_start_refuses_sizes(Setup s)
{
    static const unsigned bad[] = {
        0, 1025, 2048, 32768, 65536, UINT_MAX, 0x80000000u,
        /* split only */
        3, 6, 1023,
    };
    Rig *r = rig_new_stopped(s);
    unsigned i;

    mock_memory_snapshot(r->mm);
    for (i = 0; i < ARRAY_SIZE(bad) - (s.packed ? 3 : 0); i++) {
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

/* Alignment (2.7, 2.8.10.1); and all of a part has to be in one region */

typedef struct RingAddr {
    uint64_t desc, avail, used;
    bool ok;
} RingAddr;

#define LAST_END (LAST_GPA + LAST_SIZE)

/* For parts of 256, 36 and 132 bytes: 16 entries without EVENT_IDX */
static const RingAddr split_addrs[] = {
    /* misaligned */
    { DESC_GPA + 15, AVAIL_GPA, USED_GPA },
    { DESC_GPA, AVAIL_GPA + 1, USED_GPA },
    /* just aligned */
    { DESC_GPA + 16, AVAIL_GPA + 2, USED_GPA + 4, .ok = true },
    /* end of the address space */
    { DESC_GPA, -2ULL, USED_GPA },
    { DESC_GPA, AVAIL_GPA, -4ULL },
    /* up to the end of RAM, and beyond */
    { DESC_GPA, LAST_END - 36, USED_GPA, .ok = true },
    { DESC_GPA, LAST_END - 34, USED_GPA },
    { DESC_GPA, AVAIL_GPA, LAST_END - 132, .ok = true },
    { DESC_GPA, AVAIL_GPA, LAST_END - 128 },
    /* up to the end of a region that has a neighbour, and across */
    { DESC_GPA, BORDER_GPA - 36, USED_GPA, .ok = true },
    { DESC_GPA, BORDER_GPA - 34, USED_GPA },
    { DESC_GPA, AVAIL_GPA, BORDER_GPA - 132, .ok = true },
    { DESC_GPA, AVAIL_GPA, BORDER_GPA - 128 },
};

/* EVENT_IDX needs two bytes more */
static const RingAddr split_event_addrs[] = {
    { DESC_GPA, BORDER_GPA - 36, USED_GPA },
    { DESC_GPA, BORDER_GPA - 38, USED_GPA, .ok = true },
    { DESC_GPA, AVAIL_GPA, BORDER_GPA - 132 },
    { DESC_GPA, AVAIL_GPA, BORDER_GPA - 136, .ok = true },
};

/* Parts have 256, 4 and 4 bytes */
static const RingAddr packed_addrs[] = {
    { DESC_GPA, AVAIL_GPA + 2, USED_GPA },
    { DESC_GPA + 16, AVAIL_GPA + 4, USED_GPA + 4, .ok = true },
    { DESC_GPA, -4ULL, USED_GPA },
    { DESC_GPA, LAST_END - 4, USED_GPA, .ok = true },
    { DESC_GPA, LAST_END, USED_GPA },
    { DESC_GPA, AVAIL_GPA, LAST_END - 4, .ok = true },
    { DESC_GPA, AVAIL_GPA, LAST_END },
    { DESC_GPA, BORDER_GPA - 4, USED_GPA, .ok = true },
};

static const RingAddr common_addrs[] = {
    { DESC_GPA, AVAIL_GPA, USED_GPA, .ok = true },
    /* misaligned */
    { DESC_GPA + 8, AVAIL_GPA, USED_GPA },
    { DESC_GPA, AVAIL_GPA, USED_GPA + 2 },
    { DESC_GPA, AVAIL_GPA, USED_GPA + 1 },
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
    { -256ULL, AVAIL_GPA, USED_GPA },
    /* up to the end of RAM, and beyond */
    { LAST_END - 256, AVAIL_GPA, USED_GPA, .ok = true },
    { LAST_END - 240, AVAIL_GPA, USED_GPA },
    /* up to the end of a region that has a neighbour, and across */
    { BORDER_GPA - 8 - 256, AVAIL_GPA, USED_GPA, .ok = true },
    { BORDER_GPA - 8 - 240, AVAIL_GPA, USED_GPA },
};

static void check_addr(Rig *r, const RingAddr *a)
{
    static const uint8_t zero[256];

    r->vq.desc.gpa = a->desc;
    r->vq.driver.gpa = a->avail;
    r->vq.device.gpa = a->used;
    if (a->ok) {
        /* A ring without chains */
        mock_memory_write(r->mm, a->desc, zero, 256);
        mock_memory_write(r->mm, a->avail, zero, r->s.packed ? 4 : 36);
        mock_memory_write(r->mm, a->used, zero, r->s.packed ? 4 : 132);
    }
    mock_memory_snapshot(r->mm);
    g_assert_cmpint(rig_start(r), ==, a->ok ? 0 : -EFAULT);
    g_assert_cmpint(r->vq.running, ==, a->ok);
    g_assert_cmpuint(rig_pop(r, 8), ==, 0);
    vhost_dp_vring_stop(&r->vq);
    mock_memory_check(r->mm);
    if (!a->ok) {
        mock_memory_check_exact(r->mm, NULL, 0);
    }
}

static void check_addrs(Rig *r, const char *what, const RingAddr *addrs,
                        unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        g_test_message("%s address set %u", what, i);
        check_addr(r, &addrs[i]);
    }
}

static void test_start_checks_addresses(Setup s)
{
    Rig *r;

    s.num = 16;
    r = rig_new_stopped(s);
    check_addrs(r, "common", common_addrs, ARRAY_SIZE(common_addrs));
    if (s.packed) {
        check_addrs(r, "packed", packed_addrs, ARRAY_SIZE(packed_addrs));
    } else {
        check_addrs(r, "split", split_addrs, ARRAY_SIZE(split_addrs));
        r->s.event_idx = true;
        check_addrs(r, "EVENT_IDX", split_event_addrs,
                    ARRAY_SIZE(split_event_addrs));
    }
    check_healthy(r);
    rig_free(r);
}

/* A start that failed can be repeated with better values */
static void test_start_after_failed_start(Setup s)
{
    Rig *r = rig_new_stopped(s);

    r->vq.device.gpa = GAP_GPA;
    g_assert_cmpint(rig_start(r), ==, -EFAULT);
    r->vq.device.gpa = USED_GPA;
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_true(rig_turn(r, 4));
    check_healthy(r);
    rig_free(r);
}

static void test_format_changes(Setup s)
{
    Rig *r = rig_new(s);
    unsigned i;

    for (i = 0; i < 4; i++) {
        rig_turn(r, 11);
        rig_change_format(r);
    }
    rig_turn(r, 16);
    check_healthy(r);
    rig_free(r);
}

/* The memory table changes while the queue runs */

static void test_remap_moves(Setup s)
{
    static const MockRange want[] = {
        { DATA_GPA, 12 }, { HIGH_GPA, 100 }, { 0x2fff8, 8 }, { SMALL_GPA, 4 },
    };
    MockSeg segs[] = { { DATA_GPA, 12 }, { HIGH_GPA, 100 }, { 0x2fff8, 12 } };
    Rig *r;
    unsigned i;

    s.num = 8;
    r = rig_new(s);
    rig_turn(r, 2);
    for (i = 0; i < 3; i++) {
        int id = rig_add_indirect(r, segs, 3, BORDER_GPA - 8);

        rig_publish(r);
        rig_move_memory(r, i == 1 ? 1 << AREA_BYTE : 0);
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        check_chain(r, 0, id, want, 4);
        rig_push(r);
        /* With a used element that waits, too */
        rig_move_memory(r, 0);
        vhost_dp_vring_flush(&r->vq);
        check_written(r, 2 + i, 1);
        check_used(r, id, 100);
        vhost_dp_vring_disable_notify(&r->vq);
        vhost_dp_vring_enable_notify(&r->vq);
        check_asks_kick(r, 3 + i);
    }
    check_healthy(r);
    rig_free(r);
}

/* The ring's own memory is the same, but what was around it has gone */
static void test_remap_fewer_regions(Setup s)
{
    Rig *r = rig_new(s);

    rig_add(r, HIGH_GPA, 4);
    rig_add(r, HIGH_GPA, 4);
    rig_publish(r);
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

static void test_remap_stopped(Setup s)
{
    Rig *r = rig_new(s);

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
static void test_remap_without_ring(Setup s)
{
    Rig *r = rig_new(s);

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
    vhost_dp_vring_set_base(&r->vq, rig_base(r, 0, 0));
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_cmpuint(rig_pop(r, 8), ==, 4);
    rig_free(r);
}

static void test_stop_without_ring(Setup s)
{
    Rig *r = rig_new(s);

    vhost_dp_vring_disable_notify(&r->vq);
    rig_move_memory(r, 1 << AREA_RING);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_stop(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);
    rig_free(r);
}

/* Section 2.7, "big-endian driver": a legacy guest of another byte order */
static void test_big_endian(Setup s)
{
    static const MockRange want[] = {
        { DATA_GPA + 1, 0x102 }, { HIGH_GPA + 0x23, 0x304 },
    };
    MockSeg segs[] = { { DATA_GPA + 1, 0x102, false },
                       { HIGH_GPA + 0x23, 0x304, false },
                       { DATA_GPA + 0x800, 9, true } };
    unsigned entries = s.packed ? 3 + 1 : 1 + 1;
    Rig *r;
    int id[2];
    unsigned i;

    s.num = s.packed ? 300 : 256;
    s.big_endian = true;
    rig_begin_before_end(&s, 2);
    r = rig_new(s);
    id[0] = rig_add_chain(r, segs, 3);
    id[1] = rig_add_indirect(r, segs, 3, TABLE_GPA);
    g_assert_true(rig_publish(r));
    g_assert_cmpuint(rig_pop(r, 8), ==, 2);
    for (i = 0; i < 2; i++) {
        check_chain(r, i, id[i], want, 2);
        vhost_dp_vring_push(&r->vq, &r->burst.chain[i], 0x01020304);
    }
    mock_memory_snapshot(r->mm);
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    check_written(r, s.num - 2, entries);
    check_used(r, id[0], 0x01020304);
    check_used(r, id[1], 0x01020304);

    /* Wishes of both sides */
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    check_asks_kick(r, entries);
    if (s.event_idx) {
        rig_want_call_at(r, 0);
        g_assert_true(rig_turn(r, 1));
        rig_want_call_at(r, 3);
        g_assert_false(rig_turn(r, 3));
        g_assert_true(rig_turn(r, 1));
    }
    rig_want_no_call(r);
    g_assert_false(rig_turn(r, 200));
    vhost_dp_vring_disable_notify(&r->vq);
    check_asks_no_kick(r);

    /* A split ring's used index is read at the start */
    vhost_dp_vring_stop(&r->vq);
    g_assert_cmpint(rig_start(r), ==, 0);
    rig_turn(r, 200);
    check_healthy(r);
    rig_free(r);
}

static const RigTest tests[] = {
    { "notify/flags", test_notify_flags, FOR_BOTH },
    { "notify/event", test_notify_event, FOR_BOTH },
    { "notify/enable-looks-again", test_enable_looks_again,
      FOR_BOTH | BY_EVENT },
    { "notify/enable-after-rewind", test_enable_after_rewind,
      FOR_BOTH | BY_EVENT },
    { "call/flags-ignore-event", test_call_flags_ignore_event, FOR_BOTH },
    { "call/first-after-start", test_call_first_after_start, FOR_BOTH },
    { "call/once-for-all", test_call_once_for_all, FOR_BOTH },
    { "stop/enables-notify", test_stop_enables_notify, FOR_BOTH | BY_EVENT },
    { "stop/stopped-is-quiet", test_stopped_queue_is_quiet,
      FOR_BOTH | BY_EVENT },
    { "start/after-stop", test_hand_over, FOR_BOTH },
    { "start/with-unused-chains", test_start_with_unused_chains, FOR_BOTH },
    { "start/forgets-pushed", test_start_forgets_pushed, FOR_BOTH },
    { "start/with-waiting-chains", test_start_with_waiting_chains,
      FOR_BOTH | BY_EVENT },
    { "start/refuses-sizes", test_start_refuses_sizes, FOR_BOTH },
    { "start/checks-addresses", test_start_checks_addresses, FOR_BOTH },
    { "start/after-failed-start", test_start_after_failed_start, FOR_BOTH },
    { "start/other-format", test_format_changes, FOR_BOTH },
    { "remap/memory-moves", test_remap_moves, FOR_BOTH | BY_EVENT },
    { "remap/fewer-regions", test_remap_fewer_regions, FOR_BOTH },
    { "remap/stopped", test_remap_stopped, FOR_BOTH },
    { "remap/without-ring", test_remap_without_ring, FOR_BOTH | BY_EVENT },
    { "remap/stop-without-ring", test_stop_without_ring,
      FOR_BOTH | BY_EVENT },
    { "big-endian-driver", test_big_endian, FOR_BOTH | BY_EVENT },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add_tests(tests, ARRAY_SIZE(tests));
    return g_test_run();
}
