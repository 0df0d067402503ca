/*
 * vhost-dp dataplane API: what a packet driver implements
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vhost-dp network backend is split in two: the engine speaks virtio with
 * the guest, a driver moves frames to and from one kind of host interface.
 * This header is the interface between them.  A driver handles frames and
 * offload metadata; it never sees a virtqueue, a guest address or a vhost
 * device.
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
 *       set_offload, set_rx_filter
 *                     called at any time             (any; BQL)
 *       detach        remove fd handlers             (IOThread; none)
 *     close         given back by the netdev         (any; BQL)
 *     finalize      the object is deleted            (any; BQL)
 *
 * The queue pairs may be in different IOThreads.  A pair can be detached and
 * attached again between open and close, when a filter is put on the driver or
 * taken off, while the guest sends and receives.  After close, another netdev
 * can claim the driver and open it again.  All data-side functions of one queue
 * pair run in one thread, so a driver that keeps its state per queue pair needs
 * no lock of its own.
 */

#ifndef NET_VHOST_DP_H
#define NET_VHOST_DP_H

#include "qemu/units.h"
#include "qom/object.h"
#include "qemu/aio.h"
#include "qapi/qapi-types-vhost-dp.h"

struct VhostDPControl;

/* ---- Limits ---- */

/* The most frames that one call of tx_burst or rx_burst handles */
#define VHOST_DP_BURST_FRAMES   64

/*
 * A burst ends with the frame that brings it to this many bytes, so that the
 * queue pair's lock is held for a bounded time.
 */
#define VHOST_DP_BURST_BYTES    (256 * KiB)

/*
 * Room for the longest frame: 64 KB of IP datagram, an Ethernet header and
 * two VLAN tags, rounded up.
 */
#define VHOST_DP_MAX_FRAME      (65535 + 14 + 2 * 4 + 7)

/*
 * Bytes at the start of a frame with offload metadata that the engine copies
 * to private memory, where it checks the headers.
 */
#define VHOST_DP_HEAD_BYTES     256

/*
 * Datagrams in a VIRTIO_NET_HDR_GSO_UDP_L4 frame that every Linux accepts.
 * Linux 6.9 and later accept 128.
 */
#define VHOST_DP_LINUX_DATAGRAMS 64

/* The most pieces of memory that are passed to rx_into */
#define VHOST_DP_INTO_SEGMENTS  512

/* ---- Frames ---- */

