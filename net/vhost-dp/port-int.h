/*
 * vhost-dp: what the parts of the engine share (queue*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_PORT_INT_H
#define NET_VHOST_DP_PORT_INT_H

#include "port.h"
#include "port-inbox.h"
#include "qemu/event_notifier.h"
#include "qemu/host-utils.h"
#include "qemu/lockable.h"
#include "qemu/queue.h"
#include "qemu/units.h"

/* Frames of QEMU's own that wait for the IOThread, at most */
#define PORT_INJECT_MAX 16

/* Sizes of bursts are counted by powers of two: 1, 2-3, 4-7 ... 64 */
#define PORT_BURST_SIZES 7

QEMU_BUILD_BUG_ON(VHOST_DP_BURST_FRAMES != 1 << (PORT_BURST_SIZES - 1));
QEMU_BUILD_BUG_ON(VHOST_DP_BURST_FRAMES > 64);  /* see tx_cut */

/* Counters of one direction; written by the IOThread, see vhost_dp_count() */
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

/* The handler of what backend.kick[queue].watched is */
typedef struct PortKick {
    EventNotifier notifier;
    unsigned queue;
    VhostDPEnginePort *port;
} PortKick;

/* Whose the lent frames are */
typedef enum PortRxSource {
    PORT_RX_DRIVER,
    PORT_RX_COPY,               /* one frame, in rx_copy */
    PORT_RX_INBOX,
} PortRxSource;

/* State of port-soft.c */
typedef struct PortTxSoft PortTxSoft;
typedef struct PortRxSoft PortRxSoft;

typedef struct PortInject {
    QSIMPLEQ_ENTRY(PortInject) next;
    size_t len;
    uint8_t data[];
} PortInject;

struct VhostDPEnginePort {
    VhostDPPort port;           /* what the driver sees of it */
    VhostDPBackend backend;

    /* Set once */
    char *netdev;
    unsigned index;
    VhostDPDriver *drv;
    VhostDPDriverClass *dc;
    VhostDPCaps caps;           /* tx_offloads is the IOThread's */
    uint32_t most_tx_offloads;
    IOThread *iothread;         /* holds a reference */
    char *iothread_name;
    bool own_iothread;          /* made by the port */
    AioContext *ctx;
    int64_t busy_poll_ns;       /* how long to poll at most, or 0 */
    QEMUBH *bh;                 /* in ctx: reconcile, then a turn */
    VhostDPInbox *inbox;        /* frames that other pairs' threads received */
    VhostDPInbox *first_inbox;  /* the first pair's, or NULL if this is it */
    void (*link_changed)(void *opaque);
    void *opaque;

    /* Atomic */
    bool changed;               /* the wanted state: reconcile */

    QemuEvent detached;

    /* Guarded by backend.lock; written under the BQL */
    bool dead;                  /* to be detached for good */
    bool nic_down;              /* the NIC's link is down */
    unsigned hdr_len;           /* of the virtio-net header */
    uint16_t mtu;               /* that the guest agreed to, or 0 */
    uint32_t rx_safe_len;       /* no longer frame can exceed that */
    bool hdr_swap;              /* its byte order is not the host's */
    uint32_t offloads;          /* what the guest takes: VHOST_DP_OFFLOAD_* */

    /* Guarded by side_lock */
    QemuMutex side_lock;
    bool link_up;               /* the driver's word, and if not, why */
    char *link_reason;
    char *attach_error;         /* it could not be attached: link down, too */
    QSIMPLEQ_HEAD(, PortInject) inject;
    unsigned ninject;
    uint64_t inject_lost;

    /* The IOThread's own */
    bool attached;              /* atomic, as the query reads it */
    bool in_turn;
    bool news;                  /* vhost_dp_port_ready() inside a turn */
    bool more;                  /* the BH is scheduled to go on with work */
    bool call;                  /* backend.call_pending may be set */
    bool missed;                /* the vIOMMU has to be asked */
    bool parked;                /* and the main loop does; the BH will come */
    /* backend.generation at the last look: that the state here is about */
    uint32_t generation[VHOST_DP_QUEUES];
    PortKick kick[VHOST_DP_QUEUES];

    /* Busy polling: see port-poll.c */
    bool polling;               /* notifications are off */
    bool poll_scheduled;        /* the BH is scheduled to look again */
    bool poll_look;             /* this look was caused by nothing else */
    bool poll_open;             /* there was work since polling began */
    bool poll_hit;              /* and polling itself found some */
    bool worked;                /* this pass found work */
    int64_t poll_window;        /* ns to poll after work; 0: do not */
    int64_t poll_until;         /* ns, QEMU_CLOCK_REALTIME */
    int64_t worked_at;          /* ns, QEMU_CLOCK_REALTIME */

