/*
 * vhost-dp: the abstract driver, parent of all vhost-dp-* driver objects
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: user-creatable, so that drivers come with -object and
 * object-add.  Its options are properties that are made from a table.  A netdev
 * claims a driver for itself; a claimed driver cannot be deleted, and its
 * options cannot change.  Everything here runs under the BQL.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/visitor.h"
#include "qom/object_interfaces.h"
#include "net/vhost-dp.h"
#include "trace.h"

static VhostDPDriver *driver_find(const char *id, const char *netdev,
                                  Error **errp)
{
    ERRP_GUARD();
    Object *obj = object_resolve_path_component(object_get_objects_root(), id);

    if (!obj) {
        error_setg(errp, "vhost-dp netdev '%s': driver=%s: there is no object "
                   "with this id", netdev, id);
        error_append_hint(errp, "Create it first, for example: "
                          "-object vhost-dp-tap,id=%s\n", id);
        return NULL;
    }
    if (!object_dynamic_cast(obj, TYPE_VHOST_DP_DRIVER)) {
        error_setg(errp, "vhost-dp netdev '%s': driver=%s is an object of type "
                   "%s, not a vhost-dp driver", netdev, id,
                   object_get_typename(obj));
        error_append_hint(errp, "Drivers are the types whose names begin with "
                          "vhost-dp-; see -object help.\n");
        return NULL;
    }
    return VHOST_DP_DRIVER(obj);
}

void vhost_dp_driver_prepend(VhostDPDriver *drv, Error **errp)
{
    error_prepend(errp, "%s '%s': ", object_get_typename(OBJECT(drv)),
                  drv->id);
}

static bool driver_check_options(VhostDPDriver *drv, Error **errp)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_GET_CLASS(drv);

    return !dc->check_options || dc->check_options(drv, errp);
}

VhostDPDriver *vhost_dp_driver_claim(const char *id, const char *netdev,
                                     unsigned queue_pairs, Error **errp)
{
    ERRP_GUARD();
    VhostDPDriver *drv = driver_find(id, netdev, errp);
    VhostDPDriverClass *dc;
    VhostDPCaps caps = {};

    if (!drv) {
        return NULL;
    }
    if (drv->claimed_by) {
        error_setg(errp, "vhost-dp netdev '%s': driver=%s is in use by netdev "
                   "'%s'", netdev, id, drv->claimed_by);
        error_append_hint(errp, "Each netdev needs a driver object of its "
                          "own.\n");
        return NULL;
    }

    dc = VHOST_DP_DRIVER_GET_CLASS(drv);
    dc->get_caps(drv, &caps);
    if (queue_pairs > caps.max_queue_pairs) {
        error_setg(errp, "vhost-dp netdev '%s': queues=%u is more than driver "
                   "'%s' (%s) supports: 1 to %u", netdev, queue_pairs, id,
                   object_get_typename(OBJECT(drv)), caps.max_queue_pairs);
        return NULL;
    }
    drv->claimed_by = g_strdup(netdev);
    /* The options may have been changed since the object was made */
    if (!driver_check_options(drv, errp) ||
        !dc->open(drv, queue_pairs, errp)) {
        vhost_dp_driver_prepend(drv, errp);
        g_free(drv->claimed_by);
        drv->claimed_by = NULL;
        return NULL;
    }
    object_ref(OBJECT(drv));
    trace_vhost_dp_driver_claim(id, netdev, queue_pairs);
    return drv;
}

void vhost_dp_driver_query(VhostDPDriver *drv, const VhostDPCaps *caps,
                           VhostDPDriverInfo *info)
{
    *info = (VhostDPDriverInfo) {
        .tx_offloads = caps->tx_offloads,
        .rx_offloads = caps->rx_offloads,
    };
    VHOST_DP_DRIVER_GET_CLASS(drv)->query(drv, info);
}

void vhost_dp_driver_info_clear(VhostDPDriverInfo *info)
{
    g_free(info->interface);
    qapi_free_VhostDPPeerInfo(info->peer);
}

void vhost_dp_driver_release(VhostDPDriver *drv)
{
    trace_vhost_dp_driver_release(drv->claimed_by);
    VHOST_DP_DRIVER_GET_CLASS(drv)->close(drv);
    g_free(drv->claimed_by);
    drv->claimed_by = NULL;
    object_unref(OBJECT(drv));
}

/* ---- Options ---- */

/* A value on its way between a visitor and a member of a driver's struct */
typedef union OptionValue {
    bool boolean;
    uint32_t uint32;
    uint64_t uint64;
    int64_t integer;
    char *str;
    int enumeration;
    strList *list;
} OptionValue;

/* What the property's type is called, and how large the member is */
static const struct {
    const char *name;
    size_t size;
} option_types[] = {
    [VHOST_DP_OPTION_BOOL] = { "bool", sizeof(bool) },
    [VHOST_DP_OPTION_UINT32] = { "uint32", sizeof(uint32_t) },
    [VHOST_DP_OPTION_UINT64] = { "uint64", sizeof(uint64_t) },
    [VHOST_DP_OPTION_SIZE] = { "size", sizeof(uint64_t) },
    [VHOST_DP_OPTION_INT] = { "int", sizeof(int64_t) },
    [VHOST_DP_OPTION_STR] = { "string", sizeof(char *) },
    [VHOST_DP_OPTION_ENUM] = { NULL, sizeof(int) },
    [VHOST_DP_OPTION_LIST] = { "strList", sizeof(strList *) },
};

