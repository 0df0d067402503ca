/*
 * vhost-dp: qtests of the example driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The example, which docs/devel/vhost-dp-driver.rst explains, does
 * what the page says.  The test is at the other end of a socket.
 */

#include "qemu/osdep.h"
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "guest.h"

#define NETDEV \
    "-object x-vhost-dp-example,id=ex0,path=/dev/fdset/1 " \
    "-netdev vhost-dp,id=vd0,driver=ex0 " DP_DEVICE "disable-legacy=on "

static DpRig *rig_new(uint64_t features)
{
    struct timeval timeout = { .tv_sec = DP_TIMEOUT_US / G_USEC_PER_SEC };
    DpRig *r = g_new0(DpRig, 1);
    int sv[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), ==, 0);
    g_assert_cmpint(fcntl(sv[0], F_SETFD, FD_CLOEXEC), ==, 0);
    g_assert_cmpint(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &timeout,
                               sizeof(timeout)), ==, 0);
    r->guest = dp_guest_new("-add-fd fd=%d,set=1 " NETDEV, sv[1]);
    close(sv[1]);
    r->qts = r->guest->qts;
    r->sock = sv[0];
    r->nic = dp_nic_new(r->guest, DP_SLOT, DP_FEATURES_DEFAULT | features);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    return r;
}

static void check_receive(DpRig *r, size_t len, unsigned seed)
{
    size_t got;

    dp_post(r->nic, 1, r->nic->hdr_len + len);
    dp_make_frame(r->frame, len, seed);
    g_assert_cmpint(send(r->sock, r->frame, len, 0), ==, len);
    got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, got, r->frame, len);
}

/* The frame made of @seed arrives at the test */
static void expect_frame(DpRig *r, size_t len, unsigned seed)
{
    ssize_t got = recv(r->sock, r->got, DP_MAX_FRAME, 0);

    dp_make_frame(r->frame, len, seed);
    g_assert_cmpint(got, >, 0);
    dp_assert_frame(r->got, got, r->frame, len);
}

static void test_frames(const void *opaque)
{
    static const size_t sizes[] = { 14, 60, 1514, 9216 };
    DpRig *r = rig_new(0);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        dp_make_frame(r->frame, sizes[i], i);
        dp_transmit(r->nic, NULL, r->frame, sizes[i]);
        expect_frame(r, sizes[i], i);
        check_receive(r, sizes[i], i + 100);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", ARRAY_SIZE(sizes));
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", ARRAY_SIZE(sizes));
    dp_rig_free(r);
}

/* The driver claims no offloads, and is never given one */
static void test_segments(const void *opaque)
{
    const size_t len = DP_IP_HEADERS(IPPROTO_TCP) + 20000;
    struct virtio_net_hdr hdr = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    DpRig *r = rig_new(DP_FEATURE(VIRTIO_NET_F_CSUM) |
                       DP_FEATURE(VIRTIO_NET_F_HOST_TSO4));
    size_t payload = 0;

    dp_make_ip_frame(r->frame, len, IPPROTO_TCP, 1);
    dp_transmit(r->nic, &hdr, r->frame, len);
    while (payload < 20000) {
        ssize_t got = recv(r->sock, r->got, DP_MAX_FRAME, 0);

        g_assert_cmpint(got, >, DP_IP_HEADERS(IPPROTO_TCP));
        g_assert_cmpint(got, <=, DP_IP_HEADERS(IPPROTO_TCP) + 1448);
        g_assert_true(dp_checksum_ok(r->got, got));
        got -= DP_IP_HEADERS(IPPROTO_TCP);
        dp_assert_frame(r->got + DP_IP_HEADERS(IPPROTO_TCP), got,
                        r->frame + DP_IP_HEADERS(IPPROTO_TCP) + payload, got);
        payload += got;
    }
    g_assert_cmpint(payload, ==, 20000);
    dp_wait_counter(r->qts, "vd0", DP_TX, "software-segments", 14);
    dp_rig_free(r);
}

/* A peer that does not read makes the guest wait, and loses nothing */
static void test_peer_waits(const void *opaque)
{
    const unsigned n = DP_RING_SIZE;
    const size_t len = 9000;
    DpRig *r = rig_new(0);
    unsigned i;

    for (i = 0; i < n; i++) {
        uint64_t addr = dp_alloc(r->guest, r->nic->hdr_len + len);

        memset(dp_host(r->guest, addr), 0, r->nic->hdr_len);
        dp_make_frame(dp_host(r->guest, addr + r->nic->hdr_len), len, i);
        dp_add(r->tx, &(DpBuf) { .addr = addr,
                                 .len = r->nic->hdr_len + len }, 1);
    }
    dp_publish(r->tx);
    dp_wait_used(r->tx, NULL);
    g_usleep(DP_QUIET_US);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "packets"), <, n);
    for (i = 0; i < n; i++) {
        expect_frame(r, len, i);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", n);
    dp_rig_free(r);
}

