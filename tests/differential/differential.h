/*
 * vhost-dp: differential test of the rings against QEMU's own virtio.c
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two guests with the same content have one driver: what it writes, it writes
 * to both.  One guest's queue is run by vhost-dp ("ours"), the other's by
 * virtio.c ("theirs").  Numbers of sections are those of virtio 1.3.
 */

#ifndef TESTS_DIFFERENTIAL_H
#define TESTS_DIFFERENTIAL_H

#include "hw/virtio/virtio.h"
#include "hw/virtio/vhost-dp-vring.h"

/* Guest addresses.  Each area is RAM of its own; see areas[] in guest.c */
#define DESC_GPA        0x10000
#define AVAIL_GPA       0x14000
#define USED_GPA        0x15000
#define RING_END        0x18000
#define TABLE_GPA       0x40000
#define DATA_GPA        0x100000        /* three areas next to each other */
#define DATA_SIZE       0x10000

#define MAX_NUM         VHOST_DP_VRING_MAX_NUM
#define MAX_DESCS       32              /* of a chain that the driver makes */

#define PLACE_WRAP      0x8000          /* of a packed ring, section 2.8.1 */

/* What does not change between two starts with new rings */
typedef struct Config {
    bool packed;
    bool event_idx;
    bool in_order;
    bool notify_on_empty;       /* of no effect on a packed ring */
    bool writable;              /* a receive queue */
    unsigned num;
    uint16_t start;             /* index, or place, where both sides begin */
} Config;

enum { AREA_RING, AREA_TABLE, AREA_DATA0, AREA_DATA1, AREA_DATA2, NAREAS };

typedef struct Guest {
    AddressSpace as;
    MemoryRegion root;
    MemoryRegion ram[NAREAS];
} Guest;

/* What the user said; set once */

#define OPS_PER_CASE    500000

typedef struct Options {
    uint64_t seed;
    uint64_t ops;               /* of each case */
    const char *format;
    bool verbose;
} Options;

extern Options options;

/* Ends the program when they are wrong, or ask for help */
void options_parse(int argc, char **argv);

/* Make the BQL, memory, QOM, threads; @name is the program's */
void start_qemu(char *name);

/* Random numbers that --seed reproduces */

void rnd_seed(uint64_t seed);
unsigned rnd(unsigned below);           /* 0 <= result < @below */

static inline bool chance(unsigned one_in)
{
    return rnd(one_in) == 0;
}

/*
 * Ends the run with what is needed to repeat it, unless @cond holds.  Every
 * difference ends here.
 */
