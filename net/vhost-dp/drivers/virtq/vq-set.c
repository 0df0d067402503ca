/*
 * vhost-dp: private memory with driver-side virtqueues in it
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: control side; no thread of its own, and no lock: a set
 * is made by one thread, and handed over when it is complete.
 *
 * All of it is one memfd, so that a peer has one region to look up: for each
 * virtqueue the three parts of the ring, each on pages of its own, and then its
 * buffers.  What QEMU has to be able to believe (which buffer is where) is in
 * ordinary memory.  The memfd cannot change its size, so that a peer cannot
 * make QEMU's accesses fail.  For the same reason a peer gets no huge pages:
 * see vhost_dp_vqset_new().
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include <sys/socket.h>
#include "qapi/error.h"
#include "qemu/bitmap.h"
#include "qemu/host-utils.h"
#include "qemu/memfd.h"
#include "qemu/mmap-alloc.h"
#include "vq-int.h"

/* Each part begins on a multiple of this */
#define VQ_ALIGN 4096

/* Feature bits that need another one (virtio 1.3, 5.1.3.1) */
static const struct {
    uint8_t feature, needs;
} vq_needs[] = {
    { VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM },
    { VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM },
    { VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_TSO4 },
    { VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_CSUM },
    { VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_CSUM },
    { VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM },
    { VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM },
    { VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_CSUM },
    { VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_CSUM },
    { VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_CSUM },
    { VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_TSO4 },
};

/* Long frames for us; their buffers are too small without MRG_RXBUF */
#define VQ_LONG_RX_FEATURES                                           \
    (1ULL << VIRTIO_NET_F_GUEST_TSO4 | 1ULL << VIRTIO_NET_F_GUEST_TSO6 |\
     1ULL << VIRTIO_NET_F_GUEST_ECN | 1ULL << VIRTIO_NET_F_GUEST_UFO |\
     1ULL << VIRTIO_NET_F_GUEST_USO4 | 1ULL << VIRTIO_NET_F_GUEST_USO6)

static bool vq_has(uint64_t features, unsigned bit)
{
    return features & (1ULL << bit);
}

uint64_t vhost_dp_vq_choose_features(uint64_t offered)
{
    uint64_t features = offered & VHOST_DP_VQ_FEATURES;
    unsigned i;

    if (!vq_has(features, VIRTIO_NET_F_MRG_RXBUF)) {
        features &= ~VQ_LONG_RX_FEATURES;
    }
    for (i = 0; i < ARRAY_SIZE(vq_needs); i++) {
        if (!vq_has(features, vq_needs[i].needs)) {
            features &= ~(1ULL << vq_needs[i].feature);
        }
    }
    return features;
}

typedef struct VqOffload {
    uint8_t feature;
    uint32_t offload;
} VqOffload;

static uint32_t vq_offloads(uint64_t features, const VqOffload *map, size_t n)
{
    uint32_t offloads = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        if (vq_has(features, map[i].feature)) {
            offloads |= map[i].offload;
        }
    }
    return offloads;
}

uint32_t vhost_dp_vq_tx_offloads(uint64_t features)
{
    static const VqOffload map[] = {
        { VIRTIO_NET_F_CSUM, VHOST_DP_OFFLOAD_CSUM },
        { VIRTIO_NET_F_HOST_TSO4, VHOST_DP_OFFLOAD_TSO4 },
        { VIRTIO_NET_F_HOST_TSO6, VHOST_DP_OFFLOAD_TSO6 },
        { VIRTIO_NET_F_HOST_ECN, VHOST_DP_OFFLOAD_ECN },
        { VIRTIO_NET_F_HOST_UFO, VHOST_DP_OFFLOAD_UFO },
        { VIRTIO_NET_F_HOST_USO,
          VHOST_DP_OFFLOAD_USO4 | VHOST_DP_OFFLOAD_USO6 },
    };

    return vq_offloads(features, map, ARRAY_SIZE(map));
}

