/*
 * vhost-dp: qtests of options and errors
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is wrong is refused with an error that names the option and its value,
 * QEMU goes on, and what is right works afterwards.
 */

#include "qemu/osdep.h"
#include <sys/wait.h>
#include "guest.h"
#include "commands.h"

#define ADD_NULL_WITH(id, options) \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': 'vhost-dp-null', 'id': '" id "', " options " } }"

#define MAX_STRINGS 5

/* Commands of which the last one has to fail */
typedef struct Case {
    const char *name;
    const char *before[MAX_STRINGS];
    const char *command;
    const char *texts[MAX_STRINGS];
} Case;

/* ---- How QEMU is asked ---- */

/* A command that is no constant for the compiler, or has a percent sign */
static QDict *run_command(QTestState *qts, const char *command)
{
    qtest_qmp_send_raw(qts, "%s", command);
    return qtest_qmp_receive(qts);
}

static void run_bad(QTestState *qts, const char *command,
                    const char *const *texts)
{
    dp_check_error(run_command(qts, command), texts[0], texts[1], texts[2],
                   texts[3], texts[4], NULL);
}

static void test_case(const void *opaque)
{
    const Case *c = opaque;
    QTestState *qts = qtest_init("-M pc -nodefaults");
    DpUsage before;
    unsigned i;

    for (i = 0; i < MAX_STRINGS && c->before[i]; i++) {
        dp_run_good(qts, c->before[i]);
    }
    before = dp_usage(qts);
    run_bad(qts, c->command, c->texts);
    run_bad(qts, c->command, c->texts);
    dp_check_goes_on(qts);
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

#define ADD_RAM \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': 'memory-backend-ram', 'id': 'mem0', 'size': 1048576 } }"
#define ADD_IOTHREAD \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': 'iothread', 'id': 'io0' } }"

static const Case cases[] = {
    /* -netdev vhost-dp,driver= */
    {
        "driver/missing", {},
        "{ 'execute': 'netdev_add', 'arguments': {"
        " 'type': 'vhost-dp', 'id': 'vd0' } }",
        { "driver", "missing" },
    }, {
        "driver/unknown", { ADD_TAP("tap0") }, ADD_NETDEV("vd0", "nosuch"),
        { "vd0", "driver=nosuch" },
    }, {
        "driver/empty", {}, ADD_NETDEV("vd0", ""), { "vd0", "driver=" },
    }, {
        "driver/of-type-memory-backend-ram", { ADD_RAM },
        ADD_NETDEV("vd0", "mem0"), { "vd0", "driver=mem0",
                                     "memory-backend-ram" },
    }, {
        "driver/of-type-iothread", { ADD_IOTHREAD },
        ADD_NETDEV("vd0", "io0"), { "vd0", "driver=io0", "iothread" },
    }, {
        "driver/claimed", { ADD_TAP("tap0"), ADD_NETDEV("vd0", "tap0") },
        ADD_NETDEV("vd1", "tap0"), { "vd1", "driver=tap0", "'vd0'" },
    }, {
        "driver/delete-claimed", { ADD_TAP("tap0"),
                                   ADD_NETDEV("vd0", "tap0") },
        DEL_OBJECT("tap0"), { "tap0", "in use" },
    }, {
        "netdev/same-id", { ADD_TAP("tap0"), ADD_TAP("tap1"),
                            ADD_NETDEV("vd0", "tap0") },
        ADD_NETDEV("vd0", "tap1"), { "vd0" },
    },

    /* queues= and iothread= */
    {
        "queues/zero", { ADD_TAP("tap0") },
        ADD_NETDEV_WITH("vd0", "tap0", "'queues': 0"),
        { "vd0", "queues=0" },
    }, {
        "queues/too-many", { ADD_TAP("tap0") },
        ADD_NETDEV_WITH("vd0", "tap0", "'queues': 257"),
        { "vd0", "queues=257", "1 to 256" },
    }, {
        "queues/huge", { ADD_TAP("tap0") },
        ADD_NETDEV_WITH("vd0", "tap0", "'queues': 4294967295"),
        { "vd0", "queues=4294967295" },
    }, {
        "queues/negative", { ADD_TAP("tap0") },
        ADD_NETDEV_WITH("vd0", "tap0", "'queues': -1"),
        { "queues" },
    }, {
        "iothread/unknown", { ADD_TAP("tap0") },
        ADD_NETDEV_WITH("vd0", "tap0", "'iothread': 'nosuch'"),
        { "vd0", "iothread=nosuch" },
    }, {
        "iothread/of-another-type", { ADD_TAP("tap0"), ADD_RAM },
        ADD_NETDEV_WITH("vd0", "tap0", "'iothread': 'mem0'"),
        { "vd0", "iothread=mem0" },
    },

    /* -object vhost-dp-tap,ifname= */
    {
        "ifname/too-long", {},
        ADD_TAP_WITH("drv0", "'ifname': 'a123456789012345'"),
        { "drv0", "ifname=a123456789012345", "15" },
    }, {
        "ifname/id-too-long", {}, ADD_TAP("a123456789012345"),
        { "a123456789012345", "ifname=", "15" },
    }, {
        "ifname/empty", {}, ADD_TAP_WITH("drv0", "'ifname': ''"),
        { "drv0", "ifname=", "not a valid name" },
    }, {
        "ifname/slash", {}, ADD_TAP_WITH("drv0", "'ifname': 'a/b'"),
        { "drv0", "ifname=a/b" },
    }, {
        "ifname/colon", {}, ADD_TAP_WITH("drv0", "'ifname': 'a:b'"),
        { "drv0", "ifname=a:b" },
    }, {
        "ifname/space", {}, ADD_TAP_WITH("drv0", "'ifname': 'a b'"),
        { "drv0", "ifname=a b" },
    }, {
        "ifname/dots", {}, ADD_TAP_WITH("drv0", "'ifname': '..'"),
        { "drv0", "ifname=.." },
    }, {
        "ifname/two-numbers", {
            ADD_TAP_WITH("drv0", "'ifname': 't%d%d'") },
        ADD_NETDEV("vd0", "drv0"), { "drv0", "t%d%d" },
    }, {
        "ifname/not-a-tap", { ADD_TAP_WITH("drv0", "'ifname': 'lo'") },
        ADD_NETDEV("vd0", "drv0"), { "drv0", "ifname=lo", "not a tap" },
    }, {
        "ifname/used-by-another-driver", {
            ADD_TAP("tap0"), ADD_NETDEV("vd0", "tap0"),
            ADD_TAP_WITH("drv1", "'ifname': 'tap0'") },
        ADD_NETDEV("vd1", "drv1"), { "drv1", "ifname=tap0", "in use" },
    }, {
        "ifname/change-while-claimed", {
            ADD_TAP("tap0"), ADD_NETDEV("vd0", "tap0") },
        "{ 'execute': 'qom-set', 'arguments': { 'path': '/objects/tap0',"
        " 'property': 'ifname', 'value': 'tap1' } }",
        { "tap0", "ifname=", "'vd0'" },
    }, {
        "fd/change-while-claimed", {
            ADD_TAP("tap0"), ADD_NETDEV("vd0", "tap0") },
        "{ 'execute': 'qom-set', 'arguments': { 'path': '/objects/tap0',"
        " 'property': 'fd', 'value': '3' } }",
        { "tap0", "fd=", "'vd0'" },
    },

    /* -object vhost-dp-null */
    {
        "null/rate-too-high", {},
        ADD_NULL_WITH("drv0", "'rate': 1000000001"),
        { "drv0", "rate=1000000001", "1000000000" },
    }, {
        "null/rate-and-flat-out", {},
        ADD_NULL_WITH("drv0", "'rate': 5, 'flat-out': true"),
        { "drv0", "rate=5", "flat-out=on" },
    }, {
        "null/loopback-and-rate", {},
        ADD_NULL_WITH("drv0", "'loopback': true, 'rate': 5"),
        { "drv0", "loopback=on", "rate=" },
    }, {
        "null/loopback-and-flat-out", {},
        ADD_NULL_WITH("drv0", "'loopback': true, 'flat-out': true"),
        { "drv0", "loopback=on", "flat-out=on" },
    }, {
        "null/size-too-small", {}, ADD_NULL_WITH("drv0", "'size': 21"),
        { "drv0", "size=21", "22" },
    }, {
        "null/size-too-large", {}, ADD_NULL_WITH("drv0", "'size': 65565"),
        { "drv0", "size=65565", "65564" },
    }, {
        "null/burst-zero", {}, ADD_NULL_WITH("drv0", "'burst': 0"),
        { "drv0", "burst=0", "64" },
    }, {
        "null/burst-too-large", {}, ADD_NULL_WITH("drv0", "'burst': 65"),
        { "drv0", "burst=65", "64" },
    },
    /* -object vhost-dp-tap,fd= */
    {
        "fd/and-ifname", {},
        ADD_TAP_WITH("drv0", "'ifname': 'tap0', 'fd': '5'"),
        { "drv0", "ifname=tap0", "fd=5" },
    }, {
        "fd/not-open", { ADD_TAP_WITH("drv0", "'fd': '4000'") },
        ADD_NETDEV("vd0", "drv0"), { "drv0", "fd=4000" },
    }, {
        "fd/negative", { ADD_TAP_WITH("drv0", "'fd': '-1'") },
        ADD_NETDEV("vd0", "drv0"), { "drv0", "fd=-1" },
    }, {
        "fd/beyond-int", { ADD_TAP_WITH("drv0", "'fd': '99999999999'") },
        ADD_NETDEV("vd0", "drv0"), { "drv0", "fd=99999999999" },
    }, {
        "fd/not-a-number", { ADD_TAP_WITH("drv0", "'fd': '3x'") },
        ADD_NETDEV("vd0", "drv0"), { "drv0", "fd=3x" },
    }, {
        "fd/standard-input", { ADD_TAP_WITH("drv0", "'fd': '0'") },
        ADD_NETDEV("vd0", "drv0"), { "drv0", "fd=0", "tap" },
    }, {
        "fd/unknown-name", { ADD_TAP_WITH("drv0", "'fd': 'nosuch'") },
        ADD_NETDEV("vd0", "drv0"), { "drv0", "fd=nosuch" },
    },

    /* -object vhost-dp-tap,fds= */
    {
        "fds/and-ifname", {},
        ADD_TAP_WITH("drv0", "'ifname': 'tap0', 'fds': '5:6'"),
        { "drv0", "ifname=tap0", "fds=5:6" },
    }, {
        "fds/and-fd", {},
        ADD_TAP_WITH("drv0", "'fd': '4', 'fds': '5:6'"),
        { "drv0", "fd=4", "fds=5:6" },
    }, {
        "fds/empty", {}, ADD_TAP_WITH("drv0", "'fds': ''"),
        { "drv0", "fds=", "descriptor 1 is empty" },
    }, {
        "fd/two", {}, ADD_TAP_WITH("drv0", "'fd': '3:4'"),
        { "drv0", "fd=3:4", "takes one" },
    }, {
        "fds/empty-element", {}, ADD_TAP_WITH("drv0", "'fds': '3::4'"),
        { "drv0", "fds=3::4", "descriptor 2" },
    }, {
        "fds/more-than-queues", { ADD_TAP_WITH("drv0", "'fds': '3:4'") },
        ADD_NETDEV("vd0", "drv0"), { "drv0", "fds=3:4", "queues=1" },
    }, {
        "fds/not-open", { ADD_TAP_WITH("drv0", "'fds': '4000:4001'") },
        ADD_NETDEV_WITH("vd0", "drv0", "'queues': 2"),
        { "drv0", "fds=4000:4001" },
    }, {
        "fds/change-while-claimed", {
            ADD_TAP("tap0"), ADD_NETDEV("vd0", "tap0") },
        "{ 'execute': 'qom-set', 'arguments': { 'path': '/objects/tap0',"
        " 'property': 'fds', 'value': '3:4' } }",
        { "tap0", "fds=", "'vd0'" },
    },

    /* -object vhost-dp-tap,sndbuf= */
    {
        "sndbuf/not-a-number", {}, ADD_TAP_WITH("drv0", "'sndbuf': 'x'"),
        { "sndbuf" },
    }, {
        "sndbuf/change-while-claimed", {
            ADD_TAP("tap0"), ADD_NETDEV("vd0", "tap0") },
        "{ 'execute': 'qom-set', 'arguments': { 'path': '/objects/tap0',"
        " 'property': 'sndbuf', 'value': 100000 } }",
        { "tap0", "sndbuf=", "'vd0'" },
    },

    /* The device */
    {
        "nic/e1000", { ADD_TAP("tap0"), ADD_NETDEV("vd0", "tap0") },
        "{ 'execute': 'device_add', 'arguments': { 'driver': 'e1000',"
        " 'netdev': 'vd0', 'addr': '05.0' } }",
        { "netdev", "'vd0'", "e1000" },
    }, {
        "nic/rtl8139", { ADD_TAP("tap0"), ADD_NETDEV("vd0", "tap0") },
        "{ 'execute': 'device_add', 'arguments': { 'driver': 'rtl8139',"
        " 'netdev': 'vd0', 'addr': '05.0' } }",
        { "netdev", "'vd0'", "rtl8139" },
    }, {
        "filter", { ADD_TAP("tap0"), ADD_NETDEV("vd0", "tap0") },
        "{ 'execute': 'object-add', 'arguments': {"
        " 'qom-type': 'filter-buffer', 'id': 'f0', 'netdev': 'vd0',"
        " 'interval': 1000 } }",
        { "host" },             /* "Vhost is not supported" */
    },
};

/* ---- A hub ---- */

/* A netdev that is connected to a hub, and the NIC behind the hub sends */
static void test_hubport(const void *opaque)
{
    QTestState *qts = qtest_init(
        "-M pc -nodefaults " DP_NETDEV
        "-netdev hubport,id=h0,hubid=0,netdev=vd0 "
        "-netdev hubport,id=h1,hubid=0 -device e1000,netdev=h1,romfile= ");

    qtest_qmp_assert_success(qts, "{ 'execute': 'announce-self',"
                             " 'arguments': { 'initial': 10, 'max': 10,"
                             " 'rounds': 1, 'step': 10 } }");
    dp_check_goes_on(qts);
    qtest_quit(qts);
}

/* ---- The command line ---- */

typedef struct CommandLine {
    const char *name;
    const char *options;
    const char *texts[MAX_STRINGS];
    bool unprivileged;
    const char *around;         /* what runs QEMU */
} CommandLine;

/* As in a container, or with libvirt: the host has it, and QEMU does not */
#define NO_TUN "unshare --mount sh -c 'mount -t tmpfs none /dev/net && " \
               "exec \"$@\"' sh"

static const CommandLine command_lines[] = {
    { "driver-missing", "-netdev vhost-dp,id=vd0", { "driver", "missing" } },
    { "driver-unknown", "-netdev vhost-dp,id=vd0,driver=nosuch",
      { "driver=nosuch", "-object vhost-dp-tap,id=nosuch" } },
    { "driver-of-another-type",
      "-object iothread,id=io0 -netdev vhost-dp,id=vd0,driver=io0",
      { "driver=io0", "iothread" } },
    { "driver-claimed", DP_NETDEV "-netdev vhost-dp,id=vd1,driver=tap0",
      { "driver=tap0", "vd0", "vd1" } },
    { "queues", "-object vhost-dp-tap,id=tap0 "
      "-netdev vhost-dp,id=vd0,driver=tap0,queues=257", { "queues=257" } },
    { "fds-and-queues", "-object vhost-dp-tap,id=tap0,fds=3:4:5 "
      "-netdev vhost-dp,id=vd0,driver=tap0,queues=2",
      { "fds=3:4:5", "queues=2" } },
    { "multi-queue-no-permission",
      "-object vhost-dp-tap,id=tap0 "
      "-netdev vhost-dp,id=vd0,driver=tap0,queues=2",
      { "'tap0'", "permission", "multi_queue", "fds=" },
      .unprivileged = true },
    { "iothread", "-object vhost-dp-tap,id=tap0 "
      "-netdev vhost-dp,id=vd0,driver=tap0,iothread=nosuch",
      { "iothread=nosuch", "-object iothread,id=nosuch" } },
    { "ifname-too-long",
      "-object vhost-dp-tap,id=tap0,ifname=a123456789012345",
      { "ifname=a123456789012345" } },
    { "id-too-long", "-object vhost-dp-tap,id=a123456789012345",
      { "id=a123456789012345", "ifname=" } },
    { "fd-and-ifname", "-object vhost-dp-tap,id=tap0,fd=3,ifname=tap0",
      { "fd=3", "ifname=tap0" } },
    { "not-a-tap", "-object vhost-dp-tap,id=lo "
      "-netdev vhost-dp,id=vd0,driver=lo", { "'lo'", "ifname=" } },
    { "no-permission", DP_NETDEV,
      { "'tap0'", "permission", "ip tuntap add", "fd=" },
      .unprivileged = true },
    { "no-device", DP_NETDEV,
      { "cannot open /dev/net/tun", "modprobe tun", "container", "fd=" },
      .around = NO_TUN },
    { "e1000", DP_NETDEV "-device e1000,netdev=vd0",
      { "vd0", "e1000", "virtio-net-pci" } },
    { "net-nic", DP_NETDEV "-net nic,netdev=vd0",
      { "vd0", "e1000", "virtio-net-pci" } },
    { "nic-model", "-object vhost-dp-null,id=n "
      "-nic vhost-dp,driver=n,model=e1000,id=vd0",
      { "vd0", "e1000", "virtio-net-pci" } },
    { "legacy-net", "-object vhost-dp-tap,id=tap0 "
      "-net nic -net vhost-dp,driver=tap0", { "vhost-dp", "-netdev" } },
    { "unknown-option", "-object vhost-dp-tap,id=tap0 "
      "-netdev vhost-dp,id=vd0,driver=tap0,vhost=on", { "vhost" } },
    { "unknown-object-option", "-object vhost-dp-tap,id=tap0,script=no",
      { "script" } },
    { "abstract-driver", "-object vhost-dp-driver,id=d0",
      { "vhost-dp-driver" } },
};

/* Run QEMU, which must end by itself with status 1; what it says */
static char *run_qemu(const CommandLine *c)
{
    g_autofree char *command = g_strdup_printf(
        "exec %s %s -M pc -accel qtest -nodefaults -display none %s",
        c->around ?: "",
        getenv(c->unprivileged ? dp_qemu_unprivileged() :
                                 "QTEST_QEMU_BINARY"), c->options);
    char *argv[] = { (char *)"/bin/sh", (char *)"-c", command, NULL };
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;
    g_autoptr(GString) text = g_string_new("");
    char buf[1024];
    int out, status;
    ssize_t n;
    GPid pid;

    g_assert_true(g_spawn_async_with_pipes(NULL, argv, NULL,
                                           G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                                           NULL, &pid, NULL, NULL, &out,
                                           NULL));
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (g_get_monotonic_time() > end) {
            kill(pid, SIGKILL);
            g_error("QEMU should have refused: %s", c->options);
        }
        g_usleep(1000);
    }
    while ((n = read(out, buf, sizeof(buf))) > 0) {
        g_string_append_len(text, buf, n);
    }
    close(out);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1) {
        g_error("QEMU ended with 0x%x: %s", status, text->str);
    }
    return g_strdup(text->str);
}

