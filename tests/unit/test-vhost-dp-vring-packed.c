/*
 * vhost-dp: tests of the device side of packed virtqueues
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
#include "qemu/units.h"
#include "vhost-dp-rig.h"

#define W MOCK_PACKED_WRAP

/* What Setup has as the start for a place */
#define AT(place) ((place) ^ W)

static uint32_t base_of(uint16_t avail, uint16_t used)
{
    return avail | (uint32_t)used << 16;
}

/* Make a chain of @n descriptors available */
static int offer_chain(Rig *r, unsigned n)
{
    g_autofree MockSeg *segs = g_new0(MockSeg, n);
    unsigned i;
    int id;

    for (i = 0; i < n; i++) {
        segs[i] = (MockSeg) { DATA_GPA + 16 * i, 4, r->s.writable };
    }
    id = mock_packed_add(&r->p, segs, n);
    g_assert_cmpint(id, >=, 0);
    mock_packed_publish(&r->p);
    return id;
}

/* A complete turn of a chain of @n descriptors; was the driver called? */
static bool turn_chain(Rig *r, unsigned n)
{
    int id = offer_chain(r, n);
    bool call;

    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    g_assert_cmpuint(r->burst.chain[0].ndescs, ==, n);
    rig_push(r);
    call = vhost_dp_vring_flush(&r->vq);
    check_used(r, id, 100);
    check_no_used(r);
    return call;
}

/* Section 2.8: a chain goes to the device and comes back, for every size */

static void test_round_trip(gconstpointer opaque)
{
    unsigned num = *(const unsigned *)opaque;
    Rig *r = rig_new((Setup) { .num = num, .packed = true });
    unsigned i;

    g_assert_cmpuint(rig_pop(r, 1), ==, 0);
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    for (i = 0; i < 5 * num; i++) {
        uint64_t gpa = DATA_GPA + (i % 64) * 32;
        int id = rig_add(r, gpa, 1 + i % 32);

        g_assert_cmpuint(rig_pop(r, 1), ==, 0);
        g_assert_true(rig_publish(r));
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        check_chain(r, 0, id, &(MockRange) { gpa, 1 + i % 32 }, 1);
        vhost_dp_vring_push(&r->vq, &r->burst.chain[0], i);
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

/* Section 2.8.1: all descriptors can be available, and then all used */
static void test_full_ring(gconstpointer opaque)
{
    unsigned num = *(const unsigned *)opaque;
    Rig *r = rig_new((Setup) { .num = num, .packed = true });
    unsigned round, got, i;

    for (round = 0; round < 4; round++) {
        g_autofree uint16_t *ids = g_new0(uint16_t, num);

        for (i = 0; i < num; i++) {
            ids[i] = rig_add(r, DATA_GPA + i, 1);
        }
        g_assert_cmpint(rig_add(r, DATA_GPA, 1), ==, -1);
        rig_publish(r);
        for (got = 0; got < num; got += r->burst.nchains) {
            g_assert_cmpuint(rig_pop(r, VHOST_DP_VRING_BURST), ==,
                             MIN(num - got, VHOST_DP_VRING_BURST));
            for (i = 0; i < r->burst.nchains; i++) {
                check_chain(r, i, ids[got + i],
                            &(MockRange) { DATA_GPA + got + i, 1 }, 1);
            }
            /* No more can come: the engine relies on it */
            g_assert_cmpint(r->burst.full, ==,
                            num <= VHOST_DP_VRING_BURST);
            rig_push(r);
            vhost_dp_vring_flush(&r->vq);
        }
        g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==,
                        round % 2 ? base_of(W, W) : 0);
        for (i = 0; i < num; i++) {
            check_used(r, ids[i], 100 + i % VHOST_DP_VRING_BURST);
        }
        check_no_used(r);
    }
    check_healthy(r);
    rig_free(r);
}

/* Section 2.8.1: wrap counters change where the ring ends, in all steps */
static void test_wrap_counters(void)
{
    Rig *r = rig_new((Setup) { .num = 7, .packed = true });
    unsigned pos = 0, i;

    for (i = 0; i < 200; i++) {
        unsigned n = 1 + i % 7;

        turn_chain(r, n);
        pos += n;
        g_assert_cmphex(r->vq.last_avail, ==,
                        pos % 7 | (pos / 7 % 2 ? 0 : W));
        g_assert_cmphex(r->vq.used_idx, ==, r->vq.last_avail);
        g_assert_cmphex(r->p.next, ==, r->vq.last_avail);
    }
    check_healthy(r);
    rig_free(r);
}

/* Bursts */

static void test_burst_limits(void)
{
    Rig *r = rig_new((Setup) { .num = 16, .packed = true });

    rig_offer(r, 16, 100);
    g_assert_cmpuint(rig_pop(r, 0), ==, 0);
    g_assert_cmpuint(rig_pop(r, 3), ==, 3);
    g_assert_cmpuint(r->burst.nsegs, ==, 3);
    /* No more once that many are gathered: the last one may go beyond */
    g_assert_cmpuint(vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, 64, 1),
                     ==, 1);
    g_assert_cmpuint(vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, 64, 100),
                     ==, 1);
    g_assert_cmpuint(vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, 64, 101),
                     ==, 2);
    g_assert_cmpuint(vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, 2, 300),
                     ==, 2);
    check_chain(r, 0, 7, &(MockRange) { DATA_GPA + 7 * 16, 100 }, 1);
    g_assert_false(r->burst.full);
    g_assert_cmpuint(rig_pop(r, 64), ==, 7);
    g_assert_true(r->burst.full);
    g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    check_healthy(r);
    rig_free(r);
}