#define expect(cond, ...)                       \
    do {                                        \
        if (unlikely(!(cond))) {                \
            failed(#cond, __VA_ARGS__);         \
        }                                       \
    } while (0)

G_NORETURN void failed(const char *what, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

/* Guest memory */

void guest_init(Guest *g, const char *name);
VhostDPMemory *guest_table(Guest *g);

/* Where @gpa is: to the end of its area */
void *guest_ptr(Guest *g, uint64_t gpa);

/* All of it is the same */
bool guest_data_equal(Guest *a, Guest *b);

/* The driver */

typedef struct Outstanding {
    bool busy;
    uint16_t ndescs;            /* of the ring */
    uint32_t len;               /* bytes in the queue's direction */
    uint32_t used_len;          /* what the device said, see driver_used() */
    bool used;
} Outstanding;

typedef struct Driver {
    Guest *guest[2];
    Config c;

    uint16_t next;              /* index or place of the next chain */
    uint16_t published;         /* the device knows what is before it */
    uint16_t last_used;         /* index or place */
    uint16_t first_flags;       /* packed: of the first not published yet */

    unsigned nfree;             /* descriptors */
    uint16_t free[MAX_NUM];     /* split: a stack of free descriptors */
    uint16_t link[MAX_NUM];     /* split: next of a descriptor that is not */
    unsigned nids;
    uint16_t ids[MAX_NUM];      /* packed: a stack of free buffer ids */
    Outstanding out[MAX_NUM];   /* by head or buffer id */

    /* Ids in the order in which they were made available */
    uint16_t fifo[MAX_NUM];
    unsigned oldest, nfifo;
    /* IN_ORDER: what a used element of each guest says is used, up to an id */
    bool in_batch[2];
    uint16_t batch_end[2];
} Driver;

/* Empty rings; both sides begin at @c->start */
void driver_init(Driver *d, const Config *c);

/* A random chain, not published yet.  Returns false if there is no room. */
bool driver_add(Driver *d);

/*
 * A chain that breaks a rule which virtio.c checks, too.  Returns its name,
 * or NULL if it is not possible now.
 */
const char *driver_add_bad(Driver *d);

/*
 * Make chains available.  @kick says for each guest whether its device wants
 * a kick.  Returns false if there were none.
 */
bool driver_publish(Driver *d, bool kick[2]);

/* Take a used element, the same from both guests.  False if there is none. */
bool driver_take_used(Driver *d);

/* Say when calls are wanted; sometimes not at all, sometimes long ago */
void driver_set_event(Driver *d);

/*
 * The answer to "has the device to call?" by the specification's words
 * (2.7.7.1, 2.8.10): it has used chains from place @old to @now, @count
 * descriptors or elements; @valid is false before its first decision.
 */
bool driver_wants_call(Driver *d, bool valid, unsigned count, uint16_t now);

uint16_t place_after(const Config *c, uint16_t place, unsigned n);

/* QEMU's virtio.c */

typedef struct Theirs {
    Guest *guest;
    VirtIODevice *vdev;
    VirtQueue *vq;
    bool called;                /* the bus was told to interrupt */
} Theirs;

void theirs_init(Theirs *t);

/* New rings, after a reset of the device, or (@device false) of the queue */
void theirs_reset(Theirs *t, const Config *c, bool device);

/* As vhost.c does when the back end starts and stops */
void theirs_start(Theirs *t, uint32_t base);
uint32_t theirs_stop(Theirs *t);

VirtQueueElement *theirs_pop(Theirs *t);
void theirs_rewind(Theirs *t, VirtQueueElement **elem, unsigned n);
void theirs_drop(Theirs *t, VirtQueueElement *elem);
bool theirs_flush(Theirs *t, unsigned n);

/* A run of operations on both sides */

/* What happened: a test that never wraps would show little */
enum {
    N_CHAINS, N_REWOUND, N_DISORDER, N_CALLS, N_NO_CALLS, N_EXTRA_CALLS,
    N_KICKS, N_NO_KICKS, N_MORE, N_ARMED, N_HAND_OVERS, N_EXCHANGES, N_RESETS,
    N_REMAPS, N_BROKEN, N_WRAPS, N_EMPTY_CALLS, N_COUNTERS,
};

typedef struct Run {
    Config c;
    Driver driver;

    Guest guest[2];
    unsigned ours_on;           /* the guest that is ours; the other, theirs */

    VhostDPVring vq;
    VhostDPBurst burst;
    VhostDPMemory *mem;
    Theirs theirs;
    VirtQueueElement *elem[VHOST_DP_VRING_BURST];

    uint16_t seen;              /* the device knows what is before it */
    bool notify;                /* the device wants kicks */
    bool armed;                 /* and has seen all: the next one has to come */
    bool decided;               /* about a call, since the start */
    unsigned undecided;         /* used since the last decision */
    const char *bad;            /* the rule that the driver broke */

    uint64_t counters[N_COUNTERS];
} Run;

/* Comparing; a difference ends the run */

/* Where @gpa is in the guest that is ours, or theirs */
void *ours_ptr(Run *r, uint64_t gpa);
void *theirs_ptr(Run *r, uint64_t gpa);

/* @len bytes at @gpa are the same */
void check_same(Run *r, const char *what, uint64_t gpa, size_t len);

/* Does ours make one used element of many? */
bool batches(Run *r);

/* The rings are the same, but for what may differ */
void check_rings(Run *r);

/* The rings are, and all buffers */
void check_memory(Run *r);

/* How many ours has counted */
uint64_t violations(Run *r);

/* A chain of ours and an element of theirs are the same buffers */
void check_chain(Run *r, const VhostDPChain *chain,
                 const VirtQueueElement *elem);

#endif /* TESTS_DIFFERENTIAL_H */
