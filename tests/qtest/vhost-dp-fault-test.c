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
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "libqos/pci-pc.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "vhost-dp-fault.h"
#include "vhost-dp-guest.h"

/* Of the host, on the loopback interface */
#define UDP_PORT 7000

#define QEMU_VARIABLE "VHOST_DP_QTEST_QEMU_FAULT"

/* ---- Rules ---- */

static DpFault *fault;

/* QEMU with the library of vhost-dp-fault-shim.c */
static void fault_init(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self);
    g_autofree char *command = NULL;
    int fd = memfd_create("vhost-dp-qtest-fault", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, sizeof(*fault)), ==, 0);
    fault = mmap(NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                 0);
    g_assert(fault != MAP_FAILED);
    /* AddressSanitizer wants to be first, and can do without */
    command = g_strdup_printf("env LD_PRELOAD='%s/vhost-dp-fault-shim.so' "
                              "ASAN_OPTIONS=verify_asan_link_order=0:%s "
                              DP_FAULT_VARIABLE "=/proc/%d/fd/%d %s", dir,
                              getenv("ASAN_OPTIONS") ?: "", (int)getpid(), fd,
                              getenv("QTEST_QEMU_BINARY"));
    g_setenv(QEMU_VARIABLE, command, true);
}

/* @count calls fail after @skip that do not */
static void fault_arm(DpFault rule)
{
    g_assert_false(fault->armed);
    *fault = rule;
    qatomic_store_release(&fault->armed, 1);
}

/* Returns how many failed */
static unsigned fault_disarm(void)
{
    qatomic_store_release(&fault->armed, 0);
    return qatomic_read(&fault->failed);
}

/* ---- Drivers ---- */

typedef struct Driver {
    const char *name;
    const char *type;
    const char *options;
    const char *peer;           /* where the test has its packet socket */
    uint32_t files;             /* that it uses */
    bool vnet_hdr;              /* the socket wants to be told of checksums */
} Driver;

static const Driver tap = {
    "tap", "vhost-dp-tap", "id=drv0,ifname=tap0", "tap0",
    DP_FILE_TUN | DP_FILE_INET | DP_FILE_NETLINK | DP_FILE_NONE,
};
static const Driver af_packet = {
    "af-packet", "vhost-dp-af-packet", "id=drv0,ifname=v0", "v1",
    DP_FILE_PACKET | DP_FILE_INET | DP_FILE_NETLINK | DP_FILE_NONE, true,
};
static const Driver af_xdp = {
    "af-xdp", "vhost-dp-af-xdp", "id=drv0,ifname=v0", "v1",
    DP_FILE_XDP | DP_FILE_INET | DP_FILE_NETLINK | DP_FILE_NONE, true,
};
static const Driver slirp = {
    "slirp", "vhost-dp-slirp", "id=drv0,hostfwd=tcp:127.0.0.1:5555-:22",
    NULL, DP_FILE_INET | DP_FILE_NONE,
};

/* libslirp has no interface: the guest's datagrams end there */
static int udp_socket_new(void)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons(UDP_PORT),
    };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    return fd;
}

/* The driver's interface, and a socket at its other end */
static int host_new(const Driver *driver)
{
    int fd;

    dp_if_up("lo");
    if (driver == &slirp) {
        return udp_socket_new();
    }
    if (driver == &tap) {
        fd = dp_tap_open("tap0", IFF_VNET_HDR);
        dp_tap_set_persistent(fd, true);
        close(fd);
        dp_if_set_mtu("tap0", 60000);
    } else if (driver->peer) {
        dp_veth_new("v0", "v1");
    }
    return dp_sock_open(driver->peer, driver->vnet_hdr);
}

/* ---- The guest ---- */

typedef struct Rig {
    const Driver *driver;
    DpGuest *guest;
    QTestState *qts;
    DpNic *nic;
    int sock;
    uint8_t *frame, *got;
} Rig;

static Rig *rig_begin(const Driver *driver)
{
    Rig *r = g_new0(Rig, 1);
    g_autofree char *options = NULL;

    r->driver = driver;
    r->sock = host_new(driver);
    options = g_strdup_printf("-object %s,%s ", driver->type, driver->options);
    r->guest = dp_guest_new_env(QEMU_VARIABLE, options);
    r->qts = r->guest->qts;
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    return r;
}

