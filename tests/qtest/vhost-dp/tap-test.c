/*
 * vhost-dp: qtests of vhost-dp-tap
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is special about this driver: how bursts get to the kernel, and what
 * happens to the interface.
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include "qemu/bswap.h"
#include "guest.h"

static char *get_io(QTestState *qts)
{
    QDict *info = dp_query(qts, "vd0");
    char *io = g_strdup(qdict_get_str(info, "io"));

    qobject_unref(info);
    return io;
}

/* Frames of all kinds in one burst: copied ones, long ones, malformed ones */
static size_t mixed_length(unsigned i)
{
    static const size_t lengths[] = { 60, 1514, 14, 2047, 2048, 2049, 9000 };

    return lengths[i % ARRAY_SIZE(lengths)];
}

/* The ring is filled before the kick */
static void send_burst(DpRig *r, unsigned n, unsigned seed)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        size_t len = mixed_length(seed + i);
        DpBuf buf = { .len = r->nic->hdr_len + len };
        uint8_t *p;

        buf.addr = dp_alloc(r->guest, buf.len);
        p = dp_host(r->guest, buf.addr);
        memset(p, 0, r->nic->hdr_len);
        dp_make_frame(p + r->nic->hdr_len, len, seed + i);
        dp_add(r->tx, &buf, 1);
    }
    dp_publish(r->tx);
    for (i = 0; i < n; i++) {
        dp_wait_used(r->tx, NULL);
    }
}

static void check_burst(DpRig *r, unsigned n, unsigned seed)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        size_t len = mixed_length(seed + i);
        size_t got = dp_sock_recv(r->sock, DP_ETHERTYPE, NULL, r->got,
                                  DP_MAX_FRAME, DP_TIMEOUT_US);

        dp_make_frame(r->frame, len, seed + i);
        dp_assert_frame(r->got, got, r->frame, len);
    }
}

/* All at once to the interface, before the guest has buffers */
static void receive_burst(DpRig *r, unsigned n, unsigned seed)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        size_t len = mixed_length(seed + i);

        dp_make_frame(r->frame, len, seed + i);
        dp_sock_send(r->sock, NULL, r->frame, len);
    }
    dp_post(r->nic, n, r->nic->hdr_len + 9000);
    for (i = 0; i < n; i++) {
        size_t len = mixed_length(seed + i);
        size_t got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

        dp_make_frame(r->frame, len, seed + i);
        dp_assert_frame(r->got, got, r->frame, len);
    }
}

/* Bursts of every size, so that batches grow and shrink */
static void check_bursts(DpRig *r)
{
    uint64_t packets = 0;
    unsigned n;

    dp_if_set_mtu("tap0", 9000);
    for (n = 1; n <= DP_RING_SIZE; n += 1 + n / 2) {
        send_burst(r, n, packets);
        check_burst(r, n, packets);
        receive_burst(r, n, packets);
        packets += n;
    }
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", packets);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", packets);
}

static void test_io_uring(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    g_autofree char *io = NULL;

    if (!dp_has_io_uring()) {
        g_test_skip("no io_uring on this host");
        dp_rig_free(r);
        return;
    }
    io = get_io(r->qts);
    g_assert_cmpstr(io, ==, "io-uring");
    check_bursts(r);
    dp_rig_free(r);
}

/* Where io_uring is forbidden, the same works without it */
static void test_without_io_uring(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .qemu = dp_qemu_without_io_uring() },
                            false);
    g_autofree char *io = get_io(r->qts);

    g_assert_cmpstr(io, ==, "system-calls");
    check_bursts(r);
    dp_rig_free(r);
}

/* With a limit, frames go one by one, and wait in the ring if they must */
static void test_sndbuf(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .driver = "sndbuf=4k" }, false);

    check_bursts(r);
    dp_rig_free(r);
}

/* ---- Long frames, which go straight into the guest's buffers ---- */

/* Segments to be cut by the guest, if it is that long */
static void send_long(DpRig *r, size_t len)
{
    struct virtio_net_hdr gso = dp_make_hdr(IPPROTO_TCP,
                                            VIRTIO_NET_HDR_GSO_TCPV4, 1448);
    struct virtio_net_hdr none = {};

    dp_sock_send(r->sock, len > 1514 ? &gso : &none, r->frame, len);
}

