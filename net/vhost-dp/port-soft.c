/*
 * vhost-dp: what the engine does in software for drivers and guests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the port's IOThread; see port-turn.c.  Handles
 * frames with metadata that the receiver has not negotiated or cannot use: more
 * datagrams than Linux accepts in one frame, and frames of the host's tunnels.
 * The functions in offload/ compute checksums and make segments; this file says
 * when, and where the results are.
 *
 * To the driver: segments stand among the other frames of a burst, and refer to
 * the guest's memory.  A frame of which the driver takes only a part, or which
 * becomes more segments than a burst has room for, is copied, so that its chain
 * can be used; the rest goes to the driver in later bursts, and before any
 * other frame.  So the ring never has a chain of which a part was sent: it can
 * be handed over at any time.  When the queue stops, the rest is dropped.
 *
 * To the guest: a frame is copied from the driver's buffer, so that nobody can
 * change it, and its segments are delivered one after the other, in as many
 * bursts as it takes.  The frame stays among those that are lent meanwhile.
 *
 * The memory for this is allocated when it is needed first, and then kept.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp/offload/offload.h"
#include "port-soft.h"

/* What a receiver has to take, to get datagrams that are not cut yet */
static const VhostDPFrame uso_frame = {
    .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
    .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
};

/* ---- To the driver ---- */

struct PortTxSoft {
    VhostDPSegmenter rest;      /* of a frame that is not sent yet */
    struct iovec rest_iov;
    uint32_t rest_len;          /* the whole frame, in the ring; 0: no rest */
    bool rest_is_counted;       /* by the port whose guest sent it */
    uint8_t rest_buf[VHOST_DP_MAX_FRAME];
    /* For each chain of the burst that is cut: before its first segment */
    VhostDPSegmenter chain[VHOST_DP_BURST_FRAMES];
};

void vhost_dp_port_soft_checksum(PortTxBurst *burst, VhostDPFrame *frame)
{
    if (frame->csum_start + frame->csum_offset + sizeof(uint16_t) >
        frame->iov[0].iov_len) {
        /* The field is in guest memory, which is not to be changed */
        vhost_dp_port_linearise(burst, frame);
    }
    vhost_dp_offload_finish_checksum(frame);
    burst->summed |= 1ULL << (frame - burst->frames);
}

/* Add the next segment to the burst's frames */
static void tx_add_segment(const VhostDPCaps *caps, PortTxBurst *burst,
                           const VhostDPSegmenter *seg)
{
    unsigned n = burst->nframes++;
    VhostDPFrame *frame = &burst->frames[n];

    vhost_dp_segmenter_make(seg, caps->tx_offloads, frame, burst->heads[n],
                            &burst->iov[burst->niov]);
    burst->niov += frame->iovcnt;
    burst->cut |= 1ULL << n;
    if (unlikely(frame->iovcnt > caps->max_segments)) {
        vhost_dp_port_linearise(burst, frame);
    }
}

/*
 * Datagrams that the driver takes in one segment.  All of the burst's segments
 * have room for their headers and as many.
 */
static unsigned tx_units(const VhostDPCaps *caps, const VhostDPSegmenter *seg)
{
    if (!caps->max_datagrams ||
        !vhost_dp_offload_allowed(&uso_frame, caps->tx_offloads)) {
        return 1;
    }
    return MAX(1, MIN(caps->max_datagrams,
                      (caps->max_frame - seg->repeat) / seg->unit));
}

/* Take over from @seg, so that its chain can be used */
static void tx_keep_rest(PortTxSoft *soft, const VhostDPSegmenter *seg,
                         uint32_t len)
{
    soft->rest = *seg;
    soft->rest_len = len;
    vhost_dp_segmenter_detach(&soft->rest, soft->rest_buf, &soft->rest_iov);
}

