/*
 * vhost-dp: which queue pair has last sent for a flow
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the start of the frame is copied, so that what is parsed
 * does not change.  Each end of the flow (address and port) is hashed by
 * itself, and the two are put together as the guest's end and the other one, so
 * a reply has the hash of what it answers.  Fragments and protocols without
 * ports are told apart by their addresses.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/host-utils.h"
#include "qemu/iov.h"
#include "net/eth.h"
#include "port-flows.h"

/* Room for two VLAN tags, IPv4 with options, and ports */
#define FLOW_HEAD (14 + 8 + 60 + 4)
#define FLOW_TAGS 2

typedef struct FlowHead {
    size_t len;
    uint8_t data[FLOW_HEAD];
} FlowHead;

/* Where addresses and ports are */
typedef struct FlowEnds {
    unsigned addr_len;
    const uint8_t *src, *dst;
    uint16_t src_port, dst_port;
} FlowEnds;

static uint64_t flow_hash_end(const uint8_t *addr, unsigned len, uint16_t port)
{
    uint64_t hash = (uint64_t)port << 32;
    unsigned i;

    for (i = 0; i < len; i += 4) {
        hash = (hash ^ (uint32_t)ldl_be_p(addr + i)) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 32;
    }
    return hash;
}

static void flow_find_ports(FlowEnds *ends, const FlowHead *head, size_t l4,
                            uint8_t proto)
{
    if ((proto == IPPROTO_TCP || proto == IPPROTO_UDP) &&
        l4 + 4 <= head->len) {
        ends->src_port = lduw_be_p(head->data + l4);
        ends->dst_port = lduw_be_p(head->data + l4 + 2);
    }
}

/* @l3: of the IP header.  Returns false if it is not complete. */
static bool flow_find_ip4(FlowEnds *ends, const FlowHead *head, size_t l3)
{
    const uint8_t *ip = head->data + l3;

    if (l3 + sizeof(struct ip_header) > head->len) {
        return false;
    }
    ends->addr_len = 4;
    ends->src = ip + 12;
    ends->dst = ip + 16;
    /* Not more fragments, nor an offset */
    if (!(lduw_be_p(ip + 6) & 0x3fff)) {
        flow_find_ports(ends, head, l3 + (ip[0] & 0xf) * 4, ip[9]);
    }
    return true;
}

static bool flow_find_ip6(FlowEnds *ends, const FlowHead *head, size_t l3)
{
    const uint8_t *ip = head->data + l3;

    if (l3 + sizeof(struct ip6_header) > head->len) {
        return false;
    }
    ends->addr_len = 16;
    ends->src = ip + 8;
    ends->dst = ip + 24;
    flow_find_ports(ends, head, l3 + sizeof(struct ip6_header), ip[6]);
    return true;
}

static bool flow_find_ends(FlowEnds *ends, const FlowHead *head)
{
    size_t at = 2 * ETH_ALEN;
    unsigned tags;

    for (tags = 0; at + 2 <= head->len && tags <= FLOW_TAGS; tags++) {
        switch (lduw_be_p(head->data + at)) {
        case ETH_P_IP:
            return flow_find_ip4(ends, head, at + 2);
        case ETH_P_IPV6:
            return flow_find_ip6(ends, head, at + 2);
        case ETH_P_VLAN:
        case ETH_P_DVLAN:
            at += 4;
            break;
        default:
            return false;
        }
    }
    return false;
}

int vhost_dp_flows_bucket(const VhostDPFrame *frame, bool sent)
{
    FlowHead head;
    FlowEnds ends = {};
    uint64_t src, dst;

    head.len = MIN(frame->len, FLOW_HEAD);
    if (likely(frame->iov[0].iov_len >= head.len)) {
        memcpy(head.data, frame->iov[0].iov_base, head.len);
    } else {
        iov_to_buf(frame->iov, frame->iovcnt, 0, head.data, head.len);
    }
    /* What others can change is not to be read again */
    barrier();
    if (!flow_find_ends(&ends, &head)) {
        return -1;
    }
    src = flow_hash_end(ends.src, ends.addr_len, ends.src_port);
    dst = flow_hash_end(ends.dst, ends.addr_len, ends.dst_port);
    return (sent ? src + rol64(dst, 17) : dst + rol64(src, 17)) >>
           (64 - ctz32(VHOST_DP_FLOWS));
}
