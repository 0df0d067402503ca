/*
 * vhost-dp: the vhost back end of one queue pair
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: hw/virtio/vhost.c drives a VhostOps table.  For
 * vhost-net that table sends ioctls to the kernel, for vhost-user messages to
 * another process; here it stores into a VhostDPBackend.  All of it runs under
 * the BQL.  What a burst may look at changes under the queue pair's lock.
 *
 * Nothing here waits for the engine's thread, or for RCU: control operations
 * come from vCPU threads inside memory transactions, where waiting deadlocks.
 * A queue is stopped by marking it so under the lock; the engine's thread
 * removes its handlers later and finds nothing to do until then.
 *
 * Rings are known by their guest-physical addresses and mapped at start, and
 * again when the memory table changes, so that no pointer outlives the memory
 * under it.
 *
 * Dirty memory is marked by the ring code as it writes, so the log that
 * vhost.c offers (set_log_base) stays empty.
 */

#include "qemu/osdep.h"
#include <sys/eventfd.h>
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "system/address-spaces.h"
#include "hw/virtio/vhost.h"
#include "hw/virtio/vhost-dp-backend.h"
#include "linux-headers/linux/vhost.h"
#include "standard-headers/linux/vhost_types.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_net.h"
#include "standard-headers/linux/virtio_ring.h"
#include "translate.h"
#include "trace.h"

/* Ring and device features that the data path implements */
#define VHOST_DP_FEATURES \
    ((1ULL << VIRTIO_F_NOTIFY_ON_EMPTY) | \
     (1ULL << VIRTIO_RING_F_INDIRECT_DESC) | \
     (1ULL << VIRTIO_RING_F_EVENT_IDX) | \
     (1ULL << VIRTIO_F_ANY_LAYOUT) | \
     (1ULL << VIRTIO_F_VERSION_1) | \
     (1ULL << VIRTIO_F_ACCESS_PLATFORM) | \
     (1ULL << VIRTIO_F_RING_PACKED) | \
     (1ULL << VIRTIO_F_IN_ORDER) | \
     (1ULL << VIRTIO_F_RING_RESET) | \
     (1ULL << VIRTIO_NET_F_MRG_RXBUF) | \
     (1ULL << VIRTIO_NET_F_MTU) | \
     (1ULL << VHOST_F_LOG_ALL))

static const char *queue_name(unsigned i)
{
    return i == VHOST_DP_RX ? "receive" : "transmit";
}

const char *vhost_dp_violation_text(VhostDPViolation violation)
{
    static const char *const text[] = {
        [VHOST_DP_VIOLATION_AVAILABLE_INDEX] =
            "more made available than the queue has entries",
        [VHOST_DP_VIOLATION_DESCRIPTOR_INDEX] =
            "descriptor number beyond the end of its table",
        [VHOST_DP_VIOLATION_DESCRIPTOR_LOOP] =
            "chain with more descriptors than its table, or the ring, has",
        [VHOST_DP_VIOLATION_DESCRIPTOR_ORDER] =
            "device-readable descriptor after a device-writable one",
        [VHOST_DP_VIOLATION_ZERO_LENGTH] =
            "descriptor of zero bytes",
        [VHOST_DP_VIOLATION_INDIRECT_NESTED] =
            "indirect table inside an indirect table",
        [VHOST_DP_VIOLATION_INDIRECT_CHAINED] =
            "indirect table in a chain of descriptors",
        [VHOST_DP_VIOLATION_INDIRECT_SIZE] =
            "indirect table of an invalid size",
        [VHOST_DP_VIOLATION_TABLE_ADDRESS] =
            "indirect table that is not in guest RAM",
        [VHOST_DP_VIOLATION_BUFFER_ADDRESS] =
            "buffer that is not in guest RAM",
        [VHOST_DP_VIOLATION_CHAIN_LENGTH] =
            "chain of 4 GiB or more",
        [VHOST_DP_VIOLATION_CHAIN_SEGMENTS] =
            "chain with too many segments",
        [VHOST_DP_VIOLATION_NO_BUFFER] =
            "chain without a descriptor for this direction",
        [VHOST_DP_VIOLATION_SHORT_HEADER] =
            "chain shorter than the virtio-net header",
        [VHOST_DP_VIOLATION_RING_ADDRESS] =
            "ring that is no longer in guest RAM",
        [VHOST_DP_VIOLATION_IOMMU_FAULT] =
            "address that the IOMMU does not let the device use",
    };

    QEMU_BUILD_BUG_ON(ARRAY_SIZE(text) != VHOST_DP_VIOLATION__MAX);
    return text[violation];
}

