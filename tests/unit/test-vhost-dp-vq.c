/*
 * vhost-dp: driver-side virtqueues against the device side
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "vhost-dp-vq-rig.h"

/* ---- Both ends of transmission ---- */

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add_test("tx", test_tx);
    rig_add_test("tx-metadata", test_tx_metadata);
    rig_add_test("tx-full", test_tx_full);
    rig_add_test("tx-random", test_tx_random);
    rig_add_test("tx-take-back", test_tx_take_back);
    rig_add_test("rx", test_rx);
    rig_add_test("rx-metadata", test_rx_metadata);
    rig_add_test("rx-burst", test_rx_burst);
    rig_add_test("rx-not-mergeable", test_rx_not_mergeable);
    rig_add_test("rx-drops", test_rx_drops);
    rig_add_test("notify-random", test_notify_random);
    rig_add_test("suppression", test_suppression);
    return g_test_run();
}
