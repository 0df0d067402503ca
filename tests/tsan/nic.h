/*
 * vhost-dp stress: a network card, as QEMU's control side drives it
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Stands for hw/virtio/vhost.c, hw/net/vhost_net.c, virtio-net and netdev.c:
 * calls vhost_dp_ops and the port in the order in which those do.  Everything
 * here needs the BQL.
 */

#ifndef TESTS_TSAN_NIC_H
#define TESTS_TSAN_NIC_H

#include "hw/virtio/vhost.h"
#include "hw/virtio/virtio.h"
#include "net/vhost-dp/port.h"
#include "emulator.h"
#include "guest.h"

typedef struct Nic {
    char name[16];
    Guest *guest;
    VirtIODevice *vdev;
    QEMUBH *link_bh;
    struct Nic *first;          /* gets frames while this one is disabled */

    /* Replaced with the port */
    VhostDPDriver *drv;
    VhostDPEnginePort *port;
    struct vhost_dev dev;
    struct vhost_virtqueue vqs[VHOST_DP_QUEUES];
    MemoryRegionSection ram;

    EmulatorIommu iommu;
    bool has_iommu;             /* and the device is behind it */

    /* What the guest's driver negotiated */
    uint64_t features;
    uint32_t base[VHOST_DP_QUEUES];

    bool started;
    bool enabled;
    bool logging;
    bool masked[VHOST_DP_QUEUES];
    int masked_fd[VHOST_DP_QUEUES];
} Nic;

/**
 * nic_new: make a card, stopped, and its guest
 * @first: what the first queue pair of the same netdev would be, or NULL
 * @iothread, @busy_poll_us: for the port; NULL: a thread of its own
 * @still: the guest does nothing by itself
 */
Nic *nic_new(unsigned index, Nic *first, IOThread *iothread,
             unsigned busy_poll_us, bool still);
void nic_free(Nic *nic);

/* netdev_del and netdev_add: another port, driver and IOThread */
void nic_replace_port(Nic *nic, IOThread *iothread, unsigned busy_poll_us);

/* The guest's driver resets the device and negotiates anew.  Stopped. */
void nic_reset(Nic *nic, bool packed, bool event_idx, bool indirect);

void nic_start(Nic *nic);
void nic_stop(Nic *nic);

/* Returns a negative errno if the rings are wrong: then nothing runs */
int nic_try_start(Nic *nic);

/* Stop or start, and nothing may call the guest after a stop */
void nic_stop_and_listen(Nic *nic);

/* One queue is reset and enabled, but goes on where it was */
void nic_restart_queue(Nic *nic, unsigned queue);

void nic_mask(Nic *nic, unsigned queue, bool mask);
void nic_enable(Nic *nic, bool enable);
void nic_set_logging(Nic *nic, bool logging);

/* Before the next start: is there an IOMMU? */
void nic_set_iommu(Nic *nic, bool has_iommu);

/* The page at @offset of the card's memory is elsewhere from now on */
void nic_remap(Nic *nic, uint64_t offset);

/* The IOMMU forgets all at once */
void nic_invalidate(Nic *nic);

/* The IOMMU lets the device pass, or not */
void nic_set_bypass(Nic *nic, bool bypass);

/* What vhost.c does when the memory has changed */
void nic_memory_changed(Nic *nic);

/* A kick fd of its own, while the queue runs */
void nic_replace_kick(Nic *nic, unsigned queue);

#endif /* TESTS_TSAN_NIC_H */
