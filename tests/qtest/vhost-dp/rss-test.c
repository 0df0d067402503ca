/*
 * vhost-dp: qtests of RSS and hash reports
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: vhost-dp-null with loopback=on gives each frame back to
 * the queue pair that sent it, so the test chooses by which pair's driver queue
 * a frame of any flow comes.  Where it has to arrive is computed here, bit by
 * bit.  Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "migrate.h"
#include "rss-flow.h"

#define PAIRS 4

#define BASE_FEATURES \
    (DP_FEATURES_DEFAULT | DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) | \
     DP_FEATURE(VIRTIO_NET_F_MQ))
#define RSS_FEATURES (BASE_FEATURES | DP_FEATURE(VIRTIO_NET_F_RSS))

#define RX(pair) (2 * (pair))
#define TX(pair) (2 * (pair) + 1)

#define BUFFER_BYTES 2048
#define MAX_HDR 20
#define BATCH 32

static uint8_t try_rss(DpNic *nic, const Rss *rss)
{
    g_autofree uint8_t *command = g_malloc0(1024);
    size_t len = dp_rss_command(rss, command);

    return dp_nic_ctrl(nic, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG,
                       command, len);
}

static void set_rss(DpNic *nic, const Rss *rss)
{
    g_assert_cmpuint(try_rss(nic, rss), ==, VIRTIO_NET_OK);
}

static unsigned expected_pair(const Rss *rss, const Flow *f)
{
    return f->report ?
           rss->table[dp_toeplitz(rss->key, f->input, f->input_len) &
                      (rss->len - 1)] : rss->unclassified;
}

/* ---- The guest ---- */

typedef struct RssRig {
    DpGuest *guest;
    QTestState *qts;
    DpNic *nic;
} RssRig;

static void post(RssRig *r, unsigned pair)
{
    DpQueue *q = &r->nic->queue[RX(pair)];
    unsigned i;

    for (i = 0; i < q->pci.vq.size; i++) {
        DpBuf buf = {
            .addr = dp_alloc(r->guest, BUFFER_BYTES),
            .len = BUFFER_BYTES,
            .write = true,
        };

        dp_add(q, &buf, 1);
    }
    dp_publish(q);
}

static RssRig *rig_new(uint64_t features, const char *netdev)
{
    RssRig *r = g_new0(RssRig, 1);

    r->guest = dp_guest_new("-object iothread,id=t0 -object iothread,id=t1 "
                            "-object vhost-dp-null,id=n0,loopback=on "
                            "-netdev vhost-dp,id=vd0,driver=n0,queues=%u,%s "
                            DP_DEVICE "disable-legacy=on,mq=on,rss=on,hash=on",
                            PAIRS, netdev);
    r->qts = r->guest->qts;
    r->nic = dp_nic_new(r->guest, DP_SLOT, features);
    g_assert_cmpuint(r->nic->max_pairs, ==, PAIRS);
    return r;
}

static void post_all(RssRig *r)
{
    unsigned i;

    for (i = 0; i < PAIRS; i++) {
        post(r, i);
    }
}

static void rig_free(RssRig *r)
{
    dp_nic_free(r->nic);
    dp_guest_free(r->guest);
    g_free(r);
}

/* Sends frames on one pair, and waits until they are used */
static void transmit(RssRig *r, unsigned pair, const Flow *flows, unsigned n)
{
    DpQueue *q = &r->nic->queue[TX(pair)];
    size_t room = r->nic->hdr_len + sizeof(flows->data);
    uint64_t addr = dp_alloc(r->guest, n * room);
    unsigned i;

    for (i = 0; i < n; i++) {
        DpBuf buf = {
            .addr = addr + i * room,
            .len = r->nic->hdr_len + flows[i].len,
        };
        uint8_t *p = dp_host(r->guest, buf.addr);

        memset(p, 0, r->nic->hdr_len);
        memcpy(p + r->nic->hdr_len, flows[i].data, flows[i].len);
        dp_add(q, &buf, 1);
    }
    dp_publish(q);
    for (i = 0; i < n; i++) {
        dp_wait_used(q, NULL);
    }
    guest_free(&r->guest->alloc, addr);
}

