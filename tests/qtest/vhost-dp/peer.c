/*
 * vhost-dp: qtests, a vhost-user back end
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/iov.h"
#include "standard-headers/linux/virtio_config.h"
#include "peer.h"

#define HDR sizeof(struct virtio_net_hdr_v1)

static struct sockaddr_un peer_address(const DpPeer *peer)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    g_assert_cmpuint(strlen(peer->path), <, sizeof(addr.sun_path));
    pstrcpy(addr.sun_path, sizeof(addr.sun_path), peer->path);
    return addr;
}

static void peer_listen(DpPeer *peer)
{
    struct sockaddr_un addr = peer_address(peer);

    unlink(peer->path);
    peer->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(peer->listen, >=, 0);
    g_assert_cmpint(bind(peer->listen, (struct sockaddr *)&addr,
                         sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(peer->listen, 1), ==, 0);
}

/* As in the beginning */
static void peer_forget(DpPeer *peer)
{
    unsigned i;

    peer->mem_fd = -1;
    peer->nfds = 0;
    peer->messages = 0;
    peer->synced = false;
    for (i = 0; i < ARRAY_SIZE(peer->ring); i++) {
        peer->ring[i] = (DpPeerRing) { .kick = -1, .call = -1 };
    }
}

DpPeer *dp_peer_new(const char *path, bool listens)
{
    DpPeer *peer = g_new0(DpPeer, 1);

    peer->path = g_strdup(path);
    peer->listen = -1;
    peer->sock = -1;
    peer->features = ~(1ULL << VIRTIO_F_RING_PACKED);
    peer->protocol_features = 1ULL << VHOST_USER_PROTOCOL_F_MQ |
                              1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK |
                              1ULL << VHOST_USER_PROTOCOL_F_NET_MTU;
    peer->max_pairs = DP_PEER_MAX_PAIRS;
    peer_forget(peer);
    if (listens) {
        peer_listen(peer);
    }
    return peer;
}

void dp_peer_disconnect(DpPeer *peer)
{
    unsigned i;

    if (peer->table) {
        vhost_dp_memory_free(peer->table);
        mock_memory_free(peer->mock);   /* unmaps */
        peer->table = NULL;
    }
    if (peer->mem_fd >= 0) {
        close(peer->mem_fd);
    }
    for (i = 0; i < ARRAY_SIZE(peer->ring); i++) {
        if (peer->ring[i].kick >= 0) {
            close(peer->ring[i].kick);
        }
        if (peer->ring[i].call >= 0) {
            close(peer->ring[i].call);
        }
    }
    if (peer->sock >= 0) {
        close(peer->sock);
        peer->sock = -1;
    }
    peer_forget(peer);
}

void dp_peer_free(DpPeer *peer)
{
    dp_peer_disconnect(peer);
    if (peer->listen >= 0) {
        close(peer->listen);
        unlink(peer->path);
    }
    g_free(peer->path);
    g_free(peer);
}

static bool peer_wait(int fd, int64_t timeout_us)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, DIV_ROUND_UP(timeout_us, 1000)) > 0;
}

void dp_peer_connect(DpPeer *peer)
{
    struct sockaddr_un addr = peer_address(peer);

    g_assert_cmpint(peer->sock, ==, -1);
    if (peer->listen >= 0) {
        g_assert_true(peer_wait(peer->listen, DP_TIMEOUT_US));
        peer->sock = accept4(peer->listen, NULL, NULL, SOCK_CLOEXEC);
        g_assert_cmpint(peer->sock, >=, 0);
        return;
    }
    peer->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(peer->sock, >=, 0);
    dp_wait_until(connect(peer->sock, (struct sockaddr *)&addr,
                          sizeof(addr)) == 0);
}

/* ---- Messages ---- */

