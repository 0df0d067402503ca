/*
 * vhost-dp: tests of a port's inbox
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "net/vhost-dp/port-inbox.h"

#define WRITERS 3
#define FRAMES 50000

/* In front of each frame of the tests: who wrote it, and which it is */
typedef struct Mark {
    uint32_t writer;
    uint32_t number;
} Mark;

static unsigned wakeups;
static QEMUBH *bh;

static void count_wakeup(void *opaque)
{
    wakeups++;
}

static VhostDPInbox *inbox_new(void)
{
    wakeups = 0;
    bh = qemu_bh_new(count_wakeup, NULL);
    return vhost_dp_inbox_new(bh);
}

static void inbox_free(VhostDPInbox *inbox)
{
    vhost_dp_inbox_retire(inbox);
    qemu_bh_delete(bh);
    vhost_dp_inbox_free(inbox);
}

static bool was_woken(void)
{
    unsigned before = wakeups;
    bool more = true;

    while (more) {
        more = aio_poll(qemu_get_aio_context(), false);
    }
    return wakeups != before;
}

/* A frame in two pieces, filled with what depends on @seed */
static void make_frame(VhostDPFrame *frame, uint8_t *data, size_t len,
                       uint8_t seed)
{
    size_t i;

    for (i = 0; i < len; i++) {
        data[i] = seed + i;
    }
    *frame = (VhostDPFrame) { .len = len, .iovcnt = 2 };
    frame->iov = frame->inl;
    frame->inl[0] = (struct iovec) { data, 5 };
    frame->inl[1] = (struct iovec) { data + 5, len - 5 };
}

static bool put_frames(VhostDPInbox *inbox, const VhostDPFrame *frames,
                       unsigned n)
{
    uint64_t position;

    return vhost_dp_inbox_put(inbox, frames, NULL, n, &position);
}

static void put(VhostDPInbox *inbox, size_t len, uint8_t seed)
{
    g_autofree uint8_t *data = g_malloc(len);
    VhostDPFrame frame;

    make_frame(&frame, data, len, seed);
    g_assert_true(put_frames(inbox, &frame, 1));
}

static void check_frame(const VhostDPFrame *frame, size_t len, uint8_t seed)
{
    const uint8_t *data = frame->iov[0].iov_base;
    size_t i;

    g_assert_cmpuint(frame->len, ==, len);
    g_assert_cmpuint(frame->iovcnt, ==, 1);
    g_assert_cmpuint(frame->iov[0].iov_len, ==, len);
    for (i = 0; i < len; i++) {
        g_assert_cmphex(data[i], ==, (uint8_t)(seed + i));
    }
}

/* What was put is lent, oldest first, whenever that is */
static void test_order(void)
{
    VhostDPInbox *inbox = inbox_new();
    VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    unsigned next = 0, seen = 0;
    unsigned i, n;

    vhost_dp_inbox_open(inbox, false);
    vhost_dp_inbox_join(inbox);
    g_assert_false(vhost_dp_inbox_ready(inbox));
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, frames, 1), ==, 0);
    while (seen < 2000) {
        for (n = g_test_rand_int_range(0, 90); n; n--, next++) {
            put(inbox, 14 + next % 1500, next);
        }
        n = vhost_dp_inbox_get(inbox, frames, g_test_rand_int_range(1, 65));
        for (i = 0; i < n; i++, seen++) {
            check_frame(&frames[i], 14 + seen % 1500, seen);
        }
        g_assert_cmpuint(vhost_dp_inbox_take_lost(inbox).full, ==, 0);
        vhost_dp_inbox_release(inbox);
        g_assert_cmpint(vhost_dp_inbox_ready(inbox), ==, seen < next);
        if (next - seen > 100) {
            for (; seen < next; vhost_dp_inbox_release(inbox)) {
                n = vhost_dp_inbox_get(inbox, frames, 64);
                g_assert_cmpuint(n, >, 0);
                seen += n;
            }
        }
    }
    vhost_dp_inbox_leave(inbox);
    inbox_free(inbox);
}

