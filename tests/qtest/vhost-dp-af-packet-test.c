/*
 * vhost-dp: qtests of vhost-dp-af-packet
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver uses one end of a veth pair, v0; a packet socket of the test is
 * on the other one, v1.
 */

#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <net/if.h>
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "vhost-dp-guest.h"

#define MAX_PAIRS 4

/* ---- The rig ---- */

/* QEMU on v0, by name or, without privileges, with descriptors */
static DpRig *rig_start(uint64_t features, unsigned pairs, const char *driver)
{
    g_autofree char *queues = g_strdup_printf(",queues=%u", pairs);
    DpRig *r = g_new0(DpRig, 1);

    r->pairs = pairs;
    r->guest = dp_guest_new("-object vhost-dp-af-packet,id=%s "
                            "-netdev vhost-dp,id=vd0,driver=v0%s "
                            DP_DEVICE "disable-legacy=on%s", driver,
                            queues, pairs > 1 ? ",mq=on" : "");
    r->qts = r->guest->qts;
    r->sock = dp_sock_open("v1", true);
    r->features = DP_FEATURES_DEFAULT | features;
    if (pairs > 1) {
        r->features |= DP_FEATURE(VIRTIO_NET_F_MQ) |
                       DP_FEATURE(VIRTIO_NET_F_CTRL_VQ);
    }
    r->nic = dp_nic_probe(r->guest, DP_SLOT);
    dp_nic_start(r->nic, r->features);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    if (pairs > 1) {
        dp_nic_set_pairs(r->nic, pairs);
    }
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    return r;
}

static DpRig *rig_new(uint64_t features, unsigned pairs)
{
    dp_veth_new("v0", "v1");
    return rig_start(features, pairs, "v0");
}

static const struct virtio_net_hdr no_offload;

/* A frame from the test to the guest, which has posted a buffer */
static void check_receive(DpRig *r, size_t len, unsigned seed)
{
    size_t got;

    dp_post(r->nic, 1, r->nic->hdr_len + len);
    dp_make_frame(r->frame, len, seed);
    dp_sock_send(r->sock, &no_offload, r->frame, len);
    got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, got, r->frame, len);
}

static void check_transmit(DpRig *r, size_t len, unsigned seed)
{
    struct virtio_net_hdr hdr;
    size_t got;

    dp_make_frame(r->frame, len, seed);
    dp_transmit(r->nic, NULL, r->frame, len);
    got = dp_sock_recv(r->sock, DP_ETHERTYPE, &hdr, r->got, DP_MAX_FRAME,
                       DP_TIMEOUT_US);
    dp_assert_frame(r->got, got, r->frame, len);
    g_assert_cmpint(hdr.flags | hdr.gso_type, ==, 0);
}

/* The kernel sees changes of a link some time later, and drops frames before */
static void wait_running(void)
{
    dp_if_wait_running("v0");
    dp_if_wait_running("v1");
}

/* ---- Frames ---- */

static void test_frames(const void *opaque)
{
    static const size_t sizes[] = { 14, 15, 60, 64, 256, 257, 1000, 1514 };
    DpRig *r = rig_new(0, 1);
    uint64_t bytes = 0;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        check_transmit(r, sizes[i], i);
        check_receive(r, sizes[i], i + 100);
        bytes += sizes[i];
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", ARRAY_SIZE(sizes));
    dp_wait_counter(r->qts, "vd0", DP_TX, "bytes", bytes);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", ARRAY_SIZE(sizes));
    dp_wait_counter(r->qts, "vd0", DP_RX, "bytes", bytes);
    g_assert_cmpuint(dp_if_promiscuity("v0"), ==, 1);
    dp_rig_free(r);
    dp_wait_until(dp_if_promiscuity("v0") == 0);
}

/* Many more frames than the receive ring has slots, in order */
static void test_many(const void *opaque)
{
    const unsigned n = 1000;
    DpRig *r = rig_new(0, 1);
    unsigned i;

    for (i = 0; i < n; i++) {
        check_transmit(r, 60 + i % 200, i);
        check_receive(r, 60 + i % 200, i + 1);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", n);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", n);
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
    struct virtio_net_hdr hdr;
    unsigned i;

    for (i = 0; i < 10; i++) {
        dp_make_frame(r->frame, 60, i);
        dp_sock_send(own, &no_offload, r->frame, 60);
        g_assert_cmpuint(dp_sock_recv(r->sock, DP_ETHERTYPE, &hdr, r->got,
                                      DP_MAX_FRAME, DP_TIMEOUT_US), ==, 60);
        check_transmit(r, 100, i);
        check_receive(r, 200, i);
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 10);
    close(own);
    dp_rig_free(r);
}

