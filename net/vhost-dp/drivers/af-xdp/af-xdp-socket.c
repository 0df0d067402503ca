/*
 * vhost-dp-af-xdp: AF_XDP sockets
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: each queue pair has a socket, bound to one queue of the
 * interface, and memory of its own that the socket shares with the kernel
 * (Documentation/networking/af_xdp.rst).  It is private to the driver: frames
 * are copied in and out, and no part of the guest's RAM is shared.
 *
 * The sockets are set up here and not by libxdp, which before version 1.4 has
 * no way to use one that was passed.  That one can be set up once, and bound
 * once; so what sock-fds= named is kept until the object goes.
 *
 * What a socket had is free again only some time after it was closed, about 50
 * ms: until then bind() to its queue fails with EBUSY, and its memory counts
 * for the limit of locked memory, so that to share as much again may fail with
 * ENOBUFS.  So either is tried again for a while.
 */

#include "qemu/osdep.h"
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qemu/madvise.h"
#include "qemu/sockets.h"
#include "qapi/error.h"
#include "af-xdp-int.h"
#include "trace.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
/* Linux 5.14; not in the headers of all C libraries */
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
/* Linux 6.17: descriptors that one sendto() takes, instead of 32 */
#define AFXDP_MAX_TX_BUDGET 9

/* How long open waits for what a socket had that was closed just now */
#define AFXDP_BUSY_US (500 * 1000)
#define AFXDP_BUSY_STEP_US (5 * 1000)

/* ---- Rings ---- */

static bool afxdp_ring_map(AfXdpQueue *q, AfXdpRing *ring, unsigned n,
                           size_t entry, const struct xdp_ring_offset *offset,
                           uint64_t where, Error **errp)
{
    size_t len = offset->desc + n * entry;
    uint8_t *map = mmap(NULL, len, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_POPULATE, q->fd, where);

    if (map == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot map a ring of an AF_XDP socket");
        return false;
    }
    *ring = (AfXdpRing) {
        .producer = (uint32_t *)(map + offset->producer),
        .consumer = (uint32_t *)(map + offset->consumer),
        .flags = (uint32_t *)(map + offset->flags),
        .entries = map + offset->desc,
        .mask = n - 1,
        .map = map,
        .map_len = len,
    };
    return true;
}

static void afxdp_ring_unmap(AfXdpRing *ring)
{
    if (ring->map) {
        munmap(ring->map, ring->map_len);
    }
    *ring = (AfXdpRing) {};
}

static bool afxdp_rings_map(AfXdpQueue *q, Error **errp)
{
    struct xdp_mmap_offsets off = {};
    socklen_t len = sizeof(off);

    if (getsockopt(q->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len) < 0 ||
        len != sizeof(off)) {
        error_setg(errp, "cannot get the layout of an AF_XDP socket's rings");
        error_append_hint(errp, "Linux 5.4 or later is needed.\n");
        return false;
    }
    return afxdp_ring_map(q, &q->rx, AFXDP_RX_CHUNKS, sizeof(struct xdp_desc),
                          &off.rx, XDP_PGOFF_RX_RING, errp) &&
           afxdp_ring_map(q, &q->tx, AFXDP_TX_CHUNKS, sizeof(struct xdp_desc),
                          &off.tx, XDP_PGOFF_TX_RING, errp) &&
           afxdp_ring_map(q, &q->fill, AFXDP_RX_CHUNKS, sizeof(uint64_t),
                          &off.fr, XDP_UMEM_PGOFF_FILL_RING, errp) &&
           afxdp_ring_map(q, &q->done, AFXDP_TX_CHUNKS, sizeof(uint64_t),
                          &off.cr, XDP_UMEM_PGOFF_COMPLETION_RING, errp);
}

/* ---- One socket ---- */

static void afxdp_socket_used(Error **errp)
{
    ERRP_GUARD();

    error_setg(errp, "the socket is in use already");
    error_append_hint(errp, "Pass a new socket, without memory, rings, and not "
                      "bound.\n");
}