static void test_metadata(void)
{
    VhostDPInbox *inbox = inbox_new();
    VhostDPFrame in, out;
    uint8_t data[100];

    vhost_dp_inbox_open(inbox, false);
    vhost_dp_inbox_join(inbox);
    make_frame(&in, data, sizeof(data), 1);
    in.flags = 1;
    in.gso_type = 4;
    in.hdr_len = 54;
    in.gso_size = 1448;
    in.csum_start = 34;
    in.csum_offset = 16;
    in.hash = 0x12345678;
    in.hash_report = 9;
    g_assert_true(put_frames(inbox, &in, 1));
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, &out, 1), ==, 1);
    check_frame(&out, sizeof(data), 1);
    g_assert_cmpuint(out.flags, ==, 1);
    g_assert_cmpuint(out.gso_type, ==, 4);
    g_assert_cmpuint(out.hdr_len, ==, 54);
    g_assert_cmpuint(out.gso_size, ==, 1448);
    g_assert_cmpuint(out.csum_start, ==, 34);
    g_assert_cmpuint(out.csum_offset, ==, 16);
    g_assert_cmphex(out.hash, ==, 0x12345678);
    g_assert_cmpuint(out.hash_report, ==, 9);
    vhost_dp_inbox_release(inbox);
    vhost_dp_inbox_leave(inbox);
    inbox_free(inbox);
}

/* The reader is woken when there is something to do, and not for each frame */
static void test_wakeups(void)
{
    VhostDPInbox *inbox = inbox_new();
    VhostDPFrame frame;

    vhost_dp_inbox_open(inbox, false);
    vhost_dp_inbox_join(inbox);
    put(inbox, 100, 1);
    g_assert_true(was_woken());
    put(inbox, 100, 2);
    g_assert_false(was_woken());
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, &frame, 1), ==, 1);
    /* That goes to the other buffer */
    put(inbox, 100, 3);
    g_assert_true(was_woken());
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, &frame, 1), ==, 1);
    check_frame(&frame, 100, 2);
    vhost_dp_inbox_release(inbox);
    g_assert_true(vhost_dp_inbox_ready(inbox));
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, &frame, 1), ==, 1);
    check_frame(&frame, 100, 3);
    vhost_dp_inbox_release(inbox);
    g_assert_false(vhost_dp_inbox_ready(inbox));
    vhost_dp_inbox_leave(inbox);
    inbox_free(inbox);
}

/* Frames beyond the room are lost, counted, and the reader is told */
static void test_full(void)
{
    VhostDPInbox *inbox = inbox_new();
    VhostDPFrame frames[64];
    unsigned room = VHOST_DP_INBOX_BYTES / (10000 + 16);
    unsigned got = 0;
    unsigned i, n;

    vhost_dp_inbox_open(inbox, false);
    vhost_dp_inbox_join(inbox);
    for (i = 0; i < room; i++) {
        put(inbox, 10000, i);
    }
    g_assert_cmpuint(vhost_dp_inbox_take_lost(inbox).full, ==, 0);
    g_assert_true(was_woken());
    for (i = 0; i < 5; i++) {
        put(inbox, 10000, i);
    }
    g_assert_true(was_woken());
    g_assert_cmpuint(vhost_dp_inbox_take_lost(inbox).full, ==, 5);
    g_assert_cmpuint(vhost_dp_inbox_take_lost(inbox).full, ==, 0);
    while ((n = vhost_dp_inbox_get(inbox, frames, 64))) {
        /* A burst is bounded by its bytes, too */
        g_assert_cmpuint(n, <=, VHOST_DP_BURST_BYTES / 10000 + 1);
        for (i = 0; i < n; i++, got++) {
            check_frame(&frames[i], 10000, got);
        }
        vhost_dp_inbox_release(inbox);
    }
    g_assert_cmpuint(got, ==, room);
    vhost_dp_inbox_leave(inbox);
    inbox_free(inbox);
}

