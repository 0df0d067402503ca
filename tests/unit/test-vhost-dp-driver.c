/*
 * vhost-dp: unit tests of the options of drivers
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * net/vhost-dp/driver.c makes properties from a table: here from one that has
 * an option of each type.
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/qobject-input-visitor.h"
#include "qapi/string-input-visitor.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "qom/object_interfaces.h"
#include "qom/qom-qobject.h"
#include "net/vhost-dp.h"

#define TYPE_SAMPLE "vhost-dp-sample"
OBJECT_DECLARE_SIMPLE_TYPE(Sample, SAMPLE)
struct Sample {
    VhostDPDriver parent_obj;
    bool boolean;
    uint32_t u32;
    uint64_t u64;
    uint64_t bytes;
    bool has_bytes;
    int64_t integer;
    char *text;
    char *name;
    VhostDPIoMethod method;
    strList *list;
    unsigned changes;
};

static char *sample_read_name(VhostDPDriver *drv)
{
    return g_strdup(SAMPLE(drv)->name ?: drv->id);
}

static void sample_changed(VhostDPDriver *drv)
{
    SAMPLE(drv)->changes++;
}

static const VhostDPOption sample_options[] = {
    VHOST_DP_OPTION("boolean", BOOL, Sample, boolean, "a boolean"),
    VHOST_DP_OPTION("u32", UINT32, Sample, u32, "a number",
                    .changed = sample_changed),
    VHOST_DP_OPTION("u64", UINT64, Sample, u64, "a larger number"),
    VHOST_DP_OPTION("bytes", SIZE, Sample, bytes, "a size",
                    .has = offsetof(Sample, has_bytes)),
    VHOST_DP_OPTION("integer", INT, Sample, integer, "an integer"),
    VHOST_DP_OPTION("text", STR, Sample, text, "a text"),
    VHOST_DP_OPTION("name", STR, Sample, name, "a name",
                    .read = sample_read_name),
    {
        .name = "method",
        .type = VHOST_DP_OPTION_ENUM,
        .enum_name = "VhostDPIoMethod",
        .lookup = &VhostDPIoMethod_lookup,
        .offset = offsetof(Sample, method),
        .description = "one of two",
    },
    VHOST_DP_OPTION("list", LIST, Sample, list, "texts"),
    { }
};

static bool sample_open(VhostDPDriver *drv, unsigned queue_pairs, Error **errp)
{
    return true;
}

static void sample_close(VhostDPDriver *drv)
{
}

static void sample_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) { .max_queue_pairs = 1 };
}

static void sample_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);

    dc->open = sample_open;
    dc->close = sample_close;
    dc->get_caps = sample_get_caps;
    vhost_dp_driver_add_options(oc, sample_options);
}

static const TypeInfo sample_types[] = {
    {
        .name = TYPE_SAMPLE,
        .parent = TYPE_VHOST_DP_DRIVER,
        .instance_size = sizeof(Sample),
        .class_init = sample_class_init,
    },
};

DEFINE_TYPES(sample_types)

static Sample *sample_new(void)
{
    return SAMPLE(object_new_with_props(TYPE_SAMPLE, object_get_objects_root(),
                                        "s0", &error_abort, NULL));
}

/* As the user would, with a text */
static bool set(Sample *s, const char *name, const char *value, Error **errp)
{
    return object_property_parse(OBJECT(s), name, value, errp);
}

static void check_reads(Sample *s, const char *name, const char *want)
{
    g_autofree char *got = object_property_print(OBJECT(s), name, false,
                                                 &error_abort);

    g_assert_cmpstr(got, ==, want);
}

static void check_refused(Sample *s, const char *name, const char *value)
{
    Error *err = NULL;

    g_assert_false(set(s, name, value, &err));
    error_free_or_abort(&err);
}

