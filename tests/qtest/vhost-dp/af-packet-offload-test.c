/*
 * vhost-dp: qtests of vhost-dp-af-packet, VLAN tags and offload metadata
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver uses one end of a veth pair: see veth.h.
 */

#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include <sys/socket.h>
#include "qemu/bswap.h"
#include "veth.h"

static DpRig *rig_new(uint64_t features)
{
    dp_veth_new("v0", "v1");
    return dp_veth_start("vhost-dp-af-packet,id=v0", features, 1);
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
    DpRig *r = rig_new(0);
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
            dp_veth_send(r, len);
            got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
            dp_assert_frame(r->got, got, r->frame, len);
        }
    }
    /* A tag with nothing in it, priority 0 of VLAN 0, is a tag */
    dp_make_frame(r->frame, 60, 7);
    len = add_tag(r->frame, 60, 0x8100, 0);
    dp_post(r->nic, 1, 2000);
    dp_veth_send(r, len);
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
    DpRig *r = rig_new(OFFLOADS);
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

/* ---- The host's own tunnels ---- */

typedef struct Tunnel {
    const char *name;
    uint8_t proto;
    uint8_t gso_type;
    bool takes;                 /* the guest takes such segments */
    bool checksum;              /* the outer UDP header has one */
} Tunnel;

static const Tunnel tunnels[] = {
    { "tcp", IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, true, false },
    { "tcp-checksum", IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, true, true },
    { "tcp-to-plain-guest", IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, false,
      true },
    { "udp", IPPROTO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4, true, true },
    { "udp-to-plain-guest", IPPROTO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4, false,
      false },
};

#define VXLAN_HEADERS (14 + 20 + 8 + 8)

/* One of the segments that replace r->frame; returns its payload's length */
static size_t check_tunnel_segment(DpRig *r, const Tunnel *t, size_t len,
                                   const struct virtio_net_hdr_v1 *hdr,
                                   size_t seen)
{
    const size_t headers = DP_IP_HEADERS(t->proto);
    uint8_t *inner = r->got + VXLAN_HEADERS;
    size_t payload = len - VXLAN_HEADERS - headers;

    g_assert_cmpint(hdr->gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
    g_assert_cmpint(hdr->flags, ==,
                    t->takes ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
    if (t->takes) {
        dp_checksum_complete(r->got, len, (const struct virtio_net_hdr *)hdr);
    }
    g_assert_true(dp_checksum_ok(inner, len - VXLAN_HEADERS));
    g_assert_cmpuint(lduw_be_p(r->got + 16), ==, len - 14);
    g_assert_cmpuint(lduw_be_p(r->got + 38), ==, len - 34);
    if (t->checksum) {
        g_assert_true(dp_checksum_ok(r->got, len));
    } else {
        g_assert_cmphex(lduw_be_p(r->got + 40), ==, 0);
    }
    g_assert_cmpuint(payload, <=, 1000);
    g_assert_cmpmem(inner + headers, payload, r->frame + headers + seen,
                    payload);
    return payload;
}

/*
 * Linux hands out the frames of its tunnels whole, with metadata that is about
 * the inner packet.  The guest gets what would be on a wire.
 */
static void test_tunnel(const void *opaque)
{
    const Tunnel *t = opaque;
    const DpVxlan vxlan = { .checksum = t->checksum };
    DpRig *r = rig_new(t->takes ? DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
                                  DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
                                  DP_FEATURE(VIRTIO_NET_F_GUEST_USO4) |
                                  DP_FEATURE(VIRTIO_NET_F_GUEST_USO6) : 0);
    const size_t len = DP_IP_HEADERS(t->proto) + 5500;
    struct virtio_net_hdr meta = dp_make_hdr(t->proto, t->gso_type, 1000);
    unsigned i;
    int sock;

    if (!dp_vxlan_new("vxlan0", &vxlan, "v1", "v0")) {
        dp_rig_free(r);
        return;
    }
    sock = dp_sock_open("vxlan0", true);
    for (i = 0; i < 5; i++) {
        size_t seen = 0;

        dp_make_ip_frame(r->frame, len, t->proto, i);
        dp_sock_send(sock, &meta, r->frame, len);
        while (seen < 5500) {
            struct virtio_net_hdr_v1 hdr;
            size_t got;

            dp_post(r->nic, 1, 2000);
            got = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
            /* The interfaces have to say something, too */
            if (got > VXLAN_HEADERS + 12 &&
                !memcmp(r->got + VXLAN_HEADERS, r->frame, 12)) {
                seen += check_tunnel_segment(r, t, got, &hdr, seen);
            }
        }
        g_assert_cmpuint(seen, ==, 5500);
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "software-segments", 5 * 6);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "drop:bad-header"), ==,
                     0);
    close(sock);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    dp_add_test("af-packet/vlan", NULL, test_vlan);
    for (i = 0; i < ARRAY_SIZE(offloads); i++) {
        g_autofree char *path = g_strdup_printf("af-packet/offload/%s",
                                                offloads[i].name);

        dp_add_test(path, &offloads[i], test_offload);
    }
    for (i = 0; i < ARRAY_SIZE(tunnels); i++) {
        g_autofree char *path = g_strdup_printf("af-packet/tunnel/%s",
                                                tunnels[i].name);

        dp_add_test(path, &tunnels[i], test_tunnel);
    }
    return g_test_run();
}
