/*
 * Tests of errors that are reported now and then
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "monitor/monitor.h"
#include "qemu/error-report-limited.h"

static GString *log;

/* In place of a stub */
int error_vprintf(const char *fmt, va_list ap)
{
    size_t before = log->len;

    g_string_append_vprintf(log, fmt, ap);
    return log->len - before;
}

int error_vprintf_unless_qmp(const char *fmt, va_list ap)
{
    return error_vprintf(fmt, ap);
}

static void check_log(const char *text)
{
    g_assert_cmpstr(log->str, ==, text);
    g_string_truncate(log, 0);
}

/* The minute is over */
static void let_pass(ErrorReportLimit *limit)
{
    g_assert_cmpint(limit->next, <=, g_get_monotonic_time() +
                                     60 * G_USEC_PER_SEC);
    limit->next = g_get_monotonic_time();
}

static void test_once_a_minute(void)
{
    ErrorReportLimit limit = {};
    unsigned i;

    g_assert_true(error_report_limited(&limit, "number %d", 0));
    check_log("test: number 0\n");
    for (i = 1; i <= 100; i++) {
        g_assert_false(error_report_limited(&limit, "number %d", i));
    }
    check_log("");
    let_pass(&limit);
    g_assert_true(error_report_limited(&limit, "100 %% of %s", "it"));
    check_log("test: 100 % of it (suppressed before this: 100)\n");
    g_assert_false(error_report_limited(&limit, "again"));
    let_pass(&limit);
    g_assert_true(error_report_limited(&limit, "again"));
    check_log("test: again (suppressed before this: 1)\n");
    let_pass(&limit);
    g_assert_true(error_report_limited(&limit, "and again"));
    check_log("test: and again\n");
}

/* What one object says hides nothing of another */
static void test_each_object(void)
{
    ErrorReportLimit limits[3] = {};
    unsigned i, j;

    for (i = 0; i < 10; i++) {
        for (j = 0; j < ARRAY_SIZE(limits); j++) {
            g_assert_cmpint(error_report_limited(&limits[j], "%u", j), ==, !i);
        }
    }
    check_log("test: 0\ntest: 1\ntest: 2\n");
    for (j = 0; j < ARRAY_SIZE(limits); j++) {
        g_assert_cmpuint(limits[j].suppressed, ==, 9);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* A line begins with it */
    g_set_prgname("test");
    log = g_string_new("");
    g_test_add_func("/error-report-limited/once-a-minute", test_once_a_minute);
    g_test_add_func("/error-report-limited/each-object", test_each_object);
    return g_test_run();
}
