/*
 * Memory regions: a later name of exec/memory.h
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COMPAT_SYSTEM_MEMORY_H
#define COMPAT_SYSTEM_MEMORY_H

#include "exec/memory.h"

#endif /* COMPAT_SYSTEM_MEMORY_H */
