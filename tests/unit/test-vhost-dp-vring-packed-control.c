/*
 * vhost-dp: tests of packed virtqueues: start, stop, and what moves
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sections are those of the virtio specification, version 1.3.  A place is an
 * index into the ring with the wrap counter in bit 15; here W marks the first
 * round of a new queue.
 */

#include "qemu/osdep.h"
#include "vhost-dp-rig.h"

#define W MOCK_PACKED_WRAP

/* What Setup has as the start for a place */
#define AT(place) ((place) ^ W)

static uint32_t base_of(uint16_t avail, uint16_t used)
{
    return avail | (uint32_t)used << 16;
}

/* Start, stop, and what is handed over: both places, with wrap counters */

static void test_hand_over(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true,
                               .start = AT(4 | W) });
    MockSeg segs[] = { { DATA_GPA, 4 }, { DATA_GPA + 16, 4 } };
    int id[4];
    unsigned i;

    for (i = 0; i < 4; i++) {
        id[i] = rig_add_chain(r, segs, 2);
    }
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 8), ==, 4);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 1);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    vhost_dp_vring_stop(&r->vq);
    g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==, base_of(2, 2));

    rig_hand_over(r);
    g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==, base_of(2, 2));
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    g_assert_cmpint(r->burst.chain[0].id, ==, id[3]);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    for (i = 0; i < 4; i++) {
        check_used(r, id[i], 100 + i % 3);
    }
    check_no_used(r);
    /* Idempotent, and a base is not taken while the queue runs */
    vhost_dp_vring_set_base(&r->vq, 0);
    vhost_dp_vring_stop(&r->vq);
    vhost_dp_vring_stop(&r->vq);
    g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==, base_of(4, 4));
    check_healthy(r);
    rig_free(r);
}

/* Used is behind avail: somebody before us has not used what was taken */
static void test_start_with_unused_chains(void)
{
    Rig *r = rig_new_stopped((Setup) { .num = 8, .packed = true,
                                       .start = AT(6 | W) });
    MockRange used = mock_packed_range_used(&r->p, 6, 1);

    rig_offer(r, 8, 4);
    vhost_dp_vring_set_base(&r->vq, base_of(5, 6 | W));
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    check_chain(r, 0, 7, &(MockRange) { DATA_GPA + 7 * 16, 4 }, 1);
    g_assert_true(r->burst.full);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, &used, 1);
    check_used(r, 7, 100);
    check_no_used(r);
    g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==,
                    base_of(6, 7 | W));
    check_healthy(r);
    rig_free(r);
}

/* A base, perhaps from a migration stream, that does not fit the ring */
static void test_start_refuses_base(void)
{
    static const struct {
        uint16_t avail, used;
        bool ok;
    } bases[] = {
        { 0 | W, 0 | W, .ok = true }, { 0, 0, .ok = true },
        { 6 | W, 6 | W, .ok = true }, { 6, 6, .ok = true },
        { 7 | W, 0 | W }, { 0 | W, 7 | W }, { 7, 7 }, { 7 | W, 7 | W },
        { 3 | W, 7 }, { 3 | W, 8 }, { 3, 7 | W },
        { 0x7fff, 0x7fff }, { 0xffff, 0xffff }, { 0x100, 0 },
        /* Used is ahead */
        { 2, 3 }, { 2 | W, 3 | W }, { 3, 2, .ok = true },
        { 3 | W, 2 | W, .ok = true },
        /* A round apart, and more than that */
        { 3, 3 | W, .ok = true }, { 3 | W, 3, .ok = true },
        { 2, 3 | W, .ok = true }, { 4, 3 | W }, { 4 | W, 3 },
    };
    Rig *r = rig_new_stopped((Setup) { .num = 7, .packed = true });
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(bases); i++) {
        uint32_t base = base_of(bases[i].avail, bases[i].used);

        vhost_dp_vring_set_base(&r->vq, base);
        mock_memory_snapshot(r->mm);
        g_test_message("base 0x%x", base);
        g_assert_cmpint(rig_start(r), ==, bases[i].ok ? 0 : -EINVAL);
        if (!bases[i].ok) {
            mock_memory_check_exact(r->mm, NULL, 0);
        }
        g_assert_cmpint(r->vq.running, ==, bases[i].ok);
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        vhost_dp_vring_stop(&r->vq);
        /* Also what was refused is handed back as it was */
        g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==, base);
    }
    check_healthy(r);
    rig_free(r);
}

