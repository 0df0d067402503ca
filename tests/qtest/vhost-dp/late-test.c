/*
 * vhost-dp: qtests of drivers that do things late, or once more
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A driver is to set up its virtqueues before DRIVER_OK (virtio 1.3, 3.1.1).
 * Some legacy drivers do it after that, and on every transport a driver can:
 * such a queue begins when it gets its ring.  What was negotiated, on the other
 * hand, is fixed from then on until the next reset.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_pci.h"
#include "transports.h"

static uint64_t transport_features(const DpTransport *t)
{
    return t->modern ? DP_FEATURES_DEFAULT
                     : DP_FEATURES_DEFAULT & ~DP_FEATURE(VIRTIO_F_VERSION_1);
}

static DpRig *rig_new(const DpTransport *t, DpSetup setup)
{
    setup.device = t->device;
    setup.more = t->more;
    setup.mmio = t->mmio;
    setup.bare = true;
    setup.features |= transport_features(t);
    return dp_rig_start(&setup, false);
}

static void set_link(DpRig *r, bool up)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link', 'arguments':"
                             " { 'name': 'nic', 'up': %i } }", up);
    dp_wait_until(dp_nic_link(r->nic) == up);
}

static void stop_and_cont(DpRig *r)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
}

static bool comes_soon(DpQueue *q)
{
    int64_t end = g_get_monotonic_time() + DP_QUIET_US;

    while (!dp_has_used(q) && g_get_monotonic_time() < end) {
        g_usleep(100);
    }
    return dp_has_used(q);
}

/*
 * With several queues, the kernel gives a frame to the one that was last sent
 * on.  It may learn of that after the frame is here already.
 */
static void check_receive(DpRig *r, unsigned seed)
{
    size_t len;

    if (r->pairs == 1) {
        dp_check_receive(r->nic, r->sock, 300, seed);
        return;
    }
    dp_post(r->nic, 1, 2048);
    do {
        dp_check_transmit(r->nic, r->sock, 300, seed);
        dp_make_frame(r->frame, 300, seed);
        dp_sock_send(r->sock, NULL, r->frame, 300);
    } while (!comes_soon(r->rx));
    len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    g_assert_cmpuint(len, ==, 300);
}