static bool afxdp_set_ring_size(AfXdpQueue *q, int option, int size,
                                Error **errp)
{
    if (setsockopt(q->fd, SOL_XDP, option, &size, sizeof(size)) == 0) {
        return true;
    }
    if (errno == EINVAL && q->xdp->sock_fds) {
        afxdp_socket_used(errp);        /* the socket has such a ring */
    } else {
        error_setg_errno(errp, errno, "cannot make a ring of %d entries",
                         size);
    }
    return false;
}

/* Returns 0, or a negative errno with @errp set: -EAGAIN, see reopen */
static int afxdp_umem_register(AfXdpQueue *q, Error **errp)
{
    ERRP_GUARD();
    struct xdp_umem_reg reg = {
        .addr = (uintptr_t)q->umem,
        .len = AFXDP_UMEM_BYTES,
        .chunk_size = AFXDP_CHUNK,
    };

    if (setsockopt(q->fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)) == 0) {
        return 0;
    }
    if (errno == EBUSY) {
        afxdp_socket_used(errp);
    } else if (errno == ENOBUFS || errno == ENOMEM) {
        error_setg(errp, "no permission to lock %u KiB of memory for each "
                   "queue pair", (unsigned)(AFXDP_UMEM_BYTES / KiB));
        error_append_hint(errp, "Raise the limit of locked memory "
                          "(RLIMIT_MEMLOCK: 'ulimit -l', or LimitMEMLOCK= of "
                          "systemd), which counts for all processes of the "
                          "user, or give QEMU CAP_IPC_LOCK.\n");
        return -EAGAIN;
    } else {
        error_setg_errno(errp, errno, "cannot share memory with the kernel");
    }
    return -EINVAL;
}

/* All chunks are ours again, except for those that are lent */
static void afxdp_reset_chunks(AfXdpQueue *q)
{
    DECLARE_BITMAP(lent, AFXDP_RX_CHUNKS) = {};
    unsigned i;

    for (i = 0; i < q->rx_nlent; i++) {
        uint8_t *p = q->rx_iov[q->rx_first + i].iov_base;

        set_bit((p - q->umem) / AFXDP_CHUNK, lent);
    }
    for (i = 0; i < AFXDP_RX_CHUNKS; i++) {
        if (!test_bit(i, lent)) {
            *afxdp_addr(&q->fill, q->fill.pos++) = i * AFXDP_CHUNK;
        }
    }
    qatomic_store_release(q->fill.producer, q->fill.pos);

    for (i = 0; i < AFXDP_TX_CHUNKS; i++) {
        /* The last one is taken first */
        q->tx_free[i] = AFXDP_TX_START +
                        (AFXDP_TX_CHUNKS - 1 - i) * AFXDP_CHUNK;
    }
    q->tx_nfree = AFXDP_TX_CHUNKS;
    q->rx_skip = false;
    q->seen = (struct xdp_statistics) {};
}

/*
 * Memory and rings of a socket that is new.  Returns 0, or a negative errno
 * with @errp set: -EAGAIN, try again soon.
 */
