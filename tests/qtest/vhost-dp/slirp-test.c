/*
 * vhost-dp: qtests of vhost-dp-slirp
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest speaks ARP, ICMP and UDP with libslirp, and through it with
 * sockets of the test, which has a network namespace of its own.  It has as
 * much of TCP as guestfwd= takes; for the rest see tests/guest.
 */

#include "qemu/osdep.h"
#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/un.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "guest.h"
#include "slirp-shim.h"

#define QEMU_VARIABLE "VHOST_DP_QTEST_QEMU_SLIRP"

#define ETH_LEN 14
#define IP_LEN 20
#define UDP_LEN 8
#define PAYLOAD (ETH_LEN + IP_LEN + UDP_LEN)

#define HOST_IP  0x0a000202u
#define GUEST_IP 0x0a00020fu
#define GUEST_PORT 5001

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

typedef struct Slirp {
    DpGuest *guest;
    QTestState *qts;
    DpNic *nic;
    uint8_t host_mac[6];
    uint8_t got[2048];
} Slirp;

/* ---- Frames ---- */

static uint16_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
    size_t i;

    for (i = 0; i < len; i++) {
        sum += i & 1 ? p[i] : p[i] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static size_t make_arp(uint8_t *f, uint16_t op, uint32_t from, uint32_t to,
                       const uint8_t to_mac[6])
{
    static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };

    memset(f, 0, 60);
    memcpy(f, op == 1 ? broadcast : to_mac, 6);
    memcpy(f + 6, guest_mac, 6);
    stw_be_p(f + 12, ETH_P_ARP);
    stw_be_p(f + 14, 1);
    stw_be_p(f + 16, ETH_P_IP);
    f[18] = 6;
    f[19] = 4;
    stw_be_p(f + 20, op);
    memcpy(f + 22, guest_mac, 6);
    stl_be_p(f + 28, from);
    if (op == 2) {
        memcpy(f + 32, to_mac, 6);
    }
    stl_be_p(f + 38, to);
    return 60;
}

static size_t make_ip_to(const Slirp *s, uint8_t *f, uint8_t proto,
                         uint32_t to, size_t len)
{
    uint8_t *ip = f + ETH_LEN;

    memset(f, 0, ETH_LEN + IP_LEN);
    memcpy(f, s->host_mac, 6);
    memcpy(f + 6, guest_mac, 6);
    stw_be_p(f + 12, ETH_P_IP);
    ip[0] = 0x45;
    stw_be_p(ip + 2, IP_LEN + len);
    ip[8] = 64;
    ip[9] = proto;
    stl_be_p(ip + 12, GUEST_IP);
    stl_be_p(ip + 16, to);
    stw_be_p(ip + 10, ~sum16(ip, IP_LEN, 0));
    return ETH_LEN + IP_LEN + len;
}

static size_t make_ip(const Slirp *s, uint8_t *f, uint8_t proto, size_t len)
{
    return make_ip_to(s, f, proto, HOST_IP, len);
}

/* The sum of a UDP datagram with its pseudo header: 0xffff if it is right */
static uint16_t udp_sum(const uint8_t *f, size_t len)
{
    const uint8_t *ip = f + ETH_LEN;
    size_t udp_len = len - ETH_LEN - IP_LEN;

    return sum16(f + ETH_LEN + IP_LEN, udp_len,
                 sum16(ip + 12, 8, IPPROTO_UDP + udp_len));
}

/* With @partial only the pseudo header is summed, as for checksum offload */
static size_t make_udp(const Slirp *s, uint8_t *f, uint16_t port,
                       const char *text, bool partial)
{
    size_t udp_len = UDP_LEN + strlen(text);
    size_t len = make_ip(s, f, IPPROTO_UDP, udp_len);
    uint8_t *udp = f + ETH_LEN + IP_LEN;

    stw_be_p(udp, GUEST_PORT);
    stw_be_p(udp + 2, port);
    stw_be_p(udp + 4, udp_len);
    stw_be_p(udp + 6, 0);
    memcpy(udp + 8, text, strlen(text));
    stw_be_p(udp + 6, partial ?
             sum16(f + ETH_LEN + 12, 8, IPPROTO_UDP + udp_len) :
             ~udp_sum(f, len));
    return len;
}

/* ---- The guest ---- */

