/*
 * vhost-dp: what the engine does in software for drivers and guests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See port-soft.c.  Thread: the port's IOThread.  Lock: the queue pair's, but
 * for what ends or frees something.
 */

#ifndef NET_VHOST_DP_PORT_SOFT_H
#define NET_VHOST_DP_PORT_SOFT_H

#include "port-frame.h"

/* ---- To the driver ---- */

/* What becomes of a chain that was taken from the transmit queue */
typedef enum PortFateKind {
    PORT_FATE_SEND,             /* it is a frame of the burst, or several */
    PORT_FATE_DROP,             /* for @reason */
    PORT_FATE_REST,             /* counted when the rest of it was sent */
    PORT_FATE_CUT,              /* it has to be cut: then one of the others */
    PORT_FATE_STAY,             /* it stays in the ring: no room in the burst */
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

/* For cutting frames; the caller has a pointer to it, NULL at first */
typedef struct PortTxSoft PortTxSoft;

/* Finishes the checksum of a frame of the burst */
void vhost_dp_port_soft_checksum(PortTxBurst *burst, VhostDPFrame *frame);

/*
 * Cuts the frame behind the last one of @burst, which is that of @chain, into
 * segments, which take its place.
 *
 * Returns PORT_FATE_SEND; PORT_FATE_REST: all of it is to be sent later, and
 * the burst is empty; PORT_FATE_STAY or PORT_FATE_DROP.
 */
PortFate vhost_dp_port_soft_cut(VhostDPEnginePort *port, PortTxSoft **soft,
                                PortTxBurst *burst, unsigned chain);

/*
 * The driver took @taken frames of a burst, fewer than there are.  If it
 * stopped inside of a chain, the rest of that is kept, to be sent later.
 * Returns true if so: the chain can be used.
 */
bool vhost_dp_port_soft_keep_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  PortTxBurst *burst, unsigned taken);

/* Is there a rest?  No lock. */
bool vhost_dp_port_soft_has_rest(const PortTxSoft *soft);

/* Makes a burst of the rest, as much as there is room for */
void vhost_dp_port_soft_make_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  PortTxBurst *burst);

/*
 * The driver took @taken frames of that burst.  If that was all, the frame is
 * counted as sent.
 */
void vhost_dp_port_soft_sent_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  unsigned taken);

/* Forgets the rest, if there is one, and counts its frame as lost.  No lock. */
void vhost_dp_port_soft_drop_rest(VhostDPEnginePort *port, PortTxSoft *soft,
                                  VhostDPDropReason reason);

void vhost_dp_port_soft_free_tx(PortTxSoft *soft);

/* ---- To the guest ---- */

/* A frame that is delivered in parts; the caller's pointer is NULL at first */
typedef struct PortRxSoft PortRxSoft;

/*
 * What the guest gets in place of the frame @lent: the same, or a part of it,
 * with metadata that it agreed to.  The same again until
 * vhost_dp_port_soft_rx_next().  Returns NULL if the metadata is malformed.
 */
const VhostDPFrame *vhost_dp_port_soft_rx_frame(VhostDPEnginePort *port,
                                                PortRxSoft **soft,
                                                const VhostDPFrame *lent);

/* It was delivered: returns the number of parts to come */
unsigned vhost_dp_port_soft_rx_next(VhostDPEnginePort *port, PortRxSoft *soft);

/*
 * Does a frame wait there, or the rest of it?  It ends there, whatever the
 * guest agrees to in the meantime.  No lock.
 */
bool vhost_dp_port_soft_rx_active(const PortRxSoft *soft);

/* Forgets the parts to come.  @soft may be NULL.  No lock. */
void vhost_dp_port_soft_rx_end(PortRxSoft *soft);

void vhost_dp_port_soft_free_rx(PortRxSoft *soft);

#endif /* NET_VHOST_DP_PORT_SOFT_H */
