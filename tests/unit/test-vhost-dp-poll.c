/*
 * vhost-dp: when a port polls, and for how long
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * net/vhost-dp/port-poll.c without a port: the test is the clock.
 */

#include "qemu/osdep.h"
#include "net/vhost-dp/port-poll.h"

#define LIMIT 64000

/* A turn of one pass at @now, which finds work if @worked */
static void turn(PortPoll *poll, int64_t now, bool worked)
{
    vhost_dp_port_poll_turn(poll, now);
    if (worked) {
        port_poll_worked(poll);
    }
    vhost_dp_port_poll_pass(poll, now);
}

/* Polling goes on until @end, and not longer */
static void check_end(PortPoll *poll, int64_t end)
{
    g_assert_true(port_poll_is_on(poll));
    g_assert_false(vhost_dp_port_poll_end(poll, end - 1));
    g_assert_true(port_poll_is_on(poll));
    g_assert_true(vhost_dp_port_poll_end(poll, end));
    g_assert_false(port_poll_is_on(poll));
    /* Once: the port makes one more pass, and sleeps */
    g_assert_false(vhost_dp_port_poll_end(poll, end));
}

static void test_never(void)
{
    PortPoll poll;

    vhost_dp_port_poll_init(&poll, 0);
    turn(&poll, 1000 * LIMIT, true);
    g_assert_false(port_poll_is_on(&poll));
    g_assert_false(vhost_dp_port_poll_end(&poll, 1000 * LIMIT));
}

/* A wake-up for nothing leads to no polling, and to no shorter window */
static void test_no_work(void)
{
    int64_t now = 1000 * LIMIT;
    PortPoll poll;
    unsigned i;

    vhost_dp_port_poll_init(&poll, LIMIT);
    for (i = 0; i < 100; i++) {
        turn(&poll, now, false);
        check_end(&poll, now);
        now += 2 * LIMIT;
    }
    turn(&poll, now, true);
    check_end(&poll, now + LIMIT);
}

static void test_work_prolongs(void)
{
    int64_t now = 1000 * LIMIT;
    PortPoll poll;
    unsigned i;

    vhost_dp_port_poll_init(&poll, LIMIT);
    for (i = 0; i < 100; i++) {
        turn(&poll, now, true);
        g_assert_false(vhost_dp_port_poll_end(&poll, now));
        now += LIMIT / 2;
    }
    check_end(&poll, now + LIMIT / 2);
}

/* The window is halved each time that it passes in vain, down to none */
static void test_back_off(void)
{
    int64_t now = 1000 * LIMIT;
    int64_t window = LIMIT;
    PortPoll poll;

    vhost_dp_port_poll_init(&poll, LIMIT);
    while (window >= 2000) {
        turn(&poll, now, true);
        check_end(&poll, now + window);
        window /= 2;
        now += 100 * LIMIT;
    }
    turn(&poll, now, true);
    g_assert_false(vhost_dp_port_poll_end(&poll, now));
    g_assert_false(port_poll_is_on(&poll));

    /* A full one would have found what comes so soon after the last work */
    turn(&poll, now + LIMIT - 1, true);
    check_end(&poll, now + 2 * LIMIT - 1);
}

/* Nor is it while polling itself finds work */
static void test_hit(void)
{
    int64_t now = 1000 * LIMIT;
    PortPoll poll;
    unsigned i;

    vhost_dp_port_poll_init(&poll, LIMIT);
    for (i = 0; i < 20; i++) {
        turn(&poll, now, true);
        now += LIMIT / 2;
        port_poll_look(&poll);
        vhost_dp_port_poll_turn(&poll, now);
        g_assert_true(poll.looking);
        port_poll_hit(&poll);
        vhost_dp_port_poll_pass(&poll, now);
        g_assert_false(poll.looking);
        check_end(&poll, now + LIMIT);
        now += 100 * LIMIT;
    }
}

/* The pass that was to end polling finds something */
static void test_last_pass(void)
{
    int64_t now = 1000 * LIMIT;
    PortPoll poll;

    vhost_dp_port_poll_init(&poll, LIMIT);
    turn(&poll, now, true);
    now += LIMIT;
    g_assert_true(vhost_dp_port_poll_end(&poll, now));
    port_poll_worked(&poll);
    vhost_dp_port_poll_pass(&poll, now + 1);
    g_assert_true(port_poll_is_on(&poll));
    g_assert_false(vhost_dp_port_poll_end(&poll, now + 1));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost-dp/poll/never", test_never);
    g_test_add_func("/vhost-dp/poll/no-work", test_no_work);
    g_test_add_func("/vhost-dp/poll/work-prolongs", test_work_prolongs);
    g_test_add_func("/vhost-dp/poll/back-off", test_back_off);
    g_test_add_func("/vhost-dp/poll/hit", test_hit);
    g_test_add_func("/vhost-dp/poll/last-pass", test_last_pass);
    return g_test_run();
}
