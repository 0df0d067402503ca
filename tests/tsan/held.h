/*
 * vhost-dp: control operations while the IOThread gets no CPU: the rig
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One card or two, each with an IOThread of its own that can be made to stand
 * still, and a driver that does what the test says.  Main thread, BQL.
 */

#ifndef TESTS_TSAN_HELD_H
#define TESTS_TSAN_HELD_H

#include <sys/eventfd.h>
#include "qemu/main-loop.h"
#include "system/iothread.h"
#include "nic.h"
#include "script.h"

#define PATIENCE_S 60

#define wait_until(condition) \
    do { \
        int64_t end_ = g_get_monotonic_time() + PATIENCE_S * G_USEC_PER_SEC; \
        while (!(condition)) { \
            g_assert_cmpint(g_get_monotonic_time(), <, end_); \
            main_loop_wait(true); \
            bql_unlock(); \
            g_usleep(100); \
            bql_lock(); \
        } \
    } while (0)

/* Of the first queue pair, and of the second, if there is one */
extern IOThread *iothread, *second;
extern NicSet *set;
extern Nic *nic;                /* the first one */
extern ScriptDriver *driver;

/* The program begins and ends.  Without BQL. */
void held_init(void);
void held_cleanup(void);

/* A test begins, with @n queue pairs or one, and ends */
void rig_begin_pairs(unsigned n, bool has_iommu);
void rig_begin(bool has_iommu);
void rig_end(void);

/*
 * Until the thread has done what was scheduled before.  Bottom halves run last
 * in, first out; but what a later round runs is behind all of an earlier one.
 */
void wait_for_pass(IOThread *thread);

/* The guest makes buffer @id available, or takes one that was used */
void post_to(Nic *to, unsigned queue, uint16_t id);
void post(unsigned queue, uint16_t id);
RingUsed reap_from(Nic *from, unsigned queue);
RingUsed reap(unsigned queue);

/* One frame that goes out as it is */
void check_transmit(void);

/* Frames that were dropped as "stopped"; there are no others */
uint64_t count_stopped_of(Nic *of, unsigned queue);
uint64_t count_stopped(unsigned queue);

/*
 * The IOThread stands still, until release().  With @ready_first the driver
 * calls then before anything else.
 */
extern bool ready_first;
void hold_thread(IOThread *thread);
void hold(void);
void release(void);

/* For a bottom half in the thread of driver->pair: there are frames */
void ready_bh(void *opaque);

#endif /* TESTS_TSAN_HELD_H */
