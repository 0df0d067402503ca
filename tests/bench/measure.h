/*
 * vhost-dp bench: CPU time, wake-ups, distributions
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#define MEASURE_MAX_THREADS 64

/* Threads whose CPU time is measured */
typedef struct ThreadSet {
    unsigned n;
    struct {
        pid_t pid;
        pid_t tid;
        char name[32];
    } thread[MEASURE_MAX_THREADS];
} ThreadSet;

typedef struct Usage {
    int64_t cpu_ns;
    uint64_t wakeups;           /* times that a thread had gone to sleep */
    uint64_t preempted;         /* times that it was made to wait */
} Usage;

/**
 * threads_add: add a thread; exits with a message when there is none
 */
void threads_add(ThreadSet *set, pid_t pid, pid_t tid);

/**
 * threads_add_process: add all threads of a process
 */
void threads_add_process(ThreadSet *set, pid_t pid);

/**
 * threads_usage: what the threads used up to now
 *
 * Exact while they sleep; the CPU time of one that runs can be behind by a
 * timer tick.
 */
void threads_usage(const ThreadSet *set, Usage *usage);

/**
 * usage_add: add what was used between @from and @to
 */
void usage_add(Usage *sum, const Usage *from, const Usage *to);

/* Times in ns */
typedef struct Samples {
    GArray *ns;                 /* of int64_t */
} Samples;

void samples_init(Samples *s);
void samples_add(Samples *s, int64_t ns);

/**
 * samples_print: write @name and the distribution as a member of a JSON object
 *
 * In microseconds; 51 points of the distribution, for a plot.
 */
void samples_print(Samples *s, const char *name, FILE *out);

#endif /* BENCH_MEASURE_H */
