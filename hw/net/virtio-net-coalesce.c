/*
 * virtio-net: notification coalescing (virtio 1.3, 5.1.6.5.9)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the parameters of each virtqueue are kept here, so that
 * they can be read back, migrated, and given to a back end that starts.  A
 * command changes them and tells the back end, which goes on meanwhile.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qapi/error.h"
#include "hw/virtio/virtio-access.h"
#include "hw/virtio/virtio-net.h"
#include "hw/virtio/virtio-net-coalesce.h"
#include "net/virtio-net-backend.h"
#include "standard-headers/linux/virtio_net.h"

#define COALESCE_FEATURES (BIT_ULL(VIRTIO_NET_F_NOTF_COAL) | \
                           BIT_ULL(VIRTIO_NET_F_VQ_NOTF_COAL))

/* ---- The back end ---- */

static void coalesce_tell(VirtIONet *n, unsigned index)
{
    const VirtIONetCoal *coal = &n->coalesce.queue[index];
    NetClientState *peer = qemu_get_subqueue(n->nic, index / 2)->peer;
    const VirtIONetBackend *backend = virtio_net_backend(peer);

    if (backend) {
        backend->set_coalesce(peer, index % 2 == VIRTIO_NET_COAL_TX,
                              coal->max_packets, coal->max_usecs);
    }
}

void virtio_net_coalesce_start(VirtIONet *n)
{
    unsigned i;

    for (i = 0; i < n->coalesce.nqueues; i++) {
        coalesce_tell(n, i);
    }
}

bool virtio_net_check_back_end(const VirtIONet *n, const char *property,
                               Error **errp)
{
    ERRP_GUARD();
    const NetClientState *peer = n->nic_conf.peers.ncs[0];

    if (!(n->host_features & BIT_ULL(VIRTIO_NET_F_CTRL_VQ))) {
        error_setg(errp, "%s=on needs a control queue, and ctrl_vq is off",
                   property);
        error_append_hint(errp, "Use ctrl_vq=on, or %s=off.\n", property);
        return false;
    }
    if (!virtio_net_backend(peer)) {
        error_setg(errp, "%s=on needs a netdev of type vhost-dp, and %s%s%s%s",
                   property, peer ? "netdev '" : "there is no netdev",
                   peer ? peer->name : "", peer ? "' is of type " : "",
                   peer ? NetClientDriver_str(peer->info->type) : "");
        error_append_hint(errp, "Use -netdev vhost-dp, or %s=off.\n",
                          property);
        return false;
    }
    return true;
}

bool virtio_net_coalesce_check(const VirtIONet *n, Error **errp)
{
    if (!(n->host_features & COALESCE_FEATURES)) {
        return true;
    }
    return virtio_net_check_back_end(
        n, n->host_features & BIT_ULL(VIRTIO_NET_F_NOTF_COAL) ?
        "notf_coal" : "vq_notf_coal", errp);
}

/* ---- Life cycle ---- */

void virtio_net_coalesce_init(VirtIONet *n)
{
    n->coalesce.nqueues = n->max_queue_pairs * 2;
    n->coalesce.queue = g_new0(VirtIONetCoal, n->coalesce.nqueues);
}

void virtio_net_coalesce_free(VirtIONet *n)
{
    g_free(n->coalesce.queue);
    n->coalesce.queue = NULL;
    n->coalesce.nqueues = 0;
}

void virtio_net_coalesce_reset(VirtIONet *n)
{
    memset(n->coalesce.all, 0, sizeof(n->coalesce.all));
    memset(n->coalesce.queue, 0,
           n->coalesce.nqueues * sizeof(n->coalesce.queue[0]));
}

void virtio_net_coalesce_reset_queue(VirtIONet *n, unsigned index)
{
    n->coalesce.queue[index] = n->coalesce.all[index % 2];
    coalesce_tell(n, index);
}

/* ---- Commands ---- */

static VirtIONetCoal coalesce_read(VirtIODevice *vdev,
                                   const struct virtio_net_ctrl_coal *coal)
{
    return (VirtIONetCoal) {
        .max_packets = virtio_ldl_p(vdev, &coal->max_packets),
        .max_usecs = virtio_ldl_p(vdev, &coal->max_usecs),
    };
}

/* Copies data that must be of this size */
static bool coalesce_take(const struct iovec *iov, unsigned iov_cnt,
                          void *data, size_t size)
{
    return iov_size(iov, iov_cnt) == size &&
           iov_to_buf(iov, iov_cnt, 0, data, size) == size;
}

static void coalesce_set_all(VirtIONet *n, unsigned direction,
                             VirtIONetCoal coal)
{
    unsigned i;

    n->coalesce.all[direction] = coal;
    for (i = direction; i < n->coalesce.nqueues; i += 2) {
        n->coalesce.queue[i] = coal;
        coalesce_tell(n, i);
    }
}

