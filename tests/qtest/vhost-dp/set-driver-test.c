/*
 * vhost-dp: qtests of a netdev that moves to another driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A thread of the test is the guest's driver and the network at once: it sends
 * numbered frames both ways all the time, and takes what comes, while the main
 * thread has the netdev move.  What is checked is that no frame comes twice or
 * in the wrong order, that none is missing which QEMU does not count as lost,
 * and that the guest sees no change of its link.
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "guest.h"
#include "commands.h"
#include "dump-rig.h"
#include "migrate.h"
#include "peer.h"

/* ---- Traffic ---- */

/* The network's ends, each with an interface that QEMU may use or not */
enum { AT_TAP0, AT_TAP1, AT_VETH, AT_PEER, ENDS };

#define SLOT 2048
#define ETH_LEN 14
#define MAX_LEN 1514
#define MAX_FRAMES (1u << 22)

typedef struct End {
    int sock;                   /* -1: not here */
    uint32_t sent;              /* to the guest */
    uint32_t got;               /* by the guest, of these: the last one */
} End;

typedef struct Traffic {
    DpRig *rig;
    End end[ENDS];
    DpPeer *peer;               /* or NULL */
    uint64_t tx_at;
    uint32_t next;              /* what the guest sends next, from 1 */
    uint32_t used;              /* frames that the device is done with */
    uint32_t came;              /* to any end */
    uint32_t last[ENDS];        /* the last one that came there */
    uint8_t *where;             /* 1 + end, by number; 0: it did not come */
    char *dir, *path;           /* of what dump1 records */
    uint8_t frame[MAX_LEN], got[DP_MAX_FRAME];

    /* Between the threads */
    bool stop;
    bool quiet;                 /* send nothing more */
    bool peer_wanted;           /* a connection */
    bool peer_there;            /* frames are taken from it */
    GThread *thread;
} Traffic;

static size_t frame_len(uint32_t number)
{
    return 60 + number * 2654435761u % (MAX_LEN - 60 + 1);
}

static size_t make_frame(uint8_t *frame, unsigned end, uint32_t number)
{
    size_t len = frame_len(number);

    dp_make_frame(frame, len, number);
    stw_be_p(frame + 12, DP_ETHERTYPE + 1 + end);
    stl_be_p(frame + ETH_LEN, number);
    return len;
}

/* Returns the number of frame t->got, from the guest or of @end */
static uint32_t check_frame(Traffic *t, size_t len, unsigned end)
{
    uint32_t number = ldl_be_p(t->got + ETH_LEN);

    dp_assert_frame(t->got, len, t->frame, make_frame(t->frame, end, number));
    return number;
}

static void guest_sends(Traffic *t)
{
    DpQueue *q = t->rig->tx;

    while (dp_get_used(q, NULL, NULL)) {
        t->used++;
    }
    while (q->nfree && !qatomic_read(&t->quiet)) {
        DpBuf buf = { .addr = t->tx_at + t->next % q->pci.vq.size * SLOT };
        uint8_t *p = dp_host(t->rig->guest, buf.addr);

        g_assert_cmpuint(t->next, <, MAX_FRAMES);
        memset(p, 0, t->rig->nic->hdr_len);
        buf.len = t->rig->nic->hdr_len +
                  make_frame(p + t->rig->nic->hdr_len, ENDS, t->next++);
        dp_add(q, &buf, 1);
    }
    dp_publish_quietly(q);
}

static void guest_receives(Traffic *t)
{
    DpQueue *q = t->rig->rx;
    size_t hdr_len = t->rig->nic->hdr_len;
    uint16_t id;
    uint32_t len;

    while (dp_get_used(q, &id, &len)) {
        const DpBuf *buf = dp_first_buf(q, id);
        unsigned end;

        memcpy(t->got, dp_host(t->rig->guest, buf->addr) + hdr_len,
               len - hdr_len);
        end = lduw_be_p(t->got + 12) - DP_ETHERTYPE - 1;
        /* libslirp announces itself, and the kernel does */
        if (end < ENDS) {
            uint32_t number = check_frame(t, len - hdr_len, end);

            g_assert_cmpuint(number, >, t->end[end].got);
            t->end[end].got = number;
        }
        dp_add_again(q, id);
    }
    dp_publish_quietly(q);
}

static void frame_came(Traffic *t, unsigned end, size_t len)
{
    uint32_t number;

    if (lduw_be_p(t->got + 12) != DP_ETHERTYPE + 1 + ENDS) {
        return;
    }
    number = check_frame(t, len, ENDS);
    g_assert_cmpuint(number, <, t->next);
    /* In order, and so not twice at this end */
    g_assert_cmpuint(number, >, t->last[end]);
    t->last[end] = number;
    /* Nor at two */
    g_assert_cmpuint(t->where[number], ==, 0);
    t->where[number] = 1 + end;
    t->came++;
}

