/*
 * vhost-dp: what a vIOMMU translates
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A VhostDPTranslator stands between the cache of a queue pair (iotlb.c) and
 * the vIOMMU.  It takes no lock and calls nobody back: pair-iommu.c holds the
 * locks that are named here.
 *
 * "Lock" is the queue pair's.
 */

#ifndef HW_VIRTIO_VHOST_DP_TRANSLATE_H
#define HW_VIRTIO_VHOST_DP_TRANSLATE_H

#include "hw/virtio/vhost-dp-iotlb.h"

typedef struct VhostDPTranslator {
    /* Guarded by the lock */
    VhostDPIotlb *iotlb;        /* while started behind a vIOMMU, or NULL */
    uint32_t generation;        /* changes when answers become worthless */

    /* BQL */
    AddressSpace *as;           /* the device's, while queues run, or NULL */
    unsigned iommus;            /* sections of IOMMUs in as */
    unsigned silent_iommus;     /* those that do not tell what is unmapped */
    bool changed;               /* what the device reaches in as */
} VhostDPTranslator;

/* Misses on their way to the vIOMMU, and what it said */
typedef struct VhostDPMissWork {
    uint32_t generation;
    VhostDPIotlbMisses misses[VHOST_DP_IOTLB_USERS];
    struct {
        MemoryRegion *mr;       /* NULL: the vIOMMU reported a fault */
        uint64_t offset;
    } answer[VHOST_DP_IOTLB_USERS][VHOST_DP_IOTLB_MISSES];
} VhostDPMissWork;

/**
 * vhost_dp_translate_use: use @iotlb from now on, or none if it is NULL
 *
 * The cache stays the caller's.  Lock: BQL, and the pair's.
 */
void vhost_dp_translate_use(VhostDPTranslator *t, VhostDPIotlb *iotlb);

/**
 * vhost_dp_translate_take: first step, what is to be asked for?
 * @work: overwritten
 *
 * Lock: BQL, and the pair's.  The BQL must be held until the second step is
 * over: so long the pair cannot be stopped.
 */
void vhost_dp_translate_take(VhostDPTranslator *t, VhostDPMissWork *work);

/**
 * vhost_dp_translate_ask: second step, ask the vIOMMU
 *
 * Lock: BQL, and not the pair's.
 */
void vhost_dp_translate_ask(VhostDPTranslator *t, VhostDPMissWork *work);

/**
 * vhost_dp_translate_put: third step, put the answers into the cache
 * @mem: the pair's memory table; unused if it has been stopped meanwhile
 * @work: on return, @misses are those that the vIOMMU refused, or that lead to
 *        something else than guest RAM
 *
 * Notes in the cache what was refused: see vhost_dp_iotlb_refuse().  Answers
 * that something has made worthless are dropped: what is missing still will be
 * missed again.  Lock: the pair's.
 */
void vhost_dp_translate_put(VhostDPTranslator *t, VhostDPMemory *mem,
                            VhostDPMissWork *work);

/**
 * vhost_dp_translate_forget: drop a range from the cache
 * @size: bytes; as for vhost_dp_iotlb_invalidate()
 *
 * Lock: the pair's.
 */
void vhost_dp_translate_forget(VhostDPTranslator *t, uint64_t iova,
                               uint64_t size);

/**
 * vhost_dp_translate_stop_queue: drop what waits for a queue that has stopped
 *
 * Its misses are not asked for any more.  Lock: the pair's.
 */
void vhost_dp_translate_stop_queue(VhostDPTranslator *t, unsigned user);

/* Sections of @as that came and went: for a MemoryListener.  Lock: BQL. */
void vhost_dp_translate_add_section(VhostDPTranslator *t, MemoryRegion *mr);
void vhost_dp_translate_del_section(VhostDPTranslator *t, MemoryRegion *mr);

/**
 * vhost_dp_translate_has_changed: did IOMMUs or RAM come or go, in @as?
 *
 * Since the last call.  If so, forget everything and call
 * vhost_dp_translate_update().  Lock: BQL.
 */
bool vhost_dp_translate_has_changed(VhostDPTranslator *t);

/**
 * vhost_dp_translate_update: @mem is new, or @as has changed
 * @mem: the memory table, or NULL
 *
 * Decides whether the cache is needed, and how long an entry is good.
 * Everything was forgotten before.  Lock: BQL, and the pair's.
 */
void vhost_dp_translate_update(VhostDPTranslator *t, const VhostDPMemory *mem);

#endif /* HW_VIRTIO_VHOST_DP_TRANSLATE_H */
