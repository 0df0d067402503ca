/*
 * vhost-dp: qtests of guests that break the rules
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A queue with a fault stops, the device asks for a reset (virtio 1.3, 2.1.2),
 * everything else goes on, and after a reset all is well.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "vhost-dp-guest.h"

/* Makes one bad chain available */
typedef void Culprit(DpRig *r, DpQueue *q, bool write);

typedef struct Case {
    const char *name;
    const char *kind;           /* of violation */
    Culprit *fn;
    bool tx_only;
} Case;

#define WRITE_IF(write) ((write) ? VRING_DESC_F_WRITE : 0)

static uint64_t good_buffer(DpRig *r)
{
    uint64_t addr = dp_alloc(r->guest, 2048);
    uint8_t *p = dp_host(r->guest, addr);

    memset(p, 0, 2048);
    dp_make_frame(p + r->nic->hdr_len, 100, 1);
    return addr;
}

/* A chain that is a single descriptor */
static void one_desc(DpQueue *q, uint64_t addr, uint32_t len, uint16_t flags,
                     uint16_t next)
{
    dp_set_desc(&q->desc[0], addr, len, flags, next);
    dp_add_head(q, 0);
}

/* A chain that is an indirect table of one descriptor */
static void indirect_desc(DpRig *r, DpQueue *q, uint64_t addr, uint32_t len,
                          uint16_t flags, uint16_t next)
{
    uint64_t table = dp_alloc(r->guest, 16);

    dp_set_desc(dp_host(r->guest, table), addr, len, flags, next);
    one_desc(q, table, 16, VRING_DESC_F_INDIRECT, 0);
}

/* 2.7.13.3: never more chains than the queue has entries */
static void bad_available_index(DpRig *r, DpQueue *q, bool write)
{
    q->avail_idx += q->pci.vq.size + 1;
}

static void bad_available_index_back(DpRig *r, DpQueue *q, bool write)
{
    q->avail_idx--;
}

static void bad_head(DpRig *r, DpQueue *q, bool write)
{
    dp_add_head(q, q->pci.vq.size);
}

static void bad_next(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, good_buffer(r), 114, WRITE_IF(write) | VRING_DESC_F_NEXT,
             q->pci.vq.size);
}

static void bad_next_indirect(DpRig *r, DpQueue *q, bool write)
{
    indirect_desc(r, q, good_buffer(r), 114,
                  WRITE_IF(write) | VRING_DESC_F_NEXT, 1);
}

static void loop(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, good_buffer(r), 114, WRITE_IF(write) | VRING_DESC_F_NEXT, 0);
}

static void loop_indirect(DpRig *r, DpQueue *q, bool write)
{
    indirect_desc(r, q, good_buffer(r), 114,
                  WRITE_IF(write) | VRING_DESC_F_NEXT, 0);
}

static void loop_of_two(DpRig *r, DpQueue *q, bool write)
{
    dp_set_desc(&q->desc[1], good_buffer(r), 1,
                WRITE_IF(write) | VRING_DESC_F_NEXT, 0);
    one_desc(q, good_buffer(r), 114, WRITE_IF(write) | VRING_DESC_F_NEXT, 1);
}

/* 2.7.4.2: device-readable ones come first */
static void bad_order(DpRig *r, DpQueue *q, bool write)
{
    dp_set_desc(&q->desc[1], good_buffer(r), 114, 0, 0);
    one_desc(q, good_buffer(r), 114, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT,
             1);
}

static void zero_length(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, good_buffer(r), 0, WRITE_IF(write), 0);
}

static void zero_length_at_end(DpRig *r, DpQueue *q, bool write)
{
    dp_set_desc(&q->desc[1], good_buffer(r), 0, WRITE_IF(write), 0);
    one_desc(q, good_buffer(r), 114, WRITE_IF(write) | VRING_DESC_F_NEXT, 1);
}

/* 2.7.5.3.1 */
static void indirect_nested(DpRig *r, DpQueue *q, bool write)
{
    indirect_desc(r, q, good_buffer(r), 16, VRING_DESC_F_INDIRECT, 0);
}

static void indirect_size_odd(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, good_buffer(r), 24, VRING_DESC_F_INDIRECT, 0);
}

static void indirect_size_zero(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, good_buffer(r), 0, VRING_DESC_F_INDIRECT, 0);
}

static void table_unmapped(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, DP_GPA_UNMAPPED, 16, VRING_DESC_F_INDIRECT, 0);
}

static void table_not_ram(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, DP_GPA_NOT_RAM, 16, VRING_DESC_F_INDIRECT, 0);
}

static void table_wraps(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, -16ull, 32, VRING_DESC_F_INDIRECT, 0);
}

static void buffer_unmapped(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, DP_GPA_UNMAPPED, 114, WRITE_IF(write), 0);
}

static void buffer_not_ram(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, DP_GPA_NOT_RAM, 114, WRITE_IF(write), 0);
}

