/*
 * vhost-dp: driver-side virtqueues against the device side
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each virtqueue has its driver in drivers/virtq/vq*.c and its device in
 * hw/virtio/vhost-dp/vring*.c: the two drive each other.  Where a device has to
 * break a rule, the test writes to the ring.  Sections are those of the virtio
 * specification, version 1.3.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/iov.h"
#include "qapi/error.h"
#include "hw/virtio/vhost-dp-vring.h"
#include "tests/vhost-dp/lib/mock.h"
#include "net/vhost-dp/drivers/virtq/vq-int.h"

#define BUF VHOST_DP_VQ_BUF_BYTES
#define HDR sizeof(struct virtio_net_hdr_v1)

typedef struct Format {
    const char *name;
    bool packed, event_idx;
    unsigned num;
} Format;

static const Format formats[] = {
    { "split/64", false, false, 64 },
    { "split/event-idx/64", false, true, 64 },
    { "split/event-idx/1024", false, true, 1024 },
    { "packed/64", true, false, 64 },
    { "packed/event-idx/64", true, true, 64 },
    { "packed/event-idx/1024", true, true, 1024 },
};

/* A set of one queue pair, and the device that has it */
typedef struct Rig {
    const Format *f;
    VhostDPVqSet *set;
    VhostDPVq *rx, *tx;         /* the driver's */
    MockMemory *mm;
    VhostDPMemory *mem;
    VhostDPVring dev_rx, dev_tx;
    VhostDPBurst burst;
    uint8_t out[VHOST_DP_MAX_FRAME + HDR];
    uint8_t in[VHOST_DP_MAX_FRAME + 4 * BUF];
} Rig;

static void rig_start_device(Rig *r, VhostDPVring *dev, VhostDPVq *vq)
{
    vhost_dp_vring_init(dev, vq->rx);
    dev->num = vq->num;
    dev->swap = HOST_BIG_ENDIAN;        /* it is a modern device (1.4) */
    dev->desc.gpa = VHOST_DP_VQ_IOVA + vhost_dp_vqset_offset(r->set, vq->desc);
    dev->driver.gpa = VHOST_DP_VQ_IOVA +
                     vhost_dp_vqset_offset(r->set, vq->driver);
    dev->device.gpa = VHOST_DP_VQ_IOVA +
                    vhost_dp_vqset_offset(r->set, vq->device);
    vhost_dp_vring_set_base(dev, vq->packed ? 0x80008000 : 0);
    g_assert_cmpint(vhost_dp_vring_start(dev, r->mem, r->set->features), ==,
                    0);
}

static Rig *rig_new(const Format *f, uint64_t without)
{
    uint64_t features = VHOST_DP_VQ_FEATURES & ~without;
    Rig *r = g_new0(Rig, 1);
    MockArea area = { .gpa = VHOST_DP_VQ_IOVA, .kind = MOCK_RESERVED };

    features &= f->packed ? -1ULL : ~(1ULL << VIRTIO_F_RING_PACKED);
    features &= f->event_idx ? -1ULL : ~(1ULL << VIRTIO_RING_F_EVENT_IDX);
    r->f = f;
    r->set = vhost_dp_vqset_new(1, f->num, false, &error_abort);
    vhost_dp_vqset_start(r->set, features);
    r->rx = &r->set->vq[0];
    r->tx = &r->set->vq[1];

    area.size = r->set->size;
    r->mm = mock_memory_new(&area, 1);
    munmap(r->mm->areas[0].host, area.size);
    /* As another process has it: its own mapping of the same memory */
    r->mm->areas[0].host = mmap(NULL, area.size, PROT_READ | PROT_WRITE,
                                MAP_SHARED, r->set->fd, 0);
    g_assert_true(r->mm->areas[0].host != MAP_FAILED);
    r->mem = mock_memory_table(r->mm, 0);
    rig_start_device(r, &r->dev_rx, r->rx);
    rig_start_device(r, &r->dev_tx, r->tx);
    return r;
}

static void rig_free(Rig *r)
{
    vhost_dp_memory_free(r->mem);
    mock_memory_free(r->mm);
    vhost_dp_vqset_unref(r->set);
    g_free(r);
}

static void fill(uint8_t *buf, size_t len, unsigned seed)
{
    size_t i;

    for (i = 0; i < len; i++) {
        buf[i] = seed * 31 + i + (i >> 8);
    }
}

