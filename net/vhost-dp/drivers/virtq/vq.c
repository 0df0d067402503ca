/*
 * vhost-dp: frames through driver-side virtqueues
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in one thread at a time; nothing here locks.
 *
 * Each buffer of a queue is in one of three places: free (transmit), with the
 * peer (nbufs of it, or of one before it, is not 0), or lent as part of a
 * received frame.  All of that is private memory.  A buffer that the peer gives
 * back must be one that it has, so whatever it writes, no buffer is in two
 * places, and no loop is longer than the ring.
 *
 * A frame to be sent is copied: the peer never sees the guest's memory.  It
 * goes to the lowest free buffers that are side by side and have room for it,
 * so that it is one descriptor.  So buffers are used again while they are in
 * the cache, and those that are never needed take no memory.  A
 * received frame stays where the peer put it, until it is released; the
 * virtio-net header in front is copied before it is looked at.
 */

#include "qemu/osdep.h"
#include <sys/uio.h>
#include "qemu/bitmap.h"
#include "net/eth.h"
#include "vq-int.h"
#include "net/vhost-dp/drivers/lib/vnet-hdr.h"

static void vq_drop(VhostDPVq *vq, VhostDPDropReason reason)
{
    vq->any_dropped = true;
    vq->dropped[reason]++;
}

/* ---- Notifications ---- */

bool vhost_dp_vq_flush(VhostDPVq *vq)
{
    if (vq->broken || vq->next_avail == vq->flushed) {
        return false;
    }
    return vq->packed ? vq_packed_flush(vq) : vq_split_flush(vq);
}

bool vhost_dp_vq_enable_call(VhostDPVq *vq)
{
    unsigned skip = 0;

    if (vq->broken) {
        return false;
    }
    /* For room to send, the call may come when three quarters are used */
    if (!vq->rx) {
        skip = vq->nout * 3 / 4;
    }
    vq->call_enabled = true;
    if (vq->packed) {
        vq_packed_enable_call(vq, skip);
    } else {
        vq_split_enable_call(vq, skip);
    }
    /* The peer looks at our wish after it wrote what we look at now */
    smp_mb();
    return vq_has_used(vq);
}

void vhost_dp_vq_disable_call(VhostDPVq *vq)
{
    if (!vq->call_enabled) {
        return;
    }
    vq->call_enabled = false;
    if (vq->packed) {
        vq_packed_disable_call(vq);
    } else {
        vq_split_disable_call(vq);
    }
}

void vhost_dp_vq_clear_call(VhostDPVq *vq)
{
    uint64_t calls;
    struct iovec iov = { .iov_base = &calls, .iov_len = sizeof(calls) };
    ssize_t r;

    /* The peer may have cleared O_NONBLOCK, and take back what it wrote */
    r = preadv2(event_notifier_get_fd(&vq->call), &iov, 1, -1, RWF_NOWAIT);
    if (r < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        /* Linux before 5.13 cannot do better */
        event_notifier_test_and_clear(&vq->call);
    }
}

/* ---- Transmission ---- */

/* Buffers for a frame of @len bytes */
static inline unsigned vq_bufs_for(uint32_t len)
{
    return DIV_ROUND_UP(VQ_HDR_BYTES + len, VHOST_DP_VQ_BUF_BYTES);
}

static void vq_reap(VhostDPVq *vq)
{
    VhostDPVqUsed u;
    unsigned n;

    while (!vq->broken && (n = vq_get_used(vq, &u)) > 0) {
        if (likely(n == 1)) {
            clear_bit(u.id, vq->busy);
        } else {
            bitmap_clear(vq->busy, u.id, n);
        }
        vq->nfree += n;
        vq->nout--;
        vq->first_free = MIN(vq->first_free, u.id);
    }
}

/* The first of @n free buffers side by side, or vq->num if there are none */
static inline unsigned vq_find_room(const VhostDPVq *vq, unsigned n)
{
    unsigned long i;

    if (likely(n == 1)) {
        return find_next_zero_bit(vq->busy, vq->num, vq->first_free);
    }
    i = bitmap_find_next_zero_area(vq->busy, vq->num, vq->first_free, n, 0);
    return MIN(i, vq->num);
}

