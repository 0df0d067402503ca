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
static DpGuest *guest_new_on(bool mmio, const char *var, const char *options,
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
    return guest_new_on(false, var, options, split_ram, oob);
}

DpGuest *dp_guest_new_mmio(const char *fmt, ...)
{
    g_autofree char *options = NULL;
    va_list ap;

    va_start(ap, fmt);
    options = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return guest_new_on(true, NULL, options, false, false);
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
    nic->hdr_len = features & (DP_FEATURE(VIRTIO_F_VERSION_1) |
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

/* ---- Frames ---- */

void dp_transmit_on(DpNic *nic, unsigned pair,
                    const struct virtio_net_hdr *hdr, const void *frame,
                    size_t len)
{
    DpQueue *q = &nic->queue[2 * pair + DP_TX];
    DpBuf buf = { .len = nic->hdr_len + len };
    uint8_t *p;
    uint16_t id;

    buf.addr = dp_alloc(nic->guest, buf.len);
    p = dp_host(nic->guest, buf.addr);
    memset(p, 0, nic->hdr_len);
    if (hdr) {
        memcpy(p, hdr, sizeof(*hdr));
    }
    memcpy(p + nic->hdr_len, frame, len);
    id = dp_add(q, &buf, 1);
    dp_publish(q);
    g_assert_cmpuint(dp_wait_used(q, NULL), ==, id);
    guest_free(&nic->guest->alloc, buf.addr);
}

void dp_transmit(DpNic *nic, const struct virtio_net_hdr *hdr,
                 const void *frame, size_t len)
{
    dp_transmit_on(nic, 0, hdr, frame, len);
}

void dp_check_transmit_on(DpNic *nic, unsigned pair, int sock, size_t len,
                          unsigned seed)
{
    g_autofree uint8_t *frame = g_malloc(len);
    g_autofree uint8_t *got = g_malloc(DP_MAX_FRAME);
    size_t got_len;

    dp_make_frame(frame, len, seed);
    dp_transmit_on(nic, pair, NULL, frame, len);
    got_len = dp_sock_recv(sock, DP_ETHERTYPE, NULL, got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
    dp_assert_frame(got, got_len, frame, len);
}

void dp_check_transmit(DpNic *nic, int sock, size_t len, unsigned seed)
{
    dp_check_transmit_on(nic, 0, sock, len, seed);
}

uint64_t dp_post_on(DpNic *nic, unsigned pair, unsigned n, size_t size)
{
    DpQueue *q = &nic->queue[2 * pair + DP_RX];
    uint64_t first = dp_alloc(nic->guest, n * size);
    unsigned i;

    memset(dp_host(nic->guest, first), 0xee, n * size);
    for (i = 0; i < n; i++) {
        DpBuf buf = { .addr = first + i * size, .len = size, .write = true };

        dp_add(q, &buf, 1);
    }
    dp_publish(q);
    return first;
}

uint64_t dp_post(DpNic *nic, unsigned n, size_t size)
{
    return dp_post_on(nic, 0, n, size);
}

size_t dp_receive_on(DpNic *nic, unsigned pair, struct virtio_net_hdr_v1 *hdr,
                     void *frame, size_t size)
{
    DpQueue *q = &nic->queue[2 * pair + DP_RX];
    g_autofree uint8_t *whole = g_malloc(nic->hdr_len + size);
    struct virtio_net_hdr_v1 h = {};
    unsigned left = 1;
    size_t len = 0;
    bool first = true;

    while (left--) {
        uint32_t n;
        const DpBuf *buf = dp_first_buf(q, dp_wait_used(q, &n));

        g_assert_cmpuint(n, <=, buf->len);
        g_assert_cmpuint(len + n, <=, nic->hdr_len + size);
        memcpy(whole + len, dp_host(nic->guest, buf->addr), n);
        len += n;
        if (first) {
            first = false;
            g_assert_cmpuint(n, >=, nic->hdr_len);
            memcpy(&h, whole, nic->hdr_len);
            if (nic->features & DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF)) {
                left = le16_to_cpu(h.num_buffers) - 1;
            } else if (nic->features & DP_FEATURE(VIRTIO_F_VERSION_1)) {
                /* Section 5.1.6.4.1: it is set in any case */
                g_assert_cmpuint(le16_to_cpu(h.num_buffers), ==, 1);
            }
        }
    }
    if (hdr) {
        *hdr = h;
    }
    memcpy(frame, whole + nic->hdr_len, len - nic->hdr_len);
    return len - nic->hdr_len;
}

size_t dp_receive(DpNic *nic, struct virtio_net_hdr_v1 *hdr, void *frame,
                  size_t size)
{
    return dp_receive_on(nic, 0, hdr, frame, size);
}

void dp_check_receive(DpNic *nic, int sock, size_t len, unsigned seed)
{
    g_autofree uint8_t *frame = g_malloc(len);
    g_autofree uint8_t *got = g_malloc(DP_MAX_FRAME);
    uint64_t buf = dp_post(nic, 1, nic->hdr_len + len);
    struct virtio_net_hdr_v1 hdr;
    size_t got_len;

    dp_make_frame(frame, len, seed);
    dp_sock_send(sock, NULL, frame, len);
    got_len = dp_receive(nic, &hdr, got, DP_MAX_FRAME);
    dp_assert_frame(got, got_len, frame, len);
    g_assert_cmpint(hdr.flags, ==, 0);
    g_assert_cmpint(hdr.gso_type, ==, 0);
    guest_free(&nic->guest->alloc, buf);
}

/* ---- All together ---- */

static DpGuest *rig_guest_new(const DpSetup *setup, unsigned pairs,
                              const char *device)
{
    const char *driver = setup->null ? "null0" : "tap0";
    g_autofree char *queues = pairs > 1 ? g_strdup_printf(",queues=%u", pairs)
                                        : g_strdup("");

    g_autofree char *options = NULL;

    options = g_strdup_printf("%s -object vhost-dp-%s,id=%s%s%s "
                              "-netdev vhost-dp,id=vd0,driver=%s%s%s%s "
                              "%smq=%s,in_order=%s,%s %s",
                              setup->options ?: "",
                              setup->null ? "null" : "tap", driver,
                              setup->driver ? "," : "", setup->driver ?: "",
                              driver, queues, setup->netdev ? "," : "",
                              setup->netdev ?: "",
                              setup->mmio ? DP_MMIO_DEVICE : DP_DEVICE,
                              pairs > 1 ? "on" : "off",
                              setup->features & DP_FEATURE(VIRTIO_F_IN_ORDER) ?
                              "on" : "off",
                              device, setup->more ?: "");
    return guest_new_on(setup->mmio, setup->qemu, options, setup->split_ram,
                        setup->oob);
}

static void rig_use_nic(DpRig *r)
{
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    if (r->pairs > 1) {
        dp_nic_set_pairs(r->nic, r->pairs);
    }
}

DpRig *dp_rig_start(const DpSetup *setup, bool vnet_hdr)
{
    return dp_rig_start_on(setup, setup->null ? NULL : "tap0", vnet_hdr);
}

DpRig *dp_rig_start_on(const DpSetup *setup, const char *ifname, bool vnet_hdr)
{
    DpRig *r = g_new0(DpRig, 1);

    r->pairs = MAX(setup->pairs, 1);
    r->options = setup->options ?: "";
    r->device = setup->device ?: setup->mmio ? "event_idx=on"
                                             : "disable-legacy=on";
    r->guest = rig_guest_new(setup, r->pairs, r->device);
    r->qts = r->guest->qts;
    dp_wait_settled(r->qts);
    r->sock = ifname ? dp_sock_open(ifname, vnet_hdr) : -1;
    r->features = (setup->bare ? 0 : DP_FEATURES_DEFAULT) | setup->features;
    if (r->pairs > 1) {
        r->features |= DP_FEATURE(VIRTIO_NET_F_MQ) |
                       DP_FEATURE(VIRTIO_NET_F_CTRL_VQ);
    }
    if (setup->prepare) {
        setup->prepare(r->guest, setup->opaque);
    }
    r->nic = dp_nic_probe(r->guest, setup->slot ?: DP_SLOT);
    r->nic->ring_size = setup->ring_size ?: DP_RING_SIZE;
    r->nic->late = setup->late;
    if (setup->msix) {
        dp_nic_use_msix(r->nic);
    }
    dp_nic_start(r->nic, r->features);
    rig_use_nic(r);
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    return r;
}

DpRig *dp_rig_new(uint64_t features)
{
    return dp_rig_start(&(DpSetup) { .features = features }, false);
}

void dp_rig_restart(DpRig *r)
{
    dp_nic_reset(r->nic);
    dp_nic_start(r->nic, r->features);
    rig_use_nic(r);
}

/* Map the RAM of @guest where it has been */
static void map_ram(DpGuest *guest)
{
    g_assert(mmap(guest->ram, DP_RAM_SIZE, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_FIXED, guest->ram_fd, 0) == guest->ram);
}

void dp_rig_swap(DpRig *r, DpGuest *other)
{
    DpGuest *guest = r->guest;
    QTestState *qts = guest->qts;
    int ram_fd = guest->ram_fd;

    guest->qts = guest->bus->qts = r->qts = other->qts;
    guest->ram_fd = other->ram_fd;
    other->qts = other->bus->qts = qts;
    other->ram_fd = ram_fd;
    map_ram(guest);
    map_ram(other);
}

void dp_rig_quit(DpRig *r)
{
    qtest_quit(r->qts);
    r->guest->qts = r->qts = NULL;
}

void dp_rig_free(DpRig *r)
{
    dp_nic_free(r->nic);
    dp_guest_free(r->guest);
    if (r->sock >= 0) {
        close(r->sock);
    }
    g_free(r->frame);
    g_free(r->got);
    g_free(r);
}

/* ---- What becomes of the interface ---- */

typedef struct Change {
    void (*fn)(const char *name);
    const char *name;
} Change;

static gpointer change_soon(gpointer opaque)
{
    const Change *change = opaque;

    g_usleep(10 * 1000);
    change->fn(change->name);
    return NULL;
}

/* Some frames on each queue pair, all of which the device has to use */
static void send_on_all(DpRig *r, const DpBuf *buf)
{
    unsigned i, k;

    for (k = 0; k < r->pairs; k++) {
        DpQueue *tx = &r->nic->queue[2 * k + DP_TX];

        for (i = 0; i < 32; i++) {
            dp_add(tx, buf, 1);
        }
        dp_publish(tx);
        /* Without a link it is virtio-net that takes them, if it is kicked */
        dp_kick(tx);
        for (i = 0; i < 32; i++) {
            dp_wait_used(tx, NULL);
        }
    }
}

void dp_change_under_traffic(DpRig *r, void (*fn)(const char *name),
                             const char *name, const char *word)
{
    DpBuf buf = { .addr = dp_alloc(r->guest, 128),
                  .len = r->nic->hdr_len + 100 };
    uint8_t *p = dp_host(r->guest, buf.addr);
    Change change = { fn, name };
    GThread *thread = g_thread_new("change", change_soon, &change);

    memset(p, 0, r->nic->hdr_len);
    dp_make_frame(p + r->nic->hdr_len, 100, 1);
    dp_wait_until((send_on_all(r, &buf), dp_link_is(r, false, word)));
    g_thread_join(thread);
    guest_free(&r->guest->alloc, buf.addr);
}
