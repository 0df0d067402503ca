/*
 * vhost-dp: tests of VIRTIO_F_IN_ORDER and VIRTIO_F_RING_RESET
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

/* Use all chains of the burst, with one element at @place of the ring */
static void use_batch(Rig *r, unsigned place)
{
    unsigned last = r->burst.nchains - 1;
    unsigned i;

    for (i = 0; i <= last; i++) {
        vhost_dp_vring_push(&r->vq, &r->burst.chain[i], 0);
    }
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    check_written(r, place, 1);
    /* The last one's; the driver concludes that the others are used, too */
    check_used(r, r->burst.chain[last].id, 0);
    for (i = 0; i < last; i++) {
        rig_take_back(r, r->burst.chain[i].id);
    }
    check_no_used(r);
}

/* 2.7.9 and 2.8.8: one used element for a batch, the next a batch further */
static void test_batch(Setup s)
{
    Rig *r;
    unsigned place = 0;
    unsigned n, i;

    s.num = 16;
    s.in_order = true;
    r = rig_new(s);
    for (i = 0; i < 50; i++) {
        n = 1 + i % 7;
        rig_offer(r, n, 8);
        g_assert_cmpuint(rig_pop(r, 64), ==, n);
        use_batch(r, place % 16);
        place += n;
    }
    check_healthy(r);
    rig_free(r);
}

/* 2.8.8: a packed batch is as long as all of its descriptors */
static void test_batch_of_chains(Setup s)
{
    Rig *r;
    const MockSeg segs[] = {
        { DATA_GPA, 4 }, { DATA_GPA + 16, 4 }, { DATA_GPA + 32, 4 },
    };
    unsigned place = 0;
    unsigned i;

    s.num = 16;
    s.in_order = true;
    r = rig_new(s);
    for (i = 0; i < 20; i++) {
        rig_add_chain(r, segs, 3);
        rig_add_chain(r, segs, 1 + i % 2);
        rig_add_chain(r, segs, 2);
        rig_publish(r);
        g_assert_cmpuint(rig_pop(r, 64), ==, 3);
        use_batch(r, place % 16);
        place += r->s.packed ? 6 + i % 2 : 3;
    }
    check_healthy(r);
    rig_free(r);
}

/* What was not used stays in the queue, behind the batch */
static void test_batch_and_rewind(Setup s)
{
    Rig *r;
    unsigned i;

    s.num = 8;
    s.in_order = true;
    r = rig_new(s);
    for (i = 0; i < 20; i++) {
        rig_offer(r, 5, 8);
        g_assert_cmpuint(rig_pop(r, 64), ==, 5);
        vhost_dp_vring_rewind(&r->vq, &r->burst, 2);
        use_batch(r, i * 5 % 8);
        g_assert_cmpuint(rig_pop(r, 64), ==, 2);
        use_batch(r, (i * 5 + 3) % 8);
    }
    check_healthy(r);
    rig_free(r);
}

/* 2.7.9: what is skipped counts as written in full, so lengths need elements */
static void test_lengths(Setup s)
{
    Rig *r;
    unsigned i;

    s.num = 16;
    s.in_order = true;
    s.writable = true;
    r = rig_new(s);
    for (i = 0; i < 10; i++) {
        rig_turn(r, 7);
    }
    check_healthy(r);
    rig_free(r);
}

/* 2.7.7.2 and 2.8.10: the driver is called when the batch passes its event */
static void test_batch_calls(Setup s)
{
    Rig *r;
    bool call;
    unsigned i;

    s.num = 16;
    s.in_order = true;
    s.event_idx = true;
    r = rig_new(s);
    /* The first decision is always to call */
    rig_offer(r, 1, 8);
    rig_pop(r, 64);
    use_batch(r, 0);
    for (i = 0; i < 2; i++) {
        /* Inside of the batch: 1 was used before, and then 6 */
        rig_want_call_at(r, i ? 2 : 3);
        rig_offer(r, 5, 8);
        rig_pop(r, 64);
        while (r->vq.nshadow < 5) {
            vhost_dp_vring_push(&r->vq, &r->burst.chain[r->vq.nshadow], 0);
        }
        call = vhost_dp_vring_flush(&r->vq);
        g_assert_true(call);
        check_used(r, r->burst.chain[4].id, 0);
        rig_take_back(r, r->burst.chain[0].id);
        rig_take_back(r, r->burst.chain[1].id);
        rig_take_back(r, r->burst.chain[2].id);
        rig_take_back(r, r->burst.chain[3].id);
    }
    rig_free(r);
}

/* Nothing of a batch is in flight: the next owner finds the queue as it is */
static void test_hand_over(Setup s)
{
    Rig *r;
    unsigned i;

    s.num = 8;
    s.in_order = true;
    r = rig_new(s);
    for (i = 0; i < 10; i++) {
        rig_offer(r, 3, 8);
        rig_pop(r, 64);
        use_batch(r, i * 3 % 8);
        vhost_dp_vring_stop(&r->vq);
        rig_hand_over(r);
        g_assert_cmpint(rig_start(r), ==, 0);
        g_assert_cmpuint(r->vq.inflight, ==, 0);
    }
    rig_free(r);
}

/* 2.6.1: a queue that is reset begins as a new one, with other rings */

static void use_some(Rig *r, unsigned n)
{
    while (n--) {
        rig_offer(r, 3, 8);
        g_assert_cmpuint(rig_pop(r, 64), ==, 3);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, r->burst.chain[0].id, 100);
        check_used(r, r->burst.chain[1].id, 101);
        check_used(r, r->burst.chain[2].id, 102);
    }
}

static void test_reset(Setup s)
{
    static const uint16_t sizes[] = { 4, 256, 16, 1024, 4 };
    Rig *r;
    unsigned i;

    s.num = 16;
    r = rig_new(s);
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        use_some(r, 7);
        /* In the middle of everything */
        rig_offer(r, 3, 8);
        rig_pop(r, 2);
        vhost_dp_vring_push(&r->vq, &r->burst.chain[0], 0);
        vhost_dp_vring_stop(&r->vq);

        mock_memory_snapshot(r->mm);
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        vhost_dp_vring_disable_notify(&r->vq);
        g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
        mock_memory_check_exact(r->mm, NULL, 0);

        r->s.num = sizes[i];
        r->vq.num = sizes[i];
        rig_reset(r);
        g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==,
                        s.packed ? 0x80008000 : 0);
        g_assert_cmpuint(r->vq.used_idx, ==, s.packed ? 0x8000 : 0);
        g_assert_cmpuint(r->vq.inflight, ==, 0);
        g_assert_cmpuint(r->vq.nshadow, ==, 0);
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    }
    use_some(r, 3);
    check_healthy(r);
    rig_free(r);
}

static const RigTest tests[] = {
    { "in-order/batch", test_batch, FOR_BOTH },
    { "in-order/batch-of-chains", test_batch_of_chains, FOR_BOTH },
    { "in-order/batch-and-rewind", test_batch_and_rewind, FOR_BOTH },
    { "in-order/lengths", test_lengths, FOR_BOTH },
    { "in-order/calls", test_batch_calls, FOR_BOTH },
    { "in-order/hand-over", test_hand_over, FOR_BOTH },
    { "reset/begins-anew", test_reset, FOR_BOTH },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add_tests(tests, ARRAY_SIZE(tests));
    return g_test_run();
}
