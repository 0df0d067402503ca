/*
 * vhost-dp: qtests of vhost-dp-vhost-user with back ends as they are
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Peers that keep to the protocol, and have limits of their own, as passt, VPP
 * and back ends of rust-vmm have them.  Two of these hold for the peer of every
 * test (peer.c): a frame is one descriptor, and a ring is told of by
 * its SET_VRING_CALL first.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "guest.h"
#include "peer.h"

/* One queue pair, with the options that a user has who gives none */
static DpVu *rig_new(unsigned pairs)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=10",
                                               v->path);

    v->peer->features = -1;
    dp_vu_start(v, "", options, pairs,
                pairs > 1 ? DP_FEATURE(VIRTIO_NET_F_MQ) |
                            DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) : 0);
    return v;
}

/* What is in the list @name of query-vhost-dp, of the peer if @peer */
static unsigned count(DpVu *v, bool peer, const char *name)
{
    QDict *info = dp_query(v->r->qts, "vd0");
    unsigned n = qlist_size(qdict_get_qlist(peer ?
                                            qdict_get_qdict(info, "peer") :
                                            info, name));

    qobject_unref(info);
    return n;
}

static void check_all_lengths(DpVu *v)
{
    static const size_t lens[] = { 60, 2101, 4242, 9014, 65550 };
    unsigned round, i;

    for (round = 0; round < 20; round++) {
        for (i = 0; i < ARRAY_SIZE(lens); i++) {
            dp_vu_check_to_peer(v, 0, lens[i], round + i);
            dp_vu_check_to_guest(v, 0, lens[i], round + i);
        }
    }
}

/* ---- The size of virtqueues ---- */

/* Entries that the peer takes: of transmit queues, and of receive queues */
typedef struct Limit {
    unsigned rx, tx;
    unsigned settles;           /* on so many; 0: it does not */
} Limit;

static const Limit *limit;
static unsigned asked;          /* first */

/* As rust-vmm does: refused with an acknowledgement that is not zero */
static bool refuse_num(DpPeer *peer, const VhostUserMsg *msg)
{
    const uint64_t refused = 1;
    struct vhost_vring_state state;

    if (msg->request != VHOST_USER_SET_VRING_NUM) {
        return false;
    }
    memcpy(&state, &msg->payload.state, sizeof(state));
    asked = asked ?: state.num;
    if (state.num <= (state.index % 2 ? limit->tx : limit->rx)) {
        return false;
    }
    g_assert_cmphex(msg->flags & VHOST_USER_NEED_REPLY_MASK, !=, 0);
    dp_peer_send_msg(peer, msg->request, 1 | VHOST_USER_REPLY_MASK,
                     sizeof(refused), &refused, NULL, 0);
    return true;
}

static void test_num(const void *opaque)
{
    DpVu *v = rig_new(2);
    unsigned i;

    limit = opaque;
    asked = 0;
    v->peer->hook = refuse_num;
    if (!limit->settles) {
        dp_vu_wait_refused(v, "refused queue-size=256");
        dp_vu_wait_refused(v, "VHOST_USER_SET_VRING_NUM");
    } else {
        dp_peer_run(v->peer, 2);
        for (i = 0; i < 4; i++) {
            g_assert_cmpuint(v->peer->ring[i].num, ==, limit->settles);
        }
        dp_vu_start_nic(v);
        dp_wait_until(dp_link_is(v->r, true, NULL));
        check_all_lengths(v);
    }
    /* The default: what QEMU's own vhost-user asks for */
    g_assert_cmpuint(asked, ==, 256);
    /* A peer may have limits */
    g_assert_cmpuint(count(v, true, "violations"), ==, 0);
    dp_vu_free(v);
}

/* Without VHOST_USER_PROTOCOL_F_REPLY_ACK all that it can do is go */
static bool hang_up(DpPeer *peer, const VhostUserMsg *msg)
{
    if (msg->request == VHOST_USER_SET_VRING_NUM) {
        shutdown(peer->sock, SHUT_RDWR);
    }
    return false;
}

static void test_num_hang_up(const void *opaque)
{
    DpVu *v = rig_new(1);

    v->peer->protocol_features = 0;
    v->peer->hook = hang_up;
    dp_vu_wait_refused(v, "it may not accept queue-size=256");
    dp_vu_free(v);
}

/* ---- Other refusals ---- */

static uint32_t refused_request;

static bool refuse(DpPeer *peer, const VhostUserMsg *msg)
{
    const uint64_t refused = 1;

    if (msg->request != refused_request) {
        return false;
    }
    dp_peer_send_msg(peer, msg->request, 1 | VHOST_USER_REPLY_MASK,
                     sizeof(refused), &refused, NULL, 0);
    return true;
}