/* Also if QEMU has to wait for a processor before */
static bool has_frame(DpRig *r)
{
    int64_t end = g_get_monotonic_time() + G_USEC_PER_SEC;

    while (!dp_has_used(r->rx) && g_get_monotonic_time() < end) {
        g_usleep(100);
    }
    return dp_has_used(r->rx);
}

/* All that was sent is either received or counted */
static void test_lost(const void *opaque)
{
    const unsigned n = 1500;
    DpRig *r = rig_new(0, 1);
    unsigned i, got = 0;
    size_t len;

    dp_make_frame(r->frame, 100, 1);
    for (i = 0; i < n; i++) {
        dp_sock_send(r->sock, &no_offload, r->frame, 100);
    }
    dp_post(r->nic, 1, 200);
    while (has_frame(r)) {
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, len, r->frame, 100);
        dp_post(r->nic, 1, 200);
        got++;
    }
    g_assert_cmpuint(got, <, n);

    /* The kernel tells of losses with the next frame */
    dp_sock_send(r->sock, &no_offload, r->frame, 100);
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
    check_transmit(r, 1514, 2);

    dp_if_set_mtu("v0", 9000);
    dp_if_set_mtu("v1", 9000);
    check_transmit(r, 9014, 3);
    check_receive(r, 9014, 4);
    dp_rig_free(r);
}

/* ---- VLAN tags ---- */

/* Insert a tag behind the addresses; returns the new length */
static size_t add_tag(uint8_t *frame, size_t len, uint16_t tpid, uint16_t tci)
{
    memmove(frame + 16, frame + 12, len - 12);
    stw_be_p(frame + 12, tpid);
    stw_be_p(frame + 14, tci);
    return len + 4;
}

/* The kernel takes the outer tag out for the test's socket, too */
static size_t recv_with_tag(DpRig *r, struct virtio_net_hdr *hdr)
{
    struct iovec iov[] = {
        { hdr, sizeof(*hdr) }, { r->got, DP_MAX_FRAME },
    };
    union {
        char buf[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
        struct cmsghdr align;
    } control;
    struct msghdr msg;
    struct tpacket_auxdata aux;
    struct sockaddr_ll sll;
    struct cmsghdr *cmsg;
    ssize_t len;

    do {
        msg = (struct msghdr) {
            .msg_name = &sll, .msg_namelen = sizeof(sll),
            .msg_iov = iov, .msg_iovlen = 2,
            .msg_control = &control, .msg_controllen = sizeof(control),
        };
        dp_wait_until((len = recvmsg(r->sock, &msg, MSG_DONTWAIT)) >= 0);
    } while (sll.sll_pkttype == PACKET_OUTGOING);
    len -= sizeof(*hdr);
    cmsg = CMSG_FIRSTHDR(&msg);
    g_assert_nonnull(cmsg);
    memcpy(&aux, CMSG_DATA(cmsg), sizeof(aux));
    if (aux.tp_status & TP_STATUS_VLAN_VALID) {
        return add_tag(r->got, len, aux.tp_vlan_tpid, aux.tp_vlan_tci);
    }
    return len;
}

static void want_tags(DpRig *r)
{
    int on = 1;

    g_assert_cmpint(setsockopt(r->sock, SOL_PACKET, PACKET_AUXDATA, &on,
                               sizeof(on)), ==, 0);
}

static void test_vlan(const void *opaque)
{
    static const uint16_t tpids[] = { 0x8100, 0x88a8 };
    DpRig *r = rig_new(0, 1);
    struct virtio_net_hdr hdr;
    unsigned i, tags;
    size_t len, got;

    want_tags(r);
    for (i = 0; i < ARRAY_SIZE(tpids); i++) {
        for (tags = 1; tags <= 2; tags++) {
            dp_make_frame(r->frame, 1500, i);
            len = 1500;
            if (tags == 2) {
                len = add_tag(r->frame, len, 0x8100, 0x2064);
            }
            len = add_tag(r->frame, len, tpids[i], 0x6005);

            dp_transmit(r->nic, NULL, r->frame, len);
            got = recv_with_tag(r, &hdr);
            dp_assert_frame(r->got, got, r->frame, len);

            dp_post(r->nic, 1, 2000);
            dp_sock_send(r->sock, &no_offload, r->frame, len);
            got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
            dp_assert_frame(r->got, got, r->frame, len);
        }
    }
    /* A tag with nothing in it, priority 0 of VLAN 0, is a tag */
    dp_make_frame(r->frame, 60, 7);
    len = add_tag(r->frame, 60, 0x8100, 0);
    dp_post(r->nic, 1, 2000);
    dp_sock_send(r->sock, &no_offload, r->frame, len);
    got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, got, r->frame, len);

    /* As long as a full frame with a tag */
    dp_make_frame(r->frame, 1514, 8);
    len = add_tag(r->frame, 1514, 0x8100, 9);
    dp_transmit(r->nic, NULL, r->frame, len);
    got = recv_with_tag(r, &hdr);
    dp_assert_frame(r->got, got, r->frame, len);
    dp_rig_free(r);
}

