/*
 * vhost-dp: qtests of starting, stopping, plugging and unplugging
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whatever is done to the machine, the netdev or the interface: QEMU goes on,
 * frames flow again when they can, and no thread or descriptor is left.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include <linux/if_tun.h>
#include "libqos/pci-pc.h"
#include "qobject/qlist.h"
#include "guest.h"

/* How often things are repeated that may leak or race */
#define ROUNDS dp_rounds(5)

static void qmp(QTestState *qts, const char *command)
{
    qtest_qmp_assert_success(qts, "{ 'execute': %s }", command);
}

static void set_link(QTestState *qts, const char *name, bool up)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'set_link', 'arguments': {"
                             " 'name': %s, 'up': %i } }", name, up);
}

static void add_tap(QTestState *qts, const char *id)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'vhost-dp-tap', 'id': %s } }", id);
}

static void add_tap_fd(QTestState *qts, const char *id, const char *fd)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'vhost-dp-tap', 'id': %s,"
                             " 'fd': %s } }", id, fd);
}

static void del_object(QTestState *qts, const char *id)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-del',"
                             " 'arguments': { 'id': %s } }", id);
}

static void add_netdev(QTestState *qts, const char *id, const char *driver)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                             " 'type': 'vhost-dp', 'id': %s,"
                             " 'driver': %s } }", id, driver);
}

static void del_netdev(QTestState *qts, const char *id)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_del',"
                             " 'arguments': { 'id': %s } }", id);
}

static void add_device(QTestState *qts, const char *id, const char *netdev,
                       unsigned slot)
{
    g_autofree char *addr = g_strdup_printf("%02x.0", slot);

    qtest_qmp_device_add(qts, "virtio-net-pci", id,
                         "{ 'netdev': %s, 'addr': %s, 'romfile': '',"
                         " 'disable-legacy': 'on' }", netdev, addr);
}

static void check_both_ways(DpNic *nic, int sock)
{
    dp_check_transmit(nic, sock, 321, 1);
    dp_check_receive(nic, sock, 321, 2);
}

/* The rig's NIC anew, after something took the old one away */
static void rig_replace_nic(DpRig *r)
{
    dp_nic_free(r->nic);
    r->nic = dp_nic_new(r->guest, DP_SLOT, DP_FEATURES_DEFAULT);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
}

/* ---- The machine ---- */

/* Frames before, during and after a stop */
static void test_stop_cont(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    size_t size = r->nic->hdr_len + 100;
    DpBuf buf = { .addr = dp_alloc(r->guest, size), .len = size };
    uint8_t *p = dp_host(r->guest, buf.addr);
    unsigned i;
    size_t len;

    for (i = 0; i < ROUNDS; i++) {
        g_autofree char *state = NULL;

        check_both_ways(r->nic, r->sock);
        qmp(r->qts, "stop");
        state = dp_queue_state(r->qts, "vd0", DP_TX);
        g_assert_cmpstr(state, ==, "stopped");

        /* What the guest had made available when it was stopped */
        memset(p, 0, r->nic->hdr_len);
        dp_make_frame(p + r->nic->hdr_len, 100, 100 + i);
        dp_add(r->tx, &buf, 1);
        dp_publish(r->tx);
        dp_post(r->nic, 2, 2048);
        dp_make_frame(r->frame, 100, i);
        dp_sock_send(r->sock, NULL, r->frame, 100);
        g_usleep(DP_QUIET_US / 3);
        g_assert_false(dp_get_used(r->rx, NULL, NULL));
        g_assert_false(dp_get_used(r->tx, NULL, NULL));

        qmp(r->qts, "cont");
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, len, r->frame, 100);
        dp_wait_used(r->tx, NULL);
        len = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        dp_assert_frame(r->got, len, p + r->nic->hdr_len, 100);

        /* The other buffer */
        dp_sock_send(r->sock, NULL, r->frame, 100);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, len, r->frame, 100);
    }
    dp_rig_free(r);
}

