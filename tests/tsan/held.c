/*
 * vhost-dp: control operations while the IOThread gets no CPU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: back end, rings and engine are the real ones, as in
 * stress.c, but guest and driver do what the test says, and the IOThread stands
 * still in a bottom half of the test's while control does something.  What
 * would be a matter of luck otherwise happens each time: a queue that is reset
 * and enabled before the engine has noticed either.
 */

#include "qemu/osdep.h"
#include <sys/eventfd.h>
#include <sys/resource.h>
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-types-vhost-dp.h"
#include "linux-headers/linux/vhost.h"
#include "standard-headers/linux/virtio_net.h"
#include "tests/vhost-dp/lib/frames.h"
#include "emulator.h"
#include "held.h"

/* ---- Tests ---- */

typedef struct Restart {
    const char *name;
    bool device;                /* or one queue */
    bool ready_first;
} Restart;

static const Restart restarts[] = {
    { "queue", false, false },
    { "queue-and-driver", false, true },
    { "device", true, false },
    { "device-and-driver", true, true },
};

static void restart(const Restart *r, unsigned queue)
{
    ready_first = r->ready_first;
    if (r->device) {
        nic_stop(nic);
        nic_start(nic);
    } else {
        nic_restart_queue(nic, queue);
    }
}

/* 2.6.1.1: nothing of before the reset.  Here: segments of a frame. */
static void test_rest(const void *opaque)
{
    FrameSpec spec = {
        .tcp = true,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .gso_size = 100,
    };
    struct virtio_net_hdr_v1 *hdr;

    rig_begin(false);
    hdr = (void *)nic->guest->buffer[VHOST_DP_TX][0];
    spec.payload = TX_LEN - frames_len(&spec);
    frames_build(&spec, (uint8_t *)(hdr + 1));
    *hdr = (struct virtio_net_hdr_v1) {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = spec.gso_type,
        .hdr_len = cpu_to_le16(spec.data),
        .gso_size = cpu_to_le16(spec.gso_size),
        .csum_start = cpu_to_le16(spec.l4),
        .csum_offset = cpu_to_le16(16),
    };
    qatomic_set(&driver->room, 3);
    post(VHOST_DP_TX, 0);
    g_assert_cmpuint(reap(VHOST_DP_TX).id, ==, 0);
    g_assert_cmpuint(qatomic_read(&driver->sent), ==, 3);

    hold();
    restart(opaque, VHOST_DP_TX);
    qatomic_set(&driver->room, 100);
    memset(nic->guest->buffer[VHOST_DP_TX][1], 0, HDR_LEN);
    post(VHOST_DP_TX, 1);
    release();
    g_assert_cmpuint(reap(VHOST_DP_TX).id, ==, 1);
    g_assert_cmpuint(qatomic_read(&driver->sent), ==, 4);
    g_assert_cmpuint(qatomic_read(&driver->sent_whole), ==, 1);
    g_assert_cmpuint(count_stopped(VHOST_DP_TX), ==, 1);
    rig_end();
}

/* The same for frames that wait for the guest's buffers */
static void test_lent(const void *opaque)
{
    unsigned i;

    rig_begin(false);
    qatomic_set(&driver->content, 1);
    qatomic_set(&driver->have, 3);
    aio_bh_schedule_oneshot(iothread_get_aio_context(iothread), ready_bh, NULL);
    wait_until(qatomic_read(&driver->lent) == 3);

    hold();
    restart(opaque, VHOST_DP_RX);
    qatomic_set(&driver->content, 2);
    qatomic_set(&driver->have, 2);
    for (i = 0; i < 8; i++) {
        post(VHOST_DP_RX, i);
    }
    release();
    for (i = 0; i < 2; i++) {
        RingUsed used = reap(VHOST_DP_RX);

        g_assert_cmpuint(used.id, ==, i);
        g_assert_cmpuint(used.len, ==, HDR_LEN + RX_LEN);
        g_assert_cmphex(nic->guest->buffer[VHOST_DP_RX][i][used.len - 1], ==,
                        2);
    }
    g_assert_false(ring_has_used(&nic->guest->ring[VHOST_DP_RX]));
    g_assert_cmpuint(count_stopped(VHOST_DP_RX), ==, 3);
    rig_end();
}

