/*
 * vhost-dp: qtests of the control queue's commands while frames move
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each command by itself is in other tests.  Here they come in turns, good and
 * bad ones, with numbered frames both ways on two queue pairs: no frame is
 * lost, and none comes twice or out of order.  Sections are those of the virtio
 * specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "migrate.h"

#define PAIRS 2
#define OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_ECN) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_UFO) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_USO4) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_USO6))
#define FEATURES \
    (DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | \
     DP_FEATURE(VIRTIO_RING_F_EVENT_IDX) | \
     DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) | \
     DP_FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) | \
     DP_FEATURE(VIRTIO_NET_F_NOTF_COAL) | \
     DP_FEATURE(VIRTIO_NET_F_VQ_NOTF_COAL) | \
     DP_FEATURE(VIRTIO_NET_F_DEVICE_STATS) | OFFLOADS)

static void good(DpRig *r, uint8_t class, uint8_t command, const void *data,
                 size_t len)
{
    g_assert_cmpint(dp_nic_ctrl(r->nic, class, command, data, len), ==,
                    VIRTIO_NET_OK);
}

static void bad(DpRig *r, uint8_t class, uint8_t command, const void *data,
                size_t len)
{
    g_assert_cmpint(dp_nic_ctrl(r->nic, class, command, data, len), ==,
                    VIRTIO_NET_ERR);
}

/* 5.1.6.5.8: what the guest takes */
static void set_offloads(DpRig *r, unsigned round)
{
    uint64_t some = cpu_to_le64(round % 2 ? OFFLOADS : 0);
    uint64_t wrong = cpu_to_le64(OFFLOADS | 1ull << 63);

    good(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
         &some, sizeof(some));
    bad(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
        &wrong, sizeof(wrong));
    bad(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
        &some, 7);
}

/* 5.1.6.5.4: VIRTIO_NET_S_ANNOUNCE, and its acknowledgement, once */
static void announce(DpRig *r, unsigned round)
{
    const size_t status = offsetof(struct virtio_net_config, status);

    qtest_qmp_assert_success(r->qts, "{ 'execute': 'announce-self',"
                             " 'arguments': { 'initial': 50, 'max': 50,"
                             " 'rounds': 1, 'step': 50 } }");
    dp_wait_until(qvirtio_config_readw(r->nic->vdev, status) &
                  VIRTIO_NET_S_ANNOUNCE);
    good(r, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0);
    g_assert_false(qvirtio_config_readw(r->nic->vdev, status) &
                   VIRTIO_NET_S_ANNOUNCE);
    g_assert_true(dp_nic_link(r->nic));
    bad(r, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0);
}

/* 5.1.6.5.5: the pairs stay as many as they are */
static void set_pairs(DpRig *r, unsigned round)
{
    const uint16_t wrong[] = { 0, cpu_to_le16(PAIRS + 1), 0xffff };
    unsigned i;

    dp_nic_set_pairs(r->nic, PAIRS);
    for (i = 0; i < ARRAY_SIZE(wrong); i++) {
        bad(r, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &wrong[i],
            sizeof(wrong[i]));
    }
    bad(r, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, NULL, 0);
}

/* 5.1.6.5.9 */
static void coalesce(DpRig *r, unsigned round)
{
    struct virtio_net_ctrl_coal_vq vq = {
        .vqn = cpu_to_le16(round % (2 * PAIRS)),
        .coal.max_packets = cpu_to_le32(round % 3 * 20),
        .coal.max_usecs = cpu_to_le32(500),
    };

    good(r, VIRTIO_NET_CTRL_NOTF_COAL, round % 2 ?
         VIRTIO_NET_CTRL_NOTF_COAL_TX_SET : VIRTIO_NET_CTRL_NOTF_COAL_RX_SET,
         &vq.coal, sizeof(vq.coal));
    good(r, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, &vq,
         sizeof(vq));
    vq.vqn = cpu_to_le16(2 * PAIRS);
    bad(r, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, &vq,
        sizeof(vq));
}

/* 5.1.6.5.11 of version 1.4: no room for the answers, and types that are not */
static void stats(DpRig *r, unsigned round)
{
    uint64_t request[] = {
        cpu_to_le64(round % (2 * PAIRS)),
        cpu_to_le64(round % 2 ? VIRTIO_NET_STATS_TYPE_TX_BASIC :
                                VIRTIO_NET_STATS_TYPE_RX_BASIC),
    };

    good(r, VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, request,
         sizeof(request));
    request[1] = UINT64_MAX;
    bad(r, VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, request,
        sizeof(request));
}

static void unknown(DpRig *r, unsigned round)
{
    bad(r, 200, round, &round, sizeof(round));
    bad(r, VIRTIO_NET_CTRL_ANNOUNCE, 77, NULL, 0);
}

static void test_under_traffic(const void *opaque)
{
    void (*const commands[])(DpRig *r, unsigned round) = {
        set_offloads, announce, set_pairs, coalesce, stats, unknown,
    };
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "notf_coal=on,vq_notf_coal=on,device_stats=on",
        .pairs = PAIRS, .features = FEATURES }, false);
    DpTraffic *t = dp_traffic_new(r);
    unsigned round, i;

    for (round = 0; round < 8; round++) {
        for (i = 0; i < ARRAY_SIZE(commands); i++) {
            dp_traffic_step(t);
            commands[i](r, round);
            dp_traffic_run(t, 10);
        }
    }
    dp_traffic_finish(t);
    dp_traffic_free(t);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("commands/under-traffic", NULL, test_under_traffic);
    return g_test_run();
}
