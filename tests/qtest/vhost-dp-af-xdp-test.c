/*
 * vhost-dp: qtests of vhost-dp-af-xdp
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver uses one end of a veth pair, v0; a packet socket of the test is
 * on the other one, v1.
 */

#include "qemu/osdep.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <net/if.h>
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "vhost-dp-guest.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif

/* ---- The host ---- */

/* A map of sockets, as the driver or somebody else makes it; or -1 */
static int map_new(unsigned entries)
{
    return bpf_map_create(BPF_MAP_TYPE_XSKMAP, "test", sizeof(uint32_t),
                          sizeof(int), entries, NULL);
}

static void add_test(const char *path, const void *data,
                     void (*fn)(const void *data))
{
    g_autofree char *full = g_strdup_printf("af-xdp/%s", path);

    dp_add_test(full, data, fn);
}

/* The XDP program of an interface, or 0 */
static uint32_t prog_id(const char *name)
{
    uint32_t id = 0;

    g_assert_cmpint(bpf_xdp_query_id(if_nametoindex(name), 0, &id), ==, 0);
    return id;
}

/*
 * Somebody else's program on v0, with @map.  Returns its link, which removes
 * it when closed.
 */
static int prog_attach(int map)
{
    struct bpf_insn insns[] = {
        { .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_2,
          .src_reg = BPF_REG_1,
          .off = offsetof(struct xdp_md, rx_queue_index) },
        { .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = BPF_REG_1,
          .src_reg = BPF_PSEUDO_MAP_FD, .imm = map },
        { },
        { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3,
          .imm = XDP_PASS },
        { .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map },
        { .code = BPF_JMP | BPF_EXIT },
    };
    LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_SKB_MODE);
    int prog = bpf_prog_load(BPF_PROG_TYPE_XDP, "test", "GPL", insns,
                             ARRAY_SIZE(insns), NULL);
    int link;

    g_assert_cmpint(prog, >=, 0);
    link = bpf_link_create(prog, if_nametoindex("v0"), BPF_XDP, &opts);
    g_assert_cmpint(link, >=, 0);
    close(prog);
    return link;
}

/* An AF_XDP socket as somebody else would open it for QEMU, in @map at @key */
static int socket_new(int map, uint32_t key)
{
    int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    if (map >= 0) {
        g_assert_cmpint(bpf_map_update_elem(map, &key, &fd, BPF_ANY), ==, 0);
    }
    return fd;
}

/* ---- The rig ---- */

static DpRig *rig_use(DpGuest *guest, uint64_t features, unsigned pairs)
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
    r->nic = dp_nic_probe(guest, DP_SLOT);
    r->nic->ring_size = DP_RING_SIZE;
    dp_nic_start(r->nic, r->features);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    if (pairs > 1) {
        dp_nic_set_pairs(r->nic, pairs);
    }
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    return r;
}

/* QEMU on v0, with more options of the driver */
static DpRig *rig_start(uint64_t features, unsigned pairs, const char *options)
{
    return rig_use(dp_guest_new("-object vhost-dp-af-xdp,id=v0%s "
                                "-netdev vhost-dp,id=vd0,driver=v0,queues=%u "
                                DP_DEVICE "disable-legacy=on%s", options, pairs,
                                pairs > 1 ? ",mq=on" : ""), features, pairs);
}

static DpRig *rig_new(uint64_t features, const char *options)
{
    dp_veth_new("v0", "v1");
    return rig_start(features, 1, options);
}

static const struct virtio_net_hdr no_offload;

/* A frame from the test to the guest, which has posted a buffer */
static void check_receive(DpRig *r, size_t len, unsigned seed)
{
    size_t got;

    dp_post(r->nic, 1, r->nic->hdr_len + len);
    dp_make_frame(r->frame, len, seed);
    dp_sock_send(r->sock, &no_offload, r->frame, len);
    got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, got, r->frame, len);
}

static void check_arrives(DpRig *r, size_t len)
{
    struct virtio_net_hdr hdr;
    size_t got = dp_sock_recv(r->sock, DP_ETHERTYPE, &hdr, r->got,
                              DP_MAX_FRAME, DP_TIMEOUT_US);

    dp_assert_frame(r->got, got, r->frame, len);
    g_assert_cmpint(hdr.flags | hdr.gso_type, ==, 0);
}

