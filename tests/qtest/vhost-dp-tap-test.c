/*
 * vhost-dp: qtests of vhost-dp-tap
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is special about this driver: how bursts get to the kernel, and what
 * happens to the interface.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "vhost-dp-guest.h"

static char *get_io(QTestState *qts)
{
    QDict *info = dp_query(qts, "vd0");
    char *io = g_strdup(qdict_get_str(info, "io"));

    qobject_unref(info);
    return io;
}

/* Frames of all kinds in one burst: copied ones, long ones, malformed ones */
static size_t mixed_length(unsigned i)
{
    static const size_t lengths[] = { 60, 1514, 14, 2047, 2048, 2049, 9000 };

    return lengths[i % ARRAY_SIZE(lengths)];
}

/* The ring is filled before the kick */
static void send_burst(DpRig *r, unsigned n, unsigned seed)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        size_t len = mixed_length(seed + i);
        DpBuf buf = { .len = r->nic->hdr_len + len };
        uint8_t *p;

        buf.addr = dp_alloc(r->guest, buf.len);
        p = dp_host(r->guest, buf.addr);
        memset(p, 0, r->nic->hdr_len);
        dp_make_frame(p + r->nic->hdr_len, len, seed + i);
        dp_add(r->tx, &buf, 1);
    }
    dp_publish(r->tx);
    for (i = 0; i < n; i++) {
        dp_wait_used(r->tx, NULL);
    }
}

static void check_burst(DpRig *r, unsigned n, unsigned seed)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        size_t len = mixed_length(seed + i);
        size_t got = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                  DP_MAX_FRAME, DP_TIMEOUT_US);

        dp_make_frame(r->frame, len, seed + i);
        dp_assert_frame(r->got, got, r->frame, len);
    }
}

/* All at once to the interface, before the guest has buffers */
static void receive_burst(DpRig *r, unsigned n, unsigned seed)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        size_t len = mixed_length(seed + i);

        dp_make_frame(r->frame, len, seed + i);
        dp_sock_send(r->sock, NULL, r->frame, len);
    }
    dp_post(r->nic, n, r->nic->hdr_len + 9000);
    for (i = 0; i < n; i++) {
        size_t len = mixed_length(seed + i);
        size_t got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

        dp_make_frame(r->frame, len, seed + i);
        dp_assert_frame(r->got, got, r->frame, len);
    }
}

/* Bursts of every size, so that batches grow and shrink */
static void check_bursts(DpRig *r)
{
    uint64_t packets = 0;
    unsigned n;

    dp_if_set_mtu("tap0", 9000);
    for (n = 1; n <= DP_RING_SIZE; n += 1 + n / 2) {
        send_burst(r, n, packets);
        check_burst(r, n, packets);
        receive_burst(r, n, packets);
        packets += n;
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", packets);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", packets);
}

static void test_io_uring(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    g_autofree char *io = NULL;

    if (!dp_has_io_uring()) {
        g_test_skip("no io_uring on this host");
        dp_rig_free(r);
        return;
    }
    io = get_io(r->qts);
    g_assert_cmpstr(io, ==, "io-uring");
    check_bursts(r);
    dp_rig_free(r);
}

/* Where io_uring is forbidden, the same works without it */
static void test_without_io_uring(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .qemu = dp_qemu_without_io_uring() },
                            false);
    g_autofree char *io = get_io(r->qts);

    g_assert_cmpstr(io, ==, "system-calls");
    check_bursts(r);
    dp_rig_free(r);
}

/* With a limit, frames go one by one, and wait in the ring if they must */
static void test_sndbuf(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .driver = "sndbuf=4k" }, false);

    check_bursts(r);
    dp_rig_free(r);
}

/* ---- Long frames, which go straight into the guest's buffers ---- */

/* Segments to be cut by the guest, if it is that long */
static void send_long(DpRig *r, size_t len)
{
    struct virtio_net_hdr gso = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    struct virtio_net_hdr none = {};

    dp_sock_send(r->sock, len > 1514 ? &gso : &none, r->frame, len);
}

typedef struct LongCase {
    const char *name;
    uint64_t features;
    size_t size;                /* of a buffer */
    unsigned buffers;           /* posted for each frame */
} LongCase;

#define LONG_FEATURES \
    (DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4))

static const LongCase long_cases[] = {
    { "mergeable", LONG_FEATURES | DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
      4096, 17 },
    /* The head, and the header, take more than one buffer */
    { "small-buffers", LONG_FEATURES | DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
      1100, 61 },
    { "one-large-buffer", LONG_FEATURES, 66000, 1 },
    /* Never room for any frame: they go by way of the driver's buffers */
    { "short-of-buffers", LONG_FEATURES | DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
      4096, 6 },
};

/*
 * All lengths, long ones first and in between, so that the engine is in the
 * mode for long frames, leaves it, and comes back.
 */
static void test_long(const void *opaque)
{
    static const size_t lengths[] = {
        60000, 65500, 60000, 5000, 60000, 60, 60000, 255, 60000, 256, 60000,
        257, 60000, 54, 20000, 14 + 20 + 20 + 1, 60000, 1514, 65000,
    };
    const LongCase *c = opaque;
    DpRig *r = dp_rig_start(&(DpSetup) { .features = c->features,
                                         .ring_size = 256 }, true);
    uint64_t bytes = 0;
    unsigned packets = 0;
    unsigned post = c->buffers;
    unsigned round, i;

    for (round = 0; round < 3; round++) {
        for (i = 0; i < ARRAY_SIZE(lengths); i++) {
            size_t len = lengths[i];
            struct virtio_net_hdr_v1 hdr;
            size_t got;

            if (len + r->nic->hdr_len > c->size * c->buffers) {
                continue;
            }
            dp_post(r->nic, post, c->size);
            dp_make_ip_frame(r->frame, len, IPPROTO_TCP, round + i);
            send_long(r, len);
            got = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
            dp_assert_frame(r->got, got, r->frame, len);
            g_assert_cmpint(hdr.gso_type, ==, len > 1514 ?
                            VIRTIO_NET_HDR_GSO_TCPV4 :
                            VIRTIO_NET_HDR_GSO_NONE);
            post = le16_to_cpu(hdr.num_buffers);
            g_assert_cmpuint(post, ==, DIV_ROUND_UP(len + r->nic->hdr_len,
                                                    c->size));
            packets++;
            bytes += len;
        }
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", packets);
    dp_wait_counter(r->qts, "vd0", DP_RX, "bytes", bytes);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(long_cases); i++) {
        g_autofree char *path = g_strdup_printf("tap/long/%s",
                                                long_cases[i].name);

        dp_add_test(path, &long_cases[i], test_long);
    }
    dp_add_test("tap/io-uring", NULL, test_io_uring);
    dp_add_test("tap/without-io-uring", NULL, test_without_io_uring);
    dp_add_test("tap/sndbuf", NULL, test_sndbuf);
    return g_test_run();
}
