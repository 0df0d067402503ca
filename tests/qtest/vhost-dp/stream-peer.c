/*
 * vhost-dp: qtests, the other end of a vhost-dp-stream
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <poll.h>
#include "qemu/bswap.h"
#include "stream-peer.h"

/* ---- Sockets ---- */

static void set_timeout(int fd)
{
    struct timeval timeout = { .tv_sec = DP_TIMEOUT_US / G_USEC_PER_SEC };

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
                               sizeof(timeout)), ==, 0);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout,
                               sizeof(timeout)), ==, 0);
}

static int new_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static struct sockaddr_un unix_address(const DpStream *s)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    g_assert_cmpuint(strlen(s->path), <, sizeof(addr.sun_path));
    strcpy(addr.sun_path, s->path);
    return addr;
}

static struct sockaddr_in inet_address(unsigned port)
{
    return (struct sockaddr_in) {
        .sin_family = AF_INET, .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

void dp_stream_listen(DpStream *s)
{
    struct sockaddr_un addr = unix_address(s);

    unlink(s->path);
    s->listen_fd = new_socket(AF_UNIX);
    g_assert_cmpint(bind(s->listen_fd, (struct sockaddr *)&addr,
                         sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(s->listen_fd, 8), ==, 0);
}

unsigned dp_stream_listen_inet(DpStream *s)
{
    struct sockaddr_in addr = inet_address(0);
    socklen_t len = sizeof(addr);

    s->listen_fd = new_socket(AF_INET);
    g_assert_cmpint(bind(s->listen_fd, (struct sockaddr *)&addr, len), ==, 0);
    g_assert_cmpint(listen(s->listen_fd, 8), ==, 0);
    g_assert_cmpint(getsockname(s->listen_fd, (struct sockaddr *)&addr, &len),
                    ==, 0);
    return ntohs(addr.sin_port);
}

int dp_stream_try_accept(DpStream *s, int64_t timeout_us)
{
    struct pollfd poll_fd = { s->listen_fd, POLLIN };
    int fd;

    if (poll(&poll_fd, 1, timeout_us / 1000) != 1) {
        return -1;
    }
    fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    set_timeout(fd);
    return fd;
}

void dp_stream_accept(DpStream *s)
{
    g_assert_cmpint(s->fd, ==, -1);
    s->fd = dp_stream_try_accept(s, DP_TIMEOUT_US);
    g_assert_cmpint(s->fd, >=, 0);
}

static int connect_to(const void *addr, socklen_t len, int family)
{
    int fd = new_socket(family);

    dp_wait_until(connect(fd, addr, len) == 0);
    set_timeout(fd);
    return fd;
}

int dp_stream_connect_another(DpStream *s)
{
    struct sockaddr_un addr = unix_address(s);

    return connect_to(&addr, sizeof(addr), AF_UNIX);
}

void dp_stream_connect(DpStream *s)
{
    g_assert_cmpint(s->fd, ==, -1);
    s->fd = dp_stream_connect_another(s);
}

void dp_stream_connect_inet(DpStream *s, unsigned port)
{
    struct sockaddr_in addr = inet_address(port);

    g_assert_cmpint(s->fd, ==, -1);
    s->fd = connect_to(&addr, sizeof(addr), AF_INET);
}

void dp_stream_disconnect(DpStream *s)
{
    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
}

/* ---- The guest ---- */

DpStream *dp_stream_prepare(void)
{
    DpStream *s = g_new0(DpStream, 1);

    s->dir = g_dir_make_tmp("vhost-dp-XXXXXX", NULL);
    g_assert_nonnull(s->dir);
    s->path = g_strdup_printf("%s/peer", s->dir);
    s->listen_fd = -1;
    s->fd = -1;
    return s;
}

void dp_stream_start(DpStream *s, const char *before, const char *options)
{
    DpRig *r = g_new0(DpRig, 1);

    r->pairs = 1;
    r->guest = dp_guest_new("%s -object vhost-dp-stream,id=st0,%s "
                            "-netdev vhost-dp,id=vd0,driver=st0 "
                            DP_DEVICE "disable-legacy=on", before, options);
    r->qts = r->guest->qts;
    r->sock = -1;
    r->features = DP_FEATURES_DEFAULT;
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    r->nic = dp_nic_new(r->guest, DP_SLOT, r->features);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    s->r = r;
}

void dp_stream_free(DpStream *s)
{
    if (s->r) {
        dp_rig_free(s->r);
    }
    dp_stream_disconnect(s);
    if (s->listen_fd >= 0) {
        close(s->listen_fd);
    }
    unlink(s->path);
    g_assert_cmpint(rmdir(s->dir), ==, 0);
    g_free(s->path);
    g_free(s->dir);
    g_free(s);
}

/* ---- Frames ---- */

void dp_stream_write(DpStream *s, const void *buf, size_t len)
{
    while (len) {
        ssize_t n = send(s->fd, buf, len, MSG_NOSIGNAL);

        g_assert_cmpint(n, >, 0);
        buf += n;
        len -= n;
    }
}

void dp_stream_read(DpStream *s, void *buf, size_t len)
{
    while (len) {
        ssize_t n = recv(s->fd, buf, len, 0);

        g_assert_cmpint(n, >, 0);
        buf += n;
        len -= n;
    }
}

bool dp_stream_at_end(DpStream *s)
{
    char byte;
    ssize_t n = recv(s->fd, &byte, 1, MSG_DONTWAIT);

    /* One that has bytes of ours in it that QEMU did not read is reset */
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

void dp_stream_send(DpStream *s, const void *frame, size_t len)
{
    g_autofree uint8_t *buf = g_malloc(DP_STREAM_HEADER + len);

    stl_be_p(buf, len);
    memcpy(buf + DP_STREAM_HEADER, frame, len);
    dp_stream_write(s, buf, DP_STREAM_HEADER + len);
}

size_t dp_stream_recv(DpStream *s, void *frame, size_t size)
{
    uint8_t header[DP_STREAM_HEADER];
    size_t len;

    dp_stream_read(s, header, sizeof(header));
    len = ldl_be_p(header);
    g_assert_cmpuint(len, <=, size);
    dp_stream_read(s, frame, len);
    return len;
}

void dp_stream_check_to_peer(DpStream *s, size_t len, unsigned seed)
{
    DpRig *r = s->r;
    size_t got;

    dp_make_frame(r->frame, len, seed);
    dp_transmit(r->nic, NULL, r->frame, len);
    got = dp_stream_recv(s, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, got, r->frame, len);
}

void dp_stream_check_to_guest(DpStream *s, size_t len, unsigned seed)
{
    DpRig *r = s->r;
    uint64_t buf = dp_post(r->nic, 1, r->nic->hdr_len + len);
    size_t got;

    dp_make_frame(r->frame, len, seed);
    dp_stream_send(s, r->frame, len);
    got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, got, r->frame, len);
    guest_free(&r->guest->alloc, buf);
}

void dp_stream_check_traffic(DpStream *s)
{
    dp_wait_until(dp_link_is(s->r, true, NULL));
    dp_stream_check_to_peer(s, 100, 1);
    dp_stream_check_to_guest(s, 200, 2);
}
