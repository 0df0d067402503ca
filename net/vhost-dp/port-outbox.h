/*
 * vhost-dp: frames that another queue pair's thread is to send
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A driver may have fewer queue pairs than the netdev.  A port without one of
 * its own copies what the guest sends into its outbox, and the thread of
 * another port, the outbox's reader, gives it to that port's driver queue.  So
 * no thread uses a driver queue of another pair.
 *
 * An outbox belongs to one port, its only writer.  It is bounded, and what does
 * not fit stays with the writer, who is told when there is room.  It has memory
 * only while it has a reader.
 */

#ifndef NET_VHOST_DP_PORT_OUTBOX_H
#define NET_VHOST_DP_PORT_OUTBOX_H

#include "net/vhost-dp.h"

/* The most that waits: some bursts of short frames, or three long frames */
#define VHOST_DP_OUTBOX_BYTES   (256 * KiB)

/* Instead of the number of a port: nobody reads the outbox */
#define VHOST_DP_OUTBOX_NOBODY  UINT_MAX

typedef struct VhostDPOutbox VhostDPOutbox;

/* An outbox that nobody reads.  Thread: any. */
VhostDPOutbox *vhost_dp_outbox_new(void);

/* Called when nobody reads or writes any more.  Thread: any. */
void vhost_dp_outbox_free(VhostDPOutbox *outbox);

/* ---- The writer: one thread ---- */

/**
 * vhost_dp_outbox_route: choose who reads
 * @reader: the number of a port, or VHOST_DP_OUTBOX_NOBODY
 *
 * A flow's frames are not to overtake each other, so another reader is chosen
 * only when the present one has sent all that was put.
 *
 * Returns false if that is not so yet.  vhost_dp_outbox_release() will say that
 * the writer has to be woken.
 */
bool vhost_dp_outbox_route(VhostDPOutbox *outbox, unsigned reader);

/**
 * vhost_dp_outbox_put: copy frames into the outbox
 * @frames: @n frames with their metadata
 * @lost: set to the number of frames, behind those that were copied, for which
 *        there is no memory; nobody says when there will be
 *
 * Returns how many were copied, from the first on.  If that, and @lost, are
 * less than @n, the others do not fit.  Then vhost_dp_outbox_release() will say
 * that the writer has to be woken.
 */
unsigned vhost_dp_outbox_put(VhostDPOutbox *outbox, const VhostDPFrame *frames,
                             unsigned n, unsigned *lost);

/* Has vhost_dp_outbox_release() not said yet that the writer is to be woken? */
bool vhost_dp_outbox_is_awaited(VhostDPOutbox *outbox);

/* ---- The reader: one thread at a time ---- */

/**
 * vhost_dp_outbox_get: lend frames to the reader
 * @reader: the caller's number.  If that is not the outbox's reader, there are
 *          no frames.
 * @frames: room for @n of them
 * @more: set if there are more than those
 *
 * The oldest come first, each in one piece, in memory that the reader may
 * change.  Ends with the frame that brings the burst to VHOST_DP_BURST_BYTES.
 * Frames that were lent before and not released are lent again.
 *
 * Returns the number of frames.
 */
unsigned vhost_dp_outbox_get(VhostDPOutbox *outbox, unsigned reader,
                             VhostDPFrame *frames, unsigned n, bool *more);

/**
 * vhost_dp_outbox_release: the first @n of the lent frames are done with
 *
 * The reader must not use the outbox afterwards, until the next
 * vhost_dp_outbox_get().
 *
 * Returns true if the writer has to be woken.
 */
bool vhost_dp_outbox_release(VhostDPOutbox *outbox, unsigned n);

#endif /* NET_VHOST_DP_PORT_OUTBOX_H */
