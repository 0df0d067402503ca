/*
 * vhost-dp: qtests, chains that break the rules of virtqueues
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One table has a row for each fault.  A row makes one bad chain, for each ring
 * format it exists in, in a receive or a transmit queue.  Sections are those of
 * the virtio specification, version 1.3.
 */

#ifndef TESTS_QTEST_VHOST_DP_BAD_CHAINS_H
#define TESTS_QTEST_VHOST_DP_BAD_CHAINS_H

#include "guest.h"

/* What a row works on; @dir: the flag of the queue's own direction */
typedef struct Victim {
    DpRig *rig;
    DpQueue *q;
    uint16_t dir;
} Victim;

enum { SPLIT = 1, PACKED = 2, BOTH = SPLIT | PACKED };

typedef struct Row {
    const char *name;
    const char *kind;               /* of violation */
    void (*fn)(const Victim *v);    /* makes one bad chain available */
    unsigned formats;
    enum { RX_AND_TX, RX_ONLY, TX_ONLY } queues;
} Row;

extern const Row rows[];
extern const unsigned nrows;

/* Is there such a fault in a queue of this number, in rings of this test? */
bool row_applies(const Row *row, unsigned queue);

/* Make the bad chain, and publish it */
void run_row(DpRig *r, const Row *row, unsigned queue);

/* The simplest bad chain: of one buffer without a length */
void zero_length(const Victim *v);

/* 2048 bytes with a header and a frame of 100 bytes */
uint64_t good_buffer(const Victim *v);

/* The first guest address behind RAM */
uint64_t end_of_ram(const Victim *v);

#endif
