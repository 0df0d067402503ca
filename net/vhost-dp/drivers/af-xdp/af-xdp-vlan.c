/*
 * vhost-dp-af-xdp: VLAN tags that travel beside their frames
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the kernel and network cards take the outer VLAN tag off
 * a frame and keep it beside it.  An XDP program, and so an AF_XDP socket, gets
 * the frame alone: what belongs to a VLAN would look untagged to the guest, and
 * the guest would be in a network that is not its own.  So an interface is used
 * only if one of these holds:
 *
 * - Its driver tells the program about the tag (Linux 6.8 and later), which
 *   then puts it back.  This is asked for by generic netlink.
 * - Tags stay in the frames.  For a network card that is a matter of its own
 *   features.  A veth interface gets frames as its peer sends them, so the
 *   peer's features count.  Interfaces on top of others (bridge, bond, macvlan)
 *   get them from the kernel's network stack, which has taken the tags off by
 *   then, whatever the features are.
 */

#include "qemu/osdep.h"
#include <bpf/btf.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "qemu/cutils.h"
#include "qemu/sockets.h"
#include "qapi/error.h"
#include "af-xdp-int.h"

#define VMLINUX_BTF "/sys/kernel/btf/vmlinux"

/* linux/netdev.h, which not all C libraries have: Linux 6.3, and 6.6 */
#define NETDEV_FAMILY "netdev"
#define NETDEV_DEV_GET 1
#define NETDEV_ATTR_IFINDEX 1
#define NETDEV_ATTR_RX_METADATA 5
#define NETDEV_RX_METADATA_VLAN (1u << 2)

/* ---- Netlink: one question, one answer ---- */

typedef struct AfXdpNetlink {
    struct nlmsghdr nh;
    union {
        struct ifinfomsg ifi;
        struct genlmsghdr genl;
        uint8_t space[32 * KiB];
    };
} AfXdpNetlink;

/* Append an attribute to a request whose header is complete */
static void netlink_put(AfXdpNetlink *msg, uint16_t type, const void *data,
                        size_t len)
{
    struct rtattr *rta = (void *)((uint8_t *)msg +
                                  NLMSG_ALIGN(msg->nh.nlmsg_len));

    rta->rta_type = type;
    rta->rta_len = RTA_LENGTH(len);
    memcpy(RTA_DATA(rta), data, len);
    msg->nh.nlmsg_len = NLMSG_ALIGN(msg->nh.nlmsg_len) + RTA_SPACE(len);
}

/* @msg is replaced by the answer.  Returns false if there is none. */
static bool netlink_ask(int protocol, AfXdpNetlink *msg)
{
    int fd = qemu_socket(AF_NETLINK, SOCK_RAW, protocol);
    ssize_t n = -1;

    if (fd < 0) {
        return false;
    }
    msg->nh.nlmsg_flags = NLM_F_REQUEST;
    if (send(fd, msg, msg->nh.nlmsg_len, 0) >= 0) {
        n = RETRY_ON_EINTR(recv(fd, msg, sizeof(*msg), 0));
    }
    close(fd);
    return n >= (ssize_t)sizeof(msg->nh) && msg->nh.nlmsg_len <= n &&
           msg->nh.nlmsg_type != NLMSG_ERROR;
}

/*
 * The attribute @type of an answer that has @skip bytes before its attributes.
 * Returns its value, of at least @len bytes, or NULL.
 */
static const void *netlink_get(const AfXdpNetlink *msg, size_t skip,
                               uint16_t type, size_t len)
{
    const struct rtattr *rta = (void *)(msg->space + NLMSG_ALIGN(skip));
    int left = msg->nh.nlmsg_len - NLMSG_SPACE(skip);

    for (; RTA_OK(rta, left); rta = RTA_NEXT(rta, left)) {
        if ((rta->rta_type & NLA_TYPE_MASK) == type &&
            RTA_PAYLOAD(rta) >= len) {
            return RTA_DATA(rta);
        }
    }
    return NULL;
}

/* ---- Drivers that tell ---- */

static void genl_start(AfXdpNetlink *msg, uint16_t family, uint8_t command)
{
    msg->nh = (struct nlmsghdr) {
        .nlmsg_len = NLMSG_LENGTH(sizeof(msg->genl)),
        .nlmsg_type = family,
    };
    msg->genl = (struct genlmsghdr) { .cmd = command, .version = 1 };
}

