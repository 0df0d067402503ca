/*
 * vhost-dp: what the engine does in software for drivers and guests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the port's IOThread; see port.c.  Frames come
 * here that have metadata which the receiver did not agree to, or which it
 * cannot make use of: more datagrams than Linux takes in one frame, and what
 * the host's own tunnels make.  The work itself is offload*.c's; this file says
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
#include "port-int.h"

/* No GSO type, so no receiver takes it: see vhost_dp_offload_allowed() */
#define GSO_TYPE_TAKEN 0x7f

/* What a receiver has to take, to get datagrams that are not cut yet */
static const VhostDPFrame uso_frame = {
    .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
    .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
};

/* ---- To the driver ---- */

struct PortTxSoft {
    VhostDPSegmenter rest;      /* of a frame that is not sent yet */
    struct iovec rest_iov;
    uint32_t rest_len;          /* the whole frame, as the guest has it */
    uint8_t rest_buf[VHOST_DP_MAX_FRAME];
    /* For each chain of the burst that is cut: before its first segment */
    VhostDPSegmenter chain[VHOST_DP_BURST_FRAMES];
};

void vhost_dp_port_tx_checksum(VhostDPEnginePort *port, VhostDPFrame *frame)
{
    if (frame->csum_start + frame->csum_offset + sizeof(uint16_t) >
        frame->iov[0].iov_len) {
        /* The field is in guest memory, which is not to be changed */
        vhost_dp_port_tx_linearise(port, frame);
    }
    vhost_dp_offload_finish_checksum(frame);
    port->tx_summed |= 1ULL << (frame - port->tx_frames);
}

/* Add the next segment to the burst's frames */
static void tx_add_segment(VhostDPEnginePort *port, const VhostDPSegmenter *seg,
                           unsigned n)
{
    VhostDPFrame *frame = &port->tx_frames[n];

    vhost_dp_segmenter_make(seg, port->caps.tx_offloads, frame,
                            port->tx_heads[n], &port->tx_iov[port->tx_niov]);
    port->tx_niov += frame->iovcnt;
    if (unlikely(frame->iovcnt > port->caps.max_segments)) {
        vhost_dp_port_tx_linearise(port, frame);
    }
}

/*
 * Datagrams that the driver takes in one segment.  All of the burst's segments
 * have room for their headers and as many.
 */
static unsigned tx_units(const VhostDPEnginePort *port,
                         const VhostDPSegmenter *seg)
{
    const VhostDPCaps *caps = &port->caps;

    if (!caps->max_datagrams ||
        !vhost_dp_offload_allowed(&uso_frame, caps->tx_offloads)) {
        return 1;
    }
    return MAX(1, MIN(caps->max_datagrams,
                      (caps->max_frame - seg->repeat) / seg->unit));
}

/* Take over from @seg, so that its chain can be used */
static void tx_keep_rest(VhostDPEnginePort *port, const VhostDPSegmenter *seg,
                         uint32_t len)
{
    PortTxSoft *soft = port->tx_soft;

    soft->rest = *seg;
    soft->rest_len = len;
    vhost_dp_segmenter_detach(&soft->rest, soft->rest_buf, &soft->rest_iov);
    port->tx_rest = true;
}

int vhost_dp_port_tx_segment(VhostDPEnginePort *port, unsigned chain,
                             unsigned *nframes)
{
    const VhostDPFrame *frame = &port->tx_frames[*nframes];
    uint32_t len = frame->len;
    VhostDPSegmenter *first, seg;
    unsigned n;

    if (!port->tx_soft) {
        port->tx_soft = g_new0(PortTxSoft, 1);
    }
    first = &port->tx_soft->chain[chain];
    vhost_dp_segmenter_init(first, frame, port->tx_heads[*nframes],
                            port->fragment_id++);
    vhost_dp_segmenter_set_units(first, tx_units(port, first));
    if (vhost_dp_segmenter_max_frame(first) > port->caps.max_frame) {
        return VHOST_DP_DROP_REASON_TOO_LARGE;
    }
    n = vhost_dp_segmenter_left(first);
    if (n > VHOST_DP_BURST_FRAMES - *nframes) {
        if (*nframes) {
            return TX_FULL;
        }
        tx_keep_rest(port, first, len);
        return TX_REST;
    }

    seg = *first;
    for (; !vhost_dp_segmenter_done(&seg); vhost_dp_segmenter_advance(&seg)) {
        tx_add_segment(port, &seg, *nframes);
        port->tx_cut |= 1ULL << *nframes;
        port->tx_chain[(*nframes)++] = chain;
    }
    return TX_SEND;
}

