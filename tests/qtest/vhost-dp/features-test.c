/*
 * vhost-dp: qtests, the features that a guest is offered
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest can move between stock -netdev tap and vhost-dp if both offer the
 * same.  So whatever the machine and the device's properties are, the same
 * bits are offered, by one and by the other.
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "guest.h"

#define NETDEVS \
    "-netdev tap,id=stock,ifname=tap1,script=no,downscript=no,vhost=off " \
    "-object vhost-dp-tap,id=tap0 -netdev vhost-dp,id=ours,driver=tap0 "

#define ROOT_PORT "-device pcie-root-port,id=rp,slot=1 "

/* By PCI Express' own means a device goes that the guest has not seen yet */
#define NO_ACPI_HOTPLUG \
    "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off "

typedef struct Machine {
    const char *arch;
    const char *name;
    const char *type;           /* of the NIC */
    const char *options;        /* of QEMU */
    const char *bus;            /* that NICs are plugged into, or NULL */
} Machine;

/*
 * The newest ones, and the oldest that QEMU still has: between these two are
 * all defaults that properties ever had.
 */
static const Machine machines[] = {
    { "x86_64", "pc", "virtio-net-pci", "", "pci.0" },
    { "x86_64", "q35", "virtio-net-pci", NO_ACPI_HOTPLUG ROOT_PORT, "rp" },
    { "x86_64", "oldest pc-i440fx-", "virtio-net-pci", "", "pci.0" },
    { "x86_64", "oldest pc-q35-", "virtio-net-pci",
      NO_ACPI_HOTPLUG ROOT_PORT, "rp" },
    { "aarch64", "virt", "virtio-net-pci", ROOT_PORT, "rp" },
    { "aarch64", "oldest virt-", "virtio-net-pci", ROOT_PORT, "rp" },
};

/*
 * What vhost-dp does not have yet: for these a destination has to have the
 * property off, which is the default.
 */
static const struct {
    const char *property;
    const char *feature;
} missing[] = {
    { "guest_rsc_ext", "VIRTIO_NET_F_RSC_EXT:" },
};

/* What stock netdevs do not have: a device with one of these refuses them */
static const char *const own[] = {
    "notf_coal", "vq_notf_coal", "device_stats",
};

/* More than one property at a time, and those that are not on or off */
static const char *const combinations[] = {
    "disable-modern=off,disable-legacy=on,packed=on,in_order=on,queue_reset=on",
    "disable-modern=off,disable-legacy=on,iommu_platform=on,ats=on",
    "disable-modern=on,disable-legacy=off",
    "disable-legacy=off,packed=on",
    "ioeventfd=off,packed=on",
    "indirect_desc=off,event_idx=off,any_layout=off",
    "host_mtu=9000", "host_mtu=9000,x-mtu-bypass-backend=off",
    "rss=on,hash=on,mq=on", "disable-modern=on,disable-legacy=off,rss=on",
    "speed=1000,duplex=full,mq=on", "gso=off,csum=off,guest_csum=off",
};

/* Function 0 is never plugged: so the others can go without a guest's help */
#define SLOT        5
#define EJECT_PORT  0xae08      /* of a PC without PCI Express */

/* All that is offered, with a line for each; but not the feature @without */
static char *offered(QTestState *qts, const char *id, const char *without,
                     bool *had)
{
    static const char *const lists[] = { "dev-features", "transports" };
    QDict *answer = qtest_qmp_assert_success_ref(
        qts, "{ 'execute': 'x-query-virtio-status', 'arguments':"
        " { 'path': %s } }", id);
    QDict *features = qdict_get_qdict(answer, "host-features");
    g_autoptr(GString) text = g_string_new(NULL);
    const QListEntry *entry;
    unsigned i;

    *had = false;
    for (i = 0; i < ARRAY_SIZE(lists); i++) {
        QLIST_FOREACH_ENTRY(qdict_get_qlist(features, lists[i]), entry) {
            const char *name = qstring_get_str(
                qobject_to(QString, qlist_entry_obj(entry)));

            if (without && g_str_has_prefix(name, without)) {
                *had = true;
            } else {
                g_string_append_printf(text, "%s\n", name);
            }
        }
    }
    g_string_append_printf(text, "0x%" PRIx64 "\n", (uint64_t)
        qdict_get_try_int(features, "unknown-dev-features", 0));
    qobject_unref(answer);
    return g_string_free(g_steal_pointer(&text), false);
}

static void compare(QTestState *qts, const char *stock, const char *ours,
                    const char *what, const char *without)
{
    bool had, have;
    g_autofree char *theirs = offered(qts, stock, without, &had);
    g_autofree char *here = offered(qts, ours, without, &have);

    if (strcmp(theirs, here) || had != !!without || have) {
        g_error("%s: stock offers\n%s(and %s: %d)\nvhost-dp:\n%s(%d)", what,
                theirs, without, had, here, have);
    }
}

