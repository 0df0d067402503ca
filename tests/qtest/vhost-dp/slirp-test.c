/*
 * vhost-dp: qtests of vhost-dp-slirp
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Datagrams, and what the monitor says about forwarded ports.  For TCP see
 * slirp-guestfwd-test.c and tests/guest, for options
 * slirp-options-test.c.
 */

#include "qemu/osdep.h"
#include <arpa/inet.h>
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "slirp-guest.h"
#include "slirp-shim.h"

#define QEMU_VARIABLE "VHOST_DP_QTEST_QEMU_SLIRP"

/* A UDP socket on the host's loopback */
static int host_socket(uint16_t *port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons(*port),
    };
    struct timeval timeout = { .tv_sec = DP_TIMEOUT_US / G_USEC_PER_SEC };
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    g_assert_cmpint(bind(fd, (void *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(getsockname(fd, (void *)&addr, &len), ==, 0);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
                               sizeof(timeout)), ==, 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

static void expect_text(int fd, const char *want, struct sockaddr_in *from)
{
    char text[100];
    socklen_t len = sizeof(*from);
    ssize_t n = recvfrom(fd, text, sizeof(text) - 1, 0, (void *)from, &len);

    g_assert_cmpint(n, >=, 0);
    text[n] = 0;
    g_assert_cmpstr(text, ==, want);
}

/* ---- Tests ---- */

static void test_ping(const void *opaque)
{
    Slirp *s = slirp_start("");
    unsigned n;

    for (n = 0; n < 1001; n += 250) {
        slirp_check_ping(s, n);
    }
    slirp_end(s);
}

/* @partial: with checksum offload */
static void check_udp(const char *qemu, bool partial)
{
    Slirp *s = slirp_start_on(qemu, false, "");
    struct virtio_net_hdr hdr = {
        .flags = partial ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
        .csum_start = cpu_to_le16(ETH_LEN + IP_LEN),
        .csum_offset = cpu_to_le16(6),
    };
    struct sockaddr_in from;
    uint8_t f[200];
    uint16_t port = 0;
    int fd = host_socket(&port);
    unsigned i;

    for (i = 0; i < 5; i++) {
        size_t len = slirp_make_udp(s, f, port, "to the host", partial);

        dp_transmit(s->nic, &hdr, f, len);
        expect_text(fd, "to the host", &from);
        g_assert_cmpint(sendto(fd, "and back", 8, 0, (void *)&from,
                               sizeof(from)), ==, 8);
        g_assert_cmpint(slirp_receive(s, ETH_P_IP), >=, PAYLOAD + 8);
        g_assert_cmpmem(s->got + PAYLOAD, 8, "and back", 8);
        g_assert_cmpint(lduw_be_p(s->got + ETH_LEN + IP_LEN + 2), ==,
                        GUEST_PORT);
        g_assert_cmphex(slirp_udp_sum(s->got, PAYLOAD + 8), ==, 0xffff);
    }
    close(fd);
    slirp_end(s);
}

static void test_udp(const void *opaque)
{
    check_udp(NULL, false);
}

static void test_udp_offload(const void *opaque)
{
    check_udp(NULL, true);
}

static void test_udp_sandboxed(const void *qemu)
{
    check_udp(qemu, false);
}

static void test_hostfwd(const void *opaque)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons(6001),
    };
    Slirp *s = slirp_start(",hostfwd=udp:127.0.0.1:6001-:5001,"
                           "hostfwd=tcp:127.0.0.1:6001-10.0.2.15:22");
    uint16_t port = 0;
    int fd = host_socket(&port);

    g_assert_cmpint(sendto(fd, "hello", 5, 0, (void *)&to, sizeof(to)), ==, 5);
    g_assert_cmpint(slirp_receive(s, ETH_P_IP), >=, PAYLOAD + 5);
    g_assert_cmpmem(s->got + PAYLOAD, 5, "hello", 5);
    g_assert_cmphex(ldl_be_p(s->got + ETH_LEN + 16), ==, GUEST_IP);
    g_assert_cmpint(lduw_be_p(s->got + ETH_LEN + IP_LEN + 2), ==, GUEST_PORT);
    close(fd);
    slirp_end(s);
}

/* Port 6001 of the host leads to the guest, or not */
static void check_port(Slirp *s, bool open)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons(6001),
    };
    uint16_t port = 0;
    int fd = host_socket(&port);
    char c;

    g_assert_cmpint(connect(fd, (void *)&to, sizeof(to)), ==, 0);
    g_assert_cmpint(send(fd, "hello", 5, 0), ==, 5);
    if (open) {
        g_assert_cmpint(slirp_receive(s, ETH_P_IP), >=, PAYLOAD + 5);
        g_assert_cmpmem(s->got + PAYLOAD, 5, "hello", 5);
    } else {
        g_assert_cmpint(recv(fd, &c, 1, 0), ==, -1);
        g_assert_cmpint(errno, ==, ECONNREFUSED);
    }
    close(fd);
}

