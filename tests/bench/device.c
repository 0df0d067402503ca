/*
 * vhost-dp bench: setting a virtio-net device up, as its driver does
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtio over MMIO, version 2 (virtio 1.3, 4.2), in the order of 3.1.1.  The
 * control queue is used once, to enable more than one queue pair (5.1.6.5.5).
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/atomic.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ids.h"
#include "standard-headers/linux/virtio_mmio.h"
#include "standard-headers/linux/virtio_net.h"
#include "standard-headers/linux/virtio_ring.h"
#include "device.h"
#include "util.h"

/* Machine microvm has its transports here */
#define MMIO_BASE   0xfeb00000
#define MMIO_STRIDE 0x200
#define MMIO_SLOTS  24
#define MMIO_MAGIC  0x74726976

/* A back end in another process has so long to connect */
#define LINK_NS (20 * 1000000000LL)

static uint32_t reg_read(Device *dev, unsigned reg)
{
    return machine_readl(dev->machine, dev->base + reg);
}

static void reg_write(Device *dev, unsigned reg, uint32_t value)
{
    machine_writel(dev->machine, dev->base + reg, value);
}

static void reg_write64(Device *dev, unsigned low, uint64_t value)
{
    reg_write(dev, low, value);
    reg_write(dev, low + 4, value >> 32);
}

/* ---- Features ---- */

static const char *feature_name(unsigned bit)
{
    switch (bit) {
    case VIRTIO_NET_F_CSUM: return "VIRTIO_NET_F_CSUM";
    case VIRTIO_NET_F_GUEST_CSUM: return "VIRTIO_NET_F_GUEST_CSUM";
    case VIRTIO_NET_F_HOST_TSO4: return "VIRTIO_NET_F_HOST_TSO4";
    case VIRTIO_NET_F_GUEST_TSO4: return "VIRTIO_NET_F_GUEST_TSO4";
    case VIRTIO_NET_F_MRG_RXBUF: return "VIRTIO_NET_F_MRG_RXBUF";
    case VIRTIO_NET_F_CTRL_VQ: return "VIRTIO_NET_F_CTRL_VQ";
    case VIRTIO_NET_F_MQ: return "VIRTIO_NET_F_MQ";
    case VIRTIO_RING_F_INDIRECT_DESC: return "VIRTIO_RING_F_INDIRECT_DESC";
    case VIRTIO_RING_F_EVENT_IDX: return "VIRTIO_RING_F_EVENT_IDX";
    case VIRTIO_F_VERSION_1: return "VIRTIO_F_VERSION_1";
    case VIRTIO_F_RING_PACKED:
        return "VIRTIO_F_RING_PACKED (its back end knows split rings only)";
    default: return NULL;
    }
}

static void need_features(uint64_t offered, uint64_t want)
{
    g_autoptr(GString) list = g_string_new("");
    unsigned bit;

    for (bit = 0; bit < 64; bit++) {
        if (want & ~offered & (1ULL << bit)) {
            const char *name = feature_name(bit);

            g_string_append(list, list->len ? ", " : "");
            if (name) {
                g_string_append(list, name);
            } else {
                g_string_append_printf(list, "bit %u", bit);
            }
        }
    }
    if (list->len) {
        bench_fail("the device does not offer %s", list->str);
    }
}

