/*
 * vhost-dp: qtests of vhost-dp-vhost-net
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is special about this driver: what the kernel gets to see, what happens
 * when it finds something wrong, and the options.  Frames, offloads, queue
 * pairs and what becomes of the interface are tested by the tests of
 * vhost-dp-tap, which tests/nested runs on this driver, too.
 *
 * What needs vhost-net is there where /dev/vhost-net is, which tests/nested
 * sees to.  What must work without it runs everywhere.
 *
 * With VHOST_DP_QTEST_OWNS_HOST in the environment the test may change what
 * is not in a namespace: the number of huge pages.
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "net/vhost-dp/drivers/virtq/vq.h"
#include "guest.h"

#define NODE "/dev/vhost-net"
#define DRIVER "vhost-dp-vhost-net"

/* As the driver has it: see VNET_DEFAULT_QUEUE_SIZE */
#define RING 512

/* 2.1 MB for a queue pair */
#define HUGE_PAGES 4

/* ---- The memory that the kernel works on ---- */

/*
 * A set of the same size as QEMU's, for the places of its parts, with QEMU's
 * memory mapped in place of its own.
 */
static VhostDPVqSet *set_map(QTestState *qts, unsigned pairs)
{
    VhostDPVqSet *set = vhost_dp_vqset_new(pairs, RING, VHOST_DP_VQ_SMALL_PAGES,
                                           &error_abort);
    g_autofree char *dir = g_strdup_printf("/proc/%d/fd", qtest_pid(qts));
    GDir *fds = g_dir_open(dir, 0, NULL);
    const char *name;
    int fd = -1;

    while (fd < 0 && (name = g_dir_read_name(fds))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);
        g_autofree char *target = g_file_read_link(path, NULL);

        if (target && g_str_has_prefix(target, "/memfd:vhost-dp-rings")) {
            fd = open(path, O_RDWR | O_CLOEXEC);
        }
    }
    g_dir_close(fds);
    g_assert_cmpint(fd, >=, 0);
    g_assert(mmap(set->base, set->size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_FIXED, fd, 0) == set->base);
    close(fd);
    return set;
}

/* The descriptor that the next received frame is for */
static struct vring_desc *next_rx_desc(VhostDPVqSet *set)
{
    VhostDPVq *vq = &set->vq[0];
    const struct vring_avail *avail = vq->driver;
    const struct vring_used *used = vq->device;
    struct vring_desc *desc = vq->desc;
    uint16_t next = le16_to_cpu(qatomic_read(&used->idx)) % RING;

    return &desc[le16_to_cpu(avail->ring[next])];
}

/*
 * The kernel is told of one region of memory, and finds nothing outside of it:
 * a receive buffer at an address of the guest's RAM, or of QEMU's, is none.
 */
static void test_memory(const void *opaque)
{
    static const struct {
        const char *what;
        uint64_t address;       /* (uint64_t)-n: bytes from the region's end */
        bool ok;
    } cases[] = {
        /* Another buffer of the region: so it is the address that counts */
        { "the region's last page", -4096ull, true },
        { "the region's end", -16ull, false },
        { "behind the region", 0, false },
        { "before the region", VHOST_DP_VQ_IOVA - 4096, false },
        { "guest RAM", 0x100000, false },
        { "guest RAM, its end", DP_RAM_SIZE - 4096, false },
        { "video memory", 0xa0000, false },
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        DpRig *r = dp_rig_new(0);
        VhostDPVqSet *set = set_map(r->qts, 1);
        struct vring_desc *desc;
        uint64_t address = cases[i].address;

        g_test_message("%s", cases[i].what);
        if ((int64_t)address <= 0) {
            address += VHOST_DP_VQ_IOVA + set->size;
        }
        dp_check_transmit(r->nic, r->sock, 100, i);
        dp_check_receive(r->nic, r->sock, 100, i);
        desc = next_rx_desc(set);
        desc->addr = cpu_to_le64(address);
        memset(set->base + set->size - 4096, 0, 4096);
        dp_make_frame(r->frame, 100, i);
        dp_sock_send(r->sock, NULL, r->frame, 100);
        if (cases[i].ok) {
            const uint8_t *page = set->base + set->size - 4096;

            /* QEMU looks for the frame in the buffer, and finds none there */
            dp_wait_until(!memcmp(page + r->nic->hdr_len, r->frame, 100));
            g_assert_false(dp_link_is(r, false, "cannot use the virtqueues"));
        } else {
            dp_wait_until(dp_link_is(r, false, "cannot use the virtqueues"));
        }
        vhost_dp_vqset_unref(set);
        dp_rig_free(r);
    }
}