/* ---- The lock: modelled in tests/models/lock.pml ---- */

void vhost_dp_backend_lock(VhostDPBackend *be)
{
    qatomic_inc(&be->want);
    qemu_mutex_lock(&be->lock);
}

void vhost_dp_backend_unlock(VhostDPBackend *be)
{
    qemu_mutex_unlock(&be->lock);
    /* A full barrier: pairs with the one in vhost_dp_backend_may_run() */
    if (qatomic_fetch_dec(&be->want) == 1 &&
        qatomic_xchg(&be->yielded, false)) {
        be->client->resume(be->opaque);
    }
}

/* ---- Calls to the guest ---- */

static void backend_signal(int fd)
{
    ssize_t r;

    /*
     * EAGAIN means that the counter is at its limit, so the reader has been
     * told; there is nothing else that a write to an eventfd can answer.
     */
    r = eventfd_write(fd, 1);
    (void)r;
}

void vhost_dp_backend_call(VhostDPBackend *be)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        if (!be->call_pending[i]) {
            continue;
        }
        be->call_pending[i] = false;
        if (be->call_fd[i] >= 0) {
            backend_signal(be->call_fd[i]);
            vhost_dp_count(&be->calls[i], 1);
        }
    }
}

/* ---- Violations ---- */

void vhost_dp_backend_report(VhostDPBackend *be)
{
    qemu_bh_schedule(be->violation_bh);
}

/*
 * As virtio_error(), but for the device's `broken`: with that virtio.c would
 * also stop the control queue, and without irqfds it would keep the calls of
 * the queues that go on from the guest.
 */
static void backend_set_needs_reset(VhostDPBackend *be, unsigned i)
{
    VirtIODevice *vdev = be->vdev;

    be->in_error[i] = true;
    if (virtio_vdev_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        vdev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        virtio_notify_config(vdev);
    }
}

/* Main loop, BQL */
static void backend_violation_bh(void *opaque)
{
    VhostDPBackend *be = opaque;
    bool broken[VHOST_DP_QUEUES] = {};
    VhostDPViolation why[VHOST_DP_QUEUES];
    unsigned i;

    if (!be->vdev) {
        /* Stopped meanwhile: the next start reports it, if it is still so */
        return;
    }
    vhost_dp_backend_lock(be);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        broken[i] = be->vq[i].broken && !be->in_error[i];
        why[i] = be->vq[i].violation;
    }
    vhost_dp_backend_unlock(be);

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        if (broken[i]) {
            trace_vhost_dp_violation(be->name, queue_name(i),
                                     VhostDPViolation_str(why[i]));
            /* Under the BQL the device cannot have been stopped meanwhile */
            error_report_limited(&be->violation_limit[i], "vhost-dp netdev "
                                 "'%s': %s queue %d stopped, the guest's "
                                 "driver is at fault: %s", be->name,
                                 queue_name(i), be->dev->vq_index + i,
                                 vhost_dp_violation_text(why[i]));
            backend_set_needs_reset(be, i);
        }
    }
}

/* ---- Starting and stopping ---- */

