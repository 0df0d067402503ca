/*
 * vhost-dp: tests of snapshots of what the guest asks for
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/thread.h"
#include "hw/virtio/virtio-net.h"
#include "net/vhost-dp/netdev.h"

/* A device as virtio_net_device_realize() and _reset() leave it */
typedef struct Device {
    VirtIONet n;
    uint8_t macs[MAC_TABLE_ENTRIES * ETH_ALEN];
    uint32_t vlans[MAX_VLAN / 32];
} Device;

static const uint8_t own_mac[] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static Device *device_new(void)
{
    Device *d = g_new0(Device, 1);

    d->n.promisc = 1;
    d->n.mac_table.macs = d->macs;
    d->n.vlans = d->vlans;
    d->n.max_queue_pairs = 4;
    d->n.curr_queue_pairs = 1;
    memcpy(d->n.mac, own_mac, ETH_ALEN);
    memset(d->vlans, 0xff, sizeof(d->vlans));
    return d;
}

static void make_mac(uint8_t *mac, bool multi, unsigned i)
{
    const uint8_t made[] = { multi ? 0x33 : 0x02, 0x33, 0, i >> 16, i >> 8, i };

    memcpy(mac, made, ETH_ALEN);
}

/* @uni addresses in the first part of the table, @multi in the second */
static void set_macs(Device *d, unsigned uni, unsigned multi)
{
    unsigned i;

    for (i = 0; i < uni + multi; i++) {
        make_mac(&d->macs[i * ETH_ALEN], i >= uni, i);
    }
    d->n.mac_table.in_use = uni + multi;
    d->n.mac_table.first_multi = uni;
}

static void test_default(void)
{
    g_autofree Device *d = device_new();
    g_autoptr(VhostDPControl) c = vhost_dp_netdev_get_control(&d->n, false);

    g_assert_true(c->state.promisc);
    g_assert_false(c->filters || c->hashes || c->steers);
    g_assert_cmpint(c->state.pairs, ==, 1);
    g_assert_cmpmem(c->state.mac, ETH_ALEN, own_mac, ETH_ALEN);
    g_assert_cmpuint(c->state.vlans[127], ==, UINT32_MAX);
}

static void test_filter(void)
{
    g_autofree Device *d = device_new();
    g_autoptr(VhostDPControl) c = NULL;
    uint8_t mac[ETH_ALEN];
    unsigned i;

    d->n.promisc = 0;
    d->n.allmulti = 1;
    d->n.nobcast = 1;
    d->n.mac_table.uni_overflow = 1;
    memset(d->vlans, 0, sizeof(d->vlans));
    d->vlans[5] = 0x80;
    set_macs(d, 10, 54);
    c = vhost_dp_netdev_get_control(&d->n, false);
    /* Nothing that the guest asks for later is seen in it */
    memset(d->macs, 0, sizeof(d->macs));
    memset(d->vlans, 0, sizeof(d->vlans));
    d->n.promisc = 1;

    g_assert_true(c->filters && !c->hashes && !c->steers);
    g_assert_true(c->state.allmulti && c->state.nobcast);
    g_assert_false(c->state.alluni || c->state.nomulti || c->state.nouni);
    g_assert_true(c->state.uni_overflow && !c->state.multi_overflow);
    g_assert_cmpuint(c->state.vlans[5], ==, 0x80);
    for (i = 0; i < 64; i++) {
        make_mac(mac, i >= 10, i);
        g_assert_true(vhost_dp_control_has_mac(c, mac));
        make_mac(mac, i < 10, i);
        g_assert_false(vhost_dp_control_has_mac(c, mac));
    }
    g_assert_true(vhost_dp_control_has_mac(c, own_mac));
    memset(mac, 0, sizeof(mac));
    g_assert_false(vhost_dp_control_has_mac(c, mac));
}

/* 5.1.6.5.2: an address in the part for the other kind is never looked for */
static void test_wrong_part(void)
{
    g_autofree Device *d = device_new();
    g_autoptr(VhostDPControl) c = NULL;
    uint8_t mac[ETH_ALEN];

    make_mac(&d->macs[0], true, 0);
    make_mac(&d->macs[ETH_ALEN], false, 1);
    d->n.mac_table.in_use = 2;
    d->n.mac_table.first_multi = 1;
    d->n.mac[0] |= 1;
    c = vhost_dp_netdev_get_control(&d->n, false);
    make_mac(mac, true, 0);
    g_assert_false(vhost_dp_control_has_mac(c, mac));
    make_mac(mac, false, 1);
    g_assert_false(vhost_dp_control_has_mac(c, mac));
    g_assert_false(vhost_dp_control_has_mac(c, d->n.mac));
}

