/*
 * vhost-dp: which queue pair gets a received frame (port-rx*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Thread: the port's IOThread.  Lock: none, or the queue pair's.
 */

#ifndef NET_VHOST_DP_PORT_RX_STEER_H
#define NET_VHOST_DP_PORT_RX_STEER_H

#include "port-rx-int.h"

/* ---- PortRx.looks: what bursts have to do; bits ---- */

#define PORT_RX_HASHES  (1u << 0)   /* the guest is told the frames' hashes */
#define PORT_RX_STEERS  (1u << 1)   /* the queue pair is to be chosen */
#define PORT_RX_FENCE   (1u << 2)   /* nothing from the driver: see below */
#define PORT_RX_FILTERS (1u << 3)   /* some frames are not for the guest */

/* Those for which frames are looked at */
#define PORT_RX_LOOKS   (PORT_RX_HASHES | PORT_RX_STEERS | PORT_RX_FILTERS)

/*
 * The guest asks for something else.
 * @control: the snapshot, or NULL; takes the caller's reference
 */
void vhost_dp_port_rx_set_control(VhostDPEnginePort *port,
                                  VhostDPControl *control);

/*
 * The guest, or the driver's number of queues, decides anew whether frames go
 * to the pairs that sent for their flows.
 */
void vhost_dp_port_rx_update_steering(VhostDPEnginePort *port);

/*
 * From now on frames may go another way than earlier ones of the same flow,
 * which may be in other inboxes.  Sets PORT_RX_FENCE, until these were
 * delivered.  Does nothing if there is one port.
 */
void vhost_dp_port_rx_raise_fence(VhostDPEnginePort *port);

/*
 * PORT_RX_FENCE is set.  Returns true, and clears it, if all frames that the
 * port gave away were delivered or lost.  When that takes longer than a few
 * milliseconds, those that wait for buffers in other inboxes are lost.
 */
bool vhost_dp_port_rx_fence_is_over(VhostDPEnginePort *port);

/*
 * The driver lent frames, and @looks has one of PORT_RX_LOOKS: those that the
 * guest does not want, and those that were put into inboxes, are no longer
 * among @frames, but still lent: see PortRx.
 */
void vhost_dp_port_rx_look(VhostDPEnginePort *port);

/*
 * The same for @n frames of an array, while other frames wait for buffers:
 * those for this port go to its own inbox.
 */
void vhost_dp_port_rx_look_past(VhostDPEnginePort *port, VhostDPFrame *frames,
                                unsigned n);

/* Room for a burst of such frames */
VhostDPFrame *vhost_dp_port_rx_past_frames(VhostDPEnginePort *port);

/* Has the port's own inbox a frame from here that was not delivered yet? */
bool vhost_dp_port_rx_self_waits(VhostDPEnginePort *port);

/*
 * The lent frames that wait go to the port's own inbox, so that the driver can
 * be asked for frames that are for others.  Returns true if none is left: one
 * of which the guest has a part stays.
 */
bool vhost_dp_port_rx_wait_in_inbox(VhostDPEnginePort *port);

/*
 * The guest does not use this pair: the lent frames that wait go to the pairs
 * that they are for, or else to the first one.  Returns how many nobody took.
 */
unsigned vhost_dp_port_rx_hand_over(VhostDPEnginePort *port);

/*
 * The same for one frame that rx_into received, without STEERS: sets its hash.
 * Returns false if the guest does not want the frame.
 */
bool vhost_dp_port_rx_look_at(VhostDPEnginePort *port, VhostDPFrame *frame,
                              const uint8_t *head);

void vhost_dp_port_rx_steer_free(PortSteer *steer);

#endif /* NET_VHOST_DP_PORT_RX_STEER_H */
