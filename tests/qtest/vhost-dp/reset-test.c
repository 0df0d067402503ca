/*
 * vhost-dp: qtests of VIRTIO_F_RING_RESET, and of queues set up wrongly
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A queue that is reset (virtio 1.3, 2.6.1) is left alone by the device, and
 * begins anew when it is enabled again; the other queues go on.  A driver that
 * resets, enables or resizes queues at the wrong time hurts nobody but itself.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_pci.h"
#include "guest.h"

#define FEATURES (DP_FEATURES_DEFAULT | DP_FEATURE(VIRTIO_F_RING_RESET))

/* ---- Registers of a queue (4.1.4.3) ---- */

static uint64_t common_offset(DpNic *nic, unsigned queue, size_t offset)
{
    nic->vdev->bus->queue_select(nic->vdev, queue);
    return nic->pci->common_cfg_offset + offset;
}

static void queue_write(DpNic *nic, unsigned queue, size_t offset,
                        uint16_t value)
{
    qpci_io_writew(nic->pci->pdev, nic->pci->bar,
                   common_offset(nic, queue, offset), value);
}

static uint16_t queue_read(DpNic *nic, unsigned queue, size_t offset)
{
    return qpci_io_readw(nic->pci->pdev, nic->pci->bar,
                         common_offset(nic, queue, offset));
}

/* Like dp_queue_reset(), at any time */
static void queue_reset(DpNic *nic, unsigned queue)
{
    queue_write(nic, queue, VIRTIO_PCI_COMMON_Q_RESET, 1);
    g_assert_cmpuint(queue_read(nic, queue, VIRTIO_PCI_COMMON_Q_RESET), ==, 0);
    g_assert_cmpuint(queue_read(nic, queue, VIRTIO_PCI_COMMON_Q_ENABLE), ==,
                     0);
}

