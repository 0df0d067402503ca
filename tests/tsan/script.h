/*
 * vhost-dp stress: a driver that does what the test says
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It has two queue pairs.  The test writes what it shall do, by atomics, and
 * calls vhost_dp_port_ready() in the thread of the pair.
 */

#ifndef TESTS_TSAN_SCRIPT_H
#define TESTS_TSAN_SCRIPT_H

#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp.h"
#include "tests/vhost-dp/lib/frames.h"
#include "stress.h"

/* A frame on the transmit queue fills a buffer of guest.c */
#define HDR_LEN sizeof(struct virtio_net_hdr_v1)
#define TX_LEN (STRESS_MAX_FRAME - HDR_LEN)
#define RX_LEN 100

OBJECT_DECLARE_SIMPLE_TYPE(ScriptDriver, STRESS_DRIVER)

struct ScriptDriver {
    VhostDPDriver parent_obj;

    /* Atomic */
    VhostDPPort *ports[2];      /* while attached */
    unsigned pair;              /* of these, that can receive */
    unsigned room;              /* frames that it will still take */
    unsigned sent;              /* frames that it took, */
    unsigned sent_whole;        /* and those that nobody had cut */
    unsigned order;             /* queue pairs of bursts, from 1: digits */
    unsigned have;              /* frames that it has to lend, */
    uint8_t content;            /* and what they consist of, */
    const VhostDPFrame *special;        /* unless it is this one */
    unsigned lent;
};

/*
 * A frame with a partial checksum, as ScriptDriver.special.  @spec says what it
 * is like, but for its payload.  Its data is that of the last call.
 */
VhostDPFrame script_make_frame(FrameSpec *spec);

#endif /* TESTS_TSAN_SCRIPT_H */
