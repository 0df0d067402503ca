/*
 * vhost-dp: queues that the guest's driver broke
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a driver that breaks a rule of the specification breaks
 * its queue: the rings (vring*.c) find that in a burst, under the lock, and
 * pop nothing from that queue any more.  To tell the guest takes the BQL, so a
 * bottom half of the main loop does it: it logs the rule, once in a while, and
 * sets DEVICE_NEEDS_RESET (virtio 1.3, 2.1.2).  The other queue goes on.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qapi/qapi-events-vhost-dp.h"
#include "standard-headers/linux/virtio_config.h"
#include "pair-int.h"
#include "trace.h"

static const char *violation_text(VhostDPViolation violation)
{
    static const char *const text[] = {
        [VHOST_DP_VIOLATION_AVAILABLE_INDEX] =
            "more chains made available than the queue has entries",
        [VHOST_DP_VIOLATION_DESCRIPTOR_INDEX] =
            "descriptor index beyond the end of its table",
        [VHOST_DP_VIOLATION_DESCRIPTOR_LOOP] =
            "chain with more descriptors than its table, or the ring, has",
        [VHOST_DP_VIOLATION_DESCRIPTOR_ORDER] =
            "device-readable descriptor after a device-writable one",
        [VHOST_DP_VIOLATION_ZERO_LENGTH] =
            "descriptor of zero bytes",
        [VHOST_DP_VIOLATION_INDIRECT_NESTED] =
            "indirect table inside an indirect table",
        [VHOST_DP_VIOLATION_INDIRECT_CHAINED] =
            "indirect table in a chain of descriptors",
        [VHOST_DP_VIOLATION_INDIRECT_SIZE] =
            "invalid size of an indirect table (a multiple of 16, not zero)",
        [VHOST_DP_VIOLATION_TABLE_ADDRESS] =
            "indirect table that is not in guest RAM",
        [VHOST_DP_VIOLATION_BUFFER_ADDRESS] =
            "buffer that is not in guest RAM",
        [VHOST_DP_VIOLATION_CHAIN_LENGTH] =
            "chain of 4 GiB or more",
        [VHOST_DP_VIOLATION_CHAIN_SEGMENTS] =
            "chain with more than 1024 segments",
        [VHOST_DP_VIOLATION_NO_BUFFER] =
            "chain without a buffer for this direction",
        [VHOST_DP_VIOLATION_SHORT_HEADER] =
            "chain shorter than the virtio-net header",
        [VHOST_DP_VIOLATION_RING_ADDRESS] =
            "ring that is no longer in guest RAM",
        [VHOST_DP_VIOLATION_IOMMU_FAULT] =
            "address that the IOMMU does not let the device use",
    };

    QEMU_BUILD_BUG_ON(ARRAY_SIZE(text) != VHOST_DP_VIOLATION__MAX);
    return text[violation];
}

void vhost_dp_pair_report(VhostDPPair *pair)
{
    qemu_bh_schedule(pair->violation_bh);
}

/*
 * Does what virtio_error() does, but leaves vdev->broken alone: a broken device
 * takes no commands from the control queue, and without irqfds the guest gets
 * no calls from its other queues.
 */
void vhost_dp_pair_set_needs_reset(VhostDPPair *pair, unsigned queue)
{
    VirtIODevice *vdev = pair->vdev;

    pair->in_error[queue] = true;
    if (virtio_vdev_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        vdev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        virtio_notify_config(vdev);
    }
}

/* Main loop, BQL */
static void violation_bh(void *opaque)
{
    VhostDPPair *pair = opaque;
    bool broken[VHOST_DP_QUEUES] = {};
    VhostDPViolation why[VHOST_DP_QUEUES];
    unsigned i;

    if (!pair->vdev) {
        /* Stopped meanwhile: the next start reports it, if it is still so */
        return;
    }
    vhost_dp_pair_lock(pair);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        broken[i] = pair->vq[i].broken && !pair->in_error[i];
        why[i] = pair->vq[i].violation;
    }
    vhost_dp_pair_unlock(pair);

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        if (broken[i]) {
            trace_vhost_dp_violation(pair->name, pair_queue_name(i),
                                     VhostDPViolation_str(why[i]));
            /* Under the BQL the device cannot have been stopped meanwhile */
            error_report_limited(&pair->violation_limit[i], "vhost-dp netdev "
                                 "'%s': %s queue %d stopped, the guest's "
                                 "driver is at fault: %s", pair->name,
                                 pair_queue_name(i), pair->dev->vq_index + i,
                                 violation_text(why[i]));
            qapi_event_send_vhost_dp_violation(pair->name,
                                               pair->dev->vq_index + i, why[i]);
            vhost_dp_pair_set_needs_reset(pair, i);
        }
    }
}

bool vhost_dp_pair_in_error(const VhostDPPair *pair)
{
    return pair->in_error[VHOST_DP_RX] || pair->in_error[VHOST_DP_TX];
}

void vhost_dp_pair_violation_init(VhostDPPair *pair)
{
    pair->violation_bh = qemu_bh_new(violation_bh, pair);
}

void vhost_dp_pair_violation_destroy(VhostDPPair *pair)
{
    qemu_bh_delete(pair->violation_bh);
}