    bool inactive;              /* the guest disabled the pair */
    bool steered;               /* and the driver keeps frames away from it */
    bool tx_blocked;            /* until the driver has room */
    bool tx_room;               /* it has, said during tx_burst */
    bool tx_rest;               /* tx_soft has the rest of a frame */
    PortTxSoft *tx_soft;        /* NULL until it is needed */

    bool rx_active;             /* the guest wants frames */
    bool rx_discard;            /* frames are lost, for rx_discard_reason: */
    VhostDPDropReason rx_discard_reason;
    bool rx_redirect;           /* they are tried on first_inbox: joined it */
    bool rx_starved;            /* but has no buffers, until it kicks */
    bool rx_enabled;            /* what the driver was told */
    bool rx_ready;              /* the driver may have frames */
    unsigned rx_lent;           /* frames in rx_frames */
    unsigned rx_next;           /* the first that waits for buffers */
    VhostDPFrame rx_frames[VHOST_DP_BURST_FRAMES];
    PortRxSoft *rx_soft;        /* NULL until it is needed */
    unsigned rx_soft_left;      /* segments of rx_frames[rx_next] to come */
    unsigned rx_soft_work;      /* frames processed since it was reset */
    uint32_t fragment_id;       /* for the next IPv6 datagram */
    bool rx_long;               /* the last frames were long: see rx_into */
    uint8_t rx_head[VHOST_DP_HEAD_BYTES];   /* of the frame at hand */
    struct iovec rx_iov[VHOST_DP_INTO_SEGMENTS];
    VhostDPRegion *rx_region[VHOST_DP_INTO_SEGMENTS];   /* of each */
    uint8_t *rx_copy;           /* of a frame from rx_into, as if lent */
    PortRxSource rx_source;     /* of the frames that are, or were, lent */

    PortStats stats[VHOST_DP_QUEUES];

    /* Scratch space of a burst; used under backend.lock */
    VhostDPBurst burst;
    VhostDPFrame tx_frames[VHOST_DP_BURST_FRAMES];
    uint8_t tx_chain[VHOST_DP_BURST_FRAMES];
    int8_t tx_drop[VHOST_DP_BURST_FRAMES];
    uint64_t tx_summed;         /* a bit for each frame: we did its checksum */
    uint64_t tx_cut;            /* it is a segment that we made */
    uint8_t tx_heads[VHOST_DP_BURST_FRAMES][VHOST_DP_HEAD_BYTES];
    /* All segments; each frame may have a head, and begin inside of one */
    struct iovec tx_iov[VHOST_DP_VRING_MAX_DESCS + 2 * VHOST_DP_BURST_FRAMES];
    unsigned tx_niov;
    uint8_t *tx_bounce;         /* for frames with too many segments */
    size_t tx_bounced;
};

/* Counts lost frames.  Thread: the port's. */
static inline void port_drop(VhostDPEnginePort *port, unsigned queue,
                             VhostDPDropReason reason, uint64_t n)
{
    vhost_dp_count(&port->stats[queue].drops[reason], n);
}

/* Counts a burst that moved @packets frames.  Thread: the port's. */
static inline void port_count_burst(VhostDPEnginePort *port, unsigned queue,
                                    uint64_t packets, uint64_t bytes)
{
    PortStats *stats = &port->stats[queue];

    if (packets) {
        vhost_dp_count(&stats->packets, packets);
        vhost_dp_count(&stats->bytes, bytes);
        vhost_dp_count(&stats->bursts[31 - clz32(packets)], 1);
    }
}

/*
 * Does a queue run, and has the bottom half seen that?  One that was reset and
 * enabled since must not see what is left of before (virtio 1.3, 2.6.1.1): the
 * bottom half is on its way, and a turn follows it.  Lock held.
 */
static inline bool port_queue_runs(const VhostDPEnginePort *port,
                                   unsigned queue)
{
    const VhostDPBackend *be = &port->backend;

    return be->vq[queue].running &&
           likely(be->generation[queue] == port->generation[queue]);
}

/*
 * Counts a look at the queue's ring, or at the driver, that found @n chains
 * or frames.  Thread: the port's.
 */
static inline void port_count_look(VhostDPEnginePort *port, unsigned queue,
                                   unsigned n)
{
    PortStats *stats = &port->stats[queue];

    if (unlikely(port->poll_look)) {
        vhost_dp_count(&stats->polls, 1);
        if (n) {
            vhost_dp_count(&stats->poll_hits, 1);
            port->poll_hit = true;
        }
    }
    if (n) {
        port->worked = true;
    }
}