/* Bytes of a burst do not overflow, as large as chains may be */
static void test_burst_bytes_do_not_overflow(void)
{
    Rig *r = rig_new((Setup) { .num = 16, .packed = true });
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
static void test_burst_limited_by_segments(void)
{
    enum { N = 700 };
    Rig *r = rig_new((Setup) { .num = 16, .packed = true });
    g_autofree MockSeg *segs = g_new0(MockSeg, VHOST_DP_VRING_MAX_SEGS);
    static const unsigned n[] = { N, N, VHOST_DP_VRING_MAX_SEGS };
    int id[3];
    unsigned i;

    for (i = 0; i < VHOST_DP_VRING_MAX_SEGS; i++) {
        segs[i] = (MockSeg) { DATA_GPA + i, 1, false };
    }
    for (i = 0; i < 3; i++) {
        id[i] = mock_packed_add_indirect(&r->p, segs, n[i],
                                         TABLE_GPA + i * 0x3000);
    }
    rig_publish(r);
    for (i = 0; i < 3; i++) {
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        g_assert_cmpuint(r->burst.nsegs, ==, n[i]);
        g_assert_cmpint(r->burst.chain[0].id, ==, id[i]);
        g_assert_cmpint(r->burst.full, ==, i < 2);
        /* The one that was left is news for who wants to sleep */
        g_assert_cmpint(vhost_dp_vring_enable_notify(&r->vq), ==, i < 2);
    }
    g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    check_healthy(r);
    rig_free(r);
}

/* Rewinding goes back by the descriptors of the chains, across the end */
static void test_rewind(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true,
                               .start = AT(5 | W) });
    static const unsigned n[] = { 2, 3, 1, 2 };
    static const uint16_t after[] = { 5 | W, 7 | W, 2, 3, 5 };
    int id[4];
    unsigned i, keep;

    for (i = 0; i < 4; i++) {
        id[i] = offer_chain(r, n[i]);
    }
    for (keep = 0; keep < 4; keep++) {
        g_assert_cmpuint(rig_pop(r, 64), ==, 4);
        g_assert_true(r->burst.full);
        for (i = 0; i < 4; i++) {
            g_assert_cmpint(r->burst.chain[i].id, ==, id[i]);
            g_assert_cmpuint(r->burst.chain[i].ndescs, ==, n[i]);
        }
        g_assert_cmphex(r->vq.last_avail, ==, 5);
        vhost_dp_vring_rewind(&r->vq, &r->burst, 4 - keep);
        g_assert_cmpuint(r->burst.nchains, ==, keep);
        g_assert_cmphex(r->vq.last_avail, ==, after[keep]);
        vhost_dp_vring_rewind(&r->vq, &r->burst, keep);
        g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==,
                        base_of(5 | W, 5 | W));
    }
    vhost_dp_vring_rewind(&r->vq, &r->burst, 0);
    g_assert_false(vhost_dp_vring_flush(&r->vq));
    check_no_used(r);

    g_assert_cmpuint(rig_pop(r, 64), ==, 4);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 2);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==, base_of(2, 2));
    check_used(r, id[0], 100);
    check_used(r, id[1], 101);
    check_no_used(r);
    /* What the driver changed in between is seen: nothing was kept */
    mock_packed_set_desc(&r->p, 2, DATA_GPA + 0x1000, 5, id[2],
                         mock_packed_avail(2));
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    check_chain(r, 0, id[2], &(MockRange) { DATA_GPA + 0x1000, 5 }, 1);
    check_healthy(r);
    rig_free(r);
}