/* Lock held.  Returns as vhost_dp_vring_start(). */
static int backend_start_queue(VhostDPBackend *be, unsigned i)
{
    VhostDPVring *vq = &be->vq[i];
    bool big_endian = be->legacy_big_endian[i];
    int r;

    if (be->features & (1ULL << VIRTIO_F_VERSION_1)) {
        big_endian = false;
    }
    vq->swap = big_endian != HOST_BIG_ENDIAN;
    be->generation[i]++;
    r = vhost_dp_vring_start(vq, be->mem, be->features);
    trace_vhost_dp_start_queue(be->name, queue_name(i), vq->num, vq->base,
                               vq->desc.gpa, vq->avail.gpa, vq->used.gpa, r);
    return r;
}

/* backend_start_queue() returned @r.  Without the lock: the log may wait. */
static void backend_report_start(VhostDPBackend *be, unsigned i, int r)
{
    error_report_limited(&be->report_limit, "vhost-dp netdev '%s': cannot "
                         "start the %s queue: %s", be->name, queue_name(i),
                         r == -EINVAL ?
                         "its size is invalid (up to 1024, for split rings a "
                         "power of two), or its saved state is" :
                         "the ring is not aligned, or not in one piece of RAM");
}

/* Lock held */
static void backend_stop_queue(VhostDPBackend *be, unsigned i)
{
    if (be->vq[i].running) {
        vhost_dp_backend_call(be);
        vhost_dp_vring_stop(&be->vq[i]);
        trace_vhost_dp_stop_queue(be->name, queue_name(i),
                                  vhost_dp_vring_get_base(&be->vq[i]));
    }
    vhost_dp_iommu_stop_queue(be, i);
    be->kick[i].fd = -1;
}

/* Lock held.  Returns the memory table, to be freed without the lock. */
static VhostDPMemory *backend_stop(VhostDPBackend *be)
{
    VhostDPMemory *mem = be->mem;
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        backend_stop_queue(be, i);
        /*
         * The bus closes the guest notifiers now.  Where a vector is masked at
         * the next start, or there was none when it stopped, nobody sets a call
         * fd: what is called for meanwhile waits in the masked notifier.
         */
        be->call_fd[i] =
            event_notifier_get_wfd(&be->dev->vqs[i].masked_notifier);
    }
    be->started = false;
    be->mem = NULL;
    return mem;
}

static VhostDPMemory *backend_new_memory(struct vhost_dev *dev)
{
    return vhost_dp_memory_new(&address_space_memory, dev->mem_sections,
                               dev->n_mem_sections);
}

static int backend_do_start(VhostDPBackend *be)
{
    VhostDPMemory *mem = backend_new_memory(be->dev);
    unsigned i;
    int r = 0;

    vhost_dp_iommu_start(be);
    vhost_dp_backend_lock(be);
    be->mem = mem;
    be->started = true;
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        /* A queue without a kick fd was not set up by the guest, or is reset */
        if (be->vq[i].broken) {
            vhost_dp_backend_report(be);
        } else if (be->kick[i].fd >= 0) {
            r = backend_start_queue(be, i);
            if (r < 0) {
                break;
            }
        }
    }
    mem = r < 0 ? backend_stop(be) : NULL;
    vhost_dp_backend_unlock(be);

    vhost_dp_memory_free(mem);
    if (r == 0) {
        be->vdev = be->dev->vdev;
        object_ref(OBJECT(be->vdev));
        vhost_dp_iommu_attach(be);
    } else {
        vhost_dp_iommu_stop(be);
        backend_report_start(be, i, r);
    }
    return r;
}

static void backend_do_stop(VhostDPBackend *be)
{
    VhostDPMemory *mem;

    vhost_dp_backend_lock(be);
    mem = backend_stop(be);
    vhost_dp_backend_unlock(be);

    vhost_dp_iommu_stop(be);
    vhost_dp_memory_free(mem);
    if (be->vdev) {
        object_unref(OBJECT(be->vdev));
        be->vdev = NULL;
    }
}

