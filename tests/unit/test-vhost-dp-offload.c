/*
 * vhost-dp: tests of checksums and segmentation in software
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What comes out is read by code of the test's own; tests/qtest has a test
 * that compares it with what Linux makes of the same frames.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp/offload/offload.h"
#include "tests/vhost-dp/lib/frames.h"

#define MAX_FRAME 70000
#define MAX_PIECES 20
#define CWR 0x80
#define FIN_PSH 0x09

static GRand *rnd;

/* A frame in pieces, as the engine has it */
typedef struct Rig {
    FrameSpec spec;
    uint8_t buf[MAX_FRAME];
    uint8_t head[VHOST_DP_HEAD_BYTES];
    size_t head_len;
    struct iovec iov[MAX_PIECES + 1];
    VhostDPFrame frame;
} Rig;

/* Cut @buf at random places; no piece is empty */
static void rig_cut(Rig *r, uint8_t *buf, size_t len)
{
    unsigned max = g_rand_int_range(rnd, 1, MAX_PIECES + 1);
    unsigned n = 0;

    while (len) {
        size_t piece = n + 1 == max ? len : g_rand_int_range(rnd, 1, len + 1);

        if (g_rand_boolean(rnd)) {
            piece = MIN(piece, g_rand_int_range(rnd, 1, 70));
        }
        if (n + 1 == MAX_PIECES) {
            piece = len;
        }
        r->iov[n++] = (struct iovec) { .iov_base = buf, .iov_len = piece };
        buf += piece;
        len -= piece;
    }
    r->frame.iov = r->iov;
    r->frame.iovcnt = n;
}

static void rig_set_frame(Rig *r)
{
    const FrameSpec *s = &r->spec;

    r->frame = (VhostDPFrame) {
        .len = s->len,
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = s->gso_type,
        .gso_size = s->gso_size,
        .hdr_len = g_rand_int(rnd),     /* a hint; it may be anything */
        .csum_start = s->l4,
        .csum_offset = s->tcp ? 16 : 6,
    };
    rig_cut(r, r->buf, s->len);
    r->head_len = MIN(s->len, VHOST_DP_HEAD_BYTES);
    memcpy(r->head, r->buf, r->head_len);
}

static void rig_build(Rig *r)
{
    frames_build(&r->spec, r->buf);
    rig_set_frame(r);
}

static void rig_random(Rig *r, bool gso)
{
    do {
        frames_random(&r->spec, rnd, gso);
        /* The engine looks at the first 256 bytes only */
    } while (frames_len(&r->spec) - r->spec.payload +
             VHOST_DP_FRAGMENT_HEADER > VHOST_DP_HEAD_BYTES);
    rig_build(r);
}

/* ---- Sums ---- */

/* RFC 1071 on all lengths and alignments */
static void test_sum(void)
{
    g_autofree uint8_t *buf = g_malloc(1100);
    unsigned i, at, len;

    for (i = 0; i < 1100; i++) {
        buf[i] = g_rand_int(rnd);
    }
    for (at = 0; at < 9; at++) {
        for (len = 0; len < 1000; len++) {
            g_assert_cmphex(be16_to_cpu(vhost_dp_csum(buf + at, len)), ==,
                            frames_fold(frames_sum(buf + at, len)));
        }
    }
    memset(buf, 0xff, 1100);
    g_assert_cmphex(vhost_dp_csum(buf, 1100), ==, 0xffff);
}

/* 64 KB of ones: the sum does not overflow */
static void test_sum_long(void)
{
    g_autofree uint8_t *buf = g_malloc(65536);

    memset(buf, 0xff, 65536);
    g_assert_cmphex(be16_to_cpu(vhost_dp_csum(buf, 65536)), ==,
                    frames_fold(frames_sum(buf, 65536)));
    g_assert_cmphex(be16_to_cpu(vhost_dp_csum(buf, 65535)), ==,
                    frames_fold(frames_sum(buf, 65535)));
}

/* Pieces of odd lengths in a row */
static void test_sum_pieces(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    unsigned i, k;

    for (i = 0; i < 2000; i++) {
        size_t len = g_rand_int_range(rnd, 1, 3000);
        size_t from = g_rand_int_range(rnd, 0, len);
        size_t n = g_rand_int_range(rnd, 0, len - from + 1);
        uint16_t sum;

        for (k = 0; k < len; k++) {
            r->buf[k] = g_rand_int(rnd);
        }
        rig_cut(r, r->buf, len);
        sum = vhost_dp_csum_iov(r->iov, r->frame.iovcnt, from, n);
        g_assert_cmphex(be16_to_cpu(sum), ==,
                        frames_fold(frames_sum(r->buf + from, n)));
    }
}

/* ---- Checksums ---- */

static void test_checksum(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree uint8_t *before = g_malloc(MAX_FRAME);
    unsigned i;

    for (i = 0; i < 500; i++) {
        size_t field;

        rig_random(r, false);
        field = r->frame.csum_start + r->frame.csum_offset;
        memcpy(before, r->buf, r->spec.len);
        g_assert_true(vhost_dp_offload_check(&r->frame, r->head, r->head_len));
        vhost_dp_offload_finish_checksum(&r->frame);
        g_assert_cmpint(r->frame.flags, ==, 0);
        g_assert_true(frames_l4_checksum_ok(&r->spec, r->buf, r->spec.len));
        /* Nothing else has changed */
        memcpy(before + field, r->buf + field, 2);
        g_assert_cmpmem(before, r->spec.len, r->buf, r->spec.len);
    }
}

/* RFC 768: a sum of zero is sent as ones, since zero says that there is none */
static void test_checksum_zero(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    unsigned field;
    uint16_t sum;

    r->spec = (FrameSpec) { .payload = 20 };
    rig_build(r);
    field = r->spec.l4 + 6;
    /* Choose the last word so that everything adds up to ones */
    stw_be_p(r->buf + r->spec.len - 2, 0);
    sum = frames_fold(frames_sum(r->buf + r->spec.l4,
                                 r->spec.len - r->spec.l4));
    stw_be_p(r->buf + r->spec.len - 2, ~sum);
    vhost_dp_offload_finish_checksum(&r->frame);
    g_assert_cmphex(lduw_be_p(r->buf + field), ==, 0xffff);
    g_assert_true(frames_l4_checksum_ok(&r->spec, r->buf, r->spec.len));
}

