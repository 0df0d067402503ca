/*
 * vhost-dp: qtests of offloads in software
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the driver, or the guest, does not do with a frame is done in between.
 * How that is done right is shown by unit tests, and by segment-test:
 * here segments are compared with those that the same code makes of the same
 * frame.  Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "net/vhost-dp/offload/offload.h"
#include "tests/vhost-dp/lib/frames.h"
#include "qobject/qdict.h"
#include "libqos/pci-pc.h"
#include "guest.h"

#define HOST_OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_CSUM) | DP_FEATURE(VIRTIO_NET_F_HOST_TSO4) | \
     DP_FEATURE(VIRTIO_NET_F_HOST_TSO6) | DP_FEATURE(VIRTIO_NET_F_HOST_ECN) | \
     DP_FEATURE(VIRTIO_NET_F_HOST_UFO) | DP_FEATURE(VIRTIO_NET_F_HOST_USO))
#define GUEST_OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | DP_FEATURE(VIRTIO_NET_F_GUEST_UFO))
#define CTRL_OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) | \
     DP_FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))

/* ---- What is expected ---- */

typedef struct Expect {
    FrameSpec spec;
    uint8_t *frame;
    VhostDPFrame f;
    struct iovec whole;
    VhostDPSegmenter seg;
    uint32_t fragment_id;       /* that was seen, for IPv6 */
} Expect;

static struct virtio_net_hdr make_hdr(const FrameSpec *s)
{
    return (struct virtio_net_hdr) {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = s->gso_type,
        .gso_size = cpu_to_le16(s->gso_size),
        .hdr_len = cpu_to_le16(s->data),
        .csum_start = cpu_to_le16(s->l4),
        .csum_offset = cpu_to_le16(s->tcp ? 16 : 6),
    };
}

static void expect_start(Expect *e, uint8_t *frame, const FrameSpec *spec)
{
    memset(e, 0, sizeof(*e));
    e->spec = *spec;
    e->frame = frame;
    frames_build(&e->spec, frame);
    e->whole.iov_base = frame;
    e->whole.iov_len = e->spec.len;
    e->f = (VhostDPFrame) {
        .iov = &e->whole,
        .iovcnt = 1,
        .len = e->spec.len,
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = spec->gso_type,
        .gso_size = spec->gso_size,
        .csum_start = e->spec.l4,
        .csum_offset = spec->tcp ? 16 : 6,
    };
    g_assert_true(vhost_dp_offload_check(&e->f, frame,
                                         MIN(e->f.len, VHOST_DP_HEAD_BYTES)));
    if (e->f.gso_type) {
        vhost_dp_segmenter_init(&e->seg, &e->f, frame, 0);
    }
}

static bool expect_done(const Expect *e)
{
    return e->f.gso_type ? vhost_dp_segmenter_done(&e->seg) : !e->f.flags;
}

/* The next frame that came is @got */
static void expect_next(Expect *e, const uint8_t *got, size_t len)
{
    g_autofree uint8_t *want = g_malloc(DP_MAX_FRAME);
    uint8_t head[VHOST_DP_HEAD_BYTES];
    struct iovec iov[2];
    VhostDPFrame segment;

    g_assert_false(expect_done(e));
    if (!e->f.gso_type) {
        vhost_dp_offload_finish_checksum(&e->f);
        dp_assert_frame(got, len, e->frame, e->spec.len);
        return;
    }
    if (e->spec.ip6 && e->spec.gso_type == VIRTIO_NET_HDR_GSO_UDP) {
        uint32_t id = ldl_be_p(got + e->spec.l4 + 4);

        g_assert_true(!e->seg.index || id == e->fragment_id);
        e->fragment_id = id;
        e->seg.fragment_id = id;
    }
    vhost_dp_segmenter_make(&e->seg, 0, &segment, head, iov);
    iov_to_buf(segment.iov, segment.iovcnt, 0, want, segment.len);
    dp_assert_frame(got, len, want, segment.len);
    vhost_dp_segmenter_advance(&e->seg);
}