static void check_works(DpRig *r)
{
    unsigned i;

    for (i = 0; i < 3; i++) {
        dp_check_transmit(r->nic, r->sock, 300, i);
        check_receive(r, 10 + i);
    }
    for (i = 1; i < r->pairs; i++) {
        dp_check_transmit_on(r->nic, i, r->sock, 300, 20 + i);
    }
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* ---- Rings that come late ---- */

static void test_rings(const void *opaque)
{
    DpRig *r = rig_new(opaque, (DpSetup) { .late = true });

    check_works(r);
    stop_and_cont(r);
    check_works(r);
    set_link(r, false);
    set_link(r, true);
    check_works(r);

    /* The next driver is in time, and the one after it is not */
    r->nic->late = false;
    dp_rig_restart(r);
    check_works(r);
    r->nic->late = true;
    dp_rig_restart(r);
    check_works(r);
    qtest_system_reset(r->qts);
    dp_rig_free(r);
}

/* With several queue pairs, and the control queue */
static void test_rings_of_pairs(const void *opaque)
{
    DpRig *r = rig_new(opaque, (DpSetup) { .late = true, .pairs = 3 });

    check_works(r);
    stop_and_cont(r);
    check_works(r);
    dp_rig_restart(r);
    check_works(r);
    dp_rig_free(r);
}

static void negotiate(DpRig *r)
{
    dp_nic_reset(r->nic);
    qvirtio_set_features(r->nic->vdev, r->nic->features);
    qvirtio_set_driver_ok(r->nic->vdev);
}

/* They come while vhost does not run, or never */
static void test_rings_without_link(const void *opaque)
{
    DpRig *r = rig_new(opaque, (DpSetup) { .late = true });

    negotiate(r);
    stop_and_cont(r);
    set_link(r, false);
    dp_rig_restart(r);
    set_link(r, true);
    check_works(r);

    negotiate(r);
    set_link(r, false);
    set_link(r, true);
    negotiate(r);
    qtest_system_reset(r->qts);
    dp_rig_free(r);
}

/* Only one of the two, and the device stops: the other one never began */
static void test_one_ring(const void *opaque)
{
    const DpTransport *t = opaque;
    DpRig *r = rig_new(t, (DpSetup) { .late = true });
    unsigned i;

    for (i = DP_RX; i <= DP_TX; i++) {
        negotiate(r);
        dp_queue_restart(r->nic, i);
        if (i == DP_TX) {
            dp_check_transmit(r->nic, r->sock, 300, 1);
        } else {
            dp_check_receive(r->nic, r->sock, 300, 1);
        }
        stop_and_cont(r);
    }
    dp_queue_restart(r->nic, DP_RX);
    check_works(r);
    dp_rig_free(r);
}

/* A ring that cannot be started: QEMU and the other queue go on */
static void test_bad_ring(const void *opaque)
{
    const DpTransport *t = opaque;
    DpRig *r = rig_new(t, (DpSetup) { .late = true });
    QVirtioDevice *d = r->nic->vdev;
    QVirtQueue vq;

    negotiate(r);
    d->bus->queue_select(d, DP_RX);
    vq = r->rx->pci.vq;
    vq.desc = vq.avail = vq.used = DP_GPA_UNMAPPED;
    d->bus->set_queue_address(d, &vq);
    if (t->modern && t->mmio) {
        dp_mmio_enable_queue(r->nic);
    } else if (t->modern) {
        qpci_io_writew(r->nic->pci->pdev, r->nic->pci->bar,
                       r->nic->pci->common_cfg_offset +
                       VIRTIO_PCI_COMMON_Q_ENABLE, 1);
    }
    dp_queue_restart(r->nic, DP_TX);
    dp_check_transmit(r->nic, r->sock, 300, 1);
    if (t->modern) {
        g_assert_true(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    }
    stop_and_cont(r);
    dp_check_transmit(r->nic, r->sock, 300, 2);
    dp_rig_restart(r);
    check_works(r);
    dp_rig_free(r);
}

/* The NIC goes: a request that nobody answered is met by the next reset */
static void test_unplug(const void *opaque)
{
    DpRig *r = rig_new(opaque, (DpSetup) { .late = true });

    check_works(r);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'device_del', 'arguments':"
                             " { 'id': 'nic' } }");
    qtest_system_reset_nowait(r->qts);
    qtest_qmp_eventwait(r->qts, "DEVICE_DELETED");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'netdev_del', 'arguments':"
                             " { 'id': 'vd0' } }");
    dp_rig_free(r);
}

/*
 * A legacy driver chooses the vector of a queue after it has set its ring; the
 * other one chooses again.
 */
static void test_vectors(const void *opaque)
{
    const DpTransport *t = opaque;
    DpRig *r = rig_new(t, (DpSetup) { .late = true, .msix = true });
    unsigned i;

    for (i = 0; i < 2; i++) {
        dp_queue_interrupted(r->nic, DP_TX);
        dp_queue_interrupted(r->nic, DP_RX);
        dp_check_transmit(r->nic, r->sock, 300, 1);
        dp_wait_until(dp_queue_interrupted(r->nic, DP_TX));
        dp_check_receive(r->nic, r->sock, 300, 2);
        dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
        stop_and_cont(r);
    }
    dp_rig_free(r);
}

static void choose_vector(DpRig *r, unsigned queue, uint16_t vector)
{
    r->nic->vdev->bus->queue_select(r->nic->vdev, queue);
    qpci_io_writew(r->nic->pci->pdev, r->nic->pci->bar,
                   r->nic->pci->common_cfg_offset + VIRTIO_PCI_COMMON_Q_MSIX,
                   vector);
}

static void msix_set_enabled(DpRig *r, bool on)
{
    QPCIDevice *dev = r->nic->pci->pdev;
    uint8_t at = qpci_find_capability(dev, PCI_CAP_ID_MSIX, 0);

    qpci_config_writew(dev, at + PCI_MSIX_FLAGS,
                       on ? PCI_MSIX_FLAGS_ENABLE : 0);
}

/*
 * The interrupts of the control queue are not vhost's, so under KVM it has no
 * irqfd that could be moved to another vector.
 */
