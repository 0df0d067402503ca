/*
 * vhost-dp: packed virtqueues (virtio 1.3, section 2.8)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: see vring.c for who may call this.  Driver and device
 * share one ring of descriptors.  The driver makes a chain available by
 * writing descriptors and then the flags of the first; the device gives it
 * back by overwriting the first one, and skips the others.  There are no
 * indices in memory: each side remembers how far it has got, and the two wrap
 * counters tell a descriptor of this round from one of the last.
 *
 * Used descriptors wait in a private shadow.  A flush writes all of them, the
 * flags of the first one last: the driver looks at them in order, so it sees
 * all or none.
 *
 * A place in the ring is kept as one number, with the wrap counter in bit 15:
 * the form in which it is handed over, and that event suppression uses.
 */

#include "qemu/osdep.h"
#include "vring-int.h"

#define PACKED_WRAP     (1u << VRING_PACKED_EVENT_F_WRAP_CTR)
#define PACKED_AVAIL    (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED     (1u << VRING_PACKED_DESC_F_USED)

static inline struct vring_packed_desc *packed_ring(const VhostDPVring *vq)
{
    return (struct vring_packed_desc *)vq->desc.host;
}

/* Written by the driver: when it wants to be called */
static inline struct vring_packed_desc_event *
packed_driver_event(const VhostDPVring *vq)
{
    return (struct vring_packed_desc_event *)vq->avail.host;
}

/* Written by the device: when it wants a kick */
static inline struct vring_packed_desc_event *
packed_device_event(const VhostDPVring *vq)
{
    return (struct vring_packed_desc_event *)vq->used.host;
}

/* Places in the ring */

static inline unsigned packed_index(uint16_t place)
{
    return place & ~PACKED_WRAP;
}

/* @n descriptors, at most the size of the ring, after @place */
static inline uint16_t packed_after(const VhostDPVring *vq, uint16_t place,
                                    unsigned n)
{
    unsigned i = packed_index(place) + n;
    uint16_t wrap = place & PACKED_WRAP;

    if (likely(i < vq->num)) {
        return i | wrap;
    }
    return (i - vq->num) | (wrap ^ PACKED_WRAP);
}

static inline uint16_t packed_before(const VhostDPVring *vq, uint16_t place,
                                     unsigned n)
{
    unsigned i = packed_index(place);
    uint16_t wrap = place & PACKED_WRAP;

    return i >= n ? (i - n) | wrap : (i + vq->num - n) | (wrap ^ PACKED_WRAP);
}

/* The index of @place, which is of @now's round or of the one before */
static inline int packed_relative(const VhostDPVring *vq, uint16_t place,
                                  uint16_t now)
{
    int i = packed_index(place);

    return (place ^ now) & PACKED_WRAP ? i - (int)vq->num : i;
}

static bool packed_map(VhostDPVring *vq, VhostDPMemory *mem)
{
    bool ok;

    ok = vring_map_part(mem, &vq->desc,
                        vq->num * sizeof(struct vring_packed_desc), 16);
    ok = vring_map_part(mem, &vq->avail,
                        sizeof(struct vring_packed_desc_event), 4) && ok;
    ok = vring_map_part(mem, &vq->used,
                        sizeof(struct vring_packed_desc_event), 4) && ok;
    if (!ok) {
        vring_unmap(vq);
    }
    return ok;
}

static bool packed_set_base(VhostDPVring *vq, uint32_t base)
{
    uint16_t avail = base;
    uint16_t used = base >> 16;
    int inflight;

    if (packed_index(avail) >= vq->num || packed_index(used) >= vq->num) {
        return false;
    }
    /* What was taken and is not used yet: part of a round, or all of one */
    inflight = packed_index(avail) - packed_relative(vq, used, avail);
    if (inflight < 0 || inflight > vq->num) {
        return false;
    }
    vq->last_avail = avail;
    vq->used_idx = used;
    vq->inflight = inflight;
    return true;
}

static uint32_t packed_get_base(const VhostDPVring *vq)
{
    return vq->last_avail | (uint32_t)vq->used_idx << 16;
}

/* Has the driver made the descriptor with these flags available? */
static inline bool packed_is_avail(uint16_t flags, uint16_t place)
{
    uint16_t want = place & PACKED_WRAP ? PACKED_AVAIL : PACKED_USED;

    return (flags & (PACKED_AVAIL | PACKED_USED)) == want;
}

