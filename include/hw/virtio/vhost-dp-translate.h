/*
 * vhost-dp: asking the vIOMMU for translations
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A VhostDPTranslator stands between the cache of a queue pair (iotlb.c) and
 * the vIOMMU.  It takes no lock and has no callbacks: its caller, pair-iommu.c,
 * holds the locks that are named here.
 *
 * "The pair's" is the queue pair's lock.
 */

#ifndef HW_VIRTIO_VHOST_DP_TRANSLATE_H
#define HW_VIRTIO_VHOST_DP_TRANSLATE_H

#include "hw/virtio/vhost-dp-iotlb.h"

typedef struct VhostDPTranslator {
    /* Guarded by the pair's lock */
    VhostDPIotlb *iotlb;        /* while started behind a vIOMMU, or NULL */
    uint32_t generation;        /* changes when answers become invalid */

    /* BQL */
    AddressSpace *as;           /* the device's, while queues run, or NULL */
    unsigned iommus;            /* sections of IOMMUs in as */
    unsigned silent_iommus;     /* of these, those that do not report unmaps */
    bool changed;               /* IOMMUs or RAM came or went in as */
} VhostDPTranslator;

/* Misses on their way to the vIOMMU, and its answers */
typedef struct VhostDPMissWork {
    uint32_t generation;
    VhostDPIotlbMisses misses[VHOST_DP_IOTLB_USERS];
    struct {
        MemoryRegion *mr;       /* NULL: the vIOMMU reported a fault */
        uint64_t offset;
    } answer[VHOST_DP_IOTLB_USERS][VHOST_DP_IOTLB_MISSES];
} VhostDPMissWork;

/**
 * vhost_dp_translate_use: use the cache @iotlb from now on, or none if NULL
 *
 * The caller still owns the cache.  Lock: BQL, and the pair's.
 */
void vhost_dp_translate_use(VhostDPTranslator *t, VhostDPIotlb *iotlb);

/**
 * vhost_dp_translate_take: first step, take the misses from the cache
 * @work: overwritten
 *
 * Lock: BQL, and the pair's.  The caller holds the BQL until the second step is
 * over, so that the pair cannot be stopped in between.
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
 * @mem: the pair's memory table; unused if the pair has been stopped meanwhile
 * @work: on return, @misses has those pages that the vIOMMU refused, or that
 *        lead to something else than guest RAM
 *
 * Notes refused pages in the cache: see vhost_dp_iotlb_refuse().  Drops all
 * answers if @generation has changed since the first step; the queues will
 * miss these pages again.  Lock: the pair's.
 */
void vhost_dp_translate_put(VhostDPTranslator *t, VhostDPMemory *mem,
                            VhostDPMissWork *work);

/**
 * vhost_dp_translate_forget: drop the entries of a range from the cache
 * @size: bytes; as for vhost_dp_iotlb_invalidate()
 *
 * Lock: the pair's.
 */
void vhost_dp_translate_forget(VhostDPTranslator *t, uint64_t iova,
                               uint64_t size);

/**
 * vhost_dp_translate_stop_queue: drop the misses of a queue that has stopped
 *
 * Lock: the pair's.
 */
void vhost_dp_translate_stop_queue(VhostDPTranslator *t, unsigned user);

/* For a MemoryListener: a section of @as came or went.  Lock: BQL. */
void vhost_dp_translate_add_section(VhostDPTranslator *t, MemoryRegion *mr);
void vhost_dp_translate_del_section(VhostDPTranslator *t, MemoryRegion *mr);

/**
 * vhost_dp_translate_has_changed: did IOMMUs or RAM come or go in @as since the
 * last call?
 *
 * If so, the caller drops all translations and calls
 * vhost_dp_translate_update().  Lock: BQL.
 */
bool vhost_dp_translate_has_changed(VhostDPTranslator *t);

/**
 * vhost_dp_translate_update: follow a new memory table, or a change of @as
 * @mem: the memory table, or NULL
 *
 * Decides whether the cache is needed, and whether it is transient.  The cache
 * is empty.  Lock: BQL, and the pair's.
 */
void vhost_dp_translate_update(VhostDPTranslator *t, const VhostDPMemory *mem);

#endif /* HW_VIRTIO_VHOST_DP_TRANSLATE_H */
