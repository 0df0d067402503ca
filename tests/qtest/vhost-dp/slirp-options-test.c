/*
 * vhost-dp: qtests, options of vhost-dp-slirp are those of -netdev user
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each list of options is given to both, and both have to make the same of it:
 * what DHCP and router advertisements tell a guest, what the monitor says, or
 * the error.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "standard-headers/linux/virtio_ids.h"
#include "slirp-guest.h"

#define IP6_LEN 40

/* RFC 2131 */
#define DHCP_SERVER_PORT 67
#define DHCP_CLIENT_PORT 68
#define DHCP_OPTIONS 236        /* into the message */
#define DHCP_LEN 300

/* RFC 4861 */
#define ND_SOLICITATION 133
#define ND_ADVERTISEMENT 134

/* ---- What a guest is told ---- */

typedef struct Valid {
    const char *name;
    const char *options;
    bool no_ipv4, no_ipv6;
    /* How an answer of DHCP begins: the address that it gives, or 0 */
    uint32_t address;
} Valid;

static const Valid valid_options[] = {
    { "none", "", .address = 0x0a00020f },
    { "net-8", ",net=10.0.0.0/8", .address = 0x0a00020f },
    { "net-16", ",net=10.7.0.0/16", .address = 0x0a07020f },
    { "net-24", ",net=192.168.76.0/24", .address = 0xc0a84c0f },
    { "net-28", ",net=10.7.3.32/28", .address = 0x0a07032f },
    { "net-mask", ",net=192.168.76.0/255.255.255.0", .address = 0xc0a84c0f },
    { "net-host-bits", ",net=10.1.2.3/24", .address = 0x0a01020f },
    { "net-class-a", ",net=10.0.0.0", .address = 0x0a00020f },
    { "net-172.16", ",net=172.20.0.0", .address = 0xac10020f },
    { "net-class-b", ",net=130.1.0.0", .address = 0x8201020f },
    { "net-192.168", ",net=192.168.76.0" },
    { "net-class-c", ",net=193.1.2.0" },
    { "net-short", ",net=10.9/16" },
    { "ip", ",ip=10.9.8.7", .address = 0x0a09080f },
    { "addresses", ",net=10.5.0.0/16,host=10.5.1.1,dns=10.5.1.2,"
                   "dhcpstart=10.5.1.3", .address = 0x0a050103 },
    { "dns-elsewhere", ",dns=192.0.2.1" },
    { "dhcp-texts", ",hostname=guest,domainname=example.org,"
                    "dnssearch=a.example.org,dnssearch=b.example.org" },
    { "boot", ",tftp=/,bootfile=boot.img,tftp-server-name=tftp.example.org" },
    { "ipv6-net", ",ipv6-net=fd00:1::/48" },
    { "ipv6-net-alone", ",ipv6-net=fd00:2::" },
    { "ipv6-net-first", ",ipv6-net=fd00:2::/60,ipv6-prefix=fd00:3::,"
                        "ipv6-prefixlen=62" },
    { "ipv6-prefix", ",ipv6-prefix=fd00:3::,ipv6-prefixlen=56,"
                     "ipv6-host=fd00:3::9,ipv6-dns=fd00:3::8" },
    { "ipv6-prefixlen-0", ",ipv6-prefixlen=0" },
    { "ipv4-on", ",ipv4=on", .no_ipv6 = true },
    { "ipv6-on", ",ipv6=on", .no_ipv4 = true },
    { "both-on", ",ipv4=on,ipv6=on" },
    { "ipv4-off", ",ipv4=off", .no_ipv4 = true },
    { "ipv6-off", ",ipv6=off", .no_ipv6 = true },
    { "restrict", ",restrict=y" },
};