static void rig_end(Rig *r)
{
    dp_guest_free(r->guest);
    close(r->sock);
    g_free(r->frame);
    g_free(r->got);
    g_free(r);
}

static QDict *netdev_add(Rig *r)
{
    return qtest_qmp(r->qts, "{ 'execute': 'netdev_add', 'arguments': {"
                     " 'type': 'vhost-dp', 'id': 'vd0', 'driver': 'drv0' } }");
}

static void nic_add(Rig *r, uint64_t features)
{
    qtest_qmp_device_add(r->qts, "virtio-net-pci", "nic",
                         "{ 'netdev': 'vd0', 'addr': '04.0', 'romfile': '',"
                         " 'disable-legacy': 'on' }");
    r->nic = dp_nic_new(r->guest, DP_SLOT, DP_FEATURES_DEFAULT | features);
}

static void nic_del(Rig *r)
{
    qpci_unplug_acpi_device_test(r->qts, "nic", DP_SLOT);
    dp_nic_free(r->nic);
    r->nic = NULL;
}

static void netdev_del(Rig *r)
{
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'netdev_del',"
                             " 'arguments': { 'id': 'vd0' } }");
}

static Rig *rig_new(const Driver *driver, uint64_t features)
{
    Rig *r = rig_begin(driver);
    QDict *response = netdev_add(r);

    g_assert_true(qdict_haskey(response, "return"));
    qobject_unref(response);
    nic_add(r, features);
    return r;
}

static void rig_free(Rig *r)
{
    nic_del(r);
    netdev_del(r);
    rig_end(r);
}

/* ---- Frames ---- */

static void sock_send(Rig *r, size_t len, unsigned seed)
{
    static const struct virtio_net_hdr no_offload;

    dp_make_frame(r->frame, len, seed);
    dp_sock_send(r->sock, r->driver->vnet_hdr ? &no_offload : NULL, r->frame,
                 len);
}

/* Make @n frames available to the device, without telling */
static void guest_add(Rig *r, unsigned n, size_t len, unsigned seed)
{
    size_t size = r->nic->hdr_len + len;
    uint64_t addr = dp_alloc(r->guest, n * size);
    unsigned i;

    for (i = 0; i < n; i++) {
        DpBuf buf = { .addr = addr + i * size, .len = size };
        uint8_t *p = dp_host(r->guest, buf.addr);

        memset(p, 0, r->nic->hdr_len);
        dp_make_frame(p + r->nic->hdr_len, len, seed + i);
        dp_add(&r->nic->queue[DP_TX], &buf, 1);
    }
}

static void guest_wait_sent(Rig *r, unsigned n)
{
    while (n--) {
        dp_wait_used(&r->nic->queue[DP_TX], NULL);
    }
}

/*
 * Take the frames that arrive, which are some of @n from @seed on, in order.
 * Returns how many there were.
 */
static unsigned sock_count(Rig *r, unsigned n, unsigned want, size_t len,
                           unsigned seed)
{
    unsigned i, got = 0;

    for (i = 0; i < n; i++) {
        struct virtio_net_hdr hdr;
        size_t got_len = dp_sock_recv(r->sock, DP_ETHERTYPE,
                                      r->driver->vnet_hdr ? &hdr : NULL,
                                      r->got, DP_MAX_FRAME, got < want ?
                                      DP_TIMEOUT_US : DP_QUIET_US);

        if (!got_len) {
            break;
        }
        /* Those that are missing */
        for (;; i++) {
            g_assert_cmpuint(i, <, n);
            dp_make_frame(r->frame, len, seed + i);
            if (got_len == len && !memcmp(r->got, r->frame, len)) {
                break;
            }
        }
        got++;
    }
    return got;
}

/* ---- Datagrams, for libslirp ---- */

/* From the guest to the test: 10.0.2.15 to 10.0.2.2, without a UDP checksum */
static void udp_send(Rig *r, uint32_t number)
{
    uint8_t frame[60] = {
        0x52, 0x55, 10, 0, 2, 2, 2, 0, 0, 0, 0, 1, 8, 0,
        0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0x62, 0xbd, 10, 0, 2, 15,
        10, 0, 2, 2, 0x13, 0x88, UDP_PORT >> 8, UDP_PORT & 0xff, 0, 12,
    };

    stl_be_p(frame + 42, number);
    dp_transmit(r->nic, NULL, frame, sizeof(frame));
}

