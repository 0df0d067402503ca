/*
 * vhost-dp: qtests of vhost-dp-vhost-user
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is guest and peer: see peer.h.  A peer that breaks rules is
 * in hostile-peer-test.c.
 */

#include "qemu/osdep.h"
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "guest.h"
#include "peer.h"

/* The format of the rings that are shared with the peer: not the guest's */
typedef struct Rings {
    const char *name;
    uint64_t without;           /* features that the peer does not offer */
} Rings;

static const Rings rings[] = {
    { "peer-split", DP_FEATURE(VIRTIO_F_RING_PACKED) |
                    DP_FEATURE(VIRTIO_RING_F_EVENT_IDX) },
    { "peer-split-event-idx", DP_FEATURE(VIRTIO_F_RING_PACKED) },
    { "peer-packed", DP_FEATURE(VIRTIO_RING_F_EVENT_IDX) },
    { "peer-packed-event-idx", 0 },
};

/* One queue pair, connected and running */
static DpVu *rig_new(uint64_t without, uint64_t features)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=10",
                                               v->path);

    v->peer->features = ~without;
    dp_vu_start(v, "", options, 1, features);
    dp_peer_run(v->peer, 1);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    return v;
}

/* Frames of all sizes, and so many that all rings wrap */
static void test_frames(const void *opaque)
{
    static const size_t sizes[] = { 14, 60, 1514, 2100, 2101, 9000, 65550 };
    const Rings *format = opaque;
    DpVu *v = rig_new(format->without, 0);
    unsigned round, i;

    for (round = 0; round < 25; round++) {
        for (i = 0; i < ARRAY_SIZE(sizes); i++) {
            dp_vu_check_to_peer(v, 0, sizes[i], round + i);
            dp_vu_check_to_guest(v, 0, sizes[i], round + i + 100);
        }
    }
    dp_vu_free(v);
}

/* A burst that waits for a peer that does not look, and then for the guest */
static void test_bursts(const void *opaque)
{
    const Rings *format = opaque;
    DpVu *v = rig_new(format->without, 0);
    DpRig *r = v->r;
    unsigned i;

    for (i = 0; i < DP_RING_SIZE; i++) {
        uint64_t addr = dp_alloc(r->guest, r->nic->hdr_len + 60000);

        memset(dp_host(r->guest, addr), 0, r->nic->hdr_len);
        dp_make_frame(dp_host(r->guest, addr + r->nic->hdr_len), 60000, i);
        dp_add(r->tx, &(DpBuf) { .addr = addr,
                                 .len = r->nic->hdr_len + 60000 }, 1);
    }
    dp_publish(r->tx);
    dp_wait_used(r->tx, NULL);
    g_usleep(DP_QUIET_US);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "packets"), <,
                     DP_RING_SIZE);
    for (i = 0; i < DP_RING_SIZE; i++) {
        size_t got = dp_peer_recv(v->peer, 0, NULL, r->got, DP_MAX_FRAME,
                                  DP_TIMEOUT_US);

        dp_make_frame(r->frame, 60000, i);
        dp_assert_frame(r->got, got, r->frame, 60000);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", DP_RING_SIZE);

    for (i = 0; i < 100; i++) {
        dp_make_frame(r->frame, 100 + i, i);
        dp_peer_send(v->peer, 0, NULL, r->frame, 100 + i);
    }
    for (i = 0; i < 100; i++) {
        size_t got;

        dp_post(r->nic, 1, r->nic->hdr_len + 300);
        got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_make_frame(r->frame, 100 + i, i);
        dp_assert_frame(r->got, got, r->frame, 100 + i);
    }
    dp_vu_free(v);
}

/* ---- Offloads ---- */

#define TSO_LEN (DP_IP_HEADERS(IPPROTO_TCP) + 20000)
#define TSO_FEATURES \
    (DP_FEATURE(VIRTIO_NET_F_CSUM) | DP_FEATURE(VIRTIO_NET_F_HOST_TSO4))

