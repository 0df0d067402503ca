/*
 * vhost-dp: offload metadata
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: pure functions on one frame.  The metadata of a frame
 * from the guest is compared with a private copy of the frame's headers, so
 * that a driver, and the host's network stack behind it, get metadata that
 * fits the frame.  Header parsing is QEMU's (net/eth.h).
 */

#include "qemu/osdep.h"
#include "net/eth.h"
#include "standard-headers/linux/virtio_net.h"
#include "offload.h"

#define TCP_CSUM_OFFSET 16
#define UDP_CSUM_OFFSET 6

/* What a GSO type promises about the headers */
typedef struct GsoRule {
    bool ip4;                   /* may be IPv4 */
    bool ip6;                   /* may be IPv6 */
    EthL4HdrProto proto;
    uint16_t csum_offset;
} GsoRule;

static const GsoRule *gso_rule(uint8_t gso_type)
{
    static const GsoRule tcp4 = {
        .ip4 = true,
        .proto = ETH_L4_HDR_PROTO_TCP, .csum_offset = TCP_CSUM_OFFSET,
    };
    static const GsoRule tcp6 = {
        .ip6 = true,
        .proto = ETH_L4_HDR_PROTO_TCP, .csum_offset = TCP_CSUM_OFFSET,
    };
    static const GsoRule udp = {
        .ip4 = true, .ip6 = true,
        .proto = ETH_L4_HDR_PROTO_UDP, .csum_offset = UDP_CSUM_OFFSET,
    };

    switch (gso_type) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN:
        return &tcp4;
    case VIRTIO_NET_HDR_GSO_TCPV6:
    case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN:
        return &tcp6;
    case VIRTIO_NET_HDR_GSO_UDP:
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return &udp;
    default:
        return NULL;
    }
}

/* Virtio 1.3, 5.1.6.2: a GSO frame's headers are what its metadata says */
static bool offload_check_gso(VhostDPFrame *frame, const uint8_t *head,
                              size_t head_len)
{
    const GsoRule *rule = gso_rule(frame->gso_type);
    struct iovec iov = { .iov_base = (void *)head, .iov_len = head_len };
    size_t l3 = 0, l4 = 0, payload = 0;
    eth_ip6_hdr_info ip6;
    eth_ip4_hdr_info ip4;
    eth_l4_hdr_info l4_info;
    bool is_ip4, is_ip6;

    /* Segments get new checksums, so the frame must have asked for one */
    if (!rule || !frame->gso_size ||
        !(frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) {
        return false;
    }

    eth_get_protocols(&iov, 1, 0, &is_ip4, &is_ip6, &l3, &l4, &payload,
                      &ip6, &ip4, &l4_info);
    if (!((is_ip4 && rule->ip4) || (is_ip6 && rule->ip6)) ||
        l4_info.proto != rule->proto) {
        return false;
    }
    if (is_ip4 && l4 - l3 < sizeof(struct ip_header)) {
        return false;
    }
    if (rule->proto == ETH_L4_HDR_PROTO_TCP &&
        payload - l4 < sizeof(struct tcp_header)) {
        return false;
    }
    if (payload > head_len || payload >= frame->len ||
        frame->csum_start != l4 || frame->csum_offset != rule->csum_offset) {
        return false;
    }
    frame->hdr_len = payload;
    return true;
}

bool vhost_dp_offload_check(VhostDPFrame *frame, const uint8_t *head,
                            size_t head_len)
{
    if (frame->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        return false;
    }
    if ((frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
        (frame->csum_start < sizeof(struct eth_header) ||
         (uint32_t)frame->csum_start + frame->csum_offset +
         sizeof(uint16_t) > frame->len)) {
        return false;
    }
    if (frame->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        return offload_check_gso(frame, head, head_len);
    }
    frame->gso_size = 0;
    frame->hdr_len = 0;
    return true;
}

bool vhost_dp_offload_allowed(const VhostDPFrame *frame, uint32_t offloads)
{
    uint32_t any_of = 0;

    if ((frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
        !(offloads & VHOST_DP_OFFLOAD_CSUM)) {
        return false;
    }
    if ((frame->gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
        !(offloads & VHOST_DP_OFFLOAD_ECN)) {
        return false;
    }
    switch (frame->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_NONE:
        return true;
    case VIRTIO_NET_HDR_GSO_TCPV4:
        any_of = VHOST_DP_OFFLOAD_TSO4;
        break;
    case VIRTIO_NET_HDR_GSO_TCPV6:
        any_of = VHOST_DP_OFFLOAD_TSO6;
        break;
    case VIRTIO_NET_HDR_GSO_UDP:
        any_of = VHOST_DP_OFFLOAD_UFO;
        break;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        /* One type for both IP versions (virtio 1.3, 5.1.6.2) */
        any_of = VHOST_DP_OFFLOAD_USO4 | VHOST_DP_OFFLOAD_USO6;
        break;
    }
    return offloads & any_of;
}
