/*
 * vhost-dp: qtests, drivers of one end of a veth pair
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include "veth.h"

/* ---- The rig ---- */

DpRig *dp_veth_rig(DpGuest *guest, uint64_t features, unsigned pairs)
{
    DpRig *r = g_new0(DpRig, 1);

    r->pairs = pairs;
    r->guest = guest;
    r->qts = guest->qts;
    r->sock = dp_sock_open("v1", true);
    r->features = DP_FEATURES_DEFAULT | features;
    if (pairs > 1) {
        r->features |= DP_FEATURE(VIRTIO_NET_F_MQ) |
                       DP_FEATURE(VIRTIO_NET_F_CTRL_VQ);
    }
    r->nic = dp_nic_new(guest, DP_SLOT, r->features);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    if (pairs > 1) {
        dp_nic_set_pairs(r->nic, pairs);
    }
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    return r;
}

DpRig *dp_veth_start(const char *object, uint64_t features, unsigned pairs)
{
    return dp_veth_rig(dp_guest_new("-object %s "
                                    "-netdev vhost-dp,id=vd0,driver=v0,"
                                    "queues=%u "
                                    DP_DEVICE "disable-legacy=on%s", object,
                                    pairs, pairs > 1 ? ",mq=on" : ""),
                       features, pairs);
}

/* The kernel sees changes of a link some time later, and drops frames before */
static void wait_running(void)
{
    dp_if_wait_running("v0");
    dp_if_wait_running("v1");
}

void dp_veth_use_peer(DpRig *r)
{
    close(r->sock);
    r->sock = dp_sock_open("v1", true);
    wait_running();
}

void dp_veth_renew(DpRig *r, unsigned queues)
{
    dp_veth_new_queues("v0", "v1", queues);
    dp_veth_use_peer(r);
    dp_wait_until(dp_link_is(r, true, NULL));
}

/* ---- Frames ---- */

void dp_veth_send(DpRig *r, size_t len)
{
    static const struct virtio_net_hdr no_offload;

    dp_sock_send(r->sock, &no_offload, r->frame, len);
}

void dp_veth_check_arrives(DpRig *r, size_t len)
{
    struct virtio_net_hdr hdr;
    size_t got = dp_sock_recv(r->sock, DP_ETHERTYPE, &hdr, r->got,
                              DP_MAX_FRAME, DP_TIMEOUT_US);

    dp_assert_frame(r->got, got, r->frame, len);
    g_assert_cmpint(hdr.flags | hdr.gso_type, ==, 0);
}

/* r->frame is to be what the guest receives */
static void check_received(DpRig *r, size_t len)
{
    size_t got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

    dp_assert_frame(r->got, got, r->frame, len);
}

void dp_veth_check_receive(DpRig *r, size_t len, unsigned seed)
{
    dp_post(r->nic, 1, r->nic->hdr_len + len);
    dp_make_frame(r->frame, len, seed);
    dp_veth_send(r, len);
    check_received(r, len);
}

void dp_veth_check_transmit(DpRig *r, size_t len, unsigned seed)
{
    dp_make_frame(r->frame, len, seed);
    dp_transmit(r->nic, NULL, r->frame, len);
    dp_veth_check_arrives(r, len);
}

bool dp_veth_has_frame(DpRig *r)
{
    int64_t end = g_get_monotonic_time() + G_USEC_PER_SEC;

    while (!dp_has_used(r->rx) && g_get_monotonic_time() < end) {
        g_usleep(100);
    }
    return dp_has_used(r->rx);
}

unsigned dp_veth_find_received(DpRig *r)
{
    unsigned i;

    for (i = 0; i < r->pairs; i++) {
        if (dp_has_used(&r->nic->queue[2 * i + DP_RX])) {
            break;
        }
    }
    return i;
}

/* ---- What every driver has to do ---- */

void dp_veth_check_frames(DpRig *r)
{
    static const size_t sizes[] = { 14, 15, 60, 64, 256, 257, 1000, 1514 };
    uint64_t bytes = 0;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        dp_veth_check_transmit(r, sizes[i], i);
        dp_veth_check_receive(r, sizes[i], i + 100);
        bytes += sizes[i];
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", ARRAY_SIZE(sizes));
    dp_wait_counter(r->qts, "vd0", DP_TX, "bytes", bytes);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", ARRAY_SIZE(sizes));
    dp_wait_counter(r->qts, "vd0", DP_RX, "bytes", bytes);
}

void dp_veth_check_many(DpRig *r, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        dp_veth_check_transmit(r, 60 + i % 200, i);
        dp_veth_check_receive(r, 60 + i % 200, i + 1);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", n);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", n);
}

unsigned dp_veth_check_overrun(DpRig *r, unsigned n)
{
    unsigned i, got;

    dp_make_frame(r->frame, 100, 1);
    for (i = 0; i < n; i++) {
        dp_veth_send(r, 100);
    }
    dp_post(r->nic, 1, 200);
    for (got = 0; dp_veth_has_frame(r); got++) {
        check_received(r, 100);
        dp_post(r->nic, 1, 200);
    }
    g_assert_cmpuint(got, <, n);
    return got;
}

