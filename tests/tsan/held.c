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
#include "nic.h"
#include "stress.h"

#define PATIENCE_S 60

/* A frame on the transmit queue fills a buffer of guest.c */
#define HDR_LEN sizeof(struct virtio_net_hdr_v1)
#define TX_LEN (STRESS_MAX_FRAME - HDR_LEN)
#define RX_LEN 100

/* ---- A driver that does what the test says ---- */

OBJECT_DECLARE_SIMPLE_TYPE(ScriptDriver, STRESS_DRIVER)

struct ScriptDriver {
    VhostDPDriver parent_obj;

    /* Atomic */
    VhostDPPort *ports[2];      /* while attached */
    unsigned pair;              /* of these, that can receive */
    unsigned room;              /* frames that it will still take */
    unsigned sent;              /* frames that it took, */
    unsigned sent_whole;        /* and those that nobody had cut */
    unsigned have;              /* frames that it has to lend, */
    uint8_t content;            /* and what they consist of, */
    const VhostDPFrame *special;        /* unless it is this one */
    unsigned lent;
};

static bool script_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    return true;
}

static void script_close(VhostDPDriver *drv)
{
}

static void script_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) {
        .max_queue_pairs = 2,
        .max_frame = VHOST_DP_MAX_FRAME,
        .max_segments = 2,
    };
}

static bool script_attach(VhostDPDriver *drv, unsigned pair, VhostDPPort *port,
                          AioContext *ctx, Error **errp)
{
    qatomic_set(&STRESS_DRIVER(drv)->ports[pair], port);
    return true;
}

static void script_detach(VhostDPDriver *drv, unsigned pair)
{
    qatomic_set(&STRESS_DRIVER(drv)->ports[pair], NULL);
}

static unsigned script_tx_burst(VhostDPDriver *drv, unsigned pair,
                                VhostDPFrame *frames, unsigned n)
{
    ScriptDriver *s = STRESS_DRIVER(drv);
    unsigned taken = MIN(n, qatomic_read(&s->room));
    unsigned i;

    for (i = 0; i < taken; i++) {
        if (frames[i].len == TX_LEN) {
            qatomic_inc(&s->sent_whole);
        }
    }
    qatomic_sub(&s->room, taken);
    qatomic_add(&s->sent, taken);
    return taken;
}

static unsigned script_rx_burst(VhostDPDriver *drv, unsigned pair,
                                VhostDPFrame *frames, unsigned n)
{
    static uint8_t contents[UINT8_MAX + 1][RX_LEN];
    ScriptDriver *s = STRESS_DRIVER(drv);
    uint8_t *data = contents[qatomic_read(&s->content)];
    unsigned i;

    n = pair == s->pair ? MIN(n, qatomic_read(&s->have)) : 0;
    memset(data, qatomic_read(&s->content), RX_LEN);
    for (i = 0; i < n; i++) {
        frames[i] = s->special ? *s->special : (VhostDPFrame) {
            .len = RX_LEN, .iovcnt = 1, .inl[0] = { data, RX_LEN },
        };
        frames[i].iov = frames[i].inl;
    }
    qatomic_sub(&s->have, n);
    qatomic_add(&s->lent, n);
    return n;
}

static void script_rx_release(VhostDPDriver *drv, unsigned pair, unsigned n)
{
    qatomic_sub(&STRESS_DRIVER(drv)->lent, n);
}

static void script_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
}

static void script_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->open = script_open;
    dc->close = script_close;
    dc->get_caps = script_get_caps;
    dc->attach = script_attach;
    dc->detach = script_detach;
    dc->tx_burst = script_tx_burst;
    dc->rx_burst = script_rx_burst;
    dc->rx_release = script_rx_release;
    dc->rx_enable = script_rx_enable;
}

static const TypeInfo script_info = {
    .name = TYPE_STRESS_DRIVER,
    .parent = TYPE_VHOST_DP_DRIVER,
    .instance_size = sizeof(ScriptDriver),
    .class_init = script_class_init,
};

static void script_register_types(void)
{
    type_register_static(&script_info);
}

type_init(script_register_types)

/* ---- The rig ---- */

static IOThread *iothread;
static NicSet *set;
static Nic *nic;
static ScriptDriver *driver;

/* Main thread, BQL */
#define wait_until(condition) \
    do { \
        int64_t end_ = g_get_monotonic_time() + PATIENCE_S * G_USEC_PER_SEC; \
        while (!(condition)) { \
            g_assert_cmpint(g_get_monotonic_time(), <, end_); \
            main_loop_wait(true); \
            bql_unlock(); \
            g_usleep(100); \
            bql_lock(); \
        } \
    } while (0)