/* Stopped in the middle of traffic: every frame is used once, in order */
static void test_stop_cont_busy(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    size_t size = r->nic->hdr_len + 100;
    uint64_t addr = dp_alloc(r->guest, DP_RING_SIZE * size);
    unsigned round, i, n = 0;
    size_t len;

    for (round = 0; round < 20; round++) {
        for (i = 0; i < DP_RING_SIZE; i++) {
            DpBuf buf = { .addr = addr + i * size, .len = size };
            uint8_t *p = dp_host(r->guest, buf.addr);

            memset(p, 0, r->nic->hdr_len);
            dp_make_frame(p + r->nic->hdr_len, 100, n + i);
            dp_add(r->tx, &buf, 1);
        }
        dp_publish(r->tx);
        qmp(r->qts, "stop");
        qmp(r->qts, "cont");
        for (i = 0; i < DP_RING_SIZE; i++) {
            dp_wait_used(r->tx, NULL);
            dp_make_frame(r->frame, 100, n++);
            len = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                               DP_MAX_FRAME, DP_TIMEOUT_US);
            dp_assert_frame(r->got, len, r->frame, 100);
        }
        g_assert_false(dp_get_used(r->tx, NULL, NULL));
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", n);
    dp_rig_free(r);
}

static void test_system_reset(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    DpUsage before;
    unsigned i;

    check_both_ways(r->nic, r->sock);
    before = dp_usage(r->qts);
    for (i = 0; i < ROUNDS; i++) {
        dp_post(r->nic, 10, 2048);
        qtest_system_reset(r->qts);
        dp_guest_was_reset(r->guest);
        rig_replace_nic(r);
        check_both_ways(r->nic, r->sock);
    }
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* The guest's driver is loaded again and again, with other features */
static void test_device_reset(const void *opaque)
{
    static const uint64_t features[] = {
        0,
        DP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
        DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
        DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
            DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM),
    };
    DpRig *r = dp_rig_new(0);
    DpUsage before = dp_usage(r->qts);
    unsigned i;

    for (i = 0; i < 10 * ARRAY_SIZE(features); i++) {
        check_both_ways(r->nic, r->sock);
        /* Buffers and frames that are there when the reset comes */
        dp_post(r->nic, 10, 2048);
        dp_nic_reset(r->nic);
        dp_nic_start(r->nic, DP_FEATURES_DEFAULT |
                     features[i % ARRAY_SIZE(features)]);
    }
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* ---- set_link ---- */

/* Without a link it is virtio-net itself that takes frames, and drops them */
static void transmit_without_link(DpNic *nic)
{
    DpQueue *q = &nic->queue[DP_TX];
    size_t len = nic->hdr_len + 60;
    DpBuf buf = { .addr = dp_alloc(nic->guest, len), .len = len };
    uint8_t *p = dp_host(nic->guest, buf.addr);

    memset(p, 0, nic->hdr_len);
    dp_make_frame(p + nic->hdr_len, 60, 1);
    dp_add(q, &buf, 1);
    dp_publish(q);
    dp_wait_used(q, NULL);
}

/* Frames of before may come first; returns how many did */
static unsigned check_receive_at_last(DpRig *r)
{
    unsigned stale = 0;

    dp_make_frame(r->frame, 400, 7);
    dp_sock_send(r->sock, NULL, r->frame, 400);
    for (;;) {
        size_t len;

        dp_post(r->nic, 1, 2048);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        if (len == 400) {
            dp_assert_frame(r->got, len, r->frame, 400);
            return stale;
        }
        stale++;
    }
}

static void test_set_link(const void *opaque)
{
    const char *name = opaque;
    DpRig *r = dp_rig_start(&(DpSetup) { .msix = true }, false);
    unsigned i;

    g_assert_true(dp_nic_link(r->nic));
    for (i = 0; i < ROUNDS; i++) {
        check_both_ways(r->nic, r->sock);
        dp_config_interrupted(r->nic);
        set_link(r->qts, name, false);
        dp_wait_until(!dp_nic_link(r->nic));
        dp_wait_until(dp_config_interrupted(r->nic));

        /* Nothing arrives at either end; the guest gets its buffers back */
        transmit_without_link(r->nic);
        dp_make_frame(r->frame, 60, 1);
        g_assert_cmpuint(dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                      DP_MAX_FRAME, DP_QUIET_US), ==, 0);
        dp_post(r->nic, 1, 2048);
        dp_sock_send(r->sock, NULL, r->frame, 60);
        dp_wait_counter(r->qts, "vd0", DP_RX, "drop:link-down", i + 1);
        g_assert_false(dp_get_used(r->rx, NULL, NULL));

        set_link(r->qts, name, true);
        dp_wait_until(dp_nic_link(r->nic));
        dp_wait_until(dp_config_interrupted(r->nic));
        g_assert_cmpuint(check_receive_at_last(r), ==, 0);
        dp_nic_reset(r->nic);
        dp_nic_start(r->nic, DP_FEATURES_DEFAULT);
    }
    dp_rig_free(r);
}

