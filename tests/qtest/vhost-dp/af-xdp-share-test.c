/*
 * vhost-dp: qtests of vhost-dp-af-xdp, what it shares with others on the host
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An interface has one XDP program, whoever uses queues of it; a user has one
 * limit of locked memory; and the VLANs of an interface are to stay apart.
 * The driver uses one end of a veth pair: see veth.h.
 */

#include "qemu/osdep.h"
#include <sys/prctl.h>
#include <sys/wait.h>
#include "qemu/bswap.h"
#include "af-xdp-host.h"
#include "veth.h"

/* Frames of different flows, which the other end spreads over its queues */
#define FLOWS 50

/* QEMU without CAP_SYS_ADMIN */
#define NO_ADMIN "VHOST_DP_QTEST_NO_SYS_ADMIN"

/* QEMU that may lock little memory: enough for one queue pair, and 1 MB */
#define NO_LOCK "VHOST_DP_QTEST_NO_IPC_LOCK"
#define NO_LOCK_BYTES "7340032"

#define WITHOUT_CAP(cap) \
    "setpriv --bounding-set=-" cap " --inh-caps=-" cap " -- "

static void add_test(const char *path, const void *data,
                     void (*fn)(const void *data))
{
    g_autofree char *full = g_strdup_printf("af-xdp-share/%s", path);

    dp_add_test(full, data, fn);
}

#define ADD_DRIVER(id, options) DP_ADD_DRIVER("vhost-dp-af-xdp", id, options)
#define ADD_NETDEV(id, driver) \
    "{ 'execute': 'netdev_add', 'arguments': {" \
    " 'type': 'vhost-dp', 'id': '" id "', 'driver': '" driver "' } }"
#define DEL_NETDEV(id) \
    "{ 'execute': 'netdev_del', 'arguments': { 'id': '" id "' } }"

#define ADD_D0 ADD_DRIVER("d0", "'ifname': 'v0'")
#define ADD_D1 ADD_DRIVER("d1", "'ifname': 'v0', 'start-queue': 1")

static void check_refused(QTestState *qts, const char *command,
                          const char *text, const char *text2)
{
    qtest_qmp_send_raw(qts, "%s", command);
    dp_check_error(qtest_qmp_receive(qts), "ifname=v0", text, text2, NULL);
}

/* ---- QEMU without a guest, in the background ---- */

/* If the test fails, nothing is left */
static void die_with_parent(void *opaque)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Has process @pid a descriptor of a BPF link? */
static bool has_link(GPid pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    bool found = false;

    while (dir && !found && (name = g_dir_read_name(dir))) {
        g_autofree char *fd = g_strdup_printf("%s/%s", path, name);
        g_autofree char *target = g_file_read_link(fd, NULL);

        /* Its maker calls it so, and others with a hyphen */
        found = target && (strstr(target, "bpf_link") ||
                           strstr(target, "bpf-link"));
    }
    return found;
}

/* QEMU with @queue of v0, when it uses the program there */
static GPid spawn_qemu(unsigned queue)
{
    g_autofree char *command = NULL;
    g_auto(GStrv) argv = NULL;
    GPid pid;

    command = g_strdup_printf("%s -M none -nodefaults -display none "
                              "-object vhost-dp-af-xdp,id=v0,start-queue=%u "
                              "-netdev vhost-dp,id=vd0,driver=v0",
                              getenv("QTEST_QEMU_BINARY"), queue);
    g_assert_true(g_shell_parse_argv(command, NULL, &argv, NULL));
    g_assert_true(g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD,
                                die_with_parent, NULL, &pid, NULL));
    dp_wait_until(has_link(pid));
    return pid;
}

static void kill_qemu(GPid pid)
{
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(RETRY_ON_EINTR(waitpid(pid, NULL, 0)), ==, pid);
}

/* What QEMU on the command line says, hints included */
static char *refused_on_command_line(void)
{
    g_autofree char *command = NULL;
    char *text = NULL;
    int status;

    command = g_strdup_printf("%s -M none -nodefaults -display none "
                              "-object vhost-dp-af-xdp,id=v0 "
                              "-netdev vhost-dp,id=vd0,driver=v0",
                              getenv("QTEST_QEMU_BINARY"));
    g_assert_true(g_spawn_command_line_sync(command, NULL, &text, &status,
                                            NULL));
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    return text;
}

