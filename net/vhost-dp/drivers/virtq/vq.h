/*
 * vhost-dp: the driver side of virtqueues, for drivers whose peer is a device
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * To their peer, vhost-dp-vhost-user and vhost-dp-vhost-net are the driver of a
 * virtio network device.  They share three kinds of objects:
 *
 *   VhostDPVqSet   memory with the virtqueues of all queue pairs and their
 *                  buffers, and the eventfds: everything that is shared with a
 *                  peer.  A peer that connects again gets a new set.
 *   VhostDPVq      one virtqueue of it, split or packed (virtio 1.3, 2.7, 2.8).
 *   VhostDPVqPair  a queue pair's data path: it moves frames between the
 *                  dataplane API and its present set, if it has one.
 *
 * Use (see VhostDPDriverClass for the names on the left):
 *
 *     open         pair[i] = vhost_dp_vqpair_new(i, failed, drv);
 *     when the peer has connected:
 *                  set = vhost_dp_vqset_new(pairs, num, pages, errp);
 *                  ... pass set->fd, the rings' places, the eventfds ...
 *                  vhost_dp_vqset_start(set, features);
 *                  for each pair: vhost_dp_vqpair_set(pair[i], set, NULL);
 *                  vhost_dp_vqset_unref(set);
 *     when it has gone:
 *                  for each: vhost_dp_vqpair_set(pair[i], NULL, "why");
 *     attach       vhost_dp_vqpair_attach(pair[i], port, ctx);
 *     tx_burst, rx_burst, rx_release, rx_enable, detach: as attach
 *     close        vhost_dp_vqpair_free(pair[i]);
 *
 * The peer is not trusted.  What it writes is copied once, and checked in the
 * copy.  When the peer breaks a rule the queue is broken: no more frames are
 * received from it or sent to it.  The bytes of a received frame stay in the
 * shared memory: the peer can change them until they are released, and the
 * engine tolerates that.
 */

#ifndef NET_VHOST_DP_DRIVERS_VIRTQ_VQ_H
#define NET_VHOST_DP_DRIVERS_VIRTQ_VQ_H

#include "qemu/event_notifier.h"
#include "net/vhost-dp.h"

/* Entries of a virtqueue: a power of 2 (virtio 1.3, 2.7) */
#define VHOST_DP_VQ_MIN_NUM     64
#define VHOST_DP_VQ_MAX_NUM     1024

/**
 * vhost_dp_vq_check_num: check a user's queue-size
 *
 * Thread: any.  Lock: none.  Returns false with @errp set.
 */
bool vhost_dp_vq_check_num(uint32_t num, Error **errp);

/* Largest number of queue pairs of a set */
#define VHOST_DP_VQ_MAX_PAIRS   64

/*
 * Bytes of a buffer: a frame of 1500 bytes, with VLAN tags, takes one.  An odd
 * number of cache lines, so that the first bytes of buffers are in different
 * sets of the processor's caches.
 */
#define VHOST_DP_VQ_BUF_BYTES   (33 * 64)

/* The "guest-physical" address of the set's first byte, for the peer */
#define VHOST_DP_VQ_IOVA        (4 * GiB)

/* Features of the ring that are implemented, without offloads */
#define VHOST_DP_VQ_RING_FEATURES                                     \
    (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_RING_PACKED |      \
     1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_NET_F_MRG_RXBUF)

/*
 * Features of the ring and of virtio-net that are implemented.  Those that the
 * peer offers, too, can be negotiated.
 */