static void check_transmit(DpRig *r, size_t len, unsigned seed)
{
    dp_make_frame(r->frame, len, seed);
    dp_transmit(r->nic, NULL, r->frame, len);
    check_arrives(r, len);
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
    static const size_t sizes[] = { 14, 15, 60, 64, 256, 257, 1000, 1514 };
    const char *options = opaque;
    uint64_t bytes = 0;
    DpRig *r;
    unsigned i;

    r = rig_new(0, options);
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        check_transmit(r, sizes[i], i);
        check_receive(r, sizes[i], i + 100);
        bytes += sizes[i];
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", ARRAY_SIZE(sizes));
    dp_wait_counter(r->qts, "vd0", DP_TX, "bytes", bytes);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", ARRAY_SIZE(sizes));
    dp_wait_counter(r->qts, "vd0", DP_RX, "bytes", bytes);
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

    dp_veth_new("v0", "v1");
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
            check_transmit(r, sizes[i], i);
        } else {
            uint64_t n = dp_counter(r->qts, "vd0", DP_TX, "drop:too-large");

            dp_make_frame(r->frame, sizes[i], i);
            dp_transmit(r->nic, NULL, r->frame, sizes[i]);
            dp_wait_counter(r->qts, "vd0", DP_TX, "drop:too-large", n + 1);
        }
        if (max > 4096) {
            check_receive(r, sizes[i], i + 100);
        }
    }
    /* More than there are chunks */
    for (i = 0; i < 100 && max > 65535; i++) {
        check_transmit(r, 65549, i);
        check_receive(r, 65549, i + 50);
    }
    dp_rig_free(r);
}

/* Many times as many as the rings have entries, in order */
static void test_many(const void *opaque)
{
    const unsigned n = 3000;
    DpRig *r;
    unsigned i;

    r = rig_new(0, "");
    for (i = 0; i < n; i++) {
        check_transmit(r, 60 + i % 200, i);
        check_receive(r, 60 + i % 200, i + 1);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", n);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", n);
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
            check_arrives(r, LEN);
        }
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 50 * FRAMES);
    dp_rig_free(r);
}

/* Also if QEMU has to wait for a processor before */
static bool has_frame(DpRig *r)
{
    int64_t end = g_get_monotonic_time() + G_USEC_PER_SEC;

    while (!dp_has_used(r->rx) && g_get_monotonic_time() < end) {
        g_usleep(100);
    }
    return dp_has_used(r->rx);
}

/* All that was sent is either received or counted */
static void test_lost(const void *opaque)
{
    const unsigned n = 3000;
    unsigned i, got = 0;
    size_t len;
    DpRig *r;

    r = rig_new(0, opaque);
    dp_make_frame(r->frame, 100, 1);
    for (i = 0; i < n; i++) {
        dp_sock_send(r->sock, &no_offload, r->frame, 100);
    }
    dp_post(r->nic, 1, 200);
    while (has_frame(r)) {
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, len, r->frame, 100);
        dp_post(r->nic, 1, 200);
        got++;
    }
    g_assert_cmpuint(got, >=, 1000);
    g_assert_cmpuint(got, <, n);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", got);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:no-buffer", n - got);
    check_receive(r, 100, 2);
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

static void use_new_v1(DpRig *r)
{
    close(r->sock);
    r->sock = dp_sock_open("v1", true);
    dp_if_wait_running("v1");
}

static void test_link(const void *opaque)
{
    DpRig *r;
    unsigned i;

    r = rig_new(0, "");
    for (i = 0; i < 3; i++) {
        g_assert_true(dp_link_is(r, true, NULL));
        dp_if_down("v0");
        dp_wait_until(dp_link_is(r, false, "'v0' is down"));
        dp_if_up("v0");
        dp_wait_until(dp_link_is(r, true, NULL));
        dp_if_wait_running("v1");
        check_transmit(r, 100, i);

        dp_if_down("v1");
        dp_wait_until(dp_link_is(r, false, "no carrier"));
        dp_if_up("v1");
        dp_wait_until(dp_link_is(r, true, NULL));
        use_new_v1(r);
        check_transmit(r, 100, i);
        check_receive(r, 100, i);
    }
    dp_rig_free(r);
}

