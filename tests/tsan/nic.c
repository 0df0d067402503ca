/*
 * vhost-dp stress: a network card, as QEMU's control side drives it
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/eventfd.h>
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "linux-headers/linux/vhost.h"
#include "linux-headers/linux/vhost_types.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_net.h"
#include "standard-headers/linux/virtio_ring.h"
#include "emulator.h"
#include "nic.h"
#include "stress.h"

#define TYPE_STRESS_DEVICE "stress-virtio-device"

static int new_eventfd(unsigned value)
{
    int fd = eventfd(value, EFD_NONBLOCK | EFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* ---- The ports, their driver and their vhost devices ---- */

static void driver_open(NicSet *set, VhostDPDriver *drv, VhostDPCaps *caps)
{
    VHOST_DP_DRIVER_GET_CLASS(drv)->open(drv, set->n, &error_abort);
    VHOST_DP_DRIVER_GET_CLASS(drv)->get_caps(drv, caps);
}

static void driver_free(VhostDPDriver *drv)
{
    VHOST_DP_DRIVER_GET_CLASS(drv)->close(drv);
    object_unref(OBJECT(drv));
}

void nics_set_driver(NicSet *set, VhostDPDriver *drv)
{
    VhostDPCaps caps = {};

    g_assert_null(set->next);
    driver_open(set, drv, &caps);
    set->next = drv;
    set->back = false;
    vhost_dp_portset_set_driver(set->ports, set->next, &caps, false);
}

static void nics_follow_driver(NicSet *set)
{
    g_autofree char *why = NULL;
    VhostDPCaps caps = {};

    if (!set->next) {
        return;
    }
    switch (vhost_dp_portset_follows(set->ports, &why)) {
    case VHOST_DP_PORTSET_MOVING:
        break;
    case VHOST_DP_PORTSET_REFUSED:
        g_assert_nonnull(strstr(why, "refused"));
        VHOST_DP_DRIVER_GET_CLASS(set->drv)->get_caps(set->drv, &caps);
        set->back = true;
        set->refused++;
        vhost_dp_portset_set_driver(set->ports, set->drv, &caps, true);
        break;
    case VHOST_DP_PORTSET_FOLLOWED:
        if (!set->back) {
            VhostDPDriver *old = set->drv;

            set->drv = set->next;
            set->next = old;
            set->moved++;
        }
        driver_free(g_steal_pointer(&set->next));
        break;
    }
}

static void nics_link_bh(void *opaque)
{
    NicSet *set = opaque;
    unsigned i;

    nics_follow_driver(set);
    for (i = 0; i < set->n; i++) {
        g_autofree char *reason = NULL;

        if (!vhost_dp_port_get_link(set->nic[i]->port, &reason)) {
            g_assert_cmpstr(reason, ==, "stress");
        }
    }
}

/* Any thread, no lock */
static void nics_link_changed(void *opaque)
{
    NicSet *set = opaque;

    qemu_bh_schedule(set->link_bh);
}

static void nic_set_port(Nic *nic, VhostDPEnginePort *port)
{
    nic->port = port;
    nic->ram = (MemoryRegionSection) {
        .size = int128_make64(EMULATOR_RAM_TWICE),
    };
    nic->dev = (struct vhost_dev) {
        .vhost_ops = &vhost_dp_ops,
        .vdev = nic->vdev,
        .mem_sections = &nic->ram,
        .n_mem_sections = 1,
        .vqs = nic->vqs,
        .nvqs = VHOST_DP_QUEUES,
    };
    vhost_dp_ops.vhost_backend_init(&nic->dev,
                                    vhost_dp_port_pair(nic->port),
                                    &error_abort);
}

static void nics_make_ports(NicSet *set, IOThread **iothreads,
                            unsigned busy_poll_us)
{
    VhostDPCaps caps = {};
    unsigned i;

    set->drv = VHOST_DP_DRIVER(object_new(TYPE_STRESS_DRIVER));
    driver_open(set, set->drv, &caps);
    set->ports = vhost_dp_portset_new("nics", set->n, set->drv, &caps,
                                      iothreads, busy_poll_us,
                                      nics_link_changed, set, &error_abort);
    for (i = 0; i < set->n; i++) {
        nic_set_port(set->nic[i], vhost_dp_portset_port(set->ports, i));
    }
}

