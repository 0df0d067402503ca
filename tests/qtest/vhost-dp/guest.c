/*
 * vhost-dp: qtests, the guest's side of a virtio-net device
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qlist.h"
#include "libqos/malloc-pc.h"
#include "libqos/pci-pc.h"
#include "standard-headers/linux/virtio_pci.h"
#include "guest.h"

/* hw/arm/virt.c: where RAM begins, and a UART */
#define VIRT_RAM_AT 0x40000000
#define VIRT_UART   0x09000000
#define PC_IOAPIC   0xfec00000

/* ---- The machine ---- */

static bool is_virt(void)
{
    return !strcmp(qtest_get_arch(), "aarch64");
}

const char *dp_machine(void)
{
    return getenv("VHOST_DP_QTEST_MACHINE") ?: is_virt() ? "virt" : "pc";
}

QTestState *dp_qemu_new(const char *var)
{
    g_autofree char *args = g_strdup_printf("-M %s -nodefaults", dp_machine());

    return qtest_init_ext(var, args, NULL, true);
}

uint64_t dp_gpa_not_ram(void)
{
    return is_virt() ? VIRT_UART : PC_IOAPIC;
}

/* Options for RAM from descriptor @fd, in one piece or in two */
static char *ram_options(const char *machine, int fd, bool split)
{
    const unsigned size = DP_RAM_SIZE;

    if (!split) {
        return g_strdup_printf("-M %s,memory-backend=ram "
                               "-object memory-backend-file,id=ram,size=%u,"
                               "share=on,mem-path=/proc/self/fd/%d",
                               machine, size, fd);
    }
    return g_strdup_printf("-M %s -smp 2 "
                           "-object memory-backend-file,id=ram0,size=%u,"
                           "share=on,mem-path=/proc/self/fd/%d "
                           "-object memory-backend-file,id=ram1,size=%u,"
                           "share=on,mem-path=/proc/self/fd/%d,offset=%u "
                           "-numa node,memdev=ram0,cpus=0 "
                           "-numa node,memdev=ram1,cpus=1",
                           machine, size / 2, fd, size / 2, fd, size / 2);
}

static void alloc_new(DpGuest *guest)
{
    if (is_virt()) {
        guest->ram_at = VIRT_RAM_AT;
        alloc_init(&guest->alloc, ALLOC_NO_FLAGS, VIRT_RAM_AT,
                   VIRT_RAM_AT + DP_RAM_SIZE, 4 * KiB);
    } else if (guest->mmio) {
        alloc_init(&guest->alloc, ALLOC_NO_FLAGS, 1 * MiB, DP_RAM_SIZE,
                   4 * KiB);
    } else {
        pc_alloc_init(&guest->alloc, guest->qts, ALLOC_NO_FLAGS);
    }
}

static void bus_new(DpGuest *guest)
{
    if (guest->mmio) {
        return;
    }
    if (is_virt()) {
        qos_create_generic_pcihost(&guest->virt, guest->qts, &guest->alloc);
        guest->bus = &guest->virt.pci.bus;
    } else {
        guest->bus = qpci_new_pc(guest->qts, &guest->alloc);
    }
}

static void bus_free(DpGuest *guest)
{
    if (guest->bus && !is_virt()) {
        qpci_free_pc(guest->bus);
    }
}

/* See VHOST_DP_QTEST_TAP_DRIVER in the header */
static char *choose_driver(const char *options)
{
    const char *driver = getenv("VHOST_DP_QTEST_TAP_DRIVER") ?: "vhost-dp-tap";
    g_auto(GStrv) parts = g_strsplit(options, "vhost-dp-tap,", -1);
    g_autofree char *separator = g_strdup_printf("%s,", driver);

    return g_strjoinv(separator, parts);
}

/* @oob: with out-of-band commands */
DpGuest *dp_guest_new_on(bool mmio, const char *var, const char *options,
                         bool split_ram, bool oob)
{
    const char *machine = mmio && !is_virt() ? "microvm" : dp_machine();
    QList *capabilities = oob ? qlist_new() : NULL;
    DpGuest *guest = g_new0(DpGuest, 1);
    g_autofree char *chosen = choose_driver(options);
    g_autofree char *ram = NULL;
    g_autofree char *args = NULL;

    /* QEMU inherits the descriptor */
    guest->ram_fd = memfd_create("vhost-dp-qtest", 0);
    g_assert_cmpint(guest->ram_fd, >=, 0);
    g_assert_cmpint(ftruncate(guest->ram_fd, DP_RAM_SIZE), ==, 0);
    guest->ram = mmap(NULL, DP_RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                      guest->ram_fd, 0);
    g_assert(guest->ram != MAP_FAILED);

    ram = ram_options(machine, guest->ram_fd, split_ram);
    guest->mmio = mmio;
    guest->packed = dp_test_is_packed();
    args = g_strdup_printf("%s -m 64 -nodefaults "
                           "-global virtio-net-device.packed=%s %s",
                           ram, guest->packed ? "on" : "off", chosen);
    if (oob) {
        qlist_append_str(capabilities, "oob");
    }
    guest->qts = qtest_init_ext(var, args, capabilities, true);
    qobject_unref(capabilities);
    alloc_new(guest);
    bus_new(guest);
    return guest;
}

