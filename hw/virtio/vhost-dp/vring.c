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
 * vring-split.c and vring-packed.c implement one each, with what they share
 * in vring-int.h.
 */

#include "qemu/osdep.h"
#include "vring-int.h"
#include "standard-headers/linux/virtio_config.h"

void vhost_dp_vring_init(VhostDPVring *vq, bool writable)
{
    memset(vq, 0, sizeof(*vq));
    vq->writable = writable;
    vq->ops = &vhost_dp_vring_split_ops;
}

void vhost_dp_vring_set_base(VhostDPVring *vq, uint32_t base)
{
    if (!vq->running) {
        vq->base = base;
    }
}

uint32_t vhost_dp_vring_get_base(const VhostDPVring *vq)
{
    return vq->running ? vq->ops->get_base(vq) : vq->base;
}

int vhost_dp_vring_start(VhostDPVring *vq, VhostDPMemory *mem,
                         uint64_t features)
{
    vq->event_idx = features & (1ULL << VIRTIO_RING_F_EVENT_IDX);
    vq->batch_used = features & (1ULL << VIRTIO_F_IN_ORDER) && !vq->writable;
    vq->ops = features & (1ULL << VIRTIO_F_RING_PACKED) ?
              &vhost_dp_vring_packed_ops : &vhost_dp_vring_split_ops;
    if (vq->num == 0 || vq->num > VHOST_DP_VRING_MAX_NUM ||
        !vq->ops->set_base(vq, vq->base)) {
        return -EINVAL;
    }
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
    vq->base = vq->ops->get_base(vq);
    vq->running = false;
    vring_unmap(vq);
}

void vhost_dp_vring_violation(VhostDPVring *vq, VhostDPViolation why)
{
    vhost_dp_count(&vq->violations[why], 1);
    if (!vq->broken) {
        vq->violation = why;
        vq->broken = true;
    }
}

bool vring_map_part(VhostDPMemory *mem, VhostDPRingPart *part, uint64_t size,
                    uint64_t align)
{
    uint64_t len = size;
    unsigned hit = 0;

    part->host = NULL;
    if (part->gpa % align || part->gpa + size < part->gpa) {
        return false;
    }
    part->host = vhost_dp_memory_map(mem, &hit, part->gpa, &len,
                                     &part->region);
    if (len != size) {
        part->host = NULL;
    }
    return part->host != NULL;
}

void vring_unmap(VhostDPVring *vq)
{
    vq->desc.host = NULL;
    vq->avail.host = NULL;
    vq->used.host = NULL;
}

bool vring_read(VhostDPVring *vq, VhostDPMemory *mem, uint64_t gpa, void *buf,
                uint64_t len)
{
    while (len) {
        VhostDPRegion *region;
        uint64_t n = len;
        void *host = vhost_dp_memory_map(mem, &vq->hit_table, gpa, &n,
                                         &region);

        if (!host) {
            return false;
        }
        memcpy(buf, host, n);
        buf += n;
        gpa += n;
        len -= n;
    }
    return true;
}