/* Ask for an address, and for what else DHCP tells */
static void send_discover(DpNic *nic)
{
    /* DHCPDISCOVER, and the end of the options (RFC 2132) */
    static const uint8_t options[] = { 99, 130, 83, 99, 53, 1, 1, 255 };
    static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };
    uint8_t f[PAYLOAD + DHCP_LEN] = {};
    uint8_t *udp = f + ETH_LEN + IP_LEN, *dhcp = udp + UDP_LEN;

    slirp_make_ip(f, broadcast, IPPROTO_UDP, 0, UINT32_MAX,
                  UDP_LEN + DHCP_LEN);
    stw_be_p(udp, DHCP_CLIENT_PORT);
    stw_be_p(udp + 2, DHCP_SERVER_PORT);
    stw_be_p(udp + 4, UDP_LEN + DHCP_LEN);
    dhcp[0] = 1;
    dhcp[1] = 1;
    dhcp[2] = 6;
    stl_be_p(dhcp + 4, 0x12345678);
    memcpy(dhcp + 28, slirp_guest_mac, 6);
    memcpy(dhcp + DHCP_OPTIONS, options, sizeof(options));
    dp_transmit(nic, NULL, f, sizeof(f));
}

/* Ask for a router's advertisement */
static void send_solicitation(DpNic *nic)
{
    uint8_t f[ETH_LEN + IP6_LEN + 8] = {};
    uint8_t *ip = f + ETH_LEN, *icmp = ip + IP6_LEN;

    f[0] = f[1] = 0x33;
    f[5] = 2;
    memcpy(f + 6, slirp_guest_mac, 6);
    stw_be_p(f + 12, ETH_P_IPV6);
    ip[0] = 0x60;
    stw_be_p(ip + 4, 8);
    ip[6] = IPPROTO_ICMPV6;
    ip[7] = 255;
    stw_be_p(ip + 8, 0xfe80);
    ip[23] = 1;
    stw_be_p(ip + 24, 0xff02);
    ip[39] = 2;
    icmp[0] = ND_SOLICITATION;
    stw_be_p(icmp + 2, ~slirp_sum(icmp, 8, slirp_sum(ip + 8, 32,
                                                     IPPROTO_ICMPV6 + 8)));
    dp_transmit(nic, NULL, f, sizeof(f));
}

static bool is_dhcp(const uint8_t *f, size_t len)
{
    return len >= ETH_LEN + IP_LEN + UDP_LEN + DHCP_OPTIONS &&
           lduw_be_p(f + 12) == ETH_P_IP &&
           f[ETH_LEN + 9] == IPPROTO_UDP &&
           lduw_be_p(f + ETH_LEN + IP_LEN) == DHCP_SERVER_PORT;
}

static bool is_advertisement(const uint8_t *f, size_t len)
{
    return len >= ETH_LEN + IP6_LEN + 8 && lduw_be_p(f + 12) == ETH_P_IPV6 &&
           f[ETH_LEN + 6] == IPPROTO_ICMPV6 &&
           f[ETH_LEN + IP6_LEN] == ND_ADVERTISEMENT;
}

static void append_bytes(GString *to, const char *what, const uint8_t *p,
                         size_t len)
{
    size_t i;

    g_string_append_printf(to, "%s", what);
    for (i = 0; i < len; i++) {
        g_string_append_printf(to, " %02x", p[i]);
    }
    g_string_append_c(to, '\n');
}

/*
 * Ask for both, and write down the answers.  What is not to be answered is
 * asked for first: its answer would come before the other.
 */