/* As netdev_cleanup() and vhost_dp_driver_release() */
static void nics_drop_ports(NicSet *set)
{
    unsigned i;

    for (i = 0; i < set->n; i++) {
        vhost_dp_ops.vhost_backend_cleanup(&set->nic[i]->dev);
        set->nic[i]->port = NULL;
    }
    vhost_dp_portset_delete(set->ports);
    driver_free(set->drv);
    if (set->next) {
        driver_free(g_steal_pointer(&set->next));
    }
}

void nics_replace_ports(NicSet *set, IOThread **iothreads,
                        unsigned busy_poll_us)
{
    bool started[NIC_PAIRS];
    unsigned i;

    for (i = 0; i < set->n; i++) {
        started[i] = set->nic[i]->started;
        if (started[i]) {
            nic_stop(set->nic[i]);
        }
    }
    nics_drop_ports(set);
    nics_make_ports(set, iothreads, busy_poll_us);
    for (i = 0; i < set->n; i++) {
        nic_enable(set->nic[i], set->nic[i]->enabled);
        if (started[i]) {
            nic_start(set->nic[i]);
        }
    }
}

/* ---- vhost.c ---- */

static void set_call(Nic *nic, unsigned queue)
{
    struct vhost_vring_file file = {
        .index = queue,
        .fd = nic->masked[queue] ? nic->masked_fd[queue]
                                 : nic->guest->call_fd[queue],
    };

    g_assert_cmpint(vhost_dp_ops.vhost_set_vring_call(&nic->dev, &file), ==,
                    0);
}

static void set_addr(Nic *nic, unsigned queue)
{
    Ring *ring = &nic->guest->ring[queue];
    struct vhost_virtqueue vq = {
        .desc_phys = ring->desc_gpa,
        .avail_phys = ring->driver_gpa,
        .used_phys = ring->device_gpa,
    };
    struct vhost_vring_addr addr = { .index = queue };

    vhost_dp_ops.vhost_vq_get_addr(&nic->dev, &addr, &vq);
    g_assert_cmpint(vhost_dp_ops.vhost_set_vring_addr(&nic->dev, &addr), ==,
                    0);
}

/* The host notifier, signalled once; the bus closes it after the stop */
static void set_kick(Nic *nic, unsigned queue)
{
    struct vhost_vring_file file = { .index = queue, .fd = new_eventfd(1) };
    int old = guest_set_kick(nic->guest, queue, file.fd);

    g_assert_cmpint(vhost_dp_ops.vhost_set_vring_kick(&nic->dev, &file), ==,
                    0);
    if (old >= 0) {
        close(old);
    }
}

static void start_queue(Nic *nic, unsigned queue)
{
    struct vhost_vring_state state = { .index = queue };

    state.num = GUEST_RING_SIZE;
    vhost_dp_ops.vhost_set_vring_num(&nic->dev, &state);
    state.num = nic->base[queue];
    vhost_dp_ops.vhost_set_vring_base(&nic->dev, &state);
    set_addr(nic, queue);
    set_kick(nic, queue);
}

static void stop_queue(Nic *nic, unsigned queue)
{
    struct vhost_vring_state state = { .index = queue };

    g_assert_cmpint(vhost_dp_ops.vhost_get_vring_base(&nic->dev, &state), ==,
                    0);
    nic->base[queue] = state.num;
}

static void stop_queues(Nic *nic)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        int old;

        stop_queue(nic, i);
        old = guest_set_kick(nic->guest, i, -1);
        if (old >= 0) {
            /* The next eventfd gets this number */
            close(old);
        }
    }
}

/* hw/virtio/vhost.c's, which the back end calls */

bool vhost_dev_has_iommu(struct vhost_dev *dev)
{
    return container_of(dev, Nic, dev)->has_iommu;
}