/*
 * Waits for a frame on a pair: the header, and the number.  Its buffer is
 * available again with the next dp_publish().
 */
static uint32_t take_one(RssRig *r, unsigned pair, uint8_t *hdr)
{
    DpQueue *q = &r->nic->queue[RX(pair)];
    uint32_t len, number;
    uint16_t id = dp_wait_used(q, &len);
    const uint8_t *p = dp_host(r->guest, dp_first_buf(q, id)->addr);

    g_assert_cmpuint(len, >=, r->nic->hdr_len + 60);
    memcpy(hdr, p, r->nic->hdr_len);
    number = ldl_be_p(p + r->nic->hdr_len + 8);
    dp_add_again(q, id);
    return number;
}

static uint32_t receive(RssRig *r, unsigned pair, uint8_t *hdr)
{
    uint32_t number = take_one(r, pair, hdr);

    dp_publish(&r->nic->queue[RX(pair)]);
    return number;
}

static bool is_quiet(RssRig *r)
{
    unsigned i;

    for (i = 0; i < PAIRS; i++) {
        if (dp_has_used(&r->nic->queue[RX(i)])) {
            return false;
        }
    }
    return true;
}

static void check_header(RssRig *r, const Rss *rss, const Flow *f,
                         const uint8_t *hdr)
{
    static const uint8_t zeros[10];

    g_assert_cmpmem(hdr, 10, zeros, 10);
    if (!r->nic->queue[RX(0)].stock) {
        /* Without VIRTIO_NET_F_MRG_RXBUF virtio.c leaves it as it was */
        g_assert_cmpuint(lduw_le_p(hdr + 10), ==, 1);
    }
    if (r->nic->hdr_len < MAX_HDR) {
        return;
    }
    g_assert_cmpuint(lduw_le_p(hdr + 16), ==, f->report);
    g_assert_cmpuint(lduw_le_p(hdr + 18), ==, 0);
    g_assert_cmphex((uint32_t)ldl_le_p(hdr + 12), ==, f->report ?
                    dp_toeplitz(rss->key, f->input, f->input_len) : 0);
}

/* Batches of random flows, each by a random pair, arrive where they have to */
static void check_flows(RssRig *r, const Rss *rss, unsigned batches)
{
    g_autofree Flow *flows = g_new(Flow, BATCH);
    uint8_t hdr[MAX_HDR];
    unsigned i, pair;

    while (batches--) {
        unsigned due[PAIRS] = {};
        bool seen[BATCH] = {};

        for (i = 0; i < BATCH; i++) {
            dp_random_flow(&flows[i]);
            dp_flow_set_number(&flows[i], i);
            due[expected_pair(rss, &flows[i])]++;
        }
        transmit(r, g_test_rand_int_range(0, rss->max_tx), flows, BATCH);
        for (pair = 0; pair < PAIRS; pair++) {
            for (i = 0; i < due[pair]; i++) {
                uint32_t number = receive(r, pair, hdr);

                g_assert_cmpuint(number, <, BATCH);
                g_assert_false(seen[number]);
                seen[number] = true;
                g_assert_cmpuint(expected_pair(rss, &flows[number]), ==, pair);
                check_header(r, rss, &flows[number], hdr);
            }
        }
        g_assert_true(is_quiet(r));
    }
}

static uint64_t counter(RssRig *r, unsigned queue, const char *name)
{
    return dp_counter(r->qts, "vd0", queue, name);
}

/* ---- Tests ---- */

