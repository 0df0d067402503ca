/*
 * vhost-dp bench: setting a virtio-net device up, as its driver does
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_DEVICE_H
#define BENCH_DEVICE_H

#include "machine.h"
#include "ring.h"

#define DEVICE_MAX_PAIRS 16

typedef struct Device {
    Machine *machine;
    uint64_t base;              /* of the virtio-mmio registers */
    uint64_t features;          /* negotiated */
    unsigned hdr_len;           /* of the virtio-net header */
    unsigned pairs;             /* in use */
    unsigned pairs_max;         /* that the device has; with MQ only */
    Ring *rx[DEVICE_MAX_PAIRS];
    Ring *tx[DEVICE_MAX_PAIRS];
    Ring control;
    void *control_buf;
} Device;

/**
 * device_find: find the virtio-net device, and negotiate features
 * @want: features that the driver asks for, all of them needed
 *
 * Exits with a message that names what the device does not offer.
 */
void device_find(Device *dev, Machine *machine, uint64_t want);

/**
 * device_start: set up the queues, which are initialised, and start
 *
 * Waits for the link first, which is down until a back end in another process
 * has connected; exits with a message when it does not come up.
 */
void device_start(Device *dev);

/**
 * device_kick_slowly: tell the device of new buffers by a register access
 * @queue: number of the virtqueue: 0 for the first RX, 1 for the first TX
 */
void device_kick_slowly(Device *dev, unsigned queue);

/**
 * device_has: was a feature negotiated?
 */
static inline bool device_has(const Device *dev, unsigned bit)
{
    return dev->features & (1ULL << bit);
}

#endif /* BENCH_DEVICE_H */
