/*
 * vhost-dp-slirp: options
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: options have the names that -netdev user has for them.
 * They are kept as the user wrote them, so that they read back, and parsed
 * when the object is complete and again when it is opened.  All of it runs
 * under the BQL.
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/visitor.h"
#include "slirp.h"

/* Longest text that DHCP can carry (RFC 2132, section 2) */
#define DHCP_TEXT_MAX 255

void vhost_dp_slirp_options_init(SlirpOptions *opts)
{
    opts->ipv4 = true;
    opts->ipv6 = true;
    opts->ipv6_prefixlen = 64;
}

void vhost_dp_slirp_options_free(SlirpOptions *opts)
{
    g_free(opts->net);
    g_free(opts->host);
    g_free(opts->dhcpstart);
    g_free(opts->dns);
    g_free(opts->ipv6_prefix);
    g_free(opts->ipv6_host);
    g_free(opts->ipv6_dns);
    g_free(opts->hostname);
    g_free(opts->domainname);
    qapi_free_strList(opts->dnssearch);
    g_free(opts->tftp);
    g_free(opts->tftp_server_name);
    g_free(opts->bootfile);
    qapi_free_strList(opts->hostfwd);
}

/* ---- Properties ---- */

typedef struct SlirpProperty {
    const char *name;
    const char *type;           /* of the QAPI schema */
    size_t offset;              /* in SlirpOptions */
    const char *description;
} SlirpProperty;

static const SlirpProperty slirp_properties[] = {
    { "restrict", "bool", offsetof(SlirpOptions, restricted),
      "keep the guest from contacting the host and the outside "
      "(default: off)" },
    { "ipv4", "bool", offsetof(SlirpOptions, ipv4),
      "whether the guest gets IPv4 (default: on)" },
    { "ipv6", "bool", offsetof(SlirpOptions, ipv6),
      "whether the guest gets IPv6 (default: on)" },
    { "net", "str", offsetof(SlirpOptions, net),
      "the guest's network, addr/mask (default: 10.0.2.0/24)" },
    { "host", "str", offsetof(SlirpOptions, host),
      "the host's address in it (default: its 2nd)" },
    { "dhcpstart", "str", offsetof(SlirpOptions, dhcpstart),
      "first address that DHCP gives (default: the network's 15th)" },
    { "dns", "str", offsetof(SlirpOptions, dns),
      "the name server's address (default: the network's 3rd)" },
    { "ipv6-prefix", "str", offsetof(SlirpOptions, ipv6_prefix),
      "the guest's IPv6 prefix (default: fec0::)" },
    { "ipv6-prefixlen", "uint8", offsetof(SlirpOptions, ipv6_prefixlen),
      "its length in bits (default: 64)" },
    { "ipv6-host", "str", offsetof(SlirpOptions, ipv6_host),
      "the host's IPv6 address (default: prefix::2)" },
    { "ipv6-dns", "str", offsetof(SlirpOptions, ipv6_dns),
      "the name server's IPv6 address (default: prefix::3)" },
    { "hostname", "str", offsetof(SlirpOptions, hostname),
      "host name that DHCP gives the guest" },
    { "domainname", "str", offsetof(SlirpOptions, domainname),
      "domain name that DHCP gives the guest" },
    { "dnssearch", "strList", offsetof(SlirpOptions, dnssearch),
      "domain suffixes to search, that DHCP gives the guest" },
    { "tftp", "str", offsetof(SlirpOptions, tftp),
      "directory to serve by TFTP" },
    { "tftp-server-name", "str", offsetof(SlirpOptions, tftp_server_name),
      "TFTP server name that DHCP gives the guest" },
    { "bootfile", "str", offsetof(SlirpOptions, bootfile),
      "boot file name that DHCP gives the guest" },
    { "hostfwd", "strList", offsetof(SlirpOptions, hostfwd),
      "host ports that lead to the guest: "
      "tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport" },
};

/* The opaque of a property: which one, and where its object has the options */
typedef struct SlirpPropertyOpaque {
    const SlirpProperty *prop;
    size_t offset;
} SlirpPropertyOpaque;

static void *slirp_property_field(Object *obj, const SlirpPropertyOpaque *op)
{
    return (void *)obj + op->offset + op->prop->offset;
}

