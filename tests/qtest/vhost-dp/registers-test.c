/*
 * vhost-dp: qtests, a driver that writes anything at any time
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a round starts QEMU and does a number of random things
 * to a device with two queue pairs: most of them are what drivers do, in any
 * order and with odd values, to registers, rings and MSI-X; some are what
 * users do meanwhile.  QEMU has to live, and after a reset the device has to
 * work for a driver that does it right.
 *
 * What a round does depends on its seed and on nothing else.  Environment:
 *
 *   VHOST_DP_FUZZ_SEED     of the first round; each has one more
 *   VHOST_DP_FUZZ_SECONDS  rounds for so long, instead of one
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_mmio.h"
#include "standard-headers/linux/virtio_pci.h"
#include "transports.h"

#define OPS         500         /* of a round */
#define PAIRS       2
#define QUEUES      (2 * PAIRS + 1)
#define SLOTS       8           /* places for rings */
#define SLOT_SIZE   0x10000
#define AVAIL_AT    0x8000      /* in a slot, for drivers that may choose */
#define USED_AT     0xc000
#define DATA_SIZE   0x4000
#define LOG_LINES   40

static const char *const reg_names[NREGS] = {
    "features-select", "features", "status", "config-vector", "queue-select",
    "queue-size", "queue-vector", "queue-enable", "queue-reset", "queue-desc",
    "queue-avail", "queue-used", "queue-pfn", "queue-align", "page-size",
    "notify", "interrupt-ack",
};

typedef struct Run {
    const DpTransport *t;
    const char *kvm;            /* options for that, or NULL */
    DpRig *rig;
    QTestState *qts;
    uint32_t seed;
    GRand *rand;
    uint64_t offered;
    uint64_t slots;             /* guest-physical */
    uint64_t data;
    uint16_t msix;              /* the capability, or 0 */
    unsigned slot_of[QUEUES];   /* where the ring of a queue is, or was */
    uint16_t next[SLOTS];       /* of the available ring */
    unsigned op;
    char *log[LOG_LINES];
    unsigned nlog;
} Run;

/* ---- Chance, and what is told if it was a bad one ---- */

static unsigned rnd(Run *r, unsigned below)
{
    return g_rand_int_range(r->rand, 0, below);
}

static bool chance(Run *r, unsigned one_in)
{
    return rnd(r, one_in) == 0;
}

static uint64_t rnd64(Run *r)
{
    return (uint64_t)g_rand_int(r->rand) << 32 | g_rand_int(r->rand);
}

#define PICK(r, array) ((array)[rnd(r, ARRAY_SIZE(array))])

static void G_GNUC_PRINTF(2, 3) note(Run *r, const char *fmt, ...)
{
    char **line = &r->log[r->nlog++ % LOG_LINES];
    va_list ap;

    g_free(*line);
    va_start(ap, fmt);
    *line = g_strdup_vprintf(fmt, ap);
    va_end(ap);
}

static void show_log(void *opaque)
{
    Run *r = opaque;
    unsigned first = r->nlog > LOG_LINES ? r->nlog - LOG_LINES : 0;
    unsigned i;

    for (i = first; i < r->nlog; i++) {
        fprintf(stderr, "%s\n", r->log[i % LOG_LINES]);
    }
    fprintf(stderr, "operation %u of seed %u on %s; to repeat it: "
            "VHOST_DP_FUZZ_SEED=%u\n", r->op, r->seed, r->t->name, r->seed);
}

/* ---- Registers ---- */

static void write_at(Run *r, unsigned offset, unsigned width, uint32_t value)
{
    DpNic *nic = r->rig->nic;

    if (r->t->mmio) {
        uint64_t at = nic->mmio->addr + offset;

        if (width == 1) {
            qtest_writeb(r->qts, at, value);
        } else if (width == 2) {
            qtest_writew(r->qts, at, value);
        } else {
            qtest_writel(r->qts, at, value);
        }
    } else {
        QPCIDevice *dev = nic->pci->pdev;

        offset += r->t->modern ? nic->pci->common_cfg_offset : 0;
        if (width == 1) {
            qpci_io_writeb(dev, nic->pci->bar, offset, value);
        } else if (width == 2) {
            qpci_io_writew(dev, nic->pci->bar, offset, value);
        } else {
            qpci_io_writel(dev, nic->pci->bar, offset, value);
        }
    }
}

