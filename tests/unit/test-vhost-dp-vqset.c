/*
 * vhost-dp: tests of sets of driver-side virtqueues, and of their features
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "net/vhost-dp/drivers/virtq/vq-int.h"

#define BIT_OF(x) (1ULL << VIRTIO_NET_F_##x)

static void test_set(void)
{
    VhostDPVqSet *set = vhost_dp_vqset_new(3, 256, VHOST_DP_VQ_SMALL_PAGES,
                                           &error_abort);
    struct stat st;
    unsigned i;

    g_assert_cmpint(fstat(set->fd, &st), ==, 0);
    g_assert_cmpuint(st.st_size, ==, set->size);
    /* A peer cannot take memory away that QEMU uses */
    g_assert_cmpint(ftruncate(set->fd, 0), ==, -1);
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_cmpint(fcntl(set->fd, F_ADD_SEALS, F_SEAL_WRITE), ==, -1);

    vhost_dp_vqset_start(set, VHOST_DP_VQ_FEATURES);
    for (i = 0; i < 6; i++) {
        VhostDPVq *vq = &set->vq[i];

        g_assert_cmpint(vq->rx, ==, i % 2 == 0);
        g_assert_cmpuint(vhost_dp_vqset_offset(set, vq->desc) % 16, ==, 0);
        g_assert_cmpuint(vhost_dp_vqset_offset(set, vq->buf) +
                         vq->num * VHOST_DP_VQ_BUF_BYTES, <=, set->size);
        g_assert_true(vq->rx || vq->nfree == 256);
    }
    g_assert_true(vhost_dp_vqset_ref(set) == set);
    vhost_dp_vqset_unref(set);
    g_assert_cmpint(fcntl(set->fd, F_GETFD), >=, 0);
    vhost_dp_vqset_unref(set);
}

/*
 * Flags of an open file belong to all processes that have it.  What a peer does
 * to its own must not make QEMU wait, or the alarm ends the test.
 */
static void test_hostile_fds(void)
{
    VhostDPVqSet *set = vhost_dp_vqset_new(1, 64, VHOST_DP_VQ_SMALL_PAGES,
                                           &error_abort);
    const uint64_t most = UINT64_MAX - 1;
    unsigned i, k;

    g_assert_true(vhost_dp_vqset_guard(set, &error_abort));
    alarm(60);
    for (i = 0; i < 2; i++) {
        VhostDPVq *vq = &set->vq[i];
        int kick = event_notifier_get_fd(&vq->kick);
        int call = event_notifier_get_fd(&vq->call);
        uint64_t value;

        /* A kick is what it is on an eventfd, for a peer that reads */
        g_assert_cmpint(event_notifier_set(&vq->kick), ==, 0);
        g_assert_cmpint(read(kick, &value, sizeof(value)), ==, sizeof(value));
        g_assert_cmpuint(value, ==, 1);
        g_assert_cmpint(read(kick, &value, sizeof(value)), ==, -1);
        g_assert_cmpint(errno, ==, EAGAIN);

        /* For one that does not, and fills it up where it can */
        g_assert_cmpint(fcntl(kick, F_SETFL, 0), ==, 0);
        g_assert_cmpint(write(kick, &most, sizeof(most)), ==, sizeof(most));
        for (k = 0; k < 10000; k++) {
            g_assert_cmpint(event_notifier_set(&vq->kick), ==, 0);
        }
        g_assert_cmpint(read(kick, &value, sizeof(value)), ==, sizeof(value));

        /* A call that is taken back before it is looked at */
        g_assert_cmpint(fcntl(call, F_SETFL, 0), ==, 0);
        g_assert_cmpint(event_notifier_set(&vq->call), ==, 0);
        vhost_dp_vq_clear_call(vq);
        vhost_dp_vq_clear_call(vq);
    }
    alarm(0);
    vhost_dp_vqset_unref(set);
}

static void test_features(void)
{
    const uint64_t base = 1ULL << VIRTIO_F_VERSION_1 | BIT_OF(MRG_RXBUF);

    /* What is not known is not taken */
    g_assert_cmphex(vhost_dp_vq_choose_features(-1ULL), ==,
                    VHOST_DP_VQ_FEATURES);
    g_assert_cmphex(vhost_dp_vq_choose_features(0), ==, 0);
    /* A feature without the one that it needs (5.1.3.1) */
    g_assert_cmphex(vhost_dp_vq_choose_features(base | BIT_OF(HOST_TSO4) |
                                                BIT_OF(GUEST_TSO6)), ==, base);
    g_assert_cmphex(vhost_dp_vq_choose_features(
                        base | BIT_OF(CSUM) | BIT_OF(HOST_ECN)), ==,
                    base | BIT_OF(CSUM));
    /* Long frames do not fit */
    g_assert_cmphex(vhost_dp_vq_choose_features(-1ULL & ~BIT_OF(MRG_RXBUF)) &
                    BIT_OF(GUEST_TSO4), ==, 0);
    g_assert_cmphex(vhost_dp_vq_choose_features(VHOST_DP_VQ_RING_FEATURES), ==,
                    base | 1ULL << VIRTIO_F_RING_PACKED |
                    1ULL << VIRTIO_RING_F_EVENT_IDX);

    g_assert_cmphex(vhost_dp_vq_tx_offloads(VHOST_DP_VQ_FEATURES), ==,
                    VHOST_DP_OFFLOAD_ALL);
    g_assert_cmphex(vhost_dp_vq_tx_offloads(base), ==, 0);
    g_assert_cmphex(vhost_dp_vq_tx_offloads(BIT_OF(CSUM) |
                                            BIT_OF(HOST_USO)), ==,
                    VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_USO4 |
                    VHOST_DP_OFFLOAD_USO6);
    g_assert_cmphex(vhost_dp_vq_rx_offloads(VHOST_DP_VQ_FEATURES), ==,
                    VHOST_DP_OFFLOAD_ALL);
    g_assert_cmphex(vhost_dp_vq_rx_offloads(base | BIT_OF(CSUM)), ==, 0);
    g_assert_cmphex(vhost_dp_vq_rx_offloads(BIT_OF(GUEST_CSUM) |
                                            BIT_OF(GUEST_USO4)), ==,
                    VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_USO4);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost-dp/vq/set", test_set);
    g_test_add_func("/vhost-dp/vq/hostile-fds", test_hostile_fds);
    g_test_add_func("/vhost-dp/vq/features", test_features);
    return g_test_run();
}
