/*
 * vhost-dp: qtests, a NIC behind an IOMMU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "hw/pci/pci_regs.h"
#include "iommu-rig.h"

/* ---- Frames from and to scattered pages ---- */

/* A table that a page boundary cuts, inside of a descriptor */
static void transmit_by_table(Env *e, unsigned seed)
{
    DpRig *r = e->rig;
    uint64_t data = dp_alloc(e->guest, 3 * DP_PAGE_SIZE);
    uint64_t place = dp_alloc(e->guest, 2 * DP_PAGE_SIZE) + DP_PAGE_SIZE - 24;
    size_t len = 5000;
    DpBuf bufs[] = {
        { .addr = data, .len = r->nic->hdr_len },
        { .addr = data + 1000, .len = 3500 },
        { .addr = data + 4500, .len = len - 3500 },
    };
    uint64_t table = dp_make_table(r->tx, bufs, ARRAY_SIZE(bufs));

    dp_make_frame(r->frame, len, seed);
    memset(dp_host(e->guest, data), 0, r->nic->hdr_len);
    memcpy(dp_host(e->guest, data + 1000), r->frame, len);
    memcpy(dp_host(e->guest, place), dp_host(e->guest, table),
           ARRAY_SIZE(bufs) * 16);
    dp_add_table(r->tx, place, ARRAY_SIZE(bufs) * 16);
    dp_publish(r->tx);
    dp_wait_used(r->tx, NULL);
    dp_assert_frame(r->got, dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                         DP_MAX_FRAME, DP_TIMEOUT_US),
                    r->frame, len);
    guest_free(&e->guest->alloc, table);
    guest_free(&e->guest->alloc, place - (DP_PAGE_SIZE - 24));
    guest_free(&e->guest->alloc, data);
}

static void test_traffic(const void *opaque)
{
    Env *e = env_start(GPOINTER_TO_INT(opaque), (DpSetup) {
        .features = DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
                    DP_FEATURE(VIRTIO_RING_F_EVENT_IDX) |
                    DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
        /* Rings of several pages */
        .ring_size = 1024,
        .more = "-device pci-testdev,addr=09.0 ",
    }, false);
    DpRig *r = e->rig;
    QPCIDevice *other;
    uint64_t misses[2];
    unsigned i, q;

    for (i = 0; i < 10; i++) {
        dp_check_transmit(r->nic, r->sock, 60000, i);
        transmit_by_table(e, i);
        env_check_both_ways(e, i);
        /* Of a frame in many buffers, each of them is small */
        dp_post(r->nic, 20, 100);
        dp_make_frame(r->frame, 1514, i);
        dp_sock_send(r->sock, NULL, r->frame, 1514);
        dp_assert_frame(r->got, dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME),
                        r->frame, 1514);
        while (dp_get_used(r->rx, NULL, NULL)) {
            /* Nothing: they stay with the device */
        }
        dp_nic_reset(r->nic);
        dp_nic_start(r->nic, r->features);
    }
    env_check_no_violation(e);

    /* What is known is not asked for again */
    env_check_both_ways(e, i);
    for (q = DP_RX; q <= DP_TX; q++) {
        misses[q] = env_counter(e, q, "iotlb-misses");
        g_assert_cmpuint(misses[q], >, 0);
    }
    /* Nor when BARs of another device come and go */
    other = qpci_device_find(e->guest->bus, QPCI_DEVFN(9, 0));
    g_assert_nonnull(other);
    qpci_iomap(other, 0, NULL);
    for (i = 0; i < 20; i++) {
        qpci_config_writew(other, PCI_COMMAND, i % 2 ? PCI_COMMAND_MEMORY : 0);
        env_check_both_ways(e, i);
    }
    g_free(other);
    for (q = DP_RX; q <= DP_TX; q++) {
        g_assert_cmpuint(env_counter(e, q, "iotlb-misses"), ==, misses[q]);
        g_assert_cmpuint(env_counter(e, q, "iotlb-hits"), >, 20);
    }

    /* Until the IOMMU forgets all */
    if (e->kind == DP_VTD) {
        dp_iommu_invalidate_all(e->iommu);
        env_check_both_ways(e, i);
        for (q = DP_RX; q <= DP_TX; q++) {
            g_assert_cmpuint(env_counter(e, q, "iotlb-misses"), >, misses[q]);
        }
    }
    env_free(e);
}

