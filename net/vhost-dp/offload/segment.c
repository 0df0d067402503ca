/*
 * vhost-dp: segmentation in software
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a frame's headers are kept in the segmenter; each
 * segment begins with a copy of them, in which lengths, numbers, flags and
 * checksums are set; its payload is a part of the frame's, where that is.
 * Segments are made one by one, so that the work for a frame of 64 KB with a
 * tiny segment size, which a hostile guest may ask for, can be spread over as
 * many bursts as it takes.
 *
 * TCP and UDP segmentation (TSO, USO) cut the payload behind TCP or UDP: each
 * segment is a packet of its own.  UDP fragmentation (UFO) cuts what is behind
 * IP: the first fragment has the UDP header, with the checksum of the whole
 * datagram, and IP puts the fragments together again.
 *
 * In a tunnel the inner packet is cut, and each segment has all of the outer
 * headers.  Their checksum covers the inner packet, but what that adds up to is
 * known from its own checksum: the payload is not read for it (RFC 1624 has
 * the idea, Linux calls it local checksum offload).
 *
 * Segments of a USO frame may be USO frames themselves, for a receiver that
 * takes the type but not so many datagrams in one frame.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "net/eth.h"
#include "standard-headers/linux/virtio_net.h"
#include "offload.h"

#define TCP_FLAGS_OFFSET (offsetof(struct tcp_header, th_offset_flags) + 1)

#define IP4_OPTION_END  0
#define IP4_OPTION_NOP  1
#define IP4_OPTION_COPY 0x80    /* belongs into every fragment */

static bool is_ufo(const VhostDPSegmenter *seg)
{
    return seg->gso_type == VIRTIO_NET_HDR_GSO_UDP;
}

/* Skip @n bytes of the frame */
static void segmenter_skip(VhostDPSegmenter *seg, size_t n)
{
    seg->iov_skip += n;
    while (seg->iovcnt && seg->iov_skip >= seg->iov->iov_len) {
        seg->iov_skip -= seg->iov->iov_len;
        seg->iov++;
        seg->iovcnt--;
    }
}

/* Headers behind the cut are data of the first fragment: their length */
static size_t segmenter_first(const VhostDPSegmenter *seg)
{
    return seg->offset ? 0 : seg->headers.payload - seg->repeat;
}

/*
 * Finish the checksum of a datagram before it is fragmented, while it is in one
 * piece.  The headers count as they are in seg->head.
 */
static void segmenter_finish_checksum(VhostDPSegmenter *seg,
                                      const VhostDPFrame *frame)
{
    size_t l4 = seg->headers.l4;
    size_t payload = seg->headers.payload;
    /* Headers of UDP over IP have an even length: no swap needed */
    uint16_t sum = vhost_dp_csum(seg->head + l4, payload - l4);

    sum = ~vhost_dp_csum_add(sum, vhost_dp_csum_iov(frame->iov, frame->iovcnt,
                                                    payload,
                                                    frame->len - payload));
    stw_he_p(seg->head + seg->csum_field, sum ?: 0xffff);
}

void vhost_dp_segmenter_init(VhostDPSegmenter *seg, const VhostDPFrame *frame,
                             const uint8_t *head, uint32_t fragment_id)
{
    VhostDPHeaders *h = &seg->headers;

    memcpy(seg->head, head, frame->hdr_len);
    /* Cannot fail: the metadata was checked against these headers */
    vhost_dp_offload_parse_at(h, seg->head, frame->hdr_len, frame->csum_start);
    seg->gso_type = frame->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
    seg->csum_field = frame->csum_start + frame->csum_offset;
    seg->fragment_id = fragment_id;
    seg->offset = 0;
    seg->index = 0;
    seg->iov = frame->iov;
    seg->iovcnt = frame->iovcnt;
    seg->iov_skip = 0;
    segmenter_skip(seg, h->payload);

    if (is_ufo(seg)) {
        segmenter_finish_checksum(seg, frame);
        seg->repeat = h->fragment;
        seg->unit = IP_FRAG_ALIGN_SIZE(frame->gso_size);
    } else {
        uint16_t length = cpu_to_be16(frame->len - h->l4);

        /* Subtraction is addition of the complement */
        seg->pseudo = vhost_dp_csum_add(lduw_he_p(seg->head + seg->csum_field),
                                        ~length);
        seg->repeat = h->payload;
        seg->unit = frame->gso_size;
    }
    seg->total = frame->len - seg->repeat;
    vhost_dp_segmenter_set_units(seg, 1);
}

