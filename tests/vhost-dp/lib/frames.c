/*
 * vhost-dp: tests, frames with headers of all kinds
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_net.h"
#include "frames.h"

#define ETH_LEN 14
#define TAG_LEN 4
#define EXT_LEN 16              /* every extension header here */

uint64_t frames_sum(const uint8_t *buf, size_t len)
{
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        sum += i & 1 ? buf[i] : (uint64_t)buf[i] << 8;
    }
    return sum;
}

uint16_t frames_fold(uint64_t sum)
{
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

uint64_t frames_pseudo(const FrameSpec *spec, const uint8_t *buf,
                       size_t l4_len)
{
    const uint8_t *ip = buf + spec->l3;
    uint64_t addresses = spec->ip6 ? frames_sum(ip + 8, 32) :
                                     frames_sum(ip + 12, 8);

    return addresses + (spec->tcp ? 6 : 17) + l4_len;
}

bool frames_ip4_checksum_ok(const FrameSpec *spec, const uint8_t *buf)
{
    const uint8_t *ip = buf + spec->l3;

    return spec->ip6 || frames_fold(frames_sum(ip, (ip[0] & 15) * 4)) == 0xffff;
}

bool frames_l4_checksum_ok(const FrameSpec *spec, const uint8_t *buf,
                           size_t len)
{
    size_t l4_len = len - spec->l4;

    if (!spec->tcp && !lduw_be_p(buf + spec->l4 + 6)) {
        return false;           /* would say that there is none */
    }
    return frames_fold(frames_pseudo(spec, buf, l4_len) +
                       frames_sum(buf + spec->l4, l4_len)) == 0xffff;
}

/* ---- Outer headers ---- */

#define GENEVE_OPTIONS 12

static bool is_udp(FramesTunnel tunnel)
{
    return tunnel >= FRAMES_VXLAN && tunnel <= FRAMES_UDP;
}

/* Is there an Ethernet header in the tunnel? */
static bool is_bridged(FramesTunnel tunnel)
{
    return tunnel == FRAMES_VXLAN || tunnel == FRAMES_GENEVE ||
           tunnel == FRAMES_GRETAP;
}

/* From the outer UDP or GRE header on, up to the inner packet */
static size_t tunnel_header(const FrameSpec *spec)
{
    switch (spec->tunnel) {
    case FRAMES_VXLAN:
    case FRAMES_VXLAN_GPE:
        return 8 + 8;
    case FRAMES_GENEVE:
        return 8 + 8 + GENEVE_OPTIONS;
    case FRAMES_GENEVE_IP:
        return 8 + 8;
    case FRAMES_UDP:
        return 8;
    case FRAMES_GRE:
        return spec->outer_checksum ? 8 : 4;
    case FRAMES_GRETAP:
        return spec->outer_checksum ? 12 : 8;
    default:
        return 0;
    }
}

static size_t outer_len(const FrameSpec *spec)
{
    return ETH_LEN + spec->outer_tags * TAG_LEN + (spec->outer_ip6 ? 40 : 20) +
           tunnel_header(spec);
}

static size_t inner_len(const FrameSpec *spec)
{
    return ETH_LEN + spec->tags * TAG_LEN +
           (spec->ip6 ? 40 + spec->next * EXT_LEN : 20 + spec->ip_options) +
           (spec->tcp ? 20 + spec->tcp_options : 8) + spec->payload;
}

size_t frames_len(const FrameSpec *spec)
{
    if (!spec->tunnel) {
        return inner_len(spec);
    }
    return outer_len(spec) + inner_len(spec) -
           (is_bridged(spec->tunnel) ? 0 : ETH_LEN + spec->tags * TAG_LEN);
}

/* The pseudo header of the outer UDP header */
static uint64_t outer_pseudo(const FrameSpec *spec, const uint8_t *buf,
                             size_t len)
{
    const uint8_t *ip = buf + spec->outer_l3;

    return (spec->outer_ip6 ? frames_sum(ip + 8, 32) : frames_sum(ip + 12, 8)) +
           17 + len;
}

bool frames_outer_ok(const FrameSpec *spec, const uint8_t *buf, size_t len)
{
    const uint8_t *ip = buf + spec->outer_l3;
    const uint8_t *l4 = buf + spec->outer_l4;
    size_t l4_len = len - spec->outer_l4;

    if (spec->outer_ip6 ? lduw_be_p(ip + 4) != l4_len :
        lduw_be_p(ip + 2) != len - spec->outer_l3 ||
        frames_fold(frames_sum(ip, 20)) != 0xffff) {
        return false;
    }
    if (is_udp(spec->tunnel)) {
        if (lduw_be_p(l4 + 4) != l4_len) {
            return false;
        }
        if (!spec->outer_checksum) {
            return lduw_be_p(l4 + 6) == 0;
        }
        return lduw_be_p(l4 + 6) &&
               frames_fold(outer_pseudo(spec, buf, l4_len) +
                           frames_sum(l4, l4_len)) == 0xffff;
    }
    return spec->tunnel == FRAMES_IPIP || !spec->outer_checksum ||
           frames_fold(frames_sum(l4, l4_len)) == 0xffff;
}

static void put_udp_tunnel(const FrameSpec *spec, uint8_t *p)
{
    uint8_t *tunnel = p + 8;
    uint16_t type = spec->ip6 ? 0x86dd : 0x0800;

    stw_be_p(p, 50000);
    stw_be_p(p + 2, 20000);     /* no port that anybody knows */
    switch (spec->tunnel) {
    case FRAMES_VXLAN:
        tunnel[0] = 0x08;
        tunnel[6] = 7;
        break;
    case FRAMES_VXLAN_GPE:
        tunnel[0] = 0x0c;
        tunnel[3] = spec->ip6 ? 2 : 1;
        break;
    case FRAMES_GENEVE:
        tunnel[0] = GENEVE_OPTIONS / 4;
        stw_be_p(tunnel + 2, 0x6558);
        memset(tunnel + 8, 0xcc, GENEVE_OPTIONS);
        break;
    case FRAMES_GENEVE_IP:
        stw_be_p(tunnel + 2, type);
        break;
    default:
        break;
    }
}

static void put_gre(const FrameSpec *spec, uint8_t *p)
{
    stw_be_p(p, (spec->outer_checksum ? 0x8000 : 0) |
                (spec->tunnel == FRAMES_GRETAP ? 0x2000 : 0));
    stw_be_p(p + 2, spec->tunnel == FRAMES_GRETAP ? 0x6558 :
                    spec->ip6 ? 0x86dd : 0x0800);
    if (spec->tunnel == FRAMES_GRETAP) {
        stl_be_p(p + (spec->outer_checksum ? 8 : 4), 0x1234567);
    }
}

/* All up to the inner packet, which ends at the frame's end */
static void put_outer(FrameSpec *spec, uint8_t *buf)
{
    unsigned proto = is_udp(spec->tunnel) ? 17 :
                     spec->tunnel != FRAMES_IPIP ? 47 : spec->ip6 ? 41 : 4;
    size_t l4_len;
    uint8_t *p = buf;
    unsigned i;

    memset(buf, 0, outer_len(spec));
    memcpy(p, "\x02\0\0\0\0\x03\x02\0\0\0\0\x04", 12);
    p += 12;
    for (i = 0; i < spec->outer_tags; i++) {
        stw_be_p(p, 0x8100);
        stw_be_p(p + 2, 200 + i);
        p += TAG_LEN;
    }
    stw_be_p(p, spec->outer_ip6 ? 0x86dd : 0x0800);
    p += 2;
    spec->outer_l3 = p - buf;
    spec->outer_l4 = spec->outer_l3 + (spec->outer_ip6 ? 40 : 20);
    l4_len = spec->len - spec->outer_l4;
    if (spec->outer_ip6) {
        p[0] = 0x60;
        stw_be_p(p + 4, l4_len);
        p[6] = proto;
        p[7] = 64;
        memset(p + 8, 0xfd, 32);
    } else {
        p[0] = 0x45;
        stw_be_p(p + 2, spec->len - spec->outer_l3);
        stw_be_p(p + 4, spec->outer_id);
        p[8] = 64;
        p[9] = proto;
        memcpy(p + 12, "\xc0\0\2\x01\xc0\0\2\x02", 8);
        stw_be_p(p + 10, ~frames_fold(frames_sum(p, 20)));
    }
    p = buf + spec->outer_l4;
    if (is_udp(spec->tunnel)) {
        put_udp_tunnel(spec, p);
        stw_be_p(p + 4, l4_len);
        if (spec->outer_checksum) {
            /* As Linux has it in a frame that is to be segmented */
            stw_be_p(p + 6, frames_fold(outer_pseudo(spec, buf, l4_len)));
        }
    } else if (spec->tunnel != FRAMES_IPIP) {
        put_gre(spec, p);
    }
}

/* ---- The packet ---- */

static uint8_t *put_eth(const FrameSpec *spec, uint8_t *p)
{
    unsigned i;

    memcpy(p, "\x02\0\0\0\0\x01\x02\0\0\0\0\x02", 12);
    p += 12;
    for (i = 0; i < spec->tags; i++) {
        stw_be_p(p, i + 1 < spec->tags ? 0x88a8 : 0x8100);
        stw_be_p(p + 2, 100 + i);
        p += TAG_LEN;
    }
    stw_be_p(p, spec->ip6 ? 0x86dd : 0x0800);
    return p + 2;
}

/* Router alert (to be copied), then record route (not to be), then NOPs */
static void put_ip_options(uint8_t *p, unsigned len)
{
    memset(p, 1, len);
    if (len >= 4) {
        memcpy(p, "\x94\x04\0\0", 4);
    }
    if (len >= 12) {
        memcpy(p + 4, "\x07\x07\x04\0\0\0\0", 7);
    }
}

static uint8_t *put_ip4(const FrameSpec *spec, uint8_t *p, size_t len)
{
    unsigned header = 20 + spec->ip_options;

    memset(p, 0, header);
    p[0] = 0x40 | header / 4;
    stw_be_p(p + 2, len);
    stw_be_p(p + 4, spec->ip_id);
    stw_be_p(p + 6, spec->dont_fragment ? 0x4000 : 0);
    p[8] = 64;
    p[9] = spec->tcp ? 6 : 17;
    memcpy(p + 12, "\x0a\0\0\x02\x0a\x01\0\x02", 8);
    put_ip_options(p + 20, spec->ip_options);
    stw_be_p(p + 10, ~frames_fold(frames_sum(p, header)));
    return p + header;
}

static uint8_t *put_ip6(const FrameSpec *spec, uint8_t *p, size_t len)
{
    uint8_t *next = p + 6;
    unsigned i;

    memset(p, 0, 40);
    stl_be_p(p, 0x6abcdef0);
    stw_be_p(p + 4, len - 40);
    p[7] = 64;
    memcpy(p + 8, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02", 16);
    memcpy(p + 24, "\xfd\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02", 16);
    p += 40;
    for (i = 0; i < spec->next; i++) {
        *next = spec->ext[i];
        next = p;
        memset(p, 0, EXT_LEN);
        p[1] = EXT_LEN / 8 - 1;
        if (spec->ext[i] == 43) {
            p[2] = 4;           /* a routing header that is done with */
        } else {
            p[2] = 1;           /* PadN */
            p[3] = EXT_LEN - 4;
        }
        p += EXT_LEN;
    }
    *next = spec->tcp ? 6 : 17;
    return p;
}

static uint8_t *put_l4(const FrameSpec *spec, uint8_t *p, size_t len)
{
    unsigned header = spec->tcp ? 20 + spec->tcp_options : 8;

    memset(p, 0, header);
    stw_be_p(p, 4711);
    stw_be_p(p + 2, 4712);
    if (!spec->tcp) {
        stw_be_p(p + 4, len);
        return p + header;
    }
    stl_be_p(p + 4, spec->seq);
    stl_be_p(p + 8, 0x12345678);
    p[12] = header / 4 << 4;
    p[13] = spec->tcp_flags;
    stw_be_p(p + 14, 0x4321);
    memset(p + 20, 1, spec->tcp_options);
    return p + header;
}

static void build_packet(FrameSpec *spec, uint8_t *buf)
{
    GRand *rand = g_rand_new_with_seed(spec->seed);
    size_t i, l4_len;
    uint8_t *p;

    spec->len = inner_len(spec);
    spec->l3 = ETH_LEN + spec->tags * TAG_LEN;
    p = put_eth(spec, buf);
    p = spec->ip6 ? put_ip6(spec, p, spec->len - spec->l3) :
                    put_ip4(spec, p, spec->len - spec->l3);
    spec->l4 = p - buf;
    l4_len = spec->len - spec->l4;
    p = put_l4(spec, p, l4_len);
    spec->data = p - buf;
    for (i = 0; i < spec->payload; i++) {
        p[i] = g_rand_int(rand) >> 24;
    }
    stw_be_p(buf + spec->l4 + (spec->tcp ? 16 : 6),
             frames_fold(frames_pseudo(spec, buf, l4_len)));
    g_rand_free(rand);
}

void frames_build(FrameSpec *spec, uint8_t *buf)
{
    g_autofree uint8_t *inner = NULL;
    size_t at, skip;

    if (!spec->tunnel) {
        build_packet(spec, buf);
        return;
    }
    inner = g_malloc(inner_len(spec));
    build_packet(spec, inner);
    at = outer_len(spec);
    skip = is_bridged(spec->tunnel) ? 0 : spec->l3;
    memcpy(buf + at, inner + skip, spec->len - skip);
    spec->l3 += at - skip;
    spec->l4 += at - skip;
    spec->data += at - skip;
    spec->len += at - skip;
    put_outer(spec, buf);
}

static void random_ext(FrameSpec *spec, GRand *rand)
{
    static const uint8_t order[FRAMES_MAX_EXT] = { 0, 60, 43, 60 };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(order); i++) {
        if (g_rand_boolean(rand)) {
            spec->ext[spec->next++] = order[i];
        }
    }
}

static void random_gso(FrameSpec *spec, GRand *rand)
{
    unsigned least = 1;

    if (spec->tcp) {
        spec->gso_type = spec->ip6 ? VIRTIO_NET_HDR_GSO_TCPV6 :
                                     VIRTIO_NET_HDR_GSO_TCPV4;
        spec->gso_type |= spec->tcp_flags & 0x80 ? VIRTIO_NET_HDR_GSO_ECN : 0;
    } else if (g_rand_boolean(rand)) {
        spec->gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
    } else {
        spec->gso_type = VIRTIO_NET_HDR_GSO_UDP;
        least = 80;             /* room for all that is not repeated */
    }
    spec->gso_size = g_rand_int_range(rand, least, g_rand_boolean(rand) ?
                                                   3000 : 100);
    spec->payload = MAX(spec->payload, 1);
}

void frames_random(FrameSpec *spec, GRand *rand, bool gso)
{
    size_t room;

    *spec = (FrameSpec) {
        .tags = g_rand_int_range(rand, 0, FRAMES_MAX_TAGS + 1),
        .ip6 = g_rand_boolean(rand),
        .tcp = g_rand_boolean(rand),
        .tcp_flags = g_rand_int(rand),
        .ip_id = g_rand_int(rand),
        .dont_fragment = g_rand_boolean(rand),
        .seq = g_rand_int(rand),
        .seed = g_rand_int(rand),
    };
    if (spec->ip6) {
        random_ext(spec, rand);
    } else if (g_rand_boolean(rand)) {
        spec->ip_options = g_rand_int_range(rand, 0, 11) * 4;
    }
    if (spec->tcp) {
        spec->tcp_options = g_rand_int_range(rand, 0, 11) * 4;
    }
    /* A datagram of 64 KB, or something in between */
    room = 65535 + ETH_LEN + spec->tags * TAG_LEN - frames_len(spec);
    spec->payload = g_rand_int_range(rand, 0, 4) ?
                    g_rand_int_range(rand, 0, 5000) :
                    g_rand_int_range(rand, 0, room + 1);
    if (gso) {
        random_gso(spec, rand);
    }
}

void frames_add_tunnel(FrameSpec *spec, GRand *rand, FramesTunnel tunnel)
{
    size_t longest;

    spec->tunnel = tunnel;
    spec->outer_tags = g_rand_int_range(rand, 0, 3);
    spec->outer_ip6 = g_rand_boolean(rand);
    spec->outer_checksum = g_rand_boolean(rand);
    spec->outer_id = g_rand_int(rand);
    longest = 65535 + ETH_LEN + spec->outer_tags * TAG_LEN;
    if (frames_len(spec) > longest) {
        spec->payload -= frames_len(spec) - longest;
    }
}
