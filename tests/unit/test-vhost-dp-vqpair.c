/*
 * vhost-dp: a queue pair's data path to a virtio device that comes and goes
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtq/vq-pair.c without an engine and without a peer: the functions of
 * the port are here, and note what they were told; the device's half of the
 * split rings is written by hand.  What is in the rings is tested in
 * test-vhost-dp-vq.c.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "net/vhost-dp/drivers/virtq/vq-int.h"

/* The device can act at the moment when the pair looks */
static bool look(VhostDPVq *vq);
#define vhost_dp_vq_enable_call look
#include "net/vhost-dp/drivers/virtq/vq-pair.c"
#undef vhost_dp_vq_enable_call

#define NUM VHOST_DP_VQ_MIN_NUM
#define HDR sizeof(struct virtio_net_hdr_v1)
#define FRAME_LEN 60

/* ---- The port: what it was told ---- */

typedef struct MockPort {
    VhostDPPort port;
    unsigned ready;             /* VHOST_DP_READY_* */
    uint64_t rx_drops, tx_drops;
    bool link_up;
    char *reason;
    uint32_t tx_offloads;
} MockPort;

static MockPort *mock_port(VhostDPPort *port)
{
    return container_of(port, MockPort, port);
}

static void mock_ready(VhostDPPort *port, unsigned what)
{
    mock_port(port)->ready |= what;
}

static void mock_drop_rx(VhostDPPort *port, VhostDPDropReason reason,
                         uint64_t n)
{
    mock_port(port)->rx_drops += n;
}

static void mock_drop_tx(VhostDPPort *port, VhostDPDropReason reason,
                         uint64_t n)
{
    mock_port(port)->tx_drops += n;
}

static void mock_set_link(VhostDPPort *port, bool up, const char *reason)
{
    MockPort *mock = mock_port(port);

    g_assert_cmpint(up, ==, !reason);
    mock->link_up = up;
    g_free(mock->reason);
    mock->reason = g_strdup(reason);
}

static void mock_set_tx_offloads(VhostDPPort *port, uint32_t offloads)
{
    mock_port(port)->tx_offloads = offloads;
}

static const VhostDPPortOps mock_port_ops = {
    .ready = mock_ready,
    .drop_rx = mock_drop_rx,
    .drop_tx = mock_drop_tx,
    .set_link = mock_set_link,
    .set_tx_offloads = mock_set_tx_offloads,
};

/* ---- A pair, and the devices behind it ---- */

typedef struct Rig {
    AioContext *ctx;
    MockPort port;
    VhostDPVqPair *pair;
    unsigned failures;
    VhostDPPeerViolation failure;
    VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    uint8_t data[VHOST_DP_MAX_FRAME];
} Rig;

static void rig_failed(void *opaque, unsigned index, VhostDPVqSet *set,
                       VhostDPPeerViolation violation)
{
    Rig *r = opaque;

    r->failures++;
    r->failure = violation;
}

static Rig *rig_new(void)
{
    Rig *r = g_new0(Rig, 1);

    r->ctx = qemu_get_aio_context();
    r->port.port.ops = &mock_port_ops;
    r->pair = vhost_dp_vqpair_new(0, rig_failed, r);
    vhost_dp_vqpair_attach(r->pair, &r->port.port, r->ctx);
    return r;
}

static void rig_free(Rig *r)
{
    vhost_dp_vqpair_detach(r->pair);
    vhost_dp_vqpair_free(r->pair);
    g_free(r->port.reason);
    g_free(r);
}

/* What was scheduled, or called */
static void rig_run(Rig *r)
{
    while (aio_poll(r->ctx, false)) {
        /* Until nothing is left */
    }
}

static unsigned rig_ready(Rig *r)
{
    unsigned ready = r->port.ready;

    r->port.ready = 0;
    return ready;
}

static VhostDPVqSet *set_new(uint64_t more_features)
{
    VhostDPVqSet *set = vhost_dp_vqset_new(1, NUM, VHOST_DP_VQ_SMALL_PAGES,
                                           &error_abort);

    vhost_dp_vqset_start(set, VHOST_DP_VQ_NEEDED_FEATURES |
                              1ULL << VIRTIO_NET_F_MRG_RXBUF | more_features);
    return set;
}

