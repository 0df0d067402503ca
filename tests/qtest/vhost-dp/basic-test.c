/*
 * vhost-dp: qtests of the data path
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A virtio-net device on a vhost-dp netdev and a tap interface: frames go from
 * a small driver (guest.c) to a packet socket on the interface and
 * back.  Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "guest.h"

static void check_next_frame(DpRig *r, const void *want, size_t len)
{
    size_t got_len = dp_sock_recv(r->sock, 0, NULL, r->got, DP_MAX_FRAME,
                                  DP_TIMEOUT_US);

    dp_assert_frame(r->got, got_len, want, len);
}

/* ---- Frames of all sizes, in all ways to negotiate ---- */

/* Frames that @move moves by queue @queue: each arrives, and is counted */
static void check_sizes(const void *opaque, unsigned queue,
                        void (*move)(DpNic *nic, int sock, size_t len,
                                     unsigned seed))
{
    static const size_t sizes[] = { 14, 15, 60, 64, 256, 257, 1000, 1514 };
    DpRig *r = dp_rig_start(opaque, false);
    uint64_t bytes = 0;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        move(r->nic, r->sock, sizes[i], i);
        bytes += sizes[i];
    }
    dp_wait_counter(r->qts, "vd0", queue, "packets", ARRAY_SIZE(sizes));
    dp_wait_counter(r->qts, "vd0", queue, "bytes", bytes);
    dp_rig_free(r);
}

static void test_transmit(const void *opaque)
{
    check_sizes(opaque, DP_TX, dp_check_transmit);
}

static void test_receive(const void *opaque)
{
    check_sizes(opaque, DP_RX, dp_check_receive);
}

/* More frames than the ring has entries, so that all indices wrap */
static void test_many(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    unsigned n = 3 * r->tx->pci.vq.size / 2 + 5;
    unsigned i;

    for (i = 0; i < n; i++) {
        dp_check_transmit(r->nic, r->sock, 60 + i % 200, i);
        dp_check_receive(r->nic, r->sock, 60 + i % 200, i + 1);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", n);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", n);
    dp_rig_free(r);
}

/* A full ring of frames at once, in order */
static void test_burst(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    unsigned n = DP_RING_SIZE;
    size_t size = r->nic->hdr_len + 100;
    uint64_t addr = dp_alloc(r->guest, n * size);
    unsigned i, round;

    for (round = 0; round < 3; round++) {
        for (i = 0; i < n; i++) {
            DpBuf buf = { .addr = addr + i * size, .len = size };
            uint8_t *p = dp_host(r->guest, buf.addr);

            memset(p, 0, r->nic->hdr_len);
            dp_make_frame(p + r->nic->hdr_len, 100, i);
            dp_add(r->tx, &buf, 1);
        }
        dp_publish(r->tx);
        for (i = 0; i < n; i++) {
            dp_wait_used(r->tx, NULL);
            dp_make_frame(r->frame, 100, i);
            check_next_frame(r, r->frame, 100);
        }

        addr = dp_post(r->nic, n, size);
        for (i = 0; i < n; i++) {
            dp_make_frame(r->frame, 100, i);
            dp_sock_send(r->sock, NULL, r->frame, 100);
        }
        for (i = 0; i < n; i++) {
            size_t len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

            dp_make_frame(r->frame, 100, i);
            dp_assert_frame(r->got, len, r->frame, 100);
        }
    }
    dp_rig_free(r);
}

/* ---- Several queue pairs ---- */

/* The kernel chooses the queue that a frame goes to */
static void check_receive_on_any(DpRig *r, size_t len, unsigned seed)
{
    unsigned pair = 0;
    size_t got_len;

    dp_make_frame(r->frame, len, seed);
    dp_sock_send(r->sock, NULL, r->frame, len);
    dp_wait_until(dp_has_used(&r->nic->queue[2 * pair + DP_RX]) ||
                  (pair = (pair + 1) % r->pairs, false));
    got_len = dp_receive_on(r->nic, pair, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, got_len, r->frame, len);
    dp_post_on(r->nic, pair, 1, 2048);
}

