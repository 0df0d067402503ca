/*
 * vhost-dp: qtests, network interfaces
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "host.h"

int dp_tap_open(const char *name, int flags)
{
    struct ifreq ifr = { .ifr_flags = (IFF_TAP | IFF_NO_PI) ^ flags };
    int fd = open(DP_TAP_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        g_error("TUNSETIFF %s: %s", name, strerror(errno));
    }
    return fd;
}

void dp_tap_set_persistent(int fd, bool persistent)
{
    g_assert_cmpint(ioctl(fd, TUNSETPERSIST, (long)persistent), ==, 0);
}

void dp_tap_new(const char *name, int flags)
{
    int fd = dp_tap_open(name, flags);

    dp_tap_set_persistent(fd, true);
    close(fd);
}

bool dp_if_exists(const char *name)
{
    return if_nametoindex(name) != 0;
}

/* An ioctl on interface @name, which must succeed */
static void if_ioctl(const char *name, unsigned long request, const char *what,
                     struct ifreq *ifr)
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(sock, >=, 0);
    pstrcpy(ifr->ifr_name, sizeof(ifr->ifr_name), name);
    if (ioctl(sock, request, ifr) < 0) {
        g_error("%s %s: %s", what, name, strerror(errno));
    }
    close(sock);
}

#define IF_IOCTL(name, request, ifr) if_ioctl(name, request, #request, ifr)

static void if_set_flag(const char *name, short flag, bool set)
{
    struct ifreq ifr = {};

    IF_IOCTL(name, SIOCGIFFLAGS, &ifr);
    ifr.ifr_flags = set ? ifr.ifr_flags | flag : ifr.ifr_flags & ~flag;
    IF_IOCTL(name, SIOCSIFFLAGS, &ifr);
}

void dp_if_up(const char *name)
{
    if_set_flag(name, IFF_UP, true);
}

void dp_if_down(const char *name)
{
    if_set_flag(name, IFF_UP, false);
}

void dp_if_set_mtu(const char *name, int mtu)
{
    struct ifreq ifr = { .ifr_mtu = mtu };

    IF_IOCTL(name, SIOCSIFMTU, &ifr);
}

void dp_if_get_mac(const char *name, uint8_t mac[6])
{
    struct ifreq ifr = {};

    IF_IOCTL(name, SIOCGIFHWADDR, &ifr);
    memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
}

static void set_sockaddr(struct sockaddr *sa, const char *address)
{
    struct sockaddr_in sin = { .sin_family = AF_INET };

    g_assert_cmpint(inet_pton(AF_INET, address, &sin.sin_addr), ==, 1);
    memcpy(sa, &sin, sizeof(sin));
}

void dp_if_set_address(const char *name, const char *address)
{
    struct ifreq ifr = {};

    set_sockaddr(&ifr.ifr_addr, address);
    IF_IOCTL(name, SIOCSIFADDR, &ifr);
    set_sockaddr(&ifr.ifr_netmask, "255.255.255.0");
    IF_IOCTL(name, SIOCSIFNETMASK, &ifr);
}

void dp_arp_add(const char *name, const char *address, const uint8_t mac[6])
{
    struct arpreq req = { .arp_flags = ATF_COM | ATF_PERM };
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    set_sockaddr(&req.arp_pa, address);
    req.arp_ha.sa_family = ARPHRD_ETHER;
    memcpy(req.arp_ha.sa_data, mac, 6);
    pstrcpy(req.arp_dev, sizeof(req.arp_dev), name);
    g_assert_cmpint(ioctl(sock, SIOCSARP, &req), ==, 0);
    close(sock);
}

void dp_set_ip_forward(void)
{
    g_assert_true(dp_write_file("/proc/sys/net/ipv4/ip_forward", "1"));
}

/* A request to rtnetlink(7), with room for attributes and for the answer */
typedef union LinkMessage {
    struct {
        struct nlmsghdr nh;
        struct ifinfomsg ifi;
    };
    uint8_t bytes[16384];
} LinkMessage;

static void link_init(LinkMessage *m, uint16_t type, uint16_t flags, int index)
{
    memset(m, 0, sizeof(*m));
    m->nh.nlmsg_len = NLMSG_LENGTH(sizeof(m->ifi));
    m->nh.nlmsg_type = type;
    m->nh.nlmsg_flags = NLM_F_REQUEST | flags;
    m->ifi.ifi_index = index;
}

/* Append an attribute; one that is a list is begun with @len 0 */
static struct rtattr *link_add(LinkMessage *m, uint16_t type, const void *data,
                               size_t len)
{
    size_t at = NLMSG_ALIGN(m->nh.nlmsg_len);
    struct rtattr *rta = (void *)&m->bytes[at];

    g_assert_cmpuint(RTA_SPACE(len), <=, sizeof(m->bytes) - at);
    rta->rta_type = type;
    rta->rta_len = RTA_LENGTH(len);
    if (len) {
        memcpy(&m->bytes[at + RTA_LENGTH(0)], data, len);
    }
    m->nh.nlmsg_len = at + RTA_SPACE(len);
    return rta;
}

