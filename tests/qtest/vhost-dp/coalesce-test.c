/*
 * vhost-dp: qtests of notification coalescing
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * VIRTIO_NET_F_NOTF_COAL and VIRTIO_NET_F_VQ_NOTF_COAL: the guest is called
 * after a number of packets or a time, never later than either.  Sections are
 * those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "commands.h"
#include "migrate.h"

#define NOTF_COAL    DP_FEATURE(VIRTIO_NET_F_NOTF_COAL)
#define VQ_NOTF_COAL DP_FEATURE(VIRTIO_NET_F_VQ_NOTF_COAL)
#define BOTH (NOTF_COAL | VQ_NOTF_COAL | DP_FEATURE(VIRTIO_NET_F_CTRL_VQ))

#define DEVICE "notf_coal=on,vq_notf_coal=on"

/* Longer than any test: what comes before then was not caused by the time */
#define LONG_US (10 * 60 * 1000 * 1000u)

static DpRig *rig_new(uint64_t features, unsigned pairs)
{
    return dp_rig_start(&(DpSetup) { .device = DEVICE, .pairs = pairs,
                                     .features = BOTH | features,
                                     .msix = true }, false);
}

/* ---- Commands ---- */

/*
 * As dp_nic_ctrl(), with room for @size bytes of answer behind the ack.  They
 * are 0xa5 where the device wrote nothing; *@used is what it says it wrote.
 */
static uint8_t ctrl_answer(DpNic *nic, uint8_t command, const void *data,
                           size_t len, void *answer, size_t size,
                           uint32_t *used)
{
    uint64_t addr = dp_alloc(nic->guest, 3 + len + size);
    uint8_t *p = dp_host(nic->guest, addr);
    DpBuf bufs[] = {
        { .addr = addr, .len = 2 + len },
        { .addr = addr + 2 + len, .len = 1 + size, .write = true },
    };

    p[0] = VIRTIO_NET_CTRL_NOTF_COAL;
    p[1] = command;
    memcpy(p + 2, data, len);
    memset(p + 2 + len, 0xa5, 1 + size);
    nic->ctrl->stock = true;
    dp_add(nic->ctrl, bufs, ARRAY_SIZE(bufs));
    dp_publish(nic->ctrl);
    dp_wait_used(nic->ctrl, used);
    memcpy(answer, p + 3 + len, size);
    return p[2 + len];
}

static struct virtio_net_ctrl_coal_vq make_coal(unsigned queue,
                                                uint32_t packets,
                                                uint32_t usecs)
{
    return (struct virtio_net_ctrl_coal_vq) {
        .vqn = cpu_to_le16(queue),
        .reserved = 0xffff,
        .coal.max_packets = cpu_to_le32(packets),
        .coal.max_usecs = cpu_to_le32(usecs),
    };
}

/* @command: TX_SET or RX_SET */
static void set_all(DpRig *r, uint8_t command, uint32_t packets,
                    uint32_t usecs)
{
    struct virtio_net_ctrl_coal_vq vq = make_coal(0, packets, usecs);

    g_assert_cmpint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_NOTF_COAL, command,
                                &vq.coal, sizeof(vq.coal)), ==,
                    VIRTIO_NET_OK);
}

static uint8_t try_set(DpRig *r, unsigned queue, uint32_t packets,
                       uint32_t usecs)
{
    struct virtio_net_ctrl_coal_vq vq = make_coal(queue, packets, usecs);

    return dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_NOTF_COAL,
                       VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, &vq, sizeof(vq));
}

static void set(DpRig *r, unsigned queue, uint32_t packets, uint32_t usecs)
{
    g_assert_cmpint(try_set(r, queue, packets, usecs), ==, VIRTIO_NET_OK);
}

static uint8_t try_get(DpRig *r, unsigned queue,
                       struct virtio_net_ctrl_coal *coal)
{
    struct virtio_net_ctrl_coal_vq vq = make_coal(queue, 0, 0);
    uint32_t used;
    uint8_t ack = ctrl_answer(r->nic, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, &vq,
                              4, coal, sizeof(*coal), &used);

