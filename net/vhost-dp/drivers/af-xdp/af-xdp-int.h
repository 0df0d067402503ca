/*
 * vhost-dp-af-xdp: what its parts share (af-xdp*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_DRIVERS_AF_XDP_AF_XDP_INT_H
#define NET_VHOST_DP_DRIVERS_AF_XDP_AF_XDP_INT_H

#include <linux/if_xdp.h>
#include <net/if.h>
#include "qemu/queue.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "qapi/qapi-types-qom.h"
#include "net/vhost-dp.h"
#include "net/vhost-dp/drivers/lib/fds.h"
#include "net/vhost-dp/drivers/lib/link.h"
#include "net/vhost-dp/drivers/lib/membership.h"

#define TYPE_VHOST_DP_AF_XDP "vhost-dp-af-xdp"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPAfXdp, VHOST_DP_AF_XDP)

#define AFXDP_MAX_QUEUE_PAIRS 64

/* Linux 6.6; not in the headers of all C libraries */
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif

/*
 * The memory that a queue pair shares with the kernel (UMEM) is an array of
 * chunks: those of reception first, then those of transmission.  A chunk is
 * the smallest page that Linux has, which is the largest that it accepts.
 *
 * There are as many entries in the rings as chunks, so a ring cannot overflow.
 */
#define AFXDP_CHUNK 4096u
#define AFXDP_RX_CHUNKS 1024u
#define AFXDP_TX_CHUNKS 512u
#define AFXDP_UMEM_BYTES ((AFXDP_RX_CHUNKS + AFXDP_TX_CHUNKS) * AFXDP_CHUNK)
#define AFXDP_TX_START (AFXDP_RX_CHUNKS * AFXDP_CHUNK)

/* What the kernel leaves free in front of a received frame */
#define AFXDP_RX_HEADROOM 256

/* The kernel cannot have more: a socket buffer's fragments, and its head */
#define AFXDP_MAX_FRAME_CHUNKS 18
QEMU_BUILD_BUG_ON(AFXDP_MAX_FRAME_CHUNKS * AFXDP_CHUNK < VHOST_DP_MAX_FRAME);

/* A ring that is shared with the kernel.  One side produces, one consumes. */
typedef struct AfXdpRing {
    uint32_t *producer, *consumer;      /* the kernel's view */
    uint32_t *flags;
    void *entries;                      /* struct xdp_desc, or uint64_t */
    uint32_t mask;
    uint32_t pos;                       /* our side; published afterwards */
    void *map;
    size_t map_len;
} AfXdpRing;

static inline struct xdp_desc *afxdp_desc(const AfXdpRing *ring, uint32_t i)
{
    return (struct xdp_desc *)ring->entries + (i & ring->mask);
}

static inline uint64_t *afxdp_addr(const AfXdpRing *ring, uint32_t i)
{
    return (uint64_t *)ring->entries + (i & ring->mask);
}

/* A ring that the kernel fills: how many entries are there */
static inline uint32_t afxdp_filled(const AfXdpRing *ring)
{
    return qatomic_load_acquire(ring->producer) - ring->pos;
}

/* A ring that we fill: how many entries the kernel has not taken yet */
static inline uint32_t afxdp_pending(const AfXdpRing *ring)
{
    return ring->pos - qatomic_load_acquire(ring->consumer);
}

/* The kernel wants to be told when there is something in the ring */
static inline bool afxdp_needs_wakeup(const AfXdpRing *ring)
{
    return qatomic_read(ring->flags) & XDP_RING_NEED_WAKEUP;
}

