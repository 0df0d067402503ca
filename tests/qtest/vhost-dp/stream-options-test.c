/*
 * vhost-dp: qtests of vhost-dp-stream, its options and addresses
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/capability.h>
#include "qobject/qdict.h"
#include "commands.h"
#include "stream-peer.h"

#define ADD_STREAM(options) ADD_DRIVER("stream", "st0", ", " options)
#define NETDEV ADD_NETDEV("vd0", "st0")

/* ---- All kinds of addresses ---- */

static void unix_client(DpStream *s)
{
    g_autofree char *options = g_strdup_printf("addr.type=unix,addr.path=%s",
                                               s->path);

    dp_stream_listen(s);
    dp_stream_start(s, "", options);
    dp_stream_accept(s);
}

static void unix_server(DpStream *s)
{
    g_autofree char *options = g_strdup_printf(
        "server=on,addr.type=unix,addr.path=%s", s->path);

    dp_stream_start(s, "", options);
    dp_stream_connect(s);
}

/* JSON has the address as an object */
static void unix_json(DpStream *s)
{
    g_autofree char *before = NULL;

    before = g_strdup_printf("-object '{\"qom-type\": \"vhost-dp-stream\","
                             " \"id\": \"other\", \"server\": true, \"addr\":"
                             " {\"type\": \"unix\", \"path\": \"%s\"}}' "
                             "-netdev vhost-dp,id=vd1,driver=other", s->path);
    dp_stream_start(s, before, "server=on,addr.type=unix,addr.abstract=on,"
                    "addr.path=vhost-dp-test");
    dp_stream_connect(s);
}

static void abstract_client(DpStream *s)
{
    static const struct sockaddr_un addr = {
        .sun_family = AF_UNIX, .sun_path = "\0vhost-dp-test",
    };
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + 14;

    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(s->listen_fd, (const struct sockaddr *)&addr, len),
                    ==, 0);
    g_assert_cmpint(listen(s->listen_fd, 1), ==, 0);
    dp_stream_start(s, "", "addr.type=unix,addr.path=vhost-dp-test,"
                    "addr.abstract=on");
    dp_stream_accept(s);
}

static void start_inet_client(DpStream *s, const char *host)
{
    g_autofree char *options = NULL;

    dp_if_up("lo");
    options = g_strdup_printf("addr.type=inet,addr.host=%s,addr.port=%u",
                              host, dp_stream_listen_inet(s));
    dp_stream_start(s, "", options);
    dp_stream_accept(s);
}

static void inet_client(DpStream *s)
{
    start_inet_client(s, "127.0.0.1");
}

/* Names are looked up where there is an address of another interface than lo */
static void add_address(void)
{
    dp_tap_new("tap0", 0);
    dp_if_set_address("tap0", "198.51.100.1");
}

static void name_client(DpStream *s)
{
    add_address();
    start_inet_client(s, "localhost,addr.ipv4=on");
}

/* query-vhost-dp has the port that the kernel has chosen, or 0 */
static unsigned port_of(DpStream *s)
{
    QDict *info = dp_query(s->r->qts, "vd0");
    unsigned port = 0;

    /* Until a name was looked up, it is the one of the option */
    if (sscanf(qdict_get_str(info, "interface"), "addr=tcp:127.0.0.1:%u,",
               &port) != 1) {
        port = 0;
    }
    qobject_unref(info);
    return port;
}

static void start_inet_server(DpStream *s, const char *host)
{
    g_autofree char *options = g_strdup_printf(
        "server=on,addr.type=inet,addr.port=0,addr.host=%s", host);

    dp_if_up("lo");
    dp_stream_start(s, "", options);
    dp_wait_until(port_of(s));
    dp_stream_connect_inet(s, port_of(s));
}

static void inet_server(DpStream *s)
{
    start_inet_server(s, "127.0.0.1");
}

static void name_server(DpStream *s)
{
    add_address();
    start_inet_server(s, "localhost,addr.ipv4=on");
}

/* Numbers, which QEMU inherits */
static void fd_client(DpStream *s)
{
    g_autofree char *options = NULL;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    s->fd = fds[0];
    options = g_strdup_printf("addr.type=fd,addr.str=%d", fds[1]);
    dp_stream_start(s, "", options);
    close(fds[1]);
}

static void fd_server(DpStream *s)
{
    g_autofree char *options = NULL;

    dp_stream_listen(s);
    fcntl(s->listen_fd, F_SETFD, 0);
    options = g_strdup_printf("server=on,addr.type=fd,addr.str=%d",
                              s->listen_fd);
    dp_stream_start(s, "", options);
    close(s->listen_fd);
    s->listen_fd = -1;
    dp_stream_connect(s);
}

