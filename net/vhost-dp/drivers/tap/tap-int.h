/*
 * vhost-dp-tap: what its parts share (tap*.c, and vhost-net*.c)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_DRIVERS_TAP_TAP_INT_H
#define NET_VHOST_DP_DRIVERS_TAP_TAP_INT_H

#include <net/if.h>
#include "qemu/units.h"
#include "qemu/uring-burst.h"
#include "net/vhost-dp.h"
#include "net/vhost-dp/drivers/lib/fds.h"
#include "net/vhost-dp/drivers/lib/link.h"
#include "standard-headers/linux/virtio_net.h"

#define TYPE_VHOST_DP_TAP "vhost-dp-tap"
OBJECT_DECLARE_TYPE(VhostDPTap, VhostDPTapClass, VHOST_DP_TAP)

/* The kernel's limit for one interface (MAX_TAP_QUEUES) */
#define TAP_MAX_QUEUES 256

/* The kernel takes UIO_MAXIOV = 1024 vectors, one of them for the header */
#define TAP_MAX_SEGMENTS (IOV_MAX - 1)

/* Frames up to this length are copied next to their header and sent whole */
#define TAP_TX_COPY 2048

/* Room for that many of them */
#define TAP_TX_BUF \
    (VHOST_DP_BURST_FRAMES * \
     ROUND_UP(TAP_TX_COPY + sizeof(struct virtio_net_hdr), 64))

/* Vectors of the longer ones, in a burst */
#define TAP_TX_IOVS (2 * IOV_MAX)

/*
 * A slot takes any frame, with its header in front.  It is an odd number of
 * cache lines long, so that the first bytes of all slots do not compete for
 * the same places in the cache.
 */
#define TAP_RX_SLOTS 64
#define TAP_RX_SLOT \
    (ROUND_UP(VHOST_DP_MAX_FRAME + 16, 128) + 64)

/* The frame begins there in its slot, and the header just before */
#define TAP_RX_FRAME 16

/* How a burst gets to the kernel */
typedef enum TapIO {
    TAP_IO_UNKNOWN,             /* not attached */
    TAP_IO_SYSCALLS,
    TAP_IO_URING,
} TapIO;

typedef struct VhostDPTap VhostDPTap;

/* State of a queue pair, which is one queue of the interface */
typedef struct TapQueue {
    VhostDPTap *tap;
    /*
     * While open.  The number stays until close, for those who use it under
     * the BQL; the IOThread may put another open file behind it.
     */
    int fd;
    TapIO io;                   /* atomic; written by the IOThread */
    bool inactive;              /* atomic; the guest does not use the pair */

    /* From vhost_dp_link_offer() until it was taken; then closed */
    int new_fd, old_fd;         /* or -1 */
    bool detached;              /* from the interface; the watch's thread */

    /* The IOThread's own, between attach and detach */
    VhostDPPort *port;
    AioContext *ctx;
    bool rx_enabled;
    bool rx_drained;            /* nothing is there until the fd is readable */
    bool rx_paused;             /* reading failed: wait for rx_timer */
    QEMUTimer *rx_timer;
    bool tx_blocked;            /* waits until the fd is writable */
    bool tx_in_order;           /* a write may have to wait: one by one */
    bool gone;                  /* the interface of the fd was deleted */

    /* See tap-link.c */
    char *fault;                /* why frames cannot be moved, for good */
    bool was_up;                /* since attach */
    bool down;                  /* last link state told to the engine */

    UringBurst *uring;          /* or NULL: system calls */

    uint8_t *mem;               /* both buffers, in one piece */
    uint8_t *tx_buf;
    struct virtio_net_hdr tx_hdr[VHOST_DP_BURST_FRAMES];
    struct iovec tx_iov[TAP_TX_IOVS];
    UringBurstOp op[VHOST_DP_BURST_FRAMES];

    struct virtio_net_hdr rx_hdr;               /* for rx_into */
    struct iovec rx_iov[2 + VHOST_DP_INTO_SEGMENTS];

    uint8_t *rx_buf;
    unsigned rx_batch;          /* reads to try at once */
    unsigned rx_have;           /* frames in rx_slot */
    unsigned rx_next;           /* the first that is not lent */
    struct {
        unsigned slot;
        ssize_t len;            /* with the header */
    } rx_slot[TAP_RX_SLOTS];
} TapQueue;

/*
 * vhost-dp-tap moves the frames itself.  A child of it has the same interface,
 * and others that move them.
 */
struct VhostDPTapClass {
    VhostDPDriverClass parent_class;

    int hdr_len;                /* of the virtio-net header, bytes */

    /*
     * Start and stop to use the file behind @q->fd, which is replaced when
     * the interface was deleted and comes back.  A start that fails sets
     * @q->fault.  Thread: the queue pair's IOThread.
     */
    void (*start_io)(TapQueue *q);
    void (*stop_io)(TapQueue *q);
};

struct VhostDPTap {
    VhostDPDriver parent_obj;

    /* Options, as the user wrote them; BQL */
    char *ifname;
    char *fd;
    char *fds;
    bool has_sndbuf;
    uint64_t sndbuf;

    /* What fd= or fds= named, once found: kept until the object goes */
    VhostDPFds passed;

    uint32_t rx_offloads;       /* atomic: last set_offload */

    /* While open; set by open, under the BQL */
    uint32_t offloads;          /* of the kernel */
    char real_ifname[IFNAMSIZ]; /* the name at open */
    TapQueue *queue;
    unsigned nqueues;
    bool one_queue;             /* the interface was not made multi_queue */
    VhostDPLink link;