static DpGuest *guest_new(const char *var, const char *options,
                          bool split_ram, bool oob)
{
    return dp_guest_new_on(false, var, options, split_ram, oob);
}

DpGuest *dp_guest_new_mmio(const char *fmt, ...)
{
    g_autofree char *options = NULL;
    va_list ap;

    va_start(ap, fmt);
    options = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return dp_guest_new_on(true, NULL, options, false, false);
}

DpGuest *dp_guest_new_env(const char *var, const char *options)
{
    return guest_new(var, options, false, false);
}

DpGuest *dp_guest_new(const char *fmt, ...)
{
    g_autofree char *options = NULL;
    va_list ap;

    va_start(ap, fmt);
    options = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return dp_guest_new_env(NULL, options);
}

DpGuest *dp_guest_new_oob(const char *fmt, ...)
{
    g_autofree char *options = NULL;
    va_list ap;

    va_start(ap, fmt);
    options = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return guest_new("QTEST_QEMU_BINARY_DST", options, false, true);
}

void dp_guest_free(DpGuest *guest)
{
    bus_free(guest);
    alloc_destroy(&guest->alloc);
    if (guest->qts) {
        qtest_quit(guest->qts);
    }
    munmap(guest->ram, DP_RAM_SIZE);
    close(guest->ram_fd);
    g_free(guest);
}

uint64_t dp_alloc(DpGuest *guest, size_t size)
{
    return guest_alloc(&guest->alloc, size);
}

void *dp_host(DpGuest *guest, uint64_t gpa)
{
    if (gpa - guest->more_at < guest->more_size) {
        return guest->more + (gpa - guest->more_at);
    }
    g_assert_cmphex(gpa - guest->ram_at, <, DP_RAM_SIZE);
    return guest->ram + (gpa - guest->ram_at);
}

const char *dp_kvm_options(void)
{
    /* cli, hlt, and back to that, where a CPU begins: 16 bytes from the end */
    static const uint8_t idle[] = { 0xfa, 0xf4, 0xeb, 0xfd };
    static char *options;
    int fd;

    if (strcmp(qtest_get_arch(), "x86_64") || access("/dev/kvm", R_OK | W_OK)) {
        g_test_skip("no KVM");
        return NULL;
    }
    if (!options) {
        /* QEMU inherits it */
        fd = memfd_create("rom", 0);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(ftruncate(fd, 64 * KiB), ==, 0);
        g_assert_cmpint(pwrite(fd, idle, sizeof(idle), 64 * KiB - 16), ==,
                        sizeof(idle));
        options = g_strdup_printf("-accel kvm,kernel-irqchip=split "
                                  "-bios /proc/self/fd/%d", fd);
    }
    return options;
}

void dp_guest_was_reset(DpGuest *guest)
{
    bus_free(guest);
    bus_new(guest);
}

/* ---- The device ---- */

DpNic *dp_nic_probe(DpGuest *guest, unsigned slot)
{
    DpNic *nic = g_new0(DpNic, 1);
    QPCIAddress addr = { .devfn = QPCI_DEVFN(slot, 0) };

    nic->guest = guest;
    nic->slot = slot;
    nic->ring_size = DP_RING_SIZE;
    if (guest->mmio) {
        dp_mmio_probe(nic);
    } else {
        nic->pci = virtio_pci_new(guest->bus, &addr);
        g_assert_nonnull(nic->pci);
        nic->vdev = &nic->pci->vdev;
        qvirtio_pci_device_enable(nic->pci);
    }
    qvirtio_start_device(nic->vdev);
    return nic;
}

static bool pci_is_modern(const DpNic *nic)
{
    return nic->pci && (nic->pci->common_cfg_offset ||
                        nic->pci->notify_off_multiplier);
}

static bool nic_is_modern(const DpNic *nic)
{
    return nic->mmio ? nic->mmio->version > 1 : pci_is_modern(nic);
}

