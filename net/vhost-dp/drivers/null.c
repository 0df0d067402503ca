/*
 * vhost-dp-null: discards frames from the guest, generates frames to it
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: there is no host interface.  What the guest sends is
 * dropped unread; it gets frames at a rate, or as fast as it takes them.  This
 * measures the rings alone, and tests a guest's network stack.
 *
 * A generated frame is broadcast, with the local experimental EtherType
 * 0x88b5 (IEEE 802), and then the number of the frame as 8 bytes, big-endian,
 * from 0 for each queue pair.  Byte i of a frame, behind the number, is i
 * modulo 256.  Buffers are filled when a queue pair is attached; only the
 * number is written for each frame.
 *
 * With loopback=on the guest gets what it sent, by way of a few buffers; while
 * they are full, nothing more is taken from it.  The offload metadata is kept,
 * whatever the guest agreed to: this driver cannot be told.
 *
 * A rate is kept by a timer on the queue pair's AioContext, which fires when a
 * burst is due.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "net/eth.h"
#include "net/vhost-dp.h"

#define TYPE_VHOST_DP_NULL "vhost-dp-null"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPNull, VHOST_DP_NULL)

#define NULL_MAX_QUEUE_PAIRS 64
#define NULL_ETHERTYPE 0x88b5
#define NULL_SEQUENCE_OFFSET sizeof(struct eth_header)
#define NULL_MIN_SIZE (NULL_SEQUENCE_OFFSET + sizeof(uint64_t))
#define NULL_DEFAULT_SIZE 60
#define NULL_MAX_RATE 1000000000ULL

/* Frames on their way back: few, so that a guest gets to wait, too */
#define NULL_LOOP_FRAMES 16

typedef struct NullLoop {
    unsigned head, count, lent;
    bool tx_waits;              /* tx_burst took less than it was offered */
    VhostDPFrame frame[NULL_LOOP_FRAMES];   /* metadata and length */
    uint8_t data[NULL_LOOP_FRAMES][VHOST_DP_MAX_FRAME];
} NullLoop;

typedef struct NullQueue {
    VhostDPPort *port;          /* while attached */

    /* The IOThread's own */
    bool rx_enabled;
    QEMUTimer timer;            /* when the next burst is due */
    int64_t due;                /* ns, QEMU_CLOCK_REALTIME */
    uint64_t sequence;
    uint8_t *frames;            /* VHOST_DP_BURST_FRAMES of them */
    size_t stride;
    NullLoop *loop;             /* with loopback=on */
} NullQueue;

struct VhostDPNull {
    VhostDPDriver parent_obj;

    /* Options */
    uint64_t rate;              /* frames per second and queue pair */
    bool flat_out;
    bool loopback;
    uint32_t size;
    uint32_t burst;
    uint32_t max_queues;

    unsigned nqueues;           /* while open */
    NullQueue *queue;
};

/* ---- Options ---- */

static bool null_check_options(VhostDPDriver *drv, Error **errp)
{
    ERRP_GUARD();
    VhostDPNull *null = VHOST_DP_NULL(drv);

    if (null->rate > NULL_MAX_RATE) {
        error_setg(errp, "rate=%" PRIu64 " is out of range: 0 to %llu frames "
                   "per second", null->rate, NULL_MAX_RATE);
        error_append_hint(errp, "Use flat-out=on for as fast as the guest "
                          "takes them.\n");
        return false;
    }
    if (null->rate && null->flat_out) {
        error_setg(errp, "rate=%" PRIu64 " and flat-out=on exclude each other",
                   null->rate);
        return false;
    }
    if (null->loopback && (null->rate || null->flat_out)) {
        error_setg(errp, "loopback=on excludes %s",
                   null->flat_out ? "flat-out=on" : "rate=");
        error_append_hint(errp, "What is sent back is not generated.\n");
        return false;
    }
    if (null->size < NULL_MIN_SIZE || null->size > VHOST_DP_MAX_FRAME) {
        error_setg(errp, "size=%u is out of range: %zu to %d bytes", null->size,
                   NULL_MIN_SIZE, VHOST_DP_MAX_FRAME);
        return false;
    }
    if (null->burst < 1 || null->burst > VHOST_DP_BURST_FRAMES) {
        error_setg(errp, "burst=%u is out of range: 1 to %d frames",
                   null->burst, VHOST_DP_BURST_FRAMES);
        return false;
    }
    if (null->max_queues < 1 || null->max_queues > NULL_MAX_QUEUE_PAIRS) {
        error_setg(errp, "max-queues=%u is out of range: 1 to %d queue pairs",
                   null->max_queues, NULL_MAX_QUEUE_PAIRS);
        error_append_hint(errp, "The netdev can have more: they share those of "
                          "the driver.\n");
        return false;
    }
    return true;
}