static void buffer_of_a_device(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, r->nic->pci->bar.addr, 114, WRITE_IF(write), 0);
}

static void buffer_leaves_ram(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, 64 * 1024 * 1024 - 50, 114, WRITE_IF(write), 0);
}

static void buffer_wraps(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, -50ull, 114, WRITE_IF(write), 0);
}

static void buffer_wrong_direction(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, good_buffer(r), 114, WRITE_IF(!write), 0);
}

static void short_header(DpRig *r, DpQueue *q, bool write)
{
    one_desc(q, good_buffer(r), r->nic->hdr_len - 1, 0, 0);
}

static void short_header_scattered(DpRig *r, DpQueue *q, bool write)
{
    dp_set_desc(&q->desc[1], good_buffer(r), r->nic->hdr_len - 5, 0, 0);
    one_desc(q, good_buffer(r), 4, VRING_DESC_F_NEXT, 1);
}

/* All descriptors are fine, and 4 GiB in all */
static void chain_length(DpRig *r, DpQueue *q, bool write)
{
    DpBuf bufs[70];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(bufs); i++) {
        bufs[i] = (DpBuf) { .addr = 0x100000, .len = 63 << 20,
                            .write = write };
    }
    dp_add_indirect(q, bufs, ARRAY_SIZE(bufs));
}

static const Case cases[] = {
    { "available-index", "available-index", bad_available_index },
    { "available-index/back", "available-index", bad_available_index_back },
    { "descriptor-index/head", "descriptor-index", bad_head },
    { "descriptor-index/next", "descriptor-index", bad_next },
    { "descriptor-index/indirect", "descriptor-index", bad_next_indirect },
    { "descriptor-loop/one", "descriptor-loop", loop },
    { "descriptor-loop/two", "descriptor-loop", loop_of_two },
    { "descriptor-loop/indirect", "descriptor-loop", loop_indirect },
    { "descriptor-order", "descriptor-order", bad_order },
    { "zero-length/first", "zero-length", zero_length },
    { "zero-length/last", "zero-length", zero_length_at_end },
    { "indirect-nested", "indirect-nested", indirect_nested },
    { "indirect-size/odd", "indirect-size", indirect_size_odd },
    { "indirect-size/zero", "indirect-size", indirect_size_zero },
    { "table-address/unmapped", "table-address", table_unmapped },
    { "table-address/not-ram", "table-address", table_not_ram },
    { "table-address/wraps", "table-address", table_wraps },
    { "buffer-address/unmapped", "buffer-address", buffer_unmapped },
    { "buffer-address/not-ram", "buffer-address", buffer_not_ram },
    { "buffer-address/device", "buffer-address", buffer_of_a_device },
    { "buffer-address/leaves-ram", "buffer-address", buffer_leaves_ram },
    { "buffer-address/wraps", "buffer-address", buffer_wraps },
    { "no-buffer", "no-buffer", buffer_wrong_direction },
    { "short-header/one", "short-header", short_header, .tx_only = true },
    { "short-header/two", "short-header", short_header_scattered,
      .tx_only = true },
    { "chain-length", "chain-length", chain_length },
};

#define FEATURES \
    (DP_FEATURES_DEFAULT | DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC))

static void restart(DpRig *r)
{
    dp_nic_reset(r->nic);
    dp_nic_start(r->nic, FEATURES);
}