    g_assert_cmpuint(used, ==, ack == VIRTIO_NET_OK ? 1 + sizeof(*coal) : 1);
    return ack;
}

/* The guest reads these parameters, and QEMU's user too */
static void check(DpRig *r, unsigned queue, uint32_t packets, uint32_t usecs)
{
    struct virtio_net_ctrl_coal coal;

    g_assert_cmpint(try_get(r, queue, &coal), ==, VIRTIO_NET_OK);
    g_assert_cmpuint(le32_to_cpu(coal.max_packets), ==, packets);
    g_assert_cmpuint(le32_to_cpu(coal.max_usecs), ==, usecs);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", queue, "coalesce-packets"), ==,
                     packets);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", queue, "coalesce-usecs"), ==,
                     usecs);
}

/* The commands of 5.1.6.5.9, one after the other */
static void test_commands(const void *opaque)
{
    DpRig *r = rig_new(0, 2);
    unsigned i;

    for (i = 0; i < 4; i++) {
        check(r, i, 0, 0);
    }
    set_all(r, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 11, 12);
    check(r, 0, 11, 12);
    check(r, 1, 0, 0);
    check(r, 2, 11, 12);
    check(r, 3, 0, 0);
    set(r, 0, 21, 22);
    check(r, 0, 21, 22);
    check(r, 2, 11, 12);
    set(r, 1, 31, 32);
    check(r, 1, 31, 32);
    check(r, 3, 0, 0);
    set_all(r, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, UINT32_MAX, UINT32_MAX);
    check(r, 0, 21, 22);
    check(r, 1, UINT32_MAX, UINT32_MAX);
    check(r, 2, 11, 12);
    check(r, 3, UINT32_MAX, UINT32_MAX);

    /* Frames move, whatever was asked for */
    dp_check_transmit(r->nic, r->sock, 100, 1);
    dp_check_receive(r->nic, r->sock, 100, 2);

    /* After a reset all of them are zero */
    dp_rig_restart(r);
    for (i = 0; i < 4; i++) {
        check(r, i, 0, 0);
    }
    dp_rig_free(r);
}

/* What is wrong is refused, and changes nothing */
static void test_bad_commands(const void *opaque)
{
    static const struct {
        uint8_t command;
        size_t len;
    } table[] = {
        { VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 0 },
        { VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 7 },
        { VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 9 },
        { VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 0 },
        { VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 7 },
        { VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 9 },
        { VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, 0 },
        { VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, 4 },
        { VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, 11 },
        { VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, 13 },
        { VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, 0 },
        { VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, 3 },
        { VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, 12 },
        { 4, 12 },
        { 255, 8 },
    };
    /* The control queue, what is behind it, and the largest numbers */
    static const uint16_t no_queue[] = { 2, 3, 4, 0x7fff, 0xffff };
    struct virtio_net_ctrl_coal_vq vq = make_coal(0, 1, 1);
    struct virtio_net_ctrl_coal coal;
    uint8_t data[16] = {}, none;
    uint32_t used;
    unsigned i;
    DpRig *r = rig_new(DP_FEATURE(VIRTIO_F_RING_RESET), 1);

    set(r, DP_RX, 5, 6);
    set(r, DP_TX, 7, 8);
    for (i = 0; i < ARRAY_SIZE(table); i++) {
        g_assert_cmpint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_NOTF_COAL,
                                    table[i].command, data, table[i].len), ==,
                        VIRTIO_NET_ERR);
    }
    for (i = 0; i < ARRAY_SIZE(no_queue); i++) {
        g_assert_cmpint(try_set(r, no_queue[i], 1, 1), ==, VIRTIO_NET_ERR);
        g_assert_cmpint(try_get(r, no_queue[i], &coal), ==, VIRTIO_NET_ERR);
        g_assert_cmphex(coal.max_packets, ==, 0xa5a5a5a5);
    }
    /* No room for the answer */
    g_assert_cmpint(ctrl_answer(r->nic, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, &vq,
                                4, &none, 0, &used), ==, VIRTIO_NET_ERR);
    g_assert_cmpint(ctrl_answer(r->nic, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, &vq,
                                4, &coal, 7, &used), ==, VIRTIO_NET_ERR);
    check(r, DP_RX, 5, 6);
    check(r, DP_TX, 7, 8);

    /* A queue that is not enabled */
    dp_queue_reset(r->nic, DP_TX);
    g_assert_cmpint(try_set(r, DP_TX, 1, 1), ==, VIRTIO_NET_ERR);
    g_assert_cmpint(try_get(r, DP_TX, &coal), ==, VIRTIO_NET_ERR);
    dp_queue_restart(r->nic, DP_TX);
    check(r, DP_RX, 5, 6);
    dp_rig_free(r);
}