/* A new device takes the place of what there was */
static VhostDPVqSet *rig_new_set(Rig *r)
{
    VhostDPVqSet *set = set_new(0);

    vhost_dp_vqpair_set(r->pair, set, NULL);
    rig_run(r);
    g_assert_true(r->port.link_up);
    g_assert_cmpuint(rig_ready(r), ==, VHOST_DP_READY_TX);
    return set;
}

/* ---- The device ---- */

static void device_use(VhostDPVq *vq, uint32_t id, uint32_t len)
{
    struct vring_used *used = vq->device;
    uint16_t idx = le16_to_cpu(used->idx);

    used->ring[idx % NUM].id = cpu_to_le32(id);
    used->ring[idx % NUM].len = cpu_to_le32(len);
    qatomic_store_release(&used->idx, cpu_to_le16(idx + 1));
}

/*
 * While set, the device says at each look at its transmit queue that it has
 * used one more buffer, and takes it back before that can be taken
 */
static bool device_lies;
static unsigned looks;

static bool look(VhostDPVq *vq)
{
    struct vring_used *used = vq->device;
    uint16_t idx = le16_to_cpu(used->idx);
    bool lies = device_lies && !vq->rx;
    bool found;

    if (lies) {
        g_assert_cmpuint(++looks, <, 1000);
        used->idx = cpu_to_le16(idx + 1);
    }
    found = vhost_dp_vq_enable_call(vq);
    used->idx = cpu_to_le16(idx);
    g_assert_true(found || !lies);
    return found;
}

