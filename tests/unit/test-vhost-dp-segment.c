/*
 * vhost-dp: tests of segmentation in software
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
#include "vhost-dp-cutter.h"

/* ---- Segments ---- */

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

int main(int argc, char **argv)
{
    int r;

    g_test_init(&argc, &argv, NULL);
    /* Option --seed repeats a run */
    rnd = g_rand_new_with_seed(g_test_rand_int());
    g_test_add_func("/vhost-dp/offload/segments/random", test_random);
    g_test_add_func("/vhost-dp/offload/segments/edges", test_edges);
    g_test_add_func("/vhost-dp/offload/segments/of-datagrams", test_units);
    g_test_add_func("/vhost-dp/offload/segments/of-others",
                    test_units_of_others);
    g_test_add_func("/vhost-dp/offload/tunnels/segments", test_tunnels);
    g_test_add_func("/vhost-dp/offload/tunnels/partial-checksum",
                    test_tunnels_partial);
    g_test_add_func("/vhost-dp/offload/tunnels/lies", test_tunnel_lies);
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
    r = g_test_run();
    g_rand_free(rnd);
    return r;
}