/* The field may be anywhere, also across two pieces and at the very end */
static void test_checksum_anywhere(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    unsigned i, k;

    for (i = 0; i < 500; i++) {
        size_t len = g_rand_int_range(rnd, 16, 600);
        size_t start = g_rand_int_range(rnd, 14, len - 1);
        size_t offset = g_rand_int_range(rnd, 0, len - start - 1);
        uint16_t want;

        for (k = 0; k < len; k++) {
            r->buf[k] = g_rand_int(rnd);
        }
        r->frame = (VhostDPFrame) {
            .len = len,
            .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
            .csum_start = start,
            .csum_offset = offset,
        };
        rig_cut(r, r->buf, len);
        g_assert_true(vhost_dp_offload_check(&r->frame, r->buf,
                                             MIN(len, VHOST_DP_HEAD_BYTES)));
        want = ~frames_fold(frames_sum(r->buf + start, len - start));
        vhost_dp_offload_finish_checksum(&r->frame);
        g_assert_cmphex(lduw_be_p(r->buf + start + offset), ==, want ?: 0xffff);
    }
}

/* ---- Segmentation ---- */

/* One segment after the other, in one piece */
typedef struct Cutter {
    VhostDPSegmenter seg;
    uint32_t offloads;          /* of the receiver */
    uint8_t head[VHOST_DP_HEAD_BYTES];
    struct iovec iov[MAX_PIECES + 2];
    uint8_t buf[MAX_FRAME];
    VhostDPFrame frame;
    size_t len;
} Cutter;

static void cutter_start(Cutter *c, Rig *r, uint32_t offloads)
{
    if (r->spec.tunnel) {
        /* From a driver only, and not for the guest as it is */
        g_assert_false(vhost_dp_offload_check(&r->frame, r->head,
                                              r->head_len));
        g_assert_cmpuint(vhost_dp_offload_fits(&r->frame, r->head,
                                               r->head_len), ==, 0);
        g_assert_true(vhost_dp_offload_check_received(&r->frame, r->head,
                                                      r->head_len));
    } else {
        if (r->frame.gso_type) {
            g_assert_cmpuint(vhost_dp_offload_fits(&r->frame, r->head,
                                                   r->head_len), ==,
                             r->spec.data);
        }
        g_assert_true(vhost_dp_offload_check(&r->frame, r->head, r->head_len));
    }
    g_assert_cmpuint(r->frame.hdr_len, ==, r->spec.data);
    vhost_dp_segmenter_init(&c->seg, &r->frame, r->head, 0x1a2b3c4d);
    c->offloads = offloads;
}

static bool cutter_next(Cutter *c)
{
    unsigned i;

    if (vhost_dp_segmenter_done(&c->seg)) {
        return false;
    }
    /* The engine makes segments where there were other frames before */
    memset(&c->frame, 0xff, sizeof(c->frame));
    vhost_dp_segmenter_make(&c->seg, c->offloads, &c->frame, c->head, c->iov);
    if (c->seg.units == 1) {
        g_assert_cmpint(c->frame.gso_type, ==, 0);
    }
    if (!c->frame.gso_type) {
        g_assert_cmpint(c->frame.gso_size, ==, 0);
        g_assert_cmpint(c->frame.hdr_len, ==, 0);
    }
    g_assert_cmpuint(c->frame.len, <=,
                     vhost_dp_segmenter_max_frame(&c->seg));
    g_assert_cmpuint(iov_size(c->frame.iov, c->frame.iovcnt), ==,
                     c->frame.len);
    for (i = 0; i < c->frame.iovcnt; i++) {
        g_assert_cmpuint(c->frame.iov[i].iov_len, >, 0);
    }
    c->len = iov_to_buf(c->frame.iov, c->frame.iovcnt, 0, c->buf,
                        c->frame.len);
    vhost_dp_segmenter_advance(&c->seg);
    return true;
}

static void check_lengths(const FrameSpec *s, const Cutter *c)
{
    if (s->ip6) {
        g_assert_cmpuint(lduw_be_p(c->buf + s->l3 + 4), ==,
                         c->len - s->l3 - 40);
    } else {
        g_assert_cmpuint(lduw_be_p(c->buf + s->l3 + 2), ==, c->len - s->l3);
        g_assert_true(frames_ip4_checksum_ok(s, c->buf));
    }
}

static void blank_outer_fields(const FrameSpec *s, uint8_t *head)
{
    memset(head + s->outer_l3 + (s->outer_ip6 ? 4 : 2), 0, 2);
    if (!s->outer_ip6) {
        memset(head + s->outer_l3 + 4, 0, 2);
        memset(head + s->outer_l3 + 10, 0, 2);
    }
    if (s->tunnel <= FRAMES_UDP) {
        memset(head + s->outer_l4 + 4, 0, 4);               /* both */
    } else if (s->tunnel != FRAMES_IPIP && s->outer_checksum) {
        memset(head + s->outer_l4 + 4, 0, 2);               /* GRE's */
    }
}

/* What may differ between the headers of the frame and of a segment */
static void blank_segment_fields(const FrameSpec *s, uint8_t *head)
{
    if (s->tunnel) {
        blank_outer_fields(s, head);
    }
    memset(head + s->l3 + (s->ip6 ? 4 : 2), 0, 2);          /* length */
    if (!s->ip6) {
        memset(head + s->l3 + 4, 0, 2);                     /* id */
        memset(head + s->l3 + 10, 0, 2);                    /* checksum */
    }
    if (s->tcp) {
        memset(head + s->l4 + 4, 0, 4);                     /* sequence */
        head[s->l4 + 13] &= ~(CWR | FIN_PSH);
        memset(head + s->l4 + 16, 0, 2);                    /* checksum */
    } else {
        memset(head + s->l4 + 4, 0, 4);                     /* both */
    }
}

