/*
 * vhost-dp: qtests of memory and objects that come and go
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * DIMMs and blocks of virtio-mem are plugged and unplugged, BARs move, the
 * balloon takes pages, and the objects of a NIC are removed in every order,
 * with frames on their way both ways.  What was unplugged has to leave QEMU's
 * address space.
 *
 * VHOST_DP_QTEST_ROUNDS=N repeats each N times, where the default is few.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "libqos/pci-pc.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_balloon.h"
#include "standard-headers/linux/virtio_ids.h"
#include "standard-headers/linux/virtio_mem.h"
#include "guest.h"

/* How much QEMU's heap may grow: caches, fragments.  It is 250 KiB at most. */
#define HEAP_GROWTH (1 * MiB)

/* AddressSanitizer keeps what was freed, and looks for leaks by itself */
static void check_heap(QTestState *qts, size_t before)
{
#ifndef QEMU_SANITIZE_ADDRESS
    size_t now = dp_heap(qts);

    g_test_message("heap: %zu KiB, before %zu KiB", now / KiB, before / KiB);
    g_assert_cmpuint(now, <, before + HEAP_GROWTH);
#endif
}

static void qmp(QTestState *qts, const char *command)
{
    qtest_qmp_assert_success(qts, "{ 'execute': %s }", command);
}

/* ---- Frames on their way ---- */

/* Some both ways, with buffers at @addr, which has room for 64 KiB */
static void start_frames(DpRig *r, uint64_t addr, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        DpBuf rx = { .addr = addr + i * KiB, .len = 512, .write = true };
        DpBuf tx = { .addr = rx.addr + 512, .len = r->nic->hdr_len + 200 };
        uint8_t *p = dp_host(r->guest, tx.addr);

        memset(p, 0, r->nic->hdr_len);
        dp_make_frame(p + r->nic->hdr_len, 200, i);
        dp_add(r->tx, &tx, 1);
        dp_add(r->rx, &rx, 1);
        dp_make_frame(r->frame, 300, i);
        dp_sock_send(r->sock, NULL, r->frame, 300);
    }
    dp_publish(r->rx);
    dp_publish(r->tx);
}

/* They have all arrived, in order and undamaged */
static void check_frames(DpRig *r, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        size_t len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

        dp_make_frame(r->frame, 300, i);
        dp_assert_frame(r->got, len, r->frame, 300);
    }
    for (i = 0; i < n; i++) {
        size_t len = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                  DP_MAX_FRAME, DP_TIMEOUT_US);

        dp_make_frame(r->frame, 200, i);
        dp_assert_frame(r->got, len, r->frame, 200);
        dp_wait_used(r->tx, NULL);
    }
}

#define FRAMES 40

static void check_works(DpRig *r)
{
    dp_check_transmit(r->nic, r->sock, 200, 1);
    dp_check_receive(r->nic, r->sock, 200, 2);
}

/* ---- DIMMs ---- */

#define DIMM_SIZE (32 * MiB)
#define DIMM_NAME "vhost-dp-qtest-dimm"

/* ACPI's registers for memory hotplug (docs/specs/acpi_mem_hotplug.rst) */
#define MEMHP_SLOT  0xa00
#define MEMHP_FLAGS 0xa14
#define MEMHP_EJECT (1 << 3)

static DpRig *dimm_rig_new(void)
{
    return dp_rig_start(&(DpSetup) {
        .device = "disable-legacy=on -m slots=4,maxmem=1G",
    }, false);
}

static uint64_t dimm_address(QTestState *qts)
{
    QDict *response = qtest_qmp(qts, "{ 'execute': 'query-memory-devices' }");
    QDict *info = qobject_to(QDict, qlist_peek(qdict_get_qlist(response,
                                                               "return")));
    uint64_t addr = qdict_get_int(qdict_get_qdict(info, "data"), "addr");

    qobject_unref(response);
    return addr;
}

