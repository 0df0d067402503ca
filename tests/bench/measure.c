/*
 * vhost-dp bench: CPU time, wake-ups, distributions
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <dirent.h>
#include <math.h>
#include "measure.h"
#include "util.h"

static char *read_thread_file(pid_t pid, pid_t tid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/%s", (int)pid,
                                            (int)tid, name);
    char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        bench_fail("thread %d of process %d is gone", (int)tid, (int)pid);
    }
    return text;
}

void threads_add(ThreadSet *set, pid_t pid, pid_t tid)
{
    g_autofree char *name = read_thread_file(pid, tid, "comm");

    if (set->n == MEASURE_MAX_THREADS) {
        bench_fail("more than %d threads", MEASURE_MAX_THREADS);
    }
    set->thread[set->n].pid = pid;
    set->thread[set->n].tid = tid;
    g_strlcpy(set->thread[set->n].name, g_strchomp(name),
              sizeof(set->thread[0].name));
    set->n++;
}

void threads_add_process(ThreadSet *set, pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    struct dirent *entry;

    if (!dir) {
        bench_fail("%s: %s", path, strerror(errno));
    }
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.') {
            threads_add(set, pid, atoi(entry->d_name));
        }
    }
    closedir(dir);
}

static uint64_t field(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? g_ascii_strtoull(at + strlen(name), NULL, 10) : 0;
}

void threads_usage(const ThreadSet *set, Usage *usage)
{
    unsigned i;

    memset(usage, 0, sizeof(*usage));
    for (i = 0; i < set->n; i++) {
        pid_t pid = set->thread[i].pid;
        pid_t tid = set->thread[i].tid;
        g_autofree char *stat = read_thread_file(pid, tid, "schedstat");
        g_autofree char *status = read_thread_file(pid, tid, "status");

        usage->cpu_ns += g_ascii_strtoull(stat, NULL, 10);
        usage->preempted += field(status, "nonvoluntary_ctxt_switches:\t");
        usage->wakeups += field(status, "\nvoluntary_ctxt_switches:\t");
    }
}

void usage_add(Usage *sum, const Usage *from, const Usage *to)
{
    sum->cpu_ns += to->cpu_ns - from->cpu_ns;
    sum->wakeups += to->wakeups - from->wakeups;
    sum->preempted += to->preempted - from->preempted;
}

void samples_init(Samples *s)
{
    s->ns = g_array_new(false, false, sizeof(int64_t));
}

void samples_add(Samples *s, int64_t ns)
{
    g_array_append_val(s->ns, ns);
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static double quantile_us(Samples *s, double q)
{
    unsigned i = MIN(q * s->ns->len, s->ns->len - 1);

    return g_array_index(s->ns, int64_t, i) / 1000.0;
}

void samples_print(Samples *s, const char *name, FILE *out)
{
    unsigned i;

    if (!s->ns->len) {
        return;
    }
    g_array_sort(s->ns, compare_int64);
    fprintf(out, "  \"%s\": {\"samples\": %u, \"min\": %.3f, "
            "\"median\": %.3f, \"p99\": %.3f, \"p999\": %.3f, "
            "\"max\": %.3f,\n    \"curve\": [", name, s->ns->len,
            quantile_us(s, 0), quantile_us(s, 0.5), quantile_us(s, 0.99),
            quantile_us(s, 0.999), quantile_us(s, 1));
    /* Evenly spaced in the logarithm of what is above: 0 to 99.999 % */
    for (i = 0; i <= 50; i++) {
        double q = 1 - pow(10, i / -10.0);

        if (i && (1 - q) * s->ns->len < 1) {
            break;
        }
        fprintf(out, "%s[%.6f, %.3f]", i ? ", " : "", q, quantile_us(s, q));
    }
    fprintf(out, "]},\n");
}
