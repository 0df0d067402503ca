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
    VhostDPCaps caps;
    uint32_t offloads;          /* that the guest takes */
    uint32_t busy_poll_us;
    VhostDPPortSet *ports;      /* from the first to the last queue's life */
    unsigned nqueues;
    NetVhostDPState **queue;    /* nqueues; NULL once cleaned up */
    unsigned nlive;             /* queues that are not cleaned up */

    /* The link: see netdev_update_link() */
    QEMUBH *link_bh;
    VMChangeStateEntry *vm_change;
    QEMUTimer link_timer;       /* when link_log_at has come */
    int64_t link_log_at;        /* ms, QEMU_CLOCK_REALTIME: the next line */
    int64_t link_quiet_until;   /* the same: the driver's peer is to come */
    bool link_logged_down;
    NetClientState *nic;        /* that the BH saw last; may be gone */
    bool nic_down;              /* what the BH left there */
    bool user_changed;          /* set_link was used since the BH ran */
    bool user_down;             /* what set_link said */
    bool driver_down;           /* what drivers said */
    char *driver_reason;        /* and why */
    bool start_failed;          /* the last time that vhost was started */
    QEMUTimer retry_timer;      /* to forget that, so that it starts again */
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

/* All vhost-dp netdevs, for the query.  BQL. */
extern VhostDPNetdevList vhost_dp_netdevs;

#endif /* NET_VHOST_DP_NETDEV_H */
