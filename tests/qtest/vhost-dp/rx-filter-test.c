/*
 * vhost-dp: qtests of receive filters
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3.  The machine has two NICs, one on
 * vhost-dp and one on stock -netdev tap.  Both get the same commands and the
 * same frames, and have to deliver the same ones.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "migrate.h"

#define FEATURES \
    (DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) | DP_FEATURE(VIRTIO_NET_F_CTRL_RX) | \
     DP_FEATURE(VIRTIO_NET_F_CTRL_RX_EXTRA) | \
     DP_FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR))

#define MAC "52:54:00:12:34:56"

#define STOCK_SLOT 5
#define STOCK \
    "-netdev tap,id=stock,ifname=tap1,script=no,downscript=no,vhost=off " \
    "-device virtio-net-pci,id=nic1,netdev=stock,addr=05.0,mac=" MAC \
    ",romfile=,disable-legacy=on"

/* Frames of one round; their numbers are in them */
#define ROUND 24
#define SENTINELS 4

static const uint8_t nic_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };

/* The two that have to do the same: vhost-dp's first */
typedef struct Twins {
    DpRig *r;
    DpNic *nic[2];
    int sock[2];
} Twins;

static Twins *twins_new(uint64_t features)
{
    Twins *t = g_new0(Twins, 1);

    t->r = dp_rig_start(&(DpSetup) {
        .device = "disable-legacy=on,mac=" MAC,
        /* Without it, QEMU 10.0 leaves num_buffers to chance */
        .features = features | DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
        .more = STOCK }, false);
    t->nic[0] = t->r->nic;
    t->nic[1] = dp_nic_new(t->r->guest, STOCK_SLOT, t->r->features);
    t->nic[1]->queue[DP_RX].stock = t->nic[1]->queue[DP_TX].stock = true;
    t->sock[0] = t->r->sock;
    t->sock[1] = dp_sock_open("tap1", false);
    return t;
}

static void twins_free(Twins *t)
{
    close(t->sock[1]);
    dp_nic_free(t->nic[1]);
    dp_rig_free(t->r);
    g_free(t);
}

/* A command for both, with the same answer */
static uint8_t command(Twins *t, uint8_t class, uint8_t cmd, const void *data,
                       size_t len)
{
    uint8_t answer = dp_nic_ctrl(t->nic[0], class, cmd, data, len);

    g_assert_cmpint(dp_nic_ctrl(t->nic[1], class, cmd, data, len), ==, answer);
    return answer;
}

/* One of a few addresses, of either kind, with some that are in no table */
static void pick_mac(uint8_t *mac)
{
    const uint8_t made[] = { g_test_rand_bit() ? 0x33 : 0x02, 0x33, 0, 0, 0,
                             g_test_rand_int_range(0, 8) };

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        memcpy(mac, nic_mac, 6);
        break;
    case 1:
        memcpy(mac, broadcast, 6);
        break;
    default:
        memcpy(mac, made, 6);
    }
}

static uint16_t pick_vlan(void)
{
    static const uint16_t vlans[] = { 0, 1, 31, 32, 100, 4094, 4095 };

    return vlans[g_test_rand_int_range(0, ARRAY_SIZE(vlans))];
}

/* Two tables of up to @max addresses each; returns the length */
static size_t pick_table(uint8_t *data, unsigned max)
{
    uint8_t *p = data;
    unsigned part, i;

    for (part = 0; part < 2; part++) {
        unsigned n = g_test_rand_int_range(0, max + 1);

        stl_le_p(p, n);
        p += 4;
        for (i = 0; i < n; i++, p += 6) {
            pick_mac(p);
        }
    }
    return p - data;
}

static void random_command(Twins *t)
{
    uint8_t data[2 * (4 + 70 * 6)];
    uint16_t vlan = cpu_to_le16(pick_vlan());
    size_t len;

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        len = pick_table(data, g_test_rand_bit() ? 4 : 70);
        command(t, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data,
                len);
        break;
    case 1:
        pick_mac(data);
        command(t, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, data, 6);
        break;
    case 2:
    case 3:
        command(t, VIRTIO_NET_CTRL_VLAN, g_test_rand_int_range(0, 2), &vlan, 2);
        break;
    default:
        data[0] = g_test_rand_bit();
        command(t, VIRTIO_NET_CTRL_RX, g_test_rand_int_range(0, 6), data, 1);
    }
}