/* While nobody reads nothing is accepted, and what waited then is lost */
static void test_closed(void)
{
    VhostDPInbox *inbox = inbox_new();
    uint8_t data[100];
    VhostDPFrame frame;
    VhostDPInboxLost lost;

    make_frame(&frame, data, sizeof(data), 1);
    vhost_dp_inbox_join(inbox);
    g_assert_false(put_frames(inbox, &frame, 1));
    vhost_dp_inbox_open(inbox, false);
    put(inbox, 100, 1);
    put(inbox, 100, 2);
    vhost_dp_inbox_close(inbox);
    vhost_dp_inbox_drop_stale(inbox);
    g_assert_false(put_frames(inbox, &frame, 1));
    lost = vhost_dp_inbox_take_lost(inbox);
    g_assert_cmpuint(lost.closed, ==, 2);
    g_assert_cmpuint(lost.full, ==, 0);
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, &frame, 1), ==, 0);

    /* What the reader has taken over, and not looked at, does not come later */
    vhost_dp_inbox_open(inbox, false);
    put(inbox, 100, 3);
    put(inbox, 100, 4);
    put(inbox, 100, 5);
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, &frame, 1), ==, 1);
    check_frame(&frame, 100, 3);
    put(inbox, 100, 6);
    vhost_dp_inbox_release(inbox);
    vhost_dp_inbox_close(inbox);
    vhost_dp_inbox_drop_stale(inbox);
    g_assert_cmpuint(vhost_dp_inbox_take_lost(inbox).closed, ==, 3);
    vhost_dp_inbox_open(inbox, false);
    put(inbox, 100, 7);
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, &frame, 1), ==, 1);
    check_frame(&frame, 100, 7);
    vhost_dp_inbox_release(inbox);
    g_assert_false(vhost_dp_inbox_ready(inbox));
    vhost_dp_inbox_leave(inbox);
    inbox_free(inbox);
}

/* What was put after a new start stays, also if the reader learns of it late */
static void test_stale(void)
{
    VhostDPInbox *inbox = inbox_new();
    VhostDPInboxLost lost;
    VhostDPFrame out[8];
    unsigned i;

    vhost_dp_inbox_join(inbox);
    vhost_dp_inbox_open(inbox, true);
    for (i = 0; i < 4; i++) {
        put(inbox, 100, i);
    }
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, out, 1), ==, 1);
    vhost_dp_inbox_release(inbox);
    /* In both buffers */
    put(inbox, 100, 4);
    vhost_dp_inbox_open(inbox, true);
    put(inbox, 100, 5);
    vhost_dp_inbox_open(inbox, false);
    put(inbox, 100, 6);
    vhost_dp_inbox_drop_stale(inbox);
    lost = vhost_dp_inbox_take_lost(inbox);
    g_assert_cmpuint(lost.closed, ==, 4);
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, out, 8), ==, 2);
    check_frame(&out[0], 100, 5);
    check_frame(&out[1], 100, 6);
    vhost_dp_inbox_release(inbox);

    /* Not while some of them are lent */
    put(inbox, 100, 1);
    put(inbox, 100, 2);
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, out, 8), ==, 2);
    vhost_dp_inbox_open(inbox, true);
    vhost_dp_inbox_drop_stale(inbox);
    check_frame(&out[1], 100, 2);
    g_assert_cmpuint(vhost_dp_inbox_take_lost(inbox).closed, ==, 0);
    vhost_dp_inbox_release(inbox);
    vhost_dp_inbox_drop_stale(inbox);
    g_assert_cmpuint(vhost_dp_inbox_take_lost(inbox).closed, ==, 0);

    /* Closed and opened before the reader has looked */
    put(inbox, 100, 7);
    vhost_dp_inbox_close(inbox);
    vhost_dp_inbox_open(inbox, false);
    put(inbox, 100, 8);
    vhost_dp_inbox_drop_stale(inbox);
    vhost_dp_inbox_drop_stale(inbox);
    g_assert_cmpuint(vhost_dp_inbox_take_lost(inbox).closed, ==, 1);
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, out, 8), ==, 1);
    check_frame(&out[0], 100, 8);
    vhost_dp_inbox_release(inbox);
    g_assert_false(vhost_dp_inbox_ready(inbox));
    vhost_dp_inbox_leave(inbox);
    inbox_free(inbox);
}

