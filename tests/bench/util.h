/*
 * vhost-dp bench: errors, time, and how a run is stopped
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H

/**
 * bench_fail: print "PROGRAM: error: ..." and exit with status 1
 *
 * Functions set with atexit() run, so QEMU does not stay behind.
 */
G_NORETURN void bench_fail(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/**
 * bench_usage: like bench_fail() for a wrong command line; exit status 2
 */
G_NORETURN void bench_usage(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/**
 * bench_check_stop: leave the program if SIGINT, SIGTERM or SIGHUP came
 */
void bench_check_stop(void);

/**
 * bench_catch_signals: let bench_check_stop() know of signals
 */
void bench_catch_signals(void);

/**
 * bench_parse_u64: parse @text, which is the value of @option
 *
 * A suffix k, M or G multiplies by 1000 and so on.  Exits with a message when
 * it is no number between @min and @max.
 */
uint64_t bench_parse_u64(const char *option, const char *text, uint64_t min,
                         uint64_t max);

/**
 * bench_parse_seconds: parse a positive number of seconds, such as 0.5
 */
double bench_parse_seconds(const char *option, const char *text);

/**
 * bench_now: CLOCK_MONOTONIC in ns
 */
static inline int64_t bench_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/**
 * bench_sleep: sleep for @ns nanoseconds, or until a signal comes
 */
void bench_sleep(int64_t ns);

/**
 * bench_pin: let thread @tid (0: this one) run on @cpu alone; -1: anywhere
 */
void bench_pin(pid_t tid, int cpu);

#endif /* BENCH_UTIL_H */
