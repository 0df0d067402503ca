/*
 * vhost-dp-stream: what its parts share (stream*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_DRIVERS_STREAM_STREAM_INT_H
#define NET_VHOST_DP_DRIVERS_STREAM_STREAM_INT_H

#include "io/channel-socket.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "net/net.h"
#include "net/vhost-dp.h"
#include "net/vhost-dp/drivers/lib/fds.h"

#define TYPE_VHOST_DP_STREAM "vhost-dp-stream"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPStream, VHOST_DP_STREAM)

/* On the wire, each frame has its length in front, in network byte order */
#define STREAM_HEADER           sizeof(uint32_t)

/* The longest frame that the peer may send: what -netdev stream accepts */
#define STREAM_MAX_LENGTH       NET_BUFSIZE

/* Room for a burst, and at least for a frame of that length */
#define STREAM_IN_BYTES         VHOST_DP_BURST_BYTES
QEMU_BUILD_BUG_ON(STREAM_IN_BYTES < STREAM_HEADER + STREAM_MAX_LENGTH);

#define STREAM_OUT_BYTES        (STREAM_HEADER + VHOST_DP_MAX_FRAME)

/* Pieces of memory in one sendmsg(), and in a frame */
#define STREAM_IOV              IOV_MAX
#define STREAM_MAX_SEGMENTS     (STREAM_IOV / 4)

#define STREAM_MAX_RECONNECT_MS 60000

/* Delays between connections double up to this, from at least the other one */
#define STREAM_MAX_DELAY_MS     5000
#define STREAM_MIN_DELAY_MS     10

/*
 * A connection.  It belongs to whoever has a pointer to it: the queue pair, or
 * VhostDPStream.offered.
 */
typedef struct StreamConn {
    int fd;                     /* -1: closed */
    bool keep_fd;               /* the user's, by addr.type=fd */

    /* Received: @in_at to @in_end was not lent yet */
    uint8_t *in;                /* STREAM_IN_BYTES, or NULL: none so far */
    size_t in_at, in_end;
    bool in_dry;                /* the last recv() left nothing in the socket */
    unsigned lent;              /* frames */

    /* The rest of a frame of which a part was sent */
    uint8_t *out;               /* STREAM_OUT_BYTES, or NULL: none so far */
    size_t out_at, out_end;
} StreamConn;

typedef enum StreamState {
    STREAM_IDLE,                /* closed, or waits for the timer */
    STREAM_WORKING,             /* a thread connects, or begins to listen */
    STREAM_LISTENING,
    STREAM_CONNECTED,
} StreamState;

typedef enum StreamTx {
    STREAM_TX_OPEN,
    STREAM_TX_FULL,             /* waits for room in the socket */
    STREAM_TX_NO_MEMORY,        /* the kernel had none: waits for the timer */
} StreamTx;

/* What a thread does for a driver, see stream-conn.c */
typedef struct StreamWork StreamWork;

struct VhostDPStream {
    VhostDPDriver parent_obj;

    /* Options; BQL */
    SocketAddress *addr;
    bool server;
    uint32_t reconnect_ms;

    /* The control side, under the BQL: stream-conn.c */
    VhostDPFds fds;             /* addr.type=fd; until the object goes */
    char *text;                 /* the address, for people */
    StreamState state;
    StreamWork *work;           /* STREAM_WORKING */
    int listen_fd;              /* server=on, or -1 */
    QEMUTimer *timer;           /* until the next attempt */
    QEMUBH *ended_bh;           /* in the main loop */
    unsigned delay_ms;          /* of the next attempt */
    int64_t connected_at;       /* ms */
    uint64_t connects;
    StreamConn *kept;           /* addr.type=fd: between close and open */

    QemuMutex lock;             /* guards: */
    StreamConn *offered;        /* for the queue pair to use */
    char *reason;               /* why there is none, for the user */
    bool ended;                 /* the queue pair has ended its connection */
    QEMUBH *bh;                 /* in the IOThread, while attached */

    /* Written by the IOThread, read by the query: atomic */
    uint64_t bad_lengths;

    /* The IOThread's own, from attach to detach: stream-io.c */
    VhostDPPort *port;
    AioContext *ctx;
    StreamConn *conn;           /* NULL: none */
    bool rx_enabled;
    StreamTx tx;
    QEMUTimer tx_timer;
    uint32_t header[VHOST_DP_BURST_FRAMES];
    struct iovec iov[STREAM_IOV];
};

/* ---- stream-conn.c: main loop, under the BQL ---- */

/* Begin to connect, or listen.  Returns false with @errp set on failure. */
bool vhost_dp_stream_conn_open(VhostDPStream *s, Error **errp);
void vhost_dp_stream_conn_close(VhostDPStream *s);

/* Thread: any.  @conn may be NULL. */
void vhost_dp_stream_conn_free(StreamConn *conn);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(StreamConn, vhost_dp_stream_conn_free)

/* ---- stream-io.c: the functions of VhostDPDriverClass, with its rules ---- */

bool vhost_dp_stream_attach(VhostDPDriver *drv, unsigned pair,
                            VhostDPPort *port, AioContext *ctx, Error **errp);
void vhost_dp_stream_detach(VhostDPDriver *drv, unsigned pair);
unsigned vhost_dp_stream_tx_burst(VhostDPDriver *drv, unsigned pair,
                                  VhostDPFrame *frames, unsigned n);
unsigned vhost_dp_stream_rx_burst(VhostDPDriver *drv, unsigned pair,
                                  VhostDPFrame *frames, unsigned n);
void vhost_dp_stream_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n);
void vhost_dp_stream_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable);

#endif /* NET_VHOST_DP_DRIVERS_STREAM_STREAM_INT_H */
