/*
 * vhost-dp: the engine's port (port*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What all files of the engine share.  A file calls only those below it:
 *
 *     port.c          life: wanted and actual state, control's settings
 *     port-query.c    what query-vhost-dp shows of a port
 *     port-turn.c     when to work: kicks, drivers' calls, bottom half, turns
 *     port-settings.c what the netdev says to a port, and asks of it
 *     port-tx.c       bursts from the guest        port-rx.c   to the guest
 *     port-tx-share.c driver queues that are       port-rx-into.c  long frames
 *                     shared                       port-rx-steer.c  other
 *                                                                   pairs'
 *     port-soft.c     offloads in software         port-rx-frame.c  headers
 *     port-frame.c    what both directions need of a queue pair
 *     port-poll.c, port-coalesce.c, port-link.c, port-inbox.c, port-outbox.c,
 *     port-flows.c    do not use a port
 *
 * Each state is written by one file only:
 *
 *     state            values                               written by
 *     driver_state     is the driver attached, and used     port.c
 *     turn.state       does the port work, and when next    port-turn.c
 *     tx->state        what becomes of the guest's frames   port-tx.c
 *     rx->state        what becomes of received frames      port-rx.c
 *     poll.state       are notifications off                port-poll.[ch]
 *     coalesce         is a call delayed, and how long      port-coalesce.c
 *     link             why the link is down                 port-link.c
 *
 * Only the IOThread uses these states, except @link, so no lock guards them.
 * What control wants is in @pair and in @conf, under pair.lock.  Control
 * changes it and schedules the bottom half (port_reconcile()), which brings the
 * states in line.  Before that has run, port_queue_runs() tells a burst that
 * the states belong to an earlier start of the queue, and the burst leaves the
 * queue alone.
 */

#ifndef NET_VHOST_DP_PORT_INT_H
#define NET_VHOST_DP_PORT_INT_H

#include "qemu/bitops.h"
#include "qemu/event_notifier.h"
#include "qemu/host-utils.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "hw/virtio/vhost-dp-pair.h"
#include "net/vhost-dp.h"
#include "net/vhost-dp-control.h"
#include "system/iothread.h"
#include "port-coalesce.h"
#include "port-flows.h"
#include "port-inbox.h"
#include "port-link.h"
#include "port-outbox.h"
#include "port-poll.h"

typedef struct VhostDPEnginePort VhostDPEnginePort;
typedef struct VhostDPPortSet VhostDPPortSet;

/* Private to port-tx.c, and to port-rx*.c */
typedef struct PortTx PortTx;
typedef struct PortRx PortRx;

/* Alignment of what bursts use */
#define PORT_CACHE_LINE 64

/* Bursts are counted by size: 1, 2-3, 4-7 ... 64 */
#define PORT_BURST_SIZES 7

QEMU_BUILD_BUG_ON(VHOST_DP_BURST_FRAMES != 1 << (PORT_BURST_SIZES - 1));

/* Counters of one queue.  The IOThread writes; readers use qatomic_read(). */
typedef struct PortStats {
    uint64_t packets;
    uint64_t bytes;
    uint64_t bursts[PORT_BURST_SIZES];
    uint64_t kicks;
    uint64_t kicks_suppressed;
    uint64_t calls_suppressed;
    uint64_t calls_coalesced;
    uint64_t polls;
    uint64_t poll_hits;
    uint64_t direct;
    uint64_t steered;
    uint64_t soft_checksums;
    uint64_t soft_segments;
    uint64_t drops[VHOST_DP_DROP_REASON__MAX];
} PortStats;

/*
 * Settings by control.  Guarded by pair.lock; written by port.c, under the
 * BQL.
 */
typedef struct PortConf {
    bool dead;                  /* to be detached for good */
    bool nic_down;              /* the NIC's link is down */
    bool hdr_swap;              /* the header's byte order is not the host's */
    uint16_t mtu;               /* negotiated, or 0 */
    unsigned hdr_len;           /* bytes of the virtio-net header */
    uint32_t rx_safe_len;       /* no frame up to this exceeds the MTU */
    uint32_t offloads;          /* accepted by the guest: VHOST_DP_OFFLOAD_* */
    bool checks_source;         /* sent frames have to be the guest's */
    VhostDPControl *control;    /* a reference; NULL before the first start */
    PortCoalesceConf coalesce[VHOST_DP_QUEUES];
    VhostDPDriver *drv;         /* claimed and open: to be attached */
    VhostDPCaps caps;           /* of @drv */
    bool no_way_back;           /* if @drv cannot be attached, there is none */
    unsigned drv_change;        /* counts vhost_dp_portset_set_driver() */
} PortConf;

/*
 *     DETACHED --attach--> ACTIVE <--set_active--> INACTIVE or STEERED
 *     any --the port is deleted--> DETACHED, for good
 *     any --another driver is wanted--> ACTIVE, with that one, or with the old
 *                                       one; DETACHED if neither can
 */
typedef enum PortDriverState {
    PORT_DRIVER_DETACHED,       /* not attached: port_reconcile() tries */
    PORT_DRIVER_ACTIVE,
    PORT_DRIVER_INACTIVE,       /* the guest has disabled the pair */
    PORT_DRIVER_STEERED,        /* and the driver keeps frames away from it */
} PortDriverState;

