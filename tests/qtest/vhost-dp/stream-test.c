/*
 * vhost-dp: qtests of vhost-dp-stream
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames in any pieces, peers that are slow, that break rules, that come and
 * go; and -netdev stream of another QEMU.
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include <linux/if_tun.h>
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "stream-peer.h"

/* The most that the peer may say, and the longest frame that a guest gets */
#define MAX_LENGTH  69632
#define MAX_FRAME   65564

static DpStream *stream_new(const char *more)
{
    DpStream *s = dp_stream_prepare();
    g_autofree char *options = g_strdup_printf("addr.type=unix,addr.path=%s%s",
                                               s->path, more);

    dp_stream_listen(s);
    dp_stream_start(s, "", options);
    dp_stream_accept(s);
    return s;
}

static uint64_t drops(DpStream *s, unsigned queue, const char *reason)
{
    g_autofree char *name = g_strdup_printf("drop:%s", reason);

    return dp_counter(s->r->qts, "vd0", queue, name);
}

static QDict *query_peer(DpStream *s)
{
    QDict *info = dp_query(s->r->qts, "vd0");
    QDict *peer = qdict_get_qdict(info, "peer");

    qobject_ref(peer);
    qobject_unref(info);
    return peer;
}

static uint64_t connects(DpStream *s)
{
    QDict *peer = query_peer(s);
    uint64_t n = qdict_get_int(peer, "connects");

    qobject_unref(peer);
    return n;
}

static uint64_t bad_lengths(DpStream *s)
{
    QDict *peer = query_peer(s);
    QList *list = qdict_get_qlist(peer, "violations");
    uint64_t n = 0;

    if (!qlist_empty(list)) {
        QDict *each = qobject_to(QDict, qlist_peek(list));

        g_assert_cmpstr(qdict_get_str(each, "violation"), ==, "frame-length");
        n = qdict_get_int(each, "count");
    }
    qobject_unref(peer);
    return n;
}

/* ---- Frames ---- */

static void test_sizes(const void *opaque)
{
    static const size_t sizes[] = { 14, 60, 1514, 9014, 65535, MAX_FRAME };
    DpStream *s = stream_new("");
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        dp_stream_check_to_peer(s, sizes[i], i);
        dp_stream_check_to_guest(s, sizes[i], i + 100);
    }
    g_assert_cmpuint(connects(s), ==, 1);
    dp_stream_free(s);
}

/* Numbered frames that the guest sends, from a few buffers */
typedef struct Sender {
    DpStream *s;
    unsigned sent, used;
    uint64_t at;
} Sender;

#define SENDER_BUFS 32
#define SENDER_BYTES 9100

static size_t numbered_len(unsigned i)
{
    return 60 + i * 7919 % 9000;
}

static void sender_init(Sender *sender, DpStream *s)
{
    *sender = (Sender) { s };
    sender->at = dp_alloc(s->r->guest, SENDER_BUFS * SENDER_BYTES);
}

/* Fill the ring, up to frame @end; chains are used in order */
static void sender_go_on(Sender *sender, unsigned end)
{
    DpNic *nic = sender->s->r->nic;
    DpQueue *tx = sender->s->r->tx;
    uint32_t len;
    uint16_t id;

    while (dp_get_used(tx, &id, &len)) {
        sender->used++;
    }
    while (sender->sent < end && sender->sent - sender->used < SENDER_BUFS) {
        DpBuf buf = {
            .addr = sender->at + sender->sent % SENDER_BUFS * SENDER_BYTES,
            .len = nic->hdr_len + numbered_len(sender->sent),
        };
        uint8_t *p = dp_host(nic->guest, buf.addr);

        memset(p, 0, nic->hdr_len);
        dp_make_frame(p + nic->hdr_len, numbered_len(sender->sent),
                      sender->sent);
        dp_add(tx, &buf, 1);
        sender->sent++;
    }
    dp_publish(tx);
}

