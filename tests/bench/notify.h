/*
 * vhost-dp bench: QEMU's kick and call eventfds
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_NOTIFY_H
#define BENCH_NOTIFY_H

#include "device.h"

typedef struct Notify {
    Device *dev;
    GArray *before;             /* QEMU's eventfds before the start */
    GArray *fds;                /* those that came with it */
    /* Our copies, or -1 */
    int kick_rx[DEVICE_MAX_PAIRS];
    int kick_tx[DEVICE_MAX_PAIRS];
    int call_rx[DEVICE_MAX_PAIRS];
    int call_tx[DEVICE_MAX_PAIRS];
    bool polls;                 /* the device needs no kicks */
    uint64_t kicks;             /* by eventfd */
    uint64_t slow_kicks;        /* by a register, for want of an eventfd */
} Notify;

/**
 * notify_prepare: remember which eventfds QEMU has before the device starts
 */
void notify_prepare(Notify *n, Device *dev);

/**
 * notify_find: find the device's eventfds
 *
 * @polls: the back end needs no kicks: nothing has to be found
 *
 * The device was started.  Its TX queues are empty, and buffer 0 of each is
 * sent a few times.
 */
void notify_find(Notify *n, bool polls);

/**
 * notify_find_rx: find the kick of the RX queue of pair @pair
 *
 * The device has a frame to deliver, and buffers were posted, but not kicked.
 */
void notify_find_rx(Notify *n, unsigned pair);

/**
 * notify_doubt: the device was taken for one that polls, and does nothing
 */
void notify_doubt(Notify *n);

/**
 * notify_rx, notify_tx: kick a queue of pair @pair
 */
void notify_rx(Notify *n, unsigned pair);
void notify_tx(Notify *n, unsigned pair);

#endif /* BENCH_NOTIFY_H */
