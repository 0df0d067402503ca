/*
 * vhost-dp: what the parts of the engine share (queue*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_QUEUE_INT_H
#define NET_VHOST_DP_QUEUE_INT_H

#include "queue.h"
#include "qemu/event_notifier.h"
#include "qemu/lockable.h"
#include "qemu/queue.h"
#include "qemu/units.h"

/* Frames of QEMU's own that wait for the IOThread, at most */
#define PORT_INJECT_MAX 16

/* Counters of one direction; written by the IOThread, see vhost_dp_count() */
typedef struct PortStats {
    uint64_t packets;
    uint64_t bytes;
    uint64_t bursts;
    uint64_t kicks;
    uint64_t calls_suppressed;
    uint64_t drops[VHOST_DP_DROP_REASON__MAX];
} PortStats;

/* A kick fd with its handler */
typedef struct PortKick {
    EventNotifier notifier;
    int fd;                     /* that the handler is set for, or -1 */
    unsigned queue;
    VhostDPPort *port;
} PortKick;

typedef struct PortInject {
    QSIMPLEQ_ENTRY(PortInject) next;
    size_t len;
    uint8_t data[];
} PortInject;

struct VhostDPPort {
    VhostDPBackend backend;

    /* Set once */
    char *netdev;
    unsigned index;
    VhostDPDriver *drv;
    VhostDPDriverClass *dc;
    VhostDPCaps caps;
    IOThread *iothread;         /* holds a reference */
    char *iothread_name;
    bool own_iothread;          /* made by the port */
    AioContext *ctx;
    QEMUBH *bh;                 /* in ctx: reconcile, then a turn */
    void (*link_changed)(void *opaque);
    void *opaque;

    /* Atomic */
    bool changed;               /* the wanted state: reconcile */

    QemuEvent detached;

    /* Guarded by backend.lock; written under the BQL */
    bool dead;                  /* to be detached for good */
    bool nic_down;              /* the NIC's link is down */
    unsigned hdr_len;           /* of the virtio-net header */
    bool hdr_swap;              /* its byte order is not the host's */
    uint32_t offloads;          /* what the guest takes: VHOST_DP_OFFLOAD_* */

    /* Guarded by side_lock */
    QemuMutex side_lock;
    bool link_up;
    char *link_reason;
    QSIMPLEQ_HEAD(, PortInject) inject;
    unsigned ninject;
    uint64_t inject_lost;

    /* The IOThread's own */
    bool attached;
    bool attach_failed;         /* the link is down for that */
    bool inactive;              /* what the driver was told */
    bool in_turn;
    bool news;                  /* vhost_dp_port_ready() inside a turn */
    bool call;                  /* backend.call_pending may be set */
    uint32_t generation;        /* backend.generation, at the last look */
    PortKick kick[VHOST_DP_QUEUES];

    bool tx_blocked;            /* until the driver has room */
    bool tx_room;               /* it has, said during tx_burst */

    bool rx_active;             /* the guest wants frames */
    bool rx_discard;            /* the link is down: frames are lost */
    bool rx_starved;            /* but has no buffers, until it kicks */
    bool rx_enabled;            /* what the driver was told */
    bool rx_ready;              /* the driver may have frames */
    unsigned rx_lent;           /* frames in rx_frames */
    unsigned rx_next;           /* the first that waits for buffers */
    VhostDPFrame rx_frames[VHOST_DP_BURST_FRAMES];

    PortStats stats[VHOST_DP_QUEUES];

    /* Scratch space of a burst; used under backend.lock */
    VhostDPBurst burst;
    VhostDPFrame tx_frames[VHOST_DP_BURST_FRAMES];
    uint8_t tx_chain[VHOST_DP_BURST_FRAMES];
    int8_t tx_drop[VHOST_DP_BURST_FRAMES];
    uint8_t tx_heads[VHOST_DP_BURST_FRAMES][VHOST_DP_HEAD_BYTES];
    struct iovec tx_iov[VHOST_DP_VRING_MAX_SEGS + VHOST_DP_VRING_BURST +
                        VHOST_DP_BURST_FRAMES];
    unsigned tx_niov;
    uint8_t *tx_bounce;         /* for frames with too many segments */
    size_t tx_bounced;
};

/* Counts lost frames.  Thread: the port's. */
static inline void port_drop(VhostDPPort *port, unsigned queue,
                             VhostDPDropReason reason, uint64_t n)
{
    vhost_dp_count(&port->stats[queue].drops[reason], n);
}

/* Publishes what was pushed to a queue.  Thread: the port's.  Lock held. */
void vhost_dp_port_flush(VhostDPPort *port, unsigned queue);

/* One burst from the guest.  Returns true if there may be more. */
bool vhost_dp_port_tx(VhostDPPort *port);

/* Sends frames of QEMU's own */
void vhost_dp_port_tx_injected(VhostDPPort *port);

/* One burst to the guest.  Returns true if there may be more. */
bool vhost_dp_port_rx(VhostDPPort *port);

/* Gives lent frames back and counts them as dropped */
void vhost_dp_port_rx_drop(VhostDPPort *port, VhostDPDropReason reason);

/* Brings the driver's reception in line with rx_active and rx_starved */
void vhost_dp_port_rx_update(VhostDPPort *port);

#endif /* NET_VHOST_DP_QUEUE_INT_H */
