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

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_test("tap/io-uring", NULL, test_io_uring);
    dp_add_test("tap/without-io-uring", NULL, test_without_io_uring);
    dp_add_test("tap/sndbuf", NULL, test_sndbuf);
    return g_test_run();
}
