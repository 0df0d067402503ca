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

/* A row of the table, with so many queue pairs */
typedef struct Case {
    const DpDriver *driver;
    unsigned pairs;
} Case;

static char *case_object(const Case *c)
{
    return dp_driver_object(c->driver, "drv0", "");
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
    const Case *c = opaque;
    g_autofree char *object = case_object(c);
    g_autofree char *args = g_strdup_printf("-M none -nodefaults %s", object);
    QTestState *qts;
    DpUsage before;
    unsigned left;
    bool added = false;

    if (!dp_has_driver(c->driver->type)) {
        return;
    }
    dp_driver_host_new(c->driver, c->pairs);
    qts = qtest_init(args);
    before = dp_usage(qts);
    for (left = 0; !added; left++) {
        struct rlimit old = dp_limit_fds(qts, left);
        QDict *response;

        g_assert_cmpuint(left, <, MANY_DESCRIPTORS);
        response = netdev_add(qts, c->pairs);
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
    g_assert_cmpuint(left, >, 2 * c->pairs);
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
static GPid start_qemu(const Case *c, int *out, int *err)
{
    g_autofree char *object = case_object(c);
    g_autofree char *command = g_strdup_printf(
        "%s -M none -nodefaults -display none %s "
        "-netdev vhost-dp,id=vd0,driver=drv0,queues=%u "
        "-chardev stdio,id=mon -mon chardev=mon,mode=control",
        getenv("QTEST_QEMU_BINARY"), object, c->pairs);
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
    const Case *c = opaque;
    unsigned i;

    if (!dp_has_driver(c->driver->type)) {
        return;
    }
    dp_driver_host_new(c->driver, c->pairs);
    for (i = 0; i < KILLS; i++) {
        int out, err, fd;
        GPid pid = start_qemu(c, &out, &err);

        if (!wait_for_greeting(out)) {
            char why[1000] = "";

            g_assert_cmpint(read(err, why, sizeof(why) - 1), >=, 0);
            g_error("QEMU was refused what another one had used: %s", why);
        }
        g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
        g_assert_cmpint(RETRY_ON_EINTR(waitpid(pid, NULL, 0)), ==, pid);
        close(out);
        close(err);
        if (c->driver->end == DP_END_TAP) {
            /* For others, too */
            fd = dp_tap_open(c->driver->interface, IFF_VNET_HDR |
                             (c->pairs > 1 ? IFF_MULTI_QUEUE : 0));
            close(fd);
        }
    }
}

/* ---- One descriptor ---- */

typedef struct Shared {
    int (*open)(void);
    const DpDriver *driver;
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
    const char *type = s->driver->type;
    int fd = s->open();
    g_autofree char *args = g_strdup_printf(
        "-M none -nodefaults -object %s,id=drv0,fd=%d "
        "-object %s,id=drv1,fd=%d -object %s,id=drv2,fds=%d:%d", type, fd,
        type, fd, type, fd, fd);
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
    { open_tap, &dp_drivers[DP_DRIVER_TAP] },
    { open_packet, &dp_drivers[DP_DRIVER_AF_PACKET] },
};

int main(int argc, char **argv)
{
    static Case cases[2 * DP_DRIVERS];
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        const DpDriver *driver = &dp_drivers[i / 2];
        unsigned pairs = 1 + i % 2;
        g_autofree char *path = g_strdup_printf("limits/descriptors/%s/%u",
                                                driver->name, pairs);
        g_autofree char *end = g_strdup_printf("limits/killed/%s/%u",
                                               driver->name, pairs);

        if (pairs > driver->pairs || !dp_driver_has_node(driver)) {
            continue;
        }
        cases[i] = (Case) { driver, pairs };
        dp_add_test(path, &cases[i], test_descriptors);
        dp_add_test(end, &cases[i], test_killed);
    }
    dp_add_test("limits/plug", NULL, test_plug);
    for (i = 0; i < ARRAY_SIZE(shared); i++) {
        g_autofree char *path = g_strdup_printf("limits/one-owner/%s",
                                                shared[i].driver->name);

        dp_add_test(path, &shared[i], test_one_owner);
    }
    return g_test_run();
}
