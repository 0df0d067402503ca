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

bool error_report_limited(ErrorReportLimit *limit, const char *fmt, ...)
{
    int64_t now = g_get_monotonic_time();
    g_autofree char *line = NULL;
    va_list ap;

    if (now < limit->next) {
        limit->suppressed++;
        return false;
    }
    va_start(ap, fmt);
    line = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (limit->suppressed) {
        error_report("%s (suppressed before this: %u)", line,
                     limit->suppressed);
    } else {
        error_report("%s", line);
    }
    limit->next = now + INTERVAL_US;
    limit->suppressed = 0;
    return true;
}