/* Until the socket is full, and the ring waits */
static void sender_fill(Sender *sender)
{
    unsigned before;

    do {
        before = sender->used;
        sender_go_on(sender, UINT_MAX);
        g_usleep(DP_QUIET_US);
        sender_go_on(sender, UINT_MAX);
    } while (sender->used != before ||
             sender->sent - sender->used < SENDER_BUFS);
}

static void check_numbered(DpStream *s, unsigned i)
{
    DpRig *r = s->r;
    size_t len = dp_stream_recv(s, r->got, DP_MAX_FRAME);

    dp_make_frame(r->frame, numbered_len(i), i);
    dp_assert_frame(r->got, len, r->frame, numbered_len(i));
}

/*
 * The peer reads nothing for a while, and then in pieces: the frame that was
 * cut and all that wait in the ring arrive, once and in order
 */
static void test_slow_peer(const void *opaque)
{
    DpStream *s = stream_new("");
    Sender sender;
    unsigned i, round, end;

    sender_init(&sender, s);
    for (round = i = 0; round < 20; round++) {
        sender_fill(&sender);
        /* What is received is not held up */
        dp_stream_check_to_guest(s, 500, round);
        end = MIN(i + 1 + round * 5, sender.sent);
        for (; i < end; i++) {
            check_numbered(s, i);
        }
    }
    for (; i < sender.sent; i++) {
        check_numbered(s, i);
    }
    dp_wait_until((sender_go_on(&sender, sender.sent),
                   sender.used == sender.sent));
    g_assert_cmpuint(dp_counter(s->r->qts, "vd0", DP_TX, "packets"), ==,
                     sender.sent);
    dp_stream_check_traffic(s);
    dp_stream_free(s);
}

/* A small window of TCP: many frames are cut, anywhere */
static void test_small_window(const void *opaque)
{
    DpStream *s = dp_stream_prepare();
    unsigned port = dp_stream_listen_inet(s);
    g_autofree char *options = NULL;
    int size = 2048;
    Sender sender;
    unsigned i;

    dp_if_up("lo");
    g_assert_cmpint(setsockopt(s->listen_fd, SOL_SOCKET, SO_RCVBUF, &size,
                               sizeof(size)), ==, 0);
    options = g_strdup_printf("addr.type=inet,addr.host=127.0.0.1,"
                              "addr.port=%u,reconnect-ms=10", port);
    dp_stream_start(s, "", options);
    dp_stream_accept(s);
    dp_wait_until(dp_link_is(s->r, true, NULL));
    sender_init(&sender, s);
    for (i = 0; i < 1000; i++) {
        sender_go_on(&sender, 1000);
        check_numbered(s, i);
    }
    dp_stream_free(s);
}

/* Frames that come in pieces of all sizes, which end anywhere */
static void test_pieces(const void *opaque)
{
    static const size_t pieces[] = { 1, 2, 3, 5, 61, 997, 4099, 70001 };
    DpStream *s = stream_new("");
    DpRig *r = s->r;
    unsigned i, p;

    for (p = 0; p < ARRAY_SIZE(pieces); p++) {
        unsigned n = p < 4 ? 3 : 40;
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        size_t at = 0;

        for (i = 0; i < n; i++) {
            uint32_t len = p < 4 ? 14 + 10 * i : numbered_len(i);
            uint8_t header[DP_STREAM_HEADER];

            stl_be_p(header, len);
            dp_make_frame(r->frame, len, i);
            g_byte_array_append(bytes, header, sizeof(header));
            g_byte_array_append(bytes, r->frame, len);
        }
        dp_post(r->nic, n, 9100);
        while (at < bytes->len) {
            size_t len = MIN(pieces[p], bytes->len - at);

            dp_stream_write(s, bytes->data + at, len);
            at += len;
            g_usleep(p < 4 ? 500 : 10);
        }
        for (i = 0; i < n; i++) {
            size_t len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

            dp_make_frame(r->frame, len, i);
            dp_assert_frame(r->got, len, r->frame,
                            p < 4 ? 14 + 10 * i : numbered_len(i));
        }
    }
    dp_stream_free(s);
}