/*
 * VhostDPFrame: one Ethernet frame without FCS
 *
 * @iov and @iovcnt say where the frame's bytes are: @iov points to @inl or,
 * for more than two pieces, to an array of the engine's.
 *
 * The offload metadata has the meaning of virtio 1.3, section 5.1.6.2 and
 * 5.1.6.4 (struct virtio_net_hdr), in host byte order.  In a frame that needs
 * no offload @flags and @gso_type are zero, and the other metadata fields have
 * no meaning.  On TX, @hdr_len and @gso_size are zero in a frame that needs
 * only a checksum.
 *
 * On TX the engine has checked that the metadata fits the headers in the
 * frame.  A driver can rely on @csum_start + @csum_offset + 2 <= @len.  When
 * @gso_type is not zero it can also rely on VIRTIO_NET_HDR_F_NEEDS_CSUM, on
 * @gso_size > 0, and on @hdr_len, which is the exact length of all headers, all
 * of them in iov[0].  The driver gets only metadata that is in its tx_offloads;
 * the engine computes other checksums and cuts other frames before.  A
 * VIRTIO_NET_HDR_GSO_UDP_L4 frame needs both VHOST_DP_OFFLOAD_USO4 and USO6.
 *
 * On RX the driver guarantees @csum_start + @csum_offset + 2 <= @len.  @hdr_len
 * is a hint.  VIRTIO_NET_HDR_F_DATA_VALID says that the host has verified the
 * frame's checksums, or that the frame never left the host; then the checksum
 * field may have any value.  The engine checks metadata that the guest does not
 * accept against the headers, and does the offload in software, or drops a
 * frame whose metadata is malformed.  A frame with DATA_VALID, which belongs to
 * VHOST_DP_OFFLOAD_CSUM, then gets a checksum: a driver that knows the checksum
 * to be right clears the flag while CSUM is not asked for.
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
    /* What the engine found out about a received frame; not for drivers */
    uint32_t hash;              /* the hash that the guest is told */
    uint8_t hash_report;        /* VIRTIO_NET_HASH_REPORT_*: what it is of */
    uint8_t reserved[3];
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
    uint32_t max_queue_pairs;   /* at least 1; see open and get_caps */
    /*
     * Bytes, at most VHOST_DP_MAX_FRAME.  The engine segments longer GSO
     * frames before it calls tx_burst.
     */
    uint32_t max_frame;
    uint32_t max_segments;      /* pieces per frame for tx_burst, at least 2 */
    /*
     * Datagrams in a VIRTIO_NET_HDR_GSO_UDP_L4 frame, or 0 for any number.  The
     * engine cuts frames with more.
     */
    uint32_t max_datagrams;
    uint32_t tx_offloads;       /* metadata that tx_burst accepts */
    uint32_t rx_offloads;       /* metadata that set_offload can ask for */
    bool rx_poll;               /* rx_burst without frames: no system call */
    bool rx_on_demand;          /* rx_burst makes frames: none wait outside */
    bool rx_into;               /* the driver has rx_into */
} VhostDPCaps;

/* What query-vhost-dp and "info network" show of a driver */
typedef struct VhostDPDriverInfo {
    char *interface;            /* for people, such as "ifname=tap0" */
    VhostDPPeerInfo *peer;      /* see VhostDPInfo; NULL: none */
    bool has_io;
    VhostDPIoMethod io;         /* how bursts get to the kernel */
    /*
     * On entry, those of get_caps().  A driver whose peer connects after open
     * sets those of the peer, and none while no peer is connected.
     */
    uint32_t tx_offloads;
    uint32_t rx_offloads;
    VhostDPFilterInfoList *filters; /* from the top */
} VhostDPDriverInfo;

/* ---- The port's side, called by drivers ---- */

/*
 * VhostDPPort: one queue pair of a netdev, as its driver sees it
 *
 * The user of a driver implements one port for each queue pair that it
 * attaches.  The engine does (net/vhost-dp/port.c), and a driver that stands on
 * another driver can, too.  The user's own struct embeds this one.
 *
 * Thread: the port's IOThread, for all functions, between attach() and the end
 * of detach().
 */
typedef struct VhostDPPort VhostDPPort;

/* For vhost_dp_port_ready() */
#define VHOST_DP_READY_RX   (1u << 0)
#define VHOST_DP_READY_TX   (1u << 1)

/*
 * All but set_queues are required.  The functions of the same names below
 * describe them.
 */
typedef struct VhostDPPortOps {
    void (*ready)(VhostDPPort *port, unsigned what);
    void (*drop_rx)(VhostDPPort *port, VhostDPDropReason reason, uint64_t n);
    void (*drop_tx)(VhostDPPort *port, VhostDPDropReason reason, uint64_t n);
    void (*set_link)(VhostDPPort *port, bool up, const char *reason);
    void (*set_tx_offloads)(VhostDPPort *port, uint32_t offloads);
    void (*set_queues)(VhostDPPort *port, unsigned n);
} VhostDPPortOps;

struct VhostDPPort {
    const VhostDPPortOps *ops;  /* set before attach() */
};