void dp_veth_check_link(DpRig *r)
{
    unsigned i;

    for (i = 0; i < 3; i++) {
        g_assert_true(dp_link_is(r, true, NULL));
        dp_if_down("v0");
        dp_wait_until(dp_link_is(r, false, "'v0' is down"));
        dp_if_up("v0");
        dp_wait_until(dp_link_is(r, true, NULL));
        wait_running();
        dp_veth_check_transmit(r, 100, i);

        dp_if_down("v1");
        dp_wait_until(dp_link_is(r, false, "no carrier"));
        dp_if_up("v1");
        dp_wait_until(dp_link_is(r, true, NULL));
        dp_veth_use_peer(r);
        dp_veth_check_transmit(r, 100, i);
        if (r->pairs == 1) {
            dp_veth_check_receive(r, 100, i);
        }
    }
}

void dp_veth_check_deleted(DpRig *r, unsigned queues, void (*check)(DpRig *r))
{
    DpUsage before = dp_usage(r->qts);
    unsigned i, pair;

    for (i = 0; i < 3; i++) {
        dp_change_under_traffic(r, dp_if_delete, "v0", "deleted");
        dp_veth_renew(r, queues);
        check(r);
        for (pair = 0; pair < r->pairs; pair++) {
            dp_make_frame(r->frame, 100 + i, pair);
            dp_transmit_on(r->nic, pair, NULL, r->frame, 100 + i);
            dp_veth_check_arrives(r, 100 + i);
        }
        if (r->pairs == 1) {
            dp_veth_check_receive(r, 300, i);
        }
    }
    dp_check_usage(r->qts, before);
}

void dp_veth_check_deleted_with_frames(DpRig *r, unsigned n)
{
    dp_if_delete("v0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    dp_veth_renew(r, 1);
    dp_wait_until(dp_counter(r->qts, "vd0", DP_RX, "drop:link-down") +
                  dp_counter(r->qts, "vd0", DP_RX, "drop:stopped") == n);
}

/* A frame each way on one of several NICs */
static void check_both_ways(DpNic *nic, int sock, unsigned seed)
{
    uint8_t frame[200], got[300];
    size_t len;

    dp_make_frame(frame, sizeof(frame), seed);
    dp_post(nic, 1, 300);
    dp_sock_send(sock, NULL, frame, sizeof(frame));
    dp_check_transmit(nic, sock, 100, seed);
    len = dp_receive(nic, NULL, got, sizeof(got));
    dp_assert_frame(got, len, frame, sizeof(frame));
}

void dp_veth_check_side_by_side(DpGuest *guest, const char *const *peers,
                                unsigned n)
{
    g_autofree DpNic **nic = g_new0(DpNic *, n);
    g_autofree int *sock = g_new0(int, n);
    unsigned i, round;

    for (i = 0; i < n; i++) {
        sock[i] = dp_sock_open(peers[i], false);
        nic[i] = dp_nic_new(guest, DP_SLOT + i, DP_FEATURES_DEFAULT);
    }
    for (round = 0; round < 50; round++) {
        for (i = 0; i < n; i++) {
            check_both_ways(nic[i], sock[i], round + 100 * i);
        }
    }
    for (i = 0; i < n; i++) {
        g_autofree char *netdev = g_strdup_printf("vd%u", i);

        dp_wait_counter(guest->qts, netdev, DP_TX, "packets", 50);
        dp_wait_counter(guest->qts, netdev, DP_RX, "packets", 50);
        dp_nic_free(nic[i]);
        close(sock[i]);
    }
    dp_guest_free(guest);
}

/* ---- Options, and descriptors from outside ---- */

static void check_refused(QTestState *qts, const DpBad *bad,
                          const char *command)
{
    qtest_qmp_send_raw(qts, "%s", command);
    dp_check_error(qtest_qmp_receive(qts), bad->texts[0], bad->texts[1],
                   bad->texts[2], bad->texts[3], NULL);
}

void dp_check_bad(QTestState *qts, const DpBad *bad, const char *del_driver)
{
    DpUsage before = dp_usage(qts);
    int fd[ARRAY_SIZE(bad->open)];
    unsigned n;

    for (n = 0; n < ARRAY_SIZE(fd) && bad->open[n]; n++) {
        fd[n] = bad->open[n]();
    }
    dp_send_fds(qts, fd, n);
    if (bad->netdev) {
        dp_run_good(qts, bad->driver);
        check_refused(qts, bad, bad->netdev);
        dp_run_good(qts, del_driver);
    } else {
        check_refused(qts, bad, bad->driver);
    }
    if (bad->kept) {
        dp_close_fds(qts, n);
    }
    dp_check_usage(qts, before);
}

void dp_check_good(QTestState *qts, const char *add_driver,
                   const char *add_netdev, const char *del_driver)
{
    DpUsage before = dp_usage(qts);

    dp_run_good(qts, add_driver);
    dp_run_good(qts, add_netdev);
    dp_run_good(qts, DP_DEL_NETDEV);
    dp_run_good(qts, del_driver);
    dp_check_usage(qts, before);
}

int dp_open_udp(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

int dp_open_null(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}
