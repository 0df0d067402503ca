/*
 * vhost-dp: qtests of a vhost-user peer that breaks rules
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The tables say what it does, and what QEMU says about it.  Each time the
 * link goes down with the reason, the violation is counted, QEMU has lost no
 * descriptor, and a peer that behaves is served afterwards.  Sections are those
 * of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/un.h>
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "guest.h"
#include "peer.h"

#define REPLY VHOST_USER_REPLY_MASK

static DpVu *rig_new(bool packed)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=1,"
                                               "queue-size=64", v->path);

    v->peer->features = packed ? -1 : ~DP_FEATURE(VIRTIO_F_RING_PACKED);
    dp_vu_start(v, "", options, 1, 0);
    dp_vu_start_nic(v);
    return v;
}

/* How often query-vhost-dp says that the peer did this, or NULL: anything */
static uint64_t violations(DpVu *v, const char *name)
{
    QDict *info = dp_query(v->r->qts, "vd0");
    QList *list = qdict_get_qlist(qdict_get_qdict(info, "peer"), "violations");
    const QListEntry *e;
    uint64_t n = 0;

    QLIST_FOREACH_ENTRY(list, e) {
        QDict *each = qobject_to(QDict, qlist_entry_obj(e));

        if (!name || !strcmp(qdict_get_str(each, "violation"), name)) {
            n += qdict_get_int(each, "count");
        }
    }
    qobject_unref(info);
    return n;
}

/* A peer that behaves */
static void behave(DpVu *v)
{
    v->peer->hook = NULL;
    dp_vu_run(v);
    dp_vu_last_long();
}

/* ---- Messages ---- */

typedef struct Message {
    const char *name;
    uint32_t at;                /* in place of the reply to this request */
    uint32_t request;           /* 0: the same */
    uint32_t flags;             /* 0: of a reply */
    uint32_t size;              /* 0: 8 */
    bool empty;                 /* but 0 */
    uint64_t value;
    unsigned nfds;
    unsigned copies;            /* 0: 1 */
    const char *violation;      /* NULL: it is none, but of no use */
    const char *reason;
} Message;

static const Message messages[] = {
    { "version-0", VHOST_USER_GET_FEATURES, .flags = REPLY,
      .violation = "message-header" },
    { "version-3", VHOST_USER_GET_FEATURES, .flags = REPLY | 3,
      .violation = "message-header" },
    { "no-reply", VHOST_USER_GET_FEATURES, .flags = 1,
      .violation = "message-header" },
    { "other-request", VHOST_USER_GET_FEATURES,
      .request = VHOST_USER_GET_QUEUE_NUM, .violation = "message-header" },
    { "unknown-request", VHOST_USER_GET_FEATURES, .request = UINT32_MAX,
      .violation = "message-header" },
    { "size-0", VHOST_USER_GET_FEATURES, .empty = true,
      .violation = "message-size" },
    { "size-4", VHOST_USER_GET_FEATURES, .size = 4,
      .violation = "message-size" },
    { "size-9", VHOST_USER_GET_FEATURES, .size = 9,
      .violation = "message-size" },
    { "size-large", VHOST_USER_GET_FEATURES, .size = UINT32_MAX,
      .violation = "message-size" },
    { "ack-size", VHOST_USER_SET_MEM_TABLE, .size = 12,
      .violation = "message-size" },
    { "twice", VHOST_USER_GET_FEATURES, .value = -1, .copies = 2,
      .violation = "message-header" },
    { "many", VHOST_USER_GET_FEATURES, .value = -1, .copies = 100000,
      .violation = "message-header" },
    { "fds", VHOST_USER_GET_FEATURES, .value = -1, .nfds = 8,
      .violation = "message-fds" },
    { "ack-fds", VHOST_USER_SET_MEM_TABLE, .nfds = 1,
      .violation = "message-fds" },
    { "no-queues", VHOST_USER_GET_QUEUE_NUM, .value = 0,
      .violation = "message-value" },
    { "queues-large", VHOST_USER_GET_QUEUE_NUM, .value = 1ULL << 32,
      .violation = "message-value" },
    /* What a peer does not want is no violation */
    { "no-owner", VHOST_USER_SET_OWNER, .value = 1,
      .reason = "refused VHOST_USER_SET_OWNER" },
    { "no-features", VHOST_USER_SET_FEATURES, .value = 1,
      .reason = "(VHOST_USER_SET_FEATURES)" },
    { "no-memory", VHOST_USER_SET_MEM_TABLE, .value = -1,
      .reason = "(VHOST_USER_SET_MEM_TABLE)" },
    { "no-num", VHOST_USER_SET_VRING_NUM, .value = 1,
      .reason = "refused queue-size=64" },
    { "no-base", VHOST_USER_SET_VRING_BASE, .value = 1,
      .reason = "refused VHOST_USER_SET_VRING_BASE" },
    { "no-addr", VHOST_USER_SET_VRING_ADDR, .value = 1,
      .reason = "refused VHOST_USER_SET_VRING_ADDR" },
    { "no-kick", VHOST_USER_SET_VRING_KICK, .value = 1,
      .reason = "refused VHOST_USER_SET_VRING_KICK" },
    { "no-call", VHOST_USER_SET_VRING_CALL, .value = 1,
      .reason = "refused VHOST_USER_SET_VRING_CALL" },
    { "no-enable", VHOST_USER_SET_VRING_ENABLE, .value = 1,
      .reason = "refused VHOST_USER_SET_VRING_ENABLE" },
    { "lacks-version-1", VHOST_USER_GET_FEATURES, .value = 0,
      .reason = "VIRTIO_F_VERSION_1" },
};