/* State of a queue pair, which is one queue of the interface */
typedef struct AfXdpQueue {
    /* Set once */
    VhostDPAfXdp *xdp;
    unsigned pair;

    /* The socket; see vhost_dp_afxdp_reopen() */
    int fd;                     /* or -1 */
    int ifindex;                /* of the interface, or 0: not bound */
    bool zerocopy;
    bool sg;                    /* frames may take several chunks */
    uint8_t *umem;              /* AFXDP_UMEM_BYTES, or NULL */
    AfXdpRing rx, tx, fill, done;

    /* Chunks of transmission that are free, by their place in umem */
    uint32_t tx_free[AFXDP_TX_CHUNKS];
    unsigned tx_nfree;

    /* Chunks that are lent: one for each piece of a frame, in order */
    struct iovec rx_iov[AFXDP_RX_CHUNKS];
    unsigned rx_first, rx_nlent;                /* in rx_iov */
    uint16_t rx_pieces[VHOST_DP_BURST_FRAMES];  /* of each frame */
    unsigned rx_frame, rx_nframes;              /* in rx_pieces */

    /* What the kernel has said of frames that it lost */
    struct xdp_statistics seen;

    /* The IOThread's own, between attach and detach */
    VhostDPPort *port;
    AioContext *ctx;
    QEMUTimer *timer;           /* to try again */
    bool left;                  /* the socket, to the watch's thread */
    unsigned left_frames;       /* released since the socket was left */
    bool down;                  /* the link is */
    bool rx_enabled;
    bool rx_skip;               /* in the middle of a frame to be dropped */
    bool tx_refused;            /* the engine waits for room */
    bool tx_failed;             /* the kernel refused to send, and said so */
} AfXdpQueue;

/* The program that the sockets depend on */
typedef enum AfXdpProg {
    AFXDP_PROG_NONE,
    AFXDP_PROG_PLAIN,           /* ours: leaves frames as they are */
    AFXDP_PROG_VLAN,            /* ours: puts VLAN tags into the frames */
    AFXDP_PROG_LIBXDP,          /* the one that libxdp attaches by default */
    AFXDP_PROG_FOREIGN,         /* inhibit=on */
} AfXdpProg;

struct VhostDPAfXdp {
    VhostDPDriver parent_obj;

    /* Options, as the user wrote them; BQL */
    char *ifname;
    bool has_mode;
    VhostDPAfXdpMode mode;
    bool force_copy;
    uint32_t start_queue;
    bool inhibit;
    char *sock_fds;
    char *map_path;
    uint32_t map_start_index;

    /* What sock-fds= named, kept until the object goes; BQL */
    VhostDPFds passed;

    /*
     * Made by open, under the BQL.  With sock-fds= they outlive close: such a
     * socket can be set up only once.
     */
    AfXdpQueue *queue;
    unsigned nqueues;
    char real_ifname[IFNAMSIZ];
    int ctl;                    /* to look interfaces up; -1: not open */
    VhostDPLink link;
    unsigned open_tries;        /* to bind a new socket; the watch's thread */

    /*
     * What the interface receives.  The packet socket gets no frames; without
     * CAP_NET_RAW there is none, and the interface is left as it is.
     */
    VhostDPWantedFilter wanted; /* followed by the watch's thread */
    VhostDPMembership membership;
    int members;                /* the packet socket, or -1 */
    int members_ifindex;        /* the interface of @membership, or 0 */

    /* Guards what follows, and is held for system calls only */
    QemuMutex lock;
    AfXdpProg prog;
    uint32_t prog_id;           /* of the kernel, or 0 */
    int map;                    /* from queues to sockets, or -1 */
    int prog_link;              /* keeps our program attached; or -1 */
    int ifindex;                /* where it is */
    bool native;                /* runs in the interface's driver */
    QLIST_ENTRY(VhostDPAfXdp) next;     /* af-xdp-prog.c's; link is not -1 */
};

static inline const char *afxdp_ifname(const VhostDPAfXdp *xdp)
{
    return xdp->ifname ?: xdp->parent_obj.id;
}

static inline unsigned afxdp_queue_id(const AfXdpQueue *q)
{
    return q->xdp->start_queue + q->pair;
}

/* ---- af-xdp-prog.c ---- */

/*
 * Have a program on interface @ifindex, and its map: one that is there already
 * is shared.  Does nothing if that was done, and the program is still there.
 * Fails, too, if VLAN tags would be missing in frames for the guest.
 *
 * Lock: xdp->lock.  Returns 0, or a negative errno with @errp set: -EAGAIN, try
 * again soon.
 */