/* Each sends, and what arrives does so once; over the end of the rings */
static void test_pairs(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    const unsigned n = DP_RING_SIZE + 5;
    unsigned i, pair;
    uint64_t received = 0;

    for (pair = 0; pair < r->pairs; pair++) {
        dp_post_on(r->nic, pair, 8, 2048);
    }
    for (i = 0; i < n; i++) {
        for (pair = 0; pair < r->pairs; pair++) {
            dp_check_transmit_on(r->nic, pair, r->sock, 60 + i,
                                 r->pairs * i + pair);
        }
        check_receive_on_any(r, 60 + i, i);
    }
    for (pair = 0; pair < r->pairs; pair++) {
        dp_wait_counter(r->qts, "vd0", 2 * pair + DP_TX, "packets", n);
        received += dp_counter(r->qts, "vd0", 2 * pair + DP_RX, "packets");
        g_assert_false(dp_has_used(&r->nic->queue[2 * pair + DP_RX]));
    }
    g_assert_cmpuint(received, ==, n);
    dp_rig_free(r);
}

/* ---- The shape of chains ---- */

/* Put @n bytes of header and frame into buffers cut at the lengths in @cut */
static unsigned scatter(DpRig *r, DpBuf *bufs, const size_t *cut,
                        const uint8_t *bytes, size_t n, bool write)
{
    unsigned k = 0;

    while (n) {
        size_t len = *cut && *cut < n ? *cut++ : n;

        /* Not one behind the other */
        bufs[k].addr = dp_alloc(r->guest, len + 64) + 3;
        bufs[k].len = len;
        bufs[k].write = write;
        if (!write) {
            memcpy(dp_host(r->guest, bufs[k].addr), bytes, len);
            bytes += len;
        }
        n -= len;
        k++;
    }
    return k;
}

static void gather(DpRig *r, const DpBuf *bufs, size_t n, uint8_t *to)
{
    while (n) {
        size_t len = MIN(n, bufs->len);

        memcpy(to, dp_host(r->guest, bufs->addr), len);
        to += len;
        n -= len;
        bufs++;
    }
}

#define MAX_BUFS 64

static void check_shape(DpRig *r, const size_t *cut, bool indirect,
                        unsigned seed)
{
    size_t len = 700;
    size_t total = r->nic->hdr_len + len;
    g_autofree uint8_t *bytes = g_malloc0(total);
    DpBuf bufs[MAX_BUFS];
    unsigned n;
    uint32_t used;
    uint16_t head;

    dp_make_frame(r->frame, len, seed);
    memcpy(bytes + r->nic->hdr_len, r->frame, len);
    n = scatter(r, bufs, cut, bytes, total, false);
    head = indirect ? dp_add_indirect(r->tx, bufs, n) :
                      dp_add(r->tx, bufs, n);
    dp_publish(r->tx);
    g_assert_cmpuint(dp_wait_used(r->tx, NULL), ==, head);
    check_next_frame(r, r->frame, len);

    n = scatter(r, bufs, cut, NULL, total, true);
    head = indirect ? dp_add_indirect(r->rx, bufs, n) :
                      dp_add(r->rx, bufs, n);
    dp_publish(r->rx);
    dp_sock_send(r->sock, NULL, r->frame, len);
    g_assert_cmpuint(dp_wait_used(r->rx, &used), ==, head);
    g_assert_cmpuint(used, ==, total);
    gather(r, bufs, total, bytes);
    dp_assert_frame(bytes + r->nic->hdr_len, len, r->frame, len);
}

/* Section 2.7.4: no assumption about where the header ends (any layout) */
static void test_shapes(const void *opaque)
{
    static const size_t cuts[][MAX_BUFS] = {
        { 12 }, { 10 }, { 4, 4, 4 }, { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
        { 5 }, { 11, 2 }, { 13 }, { 12, 14 }, { 12, 1, 1, 300 },
        { 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6 },
    };
    DpRig *r = dp_rig_start(opaque, false);
    bool indirect = r->nic->features &
                    DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(cuts); i++) {
        check_shape(r, cuts[i], false, i);
        if (indirect) {
            check_shape(r, cuts[i], true, i + 100);
        }
    }
    dp_rig_free(r);
}

