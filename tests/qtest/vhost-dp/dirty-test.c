/*
 * vhost-dp: qtests of what else looks at the memory that a device writes
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each page that the device writes is sent again by a migration, and no
 * other; code that the guest runs is translated again; snapshots of all kinds
 * hold what was there when they were taken.
 */

#include "qemu/osdep.h"
#include <linux/userfaultfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "migrate.h"

#define PAGE 4096
#define FEATURES (DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | \
                  DP_FEATURE(VIRTIO_RING_F_EVENT_IDX))

/* Bytes per second */
#define SLOW (64 * KiB)          /* 16 s for 1 MiB */
#define FAST (4096 * MiB)

/* ---- Which pages a migration sends again ---- */

/* A migration to nowhere, which is as slow as the test reads */
typedef struct Nowhere {
    char *dir, *path;
    int listener;
} Nowhere;

static void nowhere_start(Nowhere *n, QTestState *qts)
{
    g_autofree char *uri = NULL;
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    n->dir = g_dir_make_tmp("vhost-dp-XXXXXX", NULL);
    g_assert_nonnull(n->dir);
    n->path = g_strdup_printf("%s/socket", n->dir);
    uri = g_strdup_printf("unix:%s", n->path);
    n->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(un.sun_path, n->path, sizeof(un.sun_path));
    g_assert_cmpint(bind(n->listener, (void *)&un, sizeof(un)), ==, 0);
    g_assert_cmpint(listen(n->listener, 1), ==, 0);
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
    dp_wait_until(dp_migrate_is(qts, "active"));
}

/* Read all; returns how many pages that was */
static uint64_t nowhere_finish(Nowhere *n, QTestState *qts)
{
    const struct timeval limit = { .tv_sec = DP_TIMEOUT_US / G_USEC_PER_SEC };
    g_autofree char *buf = g_malloc(1 * MiB);
    int sock = accept(n->listener, NULL, NULL);
    ssize_t len;

    g_assert_cmpint(sock, >=, 0);
    g_assert_cmpint(setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit,
                               sizeof(limit)), ==, 0);
    do {
        len = read(sock, buf, 1 * MiB);
    } while (len > 0);
    g_assert_cmpint(len, ==, 0);
    close(sock);
    close(n->listener);
    unlink(n->path);
    rmdir(n->dir);
    g_free(n->path);
    g_free(n->dir);
    dp_wait_until(dp_migrate_is(qts, "completed"));
    qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
    return dp_migrate_ram(qts, "normal") + dp_migrate_ram(qts, "duplicate");
}

#define BUFFER (3 * PAGE)

static void receive(DpRig *r, unsigned n, size_t len)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        size_t got_len;

        dp_make_frame(r->frame, len, i);
        dp_sock_send(r->sock, NULL, r->frame, len);
        got_len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, got_len, r->frame, len);
    }
}

/*
 * Small frames touch the first page of their buffers, long ones (which go
 * straight into the buffers) all three.  What is sent is not written to.
 */
static void check_pages(DpRig *r)
{
    const unsigned nsmall = 20, nlong = 9;
    uint64_t without, with;
    unsigned i;
    Nowhere n;

    dp_rig_restart(r);
    dp_if_set_mtu("tap0", 9000);
    dp_post(r->nic, nsmall + nlong, BUFFER);

    nowhere_start(&n, r->qts);
    without = nowhere_finish(&n, r->qts);

    nowhere_start(&n, r->qts);
    receive(r, nsmall, 1000);
    receive(r, nlong, 9000);
    for (i = 0; i < 10; i++) {
        dp_check_transmit(r->nic, r->sock, 1000, i);
    }
    with = nowhere_finish(&n, r->qts);

    /* The rings are not among them: vhost.c marks them at each stop */
    g_assert_cmpuint(with - without, ==, nsmall + 3 * nlong);
}

static void test_pages(const void *opaque)
{
    DpRig *r = dp_rig_new(DP_FEATURE(VIRTIO_RING_F_EVENT_IDX));

    /* So much that QEMU has to wait for us before it is through */
    dp_fill_ram(r->guest, 1 * MiB);
    check_pages(r);
    dp_rig_free(r);
}

/* ---- Logging that goes on and off, for others than migration ---- */