/* The guest's memory has one DIMM more, in guest->more; returns its address */
static uint64_t dimm_plug(DpGuest *guest)
{
    int fd = memfd_create(DIMM_NAME, MFD_CLOEXEC);
    g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d", (int)getpid(),
                                            fd);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, DIMM_SIZE), ==, 0);
    guest->more = mmap(NULL, DIMM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                       0);
    g_assert(guest->more != MAP_FAILED);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'object-add',"
                             " 'arguments': { 'qom-type':"
                             " 'memory-backend-file', 'id': 'mem1', 'size': %u,"
                             " 'share': true, 'mem-path': %s } }",
                             (unsigned)DIMM_SIZE, path);
    close(fd);
    qtest_qmp_device_add(guest->qts, "pc-dimm", "dimm1",
                         "{ 'memdev': 'mem1' }");
    guest->more_size = DIMM_SIZE;
    guest->more_at = dimm_address(guest->qts);
    return guest->more_at;
}

static bool has_dimm_mapped(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps", qtest_pid(qts));
    g_autofree char *maps = NULL;

    g_assert_true(g_file_get_contents(path, &maps, NULL, NULL));
    return strstr(maps, DIMM_NAME) != NULL;
}

static void dimm_unplug(DpGuest *guest)
{
    g_assert_true(has_dimm_mapped(guest->qts));
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'device_del',"
                             " 'arguments': { 'id': 'dimm1' } }");
    qtest_outl(guest->qts, MEMHP_SLOT, 0);
    qtest_outb(guest->qts, MEMHP_FLAGS, MEMHP_EJECT);
    qtest_qmp_eventwait(guest->qts, "DEVICE_DELETED");
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'object-del',"
                             " 'arguments': { 'id': 'mem1' } }");
    munmap(guest->more, DIMM_SIZE);
    guest->more_size = 0;
}

/* It is not for a NIC to keep what was unplugged */
static void check_dimm_gone(QTestState *qts)
{
    dp_wait_until(!has_dimm_mapped(qts));
}

/* Frames go by other memory while it comes and goes, and by it while it is */
static void test_dimm(const void *opaque)
{
    DpRig *r = dimm_rig_new();
    uint64_t ram = dp_alloc(r->guest, 64 * KiB);
    DpUsage before;
    size_t heap = 0;
    unsigned i, rounds = MAX(2, dp_rounds(5));
    uint64_t dimm;

    check_works(r);
    before = dp_usage(r->qts);
    for (i = 0; i < rounds; i++) {
        if (i == rounds / 2) {
            heap = dp_heap(r->qts);
        }
        start_frames(r, ram, FRAMES);
        dimm = dimm_plug(r->guest);
        check_frames(r, FRAMES);
        start_frames(r, dimm, FRAMES);
        check_frames(r, FRAMES);
        start_frames(r, ram, FRAMES);
        dimm_unplug(r->guest);
        check_frames(r, FRAMES);
        check_dimm_gone(r->qts);
        dp_check_usage(r->qts, before);
    }
    check_heap(r->qts, heap);
    dp_rig_free(r);
}

/* The rings are in it: they go, and the device needs a reset */
static void test_dimm_with_rings(const void *opaque)
{
    DpRig *r = dimm_rig_new();
    unsigned i;

    for (i = 0; i < dp_rounds(3); i++) {
        uint64_t dimm = dimm_plug(r->guest);

        r->nic->ring_at[DP_RX] = dimm;
        r->nic->ring_at[DP_TX] = dimm + 64 * KiB;
        dp_rig_restart(r);
        check_works(r);
        dimm_unplug(r->guest);
        dp_wait_counter(r->qts, "vd0", DP_TX, "violation:ring-address", i + 1);
        dp_wait_counter(r->qts, "vd0", DP_RX, "violation:ring-address", i + 1);
        r->nic->ring_at[DP_RX] = 0;
        r->nic->ring_at[DP_TX] = 0;
        dp_rig_restart(r);
        /* Until then vhost.c has the rings mapped */
        check_dimm_gone(r->qts);
        check_works(r);
    }
    dp_rig_free(r);
}

