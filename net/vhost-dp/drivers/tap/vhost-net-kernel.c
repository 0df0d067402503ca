/*
 * vhost-dp-vhost-net: the kernel's side of it, set up
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: /dev/vhost-net (linux/vhost.h), one open file for each
 * queue pair, driven by ioctl under the BQL when the netdev claims the driver.
 * The kernel makes a thread for each that works in QEMU's address space, and is
 * told of one region of it: the memory of the virtqueues and their buffers.
 * Guest RAM is not mentioned, so the thread can find nothing else.
 *
 * VHOST_NET_F_VIRTIO_NET_HDR is left off, so the virtio-net header goes through
 * to the interface, which knows of offloads: which ones there are is asked of
 * it, and not of vhost-net.
 */

#include "qemu/osdep.h"
#include <linux/vhost.h>
#include <sys/ioctl.h>
#include "qapi/error.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"
#include "vhost-net-int.h"
#include "trace.h"

#define VHOST_NET_DEVICE "/dev/vhost-net"

/* What the kernel's ring code has to do with; the others are the interface's */
#define VNET_KERNEL_FEATURES \
    (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_EVENT_IDX | \
     1ULL << VIRTIO_NET_F_MRG_RXBUF)

#define VNET_NEEDED_FEATURES \
    (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_NET_F_MRG_RXBUF)

/* ---- The descriptors ---- */

static int vnet_open_device(VhostDPVhostNet *vn, Error **errp)
{
    ERRP_GUARD();
    int fd = RETRY_ON_EINTR(qemu_open_old(VHOST_NET_DEVICE, O_RDWR));
    int err = errno;

    if (fd >= 0) {
        return fd;
    }
    error_setg_errno(errp, err, "cannot open %s", VHOST_NET_DEVICE);
    if (err == ENOENT || err == ENODEV || err == ENXIO) {
        error_append_hint(errp, "Load the kernel's module with: "
                          "modprobe vhost_net\n"
                          "or let QEMU have the device, if it is in a "
                          "container (libvirt: cgroup_device_acl).\n");
    } else if (err == EACCES || err == EPERM) {
        error_append_hint(errp, "Give QEMU's user access, for example with: "
                          "setfacl -m u:NAME:rw %s\n"
                          "or pass open descriptors with vhostfd= or "
                          "vhostfds=.\n", VHOST_NET_DEVICE);
    }
    return -1;
}

static bool vnet_check_passed(VhostDPVhostNet *vn, Error **errp)
{
    unsigned i;

    for (i = 0; i < vn->passed.n; i++) {
        const char *name = vn->passed.name[i];
        uint64_t features;

        if (ioctl(vn->passed.fd[i], VHOST_GET_FEATURES, &features) < 0) {
            error_setg(errp, "%s=%s is not a descriptor of %s",
                       vnet_fds_option(vn), name, VHOST_NET_DEVICE);
            return false;
        }
    }
    return true;
}

static bool vnet_find_passed(VhostDPVhostNet *vn, Error **errp)
{
    bool found_before = vn->passed.n;

    if (!vhost_dp_fds_find(&vn->passed, vnet_fds_option(vn),
                           vn->vhostfd ?: vn->vhostfds, vn->npairs, errp)) {
        return false;
    }
    if (!found_before && !vnet_check_passed(vn, errp)) {
        vhost_dp_fds_reject(&vn->passed);
        return false;
    }
    return true;
}

static bool vnet_get_fds(VhostDPVhostNet *vn, Error **errp)
{
    bool passed = vn->vhostfd || vn->vhostfds;
    unsigned i;

    if (passed && !vnet_find_passed(vn, errp)) {
        return false;
    }
    for (i = 0; i < vn->npairs; i++) {
        vn->pair[i].fd = passed ? vn->passed.fd[i] :
                                  vnet_open_device(vn, errp);
        if (vn->pair[i].fd < 0) {
            return false;
        }
    }
    return true;
}

/* ---- ioctls ---- */

/* Returns false with @errp set if it failed */
static bool vnet_ioctl(VnetPair *pair, unsigned long request, const void *arg,
                       const char *what, Error **errp)
{
    if (ioctl(pair->fd, request, arg) == 0) {
        return true;
    }
    error_setg_errno(errp, errno, "queue pair %u: vhost-net: %s", pair->index,
                     what);
    return false;
}