static int afxdp_socket_init(AfXdpQueue *q, Error **errp)
{
    int budget = AFXDP_TX_CHUNKS;
    int r;

    if (!q->umem) {
        q->umem = mmap(NULL, AFXDP_UMEM_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (q->umem == MAP_FAILED) {
            q->umem = NULL;
            error_setg_errno(errp, errno, "cannot get memory");
            return -ENOMEM;
        }
        /* The pages are pinned: a child must not take them over */
        qemu_madvise(q->umem, AFXDP_UMEM_BYTES, QEMU_MADV_DONTFORK);
    }
    r = afxdp_umem_register(q, errp);
    if (r) {
        return r;
    }
    if (!afxdp_set_ring_size(q, XDP_UMEM_FILL_RING, AFXDP_RX_CHUNKS, errp) ||
        !afxdp_set_ring_size(q, XDP_UMEM_COMPLETION_RING, AFXDP_TX_CHUNKS,
                             errp) ||
        !afxdp_set_ring_size(q, XDP_RX_RING, AFXDP_RX_CHUNKS, errp) ||
        !afxdp_set_ring_size(q, XDP_TX_RING, AFXDP_TX_CHUNKS, errp) ||
        !afxdp_rings_map(q, errp)) {
        return -EINVAL;
    }
    setsockopt(q->fd, SOL_XDP, AFXDP_MAX_TX_BUDGET, &budget, sizeof(budget));
    afxdp_reset_chunks(q);
    return 0;
}

static int afxdp_socket_open(Error **errp)
{
    ERRP_GUARD();
    int fd = qemu_socket(AF_XDP, SOCK_RAW, 0);

    if (fd >= 0) {
        return fd;
    }
    if (errno == EPERM) {
        error_setg(errp, "no permission to open an AF_XDP socket");
        error_append_hint(errp, "Give QEMU CAP_NET_RAW, CAP_NET_ADMIN and "
                          "CAP_BPF, or let a privileged program open the "
                          "sockets and pass them with "
                          "inhibit=on,sock-fds=.\n");
    } else if (errno == EAFNOSUPPORT) {
        error_setg(errp, "the host has no AF_XDP sockets");
        error_append_hint(errp, "The kernel needs CONFIG_XDP_SOCKETS.\n");
    } else {
        error_setg_errno(errp, errno, "cannot open an AF_XDP socket");
    }
    return -1;
}

/* Undo afxdp_socket_init() and what came before; the memory stays */
static void afxdp_socket_close(AfXdpQueue *q)
{
    afxdp_ring_unmap(&q->rx);
    afxdp_ring_unmap(&q->tx);
    afxdp_ring_unmap(&q->fill);
    afxdp_ring_unmap(&q->done);
    if (q->fd >= 0) {
        close(q->fd);
    }
    q->fd = -1;
    q->ifindex = 0;
}

static void afxdp_queue_free(AfXdpQueue *q)
{
    afxdp_socket_close(q);
    if (q->umem) {
        munmap(q->umem, AFXDP_UMEM_BYTES);
        q->umem = NULL;
    }
}

/* ---- Binding ---- */

/* How many queues the interface has, or 0 if it does not say */
static unsigned afxdp_count_queues(VhostDPAfXdp *xdp)
{
    struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
    struct ifreq ifr = { .ifr_data = (void *)&channels };

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), xdp->real_ifname);
    if (ioctl(xdp->ctl, SIOCETHTOOL, &ifr) < 0) {
        return 0;
    }
    return channels.combined_count + MAX(channels.rx_count, channels.tx_count);
}

static void afxdp_bind_failed(AfXdpQueue *q, int err, Error **errp)
{
    ERRP_GUARD();
    unsigned id = afxdp_queue_id(q);
    unsigned n = afxdp_count_queues(q->xdp);

    if (err == EINVAL && (!n || id >= n)) {
        error_setg(errp, "start-queue=%u: queue pair %u needs queue %u of the "
                   "interface, which it does not have", q->xdp->start_queue,
                   q->pair, id);
        if (n) {
            error_append_hint(errp, "It has %u, counted from 0. 'ethtool -L "
                              "%s' changes that.\n", n, q->xdp->real_ifname);
        }
    } else if (err == EBUSY) {
        error_setg(errp, "queue %u of the interface is in use by another "
                   "AF_XDP socket", id);
        error_append_hint(errp, "Choose others with start-queue=.\n");
    } else {
        error_setg_errno(errp, err, "cannot bind to queue %u of the interface",
                         id);
    }
}

/* Can a frame of the interface's MTU be received in one chunk? */
static bool afxdp_fits_chunk(VhostDPAfXdp *xdp)
{
    struct ifreq ifr = {};

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), xdp->real_ifname);
    return ioctl(xdp->ctl, SIOCGIFMTU, &ifr) == 0 &&
           ifr.ifr_mtu + 14 + 2 * 4 <= AFXDP_CHUNK - AFXDP_RX_HEADROOM;
}

