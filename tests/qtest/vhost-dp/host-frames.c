/*
 * vhost-dp: qtests, packet sockets, and frames
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "host.h"

/* ---- Packet sockets ---- */

int dp_sock_open(const char *name, bool vnet_hdr)
{
    struct sockaddr_ll sll = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
    };
    int on = vnet_hdr;
    int size = 4 * MiB;
    int sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    g_assert_cmpint(sock, >=, 0);
    dp_if_up(name);
    g_assert_cmpint(setsockopt(sock, SOL_PACKET, PACKET_VNET_HDR, &on,
                               sizeof(on)), ==, 0);
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    sll.sll_ifindex = if_nametoindex(name);
    g_assert_cmpint(bind(sock, (struct sockaddr *)&sll, sizeof(sll)), ==, 0);
    return sock;
}

void dp_sock_send(int sock, const struct virtio_net_hdr *hdr,
                  const void *frame, size_t len)
{
    struct iovec iov[] = {
        { .iov_base = (void *)hdr, .iov_len = hdr ? sizeof(*hdr) : 0 },
        { .iov_base = (void *)frame, .iov_len = len },
    };
    ssize_t sent;

    dp_wait_until((sent = writev(sock, iov, 2)) >= 0 ||
                  (errno != EAGAIN && errno != ENOBUFS));
    if (sent != len + iov[0].iov_len) {
        g_error("packet socket: %s", strerror(errno));
    }
}

/* Is it a frame that came from the guest, and of the right type? */
static bool wanted(const struct sockaddr_ll *sll, const uint8_t *frame,
                   size_t len, uint16_t type)
{
    return sll->sll_pkttype != PACKET_OUTGOING && len >= 14 &&
           (!type || lduw_be_p(frame + 12) == type);
}

size_t dp_sock_recv(int sock, uint16_t type, struct virtio_net_hdr *hdr,
                    void *frame, size_t size, int64_t timeout_us)
{
    int64_t end = g_get_monotonic_time() + timeout_us;
    struct virtio_net_hdr unused;
    struct sockaddr_ll sll;
    struct iovec iov[] = {
        { .iov_base = hdr ?: &unused, .iov_len = hdr ? sizeof(*hdr) : 0 },
        { .iov_base = frame, .iov_len = size },
    };

    for (;;) {
        int64_t left = MAX(end - g_get_monotonic_time(), 0);
        struct pollfd pfd = { .fd = sock, .events = POLLIN };
        struct msghdr msg = {
            .msg_name = &sll, .msg_namelen = sizeof(sll),
            .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov),
        };
        ssize_t len;

        /* What is there is looked at, however much time a clock's call took */
        if (poll(&pfd, 1, DIV_ROUND_UP(left, 1000)) == 0) {
            return 0;
        }
        len = recvmsg(sock, &msg, MSG_DONTWAIT);
        if (len < 0) {
            if (pfd.revents & POLLERR) {
                /* ENETDOWN: the interface went down */
                return 0;
            }
            continue;
        }
        len -= iov[0].iov_len;
        if (wanted(&sll, frame, len, type)) {
            return len;
        }
    }
}

/* ---- Frames ---- */

void dp_make_frame(uint8_t *frame, size_t len, unsigned seed)
{
    size_t i;

    g_assert_cmpuint(len, >=, 14);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, "\x02\x00\x00\x00\x00\x01", 6);
    stw_be_p(frame + 12, DP_ETHERTYPE);
    for (i = 14; i < len; i++) {
        frame[i] = seed * 37 + i + (i >> 8);
    }
}

static uint32_t sum_words(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        sum += (uint32_t)p[i] << (i & 1 ? 0 : 8);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint32_t sum_pseudo_header(const uint8_t *ip, size_t l4_len)
{
    return sum_words(ip + 12, 8) + ip[9] + fold(l4_len);
}

size_t dp_make_ip_frame(uint8_t *frame, size_t len, uint8_t proto,
                        unsigned seed)
{
    uint8_t *ip = frame + 14;
    uint8_t *l4 = ip + 20;
    size_t l4_len = len - 34;
    size_t headers = DP_IP_HEADERS(proto);

    dp_make_frame(frame, len, seed);
    stw_be_p(frame + 12, ETH_P_IP);
    memset(ip, 0, headers - 14);
    ip[0] = 0x45;
    stw_be_p(ip + 2, len - 14);
    stw_be_p(ip + 4, seed);
    stw_be_p(ip + 6, 0x4000);       /* don't fragment */
    ip[8] = 64;
    ip[9] = proto;
    memcpy(ip + 12, "\x0a\x00\x00\x02\x0a\x01\x00\x02", 8);
    stw_be_p(ip + 10, ~fold(sum_words(ip, 20)));

    stw_be_p(l4, 4711);
    stw_be_p(l4 + 2, 4712);
    if (proto == IPPROTO_TCP) {
        stl_be_p(l4 + 4, 1000);
        l4[12] = 5 << 4;
        l4[13] = 0x10;              /* ACK */
        stw_be_p(l4 + 14, 0xffff);
        stw_be_p(l4 + 16, fold(sum_pseudo_header(ip, l4_len)));
    } else {
        stw_be_p(l4 + 4, l4_len);
        stw_be_p(l4 + 6, fold(sum_pseudo_header(ip, l4_len)));
    }
    return headers;
}

struct virtio_net_hdr dp_make_hdr(uint8_t proto, uint8_t gso_type,
                                  uint16_t gso_size)
{
    return (struct virtio_net_hdr) {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = gso_type,
        .hdr_len = cpu_to_le16(DP_IP_HEADERS(proto)),
        .gso_size = cpu_to_le16(gso_size),
        .csum_start = cpu_to_le16(34),
        .csum_offset = cpu_to_le16(proto == IPPROTO_TCP ? 16 : 6),
    };
}

bool dp_checksum_ok(const uint8_t *frame, size_t len)
{
    const uint8_t *ip = frame + 14;
    size_t l4_len = lduw_be_p(ip + 2) - 20;

    return len >= l4_len + 34 && fold(sum_words(ip, 20)) == 0xffff &&
           fold(sum_pseudo_header(ip, l4_len) +
                sum_words(ip + 20, l4_len)) == 0xffff;
}

void dp_checksum_complete(uint8_t *frame, size_t len,
                          const struct virtio_net_hdr *hdr)
{
    uint16_t start = le16_to_cpu(hdr->csum_start);
    uint16_t at = start + le16_to_cpu(hdr->csum_offset);

    g_assert_cmpint(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, !=, 0);
    g_assert_cmpuint(at + 2, <=, len);
    stw_be_p(frame + at, ~fold(sum_words(frame + start, len - start)));
}