/* Answer what has arrived.  Returns whether that number was among it. */
static bool udp_answer(Rig *r, uint32_t number)
{
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    bool found = false;
    uint8_t data[4];

    while (recvfrom(r->sock, data, 4, MSG_DONTWAIT, (struct sockaddr *)&from,
                    &len) == 4) {
        sendto(r->sock, data, 4, 0, (struct sockaddr *)&from, len);
        found |= ldl_be_p(data) == number;
    }
    return found;
}

/* Answer libslirp's question for the guest's address */
static void arp_answer(Rig *r)
{
    uint8_t frame[60] = {
        0x52, 0x55, 10, 0, 2, 2, 2, 0, 0, 0, 0, 1, 8, 6,
        0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 2, 15,
        0x52, 0x55, 10, 0, 2, 2, 10, 0, 2, 2,
    };

    dp_transmit(r->nic, NULL, frame, sizeof(frame));
}

/* Datagrams may be lost, so ask again */
static void check_udp(Rig *r)
{
    static uint32_t number;
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;

    number++;
    arp_answer(r);
    dp_post(r->nic, 1, 2048);
    for (;;) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        udp_send(r, number);
        g_usleep(10 * 1000);
        udp_answer(r, number);
        g_usleep(10 * 1000);
        while (dp_has_used(&r->nic->queue[DP_RX])) {
            size_t len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

            if (len >= 46 && lduw_be_p(r->got + 12) == ETH_P_IP &&
                r->got[23] == IPPROTO_UDP &&
                ldl_be_p(r->got + 42) == number) {
                return;
            }
            dp_post(r->nic, 1, 2048);
        }
    }
}

/* Frames of before may come first */
static void check_works(Rig *r)
{
    static unsigned seed;
    size_t len;

    dp_wait_until(dp_nic_link(r->nic));
    if (r->driver == &slirp) {
        check_udp(r);
        return;
    }
    /* A tap has a carrier while QEMU has it open */
    dp_if_wait_running(r->driver->peer);
    /* Lengths that nothing else here has */
    seed++;
    guest_add(r, 1, 333, seed);
    dp_publish(&r->nic->queue[DP_TX]);
    guest_wait_sent(r, 1);
    do {
        struct virtio_net_hdr hdr;

        len = dp_sock_recv(r->sock, DP_ETHERTYPE,
                           r->driver->vnet_hdr ? &hdr : NULL, r->got,
                           DP_MAX_FRAME, DP_TIMEOUT_US);
        g_assert_cmpuint(len, >, 0);
    } while (len != 333);
    dp_make_frame(r->frame, 333, seed);
    dp_assert_frame(r->got, len, r->frame, 333);

    sock_send(r, 334, seed);
    do {
        dp_post(r->nic, 1, 2048);
        len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
    } while (len != 334);
    dp_assert_frame(r->got, len, r->frame, 334);
}

/* ---- data/ ---- */

typedef struct Expect {
    int err;
    const char *drop;           /* counter of a frame for each error; or none */
    bool kept;                  /* no frame is lost all the same */
} Expect;