/* Frames of all kinds; no VLAN, whose tags a packet socket does not show */
static const FrameSpec kinds[] = {
    { .payload = 1000 },
    { .payload = 1001, .tcp = true },
    { .payload = 1000, .ip6 = true },
    { .payload = 1001, .ip6 = true, .tcp = true },
    { .payload = 60000, .tcp = true, .seq = 0xfffff000, .ip_id = 0xfff0,
      .tcp_flags = 0x99, .tcp_options = 12,
      .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
      .gso_size = 1448 },
    { .payload = 60000, .ip6 = true, .tcp = true, .tcp_flags = 0x10,
      .next = 2, .ext = { 0, 60 },
      .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 1400 },
    { .payload = 9001, .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1480 },
    { .payload = 9001, .ip6 = true,
      .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1440 },
    { .payload = 20000, .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
      .gso_size = 1400 },
    { .payload = 20000, .ip6 = true, .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
      .gso_size = 1400 },
    { .payload = 1, .tcp = true, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
      .gso_size = 1448 },
};

/* ---- To the driver ---- */

static DpRig *rig_new_plain_tap(uint64_t features)
{
    return dp_rig_start(&(DpSetup) {
        .driver = "offloads=off", .features = features,
    }, true);
}

/* Where the last frame was sent from */
static uint64_t tx_buffer;

/* Send the frame in @n pieces */
static void transmit_pieces(DpRig *r, Expect *e, unsigned n)
{
    struct virtio_net_hdr hdr = make_hdr(&e->spec);
    size_t len = r->nic->hdr_len + e->spec.len;
    uint64_t addr = dp_alloc(r->guest, len);
    uint8_t *p = dp_host(r->guest, addr);
    size_t piece = len / n;
    DpBuf bufs[16];
    unsigned i;

    g_assert_cmpuint(n, <=, ARRAY_SIZE(bufs));
    tx_buffer = addr;
    memset(p, 0, r->nic->hdr_len);
    memcpy(p, &hdr, sizeof(hdr));
    memcpy(p + r->nic->hdr_len, e->frame, e->spec.len);
    for (i = 0; i < n; i++) {
        bufs[i] = (DpBuf) {
            .addr = addr + i * piece,
            .len = i + 1 < n ? piece : len - i * piece,
        };
    }
    dp_add(r->tx, bufs, n);
    dp_publish(r->tx);
}

static void receive_all(DpRig *r, Expect *e)
{
    while (!expect_done(e)) {
        struct virtio_net_hdr hdr;
        size_t len = dp_sock_recv(r->sock, e->spec.ip6 ? ETH_P_IPV6 : ETH_P_IP,
                                  &hdr, r->got, DP_MAX_FRAME, DP_TIMEOUT_US);

        g_assert_cmpint(hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, ==, 0);
        g_assert_cmpint(hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
        expect_next(e, r->got, len);
    }
}

/* The queue goes on */
static void check_plain_tx(DpRig *r)
{
    struct virtio_net_hdr hdr;
    size_t len;

    dp_make_frame(r->frame, 100, 1);
    dp_transmit(r->nic, NULL, r->frame, 100);
    len = dp_sock_recv(r->sock, DP_ETHERTYPE, &hdr, r->got, DP_MAX_FRAME,
                       DP_TIMEOUT_US);
    dp_assert_frame(r->got, len, r->frame, 100);
}

static void check_plain_rx(DpRig *r)
{
    struct virtio_net_hdr hdr = {};
    size_t len;

    dp_post(r->nic, 1, 1600);
    dp_make_frame(r->frame, 100, 1);
    dp_sock_send(r->sock, &hdr, r->frame, 100);
    len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, len, r->frame, 100);
}

/* Section 5.1.6.2: an interface without offloads gets what it can take */
static void test_tx(const void *opaque)
{
    static const unsigned pieces[] = { 1, 2, 3, 7, 16 };
    DpRig *r = rig_new_plain_tap(HOST_OFFLOADS);
    unsigned i, k, n = 0;

    for (i = 0; i < ARRAY_SIZE(kinds); i++) {
        for (k = 0; k < ARRAY_SIZE(pieces); k++) {
            Expect e;

            expect_start(&e, r->frame, &kinds[i]);
            transmit_pieces(r, &e, pieces[k]);
            receive_all(r, &e);
            dp_wait_used(r->tx, NULL);
            n++;
        }
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", n);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "software-checksums"), ==,
                     4 * ARRAY_SIZE(pieces));
    check_plain_tx(r);
    dp_rig_free(r);
}

