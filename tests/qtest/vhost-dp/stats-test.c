/*
 * vhost-dp: qtests of device statistics
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * VIRTIO_NET_F_DEVICE_STATS: what the guest is told of each queue is what
 * query-vhost-dp has.  The section is 5.1.6.5.11 of the virtio specification,
 * version 1.4.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "commands.h"
#include "guest.h"

#define FEATURES (DP_FEATURE(VIRTIO_NET_F_DEVICE_STATS) | \
                  DP_FEATURE(VIRTIO_NET_F_CTRL_VQ))
#define TYPES (VIRTIO_NET_STATS_TYPE_CVQ | VIRTIO_NET_STATS_TYPE_RX_BASIC | \
               VIRTIO_NET_STATS_TYPE_TX_BASIC)

/* An element of struct virtio_net_ctrl_queue_stats */
typedef struct Request {
    uint16_t index;
    uint16_t reserved[3];
    uint64_t types;
} Request;

typedef struct Basic {
    struct virtio_net_stats_reply_hdr hdr;
    uint64_t kicks, packets, bytes, calls, drops, special;
} Basic;

QEMU_BUILD_BUG_ON(sizeof(Basic) != sizeof(struct virtio_net_stats_rx_basic));
QEMU_BUILD_BUG_ON(sizeof(Basic) != sizeof(struct virtio_net_stats_tx_basic));

static DpRig *rig_new(unsigned pairs)
{
    return dp_rig_start(&(DpSetup) { .device = "device_stats=on",
                                     .pairs = pairs, .features = FEATURES },
                        false);
}

/*
 * A command, with room for @size bytes of answer, which are 0xa5 where the
 * device wrote nothing; *@used is what it says it wrote there.
 */
static uint8_t command(DpNic *nic, uint8_t cmd, const void *data, size_t len,
                       void *answer, size_t size, uint32_t *used)
{
    uint64_t addr = dp_alloc(nic->guest, 3 + len + size);
    uint8_t *p = dp_host(nic->guest, addr);
    DpBuf bufs[] = {
        { .addr = addr, .len = 2 + len },
        { .addr = addr + 2 + len, .len = 1 + size, .write = true },
    };

    p[0] = VIRTIO_NET_CTRL_STATS;
    p[1] = cmd;
    if (len) {
        memcpy(p + 2, data, len);
    }
    memset(p + 2 + len, 0xa5, 1 + size);
    nic->ctrl->stock = true;
    dp_add(nic->ctrl, bufs, ARRAY_SIZE(bufs));
    dp_publish(nic->ctrl);
    dp_wait_used(nic->ctrl, used);
    *used -= 1;
    if (size) {
        memcpy(answer, p + 3 + len, size);
    }
    return p[2 + len];
}

static Request make_request(unsigned index, uint64_t types)
{
    return (Request) { .index = cpu_to_le16(index),
                       .reserved = { 0xffff, 0xffff, 0xffff },
                       .types = cpu_to_le64(types) };
}

static void check_hdr(const struct virtio_net_stats_reply_hdr *hdr,
                      unsigned type, unsigned index, size_t size)
{
    g_assert_cmpuint(hdr->type, ==, type);
    g_assert_cmpuint(le16_to_cpu(hdr->vq_index), ==, index);
    g_assert_cmpuint(le16_to_cpu(hdr->size), ==, size);
}

static uint64_t sum_drops(DpRig *r, unsigned queue, const char *const *reasons)
{
    uint64_t sum = 0;

    for (; *reasons; reasons++) {
        g_autofree char *name = g_strdup_printf("drop:%s", *reasons);

        sum += dp_counter(r->qts, "vd0", queue, name);
    }
    return sum;
}

/*
 * No frame moves: both say the same.  A kick may be taken, and a call made,
 * after the last frame was seen, and between the two looks.
 */