/* Nothing but eventfds, and the memory, is shared with the kernel's thread */
static void test_ram_is_not_there(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    VhostDPVqSet *set = set_map(r->qts, 1);
    const uint8_t *page = NULL;
    unsigned i;

    /* What the guest sends is copied: never guest RAM by reference */
    dp_make_frame(r->frame, 1000, 3);
    dp_check_transmit(r->nic, r->sock, 1000, 3);
    for (i = 0; i < RING && !page; i++) {
        const uint8_t *buf = set->vq[1].buf + i * VHOST_DP_VQ_BUF_BYTES;

        if (!memcmp(buf + sizeof(struct virtio_net_hdr_v1), r->frame, 1000)) {
            page = buf;
        }
    }
    g_assert_nonnull(page);
    vhost_dp_vqset_unref(set);
    dp_rig_free(r);
}

/* Send some frames, and write an index that is wrong meanwhile */
static void send_with_index(DpRig *r, const DpBuf *buf,
                            struct vring_used *used)
{
    unsigned i;

    for (i = 0; i < 32; i++) {
        dp_add(r->tx, buf, 1);
    }
    dp_publish(r->tx);
    dp_kick(r->tx);
    for (i = 0; i < 32; i++) {
        qatomic_set(&used->idx, cpu_to_le16(le16_to_cpu(used->idx) + 600));
        dp_wait_used(r->tx, NULL);
    }
}

/* QEMU does not believe what is in that memory, either */
static void test_used_index(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    VhostDPVqSet *set = set_map(r->qts, 1);
    struct vring_used *used = set->vq[1].device;
    DpBuf buf = { .addr = dp_alloc(r->guest, 128),
                  .len = r->nic->hdr_len + 100 };

    memset(dp_host(r->guest, buf.addr), 0, buf.len);
    dp_wait_until((send_with_index(r, &buf, used),
                   dp_link_is(r, false, "broke a rule")));
    /* The guest goes on: what it sends is dropped */
    dp_transmit(r->nic, NULL, r->frame, 100);
    vhost_dp_vqset_unref(set);
    dp_rig_free(r);
}

/* ---- Life of the driver ---- */

static void check_both_ways(DpRig *r, unsigned seed)
{
    static const size_t lengths[] = { 14, 60, 1514, 2100, 9000 };
    unsigned i;

    dp_if_set_mtu("tap0", 9000);
    for (i = 0; i < ARRAY_SIZE(lengths); i++) {
        dp_check_transmit(r->nic, r->sock, lengths[i], seed + i);
        dp_check_receive(r->nic, r->sock, lengths[i], seed + i);
    }
}

/* More frames than the rings have entries, so that indexes wrap */
static void test_wrap(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    unsigned i, n;

    for (n = 0; n < 3 * RING; n += 16) {
        for (i = 0; i < 16; i++) {
            dp_make_frame(r->frame, 60 + i, n + i);
            dp_sock_send(r->sock, NULL, r->frame, 60 + i);
        }
        dp_post(r->nic, 16, 256);
        for (i = 0; i < 16; i++) {
            size_t got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);

            dp_make_frame(r->frame, 60 + i, n + i);
            dp_assert_frame(r->got, got, r->frame, 60 + i);
            dp_check_transmit(r->nic, r->sock, 60 + i, n + i);
        }
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 3 * RING);
    dp_wait_counter(r->qts, "vd0", DP_TX, "packets", 3 * RING);
    dp_rig_free(r);
}

