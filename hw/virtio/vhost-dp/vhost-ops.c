/*
 * vhost-dp: the VhostOps of a queue pair
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: hw/virtio/vhost.c drives a VhostOps table.  For
 * vhost-net that table sends ioctls to the kernel, for vhost-user messages to
 * another process; here it stores into a VhostDPPair, or calls pair.c.  All of
 * it runs under the BQL, in the main loop, a vCPU or the migration thread, and
 * takes the pair's lock for what a burst looks at.
 *
 * Dirty memory is marked by the ring code as it writes, so the log that
 * vhost.c offers (set_log_base) stays empty.
 */

#include "qemu/osdep.h"
#include "system/address-spaces.h"
#include "hw/virtio/vhost.h"
#include "linux-headers/linux/vhost.h"
#include "standard-headers/linux/vhost_types.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_net.h"
#include "standard-headers/linux/virtio_ring.h"
#include "pair-int.h"
#include "trace.h"

/* Ring and device features that the data path implements */
#define VHOST_DP_FEATURES \
    ((1ULL << VIRTIO_F_NOTIFY_ON_EMPTY) | \
     (1ULL << VIRTIO_RING_F_INDIRECT_DESC) | \
     (1ULL << VIRTIO_RING_F_EVENT_IDX) | \
     (1ULL << VIRTIO_F_ANY_LAYOUT) | \
     (1ULL << VIRTIO_F_VERSION_1) | \
     (1ULL << VIRTIO_F_ACCESS_PLATFORM) | \
     (1ULL << VIRTIO_F_RING_PACKED) | \
     (1ULL << VIRTIO_F_IN_ORDER) | \
     (1ULL << VIRTIO_F_RING_RESET) | \
     (1ULL << VIRTIO_NET_F_MRG_RXBUF) | \
     (1ULL << VIRTIO_NET_F_MTU) | \
     (1ULL << VIRTIO_NET_F_RSS) | \
     (1ULL << VIRTIO_NET_F_HASH_REPORT) | \
     (1ULL << VHOST_F_LOG_ALL))

/* ---- Memory ---- */

/*
 * vhost.c calls set_mem_table only when RAM changed.  But a table holds the
 * address space's view as it was, and with it every device that has a region
 * there: to let an unplugged device go, the table has to follow each change.
 * Where RAM is the same, only the references are renewed.
 */
static void ops_memory_commit(MemoryListener *listener)
{
    VhostDPPair *pair = container_of(listener, VhostDPPair, listener);

    if (pair->started &&
        !vhost_dp_memory_is_current(pair->mem, &address_space_memory)) {
        vhost_dp_pair_update_memory(pair);
    }
}

static int ops_set_mem_table(struct vhost_dev *dev,
                             struct vhost_memory *unused)
{
    vhost_dp_pair_update_memory(dev->opaque);
    return 0;
}

static int ops_set_log_base(struct vhost_dev *dev, uint64_t base,
                            struct vhost_log *log)
{
    return 0;
}

/* The guest unmapped a range */
static int ops_send_device_iotlb_msg(struct vhost_dev *dev,
                                     struct vhost_iotlb_msg *msg)
{
    VhostDPPair *pair = dev->opaque;

    if (msg->type != VHOST_IOTLB_INVALIDATE) {
        /* Nobody has asked for translations this way */
        return -ENOTSUP;
    }
    trace_vhost_dp_iommu_invalidate(pair->name, dev->vq_index, msg->iova,
                                    msg->size);
    vhost_dp_pair_lock(pair);
    vhost_dp_pair_iommu_forget(pair, msg->iova, msg->size);
    vhost_dp_pair_unlock(pair);
    return 0;
}

/* ---- The device ---- */

static int ops_init(struct vhost_dev *dev, void *opaque, Error **errp)
{
    VhostDPPair *pair = opaque;

    dev->opaque = pair;
    pair->dev = dev;
    pair->listener = (MemoryListener) {
        .name = "vhost-dp",
        .commit = ops_memory_commit,
        /* After vhost.c, whose list of sections is used */
        .priority = MEMORY_LISTENER_PRIORITY_DEV_BACKEND + 1,
    };
    memory_listener_register(&pair->listener, &address_space_memory);
    return 0;
}

