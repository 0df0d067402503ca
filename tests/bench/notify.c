/*
 * vhost-dp bench: QEMU's kick and call eventfds
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's kick ends in an eventfd, and a back end's call starts with one.
 * QEMU's are copied with pidfd_getfd(), so that neither takes the way through
 * the qtest protocol.  Which is which is found by trying:
 *
 * - Only those that came with the device's start are looked at.
 * - The kick of a queue is one whose write makes the device use a buffer.  For
 *   an RX queue that takes a frame that waits for buffers.  A back end may look
 *   at both queues of a pair when one is kicked.
 * - A call is one whose write raises the device's interrupt.  There are only
 *   any when a vhost back end is behind the device.
 * - Of two alike, that of the RX queue has the lower eventfd-id: QEMU makes
 *   them in the order of the queues, and the kernel takes the lowest free one.
 *
 * Writing to the others does no harm: they are wake-ups.
 */

#include "qemu/osdep.h"
#include <dirent.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include "standard-headers/linux/virtio_mmio.h"
#include "notify.h"
#include "util.h"

/* How long a device may take to react, on a busy machine */
#define TRY_NS (30 * 1000000LL)
#define CONFIRM_NS (200 * 1000000LL)

typedef struct EventFd {
    int fd;                     /* QEMU's number; the lowest of its copies */
    int copy;
    unsigned id;
    bool known;
} EventFd;

/* The eventfd-id of a descriptor of QEMU's, or -1 */
static int eventfd_id(pid_t pid, const char *fd)
{
    g_autofree char *link = g_strdup_printf("/proc/%d/fd/%s", (int)pid, fd);
    g_autofree char *info = g_strdup_printf("/proc/%d/fdinfo/%s", (int)pid,
                                            fd);
    g_autofree char *text = NULL;
    char target[64];
    ssize_t len = readlink(link, target, sizeof(target) - 1);
    const char *at;

    if (len < 0) {
        return -1;
    }
    target[len] = '\0';
    if (strcmp(target, "anon_inode:[eventfd]") != 0 ||
        !g_file_get_contents(info, &text, NULL, NULL)) {
        return -1;
    }
    at = strstr(text, "eventfd-id:");
    return at ? atoi(at + strlen("eventfd-id:")) : -1;
}

static int compare_fd(const void *a, const void *b)
{
    return ((const EventFd *)a)->fd - ((const EventFd *)b)->fd;
}

static int compare_id(const void *a, const void *b)
{
    return (int)((const EventFd *)a)->id - (int)((const EventFd *)b)->id;
}

/* QEMU's eventfds, each once, in the order of their numbers */
static GArray *list_eventfds(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    GArray *list = g_array_new(false, true, sizeof(EventFd));
    DIR *dir = opendir(path);
    struct dirent *entry;
    unsigned i, j;

    if (!dir) {
        bench_fail("%s: %s", path, strerror(errno));
    }
    while ((entry = readdir(dir))) {
        EventFd e = { .fd = atoi(entry->d_name), .copy = -1 };
        int id = eventfd_id(pid, entry->d_name);

        if (id >= 0) {
            e.id = id;
            g_array_append_val(list, e);
        }
    }
    closedir(dir);
    g_array_sort(list, compare_fd);
    for (i = 0; i < list->len; i++) {
        for (j = list->len - 1; j > i; j--) {
            if (g_array_index(list, EventFd, i).id ==
                g_array_index(list, EventFd, j).id) {
                g_array_remove_index(list, j);
            }
        }
    }
    return list;
}

void notify_prepare(Notify *n, Device *dev)
{
    unsigned i;

    memset(n, 0, sizeof(*n));
    n->dev = dev;
    n->before = list_eventfds(dev->machine->pid);
    for (i = 0; i < DEVICE_MAX_PAIRS; i++) {
        n->kick_rx[i] = -1;
        n->kick_tx[i] = -1;
        n->call_rx[i] = -1;
        n->call_tx[i] = -1;
    }
}

/* The eventfds that came since notify_prepare(), copied */
static GArray *new_eventfds(Notify *n)
{
    Machine *m = n->dev->machine;
    GArray *list = list_eventfds(m->pid);
    unsigned i, j;

    for (i = list->len; i-- > 0; ) {
        EventFd *e = &g_array_index(list, EventFd, i);
        bool old = false;

        for (j = 0; j < n->before->len; j++) {
            old = old || g_array_index(n->before, EventFd, j).id == e->id;
        }
        if (!old) {
            e->copy = syscall(SYS_pidfd_getfd, m->pidfd, e->fd, 0);
            if (e->copy < 0 && errno == EPERM) {
                bench_fail("pidfd_getfd: %s: QEMU has to belong to the same "
                           "user", strerror(errno));
            }
            if (e->copy >= 0) {
                fcntl(e->copy, F_SETFL, O_NONBLOCK);
            }
        }
        if (old || e->copy < 0) {
            g_array_remove_index(list, i);
        }
    }
    return list;
}

static bool wait_used(Ring *ring, int64_t ns)
{
    int64_t end = bench_now() + ns;

    do {
        if (ring_has_used(ring)) {
            return true;
        }
        bench_check_stop();
        bench_sleep(50000);
    } while (bench_now() < end);
    return false;
}

static bool poke(const EventFd *e, Ring *ring, int64_t ns)
{
    eventfd_write(e->copy, 1);
    return wait_used(ring, ns);
}