/* Returns its length: with a tag or without, and now and then cut off */
static size_t pick_frame(uint8_t *frame, uint32_t number)
{
    size_t len = 64;

    memset(frame, 0, len);
    pick_mac(frame);
    memcpy(frame + 6, "\x02\x11\x11\x11\x11\x11", 6);
    stw_be_p(frame + 12, g_test_rand_bit() ? ETH_P_8021Q : DP_ETHERTYPE);
    stw_be_p(frame + 14, pick_vlan() | g_test_rand_int_range(0, 16) << 12);
    stw_be_p(frame + 16, DP_ETHERTYPE);
    stl_be_p(frame + 20, number);
    return len;
}

/* Those that a filter has to let pass, if it lets any pass */
static void make_sentinel(uint8_t *frame, unsigned i, uint32_t number)
{
    static const uint8_t to[SENTINELS][6] = {
        { 0x52, 0x54, 0, 0x12, 0x34, 0x56 },
        { 255, 255, 255, 255, 255, 255 },
        { 0x33, 0x33, 0, 0, 0, 1 },
        { 0x02, 0x33, 0, 0, 0, 1 },
    };

    pick_frame(frame, number);
    memcpy(frame, to[i], 6);
    stw_be_p(frame + 12, DP_ETHERTYPE);
}

/* Take what came: numbers of frames */
static unsigned take(DpNic *nic, uint32_t *numbers)
{
    uint8_t frame[2048];
    unsigned n = 0;

    while (dp_has_used(&nic->queue[DP_RX])) {
        size_t len = dp_receive(nic, NULL, frame, sizeof(frame));

        g_assert_cmpuint(len, ==, 64);
        numbers[n++] = ldl_be_p(frame + 20);
        dp_post(nic, 1, 1600);
    }
    return n;
}

static uint64_t counted(DpRig *r)
{
    return dp_counter(r->qts, "vd0", DP_RX, "packets") +
           dp_counter(r->qts, "vd0", DP_RX, "drop:filtered");
}

/* Both get the same frames; vhost-dp counts all of them */
static void check_round(Twins *t, unsigned round)
{
    uint32_t got[2][ROUND + SENTINELS];
    unsigned n = 0;
    unsigned i, m;
    uint64_t before = counted(t->r);

    for (i = 0; i < ROUND + SENTINELS; i++) {
        uint32_t number = round << 16 | i;
        uint8_t frame[64];

        if (i < ROUND) {
            pick_frame(frame, number);
        } else {
            make_sentinel(frame, i - ROUND, number);
        }
        dp_sock_send(t->sock[0], NULL, frame, sizeof(frame));
        dp_sock_send(t->sock[1], NULL, frame, sizeof(frame));
    }
    dp_wait_until(counted(t->r) == before + ROUND + SENTINELS);
    n = take(t->nic[0], got[0]);
    for (m = 0; m < n; ) {
        dp_wait_until(dp_has_used(&t->nic[1]->queue[DP_RX]));
        m += take(t->nic[1], got[1] + m);
    }
    if (!n) {
        /* There is no frame that says that all others were dealt with */
        g_usleep(DP_QUIET_US);
        m = take(t->nic[1], got[1]);
    }
    g_assert_cmpmem(got[0], n * sizeof(got[0][0]),
                    got[1], m * sizeof(got[1][0]));
}

static void test_differential(const void *opaque)
{
    const uint64_t *features = opaque;
    Twins *t = twins_new(*features);
    unsigned round, i;
    uint8_t off = 0;

    dp_post(t->nic[0], 40, 1600);
    dp_post(t->nic[1], 40, 1600);
    check_round(t, 0);
    command(t, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1);
    for (round = 1; round < 60; round++) {
        for (i = 0; i < 4; i++) {
            random_command(t);
        }
        check_round(t, round);
    }
    g_assert_cmpuint(dp_counter(t->r->qts, "vd0", DP_RX, "drop:filtered"), >,
                     100);
    twins_free(t);
}

