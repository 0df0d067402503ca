/*
 * vhost-dp: qtests of who waits for the kernel when interfaces change
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel answers questions about interfaces under one lock, which it may
 * hold for long while interfaces come and go.  Here the library of
 * fault-shim.c makes such calls wait for as long as the test likes.
 * Frames have to move meanwhile, and query-vhost-dp has to answer.  And which
 * interface it is that a descriptor belongs to is not a matter of names.
 *
 * The kernel may also have no descriptor or memory to give, or forbid netlink
 * sockets: the link has to follow the interface even so.
 */

#include "qemu/osdep.h"
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qemu/thread.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "commands.h"
#include "fault-rig.h"

/* ---- Calls that wait ---- */

/* Calls of @calls wait from now on, whoever of @threads makes them */
static void hold(uint32_t calls, uint32_t files, uint32_t threads)
{
    fault_arm((DpFault) {
        .calls = calls, .files = files, .threads = threads, .err = EIO,
        .hold = 1,
    });
}

static void wait_held(void)
{
    dp_wait_until(qatomic_read(&fault->held) > 0);
}

static void let_go(void)
{
    qatomic_set(&fault->hold, 0);
    fault_disarm();
}

/* A look at the interface that does not end, and frames that do not mind */
static void test_look_waits(const void *opaque)
{
    const DpDriver *driver = opaque;
    unsigned i;
    Rig *r;

    if (!dp_has_driver(driver->type)) {
        return;
    }
    r = rig_new(driver, 0);
    rig_check_works(r);
    hold(DP_CALL_IOCTL, driver->files, DP_THREAD_OTHER);
    dp_if_set_mtu(r->driver->interface, 1400);
    wait_held();
    for (i = 0; i < 3; i++) {
        rig_check_works(r);
    }
    g_assert_nonnull(dp_query(r->qts, "vd0"));
    let_go();
    rig_check_works(r);
    rig_free(r);
}

/* The guest uses fewer queue pairs, and the kernel takes its time */
static void test_detach_waits(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .qemu = FAULT_QEMU, .pairs = 2, .netdev = "iothread=t0",
        .options = "-object iothread,id=t0 ",
    }, false);
    unsigned i;

    dp_nic_set_pairs(r->nic, 2);
    dp_check_transmit_on(r->nic, 1, r->sock, 100, 1);
    hold(DP_CALL_IOCTL, DP_FILE_TUN, DP_THREAD_OTHER);
    dp_nic_set_pairs(r->nic, 1);
    wait_held();
    for (i = 0; i < 3; i++) {
        dp_check_transmit_on(r->nic, 0, r->sock, 100, i);
    }
    let_go();
    dp_nic_set_pairs(r->nic, 2);
    dp_check_transmit_on(r->nic, 1, r->sock, 100, 2);
    dp_rig_free(r);
}

/* ---- The monitor ---- */

typedef struct Watchdog {
    QemuSemaphore end;
    GThread *thread;
    bool barked;
} Watchdog;

/* A command that waits would wait for ever */
static void *watchdog_run(void *opaque)
{
    Watchdog *dog = opaque;

    if (qemu_sem_timedwait(&dog->end, DP_TIMEOUT_US / 1000) < 0) {
        dog->barked = true;
        qatomic_set(&fault->hold, 0);
    }
    return NULL;
}

static void watchdog_start(Watchdog *dog)
{
    qemu_sem_init(&dog->end, 0);
    dog->thread = g_thread_new("watchdog", watchdog_run, dog);
}

/* The test fails if it was too late */
static void watchdog_stop(Watchdog *dog)
{
    qemu_sem_post(&dog->end);
    g_thread_join(dog->thread);
    qemu_sem_destroy(&dog->end);
    g_assert_false(dog->barked);
}

/*
 * An IOThread is in the middle of a burst, with all that it has locked, and a
 * call of the main thread's would wait as well.
 */
