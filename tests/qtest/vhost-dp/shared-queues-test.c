/*
 * vhost-dp: qtests of drivers with fewer queue pairs than the netdev
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * All queue pairs send, each its own numbered frames, and what comes out has to
 * be in order for each of them, and complete.  What comes in reaches all pairs:
 * by RSS, or else those that have sent for its flow.
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "guest.h"
#include "commands.h"
#include "rss-flow.h"

#define MOST 8

#define RX(pair) (2 * (pair))
#define TX(pair) (2 * (pair) + 1)

#define THREADS "-object iothread,id=t0 -object iothread,id=t1 "
#define TWO_THREADS \
    "iothread-vq-mapping.0.iothread=t0,iothread-vq-mapping.1.iothread=t1"

/* Which of the driver's queue pairs sends for @pair; -1: not attached yet */
static int sends_by(QTestState *qts, unsigned pair)
{
    QDict *info = dp_query(qts, "vd0");
    const QListEntry *entry;
    int queue = -1;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "queues"), entry) {
        QDict *each = qobject_to(QDict, qlist_entry_obj(entry));

        if (qdict_get_int(each, "index") == pair &&
            qdict_get_bool(each, "attached")) {
            queue = qdict_get_int(each, "driver-queue-pair");
        }
    }
    qobject_unref(info);
    return queue;
}

static void wait_shared(QTestState *qts, unsigned pairs, unsigned queues)
{
    unsigned i;

    for (i = 0; i < pairs; i++) {
        dp_wait_until(sends_by(qts, i) == i % queues);
    }
}

/* ---- Traffic of all pairs ---- */

#define LEN(number) (60 + (number) * 2654435761u % 1400)
#define SLOT 2048

typedef struct Sender {
    DpRig *rig;
    uint64_t at[MOST];
    uint32_t next[MOST];        /* what is sent next, from 1 */
    uint32_t used[MOST];        /* how many the device is done with */
    uint32_t came[MOST];        /* the last one that came out */
    uint32_t lost;              /* frames that should have come before it */
    uint8_t frame[SLOT], got[SLOT];
} Sender;

static Sender *sender_new(DpRig *r)
{
    Sender *s = g_new0(Sender, 1);
    unsigned i;

    s->rig = r;
    for (i = 0; i < r->pairs; i++) {
        s->at[i] = dp_alloc(r->guest,
                            r->nic->queue[TX(i)].pci.vq.size * SLOT);
        s->next[i] = 1;
    }
    return s;
}

static size_t sender_make(uint8_t *frame, unsigned pair, uint32_t number)
{
    size_t len = LEN(number);

    dp_make_frame(frame, len, number);
    stl_be_p(frame + 14, number);
    frame[18] = pair;
    return len;
}

/* How many frames of @pair the device has still */
static unsigned sender_waits(Sender *s, unsigned pair)
{
    while (dp_get_used(&s->rig->nic->queue[TX(pair)], NULL, NULL)) {
        s->used[pair]++;
    }
    return s->next[pair] - 1 - s->used[pair];
}

/* Fills the ring of @pair; returns how many frames it got */
static unsigned sender_send(Sender *s, unsigned pair)
{
    DpNic *nic = s->rig->nic;
    DpQueue *q = &nic->queue[TX(pair)];
    unsigned n = 0;

    sender_waits(s, pair);
    for (; q->nfree; n++) {
        uint32_t number = s->next[pair]++;
        DpBuf buf = { .addr = s->at[pair] + number % q->pci.vq.size * SLOT };
        uint8_t *p = dp_host(s->rig->guest, buf.addr);

        memset(p, 0, nic->hdr_len);
        buf.len = nic->hdr_len + sender_make(p + nic->hdr_len, pair, number);
        dp_add(q, &buf, 1);
    }
    if (n) {
        dp_publish(q);
    }
    return n;
}

/* A frame that came out */
static void sender_take(Sender *s, const uint8_t *frame, size_t len)
{
    uint32_t number = ldl_be_p(frame + 14);
    unsigned pair = frame[18];

    g_assert_cmpuint(pair, <, s->rig->pairs);
    dp_assert_frame(frame, len, s->frame, sender_make(s->frame, pair, number));
    g_assert_cmpuint(number, >, s->came[pair]);
    g_assert_cmpuint(number, <, s->next[pair]);
    s->lost += number - s->came[pair] - 1;
    s->came[pair] = number;
}