bool vhost_dp_vq_tx_reap(VhostDPVq *vq)
{
    vq_reap(vq);
    return vq->broken || (vq->nfree >= vq_bufs_for(VHOST_DP_MAX_FRAME) &&
                          vq_find_room(vq, vq->wanted) < vq->num);
}

unsigned vhost_dp_vq_tx_take_back(VhostDPVq *vq)
{
    struct vring_used *used = vq->device;
    unsigned unsent, i;

    assert(!vq->rx && !vq->packed && vq->next_avail == vq->flushed);
    vq_reap(vq);
    unsent = vq->nout;
    for (i = 0; i < vq->num; i++) {
        vq->bufs[i].nbufs = 0;
    }
    bitmap_zero(vq->busy, vq->num);
    vq->nfree = vq->num;
    vq->first_free = 0;
    vq->nout = 0;
    vq->next_used = vq->flushed;
    qatomic_set(&used->idx, cpu_to_le16(vq->next_used));
    return unsent;
}

/* Copy a frame into buffer @i and those behind it */
static void vq_put_frame(VhostDPVq *vq, const VhostDPFrame *frame, unsigned i)
{
    uint8_t *buf = vq_buf(vq, i);
    unsigned k;

    /* num_buffers is the peer's, and 0 here (virtio 1.3, 5.1.6.2) */
    memset(buf, 0, VQ_HDR_BYTES);
    vhost_dp_vnet_hdr_put((struct virtio_net_hdr *)buf, frame,
                          VHOST_DP_VNET_HDR_LE);
    buf += VQ_HDR_BYTES;
    for (k = 0; k < frame->iovcnt; k++) {
        memcpy(buf, frame->iov[k].iov_base, frame->iov[k].iov_len);
        buf += frame->iov[k].iov_len;
    }
    vq->bufs[i].len = VQ_HDR_BYTES + frame->len;
}

unsigned vhost_dp_vq_tx(VhostDPVq *vq, const VhostDPFrame *frames, unsigned n)
{
    unsigned i;

    vq_reap(vq);
    for (i = 0; i < n && !vq->broken; i++) {
        unsigned nbufs = vq_bufs_for(frames[i].len);
        unsigned at;

        if (unlikely(frames[i].len > VHOST_DP_MAX_FRAME)) {
            vq_drop(vq, VHOST_DP_DROP_REASON_TOO_LARGE);
            continue;
        }
        at = vq_find_room(vq, nbufs);
        if (at == vq->num) {
            vq->wanted = nbufs;
            break;
        }
        if (likely(nbufs == 1)) {
            set_bit(at, vq->busy);
        } else {
            bitmap_set(vq->busy, at, nbufs);
        }
        if (at == vq->first_free || nbufs == 1) {
            vq->first_free = at + nbufs;
        }
        vq->nfree -= nbufs;
        vq->nout++;
        vq->bufs[at].nbufs = nbufs;
        vq_put_frame(vq, &frames[i], at);
        vq_add(vq, at);
    }
    return i;
}

/* ---- Reception ---- */

/* Give a buffer that is ours to the peer */
static inline void vq_post(VhostDPVq *vq, uint16_t i)
{
    vq->bufs[i].nbufs = 1;
    vq_add(vq, i);
}

void vhost_dp_vq_post_all(VhostDPVq *vq)
{
    unsigned i;

    for (i = 0; i < vq->num; i++) {
        vq->bufs[i].len = VHOST_DP_VQ_BUF_BYTES;
        vq_post(vq, i);
    }
}

/*
 * Collect the buffers of the next frame behind those that are lent.  Returns
 * how many they are, or 0 if there is no frame, or the queue is broken.
 */