/**
 * vhost_dp_port_ready: report received frames, or room for frames to send
 * @port: the port that was passed to attach()
 * @what: VHOST_DP_READY_RX: rx_burst has frames.  VHOST_DP_READY_TX: tx_burst,
 *        which took fewer frames than it was offered, has room again.
 *
 * Called from the driver's fd handlers and timers, from rx_enable, rx_burst and
 * tx_burst.  The port may call rx_burst, rx_release, rx_enable and tx_burst
 * before this function returns, unless the driver is inside one of them.
 *
 * Lock: none, or the queue pair's inside tx_burst.
 */
static inline void vhost_dp_port_ready(VhostDPPort *port, unsigned what)
{
    port->ops->ready(port, what);
}

/**
 * vhost_dp_port_drop_rx: count received frames that the driver lost
 * @port: the port that was passed to attach()
 * @reason: why they were not lent
 * @n: number of frames; 0 does nothing
 *
 * Lock: any, so it may be called from inside rx_into.
 */
static inline void vhost_dp_port_drop_rx(VhostDPPort *port,
                                         VhostDPDropReason reason, uint64_t n)
{
    port->ops->drop_rx(port, reason, n);
}

/**
 * vhost_dp_port_drop_tx: count frames that tx_burst took and did not send
 * @port: the port that was passed to attach()
 * @reason: why they were not sent
 * @n: number of frames; 0 does nothing
 *
 * Lock: any, so it may be called from inside tx_burst.
 */
static inline void vhost_dp_port_drop_tx(VhostDPPort *port,
                                         VhostDPDropReason reason, uint64_t n)
{
    port->ops->drop_tx(port, reason, n);
}

/**
 * vhost_dp_port_set_link: report that the host interface failed or came back
 * @port: the port that was passed to attach()
 * @up: whether frames can be moved at present
 * @reason: why not, for the user; NULL when @up is true.  Copied.
 *
 * The guest's link is up while the driver's links of all ports are up and
 * set_link does not say otherwise.  The log has one line for each change.
 *
 * Lock: any, so it may be called from inside tx_burst.
 */
static inline void vhost_dp_port_set_link(VhostDPPort *port, bool up,
                                          const char *reason)
{
    port->ops->set_link(port, up, reason);
}

/**
 * vhost_dp_port_set_tx_offloads: change the metadata that tx_burst accepts
 * @port: the port that was passed to attach()
 * @offloads: VHOST_DP_OFFLOAD_*; those that get_caps() did not have are ignored
 *
 * For drivers whose peer connects after open, or changes.  Holds from the next
 * tx_burst on, also for frames that an earlier tx_burst did not take.
 *
 * Not to be called from inside tx_burst.  Lock: none.
 */
static inline void vhost_dp_port_set_tx_offloads(VhostDPPort *port,
                                                 uint32_t offloads)
{
    port->ops->set_tx_offloads(port, offloads);
}

/**
 * vhost_dp_port_set_queues: how many queue pairs can move frames at present
 * @port: the port that was passed to attach()
 * @n: the first of those that are open, at least 1
 *
 * For drivers whose peer connects after open, and may have fewer queue pairs.
 * The driver tells each of its ports.  From then on tx_burst is called for the
 * first @n pairs only, which send the frames of the others.  Without this call,
 * all that are open can.
 *
 * Called in attach() or later, not from inside tx_burst.  Lock: none.
 */
static inline void vhost_dp_port_set_queues(VhostDPPort *port, unsigned n)
{
    if (port->ops->set_queues) {
        port->ops->set_queues(port, n);
    }
}

/* ---- The driver's side, called by the engine ---- */

#define TYPE_VHOST_DP_DRIVER "vhost-dp-driver"
OBJECT_DECLARE_TYPE(VhostDPDriver, VhostDPDriverClass, VHOST_DP_DRIVER)

struct VhostDPDriver {
    Object parent_obj;

