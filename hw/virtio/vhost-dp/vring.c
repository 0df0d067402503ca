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
 * vring-split.c.inc and vring-packed.c.inc implement one each, with what
 * they share in vring-access.h, and each is compiled twice: with a vIOMMU and
 * without.
 */

#include "qemu/osdep.h"
#include "vring-int.h"
#include "standard-headers/linux/virtio_config.h"

void vhost_dp_vring_init(VhostDPVring *vq, bool writable)
{
    memset(vq, 0, sizeof(*vq));
    vq->writable = writable;
    vq->ops = &vhost_dp_vring_split_ops;
    vq->desc.page = vq->ring_page[0];
    vq->driver.page = vq->ring_page[1];
    vq->device.page = vq->ring_page[2];
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

static const VhostDPVringOps *vring_choose_ops(bool packed, bool iommu)
{
    if (iommu) {
        return packed ? &vhost_dp_vring_packed_iommu_ops :
                        &vhost_dp_vring_split_iommu_ops;
    }
    return packed ? &vhost_dp_vring_packed_ops : &vhost_dp_vring_split_ops;
}

int vhost_dp_vring_start(VhostDPVring *vq, VhostDPMemory *mem,
                         uint64_t features)
{
    vq->event_idx = features & (1ULL << VIRTIO_RING_F_EVENT_IDX);
    vq->notify_on_empty = features & (1ULL << VIRTIO_F_NOTIFY_ON_EMPTY);
    vq->batch_used = features & (1ULL << VIRTIO_F_IN_ORDER) && !vq->writable;
    vq->ops = vring_choose_ops(features & (1ULL << VIRTIO_F_RING_PACKED),
                               vq->iotlb);
    if (vq->num == 0 || vq->num > VHOST_DP_VRING_MAX_NUM ||
        !vq->ops->set_base(vq, vq->base)) {
        return -EINVAL;
    }
    if (!vq->ops->map(vq, mem)) {
        return -EFAULT;
    }
    vq->broken = false;
    vq->nshadow = 0;
    vq->undecided = 0;
    vq->running = true;
    vq->missed = false;
    vq->begun = !vq->iotlb;
    if (vq->begun) {
        vq->ops->start(vq);
    }
    return 0;
}

void vhost_dp_vring_remap(VhostDPVring *vq, VhostDPMemory *mem)
{
    vq->hit_table = 0;
    vq->hit_first = 0;
    vq->hit_data = 0;
    if (vq->iotlb) {
        vhost_dp_vring_unmap(vq);
        return;
    }
    if (vq->running && !vq->ops->map(vq, mem) && !vq->broken) {
        vhost_dp_vring_violation(vq, VHOST_DP_VIOLATION_RING_ADDRESS);
    }
}

void vhost_dp_vring_unmapped(VhostDPVring *vq, uint64_t iova, uint64_t size)
{
    const VhostDPRingPart *parts[] = { &vq->desc, &vq->driver, &vq->device };
    uint64_t last = iova + (size - 1);
    bool all = size == 0 || last < iova;
    unsigned i;

    if (!vq->iotlb || !vq->running) {
        return;
    }
    for (i = 0; i < ARRAY_SIZE(parts); i++) {
        /* More than any part is long: looking again does no harm */
        uint64_t first = parts[i]->gpa & ~VHOST_DP_IOTLB_OFFSET_MASK;
        uint64_t end = first + VHOST_DP_RING_PAGES * VHOST_DP_IOTLB_PAGE_SIZE;

        if (all || end < first || (iova < end && last >= first)) {
            vhost_dp_vring_unmap(vq);
            return;
        }
    }
}

void vhost_dp_vring_stop(VhostDPVring *vq)
{
    if (!vq->running) {
        return;
    }
    /*
     * Who runs the queue next expects kicks.  A ring that a vIOMMU took away
     * cannot be written to; but all look once when they start, as the host
     * notifier is set then.
     */
    vq->ops->enable_notify(vq);
    vq->base = vq->ops->get_base(vq);
    vq->running = false;
    vq->missed = false;
    vhost_dp_vring_unmap(vq);
}

bool vhost_dp_vring_decide(VhostDPVring *vq)
{
    unsigned n = vq->undecided;

    vq->undecided = 0;
    if (!n) {
        return false;
    }
    if (!vq->desc.host || !vq->driver.host || !vq->device.host) {
        vq->signalled_used_valid = false;
        return true;
    }
    if (n > vq->num) {
        /* The driver's event may lie more than one round back */
        vq->signalled_used_valid = false;
    }
    return vq->ops->need_call(vq);
}

void vhost_dp_vring_violation(VhostDPVring *vq, VhostDPViolation why)
{
    vhost_dp_count(&vq->violations[why], 1);
    if (!vq->broken) {
        vq->violation = why;
        qatomic_set(&vq->broken, true);
    }
    /* Nothing is worth asking for any more */
    vq->missed = false;
    if (vq->iotlb) {
        vq->iotlb->misses[vq->iotlb_user].n = 0;
    }
}

bool vhost_dp_vring_check_part(const VhostDPRingPart *part, uint64_t size,
                               uint64_t align)
{
    return part->gpa % align == 0 && part->gpa + size >= part->gpa;
}

bool vhost_dp_vring_map_part(VhostDPMemory *mem, VhostDPRingPart *part,
                             uint64_t size)
{
    uint64_t len = size;
    unsigned hit = 0;

    part->host = vhost_dp_memory_map(mem, &hit, part->gpa, &len,
                                     &part->region);
    if (len != size) {
        part->host = NULL;
    }
    return part->host != NULL;
}

void vhost_dp_vring_unmap(VhostDPVring *vq)
{
    vq->desc.host = NULL;
    vq->driver.host = NULL;
    vq->device.host = NULL;
}
