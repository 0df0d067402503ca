/*
 * vhost-dp: qtests of receive buffers
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames of all sizes meet buffers of all sizes, too few of them, or none.
 * Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "guest.h"

static uint16_t get_num_buffers(const struct virtio_net_hdr_v1 *hdr)
{
    return le16_to_cpu(hdr->num_buffers);
}

/* Section 5.1.6.4: a frame over several buffers */
static void test_mergeable(const void *opaque)
{
    static const size_t lens[] = {
        60, 116, 117, 500 - 12, 500, 1000, 1514,
    };
    const size_t size = 128;
    DpRig *r = dp_rig_new(DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    struct virtio_net_hdr_v1 hdr;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(lens); i++) {
        unsigned n = DIV_ROUND_UP(lens[i] + r->nic->hdr_len, size);
        size_t len;

        dp_post(r->nic, n, size);
        dp_make_frame(r->frame, lens[i], i);
        dp_sock_send(r->sock, NULL, r->frame, lens[i]);
        len = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, len, r->frame, lens[i]);
        g_assert_cmpuint(get_num_buffers(&hdr), ==, n);
    }
    dp_rig_free(r);
}

/* The guest runs out of buffers in the middle of a frame and posts more */
static void test_mergeable_out_of_buffers(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    struct virtio_net_hdr_v1 hdr;
    unsigned round;
    size_t len;

    for (round = 0; round < 5; round++) {
        dp_post(r->nic, 2, 128);
        dp_make_frame(r->frame, 1000, round);
        dp_sock_send(r->sock, NULL, r->frame, 1000);
        dp_make_frame(r->frame, 60, round);
        dp_sock_send(r->sock, NULL, r->frame, 60);

        /* Nothing is to be seen of a frame that is not complete */
        g_usleep(DP_QUIET_US / 3);
        g_assert_false(dp_get_used(r->rx, NULL, NULL));

        /* Still one too few */
        dp_post(r->nic, 5, 128);
        g_usleep(DP_QUIET_US / 3);
        g_assert_false(dp_get_used(r->rx, NULL, NULL));

        dp_post(r->nic, 1, 128);
        len = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
        dp_make_frame(r->frame, 1000, round);
        dp_assert_frame(r->got, len, r->frame, 1000);
        g_assert_cmpuint(get_num_buffers(&hdr), ==, 8);

        g_usleep(DP_QUIET_US / 3);
        g_assert_false(dp_get_used(r->rx, NULL, NULL));
        dp_post(r->nic, 1, 128);
        len = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
        dp_make_frame(r->frame, 60, round);
        dp_assert_frame(r->got, len, r->frame, 60);
        g_assert_cmpuint(get_num_buffers(&hdr), ==, 1);
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 10);
    dp_rig_free(r);
}

/* Frames wait in the host's queue while the guest has no buffers */
static void test_no_buffers(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    unsigned i;
    size_t len;

    for (i = 0; i < 100; i++) {
        dp_make_frame(r->frame, 64, i);
        dp_sock_send(r->sock, NULL, r->frame, 64);
    }
    g_usleep(DP_QUIET_US);
    for (i = 0; i < 100; i++) {
        dp_post(r->nic, 1, 128);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_make_frame(r->frame, 64, i);
        dp_assert_frame(r->got, len, r->frame, 64);
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 100);
    dp_rig_free(r);
}

/* Without mergeable buffers a frame has to fit into one */
static void test_buffer_too_small(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    size_t len;

    dp_post(r->nic, 1, 12 + 100);
    dp_make_frame(r->frame, 101, 1);
    dp_sock_send(r->sock, NULL, r->frame, 101);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:too-large", 1);

    /* The buffer is there for the next one */
    dp_make_frame(r->frame, 100, 2);
    dp_sock_send(r->sock, NULL, r->frame, 100);
    len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, len, r->frame, 100);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 1);
    dp_wait_counter(r->qts, "vd0", DP_RX, "bytes", 100);

    /* Not even room for the header */
    dp_post(r->nic, 1, 5);
    dp_sock_send(r->sock, NULL, r->frame, 100);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:too-large", 2);
    dp_check_transmit(r->nic, r->sock, 100, 3);
    dp_rig_free(r);
}

typedef struct ManyBuffers {
    const char *name;
    unsigned size;
    unsigned descs;             /* that a buffer is made of */
} ManyBuffers;

static const ManyBuffers many_buffers[] = {
    { "mergeable/509-buffers", 128, 1 },
    { "mergeable/1018-buffers", 64, 1 },
    { "mergeable/509-buffers-of-2", 128, 2 },
};

