/*
 * vhost-dp: qtests of filters, and of vhost-dp-throttle
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A limit shows in how long something takes.  On a busy machine it takes
 * longer, so what is checked is that it takes no less; that nothing is slower
 * than it should be is for the benchmark.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "guest.h"
#include "commands.h"

#define ADD_NULL(id) \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': 'vhost-dp-null', 'id': '" id "' } }"
#define ADD_THROTTLE(id, driver, options) \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': 'vhost-dp-throttle', 'id': '" id "'," \
    " 'driver': '" driver "' " options " } }"
#define SET(id, name, value) \
    "{ 'execute': 'qom-set', 'arguments': { 'path': '/objects/" id "'," \
    " 'property': '" name "', 'value': " value " } }"

/* A limit lets through at once what it allows in this time */
#define BUCKET_MS 100

static DpRig *rig_new(const char *filter, unsigned pairs)
{
    return dp_rig_start(&(DpSetup) {
        .null = true, .filter = filter, .pairs = pairs,
    }, false);
}

/* ---- How long it takes ---- */

static int64_t now_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

/* What the device used, and what it was given, of one queue */
typedef struct Frames {
    DpNic *nic;
    DpQueue *q;
    DpBuf buf;
    unsigned added, done;
} Frames;

static Frames frames_new(DpNic *nic, unsigned queue, size_t len)
{
    Frames f = {
        .nic = nic,
        .q = &nic->queue[queue],
        .buf = { .len = nic->hdr_len + len, .write = !(queue & DP_TX) },
    };
    uint8_t *p;

    f.buf.addr = dp_alloc(nic->guest, f.buf.len);
    p = dp_host(nic->guest, f.buf.addr);
    memset(p, 0, nic->hdr_len);
    dp_make_frame(p + nic->hdr_len, len, 1);
    return f;
}

/* Keep the ring full, up to @n frames in all */
static void frames_move(Frames *f, unsigned n)
{
    uint16_t id;

    while (dp_get_used(f->q, &id, NULL)) {
        f->done++;
    }
    while (f->added < n && f->q->nfree) {
        dp_add(f->q, &f->buf, 1);
        f->added++;
    }
    dp_publish(f->q);
    g_usleep(500);
}

/* Move @n more frames.  Returns how many ms that took. */
static int64_t frames_all(Frames *f, unsigned n)
{
    int64_t start = now_ms();

    n += f->done;
    while (f->done < n) {
        frames_move(f, n);
    }
    return now_ms() - start;
}

/*
 * No less than a limit of @rate per second allows, whose bucket was empty.  The
 * last frame passes if there is any room, so its units do not count.
 */
static void check_time(int64_t ms, double units, double rate)
{
    g_assert_cmpint(ms, >=, 1000 * units / rate - BUCKET_MS - 10);
}

/* ---- Frames pass ---- */

static void test_pass(const void *opaque)
{
    static const size_t lens[] = { 60, 61, 1514, 9000, 65535 };
    DpRig *r = dp_rig_start(&(DpSetup) { .filter = opaque }, false);
    unsigned i;

    dp_if_set_mtu("tap0", 65535 - 14);
    for (i = 0; i < 3 * ARRAY_SIZE(lens); i++) {
        dp_check_transmit(r->nic, r->sock, lens[i % ARRAY_SIZE(lens)], i);
        dp_check_receive(r->nic, r->sock, lens[i % ARRAY_SIZE(lens)], i);
    }
    /* So long, and in so large buffers, that they go straight there */
    dp_post(r->nic, 20, DP_MAX_FRAME + r->nic->hdr_len);
    for (i = 0; i < 20; i++) {
        size_t len;

        dp_make_frame(r->frame, 60000, i);
        dp_sock_send(r->sock, NULL, r->frame, 60000);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, len, r->frame, 60000);
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "direct-packets"), >, 0);
    dp_rig_restart(r);
    dp_check_transmit(r->nic, r->sock, 1514, 0);
    dp_check_receive(r->nic, r->sock, 1514, 0);
    dp_rig_free(r);
}

/* ---- Limits ---- */

static void test_tx_pps(const void *opaque)
{
    DpRig *r = rig_new("tx-pps=1k", 1);
    Frames f = frames_new(r->nic, DP_TX, 60);

    check_time(frames_all(&f, 500), 500, 1000);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 500);
    g_assert_cmpuint(dp_filter_counter(r->qts, "vd0", 0, "tx-waits"), >,
                     0);
    g_assert_cmpuint(dp_filter_counter(r->qts, "vd0", 0, "rx-waits"), ==,
                     0);
    dp_rig_free(r);
}

