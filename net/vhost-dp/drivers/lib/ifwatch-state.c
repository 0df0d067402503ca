/*
 * vhost-dp: what the kernel says of a network interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: questions to the kernel, by ioctl() and by netlink, and
 * what its messages are about.  Nothing is kept here.  All of it may wait for
 * the kernel's RTNL lock, so it is for the thread of the watches (ifwatch.c),
 * and for a driver's open().
 */

#include "qemu/osdep.h"
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "ifwatch.h"

/* Linux 5.14; not in the headers of all C libraries */
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

/* ---- State ---- */

/* An ioctl failed.  Any error but ENODEV means that the interface exists. */
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

bool vhost_dp_if_name(int sock, int ifindex, char *name)
{
    struct ifreq ifr = { .ifr_ifindex = ifindex };

    if (ifindex <= 0 || ioctl(sock, SIOCGIFNAME, &ifr) < 0) {
        return false;
    }
    pstrcpy(name, IFNAMSIZ, ifr.ifr_name);
    return true;
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

bool vhost_dp_if_same_netns(int a, int b)
{
    uint64_t cookie_a, cookie_b;
    socklen_t len = sizeof(cookie_a);

    return getsockopt(a, SOL_SOCKET, SO_NETNS_COOKIE, &cookie_a, &len) == 0 &&
           getsockopt(b, SOL_SOCKET, SO_NETNS_COOKIE, &cookie_b, &len) == 0 &&
           cookie_a == cookie_b;
}

/* ---- Netlink ---- */

/* The first attribute of @type between @rta and @len bytes on, or NULL */
static const struct rtattr *if_attribute(const struct rtattr *rta, int len,
                                         unsigned type)
{
    while (RTA_OK(rta, len)) {
        if ((rta->rta_type & NLA_TYPE_MASK) == type) {
            return rta;
        }
        rta = RTA_NEXT(rta, len);
    }
    return NULL;
}

static const struct rtattr *if_nested(const struct rtattr *rta, unsigned type)
{
    return rta ? if_attribute(RTA_DATA(rta), RTA_PAYLOAD(rta), type) : NULL;
}

static uint32_t if_number(const struct rtattr *rta)
{
    uint32_t n = 0;

    if (rta && RTA_PAYLOAD(rta) >= sizeof(n)) {
        memcpy(&n, RTA_DATA(rta), sizeof(n));
    }
    return n;
}

/* Ask for interface @ifname.  Returns the length of the answer, or 0. */
static size_t if_request(int nl, const char *ifname, void *buf, size_t size)
{
    struct {
        struct nlmsghdr nh;
        struct ifinfomsg ifi;
        struct rtattr rta;
        char name[RTA_ALIGN(IFNAMSIZ)];
    } request = {
        .nh.nlmsg_type = RTM_GETLINK,
        .nh.nlmsg_flags = NLM_F_REQUEST,
        .rta.rta_type = IFLA_IFNAME,
    };
    ssize_t len;

    pstrcpy(request.name, IFNAMSIZ, ifname);
    request.rta.rta_len = RTA_LENGTH(strlen(request.name) + 1);
    request.nh.nlmsg_len = NLMSG_LENGTH(sizeof(request.ifi)) +
                           RTA_ALIGN(request.rta.rta_len);
    if (send(nl, &request, request.nh.nlmsg_len, 0) < 0) {
        return 0;
    }
    /* The kernel has answered when send() returns */
    len = recv(nl, buf, size, MSG_DONTWAIT);
    return len < 0 ? 0 : len;
}

bool vhost_dp_if_tap_queues(int nl, const char *ifname, unsigned *n)
{
    g_autofree struct nlmsghdr *nh = g_malloc(64 * KiB);
    size_t len = if_request(nl, ifname, nh, 64 * KiB);
    const struct rtattr *data, *queues;

    if (len < NLMSG_SPACE(sizeof(struct ifinfomsg)) || nh->nlmsg_len > len ||
        nh->nlmsg_type != RTM_NEWLINK) {
        return false;
    }
    data = if_attribute(IFLA_RTA(NLMSG_DATA(nh)), IFLA_PAYLOAD(nh),
                        IFLA_LINKINFO);
    queues = if_nested(data, IFLA_INFO_KIND);
    if (!queues || strncmp(RTA_DATA(queues), "tun", RTA_PAYLOAD(queues))) {
        return false;
    }
    data = if_nested(data, IFLA_INFO_DATA);
    queues = if_nested(data, IFLA_TUN_NUM_QUEUES);
    if (!queues) {
        return false;
    }
    *n = if_number(queues) +
         if_number(if_nested(data, IFLA_TUN_NUM_DISABLED_QUEUES));
    return true;
}

bool vhost_dp_if_is_meant(const struct nlmsghdr *nh, int ifindex,
                          const char *ifname)
{
    const struct ifinfomsg *ifi = NLMSG_DATA(nh);
    const struct rtattr *name;

    if (nh->nlmsg_type != RTM_NEWLINK && nh->nlmsg_type != RTM_DELLINK) {
        return false;
    }
    if (ifindex) {
        return ifi->ifi_index == ifindex;
    }
    name = if_attribute(IFLA_RTA(ifi), IFLA_PAYLOAD(nh), IFLA_IFNAME);
    return name && ifname[0] &&
           !strncmp(RTA_DATA(name), ifname, MIN(RTA_PAYLOAD(name), IFNAMSIZ));
}