static void sender_take_from(Sender *s, int sock)
{
    size_t len;

    while ((len = dp_sock_recv(sock, DP_ETHERTYPE, NULL, s->got, SLOT, 0))) {
        sender_take(s, s->got, len);
    }
}

static bool sender_all_came(Sender *s)
{
    unsigned i;

    for (i = 0; i < s->rig->pairs; i++) {
        if (s->came[i] != s->next[i] - 1) {
            return false;
        }
    }
    return true;
}

/* ---- Interfaces with one queue ---- */

/* The driver's one queue sends for all, and the first pair receives */
static void check_one_queue(DpRig *r, unsigned rounds)
{
    Sender *s = sender_new(r);
    unsigned round, i;

    wait_shared(r->qts, r->pairs, 1);
    for (round = 0; round < rounds; round++) {
        for (i = 0; i < r->pairs; i++) {
            sender_send(s, i);
        }
        sender_take_from(s, r->sock);
    }
    dp_wait_until((sender_take_from(s, r->sock), sender_all_came(s)));
    g_assert_cmpuint(s->lost, ==, 0);
    for (i = 0; i < r->pairs; i++) {
        dp_wait_counter(r->qts, "vd0", TX(i), "packets", s->next[i] - 1);
    }
    for (i = 0; i < 10; i++) {
        dp_check_receive(r->nic, r->sock, 60 + i * 100, i);
    }
    g_free(s);
}

static void test_tap(const void *opaque)
{
    DpRig *r;

    dp_tap_new("tap0", IFF_VNET_HDR);
    r = dp_rig_start(&(DpSetup) { .pairs = 4, .options = THREADS,
                                  .netdev = opaque }, false);
    check_one_queue(r, 300);
    dp_rig_free(r);
}

/* Two descriptors for four pairs */
static void test_fds(const void *opaque)
{
    int fd[2];
    DpRig *r;
    char *driver;
    unsigned i;

    dp_tap_new("tap0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    for (i = 0; i < 2; i++) {
        fd[i] = dp_tap_open("tap0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
        g_assert_cmpint(fcntl(fd[i], F_SETFD, 0), ==, 0);
    }
    driver = g_strdup_printf("fds=%d:%d", fd[0], fd[1]);
    r = dp_rig_start(&(DpSetup) { .pairs = 4, .driver = driver }, false);
    close(fd[0]);
    close(fd[1]);
    wait_shared(r->qts, 4, 2);
    for (i = 0; i < 40; i++) {
        dp_check_transmit_on(r->nic, i % 4, r->sock, 60 + i * 30, i);
    }
    dp_rig_free(r);
    g_free(driver);
}

/* The driver below a filter */
static void test_filter(const void *opaque)
{
    DpRig *r;

    dp_tap_new("tap0", IFF_VNET_HDR);
    r = dp_rig_start(&(DpSetup) { .pairs = 8, .options = THREADS, .filter = "",
                                  .netdev = opaque }, false);
    check_one_queue(r, 100);
    dp_rig_free(r);
}

/* Checksums and segments that nobody but QEMU can do: for each pair */
static void test_offload(const void *opaque)
{
    struct virtio_net_hdr hdr = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, 1000);
    static const size_t sizes[] = { 5000, 60000, 1500 };
    uint8_t frame[DP_MAX_FRAME], got[DP_MAX_FRAME];
    DpRig *r;
    unsigned i;

    dp_tap_new("tap0", IFF_VNET_HDR);
    r = dp_rig_start(&(DpSetup) {
        .pairs = 4, .driver = "offloads=off",
        .features = DP_FEATURE(VIRTIO_NET_F_CSUM) |
                    DP_FEATURE(VIRTIO_NET_F_HOST_TSO4),
    }, false);
    for (i = 0; i < 12; i++) {
        size_t len = sizes[i % 3];
        size_t head = dp_make_ip_frame(frame, len, IPPROTO_TCP, i);
        size_t at = head;

        dp_transmit_on(r->nic, i % 4, &hdr, frame, len);
        while (at < len) {
            size_t n = dp_sock_recv(r->sock, ETH_P_IP, NULL, got, sizeof(got),
                                    DP_TIMEOUT_US);

            g_assert_cmpuint(n, ==, head + MIN(1000, len - at));
            g_assert_true(dp_checksum_ok(got, n));
            g_assert_cmpmem(got + head, n - head, frame + at, n - head);
            at += n - head;
        }
    }
    dp_rig_free(r);
}