static const Message *message;

static bool send_message(DpPeer *peer, const VhostUserMsg *msg)
{
    const Message *m = message;
    uint8_t payload[16] = {};
    int fds[8] = {};            /* standard input, again and again */
    uint32_t size = m->size ?: m->empty ? 0 : 8;
    unsigned i;

    if (msg->request != m->at) {
        return false;
    }
    memcpy(payload, &m->value, sizeof(m->value));
    for (i = 0; i < (m->copies ?: 1); i++) {
        uint32_t hdr[] = { m->request ?: m->at, m->flags ?: 1 | REPLY, size };
        uint8_t buf[sizeof(hdr) + sizeof(payload)];

        memcpy(buf, hdr, sizeof(hdr));
        memcpy(buf + sizeof(hdr), payload, sizeof(payload));
        if (m->nfds) {
            dp_peer_send_msg(peer, hdr[0], hdr[1], size, payload, fds,
                             m->nfds);
        } else if (send(peer->sock, buf, sizeof(hdr) + MIN(size, 16),
                        MSG_NOSIGNAL) < 0) {
            break;              /* QEMU has hung up, as it should */
        }
    }
    return true;
}

static void test_messages(const void *opaque)
{
    DpVu *v = rig_new(false);
    DpUsage before;
    unsigned i;

    behave(v);
    before = dp_usage(v->r->qts);
    for (i = 0; i < ARRAY_SIZE(messages); i++) {
        uint64_t n;

        message = &messages[i];
        g_test_message("%s", message->name);
        dp_peer_disconnect(v->peer);
        dp_wait_until(dp_link_is(v->r, false, NULL));
        n = violations(v, message->violation);

        v->peer->hook = send_message;
        dp_peer_connect(v->peer);
        dp_peer_wait_gone(v->peer);
        if (message->violation) {
            /* The reason may be that of the one before */
            dp_wait_until(violations(v, message->violation) > n);
        }
        dp_wait_until(dp_link_is(v->r, false, message->violation ?:
                                        message->reason));
        g_assert_cmpuint(violations(v, message->violation), ==,
                         n + !!message->violation);
        dp_peer_disconnect(v->peer);
        if (i % 3 == 2) {
            behave(v);
        }
    }
    dp_peer_disconnect(v->peer);
    behave(v);
    dp_check_usage(v->r->qts, before);
    dp_vu_free(v);
}

