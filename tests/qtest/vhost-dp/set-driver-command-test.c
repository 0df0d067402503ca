/*
 * vhost-dp: qtests of vhost-dp-set-driver, the command
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What moves, what it refuses, and what others learn of it.  Traffic that goes
 * on meanwhile is set-driver-test.c's.
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qemu/cutils.h"
#include "qobject/qdict.h"
#include "guest.h"
#include "commands.h"
#include "peer.h"

static const DpSetup usual = { .msix = true };

/* Without a driver in the guest, and when that begins anew */
static void test_reset(const void *opaque)
{
    DpRig *r;
    int sock;
    unsigned i;

    dp_tap_new("tap0", IFF_VNET_HDR);
    dp_tap_new("tap1", IFF_VNET_HDR);
    r = dp_rig_start(&usual, false);
    sock = dp_sock_open("tap1", false);
    dp_run_good(r->qts, ADD_DRIVER("tap", "tap1", ""));
    for (i = 0; i < 5; i++) {
        dp_check_transmit(r->nic, r->sock, 1000, i);
        dp_nic_reset(r->nic);
        dp_set_driver(r->qts, "tap1");
        dp_nic_start(r->nic, r->features);
        dp_check_transmit(r->nic, sock, 1000, i);
        dp_check_receive(r->nic, sock, 1000, i);
        dp_set_driver(r->qts, "tap0");
        dp_check_receive(r->nic, r->sock, 1000, i);
        dp_rig_restart(r);
    }
    close(sock);
    dp_rig_free(r);
}

static void test_pairs(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .null = true, .pairs = 3 }, false);
    int tap, veth;
    unsigned i, k;

    dp_tap_new("tap1", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    dp_veth_new("v0", "v1");
    tap = dp_sock_open("tap1", false);
    veth = dp_sock_open("v1", false);
    dp_run_good(r->qts, ADD_DRIVER("tap", "tap1", ""));
    dp_run_good(r->qts, ADD_DRIVER("af-packet", "v0", ""));
    dp_run_good(r->qts, ADD_DRIVER("throttle", "lim0", ", 'driver': 'v0'"));
    for (i = 0; i < 3; i++) {
        dp_set_driver(r->qts, "tap1");
        for (k = 0; k < 3; k++) {
            dp_check_transmit_on(r->nic, k, tap, 1000, i);
        }
        dp_set_driver(r->qts, "v0");
        for (k = 0; k < 3; k++) {
            dp_check_transmit_on(r->nic, k, veth, 1000, i);
        }
        dp_set_driver(r->qts, "lim0");
        for (k = 0; k < 3; k++) {
            dp_check_transmit_on(r->nic, k, veth, 1000, i);
        }
        dp_set_driver(r->qts, "null0");
    }
    close(tap);
    close(veth);
    dp_rig_free(r);
}

/* A filter on, and off, with what comes meanwhile */
static void test_filter(const void *opaque)
{
    const char *const driver = opaque;
    g_autofree char *filter = g_strdup_printf("{ 'execute': 'object-add',"
        " 'arguments': { 'qom-type': 'vhost-dp-throttle', 'id': 'lim0',"
        " 'driver': '%s' } }", driver);
    DpRig *r;
    int sock;
    unsigned i, k;

    dp_veth_new("v0", "v1");
    dp_tap_new("tap0", IFF_VNET_HDR);
    r = dp_rig_start(&usual, false);
    sock = dp_sock_open(strcmp(driver, "v0") ? "tap0" : "v1", false);
    dp_run_good(r->qts, ADD_DRIVER("af-packet", "v0", ""));
    dp_run_good(r->qts, filter);
    if (strcmp(driver, "tap0")) {
        dp_set_driver(r->qts, driver);
    }
    dp_post(r->nic, 64, 2048);
    for (i = 0; i < 20; i++) {
        /* These come while the pair is detached, or before, or after */
        for (k = 0; k < 3; k++) {
            dp_make_frame(r->frame, 1000, 3 * i + k);
            dp_sock_send(sock, NULL, r->frame, 1000);
        }
        dp_set_driver(r->qts, i % 2 ? driver : "lim0");
        for (k = 0; k < 3; k++) {
            dp_make_frame(r->frame, 1000, 3 * i + k);
            dp_assert_frame(r->got, dp_receive(r->nic, NULL, r->got,
                                               DP_MAX_FRAME), r->frame, 1000);
        }
        dp_check_transmit(r->nic, sock, 1000, i);
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "drop:stopped"), ==, 0);
    close(sock);
    dp_rig_free(r);
}

