/*
 * vhost-dp bench: a load generator that is a guest's virtio-net driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * This file starts QEMU, finds the threads whose CPU time counts, runs the
 * traffic (traffic.c, latency.c), and writes the result.
 *
 * The data path's threads are: those that query-vhost-dp names, if the netdev
 * is ours; those that --thread names, if it is another process; otherwise
 * QEMU's main thread.
 */

#include "qemu/osdep.h"
#include <dirent.h>
#include <sys/prctl.h>
#include "options.h"
#include "traffic.h"
#include "util.h"

static pid_t during_pid;

/* ---- Threads ---- */

/* --thread PID:NAME */
static void add_named_threads(ThreadSet *set, const char *what)
{
    g_auto(GStrv) part = g_strsplit(what, ":", 2);
    g_autofree char *path = NULL;
    unsigned before = set->n;
    struct dirent *entry;
    pid_t pid;
    DIR *dir;

    if (!part[0] || !part[1] || !(pid = atoi(part[0]))) {
        bench_usage("--thread %s: give PID:NAME", what);
    }
    path = g_strdup_printf("/proc/%d/task", (int)pid);
    dir = opendir(path);
    if (!dir) {
        bench_fail("--thread %s: there is no such process", what);
    }
    while ((entry = readdir(dir))) {
        pid_t tid = atoi(entry->d_name);
        char name[32];

        if (tid > 0) {
            machine_thread_name(pid, tid, name);
            if (g_str_has_prefix(name, part[1])) {
                threads_add(set, pid, tid);
            }
        }
    }
    closedir(dir);
    if (set->n == before) {
        bench_fail("--thread %s: the process has no such thread", what);
    }
}

/* Every "thread-id" of @reply; query-vhost-dp names the netdev's only */
static void add_vhost_dp_threads(ThreadSet *set, pid_t pid, const char *reply)
{
    static const char key[] = "\"thread-id\": ";
    const char *at = reply;

    while ((at = strstr(at, key))) {
        pid_t tid = atoi(at += strlen(key));
        bool known = false;
        unsigned i;

        for (i = 0; i < set->n; i++) {
            known |= set->thread[i].tid == tid;
        }
        if (!known) {
            threads_add(set, pid, tid);
        }
    }
}

static char *query_vhost_dp(Load *l)
{
    return machine_qmp(&l->machine, "{\"execute\": \"query-vhost-dp\"}");
}

static void find_threads(Load *l)
{
    const Options *o = l->o;
    g_autofree char *reply = query_vhost_dp(l);
    unsigned i;

    for (i = 0; i < o->threads->len; i++) {
        add_named_threads(&l->data_threads,
                          g_ptr_array_index(o->threads, i));
    }
    if (!l->data_threads.n) {
        add_vhost_dp_threads(&l->data_threads, l->machine.pid, reply);
    }
    if (!l->data_threads.n) {
        threads_add(&l->data_threads, l->machine.pid, l->machine.pid);
    }
    threads_add_process(&l->all_threads, l->machine.pid);

    for (i = 0; i < l->all_threads.n; i++) {
        bench_pin(l->all_threads.thread[i].tid, o->cpu);
    }
    for (i = 0; i < l->data_threads.n; i++) {
        /* A second one may go anywhere */
        if (l->data_threads.n == 1) {
            bench_pin(l->data_threads.thread[i].tid, o->data_cpu);
        }
    }
    bench_pin(0, o->cpu);
}

/* ---- --during ---- */

static void during_stop(void)
{
    int64_t end = bench_now() + 20 * 1000000000LL;

    if (during_pid <= 0) {
        return;
    }
    kill(-during_pid, SIGINT);
    while (waitpid(during_pid, NULL, WNOHANG) == 0) {
        if (bench_now() > end) {
            kill(-during_pid, SIGKILL);
        }
        bench_sleep(10000000);
    }
    during_pid = 0;
}

static void during_start(Load *l)
{
    g_autoptr(GString) tids = g_string_new("");
    g_autofree char *pid = g_strdup_printf("%d", (int)l->machine.pid);
    unsigned i;

    if (!l->o->during) {
        return;
    }
    for (i = 0; i < l->data_threads.n; i++) {
        g_string_append_printf(tids, "%s%d", i ? "," : "",
                               (int)l->data_threads.thread[i].tid);
    }
    atexit(during_stop);
    during_pid = fork();
    if (during_pid < 0) {
        bench_fail("fork: %s", strerror(errno));
    }
    if (during_pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("LOADGEN_PID", pid, 1);
        setenv("LOADGEN_TIDS", tids->str, 1);
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execl("/bin/sh", "sh", "-c", l->o->during, NULL);
        _exit(127);
    }
    setpgid(during_pid, during_pid);
    /* It has to get hold of the threads */
    bench_sleep(500000000);
}

