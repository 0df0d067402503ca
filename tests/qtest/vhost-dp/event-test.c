/*
 * vhost-dp: qtests of the events that management gets
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Their rate limit goes by the virtual clock, which stands still in a qtest
 * until the test moves it.
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "bad-chains.h"
#include "guest.h"
#include "peer.h"

/* A limit's time goes by */
static void pass_second(DpRig *r)
{
    qtest_clock_step(r->qts, NANOSECONDS_PER_SECOND + 1);
}

/* Wait for an event of netdev @id.  Returns its data. */
static QDict *wait_for(DpRig *r, const char *name, const char *id)
{
    QDict *event = qtest_qmp_eventwait_ref(r->qts, name);
    QDict *data = qobject_ref(qdict_get_qdict(event, "data"));

    g_assert_cmpstr(qdict_get_str(data, "id"), ==, id);
    qobject_unref(event);
    return data;
}

/* @reason: a word of it, or NULL: the link is up */
static void wait_for_link(DpRig *r, const char *id, const char *reason)
{
    QDict *data = wait_for(r, "VHOST_DP_LINK", id);

    g_assert_cmpint(qdict_get_bool(data, "up"), ==, !reason);
    g_assert_cmpint(qdict_haskey(data, "reason"), ==, !!reason);
    if (reason) {
        g_assert_nonnull(strstr(qdict_get_str(data, "reason"), reason));
    }
    qobject_unref(data);
}

static void check_no_event(DpRig *r, const char *name)
{
    /* Events that were emitted before are there before the answer */
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'query-status' }");
    g_assert_null(qtest_qmp_event_ref(r->qts, name));
}

static void test_link(const void *opaque)
{
    DpRig *r = dp_rig_new(0);

    dp_if_down("tap0");
    wait_for_link(r, "vd0", "down");
    dp_if_up("tap0");
    dp_wait_until(dp_link_is(r, true, NULL));
    check_no_event(r, "VHOST_DP_LINK");
    pass_second(r);
    wait_for_link(r, "vd0", NULL);

    /* Of several changes within the limit's time the last one is reported */
    pass_second(r);
    dp_if_down("tap0");
    wait_for_link(r, "vd0", "down");
    dp_if_up("tap0");
    dp_wait_until(dp_link_is(r, true, NULL));
    dp_if_delete("tap0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    check_no_event(r, "VHOST_DP_LINK");
    pass_second(r);
    wait_for_link(r, "vd0", "deleted");
    check_no_event(r, "VHOST_DP_LINK");
    dp_rig_free(r);
}

/* What one netdev says does not hold back what another one says */
static void test_two(const void *opaque)
{
    DpRig *r;

    dp_tap_new("tap1", IFF_VNET_HDR);
    dp_if_up("tap1");
    r = dp_rig_start(&(DpSetup) {
        .more = "-object vhost-dp-tap,id=tap1 "
                "-netdev vhost-dp,id=vd1,driver=tap1 "
                "-device virtio-net-pci,netdev=vd1,addr=05.0,romfile=",
    }, false);
    dp_if_down("tap0");
    wait_for_link(r, "vd0", "down");
    dp_if_down("tap1");
    wait_for_link(r, "vd1", "down");
    dp_rig_free(r);
}

/* @opaque: the queue */
static void test_violation(const void *opaque)
{
    unsigned queue = *(const unsigned *)opaque;
    DpRig *r = dp_rig_new(0);
    Victim victim = {
        .rig = r,
        .q = &r->nic->queue[queue],
        .dir = queue == DP_RX ? VRING_DESC_F_WRITE : 0,
    };
    QDict *data;

    zero_length(&victim);
    dp_publish(victim.q);
    if (queue == DP_RX) {
        dp_make_frame(r->frame, 100, 1);
        dp_sock_send(r->sock, NULL, r->frame, 100);
    }
    data = wait_for(r, "VHOST_DP_VIOLATION", "vd0");
    g_assert_cmpuint(qdict_get_int(data, "queue"), ==, queue);
    g_assert_cmpstr(qdict_get_str(data, "violation"), ==, "zero-length");
    qobject_unref(data);
    check_no_event(r, "VHOST_DP_VIOLATION");
    dp_rig_free(r);
}

/* The guest starts with a ring that is not where one may be (section 2.7) */
static void test_start_failed(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    QDict *data;

    dp_nic_reset(r->nic);
    r->nic->ring_at[DP_TX] = dp_alloc(r->guest, 16 * KiB) + 4;
    dp_nic_start(r->nic, r->features);
    data = wait_for(r, "VHOST_DP_START_FAILED", "vd0");
    g_assert_cmpstr(qdict_get_str(data, "error"), !=, "");
    qobject_unref(data);
    dp_rig_free(r);
}

static void wait_for_peer(DpVu *v, bool connected)
{
    QDict *data = wait_for(v->r, "VHOST_DP_PEER", "vd0");

    g_assert_cmpint(qdict_get_bool(data, "connected"), ==, connected);
    qobject_unref(data);
}

static void test_peer(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=10",
                                               v->path);

    dp_vu_start(v, "", options, 1, 0);
    dp_peer_run(v->peer, 1);
    dp_vu_start_nic(v);
    wait_for_peer(v, true);
    pass_second(v->r);
    dp_peer_disconnect(v->peer);
    wait_for_peer(v, false);
    pass_second(v->r);
    dp_peer_run(v->peer, 1);
    wait_for_peer(v, true);
    dp_vu_free(v);
}

/* The peer of a driver that the netdev has moved to */
static void test_moved_to_peer(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    QDict *response;
    DpRig *r;

    r = v->r = dp_rig_new(0);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'object-add',"
                             " 'arguments': { 'id': 'vu0',"
                             " 'qom-type': 'vhost-dp-vhost-user',"
                             " 'path': %s } }", v->path);
    qtest_qmp_send(r->qts, "{ 'execute': 'vhost-dp-set-driver', 'arguments': {"
                   " 'id': 'vd0', 'driver': 'vu0' } }");
    dp_peer_run(v->peer, 1);
    response = qtest_qmp_receive(r->qts);
    g_assert_true(qdict_haskey(response, "return"));
    qobject_unref(response);
    wait_for_peer(v, true);
    pass_second(r);
    dp_peer_disconnect(v->peer);
    wait_for_peer(v, false);
    dp_vu_free(v);
}

int main(int argc, char **argv)
{
    static const unsigned rx = DP_RX, tx = DP_TX;

    dp_test_init(&argc, &argv);
    dp_add_test("event/link", NULL, test_link);
    dp_add_test("event/two-netdevs", NULL, test_two);
    dp_add_test("event/violation-rx", &rx, test_violation);
    dp_add_test("event/violation-tx", &tx, test_violation);
    dp_add_test("event/start-failed", NULL, test_start_failed);
    dp_add_test("event/peer", NULL, test_peer);
    dp_add_test("event/moved-to-peer", NULL, test_moved_to_peer);
    return g_test_run();
}