static void test_tx_bps(const void *opaque)
{
    DpRig *r = rig_new("tx-bps=8M", 1);
    Frames f = frames_new(r->nic, DP_TX, 1000);

    check_time(frames_all(&f, 500), 500 * 8000, 8e6);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 500);
    dp_rig_free(r);
}

static void test_rx_pps(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .null = true, .driver = "flat-out=on", .filter = "rx-pps=1k",
    }, false);
    Frames f = frames_new(r->nic, DP_RX, 60);

    check_time(frames_all(&f, 500), 500, 1000);
    g_assert_cmpuint(dp_filter_counter(r->qts, "vd0", 0, "rx-waits"), >,
                     0);
    g_assert_cmpuint(dp_filter_counter(r->qts, "vd0", 0, "tx-waits"), ==,
                     0);
    dp_rig_free(r);
}

static void test_rx_bps(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .null = true, .driver = "flat-out=on,size=1000",
        .filter = "rx-bps=8M",
    }, false);
    Frames f = frames_new(r->nic, DP_RX, 1000);

    check_time(frames_all(&f, 500), 500 * 8000, 8e6);
    dp_rig_free(r);
}

/* What waits in a tap is not lost */
static void test_rx_tap(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .filter = "rx-pps=200" }, false);
    int64_t start;
    unsigned i;

    dp_post(r->nic, 60, r->nic->hdr_len + 100);
    start = now_ms();
    for (i = 0; i < 60; i++) {
        dp_make_frame(r->frame, 100, i);
        dp_sock_send(r->sock, NULL, r->frame, 100);
    }
    for (i = 0; i < 60; i++) {
        size_t len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

        dp_make_frame(r->frame, 100, i);
        dp_assert_frame(r->got, len, r->frame, 100);
    }
    check_time(now_ms() - start, 60, 200);
    dp_rig_free(r);
}

/*
 * What the tap has read ahead comes, too, when nothing follows.  It reads twice
 * as many frames each time, here 2, 4 and 7 of 8, and lends 5 of these.
 */
static void test_rx_ahead(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .filter = "rx-bps=10M" }, false);
    unsigned i;

    dp_if_set_mtu("tap0", 65535 - 14);
    dp_post(r->nic, 13, DP_MAX_FRAME + r->nic->hdr_len);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    for (i = 0; i < 13; i++) {
        size_t len = i < 6 ? 60 : 60000;

        dp_make_frame(r->frame, len, i);
        dp_sock_send(r->sock, NULL, r->frame, len);
    }
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
    for (i = 0; i < 13; i++) {
        size_t len = i < 6 ? 60 : 60000;
        size_t got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

        dp_make_frame(r->frame, len, i);
        dp_assert_frame(r->got, got, r->frame, len);
    }
    g_assert_cmpuint(dp_filter_counter(r->qts, "vd0", 0, "rx-waits"), >,
                     0);
    dp_rig_free(r);
}

/* A burst has a rate of its own */
static void test_burst(const void *opaque)
{
    DpRig *r = rig_new("tx-pps=100,tx-pps-max=1k,tx-pps-max-length=2", 1);
    Frames f = frames_new(r->nic, DP_TX, 60);
    int64_t ms = frames_all(&f, 600);

    check_time(ms, 600, 1000);
    /* At the lower rate it would be six seconds */
    g_assert_cmpint(ms, <, 4000);
    dp_rig_free(r);
}

/* Each segment of a GSO frame is a packet */
static void test_gso(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .null = true, .filter = "tx-pps=1k",
        .features = DP_FEATURE(VIRTIO_NET_F_CSUM) |
                    DP_FEATURE(VIRTIO_NET_F_HOST_TSO4),
    }, false);
    Frames f = frames_new(r->nic, DP_TX, 54 + 40 * 1000);
    struct virtio_net_hdr *hdr = dp_host(r->guest, f.buf.addr);
    uint8_t *p = (uint8_t *)hdr + r->nic->hdr_len;

    *hdr = (struct virtio_net_hdr) {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = 54, .gso_size = 1000, .csum_start = 34, .csum_offset = 16,
    };
    stw_be_p(p + 12, 0x0800);
    p[14] = 0x45;
    stw_be_p(p + 16, 40 + 40 * 1000);
    stw_be_p(p + 20, 0);
    p[22] = 64;
    p[23] = IPPROTO_TCP;
    p[46] = 0x50;
    p[47] = 0x10;
    check_time(frames_all(&f, 10), 9 * 40, 1000);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 10);
    dp_rig_free(r);
}

