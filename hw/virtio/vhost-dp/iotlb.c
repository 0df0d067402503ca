/*
 * vhost-dp: a cache of what the guest's IOMMU translates
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: belongs to a queue pair and is guarded by its lock.
 * The queue pair's thread looks pages up and notes misses; whoever resolved
 * those inserts, and control operations invalidate.
 *
 * It is a hash table over a fixed array of entries, which are used in turn.
 * Compared with a direct-mapped table, no two pages can keep throwing each
 * other out, so that a chain that needs both would never be complete.  The
 * hash is keyed: a guest cannot choose addresses that end up in one bucket.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "hw/virtio/vhost-dp-iotlb.h"

/* Larger ranges are searched for by looking at all entries */
#define SMALL_RANGE_PAGES   64

QEMU_BUILD_BUG_ON(VHOST_DP_IOTLB_ENTRIES > VHOST_DP_IOTLB_NONE);

static uint64_t page_of(uint64_t iova)
{
    return iova & ~VHOST_DP_IOTLB_OFFSET_MASK;
}

VhostDPIotlb *vhost_dp_iotlb_new(void)
{
    VhostDPIotlb *tlb = g_new0(VhostDPIotlb, 1);

    tlb->multiplier = (uint64_t)g_random_int() << 32 | g_random_int() | 1;
    vhost_dp_iotlb_flush(tlb);
    return tlb;
}

/* Returns the number of the page's entry, or NONE */
static unsigned iotlb_lookup(const VhostDPIotlb *tlb, uint64_t page)
{
    unsigned i = tlb->bucket[vhost_dp_iotlb_hash(tlb, page)];

    while (i != VHOST_DP_IOTLB_NONE && page_of(tlb->entry[i].tag) != page) {
        i = tlb->entry[i].next;
    }
    return i;
}

/* Take entry @i, which is in use, out of its bucket */
static void iotlb_remove(VhostDPIotlb *tlb, unsigned i)
{
    VhostDPIotlbEntry *entry = &tlb->entry[i];
    uint16_t *link = &tlb->bucket[vhost_dp_iotlb_hash(tlb, entry->tag)];

    while (*link != i) {
        link = &tlb->entry[*link].next;
    }
    *link = entry->next;
    entry->tag = 0;
}

void vhost_dp_iotlb_insert(VhostDPIotlb *tlb, uint64_t iova, unsigned access,
                           uint8_t *host, VhostDPRegion *region)
{
    uint64_t page = page_of(iova);
    unsigned i = iotlb_lookup(tlb, page);
    VhostDPIotlbEntry *entry;
    uint16_t *bucket;

    if (i != VHOST_DP_IOTLB_NONE) {
        entry = &tlb->entry[i];
        if (entry->host == host) {
            entry->tag |= access;
        } else {
            /* What was known of other kinds of access is about another page */
            entry->tag = page | access;
            entry->host = host;
            entry->region = region;
        }
        return;
    }

    i = tlb->oldest;
    tlb->oldest = (i + 1) % VHOST_DP_IOTLB_ENTRIES;
    entry = &tlb->entry[i];
    if (entry->tag) {
        iotlb_remove(tlb, i);
    }
    bucket = &tlb->bucket[vhost_dp_iotlb_hash(tlb, page)];
    *entry = (VhostDPIotlbEntry) {
        .tag = page | access,
        .host = host,
        .region = region,
        .next = *bucket,
    };
    *bucket = i;
}

/* Refused pages are asked for again, whatever it was that changed */
static void iotlb_forget_refused(VhostDPIotlb *tlb)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_IOTLB_USERS; i++) {
        tlb->refused[i].n = 0;
    }
}

void vhost_dp_iotlb_invalidate(VhostDPIotlb *tlb, uint64_t iova, uint64_t size)
{
    uint64_t last = iova + (size - 1);
    uint64_t pages, page;
    unsigned i;

    iotlb_forget_refused(tlb);
    if (size == 0 || last < iova) {
        iova = 0;
        last = UINT64_MAX;
        /* Pending misses are noted anew by the next burst that needs them */
        for (i = 0; i < VHOST_DP_IOTLB_USERS; i++) {
            tlb->misses[i].n = 0;
        }
    }
    page = page_of(iova);
    pages = ((last - page) >> VHOST_DP_IOTLB_PAGE_BITS) + 1;

    if (pages <= SMALL_RANGE_PAGES) {
        for (; pages; pages--, page += VHOST_DP_IOTLB_PAGE_SIZE) {
            i = iotlb_lookup(tlb, page);
            if (i != VHOST_DP_IOTLB_NONE) {
                iotlb_remove(tlb, i);
            }
        }
        return;
    }
    for (i = 0; i < VHOST_DP_IOTLB_ENTRIES; i++) {
        uint64_t tag = tlb->entry[i].tag;

        if (tag && page_of(tag) >= page && page_of(tag) <= last) {
            iotlb_remove(tlb, i);
        }
    }
}

void vhost_dp_iotlb_forget(VhostDPIotlb *tlb, unsigned user)
{
    uint64_t kinds = MAKE_64BIT_MASK(user * VHOST_DP_IOTLB_KIND_BITS,
                                     VHOST_DP_IOTLB_KIND_BITS);
    unsigned i;

    tlb->refused[user].n = 0;
    if (!tlb->transient) {
        return;
    }
    for (i = 0; i < VHOST_DP_IOTLB_ENTRIES; i++) {
        uint64_t tag = tlb->entry[i].tag & ~kinds;

        if (tag == tlb->entry[i].tag) {
            continue;
        }
        if (tag & VHOST_DP_IOTLB_OFFSET_MASK) {
            tlb->entry[i].tag = tag;
        } else {
            iotlb_remove(tlb, i);
        }
    }
}

void vhost_dp_iotlb_flush(VhostDPIotlb *tlb)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_IOTLB_ENTRIES; i++) {
        tlb->bucket[i] = VHOST_DP_IOTLB_NONE;
        tlb->entry[i].tag = 0;
    }
    for (i = 0; i < VHOST_DP_IOTLB_USERS; i++) {
        tlb->misses[i].n = 0;
    }
    iotlb_forget_refused(tlb);
    tlb->oldest = 0;
}

static bool iotlb_is_noted(const VhostDPIotlbMisses *list, uint64_t tag)
{
    unsigned i;

    for (i = 0; i < list->n; i++) {
        if (list->tag[i] == tag) {
            return true;
        }
    }
    return false;
}

static void iotlb_note(VhostDPIotlbMisses *list, uint64_t tag)
{
    if (!iotlb_is_noted(list, tag) && list->n < VHOST_DP_IOTLB_MISSES) {
        list->tag[list->n++] = tag;
    }
}

void vhost_dp_iotlb_miss(VhostDPIotlb *tlb, unsigned user, uint64_t iova,
                         unsigned access)
{
    iotlb_note(&tlb->misses[user], page_of(iova) | access);
}

void vhost_dp_iotlb_refuse(VhostDPIotlb *tlb, unsigned user, uint64_t tag)
{
    iotlb_note(&tlb->refused[user], tag);
}

bool vhost_dp_iotlb_is_refused(const VhostDPIotlb *tlb, unsigned user,
                               uint64_t iova, unsigned access)
{
    return iotlb_is_noted(&tlb->refused[user], page_of(iova) | access);
}