static void run_flows(const char *netdev, uint64_t features)
{
    RssRig *r = rig_new(features, netdev);
    uint64_t steered = 0;
    unsigned round, i;
    Rss rss;

    post_all(r);
    for (round = 0; round < 6; round++) {
        dp_random_rss(&rss, PAIRS);
        set_rss(r->nic, &rss);
        check_flows(r, &rss, 30);
    }
    for (i = 0; i < PAIRS; i++) {
        steered += counter(r, RX(i), "steered-packets");
        g_assert_cmpuint(counter(r, RX(i), "drop:queue-full"), ==, 0);
    }
    g_assert_cmpuint(steered, >, 6 * 30 * BATCH / 4);
    rig_free(r);
}

/* Section 5.1.6.5.7: the pair of each flow, by each pair's driver */
static void test_flows(const void *opaque)
{
    run_flows(opaque, RSS_FEATURES);
}

/* Section 5.1.6.4.4: the same with 20 bytes of header */
static void test_hash_report(const void *opaque)
{
    run_flows(opaque, RSS_FEATURES | DP_FEATURE(VIRTIO_NET_F_HASH_REPORT));
}

/* Section 5.1.6.5.6.4: hashes without RSS, on the pair that received it */
static void test_hash_config(const void *opaque)
{
    RssRig *r = rig_new(BASE_FEATURES | DP_FEATURE(VIRTIO_NET_F_HASH_REPORT),
                        opaque);
    uint8_t command[4 + 8 + 1 + DP_RSS_KEY] = {};
    uint8_t hdr[MAX_HDR];
    Rss rss = {};
    unsigned i;
    Flow f;

    post_all(r);
    dp_nic_set_pairs(r->nic, PAIRS);
    for (i = 0; i < 20; i++) {
        unsigned pair = i % PAIRS;

        dp_random_flow(&f);
        dp_flow_set_number(&f, i);
        transmit(r, pair, &f, 1);
        g_assert_cmpuint(receive(r, pair, hdr), ==, i);
        if (i < 10) {
            /* Nothing is configured yet */
            f.report = VIRTIO_NET_HASH_REPORT_NONE;
        }
        check_header(r, &rss, &f, hdr);
        if (i == 9) {
            dp_random_bytes(rss.key, DP_RSS_KEY);
            stl_le_p(command, DP_RSS_TYPES);
            command[12] = DP_RSS_KEY;
            memcpy(command + 13, rss.key, DP_RSS_KEY);
            g_assert_cmpuint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_MQ,
                                         VIRTIO_NET_CTRL_MQ_HASH_CONFIG,
                                         command, sizeof(command)),
                             ==, VIRTIO_NET_OK);
        }
    }
    rig_free(r);
}

/* The guest changes its mind: a shorter key ends in zeros, types are fewer */
static void test_key_and_types(const void *opaque)
{
    RssRig *r = rig_new(RSS_FEATURES | DP_FEATURE(VIRTIO_NET_F_HASH_REPORT),
                        opaque);
    uint8_t hdr[MAX_HDR];
    unsigned i;
    Flow f;
    Rss rss;

    post_all(r);
    dp_random_rss(&rss, PAIRS);
    set_rss(r->nic, &rss);
    check_flows(r, &rss, 2);
    rss.key_len = 16;
    memset(rss.key + 16, 0, DP_RSS_KEY - 16);
    set_rss(r->nic, &rss);
    check_flows(r, &rss, 4);
    /* Only TCP: all others are not classified */
    rss.types = VIRTIO_NET_RSS_HASH_TYPE_TCPv4 |
                VIRTIO_NET_RSS_HASH_TYPE_TCPv6;
    set_rss(r->nic, &rss);
    for (i = 0; i < 100; i++) {
        dp_random_flow(&f);
        dp_flow_set_number(&f, i);
        if (f.report != VIRTIO_NET_HASH_REPORT_TCPv4 &&
            f.report != VIRTIO_NET_HASH_REPORT_TCPv6) {
            f.report = VIRTIO_NET_HASH_REPORT_NONE;
        }
        transmit(r, i % PAIRS, &f, 1);
        g_assert_cmpuint(receive(r, expected_pair(&rss, &f), hdr), ==, i);
        check_header(r, &rss, &f, hdr);
    }
    rig_free(r);
}

