/*
 * vhost-dp-af-packet: packet sockets
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: each queue pair has a packet socket, see packet(7),
 * with a receive ring of TPACKET_V2 and a struct virtio_net_hdr with each
 * frame.  It is opened here, or passed by somebody else, bound to the
 * interface and to all protocols; then QEMU needs no privileges.
 *
 * Several sockets are a fanout group: see af-packet-fanout.c.
 *
 * PACKET_QDISC_BYPASS is not used: the administrator's traffic control is to
 * hold for guests, and on interfaces without a queueing discipline there was
 * nothing to be gained (veth: 0.86 and 0.86 million frames per CPU-second).
 */

#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include "qemu/bitops.h"
#include "qemu/cutils.h"
#include "qemu/sockets.h"
#include "qapi/error.h"
#include "af-packet-int.h"
#include "trace.h"

/*
 * What may wait in the host's network before the guest's frames wait, too.
 * The kernel counts a small frame as about 1 KB, and takes twice this.
 */
#define AFP_SNDBUF (512 * KiB)

/* ---- Interfaces ---- */

int vhost_dp_afp_bound_to(int fd, char *name)
{
    struct sockaddr_ll sll = {};
    socklen_t len = sizeof(sll);
    struct ifreq ifr = {};

    if (getsockname(fd, (struct sockaddr *)&sll, &len) < 0 ||
        sll.sll_ifindex <= 0) {
        return 0;
    }
    ifr.ifr_ifindex = sll.sll_ifindex;
    if (ioctl(fd, SIOCGIFNAME, &ifr) < 0) {
        return 0;
    }
    pstrcpy(name, IFNAMSIZ, ifr.ifr_name);
    return sll.sll_ifindex;
}

static bool afp_check_ethernet(int fd, const char *ifname, Error **errp)
{
    ERRP_GUARD();
    struct ifreq ifr = {};

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), ifname);
    if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0) {
        error_setg_errno(errp, errno, "cannot look at interface '%s'", ifname);
        return false;
    }
    if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
        error_setg(errp, "interface '%s' is not an Ethernet interface",
                   ifname);
        error_append_hint(errp, "Use a network card, a port of a bridge, a "
                          "veth, tap or dummy interface.\n");
        return false;
    }
    return true;
}

/* ---- One socket ---- */

static bool afp_setsockopt(int fd, int level, int name, const void *value,
                           size_t len, const char *what, Error **errp)
{
    if (setsockopt(fd, level, name, value, len) < 0) {
        error_setg_errno(errp, errno, "cannot set %s", what);
        return false;
    }
    return true;
}

