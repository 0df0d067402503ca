/*
 * vhost-dp-slirp: options
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: each option of -netdev user is a property here.  The
 * values are kept as the user wrote them, so that they read back, in the
 * struct that -netdev user has for them; net/slirp.c parses them, for both.
 * All of it runs under the BQL.
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/qapi-visit-net.h"
#include "qapi/visitor.h"
#include "slirp.h"

void vhost_dp_slirp_options_init(SlirpOptions *opts)
{
    /* They read back; whether the user wrote them is in has_* */
    opts->user.ipv4 = true;
    opts->user.ipv6 = true;
    opts->user.ipv6_prefixlen = 64;
}

void vhost_dp_slirp_options_free(SlirpOptions *opts)
{
    /* QAPI frees what a struct points to along with the struct */
    qapi_free_NetdevUserOptions(g_memdup2(&opts->user, sizeof(opts->user)));
    g_free(opts->ipv6_net);
}

/* ---- Properties ---- */

typedef enum SlirpPropertyKind {
    SLIRP_PROPERTY_BOOL,
    SLIRP_PROPERTY_INT,
    SLIRP_PROPERTY_STR,
    SLIRP_PROPERTY_LIST,
} SlirpPropertyKind;

/* Their types in the QAPI schema */
static const char *const slirp_property_types[] = {
    [SLIRP_PROPERTY_BOOL] = "bool",
    [SLIRP_PROPERTY_INT] = "int",
    [SLIRP_PROPERTY_STR] = "str",
    [SLIRP_PROPERTY_LIST] = "strList",
};

typedef struct SlirpProperty {
    const char *name;
    SlirpPropertyKind kind;
    size_t field;               /* offsets in SlirpOptions */
    size_t has_field;           /* but for strings */
    const char *description;
} SlirpProperty;

#define SLIRP_STR(name, field, description) \
    { name, SLIRP_PROPERTY_STR, offsetof(SlirpOptions, field), 0, description }
