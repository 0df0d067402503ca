/*
 * Errors that somebody else can cause again and again
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest may make the same line of QEMU's log appear as often as it likes: by
 * starting a device in vain, for instance.  These functions print such a line
 * at most once a minute.  Thread: any that may call error_report(), one at a
 * time for the same line.
 */

#ifndef QEMU_ERROR_REPORT_LIMITED_H
#define QEMU_ERROR_REPORT_LIMITED_H

#include "qemu/error-report.h"

/**
 * error_report_limited_cond: like error_report(), but only now and then
 * @next: 0 at first; when the next line may be printed
 *
 * For lines of which each object has its own.
 *
 * Returns whether the line was printed.
 */
bool error_report_limited_cond(int64_t *next, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

/* The same, with a @next for each place in the source */
#define error_report_limited(fmt, ...)                  \
    ({                                                  \
        static int64_t next_line_;                      \
        error_report_limited_cond(&next_line_,          \
                                  fmt, ##__VA_ARGS__);  \
    })

#endif /* QEMU_ERROR_REPORT_LIMITED_H */