uint32_t vhost_dp_vq_rx_offloads(uint64_t features)
{
    static const VqOffload map[] = {
        { VIRTIO_NET_F_GUEST_CSUM, VHOST_DP_OFFLOAD_CSUM },
        { VIRTIO_NET_F_GUEST_TSO4, VHOST_DP_OFFLOAD_TSO4 },
        { VIRTIO_NET_F_GUEST_TSO6, VHOST_DP_OFFLOAD_TSO6 },
        { VIRTIO_NET_F_GUEST_ECN, VHOST_DP_OFFLOAD_ECN },
        { VIRTIO_NET_F_GUEST_UFO, VHOST_DP_OFFLOAD_UFO },
        { VIRTIO_NET_F_GUEST_USO4, VHOST_DP_OFFLOAD_USO4 },
        { VIRTIO_NET_F_GUEST_USO6, VHOST_DP_OFFLOAD_USO6 },
    };

    return vq_offloads(features, map, ARRAY_SIZE(map));
}

/* ---- Memory ---- */

/* Where the parts of a virtqueue are, from its start.  For either format. */
typedef struct VqLayout {
    size_t driver, device, buf, size;
} VqLayout;

static VqLayout vq_layout(unsigned num)
{
    VqLayout l;

    /* The split descriptor table, and the packed ring, take 16 bytes each */
    l.driver = ROUND_UP(num * sizeof(struct vring_desc), VQ_ALIGN);
    l.device = l.driver + ROUND_UP(sizeof(struct vring_avail) +
                                   (num + 1) * sizeof(uint16_t), VQ_ALIGN);
    l.buf = l.device + ROUND_UP(sizeof(struct vring_used) + sizeof(uint16_t) +
                                num * sizeof(struct vring_used_elem),
                                VQ_ALIGN);
    l.size = l.buf + ROUND_UP((size_t)num * VHOST_DP_VQ_BUF_BYTES, VQ_ALIGN);
    return l;
}

/* Make the memfd and map it.  Its size is rounded up to its pages. */
static bool vqset_map(VhostDPVqSet *set, size_t size, VhostDPVqPages pages,
                      Error **errp)
{
    ERRP_GUARD();
    const bool huge = pages == VHOST_DP_VQ_HUGE_PAGES;
    const int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    void *p;

    set->fd = memfd_create("vhost-dp-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING |
                           (huge ? MFD_HUGETLB : 0));
    if (set->fd < 0) {
        error_setg_errno(errp, errno, "cannot make a memfd%s",
                         huge ? " of huge pages" : "");
        return false;
    }
    size = ROUND_UP(size, qemu_fd_getpagesize(set->fd));
    if (ftruncate(set->fd, size) < 0 ||
        fcntl(set->fd, F_ADD_SEALS, seals) < 0) {
        error_setg_errno(errp, errno, "cannot make a memfd of %zu bytes",
                         size);
        return false;
    }
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, set->fd, 0);
    if (p == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot map a memfd of %zu bytes", size);
        if (huge) {
            error_append_hint(errp, "sysctl vm.nr_hugepages=N reserves "
                              "pages.\n");
        }
        return false;
    }
    set->base = p;
    set->size = size;
    return true;
}

static bool vqset_init_vq(VhostDPVqSet *set, unsigned i, const VqLayout *l,
                          Error **errp)
{
    VhostDPVq *vq = &set->vq[i];
    uint8_t *base = set->base + i * l->size;
    int r;

    vq->rx = i % 2 == 0;
    vq->num = set->num;
    vq->desc = base;
    vq->driver = base + l->driver;
    vq->device = base + l->device;
    vq->buf = base + l->buf;
    vq->buf_iova = VHOST_DP_VQ_IOVA + vhost_dp_vqset_offset(set, vq->buf);
    vq->busy = bitmap_new(set->num);
    vq->bufs = g_new0(VhostDPVqBuf, set->num);
    r = event_notifier_init(&vq->kick, 0);
    if (!r) {
        r = event_notifier_init(&vq->call, 0);
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "cannot make an eventfd");
    }
    return !r;
}

bool vhost_dp_vq_check_num(uint32_t num, Error **errp)
{
    if (!is_power_of_2(num) || num < VHOST_DP_VQ_MIN_NUM ||
        num > VHOST_DP_VQ_MAX_NUM) {
        error_setg(errp, "queue-size=%u: powers of 2 from %u to %u are "
                   "accepted", num, VHOST_DP_VQ_MIN_NUM, VHOST_DP_VQ_MAX_NUM);
        return false;
    }
    return true;
}