/* The next frame of @ethertype; others (IPv6's announcements) are skipped */
static size_t receive(Slirp *s, uint16_t ethertype)
{
    for (;;) {
        size_t len;

        dp_post(s->nic, 1, sizeof(s->got));
        len = dp_receive(s->nic, NULL, s->got, sizeof(s->got));
        g_assert_cmpint(len, >=, ETH_LEN);
        if (lduw_be_p(s->got + 12) == ethertype) {
            return len;
        }
    }
}

static void learn_host_mac(Slirp *s)
{
    uint8_t f[60];
    size_t len = make_arp(f, 1, GUEST_IP, HOST_IP, NULL);

    dp_transmit(s->nic, NULL, f, len);
    do {
        receive(s, ETH_P_ARP);
    } while (lduw_be_p(s->got + 20) != 2);
    g_assert_cmphex(ldl_be_p(s->got + 28), ==, HOST_IP);
    memcpy(s->host_mac, s->got + 22, 6);
}

/* @user: -netdev user in place of vhost-dp-slirp, as id vd0, too */
static Slirp *slirp_start_on(const char *qemu, bool user, const char *options)
{
    g_autofree char *all = g_strdup_printf(user ?
        "-netdev user,id=vd0%s " DP_DEVICE :
        "-object vhost-dp-slirp,id=s0%s -netdev vhost-dp,id=vd0,driver=s0 "
        DP_DEVICE, options);
    uint64_t features = user ? 0 : DP_FEATURE(VIRTIO_NET_F_CSUM);
    Slirp *s = g_new0(Slirp, 1);

    dp_if_up("lo");
    s->guest = dp_guest_new_env(qemu, all);
    s->qts = s->guest->qts;
    s->nic = dp_nic_new(s->guest, DP_SLOT, DP_FEATURES_DEFAULT | features |
                        DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    s->nic->queue[DP_RX].stock = s->nic->queue[DP_TX].stock = user;
    learn_host_mac(s);
    return s;
}

static Slirp *slirp_start_qemu(const char *qemu, const char *options)
{
    return slirp_start_on(qemu, false, options);
}

static Slirp *slirp_start(const char *options)
{
    return slirp_start_qemu(NULL, options);
}

static void slirp_end(Slirp *s)
{
    dp_nic_free(s->nic);
    dp_guest_free(s->guest);
    g_free(s);
}

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
    uint8_t f[ETH_LEN + IP_LEN + 8 + 1000];
    uint8_t *icmp = f + ETH_LEN + IP_LEN;
    unsigned i, n;

    for (n = 0; n < 1001; n += 250) {
        size_t len = make_ip(s, f, IPPROTO_ICMP, 8 + n);

        memset(icmp, 0, 8);
        icmp[0] = 8;
        stw_be_p(icmp + 4, 0x1234);
        stw_be_p(icmp + 6, n);
        for (i = 0; i < n; i++) {
            icmp[8 + i] = i * 7 + n;
        }
        stw_be_p(icmp + 2, ~sum16(icmp, 8 + n, 0));
        dp_transmit(s->nic, NULL, f, len);

        g_assert_cmpint(receive(s, ETH_P_IP), >=, len);
        g_assert_cmphex(s->got[ETH_LEN + IP_LEN], ==, 0);
        g_assert_cmpmem(s->got + ETH_LEN + IP_LEN + 4, 4 + n, icmp + 4, 4 + n);
        g_assert_cmphex(sum16(s->got + ETH_LEN + IP_LEN, 8 + n, 0), ==,
                        0xffff);
    }
    slirp_end(s);
}

/* @partial: with checksum offload */
static void check_udp(const char *qemu, bool partial)
{
    Slirp *s = slirp_start_qemu(qemu, "");
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
        size_t len = make_udp(s, f, port, "to the host", partial);

        dp_transmit(s->nic, &hdr, f, len);
        expect_text(fd, "to the host", &from);
        g_assert_cmpint(sendto(fd, "and back", 8, 0, (void *)&from,
                               sizeof(from)), ==, 8);
        g_assert_cmpint(receive(s, ETH_P_IP), >=, PAYLOAD + 8);
        g_assert_cmpmem(s->got + PAYLOAD, 8, "and back", 8);
        g_assert_cmpint(lduw_be_p(s->got + ETH_LEN + IP_LEN + 2), ==,
                        GUEST_PORT);
        g_assert_cmphex(udp_sum(s->got, PAYLOAD + 8), ==, 0xffff);
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
    g_assert_cmpint(receive(s, ETH_P_IP), >=, PAYLOAD + 5);
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
        g_assert_cmpint(receive(s, ETH_P_IP), >=, PAYLOAD + 5);
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
        make_arp(f, 1, GUEST_IP, HOST_IP, NULL);
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

    dp_transmit(s->nic, NULL, f, make_udp(s, f, port, "out", false));
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
        size_t len = make_udp(s, f, port, "n", false);
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
        receive(s, ETH_P_IP);
        g_assert_cmpmem(s->got + PAYLOAD, 4, "back", 4);
    }
    close(fd);
    slirp_end(s);
}

