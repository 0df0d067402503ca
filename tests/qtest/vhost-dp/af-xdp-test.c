/*
 * vhost-dp: qtests of vhost-dp-af-xdp
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver uses one end of a veth pair: see veth.h.
 */

#include "qemu/osdep.h"
#include <bpf/bpf.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "af-xdp-host.h"
#include "veth.h"

static void add_test(const char *path, const void *data,
                     void (*fn)(const void *data))
{
    g_autofree char *full = g_strdup_printf("af-xdp/%s", path);

    dp_add_test(full, data, fn);
}

/* ---- The rig ---- */

/*
 * The other end has to put VLAN tags into the frames, where the program does
 * not: it is somebody else's, or runs in the network stack.
 */
static void new_veth(unsigned queues)
{
    dp_veth_new_queues("v0", "v1", queues);
    dp_vlan_set_offload("v1", false);
}

/* QEMU on v0, with more options of the driver */
static DpRig *rig_start(uint64_t features, unsigned pairs, const char *options)
{
    g_autofree char *object = g_strdup_printf("vhost-dp-af-xdp,id=v0%s",
                                              options);

    return dp_veth_start(object, features, pairs);
}

static DpRig *rig_new(uint64_t features, const char *options)
{
    new_veth(1);
    return rig_start(features, 1, options);
}

static char *get_interface(QTestState *qts)
{
    QDict *info = dp_query(qts, "vd0");
    char *text = g_strdup(qdict_get_str(info, "interface"));

    qobject_unref(info);
    return text;
}

/* ---- Frames ---- */

/* @opaque: more options of the driver */
static void test_frames(const void *opaque)
{
    const char *options = opaque;
    DpRig *r = rig_new(0, options);

    dp_veth_check_frames(r);
    if (strstr(options, "mode")) {
        g_autofree char *text = get_interface(r->qts);

        g_assert_nonnull(strstr(text, options + 1));
    }
    dp_rig_free(r);
}

/* Of several chunks, where the kernel has it; or they are dropped, counted */
static void test_large_frames(const void *opaque)
{
    static const size_t sizes[] = {
        1515, 3840, 3841, 4096, 4097, 8192, 9014, 20000, 65535, 65549,
    };
    uint64_t max;
    QDict *info;
    DpRig *r;
    unsigned i;

    new_veth(1);
    dp_if_set_mtu("v0", 65535);
    dp_if_set_mtu("v1", 65535);
    r = rig_start(0, 1, opaque);
    info = dp_query(r->qts, "vd0");
    max = qdict_get_int(info, "max-frame");
    qobject_unref(info);
    g_assert_cmpuint(max, >=, 4096);
    g_test_message("max-frame %" PRIu64, max);
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        if (sizes[i] <= max) {
            dp_veth_check_transmit(r, sizes[i], i);
        } else {
            uint64_t n = dp_counter(r->qts, "vd0", DP_TX, "drop:too-large");

            dp_make_frame(r->frame, sizes[i], i);
            dp_transmit(r->nic, NULL, r->frame, sizes[i]);
            dp_wait_counter(r->qts, "vd0", DP_TX, "drop:too-large", n + 1);
        }
        if (max > 4096) {
            dp_veth_check_receive(r, sizes[i], i + 100);
        }
    }
    /* More than there are chunks */
    for (i = 0; i < 100 && max > 65535; i++) {
        dp_veth_check_transmit(r, 65549, i);
        dp_veth_check_receive(r, 65549, i + 50);
    }
    dp_rig_free(r);
}

/* Many times as many as the rings have entries, in order */
static void test_many(const void *opaque)
{
    DpRig *r = rig_new(0, "");

    dp_veth_check_many(r, 3000);
    dp_rig_free(r);
}

