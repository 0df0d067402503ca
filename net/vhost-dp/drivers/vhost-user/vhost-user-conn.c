/*
 * vhost-dp-vhost-user: the connection to the peer
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: in the main loop, under the BQL; nothing blocks.  With
 * path= there is a UNIX socket of our own, to connect with or to listen on;
 * with chardev= it is the chardev's.  vhost-user-proto.c sees bytes and
 * descriptors and does not know which.
 *
 * A connection ends in the bottom half only: what finds a reason to end it may
 * be deep inside a callback of the connection itself.  After that there is a
 * delay, which doubles each time until a connection lasts: before the next
 * attempt to connect, and before one that somebody else opens is used.
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include <sys/un.h>
#include "chardev/char-socket.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/sockets.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "vhost-user-int.h"
#include "trace.h"

static void vu_readable(void *opaque);
static void vu_writable(void *opaque);
static void vu_acceptable(void *opaque);

static int64_t vu_now(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

/* ---- Begin and end ---- */

static void vu_listen(VhostDPVhostUser *vu, bool listen)
{
    if (vu->listen_fd >= 0) {
        qemu_set_fd_handler(vu->listen_fd, listen ? vu_acceptable : NULL, NULL,
                            vu);
    }
}

/* There is a connection: begin with it, once the delay is over */
static void vu_connected(VhostDPVhostUser *vu)
{
    vu->running_since = 0;
    if (timer_pending(vu->timer)) {
        vu->state = VU_WAITING;
        return;
    }
    if (vu->fd >= 0) {
        qemu_set_fd_handler(vu->fd, vu_readable, NULL, vu);
    }
    vhost_dp_vu_proto_start(vu);
}

/* Nonblocking, so it is done at once, or fails.  Returns 0 or -errno. */
static int vu_connect(VhostDPVhostUser *vu)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd, r;

    fd = qemu_socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0) {
        return -errno;
    }
    g_unix_set_fd_nonblocking(fd, true, NULL);
    pstrcpy(addr.sun_path, sizeof(addr.sun_path), vu->path);
    r = RETRY_ON_EINTR(connect(fd, (struct sockaddr *)&addr, sizeof(addr)));
    if (r < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    vu->fd = fd;
    return 0;
}

static void vu_retry_later(VhostDPVhostUser *vu)
{
    if (vu->reconnect_ms || vu->server || vu->chardev) {
        timer_mod(vu->timer, vu_now() + vu->delay_ms);
        vu->delay_ms = MIN(2 * vu->delay_ms,
                           MAX(VU_MAX_DELAY_MS, vu->reconnect_ms));
    }
}

static void vu_try_connect(VhostDPVhostUser *vu)
{
    int r = vu_connect(vu);
    unsigned i;

    trace_vhost_dp_vu_connect(vu->parent_obj.id, r);
    if (!r) {
        vu_connected(vu);
        return;
    }
    for (i = 0; i < vu->npairs; i++) {
        g_autofree char *reason = g_strdup_printf(
            "cannot connect to %s: %s", vu->path, strerror(-r));

        vhost_dp_vqpair_set(vu->pair[i], NULL, reason);
    }
    vu_retry_later(vu);
}

/* The delay is over */
static void vu_timer(void *opaque)
{
    VhostDPVhostUser *vu = opaque;

    if (vu->state == VU_WAITING) {
        vu_connected(vu);
    } else if (vu->state != VU_CLOSED) {
        return;
    } else if (vu->server) {
        vu_listen(vu, true);
    } else if (vu->path) {
        vu_try_connect(vu);
    }
}

static void vu_disconnect(VhostDPVhostUser *vu)
{
    if (vu->chr_watch) {
        /* A closed descriptor is always ready, to poll() */
        g_source_remove(vu->chr_watch);
        vu->chr_watch = 0;
    }
    if (vu->fd >= 0) {
        qemu_set_fd_handler(vu->fd, NULL, NULL, NULL);
        close(vu->fd);
        vu->fd = -1;
    }
    vhost_dp_vu_proto_reset(vu);
    vu->state = VU_CLOSED;
    if (vu->chr_open) {
        vu->chr_open = false;
        qemu_chr_fe_disconnect(&vu->chr);
    }
}