/* It drops one frame after the other, and the queue is in order afterwards */
static void test_drop_without_link(const void *opaque)
{
    const uint64_t *features = opaque;
    DpRig *r = dp_rig_new(*features);
    unsigned i;

    check_both_ways(r->nic, r->sock);
    set_link(r->qts, "vd0", false);
    dp_wait_until(!dp_nic_link(r->nic));
    for (i = 0; i < 3 * DP_RING_SIZE; i++) {
        transmit_without_link(r->nic);
    }
    set_link(r->qts, "vd0", true);
    dp_wait_until(dp_nic_link(r->nic));
    check_both_ways(r->nic, r->sock);
    g_assert_cmphex(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET, ==,
                    0);
    dp_rig_free(r);
}

/* Descriptors that form a circle: without a link, too, the queue stops */
static void test_circle_without_link(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    DpQueue *q = r->tx;
    unsigned i;

    set_link(r->qts, "vd0", false);
    dp_wait_until(!dp_nic_link(r->nic));
    for (i = 0; i < q->pci.vq.size; i++) {
        virtq_add_packed_desc(&q->ring, dp_alloc(r->guest, 64), 64, i,
                              VRING_DESC_F_NEXT);
    }
    dp_publish(q);
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    dp_rig_free(r);
}

/* Off when the guest starts, and across a stop of the machine */
static void test_set_link_at_start(const void *opaque)
{
    DpRig *r = dp_rig_new(0);

    dp_nic_reset(r->nic);
    set_link(r->qts, "vd0", false);
    dp_nic_start(r->nic, DP_FEATURES_DEFAULT);
    dp_wait_until(!dp_nic_link(r->nic));
    qmp(r->qts, "stop");
    qmp(r->qts, "cont");
    g_usleep(DP_QUIET_US);
    g_assert_false(dp_nic_link(r->nic));
    set_link(r->qts, "vd0", true);
    dp_wait_until(dp_nic_link(r->nic));
    check_both_ways(r->nic, r->sock);
    dp_rig_free(r);
}

/* ---- The interface ---- */

/* Deleted by somebody: the link goes down, and one can see why */
static void test_tap_deleted(const void *opaque)
{
    const char *after = opaque;         /* what the guest does then */
    DpRig *r = dp_rig_new(0);
    DpUsage before;
    QDict *info;

    check_both_ways(r->nic, r->sock);
    dp_post(r->nic, 2, 2048);
    before = dp_usage(r->qts);
    dp_if_delete("tap0");
    if (!strcmp(after, "transmit")) {
        transmit_without_link(r->nic);
    }
    dp_wait_until(!dp_nic_link(r->nic));
    info = dp_query(r->qts, "vd0");
    g_assert_false(qdict_get_bool(info, "link-up"));
    g_assert_nonnull(strstr(qdict_get_str(info, "link-reason"), "deleted"));
    qobject_unref(info);

    /* set_link cannot bring it back */
    set_link(r->qts, "vd0", false);
    set_link(r->qts, "vd0", true);
    g_usleep(DP_QUIET_US);
    g_assert_false(dp_nic_link(r->nic));

    transmit_without_link(r->nic);
    qmp(r->qts, "stop");
    qmp(r->qts, "cont");
    g_assert_false(dp_nic_link(r->nic));
    dp_check_usage(r->qts, before);

    /* It takes a new netdev */
    qpci_unplug_acpi_device_test(r->qts, "nic", DP_SLOT);
    del_netdev(r->qts, "vd0");
    add_netdev(r->qts, "vd0", "tap0");
    add_device(r->qts, "nic", "vd0", DP_SLOT);
    close(r->sock);
    r->sock = dp_sock_open("tap0", false);
    rig_replace_nic(r);
    check_both_ways(r->nic, r->sock);
    dp_rig_free(r);
}

