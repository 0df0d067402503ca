/*
 * vhost-dp stress: a driver whose host interface is erratic
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It uses the dataplane API in every way that the API allows: takes a part of a
 * burst, has room again at once or after a while, has frames or none, says so
 * from inside a call or from a timer, and lets its link flap.  Each object has
 * another number of queue pairs, and says now and then that it has fewer.  What
 * it is given to send was filled by the guest with STRESS_TX_BYTE; what it
 * received consists of STRESS_RX_BYTE.
 *
 * As in a real driver, a queue pair's state belongs to its IOThread and has no
 * lock.  Opened and closed is the driver under the BQL.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/atomic.h"
#include "qemu/iov.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "net/vhost-dp.h"
#include "nic.h"
#include "stress.h"

OBJECT_DECLARE_SIMPLE_TYPE(StressDriver, STRESS_DRIVER)

/* Of one queue pair: its IOThread's own */
typedef struct StressQueue {
    StressDriver *drv;
    StressRandom random;
    VhostDPPort *port;
    QEMUTimer timer;
    unsigned later;             /* VHOST_DP_READY_*: the timer says so */
    bool rx_enabled;
    unsigned lent;
    bool link_down;
} StressQueue;

struct StressDriver {
    VhostDPDriver parent_obj;

    bool open;                  /* BQL, and read by the IOThreads */
    unsigned refused;           /* bits: queue pairs, set once */
    unsigned queues;            /* set once */
    uint32_t offloads;          /* atomic: set_offload comes at any time */
    StressQueue queue[NIC_PAIRS];
};

static uint8_t frame_data[STRESS_MAX_FRAME];

/* IPv4 and UDP, so that RSS has something to hash; each flow has its port */
#define FLOWS 64
#define FLOW_HEAD 42

static uint8_t flow_head[FLOWS][FLOW_HEAD];

static void make_flows(void)
{
    unsigned i;

    for (i = 0; i < FLOWS; i++) {
        uint8_t *head = flow_head[i];

        memset(head, STRESS_RX_BYTE, FLOW_HEAD);
        stw_be_p(head + 12, 0x0800);
        head[14] = 0x45;
        stw_be_p(head + 20, 0);
        head[23] = 17;
        stw_be_p(head + 34, i);
    }
}

static StressQueue *queue_of(VhostDPDriver *drv, unsigned pair)
{
    return &STRESS_DRIVER(drv)->queue[pair];
}

static void tell_later(StressQueue *s, unsigned what)
{
    s->later |= what;
    timer_mod_ns(&s->timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                 stress_random(&s->random, 50 * SCALE_US));
}

static void driver_timer(void *opaque)
{
    StressQueue *s = opaque;
    unsigned what = s->later;

    s->later = 0;
    if (stress_random(&s->random, 64) == 0) {
        s->link_down = !s->link_down;
        vhost_dp_port_set_link(s->port, !s->link_down, "stress");
    }
    if (stress_random(&s->random, 64) == 0) {
        vhost_dp_port_set_queues(s->port,
                                 1 + stress_random(&s->random, NIC_PAIRS));
    }
    if (!s->rx_enabled) {
        what &= ~VHOST_DP_READY_RX;
    }
    if (what) {
        vhost_dp_port_ready(s->port, what);
    }
}

unsigned stress_driver_queues(VhostDPDriver *drv)
{
    return STRESS_DRIVER(drv)->queues;
}

void stress_driver_refuse(VhostDPDriver *drv, unsigned pairs)
{
    STRESS_DRIVER(drv)->refused = pairs;
}

static bool driver_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    STRESS_DRIVER(drv)->open = true;
    return true;
}

static void driver_close(VhostDPDriver *drv)
{
    unsigned i;

    for (i = 0; i < NIC_PAIRS; i++) {
        g_assert_null(queue_of(drv, i)->port);
    }
    STRESS_DRIVER(drv)->open = false;
}

static void driver_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) {
        .max_queue_pairs = STRESS_DRIVER(drv)->queues,
        .max_frame = VHOST_DP_MAX_FRAME,
        .max_segments = 2,
        .tx_offloads = VHOST_DP_OFFLOAD_ALL,
        .rx_offloads = VHOST_DP_OFFLOAD_ALL,
    };
}

static void driver_query(VhostDPDriver *drv, VhostDPDriverInfo *info)
{
    info->interface = g_strdup("stress");
}

static void driver_set_offload(VhostDPDriver *drv, uint32_t offloads)
{
    qatomic_set(&STRESS_DRIVER(drv)->offloads, offloads);
}