static void check_segment(const Rig *r, Cutter *c, unsigned index, size_t seen)
{
    const FrameSpec *s = &r->spec;
    bool last = seen + s->gso_size >= s->payload;
    size_t data = last ? s->payload - seen : s->gso_size;
    uint8_t head[VHOST_DP_HEAD_BYTES];

    g_assert_cmpuint(c->len, ==, s->data + data);
    g_assert_cmpmem(c->buf + s->data, data, r->buf + s->data + seen, data);
    check_lengths(s, c);
    g_assert_true(frames_l4_checksum_ok(s, c->buf, c->len));
    if (!s->ip6) {
        g_assert_cmphex(lduw_be_p(c->buf + s->l3 + 4), ==,
                        (uint16_t)(s->ip_id + index));
    }
    if (s->tunnel) {
        g_assert_true(frames_outer_ok(s, c->buf, c->len));
        if (!s->outer_ip6) {
            g_assert_cmphex(lduw_be_p(c->buf + s->outer_l3 + 4), ==,
                            (uint16_t)(s->outer_id + index));
        }
    }
    if (s->tcp) {
        uint8_t flags = s->tcp_flags & ~(index ? CWR : 0) &
                        ~(last ? 0 : FIN_PSH);

        g_assert_cmphex((uint32_t)ldl_be_p(c->buf + s->l4 + 4), ==,
                        (uint32_t)(s->seq + seen));
        g_assert_cmphex(c->buf[s->l4 + 13], ==, flags);
    } else {
        g_assert_cmpuint(lduw_be_p(c->buf + s->l4 + 4), ==, 8 + data);
    }

    memcpy(head, r->buf, s->data);
    blank_segment_fields(s, head);
    blank_segment_fields(s, c->buf);
    g_assert_cmpmem(c->buf, s->data, head, s->data);
}

static void check_segments(Rig *r, Cutter *c)
{
    const FrameSpec *s = &r->spec;
    unsigned n = DIV_ROUND_UP(s->payload, s->gso_size);
    unsigned i;

    cutter_start(c, r, 0);
    for (i = 0; i < n; i++) {
        g_assert_cmpuint(vhost_dp_segmenter_left(&c->seg), ==, n - i);
        g_assert_true(cutter_next(c));
        g_assert_cmpint(c->frame.flags, ==, 0);
        check_segment(r, c, i, (size_t)i * s->gso_size);
    }
    g_assert_false(cutter_next(c));
}

/* Put the fragments of a datagram together, as RFC 791 and 8200 have it */
static void check_fragments(Rig *r, Cutter *c)
{
    const FrameSpec *s = &r->spec;
    g_autofree uint8_t *whole = g_malloc0(MAX_FRAME);
    size_t cut = s->ip6 ? s->l3 + 40 : s->l4;   /* what is repeated */
    size_t next_at = s->l3 + 6;
    size_t seen = 0;
    unsigned i, n = 0;
    bool more = true;

    for (i = 0; s->ip6 && i < s->next; i++) {
        /* Up to the routing header, or else the hop-by-hop header */
        if (s->ext[i] == 43 || s->ext[i] == 0) {
            cut = s->l3 + 40 + (i + 1) * 16;
            next_at = s->l3 + 40 + i * 16;
        }
    }

    cutter_start(c, r, VHOST_DP_OFFLOAD_CSUM);
    while (cutter_next(c)) {
        size_t skip = cut + (s->ip6 ? 8 : 0);
        size_t offset;

        g_assert_true(more);
        check_lengths(s, c);
        if (s->ip6) {
            const uint8_t *fragment = c->buf + cut;

            g_assert_cmpint(c->buf[next_at], ==, 44);
            g_assert_cmpint(fragment[0], ==, r->buf[next_at]);
            g_assert_cmphex((uint32_t)ldl_be_p(fragment + 4), ==, 0x1a2b3c4d);
            offset = lduw_be_p(fragment + 2) & ~7;
            more = lduw_be_p(fragment + 2) & 1;
            g_assert_cmphex(lduw_be_p(fragment + 2) & 6, ==, 0);
        } else {
            offset = (lduw_be_p(c->buf + s->l3 + 6) & 0x1fff) * 8;
            more = lduw_be_p(c->buf + s->l3 + 6) & 0x2000;
            g_assert_cmphex(lduw_be_p(c->buf + s->l3 + 4), ==, s->ip_id);
        }
        g_assert_cmpuint(offset, ==, seen);
        g_assert_cmpint(c->frame.flags, ==, 0);
        if (more) {
            g_assert_cmpuint((c->len - skip) % 8, ==, 0);
            g_assert_cmpuint(c->len - skip, ==, s->gso_size & ~7);
        }
        memcpy(whole + cut + offset, c->buf + skip, c->len - skip);
        seen += c->len - skip;
        n++;
    }
    g_assert_false(more);
    g_assert_cmpuint(n, ==, DIV_ROUND_UP(s->len - cut, s->gso_size & ~7));
    g_assert_cmpuint(cut + seen, ==, s->len);

    /* All of it is as it was, but the checksum, which is right now */
    memcpy(whole, r->buf, cut);
    g_assert_true(frames_l4_checksum_ok(s, whole, s->len));
    memcpy(whole + s->l4 + 6, r->buf + s->l4 + 6, 2);
    g_assert_cmpmem(whole, s->len, r->buf, s->len);
}

static void check_any(Rig *r, Cutter *c)
{
    if (r->spec.gso_type == VIRTIO_NET_HDR_GSO_UDP) {
        check_fragments(r, c);
    } else {
        check_segments(r, c);
    }
}

static void test_random(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    unsigned i;

    for (i = 0; i < 1000; i++) {
        rig_random(r, true);
        check_any(r, c);
    }
}

/* Where the last segment is full, one byte short, one byte long */
static void test_edges(void)
{
    static const uint8_t types[] = {
        VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
        VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4,
    };
    static const unsigned sizes[] = { 8, 536, 1448, 1460, 8948, 65535 };
    static const int lens[] = { 1, -1, 0, 1, 7, 8, 9 };
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    unsigned t, i, k, ip6;

    for (t = 0; t < ARRAY_SIZE(types); t++) {
        for (i = 0; i < ARRAY_SIZE(sizes); i++) {
            for (k = 0; k < ARRAY_SIZE(lens); k++) {
                for (ip6 = 0; ip6 < 2; ip6++) {
                    bool tcp = types[t] != VIRTIO_NET_HDR_GSO_UDP &&
                               types[t] != VIRTIO_NET_HDR_GSO_UDP_L4;
                    size_t payload = k ? 2 * sizes[i] + lens[k] : 1;

                    if (tcp && ip6 != (types[t] == VIRTIO_NET_HDR_GSO_TCPV6)) {
                        continue;
                    }
                    r->spec = (FrameSpec) {
                        .ip6 = ip6,
                        .tcp = tcp,
                        .tcp_flags = 0xff,
                        .ip_id = 0xffff,
                        .seq = 0xfffffff0,
                        .payload = MIN(payload, 65000),
                        .gso_type = types[t],
                        .gso_size = sizes[i],
                    };
                    rig_build(r);
                    check_any(r, c);
                }
            }
        }
    }
}

