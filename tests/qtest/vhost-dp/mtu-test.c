/*
 * vhost-dp: qtests of VIRTIO_NET_F_MTU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Virtio 1.3, 5.1.4.1: a guest that agreed to an MTU gets no longer packet.
 * The frames come from a vhost-user peer, which may send any.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "tests/vhost-dp/lib/frames.h"
#include "guest.h"
#include "peer.h"

#define MTU 1500

#define FEATURES DP_FEATURE(VIRTIO_NET_F_MTU)

#define FEATURES_GSO \
    (FEATURES | DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_ECN) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_UFO) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_USO4) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_USO6))

/* Of this kind, the longest packet that is delivered */
typedef struct Kind {
    const char *name;
    FrameSpec spec;
    unsigned step;              /* the next longer one has so many bytes more */
    unsigned rest;              /* and this one is so much shorter than MTU */
} Kind;

static const Kind kinds[] = {
    { "ip4", { .tcp = true }, 1 },
    { "ip6", { .tcp = true, .ip6 = true }, 1 },
    { "tag", { .tcp = true, .tags = 1 }, 1 },
    { "tags", { .ip6 = true, .tags = 2 }, 1 },
    { "three-tags", { .tcp = true, .tags = 3 }, 1 },
    { "tso4", { .tcp = true, .tcp_options = 12,
                .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 }, 1 },
    { "tso4-ecn", { .tcp = true, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 |
                                             VIRTIO_NET_HDR_GSO_ECN }, 1 },
    { "tso4-tag", { .tcp = true, .tags = 1,
                    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 }, 1 },
    { "tso6", { .tcp = true, .ip6 = true,
                .gso_type = VIRTIO_NET_HDR_GSO_TCPV6 }, 1 },
    { "uso4", { .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4 }, 1 },
    { "uso6", { .ip6 = true, .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4 }, 1 },
    /* What is in a fragment is a multiple of 8 bytes */
    { "ufo4", { .gso_type = VIRTIO_NET_HDR_GSO_UDP }, 8 },
    { "ufo6", { .ip6 = true, .gso_type = VIRTIO_NET_HDR_GSO_UDP }, 8, 4 },
};

static DpVu *rig_new(uint64_t features)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s", v->path);

    dp_vu_start(v, "-global virtio-net-device.host_mtu=1500", options, 1,
                features);
    dp_peer_run(v->peer, 1);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    return v;
}

/* Let the packets of a frame have @packet bytes behind the Ethernet header */
static void set_packet_len(FrameSpec *spec, unsigned packet)
{
    unsigned l2 = 14 + 4 * spec->tags;
    unsigned headers;

    spec->payload = 0;
    headers = frames_len(spec) - l2;
    if (!spec->gso_type) {
        spec->payload = packet - headers;
        return;
    }
    spec->gso_size = packet - headers;
    if (spec->gso_type == VIRTIO_NET_HDR_GSO_UDP) {
        /* The UDP header is in the first fragment, like data */
        spec->gso_size += 8 - (spec->ip6 ? 8 : 0);
    }
    spec->payload = 3 * spec->gso_size + 100;
}

static void send_frame(DpVu *v, FrameSpec *spec)
{
    struct virtio_net_hdr_v1 hdr = {};

    frames_build(spec, v->r->frame);
    hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    hdr.csum_start = cpu_to_le16(spec->l4);
    hdr.csum_offset = cpu_to_le16(spec->tcp ? 16 : 6);
    if (spec->gso_type) {
        hdr.gso_type = spec->gso_type;
        hdr.gso_size = cpu_to_le16(spec->gso_size);
        hdr.hdr_len = cpu_to_le16(spec->data);
    }
    dp_peer_send(v->peer, 0, &hdr, v->r->frame, spec->len);
}