/* More than QEMU's buffer has room for, while the guest posts few buffers */
static void test_flood(const void *opaque)
{
    enum { N = 20000 };
    DpStream *s = stream_new("");
    DpRig *r = s->r;
    uint8_t frame[DP_STREAM_HEADER + 60];
    unsigned sent = 0, got = 0, at = 0;
    uint64_t buf = dp_post(r->nic, 32, 100);
    uint32_t len;
    uint16_t id;

    g_assert_cmphex(buf, !=, 0);
    while (got < N) {
        ssize_t n;

        stl_be_p(frame, 60);
        dp_make_frame(frame + DP_STREAM_HEADER, 60, 1);
        stl_be_p(frame + DP_STREAM_HEADER + 20, sent);
        n = sent < N ? send(s->fd, frame + at, sizeof(frame) - at,
                            MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        if (n > 0) {
            at += n;
            if (at == sizeof(frame)) {
                at = 0;
                sent++;
                continue;
            }
        }
        while (dp_get_used(r->rx, &id, &len)) {
            uint8_t *p = dp_host(r->guest, dp_first_buf(r->rx, id)->addr);

            g_assert_cmpuint(len, ==, r->nic->hdr_len + 60);
            g_assert_cmpuint(ldl_be_p(p + r->nic->hdr_len + 20), ==, got);
            got++;
            dp_add_again(r->rx, id);
        }
        dp_publish(r->rx);
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "packets"), ==, N);
    dp_stream_free(s);
}

/* ---- Peers that break rules ---- */

/* Received frames that the guest got, or that were lost when the link went */
static uint64_t frames_in(DpStream *s)
{
    return dp_counter(s->r->qts, "vd0", DP_RX, "packets") +
           drops(s, DP_RX, "stopped") + drops(s, DP_RX, "link-down");
}

/* The length says what becomes of the frame */
static void test_lengths(const void *opaque)
{
    static const uint32_t shorts[] = { 0, 1, 13 };
    static const uint32_t longs[] = { MAX_FRAME + 1, MAX_LENGTH };
    static const uint32_t bad[] = {
        MAX_LENGTH + 1, 0x00ffffff, 0x7fffffff, 0x80000000, 0xffffffff,
        0x3c000000,             /* 60, in the other byte order */
    };
    DpStream *s = stream_new(",reconnect-ms=1");
    g_autofree uint8_t *zeros = g_malloc0(MAX_LENGTH);
    uint8_t header[DP_STREAM_HEADER];
    unsigned i;

    dp_stream_check_traffic(s);
    for (i = 0; i < ARRAY_SIZE(shorts); i++) {
        dp_stream_send(s, zeros, shorts[i]);
        dp_stream_check_to_guest(s, 60, i);
        g_assert_cmpuint(drops(s, DP_RX, "too-short"), ==, i + 1);
    }
    for (i = 0; i < ARRAY_SIZE(longs); i++) {
        dp_stream_send(s, zeros, longs[i]);
        dp_stream_check_to_guest(s, 60, i);
        g_assert_cmpuint(drops(s, DP_RX, "too-large"), ==, i + 1);
    }
    g_assert_cmpuint(bad_lengths(s), ==, 0);
    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        uint64_t before = frames_in(s);

        /* The guest has to have buffers, or QEMU does not look */
        dp_post(s->r->nic, 2, 200);
        dp_stream_send(s, s->r->frame, 60);
        stl_be_p(header, bad[i]);
        dp_stream_write(s, header, sizeof(header));
        close(s->listen_fd);
        s->listen_fd = -1;
        dp_wait_until(dp_stream_at_end(s));
        g_assert_cmpuint(bad_lengths(s), ==, i + 1);
        dp_stream_disconnect(s);
        dp_wait_until(dp_link_is(s->r, false, "cannot connect"));
        g_assert_cmpuint(frames_in(s), ==, before + 1);
        dp_stream_listen(s);
        dp_stream_accept(s);
        dp_wait_until(dp_link_is(s->r, true, NULL));
        dp_rig_restart(s->r);
        dp_stream_check_traffic(s);
    }
    dp_stream_free(s);
}