static void put(Run *r, DpReg reg, uint64_t value)
{
    const DpPlace *place = &r->t->reg[reg];

    if (!place->width) {
        return;
    }
    note(r, "%s = 0x%" PRIx64, reg_names[reg], value);
    write_at(r, place->offset, MIN(place->width, 4), value);
    if (place->width == 8) {
        write_at(r, place->offset + 4, 4, value >> 32);
    }
}

static void put_features(Run *r, uint64_t features)
{
    put(r, FEATURES_SELECT, 0);
    put(r, FEATURES, (uint32_t)features);
    if (r->t->modern) {
        put(r, FEATURES_SELECT, 1);
        put(r, FEATURES, features >> 32);
    }
}

static void notify(Run *r, unsigned queue)
{
    DpNic *nic = r->rig->nic;

    if (r->t->reg[NOTIFY].width) {
        put(r, NOTIFY, queue);
    } else {
        note(r, "notify %u", queue);
        qpci_io_writew(nic->pci->pdev, nic->pci->bar,
                       nic->pci->notify_cfg_offset +
                       (queue % QUEUES) * nic->pci->notify_off_multiplier,
                       queue);
    }
}

/* ---- Values ---- */

static uint64_t some_features(Run *r)
{
    uint64_t features = r->offered;

    switch (rnd(r, 4)) {
    case 0:
        return features & rnd64(r);
    case 1:
        return features & ~(1ull << rnd(r, 64));
    case 2:
        return rnd64(r);
    }
    return features & (DP_FEATURES_DEFAULT | DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                       DP_FEATURE(VIRTIO_NET_F_MQ) |
                       DP_FEATURE(VIRTIO_F_RING_RESET) |
                       (chance(r, 2) ? DP_FEATURE(VIRTIO_F_RING_PACKED) : 0) |
                       (chance(r, 2) ? DP_FEATURE(VIRTIO_F_IN_ORDER) : 0) |
                       (chance(r, 2) ? DP_FEATURE(VIRTIO_RING_F_EVENT_IDX) :
                        0));
}

static unsigned some_queue(Run *r)
{
    static const uint16_t odd[] = { QUEUES, QUEUES + 1, 1023, 1024, 0xffff };

    return chance(r, 20) ? PICK(r, odd) : rnd(r, QUEUES);
}

static uint16_t some_size(Run *r)
{
    static const uint16_t sizes[] = {
        0, 1, 2, 3, 4, 16, 64, 100, 256, 1023, 1024, 1025, 0x8000, 0xffff
    };

    return PICK(r, sizes);
}

static uint16_t some_vector(Run *r)
{
    static const uint16_t odd[] = { 0xffff, 0x7fff, 64, 2 * QUEUES };

    return chance(r, 4) ? PICK(r, odd) : rnd(r, QUEUES + 2);
}

static uint64_t some_address(Run *r)
{
    const uint64_t odd[] = {
        0, 1, DP_GPA_NOT_RAM, DP_GPA_UNMAPPED, -4096ull, -16ull,
        r->rig->guest->ram_at + DP_RAM_SIZE - 4096,
        r->slots + SLOT_SIZE + 2, 0xa0000, 0xfee00000, 1ull << 40,
    };

    return chance(r, 6) ? PICK(r, odd)
                        : r->slots + rnd(r, SLOTS) * SLOT_SIZE;
}

static uint8_t some_status(Run *r)
{
    static const uint8_t usual[] = { 0, 1, 3, 7, 11, 15 };

    return chance(r, 8) ? rnd(r, 256) : PICK(r, usual);
}

/* ---- What drivers do ---- */