static bool option_visit(const VhostDPOption *opt, Visitor *v, const char *name,
                         OptionValue *value, Error **errp)
{
    switch (opt->type) {
    case VHOST_DP_OPTION_BOOL:
        return visit_type_bool(v, name, &value->boolean, errp);
    case VHOST_DP_OPTION_UINT32:
        return visit_type_uint32(v, name, &value->uint32, errp);
    case VHOST_DP_OPTION_UINT64:
        return visit_type_uint64(v, name, &value->uint64, errp);
    case VHOST_DP_OPTION_SIZE:
        return visit_type_size(v, name, &value->uint64, errp);
    case VHOST_DP_OPTION_INT:
        return visit_type_int(v, name, &value->integer, errp);
    case VHOST_DP_OPTION_STR:
        return visit_type_str(v, name, &value->str, errp);
    case VHOST_DP_OPTION_ENUM:
        return visit_type_enum(v, name, &value->enumeration, opt->lookup, errp);
    case VHOST_DP_OPTION_LIST:
        return visit_type_strList(v, name, &value->list, errp);
    }
    g_assert_not_reached();
}

static void option_get(Object *obj, Visitor *v, const char *name, void *opaque,
                       Error **errp)
{
    const VhostDPOption *opt = opaque;
    g_autofree char *text = NULL;
    OptionValue value;

    if (opt->read) {
        text = opt->read(VHOST_DP_DRIVER(obj));
        visit_type_str(v, name, &text, errp);
        return;
    }
    memcpy(&value, (void *)obj + opt->offset, option_types[opt->type].size);
    if (opt->type == VHOST_DP_OPTION_STR && !value.str) {
        value.str = (char *)"";
    }
    option_visit(opt, v, name, &value, errp);
}

/* The object goes, or a new value comes */
static void option_free(Object *obj, const char *name, void *opaque)
{
    const VhostDPOption *opt = opaque;
    void *field = (void *)obj + opt->offset;

    if (opt->type == VHOST_DP_OPTION_STR) {
        g_clear_pointer((char **)field, g_free);
    } else if (opt->type == VHOST_DP_OPTION_LIST) {
        g_clear_pointer((strList **)field, qapi_free_strList);
    }
}

static void option_set(Object *obj, Visitor *v, const char *name, void *opaque,
                       Error **errp)
{
    const VhostDPOption *opt = opaque;
    VhostDPDriver *drv = VHOST_DP_DRIVER(obj);
    OptionValue value = {};

    if (drv->claimed_by) {
        error_setg(errp, "%s '%s': %s= cannot be changed while netdev '%s' "
                   "uses the driver", object_get_typename(obj), drv->id, name,
                   drv->claimed_by);
        return;
    }
    if (!option_visit(opt, v, name, &value, errp)) {
        return;
    }
    option_free(obj, name, opaque);
    memcpy((void *)obj + opt->offset, &value, option_types[opt->type].size);
    if (opt->has) {
        *(bool *)((void *)obj + opt->has) = true;
    }
    if (opt->changed) {
        opt->changed(drv);
    }
}

void vhost_dp_driver_add_options(ObjectClass *oc, const VhostDPOption *options)
{
    const VhostDPOption *opt;

    for (opt = options; opt->name; opt++) {
        object_class_property_add(oc, opt->name,
                                  opt->enum_name ?:
                                  option_types[opt->type].name,
                                  option_get, option_set, option_free,
                                  (void *)opt);
        object_class_property_set_description(oc, opt->name, opt->description);
    }
}

/* ---- The object ---- */

static const VhostDPOption driver_options[] = {
    VHOST_DP_OPTION("offloads", BOOL, VhostDPDriver, offloads,
        "leave checksums and segmentation to the host interface where it can "
        "do them (default: on); otherwise vhost-dp does, for the same guest"),
    { }
};

static void driver_complete(UserCreatable *uc, Error **errp)
{
    ERRP_GUARD();
    VhostDPDriver *drv = VHOST_DP_DRIVER(uc);

    drv->id = g_strdup(object_get_canonical_path_component(OBJECT(uc)));
    if (!driver_check_options(drv, errp)) {
        vhost_dp_driver_prepend(drv, errp);
    }
}

static bool driver_can_be_deleted(UserCreatable *uc)
{
    return !VHOST_DP_DRIVER(uc)->claimed_by;
}

static void driver_class_init(ObjectClass *oc, const void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = driver_complete;
    ucc->can_be_deleted = driver_can_be_deleted;

    vhost_dp_driver_add_options(oc, driver_options);
}

static void driver_instance_init(Object *obj)
{
    VHOST_DP_DRIVER(obj)->offloads = true;
}

static void driver_instance_finalize(Object *obj)
{
    g_free(VHOST_DP_DRIVER(obj)->id);
}

static const TypeInfo driver_info = {
    .name = TYPE_VHOST_DP_DRIVER,
    .parent = TYPE_OBJECT,
    .abstract = true,
    .instance_size = sizeof(VhostDPDriver),
    .instance_init = driver_instance_init,
    .instance_finalize = driver_instance_finalize,
    .class_size = sizeof(VhostDPDriverClass),
    .class_init = driver_class_init,
    .interfaces = (const InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void driver_register_types(void)
{
    type_register_static(&driver_info);
}

type_init(driver_register_types)
