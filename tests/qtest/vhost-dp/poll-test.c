/*
 * vhost-dp: qtests of busy polling
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * While a queue pair polls nobody has to wake it up; before it sleeps it asks
 * to be woken up, and nothing that came meanwhile is forgotten.
 */

#include "qemu/osdep.h"
#include "guest.h"

#define TAP "-object vhost-dp-tap,id=drv "
#define NULL_DRIVER(options) "-object vhost-dp-null,id=drv" options " "
#define NETDEV(us) \
    "-netdev vhost-dp,id=vd0,driver=drv,busy-poll-us=" #us " "

#define FRAME_BYTES 60
#define BUFFER_BYTES 2048

typedef struct Poll {
    const char *backend;
    uint64_t features;
} Poll;

typedef struct PollRig {
    DpGuest *guest;
    QTestState *qts;
    DpNic *nic;
    DpQueue *rx, *tx;
    DpBuf tx_buf, rx_buf;
    uint8_t frame[FRAME_BYTES];
} PollRig;

static PollRig *rig_new(const Poll *p)
{
    PollRig *r = g_new0(PollRig, 1);

    r->guest = dp_guest_new("%s" DP_DEVICE "disable-legacy=on", p->backend);
    r->qts = r->guest->qts;
    if (dp_if_exists("drv")) {
        dp_if_up("drv");
    }
    r->nic = dp_nic_new(r->guest, DP_SLOT, DP_FEATURES_DEFAULT | p->features);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    dp_make_frame(r->frame, sizeof(r->frame), 1);
    r->tx_buf.len = r->nic->hdr_len + FRAME_BYTES;
    r->tx_buf.addr = dp_alloc(r->guest, r->tx_buf.len);
    memset(dp_host(r->guest, r->tx_buf.addr), 0, r->nic->hdr_len);
    memcpy(dp_host(r->guest, r->tx_buf.addr) + r->nic->hdr_len, r->frame,
           FRAME_BYTES);
    r->rx_buf.len = BUFFER_BYTES;
    r->rx_buf.addr = dp_alloc(r->guest, BUFFER_BYTES);
    r->rx_buf.write = true;
    return r;
}

static void rig_free(PollRig *r)
{
    dp_nic_free(r->nic);
    dp_guest_free(r->guest);
    g_free(r);
}

static uint64_t counter(PollRig *r, unsigned queue, const char *name)
{
    return dp_counter(r->qts, "vd0", queue, name);
}

/* Returns whether the device wanted a kick for it */
static bool transmit(PollRig *r)
{
    bool kicked;

    dp_add(r->tx, &r->tx_buf, 1);
    kicked = dp_publish(r->tx);
    dp_wait_used(r->tx, NULL);
    return kicked;
}

/*
 * Wait until the queue pair sleeps: it polls no more.  Time alone does not
 * show it, as a busy machine may not let the IOThread run; but the last that
 * it does before it sleeps is to ask for kicks.
 */
static void wait_asleep(PollRig *r)
{
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;
    uint64_t polls[2] = { 0, UINT64_MAX };

    while (polls[0] != polls[1] || !dp_wants_kick(r->tx)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        polls[1] = polls[0];
        g_usleep(DP_QUIET_US);
        polls[0] = counter(r, DP_TX, "polls") + counter(r, DP_RX, "polls");
    }
}

/* ---- Tests ---- */

static void test_off(const void *opaque)
{
    PollRig *r = rig_new(opaque);
    unsigned i;

    for (i = 0; i < 100; i++) {
        transmit(r);
    }
    g_assert_cmpuint(counter(r, DP_TX, "polls"), ==, 0);
    g_assert_cmpuint(counter(r, DP_TX, "poll-hits"), ==, 0);
    rig_free(r);
}

