/*
 * vhost-dp stress: what its parts share
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_TSAN_STRESS_H
#define TESTS_TSAN_STRESS_H

/* A source of random numbers for one thread */
typedef struct StressRandom {
    uint64_t state;
} StressRandom;

/* Seeded from g_test's seed.  Thread: any. */
void stress_random_init(StressRandom *r);

/* 0 to @n - 1; 0 if @n is 0 */
static inline unsigned stress_random(StressRandom *r, unsigned n)
{
    /* xorshift64 */
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return n ? (r->state >> 16) % n : 0;
}

#define STRESS_MAX_FRAME 1514

/* What frames consist of */
#define STRESS_TX_BYTE 0x5a
#define STRESS_RX_BYTE 0xa5

#define TYPE_STRESS_DRIVER "vhost-dp-stress"

struct VhostDPDriver;

/* Queue pairs that cannot be attached, bits.  Before the ports know @drv. */
/* How many queue pairs it has, 1 to NIC_PAIRS */
unsigned stress_driver_queues(struct VhostDPDriver *drv);

void stress_driver_refuse(struct VhostDPDriver *drv, unsigned pairs);

#endif /* TESTS_TSAN_STRESS_H */