/* What the new driver cannot do is done in software, as after a migration */
static void test_offloads(const void *opaque)
{
    struct virtio_net_hdr hdr = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, 1000);
    DpRig *r;
    size_t len, headers;
    int sock;
    unsigned i;

    dp_tap_new("tap0", IFF_VNET_HDR);
    dp_tap_new("tap1", IFF_VNET_HDR);
    r = dp_rig_new(DP_FEATURE(VIRTIO_NET_F_CSUM) |
                   DP_FEATURE(VIRTIO_NET_F_HOST_TSO4));
    sock = dp_sock_open("tap1", false);
    dp_run_good(r->qts, ADD_DRIVER("tap", "tap1", ", 'offloads': false"));
    headers = dp_make_ip_frame(r->frame, 4054, IPPROTO_TCP, 1);
    dp_transmit(r->nic, &hdr, r->frame, 4054);
    len = dp_sock_recv(r->sock, ETH_P_IP, NULL, r->got, DP_MAX_FRAME,
                       DP_TIMEOUT_US);
    g_assert_cmpuint(len, ==, 4054);
    dp_set_driver(r->qts, "tap1");
    dp_transmit(r->nic, &hdr, r->frame, 4054);
    for (i = 0; i < 4; i++) {
        len = dp_sock_recv(sock, ETH_P_IP, NULL, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        g_assert_cmpuint(len, ==, headers + 1000);
        g_assert_true(dp_checksum_ok(r->got, len));
    }
    dp_set_driver(r->qts, "tap0");
    dp_transmit(r->nic, &hdr, r->frame, 4054);
    len = dp_sock_recv(r->sock, ETH_P_IP, NULL, r->got, DP_MAX_FRAME,
                       DP_TIMEOUT_US);
    g_assert_cmpuint(len, ==, 4054);
    close(sock);
    dp_rig_free(r);
}

/* ---- The command ---- */

/* The network learns where the guest is, if that is asked for */
static void test_announce(const void *opaque)
{
    DpRig *r;
    QDict *event;
    int sock;

    dp_tap_new("tap0", IFF_VNET_HDR);
    dp_tap_new("tap1", IFF_VNET_HDR);
    r = dp_rig_start(&usual, false);
    sock = dp_sock_open("tap1", false);
    dp_run_good(r->qts, ADD_DRIVER("tap", "tap1", ""));
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'vhost-dp-set-driver',"
                             " 'arguments': { 'id': 'vd0', 'driver': 'tap1',"
                             " 'announce': true } }");
    g_assert_cmpuint(dp_sock_recv(sock, ETH_P_RARP, NULL, r->got,
                                  DP_MAX_FRAME, DP_TIMEOUT_US), ==, 60);
    event = qtest_qmp_eventwait_ref(r->qts, "VHOST_DP_DRIVER_CHANGED");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(event, "data"), "driver"),
                    ==, "tap1");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(event, "data"),
                                  "old-driver"), ==, "tap0");
    qobject_unref(event);
    /* The old driver is free */
    dp_run_good(r->qts, DEL_OBJECT("tap0"));
    close(sock);
    dp_rig_free(r);
}

static void test_hmp(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .null = true }, false);
    g_autofree char *good = NULL, *bad = NULL;

    dp_run_good(r->qts, ADD_DRIVER("null", "null1", ""));
    good = qtest_hmp(r->qts, "vhost_dp_set_driver -a vd0 null1");
    g_assert_cmpstr(good, ==, "");
    dp_check_driver(r->qts, "null1");
    bad = qtest_hmp(r->qts, "vhost_dp_set_driver vd0 null2");
    g_assert_nonnull(strstr(bad, "driver=null2: there is no object"));
    dp_rig_free(r);
}

static void add_vhost_user(DpRig *r, const DpVu *v)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'object-add',"
                             " 'arguments': { 'id': 'vu0',"
                             " 'qom-type': 'vhost-dp-vhost-user',"
                             " 'path': %s } }", v->path);
}