/* A connection that lasted longer than its delay makes the next delay short */
static void vu_end_connection(VhostDPVhostUser *vu)
{
    unsigned least = MAX(vu->reconnect_ms, 10);

    if (vu->running_since && vu_now() - vu->running_since >= vu->delay_ms) {
        vu->delay_ms = least;
    }
    trace_vhost_dp_vu_disconnect(vu->parent_obj.id, vu->delay_ms);
    if (vu->set) {
        /* A peer that connects again and again must not use up QEMU's memory */
        vhost_dp_vqset_discard(vu->set);
    }
    /* A chardev may connect again before vu_disconnect() is done */
    vu_retry_later(vu);
    vu_disconnect(vu);
}

/* A queue pair's IOThread says that the peer broke a rule on a ring */
static void vu_check_broken(VhostDPVhostUser *vu)
{
    VhostDPVqSet *broken;
    VhostDPPeerViolation why;

    WITH_QEMU_LOCK_GUARD(&vu->lock) {
        broken = vu->broken_set;
        why = vu->broken_why;
        vu->broken_set = NULL;
    }
    if (!broken) {
        return;
    }
    if (broken == vu->set) {
        vhost_dp_vu_fail(vu, "the peer broke a rule of virtio: %s",
                         VhostDPPeerViolation_str(why));
    }
    vhost_dp_vqset_unref(broken);
}

static void vu_bh(void *opaque)
{
    VhostDPVhostUser *vu = opaque;

    vu_check_broken(vu);
    if (vu->state == VU_FAILED) {
        vu_end_connection(vu);
    } else {
        vhost_dp_vu_proto_continue(vu);
    }
}

/* ---- A socket of our own ---- */

static int vu_send_socket(VhostDPVhostUser *vu, const void *buf, size_t len,
                          int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {};
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t r;

    if (fd >= 0) {
        struct cmsghdr *cmsg;

        msg.msg_control = control;
        msg.msg_controllen = sizeof(control);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
    }
    r = RETRY_ON_EINTR(sendmsg(vu->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT));
    if (r < 0) {
        if (errno == EAGAIN) {
            qemu_set_fd_handler(vu->fd, vu_readable, vu_writable, vu);
        }
        return -errno;
    }
    /* Messages are far smaller than the room that there is */
    return r == len ? 0 : -EIO;
}

static void vu_writable(void *opaque)
{
    VhostDPVhostUser *vu = opaque;

    qemu_set_fd_handler(vu->fd, vu_readable, NULL, vu);
    vhost_dp_vu_proto_continue(vu);
}

