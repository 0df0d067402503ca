/*
 * vhost-dp: tests, frames with headers of all kinds
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames are built, and segments are read, by code that shares nothing with
 * net/vhost-dp: checksums are added up byte by byte.
 */

#ifndef TESTS_VHOST_DP_LIB_FRAMES_H
#define TESTS_VHOST_DP_LIB_FRAMES_H

#define FRAMES_MAX_TAGS 3
#define FRAMES_MAX_EXT 4

/* What may carry a packet */
typedef enum FramesTunnel {
    FRAMES_NO_TUNNEL,
    FRAMES_VXLAN,
    FRAMES_VXLAN_GPE,           /* IP in it */
    FRAMES_GENEVE,              /* with options */
    FRAMES_GENEVE_IP,           /* IP in it */
    FRAMES_UDP,                 /* IP in UDP */
    FRAMES_GRE,                 /* IP in it */
    FRAMES_GRETAP,              /* Ethernet in it, and a key */
    FRAMES_IPIP,
    FRAMES_NTUNNELS,
} FramesTunnel;

/* What a frame looks like */
typedef struct FrameSpec {
    unsigned tags;              /* VLAN tags */
    bool ip6;
    bool tcp;                   /* or UDP */
    unsigned ip_options;        /* bytes, IPv4, a multiple of 4 */
    uint8_t ext[FRAMES_MAX_EXT];        /* IPv6: types of extension headers */
    unsigned next;              /* their number */
    unsigned tcp_options;       /* bytes, a multiple of 4 */
    uint8_t tcp_flags;
    uint16_t ip_id;
    bool dont_fragment;
    uint32_t seq;
    size_t payload;             /* bytes */
    uint32_t seed;              /* contents */

    uint8_t gso_type;
    uint16_t gso_size;

    /* All of this is in a tunnel, and there is another header in front */
    FramesTunnel tunnel;
    unsigned outer_tags;
    bool outer_ip6;
    bool outer_checksum;        /* of UDP or GRE */
    uint16_t outer_id;

    /* Set by frames_build(): of the inner packet */
    size_t l3, l4, data, len;
    size_t outer_l3, outer_l4;
} FrameSpec;

/**
 * frames_build: make a frame with a partial checksum
 * @buf: room for frames_len() bytes
 */
void frames_build(FrameSpec *spec, uint8_t *buf);
size_t frames_len(const FrameSpec *spec);

/* A spec with everything random, that can be segmented if @gso */
void frames_random(FrameSpec *spec, GRand *rand, bool gso);

/* Put it in a tunnel, which is random but for its kind */
void frames_add_tunnel(FrameSpec *spec, GRand *rand, FramesTunnel tunnel);

/* Ones' complement sum of 16-bit words, big-endian, not folded */
uint64_t frames_sum(const uint8_t *buf, size_t len);
uint16_t frames_fold(uint64_t sum);

/*
 * Are all checksums of the frame right?  @spec says where its headers are;
 * lengths are taken from them.
 */
bool frames_ip4_checksum_ok(const FrameSpec *spec, const uint8_t *buf);
bool frames_l4_checksum_ok(const FrameSpec *spec, const uint8_t *buf,
                           size_t len);

/* Are lengths and checksums of the outer headers right? */
bool frames_outer_ok(const FrameSpec *spec, const uint8_t *buf, size_t len);

/* The sum of the pseudo header */
uint64_t frames_pseudo(const FrameSpec *spec, const uint8_t *buf,
                       size_t l4_len);

#endif