#define VNET_IOCTL(pair, request, arg, errp) \
    vnet_ioctl(pair, request, arg, #request, errp)

static bool vnet_set_owner(VnetPair *pair, Error **errp)
{
    ERRP_GUARD();

    pair->owner = VNET_IOCTL(pair, VHOST_SET_OWNER, NULL, errp);
    if (!pair->owner && errno == EBUSY) {
        error_append_hint(errp, "Another process, or another device of QEMU, "
                          "uses the descriptor.\n");
    }
    return pair->owner;
}

/* The features that the interface's offloads amount to */
static uint64_t vnet_offload_features(uint32_t offloads)
{
    static const struct {
        uint32_t offload;
        uint64_t features;
    } map[] = {
        { VHOST_DP_OFFLOAD_CSUM, 1ULL << VIRTIO_NET_F_CSUM |
                                 1ULL << VIRTIO_NET_F_GUEST_CSUM },
        { VHOST_DP_OFFLOAD_TSO4, 1ULL << VIRTIO_NET_F_HOST_TSO4 |
                                 1ULL << VIRTIO_NET_F_GUEST_TSO4 },
        { VHOST_DP_OFFLOAD_TSO6, 1ULL << VIRTIO_NET_F_HOST_TSO6 |
                                 1ULL << VIRTIO_NET_F_GUEST_TSO6 },
        { VHOST_DP_OFFLOAD_ECN, 1ULL << VIRTIO_NET_F_HOST_ECN |
                                1ULL << VIRTIO_NET_F_GUEST_ECN },
        { VHOST_DP_OFFLOAD_UFO, 1ULL << VIRTIO_NET_F_HOST_UFO |
                                1ULL << VIRTIO_NET_F_GUEST_UFO },
        /* The kernel has USO for both IP versions, or for none */
        { VHOST_DP_OFFLOAD_USO4, 1ULL << VIRTIO_NET_F_HOST_USO |
                                 1ULL << VIRTIO_NET_F_GUEST_USO4 },
        { VHOST_DP_OFFLOAD_USO6, 1ULL << VIRTIO_NET_F_GUEST_USO6 },
    };
    uint64_t features = 0;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(map); i++) {
        if (offloads & map[i].offload) {
            features |= map[i].features;
        }
    }
    return features;
}

/*
 * Ring features that every queue pair's vhost-net offers.  Returns 0 with
 * @errp set on failure.
 */
static uint64_t vnet_get_features(VhostDPVhostNet *vn, Error **errp)
{
    uint64_t features = VNET_KERNEL_FEATURES;
    unsigned i;

    for (i = 0; i < vn->npairs; i++) {
        uint64_t offered;

        if (!VNET_IOCTL(&vn->pair[i], VHOST_GET_FEATURES, &offered, errp)) {
            return 0;
        }
        features &= offered;
    }
    if ((features & VNET_NEEDED_FEATURES) != VNET_NEEDED_FEATURES) {
        error_setg(errp, "this kernel's vhost-net lacks VIRTIO_F_VERSION_1 or "
                   "VIRTIO_NET_F_MRG_RXBUF (features 0x%" PRIx64 "); both are "
                   "needed", features);
        return 0;
    }
    return features;
}

static bool vnet_set_memory(VnetPair *pair, Error **errp)
{
    VhostDPVqSet *set = pair->vn->set;
    g_autofree struct vhost_memory *table =
        g_malloc0(sizeof(*table) + sizeof(table->regions[0]));

    table->nregions = 1;
    table->regions[0].guest_phys_addr = VHOST_DP_VQ_IOVA;
    table->regions[0].memory_size = set->size;
    table->regions[0].userspace_addr = (uintptr_t)set->base;
    return VNET_IOCTL(pair, VHOST_SET_MEM_TABLE, table, errp);
}

static bool vnet_set_poll(VnetPair *pair, unsigned i, Error **errp)
{
    ERRP_GUARD();
    struct vhost_vring_state poll = { i, pair->vn->poll_us };

    if (!pair->vn->has_poll_us ||
        VNET_IOCTL(pair, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, &poll, errp)) {
        return true;
    }
    error_prepend(errp, "poll-us=%u: ", pair->vn->poll_us);
    return false;
}

static bool vnet_set_vring(VnetPair *pair, unsigned i, Error **errp)
{
    VhostDPVq *vq = &pair->vn->set->vq[2 * pair->index + i];
    struct vhost_vring_state num = { i, vq->num };
    struct vhost_vring_state base = { i, 0 };
    struct vhost_vring_addr addr = {
        .index = i,
        .desc_user_addr = (uintptr_t)vq->desc,
        .avail_user_addr = (uintptr_t)vq->driver,
        .used_user_addr = (uintptr_t)vq->device,
    };
    struct vhost_vring_file kick = { i, event_notifier_get_fd(&vq->kick) };
    struct vhost_vring_file call = { i, event_notifier_get_fd(&vq->call) };
    struct vhost_vring_file err = {
        i, event_notifier_get_fd(&pair->ring[i].error)
    };

    return VNET_IOCTL(pair, VHOST_SET_VRING_NUM, &num, errp) &&
           VNET_IOCTL(pair, VHOST_SET_VRING_BASE, &base, errp) &&
           VNET_IOCTL(pair, VHOST_SET_VRING_ADDR, &addr, errp) &&
           VNET_IOCTL(pair, VHOST_SET_VRING_KICK, &kick, errp) &&
           VNET_IOCTL(pair, VHOST_SET_VRING_CALL, &call, errp) &&
           VNET_IOCTL(pair, VHOST_SET_VRING_ERR, &err, errp) &&
           vnet_set_poll(pair, i, errp);
}

