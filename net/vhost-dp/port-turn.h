/*
 * vhost-dp: when the engine works
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Thread: the port's IOThread.
 */

#ifndef NET_VHOST_DP_PORT_TURN_H
#define NET_VHOST_DP_PORT_TURN_H

#include "port-int.h"

/*
 * There is a kick, or news from the driver: takes a turn, unless one goes on or
 * is about to come.  Lock: none, or any during a turn.
 */
void vhost_dp_port_notified(VhostDPEnginePort *port);

/*
 * The bottom half runs, and ends with a turn: until then, what the driver says
 * is noted, and causes no turn of its own.  Lock: none.
 */
void vhost_dp_port_turn_hold(VhostDPEnginePort *port);

/* A turn.  Lock: none. */
void vhost_dp_port_turn(VhostDPEnginePort *port);

/*
 * Listen to @fd for kicks of a queue, or to nothing if it is -1.  Lock held:
 * control replaces what another descriptor refers to.
 */
void vhost_dp_port_watch_kick(VhostDPEnginePort *port, unsigned queue, int fd);

#endif /* NET_VHOST_DP_PORT_TURN_H */
