/*
 * vhost-dp: offload metadata, checksums and segmentation in software
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pure functions on one frame: no allocation, and no state except the caller's.
 * All of them may be called by any thread, with or without a lock.
 *
 * An offload that the receiver of a frame does not accept is done like this:
 *
 *     if (!vhost_dp_offload_allowed(frame, offloads)) {
 *         if (frame->gso_type) {
 *             vhost_dp_segmenter_init(&seg, frame, head, id);
 *             for (; !vhost_dp_segmenter_done(&seg);
 *                  vhost_dp_segmenter_advance(&seg)) {
 *                 vhost_dp_segmenter_make(&seg, offloads, &segment, buf, iov);
 *                 ... deliver segment
 *             }
 *         } else {
 *             vhost_dp_offload_finish_checksum(frame);
 *         }
 *     }
 */

#ifndef NET_VHOST_DP_OFFLOAD_OFFLOAD_H
#define NET_VHOST_DP_OFFLOAD_OFFLOAD_H

#include "net/vhost-dp.h"
#include "standard-headers/linux/virtio_net.h"

/* The bytes that an IPv6 fragment header adds (RFC 8200, 4.5) */
#define VHOST_DP_FRAGMENT_HEADER 8

/* Flags of GRE, which say that these fields are present (RFC 2784 and 2890) */
#define VHOST_DP_GRE_CSUM   0x8000
#define VHOST_DP_GRE_KEY    0x2000

/* The tunnel of the packet whose headers VhostDPHeaders describes */
typedef enum VhostDPTunnel {
    VHOST_DP_TUNNEL_NONE,
    VHOST_DP_TUNNEL_UDP,        /* VXLAN, GENEVE, or IP in UDP */
    VHOST_DP_TUNNEL_GRE,
    VHOST_DP_TUNNEL_IP,         /* IP in IP */
} VhostDPTunnel;

/*
 * The offsets of headers from the start of a frame.  In a tunnel, those of the
 * inner packet; the bytes between the outer headers and the inner ones are the
 * same in all segments, except for checksums.
 */
typedef struct VhostDPHeaders {
    uint16_t l3;                /* IPv4 or IPv6 */
    uint16_t l4;                /* TCP or UDP */
    uint16_t payload;           /* behind TCP or UDP */
    uint16_t fragment;          /* fragments repeat the bytes before this */
    uint16_t fragment_next;     /* IPv6: the next-header field in front of it */
    bool ip6;
    bool routed;                /* IPv6: not yet at the final destination */
    uint8_t proto;              /* IP_PROTO_TCP or IP_PROTO_UDP */

    /* The outer headers, unless @tunnel is VHOST_DP_TUNNEL_NONE */
    VhostDPTunnel tunnel;
    bool outer_ip6;
    uint16_t outer_l3;          /* IPv4 or IPv6 */
    uint16_t outer_l4;          /* UDP or GRE, or the inner IP */
} VhostDPHeaders;

/**
 * vhost_dp_offload_parse: find the headers of a TCP or UDP frame
 * @head: the first bytes of the frame, where nobody can change them
 * @head_len: their number
 *
 * Accepts any number of VLAN tags; IPv4 with options; IPv6 with hop-by-hop,
 * routing and destination options headers.
 *
 * Returns false if the frame has any other header, if it is a fragment, or if
 * the headers are longer than @head_len bytes.
 */
bool vhost_dp_offload_parse(VhostDPHeaders *headers, const uint8_t *head,
                            size_t head_len);

/**
 * vhost_dp_offload_parse_at: find the TCP or UDP header that is at @l4
 *
 * As vhost_dp_offload_parse(), but the header may also be that of a packet in a
 * tunnel: VXLAN (RFC 7348, with a protocol field as in GPE), GENEVE (RFC 8926),
 * GRE (RFC 2784 and 2890, without sequence numbers), IP in UDP and IP in IP.
 * All tunnels can use any UDP port, so the datagram is read as each kind of
 * tunnel in turn, until that leads to a header at @l4.
 */
bool vhost_dp_offload_parse_at(VhostDPHeaders *headers, const uint8_t *head,
                               size_t head_len, size_t l4);

/**
 * vhost_dp_offload_check: check a frame's metadata against its headers
 * @frame: with @len and the metadata; @hdr_len is corrected
 * @head: the first bytes of the frame, in private memory
 * @head_len: their number: VHOST_DP_HEAD_BYTES, or all of a shorter frame
 *
 * Afterwards the guarantees of VhostDPFrame hold.
 *
 * Returns false if the metadata is malformed.
 */