/* ---- Who shares them ---- */

static void both_pairs(DpRig *r, unsigned n, Frames f[2])
{
    while (f[0].done < n || f[1].done < n) {
        frames_move(&f[0], n);
        frames_move(&f[1], n);
    }
}

/* Two queue pairs together, or each */
static void test_pairs(const void *opaque)
{
    bool per_queue = opaque;
    DpRig *r = rig_new(per_queue ? "tx-pps=1k,per-queue=on" : "tx-pps=1k", 2);
    Frames f[2];
    int64_t start, ms;
    unsigned i;

    for (i = 0; i < 2; i++) {
        f[i] = frames_new(r->nic, 2 * i + DP_TX, 60);
    }
    start = now_ms();
    both_pairs(r, 300, f);
    ms = now_ms() - start;
    check_time(ms, per_queue ? 300 : 600, 1000);
    dp_rig_free(r);
}

/* Two netdevs */
static void test_group(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .null = true, .filter = "tx-pps=1k",
        .more = "-object vhost-dp-null,id=null1 "
                "-object vhost-dp-throttle,id=lim1,driver=null1,group=lim0 "
                "-netdev vhost-dp,id=vd1,driver=lim1 "
                "-device virtio-net-pci,netdev=vd1,addr=05.0,romfile=,"
                "disable-legacy=on",
    }, false);
    DpNic *other = dp_nic_probe(r->guest, 5);
    Frames f[2];
    int64_t start;

    dp_nic_start(other, DP_FEATURES_DEFAULT);
    f[0] = frames_new(r->nic, DP_TX, 60);
    f[1] = frames_new(other, DP_TX, 60);
    start = now_ms();
    both_pairs(r, 300, f);
    check_time(now_ms() - start, 600, 1000);
    dp_nic_free(other);
    dp_rig_free(r);
}

/* ---- Changes under way ---- */

static void test_change(const void *opaque)
{
    DpRig *r = rig_new("tx-pps=10", 1);
    Frames f = frames_new(r->nic, DP_TX, 60);

    /* The limits are kept when the new value is wrong */
    dp_check_error(qtest_qmp(r->qts, SET("lim0", "tx-pps", "'fast'")),
                   "lim0", "tx-pps=fast", NULL);
    dp_check_error(qtest_qmp(r->qts, SET("lim0", "tx-pps-max", "'5'")),
                   "lim0", "tx-pps-max=5", "tx-pps=10", NULL);
    check_time(frames_all(&f, 5), 4, 10);
    /* A wait that has begun ends */
    frames_move(&f, 40);
    qtest_qmp_assert_success(r->qts, SET("lim0", "tx-pps", "'0'"));
    g_assert_cmpint(frames_all(&f, 35), <, 3000);
    qtest_qmp_assert_success(r->qts, SET("lim0", "tx-pps", "'1k'"));
    check_time(frames_all(&f, 300), 300, 1000);
    /* Other options are the netdev's now */
    dp_check_error(qtest_qmp(r->qts, SET("lim0", "driver", "'null1'")),
                   "lim0", "driver=", "'vd0'", NULL);
    dp_rig_free(r);
}

/* A device that is reset while frames wait */
static void test_reset(const void *opaque)
{
    DpRig *r = rig_new("tx-pps=10,rx-pps=10", 1);
    Frames f = frames_new(r->nic, DP_TX, 60);

    frames_move(&f, 50);
    dp_rig_restart(r);
    f = frames_new(r->nic, DP_TX, 60);
    qtest_qmp_assert_success(r->qts, SET("lim0", "tx-pps", "'0'"));
    frames_all(&f, 100);
    dp_rig_free(r);
}

/* ---- Chains ---- */