static void queue_enable(DpNic *nic, unsigned queue)
{
    queue_write(nic, queue, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
}

/* Give the queue a new ring, of another size */
static void queue_set_ring(DpNic *nic, unsigned queue, unsigned size)
{
    DpQueue *q = &nic->queue[queue];
    DpQueue old = *q;

    dp_ring_destroy(q);
    q->pci = old.pci;
    q->guest = old.guest;
    q->packed = old.packed;
    q->in_order = old.in_order;
    q->pci.vq.size = size;
    dp_ring_init(q, 0);
    queue_write(nic, queue, VIRTIO_PCI_COMMON_Q_SIZE, size);
    nic->vdev->bus->set_queue_address(nic->vdev, &q->pci.vq);
}

static void queue_restart(DpNic *nic, unsigned queue, unsigned size)
{
    queue_set_ring(nic, queue, size);
    queue_enable(nic, queue);
}

/* ---- What all tests need ---- */

static void check_state(DpRig *r, unsigned queue, const char *want)
{
    g_autofree char *state = dp_queue_state(r->qts, "vd0", queue);

    g_assert_cmpstr(state, ==, want);
}

static void check_queue(DpRig *r, unsigned queue, unsigned seed)
{
    if (queue == DP_RX) {
        dp_check_receive(r->nic, r->sock, 300, seed);
    } else {
        dp_check_transmit(r->nic, r->sock, 300, seed);
    }
}

static void check_works(DpRig *r)
{
    unsigned i;

    for (i = 0; i < 3; i++) {
        check_queue(r, DP_TX, i);
        check_queue(r, DP_RX, 10 + i);
    }
    check_state(r, DP_RX, "running");
    check_state(r, DP_TX, "running");
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* Make available what the device may take from this queue */
static void offer(DpRig *r, unsigned queue)
{
    DpQueue *q = &r->nic->queue[queue];
    DpBuf buf = { .len = 2048, .write = queue == DP_RX };

    buf.addr = dp_alloc(r->guest, buf.len);
    memset(dp_host(r->guest, buf.addr), 0, buf.len);
    dp_add(q, &buf, 1);
    dp_publish(q);
}

/* ---- Tests ---- */

/*
 * A frame that came while there was no receive queue is in the host's queue
 * and is delivered now, or it was read already and is a counted drop.  @total:
 * frames ever, with this one.
 */
static void receive_late(DpRig *r, size_t len, unsigned total)
{
    uint64_t delivered = dp_counter(r->qts, "vd0", DP_RX, "packets");
    size_t got;

    dp_post(r->nic, 1, 2048);
    dp_wait_until(dp_counter(r->qts, "vd0", DP_RX, "packets") +
                  dp_counter(r->qts, "vd0", DP_RX, "drop:stopped") == total);
    if (dp_counter(r->qts, "vd0", DP_RX, "packets") > delivered) {
        got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, got, r->frame, len);
    }
}

/* 2.6.1.1: after the reset the device does not touch the ring */
static void test_one_queue(const void *opaque)
{
    unsigned queue = GPOINTER_TO_UINT(opaque);
    DpRig *r = dp_rig_new(FEATURES);
    DpQueue *q = &r->nic->queue[queue];
    size_t size = q->packed ? DP_RING_SIZE * sizeof(*q->ring.pdesc) +
                              2 * sizeof(*q->ring.driver_event) :
                              qvring_size(DP_RING_SIZE, 4096);
    uint8_t *ring = dp_host(r->guest, q->pci.vq.desc);
    g_autofree uint8_t *before = g_malloc(size);
    unsigned i;

    check_works(r);
    queue_reset(r->nic, queue);
    check_state(r, queue, "stopped");
    check_state(r, !queue, "running");

    /* The driver may do with its memory what it likes */
    offer(r, queue);
    dp_kick(q);
    memcpy(before, ring, size);
    for (i = 0; i < 5; i++) {
        check_queue(r, !queue, 20 + i);
    }
    dp_make_frame(r->frame, 100, 1);
    if (queue == DP_RX) {
        dp_sock_send(r->sock, NULL, r->frame, 100);
    }
    g_usleep(DP_QUIET_US);
    g_assert_cmpmem(before, size, ring, size);

    /* 2.6.1.2: another size, other addresses, and from the beginning */
    queue_restart(r->nic, queue, 16);
    if (queue == DP_RX) {
        receive_late(r, 100, 4);
    }
    for (i = 0; i < 40; i++) {
        check_queue(r, queue, 40 + i);
        check_queue(r, !queue, 80 + i);
    }
    check_works(r);
    dp_rig_free(r);
}

/* Again and again, with frames on their way */
static void test_under_traffic(const void *opaque)
{
    unsigned queue = GPOINTER_TO_UINT(opaque);
    DpRig *r = dp_rig_new(FEATURES);
    unsigned i, j;

    for (i = 0; i < 30; i++) {
        for (j = 0; j < 12; j++) {
            offer(r, queue);
            if (queue == DP_RX) {
                dp_make_frame(r->frame, 200, j);
                dp_sock_send(r->sock, NULL, r->frame, 200);
            }
        }
        queue_reset(r->nic, queue);
        check_queue(r, !queue, i);
        queue_restart(r->nic, queue, i % 2 ? DP_RING_SIZE : 16);
        g_assert_false(dp_has_used(&r->nic->queue[queue]));
    }
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    check_state(r, queue, "running");
    dp_rig_free(r);
}

/* At odd times: nothing happens, or the queue starts with the device */
static void test_odd_times(const void *opaque)
{
    DpRig *r = dp_rig_new(FEATURES);
    unsigned i;

    dp_nic_reset(r->nic);
    for (i = DP_RX; i <= DP_TX; i++) {
        /* Never set up; before the features are chosen */
        queue_reset(r->nic, i);
    }
    dp_nic_start(r->nic, FEATURES);
    check_works(r);
    for (i = DP_RX; i <= DP_TX; i++) {
        queue_reset(r->nic, i);
        queue_reset(r->nic, i);
    }
    dp_nic_reset(r->nic);
    queue_reset(r->nic, DP_TX);
    dp_rig_restart(r);
    check_works(r);

    /* With the link down vhost does not run */
    queue_reset(r->nic, DP_RX);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link', 'arguments':"
                             " { 'name': 'nic', 'up': false } }");
    queue_reset(r->nic, DP_RX);
    queue_reset(r->nic, DP_TX);
    queue_restart(r->nic, DP_TX, 32);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link', 'arguments':"
                             " { 'name': 'nic', 'up': true } }");
    dp_wait_until(dp_nic_link(r->nic));
    check_state(r, DP_RX, "stopped");
    check_queue(r, DP_TX, 1);
    queue_restart(r->nic, DP_RX, 32);
    check_works(r);

    /* The VM stops with a queue that is reset */
    queue_reset(r->nic, DP_TX);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
    check_state(r, DP_TX, "stopped");
    queue_restart(r->nic, DP_TX, 64);
    check_works(r);
    dp_rig_free(r);
}

