/*
 * vhost-dp: how the loops of a ring format reach guest memory
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A format finds descriptors and copies them; what a descriptor may say, and
 * how its buffer gets into a burst, is the same for all and is here.  These
 * functions are the innermost loop of a format's pop, so they are inline.
 *
 * Each format (vring-*.c.inc) is compiled twice, with VRING_IOMMU false and
 * true, so that the one without a vIOMMU does not pay for the other.  With a
 * vIOMMU addresses are the IOMMU's, and memory is contiguous within a page:
 *
 * - A ring is mapped page by page, as a whole, before pop looks at it.  As the
 *   lock is held from there to the flush, nothing else has to ask whether it
 *   is there.
 * - A buffer, or an indirect table, that is not in the cache leaves its chain
 *   in the queue: VRING_MISS.  The rest of the chain, and the chains that
 *   follow, are looked at for what else is missing, to ask the IOMMU once.
 * - What the IOMMU refused is met when the chain, or the ring, is looked at
 *   again.  A buffer that was to be read costs its frame, all else the queue.
 */

#ifndef HW_VIRTIO_VHOST_DP_VRING_ACCESS_H
#define HW_VIRTIO_VHOST_DP_VRING_ACCESS_H

#ifndef VRING_IOMMU
#error VRING_IOMMU has to say for which addresses this is compiled
#endif

#include "vring-int.h"

typedef enum VringResult {
    VRING_OK,
    VRING_EMPTY,                /* the driver made no more available */
    VRING_FULL,                 /* no room in the burst: leave the chain */
    VRING_MISS,                 /* the IOMMU has to be asked: leave the chain */
    VRING_UNREADABLE,           /* a buffer cannot be read: skip its chain */
    VRING_BAD,                  /* the queue is broken */
} VringResult;

static inline VringResult vring_bad(VhostDPVring *vq, VhostDPViolation why)
{
    vhost_dp_vring_violation(vq, why);
    return VRING_BAD;
}

/* ---- Guest memory ---- */

/* Does the IOMMU translate addresses, so that what is not found is a miss? */
static inline bool vring_translates(const VhostDPVring *vq)
{
    return VRING_IOMMU && !vq->iotlb->identity;
}

/*
 * A page is not in the cache: note that it was refused, or that the IOMMU has
 * to be asked.  A queue that broke, at another page of its ring, asks no more.
 */
static __attribute__((noinline, cold)) void
vring_not_found(VhostDPVring *vq, uint64_t iova, unsigned kind)
{
    vq->refused = vhost_dp_iotlb_is_refused(vq->iotlb, vq->iotlb_user, iova,
                                            kind);
    if (!vq->refused && !vq->broken) {
        vhost_dp_iotlb_miss(vq->iotlb, vq->iotlb_user, iova, kind);
        vhost_dp_count(&vq->iotlb_misses, 1);
        vq->missed = true;
    }
}

static inline void *vring_translate(VhostDPVring *vq, uint64_t iova,
                                    unsigned access, uint64_t *len,
                                    VhostDPRegion **region)
{
    uint64_t offset = iova & VHOST_DP_IOTLB_OFFSET_MASK;
    unsigned kind = vhost_dp_iotlb_kind(vq->iotlb, vq->iotlb_user, access);
    const VhostDPIotlbEntry *entry = vhost_dp_iotlb_find(vq->iotlb, iova,
                                                         kind);

    *len = MIN(*len, VHOST_DP_IOTLB_PAGE_SIZE - offset);
    if (unlikely(!entry)) {
        vring_not_found(vq, iova, kind);
        return NULL;
    }
    vhost_dp_count(&vq->iotlb_hits, 1);
    *region = entry->region;
    return entry->host + offset;
}

/*
 * Maps as vhost_dp_memory_map() does, behind a vIOMMU too.  If the result is
 * NULL and vring_is_miss(), a miss was noted and *@len is set.
 */
