/*
 * vhost-dp: the abstract driver, parent of all vhost-dp-* driver objects
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: user-creatable, so that drivers come with -object and
 * object-add.  Its options are properties that are made from a table.  A netdev
 * claims a driver for itself, or a filter does; a claimed driver cannot be
 * deleted, and only those of its options can change that are said to be live.
 * While a netdev moves from one chain of drivers to another, those that are in
 * both are claimed twice, and opened once.
 * Everything here runs under the BQL.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/qapi-visit-sockets.h"
#include "qapi/visitor.h"
#include "qom/object_interfaces.h"
#include "net/vhost-dp.h"
#include "trace.h"

/* @who: begins the errors, with ": " at the end, or "" */
static VhostDPDriver *driver_find(const char *id, const char *who,
                                  Error **errp)
{
    ERRP_GUARD();
    Object *obj = object_resolve_path_component(object_get_objects_root(), id);

    if (!obj) {
        error_setg(errp, "%sdriver=%s: there is no object with this id", who,
                   id);
        error_append_hint(errp, "Create it first, for example: "
                          "-object vhost-dp-tap,id=%s\n", id);
        return NULL;
    }
    if (!object_dynamic_cast(obj, TYPE_VHOST_DP_DRIVER)) {
        error_setg(errp, "%sdriver=%s is an object of type %s, not a vhost-dp "
                   "driver", who, id, object_get_typename(obj));
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

/* The first driver of the chain that is about to be replaced, or NULL.  BQL. */
static VhostDPDriver *driver_replaced;

/* Is the driver part of that chain, and not of its successor yet? */
static bool driver_is_replaced(const VhostDPDriver *drv)
{
    const VhostDPDriver *d;

    for (d = drv; d; d = d->above) {
        if (d == driver_replaced) {
            return !drv->shared;
        }
    }
    return false;
}

/* Returns whether nobody uses the driver yet, but who is to be replaced */
static bool driver_is_free(VhostDPDriver *drv, VhostDPDriver *above,
                           const char *who, Error **errp)
{
    ERRP_GUARD();
    VhostDPDriver *d;

    for (d = above; d; d = d->above) {
        if (d == drv) {
            error_setg(errp, "%sdriver=%s: a filter cannot stand on itself",
                       who, drv->id);
            return false;
        }
    }
    if (!drv->claimed_by || driver_is_replaced(drv)) {
        return true;
    }
    error_setg(errp, "%sdriver=%s is in use by %s '%s'", who, drv->id,
               drv->above ? object_get_typename(OBJECT(drv->above)) : "netdev",
               drv->above ? drv->above->id : drv->claimed_by);
    error_append_hint(errp, "Each netdev, and each filter, needs a driver "
                      "object of its own.\n");
    return false;
}

static VhostDPDriver *driver_claim(const char *id, const char *netdev,
                                   VhostDPDriver *above, const char *who,
                                   unsigned queue_pairs, Error **errp)
{
    ERRP_GUARD();
    VhostDPDriver *drv = driver_find(id, who, errp);
    VhostDPDriverClass *dc;
    VhostDPCaps caps = {};

    if (!drv || !driver_is_free(drv, above, who, errp)) {
        return NULL;
    }
    dc = VHOST_DP_DRIVER_GET_CLASS(drv);
    dc->get_caps(drv, &caps);
    queue_pairs = MIN(queue_pairs, caps.max_queue_pairs);
    if (drv->claimed_by) {
        /* It is open, for the same netdev, and so for as many queue pairs */
        drv->shared = true;
        drv->old_above = drv->above;
        drv->above = above;
        object_ref(OBJECT(drv));
        trace_vhost_dp_driver_share(id, netdev);
        return drv;
    }
    drv->claimed_by = g_strdup(netdev);
    drv->above = above;
    /* The options may have been changed since the object was made */
    if (!driver_check_options(drv, errp) ||
        !dc->open(drv, queue_pairs, errp)) {
        vhost_dp_driver_prepend(drv, errp);
        g_clear_pointer(&drv->claimed_by, g_free);
        drv->above = NULL;
        return NULL;
    }
    object_ref(OBJECT(drv));
    trace_vhost_dp_driver_claim(id, netdev, queue_pairs);
    return drv;
}

VhostDPDriver *vhost_dp_driver_claim(const char *id, const char *netdev,
                                     unsigned queue_pairs, Error **errp)
{
    g_autofree char *who = g_strdup_printf("vhost-dp netdev '%s': ", netdev);

    return driver_claim(id, netdev, NULL, who, queue_pairs, errp);
}

VhostDPDriver *vhost_dp_driver_claim_instead(const char *id, const char *netdev,
                                             VhostDPDriver *old,
                                             unsigned queue_pairs, Error **errp)
{
    VhostDPDriver *drv;

    driver_replaced = old;
    drv = vhost_dp_driver_claim(id, netdev, queue_pairs, errp);
    driver_replaced = NULL;
    return drv;
}

VhostDPDriver *vhost_dp_driver_claim_for(const char *id, VhostDPDriver *above,
                                         unsigned queue_pairs, Error **errp)
{
    return driver_claim(id, above->claimed_by, above, "", queue_pairs, errp);
}

void vhost_dp_driver_get_caps(VhostDPDriver *drv, VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) {};
    VHOST_DP_DRIVER_GET_CLASS(drv)->get_caps(drv, caps);
    if (!drv->offloads) {
        caps->tx_offloads = 0;
        caps->rx_offloads = 0;
    }
    assert(caps->max_frame <= VHOST_DP_MAX_FRAME && caps->max_segments >= 2 &&
           caps->max_queue_pairs >= 1);
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
    qapi_free_VhostDPFilterInfoList(info->filters);
}

void vhost_dp_driver_release(VhostDPDriver *drv)
{
    vhost_dp_driver_release_for(drv, NULL);
}

void vhost_dp_driver_release_for(VhostDPDriver *drv, VhostDPDriver *above)
{
    if (drv->shared) {
        drv->shared = false;
        if (drv->above == above) {
            /* The new chain goes, and the old one stays */
            drv->above = drv->old_above;
        }
        drv->old_above = NULL;
        object_unref(OBJECT(drv));
        return;
    }
    trace_vhost_dp_driver_release(drv->claimed_by);
    VHOST_DP_DRIVER_GET_CLASS(drv)->close(drv);
    g_clear_pointer(&drv->claimed_by, g_free);
    drv->above = NULL;
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
    SocketAddress *socket;
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
    [VHOST_DP_OPTION_SOCKET] = { "SocketAddress", sizeof(SocketAddress *) },
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
    case VHOST_DP_OPTION_SOCKET:
        return visit_type_SocketAddress(v, name, &value->socket, errp);
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
    if (opt->type == VHOST_DP_OPTION_SOCKET && !value.socket) {
        error_setg(errp, "%s '%s': %s= is not set", object_get_typename(obj),
                   VHOST_DP_DRIVER(obj)->id, name);
        return;
    }
    option_visit(opt, v, name, &value, errp);
}

static void option_free_value(const VhostDPOption *opt, OptionValue *value)
{
    if (opt->type == VHOST_DP_OPTION_STR) {
        g_free(value->str);
    } else if (opt->type == VHOST_DP_OPTION_LIST) {
        qapi_free_strList(value->list);
    } else if (opt->type == VHOST_DP_OPTION_SOCKET) {
        qapi_free_SocketAddress(value->socket);
    }
}

/* The object goes */
static void option_release(Object *obj, const char *name, void *opaque)
{
    const VhostDPOption *opt = opaque;
    OptionValue value;

    memcpy(&value, (void *)obj + opt->offset, option_types[opt->type].size);
    option_free_value(opt, &value);
}

static void option_set(Object *obj, Visitor *v, const char *name, void *opaque,
                       Error **errp)
{
    const VhostDPOption *opt = opaque;
    VhostDPDriver *drv = VHOST_DP_DRIVER(obj);
    void *field = (void *)obj + opt->offset;
    size_t size = option_types[opt->type].size;
    OptionValue value = {};
    OptionValue before;

    if (drv->claimed_by && !opt->live) {
        error_setg(errp, "%s '%s': %s= cannot be changed while netdev '%s' "
                   "uses the driver", object_get_typename(obj), drv->id, name,
                   drv->claimed_by);
        return;
    }
    if (!option_visit(opt, v, name, &value, errp)) {
        return;
    }
    memcpy(&before, field, size);
    memcpy(field, &value, size);
    /* A live option counts at once, also for those that refer to the object */
    if (opt->live && drv->id && !driver_check_options(drv, errp)) {
        vhost_dp_driver_prepend(drv, errp);
        memcpy(field, &before, size);
        option_free_value(opt, &value);
        return;
    }
    option_free_value(opt, &before);
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
                                  option_get, option_set, option_release,
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
