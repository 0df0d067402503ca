/*
 * vhost-dp: unit tests of the example driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost-dp-example.c, which docs/devel/vhost-dp-driver.rst explains, does what
 * the page says.  The test is the engine, and the process at the other end of
 * the driver's socket.
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "monitor/monitor.h"
#include "net/vhost-dp.h"

#define TYPE_EXAMPLE "vhost-dp-example"

/* As the driver has it */
#define MAX_FRAME 9216

#define TIMEOUT_US (10 * G_USEC_PER_SEC)

/* ---- The engine: notes what the driver says ---- */

typedef struct Engine {
    VhostDPPort port;
    unsigned ready;             /* VHOST_DP_READY_*, since it was cleared */
    bool down;
    char *reason;
    uint64_t rx_drops[VHOST_DP_DROP_REASON__MAX];
    uint64_t tx_drops[VHOST_DP_DROP_REASON__MAX];
} Engine;

static Engine engine;

static void engine_ready(VhostDPPort *port, unsigned what)
{
    container_of(port, Engine, port)->ready |= what;
}

static void engine_drop_rx(VhostDPPort *port, VhostDPDropReason reason,
                           uint64_t n)
{
    container_of(port, Engine, port)->rx_drops[reason] += n;
}

static void engine_drop_tx(VhostDPPort *port, VhostDPDropReason reason,
                           uint64_t n)
{
    container_of(port, Engine, port)->tx_drops[reason] += n;
}

static void engine_set_link(VhostDPPort *port, bool up, const char *reason)
{
    Engine *e = container_of(port, Engine, port);

    e->down = !up;
    g_free(e->reason);
    e->reason = g_strdup(reason);
}

static const VhostDPPortOps engine_ops = {
    .ready = engine_ready,
    .drop_rx = engine_drop_rx,
    .drop_tx = engine_drop_tx,
    .set_link = engine_set_link,
};

/* ---- File descriptor sets: /dev/fdset/1 is the driver's end ---- */

static int fdset_fd = -1;

int monitor_fdset_dup_fd_add(int64_t fdset_id, int flags, Error **errp)
{
    int fd = fdset_id == 1 ? qemu_dup(fdset_fd) : -1;

    if (fd < 0) {
        error_setg(errp, "no such descriptor");
        return -1;
    }
    g_assert_cmpint(fcntl(fd, F_SETFL, flags), ==, 0);
    return fd;
}

void monitor_fdset_dup_fd_remove(int dupfd)
{
}

/* ---- The rig ---- */

typedef struct Rig {
    VhostDPDriver *drv;
    VhostDPDriverClass *dc;
    int peer;
    VhostDPFrame frames[VHOST_DP_BURST_FRAMES];
    uint8_t buf[65536];
} Rig;

static VhostDPDriver *new_driver(const char *path, Error **errp)
{
    Object *obj = object_new_with_props(TYPE_EXAMPLE, object_get_objects_root(),
                                        "ex0", errp, "path", path, NULL);

    return obj ? VHOST_DP_DRIVER(obj) : NULL;
}

static Rig *rig_new(void)
{
    Rig *r = g_new0(Rig, 1);
    int sv[2];

    engine = (Engine) { .port.ops = &engine_ops };
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), ==, 0);
    fdset_fd = sv[0];
    r->peer = sv[1];
    r->drv = new_driver("/dev/fdset/1", &error_abort);
    r->dc = VHOST_DP_DRIVER_GET_CLASS(r->drv);
    g_assert_true(vhost_dp_driver_claim("ex0", "vd0", 1, &error_abort) ==
                  r->drv);
    close(fdset_fd);
    g_assert_true(r->dc->attach(r->drv, 0, &engine.port,
                                qemu_get_aio_context(), &error_abort));
    return r;
}

static void rig_free(Rig *r)
{
    r->dc->detach(r->drv, 0);
    vhost_dp_driver_release(r->drv);
    object_unparent(OBJECT(r->drv));
    if (r->peer >= 0) {
        close(r->peer);
    }
    g_free(engine.reason);
    g_free(r);
}

/* Run the event loop until the driver has said @what */
static void wait_ready(unsigned what)
{
    int64_t end = g_get_monotonic_time() + TIMEOUT_US;

    while (!(engine.ready & what)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        aio_poll(qemu_get_aio_context(), false);
    }
    engine.ready = 0;
}

/* The driver has nothing to say, and no handler that fires */
static void check_quiet(void)
{
    unsigned i;

    engine.ready = 0;
    for (i = 0; i < 100; i++) {
        aio_poll(qemu_get_aio_context(), false);
    }
    g_assert_cmphex(engine.ready, ==, 0);
}

static void fill(uint8_t *buf, size_t len, unsigned seed)
{
    size_t i;

    for (i = 0; i < len; i++) {
        buf[i] = i * 7 + seed;
    }
}

static void send_to_driver(Rig *r, size_t len, unsigned seed)
{
    fill(r->buf, len, seed);
    g_assert_cmpint(send(r->peer, r->buf, len, 0), ==, len);
}