/* 5.1.6.4: as many buffers as it takes; more than a burst would want */
static void test_mergeable_many(const void *opaque)
{
    const ManyBuffers *many = opaque;
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
                    DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
                    DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4),
        .ring_size = 1024,
    }, true);
    struct virtio_net_hdr hdr = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    const size_t len = 65054;
    unsigned i, j, round;

    dp_make_ip_frame(r->frame, len, IPPROTO_TCP, 1);
    for (round = 0; round < 3; round++) {
        uint64_t addr = dp_alloc(r->guest, 1024 * many->size);
        uint8_t *got = dp_host(r->guest, addr);

        for (i = 0; i < 1024 / many->descs; i++, addr += many->size) {
            DpBuf bufs[2];

            for (j = 0; j < many->descs; j++) {
                unsigned part = many->size / many->descs;

                bufs[j] = (DpBuf) { addr + j * part, part, true };
            }
            dp_add(r->rx, bufs, many->descs);
        }
        dp_publish(r->rx);
        dp_sock_send(r->sock, &hdr, r->frame, len);
        dp_wait_used(r->rx, NULL);
        /* The buffers are side by side, so the frame is in one piece */
        g_assert_cmpuint(get_num_buffers((struct virtio_net_hdr_v1 *)got), ==,
                         DIV_ROUND_UP(len + r->nic->hdr_len, many->size));
        g_assert_cmpmem(got + r->nic->hdr_len, len, r->frame, len);
        dp_wait_counter(r->qts, "vd0", DP_RX, "packets", round + 1);
        g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "drop:too-large"),
                         ==, 0);
        dp_rig_restart(r);
    }
    dp_rig_free(r);
}

/* A frame that needs more buffers than the ring has entries */
static void test_mergeable_too_large(const void *opaque)
{
    DpRig *r = dp_rig_new(DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    size_t len;

    dp_post(r->nic, DP_RING_SIZE, 16);
    dp_make_frame(r->frame, 1500, 1);
    dp_sock_send(r->sock, NULL, r->frame, 1500);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:too-large", 1);

    dp_make_frame(r->frame, 60, 2);
    dp_sock_send(r->sock, NULL, r->frame, 60);
    len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, len, r->frame, 60);
    dp_rig_free(r);
}

/*
 * The same with chains of several buffers: fewer chains than the ring has
 * entries, but the guest can post no more.
 */
static void test_mergeable_chains_too_small(const void *opaque)
{
    DpRig *r = dp_rig_new(DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    unsigned i, j;
    uint32_t used;

    for (i = 0; i < DP_RING_SIZE / 3; i++) {
        uint64_t addr = dp_alloc(r->guest, 3 * 16);
        DpBuf bufs[3];

        for (j = 0; j < 3; j++) {
            bufs[j] = (DpBuf) { addr + j * 16, 16, true };
        }
        dp_add(r->rx, bufs, 3);
    }
    dp_publish(r->rx);
    dp_make_frame(r->frame, 1500, 1);
    dp_sock_send(r->sock, NULL, r->frame, 1500);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:too-large", 1);

    dp_sock_send(r->sock, NULL, r->frame, 60);
    dp_wait_used(r->rx, &used);
    g_assert_cmpuint(used, ==, 48);
    dp_wait_used(r->rx, &used);
    g_assert_cmpuint(used, ==, r->nic->hdr_len + 60 - 48);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    static const DpSetup plain;
    static const DpSetup event_idx = {
        .features = DP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
    };
    static const DpSetup mergeable = {
        .features = DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
    };
    static const DpSetup mergeable_event_idx = {
        .features = DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
                    DP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
    };
    unsigned i;

    dp_test_init(&argc, &argv);
    dp_add_ring_test("mergeable/many-buffers", NULL, test_mergeable);
    dp_add_ring_test("mergeable/out-of-buffers", &mergeable,
                     test_mergeable_out_of_buffers);
    dp_add_ring_test("mergeable/out-of-buffers-event-idx",
                     &mergeable_event_idx, test_mergeable_out_of_buffers);
    for (i = 0; i < ARRAY_SIZE(many_buffers); i++) {
        dp_add_ring_test(many_buffers[i].name, &many_buffers[i],
                         test_mergeable_many);
    }
    dp_add_ring_test("mergeable/too-large", NULL, test_mergeable_too_large);
    dp_add_ring_test("mergeable/chains-too-small", NULL,
                     test_mergeable_chains_too_small);
    dp_add_ring_test("no-buffers/plain", &plain, test_no_buffers);
    dp_add_ring_test("no-buffers/event-idx", &event_idx, test_no_buffers);
    dp_add_ring_test("buffer-too-small", NULL, test_buffer_too_small);
    return g_test_run();
}
