/*
 * vhost-dp: what virtio-net asks and tells the netdev
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-events-vhost-dp.h"
#include "qapi/qapi-types-vhost-dp.h"
#include "hw/virtio/virtio.h"
#include "net/virtio-net-backend.h"
#include "netdev.h"
#include "trace.h"

/* Wait after a start that failed for want of resources, before another try */
#define START_RETRY_MS 1000

static void netdev_reset_device(NetClientState *nc)
{
    VhostDPNetdev *netdev = netdev_state(nc)->netdev;
    unsigned i;

    for (i = 0; i < netdev->nqueues; i++) {
        if (netdev->queue[i]) {
            vhost_dp_pair_reset(
                vhost_dp_port_pair(netdev->queue[i]->port));
        }
    }
}

/*
 * DEVICE_NEEDS_RESET says that there is an error from which the device cannot
 * recover (virtio 1.3, 2.1).  With the last queue in error that is over, unless
 * it was virtio_error(), which is for good.  It may have come by migration,
 * which does not tell the queue: the one in error is found anew.
 */
static void netdev_reset_queue(NetClientState *nc, unsigned index)
{
    VhostDPNetdev *netdev = netdev_state(nc)->netdev;
    VirtIODevice *vdev = VIRTIO_DEVICE(qemu_get_nic_opaque(nc->peer));
    unsigned i;

    vhost_dp_pair_reset_queue(vhost_dp_port_pair(netdev_state(nc)->port),
                              index);
    for (i = 0; i < netdev->nqueues; i++) {
        if (netdev->queue[i] && vhost_dp_pair_in_error(
                vhost_dp_port_pair(netdev->queue[i]->port))) {
            return;
        }
    }
    if (!vdev->broken) {
        vdev->status &= ~VIRTIO_CONFIG_S_NEEDS_RESET;
    }
}

static void netdev_enable_queue(NetClientState *nc, unsigned index)
{
    vhost_dp_pair_enable_queue(vhost_dp_port_pair(netdev_state(nc)->port),
                               index);
}

/*
 * The guest has asked for something by the control queue, or taken it back.
 * Called for the first queue pair, on behalf of all.
 */
static void netdev_control_changed(NetClientState *nc)
{
    VhostDPNetdev *netdev = netdev_state(nc)->netdev;
    g_autoptr(VhostDPControl) control =
        vhost_dp_netdev_get_control(qemu_get_nic_opaque(nc->peer),
                                    netdev->mac_spoof_check);

    if (netdev->control && !memcmp(&netdev->control->state, &control->state,
                                   sizeof(control->state))) {
        /* Most commands of a guest change nothing of it */
        return;
    }
    vhost_dp_control_unref(netdev->control);
    netdev->control = vhost_dp_control_ref(control);
    trace_vhost_dp_netdev_control(netdev->id, control->filters,
                                  control->hashes, control->steers,
                                  control->state.pairs);
    vhost_dp_portset_set_control(netdev->ports, control);
    vhost_dp_netdev_tell_filter(netdev);
}

static void netdev_set_coalesce(NetClientState *nc, bool tx,
                                uint32_t max_packets, uint32_t max_usecs)
{
    vhost_dp_port_set_coalesce(netdev_state(nc)->port,
                               tx ? VHOST_DP_TX : VHOST_DP_RX, max_packets,
                               max_usecs);
}

static void netdev_start_failed(NetClientState *nc, int err)
{
    VhostDPNetdev *netdev = netdev_state(nc)->netdev;

    error_report_limited(&netdev->report_limit, "vhost-dp netdev '%s': the "
                         "data path cannot start: %s; the link stays down "
                         "until it can", netdev->id, strerror(-err));
    qapi_event_send_vhost_dp_start_failed(netdev->id, strerror(-err));
    netdev->start_failed = true;
    qemu_bh_schedule(netdev->link_bh);
    if (err != -EINVAL && err != -EFAULT && err != -ENOMEM) {
        /* With bad rings another try is useless until the guest's next start */
        timer_mod(&netdev->retry_timer, START_RETRY_MS +
                  qemu_clock_get_ms(QEMU_CLOCK_REALTIME));
    }
}

/* Whether frames dropped for @reason are VirtIONetQueueStats.guest_drops */
static bool netdev_guest_caused_drop(bool tx, VhostDPDropReason reason)
{
    switch (reason) {
    case VHOST_DP_DROP_REASON_SPOOFED:
    case VHOST_DP_DROP_REASON_TOO_SHORT:
    case VHOST_DP_DROP_REASON_BAD_HEADER:
    case VHOST_DP_DROP_REASON_BAD_BUFFER:
        return tx;
    case VHOST_DP_DROP_REASON_NO_BUFFER:
        return !tx;
    default:
        return false;
    }
}

static void netdev_get_stats(NetClientState *nc, bool tx,
                             VirtIONetQueueStats *stats)
{
    VhostDPQueuePairInfo *pair = vhost_dp_port_query(netdev_state(nc)->port);
    const VhostDPQueueInfo *queue = tx ? pair->tx : pair->rx;
    const VhostDPDropInfoList *drop;

    *stats = (VirtIONetQueueStats) {
        .kicks = queue->kicks,
        .packets = queue->packets,
        .bytes = queue->bytes,
        .calls = queue->calls,
    };
    for (drop = queue->drops; drop; drop = drop->next) {
        if (drop->value->reason == VHOST_DP_DROP_REASON_FILTERED) {
            /* The guest did not ask for it: that is no loss */
            continue;
        }
        stats->drops += drop->value->frames;
        if (netdev_guest_caused_drop(tx, drop->value->reason)) {
            stats->guest_drops += drop->value->frames;
        }
    }
    qapi_free_VhostDPQueuePairInfo(pair);
}

const VirtIONetBackend vhost_dp_virtio_net = {
    .control_changed = netdev_control_changed,
    .reset_device = netdev_reset_device,
    .reset_queue = netdev_reset_queue,
    .enable_queue = netdev_enable_queue,
    .start_failed = netdev_start_failed,
    .set_coalesce = netdev_set_coalesce,
    .get_stats = netdev_get_stats,
};