/* ---- Tunnels ---- */

/* A random frame; returns false if its headers are too long */
static bool rig_random_tunnel(Rig *r, FramesTunnel tunnel)
{
    do {
        frames_random(&r->spec, rnd, true);
    } while (r->spec.gso_type == VIRTIO_NET_HDR_GSO_UDP);
    frames_add_tunnel(&r->spec, rnd, tunnel);
    if (frames_len(&r->spec) - r->spec.payload > VHOST_DP_HEAD_BYTES) {
        return false;
    }
    rig_build(r);
    return true;
}

/* Outer and inner headers, lengths, numbers and checksums of all segments */
static void test_tunnels(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    unsigned tunnel, i;

    for (tunnel = 1; tunnel < FRAMES_NTUNNELS; tunnel++) {
        for (i = 0; i < 100; i++) {
            if (rig_random_tunnel(r, tunnel)) {
                check_segments(r, c);
            }
        }
    }
}

/*
 * The outer checksum is complete when the inner one is not yet: it is right
 * once that is (Linux: local checksum offload).
 */
static void test_tunnels_partial(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    unsigned tunnel, i;

    for (tunnel = 1; tunnel < FRAMES_NTUNNELS; tunnel++) {
        for (i = 0; i < 30; i++) {
            if (!rig_random_tunnel(r, tunnel)) {
                continue;
            }
            cutter_start(c, r, VHOST_DP_OFFLOAD_ALL);
            while (cutter_next(c)) {
                g_assert_cmpint(c->frame.flags, ==,
                                VIRTIO_NET_HDR_F_NEEDS_CSUM);
                g_assert_cmpuint(c->frame.csum_start, ==, r->spec.l4);
                vhost_dp_offload_finish_checksum(&c->frame);
                iov_to_buf(c->frame.iov, c->frame.iovcnt, 0, c->buf, c->len);
                g_assert_true(frames_l4_checksum_ok(&r->spec, c->buf, c->len));
                g_assert_true(frames_outer_ok(&r->spec, c->buf, c->len));
            }
        }
    }
}

/* What is almost a tunnel is not cut; each of these is one lie */
static void test_tunnel_lies(void)
{
    const struct {
        const char *what;
        FramesTunnel tunnel;
        int at;                 /* from the outer UDP or GRE header on */
        uint8_t value;
    } cases[] = {
        { "VXLAN without a network", FRAMES_VXLAN, 8, 0 },
        { "VXLAN-GPE of IPv6", FRAMES_VXLAN_GPE, 11, 2 },
        { "VXLAN-GPE of a service header", FRAMES_VXLAN_GPE, 11, 4 },
        { "GENEVE of version 1", FRAMES_GENEVE, 8, 0x43 },
        { "GENEVE with other options", FRAMES_GENEVE, 8, 2 },
        { "GENEVE with endless options", FRAMES_GENEVE, 8, 0x3f },
        { "GENEVE of something else", FRAMES_GENEVE, 11, 0x59 },
        { "GRE with a sequence number", FRAMES_GRE, 0, 0x10 },
        { "GRE with routing", FRAMES_GRE, 0, 0x40 },
        { "GRE of version 1", FRAMES_GRE, 1, 1 },
        { "GRE with a checksum that is not there", FRAMES_GRE, 0, 0x80 },
        { "GRE of something else", FRAMES_GRE, 3, 1 },
        { "a first fragment", FRAMES_VXLAN, -14, 0x20 },
        { "an unknown protocol", FRAMES_VXLAN, -11, 115 },
        { "IP in IP of another version", FRAMES_IPIP, -11, 41 },
    };
    g_autofree Rig *r = g_new0(Rig, 1);
    size_t len;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        r->spec = (FrameSpec) {
            .tcp = true, .payload = 3000, .tunnel = cases[i].tunnel,
            .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1000,
        };
        rig_build(r);
        g_assert_true(vhost_dp_offload_check_received(&r->frame, r->head,
                                                      r->head_len));
        rig_set_frame(r);
        r->head[r->spec.outer_l4 + cases[i].at] = cases[i].value;
        if (vhost_dp_offload_check_received(&r->frame, r->head,
                                            r->head_len) ||
            vhost_dp_offload_fits(&r->frame, r->head, r->head_len)) {
            g_error("not found: %s", cases[i].what);
        }
        /* Headers may end anywhere: for sanitizers */
        for (len = 0; len <= r->spec.data; len++) {
            g_autofree uint8_t *head = g_memdup2(r->buf, len);

            rig_set_frame(r);
            r->frame.len = len;
            g_assert_false(vhost_dp_offload_check_received(&r->frame, head,
                                                           len));
        }
    }
}

/* Metadata of another packet than the one that is there */
static void test_does_not_fit(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    unsigned i;

    for (i = 0; i < 6; i++) {
        r->spec = (FrameSpec) {
            .tcp = true, .payload = 3000,
            .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1000,
        };
        rig_build(r);
        g_assert_cmpuint(vhost_dp_offload_fits(&r->frame, r->head,
                                               r->head_len), ==, r->spec.data);
        switch (i) {
        case 0:
            r->frame.csum_start += 20;
            break;
        case 1:
            r->frame.csum_offset = 6;
            break;
        case 2:
            r->frame.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
            break;
        case 3:
            r->frame.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
            break;
        case 4:
            r->frame.gso_size = 0;
            break;
        case 5:
            r->frame.len = r->spec.data;
            break;
        }
        g_assert_cmpuint(vhost_dp_offload_fits(&r->frame, r->head,
                                               r->head_len), ==, 0);
        g_assert_false(vhost_dp_offload_check_received(&r->frame, r->head,
                                                       r->head_len));
    }
}