static bool driver_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                          AioContext *ctx, Error **errp)
{
    StressQueue *s = queue_of(drv, pair);

    g_assert_true(s->drv->open && !s->port);
    if (s->drv->refused & (1u << pair)) {
        error_setg(errp, "refused");
        return false;
    }
    s->port = port;
    s->link_down = false;
    s->later = 0;
    aio_timer_init(ctx, &s->timer, QEMU_CLOCK_REALTIME, SCALE_NS,
                   driver_timer, s);
    return true;
}

static void driver_detach(VhostDPDriver *drv, unsigned pair)
{
    StressQueue *s = queue_of(drv, pair);

    g_assert_true(s->drv->open);
    g_assert_cmpuint(s->lent, ==, 0);
    timer_del(&s->timer);
    s->port = NULL;
}

static unsigned driver_tx_burst(VhostDPDriver *drv, unsigned pair,
                                VhostDPFrame *frames, unsigned n)
{
    StressQueue *s = queue_of(drv, pair);
    unsigned taken = n;
    unsigned i;

    g_assert_true(s->drv->open && s->port && pair < s->drv->queues);
    if (stress_random(&s->random, 4) == 0) {
        taken = stress_random(&s->random, n);
    }
    for (i = 0; i < taken; i++) {
        uint8_t last;

        iov_to_buf(frames[i].iov, frames[i].iovcnt, frames[i].len - 1, &last,
                   1);
        g_assert_cmphex(last, ==, STRESS_TX_BYTE);
    }
    if (taken < n) {
        if (stress_random(&s->random, 2)) {
            vhost_dp_port_ready(s->port, VHOST_DP_READY_TX);
        } else {
            tell_later(s, VHOST_DP_READY_TX);
        }
    }
    return taken;
}

static unsigned driver_rx_burst(VhostDPDriver *drv, unsigned pair,
                                VhostDPFrame *frames, unsigned n)
{
    StressQueue *s = queue_of(drv, pair);
    unsigned i;

    g_assert_true(s->drv->open && s->port);
    g_assert_true(s->rx_enabled);
    g_assert_cmpuint(s->lent, ==, 0);
    n = stress_random(&s->random, n + 1);
    if (n == 0) {
        tell_later(s, VHOST_DP_READY_RX);
    }
    for (i = 0; i < n; i++) {
        VhostDPFrame *frame = &frames[i];

        frame->len = 60 + stress_random(&s->random, STRESS_MAX_FRAME - 59);
        frame->iov = frame->inl;
        frame->iovcnt = 2;
        frame->inl[0].iov_base = flow_head[stress_random(&s->random, FLOWS)];
        frame->inl[0].iov_len = FLOW_HEAD;
        frame->inl[1].iov_base = frame_data + FLOW_HEAD;
        frame->inl[1].iov_len = frame->len - FLOW_HEAD;
        frame->flags = 0;
        frame->gso_type = 0;
    }
    s->lent = n;
    return n;
}

static void driver_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    StressQueue *s = queue_of(drv, pair);

    g_assert_cmpuint(n, <=, s->lent);
    s->lent -= n;
}

static void driver_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    StressQueue *s = queue_of(drv, pair);

    g_assert_true(s->rx_enabled != enable);
    s->rx_enabled = enable;
    if (enable && stress_random(&s->random, 2)) {
        vhost_dp_port_ready(s->port, VHOST_DP_READY_RX);
    } else if (enable) {
        tell_later(s, VHOST_DP_READY_RX);
    }
}

static void driver_instance_init(Object *obj)
{
    StressDriver *s = STRESS_DRIVER(obj);
    unsigned i;

    for (i = 0; i < NIC_PAIRS; i++) {
        s->queue[i].drv = s;
        stress_random_init(&s->queue[i].random);
    }
    s->queues = 1 + stress_random(&s->queue[0].random, NIC_PAIRS);
}

static void driver_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    make_flows();
    memset(frame_data, STRESS_RX_BYTE, sizeof(frame_data));
    dc->open = driver_open;
    dc->close = driver_close;
    dc->get_caps = driver_get_caps;
    dc->query = driver_query;
    dc->set_offload = driver_set_offload;
    dc->attach = driver_attach;
    dc->detach = driver_detach;
    dc->tx_burst = driver_tx_burst;
    dc->rx_burst = driver_rx_burst;
    dc->rx_release = driver_rx_release;
    dc->rx_enable = driver_rx_enable;
}

static const TypeInfo driver_info = {
    .name = TYPE_STRESS_DRIVER,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(StressDriver),
    .instance_init = driver_instance_init,
    .class_init = driver_class_init,
};

static void driver_register_types(void)
{
    type_register_static(&driver_info);
}

type_init(driver_register_types)
