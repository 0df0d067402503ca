/*
 * Errors that somebody else can cause again and again
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest may make the same line of QEMU's log appear as often as it likes: by
 * starting a device in vain, for instance.  Each object that reports such
 * errors has a limit for them, so that one device does not hide the errors of
 * another one.
 */

#ifndef QEMU_ERROR_REPORT_LIMITED_H
#define QEMU_ERROR_REPORT_LIMITED_H

#include "qemu/error-report.h"

/* All zeroes at first; nothing has to be freed */
typedef struct ErrorReportLimit {
    int64_t next;               /* when a line may be printed, monotonic us */
    unsigned suppressed;        /* lines that were not, since the last one */
} ErrorReportLimit;

/**
 * error_report_limited: like error_report(), but at most once a minute
 * @limit: of the object that reports it
 *
 * The line that is printed next says how many were suppressed before it.
 *
 * Thread: any that may call error_report(), one at a time for the same @limit.
 *
 * Returns whether the line was printed.
 */
bool error_report_limited(ErrorReportLimit *limit, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

#endif /* QEMU_ERROR_REPORT_LIMITED_H */
