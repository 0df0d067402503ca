/*
 * vhost-dp: tests of what only packed virtqueues have
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
#include "tests/vhost-dp/lib/rig.h"

#define W MOCK_PACKED_WRAP

/* Section 2.8.1: wrap counters change where the ring ends, in all steps */
static void test_wrap_counters(Setup s)
{
    Rig *r;
    unsigned pos = 0, i;

    s.num = 7;
    r = rig_new(s);
    for (i = 0; i < 200; i++) {
        unsigned n = 1 + i % 7;
        int id = rig_offer_chain(r, n);

        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        g_assert_cmpuint(r->burst.chain[0].ndescs, ==, n);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, id, 100);
        check_no_used(r);
        pos += n;
        g_assert_cmphex(r->vq.last_avail, ==,
                        pos % 7 | (pos / 7 % 2 ? 0 : W));
        g_assert_cmphex(r->vq.used_idx, ==, r->vq.last_avail);
        g_assert_cmphex(r->p.next, ==, r->vq.last_avail);
    }
    check_healthy(r);
    rig_free(r);
}

/* Used descriptors */

/* Section 2.8.6: one for a chain, in its first place; the others are skipped */
static void test_used_skips_chain(Setup s)
{
    Rig *r;
    static const unsigned n[] = { 3, 1, 4 };
    static const unsigned first[] = { 0, 3, 4 };
    g_autofree uint8_t *before = g_malloc(8 * 16);
    g_autofree uint8_t *ring = g_malloc(8 * 16);
    unsigned i;
    int id[3];

    s.num = 8;
    r = rig_new(s);
    for (i = 0; i < 3; i++) {
        id[i] = rig_offer_chain(r, n[i]);
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
static void test_used_write_flag(Setup s)
{
    static const uint32_t lens[] = { 0, 1, 0x01020304, UINT32_MAX };
    Rig *r;
    unsigned i;

    s.num = 4;
    s.writable = true;
    r = rig_new(s);
    for (i = 0; i < 12; i++) {
        uint32_t len = lens[i % 4];
        int id = rig_offer_chain(r, 1);
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

/* A buffer id is the driver's business: any 16 bits come back (2.8.13) */
static void test_any_buffer_id(Setup s)
{
    static const uint16_t ids[] = { 0, 8, 0x8000, 0xffff, 1234, 1234 };
    Rig *r;
    unsigned i;

    s.num = 8;
    r = rig_new(s);
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

/* Start */

/* A base, perhaps from a migration stream, that does not fit the ring */
static void test_start_refuses_base(Setup s)
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
    Rig *r;
    unsigned i;

    s.num = 7;
    r = rig_new_stopped(s);
    for (i = 0; i < ARRAY_SIZE(bases); i++) {
        uint32_t base = bases[i].avail | (uint32_t)bases[i].used << 16;

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

/* Section 2.8.10: calls, that is notifications to the driver */

static void test_call_flags(Setup s)
{
    Rig *r;
    unsigned i;

    s.num = 8;
    r = rig_new(s);
    for (i = 0; i < 5; i++) {
        g_assert_true(rig_turn(r, 1));
        g_assert_true(rig_turn(r, 2));
        mock_packed_set_driver_flags(&r->p, MOCK_PACKED_DISABLE);
        g_assert_false(rig_turn(r, 1));
        g_assert_false(rig_turn(r, 8));
        /* Reserved (2.8.14): better called once too often */
        mock_packed_set_driver_flags(&r->p, 3);
        g_assert_true(rig_turn(r, 1));
        mock_packed_set_driver_flags(&r->p, MOCK_PACKED_ENABLE);
        g_assert_true(rig_turn(r, 1));
    }
    check_healthy(r);
    rig_free(r);
}

/*
 * Call when the descriptor at the driver's event was used, or skipped as part
 * of a chain that was.  Every distance of the event, from half a round before
 * to half a round behind; every place in the ring comes by.
 */
static void test_call_event(gconstpointer opaque)
{
    unsigned num = *(const unsigned *)opaque;
    Rig *r = rig_new((Setup) { .num = num, .packed = true,
                               .event_idx = true });
    unsigned most = MIN(num, 6);
    unsigned n;
    int distance;

    rig_turn(r, 1);             /* the first call is unconditional */
    for (n = 1; n <= most; n++) {
        for (distance = -(int)most; distance < (int)MIN(num, 10); distance++) {
            bool expect = distance >= 0 && distance < n;

            rig_want_call_at(r, distance);
            g_test_message("place 0x%x, event %d after it, %u used",
                           r->p.last_used, distance, n);
            g_assert_cmpint(rig_turn(r, n), ==, expect);
        }
    }
    rig_free(r);
}

/* Places between the first and the last descriptor of a chain count, too */
static void test_call_event_inside_chain(Setup s)
{
    Rig *r;
    MockSeg segs[] = { { DATA_GPA, 1 }, { DATA_GPA, 2 }, { DATA_GPA, 3 } };
    int distance;

    s.num = 7;
    s.event_idx = true;
    r = rig_new(s);
    rig_turn(r, 1);
    for (distance = 0; distance < 6; distance++) {
        int id = rig_add_chain(r, segs, 3);

        rig_publish(r);
        rig_want_call_at(r, distance);
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        rig_push(r);
        g_assert_cmpint(vhost_dp_vring_flush(&r->vq), ==, distance < 3);
        check_used(r, id, 100);
    }
    rig_free(r);
}

/* What was used while the driver did not want to know counts as decided */
static void test_call_event_after_disable(Setup s)
{
    Rig *r;

    s.num = 8;
    s.event_idx = true;
    r = rig_new(s);
    rig_turn(r, 1);
    mock_packed_set_driver_flags(&r->p, MOCK_PACKED_DISABLE);
    g_assert_false(rig_turn(r, 3));
    mock_packed_set_driver_event(&r->p, 2 | W);
    g_assert_false(rig_turn(r, 1));
    mock_packed_set_driver_event(&r->p, 6 | W);
    g_assert_false(rig_turn(r, 1));
    g_assert_true(rig_turn(r, 1));
    g_assert_false(rig_turn(r, 8));
    rig_free(r);
}

/* Places that are not in the ring decide something, and do no harm */
static void test_call_event_beyond_ring(Setup s)
{
    static const uint16_t bad[] = { 8, 8 | W, 0x7fff, 0xffff, 1000, 1000 | W };
    Rig *r;
    unsigned i;

    s.num = 8;
    s.event_idx = true;
    r = rig_new(s);
    for (i = 0; i < 10 * ARRAY_SIZE(bad); i++) {
        mock_packed_set_driver_event(&r->p, bad[i % ARRAY_SIZE(bad)]);
        rig_turn(r, 1 + i % 8);
    }
    check_healthy(r);
    rig_free(r);
}

static const RigTest tests[] = {
    { "wrap-counters", test_wrap_counters, FOR_PACKED },
    { "used/skips-chain", test_used_skips_chain, FOR_PACKED },
    { "used/write-flag", test_used_write_flag, FOR_PACKED },
    { "chain/any-buffer-id", test_any_buffer_id, FOR_PACKED },
    { "start/refuses-base", test_start_refuses_base, FOR_PACKED },
    { "call/flags", test_call_flags, FOR_PACKED | BY_EVENT },
    { "call/event-inside-chain", test_call_event_inside_chain, FOR_PACKED },
    { "call/event-after-disable", test_call_event_after_disable, FOR_PACKED },
    { "call/event-beyond-ring", test_call_event_beyond_ring, FOR_PACKED },
};

int main(int argc, char **argv)
{
    static const unsigned sizes[] = { 1, 2, 7, 16, 1000 };
    unsigned i;

    g_test_init(&argc, &argv, NULL);
    rig_add_tests(tests, ARRAY_SIZE(tests));
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *path = g_strdup_printf(RIG_PACKED "call/event/%u",
                                                sizes[i]);

        g_test_add_data_func(path, &sizes[i], test_call_event);
    }
    return g_test_run();
}