static const VhostDPOption null_options[] = {
    VHOST_DP_OPTION("rate", UINT64, VhostDPNull, rate,
        "frames per second to generate for each queue pair (default: 0)"),
    VHOST_DP_OPTION("flat-out", BOOL, VhostDPNull, flat_out,
        "generate frames as fast as the guest takes them (default: off)"),
    VHOST_DP_OPTION("loopback", BOOL, VhostDPNull, loopback,
        "give the guest the frames that it sent, and generate none "
        "(default: off)"),
    VHOST_DP_OPTION("size", UINT32, VhostDPNull, size,
        "bytes in a generated frame, without FCS (default: 60)"),
    VHOST_DP_OPTION("burst", UINT32, VhostDPNull, burst,
        "frames generated together, 1 to 64 (default: 64)"),
    VHOST_DP_OPTION("max-queues", UINT32, VhostDPNull, max_queues,
        "queue pairs that the driver has, 1 to 64; those of the netdev share "
        "them if there are more (default: 64)"),
    { }
};

/* ---- Control side ---- */

static bool null_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    VhostDPNull *null = VHOST_DP_NULL(drv);

    null->nqueues = queue_pairs;
    null->queue = g_new0(NullQueue, queue_pairs);
    return true;
}

static void null_close(VhostDPDriver *drv)
{
    VhostDPNull *null = VHOST_DP_NULL(drv);

    g_free(null->queue);
    null->queue = NULL;
    null->nqueues = 0;
}

static void null_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) {
        .max_queue_pairs = VHOST_DP_NULL(drv)->max_queues,
        .max_frame = VHOST_DP_MAX_FRAME,
        .max_segments = UINT16_MAX,
        .tx_offloads = VHOST_DP_OFFLOAD_ALL,
        .rx_offloads = VHOST_DP_OFFLOAD_ALL,
        .rx_poll = true,
        /* A rate goes on, like the traffic of a host that does not care */
        .rx_on_demand = VHOST_DP_NULL(drv)->flat_out,
    };
}

static void null_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    VhostDPNull *null = VHOST_DP_NULL(drv);

    if (null->loopback) {
        info->interface = g_strdup("loopback=on");
    } else if (null->flat_out) {
        info->interface = g_strdup_printf("flat-out=on,size=%u,burst=%u",
                                          null->size, null->burst);
    } else {
        info->interface = g_strdup_printf("rate=%" PRIu64 ",size=%u,burst=%u",
                                          null->rate, null->size, null->burst);
    }
}

/* ---- Data side: the queue pair's IOThread ---- */

static void null_timer(void *opaque)
{
    NullQueue *q = opaque;

    if (q->loop && q->loop->tx_waits) {
        q->loop->tx_waits = false;
        vhost_dp_port_ready(q->port, VHOST_DP_READY_TX);
    }
    if (q->rx_enabled) {
        vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
    }
}

static void null_fill_frames(VhostDPNull *null, NullQueue *q, unsigned pair)
{
    unsigned i;
    uint32_t b;

    q->stride = ROUND_UP(null->size, 64);
    q->frames = g_malloc0(q->stride * VHOST_DP_BURST_FRAMES);
    for (i = 0; i < VHOST_DP_BURST_FRAMES; i++) {
        uint8_t *frame = q->frames + i * q->stride;
        struct eth_header *eth = (struct eth_header *)frame;

        for (b = 0; b < null->size; b++) {
            frame[b] = b;
        }
        memset(eth->h_dest, 0xff, ETH_ALEN);
        memset(eth->h_source, 0, ETH_ALEN);
        eth->h_source[0] = 0x02;        /* locally administered */
        eth->h_source[ETH_ALEN - 1] = pair;
        eth->h_proto = cpu_to_be16(NULL_ETHERTYPE);
    }
}

static bool null_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                        AioContext *ctx, Error **errp)
{
    VhostDPNull *null = VHOST_DP_NULL(drv);
    NullQueue *q = &null->queue[pair];

    q->port = port;
    null_fill_frames(null, q, pair);
    if (null->loopback) {
        q->loop = g_new0(NullLoop, 1);
    }
    aio_timer_init(ctx, &q->timer, QEMU_CLOCK_REALTIME, SCALE_NS, null_timer,
                   q);
    return true;
}

static void null_detach(VhostDPDriver *drv, unsigned pair)
{
    NullQueue *q = &VHOST_DP_NULL(drv)->queue[pair];

    timer_del(&q->timer);
    g_free(q->frames);
    q->frames = NULL;
    if (q->loop) {
        vhost_dp_port_drop_rx(q->port, VHOST_DP_DROP_REASON_STOPPED,
                              q->loop->count);
    }
    g_free(q->loop);
    q->loop = NULL;
    q->port = NULL;
}

