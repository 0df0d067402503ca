/*
 * vhost-dp: tests of a port's outbox
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "net/vhost-dp/port-outbox.h"

#define READER 3
#define OTHER 7

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

static bool put(VhostDPOutbox *outbox, size_t len, uint8_t seed)
{
    g_autofree uint8_t *data = g_malloc(len);
    VhostDPFrame frame;
    unsigned lost, n;

    make_frame(&frame, data, len, seed);
    n = vhost_dp_outbox_put(outbox, &frame, 1, &lost);
    g_assert_cmpuint(lost, ==, 0);
    return n;
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

static VhostDPOutbox *outbox_new(void)
{
    VhostDPOutbox *outbox = vhost_dp_outbox_new();

    g_assert_true(vhost_dp_outbox_route(outbox, READER));
    return outbox;
}

/* Frames come out as they were put, and those that were not taken once more */
static void test_order(void)
{
    VhostDPOutbox *outbox = outbox_new();
    VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    unsigned next = 0, seen = 0;
    unsigned i, n, done;
    bool more;

    while (seen < 20000) {
        for (n = g_test_rand_int_range(0, 90); n; n--) {
            if (!put(outbox, 14 + next * 7 % 9000, next)) {
                break;
            }
            next++;
        }
        n = vhost_dp_outbox_get(outbox, READER, frames,
                                g_test_rand_int_range(1, 65), &more);
        for (i = 0; i < n; i++) {
            check_frame(&frames[i], 14 + (seen + i) * 7 % 9000, seen + i);
        }
        g_assert_cmpint(more, ==, seen + n < next);
        done = g_test_rand_int_range(0, n + 1);
        vhost_dp_outbox_release(outbox, done);
        seen += done;
    }
    vhost_dp_outbox_free(outbox);
}

/* The longest frames, wherever the end of the ring is */
static void test_longest(void)
{
    VhostDPOutbox *outbox = outbox_new();
    VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    unsigned next = 0, seen = 0;
    unsigned i, n;
    bool more;

    while (seen < 500) {
        while (put(outbox, VHOST_DP_MAX_FRAME - next % 3 * 1000, next)) {
            next++;
        }
        g_assert_cmpuint(next, >, seen);
        n = vhost_dp_outbox_get(outbox, READER, frames, 64, &more);
        /* A burst is bounded by its bytes, too */
        g_assert_cmpuint(n, <=, VHOST_DP_BURST_BYTES / 60000 + 1);
        for (i = 0; i < n; i++, seen++) {
            check_frame(&frames[i], VHOST_DP_MAX_FRAME - seen % 3 * 1000,
                        seen);
        }
        vhost_dp_outbox_release(outbox, n);
    }
    vhost_dp_outbox_free(outbox);
}

static void test_metadata(void)
{
    VhostDPOutbox *outbox = outbox_new();
    VhostDPFrame in, out;
    uint8_t data[100];
    unsigned lost;
    bool more;

    make_frame(&in, data, sizeof(data), 1);
    in.flags = 1;
    in.gso_type = 4;
    in.hdr_len = 54;
    in.gso_size = 1448;
    in.csum_start = 34;
    in.csum_offset = 16;
    g_assert_cmpuint(vhost_dp_outbox_put(outbox, &in, 1, &lost), ==, 1);
    g_assert_cmpuint(vhost_dp_outbox_get(outbox, READER, &out, 1, &more), ==,
                     1);
    g_assert_false(more);
    check_frame(&out, sizeof(data), 1);
    g_assert_cmpuint(out.flags, ==, 1);
    g_assert_cmpuint(out.gso_type, ==, 4);
    g_assert_cmpuint(out.hdr_len, ==, 54);
    g_assert_cmpuint(out.gso_size, ==, 1448);
    g_assert_cmpuint(out.csum_start, ==, 34);
    g_assert_cmpuint(out.csum_offset, ==, 16);
    vhost_dp_outbox_free(outbox);
}

/* A writer that had no room is told once, when half of it is free */
static void test_full(void)
{
    VhostDPOutbox *outbox = outbox_new();
    VhostDPFrame frames[4];
    unsigned room = 0;
    unsigned told = 0;
    unsigned i;
    bool more;

    while (put(outbox, 10000, room)) {
        room++;
    }
    g_assert_cmpuint(room, ==, VHOST_DP_OUTBOX_BYTES / (10000 + 16));
    g_assert_true(vhost_dp_outbox_is_awaited(outbox));
    for (i = 0; i < room; i++) {
        g_assert_cmpuint(vhost_dp_outbox_get(outbox, READER, frames, 1, &more),
                         ==, 1);
        check_frame(frames, 10000, i);
        if (vhost_dp_outbox_release(outbox, 1)) {
            g_assert_cmpuint(i + 1, >=, room / 2);
            g_assert_false(vhost_dp_outbox_is_awaited(outbox));
            told++;
        }
    }
    g_assert_cmpuint(told, ==, 1);
    g_assert_cmpuint(vhost_dp_outbox_get(outbox, READER, frames, 1, &more), ==,
                     0);
    vhost_dp_outbox_free(outbox);
}

