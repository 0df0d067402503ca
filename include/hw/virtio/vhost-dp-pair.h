/*
 * vhost-dp: the protocol state of one queue pair
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A VhostDPPair is the device end of the vhost protocol (VhostOps) for one
 * vhost_dev, that is, for one queue pair: it holds what the protocol has set
 * up.  Its client, the engine, moves the frames.  Two parties use it:
 *
 * - control: VhostOps, called by whoever holds the BQL (main loop, vCPUs, the
 *   migration thread).  They change what a burst uses, under @lock, after
 *   they raised @want.
 * - the engine: one IOThread, which holds @lock for a burst at a time, and
 *   never waits for the BQL.  Before each burst it calls
 *   vhost_dp_pair_may_run().
 */

#ifndef HW_VIRTIO_VHOST_DP_PAIR_H
#define HW_VIRTIO_VHOST_DP_PAIR_H

#include "qemu/error-report-limited.h"
#include "qemu/thread.h"
#include "hw/virtio/vhost-dp-translate.h"
#include "hw/virtio/vhost-dp-vring.h"

struct vhost_dev;

/* Queues of a pair, in the order of their numbers (virtio 1.3, 5.1.2) */
enum {
    VHOST_DP_RX = 0,            /* receiveq: frames to the guest */
    VHOST_DP_TX = 1,            /* transmitq: frames from the guest */
    VHOST_DP_QUEUES = 2,
};

/* What the engine is told */
typedef struct VhostDPPairClient {
    /*
     * The protocol state changed: look at it.  Called by control, with the
     * BQL and without the lock.
     */
    void (*changed)(void *opaque);

    /*
     * The engine was told not to run, and may go on.  Called by control,
     * with the BQL and without the lock.
     */
    void (*resume)(void *opaque);
} VhostDPPairClient;

/*
 * Descriptors for the kicks of one queue.  Both are there from the beginning to
 * the end, so that a queue can be started when there is no descriptor to be
 * had; and no more than these, however often it is started while the engine
 * gets no CPU.  What they refer to is replaced, except in that which the engine
 * watches.
 */
typedef struct VhostDPKick {
    int slot[2];                /* own */
    int fd;                     /* one of them, which is kicked, or -1 */
    int watched;                /* one of them, by the engine, or -1 */
} VhostDPKick;

typedef struct VhostDPPair {
    QemuMutex lock;
    unsigned want;              /* atomic: control operations that wait */
    bool yielded;               /* atomic: the engine waits for resume() */

    /* Guarded by lock; changed by control */
    VhostDPMemory *mem;         /* while started, otherwise NULL */
    bool started;
    bool enabled;               /* by the guest: multiqueue */
    uint32_t generation[VHOST_DP_QUEUES];   /* number of starts */
    uint64_t features;          /* negotiated */
    bool legacy_big_endian[VHOST_DP_QUEUES];
    VhostDPKick kick[VHOST_DP_QUEUES];  /* watched: changed by the engine */
    /*
     * Virtio's own, or -1: no interrupt.  While the device is stopped they are
     * the masked notifiers of vhost.c, as nothing else is open then.
     */
    int call_fd[VHOST_DP_QUEUES];

    /* Guarded by lock; changed by both */
    VhostDPVring vq[VHOST_DP_QUEUES];
    /* Used buffers wait for a call; the queue runs */
    bool call_pending[VHOST_DP_QUEUES];
    VhostDPTranslator translator;   /* has its own rules */

    /* Counters, written under lock: see vhost_dp_count() */
    uint64_t calls[VHOST_DP_QUEUES];

    /* BQL */
    struct vhost_dev *dev;      /* from init to cleanup */
    VirtIODevice *vdev;         /* while started; holds a reference */
    MemoryListener listener;    /* from init to cleanup */
    QEMUBH *violation_bh;       /* main loop */
    bool in_error[VHOST_DP_QUEUES]; /* DEVICE_NEEDS_RESET was set for it */
    ErrorReportLimit report_limit;
    ErrorReportLimit violation_limit[VHOST_DP_QUEUES];
    MemoryListener dma_listener;    /* while translator.as is set */
    QEMUBH *miss_bh;            /* main loop */

    /* Scratch space of who resolves misses: the engine, the main loop */
    VhostDPMissWork miss_work[2];

    /* Set once */
    char *name;                 /* for messages: netdev id */
    const VhostDPPairClient *client;
    void *opaque;
} VhostDPPair;

/**
 * vhost_dp_pair_init: make a queue pair that is not set up
 * @name: of the netdev, for messages
 * @client, @opaque: whom to tell
 *
 * Give @pair to vhost_dev_init() as the opaque afterwards.  All descriptors
 * that it will ever have are opened here.
 *
 * Lock: BQL.  Returns false with @errp set if there are too few of them; then
 * there is nothing to destroy.
 */