/* ---- Character devices (guestfwd=) ---- */

#define FWD_IP   0x0a000264u
#define FWD_PORT 7
#define TCP_LEN 20
#define SEGMENT 1400

/* What a test of these is given: QEMU, when it hangs, answers nothing */
#define FWD_SECONDS 60

enum { TCP_SYN = 2, TCP_PUSH = 8, TCP_ACK = 16 };

/* The guest's connection, and the device's */
typedef struct Forward {
    Slirp *s;
    char *dir;
    int peer;                   /* the device's other end */
    uint32_t sent;              /* bytes */
    uint32_t ack;               /* sequence number that the guest waits for */
} Forward;

/* What the guest sends as the byte at @at */
static uint8_t byte_at(uint32_t at)
{
    return at ^ at >> 8 ^ at >> 16;
}

/* Bytes from @from on; the guest's sequence numbers start with 0 for SYN */
static void send_segment(Forward *fwd, uint8_t flags, uint32_t from, size_t len)
{
    uint8_t f[ETH_LEN + IP_LEN + TCP_LEN + SEGMENT];
    uint8_t *tcp = f + ETH_LEN + IP_LEN;
    size_t i, all = make_ip_to(fwd->s, f, IPPROTO_TCP, FWD_IP, TCP_LEN + len);

    memset(tcp, 0, TCP_LEN);
    stw_be_p(tcp, GUEST_PORT);
    stw_be_p(tcp + 2, FWD_PORT);
    stl_be_p(tcp + 4, flags == TCP_SYN ? 0 : 1 + from);
    stl_be_p(tcp + 8, fwd->ack);
    tcp[12] = TCP_LEN / 4 << 4;
    tcp[13] = flags;
    stw_be_p(tcp + 14, 0xffff);
    for (i = 0; i < len; i++) {
        tcp[TCP_LEN + i] = byte_at(from + i);
    }
    stw_be_p(tcp + 16, ~sum16(tcp, TCP_LEN + len,
                              sum16(f + ETH_LEN + 12, 8,
                                    IPPROTO_TCP + TCP_LEN + len)));
    dp_transmit(fwd->s->nic, NULL, f, all);
}

/* The guest needs no more of what libslirp sends than its first number */
static void open_connection(Forward *fwd)
{
    const uint8_t *tcp = fwd->s->got + ETH_LEN + IP_LEN;

    send_segment(fwd, TCP_SYN, 0, 0);
    do {
        receive(fwd->s, ETH_P_IP);
    } while (fwd->s->got[ETH_LEN + 9] != IPPROTO_TCP);
    g_assert_cmphex(tcp[13], ==, TCP_SYN | TCP_ACK);
    fwd->ack = ldl_be_p(tcp + 4) + 1;
}

static void send_bytes(Forward *fwd)
{
    send_segment(fwd, TCP_PUSH | TCP_ACK, fwd->sent, SEGMENT);
    fwd->sent += SEGMENT;
}

static void check_ping(Slirp *s)
{
    uint8_t f[ETH_LEN + IP_LEN + 8];
    uint8_t *icmp = f + ETH_LEN + IP_LEN;
    size_t len = make_ip(s, f, IPPROTO_ICMP, 8);

    memset(icmp, 0, 8);
    icmp[0] = 8;
    stw_be_p(icmp + 2, ~sum16(icmp, 8, 0));
    dp_transmit(s->nic, NULL, f, len);
    do {
        receive(s, ETH_P_IP);
    } while (s->got[ETH_LEN + 9] != IPPROTO_ICMP);
}

/* QEMU answers, and other traffic goes on */
static void check_alive(Forward *fwd)
{
    qtest_qmp_assert_success(fwd->s->qts, "{ 'execute': 'query-status' }");
    check_ping(fwd->s);
}

