/*
 * vhost-dp: frames that are cut into segments, for tests of offloads
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "vhost-dp-cutter.h"

#define CWR 0x80
#define FIN_PSH 0x09

GRand *rnd;

/* ---- Frames ---- */

void rig_cut(Rig *r, uint8_t *buf, size_t len)
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

void rig_set_frame(Rig *r)
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

void rig_build(Rig *r)
{
    frames_build(&r->spec, r->buf);
    rig_set_frame(r);
}

void rig_random(Rig *r, bool gso)
{
    do {
        frames_random(&r->spec, rnd, gso);
        /* The engine looks at the first 256 bytes only */
    } while (frames_len(&r->spec) - r->spec.payload +
             VHOST_DP_FRAGMENT_HEADER > VHOST_DP_HEAD_BYTES);
    rig_build(r);
}

/* ---- Segments ---- */

void cutter_start(Cutter *c, Rig *r, uint32_t offloads)
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

bool cutter_next(Cutter *c)
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

void check_lengths(const FrameSpec *s, const Cutter *c)
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

void check_segment(const Rig *r, Cutter *c, unsigned index, size_t seen)
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

void check_segments(Rig *r, Cutter *c)
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

void check_any(Rig *r, Cutter *c)
{
    if (r->spec.gso_type == VIRTIO_NET_HDR_GSO_UDP) {
        check_fragments(r, c);
    } else {
        check_segments(r, c);
    }
}
