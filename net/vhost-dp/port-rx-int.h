/*
 * vhost-dp: the engine's receive side (port-rx*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_PORT_RX_INT_H
#define NET_VHOST_DP_PORT_RX_INT_H

#include "port-soft.h"

/*
 * PortRxState: what becomes of received frames
 *
 *     any --vhost_dp_port_rx_open(), _discard(), _off()-->
 *                                  DRIVER; DISCARD or HAND_OVER; OFF
 *     DRIVER --no buffers for a lent frame--> GUEST, or GUEST_POLL
 *     GUEST_POLL --polling is over, and there are none still--> GUEST
 *     GUEST, GUEST_POLL --all lent frames are done with, or the guest kicks-->
 *                                  DRIVER
 *     DRIVER, GUEST, GUEST_POLL --vhost_dp_port_rx_drop(), as when the queue
 *                                 breaks--> OFF
 *
 * A sixth one is the turn's, as it is both directions': while that is PARKED
 * nothing is received in any state.
 *
 * Invariants: between passes, frames are lent in DRIVER, GUEST and GUEST_POLL
 * only, and in the latter two always.  The inbox is open in these three.  The
 * driver may call (rx_enable) in DISCARD, HAND_OVER and DRIVER, unless the turn
 * is PARKED, or the driver is polled; it is asked when it may call, or polled.
 * Nothing but OFF without a driver.
 */
typedef enum PortRxState {
    PORT_RX_OFF,                /* the driver keeps what it has */
    PORT_RX_DISCARD,            /* it is received, counted and lost */
    PORT_RX_HAND_OVER,          /* it goes to the first pair's inbox */
    PORT_RX_DRIVER,             /* it goes to the guest: wait for the driver */
    PORT_RX_GUEST,              /* it waits for buffers: the guest will kick */
    PORT_RX_GUEST_POLL,         /* the same, and each pass looks for some */
} PortRxState;

/* Room for a frame of any length, and for more that may be waiting */
#define PORT_RX_WANT_BYTES (VHOST_DP_BURST_BYTES + VHOST_DP_MAX_FRAME)

/* Whose the lent frames are */
typedef enum PortRxSource {
    PORT_RX_FROM_DRIVER,
    PORT_RX_FROM_COPY,          /* one frame: see vhost_dp_port_rx_into() */
    PORT_RX_FROM_INBOX,
} PortRxSource;

/* Private to port-rx-into.c */
typedef struct PortRxInto PortRxInto;

struct PortRx {
    PortRxState state;
    VhostDPDropReason lost_for; /* in DISCARD and HAND_OVER */
    bool enabled;               /* the driver may call */
    bool ready;                 /* the driver may have frames */
    bool long_frames;           /* the last frames were: they go "into" */
    PortRxSource source;        /* of the frames that are, or were, lent */
    unsigned lent;              /* of frames: in use */
    unsigned next;              /* the first that waits for buffers */
    unsigned soft_left;         /* segments of frames[next] to come */
    unsigned soft_work;         /* frames processed since it was reset */
    PortRxSoft *soft;           /* NULL until it is needed */
    PortRxInto *into;           /* NULL until it is needed */
    QEMU_ALIGNED(PORT_CACHE_LINE) VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    uint8_t head[VHOST_DP_HEAD_BYTES];      /* of the frame at hand */
};

QEMU_BUILD_BUG_ON(offsetof(PortRx, frames) != PORT_CACHE_LINE);

/* From this mean length on, frames are received by rx_into (measured) */
#define PORT_RX_INTO_MIN 4096

/* Counts delivered frames, and learns from their length */
static inline void rx_count_burst(VhostDPEnginePort *port, uint64_t packets,
                                  uint64_t bytes)
{
    if (packets) {
        port->rx->long_frames = bytes >= packets * PORT_RX_INTO_MIN;
        port_count_burst(port, VHOST_DP_RX, packets, bytes);
    }
}

/* Counts chains that were found; @notified: the guest was asked to kick */
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

/* ---- port-rx-into.c ---- */

typedef enum PortRxIntoResult {
    PORT_RX_INTO_MORE,          /* there may be more frames */
    PORT_RX_INTO_NONE,          /* there are none now */
    PORT_RX_INTO_UNFIT,         /* not with the buffers that are posted */
} PortRxIntoResult;

/*
 * One burst of long frames to the guest, by the driver's rx_into.  No frames
 * are lent.  Afterwards there is one if the guest does not take it as it is.
 */
PortRxIntoResult vhost_dp_port_rx_into(VhostDPEnginePort *port);

void vhost_dp_port_rx_into_free(PortRxInto *into);

#endif /* NET_VHOST_DP_PORT_RX_INT_H */
