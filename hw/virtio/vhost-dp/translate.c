/*
 * vhost-dp: what a vIOMMU translates
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: three steps resolve misses, since the vIOMMU must be
 * asked with the BQL and without the queue pair's lock.  Misses are taken out
 * of the cache; the vIOMMU is asked; answers are put into the cache, if
 * @generation says that nothing has made them worthless in between.  What the
 * vIOMMU refuses is noted in the cache, too.
 *
 * A vIOMMU that the guest does not use, or that lets this device bypass it,
 * leaves RAM where it is in the device's address space.  That is found by
 * counting the IOMMUs and comparing all of the memory table, when either has
 * changed; then the cache is not used (@identity).
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "system/memory.h"
#include "hw/virtio/vhost-dp-translate.h"

/* ---- Misses ---- */

void vhost_dp_translate_take(VhostDPTranslator *t, VhostDPMissWork *work)
{
    unsigned user;

    for (user = 0; user < VHOST_DP_IOTLB_USERS; user++) {
        work->misses[user].n = 0;
    }
    work->generation = t->generation;
    if (t->as && t->iotlb) {
        memcpy(work->misses, t->iotlb->misses, sizeof(work->misses));
    }
}

void vhost_dp_translate_ask(VhostDPTranslator *t, VhostDPMissWork *work)
{
    unsigned user, i;

    RCU_READ_LOCK_GUARD();
    for (user = 0; user < VHOST_DP_IOTLB_USERS; user++) {
        for (i = 0; i < work->misses[user].n; i++) {
            uint64_t tag = work->misses[user].tag[i];
            hwaddr len = VHOST_DP_IOTLB_PAGE_SIZE;
            hwaddr offset;
            MemoryRegion *mr;

            /* For exactly this kind of access: it may be the only one */
            mr = address_space_translate(t->as,
                                         tag & ~VHOST_DP_IOTLB_OFFSET_MASK,
                                         &offset, &len,
                                         tag & VHOST_DP_IOTLB_ANY_WRITE,
                                         MEMTXATTRS_UNSPECIFIED);
            if (len < VHOST_DP_IOTLB_PAGE_SIZE) {
                mr = NULL;
            }
            work->answer[user][i].mr = mr;
            work->answer[user][i].offset = offset;
        }
    }
}

/* All of a page of @mr.  Returns NULL if it is not RAM that the guest has. */
static VhostDPRegion *translate_find_region(VhostDPMemory *mem,
                                            MemoryRegion *mr, uint64_t offset)
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

/*
 * The answers of one user.  What was refused stays in @work; what that costs, a
 * frame or the queue, the ring decides when it looks again.
 */
static void translate_put_user(VhostDPTranslator *t, VhostDPMemory *mem,
                               VhostDPMissWork *work, unsigned user)
{
    VhostDPIotlbMisses *misses = &work->misses[user];
    unsigned nrefused = 0;
    unsigned i;

    if (!misses->n) {
        return;
    }
    t->iotlb->refused[user].n = 0;
    for (i = 0; i < misses->n; i++) {
        uint64_t tag = misses->tag[i];
        uint64_t offset = work->answer[user][i].offset;
        VhostDPRegion *r = translate_find_region(mem, work->answer[user][i].mr,
                                                 offset);

        if (r) {
            vhost_dp_iotlb_insert(t->iotlb, tag,
                                  tag & VHOST_DP_IOTLB_OFFSET_MASK,
                                  r->host + (offset - r->cache.xlat), r);
        } else {
            vhost_dp_iotlb_refuse(t->iotlb, user, tag);
            misses->tag[nrefused++] = tag;
        }
    }
    misses->n = nrefused;
}

void vhost_dp_translate_put(VhostDPTranslator *t, VhostDPMemory *mem,
                            VhostDPMissWork *work)
{
    unsigned user;

    for (user = 0; user < VHOST_DP_IOTLB_USERS; user++) {
        if (t->iotlb) {
            /* A page that is still missing is noted again by the next burst */
            t->iotlb->misses[user].n = 0;
        }
        if (t->iotlb && work->generation == t->generation) {
            translate_put_user(t, mem, work, user);
        } else {
            work->misses[user].n = 0;
        }
    }
}

/* ---- Forgetting ---- */

void vhost_dp_translate_use(VhostDPTranslator *t, VhostDPIotlb *iotlb)
{
    t->generation++;
    t->iotlb = iotlb;
}

void vhost_dp_translate_forget(VhostDPTranslator *t, uint64_t iova,
                               uint64_t size)
{
    if (t->iotlb) {
        t->generation++;
        vhost_dp_iotlb_invalidate(t->iotlb, iova, size);
    }
}

void vhost_dp_translate_stop_queue(VhostDPTranslator *t, unsigned user)
{
    if (t->iotlb) {
        t->generation++;
        t->iotlb->misses[user].n = 0;
        vhost_dp_iotlb_forget(t->iotlb, user);
    }
}

/* ---- The device's address space ---- */

/*
 * Does an IOMMU call notifiers for what the guest unmaps?  There is no way to
 * ask: amd-iommu takes them and says nothing, others have no such code.
 */
static bool translate_iommu_notifies(MemoryRegion *mr)
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

/* @n: 1 for a section that is new in the address space, -1 for one that left */
static void translate_count_section(VhostDPTranslator *t, MemoryRegion *mr,
                                    int n)
{
    if (memory_region_is_iommu(mr)) {
        t->iommus += n;
        t->silent_iommus += translate_iommu_notifies(mr) ? 0 : n;
        t->changed = true;
    } else if (memory_region_is_ram(mr)) {
        t->changed = true;
    }
}

void vhost_dp_translate_add_section(VhostDPTranslator *t, MemoryRegion *mr)
{
    translate_count_section(t, mr, 1);
}

void vhost_dp_translate_del_section(VhostDPTranslator *t, MemoryRegion *mr)
{
    translate_count_section(t, mr, -1);
}

bool vhost_dp_translate_has_changed(VhostDPTranslator *t)
{
    bool changed = t->changed;

    t->changed = false;
    return changed;
}

/* Does the device find the same RAM at a region's addresses? */
static bool translate_is_same(VhostDPTranslator *t, const VhostDPRegion *r)
{
    uint64_t done = 0;

    /* What is contiguous RAM may be of several sections */
    while (done < r->size) {
        hwaddr len = r->size - done;
        hwaddr offset;
        MemoryRegion *mr = address_space_translate(t->as, r->gpa + done,
                                                   &offset, &len, true,
                                                   MEMTXATTRS_UNSPECIFIED);

        if (mr != r->cache.mrs.mr || offset != r->cache.xlat + done || !len) {
            return false;
        }
        done += len;
    }
    return true;
}

/* Is that so for all of the memory table? */
static bool translate_is_identity(VhostDPTranslator *t,
                                  const VhostDPMemory *mem)
{
    unsigned i;

    if (t->iommus || !mem || !mem->nregions) {
        return false;
    }
    RCU_READ_LOCK_GUARD();
    for (i = 0; i < mem->nregions; i++) {
        if (!translate_is_same(t, &mem->regions[i])) {
            return false;
        }
    }
    return true;
}

void vhost_dp_translate_update(VhostDPTranslator *t, const VhostDPMemory *mem)
{
    if (t->iotlb && t->as) {
        t->iotlb->identity = translate_is_identity(t, mem);
        t->iotlb->transient = t->silent_iommus;
    }
}