static void test_command_line(const void *opaque)
{
    const CommandLine *c = opaque;
    g_autofree char *text = run_qemu(c);
    unsigned i;

    g_test_message("%s", text);
    for (i = 0; i < MAX_STRINGS && c->texts[i]; i++) {
        if (!strstr(text, c->texts[i])) {
            g_test_message("\"%s\" should be in the error", c->texts[i]);
            g_test_fail();
        }
    }
}

/* -nic takes the one model that fits, whatever the machine's default is */
static void test_nic(const void *opaque)
{
    const char *machine = opaque;
    g_autofree char *args = g_strdup_printf(
        "-M %s -nodefaults -object vhost-dp-null,id=n "
        "-nic vhost-dp,driver=n,id=vd0,mac=52:54:00:12:34:56", machine);
    QTestState *qts = qtest_init(args);
    g_autofree char *tree = qtest_hmp(qts, "info qtree");
    g_autofree char *network = qtest_hmp(qts, "info network");

    g_assert_nonnull(strstr(tree, "dev: virtio-net-pci"));
    g_assert_nonnull(strstr(tree, "netdev = \"vd0\""));
    g_assert_nonnull(strstr(network, "macaddr=52:54:00:12:34:56"));
    dp_check_goes_on(qts);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("error/%s", cases[i].name);

        dp_add_test(path, &cases[i], test_case);
    }
    for (i = 0; i < ARRAY_SIZE(command_lines); i++) {
        g_autofree char *path = g_strdup_printf("command-line/%s",
                                                command_lines[i].name);

        dp_add_test(path, &command_lines[i], test_command_line);
    }
    dp_add_test("nic/pc", "pc", test_nic);
    dp_add_test("nic/q35", "q35", test_nic);
    dp_add_test("hubport", NULL, test_hubport);
    return g_test_run();
}
