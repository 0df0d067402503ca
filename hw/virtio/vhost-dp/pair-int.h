/*
 * vhost-dp: what the files of a queue pair share (vhost-ops.c, pair*.c)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each file calls only files that stand below it here:
 *
 *     vhost-ops.c         the functions that vhost.c calls
 *     pair.c              start, stop, memory table, kick fds, reset
 *     pair-iommu.c        when to ask the vIOMMU, when to drop translations
 *     pair-violation.c    queues that the guest's driver has broken
 *     pair-lock.c         the lock, calls to the guest
 *
 * "The pair's" lock is pair->lock.
 */

#ifndef HW_VIRTIO_VHOST_DP_PAIR_INT_H
#define HW_VIRTIO_VHOST_DP_PAIR_INT_H

#include "hw/virtio/vhost.h"
#include "hw/virtio/vhost-dp-pair.h"

/* The queue's name, for messages and trace events */
static inline const char *pair_queue_name(unsigned queue)
{
    return queue == VHOST_DP_RX ? "receive" : "transmit";
}

/* The number in the pair of the device's queue @index */
static inline unsigned pair_queue(const struct vhost_dev *dev, unsigned index)
{
    assert(index >= dev->vq_index && index - dev->vq_index < VHOST_DP_QUEUES);
    return index - dev->vq_index;
}

/* ---- pair.c ---- */

/**
 * vhost_dp_pair_start: start the queues that have a kick fd
 *
 * Lock: BQL, and not the pair's.  Returns 0, or the error of
 * vhost_dp_vring_start() for the queue that did not start; then no queue is
 * started, and the log has the reason.
 */
int vhost_dp_pair_start(VhostDPPair *pair);

/**
 * vhost_dp_pair_stop: stop both queues, and release guest memory
 *
 * When it returns no burst uses a ring, and nobody signals a call fd of
 * virtio's.  Idempotent.  Lock: BQL, and not the pair's.
 */
void vhost_dp_pair_stop(VhostDPPair *pair);

/**
 * vhost_dp_pair_update_memory: follow a change of the guest's memory
 *
 * Does nothing while the pair is stopped.  Lock: BQL, and not the pair's.
 */
void vhost_dp_pair_update_memory(VhostDPPair *pair);

/**
 * vhost_dp_pair_set_kick: replace the kick fd of a queue
 * @fd: still owned by the caller; -1: none
 *
 * Starts the queue if the pair runs without it, which is how the reset of a
 * queue ends.  Lock: BQL, and not the pair's.  Returns 0 or a negative errno.
 * After an error the queue has no kick fd, and if it could not be started the
 * log has the reason.
 */
int vhost_dp_pair_set_kick(VhostDPPair *pair, unsigned queue, int fd);

/* ---- pair-iommu.c ---- */

/* Called once each, by init and destroy of the pair.  Lock: BQL. */
void vhost_dp_pair_iommu_init(VhostDPPair *pair);
void vhost_dp_pair_iommu_destroy(VhostDPPair *pair);

/**
 * vhost_dp_pair_iommu_start: prepare for a vIOMMU, before queues start
 *
 * Does nothing without a vIOMMU.  Lock: BQL, and not the pair's.
 */
void vhost_dp_pair_iommu_start(VhostDPPair *pair);

/**
 * vhost_dp_pair_iommu_attach: after queues started, follow the vIOMMU
 *
 * Lock: BQL, and not the pair's.
 */
void vhost_dp_pair_iommu_attach(VhostDPPair *pair);

/**
 * vhost_dp_pair_iommu_stop: stop using the vIOMMU, after all queues stopped
 *
 * Idempotent.  Lock: BQL, and not the pair's.
 */
void vhost_dp_pair_iommu_stop(VhostDPPair *pair);

/**
 * vhost_dp_pair_iommu_forget: drop the translations of a range
 * @size: bytes.  Zero, or a range that wraps around: drop all.
 *
 * Also called before pair->mem changes.  Lock: the pair's.
 */
void vhost_dp_pair_iommu_forget(VhostDPPair *pair, uint64_t iova,
                                uint64_t size);

/* ---- pair-violation.c ---- */

/**
 * vhost_dp_pair_set_needs_reset: ask the guest to reset the device
 * @queue: the queue in error; see vhost_dp_pair_in_error()
 *
 * Lock: BQL, and not the pair's.
 */
void vhost_dp_pair_set_needs_reset(VhostDPPair *pair, unsigned queue);

/* Called once each, by init and destroy of the pair.  Lock: BQL. */
void vhost_dp_pair_violation_init(VhostDPPair *pair);
void vhost_dp_pair_violation_destroy(VhostDPPair *pair);

#endif /* HW_VIRTIO_VHOST_DP_PAIR_INT_H */