/* Buffers are in it that the device has, and finds to be gone */
static void test_dimm_with_buffers(const void *opaque)
{
    DpRig *r = dimm_rig_new();
    DpBuf buf = { .len = 512, .write = true };

    buf.addr = dimm_plug(r->guest);
    dp_add(r->rx, &buf, 1);
    dp_publish(r->rx);
    dimm_unplug(r->guest);
    check_dimm_gone(r->qts);
    dp_check_transmit(r->nic, r->sock, 200, 1);
    dp_make_frame(r->frame, 60, 1);
    dp_sock_send(r->sock, NULL, r->frame, 60);
    dp_wait_counter(r->qts, "vd0", DP_RX, "violation:buffer-address", 1);
    dp_check_transmit(r->nic, r->sock, 200, 2);
    dp_rig_restart(r);
    check_works(r);
    dp_rig_free(r);
}

/* ---- virtio-mem ---- */

#define VMEM_SLOT   6
#define VMEM_BLOCK  (2 * MiB)
#define VMEM_BLOCKS 8

typedef struct VirtioMem {
    DpRig *rig;
    QVirtioPCIDevice *pci;
    QVirtQueue *vq;
    uint64_t request;           /* guest memory for it, and the answer */
    int fd;
} VirtioMem;

/* @dynamic: the map of memory changes with the blocks that are plugged */
static VirtioMem *vmem_new(bool dynamic)
{
    VirtioMem *m = g_new0(VirtioMem, 1);
    QPCIAddress addr = { .devfn = QPCI_DEVFN(VMEM_SLOT, 0) };
    g_autofree char *device = NULL;
    QVirtioDevice *d;
    DpGuest *guest;

    m->fd = memfd_create("vhost-dp-qtest-virtio-mem", 0);
    g_assert_cmpint(m->fd, >=, 0);
    g_assert_cmpint(ftruncate(m->fd, DIMM_SIZE), ==, 0);
    device = g_strdup_printf("disable-legacy=on -m maxmem=1G "
                             "-object memory-backend-file,id=vmem0,size=%u,"
                             "share=on,reserve=off,mem-path=/proc/self/fd/%d "
                             "-device virtio-mem-pci,id=vmem,memdev=vmem0,"
                             "addr=%02x.0,block-size=2M,requested-size=0,"
                             "dynamic-memslots=%s", (unsigned)DIMM_SIZE, m->fd,
                             VMEM_SLOT, dynamic ? "on" : "off");
    m->rig = dp_rig_start(&(DpSetup) { .device = device }, false);
    guest = m->rig->guest;
    guest->more = mmap(NULL, DIMM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                       m->fd, 0);
    g_assert(guest->more != MAP_FAILED);

    m->pci = virtio_pci_new(guest->bus, &addr);
    d = &m->pci->vdev;
    qvirtio_pci_device_enable(m->pci);
    qvirtio_start_device(d);
    qvirtio_set_features(d, DP_FEATURE(VIRTIO_F_VERSION_1) |
                         DP_FEATURE(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE));
    m->vq = qvirtqueue_setup(d, &guest->alloc, 0);
    qvirtio_set_driver_ok(d);
    guest->more_at = qvirtio_config_readq(d, offsetof(struct virtio_mem_config,
                                                      addr));
    guest->more_size = DIMM_SIZE;
    m->request = dp_alloc(guest, 64);
    return m;
}

static void vmem_free(VirtioMem *m)
{
    DpGuest *guest = m->rig->guest;

    qvirtqueue_cleanup(m->pci->vdev.bus, m->vq, &guest->alloc);
    qvirtio_pci_device_disable(m->pci);
    g_free(m->pci->pdev);
    g_free(m->pci);
    munmap(guest->more, DIMM_SIZE);
    dp_rig_free(m->rig);
    close(m->fd);
    g_free(m);
}