static int backend_dev_start(struct vhost_dev *dev, bool start)
{
    VhostDPBackend *be = dev->opaque;
    int r = 0;

    if (start) {
        r = backend_do_start(be);
    } else {
        backend_do_stop(be);
    }
    trace_vhost_dp_dev_start(be->name, dev->vq_index, start, be->features, r);
    be->client->changed(be->opaque);
    return r;
}

/* ---- Memory ---- */

static void backend_replace_memory(VhostDPBackend *be)
{
    VhostDPMemory *mem = backend_new_memory(be->dev);
    VhostDPMemory *old = mem;
    bool same;
    unsigned i;

    vhost_dp_backend_lock(be);
    same = vhost_dp_memory_refresh(be->mem, mem);
    if (!same) {
        vhost_dp_iommu_flush(be);
        for (i = 0; i < VHOST_DP_QUEUES; i++) {
            bool broken = be->vq[i].broken;

            vhost_dp_vring_remap(&be->vq[i], mem);
            if (be->vq[i].broken && !broken) {
                vhost_dp_backend_report(be);
            }
        }
        old = be->mem;
        be->mem = mem;
        vhost_dp_iommu_update(be);
    }
    vhost_dp_backend_unlock(be);
    trace_vhost_dp_set_mem_table(be->name, be->dev->vq_index,
                                 be->mem->nregions, same);
    vhost_dp_memory_free(old);
}

/*
 * vhost.c calls set_mem_table only when RAM changed.  But a table holds the
 * address space's view as it was, and with it every device that has a region
 * there: to let an unplugged device go, the table has to follow each change.
 * Where RAM is the same, only the references are renewed.
 */
static void backend_memory_commit(MemoryListener *listener)
{
    VhostDPBackend *be = container_of(listener, VhostDPBackend, listener);

    if (be->started && !vhost_dp_memory_is_current(be->mem,
                                                   &address_space_memory)) {
        backend_replace_memory(be);
    }
}

/* ---- VhostOps ---- */

static int backend_init(struct vhost_dev *dev, void *opaque, Error **errp)
{
    VhostDPBackend *be = opaque;

    dev->opaque = be;
    be->dev = dev;
    be->listener = (MemoryListener) {
        .name = "vhost-dp",
        .commit = backend_memory_commit,
        /* After vhost.c, whose list of sections is used */
        .priority = MEMORY_LISTENER_PRIORITY_DEV_BACKEND + 1,
    };
    memory_listener_register(&be->listener, &address_space_memory);
    return 0;
}

static int backend_cleanup(struct vhost_dev *dev)
{
    VhostDPBackend *be = dev->opaque;

    if (be) {
        memory_listener_unregister(&be->listener);
        backend_do_stop(be);
        /* vhost_dev_cleanup() has closed the masked notifiers */
        be->call_fd[VHOST_DP_RX] = -1;
        be->call_fd[VHOST_DP_TX] = -1;
        be->dev = NULL;
        be->client->changed(be->opaque);
    }
    return 0;
}

static int backend_memslots_limit(struct vhost_dev *dev)
{
    return INT_MAX;
}

static int backend_set_owner(struct vhost_dev *dev)
{
    return 0;
}

static int backend_get_features(struct vhost_dev *dev, uint64_t *features)
{
    *features = VHOST_DP_FEATURES;
    return 0;
}

static int backend_set_features(struct vhost_dev *dev, uint64_t features)
{
    VhostDPBackend *be = dev->opaque;

    /*
     * Also called on a running device, when only VHOST_F_LOG_ALL changes;
     * queues take the features when they start.
     */
    vhost_dp_backend_lock(be);
    be->features = features & ~(1ULL << VHOST_F_LOG_ALL);
    if (!be->started) {
        /* A start begins: of one that failed half-way nothing may be left */
        be->kick[VHOST_DP_RX].fd = -1;
        be->kick[VHOST_DP_TX].fd = -1;
    }
    vhost_dp_backend_unlock(be);
    trace_vhost_dp_set_features(be->name, dev->vq_index, features);
    return 0;
}

