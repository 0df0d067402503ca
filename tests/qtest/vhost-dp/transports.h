/*
 * vhost-dp: qtests, all transports of a virtio-net device
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * PCI and MMIO, as legacy and as modern drivers have them, with the places of
 * their registers.
 */

#ifndef TESTS_QTEST_VHOST_DP_TRANSPORTS_H
#define TESTS_QTEST_VHOST_DP_TRANSPORTS_H

#include "guest.h"

typedef enum DpReg {
    FEATURES_SELECT, FEATURES, STATUS, CONFIG_VECTOR,
    QUEUE_SELECT, QUEUE_SIZE, QUEUE_VECTOR, QUEUE_ENABLE, QUEUE_RESET,
    QUEUE_DESC, QUEUE_AVAIL, QUEUE_USED, QUEUE_PFN, QUEUE_ALIGN, PAGE_SIZE,
    NOTIFY, INTERRUPT_ACK, NREGS,
} DpReg;

/* Where a register is; no width: there is none.  8 bytes are written in two. */
typedef struct DpPlace {
    uint16_t offset;
    uint8_t width;
} DpPlace;

/* How a driver gets at the device */
typedef struct DpTransport {
    const char *name;
    const char *device;
    const char *more;
    bool mmio;
    bool modern;
    uint16_t config;            /* where the device's configuration is */
    DpPlace reg[NREGS];
} DpTransport;

#define DP_NTRANSPORTS 4

extern const DpTransport dp_transports[DP_NTRANSPORTS];

/*
 * Add PREFIX/NAME-OF-TRANSPORT, which gets @t; where a driver may choose, for
 * each ring format.
 */
void dp_add_transport_test(const char *prefix, const DpTransport *t,
                           void (*fn)(const void *t));

#endif