static int ops_cleanup(struct vhost_dev *dev)
{
    VhostDPPair *pair = dev->opaque;

    if (pair) {
        memory_listener_unregister(&pair->listener);
        vhost_dp_pair_stop(pair);
        /* vhost_dev_cleanup() has closed the masked notifiers */
        pair->call_fd[VHOST_DP_RX] = -1;
        pair->call_fd[VHOST_DP_TX] = -1;
        pair->dev = NULL;
        pair->client->changed(pair->opaque);
    }
    return 0;
}

static int ops_memslots_limit(struct vhost_dev *dev)
{
    return INT_MAX;
}

static int ops_set_owner(struct vhost_dev *dev)
{
    return 0;
}

static int ops_get_features(struct vhost_dev *dev, uint64_t *features)
{
    *features = VHOST_DP_FEATURES;
    return 0;
}

static int ops_set_features(struct vhost_dev *dev, uint64_t features)
{
    VhostDPPair *pair = dev->opaque;

    /*
     * Also called on a running device, when only VHOST_F_LOG_ALL changes;
     * queues take the features when they start.
     */
    vhost_dp_pair_lock(pair);
    pair->features = features & ~(1ULL << VHOST_F_LOG_ALL);
    if (!pair->started) {
        /* A start begins: of one that failed half-way nothing may be left */
        pair->kick[VHOST_DP_RX].fd = -1;
        pair->kick[VHOST_DP_TX].fd = -1;
    }
    vhost_dp_pair_unlock(pair);
    trace_vhost_dp_set_features(pair->name, dev->vq_index, features);
    return 0;
}

static int ops_get_vq_index(struct vhost_dev *dev, int idx)
{
    return pair_queue(dev, idx);
}

static int ops_dev_start(struct vhost_dev *dev, bool start)
{
    VhostDPPair *pair = dev->opaque;
    int r = 0;

    if (start) {
        r = vhost_dp_pair_start(pair);
    } else {
        vhost_dp_pair_stop(pair);
    }
    trace_vhost_dp_dev_start(pair->name, dev->vq_index, start, pair->features,
                             r);
    pair->client->changed(pair->opaque);
    return r;
}

/* ---- Virtqueues ---- */

static int ops_set_vring_num(struct vhost_dev *dev,
                             struct vhost_vring_state *ring)
{
    VhostDPPair *pair = dev->opaque;

    vhost_dp_pair_lock(pair);
    /* The ring of a running queue was mapped for the size that it has */
    if (!pair->vq[ring->index].running) {
        pair->vq[ring->index].num = ring->num;
    }
    vhost_dp_pair_unlock(pair);
    return 0;
}

static int ops_set_vring_base(struct vhost_dev *dev,
                              struct vhost_vring_state *ring)
{
    VhostDPPair *pair = dev->opaque;

    vhost_dp_pair_lock(pair);
    vhost_dp_vring_set_base(&pair->vq[ring->index], ring->num);
    vhost_dp_pair_unlock(pair);
    return 0;
}

/*
 * Does not stop the queue, unlike other back ends: x-query-virtio-queue-status
 * asks a running one.  At a stop vhost.c calls dev_start(false) before.
 */
static int ops_get_vring_base(struct vhost_dev *dev,
                              struct vhost_vring_state *ring)
{
    VhostDPPair *pair = dev->opaque;
    bool running;

    vhost_dp_pair_lock(pair);
    running = pair->vq[ring->index].running;
    if (!running) {
        pair->kick[ring->index].fd = -1;
    }
    ring->num = vhost_dp_vring_get_base(&pair->vq[ring->index]);
    vhost_dp_pair_unlock(pair);
    if (!running) {
        pair->client->changed(pair->opaque);
    }
    return 0;
}

static int ops_set_vring_endian(struct vhost_dev *dev,
                                struct vhost_vring_state *ring)
{
    VhostDPPair *pair = dev->opaque;