int vhost_dp_vnet_set_backend(VnetPair *pair, int tap_fd)
{
    unsigned i;

    for (i = 0; i < 2; i++) {
        struct vhost_vring_file file = { i, tap_fd };

        if (ioctl(pair->fd, VHOST_NET_SET_BACKEND, &file) < 0) {
            return -errno;
        }
    }
    trace_vhost_dp_vhost_net_backend(vnet_id(pair->vn), pair->index,
                                     tap_fd);
    return 0;
}

unsigned vhost_dp_vnet_get_base(VnetPair *pair, unsigned i)
{
    struct vhost_vring_state base = { .index = i };

    return ioctl(pair->fd, VHOST_GET_VRING_BASE, &base) == 0 ? base.num : 0;
}

void vhost_dp_vnet_set_base(VnetPair *pair, unsigned i, unsigned base)
{
    struct vhost_vring_state state = { .index = i, .num = base };

    ioctl(pair->fd, VHOST_SET_VRING_BASE, &state);
}

/* ---- All together ---- */

static bool vnet_start_pair(VnetPair *pair, Error **errp)
{
    uint64_t features = pair->vn->set->features & VNET_KERNEL_FEATURES;
    int r = 0;
    unsigned i;

    for (i = 0; i < 2 && r == 0; i++) {
        pair->ring[i].pair = pair;
        r = event_notifier_init(&pair->ring[i].error, 0);
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "cannot make an eventfd");
        return false;
    }
    if (!VNET_IOCTL(pair, VHOST_SET_FEATURES, &features, errp) ||
        !vnet_set_memory(pair, errp) ||
        !vnet_set_vring(pair, 0, errp) || !vnet_set_vring(pair, 1, errp)) {
        return false;
    }
    r = vhost_dp_vnet_set_backend(
        pair, pair->vn->parent_obj.queue[pair->index].fd);
    if (r < 0) {
        error_setg_errno(errp, -r, "queue pair %u: vhost-net cannot use "
                         "interface '%s'", pair->index,
                         pair->vn->parent_obj.real_ifname);
    }
    return r == 0;
}

bool vhost_dp_vnet_open(VhostDPVhostNet *vn, Error **errp)
{
    ERRP_GUARD();
    uint64_t features;
    unsigned i;

    if (!vnet_get_fds(vn, errp)) {
        return false;
    }
    for (i = 0; i < vn->npairs; i++) {
        if (!vnet_set_owner(&vn->pair[i], errp)) {
            return false;
        }
    }
    features = vnet_get_features(vn, errp);
    if (!features) {
        return false;
    }
    vn->set = vhost_dp_vqset_new(vn->npairs, vn->queue_size,
                                 vn->hugetlb ? VHOST_DP_VQ_HUGE_PAGES :
                                               VHOST_DP_VQ_SMALL_PAGES, errp);
    if (!vn->set) {
        if (vn->hugetlb) {
            error_prepend(errp, "hugetlb=on: ");
        }
        return false;
    }
    features |= vnet_offload_features(vn->parent_obj.offloads);
    features = vhost_dp_vq_choose_features(features);
    vhost_dp_vqset_start(vn->set, features);
    for (i = 0; i < vn->npairs; i++) {
        if (!vnet_start_pair(&vn->pair[i], errp)) {
            return false;
        }
        vhost_dp_vqpair_set(vn->pair[i].vq, vn->set, NULL);
    }
    trace_vhost_dp_vhost_net_open(vnet_id(vn), vn->npairs, features,
                                  vn->set->size);
    return true;
}

static void vnet_close_pair(VnetPair *pair)
{
    unsigned i;

    if (pair->owner) {
        /* A passed one can be used again, and forgets QEMU's memory now */
        vhost_dp_vnet_set_backend(pair, -1);
        ioctl(pair->fd, VHOST_RESET_OWNER, NULL);
    }
    if (pair->fd >= 0 && !pair->vn->passed.n) {
        close(pair->fd);
    }
    for (i = 0; i < 2; i++) {
        if (pair->ring[i].error.initialized) {
            event_notifier_cleanup(&pair->ring[i].error);
        }
    }
}

void vhost_dp_vnet_close(VhostDPVhostNet *vn)
{
    unsigned i;

    for (i = 0; i < vn->npairs; i++) {
        vnet_close_pair(&vn->pair[i]);
    }
    if (vn->set) {
        vhost_dp_vqset_unref(vn->set);
        vn->set = NULL;
    }
    trace_vhost_dp_vhost_net_close(vnet_id(vn));
}