/* ---- A driver without room ---- */

/*
 * The driver takes fewer frames than the guest has: so everything on the way
 * fills up, and then the rings wait, each for as long as the others.
 */
static void test_full(const void *opaque)
{
    int64_t end = g_get_monotonic_time() + G_USEC_PER_SEC;
    unsigned waited = 0;
    unsigned i;
    DpRig *r;
    Sender *s;

    dp_tap_new("tap0", IFF_VNET_HDR);
    r = dp_rig_start(&(DpSetup) { .pairs = 4, .options = THREADS,
                                  .filter = "tx-pps=5000",
                                  .netdev = opaque }, false);
    s = sender_new(r);
    wait_shared(r->qts, 4, 1);
    while (g_get_monotonic_time() < end || waited < 100) {
        bool any = false;

        for (i = 0; i < 4; i++) {
            any |= sender_send(s, i);
        }
        sender_take_from(s, r->sock);
        waited += !any;
        for (i = 0; i < 4; i++) {
            /* Frames of 60 to 1460 bytes; an outbox has 256 KB */
            g_assert_cmpint((int)(s->used[i] - s->came[i]), <, 600);
        }
    }
    for (i = 1; i < 4; i++) {
        g_assert_cmpuint(s->used[i] - s->came[i], >, 100);
        g_assert_cmpuint(s->came[i], >, 300);
    }
    g_assert_cmpuint(s->came[0], >, 300);
    dp_wait_until((sender_take_from(s, r->sock), sender_all_came(s)));
    g_assert_cmpuint(s->lost, ==, 0);
    dp_rig_free(r);
    g_free(s);
}

/* A pair that stops leaves the others alone, and what it has sent is sent */
static void test_stop(const void *opaque)
{
    DpRig *r;
    Sender *s;
    unsigned round, i;

    dp_tap_new("tap0", IFF_VNET_HDR);
    r = dp_rig_start(&(DpSetup) { .pairs = 4, .options = THREADS,
                                  .features = DP_FEATURE(VIRTIO_F_RING_RESET),
                                  .netdev = opaque }, false);
    s = sender_new(r);
    for (round = 0; round < 30; round++) {
        for (i = 0; i < 4; i++) {
            sender_send(s, i);
        }
        switch (round % 3) {
        case 0:
            dp_run_good(r->qts, "{ 'execute': 'stop' }");
            dp_run_good(r->qts, "{ 'execute': 'cont' }");
            for (i = 0; i < 4; i++) {
                dp_kick(&r->nic->queue[TX(i)]);
            }
            break;
        case 1:
            dp_wait_until((sender_take_from(s, r->sock), sender_all_came(s)));
            dp_queue_reset(r->nic, TX(round / 3 % 4));
            dp_queue_restart(r->nic, TX(round / 3 % 4));
            break;
        default:
            /* Those of pairs that are not used are lost */
            dp_wait_until((sender_take_from(s, r->sock), sender_all_came(s)));
            dp_nic_set_pairs(r->nic, 1 + round / 3 % 4);
            dp_nic_set_pairs(r->nic, 4);
            break;
        }
    }
    dp_wait_until((sender_take_from(s, r->sock), sender_all_came(s)));
    g_assert_cmpuint(s->lost, ==, 0);
    dp_rig_free(r);
    g_free(s);
}

/* ---- Reception ---- */

