/*
 * vhost-dp: how a queue pair starts and stops
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: control operations start, stop and reset queues, and
 * replace the memory table, under the BQL.  What a burst may look at changes
 * under the pair's lock.
 *
 * Nothing here waits for the engine's thread, or for RCU: control operations
 * come from vCPU threads inside memory transactions, where waiting deadlocks.
 * A queue is stopped by marking it so under the lock; the engine's thread
 * removes its handlers later and finds nothing to do until then.
 *
 * Rings are known by their guest-physical addresses and mapped at start, and
 * again when the memory table changes, so that no pointer outlives the memory
 * under it.
 */

#include "qemu/osdep.h"
#include <sys/eventfd.h>
#include "qapi/error.h"
#include "system/address-spaces.h"
#include "hw/virtio/vhost.h"
#include "standard-headers/linux/virtio_config.h"
#include "pair-int.h"
#include "trace.h"

/* ---- Queues ---- */

/* Lock held.  Returns as vhost_dp_vring_start(). */
static int pair_start_queue(VhostDPPair *pair, unsigned i)
{
    VhostDPVring *vq = &pair->vq[i];
    bool big_endian = pair->legacy_big_endian[i];
    int r;

    if (pair->features & (1ULL << VIRTIO_F_VERSION_1)) {
        big_endian = false;
    }
    vq->swap = big_endian != HOST_BIG_ENDIAN;
    pair->generation[i]++;
    r = vhost_dp_vring_start(vq, pair->mem, pair->features);
    trace_vhost_dp_start_queue(pair->name, pair_queue_name(i), vq->num,
                               vq->base, vq->desc.gpa, vq->driver.gpa,
                               vq->device.gpa, r);
    return r;
}

/* pair_start_queue() returned @r.  Without the lock: the log may wait. */
static void pair_report_start(VhostDPPair *pair, unsigned i, int r)
{
    error_report_limited(&pair->report_limit, "vhost-dp netdev '%s': cannot "
                         "start the %s queue: %s", pair->name,
                         pair_queue_name(i), r == -EINVAL ?
                         "invalid queue size (1 to 1024, a power of two for "
                         "split rings) or invalid saved index" :
                         "a part of the ring is not aligned, or not in one "
                         "piece of guest RAM");
}

/* Lock held */
static void pair_stop_queue(VhostDPPair *pair, unsigned i)
{
    if (pair->vq[i].running) {
        vhost_dp_pair_call_held(pair);
        vhost_dp_vring_stop(&pair->vq[i]);
        trace_vhost_dp_stop_queue(pair->name, pair_queue_name(i),
                                  vhost_dp_vring_get_base(&pair->vq[i]));
    }
    vhost_dp_translate_stop_queue(&pair->translator, i);
    pair->kick[i].fd = -1;
}

/* ---- Both of them ---- */

/* Lock held.  Returns the memory table, to be freed without the lock. */
static VhostDPMemory *pair_stop(VhostDPPair *pair)
{
    VhostDPMemory *mem = pair->mem;
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        pair_stop_queue(pair, i);
        /*
         * The bus closes the guest notifiers now.  Where a vector is masked at
         * the next start, or there was none when it stopped, nobody sets a call
         * fd: what is called for meanwhile waits in the masked notifier.
         */
        pair->call_fd[i] =
            event_notifier_get_wfd(&pair->dev->vqs[i].masked_notifier);
    }
    pair->started = false;
    pair->mem = NULL;
    return mem;
}

static VhostDPMemory *pair_new_memory(struct vhost_dev *dev)
{
    return vhost_dp_memory_new(&address_space_memory, dev->mem_sections,
                               dev->n_mem_sections);
}