/* The guest gets the frame as it is, or cut */
static void check_delivered(DpVu *v, const FrameSpec *spec, bool whole)
{
    unsigned longest = MTU + 14 + 4 * spec->tags;
    unsigned n = spec->gso_type && !whole ? 4 : 1;
    struct virtio_net_hdr_v1 hdr;

    while (n--) {
        size_t len = dp_receive(v->r->nic, &hdr, v->r->got, DP_MAX_FRAME);

        if (spec->gso_type && whole) {
            g_assert_cmpuint(len, ==, spec->len);
            g_assert_cmphex(hdr.gso_type, ==, spec->gso_type);
        } else {
            g_assert_cmpuint(len, <=, longest);
            g_assert_cmphex(hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
        }
    }
}

static void check_kinds(DpVu *v, bool whole)
{
    DpRig *r = v->r;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(kinds); i++) {
        FrameSpec spec = kinds[i].spec;

        g_test_message("%s", kinds[i].name);
        set_packet_len(&spec, MTU - kinds[i].rest + kinds[i].step);
        dp_post(r->nic, 4, 8192);
        send_frame(v, &spec);
        dp_wait_counter(r->qts, "vd0", DP_RX, "drop:exceeds-mtu", i + 1);
        g_assert_false(dp_has_used(r->rx));

        set_packet_len(&spec, MTU - kinds[i].rest);
        send_frame(v, &spec);
        check_delivered(v, &spec, whole);
        g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "drop:exceeds-mtu"),
                         ==, i + 1);
    }
}

/* A guest that takes whatever there is: it is the segments that count */
static void test_offloads(const void *opaque)
{
    DpVu *v = rig_new(FEATURES_GSO);

    check_kinds(v, true);
    dp_vu_free(v);
}

/* One that takes nothing gets segments, which are no longer */
static void test_software(const void *opaque)
{
    DpVu *v = rig_new(FEATURES);

    check_kinds(v, false);
    dp_vu_free(v);
}

/* One that did not agree to it is not protected */
static void test_not_negotiated(const void *opaque)
{
    DpVu *v = rig_new(0);
    FrameSpec spec = { .tcp = true };

    set_packet_len(&spec, 4000);
    dp_post(v->r->nic, 4, 8192);
    send_frame(v, &spec);
    g_assert_cmpuint(dp_receive(v->r->nic, NULL, v->r->got, DP_MAX_FRAME), ==,
                     spec.len);
    /* And it may change its mind */
    v->r->features |= FEATURES;
    dp_rig_restart(v->r);
    dp_post(v->r->nic, 4, 8192);
    send_frame(v, &spec);
    dp_wait_counter(v->r->qts, "vd0", DP_RX, "drop:exceeds-mtu", 1);
    dp_vu_free(v);
}

/* Long frames go to the guest's buffers at once, and are checked there */
static void test_direct(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "host_mtu=1500,disable-legacy=on",
        .features = FEATURES_GSO | DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
    }, true);
    size_t len = DP_IP_HEADERS(IPPROTO_TCP) + 20000;
    unsigned max = MTU + 14 - DP_IP_HEADERS(IPPROTO_TCP);
    struct virtio_net_hdr hdr;
    unsigned i;

    dp_if_set_mtu("tap0", 9000);
    dp_make_ip_frame(r->frame, len, IPPROTO_TCP, 1);
    hdr = dp_make_hdr(IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, max);
    for (i = 0; i < 4; i++) {
        dp_post(r->nic, 4, 70000);
        dp_sock_send(r->sock, &hdr, r->frame, len);
        g_assert_cmpuint(dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME), ==,
                         len);
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "direct-packets"), >, 0);
    hdr = dp_make_hdr(IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, max + 1);
    dp_sock_send(r->sock, &hdr, r->frame, len);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:exceeds-mtu", 1);
    dp_make_frame(r->frame, 4014, 7);
    hdr = (struct virtio_net_hdr) {};
    dp_sock_send(r->sock, &hdr, r->frame, 4014);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:exceeds-mtu", 2);
    dp_make_frame(r->frame, 1514, 7);
    dp_sock_send(r->sock, &hdr, r->frame, 1514);
    g_assert_cmpuint(dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME), ==, 1514);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_test("mtu/offloads", NULL, test_offloads);
    dp_add_test("mtu/software", NULL, test_software);
    dp_add_test("mtu/not-negotiated", NULL, test_not_negotiated);
    dp_add_test("mtu/direct", NULL, test_direct);
    return g_test_run();
}