static void network_runs(Traffic *t)
{
    unsigned i;
    size_t len;

    for (i = 0; i < ENDS; i++) {
        End *end = &t->end[i];

        if (end->sock < 0) {
            continue;
        }
        while ((len = dp_sock_recv(end->sock, 0, NULL, t->got, sizeof(t->got),
                                   0))) {
            frame_came(t, i, len);
        }
        if (!qatomic_read(&t->quiet)) {
            len = make_frame(t->frame, i, ++end->sent);
            /* Nobody may be there to receive it */
            len = write(end->sock, t->frame, len);
        }
    }
    while (t->peer && qatomic_read(&t->peer_there) &&
           (len = dp_peer_recv(t->peer, 0, NULL, t->got, sizeof(t->got), 0))) {
        frame_came(t, AT_PEER, len);
    }
}

/* The peer's process comes, or sees that QEMU has gone */
static void peer_follows(Traffic *t)
{
    bool wanted = t->peer && qatomic_read(&t->peer_wanted);

    if (wanted == t->peer_there) {
        return;
    }
    if (wanted) {
        dp_peer_run(t->peer, 1);
    }
    qatomic_set(&t->peer_there, wanted);
    if (!wanted) {
        dp_peer_wait_gone(t->peer);
        dp_peer_disconnect(t->peer);
    }
}

static gpointer traffic_run(gpointer opaque)
{
    Traffic *t = opaque;

    while (!qatomic_read(&t->stop)) {
        peer_follows(t);
        guest_sends(t);
        guest_receives(t);
        network_runs(t);
        g_usleep(100);
    }
    return NULL;
}

/* Set up with driver tap0, and all others */
static Traffic *traffic_new(const DpSetup *setup)
{
    Traffic *t = g_new0(Traffic, 1);
    DpRig *r;

    dp_tap_new("tap0", IFF_VNET_HDR);
    dp_tap_new("tap1", IFF_VNET_HDR);
    dp_veth_new("v0", "v1");
    r = t->rig = dp_rig_start(setup, false);
    t->next = 1;
    t->where = g_malloc0(MAX_FRAMES);
    t->tx_at = dp_alloc(r->guest, r->tx->pci.vq.size * SLOT);
    dp_post(r->nic, r->nic->ring_size, SLOT);
    t->end[AT_TAP0].sock = dp_sock_open("tap0", false);
    t->end[AT_TAP1].sock = dp_sock_open("tap1", false);
    t->end[AT_VETH].sock = dp_sock_open("v1", false);
    t->end[AT_PEER].sock = -1;
    dp_run_good(r->qts, ADD_DRIVER("throttle", "lim0", ", 'driver': 'tap0'"));
    dp_run_good(r->qts, ADD_DRIVER("tap", "tap1", ""));
    dp_run_good(r->qts, ADD_DRIVER("throttle", "lim1", ", 'driver': 'tap1'"));
    dp_run_good(r->qts, ADD_DRIVER("throttle", "lim2", ", 'driver': 'lim1'"));
    dp_run_good(r->qts, ADD_DRIVER("af-packet", "v0", ""));
    dp_run_good(r->qts, ADD_DRIVER("throttle", "limv", ", 'driver': 'v0'"));
    dp_run_good(r->qts, ADD_DRIVER("null", "null0", ""));
    t->dir = dump_dir_new();
    t->path = g_build_filename(t->dir, "dump1", NULL);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'vhost-dp-dump', 'id': 'dump1',"
                             " 'driver': 'lim1', 'snaplen': 64, 'files': 2,"
                             " 'file-size': 1000000, 'file': %s } }", t->path);
    return t;
}

/* The thread asks for nothing by itself: it has no say in the qtest protocol */
static void traffic_kick(Traffic *t)
{
    dp_kick(t->rig->tx);
    dp_kick(t->rig->rx);
}

static void traffic_start(Traffic *t)
{
    qatomic_set(&t->quiet, false);
    qatomic_set(&t->stop, false);
    t->thread = g_thread_new("traffic", traffic_run, t);
    traffic_kick(t);
}

/* All that the guest has sent is used */
static void traffic_settle(Traffic *t)
{
    qatomic_set(&t->quiet, true);
    dp_wait_until((traffic_kick(t),
                   qatomic_read(&t->used) == qatomic_read(&t->next) - 1));
}

static void traffic_stop(Traffic *t)
{
    traffic_settle(t);
    qatomic_set(&t->stop, true);
    g_thread_join(t->thread);
    t->thread = NULL;
}

