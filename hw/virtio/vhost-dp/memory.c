/*
 * vhost-dp: guest memory as a queue pair sees it
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a table is made and freed by control operations, under
 * the BQL, and read by the queue pair's thread, under the queue pair's lock.
 * It never changes in between, but for its references.  Each region holds a
 * MemoryRegionCache, and through it references to the RAM and to the address
 * space's view, so nothing that was unplugged goes until the last table that
 * knows it is freed, or refreshed: no table must outlive a change as it is.
 * Most changes are about something else than RAM, and a table that is
 * refreshed stays where it is, with all that points into it: mapped rings, and
 * what the IOMMU said.  The cache is also what makes
 * writes from outside the BQL complete: address_space_cache_invalidate() sets
 * the dirty bits and drops translated code.
 */

#include "qemu/osdep.h"
#include "hw/virtio/vhost-dp-memory.h"

/* Append @len bytes at @gpa, in as many regions as the address space needs */
static VhostDPMemory *memory_append(VhostDPMemory *mem, AddressSpace *as,
                                    uint64_t gpa, uint64_t len)
{
    while (len) {
        VhostDPRegion *r;
        int64_t mapped;

        mem = g_realloc(mem, sizeof(*mem) +
                        (mem->nregions + 1) * sizeof(mem->regions[0]));
        r = &mem->regions[mem->nregions];
        address_space_cache_init_empty(&r->cache);
        mapped = address_space_cache_init(&r->cache, as, gpa, len, true);
        if (mapped <= 0) {
            break;
        }
        if (r->cache.ptr) {
            r->gpa = gpa;
            r->size = mapped;
            r->host = r->cache.ptr;
            mem->nregions++;
        } else {
            /* Not RAM after all: accesses will be violations */
            address_space_cache_destroy(&r->cache);
        }
        gpa += mapped;
        len -= mapped;
    }
    return mem;
}

VhostDPMemory *vhost_dp_memory_new(AddressSpace *as,
                                   const MemoryRegionSection *sections,
                                   unsigned nsections)
{
    VhostDPMemory *mem = g_new0(VhostDPMemory, 1);
    unsigned i;

    for (i = 0; i < nsections; i++) {
        mem = memory_append(mem, as, sections[i].offset_within_address_space,
                            int128_get64(sections[i].size));
    }
    return mem;
}

void vhost_dp_memory_free(VhostDPMemory *mem)
{
    unsigned i;

    if (!mem) {
        return;
    }
    for (i = 0; i < mem->nregions; i++) {
        address_space_cache_destroy(&mem->regions[i].cache);
    }
    g_free(mem);
}

static bool memory_is_same_region(const VhostDPRegion *a,
                                  const VhostDPRegion *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->host == b->host &&
           a->cache.mrs.mr == b->cache.mrs.mr &&
           a->cache.xlat == b->cache.xlat;
}

bool vhost_dp_memory_refresh(VhostDPMemory *mem, VhostDPMemory *fresh)
{
    unsigned i;

    if (mem->nregions != fresh->nregions) {
        return false;
    }
    for (i = 0; i < mem->nregions; i++) {
        if (!memory_is_same_region(&mem->regions[i], &fresh->regions[i])) {
            return false;
        }
    }
    for (i = 0; i < mem->nregions; i++) {
        MemoryRegionCache cache = mem->regions[i].cache;

        mem->regions[i].cache = fresh->regions[i].cache;
        fresh->regions[i].cache = cache;
    }
    return true;
}

unsigned vhost_dp_memory_search(const VhostDPMemory *mem, uint64_t gpa)
{
    unsigned lo = 0;
    unsigned hi = mem->nregions;

    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        const VhostDPRegion *r = &mem->regions[mid];

        if (gpa < r->gpa) {
            hi = mid;
        } else if (gpa - r->gpa >= r->size) {
            lo = mid + 1;
        } else {
            return mid;
        }
    }
    return mem->nregions;
}