static bool nic_has_msix(const DpNic *nic)
{
    return nic->pci && nic->pci->pdev->msix_enabled;
}

/* A 16-bit register of the common configuration (virtio 1.3, 4.1.4.3) */
static uint64_t common_offset(DpNic *nic, size_t offset)
{
    g_assert_true(pci_is_modern(nic));
    return nic->pci->common_cfg_offset + offset;
}

static void common_write(DpNic *nic, size_t offset, uint16_t value)
{
    qpci_io_writew(nic->pci->pdev, nic->pci->bar, common_offset(nic, offset),
                   value);
}

static uint16_t common_read(DpNic *nic, size_t offset)
{
    return qpci_io_readw(nic->pci->pdev, nic->pci->bar,
                         common_offset(nic, offset));
}

static void queue_free(DpQueue *q)
{
    if (q->chain) {
        dp_ring_destroy(q);
    }
}

/*
 * libqos initialises rings one word at a time, through QEMU, which takes a
 * while; it does not choose their size, and it has no packed ones.
 */
static void queue_setup(DpNic *nic, unsigned index)
{
    DpQueue *q = &nic->queue[index];
    QVirtQueue *vq = &q->pci.vq;
    QVirtioDevice *d = nic->vdev;

    queue_free(q);
    q->guest = nic->guest;
    q->packed = nic->features & DP_FEATURE(VIRTIO_F_RING_PACKED);
    q->in_order = nic->features & DP_FEATURE(VIRTIO_F_IN_ORDER);
    d->bus->queue_select(d, index);
    vq->vdev = d;
    vq->index = index;
    vq->size = d->bus->get_queue_size(d);
    vq->event = nic->features & DP_FEATURE(VIRTIO_RING_F_EVENT_IDX);
    vq->indirect = nic->features & DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
    q->pci.msix_entry = -1;
    q->pci.msix_data = 0x12345678;
    if (pci_is_modern(nic)) {
        vq->size = nic->ring_size;
        common_write(nic, VIRTIO_PCI_COMMON_Q_SIZE, vq->size);
    } else if (nic->mmio) {
        vq->size = nic->ring_size;
        dp_mmio_set_queue_size(nic, vq->size);
    }
    dp_ring_init(q, nic->ring_at[index]);
    d->bus->set_queue_address(d, vq);

    if (pci_is_modern(nic)) {
        uint16_t off = common_read(nic, VIRTIO_PCI_COMMON_Q_NOFF);

        q->pci.notify_offset = nic->pci->notify_cfg_offset +
                               off * nic->pci->notify_off_multiplier;
    }
    if (nic_has_msix(nic)) {
        qvirtqueue_pci_msix_setup(nic->pci, &q->pci, &nic->guest->alloc,
                                  1 + index);
        stl_le_p(dp_host(nic->guest, q->pci.msix_addr), 0);
    }
    if (pci_is_modern(nic)) {
        common_write(nic, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
    } else if (nic->mmio) {
        dp_mmio_enable_queue(nic);
    }
}

void dp_queue_reset(DpNic *nic, unsigned queue)
{
    g_assert_true(nic->features & DP_FEATURE(VIRTIO_F_RING_RESET));
    nic->vdev->bus->queue_select(nic->vdev, queue);
    g_assert_cmpuint(common_read(nic, VIRTIO_PCI_COMMON_Q_ENABLE), ==, 1);
    common_write(nic, VIRTIO_PCI_COMMON_Q_RESET, 1);
    /* The device may take its time; then neither is set */
    dp_wait_until(!common_read(nic, VIRTIO_PCI_COMMON_Q_RESET));
    g_assert_cmpuint(common_read(nic, VIRTIO_PCI_COMMON_Q_ENABLE), ==, 0);
}

void dp_queue_restart(DpNic *nic, unsigned queue)
{
    queue_setup(nic, queue);
}

void dp_nic_use_msix(DpNic *nic)
{
    qpci_msix_enable(nic->pci->pdev);
}

/* A reset of the device forgets all vectors */
static void config_vector_setup(DpNic *nic)
{
    qvirtio_pci_set_msix_configuration_vector(nic->pci, &nic->guest->alloc, 0);
    stl_le_p(dp_host(nic->guest, nic->pci->config_msix_addr), 0);
}

void dp_nic_start(DpNic *nic, uint64_t features)
{
    uint64_t offered = qvirtio_get_features(nic->vdev);
    unsigned i;

    if (!nic_is_modern(nic)) {
        features &= ~DP_FEATURE(VIRTIO_F_VERSION_1);
    }
    if (nic->guest->packed && (features & DP_FEATURE(VIRTIO_F_VERSION_1))) {
        features |= DP_FEATURE(VIRTIO_F_RING_PACKED);
    }
    g_assert_cmphex(features & ~offered, ==, 0);
    qvirtio_set_features(nic->vdev, features);
    nic->features = features;
    nic->hdr_len = features & DP_FEATURE(VIRTIO_NET_F_HASH_REPORT) ?
                   sizeof(struct virtio_net_hdr_v1_hash) :
                   features & (DP_FEATURE(VIRTIO_F_VERSION_1) |
                               DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF)) ?
                   sizeof(struct virtio_net_hdr_v1) :
                   sizeof(struct virtio_net_hdr);
    if (nic_has_msix(nic)) {
        config_vector_setup(nic);
    }
    nic->max_pairs = features & DP_FEATURE(VIRTIO_NET_F_MQ) ?
                     qvirtio_config_readw(nic->vdev,
                         offsetof(struct virtio_net_config,
                                  max_virtqueue_pairs)) : 1;
    g_assert_cmpuint(nic->max_pairs, <=, DP_MAX_PAIRS);
    if (nic->late) {
        qvirtio_set_driver_ok(nic->vdev);
    }
    for (i = 0; i < 2 * nic->max_pairs; i++) {
        queue_setup(nic, i);
    }
    nic->ctrl = NULL;
    if (features & DP_FEATURE(VIRTIO_NET_F_CTRL_VQ)) {
        queue_setup(nic, i);
        nic->ctrl = &nic->queue[i];
    }
    if (!nic->late) {
        qvirtio_set_driver_ok(nic->vdev);
    }
}