/* Only the frames that a writer names are copied, in that order */
static void test_some(void)
{
    static const uint8_t which[] = { 3, 0, 2 };
    VhostDPInbox *inbox = inbox_new();
    VhostDPFrame in[4], out[4];
    uint8_t data[4][100];
    uint64_t position;
    unsigned i;

    vhost_dp_inbox_open(inbox, false);
    vhost_dp_inbox_join(inbox);
    for (i = 0; i < ARRAY_SIZE(in); i++) {
        make_frame(&in[i], data[i], sizeof(data[i]), i);
    }
    g_assert_true(vhost_dp_inbox_put(inbox, in, which, ARRAY_SIZE(which),
                                     &position));
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, out, 4), ==, ARRAY_SIZE(which));
    for (i = 0; i < ARRAY_SIZE(which); i++) {
        check_frame(&out[i], sizeof(data[i]), which[i]);
    }
    vhost_dp_inbox_release(inbox);
    vhost_dp_inbox_leave(inbox);
    inbox_free(inbox);
}

/* A writer knows when its frames were delivered, lost by a close, or expired */
static void test_done(void)
{
    VhostDPInbox *inbox = inbox_new();
    VhostDPFrame in, out[2];
    uint64_t first = 0, second = 0, third = 0;
    uint8_t data[100];

    make_frame(&in, data, sizeof(data), 1);
    g_assert_true(vhost_dp_inbox_is_done(inbox, first));
    vhost_dp_inbox_open(inbox, false);
    vhost_dp_inbox_join(inbox);
    g_assert_true(vhost_dp_inbox_put(inbox, &in, NULL, 1, &first));
    g_assert_true(vhost_dp_inbox_put(inbox, &in, NULL, 1, &second));
    g_assert_false(vhost_dp_inbox_is_done(inbox, first));
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, out, 1), ==, 1);
    g_assert_false(vhost_dp_inbox_is_done(inbox, first));
    vhost_dp_inbox_release(inbox);
    g_assert_true(vhost_dp_inbox_is_done(inbox, first));
    g_assert_false(vhost_dp_inbox_is_done(inbox, second));
    vhost_dp_inbox_close(inbox);
    vhost_dp_inbox_drop_stale(inbox);
    g_assert_true(vhost_dp_inbox_is_done(inbox, second));
    g_assert_false(vhost_dp_inbox_put(inbox, &in, NULL, 1, &third));
    vhost_dp_inbox_take_lost(inbox);

    vhost_dp_inbox_open(inbox, false);
    g_assert_true(vhost_dp_inbox_put(inbox, &in, NULL, 1, &third));
    g_assert_true(vhost_dp_inbox_put(inbox, &in, NULL, 1, &third));
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, out, 1), ==, 1);
    vhost_dp_inbox_release(inbox);
    g_assert_true(vhost_dp_inbox_put(inbox, &in, NULL, 1, &third));
    was_woken();
    g_assert_false(vhost_dp_inbox_is_expired(inbox));
    vhost_dp_inbox_expire(inbox);
    g_assert_true(was_woken());
    g_assert_true(vhost_dp_inbox_is_expired(inbox));
    vhost_dp_inbox_end_expiry(inbox, false);
    g_assert_false(vhost_dp_inbox_is_expired(inbox));
    g_assert_false(vhost_dp_inbox_is_done(inbox, third));
    vhost_dp_inbox_expire(inbox);
    vhost_dp_inbox_end_expiry(inbox, true);
    g_assert_false(vhost_dp_inbox_is_expired(inbox));
    g_assert_true(vhost_dp_inbox_is_done(inbox, third));
    g_assert_cmpuint(vhost_dp_inbox_take_lost(inbox).full, ==, 2);
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, out, 2), ==, 0);

    /* It goes on */
    put(inbox, 100, 7);
    g_assert_cmpuint(vhost_dp_inbox_get(inbox, out, 2), ==, 1);
    check_frame(out, 100, 7);
    vhost_dp_inbox_release(inbox);
    vhost_dp_inbox_leave(inbox);
    inbox_free(inbox);
}

