/*
 * vhost-dp stress: a guest that uses a queue pair as it should
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One thread posts and reaps both queues all the time, kicks when it has to,
 * and sleeps until it is called when there is nothing to do.  It goes on while
 * the device is stopped, as a guest does.  The rings are driven by the load
 * generator's code (tests/bench/ring.c).
 */

#ifndef TESTS_TSAN_GUEST_H
#define TESTS_TSAN_GUEST_H

#include "qemu/thread.h"
#include "../bench/ring.h"
#include "hw/virtio/vhost-dp-pair.h"

#define GUEST_RING_SIZE 64

typedef struct Guest {
    /* Set once */
    bool still;                 /* there is no thread */
    QemuThread thread;
    int call_fd[VHOST_DP_QUEUES];
    uint64_t ram_start;         /* guest address of its memory */

    /* Atomic */
    bool quit;
    bool patient;               /* sleeps until it is called */
    uint64_t done[VHOST_DP_QUEUES];     /* frames */

    /* Guarded by lock: control against the guest's thread */
    QemuMutex lock;
    int kick_fd[VHOST_DP_QUEUES];       /* or -1 */
    Machine machine;            /* RAM to allocate from */
    Ring ring[VHOST_DP_QUEUES];
    uint16_t idle[VHOST_DP_QUEUES][GUEST_RING_SIZE];  /* ids, a stack */
    unsigned nidle[VHOST_DP_QUEUES];
    uint8_t *buffer[VHOST_DP_QUEUES][GUEST_RING_SIZE];
} Guest;

/**
 * guest_new: start a guest's thread
 * @ram_start: its RAM, of which it takes up to 2 MiB
 * @still: without a thread: the caller uses the rings
 */
Guest *guest_new(uint64_t ram_start, bool still);
void guest_free(Guest *g);

/**
 * guest_reset: make new rings
 *
 * The device does not run.
 */
void guest_reset(Guest *g, bool packed, bool event_idx, bool indirect);

/**
 * guest_set_kick: kick @fd from now on; returns the old one, for the caller
 */
int guest_set_kick(Guest *g, unsigned queue, int fd);

#endif /* TESTS_TSAN_GUEST_H */