/* Pair @pair's driver receives it, and the guest has no buffers */
static void receive_special(VhostDPFrame *frame, unsigned pair)
{
    driver->pair = pair;
    driver->special = frame;
    qatomic_set(&driver->have, 1);
    aio_bh_schedule_oneshot(iothread_get_aio_context(pair ? second : iothread),
                            ready_bh, NULL);
    wait_until(qatomic_read(&driver->lent) == 1);
}

/*
 * A frame that its guest has to get in segments, and has got none of yet, goes
 * to the first pair as it came.
 */
static void test_handed_over(const void *opaque)
{
    FrameSpec spec = {
        .tcp = true,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .gso_size = 100,
    };
    VhostDPFrame frame = script_make_frame(&spec);
    struct virtio_net_hdr_v1 *hdr;

    rig_begin_pairs(2, false);
    vhost_dp_port_set_offloads(nic->port, VHOST_DP_OFFLOAD_CSUM |
                                          VHOST_DP_OFFLOAD_TSO4);
    receive_special(&frame, 1);
    /* That turn has ended: there was no buffer */
    wait_for_pass(second);

    post(VHOST_DP_RX, 0);
    nic_enable(set->nic[1], false);
    g_assert_cmpuint(reap(VHOST_DP_RX).len, ==, HDR_LEN + TX_LEN);
    hdr = (void *)nic->guest->buffer[VHOST_DP_RX][0];
    g_assert_cmphex(hdr->gso_type, ==, spec.gso_type);
    g_assert_cmpuint(le16_to_cpu(hdr->gso_size), ==, spec.gso_size);
    g_assert_cmpint(memcmp(hdr + 1, frame.inl[0].iov_base, TX_LEN), ==, 0);
    wait_until(qatomic_read(&driver->lent) == 0);
    rig_end();
}

/*
 * Drivers set no hash: a guest that asks for hashes before it gets the frame is
 * told of none.  @opaque: the pair that receives it: the second one hands it
 * over, the first one has begun to complete its checksum
 */
static void test_unhashed(const void *opaque)
{
    unsigned pair = GPOINTER_TO_UINT(opaque);
    VhostDPControlState state = { .promisc = true, .hash_report = true };
    g_autoptr(VhostDPControl) control = vhost_dp_control_new(&state);
    FrameSpec spec = { .tcp = true };
    VhostDPFrame frame = script_make_frame(&spec);
    struct virtio_net_hdr_v1_hash *hdr;

    rig_begin_pairs(2, false);
    vhost_dp_port_set_hdr_len(nic->port, sizeof(*hdr));
    receive_special(&frame, pair);
    wait_for_pass(pair ? second : iothread);
    nic_enable(set->nic[1], false);
    wait_until(!pair || qatomic_read(&driver->lent) == 0);

    vhost_dp_portset_set_control(set->ports, control);
    wait_for_pass(iothread);
    post(VHOST_DP_RX, 0);
    g_assert_cmpuint(reap(VHOST_DP_RX).len, ==, sizeof(*hdr) + TX_LEN);
    hdr = (void *)nic->guest->buffer[VHOST_DP_RX][0];
    g_assert_cmphex(hdr->hash_report, ==, VIRTIO_NET_HASH_REPORT_NONE);
    g_assert_cmphex(hdr->hash_value, ==, 0);
    rig_end();
}

/* ---- A driver queue for two pairs ---- */

static void set_queues_bh(void *opaque)
{
    vhost_dp_port_set_queues(driver->ports[1], GPOINTER_TO_UINT(opaque));
}

