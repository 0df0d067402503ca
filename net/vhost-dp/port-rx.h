/*
 * vhost-dp: the engine's bursts from the driver to the guest
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Thread: the port's IOThread, unless it says otherwise.  Lock: none.
 */

#ifndef NET_VHOST_DP_PORT_RX_H
#define NET_VHOST_DP_PORT_RX_H

#include "port-int.h"

/* Thread: any.  BQL. */
PortRx *vhost_dp_port_rx_new(void);
void vhost_dp_port_rx_free(PortRx *rx);

/* One burst to the guest.  Returns PORT_MORE, PORT_MISSED. */
unsigned vhost_dp_port_rx(VhostDPEnginePort *port);

/* The driver said READY_RX.  Lock: any. */
void vhost_dp_port_rx_ready(VhostDPEnginePort *port);

/* The guest kicked: there are buffers */
void vhost_dp_port_rx_kicked(VhostDPEnginePort *port);

/*
 * A pass is over: tells the driver whether it may call from now on.  It may do
 * so before this returns.
 *
 * Returns true if that is new, and there may be frames: look once more.
 */
bool vhost_dp_port_rx_settle(VhostDPEnginePort *port);

/* From now on frames go to the guest */
void vhost_dp_port_rx_open(VhostDPEnginePort *port);

/*
 * From now on frames are lost for @reason; but for DISABLED, the first pair
 * gets them if it runs
 */
void vhost_dp_port_rx_discard(VhostDPEnginePort *port,
                              VhostDPDropReason reason);

/* From now on nothing is received.  No frames are lent. */
void vhost_dp_port_rx_off(VhostDPEnginePort *port);

/* What is lent or in the inbox is lost in the same way; the inbox is closed */
void vhost_dp_port_rx_drop(VhostDPEnginePort *port, VhostDPDropReason reason);

/* Counts what was lost in the inbox */
void vhost_dp_port_rx_count_inbox(VhostDPEnginePort *port);

#endif /* NET_VHOST_DP_PORT_RX_H */
