/*
 * vhost-dp: a back end behind a vIOMMU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the rings take translations from a cache (iotlb.c), and
 * note there what they miss.  This file asks the vIOMMU, and makes the cache
 * forget.
 *
 * Asking needs the BQL: vIOMMUs change their state, raise interrupts and even
 * change the memory map while they translate, and rely on it.  So it happens
 * without the queue pair's lock, which such a change takes to flush the cache.
 * Whatever makes an answer worthless meanwhile (an invalidation, a flush, a
 * queue that stops) changes iotlb_generation; then the answer is dropped, and
 * the ring, which is looked at again, misses again.
 *
 * The engine tries to get the BQL, and does it all itself if nobody else has
 * it: no message, no switch to another thread.  Otherwise a bottom half of the
 * main loop does the same, for all misses there are, and resumes the engine.
 *
 * Three things make the cache forget.  Invalidations by the guest come from
 * vhost.c's IOMMU notifiers.  Switches between translation and pass-through
 * reach no notifier, but change which IOMMUs and which RAM are in the device's
 * address space: a listener sees that.  And a new memory table replaces what
 * entries point into.  Other changes of the memory map, such as a BAR of
 * another device that comes or goes, leave it alone.  Each of the three takes
 * the queue pair's lock, so that when it returns, to the guest for example, no
 * burst uses an old translation any more.  Behind an IOMMU that calls no
 * notifiers the cache is transient: see vhost-dp-iotlb.h.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "system/memory.h"
#include "system/cpus.h"
#include "hw/virtio/vhost.h"
#include "linux-headers/linux/vhost.h"
#include "translate.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(VHOST_DP_IOTLB_USERS != VHOST_DP_QUEUES);

enum { WORK_ENGINE, WORK_MAIN_LOOP };

/* ---- Misses ---- */

/*
 * What is to be asked for?  Lock held, and the BQL: the back end cannot be
 * stopped before the answer is there.
 */
static void iommu_take_misses(VhostDPBackend *be, VhostDPMissWork *work)
{
    unsigned q;

    for (q = 0; q < VHOST_DP_QUEUES; q++) {
        work->misses[q].n = 0;
    }
    work->generation = be->iotlb_generation;
    if (be->dma_as && be->iotlb) {
        memcpy(work->misses, be->iotlb->misses, sizeof(work->misses));
    }
}

/* BQL, and not the queue pair's lock */
static void iommu_ask(VhostDPBackend *be, VhostDPMissWork *work)
{
    unsigned q, i;

    RCU_READ_LOCK_GUARD();
    for (q = 0; q < VHOST_DP_QUEUES; q++) {
        for (i = 0; i < work->misses[q].n; i++) {
            uint64_t tag = work->misses[q].tag[i];
            hwaddr len = VHOST_DP_IOTLB_PAGE_SIZE;
            hwaddr offset;
            MemoryRegion *mr;

            /* For exactly this kind of access: it may be the only one */
            mr = address_space_translate(be->dma_as,
                                         tag & ~VHOST_DP_IOTLB_OFFSET_MASK,
                                         &offset, &len,
                                         tag & VHOST_DP_IOTLB_ANY_WRITE,
                                         MEMTXATTRS_UNSPECIFIED);
            if (len < VHOST_DP_IOTLB_PAGE_SIZE) {
                mr = NULL;
            }
            work->answer[q][i].mr = mr;
            work->answer[q][i].offset = offset;
        }
    }
}

/* All of a page of @mr.  Returns NULL if it is not RAM that the guest has. */
static VhostDPRegion *iommu_find_region(VhostDPMemory *mem, MemoryRegion *mr,
                                        uint64_t offset)
{
    unsigned i;

    for (i = 0; i < mem->nregions; i++) {
        VhostDPRegion *r = &mem->regions[i];
        uint64_t in_region = offset - r->cache.xlat;

        if (mr && r->cache.mrs.mr == mr && in_region < r->size &&
            r->size - in_region >= VHOST_DP_IOTLB_PAGE_SIZE) {
            return r;
        }
    }
    return NULL;
}

/* What that costs, frame or queue, the ring decides when it looks again */
static void iommu_refuse(VhostDPBackend *be, unsigned q, uint64_t tag)
{
    trace_vhost_dp_iommu_fault(be->name, q == VHOST_DP_RX ? "receive" :
                               "transmit", tag & ~VHOST_DP_IOTLB_OFFSET_MASK,
                               tag & VHOST_DP_IOTLB_ANY_WRITE);
    vhost_dp_iotlb_refuse(be->iotlb, q, tag);
}