/* A malformed command is refused, and what was configured before holds */
static void test_malformed(const void *opaque)
{
    RssRig *r = rig_new(RSS_FEATURES, opaque);
    static const unsigned lens[] = { 3, 100, 127, 256, 0x8000, 0x10000 };
    g_autofree uint8_t *command = g_malloc0(1024);
    uint16_t pairs;
    unsigned i;
    size_t len;
    Rss good, bad;

    post_all(r);
    dp_random_rss(&good, PAIRS);
    set_rss(r->nic, &good);
    check_flows(r, &good, 2);

    for (i = 0; i < ARRAY_SIZE(lens); i++) {
        len = dp_rss_command(&good, command);
        stw_le_p(command + 4, lens[i] - 1);
        g_assert_cmpuint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_MQ,
                                     VIRTIO_NET_CTRL_MQ_RSS_CONFIG,
                                     command, 1024), ==, VIRTIO_NET_ERR);
    }
    for (i = 0; i < good.len; i += 7) {
        bad = good;
        bad.table[i] = i & 1 ? PAIRS : 0xffff;
        g_assert_cmpuint(try_rss(r->nic, &bad), ==, VIRTIO_NET_ERR);
    }
    bad = good;
    bad.unclassified = PAIRS;
    g_assert_cmpuint(try_rss(r->nic, &bad), ==, VIRTIO_NET_ERR);
    bad = good;
    bad.max_tx = 0;
    g_assert_cmpuint(try_rss(r->nic, &bad), ==, VIRTIO_NET_ERR);
    bad.max_tx = PAIRS + 1;
    g_assert_cmpuint(try_rss(r->nic, &bad), ==, VIRTIO_NET_ERR);
    bad = good;
    bad.key_len = DP_RSS_KEY + 1;
    g_assert_cmpuint(try_rss(r->nic, &bad), ==, VIRTIO_NET_ERR);
    bad.key_len = 0;
    g_assert_cmpuint(try_rss(r->nic, &bad), ==, VIRTIO_NET_ERR);
    /* Cut off anywhere */
    len = dp_rss_command(&good, command);
    for (i = 0; i < len; i++) {
        g_assert_cmpuint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_MQ,
                                     VIRTIO_NET_CTRL_MQ_RSS_CONFIG,
                                     command, i), ==, VIRTIO_NET_ERR);
    }
    /* Its brothers: what was not negotiated, and numbers of pairs */
    g_assert_cmpuint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_MQ,
                                 VIRTIO_NET_CTRL_MQ_HASH_CONFIG, command, len),
                     ==, VIRTIO_NET_ERR);
    g_assert_cmpuint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_MQ, 77, command, len),
                     ==, VIRTIO_NET_ERR);
    for (i = 0; i < 2; i++) {
        pairs = cpu_to_le16(i ? PAIRS + 1 : 0);
        g_assert_cmpuint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_MQ,
                                     VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
                                     &pairs, sizeof(pairs)), ==,
                         VIRTIO_NET_ERR);
    }
    check_flows(r, &good, 4);
    rig_free(r);
}

/* Frames come to the pair that received them */
static void check_unsteered(RssRig *r, unsigned pairs)
{
    uint8_t hdr[MAX_HDR];
    unsigned i;
    Flow f;

    for (i = 0; i < 16; i++) {
        dp_random_flow(&f);
        dp_flow_set_number(&f, i);
        transmit(r, i % pairs, &f, 1);
        g_assert_cmpuint(receive(r, i % pairs, hdr), ==, i);
    }
    g_assert_true(is_quiet(r));
}