/* 4.1.4.3.2: the driver must not change a queue that is enabled */
static void test_enabled_queue_is_fixed(const void *opaque)
{
    unsigned queue = GPOINTER_TO_UINT(opaque);
    DpRig *r = dp_rig_new(FEATURES);
    DpQueue *q = &r->nic->queue[queue];
    QVirtQueue other = q->pci.vq;
    unsigned sizes[] = { 2, 1024 };
    unsigned i;

    check_works(r);
    other.desc = dp_alloc(r->guest, 32 * 1024);
    other.avail = other.desc + 16 * 1024;
    other.used = other.avail + 4096;
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        queue_write(r->nic, queue, VIRTIO_PCI_COMMON_Q_SIZE, sizes[i]);
        check_works(r);
        r->nic->vdev->bus->set_queue_address(r->nic->vdev, &other);
        queue_enable(r->nic, queue);
        check_works(r);
    }
    other.desc = 0;
    queue_write(r->nic, queue, VIRTIO_PCI_COMMON_Q_SIZE, 2);
    r->nic->vdev->bus->set_queue_address(r->nic->vdev, &other);
    queue_enable(r->nic, queue);
    check_works(r);

    /* The ring's end is where it was for those who stop and start it */
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
    check_works(r);
    dp_rig_restart(r);
    check_works(r);
    dp_rig_free(r);
}

static void test_late_enable(const void *opaque)
{
    DpRig *r = dp_rig_new(FEATURES);

    /* The device starts without its queues ... */
    dp_nic_reset(r->nic);
    qvirtio_set_features(r->nic->vdev, r->nic->features);
    qvirtio_set_driver_ok(r->nic->vdev);
    check_state(r, DP_RX, "stopped");
    check_state(r, DP_TX, "stopped");
    /* ... and they come one by one */
    queue_restart(r->nic, DP_TX, 64);
    check_queue(r, DP_TX, 1);
    queue_restart(r->nic, DP_RX, 64);
    check_works(r);
    dp_rig_free(r);
}

typedef struct BadRing {
    const char *name;
    unsigned size;
    uint64_t desc, avail, used;         /* added to the address */
} BadRing;

/* Section 2.7: a split queue's is a power of 2 */
static const BadRing bad_size = { .name = "size", .size = 3 };

static const BadRing bad_rings[] = {
    { .name = "no-ram", .size = 64, .desc = DP_GPA_UNMAPPED },
    { .name = "no-ram-used", .size = 64, .used = DP_GPA_UNMAPPED },
    { .name = "not-aligned", .size = 64, .avail = 1 },
};

static void set_bad_ring(DpRig *r, unsigned queue, const BadRing *bad)
{
    QVirtQueue vq;

    queue_set_ring(r->nic, queue, bad->size);
    vq = r->nic->queue[queue].pci.vq;
    vq.desc += bad->desc;
    vq.avail += bad->avail;
    vq.used += bad->used;
    r->nic->vdev->bus->set_queue_address(r->nic->vdev, &vq);
}

