/*
 * vhost-dp: qtests of several queue pairs
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which IOThread a queue pair runs in, what happens when the guest changes
 * the number of pairs that it uses, and that pairs on one thread share it.
 * Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "libqos/pci-pc.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "standard-headers/linux/virtio_pci.h"
#include "guest.h"

#define PAIRS 4

#define FEATURES \
    (DP_FEATURES_DEFAULT | DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) | \
     DP_FEATURE(VIRTIO_NET_F_MQ))

#define RX(pair) (2 * (pair))
#define TX(pair) (2 * (pair) + 1)

#define FRAME_BYTES 60
#define BUFFER_BYTES 2048

/* ---- The guest ---- */

typedef struct MqRig {
    DpGuest *guest;
    QTestState *qts;
    DpNic *nic;
} MqRig;

/* Give all entries of a ring to the device, each with the same buffer */
static void fill(MqRig *r, unsigned index)
{
    DpQueue *q = &r->nic->queue[index];
    bool write = index % 2 == DP_RX;
    uint64_t addr = dp_alloc(r->guest, BUFFER_BYTES);
    unsigned i;

    memset(dp_host(r->guest, addr), 0, BUFFER_BYTES);
    for (i = 0; i < q->pci.vq.size; i++) {
        DpBuf buf = {
            .addr = addr,
            .len = write ? BUFFER_BYTES : r->nic->hdr_len + FRAME_BYTES,
            .write = write,
        };

        dp_add(q, &buf, 1);
    }
    dp_publish(q);
}

/* Make available again what was used.  Returns how much that is. */
static unsigned feed(DpQueue *q)
{
    uint16_t id;
    unsigned n = 0;

    while (n < q->pci.vq.size && dp_get_used(q, &id, NULL)) {
        dp_add_again(q, id);
        n++;
    }
    if (n) {
        dp_publish(q);
    }
    return n;
}

static void set_pairs(MqRig *r, unsigned pairs)
{
    dp_nic_set_pairs(r->nic, pairs);
}

static MqRig *rig_new(const char *driver, const char *netdev)
{
    MqRig *r = g_new0(MqRig, 1);
    unsigned i;

    r->guest = dp_guest_new("-object iothread,id=t0 -object iothread,id=t1 "
                            "-object vhost-dp-null,id=n0,%s "
                            "-netdev vhost-dp,id=vd0,driver=n0,queues=%u,%s "
                            DP_DEVICE "disable-legacy=on,mq=on",
                            driver, PAIRS, netdev);
    r->qts = r->guest->qts;
    r->nic = dp_nic_new(r->guest, DP_SLOT, FEATURES);
    g_assert_cmpuint(r->nic->max_pairs, ==, PAIRS);
    for (i = 0; i < 2 * PAIRS; i++) {
        fill(r, i);
    }
    return r;
}

static void rig_free(MqRig *r)
{
    dp_nic_free(r->nic);
    dp_guest_free(r->guest);
    g_free(r);
}

static uint64_t counter(MqRig *r, unsigned queue, const char *name)
{
    return dp_counter(r->qts, "vd0", queue, name);
}

/* ---- Queue pairs and IOThreads ---- */

static QDict *query_pair(QDict *info, unsigned pair)
{
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "queues"), entry) {
        QDict *each = qobject_to(QDict, qlist_entry_obj(entry));

        if (qdict_get_int(each, "index") == pair) {
            return each;
        }
    }
    g_assert_not_reached();
}

static void check_threads(QTestState *qts, const char *const *names)
{
    QDict *info = dp_query(qts, "vd0");
    unsigned i, k;

    g_assert_nonnull(info);
    for (i = 0; i < PAIRS; i++) {
        QDict *pair = query_pair(info, i);

        g_assert_cmpstr(qdict_get_str(pair, "iothread"), ==, names[i]);
        for (k = 0; k < i; k++) {
            bool same = qdict_get_int(pair, "thread-id") ==
                        qdict_get_int(query_pair(info, k), "thread-id");

            g_assert_true(same == !strcmp(names[i], names[k]));
        }
    }
    qobject_unref(info);
}

typedef struct Mapping {
    const char *name;
    const char *netdev;
    const char *threads[PAIRS];
} Mapping;

#define MAP(n, rest) "iothread-vq-mapping." #n "." rest
#define JSON_NETDEV(rest) \
    "-netdev '{ \"type\": \"vhost-dp\", \"id\": \"vd0\", " \
    "\"driver\": \"n0\", \"queues\": 4, " rest " }'"