#define VHOST_DP_VQ_FEATURES                                          \
    (VHOST_DP_VQ_RING_FEATURES | 1ULL << VIRTIO_NET_F_CSUM |          \
     1ULL << VIRTIO_NET_F_HOST_TSO4 | 1ULL << VIRTIO_NET_F_HOST_TSO6 |\
     1ULL << VIRTIO_NET_F_HOST_ECN | 1ULL << VIRTIO_NET_F_HOST_UFO |  \
     1ULL << VIRTIO_NET_F_HOST_USO |                                  \
     1ULL << VIRTIO_NET_F_GUEST_CSUM |                                \
     1ULL << VIRTIO_NET_F_GUEST_TSO4 |                                \
     1ULL << VIRTIO_NET_F_GUEST_TSO6 |                                \
     1ULL << VIRTIO_NET_F_GUEST_ECN | 1ULL << VIRTIO_NET_F_GUEST_UFO |\
     1ULL << VIRTIO_NET_F_GUEST_USO4 | 1ULL << VIRTIO_NET_F_GUEST_USO6)

/* Without these there is no data path */
#define VHOST_DP_VQ_NEEDED_FEATURES (1ULL << VIRTIO_F_VERSION_1)

/**
 * vhost_dp_vq_choose_features: choose the features to negotiate
 * @offered: the features that the peer offers; without those outside
 *           VHOST_DP_VQ_RING_FEATURES if its offloads are not to be used
 *
 * Respects dependencies of features (virtio 1.3, 5.1.3.1).  Without
 * VIRTIO_NET_F_MRG_RXBUF the peer sends no long frames, which do not fit into a
 * buffer.  Thread: any.  Lock: none.
 */
uint64_t vhost_dp_vq_choose_features(uint64_t offered);

/**
 * vhost_dp_vq_tx_offloads: VHOST_DP_OFFLOAD_* that the peer does
 * @features: negotiated
 */
uint32_t vhost_dp_vq_tx_offloads(uint64_t features);

/**
 * vhost_dp_vq_rx_offloads: VHOST_DP_OFFLOAD_* that the peer's frames may need
 * @features: negotiated
 */
uint32_t vhost_dp_vq_rx_offloads(uint64_t features);

/* ---- A virtqueue ---- */

/* The state of a buffer, by its number; in private memory */
typedef struct VhostDPVqBuf {
    uint32_t len;               /* bytes that were made available */
    /* Buffers that the peer has, from this one on; 0: QEMU has this one */
    uint16_t nbufs;
} VhostDPVqBuf;

/* A used buffer, as the peer gave it back; the id and the length are checked */
typedef struct VhostDPVqUsed {
    uint16_t id;
    uint32_t len;
} VhostDPVqUsed;

/* Vectors of the frames that are lent at a time, and most for one of them */
#define VHOST_DP_VQ_RX_IOV      512
#define VHOST_DP_VQ_RX_BUFS     64

typedef struct VhostDPVq {
    /* Set once */
    bool rx;
    bool packed, event_idx, mergeable;
    uint16_t num;               /* entries, and buffers */
    uint8_t *buf;               /* the first buffer, in the set's memory */
    uint64_t buf_iova;          /* the peer's address of the buffers */
    /*
     * Descriptor area, driver area and device area, in shared memory.  Split:
     * descriptor table, available ring, used ring.  Packed: descriptor ring,
     * driver event suppression, device event suppression.
     */
    void *desc, *driver, *device;
    EventNotifier kick;         /* driver to device */
    EventNotifier call;         /* device to driver: vhost_dp_vq_clear_call() */

    /* State: the thread that runs the queue */
    bool broken;
    bool call_enabled;          /* the peer is asked to call */
    VhostDPPeerViolation violation;     /* why, when broken */
    /* Free-running; packed: places with the wrap counter in bit 15 */
    uint16_t next_avail;
    uint16_t flushed;           /* next_avail at the last flush */
    uint16_t next_used;
    uint16_t first_flags;       /* packed: of the first unflushed descriptor */
    VhostDPVqBuf *bufs;         /* num */

    /* TX: the buffers as room for frames */
    unsigned long *busy;        /* a bit for each buffer */
    uint16_t nfree;             /* bits that are not set */
    uint16_t first_free;        /* all buffers before it are busy */
    uint16_t nout;              /* frames that the peer has */
    uint16_t wanted;            /* buffers of the last frame without room */

    /* RX: lent frames */
    unsigned nlent;             /* frames */
    unsigned first_lent;
    uint16_t lent_bufs[VHOST_DP_BURST_FRAMES];  /* buffers of each frame */
    unsigned nused, first_used;
    uint16_t used[VHOST_DP_VQ_RX_IOV];          /* their numbers, in order */
    struct iovec iov[VHOST_DP_VQ_RX_IOV];

    /* Counted since the caller has cleared it */
    bool any_dropped;
    uint32_t dropped[VHOST_DP_DROP_REASON__MAX];
} VhostDPVq;

