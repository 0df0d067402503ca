/*
 * vhost-dp: the abstract driver, parent of all vhost-dp-* driver objects
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: user-creatable, so that drivers come with -object and
 * object-add.  A netdev claims a driver for itself; a claimed driver cannot be
 * deleted.  Everything here runs under the BQL.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
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
    if (!dc->open(drv, queue_pairs, errp)) {
        g_free(drv->claimed_by);
        drv->claimed_by = NULL;
        return NULL;
    }
    object_ref(OBJECT(drv));
    trace_vhost_dp_driver_claim(id, netdev, queue_pairs);
    return drv;
}

void vhost_dp_driver_release(VhostDPDriver *drv)
{
    trace_vhost_dp_driver_release(drv->claimed_by);
    VHOST_DP_DRIVER_GET_CLASS(drv)->close(drv);
    g_free(drv->claimed_by);
    drv->claimed_by = NULL;
    object_unref(OBJECT(drv));
}

static void driver_complete(UserCreatable *uc, Error **errp)
{
    VhostDPDriver *drv = VHOST_DP_DRIVER(uc);
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_GET_CLASS(drv);

    if (dc->check_options) {
        dc->check_options(drv, errp);
    }
}

static bool driver_get_offloads(Object *obj, Error **errp)
{
    return VHOST_DP_DRIVER(obj)->offloads;
}

static void driver_set_offloads(Object *obj, bool value, Error **errp)
{
    VhostDPDriver *drv = VHOST_DP_DRIVER(obj);

    if (drv->claimed_by) {
        error_setg(errp, "%s '%s': offloads= cannot be changed while netdev "
                   "'%s' uses the driver", object_get_typename(obj),
                   object_get_canonical_path_component(obj), drv->claimed_by);
        return;
    }
    drv->offloads = value;
}

static bool driver_can_be_deleted(UserCreatable *uc)
{
    return !VHOST_DP_DRIVER(uc)->claimed_by;
}

static void driver_class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = driver_complete;
    ucc->can_be_deleted = driver_can_be_deleted;

    object_class_property_add_bool(oc, "offloads", driver_get_offloads,
                                   driver_set_offloads);
    object_class_property_set_description(oc, "offloads",
        "leave checksums and segmentation to the host interface where it can "
        "do them (default: on); otherwise vhost-dp does, for the same guest");
}

static void driver_instance_init(Object *obj)
{
    VHOST_DP_DRIVER(obj)->offloads = true;
}

static const TypeInfo driver_info = {
    .name = TYPE_VHOST_DP_DRIVER,
    .parent = TYPE_OBJECT,
    .abstract = true,
    .instance_size = sizeof(VhostDPDriver),
    .instance_init = driver_instance_init,
    .class_size = sizeof(VhostDPDriverClass),
    .class_init = driver_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void driver_register_types(void)
{
    type_register_static(&driver_info);
}

type_init(driver_register_types)
