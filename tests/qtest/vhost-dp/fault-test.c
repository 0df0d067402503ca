/*
 * vhost-dp: qtests of system calls that fail
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * data/ has a table of the places where frames meet the kernel, and for each
 * error what has to be counted.  Frames are numbered: those that did not arrive
 * have to be in a counter, and the others have to come in order.
 *
 * every/ needs no table: from netdev_add to frames in both directions it makes
 * the first call fail that has to do with a driver's files, then the second,
 * and so on until there are no more.  Whatever it was, there is an error or a
 * NIC that works, then or after a reset, and nothing is left over.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include "qemu/atomic.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "fault-rig.h"

/* ---- data/ ---- */

typedef struct Expect {
    int err;
    const char *drop;           /* counter of a frame for each error; or none */
    unsigned more;              /* calls that fail and cost none, if it sends */
} Expect;

typedef struct Place {
    const char *name;
    const DpDriver *driver;
    bool receive;
    uint64_t features;
    uint32_t call, file;
    unsigned n;                 /* frames at once, */
    size_t len;                 /* of this length */
    size_t room;                /* of each of the guest's buffers, */
    unsigned buffers;           /* and how many of them it has */
    unsigned fail;              /* calls that fail, */
    unsigned skip;              /* after none, or up to so many, that do not */
    const Expect *expect;       /* up to one without err */
} Place;

/* All drops of a queue */
static uint64_t all_drops(Rig *r, unsigned queue)
{
    QDict *info = dp_query(r->qts, "vd0");
    QDict *pair = qobject_to(QDict, qlist_peek(qdict_get_qlist(info,
                                                               "queues")));
    QDict *q = qdict_get_qdict(pair, queue == DP_RX ? "rx" : "tx");
    const QListEntry *entry;
    uint64_t n = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(q, "drops"), entry) {
        n += qdict_get_int(qobject_to(QDict, qlist_entry_obj(entry)),
                           "frames");
    }
    qobject_unref(info);
    return n;
}

static uint64_t drops(Rig *r, unsigned queue, const char *reason)
{
    g_autofree char *name = g_strdup_printf("drop:%s", reason ?: "stopped");

    return dp_counter(r->qts, "vd0", queue, name);
}

static void send_with_fault(Rig *r, const Place *place, const Expect *expect,
                            unsigned skip)
{
    unsigned lost = expect->drop ? place->fail : 0;
    unsigned fail = place->fail + expect->more;
    uint64_t before = drops(r, DP_TX, expect->drop);
    uint64_t all = all_drops(r, DP_TX);
    uint64_t packets = dp_counter(r->qts, "vd0", DP_TX, "packets");
    unsigned got;

    rig_guest_add(r, place->n, place->len, 1000);
    fault_arm((DpFault) {
        .calls = place->call, .files = place->file,
        .threads = DP_THREAD_OTHER, .err = expect->err, .skip = skip,
        .count = fail,
    });
    dp_publish(&r->nic->queue[DP_TX]);
    rig_wait_sent(r, place->n);
    got = rig_sock_count(r, place->n, place->n - lost, place->len, 1000);
    g_assert_cmpuint(fault_disarm(), ==, fail);
    g_assert_cmpuint(got, ==, place->n - lost);
    g_assert_cmpuint(drops(r, DP_TX, expect->drop) - before, ==, lost);
    g_assert_cmpuint(all_drops(r, DP_TX) - all, ==, lost);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", packets + place->n);
}

/* Some may be there from before */
static void post_buffers(Rig *r, const Place *place)
{
    unsigned have = DP_RING_SIZE - r->nic->queue[DP_RX].nfree;

    if (have < place->buffers) {
        dp_post(r->nic, place->buffers - have, place->room);
    }
}

static void check_received(Rig *r, size_t len, unsigned seed)
{
    size_t got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

    dp_make_frame(r->frame, len, seed);
    dp_assert_frame(r->got, got, r->frame, len);
}