/*
 * Thread, for the functions below: one at a time.  Lock: none.
 */

/**
 * vhost_dp_vq_tx: copy frames into buffers, and make these available
 * @frames: see VhostDPDriverClass.tx_burst; their offloads were negotiated
 *
 * A frame takes one descriptor, whatever its length, and adjacent buffers.
 * Some peers accept no frame with more descriptors (passt of 2025), or with
 * more than 16.
 *
 * Returns the number of frames that were taken or dropped.  It is less than @n
 * when there is no room, or when the queue is broken.  The peer may see the
 * frames at once, and sees them after vhost_dp_vq_flush() at the latest.
 */
unsigned vhost_dp_vq_tx(VhostDPVq *vq, const VhostDPFrame *frames,
                        unsigned n);

/**
 * vhost_dp_vq_tx_reap: take back buffers of frames that the peer has sent
 *
 * Returns true if there is room for the frame that vhost_dp_vq_tx() had no room
 * for, and for some more frames; or if the queue is broken.
 */
bool vhost_dp_vq_tx_reap(VhostDPVq *vq);

/**
 * vhost_dp_vq_tx_take_back: take back all frames, sent or not
 *
 * For a split queue with a trusted peer, which has stopped and may have lost
 * some frames.  The peer has to go on at index vq->flushed of the available
 * ring and of the used ring, which is written there.
 *
 * Returns the number of frames that the peer has not used.
 */
unsigned vhost_dp_vq_tx_take_back(VhostDPVq *vq);

/**
 * vhost_dp_vq_rx: lend received frames
 *
 * See VhostDPDriverClass.rx_burst.  All frames lent before were released.
 * Returns 0 if there are no frames.  @more is set if frames were dropped, and
 * there may be others.
 */
unsigned vhost_dp_vq_rx(VhostDPVq *vq, VhostDPFrame *frames, unsigned n,
                        bool *more);

/**
 * vhost_dp_vq_rx_release: make the buffers of the oldest @n frames available
 *
 * vhost_dp_vq_flush() has to follow.
 */
void vhost_dp_vq_rx_release(VhostDPVq *vq, unsigned n);

/**
 * vhost_dp_vq_flush: make available buffers visible to the peer
 *
 * Returns true if the peer has to be kicked (virtio 1.3, 2.7.10 and 2.8.10):
 * the caller then does event_notifier_set(&vq->kick).
 */
bool vhost_dp_vq_flush(VhostDPVq *vq);

/**
 * vhost_dp_vq_enable_call: ask the peer to call, and look once more
 *
 * On a transmit queue the call may come when a part of the ring is used.
 * Returns true if there are used buffers already, for which the peer may not
 * call.
 */
bool vhost_dp_vq_enable_call(VhostDPVq *vq);

/**
 * vhost_dp_vq_disable_call: ask the peer not to call.  Only a hint.
 */
void vhost_dp_vq_disable_call(VhostDPVq *vq);

/**
 * vhost_dp_vq_clear_call: clear calls that were received so far
 *
 * Does not wait, whatever the peer does with the eventfd.
 */
void vhost_dp_vq_clear_call(VhostDPVq *vq);

/* ---- A set ---- */