#define SLIRP_OTHER(name, kind, field, description) \
    { name, kind, offsetof(SlirpOptions, user.field), \
      offsetof(SlirpOptions, user.has_##field), description }

static const SlirpProperty slirp_properties[] = {
    SLIRP_OTHER("restrict", SLIRP_PROPERTY_BOOL, q_restrict,
                "keep the guest from contacting the host and the outside "
                "(default: off)"),
    SLIRP_OTHER("ipv4", SLIRP_PROPERTY_BOOL, ipv4,
                "whether the guest gets IPv4 (default: on, but off with "
                "ipv6=on alone)"),
    SLIRP_OTHER("ipv6", SLIRP_PROPERTY_BOOL, ipv6,
                "whether the guest gets IPv6 (default: on, but off with "
                "ipv4=on alone)"),
    SLIRP_STR("net", user.net,
              "the guest's network, addr[/mask] (default: 10.0.2.0/24)"),
    SLIRP_STR("ip", user.ip, "the same as net=addr/24"),
    SLIRP_STR("host", user.host,
              "the host's address in it (default: net | 0.0.2.2)"),
    SLIRP_STR("dhcpstart", user.dhcpstart,
              "first address that DHCP gives (default: net | 0.0.2.15)"),
    SLIRP_STR("dns", user.dns,
              "the name server's address (default: net | 0.0.2.3)"),
    SLIRP_STR("ipv6-net", ipv6_net,
              "the guest's IPv6 network, prefix[/length]"),
    SLIRP_STR("ipv6-prefix", user.ipv6_prefix,
              "the guest's IPv6 prefix (default: fec0::)"),
    SLIRP_OTHER("ipv6-prefixlen", SLIRP_PROPERTY_INT, ipv6_prefixlen,
                "its length in bits (default: 64)"),
    SLIRP_STR("ipv6-host", user.ipv6_host,
              "the host's IPv6 address (default: prefix::2)"),
    SLIRP_STR("ipv6-dns", user.ipv6_dns,
              "the name server's IPv6 address (default: prefix::3)"),
    SLIRP_STR("hostname", user.hostname,
              "host name that DHCP gives the guest"),
    SLIRP_STR("domainname", user.domainname,
              "domain name that DHCP gives the guest"),
    SLIRP_OTHER("dnssearch", SLIRP_PROPERTY_LIST, dnssearch,
                "domain suffixes to search, that DHCP gives the guest"),
    SLIRP_STR("tftp", user.tftp, "directory to serve by TFTP"),
    SLIRP_STR("tftp-server-name", user.tftp_server_name,
              "TFTP server name that DHCP gives the guest"),
    SLIRP_STR("bootfile", user.bootfile,
              "boot file name that DHCP gives the guest"),
    SLIRP_STR("smb", user.smb, "directory to serve by SMB"),
    SLIRP_STR("smbserver", user.smbserver,
              "the SMB server's address (default: net | 0.0.2.4)"),
    SLIRP_OTHER("hostfwd", SLIRP_PROPERTY_LIST, hostfwd,
                "host ports that lead to the guest: "
                "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport"),
    SLIRP_OTHER("guestfwd", SLIRP_PROPERTY_LIST, guestfwd,
                "addresses that lead the guest to character devices or "
                "programs: [tcp]:server:port-dev|cmd:command"),
};

/* The opaque of a property: which one, and where its object has the options */
typedef struct SlirpPropertyOpaque {
    const SlirpProperty *prop;
    size_t offset;
} SlirpPropertyOpaque;

static void slirp_property_get_list(Visitor *v, const char *name,
                                    const StringList *field, Error **errp)
{
    strList *list = NULL;
    strList **tail = &list;

    for (; field; field = field->next) {
        QAPI_LIST_APPEND(tail, g_strdup(field->value->str));
    }
    visit_type_strList(v, name, &list, errp);
    qapi_free_strList(list);
}

static void slirp_property_get(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    const SlirpPropertyOpaque *op = opaque;
    void *field = (void *)obj + op->offset + op->prop->field;
    char *text;

    switch (op->prop->kind) {
    case SLIRP_PROPERTY_BOOL:
        visit_type_bool(v, name, field, errp);
        break;
    case SLIRP_PROPERTY_INT:
        visit_type_int(v, name, field, errp);
        break;
    case SLIRP_PROPERTY_STR:
        text = *(char **)field ?: (char *)"";
        visit_type_str(v, name, &text, errp);
        break;
    case SLIRP_PROPERTY_LIST:
        slirp_property_get_list(v, name, *(StringList **)field, errp);
        break;
    }
}

static bool slirp_property_set_list(Visitor *v, const char *name,
                                    StringList **field, Error **errp)
{
    StringList **tail = field;
    strList *list, *l;

    if (!visit_type_strList(v, name, &list, errp)) {
        return false;
    }
    qapi_free_StringList(*field);
    *field = NULL;
    for (l = list; l; l = l->next) {
        String *value = g_new0(String, 1);

        value->str = g_strdup(l->value);
        QAPI_LIST_APPEND(tail, value);
    }
    qapi_free_strList(list);
    return true;
}

static void slirp_property_set_str(Visitor *v, const char *name, char **field,
                                   Error **errp)
{
    char *text;

    if (visit_type_str(v, name, &text, errp)) {
        g_free(*field);
        *field = text;
    }
}

static void slirp_property_set(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    const SlirpPropertyOpaque *op = opaque;
    void *field = (void *)obj + op->offset + op->prop->field;
    bool *has_field = (void *)obj + op->offset + op->prop->has_field;
    const char *user = VHOST_DP_DRIVER(obj)->claimed_by;

    if (user) {
        error_setg(errp, "%s '%s': %s= cannot be changed while netdev '%s' "
                   "uses the driver", object_get_typename(obj),
                   object_get_canonical_path_component(obj), name, user);
        return;
    }
    switch (op->prop->kind) {
    case SLIRP_PROPERTY_BOOL:
        *has_field |= visit_type_bool(v, name, field, errp);
        break;
    case SLIRP_PROPERTY_INT:
        *has_field |= visit_type_int(v, name, field, errp);
        break;
    case SLIRP_PROPERTY_STR:
        slirp_property_set_str(v, name, field, errp);
        break;
    case SLIRP_PROPERTY_LIST:
        *has_field |= slirp_property_set_list(v, name, field, errp);
        break;
    }
}

void vhost_dp_slirp_options_add_properties(ObjectClass *oc, size_t offset)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(slirp_properties); i++) {
        const SlirpProperty *prop = &slirp_properties[i];
        /* Lives as long as the class, that is, forever */
        SlirpPropertyOpaque *op = g_new(SlirpPropertyOpaque, 1);

        op->prop = prop;
        op->offset = offset;
        object_class_property_add(oc, prop->name,
                                  slirp_property_types[prop->kind],
                                  slirp_property_get, slirp_property_set,
                                  NULL, op);
        object_class_property_set_description(oc, prop->name,
                                              prop->description);
    }
}

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

NetdevUserOptions *vhost_dp_slirp_options_get(const SlirpOptions *opts,
                                              Error **errp)
{
    g_autoptr(NetdevUserOptions) user = QAPI_CLONE(NetdevUserOptions,
                                                   &opts->user);

    if (opts->ipv6_net && !slirp_parse_ipv6_net(opts->ipv6_net, user, errp)) {
        return NULL;
    }
    return g_steal_pointer(&user);
}