/* The reason stays, when there is no other attempt */
static void test_reason(const void *opaque)
{
    DpStream *s = stream_new("");

    dp_stream_check_traffic(s);
    dp_post(s->r->nic, 1, 200);
    dp_stream_write(s, "GET / HTTP/1.0\r\n", 16);
    dp_wait_until(dp_link_is(s->r, false, "frame length of 1195725856, and "
                             "69632 is the most"));
    g_usleep(2 * DP_QUIET_US);
    g_assert_true(dp_link_is(s->r, false, "frame length"));
    g_assert_true(dp_stream_at_end(s));
    g_assert_cmpuint(bad_lengths(s), ==, 1);
    dp_stream_free(s);
}

/* It goes in the middle of a frame, which the next connection is not part of */
static void test_cut(const void *opaque)
{
    static const size_t cuts[] = { 1, 3, 4, 5, 63 };
    DpStream *s = stream_new(",reconnect-ms=1");
    uint8_t frame[DP_STREAM_HEADER + 60] = { 0, 0, 0, 60 };
    unsigned i;

    dp_stream_check_traffic(s);
    for (i = 0; i < ARRAY_SIZE(cuts); i++) {
        dp_post(s->r->nic, 1, 200);
        dp_stream_write(s, frame, cuts[i]);
        dp_stream_disconnect(s);
        dp_stream_accept(s);
        dp_wait_until(connects(s) == i + 2 &&
                      dp_link_is(s->r, true, NULL));
        dp_rig_restart(s->r);
        dp_stream_check_traffic(s);
    }
    g_assert_cmpuint(bad_lengths(s), ==, 0);
    dp_stream_free(s);
}

/*
 * It reads nothing, and goes: what waits in the ring is used, and the frame
 * that was cut is counted
 */
static void test_never_reads(const void *opaque)
{
    DpStream *s = stream_new("");
    Sender sender;

    sender_init(&sender, s);
    sender_fill(&sender);
    dp_stream_disconnect(s);
    dp_wait_until(dp_link_is(s->r, false, "the connection has failed") ||
                  dp_link_is(s->r, false, "the peer has closed"));
    /* virtio-net takes them now, if it is kicked */
    dp_kick(s->r->tx);
    dp_wait_until((sender_go_on(&sender, sender.sent),
                   sender.used == sender.sent));
    g_assert_cmpuint(drops(s, DP_TX, "link-down"), >, 0);
    dp_stream_free(s);
}

/* ... or QEMU ends, or the VM stops and goes on */
static void test_stop_blocked(const void *opaque)
{
    DpStream *s = stream_new("");
    Sender sender;
    unsigned i;

    sender_init(&sender, s);
    sender_fill(&sender);
    dp_run_good(s->r->qts, "{ 'execute': 'stop' }");
    dp_run_good(s->r->qts, "{ 'execute': 'cont' }");
    for (i = 0; i < sender.sent; i++) {
        check_numbered(s, i);
    }
    sender_fill(&sender);
    dp_stream_free(s);
}

/* ---- Peers that come and go ---- */

static void test_no_reconnect(const void *opaque)
{
    DpStream *s = stream_new("");

    dp_stream_check_traffic(s);
    dp_post(s->r->nic, 1, 200);
    dp_stream_disconnect(s);
    dp_wait_until(dp_link_is(s->r, false, "the peer has closed"));
    g_assert_cmpint(dp_stream_try_accept(s, 300 * 1000), ==, -1);
    dp_stream_free(s);
}

