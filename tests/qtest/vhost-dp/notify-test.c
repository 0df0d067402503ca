/*
 * vhost-dp: qtests of notifications
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Kicks and calls: none may get lost, and none comes that nobody asked for.
 * And turns, in which each queue gets its share.
 * Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "guest.h"

static DpRig *rig_new_msix(uint64_t features)
{
    return dp_rig_start(&(DpSetup) { .features = features, .msix = true },
                        false);
}

/* An interrupt for each frame that comes alone, and none is lost */
static void test_calls(const void *opaque)
{
    DpRig *r = rig_new_msix(0);
    uint64_t before, after;
    unsigned i;

    dp_post(r->nic, DP_RING_SIZE, 128);
    before = dp_counter(r->qts, "vd0", DP_RX, "calls");
    for (i = 0; i < 30; i++) {
        dp_make_frame(r->frame, 60, i);
        dp_sock_send(r->sock, NULL, r->frame, 60);
        dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
        g_assert_true(dp_get_used(r->rx, NULL, NULL));
        g_assert_false(dp_get_used(r->rx, NULL, NULL));

        dp_transmit(r->nic, NULL, r->frame, 60);
        dp_wait_until(dp_queue_interrupted(r->nic, DP_TX));
    }
    after = dp_counter(r->qts, "vd0", DP_RX, "calls");
    g_assert_cmpuint(after - before, ==, 30);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "calls-suppressed"), ==,
                     0);
    dp_rig_free(r);
}

/* Section 2.7.7: VRING_AVAIL_F_NO_INTERRUPT */
static void test_no_interrupt(const void *opaque)
{
    DpRig *r = rig_new_msix(0);
    uint64_t calls;
    unsigned i;

    dp_post(r->nic, DP_RING_SIZE, 128);
    dp_set_no_interrupt(r->rx, true);
    dp_set_no_interrupt(r->tx, true);
    calls = dp_counter(r->qts, "vd0", DP_RX, "calls") +
            dp_counter(r->qts, "vd0", DP_TX, "calls");
    for (i = 0; i < 10; i++) {
        dp_make_frame(r->frame, 60, i);
        dp_sock_send(r->sock, NULL, r->frame, 60);
        dp_wait_used(r->rx, NULL);
        dp_transmit(r->nic, NULL, r->frame, 60);
    }
    g_usleep(DP_QUIET_US);
    g_assert_false(dp_queue_interrupted(r->nic, DP_RX));
    g_assert_false(dp_queue_interrupted(r->nic, DP_TX));
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "calls") +
                     dp_counter(r->qts, "vd0", DP_TX, "calls"), ==, calls);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "calls-suppressed"), >,
                     0);

    dp_set_no_interrupt(r->rx, false);
    dp_sock_send(r->sock, NULL, r->frame, 60);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    dp_rig_free(r);
}

/* Section 2.7.7.2: used_event */
static void test_used_event(const void *opaque)
{
    DpRig *r = rig_new_msix(DP_FEATURE(VIRTIO_RING_F_EVENT_IDX));
    unsigned i;

    dp_post(r->nic, DP_RING_SIZE, 128);
    dp_make_frame(r->frame, 60, 0);

    /* The first call is always made: nobody knows what was signalled before */
    dp_sock_send(r->sock, NULL, r->frame, 60);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    dp_wait_used(r->rx, NULL);

    /* Not before the tenth */
    dp_set_used_event(r->rx, 10);
    for (i = 0; i < 9; i++) {
        dp_sock_send(r->sock, NULL, r->frame, 60);
        dp_wait_used(r->rx, NULL);
    }
    g_usleep(DP_QUIET_US);
    g_assert_false(dp_queue_interrupted(r->nic, DP_RX));
    dp_sock_send(r->sock, NULL, r->frame, 60);
    dp_wait_used(r->rx, NULL);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));

    /* It was passed: not again */
    dp_sock_send(r->sock, NULL, r->frame, 60);
    dp_wait_used(r->rx, NULL);
    g_usleep(DP_QUIET_US);
    g_assert_false(dp_queue_interrupted(r->nic, DP_RX));
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "calls"), ==, 2);
    dp_rig_free(r);
}

/* Wish for no interrupt, by flag or by an event that is far away */
static void want_no_interrupt(DpQueue *q)
{
    dp_set_no_interrupt(q, true);
    if (q->pci.vq.event) {
        dp_set_used_event(q, 20000);
    }
}

