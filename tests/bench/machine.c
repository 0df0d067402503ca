/*
 * vhost-dp bench: the QEMU under test
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Everything that QEMU shares with this program is a descriptor that it
 * inherits (sockets for qtest and QMP, the memory file), so nothing is left in
 * the file system.  The child asks the kernel to be killed when its parent
 * ends.
 */

#include "qemu/osdep.h"
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "qemu/units.h"
#include "machine.h"
#include "util.h"

/* Rings and buffers start above what firmware and BIOS regions use */
#define RAM_FIRST (16 * MiB)

static Machine *running;

static void explain_end(Machine *m)
{
    int status = 0;

    if (m->pid > 0 && waitpid(m->pid, &status, 0) == m->pid) {
        m->pid = 0;
    }
    if (WIFSIGNALED(status)) {
        bench_fail("QEMU was killed by %s", strsignal(WTERMSIG(status)));
    }
    bench_fail("QEMU ended with exit status %d%s", WEXITSTATUS(status),
               WEXITSTATUS(status) ? "; its message is above" : "");
}

/* ---- qtest ---- */

/* Send a line, return the reply */
static void qtest_command(Machine *m, char *reply, size_t size,
                          const char *fmt, ...) G_GNUC_PRINTF(4, 5);

static void qtest_command(Machine *m, char *reply, size_t size,
                          const char *fmt, ...)
{
    char line[128];
    size_t have = 0;
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (write(m->qtest_fd, line, len) != len) {
        explain_end(m);
    }
    for (;;) {
        ssize_t n = read(m->qtest_fd, reply + have, size - 1 - have);

        if (n < 0 && errno == EINTR) {
            bench_check_stop();
            continue;
        }
        if (n <= 0) {
            explain_end(m);
        }
        have += n;
        reply[have] = '\0';
        if (reply[have - 1] == '\n') {
            break;
        }
        if (have == size - 1) {
            bench_fail("qtest: a reply is too long: %s", reply);
        }
    }
    if (!g_str_has_prefix(reply, "OK")) {
        bench_fail("qtest: %.*s: %s", len - 1, line, reply);
    }
}

uint32_t machine_readl(Machine *m, uint64_t addr)
{
    char reply[64];

    qtest_command(m, reply, sizeof(reply), "readl 0x%" PRIx64 "\n", addr);
    return strtoull(reply + 3, NULL, 16);
}

uint16_t machine_readw(Machine *m, uint64_t addr)
{
    char reply[64];

    qtest_command(m, reply, sizeof(reply), "readw 0x%" PRIx64 "\n", addr);
    return strtoull(reply + 3, NULL, 16);
}

void machine_writel(Machine *m, uint64_t addr, uint32_t value)
{
    char reply[64];

    qtest_command(m, reply, sizeof(reply), "writel 0x%" PRIx64 " 0x%x\n",
                  addr, value);
}

/* ---- QMP ---- */

static char *qmp_line(Machine *m)
{
    char *line = NULL;
    size_t size = 0;

    for (;;) {
        if (getline(&line, &size, m->qmp) < 0) {
            free(line);
            bench_check_stop();
            explain_end(m);
        }
        if (!strstr(line, "\"event\":")) {
            char *copy = g_strdup(g_strchomp(line));

            free(line);
            return copy;
        }
    }
}

char *machine_qmp(Machine *m, const char *command)
{
    /* Between a read and a write the stream has to be repositioned */
    fflush(m->qmp);
    if (fprintf(m->qmp, "%s\n", command) < 0 || fflush(m->qmp) < 0) {
        explain_end(m);
    }
    return qmp_line(m);
}

static void qmp_greet(Machine *m)
{
    g_autofree char *greeting = qmp_line(m);
    g_autofree char *reply = NULL;

    if (!strstr(greeting, "\"QMP\"")) {
        bench_fail("QMP: no greeting, but %s", greeting);
    }
    reply = machine_qmp(m, "{\"execute\": \"qmp_capabilities\"}");
    if (!strstr(reply, "\"return\"")) {
        bench_fail("QMP: qmp_capabilities: %s", reply);
    }
}

/* ---- RAM ---- */

static int ram_new(Machine *m, uint64_t size)
{
    int fd = memfd_create("loadgen-ram", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, size) < 0) {
        bench_fail("cannot make guest RAM: %s", strerror(errno));
    }
    m->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m->ram == MAP_FAILED) {
        bench_fail("cannot map guest RAM: %s", strerror(errno));
    }
    m->ram_size = size;
    m->ram_next = RAM_FIRST;
    return fd;
}