/* Section 5.15.6: @type is VIRTIO_MEM_REQ_PLUG or _UNPLUG; of all blocks */
static void vmem_request(VirtioMem *m, uint16_t type)
{
    DpGuest *guest = m->rig->guest;
    struct virtio_mem_req *req = dp_host(guest, m->request);
    struct virtio_mem_resp *resp = (void *)(req + 1);
    uint64_t size = type == VIRTIO_MEM_REQ_PLUG ? VMEM_BLOCKS * VMEM_BLOCK : 0;
    uint32_t head;

    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'qom-set', 'arguments':"
                             " { 'path': '/machine/peripheral/vmem',"
                             " 'property': 'requested-size',"
                             " 'value': %" PRIu64 " } }", size);
    memset(req, 0, sizeof(*req));
    req->type = cpu_to_le16(type);
    req->u.plug.addr = cpu_to_le64(guest->more_at);
    req->u.plug.nb_blocks = cpu_to_le16(VMEM_BLOCKS);
    resp->type = 0xffff;
    head = qvirtqueue_add(guest->qts, m->vq, m->request, sizeof(*req), false,
                          true);
    qvirtqueue_add(guest->qts, m->vq, m->request + sizeof(*req),
                   sizeof(*resp), true, false);
    qvirtqueue_kick(guest->qts, &m->pci->vdev, m->vq, head);
    qvirtio_wait_used_elem(guest->qts, &m->pci->vdev, m->vq, head, NULL,
                           DP_TIMEOUT_US);
    g_assert_cmphex(resp->type, ==, cpu_to_le16(VIRTIO_MEM_RESP_ACK));
}

/* Does QEMU keep anything of what was unplugged? */
static bool vmem_is_empty(VirtioMem *m)
{
    struct stat st;

    g_assert_cmpint(fstat(m->fd, &st), ==, 0);
    return st.st_blocks == 0;
}

/* As for DIMMs; and what was unplugged is discarded, and stays so */
static void test_virtio_mem(const void *opaque)
{
    VirtioMem *m = vmem_new(opaque != NULL);
    DpRig *r = m->rig;
    uint64_t ram = dp_alloc(r->guest, 64 * KiB);
    uint64_t at = r->guest->more_at + 3 * VMEM_BLOCK;
    DpUsage before;
    unsigned i;

    check_works(r);
    before = dp_usage(r->qts);
    for (i = 0; i < dp_rounds(5); i++) {
        g_assert_true(vmem_is_empty(m));
        start_frames(r, ram, FRAMES);
        vmem_request(m, VIRTIO_MEM_REQ_PLUG);
        check_frames(r, FRAMES);
        start_frames(r, at, FRAMES);
        check_frames(r, FRAMES);
        g_assert_false(vmem_is_empty(m));
        start_frames(r, ram, FRAMES);
        vmem_request(m, VIRTIO_MEM_REQ_UNPLUG);
        check_frames(r, FRAMES);
    }
    dp_check_usage(r->qts, before);
    vmem_free(m);
}

/* ---- A NIC that does not run pins nothing ---- */

static void stop_machine(DpRig *r)
{
    qmp(r->qts, "stop");
}

static void start_machine(DpRig *r)
{
    qmp(r->qts, "cont");
}

static void stop_device(DpRig *r)
{
    dp_nic_reset(r->nic);
}

static void set_link(DpRig *r, bool up)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link', 'arguments': {"
                             " 'name': 'nic', 'up': %i } }", up);
    dp_wait_until(dp_nic_link(r->nic) == up);
}

static void take_link(DpRig *r)
{
    set_link(r, false);
}

static void give_link(DpRig *r)
{
    set_link(r, true);
}

static void reset_rings(DpRig *r)
{
    dp_queue_reset(r->nic, DP_RX);
    dp_queue_reset(r->nic, DP_TX);
}

static void restart_rings(DpRig *r)
{
    dp_queue_restart(r->nic, DP_RX);
    dp_queue_restart(r->nic, DP_TX);
}

