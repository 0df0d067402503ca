/*
 * vhost-dp bench: an AF_XDP socket that sends
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The shortest loop: the frames lie in the memory that is shared with the
 * kernel, and are not even copied.  In copy mode sendto() hands them to the
 * interface before it returns, 32 at a time.
 */

#include "qemu/osdep.h"
#include <linux/if_xdp.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "qemu/atomic.h"
#include "util.h"
#include "xdp.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

#define XDP_CHUNK 4096
#define XDP_RING 2048

typedef struct Ring {
    uint32_t *producer;
    uint32_t *consumer;
    void *entries;
} Ring;

struct Xdp {
    int fd;
    uint32_t size;              /* of each frame */
    unsigned nbuf;
    unsigned next;
    Ring tx, done;
};

static void option(int fd, int name, const void *value, size_t len)
{
    if (setsockopt(fd, SOL_XDP, name, value, len) < 0) {
        bench_fail("AF_XDP socket, option %d: %s", name, strerror(errno));
    }
}

static void ring_open(int fd, Ring *ring, const struct xdp_ring_offset *offset,
                      size_t entry, off_t where)
{
    uint8_t *map = mmap(NULL, offset->desc + XDP_RING * entry,
                        PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                        where);

    if (map == MAP_FAILED) {
        bench_fail("AF_XDP socket, ring: %s", strerror(errno));
    }
    ring->producer = (uint32_t *)(map + offset->producer);
    ring->consumer = (uint32_t *)(map + offset->consumer);
    ring->entries = map + offset->desc;
}

static void *memory_new(Xdp *xdp, const FrameShape *shape)
{
    uint8_t *mem = mmap(NULL, xdp->nbuf * XDP_CHUNK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned i;

    if (mem == MAP_FAILED) {
        bench_fail("no memory for %u frames", xdp->nbuf);
    }
    for (i = 0; i < xdp->nbuf; i++) {
        frame_build(shape, mem + i * XDP_CHUNK, 0, i * 37, true);
    }
    return mem;
}

Xdp *xdp_open(const char *ifname, const FrameShape *shape, unsigned nbuf)
{
    Xdp *xdp = g_new0(Xdp, 1);
    struct xdp_umem_reg reg = { .chunk_size = XDP_CHUNK };
    struct xdp_mmap_offsets off;
    struct sockaddr_xdp addr = {
        .sxdp_family = AF_XDP,
        .sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP,
        .sxdp_ifindex = if_nametoindex(ifname),
    };
    socklen_t len = sizeof(off);
    int n = XDP_RING;

    if (shape->size > XDP_CHUNK) {
        bench_usage("--size %u: frames for AF_XDP have up to %d bytes",
                    shape->size, XDP_CHUNK);
    }
    xdp->size = shape->size;
    xdp->nbuf = nbuf;
    xdp->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (xdp->fd < 0) {
        bench_fail("AF_XDP socket: %s", strerror(errno));
    }
    reg.addr = (uintptr_t)memory_new(xdp, shape);
    reg.len = nbuf * XDP_CHUNK;
    option(xdp->fd, XDP_UMEM_REG, &reg, sizeof(reg));
    option(xdp->fd, XDP_UMEM_FILL_RING, &n, sizeof(n));
    option(xdp->fd, XDP_UMEM_COMPLETION_RING, &n, sizeof(n));
    option(xdp->fd, XDP_TX_RING, &n, sizeof(n));
    if (getsockopt(xdp->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len) < 0 ||
        len != sizeof(off)) {
        bench_fail("AF_XDP socket: no offsets of its rings");
    }
    ring_open(xdp->fd, &xdp->tx, &off.tx, sizeof(struct xdp_desc),
              XDP_PGOFF_TX_RING);
    ring_open(xdp->fd, &xdp->done, &off.cr, sizeof(uint64_t),
              XDP_UMEM_PGOFF_COMPLETION_RING);
    if (bind(xdp->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        bench_fail("AF_XDP socket, interface %s: %s", ifname, strerror(errno));
    }
    return xdp;
}

void xdp_send(Xdp *xdp, unsigned n)
{
    struct xdp_desc *desc = xdp->tx.entries;
    uint32_t pos = *xdp->tx.producer;

    while (n--) {
        desc[pos++ % XDP_RING] = (struct xdp_desc) {
            .addr = xdp->next * XDP_CHUNK, .len = xdp->size,
        };
        xdp->next = (xdp->next + 1) % xdp->nbuf;
    }
    qatomic_store_release(xdp->tx.producer, pos);
    while (qatomic_load_acquire(xdp->tx.consumer) != pos) {
        if (sendto(xdp->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 &&
            errno != EAGAIN) {
            bench_fail("AF_XDP socket: %s", strerror(errno));
        }
    }
    /* What is in the ring of completions is not of interest */
    qatomic_store_release(xdp->done.consumer,
                          qatomic_load_acquire(xdp->done.producer));
}
