/*
 * vhost-dp: the engine's bursts from the guest to the driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Thread: the port's IOThread, unless it says otherwise.
 */

#ifndef NET_VHOST_DP_PORT_TX_H
#define NET_VHOST_DP_PORT_TX_H

#include "port-int.h"

/*
 * PortTxState: what becomes of the frames of the guest
 *
 *     any --vhost_dp_port_tx_open()--> OPEN
 *     any --vhost_dp_port_tx_lose()--> LOST, the initial state
 *     OPEN --the driver takes a part of a burst--> BLOCKED
 *     BLOCKED --READY_TX--> OPEN
 *
 * A burst sets BLOCKED before it calls the driver, and OPEN when the driver has
 * taken all frames, so that a READY_TX from inside tx_burst is not lost.
 *
 * Invariants: in BLOCKED the driver will report READY_TX.  The rest of a frame
 * that was cut is sent before any other frame of the queue, and is dropped when
 * the queue is started again.
 */
typedef enum PortTxState {
    PORT_TX_LOST,               /* dropped and counted */
    PORT_TX_OPEN,               /* offered to the driver */
    PORT_TX_BLOCKED,            /* left in the ring: the driver has no room */
} PortTxState;

/* Thread: any.  BQL. */
PortTx *vhost_dp_port_tx_new(void);
void vhost_dp_port_tx_free(PortTx *tx);

/* Move a burst from the guest.  Lock: none.  Returns PORT_MORE, PORT_MISSED. */
unsigned vhost_dp_port_tx(VhostDPEnginePort *port);

/* The driver has reported READY_TX.  Lock: any. */
void vhost_dp_port_tx_ready(VhostDPEnginePort *port);

/* From now on frames are offered to the driver */
void vhost_dp_port_tx_open(VhostDPEnginePort *port);

/* From now on frames of the guest and of QEMU are dropped for @reason */
void vhost_dp_port_tx_lose(VhostDPEnginePort *port, VhostDPDropReason reason);

/* The queue starts or stops: drops the rest of a cut frame, if there is one */
void vhost_dp_port_tx_drop_rest(VhostDPEnginePort *port,
                                VhostDPDropReason reason);

/**
 * vhost_dp_port_tx_inject: queue a frame that QEMU has made
 * @buf: copied
 *
 * vhost_dp_port_tx_injected() sends it.  Thread: any.
 */
void vhost_dp_port_tx_inject(VhostDPEnginePort *port, const void *buf,
                             size_t len);

/* Sends the frames of vhost_dp_port_tx_inject().  Lock: none. */
void vhost_dp_port_tx_injected(VhostDPEnginePort *port);

#endif /* NET_VHOST_DP_PORT_TX_H */
