/*
 * vhost-dp stress: control operations while bursts run
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the real back end, rings, memory table and engine, in
 * real IOThreads, between a guest that never pauses and a driver that behaves
 * as badly as it may.  Several threads take the BQL in turns, as vCPUs, the
 * main loop and the migration thread do, and each time one of them does
 * something to one of four queue pairs that QEMU could do at that moment.
 * Then everything is left alone and must still move frames, with guest and
 * device asleep whenever they have nothing to do: a wake-up that was lost
 * shows as a stop.
 *
 * Built twice: as a unit test, and with ThreadSanitizer (see meson.build),
 * which reports what no lock orders.  VHOST_DP_STRESS_OPS sets the number of
 * operations, --seed=R... repeats a choice of them (not of the interleaving).
 * With VHOST_DP_STRESS_RACE=1 one operation forgets the lock, to show that
 * ThreadSanitizer finds such a thing.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-types-vhost-dp.h"
#include "linux-headers/linux/vhost.h"
#include "standard-headers/linux/virtio_net.h"
#include "emulator.h"
#include "nic.h"
#include "stress.h"

#define NICS NIC_PAIRS

/* Of a card's memory, what its guest has allocated, more or less */
#define STRESS_RAM_USED (300 * KiB)

#define CONTROLS 3
#define DEFAULT_OPS 10000

/* Operations after which everything is left alone for a while */
#define OPS_PER_ROUND 250

/* Frames that have to move when all is quiet: several times round the ring */
#define ENOUGH (8 * GUEST_RING_SIZE)
#define PATIENCE_S 60

typedef struct Control {
    QemuThread thread;
    StressRandom random;
} Control;

static NicSet *set;
static IOThread *shared;
static unsigned ops_left;       /* atomic */
static unsigned ops_done[32];   /* BQL; by operation */
static bool ports_may_go;
static bool race;

void stress_random_init(StressRandom *r)
{
    static uint64_t next;

    r->state = (qatomic_fetch_inc(&next) + 1) * 0x9e3779b97f4a7c15ULL;
    if (g_test_initialized()) {
        r->state ^= (uint64_t)g_test_rand_int() << 32;
    }
}

/* ---- Operations.  BQL. ---- */

static bool flip(StressRandom *r)
{
    return stress_random(r, 2);
}

static void op_start_or_stop(Nic *nic, StressRandom *r)
{
    if (!nic->started) {
        nic_start(nic);
    } else if (flip(r)) {
        nic_stop(nic);
    } else {
        nic_stop_and_listen(nic);
    }
}

static void op_start(Nic *nic, StressRandom *r)
{
    if (!nic->started) {
        nic_start(nic);
    }
}

static void op_call_fd(Nic *nic, StressRandom *r)
{
    unsigned queue = stress_random(r, VHOST_DP_QUEUES);

    nic_mask(nic, queue, !nic->masked[queue]);
}

static void op_kick_fd(Nic *nic, StressRandom *r)
{
    nic_replace_kick(nic, stress_random(r, VHOST_DP_QUEUES));
}

static void op_restart_queue(Nic *nic, StressRandom *r)
{
    nic_restart_queue(nic, stress_random(r, VHOST_DP_QUEUES));
}

static void tell_nics(void)
{
    unsigned i;

    for (i = 0; i < NICS; i++) {
        nic_memory_changed(set->nic[i]);
    }
}

static void op_memory(Nic *nic, StressRandom *r)
{
    if (flip(r)) {
        emulator_change_other();
    } else {
        emulator_move_ram(flip(r) ? tell_nics : NULL);
    }
}

static void op_logging(Nic *nic, StressRandom *r)
{
    nic_set_logging(nic, !nic->logging);
}

static void op_enable(Nic *nic, StressRandom *r)
{
    nic_enable(nic, !nic->enabled);
    if (race) {
        vhost_dp_port_pair(nic->port)->enabled = nic->enabled;
    }
}

static void op_header(Nic *nic, StressRandom *r)
{
    static const unsigned sizes[] = { 10, 12, 20 };

    vhost_dp_port_set_hdr_len(nic->port,
                              sizes[stress_random(r, ARRAY_SIZE(sizes))]);
    vhost_dp_port_set_hdr_endian(nic->port, flip(r));
}

static void op_offloads(Nic *nic, StressRandom *r)
{
    uint32_t offloads = flip(r) ? VHOST_DP_OFFLOAD_ALL : 0;

    vhost_dp_port_set_offloads(nic->port, offloads);
    VHOST_DP_DRIVER_GET_CLASS(set->drv)->set_offload(set->drv, offloads);
}

/* Also no delay.  It stays when all is left alone, and the guest waits. */
static void op_coalesce(Nic *nic, StressRandom *r)
{
    vhost_dp_port_set_coalesce(nic->port, flip(r), stress_random(r, 40),
                               stress_random(r, 300));
}

