/*
 * vhost-dp: the hash of a received frame
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the headers are gone through once, without a copy, and
 * as the bytes may change meanwhile, no check relies on an earlier one of the
 * same bytes: each access is compared with the length of the head.  headers.c
 * is stricter, as what it accepts is segmented: here a packet with an unknown
 * header, or with one that is cut off, still has addresses.
 *
 * A Toeplitz hash is a sum (exclusive or) of parts of the key, one for each bit
 * of the input that is set.  So a byte adds one of 256 numbers, which are
 * computed when the key is set.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "net/eth.h"
#include "standard-headers/linux/virtio_net.h"
#include "classify.h"

/* IEEE 802.1ad before it was a standard, and still in use */
#define ETHERTYPE_QINQ      0x9100

#define IP4_ADDRESSES       (2 * 4)
#define IP6_ADDRESS         sizeof(struct in6_address)
#define PORTS               (2 * sizeof(uint16_t))

/* RFC 6275: of the routing header, and of the option in front of the address */
#define ROUTING_TYPE_HOME   2
#define OPTION_HEADER       2

void vhost_dp_toeplitz_init(VhostDPToeplitz *toeplitz, const uint8_t *key)
{
    unsigned at, byte;
    int bit;

    for (at = 0; at < VHOST_DP_HASH_INPUT; at++) {
        /* The key from this place on, and what moves in as it is shifted */
        uint32_t window = ldl_be_p(key + at);
        uint8_t next = key[at + 4];
        uint32_t *sum = toeplitz->sum[at];

        for (bit = 7; bit >= 0; bit--) {
            sum[1u << bit] = window;
            window = window << 1 | ((next >> bit) & 1);
        }
        sum[0] = 0;
        for (byte = 1; byte < ARRAY_SIZE(toeplitz->sum[0]); byte++) {
            unsigned lowest = byte & -byte;

            if (byte != lowest) {
                sum[byte] = sum[byte - lowest] ^ sum[lowest];
            }
        }
    }
}

/*
 * @len bytes at place @at of the input.  Constants, so there is no loop.  Bytes
 * are taken out of words: loads are what this waits for.
 */
static inline __attribute__((always_inline)) uint32_t
hash_bytes(const VhostDPToeplitz *toeplitz, unsigned at, const uint8_t *buf,
           unsigned len)
{
    uint32_t even = 0, odd = 0;
    unsigned i;

    for (i = 0; i < len; i += 4) {
        const uint32_t (*sum)[256] = &toeplitz->sum[at + i];
        uint32_t word = ldl_le_p(buf + i);

        even ^= sum[0][word & 0xff] ^ sum[1][(word >> 8) & 0xff];
        odd ^= sum[2][(word >> 16) & 0xff] ^ sum[3][word >> 24];
    }
    return even ^ odd;
}

/* Which ports a packet has, if any */
typedef enum Layer4 {
    L4_NONE,
    L4_TCP,
    L4_UDP,
} Layer4;

static inline Layer4 find_ports(unsigned proto, size_t l4, size_t head_len)
{
    if (proto == IP_PROTO_TCP &&
        l4 + sizeof(struct tcp_header) <= head_len) {
        return L4_TCP;
    }
    if (proto == IP_PROTO_UDP &&
        l4 + sizeof(struct udp_header) <= head_len) {
        return L4_UDP;
    }
    return L4_NONE;
}

/*
 * What to report: the first of the enabled types that fits.  Those of one kind
 * of packet follow each other as IP, TCP, UDP, and a type's bit is that of its
 * report, less one.
 */
