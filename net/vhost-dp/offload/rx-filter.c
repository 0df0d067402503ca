/*
 * vhost-dp: which received frames a guest wants
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "net/eth.h"
#include "rx-filter.h"

static bool filter_passes_vlan(const VhostDPControlState *state,
                               const uint8_t *head, size_t len)
{
    unsigned vid;

    if (lduw_be_p(head + 2 * ETH_ALEN) != ETH_P_VLAN) {
        return true;
    }
    if (len < VHOST_DP_RX_FILTER_BYTES) {
        return false;
    }
    vid = lduw_be_p(head + ETH_HLEN) & 0xfff;
    return state->vlans[vid / 32] >> vid % 32 & 1;
}

bool vhost_dp_rx_filter_passes(const VhostDPControl *control,
                               const uint8_t *head, size_t len)
{
    const VhostDPControlState *state = &control->state;

    if (state->promisc) {
        return true;
    }
    if (len < ETH_HLEN || !filter_passes_vlan(state, head, len)) {
        return false;
    }
    if (is_broadcast_ether_addr(head)) {
        return !state->nobcast;
    }
    if (is_multicast_ether_addr(head)) {
        return !state->nomulti &&
               (state->allmulti || state->multi_overflow ||
                vhost_dp_control_has_mac(control, head));
    }
    return !state->nouni &&
           (state->alluni || state->uni_overflow ||
            vhost_dp_control_has_mac(control, head));
}

unsigned vhost_dp_rx_filter_frames(const VhostDPControl *control,
                                   VhostDPFrame *frames, unsigned n)
{
    unsigned kept = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        uint8_t head[VHOST_DP_RX_FILTER_BYTES];
        size_t len = iov_to_buf(frames[i].iov, frames[i].iovcnt, 0, head,
                                sizeof(head));

        if (!vhost_dp_rx_filter_passes(control, head, len)) {
            continue;
        }
        if (kept < i) {
            frames[kept] = frames[i];
            if (frames[i].iov == frames[i].inl) {
                frames[kept].iov = frames[kept].inl;
            }
        }
        kept++;
    }
    return kept;
}
