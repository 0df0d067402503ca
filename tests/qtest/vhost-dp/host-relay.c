/*
 * vhost-dp: qtests, a TAP interface behind a stream socket
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a thread of the test's copies frames.  What comes while
 * there is no peer is lost, as on a cable.
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <poll.h>
#include "qemu/bswap.h"
#include "host.h"
#include "host-relay.h"

#define HEADER 4

typedef struct Relay {
    GThread *thread;
    int stop[2];                /* a pipe that is closed at the end */
    int tap, listen_fd;
    int peer;                   /* -1: none */
    size_t have;                /* bytes in @in */
    uint8_t in[HEADER + DP_MAX_FRAME];
    uint8_t out[HEADER + DP_MAX_FRAME];
} Relay;

static Relay *relay;

static void peer_gone(Relay *r)
{
    close(r->peer);
    r->peer = -1;
    r->have = 0;
}

static void from_peer(Relay *r)
{
    ssize_t n = read(r->peer, r->in + r->have, sizeof(r->in) - r->have);
    size_t len;

    if (n <= 0) {
        peer_gone(r);
        return;
    }
    r->have += n;
    while (r->have >= HEADER &&
           (len = HEADER + ldl_be_p(r->in)) <= r->have) {
        /* The interface may be down */
        if (write(r->tap, r->in + HEADER, len - HEADER) < 0) {
            g_assert_cmpint(errno, ==, EIO);
        }
        r->have -= len;
        memmove(r->in, r->in + len, r->have);
    }
}

static void to_peer(Relay *r)
{
    ssize_t n = read(r->tap, r->out + HEADER, sizeof(r->out) - HEADER);
    size_t at = 0;

    if (n <= 0 || r->peer < 0) {
        return;
    }
    stl_be_p(r->out, n);
    while (at < HEADER + n) {
        ssize_t sent = send(r->peer, r->out + at, HEADER + n - at,
                            MSG_NOSIGNAL);

        if (sent <= 0) {
            peer_gone(r);
            return;
        }
        at += sent;
    }
}

static gpointer run(gpointer opaque)
{
    Relay *r = opaque;

    for (;;) {
        struct pollfd fds[] = {
            { r->stop[0], POLLIN }, { r->tap, POLLIN },
            { r->peer < 0 ? r->listen_fd : r->peer, POLLIN },
        };

        g_assert_cmpint(RETRY_ON_EINTR(poll(fds, ARRAY_SIZE(fds), -1)), >, 0);
        if (fds[0].revents) {
            return NULL;
        }
        if (fds[1].revents) {
            to_peer(r);
        } else if (fds[2].revents && r->peer < 0) {
            r->peer = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        } else if (fds[2].revents) {
            from_peer(r);
        }
    }
}

static void relay_stop(Relay *r)
{
    close(r->stop[1]);
    if (r->peer >= 0) {
        /* The thread may be waiting for it to read */
        shutdown(r->peer, SHUT_RDWR);
    }
    g_thread_join(r->thread);
    close(r->stop[0]);
    close(r->tap);
    close(r->listen_fd);
    if (r->peer >= 0) {
        close(r->peer);
    }
    g_free(r);
}

void dp_relay_start(const char *path, const char *ifname)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    Relay *r = g_new0(Relay, 1);

    if (relay) {
        relay_stop(relay);
    }
    relay = r;
    r->peer = -1;
    g_assert_cmpint(pipe2(r->stop, O_CLOEXEC), ==, 0);
    r->tap = dp_tap_open(ifname, 0);
    fcntl(r->tap, F_SETFD, FD_CLOEXEC);
    dp_if_up(ifname);
    unlink(path);
    g_assert_cmpuint(strlen(path), <, sizeof(addr.sun_path));
    strcpy(addr.sun_path, path);
    r->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(r->listen_fd, >=, 0);
    g_assert_cmpint(bind(r->listen_fd, (struct sockaddr *)&addr,
                         sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(r->listen_fd, 8), ==, 0);
    r->thread = g_thread_new("relay", run, r);
}