static void set_ring(Run *r, unsigned queue, uint64_t at)
{
    unsigned shift = r->t->mmio ? 12 : VIRTIO_PCI_QUEUE_ADDR_SHIFT;

    if (queue < QUEUES && at - r->slots < SLOTS * SLOT_SIZE) {
        r->slot_of[queue] = (at - r->slots) / SLOT_SIZE;
    }
    put(r, QUEUE_DESC, at);
    put(r, QUEUE_AVAIL, chance(r, 16) ? some_address(r) : at + AVAIL_AT);
    put(r, QUEUE_USED, chance(r, 16) ? some_address(r) : at + USED_AT);
    put(r, QUEUE_PFN, at >> shift);
}

static void clear_slot(Run *r, unsigned slot)
{
    memset(dp_host(r->rig->guest, r->slots + slot * SLOT_SIZE), 0, SLOT_SIZE);
    r->next[slot] = 0;
}

static void set_up_queue(Run *r, unsigned queue)
{
    uint64_t at = some_address(r);

    put(r, QUEUE_SELECT, queue);
    if (chance(r, 2)) {
        put(r, QUEUE_SIZE, some_size(r));
    }
    if (at - r->slots < SLOTS * SLOT_SIZE && !chance(r, 4)) {
        clear_slot(r, (at - r->slots) / SLOT_SIZE);
    }
    if (chance(r, 2)) {
        put(r, QUEUE_VECTOR, some_vector(r));
    }
    set_ring(r, queue, at);
    put(r, QUEUE_ENABLE, 1);
    if (chance(r, 2)) {
        put(r, QUEUE_VECTOR, some_vector(r));
    }
}