/* ---- Frames of many flows ---- */

/* @sock: on v1, with offload metadata */
static void send_flows(int sock)
{
    static const struct virtio_net_hdr no_offload;
    uint8_t frame[200];
    unsigned i;

    for (i = 0; i < FLOWS; i++) {
        dp_make_ip_frame(frame, sizeof(frame), IPPROTO_UDP, 1);
        stw_be_p(frame + 34, 1000 + i);
        dp_sock_send(sock, &no_offload, frame, sizeof(frame));
    }
}

/* How many frames @nic has got by now */
static unsigned take_all(DpNic *nic)
{
    uint8_t got[300];
    unsigned n;

    for (n = 0; dp_has_used(&nic->queue[DP_RX]); n++) {
        dp_receive(nic, NULL, got, sizeof(got));
        dp_post(nic, 1, 300);
    }
    return n;
}

static DpNic *nic_with_buffers(DpGuest *guest, unsigned slot)
{
    DpNic *nic = dp_nic_new(guest, slot, DP_FEATURES_DEFAULT);

    dp_post(nic, FLOWS + 10, 300);
    return nic;
}

/* ---- One program for all ---- */

/* Each netdev gets what comes in by its own queue */
static void test_two_netdevs(const void *opaque)
{
    unsigned count[2] = {};
    DpGuest *guest;
    DpNic *nic[2];
    int sock, plain;
    unsigned i;

    dp_veth_new_queues("v0", "v1", 2);
    guest = dp_guest_new("-object vhost-dp-af-xdp,id=d0,ifname=v0 "
                         "-object vhost-dp-af-xdp,id=d1,ifname=v0,"
                         "start-queue=1 "
                         "-netdev vhost-dp,id=vd0,driver=d0 "
                         "-netdev vhost-dp,id=vd1,driver=d1 "
                         "-device virtio-net-pci,netdev=vd0,addr=04.0,romfile= "
                         "-device virtio-net-pci,netdev=vd1,addr=05.0,"
                         "romfile= ");
    sock = dp_sock_open("v1", true);
    plain = dp_sock_open("v1", false);
    for (i = 0; i < 2; i++) {
        nic[i] = nic_with_buffers(guest, DP_SLOT + i);
    }
    send_flows(sock);
    dp_wait_until((count[0] += take_all(nic[0]),
                   count[1] += take_all(nic[1]),
                   count[0] + count[1] == FLOWS));
    g_assert_cmpuint(count[0], >, 0);
    g_assert_cmpuint(count[1], >, 0);
    for (i = 0; i < 2; i++) {
        dp_check_transmit(nic[i], plain, 100, i);
        dp_nic_free(nic[i]);
    }
    close(plain);
    close(sock);
    dp_guest_free(guest);
}

/*
 * The program stays until the last netdev goes, in which order they may go.
 * @opaque: QEMU's binary; it takes no more privileges than one netdev.
 */
static void test_last_user(const void *opaque)
{
    QTestState *qts = dp_qemu_new(opaque);
    DpUsage before = dp_usage(qts);
    uint32_t prog;

    dp_veth_new_queues("v0", "v1", 2);
    dp_run_good(qts, ADD_D0);
    dp_run_good(qts, ADD_D1);
    dp_run_good(qts, ADD_NETDEV("vd0", "d0"));
    prog = dp_xdp_prog_id("v0");
    g_assert_cmpuint(prog, !=, 0);
    dp_run_good(qts, ADD_NETDEV("vd1", "d1"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, prog);
    dp_run_good(qts, ADD_NETDEV("vd0", "d0"));
    dp_run_good(qts, DEL_NETDEV("vd1"));
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, prog);
    dp_run_good(qts, DEL_NETDEV("vd0"));
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, 0);
    dp_run_good(qts, DP_DEL_DRIVER("d0"));
    dp_run_good(qts, DP_DEL_DRIVER("d1"));
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