/* Commands of a feature that was not negotiated */
static void test_not_negotiated(const void *opaque)
{
    const struct virtio_net_ctrl_coal_vq vq = make_coal(0, 9, 9);
    static const struct {
        uint64_t features;
        bool all, each;
    } table[] = {
        { NOTF_COAL, true, false },
        { VQ_NOTF_COAL, false, true },
        { 0, false, false },
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        DpRig *r = dp_rig_start(&(DpSetup) {
            .device = DEVICE, .features = table[i].features |
            DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) }, false);

        g_assert_cmpint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_NOTF_COAL,
                                    VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, &vq.coal,
                                    sizeof(vq.coal)), ==,
                        table[i].all ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
        g_assert_cmpint(try_set(r, 1, 9, 9), ==,
                        table[i].each ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
        g_assert_cmpuint(dp_counter(r->qts, "vd0", 0, "coalesce-usecs"), ==,
                         table[i].all ? 9 : 0);
        g_assert_cmpuint(dp_counter(r->qts, "vd0", 1, "coalesce-usecs"), ==,
                         table[i].each ? 9 : 0);
        dp_rig_free(r);
    }
}

/* ---- Delays ---- */

/* @n frames to the guest, or from it, whose buffers are used */
static void move(DpRig *r, unsigned queue, unsigned n)
{
    unsigned i;

    dp_make_frame(r->frame, 60, n);
    for (i = 0; i < n; i++) {
        if (queue == DP_TX) {
            dp_transmit(r->nic, NULL, r->frame, 60);
        } else {
            dp_sock_send(r->sock, NULL, r->frame, 60);
            dp_wait_used(r->rx, NULL);
        }
    }
}

static void check_quiet(DpRig *r, unsigned queue)
{
    g_usleep(DP_QUIET_US);
    g_assert_false(dp_queue_interrupted(r->nic, queue));
}

/*
 * A call after @want more frames, and none before.  The count goes by bursts,
 * which are of one frame here.
 */
static void check_count(DpRig *r, unsigned queue, unsigned want)
{
    move(r, queue, want - 1);
    check_quiet(r, queue);
    move(r, queue, 1);
    dp_wait_until(dp_queue_interrupted(r->nic, queue));
    check_quiet(r, queue);
}

/* 5.1.6.5.9.1: max_packets, for each queue by itself */
static void check_packets(DpRig *r)
{
    uint64_t calls = dp_counter(r->qts, "vd0", DP_RX, "calls");

    dp_post(r->nic, DP_RING_SIZE, 128);
    set(r, DP_RX, 8, LONG_US);
    set(r, DP_TX, 5, LONG_US);
    move(r, DP_TX, 2);
    check_count(r, DP_RX, 8);
    check_count(r, DP_TX, 3);
    check_count(r, DP_RX, 8);
    check_count(r, DP_TX, 5);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "calls"), ==,
                     calls + 2);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "calls-coalesced"), ==,
                     14);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "calls-coalesced"), ==,
                     8);

    /* Off: each frame, at once */
    set(r, DP_RX, 8, 0);
    check_count(r, DP_RX, 1);
    set(r, DP_RX, 0, LONG_US);
    check_count(r, DP_RX, 1);
    set(r, DP_RX, 1, LONG_US);
    check_count(r, DP_RX, 1);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "calls-coalesced"), ==,
                     14);
}

static void test_packets(const void *opaque)
{
    DpRig *r = rig_new(0, 1);

    check_packets(r);
    dp_rig_free(r);
}

