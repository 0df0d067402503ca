/*
 * vhost-dp: split virtqueues (virtio 1.3, section 2.7)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: see vring.c for who may call this.  The available ring
 * is read in bursts: one look at its index, then the entries up to it.  Used
 * elements wait in a private shadow and reach the used ring by one flush, with
 * one store to its index and one decision whether the driver is to be called.
 * A descriptor is copied before it is looked at, so that the driver cannot
 * change it between check and use.
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "vring-int.h"

static inline struct vring_avail *split_avail(const VhostDPVring *vq)
{
    return (struct vring_avail *)vq->avail.host;
}

static inline struct vring_used *split_used(const VhostDPVring *vq)
{
    return (struct vring_used *)vq->used.host;
}

/* Written by the driver behind the available ring (EVENT_IDX) */
static inline uint16_t *split_used_event(const VhostDPVring *vq)
{
    return &split_avail(vq)->ring[vq->num];
}

/* Written by the device behind the used ring (EVENT_IDX) */
static inline uint16_t *split_avail_event(const VhostDPVring *vq)
{
    return (uint16_t *)&split_used(vq)->ring[vq->num];
}

static inline void split_dirty(const VhostDPVring *vq, const void *host,
                               uint64_t len)
{
    vhost_dp_memory_dirty(vq->used.region, host, len);
}

static bool split_map(VhostDPVring *vq, VhostDPMemory *mem)
{
    uint64_t event = vq->event_idx ? sizeof(uint16_t) : 0;
    bool ok;

    ok = vring_map_part(mem, &vq->desc,
                        vq->num * sizeof(struct vring_desc), 16);
    ok = vring_map_part(mem, &vq->avail,
                        offsetof(struct vring_avail, ring[vq->num]) + event,
                        2) && ok;
    ok = vring_map_part(mem, &vq->used,
                        offsetof(struct vring_used, ring[vq->num]) + event,
                        4) && ok;
    if (!ok) {
        vring_unmap(vq);
    }
    return ok;
}

/* A used flag that says VRING_USED_F_NO_NOTIFY or not */
static void split_set_flags(VhostDPVring *vq, uint16_t flags)
{
    struct vring_used *used = split_used(vq);

    qatomic_set(&used->flags, vring16(vq, flags));
    split_dirty(vq, &used->flags, sizeof(used->flags));
}

static void split_disable_notify(VhostDPVring *vq)
{
    vq->notify = false;
    /*
     * With EVENT_IDX the driver kicks only when it passes avail_event, which
     * stays behind while the queue is busy.
     */
    if (!vq->event_idx && vq->used.host) {
        split_set_flags(vq, VRING_USED_F_NO_NOTIFY);
    }
}

/* Modelled in tests/models/ring.pml, as is split_need_call() */
static bool split_enable_notify(VhostDPVring *vq)
{
    if (vq->broken || !vq->used.host) {
        return false;
    }
    vq->notify = true;
    if (vq->event_idx) {
        uint16_t *event = split_avail_event(vq);

        qatomic_set(event, vring16(vq, vq->avail_idx));
        split_dirty(vq, event, sizeof(*event));
    } else {
        split_set_flags(vq, 0);
    }
    /*
     * The driver writes its index and then looks for our wish, we write our
     * wish and then look for its index: with a full barrier on both sides one
     * of the two sees the other (virtio 1.3, 2.7.10.1 and 2.7.13.4.1).
     */
    smp_mb();
    return vring16(vq, qatomic_read(&split_avail(vq)->idx)) != vq->avail_idx;
}

/* The base is the index of the next entry in the available ring */
static bool split_set_base(VhostDPVring *vq, uint32_t base)
{
    if (!is_power_of_2(vq->num)) {
        return false;
    }
    vq->last_avail = base;
    return true;
}

static uint32_t split_get_base(const VhostDPVring *vq)
{
    return vq->last_avail;
}

static void split_start(VhostDPVring *vq)
{
    vq->used_idx = vring16(vq, qatomic_read(&split_used(vq)->idx));
    vq->avail_idx = vq->last_avail;
    vq->signalled_used_valid = false;
    split_enable_notify(vq);
}