/* Each is told with the option that leads to it, and in words */
static void test_refusals(const void *opaque)
{
    static const struct {
        uint32_t request;
        const char *says;
    } cases[] = {
        { VHOST_USER_NET_SET_MTU, "refused mtu=9000 (VHOST_USER_NET_SET_MTU" },
        { VHOST_USER_SET_FEATURES, "(VHOST_USER_SET_FEATURES" },
        { VHOST_USER_SET_MEM_TABLE, "queues=1 and queue-size=64 take (VHOST" },
        { VHOST_USER_SET_VRING_ENABLE, "refused VHOST_USER_SET_VRING_ENABLE" },
    };
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=10,"
                                               "mtu=9000,queue-size=64",
                                               v->path);
    unsigned i;

    v->peer->features = -1;
    v->peer->hook = refuse;
    dp_vu_start(v, "", options, 1, 0);
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        refused_request = cases[i].request;
        dp_vu_wait_refused(v, cases[i].says);
    }
    g_assert_cmpuint(count(v, true, "violations"), ==, 0);
    dp_vu_free(v);
}

/* ---- Offloads ---- */

/* What is listed is the peer's */
static void test_offloads(const void *opaque)
{
    DpVu *v = rig_new(1);

    g_assert_cmpuint(count(v, false, "tx-offloads"), ==, 0);
    g_assert_cmpuint(count(v, false, "rx-offloads"), ==, 0);
    dp_peer_run(v->peer, 1);
    dp_wait_until(count(v, false, "tx-offloads") == 7);
    g_assert_cmpuint(count(v, false, "rx-offloads"), ==, 7);
    dp_peer_disconnect(v->peer);
    dp_wait_until(count(v, false, "tx-offloads") == 0);
    g_assert_cmpuint(count(v, false, "rx-offloads"), ==, 0);

    v->peer->features = DP_FEATURE(VIRTIO_F_VERSION_1) |
                        DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
                        DP_FEATURE(VIRTIO_NET_F_CSUM) |
                        DP_FEATURE(VIRTIO_NET_F_HOST_TSO4);
    dp_peer_run(v->peer, 1);
    dp_wait_until(count(v, false, "tx-offloads") == 2);
    g_assert_cmpuint(count(v, false, "rx-offloads"), ==, 1);
    dp_vu_free(v);
}

/* ---- passt ---- */

/*
 * passt: no offloads, and all of its frames say DATA_VALID, without a TCP or
 * UDP checksum.  The guest computes checksums itself, as firmware does.
 */
static void test_passt(const void *opaque)
{
    static const struct virtio_net_hdr_v1 unchecked = {
        .flags = VIRTIO_NET_HDR_F_DATA_VALID,
    };
    static const size_t lens[] = { 60, 1514, 4242, 65534 };
    DpVu *v = rig_new(1);
    DpRig *r = v->r;
    unsigned round, i;

    v->peer->features = DP_FEATURE(VIRTIO_F_VERSION_1) |
                        DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
                        DP_FEATURE(VHOST_F_LOG_ALL) |
                        DP_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);
    v->peer->protocol_features = 1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK |
                                 1ULL << VHOST_USER_PROTOCOL_F_LOG_SHMFD;
    dp_peer_run(v->peer, 1);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    for (round = 0; round < 20; round++) {
        for (i = 0; i < ARRAY_SIZE(lens); i++) {
            uint8_t proto = (round + i) % 2 ? IPPROTO_TCP : IPPROTO_UDP;
            struct virtio_net_hdr_v1 hdr;
            size_t got;

            dp_vu_check_to_peer(v, 0, lens[i], i);
            dp_make_ip_frame(r->frame, lens[i], proto, round);
            g_assert_false(dp_checksum_ok(r->frame, lens[i]));
            dp_post(r->nic, 1, lens[i] + sizeof(hdr));
            dp_peer_send(v->peer, 0, &unchecked, r->frame, lens[i]);
            got = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
            g_assert_cmpuint(got, ==, lens[i]);
            g_assert_cmphex(hdr.flags, ==, 0);
            g_assert_true(dp_checksum_ok(r->got, got));
        }
    }
    dp_vu_free(v);
}

int main(int argc, char **argv)
{
    static const Limit limits[] = {
        { 1024, 1024, 256 }, { 128, 128, 128 }, { 128, 64, 64 },
        { 64, 128, 64 }, { 256, 32, 0 },
    };
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(limits); i++) {
        g_autofree char *name = g_strdup_printf("peers/num/%u-%u",
                                                limits[i].rx, limits[i].tx);

        dp_add_test(name, &limits[i], test_num);
    }
    dp_add_test("peers/num/hang-up", NULL, test_num_hang_up);
    dp_add_test("peers/refusals", NULL, test_refusals);
    dp_add_test("peers/offloads", NULL, test_offloads);
    dp_add_ring_test("peers/passt", NULL, test_passt);
    return g_test_run();
}
