/*
 * vhost-dp: the device side of a virtqueue, common to all ring formats
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a VhostDPVring belongs to a queue pair and is guarded
 * by its lock.  Control operations set it up, start and stop it; the queue
 * pair's thread pops and pushes.  The format is chosen once, at the start;
 * vring-split.c implements it.
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "hw/virtio/vhost-dp-vring.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"

void vhost_dp_vring_init(VhostDPVring *vq, bool writable)
{
    memset(vq, 0, sizeof(*vq));
    vq->writable = writable;
    vq->ops = &vhost_dp_vring_split_ops;
}

int vhost_dp_vring_start(VhostDPVring *vq, VhostDPMemory *mem,
                         uint64_t features)
{
    if (vq->num == 0 || vq->num > VHOST_DP_VRING_MAX_NUM ||
        !is_power_of_2(vq->num)) {
        return -EINVAL;
    }
    vq->event_idx = features & (1ULL << VIRTIO_RING_F_EVENT_IDX);
    vq->ops = &vhost_dp_vring_split_ops;
    if (!vq->ops->map(vq, mem)) {
        return -EFAULT;
    }
    vq->broken = false;
    vq->nshadow = 0;
    vq->running = true;
    vq->ops->start(vq);
    return 0;
}

void vhost_dp_vring_remap(VhostDPVring *vq, VhostDPMemory *mem)
{
    vq->hit_table = 0;
    vq->hit_first = 0;
    vq->hit_data = 0;
    if (vq->running && !vq->ops->map(vq, mem) && !vq->broken) {
        vhost_dp_vring_violation(vq, VHOST_DP_VIOLATION_RING_ADDRESS);
    }
}

void vhost_dp_vring_stop(VhostDPVring *vq)
{
    if (!vq->running) {
        return;
    }
    /* Who runs the queue next expects kicks */
    vq->ops->enable_notify(vq);
    vq->running = false;
    vq->desc.host = NULL;
    vq->avail.host = NULL;
    vq->used.host = NULL;
}

void vhost_dp_vring_violation(VhostDPVring *vq, VhostDPViolation why)
{
    vhost_dp_count(&vq->violations[why], 1);
    if (!vq->broken) {
        vq->violation = why;
        vq->broken = true;
    }
}