/* @opaque: number of queue pairs */
static void test_deleted(const void *opaque)
{
    const unsigned pairs = *(const unsigned *)opaque;
    DpUsage before;
    unsigned i, j;
    DpRig *r;

    dp_veth_new_queues("v0", "v1", pairs);
    r = rig_start(0, pairs, "");
    before = dp_usage(r->qts);
    for (i = 0; i < 3; i++) {
        dp_change_under_traffic(r, dp_if_delete, "v0", "deleted");
        dp_veth_new_queues("v0", "v1", pairs);
        use_new_v1(r);
        dp_wait_until(dp_link_is(r, true, NULL));
        g_assert_cmpuint(prog_id("v0"), !=, 0);
        for (j = 0; j < pairs; j++) {
            dp_make_frame(r->frame, 100, j);
            dp_transmit_on(r->nic, j, NULL, r->frame, 100);
            check_arrives(r, 100);
        }
        if (pairs == 1) {
            check_receive(r, 300, i);
        }
    }
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
    g_assert_cmpuint(prog_id("v0"), ==, 0);
}

/* Frames that wait for the guest when the interface goes are counted */
static void test_deleted_with_frames(const void *opaque)
{
    unsigned i;
    DpRig *r;

    r = rig_new(0, "");
    for (i = 0; i < 5; i++) {
        dp_make_frame(r->frame, 100, i);
        dp_sock_send(r->sock, &no_offload, r->frame, 100);
    }
    /* The engine has them, and no buffers */
    g_usleep(DP_QUIET_US);
    dp_if_delete("v0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    dp_veth_new("v0", "v1");
    use_new_v1(r);
    dp_wait_until(dp_link_is(r, true, NULL));

    dp_wait_until(dp_counter(r->qts, "vd0", DP_RX, "drop:link-down") +
                  dp_counter(r->qts, "vd0", DP_RX, "drop:stopped") == 5);
    for (i = 0; i < 2000; i++) {
        check_receive(r, 100 + i % 7, i);
    }
    check_transmit(r, 100, 1);
    dp_rig_free(r);
}

/* ---- Several queues ---- */

/* The pair that has received a frame, or 2 */
static unsigned find_received(DpRig *r)
{
    return dp_has_used(&r->nic->queue[DP_RX]) ? 0 :
           dp_has_used(&r->nic->queue[2 + DP_RX]) ? 1 : 2;
}

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
        check_arrives(r, 100);
        dp_wait_counter(r->qts, "vd0", 2 * i + DP_TX, "packets", 1);
    }
    for (round = 0; round < 2; round++) {
        for (i = 0; i < ARRAY_SIZE(of_flow); i++) {
            dp_make_ip_frame(r->frame, 200, IPPROTO_UDP, round);
            stw_be_p(r->frame + 34, 1000 + i);
            dp_sock_send(r->sock, &no_offload, r->frame, 200);
            dp_wait_until((pair = find_received(r)) < 2);
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
        dp_sock_send(r->sock, &no_offload, r->frame, 200);
    }
    for (; has_frame(r); guest++) {
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
    static const char *const netdevs[] = { "vd0", "vd1", "vd2" };
    uint8_t frame[200], got[300];
    unsigned i, round;
    DpGuest *guest;
    DpNic *nic[3];
    int sock[3];

    dp_veth_new("v0", "v1");
    dp_veth_new("w0", "w1");
    guest = dp_guest_new("-object iothread,id=io0 "
        "-object vhost-dp-af-xdp,id=v0 -object vhost-dp-af-xdp,id=w0 "
        "-object vhost-dp-tap,id=tap0 "
        "-netdev vhost-dp,id=vd0,driver=v0,iothread=io0 "
        "-netdev vhost-dp,id=vd1,driver=w0,iothread=io0 "
        "-netdev vhost-dp,id=vd2,driver=tap0,iothread=io0 "
        "-device virtio-net-pci,netdev=vd0,addr=04.0,romfile= "
        "-device virtio-net-pci,netdev=vd1,addr=05.0,romfile= "
        "-device virtio-net-pci,netdev=vd2,addr=06.0,romfile=");
    for (i = 0; i < 3; i++) {
        sock[i] = dp_sock_open(peers[i], false);
        nic[i] = dp_nic_new(guest, DP_SLOT + i, DP_FEATURES_DEFAULT);
    }
    for (round = 0; round < 50; round++) {
        for (i = 0; i < 3; i++) {
            size_t len;

            dp_make_frame(frame, 200, round + 100 * i);
            dp_post(nic[i], 1, 300);
            dp_sock_send(sock[i], NULL, frame, 200);
            dp_check_transmit(nic[i], sock[i], 100, round);
            len = dp_receive(nic[i], NULL, got, sizeof(got));
            dp_assert_frame(got, len, frame, 200);
        }
    }
    for (i = 0; i < 3; i++) {
        dp_wait_counter(guest->qts, netdevs[i], DP_TX, "packets", 50);
        dp_wait_counter(guest->qts, netdevs[i], DP_RX, "packets", 50);
        dp_nic_free(nic[i]);
        close(sock[i]);
    }
    dp_guest_free(guest);
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
    dp_wait_until(prog_id("v0") != 0);
    g_assert_cmpint(kill(pid, signal), ==, 0);
    g_assert_cmpint(RETRY_ON_EINTR(waitpid(pid, NULL, 0)), ==, pid);
    dp_wait_until(prog_id("v0") == 0);
}

/* ---- Options, and descriptors from outside ---- */

#define ADD_DRIVER(options) \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': 'vhost-dp-af-xdp', 'id': 'v0', " options " } }"
#define ADD_NETDEV(options) \
    "{ 'execute': 'netdev_add', 'arguments': {" \
    " 'type': 'vhost-dp', 'id': 'vd0', 'driver': 'v0'" options " } }"
#define DEL_NETDEV \
    "{ 'execute': 'netdev_del', 'arguments': { 'id': 'vd0' } }"
#define DEL_DRIVER \
    "{ 'execute': 'object-del', 'arguments': { 'id': 'v0' } }"

static void run_good(QTestState *qts, const char *command)
{
    QDict *response;

    qtest_qmp_send_raw(qts, "%s", command);
    response = qtest_qmp_receive(qts);
    if (!qdict_haskey(response, "return")) {
        g_error("%s: %s", command,
                qdict_get_str(qdict_get_qdict(response, "error"), "desc"));
    }
    qobject_unref(response);
}

/* A queue is not free at once when its socket was closed */
static void test_claimed_again(const void *opaque)
{
    QTestState *qts;
    DpUsage before;
    unsigned i;

    dp_veth_new_queues("v0", "v1", 2);
    qts = dp_qemu_new(NULL);
    before = dp_usage(qts);
    run_good(qts, ADD_DRIVER("'mode': 'skb'"));
    for (i = 0; i < 5; i++) {
        run_good(qts, ADD_NETDEV(", 'queues': 2"));
        g_assert_cmpuint(prog_id("v0"), !=, 0);
        run_good(qts, DEL_NETDEV);
        g_assert_cmpuint(prog_id("v0"), ==, 0);
    }
    run_good(qts, DEL_DRIVER);
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

/* Sends descriptors as 'a', 'b', ...; they are closed here */
static void send_fds(QTestState *qts, const int *fd, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        char name[] = { 'a' + i, 0 };
        int one = fd[i];

        qtest_qmp_fds_assert_success(qts, &one, 1, "{ 'execute': 'getfd',"
                                     " 'arguments': { 'fdname': %s } }", name);
        close(fd[i]);
    }
}

/* Those that nobody asked for are still the monitor's */
static void close_fds(QTestState *qts, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        char name[] = { 'a' + i, 0 };

        qtest_qmp_assert_success(qts, "{ 'execute': 'closefd',"
                                 " 'arguments': { 'fdname': %s } }", name);
    }
}