/* ---- Commands ---- */

/* What the device has: as text, for comparisons */
static char *rx_filter(QTestState *qts)
{
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'query-rx-filter',"
                              " 'arguments': { 'name': 'nic' } }");
    GString *text = qobject_to_json(QOBJECT(answer));

    qobject_unref(answer);
    return g_string_free(text, false);
}

typedef struct Bad {
    const char *name;
    uint8_t class;
    uint8_t command;
    unsigned len;
    const char *data;
} Bad;

static const Bad bad_commands[] = {
    { "class", 77, 0, 1, "\1" },
    { "mode", VIRTIO_NET_CTRL_RX, 6, 1, "\1" },
    { "mode without a value", VIRTIO_NET_CTRL_RX, 0, 0, "" },
    { "address command", VIRTIO_NET_CTRL_MAC, 2, 6, "\2\2\2\2\2\2" },
    { "short address", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 5,
      "\2\2\2\2\2" },
    { "long address", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 7,
      "\2\2\2\2\2\2\2" },
    { "no table", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 0, "" },
    { "one table", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 4,
      "\0\0\0\0" },
    { "short table", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 13,
      "\1\0\0\0\2\2\2\2\2\0\0\0\0" },
    { "short second table", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
      13, "\0\0\0\0\1\0\0\0\3\3\3\3\3" },
    { "longer than two tables", VIRTIO_NET_CTRL_MAC,
      VIRTIO_NET_CTRL_MAC_TABLE_SET, 9, "\0\0\0\0\0\0\0\0\0" },
    /* Six times this is 2^32 + 2 */
    { "table of 4 GB", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 10,
      "\253\252\252\052\2\2\0\0\0\0" },
    { "second table of 4 GB", VIRTIO_NET_CTRL_MAC,
      VIRTIO_NET_CTRL_MAC_TABLE_SET, 10, "\0\0\0\0\253\252\252\052\2\2" },
    { "VLAN 4096", VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 2,
      "\0\020" },
    { "half a VLAN", VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 1, "\1" },
    { "VLAN command", VIRTIO_NET_CTRL_VLAN, 2, 2, "\1\0" },
    { "offloads", VIRTIO_NET_CTRL_GUEST_OFFLOADS,
      VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 8, "\1\0\0\0\0\0\0\1" },
};

/* They get VIRTIO_NET_ERR, and change nothing */
static void test_bad_commands(const void *opaque)
{
    const uint64_t features = FEATURES | DP_FEATURE(VIRTIO_NET_F_CTRL_VLAN) |
                              DP_FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
    const uint8_t table[] = { 1, 0, 0, 0, 2, 4, 4, 4, 4, 4,
                              1, 0, 0, 0, 3, 4, 4, 4, 4, 4 };
    Twins *t = twins_new(features);
    g_autofree char *before = NULL;
    uint8_t off = 0;
    unsigned i;

    command(t, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1);
    command(t, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table,
            sizeof(table));
    command(t, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\5\0", 2);
    before = rx_filter(t->r->qts);
    for (i = 0; i < ARRAY_SIZE(bad_commands); i++) {
        const Bad *bad = &bad_commands[i];
        g_autofree char *after = NULL;

        g_test_message("%s", bad->name);
        g_assert_cmpint(command(t, bad->class, bad->command, bad->data,
                                bad->len), ==, VIRTIO_NET_ERR);
        after = rx_filter(t->r->qts);
        g_assert_cmpstr(after, ==, before);
    }
    dp_post(t->nic[0], 40, 1600);
    dp_post(t->nic[1], 40, 1600);
    check_round(t, 1);
    twins_free(t);
}

/* ---- A filter without a twin ---- */

static void send_to(int sock, const uint8_t *mac, size_t len, uint8_t seed)
{
    g_autofree uint8_t *frame = g_malloc(len);

    dp_make_frame(frame, len, seed);
    memcpy(frame, mac, 6);
    dp_sock_send(sock, NULL, frame, len);
}

static void set_promisc(DpRig *r, uint8_t on)
{
    g_assert_cmpint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_RX,
                                VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), ==,
                    VIRTIO_NET_OK);
}

