/*
 * vhost-dp-tap: getting the descriptors of a TAP interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs under the BQL, between claim and release.  Each
 * queue pair has a descriptor, which is one queue of the interface: opened by
 * name here (IFF_MULTI_QUEUE if there are more than one, linux/if_tun.h), or
 * opened by somebody else and passed with fd= or fds=.  A passed one is kept
 * until the object goes, so that the driver can be claimed again, and may as
 * well be that of a macvtap interface.
 *
 * An interface that exists is attached to; one that was created without
 * multi_queue has one queue, whatever the netdev asks for.  One that does not
 * exist is created, and goes away with its last descriptor.  No script is run:
 * addresses and bridges are the administrator's business.  With fd= and fds=,
 * QEMU needs no privileges.
 *
 * One that somebody else uses is refused, see tap-share.c.
 *
 * An interface that was deleted and comes back is opened by name once more,
 * in the thread of its watch: see tap-link.c.  The options cannot change then.
 */

#include "qemu/osdep.h"
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include "qemu/cutils.h"
#include "qemu/sockets.h"
#include "qapi/error.h"
#include "net/tap-linux.h"
#include "net/tap_int.h"
#include "tap-int.h"
#include "trace.h"

#define TAP_DEVICE "/dev/net/tun"

/* The device number of TAP_DEVICE (Documentation/admin-guide/devices.txt) */
#define TAP_MAJOR 10
#define TAP_MINOR 200

void vhost_dp_tap_get_name(VhostDPTap *tap, char *name)
{
    pstrcpy(name, IFNAMSIZ, tap->real_ifname);
    if (tap->link.watch) {
        vhost_dp_ifwatch_read(tap->link.watch, name, NULL);
    }
}

/* ---- By name ---- */

/* Milliseconds to wait, as a rule until the other has attached a queue */
#define TAP_TURN_TRIES 100

/* What the interface's driver says it is */
static bool tap_name_is_tap(const char *name)
{
    struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
    struct ifreq ifr = { .ifr_data = (void *)&info };
    int sock = qemu_socket(AF_INET, SOCK_DGRAM, 0);
    bool is_tap;

    if (sock < 0) {
        return false;
    }
    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    is_tap = ioctl(sock, SIOCETHTOOL, &ifr) == 0 &&
             !strcmp(info.driver, "tun") && !strcmp(info.bus_info, "tap");
    close(sock);
    return is_tap;
}

static void tap_name_error_perm(VhostDPTap *tap, const char *name, bool exists,
                                unsigned queue_pairs, Error **errp)
{
    ERRP_GUARD();

    if (exists) {
        error_setg(errp, "ifname=%s: no permission to use the interface", name);
        error_append_hint(errp, "It belongs to another user: create it with "
                          "'user NAME', give QEMU CAP_NET_ADMIN, or pass "
                          "open descriptors with fd= or fds=.\n");
        return;
    }
    error_setg(errp, "ifname=%s: there is no such interface, and no permission "
               "to create it", name);
    error_append_hint(errp, "Let the administrator create it: "
                      "ip tuntap add mode tap %sname %s user NAME\n"
                      "or give QEMU CAP_NET_ADMIN, or pass open "
                      "descriptors with fd= or fds=.\n",
                      queue_pairs > 1 ? "multi_queue " : "", name);
}