static const struct {
    const char *name;
    void (*fn)(DpStream *s);
} ways[] = {
    { "unix-client", unix_client },
    { "unix-server", unix_server },
    { "abstract-client", abstract_client },
    { "inet-client", inet_client },
    { "inet-server", inet_server },
    { "name-client", name_client },
    { "name-server", name_server },
    { "fd-client", fd_client },
    { "fd-server", fd_server },
};

static void test_way(const void *opaque)
{
    DpStream *s = dp_stream_prepare();
    void (*const *fn)(DpStream *s) = opaque;

    (*fn)(s);
    dp_stream_check_traffic(s);
    dp_stream_check_to_peer(s, 9000, 1);
    dp_stream_check_to_guest(s, 9000, 2);
    dp_stream_free(s);
}

static void test_json(const void *opaque)
{
    DpStream *s = dp_stream_prepare();

    unix_json(s);
    dp_stream_free(s);
}

static bool is_connected(QTestState *qts)
{
    QDict *info = dp_query(qts, "vd0");
    bool connected = qdict_get_bool(qdict_get_qdict(info, "peer"),
                                    "connected");

    qobject_unref(info);
    return connected;
}

/* A name that was given to getfd; the socket stays when the netdev goes */
static void test_getfd(const void *opaque)
{
    QTestState *qts = qtest_init("-M none -nodefaults");
    DpUsage before, after = dp_usage(qts);
    int fds[2];
    unsigned i;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                    ==, 0);
    dp_send_fds(qts, &fds[1], 1);
    dp_run_good(qts, ADD_STREAM("'addr': { 'type': 'fd', 'str': 'a' }"));
    before = dp_usage(qts);
    for (i = 0; i < 3; i++) {
        dp_run_good(qts, NETDEV);
        g_assert_true(is_connected(qts));
        dp_run_good(qts, DEL_NETDEV("vd0"));
        dp_check_usage(qts, before);
    }
    dp_run_good(qts, DEL_OBJECT("st0"));
    dp_check_usage(qts, after);
    qtest_quit(qts);
    close(fds[0]);
}

/* A socket whose connection has ended is not taken for a connected one */
static void test_fd_ended(const void *opaque)
{
    DpStream *s = dp_stream_prepare();

    fd_client(s);
    dp_stream_check_traffic(s);
    dp_post(s->r->nic, 1, 200);
    dp_stream_disconnect(s);
    dp_wait_until(dp_link_is(s->r, false, "closed the connection"));
    dp_run_good(s->r->qts, ADD_DRIVER("null", "null0", ""));
    dp_set_driver(s->r->qts, "null0");
    dp_check_error(dp_try_set_driver(s->r->qts, "st0"),
                   "vhost-dp-stream 'st0'", "its connection has ended", NULL);
    dp_check_driver(s->r->qts, "null0");
    dp_stream_free(s);
}

static void test_events(const void *opaque)
{
    DpStream *s = dp_stream_prepare();
    QDict *event, *data;

    unix_server(s);
    event = qtest_qmp_eventwait_ref(s->r->qts, "NETDEV_STREAM_CONNECTED");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "netdev-id"), ==, "vd0");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(data, "addr"), "path"), ==,
                    s->path);
    qobject_unref(event);
    dp_stream_check_traffic(s);
    dp_post(s->r->nic, 1, 200);
    dp_stream_disconnect(s);
    event = qtest_qmp_eventwait_ref(s->r->qts, "NETDEV_STREAM_DISCONNECTED");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "netdev-id"), ==, "vd0");
    qobject_unref(event);
    dp_stream_free(s);
}

/* ---- What is refused ---- */