static bool rate_is_measured(QTestState *qts)
{
    QDict *answer = qtest_qmp_assert_success_ref(qts,
                                                 "{ 'execute': 'query-dirty-rate' }");
    bool is = !strcmp(qdict_get_str(answer, "status"), "measured");

    qobject_unref(answer);
    return is;
}

static void measure_rate(DpTraffic *t, const char *mode)
{
    QTestState *qts = t->rig->qts;

    qtest_qmp_assert_success(qts, "{ 'execute': 'calc-dirty-rate',"
                             " 'arguments': { 'calc-time': 50,"
                             " 'calc-time-unit': 'millisecond',"
                             " 'mode': %s } }", mode);
    dp_wait_until((dp_traffic_run(t, 10), rate_is_measured(qts)));
}

/*
 * Frames go on, none is lost, while logging goes on and off.  How many pages
 * QEMU counts says nothing about them: it counts those of vCPUs under KVM.
 * What a migration sends afterwards does: it is what test_pages() counts.
 */
static void test_dirty_rate(const void *opaque)
{
    DpRig *r = dp_rig_new(FEATURES);
    DpTraffic *t = dp_traffic_new(r);
    unsigned i;

    for (i = 0; i < 3; i++) {
        measure_rate(t, "page-sampling");
        measure_rate(t, "dirty-bitmap");
    }
    /* That one is for KVM, with a ring of its own */
    dp_check_error(qtest_qmp(r->qts, "{ 'execute': 'set-vcpu-dirty-limit',"
                             " 'arguments': { 'dirty-rate': 1 } }"),
                   "dirty-ring-size", NULL);
    dp_traffic_finish(t);
    dp_traffic_free(t);
    dp_fill_ram(r->guest, 1 * MiB);
    check_pages(r);
    dp_rig_free(r);
}

/* ---- Snapshots ---- */

/* An empty qcow2 image: header, table and block of references, L1 table */
static char *make_qcow2(void)
{
    const unsigned cluster = 0x10000;
    g_autofree uint8_t *image = g_malloc0(4 * cluster);
    char *path;
    int fd = g_file_open_tmp("vhost-dp-XXXXXX", &path, NULL);
    unsigned i;

    g_assert_cmpint(fd, >=, 0);
    memcpy(image, "QFI\xfb", 4);
    stl_be_p(image + 4, 2);                 /* version */
    stl_be_p(image + 20, 16);               /* bits of a cluster */
    stq_be_p(image + 24, 1 * MiB);          /* size of the disk */
    stl_be_p(image + 36, 1);                /* entries of the L1 table */
    stq_be_p(image + 40, 3 * cluster);
    stq_be_p(image + 48, 1 * cluster);
    stl_be_p(image + 56, 1);                /* clusters of references */
    stq_be_p(image + cluster, 2 * cluster);
    for (i = 0; i < 4; i++) {
        stw_be_p(image + 2 * cluster + 2 * i, 1);
    }
    g_assert_cmpint(write(fd, image, 4 * cluster), ==, 4 * cluster);
    close(fd);
    return path;
}

static void hmp(QTestState *qts, const char *command)
{
    g_autofree char *answer = qtest_hmp(qts, "%s", command);

    g_assert_cmpstr(answer, ==, "");
}

/* Each savevm and loadvm of QEMU 10.0 leaks, so leaks are not looked for */
static DpRig *start_for_savevm(const char *path)
{
    g_autofree char *before = g_strdup(g_getenv("ASAN_OPTIONS"));
    g_autofree char *without = g_strdup_printf("%s:detect_leaks=0",
                                               before ?: "");
    g_autofree char *more = g_strdup_printf(
        "-drive if=none,id=disk,file=%s,format=qcow2", path);
    DpRig *r;

    g_setenv("ASAN_OPTIONS", without, true);
    r = dp_rig_start(&(DpSetup) {
        .features = FEATURES, .pairs = 2, .more = more,
    }, false);
    if (before) {
        g_setenv("ASAN_OPTIONS", before, true);
    } else {
        g_unsetenv("ASAN_OPTIONS");
    }
    return r;
}