/* The reader goes first: a writer may still try */
static void test_retired(void)
{
    VhostDPInbox *inbox = inbox_new();
    uint8_t data[100];
    VhostDPFrame frame;

    make_frame(&frame, data, sizeof(data), 1);
    vhost_dp_inbox_join(inbox);
    vhost_dp_inbox_open(inbox, false);
    put(inbox, 100, 1);
    vhost_dp_inbox_retire(inbox);
    qemu_bh_delete(bh);
    g_assert_false(put_frames(inbox, &frame, 1));
    vhost_dp_inbox_leave(inbox);
    vhost_dp_inbox_free(inbox);
}

/* ---- Several threads ---- */

typedef struct Writer {
    QemuThread thread;
    VhostDPInbox *inbox;
    unsigned index;
    unsigned sent;
} Writer;

static void *writer_thread(void *opaque)
{
    Writer *w = opaque;
    g_autofree uint8_t *data = g_malloc0(64 * 2000);
    VhostDPFrame frames[64];
    uint32_t random = w->index;
    unsigned i, n;

    while (w->sent < FRAMES) {
        bool joined = true;

        vhost_dp_inbox_join(w->inbox);
        while (joined && w->sent < FRAMES) {
            random = random * 1664525 + 1013904223;
            n = MIN(1 + random / 65536 % 64, FRAMES - w->sent);
            for (i = 0; i < n; i++) {
                Mark mark = { w->index, w->sent++ };

                memcpy(data + i * 2000, &mark, sizeof(mark));
                make_frame(&frames[i], data + i * 2000 + sizeof(mark), 50, 1);
                frames[i].inl[0] = (struct iovec) {
                    data + i * 2000, sizeof(mark),
                };
                frames[i].inl[1].iov_len = frames[i].len - sizeof(mark);
            }
            g_assert_true(put_frames(w->inbox, frames, n));
            joined = random / 4096 % 16;
        }
        vhost_dp_inbox_leave(w->inbox);
    }
    return NULL;
}

static unsigned writers_left(Writer *w)
{
    unsigned left = 0;
    unsigned i;

    for (i = 0; i < WRITERS; i++) {
        left += qatomic_read(&w[i].sent) < FRAMES;
    }
    return left;
}

/* Each writer's frames stay in order, and all of them are lent or counted */
static void test_threads(void)
{
    VhostDPInbox *inbox = inbox_new();
    VhostDPFrame frames[64];
    uint32_t next[WRITERS] = {};
    Writer w[WRITERS] = {};
    uint64_t got = 0, lost = 0;
    unsigned i, n;
    bool last = false;

    vhost_dp_inbox_open(inbox, false);
    for (i = 0; i < WRITERS; i++) {
        w[i].inbox = inbox;
        w[i].index = i;
        qemu_thread_create(&w[i].thread, "writer", writer_thread, &w[i],
                           QEMU_THREAD_JOINABLE);
    }
    for (;;) {
        n = vhost_dp_inbox_get(inbox, frames, 64);
        for (i = 0; i < n; i++) {
            const Mark *mark = frames[i].iov[0].iov_base;

            g_assert_cmpuint(mark->writer, <, WRITERS);
            g_assert_cmpuint(mark->number, >=, next[mark->writer]);
            next[mark->writer] = mark->number + 1;
        }
        got += n;
        vhost_dp_inbox_release(inbox);
        lost += vhost_dp_inbox_take_lost(inbox).full;
        if (!n && last) {
            break;
        }
        if (!n && !writers_left(w)) {
            for (i = 0; i < WRITERS; i++) {
                qemu_thread_join(&w[i].thread);
            }
            last = true;
            memset(w, 0xff, sizeof(w));
        }
    }
    g_assert_cmpuint(got + lost, ==, WRITERS * FRAMES);
    g_assert_cmpuint(got, >, 0);
    inbox_free(inbox);
}