static unsigned vq_take_bufs(VhostDPVq *vq, struct virtio_net_hdr_v1 *hdr,
                             VhostDPFrame *frame)
{
    unsigned nbufs = 1;
    unsigned skip = VQ_HDR_BYTES;
    unsigned i;

    frame->iov = &vq->iov[vq->nused];
    frame->iovcnt = 0;
    frame->len = 0;
    for (i = 0; i < nbufs; i++) {
        VhostDPVqUsed u;

        if (!vq_get_used(vq, &u)) {
            /* A frame's buffers are used together (virtio 1.3, 5.1.6.4.1) */
            if (i && !vq->broken) {
                vq_break(vq, VHOST_DP_PEER_VIOLATION_INCOMPLETE_FRAME);
            }
            return 0;
        }
        if (!i) {
            if (unlikely(u.len < VQ_HDR_BYTES)) {
                vq_break(vq, VHOST_DP_PEER_VIOLATION_SHORT_HEADER);
                return 0;
            }
            memcpy(hdr, vq_buf(vq, u.id), sizeof(*hdr));
            barrier();
            nbufs = vq->mergeable ? le16_to_cpu(hdr->num_buffers) : 1;
            if (unlikely(!nbufs || nbufs > VHOST_DP_VQ_RX_BUFS)) {
                vq_break(vq, VHOST_DP_PEER_VIOLATION_BUFFER_COUNT);
                return 0;
            }
        }
        vq->used[vq->nused + i] = u.id;
        if (likely(u.len > skip)) {
            frame->iov[frame->iovcnt].iov_base = vq_buf(vq, u.id) + skip;
            frame->iov[frame->iovcnt++].iov_len = u.len - skip;
            frame->len += u.len - skip;
        }
        skip = 0;
    }
    return nbufs;
}

static VhostDPDropReason vq_check_frame(const struct virtio_net_hdr_v1 *hdr,
                                        VhostDPFrame *frame)
{
    if (unlikely(frame->len < sizeof(struct eth_header))) {
        return VHOST_DP_DROP_REASON_TOO_SHORT;
    }
    if (unlikely(frame->len > VHOST_DP_MAX_FRAME)) {
        return VHOST_DP_DROP_REASON_TOO_LARGE;
    }
    if (unlikely(!vhost_dp_vnet_hdr_get((const void *)hdr, frame,
                                        VHOST_DP_VNET_HDR_LE))) {
        return VHOST_DP_DROP_REASON_BAD_HEADER;
    }
    return VHOST_DP_DROP_REASON__MAX;
}

unsigned vhost_dp_vq_rx(VhostDPVq *vq, VhostDPFrame *frames, unsigned n,
                        bool *more)
{
    size_t bytes = 0;
    unsigned tries, i = 0;

    *more = false;
    vq->nused = 0;
    vq->first_used = 0;
    vq->first_lent = 0;
    /* Bounded by tries, so that what is dropped cannot hold it up */
    for (tries = 0; tries < n && bytes < VHOST_DP_BURST_BYTES &&
                    vq->nused + VHOST_DP_VQ_RX_BUFS <= VHOST_DP_VQ_RX_IOV &&
                    !vq->broken; tries++) {
        struct virtio_net_hdr_v1 hdr;
        unsigned nbufs = vq_take_bufs(vq, &hdr, &frames[i]);
        VhostDPDropReason reason;

        if (!nbufs) {
            break;
        }
        reason = vq_check_frame(&hdr, &frames[i]);
        if (likely(reason == VHOST_DP_DROP_REASON__MAX)) {
            bytes += frames[i].len;
            vq->nused += nbufs;
            vq->lent_bufs[i++] = nbufs;
            continue;
        }
        vq_drop(vq, reason);
        while (nbufs--) {
            vq_post(vq, vq->used[vq->nused + nbufs]);
        }
    }
    vq->nlent = i;
    *more = tries && !i;
    return i;
}

void vhost_dp_vq_rx_release(VhostDPVq *vq, unsigned n)
{
    vq->nlent -= n;
    while (n--) {
        unsigned nbufs = vq->lent_bufs[vq->first_lent++];

        while (nbufs--) {
            vq_post(vq, vq->used[vq->first_used++]);
        }
    }
}
