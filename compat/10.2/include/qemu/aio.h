/*
 * The event loop: a later name of block/aio.h
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COMPAT_QEMU_AIO_H
#define COMPAT_QEMU_AIO_H

#include "block/aio.h"

#endif /* COMPAT_QEMU_AIO_H */