/* ---- Plugging ---- */

static void test_hotplug(const void *opaque)
{
    DpGuest *guest = dp_guest_new("%s", "");
    QTestState *qts = guest->qts;
    DpUsage before = dp_usage(qts);
    unsigned i;

    for (i = 0; i < ROUNDS; i++) {
        DpNic *nic;
        int sock;

        add_tap(qts, "tap0");
        add_netdev(qts, "vd0", "tap0");
        add_device(qts, "nic", "vd0", DP_SLOT);
        sock = dp_sock_open("tap0", false);
        nic = dp_nic_new(guest, DP_SLOT, DP_FEATURES_DEFAULT);
        check_both_ways(nic, sock);
        dp_post(nic, 5, 2048);

        qpci_unplug_acpi_device_test(qts, "nic", DP_SLOT);
        del_netdev(qts, "vd0");
        g_assert_null(dp_query(qts, "vd0"));
        del_object(qts, "tap0");
        dp_wait_until(!dp_if_exists("tap0"));
        dp_nic_free(nic);
        close(sock);
        dp_check_usage(qts, before);
    }
    dp_guest_free(guest);
}

/* The netdev goes while the NIC is there: the NIC is left with a dead link */
static void test_netdev_del_first(const void *opaque)
{
    DpGuest *guest = dp_guest_new("%s", "");
    QTestState *qts = guest->qts;
    DpUsage before = dp_usage(qts);
    g_autofree uint8_t *frame = g_malloc(100);
    unsigned i;

    dp_make_frame(frame, 100, 1);
    for (i = 0; i < ROUNDS; i++) {
        DpNic *nic;
        int sock;

        add_tap(qts, "tap0");
        add_netdev(qts, "vd0", "tap0");
        add_device(qts, "nic", "vd0", DP_SLOT);
        sock = dp_sock_open("tap0", false);
        nic = dp_nic_new(guest, DP_SLOT, DP_FEATURES_DEFAULT);
        check_both_ways(nic, sock);

        del_netdev(qts, "vd0");
        dp_wait_until(!dp_nic_link(nic));
        dp_post(nic, 1, 2048);
        dp_sock_send(sock, NULL, frame, 100);
        transmit_without_link(nic);
        g_usleep(DP_QUIET_US / 3);
        g_assert_false(dp_get_used(&nic->queue[DP_RX], NULL, NULL));
        set_link(qts, "nic", true);
        qmp(qts, "stop");
        qmp(qts, "cont");
        dp_nic_reset(nic);
        dp_nic_start(nic, DP_FEATURES_DEFAULT);

        qpci_unplug_acpi_device_test(qts, "nic", DP_SLOT);
        g_assert_null(dp_query(qts, "vd0"));
        del_object(qts, "tap0");
        dp_nic_free(nic);
        close(sock);
        dp_check_usage(qts, before);
    }
    dp_guest_free(guest);
}