void dp_peer_send_msg(DpPeer *peer, uint32_t request, uint32_t flags,
                      uint32_t size, const void *payload, const int *fds,
                      unsigned nfds)
{
    uint32_t hdr[3] = { request, flags, size };
    struct iovec iov[] = { { hdr, sizeof(hdr) },
                           { (void *)payload, payload ? size : 0 } };
    char control[CMSG_SPACE(8 * sizeof(int))] = {};
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = payload ? 2 : 1 };

    if (nfds) {
        struct cmsghdr *cmsg;

        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
    }
    /* QEMU may have hung up already */
    if (sendmsg(peer->sock, &msg, MSG_NOSIGNAL) < 0) {
        g_assert_true(errno == EPIPE || errno == ECONNRESET);
    }
}

static void peer_reply(DpPeer *peer, const VhostUserMsg *msg, uint64_t value)
{
    dp_peer_send_msg(peer, msg->request, 1 | VHOST_USER_REPLY_MASK,
                     sizeof(value), &value, NULL, 0);
}

/* Read a message.  Returns false at the end. */
static bool peer_read(DpPeer *peer, VhostUserMsg *msg)
{
    char control[CMSG_SPACE(8 * sizeof(int))];
    struct iovec iov = { msg, VHOST_USER_HDR_SIZE };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
                        .msg_control = control,
                        .msg_controllen = sizeof(control) };
    struct cmsghdr *cmsg;
    ssize_t r = recvmsg(peer->sock, &m, MSG_CMSG_CLOEXEC | MSG_WAITALL);

    msg->fd_num = 0;
    if (r <= 0) {
        g_assert_true(r == 0 || errno == ECONNRESET);
        return false;
    }
    g_assert_cmpint(r, ==, VHOST_USER_HDR_SIZE);
    g_assert_cmpint(m.msg_flags & MSG_CTRUNC, ==, 0);
    for (cmsg = CMSG_FIRSTHDR(&m); cmsg; cmsg = CMSG_NXTHDR(&m, cmsg)) {
        msg->fd_num = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(msg->fds, CMSG_DATA(cmsg), msg->fd_num * sizeof(int));
    }
    g_assert_cmpuint(msg->size, <=, sizeof(msg->payload));
    g_assert_cmphex(msg->flags & VHOST_USER_VERSION_MASK, ==, 1);
    if (msg->size) {
        r = recv(peer->sock, &msg->payload, msg->size, MSG_WAITALL);
        g_assert_cmpint(r, ==, msg->size);
    }
    return true;
}

static void peer_set_mem_table(DpPeer *peer, const VhostUserMsg *msg)
{
    memcpy(&peer->mem, &msg->payload.memory, sizeof(peer->mem));
    g_assert_cmpint(msg->fd_num, ==, peer->mem.nregions);
    g_assert_cmpint(msg->fd_num, ==, 1);
    peer->mem_fd = msg->fds[0];
}

static void peer_take_fd(int *to, const VhostUserMsg *msg)
{
    g_assert_cmpint(msg->fd_num, ==, 1);
    if (*to >= 0) {
        close(*to);
    }
    *to = msg->fds[0];
}

/* VPP knows of no ring that no SET_VRING_CALL came for */
static void peer_check_ring(DpPeer *peer, const VhostUserMsg *msg)
{
    struct vhost_vring_state state;

    switch (msg->request) {
    case VHOST_USER_SET_VRING_NUM:
    case VHOST_USER_SET_VRING_BASE:
    case VHOST_USER_SET_VRING_ADDR:
    case VHOST_USER_SET_VRING_ENABLE:
    case VHOST_USER_SET_VRING_KICK:
        /* The index comes first in each of them */
        memcpy(&state, &msg->payload.state, sizeof(state));
        g_assert_cmpuint(state.index, <, ARRAY_SIZE(peer->ring));
        g_assert_cmpint(peer->ring[state.index].call, >=, 0);
        break;
    default:
        break;
    }
}

