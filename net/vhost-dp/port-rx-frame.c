/*
 * vhost-dp: a received frame in the guest's buffers
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: functions of a frame and of what control has set; no
 * state.  Most frames are short and have no metadata, and never come here.
 */

#include "qemu/osdep.h"
#include "net/eth.h"
#include "net/vhost-dp/offload/offload.h"
#include "port-rx-frame.h"

void vhost_dp_port_rx_make_hdr(const PortConf *conf, const VhostDPFrame *frame,
                               bool hashed, unsigned nchains,
                               struct virtio_net_hdr_v1_hash *hdr)
{
    struct virtio_net_hdr_v1 *v1 = &hdr->hdr;

    memset(hdr, 0, sizeof(*hdr));
    v1->flags = frame->flags;
    v1->gso_type = frame->gso_type;
    v1->num_buffers = nchains;
    if (frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        v1->csum_start = frame->csum_start;
        v1->csum_offset = frame->csum_offset;
    }
    if (frame->gso_type) {
        v1->gso_size = frame->gso_size;
        v1->hdr_len = frame->hdr_len;
    }
    if (conf->hdr_swap) {
        bswap16s(&v1->num_buffers);
        bswap16s(&v1->csum_start);
        bswap16s(&v1->csum_offset);
        bswap16s(&v1->gso_size);
        bswap16s(&v1->hdr_len);
    }
    rx_write_hash(conf, frame, hashed, (uint8_t *)(v1 + 1));
}

bool vhost_dp_port_rx_gso_fits(const VhostDPFrame *frame, const uint8_t *head,
                               size_t head_len)
{
    size_t hdr_len = vhost_dp_offload_fits(frame, head, head_len);

    return hdr_len && !vhost_dp_offload_too_many(frame, hdr_len,
                                                 VHOST_DP_LINUX_DATAGRAMS);
}

bool vhost_dp_port_rx_exceeds_mtu(const PortConf *conf,
                                  const VhostDPFrame *frame,
                                  const uint8_t *head)
{
    size_t head_len = MIN(frame->len, VHOST_DP_HEAD_BYTES);
    bool ufo = false;
    VhostDPHeaders h;
    size_t packet;

    switch (frame->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_NONE:
        if (likely(frame->len <= conf->mtu + sizeof(struct eth_header))) {
            return false;
        }
        /* The MTU says nothing of VLAN tags, of which there may be several */
        vhost_dp_offload_parse(&h, head, head_len);
        return frame->len > conf->mtu + h.l3;
    case VIRTIO_NET_HDR_GSO_UDP:
        ufo = true;
        break;
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6:
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        break;
    default:
        /* It will be dropped for that */
        return false;
    }

    packet = ufo ? IP_FRAG_ALIGN_SIZE(frame->gso_size) : frame->gso_size;
    if (frame->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ?
        vhost_dp_offload_parse_at(&h, head, head_len, frame->csum_start) :
        vhost_dp_offload_parse(&h, head, head_len)) {
        packet = MIN(packet + (ufo ? h.fragment : h.payload), frame->len) -
                 (h.tunnel ? h.outer_l3 : h.l3) +
                 (ufo && h.ip6 ? VHOST_DP_FRAGMENT_HEADER : 0);
    }
    return packet > conf->mtu;
}