    /* The object's id; set before check_options, and constant from then on */
    char *id;
    /* BQL: the netdev that claimed the driver, or NULL */
    char *claimed_by;
    /* BQL: the filter between that netdev and the driver, or NULL */
    VhostDPDriver *above;
    /*
     * BQL: the netdev moves from one chain to another, and the driver is in
     * both; @above is that of the new one, and @old_above that of the old one
     */
    bool shared;
    VhostDPDriver *old_above;
    /* BQL: property offloads=; false: the engine uses none of the driver's */
    bool offloads;
};

struct VhostDPDriverClass {
    ObjectClass parent_class;

    /**
     * check_options: check the syntax of the options, without using the host
     *
     * Called when the object is complete, also under -M none, and again before
     * open, since the user may have changed options.  Optional.
     *
     * Lock: BQL.  Returns false with @errp set when an option is wrong.  The
     * error names the option and its value; the caller puts the driver's type
     * and id in front of it.
     */
    bool (*check_options)(VhostDPDriver *drv, Error **errp);

    /**
     * open: open everything that @queue_pairs queue pairs need
     *
     * Called when a netdev claims the driver; its id is in @drv->claimed_by.
     * @queue_pairs is between 1 and the max_queue_pairs that get_caps() said
     * before.  The driver may open fewer: the max_queue_pairs that get_caps()
     * says afterwards.  If the netdev has more, the engine attaches the first
     * ones only, and lets all of the netdev's pairs share them.
     *
     * close undoes what open did, and is not called after a failure.
     *
     * Lock: BQL.  Returns false with @errp set on failure, as check_options.
     */
    bool (*open)(VhostDPDriver *drv, unsigned queue_pairs, Error **errp);

    /**
     * close: close what open opened
     *
     * All ports are detached.  Must not fail.  Lock: BQL.
     */
    void (*close)(VhostDPDriver *drv);

    /**
     * get_caps: say what the driver can do
     *
     * Before open, only max_queue_pairs is used: the most that open could open
     * with the options as they are.  After open, the answer holds until close;
     * max_queue_pairs, or what open was asked for if that is less, are open.
     * Lock: BQL.
     */
    void (*get_caps)(VhostDPDriver *drv, VhostDPCaps *caps);

    /**
     * query: describe the state of the driver
     * @info: zero except for the offloads.  The driver sets @interface at
     *        least, to newly allocated memory, which the caller frees.
     *
     * Called while the driver is open and frames are moved.  It must not wait:
     * it makes no system call, and takes no lock that is held during one.
     * Lock: BQL.
     */
    void (*query)(VhostDPDriver *drv, VhostDPDriverInfo *info);

    /**
     * set_offload: say which offload metadata rx_burst may produce from now on
     * @offloads: VHOST_DP_OFFLOAD_*, a subset of rx_offloads
     *
     * Called while the driver is open, once for all queue pairs; data-side
     * functions may be running.  Frames that were received before may have
     * metadata that is no longer asked for, which the engine handles.
     * Optional: drivers leave it out whose metadata cannot be changed.
     *
     * Lock: BQL.  A driver logs a failure; the engine then does the offload in
     * software.
     */
    void (*set_offload)(VhostDPDriver *drv, uint32_t offloads);

    /**
     * set_rx_filter: what the guest asks to receive
     * @control: a snapshot, see net/vhost-dp-control.h; the driver may take a
     *           reference
     *
     * For drivers whose host interface has a filter.  A guest that is not
     * promiscuous any more need not be given what is for others, and what
     * comes is filtered by the engine in any case.  So the interface may let
     * too much pass, but not too little.
     *
     * Called while open, when the guest's driver starts and at each change, for
     * all queue pairs at once, with data-side functions possibly running.  It
     * must not wait: what has to ask the kernel for its RTNL is done elsewhere
     * (drivers/lib/ifwatch.h).  Optional: the interface then receives all.
     *
     * Lock: BQL.
     */
    void (*set_rx_filter)(VhostDPDriver *drv, struct VhostDPControl *control);