static inline uint16_t packed_read_flags(const VhostDPVring *vq, unsigned i)
{
    return vring16(vq, qatomic_read(&packed_ring(vq)[i].flags));
}

static void packed_disable_notify(VhostDPVring *vq)
{
    struct vring_packed_desc_event *event = packed_device_event(vq);

    vq->notify = false;
    /*
     * Also with EVENT_IDX: an event that stays where it was would be met
     * again after two rounds.
     */
    if (event) {
        qatomic_set(&event->flags,
                    vring16(vq, VRING_PACKED_EVENT_FLAG_DISABLE));
        vhost_dp_memory_dirty(vq->used.region, &event->flags,
                              sizeof(event->flags));
    }
}

/* Modelled in tests/models/ring.pml, as is packed_need_call() */
static bool packed_enable_notify(VhostDPVring *vq)
{
    struct vring_packed_desc_event *event = packed_device_event(vq);

    if (vq->broken || !event) {
        return false;
    }
    vq->notify = true;
    if (vq->event_idx) {
        qatomic_set(&event->off_wrap, vring16(vq, vq->avail_idx));
        /* The driver reads off_wrap after flags that say so (2.8.10) */
        smp_wmb();
        qatomic_set(&event->flags, vring16(vq, VRING_PACKED_EVENT_FLAG_DESC));
        vhost_dp_memory_dirty(vq->used.region, event, sizeof(*event));
    } else {
        qatomic_set(&event->flags,
                    vring16(vq, VRING_PACKED_EVENT_FLAG_ENABLE));
        vhost_dp_memory_dirty(vq->used.region, &event->flags,
                              sizeof(event->flags));
    }
    /*
     * The driver writes a descriptor and then looks for our wish, we write
     * our wish and then look at the descriptor: with a full barrier on both
     * sides one of the two sees the other (virtio 1.3, 2.8.21.3).
     */
    smp_mb();
    return packed_is_avail(packed_read_flags(vq, packed_index(vq->avail_idx)),
                           vq->avail_idx);
}

static void packed_start(VhostDPVring *vq)
{
    vq->avail_idx = vq->last_avail;
    vq->signalled_used_valid = false;
    packed_enable_notify(vq);
}

/* One copy, then checks: keep the compiler from reading it again */
static inline void packed_convert_desc(const VhostDPVring *vq,
                                       struct vring_packed_desc *desc)
{
    barrier();
    desc->addr = vring64(vq, desc->addr);
    desc->len = vring32(vq, desc->len);
    desc->id = vring16(vq, desc->id);
    desc->flags = vring16(vq, desc->flags);
}

static inline void packed_read_desc(const VhostDPVring *vq, unsigned i,
                                    struct vring_packed_desc *desc)
{
    memcpy(desc, &packed_ring(vq)[i], sizeof(*desc));
    packed_convert_desc(vq, desc);
}

/*
 * Collect the buffers of the table that @ref refers to.  All of its
 * descriptors belong to the chain, in their order; only WRITE has a meaning
 * there (virtio 1.3, 2.8.7).
 */
static VringResult packed_take_table(VhostDPVring *vq, VhostDPMemory *mem,
                                     VhostDPBurst *burst, VhostDPChain *chain,
                                     const struct vring_packed_desc *ref)
{
    bool seen_writable = false;
    VringResult r;
    uint32_t i, n;

    if (ref->flags & VRING_DESC_F_NEXT) {
        return vring_bad(vq, VHOST_DP_VIOLATION_INDIRECT_CHAINED);
    }
    r = vring_check_table(vq, ref->addr, ref->len);
    if (r != VRING_OK) {
        return r;
    }
    n = ref->len / sizeof(*ref);
    if (n > VHOST_DP_VRING_MAX_SEGS) {
        return vring_bad(vq, VHOST_DP_VIOLATION_CHAIN_SEGMENTS);
    }
    for (i = 0; i < n; i++) {
        struct vring_packed_desc desc;

        if (!vring_read(vq, mem, ref->addr + i * sizeof(desc), &desc,
                        sizeof(desc))) {
            return vring_bad(vq, VHOST_DP_VIOLATION_TABLE_ADDRESS);
        }
        packed_convert_desc(vq, &desc);
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            return vring_bad(vq, VHOST_DP_VIOLATION_INDIRECT_NESTED);
        }
        r = vring_take_desc(vq, mem, burst, chain, desc.addr, desc.len,
                            desc.flags, &seen_writable);
        if (r != VRING_OK) {
            return r;
        }
    }
    chain->id = ref->id;
    return vring_end_chain(vq, chain);
}

