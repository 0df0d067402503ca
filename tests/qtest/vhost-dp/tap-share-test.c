/*
 * vhost-dp: qtests of interfaces that vhost-dp-tap is not to share
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel lets several programs use an interface that has several queues,
 * and gives each a part of the frames.  Of those that try one has it, also if
 * they try at the same moment.
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qemu/atomic.h"
#include "qobject/qdict.h"
#include "commands.h"
#include "fault-rig.h"

#define ROUNDS 5

static void send_fd(QTestState *qts, const char *name, int fd)
{
    qtest_qmp_fds_assert_success(qts, &fd, 1, "{ 'execute': 'getfd',"
                                 " 'arguments': { 'fdname': %s } }", name);
}

/*
 * An interface with several queues has room for two, and gives each a part of
 * the frames: whoever comes second is refused.
 */
static void test_shared(const void *opaque)
{
    QTestState *qts = qtest_init("-M pc -nodefaults");
    QTestState *first;
    DpUsage before;
    unsigned i;
    int fd;

    dp_tap_new("mq0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    first = qtest_init("-M none -object vhost-dp-tap,id=mq0 "
                       "-netdev vhost-dp,id=vd0,driver=mq0,queues=2");
    dp_run_good(qts, ADD_TAP("mq0"));
    dp_run_good(qts, ADD_TAP_WITH("drv0", "'fd': 'name'"));
    fd = dp_tap_open("mq0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    send_fd(qts, "name", fd);
    close(fd);
    before = dp_usage(qts);
    for (i = 0; i < 2; i++) {
        dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "mq0")),
                       "mq0", "ifname=mq0", "in use", NULL);
        dp_check_error(qtest_qmp(qts, ADD_NETDEV_WITH("vd0", "mq0",
                                                      "'queues': 2")),
                       "mq0", "ifname=mq0", "in use", NULL);
        dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "drv0")),
                       "drv0", "fd=name", "'mq0' is in use", "3 open queues",
                       NULL);
        dp_check_usage(qts, before);
    }
    qtest_quit(first);

    dp_run_good(qts, ADD_NETDEV("vd0", "drv0"));
    /* The same for two netdevs of one QEMU */
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd1", "mq0")),
                   "mq0", "ifname=mq0", "in use", NULL);
    dp_run_good(qts, DEL_NETDEV("vd0"));
    dp_run_good(qts, DEL_OBJECT("drv0"));
    dp_run_good(qts, ADD_NETDEV_WITH("vd1", "mq0", "'queues': 2"));
    dp_check_goes_on(qts);
    qtest_quit(qts);
}

typedef struct Race {
    const char *name;
    bool created;               /* by QEMU */
    const char *add;
} Race;

static const Race races[] = {
    { "one-queue", false, ADD_NETDEV("vd0", "mq0") },
    { "queues", false, ADD_NETDEV_WITH("vd0", "mq0", "'queues': 3") },
    { "created", true, ADD_NETDEV_WITH("vd0", "mq0", "'queues': 2") },
};

/*
 * Two QEMUs open an interface at the same moment, and it takes some time to ask
 * the kernel for its queues: neither hears of the other's before it has its
 * own, and both do before either gives up.
 */
static void test_race(const void *opaque)
{
    const Race *race = opaque;
    QTestState *qts[2];
    unsigned i, round;

    if (!race->created) {
        dp_tap_new("mq0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    }
    for (i = 0; i < ARRAY_SIZE(qts); i++) {
        qts[i] = qtest_init_ext(FAULT_QEMU, "-M none "
                                "-object vhost-dp-tap,id=mq0", NULL, true);
    }
    for (round = 0; round < ROUNDS; round++) {
        QDict *answer[ARRAY_SIZE(qts)];
        unsigned winner = ARRAY_SIZE(qts);

        fault_arm((DpFault) {
            .calls = DP_CALL_SEND, .files = DP_FILE_NETLINK,
            .threads = DP_THREAD_ANY, .delay = 20,
        });
        for (i = 0; i < ARRAY_SIZE(qts); i++) {
            qtest_qmp_send_raw(qts[i], "%s", race->add);
        }
        for (i = 0; i < ARRAY_SIZE(qts); i++) {
            answer[i] = qtest_qmp_receive(qts[i]);
        }
        g_assert_cmpuint(qatomic_read(&fault->seen), >, 0);
        fault_disarm();
        for (i = 0; i < ARRAY_SIZE(qts); i++) {
            if (qdict_haskey(answer[i], "return")) {
                g_assert_cmpuint(winner, ==, ARRAY_SIZE(qts));
                winner = i;
                qobject_unref(answer[i]);
            } else {
                dp_check_error(answer[i], "mq0", "ifname=mq0", "in use", NULL);
            }
        }
        g_assert_cmpuint(winner, <, ARRAY_SIZE(qts));
        dp_run_good(qts[winner], DEL_NETDEV("vd0"));
        dp_wait_until(!race->created || !dp_if_exists("mq0"));
    }
    for (i = 0; i < ARRAY_SIZE(qts); i++) {
        qtest_quit(qts[i]);
    }
}

/* The name that is for turns is somebody else's, for ever: nobody minds */
static void test_squatter(const void *opaque)
{
    struct sockaddr_un addr = {
        .sun_family = AF_UNIX, .sun_path = "\0vhost-dp-tap/mq0",
    };
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = offsetof(struct sockaddr_un, sun_path) +
                    sizeof("vhost-dp-tap/mq0");
    QTestState *qts;

    g_assert_cmpint(bind(sock, (struct sockaddr *)&addr, len), ==, 0);
    dp_tap_new("mq0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    qts = qtest_init("-M none");
    dp_run_good(qts, ADD_TAP("mq0"));
    dp_run_good(qts, ADD_NETDEV_WITH("vd0", "mq0", "'queues': 2"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    qtest_quit(qts);
    close(sock);
}

/* The monitor does not wait for a queue of another program to go */
static void test_count(const void *opaque)
{
    int other, fd;
    QTestState *qts;

    other = dp_tap_open("mq0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    qts = qtest_init_ext(FAULT_QEMU, "-M none", NULL, true);
    fd = dp_tap_open("mq0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    send_fd(qts, "name", fd);
    close(fd);
    dp_run_good(qts, ADD_TAP_WITH("drv0", "'fd': 'name'"));
    fault_arm((DpFault) {
        .calls = DP_CALL_SEND, .files = DP_FILE_NETLINK,
        .threads = DP_THREAD_ANY,
    });
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "drv0")),
                   "drv0", "'mq0' is in use", "2 open queues", NULL);
    g_assert_cmpuint(qatomic_read(&fault->seen), >, 0);
    g_assert_cmpuint(qatomic_read(&fault->seen), <, 10);
    fault_disarm();
    close(other);
    dp_run_good(qts, ADD_NETDEV("vd0", "drv0"));
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    fault_init();
    dp_add_test("tap-share/second", NULL, test_shared);
    for (i = 0; i < ARRAY_SIZE(races); i++) {
        g_autofree char *path = g_strdup_printf("tap-share/race/%s",
                                                races[i].name);

        dp_add_test(path, &races[i], test_race);
    }
    dp_add_test("tap-share/squatter", NULL, test_squatter);
    dp_add_test("tap-share/count", NULL, test_count);
    return g_test_run();
}