/* ---- Segments that are to be segmented ---- */

/*
 * Segments of several datagrams, cut again by one who takes one at a time: the
 * same datagrams, in the same order, with the same numbers.
 */
static void test_units(void)
{
    static const unsigned units[] = { 1, 2, 7, 64, 1000 };
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    g_autofree Cutter *again = g_new0(Cutter, 1);
    unsigned i;

    for (i = 0; i < 200; i++) {
        unsigned n = 0;

        do {
            rig_random(r, true);
        } while (r->spec.gso_type != VIRTIO_NET_HDR_GSO_UDP_L4);
        cutter_start(c, r, VHOST_DP_OFFLOAD_ALL);
        for (;;) {
            unsigned u = units[g_rand_int_range(rnd, 0, ARRAY_SIZE(units))];
            size_t data;

            vhost_dp_segmenter_set_units(&c->seg, u);
            if (!cutter_next(c)) {
                break;
            }
            data = c->len - r->spec.data;
            g_assert_cmpuint(data, <=, u * r->spec.gso_size);
            g_assert_cmpint(c->frame.flags, ==, VIRTIO_NET_HDR_F_NEEDS_CSUM);
            g_assert_true(vhost_dp_offload_check(&c->frame, c->buf,
                              MIN(c->len, VHOST_DP_HEAD_BYTES)));
            if (data <= r->spec.gso_size) {
                g_assert_cmpint(c->frame.gso_type, ==, 0);
                vhost_dp_offload_finish_checksum(&c->frame);
                iov_to_buf(c->frame.iov, c->frame.iovcnt, 0, c->buf, c->len);
                check_segment(r, c, n, (size_t)n * r->spec.gso_size);
                n++;
                continue;
            }
            g_assert_cmpuint(vhost_dp_offload_fits(&c->frame, c->buf,
                                 MIN(c->len, VHOST_DP_HEAD_BYTES)), ==,
                             r->spec.data);
            g_assert_false(vhost_dp_offload_too_many(&c->frame, r->spec.data,
                                                     u));
            vhost_dp_segmenter_init(&again->seg, &c->frame, c->head, 1);
            again->offloads = 0;
            while (cutter_next(again)) {
                check_segment(r, again, n, (size_t)n * r->spec.gso_size);
                n++;
            }
        }
        g_assert_cmpuint(n, ==, DIV_ROUND_UP(r->spec.payload,
                                             r->spec.gso_size));
    }
}

/* Other types, and tunnels, are cut to the end */
static void test_units_of_others(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);

    r->spec = (FrameSpec) {
        .tcp = true, .payload = 3000,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1000,
    };
    rig_build(r);
    cutter_start(c, r, VHOST_DP_OFFLOAD_ALL);
    vhost_dp_segmenter_set_units(&c->seg, 64);
    g_assert_cmpuint(vhost_dp_segmenter_left(&c->seg), ==, 3);
    r->spec = (FrameSpec) {
        .payload = 3000, .tunnel = FRAMES_VXLAN,
        .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4, .gso_size = 1000,
    };
    rig_build(r);
    cutter_start(c, r, VHOST_DP_OFFLOAD_ALL);
    vhost_dp_segmenter_set_units(&c->seg, 64);
    g_assert_cmpuint(vhost_dp_segmenter_left(&c->seg), ==, 3);
}

/* A receiver that finishes checksums gets segments without */
static void test_partial(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    unsigned i;

    for (i = 0; i < 200; i++) {
        rig_random(r, true);
        if (r->spec.gso_type == VIRTIO_NET_HDR_GSO_UDP) {
            continue;
        }
        cutter_start(c, r, VHOST_DP_OFFLOAD_CSUM);
        while (cutter_next(c)) {
            size_t l4_len = c->len - r->spec.l4;

            g_assert_cmpint(c->frame.flags, ==, VIRTIO_NET_HDR_F_NEEDS_CSUM);
            g_assert_cmpuint(c->frame.csum_start, ==, r->spec.l4);
            g_assert_cmpuint(c->frame.csum_offset, ==, r->spec.tcp ? 16 : 6);
            g_assert_true(vhost_dp_offload_check(&c->frame, c->buf,
                              MIN(c->len, VHOST_DP_HEAD_BYTES)));
            g_assert_cmphex(lduw_be_p(c->buf + r->spec.l4 +
                                      c->frame.csum_offset), ==,
                            frames_fold(frames_pseudo(&r->spec, c->buf,
                                                      l4_len)));
            vhost_dp_offload_finish_checksum(&c->frame);
            iov_to_buf(c->frame.iov, c->frame.iovcnt, 0, c->buf, c->len);
            g_assert_true(frames_l4_checksum_ok(&r->spec, c->buf, c->len));
        }
    }
}

/* A segment can be made again: the engine does when it found no room for it */
static void test_repeated(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    g_autofree uint8_t *again = g_malloc(MAX_FRAME);
    unsigned i;

    for (i = 0; i < 50; i++) {
        rig_random(r, true);
        cutter_start(c, r, 0);
        for (;;) {
            VhostDPSegmenter before = c->seg;
            size_t len;

            if (!cutter_next(c)) {
                break;
            }
            vhost_dp_segmenter_make(&before, 0, &c->frame, c->head, c->iov);
            len = iov_to_buf(c->frame.iov, c->frame.iovcnt, 0, again,
                             c->frame.len);
            g_assert_cmpmem(again, len, c->buf, c->len);
        }
    }
}

/* The frame may be taken away at any segment, once its rest was copied */
static void test_detached(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    g_autofree uint8_t *original = g_malloc(MAX_FRAME);
    g_autofree uint8_t *rest = g_malloc(VHOST_DP_MAX_FRAME);
    struct iovec iov;
    unsigned i;

    for (i = 0; i < 100; i++) {
        size_t seen = 0;
        unsigned k, n, at;

        do {
            rig_random(r, true);
        } while (r->spec.gso_type == VIRTIO_NET_HDR_GSO_UDP);
        cutter_start(c, r, 0);
        n = vhost_dp_segmenter_left(&c->seg);
        at = g_rand_int_range(rnd, 0, n);
        memcpy(original, r->buf, r->spec.len);
        for (k = 0; k < n; k++) {
            if (k == at) {
                vhost_dp_segmenter_detach(&c->seg, rest, &iov);
                memset(r->buf, 0xee, r->spec.len);
            }
            g_assert_true(cutter_next(c));
            g_assert_cmpmem(c->buf + r->spec.data, c->len - r->spec.data,
                            original + r->spec.data + seen,
                            c->len - r->spec.data);
            g_assert_true(frames_l4_checksum_ok(&r->spec, c->buf, c->len));
            seen += c->len - r->spec.data;
        }
        g_assert_cmpuint(seen, ==, r->spec.payload);
    }
}