/* The second pair has a driver queue of its own if @n is 2 */
static void set_queues(unsigned n)
{
    aio_bh_schedule_oneshot(iothread_get_aio_context(second), set_queues_bh,
                            GUINT_TO_POINTER(n));
    wait_for_pass(second);
}

static void rig_begin_sharing(void)
{
    unsigned i;

    ready_first = false;
    rig_begin_pairs(2, false);
    for (i = 0; i < 2; i++) {
        memset(nic->guest->buffer[VHOST_DP_TX][i], 0, HDR_LEN);
        memset(set->nic[1]->guest->buffer[VHOST_DP_TX][i], 0, HDR_LEN);
    }
    set_queues(1);
    wait_for_pass(iothread);
}

/* What the second pair has sent waits for the first one's thread */
static void test_shared_late(const void *opaque)
{
    rig_begin_sharing();
    qatomic_set(&driver->room, 10);
    hold();
    post_to(set->nic[1], VHOST_DP_TX, 0);
    g_assert_cmpuint(reap_from(set->nic[1], VHOST_DP_TX).id, ==, 0);
    post(VHOST_DP_TX, 0);
    g_assert_cmpuint(qatomic_read(&driver->sent), ==, 0);
    release();
    wait_until(qatomic_read(&driver->sent) == 2);
    g_assert_cmpuint(qatomic_read(&driver->order), ==, 11);
    reap(VHOST_DP_TX);
    rig_end();
}

/* It gets a driver queue, and uses it only after what it sent before is sent */
static void test_shared_to_own(const void *opaque)
{
    Nic *nic1;

    rig_begin_sharing();
    nic1 = set->nic[1];
    qatomic_set(&driver->room, 10);
    hold();
    post_to(nic1, VHOST_DP_TX, 0);
    g_assert_cmpuint(reap_from(nic1, VHOST_DP_TX).id, ==, 0);
    set_queues(2);
    post_to(nic1, VHOST_DP_TX, 1);
    wait_for_pass(second);
    g_assert_cmpuint(qatomic_read(&driver->sent), ==, 0);
    g_assert_false(ring_has_used(&nic1->guest->ring[VHOST_DP_TX]));
    release();
    g_assert_cmpuint(reap_from(nic1, VHOST_DP_TX).id, ==, 1);
    g_assert_cmpuint(qatomic_read(&driver->order), ==, 12);

    /* And back, which needs no wait */
    set_queues(1);
    hold();
    post_to(nic1, VHOST_DP_TX, 0);
    g_assert_cmpuint(reap_from(nic1, VHOST_DP_TX).id, ==, 0);
    release();
    wait_until(qatomic_read(&driver->order) == 121);
    rig_end();
}

/* Its choice is void before it took effect: it goes on as it was */
static void test_shared_and_back(const void *opaque)
{
    Nic *nic1;

    rig_begin_sharing();
    nic1 = set->nic[1];
    hold();
    post_to(nic1, VHOST_DP_TX, 0);
    reap_from(nic1, VHOST_DP_TX);
    set_queues(2);
    set_queues(1);
    post_to(nic1, VHOST_DP_TX, 1);
    g_assert_cmpuint(reap_from(nic1, VHOST_DP_TX).id, ==, 1);
    release();
    /* The driver has no room for a while */
    wait_for_pass(iothread);
    g_assert_cmpuint(qatomic_read(&driver->sent), ==, 0);
    qatomic_set(&driver->room, 10);
    driver->pair = 0;
    ready_first = true;
    hold();
    release();
    wait_until(qatomic_read(&driver->sent) == 2);
    g_assert_cmpuint(qatomic_read(&driver->order), ==, 1);
    rig_end();
}

/* ---- RSS ---- */

/* From now on all frames are for the second pair */
static void steer_to_second(void)
{
    VhostDPControlState state = {
        .promisc = true, .pairs = 2, .rss = true,
        .default_pair = 1, .indirection_len = 1,
    };
    g_autoptr(VhostDPControl) control = vhost_dp_control_new(&state);

    vhost_dp_portset_set_control(set->ports, control);
}