static void check_basic(DpRig *r, unsigned index, const Basic *basic)
{
    static const char *const all[] = {
        "link-down", "stopped", "too-large", "exceeds-mtu", "too-short",
        "bad-header", "no-buffer", "driver-error", "queue-full", "disabled",
        "bad-buffer", NULL
    };
    static const char *const malformed[] = { "too-short", "bad-header",
                                             "bad-buffer", NULL };
    static const char *const overrun[] = { "no-buffer", "queue-full", NULL };
    bool tx = index % 2;

    check_hdr(&basic->hdr, tx ? VIRTIO_NET_STATS_TYPE_REPLY_TX_BASIC :
                                VIRTIO_NET_STATS_TYPE_REPLY_RX_BASIC,
              index, sizeof(*basic));
    g_assert_cmpuint(le64_to_cpu(basic->kicks), <=,
                     dp_counter(r->qts, "vd0", index, "kicks"));
    g_assert_cmpuint(le64_to_cpu(basic->packets), ==,
                     dp_counter(r->qts, "vd0", index, "packets"));
    g_assert_cmpuint(le64_to_cpu(basic->bytes), ==,
                     dp_counter(r->qts, "vd0", index, "bytes"));
    g_assert_cmpuint(le64_to_cpu(basic->calls), <=,
                     dp_counter(r->qts, "vd0", index, "calls"));
    g_assert_cmpuint(le64_to_cpu(basic->drops), ==,
                     sum_drops(r, index, all));
    g_assert_cmpuint(le64_to_cpu(basic->special), ==,
                     sum_drops(r, index, tx ? malformed : overrun));
}

static Basic get_basic(DpRig *r, unsigned index)
{
    Request request = make_request(index, index % 2 ?
                                   VIRTIO_NET_STATS_TYPE_TX_BASIC :
                                   VIRTIO_NET_STATS_TYPE_RX_BASIC);
    Basic basic;
    uint32_t used;

    g_assert_cmpint(command(r->nic, VIRTIO_NET_CTRL_STATS_GET, &request,
                            sizeof(request), &basic, sizeof(basic), &used),
                    ==, VIRTIO_NET_OK);
    g_assert_cmpuint(used, ==, sizeof(basic));
    return basic;
}

static void test_query(const void *opaque)
{
    DpRig *r = rig_new(1);
    struct virtio_net_stats_capabilities caps;
    uint32_t used;

    g_assert_cmpint(command(r->nic, VIRTIO_NET_CTRL_STATS_QUERY, NULL, 0,
                            &caps, sizeof(caps), &used), ==, VIRTIO_NET_OK);
    g_assert_cmpuint(used, ==, sizeof(caps));
    g_assert_cmphex(le64_to_cpu(caps.supported_stats_types[0]), ==, TYPES);

    /* Data that it does not take, and no room for the answer */
    g_assert_cmpint(command(r->nic, VIRTIO_NET_CTRL_STATS_QUERY, "x", 1,
                            &caps, sizeof(caps), &used), ==, VIRTIO_NET_ERR);
    g_assert_cmpuint(used, ==, 0);
    g_assert_cmpint(command(r->nic, VIRTIO_NET_CTRL_STATS_QUERY, NULL, 0,
                            &caps, 7, &used), ==, VIRTIO_NET_ERR);
    g_assert_cmpuint(used, ==, 0);
    g_assert_cmpint(command(r->nic, 2, NULL, 0, &caps, sizeof(caps), &used),
                    ==, VIRTIO_NET_ERR);
    dp_rig_free(r);
}

/* Counters go on across a reset; a frame that is too short is malformed */
static void test_counters(const void *opaque)
{
    DpRig *r = rig_new(1);
    Basic before, after;
    unsigned i;

    for (i = 0; i < 3; i++) {
        dp_check_transmit(r->nic, r->sock, 100 + i, i);
        dp_check_receive(r->nic, r->sock, 200 + i, i);
    }
    for (i = 0; i < 2; i++) {
        Basic basic = get_basic(r, i);

        g_assert_cmpuint(le64_to_cpu(basic.packets), ==, 3);
        g_assert_cmpuint(le64_to_cpu(basic.bytes), ==, i ? 303 : 603);
        g_assert_cmpuint(le64_to_cpu(basic.calls), >, 0);
        check_basic(r, i, &basic);
    }
    g_assert_cmpuint(le64_to_cpu(get_basic(r, DP_TX).kicks), >, 0);

    before = get_basic(r, DP_TX);
    dp_transmit(r->nic, NULL, r->frame, 13);
    dp_transmit(r->nic, &(struct virtio_net_hdr) { .gso_type = 77 }, r->frame,
                60);
    after = get_basic(r, DP_TX);
    g_assert_cmpuint(le64_to_cpu(after.drops), ==,
                     le64_to_cpu(before.drops) + 2);
    g_assert_cmpuint(le64_to_cpu(after.special), ==,
                     le64_to_cpu(before.special) + 2);
    g_assert_cmpuint(after.packets, ==, before.packets);
    check_basic(r, DP_TX, &after);

    dp_rig_restart(r);
    after = get_basic(r, DP_TX);
    g_assert_cmpuint(le64_to_cpu(after.packets), ==, 3);
    check_basic(r, DP_TX, &after);
    dp_rig_free(r);
}