/* May the driver be asked for frames without having called?  See caps. */
static inline bool port_polls_driver(const VhostDPEnginePort *port)
{
    return port->polling && port->caps.rx_poll;
}

/* A turn begins at @now: begin to poll, unless the port does so already */
void vhost_dp_port_poll_begin(VhostDPEnginePort *port, int64_t now);

/* Keep polling for a while if the pass that ends at @now found work */
void vhost_dp_port_poll_extend(VhostDPEnginePort *port, int64_t now);

/*
 * There is no work at @now.  Returns true if polling has ended just now: the
 * caller has to make one more pass, which asks for notifications.
 */
bool vhost_dp_port_poll_end(VhostDPEnginePort *port, int64_t now);

/* Publishes what was pushed to a queue.  Thread: the port's.  Lock held. */
void vhost_dp_port_flush(VhostDPEnginePort *port, unsigned queue);

/* One burst from the guest.  Returns true if there may be more. */
bool vhost_dp_port_tx(VhostDPEnginePort *port);

/* For tx_drop of a port: what becomes of a chain, if it is not dropped */
#define TX_SEND     (-1)        /* it is a frame, or its segments are */
#define TX_SEGMENT  (-2)        /* it has to be cut */
#define TX_REST     (-3)        /* counted when the rest of it was sent */
#define TX_FULL     (-4)        /* no room for its segments in this burst */

/* Copies a frame into one piece: two if its headers are private already */
void vhost_dp_port_tx_linearise(VhostDPEnginePort *port, VhostDPFrame *frame);

/* ---- port-soft.c.  Thread: the port's ---- */

/* Finishes the checksum of a frame of the burst.  Lock held. */
void vhost_dp_port_tx_checksum(VhostDPEnginePort *port, VhostDPFrame *frame);

/*
 * Cuts frame *@nframes of the burst, which is that of @chain, into segments,
 * which take its place; *@nframes is raised by their number.  Lock held.
 *
 * Returns TX_SEND, TX_REST (all of it is to be sent later; the burst is empty),
 * TX_FULL (leave the chain in the queue), or why the frame is dropped.
 */
int vhost_dp_port_tx_segment(VhostDPEnginePort *port, unsigned chain,
                             unsigned *nframes);

/*
 * The driver took @taken frames of a burst, fewer than there are.  If it
 * stopped inside of a chain, the rest of that is kept, to be sent later.  Lock
 * held.  Returns true if so: the chain can be used.
 */
bool vhost_dp_port_tx_keep_rest(VhostDPEnginePort *port, unsigned taken);

/* One burst of the rest.  Lock held.  Returns true if there may be more. */
bool vhost_dp_port_tx_rest(VhostDPEnginePort *port);

/* Forgets the rest, if there is one, and counts its frame as dropped */
void vhost_dp_port_tx_drop_rest(VhostDPEnginePort *port,
                                VhostDPDropReason reason);

/*
 * What the guest gets in place of the frame @lent: the same, or a part of it,
 * with metadata that it agreed to.  The same again until
 * vhost_dp_port_rx_soft_next().  Lock held.  Returns NULL if the metadata is
 * malformed.
 */
const VhostDPFrame *vhost_dp_port_rx_soft_frame(VhostDPEnginePort *port,
                                                VhostDPFrame *lent);

/* It was delivered: returns the number of parts to come.  Lock held. */
unsigned vhost_dp_port_rx_soft_next(VhostDPEnginePort *port);

/* Forgets the parts to come */
void vhost_dp_port_rx_soft_end(VhostDPEnginePort *port);

void vhost_dp_port_soft_free(VhostDPEnginePort *port);

/* Sends frames of QEMU's own */
void vhost_dp_port_tx_injected(VhostDPEnginePort *port);

/* One burst to the guest.  Returns true if there may be more. */
bool vhost_dp_port_rx(VhostDPEnginePort *port);

/* Counts what was lost in the inbox.  Thread: the port's. */
void vhost_dp_port_inbox_count(VhostDPEnginePort *port);

/* Gives lent frames back and counts them as dropped */
void vhost_dp_port_rx_drop(VhostDPEnginePort *port, VhostDPDropReason reason);

/*
 * Gives lent frames to the first pair, as the guest does not use this one; or
 * counts them as dropped, if that one does not run
 */
void vhost_dp_port_rx_hand_over(VhostDPEnginePort *port,
                                VhostDPDropReason reason);

/* Brings the driver's reception in line with what the port wants */
void vhost_dp_port_rx_update(VhostDPEnginePort *port);

#endif /* NET_VHOST_DP_PORT_INT_H */
