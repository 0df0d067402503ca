/*
 * vhost-dp bench: the host's side of a network interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "host.h"
#include "util.h"

int host_tap_open(char *ifname)
{
    struct ifreq ifr = {
        .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
    };
    int len = sizeof(struct virtio_net_hdr_v1);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    g_strlcpy(ifr.ifr_name, ifname, sizeof(ifr.ifr_name));
    if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0 ||
        ioctl(fd, TUNSETVNETHDRSZ, &len) < 0) {
        bench_fail("cannot open TAP interface %s: %s", ifname,
                   strerror(errno));
    }
    g_strlcpy(ifname, ifr.ifr_name, IFNAMSIZ);
    return fd;
}

void host_tap_offloads(int fd, bool gso)
{
    unsigned offloads = TUN_F_CSUM | (gso ? TUN_F_TSO4 | TUN_F_TSO6 : 0);

    if (ioctl(fd, TUNSETOFFLOAD, offloads) < 0) {
        bench_fail("cannot set the offloads of a TAP interface: %s",
                   strerror(errno));
    }
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    /* Without IPv6 there is nothing to switch off */
    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0) {
            bench_fail("%s: %s", path, strerror(errno));
        }
        close(fd);
    }
}

void host_interface_up(const char *ifname, unsigned queue_len)
{
    g_autofree char *ipv6 = g_strdup_printf(
        "/proc/sys/net/ipv6/conf/%s/disable_ipv6", ifname);
    struct ifreq ifr = {};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_strlcpy(ifr.ifr_name, ifname, sizeof(ifr.ifr_name));
    if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0) {
        bench_fail("interface %s: %s", ifname, strerror(errno));
    }
    write_text(ipv6, "1");
    ifr.ifr_qlen = queue_len;
    if (queue_len && ioctl(fd, SIOCSIFTXQLEN, &ifr) < 0) {
        bench_fail("interface %s: cannot set the queue length: %s", ifname,
                   strerror(errno));
    }
    if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0) {
        bench_fail("interface %s: %s", ifname, strerror(errno));
    }
    ifr.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0) {
        bench_fail("interface %s: cannot switch it on: %s", ifname,
                   strerror(errno));
    }
    close(fd);
}

static int packet_socket(const char *ifname, uint16_t protocol)
{
    struct sockaddr_ll addr = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(protocol),
        .sll_ifindex = if_nametoindex(ifname),
    };
    int one = 1;
    int fd;

    if (!addr.sll_ifindex) {
        bench_fail("interface %s: %s", ifname, strerror(errno));
    }
    fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        bench_fail("cannot open a packet socket: %s", strerror(errno));
    }
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
        bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        bench_fail("interface %s: cannot set the packet socket up: %s",
                   ifname, strerror(errno));
    }
    return fd;
}

void host_source_open(HostSource *s, const char *ifname,
                      const FrameShape *shape, unsigned flow)
{
    struct virtio_net_hdr_v1 hdr;
    int one = 1;
    unsigned i;

    memset(s, 0, sizeof(*s));
    s->shape = *shape;
    s->fd = packet_socket(ifname, 0);
    /* Straight to the driver; a full queue loses frames, which are counted */
    if (setsockopt(s->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one,
                   sizeof(one)) < 0) {
        bench_fail("interface %s: PACKET_QDISC_BYPASS: %s", ifname,
                   strerror(errno));
    }
    frame_build_vnet(shape, &hdr);
    memcpy(&s->vnet, &hdr, sizeof(s->vnet));
    s->frames = g_malloc(HOST_BATCH * FRAME_ROOM);
    for (i = 0; i < HOST_BATCH; i++) {
        frame_build(shape, s->frames + i * FRAME_ROOM, flow, i * 37, false);
    }
}

unsigned host_source_send(HostSource *s, unsigned n)
{
    unsigned at = frame_number_at(&s->shape);
    struct mmsghdr msg[HOST_BATCH] = {};
    struct iovec iov[HOST_BATCH][2];
    unsigned i;
    int sent;

    for (i = 0; i < n; i++) {
        uint8_t *frame = s->frames + i * FRAME_ROOM;

        frame_set_number(frame, at, s->next + i);
        iov[i][0].iov_base = &s->vnet;
        iov[i][0].iov_len = sizeof(s->vnet);
        iov[i][1].iov_base = frame;
        iov[i][1].iov_len = s->shape.size;
        msg[i].msg_hdr.msg_iov = iov[i];
        msg[i].msg_hdr.msg_iovlen = 2;
    }
    sent = sendmmsg(s->fd, msg, n, 0);
    if (sent < 0) {
        if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR) {
            return 0;
        }
        bench_fail("cannot send to the interface: %s", strerror(errno));
    }
    s->next += sent;
    return sent;
}

int host_packet_open(const char *ifname, bool receive)
{
    int fd = packet_socket(ifname, receive ? ETH_P_ALL : 0);
    int size = 64 * 1024 * 1024;
    int one = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one,
                   sizeof(one)) < 0) {
        bench_fail("interface %s: cannot set the packet socket up: %s",
                   ifname, strerror(errno));
    }
    return fd;
}

int host_sink_open(const char *ifname)
{
    int fd = host_packet_open(ifname, true);
    int one = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) < 0) {
        bench_fail("interface %s: cannot set the packet socket up: %s",
                   ifname, strerror(errno));
    }
    return fd;
}

uint32_t host_sink_receive(int fd, uint8_t *frame,
                           struct virtio_net_hdr_v1 *hdr, int64_t *when)
{
    struct iovec iov[2] = {
        { .iov_base = hdr, .iov_len = sizeof(struct virtio_net_hdr) },
        { .iov_base = frame, .iov_len = FRAME_ROOM },
    };
    char control[128];
    struct msghdr msg = {
        .msg_iov = iov,
        .msg_iovlen = 2,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    struct cmsghdr *cmsg;
    ssize_t len;

    memset(hdr, 0, sizeof(*hdr));
    len = recvmsg(fd, &msg, 0);
    if (len < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return 0;
        }
        bench_fail("cannot receive from the interface: %s", strerror(errno));
    }
    *when = 0;
    for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
        if (cmsg->cmsg_level == SOL_SOCKET &&
            cmsg->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec ts;

            memcpy(&ts, CMSG_DATA(cmsg), sizeof(ts));
            *when = ts.tv_sec * 1000000000LL + ts.tv_nsec;
        }
    }
    return len - sizeof(struct virtio_net_hdr);
}

int host_user_open(void)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(FRAME_HOST_PORT),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int size = 1;

    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0 ||
        bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        bench_fail("UDP port %d: %s", FRAME_HOST_PORT, strerror(errno));
    }
    return fd;
}

void host_user_check(int fd, const FrameShape *shape)
{
    g_autofree uint8_t *data = g_malloc(FRAME_ROOM);
    unsigned headers = frame_number_at(shape);
    ssize_t len = recv(fd, data, FRAME_ROOM, 0);

    if (len < 0) {
        bench_fail("the host got none of the frames: %s", strerror(errno));
    }
    if (len != shape->size - headers) {
        bench_fail("the host got %zd bytes of a datagram of %u", len,
                   shape->size - headers);
    }
}