#define KEYS_NETDEV(rest) \
    "-netdev vhost-dp,id=vd0,driver=n0,queues=4" rest

static const Mapping mappings[] = {
    {
        "default", KEYS_NETDEV(""), { "dp-vd0", "dp-vd0:1", "dp-vd0:2",
                                      "dp-vd0:3" },
    }, {
        "one", KEYS_NETDEV(",iothread=t1"), { "t1", "t1", "t1", "t1" },
    }, {
        "in-turn", KEYS_NETDEV("," MAP(0, "iothread=t0")
                               "," MAP(1, "iothread=t1")),
        { "t0", "t1", "t0", "t1" },
    }, {
        "explicit", KEYS_NETDEV("," MAP(0, "iothread=t1")
                                "," MAP(0, "vqs.0=0") "," MAP(0, "vqs.1=3")
                                "," MAP(1, "iothread=t0")
                                "," MAP(1, "vqs.0=1") "," MAP(1, "vqs.1=2")),
        { "t1", "t0", "t0", "t1" },
    }, {
        "in-turn-json",
        JSON_NETDEV("\"iothread-vq-mapping\": [ { \"iothread\": \"t1\" }, "
                    "{ \"iothread\": \"t0\" } ]"),
        { "t1", "t0", "t1", "t0" },
    }, {
        "explicit-json",
        JSON_NETDEV("\"iothread-vq-mapping\": [ "
                    "{ \"iothread\": \"t0\", \"vqs\": [ 3 ] }, "
                    "{ \"iothread\": \"t1\", \"vqs\": [ 2, 0, 1 ] } ]"),
        { "t1", "t1", "t1", "t0" },
    },
};

static void test_mapping(const void *opaque)
{
    const Mapping *m = opaque;
    QTestState *qts = qtest_initf("-M none -object iothread,id=t0 "
                                  "-object iothread,id=t1 "
                                  "-object vhost-dp-null,id=n0 %s", m->netdev);

    check_threads(qts, m->threads);
    qtest_quit(qts);
}

typedef struct BadMapping {
    const char *name;
    const char *options;
    const char *texts[4];
} BadMapping;

#define MAPPING(list) "'iothread-vq-mapping': [ " list " ]"

static const BadMapping bad_mappings[] = {
    {
        "empty", MAPPING(""), { "vd0", "iothread-vq-mapping", "empty" },
    }, {
        "unknown-iothread", MAPPING("{ 'iothread': 't2' }"),
        { "vd0", "t2", "does not exist" },
    }, {
        "not-an-iothread", MAPPING("{ 'iothread': 'n0' }"),
        { "vd0", "n0", "does not exist" },
    }, {
        "iothread-twice", MAPPING("{ 'iothread': 't0' },"
                                  "{ 'iothread': 't0' }"),
        { "vd0", "duplicate", "t0" },
    }, {
        "pair-out-of-range", MAPPING("{ 'iothread': 't0',"
                                     "  'vqs': [ 0, 1, 2, 3, 4 ] }"),
        { "vd0", "4", "t0", "less than" },
    }, {
        "pair-twice", MAPPING("{ 'iothread': 't0', 'vqs': [ 0, 1, 2, 3 ] },"
                              "{ 'iothread': 't1', 'vqs': [ 2 ] }"),
        { "vd0", "2", "t1", "already" },
    }, {
        "pair-missing", MAPPING("{ 'iothread': 't0', 'vqs': [ 0, 1 ] },"
                                "{ 'iothread': 't1', 'vqs': [ 3 ] }"),
        { "vd0", "missing", "2" },
    }, {
        "with-and-without-vqs", MAPPING("{ 'iothread': 't0', 'vqs': [ 0 ] },"
                                        "{ 'iothread': 't1' }"),
        { "vd0", "vqs" },
    }, {
        "both-options", "'iothread': 't0', " MAPPING("{ 'iothread': 't1' }"),
        { "vd0", "iothread=t0", "iothread-vq-mapping", "exclude" },
    }, {
        "busy-poll-us/too-much", "'busy-poll-us': 1000001",
        { "vd0", "busy-poll-us=1000001", "0 to 1000000" },
    }, {
        "queues/too-many", "'queues': 257",
        { "vd0", "queues=257", "1 to 256" },
    },
};

