/*
 * vhost-dp: tests of packed virtqueues: event suppression
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "vhost-dp-rig.h"

#define W MOCK_PACKED_WRAP
#define AT(place) ((place) ^ W)

/* Section 2.8.10: notifications from the driver */

static void test_notify_flags(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true });
    unsigned i;

    g_assert_cmphex(mock_packed_device_flags(&r->p), ==, MOCK_PACKED_ENABLE);
    for (i = 0; i < 2; i++) {
        vhost_dp_vring_disable_notify(&r->vq);
        g_assert_cmphex(mock_packed_device_flags(&r->p), ==,
                        MOCK_PACKED_DISABLE);
    }
    rig_add(r, DATA_GPA, 1);
    g_assert_false(rig_publish(r));
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    /* DESC must not be used without EVENT_IDX (2.8.14) */
    g_assert_cmphex(mock_packed_device_flags(&r->p), ==, MOCK_PACKED_ENABLE);
    rig_add(r, DATA_GPA, 1);
    g_assert_true(rig_publish(r));
    rig_free(r);
}

static void test_notify_event(void)
{
    Rig *r = rig_new((Setup) { .num = 4, .packed = true, .event_idx = true,
                               .start = AT(2) });
    unsigned i;

    g_assert_cmphex(mock_packed_device_flags(&r->p), ==, MOCK_PACKED_DESC);
    g_assert_cmphex(mock_packed_device_event(&r->p), ==, 2);
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
    g_assert_cmpuint(rig_pop(r, 8), ==, 1);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, 0, 100);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    g_assert_cmphex(mock_packed_device_flags(&r->p), ==, MOCK_PACKED_DESC);
    g_assert_cmphex(mock_packed_device_event(&r->p), ==, W);
    /* One kick for what is added first, and none after it */
    rig_add(r, DATA_GPA, 1);
    g_assert_true(rig_publish(r));
    rig_add(r, DATA_GPA, 1);
    g_assert_false(rig_publish(r));
    rig_free(r);
}

/*
 * A chain that became available after the last look, and before
 * notifications were enabled, has no kick: it has to be seen (2.8.21.3).
 */
static void test_enable_looks_again(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 3, .packed = true,
                               .event_idx = event_idx });
    unsigned i;

    for (i = 0; i < 10; i++) {
        rig_offer(r, 1, 1);
        vhost_dp_vring_disable_notify(&r->vq);
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        rig_add(r, DATA_GPA, 1);
        g_assert_false(rig_publish(r));
        g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
        if (event_idx) {
            g_assert_cmphex(mock_packed_device_event(&r->p), ==,
                            r->vq.last_avail);
        }
        r->burst.chain[0].id = 0;
        vhost_dp_vring_push(&r->vq, &r->burst.chain[0], 7);
        vhost_dp_vring_flush(&r->vq);
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
        g_assert_cmpuint(rig_pop(r, 8), ==, 0);
        vhost_dp_vring_push(&r->vq, &r->burst.chain[0], 8);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, 0, 7);
        check_used(r, 1, 8);
        rig_add(r, DATA_GPA, 1);
        g_assert_true(rig_publish(r));
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, r->burst.chain[0].id, 100);
        /* Ids are a stack: the next round wants them in this order again */
        r->p.ids[1] = 1;
        r->p.ids[2] = 0;
    }
    check_healthy(r);
    rig_free(r);
}

/* Rewound chains (too few for a frame): only more of them are news */
static void test_enable_after_rewind(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .packed = true, .start = AT(6 | W),
                               .event_idx = event_idx });

    rig_offer(r, 3, 1);
    vhost_dp_vring_disable_notify(&r->vq);
    g_assert_cmpuint(rig_pop(r, 8), ==, 3);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 3);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    if (event_idx) {
        g_assert_cmphex(mock_packed_device_event(&r->p), ==, 1);
    }
    rig_add(r, DATA_GPA, 1);
    g_assert_true(rig_publish(r));
    g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
    g_assert_cmpuint(rig_pop(r, 8), ==, 4);
    /* Looked at less of them: the others are not known any more */
    vhost_dp_vring_rewind(&r->vq, &r->burst, 4);
    g_assert_cmpuint(rig_pop(r, 2), ==, 2);
    g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
    rig_free(r);
}

/* A start with chains that wait already: there will be no kick for them */
static void test_start_with_waiting_chains(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new_stopped((Setup) { .num = 8, .packed = true,
                                       .event_idx = event_idx });

    rig_offer(r, 8, 4);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
    g_assert_cmpuint(rig_pop(r, 8), ==, 8);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    check_healthy(r);
    rig_free(r);
}

/* Who runs the queue next expects kicks */
static void test_stop_enables(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    unsigned disable;

    for (disable = 0; disable < 2; disable++) {
        Rig *r = rig_new((Setup) { .num = 4, .packed = true,
                                   .event_idx = event_idx });

        if (disable) {
            vhost_dp_vring_disable_notify(&r->vq);
        }
        rig_turn(r, 3);
        rig_turn(r, 3);
        vhost_dp_vring_stop(&r->vq);
        g_assert_cmphex(mock_packed_device_flags(&r->p), ==,
                        event_idx ? MOCK_PACKED_DESC : MOCK_PACKED_ENABLE);
        if (event_idx) {
            g_assert_cmphex(mock_packed_device_event(&r->p), ==, 2);
        }
        rig_add(r, DATA_GPA, 1);
        g_assert_true(rig_publish(r));
        rig_free(r);
    }
}