/*
 * Section 6.3, legacy interface: with VIRTIO_F_NOTIFY_ON_EMPTY there is an
 * interrupt when the last available buffer is used, whatever the driver wishes.
 */
static void test_notify_on_empty(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "disable-modern=on,disable-legacy=off", .msix = true,
        .features = DP_FEATURE(VIRTIO_F_NOTIFY_ON_EMPTY) |
                    GPOINTER_TO_SIZE(opaque) }, false);
    unsigned i, k;

    dp_make_frame(r->frame, 60, 1);
    for (i = 0; i < 3; i++) {
        want_no_interrupt(r->tx);
        want_no_interrupt(r->rx);
        dp_transmit(r->nic, NULL, r->frame, 60);
        dp_wait_until(dp_queue_interrupted(r->nic, DP_TX));

        dp_post(r->nic, 3, 128);
        for (k = 0; k < 3; k++) {
            dp_sock_send(r->sock, NULL, r->frame, 60);
            dp_wait_used(r->rx, NULL);
            if (k == 0 && i == 0 && r->rx->pci.vq.event) {
                /* The first decision of all is to call */
                dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
            } else if (k < 2) {
                g_usleep(DP_QUIET_US);
                g_assert_false(dp_queue_interrupted(r->nic, DP_RX));
            }
        }
        dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    }
    dp_rig_free(r);
}

/*
 * A driver that sleeps until an interrupt comes, as Linux' does: it asks for
 * one, looks at the ring once more, and then waits.  No call may get lost.
 */
static void test_no_lost_call(const void *opaque)
{
    const unsigned total = 2000;
    DpRig *r = dp_rig_start(opaque, false);
    bool event_idx = r->rx->pci.vq.event;
    unsigned seen = 0, sent = 0;

    dp_post(r->nic, DP_RING_SIZE, 128);
    dp_make_frame(r->frame, 60, 0);

    while (seen < total) {
        uint16_t head;

        while (dp_get_used(r->rx, &head, NULL)) {
            dp_add_again(r->rx, head);
            seen++;
        }
        dp_publish(r->rx);
        while (sent < total && sent - seen < 40) {
            dp_sock_send(r->sock, NULL, r->frame, 60);
            sent++;
        }
        if (seen == total) {
            break;
        }
        if (event_idx) {
            dp_set_used_event(r->rx, 1);
        } else {
            dp_set_no_interrupt(r->rx, false);
        }
        if (!dp_has_used(r->rx)) {
            dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
        }
        if (!event_idx) {
            dp_set_no_interrupt(r->rx, true);
        }
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", total);
    dp_rig_free(r);
}

/* A driver that kicks only when it is asked to; no kick may get lost */
static void test_no_lost_kick(const void *opaque)
{
    const unsigned total = 3000;
    DpRig *r = dp_rig_start(opaque, false);
    size_t size = r->nic->hdr_len + 60;
    DpBuf buf = { .addr = dp_alloc(r->guest, size), .len = size };
    uint8_t *p = dp_host(r->guest, buf.addr);
    unsigned sent = 0, done = 0, kicks = 0;
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;

    memset(p, 0, r->nic->hdr_len);
    dp_make_frame(p + r->nic->hdr_len, 60, 1);
    while (done < total) {
        while (dp_get_used(r->tx, NULL, NULL)) {
            done++;
        }
        if (sent < total && sent - done < DP_RING_SIZE) {
            dp_add(r->tx, &buf, 1);
            sent++;
            kicks += dp_publish(r->tx);
        }
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    g_test_message("%u frames, %u kicks", total, kicks);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", total);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "kicks"), <=,
                     kicks + 1);
    dp_rig_free(r);
}

/* While the device is busy it does not ask for kicks */
static void test_kicks_suppressed(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    size_t size = r->nic->hdr_len + 60;
    DpBuf buf = { .addr = dp_alloc(r->guest, size), .len = size };
    uint8_t *p = dp_host(r->guest, buf.addr);
    unsigned i;

    memset(p, 0, r->nic->hdr_len);
    dp_make_frame(p + r->nic->hdr_len, 60, 1);

    /* Idle: it wants to be told; or it has just looked, and will again */
    dp_wait_until(dp_wants_kick(r->tx));
    dp_add(r->tx, &buf, 1);
    dp_publish(r->tx);
    dp_wait_used(r->tx, NULL);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 1);

    /* One kick is enough for many frames */
    dp_wait_until(dp_wants_kick(r->tx));
    for (i = 0; i < DP_RING_SIZE; i++) {
        dp_add(r->tx, &buf, 1);
    }
    dp_publish(r->tx);
    for (i = 0; i < DP_RING_SIZE; i++) {
        dp_wait_used(r->tx, NULL);
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "kicks"), <=, 3);
    dp_rig_free(r);
}

