/*
 * vhost-dp: the state of the host's network interfaces
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a watch is a netlink socket that is subscribed to
 * RTNLGRP_LINK, with a handler in the caller's AioContext.  What the messages
 * say is not looked at: they may be lost when there are too many, and the
 * state of an interface is had by an ioctl that cannot be out of date.  So a
 * message means no more than "look again".
 *
 * A descriptor that was passed to QEMU may belong to another network
 * namespace, whose messages QEMU does not get without privileges.  Then a
 * timer takes the place of the messages.
 */

#include "qemu/osdep.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include "qemu/cutils.h"
#include "qemu/sockets.h"
#include "qemu/timer.h"
#include "ifwatch.h"

/* Linux 5.14; not in the headers of all C libraries */
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define IFWATCH_INTERVAL_MS 1000

/* Messages taken at a time; for more the handler is called again */
#define IFWATCH_MESSAGES 64

struct VhostDPIfWatch {
    AioContext *ctx;
    int fd;                     /* the netlink socket, or -1: */
    QEMUTimer *timer;
    void (*changed)(void *opaque);
    void *opaque;
};

/* ---- State ---- */

/* An ioctl failed.  If it is not for want of an interface, there is one. */
static VhostDPIfState if_state_unknown(void)
{
    return errno == ENODEV ? VHOST_DP_IF_GONE : VHOST_DP_IF_UP;
}

VhostDPIfState vhost_dp_if_state(int sock, const char *ifname, int *ifindex)
{
    struct ifreq ifr = {};

    if (ifindex) {
        *ifindex = 0;
    }
    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), ifname);
    if (ioctl(sock, SIOCGIFINDEX, &ifr) < 0) {
        return if_state_unknown();
    }
    if (ifindex) {
        *ifindex = ifr.ifr_ifindex;
    }
    if (ioctl(sock, SIOCGIFFLAGS, &ifr) < 0) {
        return if_state_unknown();
    }
    if (!(ifr.ifr_flags & IFF_UP)) {
        return VHOST_DP_IF_DOWN;
    }
    return ifr.ifr_flags & IFF_RUNNING ? VHOST_DP_IF_UP :
                                         VHOST_DP_IF_NO_CARRIER;
}

char *vhost_dp_if_reason(VhostDPIfState state, const char *ifname)
{
    switch (state) {
    case VHOST_DP_IF_GONE:
        return g_strdup_printf("interface '%s' was deleted", ifname);
    case VHOST_DP_IF_DOWN:
        return g_strdup_printf("interface '%s' is down", ifname);
    case VHOST_DP_IF_NO_CARRIER:
        return g_strdup_printf("interface '%s' has no carrier", ifname);
    case VHOST_DP_IF_UP:
        break;
    }
    return NULL;
}

/* ---- Watching ---- */

static void ifwatch_readable(void *opaque)
{
    VhostDPIfWatch *watch = opaque;
    char byte;
    int i;

    /* ENOBUFS: messages were lost; nothing else is */
    for (i = 0; i < IFWATCH_MESSAGES; i++) {
        if (recv(watch->fd, &byte, sizeof(byte), MSG_DONTWAIT) < 0 &&
            errno == EAGAIN) {
            break;
        }
    }
    watch->changed(watch->opaque);
}

static void ifwatch_start_timer(VhostDPIfWatch *watch)
{
    timer_mod(watch->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                            IFWATCH_INTERVAL_MS);
}

static void ifwatch_timer(void *opaque)
{
    VhostDPIfWatch *watch = opaque;

    ifwatch_start_timer(watch);
    watch->changed(watch->opaque);
}

static bool ifwatch_netns(int sock, uint64_t *cookie)
{
    socklen_t len = sizeof(*cookie);

    return getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len) == 0;
}

static bool ifwatch_same_netns(int a, int b)
{
    uint64_t cookie_a, cookie_b;

    return ifwatch_netns(a, &cookie_a) && ifwatch_netns(b, &cookie_b) &&
           cookie_a == cookie_b;
}

/* A socket that is told of all changes, or -1 */
static int ifwatch_subscribe(int sock)
{
    struct sockaddr_nl snl = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK,
    };
    int fd = qemu_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

    if (fd < 0) {
        return -1;
    }
    if ((sock >= 0 && !ifwatch_same_netns(sock, fd)) ||
        bind(fd, (struct sockaddr *)&snl, sizeof(snl)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

VhostDPIfWatch *vhost_dp_ifwatch_new(AioContext *ctx, int sock,
                                     void (*changed)(void *opaque),
                                     void *opaque)
{
    VhostDPIfWatch *watch = g_new0(VhostDPIfWatch, 1);

    watch->ctx = ctx;
    watch->changed = changed;
    watch->opaque = opaque;
    watch->fd = ifwatch_subscribe(sock);
    watch->timer = aio_timer_new(ctx, QEMU_CLOCK_REALTIME, SCALE_MS,
                                 ifwatch_timer, watch);
    if (watch->fd >= 0) {
        aio_set_fd_handler(ctx, watch->fd, ifwatch_readable, NULL, NULL, NULL,
                           watch);
    } else {
        ifwatch_start_timer(watch);
    }
    return watch;
}

void vhost_dp_ifwatch_poll(VhostDPIfWatch *watch, bool poll)
{
    if (watch->fd < 0) {
        return;
    }
    if (!poll) {
        timer_del(watch->timer);
    } else if (!timer_pending(watch->timer)) {
        ifwatch_start_timer(watch);
    }
}

void vhost_dp_ifwatch_free(VhostDPIfWatch *watch)
{
    if (!watch) {
        return;
    }
    if (watch->fd >= 0) {
        aio_set_fd_handler(watch->ctx, watch->fd, NULL, NULL, NULL, NULL,
                           NULL);
        close(watch->fd);
    }
    timer_free(watch->timer);
    g_free(watch);
}