static unsigned null_loop_tx(NullQueue *q, const VhostDPFrame *frames,
                             unsigned n)
{
    NullLoop *loop = q->loop;
    unsigned i;

    for (i = 0; i < n && loop->count < NULL_LOOP_FRAMES; i++) {
        unsigned slot = (loop->head + loop->count++) % NULL_LOOP_FRAMES;

        loop->frame[slot] = frames[i];
        iov_to_buf(frames[i].iov, frames[i].iovcnt, 0, loop->data[slot],
                   frames[i].len);
    }
    loop->tx_waits = i < n;
    if (q->rx_enabled) {
        vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
    }
    return i;
}

static unsigned null_loop_rx(NullQueue *q, VhostDPFrame *frames, unsigned n)
{
    NullLoop *loop = q->loop;
    unsigned i;

    for (i = 0; i < n && loop->lent < loop->count; i++) {
        unsigned slot = (loop->head + loop->lent++) % NULL_LOOP_FRAMES;

        frames[i] = loop->frame[slot];
        frames[i].inl[0].iov_base = loop->data[slot];
        frames[i].inl[0].iov_len = frames[i].len;
        frames[i].iov = frames[i].inl;
        frames[i].iovcnt = 1;
    }
    return i;
}

static unsigned null_tx_burst(VhostDPDriver *drv, unsigned pair,
                              VhostDPFrame *frames, unsigned n)
{
    NullQueue *q = &VHOST_DP_NULL(drv)->queue[pair];

    return q->loop ? null_loop_tx(q, frames, n) : n;
}

/* Time that a burst takes at the rate, in ns */
static int64_t null_interval(const VhostDPNull *null)
{
    return null->burst * NANOSECONDS_PER_SECOND / null->rate;
}

/* Is a burst due?  Arms the timer for the next one if not. */
static bool null_due(VhostDPNull *null, NullQueue *q)
{
    int64_t now, interval;

    if (null->flat_out) {
        return true;
    }
    if (!null->rate) {
        return false;
    }
    now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    if (now < q->due) {
        if (q->rx_enabled) {
            timer_mod_ns(&q->timer, q->due);
        }
        return false;
    }
    /* What a slow guest or a busy thread missed by far is not made up for */
    interval = null_interval(null);
    q->due = MAX(q->due, now - 16 * interval) + interval;
    return true;
}

static unsigned null_rx_burst(VhostDPDriver *drv, unsigned pair,
                              VhostDPFrame *frames, unsigned n)
{
    VhostDPNull *null = VHOST_DP_NULL(drv);
    NullQueue *q = &null->queue[pair];
    unsigned max = MIN(MIN(n, null->burst),
                       VHOST_DP_BURST_BYTES / null->size + 1);
    unsigned i;

    if (q->loop) {
        return null_loop_rx(q, frames, n);
    }
    if (!null_due(null, q)) {
        return 0;
    }
    for (i = 0; i < max; i++) {
        uint8_t *data = q->frames + i * q->stride;

        stq_be_p(data + NULL_SEQUENCE_OFFSET, q->sequence++);
        frames[i].inl[0].iov_base = data;
        frames[i].inl[0].iov_len = null->size;
        frames[i].iov = frames[i].inl;
        frames[i].iovcnt = 1;
        frames[i].len = null->size;
        frames[i].flags = 0;
        frames[i].gso_type = 0;
    }
    return max;
}

static void null_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    NullQueue *q = &VHOST_DP_NULL(drv)->queue[pair];
    NullLoop *loop = q->loop;

    if (loop) {
        loop->head = (loop->head + n) % NULL_LOOP_FRAMES;
        loop->count -= n;
        loop->lent -= n;
        if (loop->tx_waits) {
            /* Not from here, which may be the end of everything */
            timer_mod_ns(&q->timer, 0);
        }
    }
}

static void null_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    NullQueue *q = &VHOST_DP_NULL(drv)->queue[pair];

    q->rx_enabled = enable;
    if (enable) {
        vhost_dp_port_ready(q->port, VHOST_DP_READY_RX);
    } else if (!q->loop) {
        timer_del(&q->timer);
    }
}

/* ---- The object ---- */

static void null_instance_init(Object *obj)
{
    VhostDPNull *null = VHOST_DP_NULL(obj);

    null->size = NULL_DEFAULT_SIZE;
    null->burst = VHOST_DP_BURST_FRAMES;
    null->max_queues = NULL_MAX_QUEUE_PAIRS;
}

static void null_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->check_options = null_check_options;
    dc->open = null_open;
    dc->close = null_close;
    dc->get_caps = null_get_caps;
    dc->query = null_query;
    dc->attach = null_attach;
    dc->detach = null_detach;
    dc->tx_burst = null_tx_burst;
    dc->rx_burst = null_rx_burst;
    dc->rx_release = null_rx_release;
    dc->rx_enable = null_rx_enable;

    vhost_dp_driver_add_options(oc, null_options);
}

static const TypeInfo null_info = {
    .name = TYPE_VHOST_DP_NULL,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(VhostDPNull),
    .instance_init = null_instance_init,
    .class_init = null_class_init,
};

static void null_register_types(void)
{
    type_register_static(&null_info);
}

type_init(null_register_types)