static char *ask_stack(const Valid *valid, DpNic *nic)
{
    g_autofree uint8_t *f = g_malloc(2048);
    g_autofree char *offer = NULL, *advertisement = NULL;
    bool want_offer = !valid->no_ipv4, want_advertisement = !valid->no_ipv6;

    dp_post(nic, 8, 2048);
    if (valid->no_ipv4) {
        send_discover(nic);
        send_solicitation(nic);
    } else {
        send_solicitation(nic);
        send_discover(nic);
    }
    while (want_offer || want_advertisement) {
        size_t len = dp_receive(nic, NULL, f, 2048);
        g_autoptr(GString) text = g_string_new(NULL);

        dp_post(nic, 1, 2048);
        if (is_dhcp(f, len)) {
            const uint8_t *ip = f + ETH_LEN;

            g_assert_false(valid->no_ipv4);
            if (valid->address) {
                uint32_t given = ldl_be_p(ip + IP_LEN + UDP_LEN + 16);

                g_assert_cmphex(given, ==, valid->address);
            }
            /* The number of the packet is by chance, and its sum with it */
            append_bytes(text, "from", ip + 12, 8);
            append_bytes(text, "DHCP", ip + IP_LEN + UDP_LEN,
                         len - ETH_LEN - IP_LEN - UDP_LEN);
            g_free(offer);
            offer = g_strdup(text->str);
            want_offer = false;
        } else if (is_advertisement(f, len)) {
            g_assert_false(valid->no_ipv6);
            append_bytes(text, "RA", f + ETH_LEN, len - ETH_LEN);
            g_free(advertisement);
            advertisement = g_strdup(text->str);
            want_advertisement = false;
        }
    }
    return g_strdup_printf("%s%s", offer ?: "no DHCP\n",
                           advertisement ?: "no RA\n");
}

/* What "info network" says of a netdev behind its driver's name */
static char *info_network(QTestState *qts, const char *id)
{
    g_autofree char *all = qtest_hmp(qts, "info network");
    const char *line = strstr(all, id);
    const char *text = line ? strstr(line, "net=") : NULL;

    g_assert_nonnull(text);
    return g_strndup(text, strcspn(text, "\r\n"));
}