static bool add_nic(const Machine *m, QTestState *qts, const char *id,
                    unsigned function, const char *options)
{
    g_auto(GStrv) parts = g_strsplit(options, ",", -1);
    QDict *arguments = qdict_new();
    QDict *answer;
    bool good;
    unsigned i;

    qdict_put_str(arguments, "driver", m->type);
    qdict_put_str(arguments, "netdev", id);
    qdict_put_str(arguments, "id", id);
    qdict_put_str(arguments, "bus", m->bus);
    qdict_put_str(arguments, "romfile", "");
    qdict_put(arguments, "addr", qstring_from_str(
        g_strcmp0(m->bus, "rp") ? (function == 1 ? "5.1" : "5.2")
                                  : (function == 1 ? "0.1" : "0.2")));
    for (i = 0; parts[i] && *parts[i]; i++) {
        char *value = strchr(parts[i], '=');

        *value++ = 0;
        if (!strcmp(value, "on") || !strcmp(value, "off")) {
            /* Properties that can be "auto" want a string */
            if (g_str_has_prefix(parts[i], "disable-legacy")) {
                qdict_put_str(arguments, parts[i], value);
            } else {
                qdict_put_bool(arguments, parts[i], !strcmp(value, "on"));
            }
        } else if (g_ascii_isdigit(*value)) {
            qdict_put_int(arguments, parts[i], atoi(value));
        } else {
            qdict_put_str(arguments, parts[i], value);
        }
    }
    answer = qtest_qmp(qts, "{ 'execute': 'device_add', 'arguments': %p }",
                       arguments);
    good = qdict_haskey(answer, "return");
    if (!good) {
        g_test_message("%s: %s", id, qdict_get_str(
            qdict_get_qdict(answer, "error"), "desc"));
    }
    qobject_unref(answer);
    return good;
}

static void remove_nics(const Machine *m, QTestState *qts)
{
    static const char *const ids[] = { "stock", "ours" };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(ids); i++) {
        qtest_qmp_assert_success(qts, "{ 'execute': 'device_del',"
                                 " 'arguments': { 'id': %s } }", ids[i]);
    }
    if (strcmp(m->bus, "rp")) {
        qtest_outl(qts, EJECT_PORT, 1u << SLOT);
    }
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
}

/* Returns whether there is such a device */
static bool compare_nics(const Machine *m, QTestState *qts,
                         const char *options, const char *without)
{
    bool stock = add_nic(m, qts, "stock", 1, options);
    bool ours = add_nic(m, qts, "ours", 2, options);

    g_test_message("%s: %s", m->name, options);
    if (stock != ours) {
        g_error("%s: stock %d, vhost-dp %d", options, stock, ours);
    }
    if (stock) {
        compare(qts, "/machine/peripheral/stock/virtio-backend",
                "/machine/peripheral/ours/virtio-backend", options, without);
        remove_nics(m, qts);
    }
    return stock;
}

/* Each property that is on or off, the other way round */
static unsigned compare_properties(const Machine *m, QTestState *qts)
{
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'device-list-properties',"
                              " 'arguments': { 'typename': %s } }", m->type);
    const QListEntry *entry;
    unsigned n = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(answer, "return"), entry) {
        QDict *property = qobject_to(QDict, qlist_entry_obj(entry));
        const char *name = qdict_get_str(property, "name");
        const char *without = NULL;
        g_autofree char *options = NULL;
        unsigned i;

        if (!strcmp(name, "modern-pio-notify")) {
            /* Without a modern interface QEMU ends when the device goes */
            continue;
        }
        if (strcmp(qdict_get_str(property, "type"), "bool") ||
            !qdict_haskey(property, "default-value")) {
            continue;
        }
        for (i = 0; i < ARRAY_SIZE(missing); i++) {
            if (!strcmp(name, missing[i].property)) {
                without = missing[i].feature;
            }
        }
        options = g_strdup_printf("%s=%s", name,
            qdict_get_bool(property, "default-value") ? "off" : "on");
        for (i = 0; i < ARRAY_SIZE(own) && strcmp(name, own[i]); i++) {
            /* Look at the next one */
        }
        if (i < ARRAY_SIZE(own)) {
            g_assert_false(add_nic(m, qts, "stock", 1, options));
        } else {
            n += compare_nics(m, qts, options, without);
        }
    }
    qobject_unref(answer);
    return n;
}

/* The name of the oldest machine whose name begins with @prefix */
static char *oldest_machine(const char *prefix)
{
    g_autofree char *oldest = NULL;
    QTestState *qts = qtest_init("-M none");
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'query-machines' }");
    const QListEntry *entry;
    int least = INT_MAX;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(answer, "return"), entry) {
        const char *name = qdict_get_str(
            qobject_to(QDict, qlist_entry_obj(entry)), "name");
        int major, minor;

        if (g_str_has_prefix(name, prefix) &&
            sscanf(name + strlen(prefix), "%d.%d", &major, &minor) == 2 &&
            1000 * major + minor < least) {
            least = 1000 * major + minor;
            g_free(oldest);
            oldest = g_strdup(name);
        }
    }
    qobject_unref(answer);
    qtest_quit(qts);
    g_assert_nonnull(oldest);
    return g_steal_pointer(&oldest);
}