static void test_bad_mapping(const void *opaque)
{
    const BadMapping *m = opaque;
    QTestState *qts = qtest_init("-M none -object iothread,id=t0 "
                                 "-object iothread,id=t1 "
                                 "-object vhost-dp-null,id=n0");
    g_autofree char *queues = strstr(m->options, "queues'") ? g_strdup("") :
        g_strdup_printf("'queues': %u, ", PAIRS);
    g_autofree char *command =
        g_strdup_printf("{ 'execute': 'netdev_add', 'arguments': {"
                        " 'type': 'vhost-dp', 'id': 'vd0', 'driver': 'n0',"
                        " %s%s } }", queues, m->options);
    DpUsage before = dp_usage(qts);
    unsigned i;

    for (i = 0; i < 2; i++) {
        qtest_qmp_send_raw(qts, "%s", command);
        dp_check_error(qtest_qmp_receive(qts), m->texts[0], m->texts[1],
                       m->texts[2], m->texts[3], NULL);
    }
    dp_check_usage(qts, before);
    /* The driver is free, and so are the threads */
    qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                             " 'type': 'vhost-dp', 'id': 'vd0',"
                             " 'driver': 'n0', 'queues': 4,"
                             " 'iothread-vq-mapping': ["
                             " { 'iothread': 't0' }, { 'iothread': 't1' }"
                             " ] } }");
    check_threads(qts, (const char *const[]) { "t0", "t1", "t0", "t1" });
    qtest_quit(qts);
}

/* The netdev keeps an IOThread that the user deletes */
static void test_delete_iothread(const void *opaque)
{
    MqRig *r = rig_new("flat-out=on", MAP(0, "iothread=t0") ","
                       MAP(1, "iothread=t1"));
    uint64_t before;

    set_pairs(r, PAIRS);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'object-del',"
                             " 'arguments': { 'id': 't1' } }");
    before = counter(r, TX(1), "packets");
    dp_wait_until(feed(&r->nic->queue[TX(1)]) &&
                  counter(r, TX(1), "packets") > before);
    rig_free(r);
}

/* ---- Traffic ---- */

/* Let all queues work until queue @index has moved @n more frames */
static void move(MqRig *r, unsigned index, uint64_t n)
{
    uint64_t end = counter(r, index, "packets") + n;
    int64_t limit = g_get_monotonic_time() + DP_TIMEOUT_US;
    unsigned i;

    while (counter(r, index, "packets") < end) {
        for (i = 0; i < 2 * PAIRS; i++) {
            feed(&r->nic->queue[i]);
        }
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
    }
}

static void test_all_pairs(const void *opaque)
{
    MqRig *r = rig_new("flat-out=on", opaque);
    unsigned i;

    set_pairs(r, PAIRS);
    for (i = 0; i < 2 * PAIRS; i++) {
        move(r, i, 500);
    }
    rig_free(r);
}

/*
 * Section 5.1.6.5.5: frames that come for a pair that is not used are the first
 * pair's.  What the guest sends there is lost and counted.  Nothing is stuck.
 */
static void test_disabled(const void *opaque)
{
    MqRig *r = rig_new("rate=100000,burst=8", opaque);
    uint64_t before[PAIRS];
    uint64_t received, sent;
    unsigned i;

    set_pairs(r, PAIRS);
    for (i = 0; i < 2 * PAIRS; i++) {
        move(r, i, 100);
    }
    /* From when the device did not run */
    for (i = 0; i < PAIRS; i++) {
        before[i] = counter(r, RX(i), "drop:disabled");
    }
    set_pairs(r, 1);

    for (i = 1; i < PAIRS; i++) {
        uint64_t lost;

        received = counter(r, RX(i), "packets");
        move(r, RX(0), 1000);
        g_assert_cmpuint(counter(r, RX(i), "packets"), ==, received);
        g_assert_cmpuint(counter(r, RX(i), "drop:disabled"), ==, before[i]);

        /* What is sent is lost, and the guest has its buffers back */
        sent = counter(r, TX(i), "packets");
        lost = counter(r, TX(i), "drop:disabled");
        dp_wait_until(feed(&r->nic->queue[TX(i)]));
        dp_wait_until(counter(r, TX(i), "drop:disabled") > lost);
        g_assert_cmpuint(counter(r, TX(i), "packets"), ==, sent);
    }
    g_assert_cmpuint(counter(r, RX(0), "drop:disabled"), ==, before[0]);
    g_assert_cmpuint(counter(r, TX(0), "drop:disabled"), ==, 0);

    /* The first pair has no buffers, and its inbox has room for so many */
    dp_wait_until(counter(r, RX(0), "drop:queue-full") > 1000);

    set_pairs(r, PAIRS);
    for (i = 0; i < 2 * PAIRS; i++) {
        move(r, i, 100);
    }
    rig_free(r);
}

