/*
 * Errors that somebody else can cause again and again
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report-limited.h"

#define INTERVAL_US (60 * G_USEC_PER_SEC)

bool error_report_limited_cond(int64_t *next, const char *fmt, ...)
{
    int64_t now = g_get_monotonic_time();
    va_list ap;

    if (now < *next) {
        return false;
    }
    *next = now + INTERVAL_US;
    va_start(ap, fmt);
    error_vreport(fmt, ap);
    va_end(ap);
    return true;
}