int vhost_dp_afxdp_prog_attach(VhostDPAfXdp *xdp, int ifindex, Error **errp);

/*
 * Undo it: the program goes with the last of those who share it.  Lock: BQL,
 * no pair is attached; or xdp->lock.
 */
void vhost_dp_afxdp_prog_detach(VhostDPAfXdp *xdp);

/* From now on what comes in by @q's queue is for its socket.  xdp->lock. */
bool vhost_dp_afxdp_prog_add(AfXdpQueue *q, Error **errp);

/*
 * Interface @ifindex, which sockets are bound to, may have changed: see to it
 * that the program is still there, and has these sockets, and that VLAN tags
 * still are in the frames.
 *
 * Thread: the watch's.  Lock: none.  Returns 0, or a negative errno with @errp
 * set: -EAGAIN, try again soon.
 */
int vhost_dp_afxdp_prog_check(VhostDPAfXdp *xdp, int ifindex, Error **errp);

/* ---- af-xdp-vlan.c: VLAN tags beside frames.  Any thread and lock. ---- */

/*
 * Can an XDP program in the driver of interface @ifindex ask for a frame's
 * VLAN tag?  Returns the BTF type ID of the kernel function for that, or 0.
 */
int vhost_dp_afxdp_vlan_kfunc(int ifindex);

/*
 * Are VLAN tags in the frames that any XDP program of interface @ifindex gets?
 * @ctl: a socket of its network namespace.  Returns false with @errp set if not
 * all of them are.
 */
bool vhost_dp_afxdp_vlan_kept(int ctl, int ifindex, Error **errp);

/* ---- af-xdp-socket.c ---- */

/* See VhostDPDriverClass.open and close; the options were checked.  BQL. */
bool vhost_dp_afxdp_open(VhostDPDriver *drv, unsigned queue_pairs,
                         Error **errp);
void vhost_dp_afxdp_close(VhostDPDriver *drv);

/* Close what sock-fds= named.  The driver is not open. */
void vhost_dp_afxdp_forget_passed(VhostDPAfXdp *xdp);

/*
 * Interface number @ifindex has the name of the one that was deleted: use it
 * for queue pair @q, with a new socket.  Chunks that are lent stay so.
 *
 * Thread: the watch's, which has to have @q (vhost_dp_link_ask).  Returns 0,
 * or a negative errno with @errp set: -EAGAIN, what the old socket had is not
 * free yet.  Then the new one may be kept for the next try; it is not bound
 * (@q->ifindex is 0).
 */
int vhost_dp_afxdp_reopen(AfXdpQueue *q, int ifindex, Error **errp);

/* ---- af-xdp-link.c ---- */

/*
 * Interface @ifindex receives what the guest asks for; everything, while it has
 * not asked.  Returns as vhost_dp_membership_follow() does.
 *
 * Thread: the watch's, or the main loop's while there is none.
 */
int64_t vhost_dp_afxdp_follow_filter(VhostDPAfXdp *xdp, int ifindex);

/*
 * The sockets are open: begin to watch the interface.  Lock: BQL.  Returns
 * false with @errp set on failure.
 */
bool vhost_dp_afxdp_link_open(VhostDPAfXdp *xdp, Error **errp);

/* ---- af-xdp-io.c: the data side, see VhostDPDriverClass ---- */

/* See VhostDPLinkOps */
void vhost_dp_afxdp_leave(VhostDPDriver *drv, unsigned pair);
void vhost_dp_afxdp_take(VhostDPDriver *drv, unsigned pair);
void vhost_dp_afxdp_set_link(VhostDPDriver *drv, unsigned pair,
                             VhostDPIfState state, const char *reason);

void vhost_dp_afxdp_io_class_init(VhostDPDriverClass *dc);

#endif /* NET_VHOST_DP_DRIVERS_AF_XDP_AF_XDP_INT_H */
