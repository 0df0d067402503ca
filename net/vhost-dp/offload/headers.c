/*
 * vhost-dp: offload metadata
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: pure functions on one frame.  The metadata of a frame
 * is compared with a private copy of the frame's headers, so that a driver,
 * and the host's network stack behind it, or csum.c and
 * segment.c here, get metadata that fits the frame.
 *
 * The headers are not parsed by net/eth.c: it knows two VLAN tags in one order,
 * does not say where a fragment header belongs, and takes Authentication
 * headers, whose contents segmentation would falsify.
 *
 * A tunnel's frames are parsed from outside to inside.  Where the inner TCP or
 * UDP header is, the metadata says; what is in between has to lead there.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "net/eth.h"
#include "standard-headers/linux/virtio_net.h"
#include "offload.h"

#define TCP_CSUM_OFFSET 16
#define UDP_CSUM_OFFSET 6

/* IEEE 802.1ad before it was a standard, and still in use */
#define ETHERTYPE_QINQ 0x9100

/* An Ethernet frame where an EtherType is expected (RFC 1701) */
#define ETHERTYPE_BRIDGED 0x6558

#define PROTO_IP4_IN_IP 4
#define PROTO_IP6_IN_IP 41
#define PROTO_GRE       47

/* ---- Headers ---- */

static bool parse_ip4(VhostDPHeaders *h, const uint8_t *head, size_t head_len)
{
    const struct ip_header *ip = (const void *)(head + h->l3);

    if (h->l3 + sizeof(*ip) > head_len ||
        IP_HEADER_VERSION(ip) != IP_HEADER_VERSION_4 ||
        (ip->ip_ver_len & 0xf) * 4 < sizeof(*ip) ||
        (lduw_be_p(&ip->ip_off) & (IP_OFFMASK | IP_MF))) {
        return false;
    }
    h->l4 = h->l3 + (ip->ip_ver_len & 0xf) * 4;
    h->fragment = h->l4;
    h->proto = ip->ip_p;
    return true;
}

/*
 * RFC 8200, 4.5: what has to come again in each fragment is all up to the
 * routing header, or else up to the hop-by-hop header.
 */
static bool parse_ip6(VhostDPHeaders *h, const uint8_t *head, size_t head_len)
{
    const size_t ip6_end = h->l3 + sizeof(struct ip6_header);
    size_t at = ip6_end;
    size_t next = h->l3 + offsetof(struct ip6_header, ip6_nxt);

    if (at > head_len || head[h->l3] >> 4 != IP_HEADER_VERSION_6) {
        return false;
    }
    h->ip6 = true;
    h->fragment = at;
    h->fragment_next = next;
    for (;;) {
        uint8_t type = head[next];

        if (type != IP6_HOP_BY_HOP && type != IP6_ROUTING &&
            type != IP6_DESTINATON) {
            h->l4 = at;
            h->proto = type;
            return true;
        }
        /* Each has at least 8 bytes, so this ends */
        if (at + IP6_EXT_GRANULARITY > head_len ||
            (type == IP6_HOP_BY_HOP && at != ip6_end)) {
            return false;
        }
        if (type == IP6_ROUTING &&
            head[at + offsetof(struct ip6_ext_hdr_routing, segleft)]) {
            h->routed = true;
        }
        next = at;
        at += (head[at + 1] + 1) * IP6_EXT_GRANULARITY;
        if (type != IP6_DESTINATON) {
            h->fragment = at;
            h->fragment_next = next;
        }
    }
}

static bool parse_l4(VhostDPHeaders *h, const uint8_t *head, size_t head_len)
{
    unsigned data_offset;

    switch (h->proto) {
    case IP_PROTO_TCP:
        if (h->l4 + sizeof(struct tcp_header) > head_len) {
            return false;
        }
        data_offset = (head[h->l4 + offsetof(struct tcp_header,
                                             th_offset_flags)] >> 4) * 4;
        h->payload = h->l4 + data_offset;
        return data_offset >= sizeof(struct tcp_header) &&
               h->payload <= head_len;
    case IP_PROTO_UDP:
        h->payload = h->l4 + sizeof(struct udp_header);
        return h->payload <= head_len;
    default:
        return false;
    }
}

/* Headers from Ethernet's on, which is at @at, up to IP's */
static bool parse_eth(VhostDPHeaders *h, const uint8_t *head, size_t head_len,
                      size_t at)
{
    size_t type = at + offsetof(struct eth_header, h_proto);

    for (; type + sizeof(uint16_t) <= head_len;
         type += sizeof(struct vlan_header)) {
        h->l3 = type + sizeof(uint16_t);
        switch (lduw_be_p(head + type)) {
        case ETH_P_VLAN:
        case ETH_P_DVLAN:
        case ETHERTYPE_QINQ:
            continue;
        case ETH_P_IP:
            return parse_ip4(h, head, head_len);
        case ETH_P_IPV6:
            return parse_ip6(h, head, head_len);
        default:
            return false;
        }
    }
    return false;
}