bool vhost_dp_pair_init(VhostDPPair *pair, const char *name,
                        const VhostDPPairClient *client, void *opaque,
                        Error **errp);

/**
 * vhost_dp_pair_destroy: free what the queue pair holds
 *
 * vhost_dev_cleanup() was called, and the engine has stopped for good.
 * Lock: BQL.
 */
void vhost_dp_pair_destroy(VhostDPPair *pair);

/**
 * vhost_dp_pair_lock: take the lock, for a control operation
 *
 * Makes the engine leave its loop, so that the wait is for the burst in
 * progress and not longer.  Thread: any that holds the BQL, outside
 * of a burst.
 */
void vhost_dp_pair_lock(VhostDPPair *pair);

/**
 * vhost_dp_pair_unlock: release the lock, and let the engine go on
 *
 * Lock: BQL (for the client's resume()).
 */
void vhost_dp_pair_unlock(VhostDPPair *pair);

/**
 * vhost_dp_pair_may_run: may the engine start a burst?
 *
 * Returns false if a control operation waits: the engine has to return to its
 * event loop, and resume() will be called.
 *
 * Thread: the engine's.  Lock: none.
 */
static inline bool vhost_dp_pair_may_run(VhostDPPair *pair)
{
    if (likely(qatomic_read(&pair->want) == 0)) {
        return true;
    }
    qatomic_set(&pair->yielded, true);
    /* Pairs with the barrier in vhost_dp_pair_unlock() */
    smp_mb();
    return qatomic_read(&pair->want) == 0;
}

/**
 * vhost_dp_pair_call: call the guest for the queues that have it pending
 *
 * Lock: the queue pair's.
 */
void vhost_dp_pair_call(VhostDPPair *pair);

/**
 * vhost_dp_pair_report: report queues that a violation broke
 *
 * Sets DEVICE_NEEDS_RESET (virtio 1.3, 2.1.2) and tells the guest, from the
 * main loop.  Other queues, and the control queue, go on.  This one stays
 * broken when the device stops and starts again, until the guest resets it, or
 * the device.
 * Thread: any.  Lock: the queue pair's.
 */
void vhost_dp_pair_report(VhostDPPair *pair);

/**
 * vhost_dp_pair_missed: does the vIOMMU have to be asked?
 *
 * If so, call vhost_dp_pair_resolve() without the lock.
 *
 * Lock: the queue pair's.
 */
static inline bool vhost_dp_pair_missed(const VhostDPPair *pair)
{
    const VhostDPIotlb *iotlb = pair->translator.iotlb;

    return unlikely(iotlb) && vhost_dp_iotlb_has_misses(iotlb);
}

/**
 * vhost_dp_pair_resolve: ask the vIOMMU where missing pages are
 *
 * A vIOMMU may be called with the BQL only, and the engine must not wait for
 * that.  If somebody else has it, the main loop asks in the engine's place.
 *
 * Thread: the engine's.  Lock: none.
 *
 * Returns true if the engine can go on: look at the ring again.  Otherwise it
 * has to return to its event loop, and resume() will be called.
 */
bool vhost_dp_pair_resolve(VhostDPPair *pair);

/**
 * vhost_dp_pair_reset: the device is reset; it does not run
 *
 * Violations are over with it.  Lock: BQL.
 */
void vhost_dp_pair_reset(VhostDPPair *pair);

/**
 * vhost_dp_pair_reset_queue: the guest resets a queue (virtio 1.3, 2.6.1)
 * @index: the queue's number in the device
 *
 * Stops the queue if it was set up.  The other queue goes on.  A violation is
 * over with it, as with a reset of the device: look whether
 * vhost_dp_pair_in_error() is still true of any pair of the device.
 *
 * Lock: BQL.
 */
void vhost_dp_pair_reset_queue(VhostDPPair *pair, unsigned index);

/**
 * vhost_dp_pair_in_error: was DEVICE_NEEDS_RESET set for one of the queues?
 *
 * Lock: BQL.
 */
bool vhost_dp_pair_in_error(const VhostDPPair *pair);

/**
 * vhost_dp_pair_enable_queue: the guest enables a queue after its reset
 * @index: the queue's number in the device
 *
 * Ignored while the device does not run (all queues start with it), and for a
 * queue that is enabled already.  If the queue cannot be started it is left
 * reset, and the device asks for a reset.
 *
 * Lock: BQL.
 */
void vhost_dp_pair_enable_queue(VhostDPPair *pair, unsigned index);

#endif /* HW_VIRTIO_VHOST_DP_PAIR_H */