typedef struct LongCase {
    const char *name;
    uint64_t features;
    size_t size;                /* of a buffer */
    unsigned buffers;           /* posted for each frame */
    bool direct;                /* is there room for any frame? */
} LongCase;

#define LONG_FEATURES \
    (DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4))

static const LongCase long_cases[] = {
    { "mergeable", LONG_FEATURES | DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
      4096, 17, true },
    /* The head, and the header, take more than one buffer */
    { "small-buffers", LONG_FEATURES | DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
      1100, 61, true },
    { "one-large-buffer", LONG_FEATURES, 66000, 1, true },
    /* Never, so they go by way of the driver's buffers */
    { "short-of-buffers", LONG_FEATURES | DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
      4096, 6 },
};

/*
 * All lengths, long ones first and in between, so that the engine is in the
 * mode for long frames, leaves it, and comes back.
 */
static void test_long(const void *opaque)
{
    static const size_t lengths[] = {
        60000, 65500, 60000, 5000, 60000, 60, 60000, 255, 60000, 256, 60000,
        257, 60000, 54, 20000, 14 + 20 + 20 + 1, 60000, 1514, 65000,
    };
    const LongCase *c = opaque;
    DpRig *r = dp_rig_start(&(DpSetup) { .features = c->features,
                                         .ring_size = 256 }, true);
    uint64_t bytes = 0;
    uint64_t direct;
    unsigned packets = 0;
    unsigned post = c->buffers;
    unsigned round, i;

    for (round = 0; round < 3; round++) {
        for (i = 0; i < ARRAY_SIZE(lengths); i++) {
            size_t len = lengths[i];
            struct virtio_net_hdr_v1 hdr;
            size_t got;

            if (len + r->nic->hdr_len > c->size * c->buffers) {
                continue;
            }
            dp_post(r->nic, post, c->size);
            dp_make_ip_frame(r->frame, len, IPPROTO_TCP, round + i);
            send_long(r, len);
            got = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
            dp_assert_frame(r->got, got, r->frame, len);
            g_assert_cmpint(hdr.gso_type, ==, len > 1514 ?
                            VIRTIO_NET_HDR_GSO_TCPV4 :
                            VIRTIO_NET_HDR_GSO_NONE);
            post = le16_to_cpu(hdr.num_buffers);
            g_assert_cmpuint(post, ==, DIV_ROUND_UP(len + r->nic->hdr_len,
                                                    c->size));
            packets++;
            bytes += len;
        }
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", packets);
    dp_wait_counter(r->qts, "vd0", DP_RX, "bytes", bytes);
    direct = dp_counter(r->qts, "vd0", DP_RX, "direct-packets");
    /* Each but those that follow a short one */
    g_assert_cmpuint(direct, >=, c->direct ? packets / 2 : 0);
    g_assert_cmpuint(direct, <=, c->direct ? packets - 1 : 0);
    dp_rig_free(r);
}

/* @n frames of 60000 bytes come, each in 15 buffers of 4096 */
static void receive_long(DpRig *r, unsigned n)
{
    struct virtio_net_hdr_v1 hdr;
    size_t got;

    while (n--) {
        got = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
        dp_assert_frame(r->got, got, r->frame, 60000);
        g_assert_cmpuint(le16_to_cpu(hdr.num_buffers), ==, 15);
    }
}

/*
 * Of long frames that have to wait for buffers, one is read ahead and copied:
 * it waits in the driver, and the others in the interface.
 */
static void test_long_waits(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) {
        .features = LONG_FEATURES | DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
        .ring_size = 256,
    }, true);
    uint64_t direct;
    unsigned i;

    dp_make_ip_frame(r->frame, 60000, IPPROTO_TCP, 1);
    for (i = 0; i < 2; i++) {
        dp_post(r->nic, 15 + 2 * !i, 4096);
        send_long(r, 60000);
        receive_long(r, 1);
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 2);
    direct = dp_counter(r->qts, "vd0", DP_RX, "direct-packets");
    g_assert_cmpuint(direct, ==, 1);

    /* There are two: enough for this frame, but not for any frame */
    for (i = 0; i < 3; i++) {
        send_long(r, 60000);
    }
    dp_post(r->nic, 14, 4096);
    receive_long(r, 1);
    /* Enough for the other two, and for any */
    dp_post(r->nic, 32, 4096);
    receive_long(r, 2);
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 5);
    /* More, if the buffers came before the second one was read */
    g_assert_cmpuint(dp_counter(r->qts, "vd0", DP_RX, "direct-packets"), >,
                     direct);
    dp_rig_free(r);
}