/* Used descriptors */

/* Section 2.8.6: one for a chain, in its first place; the others are skipped */
static void test_used_skips_chain(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true });
    static const unsigned n[] = { 3, 1, 4 };
    static const unsigned first[] = { 0, 3, 4 };
    g_autofree uint8_t *before = g_malloc(8 * 16);
    g_autofree uint8_t *ring = g_malloc(8 * 16);
    unsigned i;
    int id[3];

    for (i = 0; i < 3; i++) {
        id[i] = offer_chain(r, n[i]);
    }
    mock_memory_read(r->mm, DESC_GPA, before, 8 * 16);
    g_assert_cmpuint(rig_pop(r, 64), ==, 3);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_read(r->mm, DESC_GPA, ring, 8 * 16);
    for (i = 0; i < 3; i++) {
        g_assert_cmphex(mock_packed_desc_flags(&r->p, first[i]), ==,
                        MOCK_PACKED_AVAIL | MOCK_PACKED_USED | 2);
        /* The address stays, and so do the chain's other descriptors */
        memcpy(before + first[i] * 16 + 8, ring + first[i] * 16 + 8, 8);
        check_used(r, id[i], 100 + i);
    }
    g_assert_cmpmem(ring, 8 * 16, before, 8 * 16);
    check_no_used(r);
    rig_free(r);
}

/* Sections 2.8.3 and 2.8.4: WRITE says that the length has a meaning */
static void test_used_write_flag(void)
{
    static const uint32_t lens[] = { 0, 1, 0x01020304, UINT32_MAX };
    Rig *r = rig_new((Setup) { .num = 4, .packed = true, .writable = true });
    unsigned i;

    for (i = 0; i < 12; i++) {
        uint32_t len = lens[i % 4];
        int id = offer_chain(r, 1);
        unsigned both = i / 4 % 2 ? 0 : MOCK_PACKED_AVAIL | MOCK_PACKED_USED;

        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        vhost_dp_vring_push(&r->vq, &r->burst.chain[0], len);
        vhost_dp_vring_flush(&r->vq);
        g_assert_cmphex(mock_packed_desc_flags(&r->p, i % 4), ==,
                        both | (len ? 2 : 0));
        check_used(r, id, len);
    }
    rig_free(r);
}

/* As many elements in a flush as can be, and all of the ring */
static void test_flush_whole_ring(void)
{
    Rig *r = rig_new((Setup) { .num = VHOST_DP_VRING_BURST, .packed = true,
                               .start = AT(77) });
    unsigned i;

    rig_offer(r, VHOST_DP_VRING_BURST, 4);
    g_assert_cmpuint(rig_pop(r, VHOST_DP_VRING_BURST), ==,
                     VHOST_DP_VRING_BURST);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_packed_range_used(&r->p, 77, VHOST_DP_VRING_BURST - 77),
        mock_packed_range_used(&r->p, 0, 77),
    }, 2);
    for (i = 0; i < VHOST_DP_VRING_BURST; i++) {
        check_used(r, i, 100 + i);
    }
    check_no_used(r);
    g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==,
                    base_of(77 | W, 77 | W));
    rig_free(r);
}