int vhost_dp_pair_start(VhostDPPair *pair)
{
    VhostDPMemory *mem = pair_new_memory(pair->dev);
    unsigned i;
    int r = 0;

    vhost_dp_pair_iommu_start(pair);
    vhost_dp_pair_lock(pair);
    pair->mem = mem;
    pair->started = true;
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        /* A queue without a kick fd was not set up by the guest, or is reset */
        if (pair->vq[i].broken) {
            vhost_dp_pair_report(pair);
        } else if (pair->kick[i].fd >= 0) {
            r = pair_start_queue(pair, i);
            if (r < 0) {
                break;
            }
        }
    }
    mem = r < 0 ? pair_stop(pair) : NULL;
    vhost_dp_pair_unlock(pair);

    vhost_dp_memory_free(mem);
    if (r == 0) {
        pair->vdev = pair->dev->vdev;
        object_ref(OBJECT(pair->vdev));
        vhost_dp_pair_iommu_attach(pair);
    } else {
        vhost_dp_pair_iommu_stop(pair);
        pair_report_start(pair, i, r);
    }
    return r;
}

void vhost_dp_pair_stop(VhostDPPair *pair)
{
    VhostDPMemory *mem;

    vhost_dp_pair_lock(pair);
    mem = pair_stop(pair);
    vhost_dp_pair_unlock(pair);

    vhost_dp_pair_iommu_stop(pair);
    vhost_dp_memory_free(mem);
    if (pair->vdev) {
        object_unref(OBJECT(pair->vdev));
        pair->vdev = NULL;
    }
}

/* ---- Memory ---- */

/* Lock held.  Returns the old table, to be freed without the lock. */
static VhostDPMemory *pair_replace_memory(VhostDPPair *pair, VhostDPMemory *mem)
{
    VhostDPMemory *old = pair->mem;
    unsigned i;

    vhost_dp_pair_iommu_forget(pair, 0, 0);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        bool broken = pair->vq[i].broken;

        vhost_dp_vring_remap(&pair->vq[i], mem);
        if (pair->vq[i].broken && !broken) {
            vhost_dp_pair_report(pair);
        }
    }
    pair->mem = mem;
    vhost_dp_translate_update(&pair->translator, mem);
    return old;
}

void vhost_dp_pair_update_memory(VhostDPPair *pair)
{
    VhostDPMemory *old;
    bool same;

    /* A stopped queue pair has no table: it must not pin memory */
    if (!pair->started) {
        return;
    }
    old = pair_new_memory(pair->dev);
    vhost_dp_pair_lock(pair);
    same = vhost_dp_memory_refresh(pair->mem, old);
    if (!same) {
        old = pair_replace_memory(pair, old);
    }
    vhost_dp_pair_unlock(pair);
    trace_vhost_dp_set_mem_table(pair->name, pair->dev->vq_index,
                                 pair->mem->nregions, same);
    vhost_dp_memory_free(old);
}

/* ---- Kick fds ---- */

static void pair_close_kicks(VhostDPPair *pair)
{
    unsigned i, j;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        for (j = 0; j < ARRAY_SIZE(pair->kick[i].slot); j++) {
            if (pair->kick[i].slot[j] >= 0) {
                close(pair->kick[i].slot[j]);
            }
        }
    }
}

static bool pair_open_kicks(VhostDPPair *pair, Error **errp)
{
    unsigned i, j;
    bool ok = true;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        pair->kick[i].fd = -1;
        pair->kick[i].watched = -1;
        for (j = 0; j < ARRAY_SIZE(pair->kick[i].slot); j++) {
            /* Any file would do: a queue that starts puts its own there */
            pair->kick[i].slot[j] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
            ok &= pair->kick[i].slot[j] >= 0;
        }
    }
    if (!ok) {
        error_setg_errno(errp, errno, "vhost-dp netdev '%s': cannot open "
                         "descriptors for the guest's notifications",
                         pair->name);
        pair_close_kicks(pair);
    }
    return ok;
}

/* Lock held.  Returns -errno, but not for want of a descriptor. */
static int pair_copy_kick(VhostDPKick *kick, int fd)
{
    int slot = kick->slot[kick->slot[0] == kick->watched];

    kick->fd = -1;
    if (fd >= 0) {
        /* A copy: virtio closes its own before the engine looks away */
        if (dup3(fd, slot, O_CLOEXEC) < 0) {
            return -errno;
        }
        kick->fd = slot;
    }
    return 0;
}