static int backend_get_vq_index(struct vhost_dev *dev, int idx)
{
    assert(idx >= dev->vq_index && idx < dev->vq_index + VHOST_DP_QUEUES);
    return idx - dev->vq_index;
}

static int backend_set_mem_table(struct vhost_dev *dev,
                                 struct vhost_memory *unused)
{
    VhostDPBackend *be = dev->opaque;

    /* A stopped queue pair has no table: it must not pin memory */
    if (be->started) {
        backend_replace_memory(be);
    }
    return 0;
}

static int backend_set_log_base(struct vhost_dev *dev, uint64_t base,
                                struct vhost_log *log)
{
    return 0;
}

static int backend_set_vring_num(struct vhost_dev *dev,
                                 struct vhost_vring_state *ring)
{
    VhostDPBackend *be = dev->opaque;

    vhost_dp_backend_lock(be);
    /* The ring of a running queue was mapped for the size that it has */
    if (!be->vq[ring->index].running) {
        be->vq[ring->index].num = ring->num;
    }
    vhost_dp_backend_unlock(be);
    return 0;
}

static int backend_set_vring_base(struct vhost_dev *dev,
                                  struct vhost_vring_state *ring)
{
    VhostDPBackend *be = dev->opaque;

    vhost_dp_backend_lock(be);
    vhost_dp_vring_set_base(&be->vq[ring->index], ring->num);
    vhost_dp_backend_unlock(be);
    return 0;
}

/*
 * Does not stop the queue, unlike other back ends: x-query-virtio-queue-status
 * asks a running one.  At a stop vhost.c calls dev_start(false) before.
 */
static int backend_get_vring_base(struct vhost_dev *dev,
                                  struct vhost_vring_state *ring)
{
    VhostDPBackend *be = dev->opaque;
    bool running;

    vhost_dp_backend_lock(be);
    running = be->vq[ring->index].running;
    if (!running) {
        be->kick[ring->index].fd = -1;
    }
    ring->num = vhost_dp_vring_get_base(&be->vq[ring->index]);
    vhost_dp_backend_unlock(be);
    if (!running) {
        be->client->changed(be->opaque);
    }
    return 0;
}

static int backend_set_vring_endian(struct vhost_dev *dev,
                                    struct vhost_vring_state *ring)
{
    VhostDPBackend *be = dev->opaque;

    vhost_dp_backend_lock(be);
    be->legacy_big_endian[ring->index] = ring->num;
    vhost_dp_backend_unlock(be);
    return 0;
}

/* Guest-physical addresses instead of pointers, for set_vring_addr */
static int backend_vq_get_addr(struct vhost_dev *dev,
                               struct vhost_vring_addr *addr,
                               struct vhost_virtqueue *vq)
{
    addr->desc_user_addr = vq->desc_phys;
    addr->avail_user_addr = vq->avail_phys;
    addr->used_user_addr = vq->used_phys;
    return 0;
}

static int backend_set_vring_addr(struct vhost_dev *dev,
                                  struct vhost_vring_addr *addr)
{
    VhostDPBackend *be = dev->opaque;
    VhostDPVring *vq = &be->vq[addr->index];

    vhost_dp_backend_lock(be);
    /* On a running queue it is only the logging that is switched */
    if (!vq->running) {
        vq->desc.gpa = addr->desc_user_addr;
        vq->avail.gpa = addr->avail_user_addr;
        vq->used.gpa = addr->used_user_addr;
    }
    vhost_dp_backend_unlock(be);
    return 0;
}

/* Lock held.  Returns -errno, but not for want of a descriptor. */
static int backend_set_kick(VhostDPKick *kick, int fd)
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

