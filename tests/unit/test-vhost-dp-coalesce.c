/*
 * vhost-dp: when a delayed call is due
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * net/vhost-dp/port-coalesce.c without a port: the test is the clock, and
 * counts the packets.
 */

#include "qemu/osdep.h"
#include "net/vhost-dp/port-coalesce.h"

#define US 1000ll

/* Section 5.1.6.5.9.2, and a clock that does not begin at 0 */
static const PortCoalesceConf conf = { .max_packets = 15, .max_usecs = 10 };
static const int64_t start = 123456789;

/* Any of them zero, or each packet: 5.1.6.5.9.1 */
static void test_off(void)
{
    static const struct {
        PortCoalesceConf conf;
        bool on;
    } table[] = {
        { { 0, 0 }, false },
        { { 0, 10 }, false },
        { { 15, 0 }, false },
        { { 1, 10 }, false },
        { { 2, 1 }, true },
        { { UINT32_MAX, UINT32_MAX }, true },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(table); i++) {
        g_assert_cmpint(port_coalesce_is_on(&table[i].conf), ==, table[i].on);
    }
}

/* Due after max_usecs, counted from the first packet, not before and once */
static void test_time(void)
{
    int64_t end = start + 10 * US;
    PortCoalesce c = {};

    g_assert_false(vhost_dp_port_coalesce_due(&c, 0, INT64_MAX));
    vhost_dp_port_coalesce_used(&c, &conf, 1, 1, true, start);
    g_assert_false(vhost_dp_port_coalesce_due(&c, 1, start));
    /* What comes later does not make it longer */
    vhost_dp_port_coalesce_used(&c, &conf, 2, 1, false, 0);
    g_assert_false(vhost_dp_port_coalesce_due(&c, 2, end - 1));
    g_assert_cmpint(c.state, ==, PORT_COALESCE_OPEN);
    g_assert_true(vhost_dp_port_coalesce_due(&c, 2, end));
    g_assert_cmpint(c.state, ==, PORT_COALESCE_CLOSED);
    g_assert_false(vhost_dp_port_coalesce_due(&c, 2, end));

    /* And again from the next packet on */
    vhost_dp_port_coalesce_used(&c, &conf, 3, 1, true, end + 5 * US);
    g_assert_false(vhost_dp_port_coalesce_due(&c, 3, end + 15 * US - 1));
    g_assert_true(vhost_dp_port_coalesce_due(&c, 3, end + 15 * US));
}

/* Due with max_packets, however they are spread over bursts */
static void test_packets(void)
{
    PortCoalesce c = {};
    uint64_t total = 0;
    unsigned burst, n;

    for (burst = 1; burst <= 20; burst++) {
        bool due = false;

        for (n = 0; !due; n += burst) {
            g_assert_cmpuint(n, <, conf.max_packets);
            total += burst;
            vhost_dp_port_coalesce_used(&c, &conf, total, burst, n == 0,
                                        start);
            due = vhost_dp_port_coalesce_due(&c, total, start);
        }
        g_assert_cmpuint(n, >=, conf.max_packets);
        g_assert_cmpint(c.state, ==, PORT_COALESCE_CLOSED);
    }
}

/* Packets of before the delays are not counted */
static void test_packets_before(void)
{
    PortCoalesce c = {};

    vhost_dp_port_coalesce_used(&c, &conf, 1000003, 3, true, start);
    g_assert_false(vhost_dp_port_coalesce_due(&c, 1000003, start));
    vhost_dp_port_coalesce_used(&c, &conf, 1000014, 11, false, 0);
    g_assert_false(vhost_dp_port_coalesce_due(&c, 1000014, start));
    vhost_dp_port_coalesce_used(&c, &conf, 1000015, 1, false, 0);
    g_assert_true(vhost_dp_port_coalesce_due(&c, 1000015, start));
}

/* Chains of lost frames, and those of a frame of many, are no packets */
static void test_chains(void)
{
    PortCoalesce c = {};

    vhost_dp_port_coalesce_used(&c, &conf, 0, 64, true, start);
    g_assert_false(vhost_dp_port_coalesce_due(&c, 0, start));
    vhost_dp_port_coalesce_used(&c, &conf, 14, 64, false, 0);
    g_assert_false(vhost_dp_port_coalesce_due(&c, 14, start));
    vhost_dp_port_coalesce_used(&c, &conf, 15, 17, false, 0);
    g_assert_true(vhost_dp_port_coalesce_due(&c, 15, start));
}

/* A guest without buffers is told at once; the next delay is a whole one */
static void test_hurry(void)
{
    PortCoalesce c = {};

    vhost_dp_port_coalesce_used(&c, &conf, 1, 1, true, start);
    port_coalesce_hurry(&c);
    g_assert_true(vhost_dp_port_coalesce_due(&c, 1, start));
    vhost_dp_port_coalesce_used(&c, &conf, 2, 1, true, start + US);
    g_assert_false(vhost_dp_port_coalesce_due(&c, 2, start + 11 * US - 1));
    g_assert_true(vhost_dp_port_coalesce_due(&c, 2, start + 11 * US));
}

/* Control called meanwhile: a delay begins while the last one is open */
static void test_anew(void)
{
    PortCoalesce c = {};

    vhost_dp_port_coalesce_used(&c, &conf, 10, 10, true, start);
    vhost_dp_port_coalesce_used(&c, &conf, 20, 10, true, start + 9 * US);
    g_assert_false(vhost_dp_port_coalesce_due(&c, 20, start + 10 * US));
    g_assert_false(vhost_dp_port_coalesce_due(&c, 24, start + 19 * US - 1));
    g_assert_true(vhost_dp_port_coalesce_due(&c, 25, start + 10 * US));
}

/* The largest parameters do not overflow */
static void test_largest(void)
{
    static const PortCoalesceConf most = { UINT32_MAX, UINT32_MAX };
    int64_t end = start + UINT32_MAX * US;
    PortCoalesce c = {};

    vhost_dp_port_coalesce_used(&c, &most, 1, 1, true, start);
    g_assert_false(vhost_dp_port_coalesce_due(&c, UINT32_MAX - 1ull, end - 1));
    g_assert_true(vhost_dp_port_coalesce_due(&c, 1, end));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost-dp/coalesce/off", test_off);
    g_test_add_func("/vhost-dp/coalesce/time", test_time);
    g_test_add_func("/vhost-dp/coalesce/packets", test_packets);
    g_test_add_func("/vhost-dp/coalesce/packets-before", test_packets_before);
    g_test_add_func("/vhost-dp/coalesce/chains", test_chains);
    g_test_add_func("/vhost-dp/coalesce/hurry", test_hurry);
    g_test_add_func("/vhost-dp/coalesce/anew", test_anew);
    g_test_add_func("/vhost-dp/coalesce/largest", test_largest);
    return g_test_run();
}