/* Collect the chain that begins at last_avail */
static VringResult packed_take_chain(VhostDPVring *vq, VhostDPMemory *mem,
                                     VhostDPBurst *burst, VhostDPChain *chain)
{
    unsigned i = packed_index(vq->last_avail);
    unsigned left = vq->num - vq->inflight;
    uint16_t flags = packed_read_flags(vq, i);
    struct vring_packed_desc desc;
    bool seen_writable = false;

    if (!packed_is_avail(flags, vq->last_avail)) {
        return VRING_EMPTY;
    }
    if (!left) {
        /* The driver took descriptors back that we have */
        return vring_bad(vq, VHOST_DP_VIOLATION_AVAILABLE_INDEX);
    }
    /* The rest, and the descriptors that follow, are read after the flags */
    smp_rmb();
    packed_read_desc(vq, i, &desc);
    /* These were looked at already: they must not be others now */
    desc.flags = flags;

    vring_begin_chain(burst, chain);
    chain->ndescs = 1;
    if (desc.flags & VRING_DESC_F_INDIRECT) {
        return packed_take_table(vq, mem, burst, chain, &desc);
    }
    for (;;) {
        VringResult r = vring_take_desc(vq, mem, burst, chain, desc.addr,
                                        desc.len, desc.flags, &seen_writable);

        if (r != VRING_OK) {
            return r;
        }
        if (!(desc.flags & VRING_DESC_F_NEXT)) {
            break;
        }
        if (chain->ndescs == left) {
            return vring_bad(vq, VHOST_DP_VIOLATION_DESCRIPTOR_LOOP);
        }
        chain->ndescs++;
        if (++i == vq->num) {
            i = 0;
        }
        packed_read_desc(vq, i, &desc);
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            return vring_bad(vq, VHOST_DP_VIOLATION_INDIRECT_CHAINED);
        }
    }
    /* Only the last descriptor's counts (virtio 1.3, 2.8.6) */
    chain->id = desc.id;
    return vring_end_chain(vq, chain);
}

static unsigned packed_pop(VhostDPVring *vq, VhostDPMemory *mem,
                           VhostDPBurst *burst, unsigned max,
                           uint32_t max_bytes)
{
    VringResult r = VRING_OK;
    uint64_t bytes = 0;

    burst->nchains = 0;
    burst->nsegs = 0;
    burst->full = false;
    if (unlikely(!vq->running || vq->broken)) {
        return 0;
    }

    while (burst->nchains < max && bytes < max_bytes) {
        VhostDPChain *chain = &burst->chain[burst->nchains];
        unsigned nsegs = burst->nsegs;

        r = packed_take_chain(vq, mem, burst, chain);
        if (r != VRING_OK) {
            burst->nsegs = nsegs;
            break;
        }
        bytes += chain->len;
        burst->nchains++;
        vq->last_avail = packed_after(vq, vq->last_avail, chain->ndescs);
        vq->inflight += chain->ndescs;
    }
    vq->avail_idx = vq->last_avail;
    burst->full = r == VRING_FULL ||
                  (burst->nchains && vq->inflight == vq->num);
    return burst->nchains;
}

static void packed_rewind(VhostDPVring *vq, VhostDPBurst *burst, unsigned n)
{
    unsigned ndescs = 0;

    while (n--) {
        ndescs += burst->chain[--burst->nchains].ndescs;
    }
    vq->last_avail = packed_before(vq, vq->last_avail, ndescs);
    vq->inflight -= ndescs;
}

