/*
 * vhost-dp: qtests, a virtio-net device on virtio-mmio
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * libqos knows the legacy registers (virtio 1.3, 4.2.4).  Here are those of
 * section 4.2.2, and how to find the device.
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/virtio_ids.h"
#include "standard-headers/linux/virtio_mmio.h"
#include "guest.h"

/* Where the transports are: hw/i386/microvm.c, hw/arm/virt.c */
#define MICROVM_AT  0xfeb00000
#define VIRT_AT     0x0a000000
#define TRANSPORTS  32
#define SIZE        0x200

/* libqos's functions, but for what version 2 has in other registers */
static QVirtioBus mmio_bus;

static void mmio_write(QVirtioMMIODevice *dev, unsigned offset, uint32_t value)
{
    qtest_writel(dev->qts, dev->addr + offset, value);
}

static void mmio_write64(QVirtioMMIODevice *dev, unsigned low, uint64_t value)
{
    mmio_write(dev, low, value);
    mmio_write(dev, low + 4, value >> 32);
}

/* libqos selects those alone that have no ring */
static void mmio_queue_select(QVirtioDevice *d, uint16_t index)
{
    mmio_write(container_of(d, QVirtioMMIODevice, vdev),
               VIRTIO_MMIO_QUEUE_SEL, index);
}

static void mmio_set_queue_address(QVirtioDevice *d, QVirtQueue *vq)
{
    QVirtioMMIODevice *dev = container_of(d, QVirtioMMIODevice, vdev);

    if (dev->version == 1) {
        mmio_write(dev, VIRTIO_MMIO_QUEUE_ALIGN, vq->align);
        mmio_write(dev, VIRTIO_MMIO_QUEUE_PFN, vq->desc / dev->page_size);
        return;
    }
    mmio_write64(dev, VIRTIO_MMIO_QUEUE_DESC_LOW, vq->desc);
    mmio_write64(dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, vq->avail);
    mmio_write64(dev, VIRTIO_MMIO_QUEUE_USED_LOW, vq->used);
}

void dp_mmio_set_queue_size(DpNic *nic, uint16_t size)
{
    mmio_write(nic->mmio, VIRTIO_MMIO_QUEUE_NUM, size);
}

void dp_mmio_enable_queue(DpNic *nic)
{
    if (nic->mmio->version > 1) {
        mmio_write(nic->mmio, VIRTIO_MMIO_QUEUE_READY, 1);
    }
}

void dp_mmio_probe(DpNic *nic)
{
    QTestState *qts = nic->guest->qts;
    bool virt = !strcmp(qtest_get_arch(), "aarch64");
    QVirtioMMIODevice *dev = g_new0(QVirtioMMIODevice, 1);
    uint64_t at = virt ? VIRT_AT : MICROVM_AT;
    unsigned i;

    for (i = 0; i < TRANSPORTS; i++, at += SIZE) {
        if (qtest_readl(qts, at + VIRTIO_MMIO_DEVICE_ID) == VIRTIO_ID_NET) {
            break;
        }
    }
    g_assert_cmpuint(i, <, TRANSPORTS);
    qvirtio_mmio_init_device(dev, qts, at, 4096);
    mmio_bus = qvirtio_mmio;
    mmio_bus.queue_select = mmio_queue_select;
    mmio_bus.set_queue_address = mmio_set_queue_address;
    dev->vdev.bus = &mmio_bus;
    nic->mmio = dev;
    nic->vdev = &dev->vdev;
}