static void check_works(DpRig *r)
{
    g_autofree char *rx = NULL;
    g_autofree char *tx = NULL;

    dp_check_transmit(r->nic, r->sock, 200, 1);
    dp_check_receive(r->nic, r->sock, 200, 2);
    rx = dp_queue_state(r->qts, "vd0", DP_RX);
    tx = dp_queue_state(r->qts, "vd0", DP_TX);
    g_assert_cmpstr(rx, ==, "running");
    g_assert_cmpstr(tx, ==, "running");
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* Queue @broken has a fault; nothing but a reset helps it */
static void check_broken(DpRig *r, const Case *c, unsigned broken)
{
    g_autofree char *counter = g_strdup_printf("violation:%s", c->kind);
    g_autofree char *state = NULL;
    g_autofree char *other = NULL;

    dp_wait_counter(r->qts, "vd0", broken, counter, 1);
    dp_wait_counter(r->qts, "vd0", !broken, counter, 0);
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    dp_wait_until(dp_config_interrupted(r->nic));
    state = dp_queue_state(r->qts, "vd0", broken);
    other = dp_queue_state(r->qts, "vd0", !broken);
    g_assert_cmpstr(state, ==, "broken");
    g_assert_cmpstr(other, ==, "running");

    /* It stays so, and is counted once, however often the guest kicks */
    dp_kick(&r->nic->queue[broken]);
    dp_kick(&r->nic->queue[broken]);
    g_assert_false(dp_get_used(&r->nic->queue[broken], NULL, NULL));
    if (broken == DP_TX) {
        dp_check_receive(r->nic, r->sock, 300, 3);
        dp_check_receive(r->nic, r->sock, 300, 4);
    } else {
        dp_check_transmit(r->nic, r->sock, 300, 3);
        dp_check_transmit(r->nic, r->sock, 300, 4);
    }
    dp_wait_counter(r->qts, "vd0", broken, counter, 1);
}

static DpRig *rig_new_msix(void)
{
    DpRig *r = dp_rig_new(0);

    dp_nic_reset(r->nic);
    dp_nic_use_msix(r->nic);
    dp_nic_start(r->nic, FEATURES);
    return r;
}

static void test_tx(const void *opaque)
{
    const Case *c = opaque;
    DpRig *r = rig_new_msix();

    check_works(r);
    restart(r);
    dp_config_interrupted(r->nic);
    c->fn(r, r->tx, false);
    dp_publish(r->tx);
    check_broken(r, c, DP_TX);
    restart(r);
    check_works(r);
    dp_rig_free(r);
}

static void test_rx(const void *opaque)
{
    const Case *c = opaque;
    DpRig *r = rig_new_msix();

    check_works(r);
    restart(r);
    dp_config_interrupted(r->nic);
    c->fn(r, r->rx, true);
    dp_publish(r->rx);
    dp_make_frame(r->frame, 100, 1);
    dp_sock_send(r->sock, NULL, r->frame, 100);
    check_broken(r, c, DP_RX);

    /* The frame that met the fault is lost, others wait for the reset */
    restart(r);
    check_works(r);
    dp_rig_free(r);
}

/* Chains before the bad one are served */
static void test_good_before_bad(const void *opaque)
{
    DpRig *r = rig_new_msix();
    DpBuf buf = { .len = 112 };
    unsigned i;

    for (i = 0; i < 5; i++) {
        buf.addr = good_buffer(r);
        dp_add(r->tx, &buf, 1);
    }
    dp_add_head(r->tx, 1000);
    for (i = 0; i < 5; i++) {
        buf.addr = good_buffer(r);
        dp_add(r->tx, &buf, 1);
    }
    dp_publish(r->tx);
    for (i = 0; i < 5; i++) {
        dp_wait_used(r->tx, NULL);
        g_assert_cmpuint(dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                      DP_MAX_FRAME, DP_TIMEOUT_US), ==, 100);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "violation:descriptor-index", 1);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 5);
    g_assert_false(dp_get_used(r->tx, NULL, NULL));
    restart(r);
    check_works(r);
    dp_rig_free(r);
}

/* Both queues, again and again, with every kind */
static void test_all_again(const void *opaque)
{
    DpRig *r = rig_new_msix();
    DpUsage before = dp_usage(r->qts);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        cases[i].fn(r, r->tx, false);
        dp_publish(r->tx);
        if (!cases[i].tx_only) {
            cases[i].fn(r, r->rx, true);
            dp_publish(r->rx);
            dp_make_frame(r->frame, 100, 1);
            dp_sock_send(r->sock, NULL, r->frame, 100);
        }
        dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
        restart(r);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "violation:descriptor-loop", 3);
    dp_check_transmit(r->nic, r->sock, 200, 1);
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* A machine reset helps, too, and so does taking the device away */
static void test_system_reset(const void *opaque)
{
    DpRig *r = rig_new_msix();

    dp_add_head(r->tx, 1000);
    dp_publish(r->tx);
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    qtest_system_reset(r->qts);
    dp_guest_was_reset(r->guest);
    dp_nic_free(r->nic);
    r->nic = dp_nic_new(r->guest, DP_SLOT, FEATURES);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    check_works(r);
    dp_rig_free(r);
}

static void test_quit(const void *opaque)
{
    DpRig *r = rig_new_msix();

    dp_add_head(r->tx, 1000);
    dp_publish(r->tx);
    dp_rig_free(r);
}

/* Stopped and continued, it is still broken */
static void test_stop_cont(const void *opaque)
{
    DpRig *r = rig_new_msix();

    dp_add_head(r->tx, 1000);
    dp_publish(r->tx);
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
    g_assert_true(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    restart(r);
    check_works(r);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *tx = g_strdup_printf("violation/tx/%s",
                                              cases[i].name);
        g_autofree char *rx = g_strdup_printf("violation/rx/%s",
                                              cases[i].name);

        dp_add_test(tx, &cases[i], test_tx);
        if (!cases[i].tx_only) {
            dp_add_test(rx, &cases[i], test_rx);
        }
    }
    dp_add_test("violation/good-before-bad", NULL, test_good_before_bad);
    dp_add_test("violation/all-again", NULL, test_all_again);
    dp_add_test("violation/system-reset", NULL, test_system_reset);
    dp_add_test("violation/quit", NULL, test_quit);
    dp_add_test("violation/stop-cont", NULL, test_stop_cont);
    return g_test_run();
}