bool vhost_dp_offload_parse(VhostDPHeaders *headers, const uint8_t *head,
                            size_t head_len)
{
    memset(headers, 0, sizeof(*headers));
    return parse_eth(headers, head, head_len, 0) &&
           parse_l4(headers, head, head_len);
}

/* ---- Tunnels ---- */

/*
 * A packet of EtherType @type at @at: is its TCP or UDP header at @l4?  Sets
 * the fields of @h that are about the inner packet, if so.
 */
static bool parse_inner(VhostDPHeaders *h, const uint8_t *head,
                        size_t head_len, size_t at, unsigned type, size_t l4)
{
    VhostDPHeaders inner = {
        .l3 = at,
        .tunnel = h->tunnel,
        .outer_ip6 = h->ip6,
        .outer_l3 = h->l3,
        .outer_l4 = h->l4,
    };
    bool ok;

    if (at >= head_len) {
        return false;
    }
    switch (type) {
    case ETHERTYPE_BRIDGED:
        ok = parse_eth(&inner, head, head_len, at);
        break;
    case ETH_P_IP:
        ok = parse_ip4(&inner, head, head_len);
        break;
    case ETH_P_IPV6:
        ok = parse_ip6(&inner, head, head_len);
        break;
    default:
        return false;
    }
    if (!ok || inner.l4 != l4 || !parse_l4(&inner, head, head_len)) {
        return false;
    }
    *h = inner;
    return true;
}

/* RFC 7348; with bit 2 of the first byte, the fourth says what is inside */
static bool parse_vxlan(VhostDPHeaders *h, const uint8_t *head,
                        size_t head_len, size_t at, size_t l4)
{
    static const unsigned types[] = { 0, ETH_P_IP, ETH_P_IPV6,
                                      ETHERTYPE_BRIDGED };
    unsigned type = ETHERTYPE_BRIDGED;

    if (!(head[at] & 0x08)) {
        return false;
    }
    if (head[at] & 0x04) {
        type = head[at + 3] < ARRAY_SIZE(types) ? types[head[at + 3]] : 0;
    }
    return parse_inner(h, head, head_len, at + 8, type, l4);
}

/* RFC 8926, 3.4 */
static bool parse_geneve(VhostDPHeaders *h, const uint8_t *head,
                         size_t head_len, size_t at, size_t l4)
{
    return head[at] >> 6 == 0 &&
           parse_inner(h, head, head_len, at + 8 + (head[at] & 0x3f) * 4,
                       lduw_be_p(head + at + 2), l4);
}

static bool parse_udp_tunnel(VhostDPHeaders *h, const uint8_t *head,
                             size_t head_len, size_t l4)
{
    size_t at = h->l4 + sizeof(struct udp_header);

    if (at + 8 > head_len) {
        return false;
    }
    h->tunnel = VHOST_DP_TUNNEL_UDP;
    return parse_vxlan(h, head, head_len, at, l4) ||
           parse_geneve(h, head, head_len, at, l4) ||
           parse_inner(h, head, head_len, at, ETH_P_IP, l4) ||
           parse_inner(h, head, head_len, at, ETH_P_IPV6, l4);
}

/* RFC 2784 and 2890: a checksum and a key; nothing that differs by packet */
static bool parse_gre(VhostDPHeaders *h, const uint8_t *head, size_t head_len,
                      size_t l4)
{
    size_t at = h->l4;
    unsigned flags;

    if (at + 4 > head_len) {
        return false;
    }
    flags = lduw_be_p(head + at);
    if (flags & ~(VHOST_DP_GRE_CSUM | VHOST_DP_GRE_KEY)) {
        return false;
    }
    h->tunnel = VHOST_DP_TUNNEL_GRE;
    return parse_inner(h, head, head_len,
                       at + 4 + (flags & VHOST_DP_GRE_CSUM ? 4 : 0) +
                       (flags & VHOST_DP_GRE_KEY ? 4 : 0),
                       lduw_be_p(head + at + 2), l4);
}

/* @h: the outer headers up to IP's */
static bool parse_tunnel(VhostDPHeaders *h, const uint8_t *head,
                         size_t head_len, size_t l4)
{
    if (h->routed) {
        /* The pseudo header needs the final address of the routing header */
        return false;
    }
    switch (h->proto) {
    case IP_PROTO_UDP:
        return parse_udp_tunnel(h, head, head_len, l4);
    case PROTO_GRE:
        return parse_gre(h, head, head_len, l4);
    case PROTO_IP4_IN_IP:
        h->tunnel = VHOST_DP_TUNNEL_IP;
        return parse_inner(h, head, head_len, h->l4, ETH_P_IP, l4);
    case PROTO_IP6_IN_IP:
        h->tunnel = VHOST_DP_TUNNEL_IP;
        return parse_inner(h, head, head_len, h->l4, ETH_P_IPV6, l4);
    default:
        return false;
    }
}