/* What is no frame is dropped and counted, and frames go on */
static void test_drops(const void *opaque)
{
    DpRig *r = rig_new(0);

    dp_post(r->nic, 4, 16384);
    memset(r->frame, 1, DP_MAX_FRAME);
    g_assert_cmpint(send(r->sock, r->frame, 13, 0), ==, 13);
    g_assert_cmpint(send(r->sock, r->frame, 9217, 0), ==, 9217);
    g_assert_cmpint(send(r->sock, r->frame, 60000, 0), ==, 60000);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:too-short", 1);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:too-large", 2);
    check_receive(r, 100, 1);
    dp_rig_free(r);
}

static void test_peer_goes(const void *opaque)
{
    DpRig *r = rig_new(0);

    check_receive(r, 100, 1);
    g_assert_true(dp_link_is(r, true, NULL));
    close(r->sock);
    r->sock = -1;
    dp_wait_until(dp_link_is(r, false, "the peer has gone"));
    dp_rig_free(r);
}

/* The same while the guest has no buffers: the frame that waits is not lost */
static void test_peer_goes_unnoticed(const void *opaque)
{
    DpRig *r = rig_new(0);
    int unread;
    size_t got;

    dp_make_frame(r->frame, 100, 1);
    g_assert_cmpint(send(r->sock, r->frame, 100, 0), ==, 100);
    dp_wait_until(ioctl(r->sock, SIOCOUTQ, &unread) == 0 && !unread);
    /* What reads and what sends is one thread: it has stopped to read now */
    dp_transmit(r->nic, NULL, r->frame, 60);
    close(r->sock);
    r->sock = -1;
    dp_transmit(r->nic, NULL, r->frame, 60);
    dp_wait_counter(r->qts, "vd0", DP_TX, "drop:driver-error", 1);
    g_assert_true(dp_link_is(r, true, NULL));

    dp_post(r->nic, 1, 1000);
    got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, got, r->frame, 100);
    dp_wait_until(dp_link_is(r, false, "the peer has gone"));
    dp_rig_free(r);
}

/* The driver can be given back and claimed again */
static void test_again(const void *opaque)
{
    DpUsage before = {};
    int sv[2];
    unsigned i;
    QTestState *qts;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), ==, 0);
    qts = qtest_initf("-M none -nodefaults -add-fd fd=%d,set=1 "
                      "-object x-vhost-dp-example,id=ex0,path=/dev/fdset/1",
                      sv[1]);
    for (i = 0; i < 3; i++) {
        qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_add',"
            " 'arguments': { 'type': 'vhost-dp', 'id': 'vd0',"
            " 'driver': 'ex0' } }");
        qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_del',"
            " 'arguments': { 'id': 'vd0' } }");
        if (i == 0) {
            before = dp_usage(qts);
        }
    }
    dp_check_usage(qts, before);
    qtest_quit(qts);
    close(sv[0]);
    close(sv[1]);
}

static void test_bad_path(const void *opaque)
{
    QTestState *qts = qtest_init("-M none -nodefaults "
        "-object x-vhost-dp-example,id=ex0,path=/nowhere/at-all");

    dp_check_error(qtest_qmp(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                             " 'type': 'vhost-dp', 'id': 'vd0',"
                             " 'driver': 'ex0' } }"),
                   "path=/nowhere/at-all", "No such file", NULL);
    dp_check_error(qtest_qmp(qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'x-vhost-dp-example', 'id': 'ex1',"
                             " 'path': 'somewhere' } }"),
                   "path=somewhere", "absolute", NULL);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("example/frames", NULL, test_frames);
    dp_add_ring_test("example/segments", NULL, test_segments);
    dp_add_test("example/peer-waits", NULL, test_peer_waits);
    dp_add_test("example/drops", NULL, test_drops);
    dp_add_test("example/peer-goes", NULL, test_peer_goes);
    dp_add_test("example/peer-goes-unnoticed", NULL,
                test_peer_goes_unnoticed);
    dp_add_test("example/again", NULL, test_again);
    dp_add_test("example/bad-path", NULL, test_bad_path);
    return g_test_run();
}
