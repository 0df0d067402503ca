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

/* The driver has reported READY_RX.  Lock: any. */
void vhost_dp_port_rx_ready(VhostDPEnginePort *port);

/* The guest has kicked: it has posted buffers */
void vhost_dp_port_rx_kicked(VhostDPEnginePort *port);

/*
 * Ends a pass: enables or disables the driver's calls, from the state.  The
 * driver may call before this returns.
 *
 * Returns true if calls were enabled just now: there may be frames, so the
 * caller has to look once more.
 */
bool vhost_dp_port_rx_settle(VhostDPEnginePort *port);

/* From now on frames go to the guest */
void vhost_dp_port_rx_open(VhostDPEnginePort *port);

/*
 * From now on frames are dropped for @reason.  With DISABLED they go to the
 * first pair instead, if that runs.
 */
void vhost_dp_port_rx_discard(VhostDPEnginePort *port,
                              VhostDPDropReason reason);

/* From now on nothing is received.  No frames are lent when it is called. */
void vhost_dp_port_rx_off(VhostDPEnginePort *port);

/* Drops lent frames for @reason; nothing is received until another state */
void vhost_dp_port_rx_drop(VhostDPEnginePort *port, VhostDPDropReason reason);

/*
 * The state is as control wants it: the inbox is open if frames can be
 * delivered, and what it has from before is dropped.
 */
void vhost_dp_port_rx_admit(VhostDPEnginePort *port);

/*
 * The guest asks for something else.
 * @control: the snapshot, or NULL; takes the caller's reference
 */
void vhost_dp_port_rx_control(VhostDPEnginePort *port, VhostDPControl *control);

/* port->nqueues may have changed */
void vhost_dp_port_rx_queues(VhostDPEnginePort *port);

/* vhost_dp_inbox_is_expired(): drops what came by the inbox and waits */
void vhost_dp_port_rx_expire(VhostDPEnginePort *port);

/* Counts the frames that were lost in the inbox */
void vhost_dp_port_rx_count_inbox(VhostDPEnginePort *port);

#endif /* NET_VHOST_DP_PORT_RX_H */