static inline void *vring_map(VhostDPVring *vq, VhostDPMemory *mem,
                              unsigned *hit, uint64_t addr, unsigned access,
                              uint64_t *len, VhostDPRegion **region)
{
    if (vring_translates(vq)) {
        return vring_translate(vq, addr, access, len, region);
    }
    return vhost_dp_memory_map(mem, hit, addr, len, region);
}

/* After vring_map() found nothing: may there be something, says the IOMMU? */
static inline bool vring_is_miss(const VhostDPVring *vq)
{
    return vring_translates(vq) && !vq->refused;
}

/* The violation of a mapping that failed; @why: if there is no IOMMU */
static inline VhostDPViolation vring_why(const VhostDPVring *vq,
                                         VhostDPViolation why)
{
    return vring_translates(vq) ? VHOST_DP_VIOLATION_IOMMU_FAULT : why;
}

/*
 * Copy @len bytes of an indirect table, which region boundaries may cut.  Not
 * inlined: descriptors of the ring itself need its registers more.
 */
static __attribute__((noinline)) VringResult
vring_read(VhostDPVring *vq, VhostDPMemory *mem, uint64_t addr, void *buf,
           uint64_t len)
{
    while (len) {
        VhostDPRegion *region;
        uint64_t n = len;
        void *host = vring_map(vq, mem, &vq->hit_table, addr,
                               VHOST_DP_IOTLB_READ, &n, &region);

        if (!host) {
            return vring_is_miss(vq) ? VRING_MISS :
                vring_bad(vq, vring_why(vq, VHOST_DP_VIOLATION_TABLE_ADDRESS));
        }
        memcpy(buf, host, n);
        buf += n;
        addr += n;
        len -= n;
    }
    return VRING_OK;
}

/* ---- The ring ---- */

/* What a format wants of a part of its ring */
typedef struct VringLayout {
    uint64_t size;
    uint64_t align;
    bool read, written;         /* by the device */
} VringLayout;

enum { VRING_DESC, VRING_DRIVER, VRING_DEVICE, VRING_PARTS };

static inline VhostDPRingPart *vring_part(VhostDPVring *vq, unsigned i)
{
    return i == VRING_DESC ? &vq->desc :
           i == VRING_DRIVER ? &vq->driver : &vq->device;
}

/* Where the byte at @offset is, of a part that is mapped */
static inline void *vring_ptr(const VhostDPRingPart *part, uint64_t offset)
{
    if (VRING_IOMMU) {
        offset += part->gpa & VHOST_DP_IOTLB_OFFSET_MASK;
        return part->page[offset >> VHOST_DP_IOTLB_PAGE_BITS].host +
               (offset & VHOST_DP_IOTLB_OFFSET_MASK);
    }
    return part->host + offset;
}

/* @len bytes at @offset were written */
static inline void vring_dirty(const VhostDPRingPart *part, uint64_t offset,
                               uint64_t len)
{
    if (!VRING_IOMMU) {
        vhost_dp_memory_dirty(part->region, part->host + offset, len);
        return;
    }
    offset += part->gpa & VHOST_DP_IOTLB_OFFSET_MASK;
    while (len) {
        VhostDPRingPage *page = &part->page[offset >>
                                            VHOST_DP_IOTLB_PAGE_BITS];
        uint64_t in_page = offset & VHOST_DP_IOTLB_OFFSET_MASK;
        uint64_t n = MIN(len, VHOST_DP_IOTLB_PAGE_SIZE - in_page);

        vhost_dp_memory_dirty(page->region, page->host + in_page, n);
        offset += n;
        len -= n;
    }
}