/* TUNSETIFF failed with @err for queue @i of interface @name */
static void tap_name_error(VhostDPTap *tap, const char *name, bool exists,
                           unsigned i, unsigned queue_pairs, int err,
                           Error **errp)
{
    ERRP_GUARD();

    if (err == EPERM) {
        tap_name_error_perm(tap, name, exists, queue_pairs, errp);
    } else if (err == EBUSY) {
        error_setg(errp, "ifname=%s: the interface is in use", name);
        error_append_hint(errp, "Another program or driver has it open, and "
                          "would get a part of the frames: end that, or "
                          "choose another interface.\n");
    } else if (err == E2BIG) {
        error_setg(errp, "ifname=%s: queues=%u is more than the %u queues that "
                   "the interface has left", name, queue_pairs, i);
        error_append_hint(errp, "An interface has %u queues, for all of its "
                          "users.\n", TAP_MAX_QUEUES);
    } else if (err == EINVAL && exists && !tap_name_is_tap(name)) {
        error_setg(errp, "ifname=%s: the interface exists, and is not a tap",
                   name);
        error_append_hint(errp, "Choose another name with ifname=.\n");
    } else if (err == EINVAL && exists) {
        error_setg(errp, "ifname=%s: the interface was created without "
                   "multi_queue, and queues=%u needs it", name, queue_pairs);
        error_append_hint(errp, "Delete it and create it anew: "
                          "ip tuntap add mode tap multi_queue name %s\n",
                          name);
    } else {
        error_setg_errno(errp, err, "ifname=%s: cannot use the interface",
                         name);
    }
}

static int tap_open_device(VhostDPTap *tap, const char *name, Error **errp)
{
    ERRP_GUARD();
    int fd = RETRY_ON_EINTR(qemu_open_old(TAP_DEVICE, O_RDWR | O_NONBLOCK));
    int err = errno;

    if (fd < 0) {
        error_setg_errno(errp, err, "ifname=%s: cannot open %s", name,
                         TAP_DEVICE);
        if (err == ENOENT || err == ENODEV) {
            error_append_hint(errp, "Load the kernel's driver with: "
                              "modprobe tun\n"
                              "or let QEMU have the device, if it is in a "
                              "container (libvirt: cgroup_device_acl).\n");
        }
        error_append_hint(errp, "Or pass open descriptors with fd= or fds=.\n");
    }
    return fd;
}

/*
 * The first to attach to an interface decides for all of its queues.  Somebody
 * may be there before us without a virtio-net header, such as ip(8), which
 * makes an interface by attaching to it.
 */
static bool tap_has_header(int fd)
{
    struct ifreq ifr = {};

    return ioctl(fd, TUNGETIFF, &ifr) < 0 || (ifr.ifr_flags & IFF_VNET_HDR);
}

/*
 * Attach to a queue of interface @name, the @i'th for us, or create it.
 * Returns a descriptor, or -1.
 */
static int tap_attach_by_name(VhostDPTap *tap, const char *name, unsigned i,
                              unsigned queue_pairs, Error **errp)
{
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    bool exists = if_nametoindex(name) != 0;
    int fd = tap_open_device(tap, name, errp);
    int err;

    if (fd < 0) {
        return -1;
    }
    pstrcpy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
    if (queue_pairs > 1) {
        ifr.ifr_flags |= IFF_MULTI_QUEUE;
    }
    err = exists ? vhost_dp_tap_find_others(name, i) : 0;
    if (!err && ioctl(fd, TUNSETIFF, &ifr) < 0) {
        err = errno;
    }
    if (err == EINVAL && exists &&
        (queue_pairs == 1 || (i == 0 && !tap->link.watch))) {
        /* An interface has to be opened with the flag that it was made with */
        ifr.ifr_flags ^= IFF_MULTI_QUEUE;
        err = ioctl(fd, TUNSETIFF, &ifr) < 0 ? errno : 0;
    }
    /* Somebody may have come between */
    if (!err) {
        err = tap_has_header(fd) ?
              vhost_dp_tap_find_others(ifr.ifr_name, i + 1) : EBUSY;
    }
    if (err) {
        close(fd);
        tap_name_error(tap, name, exists, i, queue_pairs, err, errp);
        return -1;
    }
    return fd;
}

static bool tap_open_queues_by_name(VhostDPTap *tap, unsigned queue_pairs,
                                    Error **errp)
{
    struct ifreq ifr = {};
    unsigned i;

    for (i = 0; i < queue_pairs; i++) {
        int fd = tap_attach_by_name(tap, tap->real_ifname, i, queue_pairs,
                                    errp);

        if (fd < 0) {
            return false;
        }
        tap->queue[i].fd = fd;
        /* The kernel may have put a number into the name */
        if (ioctl(fd, TUNGETIFF, &ifr) == 0) {
            pstrcpy(tap->real_ifname, sizeof(tap->real_ifname), ifr.ifr_name);
            if (!(ifr.ifr_flags & IFF_MULTI_QUEUE)) {
                /* All of the netdev's queue pairs share the one queue */
                tap->one_queue = true;
                tap->nqueues = 1;
                break;
            }
        }
    }
    return true;
}

