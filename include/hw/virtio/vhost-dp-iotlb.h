/*
 * vhost-dp: a cache of the vIOMMU's translations
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A VhostDPIotlb stands between a queue pair and the vIOMMU.  It knows where
 * pages of I/O virtual addresses are in QEMU, and for which kind of access the
 * IOMMU allows that.  It never asks the IOMMU itself: a lookup that finds
 * nothing is noted as a miss, and vhost_dp_pair_resolve() asks later.  A page
 * that the IOMMU refuses is noted, too, until the user gives buffers back: the
 * driver may map such a page at any time, and no IOMMU reports that.
 *
 * The cache is bounded.  A lookup and an insertion take constant time;
 * vhost_dp_iotlb_forget(), a flush and the invalidation of a large range look
 * at all entries.  The oldest entry is replaced first, so a chain always gets
 * all of its pages in, as long as it has fewer pages than the cache has
 * entries.
 *
 * Entries have pointers into one VhostDPMemory: the cache has to be flushed
 * before that table is freed.  All functions need the queue pair's lock.
 *
 * Some IOMMUs do not report what they unmap.  The driver may unmap a buffer
 * only after it was used, so behind such an IOMMU an entry belongs to one user,
 * and is valid until that user gives buffers back: see @transient.
 *
 * A user is one virtqueue of the pair.
 */

#ifndef HW_VIRTIO_VHOST_DP_IOTLB_H
#define HW_VIRTIO_VHOST_DP_IOTLB_H

#include "hw/virtio/vhost-dp-memory.h"

/* A larger page of the IOMMU takes an entry for each piece of this size */
#define VHOST_DP_IOTLB_PAGE_BITS    12
#define VHOST_DP_IOTLB_PAGE_SIZE    (1ULL << VHOST_DP_IOTLB_PAGE_BITS)
#define VHOST_DP_IOTLB_OFFSET_MASK  (VHOST_DP_IOTLB_PAGE_SIZE - 1)

#define VHOST_DP_IOTLB_BITS         12
#define VHOST_DP_IOTLB_ENTRIES      (1u << VHOST_DP_IOTLB_BITS)
#define VHOST_DP_IOTLB_NONE         UINT16_MAX

/* The most pages that wait for an answer, or were refused, for each user */
#define VHOST_DP_IOTLB_MISSES       64

/* Each user has misses of its own, so that none can crowd out the other's */
#define VHOST_DP_IOTLB_USERS        2

/*
 * Kinds of access, which fit into the offset bits of an address.  In a
 * transient cache each user has kinds of its own: see vhost_dp_iotlb_kind().
 */
enum {
    VHOST_DP_IOTLB_READ = 1,    /* by the device */
    VHOST_DP_IOTLB_WRITE = 2,
    VHOST_DP_IOTLB_KIND_BITS = 2,
    VHOST_DP_IOTLB_ANY_WRITE = VHOST_DP_IOTLB_WRITE |
        VHOST_DP_IOTLB_WRITE << VHOST_DP_IOTLB_KIND_BITS,
};

typedef struct VhostDPIotlbEntry {
    uint64_t tag;               /* page | kinds of access; 0: unused entry */
    uint8_t *host;              /* the page in QEMU's address space */
    VhostDPRegion *region;      /* for vhost_dp_memory_dirty() */
    uint16_t next;              /* in the same bucket, or NONE */
} VhostDPIotlbEntry;

typedef struct VhostDPIotlbMisses {
    unsigned n;
    uint64_t tag[VHOST_DP_IOTLB_MISSES];    /* page | one kind of access */
} VhostDPIotlbMisses;

typedef struct VhostDPIotlb {
    /*
     * No IOMMU translates at present: addresses are guest-physical, the cache
     * is not used, and nothing misses.
     */
    bool identity;
    bool transient;             /* see above; changed only while empty */
    VhostDPIotlbMisses misses[VHOST_DP_IOTLB_USERS];
    VhostDPIotlbMisses refused[VHOST_DP_IOTLB_USERS];   /* last answers only */
    uint64_t multiplier;        /* of the hash; random, unknown to the guest */
    unsigned oldest;            /* the entry to be replaced next */
    uint16_t bucket[VHOST_DP_IOTLB_ENTRIES];    /* first entry, or NONE */
    VhostDPIotlbEntry entry[VHOST_DP_IOTLB_ENTRIES];
} VhostDPIotlb;

