/*
 * vhost-dp: tests of the hash of received frames
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the vectors that Microsoft publishes for RSS; then rules
 * of virtio 1.3, 5.1.6.4.3, one by one; then random frames, whole and damaged,
 * whose hash is compared with that of net_rx_pkt.c, by which QEMU's virtio-net
 * hashes.  That takes some frames otherwise than the specifications say: these
 * are known by qemu_errs(), which shares no code with either.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/iov.h"
#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp.h"
#include "net/vhost-dp/offload/classify.h"
#include "hw/net/net_rx_pkt.h"

#define ALL_TYPES 0x1ff
#define EX_TYPES (VIRTIO_NET_RSS_HASH_TYPE_IP_EX | \
                  VIRTIO_NET_RSS_HASH_TYPE_TCP_EX | \
                  VIRTIO_NET_RSS_HASH_TYPE_UDP_EX)

#define TCP 6
#define UDP 17
#define ICMP 1

#define HOP_BY_HOP 0
#define ROUTING 43
#define FRAGMENT 44
#define ESP 50
#define AH 51
#define NO_NEXT 59
#define OPTIONS 60
#define MOBILITY 135

static uint8_t default_key[VHOST_DP_HASH_KEY] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
    0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
    0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
    0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static VhostDPToeplitz toeplitz;

/* ---- Frames ---- */

typedef struct Frame {
    uint8_t data[512];
    size_t len;
    size_t next;                /* where to write the next header's type */
} Frame;

static uint8_t *add(Frame *f, size_t len)
{
    uint8_t *p = f->data + f->len;

    g_assert_cmpuint(f->len + len, <=, sizeof(f->data));
    memset(p, 0, len);
    f->len += len;
    return p;
}

static void begin(Frame *f)
{
    memset(f->data, 0x55, 12);
    f->len = 12;
}

static void add_tag(Frame *f, unsigned type)
{
    stw_be_p(add(f, 4), type);
}

static void add_ip4(Frame *f, const char *src, const char *dst,
                    unsigned options)
{
    uint8_t *p;

    stw_be_p(add(f, 2), 0x0800);
    p = add(f, 20 + options);
    f->next = p + 9 - f->data;
    p[0] = 0x40 | (5 + options / 4);
    memset(p + 20, 1, options);
    g_assert_cmpint(inet_pton(AF_INET, src, p + 12), ==, 1);
    g_assert_cmpint(inet_pton(AF_INET, dst, p + 16), ==, 1);
}

static void add_ip6(Frame *f, const char *src, const char *dst)
{
    uint8_t *p;

    stw_be_p(add(f, 2), 0x86dd);
    p = add(f, 40);
    f->next = p + 6 - f->data;
    p[0] = 0x60;
    p[6] = NO_NEXT;
    g_assert_cmpint(inet_pton(AF_INET6, src, p + 8), ==, 1);
    g_assert_cmpint(inet_pton(AF_INET6, dst, p + 24), ==, 1);
}

/* An extension header of @units times 8 bytes; what follows is set later */
static uint8_t *add_ext(Frame *f, unsigned type, unsigned units)
{
    size_t at = f->len;
    uint8_t *p = add(f, units * 8);

    f->data[f->next] = type;
    f->next = at;
    p[0] = NO_NEXT;
    p[1] = type == AH ? units * 2 - 2 : type == FRAGMENT ? 0 : units - 1;
    return p;
}

static void add_home(Frame *f, const char *home, unsigned pad)
{
    uint8_t *p = add_ext(f, OPTIONS, (2 + pad + 18 + 7) / 8);

    p += 2 + pad;               /* Pad1 are zeros */
    p[0] = 0xc9;
    p[1] = 16;
    g_assert_cmpint(inet_pton(AF_INET6, home, p + 2), ==, 1);
}

static void add_routing(Frame *f, unsigned type, const char *address)
{
    uint8_t *p = add_ext(f, ROUTING, 3);

    p[2] = type;
    p[3] = 1;
    g_assert_cmpint(inet_pton(AF_INET6, address, p + 8), ==, 1);
}

static void add_l4(Frame *f, unsigned proto, unsigned sport, unsigned dport)
{
    uint8_t *p;

    f->data[f->next] = proto;
    p = add(f, proto == TCP ? 20 : 8);
    stw_be_p(p, sport);
    stw_be_p(p + 2, dport);
    if (proto == TCP) {
        p[12] = 0x50;
    }
}

