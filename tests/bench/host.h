/*
 * vhost-dp bench: the host's side of a network interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Packet sockets (AF_PACKET, with a virtio-net header for each frame) that send
 * frames into an interface, and see what comes out of it.
 */

#ifndef BENCH_HOST_H
#define BENCH_HOST_H

#include "frame.h"

#define HOST_BATCH 64

/* Sends the frames of one flow into an interface */
typedef struct HostSource {
    int fd;
    FrameShape shape;
    uint64_t next;              /* number of the next frame */
    uint8_t *frames;            /* HOST_BATCH frames, FRAME_ROOM each */
    struct virtio_net_hdr vnet;
} HostSource;

/**
 * host_tap_open: make a TAP interface
 * @ifname: room for IFNAMSIZ characters; a name, or a pattern such as tap%d,
 *          which becomes the name
 *
 * It vanishes with the descriptor.  Frames have a virtio_net_hdr_v1.  Returns
 * the descriptor, which does not block.
 */
int host_tap_open(char *ifname);

/**
 * host_tap_offloads: say which frames the reader of @fd takes
 */
void host_tap_offloads(int fd, bool gso);

/**
 * host_interface_up: switch an interface on
 * @queue_len: frames that may wait to be read, per queue
 *
 * Makes it silent first: the host would send of its own accord over IPv6.
 */
void host_interface_up(const char *ifname, unsigned queue_len);

/**
 * host_source_open: get ready to send to @ifname
 */
void host_source_open(HostSource *s, const char *ifname,
                      const FrameShape *shape, unsigned flow);

/**
 * host_source_send: send @n frames with ascending numbers, at most HOST_BATCH
 *
 * Returns the number of frames that the kernel took.
 */
unsigned host_source_send(HostSource *s, unsigned n);

/**
 * host_packet_open: a packet socket on @ifname, with virtio-net headers
 * @receive: whether it is given the frames that the interface receives
 *
 * Returns a socket that does not block.
 */
int host_packet_open(const char *ifname, bool receive);

/**
 * host_sink_open: get ready to see what the guest sends to @ifname
 *
 * Returns a socket that does not block; frames come with a virtio_net_hdr and
 * the time of their arrival.
 */
int host_sink_open(const char *ifname);

/**
 * host_sink_receive: receive one frame
 * @frame: room for FRAME_ROOM bytes
 * @hdr: its metadata
 * @when: CLOCK_REALTIME in ns when the host's network stack got it
 *
 * Returns the frame's length, or 0 when there is none.
 */
uint32_t host_sink_receive(int fd, uint8_t *frame,
                           struct virtio_net_hdr_v1 *hdr, int64_t *when);

/**
 * host_user_open: be where frames of FrameShape.user go
 *
 * Returns a UDP socket that does not block and holds few datagrams: the host
 * drops the others.
 */
int host_user_open(void);

/**
 * host_user_check: exit with a message if no frame of @shape got there
 */
void host_user_check(int fd, const FrameShape *shape);

#endif /* BENCH_HOST_H */
