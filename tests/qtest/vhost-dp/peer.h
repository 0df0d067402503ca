/*
 * vhost-dp: qtests, a vhost-user back end
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The process at the other end of vhost-dp-vhost-user, in the test itself, with
 * vhost-dp's own device-side rings.  It does nothing by itself: it looks at its
 * socket and its rings when the test calls it.
 */

#ifndef TESTS_QTEST_VHOST_DP_PEER_H
#define TESTS_QTEST_VHOST_DP_PEER_H

#include "hw/virtio/vhost-dp-vring.h"
#include "subprojects/libvhost-user/libvhost-user.h" /* only for the types */
#include "tests/vhost-dp/lib/mock.h"
#include "guest.h"

#define DP_PEER_MAX_PAIRS 4

typedef struct DpPeerRing {
    unsigned num;
    uint32_t base;
    struct vhost_vring_addr addr;
    int kick, call;             /* or -1 */
    bool enabled;
    VhostDPVring dev;
} DpPeerRing;

typedef struct DpPeer DpPeer;

struct DpPeer {
    char *path;
    int listen;                 /* or -1 */
    int sock;                   /* or -1 */

    /* What it offers; may be changed before it serves */
    uint64_t features, protocol_features;
    unsigned max_pairs;
    /*
     * In place of an answer to a message, or before it: returns true if that
     * was all that is to be done
     */
    bool (*hook)(DpPeer *peer, const VhostUserMsg *msg);

    /* What it was told */
    uint64_t got_features, got_protocol_features;
    uint64_t got_mtu;
    unsigned messages;          /* with the one that is being answered */
    bool synced;                /* and that this was all */
    unsigned nfds;              /* descriptors received since the start */
    int mem_fd;                 /* or -1 */
    VhostUserMemory mem;
    DpPeerRing ring[2 * DP_PEER_MAX_PAIRS];

    /* While the rings are in use */
    uint8_t *map;
    MockMemory *mock;
    VhostDPMemory *table;
    VhostDPBurst burst;
};

/* A back end that offers all, at @path; it listens there if @listens */
DpPeer *dp_peer_new(const char *path, bool listens);
void dp_peer_free(DpPeer *peer);

/* Wait for QEMU to connect, or connect to it */
void dp_peer_connect(DpPeer *peer);

/* End the connection, as an exit of the process does, and forget everything */
void dp_peer_disconnect(DpPeer *peer);

/*
 * Answer messages until there is none for @timeout_us.  Returns false if QEMU
 * has closed the connection.
 */
bool dp_peer_serve(DpPeer *peer, int64_t timeout_us);

/* Answer messages until QEMU closes the connection */
void dp_peer_wait_gone(DpPeer *peer);

/* Answer messages until the rings of @pairs queue pairs are set up; use them */
void dp_peer_start(DpPeer *peer, unsigned pairs);

/* All of that */
void dp_peer_run(DpPeer *peer, unsigned pairs);

/* A raw message */
void dp_peer_send_msg(DpPeer *peer, uint32_t request, uint32_t flags,
                      uint32_t size, const void *payload, const int *fds,
                      unsigned nfds);

/* Send a frame to QEMU, in as many buffers as it needs */
void dp_peer_send(DpPeer *peer, unsigned pair,
                  const struct virtio_net_hdr_v1 *hdr, const void *frame,
                  size_t len);

/*
 * Wait for a frame of QEMU's.  Returns its length, or 0 after @timeout_us.
 * @hdr may be NULL.
 */
size_t dp_peer_recv(DpPeer *peer, unsigned pair, struct virtio_net_hdr_v1 *hdr,
                    void *frame, size_t size, int64_t timeout_us);

/* Wake QEMU up */
void dp_peer_call(DpPeer *peer, unsigned ring);

/* Where @addr of the rings is in the test */
void *dp_peer_ptr(DpPeer *peer, uint64_t addr);

/* ---- The peer, and a guest ---- */

/* A NIC on netdev vd0 and vhost-dp-vhost-user, vu0 */
typedef struct DpVu {
    DpRig *r;
    DpPeer *peer;
    char *dir, *path;           /* of the peer's socket */
} DpVu;

/* The peer alone; dp_vu_discard() is for those who get no further */
DpVu *dp_vu_prepare(bool peer_listens);
void dp_vu_discard(DpVu *v);

/*
 * QEMU: @options are those of the driver, @before is what comes before it.
 * Then the NIC, in the guest.
 */
void dp_vu_start(DpVu *v, const char *before, const char *options,
                 unsigned pairs, uint64_t features);
void dp_vu_start_nic(DpVu *v);
void dp_vu_free(DpVu *v);

/* The peer has to listen: connected, the link is up, frames go both ways */
void dp_vu_run(DpVu *v);

/*
 * Let QEMU connect and end the connection, with @reason.  It tries again soon,
 * which is the next reason, so it may take some connections to see it.
 */
void dp_vu_wait_refused(DpVu *v, const char *reason);

/*
 * The delay before the next connection is twice the one before, until one
 * lasts longer than that: let this one do so, after three that did not.
 */
void dp_vu_last_long(void);

/* Move a made-up frame */
void dp_vu_check_to_peer(DpVu *v, unsigned pair, size_t len, unsigned seed);
void dp_vu_check_to_guest(DpVu *v, unsigned pair, size_t len, unsigned seed);

/* One each way, by the first queue pair */
void dp_vu_check_traffic(DpVu *v);

#endif
