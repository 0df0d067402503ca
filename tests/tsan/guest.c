/*
 * vhost-dp stress: a guest that uses a queue pair as it should
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include <sys/eventfd.h>
#include "qemu/atomic.h"
#include "qemu/lockable.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_net.h"
#include "../bench/util.h"
#include "emulator.h"
#include "guest.h"
#include "stress.h"

#define BUFFER_SIZE 2048

/* While control changes things a call can be lost for a good reason */
#define IMPATIENT_MS 5

/* ---- What the load generator's code needs ---- */

void bench_fail(const char *fmt, ...)
{
    g_assert_not_reached();
}

void *machine_alloc(Machine *m, size_t size, size_t align, uint64_t *gpa)
{
    *gpa = ROUND_UP(m->ram_next, align);
    m->ram_next = *gpa + size;
    g_assert_cmpuint(m->ram_next, <=, MIN(m->ram_size, EMULATOR_RAM_SIZE));
    memset(m->ram + *gpa, 0, size);
    return m->ram + *gpa;
}

/* ---- Rings ---- */

static void make_ring(Guest *g, unsigned queue, bool packed, bool event_idx,
                      bool indirect)
{
    Ring *ring = &g->ring[queue];
    unsigned i;

    g_free(ring->segs);
    *ring = (Ring) {
        .packed = packed,
        .event_idx = event_idx,
        .indirect = indirect,
        .device_writes = queue == VHOST_DP_RX,
        .num = GUEST_RING_SIZE,
        .nsegs = 2,
        .segs = g_new(RingSeg, 2 * GUEST_RING_SIZE),
    };
    ring->nbuf = indirect ? GUEST_RING_SIZE : GUEST_RING_SIZE / 2;
    g->nidle[queue] = 0;
    for (i = 0; i < ring->nbuf; i++) {
        RingSeg *seg = &ring->segs[2 * i];

        g->buffer[queue][i] = machine_alloc(&g->machine, BUFFER_SIZE, 64,
                                            &seg[0].gpa);
        seg[0].len = 100;
        seg[1].gpa = seg[0].gpa + seg[0].len;
        seg[1].len = BUFFER_SIZE - seg[0].len;
        if (queue == VHOST_DP_TX) {
            /* A header of up to 20 bytes that asks for nothing */
            memset(g->buffer[queue][i] +
                   sizeof(struct virtio_net_hdr_v1_hash), STRESS_TX_BYTE,
                   STRESS_MAX_FRAME);
            seg[1].len = STRESS_MAX_FRAME - seg[0].len;
        }
        g->idle[queue][g->nidle[queue]++] = i;
    }
    ring_init(ring, &g->machine);
}

void guest_reset(Guest *g, bool packed, bool event_idx, bool indirect)
{
    QEMU_LOCK_GUARD(&g->lock);

    g->machine.ram = emulator_guest_ram;
    g->machine.ram_next = g->ram_start;
    g->machine.ram_size = g->ram_start + EMULATOR_PART_SIZE;
    make_ring(g, VHOST_DP_RX, packed, event_idx, indirect);
    make_ring(g, VHOST_DP_TX, packed, event_idx, indirect);
    /* It may be about to sleep, with nothing posted to the new rings */
    eventfd_write(g->call_fd[0], 1);
}

int guest_set_kick(Guest *g, unsigned queue, int fd)
{
    QEMU_LOCK_GUARD(&g->lock);
    int old = g->kick_fd[queue];

    g->kick_fd[queue] = fd;
    return old;
}

/* ---- The thread ---- */

static void check_received(Guest *g, const RingUsed *used)
{
    uint8_t *last = &g->buffer[VHOST_DP_RX][used->id][used->len - 1];

    g_assert_cmpuint(used->len, >, 60);
    g_assert_cmpuint(used->len, <=, BUFFER_SIZE);
    g_assert_cmphex(*last, ==, STRESS_RX_BYTE);
    *last = 0;
}

/* Returns whether there was anything to do.  Lock held. */
static bool reap(Guest *g, unsigned queue)
{
    RingUsed used[RING_BATCH];
    unsigned n = ring_reap(&g->ring[queue], used, RING_BATCH);
    unsigned i;

    for (i = 0; i < n; i++) {
        if (queue == VHOST_DP_RX) {
            check_received(g, &used[i]);
        }
        g->idle[queue][g->nidle[queue]++] = used[i].id;
    }
    qatomic_set(&g->done[queue], g->done[queue] + n);
    return n > 0;
}

/* Lock held */
static void post(Guest *g, unsigned queue)
{
    unsigned n = MIN(g->nidle[queue], RING_BATCH);

    if (!n) {
        return;
    }
    g->nidle[queue] -= n;
    if (ring_post(&g->ring[queue], &g->idle[queue][g->nidle[queue]], n) &&
        g->kick_fd[queue] >= 0) {
        g_assert_cmpint(eventfd_write(g->kick_fd[queue], 1), ==, 0);
    }
}

/* One pass over both queues.  Returns whether there was anything to do. */
static bool work(Guest *g)
{
    QEMU_LOCK_GUARD(&g->lock);
    bool busy = false;
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES && g->ring[i].num; i++) {
        busy |= reap(g, i);
        post(g, i);
    }
    return busy;
}

/* Ask to be called.  Returns whether there is anything to do already. */
static bool want_calls(Guest *g, bool want)
{
    QEMU_LOCK_GUARD(&g->lock);
    bool busy = false;
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES && g->ring[i].num; i++) {
        ring_want_call(&g->ring[i], want);
        busy |= ring_has_used(&g->ring[i]);
    }
    return busy;
}

static void sleep_until_called(Guest *g)
{
    struct pollfd fds[VHOST_DP_QUEUES];
    eventfd_t value;
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        fds[i] = (struct pollfd) { .fd = g->call_fd[i], .events = POLLIN };
    }
    if (poll(fds, VHOST_DP_QUEUES,
             qatomic_read(&g->patient) ? -1 : IMPATIENT_MS) > 0) {
        for (i = 0; i < VHOST_DP_QUEUES; i++) {
            eventfd_read(g->call_fd[i], &value);
        }
    }
}

static void *guest_thread(void *opaque)
{
    Guest *g = opaque;

    while (!qatomic_read(&g->quit)) {
        if (work(g)) {
            continue;
        }
        if (!want_calls(g, true)) {
            sleep_until_called(g);
        }
        want_calls(g, false);
    }
    return NULL;
}

Guest *guest_new(uint64_t ram_start, bool still)
{
    Guest *g = g_new0(Guest, 1);
    unsigned i;

    g->still = still;
    g->ram_start = ram_start;
    qemu_mutex_init(&g->lock);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        g->kick_fd[i] = -1;
        g->call_fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        g_assert_cmpint(g->call_fd[i], >=, 0);
    }
    if (!still) {
        qemu_thread_create(&g->thread, "guest", guest_thread, g,
                           QEMU_THREAD_JOINABLE);
    }
    return g;
}

void guest_free(Guest *g)
{
    unsigned i;

    qatomic_set(&g->quit, true);
    eventfd_write(g->call_fd[0], 1);
    if (!g->still) {
        qemu_thread_join(&g->thread);
    }
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        close(g->call_fd[i]);
        g_free(g->ring[i].segs);
    }
    qemu_mutex_destroy(&g->lock);
    g_free(g);
}
