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
 * vhost_dp_fds_count: check the syntax of fd= or fds=, in check_options
 * @option: the option's name; without an "s" at its end, one descriptor only
 * @list: numbers, or names given to getfd, separated by colons
 *
 * Thread: any.  Lock: none.  Returns the number of descriptors, or 0 with @errp
 * set.
 */
unsigned vhost_dp_fds_count(const char *option, const char *list,
                            Error **errp);

/**
 * vhost_dp_fds_find: get the descriptors that @list names, in open
 *
 * There must not be more than @queue_pairs, and are not fewer, as get_caps()
 * has said how many there are.  If @fds has them from an earlier open, only
 * their number is checked.  close of a driver leaves them
 * open, so that another netdev can claim the driver.
 *
 * @fds owns the descriptors from now on, until vhost_dp_fds_close().  A name
 * given to getfd can be used only once.  A number that is in use in QEMU, or
 * that @list has twice, is an error.
 *
 * Lock: BQL.  Returns false with @errp set; then @fds is unchanged.
 */
bool vhost_dp_fds_find(VhostDPFds *fds, const char *option, const char *list,
                       unsigned queue_pairs, Error **errp);

/**
 * vhost_dp_fds_reject: give up descriptors that are not suitable
 *
 * Closes descriptors that came by getfd.  A number may be anything, also
 * standard input, so such a descriptor stays open, and can be given to another
 * object.  Lock: BQL.
 */
void vhost_dp_fds_reject(VhostDPFds *fds);

/*
 * Close all descriptors, in instance_finalize.  @fds may be empty, and is so
 * afterwards.  Lock: BQL.
 */
void vhost_dp_fds_close(VhostDPFds *fds);

#endif /* NET_VHOST_DP_DRIVERS_LIB_FDS_H */