/* Keep the descriptors that came with a message */
static void vu_take_fds(VhostDPVhostUser *vu, struct msghdr *msg)
{
    struct cmsghdr *cmsg;

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        size_t i;

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
            if (vu->in_nfds < VU_MAX_FDS) {
                vu->in_fds[vu->in_nfds++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

static void vu_readable(void *opaque)
{
    VhostDPVhostUser *vu = opaque;
    char control[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
    struct iovec iov = {
        .iov_base = (uint8_t *)&vu->in + vu->in_have,
        .iov_len = vhost_dp_vu_proto_wants(vu),
    };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1,
        .msg_control = control, .msg_controllen = sizeof(control),
    };
    ssize_t r;

    if (!iov.iov_len) {
        /* The BH is about to close it */
        return;
    }
    r = RETRY_ON_EINTR(recvmsg(vu->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    if (r < 0 && errno == EAGAIN) {
        return;
    }
    if (r <= 0) {
        vhost_dp_vu_gone(vu, r < 0 ? errno : 0);
        return;
    }
    vu_take_fds(vu, &msg);
    vhost_dp_vu_proto_received(vu, r);
}

static void vu_acceptable(void *opaque)
{
    VhostDPVhostUser *vu = opaque;
    int fd = qemu_accept(vu->listen_fd, NULL, NULL);

    if (fd < 0 && errno == EAGAIN) {
        return;
    }
    if (fd < 0) {
        /* No descriptors are left, or no memory: it would be called at once */
        trace_vhost_dp_vu_accept_failed(vu->parent_obj.id, errno);
        vu_listen(vu, false);
        vu_retry_later(vu);
        return;
    }
    /* There is one connection at a time; other peers wait in the backlog */
    vu_listen(vu, false);
    g_unix_set_fd_nonblocking(fd, true, NULL);
    vu->fd = fd;
    vu_connected(vu);
}

static bool vu_open_socket(VhostDPVhostUser *vu, Error **errp)
{
    ERRP_GUARD();
    int r;

    if (vu->server) {
        vu->listen_fd = unix_listen(vu->path, errp);
        if (vu->listen_fd < 0) {
            error_prepend(errp, "path=%s: ", vu->path);
            return false;
        }
        g_unix_set_fd_nonblocking(vu->listen_fd, true, NULL);
        vu_listen(vu, true);
        return true;
    }
    r = vu_connect(vu);
    if (r == -EAGAIN) {
        /* A peer listens, and its backlog is full */
        vu_retry_later(vu);
        return true;
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "cannot connect to path=%s", vu->path);
        if (r == -ENOENT || r == -ECONNREFUSED) {
            error_append_hint(errp, "Start the process that listens there "
                              "first, or let it connect to QEMU: "
                              "server=on.\n");
        } else if (r == -EACCES) {
            error_append_hint(errp, "QEMU needs the permission to write to "
                              "the socket.\n");
        }
        return false;
    }
    vu_connected(vu);
    return true;
}

/* ---- A chardev ---- */

static int vu_chr_can_read(void *opaque)
{
    return vhost_dp_vu_proto_wants(opaque);
}

static void vu_chr_read(void *opaque, const uint8_t *buf, int size)
{
    VhostDPVhostUser *vu = opaque;
    int fds[VU_MAX_FDS];
    int n = MAX(qemu_chr_fe_get_msgfds(&vu->chr, fds, VU_MAX_FDS), 0);

    if (size <= 0 || size > vhost_dp_vu_proto_wants(vu)) {
        /* The connection failed after the chardev had asked for room */
        while (n) {
            close(fds[--n]);
        }
        return;
    }
    memcpy(vu->in_fds, fds, n * sizeof(int));
    vu->in_nfds = n;
    memcpy((uint8_t *)&vu->in + vu->in_have, buf, size);
    vhost_dp_vu_proto_received(vu, size);
}

static void vu_chr_event(void *opaque, QEMUChrEvent event)
{
    VhostDPVhostUser *vu = opaque;

    if (event == CHR_EVENT_OPENED && !vu->chr_open) {
        if (vu->state == VU_FAILED) {
            /* Somebody was waiting, and comes before the BH does */
            vu_end_connection(vu);
        }
        vu->chr_open = true;
        vu_connected(vu);
    } else if (event == CHR_EVENT_CLOSED && vu->chr_open) {
        vu->chr_open = false;
        if (vu->state == VU_WAITING) {
            vu->state = VU_CLOSED;
        } else {
            vhost_dp_vu_gone(vu, 0);
        }
    }
}

static gboolean vu_chr_writable(void *source, GIOCondition cond, void *opaque)
{
    VhostDPVhostUser *vu = opaque;

    vu->chr_watch = 0;
    vhost_dp_vu_proto_continue(vu);
    return G_SOURCE_REMOVE;
}

static int vu_send_chardev(VhostDPVhostUser *vu, const void *buf, size_t len,
                           int fd)
{
    int r;

    if (fd >= 0 && qemu_chr_fe_set_msgfds(&vu->chr, &fd, 1) < 0) {
        return -EOPNOTSUPP;
    }
    r = qemu_chr_fe_write(&vu->chr, buf, len);
    if (r < 0 && errno == EAGAIN) {
        if (!vu->chr_watch) {
            vu->chr_watch = qemu_chr_fe_add_watch(&vu->chr, G_IO_OUT,
                                                  vu_chr_writable, vu);
        }
        return -EAGAIN;
    }
    if (r < 0) {
        return -errno;
    }
    return r == len ? 0 : -EIO;
}

static bool vu_open_chardev(VhostDPVhostUser *vu, Error **errp)
{
    ERRP_GUARD();
    Chardev *chr = qemu_chr_find(vu->chardev);

    if (!chr) {
        error_setg(errp, "chardev=%s: there is no such chardev", vu->chardev);
        return false;
    }
    if (!object_dynamic_cast(OBJECT(chr), TYPE_CHARDEV_SOCKET) ||
        SOCKET_CHARDEV(chr)->addr->type == SOCKET_ADDRESS_TYPE_INET ||
        SOCKET_CHARDEV(chr)->addr->type == SOCKET_ADDRESS_TYPE_VSOCK) {
        error_setg(errp, "chardev=%s is not a UNIX socket", vu->chardev);
        error_append_hint(errp, "Use -chardev socket,id=%s,path=PATH.\n",
                          vu->chardev);
        return false;
    }
    if (!qemu_chr_fe_init(&vu->chr, chr, errp)) {
        error_prepend(errp, "chardev=%s: ", vu->chardev);
        return false;
    }
    qemu_chr_fe_set_handlers(&vu->chr, vu_chr_can_read, vu_chr_read,
                             vu_chr_event, NULL, vu, NULL, true);
    return true;
}

/* ---- Either ---- */

int vhost_dp_vu_conn_send(VhostDPVhostUser *vu, const void *buf, size_t len,
                          int fd)
{
    return vu->chardev ? vu_send_chardev(vu, buf, len, fd) :
                         vu_send_socket(vu, buf, len, fd);
}

bool vhost_dp_vu_conn_open(VhostDPVhostUser *vu, Error **errp)
{
    bool ok;

    vu->state = VU_CLOSED;
    vu->fd = -1;
    vu->listen_fd = -1;
    vu->chr_open = false;
    vu->failed = false;
    vu->delay_ms = MAX(vu->reconnect_ms, 10);
    vu->bh = aio_bh_new(qemu_get_aio_context(), vu_bh, vu);
    vu->timer = timer_new_ms(QEMU_CLOCK_REALTIME, vu_timer, vu);
    vhost_dp_vu_proto_init(vu);
    ok = vu->chardev ? vu_open_chardev(vu, errp) : vu_open_socket(vu, errp);
    if (!ok) {
        vhost_dp_vu_conn_close(vu);
    }
    return ok;
}

void vhost_dp_vu_conn_close(VhostDPVhostUser *vu)
{
    if (vu->chardev) {
        /* The chardev stays, and its next user begins anew */
        qemu_chr_fe_set_handlers(&vu->chr, NULL, NULL, NULL, NULL, NULL, NULL,
                                 false);
    }
    vu_disconnect(vu);
    if (vu->chardev) {
        qemu_chr_fe_deinit(&vu->chr, false);
    }
    if (vu->listen_fd >= 0) {
        vu_listen(vu, false);
        close(vu->listen_fd);
        unlink(vu->path);
        vu->listen_fd = -1;
    }
    vhost_dp_vu_proto_cleanup(vu);
    timer_free(vu->timer);
    qemu_bh_delete(vu->bh);
    if (vu->broken_set) {
        vhost_dp_vqset_unref(vu->broken_set);
        vu->broken_set = NULL;
    }
}