static void check_frame(const VhostDPFrame *frame, size_t len, unsigned seed)
{
    g_autofree uint8_t *want = g_malloc(len);

    fill(want, len, seed);
    g_assert_cmpuint(frame->len, ==, len);
    g_assert_cmpuint(frame->iovcnt, ==, 1);
    g_assert_cmpuint(frame->flags, ==, 0);
    g_assert_cmpuint(frame->gso_type, ==, 0);
    g_assert_cmpmem(frame->iov[0].iov_base, frame->iov[0].iov_len, want, len);
}

static unsigned receive(Rig *r)
{
    unsigned n = r->dc->rx_burst(r->drv, 0, r->frames, VHOST_DP_BURST_FRAMES);

    g_assert_cmpuint(n, <=, VHOST_DP_BURST_FRAMES);
    return n;
}

/* ---- Tests ---- */

static void test_transmit(void)
{
    static const size_t sizes[] = { 14, 60, 1514, MAX_FRAME };
    Rig *r = rig_new();
    uint8_t got[MAX_FRAME + 1];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        VhostDPFrame *frame = &r->frames[i];

        frame->iov = frame->inl;
        frame->iovcnt = 2;
        frame->len = sizes[i];
        frame->inl[0] = (struct iovec) { r->buf, 5 };
        frame->inl[1] = (struct iovec) { r->buf + 5, sizes[i] - 5 };
    }
    fill(r->buf, MAX_FRAME, 1);
    g_assert_cmpuint(r->dc->tx_burst(r->drv, 0, r->frames, ARRAY_SIZE(sizes)),
                     ==, ARRAY_SIZE(sizes));
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        ssize_t len = recv(r->peer, got, sizeof(got), MSG_DONTWAIT);

        g_assert_cmpmem(got, len, r->buf, sizes[i]);
    }
    rig_free(r);
}

/* A peer that does not read makes the guest wait, and loses nothing */
static void test_peer_waits(void)
{
    Rig *r = rig_new();
    unsigned sent = 0, got = 0, n, i;

    for (i = 0; i < VHOST_DP_BURST_FRAMES; i++) {
        VhostDPFrame *frame = &r->frames[i];

        frame->iov = frame->inl;
        frame->iovcnt = 1;
        frame->len = MAX_FRAME;
        frame->inl[0] = (struct iovec) { r->buf, MAX_FRAME };
    }
    do {
        n = r->dc->tx_burst(r->drv, 0, r->frames, VHOST_DP_BURST_FRAMES);
        sent += n;
        g_assert_cmpuint(sent, <, 10000);
    } while (n == VHOST_DP_BURST_FRAMES);
    check_quiet();

    while (recv(r->peer, r->buf, sizeof(r->buf), MSG_DONTWAIT) > 0) {
        got++;
    }
    g_assert_cmpuint(got, ==, sent);
    wait_ready(VHOST_DP_READY_TX);
    g_assert_cmpuint(r->dc->tx_burst(r->drv, 0, r->frames, 1), ==, 1);
    rig_free(r);
}

static void test_receive(void)
{
    static const size_t sizes[] = { 14, 60, 1514, MAX_FRAME };
    Rig *r = rig_new();
    unsigned i;

    /* Reception begins disabled */
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        send_to_driver(r, sizes[i], i);
    }
    check_quiet();

    /* What is there already is announced */
    r->dc->rx_enable(r->drv, 0, true);
    wait_ready(VHOST_DP_READY_RX);
    g_assert_cmpuint(receive(r), ==, ARRAY_SIZE(sizes));
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        check_frame(&r->frames[i], sizes[i], i);
    }
    g_assert_cmpuint(receive(r), ==, 0);
    check_quiet();

    send_to_driver(r, 100, 9);
    wait_ready(VHOST_DP_READY_RX);
    r->dc->rx_enable(r->drv, 0, false);
    check_quiet();
    g_assert_cmpuint(r->dc->rx_burst(r->drv, 0, r->frames, 1), ==, 1);
    check_frame(&r->frames[0], 100, 9);
    rig_free(r);
}

/* A burst ends, however much there is */
static void test_burst(void)
{
    Rig *r = rig_new();
    unsigned most = VHOST_DP_BURST_BYTES / MAX_FRAME;
    unsigned sent = 0, got, n;

    fill(r->buf, 60, 0);
    while (send(r->peer, r->buf, 60, MSG_DONTWAIT) > 0) {
        sent++;
    }
    g_assert_cmpuint(sent, >, most);
    g_assert_cmpuint(r->dc->rx_burst(r->drv, 0, r->frames, 3), ==, 3);
    for (got = 3; got < sent; got += n) {
        n = receive(r);
        g_assert_cmpuint(n, ==, MIN(sent - got, most));
    }
    g_assert_cmpuint(receive(r), ==, 0);
    rig_free(r);
}