static void test_savevm(const void *opaque)
{
    g_autofree char *path = make_qcow2();
    DpRig *r = start_for_savevm(path);
    DpTraffic *t = dp_traffic_new(r);
    DpMemory *m;
    unsigned i;

    dp_traffic_run(t, 100);
    dp_traffic_finish(t);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    m = dp_memory_new(t);
    hmp(r->qts, "savevm one");
    for (i = 0; i < 3; i++) {
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
        dp_traffic_run(t, 70);
        dp_traffic_finish(t);
        if (i == 1) {
            /* From a device that runs; it runs afterwards */
            hmp(r->qts, "loadvm one");
        } else {
            qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
            hmp(r->qts, "loadvm one");
            dp_memory_check(m, r->guest);
        }
        dp_memory_restore(m, t);
    }
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
    dp_traffic_run(t, 70);
    dp_traffic_finish(t);
    dp_memory_free(m);
    dp_traffic_free(t);
    dp_rig_free(r);
    unlink(path);
}

/*
 * The device goes on writing while the snapshot is saved, page by page: each
 * page is saved first, as it was.  QEMU does not see what the test writes, so
 * the guest takes nothing and posts nothing meanwhile.
 */
static void take_background(DpRig *r, const char *uri)
{
    uint64_t received = dp_counter(r->qts, "vd0", DP_RX, "packets");
    unsigned i;

    dp_migrate_set(r->qts, "max-bandwidth", SLOW);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
    dp_wait_until(dp_migrate_is(r->qts, "active") &&
                  dp_status_is(r->qts, "running"));
    for (i = 0; i < 15; i++) {
        dp_make_frame(r->frame, 1000, i);
        dp_sock_send(r->sock, NULL, r->frame, 1000);
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", received + 15);
    g_assert_true(dp_migrate_is(r->qts, "active"));
    dp_migrate_set(r->qts, "max-bandwidth", FAST);
    dp_wait_until(dp_migrate_is(r->qts, "completed"));
}

/* Go on from the snapshot in a new QEMU */
static void load_background(DpTraffic *t, DpMemory *m, const char *uri)
{
    DpRig *r = t->rig;
    DpGuest *to;

    close(r->sock);
    dp_rig_quit(r);
    to = dp_migrate_target(r, "-object vhost-dp-tap,id=tap0 "
                           "-netdev vhost-dp,id=vd0,driver=tap0", "-S");
    qtest_qmp_assert_success(to->qts, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s } }", uri);
    dp_wait_until(dp_migrate_is(to->qts, "completed"));
    dp_memory_forget_events(m, to);
    dp_memory_check(m, to);
    r->sock = dp_sock_open("tap0", false);
    dp_rig_swap(r, to);
    dp_memory_restore(m, t);
    dp_guest_free(to);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
}

static void test_background(const void *opaque)
{
    g_autofree char *path = NULL;
    g_autofree char *uri = NULL;
    DpTraffic *t;
    DpMemory *m;
    DpRig *r;

    if (!dp_has_userfaultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
                            UFFD_FEATURE_WP_HUGETLBFS_SHMEM)) {
        return;
    }
    r = dp_rig_start(&(DpSetup) { .features = FEATURES }, false);
    t = dp_traffic_new(r);
    close(g_file_open_tmp("vhost-dp-XXXXXX", &path, NULL));
    uri = g_strdup_printf("file:%s", path);
    dp_fill_ram(r->guest, 1 * MiB);
    dp_traffic_run(t, 100);
    dp_traffic_finish(t);
    dp_migrate_capability(r->qts, "background-snapshot", true);
    m = dp_memory_new(t);
    take_background(r, uri);
    load_background(t, m, uri);
    unlink(path);
    dp_traffic_run(t, 70);
    dp_traffic_finish(t);
    dp_memory_free(m);
    dp_traffic_free(t);
    dp_rig_free(r);
}

/* ---- A guest that runs code in a page that it receives ---- */

/* Where frames go, and where the code's answer does */
#define CODE_AT   0x20000
#define ANSWER_AT 0x9000
#define CODE_OFFSET (sizeof(struct virtio_net_hdr_v1) + 14)