static void slirp_property_get(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    const SlirpPropertyOpaque *op = opaque;
    void *field = slirp_property_field(obj, op);

    if (g_str_equal(op->prop->type, "bool")) {
        visit_type_bool(v, name, field, errp);
    } else if (g_str_equal(op->prop->type, "uint8")) {
        visit_type_uint8(v, name, field, errp);
    } else if (g_str_equal(op->prop->type, "strList")) {
        visit_type_strList(v, name, field, errp);
    } else {
        char *text = *(char **)field ?: (char *)"";

        visit_type_str(v, name, &text, errp);
    }
}

static void slirp_property_set_list(Visitor *v, const char *name,
                                    strList **field, Error **errp)
{
    strList *list;

    if (visit_type_strList(v, name, &list, errp)) {
        qapi_free_strList(*field);
        *field = list;
    }
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
    void *field = slirp_property_field(obj, op);
    const char *user = VHOST_DP_DRIVER(obj)->claimed_by;

    if (user) {
        error_setg(errp, "%s '%s': %s= cannot be changed while netdev '%s' "
                   "uses the driver", object_get_typename(obj),
                   object_get_canonical_path_component(obj), name, user);
    } else if (g_str_equal(op->prop->type, "bool")) {
        visit_type_bool(v, name, field, errp);
    } else if (g_str_equal(op->prop->type, "uint8")) {
        visit_type_uint8(v, name, field, errp);
    } else if (g_str_equal(op->prop->type, "strList")) {
        slirp_property_set_list(v, name, field, errp);
    } else {
        slirp_property_set_str(v, name, field, errp);
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
        object_class_property_add(oc, prop->name, prop->type,
                                  slirp_property_get, slirp_property_set,
                                  NULL, op);
        object_class_property_set_description(oc, prop->name,
                                              prop->description);
    }
}

/* ---- Parsing ---- */

/* What the messages begin with */
typedef struct SlirpParser {
    const SlirpOptions *opts;
    SlirpConfig *cfg;
    const char *id;
} SlirpParser;

static bool parse_fail(const SlirpParser *p, Error **errp, const char *option,
                       const char *value, const char *why)
{
    error_setg(errp, "vhost-dp-slirp '%s': %s=%s: %s", p->id, option, value,
               why);
    return false;
}

static struct in_addr net_address(const SlirpConfig *cfg, uint32_t n)
{
    return (struct in_addr) {
        .s_addr = cfg->vnetwork.s_addr | (htonl(n) & ~cfg->vnetmask.s_addr)
    };
}

static bool in_net(const SlirpConfig *cfg, struct in_addr addr)
{
    return (addr.s_addr & cfg->vnetmask.s_addr) == cfg->vnetwork.s_addr;
}

/* "addr/bits" or "addr/mask" */
static bool parse_net(const SlirpParser *p, const char *text, Error **errp)
{
    g_auto(GStrv) part = g_strsplit(text, "/", 2);
    SlirpConfig *cfg = p->cfg;
    unsigned bits;

    if (!part[0] || !part[1] ||
        inet_pton(AF_INET, part[0], &cfg->vnetwork) != 1) {
        return parse_fail(p, errp, "net", text, "an IPv4 network is wanted, "
                          "such as 10.0.2.0/24 or 10.0.2.0/255.255.255.0");
    }
    if (qemu_strtoui(part[1], NULL, 10, &bits) == 0) {
        if (bits < 4 || bits > 30) {
            return parse_fail(p, errp, "net", text,
                              "the prefix length is out of range: 4 to 30");
        }
        cfg->vnetmask.s_addr = htonl(UINT32_MAX << (32 - bits));
    } else if (inet_pton(AF_INET, part[1], &cfg->vnetmask) != 1) {
        return parse_fail(p, errp, "net", text, "behind the '/' a prefix "
                          "length or a network mask is wanted");
    }
    cfg->vnetwork.s_addr &= cfg->vnetmask.s_addr;
    return true;
}

/* An address in the guest's network, by default its @n-th */
static bool parse_addr(const SlirpParser *p, const char *option,
                       const char *text, uint32_t n, bool anywhere,
                       struct in_addr *addr, Error **errp)
{
    *addr = net_address(p->cfg, n);
    if (!text) {
        return true;
    }
    if (inet_pton(AF_INET, text, addr) != 1) {
        return parse_fail(p, errp, option, text, "an IPv4 address is wanted");
    }
    if (!anywhere && !in_net(p->cfg, *addr)) {
        return parse_fail(p, errp, option, text,
                          "the address is not in the network of net=");
    }
    return true;
}