    vhost_dp_pair_lock(pair);
    pair->legacy_big_endian[ring->index] = ring->num;
    vhost_dp_pair_unlock(pair);
    return 0;
}

/*
 * Guest-physical addresses instead of pointers, for set_vring_addr.  In vhost's
 * words the driver area is "avail", and the device area "used".
 */
static int ops_vq_get_addr(struct vhost_dev *dev,
                           struct vhost_vring_addr *addr,
                           struct vhost_virtqueue *vq)
{
    addr->desc_user_addr = vq->desc_phys;
    addr->avail_user_addr = vq->avail_phys;
    addr->used_user_addr = vq->used_phys;
    return 0;
}

static int ops_set_vring_addr(struct vhost_dev *dev,
                              struct vhost_vring_addr *addr)
{
    VhostDPPair *pair = dev->opaque;
    VhostDPVring *vq = &pair->vq[addr->index];

    vhost_dp_pair_lock(pair);
    /* On a running queue it is only the logging that is switched */
    if (!vq->running) {
        vq->desc.gpa = addr->desc_user_addr;
        vq->driver.gpa = addr->avail_user_addr;
        vq->device.gpa = addr->used_user_addr;
    }
    vhost_dp_pair_unlock(pair);
    return 0;
}

/* Also restarts a queue that was reset while the device runs */
static int ops_set_vring_kick(struct vhost_dev *dev,
                              struct vhost_vring_file *file)
{
    VhostDPPair *pair = dev->opaque;
    int r = vhost_dp_pair_set_kick(pair, file->index, file->fd);

    trace_vhost_dp_set_vring_kick(pair->name, dev->vq_index,
                                  pair_queue_name(file->index), file->fd,
                                  pair->kick[file->index].fd, r);
    pair->client->changed(pair->opaque);
    return r;
}

/*
 * Masking of an interrupt, for which there is no failure.  So the descriptor is
 * used as it is: its holder stops the device before it closes the descriptor,
 * and a stop lets go of it (pair_stop()).
 */
static int ops_set_vring_call(struct vhost_dev *dev,
                              struct vhost_vring_file *file)
{
    VhostDPPair *pair = dev->opaque;

    vhost_dp_pair_lock(pair);
    pair->call_fd[file->index] = file->fd;
    vhost_dp_pair_unlock(pair);
    trace_vhost_dp_set_vring_call(pair->name, dev->vq_index,
                                  pair_queue_name(file->index), file->fd);
    return 0;
}

static int ops_set_vring_enable(struct vhost_dev *dev, int enable)
{
    VhostDPPair *pair = dev->opaque;

    vhost_dp_pair_lock(pair);
    pair->enabled = enable;
    vhost_dp_pair_unlock(pair);
    trace_vhost_dp_set_vring_enable(pair->name, dev->vq_index, enable);
    pair->client->changed(pair->opaque);
    return 0;
}

const VhostOps vhost_dp_ops = {
    .backend_type = VHOST_BACKEND_TYPE_DP,
    .vhost_backend_init = ops_init,
    .vhost_backend_cleanup = ops_cleanup,
    .vhost_backend_memslots_limit = ops_memslots_limit,
    .vhost_set_owner = ops_set_owner,
    .vhost_get_features = ops_get_features,
    .vhost_set_features = ops_set_features,
    .vhost_get_vq_index = ops_get_vq_index,
    .vhost_set_mem_table = ops_set_mem_table,
    .vhost_set_log_base = ops_set_log_base,
    .vhost_set_vring_num = ops_set_vring_num,
    .vhost_set_vring_base = ops_set_vring_base,
    .vhost_get_vring_base = ops_get_vring_base,
    .vhost_set_vring_endian = ops_set_vring_endian,
    .vhost_vq_get_addr = ops_vq_get_addr,
    .vhost_set_vring_addr = ops_set_vring_addr,
    .vhost_set_vring_kick = ops_set_vring_kick,
    .vhost_set_vring_call = ops_set_vring_call,
    .vhost_set_vring_enable = ops_set_vring_enable,
    .vhost_dev_start = ops_dev_start,
    .vhost_send_device_iotlb_msg = ops_send_device_iotlb_msg,
};
