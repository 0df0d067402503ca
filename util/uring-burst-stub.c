/*
 * Bursts of reads and writes on one file: QEMU was built without liburing
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/uring-burst.h"

UringBurst *uring_burst_new(int fd, unsigned depth, Error **errp)
{
    error_setg(errp, "QEMU was built without io_uring");
    return NULL;
}

bool uring_burst_register(UringBurst *ub, void *buf, size_t len)
{
    g_assert_not_reached();
}

bool uring_burst_run(UringBurst *ub, UringBurstOp *ops, unsigned n)
{
    g_assert_not_reached();
}

void uring_burst_free(UringBurst *ub)
{
}