static void *put_until_closed(void *opaque)
{
    uint8_t data[50];
    VhostDPFrame frame;

    make_frame(&frame, data, sizeof(data), 1);
    while (put_frames(opaque, &frame, 1)) {
        continue;
    }
    return NULL;
}

/* The reader goes while others write: nobody schedules its bottom half then */
static void test_retired_in_use(void)
{
    VhostDPFrame frames[64];
    unsigned round;

    for (round = 0; round < 2000; round++) {
        VhostDPInbox *inbox = inbox_new();
        QemuThread thread;

        vhost_dp_inbox_open(inbox, false);
        qemu_thread_create(&thread, "writer", put_until_closed, inbox,
                           QEMU_THREAD_JOINABLE);
        while (!vhost_dp_inbox_ready(inbox)) {
            continue;
        }
        /* The next frame is one for which it has to be woken */
        vhost_dp_inbox_get(inbox, frames, 64);
        vhost_dp_inbox_release(inbox);
        vhost_dp_inbox_retire(inbox);
        qemu_bh_delete(bh);
        qemu_thread_join(&thread);
        vhost_dp_inbox_free(inbox);
    }
}

static int64_t cpu_ns(void)
{
    struct timespec ts;

    g_assert_cmpint(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts), ==, 0);
    return ts.tv_sec * (int64_t)NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

/* What a frame costs by way of an inbox, both threads' work together */
static void test_perf(const void *opaque)
{
    const size_t len = *(const size_t *)opaque;
    VhostDPInbox *inbox = inbox_new();
    g_autofree uint8_t *data = g_malloc(64 * len);
    VhostDPFrame in[64], out[64];
    int64_t start;
    unsigned i;
    double ns;

    vhost_dp_inbox_open(inbox, false);
    vhost_dp_inbox_join(inbox);
    for (i = 0; i < 64; i++) {
        make_frame(&in[i], data + i * len, len, i);
    }
    start = cpu_ns();
    for (i = 0; i < 20000; i++) {
        put_frames(inbox, in, 64);
        g_assert_cmpuint(vhost_dp_inbox_get(inbox, out, 64), ==, 64);
        vhost_dp_inbox_release(inbox);
    }
    ns = (cpu_ns() - start) / 20000.0 / 64;
    g_test_minimized_result(ns, "%zu bytes: %.1f ns for each frame", len, ns);
    vhost_dp_inbox_leave(inbox);
    inbox_free(inbox);
}

int main(int argc, char **argv)
{
    static const size_t small = 64, large = 1500;

    g_test_init(&argc, &argv, NULL);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/vhost-dp/inbox/order", test_order);
    g_test_add_func("/vhost-dp/inbox/metadata", test_metadata);
    g_test_add_func("/vhost-dp/inbox/wakeups", test_wakeups);
    g_test_add_func("/vhost-dp/inbox/full", test_full);
    g_test_add_func("/vhost-dp/inbox/closed", test_closed);
    g_test_add_func("/vhost-dp/inbox/stale", test_stale);
    g_test_add_func("/vhost-dp/inbox/some", test_some);
    g_test_add_func("/vhost-dp/inbox/done", test_done);
    g_test_add_func("/vhost-dp/inbox/retired", test_retired);
    g_test_add_func("/vhost-dp/inbox/retired-in-use", test_retired_in_use);
    g_test_add_func("/vhost-dp/inbox/threads", test_threads);
    if (g_test_perf()) {
        g_test_add_data_func("/vhost-dp/inbox/perf/64", &small, test_perf);
        g_test_add_data_func("/vhost-dp/inbox/perf/1500", &large, test_perf);
    }
    return g_test_run();
}