/* Connections that end at any byte of what the peer says */
static size_t cut_at;

static bool cut(DpPeer *peer, const VhostUserMsg *msg)
{
    uint8_t reply[20] = {};
    uint32_t hdr[] = { msg->request, 1 | REPLY, 8 };

    memcpy(reply, hdr, sizeof(hdr));
    g_assert_cmpint(send(peer->sock, reply, cut_at, MSG_NOSIGNAL), ==,
                    cut_at);
    shutdown(peer->sock, SHUT_WR);
    return true;
}

static void test_cut(const void *opaque)
{
    DpVu *v = rig_new(false);

    for (cut_at = 0; cut_at < 20; cut_at++) {
        v->peer->hook = cut;
        dp_vu_wait_refused(v, "has gone");
        if (cut_at % 3 == 2) {
            behave(v);
            dp_peer_disconnect(v->peer);
        }
    }
    behave(v);
    dp_vu_free(v);
}

/* The same by a chardev, which takes the descriptors itself */
static DpVu *rig_new_chardev(void)
{
    DpVu *v = dp_vu_prepare(false);
    g_autofree char *before = g_strdup_printf("-chardev socket,id=chr0,"
                                              "path=%s,server=on,wait=off",
                                              v->path);

    dp_vu_start(v, before, "chardev=chr0,reconnect-ms=1", 1, 0);
    dp_vu_start_nic(v);
    return v;
}

static void test_chardev_fds(const void *opaque)
{
    static const Message with_fds[] = {
        { "header", VHOST_USER_GET_FEATURES, .value = -1, .nfds = 8 },
        { "bad-header", VHOST_USER_GET_FEATURES, .flags = 1, .nfds = 1 },
        { "ack", VHOST_USER_SET_MEM_TABLE, .nfds = 8 },
    };
    DpVu *v = rig_new_chardev();
    DpUsage before;
    unsigned i;

    behave(v);
    before = dp_usage(v->r->qts);
    for (i = 0; i < 9; i++) {
        message = &with_fds[i % ARRAY_SIZE(with_fds)];
        dp_peer_disconnect(v->peer);
        dp_wait_until(dp_link_is(v->r, false, NULL));
        v->peer->hook = send_message;
        dp_peer_connect(v->peer);
        dp_peer_wait_gone(v->peer);
        dp_wait_until(violations(v, "message-fds") == i + 1);
        if (i % 3 == 2) {
            dp_peer_disconnect(v->peer);
            behave(v);
        }
    }
    dp_check_usage(v->r->qts, before);
    dp_vu_free(v);
}

/* What comes when nothing was asked */
static void test_unasked(const void *opaque)
{
    const uint64_t value = 0;
    const int fd = 0;
    DpVu *v = rig_new(false);

    behave(v);
    dp_peer_send_msg(v->peer, VHOST_USER_GET_FEATURES, 1 | REPLY, 8, &value,
                     NULL, 0);
    dp_wait_until(violations(v, "message-header") == 1);
    dp_wait_until(dp_link_is(v->r, false, "message-header"));
    dp_peer_disconnect(v->peer);

    behave(v);
    dp_peer_send_msg(v->peer, VHOST_USER_BACKEND_IOTLB_MSG, 1, 8, &value, &fd,
                     1);
    dp_wait_until(violations(v, "message-fds") == 1);
    dp_peer_disconnect(v->peer);
    behave(v);
    dp_vu_free(v);
}

/* Random bytes in place of every reply */
static bool garbage(DpPeer *peer, const VhostUserMsg *msg)
{
    uint8_t buf[64];
    unsigned i;

    if (g_test_rand_int_range(0, 4)) {
        return false;
    }
    for (i = 0; i < sizeof(buf); i++) {
        buf[i] = g_test_rand_int();
    }
    if (g_test_rand_bit()) {
        /* A header that is nearly right */
        stl_he_p(buf, msg->request);
        stl_he_p(buf + 4, 1 | REPLY);
    }
    send(peer->sock, buf, g_test_rand_int_range(1, sizeof(buf)), MSG_NOSIGNAL);
    shutdown(peer->sock, SHUT_WR);
    return true;
}