/* Delays double while connections do not last, and are short after one did */
static void test_back_off(const void *opaque)
{
    DpStream *s = stream_new(",reconnect-ms=20");
    int64_t end, start;
    unsigned n = 0;
    int fd;

    dp_post(s->r->nic, 1, 200);
    dp_stream_disconnect(s);
    end = g_get_monotonic_time() + 1500 * 1000;
    while (g_get_monotonic_time() < end) {
        fd = dp_stream_try_accept(s, 10 * 1000);
        if (fd >= 0) {
            close(fd);
            n++;
        }
    }
    /* 20, 40, 80, 160, 320, 640 ms make 1260 */
    g_assert_cmpuint(n, >=, 1);
    g_assert_cmpuint(n, <=, 6);
    dp_stream_accept(s);
    dp_wait_until(connects(s) >= n + 2 && dp_link_is(s->r, true, NULL));
    dp_rig_restart(s->r);
    dp_stream_check_traffic(s);
    /* The delay that it had to last for is 5 s at most */
    g_usleep(5200 * 1000);
    dp_post(s->r->nic, 1, 200);
    start = g_get_monotonic_time();
    dp_stream_disconnect(s);
    dp_stream_accept(s);
    g_assert_cmpint(g_get_monotonic_time() - start, <, 1000 * 1000);
    dp_stream_free(s);
}

/* QEMU is there before the peer */
static void test_late(const void *opaque)
{
    DpStream *s = dp_stream_prepare();
    g_autofree char *options = g_strdup_printf(
        "addr.type=unix,addr.path=%s,reconnect-ms=10", s->path);

    dp_stream_start(s, "", options);
    dp_wait_until(dp_link_is(s->r, false, "cannot connect to unix:"));
    g_assert_cmpuint(connects(s), ==, 0);
    dp_stream_listen(s);
    dp_stream_accept(s);
    dp_stream_check_traffic(s);
    dp_stream_free(s);
}

/* Another peer waits already when one goes; nothing is left behind */
static void test_server(const void *opaque)
{
    DpStream *s = dp_stream_prepare();
    g_autofree char *options = g_strdup_printf(
        "addr.type=unix,addr.path=%s,server=on", s->path);
    DpUsage usage = {};
    unsigned i;
    int other;

    dp_stream_start(s, "", options);
    dp_wait_until(dp_link_is(s->r, false, "no peer has connected"));
    dp_stream_connect(s);
    for (i = 0; i < 12; i++) {
        dp_stream_check_traffic(s);
        if (i == 1) {
            usage = dp_usage(s->r->qts);
        }
        other = dp_stream_connect_another(s);
        g_assert_cmpuint(connects(s), ==, i + 1);
        dp_post(s->r->nic, 1, 200);
        dp_stream_disconnect(s);
        s->fd = other;
        dp_wait_until(connects(s) == i + 2);
        dp_wait_until(dp_link_is(s->r, true, NULL));
        dp_rig_restart(s->r);
        if (i % 4 == 3) {
            /* Long enough for a short delay */
            g_usleep(200 * 1000);
        }
    }
    dp_stream_check_traffic(s);
    dp_check_usage(s->r->qts, usage);
    dp_stream_free(s);
}

/* The connection, and half a frame of it, stay when the drivers change */
static void test_set_driver(const void *opaque)
{
    DpStream *s = dp_stream_prepare();
    uint8_t frame[DP_STREAM_HEADER + 60] = { 0, 0, 0, 60 };
    g_autofree char *options = NULL;
    DpRig *r;
    int fds[2];
    unsigned i;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    s->fd = fds[0];
    options = g_strdup_printf("addr.type=fd,addr.str=%d", fds[1]);
    dp_stream_start(s, "-object vhost-dp-null,id=null0 "
                    "-object vhost-dp-throttle,id=lim0,driver=st0", options);
    close(fds[1]);
    r = s->r;
    dp_stream_check_traffic(s);
    for (i = 0; i < 6; i++) {
        dp_make_frame(frame + DP_STREAM_HEADER, 60, i);
        dp_post(r->nic, 1, r->nic->hdr_len + 60);
        dp_stream_write(s, frame, 3 + 5 * i);
        g_usleep(DP_QUIET_US);
        /* To a filter on it and back, and to another driver and back */
        dp_set_driver(r->qts, i % 2 ? "lim0" : "null0");
        dp_set_driver(r->qts, "st0");
        dp_stream_write(s, frame + 3 + 5 * i, sizeof(frame) - 3 - 5 * i);
        g_assert_cmpuint(dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME), ==,
                         60);
        g_assert_cmpmem(r->got, 60, frame + DP_STREAM_HEADER, 60);
    }
    dp_stream_check_traffic(s);
    dp_stream_free(s);
}