/* In the middle of traffic, both ways */
static void test_hotplug_busy(const void *opaque)
{
    DpGuest *guest = dp_guest_new("-object vhost-dp-tap,id=tap0");
    QTestState *qts = guest->qts;
    DpUsage before = dp_usage(qts);
    g_autofree uint8_t *frame = g_malloc(1000);
    unsigned i, k;

    dp_make_frame(frame, 1000, 1);
    for (i = 0; i < ROUNDS; i++) {
        DpBuf buf = { .addr = dp_alloc(guest, 1024), .len = 1012 };
        DpNic *nic;
        int sock;

        add_netdev(qts, "vd0", "tap0");
        add_device(qts, "nic", "vd0", DP_SLOT);
        sock = dp_sock_open("tap0", false);
        nic = dp_nic_new(guest, DP_SLOT, DP_FEATURES_DEFAULT);
        memset(dp_host(guest, buf.addr), 0, 12);
        memcpy(dp_host(guest, buf.addr + 12), frame, 1000);
        for (k = 0; k < DP_RING_SIZE; k++) {
            dp_add(&nic->queue[DP_TX], &buf, 1);
        }
        dp_post(nic, DP_RING_SIZE / 2, 2048);
        for (k = 0; k < DP_RING_SIZE; k++) {
            dp_sock_send(sock, NULL, frame, 1000);
        }
        dp_publish(&nic->queue[DP_TX]);

        if (i % 2) {
            del_netdev(qts, "vd0");
            qpci_unplug_acpi_device_test(qts, "nic", DP_SLOT);
        } else {
            qpci_unplug_acpi_device_test(qts, "nic", DP_SLOT);
            del_netdev(qts, "vd0");
        }
        dp_nic_free(nic);
        close(sock);
        dp_check_usage(qts, before);
    }
    dp_guest_free(guest);
}

/* Netdevs without a NIC */
static void test_netdev_alone(const void *opaque)
{
    QTestState *qts = qtest_init("-M pc -nodefaults");
    DpUsage before;
    unsigned i;

    add_tap(qts, "tap0");
    before = dp_usage(qts);
    for (i = 0; i < 20; i++) {
        add_netdev(qts, "vd0", "tap0");
        set_link(qts, "vd0", i % 2);
        del_netdev(qts, "vd0");
    }
    dp_check_usage(qts, before);
    add_netdev(qts, "vd0", "tap0");
    qmp(qts, "stop");
    qtest_system_reset(qts);
    qmp(qts, "cont");
    qtest_quit(qts);
}

/* The three options of the command line in any order */
static void test_order(const void *opaque)
{
    const char *options = opaque;
    DpGuest *guest = dp_guest_new("%s", options);
    int sock = dp_sock_open("tap0", false);
    DpNic *nic = dp_nic_new(guest, DP_SLOT, DP_FEATURES_DEFAULT);

    check_both_ways(nic, sock);
    dp_nic_free(nic);
    dp_guest_free(guest);
    close(sock);
}

/* ---- IOThreads ---- */

static void check_iothread(QTestState *qts, const char *id, const char *want)
{
    QDict *info = dp_query(qts, id);
    QDict *pair = qobject_to(QDict, qlist_peek(qdict_get_qlist(info,
                                                               "queues")));
    g_autofree char *task = NULL;

    g_assert_cmpstr(qdict_get_str(pair, "iothread"), ==, want);
    task = g_strdup_printf("/proc/%d/task/%d", (int)qtest_pid(qts),
                           (int)qdict_get_int(pair, "thread-id"));
    g_assert_true(g_file_test(task, G_FILE_TEST_IS_DIR));
    qobject_unref(info);
}

#define DEVICE_N(netdev, id, addr) \
    "-device virtio-net-pci,netdev=" netdev ",id=" id ",addr=" addr \
    ",romfile=,disable-legacy=on "

