/*
 * vhost-dp-tap: who else uses the interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the kernel lets anybody attach a queue to an interface
 * that has several, and gives each queue a part of the frames.  It also says
 * how many queues are open, so an interface with more than ours is refused.
 *
 * Of two programs that open an interface by name at the same moment, each would
 * find the other's queue.  So they take turns, by a name in the abstract
 * namespace of UNIX sockets, which belongs to the network namespace as the
 * interface does.  Only one socket can be bound to a name, and the name is free
 * again when its process ends.  A program holds it from its first question to
 * its last queue.  One that finds it taken waits until it is free, or until the
 * other has attached a queue.  Any program may hold that name, so the wait is
 * bounded, and the kernel's count of queues decides.
 *
 * Passed descriptors need no such turn: the program that opened them knows to
 * whom it gave others.
 */

#include "qemu/osdep.h"
#include <linux/netlink.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include "qemu/sockets.h"
#include "qapi/error.h"
#include "net/tap-linux.h"
#include "tap-int.h"

#define TAP_TURN_NAME "vhost-dp-tap/"

/* How often to count queues: those of a program that ends may be there yet */
#define TAP_COUNT_TRIES 4

/* Between two tries of either */
#define TAP_STEP_US 1000

int vhost_dp_tap_find_others(const char *name, unsigned ours)
{
    int nl = qemu_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    unsigned n;
    bool others;

    if (nl < 0) {
        return errno == EMFILE || errno == ENFILE ? errno : 0;
    }
    others = vhost_dp_if_tap_queues(nl, name, &n) && n > ours;
    close(nl);
    return others ? EBUSY : 0;
}

/* Returns a socket that has the turn, or -1 with errno set */
static int tap_try_turn(const char *name)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = qemu_socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t len;
    int err;

    if (fd < 0) {
        return -1;
    }
    /* The first byte is 0: no file */
    len = snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1,
                   TAP_TURN_NAME "%s", name);
    len += offsetof(struct sockaddr_un, sun_path) + 1;
    if (bind(fd, (struct sockaddr *)&addr, len) < 0) {
        err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

int vhost_dp_tap_take_turn(const char *name, unsigned tries)
{
    int fd = -1;
    int err = 0;
    unsigned i;

    for (i = 0; i < tries; i++) {
        if (i) {
            g_usleep(TAP_STEP_US);
        }
        fd = tap_try_turn(name);
        err = errno;
        if (fd >= 0 || err != EADDRINUSE ||
            vhost_dp_tap_find_others(name, 0)) {
            break;
        }
    }
    errno = err;
    return fd;
}

void vhost_dp_tap_end_turn(int turn)
{
    if (turn >= 0) {
        close(turn);
    }
}

void vhost_dp_tap_count_queues(VhostDPTap *tap, int nl, const char *name)
{
    unsigned i;

    for (i = 0; i < TAP_COUNT_TRIES; i++) {
        if (i) {
            g_usleep(TAP_STEP_US);
        }
        if (!vhost_dp_if_tap_queues(nl, name, &tap->nopen) ||
            tap->nopen <= tap->nqueues) {
            break;
        }
    }
}

bool vhost_dp_tap_check_others(VhostDPTap *tap, Error **errp)
{
    ERRP_GUARD();
    struct ifreq detach = { .ifr_flags = IFF_DETACH_QUEUE };
    unsigned i;

    if (!tap->passed.n || tap->nopen <= tap->nqueues) {
        return true;
    }
    /* The kernel must not give our queues frames of the other program */
    for (i = 0; i < tap->passed.n; i++) {
        ioctl(tap->passed.fd[i], TUNSETQUEUE, &detach);
    }
    error_setg(errp, "%s=%s: interface '%s' is in use: it has %u open queues, "
               "and %s here", vhost_dp_tap_fds_option(tap), tap->fd ?: tap->fds,
               tap->real_ifname, tap->nopen,
               tap->nqueues == 1 ? "one of them is" : "not all of them are");
    error_append_hint(errp, "Another program has the others, and would get a "
                      "part of the frames: end that, or pass descriptors of "
                      "another interface.\n");
    return false;
}