/* ---- The same in virtio.c, which takes over without a link ---- */

/* An element of the used ring, of 8 bytes, lies across a page boundary */
static void drop_ring(Env *e)
{
    DpQueue *q = e->rig->tx;
    DpBuf buf = { .addr = dp_alloc(e->guest, 100), .len = 100 };
    const uint16_t *avail_idx = dp_host(e->guest, q->pci.vq.avail + 2);
    unsigned size = q->pci.vq.size, i;

    for (i = 0; i < size; i++) {
        dp_add(q, &buf, 1);
        dp_publish(q);
        dp_wait_used(q, NULL);
        if (!q->packed) {
            g_assert_cmphex(le16_to_cpu(*avail_idx), ==, i + 1);
        }
    }
    guest_free(&e->guest->alloc, buf.addr);
}

/* A descriptor of an indirect table lies across a page boundary */
static void control_by_table(Env *e)
{
    DpNic *nic = e->rig->nic;
    uint64_t data = dp_alloc(e->guest, DP_PAGE_SIZE);
    uint64_t place = dp_alloc(e->guest, 2 * DP_PAGE_SIZE) + DP_PAGE_SIZE - 24;
    DpBuf bufs[] = {
        { .addr = data, .len = 2 },
        { .addr = data + 100, .len = 1 },
        { .addr = data + 200, .len = 1, .write = true },
    };
    uint64_t table = dp_make_table(nic->ctrl, bufs, ARRAY_SIZE(bufs));
    uint8_t *p = dp_host(e->guest, data);

    p[0] = VIRTIO_NET_CTRL_RX;
    p[1] = VIRTIO_NET_CTRL_RX_PROMISC;
    p[100] = 1;
    p[200] = 0xff;
    memcpy(dp_host(e->guest, place), dp_host(e->guest, table),
           ARRAY_SIZE(bufs) * 16);
    dp_add_table(nic->ctrl, place, ARRAY_SIZE(bufs) * 16);
    dp_publish(nic->ctrl);
    dp_wait_used(nic->ctrl, NULL);
    g_assert_cmphex(p[200], ==, VIRTIO_NET_OK);
}

static void test_without_link(const void *opaque)
{
    Env *e = env_start(GPOINTER_TO_INT(opaque), (DpSetup) {
        .features = DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
                    DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                    DP_FEATURE(VIRTIO_NET_F_CTRL_RX) |
                    DP_FEATURE(VIRTIO_NET_F_STATUS),
        .ring_size = 1024,
    }, false);
    static const char *const set_link =
        "{ 'execute': 'set_link', 'arguments': { 'name': 'vd0', 'up': %i } }";

    control_by_table(e);
    qtest_qmp_assert_success(e->rig->qts, set_link, false);
    dp_wait_until(!dp_nic_link(e->rig->nic));
    drop_ring(e);
    qtest_qmp_assert_success(e->rig->qts, set_link, true);
    dp_wait_until(dp_nic_link(e->rig->nic));
    env_check_both_ways(e, 1);
    env_check_no_violation(e);
    env_free(e);
}

/* ---- A page that was unmapped is not touched ---- */

#define REMAPS          2000u

/* Whole frames of one generation that was in place, and nothing else */
static void watch_wire(Env *e, unsigned generation)
{
    uint32_t word[WATCHED_FRAME / sizeof(uint32_t)];
    uint8_t *frame = (uint8_t *)word;
    unsigned i;
    size_t len;

    while ((len = dp_sock_recv(e->rig->sock, 0, NULL, frame, sizeof(word),
                               0))) {
        if (frame[12] != DP_ETHERTYPE >> 8 ||
            frame[13] != (DP_ETHERTYPE & 0xff)) {
            /* Poison, or one of the kernel's own */
            g_assert_cmphex(frame[12], !=, POISON);
            continue;
        }
        g_assert_cmpuint(len, ==, WATCHED_FRAME);
        g_assert_cmpuint(word[4], <=, generation);
        for (i = 5; i < ARRAY_SIZE(word); i++) {
            g_assert_cmphex(word[i], ==, word[4]);
        }
    }
}

