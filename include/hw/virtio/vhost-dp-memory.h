/*
 * vhost-dp: guest memory as a queue pair sees it
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A VhostDPMemory is one queue pair's private copy of the guest's memory
 * table: which guest-physical ranges are RAM, and where they are in QEMU.  A
 * table is not changed; a new one replaces it as a whole, under the queue
 * pair's lock.  A host pointer from the table is valid only while that lock is
 * held.
 */

#ifndef HW_VIRTIO_VHOST_DP_MEMORY_H
#define HW_VIRTIO_VHOST_DP_MEMORY_H

#include "system/memory.h"
#include "system/memory_cached.h"
#include "system/xen.h"

typedef struct VhostDPRegion {
    uint64_t gpa;               /* first guest-physical address */
    uint64_t size;              /* bytes, not zero */
    uint8_t *host;              /* gpa in QEMU's address space */
    MemoryRegionCache cache;    /* refers to the RAM; marks it dirty */
} VhostDPRegion;

typedef struct VhostDPMemory {
    unsigned nregions;
    VhostDPRegion regions[];    /* by ascending gpa, without overlap */
} VhostDPMemory;

/**
 * vhost_dp_memory_new: copy a memory table
 * @as: the address space that @sections are part of
 * @sections: RAM sections by ascending address, without overlap
 * @nsections: their number
 *
 * Until vhost_dp_memory_free() the table holds references to the RAM and to the
 * present FlatView of @as.  When that changes, the caller refreshes or replaces
 * the table (see vhost_dp_memory_is_current()).  Lock: BQL.
 */
VhostDPMemory *vhost_dp_memory_new(AddressSpace *as,
                                   const MemoryRegionSection *sections,
                                   unsigned nsections);

/**
 * vhost_dp_memory_free: free a table and its references; @mem may be NULL
 *
 * Called when no burst uses the table any more.  Lock: BQL, and not the queue
 * pair's.
 */
void vhost_dp_memory_free(VhostDPMemory *mem);

/**
 * vhost_dp_memory_refresh: keep a table over a change of the memory map
 * @mem: the table in use
 * @fresh: a table that was made after the change
 *
 * If both tables have the same RAM, they exchange their references: @mem is
 * current then, host pointers from it stay valid, and the caller frees @fresh,
 * without the queue pair's lock.
 *
 * Lock: BQL, and the queue pair's.  Returns false if the RAM differs: then
 * @fresh has to replace @mem.
 */
bool vhost_dp_memory_refresh(VhostDPMemory *mem, VhostDPMemory *fresh);

/**
 * vhost_dp_memory_is_current: is the table of the present FlatView of @as?
 *
 * Lock: BQL.
 */
static inline bool vhost_dp_memory_is_current(const VhostDPMemory *mem,
                                              AddressSpace *as)
{
    return mem->nregions &&
           mem->regions[0].cache.fv == address_space_to_flatview(as);
}

/**
 * vhost_dp_memory_search: find the region of @gpa by binary search
 *
 * Lock: the queue pair's.  Returns an index, or nregions if there is none.
 */
unsigned vhost_dp_memory_search(const VhostDPMemory *mem, uint64_t gpa);

/**
 * vhost_dp_memory_find: find the region of @gpa, trying the last one first
 * @hit: index of the region found last, for one kind of access; updated
 *
 * Lock: the queue pair's.  Returns NULL if @gpa is not RAM.
 */
static inline VhostDPRegion *vhost_dp_memory_find(VhostDPMemory *mem,
                                                  unsigned *hit, uint64_t gpa)
{
    unsigned i = *hit;

    if (unlikely(i >= mem->nregions ||
                 gpa - mem->regions[i].gpa >= mem->regions[i].size)) {
        i = vhost_dp_memory_search(mem, gpa);
        if (i >= mem->nregions) {
            return NULL;
        }
        *hit = i;
    }
    return &mem->regions[i];
}

/**
 * vhost_dp_memory_map: find @gpa in QEMU's address space
 * @len: in: bytes wanted, not zero; out: contiguous bytes at the result, which
 *       are fewer where the region ends
 * @region: set to the region, for vhost_dp_memory_dirty()
 *
 * Lock: the queue pair's.  Returns NULL if @gpa is not RAM.
 */
static inline void *vhost_dp_memory_map(VhostDPMemory *mem, unsigned *hit,
                                        uint64_t gpa, uint64_t *len,
                                        VhostDPRegion **region)
{
    VhostDPRegion *r = vhost_dp_memory_find(mem, hit, gpa);
    uint64_t offset;

    if (unlikely(!r)) {
        return NULL;
    }
    offset = gpa - r->gpa;
    *len = MIN(*len, r->size - offset);
    *region = r;
    return r->host + offset;
}

/**
 * vhost_dp_memory_dirty: report that @len bytes at @host were written
 * @region: the region that vhost_dp_memory_map() has returned for @host
 *
 * Called after every write that the guest can see.  Marks the pages dirty for
 * migration and the display, and drops code that TCG translated from them.
 * Lock: the queue pair's.
 */
static inline void vhost_dp_memory_dirty(VhostDPRegion *region,
                                         const void *host, uint64_t len)
{
    /* address_space_cache_invalidate() tests the same mask four calls later */
    if (memory_region_get_dirty_log_mask(region->cache.mrs.mr) ||
        xen_enabled()) {
        address_space_cache_invalidate(&region->cache,
                                       (const uint8_t *)host - region->host,
                                       len);
    }
}

#endif /* HW_VIRTIO_VHOST_DP_MEMORY_H */