#define AFP_SETSOCKOPT(fd, level, name, value, errp) \
    afp_setsockopt(fd, level, name, &(value), sizeof(value), #name, errp)

/* Undo afp_socket_init(), but for what ends with the socket */
static void afp_socket_reset(AfpSocket *s)
{
    struct tpacket_req none = {};

    if (s->ring) {
        munmap(s->ring, AFP_RING_BYTES);
        s->ring = NULL;
        setsockopt(s->fd, SOL_PACKET, PACKET_RX_RING, &none, sizeof(none));
    }
}

void vhost_dp_afp_socket_close(AfpSocket *s)
{
    afp_socket_reset(s);
    vhost_dp_membership_forget(&s->membership);
    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
}

/* The receive ring, and the options of a socket that need no interface */
static bool afp_socket_init(AfpSocket *s, Error **errp)
{
    ERRP_GUARD();
    struct tpacket_req req = {
        .tp_block_size = AFP_BLOCK_BYTES,
        .tp_block_nr = AFP_BLOCKS,
        .tp_frame_size = AFP_SLOT_BYTES,
        .tp_frame_nr = AFP_SLOTS,
    };
    int version = TPACKET_V2;
    int sndbuf = AFP_SNDBUF;
    int on = 1;

    if (!AFP_SETSOCKOPT(s->fd, SOL_PACKET, PACKET_VNET_HDR, on, errp) ||
        !AFP_SETSOCKOPT(s->fd, SOL_PACKET, PACKET_VERSION, version, errp) ||
        !AFP_SETSOCKOPT(s->fd, SOL_PACKET, PACKET_RX_RING, req, errp)) {
        if (errno == EBUSY) {
            error_append_hint(errp, "The socket has a packet ring already: "
                              "pass one that nobody else uses.\n");
        }
        return false;
    }
    s->ring = mmap(NULL, AFP_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                   s->fd, 0);
    if (s->ring == MAP_FAILED) {
        s->ring = NULL;
        error_setg_errno(errp, errno, "cannot map the receive ring");
        return false;
    }

    /* Linux 4.20; without it such frames are recognised when they come */
    setsockopt(s->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
    if (setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf,
                   sizeof(sndbuf)) < 0) {
        setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
    }
    return true;
}

/* Returns a socket that receives nothing yet, or -1 */
static int afp_socket_open(Error **errp)
{
    ERRP_GUARD();
    int fd = qemu_socket(AF_PACKET, SOCK_RAW, 0);

    if (fd >= 0) {
        return fd;
    }
    if (errno == EPERM || errno == EACCES) {
        error_setg(errp, "no permission to open a packet socket");
        error_append_hint(errp, "Give QEMU CAP_NET_RAW, or pass an open socket "
                          "with fd= (fds= for several queue pairs).\n");
    } else if (errno == EAFNOSUPPORT) {
        error_setg(errp, "the host has no packet sockets");
        error_append_hint(errp, "Load the kernel's driver with: "
                          "modprobe af_packet\n");
    } else {
        error_setg_errno(errp, errno, "cannot open a packet socket");
    }
    return -1;
}

/*
 * The interface receives everything, for the time that the socket lives, or the
 * interface; until the guest asks for less
 */
static bool afp_set_promisc(AfpSocket *s, int ifindex, Error **errp)
{
    if (!vhost_dp_membership_begin(&s->membership, s->fd, ifindex)) {
        error_setg_errno(errp, errno, "cannot set the interface promiscuous");
        return false;
    }
    return true;
}

/* Receive what comes in by interface @ifindex */
static bool afp_socket_bind(int fd, int ifindex, Error **errp)
{
    struct sockaddr_ll sll = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = ifindex,
    };

    if (bind(fd, (struct sockaddr *)&sll, sizeof(sll)) < 0) {
        error_setg_errno(errp, errno, "cannot bind to the interface");
        return false;
    }
    return true;
}

/* ---- The ring ---- */

/*
 * Until all had joined, each socket received everything: forget that.  The
 * kernel goes on behind what it has filled, and so do we.
 */
static void afp_flush(AfpSocket *s)
{
    unsigned i;

    for (i = 0; i < AFP_SLOTS; i++) {
        struct tpacket2_hdr *slot = afp_slot(s, i);

        if (!(qatomic_read(&slot->tp_status) & TP_STATUS_USER)) {
            break;
        }
        qatomic_store_release(&slot->tp_status, TP_STATUS_KERNEL);
    }
    s->first = i % AFP_SLOTS;
}

/* ---- Opening by name ---- */

static void afp_close_sockets(AfpSocket *s, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        vhost_dp_afp_socket_close(&s[i]);
    }
}

/* Open @n sockets on interface @ifindex */
static bool afp_make_sockets(VhostDPAfPacket *afp, AfpSocket *s, unsigned n,
                             int ifindex, Error **errp)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        s[i] = (AfpSocket) { .fd = -1 };
    }
    for (i = 0; i < n; i++) {
        s[i].fd = afp_socket_open(errp);
        if (s[i].fd < 0 || !afp_socket_init(&s[i], errp) ||
            !afp_socket_bind(s[i].fd, ifindex, errp)) {
            afp_close_sockets(s, n);
            return false;
        }
    }
    if (n > 1) {
        if (!vhost_dp_afp_join_fanout(afp, s, n, errp)) {
            afp_close_sockets(s, n);
            return false;
        }
        for (i = 0; i < n; i++) {
            afp_flush(&s[i]);
        }
    }
    if (!afp_set_promisc(&s[0], ifindex, errp)) {
        afp_close_sockets(s, n);
        return false;
    }
    return true;
}