bool vhost_dp_offload_check(VhostDPFrame *frame, const uint8_t *head,
                            size_t head_len);

/**
 * vhost_dp_offload_check_received: check the metadata of a frame from a driver
 * @head: the checksum in it may be changed, see below
 *
 * As vhost_dp_offload_check(), with two differences.
 * VIRTIO_NET_HDR_F_DATA_VALID is allowed, and is cleared.  The checksum of a
 * frame to be segmented may be complete, or unverified; it is then replaced in
 * @head by a partial one, as in frames from a guest.
 *
 * A frame to be segmented may be in one of the host's tunnels.  Linux then
 * gives it the metadata of the inner packet, with offsets from the start of the
 * frame, and without any sign of the tunnel.  Only vhost_dp_segmenter_init()
 * can use that metadata.
 */
bool vhost_dp_offload_check_received(VhostDPFrame *frame, uint8_t *head,
                                     size_t head_len);

/**
 * vhost_dp_offload_compute_checksum: give a frame from a driver a checksum
 * @frame: without a segment size; its flags are cleared
 * @head: the first bytes of the frame: the memory that its vector begins with
 * @head_len: their number: VHOST_DP_HEAD_BYTES, or all of a shorter frame
 *
 * For frames with VIRTIO_NET_HDR_F_DATA_VALID and receivers that do not accept
 * it.  With that flag hosts may leave out the TCP or UDP checksum (passt does).
 * Any other checksum stays as it is, and so does the checksum of a fragment,
 * and the zero of an IPv4 datagram, which means no checksum.
 *
 * Returns true if a checksum was computed.
 */
bool vhost_dp_offload_compute_checksum(VhostDPFrame *frame, uint8_t *head,
                                       size_t head_len);

/**
 * vhost_dp_offload_fits: do the headers of a received GSO frame fit its
 * metadata?
 * @frame: from a driver, with a GSO type
 * @head: the first bytes of the frame
 * @head_len: their number: VHOST_DP_HEAD_BYTES, or all of a shorter frame
 *
 * Returns the length of the headers, or 0 if they are not where the metadata
 * says, as in a tunnel; then vhost_dp_offload_check_received() says whether the
 * frame can be segmented.
 */
size_t vhost_dp_offload_fits(const VhostDPFrame *frame, const uint8_t *head,
                             size_t head_len);

/**
 * vhost_dp_offload_too_many: does a frame have too many datagrams?
 * @hdr_len: length of all headers
 * @max: the most that a receiver accepts in a VIRTIO_NET_HDR_GSO_UDP_L4 frame;
 *       0: any number
 */
static inline bool vhost_dp_offload_too_many(const VhostDPFrame *frame,
                                             size_t hdr_len, unsigned max)
{
    return frame->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 && max &&
           frame->len - hdr_len > max * frame->gso_size;
}

/**
 * vhost_dp_offload_allowed: does a receiver accept @frame's metadata?
 * @offloads: the VHOST_DP_OFFLOAD_* that the receiver accepts
 *
 * VIRTIO_NET_HDR_F_DATA_VALID needs VHOST_DP_OFFLOAD_CSUM.
 */
bool vhost_dp_offload_allowed(const VhostDPFrame *frame, uint32_t offloads);

/**
 * vhost_dp_csum_iov: sum up a part of a vector, for the Internet checksum
 * @iov: @iovcnt pieces
 * @offset: first byte
 * @len: number of bytes; bytes behind the end of the vector count as zeros
 *
 * Returns the ones' complement sum of RFC 1071 over 16-bit words in memory
 * order: a result is stored without a byte swap.
 */
uint16_t vhost_dp_csum_iov(const struct iovec *iov, unsigned iovcnt,
                           size_t offset, size_t len);

/**
 * vhost_dp_csum: as vhost_dp_csum_iov(), for @len bytes at @buf
 */
uint16_t vhost_dp_csum(const void *buf, size_t len);

/**
 * vhost_dp_csum_addresses: sum up the addresses of the IP header at @l3
 */
uint16_t vhost_dp_csum_addresses(const uint8_t *head, size_t l3, bool ip6);

/* Add two sums of the functions above */
static inline uint16_t vhost_dp_csum_add(uint16_t a, uint16_t b)
{
    uint32_t sum = (uint32_t)a + b;

    return sum + (sum >> 16);
}