/* A driver that can keep frames away from a pair does so */
static void test_steered(const void *opaque)
{
    MqRig *r = rig_new("flat-out=on", opaque);

    set_pairs(r, PAIRS);
    move(r, RX(3), 100);
    set_pairs(r, 2);
    move(r, RX(1), 1000);
    /* At most what was lent when the guest disabled the pair */
    g_assert_cmpuint(counter(r, RX(3), "drop:disabled"), <=, 64);
    set_pairs(r, PAIRS);
    move(r, RX(3), 100);
    rig_free(r);
}

/* As soon as the device has answered the command the pair is in use */
static void test_enabled_at_once(const void *opaque)
{
    MqRig *r = rig_new("rate=0", opaque);
    DpQueue *q = &r->nic->queue[TX(PAIRS - 1)];
    uint64_t sent = 0;
    uint64_t lost;
    unsigned i;

    /* What was sent there before */
    dp_wait_counter(r->qts, "vd0", TX(PAIRS - 1), "drop:disabled",
                    DP_RING_SIZE);
    lost = counter(r, TX(PAIRS - 1), "drop:disabled");
    for (i = 0; i < 200; i++) {
        set_pairs(r, 1);
        set_pairs(r, PAIRS);
        sent += feed(q);
        dp_wait_until(counter(r, TX(PAIRS - 1), "packets") +
                      counter(r, TX(PAIRS - 1), "drop:disabled") ==
                      sent + lost);
        g_assert_cmpuint(counter(r, TX(PAIRS - 1), "packets"), ==, sent);
    }
    rig_free(r);
}

static void test_change_under_traffic(const void *opaque)
{
    MqRig *r = rig_new("flat-out=on", opaque);
    g_autoptr(GRand) rnd = g_rand_new_with_seed(20260);
    unsigned i, k;

    for (k = 0; k < 300; k++) {
        unsigned pairs = g_rand_int_range(rnd, 1, PAIRS + 1);

        set_pairs(r, pairs);
        for (i = 0; i < 2 * PAIRS; i++) {
            feed(&r->nic->queue[i]);
        }
        if (k % 10 == 0) {
            move(r, TX(pairs - 1), 10);
            move(r, RX(pairs - 1), 10);
        }
    }
    set_pairs(r, PAIRS);
    for (i = 0; i < 2 * PAIRS; i++) {
        move(r, i, 100);
        g_assert_cmpuint(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET,
                         ==, 0);
    }
    rig_free(r);
}

/* A reset leaves one pair; a driver without MQ uses no more */
static void test_reset(const void *opaque)
{
    MqRig *r = rig_new("rate=100000", opaque);
    QDict *info;
    unsigned i;

    set_pairs(r, PAIRS);
    move(r, RX(3), 100);
    dp_nic_reset(r->nic);
    dp_nic_start(r->nic, DP_FEATURES_DEFAULT);
    info = dp_query(r->qts, "vd0");
    for (i = 0; i < PAIRS; i++) {
        g_assert_true(qdict_get_bool(query_pair(info, i), "enabled") ==
                      (i == 0));
        g_assert_true(qdict_get_bool(query_pair(info, i), "attached"));
    }
    qobject_unref(info);
    fill(r, RX(0));
    dp_wait_until(feed(&r->nic->queue[RX(0)]));
    rig_free(r);
}

/* ---- Fairness ---- */

/*
 * Two queue pairs on one thread, neither of which ever runs out of work: each
 * drops frames as fast as it can, as its link is down.  They share the thread.
 */
