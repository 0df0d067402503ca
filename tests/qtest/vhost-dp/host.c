/*
 * vhost-dp: qtests, tests in namespaces of their own, and QEMU's privileges
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "libqtest.h"
#include "host.h"

/* Set: this process is in a user namespace; or why it is not */
#define NAMESPACE_VARIABLE "VHOST_DP_QTEST_NAMESPACE"

#define WRAPPER_OPTION "--without-net-admin"
#define WRAPPER_VARIABLE "VHOST_DP_QTEST_QEMU_UNPRIVILEGED"
#define URING_OPTION "--without-io-uring"
#define URING_VARIABLE "VHOST_DP_QTEST_QEMU_WITHOUT_IO_URING"
#define SANDBOX_VARIABLE "VHOST_DP_QTEST_QEMU_SANDBOXED"
#define PRIVILEGED_SANDBOX_VARIABLE "VHOST_DP_QTEST_QEMU_SANDBOXED_PRIVILEGED"

/* LeakSanitizer works in a process of its own, and may not start it */
#define SANDBOX_ENVIRONMENT \
    "env ASAN_OPTIONS=\"$ASAN_OPTIONS:detect_leaks=0\""
#define SANDBOX_OPTION \
    "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny," \
    "resourcecontrol=deny"

/* Why tests cannot run here, or NULL */
static char *skip_reason;

/* ---- Namespaces ---- */

bool dp_write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == strlen(text);

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* In the child: run the same program as root of a user namespace */
static void run_in_user_namespace(char **argv, const char *uid_map,
                                  const char *gid_map)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0) {
        dp_write_file("/proc/self/setgroups", "deny");
        if (dp_write_file("/proc/self/uid_map", uid_map) &&
            dp_write_file("/proc/self/gid_map", gid_map)) {
            setenv(NAMESPACE_VARIABLE, "", true);
            execv("/proc/self/exe", argv);
        }
    }
    setenv(NAMESPACE_VARIABLE, strerror(errno), true);
    execv("/proc/self/exe", argv);
    _exit(127);
}

/*
 * A process with threads cannot enter a user namespace, and QEMU's library
 * has started one before main(): so another process does.  Returns why there
 * is no network namespace, or NULL.
 */
static const char *enter_user_namespace(char **argv)
{
    g_autofree char *uid_map = g_strdup_printf("0 %d 1", geteuid());
    g_autofree char *gid_map = g_strdup_printf("0 %d 1", getegid());
    const char *tried = getenv(NAMESPACE_VARIABLE);
    int status;
    pid_t pid;

    if (unshare(CLONE_NEWNET) == 0) {
        return NULL;
    }
    if (tried) {
        return *tried ? tried : strerror(errno);
    }
    /* Not fork(), after which QEMU's library starts that thread again */
    pid = _Fork();
    if (pid == 0) {
        run_in_user_namespace(argv, uid_map, gid_map);
    }
    if (pid < 0 || RETRY_ON_EINTR(waitpid(pid, &status, 0)) != pid) {
        return strerror(errno);
    }
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

bool dp_netns_enter_new(void)
{
    if (unshare(CLONE_NEWNET) < 0) {
        return false;
    }
    /* It would send frames of its own; there may be no IPv6 at all */
    dp_write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    dp_write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    return true;
}

static char *find_skip_reason(char **argv)
{
    const char *no_namespace = enter_user_namespace(argv);
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    char *why = NULL;
    int fd;

    if (no_namespace) {
        return g_strdup_printf("no user and network namespace: %s",
                               no_namespace);
    }
    fd = open(DP_TAP_DEVICE, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return g_strdup_printf("cannot open " DP_TAP_DEVICE ": %s",
                               strerror(errno));
    }
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        why = g_strdup_printf("cannot create a tap interface: %s",
                              strerror(errno));
    }
    close(fd);
    return why;
}

/* Run the command after WRAPPER_OPTION without privileges for networks */
static int run_unprivileged(char **argv)
{
    uint8_t dropped[] = {
        CAP_NET_ADMIN, CAP_NET_RAW, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,
        CAP_IPC_LOCK,
    };
    unsigned n = ARRAY_SIZE(dropped);
    struct __user_cap_header_struct hdr = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct data[2];
    bool ok = syscall(SYS_capget, &hdr, data) == 0;
    struct rlimit memlock;
    unsigned i;

    /* A test that allows no locked memory means it; others keep the last */
    if (getrlimit(RLIMIT_MEMLOCK, &memlock) < 0 || memlock.rlim_cur) {
        n--;
    }
    for (i = 0; ok && i < n; i++) {
        ok = prctl(PR_CAPBSET_DROP, dropped[i]) == 0;
        data[0].inheritable &= ~(1u << dropped[i]);
    }
    if (!ok || syscall(SYS_capset, &hdr, data) < 0) {
        perror("drop CAP_NET_ADMIN");
        return 1;
    }
    execvp(argv[0], argv);
    perror(argv[0]);
    return 1;
}