/* Segments and other frames in the same bursts, in order */
static void test_tx_mixed(const void *opaque)
{
    DpRig *r = rig_new_plain_tap(HOST_OFFLOADS);
    g_autofree uint8_t *frames = g_malloc(20 * DP_MAX_FRAME);
    Expect e[20];
    unsigned i, round;

    for (round = 0; round < 5; round++) {
        for (i = 0; i < ARRAY_SIZE(e); i++) {
            FrameSpec s = {
                .payload = 500 + i, .tcp = true, .seed = i,
                /* 1 to 20 segments, or none */
                .gso_type = i % 3 ? VIRTIO_NET_HDR_GSO_TCPV4 : 0,
                .gso_size = 500 / (i + 1),
            };

            expect_start(&e[i], frames + i * DP_MAX_FRAME, &s);
            transmit_pieces(r, &e[i], 2);
        }
        for (i = 0; i < ARRAY_SIZE(e); i++) {
            receive_all(r, &e[i]);
            dp_wait_used(r->tx, NULL);
        }
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 5 * ARRAY_SIZE(e));
    dp_rig_free(r);
}

/* More segments than a burst has frames: they come in several */
static void test_tx_many_segments(const void *opaque)
{
    DpRig *r = rig_new_plain_tap(HOST_OFFLOADS);
    FrameSpec s = {
        .payload = 200, .tcp = true,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1,
    };
    Expect e;

    expect_start(&e, r->frame, &s);
    transmit_pieces(r, &e, 3);
    receive_all(r, &e);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 1);
    dp_wait_counter(r->qts, "vd0", DP_TX, "software-segments", 200);
    dp_rig_free(r);
}

/* A hostile guest: 64 KB to be cut into single bytes, again and again */
static void test_tx_segments_of_a_byte(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .null = true, .driver = "offloads=off", .features = HOST_OFFLOADS,
    }, false);
    FrameSpec s = {
        .payload = 65000, .tcp = true,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1,
    };
    unsigned i;
    Expect e;

    expect_start(&e, r->frame, &s);
    for (i = 0; i < 10; i++) {
        transmit_pieces(r, &e, 2);
    }
    /* Queries take the lock, and go through */
    dp_wait_counter(r->qts, "vd0", DP_TX, "software-segments", 10 * s.payload);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 10);
    dp_rig_free(r);
}

/* Section 5.1.6.2: a checksum field that is not among the first 256 bytes */
static void test_tx_far_checksum(const void *opaque)
{
    static const size_t fields[] = { 254, 255, 256, 700, 998 };
    DpRig *r = rig_new_plain_tap(HOST_OFFLOADS);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(fields); i++) {
        struct virtio_net_hdr hdr = {
            .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
            .csum_start = cpu_to_le16(20),
            .csum_offset = cpu_to_le16(fields[i] - 20),
        };
        uint16_t sum;
        size_t len;

        dp_make_frame(r->frame, 1000, i);
        sum = ~frames_fold(frames_sum(r->frame + 20, 980));
        dp_transmit(r->nic, &hdr, r->frame, 1000);
        len = dp_sock_recv(r->sock, DP_ETHERTYPE, &hdr, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        stw_be_p(r->frame + fields[i], sum);
        dp_assert_frame(r->got, len, r->frame, 1000);
    }
    dp_rig_free(r);
}

/* ---- To the guest ---- */

/* Section 5.1.6.5.6 */
static void set_guest_offloads(DpRig *r, uint64_t offloads)
{
    uint64_t data = cpu_to_le64(offloads);

    g_assert_cmpint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
                                VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
                                &data, sizeof(data)), ==, VIRTIO_NET_OK);
}

