/*
 * vhost-dp-stream: connections, and how they come about
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: in the main loop, under the BQL; nothing blocks.  What
 * may block (names to resolve, a peer far away that does not answer) is done
 * by a thread of QIOChannelSocket, whose result nobody waits for.  A UNIX
 * socket is connected to at once, so an error fails netdev_add.
 *
 * A connection is offered to the queue pair's IOThread, which has it for itself
 * until it ends (stream-io.c).  After that there is a delay before the next one
 * is made or accepted, which doubles each time until a connection lasts.  Only
 * one peer is connected; others wait in the backlog of the socket.
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <poll.h>
#include <arpa/inet.h>
#include "io/task.h"
#include "qapi/error.h"
#include "qapi/qapi-events-net.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/sockets.h"
#include "stream-int.h"
#include "trace.h"

struct StreamWork {
    VhostDPStream *s;           /* NULL: nobody is interested any more */
    QIOChannelSocket *sioc;
};

static void stream_try(VhostDPStream *s);

static int64_t stream_now(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

void vhost_dp_stream_conn_free(StreamConn *conn)
{
    if (!conn) {
        return;
    }
    if (conn->fd >= 0 && !conn->keep_fd) {
        close(conn->fd);
    }
    g_free(conn->in);
    g_free(conn->out);
    g_free(conn);
}

/* ---- What the queue pair is told ---- */

static void G_GNUC_PRINTF(2, 3) stream_set_reason(VhostDPStream *s,
                                                  const char *fmt, ...)
{
    va_list ap;

    QEMU_LOCK_GUARD(&s->lock);
    g_free(s->reason);
    va_start(ap, fmt);
    s->reason = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (s->bh) {
        qemu_bh_schedule(s->bh);
    }
}

static void stream_offer(VhostDPStream *s, StreamConn *conn)
{
    QEMU_LOCK_GUARD(&s->lock);
    vhost_dp_stream_conn_free(s->offered);
    s->offered = conn;
    if (s->bh) {
        qemu_bh_schedule(s->bh);
    }
}

static void stream_connected(VhostDPStream *s, int fd)
{
    bool is_users = !s->server && s->addr->type == SOCKET_ADDRESS_TYPE_FD;
    StreamConn *conn = g_steal_pointer(&s->kept);

    if (!conn) {
        conn = g_new0(StreamConn, 1);
        conn->fd = fd;
        conn->keep_fd = is_users;
        g_unix_set_fd_nonblocking(fd, true, NULL);
        /* Frames have to leave at once; fails for what is not TCP */
        socket_set_nodelay(fd);
    }
    s->state = STREAM_CONNECTED;
    s->connected_at = stream_now();
    s->connects++;
    trace_vhost_dp_stream_connected(s->parent_obj.id, s->connects);
    qapi_event_send_netdev_stream_connected(s->parent_obj.claimed_by, s->addr);
    stream_offer(s, conn);
}

/* ---- Later ---- */

static void stream_retry_later(VhostDPStream *s)
{
    s->state = STREAM_IDLE;
    if (!s->server && !s->reconnect_ms) {
        return;
    }
    trace_vhost_dp_stream_retry(s->parent_obj.id, s->delay_ms);
    timer_mod(s->timer, stream_now() + s->delay_ms);
    s->delay_ms = MIN(2 * s->delay_ms,
                      MAX(STREAM_MAX_DELAY_MS, s->reconnect_ms));
}

static void stream_timer(void *opaque)
{
    stream_try(opaque);
}

static void stream_failed(VhostDPStream *s, const char *why)
{
    trace_vhost_dp_stream_failed(s->parent_obj.id, why);
    stream_set_reason(s, "cannot %s %s: %s",
                      s->server ? "listen at" : "connect to", s->text, why);
    stream_retry_later(s);
}

/* The queue pair has ended the connection */
static void stream_ended_bh(void *opaque)
{
    VhostDPStream *s = opaque;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        if (!s->ended) {
            return;
        }
        s->ended = false;
    }
    if (stream_now() - s->connected_at >= s->delay_ms) {
        s->delay_ms = MAX(s->reconnect_ms, STREAM_MIN_DELAY_MS);
    }
    qapi_event_send_netdev_stream_disconnected(s->parent_obj.claimed_by);
    stream_retry_later(s);
}

/* ---- Accept ---- */

static void stream_accept(void *opaque);

static void stream_listen(VhostDPStream *s, bool listen)
{
    qemu_set_fd_handler(s->listen_fd, listen ? stream_accept : NULL, NULL, s);
    if (listen) {
        s->state = STREAM_LISTENING;
    }
}

