/*
 * vhost-dp: the engine's receive side (port-rx*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_PORT_RX_INT_H
#define NET_VHOST_DP_PORT_RX_INT_H

#include "qemu/iov.h"
#include "port-soft.h"

/*
 * PortRxState: what becomes of received frames
 *
 *     any --vhost_dp_port_rx_open(), _discard(), _off()-->
 *                                  DRIVER; DISCARD or HAND_OVER; OFF
 *     DRIVER --no buffers for a lent frame--> GUEST, or GUEST_POLL
 *     GUEST_POLL --polling ends, and there are still no buffers--> GUEST
 *     GUEST, GUEST_POLL --all lent frames are delivered, or the guest kicks-->
 *                                  DRIVER
 *     DRIVER, GUEST, GUEST_POLL --vhost_dp_port_rx_drop(), as when the queue
 *                                 breaks--> OFF
 *
 * While the turn is PARKED nothing is received, in any of these states.
 *
 * Invariants: between passes, frames are lent in DRIVER, GUEST and GUEST_POLL
 * only, and always in GUEST and GUEST_POLL.  The inbox is open in these three
 * states.  The driver's calls are enabled (rx_enable) in DISCARD, HAND_OVER and
 * DRIVER, and with RSS in all but OFF, unless the turn is PARKED or the driver
 * is polled.  rx_burst is called only while calls are enabled or the driver is
 * polled.  Without a driver the state is OFF.
 */
typedef enum PortRxState {
    PORT_RX_OFF,                /* frames stay in the driver */
    PORT_RX_DISCARD,            /* frames are received and dropped */
    PORT_RX_HAND_OVER,          /* frames go to the first pair's inbox */
    PORT_RX_DRIVER,             /* frames go to the guest: waits for some */
    PORT_RX_GUEST,              /* lent frames wait for the guest's kick */
    PORT_RX_GUEST_POLL,         /* so, and each pass looks for buffers */
} PortRxState;

/* Bytes of buffers to pop: for the longest frame, and for others behind it */
#define PORT_RX_WANT_BYTES (VHOST_DP_BURST_BYTES + VHOST_DP_MAX_FRAME)

/* Where the lent frames come from */
typedef enum PortRxSource {
    PORT_RX_FROM_DRIVER,
    PORT_RX_FROM_COPY,          /* one frame: see vhost_dp_port_rx_into() */
    PORT_RX_FROM_INBOX,
} PortRxSource;

/* Private to port-rx-into.c, and to port-rx-steer.c */
typedef struct PortRxInto PortRxInto;
typedef struct PortSteer PortSteer;

struct PortRx {
    PortRxState state;
    VhostDPDropReason lost_for; /* the reason in DISCARD and HAND_OVER */
    bool enabled;               /* the driver's calls are enabled */
    bool ready;                 /* the driver may have frames */
    bool long_frames;           /* recent frames were long: use rx_into */
    uint8_t looks;              /* PORT_RX_*: see port-rx-steer.h */
    PortRxSource source;        /* of the frames that are, or were, lent */
    unsigned lent;              /* number of frames to be given back */
    unsigned end;               /* number of frames in @frames */
    unsigned next;              /* the first of them that is not delivered */
    unsigned soft_left;         /* segments of frames[next] to be delivered */
    unsigned soft_work;         /* frames done in software since its reset */
    PortRxSoft *soft;           /* NULL until it is needed */
    PortRxInto *into;           /* NULL until it is needed */
    PortSteer *steer;           /* NULL until it is needed */
    QEMU_ALIGNED(PORT_CACHE_LINE) VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    uint8_t head[VHOST_DP_HEAD_BYTES];      /* of frames[next] */
};

QEMU_BUILD_BUG_ON(offsetof(PortRx, frames) != PORT_CACHE_LINE);

/* Mean length from which rx_into is faster than rx_burst (measured) */
#define PORT_RX_INTO_MIN 4096

/*
 * How many of the @n chains from @first on does a frame of @len bytes, header
 * included, take?  Returns 0 if they are too few.
 */
static inline unsigned rx_count_chains(const VhostDPEnginePort *port,
                                       unsigned first, unsigned n, size_t len)
{
    const VhostDPChain *chain = port->burst->chain;
    uint64_t room = 0;
    unsigned i;

    for (i = first; i < n; i++) {
        room += chain[i].len;
        if (room >= len) {
            return i - first + 1;
        }
    }
    return 0;
}

/* Counts delivered frames, and notes whether they are long */
static inline void rx_count_burst(VhostDPEnginePort *port, uint64_t packets,
                                  uint64_t bytes)
{
    if (packets) {
        port->rx->long_frames = bytes >= packets * PORT_RX_INTO_MIN;
        port_count_burst(port, VHOST_DP_RX, packets, bytes);
    }
}

/* Counts @n popped chains; @notified: the guest had been asked to kick */
static inline void rx_count_pop(VhostDPEnginePort *port, bool notified,
                                unsigned n)
{
    if (n) {
        port_poll_worked(&port->poll);
        if (!notified) {
            vhost_dp_count(&port->stats[VHOST_DP_RX].kicks_suppressed, 1);
        }
    }
}

/* The first bytes of a frame: in rx->head, unless they are in one piece */
static inline const uint8_t *port_rx_head(PortRx *rx, const VhostDPFrame *frame)
{
    size_t head_len = MIN(frame->len, VHOST_DP_HEAD_BYTES);

    if (frame->iov[0].iov_len >= head_len) {
        return frame->iov[0].iov_base;
    }
    iov_to_buf(frame->iov, frame->iovcnt, 0, rx->head, head_len);
    return rx->head;
}

/* Is the driver asked for frames without having called?  See VhostDPCaps. */
static inline bool rx_polls_driver(const VhostDPEnginePort *port)
{
    return port_poll_is_on(&port->poll) && port->caps.rx_poll;
}

/* May it be asked at all?  Others only while they may call. */
static inline bool rx_may_ask(const VhostDPEnginePort *port)
{
    return port->rx->enabled || rx_polls_driver(port);
}

/* ---- port-rx-into.c ---- */

typedef enum PortRxIntoResult {
    PORT_RX_INTO_MORE,          /* there may be more frames */
    PORT_RX_INTO_NONE,          /* the driver has no frames */
    PORT_RX_INTO_UNFIT,         /* the guest's buffers are not suitable */
} PortRxIntoResult;

/*
 * Delivers one burst of long frames by the driver's rx_into.  No frames are
 * lent when it is called.  When it returns one frame is lent if the guest does
 * not accept its metadata.
 */
PortRxIntoResult vhost_dp_port_rx_into(VhostDPEnginePort *port);

void vhost_dp_port_rx_into_free(PortRxInto *into);

#endif /* NET_VHOST_DP_PORT_RX_INT_H */