/* Once it is awake no kick is needed: it finds frames by itself */
static void test_no_kicks(const void *opaque)
{
    PollRig *r = rig_new(opaque);
    unsigned kicks = 0;
    unsigned i;

    transmit(r);
    for (i = 0; i < 200; i++) {
        kicks += transmit(r);
        g_usleep(i);
    }
    g_assert_cmpuint(kicks, ==, 0);
    /* The first, which may be seen late, and the notifier's initial state */
    g_assert_cmpuint(counter(r, DP_TX, "kicks"), <=, 2);
    g_assert_cmpuint(counter(r, DP_TX, "kicks-suppressed"), >=, 200);
    g_assert_cmpuint(counter(r, DP_TX, "poll-hits"), >, 0);
    g_assert_cmpuint(counter(r, DP_TX, "polls"), >=,
                     counter(r, DP_TX, "poll-hits"));
    rig_free(r);
}

/* An idle queue pair sleeps, and asks for a kick */
static void test_sleeps(const void *opaque)
{
    PollRig *r = rig_new(opaque);
    unsigned i;

    for (i = 0; i < 3; i++) {
        transmit(r);
        wait_asleep(r);
        g_assert_true(transmit(r));
    }
    g_assert_cmpuint(counter(r, DP_TX, "polls"), >, 0);
    rig_free(r);
}

/* Traffic that comes too seldom to be found is not polled for */
static void test_backs_off(const void *opaque)
{
    PollRig *r = rig_new(opaque);
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;
    uint64_t before, after;
    unsigned i;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        before = counter(r, DP_TX, "polls");
        for (i = 0; i < 5; i++) {
            transmit(r);
            g_usleep(10 * 1000);
        }
        after = counter(r, DP_TX, "polls");
    } while (after != before);

    /* But it is when it comes often again */
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        transmit(r);
    } while (counter(r, DP_TX, "polls") == before);
    rig_free(r);
}

/* A wake-up without work is no reason to poll, nor to poll less afterwards */
static void test_for_nothing(const void *opaque)
{
    PollRig *r = rig_new(opaque);
    uint64_t before;
    unsigned i;

    wait_asleep(r);
    before = counter(r, DP_TX, "polls");
    for (i = 0; i < 20; i++) {
        dp_kick(r->tx);
        g_usleep(1000);
    }
    wait_asleep(r);
    g_assert_cmpuint(counter(r, DP_TX, "polls"), ==, before);
    transmit(r);
    dp_wait_until(counter(r, DP_TX, "polls") > before);
    rig_free(r);
}

/* A driver that kicks only when it is asked to, at the end of polling, too */
static void test_no_lost_kick(const void *opaque)
{
    PollRig *r = rig_new(opaque);
    g_autoptr(GRand) rnd = g_rand_new_with_seed(4);
    unsigned kicks = 0;
    unsigned i;

    for (i = 0; i < 5000; i++) {
        kicks += transmit(r);
        if (g_rand_int_range(rnd, 0, 4)) {
            int64_t end = g_get_monotonic_time() +
                          g_rand_int_range(rnd, 0, 60);

            while (g_get_monotonic_time() < end) {
                /* A pause that is too short for g_usleep() */
            }
        }
    }
    g_test_message("%u kicks, %" PRIu64 " of %" PRIu64 " polls hit", kicks,
                   counter(r, DP_TX, "poll-hits"),
                   counter(r, DP_TX, "polls"));
    rig_free(r);
}

/* The same for receive buffers, of which there are always too few */
static void test_no_lost_buffers(const void *opaque)
{
    PollRig *r = rig_new(opaque);
    g_autoptr(GRand) rnd = g_rand_new_with_seed(5);
    unsigned i, k;

    for (i = 0; i < 3000; i++) {
        unsigned n = g_rand_int_range(rnd, 1, 5);
        int64_t end = g_get_monotonic_time() + g_rand_int_range(rnd, 0, 60);

        for (k = 0; k < n; k++) {
            dp_add(r->rx, &r->rx_buf, 1);
        }
        dp_publish(r->rx);
        for (k = 0; k < n; k++) {
            dp_wait_used(r->rx, NULL);
        }
        while (g_get_monotonic_time() < end) {
            /* A pause that is too short for g_usleep() */
        }
    }
    g_test_message("%" PRIu64 " of %" PRIu64 " polls hit",
                   counter(r, DP_RX, "poll-hits"),
                   counter(r, DP_RX, "polls"));
    g_assert_cmpuint(counter(r, DP_RX, "polls"), >, 0);
    rig_free(r);
}