static void test_fair(const void *opaque)
{
    static const char *const nics[] = { "nic0", "nic1" };
    QTestState *qts = qtest_initf("-M %s -nodefaults -object iothread,id=t0 "
        "-object vhost-dp-null,id=n0,rate=1000000000 "
        "-netdev vhost-dp,id=vd0,driver=n0,iothread=t0%s "
        "-device virtio-net-pci,id=nic0,netdev=vd0,romfile= "
        "-object vhost-dp-null,id=n1,rate=1000000000 "
        "-netdev vhost-dp,id=vd1,driver=n1,iothread=t0%s "
        "-device virtio-net-pci,id=nic1,netdev=vd1,romfile= ",
        dp_machine(), (const char *)opaque, (const char *)opaque);
    uint64_t n[2];
    unsigned i;

    for (i = 0; i < 2; i++) {
        qtest_qmp_assert_success(qts, "{ 'execute': 'set_link', 'arguments': {"
                                 " 'name': %s, 'up': false } }", nics[i]);
    }
    dp_wait_until(dp_counter(qts, "vd1", DP_RX, "drop:link-down") > 0);
    n[0] = dp_counter(qts, "vd0", DP_RX, "drop:link-down");
    n[1] = dp_counter(qts, "vd1", DP_RX, "drop:link-down");
    g_usleep(G_USEC_PER_SEC / 2);
    n[0] = dp_counter(qts, "vd0", DP_RX, "drop:link-down") - n[0];
    n[1] = dp_counter(qts, "vd1", DP_RX, "drop:link-down") - n[1];
    g_test_message("%" PRIu64 " and %" PRIu64 " frames", n[0], n[1]);
    g_assert_cmpuint(n[0], >, 0);
    g_assert_cmpuint(100 * n[0], >, 35 * (n[0] + n[1]));
    g_assert_cmpuint(100 * n[0], <, 65 * (n[0] + n[1]));
    qtest_quit(qts);
}

/* A driver that makes frames when it is asked is not asked while none can go */
static void test_link_down(const void *opaque)
{
    QTestState *qts = qtest_initf("-M %s -nodefaults "
        "-object vhost-dp-null,id=n0,flat-out=on "
        "-netdev vhost-dp,id=vd0,driver=n0 "
        "-device virtio-net-pci,id=nic0,netdev=vd0,romfile= ", dp_machine());

    qtest_qmp_assert_success(qts, "{ 'execute': 'set_link', 'arguments': {"
                             " 'name': 'nic0', 'up': false } }");
    g_usleep(DP_QUIET_US);
    g_assert_cmpuint(dp_counter(qts, "vd0", DP_RX, "drop:link-down"), ==, 0);
    qtest_quit(qts);
}

/* ---- Races ---- */

/* A guest's CPU that goes on with the rings, whatever happens meanwhile */
typedef struct Feeder {
    DpNic *nic;
    bool stop;                  /* atomic */
    GThread *thread;
} Feeder;

/* No kicks: they would go through QEMU's main loop, where the others are */
static void *feeder_run(void *opaque)
{
    Feeder *f = opaque;
    unsigned i;

    while (!qatomic_read(&f->stop)) {
        for (i = 0; i < 2 * PAIRS; i++) {
            DpQueue *q = &f->nic->queue[i];
            uint16_t id;

            while (dp_get_used(q, &id, NULL)) {
                dp_add_again(q, id);
                dp_publish_quietly(q);
            }
        }
    }
    return NULL;
}

static void feeder_start(Feeder *f, DpNic *nic)
{
    f->nic = nic;
    f->stop = false;
    f->thread = g_thread_new("feeder", feeder_run, f);
}

static void feeder_stop(Feeder *f)
{
    qatomic_set(&f->stop, true);
    g_thread_join(f->thread);
}

/*
 * All of a netdev goes while its queue pairs are in the middle of bursts: they
 * poll, so they need no kick for that.
 */