PortFate vhost_dp_port_soft_cut(VhostDPEnginePort *port, PortTxSoft **softp,
                                PortTxBurst *burst, unsigned chain)
{
    const VhostDPCaps *caps = &port->caps;
    const VhostDPFrame *frame = &burst->frames[burst->nframes];
    uint32_t len = frame->len;
    PortTxSoft *soft = *softp;
    VhostDPSegmenter *first, seg;
    unsigned n;

    if (!soft) {
        soft = *softp = g_new0(PortTxSoft, 1);
    }
    first = &soft->chain[chain];
    vhost_dp_segmenter_init(first, frame, burst->heads[burst->nframes],
                            port->fragment_id++);
    vhost_dp_segmenter_set_units(first, tx_units(caps, first));
    if (vhost_dp_segmenter_max_frame(first) > caps->max_frame) {
        return port_fate_drop(VHOST_DP_DROP_REASON_TOO_LARGE);
    }
    n = vhost_dp_segmenter_left(first);
    if (n > VHOST_DP_BURST_FRAMES - burst->nframes) {
        if (burst->nframes) {
            return port_fate(PORT_FATE_STAY);
        }
        tx_keep_rest(soft, first, len);
        return port_fate(PORT_FATE_REST);
    }

    seg = *first;
    for (; !vhost_dp_segmenter_done(&seg); vhost_dp_segmenter_advance(&seg)) {
        burst->chain[burst->nframes] = chain;
        tx_add_segment(caps, burst, &seg);
    }
    return port_fate(PORT_FATE_SEND);
}

bool vhost_dp_port_soft_keep_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  PortTxBurst *burst, unsigned taken)
{
    unsigned chain = burst->chain[taken];
    VhostDPSegmenter *seg;
    unsigned i;

    if (!taken || burst->chain[taken - 1] != chain) {
        return false;
    }
    seg = &soft->chain[chain];
    for (i = taken; i && burst->chain[i - 1] == chain; i--) {
        vhost_dp_segmenter_advance(seg);
    }
    tx_keep_rest(soft, seg, port->burst->chain[chain].len - port->conf.hdr_len);
    return true;
}

bool vhost_dp_port_soft_take(VhostDPEnginePort *port, PortTxSoft **softp,
                             const VhostDPFrame *frame)
{
    VhostDPSegmenter seg;

    if (!*softp) {
        *softp = g_new0(PortTxSoft, 1);
    }
    vhost_dp_segmenter_init(&seg, frame, frame->iov[0].iov_base,
                            port->fragment_id++);
    vhost_dp_segmenter_set_units(&seg, tx_units(&port->caps, &seg));
    if (vhost_dp_segmenter_max_frame(&seg) > port->caps.max_frame) {
        return false;
    }
    tx_keep_rest(*softp, &seg, frame->len);
    (*softp)->rest_is_counted = true;
    return true;
}

bool vhost_dp_port_soft_has_rest(const PortTxSoft *soft)
{
    return soft->rest_len != 0;
}

void vhost_dp_port_soft_make_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  PortTxBurst *burst)
{
    VhostDPSegmenter seg;

    vhost_dp_segmenter_set_units(&soft->rest,
                                 tx_units(&port->caps, &soft->rest));
    seg = soft->rest;
    port_burst_reset(burst);
    while (burst->nframes < VHOST_DP_BURST_FRAMES &&
           !vhost_dp_segmenter_done(&seg)) {
        tx_add_segment(&port->caps, burst, &seg);
        vhost_dp_segmenter_advance(&seg);
    }
}

void vhost_dp_port_soft_sent_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  unsigned taken)
{
    unsigned i;

    for (i = 0; i < taken; i++) {
        vhost_dp_segmenter_advance(&soft->rest);
    }
    vhost_dp_count(&port->stats[VHOST_DP_TX].soft_segments, taken);
    if (vhost_dp_segmenter_done(&soft->rest)) {
        /* The whole frame is with the driver now */
        if (!soft->rest_is_counted) {
            port_count_burst(port, VHOST_DP_TX, 1, soft->rest_len);
        }
        soft->rest_len = 0;
    }
}

void vhost_dp_port_soft_drop_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  VhostDPDropReason reason)
{
    if (soft && soft->rest_len) {
        soft->rest_len = 0;
        port_drop(port, VHOST_DP_TX, reason, 1);
    }
}

void vhost_dp_port_soft_free_tx(PortTxSoft *soft)
{
    g_free(soft);
}

/* ---- To the guest ---- */