static void make_watched_frame(uint8_t *buffer, unsigned generation)
{
    uint32_t word[WATCHED_FRAME / sizeof(uint32_t)];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(word); i++) {
        word[i] = generation;
    }
    dp_make_frame((uint8_t *)word, 16, 0);
    memset(buffer, 0, sizeof(struct virtio_net_hdr_v1));
    memcpy(buffer + sizeof(struct virtio_net_hdr_v1), word, sizeof(word));
}

/* So many of them, and as much traffic, however busy the machine is */
static bool unmap_more(const Feeder *f, unsigned i)
{
    g_assert_cmpuint(i, <, 100 * REMAPS);
    return i < REMAPS || qatomic_read(&f->used) < REMAPS;
}

/* The device reads: what was poisoned must not be on the wire */
static void test_unmap_tx(const void *opaque)
{
    Env *e = env_start(GPOINTER_TO_INT(opaque), (DpSetup) {}, false);
    Watched w;
    Feeder f = { .q = e->rig->tx, .w = &w };
    unsigned i;

    watched_init(e, &w);
    for (i = 0; i < WATCHED; i++) {
        make_watched_frame(watched_host(e, &w, i, true), 0);
    }
    feeder_start(&f);
    for (i = 1; unmap_more(&f, i); i++) {
        make_watched_frame(watched_host(e, &w, i % WATCHED, false), i);
        feeder_kick(&f);
        watched_swap(e, &w, i % WATCHED, DP_MAP_READ);
        watch_wire(e, i);
    }
    feeder_stop(&f);
    watch_wire(e, i);
    env_check_no_violation(e);
    g_test_message("%" PRIu64 " frames, %" PRIu64 " misses", f.used,
                   env_counter(e, DP_TX, "iotlb-misses"));
    g_assert_cmpuint(env_counter(e, DP_TX, "iotlb-misses"), >, REMAPS / 20);
    g_assert_cmpuint(env_counter(e, DP_TX, "drop:bad-header"), ==, 0);
    env_free(e);
}

/* The device writes: what is poisoned stays so until it is mapped again */
static void test_unmap_rx(const void *opaque)
{
    Env *e = env_start(GPOINTER_TO_INT(opaque), (DpSetup) {
        .null = true, .driver = "flat-out=on",
    }, false);
    Watched w;
    Feeder f = { .q = e->rig->rx, .w = &w, .write = true };
    unsigned i;

    watched_init(e, &w);
    feeder_start(&f);
    for (i = 1; unmap_more(&f, i); i++) {
        check_poison(watched_host(e, &w, i % WATCHED, false));
        feeder_kick(&f);
        watched_swap(e, &w, i % WATCHED, DP_MAP_WRITE);
    }
    feeder_stop(&f);
    for (i = 0; i < WATCHED; i++) {
        check_poison(watched_host(e, &w, i, false));
    }
    env_check_no_violation(e);
    g_test_message("%" PRIu64 " frames, %" PRIu64 " misses", f.used,
                   env_counter(e, DP_RX, "iotlb-misses"));
    g_assert_cmpuint(env_counter(e, DP_RX, "iotlb-misses"), >, REMAPS / 20);
    env_free(e);
}

/* What is behind the last byte of a ring */
static uint64_t ring_end(const DpQueue *q)
{
    const QVirtQueue *vq = &q->pci.vq;

    return vq->used + (q->packed ? sizeof(*q->ring.device_event) :
                       offsetof(struct vring_used, ring[vq->size]) +
                       sizeof(uint16_t));
}

/* Returns where it was */
static uint64_t move_ring_page(Env *e, DpQueue *q, uint64_t iova)
{
    unsigned i = (iova - WINDOW_AT) / DP_PAGE_SIZE;
    uint64_t old = e->page[i];

    e->page[i] = env_spare(e);
    memcpy(dp_host(e->guest, e->page[i]), dp_host(e->guest, old),
           DP_PAGE_SIZE);
    env_see(e, i);
    dp_iommu_remap(e->iommu, iova, e->page[i], DP_MAP_BOTH);
    memset(dp_host(e->guest, old), POISON, DP_PAGE_SIZE);
    /* What the device wrote after the copy was made was about kicks */
    dp_kick(q);
    return old;
}

