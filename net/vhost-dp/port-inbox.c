/*
 * vhost-dp: frames from one queue pair's thread to another pair's guest queue
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: there are two buffers.  Writers append to one of them,
 * each frame behind its metadata, under the inbox's lock, which they hold for a
 * burst.  The reader takes a buffer that is not empty, and lends frames from it
 * without the lock; meanwhile writers have the other one.  So what is lost is
 * decided where it is written, by the room that is left in one buffer, and the
 * reader never waits for more than a burst's copy.
 *
 * The lock is a leaf.  The first to write something, or to lose something,
 * since the reader looked schedules its bottom half.
 *
 * Frames are numbered as they are accepted, and the reader tells up to which
 * number it is done.  So a writer can know that the frames of a flow were
 * delivered before it sends others of the same flow another way.  And when the
 * reader's queue stops or starts, a number says which frames are from before
 * (@stale), although others may have been put meanwhile.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "port-inbox.h"
#include "port-stored.h"

typedef struct InboxBuffer {
    size_t used;                /* bytes of data */
    unsigned frames;            /* in them that the reader has not had */
    size_t next;                /* the first of those */
    QEMU_ALIGNED(PORT_STORED_ALIGN) uint8_t data[VHOST_DP_INBOX_BYTES];
} InboxBuffer;

struct VhostDPInbox {
    bool ready;                 /* atomic; written under the lock */
    bool expired;               /* the same: what waits is to be lost */
    uint64_t done;              /* atomic, the reader's: delivered or lost */

    QemuMutex lock;
    QEMUBH *bh;                 /* NULL: retired */
    bool open;
    unsigned writers;
    InboxBuffer *in;            /* for writers, or NULL: none is needed yet */
    InboxBuffer *spare;         /* empty, or NULL */
    uint64_t accepted;          /* frames that were put, and not lost at once */
    uint64_t stale;             /* those up to this number nobody shall get */
    VhostDPInboxLost lost;

    /* The reader's own */
    unsigned lent;              /* frames, until they are released */
    InboxBuffer *out;           /* some of it is not read or lent, or NULL */
};

VhostDPInbox *vhost_dp_inbox_new(QEMUBH *bh)
{
    VhostDPInbox *inbox = g_new0(VhostDPInbox, 1);

    inbox->bh = bh;
    qemu_mutex_init(&inbox->lock);
    return inbox;
}

void vhost_dp_inbox_free(VhostDPInbox *inbox)
{
    qemu_mutex_destroy(&inbox->lock);
    g_free(inbox->in);
    g_free(inbox->spare);
    g_free(inbox->out);
    g_free(inbox);
}

/* ---- Writers ---- */

/* Lock held: memory that nobody is going to use */
static void inbox_trim(VhostDPInbox *inbox)
{
    if (inbox->writers) {
        return;
    }
    g_clear_pointer(&inbox->spare, g_free);
    if (inbox->in && !inbox->in->frames) {
        g_clear_pointer(&inbox->in, g_free);
    }
}

void vhost_dp_inbox_join(VhostDPInbox *inbox)
{
    QEMU_LOCK_GUARD(&inbox->lock);
    inbox->writers++;
}

void vhost_dp_inbox_leave(VhostDPInbox *inbox)
{
    QEMU_LOCK_GUARD(&inbox->lock);
    inbox->writers--;
    inbox_trim(inbox);
}

/* Lock held: the buffer to write to, or NULL if there is no memory */
static InboxBuffer *inbox_buffer(VhostDPInbox *inbox)
{
    if (!inbox->in) {
        inbox->in = g_steal_pointer(&inbox->spare);
    }
    if (!inbox->in) {
        inbox->in = g_try_new(InboxBuffer, 1);
        if (inbox->in) {
            inbox->in->used = 0;
            inbox->in->frames = 0;
            inbox->in->next = 0;
        }
    }
    return inbox->in;
}

/* Returns false if there is no room */
static bool inbox_write(InboxBuffer *buf, const VhostDPFrame *frame)
{
    size_t size = port_stored_size(frame->len);

    if (size > VHOST_DP_INBOX_BYTES - buf->used) {
        return false;
    }
    port_stored_write((void *)(buf->data + buf->used), frame);
    buf->used += size;
    buf->frames++;
    return true;
}

bool vhost_dp_inbox_put(VhostDPInbox *inbox, const VhostDPFrame *frames,
                        const uint8_t *which, unsigned n, uint64_t *position)
{
    InboxBuffer *buf;
    unsigned i = 0;

    QEMU_LOCK_GUARD(&inbox->lock);
    if (!inbox->open) {
        return false;
    }
    buf = inbox_buffer(inbox);
    /* In order: what follows one that has no room is lost, too */
    while (buf && i < n && inbox_write(buf, &frames[which ? which[i] : i])) {
        i++;
    }
    if (!inbox->ready || (i < n && !inbox->lost.full)) {
        qatomic_set(&inbox->ready, true);
        qemu_bh_schedule(inbox->bh);
    }
    inbox->lost.full += n - i;
    inbox->accepted += i;
    *position = inbox->accepted;
    return true;
}

bool vhost_dp_inbox_is_done(VhostDPInbox *inbox, uint64_t position)
{
    /* What the reader did with the frames comes before what the caller does */
    return qatomic_load_acquire(&inbox->done) >= position;
}