typedef struct VhostDPVqSet {
    uint32_t refs;              /* atomic */
    unsigned pairs;
    unsigned num;               /* entries that there is memory for */
    uint64_t features;          /* negotiated; by vhost_dp_vqset_start() */

    int fd;                     /* memfd with all of the memory */
    uint8_t *base;              /* where that is mapped in QEMU */
    size_t size;                /* bytes */
    bool discard;               /* atomic: vhost_dp_vqset_discard() */

    /* 2 * pairs: i * 2 receives, i * 2 + 1 transmits (virtio 1.3, 5.1.2) */
    VhostDPVq *vq;
} VhostDPVqSet;

typedef enum VhostDPVqPages {
    VHOST_DP_VQ_SMALL_PAGES,
    VHOST_DP_VQ_HUGE_PAGES,     /* of the kernel's default size */
} VhostDPVqPages;

/**
 * vhost_dp_vqset_new: get memory, and eventfds, for a peer
 * @pairs: number of queue pairs, 1 to VHOST_DP_VQ_MAX_PAIRS
 * @num: entries of each virtqueue, a power of 2
 * @pages: not VHOST_DP_VQ_HUGE_PAGES if another process gets the fd
 *
 * The memory is sealed: the peer cannot make it smaller.  It can punch holes,
 * and no seal forbids that to one who may write.  In ordinary memory a hole is
 * zeros at the next access.  A huge page that was freed is for anybody to take,
 * and QEMU's next access would be SIGBUS.
 *
 * Thread: any.  Returns the set with one reference, or NULL with @errp set.
 */
VhostDPVqSet *vhost_dp_vqset_new(unsigned pairs, unsigned num,
                                 VhostDPVqPages pages, Error **errp);

/**
 * vhost_dp_vqset_guard: let the peer, a process, not block QEMU by its fds
 *
 * O_NONBLOCK of an eventfd belongs to all who have it: a peer could clear it,
 * raise the counter to its limit, and the next kick would wait for ever.  From
 * now on kicks go through a pair of sockets, of which the peer gets the other
 * end: 8 bytes for each, as from an eventfd.  Not for the kernel's vhost, which
 * takes eventfds only, and can be trusted.
 *
 * Before anybody has the set's fds.  Thread: any.  Returns false with @errp
 * set on failure.
 */
bool vhost_dp_vqset_guard(VhostDPVqSet *set, Error **errp);

/**
 * vhost_dp_vqset_set_num: use fewer entries of each virtqueue than there are
 * @num: a power of 2, from VHOST_DP_VQ_MIN_NUM to what the set was made with
 *
 * For a peer that does not take as many.  Before vhost_dp_vqset_start().
 * Thread: any.
 */
void vhost_dp_vqset_set_num(VhostDPVqSet *set, unsigned num);

/**
 * vhost_dp_vqset_start: lay out the rings, and post receive buffers
 * @features: what was negotiated; it has VHOST_DP_VQ_NEEDED_FEATURES
 *
 * Once, before anybody has the set by vhost_dp_vqpair_set(), and before the
 * peer may use the rings.  Both sides begin at index 0; packed: at place 0 with
 * wrap counters of 1, which is 0x80008000 for SET_VRING_BASE.  Thread: any.
 */
void vhost_dp_vqset_start(VhostDPVqSet *set, uint64_t features);

/*
 * Where the peer finds what is at @p, a part of a ring (VhostDPVq.desc, driver,
 * device): bytes from the start of the memory
 */
static inline uint64_t vhost_dp_vqset_offset(const VhostDPVqSet *set,
                                             const void *p)
{
    return (const uint8_t *)p - set->base;
}

VhostDPVqSet *vhost_dp_vqset_ref(VhostDPVqSet *set);

/* The last one unmaps the memory and closes the fds.  Thread: any. */
void vhost_dp_vqset_unref(VhostDPVqSet *set);

/**
 * vhost_dp_vqset_discard: let the last unref give the memory back
 *
 * Otherwise it exists, and counts as QEMU's, for as long as the peer keeps its
 * fd.  For a peer that has gone, or is not to be served: one that still works
 * with the memory finds zeros.  Thread: any that has a reference.
 */