/* The same while the IOThread never sleeps */
static void test_packets_polling(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .device = DEVICE, .features = BOTH,
                                         .netdev = "busy-poll-us=1000000",
                                         .msix = true }, false);

    check_packets(r);
    dp_rig_free(r);
}

/* 5.1.6.5.9.1: max_usecs after the first packet, and not before */
static void check_time(DpRig *r, unsigned queue)
{
    const int64_t delay = 100 * 1000;
    unsigned i;

    set(r, queue, 1000, delay);
    for (i = 0; i < 3; i++) {
        int64_t begin = g_get_monotonic_time();

        move(r, queue, 3);
        dp_wait_until(dp_queue_interrupted(r->nic, queue));
        g_assert_cmpint(g_get_monotonic_time() - begin, >=, delay);
        check_quiet(r, queue);
    }
    set(r, queue, 0, 0);
}

static void test_time(const void *opaque)
{
    DpRig *r = rig_new(0, 1);

    dp_post(r->nic, DP_RING_SIZE, 128);
    check_time(r, DP_RX);
    check_time(r, DP_TX);
    dp_rig_free(r);
}

static void test_time_polling(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .device = DEVICE, .features = BOTH,
                                         .netdev = "busy-poll-us=1000000",
                                         .msix = true }, false);

    dp_post(r->nic, DP_RING_SIZE, 128);
    check_time(r, DP_RX);
    check_time(r, DP_TX);
    dp_rig_free(r);
}

/* 5.1.6.5.9.4: the specification's example, and any other change */
static void test_change(const void *opaque)
{
    DpRig *r = rig_new(0, 1);
    int64_t begin;

    dp_post(r->nic, DP_RING_SIZE, 128);
    set(r, DP_TX, 15, LONG_US);
    move(r, DP_TX, 10);
    check_quiet(r, DP_TX);
    set_all(r, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 8, LONG_US);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_TX));
    check_count(r, DP_TX, 8);

    /* The same again is no change */
    move(r, DP_TX, 3);
    set_all(r, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 8, LONG_US);
    check_quiet(r, DP_TX);
    check_count(r, DP_TX, 5);

    /* Off, with a call due */
    set(r, DP_RX, 100, LONG_US);
    move(r, DP_RX, 3);
    check_quiet(r, DP_RX);
    set(r, DP_RX, 0, 0);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    check_count(r, DP_RX, 1);

    /* A shorter delay begins with the next frame */
    set(r, DP_RX, 100, LONG_US);
    move(r, DP_RX, 1);
    set(r, DP_RX, 100, 50 * 1000);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    begin = g_get_monotonic_time();
    move(r, DP_RX, 1);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, 50 * 1000);
    dp_rig_free(r);
}

/*
 * A call is made if the driver wants it when it is due, and not if it wanted it
 * when the buffers were used.
 */
static void test_suppressed(const void *opaque)
{
    DpRig *r = rig_new(0, 1);

    dp_post(r->nic, DP_RING_SIZE, 128);
    set(r, DP_RX, 4, LONG_US);
    move(r, DP_RX, 3);
    dp_set_no_interrupt(r->rx, true);
    move(r, DP_RX, 1);
    check_quiet(r, DP_RX);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "calls-suppressed"), ==,
                     1);

    move(r, DP_RX, 3);
    dp_set_no_interrupt(r->rx, false);
    move(r, DP_RX, 1);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    check_count(r, DP_RX, 4);
    dp_rig_free(r);
}

/* The same by an event: it counts where it lies among all that was used */
static void test_event_idx(const void *opaque)
{
    DpRig *r = rig_new(DP_FEATURE(VIRTIO_RING_F_EVENT_IDX), 1);

    dp_post(r->nic, DP_RING_SIZE, 128);
    /* The first decision of all is to call */
    move(r, DP_RX, 1);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));

    set(r, DP_RX, 6, LONG_US);
    dp_set_used_event(r->rx, 2);        /* in the middle */
    check_count(r, DP_RX, 6);
    dp_set_used_event(r->rx, 1);        /* the first */
    check_count(r, DP_RX, 6);
    dp_set_used_event(r->rx, 6);        /* the last */
    check_count(r, DP_RX, 6);
    dp_set_used_event(r->rx, 7);        /* too far */
    move(r, DP_RX, 6);
    check_quiet(r, DP_RX);
    check_count(r, DP_RX, 6);

    /* The driver takes all, and asks again, before the call is due */
    dp_set_used_event(r->rx, 1);
    move(r, DP_RX, 5);
    dp_set_used_event(r->rx, 2);
    move(r, DP_RX, 1);
    check_quiet(r, DP_RX);
    dp_rig_free(r);
}