/*
 * Frames for which the device has to look at many descriptors do not keep the
 * lock for a whole burst of them.  The frames of the guest tell: each carries
 * the index of the receive queue's used ring as it is when the frame leaves,
 * and a burst of them is not more than 64.
 */
static void test_costly_buffers(const void *opaque)
{
    enum { BURST = 64, SENT = 3 * BURST + 1, RECEIVED = 30, DESCS = 1000 };
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
                    DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
        .ring_size = 512,
    }, false);
    g_autofree DpBuf *descs = g_new0(DpBuf, DESCS);
    uint64_t buf = dp_alloc(r->guest, 4096);
    uint8_t *p = dp_host(r->guest, buf);
    const DpBuf frame[] = {
        { .addr = buf, .len = r->nic->hdr_len + 60 },
        { .addr = r->rx->pci.vq.used, .len = 4 },
    };
    uint64_t table;
    unsigned i;

    memset(p, 0, r->nic->hdr_len);
    dp_make_frame(p + r->nic->hdr_len, 60, 0);
    /* Many of the other direction, and then too little for a frame */
    for (i = 0; i < DESCS; i++) {
        descs[i] = (DpBuf) { buf + 2048, 40, i == DESCS - 1 };
    }
    table = dp_make_table(r->rx, descs, DESCS);

    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    dp_make_frame(r->frame, 60, 0);
    for (i = 0; i < RECEIVED; i++) {
        dp_sock_send(r->sock, NULL, r->frame, 60);
        dp_add_table(r->rx, table, DESCS * sizeof(struct vring_desc));
        dp_add_table(r->rx, table, DESCS * sizeof(struct vring_desc));
    }
    dp_publish_quietly(r->rx);
    for (i = 0; i < SENT; i++) {
        dp_add(r->tx, frame, 2);
    }
    dp_publish_quietly(r->tx);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");

    for (i = 0; i < SENT; i++) {
        size_t len = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                  DP_MAX_FRAME, DP_TIMEOUT_US);

        g_assert_cmpuint(len, ==, 64);
        /* A frame of two buffers for each turn before */
        g_assert_cmpuint(lduw_le_p(r->got + 62), <=, i / BURST * 2);
    }
    for (i = 0; i < 2 * RECEIVED; i++) {
        dp_wait_used(r->rx, NULL);
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "packets"), ==,
                     RECEIVED);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    static const DpSetup plain = { .msix = true };
    static const DpSetup event_idx = {
        .features = DP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
        .msix = true,
    };
    static const DpSetup in_order = {
        .features = DP_FEATURE(VIRTIO_F_IN_ORDER) |
                    DP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
        .msix = true,
    };

    dp_test_init(&argc, &argv);
    dp_add_ring_test("notify/calls", NULL, test_calls);
    dp_add_ring_test("notify/no-interrupt", NULL, test_no_interrupt);
    dp_add_ring_test("notify/used-event", NULL, test_used_event);
    dp_add_ring_test("notify/no-lost-call", &plain, test_no_lost_call);
    dp_add_ring_test("notify/no-lost-call-event-idx", &event_idx,
                     test_no_lost_call);
    dp_add_ring_test("notify/no-lost-call-in-order", &in_order,
                     test_no_lost_call);
    dp_add_ring_test("notify/no-lost-kick-in-order", &in_order,
                     test_no_lost_kick);
    dp_add_ring_test("notify/no-lost-kick", &plain, test_no_lost_kick);
    dp_add_ring_test("notify/no-lost-kick-event-idx", &event_idx,
                     test_no_lost_kick);
    dp_add_ring_test("notify/kicks-suppressed", &plain, test_kicks_suppressed);
    dp_add_ring_test("notify/kicks-suppressed-event-idx", &event_idx,
                     test_kicks_suppressed);
    dp_add_test("notify/on-empty", NULL, test_notify_on_empty);
    dp_add_test("notify/on-empty-event-idx",
                GSIZE_TO_POINTER(DP_FEATURE(VIRTIO_RING_F_EVENT_IDX)),
                test_notify_on_empty);
    dp_add_test("turn/costly-buffers", NULL, test_costly_buffers);
    return g_test_run();
}