/* ---- Offloads: virtio 1.3, section 5.1.6.2 ---- */

#define OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_CSUM) | DP_FEATURE(VIRTIO_NET_F_HOST_TSO4) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | \
     DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF))

typedef struct Offload {
    const char *name;
    uint8_t proto;
    uint8_t gso_type;
    uint16_t gso_size;
    size_t len;
    bool tagged;
} Offload;

static const Offload offloads[] = {
    { "udp-checksum", IPPROTO_UDP, VIRTIO_NET_HDR_GSO_NONE, 0, 801 },
    { "tcp-checksum", IPPROTO_TCP, VIRTIO_NET_HDR_GSO_NONE, 0, 801 },
    { "tso", IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, 1448, 60000 },
    { "tso-longest", IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, 1448, 65535 },
    { "tagged-checksum", IPPROTO_TCP, VIRTIO_NET_HDR_GSO_NONE, 0, 801, true },
    { "tagged-tso", IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, 1400, 30000, true },
};

static void check_metadata(const Offload *o, const struct virtio_net_hdr *got,
                           unsigned shift)
{
    g_assert_cmpint(got->flags, ==, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    g_assert_cmpint(le16_to_cpu(got->csum_start), ==, 34 + shift);
    g_assert_cmpint(le16_to_cpu(got->csum_offset), ==,
                    o->proto == IPPROTO_TCP ? 16 : 6);
    g_assert_cmpint(got->gso_type, ==, o->gso_type);
    if (o->gso_type) {
        g_assert_cmpint(le16_to_cpu(got->gso_size), ==, o->gso_size);
        g_assert_cmpint(le16_to_cpu(got->hdr_len), ==, 54 + shift);
    }
}

static void test_offload(const void *opaque)
{
    const Offload *o = opaque;
    DpRig *r = rig_new(OFFLOADS, 1);
    struct virtio_net_hdr hdr = dp_make_hdr(o->proto, o->gso_type,
                                            o->gso_size);
    unsigned shift = o->tagged ? 4 : 0;
    struct virtio_net_hdr_v1 v1;
    struct virtio_net_hdr got;
    size_t len = o->len, n;

    want_tags(r);
    dp_make_ip_frame(r->frame, len, o->proto, 1);
    if (o->tagged) {
        len = add_tag(r->frame, len, 0x8100, 5);
        hdr.csum_start = cpu_to_le16(34 + shift);
        hdr.hdr_len = cpu_to_le16(le16_to_cpu(hdr.hdr_len) + shift);
    }

    dp_transmit(r->nic, &hdr, r->frame, len);
    n = recv_with_tag(r, &got);
    dp_assert_frame(r->got, n, r->frame, len);
    /* The test's socket counts without the tag */
    check_metadata(o, &got, 0);

    dp_post(r->nic, 40, 2048);
    dp_sock_send(r->sock, &hdr, r->frame, len);
    n = dp_receive(r->nic, &v1, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, n, r->frame, len);
    memcpy(&got, &v1, sizeof(got));
    check_metadata(o, &got, shift);
    dp_rig_free(r);
}

/* ---- The interface goes and comes ---- */

static void test_link(const void *opaque)
{
    const unsigned pairs = *(const unsigned *)opaque;
    DpRig *r = rig_new(0, pairs);
    unsigned i;

    for (i = 0; i < 3; i++) {
        g_assert_true(dp_link_is(r, true, NULL));
        dp_if_down("v0");
        dp_wait_until(dp_link_is(r, false, "'v0' is down"));
        dp_if_up("v0");
        dp_wait_until(dp_link_is(r, true, NULL));
        wait_running();
        check_transmit(r, 100, i);

        dp_if_down("v1");
        dp_wait_until(dp_link_is(r, false, "no carrier"));
        dp_if_up("v1");
        dp_wait_until(dp_link_is(r, true, NULL));
        /* The socket was told that the interface is down */
        close(r->sock);
        r->sock = dp_sock_open("v1", true);
        wait_running();
        check_transmit(r, 100, i);
        if (pairs == 1) {
            check_receive(r, 100, i);
        }
    }
    dp_rig_free(r);
}

/* A link that is down at the start */
static void test_starts_down(const void *opaque)
{
    DpRig *r;

    dp_veth_new("v0", "v1");
    dp_if_down("v0");
    r = rig_start(0, 1, "v0");
    dp_wait_until(dp_link_is(r, false, "down"));
    dp_if_up("v0");
    dp_wait_until(dp_link_is(r, true, NULL));
    wait_running();
    check_transmit(r, 100, 1);
    check_receive(r, 100, 2);
    dp_rig_free(r);
}

static void test_deleted(const void *opaque)
{
    const unsigned pairs = *(const unsigned *)opaque;
    DpRig *r = rig_new(0, pairs);
    DpUsage before = dp_usage(r->qts);
    unsigned i, j;

    for (i = 0; i < 3; i++) {
        dp_change_under_traffic(r, dp_if_delete, "v0", "deleted");
        close(r->sock);
        dp_veth_new("v0", "v1");
        r->sock = dp_sock_open("v1", true);
        dp_wait_until(dp_link_is(r, true, NULL));
        dp_wait_until(dp_if_promiscuity("v0") == pairs);
        for (j = 0; j < pairs; j++) {
            check_transmit(r, 100 + i, i);
        }
        if (pairs == 1) {
            check_receive(r, 300, i);
        }
    }
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* Returns when the engine has the first of @n frames, but no buffer for it */
static void fill_ring(DpRig *r, unsigned n, unsigned seed)
{
    unsigned i;

    check_receive(r, 60, seed);
    g_assert_false(dp_wants_kick(r->rx));
    for (i = 0; i < n; i++) {
        dp_make_frame(r->frame, 100, seed + i);
        dp_sock_send(r->sock, &no_offload, r->frame, 100);
        dp_wait_until(dp_wants_kick(r->rx));
    }
}

/* Frames that wait for the guest when the interface goes are counted */
static void test_deleted_with_frames(const void *opaque)
{
    DpRig *r = rig_new(0, 4);
    size_t len;

    dp_nic_set_pairs(r->nic, 1);
    fill_ring(r, 5, 0);
    dp_if_delete("v0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    close(r->sock);
    dp_veth_new("v0", "v1");
    r->sock = dp_sock_open("v1", true);
    dp_wait_until(dp_link_is(r, true, NULL));
    dp_wait_until(dp_counter(r->qts, "vd0", DP_RX, "drop:link-down") +
                  dp_counter(r->qts, "vd0", DP_RX, "drop:stopped") == 5);
    dp_nic_reset(r->nic);
    dp_nic_start(r->nic, r->features);
    check_transmit(r, 100, 1);
    dp_post(r->nic, 1, 200);
    dp_make_frame(r->frame, 100, 77);
    dp_sock_send(r->sock, &no_offload, r->frame, 100);
    len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, len, r->frame, 100);
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
        close(r->sock);
        dp_veth_new("v0", "v1");
        r->sock = dp_sock_open("v1", true);
        g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
        dp_wait_until(dp_if_promiscuity("v0") == 2);
        g_assert_true(dp_link_is(r, true, NULL));

        dp_post(r->nic, 1, 200);
        dp_make_frame(r->frame, 100, round);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, len, r->frame, 100);
        dp_wait_counter(r->qts, "vd0", DP_RX, "drop:link-down",
                        2 * (round + 1));
    }
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* ---- Several queue pairs ---- */

/* The pair that has received a frame, or MAX_PAIRS */
static unsigned find_received(DpRig *r)
{
    unsigned i;

    for (i = 0; i < MAX_PAIRS; i++) {
        if (dp_has_used(&r->nic->queue[2 * i + DP_RX])) {
            break;
        }
    }
    return i;
}

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
    dp_sock_send(r->sock, &no_offload, r->frame, len);
}