/* The main loop waits for the command, and would not hear the peer */
static void test_hmp_peer(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    DpRig *r = dp_rig_new(0);
    g_autofree char *said = NULL;

    add_vhost_user(r, v);
    said = qtest_hmp(r->qts, "vhost_dp_set_driver vd0 vu0");
    g_assert_nonnull(strstr(said, "its peer is not connected yet"));
    g_assert_nonnull(strstr(said, "QMP"));
    dp_check_driver(r->qts, "tap0");
    dp_check_transmit(r->nic, r->sock, 1000, 1);
    dp_rig_free(r);
    dp_vu_discard(v);
}

/* What the guest does while the command waits for the peer ends no wait */
static void test_peer_awaited(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    QDict *response;
    unsigned i;
    DpRig *r;

    r = v->r = dp_rig_new(DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                          DP_FEATURE(VIRTIO_NET_F_CTRL_RX));
    add_vhost_user(r, v);
    qtest_qmp_send(r->qts, "{ 'execute': 'vhost-dp-set-driver', 'arguments': {"
                   " 'id': 'vd0', 'driver': 'vu0' } }");
    dp_peer_connect(v->peer);
    for (i = 0; i < 4; i++) {
        uint8_t on = i % 2;

        g_assert_cmpint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_RX,
                                    VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), ==,
                        VIRTIO_NET_OK);
        g_usleep(DP_QUIET_US);
        dp_check_transmit(r->nic, r->sock, 1000, i);
        dp_check_receive(r->nic, r->sock, 1000, i);
    }
    dp_peer_start(v->peer, 1);
    response = qtest_qmp_receive(r->qts);
    g_assert_true(qdict_haskey(response, "return"));
    qobject_unref(response);
    dp_check_driver(r->qts, "vu0");
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

/* The netdev keeps what it has */
static void test_errors(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    DpRig *r = dp_rig_start(&(DpSetup) {
        .pairs = 2, .filter = "", .more = "-netdev hubport,id=hub0,hubid=1",
    }, false);
    QTestState *qts = r->qts;

    dp_run_good(qts, ADD_DRIVER("null", "null1", ""));
    dp_run_good(qts, ADD_NETDEV("vd1", "null1"));
    dp_run_good(qts, ADD_DRIVER("throttle", "lim1", ", 'driver': 'null1'"));
    dp_run_good(qts, ADD_DRIVER("throttle", "lim2", ", 'driver': 'tap0'"));
    dp_run_good(qts, ADD_DRIVER("throttle", "lim4", ", 'driver': 'lim4'"));
    dp_run_good(qts, ADD_DRIVER("af-packet", "nowhere", ""));
    add_vhost_user(r, v);
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'iothread', 'id': 'io0' } }");

    dp_check_error(qtest_qmp(qts, "{ 'execute': 'vhost-dp-set-driver',"
                             " 'arguments': { 'id': 'nd9',"
                             " 'driver': 'null1' } }"),
                   "there is no netdev 'nd9'", NULL);
    dp_check_error(qtest_qmp(qts, "{ 'execute': 'vhost-dp-set-driver',"
                             " 'arguments': { 'id': 'hub0',"
                             " 'driver': 'null1' } }"),
                   "'hub0' is of type hubport", NULL);
    dp_check_error(dp_try_set_driver(qts, "lim0"), "netdev 'vd0'",
                   "driver=lim0 is what it has", NULL);
    dp_check_error(dp_try_set_driver(qts, "null9"), "netdev 'vd0'",
                   "driver=null9", "no object with this id", NULL);
    dp_check_error(dp_try_set_driver(qts, "io0"),
                   "driver=io0 is an object of type", NULL);
    dp_check_error(dp_try_set_driver(qts, "null1"),
                   "driver=null1 is in use by netdev 'vd1'", NULL);
    /* Below a filter, too, which is free again */
    dp_check_error(dp_try_set_driver(qts, "lim1"), "vhost-dp-throttle 'lim1'",
                   "driver=null1 is in use by netdev 'vd1'", NULL);
    dp_check_error(dp_try_set_driver(qts, "lim4"), "cannot stand on itself",
                   NULL);
    dp_check_error(dp_try_set_driver(qts, "nowhere"),
                   "vhost-dp-af-packet 'nowhere'", NULL);
    dp_check_error(dp_try_set_driver(qts, "vu0"), "netdev 'vd0'", "driver=vu0",
                   "its peer has not connected", NULL);
    dp_run_good(qts, DEL_OBJECT("nowhere"));
    dp_run_good(qts, DEL_OBJECT("lim1"));
    dp_run_good(qts, DEL_OBJECT("lim4"));
    dp_run_good(qts, DEL_OBJECT("vu0"));
    /* In use, by two at a time at most */
    dp_check_error(qtest_qmp(qts, DEL_OBJECT("lim0")), "in use", NULL);
    dp_check_error(qtest_qmp(qts, DEL_OBJECT("tap0")), "in use", NULL);
    dp_check_driver(qts, "lim0");
    dp_check_transmit_on(r->nic, 1, r->sock, 1000, 1);
    dp_set_driver(qts, "lim2");
    dp_run_good(qts, DEL_OBJECT("lim0"));
    dp_check_error(qtest_qmp(qts, DEL_OBJECT("tap0")), "in use", NULL);
    dp_check_transmit_on(r->nic, 1, r->sock, 1000, 2);
    dp_set_driver(qts, "tap0");
    dp_run_good(qts, DEL_OBJECT("lim2"));
    dp_check_transmit_on(r->nic, 0, r->sock, 1000, 3);
    if (!dp_why_no_driver("vhost-dp-slirp")) {
        /* It has one queue, which both pairs of the netdev share */
        dp_run_good(qts, ADD_DRIVER("slirp", "user0", ""));
        dp_set_driver(qts, "user0");
        dp_check_driver(qts, "user0");
        dp_set_driver(qts, "tap0");
    }
    dp_rig_free(r);
    dp_vu_discard(v);
}

