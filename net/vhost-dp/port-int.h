/*
 * vhost-dp: the engine's port (port*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What all parts of the engine refer to.  Who calls whom, from top to bottom:
 *
 *     port.c          life: wanted and actual state, control's settings, query
 *     port-turn.c     when to work: kicks, drivers' calls, bottom half, turns
 *     port-tx.c       bursts from the guest        port-rx.c   to the guest
 *                                                  port-rx-into.c  long frames
 *     port-soft.c     what driver or guest cannot  port-rx-frame.c  headers
 *     port-frame.c    what both directions need of a queue pair
 *     port-poll.c, port-link.c, port-inbox.c       know no port
 *
 * Each state is written by one file only:
 *
 *     state            values                               written by
 *     driver_state     is it attached, and used             port.c
 *     turn.state       does the port work, or when          port-turn.c
 *     tx->state        what becomes of the guest's frames   port-tx.c
 *     rx->state        what becomes of received frames      port-rx.c
 *     poll.state       are notifications off                port-poll.[ch]
 *     link             why it is down                       port-link.c
 *
 * All of these are the IOThread's own: no lock guards them, and nobody else
 * looks.  What control wants is in @pair and in @conf, under pair.lock.
 * Control changes it and schedules the bottom half (port_reconcile()), which
 * brings the states in line.  Until that has run, a burst sees by
 * port_queue_runs() that the states are about another start of the queue, and
 * leaves it alone.
 */

#ifndef NET_VHOST_DP_PORT_INT_H
#define NET_VHOST_DP_PORT_INT_H

#include "qemu/event_notifier.h"
#include "qemu/host-utils.h"
#include "qemu/thread.h"
#include "hw/virtio/vhost-dp-pair.h"
#include "net/vhost-dp.h"
#include "system/iothread.h"
#include "port-inbox.h"
#include "port-link.h"
#include "port-poll.h"

typedef struct VhostDPEnginePort VhostDPEnginePort;
typedef struct VhostDPPortSet VhostDPPortSet;

/* Private to port-tx.c, and to port-rx*.c */
typedef struct PortTx PortTx;
typedef struct PortRx PortRx;

/* What a burst needs begins with a line of its own */
#define PORT_CACHE_LINE 64

/* Sizes of bursts are counted by powers of two: 1, 2-3, 4-7 ... 64 */
#define PORT_BURST_SIZES 7

QEMU_BUILD_BUG_ON(VHOST_DP_BURST_FRAMES != 1 << (PORT_BURST_SIZES - 1));

/* Counters of one direction.  The IOThread's; read with qatomic_read(). */
typedef struct PortStats {
    uint64_t packets;
    uint64_t bytes;
    uint64_t bursts[PORT_BURST_SIZES];
    uint64_t kicks;
    uint64_t kicks_suppressed;
    uint64_t calls_suppressed;
    uint64_t polls;
    uint64_t poll_hits;
    uint64_t direct;
    uint64_t soft_checksums;
    uint64_t soft_segments;
    uint64_t drops[VHOST_DP_DROP_REASON__MAX];
} PortStats;

/*
 * What control has set.  Guarded by pair.lock; written by port.c, under the
 * BQL.
 */
typedef struct PortConf {
    bool dead;                  /* to be detached for good */
    bool nic_down;              /* the NIC's link is down */
    bool hdr_swap;              /* the header's byte order is not the host's */
    uint16_t mtu;               /* that the guest agreed to, or 0 */
    unsigned hdr_len;           /* of the virtio-net header */
    uint32_t rx_safe_len;       /* no frame up to this exceeds the MTU */
    uint32_t offloads;          /* what the guest takes: VHOST_DP_OFFLOAD_* */
} PortConf;

/*
 *     DETACHED --attach--> ACTIVE <--set_active--> INACTIVE or STEERED
 *     any --the port is dead--> DETACHED, for good
 */
typedef enum PortDriverState {
    PORT_DRIVER_DETACHED,       /* there is none: each reconciling tries */
    PORT_DRIVER_ACTIVE,
    PORT_DRIVER_INACTIVE,       /* the guest disabled the pair (multiqueue) */
    PORT_DRIVER_STEERED,        /* and the driver keeps frames away from it */
} PortDriverState;