bool vhost_dp_offload_parse_at(VhostDPHeaders *headers, const uint8_t *head,
                               size_t head_len, size_t l4)
{
    memset(headers, 0, sizeof(*headers));
    if (!parse_eth(headers, head, head_len, 0)) {
        return false;
    }
    return headers->l4 == l4 ? parse_l4(headers, head, head_len) :
                               parse_tunnel(headers, head, head_len, l4);
}

/* ---- Metadata ---- */

/* What a GSO type promises about the headers */
typedef struct GsoRule {
    bool ip4;                   /* may be IPv4 */
    bool ip6;                   /* may be IPv6 */
    uint8_t proto;
    uint16_t csum_offset;
} GsoRule;

static const GsoRule *gso_rule(uint8_t gso_type)
{
    static const GsoRule tcp4 = {
        .ip4 = true, .proto = IP_PROTO_TCP, .csum_offset = TCP_CSUM_OFFSET,
    };
    static const GsoRule tcp6 = {
        .ip6 = true, .proto = IP_PROTO_TCP, .csum_offset = TCP_CSUM_OFFSET,
    };
    static const GsoRule udp = {
        .ip4 = true, .ip6 = true,
        .proto = IP_PROTO_UDP, .csum_offset = UDP_CSUM_OFFSET,
    };

    switch (gso_type) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN:
        return &tcp4;
    case VIRTIO_NET_HDR_GSO_TCPV6:
    case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN:
        return &tcp6;
    case VIRTIO_NET_HDR_GSO_UDP:
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return &udp;
    default:
        return NULL;
    }
}

/*
 * A fragment's size is a multiple of 8 (RFC 791, 3.2; RFC 8200, 4.5), and the
 * first one has all headers (RFC 7112).
 */
static bool check_fragments(const VhostDPFrame *frame, const VhostDPHeaders *h)
{
    return IP_FRAG_ALIGN_SIZE(frame->gso_size) >= h->payload - h->fragment &&
           (!h->ip6 || h->payload + VHOST_DP_FRAGMENT_HEADER <=
            VHOST_DP_HEAD_BYTES);
}

/* Does a datagram of IPv4 that begins at @l3 have a length that fits there? */
static bool check_ip4_length(const VhostDPFrame *frame, size_t l3)
{
    return frame->len - l3 <= ETH_MAX_IP_DGRAM_LEN;
}