static void receive_by_first(unsigned n, uint8_t content)
{
    qatomic_set(&driver->content, content);
    qatomic_set(&driver->have, n);
    aio_bh_schedule_oneshot(iothread_get_aio_context(iothread), ready_bh, NULL);
}

/* The first pair's thread has dealt with all of them, and given them back */
static void wait_for_first(void)
{
    wait_until(!qatomic_read(&driver->have) && !qatomic_read(&driver->lent));
}

static void check_second(unsigned id, uint8_t content)
{
    RingUsed used = reap_from(set->nic[1], VHOST_DP_RX);
    uint8_t *buffer = set->nic[1]->guest->buffer[VHOST_DP_RX][id];

    g_assert_cmpuint(used.id, ==, id);
    g_assert_cmpuint(used.len, ==, HDR_LEN + RX_LEN);
    g_assert_cmphex(buffer[used.len - 1], ==, content);
}

static void rig_begin_steering(void)
{
    unsigned i;

    ready_first = false;
    rig_begin_pairs(2, false);
    for (i = 0; i < 8; i++) {
        post(VHOST_DP_RX, i);
        post_to(set->nic[1], VHOST_DP_RX, i);
    }
    wait_for_pass(iothread);
    wait_for_pass(second);
}

static void rig_end_steering(void)
{
    g_assert_false(ring_has_used(&nic->guest->ring[VHOST_DP_RX]));
    g_assert_false(ring_has_used(&set->nic[1]->guest->ring[VHOST_DP_RX]));
    rig_end();
}

/*
 * The guest enables a pair, and then has frames steered to it: they come there,
 * however long that pair's thread gets no CPU
 */
static void test_steered_to_enabled(const void *opaque)
{
    unsigned i;

    rig_begin_steering();
    nic_enable(set->nic[1], false);
    wait_for_pass(second);

    hold_thread(second);
    nic_enable(set->nic[1], true);
    steer_to_second();
    receive_by_first(3, 1);
    wait_for_first();
    release();
    for (i = 0; i < 3; i++) {
        check_second(i, 1);
    }
    rig_end_steering();
}

/* The same when the other pair's queue, or device, starts anew: 2.6.1.1 */
static void test_steered_to_restarted(const void *opaque)
{
    const Restart *r = opaque;
    unsigned i;

    rig_begin_steering();
    steer_to_second();
    wait_for_pass(iothread);
    hold_thread(second);
    receive_by_first(2, 1);
    wait_for_first();
    if (r->device) {
        nic_stop(set->nic[1]);
        nic_start(set->nic[1]);
    } else {
        nic_restart_queue(set->nic[1], VHOST_DP_RX);
    }
    receive_by_first(3, 2);
    wait_for_first();
    release();
    for (i = 0; i < 3; i++) {
        check_second(i, 2);
    }
    g_assert_cmpuint(count_stopped_of(set->nic[1], VHOST_DP_RX), ==, 2);
    rig_end_steering();
}

/* What comes after the command is steered, in a turn that began before, too */
static void test_steered_at_once(const void *opaque)
{
    rig_begin_steering();
    ready_first = true;
    hold();
    steer_to_second();
    qatomic_set(&driver->content, 1);
    qatomic_set(&driver->have, 1);
    release();
    check_second(0, 1);
    ready_first = false;
    rig_end_steering();
}

/* A queue that does not run is no reason to lose frames, or to wait */
static void test_steered_to_stopped(const void *opaque)
{
    rig_begin_steering();
    nic_stop(set->nic[1]);
    wait_for_pass(second);
    steer_to_second();
    receive_by_first(1, 1);
    g_assert_cmpuint(reap(VHOST_DP_RX).id, ==, 0);
    nic_start(set->nic[1]);
    receive_by_first(1, 2);
    check_second(0, 2);
    rig_end_steering();
}

