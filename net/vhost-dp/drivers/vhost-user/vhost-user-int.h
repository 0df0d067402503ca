/*
 * vhost-dp-vhost-user: what its parts share (vhost-user*.c only)
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_DRIVERS_VHOST_USER_VHOST_USER_INT_H
#define NET_VHOST_DP_DRIVERS_VHOST_USER_VHOST_USER_INT_H

#include "chardev/char-fe.h"
#include "qemu/thread.h"
#include "subprojects/libvhost-user/libvhost-user.h" /* only for the types */
#include "net/vhost-dp/drivers/virtq/vq.h"

#define TYPE_VHOST_DP_VHOST_USER "vhost-dp-vhost-user"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPVhostUser, VHOST_DP_VHOST_USER)

#define VU_DEFAULT_RECONNECT_MS 100
#define VU_MAX_RECONNECT_MS     60000
#define VU_DEFAULT_QUEUE_SIZE   256

/* Delays between attempts to connect double up to this */
#define VU_MAX_DELAY_MS         5000

/* A peer has so long for a reply */
#define VU_REPLY_MS             10000

/* The most descriptors that a peer's message may come with */
#define VU_MAX_FDS              VHOST_MEMORY_BASELINE_NREGIONS

typedef enum VuState {
    VU_CLOSED,                  /* no connection */
    VU_WAITING,                 /* connected, but not to be used before */
                                /* not_before */
    VU_SETUP,                   /* in the middle of the protocol's start */
    VU_RUNNING,                 /* the rings are in use */
    VU_FAILED,                  /* the BH is about to close the connection */
} VuState;

/* Where the protocol's start is; in this order */
typedef enum VuStep {
    VU_GET_FEATURES,
    VU_GET_PROTOCOL_FEATURES,
    VU_SET_PROTOCOL_FEATURES,
    VU_GET_QUEUE_NUM,
    VU_SET_OWNER,
    /*
     * For each virtqueue, and so early because VPP learns from nothing else
     * that there are more than two
     */
    VU_SET_CALL,
    VU_SET_FEATURES,
    VU_SET_MTU,
    VU_SET_MEM_TABLE,
    /* For each virtqueue; if one is refused, all again with a lower size */
    VU_SET_NUM,
    VU_START_SET,
    /* The following for each virtqueue */
    VU_SET_BASE,
    VU_SET_ADDR,
    VU_SET_KICK,
    /* The following for each virtqueue, once all are set up */
    VU_ENABLE,
    VU_SYNC,
    VU_DONE,
} VuStep;

struct VhostDPVhostUser {
    VhostDPDriver parent_obj;

    /* Options; BQL */
    char *path;
    char *chardev;
    bool server;
    bool server_set;
    uint32_t reconnect_ms;
    uint32_t queue_size;
    uint32_t mtu;
    bool packed;
    bool hugetlb;               /* deprecated: accepted, and ignored */

    /* While open; what follows is under the BQL, but for the last group */
    unsigned npairs;
    VhostDPVqPair **pair;
    unsigned peer_pairs;        /* those that the peer has, up to npairs */
    VhostDPVqSet *set;          /* the peer's, from VU_SET_CALL on */
    QEMUBH *bh;                 /* the only place where connections end */

    /* The connection: vhost-user-conn.c */
    VuState state;
    int fd;                     /* path=: of the connection, or -1 */
    int listen_fd;              /* path=,server=on, or -1 */
    CharFrontend chr;           /* chardev= */
    bool chr_open;
    guint chr_watch;            /* until there is room to send, or 0 */
    QEMUTimer *timer;           /* to connect, or to go on */
    unsigned delay_ms;          /* until the next attempt */
    bool failed;                /* the last connection, and none ran since */
    int64_t running_since;      /* ms, or 0: it did not get that far */

    /* The protocol: vhost-user-proto.c */
    VuStep step;
    unsigned vring;             /* in the steps that are for each */
    unsigned num;               /* entries, at most queue_size: VU_SET_NUM */
    uint64_t peer_features;     /* offered */
    uint64_t features;          /* negotiated: those of the set */
    uint64_t protocol_features; /* used */
    uint64_t told_active;       /* queue pairs that the peer has enabled */
    unsigned told_pair;         /* the one that it is being told about */
    uint32_t expected;          /* request whose reply is awaited, or 0 */
    QEMUTimer *deadline;
    VhostUserMsg out;
    bool out_pending;           /* not sent yet */
    int out_fd;                 /* goes with it, or -1 */
    VhostUserMsg in;
    size_t in_have;             /* bytes */
    int in_fds[VU_MAX_FDS];
    unsigned in_nfds;

    /* For the query */
    uint64_t connects;          /* connections that got as far as VU_RUNNING */

    QemuMutex lock;             /* guards: */
    VhostDPVqSet *broken_set;   /* whose peer broke a rule; a reference */
    VhostDPPeerViolation broken_why;
    uint64_t active;            /* queue pairs in use, as a bitmap; atomic */
};

/* ---- vhost-user-conn.c ---- */

/*
 * Open the socket, or claim the chardev, and connect or listen.  BQL.
 * Returns false with @errp set on failure.
 */
bool vhost_dp_vu_conn_open(VhostDPVhostUser *vu, Error **errp);
void vhost_dp_vu_conn_close(VhostDPVhostUser *vu);

/*
 * Send @len bytes, all or none, with @fd if it is not -1.  BQL.  Returns 0,
 * -EAGAIN: vhost_dp_vu_proto_continue() will be called when there is room; or
 * another error.
 */
int vhost_dp_vu_conn_send(VhostDPVhostUser *vu, const void *buf, size_t len,
                          int fd);

/* ---- vhost-user-proto.c ---- */

/* Begin the setup of a new connection.  BQL. */
void vhost_dp_vu_proto_start(VhostDPVhostUser *vu);

/* Send the next request, unless a reply is outstanding.  BQL. */
void vhost_dp_vu_proto_continue(VhostDPVhostUser *vu);

/* How many bytes of the message that is being received are missing */
size_t vhost_dp_vu_proto_wants(const VhostDPVhostUser *vu);

/*
 * @len bytes, at most vhost_dp_vu_proto_wants(), were added to @vu->in.
 * @vu->in_fds has all descriptors that came with the message so far.
 */
void vhost_dp_vu_proto_received(VhostDPVhostUser *vu, size_t len);

/* Forget the connection's state, and what was received with it.  BQL. */
void vhost_dp_vu_proto_reset(VhostDPVhostUser *vu);

void vhost_dp_vu_proto_init(VhostDPVhostUser *vu);
void vhost_dp_vu_proto_cleanup(VhostDPVhostUser *vu);

/*
 * The connection is of no use, for a @reason for the user: the link goes down,
 * and the BH closes the connection.  BQL.
 */
void G_GNUC_PRINTF(2, 3) vhost_dp_vu_fail(VhostDPVhostUser *vu,
                                          const char *fmt, ...);

/* vhost_dp_vu_fail(): the peer has closed the connection; @err: errno or 0 */
void vhost_dp_vu_gone(VhostDPVhostUser *vu, int err);

/* vhost_dp_vu_fail(), and count a rule that the peer broke */
void G_GNUC_PRINTF(3, 4) vhost_dp_vu_violation(VhostDPVhostUser *vu,
                                               VhostDPPeerViolation why,
                                               const char *fmt, ...);

#endif /* NET_VHOST_DP_DRIVERS_VHOST_USER_VHOST_USER_INT_H */
