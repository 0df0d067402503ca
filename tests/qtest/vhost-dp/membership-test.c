/*
 * vhost-dp: qtests of what an interface receives for the guest
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The drivers of an interface, see net/vhost-dp/drivers/lib/membership.h.  Each
 * uses v0, one end of a veth pair: see veth.h.
 */

#include "qemu/osdep.h"
#include "driver-table.h"
#include "veth.h"

static const uint8_t nic_mac[] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
static const uint8_t group_mac[] = { 0x33, 0x33, 0, 0, 0, 7 };
static const uint8_t other_mac[] = { 0x33, 0x33, 0, 0, 0, 8 };

/* Does v0 receive frames to group_mac, without being promiscuous? */
static bool has_group(void)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned i;

    if (!g_file_get_contents("/proc/thread-self/net/dev_mcast", &text, NULL,
                             NULL)) {
        g_error("no list of multicast addresses");
    }
    lines = g_strsplit(text, "\n", 0);
    for (i = 0; lines[i]; i++) {
        if (strstr(lines[i], " v0 ") && strstr(lines[i], "333300000007")) {
            return true;
        }
    }
    return false;
}

static void ask(DpRig *r, uint8_t class, uint8_t command, const void *data,
                size_t len)
{
    g_assert_cmpint(dp_nic_ctrl(r->nic, class, command, data, len), ==,
                    VIRTIO_NET_OK);
}

static void ask_mode(DpRig *r, uint8_t command, uint8_t on)
{
    ask(r, VIRTIO_NET_CTRL_RX, command, &on, 1);
}

static void send_to(DpRig *r, const uint8_t *mac, unsigned seed)
{
    dp_make_frame(r->frame, 100, seed);
    memcpy(r->frame, mac, ETH_ALEN);
    dp_veth_send(r, 100);
}

/* By all pairs: each filters what its queue of the interface has received */
static uint64_t count_filtered(DpRig *r)
{
    uint64_t n = 0;
    unsigned i;

    for (i = 0; i < r->pairs; i++) {
        n += dp_counter(r->qts, "vd0", 2 * i + DP_RX, "drop:filtered");
    }
    return n;
}

/* The guest gets those frames alone that it asked for */
static void check_filtered(DpRig *r)
{
    uint64_t before = count_filtered(r);
    unsigned i;

    /* A veth has no filter for unicast addresses that are not its own */
    dp_wait_until(dp_if_promiscuity("v0") == 1 && has_group());
    for (i = 0; i < 2; i++) {
        size_t len;

        send_to(r, other_mac, i);
        dp_post(r->nic, 1, 200);
        send_to(r, i ? nic_mac : group_mac, i);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, len, r->frame, 100);
    }
    /* A veth receives the others, too; the engine leaves them out */
    dp_wait_until(count_filtered(r) == before + 2);
}

/* What memberships cannot say is had by receiving everything */
static void check_promiscuous(DpRig *r)
{
    dp_wait_until(dp_if_promiscuity("v0") == 1 && !has_group());
}


/* Of the control queue's commands */
#define FEATURES (DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) | \
                  DP_FEATURE(VIRTIO_NET_F_CTRL_RX) | \
                  DP_FEATURE(VIRTIO_NET_F_CTRL_RX_EXTRA) | \
                  DP_FEATURE(VIRTIO_NET_F_CTRL_VLAN))

static DpRig *rig_new(const char *type, unsigned pairs)
{
    g_autofree char *object = g_strdup_printf("%s,id=v0", type);

    dp_veth_new_queues("v0", "v1", pairs);
    return dp_veth_start(object, FEATURES, pairs);
}

static void check_changes(const char *type, unsigned pairs)
{
    static const uint8_t table[] = { 0, 0, 0, 0,
                                     1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 7 };
    DpRig *r;

    if (!dp_has_driver(type)) {
        return;
    }
    r = rig_new(type, pairs);
    if (r->pairs > 1) {
        dp_nic_set_pairs(r->nic, 1);
    }
    check_promiscuous(r);
    ask(r, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table,
        sizeof(table));
    check_promiscuous(r);
    ask_mode(r, VIRTIO_NET_CTRL_RX_PROMISC, 0);
    check_filtered(r);

    ask(r, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\5\0", 2);
    check_promiscuous(r);
    ask(r, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, "\5\0", 2);
    check_filtered(r);
    ask_mode(r, VIRTIO_NET_CTRL_RX_ALLUNI, 1);
    check_promiscuous(r);
    ask_mode(r, VIRTIO_NET_CTRL_RX_ALLUNI, 0);
    check_filtered(r);

    /* The interface is another one, and is asked for the same */
    dp_if_delete("v0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    dp_veth_renew(r, pairs);
    check_filtered(r);

    dp_nic_reset(r->nic);
    dp_nic_start(r->nic, r->features);
    check_promiscuous(r);
    dp_rig_free(r);
    g_assert_false(has_group());
    dp_wait_until(dp_if_promiscuity("v0") == 0);
}

static void test_changes(const void *opaque)
{
    check_changes(opaque, 1);
}

static void test_changes_multi_queue(const void *opaque)
{
    check_changes(opaque, 4);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_test("membership/af-packet", "vhost-dp-af-packet", test_changes);
    dp_add_test("membership/af-packet-multi-queue", "vhost-dp-af-packet",
                test_changes_multi_queue);
    dp_add_test("membership/af-xdp", "vhost-dp-af-xdp", test_changes);
    dp_add_test("membership/af-xdp-multi-queue", "vhost-dp-af-xdp",
                test_changes_multi_queue);
    return g_test_run();
}