/* Returns the pair that got it */
static unsigned check_flow(DpRig *r, unsigned flow, unsigned seed, bool ip6)
{
    unsigned pair;
    size_t len;

    send_flow(r, flow, seed, ip6);
    dp_wait_until((pair = find_received(r)) < MAX_PAIRS);
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
        while ((pair = find_received(r)) < MAX_PAIRS) {
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
    wait_running();
    check_flows(r, 2);

    dp_if_delete("v0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    close(r->sock);
    dp_veth_new("v0", "v1");
    r->sock = dp_sock_open("v1", true);
    dp_wait_until(dp_link_is(r, true, NULL));
    check_flows(r, 2);
    check_active_pairs(r);
    dp_rig_free(r);
}

/* ---- Two drivers on one IOThread ---- */

static void test_side_by_side(const void *opaque)
{
    DpGuest *guest;
    DpNic *nic[2];
    int sock[2];
    uint8_t frame[200], got[300];
    unsigned i, round;

    dp_veth_new("v0", "v1");
    guest = dp_guest_new("-object iothread,id=io0 "
        "-object vhost-dp-af-packet,id=v0 -object vhost-dp-tap,id=tap0 "
        "-netdev vhost-dp,id=vd0,driver=v0,iothread=io0 "
        "-netdev vhost-dp,id=vd1,driver=tap0,iothread=io0 "
        "-device virtio-net-pci,netdev=vd0,addr=04.0,romfile= "
        "-device virtio-net-pci,netdev=vd1,addr=05.0,romfile=");
    sock[0] = dp_sock_open("v1", false);
    sock[1] = dp_sock_open("tap0", false);
    for (i = 0; i < 2; i++) {
        nic[i] = dp_nic_new(guest, DP_SLOT + i, DP_FEATURES_DEFAULT);
    }
    for (round = 0; round < 50; round++) {
        for (i = 0; i < 2; i++) {
            size_t len;

            dp_make_frame(frame, 200, round + 100 * i);
            dp_post(nic[i], 1, 300);
            dp_sock_send(sock[i], NULL, frame, 200);
            dp_check_transmit(nic[i], sock[i], 100, round);
            len = dp_receive(nic[i], NULL, got, sizeof(got));
            dp_assert_frame(got, len, frame, 200);
        }
    }
    for (i = 0; i < 2; i++) {
        dp_wait_counter(guest->qts, i ? "vd1" : "vd0", DP_TX, "packets", 50);
        dp_wait_counter(guest->qts, i ? "vd1" : "vd0", DP_RX, "packets", 50);
        dp_nic_free(nic[i]);
        close(sock[i]);
    }
    dp_guest_free(guest);
}

/* ---- Options, and descriptors from outside ---- */

#define ADD_DRIVER(options) \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': 'vhost-dp-af-packet', 'id': 'drv0', " options " } }"
#define ADD_NETDEV(options) \
    "{ 'execute': 'netdev_add', 'arguments': {" \
    " 'type': 'vhost-dp', 'id': 'vd0', 'driver': 'drv0'" options " } }"

static void run_good(QTestState *qts, const char *command)
{
    QDict *response;

    qtest_qmp_send_raw(qts, "%s", command);
    response = qtest_qmp_receive(qts);
    if (!qdict_haskey(response, "return")) {
        g_error("%s: %s", command,
                qdict_get_str(qdict_get_qdict(response, "error"), "desc"));
    }
    qobject_unref(response);
}

/* A packet socket as somebody else would open it for QEMU */
static int open_socket(int type, const char *name, uint16_t protocol)
{
    struct sockaddr_ll sll = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(protocol),
        .sll_ifindex = name ? if_nametoindex(name) : 0,
    };
    int fd = socket(AF_PACKET, type | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    if (name) {
        g_assert_cmpint(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), ==, 0);
    }
    return fd;
}

static int open_good(void)
{
    return open_socket(SOCK_RAW, "v0", ETH_P_ALL);
}

static int open_other(void)
{
    return open_socket(SOCK_RAW, "v1", ETH_P_ALL);
}

static int open_dgram(void)
{
    return open_socket(SOCK_DGRAM, "v0", ETH_P_ALL);
}

static int open_unbound(void)
{
    return open_socket(SOCK_RAW, NULL, 0);
}

static int open_ip_only(void)
{
    return open_socket(SOCK_RAW, "v0", ETH_P_IP);
}

static int open_loopback(void)
{
    dp_if_up("lo");
    return open_socket(SOCK_RAW, "lo", ETH_P_ALL);
}

static int open_udp(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int open_null(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

/* It has a ring of somebody else's */
static int open_with_ring(void)
{
    int fd = open_good();
    struct tpacket_req req = { 4096, 1, 2048, 2 };

    g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req,
                               sizeof(req)), ==, 0);
    return fd;
}

typedef struct Bad {
    const char *name;
    int (*open[2])(void);       /* what becomes fds 'a' and 'b' */
    const char *driver;         /* command that makes it */
    const char *netdev;
    const char *texts[4];
    bool at_once;               /* the driver's options are wrong already */
    bool unprivileged;
} Bad;

static const Bad bads[] = {
    { "missing", {}, ADD_DRIVER("'ifname': 'nosuch0'"), ADD_NETDEV(""),
      { "'drv0'", "ifname=nosuch0", "no such interface" } },
    { "fd-empty", {}, ADD_DRIVER("'fd': ''"), NULL,
      { "'drv0'", "fd=", "empty" }, .at_once = true },
    { "loopback", {}, ADD_DRIVER("'ifname': 'lo'"), ADD_NETDEV(""),
      { "'drv0'", "ifname=lo", "not an Ethernet" } },
    { "no-permission", {}, ADD_DRIVER("'ifname': 'v0'"), ADD_NETDEV(""),
      { "'drv0'", "ifname=v0", "no permission" }, .unprivileged = true },
    { "name-too-long", {}, ADD_DRIVER("'ifname': 'a123456789012345'"), NULL,
      { "'drv0'", "ifname=a123456789012345", "15" }, .at_once = true },
    { "name-empty", {}, ADD_DRIVER("'ifname': ''"), NULL,
      { "'drv0'", "ifname=" }, .at_once = true },
    { "ifname-and-fd", {}, ADD_DRIVER("'ifname': 'v0', 'fd': '3'"), NULL,
      { "'drv0'", "ifname=", "fd=", "exclude" }, .at_once = true },
    { "fd-and-fds", {}, ADD_DRIVER("'fd': '3', 'fds': '3:4'"), NULL,
      { "'drv0'", "fds=", "fd=", "exclude" }, .at_once = true },
    { "two-in-fd", {}, ADD_DRIVER("'fd': '3:4'"), NULL,
      { "'drv0'", "fd=3:4", "takes one" }, .at_once = true },
    { "empty-in-fds", {}, ADD_DRIVER("'fds': '3::5'"), NULL,
      { "'drv0'", "fds=3::5", "descriptor 2 is empty" }, .at_once = true },
    { "fd-unknown", {}, ADD_DRIVER("'fd': 'nosuch'"), ADD_NETDEV(""),
      { "'drv0'", "fd=nosuch" } },
    { "fd-closed", {}, ADD_DRIVER("'fd': '999'"), ADD_NETDEV(""),
      { "'drv0'", "fd=999", "not a packet socket" } },
    { "fd-stdin", {}, ADD_DRIVER("'fd': '0'"), ADD_NETDEV(""),
      { "'drv0'", "fd=0", "not a packet socket" } },
    { "fd-dgram", { open_dgram }, ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "SOCK_RAW" } },
    { "fd-unbound", { open_unbound }, ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "not bound to an interface" } },
    { "fd-protocol", { open_ip_only }, ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "protocol 0x0800" } },
    { "fd-loopback", { open_loopback }, ADD_DRIVER("'fd': 'a'"),
      ADD_NETDEV(""), { "'drv0'", "fd=a", "'lo' is not an Ethernet" } },
    { "fd-udp", { open_udp }, ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "not a packet socket" } },
    { "fd-dev-null", { open_null }, ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "not a packet socket" } },
    { "fd-with-ring", { open_with_ring }, ADD_DRIVER("'fd': 'a'"),
      ADD_NETDEV(""), { "'drv0'", "fd=a", "busy" } },
    { "fds-of-two-interfaces", { open_good, open_other },
      ADD_DRIVER("'fds': 'a:b'"), ADD_NETDEV(", 'queues': 2"),
      { "'drv0'", "fds=a:b", "'v0'", "'v1'" } },
    { "fds-too-many", { open_good, open_good }, ADD_DRIVER("'fds': 'a:b'"),
      ADD_NETDEV(""), { "'drv0'", "fds=a:b", "2 descriptors" } },
    { "fds-too-few", { open_good, open_good }, ADD_DRIVER("'fds': 'a:b'"),
      ADD_NETDEV(", 'queues': 3"), { "queues=3", "1 to 2" } },
    { "too-many-queues", {}, ADD_DRIVER("'ifname': 'v0'"),
      ADD_NETDEV(", 'queues': 65"), { "queues=65", "1 to 64" } },
};