/* Virtio 1.3, 5.1.6.2: a GSO frame's headers are what its metadata says */
static bool gso_fits(const VhostDPFrame *frame, const VhostDPHeaders *h)
{
    const GsoRule *rule = gso_rule(frame->gso_type);

    return rule && frame->gso_size && h->proto == rule->proto &&
           (h->ip6 ? rule->ip6 : rule->ip4) &&
           (!(frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
            (frame->csum_start == h->l4 &&
             frame->csum_offset == rule->csum_offset)) &&
           frame->len > h->payload &&
           (h->ip6 || check_ip4_length(frame, h->l3));
}

/* Can the frame be segmented? */
static bool check_gso(VhostDPFrame *frame, const VhostDPHeaders *h)
{
    /* Segments get new checksums, so the frame must have asked for one */
    if (!(frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || !gso_fits(frame, h)) {
        return false;
    }
    if (h->tunnel && (frame->gso_type == VIRTIO_NET_HDR_GSO_UDP ||
                      !(h->outer_ip6 || check_ip4_length(frame,
                                                         h->outer_l3)))) {
        return false;
    }
    if (frame->gso_type == VIRTIO_NET_HDR_GSO_UDP &&
        !check_fragments(frame, h)) {
        return false;
    }
    frame->hdr_len = h->payload;
    return true;
}

static bool check_checksum(const VhostDPFrame *frame)
{
    return !(frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
           (frame->csum_start >= sizeof(struct eth_header) &&
            (uint32_t)frame->csum_start + frame->csum_offset +
            sizeof(uint16_t) <= frame->len);
}

bool vhost_dp_offload_check(VhostDPFrame *frame, const uint8_t *head,
                            size_t head_len)
{
    VhostDPHeaders headers;

    if ((frame->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
        !check_checksum(frame)) {
        return false;
    }
    if (frame->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        return vhost_dp_offload_parse(&headers, head, head_len) &&
               check_gso(frame, &headers);
    }
    frame->gso_size = 0;
    frame->hdr_len = 0;
    return true;
}

/* The pseudo header's sum goes to where the checksum belongs */
static void put_partial(VhostDPFrame *frame, uint8_t *head,
                        const VhostDPHeaders *h)
{
    uint16_t sum = vhost_dp_csum_addresses(head, h->l3, h->ip6);

    sum = vhost_dp_csum_add(sum, cpu_to_be16(h->proto));
    sum = vhost_dp_csum_add(sum, cpu_to_be16(frame->len - h->l4));

    frame->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    frame->csum_start = h->l4;
    frame->csum_offset = h->proto == IP_PROTO_TCP ? TCP_CSUM_OFFSET :
                                                    UDP_CSUM_OFFSET;
    stw_he_p(head + h->l4 + frame->csum_offset, sum);
}

static bool make_partial(VhostDPFrame *frame, uint8_t *head, size_t head_len)
{
    const GsoRule *rule = gso_rule(frame->gso_type);
    VhostDPHeaders h;

    /* A routed packet's pseudo header has an address that is elsewhere */
    if (!rule || !vhost_dp_offload_parse(&h, head, head_len) || h.routed ||
        h.proto != rule->proto) {
        return false;
    }
    put_partial(frame, head, &h);
    return true;
}

/* The length of a frame without what follows its packet, such as padding */
static size_t packet_end(const VhostDPHeaders *h, const uint8_t *head)
{
    const uint8_t *ip = head + h->l3;
    size_t end;

    if (h->ip6) {
        end = h->l3 + sizeof(struct ip6_header) +
              lduw_be_p(ip + offsetof(struct ip6_header, ip6_plen));
    } else {
        end = h->l3 + lduw_be_p(ip + offsetof(struct ip_header, ip_len));
    }
    if (h->proto == IP_PROTO_UDP) {
        end = MIN(end, h->l4 + lduw_be_p(head + h->l4 +
                                         offsetof(struct udp_header, uh_ulen)));
    }
    return end;
}

bool vhost_dp_offload_compute_checksum(VhostDPFrame *frame, uint8_t *head,
                                       size_t head_len)
{
    uint32_t len = frame->len;
    VhostDPHeaders h;
    size_t end;

    frame->flags = 0;
    if (!vhost_dp_offload_parse(&h, head, head_len) || h.routed) {
        return false;
    }
    end = packet_end(&h, head);
    if (end < h.payload || end > len) {
        return false;
    }
    /* UDP over IPv4 may do without one (RFC 768) */
    if (h.proto == IP_PROTO_UDP && !h.ip6 &&
        !lduw_he_p(head + h.l4 + UDP_CSUM_OFFSET)) {
        return false;
    }
    frame->len = end;
    put_partial(frame, head, &h);
    vhost_dp_offload_finish_checksum(frame);
    frame->len = len;
    return true;
}

bool vhost_dp_offload_check_received(VhostDPFrame *frame, uint8_t *head,
                                     size_t head_len)
{
    VhostDPHeaders headers;

    frame->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
    if (frame->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
        return vhost_dp_offload_check(frame, head, head_len);
    }
    return (frame->flags || make_partial(frame, head, head_len)) &&
           check_checksum(frame) &&
           vhost_dp_offload_parse_at(&headers, head, head_len,
                                     frame->csum_start) &&
           check_gso(frame, &headers);
}

size_t vhost_dp_offload_fits(const VhostDPFrame *frame, const uint8_t *head,
                             size_t head_len)
{
    VhostDPHeaders headers;

    return vhost_dp_offload_parse(&headers, head, head_len) &&
           gso_fits(frame, &headers) ? headers.payload : 0;
}

bool vhost_dp_offload_allowed(const VhostDPFrame *frame, uint32_t offloads)
{
    uint32_t need = 0;

    if (frame->flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM |
                        VIRTIO_NET_HDR_F_DATA_VALID)) {
        need |= VHOST_DP_OFFLOAD_CSUM;
    }
    if (frame->gso_type & VIRTIO_NET_HDR_GSO_ECN) {
        need |= VHOST_DP_OFFLOAD_ECN;
    }
    switch (frame->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_NONE:
        break;
    case VIRTIO_NET_HDR_GSO_TCPV4:
        need |= VHOST_DP_OFFLOAD_TSO4;
        break;
    case VIRTIO_NET_HDR_GSO_TCPV6:
        need |= VHOST_DP_OFFLOAD_TSO6;
        break;
    case VIRTIO_NET_HDR_GSO_UDP:
        need |= VHOST_DP_OFFLOAD_UFO;
        break;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        /*
         * One type for both IP versions (virtio 1.3, 5.1.6.2).  Those who take
         * it for one of them only are not worth a look at the headers.
         */
        need |= VHOST_DP_OFFLOAD_USO4 | VHOST_DP_OFFLOAD_USO6;
        break;
    default:
        return false;
    }
    return (offloads & need) == need;
}