/* ---- VIRTIO_F_IN_ORDER ---- */

/* One used element for many chains, and lengths where there are any */
static void test_in_order(const void *opaque)
{
    DpRig *r = dp_rig_new(DP_FEATURE(VIRTIO_F_IN_ORDER) |
                          DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    const unsigned n = DP_RING_SIZE / 2;
    size_t len = 100;
    unsigned round, i;

    for (round = 0; round < 5; round++) {
        uint64_t first = dp_alloc(r->guest, n * 256);

        for (i = 0; i < n; i++) {
            DpBuf buf = { first + i * 256, r->nic->hdr_len + len + i };
            uint8_t *p = dp_host(r->guest, buf.addr);

            memset(p, 0, r->nic->hdr_len);
            dp_make_frame(p + r->nic->hdr_len, len + i, i);
            g_assert_cmpuint(dp_add(r->tx, &buf, 1), <, DP_RING_SIZE);
        }
        dp_publish(r->tx);
        for (i = 0; i < n; i++) {
            uint16_t id = dp_wait_used(r->tx, NULL);

            g_assert_cmphex(dp_first_buf(r->tx, id)->addr, ==,
                            first + i * 256);
            dp_make_frame(r->frame, len + i, i);
            g_assert_cmpuint(dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                          DP_MAX_FRAME, DP_TIMEOUT_US), ==,
                             len + i);
            dp_assert_frame(r->got, len + i, r->frame, len + i);
        }

        dp_post(r->nic, n, 128);
        for (i = 0; i < 10; i++) {
            size_t got;

            dp_make_frame(r->frame, 60 + 20 * i, i);
            dp_sock_send(r->sock, NULL, r->frame, 60 + 20 * i);
            got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
            dp_assert_frame(r->got, got, r->frame, 60 + 20 * i);
        }
        while (r->rx->nfree < DP_RING_SIZE) {
            dp_sock_send(r->sock, NULL, r->frame, 60);
            dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        }
    }
    dp_rig_free(r);
}

/* ---- Frames that are too short or too long ---- */

static void test_bad_length(const void *opaque)
{
    DpRig *r = dp_rig_new(0);

    dp_make_frame(r->frame, 69000, 1);
    dp_transmit(r->nic, NULL, r->frame, 0);
    dp_transmit(r->nic, NULL, r->frame, 13);
    dp_wait_counter(r->qts, "vd0", DP_TX, "drop:too-short", 2);
    dp_transmit(r->nic, NULL, r->frame, 65565);
    dp_transmit(r->nic, NULL, r->frame, 69000);
    dp_wait_counter(r->qts, "vd0", DP_TX, "drop:too-large", 2);
    dp_check_transmit(r->nic, r->sock, 14, 2);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 1);
    dp_rig_free(r);
}

/* The longest frames that Linux moves through a tap interface */
static void test_jumbo(const void *opaque)
{
    const size_t len = 65535;
    DpRig *r = dp_rig_start(opaque, false);
    size_t total = r->nic->hdr_len + len;
    g_autofree uint8_t *bytes = g_malloc0(total);
    size_t cut[MAX_BUFS] = {};
    DpBuf bufs[MAX_BUFS];
    unsigned i, n;
    uint32_t used;

    dp_if_set_mtu("tap0", len - 14);
    for (i = 0; i < 40; i++) {
        cut[i] = i % 2 ? 1500 : 1237;
    }
    dp_make_frame(r->frame, len, 1);
    memcpy(bytes + r->nic->hdr_len, r->frame, len);

    for (i = 0; i < 10; i++) {
        n = scatter(r, bufs, cut, bytes, total, false);
        dp_add_indirect(r->tx, bufs, n);
        dp_publish(r->tx);
        dp_wait_used(r->tx, NULL);
        check_next_frame(r, r->frame, len);

        n = scatter(r, bufs, cut, NULL, total, true);
        dp_add_indirect(r->rx, bufs, n);
        dp_publish(r->rx);
        dp_sock_send(r->sock, NULL, r->frame, len);
        dp_wait_used(r->rx, &used);
        g_assert_cmpuint(used, ==, total);
        gather(r, bufs, total, bytes);
        dp_assert_frame(bytes + r->nic->hdr_len, len, r->frame, len);
        memset(bytes, 0, r->nic->hdr_len);
    }
    dp_rig_free(r);
}