static void link_end_list(LinkMessage *m, struct rtattr *rta)
{
    rta->rta_len = m->bytes + m->nh.nlmsg_len - (uint8_t *)rta;
}

/*
 * Send a request; the first message of the answer takes its place.  Returns 0
 * or an error.
 */
static int link_try(LinkMessage *m)
{
    int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct nlmsgerr *error = NLMSG_DATA(&m->nh);

    g_assert_cmpint(send(sock, m, m->nh.nlmsg_len, 0), ==, m->nh.nlmsg_len);
    g_assert_cmpint(recv(sock, m, sizeof(*m), 0), >, sizeof(m->nh));
    close(sock);
    return m->nh.nlmsg_type == NLMSG_ERROR ? -error->error : 0;
}

static void link_request(LinkMessage *m)
{
    uint16_t type = m->nh.nlmsg_type;
    int err = link_try(m);

    if (err) {
        g_error("netlink request %u: %s", type, strerror(err));
    }
}

static void link_add_queues(LinkMessage *m, uint32_t queues)
{
    link_add(m, IFLA_NUM_TX_QUEUES, &queues, sizeof(queues));
    link_add(m, IFLA_NUM_RX_QUEUES, &queues, sizeof(queues));
}

void dp_veth_new_queues(const char *name, const char *peer, unsigned queues)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    struct rtattr *info, *data, *other;
    struct ifinfomsg none = {};

    link_init(m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0);
    link_add(m, IFLA_IFNAME, name, strlen(name) + 1);
    link_add_queues(m, queues);
    info = link_add(m, IFLA_LINKINFO, NULL, 0);
    link_add(m, IFLA_INFO_KIND, "veth", 4);
    data = link_add(m, IFLA_INFO_DATA, NULL, 0);
    other = link_add(m, VETH_INFO_PEER, &none, sizeof(none));
    link_add(m, IFLA_IFNAME, peer, strlen(peer) + 1);
    link_add_queues(m, queues);
    link_end_list(m, other);
    link_end_list(m, data);
    link_end_list(m, info);
    link_request(m);
    dp_if_up(name);
    dp_if_up(peer);
    dp_if_wait_running(name);
    dp_if_wait_running(peer);
}

void dp_veth_new(const char *name, const char *peer)
{
    dp_veth_new_queues(name, peer, 1);
}

bool dp_macvtap_new(const char *name, const char *lower)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    uint32_t ifindex = if_nametoindex(lower);
    struct rtattr *info;

    link_init(m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0);
    link_add(m, IFLA_IFNAME, name, strlen(name) + 1);
    link_add(m, IFLA_LINK, &ifindex, sizeof(ifindex));
    info = link_add(m, IFLA_LINKINFO, NULL, 0);
    link_add(m, IFLA_INFO_KIND, "macvtap", 7);
    link_end_list(m, info);
    if (link_try(m)) {
        return false;
    }
    dp_if_up(name);
    return true;
}

/* Where the tunnel goes, into @remote */
static void vxlan_set_addresses(const DpVxlan *vxlan, const char *lower,
                                const char *peer, void *remote)
{
    const char *address = vxlan->ip6 ? "fd00::2" : "192.0.2.2";
    uint8_t mac[6];

    dp_if_get_mac(peer, mac);
    if (vxlan->ip6) {
        dp_if_add_address6(lower, "fd00::1");
        dp_neighbour_add6(lower, address, mac);
    } else {
        dp_if_set_address(lower, "192.0.2.1");
        dp_arp_add(lower, address, mac);
    }
    g_assert_cmpint(inet_pton(vxlan->ip6 ? AF_INET6 : AF_INET, address,
                              remote), ==, 1);
}

bool dp_vxlan_new(const char *name, const DpVxlan *vxlan, const char *lower,
                  const char *peer)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    uint32_t id = 7, ifindex = if_nametoindex(lower);
    uint16_t port = htons(4789);
    uint8_t on = vxlan->checksum, off = !vxlan->checksum;
    struct rtattr *info, *data;
    uint8_t remote[16];

    vxlan_set_addresses(vxlan, lower, peer, remote);
    link_init(m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0);
    link_add(m, IFLA_IFNAME, name, strlen(name) + 1);
    info = link_add(m, IFLA_LINKINFO, NULL, 0);
    link_add(m, IFLA_INFO_KIND, "vxlan", 5);
    data = link_add(m, IFLA_INFO_DATA, NULL, 0);
    link_add(m, IFLA_VXLAN_ID, &id, sizeof(id));
    link_add(m, IFLA_VXLAN_LINK, &ifindex, sizeof(ifindex));
    link_add(m, IFLA_VXLAN_PORT, &port, sizeof(port));
    link_add(m, vxlan->ip6 ? IFLA_VXLAN_GROUP6 : IFLA_VXLAN_GROUP, remote,
             vxlan->ip6 ? 16 : 4);
    link_add(m, IFLA_VXLAN_UDP_CSUM, &on, sizeof(on));
    link_add(m, IFLA_VXLAN_UDP_ZERO_CSUM6_TX, &off, sizeof(off));
    link_end_list(m, data);
    link_end_list(m, info);
    if (link_try(m)) {
        g_test_skip("this kernel has no VXLAN");
        return false;
    }
    dp_if_up(name);
    dp_if_wait_running(name);
    return true;
}