/* All in the right order, but for DRIVER_OK, which is at any place */
static void op_start(Run *r)
{
    unsigned when = chance(r, 2) ? QUEUES : rnd(r, QUEUES + 1);
    uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
    unsigned i;

    put(r, STATUS, 0);
    put(r, STATUS, status);
    put(r, PAGE_SIZE, 4096);
    put_features(r, some_features(r));
    if (r->t->modern && !chance(r, 4)) {
        status |= VIRTIO_CONFIG_S_FEATURES_OK;
        put(r, STATUS, status);
    }
    for (i = 0; i <= QUEUES; i++) {
        if (i == when) {
            put(r, STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
        }
        if (i < QUEUES && !chance(r, 8)) {
            set_up_queue(r, i);
        }
    }
}

static void op_features(Run *r)
{
    put_features(r, some_features(r));
}

static void op_status(Run *r)
{
    put(r, STATUS, some_status(r));
}

static void op_queue(Run *r)
{
    unsigned queue = some_queue(r);

    put(r, QUEUE_SELECT, queue);
    switch (rnd(r, 7)) {
    case 0:
        put(r, QUEUE_SIZE, some_size(r));
        break;
    case 1:
        set_ring(r, queue, some_address(r));
        break;
    case 2:
        put(r, QUEUE_ENABLE, chance(r, 8) ? rnd(r, 3) : 1);
        break;
    case 3:
        put(r, QUEUE_RESET, chance(r, 8) ? rnd(r, 3) : 1);
        if (chance(r, 2)) {
            set_up_queue(r, queue);
        }
        break;
    case 4:
        put(r, QUEUE_VECTOR, some_vector(r));
        break;
    case 5:
        put(r, CONFIG_VECTOR, some_vector(r));
        break;
    case 6:
        put(r, QUEUE_ALIGN, chance(r, 2) ? 4096 : 1u << rnd(r, 32));
        break;
    }
}

/* Any value in any register, or next to it */
static void op_anything(Run *r)
{
    unsigned reg = rnd(r, NREGS);
    const DpPlace *place = &r->t->reg[reg];
    uint32_t value = chance(r, 2) ? rnd(r, 16) : g_rand_int(r->rand);
    unsigned width = 1u << rnd(r, 3);
    unsigned offset = rnd(r, 0x40);

    if (r->t->config && chance(r, 4)) {
        offset += r->t->config;
    } else if (place->width) {
        offset = place->offset;
    }
    /* libqos wants what a CPU would do */
    offset &= ~(width - 1);
    note(r, "%u bytes at 0x%x = 0x%x", width, offset, value);
    write_at(r, offset, width, value);
}

static void op_kick(Run *r)
{
    notify(r, some_queue(r));
}

/* ---- Rings ---- */

static void *slot_host(Run *r, unsigned slot, uint64_t at)
{
    return dp_host(r->rig->guest, r->slots + slot * SLOT_SIZE + at);
}

/* Where a ring's available area is, for drivers that cannot choose it: 1024 */
static uint64_t avail_at(const Run *r)
{
    return r->t->modern ? AVAIL_AT : 1024 * sizeof(struct vring_desc);
}

/* @n descriptors, as both formats have them; the first @out are readable */
static void add_chain(Run *r, unsigned queue, const DpBuf *bufs, unsigned n)
{
    unsigned slot = r->slot_of[queue];
    struct vring_desc *desc = slot_host(r, slot, 0);
    struct vring_packed_desc *packed = slot_host(r, slot, 0);
    struct vring_avail *avail = slot_host(r, slot, avail_at(r));
    bool is_packed = r->rig->guest->packed && !chance(r, 4);
    uint16_t first = r->next[slot];
    unsigned i;

    for (i = 0; i < n; i++) {
        unsigned at = (first + i) % 256;
        uint16_t flags = (bufs[i].write ? VRING_DESC_F_WRITE : 0) |
                         (i + 1 < n ? VRING_DESC_F_NEXT : 0);

        if (is_packed) {
            virtq_set_packed_desc(&packed[at], bufs[i].addr, bufs[i].len, at,
                                  flags | 1u << VRING_PACKED_DESC_F_AVAIL);
        } else {
            virtq_set_desc(&desc[at], bufs[i].addr, bufs[i].len, flags,
                           (at + 1) % 256);
        }
    }
    r->next[slot] += n;
    if (!is_packed) {
        uint16_t idx = le16_to_cpu(avail->idx);

        avail->ring[idx % 256] = cpu_to_le16(first % 256);
        /* The entry before the index */
        smp_wmb();
        avail->idx = cpu_to_le16(idx + 1);
    }
}

static void op_offer(Run *r)
{
    unsigned queue = rnd(r, 2 * PAIRS);
    unsigned n = 1 + rnd(r, 4);

    note(r, "offer %u to queue %u", n, queue);
    while (n--) {
        DpBuf bufs[2] = {
            { .addr = r->data + rnd(r, 2048), .len = 12,
              .write = queue % 2 == DP_RX },
            { .addr = r->data + rnd(r, 4096), .len = 60 + rnd(r, 3000),
              .write = queue % 2 == DP_RX },
        };

        if (chance(r, 30)) {
            bufs[1].addr = some_address(r);
        }
        add_chain(r, queue, bufs, 2);
    }
    notify(r, queue);
}

/* A command, of all classes, with arguments that are right or not */
static void op_control(Run *r)
{
    unsigned queue = chance(r, 8) ? 2 : 2 * PAIRS;
    uint8_t *p = dp_host(r->rig->guest, r->data + DATA_SIZE / 2);
    unsigned len = chance(r, 2) ? 2 : rnd(r, 40);
    DpBuf bufs[] = {
        { .addr = r->data + DATA_SIZE / 2, .len = 2 + len },
        { .addr = r->data + DATA_SIZE - 8, .len = 1, .write = true },
    };
    unsigned i;

    p[0] = rnd(r, 8);
    p[1] = rnd(r, 5);
    for (i = 0; i < len; i++) {
        p[2 + i] = i || !chance(r, 2) ? rnd(r, 3) : rnd(r, 256);
    }
    note(r, "control %u, %u, %u bytes", p[0], p[1], len);
    add_chain(r, queue, bufs, ARRAY_SIZE(bufs));
    notify(r, queue);
}

/* Other words in rings: indices, flags, addresses */
static void op_scribble(Run *r)
{
    unsigned slot = rnd(r, SLOTS);
    unsigned n = 1 + rnd(r, 8);

    note(r, "scribble in slot %u", slot);
    while (n--) {
        uint16_t *word = slot_host(r, slot, rnd(r, SLOT_SIZE / 2) * 2);

        if (chance(r, 2)) {
            word = slot_host(r, slot, avail_at(r) + 2 * rnd(r, 2));
        }
        *word = chance(r, 2) ? rnd(r, 4) : rnd(r, 65536);
    }
}

/* ---- PCI ---- */

static void op_msix(Run *r)
{
    QPCIDevice *dev;
    unsigned at;

    if (!r->msix) {
        return;
    }
    dev = r->rig->nic->pci->pdev;
    if (chance(r, 2)) {
        uint16_t flags = chance(r, 2) ? PCI_MSIX_FLAGS_ENABLE :
                         rnd(r, 4) << 14;

        note(r, "MSI-X flags 0x%x", flags);
        qpci_config_writew(dev, r->msix + PCI_MSIX_FLAGS, flags);
        return;
    }
    at = rnd(r, QUEUES + 2) * PCI_MSIX_ENTRY_SIZE;
    note(r, "MSI-X table 0x%x", at);
    qpci_io_writel(dev, dev->msix_table_bar, dev->msix_table_off + at +
                   PCI_MSIX_ENTRY_LOWER_ADDR, r->data + rnd(r, 64) * 4);
    qpci_io_writel(dev, dev->msix_table_bar, dev->msix_table_off + at +
                   PCI_MSIX_ENTRY_VECTOR_CTRL, rnd(r, 2));
}

static void set_command(Run *r, uint16_t command)
{
    if (r->rig->nic->pci) {
        note(r, "PCI command 0x%x", command);
        qpci_config_writew(r->rig->nic->pci->pdev, PCI_COMMAND, command);
    }
}

#define COMMAND (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static void op_command(Run *r)
{
    set_command(r, COMMAND & ~(chance(r, 2) ? PCI_COMMAND_MASTER : 0));
    if (!chance(r, 4)) {
        set_command(r, COMMAND);
    }
}

/* ---- What users do ---- */

static void command(Run *r, const char *name)
{
    note(r, "%s", name);
    qobject_unref(qtest_qmp(r->qts, "{ 'execute': %s }", name));
}

static void set_link(Run *r, bool up)
{
    note(r, "set_link %d", up);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link', 'arguments':"
                             " { 'name': 'nic', 'up': %i } }", up);
}