static void test_chain(const void *opaque)
{
    QTestState *qts = qtest_init("-M pc -nodefaults");
    g_autofree char *hmp = NULL;
    unsigned i;

    dp_run_good(qts, ADD_NULL("null0"));
    dp_run_good(qts, ADD_THROTTLE("lim0", "null0", ", 'tx-bps': '1G'"));
    dp_run_good(qts, ADD_THROTTLE("lim1", "lim0", ", 'rx-pps': '200k'"));
    for (i = 0; i < 3; i++) {
        DpUsage before = dp_usage(qts);
        QDict *info;
        const QListEntry *entry;
        QDict *filter;

        dp_run_good(qts, ADD_NETDEV("vd0", "lim1"));
        dp_wait_settled(qts);
        info = dp_query(qts, "vd0");
        g_assert_cmpstr(qdict_get_str(info, "driver"), ==, "lim1");
        g_assert_cmpstr(qdict_get_str(info, "driver-type"), ==,
                        "vhost-dp-throttle");
        entry = qlist_first(qdict_get_qlist(info, "filters"));
        filter = qobject_to(QDict, qlist_entry_obj(entry));
        g_assert_cmpstr(qdict_get_str(filter, "id"), ==, "lim1");
        g_assert_cmpstr(qdict_get_str(filter, "driver"), ==, "lim0");
        entry = qlist_next(entry);
        filter = qobject_to(QDict, qlist_entry_obj(entry));
        g_assert_cmpstr(qdict_get_str(filter, "id"), ==, "lim0");
        g_assert_cmpstr(qdict_get_str(filter, "driver"), ==, "null0");
        g_assert_cmpstr(qdict_get_str(filter, "driver-type"), ==,
                        "vhost-dp-null");
        g_assert_null(qlist_next(entry));
        qobject_unref(info);
        hmp = qtest_hmp(qts, "info vhost-dp");
        g_assert_nonnull(strstr(hmp, "filter lim1 (vhost-dp-throttle) on lim0 "
                                "(vhost-dp-throttle): tx-waits 0"));
        g_clear_pointer(&hmp, g_free);

        /* All of the chain is in use */
        dp_check_error(qtest_qmp(qts, DEL_OBJECT("null0")), "null0", NULL);
        dp_check_error(qtest_qmp(qts, DEL_OBJECT("lim0")), "lim0", NULL);
        dp_check_error(qtest_qmp(qts, DEL_OBJECT("lim1")), "lim1", NULL);
        dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd1", "null0")),
                       "driver=null0", "vhost-dp-throttle 'lim0'", NULL);
        dp_run_good(qts, DEL_NETDEV("vd0"));
        dp_check_usage(qts, before);
    }
    dp_run_good(qts, DEL_OBJECT("lim1"));
    dp_run_good(qts, ADD_NETDEV("vd0", "lim0"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    dp_run_good(qts, DEL_OBJECT("lim0"));
    dp_run_good(qts, DEL_OBJECT("null0"));
    qtest_quit(qts);
}

/* The leader of a group may go first */
static void test_group_life(const void *opaque)
{
    QTestState *qts = qtest_init("-M pc -nodefaults");

    dp_run_good(qts, ADD_NULL("null0"));
    dp_run_good(qts, ADD_NULL("null1"));
    dp_run_good(qts, ADD_THROTTLE("lim0", "null0", ", 'tx-bps': '1G'"));
    dp_run_good(qts, ADD_THROTTLE("lim1", "null1", ", 'group': 'lim0'"));
    dp_run_good(qts, ADD_NETDEV("vd1", "lim1"));
    /* Its limits count, so they are checked */
    dp_check_error(qtest_qmp(qts, SET("lim0", "tx-bps", "'fast'")), "lim0",
                   "tx-bps=fast", NULL);
    dp_run_good(qts, DEL_OBJECT("lim0"));
    dp_wait_settled(qts);
    dp_run_good(qts, DEL_NETDEV("vd1"));
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd1", "lim1")), "lim1",
                   "group=lim0", NULL);
    dp_check_goes_on(qts);
    qtest_quit(qts);
}

/* ---- Errors ---- */

static const DpBadCommand errors[] = {
    { "rate/word", ADD_THROTTLE("l", "null0", ", 'tx-bps': 'fast'"),
      { "vhost-dp-throttle 'l'", "tx-bps=fast", "0 to" } },
    { "rate/negative", ADD_THROTTLE("l", "null0", ", 'rx-pps': '-1'"),
      { "rx-pps=-1" } },
    { "rate/huge", ADD_THROTTLE("l", "null0", ", 'rx-bps': '1E'"),
      { "rx-bps=1E" } },
    { "rate/suffix", ADD_THROTTLE("l", "null0", ", 'rx-bps': '1X'"),
      { "rx-bps=1X" } },
    { "max/alone", ADD_THROTTLE("l", "null0", ", 'tx-pps-max': '5'"),
      { "tx-pps-max=5", "tx-pps=" } },
    { "max/less", ADD_THROTTLE("l", "null0",
                               ", 'tx-pps': '1k', 'tx-pps-max': '5'"),
      { "tx-pps-max=5", "tx-pps=1k" } },
    { "length/zero", ADD_THROTTLE("l", "null0", ", 'tx-pps': '1',"
                                  " 'tx-pps-max': '5',"
                                  " 'tx-pps-max-length': 0"),
      { "tx-pps-max-length=0", "1 to 3600" } },
    { "length/alone", ADD_THROTTLE("l", "null0", ", 'tx-pps': '1',"
                                   " 'tx-pps-max-length': 2"),
      { "tx-pps-max-length=2", "tx-pps-max=" } },
    { "group/limits", ADD_THROTTLE("l", "null0", ", 'tx-pps': '1',"
                                   " 'group': 'lim0'"),
      { "tx-pps=", "group=lim0" } },
    { "group/per-queue", ADD_THROTTLE("l", "null0", ", 'per-queue': true,"
                                      " 'group': 'lim0'"),
      { "per-queue=on", "group=lim0" } },
};

