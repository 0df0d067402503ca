/*
 * vhost-dp dataplane API: what a packet driver implements
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vhost-dp network backend is split in two: the engine speaks virtio with
 * the guest, a driver moves frames to and from one kind of host interface.
 * This header is the border between them.  A driver knows frames and offload
 * metadata; it never sees a virtqueue, a guest address or a vhost device.
 *
 * A driver is a user-creatable QOM object, a child of TYPE_VHOST_DP_DRIVER:
 *
 *     -object vhost-dp-tap,id=tap0
 *     -netdev vhost-dp,id=vd0,driver=tap0
 *
 * Life of a driver (thread; lock):
 *
 *     complete      check the options' syntax        (main thread; BQL)
 *     open          claimed by a netdev: open fds    (any; BQL)
 *       attach        register fd handlers           (IOThread; none)
 *       tx_burst, rx_burst, rx_release, rx_enable,
 *       set_active                                   (IOThread; see each)
 *       set_offload   may come at any time           (any; BQL)
 *       detach        remove fd handlers             (IOThread; none)
 *     close         closed by the netdev             (any; BQL)
 *     finalize      the object goes away             (any; BQL)
 *
 * attach to detach is repeated for each queue pair; the pairs may live on
 * different IOThreads.  open to close can be repeated: a driver that was
 * given back by one netdev can be claimed by the next.  All data-side
 * functions of one queue pair run in one thread, so a driver that keeps its
 * state per queue pair needs no locks of its own.
 */

#ifndef NET_VHOST_DP_H
#define NET_VHOST_DP_H

#include "qemu/units.h"
#include "qom/object.h"
#include "qemu/aio.h"
#include "qapi/qapi-types-vhost-dp.h"

/* ---- Limits ---- */

/* The most frames that one call of tx_burst or rx_burst handles */
#define VHOST_DP_BURST_FRAMES   64

/*
 * Once a burst has gathered this many bytes it ends, so that the queue pair's
 * lock is held for a bounded time.  The frame that crosses the mark is still
 * part of the burst.
 */
#define VHOST_DP_BURST_BYTES    (256 * KiB)

/*
 * Room for the longest frame: 64 KB of IP datagram, an Ethernet header and
 * two VLAN tags, rounded up.
 */
#define VHOST_DP_MAX_FRAME      (65535 + 14 + 2 * 4 + 7)

/*
 * Bytes at the start of a frame that the engine copies out of the guest's
 * reach when it has to validate offload metadata.
 */
#define VHOST_DP_HEAD_BYTES     256

/*
 * Datagrams in a frame with VIRTIO_NET_HDR_GSO_UDP_L4 that each Linux takes: it
 * refuses more than 64, or 128 since 6.9.
 */
#define VHOST_DP_LINUX_DATAGRAMS 64

/* The most pieces of memory that rx_into takes */
#define VHOST_DP_INTO_SEGMENTS  512

/* ---- Frames ---- */

/*
 * VhostDPFrame: one Ethernet frame without FCS
 *
 * @iov and @iovcnt say where the frame's bytes are: @iov points at @inl or,
 * for more than two pieces, at an array of the engine's.
 *
 * The offload metadata has the meaning of virtio 1.3, section 5.1.6.2 and
 * 5.1.6.4 (struct virtio_net_hdr), in host byte order.  A frame that needs
 * nothing has @flags == 0 and @gso_type == 0, and the other fields are then
 * to be ignored.  On TX, @hdr_len and @gso_size are zero in a frame that needs
 * a checksum alone.
 *
 * On TX the engine has checked that the metadata fits the headers in the
 * frame: a driver can rely on @csum_start + @csum_offset + 2 <= @len, on
 * @hdr_len being the exact length of all headers and inside iov[0] when
 * @gso_type is not zero, and on @gso_size > 0 and
 * VIRTIO_NET_HDR_F_NEEDS_CSUM then.  It gets no metadata that is not in its
 * tx_offloads: such frames are finished, and cut into segments, before.  For
 * VIRTIO_NET_HDR_GSO_UDP_L4 it has to have both VHOST_DP_OFFLOAD_USO4 and USO6.
 *
 * On RX the driver promises @csum_start + @csum_offset + 2 <= @len.  @hdr_len
 * is a hint.  VIRTIO_NET_HDR_F_DATA_VALID says that the host has verified the
 * frame's checksums, or that they never left the host: then the field may have
 * anything in it.  Metadata that the guest does not take, be it that the driver
 * was not asked for it or cannot be told, is checked against the headers, and
 * finished in software or, when malformed, dropped.  For DATA_VALID, which goes
 * with VHOST_DP_OFFLOAD_CSUM, that means to compute the checksum: a driver that
 * knows it to be right leaves the flag out when CSUM is not asked for.
 *
 * The struct fills one cache line.
 */