/* What the peer takes is left to it */
static void test_offloads(const void *opaque)
{
    DpVu *v = rig_new(0, TSO_FEATURES);
    DpRig *r = v->r;
    struct virtio_net_hdr want = dp_make_hdr(IPPROTO_TCP,
                                             VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    struct virtio_net_hdr_v1 hdr;
    size_t got;

    dp_make_ip_frame(r->frame, TSO_LEN, IPPROTO_TCP, 1);
    dp_transmit(r->nic, &want, r->frame, TSO_LEN);
    got = dp_peer_recv(v->peer, 0, &hdr, r->got, DP_MAX_FRAME, DP_TIMEOUT_US);
    dp_assert_frame(r->got, got, r->frame, TSO_LEN);
    g_assert_cmphex(hdr.flags, ==, want.flags);
    g_assert_cmphex(hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_TCPV4);
    g_assert_cmpuint(le16_to_cpu(hdr.gso_size), ==, 1448);
    g_assert_cmpuint(le16_to_cpu(hdr.hdr_len), ==, DP_IP_HEADERS(IPPROTO_TCP));
    g_assert_cmpuint(le16_to_cpu(hdr.csum_start), ==, 34);
    g_assert_cmpuint(le16_to_cpu(hdr.csum_offset), ==, 16);
    dp_vu_free(v);
}

static void check_segments(DpVu *v)
{
    DpRig *r = v->r;
    struct virtio_net_hdr hdr = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    size_t payload = 0;

    dp_make_ip_frame(r->frame, TSO_LEN, IPPROTO_TCP, 1);
    dp_transmit(r->nic, &hdr, r->frame, TSO_LEN);
    while (payload < 20000) {
        size_t got = dp_peer_recv(v->peer, 0, NULL, r->got, DP_MAX_FRAME,
                                  DP_TIMEOUT_US);

        g_assert_cmpuint(got, >, DP_IP_HEADERS(IPPROTO_TCP));
        g_assert_cmpuint(got, <=, DP_IP_HEADERS(IPPROTO_TCP) + 1448);
        g_assert_true(dp_checksum_ok(r->got, got));
        payload += got - DP_IP_HEADERS(IPPROTO_TCP);
    }
    g_assert_cmpuint(payload, ==, 20000);
}

/* What it does not is done in software; a peer that comes later is another */
static void test_offloads_change(const void *opaque)
{
    DpVu *v = rig_new(0, TSO_FEATURES);
    DpRig *r = v->r;
    struct virtio_net_hdr hdr = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    size_t got;

    dp_peer_disconnect(v->peer);
    dp_wait_until(dp_link_is(v->r, false, "has gone"));
    v->peer->features = ~(DP_FEATURE(VIRTIO_NET_F_CSUM) |
                          DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    dp_peer_run(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    g_assert_cmphex(v->peer->got_features &
                    (DP_FEATURE(VIRTIO_NET_F_HOST_TSO4) |
                     DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4)), ==, 0);
    check_segments(v);

    dp_peer_disconnect(v->peer);
    dp_wait_until(dp_link_is(v->r, false, "has gone"));
    v->peer->features = -1;
    dp_peer_run(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_transmit(r->nic, &hdr, r->frame, TSO_LEN);
    got = dp_peer_recv(v->peer, 0, NULL, r->got, DP_MAX_FRAME, DP_TIMEOUT_US);
    dp_assert_frame(r->got, got, r->frame, TSO_LEN);
    dp_vu_free(v);
}

/*
 * The peer's metadata, for a guest that takes it and one that does not.
 * DATA_VALID may stand for a checksum that was never computed: passt's do.
 */
static void test_rx_offloads(const void *opaque)
{
    struct virtio_net_hdr partial = dp_make_hdr(IPPROTO_TCP,
                                                VIRTIO_NET_HDR_GSO_NONE, 0);
    const struct virtio_net_hdr_v1 hdrs[] = {
        { .flags = partial.flags, .csum_start = partial.csum_start,
          .csum_offset = partial.csum_offset },
        { .flags = VIRTIO_NET_HDR_F_DATA_VALID },
    };
    unsigned takes, i;

    for (takes = 0; takes < 2; takes++) {
        DpVu *v = rig_new(0, takes ? DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) : 0);
        DpRig *r = v->r;

        for (i = 0; i < ARRAY_SIZE(hdrs); i++) {
            struct virtio_net_hdr_v1 got_hdr;
            size_t got;

            dp_make_ip_frame(r->frame, 1000, IPPROTO_TCP, 1);
            dp_post(r->nic, 1, 2000);
            dp_peer_send(v->peer, 0, &hdrs[i], r->frame, 1000);
            got = dp_receive(r->nic, &got_hdr, r->got, DP_MAX_FRAME);
            if (takes) {
                g_assert_cmphex(got_hdr.flags, ==, hdrs[i].flags);
                dp_assert_frame(r->got, got, r->frame, 1000);
            } else {
                g_assert_cmphex(got_hdr.flags, ==, 0);
                g_assert_true(dp_checksum_ok(r->got, got));
            }
        }
        dp_wait_counter(r->qts, "vd0", DP_RX, "software-checksums",
                        takes ? 0 : ARRAY_SIZE(hdrs));
        dp_vu_free(v);
    }
}

/*
 * Metadata of another frame than the one that is there is not for a guest, also
 * if it takes the type (5.1.6.4.1): it is counted, and frames that follow come.
 */
static void test_rx_misfits(const void *opaque)
{
    static const struct {
        uint8_t gso_type;
        uint16_t gso_size, csum_start, csum_offset;
    } misfits[] = {
        { VIRTIO_NET_HDR_GSO_TCPV4, 1448, 54, 16 },
        { VIRTIO_NET_HDR_GSO_TCPV4, 1448, 34, 6 },
        { VIRTIO_NET_HDR_GSO_TCPV4, 0, 34, 16 },
        { VIRTIO_NET_HDR_GSO_TCPV6, 1448, 34, 16 },
    };
    struct virtio_net_hdr good = dp_make_hdr(IPPROTO_TCP,
                                             VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    DpVu *v = rig_new(0, DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
                         DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
                         DP_FEATURE(VIRTIO_NET_F_GUEST_TSO6));
    DpRig *r = v->r;
    struct virtio_net_hdr_v1 hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .hdr_len = good.hdr_len,
    };
    size_t got;
    unsigned i;

    dp_make_ip_frame(r->frame, TSO_LEN, IPPROTO_TCP, 1);
    for (i = 0; i < ARRAY_SIZE(misfits); i++) {
        hdr.gso_type = misfits[i].gso_type;
        hdr.gso_size = cpu_to_le16(misfits[i].gso_size);
        hdr.csum_start = cpu_to_le16(misfits[i].csum_start);
        hdr.csum_offset = cpu_to_le16(misfits[i].csum_offset);
        dp_post(r->nic, 1, r->nic->hdr_len + TSO_LEN);
        dp_peer_send(v->peer, 0, &hdr, r->frame, TSO_LEN);
        dp_wait_counter(r->qts, "vd0", DP_RX, "drop:bad-header", i + 1);
        g_assert_false(dp_has_used(r->rx));
    }
    memcpy(&hdr, &good, sizeof(good));
    dp_peer_send(v->peer, 0, &hdr, r->frame, TSO_LEN);
    got = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, got, r->frame, TSO_LEN);
    g_assert_cmpint(hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_TCPV4);
    dp_vu_free(v);
}

/* ---- The connection ---- */

/* QEMU listens; the peer may come before and after the guest */
static void test_server(const void *opaque)
{
    DpVu *v = dp_vu_prepare(false);
    g_autofree char *options = g_strdup_printf("path=%s,server=on,"
                                               "reconnect-ms=10", v->path);
    unsigned i;

    dp_vu_start(v, "", options, 1, 0);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, false, "there is no peer yet"));
    for (i = 0; i < 3; i++) {
        dp_vu_run(v);
        dp_peer_disconnect(v->peer);
        dp_wait_until(dp_link_is(v->r, false, "the peer has gone"));
    }
    dp_vu_free(v);
}