/* Unless the guest has buffers, all frames are there when reading begins */
static void receive_with_fault(Rig *r, const Place *place,
                               const Expect *expect, unsigned skip)
{
    unsigned counted = expect->drop ? place->fail : 0;
    uint64_t before = drops(r, DP_RX, expect->drop);
    uint64_t all = all_drops(r, DP_RX);
    uint64_t packets;
    unsigned i;

    if (place->call == DP_CALL_READV) {
        /* Frames go straight to the guest if those before them were long */
        post_buffers(r, place);
        rig_sock_send(r, place->len, 1);
        check_received(r, place->len, 1);
    }
    packets = dp_counter(r->qts, "vd0", DP_RX, "packets");
    fault_arm((DpFault) {
        .calls = place->call, .files = place->file,
        .threads = DP_THREAD_OTHER, .err = expect->err, .skip = skip,
        .count = place->fail,
    });
    for (i = 0; i < place->n; i++) {
        rig_sock_send(r, place->len, 1000 + i);
    }
    post_buffers(r, place);
    for (i = 0; i < place->n; i++) {
        check_received(r, place->len, 1000 + i);
    }
    g_assert_cmpuint(fault_disarm(), ==, place->fail);
    g_assert_cmpuint(drops(r, DP_RX, expect->drop) - before, ==, counted);
    g_assert_cmpuint(all_drops(r, DP_RX) - all, ==, counted);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", packets + place->n);
}

static void test_data(const void *opaque)
{
    const Place *place = opaque;
    const Expect *expect;
    DpUsage before;
    unsigned skip;
    Rig *r;

    if (!dp_has_driver(place->driver->type)) {
        return;
    }
    r = rig_new(place->driver, place->features);
    rig_check_works(r);
    before = dp_usage(r->qts);
    for (expect = place->expect; expect->err; expect++) {
        for (skip = 0; skip <= place->skip; skip++) {
            g_test_message("%s, call %u", g_strerror(expect->err), skip);
            if (place->receive) {
                receive_with_fault(r, place, expect, skip);
            } else {
                send_with_fault(r, place, expect, skip);
            }
            rig_check_works(r);
        }
    }
    dp_check_usage(r->qts, before);
    rig_free(r);
}

/* tun(4) answers EIO while the interface is down, EBADFD when it is gone */
static const Expect tap_write[] = {
    { EAGAIN, "no-buffer" },
    { ENOBUFS, "no-buffer" },
    { ENOMEM, "no-buffer" },
    { EIO, "link-down" },
    { EBADFD, "link-down" },
    { ENETDOWN, "driver-error" },
    { EINVAL, "driver-error" },
    { }
};

/* What cannot be read now is read later */
static const Expect tap_read[] = {
    { EAGAIN },
    { ENOBUFS, "driver-error" },
    { ENOMEM, "driver-error" },
    { EIO, "driver-error" },
    { EBADFD },
    { ENETDOWN, "driver-error" },
    { EFAULT, "too-large" },
    { }
};

static const Expect afp_send[] = {
    { EAGAIN },
    { ENOBUFS, "no-buffer" },
    { ENOMEM, "no-buffer" },
    { EIO, "driver-error" },
    { EBADFD, "driver-error" },
    /* May be an old one, which was not told of; not if it comes twice */
    { ENETDOWN },
    { ENETDOWN, "link-down", 1 },
    { ENXIO, "link-down" },
    { EMSGSIZE, "too-large" },
    { }
};

/* The frames are in the ring already, and stay there */
static const Expect xdp_send[] = {
    { EAGAIN },
    { ENOBUFS },
    { ENOMEM },
    { EIO },
    { EBADFD },
    { ENETDOWN },
    { EINTR },
    { }
};

