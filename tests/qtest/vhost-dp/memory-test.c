/*
 * vhost-dp: qtests of where rings and buffers are
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest memory is in pieces, comes and goes: buffers and tables that cross
 * from one piece to the next, rings in a PCI device's memory that is then
 * switched off, rings where none can be, and a guest that changes descriptors
 * while the device reads them.  Sections are those of the virtio
 * specification, version 1.3.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "guest.h"

static void check_state(DpRig *r, unsigned queue, const char *want)
{
    g_autofree char *state = dp_queue_state(r->qts, "vd0", queue);

    g_assert_cmpstr(state, ==, want);
}

static void check_works(DpRig *r)
{
    dp_check_transmit(r->nic, r->sock, 200, 1);
    dp_check_receive(r->nic, r->sock, 200, 2);
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* ---- Two pieces of RAM, next to each other for the guest alone ---- */

#define BOUNDARY (DP_RAM_SIZE / 2)

/* Header and frame at @addr; the buffer that they are */
static DpBuf put_frame(DpRig *r, uint64_t addr, size_t len, unsigned seed)
{
    size_t hdr_len = r->nic->hdr_len;
    uint8_t *p = dp_host(r->guest, addr);

    memset(p, 0, hdr_len);
    dp_make_frame(p + hdr_len, len, seed);
    return (DpBuf) { .addr = addr, .len = hdr_len + len };
}

static void check_next_frame(DpRig *r, size_t len, unsigned seed)
{
    size_t got_len = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                  DP_MAX_FRAME, DP_TIMEOUT_US);

    dp_make_frame(r->frame, len, seed);
    dp_assert_frame(r->got, got_len, r->frame, len);
}

/* Wherever the boundary is: in the header, behind it, in the frame */
static void test_buffer_across(const void *opaque)
{
    static const unsigned before[] = { 1, 5, 11, 12, 13, 25, 26, 27, 100,
                                       311, 312, 400 };
    const size_t len = 300;
    DpRig *r = dp_rig_start(&(DpSetup) { .split_ram = true }, false);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(before); i++) {
        uint64_t addr = BOUNDARY - before[i];
        DpBuf buf = put_frame(r, addr, len, i);
        uint32_t used;

        dp_add(r->tx, &buf, 1);
        dp_publish(r->tx);
        dp_wait_used(r->tx, NULL);
        check_next_frame(r, len, i);

        memset(dp_host(r->guest, addr), 0xee, buf.len);
        buf.write = true;
        dp_add(r->rx, &buf, 1);
        dp_publish(r->rx);
        dp_make_frame(r->frame, len, 100 + i);
        dp_sock_send(r->sock, NULL, r->frame, len);
        dp_wait_used(r->rx, &used);
        g_assert_cmpuint(used, ==, buf.len);
        dp_assert_frame(dp_host(r->guest, addr + r->nic->hdr_len), len,
                        r->frame, len);
    }
    dp_rig_free(r);
}

/* An indirect table, also with the boundary inside a descriptor */
static void test_table_across(const void *opaque)
{
    static const unsigned before[] = { 8, 16, 24, 32, 40 };
    const size_t len = 300;
    DpRig *r = dp_rig_start(&(DpSetup) {
        .split_ram = true,
        .features = DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
    }, false);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(before); i++) {
        uint64_t table = BOUNDARY - before[i];
        DpBuf buf = put_frame(r, dp_alloc(r->guest, 1024), len, i);
        DpBuf bufs[3] = {
            { buf.addr, 10 }, { buf.addr + 10, 50 },
            { buf.addr + 60, buf.len - 60 },
        };

        memcpy(dp_host(r->guest, table),
               dp_host(r->guest, dp_make_table(r->tx, bufs, 3)), 48);
        dp_add_table(r->tx, table, 48);
        dp_publish(r->tx);
        dp_wait_used(r->tx, NULL);
        check_next_frame(r, len, i);
    }
    dp_rig_free(r);
}

/* ---- Memory of a PCI device ---- */

#define BAR_SIZE (1 * MiB)
#define BAR_SLOT 5

typedef struct DeviceMemory {
    DpRig *rig;
    QPCIDevice *pci;
    QPCIBar bar;
    int fd;
} DeviceMemory;

static void memory_set(DeviceMemory *m, bool on)
{
    uint16_t command = qpci_config_readw(m->pci, PCI_COMMAND);

    command &= ~PCI_COMMAND_MEMORY;
    qpci_config_writew(m->pci, PCI_COMMAND,
                       command | (on ? PCI_COMMAND_MEMORY : 0));
}