/* Sends descriptors as 'a', 'b', ...; they are closed here */
static void send_fds(QTestState *qts, const int *fd, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        char name[] = { 'a' + i, 0 };
        int one = fd[i];

        qtest_qmp_fds_assert_success(qts, &one, 1, "{ 'execute': 'getfd',"
                                     " 'arguments': { 'fdname': %s } }", name);
        close(fd[i]);
    }
}

/* Those that nobody asked for are still the monitor's */
static void close_fds(QTestState *qts, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        char name[] = { 'a' + i, 0 };

        qtest_qmp_assert_success(qts, "{ 'execute': 'closefd',"
                                 " 'arguments': { 'fdname': %s } }", name);
    }
}

static void check_bad(QTestState *qts, const Bad *bad, const char *command)
{
    qtest_qmp_send_raw(qts, "%s", command);
    dp_check_error(qtest_qmp_receive(qts), bad->texts[0], bad->texts[1],
                   bad->texts[2], bad->texts[3], NULL);
}

/* An error that names option and value; nothing leaks; QEMU goes on */
static void test_bad(const void *opaque)
{
    const Bad *bad = opaque;
    QTestState *qts = dp_qemu_new(bad->unprivileged ?
                                  dp_qemu_unprivileged() : NULL);
    DpUsage before = dp_usage(qts);
    int fd[2] = {};
    unsigned n;

    dp_veth_new("v0", "v1");
    for (n = 0; n < 2 && bad->open[n]; n++) {
        fd[n] = bad->open[n]();
    }
    send_fds(qts, fd, n);
    if (bad->at_once) {
        check_bad(qts, bad, bad->driver);
    } else {
        run_good(qts, bad->driver);
        check_bad(qts, bad, bad->netdev);
        run_good(qts, "{ 'execute': 'object-del',"
                      " 'arguments': { 'id': 'drv0' } }");
    }
    if (n == 2 && strstr(bad->name, "too-few")) {
        close_fds(qts, n);
    }
    if (!bad->unprivileged) {
        run_good(qts, ADD_DRIVER("'ifname': 'v0'"));
        run_good(qts, ADD_NETDEV(""));
        run_good(qts, "{ 'execute': 'netdev_del',"
                      " 'arguments': { 'id': 'vd0' } }");
        run_good(qts, "{ 'execute': 'object-del',"
                      " 'arguments': { 'id': 'drv0' } }");
    }
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

/* QEMU without privileges uses what it was given, again and again */
static void test_fds(const void *opaque)
{
    const unsigned n = *(const unsigned *)opaque;
    QTestState *qts = dp_qemu_new(dp_qemu_unprivileged());
    DpUsage before = dp_usage(qts);
    int fd[MAX_PAIRS] = {};
    unsigned i;

    dp_veth_new("v0", "v1");
    for (i = 0; i < n; i++) {
        fd[i] = open_good();
    }
    send_fds(qts, fd, n);
    run_good(qts, n > 1 ? ADD_DRIVER("'fds': 'a:b:c:d'") :
                          ADD_DRIVER("'fd': 'a'"));
    for (i = 0; i < 3; i++) {
        QDict *info;

        run_good(qts, n > 1 ? ADD_NETDEV(", 'queues': 4") : ADD_NETDEV(""));
        info = dp_query(qts, "vd0");
        g_assert_cmpstr(qdict_get_str(info, "interface"), ==,
                        n > 1 ? "ifname=v0,fds=a:b:c:d" : "ifname=v0,fd=a");
        g_assert_true(qdict_get_bool(info, "link-up"));
        qobject_unref(info);
        g_assert_cmpuint(dp_if_promiscuity("v0"), ==, n);
        run_good(qts, "{ 'execute': 'netdev_del',"
                      " 'arguments': { 'id': 'vd0' } }");
        g_assert_cmpuint(dp_if_promiscuity("v0"), ==, 0);
    }
    run_good(qts, "{ 'execute': 'object-del',"
                  " 'arguments': { 'id': 'drv0' } }");
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

/* The same with a guest; one descriptor can be bound again, unprivileged */
static void test_unprivileged(const void *opaque)
{
    const char *qemu = opaque;
    g_autofree char *options = NULL;
    DpRig *r = g_new0(DpRig, 1);
    unsigned i;
    int fd;

    dp_veth_new("v0", "v1");
    fd = open_good();
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    options = g_strdup_printf("-object vhost-dp-af-packet,id=drv0,fd=%d "
                              "-netdev vhost-dp,id=vd0,driver=drv0 "
                              DP_DEVICE "disable-legacy=on", fd);
    r->guest = dp_guest_new_env(qemu, options);
    close(fd);
    r->qts = r->guest->qts;
    r->sock = dp_sock_open("v1", true);
    r->nic = dp_nic_new(r->guest, DP_SLOT, DP_FEATURES_DEFAULT);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    for (i = 0; i < 3; i++) {
        check_transmit(r, 100, i);
        check_receive(r, 100, i);
        dp_if_delete("v0");
        dp_wait_until(dp_link_is(r, false, "deleted"));
        close(r->sock);
        dp_veth_new("v0", "v1");
        r->sock = dp_sock_open("v1", true);
        dp_wait_until(dp_link_is(r, true, NULL));
    }
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    static const unsigned one = 1, four = MAX_PAIRS;
    unsigned i;

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
    dp_add_test("af-packet/vlan", NULL, test_vlan);
    for (i = 0; i < ARRAY_SIZE(offloads); i++) {
        g_autofree char *path = g_strdup_printf("af-packet/offload/%s",
                                                offloads[i].name);

        dp_add_test(path, &offloads[i], test_offload);
    }
    dp_add_test("af-packet/link", &one, test_link);
    dp_add_test("af-packet/link-multi-queue", &four, test_link);
    dp_add_test("af-packet/starts-down", NULL, test_starts_down);
    dp_add_test("af-packet/deleted", &one, test_deleted);
    dp_add_test("af-packet/deleted-multi-queue", &four, test_deleted);
    dp_add_test("af-packet/deleted-with-frames", NULL,
                test_deleted_with_frames);
    dp_add_test("af-packet/multi-queue", NULL, test_multi_queue);
    dp_add_test("af-packet/side-by-side", NULL, test_side_by_side);
    for (i = 0; i < ARRAY_SIZE(bads); i++) {
        g_autofree char *path = g_strdup_printf("af-packet/bad/%s",
                                                bads[i].name);

        dp_add_test(path, &bads[i], test_bad);
    }
    dp_add_test("af-packet/fd", &one, test_fds);
    dp_add_test("af-packet/fds", &four, test_fds);
    dp_add_test("af-packet/unprivileged", dp_qemu_unprivileged(),
                test_unprivileged);
    dp_add_sandbox_test("af-packet/sandbox", test_unprivileged);
    return g_test_run();
}