typedef struct VhostDPFrame {
    struct iovec *iov;          /* iovcnt pieces, none of them empty */
    struct iovec inl[2];
    uint32_t len;               /* bytes in all pieces */
    uint16_t iovcnt;
    uint8_t flags;              /* VIRTIO_NET_HDR_F_* */
    uint8_t gso_type;           /* VIRTIO_NET_HDR_GSO_* */
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint64_t reserved;
} VhostDPFrame;

QEMU_BUILD_BUG_ON(sizeof(void *) == 8 && sizeof(VhostDPFrame) != 64);

/* ---- Capabilities ---- */

/* Offloads, for tx_offloads, rx_offloads and set_offload */
#define VHOST_DP_OFFLOAD_CSUM   (1u << 0)   /* partial checksums */
#define VHOST_DP_OFFLOAD_TSO4   (1u << 1)   /* TCP over IPv4 segmentation */
#define VHOST_DP_OFFLOAD_TSO6   (1u << 2)   /* TCP over IPv6 segmentation */
#define VHOST_DP_OFFLOAD_ECN    (1u << 3)   /* TSO with the CWR bit set */
#define VHOST_DP_OFFLOAD_UFO    (1u << 4)   /* UDP fragmentation */
#define VHOST_DP_OFFLOAD_USO4   (1u << 5)   /* UDP over IPv4 segmentation */
#define VHOST_DP_OFFLOAD_USO6   (1u << 6)   /* UDP over IPv6 segmentation */
#define VHOST_DP_OFFLOAD_ALL    ((1u << 7) - 1)

typedef struct VhostDPCaps {
    uint32_t max_queue_pairs;   /* at least 1 */
    /*
     * Bytes, at most VHOST_DP_MAX_FRAME.  The engine segments longer GSO
     * frames before it calls tx_burst.
     */
    uint32_t max_frame;
    uint32_t max_segments;      /* pieces that tx_burst takes per frame, >= 2 */
    /*
     * Datagrams in a frame with VIRTIO_NET_HDR_GSO_UDP_L4, or 0 for any number.
     * Frames with more are cut in pieces.
     */
    uint32_t max_datagrams;
    uint32_t tx_offloads;       /* what tx_burst accepts in metadata */
    uint32_t rx_offloads;       /* what rx_burst can be told to produce */
    bool rx_poll;               /* an rx_burst in vain costs no system call */
    bool rx_on_demand;          /* rx_burst makes frames: none wait outside */
} VhostDPCaps;

/* What query-vhost-dp and "info network" tell of a driver */
typedef struct VhostDPDriverInfo {
    char *interface;            /* for people, such as "ifname=tap0" */
    VhostDPPeerInfo *peer;      /* the virtio device behind it, or NULL */
    bool has_io;
    VhostDPIoMethod io;         /* how bursts get to the kernel */
    /*
     * Set to those of get_caps() before.  A driver whose peer comes later than
     * open tells those that the peer has: none, while it is not there.
     */
    uint32_t tx_offloads;
    uint32_t rx_offloads;
} VhostDPDriverInfo;

/* ---- The port's side, called by drivers ---- */

/*
 * VhostDPPort: one queue pair of a netdev, as the driver of it sees it
 *
 * What stands above a driver implements a port for each pair that it attaches:
 * the engine does (net/vhost-dp/port.c), and so can a driver that stands on
 * another one.  Its own struct embeds this one, and attach() hands it down.
 *
 * Thread: the port's IOThread, for all functions, between attach() and the end
 * of detach().
 */