static void test_stop_and_reset(const void *opaque)
{
    DpRig *r = dp_rig_new(0);
    DpUsage before = dp_usage(r->qts);
    unsigned i;

    for (i = 0; i < 3; i++) {
        check_both_ways(r, i);
        /* A frame that comes meanwhile waits for the guest */
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
        dp_post(r->nic, 1, 200);
        dp_make_frame(r->frame, 100, i);
        dp_sock_send(r->sock, NULL, r->frame, 100);
        g_usleep(DP_QUIET_US);
        g_assert_false(dp_has_used(r->rx));
        qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
        dp_assert_frame(r->got, dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME),
                        r->frame, 100);
        dp_rig_restart(r);
    }
    check_both_ways(r, i);
    dp_check_usage(r->qts, before);
    dp_rig_free(r);
}

/* ---- The interface goes ---- */

/*
 * vhost-net reports frames that it cannot send as it does errors in a ring, and
 * forgets them: after once or twice a short ring would be full.  When the
 * interface is there again, all is well, and so on.
 */
static void test_deleted_under_traffic(const void *opaque)
{
    DpRig *r = dp_rig_start(opaque, false);
    unsigned i;

    for (i = 0; i < 16; i++) {
        dp_change_under_traffic(r, dp_if_delete, "tap0",
                                "'tap0' was deleted");
        close(r->sock);
        dp_tap_new("tap0", IFF_VNET_HDR);
        r->sock = dp_sock_open("tap0", false);
        dp_wait_until(dp_link_is(r, true, NULL));
        dp_check_transmit(r->nic, r->sock, 100, i);
        dp_check_receive(r->nic, r->sock, 100, i);
    }
    dp_rig_free(r);
}

/* ---- Two queue pairs ---- */

#define FLOWS 32

/*
 * Let the interface send a frame of each of many flows, and count where they
 * arrive.  Returns whether all did.
 */
static bool receive_flows(DpRig *r, unsigned got[2])
{
    int64_t quiet_since;
    unsigned i;

    got[0] = got[1] = 0;
    for (i = 0; i < FLOWS; i++) {
        dp_make_ip_frame(r->frame, 100, IPPROTO_UDP, 0);
        stw_be_p(r->frame + 34, 1000 + i);      /* the source port */
        dp_sock_send(r->sock, NULL, r->frame, 100);
    }
    quiet_since = g_get_monotonic_time();
    while (got[0] + got[1] < FLOWS &&
           g_get_monotonic_time() < quiet_since + 10 * DP_QUIET_US) {
        for (i = 0; i < 2; i++) {
            while (dp_has_used(&r->nic->queue[2 * i + DP_RX])) {
                dp_receive_on(r->nic, i, NULL, r->got, DP_MAX_FRAME);
                dp_post_on(r->nic, i, 1, 256);
                quiet_since = g_get_monotonic_time();
                got[i]++;
            }
        }
    }
    return got[0] + got[1] == FLOWS;
}

/* Flows are spread over the pairs that the guest uses, and over no others */
static void test_queues(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .pairs = 2 }, false);
    unsigned got[2];
    unsigned i, round;

    for (round = 0; round < 2; round++) {
        for (i = 0; i < 2; i++) {
            dp_check_transmit_on(r->nic, i, r->sock, 200 + i, i);
            dp_post_on(r->nic, i, FLOWS, 256);
        }
        dp_wait_until(receive_flows(r, got) && got[0] && got[1]);
        dp_nic_set_pairs(r->nic, 1);
        dp_wait_until(receive_flows(r, got) && !got[1]);
        dp_check_transmit_on(r->nic, 0, r->sock, 300, round);
        dp_nic_set_pairs(r->nic, 2);
        dp_wait_until(receive_flows(r, got) && got[0] && got[1]);
        dp_rig_restart(r);
    }
    dp_rig_free(r);
}