static const Place places[] = {
    /* Fewer than three, and more: system calls, io_uring */
    { "tap/write", FAULT_TAP, false, 0, DP_CALL_WRITE, DP_FILE_TUN,
      2, 200, 0, 0, 1, 1, tap_write },
    { "tap/writev", FAULT_TAP, false, 0, DP_CALL_WRITEV, DP_FILE_TUN,
      2, 3000, 0, 0, 1, 1, tap_write },
    { "tap/io_uring/write", FAULT_TAP, false, 0, DP_CALL_URING_WRITE,
      DP_FILE_NONE, 20, 200, 0, 0, 5, 2, tap_write },
    { "tap/io_uring/writev", FAULT_TAP, false, 0, DP_CALL_URING_WRITEV,
      DP_FILE_NONE, 20, 3000, 0, 0, 5, 2, tap_write },
    { "tap/read", FAULT_TAP, true, 0, DP_CALL_READ, DP_FILE_TUN,
      2, 200, 2048, 2, 1, 1, tap_read },
    { "tap/io_uring/read", FAULT_TAP, true, 0, DP_CALL_URING_READ,
      DP_FILE_NONE, 40, 200, 2048, 40, 3, 2, tap_read },
    { "tap/readv", FAULT_TAP, true, DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
      DP_CALL_READV, DP_FILE_TUN, 3, 20000, 8192, 30, 1, 1, tap_read },
    { "af-packet/sendmmsg", FAULT_AF_PACKET, false, 0, DP_CALL_SENDMMSG,
      DP_FILE_PACKET, 20, 200, 0, 0, 1, 0, afp_send },
    { "af-xdp/sendto", FAULT_AF_XDP, false, 0, DP_CALL_SEND, DP_FILE_XDP,
      40, 200, 0, 0, 1, 0, xdp_send },
};

/*
 * Reading fails, whatever is tried, while there is a frame to be read: QEMU
 * tries again, but is not busy with it.  The error goes, and the frame comes.
 */
static void test_read_fails_for_good(const void *opaque)
{
    const bool mergeable = opaque != NULL;
    const int64_t wait_us = 300 * 1000;
    Rig *r = rig_new(FAULT_TAP,
                     mergeable ? DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) : 0);
    const size_t len = mergeable ? 20000 : 200;
    uint64_t before;
    int64_t begin;
    unsigned failed;

    rig_check_works(r);
    dp_post(r->nic, 30, 8192);
    if (mergeable) {
        /* As in receive_with_fault() */
        rig_sock_send(r, len, 1);
        check_received(r, len, 1);
    }
    before = drops(r, DP_RX, "driver-error");
    begin = g_get_monotonic_time();
    fault_arm((DpFault) {
        .calls = DP_CALL_READ | DP_CALL_READV | DP_CALL_URING_READ,
        .files = DP_FILE_TUN | DP_FILE_NONE, .threads = DP_THREAD_OTHER,
        .err = EIO, .count = UINT32_MAX,
    });
    rig_sock_send(r, len, 2);
    dp_wait_until(qatomic_read(&fault->failed) > 2);
    g_usleep(wait_us);
    failed = fault_disarm();
    /* A few for each 10 ms */
    g_assert_cmpuint(failed, <, 10 + (g_get_monotonic_time() - begin) / 2000);
    check_received(r, len, 2);
    g_assert_cmpuint(qatomic_read(&fault->failed), ==,
                     drops(r, DP_RX, "driver-error") - before);
    rig_check_works(r);
    rig_free(r);
}

/* An error that does not say that there is no such interface */
static void test_open_reason(const void *opaque)
{
    Rig *r = rig_begin(FAULT_AF_XDP);
    QDict *response;

    fault_arm((DpFault) {
        .calls = DP_CALL_IOCTL, .files = DP_FILE_INET,
        .threads = DP_THREAD_ANY, .arg = SIOCGIFINDEX, .err = EPERM,
        .count = 1,
    });
    response = rig_netdev_add(r);
    g_assert_cmpuint(fault_disarm(), ==, 1);
    dp_check_error(response, "ifname=v0", "Operation not permitted", NULL);
    rig_end(r);
}

static bool link_is(Rig *r, bool up, const char *word)
{
    return dp_link_is(&(DpRig) { .qts = r->qts }, up, word);
}

/*
 * The queue of a new interface stays in use for longer than what was closed
 * needs to be free, and the interface has nothing to tell.
 */