/* ---- Descriptors ---- */

static unsigned count_fds(int *highest)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    unsigned n = 0;

    *highest = 0;
    while ((entry = readdir(dir))) {
        *highest = MAX(*highest, atoi(entry->d_name));
        n++;
    }
    closedir(dir);
    return n;
}

/* However often queues start, they take no more descriptors */
static void test_kick_fds(const void *opaque)
{
    unsigned before, i;
    int highest;

    rig_begin(false);
    check_transmit();
    ready_first = false;
    hold();
    before = count_fds(&highest);
    for (i = 0; i < 100; i++) {
        nic_restart_queue(nic, i % VHOST_DP_QUEUES);
        nic_replace_kick(nic, i % VHOST_DP_QUEUES);
        nic_stop(nic);
        nic_start(nic);
        g_assert_cmpuint(count_fds(&highest), ==, before);
    }
    release();
    /* The engine hears the newest of them, and no other */
    check_transmit();
    for (i = 0; i < 5; i++) {
        nic_stop(nic);
        nic_start(nic);
        check_transmit();
    }
    g_assert_cmpuint(count_fds(&highest), ==, before);
    rig_end();
}

/* Take all descriptors that there are; returns a list of them */
static GArray *take_fds(struct rlimit *limit)
{
    GArray *fds = g_array_new(false, false, sizeof(int));
    struct rlimit low;
    int fd;

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, limit), ==, 0);
    low = *limit;
    count_fds(&fd);
    low.rlim_cur = fd + 1;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
    while ((fd = dup(0)) >= 0) {
        g_array_append_val(fds, fd);
    }
    g_assert_cmpint(errno, ==, EMFILE);
    return fds;
}

static void give_fds(GArray *fds, const struct rlimit *limit)
{
    unsigned i;

    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, limit), ==, 0);
    for (i = 0; i < fds->len; i++) {
        close(g_array_index(fds, int, i));
    }
    g_array_free(fds, true);
}

/* What cannot fail, and a queue that is reset and enabled, need none */
static void test_no_fds(const void *opaque)
{
    VhostDPPair *pair;
    struct rlimit limit;
    eventfd_t value;
    GArray *fds;
    unsigned i;

    rig_begin(false);
    pair = vhost_dp_port_pair(nic->port);
    check_transmit();
    fds = take_fds(&limit);

    nic_mask(nic, VHOST_DP_TX, true);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        struct vhost_vring_state state = { .index = i };
        struct vhost_vring_file file = {
            .index = i, .fd = nic->guest->kick_fd[i],
        };

        vhost_dp_pair_reset_queue(pair, i);
        state.num = nic->base[i];
        g_assert_cmpint(vhost_dp_ops.vhost_set_vring_base(&nic->dev, &state),
                        ==, 0);
        g_assert_cmpint(vhost_dp_ops.vhost_set_vring_kick(&nic->dev, &file),
                        ==, 0);
    }
    ring_want_call(&nic->guest->ring[VHOST_DP_TX], true);
    check_transmit();
    wait_until(eventfd_read(nic->masked_fd[VHOST_DP_TX], &value) == 0);
    nic_mask(nic, VHOST_DP_TX, false);
    /* That there was a call while it was masked */
    eventfd_read(nic->guest->call_fd[VHOST_DP_TX], &value);
    ring_want_call(&nic->guest->ring[VHOST_DP_TX], true);
    check_transmit();
    wait_until(eventfd_read(nic->guest->call_fd[VHOST_DP_TX], &value) == 0);
    nic_stop(nic);

    give_fds(fds, &limit);
    nic_start(nic);
    check_transmit();
    rig_end();
}

/* ---- What is logged ---- */

static unsigned lines;