/* query-vhost-dp has the kernel's device, and the memory that it sees */
static void test_peer(const void *opaque)
{
    static const unsigned sizes[] = { 64, 1024 };
    int64_t shared[ARRAY_SIZE(sizes)];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *option = g_strdup_printf("queue-size=%u", sizes[i]);
        DpRig *r = dp_rig_start(&(DpSetup) { .driver = option }, false);
        QDict *info = dp_query(r->qts, "vd0");
        QDict *peer = qdict_get_qdict(info, "peer");

        g_assert_true(qdict_get_bool(peer, "connected"));
        g_assert_cmpint(qdict_get_int(peer, "connects"), ==, 1);
        g_assert_cmphex(qdict_get_int(peer, "features") &
                        DP_FEATURE(VIRTIO_F_VERSION_1), !=, 0);
        g_assert_true(qlist_empty(qdict_get_qlist(peer, "violations")));
        shared[i] = qdict_get_int(peer, "shared-memory");
        qobject_unref(info);
        dp_rig_free(r);
    }
    /* Two virtqueues, whose entries have a buffer each */
    g_assert_cmpint(shared[1] - shared[0], >=,
                    2 * (sizes[1] - sizes[0]) * VHOST_DP_VQ_BUF_BYTES);
}

/* Options that change how the kernel works, and not what is done */
static void test_option(const void *opaque)
{
    DpRig *r = dp_rig_start(&(DpSetup) { .driver = opaque }, false);

    check_both_ways(r, 1);
    dp_rig_free(r);
}

/* Pages of the host's default size: of sysctl vm.nr_hugepages, those free */
static unsigned free_huge_pages(void)
{
    g_autofree char *text = NULL;
    const char *line;

    g_assert_true(g_file_get_contents("/proc/meminfo", &text, NULL, NULL));
    line = strstr(text, "HugePages_Free:");
    return line ? atoi(line + strlen("HugePages_Free:")) : 0;
}

/* What the host has is not for a test to change, unless it is the test's own */
static bool owns_host(void)
{
    return getenv("VHOST_DP_QTEST_OWNS_HOST") != NULL;
}

static void reserve_huge_pages(unsigned n)
{
    g_autofree char *text = g_strdup_printf("%u", n);
    int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
    close(fd);
}

/* That there are none is an error, and not a SIGBUS */
static void test_no_huge_pages(const void *opaque)
{
    DpGuest *guest;

    if (free_huge_pages()) {
        g_test_skip("the host has huge pages: sysctl vm.nr_hugepages");
        return;
    }
    guest = dp_guest_new("-object vhost-dp-tap,id=tap0,hugetlb=on");
    dp_check_error(qtest_qmp(guest->qts, "{ 'execute': 'netdev_add',"
                             " 'arguments': { 'type': 'vhost-dp',"
                             " 'id': 'vd0', 'driver': 'tap0' } }"),
                   "hugetlb=on", NULL);
    dp_guest_free(guest);
}

static void test_huge_pages(const void *opaque)
{
    unsigned before;

    if (owns_host()) {
        reserve_huge_pages(HUGE_PAGES);
    }
    before = free_huge_pages();
    if (before < HUGE_PAGES) {
        g_test_skip("the host has no huge pages that are free: sysctl "
                    "vm.nr_hugepages");
        return;
    }
    test_option("hugetlb=on");
    /* The kernel's thread may have them some time longer than QEMU */
    dp_wait_until(free_huge_pages() >= before);
    if (owns_host()) {
        reserve_huge_pages(0);
    }
}

/* ---- Descriptors from outside ---- */

/* To be inherited by QEMU */
static int keep_open(int fd)
{
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    return fd;
}

static int open_node(void)
{
    return keep_open(open(NODE, O_RDWR));
}

static void netdev_del(QTestState *qts, const char *id)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_del', 'arguments': {"
                             " 'id': %s } }", id);
}

static QDict *netdev_add(QTestState *qts, const char *id, const char *driver)
{
    return qtest_qmp(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                     " 'type': 'vhost-dp', 'id': %s, 'driver': %s } }", id,
                     driver);
}

