/*
 * vhost-dp: qtests, a NIC behind an IOMMU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * There is a window of I/O virtual addresses whose pages are scattered: in
 * guest RAM they are in reverse order.  The test maps them in the order that
 * the device sees, and everything that it allocates is in the window, so the
 * driver of the other tests works behind the IOMMU as it is.
 */

#ifndef TESTS_QTEST_VHOST_DP_IOMMU_RIG_H
#define TESTS_QTEST_VHOST_DP_IOMMU_RIG_H

#include "qemu/units.h"
#include "iommu.h"

#define WINDOW_AT       (4 * GiB)
#define WINDOW_PAGES    512u
#define WINDOW_SIZE     (WINDOW_PAGES * DP_PAGE_SIZE)

/* Behind the window, and not mapped */
#define HOLE_AT         (WINDOW_AT + WINDOW_SIZE)

#define SPARE_PAGES     64

typedef struct Env {
    DpRig *rig;
    DpGuest *guest;
    DpIommu *iommu;
    DpIommuKind kind;
    uint16_t bdf;               /* of the NIC */
    void (*before)(DpGuest *guest);
    bool identity;              /* all RAM where it is, instead of a window */
    uint64_t page[WINDOW_PAGES];    /* guest-physical, by place in the window */
    unsigned nused;             /* spare pages that were handed out */
    uint64_t spare;
} Env;

#define ENV_DEVICE      "disable-legacy=on,iommu_platform=on"

/**
 * env_start: a rig behind an IOMMU
 * @setup: what is not the default, but for @prepare and @opaque
 */
Env *env_start(DpIommuKind kind, DpSetup setup, bool identity);

/* The same; @before is called before the IOMMU is set up */
Env *env_start_after(DpIommuKind kind, DpSetup setup, bool identity,
                     void (*before)(DpGuest *guest));
void env_free(Env *e);

/* Let the test, too, see page @i of the window where it is now */
void env_see(Env *e, unsigned i);

/* A page that is not in the window */
uint64_t env_spare(Env *e);

uint64_t env_counter(Env *e, unsigned queue, const char *name);
void env_check_no_violation(Env *e);
void env_check_both_ways(Env *e, unsigned seed);

/* ---- Pages that are watched ---- */

#define WATCHED         8u
#define POISON          0xbd
#define WATCHED_FRAME   1400u
#define WATCHED_BUFFER  (sizeof(struct virtio_net_hdr_v1) + WATCHED_FRAME)

/* A page that is in place, and one that is not, for each address */
typedef struct Watched {
    uint64_t iova[WATCHED];
    uint64_t page[WATCHED][2];
    bool second[WATCHED];
} Watched;

/* Map them behind the window */
void watched_init(Env *e, Watched *w);

/* The page of address @i that is in place, or the other one */
uint8_t *watched_host(Env *e, const Watched *w, unsigned i, bool mapped);

/*
 * Let the other page be at address @i.  The one that was is poisoned as soon
 * as the IOMMU says that it is done.
 */
void watched_swap(Env *e, Watched *w, unsigned i, unsigned access);

void check_poison(const uint8_t *page);

/* ---- Traffic ---- */

/* A thread that keeps a queue full of chains of one watched page each */
typedef struct Feeder {
    DpQueue *q;
    const Watched *w;
    bool write;
    GThread *thread;
    bool stop;                  /* atomic */
    bool kick;                  /* atomic: the device may be asleep */
    uint64_t used;              /* atomic */
} Feeder;

void feeder_start(Feeder *f);
void feeder_stop(Feeder *f);

/* Kick for the feeder; the connection to QEMU is the main thread's */
void feeder_kick(Feeder *f);

/* Wait for @n more chains to be used */
void feeder_progress(Feeder *f, unsigned n);

#endif