/* A queue that cannot be started again: the device is to be reset (2.1.1) */
static void test_bad_ring(const void *opaque)
{
    const BadRing *bad = opaque;
    DpRig *r = dp_rig_new(FEATURES);
    unsigned queue;

    for (queue = DP_RX; queue <= DP_TX; queue++) {
        check_works(r);
        queue_reset(r->nic, queue);
        set_bad_ring(r, queue, bad);
        queue_enable(r->nic, queue);
        g_assert_true(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
        check_state(r, queue, "stopped");
        check_queue(r, !queue, 1);
        /* Again, and off */
        queue_enable(r->nic, queue);
        queue_reset(r->nic, queue);
        check_queue(r, !queue, 2);
        dp_rig_restart(r);
    }
    check_works(r);
    dp_rig_free(r);
}

/* A start that fails: no data path until the driver starts anew */
static void test_failed_start(const void *opaque)
{
    const BadRing *bad = opaque;
    DpRig *r = dp_rig_new(FEATURES);
    unsigned queue;

    for (queue = DP_RX; queue <= DP_TX; queue++) {
        dp_nic_reset(r->nic);
        qvirtio_set_features(r->nic->vdev, r->nic->features);
        set_bad_ring(r, queue, bad);
        queue_enable(r->nic, queue);
        queue_restart(r->nic, !queue, 64);
        qvirtio_set_driver_ok(r->nic->vdev);
        check_state(r, DP_RX, "stopped");
        check_state(r, DP_TX, "stopped");
        offer(r, !queue);
        dp_kick(&r->nic->queue[!queue]);
        dp_kick(&r->nic->queue[queue]);
        queue_reset(r->nic, !queue);
        queue_reset(r->nic, queue);
        dp_rig_restart(r);
        dp_wait_until(dp_nic_link(r->nic));
        check_works(r);
    }
    dp_rig_free(r);
}

/* A descriptor of no bytes: the queue stops */
static void break_queue(DpRig *r, unsigned queue)
{
    DpQueue *q = &r->nic->queue[queue];
    DpBuf bad = { DP_GPA_UNMAPPED, 0, queue % 2 == DP_RX };
    uint64_t n = dp_counter(r->qts, "vd0", queue, "violation:zero-length");

    dp_add(q, &bad, 1);
    dp_publish(q);
    if (queue % 2 == DP_RX) {
        dp_make_frame(r->frame, 100, 1);
        dp_sock_send(r->sock, NULL, r->frame, 100);
    }
    dp_wait_counter(r->qts, "vd0", queue, "violation:zero-length", n + 1);
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    check_state(r, queue, "broken");
}

/*
 * 2.6.1: the driver takes the ring back, with the error that is in it.  That
 * was all that the device needed to be reset for (2.1).
 */
static void test_violation(const void *opaque)
{
    unsigned queue = GPOINTER_TO_UINT(opaque);
    DpRig *r = dp_rig_new(FEATURES);
    unsigned i;

    for (i = 0; i < 3; i++) {
        check_works(r);
        break_queue(r, queue);
        queue_reset(r->nic, queue);
        check_state(r, queue, "stopped");
        g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
        queue_restart(r->nic, queue, i ? 64 : DP_RING_SIZE);
    }
    check_works(r);

    /* Both: the device is in error until neither is */
    break_queue(r, !queue);
    break_queue(r, queue);
    queue_reset(r->nic, queue);
    queue_restart(r->nic, queue, 64);
    check_queue(r, queue, 1);
    g_assert_true(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    queue_reset(r->nic, !queue);
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    queue_restart(r->nic, !queue, 64);
    check_works(r);
    dp_rig_free(r);
}

static void stop_and_cont(DpRig *r)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
}

static void set_link(DpRig *r, bool up)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link', 'arguments':"
                             " { 'name': 'nic', 'up': %i } }", up);
    dp_wait_until(dp_nic_link(r->nic) == up);
}

/* The first descriptor of the ring becomes one that could be served */
static void mend_descriptor(DpQueue *q)
{
    uint64_t addr = dp_alloc(q->guest, 2048);

    if (q->packed) {
        q->ring.pdesc[0].addr = cpu_to_le64(addr);
        q->ring.pdesc[0].len = cpu_to_le32(2048);
    } else {
        q->ring.desc[0].addr = cpu_to_le64(addr);
        q->ring.desc[0].len = cpu_to_le32(2048);
    }
}