VhostDPVqSet *vhost_dp_vqset_new(unsigned pairs, unsigned num,
                                 VhostDPVqPages pages, Error **errp)
{
    VqLayout l = vq_layout(num);
    VhostDPVqSet *set;
    unsigned i;

    assert(pairs && pairs <= VHOST_DP_VQ_MAX_PAIRS && is_power_of_2(num) &&
           num >= VHOST_DP_VQ_MIN_NUM && num <= VHOST_DP_VQ_MAX_NUM);
    set = g_new0(VhostDPVqSet, 1);
    set->refs = 1;
    set->pairs = pairs;
    set->num = num;
    set->fd = -1;
    set->vq = g_new0(VhostDPVq, 2 * pairs);
    if (!vqset_map(set, 2 * pairs * l.size, pages, errp)) {
        vhost_dp_vqset_unref(set);
        return NULL;
    }
    for (i = 0; i < 2 * pairs; i++) {
        if (!vqset_init_vq(set, i, &l, errp)) {
            vhost_dp_vqset_unref(set);
            return NULL;
        }
    }
    return set;
}

bool vhost_dp_vqset_guard(VhostDPVqSet *set, Error **errp)
{
    unsigned i;

    for (i = 0; i < 2 * set->pairs; i++) {
        EventNotifier *kick = &set->vq[i].kick;
        int fds[2];

        /* A pipe would do, if reading it did not lock out who writes */
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                       fds) < 0) {
            error_setg_errno(errp, errno, "cannot make a pair of sockets");
            return false;
        }
        event_notifier_cleanup(kick);
        kick->rfd = fds[0];
        kick->wfd = fds[1];
        kick->initialized = true;
    }
    return true;
}

void vhost_dp_vqset_set_num(VhostDPVqSet *set, unsigned num)
{
    unsigned i;

    assert(is_power_of_2(num) && num >= VHOST_DP_VQ_MIN_NUM &&
           num <= set->num);
    for (i = 0; i < 2 * set->pairs; i++) {
        set->vq[i].num = num;
    }
}

static void vqset_start_vq(VhostDPVq *vq, uint64_t features)
{
    vq->packed = vq_has(features, VIRTIO_F_RING_PACKED);
    vq->event_idx = vq_has(features, VIRTIO_RING_F_EVENT_IDX);
    vq->mergeable = vq_has(features, VIRTIO_NET_F_MRG_RXBUF);
    if (vq->packed) {
        vq->next_avail = vq->next_used = vq->flushed = VQ_WRAP;
    }
    vq->nfree = vq->num;
    vq->wanted = 1;
    vq->call_enabled = true;
    vhost_dp_vq_disable_call(vq);
    if (vq->rx) {
        vhost_dp_vq_post_all(vq);
        /* Nobody to be kicked yet: a peer looks when it gets the ring */
        vhost_dp_vq_flush(vq);
    }
}

void vhost_dp_vqset_start(VhostDPVqSet *set, uint64_t features)
{
    unsigned i;

    assert((features & VHOST_DP_VQ_NEEDED_FEATURES) ==
           VHOST_DP_VQ_NEEDED_FEATURES);
    set->features = features;
    for (i = 0; i < 2 * set->pairs; i++) {
        vqset_start_vq(&set->vq[i], features);
    }
}

VhostDPVqSet *vhost_dp_vqset_ref(VhostDPVqSet *set)
{
    qatomic_inc(&set->refs);
    return set;
}

static void vqset_free(VhostDPVqSet *set)
{
    unsigned i;

    for (i = 0; i < 2 * set->pairs; i++) {
        VhostDPVq *vq = &set->vq[i];

        if (vq->kick.initialized) {
            event_notifier_cleanup(&vq->kick);
        }
        if (vq->call.initialized) {
            event_notifier_cleanup(&vq->call);
        }
        g_free(vq->busy);
        g_free(vq->bufs);
    }
    if (set->base) {
        munmap(set->base, set->size);
    }
    if (qatomic_read(&set->discard)) {
        fallocate(set->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                  set->size);
    }
    if (set->fd >= 0) {
        close(set->fd);
    }
    g_free(set->vq);
    g_free(set);
}

void vhost_dp_vqset_discard(VhostDPVqSet *set)
{
    qatomic_set(&set->discard, true);
}

void vhost_dp_vqset_unref(VhostDPVqSet *set)
{
    if (qatomic_fetch_dec(&set->refs) == 1) {
        vqset_free(set);
    }
}
