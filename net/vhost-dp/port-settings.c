/*
 * vhost-dp: what the netdev says to a port, and asks of it
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: settings that bursts look at, under the pair's lock, and
 * that need no change of a state.  Those that do are in port.c.  All of it runs
 * under the BQL.
 */

#include "qemu/osdep.h"
#include "net/eth.h"
#include "port.h"
#include "port-tx.h"
#include "trace.h"

VhostDPPair *vhost_dp_port_pair(VhostDPEnginePort *port)
{
    return &port->pair;
}

void vhost_dp_port_set_hdr_len(VhostDPEnginePort *port, unsigned len)
{
    vhost_dp_pair_lock(&port->pair);
    port->conf.hdr_len = len;
    vhost_dp_pair_unlock(&port->pair);
}

void vhost_dp_port_set_mtu(VhostDPEnginePort *port, uint16_t mtu)
{
    vhost_dp_pair_lock(&port->pair);
    port->conf.mtu = mtu;
    port->conf.rx_safe_len = mtu ? sizeof(struct eth_header) + mtu : UINT32_MAX;
    vhost_dp_pair_unlock(&port->pair);
}

void vhost_dp_port_set_hdr_endian(VhostDPEnginePort *port, bool big_endian)
{
    vhost_dp_pair_lock(&port->pair);
    port->conf.hdr_swap = big_endian != HOST_BIG_ENDIAN;
    vhost_dp_pair_unlock(&port->pair);
}

void vhost_dp_port_set_offloads(VhostDPEnginePort *port, uint32_t offloads)
{
    vhost_dp_pair_lock(&port->pair);
    port->conf.offloads = offloads;
    vhost_dp_pair_unlock(&port->pair);
}

void vhost_dp_port_set_coalesce(VhostDPEnginePort *port, unsigned queue,
                                uint32_t max_packets, uint32_t max_usecs)
{
    PortCoalesceConf *conf = &port->conf.coalesce[queue];
    VhostDPPair *pair = &port->pair;

    if (conf->max_packets == max_packets && conf->max_usecs == max_usecs) {
        return;
    }
    trace_vhost_dp_port_set_coalesce(port->set->netdev, port->index, queue,
                                     max_packets, max_usecs);
    vhost_dp_pair_lock(pair);
    /* The new parameters may say that what waits is due (5.1.6.5.9.4) */
    vhost_dp_pair_call_held(pair);
    conf->max_packets = max_packets;
    conf->max_usecs = max_usecs;
    pair->vq[queue].hold_calls = port_coalesce_is_on(conf);
    vhost_dp_pair_unlock(pair);
}

bool vhost_dp_port_get_link(VhostDPEnginePort *port, char **reason)
{
    return vhost_dp_port_link_get(&port->link, reason);
}

bool vhost_dp_port_is_started(VhostDPEnginePort *port)
{
    return port->pair.started;
}

void vhost_dp_port_inject(VhostDPEnginePort *port, const void *buf, size_t len)
{
    vhost_dp_port_tx_inject(port, buf, len);
    qemu_bh_schedule(port->bh);
}
