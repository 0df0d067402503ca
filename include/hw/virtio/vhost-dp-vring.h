/*
 * vhost-dp: the device side of a virtqueue
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One interface to a virtqueue, whatever its ring format.  "The driver" is the
 * guest's.  Chains of buffers are taken in bursts into a VhostDPBurst, given
 * back in order, and made visible to the driver by one flush:
 *
 *     n = vhost_dp_vring_pop(vq, mem, burst, 64, 256 * KiB);
 *     ... for each chain that was used, in order:
 *             vhost_dp_vring_push(vq, &burst->chain[i], bytes_written);
 *     ... for the k chains that were not: vhost_dp_vring_rewind(vq, burst, k);
 *     call = vhost_dp_vring_flush(vq);
 *
 * Between pop and flush every chain has to be either pushed or rewound.  After
 * the flush no chain is in flight, so the queue can be handed to QEMU's
 * virtio.c.
 *
 * All functions need the queue pair's lock unless they say otherwise, and may
 * be called by any thread that holds it.
 *
 * What the driver writes is not trusted.  A descriptor is copied once into
 * private memory and checked there.  A driver that breaks a rule of the
 * specification ("virtio 1.3") stops the queue: @broken is set, the violation
 * is counted, and pop returns nothing until the next start.  The exception is
 * a rule about a single frame: see vhost_dp_chain_is_unreadable().
 */

#ifndef HW_VIRTIO_VHOST_DP_VRING_H
#define HW_VIRTIO_VHOST_DP_VRING_H

#include "qemu/atomic.h"
#include "hw/virtio/vhost-dp-iotlb.h"
#include "hw/virtio/vhost-dp-memory.h"
#include "qapi/qapi-types-vhost-dp.h"

/* Largest queue (QEMU's VIRTQUEUE_MAX_SIZE; virtio 1.3, 2.7 allows more) */
#define VHOST_DP_VRING_MAX_NUM  1024

/*
 * The most chains in a burst: all chains of a ring.  With mergeable receive
 * buffers a frame may take as many (virtio 1.3, 5.1.6.4), and they have to
 * become visible to the driver at once.
 */
#define VHOST_DP_VRING_BURST    VHOST_DP_VRING_MAX_NUM

/*
 * The most descriptors of one chain, and the most segments after a chain was
 * cut at the ends of memory regions.  A longer chain is a violation (virtio
 * 1.3, 2.7.5.3.1 and 2.8.19 limit it to the queue size).
 */
#define VHOST_DP_VRING_MAX_SEGS 1024

/*
 * A burst ends when it has looked at this many descriptors, of either
 * direction, since the lock is held meanwhile.  Also the room for segments: for
 * the longest chain and some others.
 */
#define VHOST_DP_VRING_MAX_DESCS (VHOST_DP_VRING_MAX_SEGS + 256)

/* A chain of descriptors that the driver has made available */
typedef struct VhostDPChain {
    uint16_t id;                /* goes into the used element */
    uint16_t ndescs;            /* entries of the ring, or table, it took */
    uint16_t nsegs;
    uint16_t npieces;           /* vIOMMU: before neighbours were joined */
    uint32_t len;               /* bytes in all segments */
    struct iovec *iov;          /* nsegs elements, in the burst */
    VhostDPRegion **region;     /* nsegs: the memory region of each */
} VhostDPChain;

/**
 * vhost_dp_chain_is_unreadable: is a device-readable buffer of the chain not in
 * guest RAM, or not mapped by the vIOMMU?
 *
 * Such a chain is the last of its burst, without segments and with a length of
 * 0.  The caller pushes it and so loses its frame; the queue goes on, since the
 * ring itself is correct.  The caller also counts the violation, which is
 * @unreadable of the burst, when it pushes the chain: a chain that is rewound
 * comes again.
 *
 * Only for queues that are not @writable.  A device-writable buffer that is not
 * in RAM, or not mapped, stops the queue: no frame would be lost with the
 * buffer, and the driver would post it again at once, for ever.
 */
static inline bool vhost_dp_chain_is_unreadable(const VhostDPChain *chain)
{
    return chain->nsegs == 0;
}