static VhostDPHash hash_of(const Frame *f, uint32_t types)
{
    /* So that reading beyond it is found */
    g_autofree uint8_t *copy = g_memdup2(f->data, f->len);

    return vhost_dp_classify(&toeplitz, types, copy, f->len);
}

#define check_report(f, types, expected)                                   \
    g_assert_cmpuint(hash_of(f, types).report, ==,                         \
                     VIRTIO_NET_HASH_REPORT_##expected)

#define check_hash(f, types, expected, number)                             \
    do {                                                                   \
        VhostDPHash hash_ = hash_of(f, types);                             \
                                                                           \
        g_assert_cmpuint(hash_.report, ==,                                 \
                         VIRTIO_NET_HASH_REPORT_##expected);               \
        g_assert_cmphex(hash_.value, ==, number);                          \
    } while (0)

/* ---- Microsoft's vectors ---- */

static const struct {
    const char *dst;
    unsigned dport;
    const char *src;
    unsigned sport;
    uint32_t ip;
    uint32_t tcp;
} vectors4[] = {
    { "161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178 },
    { "65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea },
    { "12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a },
    { "209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f },
    { "202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2 },
}, vectors6[] = {
    { "3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794,
      0x2cc18cd5, 0x40207d3d },
    { "ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230,
      0x0f0c461c, 0xdde51bbf },
    { "fe80::200:f8ff:fe21:67cf", 38024,
      "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985, 0x02d1feef },
};

static void test_vectors_ip4(void)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(vectors4); i++) {
        Frame tcp, udp;

        begin(&tcp);
        add_ip4(&tcp, vectors4[i].src, vectors4[i].dst, 0);
        udp = tcp;
        add_l4(&tcp, TCP, vectors4[i].sport, vectors4[i].dport);
        add_l4(&udp, UDP, vectors4[i].sport, vectors4[i].dport);
        check_hash(&tcp, ALL_TYPES, TCPv4, vectors4[i].tcp);
        check_hash(&udp, ALL_TYPES, UDPv4, vectors4[i].tcp);
        check_hash(&tcp, VIRTIO_NET_RSS_HASH_TYPE_IPv4, IPv4, vectors4[i].ip);
        check_hash(&udp, VIRTIO_NET_RSS_HASH_TYPE_IPv4, IPv4, vectors4[i].ip);
    }
}

static void test_vectors_ip6(void)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(vectors6); i++) {
        Frame tcp, udp;

        begin(&tcp);
        add_ip6(&tcp, vectors6[i].src, vectors6[i].dst);
        udp = tcp;
        add_l4(&tcp, TCP, vectors6[i].sport, vectors6[i].dport);
        add_l4(&udp, UDP, vectors6[i].sport, vectors6[i].dport);
        check_hash(&tcp, ALL_TYPES, TCPv6, vectors6[i].tcp);
        check_hash(&udp, ALL_TYPES, UDPv6, vectors6[i].tcp);
        check_hash(&tcp, VIRTIO_NET_RSS_HASH_TYPE_IPv6, IPv6, vectors6[i].ip);
        check_hash(&udp, VIRTIO_NET_RSS_HASH_TYPE_IPv6, IPv6, vectors6[i].ip);
    }
}

/*
 * The addresses that are hashed are those in the extension headers: so the
 * packet has others, and the vectors hold
 */
static void test_vectors_ip6_extended(void)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(vectors6); i++) {
        Frame f, tcp, udp;

        begin(&f);
        add_ip6(&f, "2001:db8::1", "2001:db8::2");
        add_ext(&f, HOP_BY_HOP, 2);
        add_routing(&f, 2, vectors6[i].dst);
        add_home(&f, vectors6[i].src, i);
        tcp = udp = f;
        add_l4(&tcp, TCP, vectors6[i].sport, vectors6[i].dport);
        add_l4(&udp, UDP, vectors6[i].sport, vectors6[i].dport);
        check_hash(&tcp, ALL_TYPES, TCPv6_EX, vectors6[i].tcp);
        check_hash(&udp, ALL_TYPES, UDPv6_EX, vectors6[i].tcp);
        check_hash(&f, ALL_TYPES, IPv6_EX, vectors6[i].ip);
        check_hash(&udp, ALL_TYPES & ~VIRTIO_NET_RSS_HASH_TYPE_UDP_EX, IPv6_EX,
                   vectors6[i].ip);
    }
}

/* ---- The rules of virtio 1.3, 5.1.6.4.3 ---- */

/* 5.1.6.4.3.2: the first enabled type of TCP or UDP, and of IP, that fits */
static void test_types_ip4(void)
{
    Frame tcp, udp, other;

    begin(&tcp);
    add_ip4(&tcp, "192.0.2.1", "192.0.2.2", 8);
    udp = other = tcp;
    add_l4(&tcp, TCP, 1, 2);
    add_l4(&udp, UDP, 1, 2);
    other.data[other.next] = ICMP;
    check_report(&tcp, VIRTIO_NET_RSS_HASH_TYPE_TCPv4, TCPv4);
    check_report(&tcp, VIRTIO_NET_RSS_HASH_TYPE_UDPv4, NONE);
    check_report(&tcp, VIRTIO_NET_RSS_HASH_TYPE_UDPv4 |
                       VIRTIO_NET_RSS_HASH_TYPE_IPv4, IPv4);
    check_report(&udp, VIRTIO_NET_RSS_HASH_TYPE_UDPv4, UDPv4);
    check_report(&udp, VIRTIO_NET_RSS_HASH_TYPE_TCPv4, NONE);
    check_report(&other, ALL_TYPES, IPv4);
    check_report(&other, ALL_TYPES & ~VIRTIO_NET_RSS_HASH_TYPE_IPv4, NONE);
    check_hash(&tcp, 0, NONE, 0);
    check_hash(&tcp, ALL_TYPES << 3 & ALL_TYPES, NONE, 0);
}

/* 5.1.6.4.3.3: types of packets with extension headers are not for others */
static void test_types_ip6(void)
{
    Frame tcp, udp;

    begin(&tcp);
    add_ip6(&tcp, "2001:db8::1", "2001:db8::2");
    udp = tcp;
    add_l4(&tcp, TCP, 1, 2);
    add_l4(&udp, UDP, 1, 2);
    check_report(&tcp, ALL_TYPES, TCPv6);
    check_report(&udp, ALL_TYPES, UDPv6);
    check_report(&tcp, EX_TYPES, NONE);
    check_report(&udp, EX_TYPES | VIRTIO_NET_RSS_HASH_TYPE_IPv6, IPv6);
    check_report(&tcp, VIRTIO_NET_RSS_HASH_TYPE_UDPv6, NONE);
}

/* 5.1.6.4.3.4: without types of their own they are hashed as others are */
static void test_types_ip6_extended(void)
{
    Frame plain, extended;

    begin(&plain);
    add_ip6(&plain, "2001:db8::1", "2001:db8::2");
    extended = plain;
    add_l4(&plain, TCP, 1, 2);
    add_home(&extended, "2001:db8::3", 0);
    add_routing(&extended, 2, "2001:db8::4");
    add_l4(&extended, TCP, 1, 2);
    check_hash(&extended, ALL_TYPES & ~EX_TYPES, TCPv6,
               hash_of(&plain, ALL_TYPES).value);
    check_report(&extended, VIRTIO_NET_RSS_HASH_TYPE_TCPv6 |
                            VIRTIO_NET_RSS_HASH_TYPE_UDP_EX, TCPv6);
    check_report(&extended, VIRTIO_NET_RSS_HASH_TYPE_TCPv6 |
                            VIRTIO_NET_RSS_HASH_TYPE_IP_EX, IPv6_EX);
    g_assert_cmphex(hash_of(&extended, ALL_TYPES).value, !=,
                    hash_of(&plain, ALL_TYPES).value);
}

/* The address in another routing header than type 2 is not the packet's */
static void test_other_routing(void)
{
    Frame plain, routed;

    begin(&plain);
    add_ip6(&plain, "2001:db8::1", "2001:db8::2");
    routed = plain;
    add_routing(&routed, 4, "2001:db8::4");
    check_hash(&routed, ALL_TYPES, IPv6_EX, hash_of(&plain, ALL_TYPES).value);
}

/* All fragments of a datagram have one hash: that of the addresses */
static void test_fragments(void)
{
    static const uint16_t places[] = { 1, 8, 9 };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(places); i++) {
        Frame plain, f;

        begin(&plain);
        add_ip4(&plain, "192.0.2.1", "192.0.2.2", 0);
        f = plain;
        add_l4(&f, UDP, 1, 2);
        stw_be_p(f.data + 14 + 6, places[i] >> 3 | (places[i] & 1) << 13);
        check_hash(&f, ALL_TYPES, IPv4, hash_of(&plain, ALL_TYPES).value);

        begin(&plain);
        add_ip6(&plain, "2001:db8::1", "2001:db8::2");
        f = plain;
        stw_be_p(add_ext(&f, FRAGMENT, 1) + 2, places[i]);
        /* Data, or what begins with a header: nobody looks */
        add_home(&f, "2001:db8::3", 0);
        add_l4(&f, UDP, 1, 2);
        check_hash(&f, ALL_TYPES, IPv6_EX, hash_of(&plain, ALL_TYPES).value);
    }
}

/* What is behind an Authentication header is found; behind ESP there is none */
static void test_ipsec(void)
{
    Frame plain, f;

    begin(&plain);
    add_ip6(&plain, "2001:db8::1", "2001:db8::2");
    f = plain;
    add_l4(&plain, TCP, 1, 2);
    add_ext(&f, AH, 3);
    add_l4(&f, TCP, 1, 2);
    check_hash(&f, ALL_TYPES, TCPv6_EX, hash_of(&plain, ALL_TYPES).value);

    begin(&f);
    add_ip6(&f, "2001:db8::1", "2001:db8::2");
    add_ext(&f, ESP, 1);
    add_l4(&f, TCP, 1, 2);
    check_report(&f, ALL_TYPES, IPv6_EX);
}

/* What is cut off is not looked at, and addresses that are there are hashed */
static void test_cut(void)
{
    Frame f, g;
    size_t i;

    begin(&f);
    add_tag(&f, 0x88a8);
    add_tag(&f, 0x8100);
    add_ip6(&f, "2001:db8::1", "2001:db8::2");
    add_home(&f, "2001:db8::3", 0);
    add_l4(&f, TCP, 1, 2);
    for (i = 0; i <= f.len; i++) {
        g = f;
        g.len = i;
        g_assert_cmpuint(hash_of(&g, ALL_TYPES).report, ==,
                         i < 62 ? VIRTIO_NET_HASH_REPORT_NONE :
                         i < f.len ? VIRTIO_NET_HASH_REPORT_IPv6_EX :
                         VIRTIO_NET_HASH_REPORT_TCPv6_EX);
    }
}

/* Neither are options, or headers, that claim to be longer than they can be */
static void test_lengths(void)
{
    static const unsigned places[] = { 1, 2, 3, 4 };
    Frame plain, f;
    unsigned i;

    begin(&plain);
    add_ip6(&plain, "2001:db8::1", "2001:db8::2");
    for (i = 0; i < ARRAY_SIZE(places); i++) {
        f = plain;
        add_home(&f, "2001:db8::3", 1);
        f.data[plain.len + places[i]] = 0xff;
        hash_of(&f, ALL_TYPES);
    }
    f = plain;
    add_home(&f, "2001:db8::3", 0);
    f.data[plain.len + 3] = 15;
    check_hash(&f, ALL_TYPES, IPv6_EX, hash_of(&plain, ALL_TYPES).value);

    begin(&f);
    add_ip4(&f, "192.0.2.1", "192.0.2.2", 0);
    f.data[14] = 0x44;
    check_report(&f, ALL_TYPES, NONE);
    f.data[14] = 0x65;
    check_report(&f, ALL_TYPES, NONE);
}

/* ---- Compared with QEMU's own ---- */

/*
 * Does net_rx_pkt.c, or eth.c below it, take a frame otherwise than the RFCs
 * say?  It knows two VLAN tags in one order; extension headers that are cut off
 * make it forget the addresses; it looks for headers behind ESP and in
 * fragments, counts the length of Authentication headers in the wrong unit,
 * takes a home address of any length, and the last of several headers of a kind
 * in place of the one that has an address.
 */
static bool qemu_errs(const uint8_t *f, size_t len)
{
    unsigned options = 0, routing = 0;
    unsigned type, tags = 0;
    size_t at = 12, end, opt;

    for (;; at += 4, tags++) {
        if (at + 2 > len) {
            return tags > 0;
        }
        type = lduw_be_p(f + at);
        if (type == 0x9100) {
            return true;
        }
        if (type != 0x8100 && type != 0x88a8) {
            break;
        }
    }
    if (tags > 2 || (tags == 2 && lduw_be_p(f + 12) != 0x88a8) ||
        (tags == 2 && lduw_be_p(f + 16) != 0x8100) ||
        (tags && at + 6 > len) || len < 18) {
        return true;
    }
    at += 2;
    if (type == 0x0800) {
        return at < len && (f[at] & 15) < 5;
    }
    if (type != 0x86dd || at + 40 > len) {
        return false;
    }
    if (f[at] >> 4 != 6) {
        return true;
    }
    type = f[at + 6];
    for (at += 40;; at = end) {
        switch (type) {
        case FRAGMENT:
        case ESP:
        case AH:
            return true;
        case HOP_BY_HOP:
        case ROUTING:
        case OPTIONS:
        case MOBILITY:
            break;
        default:
            return options > 1 || routing > 1;
        }
        if (at + 8 > len) {
            return true;
        }
        end = at + (f[at + 1] + 1) * 8;
        if (end > len) {
            return true;
        }
        routing += type == ROUTING;
        options += type == OPTIONS;
        for (opt = at + 2; type == OPTIONS && opt + 2 <= end;
             opt += f[opt] ? 2 + f[opt + 1] : 1) {
            if (f[opt] == 0xc9 && f[opt + 1] != 16) {
                return true;
            }
        }
        type = f[at];
    }
}

/* What virtio-net makes of it, with the types as the specification has them */
static VhostDPHash qemu_hash(struct NetRxPkt *pkt, uint32_t types,
                             uint8_t *data, size_t len)
{
    struct iovec iov = { .iov_base = data, .iov_len = len };
    VhostDPHash hash = {};
    EthL4HdrProto proto;
    bool ip4, ip6, tcp, udp, ex;
    static const uint8_t rss_types[] = {
        [VIRTIO_NET_HASH_REPORT_IPv4] = NetPktRssIpV4,
        [VIRTIO_NET_HASH_REPORT_TCPv4] = NetPktRssIpV4Tcp,
        [VIRTIO_NET_HASH_REPORT_UDPv4] = NetPktRssIpV4Udp,
        [VIRTIO_NET_HASH_REPORT_IPv6] = NetPktRssIpV6,
        [VIRTIO_NET_HASH_REPORT_TCPv6] = NetPktRssIpV6Tcp,
        [VIRTIO_NET_HASH_REPORT_UDPv6] = NetPktRssIpV6Udp,
        [VIRTIO_NET_HASH_REPORT_IPv6_EX] = NetPktRssIpV6Ex,
        [VIRTIO_NET_HASH_REPORT_TCPv6_EX] = NetPktRssIpV6TcpEx,
        [VIRTIO_NET_HASH_REPORT_UDPv6_EX] = NetPktRssIpV6UdpEx,
    };

    net_rx_pkt_set_protocols(pkt, &iov, 1, 0);
    net_rx_pkt_get_protocols(pkt, &ip4, &ip6, &proto);
    tcp = proto == ETH_L4_HDR_PROTO_TCP;
    udp = proto == ETH_L4_HDR_PROTO_UDP;
    ex = ip6 && net_rx_pkt_get_ip6_info(pkt)->has_ext_hdrs;
    if (ip4) {
        hash.report =
            tcp && (types & VIRTIO_NET_RSS_HASH_TYPE_TCPv4) ?
                VIRTIO_NET_HASH_REPORT_TCPv4 :
            udp && (types & VIRTIO_NET_RSS_HASH_TYPE_UDPv4) ?
                VIRTIO_NET_HASH_REPORT_UDPv4 :
            types & VIRTIO_NET_RSS_HASH_TYPE_IPv4 ?
                VIRTIO_NET_HASH_REPORT_IPv4 : 0;
    } else if (ip6) {
        hash.report =
            ex && tcp && (types & VIRTIO_NET_RSS_HASH_TYPE_TCP_EX) ?
                VIRTIO_NET_HASH_REPORT_TCPv6_EX :
            ex && udp && (types & VIRTIO_NET_RSS_HASH_TYPE_UDP_EX) ?
                VIRTIO_NET_HASH_REPORT_UDPv6_EX :
            ex && (types & VIRTIO_NET_RSS_HASH_TYPE_IP_EX) ?
                VIRTIO_NET_HASH_REPORT_IPv6_EX :
            tcp && (types & VIRTIO_NET_RSS_HASH_TYPE_TCPv6) ?
                VIRTIO_NET_HASH_REPORT_TCPv6 :
            udp && (types & VIRTIO_NET_RSS_HASH_TYPE_UDPv6) ?
                VIRTIO_NET_HASH_REPORT_UDPv6 :
            types & VIRTIO_NET_RSS_HASH_TYPE_IPv6 ?
                VIRTIO_NET_HASH_REPORT_IPv6 : 0;
    }
    if (hash.report) {
        hash.value = net_rx_pkt_calc_rss_hash(pkt, rss_types[hash.report],
                                              default_key);
    }
    return hash;
}

static void random_frame(Frame *f)
{
    static const uint16_t tags[] = { 0x88a8, 0x8100, 0x9100 };
    static const uint8_t exts[] = { HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AH,
                                    OPTIONS, MOBILITY };
    unsigned n, i;
    uint8_t *addresses;
    size_t ip;

    begin(f);
    if (!g_test_rand_int_range(0, 4)) {
        add_tag(f, tags[g_test_rand_int_range(0, 2)]);
    } else if (!g_test_rand_int_range(0, 4)) {
        add_tag(f, 0x88a8);
        add_tag(f, tags[g_test_rand_int_range(0, 3)]);
    }
    ip = f->len + 2;
    if (g_test_rand_int_range(0, 3)) {
        add_ip6(f, "2001:db8::1", "2001:db8::2");
        addresses = f->data + ip + 8;
        n = g_test_rand_int_range(0, 4);
        while (n--) {
            switch (g_test_rand_int_range(0, 4)) {
            case 0:
                add_home(f, "2001:db8::3", g_test_rand_int_range(0, 5));
                break;
            case 1:
                add_routing(f, g_test_rand_int_range(1, 4), "2001:db8::4");
                break;
            default:
                add_ext(f, exts[g_test_rand_int_range(0, ARRAY_SIZE(exts))],
                        g_test_rand_int_range(1, 4));
                break;
            }
        }
    } else {
        add_ip4(f, "192.0.2.1", "192.0.2.2", g_test_rand_int_range(0, 11) * 4);
        addresses = f->data + ip + 12;
    }
    for (i = 0; i < 8; i++) {
        addresses[i] = g_test_rand_int();
    }
    add_l4(f, g_test_rand_bit() ? TCP : g_test_rand_bit() ? UDP : ICMP,
           g_test_rand_int() & 0xffff, g_test_rand_int() & 0xffff);
    add(f, g_test_rand_int_range(0, 30));
}

static void damage(Frame *f)
{
    unsigned n = g_test_rand_int_range(0, 4);

    while (n--) {
        size_t at = g_test_rand_int_range(12, f->len);

        f->data[at] = g_test_rand_bit() ? g_test_rand_int() :
                                          g_test_rand_int_range(0, 4);
    }
    if (g_test_rand_bit()) {
        f->len = g_test_rand_int_range(0, f->len + 1);
    }
}

static void test_same_as_qemu(void)
{
    struct NetRxPkt *pkt;
    unsigned same = 0, erred = 0, hashed = 0;
    unsigned i;

    net_rx_pkt_init(&pkt);
    for (i = 0; i < 300000; i++) {
        uint32_t types = g_test_rand_bit() ? ALL_TYPES :
                         g_test_rand_int() & ALL_TYPES;
        VhostDPHash ours, qemus;
        Frame f;

        random_frame(&f);
        if (g_test_rand_bit()) {
            damage(&f);
        }
        f.len = MIN(f.len, VHOST_DP_HEAD_BYTES);
        ours = hash_of(&f, types);
        if (qemu_errs(f.data, f.len)) {
            erred++;
            continue;
        }
        qemus = qemu_hash(pkt, types, f.data, f.len);
        if (ours.report != qemus.report || ours.value != qemus.value) {
            qemu_hexdump(stderr, "frame", f.data, f.len);
            g_test_message("types 0x%x: ours %u 0x%x, QEMU's %u 0x%x", types,
                           ours.report, ours.value, qemus.report, qemus.value);
            g_test_fail();
            break;
        }
        same++;
        hashed += ours.report != VIRTIO_NET_HASH_REPORT_NONE;
    }
    net_rx_pkt_uninit(pkt);
    g_test_message("%u the same, %u of them hashed; %u that QEMU errs about",
                   same, hashed, erred);
    if (!g_test_failed()) {
        g_assert_cmpuint(same, >, erred);
        g_assert_cmpuint(hashed, >, same / 2);
    }
}

/* ---- A million flows ---- */

#define FLOWS 1000000
#define FLOWS_PER_KEY 10000
#define TABLE 128

/* What RSS sees as a rule: whole headers, and all hash types */
static void make_flow(Frame *f, unsigned kind)
{
    static const uint8_t protocols[] = { TCP, UDP, ICMP };
    unsigned i;
    size_t at;

    begin(f);
    if (kind & 1) {
        add_tag(f, 0x8100);
    }
    at = f->len + 2;
    if (kind & 2) {
        add_ip6(f, "2001:db8::1", "2001:db8::2");
        at += 8;
    } else {
        add_ip4(f, "192.0.2.1", "192.0.2.2", 0);
        at += 12;
    }
    for (i = 0; i < (kind & 2 ? 32 : 8); i += 4) {
        stl_he_p(f->data + at + i, g_test_rand_int());
    }
    add_l4(f, protocols[kind / 4 % 3], g_test_rand_int() & 0xffff,
           g_test_rand_int() & 0xffff);
}

/* Each has the hash that QEMU computes, whatever the key; they are spread */
static void test_million_flows(void)
{
    g_autofree uint8_t *key = g_memdup2(default_key, sizeof(default_key));
    unsigned entries[TABLE] = {};
    struct NetRxPkt *pkt;
    unsigned i, k;

    net_rx_pkt_init(&pkt);
    for (i = 0; i < FLOWS; i++) {
        VhostDPHash ours, qemus;
        Frame f;

        if (i % FLOWS_PER_KEY == 0) {
            for (k = 0; k < sizeof(default_key); k++) {
                default_key[k] = g_test_rand_int();
            }
            vhost_dp_toeplitz_init(&toeplitz, default_key);
        }
        make_flow(&f, i);
        ours = hash_of(&f, ALL_TYPES);
        qemus = qemu_hash(pkt, ALL_TYPES, f.data, f.len);
        g_assert_cmpuint(ours.report, !=, VIRTIO_NET_HASH_REPORT_NONE);
        g_assert_cmpuint(ours.report, ==, qemus.report);
        g_assert_cmphex(ours.value, ==, qemus.value);
        entries[ours.value % TABLE]++;
    }
    net_rx_pkt_uninit(pkt);
    for (i = 0; i < TABLE; i++) {
        /* Nine times the standard deviation */
        g_assert_cmpuint(entries[i], >, FLOWS / TABLE * 9 / 10);
        g_assert_cmpuint(entries[i], <, FLOWS / TABLE * 11 / 10);
    }
    memcpy(default_key, key, sizeof(default_key));
    vhost_dp_toeplitz_init(&toeplitz, default_key);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vhost_dp_toeplitz_init(&toeplitz, default_key);
    g_test_add_func("/vhost-dp/classify/vectors-ip4", test_vectors_ip4);
    g_test_add_func("/vhost-dp/classify/vectors-ip6", test_vectors_ip6);
    g_test_add_func("/vhost-dp/classify/vectors-ip6-extended",
                    test_vectors_ip6_extended);
    g_test_add_func("/vhost-dp/classify/types-ip4", test_types_ip4);
    g_test_add_func("/vhost-dp/classify/types-ip6", test_types_ip6);
    g_test_add_func("/vhost-dp/classify/types-ip6-extended",
                    test_types_ip6_extended);
    g_test_add_func("/vhost-dp/classify/other-routing", test_other_routing);
    g_test_add_func("/vhost-dp/classify/fragments", test_fragments);
    g_test_add_func("/vhost-dp/classify/ipsec", test_ipsec);
    g_test_add_func("/vhost-dp/classify/cut", test_cut);
    g_test_add_func("/vhost-dp/classify/lengths", test_lengths);
    g_test_add_func("/vhost-dp/classify/same-as-qemu", test_same_as_qemu);
    g_test_add_func("/vhost-dp/classify/million-flows", test_million_flows);
    return g_test_run();
}