static void take_interface(DpRig *r)
{
    dp_if_down("tap0");
    dp_wait_until(!dp_nic_link(r->nic));
}

static void give_interface(DpRig *r)
{
    dp_if_up("tap0");
    dp_if_wait_running("tap0");
    dp_wait_until(dp_nic_link(r->nic));
    /* The socket has an error to tell, ENETDOWN */
    dp_sock_recv(r->sock, 0, NULL, r->got, DP_MAX_FRAME, DP_QUIET_US);
}

typedef struct Stop {
    const char *name;
    void (*stop)(DpRig *r);
    void (*start)(DpRig *r);
    uint64_t features;
} Stop;

static const Stop stops[] = {
    { "machine", stop_machine, start_machine },
    { "device", stop_device, dp_rig_restart },
    { "link", take_link, give_link },
    { "rings", reset_rings, restart_rings, DP_FEATURE(VIRTIO_F_RING_RESET) },
    { "interface", take_interface, give_interface },
};

static void test_stopped(const void *opaque)
{
    const Stop *how = opaque;
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "disable-legacy=on -m slots=4,maxmem=1G",
        .features = how->features,
    }, false);
    unsigned i;

    dp_if_up("tap0");
    check_works(r);
    for (i = 0; i < dp_rounds(3); i++) {
        uint64_t dimm = dimm_plug(r->guest);

        start_frames(r, dimm, FRAMES);
        check_frames(r, FRAMES);
        how->stop(r);
        dimm_unplug(r->guest);
        check_dimm_gone(r->qts);
        how->start(r);
        check_works(r);
    }
    dp_rig_free(r);
}

/* ---- A BAR that the guest moves ---- */

#define BAR_SIZE (1 * MiB)
#define BAR_SLOT 5
#define BAR_NUMBER 2

static void bar_move(QPCIDevice *pci, uint64_t addr)
{
    uint16_t command = qpci_config_readw(pci, PCI_COMMAND);
    unsigned bar = PCI_BASE_ADDRESS_0 + 4 * BAR_NUMBER;

    qpci_config_writew(pci, PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
    qpci_config_writel(pci, bar, addr);
    qpci_config_writel(pci, bar + 4, addr >> 32);
    qpci_config_writew(pci, PCI_COMMAND, command | PCI_COMMAND_MEMORY);
}

/* Frames go by RAM while the BAR moves, and by the BAR where it is now */
static void test_bar_moves(const void *opaque)
{
    /* libqos maps other BARs from 0xe0000000 on */
    static const uint64_t places[] = {
        0xc0000000, 0xc0100000, 0x180000000, 0xf0000000, 0x280000000,
    };
    int fd = memfd_create("vhost-dp-qtest-bar", 0);
    g_autofree char *device = NULL;
    g_autofree QPCIDevice *pci = NULL;
    DpUsage before;
    uint64_t ram;
    unsigned i;
    DpRig *r;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, BAR_SIZE), ==, 0);
    device = g_strdup_printf("disable-legacy=on -object memory-backend-file,"
                             "id=bar,size=1M,share=on,"
                             "mem-path=/proc/self/fd/%d "
                             "-device ivshmem-plain,memdev=bar,addr=%02x.0",
                             fd, BAR_SLOT);
    r = dp_rig_start(&(DpSetup) { .device = device }, false);
    r->guest->more = mmap(NULL, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                          fd, 0);
    g_assert(r->guest->more != MAP_FAILED);
    r->guest->more_size = BAR_SIZE;
    pci = qpci_device_find(r->guest->bus, QPCI_DEVFN(BAR_SLOT, 0));
    g_assert_nonnull(pci);
    qpci_iomap(pci, BAR_NUMBER, NULL);
    qpci_device_enable(pci);
    ram = dp_alloc(r->guest, 64 * KiB);
    check_works(r);
    before = dp_usage(r->qts);
    for (i = 0; i < dp_rounds(20); i++) {
        uint64_t addr = places[i % ARRAY_SIZE(places)];

        start_frames(r, ram, FRAMES);
        bar_move(pci, addr);
        check_frames(r, FRAMES);
        r->guest->more_at = addr;
        start_frames(r, addr, FRAMES);
        check_frames(r, FRAMES);
    }
    dp_check_usage(r->qts, before);
    munmap(r->guest->more, BAR_SIZE);
    dp_rig_free(r);
    close(fd);
}