/* RSS spreads what one queue receives, or two, over all pairs */
static void test_rss(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .pairs = 4, .null = true, .driver = opaque, .options = THREADS,
        .device = "disable-legacy=on,rss=on", .netdev = TWO_THREADS,
        .features = DP_FEATURE(VIRTIO_NET_F_RSS),
    }, false);
    g_autofree uint8_t *command = g_malloc0(1024);
    unsigned seen[4] = {};
    Rss rss;
    unsigned i;

    dp_random_rss(&rss, 4);
    for (i = 0; i < rss.len; i++) {
        rss.table[i] = i % 4;
    }
    g_assert_cmpuint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_MQ,
                                 VIRTIO_NET_CTRL_MQ_RSS_CONFIG, command,
                                 dp_rss_command(&rss, command)),
                     ==, VIRTIO_NET_OK);
    for (i = 0; i < 4; i++) {
        dp_post_on(r->nic, i, DP_RING_SIZE, SLOT);
    }
    for (i = 0; i < 160; i++) {
        unsigned pair;
        size_t len;
        Flow f;

        dp_random_flow(&f);
        pair = f.report ? rss.table[dp_toeplitz(rss.key, f.input, f.input_len)
                                    & (rss.len - 1)] : rss.unclassified;
        if (seen[pair] == DP_RING_SIZE) {
            continue;
        }
        seen[pair]++;
        dp_transmit_on(r->nic, i % 4, NULL, f.data, f.len);
        len = dp_receive_on(r->nic, pair, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, len, f.data, f.len);
    }
    for (i = 0; i < 4; i++) {
        g_assert_cmpuint(seen[i], >, 0);
    }
    dp_rig_free(r);
}

/* ---- Reception without RSS ---- */

/* The answer to a frame of dp_make_ip_frame(): addresses and ports swapped */
static void make_answer(uint8_t *frame, size_t len, unsigned flow, bool answer)
{
    static const unsigned swapped[][3] = { { 0, 6, 6 }, { 26, 30, 4 },
                                           { 34, 36, 2 } };
    uint8_t other[6];
    unsigned i;

    dp_make_ip_frame(frame, len, IPPROTO_UDP, flow);
    stw_be_p(frame + 34, 1000 + flow);
    for (i = 0; answer && i < ARRAY_SIZE(swapped); i++) {
        uint8_t *a = frame + swapped[i][0], *b = frame + swapped[i][1];

        memcpy(other, a, swapped[i][2]);
        memcpy(a, b, swapped[i][2]);
        memcpy(b, other, swapped[i][2]);
    }
}

/* What comes for flow number @flow comes to @pair */
static void check_answer(DpRig *r, unsigned flow, unsigned pair)
{
    size_t len;

    make_answer(r->frame, 100, flow, true);
    dp_sock_send(r->sock, NULL, r->frame, 100);
    len = dp_receive_on(r->nic, pair, NULL, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, len, r->frame, 100);
}

#define FLOWS 40

/* Section 5.1.6.5.6: to the pair that has last sent for the flow */
static void test_flows(const void *opaque)
{
    unsigned sent_by[FLOWS];
    unsigned round, i;
    DpRig *r;

    dp_tap_new("tap0", IFF_VNET_HDR);
    r = dp_rig_start(&(DpSetup) { .pairs = 4, .options = THREADS,
                                  .netdev = opaque }, false);
    wait_shared(r->qts, 4, 1);
    for (i = 0; i < 4; i++) {
        dp_post_on(r->nic, i, DP_RING_SIZE, SLOT);
    }
    /* Nobody has sent for them */
    for (i = 0; i < 8; i++) {
        check_answer(r, i, 0);
    }
    for (round = 0; round < 2; round++) {
        for (i = 0; i < FLOWS; i++) {
            sent_by[i] = g_test_rand_int_range(0, 4);
            make_answer(r->frame, 100, i, false);
            dp_transmit_on(r->nic, sent_by[i], NULL, r->frame, 100);
        }
        for (i = 0; i < FLOWS; i++) {
            check_answer(r, i, sent_by[i]);
        }
        /* A pair that has another one's frames has to say that it is done */
        g_usleep(DP_QUIET_US);
    }
    dp_rig_free(r);
}

/* ---- Another driver, with more or fewer queues ---- */

enum { AT_TAP0, AT_TAP1, AT_VETH, ENDS, NOWHERE = ENDS };

typedef struct Driver {
    const char *id;
    unsigned queues;
    unsigned end;               /* where frames come out */
} Driver;