/* Returns true if it was a request that has a reply of its own */
static bool peer_handle(DpPeer *peer, const VhostUserMsg *msg)
{
    struct vhost_vring_state state;
    struct vhost_vring_addr addr;

    memcpy(&state, &msg->payload.state, sizeof(state));
    memcpy(&addr, &msg->payload.addr, sizeof(addr));
    peer_check_ring(peer, msg);
    switch (msg->request) {
    case VHOST_USER_GET_FEATURES:
        /* For the second time: everything else was said */
        peer->synced = peer->ring[0].kick >= 0;
        peer_reply(peer, msg, peer->features);
        return true;
    case VHOST_USER_GET_PROTOCOL_FEATURES:
        peer_reply(peer, msg, peer->protocol_features);
        return true;
    case VHOST_USER_GET_QUEUE_NUM:
        peer_reply(peer, msg, peer->max_pairs);
        return true;
    case VHOST_USER_SET_FEATURES:
        peer->got_features = msg->payload.u64;
        break;
    case VHOST_USER_SET_PROTOCOL_FEATURES:
        peer->got_protocol_features = msg->payload.u64;
        break;
    case VHOST_USER_SET_OWNER:
        break;
    case VHOST_USER_NET_SET_MTU:
        peer->got_mtu = msg->payload.u64;
        break;
    case VHOST_USER_SET_MEM_TABLE:
        peer_set_mem_table(peer, msg);
        break;
    case VHOST_USER_SET_VRING_NUM:
        peer->ring[state.index].num = state.num;
        break;
    case VHOST_USER_SET_VRING_BASE:
        peer->ring[state.index].base = state.num;
        break;
    case VHOST_USER_SET_VRING_ADDR:
        peer->ring[addr.index].addr = addr;
        break;
    case VHOST_USER_SET_VRING_ENABLE:
        peer->ring[state.index].enabled = state.num;
        break;
    case VHOST_USER_SET_VRING_KICK:
        peer_take_fd(&peer->ring[msg->payload.u64].kick, msg);
        break;
    case VHOST_USER_SET_VRING_CALL:
        peer_take_fd(&peer->ring[msg->payload.u64].call, msg);
        break;
    default:
        g_error("message %d", msg->request);
    }
    return false;
}

bool dp_peer_serve(DpPeer *peer, int64_t timeout_us)
{
    int64_t end = g_get_monotonic_time() + timeout_us + DP_TIMEOUT_US;

    while (peer_wait(peer->sock, timeout_us)) {
        VhostUserMsg msg = {};

        g_assert_cmpint(g_get_monotonic_time(), <, end);
        if (!peer_read(peer, &msg)) {
            return false;
        }
        peer->messages++;
        peer->nfds += msg.fd_num;
        if (peer->hook && peer->hook(peer, &msg)) {
            while (msg.fd_num) {
                close(msg.fds[--msg.fd_num]);
            }
            continue;
        }
        if (!peer_handle(peer, &msg) &&
            (msg.flags & VHOST_USER_NEED_REPLY_MASK)) {
            peer_reply(peer, &msg, 0);
        }
    }
    return true;
}

void dp_peer_wait_gone(DpPeer *peer)
{
    dp_wait_until(!dp_peer_serve(peer, 10 * 1000));
}

/* ---- Rings ---- */

void *dp_peer_ptr(DpPeer *peer, uint64_t addr)
{
    uint64_t offset = addr - peer->mem.regions[0].userspace_addr;

    g_assert_cmpuint(offset, <, peer->mem.regions[0].memory_size);
    return peer->map + offset;
}

static void peer_map(DpPeer *peer)
{
    const VhostUserMemoryRegion *region = &peer->mem.regions[0];
    MockArea area = { .gpa = region->guest_phys_addr,
                      .size = region->memory_size, .kind = MOCK_RESERVED };

    peer->mock = mock_memory_new(&area, 1);
    munmap(peer->mock->areas[0].host, area.size);
    peer->map = mmap(NULL, area.size, PROT_READ | PROT_WRITE, MAP_SHARED,
                     peer->mem_fd, region->mmap_offset);
    g_assert_true(peer->map != MAP_FAILED);
    peer->mock->areas[0].host = peer->map;
    peer->table = mock_memory_table(peer->mock, 0);
}