/* ---- The balloon ---- */

#define BALLOON_SLOT 6

/* Pages that the balloon took and gave back are as good as others */
static void test_balloon(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "disable-legacy=on "
                  "-device virtio-balloon-pci,addr=06.0,disable-legacy=on",
    }, false);
    QPCIAddress addr = { .devfn = QPCI_DEVFN(BALLOON_SLOT, 0) };
    QVirtioPCIDevice *balloon = virtio_pci_new(r->guest->bus, &addr);
    QVirtioDevice *d = &balloon->vdev;
    uint64_t ram = dp_alloc(r->guest, 64 * KiB);
    uint64_t pages = ROUND_UP(dp_alloc(r->guest, 128 * KiB), 4 * KiB);
    uint64_t list = dp_alloc(r->guest, 16 * sizeof(uint32_t));
    QVirtQueue *vq[2];
    unsigned i, k;

    qvirtio_pci_device_enable(balloon);
    qvirtio_start_device(d);
    qvirtio_set_features(d, DP_FEATURE(VIRTIO_F_VERSION_1));
    /* Section 5.5.2: inflateq, deflateq */
    vq[0] = qvirtqueue_setup(d, &r->guest->alloc, 0);
    vq[1] = qvirtqueue_setup(d, &r->guest->alloc, 1);
    qvirtio_set_driver_ok(d);
    for (i = 0; i < 16; i++) {
        stl_le_p(dp_host(r->guest, list + i * sizeof(uint32_t)),
                 (pages >> VIRTIO_BALLOON_PFN_SHIFT) + i);
    }
    for (i = 0; i < dp_rounds(10); i++) {
        start_frames(r, pages, FRAMES);
        check_frames(r, FRAMES);
        for (k = 0; k < 2; k++) {
            uint32_t head;

            start_frames(r, ram, FRAMES);
            head = qvirtqueue_add(r->qts, vq[k], list, 16 * sizeof(uint32_t),
                                  false, false);
            qvirtqueue_kick(r->qts, d, vq[k], head);
            qvirtio_wait_used_elem(r->qts, d, vq[k], head, NULL,
                                   DP_TIMEOUT_US);
            check_frames(r, FRAMES);
        }
    }
    qvirtqueue_cleanup(d->bus, vq[0], &r->guest->alloc);
    qvirtqueue_cleanup(d->bus, vq[1], &r->guest->alloc);
    qvirtio_pci_device_disable(balloon);
    g_free(balloon->pdev);
    g_free(balloon);
    dp_rig_free(r);
}

/* ---- Objects ---- */

enum { NIC, NETDEV, DRIVER, IOTHREAD, NOBJECTS };

static bool qmp_succeeds(QTestState *qts, const char *command, const char *id)
{
    QDict *response = qtest_qmp(qts, "{ 'execute': %s,"
                                " 'arguments': { 'id': %s } }", command, id);
    bool ok = qdict_haskey(response, "return");

    qobject_unref(response);
    return ok;
}

/* Returns false if QEMU says that it is in use */
static bool remove_object(QTestState *qts, int which)
{
    switch (which) {
    case NIC:
        qpci_unplug_acpi_device_test(qts, "nic", DP_SLOT);
        return true;
    case NETDEV:
        return qmp_succeeds(qts, "netdev_del", "vd0");
    case DRIVER:
        return qmp_succeeds(qts, "object-del", "tap0");
    default:
        return qmp_succeeds(qts, "object-del", "io0");
    }
}

