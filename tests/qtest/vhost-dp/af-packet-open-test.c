/*
 * vhost-dp: qtests of how vhost-dp-af-packet opens its sockets
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Options and their errors, and sockets that somebody else has opened.
 */

#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <net/if.h>
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "veth.h"

#define MAX_PAIRS 4

/* ---- Options, and descriptors from outside ---- */

#define ADD_DRIVER(options) \
    DP_ADD_DRIVER("vhost-dp-af-packet", "drv0", options)
#define ADD_NETDEV(options) DP_ADD_NETDEV("drv0", options)
#define DEL_DRIVER DP_DEL_DRIVER("drv0")

/* A packet socket as somebody else would open it for QEMU */
static int open_socket(int type, const char *name, uint16_t protocol)
{
    struct sockaddr_ll sll = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(protocol),
        .sll_ifindex = name ? if_nametoindex(name) : 0,
    };
    int fd = socket(AF_PACKET, type | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    if (name) {
        g_assert_cmpint(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), ==, 0);
    }
    return fd;
}

static int open_good(void)
{
    return open_socket(SOCK_RAW, "v0", ETH_P_ALL);
}

static int open_other(void)
{
    return open_socket(SOCK_RAW, "v1", ETH_P_ALL);
}

static int open_dgram(void)
{
    return open_socket(SOCK_DGRAM, "v0", ETH_P_ALL);
}

static int open_unbound(void)
{
    return open_socket(SOCK_RAW, NULL, 0);
}

static int open_ip_only(void)
{
    return open_socket(SOCK_RAW, "v0", ETH_P_IP);
}

static int open_loopback(void)
{
    dp_if_up("lo");
    return open_socket(SOCK_RAW, "lo", ETH_P_ALL);
}

/* It has a ring of somebody else's */
static int open_with_ring(void)
{
    int fd = open_good();
    struct tpacket_req req = { 4096, 1, 2048, 2 };

    g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req,
                               sizeof(req)), ==, 0);
    return fd;
}

static const DpBad bads[] = {
    { "missing", ADD_DRIVER("'ifname': 'nosuch0'"), ADD_NETDEV(""),
      { "'drv0'", "ifname=nosuch0", "no such interface" } },
    { "fd-empty", ADD_DRIVER("'fd': ''"), NULL, { "'drv0'", "fd=", "empty" } },
    { "loopback", ADD_DRIVER("'ifname': 'lo'"), ADD_NETDEV(""),
      { "'drv0'", "ifname=lo", "not an Ethernet" } },
    { "no-permission", ADD_DRIVER("'ifname': 'v0'"), ADD_NETDEV(""),
      { "'drv0'", "ifname=v0", "no permission" }, .unprivileged = true },
    { "name-too-long", ADD_DRIVER("'ifname': 'a123456789012345'"), NULL,
      { "'drv0'", "ifname=a123456789012345", "15" } },
    { "name-empty", ADD_DRIVER("'ifname': ''"), NULL, { "'drv0'", "ifname=" } },
    { "ifname-and-fd", ADD_DRIVER("'ifname': 'v0', 'fd': '3'"), NULL,
      { "'drv0'", "ifname=", "fd=", "exclude" } },
    { "fd-and-fds", ADD_DRIVER("'fd': '3', 'fds': '3:4'"), NULL,
      { "'drv0'", "fds=", "fd=", "exclude" } },
    { "two-in-fd", ADD_DRIVER("'fd': '3:4'"), NULL,
      { "'drv0'", "fd=3:4", "takes one" } },
    { "empty-in-fds", ADD_DRIVER("'fds': '3::5'"), NULL,
      { "'drv0'", "fds=3::5", "descriptor 2 is empty" } },
    { "fd-unknown", ADD_DRIVER("'fd': 'nosuch'"), ADD_NETDEV(""),
      { "'drv0'", "fd=nosuch" } },
    { "fd-closed", ADD_DRIVER("'fd': '999'"), ADD_NETDEV(""),
      { "'drv0'", "fd=999", "not a packet socket" } },
    { "fd-stdin", ADD_DRIVER("'fd': '0'"), ADD_NETDEV(""),
      { "'drv0'", "fd=0", "not a packet socket" } },
    { "fd-dgram", ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "SOCK_RAW" }, { open_dgram } },
    { "fd-unbound", ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "not bound to an interface" }, { open_unbound } },
    { "fd-protocol", ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "protocol 0x0800" }, { open_ip_only } },
    { "fd-loopback", ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "'lo' is not an Ethernet" }, { open_loopback } },
    { "fd-udp", ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "not a packet socket" }, { dp_open_udp } },
    { "fd-dev-null", ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "not a packet socket" }, { dp_open_null } },
    { "fd-with-ring", ADD_DRIVER("'fd': 'a'"), ADD_NETDEV(""),
      { "'drv0'", "fd=a", "busy" }, { open_with_ring } },
    { "fds-of-two-interfaces", ADD_DRIVER("'fds': 'a:b'"),
      ADD_NETDEV(", 'queues': 2"), { "'drv0'", "fds=a:b", "'v0'", "'v1'" },
      { open_good, open_other } },
    { "fds-too-many", ADD_DRIVER("'fds': 'a:b'"), ADD_NETDEV(""),
      { "'drv0'", "fds=a:b", "2 descriptors" }, { open_good, open_good },
      .kept = true },
    { "too-many-queues", ADD_DRIVER("'ifname': 'v0'"),
      ADD_NETDEV(", 'queues': 257"), { "queues=257", "1 to 256" } },
};