static bool afp_get_ifindex(int fd, const char *name, int *ifindex,
                            Error **errp)
{
    ERRP_GUARD();
    struct ifreq ifr = {};

    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    if (ioctl(fd, SIOCGIFINDEX, &ifr) == 0) {
        *ifindex = ifr.ifr_ifindex;
        return true;
    }
    if (errno != ENODEV) {
        error_setg_errno(errp, errno, "cannot look at the interface");
        return false;
    }
    error_setg(errp, "there is no such interface");
    error_append_hint(errp, "'ip link' shows those that there are; the "
                      "default of ifname= is the object's id.\n");
    return false;
}

static bool afp_open_by_name(VhostDPAfPacket *afp, Error **errp)
{
    ERRP_GUARD();
    g_autofree AfpSocket *s = g_new0(AfpSocket, afp->nqueues);
    const char *name = afp_ifname(afp);
    VhostDPIfState state;
    int sock, ifindex;
    bool ok;
    unsigned i;

    /*
     * Any socket: better say that it is none of Ethernet than "permission".
     * if_nametoindex() opens one, too, but does not say why it could not.
     */
    sock = qemu_socket(AF_INET, SOCK_DGRAM, 0);
    if (sock < 0) {
        error_setg_errno(errp, errno, "cannot look at the interface");
        return false;
    }
    ok = afp_get_ifindex(sock, name, &ifindex, errp) &&
         afp_check_ethernet(sock, name, errp);
    state = vhost_dp_if_state(sock, name, NULL);
    close(sock);
    if (!ok) {
        return false;
    }
    if (!afp_make_sockets(afp, s, afp->nqueues, ifindex, errp)) {
        if (afp->nqueues > 1 && state == VHOST_DP_IF_DOWN) {
            error_append_hint(errp, "For more than one queue pair the "
                              "interface has to be up (before Linux 6.13): "
                              "ip link set %s up\n", name);
        }
        return false;
    }
    pstrcpy(afp->real_ifname, sizeof(afp->real_ifname), name);
    for (i = 0; i < afp->nqueues; i++) {
        afp->queue[i].sock = s[i];
    }
    return true;
}

/* ---- Descriptors from outside ---- */

static bool afp_get_int(int fd, int name, int *value)
{
    socklen_t len = sizeof(*value);

    return getsockopt(fd, SOL_SOCKET, name, value, &len) == 0;
}

/* Is @fd what it has to be?  @name: of the interface, IFNAMSIZ bytes */
static bool afp_check_passed(int fd, const char *text, char *name,
                             Error **errp)
{
    ERRP_GUARD();
    struct sockaddr_ll sll = {};
    socklen_t len = sizeof(sll);
    int domain, type;

    if (!afp_get_int(fd, SO_DOMAIN, &domain) || domain != AF_PACKET ||
        !afp_get_int(fd, SO_TYPE, &type) || type != SOCK_RAW) {
        error_setg(errp, "descriptor %s is not a packet socket of type "
                   "SOCK_RAW", text);
        error_append_hint(errp, "Open it with socket(AF_PACKET, SOCK_RAW, 0) "
                          "and bind it to the interface.\n");
        return false;
    }
    if (!vhost_dp_afp_bound_to(fd, name)) {
        error_setg(errp, "packet socket %s is not bound to an interface",
                   text);
        error_append_hint(errp, "Bind it with sll_ifindex set, and "
                          "sll_protocol = htons(ETH_P_ALL).\n");
        return false;
    }
    if (getsockname(fd, (struct sockaddr *)&sll, &len) < 0 ||
        sll.sll_protocol != htons(ETH_P_ALL)) {
        error_setg(errp, "packet socket %s is bound to protocol 0x%04x, and "
                   "not to all", text, ntohs(sll.sll_protocol));
        error_append_hint(errp, "Bind it with sll_protocol = "
                          "htons(ETH_P_ALL).\n");
        return false;
    }
    return afp_check_ethernet(fd, name, errp);
}