/* A NIC and, on the same bus, a device with memory */
static void memory_new(DeviceMemory *m)
{
    g_autofree char *device = NULL;
    DpGuest *guest;

    m->fd = memfd_create("vhost-dp-qtest-bar", 0);
    g_assert_cmpint(m->fd, >=, 0);
    g_assert_cmpint(ftruncate(m->fd, BAR_SIZE), ==, 0);
    device = g_strdup_printf("disable-legacy=on -object memory-backend-file,"
                             "id=bar,size=1M,share=on,"
                             "mem-path=/proc/self/fd/%d "
                             "-device ivshmem-plain,memdev=bar,addr=%02x.0",
                             m->fd, BAR_SLOT);
    m->rig = dp_rig_start(&(DpSetup) { .device = device, .msix = true },
                          false);
    guest = m->rig->guest;
    guest->more = mmap(NULL, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                       m->fd, 0);
    g_assert(guest->more != MAP_FAILED);

    m->pci = qpci_device_find(guest->bus, QPCI_DEVFN(BAR_SLOT, 0));
    g_assert_nonnull(m->pci);
    m->bar = qpci_iomap(m->pci, 2, NULL);
    qpci_device_enable(m->pci);
    guest->more_at = m->bar.addr;
    guest->more_size = BAR_SIZE;
}

static void memory_free(DeviceMemory *m)
{
    munmap(m->rig->guest->more, BAR_SIZE);
    dp_rig_free(m->rig);
    g_free(m->pci);
    close(m->fd);
}

/* A ring whose memory goes: ring-address; the other queue goes on */
static void check_ring_goes(unsigned queue)
{
    DeviceMemory m;
    DpRig *r;

    memory_new(&m);
    r = m.rig;
    r->nic->ring_at[queue] = m.bar.addr + 64 * KiB;
    dp_rig_restart(r);
    check_works(r);
    dp_config_interrupted(r->nic);

    memory_set(&m, false);
    dp_wait_counter(r->qts, "vd0", queue, "violation:ring-address", 1);
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    dp_wait_until(dp_config_interrupted(r->nic));
    check_state(r, queue, "broken");
    dp_kick(&r->nic->queue[queue]);
    if (queue == DP_TX) {
        dp_check_receive(r->nic, r->sock, 200, 3);
    } else {
        dp_check_transmit(r->nic, r->sock, 200, 3);
    }
    check_state(r, !queue, "running");
    dp_wait_counter(r->qts, "vd0", !queue, "violation:ring-address", 0);

    /* That the memory comes back is no help, a reset is */
    memory_set(&m, true);
    dp_kick(&r->nic->queue[queue]);
    check_state(r, queue, "broken");
    dp_rig_restart(r);
    check_works(r);
    r->nic->ring_at[queue] = 0;
    dp_rig_restart(r);
    check_works(r);
    dp_wait_counter(r->qts, "vd0", queue, "violation:ring-address", 1);
    memory_free(&m);
}

static void test_rx_ring_goes(const void *opaque)
{
    check_ring_goes(DP_RX);
}

static void test_tx_ring_goes(const void *opaque)
{
    check_ring_goes(DP_TX);
}

/* A buffer there is as good as any, until its memory goes */
static void test_buffer_goes(const void *opaque)
{
    DeviceMemory m;
    DpRig *r;
    DpBuf buf;

    memory_new(&m);
    r = m.rig;
    buf = put_frame(r, m.bar.addr + 100, 300, 1);
    dp_add(r->tx, &buf, 1);
    dp_publish(r->tx);
    dp_wait_used(r->tx, NULL);
    check_next_frame(r, 300, 1);

    memory_set(&m, false);
    check_works(r);
    dp_add(r->tx, &buf, 1);
    dp_publish(r->tx);
    dp_wait_used(r->tx, NULL);
    dp_wait_counter(r->qts, "vd0", DP_TX, "violation:buffer-address", 1);
    check_works(r);
    memory_free(&m);
}

/* Rings that cannot be started, and then some that can */
static void test_bad_ring_place(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .msix = true }, false);
    DpUsage before;
    unsigned i;

    check_works(r);
    before = dp_usage(r->qts);
    for (i = 0; i < 5; i++) {
        /* Sections 2.7 and 2.8: descriptors are aligned to 16 bytes */
        r->nic->ring_at[i % 2] = dp_alloc(r->guest, 16 * KiB) + 4;
        dp_rig_restart(r);
        check_state(r, DP_RX, "stopped");
        check_state(r, DP_TX, "stopped");
        r->nic->ring_at[i % 2] = 0;
        dp_rig_restart(r);
        dp_wait_until(dp_nic_link(r->nic));
        check_works(r);
    }
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* ---- A guest that changes its mind ---- */