/* An error that names option and value; QEMU goes on */
static void test_bad(const void *opaque)
{
    const DpBad *bad = opaque;
    QTestState *qts = dp_qemu_new(bad->unprivileged ?
                                  dp_qemu_unprivileged() : NULL);

    dp_veth_new("v0", "v1");
    dp_check_bad(qts, bad, DEL_DRIVER);
    if (!bad->unprivileged) {
        dp_check_good(qts, ADD_DRIVER("'ifname': 'v0'"), ADD_NETDEV(""),
                      DEL_DRIVER);
    }
    qtest_quit(qts);
}

/* Whatever there are too few descriptors for is said, and given back */
static void test_few_descriptors(const void *opaque)
{
    const char *const netdev = ADD_NETDEV(", 'queues': 3, 'iothread': 'io0'");
    QTestState *qts = dp_qemu_new(NULL);
    DpUsage before;
    unsigned left;

    dp_veth_new("v0", "v1");
    dp_run_good(qts, "{ 'execute': 'object-add', 'arguments': {"
                     " 'qom-type': 'iothread', 'id': 'io0' } }");
    dp_run_good(qts, ADD_DRIVER("'ifname': 'v0'"));
    before = dp_usage(qts);
    /* One to look at the interface, and then one for each queue pair */
    for (left = 0; left < 3; left++) {
        struct rlimit old = dp_limit_fds(qts, left);
        QDict *response;

        qtest_qmp_send_raw(qts, "%s", netdev);
        response = qtest_qmp_receive(qts);
        dp_set_limit_fds(qts, old);
        dp_check_error(response, "'drv0'", "ifname=v0", "Too many open files",
                       left ? "cannot open a packet socket" :
                              "cannot look at the interface", NULL);
        dp_check_usage(qts, before);
    }
    dp_run_good(qts, DEL_DRIVER);
    dp_check_good(qts, ADD_DRIVER("'ifname': 'v0'"), netdev, DEL_DRIVER);
    qtest_quit(qts);
}

