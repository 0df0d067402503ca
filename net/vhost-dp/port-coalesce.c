/*
 * vhost-dp: how long a call may be delayed
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: see port-frame.c for what is done with the answers.
 * The delay begins with the first packet whose buffer the guest has not been
 * told of.  It ends after max_usecs, or with the burst that brings the number
 * of packets to max_packets.  Frames that were lost use buffers and are no
 * packets: the time ends their delay.
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "port-coalesce.h"

void vhost_dp_port_coalesce_used(PortCoalesce *coalesce,
                                 const PortCoalesceConf *conf,
                                 uint64_t packets, unsigned chains, bool first,
                                 int64_t now)
{
    if (first) {
        /* What was used without a delay is not in @counted */
        uint64_t these = MIN(packets - coalesce->counted, chains);

        coalesce->state = PORT_COALESCE_OPEN;
        coalesce->until = now + conf->max_usecs * (int64_t)SCALE_US;
        coalesce->enough = packets - these + conf->max_packets;
    }
    coalesce->counted = packets;
}

bool vhost_dp_port_coalesce_due(PortCoalesce *coalesce, uint64_t packets,
                                int64_t now)
{
    if (coalesce->state == PORT_COALESCE_CLOSED) {
        return false;
    }
    if (packets >= coalesce->enough || now >= coalesce->until) {
        coalesce->state = PORT_COALESCE_DUE;
    }
    if (coalesce->state != PORT_COALESCE_DUE) {
        return false;
    }
    coalesce->state = PORT_COALESCE_CLOSED;
    return true;
}