static void test_garbage(const void *opaque)
{
    DpVu *v = rig_new(false);
    unsigned i;

    for (i = 0; i < 30; i++) {
        v->peer->hook = garbage;
        dp_peer_connect(v->peer);
        dp_wait_until(!dp_peer_serve(v->peer, 50 * 1000) ||
                      dp_link_is(v->r, true, NULL));
        dp_peer_disconnect(v->peer);
        if (i % 3 == 2) {
            behave(v);
            dp_peer_disconnect(v->peer);
        }
    }
    behave(v);
    dp_vu_free(v);
}

/* ---- Rings ---- */

static DpPeerRing *ring_of(DpVu *v, unsigned queue)
{
    return &v->peer->ring[queue];
}

/*
 * The next used element, or descriptor, of a ring of which nothing was used
 * yet; @index is the used index, for split rings.
 */
static void write_used(DpVu *v, unsigned queue, uint32_t id, uint32_t len,
                       uint16_t index)
{
    DpPeerRing *ring = ring_of(v, queue);

    if (v->peer->got_features & DP_FEATURE(VIRTIO_F_RING_PACKED)) {
        struct vring_packed_desc *desc =
            dp_peer_ptr(v->peer, ring->addr.desc_user_addr);

        desc->id = cpu_to_le16(id);
        desc->len = cpu_to_le32(len);
        qatomic_store_release(&desc->flags, cpu_to_le16(
            1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED |
            VRING_DESC_F_WRITE));
    } else {
        struct vring_used *used =
            dp_peer_ptr(v->peer, ring->addr.used_user_addr);

        used->ring[0].id = cpu_to_le32(id);
        used->ring[0].len = cpu_to_le32(len);
        qatomic_store_release(&used->idx, cpu_to_le16(index));
    }
}

/* The header of receive buffer @i, which says so many buffers */
static void write_num_buffers(DpVu *v, unsigned i, uint16_t n)
{
    DpPeerRing *ring = ring_of(v, 0);
    struct virtio_net_hdr_v1 *hdr;
    uint64_t at;

    if (v->peer->got_features & DP_FEATURE(VIRTIO_F_RING_PACKED)) {
        struct vring_packed_desc *desc =
            dp_peer_ptr(v->peer, ring->addr.desc_user_addr);

        at = le64_to_cpu(desc[i].addr);
    } else {
        struct vring_desc *desc =
            dp_peer_ptr(v->peer, ring->addr.desc_user_addr);

        at = le64_to_cpu(desc[i].addr);
    }
    hdr = dp_peer_ptr(v->peer, at);
    memset(hdr, 0, sizeof(*hdr));
    hdr->num_buffers = cpu_to_le16(n);
}

typedef struct Abuse {
    const char *name;
    const char *violation;
    uint32_t id, len;
    uint16_t buffers;
    uint16_t index;             /* 0: 1 */
    bool tx;                    /* of the transmit queue */
    bool split_only;
} Abuse;

static const Abuse abuses[] = {
    { "id", "used-id", 64, 100, 1 },
    { "id-large", "used-id", 0xffff, 100, 1 },
    { "length", "used-length", 0, 2113, 1 },
    { "length-large", "used-length", 0, UINT32_MAX, 1 },
    { "length-0", "short-header", 0, 0, 1 },
    { "length-11", "short-header", 0, 11, 1 },
    { "no-buffers", "buffer-count", 0, 100, 0 },
    { "65-buffers", "buffer-count", 0, 100, 65 },
    { "many-buffers", "buffer-count", 0, 100, 0xffff },
    { "missing-buffers", "incomplete-frame", 0, 100, 2 },
    { "index-ahead", "used-index", 0, 100, 1, 65, .split_only = true },
    { "index-far", "used-index", 0, 100, 1, 0x8000, .split_only = true },
    { "index-behind", "used-index", 0, 100, 1, 0xffff, .split_only = true },
    { "tx-id", "used-id", 64, 0, .tx = true },
    { "tx-id-large", "used-id", 0xffff, 0, .tx = true },
    { "tx-id-not-in-use", "used-id", 17, 0, .tx = true },
    { "tx-index-ahead", "used-index", 0, 0, 0, 65, .tx = true,
      .split_only = true },
};