static void test_unplug(const void *opaque)
{
    MqRig *r = rig_new("flat-out=on", opaque);
    Feeder feeder;
    DpUsage before;
    unsigned round, i;

    for (round = 0; round < 6; round++) {
        set_pairs(r, 1 + round % PAIRS);
        for (i = 0; i < 2 * PAIRS; i++) {
            feed(&r->nic->queue[i]);
        }
        feeder_start(&feeder, r->nic);
        g_usleep(g_test_rand_int_range(0, 2000));
        if (round % 3 == 0) {
            qtest_qmp_assert_success(r->qts, "{ 'execute': 'netdev_del',"
                                     " 'arguments': { 'id': 'vd0' } }");
        }
        qpci_unplug_acpi_device_test(r->qts, "nic", DP_SLOT);
        feeder_stop(&feeder);
        if (round % 3) {
            qtest_qmp_assert_success(r->qts, "{ 'execute': 'netdev_del',"
                                     " 'arguments': { 'id': 'vd0' } }");
        }
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'object-del',"
                                 " 'arguments': { 'id': 'n0' } }");
        if (round == 0) {
            before = dp_usage(r->qts);
        }
        dp_check_usage(r->qts, before);

        qtest_qmp_assert_success(r->qts, "{ 'execute': 'object-add',"
                                 " 'arguments': { 'id': 'n0',"
                                 " 'qom-type': 'vhost-dp-null',"
                                 " 'flat-out': true } }");
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'netdev_add',"
                                 " 'arguments': { 'type': 'vhost-dp',"
                                 " 'id': 'vd0', 'driver': 'n0', 'queues': 4,"
                                 " 'busy-poll-us': 100000 } }");
        qtest_qmp_device_add(r->qts, "virtio-net-pci", "nic",
                             "{ 'netdev': 'vd0', 'addr': '04.0',"
                             " 'disable-legacy': 'on', 'mq': true,"
                             " 'romfile': '' }");
        dp_nic_free(r->nic);
        r->nic = dp_nic_new(r->guest, DP_SLOT, FEATURES);
        for (i = 0; i < 2 * PAIRS; i++) {
            fill(r, i);
        }
        set_pairs(r, PAIRS);
        move(r, RX(3), 100);
        move(r, TX(2), 100);
    }
    rig_free(r);
}

/* Control operations all the time, while all rings are busy */
static void test_control(const void *opaque)
{
    MqRig *r = rig_new("flat-out=on", opaque);
    Feeder feeder;
    unsigned i;

    set_pairs(r, PAIRS);
    for (i = 0; i < 2 * PAIRS; i++) {
        move(r, i, 100);
    }
    feeder_start(&feeder, r->nic);
    for (i = 0; i < 30; i++) {
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
        qobject_unref(dp_query(r->qts, "vd0"));
    }
    feeder_stop(&feeder);
    for (i = 0; i < 2 * PAIRS; i++) {
        dp_kick(&r->nic->queue[i]);
        move(r, i, 100);
    }
    rig_free(r);
}

/*
 * A violation is reported by the main loop, later.  If the device was reset or
 * stopped meanwhile, what comes after is not to suffer.
 */
static void test_late_violation(const void *opaque)
{
    MqRig *r = rig_new("flat-out=on", opaque);
    DpBuf bad = { .addr = dp_alloc(r->guest, 64), .len = 0 };
    unsigned round, i;

    for (round = 0; round < 60; round++) {
        DpQueue *q = &r->nic->queue[TX(round % 2)];
        int64_t end;

        set_pairs(r, PAIRS);
        dp_wait_until(feed(q) && dp_has_used(q));
        dp_get_used(q, NULL, NULL);
        dp_add(q, &bad, 1);
        end = g_get_monotonic_time() + round;
        dp_publish(q);
        while (g_get_monotonic_time() < end) {
            /* A pause that is too short for g_usleep() */
        }
        if (round % 3 == 0) {
            qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
            qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
        }
        dp_nic_reset(r->nic);
        dp_nic_start(r->nic, FEATURES);
        for (i = 0; i < 2 * PAIRS; i++) {
            fill(r, i);
        }
        move(r, TX(0), 10);
        g_assert_cmpuint(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET,
                         ==, 0);
    }
    g_assert_cmpuint(counter(r, TX(0), "violation:zero-length") +
                     counter(r, TX(1), "violation:zero-length"), >, 0);
    rig_free(r);
}

/* ---- What is counted ---- */

static void test_burst_sizes(const void *opaque)
{
    MqRig *r = rig_new("rate=0", opaque);
    DpQueue *q = &r->nic->queue[TX(2)];
    static const unsigned bins[] = { 1, 2, 4, 8, 16, 32, 64 };
    uint64_t sum = 0;
    QDict *info, *tx;
    const QListEntry *entry;
    unsigned i = 0;

    set_pairs(r, PAIRS);
    dp_wait_until(feed(q) && counter(r, TX(2), "packets") >= 2 * DP_RING_SIZE);
    info = dp_query(r->qts, "vd0");
    tx = qdict_get_qdict(query_pair(info, 2), "tx");
    QLIST_FOREACH_ENTRY(qdict_get_qlist(tx, "burst-sizes"), entry) {
        uint64_t n = qnum_get_int(qobject_to(QNum, qlist_entry_obj(entry)));

        sum += n;
        g_assert_cmpuint(n * bins[i], <=, qdict_get_int(tx, "packets"));
        i++;
    }
    g_assert_cmpuint(i, ==, ARRAY_SIZE(bins));
    g_assert_cmpuint(sum, ==, qdict_get_int(tx, "bursts"));
    g_assert_cmpuint(qdict_get_int(tx, "bytes"), ==,
                     FRAME_BYTES * qdict_get_int(tx, "packets"));
    qobject_unref(info);
    rig_free(r);
}