/* Map one page; false: it was a miss, or the queue is broken now */
static bool vring_map_page(VhostDPVring *vq, VhostDPMemory *mem,
                           uint64_t addr, unsigned access,
                           VhostDPRingPage *page)
{
    uint64_t len = VHOST_DP_IOTLB_PAGE_SIZE;
    unsigned hit = 0;

    page->host = vring_map(vq, mem, &hit, addr, access, &len, &page->region);
    if (page->host && len == VHOST_DP_IOTLB_PAGE_SIZE) {
        return true;
    }
    if (!vring_is_miss(vq) && !vq->broken) {
        vhost_dp_vring_violation(
            vq, vring_why(vq, VHOST_DP_VIOLATION_RING_ADDRESS));
    }
    return false;
}

/* Map a part page by page, or find out about all pages that are missing */
static bool vring_map_pages(VhostDPVring *vq, VhostDPMemory *mem,
                            VhostDPRingPart *part, uint64_t size,
                            unsigned access)
{
    uint64_t offset = part->gpa & VHOST_DP_IOTLB_OFFSET_MASK;
    uint64_t addr = part->gpa - offset;
    unsigned n = DIV_ROUND_UP(offset + size, VHOST_DP_IOTLB_PAGE_SIZE);
    bool ok = true;
    unsigned i;

    for (i = 0; i < n; i++, addr += VHOST_DP_IOTLB_PAGE_SIZE) {
        ok = vring_map_page(vq, mem, addr, access, &part->page[i]) && ok;
    }
    return ok;
}

/* The parts that the device reads, or writes */
static bool vring_map_parts(VhostDPVring *vq, VhostDPMemory *mem,
                            const VringLayout *layout, unsigned access)
{
    bool ok = true;
    unsigned i;

    for (i = 0; i < VRING_PARTS; i++) {
        if (access == VHOST_DP_IOTLB_READ ? layout[i].read :
                                            layout[i].written) {
            ok = vring_map_pages(vq, mem, vring_part(vq, i), layout[i].size,
                                 access) && ok;
        }
    }
    return ok;
}

/*
 * Is the ring of a vIOMMU's queue mapped?  If not, map it; @start is called
 * the first time.  Returns false if the IOMMU has to be asked, or the queue
 * is broken.
 */
static bool vring_map_ring(VhostDPVring *vq, VhostDPMemory *mem,
                           const VringLayout *layout,
                           void (*start)(VhostDPVring *vq))
{
    bool ok;
    unsigned i;

    if (likely(vq->device.host)) {
        return true;
    }
    /*
     * Writing first: intel-iommu, once it has a page in its own cache for
     * another kind of access, refuses it without reporting a fault.
     */
    ok = vring_map_parts(vq, mem, layout, VHOST_DP_IOTLB_WRITE);
    ok = vring_map_parts(vq, mem, layout, VHOST_DP_IOTLB_READ) && ok;
    if (!ok) {
        return false;
    }
    for (i = 0; i < VRING_PARTS; i++) {
        vring_part(vq, i)->host = vring_ptr(vring_part(vq, i), 0);
    }
    if (!vq->begun) {
        vq->begun = true;
        start(vq);
    }
    return true;
}

/*
 * Notifications cannot be enabled: the queue is broken, or not mapped.  Does
 * the caller have to pop again?
 */
static inline bool vring_lost_ring(const VhostDPVring *vq)
{
    return VRING_IOMMU && vq->running && !vq->broken;
}

/*
 * At the start, or for a new memory table: map the ring, or with a vIOMMU only
 * check where it is.
 */
static bool vring_map_layout(VhostDPVring *vq, VhostDPMemory *mem,
                             const VringLayout *layout)
{
    bool ok = true;
    unsigned i;

    vhost_dp_vring_unmap(vq);
    for (i = 0; i < VRING_PARTS; i++) {
        VhostDPRingPart *part = vring_part(vq, i);
        uint64_t size = layout[i].size;

        ok = ok && vhost_dp_vring_check_part(part, size, layout[i].align) &&
             (VRING_IOMMU || vhost_dp_vring_map_part(mem, part, size));
    }
    if (!ok) {
        vhost_dp_vring_unmap(vq);
    }
    return ok;
}

