/*
 * vhost-dp: packed virtqueues with a vIOMMU's addresses
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: see vring-packed.c.inc.
 */

#include "qemu/osdep.h"

#define VRING_IOMMU true
#include "vring-packed.c.inc"

const VhostDPVringOps vhost_dp_vring_packed_iommu_ops = PACKED_OPS;