static void op_user(Run *r)
{
    switch (rnd(r, 4)) {
    case 0:
        set_link(r, chance(r, 2));
        break;
    case 1:
        command(r, "stop");
        if (!chance(r, 4)) {
            command(r, "cont");
        }
        break;
    case 2:
        command(r, "query-vhost-dp");
        break;
    case 3:
        command(r, "cont");
        break;
    }
}

static void op_query(Run *r)
{
    g_autofree char *path = g_strdup_printf("/machine/peripheral/nic%s",
                                            r->t->mmio ? "" :
                                            "/virtio-backend");

    note(r, "query");
    qobject_unref(qtest_qmp(r->qts, "{ 'execute': 'x-query-virtio-status',"
                            " 'arguments': { 'path': %s } }", path));
    qobject_unref(qtest_qmp(r->qts, "{ 'execute':"
                            " 'x-query-virtio-queue-status', 'arguments':"
                            " { 'path': %s, 'queue': %i } }", path,
                            (int)rnd(r, QUEUES)));
}

static const struct {
    unsigned weight;
    void (*op)(Run *r);
} table[] = {
    { 12, op_start }, { 6, op_features }, { 8, op_status }, { 24, op_queue },
    { 6, op_anything }, { 10, op_kick }, { 20, op_offer }, { 10, op_control },
    { 6, op_scribble }, { 8, op_msix }, { 4, op_command }, { 6, op_user },
    { 3, op_query },
};

static void do_something(Run *r)
{
    unsigned sum = 0;
    unsigned i, x;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        sum += table[i].weight;
    }
    x = rnd(r, sum);
    for (i = 0; x >= table[i].weight; i++) {
        x -= table[i].weight;
    }
    table[i].op(r);
}

/* ---- A round ---- */