static void test_query(const void *opaque)
{
    const DpDriver *driver = opaque;
    Watchdog dog = {};
    QDict *info;
    Rig *r;

    if (!dp_has_driver(driver->type)) {
        return;
    }
    r = rig_new(driver, 0);
    rig_check_works(r);
    hold(DP_CALL_IOCTL | DP_CALL_WRITE | DP_CALL_SEND | DP_CALL_SENDMMSG,
         driver->files & ~DP_FILE_NONE, DP_THREAD_ANY);
    rig_guest_add(r, 1, 200, 1);
    dp_publish(&r->nic->queue[DP_TX]);
    wait_held();
    watchdog_start(&dog);
    info = dp_query(r->qts, "vd0");
    g_assert_nonnull(info);
    g_assert_true(qdict_get_bool(info, "link-up"));
    qobject_unref(info);
    watchdog_stop(&dog);
    let_go();
    rig_wait_sent(r, 1);
    rig_check_works(r);
    rig_free(r);
}

/* ---- Other interfaces ---- */

/* How often a thread of QEMU's has gone to sleep */
static uint64_t count_sleeps(QTestState *qts, int64_t tid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%" PRId64 "/status",
                                            (int)qtest_pid(qts), tid);
    g_autofree char *text = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    line = strstr(text, "\nvoluntary_ctxt_switches:");
    g_assert_nonnull(line);
    return g_ascii_strtoull(strchr(line, ':') + 1, NULL, 10);
}

/* The thread of all watches, or 0 */
static int64_t find_watch(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task",
                                            (int)qtest_pid(qts));
    GDir *dir = g_dir_open(path, 0, NULL);
    int64_t tid = 0;
    const char *name;

    while (!tid && (name = g_dir_read_name(dir))) {
        g_autofree char *comm = g_strdup_printf("%s/%s/comm", path, name);
        g_autofree char *text = NULL;

        if (g_file_get_contents(comm, &text, NULL, NULL) &&
            strstr(text, "dp:ifwatch")) {
            tid = g_ascii_strtoll(name, NULL, 10);
        }
    }
    g_dir_close(dir);
    return tid;
}

/* The IOThreads of a netdev */
static uint64_t count_pairs_sleeps(QTestState *qts)
{
    QDict *info = dp_query(qts, "vd0");
    const QListEntry *entry;
    uint64_t n = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "queues"), entry) {
        QDict *pair = qobject_to(QDict, qlist_entry_obj(entry));

        n += count_sleeps(qts, qdict_get_int(pair, "thread-id"));
    }
    qobject_unref(info);
    return n;
}

static uint64_t count_watch_sleeps(QTestState *qts)
{
    int64_t tid = find_watch(qts);

    return tid ? count_sleeps(qts, tid) : 0;
}

/*
 * What happens to other interfaces wakes up no thread of ours.  The driver's
 * own is down, so that the host sends nothing.
 */
static void test_others(const void *opaque)
{
    const DpDriver *driver = opaque;
    g_autofree char *object = dp_driver_object(driver, "drv0", "");
    uint64_t pairs, watch;
    QTestState *qts;
    unsigned i;

    if (!dp_has_driver(driver->type)) {
        return;
    }
    dp_driver_host_new(driver, driver->pairs);
    qts = qtest_initf("-M none -name qtest,debug-threads=on %s "
                      "-netdev vhost-dp,id=vd0,driver=drv0,queues=%u", object,
                      driver->pairs);
    dp_wait_settled(qts);
    dp_if_down(driver->interface);
    /* Until the kernel has nothing more to tell of it */
    do {
        pairs = count_pairs_sleeps(qts);
        g_usleep(DP_QUIET_US);
    } while (count_pairs_sleeps(qts) != pairs);
    watch = count_watch_sleeps(qts);

    for (i = 0; i < 20; i++) {
        dp_veth_new("x0", "x1");
        dp_if_delete("x0");
    }
    g_usleep(DP_QUIET_US);
    g_assert_cmpuint(count_pairs_sleeps(qts), <, pairs + 5);
    g_assert_cmpuint(count_watch_sleeps(qts), <, watch + 5);
    /* It is not deaf */
    watch = count_watch_sleeps(qts);
    dp_if_set_mtu(driver->interface, 1400);
    dp_wait_until(count_watch_sleeps(qts) > watch);
    qtest_quit(qts);
}

/* ---- An interface of the same name and address in QEMU's namespace ---- */

static void set_mac(const char *name, const uint8_t mac[6])
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr = { .ifr_hwaddr.sa_family = 1 };

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    memcpy(ifr.ifr_hwaddr.sa_data, mac, 6);
    g_assert_cmpint(ioctl(sock, SIOCSIFHWADDR, &ifr), ==, 0);
    close(sock);
}