bool vhost_dp_port_tx_keep_rest(VhostDPEnginePort *port, unsigned taken)
{
    unsigned chain = port->tx_chain[taken];
    VhostDPSegmenter *seg;
    unsigned i;

    if (!taken || port->tx_chain[taken - 1] != chain) {
        return false;
    }
    seg = &port->tx_soft->chain[chain];
    for (i = taken; i && port->tx_chain[i - 1] == chain; i--) {
        vhost_dp_segmenter_advance(seg);
    }
    tx_keep_rest(port, seg, port->burst.chain[chain].len - port->hdr_len);
    return true;
}

/* The whole frame is with the driver now */
static void tx_rest_sent(VhostDPEnginePort *port)
{
    port->tx_rest = false;
    port_count_burst(port, VHOST_DP_TX, 1, port->tx_soft->rest_len);
}

bool vhost_dp_port_tx_rest(VhostDPEnginePort *port)
{
    PortTxSoft *soft = port->tx_soft;
    VhostDPSegmenter seg;
    unsigned i, taken, n = 0;

    port->worked = true;

    if (!port->attached) {
        vhost_dp_port_tx_drop_rest(port, VHOST_DP_DROP_REASON_LINK_DOWN);
        return true;
    }
    vhost_dp_segmenter_set_units(&soft->rest, tx_units(port, &soft->rest));
    seg = soft->rest;
    port->tx_niov = 0;
    port->tx_bounced = 0;
    while (n < VHOST_DP_BURST_FRAMES && !vhost_dp_segmenter_done(&seg)) {
        tx_add_segment(port, &seg, n++);
        vhost_dp_segmenter_advance(&seg);
    }
    port->tx_room = false;
    taken = port->dc->tx_burst(port->drv, port->index, port->tx_frames, n);
    port->tx_blocked = taken < n && !port->tx_room;
    for (i = 0; i < taken; i++) {
        vhost_dp_segmenter_advance(&soft->rest);
    }
    vhost_dp_count(&port->stats[VHOST_DP_TX].soft_segments, taken);
    if (vhost_dp_segmenter_done(&soft->rest)) {
        tx_rest_sent(port);
    }
    return !port->tx_blocked;
}

void vhost_dp_port_tx_drop_rest(VhostDPEnginePort *port,
                                VhostDPDropReason reason)
{
    if (port->tx_rest) {
        port->tx_rest = false;
        port_drop(port, VHOST_DP_TX, reason, 1);
    }
}

/* ---- To the guest ---- */

struct PortRxSoft {
    bool active;                /* the rest is for this frame: */
    VhostDPFrame frame;         /* the copy, later the segment */
    VhostDPSegmenter seg;
    bool cut;                   /* seg is used */
    struct iovec whole;         /* the copy */
    struct iovec iov[2];        /* the segment */
    uint8_t head[VHOST_DP_HEAD_BYTES];
    uint8_t buf[VHOST_DP_MAX_FRAME];
};

/* Copy @lent and prepare it.  Returns false if its metadata is malformed. */
static bool rx_soft_begin(VhostDPEnginePort *port, VhostDPFrame *lent)
{
    PortRxSoft *soft = port->rx_soft;
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
    /* Even if the guest takes such frames from now on */
    lent->gso_type = GSO_TYPE_TAKEN;
    return true;
}

const VhostDPFrame *vhost_dp_port_rx_soft_frame(VhostDPEnginePort *port,
                                                VhostDPFrame *lent)
{
    PortRxSoft *soft = port->rx_soft;

    if (!soft) {
        soft = port->rx_soft = g_new0(PortRxSoft, 1);
    }
    if (!soft->active && !rx_soft_begin(port, lent)) {
        return NULL;
    }
    if (soft->cut) {
        bool uso = vhost_dp_offload_allowed(&uso_frame, port->offloads);

        vhost_dp_segmenter_set_units(&soft->seg,
                                     uso ? VHOST_DP_LINUX_DATAGRAMS : 1);
        vhost_dp_segmenter_make(&soft->seg, port->offloads, &soft->frame,
                                soft->head, soft->iov);
    }
    return &soft->frame;
}

unsigned vhost_dp_port_rx_soft_next(VhostDPEnginePort *port)
{
    PortRxSoft *soft = port->rx_soft;

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

void vhost_dp_port_rx_soft_end(VhostDPEnginePort *port)
{
    if (port->rx_soft) {
        port->rx_soft->active = false;
        port->rx_soft_left = 0;
    }
}

void vhost_dp_port_soft_free(VhostDPEnginePort *port)
{
    g_free(port->tx_soft);
    g_free(port->rx_soft);
}
