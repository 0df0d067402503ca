/*
 * vhost-dp: qtests of vhost-dp-vhost-user, its connections and options
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is guest and peer: see peer.h.
 */

#include "qemu/osdep.h"
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "guest.h"
#include "peer.h"

/* ---- The connection ---- */

/* QEMU listens; the peer may come before and after the guest */
static void test_server(const void *opaque)
{
    DpVu *v = dp_vu_prepare(false);
    g_autofree char *options = g_strdup_printf("path=%s,server=on,"
                                               "reconnect-ms=10", v->path);
    unsigned i;

    dp_vu_start(v, "", options, 1, 0);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, false, "there is no peer yet"));
    for (i = 0; i < 3; i++) {
        dp_vu_run(v);
        dp_peer_disconnect(v->peer);
        dp_wait_until(dp_link_is(v->r, false, "the peer has gone"));
    }
    dp_vu_free(v);
}

/* A chardev, which is there later than the object */
static void test_chardev(const void *opaque)
{
    const bool server = opaque != NULL;
    DpVu *v = dp_vu_prepare(!server);
    g_autofree char *before = NULL;
    unsigned i;

    before = g_strdup_printf("-chardev socket,id=chr0,path=%s,%s", v->path,
                             server ? "server=on,wait=off" :
                                      "reconnect-ms=20");
    dp_vu_start(v, before, "chardev=chr0", 1, 0);
    dp_vu_start_nic(v);
    for (i = 0; i < 3; i++) {
        dp_vu_run(v);
        dp_peer_disconnect(v->peer);
        dp_wait_until(dp_link_is(v->r, false, "the peer has gone"));
    }
    dp_vu_free(v);
}

/* Another peer waits already when one goes: each is served, with its own set */
static void test_next_peer(const void *opaque)
{
    const bool chardev = opaque != NULL;
    DpVu *v = dp_vu_prepare(false);
    DpPeer *other = dp_peer_new(v->path, false);
    g_autofree char *before = NULL;
    g_autofree char *options = NULL;
    DpUsage usage = {};
    unsigned i;

    before = chardev ? g_strdup_printf("-chardev socket,id=chr0,path=%s,"
                                       "server=on,wait=off", v->path) :
                       g_strdup("");
    options = chardev ? g_strdup("chardev=chr0,reconnect-ms=1") :
              g_strdup_printf("path=%s,server=on,reconnect-ms=1", v->path);
    dp_vu_start(v, before, options, 1, 0);
    dp_vu_start_nic(v);
    dp_peer_connect(v->peer);
    for (i = 0; i < 12; i++) {
        DpPeer *gone = v->peer;

        dp_peer_start(v->peer, 1);
        dp_wait_until(dp_link_is(v->r, true, NULL));
        dp_vu_check_traffic(v);
        if (i == 1) {
            usage = dp_usage(v->r->qts);
        }
        if (i % 3 == 2) {
            dp_vu_last_long();
        }
        dp_peer_connect(other);
        dp_peer_disconnect(gone);
        v->peer = other;
        other = gone;
    }
    dp_peer_start(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
    dp_check_usage(v->r->qts, usage);
    dp_peer_free(other);
    dp_vu_free(v);
}

/* Of the main thread, in ns */
static uint64_t cpu_time(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/schedstat",
                                            (int)pid, (int)pid);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return g_ascii_strtoull(text, NULL, 10);
}

/* The next descriptor that it would get */
static unsigned lowest_free_fd(pid_t pid)
{
    unsigned fd = 0;

    for (;;) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fd/%u", (int)pid,
                                                fd);
        struct stat st;

        if (lstat(path, &st) < 0) {
            return fd;
        }
        fd++;
    }
}