/* The next @n frames have no metadata, and are what is expected */
static void receive_plain(DpRig *r, Expect *e, unsigned n)
{
    while (n--) {
        struct virtio_net_hdr_v1 hdr;
        size_t len = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);

        g_assert_cmpint(hdr.flags, ==, 0);
        g_assert_cmpint(hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
        expect_next(e, r->got, len);
    }
}

/* A frame that is with the driver when the guest has no buffers */
static void send_in_flight(DpRig *r, Expect *e, const FrameSpec *spec)
{
    struct virtio_net_hdr hdr;

    expect_start(e, r->frame, spec);
    hdr = make_hdr(&e->spec);
    dp_sock_send(r->sock, &hdr, r->frame, e->spec.len);
    /* It is lent to the engine by now, or soon: both are to be had */
    g_usleep(2000);
}

static const FrameSpec rx_tso = {
    .payload = 30000, .tcp = true, .tcp_flags = 0x18, .ip_id = 77,
    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448,
};

/* ethtool -K while frames are on their way (section 5.1.6.5.6) */
static void test_rx_in_flight(const void *opaque)
{
    static const FrameSpec checksum = { .payload = 700 };
    const FrameSpec *specs[] = { &rx_tso, &checksum };
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = GUEST_OFFLOADS | CTRL_OFFLOADS |
                    DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
    }, true);
    unsigned i, round;

    for (round = 0; round < 5; round++) {
        for (i = 0; i < ARRAY_SIZE(specs); i++) {
            Expect e;

            send_in_flight(r, &e, specs[i]);
            set_guest_offloads(r, 0);
            dp_post(r->nic, 25, 1600);
            while (!expect_done(&e)) {
                receive_plain(r, &e, 1);
            }
            /* The rest of the buffers has to go, too */
            while (r->rx->ring.reaped != r->rx->ring.published) {
                dp_make_frame(r->frame, 100, i);
                dp_sock_send(r->sock, &(struct virtio_net_hdr) {}, r->frame,
                             100);
                dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
            }
            set_guest_offloads(r, GUEST_OFFLOADS);
        }
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "software-checksums"), ==,
                     5);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "software-segments"), ==,
                     5 * DIV_ROUND_UP(rx_tso.payload, rx_tso.gso_size));
    dp_rig_free(r);
}

/* Without mergeable buffers: segments that do not fit are one lost frame */
static void test_rx_too_large(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = GUEST_OFFLOADS | CTRL_OFFLOADS,
    }, true);
    Expect e;
    size_t len;

    send_in_flight(r, &e, &rx_tso);
    set_guest_offloads(r, 0);
    dp_post(r->nic, 25, 1000);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:too-large", 1);
    dp_make_frame(r->frame, 100, 1);
    dp_sock_send(r->sock, &(struct virtio_net_hdr) {}, r->frame, 100);
    len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, len, r->frame, 100);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "drop:too-large"), ==, 1);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "packets"), ==, 1);
    dp_rig_free(r);
}

/* Buffers come one by one, and offloads go on and off inside of a frame */
static void test_rx_switched_inside(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = GUEST_OFFLOADS | CTRL_OFFLOADS,
    }, true);
    struct virtio_net_hdr_v1 hdr;
    unsigned i = 0;
    size_t len;
    Expect e;

    send_in_flight(r, &e, &rx_tso);
    set_guest_offloads(r, 0);
    while (!expect_done(&e)) {
        bool takes = i++ & 1;

        set_guest_offloads(r, takes ? GUEST_OFFLOADS : 0);
        dp_post(r->nic, 1, 1600);
        len = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
        /* A frame that was begun stays cut, but checksums follow suit */
        g_assert_cmpint(hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
        g_assert_cmpint(hdr.flags, ==,
                        takes ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
        if (takes) {
            dp_checksum_complete(r->got, len, (struct virtio_net_hdr *)&hdr);
        }
        expect_next(&e, r->got, len);
    }
    check_plain_rx(r);
    dp_rig_free(r);
}

/* A reset in the middle of a frame: the rest is dropped, once, and counted */
static void test_rx_reset_inside(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = GUEST_OFFLOADS | CTRL_OFFLOADS,
    }, true);
    Expect e;

    send_in_flight(r, &e, &rx_tso);
    set_guest_offloads(r, 0);
    dp_post(r->nic, 3, 1600);
    receive_plain(r, &e, 3);
    dp_rig_restart(r);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:stopped", 1);
    check_plain_rx(r);
    dp_rig_free(r);
}