/* Without privileges.  A descriptor is for one driver, which can reuse it */
static void test_fds(const void *opaque)
{
    int tap = keep_open(dp_tap_open("tap0", IFF_VNET_HDR));
    int tap1 = keep_open(dp_tap_open("tap1", IFF_VNET_HDR));
    int vhost = open_node();
    int vhost1 = open_node();
    g_autofree char *options = g_strdup_printf(
        "-object vhost-dp-tap,id=tap0,fd=%d,vhostfd=%d "
        "-object vhost-dp-tap,id=tap1,fd=%d,vhostfd=%d ",
        tap, vhost, tap1, vhost1);
    g_autofree char *with_nic = g_strdup_printf(
        "-object vhost-dp-vhost-net,id=tap0,fd=%d,vhostfd=%d "
        "-object vhost-dp-vhost-net,id=tap1,fd=%d,vhostfd=%d "
        "-netdev vhost-dp,id=vd0,driver=tap0 "
        DP_DEVICE "disable-legacy=on", tap, vhost, tap1, vhost);
    DpGuest *guest = dp_guest_new_env(dp_qemu_unprivileged(), options);
    DpNic *nic;
    unsigned i;
    int sock;

    for (i = 0; i < 4; i++) {
        QDict *answer = netdev_add(guest->qts, "vd0", i & 1 ? "tap0" : "tap1");

        g_assert_true(qdict_haskey(answer, "return"));
        qobject_unref(answer);
        netdev_del(guest->qts, "vd0");
    }
    dp_guest_free(guest);

    guest = dp_guest_new_env(dp_qemu_unprivileged(), with_nic);
    nic = dp_nic_new(guest, DP_SLOT, DP_FEATURES_DEFAULT);
    sock = dp_sock_open("tap0", false);
    dp_check_transmit(nic, sock, 100, 1);
    dp_check_receive(nic, sock, 100, 2);
    /* It is in use, and stays so */
    dp_check_error(netdev_add(guest->qts, "vd1", "tap1"), "in use by QEMU",
                   NULL);
    dp_check_transmit(nic, sock, 100, 3);
    dp_check_receive(nic, sock, 100, 4);
    dp_nic_free(nic);
    dp_guest_free(guest);
    close(tap);
    close(tap1);
    close(vhost);
    close(vhost1);
    close(sock);
}

static void test_two_fds(const void *opaque)
{
    int tap[2], vhost[2];
    g_autofree char *driver = NULL;
    unsigned i;
    DpRig *r;

    for (i = 0; i < 2; i++) {
        tap[i] = keep_open(dp_tap_open("tap0", IFF_VNET_HDR |
                                               IFF_MULTI_QUEUE));
        vhost[i] = open_node();
    }
    driver = g_strdup_printf("fds=%d:%d,vhostfds=%d:%d", tap[0], tap[1],
                             vhost[0], vhost[1]);
    r = dp_rig_start(&(DpSetup) { .pairs = 2, .driver = driver,
                                  .qemu = dp_qemu_unprivileged() }, false);
    for (i = 0; i < 2; i++) {
        dp_check_transmit_on(r->nic, i, r->sock, 200 + i, i);
        close(tap[i]);
        close(vhost[i]);
    }
    dp_rig_free(r);
}

/* ---- Without vhost-net ---- */

/* A /dev for this process, with what QEMU needs, and no vhost-net */
static void replace_dev(void)
{
    static const char *const keep[] = { "net/tun", "null", "urandom" };
    static bool done;
    g_autofree char *dir = NULL;
    g_autofree char *net = NULL;
    unsigned i;

    if (done) {
        return;
    }
    dir = g_dir_make_tmp("vhost-dp-XXXXXX", NULL);
    net = g_build_filename(dir, "net", NULL);
    g_assert_cmpint(unshare(CLONE_NEWNS), ==, 0);
    g_assert_cmpint(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), ==,
                    0);
    g_assert_cmpint(mount("dev", dir, "tmpfs", 0, NULL), ==, 0);
    g_assert_cmpint(mkdir(net, 0755), ==, 0);
    for (i = 0; i < ARRAY_SIZE(keep); i++) {
        g_autofree char *from = g_build_filename("/dev", keep[i], NULL);
        g_autofree char *to = g_build_filename(dir, keep[i], NULL);

        g_assert_true(g_file_set_contents(to, "", 0, NULL));
        g_assert_cmpint(mount(from, to, NULL, MS_BIND, NULL), ==, 0);
    }
    g_assert_cmpint(mount(dir, "/dev", NULL, MS_BIND | MS_REC, NULL), ==, 0);
    g_assert_cmpint(umount2(dir, MNT_DETACH), ==, 0);
    g_assert_cmpint(rmdir(dir), ==, 0);
    done = true;
}

