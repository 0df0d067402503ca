/*
 * vhost-dp: a cache of what the guest's IOMMU translates
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A VhostDPIotlb stands between a queue pair and the IOMMU.  It knows where
 * pages of I/O virtual addresses are in QEMU, and for which kind of access
 * the IOMMU allowed that.  It never asks the IOMMU itself: a lookup in vain is
 * noted as a miss, which somebody who may hold the BQL resolves later (see
 * vhost_dp_pair_resolve()).  What the IOMMU refuses is noted as well, until
 * the user gives buffers back: the driver may map such a page at any time, and
 * nobody would tell.
 *
 * It is bounded.  A lookup and an insertion take constant time; forgetting, a
 * flush and the invalidation of a large range look at all entries.  The
 * entry that was made first goes first, so a chain of buffers always gets all
 * of its pages in, as long as it has fewer than there are entries.
 *
 * Entries hold pointers into one VhostDPMemory: the cache has to be flushed
 * before that table goes.  All functions need the queue pair's lock.
 *
 * Some IOMMUs do not tell what they unmap.  The driver may unmap a buffer when
 * it is used, and not before, so behind such an IOMMU an entry is good for a
 * user's buffers until the user gives some back: see @transient.
 */

#ifndef HW_VIRTIO_VHOST_DP_IOTLB_H
#define HW_VIRTIO_VHOST_DP_IOTLB_H

#include "hw/virtio/vhost-dp-memory.h"

/* An IOMMU with larger pages takes an entry for each piece of this size */
#define VHOST_DP_IOTLB_PAGE_BITS    12
#define VHOST_DP_IOTLB_PAGE_SIZE    (1ULL << VHOST_DP_IOTLB_PAGE_BITS)
#define VHOST_DP_IOTLB_OFFSET_MASK  (VHOST_DP_IOTLB_PAGE_SIZE - 1)

#define VHOST_DP_IOTLB_BITS         12
#define VHOST_DP_IOTLB_ENTRIES      (1u << VHOST_DP_IOTLB_BITS)
#define VHOST_DP_IOTLB_NONE         UINT16_MAX

/* Most pages that wait for an answer, or were refused, for each user */
#define VHOST_DP_IOTLB_MISSES       64

/* Users have misses of their own, so that none of them can crowd others out */
#define VHOST_DP_IOTLB_USERS        2

/*
 * Kinds of access; they fit in the offset bits of an address.  In a transient
 * cache each user has its own: see vhost_dp_iotlb_kind().
 */
enum {
    VHOST_DP_IOTLB_READ = 1,    /* by the device */
    VHOST_DP_IOTLB_WRITE = 2,
    VHOST_DP_IOTLB_KIND_BITS = 2,
    VHOST_DP_IOTLB_ANY_WRITE = VHOST_DP_IOTLB_WRITE |
        VHOST_DP_IOTLB_WRITE << VHOST_DP_IOTLB_KIND_BITS,
};

typedef struct VhostDPIotlbEntry {
    uint64_t tag;               /* page | kinds of access; 0: not in use */
    uint8_t *host;              /* where the page is */
    VhostDPRegion *region;      /* for vhost_dp_memory_dirty() */
    uint16_t next;              /* in the same bucket, or NONE */
} VhostDPIotlbEntry;

typedef struct VhostDPIotlbMisses {
    unsigned n;
    uint64_t tag[VHOST_DP_IOTLB_MISSES];    /* page | one kind of access */
} VhostDPIotlbMisses;

typedef struct VhostDPIotlb {
    /*
     * No IOMMU is in between at present: addresses are guest-physical, the
     * cache is not used, and nothing misses.
     */
    bool identity;
    bool transient;             /* see above; changes while it is empty */
    VhostDPIotlbMisses misses[VHOST_DP_IOTLB_USERS];
    VhostDPIotlbMisses refused[VHOST_DP_IOTLB_USERS];   /* last answers only */
    uint64_t multiplier;        /* of the hash, unknown to the guest */
    unsigned oldest;            /* entry to be used next */
    uint16_t bucket[VHOST_DP_IOTLB_ENTRIES];    /* first entry, or NONE */
    VhostDPIotlbEntry entry[VHOST_DP_IOTLB_ENTRIES];
} VhostDPIotlb;

/**
 * vhost_dp_iotlb_new: make an empty cache; to be freed with g_free()
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

/* What stands for @access, READ or WRITE, by @user */
static inline unsigned vhost_dp_iotlb_kind(const VhostDPIotlb *tlb,
                                           unsigned user, unsigned access)
{
    return unlikely(tlb->transient) ?
           access << (user * VHOST_DP_IOTLB_KIND_BITS) : access;
}

/**
 * vhost_dp_iotlb_find: where is the page of @iova?
 * @access: one kind
 *
 * Returns NULL if that is not known, for this kind of access.
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
 * vhost_dp_iotlb_insert: remember an answer of the IOMMU
 * @iova: in the page
 * @access: what was asked for, one kind
 * @host, @region: where the page begins, all of it in one region
 */
void vhost_dp_iotlb_insert(VhostDPIotlb *tlb, uint64_t iova, unsigned access,
                           uint8_t *host, VhostDPRegion *region);

/**
 * vhost_dp_iotlb_invalidate: forget what is known of a range
 * @size: bytes.  Zero, or a range that wraps around: forget everything.
 */
void vhost_dp_iotlb_invalidate(VhostDPIotlb *tlb, uint64_t iova,
                               uint64_t size);

/**
 * vhost_dp_iotlb_forget: @user gives buffers back
 *
 * Forgets what was refused to @user, and what a transient cache knows for it.
 */
void vhost_dp_iotlb_forget(VhostDPIotlb *tlb, unsigned user);

/**
 * vhost_dp_iotlb_flush: forget everything, misses included
 */
void vhost_dp_iotlb_flush(VhostDPIotlb *tlb);

/**
 * vhost_dp_iotlb_miss: note that the page of @iova is wanted
 * @user: below VHOST_DP_IOTLB_USERS
 *
 * Noted once, and not at all if too many wait already: then the user will not
 * find it when it looks again, and notes it then.
 */
void vhost_dp_iotlb_miss(VhostDPIotlb *tlb, unsigned user, uint64_t iova,
                         unsigned access);

/**
 * vhost_dp_iotlb_refuse: note that the IOMMU does not map what @user missed
 * @tag: of the miss
 *
 * Whoever answers misses of @user empties its list of refused pages before: of
 * the pages of a chain those that come first are always among the last answers.
 */
void vhost_dp_iotlb_refuse(VhostDPIotlb *tlb, unsigned user, uint64_t tag);

/**
 * vhost_dp_iotlb_is_refused: was the page of @iova refused to @user?
 * @access: one kind
 */
bool vhost_dp_iotlb_is_refused(const VhostDPIotlb *tlb, unsigned user,
                               uint64_t iova, unsigned access);

/**
 * vhost_dp_iotlb_has_misses: does anything wait for an answer?
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