/* Errors that a netdev brings out */
static void test_claim_errors(const void *opaque)
{
    QTestState *qts = qtest_init("-M pc -nodefaults");
    DpUsage before;

    dp_run_good(qts, ADD_NULL("null0"));
    dp_run_good(qts, ADD_NULL("null1"));
    dp_run_good(qts, ADD_THROTTLE("lim0", "null0", ""));
    dp_run_good(qts, ADD_THROTTLE("lim1", "lim2", ""));
    dp_run_good(qts, ADD_THROTTLE("lim2", "lim1", ""));
    dp_run_good(qts, ADD_THROTTLE("lim3", "nosuch", ""));
    dp_run_good(qts, ADD_THROTTLE("lim4", "null0", ", 'group': 'lim0'"));
    dp_run_good(qts, ADD_THROTTLE("lim5", "null1", ", 'group': 'lim4'"));
    dp_run_good(qts, ADD_THROTTLE("lim6", "null1", ", 'group': 'null0'"));
    before = dp_usage(qts);

    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "lim1")),
                   "vhost-dp-throttle 'lim1'", "driver=lim1",
                   "stand on itself", NULL);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "lim3")),
                   "vhost-dp-throttle 'lim3'", "driver=nosuch", NULL);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "lim5")),
                   "vhost-dp-throttle 'lim5'", "group=lim4", "'lim0'", NULL);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd0", "lim6")),
                   "vhost-dp-throttle 'lim6'", "group=null0", NULL);
    dp_run_good(qts, ADD_NETDEV("vd0", "lim0"));
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd1", "lim4")),
                   "vhost-dp-throttle 'lim4'", "driver=null0",
                   "vhost-dp-throttle 'lim0'", NULL);
    dp_check_error(qtest_qmp(qts, ADD_NETDEV("vd1", "lim0")),
                   "driver=lim0", "netdev 'vd0'", NULL);
    dp_run_good(qts, DEL_NETDEV("vd0"));
    /* More than the driver below it has */
    dp_run_good(qts, ADD_NETDEV_WITH("vd0", "lim0", "'queues': 65"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("throttle/pass/no-limits", "", test_pass);
    dp_add_ring_test("throttle/pass/high-limits",
                     "tx-bps=100G,tx-pps=100M,rx-bps=100G,rx-pps=100M",
                     test_pass);
    dp_add_ring_test("throttle/tx-pps", NULL, test_tx_pps);
    dp_add_test("throttle/tx-bps", NULL, test_tx_bps);
    dp_add_ring_test("throttle/rx-pps", NULL, test_rx_pps);
    dp_add_test("throttle/rx-bps", NULL, test_rx_bps);
    dp_add_test("throttle/rx-tap", NULL, test_rx_tap);
    dp_add_test("throttle/rx-ahead", NULL, test_rx_ahead);
    dp_add_test("throttle/burst", NULL, test_burst);
    dp_add_test("throttle/gso", NULL, test_gso);
    dp_add_test("throttle/pairs/shared", NULL, test_pairs);
    dp_add_test("throttle/pairs/per-queue", (void *)1, test_pairs);
    dp_add_test("throttle/group", NULL, test_group);
    dp_add_test("throttle/change", NULL, test_change);
    dp_add_test("throttle/reset", NULL, test_reset);
    dp_add_test("throttle/chain", NULL, test_chain);
    dp_add_test("throttle/group-life", NULL, test_group_life);
    dp_add_test("throttle/claim-errors", NULL, test_claim_errors);
    dp_add_bad_commands("throttle/error", errors, ARRAY_SIZE(errors),
                        dp_check_bad_command);
    return g_test_run();
}