static void test_reopen_busy(const void *opaque)
{
    Rig *r;

    if (!dp_has_driver(FAULT_AF_XDP->type)) {
        return;
    }
    r = rig_new(FAULT_AF_XDP, 0);
    rig_check_works(r);
    dp_if_delete("v0");
    dp_wait_until(link_is(r, false, "deleted"));
    fault_arm((DpFault) {
        .calls = DP_CALL_BIND, .files = DP_FILE_XDP,
        .threads = DP_THREAD_OTHER, .err = EBUSY, .count = 60,
    });
    dp_veth_new("v0", "v1");
    dp_wait_until(link_is(r, false, "in use by another AF_XDP socket"));
    /* Some at once, then one in a second */
    dp_wait_until(qatomic_read(&fault->failed) >= 52);
    fault_disarm();
    dp_wait_until(link_is(r, true, NULL));
    close(r->sock);
    r->sock = dp_sock_open("v1", true);
    rig_check_works(r);
    rig_free(r);
}

/* ---- io_uring as such ---- */

static char *get_io(Rig *r)
{
    QDict *info = dp_query(r->qts, "vd0");
    char *io = g_strdup(qdict_get_try_str(info, "io"));

    qobject_unref(info);
    return io;
}

static void check_io(Rig *r, const char *want)
{
    g_autofree char *io = get_io(r);

    g_assert_cmpstr(io, ==, want);
}

/* It cannot be had: system calls do as well */
static void test_uring_setup(const void *opaque)
{
    static const struct {
        uint32_t call;
        int err;
        const char *io;
    } faults[] = {
        { DP_CALL_URING_INIT, EPERM, "system-calls" },
        { DP_CALL_URING_INIT, ENOSYS, "system-calls" },
        { DP_CALL_URING_INIT, ENOMEM, "system-calls" },
        { DP_CALL_URING_INIT, EMFILE, "system-calls" },
        { DP_CALL_URING_ENTER, ENOMEM, "system-calls" },
        { DP_CALL_URING_READ, EOPNOTSUPP, "system-calls" },
        { DP_CALL_URING_READ, EINVAL, "system-calls" },
        /* Flags that the kernel does not know; no memory to be locked */
        { DP_CALL_URING_BUFFERS, ENOMEM, "io-uring" },
    };
    Rig *r = rig_begin(FAULT_TAP);
    DpUsage before;
    unsigned i;

    dp_query(r->qts, "vd0");
    before = dp_usage(r->qts);
    for (i = 0; i < ARRAY_SIZE(faults); i++) {
        QDict *response;

        g_test_message("%u: %s", i, g_strerror(faults[i].err));
        fault_arm((DpFault) {
            .calls = faults[i].call, .files = DP_FILE_NONE | DP_FILE_TUN,
            .threads = DP_THREAD_OTHER, .err = faults[i].err, .count = 1,
        });
        response = rig_netdev_add(r);
        g_assert_true(qdict_haskey(response, "return"));
        qobject_unref(response);
        rig_nic_add(r, 0);
        dp_wait_until(qatomic_read(&fault->failed));
        fault_disarm();
        rig_check_works(r);
        check_io(r, faults[i].io);
        rig_nic_del(r);
        rig_netdev_del(r);
        dp_check_usage(r->qts, before);
    }
    rig_end(r);
}

