/*
 * vhost-dp-slirp: options
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: each option of -netdev user is an option here.  The
 * values are kept as the user wrote them, so that they read back; net/slirp.c
 * parses them, for both.  All of it runs under the BQL.
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-net.h"
#include "slirp.h"

void vhost_dp_slirp_options_init(SlirpOptions *opts)
{
    /* Defaults, as reading the properties shows them; has_* stay false */
    opts->user.ipv4 = true;
    opts->user.ipv6 = true;
    opts->user.ipv6_prefixlen = 64;
}

/* ---- The table ---- */

#define SLIRP_OPTION(name, type, field, description) \
    VHOST_DP_OPTION(name, type, SlirpOptions, field, description)
#define SLIRP_OPTION_HAS(name, type, field, description) \
    VHOST_DP_OPTION(name, type, SlirpOptions, user.field, description, \
                    .has = offsetof(SlirpOptions, user.has_##field))

const VhostDPOption vhost_dp_slirp_options[] = {
    SLIRP_OPTION_HAS("restrict", BOOL, q_restrict,
        "keep the guest from contacting the host and the outside "
        "(default: off)"),
    SLIRP_OPTION_HAS("ipv4", BOOL, ipv4,
        "whether the guest gets IPv4 (default: on, but off with "
        "ipv6=on alone)"),
    SLIRP_OPTION_HAS("ipv6", BOOL, ipv6,
        "whether the guest gets IPv6 (default: on, but off with "
        "ipv4=on alone)"),
    SLIRP_OPTION("net", STR, user.net,
        "the guest's network, addr[/mask] (default: 10.0.2.0/24)"),
    SLIRP_OPTION("ip", STR, user.ip, "the same as net=addr/24"),
    SLIRP_OPTION("host", STR, user.host,
        "the host's address in it (default: net | 0.0.2.2)"),
    SLIRP_OPTION("dhcpstart", STR, user.dhcpstart,
        "first address that DHCP gives (default: net | 0.0.2.15)"),
    SLIRP_OPTION("dns", STR, user.dns,
        "the name server's address (default: net | 0.0.2.3)"),
    SLIRP_OPTION("ipv6-net", STR, ipv6_net,
        "the guest's IPv6 network, prefix[/length]"),
    SLIRP_OPTION("ipv6-prefix", STR, user.ipv6_prefix,
        "the guest's IPv6 prefix (default: fec0::)"),
    SLIRP_OPTION_HAS("ipv6-prefixlen", INT, ipv6_prefixlen,
        "its length in bits (default: 64)"),
    SLIRP_OPTION("ipv6-host", STR, user.ipv6_host,
        "the host's IPv6 address (default: prefix::2)"),
    SLIRP_OPTION("ipv6-dns", STR, user.ipv6_dns,
        "the name server's IPv6 address (default: prefix::3)"),
    SLIRP_OPTION("hostname", STR, user.hostname,
        "host name that DHCP gives the guest"),
    SLIRP_OPTION("domainname", STR, user.domainname,
        "domain name that DHCP gives the guest"),
    SLIRP_OPTION("dnssearch", LIST, dnssearch,
        "domain suffixes to search, that DHCP gives the guest"),
    SLIRP_OPTION("tftp", STR, user.tftp, "directory to serve by TFTP"),
    SLIRP_OPTION("tftp-server-name", STR, user.tftp_server_name,
        "TFTP server name that DHCP gives the guest"),
    SLIRP_OPTION("bootfile", STR, user.bootfile,
        "boot file name that DHCP gives the guest"),
    SLIRP_OPTION("smb", STR, user.smb, "directory to serve by SMB"),
    SLIRP_OPTION("smbserver", STR, user.smbserver,
        "the SMB server's address (default: net | 0.0.2.4)"),
    SLIRP_OPTION("hostfwd", LIST, hostfwd,
        "host ports that lead to the guest: "
        "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport"),
    SLIRP_OPTION("guestfwd", LIST, guestfwd,
        "addresses that lead the guest to character devices or "
        "programs: [tcp]:server:port-dev|cmd:command"),
    { }
};

/* ---- What -netdev user makes of them ---- */

/* "prefix[/length]", as net/net.c takes it from -netdev user */
static bool slirp_parse_ipv6_net(const char *text, NetdevUserOptions *user,
                                 Error **errp)
{
    g_auto(GStrv) part = g_strsplit(text, "/", 2);
    unsigned long len = 64;

    if (!part[0]) {
        error_setg(errp, "Parameter 'ipv6-net' expects a valid IPv6 prefix");
        return false;
    }
    if (part[1] && qemu_strtoul(part[1], NULL, 10, &len) < 0) {
        error_setg(errp, "parameter 'ipv6-net' expects a number after '/'");
        return false;
    }
    g_free(user->ipv6_prefix);
    user->ipv6_prefix = g_strdup(part[0]);
    user->has_ipv6_prefixlen = true;
    user->ipv6_prefixlen = len;
    return true;
}

static StringList *slirp_string_list(const strList *from)
{
    StringList *list = NULL;
    StringList **tail = &list;

    for (; from; from = from->next) {
        String *value = g_new0(String, 1);

        value->str = g_strdup(from->value);
        QAPI_LIST_APPEND(tail, value);
    }
    return list;
}

NetdevUserOptions *vhost_dp_slirp_options_get(const SlirpOptions *opts,
                                              Error **errp)
{
    g_autoptr(NetdevUserOptions) user = QAPI_CLONE(NetdevUserOptions,
                                                   &opts->user);

    if (opts->ipv6_net && !slirp_parse_ipv6_net(opts->ipv6_net, user, errp)) {
        return NULL;
    }
    user->dnssearch = slirp_string_list(opts->dnssearch);
    user->has_dnssearch = user->dnssearch != NULL;
    user->hostfwd = slirp_string_list(opts->hostfwd);
    user->has_hostfwd = user->hostfwd != NULL;
    user->guestfwd = slirp_string_list(opts->guestfwd);
    user->has_guestfwd = user->guestfwd != NULL;
    return g_steal_pointer(&user);
}