typedef struct VhostDPPort VhostDPPort;

/* For vhost_dp_port_ready() */
#define VHOST_DP_READY_RX   (1u << 0)
#define VHOST_DP_READY_TX   (1u << 1)

/* None is optional.  What each has to do is said at the function below. */
typedef struct VhostDPPortOps {
    void (*ready)(VhostDPPort *port, unsigned what);
    void (*drop_rx)(VhostDPPort *port, VhostDPDropReason reason, uint64_t n);
    void (*drop_tx)(VhostDPPort *port, VhostDPDropReason reason, uint64_t n);
    void (*set_link)(VhostDPPort *port, bool up, const char *reason);
    void (*set_tx_offloads)(VhostDPPort *port, uint32_t offloads);
} VhostDPPortOps;

struct VhostDPPort {
    const VhostDPPortOps *ops;  /* set before attach() */
};

/**
 * vhost_dp_port_ready: say that there is work or room
 * @port: the port that attach() was given
 * @what: VHOST_DP_READY_RX: rx_burst has frames.  VHOST_DP_READY_TX: tx_burst,
 *        which took less than it was offered, has room again.
 *
 * Called from the driver's fd handlers and timers, from rx_enable, and from
 * inside rx_burst and tx_burst if need be.  The port may call rx_burst,
 * rx_release, rx_enable and tx_burst before this function returns, unless the
 * driver is inside one of them already.
 *
 * Lock: none, or the queue pair's inside tx_burst.
 */
static inline void vhost_dp_port_ready(VhostDPPort *port, unsigned what)
{
    port->ops->ready(port, what);
}

/**
 * vhost_dp_port_drop_rx: count received frames that the driver lost
 * @port: the port that attach() was given
 * @reason: why they were not lent
 * @n: number of frames; 0 does nothing
 *
 * Lock: any; so also from inside rx_into.
 */
static inline void vhost_dp_port_drop_rx(VhostDPPort *port,
                                         VhostDPDropReason reason, uint64_t n)
{
    port->ops->drop_rx(port, reason, n);
}

/**
 * vhost_dp_port_drop_tx: count frames of tx_burst that the driver lost
 * @port: the port that attach() was given
 * @reason: why they were taken, and not sent
 * @n: number of frames; 0 does nothing
 *
 * Lock: any; so also from inside tx_burst.
 */
static inline void vhost_dp_port_drop_tx(VhostDPPort *port,
                                         VhostDPDropReason reason, uint64_t n)
{
    port->ops->drop_tx(port, reason, n);
}

/**
 * vhost_dp_port_set_link: report that the host interface failed or came back
 * @port: the port that attach() was given
 * @up: false: frames cannot be moved at present
 * @reason: why, for the user, when @up is false; otherwise NULL.  Copied.
 *
 * The guest's link is up when the driver's links of all ports and the user's
 * set_link say so.  Reported to the user once for each change.
 *
 * Lock: any; so also from inside tx_burst.
 */
static inline void vhost_dp_port_set_link(VhostDPPort *port, bool up,
                                          const char *reason)
{
    port->ops->set_link(port, up, reason);
}

/**
 * vhost_dp_port_set_tx_offloads: say what tx_burst accepts from now on
 * @port: the port that attach() was given
 * @offloads: VHOST_DP_OFFLOAD_*; only those of get_caps() count
 *
 * For drivers whose peer comes later than open, or changes.  Frames of the next
 * tx_burst comply, also those that an earlier tx_burst did not take.
 *
 * Outside of tx_burst.  Lock: none.
 */
static inline void vhost_dp_port_set_tx_offloads(VhostDPPort *port,
                                                 uint32_t offloads)
{
    port->ops->set_tx_offloads(port, offloads);
}

/* ---- The driver's side, called by the engine ---- */

#define TYPE_VHOST_DP_DRIVER "vhost-dp-driver"
OBJECT_DECLARE_TYPE(VhostDPDriver, VhostDPDriverClass, VHOST_DP_DRIVER)

struct VhostDPDriver {
    Object parent_obj;

