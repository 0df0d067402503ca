/*
 * vhost-dp: qtests, all transports of a virtio-net device
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/virtio_mmio.h"
#include "standard-headers/linux/virtio_pci.h"
#include "transports.h"

const DpTransport dp_transports[DP_NTRANSPORTS] = {
    {
        "pci-legacy", "disable-modern=on,disable-legacy=off", "",
        .config = 0x14,
        .reg = {
            [FEATURES] = { VIRTIO_PCI_GUEST_FEATURES, 4 },
            [STATUS] = { VIRTIO_PCI_STATUS, 1 },
            [CONFIG_VECTOR] = { VIRTIO_MSI_CONFIG_VECTOR, 2 },
            [QUEUE_SELECT] = { VIRTIO_PCI_QUEUE_SEL, 2 },
            [QUEUE_VECTOR] = { VIRTIO_MSI_QUEUE_VECTOR, 2 },
            [QUEUE_PFN] = { VIRTIO_PCI_QUEUE_PFN, 4 },
            [NOTIFY] = { VIRTIO_PCI_QUEUE_NOTIFY, 2 },
        },
    }, {
        "pci-modern", "disable-legacy=on", "",
        .modern = true,
        .reg = {
            [FEATURES_SELECT] = { VIRTIO_PCI_COMMON_GFSELECT, 4 },
            [FEATURES] = { VIRTIO_PCI_COMMON_GF, 4 },
            [STATUS] = { VIRTIO_PCI_COMMON_STATUS, 1 },
            [CONFIG_VECTOR] = { VIRTIO_PCI_COMMON_MSIX, 2 },
            [QUEUE_SELECT] = { VIRTIO_PCI_COMMON_Q_SELECT, 2 },
            [QUEUE_SIZE] = { VIRTIO_PCI_COMMON_Q_SIZE, 2 },
            [QUEUE_VECTOR] = { VIRTIO_PCI_COMMON_Q_MSIX, 2 },
            [QUEUE_ENABLE] = { VIRTIO_PCI_COMMON_Q_ENABLE, 2 },
            [QUEUE_RESET] = { VIRTIO_PCI_COMMON_Q_RESET, 2 },
            [QUEUE_DESC] = { VIRTIO_PCI_COMMON_Q_DESCLO, 8 },
            [QUEUE_AVAIL] = { VIRTIO_PCI_COMMON_Q_AVAILLO, 8 },
            [QUEUE_USED] = { VIRTIO_PCI_COMMON_Q_USEDLO, 8 },
        },
    }, {
        "mmio-legacy", "event_idx=on", "", .mmio = true,
        .config = VIRTIO_MMIO_CONFIG,
        .reg = {
            [FEATURES_SELECT] = { VIRTIO_MMIO_DRIVER_FEATURES_SEL, 4 },
            [FEATURES] = { VIRTIO_MMIO_DRIVER_FEATURES, 4 },
            [STATUS] = { VIRTIO_MMIO_STATUS, 4 },
            [QUEUE_SELECT] = { VIRTIO_MMIO_QUEUE_SEL, 4 },
            [QUEUE_SIZE] = { VIRTIO_MMIO_QUEUE_NUM, 4 },
            [QUEUE_PFN] = { VIRTIO_MMIO_QUEUE_PFN, 4 },
            [QUEUE_ALIGN] = { VIRTIO_MMIO_QUEUE_ALIGN, 4 },
            [PAGE_SIZE] = { VIRTIO_MMIO_GUEST_PAGE_SIZE, 4 },
            [NOTIFY] = { VIRTIO_MMIO_QUEUE_NOTIFY, 4 },
            [INTERRUPT_ACK] = { VIRTIO_MMIO_INTERRUPT_ACK, 4 },
        },
    }, {
        "mmio-modern", "event_idx=on",
        "-global virtio-mmio.force-legacy=false", .mmio = true,
        .modern = true, .config = VIRTIO_MMIO_CONFIG,
        .reg = {
            [FEATURES_SELECT] = { VIRTIO_MMIO_DRIVER_FEATURES_SEL, 4 },
            [FEATURES] = { VIRTIO_MMIO_DRIVER_FEATURES, 4 },
            [STATUS] = { VIRTIO_MMIO_STATUS, 4 },
            [QUEUE_SELECT] = { VIRTIO_MMIO_QUEUE_SEL, 4 },
            [QUEUE_SIZE] = { VIRTIO_MMIO_QUEUE_NUM, 4 },
            [QUEUE_ENABLE] = { VIRTIO_MMIO_QUEUE_READY, 4 },
            [QUEUE_DESC] = { VIRTIO_MMIO_QUEUE_DESC_LOW, 8 },
            [QUEUE_AVAIL] = { VIRTIO_MMIO_QUEUE_AVAIL_LOW, 8 },
            [QUEUE_USED] = { VIRTIO_MMIO_QUEUE_USED_LOW, 8 },
            [NOTIFY] = { VIRTIO_MMIO_QUEUE_NOTIFY, 4 },
            [INTERRUPT_ACK] = { VIRTIO_MMIO_INTERRUPT_ACK, 4 },
        },
    },
};

void dp_add_transport_test(const char *prefix, const DpTransport *t,
                           void (*fn)(const void *t))
{
    g_autofree char *path = g_strdup_printf("%s/%s", prefix, t->name);

    if (t->modern) {
        dp_add_ring_test(path, t, fn);
    } else {
        dp_add_test(path, t, fn);
    }
}