static void test_control_vector(const void *opaque)
{
    static const uint16_t vectors[] = { 1, 5, VIRTIO_MSI_NO_VECTOR, 0, 5 };
    const char *kvm = dp_kvm_options();
    DpRig *r;
    unsigned i;

    if (!kvm) {
        return;
    }
    r = dp_rig_start(&(DpSetup) { .pairs = 2, .msix = true, .more = kvm },
                     false);
    for (i = 0; i < ARRAY_SIZE(vectors); i++) {
        choose_vector(r, 4, vectors[i]);
        dp_nic_set_pairs(r->nic, 1 + i % 2);
        dp_check_transmit(r->nic, r->sock, 300, i);
    }
    /* Nor has any queue a message to be sent while MSI-X is disabled */
    msix_set_enabled(r, false);
    for (i = 0; i < ARRAY_SIZE(vectors); i++) {
        choose_vector(r, DP_TX, vectors[i]);
        dp_check_transmit(r->nic, r->sock, 300, i);
    }
    msix_set_enabled(r, true);
    choose_vector(r, DP_TX, 2);
    dp_check_transmit(r->nic, r->sock, 300, 1);
    dp_rig_restart(r);
    dp_check_transmit(r->nic, r->sock, 300, 1);
    dp_rig_free(r);
}

/*
 * What an irqfd sends does not go to memory.  Here it is an NMI, which is the
 * one kind of message that a CPU takes without having set its APIC up.
 */
#define NMI_VECTOR  0x8         /* of real mode: IP and CS */
#define NMI_HANDLER 0x600
#define NMI_COUNT   0x700

static void nmi_setup(DpRig *r, unsigned entry)
{
    /* incw %cs:NMI_COUNT; iret */
    static const uint8_t handler[] = {
        0x2e, 0xff, 0x06, NMI_COUNT & 0xff, NMI_COUNT >> 8, 0xcf,
    };
    QPCIDevice *dev = r->nic->pci->pdev;
    uint64_t at = dev->msix_table_off + entry * PCI_MSIX_ENTRY_SIZE;

    memcpy(dp_host(r->guest, NMI_HANDLER), handler, sizeof(handler));
    stl_le_p(dp_host(r->guest, NMI_VECTOR), NMI_HANDLER);
    qpci_io_writel(dev, dev->msix_table_bar, at + PCI_MSIX_ENTRY_LOWER_ADDR,
                   0xfee00000);
    qpci_io_writel(dev, dev->msix_table_bar, at + PCI_MSIX_ENTRY_UPPER_ADDR,
                   0);
    qpci_io_writel(dev, dev->msix_table_bar, at + PCI_MSIX_ENTRY_DATA, 4 << 8);
    qpci_io_writel(dev, dev->msix_table_bar, at + PCI_MSIX_ENTRY_VECTOR_CTRL,
                   0);
}

/* Returns whether it changed */
static bool nmi_counted(DpRig *r)
{
    static uint16_t last;
    uint16_t now = qatomic_read((uint16_t *)dp_host(r->guest, NMI_COUNT));
    bool changed = now != last;

    last = now;
    return changed;
}

/* Both have the vector, and each has an irqfd, whenever they chose it */
static void test_shared_vector(const void *opaque)
{
    const char *kvm = dp_kvm_options();
    const unsigned entry = 3;
    DpRig *r;
    unsigned i;

    if (!kvm) {
        return;
    }
    r = dp_rig_start(&(DpSetup) { .msix = true, .more = kvm }, false);
    nmi_setup(r, entry);
    choose_vector(r, DP_TX, entry);
    dp_check_transmit(r->nic, r->sock, 300, 1);
    g_usleep(DP_QUIET_US);
    if (!nmi_counted(r)) {
        g_test_skip("this KVM's CPU takes no NMI in real mode");
        dp_rig_free(r);
        return;
    }
    dp_rig_restart(r);
    for (i = 0; i < 3; i++) {
        nmi_setup(r, entry);
        if (i == 1) {
            choose_vector(r, DP_RX, entry);
        }
        msix_set_enabled(r, false);
        choose_vector(r, DP_TX, entry);
        choose_vector(r, DP_RX, entry);
        msix_set_enabled(r, true);
        nmi_counted(r);
        dp_check_transmit(r->nic, r->sock, 300, 1);
        dp_wait_until(nmi_counted(r));
        dp_check_receive(r->nic, r->sock, 300, 2);
        dp_wait_until(nmi_counted(r));
        if (i == 1) {
            /* One of them leaves: the other one's stays */
            choose_vector(r, DP_TX, 2);
            dp_check_receive(r->nic, r->sock, 300, 2);
            dp_wait_until(nmi_counted(r));
        }
        dp_rig_restart(r);
    }
    dp_rig_free(r);
}

