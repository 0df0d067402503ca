/*
 * vhost-dp bench: errors, time, and how a run is stopped
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A measuring program has nobody to hand an error to: it says what is wrong
 * and exits.  Whatever has to be undone is undone by atexit() functions or by
 * the kernel (descriptors, children with a death signal).
 */

#include "qemu/osdep.h"
#include <sched.h>
#include "util.h"

static volatile sig_atomic_t stop_signal;

static void G_GNUC_PRINTF(2, 0) fail(const char *kind, const char *fmt,
                                     va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(fmt, ap);

    fflush(stdout);
    fprintf(stderr, "%s: %s%s\n", g_get_prgname(), kind, text);
}

void bench_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail("error: ", fmt, ap);
    va_end(ap);
    exit(1);
}

void bench_usage(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail("", fmt, ap);
    va_end(ap);
    fprintf(stderr, "Try '%s --help'.\n", g_get_prgname());
    exit(2);
}

static void on_signal(int sig)
{
    stop_signal = sig;
}

void bench_catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal };

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void bench_check_stop(void)
{
    if (unlikely(stop_signal)) {
        fprintf(stderr, "%s: stopped by %s\n", g_get_prgname(),
                strsignal(stop_signal));
        exit(128 + stop_signal);
    }
}

uint64_t bench_parse_u64(const char *option, const char *text, uint64_t min,
                         uint64_t max)
{
    static const char suffixes[] = "kMG";
    uint64_t value, factor = 1;
    char *end;

    errno = 0;
    value = g_ascii_strtoull(text, &end, 10);
    if (end != text && *end && strchr(suffixes, *end)) {
        unsigned i;

        for (i = 0; i <= strchr(suffixes, *end) - suffixes; i++) {
            factor *= 1000;
        }
        end++;
    }
    if (end == text || *end || errno || *text == '-') {
        bench_usage("%s %s: this is no number", option, text);
    }
    if (value > UINT64_MAX / factor || value * factor < min ||
        value * factor > max) {
        bench_usage("%s %s is out of range: %" PRIu64 " to %" PRIu64, option,
                    text, min, max);
    }
    return value * factor;
}

double bench_parse_seconds(const char *option, const char *text)
{
    char *end;
    double value = g_ascii_strtod(text, &end);

    if (end == text || *end || !(value > 0) || value > 86400) {
        bench_usage("%s %s: give a number of seconds, such as 0.5, up to "
                    "86400", option, text);
    }
    return value;
}

void bench_sleep(int64_t ns)
{
    struct timespec ts = {
        .tv_sec = ns / 1000000000,
        .tv_nsec = ns % 1000000000,
    };

    nanosleep(&ts, NULL);
}

void bench_pin(pid_t tid, int cpu)
{
    cpu_set_t set;

    if (cpu < 0) {
        return;
    }
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(tid, sizeof(set), &set) < 0) {
        bench_fail("cannot pin thread %d to CPU %d: %s", (int)tid, cpu,
                   strerror(errno));
    }
}