static int afxdp_try_bind(AfXdpQueue *q, int ifindex, uint16_t flags)
{
    struct sockaddr_xdp sxdp = {
        .sxdp_family = AF_XDP,
        .sxdp_flags = flags | XDP_USE_NEED_WAKEUP,
        .sxdp_ifindex = ifindex,
        .sxdp_queue_id = afxdp_queue_id(q),
    };

    if (bind(q->fd, (struct sockaddr *)&sxdp, sizeof(sxdp)) < 0) {
        return -errno;
    }
    q->ifindex = ifindex;
    q->zerocopy = flags & XDP_ZEROCOPY;
    q->sg = flags & XDP_USE_SG;
    return 0;
}

/*
 * Without copies if the interface's driver can, with frames of several chunks
 * if it and the kernel can.  Returns 0 or a negative errno.
 */
static int afxdp_bind(AfXdpQueue *q, int ifindex)
{
    VhostDPAfXdp *xdp = q->xdp;
    bool skb = xdp->has_mode ? xdp->mode == VHOST_DP_AF_XDP_MODE_SKB :
                               !xdp->inhibit && !xdp->native;
    static const uint16_t flags[] = {
        XDP_ZEROCOPY | XDP_USE_SG, XDP_ZEROCOPY,
        XDP_COPY | XDP_USE_SG, XDP_COPY,
    };
    int r = -EINVAL;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(flags); i++) {
        if (flags[i] & XDP_ZEROCOPY) {
            if (skb || xdp->force_copy ||
                (!(flags[i] & XDP_USE_SG) && !afxdp_fits_chunk(xdp))) {
                continue;
            }
        }
        r = afxdp_try_bind(q, ifindex, flags[i]);
        if (!r || r == -EBUSY) {
            break;
        }
    }
    trace_vhost_dp_afxdp_bind(xdp->parent_obj.id, afxdp_queue_id(q), q->fd, r,
                              q->zerocopy, q->sg);
    return r;
}

/* xdp->lock is held.  See vhost_dp_afxdp_reopen() for what it returns. */
static int afxdp_queue_try_start(AfXdpQueue *q, int ifindex, Error **errp)
{
    int r = vhost_dp_afxdp_prog_attach(q->xdp, ifindex, errp);

    if (r) {
        return r;
    }
    if (!q->rx.map) {
        r = afxdp_socket_init(q, errp);
        if (r) {
            return r;
        }
    }
    if (q->ifindex != ifindex) {
        r = afxdp_bind(q, ifindex);
        if (r) {
            afxdp_bind_failed(q, -r, errp);
            return r == -EBUSY ? -EAGAIN : r;
        }
    }
    return vhost_dp_afxdp_prog_add(q, errp) ? 0 : -EINVAL;
}

/* Program, memory, rings, the binding, and the map; waits until @deadline */
static bool afxdp_queue_start(AfXdpQueue *q, int ifindex, int64_t deadline,
                              Error **errp)
{
    Error *err = NULL;
    int r;

    while ((r = afxdp_queue_try_start(q, ifindex, &err)) == -EAGAIN &&
           g_get_monotonic_time() < deadline) {
        error_free(err);
        err = NULL;
        g_usleep(AFXDP_BUSY_STEP_US);
    }
    error_propagate(errp, err);
    return r == 0;
}

int vhost_dp_afxdp_reopen(AfXdpQueue *q, int ifindex, Error **errp)
{
    VhostDPAfXdp *xdp = q->xdp;
    int r;

    if (xdp->sock_fds) {
        error_setg(errp, "interface '%s' was deleted, and with it the sockets "
                   "of sock-fds=", xdp->real_ifname);
        return -ENODEV;
    }
    if (q->ifindex) {
        afxdp_socket_close(q);
    }
    if (q->fd < 0) {
        q->fd = afxdp_socket_open(errp);
        if (q->fd < 0) {
            return -EINVAL;
        }
    }
    WITH_QEMU_LOCK_GUARD(&xdp->lock) {
        r = afxdp_queue_try_start(q, ifindex, errp);
    }
    if (r && (r != -EAGAIN || !q->rx.map)) {
        afxdp_socket_close(q);
    }
    return r;
}