/* Real mode: for ever call the code, and put what it returns in memory */
static char *make_bios(void)
{
    static const uint8_t loop[] = {
        0x9a, CODE_OFFSET, 0, CODE_AT >> 4 & 0xff, CODE_AT >> 12, /* lcall */
        0xa3, ANSWER_AT & 0xff, ANSWER_AT >> 8,     /* mov %ax,ANSWER_AT */
        0xeb, 0xf6,                                 /* jmp to the start */
    };
    static const uint8_t reset[] = { 0xe9, 0x0d, 0 };   /* jmp to 0 */
    g_autofree uint8_t *image = g_malloc0(64 * KiB);
    char *path;
    int fd = g_file_open_tmp("vhost-dp-XXXXXX", &path, NULL);

    memcpy(image, loop, sizeof(loop));
    memcpy(image + 0xfff0, reset, sizeof(reset));
    g_assert_cmpint(write(fd, image, 64 * KiB), ==, 64 * KiB);
    close(fd);
    return path;
}

/* mov $answer,%ax; lret */
static void make_code(uint8_t *p, uint16_t answer)
{
    p[0] = 0xb8;
    stw_le_p(p + 1, answer);
    p[3] = 0xcb;
}

static void wait_answer(DpRig *r, uint16_t answer)
{
    uint16_t *p = dp_host(r->guest, ANSWER_AT);

    dp_wait_until(le16_to_cpu(qatomic_read(p)) == answer);
}

static void receive_code(DpRig *r, int sock, uint16_t answer)
{
    DpBuf buf = { .addr = CODE_AT, .len = 2048, .write = true };

    dp_add(r->rx, &buf, 1);
    dp_publish(r->rx);
    dp_make_frame(r->frame, 60, 0);
    make_code(r->frame + 14, answer);
    dp_sock_send(sock, NULL, r->frame, 60);
    dp_wait_used(r->rx, NULL);
    wait_answer(r, answer);
}

/* While pages are logged; then the code that came last runs over there */
static void migrate_code(DpRig *r, DpGuest *to, uint16_t *answer)
{
    unsigned i;

    dp_migrate_enable(r->qts, to->qts, "pause-before-switchover");
    dp_migrate_set(r->qts, "max-bandwidth", SLOW);
    /* The answer is written all the time: so never before we say so */
    dp_migrate_set(r->qts, "downtime-limit", 1);
    dp_migrate_start(r->qts, to->qts);
    for (i = 0; i < 20; i++) {
        receive_code(r, r->sock, ++*answer);
    }
    g_assert_true(dp_migrate_is(r->qts, "active"));
    dp_migrate_set(r->qts, "max-bandwidth", FAST);
    dp_migrate_set(r->qts, "downtime-limit", 10000);
    dp_wait_until(dp_migrate_is(r->qts, "pre-switchover"));
    dp_rings_mark(r);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'migrate-continue',"
                             " 'arguments': { 'state': 'pre-switchover' } }");
    dp_wait_until(dp_status_is(to->qts, "running"));
    dp_rig_swap(r, to);
    stw_le_p(dp_host(r->guest, ANSWER_AT), 0);
    wait_answer(r, *answer);
}

static void test_code(const void *opaque)
{
    g_autofree char *bios = make_bios();
    g_autofree char *more = g_strdup_printf("-accel tcg -bios %s -S", bios);
    DpRig *r = dp_rig_start(&(DpSetup) { .more = more }, false);
    uint16_t answer = 1;
    DpGuest *to;
    unsigned i;
    int sock;

    make_code(dp_host(r->guest, CODE_AT + CODE_OFFSET), answer);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
    wait_answer(r, answer);
    for (i = 0; i < 100; i++) {
        receive_code(r, r->sock, ++answer);
    }

    g_free(more);
    more = g_strdup_printf("-accel tcg -bios %s", bios);
    to = dp_migrate_target(r, "-object vhost-dp-tap,id=tap1 "
                           "-netdev vhost-dp,id=vd0,driver=tap1", more);
    sock = dp_sock_open("tap1", false);
    dp_fill_ram(r->guest, 1 * MiB);
    migrate_code(r, to, &answer);
    for (i = 0; i < 100; i++) {
        receive_code(r, sock, ++answer);
    }
    close(sock);
    dp_guest_free(to);
    dp_rig_free(r);
    unlink(bios);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_ring_test("dirty/pages", NULL, test_pages);
    dp_add_test("dirty/rate", NULL, test_dirty_rate);
    dp_add_ring_test("dirty/savevm", NULL, test_savevm);
    dp_add_ring_test("dirty/background-snapshot", NULL, test_background);
    dp_add_test("dirty/code", NULL, test_code);
    return g_test_run();
}