/**
 * vhost_dp_iotlb_new: make an empty cache; free it with g_free()
 *
 * Lock: none.
 */
VhostDPIotlb *vhost_dp_iotlb_new(void);

static inline unsigned vhost_dp_iotlb_hash(const VhostDPIotlb *tlb,
                                           uint64_t iova)
{
    return ((iova >> VHOST_DP_IOTLB_PAGE_BITS) * tlb->multiplier) >>
           (64 - VHOST_DP_IOTLB_BITS);
}

/* The kind of access for @access (READ or WRITE) by @user */
static inline unsigned vhost_dp_iotlb_kind(const VhostDPIotlb *tlb,
                                           unsigned user, unsigned access)
{
    return unlikely(tlb->transient) ?
           access << (user * VHOST_DP_IOTLB_KIND_BITS) : access;
}

/**
 * vhost_dp_iotlb_find: look up the page of @iova
 * @access: one kind of access
 *
 * Returns NULL if the cache has no entry for the page and this kind of access.
 */
static inline const VhostDPIotlbEntry *
vhost_dp_iotlb_find(const VhostDPIotlb *tlb, uint64_t iova, unsigned access)
{
    uint64_t want = (iova & ~VHOST_DP_IOTLB_OFFSET_MASK) | access;
    uint64_t mask = ~VHOST_DP_IOTLB_OFFSET_MASK | access;
    unsigned i = tlb->bucket[vhost_dp_iotlb_hash(tlb, iova)];

    while (i != VHOST_DP_IOTLB_NONE) {
        const VhostDPIotlbEntry *entry = &tlb->entry[i];

        if ((entry->tag & mask) == want) {
            return entry;
        }
        i = entry->next;
    }
    return NULL;
}

/**
 * vhost_dp_iotlb_insert: add an answer of the IOMMU
 * @iova: an address in the page
 * @access: the one kind of access that was asked for
 * @host, @region: the beginning of the page, which is in one region as a whole
 */
void vhost_dp_iotlb_insert(VhostDPIotlb *tlb, uint64_t iova, unsigned access,
                           uint8_t *host, VhostDPRegion *region);

/**
 * vhost_dp_iotlb_invalidate: drop the entries of a range
 * @size: bytes.  Zero, or a range that wraps around: drop all entries.
 */
void vhost_dp_iotlb_invalidate(VhostDPIotlb *tlb, uint64_t iova,
                               uint64_t size);

/**
 * vhost_dp_iotlb_forget: @user gives buffers back
 *
 * Forgets which pages were refused to @user, and drops @user's entries of a
 * transient cache.
 */
void vhost_dp_iotlb_forget(VhostDPIotlb *tlb, unsigned user);

/**
 * vhost_dp_iotlb_flush: drop all entries, misses and refused pages
 */
void vhost_dp_iotlb_flush(VhostDPIotlb *tlb);

/**
 * vhost_dp_iotlb_miss: note that the page of @iova is wanted
 * @user: below VHOST_DP_IOTLB_USERS
 *
 * Does nothing if the page is noted already, or if too many misses wait: then
 * @user misses the page again at its next look.
 */
void vhost_dp_iotlb_miss(VhostDPIotlb *tlb, unsigned user, uint64_t iova,
                         unsigned access);

/**
 * vhost_dp_iotlb_refuse: note that the IOMMU does not map a page @user missed
 * @tag: the tag of the miss
 *
 * The caller empties @user's list of refused pages before it adds those of a
 * new answer.  The first pages of a chain are always in the last answer.
 */
void vhost_dp_iotlb_refuse(VhostDPIotlb *tlb, unsigned user, uint64_t tag);

/**
 * vhost_dp_iotlb_is_refused: was the page of @iova refused to @user?
 * @access: one kind of access
 */
bool vhost_dp_iotlb_is_refused(const VhostDPIotlb *tlb, unsigned user,
                               uint64_t iova, unsigned access);

/**
 * vhost_dp_iotlb_has_misses: does any miss wait for an answer?
 */
static inline bool vhost_dp_iotlb_has_misses(const VhostDPIotlb *tlb)
{
    return tlb->misses[0].n || tlb->misses[1].n;
}

/* Can more misses of @user be noted? */
static inline bool vhost_dp_iotlb_has_room(const VhostDPIotlb *tlb,
                                           unsigned user)
{
    return tlb->misses[user].n < VHOST_DP_IOTLB_MISSES;
}

#endif /* HW_VIRTIO_VHOST_DP_IOTLB_H */
