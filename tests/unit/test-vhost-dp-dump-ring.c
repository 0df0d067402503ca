/*
 * vhost-dp: unit tests of the ring of recorded frames
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "net/vhost-dp/drivers/dump/dump-ring.h"

#define SIZE 4096u
#define MAX_LEN 1000u

/* Lengths of any remainder, so that the ring ends everywhere */
static uint32_t length_of(uint64_t number)
{
    return number * 2654435761u % (MAX_LEN + 1);
}

static bool add(VhostDPDumpRing *ring, uint64_t number)
{
    VhostDPDumpRecord record = {
        .time = number, .len = 2 * MAX_LEN, .kept = length_of(number),
    };
    uint8_t *p = vhost_dp_dump_ring_add(ring, &record);

    if (p) {
        memset(p, number, record.kept);
    }
    return p;
}

static void publish(VhostDPDumpRing *ring)
{
    VhostDPDumpMark mark = ring->now;

    vhost_dp_dump_ring_publish(ring, &mark);
}

/* Take one out, which has to be there.  Returns its number. */
static uint64_t take(VhostDPDumpRing *ring)
{
    const VhostDPDumpRecord *record = vhost_dp_dump_ring_peek(ring);
    const uint8_t *p = (const uint8_t *)(record + 1);
    uint64_t number;
    uint32_t i;

    g_assert_nonnull(record);
    number = record->time;
    g_assert_cmpuint(record->len, ==, 2 * MAX_LEN);
    g_assert_cmpuint(record->kept, ==, length_of(number));
    for (i = 0; i < record->kept; i++) {
        g_assert_cmpuint(p[i], ==, (uint8_t)number);
    }
    vhost_dp_dump_ring_remove(ring);
    return number;
}

static void test_order(void)
{
    VhostDPDumpRing *ring = vhost_dp_dump_ring_new(3, SIZE);
    uint64_t in = 0, out = 0;
    unsigned round;

    g_assert_cmpuint(ring->pair, ==, 3);
    for (round = 1; round < 3000; round++) {
        unsigned n = round % 7;

        while (n-- && add(ring, in)) {
            in++;
        }
        publish(ring);
        for (n = round % 5; n && vhost_dp_dump_ring_has(ring); n--) {
            g_assert_cmpuint(take(ring), ==, out++);
        }
    }
    while (vhost_dp_dump_ring_has(ring)) {
        g_assert_cmpuint(take(ring), ==, out++);
    }
    g_assert_cmpuint(out, ==, in);
    g_assert_null(vhost_dp_dump_ring_peek(ring));
    vhost_dp_dump_ring_free(ring);
}

/* Nothing is overwritten, and what finds no room is counted */
static void test_full(void)
{
    VhostDPDumpRing *ring = vhost_dp_dump_ring_new(0, SIZE);
    VhostDPDumpMark sum = {};
    uint64_t in = 0, i, first = 0;
    unsigned round;

    for (round = 0; round < 100; round++) {
        uint64_t lost = ring->now.lost;

        while (add(ring, in)) {
            in++;
        }
        publish(ring);
        g_assert_true(vhost_dp_dump_ring_is_busy(ring));
        g_assert_cmpuint(ring->now.lost, ==, lost + 1);
        for (i = first; i < in; i++) {
            g_assert_cmpuint(take(ring), ==, i);
        }
        g_assert_false(vhost_dp_dump_ring_is_busy(ring));
        first = ++in;           /* the one that was lost */
    }
    vhost_dp_dump_ring_count(ring, &sum);
    g_assert_cmpuint(sum.lost, ==, 100);
    g_assert_cmpuint(sum.recorded + sum.lost, ==, in);
    g_assert_cmpuint(sum.unmatched, ==, 0);
    vhost_dp_dump_ring_free(ring);
}

/* Frames behind the mark were never there */
static void test_forget(void)
{
    VhostDPDumpRing *ring = vhost_dp_dump_ring_new(0, SIZE);
    VhostDPDumpMark mark, sum = {};
    uint64_t in = 0, out = 0;
    unsigned round;

    for (round = 0; round < 3000; round++) {
        mark = ring->now;
        if (add(ring, in)) {
            if (round % 3) {
                mark = ring->now;
                in++;
            }
            add(ring, 1000 * 1000);
        }
        g_assert_false(vhost_dp_dump_ring_has(ring));
        vhost_dp_dump_ring_publish(ring, &mark);
        while (vhost_dp_dump_ring_has(ring)) {
            g_assert_cmpuint(take(ring), ==, out++);
        }
    }
    g_assert_cmpuint(out, ==, in);
    vhost_dp_dump_ring_count(ring, &sum);
    g_assert_cmpuint(sum.recorded, ==, in);
    g_assert_cmpuint(sum.lost, ==, 0);
    vhost_dp_dump_ring_free(ring);
}

/* ---- Two threads ---- */

#define FRAMES 200000u

static gpointer produce(gpointer opaque)
{
    VhostDPDumpRing *ring = opaque;
    uint64_t i;

    for (i = 0; i < FRAMES; i++) {
        add(ring, i);
        if (i % 3 == 0 || i == FRAMES - 1) {
            publish(ring);
        }
    }
    return NULL;
}

/* They come in order, and those that are missing are counted */
static void test_threads(void)
{
    VhostDPDumpRing *ring = vhost_dp_dump_ring_new(0, 4 * SIZE);
    GThread *thread = g_thread_new("produce", produce, ring);
    VhostDPDumpMark sum = {};
    uint64_t next = 0, n = 0;

    do {
        sum = (VhostDPDumpMark) {};
        vhost_dp_dump_ring_count(ring, &sum);
        while (vhost_dp_dump_ring_has(ring)) {
            uint64_t number = take(ring);

            g_assert_cmpuint(number, >=, next);
            next = number + 1;
            n++;
        }
    } while (sum.recorded + sum.lost < FRAMES);
    g_thread_join(thread);
    while (vhost_dp_dump_ring_has(ring)) {
        take(ring);
        n++;
    }
    g_assert_cmpuint(n, ==, sum.recorded);
    g_assert_cmpuint(n, >, 0);
    vhost_dp_dump_ring_free(ring);
}

static void test_size(void)
{
    VhostDPDumpRing *ring = vhost_dp_dump_ring_new(0, SIZE - 1);

    g_assert_cmpuint(ring->size, ==, SIZE);
    vhost_dp_dump_ring_free(ring);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost-dp/dump-ring/order", test_order);
    g_test_add_func("/vhost-dp/dump-ring/full", test_full);
    g_test_add_func("/vhost-dp/dump-ring/forget", test_forget);
    g_test_add_func("/vhost-dp/dump-ring/threads", test_threads);
    g_test_add_func("/vhost-dp/dump-ring/size", test_size);
    return g_test_run();
}