/* Only the second of two frames gets to the guest */
static void check_filter(DpRig *r, int sock, size_t len)
{
    static const uint8_t other[] = { 2, 2, 2, 2, 2, 2 };
    uint64_t before = dp_counter(r->qts, "vd0", DP_RX, "drop:filtered");

    dp_post(r->nic, 4, DP_MAX_FRAME);
    send_to(sock, other, len, 1);
    send_to(sock, nic_mac, len, 2);
    g_assert_cmpuint(dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME), ==, len);
    g_assert_cmpmem(r->got, 6, nic_mac, 6);
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:filtered", before + 1);
    g_assert_false(dp_has_used(r->rx));
}

/* Long frames are looked at when they are in the guest's buffers already */
static void test_direct(const void *opaque)
{
    DpRig *r;
    unsigned i;

    r = dp_rig_new(FEATURES | DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    dp_if_set_mtu("tap0", 65521);
    set_promisc(r, 0);
    for (i = 0; i < 10; i++) {
        check_filter(r, r->sock, 20000);
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "direct-packets"), >, 3);
    dp_rig_free(r);
}

/* A reset makes the device promiscuous again */
static void test_reset(const void *opaque)
{
    static const uint8_t other[] = { 2, 2, 2, 2, 2, 2 };
    DpRig *r = dp_rig_new(FEATURES | DP_FEATURE(VIRTIO_NET_F_CTRL_VLAN));

    set_promisc(r, 0);
    check_filter(r, r->sock, 100);
    dp_rig_restart(r);
    dp_post(r->nic, 4, 1600);
    send_to(r->sock, other, 100, 1);
    g_assert_cmpuint(dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME), ==, 100);
    g_assert_cmpmem(r->got, 6, other, 6);
    set_promisc(r, 0);
    check_filter(r, r->sock, 100);
    dp_rig_free(r);
}

/* The guest gets on vhost-dp-null what it sends: any driver is filtered */
static void test_loopback(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .null = true, .driver = "loopback=on",
                                         .features = FEATURES }, false);
    unsigned i;

    set_promisc(r, 0);
    dp_post(r->nic, 8, 1600);
    for (i = 0; i < 4; i++) {
        dp_make_frame(r->frame, 100, i);
        memcpy(r->frame, nic_mac, 6);
        r->frame[5] += i & 1;
        dp_transmit(r->nic, NULL, r->frame, 100);
    }
    for (i = 0; i < 4; i += 2) {
        size_t len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

        dp_make_frame(r->frame, 100, i);
        memcpy(r->frame, nic_mac, 6);
        dp_assert_frame(r->got, len, r->frame, 100);
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "drop:filtered", 2);
    dp_rig_free(r);
}

/* ---- Migration: the filter comes along, to stock tap and back ---- */

static void go_to(DpRig *r, const char *netdev, bool stock)
{
    close(r->sock);
    dp_migrate_by_file(r, netdev, false);
    r->nic->queue[DP_RX].stock = r->nic->queue[DP_TX].stock = stock;
    r->sock = dp_sock_open("tap0", false);
    dp_wait_until(dp_nic_link(r->nic));
}

/* The guest gets VLAN 5, 33:33:00:00:00:07 and its own address alone */
static void check_migrated(DpRig *r)
{
    static const uint8_t multi[] = { 0x33, 0x33, 0, 0, 0, 7 };
    static const uint8_t other[] = { 0x33, 0x33, 0, 0, 0, 8 };
    static const struct {
        const uint8_t *to;
        uint16_t vlan;
        bool passes;
    } cases[] = {
        { multi, 0, true }, { other, 0, false }, { multi, 6, false },
        { nic_mac, 0, true }, { nic_mac, 5, true }, { nic_mac, 6, false },
        { broadcast, 0, false }, { other, 5, false }, { multi, 5, true },
    };
    unsigned i;

    dp_post(r->nic, ARRAY_SIZE(cases), 1600);
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        dp_make_frame(r->frame, 100, i);
        memcpy(r->frame, cases[i].to, 6);
        if (cases[i].vlan) {
            stw_be_p(r->frame + 12, ETH_P_8021Q);
            stw_be_p(r->frame + 14, cases[i].vlan);
        }
        dp_sock_send(r->sock, NULL, r->frame, 100);
        if (cases[i].passes) {
            size_t len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

            dp_assert_frame(r->got, len, r->frame, 100);
        }
    }
    /* Use up the buffers that are left, so that rings are empty */
    set_promisc(r, 1);
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        if (!cases[i].passes) {
            send_to(r->sock, other, 100, i);
            dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        }
    }
    set_promisc(r, 0);
}