static bool tap_open_by_name(VhostDPTap *tap, unsigned queue_pairs,
                             Error **errp)
{
    bool ok;
    int turn;

    pstrcpy(tap->real_ifname, sizeof(tap->real_ifname),
            tap->ifname ?: tap->parent_obj.id);
    turn = vhost_dp_tap_take_turn(tap->real_ifname, TAP_TURN_TRIES);
    ok = tap_open_queues_by_name(tap, queue_pairs, errp);
    vhost_dp_tap_end_turn(turn);
    return ok;
}

/* ---- Descriptors from outside ---- */

bool vhost_dp_tap_fd_is_tun(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
           st.st_rdev == makedev(TAP_MAJOR, TAP_MINOR);
}

/*
 * Is @fd, which the user calls @name, a tap with a virtio-net header?  @ifr is
 * set to the interface's name and flags.
 */
static bool tap_check_fd(VhostDPTap *tap, int fd, const char *name,
                         struct ifreq *ifr, Error **errp)
{
    ERRP_GUARD();
    struct ifreq attach = { .ifr_flags = IFF_ATTACH_QUEUE };
    g_autofree char *what = tap->fd ? g_strdup_printf("fd=%s", name) :
                            g_strdup_printf("fds=%s: %s", tap->fds, name);

    memset(ifr, 0, sizeof(*ifr));
    if (ioctl(fd, TUNGETIFF, ifr) < 0 || !(ifr->ifr_flags & IFF_TAP)) {
        error_setg(errp, "%s is not a descriptor of a tap interface", what);
        error_append_hint(errp, "Open %s and use TUNSETIFF with IFF_TAP | "
                          "IFF_NO_PI | IFF_VNET_HDR.\n", TAP_DEVICE);
        return false;
    }
    if (!(ifr->ifr_flags & IFF_VNET_HDR)) {
        error_setg(errp, "%s: interface '%s' was opened without a virtio-net "
                   "header (vnet_hdr)", what, ifr->ifr_name);
        error_append_hint(errp, "Use IFF_VNET_HDR with TUNSETIFF.\n");
        return false;
    }
    if (!(ifr->ifr_flags & IFF_NO_PI)) {
        error_setg(errp, "%s: interface '%s' was opened with packet "
                   "information", what, ifr->ifr_name);
        error_append_hint(errp, "Use IFF_NO_PI with TUNSETIFF.\n");
        return false;
    }
    /* The last user of the descriptor may have detached the queue */
    if ((ifr->ifr_flags & IFF_DETACH_QUEUE) &&
        ioctl(fd, TUNSETQUEUE, &attach) < 0) {
        error_setg_errno(errp, errno, "%s is a detached queue of interface "
                         "'%s' and cannot be attached", what, ifr->ifr_name);
        return false;
    }
    return true;
}

/* Do the passed descriptors make one interface? */
static bool tap_check_passed(VhostDPTap *tap, Error **errp)
{
    ERRP_GUARD();
    const int *fd = tap->passed.fd;
    char **name = tap->passed.name;
    unsigned n = tap->passed.n;
    struct ifreq first, other;
    unsigned i;

    for (i = 0; i < n; i++) {
        struct ifreq *ifr = i ? &other : &first;

        if (!tap_check_fd(tap, fd[i], name[i], ifr, errp)) {
            return false;
        }
        if (strcmp(ifr->ifr_name, first.ifr_name)) {
            error_setg(errp, "fds=%s: %s is of interface '%s', and %s of '%s'",
                       tap->fds, name[0], first.ifr_name, name[i],
                       ifr->ifr_name);
            error_append_hint(errp, "All have to be queues of one "
                              "interface.\n");
            return false;
        }
        if (n > 1 && vhost_dp_tap_fd_is_tun(fd[i]) &&
            !(ifr->ifr_flags & IFF_MULTI_QUEUE)) {
            error_setg(errp, "fds=%s: interface '%s' was opened without "
                       "multi_queue", tap->fds, ifr->ifr_name);
            error_append_hint(errp, "Use IFF_MULTI_QUEUE with TUNSETIFF for "
                              "each descriptor.\n");
            return false;
        }
    }
    pstrcpy(tap->real_ifname, sizeof(tap->real_ifname), first.ifr_name);
    return true;
}