static uint64_t traffic_lost(Traffic *t)
{
    QDict *info = dp_query(t->rig->qts, "vd0");
    QDict *pair = qobject_to(QDict, qlist_peek(qdict_get_qlist(info,
                                                               "queues")));
    QDict *tx = qdict_get_qdict(pair, "tx");
    const QListEntry *entry;
    uint64_t n = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(tx, "drops"), entry) {
        n += qdict_get_int(qobject_to(QDict, qlist_entry_obj(entry)),
                           "frames");
    }
    qobject_unref(info);
    return n;
}

/*
 * The frames that came to one end are those that came between two moves.  Each
 * flow is in order then, as it is at each end.
 */
static unsigned traffic_changes(Traffic *t)
{
    unsigned changes = 0;
    uint8_t at = 0;
    uint32_t i;

    for (i = 1; i < t->next; i++) {
        if (t->where[i] && t->where[i] != at) {
            changes += at != 0;
            at = t->where[i];
        }
    }
    return changes;
}

static void traffic_free(Traffic *t)
{
    unsigned i;

    for (i = 0; i < ENDS; i++) {
        if (t->end[i].sock >= 0) {
            close(t->end[i].sock);
        }
    }
    dp_rig_free(t->rig);
    g_free(t->path);
    dump_dir_free(t->dir);
    g_free(t->where);
    g_free(t);
}

/* ---- Moving ---- */

static const DpSetup usual = { .msix = true };

static void move_under_traffic(Traffic *t, const char *driver)
{
    bool peer = !strcmp(driver, "vu0") || !strcmp(driver, "limu");

    traffic_kick(t);
    if (t->peer) {
        qatomic_set(&t->peer_wanted, peer);
        /* What is given to a peer that takes nothing more is counted as lost */
        dp_wait_until(peer || !qatomic_read(&t->peer_there));
    }
    dp_set_driver(t->rig->qts, driver);
    traffic_kick(t);
}

/* ---- Under traffic ---- */

static Traffic *traffic_new_with_peer(DpVu **v)
{
    Traffic *t = traffic_new(&usual);

    *v = dp_vu_prepare(true);
    t->peer = (*v)->peer;
    t->peer->features = -1;
    qtest_qmp_assert_success(t->rig->qts, "{ 'execute': 'object-add',"
                             " 'arguments': { 'id': 'vu0',"
                             " 'qom-type': 'vhost-dp-vhost-user',"
                             " 'path': %s, 'reconnect-ms': 10 } }",
                             (*v)->path);
    dp_run_good(t->rig->qts, ADD_DRIVER("throttle", "limu",
                                        ", 'driver': 'vu0'"));
    return t;
}

/* In a random order, with each step from one to another */
static unsigned move_around(Traffic *t, const char *const *drivers, unsigned n)
{
    const char *at = "tap0";
    GRand *rand = g_rand_new_with_seed(4711);
    unsigned moves;

    for (moves = 0; moves < dp_rounds(40); moves++) {
        const char *next = at;
        uint32_t used = qatomic_read(&t->used);

        while (!strcmp(next, at)) {
            next = drivers[g_rand_int_range(rand, 0, n)];
        }
        move_under_traffic(t, next);
        at = next;
        /* The guest goes on */
        dp_wait_until((traffic_kick(t),
                       qatomic_read(&t->used) - used > 100));
    }
    g_rand_free(rand);
    if (strcmp(at, "tap0")) {
        move_under_traffic(t, "tap0");
        moves++;
    }
    return moves;
}

static void check_link_was_up(Traffic *t)
{
    g_assert_false(dp_config_interrupted(t->rig->nic));
    g_assert_true(dp_nic_link(t->rig->nic));
}

typedef struct Network {
    const char *drivers[10];
    unsigned ends;              /* bits */
    bool counts_more;           /* than are lost */
} Network;

/* What dump1 has recorded, in two files in turn, is whole */
static void check_recording(Traffic *t)
{
    DumpFile *file;
    g_autofree char *first = g_strdup_printf("%s.0", t->path);

    dp_run_good(t->rig->qts, DEL_OBJECT("dump1"));
    file = dump_file_read(first);
    g_assert_true(file->has_stats);
    g_assert_cmpuint(file->frames->len, >, 100);
    dump_file_free(file);
}

static const Network network = {
    .drivers = {
        "tap0", "lim0", "tap1", "lim1", "lim2", "dump1", "v0", "limv", "vu0"
    },
    .ends = (1 << ENDS) - 1,
};

/* What the peer has not taken when it gets another port, it may take then */
static const Network network_peer = {
    .drivers = { "tap0", "vu0", "limu" },
    .ends = 1 << AT_TAP0 | 1 << AT_PEER,
    .counts_more = true,
};

