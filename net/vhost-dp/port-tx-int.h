/*
 * vhost-dp: the engine's transmit side (port-tx*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_PORT_TX_INT_H
#define NET_VHOST_DP_PORT_TX_INT_H

#include "qemu/queue.h"
#include "port-soft.h"

/*
 * PortTxState: what becomes of the frames of the guest
 *
 *     any --vhost_dp_port_tx_open()--> OPEN
 *     any --vhost_dp_port_tx_lose()--> LOST, the initial state
 *     OPEN --the driver takes a part of a burst--> BLOCKED
 *     BLOCKED --READY_TX, or another port takes frames--> OPEN
 *     any --vhost_dp_port_tx_open(), and frames that were sent another way are
 *           on their way still--> BLOCKED
 *
 * A burst sets BLOCKED before it calls the driver, and OPEN when the driver has
 * taken all frames, so that a READY_TX from inside tx_burst is not lost.
 *
 * Invariants: in BLOCKED the driver will report READY_TX, or another port will
 * schedule the bottom half (port-tx-share.c).  The rest of a frame
 * that was cut is sent before any other frame of the queue, and is dropped when
 * the queue is started again.
 */
typedef enum PortTxState {
    PORT_TX_LOST,               /* dropped and counted */
    PORT_TX_OPEN,               /* offered to the driver */
    PORT_TX_BLOCKED,            /* left in the ring: there is no room */
} PortTxState;

/* A frame of QEMU's own */
typedef struct TxInjected {
    QSIMPLEQ_ENTRY(TxInjected) next;
    size_t len;
    uint8_t data[];
} TxInjected;

/* Frames of other ports that this one's driver queue sends: port-tx-share.c */
typedef struct PortTxRelay {
    bool on;                    /* some outbox may have frames */
    bool first;                 /* the next burst is theirs, not the ring's */
    unsigned next;              /* port whose outbox is looked at first */
    PortTxSoft *soft;           /* NULL until it is needed */
} PortTxRelay;

struct PortTx {
    PortTxState state;
    VhostDPDropReason lost_for; /* in state LOST */
    PortTxBurst *burst;
    PortTxSoft *soft;           /* NULL until it is needed */
    /* What becomes of the chains in port->burst */
    PortFate fate[VHOST_DP_BURST_FRAMES];
    PortTxRelay relay;

    /* Guarded by inject_lock */
    QemuMutex inject_lock;
    QSIMPLEQ_HEAD(, TxInjected) inject;
    unsigned ninject;
    uint64_t inject_lost;
};

#endif /* NET_VHOST_DP_PORT_TX_INT_H */