    /**
     * attach: start to serve queue pair @pair in @ctx
     * @port: the argument of vhost_dp_port_*(), valid until detach
     * @ctx: the AioContext of the calling thread
     *
     * The driver registers its fd handlers in @ctx.  Reception is disabled at
     * first (see rx_enable).  A link that is down is reported from here, since
     * the port takes it to be up.  Frames that were received while the pair was
     * detached, or before, and not lent, are lent now.
     *
     * Thread: the port's IOThread.  Lock: none.  Returns false with @errp
     * set on failure: the engine then takes the link down, and does not call
     * detach.
     */
    bool (*attach)(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                   AioContext *ctx, Error **errp);

    /**
     * detach: stop serving queue pair @pair
     *
     * The driver removes its fd handlers.  Lent frames have been released, and
     * the port must not be used afterwards.  Frames that are in memory of the
     * driver's, and will not be sent or lent if the pair is attached again, are
     * counted before.  detach must not wait for the main loop or the BQL, whose
     * holder may wait for it.
     *
     * Thread: the port's IOThread.  Lock: none.
     */
    void (*detach)(VhostDPDriver *drv, unsigned pair);

    /**
     * set_active: say whether the guest uses queue pair @pair (multiqueue)
     *
     * A queue pair is active when it is attached.  While it is inactive,
     * tx_burst is not called, and a driver whose host interface spreads frames
     * over several queues should keep frames away from this one.  Optional.
     *
     * Thread: the port's IOThread.  Lock: none.
     *
     * Returns true if an inactive pair receives no frames: then reception is
     * disabled, and rx_burst is not called.  Otherwise, and without this
     * function, the engine gives received frames to the first pair, unless the
     * driver has the capability rx_on_demand.
     */
    bool (*set_active)(VhostDPDriver *drv, unsigned pair, bool active);

    /**
     * tx_burst: send frames
     * @frames: @n frames, 1 <= n <= VHOST_DP_BURST_FRAMES.  The driver may
     *          change the structs, not the bytes they point to.
     *
     * The bytes may be guest memory, which the guest can change at any time.
     * Only iov[0] of a frame with metadata is private memory.  The driver must
     * not use the bytes after it has returned.
     *
     * Thread: the port's IOThread.  Lock: the queue pair's, so tx_burst must
     * not block.
     *
     * Returns the number of frames, from the first one on, that were sent, or
     * dropped and counted by vhost_dp_port_drop_tx().  When that is less than
     * @n, the engine keeps the others and offers them again after
     * vhost_dp_port_ready(VHOST_DP_READY_TX).  The first of them may be a
     * segment in the middle of a frame that the engine has cut.
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
     * before it asks for the next burst.
     *
     * Thread: the port's IOThread.  Lock: none.
     *
     * Returns the number of frames.  After a return value of 0 the driver calls
     * vhost_dp_port_ready(VHOST_DP_READY_RX) when there are frames, if
     * reception is enabled.  While reception is disabled rx_burst is called
     * only if the driver has the capability rx_poll: then the engine polls it
     * (busy-poll-us=), without a vhost_dp_port_ready().
     */
    unsigned (*rx_burst)(VhostDPDriver *drv, unsigned pair,
                         VhostDPFrame *frames, unsigned n);

    /**
     * rx_into: receive one frame into guest memory
     * @frame: the driver sets the metadata and @len, and not @iov
     * @head: room for the first VHOST_DP_HEAD_BYTES bytes of the frame
     * @iov: room for the bytes that follow.  @head and @iov together have room
     *       for the longest frame.
     * @iovcnt: elements of @iov, at most VHOST_DP_INTO_SEGMENTS
     *
     * Optional: for drivers that can scatter a frame, so that a long one is
     * copied only once; they have the capability rx_into.  The engine calls it
     * in place of rx_burst, while no frames are lent, when recent frames were
     * long.  The driver must not use the memory after it has returned.
     *
     * Thread: the port's IOThread.  Lock: the queue pair's, so rx_into must
     * not block.
     *
     * Returns 1 for a frame; 0 if there is no frame at present (see rx_burst);
     * or -1 if a frame was lost and counted by vhost_dp_port_drop_rx().  In the
     * last case the memory may have been written to.
     */
    int (*rx_into)(VhostDPDriver *drv, unsigned pair, VhostDPFrame *frame,
                   uint8_t *head, const struct iovec *iov, unsigned iovcnt);