/* ---- Buffers ---- */

/* Begin with an empty chain, behind what is in @burst */
static inline void vring_begin_chain(VhostDPBurst *burst, VhostDPChain *chain)
{
    chain->nsegs = 0;
    chain->len = 0;
    chain->iov = &burst->iov[burst->nsegs];
    chain->region = &burst->region[burst->nsegs];
    if (VRING_IOMMU) {
        chain->npieces = 0;
    }
}

/* Add @len bytes at @host to @chain, which is the last one in @burst */
static inline void vring_add_segment(VhostDPBurst *burst, VhostDPChain *chain,
                                     void *host, uint64_t len,
                                     VhostDPRegion *region)
{
    struct iovec *iov = &burst->iov[burst->nsegs];

    /* The IOMMU's pages are often neighbours */
    if (VRING_IOMMU && chain->nsegs && burst->region[burst->nsegs - 1] ==
        region && iov[-1].iov_base + iov[-1].iov_len == host) {
        iov[-1].iov_len += len;
        return;
    }
    iov->iov_base = host;
    iov->iov_len = len;
    burst->region[burst->nsegs] = region;
    burst->nsegs++;
    chain->nsegs++;
}

/*
 * A buffer is not in RAM, or not mapped.  If it was to be read, that is no
 * reason to stop: the format looks at the chain once more, in order to skip it.
 * See vhost_dp_chain_is_unreadable().
 *
 * Not before all is known that stands before it: answers that come later would
 * be about a chain that is gone, and whose pages the driver may have mapped.
 */
static __attribute__((noinline, cold)) VringResult
vring_bad_buffer(VhostDPVring *vq, VhostDPBurst *burst, bool writable,
                 VhostDPViolation why)
{
    if (writable || vq->writable) {
        return vring_bad(vq, why);
    }
    if (VRING_IOMMU && vq->missed) {
        return VRING_MISS;
    }
    burst->unreadable = why;
    return VRING_UNREADABLE;
}

/* Add a buffer to @chain, cut at region, or page, boundaries */
static inline VringResult vring_add_buffer(VhostDPVring *vq,
                                           VhostDPMemory *mem,
                                           VhostDPBurst *burst,
                                           VhostDPChain *chain,
                                           uint64_t addr, uint32_t len)
{
    unsigned *hit = chain->nsegs ? &vq->hit_data : &vq->hit_first;
    unsigned access = vq->writable ? VHOST_DP_IOTLB_WRITE :
                                     VHOST_DP_IOTLB_READ;

    if (len > UINT32_MAX - chain->len) {
        return vring_bad(vq, VHOST_DP_VIOLATION_CHAIN_LENGTH);
    }
    chain->len += len;
    while (len) {
        VhostDPRegion *region;
        uint64_t n = len;
        void *host;

        /* All pages of a chain have to fit in the cache at once */
        if ((VRING_IOMMU ? chain->npieces++ : chain->nsegs) ==
            VHOST_DP_VRING_MAX_SEGS) {
            return vring_bad(vq, VHOST_DP_VIOLATION_CHAIN_SEGMENTS);
        }
        if (burst->nsegs == ARRAY_SIZE(burst->iov)) {
            return VRING_FULL;
        }
        host = vring_map(vq, mem, hit, addr, access, &n, &region);
        if (host) {
            vring_add_segment(burst, chain, host, n, region);
        } else if (!vring_is_miss(vq)) {
            return vring_bad_buffer(
                vq, burst, false,
                vring_why(vq, VHOST_DP_VIOLATION_BUFFER_ADDRESS));
        } else if (!vhost_dp_iotlb_has_room(vq->iotlb, vq->iotlb_user)) {
            return VRING_MISS;
        }
        addr += n;
        len -= n;
    }
    return VRING_OK;
}