static Forward *forward_start(bool user)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct timeval timeout = { .tv_sec = DP_TIMEOUT_US / G_USEC_PER_SEC };
    g_autofree char *options = NULL;
    Forward *fwd = g_new0(Forward, 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    /* libqtest waits for an answer forever */
    alarm(FWD_SECONDS);
    fwd->dir = g_dir_make_tmp("vhost-dp-qtest-XXXXXX", NULL);
    g_assert_nonnull(fwd->dir);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/socket", fwd->dir);
    g_assert_cmpint(bind(fd, (void *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    options = g_strdup_printf(",guestfwd=tcp:10.0.2.100:%d-unix:%s", FWD_PORT,
                              addr.sun_path);
    fwd->s = slirp_start_on(NULL, user, options);
    fwd->peer = accept(fd, NULL, NULL);
    g_assert_cmpint(fwd->peer, >=, 0);
    g_assert_cmpint(setsockopt(fwd->peer, SOL_SOCKET, SO_RCVTIMEO, &timeout,
                               sizeof(timeout)), ==, 0);
    close(fd);
    unlink(addr.sun_path);
    rmdir(fwd->dir);

    open_connection(fwd);
    return fwd;
}

static void forward_end(Forward *fwd)
{
    slirp_end(fwd->s);
    close(fwd->peer);
    g_free(fwd->dir);
    g_free(fwd);
    alarm(0);
}

static void expect_bytes(Forward *fwd, uint32_t from, size_t len)
{
    uint8_t buf[SEGMENT];
    size_t i, n;

    for (; len; from += n, len -= n) {
        ssize_t got = recv(fwd->peer, buf, MIN(len, sizeof(buf)), 0);

        g_assert_cmpint(got, >, 0);
        n = got;
        for (i = 0; i < n; i++) {
            g_assert_cmphex(buf[i], ==, byte_at(from + i));
        }
    }
}

/*
 * The device fails while the guest sends: it then wants to know whether the
 * guest can receive, that is, asks libslirp.
 */
static void test_guestfwd_closed(const void *user)
{
    Forward *fwd = forward_start(user);
    unsigned i;

    send_bytes(fwd);
    expect_bytes(fwd, 0, SEGMENT);
    check_alive(fwd);

    /* Writing fails, and the main loop has nothing to see */
    g_assert_cmpint(shutdown(fwd->peer, SHUT_RD), ==, 0);
    for (i = 0; i < 5; i++) {
        send_bytes(fwd);
        check_alive(fwd);
    }
    /* Now it has */
    g_assert_cmpint(shutdown(fwd->peer, SHUT_RDWR), ==, 0);
    for (i = 0; i < 5; i++) {
        send_bytes(fwd);
        check_alive(fwd);
    }
    forward_end(fwd);
}

/* Segments for a device that is not read are lost, and nothing waits for it */
static void test_guestfwd_not_read(const void *opaque)
{
    Forward *fwd = forward_start(false);
    unsigned i;

    for (i = 0; dp_counter(fwd->s->qts, "vd0", DP_TX, "drop:queue-full") == 0;
         i++) {
        g_assert_cmpuint(i, <, 4000);
        send_bytes(fwd);
        check_ping(fwd->s);
    }
    check_alive(fwd);

    /* The guest sends again what was lost, and all of it arrives */
    expect_bytes(fwd, 0, fwd->sent - SEGMENT);
    send_segment(fwd, TCP_PUSH | TCP_ACK, fwd->sent - SEGMENT, SEGMENT);
    expect_bytes(fwd, fwd->sent - SEGMENT, SEGMENT);
    check_alive(fwd);

    /* The netdev goes while bytes wait */
    for (i = 0; i < 400; i++) {
        send_bytes(fwd);
        check_ping(fwd->s);
    }
    qtest_qmp_assert_success(fwd->s->qts, "{ 'execute': 'netdev_del',"
                             " 'arguments': { 'id': 'vd0' } }");
    qtest_qmp_assert_success(fwd->s->qts, "{ 'execute': 'query-status' }");
    forward_end(fwd);
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
                             " 'driver': 's1', 'queues': 2 } }"),
                   "queues=2", "1 to 1", NULL);
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
    dp_add_test("slirp/guestfwd-closed", NULL, test_guestfwd_closed);
    dp_add_test("slirp/guestfwd-closed-user", "user", test_guestfwd_closed);
    dp_add_test("slirp/guestfwd-not-read", NULL, test_guestfwd_not_read);
    dp_add_test("slirp/delete", NULL, test_delete);
    dp_add_test("slirp/port-in-use", NULL, test_port_in_use);
    return g_test_run();
}
