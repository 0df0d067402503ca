/*
 * Unit tests of bursts by io_uring
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "qapi/error.h"
#include "qemu/uring-burst.h"

#define DEPTH 64

/* Datagrams: each operation is a record */
typedef struct Pair {
    int fd[2];
    UringBurst *ub;             /* for fd[0] */
} Pair;

static void pair_new(Pair *p)
{
    Error *err = NULL;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM, 0, p->fd), ==, 0);
    p->ub = uring_burst_new(p->fd[0], DEPTH, &err);
    if (!p->ub) {
        g_error("%s", error_get_pretty(err));
    }
}

static void pair_free(Pair *p)
{
    uring_burst_free(p->ub);
    close(p->fd[0]);
    close(p->fd[1]);
}

static void put_records(int fd, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        g_assert_cmpint(send(fd, &i, sizeof(i), 0), ==, sizeof(i));
    }
}

static void check_records(int fd, unsigned n)
{
    unsigned i, value;

    for (i = 0; i < n; i++) {
        g_assert_cmpint(recv(fd, &value, sizeof(value), MSG_DONTWAIT), ==,
                        sizeof(value));
        g_assert_cmpuint(value, ==, i);
    }
    g_assert_cmpint(recv(fd, &value, sizeof(value), MSG_DONTWAIT), ==, -1);
}

/* As many sizes as there are, many times: the rings wrap around */
static void test_write_in_order(void)
{
    unsigned value[DEPTH];
    UringBurstOp op[DEPTH];
    unsigned n, i;
    Pair p;

    pair_new(&p);
    for (n = 1; n <= 10; n++) {
        for (i = 0; i < n; i++) {
            value[i] = i;
            op[i] = (UringBurstOp) {
                .code = URING_BURST_WRITE,
                .buf = &value[i], .len = sizeof(value[i]),
            };
        }
        g_assert_true(uring_burst_run(p.ub, op, n));
        for (i = 0; i < n; i++) {
            g_assert_cmpint(op[i].result, ==, sizeof(value[i]));
        }
        check_records(p.fd[1], n);
    }
    pair_free(&p);
}

static void test_writev(void)
{
    unsigned value = 3;
    uint8_t *byte = (uint8_t *)&value;
    struct iovec iov[] = {
        { byte, 1 }, { byte + 1, 2 }, { byte + 3, 1 },
    };
    UringBurstOp op = {
        .code = URING_BURST_WRITEV, .buf = iov, .len = ARRAY_SIZE(iov),
    };
    unsigned got = 0;
    Pair p;

    pair_new(&p);
    g_assert_true(uring_burst_run(p.ub, &op, 1));
    g_assert_cmpint(op.result, ==, sizeof(value));
    g_assert_cmpint(recv(p.fd[1], &got, sizeof(got), MSG_DONTWAIT), ==,
                    sizeof(got));
    g_assert_cmpuint(got, ==, value);
    pair_free(&p);
}

/* Reads beyond what is there do not wait, whether O_NONBLOCK is set or not */
static void test_read_does_not_wait(const void *opaque)
{
    bool nonblocking = !strcmp(opaque, "nonblocking");
    unsigned value[DEPTH];
    UringBurstOp op[DEPTH];
    unsigned i, n;
    Pair p;

    pair_new(&p);
    g_assert_true(g_unix_set_fd_nonblocking(p.fd[0], nonblocking, NULL));
    for (n = 0; n <= 10; n++) {
        put_records(p.fd[1], n);
        for (i = 0; i < DEPTH; i++) {
            op[i] = (UringBurstOp) {
                .code = URING_BURST_READ,
                .buf = &value[i], .len = sizeof(value[i]),
            };
        }
        g_assert_true(uring_burst_run(p.ub, op, DEPTH));
        for (i = 0; i < DEPTH; i++) {
            g_assert_cmpint(op[i].result, ==, i < n ? sizeof(value[i]) :
                                                      -EAGAIN);
            if (i < n) {
                g_assert_cmpuint(value[i], ==, i);
            }
        }
    }
    pair_free(&p);
}

/* A line of numbers of /proc/self/status: the first of them */
static uint64_t get_status(const char *name, unsigned base)
{
    g_autofree char *text = NULL;
    g_autofree char *line = g_strdup_printf("\n%s:", name);
    const char *at;

    g_assert_true(g_file_get_contents("/proc/self/status", &text, NULL, NULL));
    at = strstr(text, line);
    g_assert_nonnull(at);
    return g_ascii_strtoull(at + strlen(line), NULL, base);
}