/* The same for a datagram, before its first fragment */
static void test_detached_datagram(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    g_autofree uint8_t *rest = g_malloc(VHOST_DP_MAX_FRAME);
    struct iovec iov;

    r->spec = (FrameSpec) {
        .payload = 3000, .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1480,
    };
    rig_build(r);
    cutter_start(c, r, 0);
    vhost_dp_segmenter_detach(&c->seg, rest, &iov);
    g_assert_cmpmem(rest, iov.iov_len, r->buf + r->spec.data, 3000);
    memcpy(r->head, r->buf, r->spec.data);
    memset(r->buf, 0, r->spec.len);
    g_assert_true(cutter_next(c));
    g_assert_cmpuint(c->len, ==, 34 + 1480);
    g_assert_cmpmem(c->buf + r->spec.data, 1472, rest, 1472);
    g_assert_true(cutter_next(c));
    g_assert_cmpmem(c->buf + 34, 1480, rest + 1472, 1480);
    g_assert_true(cutter_next(c));
    g_assert_cmpmem(c->buf + 34, 48, rest + 2952, 48);
    g_assert_false(cutter_next(c));
}

/* RFC 791, 3.1: fragments have the options that are to be copied */
static void test_fragment_options(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    const uint8_t *options = c->buf + 34;

    r->spec = (FrameSpec) {
        .ip_options = 12, .payload = 3000,
        .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1440,
    };
    rig_build(r);
    cutter_start(c, r, 0);
    g_assert_true(cutter_next(c));
    g_assert_cmpmem(options, 12, r->buf + 34, 12);
    while (cutter_next(c)) {
        g_assert_cmpmem(options, 4, r->buf + 34, 4);
        g_assert_cmpmem(options + 4, 8, "\1\1\1\1\1\1\1\1", 8);
        check_lengths(&r->spec, c);
    }
}

/* The UDP header alone fills the first fragment: there is no empty piece */
static void test_headers_only(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    struct iovec iov;

    r->spec = (FrameSpec) {
        .payload = 100, .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 8,
    };
    rig_build(r);
    /* Headers and payload in the same piece */
    iov = (struct iovec) { r->buf, r->spec.len };
    r->frame.iov = &iov;
    r->frame.iovcnt = 1;
    cutter_start(c, r, 0);
    g_assert_true(cutter_next(c));
    g_assert_cmpint(c->frame.iovcnt, ==, 1);
    g_assert_true(cutter_next(c));
    g_assert_cmpint(c->frame.iovcnt, ==, 2);
}

/* ---- Received frames ---- */

/*
 * The host may have verified the checksum of a frame to be segmented, and left
 * it where it is.
 */
static void test_received_complete(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    unsigned i;

    for (i = 0; i < 200; i++) {
        rig_random(r, true);
        vhost_dp_offload_finish_checksum(&r->frame);
        memcpy(r->head, r->buf, r->head_len);
        r->frame.flags = i & 1 ? VIRTIO_NET_HDR_F_DATA_VALID : 0;
        r->frame.csum_start = r->frame.csum_offset = 0;
        g_assert_true(vhost_dp_offload_check_received(&r->frame, r->head,
                                                      r->head_len));
        if (r->spec.gso_type == VIRTIO_NET_HDR_GSO_UDP) {
            uint8_t *field = r->buf + r->spec.l4 + 6;

            /* check_fragments() compares with what was to be finished */
            memcpy(field, r->head + r->spec.l4 + 6, 2);
        }
        check_any(r, c);
    }
}

static bool compute_checksum(Rig *r)
{
    r->frame.flags = VIRTIO_NET_HDR_F_DATA_VALID;
    r->frame.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    r->frame.iov = r->iov;
    r->frame.iovcnt = 1;
    r->iov[0] = (struct iovec) { r->buf, r->frame.len };
    return vhost_dp_offload_compute_checksum(&r->frame, r->buf,
                                             MIN(r->frame.len,
                                                 VHOST_DP_HEAD_BYTES));
}

/*
 * A checksum that was never computed, as the host asks not to look at it
 * (VIRTIO_NET_HDR_F_DATA_VALID).  What follows the packet has no part in it.
 */
static void test_received_unchecked(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    unsigned i;

    for (i = 0; i < 1000; i++) {
        unsigned padding = i % 3 ? g_rand_int_range(rnd, 0, 47) : 0;
        FrameSpec *s = &r->spec;
        bool routed = false;
        unsigned k;

        rig_random(r, false);
        for (k = 0; k < s->next; k++) {
            routed |= s->ext[k] == 43;
        }
        stw_he_p(r->buf + r->frame.csum_start + r->frame.csum_offset,
                 g_rand_int(rnd) | 1);
        for (k = 0; k < padding; k++) {
            r->buf[s->len + k] = g_rand_int(rnd);
        }
        r->frame.len = s->len + padding;
        if (compute_checksum(r)) {
            g_assert_true(frames_l4_checksum_ok(s, r->buf, s->len));
        } else {
            g_assert_true(routed);
        }
        g_assert_cmpint(r->frame.flags, ==, 0);
        g_assert_cmpuint(r->frame.len, ==, s->len + padding);
        for (k = 0; k < padding; k++) {
            r->buf[s->len + k] = 0;
        }
    }
}

