/*
 * Devices: a later name of hw/qdev-core.h
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COMPAT_HW_CORE_QDEV_H
#define COMPAT_HW_CORE_QDEV_H

#include "hw/qdev-core.h"

#endif /* COMPAT_HW_CORE_QDEV_H */
