/*
 * vhost-dp: what the guest asks for, as QEMU's virtio-net device has it
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/virtio/virtio-net.h"
#include "netdev.h"

QEMU_BUILD_BUG_ON(VHOST_DP_CONTROL_KEY != VIRTIO_NET_RSS_MAX_KEY_SIZE);
QEMU_BUILD_BUG_ON(VHOST_DP_CONTROL_INDIRECTION != VIRTIO_NET_RSS_MAX_TABLE_LEN);

static void netdev_get_filter(const VirtIONet *n, VhostDPControlState *state)
{
    /* More than a table has room for can come by migration: that is dropped */
    unsigned nmacs = n->mac_table.in_use <= VHOST_DP_CONTROL_MACS ?
                     n->mac_table.in_use : 0;

    state->promisc = n->promisc;
    state->allmulti = n->allmulti;
    state->alluni = n->alluni;
    state->nomulti = n->nomulti;
    state->nouni = n->nouni;
    state->nobcast = n->nobcast;
    memcpy(state->mac, n->mac, ETH_ALEN);
    state->nmacs = nmacs;
    state->first_multi = n->mac_table.first_multi;
    state->uni_overflow = n->mac_table.uni_overflow;
    state->multi_overflow = n->mac_table.multi_overflow;
    memcpy(state->macs, n->mac_table.macs, nmacs * ETH_ALEN);
    memcpy(state->vlans, n->vlans, sizeof(state->vlans));
}

static void netdev_get_rss(const VirtIONet *n, VhostDPControlState *state)
{
    const VirtioNetRssData *rss = &n->rss_data;
    unsigned len = MIN(rss->indirections_len, VHOST_DP_CONTROL_INDIRECTION);

    state->pairs = n->multiqueue ? n->curr_queue_pairs : 1;
    if (!rss->enabled) {
        return;
    }
    state->hash_report = rss->populate_hash;
    state->hash_types = rss->runtime_hash_types;
    memcpy(state->key, rss->key, sizeof(state->key));
    if (rss->redirect && rss->indirections_table) {
        state->rss = true;
        state->default_pair = rss->default_queue;
        state->indirection_len = rss->indirections_len;
        memcpy(state->indirection, rss->indirections_table,
               len * sizeof(state->indirection[0]));
    }
}

VhostDPControl *vhost_dp_netdev_get_control(const VirtIONet *n,
                                            bool check_source)
{
    VhostDPControlState state = { .check_source = check_source };

    if (virtio_has_feature(n->parent_obj.host_features,
                           VIRTIO_NET_F_CTRL_MAC_ADDR)) {
        memcpy(state.source, n->mac, ETH_ALEN);
    } else {
        /* The guest is not to change its address, whatever it tried */
        memcpy(state.source, n->nic_conf.macaddr.a, ETH_ALEN);
    }
    netdev_get_filter(n, &state);
    netdev_get_rss(n, &state);
    return vhost_dp_control_new(&state);
}
