/*
 * vhost-dp: a netdev moves to another driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: vhost-dp-set-driver claims and opens the new driver,
 * tells it what the guest wants, and has the ports follow, each in its IOThread
 * (port_follow_driver()).  Meanwhile both drivers are open, and are told what
 * the guest changes.  Ports that have followed schedule the netdev's bottom
 * half in the main loop.  With the last of them it closes the old driver; when
 * one of them could not attach the new driver, it has all of them go back, and
 * then closes the new one.
 *
 * The QMP command is a coroutine, so nobody waits for it with the BQL held; the
 * main loop does wait for the HMP command.  What happens meanwhile (the guest
 * resets the device, the VM stops, the netdev is deleted) happens as at any
 * other time.  The QMP command also waits for the new driver's peer to connect,
 * before it takes the old driver away from the guest.
 *
 * A filter is put in by moving to a chain that ends with the chain that the
 * netdev has, and taken out by moving to the end of its chain.  The drivers
 * that both chains have stay open: see vhost_dp_driver_claim_instead().
 */

#include "qemu/osdep.h"
#include "qemu/coroutine.h"
#include "qemu/timer.h"
#include "migration/misc.h"
#include "monitor/hmp.h"
#include "net/announce.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-net.h"
#include "qapi/qapi-commands-vhost-dp.h"
#include "qapi/qapi-events-vhost-dp.h"
#include "qapi/qapi-visit-net.h"
#include "qobject/qdict.h"
#include "netdev.h"
#include "trace.h"

/* How long the command waits for the new driver's peer; how often it looks */
#define MOVE_PEER_MS 5000
#define MOVE_LOOK_MS 10

/* What to do if the new driver's peer is not connected yet */
typedef enum NetdevPeerPolicy {
    NETDEV_PEER_AWAIT,
    NETDEV_PEER_REQUIRE,        /* it cannot connect: the main loop waits */
} NetdevPeerPolicy;

typedef enum VhostDPNetdevMoveState {
    NETDEV_MOVE_WAITS,          /* for the peer; no port knows of the driver */
    NETDEV_MOVE_TO_NEW,         /* the ports follow */
    NETDEV_MOVE_BACK,           /* the ports return to the old driver */
    NETDEV_MOVE_DONE,           /* the netdev no longer knows of the move */
} VhostDPNetdevMoveState;

/* On the stack of the command's coroutine */
typedef struct VhostDPNetdevMove {
    VhostDPNetdevMoveState state;
    VhostDPDriver *drv;         /* the new one */
    VhostDPCaps caps;
    char *why;                  /* what did not work, or NULL */
    QemuCoSleep sleep;          /* of the command */
} VhostDPNetdevMove;

/* ---- What the guest wants of its driver ---- */

static void netdev_tell_offloads(const VhostDPNetdev *netdev,
                                 VhostDPDriver *drv, const VhostDPCaps *caps)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_GET_CLASS(drv);

    /* A driver that is in both chains may have been told something else */
    if (dc->set_offload && (caps->rx_offloads || netdev->move)) {
        dc->set_offload(drv, netdev->offloads & caps->rx_offloads);
    }
}

void vhost_dp_netdev_tell_offloads(VhostDPNetdev *netdev)
{
    netdev_tell_offloads(netdev, netdev->drv, &netdev->caps);
    /* On the way back a driver in both chains keeps what the old one takes */
    if (netdev->move && netdev->move->state != NETDEV_MOVE_BACK) {
        netdev_tell_offloads(netdev, netdev->move->drv, &netdev->move->caps);
    }
}

static void netdev_tell_filter(const VhostDPNetdev *netdev, VhostDPDriver *drv)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_GET_CLASS(drv);

    if (dc->set_rx_filter && netdev->control) {
        dc->set_rx_filter(drv, netdev->control);
    }
}

void vhost_dp_netdev_tell_filter(VhostDPNetdev *netdev)
{
    netdev_tell_filter(netdev, netdev->drv);
    if (netdev->move) {
        netdev_tell_filter(netdev, netdev->move->drv);
    }
}

