/*
 * vhost-dp-tap: what its parts share (tap*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_TAP_INT_H
#define NET_VHOST_DP_TAP_INT_H

#include <net/if.h>
#include "qemu/units.h"
#include "net/vhost-dp.h"
#include "standard-headers/linux/virtio_net.h"

#define TYPE_VHOST_DP_TAP "vhost-dp-tap"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPTap, VHOST_DP_TAP)

/* The kernel's limit for one interface (MAX_TAP_QUEUES) */
#define TAP_MAX_QUEUES 256

/* One vector is needed for the header; the kernel takes UIO_MAXIOV = 1024 */
#define TAP_MAX_SEGMENTS (IOV_MAX - 1)

/* Room for a full burst and the frame that crosses its limit */
#define TAP_ARENA_BYTES (VHOST_DP_BURST_BYTES + VHOST_DP_MAX_FRAME)

/* One queue pair: one queue of the interface */
typedef struct TapQueue {
    int fd;                     /* while open; the same until close */

    /* The IOThread's own, between attach and detach */
    VhostDPPort *port;
    AioContext *ctx;
    bool inactive;              /* detached from the interface by us */
    bool rx_enabled;
    bool tx_blocked;            /* waits until the fd is writable */
    bool gone;                  /* the interface was deleted */
    struct iovec tx_iov[TAP_MAX_SEGMENTS + 1];  /* of the frame being sent */
    uint8_t *arena;             /* received frames */
    size_t arena_used;
    unsigned lent;
} TapQueue;

struct VhostDPTap {
    VhostDPDriver parent_obj;

    /* Options, as the user wrote them; BQL */
    char *ifname;
    char *fd;
    char *fds;
    bool has_sndbuf;
    uint64_t sndbuf;

    /* What fd= or fds= named, once found: kept until the object goes */
    int *passed_fd;
    unsigned npassed;

    /* While open; set by open, under the BQL */
    uint32_t offloads;          /* that the kernel has */
    char real_ifname[IFNAMSIZ];
    TapQueue *queue;
    unsigned nqueues;
};

static inline const char *tap_id(const VhostDPTap *tap)
{
    return object_get_canonical_path_component(OBJECT(tap));
}

/* ---- tap-open.c: all under the BQL ---- */

/* See VhostDPDriverClass.open; the options were checked */
bool vhost_dp_tap_open(VhostDPTap *tap, unsigned queue_pairs, Error **errp);

/* See VhostDPDriverClass.close */
void vhost_dp_tap_close(VhostDPTap *tap);

/* Close the descriptors that fd= or fds= named.  The driver is not open. */
void vhost_dp_tap_forget_passed(VhostDPTap *tap);

/*
 * Split fds= into its elements.  Returns NULL with @errp set if there are too
 * many, or an empty one.
 */
char **vhost_dp_tap_split_fds(VhostDPTap *tap, Error **errp);

/*
 * The present name of the interface, which may have been renamed, into @name
 * of IFNAMSIZ bytes; an empty string while the driver is not open.
 */
void vhost_dp_tap_get_name(VhostDPTap *tap, char *name);

/* ---- tap-io.c: the data side, see VhostDPDriverClass ---- */

void vhost_dp_tap_io_class_init(VhostDPDriverClass *dc);

#endif /* NET_VHOST_DP_TAP_INT_H */