/* Between drivers that have a network, no frame is lost that is not counted */
static void test_network(const void *opaque)
{
    const Network *net = opaque;
    DpVu *v;
    Traffic *t = traffic_new_with_peer(&v);
    unsigned moves, i;

    dp_wait_until(dp_nic_link(t->rig->nic));
    dp_config_interrupted(t->rig->nic);
    traffic_start(t);
    moves = move_around(t, net->drivers, g_strv_length((char **)net->drivers));
    check_link_was_up(t);
    traffic_settle(t);
    if (net->counts_more) {
        dp_wait_until(qatomic_read(&t->came) + traffic_lost(t) >= t->next - 1);
    } else {
        dp_wait_until(qatomic_read(&t->came) + traffic_lost(t) == t->next - 1);
    }
    traffic_stop(t);
    g_assert_cmpuint(traffic_changes(t), <=, moves);
    for (i = 0; i < ENDS; i++) {
        if (net->ends & 1 << i) {
            g_assert_cmpuint(t->last[i], >, 0);
            g_assert_true(i == AT_PEER || t->end[i].got > 0);
        }
    }
    dp_check_transmit(t->rig->nic, t->end[AT_TAP0].sock, 1000, 1);
    if (!net->counts_more) {
        check_recording(t);
    }
    traffic_free(t);
    dp_vu_discard(v);
}

/* Some of these swallow what the guest sends */
static void test_all(const void *opaque)
{
    static const char *const drivers[] = {
        "tap0", "lim0", "v0", "null0", "lim3", "user0",
    };
    Traffic *t = traffic_new(&usual);
    unsigned moves, n = ARRAY_SIZE(drivers);

    dp_run_good(t->rig->qts, ADD_DRIVER("throttle", "lim3",
                                        ", 'driver': 'null0',"
                                        " 'tx-pps': '100k'"));
    if (!dp_why_no_driver("vhost-dp-slirp")) {
        dp_run_good(t->rig->qts, ADD_DRIVER("slirp", "user0", ""));
    } else {
        n--;
    }
    dp_wait_until(dp_nic_link(t->rig->nic));
    dp_config_interrupted(t->rig->nic);
    traffic_start(t);
    moves = move_around(t, drivers, n);
    check_link_was_up(t);
    traffic_stop(t);
    g_assert_cmpuint(traffic_changes(t), <=, moves);
    traffic_free(t);
}

/* ---- While something else happens ---- */

static void test_stopped(const void *opaque)
{
    Traffic *t = traffic_new(&usual);
    QTestState *qts = t->rig->qts;
    unsigned i;

    traffic_start(t);
    for (i = 0; i < 10; i++) {
        dp_run_good(qts, "{ 'execute': 'stop' }");
        dp_set_driver(qts, i % 2 ? "tap0" : "v0");
        dp_run_good(qts, "{ 'execute': 'cont' }");
        move_under_traffic(t, i % 2 ? "lim0" : "tap1");
        traffic_kick(t);
    }
    move_under_traffic(t, "tap0");
    traffic_stop(t);
    dp_check_transmit(t->rig->nic, t->end[AT_TAP0].sock, 1000, 1);
    traffic_free(t);
}

static void test_migration(const void *opaque)
{
    Traffic *t = traffic_new(&usual);
    QTestState *qts = t->rig->qts;

    traffic_start(t);
    dp_fill_ram(t->rig->guest, 16 * MiB);
    /* So slow that it is still on its way after both moves */
    dp_migrate_set(qts, "max-bandwidth", 64 * KiB);
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate', 'arguments': {"
                             " 'uri': 'exec:cat >/dev/null' } }");
    dp_wait_until(dp_migrate_is(qts, "active"));
    move_under_traffic(t, "v0");
    move_under_traffic(t, "lim1");
    g_assert_true(dp_migrate_is(qts, "active"));
    /* With so long a downtime it ends, however little CPU time QEMU gets */
    dp_migrate_set(qts, "downtime-limit", 1000 * 1000);
    dp_migrate_set(qts, "max-bandwidth", 1 * GiB);
    dp_wait_until(dp_migrate_is(qts, "completed"));
    /* The guest might come back */
    dp_set_driver(qts, "tap0");
    dp_run_good(qts, "{ 'execute': 'cont' }");
    traffic_stop(t);
    dp_check_transmit(t->rig->nic, t->end[AT_TAP0].sock, 1000, 1);
    traffic_free(t);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("set-driver/network", &network, test_network);
    dp_add_test("set-driver/peer", &network_peer, test_network);
    dp_add_ring_test("set-driver/all", NULL, test_all);
    dp_add_test("set-driver/stopped", NULL, test_stopped);
    dp_add_test("set-driver/migration", NULL, test_migration);
    return g_test_run();
}
