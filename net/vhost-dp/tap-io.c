/*
 * vhost-dp-tap: the data side
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: one file descriptor per queue pair, used only by the
 * pair's IOThread between attach and detach.  Each frame travels with a struct
 * virtio_net_hdr (IFF_VNET_HDR, linux/if_tun.h), which is the frame's offload
 * metadata in little-endian byte order.  Frames are sent from where they are;
 * received frames are packed into one arena, which is reused when the engine
 * has released all of a burst.
 *
 * A queue pair that the guest does not use is detached from the interface
 * (TUNSETQUEUE), or the kernel would steer flows to it.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "net/eth.h"
#include "net/tap-linux.h"
#include "tap-int.h"
#include "trace.h"

static void tap_update_handlers(TapQueue *q);

static void tap_readable(void *opaque)
{
    TapQueue *q = opaque;

    vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
}

static void tap_writable(void *opaque)
{
    TapQueue *q = opaque;

    q->tx_blocked = false;
    tap_update_handlers(q);
    vhost_dp_port_ready(q->port, VHOST_DP_READY_TX);
}

static void tap_update_handlers(TapQueue *q)
{
    aio_set_fd_handler(q->ctx, q->fd,
                       q->rx_enabled && !q->gone ? tap_readable : NULL,
                       q->tx_blocked && !q->gone ? tap_writable : NULL,
                       NULL, NULL, q);
}

static bool tap_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                       AioContext *ctx, Error **errp)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];

    q->port = port;
    q->ctx = ctx;
    q->rx_enabled = false;
    q->tx_blocked = false;
    q->gone = false;
    q->inactive = false;
    q->arena = g_malloc(TAP_ARENA_BYTES);
    q->arena_used = 0;
    q->lent = 0;
    return true;
}

/* Let the kernel use the queue, or not.  Interfaces with one queue cannot. */
static void tap_set_queue(TapQueue *q, bool attached)
{
    struct ifreq ifr = {
        .ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE,
    };

    if (q->inactive == !attached) {
        return;
    }
    if (ioctl(q->fd, TUNSETQUEUE, &ifr) < 0) {
        /* The interface has gone; if not, frames come, and are dropped */
        trace_vhost_dp_tap_set_queue_failed(q->fd, attached, errno);
        return;
    }
    q->inactive = !attached;
}

static bool tap_set_active(VhostDPDriver *drv, unsigned pair, bool active)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);

    if (tap->nqueues > 1) {
        tap_set_queue(&tap->queue[pair], active);
    }
    return tap->queue[pair].inactive;
}

static void tap_detach(VhostDPDriver *drv, unsigned pair)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];

    q->gone = true;
    tap_update_handlers(q);
    /* The next user of a passed descriptor expects it as it was */
    tap_set_queue(q, true);
    g_free(q->arena);
    q->arena = NULL;
    q->port = NULL;
}

/* The kernel answers EBADFD once the interface is deleted */
static void tap_gone(TapQueue *q)
{
    if (!q->gone) {
        q->gone = true;
        tap_update_handlers(q);
        vhost_dp_port_set_link(q->port, false, "the tap interface was deleted");
    }
}

static void tap_put_hdr(const VhostDPFrame *frame, struct virtio_net_hdr *hdr)
{
    memset(hdr, 0, sizeof(*hdr));
    if (likely(!frame->flags && !frame->gso_type)) {
        return;
    }
    hdr->flags = frame->flags;
    hdr->csum_start = cpu_to_le16(frame->csum_start);
    hdr->csum_offset = cpu_to_le16(frame->csum_offset);
    hdr->gso_type = frame->gso_type;
    hdr->gso_size = cpu_to_le16(frame->gso_size);
    hdr->hdr_len = cpu_to_le16(frame->hdr_len);
}

static ssize_t tap_write(TapQueue *q, const VhostDPFrame *frame)
{
    struct virtio_net_hdr hdr;
    struct iovec *iov = q->tx_iov;

    tap_put_hdr(frame, &hdr);
    iov[0].iov_base = &hdr;
    iov[0].iov_len = sizeof(hdr);
    memcpy(&iov[1], frame->iov, frame->iovcnt * sizeof(iov[0]));
    return RETRY_ON_EINTR(writev(q->fd, iov, frame->iovcnt + 1));
}