typedef struct Place {
    const char *name;
    const Driver *driver;
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
    uint64_t before = drops(r, DP_TX, expect->drop);
    uint64_t all = all_drops(r, DP_TX);
    uint64_t packets = dp_counter(r->qts, "vd0", DP_TX, "packets");
    unsigned got;

    guest_add(r, place->n, place->len, 1000);
    fault_arm((DpFault) {
        .calls = place->call, .files = place->file,
        .threads = DP_THREAD_OTHER, .err = expect->err, .skip = skip,
        .count = place->fail,
    });
    dp_publish(&r->nic->queue[DP_TX]);
    guest_wait_sent(r, place->n);
    got = sock_count(r, place->n, place->n - lost, place->len, 1000);
    g_assert_cmpuint(fault_disarm(), ==, place->fail);
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
        sock_send(r, place->len, 1);
        check_received(r, place->len, 1);
    }
    packets = dp_counter(r->qts, "vd0", DP_RX, "packets");
    fault_arm((DpFault) {
        .calls = place->call, .files = place->file,
        .threads = DP_THREAD_OTHER, .err = expect->err, .skip = skip,
        .count = place->fail,
    });
    for (i = 0; i < place->n; i++) {
        sock_send(r, place->len, 1000 + i);
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
    check_works(r);
    before = dp_usage(r->qts);
    for (expect = place->expect; expect->err; expect++) {
        for (skip = 0; skip <= place->skip; skip++) {
            g_test_message("%s, call %u", g_strerror(expect->err), skip);
            if (place->receive) {
                receive_with_fault(r, place, expect, skip);
            } else {
                send_with_fault(r, place, expect, skip);
            }
            check_works(r);
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
    { "tap/write", &tap, false, 0, DP_CALL_WRITE, DP_FILE_TUN,
      2, 200, 0, 0, 1, 1, tap_write },
    { "tap/writev", &tap, false, 0, DP_CALL_WRITEV, DP_FILE_TUN,
      2, 3000, 0, 0, 1, 1, tap_write },
    { "tap/io_uring/write", &tap, false, 0, DP_CALL_URING_WRITE, DP_FILE_NONE,
      20, 200, 0, 0, 5, 2, tap_write },
    { "tap/io_uring/writev", &tap, false, 0, DP_CALL_URING_WRITEV,
      DP_FILE_NONE, 20, 3000, 0, 0, 5, 2, tap_write },
    { "tap/read", &tap, true, 0, DP_CALL_READ, DP_FILE_TUN,
      2, 200, 2048, 2, 1, 1, tap_read },
    { "tap/io_uring/read", &tap, true, 0, DP_CALL_URING_READ, DP_FILE_NONE,
      40, 200, 2048, 40, 3, 2, tap_read },
    { "tap/readv", &tap, true, DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
      DP_CALL_READV, DP_FILE_TUN, 3, 20000, 8192, 30, 1, 1, tap_read },
    { "af-packet/sendmmsg", &af_packet, false, 0, DP_CALL_SENDMMSG,
      DP_FILE_PACKET, 20, 200, 0, 0, 1, 0, afp_send },
    { "af-xdp/sendto", &af_xdp, false, 0, DP_CALL_SEND, DP_FILE_XDP,
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
    Rig *r = rig_new(&tap, mergeable ? DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) : 0);
    const size_t len = mergeable ? 20000 : 200;
    uint64_t before;
    int64_t begin;
    unsigned failed;

    check_works(r);
    dp_post(r->nic, 30, 8192);
    if (mergeable) {
        /* As in receive_with_fault() */
        sock_send(r, len, 1);
        check_received(r, len, 1);
    }
    before = drops(r, DP_RX, "driver-error");
    begin = g_get_monotonic_time();
    fault_arm((DpFault) {
        .calls = DP_CALL_READ | DP_CALL_READV | DP_CALL_URING_READ,
        .files = DP_FILE_TUN | DP_FILE_NONE, .threads = DP_THREAD_OTHER,
        .err = EIO, .count = UINT32_MAX,
    });
    sock_send(r, len, 2);
    dp_wait_until(qatomic_read(&fault->failed) > 2);
    g_usleep(wait_us);
    failed = fault_disarm();
    /* A few for each 10 ms */
    g_assert_cmpuint(failed, <, 10 + (g_get_monotonic_time() - begin) / 2000);
    check_received(r, len, 2);
    g_assert_cmpuint(qatomic_read(&fault->failed), ==,
                     drops(r, DP_RX, "driver-error") - before);
    check_works(r);
    rig_free(r);
}

/* An error that does not say that there is no such interface */
static void test_open_reason(const void *opaque)
{
    Rig *r = rig_begin(&af_xdp);
    QDict *response;

    fault_arm((DpFault) {
        .calls = DP_CALL_IOCTL, .files = DP_FILE_INET,
        .threads = DP_THREAD_ANY, .arg = SIOCGIFINDEX, .err = EPERM,
        .count = 1,
    });
    response = netdev_add(r);
    g_assert_cmpuint(fault_disarm(), ==, 1);
    dp_check_error(response, "ifname=v0", "Operation not permitted", NULL);
    rig_end(r);
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
        { DP_CALL_URING_FILES, EBADF, "system-calls" },
        { DP_CALL_URING_FILES, ENOMEM, "system-calls" },
        { DP_CALL_URING_ENTER, ENOMEM, "system-calls" },
        { DP_CALL_URING_READ, EOPNOTSUPP, "system-calls" },
        { DP_CALL_URING_READ, EINVAL, "system-calls" },
        /* Flags that the kernel does not know; no memory to be locked */
        { DP_CALL_URING_BUFFERS, ENOMEM, "io-uring" },
    };
    Rig *r = rig_begin(&tap);
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
        response = netdev_add(r);
        g_assert_true(qdict_haskey(response, "return"));
        qobject_unref(response);
        nic_add(r, 0);
        dp_wait_until(qatomic_read(&fault->failed));
        fault_disarm();
        check_works(r);
        check_io(r, faults[i].io);
        nic_del(r);
        netdev_del(r);
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
        Rig *r = rig_new(&tap, 0);
        uint64_t before;

        check_works(r);
        check_io(r, "io-uring");
        before = all_drops(r, receive ? DP_RX : DP_TX);
        fault_arm((DpFault) {
            .calls = DP_CALL_URING_ENTER, .files = DP_FILE_NONE,
            .threads = DP_THREAD_OTHER, .err = faults[i].err,
            .count = faults[i].count,
        });
        if (receive) {
            for (k = 0; k < 40; k++) {
                sock_send(r, 200, k);
            }
            dp_post(r->nic, 40, 2048);
            for (k = 0; k < 40; k++) {
                size_t len = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

                dp_make_frame(r->frame, 200, k);
                dp_assert_frame(r->got, len, r->frame, 200);
            }
        } else {
            guest_add(r, 40, 200, 0);
            dp_publish(&r->nic->queue[DP_TX]);
            guest_wait_sent(r, 40);
            g_assert_cmpuint(sock_count(r, 40, 40, 200, 0), ==, 40);
        }
        g_assert_cmpuint(fault_disarm(), >, 0);
        g_assert_cmpuint(all_drops(r, receive ? DP_RX : DP_TX), ==, before);
        check_io(r, faults[i].io);
        check_works(r);
        rig_free(r);
        dp_if_delete("tap0");
    }
}