void vhost_dp_segmenter_set_units(VhostDPSegmenter *seg, unsigned units)
{
    if (seg->gso_type != VIRTIO_NET_HDR_GSO_UDP_L4 || seg->headers.tunnel) {
        units = 1;
    }
    seg->units = units;
    seg->size = seg->unit * units;
}

size_t vhost_dp_segmenter_max_frame(const VhostDPSegmenter *seg)
{
    size_t len = seg->repeat + MIN(seg->size, seg->total);

    return is_ufo(seg) && seg->headers.ip6 ? len + VHOST_DP_FRAGMENT_HEADER :
                                             len;
}

/* RFC 791, 3.1: options that are for the first fragment only */
static void fix_ip4_options(uint8_t *option, const uint8_t *end)
{
    while (option < end && *option != IP4_OPTION_END) {
        size_t len = 1;

        if (*option != IP4_OPTION_NOP) {
            if (option + 2 > end || option[1] < 2 || option[1] > end - option) {
                return;
            }
            len = option[1];
            if (!(*option & IP4_OPTION_COPY)) {
                memset(option, IP4_OPTION_NOP, len);
            }
        }
        option += len;
    }
}

static void set_ip4_checksum(struct ip_header *ip)
{
    ip->ip_sum = 0;
    stw_he_p(&ip->ip_sum, ~vhost_dp_csum(ip, (ip->ip_ver_len & 0xf) * 4));
}

/* RFC 6864: each is a datagram of its own */
static void set_ip4_id(const VhostDPSegmenter *seg, struct ip_header *ip)
{
    stw_be_p(&ip->ip_id, lduw_be_p(&ip->ip_id) + seg->index);
}

/* @data: bytes behind the repeated headers */
static void fix_ip4(const VhostDPSegmenter *seg, uint8_t *head, size_t data)
{
    const VhostDPHeaders *h = &seg->headers;
    struct ip_header *ip = (void *)(head + h->l3);

    stw_be_p(&ip->ip_len, seg->repeat + data - h->l3);
    if (is_ufo(seg)) {
        /* RFC 791, 3.2: what does not fit is not sent, so DF goes */
        stw_be_p(&ip->ip_off, seg->offset / IP_FRAG_UNIT_SIZE |
                 (seg->offset + data < seg->total ? IP_MF : 0));
        if (seg->offset) {
            fix_ip4_options((uint8_t *)(ip + 1), head + h->l4);
        }
    } else {
        set_ip4_id(seg, ip);
    }
    set_ip4_checksum(ip);
}

/* RFC 8200, 4.5: the fragment header, behind the repeated headers */
static void add_fragment_header(const VhostDPSegmenter *seg, uint8_t *head,
                                size_t data)
{
    uint8_t *fragment = head + seg->repeat;
    uint8_t *next = head + seg->headers.fragment_next;

    fragment[0] = *next;
    fragment[1] = 0;
    /* The offset is in units of 8 bytes, in the upper 13 bits */
    stw_be_p(fragment + 2, seg->offset | (seg->offset + data < seg->total));
    stl_be_p(fragment + 4, seg->fragment_id);
    *next = IP6_FRAGMENT;
}

static void fix_ip6(const VhostDPSegmenter *seg, uint8_t *head, size_t data)
{
    size_t l3 = seg->headers.l3;
    size_t len = seg->repeat + data - l3 - sizeof(struct ip6_header);

    if (is_ufo(seg)) {
        add_fragment_header(seg, head, data);
        len += VHOST_DP_FRAGMENT_HEADER;
    }
    stw_be_p(head + l3 + offsetof(struct ip6_header, ip6_plen), len);
}