/* Dirty marking */

static void test_dirty_used(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true });

    rig_offer(r, 3, 4);
    mock_memory_snapshot(r->mm);
    rig_pop(r, 64);
    rig_push(r);
    /* Neither pop nor push write to the guest */
    mock_memory_check_exact(r->mm, NULL, 0);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_packed_range_used(&r->p, 0, 3),
    }, 1);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);

    /* A single one: eight bytes, however many descriptors it gives back */
    offer_chain(r, 4);
    rig_pop(r, 64);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        { DESC_GPA + 3 * 16 + 8, 8 },
    }, 1);
    rig_free(r);
}

static void test_dirty_used_wraps(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true, .start = AT(6) });

    rig_offer(r, 5, 4);
    rig_pop(r, 64);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_packed_range_used(&r->p, 6, 2),
        mock_packed_range_used(&r->p, 0, 3),
    }, 2);
    rig_free(r);
}

/* Exactly up to the end of the ring: no second part */
static void test_dirty_used_to_end(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true, .start = AT(5) });

    rig_offer(r, 3, 4);
    rig_pop(r, 64);
    rig_push(r);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    mock_memory_check_exact(r->mm, (MockRange[]) {
        mock_packed_range_used(&r->p, 5, 3),
    }, 1);
    rig_free(r);
}

static void test_dirty_notify(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .packed = true,
                               .event_idx = event_idx });
    MockRange flags = mock_packed_range_device_flags(&r->p);
    MockRange both = mock_packed_range_device_event(&r->p);

    mock_memory_snapshot(r->mm);
    vhost_dp_vring_disable_notify(&r->vq);
    mock_memory_check_exact(r->mm, &flags, 1);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_disable_notify(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);
    vhost_dp_vring_enable_notify(&r->vq);
    mock_memory_check_exact(r->mm, event_idx ? &both : &flags, 1);
    rig_free(r);
}

/* What start and stop write is reported, too */
static void test_dirty_start_stop(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new_stopped((Setup) { .num = 8, .packed = true,
                                       .start = AT(3),
                                       .event_idx = event_idx });
    MockRange range = event_idx ? mock_packed_range_device_event(&r->p)
                                : mock_packed_range_device_flags(&r->p);

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    rig_test_packed_sizes("round-trip", test_round_trip);
    rig_test_packed_sizes("full-ring", test_full_ring);
    g_test_add_func(RIG_PACKED "wrap-counters", test_wrap_counters);
    g_test_add_func(RIG_PACKED "burst/limits", test_burst_limits);
    g_test_add_func(RIG_PACKED "burst/bytes-do-not-overflow",
                    test_burst_bytes_do_not_overflow);
    g_test_add_func(RIG_PACKED "burst/limited-by-segments",
                    test_burst_limited_by_segments);
    g_test_add_func(RIG_PACKED "rewind", test_rewind);
    g_test_add_func(RIG_PACKED "used/skips-chain", test_used_skips_chain);
    g_test_add_func(RIG_PACKED "used/write-flag", test_used_write_flag);
    g_test_add_func(RIG_PACKED "used/whole-ring", test_flush_whole_ring);
    g_test_add_func(RIG_PACKED "dirty/used", test_dirty_used);
    g_test_add_func(RIG_PACKED "dirty/used-wraps", test_dirty_used_wraps);
    g_test_add_func(RIG_PACKED "dirty/used-to-end-of-ring",
                    test_dirty_used_to_end);
    rig_test_packed_event("dirty/notify", test_dirty_notify);
    rig_test_packed_event("dirty/start-and-stop", test_dirty_start_stop);
    return g_test_run();
}