/* A frame that the guest did not ask for is not lost */
static void test_filtered(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "device_stats=on",
        .features = FEATURES | DP_FEATURE(VIRTIO_NET_F_CTRL_RX) }, false);
    const uint8_t off = 0;
    Basic basic;

    g_assert_cmpint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_RX,
                                VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), ==,
                    VIRTIO_NET_OK);
    dp_make_frame(r->frame, 60, 1);
    memcpy(r->frame, "\x02\0\0\0\0\x77", 6);
    dp_sock_send(r->sock, NULL, r->frame, 60);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:filtered", 1);
    basic = get_basic(r, DP_RX);
    g_assert_cmpuint(basic.packets, ==, 0);
    g_assert_cmpuint(basic.drops, ==, 0);
    check_basic(r, DP_RX, &basic);
    dp_rig_free(r);
}

/* Several queues in one command, the control queue among them */
static void test_several(const void *opaque)
{
    DpRig *r = rig_new(2);
    const Request requests[] = {
        make_request(3, VIRTIO_NET_STATS_TYPE_TX_BASIC),
        make_request(4, VIRTIO_NET_STATS_TYPE_CVQ),
        make_request(1, 0),
        make_request(0, VIRTIO_NET_STATS_TYPE_RX_BASIC),
    };
    struct {
        Basic tx1;
        struct virtio_net_stats_cvq cvq;
        Basic rx0;
        uint8_t more[16];
    } answer;
    const size_t all = offsetof(typeof(answer), more);
    uint64_t commands = 0, ok = 0;
    unsigned i;

    dp_check_transmit_on(r->nic, 1, r->sock, 60, 1);
    for (i = 0; i < 3; i++) {
        uint32_t used;

        /* In between a command that fails */
        g_assert_cmpint(dp_nic_ctrl(r->nic, 99, 0, NULL, 0), ==,
                        VIRTIO_NET_ERR);
        g_assert_cmpint(command(r->nic, VIRTIO_NET_CTRL_STATS_GET, requests,
                                sizeof(requests), &answer, sizeof(answer),
                                &used), ==, VIRTIO_NET_OK);
        g_assert_cmpuint(used, ==, all);
        g_assert_cmphex(answer.more[0], ==, 0xa5);
        check_basic(r, 3, &answer.tx1);
        check_basic(r, 0, &answer.rx0);
        check_hdr(&answer.cvq.hdr, VIRTIO_NET_STATS_TYPE_REPLY_CVQ, 4,
                  sizeof(answer.cvq));
        if (i) {
            g_assert_cmpuint(le64_to_cpu(answer.cvq.command_num), ==,
                             commands + 2);
            g_assert_cmpuint(le64_to_cpu(answer.cvq.ok_num), ==, ok + 1);
        }
        commands = le64_to_cpu(answer.cvq.command_num);
        ok = le64_to_cpu(answer.cvq.ok_num);
    }

    /* Less room: what fits in whole, and nothing behind it */
    for (i = 0; i < all; i++) {
        size_t fits = i < sizeof(Basic) ? 0 :
                      i < offsetof(typeof(answer), rx0) ? sizeof(Basic) :
                      offsetof(typeof(answer), rx0);
        uint32_t used;

        memset(&answer, 0xa5, sizeof(answer));
        g_assert_cmpint(command(r->nic, VIRTIO_NET_CTRL_STATS_GET, requests,
                                sizeof(requests), &answer, i, &used), ==,
                        VIRTIO_NET_OK);
        g_assert_cmpuint(used, ==, fits);
        g_assert_cmphex(((uint8_t *)&answer)[fits], ==, 0xa5);
    }
    dp_rig_free(r);
}