/* Two NICs on one IOThread, which the user takes away while they run */
static void test_shared_iothread(const void *opaque)
{
    DpGuest *guest = dp_guest_new(
        "-object iothread,id=io0 "
        "-object vhost-dp-tap,id=tap0 -object vhost-dp-tap,id=tap1 "
        "-netdev vhost-dp,id=vd0,driver=tap0,iothread=io0 "
        "-netdev vhost-dp,id=vd1,driver=tap1,iothread=io0 "
        DEVICE_N("vd0", "nic0", "04.0") DEVICE_N("vd1", "nic1", "05.0"));
    QTestState *qts = guest->qts;
    int sock0 = dp_sock_open("tap0", false);
    int sock1 = dp_sock_open("tap1", false);
    DpNic *nic0 = dp_nic_new(guest, 4, DP_FEATURES_DEFAULT);
    DpNic *nic1 = dp_nic_new(guest, 5, DP_FEATURES_DEFAULT);
    DpUsage before = dp_usage(qts);
    unsigned i;

    check_iothread(qts, "vd0", "io0");
    check_iothread(qts, "vd1", "io0");
    for (i = 0; i < 20; i++) {
        check_both_ways(nic0, sock0);
        check_both_ways(nic1, sock1);
    }

    del_object(qts, "io0");
    check_both_ways(nic0, sock0);
    check_both_ways(nic1, sock1);

    qpci_unplug_acpi_device_test(qts, "nic0", 4);
    del_netdev(qts, "vd0");
    check_both_ways(nic1, sock1);
    qpci_unplug_acpi_device_test(qts, "nic1", 5);
    del_netdev(qts, "vd1");

    /* The thread went with its last user */
    before.threads--;
    dp_check_usage(qts, before);
    dp_nic_free(nic0);
    dp_nic_free(nic1);
    dp_guest_free(guest);
    close(sock0);
    close(sock1);
}

/* By default each has a thread of its own */
static void test_own_iothreads(const void *opaque)
{
    DpGuest *guest = dp_guest_new(
        "-object vhost-dp-tap,id=tap0 -object vhost-dp-tap,id=tap1 "
        "-netdev vhost-dp,id=vd0,driver=tap0 "
        "-netdev vhost-dp,id=vd1,driver=tap1 "
        DEVICE_N("vd0", "nic0", "04.0") DEVICE_N("vd1", "nic1", "05.0"));
    int sock0 = dp_sock_open("tap0", false);
    int sock1 = dp_sock_open("tap1", false);
    DpNic *nic0 = dp_nic_new(guest, 4, DP_FEATURES_DEFAULT);
    DpNic *nic1 = dp_nic_new(guest, 5, DP_FEATURES_DEFAULT);

    check_iothread(guest->qts, "vd0", "dp-vd0");
    check_iothread(guest->qts, "vd1", "dp-vd1");
    check_both_ways(nic0, sock0);
    check_both_ways(nic1, sock1);
    dp_nic_free(nic0);
    dp_nic_free(nic1);
    dp_guest_free(guest);
    close(sock0);
    close(sock1);
}

/* ---- Descriptors from outside ---- */

/* The descriptor stays with the object: it can be claimed again */
static void check_fd(const char *qemu, bool by_getfd)
{
    int fd = dp_tap_open("mytap", IFF_VNET_HDR);
    g_autofree char *number = g_strdup_printf("%d", fd);
    DpGuest *guest;
    QTestState *qts;
    DpUsage before;
    int sock, i;

    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    guest = dp_guest_new_env(qemu, "");
    qts = guest->qts;
    if (by_getfd) {
        qtest_qmp_fds_assert_success(qts, &fd, 1, "{ 'execute': 'getfd',"
                                     " 'arguments': { 'fdname': 'foo' } }");
        add_tap_fd(qts, "drv0", "foo");
    } else {
        add_tap_fd(qts, "drv0", number);
    }
    close(fd);
    before = dp_usage(qts);

    for (i = 0; i < ROUNDS; i++) {
        g_autofree char *interface = NULL;
        QDict *info;
        DpNic *nic;

        add_netdev(qts, "vd0", "drv0");
        add_device(qts, "nic", "vd0", DP_SLOT);
        sock = dp_sock_open("mytap", false);
        nic = dp_nic_new(guest, DP_SLOT, DP_FEATURES_DEFAULT);
        check_both_ways(nic, sock);
        info = dp_query(qts, "vd0");
        interface = g_strdup(qdict_get_str(info, "interface"));
        g_assert_nonnull(strstr(interface, "ifname=mytap"));
        if (dp_has_io_uring()) {
            /* The sandbox allows it */
            g_assert_cmpstr(qdict_get_str(info, "io"), ==, "io-uring");
        }
        qobject_unref(info);
        qpci_unplug_acpi_device_test(qts, "nic", DP_SLOT);
        del_netdev(qts, "vd0");
        dp_nic_free(nic);
        close(sock);
        dp_check_usage(qts, before);
    }

    /* One of QEMU's is the object's, and the interface goes with it */
    del_object(qts, "drv0");
    if (by_getfd) {
        before.fds--;
        dp_check_usage(qts, before);
    }
    dp_guest_free(guest);
    dp_wait_until(!dp_if_exists("mytap"));
}

