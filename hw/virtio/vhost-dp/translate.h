/*
 * vhost-dp: a back end behind a vIOMMU (for backend.c)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VIRTIO_VHOST_DP_TRANSLATE_H
#define HW_VIRTIO_VHOST_DP_TRANSLATE_H

#include "hw/virtio/vhost-dp-backend.h"

struct vhost_iotlb_msg;

/* Called once, and its counterpart.  Lock: BQL. */
void vhost_dp_iommu_init(VhostDPBackend *be);
void vhost_dp_iommu_destroy(VhostDPBackend *be);

/**
 * vhost_dp_iommu_start: before queues start; nothing without a vIOMMU
 *
 * Lock: BQL, and not the queue pair's.
 */
void vhost_dp_iommu_start(VhostDPBackend *be);

/**
 * vhost_dp_iommu_attach: after the queues started, follow what the vIOMMU does
 *
 * Lock: BQL, and not the queue pair's.
 */
void vhost_dp_iommu_attach(VhostDPBackend *be);

/**
 * vhost_dp_iommu_stop: after all queues stopped; idempotent
 *
 * Lock: BQL, and not the queue pair's.
 */
void vhost_dp_iommu_stop(VhostDPBackend *be);

/**
 * vhost_dp_iommu_stop_queue: a queue stopped: it must not fault any more
 *
 * Lock: the queue pair's.
 */
void vhost_dp_iommu_stop_queue(VhostDPBackend *be, unsigned queue);

/**
 * vhost_dp_iommu_flush: forget all translations, before be->mem changes
 *
 * Lock: the queue pair's.
 */
void vhost_dp_iommu_flush(VhostDPBackend *be);

/**
 * vhost_dp_iommu_update: be->mem, or the device's address space, changed
 *
 * Lock: BQL, and the queue pair's.
 */
void vhost_dp_iommu_update(VhostDPBackend *be);

/* VhostOps.vhost_send_device_iotlb_msg: the guest unmapped a range */
int vhost_dp_iommu_message(struct vhost_dev *dev, struct vhost_iotlb_msg *msg);

#endif /* HW_VIRTIO_VHOST_DP_TRANSLATE_H */