/* Bursts that fill the ring, each frame scattered over three buffers */
static void test_bursts(const void *opaque)
{
    enum { FRAMES = 20, LEN = 900 };
    unsigned round, i;
    uint64_t addr;
    DpRig *r;

    r = rig_new(0, "");
    addr = dp_alloc(r->guest, FRAMES * 1024);
    for (round = 0; round < 50; round++) {
        for (i = 0; i < FRAMES; i++) {
            uint64_t at = addr + i * 1024;
            DpBuf bufs[] = {
                { .addr = at, .len = r->nic->hdr_len },
                { .addr = at + r->nic->hdr_len, .len = 1 + i },
                { .addr = at + r->nic->hdr_len + 1 + i, .len = LEN - 1 - i },
            };

            memset(dp_host(r->guest, at), 0, r->nic->hdr_len);
            dp_make_frame((uint8_t *)dp_host(r->guest, at) + r->nic->hdr_len,
                          LEN, i + round);
            dp_add(r->tx, bufs, 3);
        }
        dp_publish(r->tx);
        for (i = 0; i < FRAMES; i++) {
            dp_wait_used(r->tx, NULL);
            dp_make_frame(r->frame, LEN, i + round);
            dp_veth_check_arrives(r, LEN);
        }
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 50 * FRAMES);
    dp_rig_free(r);
}

/* All that was sent is either received or counted */
static void test_lost(const void *opaque)
{
    const unsigned n = 3000;
    DpRig *r = rig_new(0, opaque);
    unsigned got = dp_veth_check_overrun(r, n);

    g_assert_cmpuint(got, >=, 1000);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", got);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:no-buffer", n - got);
    dp_veth_check_receive(r, 100, 2);
    dp_rig_free(r);
}

/* ---- Offloads, in software: virtio 1.3, section 5.1.6.2 ---- */

