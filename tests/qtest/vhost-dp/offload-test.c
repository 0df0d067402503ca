/*
 * vhost-dp: qtests of offloads
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Partial checksums and segmentation: what the guest leaves to the host, and
 * the other way round.  Sections are those of the virtio specification,
 * version 1.3.
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

static void check_no_frame(DpRig *r)
{
    g_assert_cmpuint(dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                  DP_MAX_FRAME, DP_QUIET_US), ==, 0);
}

#define TX_OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_CSUM) | DP_FEATURE(VIRTIO_NET_F_HOST_TSO4))
#define RX_OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4))

static DpRig *rig_new_vnet_hdr(uint64_t features)
{
    return dp_rig_start(&(DpSetup) { .features = features }, true);
}

/* Section 5.1.6.2: a partial checksum */
static void test_tx_checksum(const void *opaque)
{
    static const uint8_t protos[] = { IPPROTO_UDP, IPPROTO_TCP };
    DpRig *r = rig_new_vnet_hdr(TX_OFFLOADS);
    struct virtio_net_hdr hdr, got;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(protos); i++) {
        size_t len;

        dp_make_ip_frame(r->frame, 801, protos[i], i);
        g_assert_false(dp_checksum_ok(r->frame, 801));
        hdr = dp_make_hdr(protos[i], VIRTIO_NET_HDR_GSO_NONE, 0);
        dp_transmit(r->nic, &hdr, r->frame, 801);
        len = dp_sock_recv(r->sock, ETH_P_IP, &got, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        dp_assert_frame(r->got, len, r->frame, 801);
        g_assert_cmpint(got.flags, ==, VIRTIO_NET_HDR_F_NEEDS_CSUM);
        g_assert_cmpint(got.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
        g_assert_cmpint(le16_to_cpu(got.csum_start), ==, 34);
        g_assert_cmpint(got.csum_offset, ==, hdr.csum_offset);
        dp_checksum_complete(r->got, len, &got);
        g_assert_true(dp_checksum_ok(r->got, len));
    }
    dp_rig_free(r);
}

/* Section 5.1.6.2: a frame to be segmented */
static void test_tx_segmentation(const void *opaque)
{
    static const size_t lens[] = { 3000, 60000 };
    DpRig *r = rig_new_vnet_hdr(TX_OFFLOADS);
    struct virtio_net_hdr hdr = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    struct virtio_net_hdr got;
    unsigned i;
    size_t len;

    for (i = 0; i < ARRAY_SIZE(lens); i++) {
        dp_make_ip_frame(r->frame, lens[i], IPPROTO_TCP, i);
        dp_transmit(r->nic, &hdr, r->frame, lens[i]);
        len = dp_sock_recv(r->sock, ETH_P_IP, &got, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        dp_assert_frame(r->got, len, r->frame, lens[i]);
        g_assert_cmpint(got.flags, ==, VIRTIO_NET_HDR_F_NEEDS_CSUM);
        g_assert_cmpint(got.gso_type, ==, VIRTIO_NET_HDR_GSO_TCPV4);
        g_assert_cmpint(le16_to_cpu(got.gso_size), ==, 1448);
        g_assert_cmpint(le16_to_cpu(got.csum_start), ==, 34);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", ARRAY_SIZE(lens));
    dp_rig_free(r);
}

/*
 * What a host does with such frames: they are routed to another interface that
 * does no offloads, so the kernel has to finish the work.
 */
static void test_tx_on_the_wire(const void *opaque)
{
    const size_t mss = 1448;
    DpRig *r = dp_rig_new(TX_OFFLOADS);
    int wire = dp_tap_open("wire0", 0);
    struct virtio_net_hdr hdr;
    size_t headers, sent, seen = 0;
    uint8_t mac[6];

    dp_if_set_address("tap0", "10.0.0.1");
    dp_if_set_address("wire0", "10.1.0.1");
    dp_if_up("wire0");
    dp_arp_add("wire0", "10.1.0.2", (uint8_t[]) { 2, 0, 0, 0, 0, 9 });
    dp_set_ip_forward();
    dp_if_get_mac("tap0", mac);

    headers = dp_make_ip_frame(r->frame, 60000, IPPROTO_TCP, 1);
    sent = 60000 - headers;
    memcpy(r->frame, mac, 6);
    hdr = dp_make_hdr(IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, mss);
    dp_transmit(r->nic, &hdr, r->frame, 60000);
    while (seen < sent) {
        size_t want = MIN(sent - seen, mss);
        ssize_t len;

        dp_wait_until((len = read(wire, r->got, DP_MAX_FRAME)) > 0);
        if (len < 34 || lduw_be_p(r->got + 12) != ETH_P_IP ||
            r->got[23] != IPPROTO_TCP) {
            continue;
        }
        g_assert_cmpint(len, ==, headers + want);
        g_assert_true(dp_checksum_ok(r->got, len));
        g_assert_cmpuint(ldl_be_p(r->got + 38), ==, 1000 + seen);
        g_assert_cmpmem(r->got + headers, want, r->frame + headers + seen,
                        want);
        seen += want;
    }

    dp_make_ip_frame(r->frame, 555, IPPROTO_UDP, 2);
    memcpy(r->frame, mac, 6);
    hdr = dp_make_hdr(IPPROTO_UDP, VIRTIO_NET_HDR_GSO_NONE, 0);
    dp_transmit(r->nic, &hdr, r->frame, 555);
    do {
        ssize_t len;

        dp_wait_until((len = read(wire, r->got, DP_MAX_FRAME)) > 0);
        seen = len;
    } while (seen != 555);
    g_assert_true(dp_checksum_ok(r->got, 555));
    g_assert_cmpmem(r->got + 42, 555 - 42, r->frame + 42, 555 - 42);
    close(wire);
    dp_rig_free(r);
}

/* Section 5.1.6.4: what the host leaves to the guest */
static void test_rx_offloads(const void *opaque)
{
    DpRig *r = rig_new_vnet_hdr(RX_OFFLOADS |
                              DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    struct virtio_net_hdr hdr;
    struct virtio_net_hdr_v1 got;
    size_t len;

    dp_post(r->nic, 1, 2048);
    dp_make_ip_frame(r->frame, 801, IPPROTO_UDP, 1);
    hdr = dp_make_hdr(IPPROTO_UDP, VIRTIO_NET_HDR_GSO_NONE, 0);
    dp_sock_send(r->sock, &hdr, r->frame, 801);
    len = dp_receive(r->nic, &got, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, len, r->frame, 801);
    g_assert_cmpint(got.flags, ==, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    g_assert_cmpint(got.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
    g_assert_cmpint(le16_to_cpu(got.csum_start), ==, 34);
    g_assert_cmpint(le16_to_cpu(got.csum_offset), ==, 6);
    g_assert_cmpint(le16_to_cpu(got.num_buffers), ==, 1);

    dp_post(r->nic, 20, 4096);
    dp_make_ip_frame(r->frame, 60000, IPPROTO_TCP, 2);
    hdr = dp_make_hdr(IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    dp_sock_send(r->sock, &hdr, r->frame, 60000);
    len = dp_receive(r->nic, &got, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, len, r->frame, 60000);
    g_assert_cmpint(got.flags, ==, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    g_assert_cmpint(got.gso_type, ==, VIRTIO_NET_HDR_GSO_TCPV4);
    g_assert_cmpint(le16_to_cpu(got.gso_size), ==, 1448);
    g_assert_cmpint(le16_to_cpu(got.csum_start), ==, 34);
    g_assert_cmpint(le16_to_cpu(got.csum_offset), ==, 16);
    g_assert_cmpint(le16_to_cpu(got.num_buffers), ==,
                    DIV_ROUND_UP(60000 + r->nic->hdr_len, 4096));
    dp_rig_free(r);
}

/* The guest did not agree to offloads: the host finishes its work */
static void test_rx_without_offloads(const void *opaque)
{
    const size_t mss = 1448;
    DpRig *r = rig_new_vnet_hdr(0);
    struct virtio_net_hdr hdr;
    struct virtio_net_hdr_v1 got;
    size_t headers, sent, seen;

    dp_post(r->nic, 10, 2048);
    headers = dp_make_ip_frame(r->frame, 10000, IPPROTO_TCP, 2);
    sent = 10000 - headers;
    hdr = dp_make_hdr(IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, mss);
    dp_sock_send(r->sock, &hdr, r->frame, 10000);
    for (seen = 0; seen < sent;) {
        size_t want = MIN(sent - seen, mss);
        size_t len = dp_receive(r->nic, &got, r->got, DP_MAX_FRAME);

        g_assert_cmpint(got.flags, ==, 0);
        g_assert_cmpint(got.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
        g_assert_cmpuint(len, ==, headers + want);
        g_assert_true(dp_checksum_ok(r->got, len));
        g_assert_cmpmem(r->got + headers, want, r->frame + headers + seen,
                        want);
        seen += want;
    }
    dp_rig_free(r);
}

/* Section 5.1.6.5.6 */
static void set_guest_offloads(DpRig *r, uint64_t offloads)
{
    uint64_t data = cpu_to_le64(offloads);

    g_assert_cmpint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
                                VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
                                &data, sizeof(data)), ==, VIRTIO_NET_OK);
}

static void check_rx_checksum(DpRig *r, bool partial)
{
    struct virtio_net_hdr hdr = dp_make_hdr(IPPROTO_UDP,
                                            VIRTIO_NET_HDR_GSO_NONE, 0);
    struct virtio_net_hdr_v1 got;
    size_t len;

    dp_post(r->nic, 1, 2048);
    dp_make_ip_frame(r->frame, 801, IPPROTO_UDP, 1);
    dp_sock_send(r->sock, &hdr, r->frame, 801);
    len = dp_receive(r->nic, &got, r->got, DP_MAX_FRAME);
    g_assert_cmpuint(len, ==, 801);
    g_assert_cmpint(got.flags, ==,
                    partial ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
    g_assert_true(dp_checksum_ok(r->got, len) == !partial);
}

/* Offloads that are switched while the device runs */
static void test_ctrl_guest_offloads(const void *opaque)
{
    DpRig *r = rig_new_vnet_hdr(RX_OFFLOADS |
                                DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                                DP_FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
    unsigned i;

    for (i = 0; i < 5; i++) {
        check_rx_checksum(r, true);
        set_guest_offloads(r, 0);
        check_rx_checksum(r, false);
        set_guest_offloads(r, RX_OFFLOADS);
    }
    dp_rig_free(r);
}

/* Section 5.1.6.2: metadata from the guest that does not fit the frame */
static void test_bad_metadata(const void *opaque)
{
    const struct {
        const char *what;
        uint8_t proto;
        struct virtio_net_hdr hdr;
    } cases[] = {
        { "csum_start beyond the frame", IPPROTO_UDP,
          { .flags = 1, .csum_start = cpu_to_le16(2000),
            .csum_offset = cpu_to_le16(6) } },
        { "csum_offset beyond the frame", IPPROTO_UDP,
          { .flags = 1, .csum_start = cpu_to_le16(34),
            .csum_offset = cpu_to_le16(1465) } },
        { "both overflow 16 bits", IPPROTO_UDP,
          { .flags = 1, .csum_start = cpu_to_le16(0xffff),
            .csum_offset = cpu_to_le16(0xffff) } },
        { "csum_start in the Ethernet header", IPPROTO_UDP,
          { .flags = 1, .csum_start = cpu_to_le16(4),
            .csum_offset = cpu_to_le16(6) } },
        { "gso_size 0", IPPROTO_TCP,
          dp_make_hdr(IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, 0) },
        { "TCPv6 on IPv4", IPPROTO_TCP,
          dp_make_hdr(IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV6, 500) },
        { "TCP segmentation of UDP", IPPROTO_UDP,
          dp_make_hdr(IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, 500) },
        { "UDP segmentation of TCP", IPPROTO_TCP,
          dp_make_hdr(IPPROTO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4, 500) },
        { "UDP fragmentation of TCP", IPPROTO_TCP,
          dp_make_hdr(IPPROTO_UDP, VIRTIO_NET_HDR_GSO_UDP, 500) },
        { "no such type", IPPROTO_TCP, dp_make_hdr(IPPROTO_TCP, 2, 500) },
        { "no such type either", IPPROTO_TCP,
          dp_make_hdr(IPPROTO_TCP, 0x7f, 500) },
        { "only ECN", IPPROTO_TCP,
          dp_make_hdr(IPPROTO_TCP, VIRTIO_NET_HDR_GSO_ECN, 500) },
        { "no checksum asked for", IPPROTO_TCP,
          { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
            .gso_size = cpu_to_le16(500), .hdr_len = cpu_to_le16(54) } },
        { "checksum of something else", IPPROTO_TCP,
          { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
            .gso_size = cpu_to_le16(500), .hdr_len = cpu_to_le16(54),
            .csum_start = cpu_to_le16(38), .csum_offset = cpu_to_le16(16) } },
    };
    DpRig *r = dp_rig_new(TX_OFFLOADS);
    struct virtio_net_hdr good = dp_make_hdr(IPPROTO_TCP,
                                             VIRTIO_NET_HDR_GSO_TCPV4, 500);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        dp_make_ip_frame(r->frame, 1500, cases[i].proto, i);
        dp_transmit(r->nic, &cases[i].hdr, r->frame, 1500);
        if (dp_counter(r->qts, "vd0", DP_TX, "drop:bad-header") != i + 1) {
            g_error("not dropped as bad-header: %s", cases[i].what);
        }
    }
    check_no_frame(r);

    /* A header that ends in the middle of the TCP header */
    dp_make_ip_frame(r->frame, 60, IPPROTO_TCP, i);
    dp_transmit(r->nic, &good, r->frame, 50);
    /* Headers and nothing to segment */
    dp_transmit(r->nic, &good, r->frame, 54);
    dp_wait_counter(r->qts, "vd0", DP_TX, "drop:bad-header", i + 2);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 0);

    /* The queue goes on */
    dp_make_ip_frame(r->frame, 1500, IPPROTO_TCP, i);
    dp_transmit(r->nic, &good, r->frame, 1500);
    check_next_frame(r, r->frame, 1500);
    dp_check_transmit(r->nic, r->sock, 100, i);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 2);
    dp_rig_free(r);
}

/* Section 5.1.6.2.2: flags that the device does not know are ignored */
static void test_unknown_flags(const void *opaque)
{
    struct virtio_net_hdr hdr = { .flags = 0xfe };
    DpRig *r = dp_rig_new(TX_OFFLOADS);

    dp_make_frame(r->frame, 100, 1);
    dp_transmit(r->nic, &hdr, r->frame, 100);
    check_next_frame(r, r->frame, 100);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("offload/tx-checksum", NULL, test_tx_checksum);
    dp_add_ring_test("offload/tx-segmentation", NULL, test_tx_segmentation);
    dp_add_ring_test("offload/tx-on-the-wire", NULL, test_tx_on_the_wire);
    dp_add_ring_test("offload/rx", NULL, test_rx_offloads);
    dp_add_ring_test("offload/rx-not-negotiated", NULL,
                     test_rx_without_offloads);
    dp_add_ring_test("offload/rx-switched", NULL, test_ctrl_guest_offloads);
    dp_add_ring_test("offload/bad-metadata", NULL, test_bad_metadata);
    dp_add_ring_test("offload/unknown-flags", NULL, test_unknown_flags);
    return g_test_run();
}