/*
 *     IDLE, MORE, POLL --notified, or the bottom half--> RUNNING
 *     RUNNING --the turn is over--> IDLE, MORE, POLL or PARKED
 *     PARKED --the bottom half--> RUNNING
 *
 * In MORE and POLL the bottom half is scheduled.  In PARKED the main loop will
 * schedule it.
 */
typedef enum PortTurnState {
    PORT_TURN_IDLE,             /* waits for a kick, or for the driver */
    PORT_TURN_RUNNING,          /* the driver's calls are only noted */
    PORT_TURN_MORE,             /* the time is over, and there is more work */
    PORT_TURN_POLL,             /* no work; looks again after this round */
    PORT_TURN_PARKED,           /* waits for the main loop to ask the vIOMMU */
} PortTurnState;

typedef struct PortTurn {
    PortTurnState state;
    bool news;                  /* the driver has called during this pass */
} PortTurn;

/*
 * VhostDPPortSet: the ports of one netdev
 *
 * They are made together, before the first one works, and freed together, after
 * the last one has detached its driver.  So a port may refer to all other
 * ports; it uses only their inboxes, outboxes and what is said to be atomic.
 */
struct VhostDPPortSet {
    char *netdev;
    void (*link_changed)(void *opaque);
    void *opaque;
    unsigned nattached;         /* atomic: ports whose bottom half is alive */
    QemuEvent detached;         /* set when nattached is zero */
    VhostDPFlows *flows;        /* NULL: one port only */
    unsigned nports;            /* number of ports made so far */
    VhostDPEnginePort *port[];
};

/* The handler of pair.kick[queue].watched */
typedef struct PortKick {
    EventNotifier notifier;
    unsigned queue;
    VhostDPEnginePort *port;
} PortKick;

struct VhostDPEnginePort {
    VhostDPPort port;           /* what the driver sees */

    /* Set once */
    VhostDPPortSet *set;
    unsigned index;             /* in the set */
    PortTx *tx;
    PortRx *rx;
    VhostDPBurst *burst;        /* chains of either queue; pair.lock */
    VhostDPInbox *inbox;        /* frames that other pairs' threads received */
    VhostDPOutbox *outbox;      /* to be sent by another; NULL: one port only */
    unsigned long *outboxes;    /* atomic: bitmap of ports that have put some */
                                /* into theirs, for this one */
    QEMUBH *bh;                 /* in ctx: reconcile, then a turn */

    /* The IOThread's own */
    VhostDPDriver *drv;
    VhostDPDriverClass *dc;     /* of @drv; or that of port-tx-share.c */
    unsigned nqueues;           /* queue pairs that @drv has at present: of */
                                /* the first ports; the others share them */
    unsigned tx_owner;          /* port whose queue sends; atomic: the query */
    PortDriverState driver_state;   /* atomic, as the query reads it */
    PortTurn turn;
    PortPoll poll;
    VhostDPCaps caps;           /* of @drv; tx_offloads changes */
    uint32_t tx_offloads;       /* atomic, for ports that share the queue: */
                                /* those of @caps */
    bool call;                  /* pair.call_pending may be set */
    bool delayed;               /* a PortCoalesce is open */
    bool notes_flows;           /* who sends for a flow, in set->flows */
    bool changed;               /* atomic: port_reconcile() has to run */
    uint32_t fragment_id;       /* for the next IPv6 datagram */
    /* The pair.generation to which the states belong */
    uint32_t generation[VHOST_DP_QUEUES];

    /* Guarded by pair.lock */
    PortConf conf;
    uint32_t admitted;          /* pair.generation that the inbox is open for */

    QEMU_ALIGNED(PORT_CACHE_LINE) VhostDPPair pair;
    QEMU_ALIGNED(PORT_CACHE_LINE) PortStats stats[VHOST_DP_QUEUES];

    /* ---- No burst needs the rest ---- */

    PortCoalesce coalesce[VHOST_DP_QUEUES]; /* the IOThread's own */
    QEMUTimer call_timer;       /* in ctx: when a delayed call is due */
    PortKick kick[VHOST_DP_QUEUES];     /* the IOThread's own */
    PortLink link;

    /* Written by the IOThread, guarded by pair.lock */
    unsigned followed;          /* the last conf.drv_change that was followed */
    char *refusal;              /* why it was not attached then, or NULL */

    /* The IOThread's own */
    uint32_t most_tx_offloads;  /* of @drv */

    /* Set once */
    AioContext *ctx;
    IOThread *iothread;         /* holds a reference */
    char *iothread_name;
    bool own_iothread;          /* made by the port */
};

/* The inbox of the first pair, or NULL if @port is that of the first pair */
static inline VhostDPInbox *port_first_inbox(const VhostDPEnginePort *port)
{
    return port->index ? port->set->port[0]->inbox : NULL;
}

static inline bool port_is_attached(const VhostDPEnginePort *port)
{
    return port->driver_state != PORT_DRIVER_DETACHED;
}

/* Has the driver been told that the guest has disabled the pair? */
static inline bool port_is_inactive(const VhostDPEnginePort *port)
{
    return port->driver_state == PORT_DRIVER_INACTIVE ||
           port->driver_state == PORT_DRIVER_STEERED;
}

#endif /* NET_VHOST_DP_PORT_INT_H */