static void op_query(Nic *nic, StressRandom *r)
{
    VhostDPQueuePairInfo *info = vhost_dp_port_query(nic->port);

    g_assert_cmpint(info->enabled, ==, nic->enabled);
    g_assert_cmpint(info->rx->state, ==, nic->started ?
                    VHOST_DP_QUEUE_STATE_RUNNING :
                    VHOST_DP_QUEUE_STATE_STOPPED);
    g_assert_cmpint(vhost_dp_port_is_started(nic->port), ==, nic->started);
    qapi_free_VhostDPQueuePairInfo(info);
}

/* x-query-virtio-queue-status: where is the queue? */
static void op_place(Nic *nic, StressRandom *r)
{
    struct vhost_vring_state state = { .index = flip(r) };

    if (nic->started) {
        g_assert_cmpint(vhost_dp_ops.vhost_get_vring_base(&nic->dev, &state),
                        ==, 0);
    }
}

static void op_inject(Nic *nic, StressRandom *r)
{
    uint8_t frame[60];

    memset(frame, STRESS_TX_BYTE, sizeof(frame));
    vhost_dp_port_inject(nic->port, frame, sizeof(frame));
}

static void op_nic_link(Nic *nic, StressRandom *r)
{
    vhost_dp_port_set_nic_link(nic->port, flip(r));
}

static void op_reset(Nic *nic, StressRandom *r)
{
    if (nic->started) {
        nic_stop(nic);
    }
    nic_reset(nic, flip(r), flip(r), flip(r));
    nic_set_iommu(nic, flip(r));
    nic_start(nic);
}

/* Several pages: rings and buffers are few of the card's memory */
static void op_remap(Nic *nic, StressRandom *r)
{
    unsigned i;

    for (i = 0; i < 8; i++) {
        nic_remap(nic, stress_random(r, STRESS_RAM_USED));
    }
}

static void op_invalidate(Nic *nic, StressRandom *r)
{
    nic_invalidate(nic);
}

static void op_bypass(Nic *nic, StressRandom *r)
{
    nic_set_bypass(nic, flip(r));
}

/* What the guest asks for: hostile, too, as far as control_new() takes it */
static void op_control(Nic *nic, StressRandom *r)
{
    VhostDPControlState state = {
        /* All frames have the same address, of a group */
        .promisc = stress_random(r, 4) != 0,
        .allmulti = flip(r),
        .pairs = 1 + stress_random(r, NICS),
        .rss = stress_random(r, 4) != 0,
        .hash_report = flip(r),
        .hash_types = stress_random(r, 0x200),
        .default_pair = stress_random(r, 2 * NICS),
        .indirection_len = 1u << stress_random(r, 9),
    };
    g_autoptr(VhostDPControl) control = NULL;
    unsigned i;

    for (i = 0; i < VHOST_DP_CONTROL_KEY; i++) {
        state.key[i] = stress_random(r, 0x100);
    }
    for (i = 0; i < VHOST_DP_CONTROL_INDIRECTION; i++) {
        state.indirection[i] = stress_random(r, 2 * NICS);
    }
    control = vhost_dp_control_new(&state);
    vhost_dp_portset_set_control(set->ports, control);
}

/* Some drivers serve one of the queue pairs only, or none */
static void op_set_driver(Nic *nic, StressRandom *r)
{
    VhostDPDriver *drv;

    if (!set->next) {
        drv = VHOST_DP_DRIVER(object_new(TYPE_STRESS_DRIVER));
        stress_driver_refuse(drv, flip(r) ? stress_random(r, 1 << NICS) : 0);
        nics_set_driver(set, drv);
    }
}

static void op_replace_ports(Nic *nic, StressRandom *r)
{
    if (ports_may_go && stress_random(r, 4) == 0) {
        IOThread *iothreads[NICS] = {
            flip(r) ? shared : NULL, flip(r) ? shared : NULL,
            flip(r) ? shared : NULL, flip(r) ? shared : NULL,
        };

        nics_replace_ports(set, iothreads, flip(r) ? 50 : 0);
    }
}

static const struct {
    const char *name;
    void (*run)(Nic *nic, StressRandom *r);
} operations[] = {
    { "start or stop", op_start_or_stop },
    { "start", op_start },
    { "call fd", op_call_fd },
    { "kick fd", op_kick_fd },
    { "restart queue", op_restart_queue },
    { "memory", op_memory },
    { "logging", op_logging },
    { "enable", op_enable },
    { "header", op_header },
    { "offloads", op_offloads },
    { "coalesce", op_coalesce },
    { "query", op_query },
    { "place", op_place },
    { "inject", op_inject },
    { "nic link", op_nic_link },
    { "reset", op_reset },
    { "remap", op_remap },
    { "invalidate", op_invalidate },
    { "bypass", op_bypass },
    { "control", op_control },
    { "set driver", op_set_driver },
    { "replace ports", op_replace_ports },
};

QEMU_BUILD_BUG_ON(ARRAY_SIZE(operations) > ARRAY_SIZE(ops_done));

/* ---- Threads ---- */

static void *control_thread(void *opaque)
{
    Control *c = opaque;

    while (qatomic_read(&ops_left)) {
        Nic *nic = set->nic[stress_random(&c->random, NICS)];
        unsigned op = stress_random(&c->random, ARRAY_SIZE(operations));

        bql_lock();
        if (ops_left) {
            operations[op].run(nic, &c->random);
            ops_done[op]++;
            qatomic_set(&ops_left, ops_left - 1);
        }
        bql_unlock();
        g_usleep(stress_random(&c->random, 300));
    }
    qemu_notify_event();
    return NULL;
}