/* The same queue twice, or another mode: said, and the first one goes on */
static void test_conflicts(const void *opaque)
{
    QTestState *qts = dp_qemu_new(NULL);
    uint32_t prog;

    dp_veth_new_queues("v0", "v1", 2);
    dp_vlan_set_offload("v1", false);
    dp_run_good(qts, ADD_D0);
    dp_run_good(qts, ADD_NETDEV("vd0", "d0"));
    prog = dp_xdp_prog_id("v0");
    dp_run_good(qts, ADD_DRIVER("d1", "'ifname': 'v0'"));
    check_refused(qts, ADD_NETDEV("vd1", "d1"), "queue 0",
                  "in use by another AF_XDP socket");
    dp_run_good(qts, DP_DEL_DRIVER("d1"));
    dp_run_good(qts, ADD_DRIVER("d1", "'ifname': 'v0', 'start-queue': 1,"
                                      " 'mode': 'skb'"));
    check_refused(qts, ADD_NETDEV("vd1", "d1"), "mode=skb", "mode=native");
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, prog);
    qtest_quit(qts);
}

/*
 * Two QEMUs.  @opaque: whether the one with the guest is the first, whose
 * program it is.  The other one is killed, then frames come as before.
 */
static void test_two_qemus(const void *opaque)
{
    const bool first = *(const bool *)opaque;
    unsigned before = 0, after = 0;
    uint32_t prog;
    GPid pid = 0;
    DpRig *r;

    dp_veth_new_queues("v0", "v1", 2);
    if (!first) {
        pid = spawn_qemu(0);
    }
    r = dp_veth_start("vhost-dp-af-xdp,id=v0,start-queue=1", 0, 1);
    prog = dp_xdp_prog_id("v0");
    if (first) {
        pid = spawn_qemu(0);
    }
    dp_post(r->nic, FLOWS + 10, 300);
    send_flows(r->sock);
    while (dp_veth_has_frame(r)) {
        before += take_all(r->nic);
    }
    g_assert_cmpuint(before, >, 0);
    g_assert_cmpuint(before, <, FLOWS);
    kill_qemu(pid);
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, prog);
    send_flows(r->sock);
    while (dp_veth_has_frame(r)) {
        after += take_all(r->nic);
    }
    g_assert_cmpuint(after, ==, before);
    dp_rig_free(r);
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, 0);
}

/* Another QEMU's program is found only with CAP_SYS_ADMIN */
static void test_no_admin(const void *opaque)
{
    GPid pid;
    QTestState *qts;

    dp_veth_new_queues("v0", "v1", 2);
    pid = spawn_qemu(0);
    qts = dp_qemu_new(NO_ADMIN);
    dp_run_good(qts, ADD_D1);
    check_refused(qts, ADD_NETDEV("vd1", "d1"), "has an XDP program already",
                  "");
    kill_qemu(pid);
    dp_wait_until(dp_xdp_prog_id("v0") == 0);
    dp_run_good(qts, ADD_NETDEV("vd1", "d1"));
    qtest_quit(qts);
}

/* A frame arrives, now that the program is another one, or soon */
static void check_receive_soon(DpRig *r)
{
    unsigned tries;

    dp_post(r->nic, 1, 300);
    dp_make_frame(r->frame, 100, 1);
    for (tries = 0; tries < 20; tries++) {
        dp_veth_send(r, 100);
        if (dp_veth_has_frame(r)) {
            break;
        }
    }
    dp_assert_frame(r->got, dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME),
                    r->frame, 100);
}

/* libxdp's default program is used, and ours takes its place when it goes */
static void test_libxdp(const void *opaque)
{
    uint32_t prog;
    DpRig *r;

    dp_veth_new("v0", "v1");
    dp_vlan_set_offload("v1", false);
    prog = dp_xdp_attach_default();
    r = dp_veth_start("vhost-dp-af-xdp,id=v0", 0, 1);
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, prog);
    dp_veth_check_transmit(r, 100, 1);
    dp_veth_check_receive(r, 100, 2);
    dp_xdp_detach_default();
    dp_wait_until(dp_xdp_prog_id("v0") != 0);
    g_assert_cmpuint(dp_xdp_prog_id("v0"), !=, prog);
    check_receive_soon(r);
    dp_veth_check_transmit(r, 100, 3);
    dp_rig_free(r);
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, 0);
}

