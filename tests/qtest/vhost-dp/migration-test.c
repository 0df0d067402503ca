/*
 * vhost-dp: qtests of live migration
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two QEMUs, and a test that is the guest of both: it knows each frame and
 * each page.  What only a guest can show, that its connections live on, is
 * shown by tests/guest/test_migration.py.  Sections are those of the virtio
 * specification, version 1.3.
 */

#include "qemu/osdep.h"
#include <linux/userfaultfd.h>
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "iommu.h"
#include "migrate.h"

#define FEATURES (DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | \
                  DP_FEATURE(VIRTIO_RING_F_EVENT_IDX) | \
                  DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC))

/* Bytes per second: of what move_init() fills, CRAWL takes 16 s */
#define CRAWL (64 * KiB)
#define SLOW (2 * MiB)
#define FAST (4096 * MiB)

typedef struct Shape {
    unsigned pairs;
    bool behind_iommu;
    DpIommuKind iommu;
} Shape;

static const Shape one = { .pairs = 1 }, four = { .pairs = 4 };
static const Shape vtd = { .pairs = 1, true, DP_VTD };
static const Shape virtio_iommu = { .pairs = 1, true, DP_VIRTIO_IOMMU };

/* ---- One migration under traffic ---- */

typedef struct Move {
    DpRig *rig;
    const Shape *shape;
    DpIommu *iommu;             /* or NULL */
    DpTraffic *traffic;
    DpGuest *to;                /* and when it is over, the old one */
    int to_sock;                /* the host's end there */
    uint64_t filled;            /* RAM with something in it: guest-physical */
} Move;

#define FILLED (1 * MiB)

/* Where the device sees RAM */
#define IOVA (4 * GiB)

/* All that the driver uses from now on is behind the IOMMU */
static void set_up_iommu(DpGuest *guest, void *opaque)
{
    Move *m = opaque;
    const size_t size = 8 * MiB;
    uint64_t start;

    m->iommu = dp_iommu_new(guest, m->shape->iommu, DP_SLOT << 3);
    dp_iommu_map_range(m->iommu, IOVA, 0, DP_RAM_SIZE, DP_MAP_BOTH);
    start = IOVA + dp_alloc(guest, size);
    guest->more = guest->ram;
    guest->more_at = IOVA;
    guest->more_size = DP_RAM_SIZE;
    alloc_destroy(&guest->alloc);
    alloc_init(&guest->alloc, ALLOC_NO_FLAGS, start, start + size, 4096);
}

static void move_start_rig(Move *m)
{
    DpSetup setup = {
        .features = FEATURES, .pairs = m->shape->pairs, .oob = true,
    };

    if (m->shape->behind_iommu) {
        setup.options = dp_iommu_options(m->shape->iommu);
        setup.device = "disable-legacy=on,iommu_platform=on";
        setup.features |= DP_FEATURE(VIRTIO_F_ACCESS_PLATFORM);
        setup.prepare = set_up_iommu;
        setup.opaque = m;
    }
    m->rig = dp_rig_start(&setup, false);
}

/* The guest on tap0, and a QEMU on tap1 that waits for it */
static void move_init(Move *m, const Shape *shape, const char *more)
{
    g_autofree char *netdev = dp_migrate_tap("tap1", shape->pairs);

    m->shape = shape;
    move_start_rig(m);
    m->filled = dp_gpa(m->rig->guest, dp_fill_ram(m->rig->guest, FILLED));
    m->traffic = dp_traffic_new(m->rig);
    dp_traffic_run(m->traffic, 200);
    m->to = dp_migrate_target(m->rig, netdev, more);
    m->to_sock = dp_sock_open("tap1", false);
    dp_migrate_enable(m->rig->qts, m->to->qts, "pause-before-switchover");
    dp_migrate_set(m->rig->qts, "max-bandwidth", SLOW);
    dp_migrate_set(m->rig->qts, "downtime-limit", 1);
}

static void move_end(Move *m)
{
    dp_traffic_finish(m->traffic);
    dp_traffic_free(m->traffic);
    dp_guest_free(m->to);
    if (m->iommu) {
        dp_iommu_free(m->iommu);
    }
    dp_rig_free(m->rig);
}

static void move_step(Move *m)
{
    unsigned i;

    for (i = 0; i < 10; i++) {
        dp_traffic_step(m->traffic);
    }
    if (dp_migrate_ram(m->rig->qts, "dirty-sync-count") >= 4) {
        /* Pages were dirtied again and again: that is enough */
        dp_migrate_set(m->rig->qts, "max-bandwidth", FAST);
        dp_migrate_set(m->rig->qts, "downtime-limit", 10000);
    }
}

/* Wait until the source stops; and then the driver does */
static void move_stop(Move *m)
{
    dp_wait_until_for(DP_LONG_TIMEOUT_US,
                      (move_step(m), dp_migrate_is(m->rig->qts,
                                                   "pre-switchover")));
    dp_traffic_stopped(m->traffic);
    dp_traffic_mark(m->traffic);
    qtest_qmp_assert_success(m->rig->qts, "{ 'execute': 'migrate-continue',"
                             " 'arguments': { 'state': 'pre-switchover' } }");
}