/* What a chain's descriptors are read from: the ring's table or an indirect */
typedef struct SplitTable {
    uint64_t gpa;
    uint32_t num;
    bool indirect;
} SplitTable;

/* Copy a descriptor to host byte order.  Returns false if it is not RAM. */
static inline bool split_read_desc(VhostDPVring *vq, VhostDPMemory *mem,
                                   const SplitTable *table, uint32_t i,
                                   struct vring_desc *desc)
{
    if (table->indirect) {
        if (!vring_read(vq, mem, table->gpa + (uint64_t)i * sizeof(*desc),
                        desc, sizeof(*desc))) {
            return false;
        }
    } else {
        memcpy(desc, vq->desc.host + i * sizeof(*desc), sizeof(*desc));
    }
    /* One copy, then checks: keep the compiler from reading it again */
    barrier();
    desc->addr = vring64(vq, desc->addr);
    desc->len = vring32(vq, desc->len);
    desc->flags = vring16(vq, desc->flags);
    desc->next = vring16(vq, desc->next);
    return true;
}

static VringResult split_enter_indirect(VhostDPVring *vq, SplitTable *table,
                                        const struct vring_desc *desc)
{
    VringResult r;

    if (table->indirect) {
        return vring_bad(vq, VHOST_DP_VIOLATION_INDIRECT_NESTED);
    }
    r = vring_check_table(vq, desc->addr, desc->len);
    if (r != VRING_OK) {
        return r;
    }
    table->gpa = desc->addr;
    table->num = desc->len / sizeof(*desc);
    table->indirect = true;
    return VRING_OK;
}

/* Collect the chain that begins with descriptor @head */
static VringResult split_take_chain(VhostDPVring *vq, VhostDPMemory *mem,
                                    VhostDPBurst *burst, VhostDPChain *chain,
                                    uint16_t head)
{
    SplitTable table = { .num = vq->num };
    bool seen_writable = false;
    unsigned ndescs = 0;        /* in the chain */
    uint32_t count = 0;         /* of them in the table */
    uint32_t i = head;

    chain->id = head;
    vring_begin_chain(burst, chain);

    for (;;) {
        struct vring_desc desc;
        VringResult r;

        if (i >= table.num) {
            return vring_bad(vq, VHOST_DP_VIOLATION_DESCRIPTOR_INDEX);
        }
        /* A table cannot have more descriptors in a chain than it has */
        if (count++ == table.num) {
            return vring_bad(vq, VHOST_DP_VIOLATION_DESCRIPTOR_LOOP);
        }
        /* An indirect table can be huge, and not all of it segments */
        if (ndescs++ > VHOST_DP_VRING_MAX_SEGS) {
            return vring_bad(vq, VHOST_DP_VIOLATION_CHAIN_SEGMENTS);
        }
        if (!split_read_desc(vq, mem, &table, i, &desc)) {
            return vring_bad(vq, VHOST_DP_VIOLATION_TABLE_ADDRESS);
        }

        if (desc.flags & VRING_DESC_F_INDIRECT) {
            r = split_enter_indirect(vq, &table, &desc);
            if (r != VRING_OK) {
                return r;
            }
            chain->ndescs = count;
            i = 0;
            count = 0;
            continue;
        }

        r = vring_take_desc(vq, mem, burst, chain, desc.addr, desc.len,
                            desc.flags, &seen_writable);
        if (r != VRING_OK) {
            return r;
        }
        if (!(desc.flags & VRING_DESC_F_NEXT)) {
            break;
        }
        i = desc.next;
    }
    if (!table.indirect) {
        chain->ndescs = count;
    }
    return vring_end_chain(vq, chain);
}

/* Look how far the driver has got.  Returns the number of available chains. */
static unsigned split_available(VhostDPVring *vq)
{
    uint16_t idx = vring16(vq, qatomic_read(&split_avail(vq)->idx));
    uint16_t n = idx - vq->last_avail;
    uint16_t unused = idx - vq->used_idx;

    /* Chains that were taken and are not used yet count as well */
    if (n > vq->num || unused > vq->num) {
        vhost_dp_vring_violation(vq, VHOST_DP_VIOLATION_AVAILABLE_INDEX);
        return 0;
    }
    vq->avail_idx = idx;
    /* The entries, and what they lead to, are read after the index */
    smp_rmb();
    return n;
}

