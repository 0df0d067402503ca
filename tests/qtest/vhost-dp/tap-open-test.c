/*
 * vhost-dp: qtests of the interfaces that vhost-dp-tap is given
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * By name or by descriptors; its own and those of others.  What does not fit is
 * refused with an error that names it, nothing leaks, and QEMU goes on.
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "guest.h"
#include "commands.h"

/* ---- Descriptors of other kinds ---- */

typedef struct FdCase {
    const char *name;
    int (*open)(void);
    const char *texts[2];
} FdCase;

static int open_null(void)
{
    return open("/dev/null", O_RDWR);
}

static int open_socket(void)
{
    return socket(AF_INET, SOCK_DGRAM, 0);
}

static int open_tun_device(void)
{
    return open("/dev/net/tun", O_RDWR);
}

static int open_tun(void)
{
    return dp_tap_open("tun0", IFF_TAP | IFF_TUN | IFF_VNET_HDR);
}

static int open_no_vnet_hdr(void)
{
    return dp_tap_open("tap7", 0);
}

static int open_deleted(void)
{
    int fd = dp_tap_open("tap7", IFF_VNET_HDR);

    dp_if_delete("tap7");
    return fd;
}

static const FdCase fd_cases[] = {
    { "dev-null", open_null, { "not a descriptor of a tap" } },
    { "socket", open_socket, { "not a descriptor of a tap" } },
    { "no-interface", open_tun_device, { "not a descriptor of a tap" } },
    { "tun", open_tun, { "not a descriptor of a tap" } },
    { "deleted", open_deleted, { "not a descriptor of a tap" } },
    { "no-vnet-hdr", open_no_vnet_hdr, { "vnet_hdr", "tap7" } },
};

static void send_fd(QTestState *qts, const char *name, int fd)
{
    qtest_qmp_fds_assert_success(qts, &fd, 1, "{ 'execute': 'getfd',"
                                 " 'arguments': { 'fdname': %s } }", name);
}

/* By name, and by number */
static void test_fd(const void *opaque)
{
    const FdCase *c = opaque;
    int fd = c->open();
    g_autofree char *args = g_strdup_printf("-M pc -nodefaults "
                                            "-object vhost-dp-tap,id=inherited,"
                                            "fd=%d", fd);
    g_autofree char *number = g_strdup_printf("fd=%d", fd);
    QTestState *qts;
    DpUsage before;
    unsigned i;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    qts = qtest_init(args);
    before = dp_usage(qts);

    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "inherited")),
                   "inherited", number, c->texts[0], c->texts[1], NULL);

    dp_run_good(qts, ADD_TAP_WITH("drv0", "'fd': 'name'"));
    for (i = 0; i < 3; i++) {
        send_fd(qts, "name", fd);
        dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "drv0")),
                       "drv0", "fd=name", c->texts[0], c->texts[1], NULL);
    }
    dp_run_good(qts, DEL_OBJECT("drv0"));
    dp_check_goes_on(qts);
    dp_check_usage(qts, before);
    qtest_quit(qts);
    close(fd);
}

/* ---- Several descriptors ---- */

#define NFDS 4

typedef struct FdsCase {
    const char *name;
    void (*open)(int *fd);
    unsigned nfds;
    const char *texts[2];
} FdsCase;