static void test_hmp(const void *opaque)
{
    MqRig *r = rig_new("rate=0", opaque);
    g_autofree char *text = NULL;
    static const char *const wanted[] = {
        "vd0: driver n0 (vhost-dp-null)", "busy polling: 50 us",
        "queue pair 0: iothread t0", "enabled, attached, split rings",
        "queue pair 3: iothread t1", "disabled, attached",
        "tx dropped (disabled): 64", " 3840           0",
        "kicks", "suppressed", "calls", "polls", "bursts of 1",
    };
    unsigned i;

    /* The rings were filled before the guest used more than one pair */
    set_pairs(r, 2);
    dp_wait_counter(r->qts, "vd0", TX(0), "packets", DP_RING_SIZE);
    dp_wait_counter(r->qts, "vd0", TX(2), "drop:disabled", DP_RING_SIZE);
    dp_wait_counter(r->qts, "vd0", TX(3), "drop:disabled", DP_RING_SIZE);
    text = qtest_hmp(r->qts, "info vhost-dp");
    g_test_message("%s", text);
    for (i = 0; i < ARRAY_SIZE(wanted); i++) {
        if (!strstr(text, wanted[i])) {
            g_test_message("\"%s\" should be there", wanted[i]);
            g_test_fail();
        }
    }
    rig_free(r);
}

int main(int argc, char **argv)
{
    static const char one[] = "iothread=t0";
    static const char two[] = MAP(0, "iothread=t0") "," MAP(1, "iothread=t1");
    static const char two_polling[] =
        MAP(0, "iothread=t0") "," MAP(1, "iothread=t1") ",busy-poll-us=50";
    static const char polling[] = "iothread=t0,busy-poll-us=50";
    static const char long_polling[] = "busy-poll-us=100000";
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(mappings); i++) {
        g_autofree char *path = g_strdup_printf("mapping/%s",
                                                mappings[i].name);

        dp_add_test(path, &mappings[i], test_mapping);
    }
    for (i = 0; i < ARRAY_SIZE(bad_mappings); i++) {
        g_autofree char *path = g_strdup_printf("bad-mapping/%s",
                                                bad_mappings[i].name);

        dp_add_test(path, &bad_mappings[i], test_bad_mapping);
    }
    dp_add_test("mapping/delete-iothread", NULL, test_delete_iothread);
    dp_add_ring_test("pairs/two-iothreads", two, test_all_pairs);
    dp_add_test("pairs/one-iothread", one, test_all_pairs);
    dp_add_ring_test("pairs/polling", polling, test_all_pairs);
    dp_add_test("pairs/disabled", two, test_disabled);
    dp_add_test("pairs/disabled-polling", polling, test_disabled);
    dp_add_test("pairs/steered", two, test_steered);
    dp_add_test("pairs/enabled-at-once", two, test_enabled_at_once);
    dp_add_test("pairs/enabled-at-once-polling", polling,
                test_enabled_at_once);
    dp_add_ring_test("pairs/change-under-traffic", two,
                     test_change_under_traffic);
    dp_add_test("pairs/change-under-traffic-polling", polling,
                test_change_under_traffic);
    dp_add_test("pairs/reset", two, test_reset);
    dp_add_test("fair/sleeping", "", test_fair);
    dp_add_test("fair/polling", ",busy-poll-us=1000", test_fair);
    dp_add_test("fair/link-down", NULL, test_link_down);
    dp_add_test("pairs/burst-sizes", two, test_burst_sizes);
    dp_add_test("pairs/hmp", two_polling, test_hmp);
    if (strcmp(qtest_get_arch(), "aarch64")) {
        /* By ACPI, from the root bus: machine virt has no such thing */
        dp_add_ring_test("pairs/unplug", long_polling, test_unplug);
    }
    dp_add_ring_test("pairs/control", long_polling, test_control);
    dp_add_ring_test("pairs/late-violation", two, test_late_violation);
    return g_test_run();
}