static void test_migration(const void *opaque)
{
    static const uint8_t table[] = { 0, 0, 0, 0,
                                     1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 7 };
    DpRig *r = dp_rig_new(FEATURES | DP_FEATURE(VIRTIO_NET_F_CTRL_VLAN) |
                          DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    uint8_t on = 1;

    set_promisc(r, 0);
    dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, &on, 1);
    dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
                table, sizeof(table));
    dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD,
                "\5\0", 2);
    check_migrated(r);
    go_to(r, "-netdev tap,id=vd0,ifname=tap0,script=no,downscript=no,vhost=off",
          true);
    check_migrated(r);
    go_to(r, DP_NETDEV, false);
    check_migrated(r);
    dp_rig_free(r);
}

/* ---- What leaves: mac-spoof-check ---- */

static uint64_t spoofed(DpRig *r)
{
    return dp_counter(r->qts, "vd0", DP_TX, "drop:spoofed");
}

/* A frame of the guest from @mac, in pieces of @piece bytes; does it leave? */
static bool leaves(DpRig *r, const uint8_t *mac, size_t len, size_t piece)
{
    uint64_t addr = dp_alloc(r->guest, r->nic->hdr_len + len);
    uint64_t before = spoofed(r);
    DpBuf bufs[128];
    unsigned n = 0;
    size_t at, got;

    memset(dp_host(r->guest, addr), 0, r->nic->hdr_len);
    dp_make_frame(r->frame, len, piece);
    memcpy(r->frame + 6, mac, 6);
    memcpy(dp_host(r->guest, addr + r->nic->hdr_len), r->frame, len);
    for (at = 0; at < r->nic->hdr_len + len; at += piece) {
        bufs[n++] = (DpBuf) { .addr = addr + at,
                              .len = MIN(piece, r->nic->hdr_len + len - at) };
    }
    dp_add(r->tx, bufs, n);
    dp_publish(r->tx);
    dp_wait_used(r->tx, NULL);
    if (spoofed(r) != before) {
        g_assert_cmpuint(spoofed(r), ==, before + 1);
        return false;
    }
    got = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got, DP_MAX_FRAME,
                       DP_TIMEOUT_US);
    dp_assert_frame(r->got, got, r->frame, len);
    return true;
}

static void test_spoof(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .netdev = "mac-spoof-check=on", .features = FEATURES }, false);
    static const uint8_t other[] = { 0x52, 0x54, 0, 0x12, 0x34, 0x57 };
    static const size_t pieces[] = { 10, 13, 17, 25, 26, 100, 2000 };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(pieces); i++) {
        g_assert_true(leaves(r, nic_mac, 400, pieces[i]));
        g_assert_false(leaves(r, other, 400, pieces[i]));
    }
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_TX, "packets"), ==,
                     ARRAY_SIZE(pieces));
    /* The guest's new address, and back */
    dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
                other, sizeof(other));
    g_assert_true(leaves(r, other, 60, 100));
    g_assert_false(leaves(r, nic_mac, 60, 100));
    dp_rig_restart(r);
    g_assert_true(leaves(r, nic_mac, 60, 100));
    g_assert_false(leaves(r, other, 60, 100));

    /* What is too short to have a sender is that */
    dp_transmit(r->nic, NULL, r->frame, 13);
    dp_wait_counter(r->qts, "vd0", DP_TX, "drop:too-short", 1);
    dp_rig_free(r);
}