/* By another monitor, while the command waits */
static void test_deleted(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *path = g_strdup_printf("%s/monitor", v->dir);
    g_autofree char *more =
        g_strdup_printf("-chardev socket,id=m2,path=%s,server=on,wait=off "
                        "-mon chardev=m2,mode=readline", path);
    DpRig *r = dp_rig_start(&(DpSetup) { .null = true, .more = more }, false);
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int sock = socket(AF_UNIX, SOCK_STREAM, 0);
    QDict *response;

    pstrcpy(addr.sun_path, sizeof(addr.sun_path), path);
    g_assert_cmpint(connect(sock, (struct sockaddr *)&addr, sizeof(addr)), ==,
                    0);
    dp_run_good(r->qts, ADD_DRIVER("null", "null1", ""));
    dp_run_good(r->qts, ADD_NETDEV("vd1", "null1"));
    add_vhost_user(r, v);
    qtest_qmp_send(r->qts, "{ 'execute': 'vhost-dp-set-driver', 'arguments': {"
                   " 'id': 'vd1', 'driver': 'vu0' } }");
    /* QEMU has connected, so it waits for the peer to answer */
    dp_peer_connect(v->peer);
    g_assert_cmpint(write(sock, "netdev_del vd1\n", 15), ==, 15);
    response = qtest_qmp_receive(r->qts);
    dp_check_error(response, "netdev 'vd1'", "driver=vu0",
                   "the netdev was deleted meanwhile", NULL);
    dp_run_good(r->qts, DEL_OBJECT("null1"));
    dp_run_good(r->qts, DEL_OBJECT("vu0"));
    close(sock);
    unlink(path);
    dp_rig_free(r);
    dp_vu_discard(v);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_test("set-driver/reset", NULL, test_reset);
    dp_add_test("set-driver/pairs", NULL, test_pairs);
    dp_add_test("set-driver/filter/tap", "tap0", test_filter);
    dp_add_test("set-driver/filter/af-packet", "v0", test_filter);
    dp_add_test("set-driver/offloads", NULL, test_offloads);
    dp_add_test("set-driver/announce", NULL, test_announce);
    dp_add_test("set-driver/hmp", NULL, test_hmp);
    dp_add_test("set-driver/hmp-peer", NULL, test_hmp_peer);
    dp_add_test("set-driver/peer-awaited", NULL, test_peer_awaited);
    dp_add_test("set-driver/errors", NULL, test_errors);
    dp_add_test("set-driver/deleted", NULL, test_deleted);
    return g_test_run();
}