int vhost_dp_pair_set_kick(VhostDPPair *pair, unsigned queue, int fd)
{
    VhostDPKick *kick = &pair->kick[queue];
    bool start;
    int r;

    vhost_dp_pair_lock(pair);
    r = pair_copy_kick(kick, fd);
    start = pair->started && kick->fd >= 0 && !pair->vq[queue].running;
    if (start) {
        r = pair_start_queue(pair, queue);
        if (r < 0) {
            kick->fd = -1;
        }
    }
    vhost_dp_pair_unlock(pair);
    if (start && r < 0) {
        pair_report_start(pair, queue, r);
    }
    return r;
}

/* ---- Reset of the device, or of one queue ---- */

static void pair_clear_error(VhostDPPair *pair, unsigned i)
{
    vhost_dp_pair_lock(pair);
    pair->vq[i].broken = false;
    vhost_dp_pair_unlock(pair);
    pair->in_error[i] = false;
}

void vhost_dp_pair_reset(VhostDPPair *pair)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        pair_clear_error(pair, i);
    }
}

/* Has vhost.c started the queue, and mapped its rings? */
static bool pair_is_set_up(VhostDPPair *pair, unsigned i)
{
    return pair->dev->started && pair->kick[i].fd >= 0;
}

void vhost_dp_pair_reset_queue(VhostDPPair *pair, unsigned index)
{
    unsigned i = pair_queue(pair->dev, index);

    trace_vhost_dp_reset_queue(pair->name, pair_queue_name(i));
    /* vhost.c must not unmap what it has not mapped */
    if (pair_is_set_up(pair, i)) {
        vhost_dp_pair_lock(pair);
        pair_stop_queue(pair, i);
        vhost_dp_pair_unlock(pair);
        vhost_virtqueue_stop(pair->dev, pair->vdev, pair->dev->vqs + i, index);
    }
    /* The error was in the ring that the driver takes back */
    pair_clear_error(pair, i);
}

void vhost_dp_pair_enable_queue(VhostDPPair *pair, unsigned index)
{
    unsigned i = pair_queue(pair->dev, index);
    int r;

    if (!pair->dev->started || pair_is_set_up(pair, i)) {
        return;
    }
    r = vhost_virtqueue_start(pair->dev, pair->vdev, pair->dev->vqs + i, index);
    trace_vhost_dp_enable_queue(pair->name, pair_queue_name(i), r);
    if (r < 0) {
        /* Without a ring it does not make the next start of the device fail */
        virtio_queue_reset(pair->vdev, index);
        error_report_limited(&pair->report_limit, "vhost-dp netdev '%s': "
                             "cannot enable %s queue %u in a running device; "
                             "the guest is asked to reset it", pair->name,
                             pair_queue_name(i), index);
        vhost_dp_pair_set_needs_reset(pair, i);
    }
}

/* ---- Life cycle ---- */

bool vhost_dp_pair_init(VhostDPPair *pair, const char *name,
                        const VhostDPPairClient *client, void *opaque,
                        Error **errp)
{
    unsigned i;

    memset(pair, 0, sizeof(*pair));
    pair->name = g_strdup(name);
    if (!pair_open_kicks(pair, errp)) {
        g_free(pair->name);
        return false;
    }
    qemu_mutex_init(&pair->lock);
    pair->client = client;
    pair->opaque = opaque;
    pair->enabled = true;
    vhost_dp_pair_violation_init(pair);
    vhost_dp_pair_iommu_init(pair);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        vhost_dp_vring_init(&pair->vq[i], i == VHOST_DP_RX);
        pair->call_fd[i] = -1;
        pair->legacy_big_endian[i] = HOST_BIG_ENDIAN;
    }
    return true;
}

void vhost_dp_pair_destroy(VhostDPPair *pair)
{
    assert(!pair->dev && !pair->started);
    vhost_dp_pair_violation_destroy(pair);
    vhost_dp_pair_iommu_destroy(pair);
    pair_close_kicks(pair);
    g_free(pair->name);
    qemu_mutex_destroy(&pair->lock);
}