/* ---- More datagrams than Linux takes in one frame ---- */

#define USO_OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_USO4) | DP_FEATURE(VIRTIO_NET_F_GUEST_USO6))

static const FrameSpec many_datagrams[] = {
    { .payload = 64 * 400, .gso_size = 400 },
    { .payload = 64 * 400 + 1, .gso_size = 400, .ip_id = 0xffc0 },
    { .payload = 129 * 400, .gso_size = 400, .ip_options = 8 },
    { .payload = 1000 * 40 - 1, .gso_size = 40, .ip6 = true },
    { .payload = 3001, .gso_size = 1 },
};

/* A frame that is still to be segmented: its datagrams are the next ones */
static void expect_datagrams(Expect *e, const struct virtio_net_hdr *hdr,
                             uint8_t *got, size_t len)
{
    struct iovec whole = { .iov_base = got, .iov_len = len };
    VhostDPFrame f = {
        .iov = &whole,
        .iovcnt = 1,
        .len = len,
        .flags = hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = hdr->gso_type,
        .gso_size = le16_to_cpu(hdr->gso_size),
        .csum_start = le16_to_cpu(hdr->csum_start),
        .csum_offset = le16_to_cpu(hdr->csum_offset),
    };
    g_autofree uint8_t *datagram = g_malloc(DP_MAX_FRAME);
    uint8_t head[VHOST_DP_HEAD_BYTES];
    VhostDPSegmenter seg;
    VhostDPFrame segment;
    struct iovec iov[2];

    g_assert_true(vhost_dp_offload_check(&f, got,
                                         MIN(len, VHOST_DP_HEAD_BYTES)));
    if (!f.gso_type) {
        if (f.flags) {
            vhost_dp_offload_finish_checksum(&f);
        }
        expect_next(e, got, len);
        return;
    }
    g_assert_cmpint(f.gso_type, ==, VIRTIO_NET_HDR_GSO_UDP_L4);
    g_assert_cmpuint(f.gso_size, ==, e->spec.gso_size);
    g_assert_cmpuint(len - e->spec.data, <=, 64 * f.gso_size);
    vhost_dp_segmenter_init(&seg, &f, got, 0);
    for (; !vhost_dp_segmenter_done(&seg); vhost_dp_segmenter_advance(&seg)) {
        vhost_dp_segmenter_make(&seg, 0, &segment, head, iov);
        iov_to_buf(segment.iov, segment.iovcnt, 0, datagram, segment.len);
        expect_next(e, datagram, segment.len);
    }
}

/* What the number of frames has to be, and no datagram on its own */
static unsigned frames_of_64(const FrameSpec *s)
{
    return DIV_ROUND_UP(DIV_ROUND_UP(s->payload, s->gso_size), 64);
}

static void datagrams_start(Expect *e, uint8_t *frame, const FrameSpec *spec)
{
    FrameSpec s = *spec;

    s.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
    expect_start(e, frame, &s);
}

/* To the host's interface */
static void test_tx_many_datagrams(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .features = HOST_OFFLOADS }, true);
    unsigned i, n;

    for (i = 0; i < ARRAY_SIZE(many_datagrams); i++) {
        Expect e;

        datagrams_start(&e, r->frame, &many_datagrams[i]);
        transmit_pieces(r, &e, 3);
        for (n = 0; !expect_done(&e); n++) {
            struct virtio_net_hdr hdr;
            size_t len = dp_sock_recv(r->sock,
                                      e.spec.ip6 ? ETH_P_IPV6 : ETH_P_IP,
                                      &hdr, r->got, DP_MAX_FRAME,
                                      DP_TIMEOUT_US);

            g_assert_cmpuint(len, >, 0);
            expect_datagrams(&e, &hdr, r->got, len);
        }
        g_assert_cmpuint(n, ==, frames_of_64(&e.spec));
        dp_wait_used(r->tx, NULL);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", i);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "drop:driver-error"), ==,
                     0);
    check_plain_tx(r);
    dp_rig_free(r);
}