/* Chains that were popped together.  Too large for the stack. */
typedef struct VhostDPBurst {
    unsigned nchains;
    unsigned nsegs;
    unsigned ndescs;            /* looked at, besides the first of each chain */
    bool full;                  /* see MAX_DESCS; or it has the whole ring */
    /* If the last chain is unreadable, why: BUFFER_ADDRESS or IOMMU_FAULT */
    VhostDPViolation unreadable;
    VhostDPChain chain[VHOST_DP_VRING_BURST];
    struct iovec iov[VHOST_DP_VRING_MAX_DESCS];
    VhostDPRegion *region[VHOST_DP_VRING_MAX_DESCS];
} VhostDPBurst;

typedef struct VhostDPVring VhostDPVring;

/* What each ring format implements: see the functions of these names below */
typedef struct VhostDPVringOps {
    bool (*set_base)(VhostDPVring *vq, uint32_t base);
    uint32_t (*get_base)(const VhostDPVring *vq);
    bool (*map)(VhostDPVring *vq, VhostDPMemory *mem);  /* without a vIOMMU */
    void (*start)(VhostDPVring *vq);
    unsigned (*pop)(VhostDPVring *vq, VhostDPMemory *mem, VhostDPBurst *burst,
                    unsigned max, uint32_t max_bytes);
    void (*rewind)(VhostDPVring *vq, VhostDPBurst *burst, unsigned n);
    bool (*flush)(VhostDPVring *vq);
    bool (*need_call)(VhostDPVring *vq);
    void (*disable_notify)(VhostDPVring *vq);
    bool (*enable_notify)(VhostDPVring *vq);
} VhostDPVringOps;

/* Pages of the largest part of a ring, which may begin inside of a page */
#define VHOST_DP_RING_PAGES \
    (VHOST_DP_VRING_MAX_NUM * 16 / VHOST_DP_IOTLB_PAGE_SIZE + 1)

typedef struct VhostDPRingPage {
    uint8_t *host;              /* the beginning of the page */
    VhostDPRegion *region;
} VhostDPRingPage;

/* A part of a ring in QEMU's address space */
typedef struct VhostDPRingPart {
    uint64_t gpa;               /* with a vIOMMU: I/O virtual address */
    uint8_t *host;              /* NULL while not mapped */
    VhostDPRegion *region;
    VhostDPRingPage *page;      /* with a vIOMMU: RING_PAGES of them */
} VhostDPRingPart;

typedef struct VhostDPUsed {
    uint16_t id;
    uint16_t ndescs;
    uint32_t len;
} VhostDPUsed;

struct VhostDPVring {
    /* Set once */
    bool writable;              /* a receiveq: device-writable descriptors */

    /* Configuration; changes only while the queue is stopped */
    unsigned num;               /* entries, or 0: not set up */
    bool event_idx;             /* VIRTIO_F_EVENT_IDX was negotiated */
    bool notify_on_empty;       /* VIRTIO_F_NOTIFY_ON_EMPTY, split only */
    /*
     * A flush writes only its last used element: VIRTIO_F_IN_ORDER was
     * negotiated, and nothing is written to buffers, so no length gets lost
     * (virtio 1.3, 2.7.9 and 2.8.8)
     */
    bool batch_used;
    bool swap;                  /* the driver's byte order is not the host's */
    /*
     * Descriptor area, driver area and device area (virtio 1.3, 2.6).  Split:
     * descriptor table, available ring, used ring.  Packed: descriptor ring,
     * driver event suppression, device event suppression.
     */
    VhostDPRingPart desc, driver, device;
    const VhostDPVringOps *ops;
    /*
     * With a vIOMMU: the cache of its translations, and the queue's number
     * among the cache's users.  All addresses are then I/O virtual addresses.
     * NULL without a vIOMMU.
     */
    VhostDPIotlb *iotlb;
    unsigned iotlb_user;

    /* State */
    bool running;
    bool broken;                /* atomic, for readers without the lock */
    bool missed;                /* the last look ended at a miss: see pop() */
    bool begun;                 /* vIOMMU: the ring has been mapped once */
    bool refused;               /* vIOMMU: it refused the last miss */
    VhostDPViolation violation; /* when broken: the reason */
    uint32_t base;              /* while stopped: see set_base() */
    /*
     * Split: free-running indices.  Packed: positions in the descriptor ring,
     * with the wrap counter in bit 15.
     */
    uint16_t last_avail;        /* next entry to take */
    uint16_t avail_idx;         /* pop has seen the entries before this one */
    uint16_t used_idx;          /* next used entry to write */
    uint16_t signalled_used;    /* used_idx at the last decision to call */
    uint16_t inflight;          /* packed: entries taken and not yet used */
    bool signalled_used_valid;
    bool notify;                /* the driver is asked to kick */
    bool hold_calls;            /* vhost_dp_vring_decide() decides to call */
    unsigned undecided;         /* descriptors used since the last decision */
    unsigned nshadow;           /* used elements that wait for the flush */
    VhostDPUsed shadow[VHOST_DP_VRING_BURST];

