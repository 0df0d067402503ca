/*
 * vhost-dp bench: how long one frame takes
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One frame at a time, with a pause before it in which the data path falls
 * asleep (unless it polls).  A frame's arrival at an interface is the time
 * that the host's network stack stamped on it, so that waking up this thread
 * is no part of it.  On the guest's side this thread spins on the ring, or
 * sleeps until the interrupt, as told.
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "qemu/processor.h"
#include "traffic.h"
#include "util.h"

#define LOST_NS (2 * 1000000000LL)

static int64_t realtime(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void check_lost(int64_t since, const char *what)
{
    bench_check_stop();
    if (realtime() - since > LOST_NS) {
        bench_fail("%s did not come within %lld s", what,
                   LOST_NS / 1000000000);
    }
}

/* Wait for a frame at the sink; returns when it came */
static int64_t wait_wire(Load *l, int64_t since)
{
    static uint8_t frame[FRAME_ROOM];
    FrameCheck *check = &l->pair[0].sink_check;
    struct pollfd pfd = { .fd = l->sink, .events = POLLIN };
    struct virtio_net_hdr_v1 hdr;
    int64_t when;
    uint32_t len;

    for (;;) {
        len = host_sink_receive(l->sink, frame, &hdr, &when);
        if (len) {
            frame_check_vnet(&l->o->shape, check, &hdr);
            frame_check(&l->o->shape, check, frame, len, len, 0, true, true);
            return when;
        }
        poll(&pfd, 1, 10);
        check_lost(since, "the frame that was sent");
    }
}

static int64_t wait_used_tx(Load *l, int64_t since)
{
    Pair *p = &l->pair[0];
    unsigned turn;

    for (turn = 1; !load_reap_tx(l, p); turn++) {
        cpu_relax();
        if (turn % 65536 == 0) {
            check_lost(since, "the used buffer of the frame that was sent");
        }
    }
    return realtime();
}

/* Wait for a received frame; returns when it was seen */
static int64_t wait_rx(Load *l, int64_t since)
{
    Pair *p = &l->pair[0];
    struct pollfd pfd = { .fd = l->notify.call_rx[0], .events = POLLIN };
    int64_t now;
    unsigned turn;

    for (turn = 1; !load_reap_rx(l, p); turn++) {
        if (l->o->call) {
            /*
             * QEMU reads the eventfd, too: when it is the first, there is
             * nothing left to wait for, so look again soon.
             */
            poll(&pfd, 1, 1);
            check_lost(since, "a received frame");
        } else {
            cpu_relax();
            if (turn % 65536 == 0) {
                check_lost(since, "a received frame");
            }
        }
    }
    now = realtime();
    load_post_rx(l, p);
    if (l->o->call) {
        ring_want_call(&p->rx, true);
    }
    return now;
}

static void send_one(Load *l)
{
    Pair *p = &l->pair[0];

    load_reap_tx(l, p);
    if (!load_post_tx(l, p, 1)) {
        bench_fail("the device holds all TX buffers");
    }
}

static void source_one(Load *l)
{
    if (!host_source_send(&l->pair[0].source, 1)) {
        bench_fail("interface %s takes no frame", l->o->source);
    }
}

static void measure_one(Load *l, bool counted)
{
    Samples *s = &l->result.latency;
    int64_t start, middle, end;

    switch (l->o->mode) {
    case MODE_LATENCY_TX:
        start = realtime();
        send_one(l);
        end = l->sink >= 0 ? wait_wire(l, start) : wait_used_tx(l, start);
        break;
    case MODE_LATENCY_RX:
        start = realtime();
        source_one(l);
        end = wait_rx(l, start);
        break;
    default:
        start = realtime();
        send_one(l);
        if (l->sink >= 0) {
            wait_wire(l, start);
            middle = realtime();
            source_one(l);
            end = wait_rx(l, start);
            if (counted) {
                samples_add(&l->result.back, end - middle);
            }
        } else {
            end = wait_rx(l, start);
        }
        break;
    }
    if (counted) {
        samples_add(s, end - start);
    }
}

void latency_run(Load *l)
{
    const Options *o = l->o;
    Pair *p = &l->pair[0];
    unsigned i;

    if (o->call) {
        if (l->notify.call_rx[0] < 0) {
            bench_fail("--call: QEMU has no call eventfd for this device: "
                       "only vhost back ends have");
        }
        ring_want_call(&p->rx, true);
    }
    for (i = 0; i < 50 + o->samples; i++) {
        if (o->gap_us) {
            bench_sleep(o->gap_us * 1000LL);
        }
        bench_check_stop();
        measure_one(l, i >= 50);
    }
    l->result.tx_packets = p->tx_done - options_sends(o);
    l->result.rx_packets = p->check.frames;
    l->result.tx_bytes = l->result.tx_packets * o->shape.size;
    l->result.rx_bytes = p->rx_bytes;
}