/* ---- Features ---- */

/* Those of a modern device can be anything, which libqos does not like */
static void set_features(QVirtioPCIDevice *pci, QVirtioDevice *d,
                         uint64_t features)
{
    unsigned i;

    if (!pci || !pci->notify_off_multiplier) {
        d->bus->set_features(d, features);
        return;
    }
    for (i = 0; i < 2; i++) {
        qpci_io_writel(pci->pdev, pci->bar, pci->common_cfg_offset +
                       VIRTIO_PCI_COMMON_GFSELECT, i);
        qpci_io_writel(pci->pdev, pci->bar, pci->common_cfg_offset +
                       VIRTIO_PCI_COMMON_GF, features >> 32 * i);
    }
}

/* What the driver reads back; registers of virtio-mmio cannot be read */
static void check_features(DpRig *r)
{
    if (r->nic->pci) {
        QVirtioDevice *d = r->nic->vdev;

        g_assert_cmphex(d->bus->get_guest_features(d), ==, r->nic->features);
    }
}

static void write_features(DpRig *r, uint64_t features)
{
    set_features(r->nic->pci, r->nic->vdev, features);
    /* Version 2 of virtio-mmio takes them with the status */
    r->nic->vdev->bus->set_status(r->nic->vdev, dp_nic_status(r->nic));
}

/* Virtio 1.3, 2.2.1: they hold from DRIVER_OK to the next reset */
static void test_features_are_fixed(const void *opaque)
{
    const DpTransport *t = opaque;
    DpRig *r = rig_new(t, (DpSetup) { .pairs = 3 });
    uint64_t has = r->nic->features;
    const uint64_t others[] = {
        0, has & ~DP_FEATURE(VIRTIO_NET_F_MQ),
        has ^ DP_FEATURE(VIRTIO_F_RING_PACKED),
        has ^ DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
        has ^ DP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
        has & ~DP_FEATURE(VIRTIO_NET_F_CTRL_VQ),
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(others); i++) {
        write_features(r, others[i]);
        check_features(r);
        check_works(r);
        dp_nic_set_pairs(r->nic, 3);
        stop_and_cont(r);
        check_works(r);
        if (i % 2) {
            /* A reset ends that: another driver may choose others */
            write_features(r, 0);
            r->features ^= DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
            dp_rig_restart(r);
            check_works(r);
        }
    }
    dp_rig_free(r);
}

/* The driver takes DRIVER_OK back, but not its rings, and has new wishes */
static void test_features_without_reset(const void *opaque)
{
    DpRig *r = rig_new(opaque, (DpSetup) { .pairs = 3 });
    QVirtioDevice *d = r->nic->vdev;
    uint8_t status = dp_nic_status(r->nic);
    uint64_t has = r->nic->features;
    const uint64_t others[] = {
        has ^ DP_FEATURE(VIRTIO_F_RING_PACKED),
        has ^ DP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
        has & ~DP_FEATURE(VIRTIO_NET_F_MQ), 0,
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(others); i++) {
        g_test_message("features 0x%" PRIx64, others[i]);
        check_works(r);
        d->bus->set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE |
                              VIRTIO_CONFIG_S_DRIVER);
        set_features(r->nic->pci, d, others[i]);
        if (i == 0 && r->guest->packed && r->nic->pci) {
            /* Rings are of one format, where there are two */
            check_features(r);
        }
        d->bus->set_status(d, status);
        /* What becomes of the rings is the driver's problem */
        dp_kick(r->tx);
        dp_kick(r->rx);
        dp_kick(r->nic->ctrl);
        set_link(r, false);
        dp_kick(r->tx);
        set_link(r, true);
        stop_and_cont(r);
        dp_rig_restart(r);
    }
    check_works(r);
    dp_rig_free(r);
}

