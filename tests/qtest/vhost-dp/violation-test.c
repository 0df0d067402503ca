/*
 * vhost-dp: qtests of guests that break the rules of virtqueues
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A queue with a fault stops, its counter is raised, the device asks for a
 * reset (virtio 1.3, 2.1.2); everything else goes on, and after a reset, of the
 * queue or the device, all is well.  A transmitted frame that is not in guest
 * RAM is lost, and nothing else happens.  bad-chains.c
 * has a row for each fault; a row is run in both directions, alone and with
 * other queue pairs.  Sections are those of the virtio specification,
 * version 1.3.
 *
 * Not here: available-index of a packed queue and ring-address, which need
 * more than a chain (memory-test.c).
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "bad-chains.h"

/* ---- One queue pair on a tap interface ---- */

#define FEATURES \
    (DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | \
     DP_FEATURE(VIRTIO_F_RING_RESET) | \
     DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) | DP_FEATURE(VIRTIO_NET_F_CTRL_RX))

static DpRig *rig_new(void)
{
    return dp_rig_start(&(DpSetup) {
        .features = FEATURES,
        .msix = true,
    }, false);
}

static void check_state(DpRig *r, unsigned queue, const char *want)
{
    g_autofree char *state = dp_queue_state(r->qts, "vd0", queue);

    g_assert_cmpstr(state, ==, want);
}