/* A peer that cannot be accepted at present does not keep QEMU busy */
static void test_accept_fails(const void *opaque)
{
    DpVu *v = dp_vu_prepare(false);
    g_autofree char *options = g_strdup_printf("path=%s,server=on", v->path);
    struct rlimit old, none;
    uint64_t before;
    pid_t pid;

    dp_vu_start(v, "", options, 1, 0);
    dp_vu_start_nic(v);
    pid = qtest_pid(v->r->qts);
    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, NULL, &old), ==, 0);
    none = old;
    do {
        /* What the IOThread has still to close would be free again */
        none.rlim_cur = lowest_free_fd(pid);
        g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, &none, NULL), ==, 0);
        g_usleep(4 * DP_QUIET_US);
    } while (lowest_free_fd(pid) != none.rlim_cur);
    dp_peer_connect(v->peer);
    before = cpu_time(pid);
    /* The kernel has accepted it; from QEMU comes no message */
    g_assert_true(dp_peer_serve(v->peer, G_USEC_PER_SEC));
    g_assert_cmpuint(v->peer->messages, ==, 0);
    g_assert_true(dp_link_is(v->r, false, "there is no peer yet"));
    g_assert_cmpuint(cpu_time(pid) - before, <, 200 * 1000 * 1000);
    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, &old, NULL), ==, 0);
    dp_peer_start(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

static void answer(DpVu *v, uint32_t request, uint64_t value)
{
    dp_peer_send_msg(v->peer, request, 1 | VHOST_USER_REPLY_MASK,
                     sizeof(value), &value, NULL, 0);
}

static bool file_has(const char *path, const char *text)
{
    g_autofree char *all = NULL;

    return g_file_get_contents(path, &all, NULL, NULL) && strstr(all, text);
}

/* That a peer has not come yet is worth a line if it does not come */
static void test_log(const void *opaque)
{
    DpVu *v = dp_vu_prepare(false);
    g_autofree char *log = g_strdup_printf("%s/log", v->dir);
    /* The shell that starts QEMU gets it */
    g_autofree char *redirect = g_strdup_printf("2>%s", log);
    g_autofree char *options = g_strdup_printf("path=%s,server=on,"
                                               "reconnect-ms=10", v->path);
    int64_t start = g_get_monotonic_time();
    bool quick;

    dp_vu_start(v, redirect, options, 1, 0);
    dp_peer_run(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    /* It is allowed to say something after two seconds */
    quick = g_get_monotonic_time() - start < 2 * G_USEC_PER_SEC;
    g_assert_true(!quick || !file_has(log, "link is"));
    dp_peer_disconnect(v->peer);
    dp_wait_until(file_has(log, "the link is down: the peer has gone"));
    unlink(log);
    dp_vu_free(v);

    v = dp_vu_prepare(false);
    g_free(log);
    g_free(redirect);
    g_free(options);
    log = g_strdup_printf("%s/log", v->dir);
    redirect = g_strdup_printf("2>%s", log);
    options = g_strdup_printf("path=%s,server=on", v->path);
    dp_vu_start(v, redirect, options, 1, 0);
    dp_wait_until(file_has(log, "the link is down: there is no peer yet"));
    unlink(log);
    dp_vu_free(v);
}

/*
 * A peer that reads nothing, so that there is no room for more, and then breaks
 * a rule: QEMU does not go on waiting for room in a socket that is closed,
 * which keeps it from sleeping
 */
static void test_no_room(const void *opaque)
{
    const bool chardev = opaque != NULL;
    DpVu *v = dp_vu_prepare(false);
    g_autofree char *before = NULL;
    g_autofree char *options = NULL;
    uint64_t since;
    pid_t pid;

    before = chardev ? g_strdup_printf("-chardev socket,id=chr0,path=%s,"
                                       "server=on,wait=off", v->path) :
                       g_strdup("");
    options = chardev ? g_strdup("chardev=chr0") :
              g_strdup_printf("path=%s,server=on", v->path);
    dp_vu_start(v, before, options, 64, 0);
    dp_peer_connect(v->peer);
    /* Each when it is due.  Then 64 queue pairs are more than fits. */
    answer(v, VHOST_USER_GET_FEATURES, -1);
    answer(v, VHOST_USER_GET_PROTOCOL_FEATURES,
           DP_FEATURE(VHOST_USER_PROTOCOL_F_MQ));
    answer(v, VHOST_USER_GET_QUEUE_NUM, 64);
    dp_wait_until(dp_link_is(v->r, false, "not answered"));
    answer(v, VHOST_USER_GET_QUEUE_NUM, 64);
    dp_wait_until(dp_link_is(v->r, false, "message-header"));
    /* Asleep it takes 2 ms in a second; on a busy machine, awake, 140 */
    pid = qtest_pid(v->r->qts);
    since = cpu_time(pid);
    g_usleep(G_USEC_PER_SEC);
    g_assert_cmpuint(cpu_time(pid) - since, <, 50 * 1000 * 1000);
    dp_vu_free(v);
}

static void test_no_reconnect(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=0",
                                               v->path);

    dp_vu_start(v, "", options, 1, 0);
    dp_peer_run(v->peer, 1);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_peer_disconnect(v->peer);
    dp_wait_until(dp_link_is(v->r, false, "has gone"));
    g_usleep(10 * DP_QUIET_US);
    g_assert_true(dp_link_is(v->r, false, "has gone"));
    dp_vu_free(v);
}

/* ---- What is agreed upon ---- */

/* What the peer has to have */
static void test_needs(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=10",
                                               v->path);

    v->peer->features &= ~DP_FEATURE(VIRTIO_F_VERSION_1);
    dp_vu_start(v, "", options, 2, 0);
    dp_vu_wait_refused(v, "VIRTIO_F_VERSION_1");

    v->peer->features = -1;
    dp_peer_run(v->peer, 2);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_free(v);
}

