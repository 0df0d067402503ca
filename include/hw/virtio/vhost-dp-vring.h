/*
 * vhost-dp: the device side of a virtqueue
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One interface to a virtqueue, whatever its ring format.  Buffers are taken
 * in bursts into a VhostDPBurst, given back in order, and made visible to the
 * driver by one flush:
 *
 *     n = vhost_dp_vring_pop(vq, mem, burst, 64, 256 * KiB);
 *     ... for the chains that were used, in order:
 *             vhost_dp_vring_push(vq, &burst->chain[i], bytes_written);
 *     ... for those that were not: vhost_dp_vring_rewind(vq, burst, k);
 *     call = vhost_dp_vring_flush(vq);
 *
 * Between pop and flush every chain has to be either pushed or rewound.  The
 * queue is then in a state that can be handed to QEMU's own virtio.c: nothing
 * is in flight.
 *
 * Everything here needs the queue pair's lock, unless it says otherwise, and
 * may be called by any thread that holds it.
 *
 * What the driver writes is not trusted.  A descriptor is copied once into
 * private memory and checked there.  A driver that breaks a rule of the
 * specification ("virtio 1.3") stops the queue: @broken is set, its counter
 * is raised, and pop returns nothing until the next start.  One rule is about
 * a single frame: see vhost_dp_chain_is_unreadable().
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
 * Most chains in a burst: all there are.  With mergeable receive buffers a
 * frame may take several chains, up to that many (virtio 1.3, 5.1.6.4), and
 * they have to become visible at once.
 */
#define VHOST_DP_VRING_BURST    VHOST_DP_VRING_MAX_NUM

/*
 * Descriptors of one chain, and segments after it was cut at region
 * boundaries.  A chain with more is a violation (virtio 1.3, 2.7.5.3.1 and
 * 2.8.19 limit it to the queue size).
 */
#define VHOST_DP_VRING_MAX_SEGS 1024

/*
 * Descriptors that are enough for a burst, as well as room for segments: those
 * of a ring, and of the longest chain with some others.  Those of the other
 * direction count, too: it is the time to look at them that has a limit, as the
 * lock is held.
 */
#define VHOST_DP_VRING_MAX_DESCS (VHOST_DP_VRING_MAX_SEGS + 256)

/* A chain of descriptors that was made available by the driver */
typedef struct VhostDPChain {
    uint16_t id;                /* goes into the used element */
    uint16_t ndescs;            /* entries of the ring, or table, it took */
    uint16_t nsegs;
    uint16_t npieces;           /* vIOMMU: before neighbours were joined */
    uint32_t len;               /* bytes in all segments */
    struct iovec *iov;          /* nsegs, in the burst */
    VhostDPRegion **region;     /* nsegs: the memory region of each */
} VhostDPChain;

/**
 * vhost_dp_chain_is_unreadable: is a device-readable buffer not in guest RAM,
 * or does the vIOMMU not map it?
 *
 * Such a chain is the last of its burst, and has no segments and a length of 0.
 * The caller pushes it; its frame is lost.  All that the ring says is right,
 * so the queue goes on.  The caller that pushes it also counts the violation,
 * which is @unreadable of the burst, since a chain that is rewound comes again.
 *
 * Only chains of queues that are not writable.  A device-writable buffer that
 * is not in RAM, or not mapped, stops the queue: no frame is lost with it
 * alone, and given back empty it would be posted again at once.
 */
static inline bool vhost_dp_chain_is_unreadable(const VhostDPChain *chain)
{
    return chain->nsegs == 0;
}

/* Chains that were popped together.  Large: part of the queue, not on stack */
typedef struct VhostDPBurst {
    unsigned nchains;
    unsigned nsegs;
    unsigned ndescs;            /* looked at, besides the first of chains */
    bool full;                  /* see MAX_DESCS; or holds the whole ring */
    /* BUFFER_ADDRESS or IOMMU_FAULT: why the last chain is unreadable, if so */
    VhostDPViolation unreadable;
    VhostDPChain chain[VHOST_DP_VRING_BURST];
    struct iovec iov[VHOST_DP_VRING_MAX_DESCS];
    VhostDPRegion *region[VHOST_DP_VRING_MAX_DESCS];
} VhostDPBurst;

typedef struct VhostDPVring VhostDPVring;

