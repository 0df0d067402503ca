/*
 * vhost-dp-vhost-net: what its parts share (vhost-net*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_DRIVERS_TAP_VHOST_NET_INT_H
#define NET_VHOST_DP_DRIVERS_TAP_VHOST_NET_INT_H

#include "net/vhost-dp/drivers/lib/fds.h"
#include "tap-int.h"
#include "net/vhost-dp/drivers/virtq/vq.h"

#define TYPE_VHOST_DP_VHOST_NET "vhost-dp-vhost-net"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPVhostNet, VHOST_DP_VHOST_NET)

/*
 * Entries of a virtqueue: at 31 buffers for a frame of 64 KB, 16 of these wait
 * while the IOThread does something else.
 */
#define VNET_DEFAULT_QUEUE_SIZE 512

typedef struct VnetPair VnetPair;

/* What the kernel says of one virtqueue */
typedef struct VnetRing {
    VnetPair *pair;
    EventNotifier error;
    /* The IOThread's own: the last error that was not the interface's */
    bool had_error;
    unsigned error_at;          /* entry of the available ring */
} VnetRing;

/* State of a queue pair: a vhost device of the kernel with its own thread */
struct VnetPair {
    VhostDPVhostNet *vn;
    unsigned index;             /* also of VhostDPTap.queue */
    int fd;                     /* of /dev/vhost-net, while open */
    bool owner;                 /* VHOST_SET_OWNER was done */
    VnetRing ring[2];           /* in the order of VhostDPVqSet.vq */
    VhostDPVqPair *vq;
    bool stopped;               /* the worker has no file; IOThread only */
};

struct VhostDPVhostNet {
    VhostDPTap parent_obj;

    /* Options, as the user wrote them; BQL */
    char *vhostfd;
    char *vhostfds;
    bool has_poll_us;
    uint32_t poll_us;
    uint32_t queue_size;
    bool hugetlb;

    /* What vhostfd= or vhostfds= named: kept until the object goes */
    VhostDPFds passed;

    /* While open; set by open, under the BQL */
    VhostDPVqSet *set;          /* all that the kernel has of QEMU's memory */
    VnetPair *pair;             /* VhostDPTap.nqueues */
    unsigned npairs;
};

static inline const char *vnet_id(const VhostDPVhostNet *vn)
{
    return vn->parent_obj.parent_obj.id;
}

/* The option that passed descriptors come by */
static inline const char *vnet_fds_option(const VhostDPVhostNet *vn)
{
    return vn->vhostfd ? "vhostfd" : "vhostfds";
}

/* ---- vhost-net-kernel.c ---- */

/**
 * vhost_dp_vnet_open: get the kernel's devices, and give them the rings
 *
 * The interface is open, and the members of vn->pair but for fd and the
 * notifier are set.  On return the workers move frames.
 *
 * Thread: main.  Lock: BQL.  Returns false with @errp set; then
 * vhost_dp_vnet_close() has to undo what was done.
 */
bool vhost_dp_vnet_open(VhostDPVhostNet *vn, Error **errp);

/* No worker touches the memory when it returns.  Lock: BQL. */
void vhost_dp_vnet_close(VhostDPVhostNet *vn);

/**
 * vhost_dp_vnet_set_backend: let the worker use the interface's file
 * @tap_fd: or -1, to stop; the worker has stopped when it returns
 *
 * Thread: any; one at a time for a pair.  Returns 0 or a negative errno.
 */
int vhost_dp_vnet_set_backend(VnetPair *pair, int tap_fd);

/*
 * The entry of the available ring that the worker, which was stopped, takes
 * next.  @i: 0 receives, 1 transmits.  Thread: any.
 */
unsigned vhost_dp_vnet_get_base(VnetPair *pair, unsigned i);

/* The worker, which was stopped, is to begin at @base.  Thread: any. */
void vhost_dp_vnet_set_base(VnetPair *pair, unsigned i, unsigned base);

#endif /* NET_VHOST_DP_DRIVERS_TAP_VHOST_NET_INT_H */
