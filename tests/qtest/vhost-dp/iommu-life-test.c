/*
 * vhost-dp: qtests, a NIC and its IOMMU in the long run
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ATS, which the guest switches while the device runs; an IOMMU that cannot
 * answer at once; and all together, in random order.  The number of steps of
 * that is VHOST_DP_IOMMU_STEPS, their order --seed.  With -m perf, also what a
 * translation costs.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "libqos/pci-pc.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "iommu-rig.h"

/* ---- ATS: an Express device, behind a root port ---- */

#define PORT_DEVFN      QPCI_DEVFN(2, 0)
#define BUS_1_SLOT      32              /* bus 1, slot 0, as dp_nic_probe() */
#define ECAM_AT         0xb0000000ull
#define Q35_PCIEXBAR    0x60
#define PORT_OPTIONS    " -device pcie-root-port,id=rp,chassis=1,addr=02.0"

/* Let the guest's firmware's work be done: a bus number and a window */
static void port_init(DpGuest *guest)
{
    QPCIDevice *host = qpci_device_find(guest->bus, 0);
    QPCIDevice *port = qpci_device_find(guest->bus, PORT_DEVFN);

    g_assert_nonnull(port);
    qpci_config_writel(host, Q35_PCIEXBAR, ECAM_AT | 1);
    qpci_config_writel(port, PCI_PRIMARY_BUS, 0x00010100);
    /* 0xe0000000 to 0xefffffff, where libqos puts BARs */
    qpci_config_writel(port, PCI_MEMORY_BASE, 0xeff0e000);
    qpci_device_enable(port);
    g_free(port);
    g_free(host);
}

static void nic_set_ats(DpGuest *guest, bool on)
{
    uint64_t config = ECAM_AT + (1 << 20);
    uint32_t cap = PCI_CFG_SPACE_SIZE;

    while (PCI_EXT_CAP_ID(qtest_readl(guest->qts, config + cap)) !=
           PCI_EXT_CAP_ID_ATS) {
        cap = PCI_EXT_CAP_NEXT(qtest_readl(guest->qts, config + cap));
        g_assert_cmpuint(cap, !=, 0);
    }
    qtest_writew(guest->qts, config + cap + PCI_ATS_CTRL,
                 on ? PCI_ATS_CTRL_ENABLE : 0);
}

static void port_init_ats(DpGuest *guest)
{
    port_init(guest);
    nic_set_ats(guest, true);
}

/* After the page of each pair moved, frames come from where it is now */
static void check_pairs_follow(Env *e, const Watched *w, unsigned *generation)
{
    DpRig *r = e->rig;
    unsigned pair;

    for (pair = 0; pair < r->pairs; pair++) {
        DpQueue *q = &r->nic->queue[2 * pair + DP_TX];
        Watched *mutable = (Watched *)w;
        DpBuf buf = { w->iova[pair], WATCHED_BUFFER };
        unsigned i;

        /* Once so that the device knows the page, and once more */
        for (i = 0; i < 2; i++) {
            uint8_t *p = watched_host(e, w, pair, i == 0);

            memset(p, 0, r->nic->hdr_len);
            dp_make_frame(r->frame, WATCHED_FRAME, ++*generation);
            memcpy(p + r->nic->hdr_len, r->frame, WATCHED_FRAME);
            if (i) {
                watched_swap(e, mutable, pair, DP_MAP_BOTH);
            }
            dp_add(q, &buf, 1);
            dp_publish(q);
            dp_wait_used(q, NULL);
            dp_assert_frame(r->got, dp_sock_recv(r->sock, DP_ETHERTYPE, NULL,
                                                 r->got, DP_MAX_FRAME,
                                                 DP_TIMEOUT_US),
                            r->frame, WATCHED_FRAME);
        }
    }
}

/*
 * With ATS the invalidations for the device are what counts, and without it
 * those for the IOMMU.  All queue pairs have to follow the switch.
 */