static void in_netns(int netns, void (*fn)(const char *name), const char *name)
{
    int back = dp_netns_open();

    dp_netns_enter(netns);
    fn(name);
    dp_netns_enter(back);
    close(back);
}

/* The other one was changed: nobody may care */
static void check_still(DpRig *r, bool up)
{
    g_usleep(DP_QUIET_US);
    g_assert_true(dp_link_is(r, up, NULL));
}

static void test_look_alike(const void *opaque)
{
    const char *qemu = opaque;
    int here = dp_netns_open();
    int there = dp_netns_new();
    int fd, other;
    g_autofree char *driver = NULL;
    uint8_t mac[6];
    DpRig *r;

    dp_netns_enter(there);
    fd = dp_tap_open("tap0", IFF_VNET_HDR);
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    dp_if_get_mac("tap0", mac);
    /* That it goes down is of interest only when it was up */
    dp_if_up("tap0");
    dp_netns_enter(here);
    other = dp_tap_open("tap0", IFF_VNET_HDR);
    set_mac("tap0", mac);

    driver = g_strdup_printf("fd=%d", fd);
    r = dp_rig_start_on(&(DpSetup) { .driver = driver, .qemu = qemu }, NULL,
                        false);
    dp_wait_until(dp_link_is(r, true, NULL));
    dp_if_up("tap0");
    check_still(r, true);
    dp_if_down("tap0");
    check_still(r, true);

    in_netns(there, dp_if_down, "tap0");
    dp_wait_until(dp_link_is(r, false, "'tap0' is down"));
    dp_if_up("tap0");
    check_still(r, false);
    in_netns(there, dp_if_up, "tap0");
    dp_wait_until(dp_link_is(r, true, NULL));
    dp_if_delete("tap0");
    check_still(r, true);
    in_netns(there, dp_if_delete, "tap0");
    dp_wait_until(dp_link_is(r, false, "deleted"));

    dp_rig_free(r);
    close(other);
    close(fd);
    close(here);
    close(there);
}

static uint32_t msglevel(const char *name, uint32_t cmd, uint32_t value)
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ethtool_value ev = { .cmd = cmd, .data = value };
    struct ifreq ifr = { .ifr_data = (void *)&ev };

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    g_assert_cmpint(ioctl(sock, SIOCETHTOOL, &ifr), ==, 0);
    close(sock);
    return ev.data;
}

/* Those that have only the name in common are told apart without a trace */
static void test_namesake(const void *opaque)
{
    int here = dp_netns_open();
    int there = dp_netns_new();
    int fd, other;
    g_autofree char *driver = NULL;
    DpRig *r;

    dp_netns_enter(there);
    fd = dp_tap_open("tap0", IFF_VNET_HDR);
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    msglevel("tap0", ETHTOOL_SMSGLVL, 4);
    dp_netns_enter(here);
    other = dp_tap_open("tap0", IFF_VNET_HDR);
    msglevel("tap0", ETHTOOL_SMSGLVL, 2);

    driver = g_strdup_printf("fd=%d", fd);
    r = dp_rig_start_on(&(DpSetup) {
        .driver = driver, .qemu = dp_qemu_unprivileged(),
    }, NULL, false);
    g_assert_cmpuint(msglevel("tap0", ETHTOOL_GMSGLVL, 0), ==, 2);
    dp_netns_enter(there);
    g_assert_cmpuint(msglevel("tap0", ETHTOOL_GMSGLVL, 0), ==, 4);
    dp_netns_enter(here);

    dp_rig_free(r);
    close(other);
    close(fd);
    close(here);
    close(there);
}

/* ---- A thread that does not rest ---- */

static QTestState *start_tap(const char *qemu)
{
    QTestState *qts;

    dp_tap_new("tap0", IFF_VNET_HDR);
    dp_if_up("tap0");
    qts = qtest_init_ext(qemu, "-M none -object vhost-dp-tap,id=drv0,"
                         "ifname=tap0 -name qtest,debug-threads=on",
                         NULL, true);
    qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                             " 'type': 'vhost-dp', 'id': 'vd0',"
                             " 'driver': 'drv0' } }");
    return qts;
}

