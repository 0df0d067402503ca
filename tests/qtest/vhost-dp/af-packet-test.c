/*
 * vhost-dp: qtests of vhost-dp-af-packet
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver uses one end of a veth pair: see veth.h.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "veth.h"

#define MAX_PAIRS 4

/* ---- The rig ---- */

static DpRig *rig_start(uint64_t features, unsigned pairs)
{
    return dp_veth_start("vhost-dp-af-packet,id=v0", features, pairs);
}

static DpRig *rig_new(uint64_t features, unsigned pairs)
{
    dp_veth_new("v0", "v1");
    return rig_start(features, pairs);
}

/* ---- Frames ---- */

static void test_frames(const void *opaque)
{
    DpRig *r = rig_new(0, 1);

    dp_veth_check_frames(r);
    g_assert_cmpuint(dp_if_promiscuity("v0"), ==, 1);
    dp_rig_free(r);
    dp_wait_until(dp_if_promiscuity("v0") == 0);
}

/* Many more frames than the receive ring has slots, in order */
static void test_many(const void *opaque)
{
    DpRig *r = rig_new(0, 1);

    dp_veth_check_many(r, 1000);
    dp_rig_free(r);
}

/* Scattered over many descriptors, and many of these in one burst */
static void test_scattered(const void *opaque)
{
    enum { FRAMES = 20, PIECES = 40, PIECE = 30 };
    DpRig *r = rig_new(DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC), 1);
    size_t len = PIECES * PIECE;
    uint64_t addr = dp_alloc(r->guest, FRAMES * (len + r->nic->hdr_len));
    size_t got;
    unsigned i, j;

    for (i = 0; i < FRAMES; i++) {
        DpBuf bufs[1 + PIECES] = {};
        uint64_t at = addr + i * (len + r->nic->hdr_len);

        memset(dp_host(r->guest, at), 0, r->nic->hdr_len);
        dp_make_frame((uint8_t *)dp_host(r->guest, at) + r->nic->hdr_len, len,
                      i);
        bufs[0] = (DpBuf) { .addr = at, .len = r->nic->hdr_len };
        at += r->nic->hdr_len;
        for (j = 1; j <= PIECES; j++, at += PIECE) {
            bufs[j] = (DpBuf) { .addr = at, .len = PIECE };
        }
        dp_add_indirect(r->tx, bufs, 1 + PIECES);
    }
    dp_publish(r->tx);
    for (i = 0; i < FRAMES; i++) {
        struct virtio_net_hdr hdr;

        dp_wait_used(r->tx, NULL);
        dp_make_frame(r->frame, len, i);
        got = dp_sock_recv(r->sock, DP_ETHERTYPE, &hdr, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        dp_assert_frame(r->got, got, r->frame, len);
    }
    dp_rig_free(r);
}

/* What the host sends by the interface is not for the guest */
static void test_own_frames(const void *opaque)
{
    const unsigned pairs = *(const unsigned *)opaque;
    DpRig *r = rig_new(0, pairs);
    int own = dp_sock_open("v0", true);
    struct virtio_net_hdr hdr = {};
    unsigned i;

    for (i = 0; i < 10; i++) {
        dp_make_frame(r->frame, 60, i);
        dp_sock_send(own, &hdr, r->frame, 60);
        g_assert_cmpuint(dp_sock_recv(r->sock, DP_ETHERTYPE, &hdr, r->got,
                                      DP_MAX_FRAME, DP_TIMEOUT_US), ==, 60);
        dp_veth_check_transmit(r, 100, i);
        dp_veth_check_receive(r, 200, i);
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 10);
    close(own);
    dp_rig_free(r);
}

/* All that was sent is either received or counted */
static void test_lost(const void *opaque)
{
    const unsigned n = 1500;
    DpRig *r = rig_new(0, 1);
    unsigned got = dp_veth_check_overrun(r, n);

    /* The kernel tells of losses with the next frame */
    dp_veth_send(r, 100);
    dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", got + 1);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:no-buffer", n - got);
    dp_rig_free(r);
}

/* Longer than the MTU: counted; a tag on top of a full frame is all right */
static void test_too_large(const void *opaque)
{
    DpRig *r = rig_new(0, 1);

    dp_make_frame(r->frame, 3000, 1);
    dp_transmit(r->nic, NULL, r->frame, 1515);
    dp_transmit(r->nic, NULL, r->frame, 3000);
    dp_wait_counter(r->qts, "vd0", DP_TX, "drop:too-large", 2);
    dp_veth_check_transmit(r, 1514, 2);

    dp_if_set_mtu("v0", 9000);
    dp_if_set_mtu("v1", 9000);
    dp_veth_check_transmit(r, 9014, 3);
    dp_veth_check_receive(r, 9014, 4);
    dp_rig_free(r);
}

/* ---- The interface goes and comes ---- */

static void test_link(const void *opaque)
{
    DpRig *r = rig_new(0, *(const unsigned *)opaque);

    dp_veth_check_link(r);
    dp_rig_free(r);
}