/* Random tables against a search from one end to the other */
static void test_random(void)
{
    unsigned round, i, j;

    for (round = 0; round < 2000; round++) {
        g_autofree Device *d = device_new();
        g_autoptr(VhostDPControl) c = NULL;
        unsigned nuni = g_test_rand_int_range(0, 65);

        set_macs(d, nuni, g_test_rand_int_range(0, 65 - nuni));
        for (i = 0; i < d->n.mac_table.in_use; i++) {
            d->macs[i * ETH_ALEN + 5] = g_test_rand_int_range(0, 128);
        }
        c = vhost_dp_netdev_get_control(&d->n, false);
        for (i = 0; i < 256; i++) {
            uint8_t mac[ETH_ALEN];
            bool expected = false;

            make_mac(mac, i & 128, i & 127);
            for (j = 0; j < d->n.mac_table.in_use; j++) {
                expected |= !memcmp(&d->macs[j * ETH_ALEN], mac, ETH_ALEN);
            }
            g_assert_cmpint(vhost_dp_control_has_mac(c, mac), ==, expected);
        }
    }
}

/* What the guest may send from: its address, unless it may not change that */
static void test_source(void)
{
    g_autofree Device *d = device_new();
    g_autoptr(VhostDPControl) c = NULL;

    d->n.nic_conf.macaddr = (MACAddr) { { 0x52, 0x54, 0, 1, 2, 3 } };
    d->n.parent_obj.host_features = 1ULL << VIRTIO_NET_F_CTRL_MAC_ADDR;
    c = vhost_dp_netdev_get_control(&d->n, true);
    g_assert_true(c->state.check_source);
    g_assert_false(c->filters || c->hashes || c->steers);
    g_assert_cmpmem(c->state.source, ETH_ALEN, own_mac, ETH_ALEN);

    d->n.parent_obj.host_features = 0;
    vhost_dp_control_unref(c);
    c = vhost_dp_netdev_get_control(&d->n, true);
    g_assert_cmpmem(c->state.source, ETH_ALEN, d->n.nic_conf.macaddr.a,
                    ETH_ALEN);
    g_assert_cmpmem(c->state.mac, ETH_ALEN, own_mac, ETH_ALEN);
}

static void set_rss(Device *d, uint16_t *table, unsigned len)
{
    unsigned i;

    for (i = 0; i < len; i++) {
        table[i] = i % 4;
    }
    d->n.multiqueue = 1;
    d->n.curr_queue_pairs = 4;
    d->n.rss_data = (VirtioNetRssData) {
        .enabled = true,
        .redirect = true,
        .populate_hash = true,
        .runtime_hash_types = VIRTIO_NET_RSS_HASH_TYPE_TCPv4,
        .key = { 1, 2, 3 },
        .indirections_len = len,
        .indirections_table = table,
        .default_queue = 2,
    };
}

static void test_rss(void)
{
    g_autofree Device *d = device_new();
    g_autoptr(VhostDPControl) c = NULL;
    uint16_t table[128];

    set_rss(d, table, 128);
    c = vhost_dp_netdev_get_control(&d->n, false);
    g_assert_true(!c->filters && c->hashes && c->steers);
    g_assert_cmpint(c->state.pairs, ==, 4);
    g_assert_cmpint(c->state.default_pair, ==, 2);
    g_assert_cmphex(c->state.hash_types, ==, VIRTIO_NET_RSS_HASH_TYPE_TCPv4);
    g_assert_cmpint(c->state.key[2], ==, 3);
    g_assert_cmpint(c->state.indirection_len, ==, 128);
    g_assert_cmpmem(c->state.indirection, sizeof(table), table, sizeof(table));

    /* Hashes are reported without RSS, too */
    d->n.rss_data.redirect = false;
    vhost_dp_control_unref(c);
    c = vhost_dp_netdev_get_control(&d->n, false);
    g_assert_true(c->hashes && !c->steers);
    g_assert_cmphex(c->state.hash_types, ==, VIRTIO_NET_RSS_HASH_TYPE_TCPv4);

    /* What the guest has disabled stays behind in the device */
    d->n.rss_data.enabled = false;
    d->n.rss_data.redirect = true;
    vhost_dp_control_unref(c);
    c = vhost_dp_netdev_get_control(&d->n, false);
    g_assert_false(c->hashes || c->steers);
    g_assert_cmphex(c->state.hash_types, ==, 0);
}

