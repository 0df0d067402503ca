/*
 * vhost-dp-slirp: what its two files share
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NET_VHOST_DP_SLIRP_H
#define NET_VHOST_DP_SLIRP_H

#include <libslirp.h>
#include "net/vhost-dp.h"
#include "qapi/qapi-builtin-types.h"

/* What the user wrote; strings are NULL, and lists empty, by default */
typedef struct SlirpOptions {
    bool restricted;
    bool ipv4;
    bool ipv6;
    char *net;
    char *host;
    char *dhcpstart;
    char *dns;
    char *ipv6_prefix;
    uint8_t ipv6_prefixlen;
    char *ipv6_host;
    char *ipv6_dns;
    char *hostname;
    char *domainname;
    strList *dnssearch;
    char *tftp;
    char *tftp_server_name;
    char *bootfile;
    strList *hostfwd;
} SlirpOptions;

/* A port of the host that leads to one of the guest */
typedef struct SlirpHostFwd {
    const char *text;           /* as the user wrote it */
    bool udp;
    struct in_addr host_addr;
    struct in_addr guest_addr;  /* 0.0.0.0: the first address DHCP gives */
    uint16_t host_port;
    uint16_t guest_port;
} SlirpHostFwd;

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
 * vhost_dp_slirp_options_parse: turn what the user wrote into libslirp's form
 * @id: of the driver object, for messages
 * @cfg: filled in; refers to @opts' strings
 * @dnssearch: set to what @cfg refers to, to be freed with g_free() after
 *             the last use of @cfg
 *
 * Touches nothing of the host.  Returns false with @errp set.
 */
bool vhost_dp_slirp_options_parse(const SlirpOptions *opts, const char *id,
                                  SlirpConfig *cfg, const char ***dnssearch,
                                  Error **errp);

/**
 * vhost_dp_slirp_hostfwd_parse: parse one forwarded port
 * @text: "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport"
 * @id: of the driver object, for messages
 *
 * Returns false with @errp set.
 */
bool vhost_dp_slirp_hostfwd_parse(const char *text, const char *id,
                                  SlirpHostFwd *fwd, Error **errp);

#endif /* NET_VHOST_DP_SLIRP_H */
