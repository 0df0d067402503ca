/*
 * vhost-dp: tests of checksums and of offload metadata
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "vhost-dp-cutter.h"

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
    g_test_add_func("/vhost-dp/offload/received/does-not-fit",
                    test_does_not_fit);
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
