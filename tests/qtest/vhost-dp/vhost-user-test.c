/*
 * vhost-dp: qtests of vhost-dp-vhost-user
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is guest and peer: see peer.h.  Here frames go both ways; in
 * vhost-user-connect-test.c connections come and go.  A peer that breaks rules
 * is in hostile-peer-test.c.
 */

#include "qemu/osdep.h"
#include <sys/stat.h>
#include "qemu/bswap.h"
#include "qemu/units.h"
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
    dp_add_test("vhost-user/lent", NULL, test_lent);
    dp_add_test("vhost-user/isolation", NULL, test_isolation);
    dp_add_test("vhost-user/multiqueue", NULL, test_multiqueue);
    return g_test_run();
}