static void open_two_interfaces(int *fd)
{
    fd[0] = dp_tap_open("tap7", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    fd[1] = dp_tap_open("tap8", IFF_VNET_HDR | IFF_MULTI_QUEUE);
}

/* Two of them can only be the same queue */
static void open_single_queue(int *fd)
{
    fd[0] = dp_tap_open("tap7", IFF_VNET_HDR);
    fd[1] = dup(fd[0]);
}

/* The flags are those of the first TUNSETIFF, for all queues */
static void open_without_vnet_hdr(int *fd)
{
    fd[0] = dp_tap_open("tap7", IFF_MULTI_QUEUE);
    fd[1] = dp_tap_open("tap7", IFF_VNET_HDR | IFF_MULTI_QUEUE);
}

static void open_second_is_no_tap(int *fd)
{
    fd[0] = dp_tap_open("tap7", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    fd[1] = open_null();
}

static const FdsCase fds_cases[] = {
    { "two-interfaces", open_two_interfaces, 2, { "tap7", "tap8" } },
    { "single-queue", open_single_queue, 2, { "tap7", "multi_queue" } },
    { "no-vnet-hdr", open_without_vnet_hdr, 2, { "tap7", "vnet_hdr" } },
    { "no-tap", open_second_is_no_tap, 2, { "not a descriptor of a tap" } },
};

/* All of them are given back, or closed */
static void test_fds(const void *opaque)
{
    const FdsCase *c = opaque;
    QTestState *qts = qtest_init("-M pc -nodefaults");
    DpUsage before;
    int fd[NFDS];
    unsigned i, j;

    c->open(fd);
    before = dp_usage(qts);
    dp_run_good(qts, ADD_TAP_WITH("drv0", "'fds': 'a:b'"));
    for (i = 0; i < 3; i++) {
        for (j = 0; j < c->nfds; j++) {
            char name[] = { 'a' + j, 0 };

            send_fd(qts, name, fd[j]);
        }
        dp_check_error(qtest_qmp(qts, ADD_NETDEV_WITH("vd0", "drv0",
                                                      "'queues': 2")),
                       "drv0", c->texts[0], c->texts[1], NULL);
    }
    dp_run_good(qts, DEL_OBJECT("drv0"));
    dp_check_goes_on(qts);
    dp_check_usage(qts, before);
    qtest_quit(qts);
    for (j = 0; j < c->nfds; j++) {
        close(fd[j]);
    }
}

/* The same descriptor for two queue pairs */
static void test_fds_twice(const void *opaque)
{
    int fd = dp_tap_open("tap7", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    g_autofree char *args = g_strdup_printf(
        "-M pc -nodefaults -object vhost-dp-tap,id=drv0,fds=%d:%d", fd, fd);
    QTestState *qts;

    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    qts = qtest_init(args);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV_WITH("vd0", "drv0",
                                                  "'queues': 2")),
                   "drv0", "fds=", "twice", NULL);
    dp_check_goes_on(qts);
    qtest_quit(qts);
    close(fd);
}

/* QEMU without privileges uses all queues that it was given, again and again */
static void test_fds_no_permission(const void *opaque)
{
    QTestState *qts = qtest_init_ext(dp_qemu_unprivileged(),
                                     "-M pc -nodefaults", NULL, true);
    DpUsage before = dp_usage(qts);
    unsigned i;

    for (i = 0; i < NFDS; i++) {
        char name[] = { 'a' + i, 0 };
        int fd = dp_tap_open("tap7", IFF_VNET_HDR | IFF_MULTI_QUEUE);

        send_fd(qts, name, fd);
        close(fd);
    }
    dp_run_good(qts, ADD_TAP_WITH("drv0", "'fds': 'a:b:c:d'"));
    for (i = 0; i < 3; i++) {
        QDict *info;

        dp_run_good(qts, ADD_NETDEV_WITH("vd0", "drv0", "'queues': 4"));
        info = dp_query(qts, "vd0");
        g_assert_nonnull(strstr(qdict_get_str(info, "interface"),
                                "ifname=tap7,fds="));
        g_assert_true(qdict_get_bool(info, "link-up"));
        g_assert_cmpint(qlist_size(qdict_get_qlist(info, "queues")), ==, 4);
        qobject_unref(info);
        dp_run_good(qts, DEL_NETDEV("vd0"));
    }
    /* They are the object's, and the interface goes with them */
    g_assert_true(dp_if_exists("tap7"));
    dp_run_good(qts, DEL_OBJECT("drv0"));
    dp_wait_until(!dp_if_exists("tap7"));
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

/* ---- Several queues by name ---- */

static void test_queues(const void *opaque)
{
    QTestState *qts = qtest_init("-M pc -nodefaults");

    /* One that is created */
    dp_run_good(qts, ADD_TAP_WITH("drv0", "'ifname': 'mq%d'"));
    dp_run_good(qts, ADD_NETDEV_WITH("vd0", "drv0", "'queues': 4"));
    g_assert_true(dp_if_exists("mq0"));
    g_assert_false(dp_if_exists("mq1"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    dp_wait_until(!dp_if_exists("mq0"));

    /* One that is there; also with one queue pair only */
    dp_tap_new("mq0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    dp_run_good(qts, ADD_TAP("mq0"));
    dp_run_good(qts, ADD_NETDEV_WITH("vd0", "mq0", "'queues': 4"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    dp_run_good(qts, ADD_NETDEV("vd0", "mq0"));
    dp_run_good(qts, DEL_NETDEV("vd0"));

    /* One that has a single queue, which queue pairs can share */
    dp_tap_new("sq0", IFF_VNET_HDR);
    dp_run_good(qts, ADD_TAP("sq0"));
    dp_run_good(qts, ADD_NETDEV_WITH("vd0", "sq0", "'queues': 2"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    dp_run_good(qts, ADD_NETDEV("vd0", "sq0"));
    dp_run_good(qts, DEL_NETDEV("vd0"));

    /* And one that is no tap at all */
    dp_run_good(qts, ADD_TAP("lo"));
    dp_check_error(qtest_qmp(qts, ADD_NETDEV_WITH("vd0", "lo",
                                                  "'queues': 2")),
                   "ifname=lo", "not a tap", NULL);
    dp_check_goes_on(qts);
    qtest_quit(qts);
}

/* ---- Interfaces of others ---- */

static void test_busy(const void *opaque)
{
    int fd = dp_tap_open("busy0", IFF_VNET_HDR);
    QTestState *qts = qtest_init("-M pc -nodefaults");

    dp_run_good(qts, ADD_TAP_WITH("drv0", "'ifname': 'busy0'"));
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "drv0")), "drv0",
                   "ifname=busy0", "in use", NULL);
    dp_run_good(qts, ADD_TAP("busy0"));
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "busy0")), "busy0",
                   "in use", NULL);
    dp_check_goes_on(qts);

    /* It can be used once the other program has gone, with the same object */
    dp_tap_set_persistent(fd, true);
    close(fd);
    dp_run_good(qts, ADD_NETDEV("vd0", "drv0"));
    qtest_quit(qts);
    g_assert_true(dp_if_exists("busy0"));
}

/* Without CAP_NET_ADMIN an interface cannot be created, but one can be used */
static void test_no_permission(const void *opaque)
{
    QTestState *qts = qtest_init_ext(dp_qemu_unprivileged(),
                                     "-M pc -nodefaults", NULL, true);
    int fd;

    dp_run_good(qts, ADD_TAP_WITH("drv0", "'ifname': 'tap5'"));
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "drv0")), "drv0",
                   "ifname=tap5", "permission", NULL);
    g_assert_false(dp_if_exists("tap5"));

    /* The administrator makes one that everybody may use */
    dp_tap_new("tap5", IFF_VNET_HDR);
    dp_run_good(qts, ADD_NETDEV("vd0", "drv0"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    g_assert_true(dp_if_exists("tap5"));

    /* One that belongs to somebody else; in a user namespace nobody else is */
    fd = dp_tap_open("tap5", IFF_VNET_HDR);
    if (ioctl(fd, TUNSETOWNER, 65534) == 0) {
        close(fd);
        dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "drv0")), "drv0",
                       "ifname=tap5", "permission", NULL);
    } else {
        close(fd);
    }

    /* And a descriptor needs no privileges at all */
    fd = dp_tap_open("tap6", IFF_VNET_HDR);
    send_fd(qts, "name", fd);
    close(fd);
    dp_run_good(qts, ADD_TAP_WITH("drv1", "'fd': 'name'"));
    dp_run_good(qts, ADD_NETDEV("vd1", "drv1"));
    qtest_quit(qts);
}