/* Our program is taken off by force: it comes back.  @opaque: options */
static void test_detached(const void *opaque)
{
    g_autofree char *object = g_strdup_printf("vhost-dp-af-xdp,id=v0%s",
                                              (const char *)opaque);
    unsigned i;
    DpRig *r;

    dp_veth_new("v0", "v1");
    dp_vlan_set_offload("v1", false);
    r = dp_veth_start(object, 0, 1);
    for (i = 0; i < 2; i++) {
        dp_veth_check_receive(r, 100, i);
        dp_xdp_link_detach("v0");
        dp_wait_until(dp_xdp_prog_id("v0") != 0);
        check_receive_soon(r);
    }
    dp_rig_free(r);
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, 0);
}

/* A link that has no interface any more is nothing to be shared */
static void test_detached_share(const void *opaque)
{
    QTestState *qts = dp_qemu_new(NULL);

    dp_veth_new_queues("v0", "v1", 2);
    dp_run_good(qts, ADD_D0);
    dp_run_good(qts, ADD_D1);
    dp_run_good(qts, ADD_NETDEV("vd0", "d0"));
    dp_xdp_link_detach("v0");
    dp_run_good(qts, ADD_NETDEV("vd1", "d1"));
    g_assert_cmpuint(dp_xdp_prog_id("v0"), !=, 0);
    qtest_quit(qts);
}

/*
 * Somebody's program takes the place of ours.  Nobody says when that is, nor
 * when it goes.
 */
static void test_replaced(const void *opaque)
{
    int map, link;
    DpRig *r;

    dp_veth_new("v0", "v1");
    dp_vlan_set_offload("v1", false);
    r = dp_veth_start("vhost-dp-af-xdp,id=v0", 0, 1);
    map = dp_xdp_map_new(1);
    /* Not while QEMU looks */
    g_assert_cmpint(kill(qtest_pid(r->qts), SIGSTOP), ==, 0);
    dp_xdp_link_detach("v0");
    link = dp_xdp_prog_attach(map);
    g_assert_cmpint(kill(qtest_pid(r->qts), SIGCONT), ==, 0);
    dp_wait_until(dp_link_is(r, false, "has an XDP program already"));
    close(link);
    close(map);
    dp_wait_until(dp_link_is(r, true, NULL));
    check_receive_soon(r);
    dp_rig_free(r);
}

/* The hints say how to remove the program: it depends on how it came */
static void test_hints(const void *opaque)
{
    g_autofree char *text = NULL;
    g_autofree char *text2 = NULL;
    int map, link;

    dp_veth_new("v0", "v1");
    map = dp_xdp_map_new(1);
    link = dp_xdp_prog_attach(map);
    text = refused_on_command_line();
    g_assert_nonnull(strstr(text, "has an XDP program already"));
    g_assert_nonnull(strstr(text, "bpftool link detach"));
    g_assert_null(strstr(text, "ip link set"));
    close(link);
    close(map);

    dp_wait_until(dp_xdp_prog_id("v0") == 0);
    dp_xdp_attach_default();
    text2 = refused_on_command_line();
    /* Known, but it does not know of VLAN tags */
    g_assert_nonnull(strstr(text2, "'ethtool -K v1 tx-vlan-hw-insert off "
                                   "tx-vlan-stag-hw-insert off'"));
    dp_xdp_detach_default();
}

/* ---- Queues of the interface that the guest has no use for ---- */

/*
 * The card spreads flows over its queues.  A guest that uses one pair (firmware
 * knows no more) gets all of them by that.
 */
static void test_one_pair_of_two(const void *opaque)
{
    unsigned got = 0;
    unsigned i;
    DpRig *r;

    dp_veth_new_queues("v0", "v1", 2);
    r = dp_veth_rig(dp_guest_new("-object vhost-dp-af-xdp,id=v0 "
                                 "-netdev vhost-dp,id=vd0,driver=v0,queues=2 "
                                 DP_DEVICE "disable-legacy=on,mq=on"), 0, 1);
    dp_post(r->nic, FLOWS + 10, 300);
    for (i = 1; i <= 20; i++) {
        send_flows(r->sock);
        dp_wait_until((got += take_all(r->nic)) == i * FLOWS);
    }
    dp_wait_counter(r->qts, "vd0", DP_RX, "packets", 20 * FLOWS);
    g_assert_cmpuint(dp_counter(r->qts, "vd0", 2 + DP_RX, "drop:disabled"), ==,
                     0);
    dp_rig_free(r);
}

