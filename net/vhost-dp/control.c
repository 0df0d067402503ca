/*
 * vhost-dp: snapshots of what the guest asks for by the control queue
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: see include/net/vhost-dp-control.h.  Addresses are kept
 * in a table with open addressing, so that a frame is compared with one or two
 * of them, and not with 64.  A guest cannot choose addresses that all want the
 * same slot, as it does not know the multiplier.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/host-utils.h"
#include "net/eth.h"
#include "net/vhost-dp-control.h"
#include "net/vhost-dp/offload/classify.h"

QEMU_BUILD_BUG_ON(VHOST_DP_CONTROL_KEY != VHOST_DP_HASH_KEY);

static void control_add_mac(VhostDPControl *control, const uint8_t *mac)
{
    uint64_t value = vhost_dp_control_mac_value(mac);
    unsigned i = vhost_dp_control_slot(control, value);

    while (control->slot[i] && control->slot[i] != value) {
        i = (i + 1) % VHOST_DP_CONTROL_SLOTS;
    }
    control->slot[i] = value;
}

static void control_check_macs(VhostDPControlState *state)
{
    if (state->nmacs > VHOST_DP_CONTROL_MACS) {
        state->nmacs = 0;
    }
    state->first_multi = MIN(state->first_multi, state->nmacs);
}

static void control_check_rss(VhostDPControlState *state)
{
    unsigned i;

    if (!is_power_of_2(state->indirection_len) ||
        state->indirection_len > VHOST_DP_CONTROL_INDIRECTION) {
        state->rss = false;
    }
    if (!state->rss && !state->hash_report) {
        state->hash_types = 0;
    }
    if (!state->rss) {
        state->indirection_len = 0;
    }
    /* The guest must not name other pairs than active ones; if it does ... */
    state->pairs = MAX(state->pairs, 1);
    state->default_pair %= state->pairs;
    for (i = 0; i < state->indirection_len; i++) {
        state->indirection[i] %= state->pairs;
    }
}

static void control_find_macs(VhostDPControl *control)
{
    const VhostDPControlState *state = &control->state;
    unsigned i;

    control->multiplier = (uint64_t)g_random_int() << 32 | g_random_int() | 1;
    if (!is_multicast_ether_addr(state->mac)) {
        control_add_mac(control, state->mac);
    }
    for (i = 0; i < state->nmacs; i++) {
        /* What stands in the part for the other kind never matches */
        if (is_multicast_ether_addr(state->macs[i]) ==
            (i >= state->first_multi)) {
            control_add_mac(control, state->macs[i]);
        }
    }
}

VhostDPControl *vhost_dp_control_new(const VhostDPControlState *state)
{
    VhostDPControl *control = g_new0(VhostDPControl, 1);

    control->refs = 1;
    control->state = *state;
    control_check_macs(&control->state);
    control_check_rss(&control->state);
    control_find_macs(control);
    control->filters = !state->promisc;
    control->hashes = control->state.hash_report;
    control->steers = control->state.rss;
    if ((control->hashes || control->steers) && control->state.hash_types) {
        control->toeplitz = g_new(VhostDPToeplitz, 1);
        vhost_dp_toeplitz_init(control->toeplitz, control->state.key);
    }
    return control;
}

VhostDPControl *vhost_dp_control_ref(VhostDPControl *control)
{
    qatomic_inc(&control->refs);
    return control;
}

void vhost_dp_control_unref(VhostDPControl *control)
{
    if (control && qatomic_fetch_dec(&control->refs) == 1) {
        g_free(control->toeplitz);
        g_free(control);
    }
}