    /**
     * rx_release: give back the oldest @n lent frames
     *
     * Optional: drivers leave it out that can use all their buffers again at
     * the next rx_burst, since all frames were given back by then.
     *
     * Thread: the port's IOThread.  Lock: none.
     */
    void (*rx_release)(VhostDPDriver *drv, unsigned pair, unsigned n);

    /**
     * rx_enable: start or stop calling vhost_dp_port_ready(VHOST_DP_READY_RX)
     *
     * The engine disables reception while the guest has posted no buffers or
     * does not run, so that a level-triggered fd does not spin, and while it
     * polls a driver with the capability rx_poll.  When reception is enabled
     * and frames are waiting already, the driver has to call
     * vhost_dp_port_ready(), from its fd handler or at once.
     *
     * Thread: the port's IOThread.  Lock: none.
     */
    void (*rx_enable)(VhostDPDriver *drv, unsigned pair, bool enable);
};

/**
 * vhost_dp_driver_prepend: begin an error with the driver's type and id
 *
 * For errors other than those of check_options and open, which get it from
 * their callers.  Thread: any.  Lock: none.
 */
void vhost_dp_driver_prepend(VhostDPDriver *drv, Error **errp);

/* ---- Options ---- */

typedef enum VhostDPOptionType {
    VHOST_DP_OPTION_BOOL,
    VHOST_DP_OPTION_UINT32,
    VHOST_DP_OPTION_UINT64,
    VHOST_DP_OPTION_SIZE,       /* uint64_t; the user may write 1M */
    VHOST_DP_OPTION_INT,        /* int64_t */
    VHOST_DP_OPTION_STR,        /* char *; NULL reads back as "" */
    VHOST_DP_OPTION_ENUM,
    VHOST_DP_OPTION_LIST,       /* strList * */
    VHOST_DP_OPTION_SOCKET,     /* SocketAddress *; NULL: not set */
} VhostDPOptionType;

/*
 * An option of a driver, stored in a member of its struct.  The value is kept
 * as the user wrote it; check_options checks it.  What a member points to is
 * freed with the object.  The type's instance_init sets defaults other than
 * zero.
 *
 * An option cannot be changed while a netdev uses the driver, unless it is
 * live.
 */
typedef struct VhostDPOption {
    const char *name;
    VhostDPOptionType type;
    size_t offset;              /* of the member */
    const char *description;
    size_t has;                 /* offset of a bool, set with it; 0: none */

    /* ENUM: its QAPI type */
    const char *enum_name;
    const QEnumLookup *lookup;

    /*
     * STR and ENUM: returns what is read back, newly allocated.  NULL: the
     * member is read back.  Lock: BQL.
     */
    char *(*read)(VhostDPDriver *drv);

    /* Called after the user has set the option; may be NULL.  Lock: BQL. */
    void (*changed)(VhostDPDriver *drv);

    /*
     * The option can be set while a netdev uses the driver: check_options
     * accepts the new value before changed() is called.
     */
    bool live;
} VhostDPOption;

/* The C types of members, for VHOST_DP_OPTION() */
typedef bool VhostDPOptionBOOL;
typedef uint32_t VhostDPOptionUINT32;
typedef uint64_t VhostDPOptionUINT64;
typedef uint64_t VhostDPOptionSIZE;
typedef int64_t VhostDPOptionINT;
typedef char *VhostDPOptionSTR;
typedef struct strList *VhostDPOptionLIST;
typedef struct SocketAddress *VhostDPOptionSOCKET;