/* The guest changes the number of its pairs: not a frame is lost between */
static void test_pairs_change(const void *opaque)
{
    unsigned count[2] = {};
    unsigned round, i;
    DpRig *r;

    dp_veth_new_queues("v0", "v1", 2);
    r = dp_veth_start("vhost-dp-af-xdp,id=v0", 0, 2);
    for (i = 0; i < 2; i++) {
        dp_post_on(r->nic, i, FLOWS + 10, 300);
    }
    for (round = 0; round < 10; round++) {
        unsigned got[2] = {};

        dp_nic_set_pairs(r->nic, 1 + round % 2);
        send_flows(r->sock);
        while (got[0] + got[1] < FLOWS) {
            uint8_t frame[300];

            dp_wait_until((i = dp_veth_find_received(r)) < 2);
            dp_receive_on(r->nic, i, NULL, frame, sizeof(frame));
            dp_post_on(r->nic, i, 1, 300);
            got[i]++;
        }
        g_assert_cmpuint(got[0], >, 0);
        if (round % 2) {
            count[1] += got[1];
        } else {
            g_assert_cmpuint(got[1], ==, 0);
        }
    }
    g_assert_cmpuint(count[1], >, 0);
    dp_rig_free(r);
}

/* ---- VLANs ---- */

typedef struct VlanTest {
    const char *name;
    const char *options;        /* of the driver */
    uint16_t proto;
    size_t mtu;
} VlanTest;

static const VlanTest vlan_tests[] = {
    { "native", "", 0x8100, 1500 },
    { "native-8021ad", "", 0x88a8, 1500 },
    { "native-jumbo", "", 0x8100, 9000 },
    { "skb", ",mode=skb", 0x8100, 1500 },
    { "skb-8021ad", ",mode=skb", 0x88a8, 1500 },
    { "skb-jumbo", ",mode=skb", 0x8100, 9000 },
};

/* What travels beside the frame on the host is in the guest's frame */
static void test_vlan(const void *opaque)
{
    const VlanTest *test = opaque;
    g_autofree char *object = g_strdup_printf("vhost-dp-af-xdp,id=v0%s",
                                              test->options);
    const uint16_t tci = 0xa064;        /* priority 5, VLAN 100 */
    const size_t sizes[] = { 14, 60, 257, test->mtu + 14 };
    unsigned i;
    size_t got;
    DpRig *r;

    dp_veth_new("v0", "v1");
    dp_if_set_mtu("v0", test->mtu);
    dp_if_set_mtu("v1", test->mtu);
    if (*test->options) {
        dp_vlan_set_offload("v1", false);
    }
    r = dp_veth_start(object, 0, 1);
    dp_veth_check_receive(r, 100, 1);
    dp_vlan_push("v1", test->proto, tci);
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        dp_post(r->nic, 1, r->nic->hdr_len + sizes[i] + 4);
        dp_make_frame(r->frame, sizes[i], i);
        dp_veth_send(r, sizes[i]);
        got = dp_receive(r->nic, NULL, r->got, DP_MAX_FRAME);
        g_assert_cmpuint(got, ==, sizes[i] + 4);
        g_assert_cmpmem(r->got, 12, r->frame, 12);
        g_assert_cmphex(lduw_be_p(r->got + 12), ==, test->proto);
        g_assert_cmphex(lduw_be_p(r->got + 14), ==, tci);
        g_assert_cmpmem(r->got + 16, got - 16, r->frame + 12, sizes[i] - 12);
    }
    dp_rig_free(r);
}

/* What is the host's is left as it was, with the tag beside it */
static void test_vlan_of_host(const void *opaque)
{
    struct virtio_net_hdr hdr;
    unsigned guest = 0, host = 0;
    int sock;
    DpRig *r;

    dp_veth_new_queues("v0", "v1", 2);
    r = dp_veth_start("vhost-dp-af-xdp,id=v0,start-queue=1", 0, 1);
    sock = dp_sock_open("v0", true);
    dp_vlan_push("v1", 0x8100, 100);
    dp_post(r->nic, FLOWS + 10, 300);
    send_flows(r->sock);
    while (dp_veth_has_frame(r)) {
        guest += take_all(r->nic);
    }
    /* By its EtherType, so without a tag in it */
    while (dp_sock_recv(sock, ETH_P_IP, &hdr, r->got, DP_MAX_FRAME,
                        DP_QUIET_US) == 200) {
        host++;
    }
    g_assert_cmpuint(guest, >, 0);
    g_assert_cmpuint(host, >, 0);
    g_assert_cmpuint(guest + host, ==, FLOWS);
    close(sock);
    dp_rig_free(r);
}

