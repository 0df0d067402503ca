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
#include "vhost-dp-frames.h"

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

size_t frames_len(const FrameSpec *spec)
{
    return ETH_LEN + spec->tags * TAG_LEN +
           (spec->ip6 ? 40 + spec->next * EXT_LEN : 20 + spec->ip_options) +
           (spec->tcp ? 20 + spec->tcp_options : 8) + spec->payload;
}

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

void frames_build(FrameSpec *spec, uint8_t *buf)
{
    GRand *rand = g_rand_new_with_seed(spec->seed);
    size_t i, l4_len;
    uint8_t *p;

    spec->len = frames_len(spec);
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