static void test_checksum(const void *opaque)
{
    static const uint8_t protos[] = { IPPROTO_UDP, IPPROTO_TCP };
    struct virtio_net_hdr hdr, got_hdr;
    size_t got;
    DpRig *r;
    unsigned i;

    r = rig_new(DP_FEATURE(VIRTIO_NET_F_CSUM), "");
    for (i = 0; i < ARRAY_SIZE(protos); i++) {
        hdr = dp_make_hdr(protos[i], VIRTIO_NET_HDR_GSO_NONE, 0);
        dp_make_ip_frame(r->frame, 801, protos[i], i);
        g_assert_false(dp_checksum_ok(r->frame, 801));
        dp_transmit(r->nic, &hdr, r->frame, 801);
        got = dp_sock_recv(r->sock, ETH_P_IP, &got_hdr, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        dp_checksum_complete(r->frame, 801, &hdr);
        dp_assert_frame(r->got, got, r->frame, 801);
        g_assert_true(dp_checksum_ok(r->got, got));
        g_assert_cmpint(got_hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, ==, 0);
    }
    dp_rig_free(r);
}

/* What the guest left to be segmented is on the wire in segments */
static void test_tso(const void *opaque)
{
    const size_t headers = DP_IP_HEADERS(IPPROTO_TCP);
    const size_t mss = 1448, len = headers + 40 * mss + 100;
    struct virtio_net_hdr hdr = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, mss);
    size_t at, got, n;
    DpRig *r;

    r = rig_new(DP_FEATURE(VIRTIO_NET_F_CSUM) |
                DP_FEATURE(VIRTIO_NET_F_HOST_TSO4), "");
    dp_make_ip_frame(r->frame, len, IPPROTO_TCP, 1);
    dp_transmit(r->nic, &hdr, r->frame, len);
    for (at = headers; at < len; at += n) {
        struct virtio_net_hdr got_hdr;

        n = MIN(mss, len - at);
        got = dp_sock_recv(r->sock, ETH_P_IP, &got_hdr, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        g_assert_cmpuint(got, ==, headers + n);
        g_assert_true(dp_checksum_ok(r->got, got));
        g_assert_cmpuint(ldl_be_p(r->got + 14 + 20 + 4), ==,
                         1000 + at - headers);
        g_assert_cmpmem(r->got + headers, n, r->frame + at, n);
        g_assert_cmpint(got_hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
    }
    dp_rig_free(r);
}

/* ---- The interface goes and comes ---- */

static void test_link(const void *opaque)
{
    DpRig *r = rig_new(0, "");

    dp_veth_check_link(r);
    dp_rig_free(r);
}

static void check_has_prog(DpRig *r)
{
    g_assert_cmpuint(dp_xdp_prog_id("v0"), !=, 0);
}

/* @opaque: number of queue pairs */
static void test_deleted(const void *opaque)
{
    const unsigned pairs = *(const unsigned *)opaque;
    DpRig *r;

    dp_veth_new_queues("v0", "v1", pairs);
    r = rig_start(0, pairs, "");
    dp_veth_check_deleted(r, pairs, check_has_prog);
    dp_rig_free(r);
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, 0);
}

/* Frames that wait for the guest when the interface goes are counted */
static void test_deleted_with_frames(const void *opaque)
{
    unsigned i;
    DpRig *r;

    r = rig_new(0, "");
    for (i = 0; i < 5; i++) {
        dp_make_frame(r->frame, 100, i);
        dp_veth_send(r, 100);
    }
    /* The engine has them, and no buffers */
    g_usleep(DP_QUIET_US);
    dp_veth_check_deleted_with_frames(r, 5);
    for (i = 0; i < 2000; i++) {
        dp_veth_check_receive(r, 100 + i % 7, i);
    }
    dp_veth_check_transmit(r, 100, 1);
    dp_rig_free(r);
}

/* ---- Several queues ---- */

/*
 * Flows are spread over the pairs as the other end spreads them, and stay
 * where they are.  (With mode=skb a veth interface has but queue 0.)
 */
static void test_two_pairs(const void *opaque)
{
    unsigned count[2] = {};
    unsigned i, round, pair;
    unsigned of_flow[64];
    size_t len;
    DpRig *r;

    dp_veth_new_queues("v0", "v1", 2);
    r = rig_start(0, 2, opaque);
    for (i = 0; i < 2; i++) {
        dp_post_on(r->nic, i, 30, 300);
        dp_make_frame(r->frame, 100, i);
        dp_transmit_on(r->nic, i, NULL, r->frame, 100);
        dp_veth_check_arrives(r, 100);
        dp_wait_counter(r->qts, "vd0", 2 * i + DP_TX, "packets", 1);
    }
    for (round = 0; round < 2; round++) {
        for (i = 0; i < ARRAY_SIZE(of_flow); i++) {
            dp_make_ip_frame(r->frame, 200, IPPROTO_UDP, round);
            stw_be_p(r->frame + 34, 1000 + i);
            dp_veth_send(r, 200);
            dp_wait_until((pair = dp_veth_find_received(r)) < 2);
            len = dp_receive_on(r->nic, pair, NULL, r->got, DP_MAX_FRAME);
            dp_assert_frame(r->got, len, r->frame, 200);
            dp_post_on(r->nic, pair, 1, 300);
            count[pair]++;
            if (round == 0) {
                of_flow[i] = pair;
            }
            g_assert_cmpuint(of_flow[i], ==, pair);
        }
    }
    g_test_message("%u and %u frames", count[0], count[1]);
    g_assert_cmpuint(count[0], >, 0);
    g_assert_cmpuint(count[1], >, 0);
    dp_rig_free(r);
}

/* Queue 1 is the guest's, queue 0 stays the host's */
static void test_start_queue(const void *opaque)
{
    unsigned guest = 0, host = 0;
    struct virtio_net_hdr hdr;
    unsigned i;
    int sock;
    DpRig *r;

    dp_veth_new_queues("v0", "v1", 2);
    r = rig_start(0, 1, ",start-queue=1");
    sock = dp_sock_open("v0", true);
    dp_post(r->nic, 60, 300);
    for (i = 0; i < 50; i++) {
        dp_make_ip_frame(r->frame, 200, IPPROTO_UDP, 1);
        stw_be_p(r->frame + 34, 1000 + i);
        dp_veth_send(r, 200);
    }
    for (; dp_veth_has_frame(r); guest++) {
        dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    }
    /* The rest of them has come by now */
    while (dp_sock_recv(sock, ETH_P_IP, &hdr, r->got, DP_MAX_FRAME,
                        DP_QUIET_US)) {
        host++;
    }
    g_test_message("%u for the guest, %u for the host", guest, host);
    g_assert_cmpuint(guest, >, 0);
    g_assert_cmpuint(host, >, 0);
    g_assert_cmpuint(guest + host, ==, 50);
    close(sock);
    dp_rig_free(r);
}

static void test_side_by_side(const void *opaque)
{
    static const char *const peers[] = { "v1", "w1", "tap0" };

    dp_veth_new("v0", "v1");
    dp_veth_new("w0", "w1");
    dp_veth_check_side_by_side(dp_guest_new("-object iothread,id=io0 "
        "-object vhost-dp-af-xdp,id=v0 -object vhost-dp-af-xdp,id=w0 "
        "-object vhost-dp-tap,id=tap0 "
        "-netdev vhost-dp,id=vd0,driver=v0,iothread=io0 "
        "-netdev vhost-dp,id=vd1,driver=w0,iothread=io0 "
        "-netdev vhost-dp,id=vd2,driver=tap0,iothread=io0 "
        "-device virtio-net-pci,netdev=vd0,addr=04.0,romfile= "
        "-device virtio-net-pci,netdev=vd1,addr=05.0,romfile= "
        "-device virtio-net-pci,netdev=vd2,addr=06.0,romfile="), peers, 3);
}

/* ---- The end of the program ---- */

/* However QEMU ends, the interface is the host's again */
static void test_end_of_qemu(const void *opaque)
{
    const int signal = *(const int *)opaque;
    g_autofree char *command = NULL;
    g_auto(GStrv) argv = NULL;
    GPid pid;

    dp_veth_new("v0", "v1");
    command = g_strdup_printf("%s -M none -nodefaults -display none "
                              "-object vhost-dp-af-xdp,id=v0 "
                              "-netdev vhost-dp,id=vd0,driver=v0",
                              getenv("QTEST_QEMU_BINARY"));
    g_assert_true(g_shell_parse_argv(command, NULL, &argv, NULL));
    g_assert_true(g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD,
                                NULL, NULL, &pid, NULL));
    dp_wait_until(dp_xdp_prog_id("v0") != 0);
    g_assert_cmpint(kill(pid, signal), ==, 0);
    g_assert_cmpint(RETRY_ON_EINTR(waitpid(pid, NULL, 0)), ==, pid);
    dp_wait_until(dp_xdp_prog_id("v0") == 0);
}

