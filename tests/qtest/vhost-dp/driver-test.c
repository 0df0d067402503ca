/*
 * vhost-dp: qtests of guests whose drivers are unlike Linux'
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Firmware and small systems: rings of few entries, one buffer at a time,
 * header and frame in descriptors of their own, polling, kicks that nobody
 * asked for, no control queue, no features at all.  All of it is allowed.
 * Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "guest.h"

/* ---- A firmware's driver ---- */

/* Header and frame apart, as SeaBIOS, iPXE and OVMF have them */
static unsigned firmware_chain(DpRig *r, DpBuf bufs[2], uint64_t addr,
                               size_t len, bool write)
{
    size_t hdr_len = r->nic->hdr_len;

    memset(dp_host(r->guest, addr), 0, hdr_len);
    bufs[0] = (DpBuf) { .addr = addr, .len = hdr_len, .write = write };
    bufs[1] = (DpBuf) { .addr = addr + 64, .len = len, .write = write };
    return 2;
}

/* It kicks, whatever the device says, and looks at the ring until it is done */
static uint32_t firmware_run(DpQueue *q)
{
    uint32_t used;

    dp_publish(q);
    dp_kick(q);
    dp_wait_used(q, &used);
    return used;
}

static void firmware_send(DpRig *r, uint64_t addr, size_t len, unsigned seed)
{
    DpBuf bufs[2];
    size_t got;

    dp_make_frame(dp_host(r->guest, addr + 64), len, seed);
    dp_add(r->tx, bufs, firmware_chain(r, bufs, addr, len, false));
    firmware_run(r->tx);
    got = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got, DP_MAX_FRAME,
                       DP_TIMEOUT_US);
    dp_make_frame(r->frame, len, seed);
    dp_assert_frame(r->got, got, r->frame, len);
}

static void firmware_receive(DpRig *r, uint64_t addr, size_t len,
                             unsigned seed)
{
    DpBuf bufs[2];
    uint32_t used;

    dp_add(r->rx, bufs, firmware_chain(r, bufs, addr, 1514, true));
    dp_publish(r->rx);
    dp_make_frame(r->frame, len, seed);
    dp_sock_send(r->sock, NULL, r->frame, len);
    used = firmware_run(r->rx);
    g_assert_cmpuint(used, ==, r->nic->hdr_len + len);
    dp_assert_frame(dp_host(r->guest, addr + 64), len, r->frame, len);
}

static void test_firmware(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    uint64_t tx = dp_alloc(r->guest, 2048);
    uint64_t rx = dp_alloc(r->guest, 2048);
    unsigned i;

    dp_set_no_interrupt(r->rx, true);
    dp_set_no_interrupt(r->tx, true);
    for (i = 0; i < 40; i++) {
        firmware_send(r, tx, 60 + 36 * i, i);
        firmware_receive(r, rx, 60 + 36 * i, 100 + i);
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "calls"), ==, 0);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "calls"), ==, 0);

    /* The system that it boots has a driver of its own */
    dp_rig_restart(r);
    dp_check_transmit(r->nic, r->sock, 200, 1);
    dp_check_receive(r->nic, r->sock, 200, 2);
    dp_rig_free(r);
}