static const Driver drivers[] = {
    { "tap0", 4, AT_TAP0 }, { "tap1", 1, AT_TAP1 }, { "lim1", 1, AT_TAP1 },
    { "v0", 4, AT_VETH }, { "null1", 1, NOWHERE }, { "null2", 2, NOWHERE },
    { "null3", 3, NOWHERE },
};

/*
 * Each pair's frames are in order: what comes out at the old end was sent
 * before what comes out at the new one.  Without drivers that swallow frames
 * all come.
 */
static void move_around(DpRig *r, bool lossless, unsigned moves)
{
    Sender *s = sender_new(r);
    const Driver *at = &drivers[0];
    int sock[ENDS + 1] = { dp_sock_open("tap0", false),
                           dp_sock_open("tap1", false),
                           dp_sock_open("v1", false),
                           dp_sock_open("lo", false) };
    unsigned move, i;

    for (move = 0; move < moves; move++) {
        const Driver *next = at;
        unsigned before;

        while (next == at || (lossless && next->end == NOWHERE)) {
            next = &drivers[g_test_rand_int_range(0, ARRAY_SIZE(drivers))];
        }
        for (i = 0; i < r->pairs; i++) {
            sender_send(s, i);
        }
        dp_set_driver(r->qts, next->id);
        /* Interfaces deliver at once */
        sender_take_from(s, sock[at->end]);
        wait_shared(r->qts, r->pairs, next->queues);
        for (i = 0; i < r->pairs; i++) {
            before = s->used[i];
            dp_wait_until((sender_send(s, i),
                           sender_take_from(s, sock[next->end]),
                           s->used[i] > before));
        }
        at = next;
    }
    if (strcmp(at->id, "tap0")) {
        dp_set_driver(r->qts, "tap0");
        sender_take_from(s, sock[at->end]);
    }
    for (i = 0; i < r->pairs; i++) {
        sender_send(s, i);
    }
    dp_wait_until((sender_take_from(s, sock[AT_TAP0]), sender_all_came(s)));
    if (lossless) {
        g_assert_cmpuint(s->lost, ==, 0);
    }
    for (i = 0; i < ARRAY_SIZE(sock); i++) {
        close(sock[i]);
    }
    g_free(s);
}

static void test_move(const void *opaque)
{
    DpRig *r;

    dp_tap_new("tap0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    dp_tap_new("tap1", IFF_VNET_HDR);
    dp_veth_new("v0", "v1");
    r = dp_rig_start(&(DpSetup) { .pairs = 4, .options = THREADS,
                                  .netdev = opaque }, false);
    dp_run_good(r->qts, ADD_DRIVER("tap", "tap1", ""));
    dp_run_good(r->qts, ADD_DRIVER("throttle", "lim1", ", 'driver': 'tap1'"));
    dp_run_good(r->qts, ADD_DRIVER("af-packet", "v0", ""));
    dp_run_good(r->qts, ADD_DRIVER("null", "null1", ", 'max-queues': 1"));
    dp_run_good(r->qts, ADD_DRIVER("null", "null2", ", 'max-queues': 2"));
    dp_run_good(r->qts, ADD_DRIVER("null", "null3", ", 'max-queues': 3"));
    move_around(r, false, dp_rounds(20));
    move_around(r, true, dp_rounds(20));
    dp_rig_free(r);
}

/* With the outboxes full: what waits there is sent first, by the new driver */
static void test_move_full(const void *opaque)
{
    int sock;
    DpRig *r;
    Sender *s;
    unsigned i;

    dp_tap_new("tap0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    r = dp_rig_start(&(DpSetup) { .pairs = 4, .options = THREADS, .null = true,
                                  .driver = "max-queues=1",
                                  .filter = "tx-pps=100",
                                  .netdev = opaque }, false);
    sock = dp_sock_open("tap0", false);
    s = sender_new(r);
    dp_run_good(r->qts, ADD_DRIVER("tap", "tap0", ""));
    for (i = 1; i < 4; i++) {
        dp_wait_until((sender_send(s, i), s->used[i] > 150));
    }
    sender_send(s, 0);
    dp_set_driver(r->qts, "tap0");
    dp_wait_until((sender_take_from(s, sock), sender_all_came(s)));
    wait_shared(r->qts, 4, 4);
    /* The old driver had these */
    g_assert_cmpuint(s->lost, <, 400);
    for (i = 0; i < 4; i++) {
        dp_wait_until(!sender_waits(s, i));
        dp_check_transmit_on(r->nic, i, sock, 1000, i);
    }
    close(sock);
    dp_rig_free(r);
    g_free(s);
}