static bool vlan_is_told(int ifindex)
{
    g_autofree AfXdpNetlink *msg = g_new0(AfXdpNetlink, 1);
    const uint16_t *family;
    const void *features;
    uint32_t id = ifindex;
    uint64_t bits;

    genl_start(msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    netlink_put(msg, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY,
                sizeof(NETDEV_FAMILY));
    if (!netlink_ask(NETLINK_GENERIC, msg)) {
        return false;
    }
    family = netlink_get(msg, sizeof(msg->genl), CTRL_ATTR_FAMILY_ID,
                         sizeof(*family));
    if (!family) {
        return false;
    }
    genl_start(msg, *family, NETDEV_DEV_GET);
    netlink_put(msg, NETDEV_ATTR_IFINDEX, &id, sizeof(id));
    if (!netlink_ask(NETLINK_GENERIC, msg)) {
        return false;
    }
    features = netlink_get(msg, sizeof(msg->genl), NETDEV_ATTR_RX_METADATA,
                           sizeof(bits));
    if (!features) {
        return false;
    }
    memcpy(&bits, features, sizeof(bits));
    return bits & NETDEV_RX_METADATA_VLAN;
}

int vhost_dp_afxdp_vlan_kfunc(int ifindex)
{
    static int known;           /* atomic; the kernel's types do not change */
    int id = qatomic_read(&known);
    struct btf *btf;

    if (!vlan_is_told(ifindex)) {
        return 0;
    }
    if (!id && access(VMLINUX_BTF, R_OK) == 0) {
        btf = btf__load_vmlinux_btf();
        if (btf) {
            id = btf__find_by_name_kind(btf, "bpf_xdp_metadata_rx_vlan_tag",
                                        BTF_KIND_FUNC);
            btf__free(btf);
            qatomic_set(&known, MAX(id, 0));
        }
    }
    return MAX(id, 0);
}

/* ---- Features of interfaces ---- */

static bool ethtool(int ctl, const char *ifname, void *command)
{
    struct ifreq ifr = { .ifr_data = command };

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), ifname);
    return ioctl(ctl, SIOCETHTOOL, &ifr) == 0;
}

/* Names of all features that the kernel knows, ETH_GSTRING_LEN bytes each */
static struct ethtool_gstrings *ethtool_names(int ctl, const char *ifname)
{
    g_autofree struct ethtool_sset_info *set = NULL;
    struct ethtool_gstrings *names;

    set = g_malloc0(sizeof(*set) + sizeof(set->data[0]));
    set->cmd = ETHTOOL_GSSET_INFO;
    set->sset_mask = 1ULL << ETH_SS_FEATURES;
    if (!ethtool(ctl, ifname, set) || !set->sset_mask) {
        return NULL;
    }
    names = g_malloc0(sizeof(*names) + (size_t)set->data[0] * ETH_GSTRING_LEN);
    names->cmd = ETHTOOL_GSTRINGS;
    names->string_set = ETH_SS_FEATURES;
    names->len = set->data[0];
    if (!ethtool(ctl, ifname, names)) {
        g_clear_pointer(&names, g_free);
    }
    return names;
}

/*
 * Which of two features does an interface have?  Returns those, with " off"
 * after each and separated by a space, or NULL if none.  An interface that does
 * not say has all of them.
 */
static char *ethtool_features(int ctl, const char *ifname,
                              const char *const wanted[2])
{
    g_autofree struct ethtool_gstrings *names = ethtool_names(ctl, ifname);
    g_autofree struct ethtool_gfeatures *features = NULL;
    GString *found = g_string_new(NULL);
    bool known = false;
    unsigned i, j;

    if (names) {
        uint32_t blocks = DIV_ROUND_UP(names->len, 32);

        features = g_malloc0(sizeof(*features) +
                             blocks * sizeof(features->features[0]));
        features->cmd = ETHTOOL_GFEATURES;
        features->size = blocks;
        known = ethtool(ctl, ifname, features);
    }
    for (i = 0; i < 2; i++) {
        bool on = !known;

        for (j = 0; known && j < names->len; j++) {
            if (!strncmp((char *)names->data + j * ETH_GSTRING_LEN, wanted[i],
                         ETH_GSTRING_LEN)) {
                on = features->features[j / 32].active & (1u << j % 32);
            }
        }
        if (on) {
            g_string_append_printf(found, "%s%s off", found->len ? " " : "",
                                   wanted[i]);
        }
    }
    return g_string_free(found, !found->len);
}

/* ---- Interfaces that leave tags in frames ---- */

typedef struct AfXdpIf {
    char name[IFNAMSIZ];
    char kind[32];              /* empty: a network card, or unknown */
    uint32_t peer;              /* interface number of a veth's, or 0 */
    bool peer_elsewhere;        /* in another network namespace */
} AfXdpIf;

