/*
 * vhost-dp: qtests, a NIC whose system calls can be made to fail
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU runs with the library of fault-shim.c.  The netdev vd0, on the
 * driver drv0, comes and goes; at the driver's other end is the test.
 */

#ifndef TESTS_QTEST_VHOST_DP_FAULT_RIG_H
#define TESTS_QTEST_VHOST_DP_FAULT_RIG_H

#include "fault.h"
#include "guest.h"

/* ---- Rules ---- */

/* Names QEMU with the library, for DpSetup.qemu and the like */
#define FAULT_QEMU "VHOST_DP_QTEST_QEMU_FAULT"

/* The same as dp_qemu_unprivileged() */
#define FAULT_QEMU_UNPRIVILEGED "VHOST_DP_QTEST_QEMU_FAULT_UNPRIVILEGED"

/* What the library sees, too */
extern DpFault *fault;

/* Once for the program, after dp_test_init() */
void fault_init(void);

/* @count calls fail after @skip that do not */
void fault_arm(DpFault rule);

/* Returns how many failed */
unsigned fault_disarm(void);

/* ---- Drivers ---- */

/* Drivers whose system calls can be made to fail have DpDriver.files */
#define FAULT_TAP (&dp_drivers[DP_DRIVER_TAP])
#define FAULT_AF_PACKET (&dp_drivers[DP_DRIVER_AF_PACKET])
#define FAULT_AF_XDP (&dp_drivers[DP_DRIVER_AF_XDP])
#define FAULT_SLIRP (&dp_drivers[DP_DRIVER_SLIRP])

/* ---- The guest ---- */

typedef struct Rig {
    const DpDriver *driver;
    DpGuest *guest;
    QTestState *qts;
    DpNic *nic;
    int sock;
    uint8_t *frame, *got;
} Rig;

/* QEMU with the driver's object, and no netdev yet */
Rig *rig_begin(const DpDriver *driver);
void rig_end(Rig *r);

/* Returns QEMU's answer, which may be an error */
QDict *rig_netdev_add(Rig *r);
void rig_netdev_del(Rig *r);

/* Plug the NIC in, with @features besides the default ones; and out */
void rig_nic_add(Rig *r, uint64_t features);
void rig_nic_del(Rig *r);

/* All of it, and all of it away again */
Rig *rig_new(const DpDriver *driver, uint64_t features);
void rig_free(Rig *r);

/* ---- Frames ---- */

/* A frame for the guest */
void rig_sock_send(Rig *r, size_t len, unsigned seed);

/* Make @n frames available to the device, without telling */
void rig_guest_add(Rig *r, unsigned n, size_t len, unsigned seed);

/* Until @n more of them have come back */
void rig_wait_sent(Rig *r, unsigned n);

/*
 * Take the frames that arrive, which are some of @n from @seed on, in order.
 * Waits for @want of them, and only a moment for more.  Returns how many there
 * were.
 */
unsigned rig_sock_count(Rig *r, unsigned n, unsigned want, size_t len,
                        unsigned seed);

/* Frames go both ways, or datagrams; those of before may come first */
void rig_check_works(Rig *r);

/* ---- Datagrams, for libslirp ---- */

/* From the guest to the test: 10.0.2.15 to 10.0.2.2, without a UDP checksum */
void rig_udp_send(Rig *r, uint32_t number);

/* Answer what has arrived.  Returns whether that number was among it. */
bool rig_udp_answer(Rig *r, uint32_t number);

/* Answer libslirp's question for the guest's address */
void rig_arp_answer(Rig *r);

#endif
