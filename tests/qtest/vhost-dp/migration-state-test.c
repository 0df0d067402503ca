/*
 * vhost-dp: qtests of what moves with a guest, and where it can go
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From driver to driver, and from and to stock QEMU's back end; to
 * destinations that do not fit; with a NIC that is one of a pair, whose link
 * is down, or whose queues do not run.  What happens to traffic at the switch
 * is in migration-test.  Sections are those of the virtio
 * specification, version 1.3.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "migrate.h"

#define FEATURES (DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | \
                  DP_FEATURE(VIRTIO_RING_F_EVENT_IDX) | \
                  DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC))

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
    const DpDriver *driver;     /* NULL: stock -netdev tap */
    const char *more;           /* options of the driver */
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

/* What arrives at the place's other end, and what comes from there */
static void check_place(DpRig *r, const Place *place)
{
    switch (place->driver ? place->driver->end : DP_END_TAP) {
    case DP_END_LOOPBACK:
        check_loopback(r);
        break;
    case DP_END_SLIRP:
        check_slirp(r);
        break;
    default:
        check_interface(r);
        break;
    }
}

static const Place stock_place = { "stock" };
static const Place tap_place = { "tap", &dp_drivers[DP_DRIVER_TAP], "" };
static const Place tap_without_offloads = {
    "tap without offloads", &dp_drivers[DP_DRIVER_TAP], ",offloads=off",
};

static char *place_netdev(const Place *place)
{
    g_autofree char *object = NULL;

    if (!place->driver) {
        return g_strdup("-netdev tap,id=vd0,ifname=tap0,script=no,"
                        "downscript=no,vhost=off");
    }
    object = dp_driver_object(place->driver, "drv0", place->more);
    return g_strdup_printf("%s -netdev vhost-dp,id=vd0,driver=drv0", object);
}

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
    const char *peer = place->driver ? place->driver->peer : "tap0";
    g_autofree char *netdev = place_netdev(place);
    size_t len;

    g_test_message("to %s", place->name);
    if (r->sock >= 0) {
        close(r->sock);
        r->sock = -1;
    }
    dp_migrate_by_file(r, netdev, mapped);
    r->nic->queue[DP_RX].stock = !place->driver;
    r->nic->queue[DP_TX].stock = !place->driver;
    if (peer) {
        r->sock = dp_sock_open(peer, false);
        len = dp_sock_recv(r->sock, ETH_P_RARP, NULL, r->got, DP_MAX_FRAME,
                           DP_TIMEOUT_US);
        check_announcement(r->got, len);
    }
    check_guest_announces(r);
    check_place(r, place);
}

/* By stock QEMU's tap, and back to it, with mapped-ram and without */
static void migrate_by(const Place *place, bool mapped)
{
    DpRig *r = dp_rig_new(FEATURES | GUEST_OFFLOADS | HOST_OFFLOADS |
                          DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                          DP_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE));

    if (place->driver->end == DP_END_VETH ||
        place->driver->end == DP_END_RELAY) {
        dp_driver_host_new(place->driver, 1);
    }
    check_interface(r);
    go_to(r, &stock_place, mapped);
    go_to(r, place, !mapped);
    go_to(r, &stock_place, mapped);
    dp_rig_free(r);
}

static void test_place(const void *opaque)
{
    const DpDriver *driver = opaque;
    const Place place = { driver->name, driver, "" };

    if (dp_has_driver(driver->type)) {
        migrate_by(&place, (driver - dp_drivers) & 1);
    }
}

static void test_without_offloads(const void *opaque)
{
    migrate_by(&tap_without_offloads, false);
}

/*
 * A legacy driver that sets its rings up after DRIVER_OK, and that negotiated
 * VIRTIO_F_NOTIFY_ON_EMPTY: each back end has to call, though it wants no call.
 */
static void test_legacy_driver(const void *opaque)
{
    const Place *way[] = { &stock_place, &tap_place, &stock_place };
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "disable-modern=on,disable-legacy=off", .msix = true,
        .late = true,
        .features = FEATURES | DP_FEATURE(VIRTIO_F_NOTIFY_ON_EMPTY) |
                    DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                    DP_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) }, false);
    unsigned i;

    check_interface(r);
    dp_set_no_interrupt(r->tx, true);
    for (i = 0; i <= ARRAY_SIZE(way); i++) {
        dp_queue_interrupted(r->nic, DP_TX);
        dp_check_transmit(r->nic, r->sock, 200, i);
        dp_wait_until(dp_queue_interrupted(r->nic, DP_TX));
        if (i < ARRAY_SIZE(way)) {
            go_to(r, way[i], false);
        }
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
    { "mq=on", 1, "differs from the source: 4 here" },
    { "mq=on", 4, "differs from the source: 10 here" },
};