static bool tap_open_passed(VhostDPTap *tap, unsigned queue_pairs,
                            Error **errp)
{
    bool found_before = tap->passed.n;
    unsigned i;

    if (!vhost_dp_fds_find(&tap->passed, vhost_dp_tap_fds_option(tap),
                           tap->fd ?: tap->fds, queue_pairs, errp)) {
        return false;
    }
    /* If they were found before, the interface may have gone since */
    if (!tap_check_passed(tap, errp)) {
        if (!found_before) {
            vhost_dp_fds_reject(&tap->passed);
        }
        return false;
    }
    for (i = 0; i < queue_pairs; i++) {
        tap->queue[i].fd = tap->passed.fd[i];
    }
    return true;
}

/* ---- Both ---- */

static bool tap_configure(VhostDPTap *tap, int fd, Error **errp)
{
    int sndbuf = tap->sndbuf ? MIN(tap->sndbuf, INT_MAX) : INT_MAX;
    int hdr_len = VHOST_DP_TAP_GET_CLASS(tap)->hdr_len;
    int little_endian = 1;
    GError *gerr = NULL;

    if (!g_unix_set_fd_nonblocking(fd, true, &gerr)) {
        error_setg(errp, "descriptor %d cannot be made non-blocking: %s", fd,
                   gerr->message);
        g_error_free(gerr);
        return false;
    }
    /* A persistent tap remembers what its last user set */
    if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_len) < 0) {
        error_setg_errno(errp, errno, "cannot set the size of the virtio-net "
                         "header");
        return false;
    }
    if (ioctl(fd, TUNSETVNETLE, &little_endian) < 0 && HOST_BIG_ENDIAN) {
        error_setg_errno(errp, errno, "cannot set the byte order of the "
                         "virtio-net header");
        return false;
    }
    /* Also without the option: the last user may have set a limit */
    if (ioctl(fd, TUNSETSNDBUF, &sndbuf) < 0 && tap->has_sndbuf) {
        error_setg_errno(errp, errno, "sndbuf=%" PRIu64 ": cannot limit what "
                         "the interface's send buffer takes", tap->sndbuf);
        return false;
    }
    return true;
}

void vhost_dp_tap_apply_offloads(int fd, uint32_t offloads)
{
    NetOffloads ol = {
        .csum = offloads & VHOST_DP_OFFLOAD_CSUM,
        .tso4 = offloads & VHOST_DP_OFFLOAD_TSO4,
        .tso6 = offloads & VHOST_DP_OFFLOAD_TSO6,
        .ecn = offloads & VHOST_DP_OFFLOAD_ECN,
        .ufo = offloads & VHOST_DP_OFFLOAD_UFO,
        .uso4 = offloads & VHOST_DP_OFFLOAD_USO4,
        .uso6 = offloads & VHOST_DP_OFFLOAD_USO6,
    };

    tap_fd_set_offload(fd, &ol);
}

static void tap_probe_offloads(VhostDPTap *tap, int fd)
{
    tap->offloads = VHOST_DP_OFFLOAD_CSUM | VHOST_DP_OFFLOAD_TSO4 |
                    VHOST_DP_OFFLOAD_TSO6 | VHOST_DP_OFFLOAD_ECN;
    if (tap_probe_has_ufo(fd)) {
        tap->offloads |= VHOST_DP_OFFLOAD_UFO;
    }
    if (tap_probe_has_uso(fd)) {
        tap->offloads |= VHOST_DP_OFFLOAD_USO4 | VHOST_DP_OFFLOAD_USO6;
    }
    qatomic_set(&tap->rx_offloads, 0);
    vhost_dp_tap_apply_offloads(fd, 0);
}