/* ---- The end of a move ---- */

/* The command may go on before this returns */
static void netdev_end_move(VhostDPNetdev *netdev)
{
    VhostDPNetdevMove *move = netdev->move;

    netdev->move = NULL;
    move->state = NETDEV_MOVE_DONE;
    qemu_co_sleep_wake(&move->sleep);
}

static void netdev_moved(VhostDPNetdev *netdev)
{
    VhostDPNetdevMove *move = netdev->move;
    VhostDPDriver *old = netdev->drv;
    g_autofree char *old_id = g_strdup(old->id);

    netdev->drv = move->drv;
    netdev->caps = move->caps;
    vhost_dp_driver_release(old);
    vhost_dp_netdev_ask_driver(netdev);
    trace_vhost_dp_netdev_moved(netdev->id, old_id, netdev->drv->id);
    qapi_event_send_vhost_dp_driver_changed(netdev->id, netdev->drv->id,
                                            old_id);
    /* The new driver's peer is reported there */
    qemu_bh_schedule(netdev->link_bh);
    netdev_end_move(netdev);
}

static void netdev_moved_back(VhostDPNetdev *netdev)
{
    vhost_dp_driver_release(netdev->move->drv);
    netdev_end_move(netdev);
}

void vhost_dp_netdev_follow_driver(VhostDPNetdev *netdev)
{
    VhostDPNetdevMove *move = netdev->move;
    g_autofree char *why = NULL;

    if (!move || move->state == NETDEV_MOVE_WAITS ||
        netdev->nlive < netdev->nqueues) {
        return;
    }
    switch (vhost_dp_portset_follows(netdev->ports, &why)) {
    case VHOST_DP_PORTSET_MOVING:
        break;
    case VHOST_DP_PORTSET_REFUSED:
        trace_vhost_dp_netdev_refused(netdev->id, move->drv->id, why);
        move->why = g_steal_pointer(&why);
        move->state = NETDEV_MOVE_BACK;
        /* A driver that is in both chains was told what the new one takes */
        netdev_tell_offloads(netdev, netdev->drv, &netdev->caps);
        vhost_dp_portset_set_driver(netdev->ports, netdev->drv, &netdev->caps,
                                    true);
        break;
    case VHOST_DP_PORTSET_FOLLOWED:
        if (move->state == NETDEV_MOVE_BACK) {
            netdev_moved_back(netdev);
        } else {
            netdev_moved(netdev);
        }
        break;
    }
}

void vhost_dp_netdev_release_driver(VhostDPNetdev *netdev)
{
    VhostDPNetdevMove *move = netdev->move;

    vhost_dp_driver_release(netdev->drv);
    if (move) {
        g_free(move->why);
        move->why = g_strdup("the netdev was deleted meanwhile");
        netdev_moved_back(netdev);
    }
}

/* ---- The command ---- */

static bool netdev_peer_is_missing(const VhostDPNetdevMove *move)
{
    g_auto(VhostDPDriverInfo) info = {};

    vhost_dp_driver_query(move->drv, &move->caps, &info);
    return info.peer && !info.peer->connected;
}

/* Without a peer the guest would have no link.  Returns false if none comes. */
static bool coroutine_fn netdev_wait_for_peer(VhostDPNetdevMove *move,
                                              NetdevPeerPolicy policy)
{
    int64_t end = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + MOVE_PEER_MS;

    if (policy == NETDEV_PEER_REQUIRE && netdev_peer_is_missing(move)) {
        move->why = g_strdup("its peer is not connected yet; the QMP command "
                             "vhost-dp-set-driver waits for it");
        return false;
    }
    while (move->state != NETDEV_MOVE_DONE && netdev_peer_is_missing(move)) {
        if (qemu_clock_get_ms(QEMU_CLOCK_REALTIME) > end) {
            move->why = g_strdup_printf("its peer has not connected within %d "
                                        "seconds", MOVE_PEER_MS / 1000);
            return false;
        }
        qemu_co_sleep_ns_wakeable(&move->sleep, QEMU_CLOCK_REALTIME,
                                  MOVE_LOOK_MS * SCALE_MS);
    }
    return true;
}