/* Receive buffers that most frames do not fit into: those that do, arrive */
static void test_small_buffers(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    uint64_t addr = dp_alloc(r->guest, 2048);
    unsigned i, lost = 0;

    for (i = 0; i < 30; i++) {
        size_t len = 60 + 10 * (i % 3);
        DpBuf bufs[2];

        dp_add(r->rx, bufs, firmware_chain(r, bufs, addr, 64, true));
        dp_publish(r->rx);
        dp_make_frame(r->frame, 1514, i);
        dp_sock_send(r->sock, NULL, r->frame, 1514);
        dp_make_frame(r->frame, len, i);
        dp_sock_send(r->sock, NULL, r->frame, len);
        lost += 1 + (len > 64);
        if (len > 64) {
            /* The buffer stays until a frame comes that fits */
            dp_wait_counter(r->qts, "vd0", DP_RX, "drop:too-large", lost);
            g_assert_false(dp_has_used(r->rx));
            dp_make_frame(r->frame, 60, i);
            dp_sock_send(r->sock, NULL, r->frame, 60);
            len = 60;
        }
        firmware_run(r->rx);
        dp_assert_frame(dp_host(r->guest, addr + 64), len, r->frame, len);
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:too-large", lost);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 30);
    dp_rig_free(r);
}

/* Kicks without need, of empty queues too: nothing happens, often */
static void test_kicks_for_nothing(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    unsigned i;

    for (i = 0; i < 200; i++) {
        dp_kick(r->tx);
        dp_kick(r->rx);
    }
    dp_check_transmit(r->nic, r->sock, 200, 1);
    dp_check_receive(r->nic, r->sock, 200, 2);
    g_assert_false(dp_has_used(r->tx));
    g_assert_false(dp_has_used(r->rx));
    dp_rig_free(r);
}

/* A driver that only sends, or only receives, sets up the other queue empty */
static void test_one_way(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    unsigned i;

    dp_make_frame(r->frame, 60, 0);
    for (i = 0; i < 300; i++) {
        dp_sock_send(r->sock, NULL, r->frame, 60);
        dp_check_transmit(r->nic, r->sock, 100, i);
    }
    dp_rig_restart(r);
    for (i = 0; i < 100; i++) {
        dp_post(r->nic, 1, 256);
        dp_sock_send(r->sock, NULL, r->frame, 60);
        dp_wait_used(r->rx, NULL);
    }
    dp_rig_free(r);
}

/* ---- Rings of all sizes (sections 2.7 and 2.8) ---- */

static void test_ring_size(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    unsigned size = r->tx->pci.vq.size;
    unsigned i, k;

    dp_wait_counter(r->qts, "vd0", DP_TX, "size", size);
    /* Over the end of the ring, a chain at a time and then all at once */
    for (i = 0; i < 2 * MIN(size, 100) + 3; i++) {
        dp_check_transmit(r->nic, r->sock, 60 + i, i);
        dp_check_receive(r->nic, r->sock, 60 + i, i + 1);
    }
    for (i = 0; i < 3; i++) {
        dp_post(r->nic, size, 128);
        for (k = 0; k < size; k++) {
            size_t len;

            dp_make_frame(r->frame, 80, i + k);
            dp_sock_send(r->sock, NULL, r->frame, 80);
            len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
            dp_assert_frame(r->got, len, r->frame, 80);
        }
    }
    dp_rig_free(r);
}

/* ---- Lost and found ---- */

/*
 * Section 2.7.7.2: the index of a split ring's used event wraps at 65536, long
 * after the ring.  One interrupt for each batch, none missed, none twice.
 */
static void test_event_index_wraps(const void *opaque)
{
    const unsigned batch = 60, batches = 70000 / batch;
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = DP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
        .null = true, .msix = true,
    }, false);
    DpBuf buf = { .addr = dp_alloc(r->guest, 128), .len = 112 };
    unsigned i, k;

    memset(dp_host(r->guest, buf.addr), 0, buf.len);
    for (i = 0; i < batches; i++) {
        dp_set_used_event(r->tx, batch);
        for (k = 0; k < batch; k++) {
            dp_add(r->tx, &buf, 1);
        }
        dp_publish(r->tx);
        dp_wait_until(dp_queue_interrupted(r->nic, DP_TX));
        for (k = 0; k < batch; k++) {
            dp_wait_used(r->tx, NULL);
        }
    }
    g_assert_false(dp_has_used(r->tx));
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", batches * batch);
    /* Nobody knows at the first flush what was signalled before it */
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "calls"), <=,
                     batches + 1);
    dp_rig_free(r);
}

