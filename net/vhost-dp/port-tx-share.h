/*
 * vhost-dp: ports that share a driver queue (port-tx*.c, port.c)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Thread: the port's IOThread.  Lock: none, or the queue pair's, unless it says
 * otherwise.
 */

#ifndef NET_VHOST_DP_PORT_TX_SHARE_H
#define NET_VHOST_DP_PORT_TX_SHARE_H

#include "port-int.h"

/* ---- A port whose frames another port sends ---- */

/* What such a port has in place of the driver's functions */
extern VhostDPDriverClass vhost_dp_port_no_driver;

/* Does another port's driver queue send what this one's guest sends? */
static inline bool port_tx_is_shared(const VhostDPEnginePort *port)
{
    return port->tx_owner != port->index;
}

/**
 * vhost_dp_port_tx_follow: have the frames sent as port->nqueues says
 *
 * If that is another way than before, what was sent the old way has to be gone
 * first.  Returns false if it is not; then the bottom half is scheduled when it
 * is, and nothing is to be sent meanwhile.
 */
bool vhost_dp_port_tx_follow(VhostDPEnginePort *port);

/*
 * Offers frames to who sends them: the driver, or another port.  Returns how
 * many were taken.  Lock: the queue pair's.
 */
unsigned vhost_dp_port_tx_give(VhostDPEnginePort *port, VhostDPFrame *frames,
                               unsigned n);

/* The same for the first @n frames of the burst; sets the state */
unsigned vhost_dp_port_tx_offer(VhostDPEnginePort *port, unsigned n);

/* Is the port waiting for another one to take its frames? */
bool vhost_dp_port_tx_waits(VhostDPEnginePort *port);

/* The metadata that the driver takes may be another now */
void vhost_dp_port_tx_update_caps(VhostDPEnginePort *port);

/* ---- The port that sends them ---- */

/* Has another port put frames into its outbox? */
bool vhost_dp_port_relay_ready(VhostDPEnginePort *port);

/* One burst of such frames.  Lock: none.  Returns PORT_MORE or 0. */
unsigned vhost_dp_port_relay(VhostDPEnginePort *port);

#endif /* NET_VHOST_DP_PORT_TX_SHARE_H */