/* Another reader gets nothing before the first one has released all */
static void test_route(void)
{
    VhostDPOutbox *outbox = outbox_new();
    VhostDPFrame frames[4];
    bool more;

    g_assert_true(put(outbox, 100, 1));
    g_assert_true(put(outbox, 100, 2));
    g_assert_cmpuint(vhost_dp_outbox_get(outbox, OTHER, frames, 4, &more), ==,
                     0);
    g_assert_false(vhost_dp_outbox_route(outbox, OTHER));
    g_assert_true(vhost_dp_outbox_is_awaited(outbox));
    g_assert_cmpuint(vhost_dp_outbox_get(outbox, READER, frames, 4, &more), ==,
                     2);
    g_assert_false(vhost_dp_outbox_release(outbox, 1));
    g_assert_false(vhost_dp_outbox_route(outbox, OTHER));
    g_assert_true(vhost_dp_outbox_release(outbox, 1));
    g_assert_false(vhost_dp_outbox_is_awaited(outbox));
    g_assert_true(vhost_dp_outbox_route(outbox, OTHER));

    g_assert_true(put(outbox, 100, 3));
    g_assert_cmpuint(vhost_dp_outbox_get(outbox, READER, frames, 4, &more), ==,
                     0);
    g_assert_cmpuint(vhost_dp_outbox_get(outbox, OTHER, frames, 4, &more), ==,
                     1);
    check_frame(frames, 100, 3);
    vhost_dp_outbox_release(outbox, 1);

    /* And then nobody, and somebody again */
    g_assert_true(vhost_dp_outbox_route(outbox, VHOST_DP_OUTBOX_NOBODY));
    g_assert_cmpuint(vhost_dp_outbox_get(outbox, OTHER, frames, 4, &more), ==,
                     0);
    g_assert_true(vhost_dp_outbox_route(outbox, READER));
    g_assert_true(put(outbox, 100, 4));
    g_assert_cmpuint(vhost_dp_outbox_get(outbox, READER, frames, 4, &more), ==,
                     1);
    check_frame(frames, 100, 4);
    vhost_dp_outbox_free(outbox);
}

/* ---- Two readers in turns, and a writer ---- */

#define FRAMES 100000
#define READERS 2

typedef struct Race {
    VhostDPOutbox *outbox;
    QemuEvent wake_writer;
    unsigned seen;              /* by whichever is the reader */
    bool done;                  /* atomic */
} Race;

typedef struct Reader {
    Race *race;
    QemuThread thread;
    unsigned number;
} Reader;

static void *reader_thread(void *opaque)
{
    Reader *reader = opaque;
    Race *race = reader->race;

    while (!qatomic_read(&race->done)) {
        VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
        bool more;
        unsigned n = vhost_dp_outbox_get(race->outbox, reader->number, frames,
                                         VHOST_DP_BURST_FRAMES, &more);
        unsigned i;

        for (i = 0; i < n; i++) {
            uint32_t number;

            memcpy(&number, frames[i].iov[0].iov_base, sizeof(number));
            g_assert_cmpuint(number, ==, race->seen);
            race->seen++;
        }
        if (n && vhost_dp_outbox_release(race->outbox, n)) {
            qemu_event_set(&race->wake_writer);
        }
        if (!n) {
            g_usleep(10);
        }
    }
    return NULL;
}

/* The frames go on in order when the reader changes, and nothing is stuck */
static void test_race(void)
{
    Race race = { .outbox = vhost_dp_outbox_new() };
    Reader readers[READERS];
    unsigned next = 0;
    unsigned i;

    qemu_event_init(&race.wake_writer, false);
    g_assert_true(vhost_dp_outbox_route(race.outbox, 0));
    for (i = 0; i < READERS; i++) {
        readers[i] = (Reader) { .race = &race, .number = i };
        qemu_thread_create(&readers[i].thread, "reader", reader_thread,
                           &readers[i], QEMU_THREAD_JOINABLE);
    }
    while (next < FRAMES) {
        uint8_t data[1600] = {};
        VhostDPFrame frame;
        unsigned lost;

        qemu_event_reset(&race.wake_writer);
        if (next % 1000 == 999 &&
            !vhost_dp_outbox_route(race.outbox, next / 1000 % READERS)) {
            qemu_event_wait(&race.wake_writer);
            continue;
        }
        make_frame(&frame, data, 60 + next % 1500, 0);
        memcpy(data, &next, sizeof(next));
        if (vhost_dp_outbox_put(race.outbox, &frame, 1, &lost)) {
            next++;
        } else {
            qemu_event_wait(&race.wake_writer);
        }
    }
    while (!vhost_dp_outbox_route(race.outbox, VHOST_DP_OUTBOX_NOBODY)) {
        g_usleep(100);
    }
    g_assert_cmpuint(race.seen, ==, FRAMES);
    qatomic_set(&race.done, true);
    for (i = 0; i < READERS; i++) {
        qemu_thread_join(&readers[i].thread);
    }
    qemu_event_destroy(&race.wake_writer);
    vhost_dp_outbox_free(race.outbox);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost-dp/outbox/order", test_order);
    g_test_add_func("/vhost-dp/outbox/longest", test_longest);
    g_test_add_func("/vhost-dp/outbox/metadata", test_metadata);
    g_test_add_func("/vhost-dp/outbox/full", test_full);
    g_test_add_func("/vhost-dp/outbox/route", test_route);
    g_test_add_func("/vhost-dp/outbox/race", test_race);
    return g_test_run();
}