/* What a ring format implements; see the functions of the same name below */
typedef struct VhostDPVringOps {
    bool (*set_base)(VhostDPVring *vq, uint32_t base);
    uint32_t (*get_base)(const VhostDPVring *vq);
    bool (*map)(VhostDPVring *vq, VhostDPMemory *mem);  /* not for vIOMMUs */
    void (*start)(VhostDPVring *vq);
    unsigned (*pop)(VhostDPVring *vq, VhostDPMemory *mem, VhostDPBurst *burst,
                    unsigned max, uint32_t max_bytes);
    void (*rewind)(VhostDPVring *vq, VhostDPBurst *burst, unsigned n);
    bool (*flush)(VhostDPVring *vq);
    void (*disable_notify)(VhostDPVring *vq);
    bool (*enable_notify)(VhostDPVring *vq);
} VhostDPVringOps;

/* Pages of the largest part of a ring, which need not begin with a page */
#define VHOST_DP_RING_PAGES \
    (VHOST_DP_VRING_MAX_NUM * 16 / VHOST_DP_IOTLB_PAGE_SIZE + 1)

typedef struct VhostDPRingPage {
    uint8_t *host;              /* where the page begins */
    VhostDPRegion *region;
} VhostDPRingPage;

/* A part of a ring in QEMU's address space */
typedef struct VhostDPRingPart {
    uint64_t gpa;               /* with a vIOMMU: as the device sees it */
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
    bool writable;              /* RX: takes device-writable descriptors */

    /* Configuration; changes only while the queue is stopped */
    unsigned num;               /* entries, or 0: not set up */
    bool event_idx;             /* VIRTIO_F_EVENT_IDX was negotiated */
    bool notify_on_empty;       /* split: VIRTIO_F_NOTIFY_ON_EMPTY was */
    /*
     * One used element says that all up to it are used: VIRTIO_F_IN_ORDER was
     * negotiated, and nothing is written to buffers, so no lengths get lost
     * (virtio 1.3, 2.7.9 and 2.8.8)
     */
    bool batch_used;
    bool swap;                  /* the driver's byte order is not the host's */
    /*
     * Descriptor, driver and device area (virtio 1.3, 2.6).  Split: descriptor
     * table, available ring, used ring.  Packed: descriptor ring, driver's and
     * device's event suppression.
     */
    VhostDPRingPart desc, driver, device;
    const VhostDPVringOps *ops;
    /*
     * With a vIOMMU: what it translates, and which user of that the queue is.
     * All addresses are then I/O virtual ones.  Otherwise NULL.
     */
    VhostDPIotlb *iotlb;
    unsigned iotlb_user;

    /* State */
    bool running;
    bool broken;                /* atomic, for those without the lock */
    bool missed;                /* the last look ended at a miss: see pop() */
    bool begun;                 /* vIOMMU: the ring was mapped once */
    bool refused;               /* vIOMMU: it refused what was not found last */
    VhostDPViolation violation; /* why, when broken */
    uint32_t base;              /* while stopped: see set_base() */
    /*
     * Split: free-running indices.  Packed: positions in the descriptor ring,
     * with the wrap counter in bit 15.
     */
    uint16_t last_avail;        /* next entry to take */
    uint16_t avail_idx;         /* pop has seen what is before this entry */
    uint16_t used_idx;          /* next used entry to write */
    uint16_t signalled_used;    /* used_idx at the last decision to call */
    uint16_t inflight;          /* packed: entries taken and not used yet */
    bool signalled_used_valid;
    bool notify;                /* notifications are wanted */
    unsigned nshadow;           /* used entries that wait for the flush */
    VhostDPUsed shadow[VHOST_DP_VRING_BURST];

    /* The memory region last hit, one for each kind of access */
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
 * vhost_dp_count: raise a counter that one thread at a time writes
 *
 * Readers use qatomic_read() and need no lock.
 */
static inline void vhost_dp_count(uint64_t *counter, uint64_t n)
{
    qatomic_set(counter, *counter + n);
}

/**
 * vhost_dp_vring_init: make a queue that is not set up
 * @writable: the direction: true for a queue of device-writable buffers
 *
 * Lock: none; before anybody else knows of @vq.
 */
void vhost_dp_vring_init(VhostDPVring *vq, bool writable);

/**
 * vhost_dp_vring_set_base: say where the queue goes on when it is started
 * @base: as vhost's set_vring_base has it, in the format that will be chosen:
 *        split: the next entry of the available ring (16 bits);
 *        packed: the next descriptor to take, and in the upper 16 bits the
 *        next one to use, each with its wrap counter in its bit 15
 *
 * Ignored while the queue runs.
 */
void vhost_dp_vring_set_base(VhostDPVring *vq, uint32_t base);

/**
 * vhost_dp_vring_get_base: where the queue is, or has stopped
 *
 * After a start that failed it is what vhost_dp_vring_set_base() set.
 */
uint32_t vhost_dp_vring_get_base(const VhostDPVring *vq);

/**
 * vhost_dp_vring_start: start a queue
 * @features: negotiated features, they choose the format
 *
 * @num, the addresses, the base and @iotlb are set.  The used index of a split
 * queue is read from the ring, as virtio.c and the kernel's vhost do.
 *
 * With a vIOMMU the ring is looked for at the first pop: nothing says that the
 * IOMMU translates its addresses yet.
 *
 * Returns 0, -EINVAL if @num is not valid or the base is not in the ring, or
 * -EFAULT if a part of the ring is not RAM, not contiguous there, or not
 * aligned (virtio 1.3, 2.7 and 2.8).  With a vIOMMU, alignment only.
 */
int vhost_dp_vring_start(VhostDPVring *vq, VhostDPMemory *mem,
                         uint64_t features);

/**
 * vhost_dp_vring_remap: follow a new memory table
 *
 * Called with the new table, also on queues that do not run.  A running queue
 * whose ring has lost its memory breaks (VHOST_DP_VIOLATION_RING_ADDRESS).
 */
void vhost_dp_vring_remap(VhostDPVring *vq, VhostDPMemory *mem);

/**
 * vhost_dp_vring_unmapped: the vIOMMU forgot a range
 * @size: bytes; as for vhost_dp_iotlb_invalidate()
 *
 * A ring with a part in it will be looked for again.  Ignored by a queue
 * without a vIOMMU.
 */
void vhost_dp_vring_unmapped(VhostDPVring *vq, uint64_t iova, uint64_t size);

/**
 * vhost_dp_vring_stop: stop a queue
 *
 * Idempotent.  The base stays, to be handed over.
 */
void vhost_dp_vring_stop(VhostDPVring *vq);

/**
 * vhost_dp_vring_violation: the driver broke a rule; the queue is broken now
 */
void vhost_dp_vring_violation(VhostDPVring *vq, VhostDPViolation why);

/**
 * vhost_dp_vring_pop: take chains that the driver made available
 * @burst: overwritten; its pointers are valid while the lock is held
 * @max: most chains to take, at most VHOST_DP_VRING_BURST
 * @max_bytes: take no more once that many bytes are gathered
 *
 * A chain holds the segments of the queue's direction only; there is at least
 * one, unless vhost_dp_chain_is_unreadable().  Segments are guest memory: the
 * driver can change them at any time.
 *
 * With a vIOMMU, @missed says that there is more that had to be left in the
 * queue, because the IOMMU has to be asked first: the misses were noted in
 * @iotlb.  Those of chains further on were noted, too, to be resolved at once.
 *
 * Returns the number of chains; fewer than possible when one broke a rule: if
 * there is one at all, there may be more.
 */
static inline unsigned vhost_dp_vring_pop(VhostDPVring *vq, VhostDPMemory *mem,
                                          VhostDPBurst *burst, unsigned max,
                                          uint32_t max_bytes)
{
    return vq->ops->pop(vq, mem, burst, max, max_bytes);
}

/**
 * vhost_dp_vring_rewind: leave the last @n chains of @burst in the queue
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
 * vhost_dp_vring_push: the next used element
 * @len: bytes written to the chain, from its start
 *
 * Becomes visible by vhost_dp_vring_flush().  At most VHOST_DP_VRING_BURST
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
 * vhost_dp_vring_flush: make pushed elements visible
 *
 * Returns true if the driver wants to be called for them (virtio 1.3, 2.7.7
 * and 2.8.10).
 */
static inline bool vhost_dp_vring_flush(VhostDPVring *vq)
{
    return vq->nshadow ? vq->ops->flush(vq) : false;
}

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
 * Returns true if the driver made chains available since pop last looked:
 * there may be no kick for them, so the caller has to pop again.  Also if the
 * vIOMMU has to be asked where the ring is (@missed).
 */
static inline bool vhost_dp_vring_enable_notify(VhostDPVring *vq)
{
    return vq->ops->enable_notify(vq);
}

/* The split format (virtio 1.3, 2.7); vring-split.c */
extern const VhostDPVringOps vhost_dp_vring_split_ops;

/* The packed format (virtio 1.3, 2.8); vring-packed.c */
extern const VhostDPVringOps vhost_dp_vring_packed_ops;

/* The same behind a vIOMMU */
extern const VhostDPVringOps vhost_dp_vring_split_iommu_ops;
extern const VhostDPVringOps vhost_dp_vring_packed_iommu_ops;

#endif /* HW_VIRTIO_VHOST_DP_VRING_H */