/* What the driver broke stays so until a reset, as after virtio_error() */
static void check_stays_broken(DpRig *r, unsigned queue)
{
    uint8_t status = dp_nic_status(r->nic);
    unsigned i;

    mend_descriptor(&r->nic->queue[queue]);
    for (i = 0; i < 3; i++) {
        if (i == 1 && queue == DP_RX) {
            /* virtio.c serves the other one meanwhile */
            set_link(r, false);
            set_link(r, true);
        } else {
            stop_and_cont(r);
        }
        dp_kick(&r->nic->queue[queue]);
        g_usleep(DP_QUIET_US);
        check_state(r, queue, "broken");
        check_state(r, !queue, "running");
        g_assert_cmphex(dp_nic_status(r->nic), ==, status);
        g_assert_false(dp_has_used(&r->nic->queue[queue]));
        dp_wait_counter(r->qts, "vd0", queue, "violation:zero-length", 1);
        check_queue(r, !queue, i);
    }
}

static void test_broken_stays(const void *opaque)
{
    unsigned queue = GPOINTER_TO_UINT(opaque);
    DpRig *r = dp_rig_new(FEATURES);

    break_queue(r, queue);
    check_stays_broken(r, queue);
    queue_reset(r->nic, queue);
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    queue_restart(r->nic, queue, 64);
    check_works(r);

    /* The same, but the device is reset; and while it does not run */
    break_queue(r, queue);
    stop_and_cont(r);
    dp_rig_restart(r);
    check_works(r);
    break_queue(r, DP_RX);
    set_link(r, false);
    queue_reset(r->nic, DP_RX);
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    queue_restart(r->nic, DP_RX, 64);
    set_link(r, true);
    check_works(r);
    dp_rig_free(r);
}

/* A legacy driver is not told, and can reset the device only */
static void test_broken_stays_legacy(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "disable-legacy=off,disable-modern=on",
    }, false);
    DpBuf bad = { DP_GPA_UNMAPPED, 0 };

    dp_add(r->tx, &bad, 1);
    dp_publish(r->tx);
    dp_wait_counter(r->qts, "vd0", DP_TX, "violation:zero-length", 1);
    check_stays_broken(r, DP_TX);
    dp_rig_restart(r);
    check_works(r);
    dp_rig_free(r);
}

/*
 * The memory under a ring is replaced by other memory.  The queue goes on
 * there, and to one that was reset it does not matter.
 */