/* To the guest, whose kernel may be the one that takes 64 */
static void test_rx_many_datagrams(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .null = true, .driver = "loopback=on",
        .features = HOST_OFFLOADS | USO_OFFLOADS,
    }, false);
    unsigned i, n;

    for (i = 0; i < ARRAY_SIZE(many_datagrams); i++) {
        Expect e;

        datagrams_start(&e, r->frame, &many_datagrams[i]);
        transmit_pieces(r, &e, 3);
        for (n = 0; !expect_done(&e); n++) {
            struct virtio_net_hdr_v1 hdr;
            size_t len;

            dp_post(r->nic, 1, 12 + 65562);
            len = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
            expect_datagrams(&e, (struct virtio_net_hdr *)&hdr, r->got, len);
        }
        g_assert_cmpuint(n, ==, frames_of_64(&e.spec));
        dp_wait_used(r->tx, NULL);
    }
    dp_rig_free(r);
}

/* ---- Through a driver with little room: vhost-dp-null,loopback=on ---- */

static DpRig *rig_new_loop(const char *driver, uint64_t features)
{
    return dp_rig_start(&(DpSetup) {
        .null = true, .driver = driver, .features = features,
    }, false);
}

static const FrameSpec tx_tso = {
    .payload = 60000, .ip6 = true, .tcp = true, .tags = 2, .tcp_flags = 0x99,
    .gso_type = VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN,
    .gso_size = 1400,
};

/*
 * The driver takes a part of a frame's segments, again and again.  The guest
 * has its buffers back from the start, and uses them for something else.
 */
static void test_loop_partly_taken(const void *opaque)
{
    DpRig *r = rig_new_loop("loopback=on,offloads=off", HOST_OFFLOADS);
    g_autofree uint8_t *frames = g_malloc(3 * DP_MAX_FRAME);
    unsigned i, round;
    Expect e[3];

    for (round = 0; round < 3; round++) {
        uint64_t first = 0;

        for (i = 0; i < ARRAY_SIZE(e); i++) {
            expect_start(&e[i], frames + i * DP_MAX_FRAME, &tx_tso);
            transmit_pieces(r, &e[i], 5);
            first = first ?: tx_buffer;
        }
        /* There are no receive buffers, so this one is not all sent */
        dp_wait_used(r->tx, NULL);
        memset(dp_host(r->guest, first), 0xee, e[0].spec.len);
        for (i = 0; i < ARRAY_SIZE(e); i++) {
            while (!expect_done(&e[i])) {
                dp_post(r->nic, 1, 1600);
                receive_plain(r, &e[i], 1);
            }
            if (i) {
                dp_wait_used(r->tx, NULL);
            }
        }
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 3 * ARRAY_SIZE(e));
    /* What the driver did not take at once counts once */
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "software-segments"), ==,
                     3 * ARRAY_SIZE(e) *
                     DIV_ROUND_UP(tx_tso.payload, tx_tso.gso_size));
    dp_rig_free(r);
}

/* Frames that wait for room in the driver have their checksums done again */
static void test_loop_checksums(const void *opaque)
{
    DpRig *r = rig_new_loop("loopback=on,offloads=off", HOST_OFFLOADS);
    FrameSpec spec = { .payload = 100 };
    unsigned i;
    Expect e;

    for (i = 0; i < 24; i++) {
        expect_start(&e, r->frame, &spec);
        transmit_pieces(r, &e, 2);
    }
    for (i = 0; i < 24; i++) {
        expect_start(&e, r->frame, &spec);
        dp_post(r->nic, 1, 1600);
        receive_plain(r, &e, 1);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 24);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "software-checksums"), ==,
                     24);
    dp_rig_free(r);
}

