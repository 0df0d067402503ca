/*
 * virtio-net: device statistics (virtio 1.4, 5.1.6.5.11)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a command names virtqueues and, for each, types of
 * statistics.  All of it is copied and checked before anything is answered, as
 * one mistake makes all of the command fail.  Counters are read while the back
 * end goes on.
 *
 * The types for checksums, segmentation and speed are not offered: the back end
 * does not count all that they have.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qapi/error.h"
#include "hw/virtio/virtio-access.h"
#include "hw/virtio/virtio-net.h"
#include "net/virtio-net-backend.h"
#include "standard-headers/linux/virtio_net.h"

/* An element of struct virtio_net_ctrl_queue_stats */
typedef struct StatsRequest {
    uint16_t index;
    uint16_t reserved[3];
    uint64_t types;
} StatsRequest;

/* Where answers go, one after the other */
typedef struct StatsAnswer {
    VirtIONet *n;
    const struct iovec *in_sg;
    unsigned in_num;
    size_t room;
    size_t at;                  /* behind the ack, and what was written */
} StatsAnswer;

bool virtio_net_stats_check(const VirtIONet *n, Error **errp)
{
    return !(n->host_features & BIT_ULL(VIRTIO_NET_F_DEVICE_STATS)) ||
           virtio_net_check_back_end(n, "device_stats", errp);
}

void virtio_net_stats_count(VirtIONet *n, uint8_t ack)
{
    n->stats.commands++;
    if (ack == VIRTIO_NET_OK) {
        n->stats.commands_ok++;
    }
}

/* ---- What there is ---- */

/* The control queue has the number behind those of the other virtqueues */
static unsigned stats_control_index(const VirtIONet *n)
{
    return (n->multiqueue ? n->max_queue_pairs : 1) * 2;
}

/* The types that a virtqueue has, or 0 if there is no such queue */
static uint64_t stats_types(const VirtIONet *n, unsigned index)
{
    unsigned control = stats_control_index(n);

    return index > control ? 0 :
           index == control ? VIRTIO_NET_STATS_TYPE_CVQ :
           index % 2 ? VIRTIO_NET_STATS_TYPE_TX_BASIC :
                       VIRTIO_NET_STATS_TYPE_RX_BASIC;
}

static int stats_query(StatsAnswer *answer)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(answer->n);
    struct virtio_net_stats_capabilities caps;

    if (answer->room - answer->at < sizeof(caps)) {
        return VIRTIO_NET_ERR;
    }
    virtio_stq_p(vdev, &caps.supported_stats_types[0],
                 VIRTIO_NET_STATS_TYPE_CVQ | VIRTIO_NET_STATS_TYPE_RX_BASIC |
                 VIRTIO_NET_STATS_TYPE_TX_BASIC);
    answer->at += iov_from_buf(answer->in_sg, answer->in_num, answer->at,
                               &caps, sizeof(caps));
    return VIRTIO_NET_OK;
}

/* ---- Counters ---- */

/*
 * Answers with @ncounters counters.  Nothing is written that does not fit, nor
 * what would come behind it.
 */
static void stats_put(StatsAnswer *answer, unsigned index, uint8_t type,
                      const uint64_t *counters, unsigned ncounters)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(answer->n);
    struct virtio_net_stats_reply_hdr hdr = { .type = type };
    size_t size = sizeof(hdr) + ncounters * sizeof(*counters);
    unsigned i;

    if (answer->room - answer->at < size) {
        answer->room = answer->at;
        return;
    }
    virtio_stw_p(vdev, &hdr.vq_index, index);
    virtio_stw_p(vdev, &hdr.size, size);
    answer->at += iov_from_buf(answer->in_sg, answer->in_num, answer->at,
                               &hdr, sizeof(hdr));
    for (i = 0; i < ncounters; i++) {
        uint64_t counter;

        virtio_stq_p(vdev, &counter, counters[i]);
        answer->at += iov_from_buf(answer->in_sg, answer->in_num, answer->at,
                                   &counter, sizeof(counter));
    }
}