static void check_works(DpRig *r)
{
    dp_check_transmit(r->nic, r->sock, 200, 1);
    dp_check_receive(r->nic, r->sock, 200, 2);
    check_state(r, DP_RX, "running");
    check_state(r, DP_TX, "running");
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void check_promiscuous(DpRig *r)
{
    uint8_t on = 1;

    g_assert_cmpint(dp_nic_ctrl(r->nic, VIRTIO_NET_CTRL_RX,
                                VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), ==,
                    VIRTIO_NET_OK);
}

/*
 * Queue @broken has its fault number @n, and nothing but a reset helps it.  The
 * others go on, the control queue too, and the guest is told.
 */
static void check_broken(DpRig *r, const char *counter, unsigned broken,
                         unsigned n)
{
    uint64_t others = dp_counter(r->qts, "vd0", !broken, counter);
    unsigned i;

    dp_wait_counter(r->qts, "vd0", broken, counter, n);
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    dp_wait_until(dp_config_interrupted(r->nic));
    check_state(r, broken, "broken");
    check_state(r, !broken, "running");

    /* It stays so, and is counted once, however often the guest kicks */
    dp_kick(&r->nic->queue[broken]);
    dp_kick(&r->nic->queue[broken]);
    g_assert_false(dp_has_used(&r->nic->queue[broken]));
    dp_queue_interrupted(r->nic, !broken);
    for (i = 0; i < 2; i++) {
        if (broken == DP_TX) {
            dp_check_receive(r->nic, r->sock, 300, 3 + i);
        } else {
            dp_check_transmit(r->nic, r->sock, 300, 3 + i);
        }
        dp_wait_until(dp_queue_interrupted(r->nic, !broken));
    }
    check_promiscuous(r);
    g_assert_false(dp_has_used(&r->nic->queue[broken]));
    dp_wait_counter(r->qts, "vd0", broken, counter, n);
    dp_wait_counter(r->qts, "vd0", !broken, counter, others);
}

/* The first row of each kind */
static bool row_is_first(const Row *row)
{
    return row == rows || strcmp(row->kind, row[-1].kind);
}

static void check_row(DpRig *r, const Row *row, unsigned queue)
{
    g_autofree char *counter = g_strdup_printf("violation:%s", row->kind);
    unsigned last = row_is_first(row) ? 2 : 1;
    unsigned n;

    dp_rig_restart(r);
    for (n = 1; n <= last; n++) {
        dp_config_interrupted(r->nic);
        run_row(r, row, queue);
        if (queue == DP_RX) {
            /* The frame that meets the fault is lost */
            dp_make_frame(r->frame, 100, 1);
            dp_sock_send(r->sock, NULL, r->frame, 100);
        }
        check_broken(r, counter, queue, n);
        if (n < last) {
            /* Of the queue (2.6.1): the error was in its ring */
            dp_queue_reset(r->nic, queue);
            check_state(r, queue, "stopped");
            dp_queue_restart(r->nic, queue);
        } else {
            dp_rig_restart(r);
        }
        check_works(r);
    }
}

static void test_row(const void *opaque)
{
    const Row *row = opaque;
    DpRig *r = rig_new();

    check_works(r);
    if (row_applies(row, DP_RX)) {
        check_row(r, row, DP_RX);
    }
    if (row_applies(row, DP_TX)) {
        check_row(r, row, DP_TX);
    }
    dp_rig_free(r);
}

/* ---- Four queue pairs ---- */

#define PAIRS 4

static void check_pair(DpRig *r, unsigned pair, unsigned except)
{
    g_autofree uint8_t *frame = g_malloc0(200);

    dp_make_frame(frame, 200, pair);
    if (2 * pair + DP_TX != except) {
        dp_transmit_on(r->nic, pair, NULL, frame, 200);
        check_state(r, 2 * pair + DP_TX, "running");
    }
    if (2 * pair + DP_RX != except) {
        dp_post_on(r->nic, pair, 2, 256);
        dp_receive_on(r->nic, pair, NULL, r->got, DP_MAX_FRAME);
        dp_receive_on(r->nic, pair, NULL, r->got, DP_MAX_FRAME);
        check_state(r, 2 * pair + DP_RX, "running");
    }
}

static void check_pairs(DpRig *r, unsigned except)
{
    unsigned i;

    for (i = 0; i < PAIRS; i++) {
        check_pair(r, i, except);
    }
}

/* A row, on a queue in the middle */
static void check_row_with_pairs(DpRig *r, const Row *row, unsigned queue)
{
    g_autofree char *counter = g_strdup_printf("violation:%s", row->kind);
    uint64_t before = dp_counter(r->qts, "vd0", queue, counter);
    unsigned i;

    g_test_message("%s on virtqueue %u", row->name, queue);
    run_row(r, row, queue);
    dp_wait_counter(r->qts, "vd0", queue, counter, before + 1);
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    check_pairs(r, queue);
    check_state(r, queue, "broken");
    g_assert_false(dp_has_used(&r->nic->queue[queue]));
    for (i = 0; i < 2 * PAIRS; i++) {
        if (i / 2 != queue / 2) {
            dp_wait_counter(r->qts, "vd0", i, counter, 0);
        }
    }
    dp_rig_restart(r);
}

static void test_pairs(const void *opaque)
{
    const unsigned queue = *(const unsigned *)opaque;
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = DP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
        .null = true, .driver = "rate=5000,burst=1", .pairs = PAIRS,
    }, false);
    DpUsage before;
    unsigned i;

    check_pairs(r, UINT_MAX);
    before = dp_usage(r->qts);
    for (i = 0; i < nrows; i++) {
        if (row_is_first(&rows[i]) && row_applies(&rows[i], queue)) {
            check_row_with_pairs(r, &rows[i], queue);
        }
    }
    check_pairs(r, UINT_MAX);
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* ---- More ---- */

/* A chain that cannot be */
static void break_queue(DpRig *r, unsigned queue)
{
    Victim v = { .rig = r, .q = &r->nic->queue[queue] };

    zero_length(&v);
    dp_publish(v.q);
}

/* Chains before the bad one are served, those behind it are not */
static void test_good_before_bad(const void *opaque)
{
    DpRig *r = rig_new();
    Victim v = { .rig = r, .q = r->tx };
    DpBuf bad = { .addr = DP_GPA_UNMAPPED, .len = 0 };
    DpBuf buf = { .len = 112 };
    unsigned i;

    for (i = 0; i < 11; i++) {
        buf.addr = good_buffer(&v);
        dp_add(r->tx, i == 5 ? &bad : &buf, 1);
    }
    dp_publish(r->tx);
    for (i = 0; i < 5; i++) {
        dp_wait_used(r->tx, NULL);
        g_assert_cmpuint(dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                      DP_MAX_FRAME, DP_TIMEOUT_US), ==, 100);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "violation:zero-length", 1);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 5);
    g_assert_false(dp_has_used(r->tx));
    dp_rig_restart(r);
    check_works(r);
    dp_rig_free(r);
}