static void test_valid(const void *opaque)
{
    const Valid *valid = opaque;
    g_autofree char *told = NULL, *told_user = NULL;
    g_autofree char *info = NULL, *info_user = NULL;
    DpGuest *guest;
    DpNic *nic, *nic_user;

    guest = dp_guest_new("-object vhost-dp-slirp,id=s0%s "
                         "-netdev vhost-dp,id=vd0,driver=s0 "
                         "-netdev user,id=stock0%s "
                         DP_DEVICE " -device virtio-net-pci,netdev=stock0,"
                         "addr=05.0,romfile=,mac=52:54:00:12:34:57",
                         valid->options, valid->options);
    nic = dp_nic_new(guest, DP_SLOT, DP_FEATURES_DEFAULT);
    /* Without it, QEMU's own data path does not set num_buffers */
    nic_user = dp_nic_new(guest, DP_SLOT + 1, DP_FEATURES_DEFAULT |
                          DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    nic_user->queue[DP_RX].stock = true;
    nic_user->queue[DP_TX].stock = true;

    told = ask_stack(valid, nic);
    told_user = ask_stack(valid, nic_user);
    g_assert_cmpstr(told, ==, told_user);
    info = info_network(guest->qts, "vd0:");
    info_user = info_network(guest->qts, "stock0:");
    g_assert_cmpstr(info, ==, info_user);

    dp_nic_free(nic_user);
    dp_nic_free(nic);
    dp_guest_free(guest);
}

/* ---- The same errors, and the same in the monitor ---- */

/* The texts are QEMU's, and are not known here */
static const char *const bad_options[] = {
    "net=10.0.2.0/33", "net=10.0.2.0/3", "net=10.0.2.0/x", "net=10.0.2.0/24x",
    "net=nowhere", "net=10.0.2.0/", "ip=nowhere", "net=",
    "host=nowhere", "host=1.2.3.4", "net=10.0.0.0/30",
    "dhcpstart=10.0.3.1", "dhcpstart=nowhere", "dns=nowhere", "dns=10.0.2.2",
    "dhcpstart=10.0.2.2", "dhcpstart=10.0.2.3", "restrict=on,dns=1.1.1.1",
    "ipv4=off,net=10.0.2.0/24", "ipv4=off,host=10.0.2.2",
    "ipv6=off,ipv6-dns=fec0::3", "ipv6=off,ipv6-net=fec0::/64",
    "ipv4=off,ipv6=off",
    "ipv6-prefix=10.0.0.1", "ipv6-prefixlen=127", "ipv6-prefixlen=-1",
    "ipv6-net=fec0::/x", "ipv6-net=fec0::/", "ipv6-net=fec0::/127",
    "ipv6-net=nowhere/64", "ipv6-net=",
    "ipv6-host=fe80::2", "ipv6-host=nowhere", "ipv6-dns=nowhere",
    "restrict=on,ipv6-dns=fe80::2",
    "hostfwd=sctp::1-:2", "hostfwd=tcp::3", "hostfwd=tcp::65536-:2",
    "hostfwd=tcp::1-:0", "hostfwd=tcp:nowhere:1-:2", "hostfwd=tcp::1-x:2",
    "hostfwd=x", "hostfwd=tcp::x-:2", "hostfwd=tcp::-1-:2",
    "hostfwd=tcp:192.0.2.1:1-:2",
    "hostfwd=tcp:127.0.0.1:6001-:22,hostfwd=x",
    "guestfwd=x", "guestfwd=tcp:10.0.2.2:80-cmd:true",
    "guestfwd=tcp:10.0.2.100:0-cmd:true", "guestfwd=udp::1-cmd:true",
    "domainname=",
};

/* An error, or not: without smbd QEMU ignores them */
static const char *const smb_options[] = {
    "smb=/nowhere", "smb=/,smbserver=nowhere",
};

/* A list has strings as elements, or, @in_structs, structs with a "str" */
static void add_element(QDict *args, const char *key, const char *value,
                        bool in_structs)
{
    QDict *element;

    if (!qdict_haskey(args, key)) {
        qdict_put(args, key, qlist_new());
    }
    if (in_structs) {
        element = qdict_new();
        qdict_put_str(element, "str", value);
        qlist_append(qdict_get_qlist(args, key), element);
    } else {
        qlist_append_str(qdict_get_qlist(args, key), value);
    }
}

/* Add @options, as they are on a command line, to a command's arguments */
static QDict *add_options(QDict *args, const char *options, bool in_structs)
{
    g_auto(GStrv) part = g_strsplit(options, ",", -1);
    unsigned i;

    for (i = 0; part[i]; i++) {
        const char *key = part[i];
        char *value = strchr(key, '=');

        *value++ = '\0';
        if (g_str_equal(key, "hostfwd") || g_str_equal(key, "guestfwd") ||
            g_str_equal(key, "dnssearch")) {
            add_element(args, key, value, in_structs);
        } else if (g_str_equal(value, "on") || g_str_equal(value, "off")) {
            qdict_put_bool(args, key, g_str_equal(value, "on"));
        } else if (g_str_equal(key, "ipv6-prefixlen")) {
            qdict_put_int(args, key, atoi(value));
        } else {
            qdict_put_str(args, key, value);
        }
    }
    return args;
}

/* Returns the error's text, or NULL.  Frees @response. */
static char *error_of(QDict *response)
{
    QDict *error = qdict_get_qdict(response, "error");
    char *text = error ? g_strdup(qdict_get_str(error, "desc")) : NULL;

    qobject_unref(response);
    return text;
}

/* Both steps; what worked is undone if the second fails.  NULL: no error. */
static char *add_slirp(QTestState *qts, const char *options)
{
    QDict *args = qdict_new();
    char *text;

    qdict_put_str(args, "qom-type", "vhost-dp-slirp");
    qdict_put_str(args, "id", "s0");
    text = error_of(qtest_qmp(qts, "{ 'execute': 'object-add',"
                              " 'arguments': %p }",
                              add_options(args, options, false)));
    if (text) {
        return text;
    }
    text = error_of(qtest_qmp(qts, "{ 'execute': 'netdev_add', 'arguments': {"
                              " 'type': 'vhost-dp', 'id': 'u0',"
                              " 'driver': 's0' } }"));
    if (text) {
        dp_run_good(qts, "{ 'execute': 'object-del',"
                         " 'arguments': { 'id': 's0' } }");
    }
    return text;
}

static void del_slirp(QTestState *qts)
{
    dp_run_good(qts, "{ 'execute': 'netdev_del',"
                     " 'arguments': { 'id': 'u0' } }");
    dp_run_good(qts, "{ 'execute': 'object-del',"
                     " 'arguments': { 'id': 's0' } }");
}

/* The same for -netdev user */
static char *add_user(QTestState *qts, const char *options)
{
    QDict *args = qdict_new();

    qdict_put_str(args, "type", "user");
    qdict_put_str(args, "id", "u0");
    return error_of(qtest_qmp(qts, "{ 'execute': 'netdev_add',"
                              " 'arguments': %p }",
                              add_options(args, options, true)));
}

/*
 * The monitor's netdev_add takes options as the command line does, ipv6-net
 * among them, but only one of a list
 */
static char *add_user_hmp(QTestState *qts, const char *options)
{
    g_autofree char *said = qtest_hmp(qts, "netdev_add user,id=u0,%s",
                                      options);

    g_strstrip(said);
    return *said ? g_strdup(said) : NULL;
}

static void check_error(QTestState *qts, const char *options, bool may_work)
{
    g_autofree char *user = add_user_hmp(qts, options);
    g_autofree char *slirp = NULL;
    g_autofree char *want = NULL;

    g_test_message("%s", options);
    if (!user) {
        dp_run_good(qts, "{ 'execute': 'netdev_del',"
                         " 'arguments': { 'id': 'u0' } }");
    }
    slirp = add_slirp(qts, options);
    if (!slirp) {
        del_slirp(qts);
    }
    if (!user && may_work) {
        g_assert_null(slirp);
        return;
    }
    g_assert_nonnull(user);
    g_assert_true(g_str_has_prefix(user, "Error: "));
    want = g_strconcat("vhost-dp-slirp 's0': ", user + strlen("Error: "),
                       NULL);
    g_assert_cmpstr(slirp, ==, want);
}

static void test_errors(const void *opaque)
{
    QTestState *qts;
    DpUsage before;
    unsigned i;

    dp_if_up("lo");
    qts = qtest_init("-M none -nodefaults");
    before = dp_usage(qts);
    for (i = 0; i < ARRAY_SIZE(bad_options); i++) {
        check_error(qts, bad_options[i], false);
    }
    for (i = 0; i < ARRAY_SIZE(smb_options); i++) {
        check_error(qts, smb_options[i], true);
    }
    dp_check_usage(qts, before);
    qtest_quit(qts);
}

/* "info usernet", without the numbers of descriptors and of chosen ports */
static char *info_usernet(QTestState *qts)
{
    g_autofree char *text = qtest_hmp(qts, "info usernet");
    g_autoptr(GRegex) fd = g_regex_new("(\\]) +[0-9]+ ", 0, 0, NULL);
    g_autoptr(GRegex) port = g_regex_new("(127\\.0\\.0\\.9) +[1-9][0-9]* ", 0,
                                         0, NULL);
    g_autofree char *no_fd = g_regex_replace(fd, text, -1, 0, "\\1 FD ", 0,
                                             NULL);

    return g_regex_replace(port, no_fd, -1, 0, "\\1 PORT ", 0, NULL);
}

static const char *const forwards[] = {
    "hostfwd=tcp:127.0.0.1:6001-:22",
    "hostfwd=udp:127.0.0.1:6001-10.0.2.16:53,hostfwd=:127.0.0.1:6002-:23",
    "hostfwd=tcp:127.0.0.9:0-:22,hostfwd=udp:127.0.0.9:0-:22",
    "hostfwd=tcp::0x1771-:0x16",
    "net=10.0.0.0/8,hostfwd=tcp:127.0.0.1:6001-:22",
    "guestfwd=tcp:10.0.2.100:80-cmd:true,guestfwd=:10.0.2.101:80-null",
};

/* Commands, of which each finds what those before it have left */
static const char *const commands[] = {
    "hostfwd_add tcp:127.0.0.1:7001-:22",
    "hostfwd_add u0 udp:127.0.0.1:7001-:53",
    "hostfwd_add u0 tcp:127.0.0.1:7001-:22",
    "hostfwd_add u0 nonsense",
    "hostfwd_add nobody tcp:127.0.0.1:7002-:22",
    "hostfwd_remove u0 udp:127.0.0.1:7001",
    "hostfwd_remove u0 udp:127.0.0.1:7001",
    "hostfwd_remove tcp:127.0.0.1:7001",
    "hostfwd_remove u0 nonsense",
};

/* All that the monitor says, in turn */
static char *run_commands(QTestState *qts)
{
    GString *said = g_string_new(NULL);
    g_autofree char *first = info_usernet(qts);
    unsigned i;

    g_string_append(said, first);
    for (i = 0; i < ARRAY_SIZE(commands); i++) {
        g_autofree char *answer = qtest_hmp(qts, "%s", commands[i]);
        g_autofree char *info = info_usernet(qts);

        g_string_append_printf(said, "%s: %s%s", commands[i], answer, info);
    }
    return g_string_free(said, false);
}

static void test_monitor(const void *opaque)
{
    QTestState *qts;
    unsigned i;

    dp_if_up("lo");
    qts = qtest_init("-M none -nodefaults");
    for (i = 0; i < ARRAY_SIZE(forwards); i++) {
        g_autofree char *said = NULL, *said_user = NULL;

        g_assert_null(add_user(qts, forwards[i]));
        said_user = run_commands(qts);
        dp_run_good(qts, "{ 'execute': 'netdev_del',"
                         " 'arguments': { 'id': 'u0' } }");

        g_assert_null(add_slirp(qts, forwards[i]));
        said = run_commands(qts);
        del_slirp(qts);
        g_assert_cmpstr(said, ==, said_user);
        g_assert_nonnull(strstr(said, "HOST_FORWARD"));
    }
    qtest_quit(qts);
}

/* ---- All of them ---- */

/* A type in query-qmp-schema's answer */
static QDict *find_type(QList *schema, const char *name)
{
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(schema, entry) {
        QDict *type = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(type, "name"), name)) {
            return type;
        }
    }
    g_assert_not_reached();
}