static void stats_put_control(StatsAnswer *answer, unsigned index)
{
    const VirtIONetStats *stats = &answer->n->stats;
    /* The current command is counted, and will succeed */
    uint64_t counters[] = { stats->commands + 1, stats->commands_ok + 1 };

    stats_put(answer, index, VIRTIO_NET_STATS_TYPE_REPLY_CVQ, counters,
              ARRAY_SIZE(counters));
}

/* struct virtio_net_stats_rx_basic and _tx_basic have the same order */
static void stats_put_basic(StatsAnswer *answer, unsigned index)
{
    NetClientState *peer = qemu_get_subqueue(answer->n->nic, index / 2)->peer;
    const VirtIONetBackend *backend = virtio_net_backend(peer);
    VirtIONetQueueStats stats = {};

    if (backend) {
        backend->get_stats(peer, index % 2, &stats);
    }
    stats_put(answer, index, index % 2 ? VIRTIO_NET_STATS_TYPE_REPLY_TX_BASIC :
                                         VIRTIO_NET_STATS_TYPE_REPLY_RX_BASIC,
              (uint64_t []) { stats.kicks, stats.packets, stats.bytes,
                              stats.calls, stats.drops, stats.guest_drops },
              6);
}

static int stats_get(StatsAnswer *answer, const struct iovec *iov,
                     unsigned iov_cnt)
{
    VirtIONet *n = answer->n;
    VirtIODevice *vdev = VIRTIO_DEVICE(n);
    size_t len = iov_size(iov, iov_cnt);
    unsigned nrequests = len / sizeof(StatsRequest);
    g_autofree StatsRequest *requests = NULL;
    unsigned i;

    if (!len || len % sizeof(StatsRequest) ||
        len / sizeof(StatsRequest) > stats_control_index(n) + 1) {
        return VIRTIO_NET_ERR;
    }
    requests = g_new(StatsRequest, nrequests);
    if (iov_to_buf(iov, iov_cnt, 0, requests, len) != len) {
        return VIRTIO_NET_ERR;
    }
    for (i = 0; i < nrequests; i++) {
        StatsRequest *request = &requests[i];

        request->index = virtio_lduw_p(vdev, &request->index);
        request->types = virtio_ldq_p(vdev, &request->types);
        if (request->index > stats_control_index(n) ||
            request->types & ~stats_types(n, request->index)) {
            return VIRTIO_NET_ERR;
        }
    }
    for (i = 0; i < nrequests; i++) {
        if (!requests[i].types) {
            continue;
        }
        if (requests[i].index == stats_control_index(n)) {
            stats_put_control(answer, requests[i].index);
        } else {
            stats_put_basic(answer, requests[i].index);
        }
    }
    return VIRTIO_NET_OK;
}

int virtio_net_handle_stats(VirtIONet *n, uint8_t cmd, const struct iovec *iov,
                            unsigned iov_cnt, const struct iovec *in_sg,
                            unsigned in_num, size_t *result)
{
    StatsAnswer answer = {
        .n = n, .in_sg = in_sg, .in_num = in_num,
        .room = iov_size(in_sg, in_num),
        .at = sizeof(virtio_net_ctrl_ack),
    };
    int ack = VIRTIO_NET_ERR;

    if (!virtio_vdev_has_feature(VIRTIO_DEVICE(n),
                                 VIRTIO_NET_F_DEVICE_STATS)) {
        return VIRTIO_NET_ERR;
    }
    if (cmd == VIRTIO_NET_CTRL_STATS_QUERY && !iov_size(iov, iov_cnt)) {
        ack = stats_query(&answer);
    } else if (cmd == VIRTIO_NET_CTRL_STATS_GET) {
        ack = stats_get(&answer, iov, iov_cnt);
    }
    *result += answer.at - sizeof(virtio_net_ctrl_ack);
    return ack;
}