/* QEMU without privileges uses what it was given, again and again */
static void test_fds(const void *opaque)
{
    const unsigned n = *(const unsigned *)opaque;
    QTestState *qts = dp_qemu_new(dp_qemu_unprivileged());
    DpUsage before = dp_usage(qts);
    int fd[MAX_PAIRS] = {};
    unsigned i;

    dp_veth_new("v0", "v1");
    for (i = 0; i < n; i++) {
        fd[i] = open_good();
    }
    dp_send_fds(qts, fd, n);
    dp_run_good(qts, n > 1 ? ADD_DRIVER("'fds': 'a:b:c:d'") :
                          ADD_DRIVER("'fd': 'a'"));
    for (i = 0; i < 3; i++) {
        QDict *info;

        dp_run_good(qts, n > 1 ? ADD_NETDEV(", 'queues': 4") : ADD_NETDEV(""));
        info = dp_query(qts, "vd0");
        g_assert_cmpstr(qdict_get_str(info, "interface"), ==,
                        n > 1 ? "ifname=v0,fds=a:b:c:d" : "ifname=v0,fd=a");
        g_assert_true(qdict_get_bool(info, "link-up"));
        qobject_unref(info);
        g_assert_cmpuint(dp_if_promiscuity("v0"), ==, 1);
        dp_run_good(qts, DP_DEL_NETDEV);
        g_assert_cmpuint(dp_if_promiscuity("v0"), ==, 0);
    }
    dp_run_good(qts, DEL_DRIVER);
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

/* The same with a guest; one descriptor can be bound again, unprivileged */
static void test_unprivileged(const void *opaque)
{
    const char *qemu = opaque;
    g_autofree char *options = NULL;
    unsigned i;
    DpRig *r;
    int fd;

    dp_veth_new("v0", "v1");
    fd = open_good();
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    options = g_strdup_printf("-object vhost-dp-af-packet,id=drv0,fd=%d "
                              "-netdev vhost-dp,id=vd0,driver=drv0 "
                              DP_DEVICE "disable-legacy=on", fd);
    r = dp_veth_rig(dp_guest_new_env(qemu, options), 0, 1);
    close(fd);
    for (i = 0; i < 3; i++) {
        dp_veth_check_transmit(r, 100, i);
        dp_veth_check_receive(r, 100, i);
        dp_if_delete("v0");
        dp_wait_until(dp_link_is(r, false, "deleted"));
        dp_veth_renew(r, 1);
    }
    dp_rig_free(r);
}

static gpointer keep_sending(gpointer opaque)
{
    int sock = dp_sock_open("v1", false);
    uint8_t frame[100];
    unsigned seed;

    for (seed = 0; !qatomic_read((bool *)opaque); seed++) {
        dp_make_ip_frame(frame, sizeof(frame), IPPROTO_UDP, seed);
        dp_sock_send(sock, NULL, frame, sizeof(frame));
        g_usleep(200);
    }
    close(sock);
    return NULL;
}

/*
 * Takes a frame, and returns true if it is r->frame.  When none waits, r->frame
 * is sent, and again after a second: on a busy machine the sender's frames may
 * still fill the ring of the socket, and the kernel drops what comes then.
 */
static bool is_received(DpRig *r, size_t len, int64_t *again)
{
    unsigned pair = dp_veth_find_received(r);
    size_t got;

    if (pair == MAX_PAIRS) {
        if (g_get_monotonic_time() > *again) {
            dp_veth_send(r, len);
            *again = g_get_monotonic_time() + G_USEC_PER_SEC;
        }
        return false;
    }
    got = dp_receive_on(r->nic, pair, NULL, r->got, DP_MAX_FRAME);
    dp_post_on(r->nic, pair, 1, 300);
    return got == len && !memcmp(r->got, r->frame, len);
}

/* What came before the sockets were a group is forgotten, and nothing else */
static void test_under_traffic(const void *opaque)
{
    g_autofree char *options = NULL;
    bool enough = false;
    int fd[MAX_PAIRS];
    GThread *sender;
    unsigned i;
    DpRig *r;

    dp_veth_new("v0", "v1");
    for (i = 0; i < MAX_PAIRS; i++) {
        fd[i] = open_good();
        g_assert_cmpint(fcntl(fd[i], F_SETFD, 0), ==, 0);
    }
    options = g_strdup_printf("-object vhost-dp-af-packet,id=drv0,"
                              "fds=%d:%d:%d:%d "
                              "-netdev vhost-dp,id=vd0,driver=drv0,queues=4 "
                              DP_DEVICE "disable-legacy=on,mq=on",
                              fd[0], fd[1], fd[2], fd[3]);
    sender = g_thread_new("sender", keep_sending, &enough);
    r = dp_veth_rig(dp_guest_new("%s", options), 0, MAX_PAIRS);
    qatomic_set(&enough, true);
    g_thread_join(sender);
    for (i = 0; i < MAX_PAIRS; i++) {
        close(fd[i]);
        dp_post_on(r->nic, i, 60, 300);
    }
    for (i = 0; i < 48; i++) {
        int64_t again = 0;

        dp_make_ip_frame(r->frame, 200, IPPROTO_UDP, i);
        stw_be_p(r->frame + 34, 1000 + i);
        dp_wait_until(is_received(r, 200, &again));
    }
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    static const unsigned one = 1, four = MAX_PAIRS;
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(bads); i++) {
        g_autofree char *path = g_strdup_printf("af-packet/bad/%s",
                                                bads[i].name);

        dp_add_test(path, &bads[i], test_bad);
    }
    dp_add_test("af-packet/fds-under-traffic", NULL, test_under_traffic);
    dp_add_test("af-packet/few-descriptors", NULL, test_few_descriptors);
    dp_add_test("af-packet/fd", &one, test_fds);
    dp_add_test("af-packet/fds", &four, test_fds);
    dp_add_test("af-packet/unprivileged", dp_qemu_unprivileged(),
                test_unprivileged);
    dp_add_sandbox_test("af-packet/sandbox", test_unprivileged);
    return g_test_run();
}