/* To open it is ENXIO, as it is with a node whose module is not loaded */
static void make_dead_node(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX, .sun_path = NODE };
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(sock, (struct sockaddr *)&sun, sizeof(sun)), ==, 0);
    close(sock);
}

static void make_locked_node(void)
{
    g_assert_true(g_file_set_contents(NODE, "", 0, NULL));
    g_assert_cmpint(chmod(NODE, 0), ==, 0);
}

static void make_file(void)
{
    g_assert_true(g_file_set_contents(NODE, "", 0, NULL));
}

typedef struct NodeCase {
    const char *name;
    void (*make)(void);
    const char *words[2];
    const char *hint;           /* for those who read the command line's */
} NodeCase;

static const NodeCase node_cases[] = {
    { "missing", NULL, { "cannot open " NODE, "No such file" },
      "modprobe vhost_net" },
    { "not-loaded", make_dead_node,
      { "cannot open " NODE, "No such device" }, "modprobe vhost_net" },
    { "no-permission", make_locked_node,
      { "cannot open " NODE, "Permission denied" }, "vhostfd=" },
    { "not-a-device", make_file,
      { "VHOST_SET_OWNER", "Inappropriate ioctl" }, "" },
};

/*
 * What QEMU says when netdev_add of a driver with @options fails.  The second
 * time is like the first one, and nothing is left over.
 */
static void check_netdev_error(const char *options, const char *word1,
                               const char *word2)
{
    int tap = keep_open(dp_tap_open("tap0", IFF_VNET_HDR));
    g_autofree char *command = g_strdup_printf(
        "-object " DRIVER ",id=vn0,fd=%d%s", tap, options);
    DpGuest *guest = dp_guest_new_env(dp_qemu_unprivileged(), command);
    DpUsage before;
    unsigned i;

    dp_check_error(netdev_add(guest->qts, "vd0", "vn0"), DRIVER " 'vn0'",
                   word1, word2, NULL);
    before = dp_usage(guest->qts);
    for (i = 0; i < 3; i++) {
        dp_check_error(netdev_add(guest->qts, "vd0", "vn0"), word1, NULL);
    }
    dp_check_usage(guest->qts, before);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'object-del',"
                             " 'arguments': { 'id': 'vn0' } }");
    dp_guest_free(guest);
    close(tap);
}

/* QEMU ends with an error, and says how to mend it */
static void check_hint(const char *hint)
{
    int tap = keep_open(dp_tap_open("tap0", IFF_VNET_HDR));
    g_autofree char *command = g_strdup_printf(
        "exec %s -M none -display none -object " DRIVER ",id=vn0,fd=%d "
        "-netdev vhost-dp,id=vd0,driver=vn0", getenv(dp_qemu_unprivileged()),
        tap);
    const char *argv[] = { "/bin/sh", "-c", command, NULL };
    g_autofree char *said = NULL;
    int status;

    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL,
                               G_SPAWN_LEAVE_DESCRIPTORS_OPEN, NULL, NULL,
                               NULL, &said, &status, NULL));
    g_test_message("%s", said);
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    g_assert_nonnull(strstr(said, hint));
    close(tap);
}

static void test_node(const void *opaque)
{
    const NodeCase *c = opaque;

    replace_dev();
    unlink(NODE);
    if (c->make) {
        c->make();
    }
    check_netdev_error("", c->words[0], c->words[1]);
    check_hint(c->hint);
}