/* Segments, and frames with a checksum to be computed, are no way round it */
static void test_spoof_metadata(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .netdev = "mac-spoof-check=on", .driver = opaque,
        .features = FEATURES | DP_FEATURE(VIRTIO_NET_F_CSUM) |
                    DP_FEATURE(VIRTIO_NET_F_HOST_TSO4) }, true);
    struct virtio_net_hdr hdr, got;
    unsigned i;

    for (i = 0; i < 4; i++) {
        uint8_t gso = i & 1 ? VIRTIO_NET_HDR_GSO_TCPV4 : 0;
        size_t len = gso ? 4000 : 600;

        hdr = dp_make_hdr(IPPROTO_TCP, gso, gso ? 1000 : 0);
        dp_make_ip_frame(r->frame, len, IPPROTO_TCP, i);
        memcpy(r->frame + 6, nic_mac, 6);
        r->frame[11] += i / 2;
        dp_transmit(r->nic, &hdr, r->frame, len);
        if (i < 2) {
            g_assert_cmpuint(dp_sock_recv(r->sock, ETH_P_IP, &got, r->got,
                                          DP_MAX_FRAME, DP_TIMEOUT_US), >, 0);
            while (dp_sock_recv(r->sock, ETH_P_IP, &got, r->got, DP_MAX_FRAME,
                                DP_QUIET_US)) {
                continue;
            }
        }
    }
    g_assert_cmpuint(spoofed(r), ==, 2);
    g_assert_cmpuint(dp_sock_recv(r->sock, ETH_P_IP, &got, r->got,
                                  DP_MAX_FRAME, DP_QUIET_US), ==, 0);
    dp_rig_free(r);
}

/* A guest that must not change its address cannot */
static void test_spoof_fixed(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .netdev = "mac-spoof-check=on",
        .device = "disable-legacy=on,ctrl_mac_addr=off",
        .features = FEATURES & ~DP_FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) },
        false);
    static const uint8_t other[] = { 0x52, 0x54, 0, 0x12, 0x34, 0x57 };

    dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
                other, sizeof(other));
    g_assert_false(leaves(r, other, 60, 100));
    g_assert_true(leaves(r, nic_mac, 60, 100));
    dp_rig_free(r);
}

/* By default, nothing is looked at */
static void test_spoof_off(const void *opaque)
{
    static const uint8_t other[] = { 0x52, 0x54, 0, 0x12, 0x34, 0x57 };
    DpRig *r = dp_rig_new(FEATURES);

    g_assert_true(leaves(r, other, 60, 100));
    dp_rig_free(r);
}

/* QEMU's own announcements leave, whatever the guest's address is */
static void test_spoof_announce(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .netdev = "mac-spoof-check=on", .features = FEATURES }, false);

    qtest_qmp_assert_success(r->qts, "{ 'execute': 'announce-self',"
                             " 'arguments': { 'initial': 50, 'max': 50,"
                             " 'rounds': 1, 'step': 0 } }");
    g_assert_cmpuint(dp_sock_recv(r->sock, ETH_P_RARP, NULL, r->got,
                                  DP_MAX_FRAME, DP_TIMEOUT_US), >, 0);
    g_assert_cmpuint(spoofed(r), ==, 0);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    static const uint64_t with_vlan =
        FEATURES | DP_FEATURE(VIRTIO_NET_F_CTRL_VLAN);
    static const uint64_t without_vlan = FEATURES;

    dp_test_init(&argc, &argv);
    dp_add_ring_test("filter/differential", &with_vlan, test_differential);
    dp_add_test("filter/differential-without-vlan", &without_vlan,
                test_differential);
    dp_add_test("filter/bad-commands", NULL, test_bad_commands);
    dp_add_ring_test("filter/direct", NULL, test_direct);
    dp_add_test("filter/reset", NULL, test_reset);
    dp_add_test("filter/loopback", NULL, test_loopback);
    dp_add_ring_test("filter/migration", NULL, test_migration);
    dp_add_ring_test("spoof/frames", NULL, test_spoof);
    dp_add_test("spoof/metadata", NULL, test_spoof_metadata);
    dp_add_test("spoof/metadata-in-software", "offloads=off",
                test_spoof_metadata);
    dp_add_test("spoof/fixed", NULL, test_spoof_fixed);
    dp_add_test("spoof/off", NULL, test_spoof_off);
    dp_add_test("spoof/announce", NULL, test_spoof_announce);
    return g_test_run();
}
