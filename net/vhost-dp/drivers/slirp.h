/*
 * vhost-dp-slirp: what its two files share
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_DRIVERS_SLIRP_H
#define NET_VHOST_DP_DRIVERS_SLIRP_H

#include "net/vhost-dp.h"
#include "qapi/qapi-types-net.h"

/* What the user wrote; strings are NULL, and lists empty, by default */
typedef struct SlirpOptions {
    NetdevUserOptions user;
    char *ipv6_net;             /* in place of two of @user's */
} SlirpOptions;

/**
 * vhost_dp_slirp_options_init: set the defaults
 */
void vhost_dp_slirp_options_init(SlirpOptions *opts);

/**
 * vhost_dp_slirp_options_free: free strings and lists
 */
void vhost_dp_slirp_options_free(SlirpOptions *opts);

/**
 * vhost_dp_slirp_options_add_properties: make the options properties of a class
 * @offset: of the SlirpOptions in an instance, which is a VhostDPDriver
 */
void vhost_dp_slirp_options_add_properties(ObjectClass *oc, size_t offset);

/**
 * vhost_dp_slirp_options_get: the options as -netdev user has them
 *
 * Any thread, with the BQL.  Returns a copy that is the caller's, or NULL with
 * @errp set.
 */
NetdevUserOptions *vhost_dp_slirp_options_get(const SlirpOptions *opts,
                                              Error **errp);

#endif /* NET_VHOST_DP_DRIVERS_SLIRP_H */