/* What is no frame is dropped and counted, and frames go on */
static void test_drops(void)
{
    Rig *r = rig_new();

    send_to_driver(r, 13, 0);
    send_to_driver(r, MAX_FRAME + 1, 0);
    send_to_driver(r, 60000, 0);
    send_to_driver(r, 100, 1);
    g_assert_cmpuint(receive(r), ==, 1);
    check_frame(&r->frames[0], 100, 1);
    g_assert_cmpuint(engine.rx_drops[VHOST_DP_DROP_REASON_TOO_SHORT], ==, 1);
    g_assert_cmpuint(engine.rx_drops[VHOST_DP_DROP_REASON_TOO_LARGE], ==, 2);
    rig_free(r);
}

static void test_peer_goes(void)
{
    Rig *r = rig_new();

    r->dc->rx_enable(r->drv, 0, true);
    send_to_driver(r, 100, 1);
    close(r->peer);
    r->peer = -1;
    wait_ready(VHOST_DP_READY_RX);
    /* The frame that was sent before is not lost */
    g_assert_cmpuint(receive(r), ==, 1);
    check_frame(&r->frames[0], 100, 1);
    g_assert_cmpuint(receive(r), ==, 0);
    g_assert_true(engine.down);
    g_assert_cmpstr(engine.reason, ==, "the peer has gone");
    check_quiet();

    r->frames[0] = (VhostDPFrame) { .iov = r->frames[0].inl, .iovcnt = 1,
                                    .inl = { { r->buf, 60 } }, .len = 60 };
    g_assert_cmpuint(r->dc->tx_burst(r->drv, 0, r->frames, 1), ==, 1);
    g_assert_cmpuint(engine.tx_drops[VHOST_DP_DROP_REASON_DRIVER_ERROR], ==, 1);
    rig_free(r);
}

/* The driver can be given back and claimed again; its descriptor is closed */
static void test_again(void)
{
    VhostDPDriver *drv = new_driver("/dev/fdset/1", &error_abort);
    char c;
    int sv[2], i;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), ==, 0);
    fdset_fd = sv[0];
    for (i = 0; i < 3; i++) {
        g_assert_true(vhost_dp_driver_claim("ex0", "vd0", 1, &error_abort) ==
                      drv);
        vhost_dp_driver_release(drv);
    }
    close(fdset_fd);
    g_assert_cmpint(recv(sv[1], &c, 1, MSG_DONTWAIT), ==, 0);
    close(sv[1]);
    object_unparent(OBJECT(drv));
}

static void check_error(Error *err, const char *text)
{
    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

static void test_options(void)
{
    g_autofree char *path = NULL;
    Error *err = NULL;
    VhostDPDriver *drv;

    g_assert_null(new_driver("somewhere", &err));
    check_error(err, TYPE_EXAMPLE " 'ex0': path=somewhere is not absolute");

    err = NULL;
    drv = new_driver("/nowhere/at-all", &error_abort);
    g_assert_null(vhost_dp_driver_claim("ex0", "vd0", 1, &err));
    check_error(err, TYPE_EXAMPLE " 'ex0': path=/nowhere/at-all: No such file "
                "or directory");

    err = NULL;
    object_property_set_str(OBJECT(drv), "path", "/dev/null", &error_abort);
    g_assert_true(vhost_dp_driver_claim("ex0", "vd0", 1, &error_abort) == drv);
    g_assert_false(object_property_set_str(OBJECT(drv), "path", "/x", &err));
    check_error(err, TYPE_EXAMPLE " 'ex0': path= cannot be changed while "
                "netdev 'vd0' uses the driver");
    path = object_property_get_str(OBJECT(drv), "path", &error_abort);
    g_assert_cmpstr(path, ==, "/dev/null");

    err = NULL;
    g_assert_null(vhost_dp_driver_claim("ex0", "vd1", 1, &err));
    check_error(err, "vhost-dp netdev 'vd1': driver=ex0 is in use by netdev "
                "'vd0'");
    vhost_dp_driver_release(drv);

    /* It may have become wrong since */
    err = NULL;
    object_property_set_str(OBJECT(drv), "path", "there", &error_abort);
    g_assert_null(vhost_dp_driver_claim("ex0", "vd0", 1, &err));
    check_error(err, TYPE_EXAMPLE " 'ex0': path=there is not absolute");
    object_unparent(OBJECT(drv));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qemu_init_main_loop(&error_abort);
    module_call_init(MODULE_INIT_QOM);

    g_test_add_func("/vhost-dp/example/transmit", test_transmit);
    g_test_add_func("/vhost-dp/example/peer-waits", test_peer_waits);
    g_test_add_func("/vhost-dp/example/receive", test_receive);
    g_test_add_func("/vhost-dp/example/burst", test_burst);
    g_test_add_func("/vhost-dp/example/drops", test_drops);
    g_test_add_func("/vhost-dp/example/peer-goes", test_peer_goes);
    g_test_add_func("/vhost-dp/example/again", test_again);
    g_test_add_func("/vhost-dp/example/options", test_options);
    return g_test_run();
}
