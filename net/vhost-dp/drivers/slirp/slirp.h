/*
 * vhost-dp-slirp: its options
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_DRIVERS_SLIRP_SLIRP_H
#define NET_VHOST_DP_DRIVERS_SLIRP_SLIRP_H

#include "net/vhost-dp.h"
#include "qapi/qapi-types-net.h"

/*
 * The beginning of an object: what the user wrote.  Strings are NULL, and lists
 * empty, by default.
 */
typedef struct SlirpOptions {
    VhostDPDriver parent_obj;

    NetdevUserOptions user;
    char *ipv6_net;             /* in place of two of @user's */
    strList *dnssearch;         /* in place of @user's */
    strList *hostfwd;
    strList *guestfwd;
} SlirpOptions;

/* All options of a vhost-dp-slirp */
extern const VhostDPOption vhost_dp_slirp_options[];

/**
 * vhost_dp_slirp_options_init: set the defaults
 */
void vhost_dp_slirp_options_init(SlirpOptions *opts);

/**
 * vhost_dp_slirp_options_get: the options as -netdev user has them
 *
 * Any thread, with the BQL.  Returns a copy that is the caller's, or NULL with
 * @errp set.
 */
NetdevUserOptions *vhost_dp_slirp_options_get(const SlirpOptions *opts,
                                              Error **errp);

#endif /* NET_VHOST_DP_DRIVERS_SLIRP_SLIRP_H */