static void test_ats(const void *opaque)
{
    const char *device_iotlb = opaque;
    g_autofree char *options = g_strdup_printf(
        "-M q35 -device intel-iommu%s" PORT_OPTIONS, device_iotlb);
    Env *e = env_start_after(DP_VTD, (DpSetup) {
        .device = ENV_DEVICE ",ats=on,bus=rp,addr=00.0",
        .options = options,
        .slot = BUS_1_SLOT,
        .pairs = 3,
    }, false, port_init_ats);
    Watched w;
    unsigned generation = 0;
    unsigned i;

    watched_init(e, &w);
    for (i = 0; i < 3; i++) {
        bool on = i % 2 == 0;

        nic_set_ats(e->guest, on);
        dp_vtd_set_invalidate(e->iommu, on && *device_iotlb ?
                              DP_VTD_IOTLB | DP_VTD_DEVICE_IOTLB :
                              DP_VTD_IOTLB);
        check_pairs_follow(e, &w, &generation);
    }
    env_check_no_violation(e);
    env_free(e);
}

/* ---- The BQL is busy ---- */

#define BUSY_ROUNDS     20              /* at most, to have it met twice */
#define BUSY_FRAMES     200u
#define BUSY_SIZE       128u
#define BUSY_READ       (2 * MiB)

typedef struct Busy {
    DpGuest *guest;
    bool done;                  /* atomic */
} Busy;

static gpointer busy_run(gpointer opaque)
{
    Busy *b = opaque;
    g_autofree uint8_t *data = g_malloc(BUSY_READ);

    /* libqtest takes its time with a long answer, and QEMU waits for it */
    qtest_memread(b->guest->qts, 0, data, BUSY_READ);
    qatomic_set(&b->done, true);
    return NULL;
}

static uint64_t thread_cpu_ns(pid_t pid, int64_t tid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%" PRId64
                                            "/schedstat", (int)pid, tid);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return g_ascii_strtoull(text, NULL, 10);
}

static int64_t iothread_tid(Env *e)
{
    QDict *info = dp_query(e->rig->qts, "vd0");
    const QListEntry *first = qlist_first(qdict_get_qlist(info, "queues"));
    int64_t tid = qdict_get_int(qobject_to(QDict, qlist_entry_obj(first)),
                                "thread-id");

    qobject_unref(info);
    return tid;
}

/*
 * Frames come, for buffers that the IOMMU has to be asked about, and the BQL
 * is taken: the IOThread waits, and does not look for more work all the time.
 */
static void test_busy(const void *opaque)
{
    Env *e = env_start(GPOINTER_TO_INT(opaque), (DpSetup) {
        .ring_size = 256,
    }, false);
    DpRig *r = e->rig;
    pid_t pid = qtest_pid(r->qts);
    int64_t tid = iothread_tid(e);
    unsigned waited = 0;
    unsigned i, k;

    dp_make_frame(r->frame, 100, 0);
    for (i = 0; i < BUSY_ROUNDS && waited < 2; i++) {
        uint64_t at = dp_post(r->nic, BUSY_FRAMES, BUSY_SIZE) - WINDOW_AT;
        Busy busy = { .guest = e->guest };
        uint64_t before, main_before;
        GThread *thread;

        for (k = 0; k < BUSY_FRAMES * BUSY_SIZE; k += DP_PAGE_SIZE) {
            dp_iommu_remap(e->iommu, WINDOW_AT + at + k,
                           e->page[(at + k) / DP_PAGE_SIZE], DP_MAP_BOTH);
        }
        before = thread_cpu_ns(pid, tid);
        main_before = thread_cpu_ns(pid, pid);
        thread = g_thread_new("busy", busy_run, &busy);
        dp_wait_until(qatomic_read(&busy.done) ||
                      thread_cpu_ns(pid, pid) - main_before > 2 * 1000 * 1000);
        for (k = 0; k < BUSY_FRAMES; k++) {
            dp_sock_send(r->sock, NULL, r->frame, 100);
        }
        g_usleep(40 * 1000);
        if (!dp_has_used(r->rx)) {
            waited++;
            before = thread_cpu_ns(pid, tid) - before;
            g_test_message("%.1f ms of the IOThread", before / 1e6);
            /* It would be all of that time */
            g_assert_cmpuint(before, <, 10 * 1000 * 1000);
        }
        g_thread_join(thread);
        for (k = 0; k < BUSY_FRAMES; k++) {
            dp_wait_used(r->rx, NULL);
        }
    }
    g_assert_cmpuint(waited, >, 0);
    env_check_no_violation(e);
    env_free(e);
}