/* The pages of the rings are moved one by one */
static void test_unmap_ring(const void *opaque)
{
    Env *e = env_start(GPOINTER_TO_INT(opaque), (DpSetup) {
        .ring_size = 1024,
    }, false);
    DpQueue *const queue[] = { e->rig->rx, e->rig->tx };
    g_autoptr(GArray) old = g_array_new(false, false, sizeof(uint64_t));
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(queue); i++) {
        uint64_t at = queue[i]->pci.vq.desc;

        for (; at < ring_end(queue[i]); at += DP_PAGE_SIZE) {
            uint64_t page;

            env_check_both_ways(e, old->len);
            page = move_ring_page(e, queue[i], at);
            g_array_append_val(old, page);
            env_check_both_ways(e, old->len);
        }
    }
    for (i = 0; i < old->len; i++) {
        check_poison(dp_host(e->guest, g_array_index(old, uint64_t, i)));
    }
    env_check_no_violation(e);
    env_free(e);
}

/* ---- Faults ---- */

typedef struct Fault {
    const char *name;
    unsigned queue;
    /* Do it.  Returns the page that the IOMMU has to name. */
    uint64_t (*cause)(Env *e, unsigned access);
    unsigned access;            /* that there is, of one page */
} Fault;

static uint64_t fault_add(Env *e, DpQueue *q, uint64_t addr, size_t len,
                          bool write)
{
    DpBuf buf = { addr, len, write };

    dp_add(q, &buf, 1);
    dp_publish(q);
    return addr & ~(uint64_t)(DP_PAGE_SIZE - 1);
}

static uint64_t one_page(Env *e, unsigned access)
{
    if (access) {
        dp_iommu_map(e->iommu, HOLE_AT, env_spare(e), DP_PAGE_SIZE, access);
    }
    return HOLE_AT;
}

static uint64_t cause_tx_buffer(Env *e, unsigned access)
{
    return fault_add(e, e->rig->tx, one_page(e, access) + 8, 1000, false);
}

/* The first of its pages is good */
static uint64_t cause_tx_second_page(Env *e, unsigned access)
{
    fault_add(e, e->rig->tx, one_page(e, access) - 1000, 2000, false);
    return HOLE_AT;
}

static uint64_t cause_tx_table(Env *e, unsigned access)
{
    uint64_t table = one_page(e, access);

    dp_add_table(e->rig->tx, table, 64);
    dp_publish(e->rig->tx);
    return table;
}

static uint64_t cause_rx_buffer(Env *e, unsigned access)
{
    uint64_t page = fault_add(e, e->rig->rx, one_page(e, access), 2000, true);

    dp_make_frame(e->rig->frame, 100, 1);
    dp_sock_send(e->rig->sock, NULL, e->rig->frame, 100);
    return page;
}

/* The page goes that has the start, or the end, of a ring that is in use */
static uint64_t take_ring_page(Env *e, DpQueue *q, uint64_t iova,
                               unsigned access)
{
    unsigned i = (iova - WINDOW_AT) / DP_PAGE_SIZE;

    iova = WINDOW_AT + i * DP_PAGE_SIZE;
    if (access) {
        dp_iommu_remap(e->iommu, iova, e->page[i], access);
    } else {
        dp_iommu_unmap(e->iommu, iova, DP_PAGE_SIZE);
    }
    dp_kick(q);
    return iova;
}

static uint64_t cause_tx_ring_start(Env *e, unsigned access)
{
    return take_ring_page(e, e->rig->tx, e->rig->tx->pci.vq.desc, access);
}

static uint64_t cause_tx_ring_end(Env *e, unsigned access)
{
    return take_ring_page(e, e->rig->tx, ring_end(e->rig->tx) - 1, access);
}

static uint64_t cause_rx_ring_end(Env *e, unsigned access)
{
    uint64_t page = take_ring_page(e, e->rig->rx, ring_end(e->rig->rx) - 1,
                                   access);

    dp_make_frame(e->rig->frame, 100, 1);
    dp_sock_send(e->rig->sock, NULL, e->rig->frame, 100);
    return page;
}