/*
 *     IDLE, MORE, POLL --notified, or the bottom half--> RUNNING
 *     RUNNING --the turn is over--> IDLE, MORE, POLL or PARKED
 *     PARKED --the bottom half--> RUNNING
 *
 * MORE and POLL: the bottom half is scheduled.  PARKED: somebody will.
 */
typedef enum PortTurnState {
    PORT_TURN_IDLE,             /* until somebody notifies the port */
    PORT_TURN_RUNNING,          /* a driver's call is noted, and no more */
    PORT_TURN_MORE,             /* the time was over, and not the work */
    PORT_TURN_POLL,             /* without work, to look again */
    PORT_TURN_PARKED,           /* until the main loop has asked the vIOMMU */
} PortTurnState;

typedef struct PortTurn {
    PortTurnState state;
    bool news;                  /* the driver called during the pass */
} PortTurn;

/*
 * VhostDPPortSet: the ports of one netdev
 *
 * They are made together, before the first of them works, and freed together,
 * after the last of them has detached its driver.  So a port may refer to all
 * others; but it touches no more of them than their inboxes.
 */
struct VhostDPPortSet {
    char *netdev;
    VhostDPDriver *drv;
    void (*link_changed)(void *opaque);
    void *opaque;
    unsigned nattached;         /* atomic: ports whose bottom half is alive */
    QemuEvent detached;         /* there is none */
    unsigned nports;            /* until they are all made: that are */
    VhostDPEnginePort *port[];
};

/* The handler of what pair.kick[queue].watched is */
typedef struct PortKick {
    EventNotifier notifier;
    unsigned queue;
    VhostDPEnginePort *port;
} PortKick;

struct VhostDPEnginePort {
    VhostDPPort port;           /* what the driver sees of it */

    /* Set once */
    VhostDPPortSet *set;
    unsigned index;             /* in the set */
    VhostDPDriver *drv;
    VhostDPDriverClass *dc;
    PortTx *tx;
    PortRx *rx;
    VhostDPBurst *burst;        /* chains of either queue; pair.lock */
    VhostDPInbox *inbox;        /* frames that other pairs' threads received */
    QEMUBH *bh;                 /* in ctx: reconcile, then a turn */

    /* The IOThread's own */
    PortDriverState driver_state;   /* atomic, as the query reads it */
    PortTurn turn;
    PortPoll poll;
    VhostDPCaps caps;           /* tx_offloads changes */
    bool call;                  /* pair.call_pending may be set */
    uint32_t fragment_id;       /* for the next IPv6 datagram */
    /* pair.generation at the last look: that the states are about */
    uint32_t generation[VHOST_DP_QUEUES];

    /* Guarded by pair.lock */
    PortConf conf;

    QEMU_ALIGNED(PORT_CACHE_LINE) VhostDPPair pair;
    QEMU_ALIGNED(PORT_CACHE_LINE) PortStats stats[VHOST_DP_QUEUES];

    /* ---- No burst needs the rest ---- */

    bool changed;               /* atomic: the wanted state, so reconcile */
    PortKick kick[VHOST_DP_QUEUES];     /* the IOThread's own */
    PortLink link;

    /* Set once */
    uint32_t most_tx_offloads;
    AioContext *ctx;
    IOThread *iothread;         /* holds a reference */
    char *iothread_name;
    bool own_iothread;          /* made by the port */
};

/* The first pair's, or NULL if this is it */
static inline VhostDPInbox *port_first_inbox(const VhostDPEnginePort *port)
{
    return port->index ? port->set->port[0]->inbox : NULL;
}

static inline bool port_is_attached(const VhostDPEnginePort *port)
{
    return port->driver_state != PORT_DRIVER_DETACHED;
}

/* Has the driver been told that the guest disabled the pair? */
static inline bool port_is_inactive(const VhostDPEnginePort *port)
{
    return port->driver_state == PORT_DRIVER_INACTIVE ||
           port->driver_state == PORT_DRIVER_STEERED;
}

#endif /* NET_VHOST_DP_PORT_INT_H */