static bool packed_need_call(VhostDPVring *vq)
{
    struct vring_packed_desc_event *event = packed_driver_event(vq);
    uint16_t now = vq->used_idx;
    uint16_t old = vq->signalled_used;
    bool valid = vq->signalled_used_valid;
    uint16_t flags;

    vq->signalled_used = now;
    vq->signalled_used_valid = true;

    /* The flags' store, then the driver's wish: see packed_enable_notify() */
    smp_mb();
    flags = vring16(vq, qatomic_read(&event->flags));
    if (flags == VRING_PACKED_EVENT_FLAG_DISABLE) {
        return false;
    }
    if (!vq->event_idx || flags != VRING_PACKED_EVENT_FLAG_DESC) {
        return true;
    }
    /* The driver wrote off_wrap before the flags that say so */
    smp_rmb();
    if (!valid) {
        return true;
    }
    return vring_need_event(
        packed_relative(vq, vring16(vq, qatomic_read(&event->off_wrap)), now),
        packed_index(now), packed_relative(vq, old, now));
}

static inline uint16_t packed_used_flags(const VhostDPVring *vq,
                                         const VhostDPUsed *used,
                                         uint16_t place)
{
    uint16_t flags = place & PACKED_WRAP ? PACKED_AVAIL | PACKED_USED : 0;

    /* Without it the length has no meaning (virtio 1.3, 2.8.4) */
    if (used->len) {
        flags |= VRING_DESC_F_WRITE;
    }
    return vring16(vq, flags);
}

/*
 * Used descriptors were written from @first to @last.  Those between that were
 * skipped, and the addresses, count as written: they were given back with the
 * others, and one range is much cheaper than many.
 */
static void packed_dirty_used(VhostDPVring *vq, uint16_t first, uint16_t last)
{
    struct vring_packed_desc *from = &packed_ring(vq)[packed_index(first)];
    struct vring_packed_desc *to = &packed_ring(vq)[packed_index(last) + 1];

    if ((first ^ last) & PACKED_WRAP) {
        struct vring_packed_desc *ring = packed_ring(vq);

        vhost_dp_memory_dirty(vq->desc.region, &from->len,
                              (uint8_t *)&ring[vq->num] -
                              (uint8_t *)&from->len);
        from = ring;
    }
    vhost_dp_memory_dirty(vq->desc.region, &from->len,
                          (uint8_t *)to - (uint8_t *)&from->len);
}

/*
 * Make one used descriptor of all in the shadow: the last one's, where the
 * first one's would be (2.8.8).  The driver sees from its buffer id how many
 * descriptors are skipped.
 */
static void packed_batch_used(VhostDPVring *vq)
{
    VhostDPUsed *used = &vq->shadow[0];
    unsigned i;

    for (i = 1; i < vq->nshadow; i++) {
        used->id = vq->shadow[i].id;
        used->ndescs += vq->shadow[i].ndescs;
    }
    vq->nshadow = 1;
}

static bool packed_flush(VhostDPVring *vq)
{
    struct vring_packed_desc *ring = packed_ring(vq);
    uint16_t first = vq->used_idx;
    uint16_t next = first;
    uint16_t last = first;
    unsigned n, i;

    if (vq->batch_used) {
        packed_batch_used(vq);
    }
    n = vq->nshadow;
    vq->nshadow = 0;
    if (!ring) {
        /* The ring lost its memory (vhost_dp_vring_remap) */
        return false;
    }

    for (i = 0; i < n; i++) {
        const VhostDPUsed *used = &vq->shadow[i];
        struct vring_packed_desc *desc = &ring[packed_index(next)];

        desc->id = vring16(vq, used->id);
        desc->len = vring32(vq, used->len);
        if (i) {
            desc->flags = packed_used_flags(vq, used, next);
        }
        last = next;
        next = packed_after(vq, next, used->ndescs);
        vq->inflight -= used->ndescs;
    }

    /* All of that, and the buffers, before the flags of the first */
    smp_wmb();
    qatomic_set(&ring[packed_index(first)].flags,
                packed_used_flags(vq, &vq->shadow[0], first));
    vq->used_idx = next;
    packed_dirty_used(vq, first, last);

    return packed_need_call(vq);
}

const VhostDPVringOps vhost_dp_vring_packed_ops = {
    .set_base = packed_set_base,
    .get_base = packed_get_base,
    .map = packed_map,
    .start = packed_start,
    .pop = packed_pop,
    .rewind = packed_rewind,
    .flush = packed_flush,
    .disable_notify = packed_disable_notify,
    .enable_notify = packed_enable_notify,
};