/* By which queue pair the second one sends */
static unsigned sends_by(DpVu *v)
{
    QDict *info = dp_query(v->r->qts, "vd0");
    const QListEntry *entry = qlist_first(qdict_get_qlist(info, "queues"));
    QDict *second = qobject_to(QDict, qlist_entry_obj(qlist_next(entry)));
    unsigned queue = qdict_get_int(second, "driver-queue-pair");

    qobject_unref(info);
    return queue;
}

/* A frame of each pair, and one for the first */
static void check_pairs(DpVu *v, unsigned pairs)
{
    unsigned i;

    dp_wait_until(sends_by(v) == pairs - 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    for (i = 0; i < 20; i++) {
        DpRig *r = v->r;
        size_t len = 60 + i * 50;
        size_t got;

        dp_make_frame(r->frame, len, i);
        dp_transmit_on(r->nic, i % 2, NULL, r->frame, len);
        got = dp_peer_recv(v->peer, i % pairs, NULL, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        dp_assert_frame(r->got, got, r->frame, len);
        dp_vu_check_to_guest(v, 0, len, i);
    }
}

/* A peer with fewer queue pairs than the netdev, and then one with as many */
static void test_fewer_pairs(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=10",
                                               v->path);

    v->peer->max_pairs = 1;
    dp_vu_start(v, "", options, 2, DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                                   DP_FEATURE(VIRTIO_NET_F_MQ));
    dp_peer_run(v->peer, 1);
    dp_vu_start_nic(v);
    dp_nic_set_pairs(v->r->nic, 2);
    check_pairs(v, 1);
    dp_peer_disconnect(v->peer);
    v->peer->max_pairs = 2;
    dp_peer_run(v->peer, 2);
    check_pairs(v, 2);
    dp_peer_disconnect(v->peer);
    /* That knows of no more than one */
    v->peer->protocol_features = 0;
    dp_peer_run(v->peer, 1);
    check_pairs(v, 1);
    dp_vu_free(v);
}

/* An old back end: no protocol features, so no acknowledgements */
static void test_plain_protocol(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s", v->path);

    v->peer->features = ~DP_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);
    dp_vu_start(v, "", options, 1, 0);
    dp_peer_run(v->peer, 1);
    /* Rings are enabled from the start then */
    g_assert_false(v->peer->ring[0].enabled);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

static void test_options(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf(
        "path=%s,mtu=9000,queue-size=64,packed=off", v->path);

    v->peer->features = -1;
    dp_vu_start(v, "", options, 1, 0);
    dp_peer_run(v->peer, 1);
    g_assert_cmphex(v->peer->got_features &
                    DP_FEATURE(VIRTIO_F_RING_PACKED), ==, 0);
    g_assert_cmpuint(v->peer->got_mtu, ==, 9000);
    g_assert_cmpuint(v->peer->ring[0].num, ==, 64);
    dp_vu_start_nic(v);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

/* ---- Options and life ---- */

static void check_netdev_error(QTestState *qts, const char *options,
                               const char *want, const char *more)
{
    g_autofree char *object = NULL;

    object = g_strdup_printf("{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'vhost-dp-vhost-user',"
                             " 'id': 'vu0', %s } }", options);
    qtest_qmp_assert_success(qts, object, NULL);
    dp_check_error(qtest_qmp(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                             " 'type': 'vhost-dp', 'id': 'vd0',"
                             " 'driver': 'vu0' } }"), "vu0", want, more, NULL);
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-del',"
                             " 'arguments': { 'id': 'vu0' } }");
}

static void test_no_peer(const void *opaque)
{
    g_autofree char *dir = g_dir_make_tmp("vhost-dp-XXXXXX", NULL);
    g_autofree char *dead = g_strdup_printf("%s/dead", dir);
    g_autofree char *options = g_strdup_printf("'path': '%s'", dead);
    g_autofree char *server = g_strdup_printf(
        "'path': '%s/no/where', 'server': true", dir);
    QTestState *qts = qtest_init("-M none -nodefaults "
                                 "-chardev null,id=null0 "
                                 "-chardev socket,id=tcp0,host=127.0.0.1,"
                                 "port=0,server=on,wait=off");

    check_netdev_error(qts, options, dead, "No such file");
    dp_peer_free(dp_peer_new(dead, true));
    /* A socket that nobody listens at any more */
    {
        DpPeer *peer = dp_peer_new(dead, true);

        close(peer->listen);
        peer->listen = -1;
        check_netdev_error(qts, options, dead, "Connection refused");
        dp_peer_free(peer);
    }
    unlink(dead);
    check_netdev_error(qts, server, "no/where", NULL);
    check_netdev_error(qts, "'chardev': 'nobody'", "chardev=nobody",
                       "no such chardev");
    check_netdev_error(qts, "'chardev': 'null0'", "chardev=null0",
                       "not a UNIX socket");
    check_netdev_error(qts, "'chardev': 'tcp0'", "chardev=tcp0",
                       "not a UNIX socket");
    qtest_quit(qts);
    rmdir(dir);
}

/*
 * Whatever this account may do otherwise, no QEMU that is started from now on
 * may use a file that its mode forbids
 */
static void test_no_permission(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("'path': '%s'", v->path);
    QTestState *qts;

    g_assert_cmpint(chmod(v->path, 0), ==, 0);
    /* Fails where there is no such capability in the first place */
    prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);
    qts = qtest_init("-M none -nodefaults");
    check_netdev_error(qts, options, v->path, "Permission denied");
    qtest_quit(qts);
    dp_vu_discard(v);
}