/* A link that is down at the start */
static void test_starts_down(const void *opaque)
{
    DpRig *r;

    dp_veth_new("v0", "v1");
    dp_if_down("v0");
    r = rig_start(0, 1);
    dp_wait_until(dp_link_is(r, false, "down"));
    dp_if_up("v0");
    dp_wait_until(dp_link_is(r, true, NULL));
    dp_veth_use_peer(r);
    dp_veth_check_transmit(r, 100, 1);
    dp_veth_check_receive(r, 100, 2);
    dp_rig_free(r);
}

/* All sockets are on the new interface: the first of them says so at the end */
static void check_promiscuity(DpRig *r)
{
    dp_wait_until(dp_if_promiscuity("v0") == 1);
}

static void test_deleted(const void *opaque)
{
    DpRig *r = rig_new(0, *(const unsigned *)opaque);

    dp_veth_check_deleted(r, 1, check_promiscuity);
    dp_rig_free(r);
}

/* Returns when the engine has the first of @n frames, but no buffer for it */
static void fill_ring(DpRig *r, unsigned n, unsigned seed)
{
    unsigned i;

    dp_veth_check_receive(r, 60, seed);
    g_assert_false(dp_wants_kick(r->rx));
    for (i = 0; i < n; i++) {
        dp_make_frame(r->frame, 100, seed + i);
        dp_veth_send(r, 100);
        dp_wait_until(dp_wants_kick(r->rx));
    }
}

/* Frames that wait for the guest when the interface goes are counted */
static void test_deleted_with_frames(const void *opaque)
{
    DpRig *r = rig_new(0, 4);

    dp_nic_set_pairs(r->nic, 1);
    fill_ring(r, 5, 0);
    dp_veth_check_deleted_with_frames(r, 5);
    dp_nic_reset(r->nic);
    dp_nic_start(r->nic, r->features);
    dp_veth_check_transmit(r, 100, 1);
    dp_veth_check_receive(r, 100, 77);
    dp_rig_free(r);
}

/*
 * The interface is replaced before QEMU looks, so the link stays up, and a
 * frame that the engine has is in the memory of a socket that is replaced.  It
 * is not lost; those that the engine has not seen are counted.
 */
static void test_replaced_with_frames(const void *opaque)
{
    DpRig *r = rig_new(0, 2);
    DpUsage before = dp_usage(r->qts);
    pid_t pid = qtest_pid(r->qts);
    unsigned round;
    size_t len;
    int status;

    dp_nic_set_pairs(r->nic, 1);
    for (round = 0; round < 4; round++) {
        fill_ring(r, 3, round);
        g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
        g_assert_cmpint(waitpid(pid, &status, WUNTRACED), ==, pid);
        dp_if_delete("v0");
        dp_veth_new("v0", "v1");
        dp_veth_use_peer(r);
        g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
        dp_wait_until(dp_if_promiscuity("v0") == 1);
        dp_wait_counter(r->qts, "vd0", DP_RX, "drop:link-down",
                        2 * (round + 1));
        g_assert_true(dp_link_is(r, true, NULL));

        dp_post(r->nic, 1, 200);
        dp_make_frame(r->frame, 100, round);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, len, r->frame, 100);
    }
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* ---- Several queue pairs ---- */

#define FLOW_BYTES 200
#define FLOWS 48

/* Send a UDP frame of flow @flow */
static void send_flow(DpRig *r, unsigned flow, unsigned seed, bool ip6)
{
    size_t len = FLOW_BYTES;

    dp_make_ip_frame(r->frame, len, IPPROTO_UDP, seed);
    stw_be_p(r->frame + 34, 1000 + flow);
    if (ip6) {
        memset(r->frame + 14, 0, 40);
        stw_be_p(r->frame + 12, ETH_P_IPV6);
        r->frame[14] = 0x60;
        stw_be_p(r->frame + 18, len - 54);
        r->frame[20] = IPPROTO_UDP;
        memset(r->frame + 22, 0xfd, 31);
        stw_be_p(r->frame + 54, 1000 + flow);
        stw_be_p(r->frame + 56, 2000);
    }
    dp_veth_send(r, len);
}

/* Returns the pair that got it */
static unsigned check_flow(DpRig *r, unsigned flow, unsigned seed, bool ip6)
{
    unsigned pair;
    size_t len;

    send_flow(r, flow, seed, ip6);
    dp_wait_until((pair = dp_veth_find_received(r)) < MAX_PAIRS);
    len = dp_receive_on(r->nic, pair, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, len, r->frame, FLOW_BYTES);
    dp_post_on(r->nic, pair, 1, 300);
    return pair;
}

/*
 * The IOThreads learn of it, one after the other, that the guest uses other
 * pairs, and frames may be lost until then.  Is it over?
 */
