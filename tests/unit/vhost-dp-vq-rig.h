/*
 * vhost-dp: a driver and a device that share virtqueues, for unit tests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each virtqueue has its driver in drivers/virtq/vq*.c and its device in
 * hw/virtio/vhost-dp/vring*.c: the two drive each other.
 */

#ifndef TESTS_UNIT_VHOST_DP_VQ_RIG_H
#define TESTS_UNIT_VHOST_DP_VQ_RIG_H

#include "hw/virtio/vhost-dp-vring.h"
#include "tests/vhost-dp/lib/mock.h"
#include "net/vhost-dp/drivers/virtq/vq-int.h"

#define BUF VHOST_DP_VQ_BUF_BYTES
#define HDR sizeof(struct virtio_net_hdr_v1)

/* What a test runs for */
typedef struct Format {
    const char *name;
    bool packed, event_idx;
    unsigned num;
} Format;

/* A set of one queue pair, and the device that has it */
typedef struct Rig {
    const Format *f;
    VhostDPVqSet *set;
    VhostDPVq *rx, *tx;         /* the driver's */
    MockMemory *mm;
    VhostDPMemory *mem;
    VhostDPVring dev_rx, dev_tx;
    VhostDPBurst burst;
    uint8_t out[VHOST_DP_MAX_FRAME + HDR];
    uint8_t in[VHOST_DP_MAX_FRAME + 4 * BUF];
} Rig;

/**
 * rig_new: start both sides
 * @without: features that are not negotiated
 */
Rig *rig_new(const Format *f, uint64_t without);
void rig_free(Rig *r);

/* Bytes that differ by @seed */
void fill(uint8_t *buf, size_t len, unsigned seed);

/* Every buffer is in one place: free, with the peer, or lent */
void check_places(VhostDPVq *vq);

/* A frame of r->out, in @pieces */
VhostDPFrame rig_frame(Rig *r, struct iovec *iov, unsigned pieces,
                       uint32_t len);

/* The device takes a chain, and gives its bytes */
size_t device_take(Rig *r, uint8_t *buf, size_t size);

/*
 * The device puts header and frame from r->out into buffers.  Returns whether
 * it has to call.
 */
bool device_put_hdr(Rig *r, const struct virtio_net_hdr_v1 *hdr,
                    uint32_t len);
bool device_put(Rig *r, uint32_t len);

/* The driver has one frame, whose bytes are those of r->out */
VhostDPFrame check_rx(Rig *r, uint32_t len);

/* Add a test that runs for each Format, with that as its argument */
void rig_add_test(const char *name, GTestDataFunc func);

#endif /* TESTS_UNIT_VHOST_DP_VQ_RIG_H */