/* In place of a stub: nobody may have to wait for the log */
int error_vprintf(const char *fmt, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(fmt, ap);

    if (strstr(text, "cannot start")) {
        QemuMutex *lock = &vhost_dp_port_pair(nic->port)->lock;

        lines++;
        g_assert_cmpint(qemu_mutex_trylock(lock), ==, 0);
        qemu_mutex_unlock(lock);
    }
    return strlen(text);
}

int error_vprintf_unless_qmp(const char *fmt, va_list ap)
{
    return error_vprintf(fmt, ap);
}

static void test_failed_starts(const void *opaque)
{
    Ring *ring;
    unsigned i;

    rig_begin(false);
    ring = &nic->guest->ring[VHOST_DP_TX];
    nic_stop(nic);
    ready_first = false;
    hold();
    lines = 0;
    /* Not aligned as the specification wants it (2.7) */
    ring->desc_gpa += 4;
    for (i = 0; i < 200; i++) {
        g_assert_cmpint(nic_try_start(nic), <, 0);
        g_assert_false(vhost_dp_port_is_started(nic->port));
    }
    g_assert_cmpuint(lines, ==, 1);
    ring->desc_gpa -= 4;
    release();
    nic_start(nic);
    check_transmit();
    rig_end();
}

/* ---- A vIOMMU ---- */

static uint64_t count_misses(void)
{
    VhostDPQueuePairInfo *info = vhost_dp_port_query(nic->port);
    uint64_t n = info->tx->iotlb_misses;

    qapi_free_VhostDPQueuePairInfo(info);
    return n;
}

/* Translations survive what has nothing to do with them */
static void test_other_change(const void *opaque)
{
    uint64_t misses;
    unsigned i;

    rig_begin(true);
    check_transmit();
    misses = count_misses();
    g_assert_cmpuint(misses, >, 0);
    for (i = 0; i < 20; i++) {
        emulator_change_other();
        check_transmit();
    }
    g_assert_cmpuint(count_misses(), ==, misses);

    /* And nothing else */
    emulator_move_ram(NULL);
    check_transmit();
    g_assert_cmpuint(count_misses(), >, misses);
    nic_set_bypass(nic, true);
    misses = count_misses();
    check_transmit();
    g_assert_cmpuint(count_misses(), ==, misses);
    nic_set_bypass(nic, false);
    check_transmit();
    g_assert_cmpuint(count_misses(), >, misses);
    rig_end();
}

static void add(const char *name, const void *opaque, void (*fn)(const void *))
{
    g_autofree char *path = g_strdup_printf("/vhost-dp/held/%s", name);

    g_test_add_data_func(path, opaque, fn);
}

static void add_for_each_restart(const char *name, void (*fn)(const void *))
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(restarts); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", name,
                                                restarts[i].name);

        add(path, &restarts[i], fn);
    }
}

int main(int argc, char **argv)
{
    int r;

    g_test_init(&argc, &argv, NULL);
    emulator_init();
    module_call_init(MODULE_INIT_QOM);
    held_init();

    add_for_each_restart("rest", test_rest);
    add_for_each_restart("lent", test_lent);
    add("handed-over", NULL, test_handed_over);
    add("unhashed/in-software", GUINT_TO_POINTER(0), test_unhashed);
    add("unhashed/handed-over", GUINT_TO_POINTER(1), test_unhashed);
    add("shared/late", NULL, test_shared_late);
    add("shared/to-own", NULL, test_shared_to_own);
    add("shared/and-back", NULL, test_shared_and_back);
    add("steered/enabled", NULL, test_steered_to_enabled);
    add("steered/queue", &restarts[0], test_steered_to_restarted);
    add("steered/device", &restarts[2], test_steered_to_restarted);
    add("steered/at-once", NULL, test_steered_at_once);
    add("steered/stopped", NULL, test_steered_to_stopped);
    add("kick-fds", NULL, test_kick_fds);
    add("no-fds", NULL, test_no_fds);
    add("failed-starts", NULL, test_failed_starts);
    add("other-change", NULL, test_other_change);
    r = g_test_run();

    held_cleanup();
    return r;
}