/* ---- Without a network ---- */

/* The netdev and its device go while frames are on their way */
static void test_unplug(const void *opaque)
{
    unsigned round, i;

    for (round = 0; round < dp_rounds(5); round++) {
        DpRig *r = dp_rig_start(&(DpSetup) {
            .pairs = 8, .null = true, .driver = "loopback=on,max-queues=3",
            .options = THREADS, .netdev = TWO_THREADS,
        }, false);
        Sender *s = sender_new(r);
        unsigned k;

        wait_shared(r->qts, 8, 3);
        for (k = 0; k < 20 + round; k++) {
            for (i = 0; i < 8; i++) {
                sender_send(s, i);
            }
        }
        dp_run_good(r->qts, DEL_NETDEV("vd0"));
        dp_rig_free(r);
        g_free(s);
    }
}

static void test_slirp(const void *opaque)
{
    QTestState *qts;

    if (dp_why_no_driver("vhost-dp-slirp")) {
        g_test_skip("QEMU was built without libslirp");
        return;
    }
    qts = qtest_init("-M none -object vhost-dp-slirp,id=user0 "
                     "-netdev vhost-dp,id=vd0,driver=user0,queues=8");
    wait_shared(qts, 8, 1);
    qtest_quit(qts);
}

static void test_hmp(const void *opaque)
{
    QTestState *qts = qtest_init("-M none "
                                 "-object vhost-dp-null,id=n0,max-queues=2 "
                                 "-netdev vhost-dp,id=vd0,driver=n0,queues=4");
    g_autofree char *text = NULL;

    wait_shared(qts, 4, 2);
    text = qtest_hmp(qts, "info vhost-dp");
    g_assert_nonnull(strstr(text, "driver's limits: 2 queue pairs"));
    g_assert_nonnull(strstr(text, "sends by the driver's queue pair 1"));
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    static const char one[] = "iothread=t0";
    static const char two[] = TWO_THREADS;
    static const char polling[] = TWO_THREADS ",busy-poll-us=50";
    static const char each[] = "busy-poll-us=0";

    dp_test_init(&argc, &argv);
    dp_add_ring_test("shared/tap/two-iothreads", two, test_tap);
    dp_add_test("shared/tap/one-iothread", one, test_tap);
    dp_add_test("shared/tap/each", each, test_tap);
    dp_add_test("shared/tap/polling", polling, test_tap);
    dp_add_test("shared/fds", NULL, test_fds);
    dp_add_test("shared/filter", two, test_filter);
    dp_add_test("shared/offload", NULL, test_offload);
    dp_add_ring_test("shared/full/two-iothreads", two, test_full);
    dp_add_test("shared/full/one-iothread", one, test_full);
    dp_add_test("shared/full/polling", polling, test_full);
    dp_add_ring_test("shared/stop", two, test_stop);
    dp_add_test("shared/rss/one-queue", "loopback=on,max-queues=1", test_rss);
    dp_add_test("shared/rss/two-queues", "loopback=on,max-queues=2", test_rss);
    dp_add_ring_test("shared/flows/two-iothreads", two, test_flows);
    dp_add_test("shared/flows/one-iothread", one, test_flows);
    dp_add_test("shared/flows/polling", polling, test_flows);
    dp_add_ring_test("shared/move/two-iothreads", two, test_move);
    dp_add_test("shared/move/one-iothread", one, test_move);
    dp_add_test("shared/move/polling", polling, test_move);
    dp_add_test("shared/move-full", two, test_move_full);
    dp_add_test("shared/unplug", NULL, test_unplug);
    dp_add_test("shared/slirp", NULL, test_slirp);
    dp_add_test("shared/hmp", NULL, test_hmp);
    return g_test_run();
}