static bool vlan_get_if(int ifindex, AfXdpIf *iface)
{
    g_autofree AfXdpNetlink *msg = g_new0(AfXdpNetlink, 1);
    uint32_t mask = RTEXT_FILTER_SKIP_STATS;
    const struct rtattr *info;
    const uint32_t *peer;
    const char *name;
    int left;

    msg->nh = (struct nlmsghdr) {
        .nlmsg_len = NLMSG_LENGTH(sizeof(msg->ifi)),
        .nlmsg_type = RTM_GETLINK,
    };
    msg->ifi.ifi_index = ifindex;
    netlink_put(msg, IFLA_EXT_MASK, &mask, sizeof(mask));
    if (!netlink_ask(NETLINK_ROUTE, msg)) {
        return false;
    }
    *iface = (AfXdpIf) {};
    name = netlink_get(msg, sizeof(msg->ifi), IFLA_IFNAME, 1);
    pstrcpy(iface->name, sizeof(iface->name), name ?: "");
    peer = netlink_get(msg, sizeof(msg->ifi), IFLA_LINK, sizeof(*peer));
    iface->peer = peer ? *peer : 0;
    iface->peer_elsewhere = netlink_get(msg, sizeof(msg->ifi),
                                        IFLA_LINK_NETNSID, 0);
    info = netlink_get(msg, sizeof(msg->ifi), IFLA_LINKINFO, 0);
    if (info) {
        const struct rtattr *rta = info;

        left = RTA_PAYLOAD((const struct rtattr *)
                           ((const uint8_t *)info - RTA_LENGTH(0)));
        for (; RTA_OK(rta, left); rta = RTA_NEXT(rta, left)) {
            if (rta->rta_type == IFLA_INFO_KIND) {
                pstrcpy(iface->kind, sizeof(iface->kind), RTA_DATA(rta));
            }
        }
    }
    return true;
}

/* Does the interface get frames that the network stack has taken apart? */
static bool vlan_is_stacked(const AfXdpIf *iface)
{
    static const char *const kinds[] = {
        "bond", "bridge", "failover", "hsr", "ipvlan", "ipvtap", "macvlan",
        "macvtap", "netkit", "openvswitch", "team",
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!strcmp(iface->kind, kinds[i])) {
            return true;
        }
    }
    return false;
}

static bool vlan_peer_keeps(int ctl, const AfXdpIf *iface, Error **errp)
{
    static const char *const features[] = {
        "tx-vlan-hw-insert", "tx-vlan-stag-hw-insert",
    };
    ERRP_GUARD();
    g_autofree char *found = NULL;
    char peer[IFNAMSIZ];

    if (iface->peer_elsewhere || !if_indextoname(iface->peer, peer)) {
        error_setg(errp, "frames may come without their VLAN tags: whether the "
                   "other end of this veth pair sends them so cannot be seen, "
                   "as it is in another network namespace");
    } else {
        found = ethtool_features(ctl, peer, features);
        if (!found) {
            return true;
        }
        error_setg(errp, "frames would come without their VLAN tags: '%s', the "
                   "other end of this veth pair, sends them so", peer);
        error_append_hint(errp, "Change that by 'ethtool -K %s %s'.\n", peer,
                          found);
    }
    error_append_hint(errp, "With mode=native and Linux 6.8 or later nothing "
                      "has to be changed, nor with vhost-dp-af-packet.\n");
    return false;
}

bool vhost_dp_afxdp_vlan_kept(int ctl, int ifindex, Error **errp)
{
    static const char *const features[] = {
        "rx-vlan-hw-parse", "rx-vlan-stag-hw-parse",
    };
    ERRP_GUARD();
    g_autofree char *found = NULL;
    AfXdpIf iface;

    if (!vlan_get_if(ifindex, &iface)) {
        error_setg(errp, "cannot find out whether the interface takes VLAN "
                   "tags off frames");
        return false;
    }
    if (!strcmp(iface.kind, "veth")) {
        return vlan_peer_keeps(ctl, &iface, errp);
    }
    if (vlan_is_stacked(&iface)) {
        error_setg(errp, "frames would come without their VLAN tags: those of "
                   "a %s interface have lost them before XDP", iface.kind);
        error_append_hint(errp, "Use vhost-dp-af-packet.\n");
        return false;
    }
    found = ethtool_features(ctl, iface.name, features);
    if (found) {
        error_setg(errp, "frames would come without their VLAN tags: the "
                   "interface takes them off");
        error_append_hint(errp, "Change that by 'ethtool -K %s %s', or use "
                          "vhost-dp-af-packet.\n", iface.name, found);
        return false;
    }
    return true;
}