/* Section 2.8.10.1: any size; VHOST_DP_VRING_MAX_NUM is our own limit */
static void test_start_refuses_sizes(void)
{
    static const unsigned bad[] = { 0, 1025, 2048, 32768, 65536, UINT_MAX };
    Rig *r = rig_new_stopped((Setup) { .num = 8, .packed = true });
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

/* Section 2.8.10.1: alignment; and all of a part has to be in one region */
static void test_start_checks_addresses(void)
{
    static const struct {
        uint64_t desc, driver, device;
        bool ok;
    } addrs[] = {
        { DESC_GPA, AVAIL_GPA, USED_GPA, .ok = true },
        /* misaligned */
        { DESC_GPA + 8, AVAIL_GPA, USED_GPA },
        { DESC_GPA, AVAIL_GPA + 2, USED_GPA },
        { DESC_GPA, AVAIL_GPA, USED_GPA + 2 },
        { DESC_GPA, AVAIL_GPA, USED_GPA + 1 },
        /* just aligned */
        { DESC_GPA + 16, AVAIL_GPA + 4, USED_GPA + 4, .ok = true },
        /* in a gap, or not RAM */
        { GAP_GPA, AVAIL_GPA, USED_GPA },
        { DESC_GPA, GAP_GPA, USED_GPA },
        { DESC_GPA, AVAIL_GPA, GAP_GPA },
        { DEVICE_GPA, AVAIL_GPA, USED_GPA },
        { DESC_GPA, DEVICE_GPA, USED_GPA },
        { DESC_GPA, AVAIL_GPA, DEVICE_GPA },
        /* end of the address space */
        { -16ULL, AVAIL_GPA, USED_GPA },
        { -256ULL, AVAIL_GPA, USED_GPA },
        { DESC_GPA, -4ULL, USED_GPA },
        /* up to the end of RAM, and beyond */
        { LAST_GPA + LAST_SIZE - 256, AVAIL_GPA, USED_GPA, .ok = true },
        { LAST_GPA + LAST_SIZE - 240, AVAIL_GPA, USED_GPA },
        { DESC_GPA, LAST_GPA + LAST_SIZE - 4, USED_GPA, .ok = true },
        { DESC_GPA, LAST_GPA + LAST_SIZE, USED_GPA },
        { DESC_GPA, AVAIL_GPA, LAST_GPA + LAST_SIZE - 4, .ok = true },
        { DESC_GPA, AVAIL_GPA, LAST_GPA + LAST_SIZE },
        /* up to the end of a region that has a neighbour, and across */
        { BORDER_GPA - 8 - 256, AVAIL_GPA, USED_GPA, .ok = true },
        { BORDER_GPA - 8 - 240, AVAIL_GPA, USED_GPA },
        { DESC_GPA, BORDER_GPA - 4, USED_GPA, .ok = true },
    };
    Rig *r = rig_new_stopped((Setup) { .num = 16, .packed = true });
    static const uint8_t zero[256];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(addrs); i++) {
        r->vq.desc.gpa = addrs[i].desc;
        r->vq.avail.gpa = addrs[i].driver;
        r->vq.used.gpa = addrs[i].device;
        if (addrs[i].ok) {
            mock_memory_write(r->mm, addrs[i].desc, zero, sizeof(zero));
        }
        mock_memory_snapshot(r->mm);
        g_test_message("address set %u", i);
        g_assert_cmpint(rig_start(r), ==, addrs[i].ok ? 0 : -EFAULT);
        g_assert_cmpint(r->vq.running, ==, addrs[i].ok);
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        vhost_dp_vring_stop(&r->vq);
        mock_memory_check(r->mm);
        if (!addrs[i].ok) {
            mock_memory_check_exact(r->mm, NULL, 0);
        }
    }
    check_healthy(r);
    rig_free(r);
}

/* What was pushed and never flushed belongs to the past */
static void test_start_forgets_pushed(void)
{
    Rig *r = rig_new((Setup) { .num = 2, .packed = true });

    rig_offer(r, 2, 4);
    g_assert_cmpuint(rig_pop(r, 8), ==, 2);
    rig_push(r);
    vhost_dp_vring_stop(&r->vq);
    g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==, base_of(0, W));
    vhost_dp_vring_set_base(&r->vq, base_of(W, W));
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

/* The driver may negotiate another format after a reset */
static void test_format_changes(void)
{
    Rig *r = rig_new((Setup) { .num = 16, .packed = true });
    unsigned i;

    for (i = 0; i < 4; i++) {
        rig_turn(r, 11);
        vhost_dp_vring_stop(&r->vq);
        if (r->s.packed) {
            mock_packed_destroy(&r->p);
        } else {
            mock_queue_destroy(&r->q);
        }
        r->s.packed = !r->s.packed;
        if (r->s.packed) {
            mock_packed_init(&r->p, r->mm, 16, DESC_GPA, AVAIL_GPA, USED_GPA,
                             MOCK_PACKED_START, false, false);
        } else {
            mock_queue_init(&r->q, r->mm, 16, DESC_GPA, AVAIL_GPA, USED_GPA,
                            0, false, false);
        }
        vhost_dp_vring_set_base(&r->vq, rig_base(r));
        g_assert_cmpint(rig_start(r), ==, 0);
    }
    rig_turn(r, 16);
    check_healthy(r);
    rig_free(r);
}

