/*
 * vhost-dp bench: the frames that are sent, and how they are checked
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Checking has to keep up with the data path: headers are compared with a
 * template, the pattern with a table, by memcmp().  Of long frames the whole
 * pattern is compared only when asked for.
 */

#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include "qemu/bswap.h"
#include "frame.h"

#define ETH_LEN     14
#define IP_LEN      20
#define UDP_LEN     8
#define TCP_LEN     20
#define NULL_ETHERTYPE 0x88b5

/* How much of a long frame's pattern is compared when not all of it is */
#define SAMPLE_BYTES 128

/* More than one "bad" message tells nothing new */
static void bad(FrameCheck *check, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

static void bad(FrameCheck *check, const char *fmt, ...)
{
    va_list ap;

    if (check->bad++ == 0) {
        va_start(ap, fmt);
        g_vsnprintf(check->why, sizeof(check->why), fmt, ap);
        va_end(ap);
    }
}

/* Is it a frame that we sent? */
static bool has_ip(const FrameShape *shape)
{
    return shape->kind == FRAME_OWN || shape->kind == FRAME_ECHO;
}

static unsigned l4_len(const FrameShape *shape)
{
    return shape->gso_size ? TCP_LEN : UDP_LEN;
}

static unsigned headers_len(const FrameShape *shape)
{
    return has_ip(shape) ? ETH_LEN + IP_LEN + l4_len(shape)
                                    : ETH_LEN;
}

unsigned frame_number_at(const FrameShape *shape)
{
    return headers_len(shape);
}

/* Where the pattern starts: behind number and salt */
static unsigned pattern_at(const FrameShape *shape)
{
    return headers_len(shape) + 8 + (has_ip(shape) ? 1 : 0);
}

uint32_t frame_min_size(const FrameShape *shape)
{
    return MAX(pattern_at(shape) + 1, 60);
}

const uint8_t *frame_pattern(uint8_t salt, uint32_t at)
{
    static uint8_t table[FRAME_ROOM + 256];

    if (!table[1]) {
        unsigned i;

        for (i = 0; i < sizeof(table); i++) {
            table[i] = i;
        }
    }
    return table + (uint8_t)(salt + at);
}

/* One's complement sum (RFC 1071) */
static uint16_t fold_sum(const uint8_t *data, unsigned len, uint32_t sum)
{
    unsigned i;

    for (i = 0; i < len; i++) {
        sum += i % 2 ? data[i] : data[i] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static void build_headers(const FrameShape *shape, uint8_t *f, unsigned flow,
                          bool from_guest)
{
    unsigned ip_len = shape->size - ETH_LEN;
    unsigned l4 = ip_len - IP_LEN;
    uint8_t proto = shape->gso_size ? IPPROTO_TCP : IPPROTO_UDP;
    uint8_t *ip = f + ETH_LEN;
    uint8_t *l4_hdr = ip + IP_LEN;
    uint16_t guest_port = 10000 + flow;
    uint16_t host_port = FRAME_HOST_PORT + flow;
    /* 198.18.0.0/15 is for benchmarks (RFC 2544) */
    uint32_t guest_ip = 0xc6120001;
    uint32_t host_ip = 0xc6130001;
    uint16_t pseudo;

    /* Locally administered addresses that nobody has */
    memcpy(f, (uint8_t[]) { 2, 0xde, 0xad, 0, 1, from_guest }, 6);
    memcpy(f + 6, (uint8_t[]) { 2, 0xde, 0xad, 0, 2, from_guest }, 6);
    if (shape->user) {
        /* libslirp's own, and 10.0.2.15 to 10.0.2.2, its defaults */
        memcpy(f, (uint8_t[]) { 0x52, 0x55, 10, 0, 2, 2 }, 6);
        guest_ip = 0x0a00020f;
        host_ip = 0x0a000202;
    }
    stw_be_p(f + 12, ETH_P_IP);

    memset(ip, 0, IP_LEN + l4_len(shape));
    ip[0] = 0x45;
    stw_be_p(ip + 2, ip_len);
    stw_be_p(ip + 6, 0x4000);           /* do not fragment */
    ip[8] = 64;
    ip[9] = proto;
    stl_be_p(ip + 12, from_guest ? guest_ip : host_ip);
    stl_be_p(ip + 16, from_guest ? host_ip : guest_ip);
    stw_be_p(ip + 10, ~fold_sum(ip, IP_LEN, 0));

    stw_be_p(l4_hdr, from_guest ? guest_port : host_port);
    stw_be_p(l4_hdr + 2, from_guest ? host_port : guest_port);
    pseudo = fold_sum(ip + 12, 8, proto + l4);
    if (shape->gso_size) {
        l4_hdr[12] = 5 << 4;            /* header length */
        l4_hdr[13] = 0x10;              /* ACK */
        stw_be_p(l4_hdr + 14, 0xffff);
        stw_be_p(l4_hdr + 16, pseudo);
    } else {
        stw_be_p(l4_hdr + 4, l4);
        /* 0: no checksum */
        stw_be_p(l4_hdr + 6, shape->csum ? pseudo : 0);
    }
}

void frame_build(const FrameShape *shape, uint8_t *frame, unsigned flow,
                 uint8_t salt, bool from_guest)
{
    unsigned at = pattern_at(shape);

    assert(shape->kind == FRAME_OWN);
    build_headers(shape, frame, flow, from_guest);
    frame_set_number(frame, frame_number_at(shape), 0);
    frame[at - 1] = salt;
    memcpy(frame + at, frame_pattern(salt, at), shape->size - at);
}

void frame_build_vnet(const FrameShape *shape, struct virtio_net_hdr_v1 *hdr)
{
    memset(hdr, 0, sizeof(*hdr));
    if (shape->gso_size || shape->csum) {
        hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        hdr->csum_start = ETH_LEN + IP_LEN;
        hdr->csum_offset = shape->gso_size ? 16 : 6;
    }
    if (shape->gso_size) {
        hdr->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
        hdr->gso_size = shape->gso_size;
        hdr->hdr_len = headers_len(shape);
    }
}

void frame_check_vnet(const FrameShape *shape, FrameCheck *check,
                      const struct virtio_net_hdr_v1 *hdr)
{
    struct virtio_net_hdr_v1 want;

    if (shape->kind != FRAME_OWN) {
        return;
    }
    frame_build_vnet(shape, &want);
    if (hdr->gso_type != want.gso_type) {
        bad(check, "frame %" PRIu64 ": GSO type %u instead of %u",
            check->next, hdr->gso_type, want.gso_type);
    } else if (want.gso_type && hdr->gso_size != want.gso_size) {
        bad(check, "frame %" PRIu64 ": GSO size %u instead of %u",
            check->next, hdr->gso_size, want.gso_size);
    } else if (want.flags && (!(hdr->flags & want.flags) ||
                              hdr->csum_start != want.csum_start ||
                              hdr->csum_offset != want.csum_offset)) {
        bad(check, "frame %" PRIu64 ": checksum metadata %x %u %u instead of "
            "%x %u %u", check->next, hdr->flags, hdr->csum_start,
            hdr->csum_offset, want.flags, want.csum_start, want.csum_offset);
    }
}

static void check_number(FrameCheck *check, uint64_t n)
{
    if (n == check->next) {
        check->next++;
    } else if (n > check->next) {
        check->lost += n - check->next;
        check->next = n + 1;
    } else {
        bad(check, "frame %" PRIu64 " came when %" PRIu64 " was due", n,
            check->next);
    }
}

static bool check_headers(const FrameShape *shape, const uint8_t *frame,
                          unsigned flow, bool from_guest)
{
    /* The template is built again only when it is a different one */
    static uint8_t template[128];
    static FrameShape its_shape;
    static unsigned its_flow;
    static bool its_direction;
    static bool valid;

    if (shape->kind == FRAME_NULL) {
        return lduw_be_p(frame + 12) == NULL_ETHERTYPE &&
               frame[0] == 0xff && frame[6] == 2 && frame[11] == flow;
    }
    if (!valid || its_flow != flow || its_direction != from_guest ||
        its_shape.size != shape->size ||
        its_shape.gso_size != shape->gso_size ||
        its_shape.csum != shape->csum) {
        its_shape = *shape;
        its_flow = flow;
        its_direction = from_guest;
        valid = true;
        build_headers(shape, template, flow, from_guest);
    }
    if (shape->kind == FRAME_ECHO) {
        return memcmp(frame, template + 6, 6) == 0 &&
               memcmp(frame + 6, template, 6) == 0 &&
               memcmp(frame + 12, template + 12, headers_len(shape) - 12) == 0;
    }
    return memcmp(frame, template, headers_len(shape)) == 0;
}

void frame_check(const FrameShape *shape, FrameCheck *check,
                 const uint8_t *frame, uint32_t len, uint32_t have,
                 unsigned flow, bool from_guest, bool full)
{
    unsigned number_at = frame_number_at(shape);
    unsigned at = pattern_at(shape);
    uint32_t n = MIN(have, shape->size) - at;
    uint8_t salt;

    check->frames++;
    if (unlikely(len != shape->size)) {
        bad(check, "frame %" PRIu64 " has %u bytes instead of %u",
            check->next, len, shape->size);
        return;
    }
    if (shape->kind == FRAME_ANY) {
        check->next++;
        return;
    }
    if (unlikely(!check_headers(shape, frame, flow, from_guest))) {
        bad(check, "frame %" PRIu64 " has other headers than were sent",
            check->next);
        return;
    }
    check_number(check, ldq_be_p(frame + number_at));

    salt = has_ip(shape) ? frame[at - 1] : 0;
    if (!full) {
        n = MIN(n, SAMPLE_BYTES);
    }
    if (unlikely(memcmp(frame + at, frame_pattern(salt, at), n))) {
        bad(check, "frame %" PRIu64 ": the payload is not what was sent",
            check->next - 1);
    }
}