static const struct {
    const char *options;
    const char *want;
} bad_options[] = {
    { "'server': true", "addr" },
    { "'addr': { 'type': 'unix', 'path': '' }", "addr.path=: the path" },
    { "'addr': { 'type': 'unix', 'path': '1234567890123456789012345678901234"
      "5678901234567890123456789012345678901234567890123456789012345678901234"
      "5678' }", "1 to 107 bytes" },
    { "'addr': { 'type': 'inet', 'host': '', 'port': '1' }",
      "addr.host= is empty" },
    { "'addr': { 'type': 'inet', 'host': 'a', 'port': '' }", "addr.port=:" },
    { "'addr': { 'type': 'inet', 'host': 'a', 'port': '65536' }",
      "addr.port=65536: 0 to 65535" },
    { "'addr': { 'type': 'inet', 'host': 'a', 'port': '1', 'to': 2 }",
      "addr.to=2 needs server=on" },
    { "'addr': { 'type': 'fd', 'str': '' }", "addr.str=: descriptor 1" },
    { "'addr': { 'type': 'fd', 'str': '3:4' }", "addr.str=3:4" },
    { "'addr': { 'type': 'fd', 'str': '3' }, 'reconnect-ms': 1",
      "reconnect-ms=1 excludes addr.type=fd" },
    { "'addr': { 'type': 'unix', 'path': 'x' }, 'reconnect-ms': 60001",
      "reconnect-ms=60001: 0 to 60000" },
    { "'addr': { 'type': 'unix', 'path': 'x' }, 'reconnect-ms': 5,"
      " 'server': true", "reconnect-ms=5 excludes server=on" },
    { "'addr': { 'type': 'pigeon' }", "pigeon" },
};

static void test_bad_options(const void *opaque)
{
    QTestState *qts = qtest_init("-M none -nodefaults");
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(bad_options); i++) {
        g_autofree char *object = g_strdup_printf(
            "{ 'execute': 'object-add', 'arguments': { 'id': 'st0',"
            " 'qom-type': 'vhost-dp-stream', %s } }", bad_options[i].options);

        dp_check_error(qtest_qmp(qts, object, NULL), bad_options[i].want, NULL);
    }
    qtest_quit(qts);
}

static void check_netdev_error(QTestState *qts, const char *options,
                               const char *want, const char *more)
{
    g_autofree char *object = g_strdup_printf(
        "{ 'execute': 'object-add', 'arguments': { 'id': 'st0',"
        " 'qom-type': 'vhost-dp-stream', %s } }", options);

    qtest_qmp_assert_success(qts, object, NULL);
    dp_check_error(qtest_qmp(qts, NETDEV), "vhost-dp-stream 'st0'", want, more,
                   NULL);
    dp_run_good(qts, DEL_OBJECT("st0"));
}

static void test_no_peer(const void *opaque)
{
    DpStream *s = dp_stream_prepare();
    g_autofree char *options = g_strdup_printf(
        "'addr': { 'type': 'unix', 'path': '%s' }", s->path);
    g_autofree char *nowhere = g_strdup_printf(
        "'addr': { 'type': 'unix', 'path': '%s/no/where' }, 'server': true",
        s->dir);
    QTestState *qts;
    DpUsage before;

    prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);
    qts = qtest_init("-M none -nodefaults");
    before = dp_usage(qts);
    check_netdev_error(qts, options, s->path, "No such file");
    dp_stream_listen(s);
    g_assert_cmpint(chmod(s->path, 0), ==, 0);
    check_netdev_error(qts, options, s->path, "Permission denied");
    g_assert_cmpint(chmod(s->path, 0700), ==, 0);
    close(s->listen_fd);
    s->listen_fd = -1;
    check_netdev_error(qts, options, s->path, "Connection refused");
    check_netdev_error(qts, nowhere, "no/where", NULL);
    dp_check_usage(qts, before);
    qtest_quit(qts);
    dp_stream_free(s);
}

static void test_port_in_use(const void *opaque)
{
    DpStream *s = dp_stream_prepare();
    QTestState *qts = qtest_init("-M none -nodefaults");
    g_autofree char *options = NULL;

    dp_if_up("lo");
    options = g_strdup_printf("'server': true, 'addr': { 'type': 'inet',"
                              " 'host': '127.0.0.1', 'port': '%u' }",
                              dp_stream_listen_inet(s));
    check_netdev_error(qts, options, "cannot listen at addr=tcp:127.0.0.1:",
                       "Address already in use");
    qtest_quit(qts);
    dp_stream_free(s);
}

static int open_null(void)
{
    return open("/dev/null", O_RDWR);
}

static int open_datagram(void)
{
    return socket(AF_UNIX, SOCK_DGRAM, 0);
}