/* What stays as it is */
static void test_received_as_is(void)
{
    static const struct {
        const char *what;
        FrameSpec spec;
        unsigned at;            /* from the IP header on */
        uint8_t value;
        bool computes;
    } cases[] = {
        { "TCP", { .tcp = true }, 6, 0, true },
        { "UDP", { }, 6, 0, true },
        { "a first fragment", { .tcp = true }, 6, 0x20, false },
        { "another fragment", { .tcp = true }, 7, 1, false },
        { "ICMP", { .tcp = true }, 9, 1, false },
        { "a packet that ends in its header", { .tcp = true }, 3, 39, false },
        { "a packet that goes on", { .tcp = true }, 2, 0x10, false },
        { "a packet over IPv6 that goes on", { .tcp = true, .ip6 = true }, 4,
          0x10, false },
        { "an ICMPv6 packet", { .ip6 = true }, 6, 58, false },
    };
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree uint8_t *copy = g_malloc(MAX_FRAME);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t *field;

        r->spec = cases[i].spec;
        r->spec.payload = 20;
        rig_build(r);
        field = r->buf + r->frame.csum_start + r->frame.csum_offset;
        stw_he_p(field, 1);
        r->buf[r->spec.l3 + cases[i].at] = cases[i].value;
        memcpy(copy, r->buf, r->frame.len);
        if (compute_checksum(r) != cases[i].computes) {
            g_error("%s", cases[i].what);
        }
        g_assert_cmpint(r->frame.flags, ==, 0);
        g_assert_true(cases[i].computes ==
                      !!memcmp(copy, r->buf, r->frame.len));
    }
    /* RFC 768: no checksum */
    r->spec = (FrameSpec) { .payload = 20 };
    rig_build(r);
    stw_he_p(r->buf + r->frame.csum_start + r->frame.csum_offset, 0);
    g_assert_false(compute_checksum(r));
    /* RFC 8200, 8.1: there has to be one */
    r->spec.ip6 = true;
    rig_build(r);
    stw_he_p(r->buf + r->frame.csum_start + r->frame.csum_offset, 0);
    g_assert_true(compute_checksum(r));
    g_assert_true(frames_l4_checksum_ok(&r->spec, r->buf, r->spec.len));
}

/* ---- What a receiver takes ---- */

static void test_allowed(void)
{
    const struct {
        uint8_t flags, gso_type;
        uint32_t needs;
    } cases[] = {
        { 0, 0, 0 },
        { VIRTIO_NET_HDR_F_DATA_VALID, 0, VHOST_DP_OFFLOAD_CSUM },
        { VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, VHOST_DP_OFFLOAD_CSUM },
        { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4,
          VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_TSO4 },
        { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV6,
          VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_TSO6 },
        { VIRTIO_NET_HDR_F_NEEDS_CSUM,
          VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
          VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_TSO4 |
          VHOST_DP_OFFLOAD_ECN },
        { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP,
          VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_UFO },
        { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP_L4,
          VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_USO4 |
          VHOST_DP_OFFLOAD_USO6 },
    };
    uint32_t offloads;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        VhostDPFrame frame = {
            .flags = cases[i].flags, .gso_type = cases[i].gso_type,
        };

        for (offloads = 0; offloads <= VHOST_DP_OFFLOAD_ALL; offloads++) {
            bool has_all = !(cases[i].needs & ~offloads);

            g_assert_true(vhost_dp_offload_allowed(&frame, offloads) ==
                          has_all);
        }
    }
}

/* ---- Hostile frames ---- */

/*
 * Whatever passes the check keeps the promises that drivers rely on, and can
 * be processed.  The head is in memory of exactly its size, for sanitizers.
 */
static void process_anything(Rig *r, Cutter *c, bool received)
{
    VhostDPFrame *f = &r->frame;
    g_autofree uint8_t *head = g_memdup2(r->buf, r->head_len);
    size_t seen = 0;

    if (!(received ? vhost_dp_offload_check_received(f, head, r->head_len) :
                     vhost_dp_offload_check(f, head, r->head_len))) {
        return;
    }
    g_assert_cmpint(f->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM, ==, 0);
    if (f->flags) {
        g_assert_cmpuint(f->csum_start + f->csum_offset + 2, <=, f->len);
    }
    if (!f->gso_type) {
        if (f->flags) {
            vhost_dp_offload_finish_checksum(f);
        }
        return;
    }
    g_assert_cmpuint(f->hdr_len, <=, r->head_len);
    g_assert_cmpuint(f->hdr_len, <, f->len);
    vhost_dp_segmenter_init(&c->seg, f, head, 1);
    while (cutter_next(c)) {
        seen += c->len;
        g_assert_cmpuint(c->len, >, 14);
    }
    g_assert_cmpuint(seen, >=, f->len);
}

static void test_hostile(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    g_autofree Cutter *c = g_new0(Cutter, 1);
    unsigned i, k;

    for (i = 0; i < 30000; i++) {
        VhostDPFrame *f = &r->frame;
        unsigned flips = g_rand_int_range(rnd, 0, 6);

        frames_random(&r->spec, rnd, g_rand_boolean(rnd));
        r->spec.payload = MIN(r->spec.payload, 300);
        if (g_rand_boolean(rnd)) {
            frames_add_tunnel(&r->spec, rnd,
                              g_rand_int_range(rnd, 1, FRAMES_NTUNNELS));
        }
        frames_build(&r->spec, r->buf);
        if (g_rand_boolean(rnd)) {
            r->spec.len = g_rand_int_range(rnd, 14, r->spec.len + 1);
        }
        for (k = 0; k < flips; k++) {
            unsigned at = g_rand_int_range(rnd, 0, MIN(r->spec.len, 150));

            r->buf[at] = g_rand_int(rnd);
        }
        rig_set_frame(r);
        switch (g_rand_int_range(rnd, 0, 8)) {
        case 0:
            f->flags = g_rand_int(rnd);
            break;
        case 1:
            f->gso_type = g_rand_int(rnd);
            break;
        case 2:
            f->gso_size = g_rand_int_range(rnd, 0, 20);
            break;
        case 3:
            f->csum_start = g_rand_int(rnd);
            break;
        case 4:
            f->csum_offset = g_rand_int(rnd);
            break;
        }
        process_anything(r, c, g_rand_boolean(rnd));
    }
}