/* ---- Another QEMU ---- */

/* -netdev stream, and a TAP interface behind it */
static QTestState *stock_new(const char *options)
{
    return qtest_initf("-M none -nodefaults -netdev stream,id=s0,%s "
                       "-netdev tap,id=t0,ifname=far0,script=no,downscript=no "
                       "-netdev hubport,id=h0,hubid=0,netdev=s0 "
                       "-netdev hubport,id=h1,hubid=0,netdev=t0", options);
}

static void check_stock(DpStream *s)
{
    unsigned i;

    dp_if_up("far0");
    s->r->sock = dp_sock_open("far0", false);
    dp_wait_until(dp_link_is(s->r, true, NULL));
    dp_if_wait_running("far0");
    for (i = 0; i < 50; i++) {
        dp_check_transmit(s->r->nic, s->r->sock, 60 + 29 * i, i);
        dp_check_receive(s->r->nic, s->r->sock, 60 + 29 * i, i);
    }
}

static void test_stock_client(const void *opaque)
{
    DpStream *s = dp_stream_prepare();
    g_autofree char *options = g_strdup_printf(
        "addr.type=unix,addr.path=%s,server=on", s->path);
    g_autofree char *other = g_strdup_printf("addr.type=unix,addr.path=%s",
                                             s->path);
    QTestState *stock;

    dp_tap_new("far0", 0);
    dp_stream_start(s, "", options);
    stock = stock_new(other);
    check_stock(s);
    qtest_quit(stock);
    dp_stream_free(s);
}

static void test_stock_server(const void *opaque)
{
    DpStream *s = dp_stream_prepare();
    g_autofree char *options = g_strdup_printf(
        "addr.type=unix,addr.path=%s,reconnect-ms=10", s->path);
    g_autofree char *other = g_strdup_printf(
        "server=on,addr.type=unix,addr.path=%s", s->path);
    QTestState *stock;

    dp_tap_new("far0", 0);
    dp_stream_start(s, "", options);
    stock = stock_new(other);
    check_stock(s);
    qtest_quit(stock);
    dp_post(s->r->nic, 1, 2000);
    dp_wait_until(dp_link_is(s->r, false, NULL));
    dp_stream_free(s);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("stream/sizes", NULL, test_sizes);
    dp_add_ring_test("stream/slow-peer", NULL, test_slow_peer);
    dp_add_test("stream/small-window", NULL, test_small_window);
    dp_add_test("stream/pieces", NULL, test_pieces);
    dp_add_ring_test("stream/flood", NULL, test_flood);
    dp_add_test("stream/lengths", NULL, test_lengths);
    dp_add_test("stream/reason", NULL, test_reason);
    dp_add_test("stream/cut", NULL, test_cut);
    dp_add_ring_test("stream/never-reads", NULL, test_never_reads);
    dp_add_test("stream/stop-blocked", NULL, test_stop_blocked);
    dp_add_test("stream/no-reconnect", NULL, test_no_reconnect);
    dp_add_test("stream/back-off", NULL, test_back_off);
    dp_add_test("stream/late", NULL, test_late);
    dp_add_test("stream/server", NULL, test_server);
    dp_add_test("stream/set-driver", NULL, test_set_driver);
    dp_add_test("stream/stock/client", NULL, test_stock_client);
    dp_add_test("stream/stock/server", NULL, test_stock_server);
    return g_test_run();
}