static void fix_tcp(const VhostDPSegmenter *seg, uint8_t *head, size_t data)
{
    uint8_t *tcp = head + seg->headers.l4;
    uint8_t *seq = tcp + offsetof(struct tcp_header, th_seq);
    uint8_t *flags = tcp + TCP_FLAGS_OFFSET;

    stl_be_p(seq, ldl_be_p(seq) + seg->offset);
    if (seg->offset + data < seg->total) {
        *flags &= ~(TH_FIN | TH_PUSH);
    }
    if (seg->index) {
        /* RFC 3168, 6.1.2: said once for each window that was reduced */
        *flags &= ~TH_CWR;
    }
}

/* The sum of the pseudo header: the partial checksum */
static uint16_t segment_pseudo(const VhostDPSegmenter *seg,
                               const VhostDPFrame *segment)
{
    return vhost_dp_csum_add(seg->pseudo,
                             cpu_to_be16(segment->len - seg->headers.l4));
}

/* The checksum of one segment, or a partial one with its metadata */
static void fix_checksum(const VhostDPSegmenter *seg, uint32_t offloads,
                         VhostDPFrame *segment, uint8_t *head)
{
    size_t l4 = seg->headers.l4;
    size_t len = segment->len - l4;
    uint16_t sum = segment_pseudo(seg, segment);

    stw_he_p(head + seg->csum_field, sum);
    if (offloads & VHOST_DP_OFFLOAD_CSUM) {
        segment->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        segment->csum_start = l4;
        segment->csum_offset = seg->csum_field - l4;
        return;
    }
    sum = ~vhost_dp_csum_iov(segment->iov, segment->iovcnt, l4, len);
    if (!sum && seg->headers.proto == IP_PROTO_UDP) {
        sum = 0xffff;
    }
    stw_he_p(head + seg->csum_field, sum);
}

/*
 * The sum of all from the outer UDP or GRE header on.  TCP's or UDP's checksum
 * makes what it covers add up to the complement of its pseudo header, so it is
 * enough to look at what is in front of it.  Headers have an even length: no
 * swap.
 */
static uint16_t outer_sum(const VhostDPSegmenter *seg,
                          const VhostDPFrame *segment, const uint8_t *head)
{
    size_t l4 = seg->headers.outer_l4;

    return vhost_dp_csum_add(vhost_dp_csum(head + l4, seg->headers.l4 - l4),
                             ~segment_pseudo(seg, segment));
}

/* A checksum of zero stays: there is none (RFC 768, RFC 6935) */
static void fix_outer_udp(const VhostDPSegmenter *seg,
                          const VhostDPFrame *segment, uint8_t *head)
{
    const VhostDPHeaders *h = &seg->headers;
    size_t len = segment->len - h->outer_l4;
    uint8_t *udp = head + h->outer_l4;
    uint8_t *field = udp + offsetof(struct udp_header, uh_sum);
    uint16_t sum;

    stw_be_p(udp + offsetof(struct udp_header, uh_ulen), len);
    if (!lduw_he_p(field)) {
        return;
    }
    stw_he_p(field, 0);
    sum = outer_sum(seg, segment, head);
    sum = vhost_dp_csum_add(sum, vhost_dp_csum_addresses(head, h->outer_l3,
                                                         h->outer_ip6));
    sum = vhost_dp_csum_add(sum, cpu_to_be16(IP_PROTO_UDP));
    sum = ~vhost_dp_csum_add(sum, cpu_to_be16(len));
    stw_he_p(field, sum ?: 0xffff);
}

/* RFC 2784, 2.3: the checksum covers GRE's header and what is behind it */
static void fix_outer_gre(const VhostDPSegmenter *seg,
                          const VhostDPFrame *segment, uint8_t *head)
{
    uint8_t *gre = head + seg->headers.outer_l4;
    uint8_t *field = gre + 4;

    if (lduw_be_p(gre) & VHOST_DP_GRE_CSUM) {
        stw_he_p(field, 0);
        stw_he_p(field, ~outer_sum(seg, segment, head));
    }
}