static void begin(Run *r)
{
    g_autofree char *more = g_strdup_printf("%s %s", r->t->more,
                                            r->kvm ?: "");
    DpNic *nic;
    QPCIDevice *dev;

    r->rig = dp_rig_start(&(DpSetup) {
        .null = true, .driver = "loopback=on", .pairs = PAIRS,
        .device = r->t->device, .mmio = r->t->mmio, .more = more }, false);
    r->qts = r->rig->qts;
    nic = r->rig->nic;
    r->offered = qvirtio_get_features(nic->vdev);
    r->slots = dp_alloc(r->rig->guest, SLOTS * SLOT_SIZE);
    r->data = dp_alloc(r->rig->guest, DATA_SIZE);
    if (nic->pci) {
        /* So that libqos knows where the table is */
        dev = nic->pci->pdev;
        qpci_msix_enable(dev);
        r->msix = qpci_find_capability(dev, PCI_CAP_ID_MSIX, 0);
    }
}

/* Take frames until there is none for a while; is the last one ours? */
static bool frame_comes(DpRig *rig)
{
    int64_t end = g_get_monotonic_time() + DP_QUIET_US;
    size_t len = 0;

    while (g_get_monotonic_time() < end) {
        if (!dp_has_used(rig->rx)) {
            g_usleep(100);
            continue;
        }
        len = dp_receive(rig->nic, NULL, rig->got, DP_MAX_FRAME);
        dp_post(rig->nic, 1, 4096);
        end = g_get_monotonic_time() + DP_QUIET_US;
    }
    return len == 300 && !memcmp(rig->got, rig->frame, len);
}

/* A driver that does it right finds a device that works */
static void check_works(Run *r)
{
    DpRig *rig = r->rig;
    unsigned i;

    r->op++;
    set_command(r, COMMAND);
    if (r->msix) {
        qpci_msix_disable(rig->nic->pci->pdev);
    }
    set_link(r, true);
    command(r, "cont");
    note(r, "a driver that does it right");
    put(r, STATUS, 0);
    put(r, PAGE_SIZE, 4096);
    dp_rig_restart(rig);
    dp_post(rig->nic, 32, 4096);
    /* The loop may be full of what the driver before sent: let it out */
    frame_comes(rig);
    for (i = 0; i < 2; i++) {
        dp_make_frame(rig->frame, 300, i);
        dp_transmit(rig->nic, NULL, rig->frame, 300);
        dp_wait_until(frame_comes(rig));
    }
}

static void run_round(const DpTransport *t, const char *kvm, uint32_t seed)
{
    Run r = { .t = t, .kvm = kvm, .seed = seed };
    unsigned i;

    g_test_message("seed %u", seed);
    r.rand = g_rand_new_with_seed(seed);
    begin(&r);
    qtest_add_abrt_handler(show_log, &r);
    for (r.op = 0; r.op < OPS; r.op++) {
        do_something(&r);
    }
    check_works(&r);
    qtest_remove_abrt_handler(&r);
    dp_rig_free(r.rig);
    g_rand_free(r.rand);
    for (i = 0; i < LOG_LINES; i++) {
        g_free(r.log[i]);
    }
}

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    unsigned value;

    if (!text) {
        return otherwise;
    }
    g_assert_cmpint(qemu_strtoui(text, NULL, 0, &value), ==, 0);
    return value;
}

static void run_rounds(const DpTransport *t, const char *kvm)
{
    unsigned seconds = from_environment("VHOST_DP_FUZZ_SECONDS", 0);
    uint32_t seed = from_environment("VHOST_DP_FUZZ_SEED", 1);
    int64_t end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;

    do {
        run_round(t, kvm, seed++);
    } while (g_get_monotonic_time() < end);
}

static void test_registers(const void *opaque)
{
    run_rounds(opaque, NULL);
}

static void test_under_kvm(const void *opaque)
{
    const char *kvm = dp_kvm_options();

    if (kvm) {
        run_rounds(opaque, kvm);
    }
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < DP_NTRANSPORTS; i++) {
        dp_add_transport_test("registers", &dp_transports[i],
                              test_registers);
        if (!dp_transports[i].mmio) {
            dp_add_transport_test("registers-kvm", &dp_transports[i],
                                  test_under_kvm);
        }
    }
    return g_test_run();
}