static void rig_begin_pairs(unsigned n, bool has_iommu)
{
    IOThread *iothreads[] = { iothread, iothread };
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

static void rig_begin(bool has_iommu)
{
    rig_begin_pairs(1, has_iommu);
}

static bool passed;

static void pass_bh(void *opaque)
{
    qatomic_set(&passed, true);
}

static void rig_end(void)
{
    nics_free(set);
    /*
     * The IOThread, which may be in the port's bottom half still, gives the
     * port to the main loop, where it goes
     */
    qatomic_set(&passed, false);
    aio_bh_schedule_oneshot(iothread_get_aio_context(iothread), pass_bh, NULL);
    wait_until(qatomic_read(&passed));
    main_loop_wait(true);
    bql_unlock();
}

static void post(unsigned queue, uint16_t id)
{
    if (ring_post(&nic->guest->ring[queue], &id, 1)) {
        eventfd_write(nic->guest->kick_fd[queue], 1);
    }
}

static RingUsed reap(unsigned queue)
{
    Ring *ring = &nic->guest->ring[queue];
    RingUsed used;

    wait_until(ring_has_used(ring));
    g_assert_cmpuint(ring_reap(ring, &used, 1), ==, 1);
    return used;
}

/* One frame that goes out as it is */
static void check_transmit(void)
{
    unsigned whole = qatomic_read(&driver->sent_whole);

    memset(nic->guest->buffer[VHOST_DP_TX][1], 0, HDR_LEN);
    qatomic_set(&driver->room, 1);
    post(VHOST_DP_TX, 1);
    g_assert_cmpuint(reap(VHOST_DP_TX).id, ==, 1);
    g_assert_cmpuint(qatomic_read(&driver->sent_whole), ==, whole + 1);
}

static uint64_t count_stopped(unsigned queue)
{
    VhostDPQueuePairInfo *info = vhost_dp_port_query(nic->port);
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

/* ---- The IOThread is held ---- */

static QemuEvent held, let_go;
static bool ready_first;        /* see hold_bh() */

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

static void hold(void)
{
    qemu_event_reset(&held);
    qemu_event_reset(&let_go);
    aio_bh_schedule_oneshot(iothread_get_aio_context(iothread), hold_bh, NULL);
    qemu_event_wait(&held);
}

static void release(void)
{
    qemu_event_set(&let_go);
}

static void ready_bh(void *opaque)
{
    vhost_dp_port_ready(driver->ports[driver->pair], VHOST_DP_READY_RX);
}

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
    uint8_t data[TX_LEN];
    VhostDPFrame frame = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_offset = 16,
        .len = sizeof(data), .iovcnt = 1, .inl[0] = { data, sizeof(data) },
    };
    struct virtio_net_hdr_v1 *hdr;

    rig_begin_pairs(2, false);
    vhost_dp_port_set_offloads(nic->port, VHOST_DP_OFFLOAD_CSUM |
                                          VHOST_DP_OFFLOAD_TSO4);
    driver->pair = 1;
    spec.payload = sizeof(data) - frames_len(&spec);
    frames_build(&spec, data);
    frame.gso_type = spec.gso_type;
    frame.gso_size = spec.gso_size;
    frame.hdr_len = spec.data;
    frame.csum_start = spec.l4;
    driver->special = &frame;
    qatomic_set(&driver->have, 1);
    aio_bh_schedule_oneshot(iothread_get_aio_context(iothread), ready_bh, NULL);
    wait_until(qatomic_read(&driver->lent) == 1);
    /* That turn has ended: there was no buffer */
    ready_first = false;
    hold();
    release();

    post(VHOST_DP_RX, 0);
    nic_enable(set->nic[1], false);
    g_assert_cmpuint(reap(VHOST_DP_RX).len, ==, HDR_LEN + sizeof(data));
    hdr = (void *)nic->guest->buffer[VHOST_DP_RX][0];
    g_assert_cmphex(hdr->gso_type, ==, spec.gso_type);
    g_assert_cmpuint(le16_to_cpu(hdr->gso_size), ==, spec.gso_size);
    g_assert_cmpint(memcmp(hdr + 1, data, sizeof(data)), ==, 0);
    g_assert_cmpuint(qatomic_read(&driver->lent), ==, 0);
    rig_end();
}

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

static void add_for_each_restart(const char *name, void (*fn)(const void *))
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(restarts); i++) {
        g_autofree char *path = g_strdup_printf("/vhost-dp/held/%s/%s", name,
                                                restarts[i].name);

        g_test_add_data_func(path, &restarts[i], fn);
    }
}

int main(int argc, char **argv)
{
    int r;

    g_test_init(&argc, &argv, NULL);
    emulator_init();
    module_call_init(MODULE_INIT_QOM);
    qemu_event_init(&held, false);
    qemu_event_init(&let_go, false);
    bql_lock();
    iothread = iothread_create("held", &error_abort);
    bql_unlock();

    add_for_each_restart("rest", test_rest);
    add_for_each_restart("lent", test_lent);
    g_test_add_data_func("/vhost-dp/held/handed-over", NULL, test_handed_over);
    g_test_add_data_func("/vhost-dp/held/kick-fds", NULL, test_kick_fds);
    g_test_add_data_func("/vhost-dp/held/no-fds", NULL, test_no_fds);
    g_test_add_data_func("/vhost-dp/held/failed-starts", NULL,
                         test_failed_starts);
    g_test_add_data_func("/vhost-dp/held/other-change", NULL,
                         test_other_change);
    r = g_test_run();

    bql_lock();
    iothread_destroy(iothread);
    bql_unlock();
    qemu_event_destroy(&held);
    qemu_event_destroy(&let_go);
    return r;
}
