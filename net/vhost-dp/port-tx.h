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

/* Thread: any.  BQL. */
PortTx *vhost_dp_port_tx_new(void);
void vhost_dp_port_tx_free(PortTx *tx);

/* Move a burst from the guest.  Lock: none.  Returns PORT_MORE, PORT_MISSED. */
unsigned vhost_dp_port_tx(VhostDPEnginePort *port);

/*
 * In the bottom half: looks whether another port has taken frames, or has some
 * for this one's driver queue.  Lock: none.
 */
void vhost_dp_port_tx_look(VhostDPEnginePort *port);

/* The driver has reported READY_TX.  Lock: any. */
void vhost_dp_port_tx_ready(VhostDPEnginePort *port);

/* From now on frames are offered to who sends them, see port->nqueues */
void vhost_dp_port_tx_open(VhostDPEnginePort *port);

/* port->nqueues has changed.  Lock: none. */
void vhost_dp_port_tx_reroute(VhostDPEnginePort *port);

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