/* ---- A frame that cannot be read ---- */

/* It is lost, and all that stands before and behind it is sent */
static void check_unreadable(DpRig *r, const DpBuf *bad, unsigned n,
                             bool indirect, unsigned count)
{
    Victim v = { .rig = r, .q = r->tx };
    uint16_t id[3];
    uint32_t len;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(id); i++) {
        DpBuf good = { .addr = good_buffer(&v), .len = 112 };

        id[i] = i != 1 ? dp_add(r->tx, &good, 1) :
                indirect ? dp_add_indirect(r->tx, bad, n) :
                           dp_add(r->tx, bad, n);
    }
    dp_publish(r->tx);
    for (i = 0; i < ARRAY_SIZE(id); i++) {
        g_assert_cmpuint(dp_wait_used(r->tx, &len), ==, id[i]);
        g_assert_cmpuint(len, ==, 0);
    }
    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                      DP_MAX_FRAME, DP_TIMEOUT_US), ==, 100);
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "violation:buffer-address", count);
    dp_wait_counter(r->qts, "vd0", DP_TX, "drop:bad-buffer", count);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 2 * count);
    check_state(r, DP_TX, "running");
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* 2.7.5, 2.8.13: all that a ring says may be right but an address */
static void test_unreadable(const void *opaque)
{
    DpRig *r = rig_new();
    Victim v = { .rig = r, .q = r->tx };
    uint64_t good = good_buffer(&v);
    const DpBuf bad[][2] = {
        { { .addr = DP_GPA_UNMAPPED, .len = 114 } },
        { { .addr = DP_GPA_NOT_RAM, .len = 114 } },
        { { .addr = r->nic->pci->bar.addr, .len = 114 } },
        { { .addr = end_of_ram(&v) - 50, .len = 114 } },
        { { .addr = -50ull, .len = 114 } },
        /* The header, as of a driver that has it in a module's data */
        { { .addr = DP_GPA_UNMAPPED, .len = 12 },
          { .addr = good, .len = 100 } },
        { { .addr = good, .len = 12 },
          { .addr = DP_GPA_UNMAPPED, .len = 100 } },
        { { .addr = DP_GPA_UNMAPPED, .len = UINT32_MAX },
          { .addr = DP_GPA_UNMAPPED, .len = UINT32_MAX } },
    };
    unsigned count = 0;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        unsigned n = bad[i][1].len ? 2 : 1;

        check_unreadable(r, bad[i], n, false, ++count);
        check_unreadable(r, bad[i], n, true, ++count);
    }
    check_works(r);
    dp_rig_free(r);
}

/* Nothing but such frames, more than the ring has room for at once */
static void test_unreadable_flood(const void *opaque)
{
    DpRig *r = rig_new();
    DpBuf bad = { .addr = DP_GPA_UNMAPPED, .len = 114 };
    unsigned size = r->tx->pci.vq.size;
    unsigned i, j;

    for (i = 0; i < 4; i++) {
        for (j = 0; j < size; j++) {
            dp_add(r->tx, &bad, 1);
        }
        dp_publish(r->tx);
        for (j = 0; j < size; j++) {
            dp_wait_used(r->tx, NULL);
        }
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "violation:buffer-address",
                    4 * size);
    dp_wait_counter(r->qts, "vd0", DP_TX, "drop:bad-buffer", 4 * size);
    check_works(r);
    dp_rig_free(r);
}