/* The new driver is open.  Returns when the netdev uses it, or does not. */
static void coroutine_fn netdev_move(VhostDPNetdev *netdev,
                                     VhostDPNetdevMove *move,
                                     NetdevPeerPolicy policy)
{
    netdev->move = move;
    netdev_tell_offloads(netdev, move->drv, &move->caps);
    netdev_tell_filter(netdev, move->drv);
    if (!netdev_wait_for_peer(move, policy)) {
        /* No port knows of it */
        netdev_tell_offloads(netdev, netdev->drv, &netdev->caps);
        netdev_moved_back(netdev);
        return;
    }
    if (move->state != NETDEV_MOVE_DONE) {
        move->state = NETDEV_MOVE_TO_NEW;
        vhost_dp_portset_set_driver(netdev->ports, move->drv, &move->caps,
                                    false);
    }
    while (move->state != NETDEV_MOVE_DONE) {
        qemu_co_sleep(&move->sleep);
    }
}

static void netdev_announce(const VhostDPNetdev *netdev)
{
    g_autoptr(AnnounceParameters) params =
        QAPI_CLONE(AnnounceParameters, migrate_announce_params());

    params->id = g_strdup_printf("vhost-dp-set-driver:%s", netdev->id);
    params->has_interfaces = true;
    QAPI_LIST_PREPEND(params->interfaces,
                      g_strdup(netdev->queue[0]->nc.peer->name));
    qmp_announce_self(params, &error_abort);
}

static VhostDPNetdev *netdev_find_to_move(const char *id, const char *driver,
                                          Error **errp)
{
    VhostDPNetdev *netdev = vhost_dp_netdev_find(id, errp);

    if (!netdev) {
        return NULL;
    }
    if (netdev->move) {
        error_setg(errp, "vhost-dp netdev '%s' is on its way to driver '%s'",
                   id, netdev->move->drv->id);
        return NULL;
    }
    if (!strcmp(netdev->drv->id, driver)) {
        error_setg(errp, "vhost-dp netdev '%s': driver=%s is what it has", id,
                   driver);
        return NULL;
    }
    return netdev;
}

static void coroutine_fn netdev_set_driver(const char *id, const char *driver,
                                           bool announce,
                                           NetdevPeerPolicy policy,
                                           Error **errp)
{
    VhostDPNetdev *netdev = netdev_find_to_move(id, driver, errp);
    VhostDPNetdevMove move = {};

    if (!netdev) {
        return;
    }
    move.drv = vhost_dp_driver_claim_instead(driver, id, netdev->drv,
                                             netdev->nqueues, errp);
    if (!move.drv) {
        return;
    }
    vhost_dp_driver_get_caps(move.drv, &move.caps);
    trace_vhost_dp_netdev_move(id, netdev->drv->id, driver);
    netdev_move(netdev, &move, policy);
    /* From here on the netdev may be another one, or gone */
    if (move.why) {
        error_setg(errp, "vhost-dp netdev '%s': driver=%s: %s", id, driver,
                   move.why);
        g_free(move.why);
    } else if (announce) {
        netdev = vhost_dp_netdev_find(id, NULL);
        if (netdev && netdev->queue[0]->nc.peer) {
            netdev_announce(netdev);
        }
    }
}

void coroutine_fn qmp_vhost_dp_set_driver(const char *id, const char *driver,
                                          bool has_announce, bool announce,
                                          Error **errp)
{
    netdev_set_driver(id, driver, has_announce && announce, NETDEV_PEER_AWAIT,
                      errp);
}

/*
 * The main loop waits for an HMP command, and looks at no peer's socket
 * meanwhile.  The ports follow in their own threads.
 */
void coroutine_fn hmp_vhost_dp_set_driver(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    netdev_set_driver(qdict_get_str(qdict, "id"),
                      qdict_get_str(qdict, "driver"),
                      qdict_get_try_bool(qdict, "announce", false),
                      NETDEV_PEER_REQUIRE, &err);
    hmp_handle_error(mon, err);
}
