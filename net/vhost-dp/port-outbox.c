/*
 * vhost-dp: frames that another queue pair's thread is to send
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a ring of bytes, in which each frame stands behind its
 * metadata, in one piece.  Positions count bytes and are never set back.  The
 * writer copies to behind @head, the reader uses what is between @tail and
 * @head, and neither holds the lock meanwhile: it guards the positions, who the
 * reader is, and whether the writer waits.  The lock is a leaf.
 *
 * The reader is changed while the outbox is empty, so two never use it at once.
 * One that was it before may look into the outbox late: it finds that the
 * frames are not its own.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "port-outbox.h"
#include "port-stored.h"

/* A length: go on at the ring's begin */
#define OUTBOX_SKIP UINT32_MAX

/* Where the end of the ring is in the way, a frame needs room twice */
QEMU_BUILD_BUG_ON(VHOST_DP_OUTBOX_BYTES <
                  2 * (sizeof(PortStoredFrame) + VHOST_DP_MAX_FRAME +
                       PORT_STORED_ALIGN));

/* What the writer waits for */
typedef enum OutboxAwaited {
    OUTBOX_NOTHING,
    OUTBOX_ROOM,                /* half of the outbox is free */
    OUTBOX_EMPTY,
} OutboxAwaited;

struct VhostDPOutbox {
    QemuMutex lock;             /* guards: */
    unsigned reader;
    OutboxAwaited awaited;      /* atomic */
    uint64_t head;              /* end of what was put */
    uint64_t tail;              /* end of what was released */

    /* The writer's own; the reader uses what is in it, and no more */
    uint8_t *data;              /* NULL: not needed yet */
};

VhostDPOutbox *vhost_dp_outbox_new(void)
{
    VhostDPOutbox *outbox = g_new0(VhostDPOutbox, 1);

    outbox->reader = VHOST_DP_OUTBOX_NOBODY;
    qemu_mutex_init(&outbox->lock);
    return outbox;
}

void vhost_dp_outbox_free(VhostDPOutbox *outbox)
{
    if (outbox) {
        qemu_mutex_destroy(&outbox->lock);
        g_free(outbox->data);
        g_free(outbox);
    }
}

static inline PortStoredFrame *outbox_at(VhostDPOutbox *outbox,
                                         uint64_t position)
{
    return (void *)(outbox->data + position % VHOST_DP_OUTBOX_BYTES);
}

/* Bytes from @position to the end of the ring */
static inline size_t outbox_before_end(uint64_t position)
{
    return VHOST_DP_OUTBOX_BYTES - position % VHOST_DP_OUTBOX_BYTES;
}

/* ---- The writer ---- */

bool vhost_dp_outbox_route(VhostDPOutbox *outbox, unsigned reader)
{
    QEMU_LOCK_GUARD(&outbox->lock);
    if (outbox->head != outbox->tail) {
        qatomic_set(&outbox->awaited, OUTBOX_EMPTY);
        return false;
    }
    outbox->reader = reader;
    qatomic_set(&outbox->awaited, OUTBOX_NOTHING);
    if (reader == VHOST_DP_OUTBOX_NOBODY) {
        g_clear_pointer(&outbox->data, g_free);
    }
    return true;
}

/*
 * Copies frames to behind *@head, which is not to pass @end.  Returns how many
 * there was room for.
 */
static unsigned outbox_fill(VhostDPOutbox *outbox, const VhostDPFrame *frames,
                            unsigned n, uint64_t *head, uint64_t end)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        size_t size = port_stored_size(frames[i].len);
        size_t rest = outbox_before_end(*head);
        size_t skip = size > rest ? rest : 0;

        if (skip + size > end - *head) {
            break;
        }
        if (skip) {
            outbox_at(outbox, *head)->len = OUTBOX_SKIP;
            *head += skip;
        }
        port_stored_write(outbox_at(outbox, *head), &frames[i]);
        *head += size;
    }
    return i;
}

/*
 * Tells the reader what there is.  @wait: there was no room for more; returns
 * false if there is now, up to the new *@tail.
 */
static bool outbox_publish(VhostDPOutbox *outbox, uint64_t head, uint64_t *tail,
                           bool wait)
{
    QEMU_LOCK_GUARD(&outbox->lock);
    outbox->head = head;
    if (wait && outbox->tail == *tail) {
        qatomic_set(&outbox->awaited, OUTBOX_ROOM);
        return true;
    }
    *tail = outbox->tail;
    return !wait;
}

unsigned vhost_dp_outbox_put(VhostDPOutbox *outbox, const VhostDPFrame *frames,
                             unsigned n, unsigned *lost)
{
    unsigned done = 0;
    uint64_t head, tail;

    *lost = 0;
    if (!outbox->data) {
        outbox->data = g_try_malloc(VHOST_DP_OUTBOX_BYTES);
        if (!outbox->data) {
            *lost = n;
            return 0;
        }
    }
    WITH_QEMU_LOCK_GUARD(&outbox->lock) {
        head = outbox->head;
        tail = outbox->tail;
    }
    do {
        done += outbox_fill(outbox, frames + done, n - done, &head,
                            tail + VHOST_DP_OUTBOX_BYTES);
    } while (!outbox_publish(outbox, head, &tail, done < n));
    return done;
}

bool vhost_dp_outbox_is_awaited(VhostDPOutbox *outbox)
{
    return qatomic_read(&outbox->awaited) != OUTBOX_NOTHING;
}

/* ---- The reader ---- */

/* Where the next frame is: at @position, or at the ring's begin */
static uint64_t outbox_find(VhostDPOutbox *outbox, uint64_t position)
{
    return outbox_at(outbox, position)->len == OUTBOX_SKIP ?
           position + outbox_before_end(position) : position;
}

unsigned vhost_dp_outbox_get(VhostDPOutbox *outbox, unsigned reader,
                             VhostDPFrame *frames, unsigned n, bool *more)
{
    uint64_t head, at;
    size_t bytes = 0;
    unsigned i;

    *more = false;
    WITH_QEMU_LOCK_GUARD(&outbox->lock) {
        if (outbox->reader != reader) {
            return 0;
        }
        head = outbox->head;
        at = outbox->tail;
    }
    for (i = 0; i < n && at != head && bytes < VHOST_DP_BURST_BYTES; i++) {
        PortStoredFrame *f;

        at = outbox_find(outbox, at);
        f = outbox_at(outbox, at);
        port_stored_lend(f, &frames[i]);
        at += port_stored_size(f->len);
        bytes += f->len;
    }
    *more = at != head;
    return i;
}

bool vhost_dp_outbox_release(VhostDPOutbox *outbox, unsigned n)
{
    /* Nobody else changes it, and nobody else is the reader before it does */
    uint64_t tail = outbox->tail;
    OutboxAwaited awaited;
    uint64_t used;

    for (; n; n--) {
        tail = outbox_find(outbox, tail);
        tail += port_stored_size(outbox_at(outbox, tail)->len);
    }
    QEMU_LOCK_GUARD(&outbox->lock);
    outbox->tail = tail;
    used = outbox->head - tail;
    awaited = outbox->awaited;
    if (awaited == OUTBOX_NOTHING ||
        used > (awaited == OUTBOX_ROOM ? VHOST_DP_OUTBOX_BYTES / 2 : 0)) {
        return false;
    }
    qatomic_set(&outbox->awaited, OUTBOX_NOTHING);
    return true;
}