/* Is @index that of an enabled receive or transmit virtqueue? */
static bool coalesce_has_queue(VirtIONet *n, unsigned index)
{
    return index < (n->multiqueue ? n->max_queue_pairs : 1) * 2 &&
           virtio_queue_enabled(VIRTIO_DEVICE(n), index);
}

static bool coalesce_get(VirtIONet *n, unsigned index,
                         const struct iovec *in_sg, unsigned in_num,
                         size_t *result)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(n);
    const VirtIONetCoal *coal = &n->coalesce.queue[index];
    const size_t at = sizeof(virtio_net_ctrl_ack);
    struct virtio_net_ctrl_coal answer;

    if (iov_size(in_sg, in_num) < at + sizeof(answer)) {
        return false;
    }
    virtio_stl_p(vdev, &answer.max_packets, coal->max_packets);
    virtio_stl_p(vdev, &answer.max_usecs, coal->max_usecs);
    *result += iov_from_buf(in_sg, in_num, at, &answer, sizeof(answer));
    return true;
}

int virtio_net_handle_coalesce(VirtIONet *n, uint8_t cmd,
                               const struct iovec *iov, unsigned iov_cnt,
                               const struct iovec *in_sg, unsigned in_num,
                               size_t *result)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(n);
    bool per_queue = cmd == VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET ||
                     cmd == VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET;
    struct virtio_net_ctrl_coal_vq vq;
    unsigned index = 0;

    if (!virtio_vdev_has_feature(vdev, per_queue ? VIRTIO_NET_F_VQ_NOTF_COAL :
                                                   VIRTIO_NET_F_NOTF_COAL)) {
        return VIRTIO_NET_ERR;
    }
    if (per_queue) {
        if (!coalesce_take(iov, iov_cnt, &vq,
                           cmd == VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET ?
                           sizeof(vq) : offsetof(typeof(vq), coal))) {
            return VIRTIO_NET_ERR;
        }
        index = virtio_lduw_p(vdev, &vq.vqn);
        if (!coalesce_has_queue(n, index)) {
            return VIRTIO_NET_ERR;
        }
    } else if (!coalesce_take(iov, iov_cnt, &vq.coal, sizeof(vq.coal))) {
        return VIRTIO_NET_ERR;
    }

    switch (cmd) {
    case VIRTIO_NET_CTRL_NOTF_COAL_TX_SET:
        coalesce_set_all(n, VIRTIO_NET_COAL_TX, coalesce_read(vdev, &vq.coal));
        return VIRTIO_NET_OK;
    case VIRTIO_NET_CTRL_NOTF_COAL_RX_SET:
        coalesce_set_all(n, VIRTIO_NET_COAL_RX, coalesce_read(vdev, &vq.coal));
        return VIRTIO_NET_OK;
    case VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET:
        n->coalesce.queue[index] = coalesce_read(vdev, &vq.coal);
        coalesce_tell(n, index);
        return VIRTIO_NET_OK;
    case VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET:
        return coalesce_get(n, index, in_sg, in_num, result) ?
               VIRTIO_NET_OK : VIRTIO_NET_ERR;
    }
    return VIRTIO_NET_ERR;
}

/* ---- Migration ---- */

static bool coalesce_needed(void *opaque)
{
    return VIRTIO_DEVICE(opaque)->guest_features & COALESCE_FEATURES;
}

/* A driver may set any value, so the values in the stream need no check */
static int coalesce_post_load(void *opaque, int version_id)
{
    const VirtIONet *n = opaque;

    if (!(n->host_features & COALESCE_FEATURES)) {
        error_report("virtio-net: the source has notf_coal=on or "
                     "vq_notf_coal=on, and here both are off");
        return -EINVAL;
    }
    return 0;
}

static const VMStateDescription vmstate_virtio_net_coal = {
    .name = "virtio-net-device/coalesce/parameters",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(max_packets, VirtIONetCoal),
        VMSTATE_UINT32(max_usecs, VirtIONetCoal),
        VMSTATE_END_OF_LIST()
    },
};

const VMStateDescription vmstate_virtio_net_coalesce = {
    .name = "virtio-net-device/coalesce",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = coalesce_needed,
    .post_load = coalesce_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT16_EQUAL(coalesce.nqueues, VirtIONet,
                             "The number of virtqueues differs from the "
                             "source: use the same number of queue pairs."),
        VMSTATE_STRUCT_ARRAY(coalesce.all, VirtIONet,
                             VIRTIO_NET_COAL_DIRECTIONS, 1,
                             vmstate_virtio_net_coal, VirtIONetCoal),
        VMSTATE_STRUCT_VARRAY_POINTER_UINT16(coalesce.queue, VirtIONet,
                                             coalesce.nqueues,
                                             vmstate_virtio_net_coal,
                                             VirtIONetCoal),
        VMSTATE_END_OF_LIST()
    },
};