/* Every buffer is in one place: free, with the peer, or lent */
static void check_places(VhostDPVq *vq)
{
    g_autofree uint8_t *seen = g_new0(uint8_t, vq->num);
    unsigned i, k, nfree = 0;

    for (i = 0; i < vq->num; i++) {
        for (k = 0; k < vq->bufs[i].nbufs; k++) {
            g_assert_cmpuint(i + k, <, vq->num);
            seen[i + k]++;
        }
    }
    for (i = vq->first_used; vq->nlent && i < vq->nused; i++) {
        seen[vq->used[i]]++;
    }
    for (i = 0; i < vq->num; i++) {
        bool is_free = !vq->rx && !test_bit(i, vq->busy);

        g_assert_cmpuint(seen[i], ==, !is_free);
        g_assert_true(!is_free || i >= vq->first_free);
        nfree += is_free;
    }
    g_assert_true(vq->rx || vq->nfree == nfree);
}

/* ---- Both ends of transmission ---- */

/* A frame of r->out, in @pieces */
static VhostDPFrame rig_frame(Rig *r, struct iovec *iov, unsigned pieces,
                              uint32_t len)
{
    VhostDPFrame frame = { .iov = iov, .iovcnt = pieces, .len = len };
    uint32_t at = 0;
    unsigned i;

    g_assert_cmpuint(pieces, <=, len);
    for (i = 0; i < pieces; i++) {
        uint32_t n = i == pieces - 1 ? len - at : len / pieces;

        iov[i] = (struct iovec) { r->out + at, n };
        at += n;
    }
    return frame;
}

/* The device takes a chain, and gives its bytes */
static size_t device_take(Rig *r, uint8_t *buf, size_t size)
{
    size_t len;

    g_assert_cmpuint(vhost_dp_vring_pop(&r->dev_tx, r->mem, &r->burst, 1,
                                        UINT32_MAX), ==, 1);
    /* Passt of 2025 takes frames of one descriptor only */
    g_assert_cmpuint(r->burst.chain[0].ndescs, ==, 1);
    len = iov_to_buf(r->burst.chain[0].iov, r->burst.chain[0].nsegs, 0, buf,
                     size);
    g_assert_cmpuint(len, ==, r->burst.chain[0].len);
    vhost_dp_vring_push(&r->dev_tx, &r->burst.chain[0], 0);
    vhost_dp_vring_flush(&r->dev_tx);
    return len;
}

static void test_tx(const void *opaque)
{
    static const uint32_t lens[] = {
        14, 60, 1514, BUF - HDR - 1, BUF - HDR, BUF - HDR + 1,
        2 * BUF - HDR, 2 * BUF - HDR + 1, 9000, 65535, VHOST_DP_MAX_FRAME,
    };
    static const uint8_t zero[HDR];
    Rig *r = rig_new(opaque, 0);
    unsigned round, i;

    /* Rounds enough for all buffers, in all orders, and to wrap twice */
    for (round = 0; round < 3 * r->f->num / ARRAY_SIZE(lens) + 1; round++) {
        for (i = 0; i < ARRAY_SIZE(lens); i++) {
            struct iovec iov[8];
            VhostDPFrame frame = rig_frame(r, iov, 1 + (round + i) % 8,
                                           lens[i]);
            size_t len;

            fill(r->out, lens[i], round + i);
            g_assert_cmpuint(vhost_dp_vq_tx(r->tx, &frame, 1), ==, 1);
            vhost_dp_vq_flush(r->tx);
            len = device_take(r, r->in, sizeof(r->in));
            g_assert_cmpuint(len, ==, HDR + lens[i]);
            g_assert_cmpmem(r->in, HDR, zero, HDR);
            g_assert_cmpmem(r->in + HDR, lens[i], r->out, lens[i]);
        }
    }
    g_assert_true(vhost_dp_vq_tx_reap(r->tx));
    g_assert_cmpuint(r->tx->nfree, ==, r->f->num);
    g_assert_false(r->tx->broken);
    rig_free(r);
}