/* One mistake, and all of the command fails: nothing is written */
static void test_bad_requests(const void *opaque)
{
    static const struct {
        uint16_t index;
        uint64_t types;
    } table[] = {
        { 3, VIRTIO_NET_STATS_TYPE_CVQ },
        { 3, 0 },
        { 0xffff, VIRTIO_NET_STATS_TYPE_RX_BASIC },
        { 0, VIRTIO_NET_STATS_TYPE_TX_BASIC },
        { 1, VIRTIO_NET_STATS_TYPE_RX_BASIC },
        { 0, VIRTIO_NET_STATS_TYPE_CVQ },
        { 2, VIRTIO_NET_STATS_TYPE_RX_BASIC },
        { 0, VIRTIO_NET_STATS_TYPE_RX_BASIC | VIRTIO_NET_STATS_TYPE_RX_CSUM },
        { 0, VIRTIO_NET_STATS_TYPE_RX_GSO },
        { 0, VIRTIO_NET_STATS_TYPE_RX_SPEED },
        { 1, VIRTIO_NET_STATS_TYPE_TX_CSUM },
        { 1, VIRTIO_NET_STATS_TYPE_TX_GSO },
        { 1, VIRTIO_NET_STATS_TYPE_TX_SPEED },
        { 0, 1ull << 63 },
        { 1, UINT64_MAX },
    };
    const size_t lengths[] = { 0, 1, 8, 15, 17, 4 * sizeof(Request),
                               64 * 1024 * sizeof(Request) };
    g_autofree uint8_t *data = g_malloc0(64 * 1024 * sizeof(Request));
    DpRig *r = rig_new(1);
    uint8_t answer[512];
    uint32_t used;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        const Request requests[] = {
            make_request(0, VIRTIO_NET_STATS_TYPE_RX_BASIC),
            make_request(table[i].index, table[i].types),
        };

        g_assert_cmpint(command(r->nic, VIRTIO_NET_CTRL_STATS_GET, requests,
                                sizeof(requests), answer, sizeof(answer),
                                &used), ==, VIRTIO_NET_ERR);
        g_assert_cmpuint(used, ==, 0);
        g_assert_cmphex(answer[0], ==, 0xa5);
    }
    /* Not a number of requests, or more of them than there are queues */
    for (i = 0; i < ARRAY_SIZE(lengths); i++) {
        g_assert_cmpint(command(r->nic, VIRTIO_NET_CTRL_STATS_GET, data,
                                lengths[i], answer, sizeof(answer), &used),
                        ==, VIRTIO_NET_ERR);
        g_assert_cmpuint(used, ==, 0);
    }
    dp_check_transmit(r->nic, r->sock, 100, 1);
    dp_rig_free(r);
}

static void test_not_negotiated(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "device_stats=on",
        .features = DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) }, false);
    uint8_t answer[8];
    uint32_t used;

    g_assert_cmpint(command(r->nic, VIRTIO_NET_CTRL_STATS_QUERY, NULL, 0,
                            answer, sizeof(answer), &used), ==,
                    VIRTIO_NET_ERR);
    g_assert_cmpuint(used, ==, 0);
    dp_rig_free(r);
}

/* Read while the data path works, which goes on */
static void test_under_traffic(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "device_stats=on", .features = FEATURES, .null = true,
        .driver = "flat-out=on" }, false);
    uint64_t packets = 0;
    unsigned i;

    for (i = 0; i < 100; i++) {
        Basic basic;
        uint16_t id;

        if (r->rx->nfree >= 8) {
            dp_post(r->nic, 8, 128);
        }
        basic = get_basic(r, DP_RX);
        g_assert_cmpuint(le64_to_cpu(basic.packets), >=, packets);
        packets = le64_to_cpu(basic.packets);
        while (dp_get_used(r->rx, &id, NULL)) {
            /* Make room */
        }
    }
    g_assert_cmpuint(packets, >, 0);
    dp_rig_free(r);
}

static void test_properties(const void *opaque)
{
    DpGuest *guest = dp_guest_new("-netdev hubport,id=vd0,hubid=0 "
                                  "-object vhost-dp-null,id=null1 "
                                  "-netdev vhost-dp,id=vd1,driver=null1");

    dp_check_error(qtest_qmp(guest->qts, "{ 'execute': 'device_add',"
                             " 'arguments': { 'driver': 'virtio-net-pci',"
                             " 'netdev': 'vd0', 'device_stats': true } }"),
                   "device_stats=on", "'vd0'", "hubport", "vhost-dp", NULL);
    dp_check_error(qtest_qmp(guest->qts, "{ 'execute': 'device_add',"
                             " 'arguments': { 'driver': 'virtio-net-pci',"
                             " 'netdev': 'vd1', 'device_stats': true,"
                             " 'ctrl_vq': false } }"),
                   "device_stats=on", "control queue", "ctrl_vq", NULL);
    dp_guest_free(guest);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("stats/query", NULL, test_query);
    dp_add_ring_test("stats/counters", NULL, test_counters);
    dp_add_test("stats/filtered", NULL, test_filtered);
    dp_add_ring_test("stats/several", NULL, test_several);
    dp_add_ring_test("stats/bad-requests", NULL, test_bad_requests);
    dp_add_test("stats/not-negotiated", NULL, test_not_negotiated);
    dp_add_ring_test("stats/under-traffic", NULL, test_under_traffic);
    dp_add_test("stats/properties", NULL, test_properties);
    return g_test_run();
}