/* Also restarts a queue that was reset while the device runs */
static int backend_set_vring_kick(struct vhost_dev *dev,
                                  struct vhost_vring_file *file)
{
    VhostDPBackend *be = dev->opaque;
    VhostDPKick *kick = &be->kick[file->index];
    VhostDPVring *vq = &be->vq[file->index];
    bool start;
    int r;

    vhost_dp_backend_lock(be);
    r = backend_set_kick(kick, file->fd);
    start = be->started && kick->fd >= 0 && !vq->running;
    if (start) {
        r = backend_start_queue(be, file->index);
        if (r < 0) {
            kick->fd = -1;
        }
    }
    vhost_dp_backend_unlock(be);
    trace_vhost_dp_set_vring_kick(be->name, dev->vq_index,
                                  queue_name(file->index), file->fd, kick->fd,
                                  r);
    if (start && r < 0) {
        backend_report_start(be, file->index, r);
    }
    be->client->changed(be->opaque);
    return r;
}

/*
 * Masking of an interrupt, for which there is no failure.  So the descriptor is
 * used as it is: its holder stops the device before it closes the descriptor,
 * and a stop lets go of it (backend_stop()).
 */
static int backend_set_vring_call(struct vhost_dev *dev,
                                  struct vhost_vring_file *file)
{
    VhostDPBackend *be = dev->opaque;

    vhost_dp_backend_lock(be);
    be->call_fd[file->index] = file->fd;
    vhost_dp_backend_unlock(be);
    trace_vhost_dp_set_vring_call(be->name, dev->vq_index,
                                  queue_name(file->index), file->fd);
    return 0;
}

static int backend_set_vring_enable(struct vhost_dev *dev, int enable)
{
    VhostDPBackend *be = dev->opaque;

    vhost_dp_backend_lock(be);
    be->enabled = enable;
    vhost_dp_backend_unlock(be);
    trace_vhost_dp_set_vring_enable(be->name, dev->vq_index, enable);
    be->client->changed(be->opaque);
    return 0;
}

const VhostOps vhost_dp_ops = {
    .backend_type = VHOST_BACKEND_TYPE_DP,
    .vhost_backend_init = backend_init,
    .vhost_backend_cleanup = backend_cleanup,
    .vhost_backend_memslots_limit = backend_memslots_limit,
    .vhost_set_owner = backend_set_owner,
    .vhost_get_features = backend_get_features,
    .vhost_set_features = backend_set_features,
    .vhost_get_vq_index = backend_get_vq_index,
    .vhost_set_mem_table = backend_set_mem_table,
    .vhost_set_log_base = backend_set_log_base,
    .vhost_set_vring_num = backend_set_vring_num,
    .vhost_set_vring_base = backend_set_vring_base,
    .vhost_get_vring_base = backend_get_vring_base,
    .vhost_set_vring_endian = backend_set_vring_endian,
    .vhost_vq_get_addr = backend_vq_get_addr,
    .vhost_set_vring_addr = backend_set_vring_addr,
    .vhost_set_vring_kick = backend_set_vring_kick,
    .vhost_set_vring_call = backend_set_vring_call,
    .vhost_set_vring_enable = backend_set_vring_enable,
    .vhost_dev_start = backend_dev_start,
    .vhost_send_device_iotlb_msg = vhost_dp_iommu_message,
};

/* ---- Reset of the device, or of one queue ---- */

static void backend_clear_error(VhostDPBackend *be, unsigned i)
{
    vhost_dp_backend_lock(be);
    be->vq[i].broken = false;
    vhost_dp_backend_unlock(be);
    be->in_error[i] = false;
}

void vhost_dp_backend_reset(VhostDPBackend *be)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        backend_clear_error(be, i);
    }
}

/* Has vhost.c started the queue, and mapped its rings? */
static bool backend_is_set_up(VhostDPBackend *be, unsigned i)
{
    return be->dev->started && be->kick[i].fd >= 0;
}

