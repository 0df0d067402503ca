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
#include "vhost-dp-rig.h"

/* @opaque of a test: NULL for a split virtqueue */
#define PACKED(opaque) ((opaque) != NULL)

/* A used element at this place of the ring is all that was written */
static void check_written(Rig *r, unsigned place)
{
    MockRange packed = mock_packed_range_used(&r->p, place, 1);
    MockRange split[2] = { };

    if (r->s.packed) {
        mock_memory_check_exact(r->mm, &packed, 1);
    } else {
        split[0] = mock_queue_range_elems(&r->q, place, 1);
        split[1] = mock_queue_range_used_idx(&r->q);
        mock_memory_check_exact(r->mm, split, 2);
    }
}

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
    check_written(r, place);
    /* The last one's; the driver concludes that the others are used, too */
    check_used(r, r->burst.chain[last].id, 0);
    for (i = 0; i < last; i++) {
        rig_take_back(r, r->burst.chain[i].id);
    }
    check_no_used(r);
}

/* 2.7.9 and 2.8.8: one used element for a batch, the next a batch further */
static void test_batch(gconstpointer opaque)
{
    Rig *r = rig_new((Setup) { .num = 16, .packed = PACKED(opaque),
                               .in_order = true });
    unsigned place = 0;
    unsigned n, i;

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
static void test_batch_of_chains(gconstpointer opaque)
{
    Rig *r = rig_new((Setup) { .num = 16, .packed = PACKED(opaque),
                               .in_order = true });
    const MockSeg segs[] = {
        { DATA_GPA, 4 }, { DATA_GPA + 16, 4 }, { DATA_GPA + 32, 4 },
    };
    unsigned place = 0;
    unsigned i;

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
static void test_batch_and_rewind(gconstpointer opaque)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = PACKED(opaque),
                               .in_order = true });
    unsigned i;

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
static void test_lengths(gconstpointer opaque)
{
    Rig *r = rig_new((Setup) { .num = 16, .packed = PACKED(opaque),
                               .in_order = true, .writable = true });
    unsigned i;

    for (i = 0; i < 10; i++) {
        rig_turn(r, 7);
    }
    check_healthy(r);
    rig_free(r);
}

/* 2.7.7.2 and 2.8.10: the driver is called when the batch passes its event */
static void test_batch_calls(gconstpointer opaque)
{
    Rig *r = rig_new((Setup) { .num = 16, .packed = PACKED(opaque),
                               .in_order = true, .event_idx = true });
    bool call;
    unsigned i;

    /* The first decision is always to call */
    rig_offer(r, 1, 8);
    rig_pop(r, 64);
    use_batch(r, 0);
    for (i = 0; i < 2; i++) {
        if (r->s.packed) {
            mock_packed_set_driver_event(&r->p, (i ? 8 : 4) |
                                         MOCK_PACKED_WRAP);
            mock_packed_set_driver_flags(&r->p, MOCK_PACKED_DESC);
        } else {
            mock_queue_set_used_event(&r->q, i ? 8 : 4);
        }
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
static void test_hand_over(gconstpointer opaque)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = PACKED(opaque),
                               .in_order = true });
    unsigned i;

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

static void test_reset(gconstpointer opaque)
{
    static const uint16_t sizes[] = { 4, 256, 16, 1024, 4 };
    Rig *r = rig_new((Setup) { .num = 16, .packed = PACKED(opaque) });
    unsigned i;

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
                        PACKED(opaque) ? 0x80008000 : 0);
        g_assert_cmpuint(r->vq.used_idx, ==, PACKED(opaque) ? 0x8000 : 0);
        g_assert_cmpuint(r->vq.inflight, ==, 0);
        g_assert_cmpuint(r->vq.nshadow, ==, 0);
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    }
    use_some(r, 3);
    check_healthy(r);
    rig_free(r);
}

static void add_both(const char *name, GTestDataFunc fn)
{
    g_autofree char *split = g_strconcat(RIG_SPLIT, name, NULL);
    g_autofree char *packed = g_strconcat(RIG_PACKED, name, NULL);

    g_test_add_data_func(split, NULL, fn);
    g_test_add_data_func(packed, "", fn);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_both("in-order/batch", test_batch);
    add_both("in-order/batch-of-chains", test_batch_of_chains);
    add_both("in-order/batch-and-rewind", test_batch_and_rewind);
    add_both("in-order/lengths", test_lengths);
    add_both("in-order/calls", test_batch_calls);
    add_both("in-order/hand-over", test_hand_over);
    add_both("reset/begins-anew", test_reset);
    return g_test_run();
}