/* ---- What is shown ---- */

static void test_query(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    QDict *info;
    g_autofree char *text = NULL;
    g_autofree char *state = NULL;

    dp_check_transmit(r->nic, r->sock, 100, 1);
    dp_check_transmit(r->nic, r->sock, 200, 2);
    dp_check_receive(r->nic, r->sock, 300, 3);
    dp_transmit(r->nic, NULL, r->frame, 3);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 2);
    dp_wait_counter(r->qts, "vd0", DP_TX, "bytes", 300);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 1);
    dp_wait_counter(r->qts, "vd0", DP_RX, "bytes", 300);
    dp_wait_counter(r->qts, "vd0", DP_TX, "drop:too-short", 1);
    dp_wait_counter(r->qts, "vd0", DP_TX, "size", DP_RING_SIZE);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "bursts"), ==, 2);

    info = dp_query(r->qts, "vd0");
    g_assert_cmpstr(qdict_get_str(info, "driver"), ==, "tap0");
    g_assert_cmpstr(qdict_get_str(info, "driver-type"), ==, "vhost-dp-tap");
    g_assert_cmpstr(qdict_get_str(info, "interface"), ==, "ifname=tap0");
    g_assert_true(qdict_get_bool(info, "link-up"));
    g_assert_false(qdict_haskey(info, "link-reason"));
    qobject_unref(info);
    g_assert_null(dp_query(r->qts, "vd1"));
    state = dp_queue_state(r->qts, "vd0", DP_TX);
    g_assert_cmpstr(state, ==, "running");

    text = qtest_hmp(r->qts, "info vhost-dp");
    g_test_message("%s", text);
    g_assert_nonnull(strstr(text, "vd0: driver tap0 (vhost-dp-tap)"));
    g_assert_nonnull(strstr(text, "link up"));
    g_assert_nonnull(strstr(text, "running"));
    g_assert_nonnull(strstr(text, "dropped (too-short): 1"));
    dp_rig_free(r);
}

/* ---- What QEMU can be asked about a queue ---- */

/* It is asked for its place: that must not stop it, as a stop does */
static void test_queue_status(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    /* The wrap counter of a packed queue (2.8.1) is in the upper bit */
    unsigned wrap = r->guest->packed ? 1 << 15 : 0;
    unsigned i, queue;

    for (i = 0; i < 3; i++) {
        for (queue = 0; queue < 2; queue++) {
            QDict *status = qtest_qmp_assert_success_ref(r->qts,
                "{ 'execute': 'x-query-virtio-queue-status', 'arguments': {"
                " 'path': '/machine/peripheral/nic/virtio-backend',"
                " 'queue': %u } }", queue);

            g_assert_cmpuint(qdict_get_int(status, "last-avail-idx"), ==,
                             i | wrap);
            qobject_unref(status);
        }
        dp_check_transmit(r->nic, r->sock, 100, i);
        dp_check_receive(r->nic, r->sock, 100, i);
    }
    dp_rig_free(r);
}

/* ---- Self-announcement ---- */

static void check_announce(DpRig *r)
{
    size_t len;

    qtest_qmp_assert_success(r->qts, "{ 'execute': 'announce-self',"
                             " 'arguments': { 'initial': 10, 'max': 100,"
                             " 'rounds': 3, 'step': 10 } }");
    len = dp_sock_recv(r->sock, ETH_P_RARP, NULL, r->got, DP_MAX_FRAME,
                       DP_TIMEOUT_US);
    g_assert_cmpuint(len, >=, 42);
    g_assert_cmpmem(r->got, 6, "\xff\xff\xff\xff\xff\xff", 6);
    /* The NIC's address, as source and inside */
    g_assert_cmpmem(r->got + 6, 6, "\x52\x54\x00\x12\x34\x56", 6);
    g_assert_cmpmem(r->got + 22, 6, "\x52\x54\x00\x12\x34\x56", 6);
}

