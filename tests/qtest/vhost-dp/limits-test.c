/*
 * vhost-dp: qtests of the host's limits, and of what a killed QEMU leaves
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * descriptors/: QEMU has room for none more, then for one, and so on.  Until
 * there are enough of them netdev_add fails with an error that names the driver
 * or the netdev, and nothing is left over.
 *
 * plug: so it is for a NIC, which may be there without a link, too.
 *
 * killed/: QEMU gets SIGKILL, and whatever it used is free for the next one,
 * without a moment's wait.
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "libqos/pci-pc.h"
#include "qobject/qdict.h"
#include "guest.h"

/* How many descriptors a netdev may need, at most */
#define MANY_DESCRIPTORS 200

/* And a NIC with one queue pair, at least */
#define ENOUGH_FOR_NIC 24

/* A supervisor that starts QEMU again, so many times */
#define KILLS 5

/* ---- Drivers ---- */

typedef struct Driver {
    const char *name;
    const char *type;
    const char *options;
    unsigned queues;
    const char *node;           /* that the host may lack */
} Driver;

static const Driver drivers[] = {
    { "null", "vhost-dp-null", "", 2 },
    { "tap", "vhost-dp-tap", ",ifname=tap0", 1 },
    { "tap-two-pairs", "vhost-dp-tap", ",ifname=tap0", 2 },
    { "vhost-net", "vhost-dp-vhost-net", ",ifname=tap0", 1,
      "/dev/vhost-net" },
    { "af-packet", "vhost-dp-af-packet", ",ifname=v0", 1 },
    { "af-xdp", "vhost-dp-af-xdp", ",ifname=v0", 1 },
    { "slirp", "vhost-dp-slirp", ",hostfwd=tcp:127.0.0.1:5555-:22", 1 },
};

/* Persistent, as the administrator makes them */
static void make_interfaces(const Driver *d)
{
    dp_if_up("lo");
    dp_veth_new("v0", "v1");
    dp_tap_new("tap0", IFF_VNET_HDR | (d->queues > 1 ? IFF_MULTI_QUEUE : 0));
    dp_if_up("tap0");
}

/* ---- Descriptors ---- */

static QDict *netdev_add(QTestState *qts, unsigned queues)
{
    return qtest_qmp(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                     " 'type': 'vhost-dp', 'id': 'vd0', 'driver': 'drv0',"
                     " 'queues': %u } }", queues);
}

static void test_descriptors(const void *opaque)
{
    const Driver *d = opaque;
    g_autofree char *args = g_strdup_printf(
        "-M none -nodefaults -object %s,id=drv0%s", d->type, d->options);
    QTestState *qts;
    DpUsage before;
    unsigned left;
    bool added = false;

    if (!dp_has_driver(d->type)) {
        return;
    }
    make_interfaces(d);
    qts = qtest_init(args);
    before = dp_usage(qts);
    for (left = 0; !added; left++) {
        struct rlimit old = dp_limit_fds(qts, left);
        QDict *response;

        g_assert_cmpuint(left, <, MANY_DESCRIPTORS);
        response = netdev_add(qts, d->queues);
        added = qdict_haskey(response, "return");
        dp_set_limit_fds(qts, old);
        if (!added) {
            const char *text = qdict_get_str(qdict_get_qdict(response, "error"),
                                             "desc");

            g_test_message("%u: %s", left, text);
            g_assert_true(strstr(text, "'drv0'") || strstr(text, "'vd0'"));
        }
        qobject_unref(response);
        if (!added) {
            dp_check_usage(qts, before);
        }
    }
    /* Each queue pair has an IOThread, which needs several */
    g_assert_cmpuint(left, >, 2 * d->queues);
    qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_del',"
                             " 'arguments': { 'id': 'vd0' } }");
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

/*
 * A NIC is plugged in, and its driver starts it, with so many descriptors.  It
 * may be refused, or have no link, and QEMU and the other devices go on.
 */
static void test_plug(const void *opaque)
{
    DpGuest *guest = dp_guest_new("-object vhost-dp-null,id=drv0 "
                                  "-netdev vhost-dp,id=vd0,driver=drv0");
    QTestState *qts = guest->qts;
    DpUsage before = dp_usage(qts);
    unsigned left;

    for (left = 0; left <= ENOUGH_FOR_NIC; left++) {
        struct rlimit old = dp_limit_fds(qts, left);
        QDict *response = qtest_qmp(qts, "{ 'execute': 'device_add',"
                                    " 'arguments': {"
                                    " 'driver': 'virtio-net-pci', 'id': 'nic',"
                                    " 'netdev': 'vd0', 'addr': '04.0',"
                                    " 'romfile': '' } }");
        bool added = qdict_haskey(response, "return");
        DpNic *nic = NULL;

        qobject_unref(response);
        if (added) {
            nic = dp_nic_new(guest, DP_SLOT, DP_FEATURES_DEFAULT);
        }
        dp_set_limit_fds(qts, old);
        if (added) {
            g_assert_true(left < ENOUGH_FOR_NIC || dp_nic_link(nic));
            qpci_unplug_acpi_device_test(qts, "nic", DP_SLOT);
            dp_nic_free(nic);
        }
        dp_check_usage(qts, before);
    }
    dp_guest_free(guest);
}

/* ---- The end ---- */

