/*
 * vhost-dp: descriptors that the user passes with fd= or fds=
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a driver finds its descriptors when it is opened for
 * the first time, and keeps them until the object goes, so that it can be
 * claimed again.  Everything here runs under the BQL.
 *
 * A descriptor has one owner, who closes it.  One that QEMU has inherited lacks
 * FD_CLOEXEC, because exec() would have closed it otherwise; those that QEMU
 * opens have it.  Numbers that objects have taken are in a table, so that
 * another object that is given the same number can be told.  They must not get
 * the flag: with cpr-exec the QEMU that follows finds them under their numbers.
 */

#include "qemu/osdep.h"
#include "qemu/ctype.h"
#include "qapi/error.h"
#include "monitor/monitor.h"
#include "fds.h"

/* fd=, vhostfd= and the like take one descriptor, fds= and the like more */
static bool fds_takes_many(const char *option)
{
    return g_str_has_suffix(option, "s");
}

unsigned vhost_dp_fds_count(const char *option, const char *list,
                            Error **errp)
{
    ERRP_GUARD();
    g_auto(GStrv) names = g_strsplit(list, ":", VHOST_DP_FDS_MAX + 1);
    unsigned n = g_strv_length(names);
    unsigned i;

    if (n > VHOST_DP_FDS_MAX) {
        error_setg(errp, "%s=%s: there are more than %d descriptors", option,
                   list, VHOST_DP_FDS_MAX);
        return 0;
    }
    if (n > 1 && !fds_takes_many(option)) {
        error_setg(errp, "%s=%s: there are %u descriptors, and %s= takes one",
                   option, list, n, option);
        return 0;
    }
    for (i = 0; i < n; i++) {
        if (!*names[i]) {
            break;
        }
    }
    if (!n || i < n) {
        error_setg(errp, "%s=%s: descriptor %u is empty", option, list, i + 1);
        error_append_hint(errp, "It is a number, or the name that was given "
                          "to getfd; several are separated by colons.\n");
        return 0;
    }
    return n;
}

static void fds_clear(VhostDPFds *fds)
{
    g_free(fds->fd);
    g_strfreev(fds->name);
    *fds = (VhostDPFds) {};
}

static bool fds_by_number(const char *name)
{
    return qemu_isdigit(name[0]);
}

static bool fds_has(const VhostDPFds *fds, int fd)
{
    unsigned i;

    for (i = 0; i < fds->n; i++) {
        if (fds->fd[i] == fd) {
            return true;
        }
    }
    return false;
}

/* Numbers of descriptors that objects have taken.  BQL. */
static GHashTable *fds_taken;

static void fds_give_back_number(int fd)
{
    if (fds_taken) {
        g_hash_table_remove(fds_taken, GINT_TO_POINTER(fd));
    }
}

/* What is no descriptor at all is for the caller to refuse, by its kind */
static bool fds_take_number(VhostDPFds *fds, int fd, Error **errp)
{
    ERRP_GUARD();
    int flags = fcntl(fd, F_GETFD);

    if (flags < 0) {
        return true;
    }
    if (!fds_taken) {
        fds_taken = g_hash_table_new(NULL, NULL);
    }
    if ((flags & FD_CLOEXEC) ||
        g_hash_table_contains(fds_taken, GINT_TO_POINTER(fd))) {
        if (fds_has(fds, fd)) {
            error_setg(errp, "descriptor %d is listed twice", fd);
        } else {
            error_setg(errp, "descriptor %d is in use by QEMU", fd);
            error_append_hint(errp, "A descriptor can be given to one object "
                              "only, and must be one that QEMU was started "
                              "with.\n");
        }
        return false;
    }
    g_hash_table_add(fds_taken, GINT_TO_POINTER(fd));
    return true;
}

bool vhost_dp_fds_find(VhostDPFds *fds, const char *option, const char *list,
                       unsigned queue_pairs, Error **errp)
{
    ERRP_GUARD();
    unsigned n = vhost_dp_fds_count(option, list, errp);

    if (!n) {
        return false;
    }
    if (n != queue_pairs) {
        error_setg(errp, "%s=%s: there are %u descriptors, and queues=%u of "
                   "the netdev needs %u", option, list, n, queue_pairs,
                   queue_pairs);
        error_append_hint(errp, "Pass one for each queue pair, or fewer, which "
                          "the queue pairs then share.\n");
        return false;
    }
    if (fds->n) {
        return true;
    }
    fds->name = g_strsplit(list, ":", n);
    fds->fd = g_new(int, n);
    for (fds->n = 0; fds->n < n; fds->n++) {
        const char *name = fds->name[fds->n];
        int fd = monitor_fd_param(monitor_cur(), name, errp);

        if (fd < 0 ||
            (fds_by_number(name) && !fds_take_number(fds, fd, errp))) {
            error_prepend(errp, "%s=%s: ", option, list);
            vhost_dp_fds_reject(fds);
            return false;
        }
        fds->fd[fds->n] = fd;
    }
    return true;
}

void vhost_dp_fds_reject(VhostDPFds *fds)
{
    unsigned i;

    for (i = 0; i < fds->n; i++) {
        if (fds_by_number(fds->name[i])) {
            fds_give_back_number(fds->fd[i]);
        } else {
            close(fds->fd[i]);
        }
    }
    fds_clear(fds);
}

void vhost_dp_fds_close(VhostDPFds *fds)
{
    unsigned i;

    for (i = 0; i < fds->n; i++) {
        if (fds_by_number(fds->name[i])) {
            fds_give_back_number(fds->fd[i]);
        }
        close(fds->fd[i]);
    }
    fds_clear(fds);
}