/* A chardev, which is there later than the object */
static void test_chardev(const void *opaque)
{
    const bool server = opaque != NULL;
    DpVu *v = dp_vu_prepare(!server);
    g_autofree char *before = NULL;
    unsigned i;

    before = g_strdup_printf("-chardev socket,id=chr0,path=%s,%s", v->path,
                             server ? "server=on,wait=off" :
                                      "reconnect-ms=20");
    dp_vu_start(v, before, "chardev=chr0", 1, 0);
    dp_vu_start_nic(v);
    for (i = 0; i < 3; i++) {
        dp_vu_run(v);
        dp_peer_disconnect(v->peer);
        dp_wait_until(dp_link_is(v->r, false, "the peer has gone"));
    }
    dp_vu_free(v);
}

/* Another peer waits already when one goes: each is served, with its own set */
static void test_next_peer(const void *opaque)
{
    const bool chardev = opaque != NULL;
    DpVu *v = dp_vu_prepare(false);
    DpPeer *other = dp_peer_new(v->path, false);
    g_autofree char *before = NULL;
    g_autofree char *options = NULL;
    DpUsage usage = {};
    unsigned i;

    before = chardev ? g_strdup_printf("-chardev socket,id=chr0,path=%s,"
                                       "server=on,wait=off", v->path) :
                       g_strdup("");
    options = chardev ? g_strdup("chardev=chr0,reconnect-ms=1") :
              g_strdup_printf("path=%s,server=on,reconnect-ms=1", v->path);
    dp_vu_start(v, before, options, 1, 0);
    dp_vu_start_nic(v);
    dp_peer_connect(v->peer);
    for (i = 0; i < 12; i++) {
        DpPeer *gone = v->peer;

        dp_peer_start(v->peer, 1);
        dp_wait_until(dp_link_is(v->r, true, NULL));
        dp_vu_check_traffic(v);
        if (i == 1) {
            usage = dp_usage(v->r->qts);
        }
        if (i % 3 == 2) {
            dp_vu_last_long();
        }
        dp_peer_connect(other);
        dp_peer_disconnect(gone);
        v->peer = other;
        other = gone;
    }
    dp_peer_start(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
    dp_check_usage(v->r->qts, usage);
    dp_peer_free(other);
    dp_vu_free(v);
}

/* Of the main thread, in ns */
static uint64_t cpu_time(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/schedstat",
                                            (int)pid, (int)pid);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return g_ascii_strtoull(text, NULL, 10);
}