/* ---- What becomes of the interface ---- */

#define ROUNDS 3

/* Each queue pair sends, and one of them receives what the kernel chooses */
static void check_traffic(DpRig *r, unsigned seed)
{
    unsigned i;

    for (i = 0; i < r->pairs; i++) {
        dp_check_transmit_on(r->nic, i, r->sock, 100 + i, seed + i);
    }
    if (r->pairs == 1) {
        dp_check_receive(r->nic, r->sock, 300, seed);
    }
}

/* The interface is up (again); a packet socket that saw it down has failed */
static void check_is_back(DpRig *r, const char *name, unsigned seed)
{
    close(r->sock);
    r->sock = dp_sock_open(name, false);
    dp_wait_until(dp_link_is(r, true, NULL));
    /* Some time after QEMU opened it, the kernel lets frames through */
    dp_if_wait_running(name);
    check_traffic(r, seed);
}

static int queue_flags(const DpRig *r)
{
    return r->pairs > 1 ? IFF_MULTI_QUEUE : 0;
}

/* Down before the first time up: the guest does not see it, as ever */
static void test_down_at_first(const void *opaque)
{
    DpGuest *guest = dp_guest_new(DP_NETDEV DP_DEVICE "disable-legacy=on");
    DpNic *nic = dp_nic_new(guest, DP_SLOT, DP_FEATURES_DEFAULT);
    g_autofree uint8_t *frame = g_malloc(100);
    int sock;

    dp_make_frame(frame, 100, 1);
    g_assert_true(dp_nic_link(nic));
    dp_transmit(nic, NULL, frame, 100);
    dp_wait_counter(guest->qts, "vd0", DP_TX, "drop:link-down", 1);
    g_assert_true(dp_nic_link(nic));
    sock = dp_sock_open("tap0", false);
    dp_check_transmit(nic, sock, 100, 2);
    dp_if_down("tap0");
    dp_wait_until(!dp_nic_link(nic));
    dp_if_up("tap0");
    dp_wait_until(dp_nic_link(nic));
    dp_nic_free(nic);
    dp_guest_free(guest);
    close(sock);
}