static bool may_lock(void)
{
    g_autofree char *map = NULL;

    return get_status("CapEff", 16) & (1u << CAP_IPC_LOCK) &&
           g_file_get_contents("/proc/self/uid_map", &map, NULL, NULL) &&
           strstr(map, "4294967295");
}

/* In the registered buffer, at its ends, across its end, and elsewhere */
static void test_registered(void)
{
    g_autofree uint8_t *mem = g_malloc0(3 * 4096);
    uint8_t *buf = mem + 4096;
    uint8_t *places[] = {
        buf, buf + 100, buf + 4096 - 4, buf + 4096 - 2, buf + 4096, buf - 4,
        buf - 2,
    };
    unsigned i, value;
    Pair p;

    pair_new(&p);
    g_assert_true(uring_burst_register(p.ub, buf, 4096) == may_lock());
    for (i = 0; i < ARRAY_SIZE(places); i++) {
        UringBurstOp op = { .code = URING_BURST_READ };

        op.buf = places[i];
        op.len = 4;
        g_assert_cmpint(send(p.fd[1], &i, 4, 0), ==, 4);
        g_assert_true(uring_burst_run(p.ub, &op, 1));
        g_assert_cmpint(op.result, ==, 4);
        memcpy(&value, places[i], 4);
        g_assert_cmpuint(value, ==, i);

        op.code = URING_BURST_WRITE;
        g_assert_true(uring_burst_run(p.ub, &op, 1));
        g_assert_cmpint(op.result, ==, 4);
        g_assert_cmpint(recv(p.fd[1], &value, 4, MSG_DONTWAIT), ==, 4);
        g_assert_cmpuint(value, ==, i);
    }
    pair_free(&p);
}

/* One bad operation does not take those behind it along */
static void test_errors_are_single(void)
{
    unsigned value[] = { 0, 1, 2 };
    UringBurstOp op[] = {
        { .code = URING_BURST_WRITE },
        { .code = URING_BURST_WRITE },
        { .code = URING_BURST_WRITE },
    };
    unsigned i;
    Pair p;

    pair_new(&p);
    for (i = 0; i < ARRAY_SIZE(op); i++) {
        op[i].buf = &value[i];
        op[i].len = sizeof(value[i]);
    }
    op[1].buf = (void *)1;
    g_assert_true(uring_burst_run(p.ub, op, ARRAY_SIZE(op)));
    g_assert_cmpint(op[0].result, ==, sizeof(value[0]));
    g_assert_cmpint(op[1].result, ==, -EFAULT);
    g_assert_cmpint(op[2].result, ==, sizeof(value[0]));
    pair_free(&p);
}

/* A file for which every operation may block is refused */
static void test_unsuitable_file(void)
{
    Error *err = NULL;
    int fd = open("/proc/self/comm", O_RDWR);

    g_assert_cmpint(fd, >=, 0);
    g_assert_null(uring_burst_new(fd, DEPTH, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "io_uring"));
    error_free(err);
    close(fd);

    err = NULL;
    g_assert_null(uring_burst_new(-1, DEPTH, &err));
    error_free(err);
}

/*
 * The ring has no reference to the file: of a process that is killed it goes
 * some time after the descriptors, and nobody should have to wait for that
 */
static void test_file_is_free(void)
{
    unsigned i;

    for (i = 0; i < 100; i++) {
        uint8_t byte[DEPTH];
        UringBurstOp op[DEPTH];
        UringBurst *ub;
        unsigned k;
        int fd[2];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), ==, 0);
        g_assert_true(g_unix_set_fd_nonblocking(fd[0], true, NULL));
        ub = uring_burst_new(fd[1], DEPTH, &error_abort);
        for (k = 0; k < DEPTH; k++) {
            op[k] = (UringBurstOp) {
                .code = URING_BURST_READ, .buf = &byte[k], .len = 1,
            };
        }
        g_assert_true(uring_burst_run(ub, op, DEPTH));
        g_assert_cmpint(read(fd[0], byte, 1), ==, -1);
        close(fd[1]);
        g_assert_cmpint(read(fd[0], byte, 1), ==, 0);
        uring_burst_free(ub);
        close(fd[0]);
    }
}

/* From now on system call @nr fails with EPERM */
static void forbid(unsigned nr)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { ARRAY_SIZE(code), code };

    g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
    g_assert_cmpint(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==,
                    0);
}