/* RSS ends with other commands, and with a reset */
static void test_end(const void *opaque)
{
    RssRig *r = rig_new(RSS_FEATURES, opaque);
    Rss rss, none = { .len = 1, .max_tx = PAIRS };

    post_all(r);
    dp_random_rss(&rss, PAIRS);
    set_rss(r->nic, &rss);
    check_flows(r, &rss, 1);
    dp_nic_set_pairs(r->nic, PAIRS);
    check_unsteered(r, PAIRS);
    set_rss(r->nic, &rss);
    check_flows(r, &rss, 1);
    /* No types, and no key */
    set_rss(r->nic, &none);
    check_unsteered(r, PAIRS);
    set_rss(r->nic, &rss);

    dp_nic_reset(r->nic);
    dp_nic_start(r->nic, RSS_FEATURES);
    post_all(r);
    dp_nic_set_pairs(r->nic, PAIRS);
    check_unsteered(r, PAIRS);
    set_rss(r->nic, &rss);
    check_flows(r, &rss, 1);
    rig_free(r);
}

/* The guest uses fewer pairs, and more again */
static void test_fewer_pairs(const void *opaque)
{
    RssRig *r = rig_new(RSS_FEATURES, opaque);
    unsigned pairs, i;
    Rss rss;

    post_all(r);
    for (pairs = 1; pairs <= PAIRS; pairs++) {
        dp_random_rss(&rss, PAIRS);
        rss.max_tx = pairs;
        rss.unclassified %= pairs;
        for (i = 0; i < rss.len; i++) {
            rss.table[i] %= pairs;
        }
        set_rss(r->nic, &rss);
        check_flows(r, &rss, 4);
    }
    rss.max_tx = 1;
    rss.unclassified = 0;
    memset(rss.table, 0, sizeof(rss.table));
    set_rss(r->nic, &rss);
    check_flows(r, &rss, 4);
    rig_free(r);
}

/*
 * Takes the frames that the dry pair has got: those that one pair's driver
 * received come in order.  Returns how many were delivered or lost so far, or 0
 * if some of them had come.
 */
static uint64_t dry_receive(RssRig *r, uint32_t *next, uint64_t *got)
{
    DpQueue *q = &r->nic->queue[RX(1)];
    uint8_t hdr[MAX_HDR];
    bool more = dp_has_used(q);

    while (dp_has_used(q)) {
        uint32_t number = take_one(r, 1, hdr);
        unsigned from = number / BATCH % PAIRS;

        g_assert_cmpuint(number, >=, next[from]);
        next[from] = number + 1;
        (*got)++;
    }
    if (more) {
        /* It may have kept thousands of frames: there is no hurry to count */
        dp_publish(q);
        return 0;
    }
    return *got + counter(r, RX(1), "drop:queue-full");
}

/*
 * Pair 1 has no buffers: its frames are lost when there are too many, and the
 * others come, also those that its own driver queue has received
 */
static void test_dry(const void *opaque)
{
    RssRig *r = rig_new(RSS_FEATURES, opaque);
    g_autofree Flow *flows = g_new(Flow, BATCH);
    uint8_t hdr[MAX_HDR];
    unsigned round, i, from, pair;
    uint32_t next[PAIRS] = {};
    uint64_t waits = 0, got = 0;
    Rss rss;

    for (pair = 0; pair < PAIRS; pair++) {
        if (pair != 1) {
            post(r, pair);
        }
    }
    dp_random_rss(&rss, PAIRS);
    rss.len = DP_RSS_TABLE;
    for (i = 0; i < DP_RSS_TABLE; i++) {
        rss.table[i] = i % PAIRS;
    }
    set_rss(r->nic, &rss);
    for (round = 0; round < 1200; round++) {
        unsigned due[PAIRS] = {};

        from = round % PAIRS;
        for (i = 0; i < BATCH; i++) {
            dp_random_flow(&flows[i]);
            dp_flow_set_number(&flows[i], round * BATCH + i);
            due[expected_pair(&rss, &flows[i])]++;
        }
        transmit(r, from, flows, BATCH);
        for (pair = 0; pair < PAIRS; pair++) {
            for (i = 0; pair != 1 && i < due[pair]; i++) {
                receive(r, pair, hdr);
            }
        }
        waits += due[1];
    }
    /* The oldest of them wait.  The newest may be on their way still. */
    post(r, 1);
    dp_wait_until_for(DP_LONG_TIMEOUT_US, dry_receive(r, next, &got) == waits);
    g_assert_cmpuint(got, >, 0);
    g_assert_cmpuint(got, <, waits);
    g_assert_true(is_quiet(r));
    dp_random_rss(&rss, PAIRS);
    set_rss(r->nic, &rss);
    check_flows(r, &rss, 4);
    rig_free(r);
}