static void test_announce(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);

    check_announce(r);
    dp_wait_until(dp_counter(r->qts, "vd0", DP_TX, "packets") > 0);
    dp_check_transmit(r->nic, r->sock, 100, 1);
    dp_check_receive(r->nic, r->sock, 100, 2);
    dp_rig_free(r);
}

/* ---- All ways to negotiate ---- */

/* Tests that check both ways, frame by frame */
static void add_ways(const char *name, const DpSetup *setup, bool packed)
{
    static const struct {
        const char *name;
        void (*fn)(const void *opaque);
    } tests[] = {
        { "transmit", test_transmit },
        { "receive", test_receive },
        { "many", test_many },
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", tests[i].name, name);

        if (packed) {
            dp_add_ring_test(path, setup, tests[i].fn);
        } else {
            dp_add_split_test(path, setup, tests[i].fn);
        }
    }
}

/* Each feature that concerns rings, on and off, in all combinations */
static void add_feature_matrix(void)
{
    static const struct {
        const char *name;
        unsigned bit;
    } features[] = {
        { "indirect", VIRTIO_RING_F_INDIRECT_DESC },
        { "event-idx", VIRTIO_RING_F_EVENT_IDX },
        { "mergeable", VIRTIO_NET_F_MRG_RXBUF },
        { "in-order", VIRTIO_F_IN_ORDER },
    };
    static DpSetup setups[1 << ARRAY_SIZE(features)];
    static DpSetup pairs[ARRAY_SIZE(setups)];
    unsigned i, k;

    for (i = 0; i < ARRAY_SIZE(setups); i++) {
        g_autoptr(GString) name = g_string_new(i ? NULL : "modern");

        for (k = 0; k < ARRAY_SIZE(features); k++) {
            if (i & (1u << k)) {
                g_string_append_printf(name, "%s%s", name->len ? "+" : "",
                                       features[k].name);
                setups[i].features |= DP_FEATURE(features[k].bit);
            }
        }
        add_ways(name->str, &setups[i], true);

        pairs[i] = setups[i];
        pairs[i].pairs = 4;
        g_string_prepend(name, "pairs/");
        dp_add_ring_test(name->str, &pairs[i], test_pairs);
    }
}

int main(int argc, char **argv)
{
    static const DpSetup plain;
    static const DpSetup transitional = { .device = "disable-legacy=off" };
    static const DpSetup no_features = {
        .device = "disable-legacy=off,disable-modern=on",
        .bare = true,
    };
    static const DpSetup event_idx = {
        .features = DP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
    };
    static const DpSetup indirect = {
        .features = DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
    };
    static const DpSetup legacy = {
        .device = "disable-legacy=off,disable-modern=on",
        .features = DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
    };

    dp_test_init(&argc, &argv);
    add_feature_matrix();
    add_ways("transitional", &transitional, true);
    add_ways("legacy", &legacy, false);
    add_ways("no-features", &no_features, false);
    dp_add_ring_test("burst/plain", &plain, test_burst);
    dp_add_ring_test("burst/event-idx", &event_idx, test_burst);
    dp_add_ring_test("shapes/plain", &indirect, test_shapes);
    dp_add_split_test("shapes/legacy", &legacy, test_shapes);
    dp_add_ring_test("in-order", NULL, test_in_order);
    dp_add_ring_test("bad-length", NULL, test_bad_length);
    dp_add_ring_test("jumbo/modern", &indirect, test_jumbo);
    dp_add_split_test("jumbo/legacy", &legacy, test_jumbo);
    dp_add_ring_test("query", NULL, test_query);
    dp_add_ring_test("queue-status", NULL, test_queue_status);
    dp_add_ring_test("announce/modern", &plain, test_announce);
    dp_add_split_test("announce/legacy", &legacy, test_announce);
    return g_test_run();
}
