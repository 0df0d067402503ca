/*
 * vhost-dp bench: the frames that are sent, and how they are checked
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A frame of ours is Ethernet, IPv4 and UDP (TCP for GSO frames), then its
 * number as 8 bytes, big-endian, then a salt byte, then a pattern: byte i of
 * the frame is i plus the salt, modulo 256.  Numbers count from 0 in each
 * flow; there is one flow per queue pair.  Neither host nor guest owns the
 * destination address, so that the host's IP layer drops the frame; but with
 * user-mode networking it is the gateway's, which stands for the host.
 */

#ifndef BENCH_FRAME_H
#define BENCH_FRAME_H

#include "standard-headers/linux/virtio_net.h"

/* 64 KB of IP datagram behind an Ethernet header */
#define FRAME_MAX (65535 + 14)

/* Room for a frame in memory, aligned for vector instructions */
#define FRAME_ROOM 65600

typedef enum FrameKind {
    FRAME_OWN,                  /* as described above */
    FRAME_ECHO,                 /* the same, with addresses exchanged */
    FRAME_NULL,                 /* what vhost-dp-null generates */
    FRAME_ANY,                  /* somebody else's: only the length counts */
} FrameKind;

/* What the frames of a run look like */
typedef struct FrameShape {
    FrameKind kind;
    uint32_t size;              /* bytes without FCS */
    uint16_t gso_size;          /* TCP payload per segment, or 0 */
    bool csum;                  /* the checksum is left to the receiver */
    bool user;                  /* for the host behind -netdev user */
} FrameShape;

/* The host's UDP port that frames of flow 0 go to */
#define FRAME_HOST_PORT 20000

/* Counts of received frames, for one flow */
typedef struct FrameCheck {
    uint64_t next;              /* the number that should come next */
    uint64_t frames;
    uint64_t lost;              /* numbers that were skipped */
    uint64_t bad;               /* wrong content, length, or order */
    char why[160];              /* the first of these, in words */
} FrameCheck;

/**
 * frame_min_size: the least size of a frame of @shape's kind
 */
uint32_t frame_min_size(const FrameShape *shape);

/**
 * frame_build: write a frame with number 0
 * @flow: becomes part of addresses and ports
 * @from_guest: direction; the two directions of a flow mirror each other
 */
void frame_build(const FrameShape *shape, uint8_t *frame, unsigned flow,
                 uint8_t salt, bool from_guest);

/**
 * frame_number_at: where the frame's number is
 */
unsigned frame_number_at(const FrameShape *shape);

/**
 * frame_set_number: give a built frame its number
 */
static inline void frame_set_number(uint8_t *frame, unsigned at, uint64_t n)
{
    n = GUINT64_TO_BE(n);
    memcpy(frame + at, &n, sizeof(n));
}

/**
 * frame_build_vnet: the virtio-net header of a frame; byte order of the host
 *
 * (Only little-endian hosts are supported by the bench.)
 */
void frame_build_vnet(const FrameShape *shape, struct virtio_net_hdr_v1 *hdr);

/**
 * frame_check: check a received frame
 * @have: bytes that are at @frame, of @len in all: at least the headers
 * @flow: the flow that it has to be part of
 * @full: compare every byte of long frames, too, not only the first
 *
 * Counts in @check.
 */
void frame_check(const FrameShape *shape, FrameCheck *check,
                 const uint8_t *frame, uint32_t len, uint32_t have,
                 unsigned flow, bool from_guest, bool full);

/**
 * frame_check_vnet: does a received frame come with the metadata of @shape?
 */
void frame_check_vnet(const FrameShape *shape, FrameCheck *check,
                      const struct virtio_net_hdr_v1 *hdr);

/**
 * frame_pattern: bytes that continue a frame's pattern
 * @salt: as in frame_build()
 * @at: offset in the frame
 *
 * Returns FRAME_ROOM bytes, not to be changed.
 */
const uint8_t *frame_pattern(uint8_t salt, uint32_t at);

#endif /* BENCH_FRAME_H */
