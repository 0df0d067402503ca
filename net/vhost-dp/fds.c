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
 */

#include "qemu/osdep.h"
#include "qemu/ctype.h"
#include "qapi/error.h"
#include "monitor/monitor.h"
#include "fds.h"

unsigned vhost_dp_fds_count(const char *what, const char *list, Error **errp)
{
    ERRP_GUARD();
    g_auto(GStrv) names = g_strsplit(list, ":", VHOST_DP_FDS_MAX + 1);
    unsigned n = g_strv_length(names);
    unsigned i;

    if (n > VHOST_DP_FDS_MAX) {
        error_setg(errp, "%s%s: there are more than %d descriptors", what,
                   list, VHOST_DP_FDS_MAX);
        return 0;
    }
    for (i = 0; i < n; i++) {
        if (!*names[i]) {
            break;
        }
    }
    if (!n || i < n) {
        error_setg(errp, "%s%s: descriptor %u is empty", what, list, i + 1);
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

bool vhost_dp_fds_find(VhostDPFds *fds, const char *what, const char *list,
                       Error **errp)
{
    ERRP_GUARD();
    unsigned n = vhost_dp_fds_count(what, list, errp);

    if (!n) {
        return false;
    }
    fds->name = g_strsplit(list, ":", n);
    fds->fd = g_new(int, n);
    for (fds->n = 0; fds->n < n; fds->n++) {
        int fd = monitor_fd_param(monitor_cur(), fds->name[fds->n], errp);

        if (fd < 0) {
            error_prepend(errp, "%s%s: ", what, list);
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
        if (!qemu_isdigit(fds->name[i][0])) {
            close(fds->fd[i]);
        }
    }
    fds_clear(fds);
}

void vhost_dp_fds_close(VhostDPFds *fds)
{
    unsigned i;

    for (i = 0; i < fds->n; i++) {
        close(fds->fd[i]);
    }
    fds_clear(fds);
}