/* The inner headers are finished, but for TCP's or UDP's checksum */
static void fix_outer(const VhostDPSegmenter *seg, const VhostDPFrame *segment,
                      uint8_t *head)
{
    const VhostDPHeaders *h = &seg->headers;
    size_t len = segment->len - h->outer_l3;

    if (h->outer_ip6) {
        stw_be_p(head + h->outer_l3 + offsetof(struct ip6_header, ip6_plen),
                 len - sizeof(struct ip6_header));
    } else {
        struct ip_header *ip = (void *)(head + h->outer_l3);

        stw_be_p(&ip->ip_len, len);
        set_ip4_id(seg, ip);
        set_ip4_checksum(ip);
    }
    if (h->tunnel == VHOST_DP_TUNNEL_UDP) {
        fix_outer_udp(seg, segment, head);
    } else if (h->tunnel == VHOST_DP_TUNNEL_GRE) {
        fix_outer_gre(seg, segment, head);
    }
}

void vhost_dp_segmenter_make(const VhostDPSegmenter *seg, uint32_t offloads,
                             VhostDPFrame *segment, uint8_t *head,
                             struct iovec *iov)
{
    const VhostDPHeaders *h = &seg->headers;
    size_t data = MIN(seg->size, seg->total - seg->offset);
    size_t first = segmenter_first(seg);
    size_t head_len = seg->repeat;

    memcpy(head, seg->head, seg->repeat);
    if (h->ip6) {
        fix_ip6(seg, head, data);
        head_len += is_ufo(seg) ? VHOST_DP_FRAGMENT_HEADER : 0;
    } else {
        fix_ip4(seg, head, data);
    }
    memcpy(head + head_len, seg->head + seg->repeat, first);

    iov[0].iov_base = head;
    iov[0].iov_len = head_len + first;
    segment->iov = iov;
    segment->iovcnt = 1;
    /* The first fragment may have no more than headers: no empty piece then */
    if (data > first) {
        segment->iovcnt += iov_copy(iov + 1, seg->iovcnt, seg->iov,
                                    seg->iovcnt, seg->iov_skip, data - first);
    }
    segment->len = head_len + data;
    segment->flags = 0;
    segment->gso_type = VIRTIO_NET_HDR_GSO_NONE;
    /* Linux looks at it in any case (drivers/net/tun.c) */
    segment->hdr_len = 0;
    segment->gso_size = 0;
    if (is_ufo(seg)) {
        return;
    }
    if (h->proto == IP_PROTO_TCP) {
        fix_tcp(seg, head, data);
    } else {
        stw_be_p(head + h->l4 + offsetof(struct udp_header, uh_ulen),
                 seg->repeat + data - h->l4);
    }
    if (data > seg->unit) {
        segment->gso_type = seg->gso_type;
        segment->gso_size = seg->unit;
        segment->hdr_len = seg->repeat;
        offloads |= VHOST_DP_OFFLOAD_CSUM;
    }
    if (h->tunnel) {
        fix_outer(seg, segment, head);
    }
    fix_checksum(seg, offloads, segment, head);
}

void vhost_dp_segmenter_advance(VhostDPSegmenter *seg)
{
    size_t data = MIN(seg->size, seg->total - seg->offset);

    segmenter_skip(seg, data - segmenter_first(seg));
    seg->offset += data;
    seg->index += seg->units;
}

void vhost_dp_segmenter_detach(VhostDPSegmenter *seg, uint8_t *buf,
                               struct iovec *iov)
{
    size_t left = seg->total - seg->offset - segmenter_first(seg);

    iov_to_buf(seg->iov, seg->iovcnt, seg->iov_skip, buf, left);
    iov->iov_base = buf;
    iov->iov_len = left;
    seg->iov = iov;
    seg->iovcnt = left > 0;
    seg->iov_skip = 0;
}