void *machine_alloc(Machine *m, size_t size, size_t align, uint64_t *gpa)
{
    *gpa = ROUND_UP(m->ram_next, align);
    if (*gpa + size > m->ram_size) {
        bench_fail("guest RAM is too small for these buffers; give "
                   "--memory more than %" PRIu64 " MiB",
                   m->ram_size / MiB);
    }
    m->ram_next = *gpa + size;
    /* Touched now, so that no page fault is part of a measurement */
    memset(m->ram + *gpa, 0, size);
    return m->ram + *gpa;
}

/* ---- The process ---- */

static void machine_kill(void)
{
    if (running && running->pid > 0) {
        kill(running->pid, SIGKILL);
        waitpid(running->pid, NULL, 0);
        running->pid = 0;
    }
}

static void child_keep(int fd)
{
    fcntl(fd, F_SETFD, 0);
}

static void child_exec(char *const *argv, pid_t parent)
{
    /* A terminal's Ctrl-C is for the parent, which ends us in order */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    execvp(argv[0], argv);
    fprintf(stderr, "%s: cannot run %s: %s\n", g_get_prgname(), argv[0],
            strerror(errno));
    _exit(127);
}

static void add(GPtrArray *args, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static void add(GPtrArray *args, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_ptr_array_add(args, g_strdup_vprintf(fmt, ap));
    va_end(ap);
}

void machine_start(Machine *m, char *const *argv, uint64_t ram_size,
                   const char *device)
{
    g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func(g_free);
    pid_t parent = getpid();
    int qtest[2], qmp[2];
    int ram_fd = ram_new(m, ram_size);

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qtest) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp) < 0) {
        bench_fail("socketpair: %s", strerror(errno));
    }

    /* Ours first: objects that the caller's arguments need come with those */
    add(args, "%s", *argv++);
    add(args, "-nodefaults");
    add(args, "-no-user-config");
    add(args, "-display");
    add(args, "none");
    add(args, "-accel");
    add(args, "qtest");
    add(args, "-name");
    add(args, "loadgen,debug-threads=on");
    add(args, "-m");
    add(args, "%" PRIu64 "M", ram_size / MiB);
    add(args, "-object");
    add(args, "memory-backend-file,id=loadgen-ram,size=%" PRIu64 "M,share=on,"
        "mem-path=/proc/self/fd/%d", ram_size / MiB, ram_fd);
    add(args, "-machine");
    add(args, "microvm,memory-backend=loadgen-ram");
    add(args, "-chardev");
    add(args, "socket,id=loadgen-qtest,fd=%d", qtest[1]);
    add(args, "-qtest");
    add(args, "chardev:loadgen-qtest");
    add(args, "-qtest-log");
    add(args, "none");
    add(args, "-chardev");
    add(args, "socket,id=loadgen-qmp,fd=%d", qmp[1]);
    add(args, "-mon");
    add(args, "chardev=loadgen-qmp,mode=control");
    add(args, "-global");
    add(args, "virtio-mmio.force-legacy=false");
    while (*argv) {
        add(args, "%s", *argv++);
    }
    add(args, "-device");
    add(args, "%s", device);
    g_ptr_array_add(args, NULL);

    running = m;
    atexit(machine_kill);
    m->pid = fork();
    if (m->pid < 0) {
        bench_fail("fork: %s", strerror(errno));
    }
    if (m->pid == 0) {
        child_keep(ram_fd);
        child_keep(qtest[1]);
        child_keep(qmp[1]);
        child_exec((char *const *)args->pdata, parent);
    }
    close(ram_fd);
    close(qtest[1]);
    close(qmp[1]);
    m->qtest_fd = qtest[0];
    m->qmp = fdopen(qmp[0], "r+");
    m->pidfd = syscall(SYS_pidfd_open, m->pid, 0);
    if (m->pidfd < 0) {
        bench_fail("pidfd_open: %s (Linux 5.6 or later is needed)",
                   strerror(errno));
    }
    qmp_greet(m);
}

void machine_stop(Machine *m)
{
    kill(m->pid, SIGTERM);
    waitpid(m->pid, NULL, 0);
    m->pid = 0;
}

void machine_thread_name(pid_t pid, pid_t tid, char name[32])
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/comm", (int)pid,
                                            (int)tid);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        text = g_strdup("?");
    }
    g_strlcpy(name, g_strchomp(text), 32);
}