static int open_stream(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int open_listening(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    /* The kernel chooses an abstract address */
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr,
                         sizeof(sa_family_t)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

static const struct {
    int (*open)(void);
    const char *more;
    const char *want;
} bad_fds[] = {
    { open_null, "", "addr.str=a is not a stream socket" },
    { open_datagram, "", "addr.str=a is not a stream socket" },
    { open_stream, ", 'server': true", "addr.str=a is not a listening socket" },
    { open_stream, "", "addr.str=a is not connected" },
    { open_listening, "", "addr.str=a is a listening socket" },
    { NULL, "", "addr.str=a" },
};

static void test_bad_fds(const void *opaque)
{
    QTestState *qts = qtest_init("-M none -nodefaults");
    DpUsage before = dp_usage(qts);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(bad_fds); i++) {
        g_autofree char *options = g_strdup_printf(
            "'addr': { 'type': 'fd', 'str': 'a' } %s", bad_fds[i].more);

        if (bad_fds[i].open) {
            int fd = bad_fds[i].open();

            g_assert_cmpint(fd, >=, 0);
            dp_send_fds(qts, &fd, 1);
        }
        check_netdev_error(qts, options, bad_fds[i].want, NULL);
        dp_check_usage(qts, before);
    }
    qtest_quit(qts);
}

/* ---- While something takes long ---- */

/*
 * Nobody answers for an address: the monitor does not wait for that, neither
 * when the netdev comes nor when it goes
 */
static void test_no_answer(const void *opaque)
{
    QTestState *qts = qtest_init("-M none -nodefaults");
    DpUsage before = dp_usage(qts);
    int tap = dp_tap_open("tap0", 0);
    int64_t start;
    unsigned i;

    /* By which the kernel tells itself that nobody answers */
    dp_if_up("lo");
    dp_if_set_address("tap0", "198.51.100.1");
    dp_if_up("tap0");
    dp_if_wait_running("tap0");
    start = g_get_monotonic_time();
    for (i = 0; i < 3; i++) {
        dp_run_good(qts, ADD_STREAM("'reconnect-ms': 1, 'addr': {"
                                    " 'type': 'inet', 'host': '198.51.100.2',"
                                    " 'port': '1' }"));
        dp_run_good(qts, NETDEV);
        g_usleep(i * DP_QUIET_US);
        dp_run_good(qts, DEL_NETDEV("vd0"));
        dp_run_good(qts, DEL_OBJECT("st0"));
    }
    /* ARP takes 3 s to give up */
    g_assert_cmpint(g_get_monotonic_time() - start, <, 2500 * 1000);
    dp_check_usage(qts, before);
    qtest_quit(qts);
    close(tap);
}

static bool link_has(QTestState *qts, const char *word)
{
    QDict *info = dp_query(qts, "vd0");
    bool has = !qdict_get_bool(info, "link-up") &&
               strstr(qdict_get_str(info, "link-reason"), word);

    qobject_unref(info);
    return has;
}

/* It is refused, and tried again; the options hold while a netdev uses it */
static void test_refused(const void *opaque)
{
    QTestState *qts = qtest_init("-M none -nodefaults");

    dp_if_up("lo");
    dp_run_good(qts, ADD_STREAM("'reconnect-ms': 10, 'addr': {"
                                " 'type': 'inet', 'host': '127.0.0.1',"
                                " 'port': '1' }"));
    dp_run_good(qts, NETDEV);
    dp_wait_until(link_has(qts, "cannot connect to tcp:127.0.0.1:1: "));
    g_assert_true(link_has(qts, "Connection refused"));
    dp_check_error(qtest_qmp(qts, "{ 'execute': 'qom-set', 'arguments': {"
                             " 'path': '/objects/st0', 'property': 'addr',"
                             " 'value': { 'type': 'fd', 'str': '9' } } }"),
                   "addr= cannot be changed", "vd0", NULL);
    dp_run_good(qts, DEL_NETDEV("vd0"));
    dp_run_good(qts, "{ 'execute': 'qom-set', 'arguments': {"
                " 'path': '/objects/st0', 'property': 'addr',"
                " 'value': { 'type': 'unix', 'path': '/dev/null/x' } } }");
    dp_check_error(qtest_qmp(qts, NETDEV), "addr.path=/dev/null/x",
                   "Not a directory", NULL);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(ways); i++) {
        g_autofree char *path = g_strdup_printf("stream/to/%s", ways[i].name);

        dp_add_test(path, &ways[i].fn, test_way);
    }
    dp_add_test("stream/to/json", NULL, test_json);
    dp_add_test("stream/getfd", NULL, test_getfd);
    dp_add_test("stream/fd-ended", NULL, test_fd_ended);
    dp_add_test("stream/events", NULL, test_events);
    dp_add_test("stream/bad-options", NULL, test_bad_options);
    dp_add_test("stream/no-peer", NULL, test_no_peer);
    dp_add_test("stream/port-in-use", NULL, test_port_in_use);
    dp_add_test("stream/bad-fds", NULL, test_bad_fds);
    dp_add_test("stream/no-answer", NULL, test_no_answer);
    dp_add_test("stream/refused", NULL, test_refused);
    return g_test_run();
}