static uint64_t read_features(Device *dev)
{
    uint64_t features;

    reg_write(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    features = (uint64_t)reg_read(dev, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
    reg_write(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    return features | reg_read(dev, VIRTIO_MMIO_DEVICE_FEATURES);
}

static void negotiate(Device *dev, uint64_t want)
{
    uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
    uint64_t offered;

    reg_write(dev, VIRTIO_MMIO_STATUS, 0);
    reg_write(dev, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    reg_write(dev, VIRTIO_MMIO_STATUS, status);
    offered = read_features(dev);
    need_features(offered, want);
    want |= offered & (1ULL << VIRTIO_NET_F_STATUS);
    reg_write(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    reg_write(dev, VIRTIO_MMIO_DRIVER_FEATURES, want);
    reg_write(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    reg_write(dev, VIRTIO_MMIO_DRIVER_FEATURES, want >> 32);
    status |= VIRTIO_CONFIG_S_FEATURES_OK;
    reg_write(dev, VIRTIO_MMIO_STATUS, status);
    if (!(reg_read(dev, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK)) {
        bench_fail("the device refuses the features 0x%" PRIx64, want);
    }
    dev->features = want;
    dev->hdr_len = sizeof(struct virtio_net_hdr_v1);
}

void device_find(Device *dev, Machine *machine, uint64_t want)
{
    unsigned i;

    memset(dev, 0, sizeof(*dev));
    dev->machine = machine;
    for (i = 0; i < MMIO_SLOTS; i++) {
        dev->base = MMIO_BASE + i * MMIO_STRIDE;
        if (reg_read(dev, VIRTIO_MMIO_MAGIC_VALUE) == MMIO_MAGIC &&
            reg_read(dev, VIRTIO_MMIO_VERSION) == 2 &&
            reg_read(dev, VIRTIO_MMIO_DEVICE_ID) == VIRTIO_ID_NET) {
            negotiate(dev, want);
            return;
        }
    }
    bench_fail("QEMU has no virtio-net device of version 2 on its MMIO "
               "transports");
}

/* ---- Queues ---- */

static void setup_queue(Device *dev, unsigned index, const Ring *ring)
{
    uint32_t max;

    reg_write(dev, VIRTIO_MMIO_QUEUE_SEL, index);
    max = reg_read(dev, VIRTIO_MMIO_QUEUE_NUM_MAX);
    if (max < ring->num) {
        bench_fail("queue %u of the device has at most %u entries, not %u",
                   index, max, ring->num);
    }
    reg_write(dev, VIRTIO_MMIO_QUEUE_NUM, ring->num);
    reg_write64(dev, VIRTIO_MMIO_QUEUE_DESC_LOW, ring->desc_gpa);
    reg_write64(dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, ring->driver_gpa);
    reg_write64(dev, VIRTIO_MMIO_QUEUE_USED_LOW, ring->device_gpa);
    reg_write(dev, VIRTIO_MMIO_QUEUE_READY, 1);
}

/* One buffer of three segments: header and command, value, answer */
static void setup_control(Device *dev)
{
    Ring *ring = &dev->control;
    uint64_t gpa;

    dev->control_buf = machine_alloc(dev->machine, 64, 64, &gpa);
    ring->packed = device_has(dev, VIRTIO_F_RING_PACKED);
    ring->event_idx = device_has(dev, VIRTIO_RING_F_EVENT_IDX);
    ring->num = 64;
    ring->nbuf = 1;
    ring->nsegs = 3;
    ring->segs = g_new(RingSeg, 3);
    ring->segs[0] = (RingSeg) { gpa, 2 };
    ring->segs[1] = (RingSeg) { gpa + 2, 2 };
    ring->segs[2] = (RingSeg) { gpa + 4, 1 };
    ring_init(ring, dev->machine);
    /* It comes behind the data queues of all pairs, used or not */
    setup_queue(dev, 2 * dev->pairs_max, ring);
}

/* The answer's segment is the device's to write: no Ring is made for that */
static void control_mark_answer(Ring *ring)
{
    if (ring->packed) {
        ring->vq.pdesc[2].flags |= cpu_to_le16(VRING_DESC_F_WRITE);
    } else {
        ring->vq.desc[2].flags |= cpu_to_le16(VRING_DESC_F_WRITE);
    }
}

static void enable_pairs(Device *dev)
{
    Ring *ring = &dev->control;
    uint8_t *buf = dev->control_buf;
    uint16_t id = 0;
    RingUsed used;
    unsigned tries;

    buf[0] = VIRTIO_NET_CTRL_MQ;
    buf[1] = VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET;
    buf[2] = dev->pairs;
    buf[3] = dev->pairs >> 8;
    buf[4] = 0xff;
    /* Nobody looks at the ring before the kick */
    ring_post(ring, &id, 1);
    control_mark_answer(ring);
    device_kick_slowly(dev, 2 * dev->pairs_max);
    for (tries = 0; !ring_reap(ring, &used, 1); tries++) {
        if (tries == 5000) {
            bench_fail("the device does not answer on its control queue");
        }
        bench_check_stop();
        bench_sleep(1000000);
    }
    if (buf[4] != VIRTIO_NET_OK) {
        bench_fail("the device cannot enable %u queue pairs", dev->pairs);
    }
}

static uint16_t config_readw(Device *dev, unsigned offset)
{
    return machine_readw(dev->machine,
                         dev->base + VIRTIO_MMIO_CONFIG + offset);
}

static unsigned max_pairs(Device *dev)
{
    return config_readw(dev, offsetof(struct virtio_net_config,
                                      max_virtqueue_pairs));
}

/* What tells the link is the status, if there is one (5.1.5) */
static void wait_for_link(Device *dev)
{
    unsigned status = offsetof(struct virtio_net_config, status);
    int64_t end = bench_now() + LINK_NS;

    if (!device_has(dev, VIRTIO_NET_F_STATUS)) {
        return;
    }
    while (!(config_readw(dev, status) & VIRTIO_NET_S_LINK_UP)) {
        if (bench_now() > end) {
            bench_fail("the device's link does not come up in %lld s",
                       LINK_NS / 1000000000);
        }
        bench_check_stop();
        bench_sleep(5000000);
    }
}

void device_start(Device *dev)
{
    unsigned i;

    wait_for_link(dev);
    if (device_has(dev, VIRTIO_NET_F_MQ)) {
        dev->pairs_max = max_pairs(dev);
        if (dev->pairs > dev->pairs_max) {
            bench_fail("the device has %u queue pair%s, not %u (the netdev "
                       "needs queues=%u)", dev->pairs_max,
                       dev->pairs_max == 1 ? "" : "s", dev->pairs, dev->pairs);
        }
    }

    for (i = 0; i < dev->pairs; i++) {
        setup_queue(dev, 2 * i, dev->rx[i]);
        setup_queue(dev, 2 * i + 1, dev->tx[i]);
    }
    if (device_has(dev, VIRTIO_NET_F_MQ)) {
        setup_control(dev);
    }
    reg_write(dev, VIRTIO_MMIO_STATUS,
              VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
              VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
    if (!(reg_read(dev, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK) ||
        (reg_read(dev, VIRTIO_MMIO_STATUS) &
         VIRTIO_CONFIG_S_NEEDS_RESET)) {
        bench_fail("the device did not start");
    }
    if (device_has(dev, VIRTIO_NET_F_MQ)) {
        enable_pairs(dev);
    }
}

void device_kick_slowly(Device *dev, unsigned queue)
{
    reg_write(dev, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}