/* Work for both queues at once.  Is a frame received before all are sent? */
static bool receives_while_sending(DpRig *r, const DpBuf *buf)
{
    unsigned sent = 0, n = r->tx->pci.vq.size;
    bool received = false, early;

    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    while (sent < n) {
        dp_add(r->tx, buf, 1);
        sent++;
    }
    dp_publish(r->tx);
    dp_post(r->nic, 1, 256);
    dp_sock_send(r->sock, NULL, r->frame, 100);
    qtest_qmp_send(r->qts, "{ 'execute': 'cont' }");
    while (!received && sent) {
        received = dp_has_used(r->rx);
        while (dp_get_used(r->tx, NULL, NULL)) {
            sent--;
        }
    }
    early = received && sent;
    while (sent--) {
        dp_wait_used(r->tx, NULL);
    }
    dp_wait_used(r->rx, NULL);
    qobject_unref(qtest_qmp_receive(r->qts));
    return early;
}

/*
 * A full transmit queue does not keep the receive queue waiting until it is
 * empty.  This thread may sleep in the moment that shows it; hence the tries.
 */
static void test_transmit_does_not_starve_receive(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    DpBuf buf = { .addr = dp_alloc(r->guest, 1500), .len = 1500 };
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;

    memset(dp_host(r->guest, buf.addr), 0, buf.len);
    dp_make_frame(r->frame, 100, 1);
    while (!receives_while_sending(r, &buf)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    dp_rig_free(r);
}

static void add_ring_sizes(void)
{
    static const struct {
        const char *name;
        DpSetup setup;
        bool packed_only;
    } sizes[] = {
        { "driver/ring-size/1", { .ring_size = 1 } },
        { "driver/ring-size/2", { .ring_size = 2 } },
        { "driver/ring-size/3", { .ring_size = 3 }, true },
        { "driver/ring-size/7", { .ring_size = 7 }, true },
        { "driver/ring-size/16", { .ring_size = 16 } },
        { "driver/ring-size/100", { .ring_size = 100 }, true },
        { "driver/ring-size/1024", { .ring_size = 1024 } },
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        if (!sizes[i].packed_only) {
            dp_add_split_test(sizes[i].name, &sizes[i].setup, test_ring_size);
        }
        dp_add_packed_test(sizes[i].name, &sizes[i].setup, test_ring_size);
    }
}

int main(int argc, char **argv)
{
    static const DpSetup plain;
    static const DpSetup mergeable = {
        .features = DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
    };
    static const DpSetup small_ring = { .ring_size = 4 };
    static const DpSetup large_ring = { .ring_size = 1024 };
    static const DpSetup legacy = {
        .device = "disable-legacy=off,disable-modern=on",
    };
    static const DpSetup no_features = {
        .device = "disable-legacy=off,disable-modern=on",
        .bare = true,
    };

    dp_test_init(&argc, &argv);
    dp_add_ring_test("driver/firmware/modern", &plain, test_firmware);
    dp_add_ring_test("driver/firmware/mergeable", &mergeable, test_firmware);
    dp_add_ring_test("driver/firmware/small-ring", &small_ring, test_firmware);
    dp_add_split_test("driver/firmware/legacy", &legacy, test_firmware);
    dp_add_split_test("driver/firmware/no-features", &no_features,
                      test_firmware);
    dp_add_ring_test("driver/small-buffers/modern", &plain,
                     test_small_buffers);
    dp_add_split_test("driver/small-buffers/legacy", &legacy,
                      test_small_buffers);
    dp_add_split_test("driver/small-buffers/no-features", &no_features,
                      test_small_buffers);
    dp_add_ring_test("driver/kicks-for-nothing", &plain,
                     test_kicks_for_nothing);
    dp_add_ring_test("driver/one-way", &plain, test_one_way);
    dp_add_ring_test("driver/event-index-wraps", NULL, test_event_index_wraps);
    dp_add_ring_test("driver/transmit-does-not-starve-receive", &large_ring,
                     test_transmit_does_not_starve_receive);
    add_ring_sizes();
    return g_test_run();
}