/* ---- All together ---- */

typedef struct Stress {
    Env *e;
    Watched w;
    Feeder feeder[4];
    unsigned nfeeders;
} Stress;

static void stress_feed(Stress *s)
{
    unsigned i;

    for (i = 0; i < s->nfeeders; i++) {
        s->feeder[i] = (Feeder) {
            .q = &s->e->rig->nic->queue[i],
            .w = &s->w,
            .write = i % 2 == DP_RX,
        };
        feeder_start(&s->feeder[i]);
    }
}

static void stress_starve(Stress *s)
{
    unsigned i;

    for (i = 0; i < s->nfeeders; i++) {
        feeder_stop(&s->feeder[i]);
    }
}

static void stress_reset(Stress *s)
{
    stress_starve(s);
    dp_rig_restart(s->e->rig);
    stress_feed(s);
}

static void stress_kick(Stress *s)
{
    unsigned i;

    for (i = 0; i < s->nfeeders; i++) {
        feeder_kick(&s->feeder[i]);
    }
}

/* After a fault */
static void stress_wait_broken(Stress *s)
{
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;

    while (!(dp_nic_status(s->e->rig->nic) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        stress_kick(s);
    }
}

static void step_swap(Stress *s)
{
    unsigned i = g_test_rand_int_range(0, WATCHED);

    memset(watched_host(s->e, &s->w, i, false), 0, DP_PAGE_SIZE);
    watched_swap(s->e, &s->w, i, DP_MAP_BOTH);
}

static void step_invalidate(Stress *s)
{
    dp_iommu_invalidate_all(s->e->iommu);
}

/* The driver is at fault: buffers that the device has are gone */
static void step_unmap(Stress *s)
{
    unsigned i = g_test_rand_int_range(0, WATCHED);
    uint64_t iova;

    dp_iommu_unmap(s->e->iommu, s->w.iova[i], DP_PAGE_SIZE);
    stress_wait_broken(s);
    dp_iommu_map(s->e->iommu, s->w.iova[i], s->w.page[i][s->w.second[i]],
                 DP_PAGE_SIZE, DP_MAP_BOTH);
    dp_iommu_get_fault(s->e->iommu, &iova);
    stress_reset(s);
}

static void step_read_only(Stress *s)
{
    unsigned i = g_test_rand_int_range(0, WATCHED);
    uint64_t page = s->w.page[i][s->w.second[i]];
    uint64_t iova;

    dp_iommu_remap(s->e->iommu, s->w.iova[i], page, DP_MAP_READ);
    stress_wait_broken(s);
    dp_iommu_remap(s->e->iommu, s->w.iova[i], page, DP_MAP_BOTH);
    dp_iommu_get_fault(s->e->iommu, &iova);
    stress_reset(s);
}

/* All addresses mean something else: whatever the queues do, they may */
static void step_bypass(Stress *s)
{
    bool global = g_test_rand_bit();

    if (global) {
        dp_iommu_set_global_bypass(s->e->iommu, true);
        dp_iommu_set_global_bypass(s->e->iommu, false);
    } else {
        dp_iommu_set_bypass(s->e->iommu, true);
        dp_iommu_set_bypass(s->e->iommu, false);
    }
    stress_reset(s);
}

static void step_stop(Stress *s)
{
    qtest_qmp_assert_success(s->e->rig->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(s->e->rig->qts, "{ 'execute': 'cont' }");
}

static void step_link(Stress *s)
{
    static const char *const command =
        "{ 'execute': 'set_link', 'arguments': { 'name': 'nic', 'up': %i } }";

    qtest_qmp_assert_success(s->e->rig->qts, command, false);
    qtest_qmp_assert_success(s->e->rig->qts, command, true);
}

static void step_reset(Stress *s)
{
    stress_reset(s);
}

static const struct {
    const char *name;
    void (*fn)(Stress *s);
    unsigned weight;
} steps[] = {
    { "swap", step_swap, 60 },
    { "invalidate", step_invalidate, 10 },
    { "stop", step_stop, 8 },
    { "link", step_link, 8 },
    { "unmap", step_unmap, 4 },
    { "read-only", step_read_only, 4 },
    { "bypass", step_bypass, 4 },
    { "reset", step_reset, 4 },
};

/* One of them, as often as its part of all weights is */
static void stress_step(Stress *s)
{
    unsigned sum = 0, i;
    unsigned r;

    for (i = 0; i < ARRAY_SIZE(steps); i++) {
        sum += steps[i].weight;
    }
    r = g_test_rand_int_range(0, sum);
    for (i = 0; r >= steps[i].weight; i++) {
        r -= steps[i].weight;
    }
    steps[i].fn(s);
}

static unsigned stress_steps(void)
{
    const char *text = getenv("VHOST_DP_IOMMU_STEPS");
    unsigned n = 300;

    if (text) {
        g_assert_cmpint(qemu_strtoui(text, NULL, 0, &n), ==, 0);
    }
    return n;
}

typedef struct StressRow {
    DpIommuKind kind;
    bool shared;                /* one IOThread for both queue pairs */
} StressRow;

static void test_stress(const void *opaque)
{
    const StressRow *row = opaque;
    g_autofree char *options = g_strdup_printf("%s -object iothread,id=io0",
                                               dp_iommu_options(row->kind));
    Stress s = { .nfeeders = 4 };
    unsigned n = stress_steps();
    unsigned i, q;

    s.e = env_start(row->kind, (DpSetup) {
        .null = true,
        .driver = "flat-out=on",
        .netdev = row->shared ? "iothread=io0" : NULL,
        .options = options,
        .pairs = 2,
        .ring_size = 256,
    }, false);
    watched_init(s.e, &s.w);
    for (q = 0; q < 2 * s.e->rig->pairs + 1; q++) {
        /* A restart must not need new memory */
        s.e->rig->nic->ring_at[q] = s.e->rig->nic->queue[q].pci.vq.desc;
    }
    stress_feed(&s);
    for (i = 0; i < n; i++) {
        stress_step(&s);
        stress_kick(&s);
    }
    /* After all that it works */
    stress_reset(&s);
    for (q = 0; q < s.nfeeders; q++) {
        feeder_progress(&s.feeder[q], 1000);
    }
    stress_starve(&s);
    env_free(s.e);
}

/* ---- What a miss costs: figures only, with -m perf ---- */

#define COST_AT         (8 * GiB)
#define COST_KNOWN      1000u           /* pages that fit in the cache */
#define COST_PAGES      8192u           /* twice as many as fit */
#define COST_FRAMES     500000u

typedef struct Cost {
    double ns;                  /* of the IOThread, for a frame */
    double misses;
    double rate;                /* frames in a second */
} Cost;

static GMutex cost_lock;        /* the connections to QEMU */

static uint64_t cost_misses(Env *e)
{
    g_autoptr(GMutexLocker) lock = g_mutex_locker_new(&cost_lock);

    return env_counter(e, DP_TX, "iotlb-misses");
}

static void cost_kick(DpQueue *q)
{
    g_autoptr(GMutexLocker) lock = g_mutex_locker_new(&cost_lock);

    dp_kick(q);
}

static Cost cost_measure(Env *e, int64_t tid, unsigned pages)
{
    DpQueue *q = e->rig->tx;
    pid_t pid = qtest_pid(e->rig->qts);
    uint64_t misses = cost_misses(e);
    uint64_t cpu = thread_cpu_ns(pid, tid);
    int64_t start = g_get_monotonic_time();
    unsigned added = 0, used = 0;
    unsigned idle = 0;

    while (used < COST_FRAMES) {
        unsigned before = used;

        while (q->nfree && added < COST_FRAMES) {
            DpBuf buf = { COST_AT + (uint64_t)(added++ % pages) * DP_PAGE_SIZE,
                          100 };

            dp_add(q, &buf, 1);
        }
        dp_publish_quietly(q);
        while (dp_get_used(q, NULL, NULL)) {
            used++;
        }
        idle = used == before ? idle + 1 : 0;
        if (idle > 2000) {
            /* A kick takes the BQL: only if nothing else helps */
            cost_kick(q);
            idle = 0;
        }
    }
    return (Cost) {
        .ns = (thread_cpu_ns(pid, tid) - cpu) / (double)COST_FRAMES,
        .misses = (cost_misses(e) - misses) / (double)COST_FRAMES,
        .rate = COST_FRAMES * 1e6 / (g_get_monotonic_time() - start),
    };
}

typedef struct Holder {
    DpGuest *guest;
    bool stop;                  /* atomic */
} Holder;

/* Keeps the main loop busy with commands */
static gpointer holder_run(gpointer opaque)
{
    Holder *h = opaque;

    while (!qatomic_read(&h->stop)) {
        g_autoptr(GMutexLocker) lock = g_mutex_locker_new(&cost_lock);

        qtest_readl(h->guest->qts, 0);
    }
    return NULL;
}

static void test_cost(const void *opaque)
{
    Env *e = env_start(GPOINTER_TO_INT(opaque), (DpSetup) {
        .null = true, .netdev = "busy-poll-us=1000", .ring_size = 1024,
    }, false);
    int64_t tid = iothread_tid(e);
    uint64_t page = env_spare(e);
    Holder h = { .guest = e->guest };
    GThread *thread;
    Cost known, missed, busy;
    unsigned i;

    memset(dp_host(e->guest, page), 0, DP_PAGE_SIZE);
    for (i = 0; i < COST_PAGES; i++) {
        dp_iommu_map(e->iommu, COST_AT + (uint64_t)i * DP_PAGE_SIZE, page,
                     DP_PAGE_SIZE, DP_MAP_READ);
    }
    cost_measure(e, tid, COST_KNOWN);
    known = cost_measure(e, tid, COST_KNOWN);
    missed = cost_measure(e, tid, COST_PAGES);
    thread = g_thread_new("holder", holder_run, &h);
    busy = cost_measure(e, tid, COST_PAGES);
    qatomic_set(&h.stop, true);
    g_thread_join(thread);
    g_test_minimized_result(known.ns, "known: %.0f ns a frame, %.3f misses, "
                            "%.0f frames a second", known.ns, known.misses,
                            known.rate);
    g_test_minimized_result(missed.ns, "missed: %.0f ns a frame, %.3f misses, "
                            "%.0f frames a second", missed.ns, missed.misses,
                            missed.rate);
    g_test_minimized_result(busy.ns, "missed, BQL busy: %.0f ns a frame, %.3f "
                            "misses, %.0f frames a second", busy.ns,
                            busy.misses, busy.rate);
    env_free(e);
}

int main(int argc, char **argv)
{
    static const StressRow rows[] = {
        { DP_VTD, false }, { DP_VTD, true },
        { DP_VIRTIO_IOMMU, false }, { DP_VIRTIO_IOMMU, true },
    };
    unsigned i;

    dp_test_init(&argc, &argv);
    dp_add_ring_test("intel-iommu/ats", ",device-iotlb=on", test_ats);
    dp_add_ring_test("intel-iommu/ats-unknown", "", test_ats);
    dp_add_ring_test("intel-iommu/busy", GINT_TO_POINTER(DP_VTD), test_busy);
    dp_add_ring_test("virtio-iommu/busy", GINT_TO_POINTER(DP_VIRTIO_IOMMU),
                     test_busy);
    if (g_test_perf()) {
        dp_add_ring_test("intel-iommu/cost", GINT_TO_POINTER(DP_VTD),
                         test_cost);
        dp_add_ring_test("virtio-iommu/cost", GINT_TO_POINTER(DP_VIRTIO_IOMMU),
                         test_cost);
    }
    for (i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *path = g_strdup_printf(
            "%s/stress/%s", rows[i].kind == DP_VTD ? "intel-iommu" :
            "virtio-iommu", rows[i].shared ? "shared-iothread" : "iothreads");

        dp_add_ring_test(path, &rows[i], test_stress);
    }
    return g_test_run();
}