/* Are they all of one interface? */
static bool afp_check_all_passed(VhostDPAfPacket *afp, Error **errp)
{
    unsigned i;

    for (i = 0; i < afp->passed.n; i++) {
        char name[IFNAMSIZ];

        if (!afp_check_passed(afp->passed.fd[i], afp->passed.name[i], name,
                              errp)) {
            return false;
        }
        if (i == 0) {
            pstrcpy(afp->real_ifname, sizeof(afp->real_ifname), name);
        } else if (strcmp(name, afp->real_ifname)) {
            error_setg(errp, "packet socket %s is bound to '%s', and %s to "
                       "'%s'", afp->passed.name[0], afp->real_ifname,
                       afp->passed.name[i], name);
            return false;
        }
    }
    return true;
}

/* Makes a fanout group of passed sockets that have their rings already */
static bool afp_join_passed(VhostDPAfPacket *afp, const AfpSocket *s,
                            Error **errp)
{
    /* Sockets never leave a fanout group: after a second open they are in it */
    if (afp->passed_joined) {
        vhost_dp_afp_update_pairs(afp);
    } else if (!vhost_dp_afp_join_fanout(afp, s, afp->nqueues, errp)) {
        return false;
    }
    afp->passed_joined = true;
    return true;
}

static bool afp_init_passed(VhostDPAfPacket *afp, Error **errp)
{
    g_autofree AfpSocket *s = g_new0(AfpSocket, afp->nqueues);
    AfpSocket *first = &afp->queue[0].sock;
    char name[IFNAMSIZ];
    unsigned i;

    for (i = 0; i < afp->nqueues; i++) {
        AfpSocket *sock = &afp->queue[i].sock;

        sock->fd = afp->passed.fd[i];
        if (!afp_socket_init(sock, errp)) {
            return false;
        }
        s[i] = *sock;
    }
    if (afp->nqueues > 1) {
        if (!afp_join_passed(afp, s, errp)) {
            return false;
        }
        for (i = 0; i < afp->nqueues; i++) {
            afp_flush(&afp->queue[i].sock);
        }
    }
    return afp_set_promisc(first, vhost_dp_afp_bound_to(first->fd, name),
                           errp);
}

static bool afp_open_passed(VhostDPAfPacket *afp, Error **errp)
{
    if (!afp_check_all_passed(afp, errp)) {
        if (!afp->passed_used) {
            vhost_dp_fds_reject(&afp->passed);
        }
        return false;
    }
    afp->passed_used = true;
    return afp_init_passed(afp, errp);
}

/* Leave them as they came, but for the group */
static void afp_close_passed(VhostDPAfPacket *afp)
{
    unsigned i;

    for (i = 0; i < afp->nqueues; i++) {
        AfpSocket *s = &afp->queue[i].sock;
        char name[IFNAMSIZ];

        if (s->fd >= 0) {
            vhost_dp_membership_end(&s->membership, s->fd,
                                    vhost_dp_afp_bound_to(s->fd, name));
            afp_socket_reset(s);
            s->fd = -1;
        }
    }
}

/* ---- Opening and closing ---- */

/*
 * Linux has checked and passed on UDP segmentation offload (USO) in packet
 * sockets since 6.2, and cannot be asked.
 */
static uint32_t afp_offloads(void)
{
    uint32_t offloads = VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_TSO4 |
                        VHOST_DP_OFFLOAD_TSO6 | VHOST_DP_OFFLOAD_ECN |
                        VHOST_DP_OFFLOAD_UFO;
    unsigned major = 0, minor = 0;
    struct utsname uts;

    if (uname(&uts) == 0 &&
        sscanf(uts.release, "%u.%u", &major, &minor) == 2 &&
        (major > 6 || (major == 6 && minor >= 2))) {
        offloads |= VHOST_DP_OFFLOAD_USO4 | VHOST_DP_OFFLOAD_USO6;
    }
    return offloads;
}

