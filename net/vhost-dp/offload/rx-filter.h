/*
 * vhost-dp: which received frames a guest wants
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_OFFLOAD_RX_FILTER_H
#define NET_VHOST_DP_OFFLOAD_RX_FILTER_H

#include "net/vhost-dp.h"
#include "net/vhost-dp-control.h"

/* The bytes of a frame that a filter looks at: Ethernet and a VLAN tag */
#define VHOST_DP_RX_FILTER_BYTES 16

/**
 * vhost_dp_rx_filter_passes: does the guest want a received frame?
 * @control: what the guest asked for
 * @head: the first bytes of the frame, where nobody can change them
 * @len: how many there are; VHOST_DP_RX_FILTER_BYTES are enough
 *
 * Virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3, as virtio_net_receive() has it: a
 * promiscuous guest gets everything, also what its VLAN filter lacks; any
 * other none of the frames that end in front of what decides.
 *
 * Thread: any.  Lock: none.
 */
bool vhost_dp_rx_filter_passes(const VhostDPControl *control,
                               const uint8_t *head, size_t len);

/**
 * vhost_dp_rx_filter_frames: keep those of @n received frames that pass
 * @frames: those that do not pass are overwritten; the others stay in order
 *
 * Returns how many are left.
 *
 * Thread: any.  Lock: none.
 */
unsigned vhost_dp_rx_filter_frames(const VhostDPControl *control,
                                   VhostDPFrame *frames, unsigned n);

#endif /* NET_VHOST_DP_OFFLOAD_RX_FILTER_H */
