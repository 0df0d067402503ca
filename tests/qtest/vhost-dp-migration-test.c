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
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "vhost-dp-iommu.h"
#include "vhost-dp-migrate.h"

#define FEATURES (DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | \
                  DP_FEATURE(VIRTIO_RING_F_EVENT_IDX) | \
                  DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC))

/* Bytes per second */
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

static char *tap_netdev(const char *name, unsigned pairs)
{
    return g_strdup_printf("-object vhost-dp-tap,id=%s "
                           "-netdev vhost-dp,id=vd0,driver=%s,queues=%u",
                           name, name, pairs);
}

static void fill_ram(Move *m)
{
    uint64_t addr = dp_alloc(m->rig->guest, FILLED);
    uint32_t *p = dp_host(m->rig->guest, addr);
    unsigned i;

    m->filled = dp_gpa(m->rig->guest, addr);
    for (i = 0; i < FILLED / sizeof(*p); i++) {
        p[i] = g_test_rand_int();
    }
}

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
    g_autofree char *netdev = tap_netdev("tap1", shape->pairs);

    m->shape = shape;
    move_start_rig(m);
    fill_ram(m);
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

/* Wait until the source stops; and then the driver does */
static void move_stop(Move *m)
{
    unsigned i;

    while (!dp_migrate_is(m->rig->qts, "pre-switchover")) {
        for (i = 0; i < 10; i++) {
            dp_traffic_step(m->traffic);
        }
        if (dp_migrate_ram(m->rig->qts, "dirty-sync-count") >= 4) {
            /* Pages were dirtied again and again: that is enough */
            dp_migrate_set(m->rig->qts, "max-bandwidth", FAST);
            dp_migrate_set(m->rig->qts, "downtime-limit", 10000);
        }
    }
    dp_traffic_stopped(m->traffic);
    dp_traffic_mark(m->traffic);
    qtest_qmp_assert_success(m->rig->qts, "{ 'execute': 'migrate-continue',"
                             " 'arguments': { 'state': 'pre-switchover' } }");
}

/* The driver and the host's end go on at the destination */
static void move_arrive(Move *m)
{
    dp_rig_swap(m->rig, m->to);
    close(m->rig->sock);
    m->rig->sock = m->traffic->sock = m->to_sock;
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

/* Skips the test where there is no userfaultfd for QEMU */
static bool move_has_postcopy(Move *m)
{
    QDict *answer = qtest_qmp(m->to->qts,
                              "{ 'execute': 'migrate-set-capabilities',"
                              " 'arguments': { 'capabilities': ["
                              " { 'capability': 'postcopy-ram',"
                              "   'state': true } ] } }");
    bool has = qdict_haskey(answer, "return");

    if (!has) {
        g_test_skip(qdict_get_str(qdict_get_qdict(answer, "error"), "desc"));
    }
    qobject_unref(answer);
    return has;
}

/* The guest is at the destination, and most of its RAM is not */
static void move_postcopy(Move *m)
{
    dp_migrate_capability(m->rig->qts, "postcopy-ram", true);
    dp_migrate_set(m->rig->qts, "max-postcopy-bandwidth", SLOW);
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
    while (!dp_migrate_is(m->to->qts, "completed") ||
           !dp_migrate_is(m->rig->qts, "completed")) {
        dp_traffic_run(m->traffic, 20);
    }
    g_assert_cmpmem(m->rig->guest->ram + m->filled, FILLED,
                    m->to->ram + m->filled, FILLED);
}

static void test_postcopy(const void *opaque)
{
    Move m = {};

    move_init(&m, opaque, NULL);
    if (!move_has_postcopy(&m)) {
        move_end(&m);
        return;
    }
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

static void reconnect(Move *m)
{
    g_autofree char *dir = g_dir_make_tmp("vhost-dp-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/socket", dir);
    g_autofree char *uri = g_strdup_printf("unix:%s", path);

    qtest_qmp_assert_success(m->rig->qts, "{ 'exec-oob': 'migrate-recover',"
                             " 'id': 'recover', 'arguments': { 'uri': %s } }",
                             uri);
    qtest_qmp_assert_success(m->to->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s, 'resume': true } }",
                             uri);
    dp_wait_until(dp_migrate_is(m->to->qts, "postcopy-active") ||
                  dp_migrate_is(m->to->qts, "completed"));
    unlink(path);
    rmdir(dir);
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

    move_init(&m, &one, NULL);
    if (!move_has_postcopy(&m)) {
        move_end(&m);
        return;
    }
    move_postcopy(&m);
    dp_traffic_run(m.traffic, 20);
    dp_traffic_finish(m.traffic);
    qtest_qmp_assert_success(m.to->qts, "{ 'exec-oob': 'migrate-pause',"
                             " 'id': 'pause' }");
    dp_wait_until(dp_migrate_is(m.to->qts, "postcopy-paused") &&
                  dp_migrate_is(m.rig->qts, "postcopy-paused"));

    page = m.filled + FILLED - 4096;
    send_missing_page(&m, page, len);
    qtest_qmp_send(m.rig->qts, "{ 'execute': 'query-vhost-dp' }");
    reconnect(&m);
    answer = qtest_qmp_receive(m.rig->qts);
    g_assert_true(qdict_haskey(answer, "return"));
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

/* ---- Across drivers and back ends ---- */

#define GUEST_OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_ECN) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_UFO) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_USO4) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_USO6))
#define HOST_OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_CSUM) | DP_FEATURE(VIRTIO_NET_F_HOST_TSO4) | \
     DP_FEATURE(VIRTIO_NET_F_HOST_TSO6) | DP_FEATURE(VIRTIO_NET_F_HOST_ECN) | \
     DP_FEATURE(VIRTIO_NET_F_HOST_UFO) | DP_FEATURE(VIRTIO_NET_F_HOST_USO))