/* ---- every/ ---- */

/* The NIC does a bit of everything; frames may be lost meanwhile */
static void exercise(Rig *r)
{
    unsigned i;

    if (r->driver == &slirp) {
        dp_post(r->nic, 3, 2048);
        for (i = 0; i < 3; i++) {
            arp_answer(r);
            udp_send(r, 0);
            g_usleep(5 * 1000);
            udp_answer(r, 0);
        }
        return;
    }
    guest_add(r, 5, 200, 1);
    dp_publish(&r->nic->queue[DP_TX]);
    /* Without a link it is virtio-net that takes them, if it is kicked */
    dp_kick(&r->nic->queue[DP_TX]);
    dp_post(r->nic, 5, 2048);
    for (i = 0; i < 5; i++) {
        sock_send(r, 200, i);
    }
    guest_wait_sent(r, 5);
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
    check_works(r);
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
    response = netdev_add(r);
    added = qdict_haskey(response, "return");
    if (added) {
        qobject_unref(response);
        nic_add(r, 0);
        exercise(r);
    }
    if (!fault_disarm()) {
        g_assert_true(added);
        check_works(r);
        nic_del(r);
        netdev_del(r);
        return false;
    }
    g_test_message("%u: %s, %s: %s", number, fault->what, g_strerror(err),
                   added ? "added" : "error");
    if (added) {
        check_recovers(r);
        nic_del(r);
        netdev_del(r);
    } else {
        check_error(response);
    }
    dp_check_usage(r->qts, before);
    return true;
}

static void test_every(const void *opaque)
{
    static const int errors[] = { ENOMEM, EIO };
    const Driver *driver = opaque;
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

int main(int argc, char **argv)
{
    static const Driver *const drivers[] = {
        &tap, &af_packet, &af_xdp, &slirp,
    };
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
    dp_add_test("fault/io_uring/setup", NULL, test_uring_setup);
    dp_add_test("fault/io_uring/enter/transmit", NULL, test_uring_enter);
    dp_add_test("fault/io_uring/enter/receive", "", test_uring_enter);
    for (i = 0; i < ARRAY_SIZE(drivers); i++) {
        g_autofree char *path = g_strdup_printf("fault/every/%s",
                                                drivers[i]->name);

        dp_add_test(path, drivers[i], test_every);
    }
    return g_test_run();
}