static void abuse_ring(DpVu *v, const Abuse *a)
{
    DpRig *r = v->r;

    if (!a->tx) {
        write_num_buffers(v, 0, a->buffers);
        write_used(v, 0, a->id, a->len, a->index ?: 1);
        dp_peer_call(v->peer, 0);
        return;
    }
    /* The peer has one frame; the next one makes QEMU look */
    dp_make_frame(r->frame, 100, 1);
    dp_transmit(r->nic, NULL, r->frame, 100);
    write_used(v, 1, a->id, a->len, a->index ?: 1);
    dp_transmit(r->nic, NULL, r->frame, 100);
}

static void test_rings(const void *opaque)
{
    bool packed = opaque != NULL;
    DpVu *v = rig_new(packed);
    DpUsage before;
    unsigned i;

    behave(v);
    before = dp_usage(v->r->qts);
    for (i = 0; i < ARRAY_SIZE(abuses); i++) {
        const Abuse *a = &abuses[i];
        uint64_t n = violations(v, a->violation);

        if (packed && a->split_only) {
            continue;
        }
        g_test_message("%s", a->name);
        dp_peer_disconnect(v->peer);
        dp_wait_until(dp_link_is(v->r, false, NULL));
        dp_peer_run(v->peer, 1);
        dp_wait_until(dp_link_is(v->r, true, NULL));
        dp_vu_last_long();
        abuse_ring(v, a);
        dp_wait_until(violations(v, a->violation) == n + 1);
        dp_wait_until(dp_link_is(v->r, false, a->violation));
        /* And QEMU hangs up */
        dp_peer_wait_gone(v->peer);
    }
    dp_peer_disconnect(v->peer);
    behave(v);
    dp_check_usage(v->r->qts, before);
    dp_vu_free(v);
}

/* A peer that writes to all of the memory, all of the time */
static void test_scribble(const void *opaque)
{
    bool packed = opaque != NULL;
    DpVu *v = rig_new(packed);
    DpRig *r = v->r;
    unsigned round, i;

    dp_make_frame(r->frame, 1000, 1);
    for (round = 0; round < 8; round++) {
        size_t size;

        dp_peer_run(v->peer, 1);
        dp_wait_until(dp_link_is(v->r, true, NULL));
        dp_vu_last_long();
        size = v->peer->mem.regions[0].memory_size;
        dp_post(r->nic, 10, 4000);
        for (i = 0; i < 20000; i++) {
            /* Two of three to the pages of a ring, which come first */
            size_t at = g_test_rand_int_range(0, 3) ?
                        g_test_rand_int_range(0, 6000) +
                        g_test_rand_bit() * (size / 2) :
                        g_test_rand_int_range(0, size / 2) * 2;

            stw_he_p(v->peer->map + at / 2 * 2, g_test_rand_bit() ?
                     g_test_rand_int() : g_test_rand_int_range(0, 64));
            if (i % 1000 == 0) {
                dp_peer_call(v->peer, 0);
                dp_peer_call(v->peer, 1);
            }
        }
        dp_link_is(v->r, true, NULL);     /* QEMU answers */
        dp_peer_disconnect(v->peer);
        dp_wait_until(dp_link_is(v->r, false, NULL));
        /* What is left in the guest's rings is not for the next round */
        dp_nic_reset(r->nic);
        dp_nic_start(r->nic, DP_FEATURES_DEFAULT);
    }
    behave(v);
    dp_vu_free(v);
}

/* ---- Descriptors and time ---- */