    /* The object's id; from before check_options on it does not change */
    char *id;
    /* BQL: the netdev that claimed the driver, or NULL */
    char *claimed_by;
    /* BQL: property offloads=; if not set, the engine uses none of them */
    bool offloads;
};

struct VhostDPDriverClass {
    ObjectClass parent_class;

    /**
     * check_options: check what the user wrote, without touching the host
     *
     * Called when the object is complete, under -M none too, and again before
     * open, since options may have been changed.  Optional.
     *
     * Returns false with @errp set when an option is wrong.  The error names
     * the option; the driver's type and id are put in front by the caller.
     */
    bool (*check_options)(VhostDPDriver *drv, Error **errp);

    /**
     * open: open everything that @queue_pairs pairs need
     *
     * Called when a netdev claims the driver; its ID is in @drv->claimed_by.
     * @queue_pairs is between 1 and get_caps()->max_queue_pairs as it was
     * before open.  What open did is undone by close, which is not called
     * after a failure.
     *
     * Lock: BQL.  Returns false with @errp set on failure; as check_options.
     */
    bool (*open)(VhostDPDriver *drv, unsigned queue_pairs, Error **errp);

    /**
     * close: close what open opened
     *
     * All ports are detached.  Must not fail.  Lock: BQL.
     */
    void (*close)(VhostDPDriver *drv);

    /**
     * get_caps: what the driver can do
     *
     * Before open the answer counts for max_queue_pairs only; after open it
     * is final until close.  Lock: BQL.
     */
    void (*get_caps)(VhostDPDriver *drv, VhostDPCaps *caps);

    /**
     * query: what there is to be told of the driver
     * @info: zero, but for the offloads; the strings and structs that are put
     *        there, @interface at least, are newly allocated
     *
     * Called while open, and while frames are moved.  It must not wait: no
     * system call, and no lock that is held during one.  Lock: BQL.
     */
    void (*query)(VhostDPDriver *drv, VhostDPDriverInfo *info);

    /**
     * set_offload: which offload metadata rx_burst may produce from now on
     * @offloads: VHOST_DP_OFFLOAD_*, a subset of rx_offloads
     *
     * Called while open, for all queue pairs at once, with data-side
     * functions possibly running.  Frames received before may still come
     * with metadata that is no longer asked for; the engine copes.  Optional:
     * not for drivers that cannot have it changed.
     *
     * Lock: BQL.  A failure is reported by the driver's log; the engine does
     * in software what the guest does not take.
     */
    void (*set_offload)(VhostDPDriver *drv, uint32_t offloads);

    /**
     * attach: start to serve queue pair @pair on @ctx
     * @port: to be given to vhost_dp_port_*() until detach
     * @ctx: the AioContext of the calling thread
     *
     * The driver registers its fd handlers on @ctx.  Reception starts
     * disabled (see rx_enable).
     *
     * Thread: the port's IOThread.  Lock: none.  Returns false with @errp
     * set on failure: the engine takes the link down, and detach is not
     * called.
     */
    bool (*attach)(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                   AioContext *ctx, Error **errp);

    /**
     * detach: stop to serve queue pair @pair
     *
     * The driver removes its fd handlers; lent frames have been released.
     * @port must not be used afterwards.  It must not wait for the main loop
     * or the BQL, whose holder waits for it.
     *
     * Thread: the port's IOThread.  Lock: none.
     */
    void (*detach)(VhostDPDriver *drv, unsigned pair);

    /**
     * set_active: whether the guest uses queue pair @pair (multiqueue)
     *
     * A pair that was attached is active.  While it is not, tx_burst is not
     * called, and a driver whose host interface spreads frames over its
     * queues should see to it that this one gets none.  Optional.
     *
     * Thread: the port's IOThread.  Lock: none.
     *
     * Returns true if an inactive pair gets no frames: reception is then
     * disabled, and rx_burst is not called.  Otherwise, and without this
     * function, the engine takes what comes and gives it to the first pair,
     * unless the driver has the capability rx_on_demand.
     */
    bool (*set_active)(VhostDPDriver *drv, unsigned pair, bool active);