/* ---- Options, and descriptors from outside ---- */

#define ADD_DRIVER(options) DP_ADD_DRIVER("vhost-dp-af-xdp", "v0", options)
#define ADD_NETDEV(options) DP_ADD_NETDEV("v0", options)
#define DEL_DRIVER DP_DEL_DRIVER("v0")

/* A queue is not free at once when its socket was closed */
static void test_claimed_again(const void *opaque)
{
    QTestState *qts;
    DpUsage before;
    unsigned i;

    new_veth(2);
    qts = dp_qemu_new(NULL);
    before = dp_usage(qts);
    dp_run_good(qts, ADD_DRIVER("'mode': 'skb'"));
    for (i = 0; i < 5; i++) {
        dp_run_good(qts, ADD_NETDEV(", 'queues': 2"));
        g_assert_cmpuint(dp_xdp_prog_id("v0"), !=, 0);
        dp_run_good(qts, DP_DEL_NETDEV);
        g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, 0);
    }
    dp_run_good(qts, DEL_DRIVER);
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

static int open_good(void)
{
    return dp_xdp_socket_new(-1, 0);
}

/* It has a ring that QEMU would make, so somebody else uses it */
static int open_used(void)
{
    int fd = open_good();
    int n = 64;

    g_assert_cmpint(setsockopt(fd, 283 /* SOL_XDP */, 2 /* XDP_RX_RING */, &n,
                               sizeof(n)), ==, 0);
    return fd;
}

static int open_other_namespace(void)
{
    int ours = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int fd;

    g_assert_cmpint(unshare(CLONE_NEWNET), ==, 0);
    fd = open_good();
    g_assert_cmpint(setns(ours, CLONE_NEWNET), ==, 0);
    close(ours);
    return fd;
}

#define SOCK_FDS(list) ADD_DRIVER("'inhibit': true, 'sock-fds': '" list "'")