void dp_peer_start(DpPeer *peer, unsigned pairs)
{
    unsigned i;

    while (!peer->synced) {
        g_assert_true(peer_wait(peer->sock, DP_TIMEOUT_US));
        g_assert_true(dp_peer_serve(peer, 1000));
    }
    peer_map(peer);
    for (i = 0; i < 2 * pairs; i++) {
        DpPeerRing *ring = &peer->ring[i];

        g_assert_cmpint(ring->kick, >=, 0);
        vhost_dp_vring_init(&ring->dev, i % 2 == 0);
        ring->dev.num = ring->num;
        ring->dev.desc.gpa = ring->addr.desc_user_addr;
        ring->dev.driver.gpa = ring->addr.avail_user_addr;
        ring->dev.device.gpa = ring->addr.used_user_addr;
        vhost_dp_vring_set_base(&ring->dev, ring->base);
        g_assert_cmpint(vhost_dp_vring_start(&ring->dev, peer->table,
                                             peer->got_features), ==, 0);
    }
}

void dp_peer_run(DpPeer *peer, unsigned pairs)
{
    dp_peer_connect(peer);
    dp_peer_start(peer, pairs);
}

void dp_peer_call(DpPeer *peer, unsigned ring)
{
    uint64_t one = 1;

    g_assert_cmpint(write(peer->ring[ring].call, &one, sizeof(one)), ==,
                    sizeof(one));
}

void dp_peer_send(DpPeer *peer, unsigned pair,
                  const struct virtio_net_hdr_v1 *hdr, const void *frame,
                  size_t len)
{
    DpPeerRing *ring = &peer->ring[2 * pair];
    struct virtio_net_hdr_v1 copy = {};
    struct iovec from[] = { { &copy, HDR }, { (void *)frame, len } };
    size_t at = 0, room = 0;
    unsigned i, n = 0;

    if (hdr) {
        copy = *hdr;
    }
    do {
        vhost_dp_vring_rewind(&ring->dev, &peer->burst, n);
        dp_wait_until(vhost_dp_vring_pop(&ring->dev, peer->table, &peer->burst,
                                         n + 1, UINT32_MAX) == n + 1 ||
                      (vhost_dp_vring_rewind(&ring->dev, &peer->burst,
                                             peer->burst.nchains), false));
        room = 0;
        n = peer->burst.nchains;
        for (i = 0; i < n; i++) {
            room += peer->burst.chain[i].len;
        }
    } while (room < HDR + len);
    copy.num_buffers = cpu_to_le16(n);
    for (i = 0; i < n; i++) {
        VhostDPChain *chain = &peer->burst.chain[i];
        size_t part = MIN(HDR + len - at, chain->len);

        iov_to_buf(from, 2, at, chain->iov[0].iov_base, part);
        vhost_dp_vring_push(&ring->dev, chain, part);
        at += part;
    }
    if (vhost_dp_vring_flush(&ring->dev)) {
        dp_peer_call(peer, 2 * pair);
    }
}

size_t dp_peer_recv(DpPeer *peer, unsigned pair, struct virtio_net_hdr_v1 *hdr,
                    void *frame, size_t size, int64_t timeout_us)
{
    DpPeerRing *ring = &peer->ring[2 * pair + 1];
    int64_t end = g_get_monotonic_time() + timeout_us;
    VhostDPChain *chain = &peer->burst.chain[0];
    size_t len;

    while (!vhost_dp_vring_pop(&ring->dev, peer->table, &peer->burst, 1,
                               UINT32_MAX)) {
        g_assert_false(ring->dev.broken);
        if (g_get_monotonic_time() > end) {
            return 0;
        }
        g_usleep(100);
    }
    g_assert_cmpuint(chain->len, >=, HDR);
    /* Debian 13's passt takes no other frames, newer ones up to 16 */
    g_assert_cmpuint(chain->ndescs, ==, 1);
    if (hdr) {
        iov_to_buf(chain->iov, chain->nsegs, 0, hdr, HDR);
    }
    len = iov_to_buf(chain->iov, chain->nsegs, HDR, frame, size);
    vhost_dp_vring_push(&ring->dev, chain, 0);
    if (vhost_dp_vring_flush(&ring->dev)) {
        dp_peer_call(peer, 2 * pair + 1);
    }
    return len;
}

/* ---- The peer, and a guest ---- */

