/*
 * vhost-dp: frames from one queue pair's thread to another pair's guest queue
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A frame that a driver received by one queue pair may be for another one.  No
 * thread touches another's ring, lock or driver: the frame is copied into the
 * other port's inbox, and that port's thread delivers it, as it does what its
 * own driver lends.
 *
 * An inbox belongs to one port, its reader; its writers are the other ports of
 * the netdev, which go when it goes.  It is bounded, and has memory only while
 * somebody writes to it.
 */

#ifndef NET_VHOST_DP_PORT_INBOX_H
#define NET_VHOST_DP_PORT_INBOX_H

#include "net/vhost-dp.h"

/* A reader may have as much again in hand as waits for it */
#define VHOST_DP_INBOX_BYTES    (512 * KiB)

typedef struct VhostDPInbox VhostDPInbox;

/**
 * vhost_dp_inbox_new: make the inbox of a port, which is closed
 * @bh: scheduled when there is something to be read.  It stays the caller's,
 *      who calls vhost_dp_inbox_retire() before deleting it.
 *
 * Thread: any.
 */
VhostDPInbox *vhost_dp_inbox_new(QEMUBH *bh);

/* Nobody reads or writes any more.  Thread: any. */
void vhost_dp_inbox_free(VhostDPInbox *inbox);

/* ---- Writers.  Each is one thread at a time. ---- */

/* A writer begins, and ends, to write all the time: memory is kept for it */
void vhost_dp_inbox_join(VhostDPInbox *inbox);
void vhost_dp_inbox_leave(VhostDPInbox *inbox);

/**
 * vhost_dp_inbox_put: copy frames into the inbox
 * @frames: @n frames with their metadata
 *
 * Frames for which there is no room are lost, and the reader counts them.
 *
 * Returns false if nobody reads at present: no frame was taken.
 */
bool vhost_dp_inbox_put(VhostDPInbox *inbox, const VhostDPFrame *frames,
                        unsigned n);

/* ---- The reader: one thread ---- */

/* Be ready for frames from now on, if that is not so yet */
void vhost_dp_inbox_open(VhostDPInbox *inbox);

/* Take no frames any more; those that wait, or are in hand, are lost */
void vhost_dp_inbox_close(VhostDPInbox *inbox);

/* The reader has gone: nothing is accepted any more, and no bh scheduled */
void vhost_dp_inbox_retire(VhostDPInbox *inbox);

/* May a get find something, or take_lost? */
bool vhost_dp_inbox_ready(VhostDPInbox *inbox);

/**
 * vhost_dp_inbox_get: lend frames to the reader
 * @frames: room for @n of them
 *
 * Oldest first, VHOST_DP_BURST_BYTES at most and the frame that crosses that.
 * What was lent before has been released.  Returns their number.
 */
unsigned vhost_dp_inbox_get(VhostDPInbox *inbox, VhostDPFrame *frames,
                            unsigned n);

/* All frames that were lent are given back */
void vhost_dp_inbox_release(VhostDPInbox *inbox);

/* Frames that were lost since the last call: for want of room, or in close */
typedef struct VhostDPInboxLost {
    uint64_t full;
    uint64_t closed;
} VhostDPInboxLost;

VhostDPInboxLost vhost_dp_inbox_take_lost(VhostDPInbox *inbox);

#endif /* NET_VHOST_DP_PORT_INBOX_H */