static const DpBad bads[] = {
    { "missing", ADD_DRIVER("'ifname': 'nosuch0'"), ADD_NETDEV(""),
      { "'v0'", "ifname=nosuch0", "no such interface" } },
    { "loopback", ADD_DRIVER("'ifname': 'lo', 'mode': 'native'"),
      ADD_NETDEV(""), { "'v0'", "ifname=lo", "mode=native" } },
    { "name-too-long", ADD_DRIVER("'ifname': 'a123456789012345'"), NULL,
      { "'v0'", "ifname=a123456789012345", "15" } },
    { "name-empty", ADD_DRIVER("'ifname': ''"), NULL, { "'v0'", "ifname=" } },
    { "mode", ADD_DRIVER("'mode': 'fast'"), NULL, { "mode", "fast" } },
    { "start-queue", ADD_DRIVER("'start-queue': 2"), ADD_NETDEV(""),
      { "'v0'", "ifname=v0", "start-queue=2", "queue 2" } },
    { "start-queue-too-large", ADD_DRIVER("'start-queue': 40000"), NULL,
      { "'v0'", "start-queue=40000", "32767" } },
    { "too-many-queues", ADD_DRIVER("'start-queue': 0"),
      ADD_NETDEV(", 'queues': 257"), { "queues=257", "1 to 256" } },
    { "no-permission", ADD_DRIVER("'start-queue': 0"), ADD_NETDEV(""),
      { "'v0'", "ifname=v0", "no permission" }, .unprivileged = true },
    { "inhibit-alone", ADD_DRIVER("'inhibit': true"), NULL,
      { "'v0'", "inhibit=on", "sock-fds=", "map-path=" } },
    { "sock-fds-alone", ADD_DRIVER("'sock-fds': '3'"), NULL,
      { "'v0'", "sock-fds=3", "inhibit=on" } },
    { "map-path-alone", ADD_DRIVER("'map-path': '/x'"), NULL,
      { "'v0'", "map-path=/x", "inhibit=on" } },
    { "map-start-index-alone", ADD_DRIVER("'map-start-index': 1"), NULL,
      { "'v0'", "map-start-index=1", "map-path=" } },
    { "both",
      ADD_DRIVER("'inhibit': true, 'sock-fds': '3', 'map-path': '/x'"), NULL,
      { "'v0'", "sock-fds=3", "map-path=/x", "exclude" } },
    { "map-path-missing",
      ADD_DRIVER("'inhibit': true, 'map-path': '/nosuch/map'"), ADD_NETDEV(""),
      { "'v0'", "map-path=/nosuch/map", "cannot open" } },
    { "sock-fds-empty", SOCK_FDS(""), NULL,
      { "'v0'", "sock-fds=", "empty" } },
    { "sock-fds-hole", SOCK_FDS("3::5"), NULL,
      { "'v0'", "sock-fds=3::5", "descriptor 2 is empty" } },
    { "sock-fds-unknown", SOCK_FDS("nosuch"), ADD_NETDEV(""),
      { "'v0'", "sock-fds=nosuch" } },
    { "sock-fds-stdin", SOCK_FDS("0"), ADD_NETDEV(""),
      { "'v0'", "sock-fds=0", "not an AF_XDP socket" } },
    { "sock-fds-udp", SOCK_FDS("a"), ADD_NETDEV(""),
      { "'v0'", "sock-fds=a", "not an AF_XDP socket" }, { dp_open_udp } },
    { "sock-fds-dev-null", SOCK_FDS("a"), ADD_NETDEV(""),
      { "'v0'", "sock-fds=a", "not an AF_XDP socket" }, { dp_open_null } },
    { "sock-fds-used", SOCK_FDS("a"), ADD_NETDEV(""),
      { "'v0'", "ifname=v0", "in use already" }, { open_used } },
    { "sock-fds-namespace", SOCK_FDS("a"), ADD_NETDEV(""),
      { "'v0'", "sock-fds=a", "network namespace" },
      { open_other_namespace } },
    { "sock-fds-too-many", SOCK_FDS("a:b"), ADD_NETDEV(""),
      { "'v0'", "sock-fds=a:b", "2 descriptors", "queues=1" },
      { open_good, open_good }, .kept = true },
};

/* What is wrong is said; QEMU goes on */
static void test_bad(const void *opaque)
{
    const DpBad *bad = opaque;
    QTestState *qts = dp_qemu_new(bad->unprivileged ?
                                  dp_qemu_unprivileged() : NULL);

    new_veth(2);
    dp_check_bad(qts, bad, DEL_DRIVER);
    if (!bad->unprivileged) {
        dp_check_good(qts, ADD_DRIVER("'start-queue': 0"), ADD_NETDEV(""),
                      DEL_DRIVER);
    }
    qtest_quit(qts);
}