static void test_ring_memory_replaced(const void *opaque)
{
    /* BARs may be there on each machine, and dp_nic_new() puts none there */
    const uint64_t first = 0x20000000, second = 0x28000000;
    DpGuest *guest = dp_guest_new(
        DP_NETDEV DP_DEVICE "disable-legacy=on "
        "-object memory-backend-ram,id=m0,size=1M "
        "-object memory-backend-ram,id=m1,size=1M "
        "-device ivshmem-plain,memdev=m0,addr=05.0 "
        "-device ivshmem-plain,memdev=m1,addr=06.0");
    DpNic *nic = dp_nic_new(guest, DP_SLOT, FEATURES);
    QPCIDevice *dev[2];
    QVirtQueue vq;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(dev); i++) {
        dev[i] = qpci_device_find(guest->bus, QPCI_DEVFN(5 + i, 0));
        g_assert_nonnull(dev[i]);
        qpci_config_writel(dev[i], PCI_BASE_ADDRESS_2, i ? second : first);
        qpci_device_enable(dev[i]);
    }
    queue_reset(nic, DP_RX);
    queue_set_ring(nic, DP_RX, 64);
    vq = nic->queue[DP_RX].pci.vq;
    vq.desc = first;
    vq.avail = first + 4096;
    vq.used = first + 8192;
    nic->vdev->bus->set_queue_address(nic->vdev, &vq);
    queue_enable(nic, DP_RX);
    g_assert_false(dp_nic_status(nic) & VIRTIO_CONFIG_S_NEEDS_RESET);

    for (i = 0; i < 2; i++) {
        /* One on top of the other, and back */
        qpci_config_writel(dev[1], PCI_BASE_ADDRESS_2, first);
        qpci_config_writel(dev[0], PCI_BASE_ADDRESS_2, second);
        g_free(dp_queue_state(guest->qts, "vd0", DP_RX));
        qpci_config_writel(dev[0], PCI_BASE_ADDRESS_2, first);
        qpci_config_writel(dev[1], PCI_BASE_ADDRESS_2, second);
        /* Again, with a ring that vhost.c remembers, and nobody uses */
        queue_reset(nic, DP_RX);
    }
    g_assert_false(dp_nic_status(nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    g_free(dev[0]);
    g_free(dev[1]);
    dp_nic_free(nic);
    dp_guest_free(guest);
}

/* The other queue pairs go on, too, also when one is broken */
static void test_other_pairs(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = DP_FEATURE(VIRTIO_F_RING_RESET), .pairs = 4 }, false);
    unsigned i, pair;

    break_queue(r, 2 + DP_TX);
    break_queue(r, 6 + DP_TX);
    queue_reset(r->nic, 6 + DP_TX);
    queue_restart(r->nic, 6 + DP_TX, 32);
    g_assert_true(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    dp_check_transmit_on(r->nic, 3, r->sock, 300, 1);
    queue_reset(r->nic, 2 + DP_TX);
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    queue_restart(r->nic, 2 + DP_TX, 32);

    for (i = 0; i < 8; i++) {
        queue_reset(r->nic, i);
        for (pair = 0; pair < 4; pair++) {
            if (2 * pair + DP_TX != i) {
                dp_check_transmit_on(r->nic, pair, r->sock, 300, pair);
            }
        }
        check_state(r, i, "stopped");
        queue_restart(r->nic, i, 32);
        check_state(r, i, "running");
    }
    for (pair = 0; pair < 4; pair++) {
        dp_check_transmit_on(r->nic, pair, r->sock, 300, pair);
    }
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    dp_rig_free(r);
}

static void add_for_each_queue(const char *name, void (*fn)(const void *))
{
    g_autofree char *rx = g_strdup_printf("reset/%s/rx", name);
    g_autofree char *tx = g_strdup_printf("reset/%s/tx", name);

    dp_add_ring_test(rx, GUINT_TO_POINTER(DP_RX), fn);
    dp_add_ring_test(tx, GUINT_TO_POINTER(DP_TX), fn);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    add_for_each_queue("one-queue", test_one_queue);
    add_for_each_queue("under-traffic", test_under_traffic);
    add_for_each_queue("enabled-queue-is-fixed", test_enabled_queue_is_fixed);
    add_for_each_queue("violation", test_violation);
    add_for_each_queue("broken-stays", test_broken_stays);
    dp_add_split_test("reset/broken-stays/legacy", NULL,
                      test_broken_stays_legacy);
    dp_add_ring_test("reset/other-pairs", NULL, test_other_pairs);
    dp_add_ring_test("reset/odd-times", NULL, test_odd_times);
    dp_add_ring_test("reset/late-enable", NULL, test_late_enable);
    dp_add_test("reset/ring-memory-replaced", NULL, test_ring_memory_replaced);
    for (i = 0; i < ARRAY_SIZE(bad_rings); i++) {
        g_autofree char *again = g_strdup_printf("reset/bad-ring/%s",
                                                 bad_rings[i].name);
        g_autofree char *first = g_strdup_printf("reset/failed-start/%s",
                                                 bad_rings[i].name);

        dp_add_ring_test(again, &bad_rings[i], test_bad_ring);
        dp_add_ring_test(first, &bad_rings[i], test_failed_start);
    }
    dp_add_test("reset/bad-ring/size", &bad_size, test_bad_ring);
    dp_add_test("reset/failed-start/size", &bad_size, test_failed_start);
    return g_test_run();
}