void vhost_dp_backend_reset_queue(VhostDPBackend *be, unsigned index)
{
    unsigned i = backend_get_vq_index(be->dev, index);

    trace_vhost_dp_reset_queue(be->name, queue_name(i));
    /* vhost.c must not unmap what it has not mapped */
    if (backend_is_set_up(be, i)) {
        vhost_dp_backend_lock(be);
        backend_stop_queue(be, i);
        vhost_dp_backend_unlock(be);
        vhost_virtqueue_stop(be->dev, be->vdev, be->dev->vqs + i, index);
    }
    /* The error was in the ring that the driver takes back */
    backend_clear_error(be, i);
}

bool vhost_dp_backend_in_error(const VhostDPBackend *be)
{
    return be->in_error[VHOST_DP_RX] || be->in_error[VHOST_DP_TX];
}

void vhost_dp_backend_enable_queue(VhostDPBackend *be, unsigned index)
{
    unsigned i = backend_get_vq_index(be->dev, index);
    int r;

    if (!be->dev->started || backend_is_set_up(be, i)) {
        return;
    }
    r = vhost_virtqueue_start(be->dev, be->vdev, be->dev->vqs + i, index);
    trace_vhost_dp_enable_queue(be->name, queue_name(i), r);
    if (r < 0) {
        /* Without a ring it does not make the next start of the device fail */
        virtio_queue_reset(be->vdev, index);
        error_report_limited(&be->report_limit, "vhost-dp netdev '%s': %s "
                             "queue %u cannot be enabled in a running device",
                             be->name, queue_name(i), index);
        backend_set_needs_reset(be, i);
    }
}

/* ---- Life cycle ---- */

static void backend_close_kicks(VhostDPBackend *be)
{
    unsigned i, j;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        for (j = 0; j < ARRAY_SIZE(be->kick[i].slot); j++) {
            if (be->kick[i].slot[j] >= 0) {
                close(be->kick[i].slot[j]);
            }
        }
    }
}

static bool backend_open_kicks(VhostDPBackend *be, Error **errp)
{
    unsigned i, j;
    bool ok = true;

    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        be->kick[i].fd = -1;
        be->kick[i].watched = -1;
        for (j = 0; j < ARRAY_SIZE(be->kick[i].slot); j++) {
            /* Any file would do: a queue that starts puts its own there */
            be->kick[i].slot[j] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
            ok &= be->kick[i].slot[j] >= 0;
        }
    }
    if (!ok) {
        error_setg_errno(errp, errno, "vhost-dp netdev '%s': cannot open "
                         "descriptors for the guest's notifications",
                         be->name);
        backend_close_kicks(be);
    }
    return ok;
}

bool vhost_dp_backend_init(VhostDPBackend *be, const char *name,
                           const VhostDPBackendClient *client, void *opaque,
                           Error **errp)
{
    unsigned i;

    memset(be, 0, sizeof(*be));
    be->name = g_strdup(name);
    if (!backend_open_kicks(be, errp)) {
        g_free(be->name);
        return false;
    }
    qemu_mutex_init(&be->lock);
    be->client = client;
    be->opaque = opaque;
    be->enabled = true;
    be->violation_bh = qemu_bh_new(backend_violation_bh, be);
    vhost_dp_iommu_init(be);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        vhost_dp_vring_init(&be->vq[i], i == VHOST_DP_RX);
        be->call_fd[i] = -1;
        be->legacy_big_endian[i] = HOST_BIG_ENDIAN;
    }
    return true;
}

void vhost_dp_backend_destroy(VhostDPBackend *be)
{
    assert(!be->dev && !be->started);
    qemu_bh_delete(be->violation_bh);
    vhost_dp_iommu_destroy(be);
    backend_close_kicks(be);
    g_free(be->name);
    qemu_mutex_destroy(&be->lock);
}