int vhost_virtqueue_start(struct vhost_dev *dev, VirtIODevice *vdev,
                          struct vhost_virtqueue *vq, unsigned idx)
{
    start_queue(container_of(dev, Nic, dev), idx);
    return 0;
}

int vhost_virtqueue_stop(struct vhost_dev *dev, VirtIODevice *vdev,
                         struct vhost_virtqueue *vq, unsigned idx)
{
    stop_queue(container_of(dev, Nic, dev), idx);
    return 0;
}

static uint64_t logged_features(Nic *nic)
{
    return nic->features | (nic->logging ? 1ULL << VHOST_F_LOG_ALL : 0);
}

int nic_try_start(Nic *nic)
{
    unsigned i;
    int r;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        set_call(nic, i);
    }
    vhost_dp_ops.vhost_set_vring_enable(&nic->dev, nic->enabled);
    vhost_dp_ops.vhost_set_features(&nic->dev, logged_features(nic));
    vhost_dp_ops.vhost_set_mem_table(&nic->dev, nic->dev.mem);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        start_queue(nic, i);
    }
    r = vhost_dp_ops.vhost_dev_start(&nic->dev, true);
    if (r < 0) {
        stop_queues(nic);
        return r;
    }
    nic->dev.started = true;
    nic->started = true;
    return 0;
}

void nic_start(Nic *nic)
{
    g_assert_cmpint(nic_try_start(nic), ==, 0);
}

void nic_stop(Nic *nic)
{
    nic->dev.started = false;
    vhost_dp_ops.vhost_dev_start(&nic->dev, false);
    stop_queues(nic);
    nic->started = false;
}

void nic_stop_and_listen(Nic *nic)
{
    eventfd_t value;
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        nic_mask(nic, i, true);
    }
    nic_stop(nic);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        eventfd_read(nic->masked_fd[i], &value);
    }
    /* A burst that still runs would touch the old place of guest RAM */
    emulator_move_ram(NULL);
    g_usleep(200);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        g_assert_cmpint(eventfd_read(nic->masked_fd[i], &value), <, 0);
        nic_mask(nic, i, false);
        /* What was read here may have been for the guest */
        eventfd_write(nic->guest->call_fd[i], 1);
    }
}

void nic_restart_queue(Nic *nic, unsigned queue)
{
    VhostDPPair *pair = vhost_dp_port_pair(nic->port);

    vhost_dp_pair_reset_queue(pair, queue);
    vhost_dp_pair_enable_queue(pair, queue);
}

void nic_replace_kick(Nic *nic, unsigned queue)
{
    if (nic->started) {
        set_kick(nic, queue);
    }
}

void nic_mask(Nic *nic, unsigned queue, bool mask)
{
    eventfd_t value;

    nic->masked[queue] = mask;
    set_call(nic, queue);
    if (!mask && eventfd_read(nic->masked_fd[queue], &value) == 0) {
        eventfd_write(nic->guest->call_fd[queue], 1);
    }
}

void nic_enable(Nic *nic, bool enable)
{
    nic->enabled = enable;
    vhost_dp_ops.vhost_set_vring_enable(&nic->dev, enable);
}

void nic_set_logging(Nic *nic, bool logging)
{
    unsigned i;

    nic->logging = logging;
    if (nic->started) {
        vhost_dp_ops.vhost_set_log_base(&nic->dev, 0, NULL);
        vhost_dp_ops.vhost_set_features(&nic->dev, logged_features(nic));
        for (i = 0; i < VHOST_DP_QUEUES; i++) {
            set_addr(nic, i);
        }
    }
}

void nic_memory_changed(Nic *nic)
{
    if (nic->started) {
        vhost_dp_ops.vhost_set_mem_table(&nic->dev, nic->dev.mem);
    }
}

/* ---- The IOMMU ---- */

void nic_set_iommu(Nic *nic, bool has_iommu)
{
    g_assert_false(nic->started);
    nic->has_iommu = has_iommu;
    /* Without one it is as if the device passed */
    emulator_iommu_set_bypass(&nic->iommu, !has_iommu);
}

