/*
 * vhost-dp-stream: frames over a stream socket, with their lengths in front
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the object and its options.  stream-conn.c connects, in
 * the main loop; stream-io.c moves frames, in the queue pair's IOThread.
 *
 * This is what -netdev stream speaks, and programs such as passt: the length of
 * each frame as 4 bytes, in network byte order, then the frame.  There is no
 * offload metadata, and one socket, so one queue pair.
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "stream-int.h"
#include "trace.h"

/* ---- Options ---- */

static bool stream_check_unix(VhostDPStream *s, Error **errp)
{
    const UnixSocketAddress *addr = &s->addr->u.q_unix;
    const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

    if (!*addr->path || strlen(addr->path) > most) {
        error_setg(errp, "addr.path=%s: the path of a UNIX socket has 1 to "
                   "%zu bytes", addr->path, most);
        return false;
    }
    return true;
}

static bool stream_check_inet(VhostDPStream *s, Error **errp)
{
    ERRP_GUARD();
    const InetSocketAddress *addr = &s->addr->u.inet;
    unsigned port;

    if (!*addr->host && !s->server) {
        error_setg(errp, "addr.host= is empty");
        error_append_hint(errp, "Give the name or the address of the host to "
                          "connect to, or server=on.\n");
        return false;
    }
    if (!*addr->port || (qemu_strtoui(addr->port, NULL, 10, &port) == 0 &&
                         port > UINT16_MAX)) {
        error_setg(errp, "addr.port=%s: 0 to %d, or the name of a service, "
                   "are accepted", addr->port, UINT16_MAX);
        return false;
    }
    if (addr->has_to && !s->server) {
        error_setg(errp, "addr.to=%u needs server=on", addr->to);
        return false;
    }
    return true;
}

static bool stream_check_addr(VhostDPStream *s, Error **errp)
{
    switch (s->addr->type) {
    case SOCKET_ADDRESS_TYPE_UNIX:
        return stream_check_unix(s, errp);
    case SOCKET_ADDRESS_TYPE_INET:
        return stream_check_inet(s, errp);
    case SOCKET_ADDRESS_TYPE_FD:
        return vhost_dp_fds_count("addr.str", s->addr->u.fd.str, errp) == 1;
    default:
        return true;
    }
}

static bool stream_check_options(VhostDPDriver *drv, Error **errp)
{
    ERRP_GUARD();
    VhostDPStream *s = VHOST_DP_STREAM(drv);

    if (!s->addr) {
        error_setg(errp, "addr= is needed");
        error_append_hint(errp, "For example: "
                          "addr.type=unix,addr.path=/run/net.sock\n");
        return false;
    }
    if (s->reconnect_ms > STREAM_MAX_RECONNECT_MS) {
        error_setg(errp, "reconnect-ms=%u: 0 to %u are accepted",
                   s->reconnect_ms, STREAM_MAX_RECONNECT_MS);
        return false;
    }
    if (s->reconnect_ms && s->server) {
        error_setg(errp, "reconnect-ms=%u excludes server=on: it is the peer "
                   "that connects", s->reconnect_ms);
        return false;
    }
    if (s->reconnect_ms && s->addr->type == SOCKET_ADDRESS_TYPE_FD) {
        error_setg(errp, "reconnect-ms=%u excludes addr.type=fd: QEMU cannot "
                   "open that connection again", s->reconnect_ms);
        return false;
    }
    return stream_check_addr(s, errp);
}

static void stream_forget_fd(VhostDPStream *s)
{
    g_clear_pointer(&s->kept, vhost_dp_stream_conn_free);
    vhost_dp_fds_close(&s->fds);
}

/* The driver is not in use */
static void stream_addr_changed(VhostDPDriver *drv)
{
    stream_forget_fd(VHOST_DP_STREAM(drv));
}

static const VhostDPOption stream_options[] = {
    VHOST_DP_OPTION("addr", SOCKET, VhostDPStream, addr,
        "address of the socket, with addr.type=unix, inet, vsock or fd",
        .changed = stream_addr_changed),
    VHOST_DP_OPTION("server", BOOL, VhostDPStream, server,
        "listen at the address, and let the peer connect (default: off)"),
    VHOST_DP_OPTION("reconnect-ms", UINT32, VhostDPStream, reconnect_ms,
        "delay before the first attempt to connect again, in ms; later ones "
        "double it, up to 5 s; 0: do not (default)"),
    { }
};

/* ---- Control side ---- */

static bool stream_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    VhostDPStream *s = VHOST_DP_STREAM(drv);

    if (!vhost_dp_stream_conn_open(s, errp)) {
        return false;
    }
    trace_vhost_dp_stream_open(drv->id, s->text);
    return true;
}

static void stream_close(VhostDPDriver *drv)
{
    vhost_dp_stream_conn_close(VHOST_DP_STREAM(drv));
    trace_vhost_dp_stream_close(drv->id);
}

static void stream_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) {
        .max_queue_pairs = 1,
        .max_frame = VHOST_DP_MAX_FRAME,
        .max_segments = STREAM_MAX_SEGMENTS,
    };
}

static void stream_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    VhostDPStream *s = VHOST_DP_STREAM(drv);
    uint64_t bad_lengths = qatomic_read(&s->bad_lengths);

    info->interface = g_strdup_printf("addr=%s%s", s->text,
                                      s->server ? ",server=on" : "");
    info->peer = g_new0(VhostDPPeerInfo, 1);
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        info->peer->connected = s->state == STREAM_CONNECTED && !s->ended;
    }
    info->peer->connects = s->connects;
    if (bad_lengths) {
        VhostDPPeerViolationInfo *violation;

        violation = g_new0(VhostDPPeerViolationInfo, 1);
        violation->violation = VHOST_DP_PEER_VIOLATION_FRAME_LENGTH;
        violation->count = bad_lengths;
        QAPI_LIST_PREPEND(info->peer->violations, violation);
    }
}

/* ---- The object ---- */

static void stream_instance_init(Object *obj)
{
    qemu_mutex_init(&VHOST_DP_STREAM(obj)->lock);
}

static void stream_instance_finalize(Object *obj)
{
    VhostDPStream *s = VHOST_DP_STREAM(obj);

    stream_forget_fd(s);
    qemu_mutex_destroy(&s->lock);
}

static void stream_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->check_options = stream_check_options;
    dc->open = stream_open;
    dc->close = stream_close;
    dc->get_caps = stream_get_caps;
    dc->query = stream_query;
    dc->attach = vhost_dp_stream_attach;
    dc->detach = vhost_dp_stream_detach;
    dc->tx_burst = vhost_dp_stream_tx_burst;
    dc->rx_burst = vhost_dp_stream_rx_burst;
    dc->rx_release = vhost_dp_stream_rx_release;
    dc->rx_enable = vhost_dp_stream_rx_enable;
    vhost_dp_driver_add_options(oc, stream_options);
}

static const TypeInfo stream_types[] = {
    {
        .name = TYPE_VHOST_DP_STREAM,
        .parent = TYPE_VHOST_DP_DRIVER,
        .instance_size = sizeof(VhostDPStream),
        .instance_init = stream_instance_init,
        .instance_finalize = stream_instance_finalize,
        .class_init = stream_class_init,
    },
};

DEFINE_TYPES(stream_types)