    /**
     * tx_burst: send frames
     * @frames: @n frames, 1 <= n <= VHOST_DP_BURST_FRAMES.  The driver may
     *          change the structs, not the bytes they point to.
     *
     * The bytes may be guest memory, which the guest can change at any time,
     * except for iov[0] of a frame with metadata, which is private.  They
     * are the driver's until it returns, not longer.
     *
     * Thread: the port's IOThread.  Lock: the queue pair's; so it must not
     * block.
     *
     * Returns how many frames it has finished with, in order: sent, or
     * dropped and counted by vhost_dp_port_drop_tx().  When that is less than
     * @n, the engine keeps the rest and offers it again after
     * vhost_dp_port_ready(VHOST_DP_READY_TX).  That may be in the middle of
     * the segments that the engine made of one frame.
     *
     * (Reserved for later: an asynchronous driver that keeps frames beyond
     * the return and gives them back by a tx_complete() of the port.)
     */
    unsigned (*tx_burst)(VhostDPDriver *drv, unsigned pair,
                         VhostDPFrame *frames, unsigned n);

    /**
     * rx_burst: receive frames
     * @frames: room for @n frames, 1 <= n <= VHOST_DP_BURST_FRAMES
     *
     * Lends received frames: the bytes stay in the driver's buffers,
     * unchanged, until rx_release.  A burst ends early when its frames have
     * VHOST_DP_BURST_BYTES in all.  The engine releases all frames of a burst
     * before it asks for the next.
     *
     * Thread: the port's IOThread.  Lock: none.
     *
     * Returns the number of frames.  0 means that there are none at present:
     * the driver calls vhost_dp_port_ready(VHOST_DP_READY_RX) when there are,
     * if reception is enabled.  A driver with the capability rx_poll is also
     * called while reception is disabled and without having said that there
     * are frames: the engine polls it (busy-poll-us=).
     */
    unsigned (*rx_burst)(VhostDPDriver *drv, unsigned pair,
                         VhostDPFrame *frames, unsigned n);

    /**
     * rx_into: receive one frame into memory of the guest's
     * @frame: where to put the metadata and @len; @iov is left alone
     * @head: room for the first VHOST_DP_HEAD_BYTES bytes of the frame
     * @iov: room for the bytes that follow: with @head, for any frame
     * @iovcnt: elements of @iov, at most VHOST_DP_INTO_SEGMENTS
     *
     * Optional: for drivers that can scatter a frame, so that long ones are
     * copied once.  The engine calls it in place of rx_burst, with no frames
     * lent, when the frames of late were long.  The memory is the driver's
     * until it returns.
     *
     * Thread: the port's IOThread.  Lock: the queue pair's; so it must not
     * block.
     *
     * Returns 1; 0 if there is no frame at present (see rx_burst); or -1 if
     * one was lost, and counted by vhost_dp_port_drop_rx(): the memory may have
     * been written to.
     */
    int (*rx_into)(VhostDPDriver *drv, unsigned pair, VhostDPFrame *frame,
                   uint8_t *head, const struct iovec *iov, unsigned iovcnt);

    /**
     * rx_release: give back the oldest @n frames that are lent
     *
     * Optional: not needed where the next rx_burst, which does not come
     * before all frames are back, begins anew.
     *
     * Thread: the port's IOThread.  Lock: none.
     */
    void (*rx_release)(VhostDPDriver *drv, unsigned pair, unsigned n);

    /**
     * rx_enable: start or stop to call vhost_dp_port_ready(VHOST_DP_READY_RX)
     *
     * The engine stops reception while the guest has no buffers or does not
     * run, so that a level-triggered fd does not spin, and while it polls a
     * driver that has the capability rx_poll.  When it is enabled
     * and frames are there already, the driver has to call
     * vhost_dp_port_ready(), from its fd handler or at once.
     *
     * Thread: the port's IOThread.  Lock: none.
     */
    void (*rx_enable)(VhostDPDriver *drv, unsigned pair, bool enable);
};

/**
 * vhost_dp_driver_prepend: begin an error with the driver's type and id
 *
 * For errors that are not those of check_options and open.  Any thread.
 */
void vhost_dp_driver_prepend(VhostDPDriver *drv, Error **errp);