/* ---- The name ---- */

static char *get_string(QTestState *qts, const char *path,
                        const char *property)
{
    QDict *response = qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': {"
                                " 'path': %s, 'property': %s } }",
                                path, property);
    char *value;

    g_assert_true(qdict_haskey(response, "return"));
    value = g_strdup(qdict_get_str(response, "return"));
    qobject_unref(response);
    return value;
}

static void check_ifname(QTestState *qts, const char *id, const char *want)
{
    g_autofree char *path = g_strdup_printf("/objects/%s", id);
    g_autofree char *name = get_string(qts, path, "ifname");

    g_assert_cmpstr(name, ==, want);
}

/* The name: what was given, the id, or what the kernel made of it */
static void test_ifname(const void *opaque)
{
    QTestState *qts = qtest_init("-M pc -nodefaults");

    dp_run_good(qts, ADD_TAP("a23456789012345"));
    check_ifname(qts, "a23456789012345", "a23456789012345");
    dp_run_good(qts, ADD_NETDEV("vd0", "a23456789012345"));
    check_ifname(qts, "a23456789012345", "a23456789012345");
    g_assert_true(dp_if_exists("a23456789012345"));

    dp_run_good(qts, ADD_TAP_WITH("drv1", "'ifname': 'foo'"));
    dp_run_good(qts, ADD_NETDEV("vd1", "drv1"));
    check_ifname(qts, "drv1", "foo");
    g_assert_true(dp_if_exists("foo"));

    dp_run_good(qts, ADD_TAP_WITH("drv2", "'ifname': 'pool%d'"));
    dp_run_good(qts, ADD_NETDEV("vd2", "drv2"));
    check_ifname(qts, "drv2", "pool0");
    dp_run_good(qts, ADD_TAP_WITH("drv3", "'ifname': 'pool%d'"));
    dp_run_good(qts, ADD_NETDEV("vd3", "drv3"));
    check_ifname(qts, "drv3", "pool1");

    /* Changed between two uses */
    dp_run_good(qts, DEL_NETDEV("vd1"));
    dp_wait_until(!dp_if_exists("foo"));
    dp_run_good(qts, "{ 'execute': 'qom-set', 'arguments': {"
             " 'path': '/objects/drv1', 'property': 'ifname',"
             " 'value': 'bar' } }");
    dp_run_good(qts, ADD_NETDEV("vd1", "drv1"));
    check_ifname(qts, "drv1", "bar");
    g_assert_true(dp_if_exists("bar"));
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(fd_cases); i++) {
        g_autofree char *path = g_strdup_printf("error/fd/%s",
                                                fd_cases[i].name);

        dp_add_test(path, &fd_cases[i], test_fd);
    }
    for (i = 0; i < ARRAY_SIZE(fds_cases); i++) {
        g_autofree char *path = g_strdup_printf("error/fds/%s",
                                                fds_cases[i].name);

        dp_add_test(path, &fds_cases[i], test_fds);
    }
    dp_add_test("error/fds/twice", NULL, test_fds_twice);
    dp_add_test("fds/no-permission", NULL, test_fds_no_permission);
    dp_add_test("queues", NULL, test_queues);
    dp_add_test("error/ifname/busy", NULL, test_busy);
    dp_add_test("error/ifname/no-permission", NULL, test_no_permission);
    dp_add_test("ifname", NULL, test_ifname);
    return g_test_run();
}