bool vhost_dp_afp_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    ERRP_GUARD();
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(drv);
    unsigned i;
    bool ok;

    if (afp_is_passed(afp) &&
        !vhost_dp_fds_find(&afp->passed, afp_fds_option(afp),
                           afp->fd ?: afp->fds, queue_pairs, errp)) {
        return false;
    }
    afp->nqueues = queue_pairs;
    afp->queue = g_new0(AfpQueue, queue_pairs);
    for (i = 0; i < queue_pairs; i++) {
        afp->queue[i].afp = afp;
        afp->queue[i].pair = i;
        afp->queue[i].sock.fd = -1;
        afp->queue[i].new_sock.fd = -1;
    }
    afp->active = MAKE_64BIT_MASK(0, queue_pairs);
    ok = afp_is_passed(afp) ? afp_open_passed(afp, errp) :
                              afp_open_by_name(afp, errp);
    if (!ok || !vhost_dp_afp_link_open(afp, errp)) {
        error_prepend(errp, "%s=%s: ",
                      afp_is_passed(afp) ? afp_fds_option(afp) : "ifname",
                      afp->fd ?: afp->fds ?: afp_ifname(afp));
        vhost_dp_afp_close(drv);
        return false;
    }
    afp->offloads = afp_offloads();
    trace_vhost_dp_af_packet_open(drv->id, afp->real_ifname, queue_pairs,
                                  afp->offloads);
    return true;
}

void vhost_dp_afp_close(VhostDPDriver *drv)
{
    VhostDPAfPacket *afp = VHOST_DP_AF_PACKET(drv);
    unsigned i;

    trace_vhost_dp_af_packet_close(drv->id, afp->real_ifname);
    vhost_dp_link_close(&afp->link);
    vhost_dp_wanted_filter_set(&afp->wanted, NULL);
    if (afp_is_passed(afp)) {
        afp_close_passed(afp);
    }
    for (i = 0; i < afp->nqueues; i++) {
        vhost_dp_afp_socket_close(&afp->queue[i].sock);
        vhost_dp_afp_socket_close(&afp->queue[i].new_sock);
    }
    g_free(afp->queue);
    afp->queue = NULL;
    afp->nqueues = 0;
    afp->real_ifname[0] = '\0';
}

/*
 * Members of a group cannot be bound again (EINVAL), so they are replaced: all
 * at once, as the order in which they join matters.
 */
static bool afp_replace(VhostDPAfPacket *afp, int ifindex, Error **errp)
{
    g_autofree AfpSocket *s = g_new0(AfpSocket, afp->nqueues);
    unsigned i;

    if (!afp_make_sockets(afp, s, afp->nqueues, ifindex, errp)) {
        return false;
    }
    for (i = 0; i < afp->nqueues; i++) {
        afp->queue[i].new_sock = s[i];
        vhost_dp_link_offer(&afp->link, i);
    }
    return true;
}

bool vhost_dp_afp_reopen(VhostDPAfPacket *afp, int ifindex, Error **errp)
{
    int fd = afp->queue[0].sock.fd;

    trace_vhost_dp_af_packet_reopen(afp->parent_obj.id, ifindex);
    if (!afp_check_ethernet(fd, afp->real_ifname, errp)) {
        return false;
    }
    if (afp->nqueues == 1) {
        vhost_dp_membership_forget(&afp->queue[0].sock.membership);
        return afp_socket_bind(fd, ifindex, errp) &&
               afp_set_promisc(&afp->queue[0].sock, ifindex, errp);
    }
    if (afp_is_passed(afp)) {
        error_setg(errp, "interface '%s' was deleted, and the descriptors of "
                   "fds= cannot be bound to the new one", afp->real_ifname);
        return false;
    }
    return afp_replace(afp, ifindex, errp);
}