static void test_down(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    DpUsage before = dp_usage(r->qts);
    unsigned i;

    check_traffic(r, 1);
    for (i = 0; i < ROUNDS; i++) {
        dp_change_under_traffic(r, dp_if_down, "tap0", "'tap0' is down");
        check_is_back(r, "tap0", i);
        /* And with nothing to do */
        dp_if_down("tap0");
        dp_wait_until(dp_link_is(r, false, "'tap0' is down"));
        check_is_back(r, "tap0", i);
    }
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* The log is told of it, but not of everything that an interface does */
static void test_flapping(const void *opaque)
{
    g_autofree char *dir = g_dir_make_tmp("vhost-dp-log-XXXXXX", NULL);
    g_autofree char *log = g_strdup_printf("%s/log", dir);
    /* The shell that starts QEMU gets it */
    g_autofree char *redirect = g_strdup_printf("sndbuf=0 2>%s", log);
    DpRig *r = dp_rig_start(&(DpSetup) { .driver = redirect }, false);
    g_autofree char *text = NULL;
    g_auto(GStrv) downs = NULL;
    unsigned i, n;

    /* QEMU has seen that it is up */
    check_traffic(r, 1);
    for (i = 0; i < 40; i++) {
        dp_if_down("tap0");
        dp_wait_until(dp_link_is(r, false, "'tap0' is down"));
        dp_if_up("tap0");
        dp_wait_until(dp_link_is(r, true, NULL));
    }
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    downs = g_strsplit(text, "the link is down: interface 'tap0' is down", -1);
    n = g_strv_length(downs) - 1;
    g_assert_cmpuint(n, >=, 5);
    g_assert_cmpuint(n, <, 30);
    dp_rig_free(r);
    unlink(log);
    rmdir(dir);
}

/* The offloads that the guest took are those of the interface */
static void check_long(DpRig *r, const char *ifname)
{
    struct virtio_net_hdr_v1 hdr;
    size_t got;

    close(r->sock);
    r->sock = dp_sock_open(ifname, true);
    dp_post(r->nic, 1, 66000);
    dp_make_ip_frame(r->frame, 60000, IPPROTO_TCP, 1);
    send_long(r, 60000);
    got = dp_receive(r->nic, &hdr, r->got, DP_MAX_FRAME);
    dp_assert_frame(r->got, got, r->frame, 60000);
    g_assert_cmpint(hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_TCPV4);
}

static void test_deleted(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    DpUsage before = dp_usage(r->qts);
    unsigned i;

    check_traffic(r, 1);
    for (i = 0; i < ROUNDS; i++) {
        dp_change_under_traffic(r, dp_if_delete, "tap0", "'tap0' was deleted");
        g_assert_false(dp_if_exists("tap0"));
        dp_tap_new("tap0", IFF_VNET_HDR | queue_flags(r));
        /* It is down at first */
        dp_wait_until(dp_link_is(r, false, "'tap0' is down"));
        check_is_back(r, "tap0", i);
        if (r->pairs == 1) {
            check_long(r, "tap0");
        }
    }
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* What is there by that name has to be fit for use */
static void test_deleted_and_different(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .pairs = 4 }, false);
    DpUsage before = dp_usage(r->qts);

    dp_if_delete("tap0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    dp_veth_new("tap0", "peer");
    dp_wait_until(dp_link_is(r, false, "not a tap"));
    dp_if_delete("tap0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    dp_tap_new("tap0", IFF_VNET_HDR);
    dp_wait_until(dp_link_is(r, false, "multi_queue"));
    dp_if_delete("tap0");
    dp_tap_new("tap0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
    check_is_back(r, "tap0", 1);
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/*
 * Somebody else has it, and lets go of it without a word.  With several queues
 * there is room for us, too, but while they have no virtio-net header, as
 * ip(8) when it makes one, neither would we.
 */
static void test_deleted_and_busy(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    int fd;

    dp_if_delete("tap0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    fd = dp_tap_open("tap0", r->pairs > 1 ? IFF_MULTI_QUEUE : IFF_VNET_HDR);
    dp_tap_set_persistent(fd, true);
    dp_if_up("tap0");
    dp_wait_until(dp_link_is(r, false, "in use"));
    close(fd);
    check_is_back(r, "tap0", 1);
    dp_rig_free(r);
}

/* Without privileges, with descriptors of @pairs queues */
static DpRig *rig_with_fds(unsigned pairs)
{
    GString *driver = g_string_new(pairs > 1 ? "fds=" : "fd=");
    DpSetup setup = { .pairs = pairs, .qemu = dp_qemu_unprivileged() };
    int fd[DP_MAX_PAIRS];
    unsigned i;
    DpRig *r;

    for (i = 0; i < pairs; i++) {
        fd[i] = dp_tap_open("tap0", IFF_VNET_HDR |
                                    (pairs > 1 ? IFF_MULTI_QUEUE : 0));
        g_assert_cmpint(fcntl(fd[i], F_SETFD, 0), ==, 0);
        g_string_append_printf(driver, "%s%d", i ? ":" : "", fd[i]);
    }
    setup.driver = driver->str;
    r = dp_rig_start(&setup, false);
    for (i = 0; i < pairs; i++) {
        close(fd[i]);
    }
    g_string_free(driver, true);
    return r;
}

static void test_fds(const void *opaque)
{
    const unsigned pairs = *(const unsigned *)opaque;
    DpRig *r = rig_with_fds(pairs);
    DpUsage before = dp_usage(r->qts);

    check_traffic(r, 1);
    dp_change_under_traffic(r, dp_if_down, "tap0", "'tap0' is down");
    check_is_back(r, "tap0", 2);
    dp_change_under_traffic(r, dp_if_delete, "tap0",
                         pairs > 1 ? "fds= cannot open it again" :
                                     "fd= cannot open it again");
    dp_tap_new("tap0", IFF_VNET_HDR | queue_flags(r));
    dp_if_up("tap0");
    g_usleep(DP_QUIET_US);
    g_assert_true(dp_link_is(r, false, "deleted"));
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* ---- macvtap ---- */

/* The device number that macvtap interfaces share, or 0 */
static unsigned macvtap_major(void)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned major = 0;
    unsigned i;

    g_assert_true(g_file_get_contents("/proc/devices", &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i] && !major; i++) {
        if (g_str_has_suffix(lines[i], " macvtap")) {
            major = g_ascii_strtoull(lines[i], NULL, 10);
        }
    }
    return major;
}

/*
 * Open a queue of macvtap interface @name.  Its file would be made by udev, and
 * sysfs would tell its number, if it were that of our network namespace.
 * Returns -1 if no such file can be made here.
 */
static int macvtap_open(const char *name)
{
    g_autofree char *dir = g_dir_make_tmp("vhost-dp-macvtap-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/tap", dir);
    unsigned minor;
    int fd = -1;

    for (minor = 1; minor < 256 && fd < 0; minor++) {
        struct ifreq ifr = {};

        if (mknod(path, S_IFCHR | 0600, makedev(macvtap_major(), minor)) < 0) {
            break;
        }
        fd = open(path, O_RDWR | O_CLOEXEC);
        unlink(path);
        if (fd >= 0 && (ioctl(fd, TUNGETIFF, &ifr) < 0 ||
                        strcmp(ifr.ifr_name, name))) {
            close(fd);
            fd = -1;
        }
    }
    rmdir(dir);
    return fd;
}

/*
 * QEMU without privileges, on a macvtap interface above v0.  Frames are seen
 * at the other end, v1.  Returns NULL, and skips the test, if there is none.
 */
static DpRig *rig_with_macvtap(unsigned pairs)
{
    GString *driver = g_string_new(pairs > 1 ? "fds=" : "fd=");
    DpSetup setup = { .pairs = pairs, .qemu = dp_qemu_unprivileged(),
                      .features = LONG_FEATURES };
    int fd[DP_MAX_PAIRS];
    unsigned i;
    DpRig *r;

    dp_veth_new("v0", "v1");
    if (!dp_macvtap_new("mt0", "v0")) {
        g_test_skip("the kernel has no macvtap interfaces");
        return NULL;
    }
    for (i = 0; i < pairs; i++) {
        fd[i] = macvtap_open("mt0");
        if (fd[i] < 0) {
            g_test_skip("no device file can be made for macvtap: run as root");
            return NULL;
        }
        g_assert_cmpint(fcntl(fd[i], F_SETFD, 0), ==, 0);
        g_string_append_printf(driver, "%s%d", i ? ":" : "", fd[i]);
    }
    setup.driver = driver->str;
    r = dp_rig_start_on(&setup, "v1", false);
    for (i = 0; i < pairs; i++) {
        close(fd[i]);
    }
    g_string_free(driver, true);
    return r;
}

static void test_macvtap(const void *opaque)
{
    const unsigned pairs = *(const unsigned *)opaque;
    const char *option = pairs > 1 ? "fds= cannot open it again" :
                                     "fd= cannot open it again";
    DpRig *r = rig_with_macvtap(pairs);
    DpUsage before;
    unsigned i;

    if (!r) {
        return;
    }
    before = dp_usage(r->qts);
    for (i = 0; i < ROUNDS; i++) {
        check_traffic(r, i);
        if (pairs == 1) {
            check_long(r, "v1");
        }
        dp_if_down("mt0");
        dp_wait_until(dp_link_is(r, false, "'mt0' is down"));
        dp_if_up("mt0");
        check_is_back(r, "v1", i);
    }
    dp_if_delete("mt0");
    dp_wait_until(dp_link_is(r, false, option));
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* ---- Its name, its namespace ---- */

static void check_name(DpRig *r, const char *name)
{
    g_autofree char *want = g_strdup_printf("ifname=%s", name);
    QDict *info = dp_query(r->qts, "vd0");
    QDict *reply;

    g_assert_true(g_str_has_prefix(qdict_get_str(info, "interface"), want));
    qobject_unref(info);
    reply = qtest_qmp(r->qts, "{ 'execute': 'qom-get', 'arguments': {"
                      " 'path': '/objects/tap0', 'property': 'ifname' } }");
    g_assert_cmpstr(qdict_get_str(reply, "return"), ==, name);
    qobject_unref(reply);
}

static void test_renamed(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);

    check_traffic(r, 1);
    check_name(r, "tap0");
    /* Not every kernel renames one that is up */
    dp_change_under_traffic(r, dp_if_down, "tap0", "'tap0' is down");
    dp_if_rename("tap0", "other0");
    check_is_back(r, "other0", 2);
    check_name(r, "other0");
    dp_change_under_traffic(r, dp_if_down, "other0", "'other0' is down");
    check_is_back(r, "other0", 3);
    /* What is looked for is what ifname= said */
    dp_change_under_traffic(r, dp_if_delete, "other0", "deleted");
    dp_tap_new("tap0", IFF_VNET_HDR | queue_flags(r));
    check_is_back(r, "tap0", 4);
    check_name(r, "tap0");
    dp_rig_free(r);
}

/* To another network namespace, which sets it down, and there it stays */
static void check_moved(DpRig *r)
{
    DpUsage before = dp_usage(r->qts);
    int here = dp_netns_open();
    int there = dp_netns_new();
    unsigned i;

    check_traffic(r, 1);
    dp_if_move("tap0", there);
    dp_wait_until(dp_link_is(r, false, "'tap0' is down"));
    dp_netns_enter(there);
    for (i = 0; i < ROUNDS; i++) {
        check_is_back(r, "tap0", i);
        /* The kernel refuses a frame; and without frames it is seen, too */
        dp_change_under_traffic(r, dp_if_down, "tap0", "'tap0' is down");
        check_is_back(r, "tap0", i);
        dp_if_down("tap0");
        dp_wait_until(dp_link_is(r, false, "'tap0' is down"));
    }
    dp_if_delete("tap0");
    dp_wait_until(dp_link_is(r, false, "deleted"));
    dp_check_usage(r->qts, before);
    dp_netns_enter(here);
    close(here);
    close(there);
    dp_rig_free(r);
}

static void test_moved(const void *opaque)
{
    check_moved(dp_rig_start(opaque, false));
}

static void test_moved_fds(const void *opaque)
{
    check_moved(rig_with_fds(*(const unsigned *)opaque));
}

int main(int argc, char **argv)
{
    static const DpSetup one = { .features = LONG_FEATURES };
    static const DpSetup sndbuf = { .driver = "sndbuf=4k",
                                    .features = LONG_FEATURES };
    static const DpSetup four = { .pairs = 4 };
    static const unsigned n1 = 1, n4 = 4;
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(long_cases); i++) {
        g_autofree char *path = g_strdup_printf("tap/long/%s",
                                                long_cases[i].name);

        dp_add_test(path, &long_cases[i], test_long);
    }
    dp_add_test("tap/long/waits", NULL, test_long_waits);
    dp_add_test("tap/io-uring", NULL, test_io_uring);
    dp_add_test("tap/without-io-uring", NULL, test_without_io_uring);
    dp_add_test("tap/sndbuf", NULL, test_sndbuf);
    dp_add_test("tap/down-at-first", NULL, test_down_at_first);
    dp_add_test("tap/down", &one, test_down);
    dp_add_test("tap/down-sndbuf", &sndbuf, test_down);
    dp_add_test("tap/down-multi-queue", &four, test_down);
    dp_add_test("tap/flapping", NULL, test_flapping);
    dp_add_test("tap/deleted", &one, test_deleted);
    dp_add_test("tap/deleted-sndbuf", &sndbuf, test_deleted);
    dp_add_test("tap/deleted-multi-queue", &four, test_deleted);
    dp_add_test("tap/deleted-and-different", NULL, test_deleted_and_different);
    dp_add_test("tap/deleted-and-busy", &one, test_deleted_and_busy);
    dp_add_test("tap/deleted-and-busy-multi-queue", &four,
                test_deleted_and_busy);
    dp_add_test("tap/fd", &n1, test_fds);
    dp_add_test("tap/fds", &n4, test_fds);
    dp_add_test("tap/macvtap", &n1, test_macvtap);
    dp_add_test("tap/macvtap-fds", &n4, test_macvtap);
    dp_add_test("tap/renamed", &one, test_renamed);
    dp_add_test("tap/renamed-multi-queue", &four, test_renamed);
    dp_add_test("tap/moved", &one, test_moved);
    dp_add_test("tap/moved-multi-queue", &four, test_moved);
    dp_add_test("tap/moved-fds", &n4, test_moved_fds);
    return g_test_run();
}