static void test_wrong_fd(const void *opaque)
{
    int fd = keep_open(open("/dev/null", O_RDWR));
    g_autofree char *one = g_strdup_printf(",vhostfd=%d", fd);
    g_autofree char *two = g_strdup_printf(",vhostfds=%d:%d", fd, fd);

    check_netdev_error(one, one + 1, "is not a descriptor of " NODE);
    check_netdev_error(two, two + 1, "queues=1 of the netdev needs 1");
    check_netdev_error(",vhostfd=nosuch", "vhostfd=nosuch", "nosuch");
    close(fd);
}

static void test_options(const void *opaque)
{
    static const struct {
        const char *options, *words[2];
    } cases[] = {
        { "'vhostfd': '3', 'vhostfds': '3'",
          { "vhostfd=3 and vhostfds=3", "exclude" } },
        { "'vhostfds': '3:'", { "vhostfds=3:", "descriptor 2 is empty" } },
        { "'vhostfds': ''", { "vhostfds=", "descriptor 1 is empty" } },
        { "'ifname': 'a/b'", { DRIVER " 'vn0': ifname=a/b", "not a valid" } },
        { "'fd': '3', 'fds': '3'", { "fd=3 and fds=3", "exclude" } },
        { "'poll-us': -1", { "poll-us", "uint32" } },
        { "'poll-us': 4294967296", { "poll-us", "uint32" } },
        { "'hugetlb': 1", { "hugetlb", "boolean" } },
        { "'queue-size': 32", { "queue-size=32", "from 64 to 1024" } },
        { "'queue-size': 100", { "queue-size=100", "powers of 2" } },
        { "'queue-size': 2048", { "queue-size=2048", "powers of 2" } },
    };
    DpGuest *guest = dp_guest_new("-S");
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *command = g_strdup_printf(
            "{ 'execute': 'object-add', 'arguments': {"
            " 'qom-type': '" DRIVER "', 'id': 'vn0', %s } }",
            cases[i].options);

        dp_check_error(qtest_qmp(guest->qts, command, NULL),
                       cases[i].words[0], cases[i].words[1], NULL);
    }
    dp_guest_free(guest);
}

int main(int argc, char **argv)
{
    static const DpSetup one = { .driver = "poll-us=0" };
    static const DpSetup short_ring = { .driver = "queue-size=64" };
    unsigned i;

    g_setenv("VHOST_DP_QTEST_TAP_DRIVER", DRIVER, true);
    dp_test_init(&argc, &argv);
    dp_add_test("vhost-net/options", NULL, test_options);
    dp_add_test("vhost-net/wrong-fd", NULL, test_wrong_fd);
    if (access(NODE, R_OK | W_OK) == 0) {
        dp_add_test("vhost-net/memory", NULL, test_memory);
        dp_add_test("vhost-net/copies", NULL, test_ram_is_not_there);
        dp_add_test("vhost-net/used-index", NULL, test_used_index);
        dp_add_test("vhost-net/wrap", &one, test_wrap);
        dp_add_test("vhost-net/stop-and-reset", NULL, test_stop_and_reset);
        dp_add_test("vhost-net/deleted-under-traffic", &short_ring,
                    test_deleted_under_traffic);
        dp_add_test("vhost-net/queues", NULL, test_queues);
        dp_add_test("vhost-net/peer", NULL, test_peer);
        dp_add_test("vhost-net/queue-size", "queue-size=64", test_option);
        dp_add_test("vhost-net/poll-us", "poll-us=50", test_option);
        dp_add_test("vhost-net/sndbuf", "sndbuf=64k", test_option);
        dp_add_test("vhost-net/offloads-off", "offloads=off", test_option);
        dp_add_test("vhost-net/no-huge-pages", NULL, test_no_huge_pages);
        dp_add_test("vhost-net/huge-pages", NULL, test_huge_pages);
        dp_add_test("vhost-net/vhostfd", NULL, test_fds);
        dp_add_test("vhost-net/vhostfds", NULL, test_two_fds);
    }
    /* A level below, so that these come last: they take /dev/vhost-net away */
    for (i = 0; i < ARRAY_SIZE(node_cases); i++) {
        g_autofree char *path = g_strdup_printf("vhost-net/node/%s",
                                                node_cases[i].name);

        dp_add_test(path, &node_cases[i], test_node);
    }
    return g_test_run();
}