static unsigned split_pop(VhostDPVring *vq, VhostDPMemory *mem,
                          VhostDPBurst *burst, unsigned max,
                          uint32_t max_bytes)
{
    unsigned n;
    uint64_t bytes = 0;

    burst->nchains = 0;
    burst->nsegs = 0;
    burst->full = false;
    if (unlikely(!vq->running || vq->broken)) {
        return 0;
    }

    n = MIN(split_available(vq), max);
    while (burst->nchains < n && bytes < max_bytes) {
        VhostDPChain *chain = &burst->chain[burst->nchains];
        unsigned nsegs = burst->nsegs;
        uint16_t slot = vq->last_avail & (vq->num - 1);
        uint16_t head = vring16(vq, qatomic_read(&split_avail(vq)->ring[slot]));

        VringResult r = split_take_chain(vq, mem, burst, chain, head);

        if (r != VRING_OK) {
            burst->nsegs = nsegs;
            burst->full = r == VRING_FULL;
            break;
        }
        bytes += chain->len;
        burst->nchains++;
        vq->last_avail++;
    }
    return burst->nchains;
}

static void split_rewind(VhostDPVring *vq, VhostDPBurst *burst, unsigned n)
{
    vq->last_avail -= n;
    burst->nchains -= n;
}

static bool split_need_call(VhostDPVring *vq)
{
    uint16_t old = vq->signalled_used;
    bool valid = vq->signalled_used_valid;

    /* The index store, then the driver's wish: see split_enable_notify() */
    smp_mb();
    if (!vq->event_idx) {
        uint16_t flags = vring16(vq, qatomic_read(&split_avail(vq)->flags));

        return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
    }
    vq->signalled_used = vq->used_idx;
    vq->signalled_used_valid = true;
    return !valid ||
           vring_need_event(vring16(vq, qatomic_read(split_used_event(vq))),
                            vq->used_idx, old);
}

/* Write @n elements from @shadow on to the used ring */
static void split_write_used(VhostDPVring *vq, const VhostDPUsed *shadow,
                             unsigned n)
{
    struct vring_used *used = split_used(vq);
    uint16_t first = vq->used_idx & (vq->num - 1);
    unsigned before_wrap = MIN(n, vq->num - first);
    unsigned i;

    for (i = 0; i < n; i++) {
        unsigned slot = (first + i) & (vq->num - 1);

        used->ring[slot].id = vring32(vq, shadow[i].id);
        used->ring[slot].len = vring32(vq, shadow[i].len);
    }
    split_dirty(vq, &used->ring[first], before_wrap * sizeof(used->ring[0]));
    if (before_wrap < n) {
        split_dirty(vq, &used->ring[0],
                    (n - before_wrap) * sizeof(used->ring[0]));
    }
}

static bool split_flush(VhostDPVring *vq)
{
    struct vring_used *used = split_used(vq);
    unsigned n = vq->nshadow;

    vq->nshadow = 0;
    if (!used) {
        /* The ring lost its memory (vhost_dp_vring_remap) */
        return false;
    }

    if (vq->batch_used) {
        /* The last one's, where the first one's would be (2.7.9) */
        split_write_used(vq, &vq->shadow[n - 1], 1);
    } else {
        split_write_used(vq, vq->shadow, n);
    }

    /* The elements, and the buffers, before the index */
    smp_wmb();
    vq->used_idx += n;
    qatomic_set(&used->idx, vring16(vq, vq->used_idx));
    split_dirty(vq, &used->idx, sizeof(used->idx));

    return split_need_call(vq);
}

const VhostDPVringOps vhost_dp_vring_split_ops = {
    .set_base = split_set_base,
    .get_base = split_get_base,
    .map = split_map,
    .start = split_start,
    .pop = split_pop,
    .rewind = split_rewind,
    .flush = split_flush,
    .disable_notify = split_disable_notify,
    .enable_notify = split_enable_notify,
};