static bool link_is(QTestState *qts, bool up, const char *word)
{
    return dp_link_is(&(DpRig) { .qts = qts }, up, word);
}

/* The look at one interface does not end, and others come and go */
static void test_monitor(const void *opaque)
{
    QTestState *qts = start_tap(FAULT_QEMU);
    DpUsage before;
    Watchdog dog = {};
    unsigned i;

    dp_wait_until(link_is(qts, true, NULL));
    before = dp_usage(qts);
    dp_tap_new("tap1", IFF_VNET_HDR);
    dp_run_good(qts, ADD_TAP("tap1"));
    fault_arm((DpFault) {
        .calls = DP_CALL_IOCTL, .files = DP_FILE_TUN,
        .threads = DP_THREAD_OTHER, .arg = (uint32_t)TUNGETIFF, .hold = 1,
    });
    dp_if_set_mtu("tap0", 1400);
    wait_held();
    watchdog_start(&dog);
    for (i = 0; i < 3; i++) {
        dp_run_good(qts, ADD_NETDEV("vd1", "tap1"));
        dp_run_good(qts, DEL_NETDEV("vd1"));
    }
    watchdog_stop(&dog);
    let_go();
    /* The thread ends what could not be ended before */
    dp_check_usage(qts, before);
    dp_if_down("tap0");
    dp_wait_until(link_is(qts, false, "'tap0' is down"));
    qtest_quit(qts);
}

/* The watch makes none of these calls, or now and then one */
static void check_rests(uint32_t calls, uint32_t files)
{
    fault_arm((DpFault) {
        .calls = calls, .files = files, .threads = DP_THREAD_OTHER,
    });
    g_usleep(5 * DP_QUIET_US);
    g_assert_cmpuint(qatomic_read(&fault->seen), <, 20);
    fault_disarm();
}

/* What QEMU has as its standard input */
static char *read_stdin_name(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd/0",
                                            (int)qtest_pid(qts));

    return g_file_read_link(path, NULL);
}

/*
 * QEMU may not have netlink sockets.  Its standard input is readable, and none
 * of the watch's business.
 */
static void test_refused(const void *opaque)
{
    const int *err = opaque;
    int saved = fcntl(0, F_DUPFD_CLOEXEC, 3);
    g_autofree char *before = NULL, *after = NULL;
    QTestState *qts;
    int fds[2];

    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
    g_assert_cmpint(dup2(fds[0], 0), ==, 0);
    fault_arm((DpFault) {
        .calls = DP_CALL_SOCKET, .files = DP_FILE_NETLINK,
        .threads = DP_THREAD_ANY, .err = *err, .count = UINT32_MAX,
    });
    qts = start_tap(FAULT_QEMU);
    g_assert_cmpuint(fault_disarm(), >, 0);
    before = read_stdin_name(qts);
    g_assert_true(g_str_has_prefix(before, "pipe:"));

    dp_wait_until(link_is(qts, true, NULL));
    check_rests(DP_CALL_IOCTL, DP_FILE_TUN);
    dp_if_down("tap0");
    dp_wait_until(link_is(qts, false, "'tap0' is down"));
    dp_if_up("tap0");
    dp_wait_until(link_is(qts, true, NULL));

    qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_del',"
                             " 'arguments': { 'id': 'vd0' } }");
    dp_wait_until(!find_watch(qts));
    after = read_stdin_name(qts);
    g_assert_cmpstr(after, ==, before);
    qtest_quit(qts);
    if (saved >= 0) {
        dup2(saved, 0);
        close(saved);
    } else {
        close(0);
    }
    close(fds[0]);
    close(fds[1]);
}

/*
 * When the watch enters the namespace that the interface went to, there are
 * messages in that which it leaves.
 */
static void test_moved(const void *opaque)
{
    int here = dp_netns_open();
    int there = dp_netns_new();
    QTestState *qts;

    qts = start_tap(FAULT_QEMU);
    dp_wait_until(link_is(qts, true, NULL));

    hold(DP_CALL_IOCTL, DP_FILE_TUN, DP_THREAD_OTHER);
    dp_if_set_mtu("tap0", 1400);
    wait_held();
    dp_if_move("tap0", there);
    let_go();
    dp_wait_until(link_is(qts, false, "'tap0' is down"));
    check_rests(DP_CALL_RECV, DP_FILE_NETLINK);
    in_netns(there, dp_if_up, "tap0");
    dp_wait_until(link_is(qts, true, NULL));

    dp_netns_enter(there);
    dp_if_move("tap0", here);
    dp_netns_enter(here);
    dp_wait_until(link_is(qts, false, "'tap0' is down"));
    dp_if_up("tap0");
    dp_wait_until(link_is(qts, true, NULL));
    check_rests(DP_CALL_RECV, DP_FILE_NETLINK);

    qtest_quit(qts);
    close(here);
    close(there);
}