void vhost_dp_vqset_discard(VhostDPVqSet *set);

/* ---- The data path of a queue pair ---- */

typedef struct VhostDPVqPair VhostDPVqPair;

/**
 * VhostDPVqFailed: the peer broke a rule on a queue of @set
 *
 * The pair has taken its link down, with the reason, and does nothing more
 * with the set.  Called once for each pair and set, in the pair's IOThread,
 * possibly under the queue pair's lock: schedule a BH to do something about it.
 */
typedef void VhostDPVqFailed(void *opaque, unsigned index, VhostDPVqSet *set,
                             VhostDPPeerViolation violation);

/**
 * vhost_dp_vqpair_new, vhost_dp_vqpair_free: not attached, without a set
 *
 * Thread: any; Lock: BQL.
 */
VhostDPVqPair *vhost_dp_vqpair_new(unsigned index, VhostDPVqFailed *failed,
                                   void *opaque);
void vhost_dp_vqpair_free(VhostDPVqPair *pair);

/**
 * vhost_dp_vqpair_set: use @set from now on
 * @set: a set that was started, of which the pair takes a reference; or NULL:
 *       there is no peer
 * @reason: why there is none, for the user, when @set is NULL.  Copied.
 *
 * Takes effect in the IOThread, some time after the return; the link follows,
 * and the offloads of the peer are told to the engine.  Until then the old set
 * is in use, and it keeps its memory.  Frames that are in it are lost; those
 * that were not sent are counted.
 *
 * Thread: any.  Lock: any.
 */
void vhost_dp_vqpair_set(VhostDPVqPair *pair, VhostDPVqSet *set,
                         const char *reason);

/**
 * vhost_dp_vqpair_tx_take_back: drop the frames that the peer has not sent
 *
 * See vhost_dp_vq_tx_take_back() for the state that the peer has to be in.  The
 * frames are counted as dropped.  Thread: the IOThread.
 */
void vhost_dp_vqpair_tx_take_back(VhostDPVqPair *pair);

/**
 * vhost_dp_vqpair_count_violation: count what was found outside of the rings
 *
 * Thread: any.
 */
void vhost_dp_vqpair_count_violation(VhostDPVqPair *pair,
                                     VhostDPPeerViolation violation);

/**
 * vhost_dp_vqpair_query: tell of the peer, for VhostDPDriverClass.query
 * @pair: all of @n queue pairs, whose violations are added up
 * @set: what is in use, or NULL: the peer is not connected
 * @connects: how often it was
 *
 * Thread: any; while nobody frees the pairs.
 */
VhostDPPeerInfo *vhost_dp_vqpair_query(VhostDPVqPair *const *pair, unsigned n,
                                       const VhostDPVqSet *set,
                                       uint64_t connects);

/*
 * The functions of VhostDPDriverClass, with its rules.  Calls and kicks are
 * dealt with inside.
 */
void vhost_dp_vqpair_attach(VhostDPVqPair *pair, VhostDPPort *port,
                            AioContext *ctx);
void vhost_dp_vqpair_detach(VhostDPVqPair *pair);
unsigned vhost_dp_vqpair_tx_burst(VhostDPVqPair *pair, VhostDPFrame *frames,
                                  unsigned n);
unsigned vhost_dp_vqpair_rx_burst(VhostDPVqPair *pair, VhostDPFrame *frames,
                                  unsigned n);
void vhost_dp_vqpair_rx_release(VhostDPVqPair *pair, unsigned n);
void vhost_dp_vqpair_rx_enable(VhostDPVqPair *pair, bool enable);

/*
 * What get_caps() says for drivers of this kind, but for max_queue_pairs.
 * Offloads of TX are lowered, when the peer is known, by
 * vhost_dp_port_set_tx_offloads().
 */
void vhost_dp_vqpair_get_caps(VhostDPCaps *caps);

#endif /* NET_VHOST_DP_DRIVERS_VIRTQ_VQ_H */