/* Check a descriptor that refers to a buffer.  See vring_take_desc(). */
static inline __attribute__((always_inline)) VringResult
vring_check_desc(VhostDPVring *vq, uint32_t len, uint16_t flags,
                 bool *seen_writable)
{
    bool writable = flags & VRING_DESC_F_WRITE;

    if (unlikely(*seen_writable && !writable)) {
        return vring_bad(vq, VHOST_DP_VIOLATION_DESCRIPTOR_ORDER);
    }
    *seen_writable = writable;
    if (unlikely(len == 0)) {
        return vring_bad(vq, VHOST_DP_VIOLATION_ZERO_LENGTH);
    }
    return VRING_OK;
}

/*
 * Check a descriptor that refers to a buffer, and add the buffer if it is of
 * the queue's direction.  @seen_writable is false before a chain's first.
 */
static inline VringResult vring_take_desc(VhostDPVring *vq, VhostDPMemory *mem,
                                          VhostDPBurst *burst,
                                          VhostDPChain *chain,
                                          uint64_t addr, uint32_t len,
                                          uint16_t flags, bool *seen_writable)
{
    bool writable = flags & VRING_DESC_F_WRITE;

    if (*seen_writable && !writable) {
        return vring_bad(vq, VHOST_DP_VIOLATION_DESCRIPTOR_ORDER);
    }
    *seen_writable = writable;
    if (len == 0) {
        return vring_bad(vq, VHOST_DP_VIOLATION_ZERO_LENGTH);
    }
    if (addr + len < addr) {
        return vring_bad_buffer(vq, burst, writable,
                                VHOST_DP_VIOLATION_BUFFER_ADDRESS);
    }
    if (writable != vq->writable) {
        return VRING_OK;
    }
    return vring_add_buffer(vq, mem, burst, chain, addr, len);
}

/* Check an indirect table; its descriptors have 16 bytes in every format */
static inline VringResult vring_check_table(VhostDPVring *vq, uint64_t addr,
                                            uint32_t len)
{
    QEMU_BUILD_BUG_ON(sizeof(struct vring_desc) !=
                      sizeof(struct vring_packed_desc));

    if (len == 0 || len % sizeof(struct vring_desc)) {
        return vring_bad(vq, VHOST_DP_VIOLATION_INDIRECT_SIZE);
    }
    if (addr + len < addr) {
        return vring_bad(vq, VHOST_DP_VIOLATION_TABLE_ADDRESS);
    }
    return VRING_OK;
}

/* After the last descriptor */
static inline VringResult vring_end_chain(VhostDPVring *vq,
                                          const VhostDPChain *chain, bool skip)
{
    if (VRING_IOMMU && unlikely(vq->missed)) {
        return VRING_MISS;
    }
    if (!skip && !chain->nsegs) {
        return vring_bad(vq, VHOST_DP_VIOLATION_NO_BUFFER);
    }
    return VRING_OK;
}

/* Buffers were given back: the driver may unmap them */
static inline void vring_end_use(VhostDPVring *vq)
{
    if (VRING_IOMMU) {
        vhost_dp_iotlb_forget(vq->iotlb, vq->iotlb_user);
    }
}

/* Was looking at descriptors enough work for one burst? */
static inline bool vring_saw_enough(const VhostDPBurst *burst)
{
    return unlikely(burst->ndescs >= VHOST_DP_VRING_MAX_DESCS);
}

/* After a chain that missed: are those that follow worth a look? */
static inline bool vring_looks_ahead(const VhostDPVring *vq,
                                     const VhostDPBurst *burst, VringResult r)
{
    return VRING_IOMMU && (r == VRING_MISS || r == VRING_OK) &&
           !vring_saw_enough(burst) &&
           vhost_dp_iotlb_has_room(vq->iotlb, vq->iotlb_user);
}

#endif /* HW_VIRTIO_VHOST_DP_VRING_ACCESS_H */
