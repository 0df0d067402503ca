/*
 * vhost-dp: the netdev, for the rest of QEMU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_NETDEV_H
#define NET_VHOST_DP_NETDEV_H

#include "qemu/error-report-limited.h"
#include "qemu/timer.h"
#include "net/net.h"
#include "net/vhost-dp-control.h"
#include "port.h"

typedef struct NetVhostDPState NetVhostDPState;

/*
 * VhostDPNetdev: what the queue pairs of one -netdev vhost-dp share
 *
 * Everything is guarded by the BQL, unless it says otherwise.
 */
typedef struct VhostDPNetdev {
    char *id;
    VhostDPDriver *drv;
    VhostDPCaps caps;           /* of @drv */
    struct VhostDPNetdevMove *move; /* to another driver, or NULL */
    uint32_t offloads;          /* accepted by the guest */
    uint32_t busy_poll_us;
    struct VhostDPControl *control; /* a reference: what the ports have */
    bool mac_spoof_check;
    VhostDPPortSet *ports;      /* while there is at least one queue */
    unsigned nqueues;
    NetVhostDPState **queue;    /* nqueues; NULL once cleaned up */
    unsigned nlive;             /* queues that are not cleaned up */

    /* The link: see netdev_update_link() */
    QEMUBH *link_bh;
    VMChangeStateEntry *vm_change;
    QEMUTimer link_timer;       /* fires at link_log_at */
    int64_t link_log_at;        /* ms, QEMU_CLOCK_REALTIME: the next log line */
    int64_t link_quiet_until;   /* grace period for the peer to connect; ms */
    bool link_logged_down;
    NetClientState *nic;        /* at the BH's last run; may be freed */
    bool nic_down;              /* the link state that the BH has set there */
    bool user_changed;          /* set_link was used since the BH's last run */
    bool user_down;             /* the link state set by set_link */
    bool driver_down;           /* the link state reported by drivers */
    char *driver_reason;        /* why drivers reported it down */
    bool peer_connected;        /* as VHOST_DP_PEER has told */
    bool start_failed;          /* the last start of vhost has failed */
    QEMUTimer retry_timer;      /* clears start_failed, so vhost starts again */
    ErrorReportLimit report_limit;

    QTAILQ_ENTRY(VhostDPNetdev) next;
} VhostDPNetdev;

struct NetVhostDPState {
    NetClientState nc;
    struct vhost_net *vhost_net;
    VhostDPNetdev *netdev;
    VhostDPEnginePort *port;
};

typedef QTAILQ_HEAD(, VhostDPNetdev) VhostDPNetdevList;

/* All vhost-dp netdevs, for query-vhost-dp.  BQL. */
extern VhostDPNetdevList vhost_dp_netdevs;

/* The state of a client.  @nc is of type NET_CLIENT_DRIVER_VHOST_DP. */
static inline NetVhostDPState *netdev_state(NetClientState *nc)
{
    assert(nc->info->type == NET_CLIENT_DRIVER_VHOST_DP);
    return DO_UPCAST(NetVhostDPState, nc, nc);
}

/* What virtio-net asks and tells the netdev: see netdev-virtio.c */
extern const VirtIONetBackend vhost_dp_virtio_net;

struct VirtIONet;

/**
 * vhost_dp_netdev_find: the netdev with the id @id
 *
 * Lock: BQL.  Returns NULL with @errp set if there is none.
 */
VhostDPNetdev *vhost_dp_netdev_find(const char *id, Error **errp);

/**
 * vhost_dp_netdev_ask_driver: have "info network" show what the driver is
 *
 * Also gives a peer that is not connected yet some time, before the log says
 * that it is missing.
 *
 * Lock: BQL.
 */
void vhost_dp_netdev_ask_driver(VhostDPNetdev *netdev);

/* ---- netdev-driver.c ---- */

/**
 * vhost_dp_netdev_tell_offloads: tell the driver which offloads of received
 *                                frames the guest accepts
 *
 * During vhost-dp-set-driver the new driver is told as well.  Lock: BQL.
 */
void vhost_dp_netdev_tell_offloads(VhostDPNetdev *netdev);

/**
 * vhost_dp_netdev_tell_filter: tell the driver which frames the guest wants
 *
 * During vhost-dp-set-driver the new driver is told as well.  Lock: BQL.
 */
void vhost_dp_netdev_tell_filter(VhostDPNetdev *netdev);

/**
 * vhost_dp_netdev_follow_driver: go on with vhost-dp-set-driver
 *
 * Called after a port has taken a driver, or was refused by it.  Does nothing
 * while no command runs.
 *
 * Thread: main loop.  Lock: BQL.
 */
void vhost_dp_netdev_follow_driver(VhostDPNetdev *netdev);

/**
 * vhost_dp_netdev_release_driver: give back the driver
 *
 * Called when the netdev's ports have been freed.  Gives back both drivers, and
 * ends the command, if vhost-dp-set-driver runs.  Lock: BQL.
 */
void vhost_dp_netdev_release_driver(VhostDPNetdev *netdev);

/**
 * vhost_dp_netdev_get_control: what the guest of @n asks for, as it is now
 * @check_source: hold frames back that it sends from other addresses
 *
 * Lock: BQL.  Returns a reference for the caller.
 */
VhostDPControl *vhost_dp_netdev_get_control(const struct VirtIONet *n,
                                            bool check_source);

#endif /* NET_VHOST_DP_NETDEV_H */