static void test_stopped_queue_is_quiet(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new_stopped((Setup) { .num = 8, .packed = true,
                                       .event_idx = event_idx });
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
        g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==,
                        base_of(i | W, i | W));
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

/* The memory table changes while the queue runs */

static void test_remap_moves(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .packed = true,
                               .event_idx = event_idx });
    unsigned i;

    rig_turn(r, 2);
    for (i = 0; i < 3; i++) {
        MockSeg segs[] = { { DATA_GPA, 12 }, { HIGH_GPA, 100 },
                           { 0x2fff8, 12 } };
        int id = mock_packed_add_indirect(&r->p, segs, 3, BORDER_GPA - 8);

        rig_publish(r);
        rig_move_memory(r, i == 1 ? 1 << AREA_BYTE : 0);
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        check_chain(r, 0, id, (MockRange[]) {
            { DATA_GPA, 12 }, { HIGH_GPA, 100 }, { 0x2fff8, 8 },
            { SMALL_GPA, 4 },
        }, 4);
        rig_push(r);
        /* With a used descriptor that waits, too */
        rig_move_memory(r, 0);
        vhost_dp_vring_flush(&r->vq);
        mock_memory_check_exact(r->mm, (MockRange[]) {
            mock_packed_range_used(&r->p, 2 + i, 1),
        }, 1);
        check_used(r, id, 100);
        vhost_dp_vring_disable_notify(&r->vq);
        vhost_dp_vring_enable_notify(&r->vq);
        g_assert_cmphex(mock_packed_device_flags(&r->p), ==,
                        event_idx ? MOCK_PACKED_DESC : MOCK_PACKED_ENABLE);
    }
    check_healthy(r);
    rig_free(r);
}

/* A running queue whose ring is not RAM any more */
static void test_remap_without_ring(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .packed = true,
                               .event_idx = event_idx });

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
    vhost_dp_vring_set_base(&r->vq, base_of(W, W));
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_cmpuint(rig_pop(r, 8), ==, 4);
    rig_free(r);
}

/* A big-endian host, or a driver of that kind */
static void test_big_endian(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 300, .start = AT(298), .packed = true,
                               .event_idx = event_idx, .big_endian = true });
    MockSeg segs[] = { { DATA_GPA + 1, 0x102, false },
                       { HIGH_GPA + 0x23, 0x304, false },
                       { DATA_GPA + 0x800, 9, true } };
    MockRange want[] = { { DATA_GPA + 1, 0x102 }, { HIGH_GPA + 0x23, 0x304 } };
    int id[] = { mock_packed_add(&r->p, segs, 3),
                 mock_packed_add_indirect(&r->p, segs, 3, TABLE_GPA) };
    unsigned i;

    g_assert_true(rig_publish(r));
    g_assert_cmpuint(rig_pop(r, 8), ==, 2);
    for (i = 0; i < 2; i++) {
        check_chain(r, i, id[i], want, 2);
        vhost_dp_vring_push(&r->vq, &r->burst.chain[i], 0x01020304);
    }
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    check_used(r, id[0], 0x01020304);
    check_used(r, id[1], 0x01020304);

    /* Wishes of both sides */
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    if (event_idx) {
        g_assert_cmphex(mock_packed_device_event(&r->p), ==, 2 | W);
        mock_packed_set_driver_event(&r->p, 2 | W);
        g_assert_true(rig_turn(r, 1));
        mock_packed_set_driver_event(&r->p, 6 | W);
        g_assert_false(rig_turn(r, 3));
        g_assert_true(rig_turn(r, 1));
    }
    mock_packed_set_driver_flags(&r->p, MOCK_PACKED_DISABLE);
    g_assert_false(rig_turn(r, 200));
    vhost_dp_vring_disable_notify(&r->vq);
    g_assert_cmphex(mock_packed_device_flags(&r->p), ==,
                    MOCK_PACKED_DISABLE);
    check_healthy(r);
    rig_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func(RIG_PACKED "start/after-stop", test_hand_over);
    g_test_add_func(RIG_PACKED "start/with-unused-chains",
                    test_start_with_unused_chains);
    g_test_add_func(RIG_PACKED "start/refuses-base", test_start_refuses_base);
    g_test_add_func(RIG_PACKED "start/refuses-sizes",
                    test_start_refuses_sizes);
    g_test_add_func(RIG_PACKED "start/checks-addresses",
                    test_start_checks_addresses);
    g_test_add_func(RIG_PACKED "start/forgets-pushed",
                    test_start_forgets_pushed);
    g_test_add_func(RIG_PACKED "start/other-format", test_format_changes);
    rig_test_packed_event("stop/stopped-is-quiet",
                          test_stopped_queue_is_quiet);
    rig_test_packed_event("remap/memory-moves", test_remap_moves);
    rig_test_packed_event("remap/without-ring", test_remap_without_ring);
    rig_test_packed_event("big-endian-driver", test_big_endian);
    return g_test_run();
}