/* Lock held */
static void iommu_put_answers(VhostDPBackend *be, const VhostDPMissWork *work)
{
    unsigned q, i;

    if (!be->iotlb) {
        return;
    }
    for (q = 0; q < VHOST_DP_QUEUES; q++) {
        /* Whatever is missing still will be missed again */
        be->iotlb->misses[q].n = 0;
        if (!work->misses[q].n || work->generation != be->iotlb_generation) {
            continue;
        }
        be->iotlb->refused[q].n = 0;
        for (i = 0; i < work->misses[q].n; i++) {
            uint64_t tag = work->misses[q].tag[i];
            uint64_t offset = work->answer[q][i].offset;
            VhostDPRegion *r = iommu_find_region(be->mem,
                                                 work->answer[q][i].mr,
                                                 offset);

            if (r) {
                vhost_dp_iotlb_insert(be->iotlb, tag,
                                      tag & VHOST_DP_IOTLB_OFFSET_MASK,
                                      r->host + (offset - r->cache.xlat), r);
            } else {
                iommu_refuse(be, q, tag);
            }
        }
    }
}

bool vhost_dp_backend_resolve(VhostDPBackend *be)
{
    VhostDPMissWork *work = &be->miss_work[WORK_ENGINE];

    if (!bql_trylock()) {
        qemu_bh_schedule(be->miss_bh);
        return false;
    }
    WITH_QEMU_LOCK_GUARD(&be->lock) {
        iommu_take_misses(be, work);
    }
    iommu_ask(be, work);
    bql_unlock();
    WITH_QEMU_LOCK_GUARD(&be->lock) {
        iommu_put_answers(be, work);
    }
    return true;
}

/* Main loop, BQL */
static void iommu_miss_bh(void *opaque)
{
    VhostDPBackend *be = opaque;
    VhostDPMissWork *work = &be->miss_work[WORK_MAIN_LOOP];

    if (!be->dev) {
        /* Cleaned up meanwhile, and the engine may be gone */
        return;
    }
    vhost_dp_backend_lock(be);
    iommu_take_misses(be, work);
    vhost_dp_backend_unlock(be);
    iommu_ask(be, work);
    vhost_dp_backend_lock(be);
    iommu_put_answers(be, work);
    vhost_dp_backend_unlock(be);
    be->client->resume(be->opaque);
}

/* ---- Invalidation ---- */

/* Lock held: forget a range; all of it if @size is zero */
static void iommu_forget(VhostDPBackend *be, uint64_t iova, uint64_t size)
{
    unsigned i;

    be->iotlb_generation++;
    vhost_dp_iotlb_invalidate(be->iotlb, iova, size);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        vhost_dp_vring_unmapped(&be->vq[i], iova, size);
    }
}

int vhost_dp_iommu_message(struct vhost_dev *dev, struct vhost_iotlb_msg *msg)
{
    VhostDPBackend *be = dev->opaque;

    if (msg->type != VHOST_IOTLB_INVALIDATE) {
        /* Nobody has asked for translations this way */
        return -ENOTSUP;
    }
    trace_vhost_dp_iommu_invalidate(be->name, dev->vq_index, msg->iova,
                                    msg->size);
    vhost_dp_backend_lock(be);
    if (be->iotlb) {
        iommu_forget(be, msg->iova, msg->size);
    }
    vhost_dp_backend_unlock(be);
    return 0;
}

void vhost_dp_iommu_flush(VhostDPBackend *be)
{
    if (be->iotlb) {
        iommu_forget(be, 0, 0);
    }
}

void vhost_dp_iommu_stop_queue(VhostDPBackend *be, unsigned queue)
{
    if (be->iotlb) {
        be->iotlb_generation++;
        be->iotlb->misses[queue].n = 0;
        vhost_dp_iotlb_forget(be->iotlb, queue);
    }
}

/*
 * Does an IOMMU call notifiers for what the guest unmaps?  There is no way to
 * ask: amd-iommu takes them and says nothing, others have no such code.
 */
static bool iommu_notifies(MemoryRegion *mr)
{
    static const char *const types[] = {
        "intel-iommu-iommu-memory-region",
        "virtio-iommu-memory-region",
        "smmuv3-iommu-memory-region",
        "spapr-iommu-memory-region",
        "s390-iommu-memory-region",
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(types); i++) {
        if (object_dynamic_cast(OBJECT(mr), types[i])) {
            return true;
        }
    }
    return false;
}

/* ---- Pass-through ---- */