/* Features that take virtqueues away which have a ring already */
static void test_deleted_queue(const void *opaque)
{
    const DpTransport *t = opaque;
    DpRig *r = rig_new(t, (DpSetup) { .pairs = 3 });
    QVirtioDevice *d = r->nic->vdev;
    uint64_t all = r->nic->features;
    unsigned i;

    dp_nic_reset(r->nic);
    set_features(r->nic->pci, d, all);
    if (t->modern && t->mmio) {
        /* They take effect with the status, which may be taken back */
        d->bus->set_status(d, VIRTIO_CONFIG_S_FEATURES_OK);
        d->bus->set_status(d, VIRTIO_CONFIG_S_DRIVER);
    }
    for (i = 0; i < 7; i++) {
        dp_queue_restart(r->nic, i);
    }
    set_features(r->nic->pci, d, all & ~DP_FEATURE(VIRTIO_NET_F_MQ));
    d->bus->set_status(d, VIRTIO_CONFIG_S_FEATURES_OK);
    for (i = 0; i < 7; i++) {
        d->bus->queue_select(d, i);
        if (r->nic->mmio) {
            dp_mmio_set_queue_size(r->nic, 2);
        } else if (t->modern) {
            qpci_io_writew(r->nic->pci->pdev, r->nic->pci->bar,
                           r->nic->pci->common_cfg_offset +
                           VIRTIO_PCI_COMMON_Q_SIZE, 2);
        }
    }
    dp_rig_restart(r);
    check_works(r);
    dp_rig_free(r);
}

/* Any device: virtio-rng has no data path of ours */
static void test_features_of_others(const void *opaque)
{
    const bool modern = opaque;
    DpGuest *guest = dp_guest_new("-device virtio-rng-pci,addr=05.0,"
                                  "disable-%s=on,disable-%s=off",
                                  modern ? "legacy" : "modern",
                                  modern ? "modern" : "legacy");
    QPCIAddress addr = { .devfn = QPCI_DEVFN(5, 0) };
    QVirtioPCIDevice *dev = virtio_pci_new(guest->bus, &addr);
    QVirtioDevice *d;
    uint64_t features;
    unsigned i;

    g_assert_nonnull(dev);
    d = &dev->vdev;
    qvirtio_pci_device_enable(dev);
    for (i = 0; i < 2; i++) {
        qvirtio_start_device(d);
        features = d->bus->get_features(d) &
                   (DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
                    (i ? DP_FEATURE(VIRTIO_RING_F_EVENT_IDX) : 0));
        /* Legacy drivers may change their mind until DRIVER_OK */
        set_features(dev, d, 0);
        set_features(dev, d, features);
        g_assert_cmphex(d->bus->get_guest_features(d), ==, features);
        d->bus->set_status(d, d->bus->get_status(d) |
                              VIRTIO_CONFIG_S_DRIVER_OK);
        set_features(dev, d, 0);
        g_assert_cmphex(d->bus->get_guest_features(d), ==, features);
    }
    qvirtio_pci_device_disable(dev);
    g_free(dev->pdev);
    g_free(dev);
    dp_guest_free(guest);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < DP_NTRANSPORTS; i++) {
        const DpTransport *t = &dp_transports[i];

        dp_add_transport_test("late/rings", t, test_rings);
        dp_add_transport_test("late/rings-of-pairs", t, test_rings_of_pairs);
        dp_add_transport_test("late/rings-without-link", t,
                              test_rings_without_link);
        dp_add_transport_test("late/one-ring", t, test_one_ring);
        dp_add_transport_test("late/bad-ring", t, test_bad_ring);
        dp_add_transport_test("late/features-are-fixed", t,
                              test_features_are_fixed);
        dp_add_transport_test("late/features-without-reset", t,
                              test_features_without_reset);
        dp_add_transport_test("late/deleted-queue", t, test_deleted_queue);
        if (!t->mmio) {
            dp_add_transport_test("late/vectors", t, test_vectors);
            dp_add_transport_test("late/unplug", t, test_unplug);
        }
    }
    dp_add_test("late/control-vector", NULL, test_control_vector);
    dp_add_test("late/shared-vector", NULL, test_shared_vector);
    dp_add_test("late/features-of-others/legacy", NULL,
                test_features_of_others);
    dp_add_test("late/features-of-others/modern", (void *)true,
                test_features_of_others);
    return g_test_run();
}
