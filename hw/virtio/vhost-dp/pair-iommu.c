/*
 * vhost-dp: a queue pair behind a vIOMMU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the rings take translations from a cache (iotlb.c), and
 * note there what they miss.  translate.c asks the vIOMMU and fills the cache;
 * this file says when, and under which lock.
 *
 * Asking needs the BQL: vIOMMUs change their state, raise interrupts and even
 * change the memory map while they translate, and rely on it.  So it happens
 * without the queue pair's lock, which such a change takes to flush the cache.
 * Whatever makes an answer worthless meanwhile (an invalidation, a flush, a
 * queue that stops) changes the translator's generation; then the answer is
 * dropped, and the ring, which is looked at again, misses again.
 *
 * The engine tries to get the BQL, and does it all itself if nobody else has
 * it: no message, no switch to another thread.  Otherwise a bottom half of the
 * main loop does the same, for all misses there are, and resumes the engine.
 *
 * Three things make the cache forget.  Invalidations by the guest come from
 * vhost.c's IOMMU notifiers (vhost-ops.c).  Switches between translation and
 * pass-through reach no notifier, but change which IOMMUs and which RAM are in
 * the device's address space: a listener here sees that.  And a new memory
 * table (pair.c) replaces what entries point into.  Other changes of the memory
 * map, such as a BAR of another device that comes or goes, leave the cache
 * alone.  Each of the three takes the queue pair's lock, so that when it
 * returns, to the guest for example, no burst uses an old translation any more.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "system/memory.h"
#include "system/cpus.h"
#include "pair-int.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(VHOST_DP_IOTLB_USERS != VHOST_DP_QUEUES);

enum { WORK_ENGINE, WORK_MAIN_LOOP };

/* ---- Misses ---- */

/* Lock held */
static void iommu_put_answers(VhostDPPair *pair, VhostDPMissWork *work)
{
    unsigned q, i;

    vhost_dp_translate_put(&pair->translator, pair->mem, work);
    for (q = 0; q < VHOST_DP_QUEUES; q++) {
        for (i = 0; i < work->misses[q].n; i++) {
            uint64_t tag = work->misses[q].tag[i];

            trace_vhost_dp_iommu_fault(pair->name, pair_queue_name(q),
                                       tag & ~VHOST_DP_IOTLB_OFFSET_MASK,
                                       tag & VHOST_DP_IOTLB_ANY_WRITE);
        }
    }
}

bool vhost_dp_pair_resolve(VhostDPPair *pair)
{
    VhostDPTranslator *translator = &pair->translator;
    VhostDPMissWork *work = &pair->miss_work[WORK_ENGINE];

    if (!bql_trylock()) {
        qemu_bh_schedule(pair->miss_bh);
        return false;
    }
    WITH_QEMU_LOCK_GUARD(&pair->lock) {
        vhost_dp_translate_take(translator, work);
    }
    vhost_dp_translate_ask(translator, work);
    bql_unlock();
    WITH_QEMU_LOCK_GUARD(&pair->lock) {
        iommu_put_answers(pair, work);
    }
    return true;
}

/* Main loop, BQL */
static void iommu_miss_bh(void *opaque)
{
    VhostDPPair *pair = opaque;
    VhostDPTranslator *translator = &pair->translator;
    VhostDPMissWork *work = &pair->miss_work[WORK_MAIN_LOOP];

    if (!pair->dev) {
        /* Cleaned up meanwhile, and the engine may be gone */
        return;
    }
    vhost_dp_pair_lock(pair);
    vhost_dp_translate_take(translator, work);
    vhost_dp_pair_unlock(pair);
    vhost_dp_translate_ask(translator, work);
    vhost_dp_pair_lock(pair);
    iommu_put_answers(pair, work);
    vhost_dp_pair_unlock(pair);
    pair->client->resume(pair->opaque);
}

/* ---- What makes the cache forget ---- */

void vhost_dp_pair_iommu_forget(VhostDPPair *pair, uint64_t iova, uint64_t size)
{
    unsigned i;

    vhost_dp_translate_forget(&pair->translator, iova, size);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        vhost_dp_vring_unmapped(&pair->vq[i], iova, size);
    }
}

static void iommu_region_add(MemoryListener *listener,
                             MemoryRegionSection *section)
{
    VhostDPPair *pair = container_of(listener, VhostDPPair, dma_listener);

    vhost_dp_translate_add_section(&pair->translator, section->mr);
}

static void iommu_region_del(MemoryListener *listener,
                             MemoryRegionSection *section)
{
    VhostDPPair *pair = container_of(listener, VhostDPPair, dma_listener);

    vhost_dp_translate_del_section(&pair->translator, section->mr);
}

/* Called after any change of any address space */
static void iommu_commit(MemoryListener *listener)
{
    VhostDPPair *pair = container_of(listener, VhostDPPair, dma_listener);
    const VhostDPIotlb *iotlb = pair->translator.iotlb;

    if (!vhost_dp_translate_has_changed(&pair->translator)) {
        return;
    }
    vhost_dp_pair_lock(pair);
    vhost_dp_pair_iommu_forget(pair, 0, 0);
    vhost_dp_translate_update(&pair->translator, pair->mem);
    vhost_dp_pair_unlock(pair);
    trace_vhost_dp_iommu_change(pair->name, pair->dev->vq_index,
                                iotlb && iotlb->identity);
}

/* ---- Life cycle ---- */

static void iommu_set(VhostDPPair *pair, VhostDPIotlb *iotlb)
{
    unsigned i;

    vhost_dp_pair_lock(pair);
    vhost_dp_translate_use(&pair->translator, iotlb);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        pair->vq[i].iotlb = iotlb;
        pair->vq[i].iotlb_user = i;
    }
    vhost_dp_pair_unlock(pair);
}

void vhost_dp_pair_iommu_start(VhostDPPair *pair)
{
    /*
     * Whether there is a vIOMMU, and not whether the driver said that it knows
     * of it: a driver must not get around it by not accepting the feature.
     */
    if (vhost_dev_has_iommu(pair->dev)) {
        iommu_set(pair, vhost_dp_iotlb_new());
    }
}

void vhost_dp_pair_iommu_attach(VhostDPPair *pair)
{
    if (!pair->translator.iotlb) {
        return;
    }
    trace_vhost_dp_iommu_attach(pair->name, pair->dev->vq_index);
    pair->translator.as = pair->dev->vdev->dma_as;
    pair->dma_listener = (MemoryListener) {
        .name = "vhost-dp-iommu",
        .region_add = iommu_region_add,
        .region_del = iommu_region_del,
        .commit = iommu_commit,
        /* After the one that replaces the memory table */
        .priority = MEMORY_LISTENER_PRIORITY_DEV_BACKEND + 2,
    };
    memory_listener_register(&pair->dma_listener, pair->translator.as);
}

void vhost_dp_pair_iommu_stop(VhostDPPair *pair)
{
    VhostDPIotlb *iotlb = pair->translator.iotlb;

    if (pair->translator.as) {
        memory_listener_unregister(&pair->dma_listener);
        pair->translator.as = NULL;
    }
    if (iotlb) {
        iommu_set(pair, NULL);
        g_free(iotlb);
    }
}

void vhost_dp_pair_iommu_init(VhostDPPair *pair)
{
    pair->miss_bh = qemu_bh_new(iommu_miss_bh, pair);
}

void vhost_dp_pair_iommu_destroy(VhostDPPair *pair)
{
    qemu_bh_delete(pair->miss_bh);
}