/* ---- All of them ---- */

static bool afxdp_same_netns(int a, int b)
{
    uint64_t ca = 0, cb = 0;
    socklen_t len = sizeof(ca);

    return getsockopt(a, SOL_SOCKET, SO_NETNS_COOKIE, &ca, &len) < 0 ||
           getsockopt(b, SOL_SOCKET, SO_NETNS_COOKIE, &cb, &len) < 0 ||
           ca == cb;
}

static bool afxdp_check_passed(VhostDPAfXdp *xdp, unsigned i, Error **errp)
{
    ERRP_GUARD();
    int fd = xdp->passed.fd[i];
    int domain = 0;
    socklen_t len = sizeof(domain);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
        domain != AF_XDP) {
        error_setg(errp, "sock-fds=%s: %s is not an AF_XDP socket",
                   xdp->sock_fds, xdp->passed.name[i]);
        error_append_hint(errp, "Open it with socket(AF_XDP, SOCK_RAW, 0).\n");
        return false;
    }
    if (!afxdp_same_netns(fd, xdp->ctl)) {
        error_setg(errp, "sock-fds=%s: %s is a socket of another network "
                   "namespace than QEMU's", xdp->sock_fds,
                   xdp->passed.name[i]);
        return false;
    }
    return true;
}

static bool afxdp_find_passed(VhostDPAfXdp *xdp, unsigned queue_pairs,
                              Error **errp)
{
    bool found_before = xdp->passed.n;
    unsigned i;

    if (!vhost_dp_fds_find(&xdp->passed, "sock-fds", xdp->sock_fds,
                           queue_pairs, errp)) {
        return false;
    }
    for (i = 0; i < xdp->passed.n && !found_before; i++) {
        if (!afxdp_check_passed(xdp, i, errp)) {
            vhost_dp_fds_reject(&xdp->passed);
            return false;
        }
    }
    return true;
}

static void afxdp_queues_free(VhostDPAfXdp *xdp)
{
    unsigned i;

    for (i = 0; i < xdp->nqueues; i++) {
        afxdp_queue_free(&xdp->queue[i]);
    }
    g_free(xdp->queue);
    xdp->queue = NULL;
    xdp->nqueues = 0;
}

void vhost_dp_afxdp_forget_passed(VhostDPAfXdp *xdp)
{
    unsigned i;

    for (i = 0; xdp->passed.n && i < xdp->nqueues; i++) {
        xdp->queue[i].fd = -1;      /* closed below */
    }
    afxdp_queues_free(xdp);
    vhost_dp_fds_close(&xdp->passed);
}

/* Each queue gets its socket, if it does not have it from before */
static bool afxdp_open_sockets(VhostDPAfXdp *xdp, unsigned queue_pairs,
                               Error **errp)
{
    unsigned i;

    if (xdp->sock_fds && !afxdp_find_passed(xdp, queue_pairs, errp)) {
        return false;
    }
    if (xdp->queue) {
        return true;
    }
    xdp->queue = g_new0(AfXdpQueue, queue_pairs);
    xdp->nqueues = queue_pairs;
    for (i = 0; i < queue_pairs; i++) {
        xdp->queue[i].xdp = xdp;
        xdp->queue[i].pair = i;
        xdp->queue[i].fd = -1;
    }
    for (i = 0; i < queue_pairs; i++) {
        xdp->queue[i].fd = xdp->sock_fds ? xdp->passed.fd[i] :
                                           afxdp_socket_open(errp);
        if (xdp->queue[i].fd < 0) {
            return false;
        }
    }
    return true;
}