/* It worked, and does not any more: no frame is lost, and QEMU goes on */
static void test_uring_enter(const void *opaque)
{
    static const struct {
        int err;
        unsigned count;
        const char *io;
    } faults[] = {
        { EINTR, 1, "io-uring" },
        { EAGAIN, 10, "io-uring" },
        { EBUSY, 10, "io-uring" },
        { EAGAIN, UINT32_MAX, "system-calls" },
        { ENOMEM, 1, "system-calls" },
        { EIO, 1, "system-calls" },
        { EBADFD, 1, "system-calls" },
    };
    const bool receive = opaque != NULL;
    unsigned i, k;

    for (i = 0; i < ARRAY_SIZE(faults); i++) {
        Rig *r = rig_new(FAULT_TAP, 0);
        uint64_t before;

        rig_check_works(r);
        check_io(r, "io-uring");
        before = all_drops(r, receive ? DP_RX : DP_TX);
        fault_arm((DpFault) {
            .calls = DP_CALL_URING_ENTER, .files = DP_FILE_NONE,
            .threads = DP_THREAD_OTHER, .err = faults[i].err,
            .count = faults[i].count,
        });
        if (receive) {
            for (k = 0; k < 40; k++) {
                rig_sock_send(r, 200, k);
            }
            dp_post(r->nic, 40, 2048);
            for (k = 0; k < 40; k++) {
                size_t len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

                dp_make_frame(r->frame, 200, k);
                dp_assert_frame(r->got, len, r->frame, 200);
            }
        } else {
            rig_guest_add(r, 40, 200, 0);
            dp_publish(&r->nic->queue[DP_TX]);
            rig_wait_sent(r, 40);
            g_assert_cmpuint(rig_sock_count(r, 40, 40, 200, 0), ==, 40);
        }
        g_assert_cmpuint(fault_disarm(), >, 0);
        g_assert_cmpuint(all_drops(r, receive ? DP_RX : DP_TX), ==, before);
        check_io(r, faults[i].io);
        rig_check_works(r);
        rig_free(r);
        dp_if_delete("tap0");
    }
}

/* ---- every/ ---- */

/* The NIC does a bit of everything; frames may be lost meanwhile */
static void exercise(Rig *r)
{
    unsigned i;

    if (r->driver == FAULT_SLIRP) {
        dp_post(r->nic, 3, 2048);
        for (i = 0; i < 3; i++) {
            rig_arp_answer(r);
            rig_udp_send(r, 0);
            g_usleep(5 * 1000);
            rig_udp_answer(r, 0);
        }
        return;
    }
    rig_guest_add(r, 5, 200, 1);
    dp_publish(&r->nic->queue[DP_TX]);
    /* Without a link it is virtio-net that takes them, if it is kicked */
    dp_kick(&r->nic->queue[DP_TX]);
    dp_post(r->nic, 5, 2048);
    for (i = 0; i < 5; i++) {
        rig_sock_send(r, 200, i);
    }
    rig_wait_sent(r, 5);
}

/* vhost did not start: the driver sees nothing wrong, and there is no link */
static bool start_failed(Rig *r)
{
    QDict *info = dp_query(r->qts, "vd0");
    bool failed = qdict_get_bool(info, "link-up") && !dp_nic_link(r->nic);

    qobject_unref(info);
    return failed;
}

/* The link comes by itself, or, if vhost did not start, with a new start */
static void check_recovers(Rig *r)
{
    dp_wait_until(dp_nic_link(r->nic) || start_failed(r));
    dp_nic_reset(r->nic);
    dp_nic_start(r->nic, DP_FEATURES_DEFAULT);
    rig_check_works(r);
}

/* It names the driver or the netdev */
static void check_error(QDict *response)
{
    QDict *error = qdict_get_qdict(response, "error");
    const char *text = qdict_get_str(error, "desc");

    g_test_message("%s", text);
    g_assert_true(strstr(text, "'drv0'") || strstr(text, "'vd0'"));
    qobject_unref(response);
}

/* Returns false if there are not so many calls */
static bool fail_call(Rig *r, unsigned number, int err)
{
    DpUsage before = dp_usage(r->qts);
    QDict *response;
    bool added;

    fault_arm((DpFault) {
        .calls = DP_CALL_ANY, .files = r->driver->files,
        .threads = DP_THREAD_ANY, .err = err, .skip = number, .count = 1,
    });
    response = rig_netdev_add(r);
    added = qdict_haskey(response, "return");
    if (added) {
        qobject_unref(response);
        rig_nic_add(r, 0);
        exercise(r);
    }
    if (!fault_disarm()) {
        g_assert_true(added);
        rig_check_works(r);
        rig_nic_del(r);
        rig_netdev_del(r);
        return false;
    }
    g_test_message("%u: %s, %s: %s", number, fault->what, g_strerror(err),
                   added ? "added" : "error");
    if (added) {
        check_recovers(r);
        rig_nic_del(r);
        rig_netdev_del(r);
    } else {
        check_error(response);
    }
    dp_check_usage(r->qts, before);
    return true;
}