/* More than a whole ring is used without a decision, more than once */
static void test_rounds(const void *opaque)
{
    DpRig *r = rig_new(DP_FEATURE(VIRTIO_RING_F_EVENT_IDX), 1);
    unsigned n, i;

    for (n = 1; n < 4; n++) {
        set(r, DP_RX, n * DP_RING_SIZE + 3, LONG_US);
        dp_set_used_event(r->rx, 1);
        for (i = 0; i < n * DP_RING_SIZE; i++) {
            dp_post(r->nic, 2 - !!i, 128);
            move(r, DP_RX, 1);
        }
        dp_post(r->nic, 3, 128);
        check_count(r, DP_RX, 3);
        move(r, DP_RX, 1);
    }
    dp_rig_free(r);
}

/*
 * A guest that has no buffers left is told, however long it was to wait.  With
 * half of the ring used it may have no room to send.
 */
static void test_no_buffers(const void *opaque)
{
    DpRig *r = rig_new(0, 1);

    set(r, DP_RX, 1000, LONG_US);
    dp_post(r->nic, 4, 128);
    move(r, DP_RX, 4);
    check_quiet(r, DP_RX);
    dp_sock_send(r->sock, NULL, r->frame, 60);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    dp_post(r->nic, 4, 128);
    dp_wait_used(r->rx, NULL);
    check_quiet(r, DP_RX);

    set(r, DP_TX, 1000, LONG_US);
    check_count(r, DP_TX, DP_RING_SIZE / 2);
    dp_rig_free(r);
}

/* ---- Nothing gets lost ---- */

static void stop_cont(DpRig *r)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
}

static void link_down_up(DpRig *r)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link', 'arguments': {"
                             " 'name': 'nic', 'up': false } }");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link', 'arguments': {"
                             " 'name': 'nic', 'up': true } }");
}

/* A queue that stops calls for what it has used */
static void test_stop(const void *opaque)
{
    void (*const how[])(DpRig *) = { stop_cont, link_down_up };
    DpRig *r = rig_new(0, 1);
    unsigned i;

    dp_post(r->nic, DP_RING_SIZE, 128);
    set(r, DP_RX, 1000, LONG_US);
    set(r, DP_TX, 1000, LONG_US);
    for (i = 0; i < ARRAY_SIZE(how); i++) {
        move(r, DP_RX, 2);
        move(r, DP_TX, 2);
        check_quiet(r, DP_RX);
        check_quiet(r, DP_TX);
        how[i](r);
        dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
        dp_wait_until(dp_queue_interrupted(r->nic, DP_TX));
        /* And the parameters stay */
        check(r, DP_RX, 1000, LONG_US);
        dp_wait_until(dp_link_is(r, true, NULL));
        move(r, DP_RX, 2);
        check_quiet(r, DP_RX);
        set(r, DP_RX, 999 - i, LONG_US);
        dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
        set(r, DP_RX, 1000, LONG_US);
    }
    dp_rig_free(r);
}

/* 5.1.6.5.9.6: a queue that is enabled again has what all have */
static void test_queue_reset(const void *opaque)
{
    DpRig *r = rig_new(DP_FEATURE(VIRTIO_F_RING_RESET), 1);
    unsigned i;

    for (i = 0; i < 2; i++) {
        uint64_t calls = dp_counter(r->qts, "vd0", DP_TX, "calls");
        uint32_t usecs = i ? LONG_US : 0;

        if (i) {
            set_all(r, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 3, LONG_US);
            set_all(r, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 3, LONG_US);
        }
        set(r, DP_RX, 50, LONG_US);
        set(r, DP_TX, 60, LONG_US);
        move(r, DP_TX, 2);
        check_quiet(r, DP_TX);
        /* The call is made; but the queue's vector goes with the reset */
        dp_queue_reset(r->nic, DP_TX);
        g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "calls"), ==,
                         calls + 1);
        dp_queue_restart(r->nic, DP_TX);
        check(r, DP_TX, i ? 3 : 0, usecs);
        check(r, DP_RX, 50, LONG_US);
        check_count(r, DP_TX, i ? 3 : 1);
    }
    dp_rig_free(r);
}