static void test_fd_by_getfd(const void *opaque)
{
    check_fd(NULL, true);
}

static void test_fd_inherited(const void *opaque)
{
    check_fd(NULL, false);
}

static void test_fd_sandboxed(const void *qemu)
{
    check_fd(qemu, true);
}

int main(int argc, char **argv)
{
    static const uint64_t none;
    static const uint64_t in_order = DP_FEATURE(VIRTIO_F_IN_ORDER);
    static const DpSetup plain;
    static const DpSetup event_idx = {
        .features = DP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
    };
    static const DpSetup legacy = {
        .device = "disable-legacy=off,disable-modern=on",
    };

    dp_test_init(&argc, &argv);
    dp_add_ring_test("stop-cont/plain", &plain, test_stop_cont);
    dp_add_ring_test("stop-cont/event-idx", &event_idx, test_stop_cont);
    dp_add_test("stop-cont/legacy", &legacy, test_stop_cont);
    dp_add_ring_test("stop-cont/busy", &plain, test_stop_cont_busy);
    dp_add_ring_test("stop-cont/busy-event-idx", &event_idx,
                     test_stop_cont_busy);
    dp_add_ring_test("system-reset", NULL, test_system_reset);
    dp_add_ring_test("device-reset", NULL, test_device_reset);
    dp_add_ring_test("set-link/netdev", "vd0", test_set_link);
    dp_add_test("set-link/nic", "nic", test_set_link);
    dp_add_test("set-link/at-start", NULL, test_set_link_at_start);
    dp_add_ring_test("tap-deleted/idle", "nothing", test_tap_deleted);
    dp_add_ring_test("tap-deleted/transmit", "transmit", test_tap_deleted);
    dp_add_ring_test("set-link/drop", &none, test_drop_without_link);
    dp_add_ring_test("set-link/drop-in-order", &in_order,
                     test_drop_without_link);
    dp_add_packed_test("set-link/circle", NULL, test_circle_without_link);
    dp_add_ring_test("hotplug/in-order", NULL, test_hotplug);
    dp_add_ring_test("hotplug/netdev-first", NULL, test_netdev_del_first);
    dp_add_ring_test("hotplug/busy", NULL, test_hotplug_busy);
    dp_add_test("hotplug/netdev-alone", NULL, test_netdev_alone);
    dp_add_test("order/object-netdev-device",
                DP_NETDEV DP_DEVICE "disable-legacy=on", test_order);
    dp_add_test("order/netdev-object-device",
                "-netdev vhost-dp,id=vd0,driver=tap0 "
                "-object vhost-dp-tap,id=tap0 "
                "-device virtio-net-pci,netdev=vd0,addr=04.0,romfile=",
                test_order);
    dp_add_test("order/device-netdev-object",
                "-device virtio-net-pci,netdev=vd0,addr=04.0,romfile= "
                "-netdev vhost-dp,id=vd0,driver=tap0 "
                "-object vhost-dp-tap,id=tap0", test_order);
    dp_add_ring_test("iothread/shared", NULL, test_shared_iothread);
    dp_add_test("iothread/own", NULL, test_own_iothreads);
    dp_add_test("fd/getfd", NULL, test_fd_by_getfd);
    dp_add_test("fd/inherited", NULL, test_fd_inherited);
    dp_add_sandbox_test("fd/sandbox", test_fd_sandboxed);
    return g_test_run();
}
