/*
 * vhost-dp: descriptors that the user passes with fd= or fds=
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_DRIVERS_LIB_FDS_H
#define NET_VHOST_DP_DRIVERS_LIB_FDS_H

/* The most that one option can name */
#define VHOST_DP_FDS_MAX 256

typedef struct VhostDPFds {
    unsigned n;                 /* 0 until they were found */
    int *fd;
    char **name;                /* n, as the user wrote them */
} VhostDPFds;

/**
 * vhost_dp_fds_count: check the syntax of fd= or fds=
 * @option: its name; one that does not end in "s" takes one descriptor only
 * @list: numbers, or names given to getfd, separated by colons
 *
 * Thread: any.  Lock: none.  Returns their number, or 0 with @errp set.
 */
unsigned vhost_dp_fds_count(const char *option, const char *list,
                            Error **errp);

/**
 * vhost_dp_fds_find: get the descriptors that @list names, one for each of
 * @queue_pairs
 *
 * If @fds has them already, from before, only their number is checked.
 *
 * A name given to getfd can be used once: afterwards the descriptor belongs to
 * @fds.  So does one that was given as a number, except that it is left open
 * by vhost_dp_fds_reject().  A number that belongs to somebody else in QEMU, or
 * that @list has twice, is an error.
 *
 * Lock: BQL.  Returns false with @errp set; @fds is as it was then.
 */
bool vhost_dp_fds_find(VhostDPFds *fds, const char *option, const char *list,
                       unsigned queue_pairs, Error **errp);

/**
 * vhost_dp_fds_reject: give up descriptors that turned out to be unsuitable
 *
 * Closes those that came by getfd.  A number may have been anything, standard
 * input too, so these stay open, and can be given to another object.
 */
void vhost_dp_fds_reject(VhostDPFds *fds);

/* Close all.  @fds is empty afterwards, and may have been before. */
void vhost_dp_fds_close(VhostDPFds *fds);

#endif /* NET_VHOST_DP_DRIVERS_LIB_FDS_H */
