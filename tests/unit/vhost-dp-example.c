/*
 * vhost-dp-example: frames by read() and write()
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: docs/devel/vhost-dp-driver.rst goes through this file.
 * path= is something that keeps messages apart, such as a SOCK_SEQPACKET
 * socket in a file descriptor set; each message is a frame.  Whoever is at the
 * other end is not trusted.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "net/eth.h"
#include "net/vhost-dp.h"

/* What is longer is dropped, or cut into segments before it gets here */
#define EX_MAX_FRAME 9216

#define TYPE_VHOST_DP_EXAMPLE "vhost-dp-example"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPExample, VHOST_DP_EXAMPLE)
struct VhostDPExample {
    VhostDPDriver parent_obj;
    char *path;                 /* BQL */
    int fd;                     /* from open to close */
    /* The IOThread's, from attach to detach */
    VhostDPPort *port;
    AioContext *ctx;
    bool rx, tx;                /* what the handlers wait for */
    /* Frames that are lent: a burst's bytes at most */
    uint8_t slot[VHOST_DP_BURST_BYTES / EX_MAX_FRAME][EX_MAX_FRAME + 1];
};

/* ---- Control side: under the BQL ---- */

static bool ex_check_options(VhostDPDriver *drv, Error **errp)
{
    const char *path = VHOST_DP_EXAMPLE(drv)->path;

    if (!g_path_is_absolute(path)) {
        error_setg(errp, "path=%s is not absolute", path);
        return false;
    }
    return true;
}

static bool ex_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    VhostDPExample *ex = VHOST_DP_EXAMPLE(drv);

    ex->fd = qemu_open_old(ex->path, O_RDWR | O_NONBLOCK);
    if (ex->fd < 0) {
        error_setg_errno(errp, errno, "path=%s", ex->path);
    }
    return ex->fd >= 0;
}

static void ex_close(VhostDPDriver *drv)
{
    qemu_close(VHOST_DP_EXAMPLE(drv)->fd);
}

static void ex_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) { .max_queue_pairs = 1, .max_frame = EX_MAX_FRAME,
                            .max_segments = IOV_MAX };
}

static void ex_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    info->interface = g_strdup_printf("path=%s", VHOST_DP_EXAMPLE(drv)->path);
}

/* ---- Data side: in the queue pair's IOThread ---- */

static void ex_event(void *opaque);

static void ex_wait(VhostDPExample *ex, bool rx, bool tx)
{
    ex->rx = rx;
    ex->tx = tx;
    aio_set_fd_handler(ex->ctx, ex->fd, rx ? ex_event : NULL,
                       tx ? ex_event : NULL, NULL, NULL, ex);
}

static void ex_event(void *opaque)
{
    VhostDPExample *ex = opaque;

    ex_wait(ex, ex->rx, false);
    vhost_dp_port_ready(ex->port, VHOST_DP_READY_RX | VHOST_DP_READY_TX);
}

static bool ex_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                      AioContext *ctx, Error **errp)
{
    VHOST_DP_EXAMPLE(drv)->port = port;
    VHOST_DP_EXAMPLE(drv)->ctx = ctx;
    return true;
}

static void ex_detach(VhostDPDriver *drv, unsigned pair)
{
    ex_wait(VHOST_DP_EXAMPLE(drv), false, false);
}

static void ex_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    ex_wait(VHOST_DP_EXAMPLE(drv), enable, VHOST_DP_EXAMPLE(drv)->tx);
}

static unsigned ex_tx_burst(VhostDPDriver *drv, unsigned pair,
                            VhostDPFrame *frames, unsigned n)
{
    VhostDPExample *ex = VHOST_DP_EXAMPLE(drv);
    unsigned i;

    for (i = 0; i < n; i++) {
        ssize_t r = writev(ex->fd, frames[i].iov, frames[i].iovcnt);

        if (r < 0 && errno == EAGAIN) {
            /* What is left stays in the guest's ring */
            ex_wait(ex, ex->rx, true);
            break;
        } else if (r < 0) {
            vhost_dp_port_drop_tx(ex->port, VHOST_DP_DROP_REASON_DRIVER_ERROR,
                                  1);
        }
    }
    return i;
}

static unsigned ex_rx_burst(VhostDPDriver *drv, unsigned pair,
                            VhostDPFrame *frames, unsigned n)
{
    VhostDPExample *ex = VHOST_DP_EXAMPLE(drv);
    unsigned i, got = 0;

    for (i = 0; i < MIN(n, ARRAY_SIZE(ex->slot)); i++) {
        uint8_t *buf = ex->slot[got];
        ssize_t len = read(ex->fd, buf, sizeof(ex->slot[got]));

        if (len < 0 && errno == EAGAIN) {
            break;
        } else if (len <= 0) {
            /* The end makes a descriptor readable for ever: do not wait */
            ex_wait(ex, false, false);
            vhost_dp_port_set_link(ex->port, false, "the peer has gone");
            break;
        }
        if (len < (ssize_t)sizeof(struct eth_header) || len > EX_MAX_FRAME) {
            vhost_dp_port_drop_rx(ex->port, len > EX_MAX_FRAME ?
                                  VHOST_DP_DROP_REASON_TOO_LARGE :
                                  VHOST_DP_DROP_REASON_TOO_SHORT, 1);
            continue;
        }
        frames[got] = (VhostDPFrame) { .iov = frames[got].inl, .iovcnt = 1,
                                       .inl = { { buf, len } }, .len = len };
        got++;
    }
    return got;
}

/* ---- The object ---- */

static const VhostDPOption ex_options[] = {
    VHOST_DP_OPTION("path", STR, VhostDPExample, path,
        "what keeps messages apart, such as a socket in /dev/fdset/1"),
    { }
};

static void ex_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->check_options = ex_check_options;
    dc->open = ex_open;
    dc->close = ex_close;
    dc->get_caps = ex_get_caps;
    dc->query = ex_query;
    dc->attach = ex_attach;
    dc->detach = ex_detach;
    dc->rx_enable = ex_rx_enable;
    dc->tx_burst = ex_tx_burst;
    dc->rx_burst = ex_rx_burst;
    vhost_dp_driver_add_options(oc, ex_options);
}

static const TypeInfo ex_types[] = {
    {
        .name = TYPE_VHOST_DP_EXAMPLE,
        .parent = TYPE_VHOST_DP_DRIVER,
        .instance_size = sizeof(VhostDPExample),
        .class_init = ex_class_init,
    },
};

DEFINE_TYPES(ex_types)
