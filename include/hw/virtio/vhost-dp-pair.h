/*
 * vhost-dp: the protocol state of one queue pair
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A VhostDPPair is the device end of the vhost protocol (VhostOps) for one
 * vhost_dev, which is one queue pair.  It holds the state that the protocol has
 * set up.  Its client, the engine, moves the frames.  Two parties use it:
 *
 * - control: VhostOps, called by whoever holds the BQL (main loop, vCPUs, the
 *   migration thread).  Control raises @want, takes @lock, and changes what a
 *   burst uses.
 * - the engine: one IOThread, which holds @lock for one burst at a time and
 *   never waits for the BQL.  It calls vhost_dp_pair_may_run() before each
 *   burst.
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

/* Callbacks to the engine */
typedef struct VhostDPPairClient {
    /*
     * The protocol state has changed.  Called by control, with the BQL and
     * without the pair's lock.
     */
    void (*changed)(void *opaque);

    /*
     * An engine that vhost_dp_pair_may_run() or vhost_dp_pair_resolve() has
     * stopped may go on.  Called by control, with the BQL and without the
     * pair's lock.
     */
    void (*resume)(void *opaque);
} VhostDPPairClient;

/*
 * Descriptors for the kicks of one queue.  Both are open as long as the pair
 * exists, so a queue can be started when no descriptor is left, and restarts
 * need no more of them while the engine gets no CPU.  A start replaces the file
 * behind the descriptor that the engine does not watch.
 */
typedef struct VhostDPKick {
    int slot[2];                /* owned */
    int fd;                     /* the slot that is kicked, or -1 */
    int watched;                /* the slot that the engine watches, or -1 */
} VhostDPKick;

typedef struct VhostDPPair {
    QemuMutex lock;
    unsigned want;              /* atomic: control operations that wait */
    bool yielded;               /* atomic: the engine has stopped for them */

    /* Guarded by lock; changed by control */
    VhostDPMemory *mem;         /* while started, otherwise NULL */
    bool started;
    bool enabled;               /* by the guest: multiqueue */
    uint32_t generation[VHOST_DP_QUEUES];   /* number of starts */
    uint64_t features;          /* negotiated */
    bool legacy_big_endian[VHOST_DP_QUEUES];
    VhostDPKick kick[VHOST_DP_QUEUES];  /* watched: changed by the engine */
    /*
     * Owned by virtio; -1: no interrupt.  While the device is stopped, the
     * masked notifiers of vhost.c, which are always open.
     */
    int call_fd[VHOST_DP_QUEUES];

    /* Guarded by lock; changed by both */
    VhostDPVring vq[VHOST_DP_QUEUES];
    /*
     * The guest has to be called for used buffers of a running queue.  Used
     * buffers may also wait for the decision to call: vq[].undecided.
     */
    bool call_pending[VHOST_DP_QUEUES];
    VhostDPTranslator translator;   /* see vhost-dp-translate.h for locks */

    /* Counters, written under lock: see vhost_dp_count() */
    uint64_t calls[VHOST_DP_QUEUES];

    /* BQL */
    struct vhost_dev *dev;      /* from init to cleanup */
    VirtIODevice *vdev;         /* while started; holds a reference */
    MemoryListener listener;    /* from init to cleanup */
    QEMUBH *violation_bh;       /* main loop */
    bool in_error[VHOST_DP_QUEUES]; /* caused DEVICE_NEEDS_RESET */
    ErrorReportLimit report_limit;
    ErrorReportLimit violation_limit[VHOST_DP_QUEUES];
    MemoryListener dma_listener;    /* while translator.as is set */
    QEMUBH *miss_bh;            /* main loop */

    /* Scratch space for resolving misses: of the engine, of the main loop */
    VhostDPMissWork miss_work[2];

    /* Set once */
    char *name;                 /* the netdev's id, for messages */
    const VhostDPPairClient *client;
    void *opaque;
} VhostDPPair;

/**
 * vhost_dp_pair_init: initialise a queue pair without queues
 * @name: the netdev's id, for messages
 * @client, @opaque: callbacks, and their argument
 *
 * Pass @pair to vhost_dev_init() as the opaque afterwards.  All descriptors
 * that the pair will ever have are opened here.
 *
 * Lock: BQL.  Returns false with @errp set if there are not enough descriptors;
 * then there is nothing to destroy.
 */