static void test_machine(const void *opaque)
{
    const Machine *m = opaque;
    g_autofree char *name = g_str_has_prefix(m->name, "oldest ") ?
        oldest_machine(strchr(m->name, ' ') + 1) : g_strdup(m->name);
    QTestState *qts = qtest_initf("-M %s -nodefaults %s " NETDEVS, name,
                                  m->options);
    unsigned i;

    g_assert_true(compare_nics(m, qts, "", NULL));
    for (i = 0; i < ARRAY_SIZE(combinations); i++) {
        g_assert_true(compare_nics(m, qts, combinations[i], NULL));
    }
    g_assert_cmpuint(compare_properties(m, qts), >, 40);
    qtest_quit(qts);
}

/* On virtio-mmio, where a device cannot be plugged in */
static void test_mmio(const void *opaque)
{
    const char *options = opaque;
    QTestState *qts = qtest_initf(
        "-M %s -nodefaults %s " NETDEVS
        "-device virtio-net-device,netdev=stock,id=stock "
        "-device virtio-net-device,netdev=ours,id=ours",
        strcmp(qtest_get_arch(), "aarch64") ? "microvm" : "virt", options);

    compare(qts, "/machine/peripheral/stock", "/machine/peripheral/ours",
            options, NULL);
    qtest_quit(qts);
}

/* ---- The same bits on each driver ---- */

#define OFFLOADS \
    (DP_FEATURE(VIRTIO_NET_F_CSUM) | DP_FEATURE(VIRTIO_NET_F_HOST_TSO4) | \
     DP_FEATURE(VIRTIO_NET_F_HOST_TSO6) | DP_FEATURE(VIRTIO_NET_F_HOST_ECN) | \
     DP_FEATURE(VIRTIO_NET_F_HOST_UFO) | DP_FEATURE(VIRTIO_NET_F_HOST_USO) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_UFO) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_USO4) | \
     DP_FEATURE(VIRTIO_NET_F_GUEST_USO6) | \
     DP_FEATURE(VIRTIO_NET_F_CTRL_VQ) | \
     DP_FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))

/*
 * What is offered depends on the properties of the device, not on the driver,
 * its options, or the interface.
 */
static uint64_t offered_bits(const DpDriver *driver, const char *more,
                             const char *device)
{
    g_autofree char *object = dp_driver_object(driver, "d0", more);
    DpGuest *guest = dp_guest_new("%s -netdev vhost-dp,id=vd0,driver=d0 "
                                  DP_DEVICE "%s", object, device);
    DpNic *nic = dp_nic_probe(guest, DP_SLOT);
    uint64_t features = qvirtio_get_features(nic->vdev);

    dp_nic_free(nic);
    dp_guest_free(guest);
    return features;
}

static const char *const driver_devices[] = {
    "disable-legacy=on", "disable-legacy=on,host_ufo=off",
    "disable-legacy=on,csum=off",
};

/* By one driver; asked for once */
static const uint64_t *features_wanted(void)
{
    static uint64_t want[ARRAY_SIZE(driver_devices)];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(want) && !want[i]; i++) {
        want[i] = offered_bits(&dp_drivers[DP_DRIVER_NULL], "",
                               driver_devices[i]);
        g_assert_true(!i == (want[i] == want[0]));
    }
    g_assert_cmphex(want[0] & OFFLOADS, ==, OFFLOADS);
    return want;
}

static void test_drivers(const void *opaque)
{
    const DpDriver *driver = opaque;
    const uint64_t *want;
    unsigned i;

    if (!dp_has_driver(driver->type)) {
        return;
    }
    want = features_wanted();
    dp_driver_host_new(driver, 1);
    for (i = 0; i < ARRAY_SIZE(driver_devices); i++) {
        g_assert_cmphex(offered_bits(driver, "", driver_devices[i]), ==,
                        want[i]);
    }
    g_assert_cmphex(offered_bits(driver, ",offloads=off", driver_devices[0]),
                    ==, want[0]);
}

int main(int argc, char **argv)
{
    unsigned i;

    dp_test_init(&argc, &argv);
    for (i = 0; i < ARRAY_SIZE(machines); i++) {
        g_autofree char *path = g_strdup_printf("features/%s",
                                                machines[i].name);

        if (!strcmp(machines[i].arch, qtest_get_arch())) {
            g_strdelimit(path, " ", '/');
            dp_add_test(path, &machines[i], test_machine);
        }
    }
    dp_add_test("features/mmio/legacy", "", test_mmio);
    dp_add_test("features/mmio/modern",
                "-global virtio-mmio.force-legacy=false "
                "-global virtio-net-device.packed=on "
                "-global virtio-net-device.in_order=on", test_mmio);
    dp_add_driver_tests("soft/features", test_drivers);
    return g_test_run();
}