/*
 * The interface gets another name between two questions about it: it is
 * followed as before, and not by the clock.
 */
static void test_renamed(const void *opaque)
{
    QTestState *qts = start_tap(FAULT_QEMU_UNPRIVILEGED);

    dp_wait_until(link_is(qts, true, NULL));
    fault_arm((DpFault) {
        .calls = DP_CALL_IOCTL, .files = DP_FILE_NETLINK,
        .threads = DP_THREAD_OTHER, .arg = SIOCGIFNAME, .hold = 1,
    });
    dp_if_set_mtu("tap0", 1400);
    wait_held();
    dp_if_rename("tap0", "tap1");
    let_go();
    /* It ends to look because of the new name before that */
    dp_if_down("tap1");
    dp_wait_until(link_is(qts, false, "'tap1' is down"));
    g_usleep(5 * DP_QUIET_US);
    fault_arm((DpFault) {
        .calls = DP_CALL_IOCTL, .files = DP_FILE_TUN,
        .threads = DP_THREAD_OTHER,
    });
    g_usleep(1500 * 1000);
    g_assert_cmpuint(qatomic_read(&fault->seen), ==, 0);
    fault_disarm();
    qtest_quit(qts);
}

/*
 * In QEMU's sandbox nobody enters a namespace: an interface that went to
 * another one is followed by what its descriptor says.
 */
static void test_sandbox(const void *qemu)
{
    int here = dp_netns_open();
    int there = dp_netns_new();
    QTestState *qts;

    qts = start_tap(qemu);
    dp_wait_until(link_is(qts, true, NULL));
    dp_if_down("tap0");
    dp_wait_until(link_is(qts, false, "'tap0' is down"));
    dp_if_up("tap0");
    dp_wait_until(link_is(qts, true, NULL));

    dp_if_move("tap0", there);
    dp_wait_until(link_is(qts, false, "'tap0' is down"));
    in_netns(there, dp_if_up, "tap0");
    dp_wait_until(link_is(qts, true, NULL));
    in_netns(there, dp_if_down, "tap0");
    dp_wait_until(link_is(qts, false, "'tap0' is down"));
    in_netns(there, dp_if_delete, "tap0");
    dp_wait_until(link_is(qts, false, "'tap0' was deleted"));

    qtest_quit(qts);
    close(here);
    close(there);
}

/* ---- What is missing for a while ---- */

/* QEMU gets no new descriptor; returns the limit that it had */
static struct rlimit exhaust(QTestState *qts)
{
    struct rlimit old, none;
    unsigned fd = 0;

    for (;; fd++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fd/%u",
                                                (int)qtest_pid(qts), fd);
        struct stat st;

        if (lstat(path, &st) < 0) {
            break;
        }
    }
    g_assert_cmpint(prlimit(qtest_pid(qts), RLIMIT_NOFILE, NULL, &old), ==, 0);
    none = old;
    none.rlim_cur = fd;
    g_assert_cmpint(prlimit(qtest_pid(qts), RLIMIT_NOFILE, &none, NULL), ==, 0);
    return old;
}

static bool is_running(const char *name)
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr = {};

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    g_assert_cmpint(ioctl(sock, SIOCGIFFLAGS, &ifr), ==, 0);
    close(sock);
    return ifr.ifr_flags & IFF_RUNNING;
}

/* Returns when the kernel has no more to tell of the interface */
static void make_interface(const DpDriver *driver, unsigned pairs)
{
    dp_driver_host_new(driver, pairs);
    if (driver->end == DP_END_TAP) {
        dp_wait_until(!is_running(driver->interface));
    }
}