bool vhost_dp_pair_init(VhostDPPair *pair, const char *name,
                        const VhostDPPairClient *client, void *opaque,
                        Error **errp);

/**
 * vhost_dp_pair_destroy: free what the queue pair holds
 *
 * Called after vhost_dev_cleanup(), when the engine has stopped for good.
 * Lock: BQL.
 */
void vhost_dp_pair_destroy(VhostDPPair *pair);

/**
 * vhost_dp_pair_lock: take the lock, for a control operation
 *
 * Makes the engine leave its loop, so the caller waits for the burst in
 * progress only.  Thread: any that holds the BQL, outside of a burst.
 */
void vhost_dp_pair_lock(VhostDPPair *pair);

/**
 * vhost_dp_pair_unlock: release the lock, and let the engine go on
 *
 * Calls the client's resume() if the engine has stopped for the caller.
 * Lock: BQL, and the pair's, which is released.
 */
void vhost_dp_pair_unlock(VhostDPPair *pair);

/**
 * vhost_dp_pair_may_run: may the engine start a burst?
 *
 * Returns false if a control operation waits.  The engine then has to return
 * to its event loop, and resume() will be called.
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
 * vhost_dp_pair_call: call the guest for queues with call_pending
 *
 * Lock: the queue pair's.
 */
void vhost_dp_pair_call(VhostDPPair *pair);

/**
 * vhost_dp_pair_call_held: call the guest now, also where calls are delayed
 *
 * For queues with VhostDPVring.hold_calls, decides whether the guest wants to
 * be called for what they have used.
 *
 * Lock: the queue pair's.
 */
void vhost_dp_pair_call_held(VhostDPPair *pair);

/**
 * vhost_dp_pair_report: report queues that a violation has broken
 *
 * A bottom half in the main loop sets DEVICE_NEEDS_RESET (virtio 1.3, 2.1.2)
 * and notifies the guest.  Other queues, and the control queue, go on.  A
 * broken queue stays broken when the device stops and starts again, until the
 * guest resets the queue or the device.
 * Thread: any.  Lock: the queue pair's.
 */
void vhost_dp_pair_report(VhostDPPair *pair);

/**
 * vhost_dp_pair_missed: are there translations to ask the vIOMMU for?
 *
 * If so, call vhost_dp_pair_resolve() without the pair's lock.
 *
 * Lock: the queue pair's.
 */
static inline bool vhost_dp_pair_missed(const VhostDPPair *pair)
{
    const VhostDPIotlb *iotlb = pair->translator.iotlb;

    return unlikely(iotlb) && vhost_dp_iotlb_has_misses(iotlb);
}

/**
 * vhost_dp_pair_resolve: ask the vIOMMU for missing translations
 *
 * A vIOMMU must be called with the BQL held, and the engine must not wait for
 * the BQL.  If somebody else holds it, the main loop asks in the engine's
 * place.
 *
 * Thread: the engine's.  Lock: none.
 *
 * Returns true if the engine can look at the ring again at once.  Otherwise it
 * has to return to its event loop, and resume() will be called.
 */
bool vhost_dp_pair_resolve(VhostDPPair *pair);

/**
 * vhost_dp_pair_reset: the device, which does not run, is reset
 *
 * Ends all violations.  Lock: BQL.
 */
void vhost_dp_pair_reset(VhostDPPair *pair);

/**
 * vhost_dp_pair_reset_queue: the guest resets a queue (virtio 1.3, 2.6.1)
 * @index: the queue's number in the device
 *
 * Stops the queue if it was set up, and ends its violation; the other queue
 * goes on.  The caller clears DEVICE_NEEDS_RESET if vhost_dp_pair_in_error() is
 * false for all pairs of the device.
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
 * Ignored while the device does not run, since all queues start with it, and
 * for a queue that is enabled already.  If the queue cannot be started it stays
 * reset, and the device asks the guest for a reset.
 *
 * Lock: BQL.
 */
void vhost_dp_pair_enable_queue(VhostDPPair *pair, unsigned index);

#endif /* HW_VIRTIO_VHOST_DP_PAIR_H */