void vhost_dp_inbox_expire(VhostDPInbox *inbox)
{
    QEMU_LOCK_GUARD(&inbox->lock);
    if (inbox->bh && !inbox->expired) {
        qatomic_set(&inbox->expired, true);
        qemu_bh_schedule(inbox->bh);
    }
}

void vhost_dp_inbox_wake(VhostDPInbox *inbox)
{
    QEMU_LOCK_GUARD(&inbox->lock);
    if (inbox->bh) {
        qemu_bh_schedule(inbox->bh);
    }
}

/* ---- Control, and the reader ---- */

void vhost_dp_inbox_open(VhostDPInbox *inbox, bool anew)
{
    QEMU_LOCK_GUARD(&inbox->lock);
    if (!inbox->bh) {
        return;
    }
    if (anew) {
        inbox->stale = inbox->accepted;
    }
    inbox->open = true;
}

void vhost_dp_inbox_close(VhostDPInbox *inbox)
{
    QEMU_LOCK_GUARD(&inbox->lock);
    inbox->open = false;
    inbox->stale = inbox->accepted;
}

/* ---- The reader ---- */

/* The buffer in hand is done with */
static void inbox_give_back(VhostDPInbox *inbox)
{
    InboxBuffer *buf = g_steal_pointer(&inbox->out);

    buf->used = 0;
    buf->frames = 0;
    buf->next = 0;
    WITH_QEMU_LOCK_GUARD(&inbox->lock) {
        /* There are two at most: without this one, one that waits for use */
        g_free(inbox->spare);
        inbox->spare = buf;
        inbox_trim(inbox);
    }
}

/* The buffer to read from, or NULL if there are no frames */
static InboxBuffer *inbox_take(VhostDPInbox *inbox)
{
    if (!inbox->out) {
        QEMU_LOCK_GUARD(&inbox->lock);
        qatomic_set(&inbox->ready, false);
        if (inbox->in && inbox->in->frames) {
            inbox->out = g_steal_pointer(&inbox->in);
        }
    }
    return inbox->out;
}

/* Loses frames up to number @last.  None are lent.  Returns how many. */
static uint64_t inbox_lose(VhostDPInbox *inbox, uint64_t last)
{
    uint64_t done = inbox->done;
    uint64_t lost = 0;
    InboxBuffer *buf;

    while (done + lost < last && (buf = inbox_take(inbox))) {
        const PortStoredFrame *f = (void *)(buf->data + buf->next);

        buf->next += port_stored_size(f->len);
        buf->frames--;
        lost++;
        if (buf->next == buf->used) {
            inbox_give_back(inbox);
        }
    }
    qatomic_store_release(&inbox->done, done + lost);
    return lost;
}

void vhost_dp_inbox_drop_stale(VhostDPInbox *inbox)
{
    uint64_t stale, lost;

    if (inbox->lent) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&inbox->lock) {
        stale = inbox->stale;
    }
    lost = inbox_lose(inbox, stale);
    WITH_QEMU_LOCK_GUARD(&inbox->lock) {
        inbox->lost.closed += lost;
        inbox_trim(inbox);
    }
}

bool vhost_dp_inbox_is_expired(VhostDPInbox *inbox)
{
    return qatomic_read(&inbox->expired);
}

void vhost_dp_inbox_end_expiry(VhostDPInbox *inbox, bool lose)
{
    uint64_t last, lost;

    WITH_QEMU_LOCK_GUARD(&inbox->lock) {
        qatomic_set(&inbox->expired, false);
        last = lose ? inbox->accepted : 0;
    }
    lost = inbox_lose(inbox, last);
    WITH_QEMU_LOCK_GUARD(&inbox->lock) {
        inbox->lost.full += lost;
        inbox_trim(inbox);
    }
}

void vhost_dp_inbox_retire(VhostDPInbox *inbox)
{
    /* At once: who finds the inbox open schedules the bottom half */
    WITH_QEMU_LOCK_GUARD(&inbox->lock) {
        inbox->bh = NULL;
        inbox->open = false;
        inbox->stale = inbox->accepted;
    }
    vhost_dp_inbox_drop_stale(inbox);
}

bool vhost_dp_inbox_ready(VhostDPInbox *inbox)
{
    return inbox->out || qatomic_read(&inbox->ready);
}

unsigned vhost_dp_inbox_get(VhostDPInbox *inbox, VhostDPFrame *frames,
                            unsigned n)
{
    InboxBuffer *buf = inbox_take(inbox);
    size_t bytes = 0;
    unsigned i;

    if (!buf) {
        return 0;
    }
    for (i = 0; i < n && buf->next < buf->used &&
                bytes < VHOST_DP_BURST_BYTES; i++) {
        PortStoredFrame *f = (void *)(buf->data + buf->next);

        port_stored_lend(f, &frames[i]);
        buf->next += port_stored_size(f->len);
        bytes += f->len;
    }
    buf->frames -= i;
    inbox->lent = i;
    return i;
}

void vhost_dp_inbox_release(VhostDPInbox *inbox)
{
    qatomic_store_release(&inbox->done, inbox->done + inbox->lent);
    inbox->lent = 0;
    if (inbox->out && inbox->out->next == inbox->out->used) {
        inbox_give_back(inbox);
    }
}

VhostDPInboxLost vhost_dp_inbox_take_lost(VhostDPInbox *inbox)
{
    VhostDPInboxLost lost;

    QEMU_LOCK_GUARD(&inbox->lock);
    lost = inbox->lost;
    inbox->lost = (VhostDPInboxLost) {};
    return lost;
}