/* Ports that are forwarded, and no longer, while the IOThread runs libslirp */
static void test_hostfwd_monitor(const void *opaque)
{
    Slirp *s = slirp_start("");
    unsigned i;

    check_port(s, false);
    for (i = 0; i < 3; i++) {
        g_autofree char *added = NULL, *info = NULL, *removed = NULL;

        added = qtest_hmp(s->qts, "hostfwd_add vd0 udp:127.0.0.1:6001-:5001");
        g_assert_cmpstr(added, ==, "");
        check_port(s, true);
        info = qtest_hmp(s->qts, "info usernet");
        g_assert_nonnull(strstr(info, "(vd0)"));
        g_assert_nonnull(strstr(info, "UDP[HOST_FORWARD]"));
        removed = qtest_hmp(s->qts, "hostfwd_remove vd0 udp:127.0.0.1:6001");
        g_assert_nonnull(strstr(removed, "removed"));
        check_port(s, false);
    }
    slirp_end(s);
}

/*
 * Two of vhost-dp, each in an IOThread, and -netdev user: one thread at a time
 * is in libslirp, whose clock and name servers are the process's.
 */
static void test_one_thread(const void *opaque)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self);
    g_autofree char *command = NULL;
    int fd = memfd_create("vhost-dp-qtest-slirp", MFD_CLOEXEC);
    DpSlirpUse *use;
    DpGuest *guest;
    DpNic *nic[3];
    unsigned i, round;

    g_assert_cmpint(ftruncate(fd, sizeof(*use)), ==, 0);
    use = mmap(NULL, sizeof(*use), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(use != MAP_FAILED);
    /* AddressSanitizer wants to be first, and can do without */
    command = g_strdup_printf("env LD_PRELOAD='%s/slirp-shim.so' "
                              "ASAN_OPTIONS=verify_asan_link_order=0:%s "
                              DP_SLIRP_VARIABLE "=/proc/%d/fd/%d %s", dir,
                              getenv("ASAN_OPTIONS") ?: "", (int)getpid(), fd,
                              getenv("QTEST_QEMU_BINARY"));
    g_setenv(QEMU_VARIABLE, command, true);
    dp_if_up("lo");
    guest = dp_guest_new_env(QEMU_VARIABLE,
        "-object vhost-dp-slirp,id=s0 -netdev vhost-dp,id=vd0,driver=s0 "
        "-object vhost-dp-slirp,id=s1 -netdev vhost-dp,id=vd1,driver=s1 "
        "-netdev user,id=vd2 " DP_DEVICE
        " -device virtio-net-pci,netdev=vd1,addr=05.0,romfile="
        " -device virtio-net-pci,netdev=vd2,addr=06.0,romfile=");
    for (i = 0; i < ARRAY_SIZE(nic); i++) {
        nic[i] = dp_nic_new(guest, DP_SLOT + i, DP_FEATURES_DEFAULT |
                            DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
        nic[i]->queue[DP_RX].stock = nic[i]->queue[DP_TX].stock = i == 2;
    }
    for (round = 0; round < 30; round++) {
        g_autofree char *info = NULL;
        uint8_t f[60];

        /* All are asked before the first has answered */
        slirp_make_arp(f, 1, GUEST_IP, HOST_IP, NULL);
        for (i = 0; i < ARRAY_SIZE(nic); i++) {
            dp_post(nic[i], 1, sizeof(((Slirp *)NULL)->got));
            dp_transmit(nic[i], NULL, f, sizeof(f));
        }
        info = qtest_hmp(guest->qts, "info usernet");
        for (i = 0; i < ARRAY_SIZE(nic); i++) {
            uint8_t got[2048];

            dp_receive(nic[i], NULL, got, sizeof(got));
        }
    }
    g_assert_cmpuint(qatomic_read(&use->overlaps), ==, 0);
    /* The test has seen what it is about */
    g_assert_cmpuint(qatomic_read(&use->calls), >, 3 * 30);
    for (i = 0; i < ARRAY_SIZE(nic); i++) {
        g_assert_cmpuint(use->threads[i], !=, 0);
        dp_nic_free(nic[i]);
    }
    dp_guest_free(guest);
    munmap(use, sizeof(*use));
    close(fd);
}

/* Nothing gets out, and the guest still has its own network */
static void test_restrict(const void *opaque)
{
    Slirp *s = slirp_start(",restrict=on");
    uint16_t port = 0;
    int fd = host_socket(&port);
    uint8_t f[200];
    char c;

    dp_transmit(s->nic, NULL, f, slirp_make_udp(s, f, port, "out", false));
    dp_wait_counter(s->qts, "vd0", DP_TX, "packets", 2);
    g_usleep(DP_QUIET_US);
    g_assert_cmpint(recv(fd, &c, 1, MSG_DONTWAIT), ==, -1);
    close(fd);
    slirp_end(s);
}

/* More connections than one look at the epoll set returns, all at once */
static void test_many_sockets(const void *opaque)
{
    Slirp *s = slirp_start("");
    struct sockaddr_in from[200];
    uint16_t port = 0;
    int fd = host_socket(&port);
    uint8_t f[200];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(from); i++) {
        size_t len = slirp_make_udp(s, f, port, "n", false);
        uint8_t *udp = f + ETH_LEN + IP_LEN;

        stw_be_p(udp, GUEST_PORT + i);
        stw_be_p(udp + 6, 0);       /* no checksum (RFC 768) */
        dp_transmit(s->nic, NULL, f, len);
        expect_text(fd, "n", &from[i]);
    }
    for (i = 0; i < ARRAY_SIZE(from); i++) {
        g_assert_cmpint(sendto(fd, "back", 4, 0, (void *)&from[i],
                               sizeof(from[i])), ==, 4);
    }
    for (i = 0; i < ARRAY_SIZE(from); i++) {
        slirp_receive(s, ETH_P_IP);
        g_assert_cmpmem(s->got + PAYLOAD, 4, "back", 4);
    }
    close(fd);
    slirp_end(s);
}