static const struct {
    const char *options;
    const char *want;
} bad_options[] = {
    { "'reconnect-ms': 1", "path= or chardev= is needed" },
    { "'path': 'x', 'chardev': 'y'", "exclude each other" },
    { "'chardev': 'y', 'server': true", "option of the chardev" },
    { "'path': 'x', 'queue-size': 100", "queue-size=100: powers of 2" },
    { "'path': 'x', 'queue-size': 2048", "queue-size=2048: powers of 2" },
    { "'path': 'x', 'reconnect-ms': 60001", "0 to 60000" },
    { "'path': 'x', 'mtu': 67", "mtu=67: 68 to 65535" },
    { "'path': ''", "1 to 107 bytes" },
    { "'path': '1234567890123456789012345678901234567890123456789012345678"
      "90123456789012345678901234567890123456789012345678'", "107 bytes" },
};

static void test_bad_options(const void *opaque)
{
    QTestState *qts = qtest_init("-M none -nodefaults");
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(bad_options); i++) {
        g_autofree char *object = g_strdup_printf(
            "{ 'execute': 'object-add', 'arguments': { 'id': 'vu0',"
            " 'qom-type': 'vhost-dp-vhost-user', %s } }",
            bad_options[i].options);

        dp_check_error(qtest_qmp(qts, object, NULL),
                       "vhost-dp-vhost-user 'vu0'", bad_options[i].want, NULL);
    }
    qtest_quit(qts);
}

/* Given back and claimed again, nothing is left over */
static void test_again(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    DpUsage before = {};
    QTestState *qts;
    unsigned i;

    qts = qtest_initf("-M none -nodefaults "
                      "-object vhost-dp-vhost-user,id=vu0,path=%s", v->path);
    for (i = 0; i < 4; i++) {
        qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_add',"
            " 'arguments': { 'type': 'vhost-dp', 'id': 'vd0',"
            " 'driver': 'vu0', 'queues': 2 } }");
        dp_check_error(qtest_qmp(qts, "{ 'execute': 'qom-set', 'arguments': {"
                                 " 'path': '/objects/vu0', 'property': 'path',"
                                 " 'value': 'elsewhere' } }"),
                       "cannot be changed", "vd0", NULL);
        dp_peer_connect(v->peer);
        if (i % 2) {
            dp_peer_start(v->peer, 2);
        }
        qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_del',"
            " 'arguments': { 'id': 'vd0' } }");
        dp_peer_disconnect(v->peer);
        if (i == 0) {
            before = dp_usage(qts);
        }
    }
    dp_check_usage(qts, before);
    qtest_quit(qts);
    dp_vu_discard(v);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_test("vhost-user/server", NULL, test_server);
    dp_add_test("vhost-user/chardev", NULL, test_chardev);
    dp_add_test("vhost-user/chardev-server", "server", test_chardev);
    dp_add_test("vhost-user/next-peer", NULL, test_next_peer);
    dp_add_test("vhost-user/chardev-next-peer", "chardev", test_next_peer);
    dp_add_test("vhost-user/accept-fails", NULL, test_accept_fails);
    dp_add_test("vhost-user/log", NULL, test_log);
    dp_add_test("vhost-user/no-room", NULL, test_no_room);
    dp_add_test("vhost-user/chardev-no-room", "chardev", test_no_room);
    dp_add_test("vhost-user/no-reconnect", NULL, test_no_reconnect);
    dp_add_test("vhost-user/needs", NULL, test_needs);
    dp_add_test("vhost-user/fewer-pairs", NULL, test_fewer_pairs);
    dp_add_test("vhost-user/plain-protocol", NULL, test_plain_protocol);
    dp_add_test("vhost-user/options", NULL, test_options);
    dp_add_test("vhost-user/no-peer", NULL, test_no_peer);
    dp_add_test("vhost-user/bad-options", NULL, test_bad_options);
    dp_add_test("vhost-user/again", NULL, test_again);
    dp_add_test("vhost-user/no-permission", NULL, test_no_permission);
    return g_test_run();
}