static void nic_send_invalidate(Nic *nic, uint64_t iova, uint64_t size)
{
    struct vhost_iotlb_msg msg = {
        .type = VHOST_IOTLB_INVALIDATE,
        .iova = iova,
        .size = size,
    };

    if (nic->started && nic->has_iommu) {
        g_assert_cmpint(vhost_dp_ops.vhost_send_device_iotlb_msg(&nic->dev,
                                                                 &msg), ==, 0);
    }
}

static void nic_tell_remap(void *opaque, uint64_t iova)
{
    nic_send_invalidate(opaque, iova, 4096);
}

void nic_remap(Nic *nic, uint64_t offset)
{
    emulator_iommu_remap(&nic->iommu, nic->iommu.start + offset,
                         nic_tell_remap, nic);
}

void nic_invalidate(Nic *nic)
{
    nic_send_invalidate(nic, 0, 0);
}

void nic_set_bypass(Nic *nic, bool bypass)
{
    if (nic->has_iommu) {
        emulator_iommu_set_bypass(&nic->iommu, bypass);
    }
}

/* ---- The device ---- */

void nic_reset(Nic *nic, bool packed, bool event_idx, bool indirect)
{
    unsigned i;

    g_assert_false(nic->started);
    guest_reset(nic->guest, packed, event_idx, indirect);
    nic->features = 1ULL << VIRTIO_F_VERSION_1 |
                    (uint64_t)packed << VIRTIO_F_RING_PACKED |
                    (uint64_t)event_idx << VIRTIO_RING_F_EVENT_IDX |
                    (uint64_t)indirect << VIRTIO_RING_F_INDIRECT_DESC;
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        nic->base[i] = packed ? 0x80008000 : 0;
    }
}

static Nic *nic_new(NicSet *set, unsigned index, bool still)
{
    Nic *nic = g_new0(Nic, 1);
    unsigned i;

    nic->set = set;
    nic->vdev = (VirtIODevice *)object_new(TYPE_STRESS_DEVICE);
    nic->vdev->dma_as = &nic->iommu.as;
    emulator_iommu_init(&nic->iommu, index * EMULATOR_PART_SIZE,
                        EMULATOR_PART_SIZE);
    nic_set_iommu(nic, false);
    nic->enabled = true;
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        nic->masked_fd[i] = new_eventfd(0);
        event_notifier_init_fd(&nic->vqs[i].masked_notifier,
                               nic->masked_fd[i]);
    }
    nic->guest = guest_new(index * EMULATOR_PART_SIZE, still);
    nic_reset(nic, false, true, false);
    return nic;
}

NicSet *nics_new(unsigned n, IOThread **iothreads, unsigned busy_poll_us,
                 bool still)
{
    NicSet *set = g_new0(NicSet, 1);
    unsigned i;

    g_assert_cmpuint(n, <=, NIC_PAIRS);
    set->n = n;
    set->link_bh = qemu_bh_new(nics_link_bh, set);
    for (i = 0; i < n; i++) {
        set->nic[i] = nic_new(set, i, still);
    }
    nics_make_ports(set, iothreads, busy_poll_us);
    return set;
}

static void nic_free(Nic *nic)
{
    unsigned i;

    guest_free(nic->guest);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        close(nic->masked_fd[i]);
    }
    /* Nobody else has a reference any more */
    g_assert_cmpuint(OBJECT(nic->vdev)->ref, ==, 1);
    object_unref(OBJECT(nic->vdev));
    g_free(nic);
}

void nics_free(NicSet *set)
{
    unsigned i;

    for (i = 0; i < set->n; i++) {
        if (set->nic[i]->started) {
            nic_stop(set->nic[i]);
        }
    }
    nics_drop_ports(set);
    qemu_bh_delete(set->link_bh);
    for (i = 0; i < set->n; i++) {
        nic_free(set->nic[i]);
    }
    g_free(set);
}

static const TypeInfo device_info = {
    .name = TYPE_STRESS_DEVICE,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(VirtIODevice),
};

static void device_register_types(void)
{
    type_register_static(&device_info);
}

type_init(device_register_types)
