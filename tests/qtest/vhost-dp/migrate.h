/*
 * vhost-dp: qtests, a guest that moves to another QEMU while it has traffic
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the guest, before and after: its driver goes on with the rings
 * and buffers that it has, in the RAM of the other QEMU.  What the test writes
 * to RAM QEMU does not see, as there is no vCPU that did it; so once the
 * source has stopped, the pages that the driver writes are written again, by
 * QEMU, see dp_traffic_mark().  Those that only the device writes are not:
 * they move right if the device said what it wrote.
 */

#ifndef TESTS_QTEST_VHOST_DP_MIGRATE_H
#define TESTS_QTEST_VHOST_DP_MIGRATE_H

#include "guest.h"

/* Where in RAM the driver's @addr is, which may be one for an IOMMU */
uint64_t dp_gpa(const DpGuest *guest, uint64_t addr);

/* ---- Traffic: numbered frames both ways, on every queue pair ---- */

typedef struct DpFlow {
    uint32_t tx_next;           /* what the guest sends next */
    uint32_t tx_got;            /* what the host has to get next */
    uint32_t rx_next;           /* what the host sends next */
    uint32_t rx_got;            /* what the guest has to get next */
    uint64_t tx_at, rx_at;      /* the guest's buffers */
    unsigned slot;              /* of the guest's next frame */
    bool seen;                  /* the host got a frame by this interface */
    uint32_t learned_by;        /* the guest's frame that tells the queue */
    bool learned;               /* the host's interface knows its queue */
    uint64_t rx_stopped;        /* that QEMU had when the device stopped */
    uint64_t rx_skipped;        /* of them, those that have proved missing */
} DpFlow;

typedef struct DpTraffic {
    DpRig *rig;
    int sock;                   /* the host's end */
    uint32_t rx_lost;           /* sent to an interface that the guest left */
    DpFlow flow[DP_MAX_PAIRS];
} DpTraffic;

/* Needs VIRTIO_NET_F_MRG_RXBUF, and rings that are empty */
DpTraffic *dp_traffic_new(DpRig *rig);
void dp_traffic_free(DpTraffic *t);

/* Each end sends what there is room for, and takes and checks what came */
void dp_traffic_step(DpTraffic *t);

/* Step until @n more frames have come each way on every queue pair */
void dp_traffic_run(DpTraffic *t, unsigned n);

/* Until all that was sent has come */
void dp_traffic_finish(DpTraffic *t);

/*
 * The device has stopped: take what it did.  What it has not given to the
 * guest is lost, and what it has not sent is still to come.  What it counts as
 * sent has to come now; it must have sent nothing else since it was started.
 */
void dp_traffic_stopped(DpTraffic *t);

/*
 * The device was stopped and runs again, in the same QEMU: it may have lost
 * as many frames as it counts.
 */
void dp_traffic_resumed(DpTraffic *t);

/* It goes on at another interface, whose host's end is @sock */
void dp_traffic_arrived(DpTraffic *t, int sock);

/* Have QEMU write the pages that the driver writes, as they are */
void dp_traffic_mark(DpTraffic *t);

/* The same for the rings alone */
void dp_rings_mark(DpRig *rig);

/* With postcopy: have QEMU fetch them, before the driver writes them */
void dp_traffic_fetch(DpTraffic *t);

/* What RAM holds, and what the driver and both ends of the traffic know */
typedef struct DpMemory DpMemory;

DpMemory *dp_memory_new(DpTraffic *t);
void dp_memory_free(DpMemory *m);

/*
 * Leave out when the device wants to be told, which it says again when it
 * starts: take that from @guest.
 */
void dp_memory_forget_events(DpMemory *m, const DpGuest *guest);

/* RAM is what it was */
void dp_memory_check(const DpMemory *m, const DpGuest *guest);

/* Driver and traffic go on from there, once RAM is so again */
void dp_memory_restore(const DpMemory *m, DpTraffic *t);

/* ---- Migration ---- */

/*
 * May QEMU have a userfaultfd with @features, UFFD_FEATURE_*?  If not, it says
 * so and skips the test.
 */
bool dp_has_userfaultfd(uint64_t features);

/* @size bytes of RAM that do not compress.  Returns where they are. */
uint64_t dp_fill_ram(DpGuest *guest, size_t size);

/* Options for netdev vd0 on tap interface @name */
char *dp_migrate_tap(const char *name, unsigned pairs);

/* A destination for the guest of @rig, with a device that is the same */
DpGuest *dp_migrate_target(DpRig *rig, const char *netdev, const char *more);

void dp_migrate_capability(QTestState *qts, const char *name, bool on);
void dp_migrate_enable(QTestState *from, QTestState *to, const char *name);
void dp_migrate_set(QTestState *qts, const char *parameter, int64_t value);

/* Begin to send @from's guest to @to, over a socket */
void dp_migrate_start(QTestState *from, QTestState *to);

/* Status and statistics of query-migrate */
bool dp_migrate_is(QTestState *qts, const char *status);
int64_t dp_migrate_ram(QTestState *qts, const char *name);
bool dp_status_is(QTestState *qts, const char *status);

/*
 * All RAM is the same in both, and the state of the device's virtqueues, too.
 * Both have to be stopped.
 */
void dp_migrate_compare(DpRig *rig, DpGuest *to);

/*
 * To a file, and from there to a new QEMU with @netdev.  The old one has ended
 * by then, and let go of its interface.  @mapped: with mapped-ram.
 */
void dp_migrate_by_file(DpRig *rig, const char *netdev, bool mapped);

#endif