/* Makes frames of one flow available, numbered from *@number on */
static void begin_send(RssRig *r, unsigned pair, Flow *f, unsigned n,
                       uint32_t *number)
{
    DpQueue *q = &r->nic->queue[TX(pair)];
    size_t room = r->nic->hdr_len + sizeof(f->data);
    uint64_t addr = dp_alloc(r->guest, n * room);
    unsigned i;

    for (i = 0; i < n; i++) {
        DpBuf buf = {
            .addr = addr + i * room,
            .len = r->nic->hdr_len + f->len,
        };
        uint8_t *p = dp_host(r->guest, buf.addr);

        dp_flow_set_number(f, (*number)++);
        memset(p, 0, r->nic->hdr_len);
        memcpy(p + r->nic->hdr_len, f->data, f->len);
        dp_add(q, &buf, 1);
    }
    dp_publish(q);
}

/* Takes what a pair has received.  Returns the highest number, or -1. */
static int take(RssRig *r, unsigned pair, bool *seen)
{
    DpQueue *q = &r->nic->queue[RX(pair)];
    uint16_t id;
    int last = -1;

    while (dp_get_used(q, &id, NULL)) {
        const uint8_t *p = dp_host(r->guest, dp_first_buf(q, id)->addr);
        int number = ldl_be_p(p + r->nic->hdr_len + 8);

        g_assert_cmpint(number, >, last);
        g_assert_false(seen[number]);
        seen[number] = true;
        last = number;
        dp_add_again(q, id);
    }
    if (last >= 0) {
        dp_publish(q);
    }
    return last;
}

/*
 * One flow, whose pair changes while frames are on their way: when the guest
 * has a frame, it has all earlier ones, and none is lost
 */
static void test_order(const void *opaque)
{
    RssRig *r = rig_new(RSS_FEATURES, opaque);
    const unsigned rounds = 400, each = 2 * DP_RING_SIZE / 4;
    const unsigned total = rounds * each;
    g_autofree bool *seen = g_new0(bool, total);
    uint32_t sent = 0;
    unsigned round, pair, i, complete = 0;
    uint16_t id;
    Flow f;
    Rss rss;

    post_all(r);
    do {
        dp_random_flow(&f);
    } while (!f.report);
    dp_random_rss(&rss, PAIRS);
    set_rss(r->nic, &rss);
    for (round = 0; round < rounds; round++) {
        begin_send(r, 2, &f, each / 2, &sent);
        for (i = 0; i < rss.len; i++) {
            rss.table[i] = g_test_rand_int_range(0, PAIRS);
        }
        set_rss(r->nic, &rss);
        begin_send(r, 2, &f, each / 2, &sent);
        while (complete < sent) {
            int last = -1;

            for (pair = 0; pair < PAIRS; pair++) {
                last = MAX(last, take(r, pair, seen));
            }
            /* Now that the newest is known, the older ones have to be there */
            for (pair = 0; pair < PAIRS; pair++) {
                take(r, pair, seen);
            }
            for (i = complete; (int)i <= last; i++) {
                g_assert_true(seen[i]);
            }
            while (complete < sent && seen[complete]) {
                complete++;
            }
            while (dp_get_used(&r->nic->queue[TX(2)], &id, NULL)) {
                /* Its buffer is not used again */
            }
        }
    }
    for (pair = 0; pair < PAIRS; pair++) {
        g_assert_cmpuint(counter(r, RX(pair), "drop:queue-full"), ==, 0);
    }
    rig_free(r);
}