/* There is an XDP program already, and when it is gone it works */
static void test_bad_busy(const void *opaque)
{
    static const DpBad busy = {
        "busy", ADD_DRIVER("'start-queue': 0"), ADD_NETDEV(""),
        { "'v0'", "ifname=v0", "has an XDP program already" },
    };
    QTestState *qts = dp_qemu_new(NULL);
    int map, link;

    new_veth(2);
    map = dp_xdp_map_new(1);
    link = dp_xdp_prog_attach(map);
    dp_check_bad(qts, &busy, DEL_DRIVER);
    close(link);
    close(map);
    dp_wait_until(dp_xdp_prog_id("v0") == 0);
    dp_check_good(qts, busy.driver, busy.netdev, DEL_DRIVER);
    qtest_quit(qts);
}

/* No memory may be locked */
static void test_bad_no_memlock(const void *opaque)
{
    static const DpBad no_memlock = {
        "sock-fds-no-memlock", SOCK_FDS("a"), ADD_NETDEV(""),
        { "'v0'", "ifname=v0", "no permission to lock 6144 KiB" },
        { open_good },
    };
    struct rlimit memlock, none;
    QTestState *qts;

    g_assert_cmpint(getrlimit(RLIMIT_MEMLOCK, &memlock), ==, 0);
    none = memlock;
    none.rlim_cur = 0;
    g_assert_cmpint(setrlimit(RLIMIT_MEMLOCK, &none), ==, 0);
    qts = dp_qemu_new(dp_qemu_unprivileged());
    g_assert_cmpint(setrlimit(RLIMIT_MEMLOCK, &memlock), ==, 0);
    new_veth(2);
    dp_check_bad(qts, &no_memlock, DEL_DRIVER);
    qtest_quit(qts);
}

/* QEMU without privileges uses what it was given, again and again */
static void test_sock_fds(const void *opaque)
{
    int fd[2], map, link;
    QTestState *qts;
    DpUsage before;
    unsigned i;

    qts = dp_qemu_new(dp_qemu_unprivileged());
    new_veth(2);
    map = dp_xdp_map_new(2);
    link = dp_xdp_prog_attach(map);
    for (i = 0; i < 2; i++) {
        fd[i] = dp_xdp_socket_new(map, i);
    }
    before = dp_usage(qts);
    dp_send_fds(qts, fd, 2);
    dp_run_good(qts, SOCK_FDS("a:b"));
    for (i = 0; i < 3; i++) {
        g_autofree char *text = NULL;

        dp_run_good(qts, ADD_NETDEV(", 'queues': 2"));
        text = get_interface(qts);
        g_assert_cmpstr(text, ==,
                        "ifname=v0,start-queue=0,sock-fds=a:b,copy");
        dp_run_good(qts, DP_DEL_NETDEV);
    }
    dp_run_good(qts, DEL_DRIVER);
    dp_check_usage(qts, before);
    qtest_quit(qts);
    close(link);
    close(map);
}