static void make_kick_block(DpPeerRing *ring)
{
    const uint64_t full = UINT64_MAX - 1;
    uint64_t value;

    if (read(ring->kick, &value, sizeof(value)) < 0) {
        g_assert_cmpint(errno, ==, EAGAIN);
    }
    g_assert_cmpint(write(ring->kick, &full, sizeof(full)), ==, sizeof(full));
    g_assert_cmpint(fcntl(ring->kick, F_SETFL, 0), ==, 0);
}

/* Who writes to a full eventfd, or reads an empty one, waits: not QEMU */
static void test_full_eventfd(const void *opaque)
{
    DpVu *v = rig_new(false);
    DpRig *r = v->r;
    unsigned i;

    behave(v);
    make_kick_block(ring_of(v, 0));
    make_kick_block(ring_of(v, 1));
    for (i = 0; i < 5; i++) {
        dp_vu_check_traffic(v);
        g_assert_true(dp_link_is(v->r, true, NULL));
    }
    /* As does who reads from this one */
    for (i = 0; i < 2; i++) {
        g_assert_cmpint(fcntl(ring_of(v, i)->call, F_SETFL, 0), ==, 0);
    }
    dp_vu_check_traffic(v);
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(r->qts, "{ 'execute': 'cont' }");
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

static bool say_nothing(DpPeer *peer, const VhostUserMsg *msg)
{
    return true;
}

/* No answer: QEMU gives up at last, and answers its monitor all the time */
static void test_silent(const void *opaque)
{
    DpVu *v = rig_new(false);
    int64_t start;

    v->peer->hook = say_nothing;
    dp_peer_connect(v->peer);
    start = g_get_monotonic_time();
    while (dp_peer_serve(v->peer, 100 * 1000)) {
        g_assert_true(dp_link_is(v->r, false, NULL));
        g_assert_cmpint(g_get_monotonic_time() - start, <, 3 * DP_TIMEOUT_US);
    }
    g_assert_cmpint(g_get_monotonic_time() - start, >, 8 * G_USEC_PER_SEC);
    dp_wait_until(violations(v, "timeout") == 1);
    dp_peer_disconnect(v->peer);
    behave(v);
    dp_vu_free(v);
}

/* Nobody accepts, and others wait already: connect() would wait */
static void test_full_backlog(const void *opaque)
{
    DpVu *v = rig_new(false);
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd[8];
    unsigned i;

    behave(v);
    pstrcpy(addr.sun_path, sizeof(addr.sun_path), v->path);
    dp_peer_disconnect(v->peer);
    for (i = 0; i < ARRAY_SIZE(fd); i++) {
        fd[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_assert_cmpint(fd[i], >=, 0);
        if (connect(fd[i], (struct sockaddr *)&addr, sizeof(addr)) < 0) {
            g_assert_cmpint(errno, ==, EAGAIN);
        }
    }
    dp_wait_until(dp_link_is(v->r, false, NULL));
    g_usleep(10 * DP_QUIET_US);
    g_assert_true(dp_link_is(v->r, false, NULL));
    for (i = 0; i < ARRAY_SIZE(fd); i++) {
        close(fd[i]);
    }
    /* Those that got through are dead; QEMU comes behind them */
    for (i = 0; i < ARRAY_SIZE(fd); i++) {
        dp_peer_connect(v->peer);
        if (dp_peer_serve(v->peer, 1000)) {
            break;
        }
        dp_peer_disconnect(v->peer);
    }
    dp_peer_start(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
    dp_vu_free(v);
}

/*
 * So few that all of them are in use, and so many that QEMU's main loop can
 * wait for all that it waits for: poll() takes no more entries than that.
 */
#define FEW_FDS 10

/* QEMU itself has no descriptors left for the next connection */
static void test_no_descriptors(const void *opaque)
{
    DpVu *v = rig_new(false);
    pid_t pid = qtest_pid(v->r->qts);
    struct rlimit old, none;

    behave(v);
    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, NULL, &old), ==, 0);
    none = old;
    none.rlim_cur = FEW_FDS;
    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, &none, NULL), ==, 0);
    dp_peer_disconnect(v->peer);
    dp_wait_until(dp_link_is(v->r, false, "Too many open files"));
    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, &old, NULL), ==, 0);
    behave(v);
    dp_vu_free(v);
}

