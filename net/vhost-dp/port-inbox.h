/*
 * vhost-dp: frames from one queue pair's thread to another pair's guest queue
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A frame that a driver has received with one queue pair may be for another
 * one.  No thread uses the ring, the lock or the driver of another pair.  So
 * the frame is copied into the other port's inbox, and that port's thread
 * delivers it, as it delivers frames that its own driver lends.
 *
 * An inbox belongs to one port, its reader.  Its writers are the ports of the
 * netdev, the reader among them, which are freed together with it.  An inbox is
 * bounded.  It gets memory with its first frame, and gives that back when it is
 * empty and nobody has joined it.
 */

#ifndef NET_VHOST_DP_PORT_INBOX_H
#define NET_VHOST_DP_PORT_INBOX_H

#include "net/vhost-dp.h"

/* The most that waits.  The reader may have as much again in hand. */
#define VHOST_DP_INBOX_BYTES    (512 * KiB)

typedef struct VhostDPInbox VhostDPInbox;

/**
 * vhost_dp_inbox_new: make a closed inbox for a port
 * @bh: scheduled when there is something to be read.  Owned by the caller, who
 *      calls vhost_dp_inbox_retire() before deleting it.
 *
 * Thread: any.
 */
VhostDPInbox *vhost_dp_inbox_new(QEMUBH *bh);

/* Called when nobody reads or writes any more.  Thread: any. */
void vhost_dp_inbox_free(VhostDPInbox *inbox);

/* ---- Writers.  Each is one thread at a time. ---- */

/* A writer comes and goes: between these calls the inbox keeps its memory */
void vhost_dp_inbox_join(VhostDPInbox *inbox);
void vhost_dp_inbox_leave(VhostDPInbox *inbox);

/**
 * vhost_dp_inbox_put: copy frames into the inbox
 * @frames: an array of frames with their metadata
 * @which: the indices of the @n frames to copy; NULL: the first @n
 * @position: set to the number of the last frame that the inbox has accepted
 *
 * Frames for which there is no room are lost; the reader counts them.
 *
 * Returns false if the inbox is closed: no frame was taken, and @position is
 * as it was.
 */
bool vhost_dp_inbox_put(VhostDPInbox *inbox, const VhostDPFrame *frames,
                        const uint8_t *which, unsigned n, uint64_t *position);

/**
 * vhost_dp_inbox_is_done: were all frames up to @position delivered, or lost?
 *
 * If so, whatever the caller does next happens after their delivery.
 */
bool vhost_dp_inbox_is_done(VhostDPInbox *inbox, uint64_t position);

/* Ask the reader to lose the frames that wait: nobody took them for long */
void vhost_dp_inbox_expire(VhostDPInbox *inbox);

/* Schedules the reader's bottom half, if it has not retired.  Thread: any. */
void vhost_dp_inbox_wake(VhostDPInbox *inbox);

/* ---- Any thread, with the lock of the reader's queue pair ---- */

/**
 * vhost_dp_inbox_open: accept frames from now on
 * @anew: those that were put before are not for the queue as it is now: they
 *        are lost
 */
void vhost_dp_inbox_open(VhostDPInbox *inbox, bool anew);

/* Accept no frames any more, and lose those that were put */
void vhost_dp_inbox_close(VhostDPInbox *inbox);

/* ---- The reader: one thread ---- */

/*
 * Lose what vhost_dp_inbox_open() or vhost_dp_inbox_close() says.  Does nothing
 * while frames are lent.
 */
void vhost_dp_inbox_drop_stale(VhostDPInbox *inbox);

/* The reader has gone: accept no frames, and never schedule the bh again */
void vhost_dp_inbox_retire(VhostDPInbox *inbox);

/* May vhost_dp_inbox_get() or vhost_dp_inbox_take_lost() find something? */
bool vhost_dp_inbox_ready(VhostDPInbox *inbox);

/**
 * vhost_dp_inbox_get: lend frames to the reader
 * @frames: room for @n of them
 *
 * The oldest come first.  Ends with the frame that brings the burst to
 * VHOST_DP_BURST_BYTES.  Frames that were lent before have been released.
 * Returns the number of frames.
 */
unsigned vhost_dp_inbox_get(VhostDPInbox *inbox, VhostDPFrame *frames,
                            unsigned n);

/* Give back all lent frames */
void vhost_dp_inbox_release(VhostDPInbox *inbox);

/* Was vhost_dp_inbox_expire() called?  Then the reader drops frames soon. */
bool vhost_dp_inbox_is_expired(VhostDPInbox *inbox);

/*
 * The answer to vhost_dp_inbox_expire()
 * @lose: lose the frames that wait, for want of room; none are lent.  Otherwise
 *        they are about to be delivered, and a writer may ask again.
 */
void vhost_dp_inbox_end_expiry(VhostDPInbox *inbox, bool lose);

/* Numbers of lost frames */
typedef struct VhostDPInboxLost {
    uint64_t full;              /* there was no room, or they expired */
    uint64_t closed;            /* by vhost_dp_inbox_drop_stale() */
} VhostDPInboxLost;

/* Returns the numbers since the last call */
VhostDPInboxLost vhost_dp_inbox_take_lost(VhostDPInbox *inbox);

#endif /* NET_VHOST_DP_PORT_INBOX_H */