static void stream_accept(void *opaque)
{
    VhostDPStream *s = opaque;
    int fd = RETRY_ON_EINTR(qemu_accept(s->listen_fd, NULL, NULL));

    if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED)) {
        return;
    }
    stream_listen(s, false);
    if (fd < 0) {
        /* No descriptors are left, or no memory: it would be called at once */
        trace_vhost_dp_stream_failed(s->parent_obj.id, strerror(errno));
        stream_retry_later(s);
        return;
    }
    stream_connected(s, fd);
}

static void stream_listening(VhostDPStream *s, int fd)
{
    if (s->addr->type == SOCKET_ADDRESS_TYPE_INET) {
        /* It may have been the kernel that chose the port */
        g_autoptr(SocketAddress) addr = socket_local_address(fd, NULL);

        if (addr) {
            g_free(s->text);
            s->text = socket_uri(addr);
        }
    }
    s->listen_fd = fd;
    g_unix_set_fd_nonblocking(fd, true, NULL);
    stream_set_reason(s, "no peer has connected to %s yet", s->text);
    stream_listen(s, true);
}

static void stream_close_listener(VhostDPStream *s)
{
    if (s->listen_fd < 0) {
        return;
    }
    stream_listen(s, false);
    if (s->addr->type != SOCKET_ADDRESS_TYPE_FD) {
        if (s->addr->type == SOCKET_ADDRESS_TYPE_UNIX &&
            !s->addr->u.q_unix.abstract) {
            unlink(s->addr->u.q_unix.path);
        }
        close(s->listen_fd);
    }
    s->listen_fd = -1;
}

/* ---- What a thread does ---- */

static void stream_work_done(QIOTask *task, void *opaque)
{
    StreamWork *work = opaque;
    VhostDPStream *s = work->s;
    Error *err = NULL;
    int fd;

    if (qio_task_propagate_error(task, &err)) {
        if (s) {
            s->work = NULL;
            stream_failed(s, error_get_pretty(err));
        }
        error_free(err);
    } else if (s) {
        s->work = NULL;
        fd = work->sioc->fd;
        work->sioc->fd = -1;
        if (s->server) {
            stream_listening(s, fd);
        } else {
            stream_connected(s, fd);
        }
    }
}

static void stream_work_free(void *opaque)
{
    StreamWork *work = opaque;

    object_unref(OBJECT(work->sioc));
    g_free(work);
}

static void stream_start_work(VhostDPStream *s)
{
    StreamWork *work = g_new0(StreamWork, 1);

    work->s = s;
    work->sioc = qio_channel_socket_new();
    s->work = work;
    s->state = STREAM_WORKING;
    trace_vhost_dp_stream_connecting(s->parent_obj.id);
    if (s->server) {
        qio_channel_socket_listen_async(work->sioc, s->addr, 1,
                                        stream_work_done, work,
                                        stream_work_free, NULL);
    } else {
        qio_channel_socket_connect_async(work->sioc, s->addr, stream_work_done,
                                         work, stream_work_free, NULL);
    }
}

/* ---- UNIX sockets ---- */

/* Nonblocking, so it is done at once, or fails.  Returns 0 or -errno. */
static int stream_connect_unix(VhostDPStream *s)
{
    const UnixSocketAddress *unix_addr = &s->addr->u.q_unix;
    size_t path_len = strlen(unix_addr->path);
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    socklen_t len = sizeof(addr);
    int fd, r;

    /* check_options has seen to it that there is room */
    memcpy(addr.sun_path + unix_addr->abstract, unix_addr->path, path_len);
    if (unix_addr->abstract && (!unix_addr->has_tight || unix_addr->tight)) {
        len = offsetof(struct sockaddr_un, sun_path) + 1 + path_len;
    }
    fd = qemu_socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0) {
        return -errno;
    }
    g_unix_set_fd_nonblocking(fd, true, NULL);
    r = RETRY_ON_EINTR(connect(fd, (struct sockaddr *)&addr, len));
    if (r < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    stream_connected(s, fd);
    return 0;
}

static bool stream_open_unix(VhostDPStream *s, Error **errp)
{
    ERRP_GUARD();
    int r = stream_connect_unix(s);

    if (!r) {
        return true;
    }
    if (s->reconnect_ms &&
        (r == -ENOENT || r == -ECONNREFUSED || r == -EAGAIN)) {
        /* The peer is not there yet, or is busy */
        stream_failed(s, strerror(-r));
        return true;
    }
    error_setg_errno(errp, -r, "cannot connect to addr.path=%s",
                     s->addr->u.q_unix.path);
    if (r == -ENOENT || r == -ECONNREFUSED) {
        error_append_hint(errp, "Start the process that listens there first; "
                          "or have QEMU wait for it: reconnect-ms=100; or let "
                          "it connect to QEMU: server=on.\n");
    } else if (r == -EACCES) {
        error_append_hint(errp, "QEMU needs the permission to write to the "
                          "socket.\n");
    }
    return false;
}

/* ---- Passed sockets ---- */