static void test_every(const void *opaque)
{
    static const int errors[] = { ENOMEM, EIO };
    const DpDriver *driver = opaque;
    unsigned i, number;
    Rig *r;

    if (!dp_has_driver(driver->type)) {
        return;
    }
    r = rig_begin(driver);
    for (i = 0; i < ARRAY_SIZE(errors); i++) {
        number = 0;
        while (fail_call(r, number, errors[i])) {
            number++;
        }
        g_test_message("%u calls", number);
        g_assert_cmpuint(number, >, 5);
    }
    rig_end(r);
}

/* ---- Stock vhost-net ---- */

/*
 * A driver without VIRTIO_NET_F_MQ has the control queue where a pair's queue
 * would be; of that pair's vhost device it is none.
 */
static void test_control_queue(const void *opaque)
{
    bool legacy = opaque;
    g_autofree char *log = NULL, *options = NULL, *text = NULL;
    int fd = g_file_open_tmp("vhost-dp-log-XXXXXX", &log, NULL);
    const uint8_t on = 1;
    DpGuest *guest;
    DpNic *nic;
    unsigned i;

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    fault->vhost_net = true;
    options = g_strdup_printf("-netdev tap,id=vd0,queues=2,vhost=on,script=no,"
                              "downscript=no " DP_DEVICE "mq=on,%s 2>%s",
                              legacy ? "disable-modern=on,disable-legacy=off" :
                                       "disable-legacy=on", log);
    guest = dp_guest_new_env(FAULT_QEMU, options);
    nic = dp_nic_probe(guest, DP_SLOT);
    nic->late = legacy;
    dp_nic_start(nic, DP_FEATURES_DEFAULT | DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                      DP_FEATURE(VIRTIO_NET_F_CTRL_RX) |
                      (legacy ? 0 : DP_FEATURE(VIRTIO_F_RING_RESET)));
    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(dp_nic_ctrl(nic, VIRTIO_NET_CTRL_RX,
                                     VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), ==,
                         VIRTIO_NET_OK);
        if (!legacy) {
            dp_queue_reset(nic, 2);
            dp_queue_restart(nic, 2);
        }
    }
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "");
    dp_nic_free(nic);
    dp_guest_free(guest);
    fault->vhost_net = false;
    unlink(log);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    fault_init();
    for (i = 0; i < ARRAY_SIZE(places); i++) {
        g_autofree char *path = g_strdup_printf("fault/data/%s",
                                                places[i].name);

        dp_add_test(path, &places[i], test_data);
    }
    dp_add_test("fault/read-for-good/slots", NULL, test_read_fails_for_good);
    dp_add_test("fault/read-for-good/guest-buffers", "",
                test_read_fails_for_good);
    dp_add_test("fault/open/reason", NULL, test_open_reason);
    dp_add_test("fault/reopen/busy", NULL, test_reopen_busy);
    dp_add_test("fault/io_uring/setup", NULL, test_uring_setup);
    dp_add_test("fault/io_uring/enter/transmit", NULL, test_uring_enter);
    dp_add_test("fault/io_uring/enter/receive", "", test_uring_enter);
    dp_add_test("fault/control-queue/legacy", (void *)true,
                test_control_queue);
    dp_add_test("fault/control-queue/modern", NULL, test_control_queue);
    for (i = 0; i < DP_DRIVERS; i++) {
        const DpDriver *driver = &dp_drivers[i];
        g_autofree char *path = g_strdup_printf("fault/every/%s", driver->name);

        if (driver->files) {
            dp_add_test(path, driver, test_every);
        }
    }
    return g_test_run();
}