static const uint8_t nic_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

/* A place that the guest comes to */
typedef struct Place {
    const char *name;
    const char *netdev;
    const char *peer;           /* the interface that the host's end is on */
    void (*check)(DpRig *r);
    bool stock;
} Place;

/* RARP, as QEMU sends it after a migration: by the NIC, to everybody */
static void check_announcement(const uint8_t *frame, size_t len)
{
    g_assert_cmpuint(len, >=, 42);
    g_assert_cmpuint(lduw_be_p(frame + 12), ==, ETH_P_RARP);
    g_assert_cmpmem(frame, 6, "\xff\xff\xff\xff\xff\xff", 6);
    g_assert_cmpmem(frame + 6, 6, nic_mac, 6);
    g_assert_cmpmem(frame + 22, 6, nic_mac, 6);
}

static void check_interface(DpRig *r)
{
    unsigned seed = g_test_rand_int() & 0xff;

    dp_check_transmit(r->nic, r->sock, 1000, seed);
    dp_check_receive(r->nic, r->sock, 1000, seed + 1);
}

/* vhost-dp-null,loopback=on: the guest is the one who hears it announced */
static void check_loopback(DpRig *r)
{
    size_t len;

    dp_make_frame(r->frame, 1000, 7);
    dp_transmit(r->nic, NULL, r->frame, 1000);
    for (;;) {
        dp_post(r->nic, 1, 1600);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        if (lduw_be_p(r->got + 12) == DP_ETHERTYPE) {
            break;
        }
        check_announcement(r->got, len);
    }
    dp_assert_frame(r->got, len, r->frame, 1000);
}

#ifdef CONFIG_SLIRP
/* libslirp, which answers for 10.0.2.2; it may have something to say first */
static void check_slirp(DpRig *r)
{
    static const uint8_t question[] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56,
        0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1,
        0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15,
        0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
    };

    memset(r->frame, 0, 60);
    memcpy(r->frame, question, sizeof(question));
    dp_transmit(r->nic, NULL, r->frame, 60);
    do {
        dp_post(r->nic, 1, 1600);
        dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    } while (lduw_be_p(r->got + 12) != ETH_P_ARP);
    g_assert_cmpuint(lduw_be_p(r->got + 20), ==, 2);
    g_assert_cmpmem(r->got + 28, 4, "\x0a\x00\x02\x02", 4);
    g_assert_cmpmem(r->got + 32, 6, nic_mac, 6);
}
#endif

