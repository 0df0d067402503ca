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
 * After a kick, or a call by the driver: takes a turn, unless a turn is running
 * or scheduled.  Lock: none, or any during a turn.
 */
void vhost_dp_port_notified(VhostDPEnginePort *port);

/*
 * Begins the bottom half, which ends with a turn: until then calls by the
 * driver are noted, and cause no turn of their own.  Lock: none.
 */
void vhost_dp_port_turn_hold(VhostDPEnginePort *port);

/* Takes a turn.  Lock: none. */
void vhost_dp_port_turn(VhostDPEnginePort *port);

/*
 * Watches @fd for kicks of a queue; -1: watches nothing.  Lock held, since
 * control replaces the file behind the descriptor that is not watched.
 */
void vhost_dp_port_watch_kick(VhostDPEnginePort *port, unsigned queue, int fd);

#endif /* NET_VHOST_DP_PORT_TURN_H */