/**
 * vhost_dp_offload_finish_checksum: complete a partial checksum
 * @frame: checked, with VIRTIO_NET_HDR_F_NEEDS_CSUM.  The checksum field must
 * be
 *         in private memory; the other bytes are only read, once.
 *
 * Afterwards the frame has no metadata.
 */
void vhost_dp_offload_finish_checksum(VhostDPFrame *frame);

/*
 * VhostDPSegmenter: cuts one frame into segments or fragments, one by one
 *
 * Private to segment.c; defined here for its size.
 */
typedef struct VhostDPSegmenter {
    uint8_t head[VHOST_DP_HEAD_BYTES];  /* all headers of the frame */
    VhostDPHeaders headers;
    uint8_t gso_type;           /* without VIRTIO_NET_HDR_GSO_ECN */
    uint16_t csum_field;        /* offset of TCP's or UDP's checksum */
    uint16_t repeat;            /* header bytes that every segment has */
    uint16_t pseudo;            /* sum of the pseudo header without length */
    uint16_t unit;              /* payload bytes of a packet on the wire */
    uint32_t units;             /* packets of this size in a segment */
    uint32_t size;              /* payload bytes of all but the last segment */
    uint32_t total;             /* payload bytes of all segments */
    uint32_t offset;            /* of the next segment, up to total */
    uint32_t index;             /* number of the next segment's first unit */
    uint32_t fragment_id;
    /* The frame's bytes, from the next segment's on */
    const struct iovec *iov;
    unsigned iovcnt;
    size_t iov_skip;            /* bytes of iov[0] */
} VhostDPSegmenter;

/**
 * vhost_dp_segmenter_init: prepare to cut a frame
 * @frame: checked, with a GSO type.  Its pieces must stay valid until the last
 *         segment was made.  They are only read, and may be guest memory.
 * @head: the checked headers of the frame; copied
 * @fragment_id: identification of a datagram that becomes IPv6 fragments, which
 *               was not used recently (RFC 8200, 4.5)
 */
void vhost_dp_segmenter_init(VhostDPSegmenter *seg, const VhostDPFrame *frame,
                             const uint8_t *head, uint32_t fragment_id);

/**
 * vhost_dp_segmenter_set_units: make fewer and longer segments
 * @units: datagrams in a segment, at least 1; initially 1
 *
 * For a receiver that accepts VIRTIO_NET_HDR_GSO_UDP_L4, but fewer datagrams
 * than the frame has.  Segments of more than one datagram have that type, too.
 * Has no effect on frames of other types, or in a tunnel.  May be called
 * between any two segments.
 */
void vhost_dp_segmenter_set_units(VhostDPSegmenter *seg, unsigned units);

/**
 * vhost_dp_segmenter_left: return the number of segments that are not made yet
 */
static inline unsigned vhost_dp_segmenter_left(const VhostDPSegmenter *seg)
{
    return DIV_ROUND_UP(seg->total - seg->offset, seg->size);
}

static inline bool vhost_dp_segmenter_done(const VhostDPSegmenter *seg)
{
    return seg->offset == seg->total;
}

/**
 * vhost_dp_segmenter_max_frame: return the length of the longest segment, bytes
 */
size_t vhost_dp_segmenter_max_frame(const VhostDPSegmenter *seg);

/**
 * vhost_dp_segmenter_make: make the next segment
 * @offloads: what the receiver accepts.  With VHOST_DP_OFFLOAD_CSUM, a segment
 *            (but not a fragment) has a partial checksum; the checksum of an
 *            outer header is always complete.
 * @segment: overwritten
 * @head: room for VHOST_DP_HEAD_BYTES bytes, for the segment's headers
 * @iov: room for one vector, and as many as the rest of the frame has
 *
 * The payload is not copied.  Until vhost_dp_segmenter_advance(), each call
 * makes the same segment.
 */
void vhost_dp_segmenter_make(const VhostDPSegmenter *seg, uint32_t offloads,
                             VhostDPFrame *segment, uint8_t *head,
                             struct iovec *iov);

/**
 * vhost_dp_segmenter_advance: go on to the next segment
 */
void vhost_dp_segmenter_advance(VhostDPSegmenter *seg);

/**
 * vhost_dp_segmenter_detach: copy what the segmenter still needs of the frame
 * @buf: room for VHOST_DP_MAX_FRAME bytes
 * @iov: one vector
 *
 * From now on the segmenter refers to these two, and not to the frame.
 */
void vhost_dp_segmenter_detach(VhostDPSegmenter *seg, uint8_t *buf,
                               struct iovec *iov);

#endif /* NET_VHOST_DP_OFFLOAD_OFFLOAD_H */
