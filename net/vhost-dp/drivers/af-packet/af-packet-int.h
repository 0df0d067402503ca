/*
 * vhost-dp-af-packet: what its parts share (af-packet*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_DRIVERS_AF_PACKET_AF_PACKET_INT_H
#define NET_VHOST_DP_DRIVERS_AF_PACKET_AF_PACKET_INT_H

#include <linux/if_packet.h>
#include <net/if.h>
#include "qemu/thread.h"
#include "qemu/units.h"
#include "net/vhost-dp.h"
#include "net/vhost-dp-control.h"
#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp/drivers/lib/fds.h"
#include "net/vhost-dp/drivers/lib/link.h"
#include "net/vhost-dp/drivers/lib/membership.h"

#define TYPE_VHOST_DP_AF_PACKET "vhost-dp-af-packet"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPAfPacket, VHOST_DP_AF_PACKET)

/* VhostDPAfPacket.active has so many bits */
#define AFP_MAX_QUEUE_PAIRS 64

/*
 * The receive ring.  A slot has room for the kernel's headers and the longest
 * frame.  It is no multiple of 4 KiB, so that the slots' first bytes are in
 * different sets of the processor's caches.
 */
#define AFP_BLOCK_BYTES (1 * MiB)
#define AFP_BLOCKS 16
#define AFP_SLOT_BYTES 69888
#define AFP_BLOCK_SLOTS (AFP_BLOCK_BYTES / AFP_SLOT_BYTES)
#define AFP_SLOTS (AFP_BLOCKS * AFP_BLOCK_SLOTS)
#define AFP_RING_BYTES (AFP_BLOCKS * AFP_BLOCK_BYTES)

QEMU_BUILD_BUG_ON(AFP_SLOT_BYTES % 64 || AFP_SLOT_BYTES % 4096 == 0);
QEMU_BUILD_BUG_ON(AFP_SLOT_BYTES < VHOST_DP_MAX_FRAME + 256);

/* Vectors of one sendmmsg; a frame has a segment less at most */
#define AFP_TX_IOV 512
#define AFP_MAX_SEGMENTS 256

/* A packet socket with its receive ring */
typedef struct AfpSocket {
    int fd;                     /* or -1 */
    uint8_t *ring;              /* AFP_RING_BYTES, or NULL */
    unsigned first;             /* slot to be read first, at an attach */
    VhostDPMembership membership;   /* of a fanout group: the first has it */
} AfpSocket;

static inline struct tpacket2_hdr *afp_slot(const AfpSocket *s, unsigned i)
{
    return (void *)(s->ring + i / AFP_BLOCK_SLOTS * AFP_BLOCK_BYTES +
                    i % AFP_BLOCK_SLOTS * AFP_SLOT_BYTES);
}

/* State of a queue pair */
typedef struct AfpQueue {
    /* Set once */
    VhostDPAfPacket *afp;
    unsigned pair;

    AfpSocket sock;             /* while open; see vhost_dp_afp_reopen() */

    AfpSocket new_sock;         /* from vhost_dp_link_offer() until taken */

    /* The IOThread's own, between attach and detach */
    VhostDPPort *port;
    AioContext *ctx;
    bool down;                  /* the link is */
    bool rx_enabled;
    bool tx_blocked;            /* waits until the fd is writable */

    struct tpacket2_hdr *slot[AFP_SLOTS];
    unsigned next;              /* slot to look at next */
    unsigned first_lent, nlent;
    struct tpacket2_hdr *lent[VHOST_DP_BURST_FRAMES];
    struct tpacket2_hdr *before_lent;   /* the slot before them */
    bool was_full;              /* the ring, so frames may have been lost */
    AfpSocket old;              /* replaced, but has slots that are lent */

    struct mmsghdr tx_msg[VHOST_DP_BURST_FRAMES];
    struct virtio_net_hdr tx_hdr[VHOST_DP_BURST_FRAMES];
    struct iovec tx_iov[AFP_TX_IOV];
} AfpQueue;

struct VhostDPAfPacket {
    VhostDPDriver parent_obj;

    /* Options, as the user wrote them; BQL */
    char *ifname;
    char *fd;
    char *fds;

    /* What fd= or fds= named, kept until the object goes; BQL */
    VhostDPFds passed;
    bool passed_used;           /* the sockets were checked */
    bool passed_joined;         /* the sockets are a fanout group */

    /* While open; set by open, under the BQL */
    char real_ifname[IFNAMSIZ];
    uint32_t offloads;
    AfpQueue *queue;
    unsigned nqueues;

    VhostDPLink link;

    /*
     * Guards @active, and the fanout group's program.  Held while that is set,
     * for which the kernel waits; so nobody takes it who holds the BQL, while
     * the guest runs.
     */
    QemuMutex lock;
    uint64_t active;            /* queue pairs, as a bitmap */

    VhostDPWantedFilter wanted;     /* followed by the watch's thread */
};

static inline const char *afp_ifname(const VhostDPAfPacket *afp)
{
    return afp->ifname ?: afp->parent_obj.id;
}

/* The option that passed descriptors come by */
static inline const char *afp_fds_option(const VhostDPAfPacket *afp)
{
    return afp->fd ? "fd" : "fds";
}

static inline bool afp_is_passed(const VhostDPAfPacket *afp)
{
    return afp->fd || afp->fds;
}

/* ---- af-packet-socket.c ---- */

/* See VhostDPDriverClass.open and close; the options were checked.  BQL. */
bool vhost_dp_afp_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp);
void vhost_dp_afp_close(VhostDPDriver *drv);

/*
 * The interface that @fd is bound to: its name in IFNAMSIZ bytes at @name, and
 * its number.  Returns 0 if there is none, or none any more.
 */
int vhost_dp_afp_bound_to(int fd, char *name);

/*
 * Interface number @ifindex has the name of the one that was deleted.  A single
 * socket is bound to it; otherwise each queue pair has a new one to take.
 *
 * Thread: the watch's.  Returns false with @errp set on failure.
 */
bool vhost_dp_afp_reopen(VhostDPAfPacket *afp, int ifindex, Error **errp);

void vhost_dp_afp_socket_close(AfpSocket *s);

/* ---- af-packet-fanout.c ---- */

/*
 * Let @n bound sockets share what comes in.  Thread: the main loop (open), or
 * the watch's (reopen).  Returns false with @errp set on failure.
 */
bool vhost_dp_afp_join_fanout(VhostDPAfPacket *afp, const AfpSocket *s,
                              unsigned n, Error **errp);

/* See VhostDPDriverClass.set_active.  Thread: the port's. */
void vhost_dp_afp_set_active(VhostDPAfPacket *afp, unsigned pair,
                             bool active);

/* Frames go to the pairs that the guest uses.  Thread: the watch's. */
void vhost_dp_afp_update_pairs(VhostDPAfPacket *afp);

/* ---- af-packet-link.c ---- */

/*
 * The sockets are open: begin to watch the interface.  Lock: BQL.  Returns
 * false with @errp set on failure.
 */
bool vhost_dp_afp_link_open(VhostDPAfPacket *afp, Error **errp);

/* ---- af-packet-io.c: the data side, see VhostDPDriverClass ---- */

/* See VhostDPLinkOps */
void vhost_dp_afp_take(VhostDPDriver *drv, unsigned pair);
void vhost_dp_afp_set_link(VhostDPDriver *drv, unsigned pair,
                           VhostDPIfState state, const char *reason);

void vhost_dp_afp_io_class_init(VhostDPDriverClass *dc);

#endif /* NET_VHOST_DP_DRIVERS_AF_PACKET_AF_PACKET_INT_H */