/*
 * available-index of a packed queue: the driver makes available what the device
 * already has.  It does so by writing the first descriptor's flags again and
 * again, as for this round and the next, while the device takes all of the
 * ring: sooner or later the device sees one, and after a lap the other.  Other
 * faults may come of it, too.
 */
static void test_race_available(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .null = true, .ring_size = 16 },
                            false);
    uint64_t addr = dp_alloc(r->guest, 128);
    DpBuf buf = put_frame(r, addr, 60, 1);
    int64_t end = g_get_monotonic_time() + 3 * DP_TIMEOUT_US;
    unsigned i, tries = 0;

    while (!dp_counter(r->qts, "vd0", DP_TX, "violation:available-index")) {
        struct vring_packed_desc *desc;

        g_assert_cmpint(g_get_monotonic_time(), <, end);
        dp_rig_restart(r);
        for (i = 0; i < 16; i++) {
            dp_add(r->tx, &buf, 1);
        }
        dp_publish(r->tx);
        desc = &r->tx->ring.pdesc[0];
        for (i = 0; i < 100000; i++) {
            qatomic_set(&desc->flags,
                        cpu_to_le16(1u << VRING_PACKED_DESC_F_AVAIL));
            /* The device may have written over it */
            qatomic_set(&desc->len, cpu_to_le32(buf.len));
            qatomic_set(&desc->flags,
                        cpu_to_le16(1u << VRING_PACKED_DESC_F_USED));
        }
        tries++;
    }
    g_test_message("%u tries", tries);
    dp_wait_counter(r->qts, "vd0", DP_TX, "violation:available-index", 1);
    check_state(r, DP_TX, "broken");
    check_state(r, DP_RX, "running");
    dp_rig_restart(r);
    dp_make_frame(r->frame, 60, 1);
    dp_transmit(r->nic, NULL, r->frame, 60);
    dp_rig_free(r);
}

/* Lengths, addresses and flags change under the device: it survives them */
static void test_race_descriptors(const void *opaque)
{
    static const DpBuf bad[] = {
        { .addr = DP_GPA_UNMAPPED, .len = 72 },
        { .addr = 0x100000, .len = UINT32_MAX },
        { .addr = 0x100000, .len = 0 },
        { .addr = -1ull, .len = 72 },
    };
    DpRig *r = dp_rig_start(&(DpSetup) { .null = true }, false);
    DpBuf good = put_frame(r, dp_alloc(r->guest, 128), 60, 1);
    DpUsage before = dp_usage(r->qts);
    unsigned round, i;

    for (round = 0; round < 40; round++) {
        const DpBuf *evil = &bad[round % ARRAY_SIZE(bad)];
        unsigned n = r->tx->pci.vq.size;
        /* These are at the same place in a packed ring's descriptor */
        struct vring_desc *ring = dp_host(r->guest, r->tx->pci.vq.desc);

        for (i = 0; i < n; i++) {
            dp_add(r->tx, &good, 1);
        }
        dp_publish(r->tx);
        for (i = 0; i < 20000; i++) {
            const DpBuf *now = i % 2 ? evil : &good;

            qatomic_set(&ring[i % n].len, cpu_to_le32(now->len));
            qatomic_set(&ring[i % n].addr, cpu_to_le64(now->addr));
        }
        dp_rig_restart(r);
    }
    dp_make_frame(r->frame, 60, 1);
    dp_transmit(r->nic, NULL, r->frame, 60);
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("memory/across/buffer", NULL, test_buffer_across);
    dp_add_ring_test("memory/across/table", NULL, test_table_across);
    dp_add_ring_test("memory/goes/rx-ring", NULL, test_rx_ring_goes);
    dp_add_ring_test("memory/goes/tx-ring", NULL, test_tx_ring_goes);
    dp_add_ring_test("memory/goes/buffer", NULL, test_buffer_goes);
    dp_add_ring_test("memory/bad-ring-place", NULL, test_bad_ring_place);
    dp_add_packed_test("memory/race/available", NULL, test_race_available);
    dp_add_ring_test("memory/race/descriptors", NULL, test_race_descriptors);
    return g_test_run();
}