/* An interface that has fewer queues than the netdev has all of them used */
static unsigned afxdp_limit_pairs(VhostDPAfXdp *xdp, unsigned queue_pairs)
{
    unsigned n = afxdp_count_queues(xdp);

    return n > xdp->start_queue ? MIN(queue_pairs, n - xdp->start_queue) :
                                  queue_pairs;
}

static bool afxdp_start(VhostDPAfXdp *xdp, unsigned queue_pairs, Error **errp)
{
    ERRP_GUARD();
    int64_t deadline = g_get_monotonic_time() + AFXDP_BUSY_US;
    VhostDPIfState state;
    int ifindex;
    unsigned i;

    xdp->ctl = qemu_socket(AF_INET, SOCK_DGRAM, 0);
    if (xdp->ctl < 0) {
        error_setg_errno(errp, errno, "cannot look at interfaces");
        return false;
    }
    state = vhost_dp_if_state(xdp->ctl, xdp->real_ifname, &ifindex);
    if (!ifindex && state == VHOST_DP_IF_GONE) {
        error_setg(errp, "there is no such interface");
        error_append_hint(errp, "'ip link' lists the interfaces.\n");
        return false;
    }
    if (!ifindex) {
        error_setg_errno(errp, errno, "cannot look at the interface");
        return false;
    }
    if (!xdp->sock_fds) {
        queue_pairs = afxdp_limit_pairs(xdp, queue_pairs);
    }
    if (!afxdp_open_sockets(xdp, queue_pairs, errp)) {
        return false;
    }

    QEMU_LOCK_GUARD(&xdp->lock);
    for (i = 0; i < queue_pairs; i++) {
        if (xdp->sock_fds && xdp->queue[i].ifindex &&
            xdp->queue[i].ifindex != ifindex) {
            error_setg(errp, "sock-fds=%s: the sockets belong to an interface "
                       "that was deleted", xdp->sock_fds);
            error_append_hint(errp, "Pass new ones with a new object.\n");
            return false;
        }
        if (!afxdp_queue_start(&xdp->queue[i], ifindex, deadline, errp)) {
            return false;
        }
    }
    xdp->members = qemu_socket(AF_PACKET, SOCK_RAW, 0);
    vhost_dp_afxdp_follow_filter(xdp, ifindex);
    return true;
}

bool vhost_dp_afxdp_open(VhostDPDriver *drv, unsigned queue_pairs,
                         Error **errp)
{
    ERRP_GUARD();
    VhostDPAfXdp *xdp = VHOST_DP_AF_XDP(drv);

    pstrcpy(xdp->real_ifname, sizeof(xdp->real_ifname), afxdp_ifname(xdp));
    if (!afxdp_start(xdp, queue_pairs, errp) ||
        !vhost_dp_afxdp_link_open(xdp, errp)) {
        error_prepend(errp, "ifname=%s: ", xdp->real_ifname);
        vhost_dp_afxdp_close(drv);
        return false;
    }
    trace_vhost_dp_afxdp_open(drv->id, xdp->real_ifname, queue_pairs);
    return true;
}

static void afxdp_close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

void vhost_dp_afxdp_close(VhostDPDriver *drv)
{
    VhostDPAfXdp *xdp = VHOST_DP_AF_XDP(drv);

    trace_vhost_dp_afxdp_close(drv->id, xdp->real_ifname);
    vhost_dp_link_close(&xdp->link);
    /* First the program, so that the host gets the frames again */
    vhost_dp_afxdp_prog_detach(xdp);
    if (!xdp->passed.n) {
        afxdp_queues_free(xdp);
    }
    vhost_dp_wanted_filter_set(&xdp->wanted, NULL);
    vhost_dp_membership_forget(&xdp->membership);
    xdp->members_ifindex = 0;
    afxdp_close_fd(&xdp->members);
    afxdp_close_fd(&xdp->ctl);
    xdp->real_ifname[0] = '\0';
}