static bool is_settled(DpRig *r, unsigned active)
{
    unsigned got = 0, last = 0;
    unsigned i, pair;

    for (i = 0; i < FLOWS; i++) {
        send_flow(r, i, 0, false);
    }
    for (i = 0; i < 100 && got < FLOWS; i++) {
        while ((pair = dp_veth_find_received(r)) < MAX_PAIRS) {
            dp_receive_on(r->nic, pair, NULL, r->got, DP_MAX_FRAME);
            dp_post_on(r->nic, pair, 1, 300);
            last = MAX(last, pair);
            got++;
        }
        g_usleep(1000);
    }
    return got == FLOWS && last == active - 1;
}

/* Flows use all of the @active pairs, and stay where they are */
static void check_flows(DpRig *r, unsigned active)
{
    unsigned count[MAX_PAIRS] = {};
    unsigned i, pair;
    bool ip6;

    for (i = 0; i < FLOWS; i++) {
        ip6 = i % 2;
        pair = check_flow(r, i, 1, ip6);
        g_assert_cmpuint(pair, <, active);
        count[pair]++;
        g_assert_cmpuint(check_flow(r, i, 2, ip6), ==, pair);
    }
    for (i = 0; i < active; i++) {
        g_test_message("%u pairs: %u flows on pair %u", active, count[i], i);
        g_assert_cmpuint(count[i], >=, FLOWS / active / 4);
    }
}

static void check_active_pairs(DpRig *r)
{
    static const unsigned active[] = { 4, 2, 3, 1, 4 };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(active); i++) {
        dp_nic_set_pairs(r->nic, active[i]);
        dp_wait_until(is_settled(r, active[i]));
        check_flows(r, active[i]);
    }
}

static void test_multi_queue(const void *opaque)
{
    DpRig *r = rig_new(0, MAX_PAIRS);
    unsigned i;

    for (i = 0; i < MAX_PAIRS; i++) {
        dp_post_on(r->nic, i, 30, 300);
    }
    dp_wait_until(is_settled(r, MAX_PAIRS));
    for (i = 0; i < MAX_PAIRS; i++) {
        dp_make_frame(r->frame, 100, i);
        dp_transmit_on(r->nic, i, NULL, r->frame, 100);
        dp_wait_counter(r->qts, "vd0", 2 * i + DP_TX, "packets", 1);
    }
    check_active_pairs(r);

    /* The kernel takes the sockets out of the group, and puts them back */
    dp_nic_set_pairs(r->nic, 2);
    dp_wait_until(is_settled(r, 2));
    dp_if_down("v0");
    dp_wait_until(dp_link_is(r, false, "down"));
    dp_if_up("v0");
    dp_wait_until(dp_link_is(r, true, NULL));
    dp_veth_use_peer(r);
    check_flows(r, 2);

    dp_if_delete("v0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    dp_veth_renew(r, 1);
    check_flows(r, 2);
    check_active_pairs(r);
    dp_rig_free(r);
}

/* ---- Two drivers on one IOThread ---- */

static void test_side_by_side(const void *opaque)
{
    static const char *const peers[] = { "v1", "tap0" };

    dp_veth_new("v0", "v1");
    dp_veth_check_side_by_side(dp_guest_new("-object iothread,id=io0 "
        "-object vhost-dp-af-packet,id=v0 -object vhost-dp-tap,id=tap0 "
        "-netdev vhost-dp,id=vd0,driver=v0,iothread=io0 "
        "-netdev vhost-dp,id=vd1,driver=tap0,iothread=io0 "
        "-device virtio-net-pci,netdev=vd0,addr=04.0,romfile= "
        "-device virtio-net-pci,netdev=vd1,addr=05.0,romfile="), peers, 2);
}

int main(int argc, char **argv)
{
    static const unsigned one = 1, four = MAX_PAIRS;

    dp_test_init(&argc, &argv);
    dp_add_test("af-packet/frames", NULL, test_frames);
    dp_add_test("af-packet/many", NULL, test_many);
    dp_add_test("af-packet/scattered", NULL, test_scattered);
    dp_add_test("af-packet/own-frames", &one, test_own_frames);
    dp_add_test("af-packet/own-frames-multi-queue", &four, test_own_frames);
    dp_add_test("af-packet/lost", NULL, test_lost);
    dp_add_test("af-packet/replaced-with-frames", NULL,
                test_replaced_with_frames);
    dp_add_test("af-packet/too-large", NULL, test_too_large);
    dp_add_test("af-packet/link", &one, test_link);
    dp_add_test("af-packet/link-multi-queue", &four, test_link);
    dp_add_test("af-packet/starts-down", NULL, test_starts_down);
    dp_add_test("af-packet/deleted", &one, test_deleted);
    dp_add_test("af-packet/deleted-multi-queue", &four, test_deleted);
    dp_add_test("af-packet/deleted-with-frames", NULL,
                test_deleted_with_frames);
    dp_add_test("af-packet/multi-queue", NULL, test_multi_queue);
    dp_add_test("af-packet/side-by-side", NULL, test_side_by_side);
    return g_test_run();
}