static const Place stock_place = {
    "stock tap", "-netdev tap,id=vd0,ifname=tap0,script=no,downscript=no,"
    "vhost=off", "tap0", check_interface, true,
};

/* Where a guest that begins on vhost-dp-tap goes, one after the other */
static const Place places[] = {
    { "af-packet", "-object vhost-dp-af-packet,id=veth0 "
      "-netdev vhost-dp,id=vd0,driver=veth0", "peer0", check_interface },
#ifdef CONFIG_SLIRP
    { "slirp", "-object vhost-dp-slirp,id=slirp0 "
      "-netdev vhost-dp,id=vd0,driver=slirp0", NULL, check_slirp },
#endif
    { "null", "-object vhost-dp-null,id=null0,loopback=on "
      "-netdev vhost-dp,id=vd0,driver=null0", NULL, check_loopback },
    { "tap, offloads=off", "-object vhost-dp-tap,id=tap0,offloads=off "
      "-netdev vhost-dp,id=vd0,driver=tap0", "tap0", check_interface },
};

/* Section 5.1.6.5.4: until it has, the guest is asked to announce itself */
static void check_guest_announces(DpRig *r)
{
    const size_t status = offsetof(struct virtio_net_config, status);

    dp_wait_until(qvirtio_config_readw(r->nic->vdev, status) &
                  VIRTIO_NET_S_ANNOUNCE);
    g_assert_cmpint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_ANNOUNCE,
                                VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0), ==,
                    VIRTIO_NET_OK);
}

static void go_to(DpRig *r, const Place *place, bool mapped)
{
    size_t len;

    g_test_message("to %s", place->name);
    if (r->sock >= 0) {
        close(r->sock);
        r->sock = -1;
    }
    dp_migrate_by_file(r, place->netdev, mapped);
    r->nic->queue[DP_RX].stock = r->nic->queue[DP_TX].stock = place->stock;
    if (place->peer) {
        r->sock = dp_sock_open(place->peer, false);
        len = dp_sock_recv(r->sock, ETH_P_RARP, NULL, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        check_announcement(r->got, len);
    }
    check_guest_announces(r);
    place->check(r);
}

static const Place xdp_place = {
    "af-xdp", "-object vhost-dp-af-xdp,id=veth1 "
    "-netdev vhost-dp,id=vd0,driver=veth1", "peer1", check_interface,
};

/* It is a matter of how QEMU was built, and of privileges */
static bool has_xdp(QTestState *qts)
{
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'object-add', 'arguments': {"
                              " 'qom-type': 'vhost-dp-af-xdp',"
                              " 'id': 'veth1' } }");

    if (qdict_haskey(answer, "return")) {
        qobject_unref(answer);
        answer = qtest_qmp(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                           " 'type': 'vhost-dp', 'id': 'probe',"
                           " 'driver': 'veth1' } }");
    }
    if (qdict_haskey(answer, "error")) {
        g_test_message("not to af-xdp: %s",
                       qdict_get_str(qdict_get_qdict(answer, "error"),
                                     "desc"));
        qobject_unref(answer);
        return false;
    }
    qobject_unref(answer);
    return true;
}

static void test_places(const void *opaque)
{
    DpRig *r = dp_rig_new(FEATURES | GUEST_OFFLOADS | HOST_OFFLOADS |
                          DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                          DP_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE));
    unsigned i;

    dp_veth_new("veth0", "peer0");
    dp_veth_new("veth1", "peer1");
    check_interface(r);
    for (i = 0; i < ARRAY_SIZE(places); i++) {
        go_to(r, &stock_place, i & 1);
        go_to(r, &places[i], !(i & 1));
    }
    /* QEMU ends when the guest has left, and the netdev that tried with it */
    if (has_xdp(r->qts)) {
        go_to(r, &xdp_place, false);
    }
    dp_rig_free(r);
}

/* ---- Where the guest cannot go ---- */

typedef struct Misfit {
    const char *device;         /* more options of the destination's device */
    unsigned queues;            /* of its netdev */
    const char *says;
} Misfit;