/* The next descriptor that it would get */
static unsigned lowest_free_fd(pid_t pid)
{
    unsigned fd = 0;

    for (;;) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fd/%u", (int)pid,
                                                fd);
        struct stat st;

        if (lstat(path, &st) < 0) {
            return fd;
        }
        fd++;
    }
}

/* A peer that cannot be accepted at present does not keep QEMU busy */
static void test_accept_fails(const void *opaque)
{
    DpVu *v = dp_vu_prepare(false);
    g_autofree char *options = g_strdup_printf("path=%s,server=on", v->path);
    struct rlimit old, none;
    uint64_t before;
    pid_t pid;

    dp_vu_start(v, "", options, 1, 0);
    dp_vu_start_nic(v);
    pid = qtest_pid(v->r->qts);
    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, NULL, &old), ==, 0);
    none = old;
    do {
        /* What the IOThread has still to close would be free again */
        none.rlim_cur = lowest_free_fd(pid);
        g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, &none, NULL), ==, 0);
        g_usleep(4 * DP_QUIET_US);
    } while (lowest_free_fd(pid) != none.rlim_cur);
    dp_peer_connect(v->peer);
    before = cpu_time(pid);
    /* The kernel has accepted it; from QEMU comes no message */
    g_assert_true(dp_peer_serve(v->peer, G_USEC_PER_SEC));
    g_assert_cmpuint(v->peer->messages, ==, 0);
    g_assert_true(dp_link_is(v->r, false, "there is no peer yet"));
    g_assert_cmpuint(cpu_time(pid) - before, <, 200 * 1000 * 1000);
    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, &old, NULL), ==, 0);
    dp_peer_start(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

static void answer(DpVu *v, uint32_t request, uint64_t value)
{
    dp_peer_send_msg(v->peer, request, 1 | VHOST_USER_REPLY_MASK,
                     sizeof(value), &value, NULL, 0);
}

static bool file_has(const char *path, const char *text)
{
    g_autofree char *all = NULL;

    return g_file_get_contents(path, &all, NULL, NULL) && strstr(all, text);
}

/* That a peer has not come yet is worth a line if it does not come */
static void test_log(const void *opaque)
{
    DpVu *v = dp_vu_prepare(false);
    g_autofree char *log = g_strdup_printf("%s/log", v->dir);
    /* The shell that starts QEMU gets it */
    g_autofree char *redirect = g_strdup_printf("2>%s", log);
    g_autofree char *options = g_strdup_printf("path=%s,server=on,"
                                               "reconnect-ms=10", v->path);
    int64_t start = g_get_monotonic_time();
    bool quick;

    dp_vu_start(v, redirect, options, 1, 0);
    dp_peer_run(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    /* It is allowed to say something after two seconds */
    quick = g_get_monotonic_time() - start < 2 * G_USEC_PER_SEC;
    g_assert_true(!quick || !file_has(log, "link is"));
    dp_peer_disconnect(v->peer);
    dp_wait_until(file_has(log, "the link is down: the peer has gone"));
    unlink(log);
    dp_vu_free(v);

    v = dp_vu_prepare(false);
    g_free(log);
    g_free(redirect);
    g_free(options);
    log = g_strdup_printf("%s/log", v->dir);
    redirect = g_strdup_printf("2>%s", log);
    options = g_strdup_printf("path=%s,server=on", v->path);
    dp_vu_start(v, redirect, options, 1, 0);
    dp_wait_until(file_has(log, "the link is down: there is no peer yet"));
    unlink(log);
    dp_vu_free(v);
}

/*
 * A peer that reads nothing, so that there is no room for more, and then breaks
 * a rule: QEMU does not go on waiting for room in a socket that is closed,
 * which keeps it from sleeping
 */
static void test_no_room(const void *opaque)
{
    const bool chardev = opaque != NULL;
    DpVu *v = dp_vu_prepare(false);
    g_autofree char *before = NULL;
    g_autofree char *options = NULL;
    uint64_t since;
    pid_t pid;

    before = chardev ? g_strdup_printf("-chardev socket,id=chr0,path=%s,"
                                       "server=on,wait=off", v->path) :
                       g_strdup("");
    options = chardev ? g_strdup("chardev=chr0") :
              g_strdup_printf("path=%s,server=on", v->path);
    dp_vu_start(v, before, options, 64, 0);
    dp_peer_connect(v->peer);
    /* Each when it is due.  Then 64 queue pairs are more than fits. */
    answer(v, VHOST_USER_GET_FEATURES, -1);
    answer(v, VHOST_USER_GET_PROTOCOL_FEATURES,
           DP_FEATURE(VHOST_USER_PROTOCOL_F_MQ));
    answer(v, VHOST_USER_GET_QUEUE_NUM, 64);
    dp_wait_until(dp_link_is(v->r, false, "not answered"));
    answer(v, VHOST_USER_GET_QUEUE_NUM, 64);
    dp_wait_until(dp_link_is(v->r, false, "message-header"));
    /* Asleep it takes 2 ms in a second; on a busy machine, awake, 140 */
    pid = qtest_pid(v->r->qts);
    since = cpu_time(pid);
    g_usleep(G_USEC_PER_SEC);
    g_assert_cmpuint(cpu_time(pid) - since, <, 50 * 1000 * 1000);
    dp_vu_free(v);
}

/* Under traffic; what is lost is counted, and the guest never waits */
static void test_reconnect(const void *opaque)
{
    const Rings *format = opaque;
    DpVu *v = rig_new(format->without, 0);
    DpRig *r = v->r;
    unsigned i, k;

    for (i = 0; i < 10; i++) {
        dp_vu_check_traffic(v);
        /* In the rings when the peer dies */
        for (k = 0; k < 5; k++) {
            dp_transmit(r->nic, NULL, r->frame, 1000);
            dp_peer_send(v->peer, 0, NULL, r->frame, 500);
        }
        dp_peer_disconnect(v->peer);
        dp_wait_until(dp_link_is(v->r, false, NULL));
        /* A link that is down takes and drops */
        dp_transmit(r->nic, NULL, r->frame, 60);
        dp_peer_run(v->peer, 1);
        dp_wait_until(dp_link_is(v->r, true, NULL));
        if (i % 3 == 2) {
            dp_vu_last_long();
        }
    }
    /* None of the old frames comes later */
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

/*
 * Frames that the guest has no buffers for when the connection ends: their
 * memory stays until they are dropped, as all are when the link goes down
 */
static void test_lent(const void *opaque)
{
    DpVu *v = rig_new(0, 0);
    DpRig *r = v->r;

    dp_make_frame(r->frame, 700, 7);
    dp_peer_send(v->peer, 0, NULL, r->frame, 700);
    /* What sends and what receives is one thread: it has seen the frame */
    dp_vu_check_to_peer(v, 0, 60, 1);
    dp_peer_disconnect(v->peer);
    dp_wait_until(dp_link_is(v->r, false, "has gone"));
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:stopped", 1);
    dp_peer_run(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

static void test_no_reconnect(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=0",
                                               v->path);

    dp_vu_start(v, "", options, 1, 0);
    dp_peer_run(v->peer, 1);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_peer_disconnect(v->peer);
    dp_wait_until(dp_link_is(v->r, false, "has gone"));
    g_usleep(10 * DP_QUIET_US);
    g_assert_true(dp_link_is(v->r, false, "has gone"));
    dp_vu_free(v);
}

/* ---- What is shared ---- */

static char *fd_target(pid_t pid, int fd)
{
    g_autofree char *link = g_strdup_printf("/proc/%d/fd/%d", (int)pid, fd);

    return g_file_read_link(link, NULL);
}

/*
 * Descriptors and memory table have the driver's own memory alone: no page of
 * the guest's, which is in another file
 */
static void test_isolation(const void *opaque)
{
    DpVu *v = rig_new(0, 0);
    DpPeer *peer = v->peer;
    g_autofree char *memfd = fd_target(getpid(), peer->mem_fd);
    struct stat pool, ram;
    unsigned i;

    g_assert_nonnull(strstr(memfd, "memfd:vhost-dp-rings"));
    g_assert_cmpint(fstat(peer->mem_fd, &pool), ==, 0);
    g_assert_cmpint(fstat(v->r->guest->ram_fd, &ram), ==, 0);
    g_assert_true(pool.st_ino != ram.st_ino);
    g_assert_cmpuint(peer->mem.nregions, ==, 1);
    g_assert_cmpuint(peer->mem.regions[0].mmap_offset, ==, 0);
    g_assert_cmpuint(peer->mem.regions[0].memory_size, ==, pool.st_size);
    g_assert_cmpuint(pool.st_size, <, 5 * MiB);
    /* No address of QEMU's is told: it would help to attack it */
    g_assert_cmphex(peer->mem.regions[0].userspace_addr, ==,
                    peer->mem.regions[0].guest_phys_addr);
    /* The memory, and kick and call of both rings: nothing else came */
    g_assert_cmpuint(peer->nfds, ==, 5);
    for (i = 0; i < 2; i++) {
        g_autofree char *kick = fd_target(getpid(), peer->ring[i].kick);
        g_autofree char *call = fd_target(getpid(), peer->ring[i].call);

        g_assert_true(g_str_has_prefix(kick, "socket:"));
        g_assert_cmpstr(call, ==, "anon_inode:[eventfd]");
    }
    /* It cannot be taken away under QEMU's feet */
    g_assert_cmpint(ftruncate(peer->mem_fd, 0), ==, -1);
    dp_vu_free(v);
}

/* ---- Queue pairs ---- */

static void test_multiqueue(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=10",
                                               v->path);
    unsigned i;

    dp_vu_start(v, "", options, 3, DP_FEATURE(VIRTIO_NET_F_MQ) |
                                 DP_FEATURE(VIRTIO_NET_F_CTRL_VQ));
    dp_peer_run(v->peer, 3);
    dp_vu_start_nic(v);
    /* The guest begins with one pair, and the peer is told */
    dp_wait_until(dp_peer_serve(v->peer, 1000) && !v->peer->ring[5].enabled);
    for (i = 2; i < 6; i++) {
        g_assert_false(v->peer->ring[i].enabled);
    }
    g_assert_true(v->peer->ring[0].enabled);
    g_assert_true(v->peer->ring[1].enabled);

    dp_nic_set_pairs(v->r->nic, 3);
    dp_wait_until(dp_peer_serve(v->peer, 1000) && v->peer->ring[5].enabled);
    for (i = 0; i < 3; i++) {
        dp_vu_check_to_peer(v, i, 100, i);
        dp_vu_check_to_guest(v, i, 100, i);
    }
    dp_vu_free(v);
}

/* What the peer has to have */
static void test_needs(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=10",
                                               v->path);

    v->peer->features &= ~DP_FEATURE(VIRTIO_F_VERSION_1);
    dp_vu_start(v, "", options, 2, 0);
    dp_vu_wait_refused(v, "VIRTIO_F_VERSION_1");

    v->peer->features = -1;
    v->peer->max_pairs = 1;
    dp_vu_wait_refused(v, "has 1 queue pairs, and queues=2");

    v->peer->protocol_features = 0;
    dp_vu_wait_refused(v, "VHOST_USER_PROTOCOL_F_MQ");
    dp_vu_free(v);
}

/* An old back end: no protocol features, so no acknowledgements */
static void test_plain_protocol(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s", v->path);

    v->peer->features = ~DP_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);
    dp_vu_start(v, "", options, 1, 0);
    dp_peer_run(v->peer, 1);
    /* Rings are enabled from the start then */
    g_assert_false(v->peer->ring[0].enabled);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

static void test_options(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf(
        "path=%s,mtu=9000,queue-size=64,packed=off", v->path);

    v->peer->features = -1;
    dp_vu_start(v, "", options, 1, 0);
    dp_peer_run(v->peer, 1);
    g_assert_cmphex(v->peer->got_features &
                    DP_FEATURE(VIRTIO_F_RING_PACKED), ==, 0);
    g_assert_cmpuint(v->peer->got_mtu, ==, 9000);
    g_assert_cmpuint(v->peer->ring[0].num, ==, 64);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

/* ---- Options and life ---- */

static void check_netdev_error(QTestState *qts, const char *options,
                               const char *want, const char *more)
{
    g_autofree char *object = NULL;

    object = g_strdup_printf("{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'vhost-dp-vhost-user',"
                             " 'id': 'vu0', %s } }", options);
    qtest_qmp_assert_success(qts, object, NULL);
    dp_check_error(qtest_qmp(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                             " 'type': 'vhost-dp', 'id': 'vd0',"
                             " 'driver': 'vu0' } }"), "vu0", want, more, NULL);
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-del',"
                             " 'arguments': { 'id': 'vu0' } }");
}

static void test_no_peer(const void *opaque)
{
    g_autofree char *dir = g_dir_make_tmp("vhost-dp-XXXXXX", NULL);
    g_autofree char *dead = g_strdup_printf("%s/dead", dir);
    g_autofree char *options = g_strdup_printf("'path': '%s'", dead);
    g_autofree char *server = g_strdup_printf(
        "'path': '%s/no/where', 'server': true", dir);
    QTestState *qts = qtest_init("-M none -nodefaults "
                                 "-chardev null,id=null0 "
                                 "-chardev socket,id=tcp0,host=127.0.0.1,"
                                 "port=0,server=on,wait=off");

    check_netdev_error(qts, options, dead, "No such file");
    dp_peer_free(dp_peer_new(dead, true));
    /* A socket that nobody listens at any more */
    {
        DpPeer *peer = dp_peer_new(dead, true);

        close(peer->listen);
        peer->listen = -1;
        check_netdev_error(qts, options, dead, "Connection refused");
        dp_peer_free(peer);
    }
    unlink(dead);
    check_netdev_error(qts, server, "no/where", NULL);
    check_netdev_error(qts, "'chardev': 'nobody'", "chardev=nobody",
                       "no such chardev");
    check_netdev_error(qts, "'chardev': 'null0'", "chardev=null0",
                       "not a UNIX socket");
    check_netdev_error(qts, "'chardev': 'tcp0'", "chardev=tcp0",
                       "not a UNIX socket");
    qtest_quit(qts);
    rmdir(dir);
}

/*
 * Whatever this account may do otherwise, no QEMU that is started from now on
 * may use a file that its mode forbids
 */
static void test_no_permission(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("'path': '%s'", v->path);
    QTestState *qts;

    g_assert_cmpint(chmod(v->path, 0), ==, 0);
    /* Fails where there is no such capability in the first place */
    prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);
    qts = qtest_init("-M none -nodefaults");
    check_netdev_error(qts, options, v->path, "Permission denied");
    qtest_quit(qts);
    dp_vu_discard(v);
}

static const struct {
    const char *options;
    const char *want;
} bad_options[] = {
    { "'reconnect-ms': 1", "path= or chardev= is needed" },
    { "'path': 'x', 'chardev': 'y'", "exclude each other" },
    { "'chardev': 'y', 'server': true", "option of the chardev" },
    { "'path': 'x', 'queue-size': 100", "queue-size=100: powers of 2" },
    { "'path': 'x', 'queue-size': 2048", "queue-size=2048: powers of 2" },
    { "'path': 'x', 'reconnect-ms': 60001", "0 to 60000" },
    { "'path': 'x', 'mtu': 67", "mtu=67: 68 to 65535" },
    { "'path': ''", "1 to 107 bytes" },
    { "'path': '1234567890123456789012345678901234567890123456789012345678"
      "90123456789012345678901234567890123456789012345678'", "107 bytes" },
};

static void test_bad_options(const void *opaque)
{
    QTestState *qts = qtest_init("-M none -nodefaults");
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(bad_options); i++) {
        g_autofree char *object = g_strdup_printf(
            "{ 'execute': 'object-add', 'arguments': { 'id': 'vu0',"
            " 'qom-type': 'vhost-dp-vhost-user', %s } }",
            bad_options[i].options);

        dp_check_error(qtest_qmp(qts, object, NULL),
                       "vhost-dp-vhost-user 'vu0'", bad_options[i].want, NULL);
    }
    qtest_quit(qts);
}