/* Frames for which the driver wakes the queue pair up after it has polled */
static void test_no_lost_frames(const void *opaque)
{
    PollRig *r = rig_new(opaque);
    unsigned i;

    for (i = 0; i < 500; i++) {
        dp_add(r->rx, &r->rx_buf, 1);
        dp_publish(r->rx);
        dp_wait_used(r->rx, NULL);
    }
    g_assert_cmpuint(counter(r, DP_RX, "packets"), ==, 500);
    g_assert_cmpuint(counter(r, DP_RX, "polls"), >, 0);
    rig_free(r);
}

/* Frames from a tap, which has its fd watched while the queue pair polls */
static void test_tap_receive(const void *opaque)
{
    PollRig *r = rig_new(opaque);
    int sock = dp_sock_open("drv", false);
    unsigned i;

    for (i = 0; i < 300; i++) {
        dp_check_receive(r->nic, sock, 60 + i, i);
        dp_check_transmit(r->nic, sock, 60 + i, i);
    }
    close(sock);
    rig_free(r);
}

/* Control operations in the middle of it */
static void test_control(const void *opaque)
{
    PollRig *r = rig_new(opaque);
    unsigned i;

    for (i = 0; i < 30; i++) {
        transmit(r);
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
        dp_add(r->tx, &r->tx_buf, 1);
        dp_publish(r->tx);
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
        dp_wait_used(r->tx, NULL);
        transmit(r);
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link',"
                                 " 'arguments': { 'name': 'nic',"
                                 " 'up': false } }");
        dp_wait_until(!dp_nic_link(r->nic));
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link',"
                                 " 'arguments': { 'name': 'nic',"
                                 " 'up': true } }");
        dp_wait_until(dp_nic_link(r->nic));
        transmit(r);
    }
    rig_free(r);
}

int main(int argc, char **argv)
{
    static const uint64_t event_idx = DP_FEATURE(VIRTIO_RING_F_EVENT_IDX);
    static const Poll off = { TAP NETDEV(0) };
    static const Poll tap_long = { TAP NETDEV(1000000) };
    static const Poll tap_long_event = { TAP NETDEV(1000000), event_idx };
    static const Poll tap_1ms = { TAP NETDEV(1000) };
    static const Poll tap_1ms_event = { TAP NETDEV(1000), event_idx };
    static const Poll tap_30us = { TAP NETDEV(30) };
    static const Poll tap_30us_event = { TAP NETDEV(30), event_idx };
    static const Poll flat_out = {
        NULL_DRIVER(",flat-out=on") NETDEV(30)
    };
    static const Poll flat_out_event = {
        NULL_DRIVER(",flat-out=on") NETDEV(30), event_idx
    };
    static const Poll rate = {
        NULL_DRIVER(",rate=5000,burst=1") NETDEV(30)
    };

    dp_test_init(&argc, &argv);
    dp_add_test("poll/off", &off, test_off);
    dp_add_ring_test("poll/no-kicks", &tap_long, test_no_kicks);
    dp_add_ring_test("poll/no-kicks-event-idx", &tap_long_event, test_no_kicks);
    dp_add_ring_test("poll/sleeps", &tap_1ms, test_sleeps);
    dp_add_ring_test("poll/sleeps-event-idx", &tap_1ms_event, test_sleeps);
    dp_add_test("poll/backs-off", &tap_1ms, test_backs_off);
    dp_add_ring_test("poll/for-nothing", &tap_1ms, test_for_nothing);
    dp_add_ring_test("poll/no-lost-kick", &tap_30us, test_no_lost_kick);
    dp_add_ring_test("poll/no-lost-kick-event-idx", &tap_30us_event,
                     test_no_lost_kick);
    dp_add_ring_test("poll/no-lost-buffers", &flat_out, test_no_lost_buffers);
    dp_add_ring_test("poll/no-lost-buffers-event-idx", &flat_out_event,
                     test_no_lost_buffers);
    dp_add_test("poll/no-lost-frames", &rate, test_no_lost_frames);
    dp_add_test("poll/tap-receive", &tap_30us, test_tap_receive);
    dp_add_test("poll/control", &tap_long, test_control);
    return g_test_run();
}
