/*
 * vhost-dp: qtests, drivers of one end of a veth pair
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver uses v0; a packet socket of the test is on v1, with offload
 * metadata.  The netdev is vd0.  What every such driver has to do is checked
 * here, and what it has of its own in its test.
 */

#ifndef TESTS_QTEST_VHOST_DP_VETH_H
#define TESTS_QTEST_VHOST_DP_VETH_H

#include "guest.h"

/* ---- The rig ---- */

/* A NIC on netdev vd0 of @guest, which it takes, and a socket on v1 */
DpRig *dp_veth_rig(DpGuest *guest, uint64_t features, unsigned pairs);

/* The same with a new guest.  @object: the driver, with id=v0 */
DpRig *dp_veth_start(const char *object, uint64_t features, unsigned pairs);

/* After v1 went down, or another one came: its socket, and both run */
void dp_veth_use_peer(DpRig *r);

/* Both were deleted: new ones with @queues queues, and the driver finds v0 */
void dp_veth_renew(DpRig *r, unsigned queues);

/* ---- Frames ---- */

/* Send r->frame by v1, without metadata */
void dp_veth_send(DpRig *r, size_t len);

/* r->frame has to come out of v1, with nothing left to be done */
void dp_veth_check_arrives(DpRig *r, size_t len);

/* A made-up frame to the guest, with a buffer for it; and from the guest */
void dp_veth_check_receive(DpRig *r, size_t len, unsigned seed);
void dp_veth_check_transmit(DpRig *r, size_t len, unsigned seed);

/* Has the first pair a frame?  Waits, as QEMU may for a processor. */
bool dp_veth_has_frame(DpRig *r);

/* The pair that has received a frame, or r->pairs */
unsigned dp_veth_find_received(DpRig *r);

/* ---- What every driver has to do ---- */

/* Frames of all lengths both ways, and that they are counted */
void dp_veth_check_frames(DpRig *r);

/* @n frames each way, in order: more than there are slots */
void dp_veth_check_many(DpRig *r, unsigned n);

/*
 * More frames than there is room for, @n of them, at a guest without buffers,
 * which posts them afterwards.  Returns how many it got; the rest is to be
 * counted.  One buffer is left.
 */
unsigned dp_veth_check_overrun(DpRig *r, unsigned n);

/* Both ends go down and up */
void dp_veth_check_link(DpRig *r);

/*
 * The interfaces are deleted under traffic, and made again with @queues queues.
 * @check looks at the new v0.  No descriptor or thread is left over.
 */
void dp_veth_check_deleted(DpRig *r, unsigned queues, void (*check)(DpRig *r));

/* The same while @n frames wait for the guest: they are counted */
void dp_veth_check_deleted_with_frames(DpRig *r, unsigned n);

/*
 * @n NICs from DP_SLOT on, on netdevs vd0, vd1, ... of @guest, with @peers as
 * the other ends; frames go both ways on each of them in turn.  Frees @guest.
 */
void dp_veth_check_side_by_side(DpGuest *guest, const char *const *peers,
                                unsigned n);

/* ---- Options, and descriptors from outside ---- */

#define DP_ADD_DRIVER(type, id, options) \
    "{ 'execute': 'object-add', 'arguments': {" \
    " 'qom-type': '" type "', 'id': '" id "', " options " } }"
#define DP_DEL_DRIVER(id) \
    "{ 'execute': 'object-del', 'arguments': { 'id': '" id "' } }"
#define DP_ADD_NETDEV(driver, options) \
    "{ 'execute': 'netdev_add', 'arguments': {" \
    " 'type': 'vhost-dp', 'id': 'vd0', 'driver': '" driver "'" options " } }"
#define DP_DEL_NETDEV \
    "{ 'execute': 'netdev_del', 'arguments': { 'id': 'vd0' } }"

typedef struct DpBad {
    const char *name;
    const char *driver;         /* command that makes it */
    const char *netdev;         /* or NULL: the driver's options are wrong */
    const char *texts[4];       /* all of them are in the error */
    int (*open[2])(void);       /* what becomes fds 'a' and 'b' */
    bool kept;                  /* the monitor keeps these */
    bool unprivileged;          /* run QEMU as dp_qemu_unprivileged() */
} DpBad;

/* What is wrong is said, and nothing leaks.  @del_driver: a command */
void dp_check_bad(QTestState *qts, const DpBad *bad, const char *del_driver);

/* What is right works, and nothing leaks */
void dp_check_good(QTestState *qts, const char *add_driver,
                   const char *add_netdev, const char *del_driver);

/* No sockets of the kind that any driver takes */
int dp_open_udp(void);
int dp_open_null(void);

#endif