static bool parse_ipv4(const SlirpParser *p, Error **errp)
{
    const SlirpOptions *o = p->opts;
    SlirpConfig *cfg = p->cfg;

    if (!parse_net(p, o->net ?: "10.0.2.0/24", errp) ||
        !parse_addr(p, "host", o->host, 2, false, &cfg->vhost, errp) ||
        !parse_addr(p, "dns", o->dns, 3, !o->restricted, &cfg->vnameserver,
                    errp) ||
        !parse_addr(p, "dhcpstart", o->dhcpstart, 15, false,
                    &cfg->vdhcp_start, errp)) {
        return false;
    }
    if (cfg->vnameserver.s_addr == cfg->vhost.s_addr ||
        cfg->vdhcp_start.s_addr == cfg->vhost.s_addr ||
        cfg->vdhcp_start.s_addr == cfg->vnameserver.s_addr) {
        error_setg(errp, "vhost-dp-slirp '%s': host=, dns= and dhcpstart= "
                   "have to be different addresses", p->id);
        return false;
    }
    return true;
}

static bool in_prefix(const SlirpConfig *cfg, const struct in6_addr *addr)
{
    unsigned bytes = cfg->vprefix_len / 8;
    uint8_t mask = 0xff00 >> (cfg->vprefix_len % 8);

    return memcmp(&cfg->vprefix_addr6, addr, bytes) == 0 &&
           ((cfg->vprefix_addr6.s6_addr[bytes] ^ addr->s6_addr[bytes]) &
            mask) == 0;
}

static bool parse_addr6(const SlirpParser *p, const char *option,
                        const char *text, uint8_t n, bool anywhere,
                        struct in6_addr *addr, Error **errp)
{
    *addr = p->cfg->vprefix_addr6;
    addr->s6_addr[15] |= n;
    if (!text) {
        return true;
    }
    if (inet_pton(AF_INET6, text, addr) != 1) {
        return parse_fail(p, errp, option, text, "an IPv6 address is wanted");
    }
    if (!anywhere && !in_prefix(p->cfg, addr)) {
        return parse_fail(p, errp, option, text,
                          "the address is not in the network of ipv6-prefix=");
    }
    return true;
}

static bool parse_ipv6(const SlirpParser *p, Error **errp)
{
    const SlirpOptions *o = p->opts;
    SlirpConfig *cfg = p->cfg;

    if (inet_pton(AF_INET6, o->ipv6_prefix ?: "fec0::",
                  &cfg->vprefix_addr6) != 1) {
        return parse_fail(p, errp, "ipv6-prefix", o->ipv6_prefix,
                          "an IPv6 address is wanted");
    }
    if (o->ipv6_prefixlen > 126) {
        error_setg(errp, "vhost-dp-slirp '%s': ipv6-prefixlen=%u is out of "
                   "range: 0 to 126", p->id, o->ipv6_prefixlen);
        return false;
    }
    cfg->vprefix_len = o->ipv6_prefixlen;
    return parse_addr6(p, "ipv6-host", o->ipv6_host, 2, false, &cfg->vhost6,
                       errp) &&
           parse_addr6(p, "ipv6-dns", o->ipv6_dns, 3, !o->restricted,
                       &cfg->vnameserver6, errp);
}

/* Options for an IP version that is switched off are not ignored */
static bool check_version(const SlirpParser *p, bool enabled,
                          const char *version, const char *const *option,
                          char *const *value, unsigned n, Error **errp)
{
    g_autofree char *why = g_strdup_printf("this has no meaning with %s=off",
                                           version);
    unsigned i;

    for (i = 0; i < n && !enabled; i++) {
        if (value[i]) {
            return parse_fail(p, errp, option[i], value[i], why);
        }
    }
    return true;
}

static bool check_versions(const SlirpParser *p, Error **errp)
{
    static const char *const names4[] = { "net", "host", "dhcpstart", "dns" };
    static const char *const names6[] = {
        "ipv6-prefix", "ipv6-host", "ipv6-dns"
    };
    const SlirpOptions *o = p->opts;
    char *const values4[] = { o->net, o->host, o->dhcpstart, o->dns };
    char *const values6[] = { o->ipv6_prefix, o->ipv6_host, o->ipv6_dns };

    if (!o->ipv4 && !o->ipv6) {
        error_setg(errp, "vhost-dp-slirp '%s': ipv4=off and ipv6=off exclude "
                   "each other", p->id);
        return false;
    }
    return check_version(p, o->ipv4, "ipv4", names4, values4,
                         ARRAY_SIZE(names4), errp) &&
           check_version(p, o->ipv6, "ipv6", names6, values6,
                         ARRAY_SIZE(names6), errp);
}