/* QEMU, whose interface was deleted */
static QTestState *start_and_delete(const DpDriver *driver, unsigned pairs)
{
    g_autofree char *object = dp_driver_object(driver, "drv0", "");
    g_autofree char *args = g_strdup_printf("-M none %s -netdev vhost-dp,"
                                            "id=vd0,driver=drv0,queues=%u",
                                            object, pairs);
    QTestState *qts;

    make_interface(driver, pairs);
    qts = qtest_init_ext(FAULT_QEMU, args, NULL, true);
    dp_wait_until(link_is(qts, true, NULL));
    dp_if_delete(driver->interface);
    dp_wait_until(link_is(qts, false, "deleted"));
    return qts;
}

/*
 * The interface comes back, and nothing happens to it any more, before there
 * are descriptors to use it.
 */
static void test_exhausted(const void *opaque)
{
    const DpDriver *driver = opaque;
    struct rlimit limit;
    QTestState *qts;

    if (!dp_has_driver(driver->type)) {
        return;
    }
    qts = start_and_delete(driver, driver->pairs);
    limit = exhaust(qts);
    make_interface(driver, driver->pairs);
    dp_wait_until(link_is(qts, false, "Too many open files"));
    g_usleep(5 * DP_QUIET_US);
    g_assert_true(link_is(qts, false, "Too many open files"));
    g_assert_cmpint(prlimit(qtest_pid(qts), RLIMIT_NOFILE, &limit, NULL), ==,
                    0);
    dp_wait_until(link_is(qts, true, NULL));
    qtest_quit(qts);
}

/* A single packet socket is bound again, for which there is no memory */
static void test_no_memory(const void *opaque)
{
    QTestState *qts;

    if (!dp_has_driver(FAULT_AF_PACKET->type)) {
        return;
    }
    qts = start_and_delete(FAULT_AF_PACKET, 1);
    fault_arm((DpFault) {
        .calls = DP_CALL_BIND, .files = DP_FILE_PACKET,
        .threads = DP_THREAD_OTHER, .err = ENOMEM, .count = UINT32_MAX,
    });
    make_interface(FAULT_AF_PACKET, 1);
    dp_wait_until(qatomic_read(&fault->failed) > 0);
    g_usleep(5 * DP_QUIET_US);
    g_assert_true(link_is(qts, false, NULL));
    fault_disarm();
    dp_wait_until(link_is(qts, true, NULL));
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    static const int errors[] = { EAFNOSUPPORT, EPERM, EACCES };
    unsigned i;

    dp_test_init(&argc, &argv);
    fault_init();
    for (i = 0; i < DP_DRIVERS; i++) {
        const DpDriver *driver = &dp_drivers[i];
        const char *name = driver->name;
        g_autofree char *look = g_strdup_printf("watch/look-waits/%s", name);
        g_autofree char *query = g_strdup_printf("watch/query/%s", name);
        g_autofree char *other = g_strdup_printf("watch/others/%s", name);

        if (!driver->files || !driver->interface) {
            continue;
        }
        dp_add_test(look, driver, test_look_waits);
        dp_add_test(query, driver, test_query);
        dp_add_test(other, driver, test_others);
    }
    for (i = 0; i < ARRAY_SIZE(errors); i++) {
        g_autofree char *path = g_strdup_printf("watch/refused/%d", errors[i]);

        dp_add_test(path, &errors[i], test_refused);
    }
    dp_add_test("watch/monitor", NULL, test_monitor);
    dp_add_test("watch/moved", NULL, test_moved);
    dp_add_sandbox_test("watch/sandbox", test_sandbox);
    dp_add_privileged_sandbox_test("watch/sandbox-privileged", test_sandbox);
    dp_add_sandbox_test("watch/look-alike/sandbox", test_look_alike);
    dp_add_test("watch/renamed", NULL, test_renamed);
    dp_add_test("watch/namesake", NULL, test_namesake);
    dp_add_test("watch/exhausted/tap", FAULT_TAP, test_exhausted);
    dp_add_test("watch/exhausted/af-packet", FAULT_AF_PACKET, test_exhausted);
    dp_add_test("watch/no-memory", NULL, test_no_memory);
    dp_add_test("watch/detach-waits", NULL, test_detach_waits);
    dp_add_test("watch/look-alike/privileged", NULL, test_look_alike);
    dp_add_test("watch/look-alike/unprivileged", dp_qemu_unprivileged(),
                test_look_alike);
    return g_test_run();
}