static bool stream_check_fd(VhostDPStream *s, int fd, Error **errp)
{
    const char *name = s->addr->u.fd.str;
    struct pollfd state = { .fd = fd };
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof(peer);
    int type = 0, listens = 0;
    socklen_t len = sizeof(int);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
        type != SOCK_STREAM) {
        error_setg(errp, "addr.str=%s is not a stream socket", name);
        return false;
    }
    len = sizeof(int);
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
    if (s->server && !listens) {
        error_setg(errp, "addr.str=%s is not a listening socket, as server=on "
                   "needs it", name);
        return false;
    }
    if (!s->server && listens) {
        error_setg(errp, "addr.str=%s is a listening socket, which needs "
                   "server=on", name);
        return false;
    }
    if (!s->server &&
        getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0) {
        error_setg_errno(errp, errno, "addr.str=%s is not connected", name);
        return false;
    }
    /* A UNIX socket keeps its peer after stream_end() */
    if (!s->server && poll(&state, 1, 0) > 0 && (state.revents & POLLHUP)) {
        error_setg(errp, "addr.str=%s: its connection has ended", name);
        return false;
    }
    return true;
}

static bool stream_open_fd(VhostDPStream *s, Error **errp)
{
    bool found = s->fds.n;

    if (!vhost_dp_fds_find(&s->fds, "addr.str", s->addr->u.fd.str, 1, errp)) {
        return false;
    }
    if (!stream_check_fd(s, s->fds.fd[0], errp)) {
        if (!found) {
            vhost_dp_fds_reject(&s->fds);
        }
        return false;
    }
    if (s->server) {
        stream_listening(s, s->fds.fd[0]);
    } else {
        stream_connected(s, s->fds.fd[0]);
    }
    return true;
}

/* ---- All kinds ---- */

/* May it take long to find out where to listen? */
static bool stream_has_name(const SocketAddress *addr)
{
    struct in6_addr to;
    const char *host;

    if (addr->type != SOCKET_ADDRESS_TYPE_INET) {
        return false;
    }
    host = addr->u.inet.host;
    return *host && inet_pton(AF_INET, host, &to) != 1 &&
           inet_pton(AF_INET6, host, &to) != 1;
}

static bool stream_open_listener(VhostDPStream *s, Error **errp)
{
    ERRP_GUARD();
    int fd;

    if (stream_has_name(s->addr)) {
        stream_start_work(s);
        return true;
    }
    fd = socket_listen(s->addr, 1, errp);
    if (fd < 0) {
        error_prepend(errp, "cannot listen at addr=%s: ", s->text);
        return false;
    }
    stream_listening(s, fd);
    return true;
}

/* The delay is over */
static void stream_try(VhostDPStream *s)
{
    if (s->server && s->listen_fd >= 0) {
        stream_listen(s, true);
    } else if (s->addr->type == SOCKET_ADDRESS_TYPE_UNIX) {
        int r = stream_connect_unix(s);

        if (r) {
            stream_failed(s, strerror(-r));
        }
    } else {
        stream_start_work(s);
    }
}

static bool stream_begin(VhostDPStream *s, Error **errp)
{
    if (s->addr->type == SOCKET_ADDRESS_TYPE_FD) {
        return stream_open_fd(s, errp);
    }
    if (s->server) {
        return stream_open_listener(s, errp);
    }
    if (s->addr->type == SOCKET_ADDRESS_TYPE_UNIX) {
        return stream_open_unix(s, errp);
    }
    stream_start_work(s);
    return true;
}

bool vhost_dp_stream_conn_open(VhostDPStream *s, Error **errp)
{
    s->listen_fd = -1;
    s->state = STREAM_IDLE;
    s->ended = false;
    s->delay_ms = MAX(s->reconnect_ms, STREAM_MIN_DELAY_MS);
    s->text = socket_uri(s->addr);
    s->ended_bh = aio_bh_new(qemu_get_aio_context(), stream_ended_bh, s);
    s->timer = timer_new_ms(QEMU_CLOCK_REALTIME, stream_timer, s);
    stream_set_reason(s, "not connected to %s yet", s->text);
    if (!stream_begin(s, errp)) {
        vhost_dp_stream_conn_close(s);
        return false;
    }
    return true;
}

/* All ports are detached */
void vhost_dp_stream_conn_close(VhostDPStream *s)
{
    if (s->work) {
        s->work->s = NULL;
        s->work = NULL;
    }
    stream_close_listener(s);
    if (s->offered && s->offered->keep_fd) {
        /* The next netdev goes on where this one was in the stream */
        s->kept = g_steal_pointer(&s->offered);
    }
    g_clear_pointer(&s->offered, vhost_dp_stream_conn_free);
    g_clear_pointer(&s->reason, g_free);
    g_clear_pointer(&s->text, g_free);
    timer_free(s->timer);
    qemu_bh_delete(s->ended_bh);
    s->state = STREAM_IDLE;
}