/* Parameters that change under traffic; each frame has a call in the end */
static void test_under_traffic(const void *opaque)
{
    static const struct {
        uint32_t packets, usecs;
    } table[] = { { 4, 300 }, { 0, 0 }, { 64, 64 }, { 2, 1 }, { 32, 5000 } };
    DpRig *r = rig_new(DP_FEATURE(VIRTIO_RING_F_EVENT_IDX), 1);
    unsigned seen = 0, sent = 0, i = 0;
    const unsigned total = 3000;

    dp_post(r->nic, DP_RING_SIZE, 128);
    dp_make_frame(r->frame, 60, 0);
    while (seen < total) {
        uint16_t head;

        while (dp_get_used(r->rx, &head, NULL)) {
            dp_add_again(r->rx, head);
            if (++seen % 100 == 0) {
                set(r, DP_RX, table[i].packets, table[i].usecs);
                i = (i + 1) % ARRAY_SIZE(table);
            }
        }
        dp_publish(r->rx);
        while (sent < total && sent - seen < 40) {
            dp_sock_send(r->sock, NULL, r->frame, 60);
            sent++;
        }
        dp_set_used_event(r->rx, 1);
        if (seen < total && !dp_has_used(r->rx)) {
            dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
        }
    }
    dp_rig_free(r);
}

/* ---- Migration ---- */

#define NETDEV \
    "-object vhost-dp-tap,id=tap0 -netdev vhost-dp,id=vd0,driver=tap0"

static void test_migration(const void *opaque)
{
    DpRig *r = rig_new(0, 1);
    unsigned i;

    set_all(r, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 70, 71);
    set(r, DP_RX, 5, LONG_US);
    set(r, DP_TX, UINT32_MAX, LONG_US);
    for (i = 0; i < 2; i++) {
        move(r, DP_TX, 2);
        close(r->sock);
        dp_migrate_by_file(r, NETDEV, i);
        r->sock = dp_sock_open("tap0", false);
        check(r, DP_RX, 5, LONG_US);
        check(r, DP_TX, UINT32_MAX, LONG_US);
        dp_post(r->nic, 8, 128);
        move(r, DP_RX, 4);
        check_quiet(r, DP_RX);
        move(r, DP_RX, 1);
        dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    }
    dp_rig_free(r);
}

/* A saved guest, in memory */
static GByteArray *save(DpRig *r, const char *path)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);
    gchar *data;
    gsize len;

    qtest_qmp_assert_success(r->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
    dp_wait_until(dp_migrate_is(r->qts, "completed"));
    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    return g_byte_array_new_take((guint8 *)data, len);
}

/* What a destination makes of the file: "running" or "failed" */
static bool load_fails(DpRig *r, const char *path, const char *device)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);
    const char *saved = r->device;
    bool failed = false, runs = false;
    DpGuest *to;

    r->device = device;
    to = dp_migrate_target(r, NETDEV, NULL);
    r->device = saved;
    qtest_qmp_assert_success(to->qts, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s,"
                             " 'exit-on-error': false } }", uri);
    dp_wait_until((failed = dp_migrate_is(to->qts, "failed")) ||
                  (runs = dp_status_is(to->qts, "running")));
    dp_guest_free(to);
    return failed;
}