/* Post buffer 0 of a TX ring; take it back, if it is used */
static void tx_again(Ring *ring)
{
    RingUsed used;
    uint16_t id = 0;

    ring_reap(ring, &used, 1);
    ring_post(ring, &id, 1);
}

/*
 * Try the eventfds.  A slow reaction to one can look like a quick one to the
 * next, so what was found has to work twice.
 */
static unsigned try_tx(Notify *n, Ring *ring, EventFd *found[2])
{
    unsigned nfound = 0;
    unsigned i;

    for (i = 0; i < n->fds->len && nfound < 2; i++) {
        EventFd *e = &g_array_index(n->fds, EventFd, i);

        if (!e->known && poke(e, ring, TRY_NS)) {
            tx_again(ring);
            if (poke(e, ring, CONFIRM_NS)) {
                found[nfound++] = e;
                tx_again(ring);
            }
        }
    }
    return nfound;
}

static void find_tx(Notify *n, unsigned pair)
{
    Ring *ring = n->dev->tx[pair];
    EventFd *found[2];
    unsigned nfound = 0;
    RingUsed used;
    unsigned tries;

    tx_again(ring);
    if (wait_used(ring, TRY_NS)) {
        /* That was due to the start */
        tx_again(ring);
    }
    for (tries = 0; tries < 3 && !nfound; tries++) {
        nfound = try_tx(n, ring, found);
    }
    device_kick_slowly(n->dev, 2 * pair + 1);
    if (!wait_used(ring, 10 * CONFIRM_NS)) {
        bench_fail("the device does not take a frame that is sent on queue "
                   "pair %u", pair);
    }
    ring_reap(ring, &used, 1);
    if (nfound) {
        found[nfound - 1]->known = true;
        n->kick_tx[pair] = found[nfound - 1]->copy;
    }
    if (nfound == 2) {
        found[0]->known = true;
        n->kick_rx[pair] = found[0]->copy;
    }
}

void notify_find_rx(Notify *n, unsigned pair)
{
    Ring *ring = n->dev->rx[pair];
    unsigned i;

    if (n->polls || wait_used(ring, TRY_NS)) {
        /* It was just looking; kicks go through the register, if need be */
        return;
    }
    if (n->kick_rx[pair] >= 0) {
        notify_rx(n, pair);
        if (wait_used(ring, CONFIRM_NS)) {
            return;
        }
        n->kick_rx[pair] = -1;
    }
    for (i = 0; i < n->fds->len; i++) {
        EventFd *e = &g_array_index(n->fds, EventFd, i);

        /* There is one try only; a wrong choice is noticed later */
        if (!e->known && poke(e, ring, CONFIRM_NS)) {
            e->known = true;
            n->kick_rx[pair] = e->copy;
            return;
        }
    }
    device_kick_slowly(n->dev, 2 * pair);
}

static bool raises_interrupt(Device *dev, const EventFd *e)
{
    Machine *m = dev->machine;
    unsigned tries;

    machine_writel(m, dev->base + VIRTIO_MMIO_INTERRUPT_ACK,
                   machine_readl(m, dev->base + VIRTIO_MMIO_INTERRUPT_STATUS));
    eventfd_write(e->copy, 1);
    for (tries = 0; tries < 20; tries++) {
        if (machine_readl(m, dev->base + VIRTIO_MMIO_INTERRUPT_STATUS) & 1) {
            return true;
        }
        bench_sleep(100000);
    }
    return false;
}

static void find_calls(Notify *n)
{
    unsigned found = 0;
    unsigned i;

    for (i = 0; i < n->fds->len && found < 2 * n->dev->pairs; i++) {
        EventFd *e = &g_array_index(n->fds, EventFd, i);

        if (e->known || !raises_interrupt(n->dev, e)) {
            continue;
        }
        e->known = true;
        if (found % 2) {
            n->call_tx[found / 2] = e->copy;
        } else {
            n->call_rx[found / 2] = e->copy;
        }
        found++;
    }
}

void notify_find(Notify *n, bool polls)
{
    unsigned pair;

    n->polls = polls;
    if (polls) {
        return;
    }
    /* The first kick comes by itself; and the back end has to get going */
    bench_sleep(20000000);
    n->fds = new_eventfds(n);
    g_array_sort(n->fds, compare_id);
    for (pair = 0; pair < n->dev->pairs; pair++) {
        find_tx(n, pair);
    }
    find_calls(n);
}

static void notify(Notify *n, int fd, unsigned queue)
{
    if (n->polls) {
        /* With EVENT_IDX such a device seems to want one every 65536 frames */
        return;
    }
    if (fd >= 0) {
        eventfd_write(fd, 1);
        n->kicks++;
    } else {
        device_kick_slowly(n->dev, queue);
        n->slow_kicks++;
    }
}

void notify_rx(Notify *n, unsigned pair)
{
    notify(n, n->kick_rx[pair], 2 * pair);
}

void notify_tx(Notify *n, unsigned pair)
{
    notify(n, n->kick_tx[pair], 2 * pair + 1);
}

void notify_doubt(Notify *n)
{
    unsigned i;

    n->polls = false;
    for (i = 0; i < 2 * n->dev->pairs; i++) {
        device_kick_slowly(n->dev, i);
        n->slow_kicks++;
    }
}