    /* The look's own, see tap-link.c */
    char name[IFNAMSIZ];        /* when last seen */
    int ifindex;                /* in the namespace that is watched, or 0 */
    bool located;               /* ifindex was looked for */
    bool was_up;                /* since open */
    unsigned tries;             /* to open it again */
    unsigned nopen;             /* queues of all users at open; 0: not known */
};

/* The option that passed descriptors come by */
static inline const char *vhost_dp_tap_fds_option(const VhostDPTap *tap)
{
    return tap->fd ? "fd" : "fds";
}

/* ---- tap-open.c: under the BQL, unless another thread is named ---- */

/* See VhostDPDriverClass.open and close */
bool vhost_dp_tap_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp);
void vhost_dp_tap_close(VhostDPDriver *drv);

/*
 * The present name of the interface, which may have been renamed, into @name
 * of IFNAMSIZ bytes; an empty string while the driver is not open.  Makes no
 * system call.
 */
void vhost_dp_tap_get_name(VhostDPTap *tap, char *name);

/*
 * Open queue @i of an interface that came back under the name that open() used.
 * Creates no interface.  @sock: of its network namespace, as for
 * vhost_dp_if_state().
 *
 * Thread: the watch's.
 *
 * Returns a descriptor, or -1 with @errp set.
 */
int vhost_dp_tap_reopen(VhostDPTap *tap, unsigned i, int sock, Error **errp);

/* Tell the interface behind @fd which offloads the guest takes.  Any thread. */
void vhost_dp_tap_apply_offloads(int fd, uint32_t offloads);

/* Is @fd one of TAP_DEVICE?  Otherwise it is a macvtap's.  Any thread. */
bool vhost_dp_tap_fd_is_tun(int fd);

/* ---- tap-share.c: who else uses the interface ---- */

/*
 * Are more queues of tap @name open than the @ours that we have?  The kernel
 * gives each a part of the frames, whoever has it.  May wait for the kernel.
 *
 * Thread: any that may wait.  Lock: none.  Returns EBUSY then, and 0 if not,
 * or if QEMU is forbidden to ask; or an error that may pass.
 */
int vhost_dp_tap_find_others(const char *name, unsigned ours);

/*
 * Begin to open interface @name, and end it: a second program that does waits
 * meanwhile, until one queue is open.  @tries: how often to ask for the turn,
 * with 1 ms in between.
 *
 * Thread: any that may wait so long.  Lock: none.  Returns a descriptor for
 * vhost_dp_tap_end_turn(); or -1 with errno set, to EADDRINUSE if another
 * program has the turn: then vhost_dp_tap_find_others() decides alone.
 */
int vhost_dp_tap_take_turn(const char *name, unsigned tries);
void vhost_dp_tap_end_turn(int turn);

/*
 * For open with fd= or fds=: set tap->nopen to how many queues of interface
 * @name are open, if that is known.  Waits for some 3 ms at most for those of a
 * program that ends just now.  @nl: see vhost_dp_if_tap_queues().
 *
 * Thread: that of the first look.  Lock: BQL.
 */
void vhost_dp_tap_count_queues(VhostDPTap *tap, int nl, const char *name);

/*
 * After that: are queues of the interface open that were not passed?  Then ours
 * are detached, until they are used again, so that the others lose no frames.
 *
 * Lock: BQL.  Returns false with @errp set then.
 */
bool vhost_dp_tap_check_others(VhostDPTap *tap, Error **errp);

/* ---- tap-link.c: the state of the interface ---- */

/*
 * The descriptors are open: begin to watch the interface.  Sets tap->nopen.
 * Lock: BQL.  Returns false with @errp set on failure.
 */
bool vhost_dp_tap_link_open(VhostDPTap *tap, Error **errp);

/* Close what was offered to the queue, taken or not.  Lock: BQL; no watch. */
void vhost_dp_tap_close_swap(TapQueue *q);

/*
 * Attach the queue to the interface, or detach it, if that is not so.  May
 * wait.  Thread: the watch's, while there is one.
 */
void vhost_dp_tap_set_queue(TapQueue *q, bool attached);

/* Was the interface deleted?  Does not wait.  Any thread. */
bool vhost_dp_tap_is_gone(const TapQueue *q);

/* The following in the IOThread */

/* At the end of attach */
void vhost_dp_tap_link_start(TapQueue *q);

/* Have the watch look soon.  May be called with the queue pair's lock. */
void vhost_dp_tap_link_check(TapQueue *q);

/* ---- tap-io.c: the data side, see VhostDPDriverClass ---- */

/* Register the fd handlers that are wanted now */
void vhost_dp_tap_update_handlers(TapQueue *q);

/* Ask the engine to offer the frames again that waited for room */
void vhost_dp_tap_unblock(TapQueue *q);

/*
 * Begin and end to serve a queue pair, for attach and detach; the end of detach
 * is the last use of @q->port.
 */
void vhost_dp_tap_start(TapQueue *q, VhostDPPort *port, AioContext *ctx);
void vhost_dp_tap_stop(TapQueue *q);

/* Stop and start to use the file behind q->fd, when another takes its place */
void vhost_dp_tap_suspend(TapQueue *q);
void vhost_dp_tap_resume(TapQueue *q);

void vhost_dp_tap_io_class_init(VhostDPTapClass *tc);

#endif /* NET_VHOST_DP_DRIVERS_TAP_TAP_INT_H */