static inline unsigned choose_report(uint32_t types, unsigned ip_report,
                                     Layer4 l4)
{
    uint32_t kind = types >> (ip_report - 1);

    QEMU_BUILD_BUG_ON(VIRTIO_NET_HASH_REPORT_TCPv4 !=
                      VIRTIO_NET_HASH_REPORT_IPv4 + L4_TCP);
    QEMU_BUILD_BUG_ON(VIRTIO_NET_HASH_REPORT_UDPv6 !=
                      VIRTIO_NET_HASH_REPORT_IPv6 + L4_UDP);
    QEMU_BUILD_BUG_ON(VIRTIO_NET_HASH_REPORT_UDPv6_EX !=
                      VIRTIO_NET_HASH_REPORT_IPv6_EX + L4_UDP);
    QEMU_BUILD_BUG_ON(VIRTIO_NET_RSS_HASH_TYPE_UDP_EX !=
                      1 << (VIRTIO_NET_HASH_REPORT_UDPv6_EX - 1));
    if (l4 != L4_NONE && (kind & (1u << l4))) {
        return ip_report + l4;
    }
    return kind & 1 ? ip_report : VIRTIO_NET_HASH_REPORT_NONE;
}

static VhostDPHash classify_ip4(const VhostDPToeplitz *toeplitz, uint32_t types,
                                const uint8_t *head, size_t head_len, size_t l3)
{
    const uint8_t *ip = head + l3;
    VhostDPHash hash = {};
    Layer4 ports = L4_NONE;
    uint8_t ver_len;
    size_t l4;

    if (l3 + sizeof(struct ip_header) > head_len) {
        return hash;
    }
    ver_len = ip[0];
    l4 = l3 + (ver_len & 0xf) * 4;
    if (ver_len >> 4 != IP_HEADER_VERSION_4 ||
        l4 < l3 + sizeof(struct ip_header)) {
        return hash;
    }
    if (!(lduw_be_p(ip + offsetof(struct ip_header, ip_off)) &
          (IP_OFFMASK | IP_MF))) {
        ports = find_ports(ip[offsetof(struct ip_header, ip_p)], l4, head_len);
    }
    hash.report = choose_report(types, VIRTIO_NET_HASH_REPORT_IPv4, ports);
    if (hash.report == VIRTIO_NET_HASH_REPORT_NONE) {
        return hash;
    }
    hash.value = hash_bytes(toeplitz, 0,
                            ip + offsetof(struct ip_header, ip_src),
                            IP4_ADDRESSES);
    if (hash.report != VIRTIO_NET_HASH_REPORT_IPv4) {
        hash.value ^= hash_bytes(toeplitz, IP4_ADDRESSES, head + l4, PORTS);
    }
    return hash;
}

/* Where the addresses of an IPv6 packet are, and its ports */
typedef struct Ip6 {
    const uint8_t *src;
    const uint8_t *dst;
    bool extended;              /* there are extension headers */
    Layer4 ports;
    size_t l4;
} Ip6;

static inline bool is_extension(unsigned type)
{
    switch (type) {
    case IP6_HOP_BY_HOP:
    case IP6_ROUTING:
    case IP6_FRAGMENT:
    case IP6_ESP:
    case IP6_AUTHENTICATION:
    case IP6_DESTINATON:
    case IP6_MOBILITY:
        return true;
    default:
        return false;
    }
}

/* RFC 6275, 6.3: the home address among the options from @at up to @end */
static const uint8_t *find_home(const uint8_t *head, size_t at, size_t end)
{
    while (at + OPTION_HEADER + IP6_ADDRESS <= end) {
        unsigned type = head[at];

        if (type == IP6_OPT_PAD1) {
            at++;
            continue;
        }
        if (type == IP6_OPT_HOME && head[at + 1] == IP6_ADDRESS) {
            return head + at + OPTION_HEADER;
        }
        at += OPTION_HEADER + head[at + 1];
    }
    return NULL;
}

/*
 * An extension header of @type at @at, whose first eight bytes are there.
 * Returns its length, or 0 if nothing behind it can be known.
 */
static size_t ip6_extension(Ip6 *ip, const uint8_t *head, size_t head_len,
                            size_t at, unsigned type)
{
    size_t len = (head[at + 1] + 1) * IP6_EXT_GRANULARITY;
    const uint8_t *home;

    switch (type) {
    case IP6_ROUTING:
        if (len == IP6_EXT_GRANULARITY + IP6_ADDRESS &&
            at + len <= head_len &&
            head[at + offsetof(struct ip6_ext_hdr_routing, rtype)] ==
            ROUTING_TYPE_HOME &&
            head[at + offsetof(struct ip6_ext_hdr_routing, segleft)] == 1) {
            ip->dst = head + at + IP6_EXT_GRANULARITY;
        }
        return len;
    case IP6_DESTINATON:
        home = find_home(head, at + OPTION_HEADER, MIN(at + len, head_len));
        ip->src = home ?: ip->src;
        return len;
    case IP6_AUTHENTICATION:
        /* RFC 4302, 2.2 */
        return (head[at + 1] + 2) * 4;
    case IP6_HOP_BY_HOP:
    case IP6_MOBILITY:
        return len;
    default:
        /* A fragment, or encrypted */
        return 0;
    }
}