/* Main thread, BQL */
static void run_operations(unsigned n)
{
    Control controls[CONTROLS];
    unsigned i;

    qatomic_set(&ops_left, n);
    for (i = 0; i < CONTROLS; i++) {
        stress_random_init(&controls[i].random);
        qemu_thread_create(&controls[i].thread, "control", control_thread,
                           &controls[i], QEMU_THREAD_JOINABLE);
    }
    while (ops_left) {
        emulator_main_loop();
    }
    bql_unlock();
    for (i = 0; i < CONTROLS; i++) {
        qemu_thread_join(&controls[i].thread);
    }
    bql_lock();
}

/* A running card to which nothing happens */
static void leave_alone(Nic *nic)
{
    static const VhostDPControlState plain = { .promisc = true, .pairs = NICS };
    static const VhostDPControlState spread = {
        .promisc = true, .pairs = NICS, .rss = true,
        .hash_types = VIRTIO_NET_RSS_HASH_TYPE_UDPv4,
        .key = "some key, the bits of which are mixed..",
        .indirection_len = NICS, .indirection = { 0, 1, 2, 3 },
    };
    bool all = !set->next && stress_driver_queues(set->drv) == NICS;
    g_autoptr(VhostDPControl) control =
        vhost_dp_control_new(all ? &plain : &spread);
    unsigned i;

    /* Each pair gets what its driver receives, or a part of what others do */
    vhost_dp_portset_set_control(set->ports, control);
    op_start(nic, NULL);
    nic_enable(nic, true);
    vhost_dp_port_set_nic_link(nic->port, true);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        nic_mask(nic, i, false);
    }
    qatomic_set(&nic->guest->patient, true);
}

/* Frames move, although everybody sleeps until woken.  Main thread, BQL. */
static void check_progress(void)
{
    int64_t end = g_get_monotonic_time() + PATIENCE_S * G_USEC_PER_SEC;
    uint64_t goal[NICS][VHOST_DP_QUEUES];
    unsigned i, j;

    for (i = 0; i < NICS; i++) {
        leave_alone(set->nic[i]);
        for (j = 0; j < VHOST_DP_QUEUES; j++) {
            goal[i][j] = qatomic_read(&set->nic[i]->guest->done[j]) + ENOUGH;
        }
    }
    for (i = 0; i < NICS; i++) {
        Guest *guest = set->nic[i]->guest;

        for (j = 0; j < VHOST_DP_QUEUES; j++) {
            while (qatomic_read(&guest->done[j]) < goal[i][j]) {
                if (g_get_monotonic_time() > end) {
                    g_error("queue pair %u: %s queue stands still", i,
                            j == VHOST_DP_RX ? "receive" : "transmit");
                }
                main_loop_wait(true);
                bql_unlock();
                g_usleep(500);
                bql_lock();
            }
        }
        qatomic_set(&guest->patient, false);
    }
}

static unsigned count_ops(void)
{
    const char *text = getenv("VHOST_DP_STRESS_OPS");

    return text ? atoi(text) : DEFAULT_OPS;
}

static void test_stress(const void *opaque)
{
    unsigned rounds = MAX(count_ops() / OPS_PER_ROUND, 1);
    IOThread *iothreads[NICS] = { shared, shared };
    unsigned i;

    ports_may_go = opaque != NULL;
    bql_lock();
    set = nics_new(NICS, iothreads, 0, false);
    for (i = 0; i < NICS; i++) {
        nic_start(set->nic[i]);
    }
    for (i = 0; i < rounds; i++) {
        if (i == rounds / 2) {
            nics_replace_ports(set, iothreads, 50);
        }
        run_operations(OPS_PER_ROUND);
        check_progress();
    }
    g_test_message("driver changed: %u, and not: %u", set->moved,
                   set->refused);
    g_assert_cmpuint(MIN(set->moved, set->refused), >, 0);
    nics_free(set);
    /* The last of the ports goes in the main loop */
    main_loop_wait(true);
    bql_unlock();

    for (i = 0; i < ARRAY_SIZE(operations); i++) {
        /* With so many of them each has had its turn */
        g_test_message("%s: %u", operations[i].name, ops_done[i]);
        g_assert_cmpuint(ops_done[i], >, 0);
    }
}

int main(int argc, char **argv)
{
    int r;

    g_test_init(&argc, &argv, NULL);
    race = getenv("VHOST_DP_STRESS_RACE") != NULL;
    emulator_init();
    module_call_init(MODULE_INIT_QOM);
    bql_lock();
    shared = iothread_create("shared", &error_abort);
    bql_unlock();

    g_test_add_data_func("/vhost-dp/stress/control", NULL, test_stress);
    g_test_add_data_func("/vhost-dp/stress/life-cycle", "", test_stress);
    r = g_test_run();

    bql_lock();
    iothread_destroy(shared);
    bql_unlock();
    return r;
}