static const Fault faults[] = {
    { "transmit/table", DP_TX, cause_tx_table },
    { "transmit/ring-start", DP_TX, cause_tx_ring_start },
    { "transmit/ring-end", DP_TX, cause_tx_ring_end },
    { "transmit/ring-read-only", DP_TX, cause_tx_ring_end, DP_MAP_READ },
    { "receive/unmapped", DP_RX, cause_rx_buffer },
    { "receive/read-only", DP_RX, cause_rx_buffer, DP_MAP_READ },
    { "receive/ring-end", DP_RX, cause_rx_ring_end },
    { "receive/ring-read-only", DP_RX, cause_rx_ring_end, DP_MAP_READ },
};

/*
 * The IOMMU reports it, the queue stops, the guest is told, all else goes on;
 * and a reset makes it good, when the mappings are.
 */
static void check_fault(Env *e, const Fault *f)
{
    DpRig *r = e->rig;
    unsigned nused = e->nused;
    uint64_t page, got;
    unsigned i;

    env_check_both_ways(e, 1);
    page = f->cause(e, f->access);
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    g_assert_cmpuint(env_counter(e, f->queue, "violation:iommu-fault"), >, 0);
    g_assert_true(dp_iommu_get_fault(e->iommu, &got));
    g_assert_cmphex(got, ==, page);
    if (f->queue == DP_TX) {
        dp_check_receive(r->nic, r->sock, 100, 2);
    } else {
        dp_check_transmit(r->nic, r->sock, 100, 2);
    }

    dp_nic_reset(r->nic);
    while (dp_iommu_get_fault(e->iommu, &got)) {
        /* A page may be missed for more than one reason */
        g_assert_cmphex(got, ==, page);
    }
    if (page == HOLE_AT) {
        dp_iommu_unmap(e->iommu, HOLE_AT, DP_PAGE_SIZE);
    } else {
        i = (page - WINDOW_AT) / DP_PAGE_SIZE;
        dp_iommu_remap(e->iommu, page, e->page[i], DP_MAP_BOTH);
    }
    e->nused = nused;
    dp_nic_start(r->nic, r->features);
    env_check_both_ways(e, 3);
}

static void test_faults(const void *opaque)
{
    Env *e = env_start(GPOINTER_TO_INT(opaque), (DpSetup) {
        .features = DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
        .ring_size = 512,
    }, false);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(faults); i++) {
        g_test_message("%s", faults[i].name);
        check_fault(e, &faults[i]);
    }
    env_free(e);
}

/* The IOMMU does its part, but what it leads to is no RAM: nothing to report */
static uint64_t cause_tx_not_ram(Env *e, unsigned access)
{
    dp_iommu_map(e->iommu, HOLE_AT, DP_GPA_UNMAPPED, DP_PAGE_SIZE, access);
    return fault_add(e, e->rig->tx, HOLE_AT, 1000, false);
}

/* As Linux' driver when an AF_XDP socket sends: the header alone is bad */
static uint64_t cause_tx_header(Env *e, unsigned access)
{
    DpBuf bufs[] = {
        { HOLE_AT + 100, sizeof(struct virtio_net_hdr_v1) },
        { WINDOW_AT, 1000 },
    };

    dp_add(e->rig->tx, bufs, ARRAY_SIZE(bufs));
    dp_publish(e->rig->tx);
    return HOLE_AT;
}

static const Fault losses[] = {
    { "unmapped", DP_TX, cause_tx_buffer },
    { "write-only", DP_TX, cause_tx_buffer, DP_MAP_WRITE },
    { "second-page", DP_TX, cause_tx_second_page },
    { "header", DP_TX, cause_tx_header },
    { "not-ram", DP_TX, cause_tx_not_ram, DP_MAP_BOTH },
};