static const Misfit misfits[] = {
    { "guest_tso4=off", 2, "VIRTIO_NET_F_GUEST_TSO4" },
    { "host_ufo=off", 2, "VIRTIO_NET_F_HOST_UFO" },
    { "guest_uso6=off", 2, "VIRTIO_NET_F_GUEST_USO6" },
    { "mrg_rxbuf=off", 2, "VIRTIO_NET_F_MRG_RXBUF" },
    { "event_idx=off", 2, "VIRTIO_RING_F_EVENT_IDX" },
    { "mq=off", 2, "VIRTIO_NET_F_MQ" },
    { "mq=on", 1, "it has 4 MSI-X vectors" },
    { "mq=on", 4, "it has 10 MSI-X vectors" },
};

/* A QEMU that waits for a guest, and whose errors go to file @errors */
static DpGuest *misfit_new(const Misfit *misfit, int errors)
{
    g_autofree char *netdev = tap_netdev("tap1", misfit->queues);
    int saved = dup(STDERR_FILENO);
    DpGuest *to;

    dup2(errors, STDERR_FILENO);
    to = dp_guest_new_oob("%s " DP_DEVICE "mq=on,disable-legacy=on,%s "
                          "-incoming defer", netdev, misfit->device);
    dup2(saved, STDERR_FILENO);
    close(saved);
    return to;
}

static bool has_failed(QTestState *qts)
{
    QDict *answer = qtest_qmp_assert_success_ref(qts,
                                                 "{ 'execute': 'query-migrate' }");
    const char *status = qdict_get_try_str(answer, "status");
    bool failed = !g_strcmp0(status, "failed");

    g_assert_cmpstr(status, !=, "completed");
    qobject_unref(answer);
    return failed;
}

/*
 * The destination says why not; the source goes on with the interface that it
 * still has.
 */
static void check_misfit(DpTraffic *t, const Misfit *misfit)
{
    QTestState *from = t->rig->qts;
    int errors = memfd_create("errors", 0);
    DpGuest *to = misfit_new(misfit, errors);
    char text[4096] = "";

    dp_traffic_run(t, 50);
    /* Otherwise the source does not learn what became of it */
    dp_migrate_enable(from, to->qts, "return-path");
    dp_migrate_start(from, to->qts);
    dp_wait_until((dp_traffic_step(t), has_failed(to->qts)));
    dp_wait_until(dp_status_is(from, "running"));
    dp_traffic_resumed(t);
    dp_guest_free(to);

    g_assert_cmpint(pread(errors, text, sizeof(text) - 1, 0), >, 0);
    close(errors);
    if (!strstr(text, misfit->says)) {
        g_error("queues=%u,%s: not in the error: %s\n%s", misfit->queues,
                misfit->device, misfit->says, text);
    }
}

/* Cancelled under way, and when the source has stopped: it goes on */
static void test_cancel(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .features = FEATURES }, false);
    DpTraffic *t = dp_traffic_new(r);
    unsigned i;

    for (i = 0; i < 2; i++) {
        g_autofree char *netdev = tap_netdev("tap1", 1);
        DpGuest *to = dp_migrate_target(r, netdev, NULL);

        dp_traffic_run(t, 50);
        dp_migrate_enable(r->qts, to->qts, "pause-before-switchover");
        dp_migrate_set(r->qts, "max-bandwidth", i ? FAST : SLOW);
        dp_migrate_start(r->qts, to->qts);
        dp_traffic_step(t);
        if (i) {
            dp_wait_until((dp_traffic_step(t),
                           dp_migrate_is(r->qts, "pre-switchover")));
        }
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

static void test_misfits(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = FEATURES | GUEST_OFFLOADS | HOST_OFFLOADS, .pairs = 2,
    }, false);
    DpTraffic *t = dp_traffic_new(r);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(misfits); i++) {
        check_misfit(t, &misfits[i]);
    }
    dp_traffic_run(t, 50);
    dp_traffic_finish(t);
    dp_traffic_free(t);
    dp_rig_free(r);
}

/* ---- net_failover ---- */

