/*
 * vhost-dp: qtests, the drivers that there are
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/if_tun.h>
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "fault.h"
#include "guest.h"
#include "host-relay.h"

const DpDriver dp_drivers[DP_DRIVERS] = {
    [DP_DRIVER_NULL] = {
        .name = "null", .type = "vhost-dp-null", .options = ",loopback=on",
        .end = DP_END_LOOPBACK, .pairs = 4,
    },
    [DP_DRIVER_TAP] = {
        .name = "tap", .type = "vhost-dp-tap", .options = ",ifname=tap0",
        .end = DP_END_TAP, .interface = "tap0", .peer = "tap0", .pairs = 4,
        .files = DP_FILE_TUN | DP_FILE_INET | DP_FILE_NETLINK | DP_FILE_NONE,
    },
    [DP_DRIVER_VHOST_NET] = {
        .name = "vhost-net", .type = "vhost-dp-vhost-net",
        .options = ",ifname=tap0", .end = DP_END_TAP, .interface = "tap0",
        .peer = "tap0", .pairs = 4, .node = "/dev/vhost-net",
    },
    [DP_DRIVER_AF_PACKET] = {
        .name = "af-packet", .type = "vhost-dp-af-packet",
        .options = ",ifname=v0", .end = DP_END_VETH, .interface = "v0",
        .peer = "v1", .pairs = 4,
        .files = DP_FILE_PACKET | DP_FILE_INET | DP_FILE_NETLINK |
                 DP_FILE_NONE,
    },
    [DP_DRIVER_AF_XDP] = {
        .name = "af-xdp", .type = "vhost-dp-af-xdp",
        .options = ",ifname=v0", .end = DP_END_VETH, .interface = "v0",
        .peer = "v1", .pairs = 1,
        .files = DP_FILE_XDP | DP_FILE_INET | DP_FILE_NETLINK | DP_FILE_NONE,
    },
    [DP_DRIVER_SLIRP] = {
        .name = "slirp", .type = "vhost-dp-slirp",
        .options = ",hostfwd=tcp:127.0.0.1:5555-:22", .end = DP_END_SLIRP,
        .pairs = 1, .files = DP_FILE_INET | DP_FILE_NONE,
    },
    [DP_DRIVER_VHOST_USER] = {
        /* Nobody connects */
        .name = "vhost-user", .type = "vhost-dp-vhost-user",
        .options = ",server=on,path=", .has_path = true,
        .end = DP_END_NOBODY, .pairs = 4,
    },
    [DP_DRIVER_STREAM] = {
        .name = "stream", .type = "vhost-dp-stream",
        .options = ",reconnect-ms=10,addr.type=unix,addr.path=",
        .has_path = true, .end = DP_END_RELAY, .peer = "relay0", .pairs = 1,
    },
};

/* ---- The host's side ---- */

static char *socket_path;

static void remove_socket(void)
{
    unlink(socket_path);
}

/* A QEMU that is killed does not remove it */
static const char *get_socket_path(void)
{
    if (!socket_path) {
        socket_path = g_strdup_printf("%s/vhost-dp-%d.sock", g_get_tmp_dir(),
                                      (int)getpid());
        atexit(remove_socket);
    }
    return socket_path;
}

void dp_driver_host_new(const DpDriver *driver, unsigned pairs)
{
    dp_if_up("lo");
    switch (driver->end) {
    case DP_END_TAP:
        dp_tap_new(driver->interface,
                   IFF_VNET_HDR | (pairs > 1 ? IFF_MULTI_QUEUE : 0));
        dp_if_up(driver->interface);
        break;
    case DP_END_VETH:
        dp_veth_new(driver->interface, driver->peer);
        break;
    case DP_END_RELAY:
        dp_relay_start(get_socket_path(), driver->peer);
        break;
    default:
        break;
    }
}

char *dp_driver_object(const DpDriver *driver, const char *id,
                       const char *more)
{
    return g_strdup_printf("-object %s,id=%s%s%s%s ", driver->type, id,
                           driver->options,
                           driver->has_path ? get_socket_path() : "", more);
}

/* ---- Which there are ---- */

bool dp_driver_has_node(const DpDriver *driver)
{
    return !driver->node || access(driver->node, R_OK | W_OK) == 0;
}

void dp_add_driver_tests(const char *prefix, void (*fn)(const void *driver))
{
    unsigned i;

    for (i = 0; i < DP_DRIVERS; i++) {
        if (dp_driver_has_node(&dp_drivers[i])) {
            g_autofree char *path = g_strdup_printf("%s/%s", prefix,
                                                    dp_drivers[i].name);

            dp_add_test(path, &dp_drivers[i], fn);
        }
    }
}

static bool has_type(const char *type)
{
    QTestState *qts = dp_qemu_new(NULL);
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'qom-list-types',"
                              " 'arguments': { 'implements':"
                              " 'vhost-dp-driver' } }");
    const QListEntry *entry;
    bool has = false;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(answer, "return"), entry) {
        QDict *each = qobject_to(QDict, qlist_entry_obj(entry));

        has |= !strcmp(qdict_get_str(each, "name"), type);
    }
    qobject_unref(answer);
    qtest_quit(qts);
    return has;
}

const char *dp_why_no_driver(const char *type)
{
    if (!has_type(type)) {
        return "QEMU was built without this driver";
    }
    if (!strcmp(type, dp_drivers[DP_DRIVER_AF_XDP].type) && !dp_has_xdp()) {
        return "XDP needs CAP_BPF and CAP_NET_ADMIN in the initial user "
               "namespace: run the test as root";
    }
    return NULL;
}

bool dp_has_driver(const char *type)
{
    const char *why = dp_why_no_driver(type);

    if (why) {
        g_test_skip(why);
    }
    return !why;
}