static void wait_lost(Env *e, unsigned count)
{
    QTestState *qts = e->rig->qts;
    g_autofree char *state = NULL;

    dp_wait_counter(qts, "vd0", DP_TX, "violation:iommu-fault", count);
    dp_wait_counter(qts, "vd0", DP_TX, "drop:bad-buffer", count);
    state = dp_queue_state(qts, "vd0", DP_TX);
    g_assert_cmpstr(state, ==, "running");
    g_assert_false(dp_nic_status(e->rig->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* The page that could not be read is mapped, and read */
static void check_lost_page(Env *e)
{
    uint64_t page = env_spare(e);
    DpRig *r = e->rig;
    uint8_t *host = dp_host(e->guest, page);
    size_t hdr = sizeof(struct virtio_net_hdr_v1);

    dp_iommu_map(e->iommu, HOLE_AT, page, DP_PAGE_SIZE, DP_MAP_READ);
    memset(host, 0, hdr);
    dp_make_frame(host + hdr, 1000, 7);
    fault_add(e, r->tx, HOLE_AT, hdr + 1000, false);
    dp_wait_used(r->tx, NULL);
    dp_assert_frame(r->got, dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                         DP_MAX_FRAME, DP_TIMEOUT_US),
                    host + hdr, 1000);
    dp_iommu_unmap(e->iommu, HOLE_AT, DP_PAGE_SIZE);
}

/* The IOMMU reports it, and a frame is lost, but nothing stops */
static void check_loss(Env *e, const Fault *f, unsigned count)
{
    unsigned nused = e->nused;
    bool reported = false;
    uint64_t page, got;
    uint32_t len;

    page = f->cause(e, f->access);
    dp_wait_used(e->rig->tx, &len);
    g_assert_cmpuint(len, ==, 0);
    wait_lost(e, count);
    while (dp_iommu_get_fault(e->iommu, &got)) {
        g_assert_cmphex(got, ==, page);
        reported = true;
    }
    g_assert_cmpint(reported, ==, f->cause != cause_tx_not_ram);
    env_check_both_ways(e, count);

    if (f->access) {
        dp_iommu_unmap(e->iommu, HOLE_AT, DP_PAGE_SIZE);
    }
    check_lost_page(e);
    e->nused = nused;
}

static void test_losses(const void *opaque)
{
    Env *e = env_start(GPOINTER_TO_INT(opaque), (DpSetup) {}, false);
    unsigned count = 0;
    uint64_t got;
    unsigned i, j;

    env_check_both_ways(e, 1);
    for (i = 0; i < ARRAY_SIZE(losses); i++) {
        g_test_message("%s", losses[i].name);
        check_loss(e, &losses[i], ++count);
    }
    /* A ring full of them, each with a page of its own */
    for (j = 0; j < e->rig->tx->pci.vq.size; j++) {
        DpBuf buf = { HOLE_AT + j * DP_PAGE_SIZE, 1000 };

        dp_add(e->rig->tx, &buf, 1);
    }
    dp_publish(e->rig->tx);
    while (j--) {
        dp_wait_used(e->rig->tx, NULL);
        count++;
    }
    wait_lost(e, count);
    while (dp_iommu_get_fault(e->iommu, &got)) {
        g_assert_cmphex(got, >=, HOLE_AT);
    }
    env_check_both_ways(e, 1);
    env_free(e);
}

/* ---- Pass-through ---- */

#define SWITCHES    300u

/* Addresses mean the same either way, so nothing may be lost or stop */
static void test_bypass(const void *opaque)
{
    Env *e = env_start(GPOINTER_TO_INT(opaque), (DpSetup) {
        .null = true, .driver = "flat-out=on",
    }, true);
    Watched w;
    Feeder f[] = {
        { .q = e->rig->rx, .w = &w, .write = true },
        { .q = e->rig->tx, .w = &w },
    };
    uint64_t misses[ARRAY_SIZE(f)];
    unsigned i, q;

    for (i = 0; i < WATCHED; i++) {
        w.iova[i] = dp_alloc(e->guest, DP_PAGE_SIZE);
        memset(dp_host(e->guest, w.iova[i]), 0, DP_PAGE_SIZE);
    }
    for (q = 0; q < ARRAY_SIZE(f); q++) {
        feeder_start(&f[q]);
    }
    for (i = 0; i < SWITCHES; i++) {
        bool global = i % 10 == 0;
        bool look = i % 50 == 0;

        if (global) {
            dp_iommu_set_global_bypass(e->iommu, true);
        } else {
            dp_iommu_set_bypass(e->iommu, true);
        }
        for (q = 0; q < ARRAY_SIZE(f); q++) {
            misses[q] = look ? env_counter(e, q, "iotlb-misses") : 0;
            feeder_progress(&f[q], 10);
            if (look) {
                g_assert_cmpuint(env_counter(e, q, "iotlb-misses"), ==,
                                 misses[q]);
            }
        }
        if (global) {
            dp_iommu_set_global_bypass(e->iommu, false);
        } else {
            dp_iommu_set_bypass(e->iommu, false);
        }
        for (q = 0; q < ARRAY_SIZE(f); q++) {
            /* What is used next may have been done before the switch */
            feeder_progress(&f[q], 2 * DP_RING_SIZE);
            if (look) {
                g_assert_cmpuint(env_counter(e, q, "iotlb-misses"), >,
                                 misses[q]);
            }
        }
    }
    for (q = 0; q < ARRAY_SIZE(f); q++) {
        feeder_stop(&f[q]);
    }
    env_check_no_violation(e);
    env_free(e);
}

/* ---- An IOMMU that does not tell what it unmaps ---- */

static void check_transmit_from(Env *e, const Watched *w, unsigned i,
                                unsigned generation)
{
    DpRig *r = e->rig;
    DpBuf buf = { w->iova[i], WATCHED_BUFFER, false };
    size_t len;

    make_watched_frame(watched_host(e, w, i, true), generation);
    dp_add(r->tx, &buf, 1);
    dp_publish(r->tx);
    dp_wait_used(r->tx, NULL);
    len = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got, DP_MAX_FRAME,
                       DP_TIMEOUT_US);
    dp_assert_frame(r->got, len, watched_host(e, w, i, true) +
                                 sizeof(struct virtio_net_hdr_v1),
                    WATCHED_FRAME);
}

static void check_receive_to(Env *e, const Watched *w, unsigned i,
                             unsigned generation)
{
    DpRig *r = e->rig;
    DpBuf buf = { w->iova[i], WATCHED_BUFFER, true };

    dp_add(r->rx, &buf, 1);
    dp_publish(r->rx);
    dp_make_frame(r->frame, WATCHED_FRAME, generation);
    dp_sock_send(r->sock, NULL, r->frame, WATCHED_FRAME);
    dp_wait_used(r->rx, NULL);
    dp_assert_frame(watched_host(e, w, i, true) +
                    sizeof(struct virtio_net_hdr_v1), WATCHED_FRAME,
                    r->frame, WATCHED_FRAME);
    check_poison(watched_host(e, w, i, false));
}

/* A buffer's address leads somewhere else each time that the driver uses it */
static void test_amd_iommu(const void *opaque)
{
    Env *e = env_start(DP_AMD_IOMMU, (DpSetup) {}, false);
    Watched w;
    unsigned i;

    watched_init(e, &w);
    for (i = 0; i < 200; i++) {
        check_transmit_from(e, &w, i % WATCHED, i);
        watched_swap(e, &w, i % WATCHED, DP_MAP_BOTH);
    }
    for (i = 0; i < 200; i++) {
        check_receive_to(e, &w, i % WATCHED, i);
        watched_swap(e, &w, i % WATCHED, DP_MAP_BOTH);
    }
    env_check_no_violation(e);
    env_free(e);
}

static void add(const char *name, void (*fn)(const void *))
{
    static const char *const kind[DP_IOMMU_KINDS] = {
        [DP_VTD] = "intel-iommu",
        [DP_VIRTIO_IOMMU] = "virtio-iommu",
    };
    unsigned i;

    for (i = 0; i < DP_IOMMU_KINDS; i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", kind[i], name);

        dp_add_ring_test(path, GINT_TO_POINTER(i), fn);
    }
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    add("traffic", test_traffic);
    add("without-link", test_without_link);
    add("unmap/transmit", test_unmap_tx);
    add("unmap/receive", test_unmap_rx);
    add("unmap/rings", test_unmap_ring);
    add("faults", test_faults);
    add("losses", test_losses);
    add("bypass", test_bypass);
    dp_add_ring_test("amd-iommu/remap", NULL, test_amd_iommu);
    return g_test_run();
}