static void tap_close_queues(VhostDPTap *tap)
{
    unsigned i;

    vhost_dp_link_close(&tap->link);
    for (i = 0; i < tap->nqueues; i++) {
        vhost_dp_tap_close_swap(&tap->queue[i]);
        /* The next user of a passed descriptor expects it as it was */
        vhost_dp_tap_set_queue(&tap->queue[i], true);
        if (!tap->passed.n && tap->queue[i].fd >= 0) {
            close(tap->queue[i].fd);
        }
        g_free(tap->queue[i].fault);
    }
    g_free(tap->queue);
    tap->queue = NULL;
    tap->nqueues = 0;
    tap->one_queue = false;
    tap->real_ifname[0] = '\0';
}

bool vhost_dp_tap_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);
    bool ok;
    unsigned i;

    tap->queue = g_new0(TapQueue, queue_pairs);
    tap->nqueues = queue_pairs;
    for (i = 0; i < queue_pairs; i++) {
        tap->queue[i].tap = tap;
        tap->queue[i].fd = -1;
        tap->queue[i].new_fd = -1;
        tap->queue[i].old_fd = -1;
    }

    ok = tap->fd || tap->fds ? tap_open_passed(tap, queue_pairs, errp) :
                               tap_open_by_name(tap, queue_pairs, errp);
    ok = ok && vhost_dp_tap_link_open(tap, errp) &&
         vhost_dp_tap_check_others(tap, errp);
    for (i = 0; ok && i < tap->nqueues; i++) {
        ok = tap_configure(tap, tap->queue[i].fd, errp);
    }
    if (!ok) {
        tap_close_queues(tap);
        return false;
    }
    tap_probe_offloads(tap, tap->queue[0].fd);
    trace_vhost_dp_tap_open(drv->id, tap->real_ifname, tap->nqueues,
                            tap->queue[0].fd, tap->offloads);
    return true;
}

/* The number of interface @name.  Returns 0 with @errp set if there is none. */
static int tap_get_ifindex(int sock, const char *name, Error **errp)
{
    int ifindex;

    vhost_dp_if_state(sock, name, &ifindex);
    if (!ifindex && errno == ENODEV) {
        error_setg(errp, "interface '%s' was deleted", name);
    } else if (!ifindex) {
        error_setg_errno(errp, errno, "cannot find interface '%s'", name);
    }
    return ifindex;
}

int vhost_dp_tap_reopen(VhostDPTap *tap, unsigned i, int sock, Error **errp)
{
    const char *name = tap->real_ifname;
    int ifindex = tap_get_ifindex(sock, name, errp);
    int fd, now;

    if (!ifindex) {
        return -1;
    }
    fd = tap_attach_by_name(tap, name, i, tap->nqueues, errp);
    if (fd < 0) {
        vhost_dp_driver_prepend(&tap->parent_obj, errp);
        return -1;
    }
    /*
     * If the interface was deleted meanwhile, TUNSETIFF has made a new one,
     * which goes with the descriptor.
     */
    now = tap_get_ifindex(sock, name, errp);
    if (now && now != ifindex) {
        error_setg(errp, "interface '%s' was deleted", name);
    }
    if (now != ifindex) {
        close(fd);
        return -1;
    }
    if (!tap_configure(tap, fd, errp)) {
        vhost_dp_driver_prepend(&tap->parent_obj, errp);
        close(fd);
        return -1;
    }
    return fd;
}

void vhost_dp_tap_close(VhostDPDriver *drv)
{
    VhostDPTap *tap = VHOST_DP_TAP(drv);

    trace_vhost_dp_tap_close(drv->id, tap->real_ifname);
    tap_close_queues(tap);
}