static void test_stop_without_ring(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .packed = true,
                               .event_idx = event_idx });

    vhost_dp_vring_disable_notify(&r->vq);
    rig_move_memory(r, 1 << AREA_RING);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_stop(&r->vq);
    mock_memory_check_exact(r->mm, NULL, 0);
    rig_free(r);
}

/* Section 2.8.10: calls, that is notifications to the driver */

static void test_call_flags(gconstpointer opaque)
{
    bool event_idx = opaque != NULL;
    Rig *r = rig_new((Setup) { .num = 8, .packed = true,
                               .event_idx = event_idx });
    unsigned i;

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

/* Without EVENT_IDX the event field has no meaning */
static void test_call_flags_ignore_event(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true });

    mock_packed_set_driver_event(&r->p, 5 | W);
    g_assert_true(rig_turn(r, 1));
    g_assert_true(rig_turn(r, 1));
    mock_packed_set_driver_flags(&r->p, MOCK_PACKED_ENABLE);
    g_assert_true(rig_turn(r, 1));
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
            uint16_t event = r->p.last_used;

            if (distance >= 0) {
                event = mock_packed_after(&r->p, event, distance);
            } else {
                /* Two rounds are the same place */
                event = mock_packed_after(&r->p, event, 2 * num + distance);
            }
            mock_packed_set_driver_event(&r->p, event);
            g_test_message("place 0x%x event 0x%x %u used",
                           r->p.last_used, event, n);
            g_assert_cmpint(rig_turn(r, n), ==, expect);
        }
    }
    rig_free(r);
}

/* Places between the first and the last descriptor of a chain count, too */
static void test_call_event_inside_chain(void)
{
    Rig *r = rig_new((Setup) { .num = 7, .packed = true, .event_idx = true });
    MockSeg segs[] = { { DATA_GPA, 1 }, { DATA_GPA, 2 }, { DATA_GPA, 3 } };
    int distance;

    rig_turn(r, 1);
    for (distance = 0; distance < 6; distance++) {
        int id = rig_add_chain(r, segs, 3);

        rig_publish(r);
        mock_packed_set_driver_event(&r->p,
                                     mock_packed_after(&r->p, r->p.last_used,
                                                       distance));
        g_assert_cmpuint(rig_pop(r, 8), ==, 1);
        rig_push(r);
        g_assert_cmpint(vhost_dp_vring_flush(&r->vq), ==, distance < 3);
        check_used(r, id, 100);
    }
    rig_free(r);
}

/* What was used while the driver did not want to know counts as decided */
static void test_call_event_after_disable(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true, .event_idx = true });

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

/* The first flush after a start calls: nobody knows what was called for */
static void test_call_first_after_start(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true, .event_idx = true });
    unsigned i;

    for (i = 0; i < 3; i++) {
        uint16_t far = mock_packed_after(&r->p, r->p.last_used, 7);

        mock_packed_set_driver_event(&r->p, far);
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

/* Descriptors of several pops, one flush: one decision about all of them */
static void test_call_once_for_all(void)
{
    Rig *r = rig_new((Setup) { .num = 8, .packed = true, .event_idx = true });

    rig_turn(r, 1);
    mock_packed_set_driver_event(&r->p, 1 | W);
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

/* Places that are not in the ring decide something, and do no harm */
static void test_call_event_beyond_ring(void)
{
    static const uint16_t bad[] = { 8, 8 | W, 0x7fff, 0xffff, 1000, 1000 | W };
    Rig *r = rig_new((Setup) { .num = 8, .packed = true, .event_idx = true });
    unsigned i;

    for (i = 0; i < 10 * ARRAY_SIZE(bad); i++) {
        mock_packed_set_driver_event(&r->p, bad[i % ARRAY_SIZE(bad)]);
        rig_turn(r, 1 + i % 8);
    }
    check_healthy(r);
    rig_free(r);
}

int main(int argc, char **argv)
{
    static const unsigned sizes[] = { 1, 2, 7, 16, 1000 };
    unsigned i;

    g_test_init(&argc, &argv, NULL);

    g_test_add_func(RIG_PACKED "notify/flags", test_notify_flags);
    g_test_add_func(RIG_PACKED "notify/event", test_notify_event);
    rig_test_packed_event("notify/enable-looks-again",
                          test_enable_looks_again);
    rig_test_packed_event("notify/enable-after-rewind",
                          test_enable_after_rewind);
    rig_test_packed_event("notify/start-with-waiting-chains",
                          test_start_with_waiting_chains);
    rig_test_packed_event("notify/stop-enables", test_stop_enables);
    rig_test_packed_event("notify/stop-without-ring", test_stop_without_ring);

    rig_test_packed_event("call/flags", test_call_flags);
    g_test_add_func(RIG_PACKED "call/flags-ignore-event",
                    test_call_flags_ignore_event);
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *path = g_strdup_printf(RIG_PACKED "call/event/%u",
                                                sizes[i]);

        g_test_add_data_func(path, &sizes[i], test_call_event);
    }
    g_test_add_func(RIG_PACKED "call/event-inside-chain",
                    test_call_event_inside_chain);
    g_test_add_func(RIG_PACKED "call/event-after-disable",
                    test_call_event_after_disable);
    g_test_add_func(RIG_PACKED "call/first-after-start",
                    test_call_first_after_start);
    g_test_add_func(RIG_PACKED "call/once-for-all", test_call_once_for_all);
    g_test_add_func(RIG_PACKED "call/event-beyond-ring",
                    test_call_event_beyond_ring);
    return g_test_run();
}