/* The same with a guest.  The sockets end with their interface. */
static void test_unprivileged(const void *opaque)
{
    const char *qemu = opaque;
    g_autofree char *options = NULL;
    int map, link, fd;
    unsigned i;
    DpRig *r;

    new_veth(1);
    map = dp_xdp_map_new(1);
    link = dp_xdp_prog_attach(map);
    fd = dp_xdp_socket_new(map, 0);
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    options = g_strdup_printf("-object vhost-dp-af-xdp,id=v0,inhibit=on,"
                              "sock-fds=%d "
                              "-netdev vhost-dp,id=vd0,driver=v0 "
                              DP_DEVICE "disable-legacy=on", fd);
    r = dp_veth_rig(dp_guest_new_env(qemu, options), 0, 1);
    close(fd);
    for (i = 0; i < 3; i++) {
        dp_veth_check_transmit(r, 100, i);
        dp_veth_check_receive(r, 100, i);
        dp_rig_restart(r);
    }
    dp_if_delete("v0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    close(link);
    new_veth(1);
    dp_wait_until(dp_link_is(r, false, "sock-fds="));
    dp_rig_free(r);
    close(map);
}

/* Somebody else's program and map, QEMU's sockets */
static void test_map_path(const void *opaque)
{
    g_autofree char *dir = NULL;
    g_autofree char *path = NULL;
    g_autofree char *options = NULL;
    int map, link;
    DpRig *r;

    dir = dp_bpf_fs_mount();
    path = g_strdup_printf("%s/xsks", dir);
    options = g_strdup_printf(",inhibit=on,map-path=%s", path);
    new_veth(1);
    map = dp_xdp_map_new(1);
    link = dp_xdp_prog_attach(map);
    g_assert_cmpint(bpf_obj_pin(map, path), ==, 0);
    r = rig_start(0, 1, options);
    dp_veth_check_transmit(r, 100, 1);
    dp_veth_check_receive(r, 100, 2);
    dp_rig_free(r);
    close(link);
    close(map);
    dp_bpf_fs_unmount(dir);
}

/* What map-path= names is no map of sockets, or has too few of them */
static void test_map_path_bad(const void *opaque)
{
    static const char *const texts[][2] = {
        { "cannot open the map", "map-path=" },
        { "not a map of AF_XDP sockets", "map-path=" },
        { "the map has no entry 5", "map-path=" },
    };
    g_autofree char *dir = NULL;
    QTestState *qts;
    DpUsage before;
    int array, map;
    unsigned i;

    dir = dp_bpf_fs_mount();
    new_veth(1);
    array = bpf_map_create(BPF_MAP_TYPE_ARRAY, "test", sizeof(uint32_t),
                           sizeof(int), 8, NULL);
    map = dp_xdp_map_new(2);
    qts = dp_qemu_new(NULL);
    before = dp_usage(qts);
    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        g_autofree char *path = i ? g_strdup_printf("%s/map%u", dir, i) :
                                    g_strdup("/dev/null");
        g_autofree char *driver = g_strdup_printf(
            ADD_DRIVER("'inhibit': true, 'map-path': '%s',"
                       " 'map-start-index': 5"), path);

        if (i) {
            g_assert_cmpint(bpf_obj_pin(i == 1 ? array : map, path), ==, 0);
        }
        dp_run_good(qts, driver);
        qtest_qmp_send_raw(qts, "%s", ADD_NETDEV(""));
        dp_check_error(qtest_qmp_receive(qts), "'v0'", texts[i][0],
                       texts[i][1], path, NULL);
        dp_run_good(qts, DEL_DRIVER);
    }
    dp_check_usage(qts, before);
    qtest_quit(qts);
    close(array);
    close(map);
    dp_bpf_fs_unmount(dir);
}

static const unsigned one = 1, two = 2;
static const int sigterm = SIGTERM, sigkill = SIGKILL;

static void add_frame_tests(void)
{
    add_test("frames", "", test_frames);
    add_test("frames-native", ",mode=native", test_frames);
    add_test("frames-skb", ",mode=skb", test_frames);
    add_test("frames-force-copy", ",force-copy=on", test_frames);
    add_test("large-frames-native", ",mode=native", test_large_frames);
    add_test("large-frames-skb", ",mode=skb", test_large_frames);
    add_test("many", NULL, test_many);
    add_test("bursts", NULL, test_bursts);
    add_test("lost-native", ",mode=native", test_lost);
    add_test("lost-skb", ",mode=skb", test_lost);
    add_test("checksum", NULL, test_checksum);
    add_test("tso", NULL, test_tso);
    add_test("two-pairs-native", ",mode=native", test_two_pairs);
    add_test("start-queue", NULL, test_start_queue);
    add_test("side-by-side", NULL, test_side_by_side);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    dp_skip_all(dp_why_no_driver("vhost-dp-af-xdp"));
    add_frame_tests();
    add_test("link", NULL, test_link);
    add_test("deleted", &one, test_deleted);
    add_test("deleted-two-pairs", &two, test_deleted);
    add_test("deleted-with-frames", NULL, test_deleted_with_frames);
    add_test("sigterm", &sigterm, test_end_of_qemu);
    add_test("sigkill", &sigkill, test_end_of_qemu);
    add_test("claimed-again", NULL, test_claimed_again);
    for (i = 0; i < ARRAY_SIZE(bads); i++) {
        g_autofree char *path = g_strdup_printf("bad/%s", bads[i].name);

        add_test(path, &bads[i], test_bad);
    }
    add_test("bad/busy", NULL, test_bad_busy);
    add_test("bad/sock-fds-no-memlock", NULL, test_bad_no_memlock);
    add_test("sock-fds", NULL, test_sock_fds);
    add_test("unprivileged", dp_qemu_unprivileged(), test_unprivileged);
    dp_add_sandbox_test("af-xdp/sandbox", test_unprivileged);
    add_test("map-path", NULL, test_map_path);
    add_test("map-path-bad", NULL, test_map_path_bad);
    return g_test_run();
}
