/*
 * The address spaces: a later name of exec/address-spaces.h
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COMPAT_SYSTEM_ADDRESS_SPACES_H
#define COMPAT_SYSTEM_ADDRESS_SPACES_H

#include "exec/address-spaces.h"

#endif /* COMPAT_SYSTEM_ADDRESS_SPACES_H */