/* A stream that was tampered with, and a device that is not the same */
static void test_hostile_stream(const void *opaque)
{
    static const char section[] = "virtio-net-device/coalesce";
    g_autofree char *path = NULL;
    g_autoptr(GByteArray) bytes = NULL;
    DpRig *r = rig_new(0, 1);
    uint8_t *at;
    int fd = g_file_open_tmp("vhost-dp-XXXXXX", &path, NULL);

    close(fd);
    set(r, DP_RX, 0x01020304, 0x05060708);
    bytes = save(r, path);
    close(r->sock);
    r->sock = -1;
    dp_rig_quit(r);

    at = memmem(bytes->data, bytes->len, section, strlen(section));
    g_assert_nonnull(at);
    /* Name, version, then the number of queues and the parameters */
    at += strlen(section) + 4;
    g_assert_cmpuint(lduw_be_p(at), ==, 2);

    g_assert_false(load_fails(r, path, DEVICE));
    g_assert_true(load_fails(r, path, "notf_coal=off,vq_notf_coal=off"));
    /* Any numbers will do as parameters */
    memset(at + 2, 0xff, 4 * 8);
    g_assert_true(g_file_set_contents(path, (gchar *)bytes->data, bytes->len,
                                      NULL));
    g_assert_false(load_fails(r, path, DEVICE));
    /* But there are two queues, and not more */
    stw_be_p(at, 0xffff);
    g_assert_true(g_file_set_contents(path, (gchar *)bytes->data, bytes->len,
                                      NULL));
    g_assert_true(load_fails(r, path, DEVICE));
    unlink(path);
    dp_rig_free(r);
}

/* ---- Properties ---- */

static void test_properties(const void *opaque)
{
    static const struct {
        const char *netdev, *device;
        const char *says[3];
    } table[] = {
        { "-netdev hubport,id=vd0,hubid=0", "notf_coal=on",
          { "notf_coal=on", "'vd0'", "hubport" } },
        { "-netdev hubport,id=vd0,hubid=0", "vq_notf_coal=on",
          { "vq_notf_coal=on", "'vd0'", "hubport" } },
        { DP_NETDEV, "notf_coal=on,ctrl_vq=off",
          { "notf_coal=on", "ctrl_vq", "control queue" } },
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        DpGuest *guest = dp_guest_new("%s", table[i].netdev);
        g_auto(GStrv) options = g_strsplit(table[i].device, ",", -1);
        g_autoptr(QDict) args = qdict_new();
        unsigned k;

        qdict_put_str(args, "driver", "virtio-net-pci");
        qdict_put_str(args, "netdev", "vd0");
        for (k = 0; options[k]; k++) {
            g_auto(GStrv) parts = g_strsplit(options[k], "=", 2);

            qdict_put_bool(args, parts[0], !strcmp(parts[1], "on"));
        }
        dp_check_error(qtest_qmp(guest->qts, "{ 'execute': 'device_add',"
                                 " 'arguments': %p }",
                                 qobject_ref(QOBJECT(args))),
                       table[i].says[0], table[i].says[1], table[i].says[2],
                       NULL);
        dp_guest_free(guest);
    }
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("coalesce/commands", NULL, test_commands);
    dp_add_ring_test("coalesce/bad-commands", NULL, test_bad_commands);
    dp_add_test("coalesce/not-negotiated", NULL, test_not_negotiated);
    dp_add_ring_test("coalesce/packets", NULL, test_packets);
    dp_add_test("coalesce/packets-polling", NULL, test_packets_polling);
    dp_add_ring_test("coalesce/time", NULL, test_time);
    dp_add_test("coalesce/time-polling", NULL, test_time_polling);
    dp_add_ring_test("coalesce/change", NULL, test_change);
    dp_add_ring_test("coalesce/suppressed", NULL, test_suppressed);
    dp_add_ring_test("coalesce/event-idx", NULL, test_event_idx);
    dp_add_ring_test("coalesce/rounds", NULL, test_rounds);
    dp_add_ring_test("coalesce/no-buffers", NULL, test_no_buffers);
    dp_add_ring_test("coalesce/stop", NULL, test_stop);
    dp_add_ring_test("coalesce/queue-reset", NULL, test_queue_reset);
    dp_add_ring_test("coalesce/under-traffic", NULL, test_under_traffic);
    dp_add_ring_test("coalesce/migration", NULL, test_migration);
    dp_add_test("coalesce/hostile-stream", NULL, test_hostile_stream);
    dp_add_test("coalesce/properties", NULL, test_properties);
    return g_test_run();
}
