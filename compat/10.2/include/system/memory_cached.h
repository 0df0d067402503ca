/*
 * Accesses by a MemoryRegionCache: later they have a header of their own
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COMPAT_SYSTEM_MEMORY_CACHED_H
#define COMPAT_SYSTEM_MEMORY_CACHED_H

#include "system/memory.h"

#endif /* COMPAT_SYSTEM_MEMORY_CACHED_H */