static void make_objects(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'iothread', 'id': 'io0' } }");
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'vhost-dp-tap', 'id': 'tap0' } }");
    qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                             " 'type': 'vhost-dp', 'id': 'vd0',"
                             " 'driver': 'tap0', 'iothread': 'io0' } }");
    qtest_qmp_device_add(qts, "virtio-net-pci", "nic",
                         "{ 'netdev': 'vd0', 'addr': '04.0', 'romfile': '',"
                         " 'disable-legacy': 'on' }");
}

/* One order of removal, with frames on their way */
static void remove_in_order(DpRig *r, const int *order)
{
    unsigned removed = 0, tries, i;

    make_objects(r->qts);
    r->sock = dp_sock_open("tap0", false);
    r->nic = dp_nic_new(r->guest, DP_SLOT, DP_FEATURES_DEFAULT);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    check_works(r);
    start_frames(r, dp_alloc(r->guest, 64 * KiB), FRAMES);
    /* What is in use cannot go at first; it can when its user is gone */
    for (tries = 0; removed != (1 << NOBJECTS) - 1; tries++) {
        g_assert_cmpuint(tries, <, NOBJECTS);
        for (i = 0; i < NOBJECTS; i++) {
            if (!(removed & (1 << order[i])) &&
                remove_object(r->qts, order[i])) {
                removed |= 1 << order[i];
                /* A netdev whose NIC is there lives on until that goes */
            }
        }
    }
    g_assert_null(dp_query(r->qts, "vd0"));
    dp_wait_until(!dp_if_exists("tap0"));
    dp_nic_free(r->nic);
    close(r->sock);
}

/* All 24 orders in which four things can be put, by Heap's algorithm */
static void permute(DpRig *r, int *order, unsigned n, DpUsage before)
{
    unsigned i;

    if (n == 1) {
        remove_in_order(r, order);
        dp_check_usage(r->qts, before);
        return;
    }
    for (i = 0; i < n; i++) {
        int *other = n % 2 ? &order[0] : &order[i];
        int tmp;

        permute(r, order, n - 1, before);
        tmp = *other;
        *other = order[n - 1];
        order[n - 1] = tmp;
    }
}

static void test_remove(const void *opaque)
{
    int order[NOBJECTS] = { NIC, NETDEV, DRIVER, IOTHREAD };
    DpRig *r = g_new0(DpRig, 1);
    /* The heap's size in the middle is without what is made only once */
    unsigned i, rounds = MAX(2, dp_rounds(2) / 24);
    size_t heap = 0;
    DpUsage before;

    r->guest = dp_guest_new("%s", "");
    r->qts = r->guest->qts;
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    before = dp_usage(r->qts);
    for (i = 0; i < rounds; i++) {
        if (i == rounds / 2) {
            heap = dp_heap(r->qts);
        }
        permute(r, order, NOBJECTS, before);
    }
    check_heap(r->qts, heap);
    dp_guest_free(r->guest);
    g_free(r->frame);
    g_free(r->got);
    g_free(r);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    dp_add_ring_test("plug/dimm/frames", NULL, test_dimm);
    dp_add_ring_test("plug/dimm/rings", NULL, test_dimm_with_rings);
    dp_add_ring_test("plug/dimm/buffers", NULL, test_dimm_with_buffers);
    for (i = 0; i < ARRAY_SIZE(stops); i++) {
        g_autofree char *path = g_strdup_printf("plug/dimm/stopped-%s",
                                                stops[i].name);

        dp_add_test(path, &stops[i], test_stopped);
    }
    dp_add_ring_test("plug/bar", NULL, test_bar_moves);
    dp_add_ring_test("plug/virtio-mem", NULL, test_virtio_mem);
    dp_add_ring_test("plug/virtio-mem-dynamic", "", test_virtio_mem);
    dp_add_test("plug/balloon", NULL, test_balloon);
    dp_add_test("plug/remove", NULL, test_remove);
    return g_test_run();
}
