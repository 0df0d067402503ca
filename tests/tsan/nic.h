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

/* Queue pairs of a netdev, at most */
#define NIC_PAIRS 4

/* The guest of each has memory of its own */
QEMU_BUILD_BUG_ON(NIC_PAIRS > EMULATOR_PARTS);

typedef struct NicSet NicSet;

/* One queue pair, with a device and a guest of its own */
typedef struct Nic {
    NicSet *set;
    Guest *guest;
    VirtIODevice *vdev;

    /* Replaced with the ports */
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

/* A netdev: all of them.  The first gets frames while another is disabled. */
struct NicSet {
    unsigned n;
    Nic *nic[NIC_PAIRS];
    QEMUBH *link_bh;

    /* Replaced */
    VhostDPDriver *drv;
    VhostDPPortSet *ports;

    /* vhost-dp-set-driver, as net/vhost-dp/netdev-driver.c does it */
    VhostDPDriver *next;        /* or NULL */
    bool back;                  /* the ports go back to @drv */
    unsigned moved, refused;    /* how often */
};

/**
 * nics_new: make a netdev with @n queue pairs, stopped, and their guests
 * @iothreads, @busy_poll_us: for the ports; NULL: a thread of its own
 * @still: the guests do nothing by themselves
 */
NicSet *nics_new(unsigned n, IOThread **iothreads, unsigned busy_poll_us,
                 bool still);
void nics_free(NicSet *set);

/* netdev_del and netdev_add: other ports, driver and IOThreads */
void nics_replace_ports(NicSet *set, IOThread **iothreads,
                        unsigned busy_poll_us);

/*
 * The ports are to use another driver, unless set->next says that they are on
 * their way to one.  Takes over the reference.
 */
void nics_set_driver(NicSet *set, VhostDPDriver *drv);

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