/* Each of these is one lie, and is found */
static void test_lies(void)
{
    const struct {
        const char *what;
        FrameSpec spec;
        unsigned at;            /* from the IP header on */
        uint8_t value;
    } cases[] = {
        { "IPv4 of version 5", { .tcp = true }, 0, 0x55 },
        { "an IPv4 header of 16 bytes", { .tcp = true }, 0, 0x44 },
        { "an IPv4 header that goes on", { .tcp = true }, 0, 0x4f },
        { "a first fragment", { .tcp = true }, 6, 0x20 },
        { "another fragment", { .tcp = true }, 7, 1 },
        { "not TCP", { .tcp = true }, 9, 17 },
        { "a TCP header of 16 bytes", { .tcp = true }, 32, 0x40 },
        { "a TCP header that goes on", { .tcp = true }, 32, 0xf0 },
        { "IPv6 of version 4", { .tcp = true, .ip6 = true }, 0, 0x40 },
        { "not TCP over IPv6", { .tcp = true, .ip6 = true }, 6, 17 },
        { "an IPv6 fragment", { .tcp = true, .ip6 = true }, 6, 44 },
        { "authentication", { .tcp = true, .ip6 = true }, 6, 51 },
        { "an extension header that goes on",
          { .tcp = true, .ip6 = true, .next = 1, .ext = { 60 } }, 41, 255 },
        { "hop-by-hop behind another",
          { .tcp = true, .ip6 = true, .next = 2, .ext = { 60, 60 } }, 40, 0 },
    };
    g_autofree Rig *r = g_new0(Rig, 1);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        r->spec = cases[i].spec;
        r->spec.gso_type = r->spec.ip6 ? VIRTIO_NET_HDR_GSO_TCPV6 :
                                         VIRTIO_NET_HDR_GSO_TCPV4;
        r->spec.gso_size = 10;
        r->spec.payload = 20;
        rig_build(r);
        g_assert_true(vhost_dp_offload_check(&r->frame, r->head, r->head_len));
        rig_set_frame(r);
        r->head[r->spec.l3 + cases[i].at] = cases[i].value;
        if (vhost_dp_offload_check(&r->frame, r->head, r->head_len)) {
            g_error("not found: %s", cases[i].what);
        }
    }
}

/* Fragments of less than 8 bytes, or in which the headers have no room */
static void test_small_fragments(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);

    r->spec = (FrameSpec) {
        .payload = 100, .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 7,
    };
    rig_build(r);
    g_assert_false(vhost_dp_offload_check(&r->frame, r->head, r->head_len));
    r->spec.gso_size = 8;
    rig_build(r);
    g_assert_true(vhost_dp_offload_check(&r->frame, r->head, r->head_len));

    r->spec.ip6 = true;
    r->spec.next = 1;
    r->spec.ext[0] = 60;        /* 16 bytes that are not repeated */
    r->spec.gso_size = 16;
    rig_build(r);
    g_assert_false(vhost_dp_offload_check(&r->frame, r->head, r->head_len));
    r->spec.gso_size = 24;
    rig_build(r);
    g_assert_true(vhost_dp_offload_check(&r->frame, r->head, r->head_len));
}

/* Headers of more than the engine looks at */
static void test_long_headers(void)
{
    g_autofree Rig *r = g_new0(Rig, 1);

    r->spec = (FrameSpec) {
        .tcp = true, .ip6 = true, .payload = 1000, .next = 1, .ext = { 60 },
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 100,
    };
    rig_build(r);
    r->head[r->spec.l3 + 41] = (VHOST_DP_HEAD_BYTES - 54 - 20) / 8 - 1;
    g_assert_false(vhost_dp_offload_check(&r->frame, r->head, r->head_len));
}

int main(int argc, char **argv)
{
    int r;

    g_test_init(&argc, &argv, NULL);
    /* Option --seed repeats a run */
    rnd = g_rand_new_with_seed(g_test_rand_int());
    g_test_add_func("/vhost-dp/offload/sum", test_sum);
    g_test_add_func("/vhost-dp/offload/sum/64-KB", test_sum_long);
    g_test_add_func("/vhost-dp/offload/sum/pieces", test_sum_pieces);
    g_test_add_func("/vhost-dp/offload/checksum", test_checksum);
    g_test_add_func("/vhost-dp/offload/checksum/zero", test_checksum_zero);
    g_test_add_func("/vhost-dp/offload/checksum/anywhere",
                    test_checksum_anywhere);
    g_test_add_func("/vhost-dp/offload/segments/random", test_random);
    g_test_add_func("/vhost-dp/offload/segments/edges", test_edges);
    g_test_add_func("/vhost-dp/offload/segments/of-datagrams", test_units);
    g_test_add_func("/vhost-dp/offload/segments/of-others",
                    test_units_of_others);
    g_test_add_func("/vhost-dp/offload/tunnels/segments", test_tunnels);
    g_test_add_func("/vhost-dp/offload/tunnels/partial-checksum",
                    test_tunnels_partial);
    g_test_add_func("/vhost-dp/offload/tunnels/lies", test_tunnel_lies);
    g_test_add_func("/vhost-dp/offload/received/does-not-fit",
                    test_does_not_fit);
    g_test_add_func("/vhost-dp/offload/segments/partial-checksum",
                    test_partial);
    g_test_add_func("/vhost-dp/offload/segments/repeated", test_repeated);
    g_test_add_func("/vhost-dp/offload/segments/detached", test_detached);
    g_test_add_func("/vhost-dp/offload/fragments/detached",
                    test_detached_datagram);
    g_test_add_func("/vhost-dp/offload/fragments/options",
                    test_fragment_options);
    g_test_add_func("/vhost-dp/offload/fragments/headers-only",
                    test_headers_only);
    g_test_add_func("/vhost-dp/offload/fragments/too-small",
                    test_small_fragments);
    g_test_add_func("/vhost-dp/offload/received/complete-checksum",
                    test_received_complete);
    g_test_add_func("/vhost-dp/offload/received/unchecked",
                    test_received_unchecked);
    g_test_add_func("/vhost-dp/offload/received/as-is", test_received_as_is);
    g_test_add_func("/vhost-dp/offload/allowed", test_allowed);
    g_test_add_func("/vhost-dp/offload/hostile/random", test_hostile);
    g_test_add_func("/vhost-dp/offload/hostile/lies", test_lies);
    g_test_add_func("/vhost-dp/offload/hostile/long-headers",
                    test_long_headers);
    r = g_test_run();
    g_rand_free(rnd);
    return r;
}