/* A reset while the driver has a part of a frame: it is dropped, and counted */
static void test_loop_reset_inside(const void *opaque)
{
    DpRig *r = rig_new_loop("loopback=on,offloads=off", HOST_OFFLOADS);
    FrameSpec plain = { .payload = 100 };
    Expect e;

    expect_start(&e, r->frame, &tx_tso);
    transmit_pieces(r, &e, 5);
    dp_wait_used(r->tx, NULL);
    dp_rig_restart(r);
    dp_wait_counter(r->qts, "vd0", DP_TX, "drop:stopped", 1);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 0);

    /* What the driver has is still to come: it was sent.  Then all is well. */
    expect_start(&e, r->frame, &plain);
    transmit_pieces(r, &e, 1);
    for (;;) {
        size_t len;

        dp_post(r->nic, 1, 1600);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        if (len == e.spec.len) {
            expect_next(&e, r->got, len);
            break;
        }
    }
    dp_rig_free(r);
}

/* The guest disables the queue pair while the driver has a part of a frame */
static void test_loop_disable_inside(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .null = true, .driver = "loopback=on,offloads=off", .pairs = 2,
        .features = HOST_OFFLOADS,
    }, false);
    const unsigned tx = 2 + DP_TX, rx = 2 + DP_RX;
    Expect e;

    r->tx = &r->nic->queue[tx];
    expect_start(&e, r->frame, &tx_tso);
    transmit_pieces(r, &e, 5);
    dp_wait_used(r->tx, NULL);
    dp_nic_set_pairs(r->nic, 1);
    dp_wait_counter(r->qts, "vd0", tx, "drop:disabled", 1);
    /* The driver has room now, but is not to be given anything */
    dp_post(r->nic, 16, 1600);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 16);
    dp_wait_counter(r->qts, "vd0", rx, "packets", 0);
    dp_wait_counter(r->qts, "vd0", tx, "packets", 0);
    dp_rig_free(r);
}

/* A driver that cannot be told what the guest takes, and frames of all kinds */
static void test_loop_rx(const void *opaque)
{
    DpRig *r = rig_new_loop("loopback=on", HOST_OFFLOADS);
    unsigned i, tags;

    for (i = 0; i < ARRAY_SIZE(kinds); i++) {
        for (tags = 0; tags < 3; tags++) {
            FrameSpec s = kinds[i];
            Expect e;

            s.tags = tags;
            expect_start(&e, r->frame, &s);
            transmit_pieces(r, &e, 3);
            while (!expect_done(&e)) {
                dp_post(r->nic, 1, 1600);
                receive_plain(r, &e, 1);
            }
            dp_wait_used(r->tx, NULL);
        }
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "software-segments"), ==,
                     0);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "software-checksums"), ==,
                     4 * 3);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("soft/tx", NULL, test_tx);
    dp_add_ring_test("soft/tx-mixed", NULL, test_tx_mixed);
    dp_add_ring_test("soft/tx-many-segments", NULL, test_tx_many_segments);
    dp_add_test("soft/tx-segments-of-a-byte", NULL,
                test_tx_segments_of_a_byte);
    dp_add_test("soft/tx-far-checksum", NULL, test_tx_far_checksum);
    dp_add_ring_test("soft/tx-many-datagrams", NULL, test_tx_many_datagrams);
    dp_add_ring_test("soft/rx-many-datagrams", NULL, test_rx_many_datagrams);
    dp_add_ring_test("soft/rx-in-flight", NULL, test_rx_in_flight);
    dp_add_test("soft/rx-too-large", NULL, test_rx_too_large);
    dp_add_test("soft/rx-switched-inside", NULL, test_rx_switched_inside);
    dp_add_test("soft/rx-reset-inside", NULL, test_rx_reset_inside);
    dp_add_ring_test("soft/loop-partly-taken", NULL, test_loop_partly_taken);
    dp_add_test("soft/loop-checksums", NULL, test_loop_checksums);
    dp_add_test("soft/loop-reset-inside", NULL, test_loop_reset_inside);
    dp_add_test("soft/loop-disable-inside", NULL, test_loop_disable_inside);
    dp_add_ring_test("soft/loop-rx", NULL, test_loop_rx);
    return g_test_run();
}