/* Sockets that are open when the netdev goes are closed */
static void test_delete(const void *opaque)
{
    QTestState *qts;
    DpUsage before;
    unsigned i;

    dp_if_up("lo");
    qts = qtest_init("-M none -nodefaults");
    before = dp_usage(qts);
    for (i = 0; i < 3; i++) {
        qtest_qmp_assert_success(qts, "{ 'execute': 'object-add',"
            " 'arguments': { 'qom-type': 'vhost-dp-slirp', 'id': 's0',"
            " 'hostfwd': [ 'tcp:127.0.0.1:6002-:22',"
            "              'udp:127.0.0.1:6002-:22' ] } }");
        qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_add',"
            " 'arguments': { 'type': 'vhost-dp', 'id': 'vd0',"
            " 'driver': 's0' } }");
        qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_del',"
            " 'arguments': { 'id': 'vd0' } }");
        qtest_qmp_assert_success(qts, "{ 'execute': 'object-del',"
            " 'arguments': { 'id': 's0' } }");
    }
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

/* ---- Options; slirp-options-test.c has more ---- */

static void test_port_in_use(const void *opaque)
{
    QTestState *qts;

    dp_if_up("lo");
    qts = qtest_init("-M none -nodefaults "
        "-object vhost-dp-slirp,id=s0,hostfwd=tcp:127.0.0.1:6003-:22 "
        "-netdev vhost-dp,id=vd0,driver=s0 "
        "-object vhost-dp-slirp,id=s1,hostfwd=tcp:127.0.0.1:6003-:22");

    dp_check_error(qtest_qmp(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                             " 'type': 'vhost-dp', 'id': 'vd1',"
                             " 'driver': 's1' } }"),
                   "'s1'", "tcp:127.0.0.1:6003-:22", "in use", NULL);
    dp_check_error(qtest_qmp(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                             " 'type': 'vhost-dp', 'id': 'vd1',"
                             " 'driver': 's1', 'queues': 257 } }"),
                   "queues=257", "1 to 256", NULL);
    dp_check_error(qtest_qmp(qts, "{ 'execute': 'qom-set', 'arguments': {"
                             " 'path': '/objects/s0', 'property': 'hostfwd',"
                             " 'value': [] } }"),
                   "hostfwd=", "'vd0'", NULL);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_skip_all(dp_why_no_driver("vhost-dp-slirp"));
    dp_add_test("slirp/ping", NULL, test_ping);
    dp_add_test("slirp/udp", NULL, test_udp);
    dp_add_test("slirp/udp-checksum-offload", NULL, test_udp_offload);
    dp_add_sandbox_test("slirp/sandbox", test_udp_sandboxed);
    dp_add_test("slirp/hostfwd", NULL, test_hostfwd);
    dp_add_test("slirp/hostfwd-monitor", NULL, test_hostfwd_monitor);
    dp_add_test("slirp/one-thread", NULL, test_one_thread);
    dp_add_test("slirp/restrict", NULL, test_restrict);
    dp_add_test("slirp/many-sockets", NULL, test_many_sockets);
    dp_add_test("slirp/delete", NULL, test_delete);
    dp_add_test("slirp/port-in-use", NULL, test_port_in_use);
    return g_test_run();
}