/* Random flows from the host come to their pairs, with their hashes */
static void check_flows_of_host(DpRig *rig, const Rss *rss)
{
    RssRig r = { .guest = rig->guest, .qts = rig->qts, .nic = rig->nic };
    uint8_t hdr[MAX_HDR];
    unsigned i;
    Flow f;

    for (i = 0; i < 50; i++) {
        dp_random_flow(&f);
        dp_flow_set_number(&f, i);
        dp_sock_send(rig->sock, NULL, f.data, f.len);
        g_assert_cmpuint(receive(&r, expected_pair(rss, &f), hdr), ==, i);
        check_header(&r, rss, &f, hdr);
    }
}

/* virtio.c reports packets without extension headers as if they had some */
static void random_rss_without_ex(Rss *rss)
{
    dp_random_rss(rss, PAIRS);
    rss->types &= ~(VIRTIO_NET_RSS_HASH_TYPE_IP_EX |
                    VIRTIO_NET_RSS_HASH_TYPE_TCP_EX |
                    VIRTIO_NET_RSS_HASH_TYPE_UDP_EX);
}

/* To stock QEMU's tap, which has RSS in its main loop, and back */
static void test_migration(const void *opaque)
{
    static const char stock[] = "-netdev tap,id=vd0,ifname=tap0,script=no,"
                                "downscript=no,vhost=off,queues=4";
    DpSetup setup = {
        .pairs = PAIRS, .device = "rss=on,hash=on",
        .features = DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                    DP_FEATURE(VIRTIO_NET_F_RSS) |
                    DP_FEATURE(VIRTIO_NET_F_HASH_REPORT),
    };
    DpRig *rig = dp_rig_start(&setup, false);
    g_autofree char *ours = dp_migrate_tap("tap0", PAIRS);
    RssRig r = { .guest = rig->guest, .qts = rig->qts, .nic = rig->nic };
    unsigned round, i;
    Rss rss;

    post_all(&r);
    random_rss_without_ex(&rss);
    set_rss(rig->nic, &rss);
    check_flows_of_host(rig, &rss);
    for (round = 0; round < 4; round++) {
        bool to_stock = round % 2 == 0;

        close(rig->sock);
        dp_migrate_by_file(rig, to_stock ? stock : ours, false);
        for (i = 0; i < 2 * PAIRS; i++) {
            rig->nic->queue[i].stock = to_stock;
        }
        rig->sock = dp_sock_open("tap0", false);
        check_flows_of_host(rig, &rss);
        if (round == 1) {
            /* And with what was set by stock QEMU's */
            random_rss_without_ex(&rss);
            set_rss(rig->nic, &rss);
            check_flows_of_host(rig, &rss);
        }
    }
    dp_rig_free(rig);
}

int main(int argc, char **argv)
{
    static const char each[] = "iothread-vq-mapping.0.iothread=t0,"
                               "iothread-vq-mapping.1.iothread=t1";
    static const char one[] = "iothread=t0";
    static const char polling[] = "busy-poll-us=50";

    dp_test_init(&argc, &argv);
    dp_add_ring_test("flows/two-iothreads", each, test_flows);
    dp_add_test("flows/one-iothread", one, test_flows);
    dp_add_test("flows/polling", polling, test_flows);
    dp_add_ring_test("hash-report/rss", each, test_hash_report);
    dp_add_ring_test("hash-report/without-rss", each, test_hash_config);
    dp_add_test("key-and-types", each, test_key_and_types);
    dp_add_test("malformed", each, test_malformed);
    dp_add_test("end", each, test_end);
    dp_add_test("fewer-pairs", each, test_fewer_pairs);
    dp_add_ring_test("order", each, test_order);
    dp_add_test("order-polling", polling, test_order);
    dp_add_ring_test("dry", each, test_dry);
    dp_add_test("dry-polling", polling, test_dry);
    dp_add_ring_test("migration", NULL, test_migration);
    return g_test_run();
}