void dp_if_set_gso_max_segs(const char *name, uint32_t n)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);

    link_init(m, RTM_NEWLINK, NLM_F_ACK, if_nametoindex(name));
    link_add(m, IFLA_GSO_MAX_SEGS, &n, sizeof(n));
    link_request(m);
}

/* A request about something else, whose header has @len bytes */
static void message_init(LinkMessage *m, uint16_t type, const void *header,
                         size_t len)
{
    link_init(m, type, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, 0);
    m->nh.nlmsg_len = NLMSG_LENGTH(len);
    memcpy(NLMSG_DATA(&m->nh), header, len);
}

void dp_if_add_address6(const char *name, const char *address)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    struct ifaddrmsg ifa = {
        .ifa_family = AF_INET6,
        .ifa_prefixlen = 64,
        .ifa_flags = IFA_F_NODAD,
        .ifa_index = if_nametoindex(name),
    };
    g_autofree char *path =
        g_strdup_printf("/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    struct in6_addr in6;

    /* A host may have IPv6 switched off for interfaces that are new */
    g_assert_true(dp_write_file(path, "0"));
    g_assert_cmpint(inet_pton(AF_INET6, address, &in6), ==, 1);
    message_init(m, RTM_NEWADDR, &ifa, sizeof(ifa));
    link_add(m, IFA_LOCAL, &in6, sizeof(in6));
    link_add(m, IFA_ADDRESS, &in6, sizeof(in6));
    link_request(m);
}

void dp_neighbour_add6(const char *name, const char *address,
                       const uint8_t mac[6])
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    struct ndmsg nd = {
        .ndm_family = AF_INET6,
        .ndm_ifindex = if_nametoindex(name),
        .ndm_state = NUD_PERMANENT,
    };
    struct in6_addr in6;

    g_assert_cmpint(inet_pton(AF_INET6, address, &in6), ==, 1);
    message_init(m, RTM_NEWNEIGH, &nd, sizeof(nd));
    link_add(m, NDA_DST, &in6, sizeof(in6));
    link_add(m, NDA_LLADDR, mac, 6);
    link_request(m);
}

static bool link_is_running(const char *name)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);

    link_init(m, RTM_GETLINK, 0, if_nametoindex(name));
    link_request(m);
    return m->ifi.ifi_flags & IFF_RUNNING;
}

void dp_if_wait_running(const char *name)
{
    dp_wait_until(link_is_running(name));
}

unsigned dp_if_promiscuity(const char *name)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    struct rtattr *rta;
    int left;

    link_init(m, RTM_GETLINK, 0, if_nametoindex(name));
    link_request(m);
    rta = IFLA_RTA(&m->ifi);
    left = IFLA_PAYLOAD(&m->nh);
    while (RTA_OK(rta, left)) {
        if (rta->rta_type == IFLA_PROMISCUITY) {
            return ldl_he_p(RTA_DATA(rta));
        }
        rta = RTA_NEXT(rta, left);
    }
    g_error("%s: no IFLA_PROMISCUITY", name);
}

void dp_if_delete(const char *name)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);

    link_init(m, RTM_DELLINK, NLM_F_ACK, if_nametoindex(name));
    g_assert_cmpint(m->ifi.ifi_index, !=, 0);
    link_request(m);
}

void dp_if_rename(const char *name, const char *new_name)
{
    struct ifreq ifr = {};

    pstrcpy(ifr.ifr_newname, sizeof(ifr.ifr_newname), new_name);
    IF_IOCTL(name, SIOCSIFNAME, &ifr);
}

void dp_if_move(const char *name, int netns)
{
    g_autofree LinkMessage *m = g_new(LinkMessage, 1);
    uint32_t fd = netns;

    link_init(m, RTM_NEWLINK, NLM_F_ACK, if_nametoindex(name));
    link_add(m, IFLA_NET_NS_FD, &fd, sizeof(fd));
    link_request(m);
}

int dp_netns_open(void)
{
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

void dp_netns_enter(int netns)
{
    g_assert_cmpint(setns(netns, CLONE_NEWNET), ==, 0);
}

int dp_netns_new(void)
{
    int back = dp_netns_open();
    int netns;

    g_assert_true(dp_netns_enter_new());
    netns = dp_netns_open();
    dp_netns_enter(back);
    close(back);
    return netns;
}