DpNic *dp_nic_new(DpGuest *guest, unsigned slot, uint64_t features)
{
    DpNic *nic = dp_nic_probe(guest, slot);

    dp_nic_start(nic, features);
    return nic;
}

/* Back to where dp_nic_probe() left it */
void dp_nic_reset(DpNic *nic)
{
    qvirtio_start_device(nic->vdev);
}

void dp_nic_free(DpNic *nic)
{
    unsigned i;

    for (i = 0; i < DP_MAX_QUEUES; i++) {
        queue_free(&nic->queue[i]);
    }
    if (nic->pci) {
        qvirtio_pci_device_disable(nic->pci);
        g_free(nic->pci->pdev);
    }
    g_free(nic->pci);
    g_free(nic->mmio);
    g_free(nic);
}

uint8_t dp_nic_status(DpNic *nic)
{
    return nic->vdev->bus->get_status(nic->vdev);
}

bool dp_nic_link(DpNic *nic)
{
    return qvirtio_config_readw(nic->vdev,
                                offsetof(struct virtio_net_config, status)) &
           VIRTIO_NET_S_LINK_UP;
}

uint8_t dp_nic_ctrl(DpNic *nic, uint8_t class, uint8_t command,
                    const void *data, size_t len)
{
    uint64_t addr = dp_alloc(nic->guest, 3 + len);
    uint8_t *p = dp_host(nic->guest, addr);
    DpBuf bufs[] = {
        { .addr = addr, .len = 2 + len },
        { .addr = addr + 2 + len, .len = 1, .write = true },
    };
    uint8_t answer;

    g_assert_nonnull(nic->ctrl);
    p[0] = class;
    p[1] = command;
    if (len) {
        memcpy(p + 2, data, len);
    }
    p[2 + len] = 0xff;
    dp_add(nic->ctrl, bufs, ARRAY_SIZE(bufs));
    dp_publish(nic->ctrl);
    dp_wait_used(nic->ctrl, NULL);
    answer = p[2 + len];
    guest_free(&nic->guest->alloc, addr);
    return answer;
}

void dp_nic_set_pairs(DpNic *nic, unsigned n)
{
    uint16_t pairs = cpu_to_le16(n);

    g_assert_cmpint(dp_nic_ctrl(nic, VIRTIO_NET_CTRL_MQ,
                                VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
                                &pairs, sizeof(pairs)), ==, VIRTIO_NET_OK);
}

static bool interrupted(DpGuest *guest, uint64_t addr, uint32_t data)
{
    uint32_t *word = dp_host(guest, addr);

    return qatomic_xchg(word, 0) == cpu_to_le32(data);
}

bool dp_queue_interrupted(DpNic *nic, unsigned queue)
{
    const QVirtQueuePCI *q = &nic->queue[queue].pci;

    return interrupted(nic->guest, q->msix_addr, q->msix_data);
}

bool dp_config_interrupted(DpNic *nic)
{
    return interrupted(nic->guest, nic->pci->config_msix_addr,
                       nic->pci->config_msix_data);
}