    /* The memory region of the last access, for each kind of access */
    unsigned hit_table;         /* indirect tables */
    unsigned hit_first;         /* first buffer of a chain: the header */
    unsigned hit_data;          /* other buffers */

    /* Counters: see vhost_dp_count() */
    uint64_t violations[VHOST_DP_VIOLATION__MAX];
    uint64_t iotlb_hits;
    uint64_t iotlb_misses;

    VhostDPRingPage ring_page[3][VHOST_DP_RING_PAGES];
};

/**
 * vhost_dp_count: raise a counter that only one thread at a time writes
 *
 * Readers use qatomic_read() and need no lock.
 */
static inline void vhost_dp_count(uint64_t *counter, uint64_t n)
{
    qatomic_set(counter, *counter + n);
}

/**
 * vhost_dp_vring_init: initialise a queue that is not set up
 * @writable: true for a receiveq, whose buffers are device-writable
 *
 * Lock: none.  Nobody else uses @vq yet.
 */
void vhost_dp_vring_init(VhostDPVring *vq, bool writable);

/**
 * vhost_dp_vring_set_base: set the place in the ring where the queue starts
 * @base: as for vhost's set_vring_base, in the ring format of the next start.
 *        Split: the next entry of the available ring (16 bits).  Packed: the
 *        next descriptor to take, and in the upper 16 bits the next one to
 *        use, each with its wrap counter in bit 15.
 *
 * Ignored while the queue runs.
 */
void vhost_dp_vring_set_base(VhostDPVring *vq, uint32_t base);

/**
 * vhost_dp_vring_get_base: return the queue's place in the ring
 *
 * For a stopped queue the place where it has stopped; after a start that
 * failed, what vhost_dp_vring_set_base() has set.
 */
uint32_t vhost_dp_vring_get_base(const VhostDPVring *vq);

/**
 * vhost_dp_vring_start: start a queue
 * @features: negotiated features, which choose the ring format
 *
 * The caller has set @num, the addresses, the base and @iotlb.  The used index
 * of a split queue is read from the ring, as virtio.c and the kernel's vhost
 * do.
 *
 * With a vIOMMU the ring is mapped by the first pop, since the guest may not
 * have mapped its addresses yet.
 *
 * Returns 0; -EINVAL if @num is invalid or the base is outside of the ring; or
 * -EFAULT if a part of the ring is not RAM, not contiguous there, or not
 * aligned (virtio 1.3, 2.7 and 2.8).  With a vIOMMU only the alignment is
 * checked.
 */
int vhost_dp_vring_start(VhostDPVring *vq, VhostDPMemory *mem,
                         uint64_t features);

/**
 * vhost_dp_vring_remap: follow a new memory table
 *
 * Called with the new table, also for queues that do not run.  A running queue
 * whose ring is not in RAM any more is broken then
 * (VHOST_DP_VIOLATION_RING_ADDRESS).
 */
void vhost_dp_vring_remap(VhostDPVring *vq, VhostDPMemory *mem);

/**
 * vhost_dp_vring_unmapped: the guest has unmapped a range in the vIOMMU
 * @size: bytes; as for vhost_dp_iotlb_invalidate()
 *
 * A ring with a part in that range is mapped again before its next use.  Does
 * nothing for a queue without a vIOMMU.
 */
void vhost_dp_vring_unmapped(VhostDPVring *vq, uint64_t iova, uint64_t size);

/**
 * vhost_dp_vring_stop: stop a queue
 *
 * The base stays, to be read by vhost_dp_vring_get_base().  Idempotent.
 */
void vhost_dp_vring_stop(VhostDPVring *vq);

/**
 * vhost_dp_vring_violation: mark the queue broken: the driver broke rule @why
 */