static __attribute__((noinline)) void
ip6_extensions(Ip6 *ip, const uint8_t *head, size_t head_len, size_t at,
               unsigned type)
{
    ip->extended = true;
    /* Each has at least 8 bytes, so this ends */
    while (is_extension(type)) {
        size_t len;

        if (at + IP6_EXT_GRANULARITY > head_len) {
            return;
        }
        len = ip6_extension(ip, head, head_len, at, type);
        if (!len) {
            return;
        }
        type = head[at];
        at += len;
    }
    ip->l4 = at;
    ip->ports = find_ports(type, at, head_len);
}

static VhostDPHash classify_ip6(const VhostDPToeplitz *toeplitz, uint32_t types,
                                const uint8_t *head, size_t head_len, size_t l3)
{
    const uint8_t *src = head + l3 + offsetof(struct ip6_header, ip6_src);
    const uint8_t *dst = src + IP6_ADDRESS;
    Ip6 ip = { .src = src, .dst = dst, .l4 = l3 + sizeof(struct ip6_header) };
    VhostDPHash hash = {};
    unsigned next;
    bool ports;

    if (ip.l4 > head_len || head[l3] >> 4 != IP_HEADER_VERSION_6) {
        return hash;
    }
    next = head[l3 + offsetof(struct ip6_header, ip6_nxt)];
    if (unlikely(is_extension(next))) {
        ip6_extensions(&ip, head, head_len, ip.l4, next);
    } else {
        ip.ports = find_ports(next, ip.l4, head_len);
    }
    if (unlikely(ip.extended)) {
        hash.report = choose_report(types, VIRTIO_NET_HASH_REPORT_IPv6_EX,
                                    ip.ports);
    }
    if (likely(hash.report == VIRTIO_NET_HASH_REPORT_NONE)) {
        /* Extension headers are skipped, with the addresses in them */
        hash.report = choose_report(types, VIRTIO_NET_HASH_REPORT_IPv6,
                                    ip.ports);
        ip.src = src;
        ip.dst = dst;
    }
    if (hash.report == VIRTIO_NET_HASH_REPORT_NONE) {
        return hash;
    }
    ports = hash.report != VIRTIO_NET_HASH_REPORT_IPv6 &&
            hash.report != VIRTIO_NET_HASH_REPORT_IPv6_EX;
    hash.value = hash_bytes(toeplitz, 0, ip.src, IP6_ADDRESS) ^
                 hash_bytes(toeplitz, IP6_ADDRESS, ip.dst, IP6_ADDRESS);
    if (ports) {
        hash.value ^= hash_bytes(toeplitz, 2 * IP6_ADDRESS, head + ip.l4,
                                 PORTS);
    }
    return hash;
}

VhostDPHash vhost_dp_classify(const VhostDPToeplitz *toeplitz, uint32_t types,
                              const uint8_t *head, size_t head_len)
{
    size_t type = offsetof(struct eth_header, h_proto);

    for (; type + sizeof(uint16_t) <= head_len;
         type += sizeof(struct vlan_header)) {
        size_t l3 = type + sizeof(uint16_t);

        switch (lduw_be_p(head + type)) {
        case ETH_P_VLAN:
        case ETH_P_DVLAN:
        case ETHERTYPE_QINQ:
            continue;
        case ETH_P_IP:
            return classify_ip4(toeplitz, types, head, head_len, l3);
        case ETH_P_IPV6:
            return classify_ip6(toeplitz, types, head, head_len, l3);
        default:
            return (VhostDPHash) {};
        }
    }
    return (VhostDPHash) {};
}