/* Given back and claimed again, nothing is left over */
static void test_again(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    DpUsage before = {};
    QTestState *qts;
    unsigned i;

    qts = qtest_initf("-M none -nodefaults "
                      "-object vhost-dp-vhost-user,id=vu0,path=%s", v->path);
    for (i = 0; i < 4; i++) {
        qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_add',"
            " 'arguments': { 'type': 'vhost-dp', 'id': 'vd0',"
            " 'driver': 'vu0', 'queues': 2 } }");
        dp_check_error(qtest_qmp(qts, "{ 'execute': 'qom-set', 'arguments': {"
                                 " 'path': '/objects/vu0', 'property': 'path',"
                                 " 'value': 'elsewhere' } }"),
                       "cannot be changed", "vd0", NULL);
        dp_peer_connect(v->peer);
        if (i % 2) {
            dp_peer_start(v->peer, 2);
        }
        qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_del',"
            " 'arguments': { 'id': 'vd0' } }");
        dp_peer_disconnect(v->peer);
        if (i == 0) {
            before = dp_usage(qts);
        }
    }
    dp_check_usage(qts, before);
    qtest_quit(qts);
    dp_vu_discard(v);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(rings); i++) {
        g_autofree char *frames = g_strdup_printf("vhost-user/%s/frames",
                                                  rings[i].name);
        g_autofree char *bursts = g_strdup_printf("vhost-user/%s/bursts",
                                                  rings[i].name);
        g_autofree char *again = g_strdup_printf("vhost-user/%s/reconnect",
                                                 rings[i].name);

        dp_add_test(frames, &rings[i], test_frames);
        dp_add_test(bursts, &rings[i], test_bursts);
        dp_add_test(again, &rings[i], test_reconnect);
    }
    dp_add_ring_test("vhost-user/offloads", NULL, test_offloads);
    dp_add_test("vhost-user/offloads-change", NULL, test_offloads_change);
    dp_add_ring_test("vhost-user/rx-offloads", NULL, test_rx_offloads);
    dp_add_test("vhost-user/rx-misfits", NULL, test_rx_misfits);
    dp_add_test("vhost-user/server", NULL, test_server);
    dp_add_test("vhost-user/chardev", NULL, test_chardev);
    dp_add_test("vhost-user/chardev-server", "server", test_chardev);
    dp_add_test("vhost-user/next-peer", NULL, test_next_peer);
    dp_add_test("vhost-user/chardev-next-peer", "chardev", test_next_peer);
    dp_add_test("vhost-user/accept-fails", NULL, test_accept_fails);
    dp_add_test("vhost-user/log", NULL, test_log);
    dp_add_test("vhost-user/no-room", NULL, test_no_room);
    dp_add_test("vhost-user/chardev-no-room", "chardev", test_no_room);
    dp_add_test("vhost-user/lent", NULL, test_lent);
    dp_add_test("vhost-user/no-reconnect", NULL, test_no_reconnect);
    dp_add_test("vhost-user/isolation", NULL, test_isolation);
    dp_add_test("vhost-user/multiqueue", NULL, test_multiqueue);
    dp_add_test("vhost-user/needs", NULL, test_needs);
    dp_add_test("vhost-user/plain-protocol", NULL, test_plain_protocol);
    dp_add_test("vhost-user/options", NULL, test_options);
    dp_add_test("vhost-user/no-peer", NULL, test_no_peer);
    dp_add_test("vhost-user/bad-options", NULL, test_bad_options);
    dp_add_test("vhost-user/again", NULL, test_again);
    dp_add_test("vhost-user/no-permission", NULL, test_no_permission);
    return g_test_run();
}