/* Run the command after URING_OPTION with io_uring_setup() forbidden */
static int run_without_io_uring(char **argv)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { ARRAY_SIZE(code), code };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        perror("forbid io_uring_setup");
        return 1;
    }
    execvp(argv[0], argv);
    perror(argv[0]);
    return 1;
}

/* Does io_uring work in this process? */
bool dp_has_io_uring(void)
{
    /* No memory for the parameters: whoever may try gets EFAULT */
    return syscall(SYS_io_uring_setup, 1, NULL) < 0 && errno == EFAULT;
}

bool dp_has_xdp(void)
{
    union bpf_attr attr = {
        .map_type = BPF_MAP_TYPE_XSKMAP,
        .key_size = sizeof(uint32_t),
        .value_size = sizeof(int),
        .max_entries = 1,
    };
    int fd = syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

void dp_test_init(int *argc, char ***argv)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *command = NULL;

    if (*argc > 2 && !strcmp((*argv)[1], WRAPPER_OPTION)) {
        exit(run_unprivileged(*argv + 2));
    }
    if (*argc > 2 && !strcmp((*argv)[1], URING_OPTION)) {
        exit(run_without_io_uring(*argv + 2));
    }
    skip_reason = find_skip_reason(*argv);
    g_test_init(argc, argv, NULL);
    command = g_strdup_printf("'%s' " WRAPPER_OPTION " %s", self,
                              getenv("QTEST_QEMU_BINARY"));
    g_setenv(WRAPPER_VARIABLE, command, true);
    g_free(command);
    command = g_strdup_printf("'%s' " URING_OPTION " %s", self,
                              getenv("QTEST_QEMU_BINARY"));
    g_setenv(URING_VARIABLE, command, true);
    g_free(command);
    command = g_strdup_printf(SANDBOX_ENVIRONMENT " %s " SANDBOX_OPTION,
                              getenv(WRAPPER_VARIABLE));
    g_setenv(SANDBOX_VARIABLE, command, true);
    g_free(command);
    command = g_strdup_printf(SANDBOX_ENVIRONMENT " %s " SANDBOX_OPTION,
                              getenv("QTEST_QEMU_BINARY"));
    g_setenv(PRIVILEGED_SANDBOX_VARIABLE, command, true);
}

const char *dp_qemu_without_io_uring(void)
{
    return URING_VARIABLE;
}

const char *dp_qemu_unprivileged(void)
{
    return WRAPPER_VARIABLE;
}

typedef struct DpTest {
    const void *data;
    void (*fn)(const void *data);
    bool packed;
} DpTest;

static const DpTest *current_test;

static void run_test(const void *opaque)
{
    const DpTest *test = opaque;

    if (skip_reason) {
        g_test_skip(skip_reason);
        return;
    }
    g_assert_true(dp_netns_enter_new());
    current_test = test;
    test->fn(test->data);
}

static void add_test(const char *format, const char *path, const void *data,
                     void (*fn)(const void *data), bool packed)
{
    DpTest *test = g_new(DpTest, 1);
    g_autofree char *full = g_strdup_printf("/vhost-dp/%s%s", format, path);

    *test = (DpTest) { .data = data, .fn = fn, .packed = packed };
    qtest_add_data_func_full(full, test, run_test, g_free);
}

void dp_add_test(const char *path, const void *data,
                 void (*fn)(const void *data))
{
    add_test("", path, data, fn, false);
}

#ifndef CONFIG_SECCOMP
static void skip_sandbox(const void *opaque)
{
    g_test_skip("QEMU was built without -sandbox");
}
#endif

static void add_sandbox_test(const char *path, const char *variable,
                             void (*fn)(const void *data))
{
#ifdef CONFIG_SECCOMP
    dp_add_test(path, variable, fn);
#else
    dp_add_test(path, NULL, skip_sandbox);
#endif
}

void dp_add_sandbox_test(const char *path, void (*fn)(const void *data))
{
    add_sandbox_test(path, SANDBOX_VARIABLE, fn);
}

void dp_add_privileged_sandbox_test(const char *path,
                                    void (*fn)(const void *data))
{
    add_sandbox_test(path, PRIVILEGED_SANDBOX_VARIABLE, fn);
}

void dp_skip_all(const char *why)
{
    if (why && !skip_reason) {
        skip_reason = g_strdup(why);
    }
}

void dp_add_split_test(const char *path, const void *data,
                       void (*fn)(const void *data))
{
    add_test("split/", path, data, fn, false);
}

void dp_add_packed_test(const char *path, const void *data,
                        void (*fn)(const void *data))
{
    add_test("packed/", path, data, fn, true);
}

void dp_add_ring_test(const char *path, const void *data,
                      void (*fn)(const void *data))
{
    dp_add_split_test(path, data, fn);
    dp_add_packed_test(path, data, fn);
}

bool dp_test_is_packed(void)
{
    return current_test->packed;
}