/* Does the device find the same RAM at a region's addresses? */
static bool iommu_is_same(VhostDPBackend *be, const VhostDPRegion *r)
{
    uint64_t done = 0;

    /* What is contiguous RAM may be of several sections */
    while (done < r->size) {
        hwaddr len = r->size - done;
        hwaddr offset;
        MemoryRegion *mr = address_space_translate(be->dma_as, r->gpa + done,
                                                   &offset, &len, true,
                                                   MEMTXATTRS_UNSPECIFIED);

        if (mr != r->cache.mrs.mr || offset != r->cache.xlat + done || !len) {
            return false;
        }
        done += len;
    }
    return true;
}

/*
 * Is that so for all of the memory table?  It is when the guest does not use
 * its vIOMMU, or lets this device bypass it.
 */
static bool iommu_is_identity(VhostDPBackend *be)
{
    unsigned i;

    if (be->dma_iommus || !be->mem || !be->mem->nregions) {
        return false;
    }
    RCU_READ_LOCK_GUARD();
    for (i = 0; i < be->mem->nregions; i++) {
        if (!iommu_is_same(be, &be->mem->regions[i])) {
            return false;
        }
    }
    return true;
}

void vhost_dp_iommu_update(VhostDPBackend *be)
{
    if (be->iotlb && be->dma_as) {
        be->iotlb->identity = iommu_is_identity(be);
    }
}

/* @n: 1 for a section that is new in dma_as, -1 for one that is gone */
static void iommu_count_section(VhostDPBackend *be, MemoryRegion *mr, int n)
{
    if (memory_region_is_iommu(mr)) {
        be->dma_iommus += n;
        be->dma_silent += iommu_notifies(mr) ? 0 : n;
        be->dma_changed = true;
    } else if (memory_region_is_ram(mr)) {
        be->dma_changed = true;
    }
}

static void iommu_region_add(MemoryListener *listener,
                             MemoryRegionSection *section)
{
    iommu_count_section(container_of(listener, VhostDPBackend, dma_listener),
                        section->mr, 1);
}

static void iommu_region_del(MemoryListener *listener,
                             MemoryRegionSection *section)
{
    iommu_count_section(container_of(listener, VhostDPBackend, dma_listener),
                        section->mr, -1);
}

/* Called after any change of any address space */
static void iommu_commit(MemoryListener *listener)
{
    VhostDPBackend *be = container_of(listener, VhostDPBackend, dma_listener);

    if (!be->dma_changed) {
        return;
    }
    be->dma_changed = false;
    vhost_dp_backend_lock(be);
    vhost_dp_iommu_flush(be);
    if (be->iotlb) {
        be->iotlb->transient = be->dma_silent;
    }
    vhost_dp_iommu_update(be);
    vhost_dp_backend_unlock(be);
    trace_vhost_dp_iommu_change(be->name, be->dev->vq_index,
                                be->iotlb && be->iotlb->identity);
}

/* ---- Life cycle ---- */

static void iommu_set(VhostDPBackend *be, VhostDPIotlb *iotlb)
{
    unsigned i;

    vhost_dp_backend_lock(be);
    be->iotlb_generation++;
    be->iotlb = iotlb;
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        be->vq[i].iotlb = iotlb;
        be->vq[i].iotlb_user = i;
    }
    vhost_dp_backend_unlock(be);
}

void vhost_dp_iommu_start(VhostDPBackend *be)
{
    /*
     * Whether there is a vIOMMU, and not whether the driver said that it knows
     * of it: a driver must not get around it by not accepting the feature.
     */
    if (vhost_dev_has_iommu(be->dev)) {
        iommu_set(be, vhost_dp_iotlb_new());
    }
}

void vhost_dp_iommu_attach(VhostDPBackend *be)
{
    if (!be->iotlb) {
        return;
    }
    trace_vhost_dp_iommu_attach(be->name, be->dev->vq_index);
    be->dma_as = be->dev->vdev->dma_as;
    be->dma_listener = (MemoryListener) {
        .name = "vhost-dp-iommu",
        .region_add = iommu_region_add,
        .region_del = iommu_region_del,
        .commit = iommu_commit,
        /* After the one that replaces the memory table */
        .priority = MEMORY_LISTENER_PRIORITY_DEV_BACKEND + 2,
    };
    memory_listener_register(&be->dma_listener, be->dma_as);
}

void vhost_dp_iommu_stop(VhostDPBackend *be)
{
    VhostDPIotlb *iotlb = be->iotlb;

    if (be->dma_as) {
        memory_listener_unregister(&be->dma_listener);
        be->dma_as = NULL;
    }
    if (iotlb) {
        iommu_set(be, NULL);
        g_free(iotlb);
    }
}

void vhost_dp_iommu_init(VhostDPBackend *be)
{
    be->miss_bh = qemu_bh_new(iommu_miss_bh, be);
}

void vhost_dp_iommu_destroy(VhostDPBackend *be)
{
    qemu_bh_delete(be->miss_bh);
}
