/*
 * vhost-dp bench: moving frames through the rings
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

#include "device.h"
#include "host.h"
#include "measure.h"
#include "notify.h"
#include "options.h"

/* One queue pair */
typedef struct Pair {
    unsigned index;
    Ring tx, rx;

    uint8_t **tx_buf;           /* by id: header, then frame */
    uint16_t *tx_free;          /* ids that the device does not have */
    unsigned tx_nfree;
    uint64_t tx_posted;         /* frames; also the next frame's number */
    uint64_t tx_done;

    uint8_t **rx_buf;
    uint16_t *rx_free;
    unsigned rx_nfree;
    unsigned rx_pieces;         /* of a frame whose rest has to come */
    unsigned rx_have;
    RingUsed rx_piece[1024];
    uint8_t *rx_whole;          /* a frame in several buffers, put together */
    FrameCheck check;
    uint64_t rx_bytes;

    HostSource source;
    FrameCheck sink_check;
} Pair;

/* What a counted run gave */
typedef struct Result {
    uint64_t tx_packets;
    uint64_t rx_packets;
    uint64_t tx_bytes;
    uint64_t rx_bytes;
    int64_t wall_ns;
    Usage data;                 /* of the data path's threads */
    Usage all;                  /* of all of QEMU */
    Samples latency;            /* kick to wire, or what the mode says */
    Samples back;               /* the other half of an echo */
} Result;

typedef struct Load {
    const Options *o;
    FrameShape expect;          /* what is received */
    Machine machine;
    Device dev;
    Notify notify;
    ThreadSet data_threads;
    ThreadSet all_threads;
    int sink;
    int user;                   /* where frames for the host go */
    Pair *pair;
    Result result;
} Load;

/**
 * load_init: make the buffers, and start the device
 */
void load_init(Load *l);

/**
 * load_rx_buffer_size: how many bytes a receive buffer has
 */
uint32_t load_rx_buffer_size(const Load *l);

/**
 * load_run: do what the options say, and fill in l->result
 *
 * Exits with a message when the device stalls.
 */
void load_run(Load *l);

/**
 * load_check: exit with a message if something wrong was received
 */
void load_check(Load *l);

/* ---- For latency.c ---- */

/**
 * load_post_tx: send up to @n frames; load_reap_tx: take used buffers back
 */
unsigned load_post_tx(Load *l, Pair *p, unsigned n);
unsigned load_reap_tx(Load *l, Pair *p);

/**
 * load_post_rx: give all free receive buffers to the device
 */
void load_post_rx(Load *l, Pair *p);

/**
 * load_reap_rx: take used buffers, and check the frames in them
 *
 * Returns the number of frames.
 */
unsigned load_reap_rx(Load *l, Pair *p);

/**
 * latency_run: the modes latency-*
 */
void latency_run(Load *l);

#endif /* BENCH_TRAFFIC_H */