/* Texts that go into DHCP's options */
static bool parse_texts(const SlirpParser *p, const char ***dnssearch,
                        Error **errp)
{
    const SlirpOptions *o = p->opts;
    const struct {
        const char *option, *value, **field;
    } texts[] = {
        { "hostname", o->hostname, &p->cfg->vhostname },
        { "domainname", o->domainname, &p->cfg->vdomainname },
        { "tftp-server-name", o->tftp_server_name,
          &p->cfg->tftp_server_name },
    };
    const strList *l;
    unsigned i, n = 0;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        if (texts[i].value && (!*texts[i].value ||
                               strlen(texts[i].value) > DHCP_TEXT_MAX)) {
            return parse_fail(p, errp, texts[i].option, texts[i].value,
                              "1 to 255 characters are wanted");
        }
        *texts[i].field = texts[i].value;
    }
    for (l = o->dnssearch; l; l = l->next) {
        n++;
    }
    if (n) {
        *dnssearch = g_new0(const char *, n + 1);
        for (i = 0, l = o->dnssearch; l; l = l->next) {
            (*dnssearch)[i++] = l->value;
        }
    }
    p->cfg->vdnssearch = *dnssearch;
    return true;
}

bool vhost_dp_slirp_options_parse(const SlirpOptions *opts, const char *id,
                                  SlirpConfig *cfg, const char ***dnssearch,
                                  Error **errp)
{
    SlirpParser p = { .opts = opts, .cfg = cfg, .id = id };
    const strList *l;

    *cfg = (SlirpConfig) {
        .version = 4,
        .restricted = opts->restricted,
        .in_enabled = opts->ipv4,
        .in6_enabled = opts->ipv6,
        .tftp_path = opts->tftp,
        .bootfile = opts->bootfile,
    };
    *dnssearch = NULL;
    if (!check_versions(&p, errp) || !parse_ipv4(&p, errp) ||
        !parse_ipv6(&p, errp)) {
        return false;
    }
    for (l = opts->hostfwd; l; l = l->next) {
        SlirpHostFwd fwd;

        if (!vhost_dp_slirp_hostfwd_parse(l->value, id, &fwd, errp)) {
            return false;
        }
        if (!opts->ipv4) {
            return parse_fail(&p, errp, "hostfwd", l->value,
                              "this has no meaning with ipv4=off");
        }
    }
    return parse_texts(&p, dnssearch, errp);
}

/* "[addr]:port"; an empty address is 0.0.0.0 */
static bool parse_endpoint(const char *text, struct in_addr *addr,
                           uint16_t *port)
{
    g_auto(GStrv) part = g_strsplit(text, ":", 2);
    unsigned n;

    addr->s_addr = INADDR_ANY;
    if (!part[0] || !part[1] ||
        (*part[0] && inet_pton(AF_INET, part[0], addr) != 1) ||
        qemu_strtoui(part[1], NULL, 10, &n) < 0 || n < 1 || n > UINT16_MAX) {
        return false;
    }
    *port = n;
    return true;
}

bool vhost_dp_slirp_hostfwd_parse(const char *text, const char *id,
                                  SlirpHostFwd *fwd, Error **errp)
{
    ERRP_GUARD();
    const char *rest;
    g_auto(GStrv) side = NULL;

    fwd->text = text;
    fwd->udp = strstart(text, "udp:", &rest);
    if (fwd->udp || strstart(text, "tcp:", &rest) ||
        strstart(text, ":", &rest)) {
        side = g_strsplit(rest, "-", 2);
        if (side[0] && side[1] &&
            parse_endpoint(side[0], &fwd->host_addr, &fwd->host_port) &&
            parse_endpoint(side[1], &fwd->guest_addr, &fwd->guest_port)) {
            return true;
        }
    }
    error_setg(errp, "vhost-dp-slirp '%s': hostfwd=%s: "
               "tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport is wanted",
               id, text);
    error_append_hint(errp, "For example: hostfwd=tcp:127.0.0.1:2222-:22\n");
    return false;
}