/* Start QEMU with its monitor on @out; what it complains of is in @err */
static GPid start_qemu(const Driver *d, int *out, int *err)
{
    g_autofree char *command = g_strdup_printf(
        "%s -M none -nodefaults -display none -object %s,id=drv0%s "
        "-netdev vhost-dp,id=vd0,driver=drv0,queues=%u "
        "-chardev stdio,id=mon -mon chardev=mon,mode=control",
        getenv("QTEST_QEMU_BINARY"), d->type, d->options, d->queues);
    g_auto(GStrv) argv = NULL;
    GPid pid;

    g_assert_true(g_shell_parse_argv(command, NULL, &argv, NULL));
    g_assert_true(g_spawn_async_with_pipes(NULL, argv, NULL,
                                           G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                                           NULL, &pid, NULL, out, err, NULL));
    return pid;
}

/* The monitor says something when all netdevs are there */
static bool wait_for_greeting(int out)
{
    char buf[64];
    ssize_t n = RETRY_ON_EINTR(read(out, buf, sizeof(buf)));

    return n > 0 && buf[0] == '{';
}

static void test_killed(const void *opaque)
{
    const Driver *d = opaque;
    unsigned i;

    if (!dp_has_driver(d->type)) {
        return;
    }
    make_interfaces(d);
    for (i = 0; i < KILLS; i++) {
        int out, err, fd;
        GPid pid = start_qemu(d, &out, &err);

        if (!wait_for_greeting(out)) {
            char why[1000] = "";

            g_assert_cmpint(read(err, why, sizeof(why) - 1), >=, 0);
            g_error("QEMU was refused what another one had used: %s", why);
        }
        g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
        g_assert_cmpint(RETRY_ON_EINTR(waitpid(pid, NULL, 0)), ==, pid);
        close(out);
        close(err);
        if (strstr(d->options, "tap0")) {
            /* For others, too */
            fd = dp_tap_open("tap0", IFF_VNET_HDR |
                             (d->queues > 1 ? IFF_MULTI_QUEUE : 0));
            close(fd);
        }
    }
}

/* ---- One descriptor ---- */

typedef struct Shared {
    const char *name;
    int (*open)(void);
    const char *type, *option;
} Shared;

static int open_tap(void)
{
    return dp_tap_open("tap7", IFF_VNET_HDR | IFF_MULTI_QUEUE);
}

static int open_packet(void)
{
    dp_veth_new("v0", "v1");
    return dp_sock_open("v0", false);
}

/* What is passed belongs to one object; the other's end does not close it */
static void test_one_owner(const void *opaque)
{
    const Shared *s = opaque;
    int fd = s->open();
    g_autofree char *args = g_strdup_printf(
        "-M none -nodefaults -object %s,id=drv0,fd=%d "
        "-object %s,id=drv1,fd=%d -object %s,id=drv2,%s=%d:%d", s->type, fd,
        s->type, fd, s->type, s->option, fd, fd);
    g_autofree char *number = g_strdup_printf("descriptor %d", fd);
    QTestState *qts;
    QDict *info;
    unsigned i;

    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    qts = qtest_init(args);
    close(fd);

    dp_check_error(qtest_qmp(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                             " 'type': 'vhost-dp', 'id': 'vd2',"
                             " 'driver': 'drv2', 'queues': 2 } }"),
                   "drv2", number, "twice", NULL);
    for (i = 0; i < 2; i++) {
        QDict *response = netdev_add(qts, 1);

        g_assert_true(qdict_haskey(response, "return"));
        qobject_unref(response);
        dp_check_error(qtest_qmp(qts, "{ 'execute': 'netdev_add',"
                                 " 'arguments': { 'type': 'vhost-dp',"
                                 " 'id': 'vd1', 'driver': 'drv1' } }"),
                       "drv1", number, "in use", NULL);
        dp_run_good(qts, "{ 'execute': 'netdev_del',"
                         " 'arguments': { 'id': 'vd0' } }");
    }
    dp_run_good(qts, "{ 'execute': 'object-del',"
                     " 'arguments': { 'id': 'drv1' } }");
    qobject_unref(netdev_add(qts, 1));
    info = dp_query(qts, "vd0");
    g_assert_true(qdict_get_bool(info, "link-up"));
    qobject_unref(info);
    qtest_quit(qts);
}

static const Shared shared[] = {
    { "tap", open_tap, "vhost-dp-tap", "fds" },
    { "af-packet", open_packet, "vhost-dp-af-packet", "fds" },
};

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(drivers); i++) {
        g_autofree char *path = g_strdup_printf("limits/descriptors/%s",
                                                drivers[i].name);
        g_autofree char *end = g_strdup_printf("limits/killed/%s",
                                               drivers[i].name);

        if (drivers[i].node && access(drivers[i].node, R_OK | W_OK) < 0) {
            continue;           /* tests/nested has it */
        }
        dp_add_test(path, &drivers[i], test_descriptors);
        dp_add_test(end, &drivers[i], test_killed);
    }
    dp_add_test("limits/plug", NULL, test_plug);
    for (i = 0; i < ARRAY_SIZE(shared); i++) {
        g_autofree char *path = g_strdup_printf("limits/one-owner/%s",
                                                shared[i].name);

        dp_add_test(path, &shared[i], test_one_owner);
    }
    return g_test_run();
}
