/*
 * vhost-dp: offload metadata
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_OFFLOAD_H
#define NET_VHOST_DP_OFFLOAD_H

#include "net/vhost-dp.h"

/**
 * vhost_dp_offload_check: check a frame's metadata against its headers
 * @frame: with @len and the metadata; @hdr_len is corrected
 * @head: the first bytes of the frame, where nobody can change them
 * @head_len: their number: VHOST_DP_HEAD_BYTES, or all of a shorter frame
 *
 * Afterwards the promises of VhostDPFrame hold.
 *
 * Thread: any.  Lock: none.  Returns false if the metadata is malformed.
 */
bool vhost_dp_offload_check(VhostDPFrame *frame, const uint8_t *head,
                            size_t head_len);

/**
 * vhost_dp_offload_allowed: does a receiver take @frame's metadata?
 * @offloads: what the receiver agreed to, VHOST_DP_OFFLOAD_*
 *
 * Thread: any.  Lock: none.
 */
bool vhost_dp_offload_allowed(const VhostDPFrame *frame, uint32_t offloads);

#endif /* NET_VHOST_DP_OFFLOAD_H */