/* The entry of @list whose @key is @value */
static QDict *find_entry(QList *list, const char *key, const char *value)
{
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *dict = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(dict, key), value)) {
            return dict;
        }
    }
    return NULL;
}

/* The members of NetdevUserOptions, whose name the schema does not tell */
static QList *netdev_user_members(QList *schema)
{
    QDict *command = find_type(schema, "netdev_add");
    QDict *netdev = find_type(schema, qdict_get_str(command, "arg-type"));
    QDict *variant = find_entry(qdict_get_qlist(netdev, "variants"), "case",
                                "user");
    QDict *user = find_type(schema, qdict_get_str(variant, "type"));

    return qdict_get_qlist(user, "members");
}

/* No option of -netdev user is missing, of this QEMU or a newer one */
static void test_complete(const void *opaque)
{
    QTestState *qts = qtest_init("-M none -nodefaults");
    QDict *schema = qtest_qmp(qts, "{ 'execute': 'query-qmp-schema' }");
    QDict *props = qtest_qmp(qts, "{ 'execute': 'qom-list-properties',"
                             " 'arguments': {"
                             " 'typename': 'vhost-dp-slirp' } }");
    QList *members = netdev_user_members(qdict_get_qlist(schema, "return"));
    QListEntry *entry;

    g_assert_cmpuint(qlist_size(members), >=, 22);
    QLIST_FOREACH_ENTRY(members, entry) {
        QDict *member = qobject_to(QDict, qlist_entry_obj(entry));
        const char *name = qdict_get_str(member, "name");

        g_test_message("%s", name);
        g_assert_nonnull(find_entry(qdict_get_qlist(props, "return"), "name",
                                    name));
    }
    qobject_unref(props);
    qobject_unref(schema);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    dp_skip_all(dp_why_no_driver("vhost-dp-slirp"));
    dp_add_test("slirp-options/complete", NULL, test_complete);
    dp_add_test("slirp-options/errors", NULL, test_errors);
    dp_add_test("slirp-options/monitor", NULL, test_monitor);
    for (i = 0; i < ARRAY_SIZE(valid_options); i++) {
        g_autofree char *path = g_strdup_printf("slirp-options/%s",
                                                valid_options[i].name);

        dp_add_test(path, &valid_options[i], test_valid);
    }
    return g_test_run();
}
