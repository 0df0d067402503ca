/*
 * vhost-dp: offloads that the engine does in software
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See port-soft.c.  Thread: the port's IOThread.  Lock: the queue pair's,
 * unless a comment says otherwise; functions that free something need none.
 */

#ifndef NET_VHOST_DP_PORT_SOFT_H
#define NET_VHOST_DP_PORT_SOFT_H

#include "port-frame.h"

/* ---- To the driver ---- */

/* What becomes of a chain that was taken from the transmit queue */
typedef enum PortFateKind {
    PORT_FATE_SEND,             /* the chain is frames of the burst */
    PORT_FATE_DROP,             /* the frame is dropped for @reason */
    PORT_FATE_REST,             /* the frame is sent in later bursts */
    PORT_FATE_CUT,              /* undecided: its frame has to be cut first */
    PORT_FATE_STAY,             /* stays in the ring: no room in the burst */
} PortFateKind;

typedef struct PortFate {
    uint8_t kind;               /* PortFateKind */
    uint8_t reason;             /* VhostDPDropReason, of PORT_FATE_DROP only */
} PortFate;

QEMU_BUILD_BUG_ON(VHOST_DP_DROP_REASON__MAX > UINT8_MAX);

static inline PortFate port_fate(PortFateKind kind)
{
    return (PortFate) { .kind = kind };
}

static inline PortFate port_fate_drop(VhostDPDropReason reason)
{
    return (PortFate) { .kind = PORT_FATE_DROP, .reason = reason };
}

/* State of cutting frames; the caller has a pointer to it, NULL at first */
typedef struct PortTxSoft PortTxSoft;

/* Completes the partial checksum of a frame of the burst */
void vhost_dp_port_soft_checksum(PortTxBurst *burst, VhostDPFrame *frame);

/*
 * Cuts the frame of @chain into segments.  The frame stands in @burst behind
 * the last one that is counted, and its segments take its place.
 *
 * Returns PORT_FATE_SEND; PORT_FATE_REST if the whole frame is sent in later
 * bursts, and this one is empty; PORT_FATE_STAY or PORT_FATE_DROP.
 */
PortFate vhost_dp_port_soft_cut(VhostDPEnginePort *port, PortTxSoft **soft,
                                PortTxBurst *burst, unsigned chain);

/*
 * After the driver has taken only the first @taken frames of a burst: if the
 * next one is a segment in the middle of a chain, copies the rest of the
 * chain's frame, to be sent in later bursts.  Returns true if so; then the
 * chain can be used.
 */
bool vhost_dp_port_soft_keep_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  PortTxBurst *burst, unsigned taken);

/*
 * Copies @frame, of another port and checked there, to be sent in segments by
 * later bursts, as the rest of a frame.  Its bytes are private memory.  Returns
 * false if even the segments are too large for the driver.
 */
bool vhost_dp_port_soft_take(VhostDPEnginePort *port, PortTxSoft **soft,
                             const VhostDPFrame *frame);

/* Is there the rest of a frame to send?  Lock: none. */
bool vhost_dp_port_soft_has_rest(const PortTxSoft *soft);

/* Fills a burst with segments of the rest */
void vhost_dp_port_soft_make_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  PortTxBurst *burst);

/*
 * After the driver has taken @taken frames of that burst: counts the frame as
 * sent if no segment is left, and the frame is the port's own.
 */
void vhost_dp_port_soft_sent_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  unsigned taken);

/* Drops the rest, if there is one, and counts its frame.  Lock: none. */
void vhost_dp_port_soft_drop_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  VhostDPDropReason reason);

void vhost_dp_port_soft_free_tx(PortTxSoft *soft);

/* ---- To the guest ---- */

/* A frame that is delivered in parts; the caller's pointer is NULL at first */
typedef struct PortRxSoft PortRxSoft;

/*
 * Returns what the guest gets in place of the frame @lent: the frame, or a part
 * of it, with metadata that the guest accepts.  Returns the same part again
 * until vhost_dp_port_soft_rx_next(), and NULL if the metadata is malformed.
 */
const VhostDPFrame *vhost_dp_port_soft_rx_frame(VhostDPEnginePort *port,
                                                PortRxSoft **soft,
                                                const VhostDPFrame *lent);

/* The part was delivered: returns the number of parts that are left */
unsigned vhost_dp_port_soft_rx_next(VhostDPEnginePort *port, PortRxSoft *soft);

/*
 * Is a frame being delivered in parts?  Its other parts have to follow,
 * whatever the guest accepts meanwhile.  Lock: none.
 */
bool vhost_dp_port_soft_rx_active(const PortRxSoft *soft);

/*
 * The frame that is being delivered, if there is one, was lent before anybody
 * asked for hashes: its hash is not known.  @soft may be NULL.  Lock: none.
 */
void vhost_dp_port_soft_rx_set_no_hash(PortRxSoft *soft);

/* Drops the parts that are left.  @soft may be NULL.  Lock: none. */
void vhost_dp_port_soft_rx_end(PortRxSoft *soft);

void vhost_dp_port_soft_free_rx(PortRxSoft *soft);

#endif /* NET_VHOST_DP_PORT_SOFT_H */