/* 5.1.5: without VIRTIO_NET_F_MQ there is one pair, whatever was before */
static void test_one_pair(void)
{
    g_autofree Device *d = device_new();
    g_autoptr(VhostDPControl) c = NULL;

    d->n.curr_queue_pairs = 3;
    c = vhost_dp_netdev_get_control(&d->n, false);
    g_assert_cmpint(c->state.pairs, ==, 1);
}

/* A migration stream can bring anything */
static void test_bounds(void)
{
    static const unsigned bad_len[] = { 0, 3, 127, 129, 256, UINT16_MAX };
    g_autofree Device *d = device_new();
    g_autofree uint16_t *table = g_new0(uint16_t, 128);
    g_autoptr(VhostDPControl) c = NULL;
    unsigned i;

    d->n.mac_table.in_use = UINT32_MAX;
    d->n.mac_table.first_multi = 65;
    c = vhost_dp_netdev_get_control(&d->n, false);
    g_assert_cmpint(c->state.nmacs, ==, 0);
    g_assert_cmpint(c->state.first_multi, ==, 0);

    set_rss(d, table, 128);
    for (i = 0; i < ARRAY_SIZE(bad_len); i++) {
        d->n.rss_data.indirections_len = bad_len[i];
        vhost_dp_control_unref(c);
        c = vhost_dp_netdev_get_control(&d->n, false);
        g_assert_false(c->steers);
        g_assert_true(c->hashes);
    }

    set_rss(d, table, 128);
    table[5] = 4;
    table[6] = UINT16_MAX;
    d->n.rss_data.default_queue = UINT16_MAX;
    vhost_dp_control_unref(c);
    c = vhost_dp_netdev_get_control(&d->n, false);
    for (i = 0; i < 128; i++) {
        g_assert_cmpint(c->state.indirection[i], <, 4);
    }
    g_assert_cmpint(c->state.default_pair, <, 4);

    d->n.curr_queue_pairs = 0;
    d->n.rss_data.indirections_table = NULL;
    vhost_dp_control_unref(c);
    c = vhost_dp_netdev_get_control(&d->n, false);
    g_assert_cmpint(c->state.pairs, ==, 1);
    g_assert_false(c->steers);
}

/* The last of many threads frees it, as the sanitizers and valgrind see */
static void *drop_references(void *opaque)
{
    unsigned i;

    for (i = 0; i < 10000; i++) {
        vhost_dp_control_unref(vhost_dp_control_ref(opaque));
    }
    vhost_dp_control_unref(opaque);
    return NULL;
}

static void test_references(void)
{
    g_autofree Device *d = device_new();
    VhostDPControl *c = vhost_dp_netdev_get_control(&d->n, false);
    QemuThread threads[4];
    unsigned i;

    vhost_dp_control_unref(NULL);
    for (i = 0; i < ARRAY_SIZE(threads); i++) {
        qemu_thread_create(&threads[i], "drop", drop_references,
                           vhost_dp_control_ref(c), QEMU_THREAD_JOINABLE);
    }
    for (i = 0; i < ARRAY_SIZE(threads); i++) {
        qemu_thread_join(&threads[i]);
    }
    g_assert_cmpint(qatomic_read(&c->refs), ==, 1);
    vhost_dp_control_unref(c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost-dp/control/default", test_default);
    g_test_add_func("/vhost-dp/control/filter", test_filter);
    g_test_add_func("/vhost-dp/control/wrong-part", test_wrong_part);
    g_test_add_func("/vhost-dp/control/random", test_random);
    g_test_add_func("/vhost-dp/control/source", test_source);
    g_test_add_func("/vhost-dp/control/rss", test_rss);
    g_test_add_func("/vhost-dp/control/one-pair", test_one_pair);
    g_test_add_func("/vhost-dp/control/bounds", test_bounds);
    g_test_add_func("/vhost-dp/control/references", test_references);
    return g_test_run();
}