struct PortRxSoft {
    bool active;                /* a frame, or the rest of one, waits: */
    bool cut;                   /* seg is used */
    VhostDPFrame frame;         /* the copy, later the segment */
    VhostDPSegmenter seg;
    uint32_t hash;              /* of the frame, and so of all segments */
    uint8_t hash_report;
    struct iovec whole;         /* the copy */
    struct iovec iov[2];        /* the segment */
    uint8_t head[VHOST_DP_HEAD_BYTES];
    uint8_t buf[VHOST_DP_MAX_FRAME];
};

/* Copy @lent and prepare it.  Returns false if its metadata is malformed. */
static bool rx_soft_begin(VhostDPEnginePort *port, PortRxSoft *soft,
                          const VhostDPFrame *lent)
{
    VhostDPFrame *frame = &soft->frame;
    bool summed = false;
    size_t head_len;

    if (lent->len > VHOST_DP_MAX_FRAME) {
        return false;
    }
    iov_to_buf(lent->iov, lent->iovcnt, 0, soft->buf, lent->len);
    soft->whole.iov_base = soft->buf;
    soft->whole.iov_len = lent->len;
    *frame = *lent;
    soft->hash = lent->hash;
    soft->hash_report = lent->hash_report;
    frame->iov = &soft->whole;
    frame->iovcnt = 1;
    head_len = MIN(frame->len, VHOST_DP_HEAD_BYTES);
    if (frame->flags == VIRTIO_NET_HDR_F_DATA_VALID &&
        frame->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
        summed = vhost_dp_offload_compute_checksum(frame, soft->buf, head_len);
    } else if (!vhost_dp_offload_check_received(frame, soft->buf, head_len)) {
        return false;
    }
    soft->cut = frame->gso_type != VIRTIO_NET_HDR_GSO_NONE;
    if (soft->cut) {
        vhost_dp_segmenter_init(&soft->seg, frame, soft->buf,
                                port->fragment_id++);
    } else if (frame->flags) {
        vhost_dp_offload_finish_checksum(frame);
        summed = true;
    }
    vhost_dp_count(&port->stats[VHOST_DP_RX].soft_checksums, summed);
    soft->active = true;
    return true;
}

const VhostDPFrame *vhost_dp_port_soft_rx_frame(VhostDPEnginePort *port,
                                                PortRxSoft **softp,
                                                const VhostDPFrame *lent)
{
    PortRxSoft *soft = *softp;

    if (!soft) {
        soft = *softp = g_new0(PortRxSoft, 1);
    }
    if (!soft->active && !rx_soft_begin(port, soft, lent)) {
        return NULL;
    }
    if (soft->cut) {
        uint32_t offloads = port->conf.offloads;
        bool uso = vhost_dp_offload_allowed(&uso_frame, offloads);

        vhost_dp_segmenter_set_units(&soft->seg,
                                     uso ? VHOST_DP_LINUX_DATAGRAMS : 1);
        vhost_dp_segmenter_make(&soft->seg, offloads, &soft->frame, soft->head,
                                soft->iov);
        soft->frame.hash = soft->hash;
        soft->frame.hash_report = soft->hash_report;
    }
    return &soft->frame;
}

unsigned vhost_dp_port_soft_rx_next(VhostDPEnginePort *port, PortRxSoft *soft)
{
    if (soft->cut) {
        vhost_dp_segmenter_advance(&soft->seg);
        vhost_dp_count(&port->stats[VHOST_DP_RX].soft_segments, 1);
        if (!vhost_dp_segmenter_done(&soft->seg)) {
            return vhost_dp_segmenter_left(&soft->seg);
        }
    }
    soft->active = false;
    return 0;
}

void vhost_dp_port_soft_rx_set_no_hash(PortRxSoft *soft)
{
    if (soft) {
        soft->hash = 0;
        soft->hash_report = VIRTIO_NET_HASH_REPORT_NONE;
        soft->frame.hash = 0;
        soft->frame.hash_report = VIRTIO_NET_HASH_REPORT_NONE;
    }
}

bool vhost_dp_port_soft_rx_active(const PortRxSoft *soft)
{
    return soft && soft->active;
}

void vhost_dp_port_soft_rx_end(PortRxSoft *soft)
{
    if (soft) {
        soft->active = false;
    }
}

void vhost_dp_port_soft_free_rx(PortRxSoft *soft)
{
    g_free(soft);
}