/* ---- Options ---- */

typedef enum VhostDPOptionType {
    VHOST_DP_OPTION_BOOL,
    VHOST_DP_OPTION_UINT32,
    VHOST_DP_OPTION_UINT64,
    VHOST_DP_OPTION_SIZE,       /* uint64_t; the user may write 1M */
    VHOST_DP_OPTION_INT,        /* int64_t */
    VHOST_DP_OPTION_STR,        /* char *, or NULL; "" is read then */
    VHOST_DP_OPTION_ENUM,
    VHOST_DP_OPTION_LIST,       /* strList * */
} VhostDPOptionType;

/*
 * An option of a driver: a member of its struct.  The value is kept as the user
 * wrote it; check_options looks at it.  Strings and lists are freed with the
 * object.  Defaults are set by the type's instance_init.
 *
 * No option can be changed while a netdev uses the driver.
 */
typedef struct VhostDPOption {
    const char *name;
    VhostDPOptionType type;
    size_t offset;              /* of the member */
    const char *description;
    size_t has;                 /* offset of a bool: the user set it; or 0 */

    /* ENUM: its QAPI type */
    const char *enum_name;
    const QEnumLookup *lookup;

    /*
     * STR and ENUM: what reads back, newly allocated, if that is not the
     * member.  Lock: BQL.
     */
    char *(*read)(VhostDPDriver *drv);

    /* The user has set the option: forget what its old value led to.  BQL. */
    void (*changed)(VhostDPDriver *drv);
} VhostDPOption;

/* For VHOST_DP_OPTION(): the C type of a member */
typedef bool VhostDPOptionBOOL;
typedef uint32_t VhostDPOptionUINT32;
typedef uint64_t VhostDPOptionUINT64;
typedef uint64_t VhostDPOptionSIZE;
typedef int64_t VhostDPOptionINT;
typedef char *VhostDPOptionSTR;
typedef struct strList *VhostDPOptionLIST;

/*
 * An entry of a table, of any type but ENUM.  What follows the description is
 * for the other members of VhostDPOption.
 */
#define VHOST_DP_OPTION(_name, _type, _state, _field, _description, ...) \
    { .name = (_name), .type = VHOST_DP_OPTION_##_type, \
      .offset = offsetof(_state, _field) + type_check( \
                    VhostDPOption##_type, typeof_field(_state, _field)), \
      .description = (_description), ## __VA_ARGS__ }

/**
 * vhost_dp_driver_add_options: make properties of a driver's options
 * @oc: the driver's class
 * @options: a table that ends with an empty entry, and is never freed
 *
 * Called by class_init.
 */
void vhost_dp_driver_add_options(ObjectClass *oc, const VhostDPOption *options);

/* ---- Claiming (used by the netdev) ---- */

/**
 * vhost_dp_driver_claim: take a driver for a netdev, and open it
 * @id: the id of the driver object, from the driver= option
 * @netdev: the id of the netdev
 * @queue_pairs: number of queue pairs to open
 *
 * Lock: BQL.
 *
 * Returns the driver with a reference held, or NULL with @errp set: there is
 * no such object, it is of another type, claimed already, cannot serve so
 * many queue pairs, or open failed.
 */
VhostDPDriver *vhost_dp_driver_claim(const char *id, const char *netdev,
                                     unsigned queue_pairs, Error **errp);

/**
 * vhost_dp_driver_query: ask an open driver; see VhostDPDriverClass.query
 * @caps: what get_caps() said
 * @info: to be cleared by vhost_dp_driver_info_clear()
 *
 * Lock: BQL.
 */
void vhost_dp_driver_query(VhostDPDriver *drv, const VhostDPCaps *caps,
                           VhostDPDriverInfo *info);

/* Free what @info points to */
void vhost_dp_driver_info_clear(VhostDPDriverInfo *info);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VhostDPDriverInfo, vhost_dp_driver_info_clear)

/**
 * vhost_dp_driver_release: close a driver and give it back
 *
 * All ports are detached.  Drops the reference.  Lock: BQL.
 */
void vhost_dp_driver_release(VhostDPDriver *drv);

#endif /* NET_VHOST_DP_H */