/* ---- The result ---- */

static void print_threads(Load *l, FILE *out)
{
    unsigned i;

    fprintf(out, "  \"threads\": [");
    for (i = 0; i < l->data_threads.n; i++) {
        fprintf(out, "%s\"%s\"", i ? ", " : "", l->data_threads.thread[i].name);
    }
    fprintf(out, "],\n");
}

static void print_counters(Load *l, FILE *out)
{
    g_autofree char *reply = query_vhost_dp(l);
    char *value = strstr(reply, "\"return\": ");

    if (value) {
        char *end = strrchr(reply, '}');

        *end = '\0';
        fprintf(out, "  \"vhost-dp\": %s,\n", value + strlen("\"return\": "));
    }
}

static void print_result(Load *l, FILE *out)
{
    const Options *o = l->o;
    Result *r = &l->result;
    double seconds = r->wall_ns / 1e9;
    double cpu = r->data.cpu_ns / 1e9;
    uint64_t packets = r->tx_packets + r->rx_packets;
    uint64_t bytes = r->tx_bytes + r->rx_bytes;

    fprintf(out, "{\n  \"mode\": \"%s\",\n  \"ring\": \"%s\",\n"
            "  \"size\": %u,\n  \"gso\": %u,\n  \"pairs\": %u,\n",
            options_mode_name(o), o->packed ? "packed" : "split",
            o->shape.size, o->shape.gso_size, o->pairs);
    fprintf(out, "  \"packets\": %" PRIu64 ",\n  \"tx_packets\": %" PRIu64
            ",\n  \"rx_packets\": %" PRIu64 ",\n  \"bytes\": %" PRIu64 ",\n",
            packets, r->tx_packets, r->rx_packets, bytes);
    if (seconds > 0) {
        fprintf(out, "  \"seconds\": %.6f,\n  \"cpu_seconds\": %.6f,\n"
                "  \"qemu_cpu_seconds\": %.6f,\n  \"wakeups\": %" PRIu64 ",\n"
                "  \"qemu_wakeups\": %" PRIu64 ",\n"
                "  \"packets_per_second\": %.1f,\n"
                "  \"gbit_per_second\": %.4f,\n",
                seconds, cpu, r->all.cpu_ns / 1e9, r->data.wakeups,
                r->all.wakeups, packets / seconds, bytes * 8e-9 / seconds);
    }
    if (packets && cpu > 0) {
        fprintf(out, "  \"packets_per_cpu_second\": %.1f,\n",
                packets / cpu);
    }
    samples_print(&r->latency, "latency_us", out);
    samples_print(&r->back, "back_latency_us", out);
    print_threads(l, out);
    print_counters(l, out);
    fprintf(out, "  \"device_polls\": %s,\n  \"kicks\": %" PRIu64
            ",\n  \"slow_kicks\": %" PRIu64 "\n}\n",
            l->notify.polls ? "true" : "false", l->notify.kicks,
            l->notify.slow_kicks);
}

static void write_result(Load *l)
{
    FILE *out = stdout;

    if (l->o->output) {
        out = fopen(l->o->output, "w");
        if (!out) {
            bench_fail("--output %s: %s", l->o->output, strerror(errno));
        }
    }
    print_result(l, out);
    if (fflush(out) || (out != stdout && fclose(out))) {
        bench_fail("cannot write the result: %s", strerror(errno));
    }
}

static char *device_argument(const Options *o)
{
    /* Everything that could be negotiated is offered */
    return g_strdup_printf("virtio-net-device,netdev=%s,id=loadgen-nic,"
                           "mac=52:54:00:12:34:56%s%s%s%s", o->netdev,
                           o->packed ? ",packed=on" : "",
                           o->pairs > 1 ? ",mq=on" : "",
                           o->device ? "," : "", o->device ? o->device : "");
}

int main(int argc, char **argv)
{
    g_autofree char *device = NULL;
    Options o;
    Load l = { .o = &o };

    g_set_prgname("vhost-dp-loadgen");
    options_parse(&o, argc, argv);
    bench_catch_signals();
    device = device_argument(&o);
    machine_start(&l.machine, o.argv, (uint64_t)o.memory << 20, device);
    load_init(&l);
    find_threads(&l);
    during_start(&l);
    load_run(&l);
    during_stop();
    load_check(&l);
    write_result(&l);
    machine_stop(&l.machine);
    return 0;
}
