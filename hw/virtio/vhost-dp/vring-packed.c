/*
 * vhost-dp: packed virtqueues with guest-physical addresses
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: see vring-packed.c.inc.
 */

#include "qemu/osdep.h"

#define VRING_IOMMU false
#include "vring-packed.c.inc"

const VhostDPVringOps vhost_dp_vring_packed_ops = PACKED_OPS;
