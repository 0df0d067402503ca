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
 *     any --vhost_dp_port_tx_lose()--> LOST, as at first
 *     OPEN --the driver takes a part of a burst--> BLOCKED
 *     BLOCKED --READY_TX--> OPEN
 *
 * A burst sets BLOCKED before it calls the driver, and OPEN when the driver
 * took all of it: so a READY_TX from inside of tx_burst counts.
 *
 * Invariants: BLOCKED only with a driver that has yet to say READY_TX.  The
 * rest of a frame goes before all else of the queue, and only to a queue that
 * was not started anew since the frame was taken from it.
 */
typedef enum PortTxState {
    PORT_TX_LOST,               /* taken, counted and used */
    PORT_TX_OPEN,               /* taken, and offered to the driver */
    PORT_TX_BLOCKED,            /* left in the ring: the driver has no room */
} PortTxState;

/* Thread: any.  BQL. */
PortTx *vhost_dp_port_tx_new(void);
void vhost_dp_port_tx_free(PortTx *tx);

/* One burst from the guest.  Lock: none.  Returns PORT_MORE, PORT_MISSED. */
unsigned vhost_dp_port_tx(VhostDPEnginePort *port);

/* The driver said READY_TX.  Lock: any. */
void vhost_dp_port_tx_ready(VhostDPEnginePort *port);

/* From now on frames go to the driver */
void vhost_dp_port_tx_open(VhostDPEnginePort *port);

/* From now on frames of the guest, and QEMU's own, are lost for @reason */
void vhost_dp_port_tx_lose(VhostDPEnginePort *port, VhostDPDropReason reason);

/* The rest of a frame is lost, if there is one: the queue starts or stops */
void vhost_dp_port_tx_drop_rest(VhostDPEnginePort *port,
                                VhostDPDropReason reason);

/**
 * vhost_dp_port_tx_inject: send a frame of QEMU's own
 * @buf: copied
 *
 * Takes effect with the next vhost_dp_port_tx_injected().  Thread: any.
 */
void vhost_dp_port_tx_inject(VhostDPEnginePort *port, const void *buf,
                             size_t len);

/* Sends those.  Lock: none. */
void vhost_dp_port_tx_injected(VhostDPEnginePort *port);

#endif /* NET_VHOST_DP_PORT_TX_H */
