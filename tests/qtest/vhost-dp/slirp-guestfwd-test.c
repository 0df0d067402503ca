/*
 * vhost-dp: qtests of vhost-dp-slirp, guestfwd=
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A connection of the guest's, in as much TCP as this takes, that ends in a
 * character device, whose other end is the test.
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "qemu/bswap.h"
#include "slirp-guest.h"

#define FWD_IP   0x0a000264u
#define FWD_PORT 7
#define TCP_LEN 20
#define SEGMENT 1400

/* What a test of these is given: QEMU, when it hangs, answers nothing */
#define FWD_SECONDS 60

#define BANNER_ROUNDS 20

enum { TCP_SYN = 2, TCP_PUSH = 8, TCP_ACK = 16 };

/* The guest's connection, and the device's */
typedef struct Forward {
    Slirp *s;
    char *dir;
    int peer;                   /* the device's other end */
    uint16_t port;              /* the guest's */
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
    size_t i, all = slirp_make_ip(f, fwd->s->host_mac, IPPROTO_TCP, GUEST_IP,
                                  FWD_IP, TCP_LEN + len);

    memset(tcp, 0, TCP_LEN);
    stw_be_p(tcp, fwd->port);
    stw_be_p(tcp + 2, FWD_PORT);
    stl_be_p(tcp + 4, flags == TCP_SYN ? 0 : 1 + from);
    stl_be_p(tcp + 8, fwd->ack);
    tcp[12] = TCP_LEN / 4 << 4;
    tcp[13] = flags;
    stw_be_p(tcp + 14, 0xffff);
    for (i = 0; i < len; i++) {
        tcp[TCP_LEN + i] = byte_at(from + i);
    }
    stw_be_p(tcp + 16, ~slirp_sum(tcp, TCP_LEN + len,
                                  slirp_sum(f + ETH_LEN + 12, 8,
                                            IPPROTO_TCP + TCP_LEN + len)));
    dp_transmit(fwd->s->nic, NULL, f, all);
}

/* Has the guest got a segment of this connection? */
static bool is_segment(const Forward *fwd)
{
    const uint8_t *f = fwd->s->got;

    return lduw_be_p(f + 12) == ETH_P_IP && f[ETH_LEN + 9] == IPPROTO_TCP &&
           lduw_be_p(f + ETH_LEN + IP_LEN + 2) == fwd->port;
}

/*
 * Begin a connection from @port.  It is complete when the guest sends its next
 * segment.  Of what libslirp sends it needs no more than the first number.
 */
static void open_connection(Forward *fwd, uint16_t port)
{
    const uint8_t *tcp = fwd->s->got + ETH_LEN + IP_LEN;

    fwd->port = port;
    fwd->sent = 0;
    send_segment(fwd, TCP_SYN, 0, 0);
    do {
        slirp_receive(fwd->s, ETH_P_IP);
    } while (!is_segment(fwd));
    g_assert_cmphex(tcp[13], ==, TCP_SYN | TCP_ACK);
    fwd->ack = ldl_be_p(tcp + 4) + 1;
}

static void send_bytes(Forward *fwd)
{
    send_segment(fwd, TCP_PUSH | TCP_ACK, fwd->sent, SEGMENT);
    fwd->sent += SEGMENT;
}

/* QEMU answers, and other traffic goes on */
static void check_alive(Forward *fwd)
{
    qtest_qmp_assert_success(fwd->s->qts, "{ 'execute': 'query-status' }");
    slirp_check_ping(fwd->s, 0);
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
static void test_closed(const void *user)
{
    Forward *fwd = forward_start(user);
    unsigned i;

    open_connection(fwd, GUEST_PORT);
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
static void test_not_read(const void *opaque)
{
    Forward *fwd = forward_start(false);
    unsigned i;

    open_connection(fwd, GUEST_PORT);
    for (i = 0; dp_counter(fwd->s->qts, "vd0", DP_TX, "drop:queue-full") == 0;
         i++) {
        g_assert_cmpuint(i, <, 4000);
        send_bytes(fwd);
        slirp_check_ping(fwd->s, 0);
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
        slirp_check_ping(fwd->s, 0);
    }
    qtest_qmp_assert_success(fwd->s->qts, "{ 'execute': 'netdev_del',"
                             " 'arguments': { 'id': 'vd0' } }");
    qtest_qmp_assert_success(fwd->s->qts, "{ 'execute': 'query-status' }");
    forward_end(fwd);
}

/*
 * The guest gets @text, and does nothing for it until then: QEMU's main loop,
 * which hears of qtest's commands, may as well sleep.
 */
static void expect_text(Forward *fwd, const char *text)
{
    unsigned n = 0;
    const uint8_t *ip = fwd->s->got + ETH_LEN;
    const uint8_t *tcp = ip + IP_LEN;
    size_t header, len;

    do {
        dp_receive(fwd->s->nic, NULL, fwd->s->got, sizeof(fwd->s->got));
        n++;
        header = (tcp[12] >> 4) * 4;
        len = lduw_be_p(ip + 2) - IP_LEN - header;
    } while (!is_segment(fwd) || len == 0);
    g_assert_cmpmem(tcp + header, len, text, strlen(text));
    fwd->ack += len;
    dp_post(fwd->s->nic, n, sizeof(fwd->s->got));
}

/* A peer that speaks first, before the guest has called or after */
static void test_banner(const void *user)
{
    Forward *fwd = forward_start(user);
    unsigned i;

    dp_post(fwd->s->nic, 8, sizeof(fwd->s->got));
    for (i = 0; i < BANNER_ROUNDS; i++) {
        g_autofree char *text = g_strdup_printf("220 ready %u\r\n", i);
        bool before = i % 2;

        open_connection(fwd, GUEST_PORT + i);
        if (before) {
            g_assert_cmpint(send(fwd->peer, text, strlen(text), 0), ==,
                            strlen(text));
        }
        send_segment(fwd, TCP_ACK, 0, 0);
        if (!before) {
            g_usleep(DP_QUIET_US);
            g_assert_cmpint(send(fwd->peer, text, strlen(text), 0), ==,
                            strlen(text));
        }
       expect_text(fwd, text);
        send_segment(fwd, TCP_ACK, 0, 0);
    }
    forward_end(fwd);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_skip_all(dp_why_no_driver("vhost-dp-slirp"));
    dp_add_test("slirp-guestfwd/closed", NULL, test_closed);
    dp_add_test("slirp-guestfwd/closed-user", "user", test_closed);
    dp_add_test("slirp-guestfwd/not-read", NULL, test_not_read);
    dp_add_test("slirp-guestfwd/banner", NULL, test_banner);
    dp_add_test("slirp-guestfwd/banner-user", "user", test_banner);
    return g_test_run();
}