DpVu *dp_vu_prepare(bool peer_listens)
{
    DpVu *v = g_new0(DpVu, 1);

    v->dir = g_dir_make_tmp("vhost-dp-XXXXXX", NULL);
    g_assert_nonnull(v->dir);
    v->path = g_strdup_printf("%s/peer", v->dir);
    v->peer = dp_peer_new(v->path, peer_listens);
    return v;
}

void dp_vu_discard(DpVu *v)
{
    dp_peer_free(v->peer);
    unlink(v->path);
    rmdir(v->dir);
    g_free(v->path);
    g_free(v->dir);
    g_free(v);
}

void dp_vu_start(DpVu *v, const char *before, const char *options,
                 unsigned pairs, uint64_t features)
{
    g_autofree char *mq = g_strdup_printf("mq=on,vectors=%u,", 2 * pairs + 2);
    DpRig *r = g_new0(DpRig, 1);

    r->pairs = pairs;
    r->guest = dp_guest_new(
        "%s -object vhost-dp-vhost-user,id=vu0,%s "
        "-netdev vhost-dp,id=vd0,driver=vu0,queues=%u "
        DP_DEVICE "disable-legacy=on,%s", before, options, pairs,
        pairs > 1 ? mq : "");
    r->qts = r->guest->qts;
    r->sock = -1;
    r->features = DP_FEATURES_DEFAULT | features;
    r->frame = g_malloc(DP_MAX_FRAME);
    r->got = g_malloc(DP_MAX_FRAME);
    v->r = r;
}

void dp_vu_start_nic(DpVu *v)
{
    DpRig *r = v->r;

    r->nic = dp_nic_new(r->guest, DP_SLOT, r->features);
    r->rx = &r->nic->queue[DP_RX];
    r->tx = &r->nic->queue[DP_TX];
}

void dp_vu_free(DpVu *v)
{
    DpRig *r = v->r;

    if (r->nic) {
        dp_nic_free(r->nic);
    }
    dp_guest_free(r->guest);
    g_free(r->frame);
    g_free(r->got);
    g_free(r);
    dp_vu_discard(v);
}

void dp_vu_run(DpVu *v)
{
    dp_peer_run(v->peer, 1);
    dp_wait_until(dp_link_is(v->r, true, NULL));
    dp_vu_check_traffic(v);
}

static bool is_refused(DpVu *v, const char *reason)
{
    bool is;

    dp_peer_connect(v->peer);
    dp_peer_wait_gone(v->peer);
    is = dp_link_is(v->r, false, reason);
    dp_peer_disconnect(v->peer);
    return is;
}

void dp_vu_wait_refused(DpVu *v, const char *reason)
{
    dp_wait_until(is_refused(v, reason));
}

void dp_vu_last_long(void)
{
    g_usleep(250 * 1000);
}

void dp_vu_check_to_peer(DpVu *v, unsigned pair, size_t len, unsigned seed)
{
    struct virtio_net_hdr_v1 hdr;
    size_t got;

    dp_make_frame(v->r->frame, len, seed);
    dp_transmit_on(v->r->nic, pair, NULL, v->r->frame, len);
    got = dp_peer_recv(v->peer, pair, &hdr, v->r->got, DP_MAX_FRAME,
                       DP_TIMEOUT_US);
    dp_assert_frame(v->r->got, got, v->r->frame, len);
    g_assert_cmphex(hdr.flags, ==, 0);
    g_assert_cmphex(hdr.gso_type, ==, 0);
}

void dp_vu_check_to_guest(DpVu *v, unsigned pair, size_t len, unsigned seed)
{
    size_t got;

    dp_post_on(v->r->nic, pair, 1, v->r->nic->hdr_len + len);
    dp_make_frame(v->r->frame, len, seed);
    dp_peer_send(v->peer, pair, NULL, v->r->frame, len);
    got = dp_receive_on(v->r->nic, pair, NULL, v->r->got, DP_MAX_FRAME);
    dp_assert_frame(v->r->got, got, v->r->frame, len);
}

void dp_vu_check_traffic(DpVu *v)
{
    dp_vu_check_to_peer(v, 0, 100, 1);
    dp_vu_check_to_guest(v, 0, 200, 2);
}