/*
 * An entry of a table of options, of any type except ENUM.  Initialisers for
 * other members of VhostDPOption may follow the description.
 */
#define VHOST_DP_OPTION(_name, _type, _state, _field, _description, ...) \
    { .name = (_name), .type = VHOST_DP_OPTION_##_type, \
      .offset = offsetof(_state, _field) + type_check( \
                    VhostDPOption##_type, typeof_field(_state, _field)), \
      .description = (_description), ## __VA_ARGS__ }

/**
 * vhost_dp_driver_add_options: add a driver's options as QOM properties
 * @oc: the driver's class
 * @options: a static table that ends with an empty entry
 *
 * Called by class_init.
 */
void vhost_dp_driver_add_options(ObjectClass *oc, const VhostDPOption *options);

/* ---- Claiming (used by the netdev) ---- */

/**
 * vhost_dp_driver_claim: take a driver for a netdev, and open it
 * @id: the id of the driver object, from the driver= option
 * @netdev: the id of the netdev
 * @queue_pairs: number of queue pairs of the netdev
 *
 * Lock: BQL.
 *
 * A driver that has fewer queue pairs is opened with those that it has: see
 * VhostDPCaps.max_queue_pairs.
 *
 * Returns the driver with a reference held.  Returns NULL with @errp set if
 * there is no such object, if it is of another type or already claimed, or if
 * open failed.
 */
VhostDPDriver *vhost_dp_driver_claim(const char *id, const char *netdev,
                                     unsigned queue_pairs, Error **errp);

/**
 * vhost_dp_driver_claim_for: take a driver for a filter, and open it
 * @above: the filter, which is claimed itself
 *
 * As vhost_dp_driver_claim().  Lock: BQL.
 */
VhostDPDriver *vhost_dp_driver_claim_for(const char *id, VhostDPDriver *above,
                                         unsigned queue_pairs, Error **errp);

/**
 * vhost_dp_driver_claim_instead: take a driver that is to replace another one
 * @old: the driver that the netdev has
 *
 * As vhost_dp_driver_claim(), with a difference: of the chain that begins with
 * @old, drivers can be claimed once more, by the new chain.  They stay open,
 * and are in use by the old chain, until one of the two is released.
 *
 * Lock: BQL.
 */
VhostDPDriver *vhost_dp_driver_claim_instead(const char *id, const char *netdev,
                                             VhostDPDriver *old,
                                             unsigned queue_pairs,
                                             Error **errp);

/**
 * vhost_dp_driver_get_caps: what an open driver can do, and may do
 *
 * As VhostDPDriverClass.get_caps, with the user's offloads=off.  Lock: BQL.
 */
void vhost_dp_driver_get_caps(VhostDPDriver *drv, VhostDPCaps *caps);

/**
 * vhost_dp_driver_query: query an open driver; see VhostDPDriverClass.query
 * @caps: the result of get_caps()
 * @info: overwritten; free its contents with vhost_dp_driver_info_clear()
 *
 * Lock: BQL.
 */
void vhost_dp_driver_query(VhostDPDriver *drv, const VhostDPCaps *caps,
                           VhostDPDriverInfo *info);

/* Free what @info points to.  Thread: any. */
void vhost_dp_driver_info_clear(VhostDPDriverInfo *info);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VhostDPDriverInfo, vhost_dp_driver_info_clear)

/**
 * vhost_dp_driver_release: close a driver and give it back
 *
 * All ports have been detached.  Drops the reference.  A driver that another
 * chain of the netdev has claimed as well stays open.  Lock: BQL.
 */
void vhost_dp_driver_release(VhostDPDriver *drv);

/* The same for one that the filter @above has claimed.  Lock: BQL. */
void vhost_dp_driver_release_for(VhostDPDriver *drv, VhostDPDriver *above);

#endif /* NET_VHOST_DP_H */
