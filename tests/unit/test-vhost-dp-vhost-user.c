/*
 * vhost-dp: the connection of vhost-dp-vhost-user with a chardev
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver's vhost-user-conn.c and vhost-user-proto.c with a real chardev,
 * whose peer is the test itself, and without an engine.  The test runs the main
 * loop turn by turn, so it decides what comes in the same one.  All else is
 * tested with a QEMU: tests/qtest/vhost-dp/vhost-user-test.c.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qemu/config-file.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "qapi/error.h"
#include "system/system.h"
#include "net/vhost-dp/drivers/vhost-user/vhost-user-int.h"
#include "net/vhost-dp/drivers/virtq/vq-int.h"

static void pair_failed(void *opaque, unsigned index, VhostDPVqSet *set,
                        VhostDPPeerViolation violation)
{
    g_assert_not_reached();
}

/* ---- The rig ---- */

typedef struct Rig {
    VhostDPVhostUser vu;
    VhostDPVqPair *pair;
    Chardev *chr;
    QEMUBH *fail;               /* makes the connection fail */
    char *dir, *path;
} Rig;

static void rig_fail(void *opaque)
{
    Rig *r = opaque;

    vhost_dp_vu_fail(&r->vu, "by the test");
}

static Rig *rig_new(void)
{
    Rig *r = g_new0(Rig, 1);
    g_autofree char *chardev = NULL;

    r->dir = g_dir_make_tmp("vhost-dp-XXXXXX", NULL);
    g_assert_nonnull(r->dir);
    r->path = g_strdup_printf("%s/peer", r->dir);
    chardev = g_strdup_printf("unix:%s,server=on,wait=off", r->path);
    r->chr = qemu_chr_new("chr0", chardev, NULL);
    g_assert_nonnull(r->chr);
    r->fail = qemu_bh_new(rig_fail, r);
    r->pair = vhost_dp_vqpair_new(0, pair_failed, r);
    r->vu.chardev = g_strdup("chr0");
    r->vu.queue_size = VHOST_DP_VQ_MIN_NUM;
    r->vu.npairs = 1;
    r->vu.pair = &r->pair;
    qemu_mutex_init(&r->vu.lock);
    vhost_dp_vu_conn_open(&r->vu, &error_abort);
    return r;
}

static void rig_free(Rig *r)
{
    vhost_dp_vu_conn_close(&r->vu);
    vhost_dp_vqpair_free(r->pair);
    qemu_mutex_destroy(&r->vu.lock);
    qemu_bh_delete(r->fail);
    object_unparent(OBJECT(r->chr));
    g_free(r->vu.chardev);
    unlink(r->path);
    rmdir(r->dir);
    g_free(r->path);
    g_free(r->dir);
    g_free(r);
}

static void rig_wait_for(Rig *r, VuState state)
{
    int64_t end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

    while (r->vu.state != state) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        main_loop_wait(false);
    }
}

static unsigned count_fds(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

/* ---- The peer ---- */

static int peer_connect(Rig *r)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(sock, >=, 0);
    pstrcpy(addr.sun_path, sizeof(addr.sun_path), r->path);
    g_assert_cmpint(connect(sock, (struct sockaddr *)&addr, sizeof(addr)), ==,
                    0);
    return sock;
}

/* The header of a reply, with as many descriptors as there may be */
static void peer_send_fds(int sock)
{
    uint32_t hdr[] = { VHOST_USER_GET_FEATURES, 1 | VHOST_USER_REPLY_MASK, 8 };
    int fds[VU_MAX_FDS] = {};
    char control[CMSG_SPACE(sizeof(fds))] = {};
    struct iovec iov = { hdr, sizeof(hdr) };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1,
        .msg_control = control, .msg_controllen = sizeof(control),
    };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(cmsg), fds, sizeof(fds));
    g_assert_cmpint(sendmsg(sock, &msg, MSG_NOSIGNAL), ==, sizeof(hdr));
}

static bool peer_was_read(int sock)
{
    int unread;

    g_assert_cmpint(ioctl(sock, TIOCOUTQ, &unread), ==, 0);
    return !unread;
}

/* ---- Tests ---- */

/* Connections that fail, as @fail makes them, leave no descriptors behind */
static void check_fds(void (*fail)(Rig *r, int sock))
{
    Rig *r = rig_new();
    unsigned before = count_fds();
    unsigned i;

    for (i = 0; i < 5; i++) {
        int sock = peer_connect(r);

        rig_wait_for(r, VU_SETUP);
        fail(r, sock);
        rig_wait_for(r, VU_CLOSED);
        close(sock);
        g_assert_cmpuint(count_fds(), ==, before);
    }
    rig_free(r);
}

static void fail_by_fds(Rig *r, int sock)
{
    peer_send_fds(sock);
    rig_wait_for(r, VU_FAILED);
}

/* A message with descriptors is refused, and they are closed */
static void test_fds(void)
{
    check_fds(fail_by_fds);
}

static void fail_before_fds(Rig *r, int sock)
{
    /* The chardev's descriptor is looked at from the next turn on */
    main_loop_wait(true);
    peer_send_fds(sock);
    qemu_bh_schedule(r->fail);
    main_loop_wait(true);
    g_assert_cmpint(r->vu.state, ==, VU_FAILED);
    g_assert_true(peer_was_read(sock));
}

/*
 * The same if the connection has failed since the main loop asked whether there
 * is room for a message: the chardev has it already, and nobody else closes
 * what came with it.
 */
static void test_fds_after_failure(void)
{
    check_fds(fail_before_fds);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qemu_init_main_loop(&error_abort);
    socket_init();
    module_call_init(MODULE_INIT_QOM);
    qemu_add_opts(&qemu_chardev_opts);
    g_test_add_func("/vhost-dp/vhost-user/fds", test_fds);
    g_test_add_func("/vhost-dp/vhost-user/fds-after-failure",
                    test_fds_after_failure);
    return g_test_run();
}
