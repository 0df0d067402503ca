/*
 * vhost-dp: differential test: a queue that is run by QEMU's virtio.c
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a virtio device that does nothing, on a bus that notes
 * interrupts.  virtio.c is that of the emulator whose objects this is linked
 * with.  Where two devices differ in when they do a thing, not in how, it is
 * done here as vhost-dp does it.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/core/qdev.h"
#include "hw/virtio/virtio-bus.h"
#include "standard-headers/linux/virtio_ids.h"
#include "system/dma.h"
#include "differential.h"

#define TYPE_DIFF_BUS "vhost-dp-differential-bus"
#define TYPE_DIFF_PROXY "vhost-dp-differential-proxy"
#define TYPE_DIFF_DEVICE "vhost-dp-differential-device"

static Theirs *the_one;

static void diff_bus_notify(DeviceState *proxy, uint16_t vector)
{
    the_one->called = true;
}

static void diff_bus_class_init(ObjectClass *klass, const void *data)
{
    VIRTIO_BUS_CLASS(klass)->notify = diff_bus_notify;
}

static void diff_handle_output(VirtIODevice *vdev, VirtQueue *vq)
{
    /* Turns are taken when the test says so */
}

static void diff_device_realize(DeviceState *dev, Error **errp)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);

    virtio_init(vdev, VIRTIO_ID_NET, 0);
    virtio_add_queue(vdev, MAX_NUM, diff_handle_output);
}

static uint64_t diff_device_get_features(VirtIODevice *vdev, uint64_t features,
                                         Error **errp)
{
    return features | 1ULL << VIRTIO_F_VERSION_1 |
           1ULL << VIRTIO_F_RING_PACKED | 1ULL << VIRTIO_RING_F_EVENT_IDX |
           1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << VIRTIO_F_IN_ORDER;
}

static void diff_device_class_init(ObjectClass *klass, const void *data)
{
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_CLASS(klass);

    vdc->realize = diff_device_realize;
    vdc->get_features = diff_device_get_features;
}

static const TypeInfo diff_types[] = {
    {
        .name = TYPE_DIFF_BUS,
        .parent = TYPE_VIRTIO_BUS,
        .instance_size = sizeof(VirtioBusState),
        .class_init = diff_bus_class_init,
    }, {
        .name = TYPE_DIFF_PROXY,
        .parent = TYPE_DEVICE,
        .instance_size = sizeof(DeviceState),
    }, {
        .name = TYPE_DIFF_DEVICE,
        .parent = TYPE_VIRTIO_DEVICE,
        .instance_size = sizeof(VirtIODevice),
        .class_init = diff_device_class_init,
    },
};

DEFINE_TYPES(diff_types)

void theirs_init(Theirs *t)
{
    DeviceState *proxy = qdev_new(TYPE_DIFF_PROXY);
    DeviceState *dev = qdev_new(TYPE_DIFF_DEVICE);
    BusState *bus = qbus_new(TYPE_DIFF_BUS, proxy, "virtio-bus");

    the_one = t;
    qdev_realize(proxy, NULL, &error_fatal);
    qdev_realize(dev, bus, &error_fatal);
    t->vdev = VIRTIO_DEVICE(dev);
    t->vq = virtio_get_queue(t->vdev, 0);
}

static void theirs_map(Theirs *t)
{
    t->vdev->dma_as = &t->guest->as;
    virtio_queue_set_rings(t->vdev, 0, DESC_GPA, AVAIL_GPA, USED_GPA);
}

void theirs_reset(Theirs *t, const Config *c, bool device)
{
    if (device) {
        uint64_t features = 1ULL << VIRTIO_F_VERSION_1 |
                            1ULL << VIRTIO_RING_F_INDIRECT_DESC;

        if (c->packed) {
            features |= 1ULL << VIRTIO_F_RING_PACKED;
        }
        if (c->event_idx) {
            features |= 1ULL << VIRTIO_RING_F_EVENT_IDX;
        }
        if (c->notify_on_empty) {
            features |= 1ULL << VIRTIO_F_NOTIFY_ON_EMPTY;
        }
        if (c->in_order) {
            features |= 1ULL << VIRTIO_F_IN_ORDER;
        }
        virtio_reset(t->vdev);
        expect(virtio_set_features(t->vdev, features) == 0, "features");
    } else {
        virtio_queue_reset(t->vdev, 0);
    }
    virtio_queue_set_num(t->vdev, 0, c->num);
}

void theirs_start(Theirs *t, uint32_t base)
{
    theirs_map(t);
    virtio_queue_set_last_avail_idx(t->vdev, 0, base);
    virtio_queue_invalidate_signalled_used(t->vdev, 0);
    virtio_queue_update_used_idx(t->vdev, 0);
    /* vhost-dp says that it wants kicks; virtio.c leaves what there is */
    virtio_queue_set_notification(t->vq, 1);
}

uint32_t theirs_stop(Theirs *t)
{
    return virtio_queue_get_last_avail_idx(t->vdev, 0);
}

VirtQueueElement *theirs_pop(Theirs *t)
{
    return virtqueue_pop(t->vq, sizeof(VirtQueueElement));
}

/* virtqueue_rewind() has no elements: what they mapped is ours to unmap */
static void theirs_unmap(Theirs *t, const VirtQueueElement *elem)
{
    unsigned i;

    for (i = 0; i < elem->in_num; i++) {
        dma_memory_unmap(&t->guest->as, elem->in_sg[i].iov_base,
                         elem->in_sg[i].iov_len, DMA_DIRECTION_FROM_DEVICE, 0);
    }
    for (i = 0; i < elem->out_num; i++) {
        dma_memory_unmap(&t->guest->as, elem->out_sg[i].iov_base,
                         elem->out_sg[i].iov_len, DMA_DIRECTION_TO_DEVICE, 0);
    }
}

void theirs_rewind(Theirs *t, VirtQueueElement **elem, unsigned n)
{
    unsigned ndescs = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        ndescs += elem[i]->ndescs;
        theirs_unmap(t, elem[i]);
        g_free(elem[i]);
    }
    /* In a packed ring it counts descriptors; virtqueue_unpop() does not */
    expect(virtqueue_rewind(t->vq, ndescs), "%u descriptors", ndescs);
}

void theirs_drop(Theirs *t, VirtQueueElement *elem)
{
    theirs_unmap(t, elem);
    g_free(elem);
}

bool theirs_flush(Theirs *t, unsigned n)
{
    t->called = false;
    virtqueue_flush(t->vq, n);
    virtio_notify(t->vdev, t->vq);
    return t->called;
}