/* Both queues, again and again */
static void test_both_again(const void *opaque)
{
    DpRig *r = rig_new();
    DpUsage before;
    unsigned i;

    check_works(r);
    before = dp_usage(r->qts);
    for (i = 0; i < 20; i++) {
        break_queue(r, DP_TX);
        break_queue(r, DP_RX);
        dp_make_frame(r->frame, 100, 1);
        dp_sock_send(r->sock, NULL, r->frame, 100);
        dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
        dp_rig_restart(r);
    }
    dp_check_transmit(r->nic, r->sock, 200, 1);
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

static unsigned count_lines(const char *text, const char *with)
{
    unsigned n = 0;

    while ((text = strstr(text, with))) {
        text += strlen(with);
        n++;
    }
    return n;
}

/* A line in QEMU's log for each queue, however often the guest breaks them */
static void test_logged_once(const void *opaque)
{
    g_autofree char *path = NULL;
    g_autofree char *text = NULL;
    int log = g_file_open_tmp("vhost-dp-qtest-XXXXXX", &path, NULL);
    int terminal = dup(STDERR_FILENO);
    DpRig *r;
    unsigned i;

    g_assert_cmpint(log, >=, 0);
    g_assert_cmpint(dup2(log, STDERR_FILENO), >=, 0);
    r = rig_new();
    g_assert_cmpint(dup2(terminal, STDERR_FILENO), >=, 0);
    close(terminal);
    close(log);

    for (i = 0; i < 5; i++) {
        break_queue(r, DP_TX);
        dp_wait_until(dp_config_interrupted(r->nic));
        break_queue(r, DP_RX);
        dp_make_frame(r->frame, 100, 1);
        dp_sock_send(r->sock, NULL, r->frame, 100);
        dp_wait_until(dp_config_interrupted(r->nic));
        dp_rig_restart(r);
    }
    dp_rig_free(r);

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpuint(count_lines(text, "transmit queue 1 stopped"), ==, 1);
    g_assert_cmpuint(count_lines(text, "receive queue 0 stopped"), ==, 1);
    unlink(path);
}

/* A machine reset helps, too, and so does taking the device away */
static void test_system_reset(const void *opaque)
{
    DpRig *r = rig_new();

    break_queue(r, DP_TX);
    dp_wait_until(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    qtest_system_reset(r->qts);
    dp_guest_was_reset(r->guest);
    dp_nic_free(r->nic);
    r->nic = dp_nic_new(r->guest, DP_SLOT, r->features);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
    check_works(r);
    dp_rig_free(r);
}

static void test_quit(const void *opaque)
{
    DpRig *r = rig_new();

    break_queue(r, DP_TX);
    dp_rig_free(r);
}

/* A legacy driver knows no DEVICE_NEEDS_RESET; the rest is as for others */
static void test_legacy(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .device = "disable-legacy=off,disable-modern=on", .msix = true,
    }, false);

    break_queue(r, DP_TX);
    dp_wait_counter(r->qts, "vd0", DP_TX, "violation:zero-length", 1);
    check_state(r, DP_TX, "broken");
    dp_check_receive(r->nic, r->sock, 200, 2);
    dp_wait_until(dp_queue_interrupted(r->nic, DP_RX));
    g_assert_false(dp_nic_status(r->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
    dp_rig_restart(r);
    check_works(r);
    dp_rig_free(r);
}

int main(int argc, char **argv)
{
    static const unsigned rx1 = 2 + DP_RX, tx1 = 2 + DP_TX;
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < nrows; i++) {
        g_autofree char *path = g_strdup_printf("violation/%s", rows[i].name);

        if (rows[i].formats & SPLIT) {
            dp_add_split_test(path, &rows[i], test_row);
        }
        if (rows[i].formats & PACKED) {
            dp_add_packed_test(path, &rows[i], test_row);
        }
    }
    dp_add_ring_test("violation/pairs/rx", &rx1, test_pairs);
    dp_add_ring_test("violation/pairs/tx", &tx1, test_pairs);
    dp_add_ring_test("violation/good-before-bad", NULL, test_good_before_bad);
    dp_add_ring_test("violation/unreadable", NULL, test_unreadable);
    dp_add_ring_test("violation/unreadable-flood", NULL,
                     test_unreadable_flood);
    dp_add_ring_test("violation/both-again", NULL, test_both_again);
    dp_add_ring_test("violation/logged-once", NULL, test_logged_once);
    dp_add_ring_test("violation/system-reset", NULL, test_system_reset);
    dp_add_ring_test("violation/quit", NULL, test_quit);
    dp_add_split_test("violation/legacy", NULL, test_legacy);
    return g_test_run();
}