/* An interface that takes tags off is refused, until that has been mended */
static void test_vlan_refused(const void *opaque)
{
    QTestState *qts = dp_qemu_new(NULL);
    DpUsage before = dp_usage(qts);
    int map, link, fd;

    dp_veth_new("v0", "v1");
    dp_run_good(qts, ADD_DRIVER("d0", "'ifname': 'v0', 'mode': 'skb'"));
    check_refused(qts, ADD_NETDEV("vd0", "d0"), "VLAN tags", "'v1'");
    g_assert_cmpuint(dp_xdp_prog_id("v0"), ==, 0);
    dp_vlan_set_offload("v1", false);
    dp_run_good(qts, ADD_NETDEV("vd0", "d0"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    dp_run_good(qts, DP_DEL_DRIVER("d0"));

    /* Nor can somebody else's program be trusted with that */
    dp_vlan_set_offload("v1", true);
    map = dp_xdp_map_new(1);
    link = dp_xdp_prog_attach(map);
    fd = dp_xdp_socket_new(map, 0);
    dp_send_fds(qts, &fd, 1);
    dp_run_good(qts, ADD_DRIVER("d0", "'ifname': 'v0', 'inhibit': true,"
                                      " 'sock-fds': 'a'"));
    check_refused(qts, ADD_NETDEV("vd0", "d0"), "VLAN tags", "'v1'");
    dp_vlan_set_offload("v1", false);
    dp_run_good(qts, ADD_NETDEV("vd0", "d0"));
    dp_run_good(qts, DEL_NETDEV("vd0"));
    dp_run_good(qts, DP_DEL_DRIVER("d0"));
    close(link);
    close(map);
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

/* Bridges and the like get frames whose tags were taken off below them */
static void test_vlan_stacked(const void *opaque)
{
    QTestState *qts = dp_qemu_new(NULL);

    dp_bridge_new("v0");
    dp_if_up("v0");
    dp_run_good(qts, ADD_D0);
    check_refused(qts, ADD_NETDEV("vd0", "d0"), "VLAN tags", "bridge");
    qtest_quit(qts);
}

/* What the other end of the pair does cannot be seen from here */
static void test_vlan_elsewhere(const void *opaque)
{
    QTestState *qts = dp_qemu_new(NULL);
    int ours = dp_netns_open();
    int other = dp_netns_new();

    dp_veth_new("v0", "v1");
    dp_vlan_set_offload("v1", false);
    dp_if_move("v1", other);
    dp_run_good(qts, ADD_DRIVER("d0", "'ifname': 'v0', 'mode': 'skb'"));
    check_refused(qts, ADD_NETDEV("vd0", "d0"), "VLAN tags",
                  "another network namespace");
    close(other);
    close(ours);
    qtest_quit(qts);
}

/*
 * It is looked at again when the interface changes, and from time to time:
 * nobody tells when its peer does.
 */
static void test_vlan_changed(const void *opaque)
{
    unsigned i;
    DpRig *r;

    dp_veth_new("v0", "v1");
    dp_vlan_set_offload("v1", false);
    r = dp_veth_start("vhost-dp-af-xdp,id=v0,mode=skb", 0, 1);
    for (i = 0; i < 2; i++) {
        dp_veth_check_receive(r, 100, i);
        dp_vlan_set_offload("v1", true);
        if (i == 0) {
            dp_if_set_mtu("v0", 1400);
        }
        dp_wait_until(dp_link_is(r, false, "VLAN tags"));
        dp_vlan_set_offload("v1", false);
        if (i == 0) {
            dp_if_set_mtu("v0", 1500);
        }
        dp_wait_until(dp_link_is(r, true, NULL));
    }
    dp_veth_check_receive(r, 100, i);
    dp_rig_free(r);
}

/* ---- Locked memory ---- */

/* What a socket had locked is missing for a while after it was closed */
static void test_memory_given_back_late(const void *opaque)
{
    QTestState *qts = dp_qemu_new(NO_LOCK);
    unsigned i;
    DpRig *r;

    dp_veth_new("v0", "v1");
    dp_run_good(qts, ADD_D0);
    for (i = 0; i < 6; i++) {
        dp_run_good(qts, ADD_NETDEV("vd0", "d0"));
        dp_run_good(qts, DEL_NETDEV("vd0"));
    }
    qtest_quit(qts);

    r = dp_veth_rig(dp_guest_new_env(NO_LOCK, "-object vhost-dp-af-xdp,id=v0 "
                                     "-netdev vhost-dp,id=vd0,driver=v0 "
                                     DP_DEVICE "disable-legacy=on"), 0, 1);
    for (i = 0; i < 3; i++) {
        dp_veth_check_receive(r, 100, i);
        dp_if_delete("v0");
        dp_wait_until(dp_link_is(r, false, "deleted"));
        dp_veth_renew(r, 1);
        dp_veth_check_transmit(r, 100, i);
    }
    dp_rig_free(r);
}

/* Other netdevs of the same user leave the limit alone */
static void test_memory_of_others(const void *opaque)
{
    QTestState *other = dp_qemu_new(NO_LOCK);
    QTestState *qts = dp_qemu_new(NO_LOCK);

    dp_veth_new("v0", "v1");
    dp_run_good(other, DP_ADD_DRIVER("vhost-dp-tap", "tap0",
                                     "'ifname': 'tap0'"));
    dp_run_good(other, ADD_NETDEV("vd0", "tap0"));
    dp_wait_settled(other);
    dp_run_good(qts, ADD_D0);
    dp_run_good(qts, ADD_NETDEV("vd0", "d0"));
    qtest_quit(qts);
    qtest_quit(other);
}

static void set_wrapper(const char *variable, const char *wrapper)
{
    g_autofree char *command = g_strdup_printf("%s%s", wrapper,
                                               getenv("QTEST_QEMU_BINARY"));

    g_setenv(variable, command, true);
}

int main(int argc, char **argv)
{
    static const bool yes = true, no;
    unsigned i;

    dp_test_init(&argc, &argv);
    set_wrapper(NO_ADMIN, WITHOUT_CAP("sys_admin"));
    set_wrapper(NO_LOCK, WITHOUT_CAP("ipc_lock")
                "prlimit --memlock=" NO_LOCK_BYTES " ");
    dp_skip_all(dp_why_no_driver("vhost-dp-af-xdp"));
    add_test("two-netdevs", NULL, test_two_netdevs);
    add_test("last-user", NULL, test_last_user);
    add_test("last-user-no-admin", NO_ADMIN, test_last_user);
    add_test("conflicts", NULL, test_conflicts);
    add_test("two-qemus-first", &yes, test_two_qemus);
    add_test("two-qemus-second", &no, test_two_qemus);
    add_test("no-admin", NULL, test_no_admin);
    add_test("libxdp", NULL, test_libxdp);
    add_test("detached/native", "", test_detached);
    add_test("detached/skb", ",mode=skb", test_detached);
    add_test("detached/share", NULL, test_detached_share);
    add_test("detached/replaced", NULL, test_replaced);
    add_test("hints", NULL, test_hints);
    add_test("one-pair-of-two", NULL, test_one_pair_of_two);
    add_test("pairs-change", NULL, test_pairs_change);
    for (i = 0; i < ARRAY_SIZE(vlan_tests); i++) {
        g_autofree char *path = g_strdup_printf("vlan/%s", vlan_tests[i].name);

        add_test(path, &vlan_tests[i], test_vlan);
    }
    add_test("vlan/of-host", NULL, test_vlan_of_host);
    add_test("vlan/refused", NULL, test_vlan_refused);
    add_test("vlan/stacked", NULL, test_vlan_stacked);
    add_test("vlan/elsewhere", NULL, test_vlan_elsewhere);
    add_test("vlan/changed", NULL, test_vlan_changed);
    add_test("memory/given-back-late", NULL, test_memory_given_back_late);
    add_test("memory/of-others", NULL, test_memory_of_others);
    return g_test_run();
}