/* A QEMU that waits for a guest, and whose errors go to file @errors */
static DpGuest *misfit_new(const Misfit *misfit, int errors)
{
    g_autofree char *netdev = dp_migrate_tap("tap1", misfit->queues);
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

/* ---- Queues that do not run ---- */

static void check_queue(DpRig *r, unsigned queue, const char *want)
{
    dp_wait_until(({
        g_autofree char *state = dp_queue_state(r->qts, "vd0", queue);

        !strcmp(state, want);
    }));
}

/*
 * The driver broke a rule on one queue, and has taken the other one back
 * (sections 2.1.1 and 2.6.1): both are so at the destination, until the driver
 * does something about it.
 */
static void test_stopped_queues(const void *opaque)
{
    DpBuf bad = { .addr = DP_GPA_UNMAPPED, .len = 0 };
    DpRig *r = dp_rig_new(DP_FEATURE(VIRTIO_F_RING_RESET));
    uint8_t status;

    check_interface(r);
    dp_queue_reset(r->nic, DP_RX);
    dp_add(r->tx, &bad, 1);
    dp_publish(r->tx);
    check_queue(r, DP_TX, "broken");
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    status = dp_nic_status(r->nic);

    to_new_tap(r);
    check_queue(r, DP_TX, "broken");
    check_queue(r, DP_RX, "stopped");
    g_assert_cmphex(dp_nic_status(r->nic), ==, status);
    dp_queue_restart(r->nic, DP_RX);
    dp_check_receive(r->nic, r->sock, 100, 1);
    dp_queue_reset(r->nic, DP_TX);
    dp_queue_restart(r->nic, DP_TX);
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    check_interface(r);
    dp_rig_restart(r);
    check_interface(r);
    dp_rig_free(r);
}

/*
 * What asks for a reset is in virtio's stream, and not which queue it is for.
 * If the destination finds no fault in it, the driver's reset of it is enough.
 */
static void test_mended_queue(const void *opaque)
{
    DpBuf bad = { .addr = DP_GPA_UNMAPPED, .len = 0 };
    DpRig *r = dp_rig_new(DP_FEATURE(VIRTIO_F_RING_RESET));
    uint64_t addr = dp_alloc(r->guest, 100);

    dp_add(r->tx, &bad, 1);
    dp_publish(r->tx);
    check_queue(r, DP_TX, "broken");
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    if (r->tx->packed) {
        r->tx->ring.pdesc[0].addr = cpu_to_le64(addr);
        r->tx->ring.pdesc[0].len = cpu_to_le32(100);
    } else {
        virtq_set_desc(&r->tx->ring.desc[0], addr, 100, 0, 0);
    }
    to_new_tap(r);
    check_queue(r, DP_TX, "running");
    g_assert_true(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    dp_queue_reset(r->nic, DP_TX);
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    dp_queue_restart(r->nic, DP_TX);
    check_interface(r);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < DP_DRIVERS; i++) {
        const DpDriver *driver = &dp_drivers[i];
        g_autofree char *path = g_strdup_printf("migration-state/to/%s",
                                                driver->name);

        if (driver->end != DP_END_NOBODY && dp_driver_has_node(driver)) {
            dp_add_ring_test(path, driver, test_place);
        }
    }
    dp_add_ring_test("migration-state/to/tap-without-offloads", NULL,
                     test_without_offloads);
    dp_add_test("migration-state/legacy-driver", NULL, test_legacy_driver);
    dp_add_test("migration-state/misfits", NULL, test_misfits);
    dp_add_test("migration-state/failover", NULL, test_failover);
    dp_add_test("migration-state/link", NULL, test_link);
    dp_add_ring_test("migration-state/stopped-queues", NULL,
                     test_stopped_queues);
    dp_add_ring_test("migration-state/mended-queue", NULL, test_mended_queue);
    return g_test_run();
}