void vhost_dp_vring_violation(VhostDPVring *vq, VhostDPViolation why);

/**
 * vhost_dp_vring_pop: take chains that the driver has made available
 * @burst: overwritten; its pointers are valid while the lock is held
 * @max: the most chains to take, at most VHOST_DP_VRING_BURST
 * @max_bytes: take no more chains once they have this many bytes
 *
 * A chain has the segments of the queue's direction only, and at least one of
 * them unless vhost_dp_chain_is_unreadable().  Segments are guest memory, which
 * the driver can change at any time.
 *
 * With a vIOMMU, @missed says that chains were left in the queue, because the
 * IOMMU has to be asked first.  Their misses, and those of chains behind them,
 * were noted in @iotlb, to be resolved together.
 *
 * Returns the number of chains.  It may be less than @max although more are
 * available.  0: none is available, or see @missed and @broken.
 */
static inline unsigned vhost_dp_vring_pop(VhostDPVring *vq, VhostDPMemory *mem,
                                          VhostDPBurst *burst, unsigned max,
                                          uint32_t max_bytes)
{
    return vq->ops->pop(vq, mem, burst, max, max_bytes);
}

/**
 * vhost_dp_vring_rewind: put the last @n chains of @burst back into the queue
 *
 * The next pop takes them again.  They must not have been pushed.
 */
static inline void vhost_dp_vring_rewind(VhostDPVring *vq, VhostDPBurst *burst,
                                         unsigned n)
{
    if (n) {
        vq->ops->rewind(vq, burst, n);
    }
}

/**
 * vhost_dp_vring_push: add a used element for @chain
 * @len: bytes written to the chain, from its start
 *
 * vhost_dp_vring_flush() makes it visible.  At most VHOST_DP_VRING_BURST
 * elements may wait for a flush.
 */
static inline void vhost_dp_vring_push(VhostDPVring *vq,
                                       const VhostDPChain *chain, uint32_t len)
{
    vq->shadow[vq->nshadow].id = chain->id;
    vq->shadow[vq->nshadow].ndescs = chain->ndescs;
    vq->shadow[vq->nshadow].len = len;
    vq->nshadow++;
}

/**
 * vhost_dp_vring_flush: make pushed used elements visible to the driver
 *
 * Returns true if the driver wants to be called for them (virtio 1.3, 2.7.7
 * and 2.8.10).  While @hold_calls is set that is left to
 * vhost_dp_vring_decide().
 */
static inline bool vhost_dp_vring_flush(VhostDPVring *vq)
{
    return vq->nshadow ? vq->ops->flush(vq) : false;
}

/**
 * vhost_dp_vring_decide: decide whether to call for all that was left undecided
 *
 * For a queue with @hold_calls.  Also after the ring has lost its memory: then
 * nobody knows what the driver wishes, and the answer is true.
 *
 * Returns true if the driver wants to be called; false also if there was
 * nothing to decide.
 */
bool vhost_dp_vring_decide(VhostDPVring *vq);

/**
 * vhost_dp_vring_disable_notify: ask the driver not to kick
 *
 * Only a hint to the driver (virtio 1.3, 2.7.10 and 2.8.10).
 */
static inline void vhost_dp_vring_disable_notify(VhostDPVring *vq)
{
    if (vq->notify) {
        vq->ops->disable_notify(vq);
    }
}

/**
 * vhost_dp_vring_enable_notify: ask the driver to kick, and look once more
 *
 * Returns true if the caller has to pop again: the driver has made chains
 * available since the last pop, for which it may not have kicked, or the vIOMMU
 * has to be asked where the ring is (@missed).
 */
static inline bool vhost_dp_vring_enable_notify(VhostDPVring *vq)
{
    return vq->ops->enable_notify(vq);
}

/* The split format (virtio 1.3, 2.7); vring-split.c */
extern const VhostDPVringOps vhost_dp_vring_split_ops;

/* The packed format (virtio 1.3, 2.8); vring-packed.c */
extern const VhostDPVringOps vhost_dp_vring_packed_ops;

/* Both formats for a device behind a vIOMMU */
extern const VhostDPVringOps vhost_dp_vring_split_iommu_ops;
extern const VhostDPVringOps vhost_dp_vring_packed_iommu_ops;

#endif /* HW_VIRTIO_VHOST_DP_VRING_H */
