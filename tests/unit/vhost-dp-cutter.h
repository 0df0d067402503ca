/*
 * vhost-dp: frames that are cut into segments, for tests of offloads
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A Rig has a frame, in pieces, as the engine has it; a Cutter makes segments
 * of it.  The checks compare these with the frame by code that shares nothing
 * with net/vhost-dp.
 */

#ifndef TESTS_UNIT_VHOST_DP_CUTTER_H
#define TESTS_UNIT_VHOST_DP_CUTTER_H

#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp/offload/offload.h"
#include "tests/vhost-dp/lib/frames.h"

#define MAX_FRAME 70000
#define MAX_PIECES 20

/* Of the whole program: set by main() */
extern GRand *rnd;

/* A frame in pieces, as the engine has it */
typedef struct Rig {
    FrameSpec spec;
    uint8_t buf[MAX_FRAME];
    uint8_t head[VHOST_DP_HEAD_BYTES];
    size_t head_len;
    struct iovec iov[MAX_PIECES + 1];
    VhostDPFrame frame;
} Rig;

/* Cut @buf at random places; no piece is empty */
void rig_cut(Rig *r, uint8_t *buf, size_t len);

/* Describe the bytes in Rig.buf by metadata, as Rig.spec has them */
void rig_set_frame(Rig *r);

/* Build the frame of Rig.spec */
void rig_build(Rig *r);

/* The same with a random spec, which can be segmented if @gso */
void rig_random(Rig *r, bool gso);

/* One segment after the other, in one piece */
typedef struct Cutter {
    VhostDPSegmenter seg;
    uint32_t offloads;          /* of the receiver */
    uint8_t head[VHOST_DP_HEAD_BYTES];
    struct iovec iov[MAX_PIECES + 2];
    uint8_t buf[MAX_FRAME];
    VhostDPFrame frame;
    size_t len;
} Cutter;

/* The frame of @r passes the checks; segment it for a receiver of @offloads */
void cutter_start(Cutter *c, Rig *r, uint32_t offloads);

/* Make the next segment; returns false if there is none */
bool cutter_next(Cutter *c);

/* Does the IP header have the length and the checksum of this segment? */
void check_lengths(const FrameSpec *s, const Cutter *c);

/* Is this segment number @index of the frame, behind @seen bytes of payload? */
void check_segment(const Rig *r, Cutter *c, unsigned index, size_t seen);

/* Cut all of it, and look at each segment; check_any(): or fragment */
void check_segments(Rig *r, Cutter *c);
void check_any(Rig *r, Cutter *c);

#endif /* TESTS_UNIT_VHOST_DP_CUTTER_H */