/* A peer that keeps the memory of each connection keeps none of QEMU's */
static void test_hoard(const void *opaque)
{
    DpVu *v = rig_new(true);
    struct stat st;
    int kept[4];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(kept); i++) {
        behave(v);
        kept[i] = fcntl(v->peer->mem_fd, F_DUPFD_CLOEXEC, 0);
        g_assert_cmpint(kept[i], >=, 0);
        g_assert_cmpint(fstat(kept[i], &st), ==, 0);
        g_assert_cmpint(st.st_blocks, >, 0);
        dp_peer_disconnect(v->peer);
    }
    behave(v);
    for (i = 0; i < ARRAY_SIZE(kept); i++) {
        dp_wait_until(fstat(kept[i], &st) == 0 && st.st_blocks == 0);
        close(kept[i]);
    }
    dp_vu_free(v);
}

/*
 * A peer frees the memory that is shared, and takes what huge pages there are:
 * QEMU must not get SIGBUS from it.  Nothing that it has to believe is there.
 */
static void test_punch(const void *opaque)
{
    DpVu *v = dp_vu_prepare(true);
    g_autofree char *options = g_strdup_printf("path=%s,reconnect-ms=1%s",
                                               v->path, (char *)opaque);
    struct statfs fs;
    struct stat st;
    unsigned i;

    v->peer->features = -1;
    dp_vu_start(v, "", options, 1, 0);
    dp_vu_start_nic(v);
    for (i = 0; i < 3; i++) {
        behave(v);
        g_assert_cmpint(fstat(v->peer->mem_fd, &st), ==, 0);
        /* Pages of anybody's: a hole in them is filled with zeros */
        g_assert_cmpint(fstatfs(v->peer->mem_fd, &fs), ==, 0);
        g_assert_cmphex(fs.f_type, ==, TMPFS_MAGIC);
        g_assert_cmpint(fallocate(v->peer->mem_fd, FALLOC_FL_PUNCH_HOLE |
                                  FALLOC_FL_KEEP_SIZE, 0, st.st_size), ==, 0);
        dp_peer_call(v->peer, 0);
        dp_peer_call(v->peer, 1);
        dp_make_frame(v->r->frame, 9000, i);
        dp_transmit(v->r->nic, NULL, v->r->frame, 9000);
        g_assert_true(qtest_probe_child(v->r->qts));
        dp_peer_disconnect(v->peer);
        dp_wait_until(dp_link_is(v->r, false, NULL));
    }
    behave(v);
    dp_vu_free(v);
}

int main(int argc, char **argv)
{
    dp_test_init(&argc, &argv);
    dp_add_test("hostile-peer/messages", NULL, test_messages);
    dp_add_test("hostile-peer/cut", NULL, test_cut);
    dp_add_test("hostile-peer/unasked", NULL, test_unasked);
    dp_add_test("hostile-peer/chardev-fds", NULL, test_chardev_fds);
    dp_add_test("hostile-peer/garbage", NULL, test_garbage);
    dp_add_test("hostile-peer/split/rings", NULL, test_rings);
    dp_add_test("hostile-peer/packed/rings", "packed", test_rings);
    dp_add_test("hostile-peer/split/scribble", NULL, test_scribble);
    dp_add_test("hostile-peer/packed/scribble", "packed", test_scribble);
    dp_add_test("hostile-peer/full-eventfd", NULL, test_full_eventfd);
    dp_add_test("hostile-peer/silent", NULL, test_silent);
    dp_add_test("hostile-peer/full-backlog", NULL, test_full_backlog);
    dp_add_test("hostile-peer/hoard", NULL, test_hoard);
    dp_add_test("hostile-peer/no-descriptors", NULL, test_no_descriptors);
    dp_add_test("hostile-peer/punch", "", test_punch);
    dp_add_test("hostile-peer/punch/hugetlb", ",hugetlb=on", test_punch);
    return g_test_run();
}