/* What a frame needs is in its header, little-endian (5.1.6.2) */
static void test_tx_metadata(const void *opaque)
{
    Rig *r = rig_new(opaque, 0);
    struct virtio_net_hdr_v1 *hdr = (void *)r->in;
    struct iovec iov[1];
    VhostDPFrame frame = rig_frame(r, iov, 1, 5000);

    frame.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    frame.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
    frame.hdr_len = 54;
    frame.gso_size = 1448;
    frame.csum_start = 34;
    frame.csum_offset = 16;
    g_assert_cmpuint(vhost_dp_vq_tx(r->tx, &frame, 1), ==, 1);
    vhost_dp_vq_flush(r->tx);
    device_take(r, r->in, sizeof(r->in));
    g_assert_cmpuint(hdr->flags, ==, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    g_assert_cmpuint(hdr->gso_type, ==, VIRTIO_NET_HDR_GSO_TCPV4);
    g_assert_cmpuint(le16_to_cpu(hdr->hdr_len), ==, 54);
    g_assert_cmpuint(le16_to_cpu(hdr->gso_size), ==, 1448);
    g_assert_cmpuint(le16_to_cpu(hdr->csum_start), ==, 34);
    g_assert_cmpuint(le16_to_cpu(hdr->csum_offset), ==, 16);
    rig_free(r);
}

/* What does not fit stays with the caller, until the device has used some */
static void test_tx_full(const void *opaque)
{
    Rig *r = rig_new(opaque, 0);
    VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    struct iovec iov[1];
    unsigned sent = 0, taken, i;

    for (i = 0; i < ARRAY_SIZE(frames); i++) {
        frames[i] = rig_frame(r, iov, 1, 3000);
    }
    do {
        taken = vhost_dp_vq_tx(r->tx, frames, ARRAY_SIZE(frames));
        sent += taken;
        vhost_dp_vq_flush(r->tx);
    } while (taken == ARRAY_SIZE(frames));
    g_assert_cmpuint(sent, ==, r->f->num / 2);
    g_assert_false(vhost_dp_vq_tx_reap(r->tx));
    g_assert_false(vhost_dp_vq_enable_call(r->tx));
    for (i = 0; i < sent; i++) {
        device_take(r, r->in, sizeof(r->in));
    }
    g_assert_true(vhost_dp_vq_enable_call(r->tx));
    g_assert_true(vhost_dp_vq_tx_reap(r->tx));
    g_assert_cmpuint(r->tx->nfree, ==, r->f->num);
    rig_free(r);
}

/*
 * The device forgets frames that it had taken, again and again, and stops.  It
 * goes on behind them, and the queue has all of its room.
 */
static void test_tx_take_back(const void *opaque)
{
    Rig *r = rig_new(opaque, 0);
    unsigned round, i;

    for (round = 0; round < 2 * r->f->num && !r->f->packed; round++) {
        struct iovec iov[1];
        VhostDPFrame frame = rig_frame(r, iov, 1, round % 2 ? 60 : 5000);
        unsigned sent = 0;
        uint16_t base;

        while (vhost_dp_vq_tx(r->tx, &frame, 1)) {
            vhost_dp_vq_flush(r->tx);
            sent++;
        }
        g_assert_cmpuint(sent, ==, r->f->num / (round % 2 ? 1 : 3));
        /* Some are used, some were taken, and some are still to be taken */
        for (i = 0; i < 5; i++) {
            device_take(r, r->in, sizeof(r->in));
        }
        g_assert_cmpuint(vhost_dp_vring_pop(&r->dev_tx, r->mem, &r->burst, 7,
                                            UINT32_MAX), ==, 7);
        g_assert_cmpuint(vhost_dp_vq_tx_take_back(r->tx), ==, sent - 5);
        check_places(r->tx);
        g_assert_cmpuint(r->tx->nfree, ==, r->f->num);
        g_assert_false(vhost_dp_vq_enable_call(r->tx));

        base = r->tx->flushed;
        g_assert_cmpuint(le16_to_cpu(((struct vring_used *)
                                      r->tx->device)->idx), ==, base);
        vhost_dp_vring_stop(&r->dev_tx);
        vhost_dp_vring_set_base(&r->dev_tx, base);
        g_assert_cmpint(vhost_dp_vring_start(&r->dev_tx, r->mem,
                                             r->set->features), ==, 0);
        g_assert_cmpuint(vhost_dp_vring_pop(&r->dev_tx, r->mem, &r->burst, 1,
                                            UINT32_MAX), ==, 0);
        fill(r->out, frame.len, round);
        g_assert_cmpuint(vhost_dp_vq_tx(r->tx, &frame, 1), ==, 1);
        vhost_dp_vq_flush(r->tx);
        g_assert_cmpuint(device_take(r, r->in, sizeof(r->in)), ==,
                         HDR + frame.len);
        g_assert_cmpmem(r->in + HDR, frame.len, r->out, frame.len);
        g_assert_true(vhost_dp_vq_tx_reap(r->tx));
        g_assert_cmpuint(r->tx->nfree, ==, r->f->num);
    }
    g_assert_false(r->tx->broken);
    rig_free(r);
}

/*
 * Frames of all lengths, which the device gives back in any order: each is in
 * one piece, and none waits for ever.
 */
static void test_tx_random(const void *opaque)
{
    Rig *r = rig_new(opaque, 0);
    VhostDPChain *chain = r->burst.chain;
    unsigned sent = 0, in_device = 0, blocked = 0, i;

    while (sent < 20000) {
        struct iovec iov[1];
        uint32_t len = g_test_rand_int_range(0, 8) ?
                       g_test_rand_int_range(14, 3000) :
                       g_test_rand_int_range(14, VHOST_DP_MAX_FRAME + 1);
        VhostDPFrame frame = rig_frame(r, iov, 1, len);

        fill(r->out, MIN(len, 16), sent);
        while (!vhost_dp_vq_tx(r->tx, &frame, 1)) {
            /* The queue is full: all that the device has comes back */
            blocked++;
            g_assert_cmpuint(in_device, >, 0);
            g_assert_cmpuint(vhost_dp_vring_pop(&r->dev_tx, r->mem, &r->burst,
                                                in_device, UINT32_MAX), ==,
                             in_device);
            for (i = in_device; i; i--) {
                unsigned pick = g_test_rand_int_range(0, i);

                g_assert_cmpuint(chain[pick].ndescs, ==, 1);
                vhost_dp_vring_push(&r->dev_tx, &chain[pick], 0);
                chain[pick] = chain[i - 1];
            }
            vhost_dp_vring_flush(&r->dev_tx);
            in_device = 0;
            g_assert_true(vhost_dp_vq_tx_reap(r->tx));
            check_places(r->tx);
        }
        vhost_dp_vq_flush(r->tx);
        sent++;
        in_device++;
        check_places(r->tx);
        if (in_device == VHOST_DP_VRING_BURST) {
            device_take(r, r->in, sizeof(r->in));
            in_device--;
        }
    }
    g_assert_cmpuint(blocked, >, 0);
    rig_free(r);
}

/* ---- Both ends of reception ---- */

/* The device puts header and frame from r->out into buffers */
static bool device_put_hdr(Rig *r, const struct virtio_net_hdr_v1 *hdr,
                           uint32_t len)
{
    unsigned n = DIV_ROUND_UP(HDR + len, BUF);
    struct virtio_net_hdr_v1 copy = *hdr;
    struct iovec from[] = { { &copy, HDR }, { r->out, len } };
    size_t at = 0;
    unsigned i;

    g_assert_cmpuint(vhost_dp_vring_pop(&r->dev_rx, r->mem, &r->burst, n,
                                        UINT32_MAX), ==, n);
    if (!hdr->num_buffers) {
        copy.num_buffers = cpu_to_le16(n);
    }
    for (i = 0; i < n; i++) {
        VhostDPChain *chain = &r->burst.chain[i];
        size_t part = MIN(HDR + len - at, BUF);

        g_assert_cmpuint(chain->nsegs, ==, 1);
        g_assert_cmpuint(chain->len, ==, BUF);
        iov_to_buf(from, 2, at, chain->iov[0].iov_base, part);
        vhost_dp_vring_push(&r->dev_rx, chain, part);
        at += part;
    }
    return vhost_dp_vring_flush(&r->dev_rx);
}

static bool device_put(Rig *r, uint32_t len)
{
    struct virtio_net_hdr_v1 hdr = {};

    return device_put_hdr(r, &hdr, len);
}

/* The driver has one frame, whose bytes are those of r->out */
static VhostDPFrame check_rx(Rig *r, uint32_t len)
{
    VhostDPFrame frame[VHOST_DP_BURST_FRAMES];
    bool more;
    unsigned i;

    g_assert_cmpuint(vhost_dp_vq_rx(r->rx, frame, ARRAY_SIZE(frame), &more),
                     ==, 1);
    g_assert_false(more);
    g_assert_cmpuint(frame[0].len, ==, len);
    for (i = 0; i < frame[0].iovcnt; i++) {
        g_assert_cmpuint(frame[0].iov[i].iov_len, >, 0);
    }
    g_assert_cmpuint(iov_size(frame[0].iov, frame[0].iovcnt), ==, len);
    iov_to_buf(frame[0].iov, frame[0].iovcnt, 0, r->in, len);
    g_assert_cmpmem(r->in, len, r->out, len);
    vhost_dp_vq_rx_release(r->rx, 1);
    vhost_dp_vq_flush(r->rx);
    return frame[0];
}

static void test_rx(const void *opaque)
{
    static const uint32_t lens[] = {
        14, 60, 1514, BUF - HDR - 1, BUF - HDR, BUF - HDR + 1,
        2 * BUF - HDR, 2 * BUF - HDR + 1, 9000, 65535, VHOST_DP_MAX_FRAME,
    };
    Rig *r = rig_new(opaque, 0);
    unsigned round, i;

    for (round = 0; round < 3 * r->f->num / ARRAY_SIZE(lens) + 1; round++) {
        for (i = 0; i < ARRAY_SIZE(lens); i++) {
            VhostDPFrame frame;

            fill(r->out, lens[i], round + i);
            device_put(r, lens[i]);
            frame = check_rx(r, lens[i]);
            g_assert_cmpuint(frame.flags, ==, 0);
            g_assert_cmpuint(frame.gso_type, ==, 0);
        }
    }
    g_assert_false(r->rx->broken);
    rig_free(r);
}

static void test_rx_metadata(const void *opaque)
{
    Rig *r = rig_new(opaque, 0);
    struct virtio_net_hdr_v1 hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM | 0x80,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV6,
        .hdr_len = cpu_to_le16(74),
        .gso_size = cpu_to_le16(1428),
        .csum_start = cpu_to_le16(54),
        .csum_offset = cpu_to_le16(16),
    };
    VhostDPFrame frame;

    device_put_hdr(r, &hdr, 6000);
    frame = check_rx(r, 6000);
    /* Flags that are not known are not passed on */
    g_assert_cmpuint(frame.flags, ==, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    g_assert_cmpuint(frame.gso_type, ==, VIRTIO_NET_HDR_GSO_TCPV6);
    g_assert_cmpuint(frame.hdr_len, ==, 74);
    g_assert_cmpuint(frame.gso_size, ==, 1428);
    g_assert_cmpuint(frame.csum_start, ==, 54);
    g_assert_cmpuint(frame.csum_offset, ==, 16);
    rig_free(r);
}

/* A burst, released in parts; the buffers come back to the device in order */
static void test_rx_burst(const void *opaque)
{
    Rig *r = rig_new(opaque, 0);
    VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    unsigned round, i, got;
    bool more;

    for (round = 0; round < 40; round++) {
        for (i = 0; i < 20; i++) {
            fill(r->out, 3000, i);
            device_put(r, i % 2 ? 3000 : 60);
        }
        got = vhost_dp_vq_rx(r->rx, frames, ARRAY_SIZE(frames), &more);
        g_assert_cmpuint(got, ==, 20);
        for (i = 0; i < got; i++) {
            uint32_t len = i % 2 ? 3000 : 60;

            fill(r->out, len, i);
            g_assert_cmpuint(frames[i].len, ==, len);
            iov_to_buf(frames[i].iov, frames[i].iovcnt, 0, r->in, len);
            g_assert_cmpmem(r->in, len, r->out, len);
        }
        vhost_dp_vq_rx_release(r->rx, 7);
        vhost_dp_vq_flush(r->rx);
        vhost_dp_vq_rx_release(r->rx, 13);
        vhost_dp_vq_flush(r->rx);
    }
    g_assert_cmpuint(vhost_dp_vring_pop(&r->dev_rx, r->mem, &r->burst,
                                        VHOST_DP_VRING_BURST, UINT32_MAX), ==,
                     MIN(r->f->num, VHOST_DP_VRING_BURST));
    rig_free(r);
}

/* Without VIRTIO_NET_F_MRG_RXBUF num_buffers has no meaning (5.1.6.4) */
static void test_rx_not_mergeable(const void *opaque)
{
    Rig *r = rig_new(opaque, 1ULL << VIRTIO_NET_F_MRG_RXBUF);
    struct virtio_net_hdr_v1 hdr = { .num_buffers = 0xffff };

    fill(r->out, 1514, 1);
    device_put_hdr(r, &hdr, 1514);
    check_rx(r, 1514);
    rig_free(r);
}

typedef struct BadFrame {
    uint32_t len;
    struct virtio_net_hdr_v1 hdr;
    VhostDPDropReason reason;
} BadFrame;

/* What is wrong with one frame loses that frame; its buffers are used again */
static void test_rx_drops(const void *opaque)
{
    static const BadFrame bad[] = {
        { 13, {}, VHOST_DP_DROP_REASON_TOO_SHORT },
        { 0, {}, VHOST_DP_DROP_REASON_TOO_SHORT },
        { VHOST_DP_MAX_FRAME + 1, {}, VHOST_DP_DROP_REASON_TOO_LARGE },
        { 60, { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                .csum_start = const_le16(59) },
          VHOST_DP_DROP_REASON_BAD_HEADER },
        { 60, { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 0xffff,
                .csum_offset = 0xffff }, VHOST_DP_DROP_REASON_BAD_HEADER },
        { 60, { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 },
          VHOST_DP_DROP_REASON_BAD_HEADER },
    };
    Rig *r = rig_new(opaque, 0);
    unsigned round, i;
    bool more;

    for (round = 0; round < r->f->num; round++) {
        for (i = 0; i < ARRAY_SIZE(bad); i++) {
            VhostDPFrame frame;
            uint8_t *out = r->out;

            g_assert_cmpuint(bad[i].len, <=, sizeof(r->out));
            memset(out, 0, bad[i].len);
            device_put_hdr(r, &bad[i].hdr, bad[i].len);
            g_assert_cmpuint(vhost_dp_vq_rx(r->rx, &frame, 1, &more), ==, 0);
            g_assert_true(more);
            g_assert_true(r->rx->any_dropped);
            g_assert_cmpuint(r->rx->dropped[bad[i].reason], ==, 1);
            r->rx->dropped[bad[i].reason] = 0;
            vhost_dp_vq_flush(r->rx);
        }
    }
    g_assert_false(r->rx->broken);
    rig_free(r);
}

/* ---- Notifications ---- */

/*
 * Whoever waits is woken: a side that asked to be notified, and saw nothing
 * then, gets a notification for what the other side does next.
 */
static void test_notify_random(const void *opaque)
{
    Rig *r = rig_new(opaque, 0);
    VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    bool device_waits = false, driver_waits = false;
    bool kick = false, call = false;
    unsigned kicks = 0, calls = 0, i, in_device = r->f->num;
    bool more;

    vhost_dp_vring_disable_notify(&r->dev_rx);
    for (i = 0; i < 20000; i++) {
        /* Each side is the slower one for a while */
        if (g_test_rand_int_range(0, 100) < (i / 2000 % 2 ? 30 : 97)) {
            /* The device: a frame if it is awake, and has a buffer */
            if (device_waits && !kick) {
                continue;
            }
            kick = false;
            device_waits = false;
            vhost_dp_vring_disable_notify(&r->dev_rx);
            if (in_device) {
                bool want = device_put(r, 60);

                in_device--;
                calls += want;
                g_assert_true(want || !driver_waits || call);
                call |= want;
            } else {
                device_waits = !vhost_dp_vring_enable_notify(&r->dev_rx);
                g_assert_true(device_waits);
            }
        } else {
            unsigned got, n;

            if (driver_waits && !call) {
                continue;
            }
            call = false;
            driver_waits = false;
            got = vhost_dp_vq_rx(r->rx, frames, 1 + i % 7, &more);
            for (n = 0; n < got; n++) {
                bool want;

                vhost_dp_vq_rx_release(r->rx, 1);
                in_device++;
                want = vhost_dp_vq_flush(r->rx);
                kicks += want;
                g_assert_true(want || !device_waits || kick);
                kick |= want;
            }
            if (got) {
                vhost_dp_vq_disable_call(r->rx);
            } else {
                driver_waits = !vhost_dp_vq_enable_call(r->rx);
            }
        }
    }
    g_assert_cmpuint(kicks, >, 0);
    g_assert_cmpuint(calls, >, 0);
    g_assert_false(r->rx->broken);
    g_assert_false(r->dev_rx.broken);
    rig_free(r);
}

static void test_suppression(const void *opaque)
{
    Rig *r = rig_new(opaque, 0);
    struct iovec iov[1];
    VhostDPFrame frame = rig_frame(r, iov, 1, 60);
    bool event_idx = r->f->event_idx;

    vhost_dp_vring_disable_notify(&r->dev_tx);
    vhost_dp_vq_tx(r->tx, &frame, 1);
    /* A split ring with EVENT_IDX keeps the event where it was: the start */
    g_assert_cmpint(vhost_dp_vq_flush(r->tx), ==,
                    event_idx && !r->f->packed);
    vhost_dp_vq_tx(r->tx, &frame, 1);
    g_assert_false(vhost_dp_vq_flush(r->tx));
    g_assert_true(vhost_dp_vring_enable_notify(&r->dev_tx));
    device_take(r, r->in, sizeof(r->in));
    device_take(r, r->in, sizeof(r->in));
    g_assert_false(vhost_dp_vring_enable_notify(&r->dev_tx));
    vhost_dp_vq_tx(r->tx, &frame, 1);
    g_assert_true(vhost_dp_vq_flush(r->tx));
    /* Nothing new, nothing to kick for */
    g_assert_false(vhost_dp_vq_flush(r->tx));
    vhost_dp_vq_tx(r->tx, &frame, 1);
    /* Only the crossing of the event counts (2.7.10) */
    g_assert_cmpint(vhost_dp_vq_flush(r->tx), ==, !event_idx);
    rig_free(r);
}

/* ---- A device that breaks rules ---- */

static struct vring_used *used_ring(Rig *r)
{
    return r->rx->device;
}

/* Make the next used element say @id and @len */
static void write_used(Rig *r, uint32_t id, uint32_t len)
{
    VhostDPVq *vq = r->rx;

    if (vq->packed) {
        struct vring_packed_desc *desc = vq->desc;

        desc += vq_index(vq->next_used);
        desc->id = cpu_to_le16(id);
        desc->len = cpu_to_le32(len);
        desc->flags = cpu_to_le16((vq->next_used & VQ_WRAP ?
                                   VQ_AVAIL | VQ_USED : 0) |
                                  VRING_DESC_F_WRITE);
    } else {
        struct vring_used_elem *elem;

        elem = &used_ring(r)->ring[vq->next_used & (vq->num - 1)];
        elem->id = cpu_to_le32(id);
        elem->len = cpu_to_le32(len);
        used_ring(r)->idx = cpu_to_le16(vq->next_used + 1);
    }
}

static void write_num_buffers(Rig *r, unsigned buf, uint16_t n)
{
    struct virtio_net_hdr_v1 *hdr = (void *)vq_buf(r->rx, buf);

    memset(hdr, 0, sizeof(*hdr));
    hdr->num_buffers = cpu_to_le16(n);
}

static void bad_id(Rig *r)
{
    write_used(r, r->rx->num, 100);
}

static void bad_id_large(Rig *r)
{
    write_used(r, 0xffff, 100);
}

/* A buffer comes back a second time while the frame is lent */
static void bad_id_twice(Rig *r)
{
    VhostDPFrame frame;
    bool more;

    write_num_buffers(r, 3, 1);
    write_used(r, 3, 100);
    g_assert_cmpuint(vhost_dp_vq_rx(r->rx, &frame, 1, &more), ==, 1);
    write_used(r, 3, 100);
}

static void bad_len(Rig *r)
{
    write_num_buffers(r, 0, 1);
    write_used(r, 0, BUF + 1);
}

static void bad_len_large(Rig *r)
{
    write_num_buffers(r, 0, 1);
    write_used(r, 0, UINT32_MAX);
}

static void bad_short(Rig *r)
{
    write_num_buffers(r, 0, 1);
    write_used(r, 0, HDR - 1);
}

static void bad_no_buffers(Rig *r)
{
    write_num_buffers(r, 0, 0);
    write_used(r, 0, 100);
}

static void bad_many_buffers(Rig *r)
{
    write_num_buffers(r, 0, 0xffff);
    write_used(r, 0, 100);
}

static void bad_missing_buffers(Rig *r)
{
    write_num_buffers(r, 0, 3);
    write_used(r, 0, 100);
}

static void bad_index(Rig *r)
{
    used_ring(r)->idx = cpu_to_le16(r->rx->num + 1);
}

static void bad_index_back(Rig *r)
{
    used_ring(r)->idx = cpu_to_le16(-1);
}

static const struct {
    const char *name;
    void (*act)(Rig *r);
    VhostDPPeerViolation violation;
    bool split_only;
} violations[] = {
    { "id", bad_id, VHOST_DP_PEER_VIOLATION_USED_ID },
    { "id-large", bad_id_large, VHOST_DP_PEER_VIOLATION_USED_ID },
    { "id-twice", bad_id_twice, VHOST_DP_PEER_VIOLATION_USED_ID },
    { "length", bad_len, VHOST_DP_PEER_VIOLATION_USED_LENGTH },
    { "length-large", bad_len_large, VHOST_DP_PEER_VIOLATION_USED_LENGTH },
    { "short", bad_short, VHOST_DP_PEER_VIOLATION_SHORT_HEADER },
    { "no-buffers", bad_no_buffers, VHOST_DP_PEER_VIOLATION_BUFFER_COUNT },
    { "many-buffers", bad_many_buffers, VHOST_DP_PEER_VIOLATION_BUFFER_COUNT },
    { "missing-buffers", bad_missing_buffers,
      VHOST_DP_PEER_VIOLATION_INCOMPLETE_FRAME },
    { "index", bad_index, VHOST_DP_PEER_VIOLATION_USED_INDEX, true },
    { "index-back", bad_index_back, VHOST_DP_PEER_VIOLATION_USED_INDEX, true },
};

static void test_violations(const void *opaque)
{
    const Format *f = opaque;
    VhostDPFrame frame;
    unsigned i;
    bool more;

    for (i = 0; i < ARRAY_SIZE(violations); i++) {
        Rig *r;

        if (f->packed && violations[i].split_only) {
            continue;
        }
        g_test_message("%s", violations[i].name);
        r = rig_new(f, 0);
        violations[i].act(r);
        g_assert_cmpuint(vhost_dp_vq_rx(r->rx, &frame, 1, &more), ==, 0);
        g_assert_true(r->rx->broken);
        g_assert_cmpint(r->rx->violation, ==, violations[i].violation);
        /* It is left alone from now on */
        write_num_buffers(r, 1, 1);
        write_used(r, 1, 100);
        g_assert_cmpuint(vhost_dp_vq_rx(r->rx, &frame, 1, &more), ==, 0);
        g_assert_false(more);
        g_assert_false(vhost_dp_vq_enable_call(r->rx));
        g_assert_false(vhost_dp_vq_flush(r->rx));
        rig_free(r);
    }
}

/* Write to a random place of the shared memory, mostly to the rings */
static void scribble(Rig *r)
{
    VhostDPVq *vq = g_test_rand_bit() ? r->rx : r->tx;
    uint16_t value = g_test_rand_bit() ? g_test_rand_int() :
                     g_test_rand_int_range(0, vq->num);
    size_t ring = vq->buf - (uint8_t *)vq->desc;
    size_t at = g_test_rand_int_range(0, 8) ?
                (uint8_t *)vq->desc - r->set->base +
                g_test_rand_int_range(0, ring / 2) * 2 :
                g_test_rand_int_range(0, r->set->size / 2) * 2;

    stw_he_p(r->set->base + at, value);
}

/* A device that writes anything anywhere: see check_places() */
static void test_garbage(const void *opaque)
{
    unsigned round, i;
    bool more;

    for (round = 0; round < 200; round++) {
        Rig *r = rig_new(opaque, 0);
        VhostDPFrame frames[VHOST_DP_BURST_FRAMES], out[4];
        struct iovec iov[ARRAY_SIZE(out)];

        for (i = 0; i < 200 && !(r->rx->broken && r->tx->broken); i++) {
            unsigned n = g_test_rand_int_range(0, 20), k;

            if (!r->rx->broken && i % 4 == 0) {
                uint16_t id = g_test_rand_int_range(0, r->f->num);

                write_num_buffers(r, id, g_test_rand_int_range(0, 3));
                write_used(r, id, g_test_rand_int_range(0, 2 * BUF));
            }
            while (n--) {
                scribble(r);
            }
            for (k = 0; k < ARRAY_SIZE(out); k++) {
                out[k] = rig_frame(r, &iov[k], 1,
                                   g_test_rand_int_range(14, 20000));
            }
            vhost_dp_vq_tx(r->tx, out, ARRAY_SIZE(out));
            vhost_dp_vq_flush(r->tx);
            vhost_dp_vq_enable_call(r->tx);
            check_places(r->tx);
            n = vhost_dp_vq_rx(r->rx, frames, ARRAY_SIZE(frames), &more);
            for (k = 0; k < n; k++) {
                /* All of it is memory that is ours */
                g_assert_cmpuint(iov_size(frames[k].iov, frames[k].iovcnt),
                                 ==, frames[k].len);
                iov_to_buf(frames[k].iov, frames[k].iovcnt, 0, r->in,
                           frames[k].len);
            }
            if (!r->rx->broken) {
                check_places(r->rx);
            }
            vhost_dp_vq_rx_release(r->rx, n);
            vhost_dp_vq_flush(r->rx);
            vhost_dp_vq_enable_call(r->rx);
        }
        rig_free(r);
    }
}

static void add(const char *name, GTestDataFunc func)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(formats); i++) {
        g_autofree char *path = g_strdup_printf("/vhost-dp/vq/%s/%s",
                                                formats[i].name, name);

        g_test_add_data_func(path, &formats[i], func);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("tx", test_tx);
    add("tx-metadata", test_tx_metadata);
    add("tx-full", test_tx_full);
    add("tx-random", test_tx_random);
    add("tx-take-back", test_tx_take_back);
    add("rx", test_rx);
    add("rx-metadata", test_rx_metadata);
    add("rx-burst", test_rx_burst);
    add("rx-not-mergeable", test_rx_not_mergeable);
    add("rx-drops", test_rx_drops);
    add("notify-random", test_notify_random);
    add("suppression", test_suppression);
    add("violations", test_violations);
    add("garbage", test_garbage);
    return g_test_run();
}