/* The other NIC of the pair; as a rule it is one of the host's */
#define PRIMARY \
    "-M q35 -device pcie-root-port,id=root,bus=pcie.0,addr=05.0,chassis=1 " \
    "-object vhost-dp-null,id=null1 -netdev vhost-dp,id=vd1,driver=null1 " \
    "-device virtio-net-pci,id=primary,netdev=vd1,bus=root,romfile=," \
    "failover_pair_id=nic "

#define ACPI_EJECT 0x0cc8           /* hw/acpi/pcihp.c, on Q35 */

static bool has_primary(QTestState *qts)
{
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': {"
                              " 'path': '/machine/peripheral/primary',"
                              " 'property': 'realized' } }");
    bool has = qdict_haskey(answer, "return") &&
               qdict_get_bool(answer, "return");

    qobject_unref(answer);
    return has;
}

/*
 * The standby NIC's back end makes no difference: QEMU takes the primary away
 * before the guest moves, and plugs it in when the guest has arrived.
 */
static void test_failover(const void *opaque)
{
    g_autofree char *path = NULL;
    g_autofree char *uri = NULL;
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = DP_FEATURE(VIRTIO_NET_F_STANDBY),
        .device = "disable-legacy=on,failover=on", .more = PRIMARY,
    }, false);
    DpGuest *to;

    close(g_file_open_tmp("vhost-dp-XXXXXX", &path, NULL));
    uri = g_strdup_printf("file:%s", path);
    qtest_qmp_eventwait(r->qts, "FAILOVER_NEGOTIATED");
    g_assert_true(has_primary(r->qts));
    check_interface(r);

    qtest_qmp_assert_success(r->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
    qtest_qmp_eventwait(r->qts, "UNPLUG_PRIMARY");
    dp_wait_until(dp_migrate_is(r->qts, "wait-unplug"));
    check_interface(r);
    qtest_outl(r->qts, ACPI_EJECT, 1);
    dp_wait_until(dp_migrate_is(r->qts, "completed"));
    close(r->sock);
    dp_rig_quit(r);

    to = dp_migrate_target(r, "-object vhost-dp-tap,id=tap0 "
                           "-netdev vhost-dp,id=vd0,driver=tap0", PRIMARY);
    g_assert_false(has_primary(to->qts));
    qtest_qmp_assert_success(to->qts, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s } }", uri);
    qtest_qmp_eventwait(to->qts, "FAILOVER_NEGOTIATED");
    dp_wait_until(dp_status_is(to->qts, "running"));
    g_assert_true(has_primary(to->qts));
    unlink(path);
    dp_rig_swap(r, to);
    dp_guest_free(to);
    r->sock = dp_sock_open("tap0", false);
    check_interface(r);
    dp_rig_free(r);
}

/* ---- The link ---- */

static void set_link(DpRig *r, bool up)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'set_link', 'arguments': {"
                             " 'name': 'nic', 'up': %i } }", up);
    dp_wait_until(dp_nic_link(r->nic) == up);
}

static void to_new_tap(DpRig *r)
{
    close(r->sock);
    dp_migrate_by_file(r, "-object vhost-dp-tap,id=tap0 "
                       "-netdev vhost-dp,id=vd0,driver=tap0", false);
    r->sock = dp_sock_open("tap0", false);
}

/* The user's wish moves with the guest, the interface's state does not */
static void test_link(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .msix = true }, false);

    check_interface(r);
    dp_if_down("tap0");
    dp_wait_until(!dp_nic_link(r->nic));
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
    g_assert_false(dp_nic_link(r->nic));
    dp_config_interrupted(r->nic);

    to_new_tap(r);
    dp_wait_until(dp_nic_link(r->nic));
    /* So that the guest looks */
    g_assert_true(dp_config_interrupted(r->nic));
    check_interface(r);

    set_link(r, false);
    to_new_tap(r);
    g_assert_false(dp_nic_link(r->nic));
    set_link(r, true);
    check_interface(r);
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
    dp_add_ring_test("migration/places", NULL, test_places);
    dp_add_test("migration/misfits", NULL, test_misfits);
    dp_add_ring_test("migration/cancel", NULL, test_cancel);
    dp_add_test("migration/failover", NULL, test_failover);
    dp_add_test("migration/link", NULL, test_link);
    return g_test_run();
}
