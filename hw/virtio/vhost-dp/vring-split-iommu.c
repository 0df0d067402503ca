/*
 * vhost-dp: split virtqueues with a vIOMMU's addresses
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: see vring-split.c.inc.
 */

#include "qemu/osdep.h"

#define VRING_IOMMU true
#include "vring-split.c.inc"

const VhostDPVringOps vhost_dp_vring_split_iommu_ops = SPLIT_OPS;
