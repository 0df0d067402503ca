/*
 * vhost-dp-slirp: frames to and from the engine
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the queue pair's IOThread, with the queue pair's
 * lock, and so never calls libslirp.  Frames from the guest are copied, as they
 * have to be in one piece anyway, and wait for the bottom half (slirp-loop.c).
 * Frames to the guest, which libslirp produces at any time, wait in a ring
 * until the engine borrows them.  Who fills the ring may be the main loop:
 * hence the barriers.
 *
 * When the guest takes frames more slowly than the host's sockets deliver,
 * the sockets are not looked at until the ring has room again: then the
 * senders' windows close, and nothing is lost.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "net/checksum.h"
#include "standard-headers/linux/virtio_net.h"
#include "slirp-int.h"

/* Sockets are looked at again below that many frames for the guest */
#define SLIRP_RING_LOW (SLIRP_RING / 4)

/* ---- From the guest ---- */

/*
 * Finish a TCP segment that is longer than the wire's: libslirp takes it as it
 * is, but as a datagram whose lengths and checksums are right.  A guest need
 * not have set them (virtio 1.3, 5.1.6.2).
 */
static bool slirp_finish_tso(uint8_t *buf, uint32_t len)
{
    struct ip_header *ip;
    size_t l2 = eth_get_l2_hdr_length(buf);

    if (len < l2 + sizeof(*ip) || len - l2 > UINT16_MAX) {
        return false;
    }
    ip = (struct ip_header *)(buf + l2);
    stw_be_p(&ip->ip_len, len - l2);
    net_checksum_calculate(buf, len, CSUM_IP | CSUM_TCP);
    return true;
}

static void slirp_finish_csum(uint8_t *buf, const VhostDPFrame *frame)
{
    uint16_t csum = net_raw_checksum(buf + frame->csum_start,
                                     frame->len - frame->csum_start);

    /* In UDP zero would say that there is none (RFC 768) */
    stw_be_p(buf + frame->csum_start + frame->csum_offset, csum ?: 0xffff);
}

/* Returns false if there is no room */
static bool slirp_queue_input(VhostDPSlirp *s, const VhostDPFrame *frame)
{
    uint8_t *buf = s->input + s->input_used;

    if (s->ninput == SLIRP_INPUT_FRAMES ||
        frame->len > SLIRP_INPUT_BYTES - s->input_used) {
        return false;
    }
    iov_to_buf(frame->iov, frame->iovcnt, 0, buf, frame->len);
    if (frame->gso_type) {
        if (!slirp_finish_tso(buf, frame->len)) {
            vhost_dp_port_drop_tx(s->port, VHOST_DP_DROP_REASON_BAD_HEADER, 1);
            return true;
        }
    } else if (frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        slirp_finish_csum(buf, frame);
    }
    s->input_len[s->ninput++] = frame->len;
    s->input_used += frame->len;
    return true;
}

static unsigned slirp_tx_burst(VhostDPDriver *drv, unsigned pair,
                               VhostDPFrame *frames, unsigned n)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    unsigned i;

    for (i = 0; i < n && slirp_queue_input(s, &frames[i]); i++) {
        /* All of it is in the condition */
    }
    s->input_full = i < n;
    qemu_bh_schedule(s->bh);
    return i;
}

/* ---- To the guest ---- */

static unsigned slirp_rx_burst(VhostDPDriver *drv, unsigned pair,
                               VhostDPFrame *frames, unsigned n)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);
    bool csum = qatomic_read(&s->rx_csum);
    uint32_t head = slirp_ring_head(s);
    unsigned i;

    for (i = 0; i < n && s->ring_lent != head; i++) {
        uint32_t slot = s->ring_lent++ % SLIRP_RING;
        VhostDPFrame *frame = &frames[i];

        frame->inl[0].iov_base = s->ring + slot * SLIRP_STRIDE;
        frame->inl[0].iov_len = s->ring_len[slot];
        frame->iov = frame->inl;
        frame->iovcnt = 1;
        frame->len = s->ring_len[slot];
        /* libslirp's checksums are complete, and come from this process */
        frame->flags = csum ? VIRTIO_NET_HDR_F_DATA_VALID : 0;
        frame->gso_type = VIRTIO_NET_HDR_GSO_NONE;
    }
    return i;
}

static void slirp_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);

    qatomic_store_release(&s->ring_tail, s->ring_tail + n);
    if (s->paused && slirp_ring_used(s) < SLIRP_RING_LOW) {
        vhost_dp_slirp_set_paused(s, false);
    }
}

static void slirp_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    VhostDPSlirp *s = VHOST_DP_SLIRP(drv);

    s->rx_enabled = enable;
    if (enable && s->ring_lent != slirp_ring_head(s)) {
        vhost_dp_port_ready(s->port, VHOST_DP_READY_RX);
    }
}

void vhost_dp_slirp_io_class_init(VhostDPDriverClass *dc)
{
    dc->tx_burst = slirp_tx_burst;
    dc->rx_burst = slirp_rx_burst;
    dc->rx_release = slirp_rx_release;
    dc->rx_enable = slirp_rx_enable;
}