static void test_values(void)
{
    Sample *s = sample_new();

    check_reads(s, "text", "");
    check_reads(s, "name", "s0");
    check_reads(s, "method", "system-calls");
    g_assert_false(s->has_bytes);

    set(s, "boolean", "on", &error_abort);
    set(s, "u32", "4294967295", &error_abort);
    set(s, "u64", "1000000000000", &error_abort);
    set(s, "bytes", "1M", &error_abort);
    set(s, "integer", "-5", &error_abort);
    set(s, "text", "first", &error_abort);
    set(s, "text", "second", &error_abort);
    set(s, "name", "somebody", &error_abort);
    set(s, "method", "io-uring", &error_abort);

    g_assert_true(s->boolean);
    g_assert_cmpuint(s->u32, ==, UINT32_MAX);
    g_assert_cmpuint(s->u64, ==, 1000000000000ULL);
    g_assert_cmpuint(s->bytes, ==, 1 * MiB);
    g_assert_true(s->has_bytes);
    g_assert_cmpint(s->integer, ==, -5);
    g_assert_cmpint(s->method, ==, VHOST_DP_IO_METHOD_IO_URING);
    g_assert_cmpuint(s->changes, ==, 1);

    check_reads(s, "boolean", "true");
    check_reads(s, "u32", "4294967295");
    check_reads(s, "u64", "1000000000000");
    check_reads(s, "bytes", "1048576");
    check_reads(s, "integer", "-5");
    check_reads(s, "text", "second");
    check_reads(s, "name", "somebody");
    check_reads(s, "method", "io-uring");
    object_unparent(OBJECT(s));
}

/* A value that is refused leaves what was there before */
static void test_refused(void)
{
    Sample *s = sample_new();

    set(s, "u32", "7", &error_abort);
    check_refused(s, "u32", "4294967303");
    check_refused(s, "u32", "-1");
    check_refused(s, "u32", "seven");
    g_assert_cmpuint(s->u32, ==, 7);
    g_assert_cmpuint(s->changes, ==, 1);

    check_refused(s, "bytes", "1X");
    g_assert_false(s->has_bytes);
    g_assert_cmpuint(s->bytes, ==, 0);

    set(s, "method", "io-uring", &error_abort);
    check_refused(s, "method", "magic");
    check_reads(s, "method", "io-uring");

    check_refused(s, "boolean", "perhaps");
    g_assert_false(s->boolean);
    object_unparent(OBJECT(s));
}

static void test_list(void)
{
    Sample *s = sample_new();
    g_autoptr(QList) two = qlist_new();
    g_autoptr(QList) none = qlist_new();
    QList *got;

    qlist_append_str(two, "a");
    qlist_append_str(two, "b");
    object_property_set_qobject(OBJECT(s), "list", QOBJECT(two), &error_abort);
    got = qobject_to(QList, object_property_get_qobject(OBJECT(s), "list",
                                                        &error_abort));
    g_assert_true(qobject_is_equal(QOBJECT(got), QOBJECT(two)));
    qobject_unref(got);

    /* One value takes the place of the other */
    object_property_set_qobject(OBJECT(s), "list", QOBJECT(none), &error_abort);
    g_assert_null(s->list);
    object_property_set_qobject(OBJECT(s), "list", QOBJECT(two), &error_abort);
    g_assert_cmpstr(s->list->next->value, ==, "b");
    object_unparent(OBJECT(s));
}

/* No option changes while a netdev uses the driver; all can be read */
static void test_claimed(void)
{
    Sample *s = sample_new();
    const VhostDPOption *opt;
    Error *err = NULL;

    g_assert_nonnull(vhost_dp_driver_claim("s0", "vd0", 1, &error_abort));
    for (opt = sample_options; opt->name; opt++) {
        g_autofree char *got = NULL, *want = NULL;

        g_assert_false(set(s, opt->name, "1", &err));
        want = g_strdup_printf(TYPE_SAMPLE " 's0': %s= cannot be changed while "
                               "netdev 'vd0' uses the driver", opt->name);
        g_assert_cmpstr(error_get_pretty(err), ==, want);
        error_free(err);
        err = NULL;
        got = object_property_print(OBJECT(s), opt->name, false, &error_abort);
        g_assert_nonnull(got);
    }
    g_assert_false(set(s, "offloads", "off", &err));
    error_free_or_abort(&err);
    g_assert_cmpuint(s->changes, ==, 0);

    vhost_dp_driver_release(VHOST_DP_DRIVER(s));
    set(s, "u32", "1", &error_abort);
    set(s, "offloads", "off", &error_abort);
    g_assert_false(VHOST_DP_DRIVER(s)->offloads);
    object_unparent(OBJECT(s));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);

    g_test_add_func("/vhost-dp/driver/values", test_values);
    g_test_add_func("/vhost-dp/driver/refused", test_refused);
    g_test_add_func("/vhost-dp/driver/list", test_list);
    g_test_add_func("/vhost-dp/driver/claimed", test_claimed);
    return g_test_run();
}