static void in_child(void (*test)(void))
{
    if (g_test_subprocess()) {
        test();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
}

static void setup_forbidden(void)
{
    Error *err = NULL;
    int fd[2];

    g_assert_cmpint(pipe(fd), ==, 0);
    forbid(SYS_io_uring_setup);
    g_assert_null(uring_burst_new(fd[0], DEPTH, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "not permitted"));
    error_free(err);
}

static void test_setup_forbidden(void)
{
    in_child(setup_forbidden);
}

/* What was not tried says so, and nothing was sent */
static void enter_forbidden(void)
{
    unsigned value[2] = { 0, 1 };
    UringBurstOp op[2] = {
        { .code = URING_BURST_WRITE },
        { .code = URING_BURST_WRITE },
    };
    unsigned i;
    Pair p;

    for (i = 0; i < ARRAY_SIZE(op); i++) {
        op[i].buf = &value[i];
        op[i].len = sizeof(value[i]);
    }
    pair_new(&p);
    forbid(SYS_io_uring_enter);
    g_assert_false(uring_burst_run(p.ub, op, ARRAY_SIZE(op)));
    g_assert_cmpint(op[0].result, ==, -ECANCELED);
    g_assert_cmpint(op[1].result, ==, -ECANCELED);
    pair_free(&p);
    check_records(p.fd[1], 0);
}

static void test_enter_forbidden(void)
{
    in_child(enter_forbidden);
}

/*
 * The limit of locked memory is left to those who cannot do without, whether
 * the buffer would fit or not.
 */
static void register_without_privilege(void)
{
    struct __user_cap_header_struct hdr = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    g_autofree uint8_t *mem = g_malloc0(2 * 4096);
    uint64_t before = get_status("VmPin", 10);
    UringBurstOp op = {
        .code = URING_BURST_READ, .buf = mem + 4096, .len = 4,
    };
    Pair p;

    g_assert_cmpint(syscall(SYS_capget, &hdr, data), ==, 0);
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    g_assert_cmpint(syscall(SYS_capset, &hdr, data), ==, 0);
    pair_new(&p);
    g_assert_false(uring_burst_register(p.ub, mem + 4096, 4096));
    g_assert_cmpuint(get_status("VmPin", 10), ==, before);
    put_records(p.fd[1], 1);
    g_assert_true(uring_burst_run(p.ub, &op, 1));
    g_assert_cmpint(op.result, ==, 4);
    pair_free(&p);
}

static void test_register_without_privilege(void)
{
    in_child(register_without_privilege);
}

/* Where this fails, the rest has nothing to work with */
static char *find_skip_reason(void)
{
    Error *err = NULL;
    int fd[2];
    UringBurst *ub;
    char *why = NULL;

    g_assert_cmpint(pipe(fd), ==, 0);
    ub = uring_burst_new(fd[0], 1, &err);
    if (!ub) {
        why = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    uring_burst_free(ub);
    close(fd[0]);
    close(fd[1]);
    return why;
}

static char *skip_reason;

typedef struct Test {
    const char *path;
    void (*fn)(void);
} Test;

static void run_test(const void *opaque)
{
    const Test *test = opaque;

    if (skip_reason) {
        g_test_skip(skip_reason);
    } else {
        test->fn();
    }
}

static void test_read_blocking(void)
{
    test_read_does_not_wait("blocking");
}

static void test_read_nonblocking(void)
{
    test_read_does_not_wait("nonblocking");
}

int main(int argc, char **argv)
{
    static const Test tests[] = {
        { "/uring-burst/write-in-order", test_write_in_order },
        { "/uring-burst/writev", test_writev },
        { "/uring-burst/read-does-not-wait/blocking", test_read_blocking },
        { "/uring-burst/read-does-not-wait/nonblocking",
          test_read_nonblocking },
        { "/uring-burst/registered", test_registered },
        { "/uring-burst/register-without-privilege",
          test_register_without_privilege },
        { "/uring-burst/errors-are-single", test_errors_are_single },
        { "/uring-burst/unsuitable-file", test_unsuitable_file },
        { "/uring-burst/file-is-free", test_file_is_free },
        { "/uring-burst/setup-forbidden", test_setup_forbidden },
        { "/uring-burst/enter-forbidden", test_enter_forbidden },
    };
    unsigned i;
    int r;

    g_test_init(&argc, &argv, NULL);
    skip_reason = find_skip_reason();
    for (i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add_data_func(tests[i].path, &tests[i], run_test);
    }
    r = g_test_run();
    g_free(skip_reason);
    return r;
}
