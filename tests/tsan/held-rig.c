/*
 * vhost-dp: control operations while the IOThread gets no CPU: the rig
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See held.h.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qapi/error.h"
#include "qapi/qapi-types-vhost-dp.h"
#include "held.h"

IOThread *iothread, *second;
NicSet *set;
Nic *nic;
ScriptDriver *driver;

void rig_begin_pairs(unsigned n, bool has_iommu)
{
    IOThread *iothreads[] = { iothread, second };
    unsigned i;

    bql_lock();
    set = nics_new(n, iothreads, 0, true);
    nic = set->nic[0];
    driver = STRESS_DRIVER(set->drv);
    for (i = 0; i < n; i++) {
        nic_set_iommu(set->nic[i], has_iommu);
        vhost_dp_port_set_hdr_len(set->nic[i]->port, HDR_LEN);
        wait_until(qatomic_read(&driver->ports[i]));
        nic_start(set->nic[i]);
    }
}

void rig_begin(bool has_iommu)
{
    rig_begin_pairs(1, has_iommu);
}

static bool passed;

static void pass_bh(void *opaque)
{
    qatomic_set(&passed, true);
}

void wait_for_pass(IOThread *thread)
{
    unsigned i;

    for (i = 0; i < 2; i++) {
        qatomic_set(&passed, false);
        aio_bh_schedule_oneshot(iothread_get_aio_context(thread), pass_bh,
                                NULL);
        wait_until(qatomic_read(&passed));
    }
}

void rig_end(void)
{
    nics_free(set);
    /*
     * The IOThreads, which may be in the ports' bottom halves still, give the
     * ports to the main loop, where they go
     */
    wait_for_pass(iothread);
    wait_for_pass(second);
    main_loop_wait(true);
    bql_unlock();
}

void post_to(Nic *to, unsigned queue, uint16_t id)
{
    if (ring_post(&to->guest->ring[queue], &id, 1)) {
        eventfd_write(to->guest->kick_fd[queue], 1);
    }
}

void post(unsigned queue, uint16_t id)
{
    post_to(nic, queue, id);
}

RingUsed reap_from(Nic *from, unsigned queue)
{
    Ring *ring = &from->guest->ring[queue];
    RingUsed used;

    wait_until(ring_has_used(ring));
    g_assert_cmpuint(ring_reap(ring, &used, 1), ==, 1);
    return used;
}

RingUsed reap(unsigned queue)
{
    return reap_from(nic, queue);
}

void check_transmit(void)
{
    unsigned whole = qatomic_read(&driver->sent_whole);

    memset(nic->guest->buffer[VHOST_DP_TX][1], 0, HDR_LEN);
    qatomic_set(&driver->room, 1);
    post(VHOST_DP_TX, 1);
    g_assert_cmpuint(reap(VHOST_DP_TX).id, ==, 1);
    g_assert_cmpuint(qatomic_read(&driver->sent_whole), ==, whole + 1);
}

uint64_t count_stopped_of(Nic *of, unsigned queue)
{
    VhostDPQueuePairInfo *info = vhost_dp_port_query(of->port);
    VhostDPDropInfoList *drop = queue == VHOST_DP_RX ? info->rx->drops :
                                                       info->tx->drops;
    uint64_t n = 0;

    for (; drop; drop = drop->next) {
        g_assert_cmpint(drop->value->reason, ==, VHOST_DP_DROP_REASON_STOPPED);
        n += drop->value->frames;
    }
    qapi_free_VhostDPQueuePairInfo(info);
    return n;
}

uint64_t count_stopped(unsigned queue)
{
    return count_stopped_of(nic, queue);
}

/* ---- The IOThread is held ---- */

static QemuEvent held, let_go;
bool ready_first;

static void hold_bh(void *opaque)
{
    qemu_event_set(&held);
    qemu_event_wait(&let_go);
    if (ready_first) {
        /* A turn, before the port's bottom half has seen what happened */
        vhost_dp_port_ready(driver->ports[0],
                            VHOST_DP_READY_RX | VHOST_DP_READY_TX);
    }
}

void hold_thread(IOThread *thread)
{
    qemu_event_reset(&held);
    qemu_event_reset(&let_go);
    aio_bh_schedule_oneshot(iothread_get_aio_context(thread), hold_bh, NULL);
    qemu_event_wait(&held);
}

void hold(void)
{
    hold_thread(iothread);
}

void release(void)
{
    qemu_event_set(&let_go);
}

void ready_bh(void *opaque)
{
    vhost_dp_port_ready(driver->ports[driver->pair], VHOST_DP_READY_RX);
}

void held_init(void)
{
    qemu_event_init(&held, false);
    qemu_event_init(&let_go, false);
    bql_lock();
    iothread = iothread_create("held", &error_abort);
    second = iothread_create("second", &error_abort);
    bql_unlock();
}

void held_cleanup(void)
{
    bql_lock();
    iothread_destroy(iothread);
    iothread_destroy(second);
    bql_unlock();
    qemu_event_destroy(&held);
    qemu_event_destroy(&let_go);
}