/* A frame could not be written: @err says why.  Returns true to drop it. */
static bool tap_write_failed(TapQueue *q, int err)
{
    VhostDPDropReason reason;

    switch (err) {
    case EAGAIN:
        q->tx_blocked = true;
        tap_update_handlers(q);
        return false;
    case ENOBUFS:
    case ENOMEM:
        reason = VHOST_DP_DROP_REASON_NO_BUFFER;
        break;
    case EIO:
        /* The interface is not up (drivers/net/tun.c) */
        reason = VHOST_DP_DROP_REASON_LINK_DOWN;
        break;
    case EBADFD:
        tap_gone(q);
        reason = VHOST_DP_DROP_REASON_LINK_DOWN;
        break;
    default:
        reason = VHOST_DP_DROP_REASON_DRIVER_ERROR;
        break;
    }
    vhost_dp_port_drop(q->port, true, reason, 1);
    return true;
}

static unsigned tap_tx_burst(VhostDPDriver *drv, unsigned pair,
                             VhostDPFrame *frames, unsigned n)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];
    unsigned i;

    for (i = 0; i < n; i++) {
        if (tap_write(q, &frames[i]) < 0 && !tap_write_failed(q, errno)) {
            break;
        }
    }
    return i;
}

static void tap_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];

    q->rx_enabled = enable;
    tap_update_handlers(q);
}

static void tap_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];

    q->lent -= n;
    if (!q->lent) {
        q->arena_used = 0;
    }
}

static bool tap_get_hdr(const struct virtio_net_hdr *hdr, VhostDPFrame *frame)
{
    frame->flags = hdr->flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM |
                                 VIRTIO_NET_HDR_F_DATA_VALID);
    frame->gso_type = hdr->gso_type;
    if (likely(!frame->flags && !frame->gso_type)) {
        return true;
    }
    frame->csum_start = le16_to_cpu(hdr->csum_start);
    frame->csum_offset = le16_to_cpu(hdr->csum_offset);
    frame->gso_size = le16_to_cpu(hdr->gso_size);
    frame->hdr_len = le16_to_cpu(hdr->hdr_len);
    return !(frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
           (uint32_t)frame->csum_start + frame->csum_offset +
           sizeof(uint16_t) <= frame->len;
}

/* Receive one frame.  Returns 1, 0 if it was dropped, or -1 if none is there */
static int tap_read(TapQueue *q, VhostDPFrame *frame)
{
    struct virtio_net_hdr hdr;
    uint8_t *buf = q->arena + q->arena_used;
    struct iovec iov[] = {
        { .iov_base = &hdr, .iov_len = sizeof(hdr) },
        { .iov_base = buf, .iov_len = VHOST_DP_MAX_FRAME },
    };
    ssize_t len = RETRY_ON_EINTR(readv(q->fd, iov, ARRAY_SIZE(iov)));
    VhostDPDropReason reason;

    if (likely(len >= (ssize_t)(sizeof(hdr) + sizeof(struct eth_header)))) {
        frame->len = len - sizeof(hdr);
        frame->inl[0].iov_base = buf;
        frame->inl[0].iov_len = frame->len;
        frame->iov = frame->inl;
        frame->iovcnt = 1;
        if (likely(tap_get_hdr(&hdr, frame))) {
            q->arena_used += ROUND_UP(frame->len, 64);
            q->lent++;
            return 1;
        }
        reason = VHOST_DP_DROP_REASON_BAD_HEADER;
    } else if (len >= 0) {
        reason = VHOST_DP_DROP_REASON_TOO_SHORT;
    } else if (errno == EFAULT || errno == EINVAL) {
        /* The kernel drops a frame for which the vectors have no room */
        reason = VHOST_DP_DROP_REASON_TOO_LARGE;
    } else {
        if (errno == EBADFD) {
            tap_gone(q);
        } else if (errno != EAGAIN) {
            vhost_dp_port_drop(q->port, false,
                               VHOST_DP_DROP_REASON_DRIVER_ERROR, 1);
        }
        return -1;
    }
    vhost_dp_port_drop(q->port, false, reason, 1);
    return 0;
}

static unsigned tap_rx_burst(VhostDPDriver *drv, unsigned pair,
                             VhostDPFrame *frames, unsigned n)
{
    TapQueue *q = &VHOST_DP_TAP(drv)->queue[pair];
    unsigned i = 0;
    unsigned tries;

    /* Bounded by tries, so that dropped frames cannot hold it up */
    for (tries = 0; tries < n && q->arena_used < VHOST_DP_BURST_BYTES;
         tries++) {
        int r = tap_read(q, &frames[i]);

        if (r < 0) {
            break;
        }
        i += r;
    }
    return i;
}

void vhost_dp_tap_io_class_init(VhostDPDriverClass *dc)
{
    dc->attach = tap_attach;
    dc->detach = tap_detach;
    dc->set_active = tap_set_active;
    dc->tx_burst = tap_tx_burst;
    dc->rx_burst = tap_rx_burst;
    dc->rx_release = tap_rx_release;
    dc->rx_enable = tap_rx_enable;
}