static bool device_wants_to_call(VhostDPVq *vq)
{
    struct vring_avail *avail = vq->driver;

    return !(le16_to_cpu(avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

/* A frame of bytes @fill in receive buffer @id; calls if that is wanted */
static void device_receive(VhostDPVqSet *set, uint16_t id, uint8_t fill)
{
    VhostDPVq *vq = &set->vq[0];
    struct virtio_net_hdr_v1 hdr = { .num_buffers = cpu_to_le16(1) };

    memcpy(vq_buf(vq, id), &hdr, HDR);
    memset(vq_buf(vq, id) + HDR, fill, FRAME_LEN);
    device_use(vq, id, HDR + FRAME_LEN);
    if (device_wants_to_call(vq)) {
        event_notifier_set(&vq->call);
    }
}

/* The device sends the frame that it was given as number @n */
static void device_send(VhostDPVqSet *set, unsigned n)
{
    VhostDPVq *vq = &set->vq[1];
    struct vring_avail *avail = vq->driver;

    device_use(vq, le16_to_cpu(avail->ring[n % NUM]), 0);
    if (device_wants_to_call(vq)) {
        event_notifier_set(&vq->call);
    }
}

/* ---- Frames ---- */

static unsigned rig_send(Rig *r, unsigned n, uint32_t len)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        VhostDPFrame *frame = &r->frames[i];

        memset(frame, 0, sizeof(*frame));
        frame->inl[0].iov_base = r->data;
        frame->inl[0].iov_len = len;
        frame->iov = frame->inl;
        frame->iovcnt = 1;
        frame->len = len;
    }
    return vhost_dp_vqpair_tx_burst(r->pair, r->frames, n);
}

static unsigned rig_receive(Rig *r)
{
    return vhost_dp_vqpair_rx_burst(r->pair, r->frames,
                                    VHOST_DP_BURST_FRAMES);
}

static void check_frame(const VhostDPFrame *frame, uint8_t fill)
{
    uint8_t buf[FRAME_LEN];
    unsigned i;

    g_assert_cmpuint(frame->len, ==, FRAME_LEN);
    iov_to_buf(frame->iov, frame->iovcnt, 0, buf, sizeof(buf));
    for (i = 0; i < sizeof(buf); i++) {
        g_assert_cmpuint(buf[i], ==, fill);
    }
}

/* ---- Tests ---- */

static void test_no_peer(void)
{
    Rig *r = rig_new();

    g_assert_false(r->port.link_up);
    g_assert_nonnull(r->port.reason);
    /* Nothing waits for a peer */
    g_assert_cmpuint(rig_send(r, 5, FRAME_LEN), ==, 5);
    g_assert_cmpuint(r->port.tx_drops, ==, 5);
    vhost_dp_vqpair_rx_enable(r->pair, true);
    g_assert_cmpuint(rig_receive(r), ==, 0);
    g_assert_cmpuint(rig_ready(r), ==, 0);

    vhost_dp_vqpair_set(r->pair, NULL, "it sleeps");
    rig_run(r);
    g_assert_cmpstr(r->port.reason, ==, "it sleeps");
    rig_free(r);
}

static void test_offloads_follow_the_peer(void)
{
    Rig *r = rig_new();
    VhostDPVqSet *set = set_new(1ULL << VIRTIO_NET_F_CSUM);

    vhost_dp_vqpair_set(r->pair, set, NULL);
    rig_run(r);
    g_assert_cmphex(r->port.tx_offloads, ==, VHOST_DP_OFFLOAD_CSUM);
    vhost_dp_vqset_unref(set);
    set = rig_new_set(r);
    g_assert_cmphex(r->port.tx_offloads, ==, 0);
    vhost_dp_vqset_unref(set);
    rig_free(r);
}

/* A peer that takes another's place does not take its lent frames away */
static void test_lent_frames_outlive_their_peer(void)
{
    Rig *r = rig_new();
    VhostDPVqSet *a = rig_new_set(r), *b, *c;

    vhost_dp_vqpair_rx_enable(r->pair, true);
    device_receive(a, 7, 0xaa);
    device_receive(a, 3, 0xbb);
    g_assert_cmpuint(rig_receive(r), ==, 2);
    b = rig_new_set(r);
    c = rig_new_set(r);
    g_assert_cmpuint(b->refs, ==, 1);
    g_assert_cmpuint(a->refs, ==, 2);
    check_frame(&r->frames[0], 0xaa);
    check_frame(&r->frames[1], 0xbb);
    vhost_dp_vqpair_rx_release(r->pair, 2);
    g_assert_cmpuint(a->refs, ==, 1);

    device_receive(c, 0, 0xcc);
    g_assert_cmpuint(rig_receive(r), ==, 1);
    check_frame(&r->frames[0], 0xcc);
    vhost_dp_vqpair_rx_release(r->pair, 1);
    vhost_dp_vqset_unref(a);
    vhost_dp_vqset_unref(b);
    rig_free(r);
    g_assert_cmpuint(c->refs, ==, 1);
    vhost_dp_vqset_unref(c);
}

/* And one that only goes, with the pair detached before the next one comes */
static void test_detach_and_attach(void)
{
    Rig *r = rig_new();
    VhostDPVqSet *set = rig_new_set(r);

    vhost_dp_vqpair_rx_enable(r->pair, true);
    vhost_dp_vqpair_detach(r->pair);
    vhost_dp_vqpair_set(r->pair, NULL, "gone");
    g_assert_cmpuint(set->refs, ==, 1);
    vhost_dp_vqpair_set(r->pair, set, NULL);
    vhost_dp_vqpair_attach(r->pair, &r->port.port, r->ctx);
    g_assert_true(r->port.link_up);
    g_assert_cmpuint(rig_send(r, 1, FRAME_LEN), ==, 1);
    vhost_dp_vqset_unref(set);
    rig_free(r);
}

static void test_unsent_frames_are_counted(void)
{
    Rig *r = rig_new();
    VhostDPVqSet *set = rig_new_set(r);

    /* One of them takes several buffers */
    g_assert_cmpuint(rig_send(r, 3, FRAME_LEN), ==, 3);
    g_assert_cmpuint(rig_send(r, 1, 10000), ==, 1);
    g_assert_true(event_notifier_test_and_clear(&set->vq[1].kick));
    device_send(set, 0);
    vhost_dp_vqpair_set(r->pair, NULL, "gone");
    g_assert_cmpuint(r->port.tx_drops, ==, 0);
    rig_run(r);
    g_assert_false(r->port.link_up);
    g_assert_cmpuint(r->port.tx_drops, ==, 3);
    g_assert_cmpuint(set->refs, ==, 1);
    vhost_dp_vqset_unref(set);
    rig_free(r);
}

/* A full queue: the peer calls when there is room for a frame of any length */
static void test_full(void)
{
    Rig *r = rig_new();
    VhostDPVqSet *set = rig_new_set(r);
    unsigned i, ready = 0;

    g_assert_false(device_wants_to_call(&set->vq[1]));
    g_assert_cmpuint(rig_send(r, NUM, FRAME_LEN), ==, NUM);
    g_assert_cmpuint(rig_send(r, 2, FRAME_LEN), ==, 0);
    g_assert_true(device_wants_to_call(&set->vq[1]));
    for (i = 0; i < NUM && !ready; i++) {
        device_send(set, i);
        rig_run(r);
        ready = rig_ready(r);
    }
    g_assert_cmpuint(ready, ==, VHOST_DP_READY_TX);
    g_assert_cmpuint(i, >=, 32);
    g_assert_false(device_wants_to_call(&set->vq[1]));
    g_assert_cmpuint(rig_send(r, 1, VHOST_DP_MAX_FRAME), ==, 1);
    g_assert_cmpuint(r->port.tx_drops, ==, 0);

    /* With the peer gone, what waits for it is to be offered, and lost */
    while (rig_send(r, 1, FRAME_LEN)) {
        /* Full again */
    }
    vhost_dp_vqpair_set(r->pair, NULL, "gone");
    rig_run(r);
    g_assert_cmpuint(rig_ready(r), ==, VHOST_DP_READY_TX);
    g_assert_cmpuint(rig_send(r, 1, FRAME_LEN), ==, 1);
    vhost_dp_vqset_unref(set);
    rig_free(r);
}

/* A device that stopped has forgotten frames: there is room for others */
static void test_take_back(void)
{
    Rig *r = rig_new();
    VhostDPVqSet *set = rig_new_set(r);
    unsigned i;

    for (i = 1; i < 5; i++) {
        g_assert_cmpuint(rig_send(r, NUM, FRAME_LEN), ==, NUM);
        g_assert_cmpuint(rig_send(r, 1, FRAME_LEN), ==, 0);
        g_assert_cmpuint(rig_ready(r), ==, 0);
        device_send(set, i * NUM - 1);
        vhost_dp_vqpair_tx_take_back(r->pair);
        g_assert_cmpuint(r->port.tx_drops, ==, i * (NUM - 1));
        rig_run(r);
        g_assert_cmpuint(rig_ready(r), ==, VHOST_DP_READY_TX);
        g_assert_true(r->port.link_up);
    }
    g_assert_cmpuint(r->failures, ==, 0);
    /* Without a device there is nothing to be taken back */
    vhost_dp_vqpair_set(r->pair, NULL, "gone");
    rig_run(r);
    vhost_dp_vqpair_tx_take_back(r->pair);
    g_assert_cmpuint(r->port.tx_drops, ==, 4 * (NUM - 1));
    vhost_dp_vqset_unref(set);
    rig_free(r);
}

/* What a device does in between cannot keep the pair looking for room */
static void test_device_keeps_the_pair_looking(void)
{
    Rig *r = rig_new();
    VhostDPVqSet *set = rig_new_set(r);
    unsigned before;

    g_assert_cmpuint(rig_send(r, NUM, FRAME_LEN), ==, NUM);
    looks = 0;
    device_lies = true;
    g_assert_cmpuint(rig_send(r, 2, FRAME_LEN), ==, 0);
    g_assert_cmpuint(looks, >, 1);
    g_assert_cmpuint(rig_ready(r), ==, 0);
    /* It is offered again, after others had their turn */
    rig_run(r);
    g_assert_cmpuint(rig_ready(r), ==, VHOST_DP_READY_TX);

    /* The same when the device calls */
    device_lies = false;
    g_assert_cmpuint(rig_send(r, 2, FRAME_LEN), ==, 0);
    rig_run(r);
    g_assert_cmpuint(rig_ready(r), ==, 0);
    device_lies = true;
    before = looks;
    event_notifier_set(&set->vq[1].call);
    rig_run(r);
    g_assert_cmpuint(looks, >, before + 1);
    g_assert_cmpuint(rig_ready(r), ==, VHOST_DP_READY_TX);

    /* And a device that goes on is served */
    device_lies = false;
    device_send(set, 0);
    g_assert_cmpuint(rig_send(r, 2, FRAME_LEN), ==, 1);
    g_assert_cmpuint(r->port.tx_drops, ==, 0);
    g_assert_cmpuint(r->failures, ==, 0);
    vhost_dp_vqset_unref(set);
    rig_free(r);
}

/* The peer is asked to call while reception is enabled and there is nothing */
static void test_reception(void)
{
    Rig *r = rig_new();
    VhostDPVqSet *set = rig_new_set(r);
    VhostDPVq *vq = &set->vq[0];

    g_assert_false(device_wants_to_call(vq));
    vhost_dp_vqpair_rx_enable(r->pair, true);
    g_assert_true(device_wants_to_call(vq));
    g_assert_cmpuint(rig_ready(r), ==, 0);
    device_receive(set, 0, 1);
    rig_run(r);
    g_assert_cmpuint(rig_ready(r), ==, VHOST_DP_READY_RX);
    g_assert_cmpuint(rig_receive(r), ==, 1);
    g_assert_false(device_wants_to_call(vq));
    vhost_dp_vqpair_rx_release(r->pair, 1);

    /* Unasked calls are nothing, and frames that came without one are found */
    vhost_dp_vqpair_rx_enable(r->pair, false);
    device_receive(set, 1, 2);
    event_notifier_set(&vq->call);
    rig_run(r);
    g_assert_cmpuint(rig_ready(r), ==, 0);
    vhost_dp_vqpair_rx_enable(r->pair, true);
    g_assert_cmpuint(rig_ready(r), ==, VHOST_DP_READY_RX);
    g_assert_cmpuint(rig_receive(r), ==, 1);
    vhost_dp_vqpair_rx_release(r->pair, 1);
    g_assert_cmpuint(rig_receive(r), ==, 0);
    g_assert_true(device_wants_to_call(vq));
    vhost_dp_vqset_unref(set);
    rig_free(r);
}

/* Said once; the set is left alone, but for frames that are lent */
static void test_peer_breaks_a_rule(void)
{
    Rig *r = rig_new();
    VhostDPVqSet *set = rig_new_set(r);

    vhost_dp_vqpair_rx_enable(r->pair, true);
    device_receive(set, 0, 1);
    g_assert_cmpuint(rig_receive(r), ==, 1);
    rig_send(r, 1, FRAME_LEN);
    device_use(&set->vq[1], NUM, 0);
    g_assert_cmpuint(rig_send(r, 3, FRAME_LEN), ==, 3);
    g_assert_cmpuint(r->failures, ==, 1);
    g_assert_cmpint(r->failure, ==, VHOST_DP_PEER_VIOLATION_USED_ID);
    g_assert_false(r->port.link_up);
    g_assert_cmpuint(r->port.tx_drops, ==, 3);

    vhost_dp_vqpair_rx_release(r->pair, 1);
    device_receive(set, 1, 1);
    event_notifier_set(&set->vq[0].call);
    event_notifier_set(&set->vq[1].call);
    rig_run(r);
    g_assert_cmpuint(rig_ready(r), ==, 0);
    g_assert_cmpuint(rig_receive(r), ==, 0);
    g_assert_cmpuint(rig_send(r, 1, FRAME_LEN), ==, 1);
    g_assert_cmpuint(r->failures, ==, 1);
    vhost_dp_vqset_unref(set);

    /* The next one starts anew */
    set = rig_new_set(r);
    g_assert_cmpuint(rig_send(r, 1, FRAME_LEN), ==, 1);
    g_assert_cmpuint(r->failures, ==, 1);
    vhost_dp_vqset_unref(set);
    rig_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/vhost-dp/vqpair/no-peer", test_no_peer);
    g_test_add_func("/vhost-dp/vqpair/offloads-follow-the-peer",
                    test_offloads_follow_the_peer);
    g_test_add_func("/vhost-dp/vqpair/lent-frames-outlive-their-peer",
                    test_lent_frames_outlive_their_peer);
    g_test_add_func("/vhost-dp/vqpair/detach-and-attach",
                    test_detach_and_attach);
    g_test_add_func("/vhost-dp/vqpair/unsent-frames-are-counted",
                    test_unsent_frames_are_counted);
    g_test_add_func("/vhost-dp/vqpair/full", test_full);
    g_test_add_func("/vhost-dp/vqpair/take-back", test_take_back);
    g_test_add_func("/vhost-dp/vqpair/device-keeps-the-pair-looking",
                    test_device_keeps_the_pair_looking);
    g_test_add_func("/vhost-dp/vqpair/reception", test_reception);
    g_test_add_func("/vhost-dp/vqpair/peer-breaks-a-rule",
                    test_peer_breaks_a_rule);
    return g_test_run();
}