static int open_good(void)
{
    return socket_new(-1, 0);
}

static int open_udp(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int open_null(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
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

typedef struct Bad {
    const char *name;
    const char *driver;         /* command that makes it */
    const char *netdev;         /* or NULL: the driver's options are wrong */
    const char *texts[4];
    int (*open[2])(void);       /* what becomes fds 'a' and 'b' */
    bool unprivileged;
    bool busy;                  /* there is an XDP program already */
    bool no_memlock;            /* no memory may be locked */
} Bad;

#define SOCK_FDS(list) ADD_DRIVER("'inhibit': true, 'sock-fds': '" list "'")

static const Bad bads[] = {
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
    { "too-few-queues", ADD_DRIVER("'start-queue': 0"),
      ADD_NETDEV(", 'queues': 3"), { "'v0'", "ifname=v0", "queue 2" } },
    { "too-many-queues", ADD_DRIVER("'start-queue': 0"),
      ADD_NETDEV(", 'queues': 65"), { "queues=65", "1 to 64" } },
    { "busy", ADD_DRIVER("'start-queue': 0"), ADD_NETDEV(""),
      { "'v0'", "ifname=v0", "has an XDP program already" }, .busy = true },
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
      { "'v0'", "sock-fds=a", "not an AF_XDP socket" }, { open_udp } },
    { "sock-fds-dev-null", SOCK_FDS("a"), ADD_NETDEV(""),
      { "'v0'", "sock-fds=a", "not an AF_XDP socket" }, { open_null } },
    { "sock-fds-used", SOCK_FDS("a"), ADD_NETDEV(""),
      { "'v0'", "ifname=v0", "in use already" }, { open_used } },
    { "sock-fds-no-memlock", SOCK_FDS("a"), ADD_NETDEV(""),
      { "'v0'", "ifname=v0", "no permission to lock 6144 KiB" }, { open_good },
      .unprivileged = true, .no_memlock = true },
    { "sock-fds-namespace", SOCK_FDS("a"), ADD_NETDEV(""),
      { "'v0'", "sock-fds=a", "network namespace" },
      { open_other_namespace } },
    { "sock-fds-too-many", SOCK_FDS("a:b"), ADD_NETDEV(""),
      { "'v0'", "sock-fds=a:b", "2 descriptors", "queues=1" },
      { open_good, open_good } },
    { "sock-fds-too-few", SOCK_FDS("a"), ADD_NETDEV(", 'queues': 2"),
      { "'v0'", "sock-fds=a", "1 descriptor", "queues=2" }, { open_good } },
};

static void check_bad(QTestState *qts, const Bad *bad, const char *command)
{
    qtest_qmp_send_raw(qts, "%s", command);
    dp_check_error(qtest_qmp_receive(qts), bad->texts[0], bad->texts[1],
                   bad->texts[2], bad->texts[3], NULL);
}

/* What is wrong is said; nothing leaks; QEMU goes on */
static void check_bad_and_after(QTestState *qts, const Bad *bad)
{
    DpUsage before;
    int fd[2];
    unsigned n;

    for (n = 0; n < 2 && bad->open[n]; n++) {
        fd[n] = bad->open[n]();
    }
    before = dp_usage(qts);
    send_fds(qts, fd, n);
    if (bad->netdev) {
        run_good(qts, bad->driver);
        check_bad(qts, bad, bad->netdev);
        run_good(qts, DEL_DRIVER);
    } else {
        check_bad(qts, bad, bad->driver);
    }
    if (strstr(bad->name, "too-")) {
        close_fds(qts, n);
    }
    if (!bad->unprivileged && !bad->busy) {
        run_good(qts, ADD_DRIVER("'start-queue': 0"));
        run_good(qts, ADD_NETDEV(""));
        run_good(qts, DEL_NETDEV);
        run_good(qts, DEL_DRIVER);
    }
    dp_check_usage(qts, before);
}

static void test_bad(const void *opaque)
{
    const Bad *bad = opaque;
    struct rlimit memlock, none;
    QTestState *qts;
    int map = -1, link = -1;

    g_assert_cmpint(getrlimit(RLIMIT_MEMLOCK, &memlock), ==, 0);
    none = memlock;
    none.rlim_cur = bad->no_memlock ? 0 : memlock.rlim_cur;
    g_assert_cmpint(setrlimit(RLIMIT_MEMLOCK, &none), ==, 0);
    qts = dp_qemu_new(bad->unprivileged ? dp_qemu_unprivileged() : NULL);
    g_assert_cmpint(setrlimit(RLIMIT_MEMLOCK, &memlock), ==, 0);
    dp_veth_new_queues("v0", "v1", 2);
    if (bad->busy) {
        map = map_new(1);
        link = prog_attach(map);
    }
    check_bad_and_after(qts, bad);
    if (bad->busy) {
        close(link);
        close(map);
    }
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
    dp_veth_new_queues("v0", "v1", 2);
    map = map_new(2);
    link = prog_attach(map);
    for (i = 0; i < 2; i++) {
        fd[i] = socket_new(map, i);
    }
    before = dp_usage(qts);
    send_fds(qts, fd, 2);
    run_good(qts, SOCK_FDS("a:b"));
    for (i = 0; i < 3; i++) {
        g_autofree char *text = NULL;

        run_good(qts, ADD_NETDEV(", 'queues': 2"));
        text = get_interface(qts);
        g_assert_cmpstr(text, ==,
                        "ifname=v0,start-queue=0,sock-fds=a:b,copy");
        run_good(qts, DEL_NETDEV);
    }
    run_good(qts, DEL_DRIVER);
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

    dp_veth_new("v0", "v1");
    map = map_new(1);
    link = prog_attach(map);
    fd = socket_new(map, 0);
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    options = g_strdup_printf("-object vhost-dp-af-xdp,id=v0,inhibit=on,"
                              "sock-fds=%d "
                              "-netdev vhost-dp,id=vd0,driver=v0 "
                              DP_DEVICE "disable-legacy=on", fd);
    r = rig_use(dp_guest_new_env(qemu, options), 0, 1);
    close(fd);
    for (i = 0; i < 3; i++) {
        check_transmit(r, 100, i);
        check_receive(r, 100, i);
        dp_rig_restart(r);
    }
    dp_if_delete("v0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    close(link);
    dp_veth_new("v0", "v1");
    dp_wait_until(dp_link_is(r, false, "sock-fds="));
    dp_rig_free(r);
    close(map);
}

/* A BPF file system of the test's own */
static char *bpf_fs_mount(void)
{
    char *dir = g_dir_make_tmp("vhost-dp-bpf-XXXXXX", NULL);

    g_assert_nonnull(dir);
    g_assert_cmpint(mount("bpf", dir, "bpf", 0, NULL), ==, 0);
    return dir;
}

static void bpf_fs_unmount(const char *dir)
{
    g_assert_cmpint(umount2(dir, MNT_DETACH), ==, 0);
    g_assert_cmpint(rmdir(dir), ==, 0);
}

/* Somebody else's program and map, QEMU's sockets */
static void test_map_path(const void *opaque)
{
    g_autofree char *dir = NULL;
    g_autofree char *path = NULL;
    g_autofree char *options = NULL;
    int map, link;
    DpRig *r;

    dir = bpf_fs_mount();
    path = g_strdup_printf("%s/xsks", dir);
    options = g_strdup_printf(",inhibit=on,map-path=%s", path);
    dp_veth_new("v0", "v1");
    map = map_new(1);
    link = prog_attach(map);
    g_assert_cmpint(bpf_obj_pin(map, path), ==, 0);
    r = rig_start(0, 1, options);
    check_transmit(r, 100, 1);
    check_receive(r, 100, 2);
    dp_rig_free(r);
    close(link);
    close(map);
    bpf_fs_unmount(dir);
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

    dir = bpf_fs_mount();
    dp_veth_new("v0", "v1");
    array = bpf_map_create(BPF_MAP_TYPE_ARRAY, "test", sizeof(uint32_t),
                           sizeof(int), 8, NULL);
    map = map_new(2);
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
        run_good(qts, driver);
        qtest_qmp_send_raw(qts, "%s", ADD_NETDEV(""));
        dp_check_error(qtest_qmp_receive(qts), "'v0'", texts[i][0],
                       texts[i][1], path, NULL);
        run_good(qts, DEL_DRIVER);
    }
    dp_check_usage(qts, before);
    qtest_quit(qts);
    close(array);
    close(map);
    bpf_fs_unmount(dir);
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
    add_test("sock-fds", NULL, test_sock_fds);
    add_test("unprivileged", dp_qemu_unprivileged(), test_unprivileged);
    dp_add_sandbox_test("af-xdp/sandbox", test_unprivileged);
    add_test("map-path", NULL, test_map_path);
    add_test("map-path-bad", NULL, test_map_path_bad);
    return g_test_run();
}
