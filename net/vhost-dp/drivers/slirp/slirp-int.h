/*
 * vhost-dp-slirp: what its parts share (slirp*.c)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_DRIVERS_SLIRP_SLIRP_INT_H
#define NET_VHOST_DP_DRIVERS_SLIRP_SLIRP_INT_H

#include <libslirp.h>
#include "qemu/atomic.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "net/eth.h"
#include "net/slirp.h"
#include "net/vhost-dp.h"
#include "slirp.h"

#define TYPE_VHOST_DP_SLIRP "vhost-dp-slirp"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPSlirp, VHOST_DP_SLIRP)

/* An Ethernet header and the largest IPv4 datagram, for TSO */
#define SLIRP_MAX_FRAME (sizeof(struct eth_header) + UINT16_MAX)

/* Frames from the guest that wait for libslirp */
#define SLIRP_INPUT_FRAMES 256
#define SLIRP_INPUT_BYTES (512 * KiB)

QEMU_BUILD_BUG_ON(SLIRP_INPUT_BYTES < SLIRP_MAX_FRAME);

/* Frames that wait for the guest; a power of two */
#define SLIRP_RING 1024

/* Room for a frame: libslirp's MTU of 1500 bytes, and its header */
#define SLIRP_STRIDE 1536

/* A descriptor as libslirp wants it to be watched */
typedef struct SlirpFd {
    uint32_t events;            /* in the epoll set with these; 0: is not */
    uint32_t revents;           /* of epoll, for slirp_pollfds_poll() */
    uint32_t round;             /* of the last fill that asked for it */
    bool watched;               /* in the array of that name */
} SlirpFd;

/* A timer of libslirp's */
typedef struct SlirpTimer {
    QLIST_ENTRY(SlirpTimer) next;
    VhostDPSlirp *s;
    SlirpTimerId id;
    void *cb_opaque;
    int64_t expire;             /* ms, or -1 */
    QEMUTimer timer;            /* while attached */
} SlirpTimer;

struct VhostDPSlirp {
    SlirpOptions opts;          /* the parent, and what the user wrote */

    /* While open */
    SlirpState *stack;
    Slirp *slirp;               /* of the stack */
    int epfd;
    QLIST_HEAD(, SlirpTimer) timers;
    bool rx_csum;               /* the guest takes the host's word; atomic */

    /* While attached; under net_slirp_lock() */
    VhostDPPort *port;
    AioContext *ctx;
    QEMUBH *bh;
    GArray *fds;                /* SlirpFd, by descriptor */
    uint8_t *ring;              /* SLIRP_RING frames to the guest */
    uint16_t ring_len[SLIRP_RING];
    uint32_t ring_head;         /* atomic: next to fill; free-running */
    unsigned lost_too_large;    /* frames that have not been counted */
    unsigned lost_queue_full;

    /* While attached; the IOThread's own */
    QEMUTimer timer;            /* when libslirp wants to be called */
    bool rx_enabled;
    bool paused;                /* the sockets wait for room in the ring */
    GArray *watched;            /* int: those in the epoll set, each once */
    uint32_t round;
    uint8_t *input;             /* frames from the guest, each in one piece */
    size_t input_used;
    uint32_t input_len[SLIRP_INPUT_FRAMES];
    unsigned ninput;
    bool input_full;            /* the engine waits for room */
    uint32_t ring_lent;         /* next to lend */
    uint32_t ring_tail;         /* atomic: oldest that is not released */
};

/* The ring of frames to the guest, as the IOThread sees it */
static inline uint32_t slirp_ring_head(const VhostDPSlirp *s)
{
    return qatomic_load_acquire(&s->ring_head);
}

static inline uint32_t slirp_ring_used(const VhostDPSlirp *s)
{
    return slirp_ring_head(s) - s->ring_tail;
}

/* ---- slirp-loop.c ---- */

extern const SlirpCb vhost_dp_slirp_callbacks;

/* Look at the sockets, or leave them alone.  Thread: the IOThread. */
void vhost_dp_slirp_set_paused(VhostDPSlirp *s, bool paused);

/* See VhostDPDriverClass */
bool vhost_dp_slirp_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                           AioContext *ctx, Error **errp);
void vhost_dp_slirp_detach(VhostDPDriver *drv, unsigned pair);

/* ---- slirp-io.c ---- */

void vhost_dp_slirp_io_class_init(VhostDPDriverClass *dc);

#endif /* NET_VHOST_DP_DRIVERS_SLIRP_SLIRP_INT_H */