/* The driver and the host's end go on at the destination */
static void move_arrive(Move *m)
{
    dp_rig_swap(m->rig, m->to);
    dp_traffic_arrived(m->traffic, m->to_sock);
}

static void say_times(Move *m)
{
    QTestState *from = m->to->qts;

    g_test_message("downtime %" PRId64 " ms of %" PRId64 " ms; %" PRId64
                   " rounds; %u of %u frames to the guest were under way",
                   dp_migrate_ram(from, "downtime"),
                   dp_migrate_ram(from, "total-time"),
                   dp_migrate_ram(from, "dirty-sync-count"),
                   m->traffic->rx_lost, m->traffic->flow[0].rx_next);
}

/* Nothing is lost but what the host sent to an interface that was left */
static void check_traffic(Move *m)
{
    unsigned i;

    dp_traffic_run(m->traffic, 200);
    dp_traffic_finish(m->traffic);
    for (i = 0; i < 2 * m->rig->pairs; i++) {
        g_autofree char *state = dp_queue_state(m->rig->qts, "vd0", i);

        g_assert_cmpstr(state, ==, "running");
    }
    g_assert_false(dp_nic_status(m->rig->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void test_precopy(const void *opaque)
{
    Move m = {};

    move_init(&m, opaque, "-S");
    dp_migrate_start(m.rig->qts, m.to->qts);
    move_stop(&m);
    dp_wait_until(dp_migrate_is(m.rig->qts, "completed") &&
                  dp_migrate_is(m.to->qts, "completed"));
    dp_migrate_compare(m.rig, m.to);

    move_arrive(&m);
    say_times(&m);
    qtest_qmp_assert_success(m.rig->qts, "{ 'execute': 'cont' }");
    check_traffic(&m);
    move_end(&m);
}

/* The guest is at the destination, and most of its RAM is not */
static void move_postcopy(Move *m)
{
    dp_migrate_enable(m->rig->qts, m->to->qts, "postcopy-ram");
    /* What comes before the guest arrives has come because it is needed */
    dp_migrate_set(m->rig->qts, "max-bandwidth", CRAWL);
    dp_migrate_set(m->rig->qts, "max-postcopy-bandwidth", CRAWL);
    dp_migrate_start(m->rig->qts, m->to->qts);
    dp_traffic_run(m->traffic, 20);
    qtest_qmp_assert_success(m->rig->qts,
                             "{ 'execute': 'migrate-start-postcopy' }");
    move_stop(m);
    dp_wait_until(dp_status_is(m->to->qts, "running"));
    move_arrive(m);
    dp_traffic_fetch(m->traffic);
}

/* All RAM has come, and is what it was where nobody wrote since */
static void postcopy_finish(Move *m)
{
    dp_migrate_set(m->to->qts, "max-postcopy-bandwidth", FAST);
    dp_wait_until_for(DP_LONG_TIMEOUT_US,
                      (dp_traffic_run(m->traffic, 20),
                       dp_migrate_is(m->to->qts, "completed") &&
                       dp_migrate_is(m->rig->qts, "completed")));
    g_assert_cmpmem(m->rig->guest->ram + m->filled, FILLED,
                    m->to->ram + m->filled, FILLED);
}

static void test_postcopy(const void *opaque)
{
    Move m = {};

    if (!dp_has_userfaultfd(UFFD_FEATURE_MISSING_SHMEM)) {
        return;
    }
    move_init(&m, opaque, NULL);
    move_postcopy(&m);
    dp_traffic_run(m.traffic, 200);
    g_assert_true(dp_migrate_is(m.to->qts, "postcopy-active"));
    postcopy_finish(&m);
    say_times(&m);
    /* Pages came because they were asked for */
    g_assert_cmpint(dp_migrate_ram(m.to->qts, "postcopy-requests"), >, 0);
    check_traffic(&m);
    move_end(&m);
}

/* ---- A postcopy migration that is interrupted ---- */

static bool is_there(DpGuest *guest, uint64_t addr)
{
    return lseek(guest->ram_fd, addr, SEEK_DATA) == addr;
}

/* A frame whose last part is in a page that has not come */
static void send_missing_page(Move *m, uint64_t page, size_t len)
{
    DpRig *r = m->rig;
    size_t head = r->nic->hdr_len + 14;
    DpBuf bufs[2] = {
        { .addr = m->traffic->flow[0].tx_at, .len = head },
        { .addr = page, .len = len },
    };
    uint8_t *p = dp_host(r->guest, bufs[0].addr);

    g_assert_false(is_there(r->guest, page));
    memset(p, 0, r->nic->hdr_len);
    dp_make_frame(p + r->nic->hdr_len, 14, 0);
    dp_add(r->tx, bufs, 2);
    dp_publish(r->tx);
}

static bool is_answer(QDict *answer, const char *id)
{
    g_assert_true(qdict_haskey(answer, "return"));
    return g_str_equal(qdict_get_str(answer, "id"), id);
}

/*
 * Returns the answer to the command with the id "query" when it came before
 * that to migrate-recover: the queue pair does not have the page's frame yet
 */
static QDict *reconnect(Move *m)
{
    g_autofree char *dir = g_dir_make_tmp("vhost-dp-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/socket", dir);
    g_autofree char *uri = g_strdup_printf("unix:%s", path);
    QDict *answer, *query = NULL;

    qtest_qmp_send(m->rig->qts, "{ 'exec-oob': 'migrate-recover',"
                   " 'id': 'recover', 'arguments': { 'uri': %s } }", uri);
    answer = qtest_qmp_receive(m->rig->qts);
    if (is_answer(answer, "query")) {
        query = answer;
        answer = qtest_qmp_receive(m->rig->qts);
    }
    g_assert_true(is_answer(answer, "recover"));
    qobject_unref(answer);

    qtest_qmp_assert_success(m->to->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s, 'resume': true } }",
                             uri);
    dp_wait_until(dp_migrate_is(m->to->qts, "postcopy-active") ||
                  dp_migrate_is(m->to->qts, "completed"));
    unlink(path);
    rmdir(dir);
    return query;
}

/*
 * The connection breaks while a queue pair waits for a page, with its lock
 * held, and then the main loop for that lock: what is out of band works.
 */
static void test_postcopy_recover(const void *opaque)
{
    const size_t len = 1000;
    uint64_t page;
    Move m = {};
    QDict *answer;

    if (!dp_has_userfaultfd(UFFD_FEATURE_MISSING_SHMEM)) {
        return;
    }
    move_init(&m, &one, NULL);
    move_postcopy(&m);
    dp_traffic_run(m.traffic, 20);
    dp_traffic_finish(m.traffic);
    qtest_qmp_assert_success(m.to->qts, "{ 'exec-oob': 'migrate-pause',"
                             " 'id': 'pause' }");
    dp_wait_until(dp_migrate_is(m.to->qts, "postcopy-paused") &&
                  dp_migrate_is(m.rig->qts, "postcopy-paused"));

    page = m.filled + FILLED - 4096;
    send_missing_page(&m, page, len);
    qtest_qmp_send(m.rig->qts, "{ 'execute': 'query-vhost-dp',"
                   " 'id': 'query' }");
    answer = reconnect(&m);
    if (!answer) {
        answer = qtest_qmp_receive(m.rig->qts);
    }
    g_assert_true(is_answer(answer, "query"));
    qobject_unref(answer);

    g_assert_cmpuint(dp_sock_recv(m.rig->sock, DP_ETHERTYPE, NULL,
                                  m.rig->got, DP_MAX_FRAME, DP_TIMEOUT_US),
                     ==, 14 + len);
    g_assert_cmpmem(m.rig->got + 14, len, m.to->ram + page, len);
    dp_wait_used(m.rig->tx, NULL);
    postcopy_finish(&m);
    check_traffic(&m);
    move_end(&m);
}

/* ---- A migration that does not come to its end ---- */

/* Cancelled under way, and when the source has stopped: it goes on */
static void test_cancel(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .features = FEATURES }, false);
    DpTraffic *t = dp_traffic_new(r);
    unsigned i;

    dp_fill_ram(r->guest, FILLED);
    for (i = 0; i < 2; i++) {
        g_autofree char *netdev = dp_migrate_tap("tap1", 1);
        DpGuest *to = dp_migrate_target(r, netdev, NULL);

        dp_traffic_run(t, 50);
        dp_migrate_enable(r->qts, to->qts, "pause-before-switchover");
        dp_migrate_set(r->qts, "max-bandwidth", i ? FAST : CRAWL);
        dp_migrate_set(r->qts, "downtime-limit", i ? 10000 : 1);
        dp_migrate_start(r->qts, to->qts);
        dp_wait_until((dp_traffic_step(t),
                       dp_migrate_is(r->qts, i ? "pre-switchover" :
                                                 "active")));
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'migrate_cancel' }");
        dp_wait_until((dp_traffic_step(t),
                       dp_migrate_is(r->qts, "cancelled") &&
                       dp_status_is(r->qts, "running")));
        dp_traffic_resumed(t);
        dp_guest_free(to);
    }
    dp_traffic_run(t, 50);
    dp_traffic_finish(t);
    dp_traffic_free(t);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("migration/precopy", &one, test_precopy);
    dp_add_ring_test("migration/precopy-four-pairs", &four, test_precopy);
    dp_add_ring_test("migration/precopy-intel-iommu", &vtd, test_precopy);
    dp_add_ring_test("migration/precopy-virtio-iommu", &virtio_iommu,
                     test_precopy);
    dp_add_ring_test("migration/postcopy", &one, test_postcopy);
    dp_add_ring_test("migration/postcopy-four-pairs", &four, test_postcopy);
    dp_add_ring_test("migration/postcopy-intel-iommu", &vtd, test_postcopy);
    dp_add_ring_test("migration/postcopy-virtio-iommu", &virtio_iommu,
                     test_postcopy);
    dp_add_test("migration/postcopy-recover", NULL, test_postcopy_recover);
    dp_add_ring_test("migration/cancel", NULL, test_cancel);
    return g_test_run();
}
