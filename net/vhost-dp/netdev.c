/*
 * vhost-dp: -netdev vhost-dp
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a net client for each queue pair, each with a vhost_net
 * whose back end is a port (port.c).  Everything here runs under the BQL, and
 * nothing is on the packet path, which starts and ends in the port.
 *
 * While the VM runs, the NIC's link is up when the driver's interface works,
 * vhost could start, and set_link does not say otherwise; while it is down,
 * virtio-net stops vhost.  Drivers report from their IOThreads; one bottom half
 * in the main loop brings the NIC in line.
 *
 * virtio-net starts vhost when the link comes up, which can fail: QEMU may have
 * no descriptor left, for instance, for a moment.  Then the link goes down, and
 * comes up for another try after a second.  A try that fails is over before
 * anybody else gets the BQL: the guest gets interrupts, and finds the link
 * down.  When the guest's rings are at fault, its next start is the next try.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "qapi/qapi-events-vhost-dp.h"
#include "qapi/qapi-types-net.h"
#include "net/clients.h"
#include "net/vhost_net.h"
#include "net/virtio-net-backend.h"
#include "system/runstate.h"
#include "hw/virtio/iothread-vq-mapping.h"
#include "hw/virtio/vhost.h"
#include "hw/virtio/virtio-net.h"
#include "standard-headers/linux/virtio_config.h"
#include "netdev.h"
#include "trace.h"

/* More than that no tap interface has */
#define NETDEV_MAX_QUEUES 256

/* One second; with a longer window the thread would practically never sleep */
#define BUSY_POLL_MAX_US (1000 * 1000)

/* Link changes in the log: LINK_LOG_BURST at once, then one per LINK_LOG_MS */
#define LINK_LOG_BURST 10
#define LINK_LOG_MS 6000

/* Grace period for a peer to connect before it is logged as missing */
#define LINK_PEER_MS 2000

/* Features that the data path has to know; offloads are not here */
static const int vhost_dp_feature_bits[] = {
    VIRTIO_F_NOTIFY_ON_EMPTY,
    VIRTIO_RING_F_INDIRECT_DESC,
    VIRTIO_RING_F_EVENT_IDX,
    VIRTIO_F_ANY_LAYOUT,
    VIRTIO_F_VERSION_1,
    VIRTIO_F_IOMMU_PLATFORM,
    VIRTIO_F_RING_PACKED,
    VIRTIO_F_RING_RESET,
    VIRTIO_F_IN_ORDER,
    VIRTIO_F_NOTIFICATION_DATA,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_F_MTU,
    VIRTIO_NET_F_RSS,
    VIRTIO_NET_F_RSC_EXT,
    VIRTIO_NET_F_HASH_REPORT,
    VHOST_INVALID_FEATURE_BIT
};

VhostDPNetdevList vhost_dp_netdevs = QTAILQ_HEAD_INITIALIZER(vhost_dp_netdevs);

VhostDPNetdev *vhost_dp_netdev_find(const char *id, Error **errp)
{
    NetClientState *nc = qemu_find_netdev(id);

    if (!nc) {
        error_setg(errp, "there is no netdev '%s'", id);
        return NULL;
    }
    if (nc->info->type != NET_CLIENT_DRIVER_VHOST_DP) {
        error_setg(errp, "netdev '%s' is of type %s, not vhost-dp", id,
                   NetClientDriver_str(nc->info->type));
        return NULL;
    }
    return netdev_state(nc)->netdev;
}

/* NULL while the netdev is being created or deleted */
static struct vhost_net *netdev_get_vhost_net(NetClientState *nc)
{
    return netdev_state(nc)->vhost_net;
}

/* ---- The link ---- */

/* Returns whether the driver's link is up, and if not, @reason */
static bool netdev_driver_link(VhostDPNetdev *netdev, char **reason)
{
    unsigned i;

    for (i = 0; i < netdev->nqueues; i++) {
        if (netdev->queue[i] &&
            !vhost_dp_port_get_link(netdev->queue[i]->port, reason)) {
            return false;
        }
    }
    return true;
}

/* An interface that goes up and down all the time is not to fill the log */
static bool netdev_may_log_link(VhostDPNetdev *netdev)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    int64_t next = MAX(netdev->link_log_at, netdev->link_quiet_until);

    if (now < next) {
        timer_mod(&netdev->link_timer, next);
        return false;
    }
    netdev->link_log_at = LINK_LOG_MS +
        MAX(netdev->link_log_at, now - (LINK_LOG_BURST - 1) * LINK_LOG_MS);
    return true;
}

/* A driver tells of its peer by the link */
static void netdev_report_peer(VhostDPNetdev *netdev)
{
    g_auto(VhostDPDriverInfo) info = {};
    bool connected;

    vhost_dp_driver_query(netdev->drv, &netdev->caps, &info);
    connected = info.peer && info.peer->connected;
    if (connected != netdev->peer_connected) {
        netdev->peer_connected = connected;
        qapi_event_send_vhost_dp_peer(netdev->id, connected);
    }
}

static void netdev_report_link(VhostDPNetdev *netdev)
{
    g_autofree char *reason = NULL;
    bool down = !netdev_driver_link(netdev, &reason);

    if (down != netdev->driver_down ||
        g_strcmp0(reason, netdev->driver_reason)) {
        qapi_event_send_vhost_dp_link(netdev->id, !down, reason);
    }
    if (down != netdev->driver_down) {
        netdev->driver_down = down;
        trace_vhost_dp_netdev_link(netdev->id, !down);
    }
    netdev_report_peer(netdev);
    g_free(netdev->driver_reason);
    netdev->driver_reason = g_strdup(reason);
    if (down == netdev->link_logged_down || !netdev_may_log_link(netdev)) {
        return;
    }
    netdev->link_logged_down = down;
    if (down) {
        warn_report("vhost-dp netdev '%s': the link is down: %s", netdev->id,
                    reason);
    } else {
        info_report("vhost-dp netdev '%s': the link is up again", netdev->id);
    }
}

/*
 * While the VM does not run, the NIC's link is what the user wants: that is
 * what a migration takes along, and the interface over there is another one.
 */
static bool netdev_link_is_down(const VhostDPNetdev *netdev)
{
    return netdev->user_down ||
           (runstate_is_running() &&
            (netdev->driver_down || netdev->start_failed));
}

/* May start or stop vhost, and so change netdev->start_failed */
static void netdev_set_nic_link(VhostDPNetdev *netdev, NetClientState *nic,
                                bool down)
{
    unsigned i;

    netdev->nic_down = down;
    for (i = 0; i < netdev->nqueues; i++) {
        vhost_dp_port_set_nic_link(netdev->queue[i]->port, !down);
    }
    if (nic->link_down != down) {
        for (i = 0; i < netdev->nqueues; i++) {
            netdev->queue[i]->nc.peer->link_down = down;
        }
        nic->info->link_status_changed(nic);
    }
}

static void netdev_update_link(VhostDPNetdev *netdev)
{
    NetClientState *nic;

    if (netdev->nlive < netdev->nqueues) {
        return;
    }
    netdev_report_link(netdev);

    nic = netdev->queue[0]->nc.peer;
    if (!nic || nic->info->type != NET_CLIENT_DRIVER_NIC ||
        qemu_get_nic(nic)->peer_deleted) {
        /* After netdev_del the link is down for good */
        return;
    }
    if (nic != netdev->nic || nic->link_down != netdev->nic_down ||
        netdev->user_changed) {
        /*
         * set_link sets the NIC's bit, whichever of the two ends it names.
         * So does migration, with what the user wanted at the source.
         */
        netdev->nic = nic;
        netdev->user_changed = false;
        netdev->user_down = nic->link_down;
    }
    netdev_set_nic_link(netdev, nic, netdev_link_is_down(netdev));
    /* If that was a try to start vhost, and in vain */
    netdev_set_nic_link(netdev, nic, netdev_link_is_down(netdev));
}

/* Main loop; also when the log may be told what it was not told before */
static void netdev_link_bh(void *opaque)
{
    netdev_update_link(opaque);
    vhost_dp_netdev_follow_driver(opaque);
}

/* At once: what comes after a stop may be the end of a migration */
static void netdev_vm_changed(void *opaque, bool running, RunState state)
{
    VhostDPNetdev *netdev = opaque;

    /* virtio-net is about to try */
    netdev->start_failed = false;
    netdev_update_link(netdev);
}

static void netdev_retry_start(void *opaque)
{
    VhostDPNetdev *netdev = opaque;

    netdev->start_failed = false;
    netdev_update_link(netdev);
}

/* Any thread, no lock: called by ports */
static void netdev_link_changed(void *opaque)
{
    VhostDPNetdev *netdev = opaque;

    qemu_bh_schedule(netdev->link_bh);
}

/* By set_link on the netdev or on the NIC */
static void netdev_link_status_changed(NetClientState *nc)
{
    VhostDPNetdev *netdev = netdev_state(nc)->netdev;

    netdev->user_changed = true;
    qemu_bh_schedule(netdev->link_bh);
}

/* ---- Packets that do not come through vhost ---- */

/* Has the guest's driver started the NIC, so that vhost should run it? */
static bool netdev_nic_runs(NetClientState *nic)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(qemu_get_nic_opaque(nic));

    return vdev->vm_running && !vdev->broken &&
           (vdev->status & VIRTIO_CONFIG_S_DRIVER_OK);
}

/*
 * While vhost runs, these are announcements of the NIC's address.  virtio-net
 * falls back to sending guest packets here when vhost could not start; there
 * is no second data path for them, and the link is about to go down instead.
 */
static ssize_t netdev_receive(NetClientState *nc, const uint8_t *buf,
                              size_t size)
{
    NetVhostDPState *s = netdev_state(nc);
    VhostDPNetdev *netdev = s->netdev;

    if (nc->peer && nc->peer->info->type != NET_CLIENT_DRIVER_NIC) {
        /* check_peer_type() is not asked when a hub is connected */
        error_report_limited(&netdev->report_limit, "vhost-dp netdev '%s': it "
                             "needs a virtio-net device as its peer, and not "
                             "a hub", netdev->id);
        return size;
    }
    if (nc->peer && !vhost_dp_port_is_started(s->port) &&
        netdev_nic_runs(nc->peer)) {
        return size;
    }
    if (size > nc->vnet_hdr_len) {
        vhost_dp_port_inject(s->port, buf + nc->vnet_hdr_len,
                             size - nc->vnet_hdr_len);
    }
    return size;
}

/* ---- What virtio-net asks and tells: see netdev-virtio.c, too ---- */

/* One queue pair is about to be started; if another fails, all are stopped */
static int netdev_start(NetClientState *nc)
{
    NetVhostDPState *s = netdev_state(nc);
    VirtIONet *n = qemu_get_nic_opaque(nc->peer);
    bool has_mtu = virtio_vdev_has_feature(VIRTIO_DEVICE(n),
                                           VIRTIO_NET_F_MTU);

    if (s->netdev->start_failed) {
        s->netdev->start_failed = false;
        qemu_bh_schedule(s->netdev->link_bh);
    }
    if (nc->queue_index == 0) {
        vhost_dp_virtio_net.control_changed(nc);
    }
    vhost_dp_port_set_mtu(s->port, has_mtu ? n->net_conf.mtu : 0);
    return 0;
}

static bool netdev_has_vnet_hdr(NetClientState *nc)
{
    return true;
}

static bool netdev_has_vnet_hdr_len(NetClientState *nc, int len)
{
    return len == sizeof(struct virtio_net_hdr) ||
           len == sizeof(struct virtio_net_hdr_mrg_rxbuf) ||
           len == sizeof(struct virtio_net_hdr_v1_hash);
}

static void netdev_set_vnet_hdr_len(NetClientState *nc, int len)
{
    assert(netdev_has_vnet_hdr_len(nc, len));
    vhost_dp_port_set_hdr_len(netdev_state(nc)->port, len);
}

static int netdev_set_vnet_le(NetClientState *nc, bool enable)
{
    vhost_dp_port_set_hdr_endian(netdev_state(nc)->port,
                                 enable ? false : HOST_BIG_ENDIAN);
    return 0;
}

static int netdev_set_vnet_be(NetClientState *nc, bool enable)
{
    vhost_dp_port_set_hdr_endian(netdev_state(nc)->port,
                                 enable ? true : HOST_BIG_ENDIAN);
    return 0;
}

/*
 * The guest is offered all offloads with any driver and host: software does
 * what they cannot.  So a guest finds the same features after a migration.
 */
static bool netdev_has_ufo(NetClientState *nc)
{
    return true;
}

static bool netdev_has_uso(NetClientState *nc)
{
    return true;
}

/* Called for the first queue pair, on behalf of all */
static void netdev_set_offload(NetClientState *nc, const NetOffloads *ol)
{
    VhostDPNetdev *netdev = netdev_state(nc)->netdev;
    uint32_t offloads = (ol->csum ? VHOST_DP_OFFLOAD_CSUM : 0) |
                        (ol->tso4 ? VHOST_DP_OFFLOAD_TSO4 : 0) |
                        (ol->tso6 ? VHOST_DP_OFFLOAD_TSO6 : 0) |
                        (ol->ecn ? VHOST_DP_OFFLOAD_ECN : 0) |
                        (ol->ufo ? VHOST_DP_OFFLOAD_UFO : 0) |
                        (ol->uso4 ? VHOST_DP_OFFLOAD_USO4 : 0) |
                        (ol->uso6 ? VHOST_DP_OFFLOAD_USO6 : 0);
    unsigned i;

    if (netdev->start_failed) {
        /* A driver negotiates anew: virtio-net starts vhost with the link up */
        netdev->start_failed = false;
        qemu_bh_schedule(netdev->link_bh);
    }
    netdev->offloads = offloads;
    trace_vhost_dp_netdev_set_offload(netdev->id, offloads);
    for (i = 0; i < netdev->nqueues; i++) {
        if (netdev->queue[i]) {
            vhost_dp_port_set_offloads(netdev->queue[i]->port, offloads);
        }
    }
    vhost_dp_netdev_tell_offloads(netdev);
}

static bool netdev_check_peer_type(NetClientState *nc, ObjectClass *oc,
                                   Error **errp)
{
    ERRP_GUARD();
    const char *type = object_class_get_name(oc);

    if (!g_str_has_prefix(type, "virtio-net-")) {
        error_setg(errp, "vhost-dp netdev '%s' needs a virtio-net device, and "
                   "cannot serve '%s'", nc->name, type);
        error_append_hint(errp, "Use, for example: "
                          "-device virtio-net-pci,netdev=%s\n", nc->name);
        return false;
    }
    return true;
}

/* ---- Life cycle ---- */

static void netdev_free(VhostDPNetdev *netdev)
{
    QTAILQ_REMOVE(&vhost_dp_netdevs, netdev, next);
    qemu_del_vm_change_state_handler(netdev->vm_change);
    qemu_bh_delete(netdev->link_bh);
    timer_del(&netdev->link_timer);
    timer_del(&netdev->retry_timer);
    vhost_dp_netdev_release_driver(netdev);
    vhost_dp_control_unref(netdev->control);
    g_free(netdev->driver_reason);
    g_free(netdev->queue);
    g_free(netdev->id);
    g_free(netdev);
}

static void netdev_cleanup(NetClientState *nc)
{
    NetVhostDPState *s = netdev_state(nc);
    VhostDPNetdev *netdev = s->netdev;

    trace_vhost_dp_netdev_cleanup(netdev->id, nc->queue_index);
    if (s->vhost_net) {
        vhost_net_cleanup(s->vhost_net);
        g_free(s->vhost_net);
        s->vhost_net = NULL;
    }
    qemu_purge_queued_packets(nc);
    s->port = NULL;
    netdev->queue[nc->queue_index] = NULL;
    if (--netdev->nlive == 0) {
        vhost_dp_portset_delete(netdev->ports);
        netdev_free(netdev);
    }
    s->netdev = NULL;
}

static NetClientInfo net_vhost_dp_info = {
    .type = NET_CLIENT_DRIVER_VHOST_DP,
    .size = sizeof(NetVhostDPState),
    .receive = netdev_receive,
    .cleanup = netdev_cleanup,
    .link_status_changed = netdev_link_status_changed,
    .start = netdev_start,
    .has_ufo = netdev_has_ufo,
    .has_uso = netdev_has_uso,
    .has_vnet_hdr = netdev_has_vnet_hdr,
    .has_vnet_hdr_len = netdev_has_vnet_hdr_len,
    .set_offload = netdev_set_offload,
    .set_vnet_hdr_len = netdev_set_vnet_hdr_len,
    .set_vnet_le = netdev_set_vnet_le,
    .set_vnet_be = netdev_set_vnet_be,
    .get_vhost_net = netdev_get_vhost_net,
    .virtio_net = &vhost_dp_virtio_net,
    .check_peer_type = netdev_check_peer_type,
};

/*
 * A net client for a port.  Its vhost_net comes later, when all clients are
 * there.
 */
static void netdev_add_queue(VhostDPNetdev *netdev, unsigned index)
{
    NetClientState *nc;
    NetVhostDPState *s;

    nc = qemu_new_net_client(&net_vhost_dp_info, NULL, "vhost-dp", netdev->id);
    nc->queue_index = index;
    s = netdev_state(nc);
    s->netdev = netdev;
    s->port = vhost_dp_portset_port(netdev->ports, index);
    netdev->queue[index] = s;
    netdev->nlive++;
}

static bool netdev_init_vhost(VhostDPNetdev *netdev, NetVhostDPState *s,
                              Error **errp)
{
    VhostNetOptions options = {
        .backend_type = VHOST_BACKEND_TYPE_DP,
        .net_backend = &s->nc,
        .nvqs = VHOST_DP_QUEUES,
        .feature_bits = vhost_dp_feature_bits,
        .max_tx_queue_size = VIRTQUEUE_MAX_SIZE,
        .opaque = vhost_dp_port_pair(s->port),
    };

    s->vhost_net = vhost_net_init(&options);
    if (!s->vhost_net) {
        error_setg(errp, "vhost-dp netdev '%s': cannot set up queue pair %u",
                   netdev->id, s->nc.queue_index);
        return false;
    }
    return true;
}

void vhost_dp_netdev_ask_driver(VhostDPNetdev *netdev)
{
    VhostDPDriver *drv = netdev->drv;
    g_auto(VhostDPDriverInfo) info = {};
    unsigned i;

    vhost_dp_driver_query(drv, &netdev->caps, &info);
    for (i = 0; i < netdev->nqueues; i++) {
        qemu_set_info_str(&netdev->queue[i]->nc, "driver=%s (%s),%s", drv->id,
                          object_get_typename(OBJECT(drv)), info.interface);
    }
    if (info.peer && !info.peer->connected) {
        netdev->link_quiet_until = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                                   LINK_PEER_MS;
    }
}

/* ---- Options ---- */

/* iothread=: the same for all queue pairs */
static bool netdev_find_iothread(const NetdevVhostDPOptions *opts,
                                 const char *name, unsigned queues,
                                 IOThread **iothreads, Error **errp)
{
    ERRP_GUARD();
    IOThread *iothread = iothread_by_id(opts->iothread);
    unsigned i;

    if (!iothread) {
        error_setg(errp, "vhost-dp netdev '%s': iothread=%s: there is no "
                   "IOThread object with this id", name, opts->iothread);
        error_append_hint(errp, "Create it first: -object iothread,id=%s\n",
                          opts->iothread);
        return false;
    }
    for (i = 0; i < queues; i++) {
        iothreads[i] = iothread;
    }
    return true;
}

/*
 * iothread-vq-mapping=: one for each queue pair, by the rules of the devices
 * that have this property
 */
static bool netdev_map_iothreads(IOThreadVirtQueueMappingList *mapping,
                                 const char *name, unsigned queues,
                                 IOThread **iothreads, Error **errp)
{
    ERRP_GUARD();
    g_autofree AioContext **ctx = g_new0(AioContext *, queues);
    IOThreadVirtQueueMappingList *node;
    unsigned i;

    if (!mapping) {
        error_setg(errp, "vhost-dp netdev '%s': iothread-vq-mapping is empty: "
                   "it needs at least one IOThread", name);
        return false;
    }
    if (!iothread_vq_mapping_apply(mapping, ctx, queues, errp)) {
        error_prepend(errp, "vhost-dp netdev '%s': ", name);
        error_append_hint(errp, "Here vqs are numbers of queue pairs, 0 to "
                          "%u: name each of them once, or leave vqs out of "
                          "all entries.\nEach entry needs an IOThread of its "
                          "own: -object iothread,id=ID\n", queues - 1);
        return false;
    }
    for (node = mapping; node; node = node->next) {
        IOThread *iothread = iothread_by_id(node->value->iothread);

        for (i = 0; i < queues; i++) {
            if (ctx[i] == iothread_get_aio_context(iothread)) {
                iothreads[i] = iothread;
            }
        }
    }
    /* Each port will have a reference of its own */
    iothread_vq_mapping_cleanup(mapping);
    return true;
}

/*
 * Where the queue pairs are to run.  Returns an array, in which NULL stands
 * for an IOThread of the queue pair's own, or NULL with @errp set.
 */
static IOThread **netdev_choose_iothreads(const NetdevVhostDPOptions *opts,
                                          const char *name, unsigned queues,
                                          Error **errp)
{
    ERRP_GUARD();
    g_autofree IOThread **iothreads = g_new0(IOThread *, queues);

    if (opts->iothread && opts->has_iothread_vq_mapping) {
        error_setg(errp, "vhost-dp netdev '%s': iothread=%s and "
                   "iothread-vq-mapping exclude each other", name,
                   opts->iothread);
        error_append_hint(errp, "Use iothread for one IOThread, and "
                          "iothread-vq-mapping for several.\n");
        return NULL;
    }
    if (opts->iothread &&
        !netdev_find_iothread(opts, name, queues, iothreads, errp)) {
        return NULL;
    }
    if (opts->has_iothread_vq_mapping &&
        !netdev_map_iothreads(opts->iothread_vq_mapping, name, queues,
                              iothreads, errp)) {
        return NULL;
    }
    return g_steal_pointer(&iothreads);
}

static bool netdev_check_options(const NetdevVhostDPOptions *opts,
                                 const char *name, Error **errp)
{
    ERRP_GUARD();

    if (opts->has_queues &&
        (opts->queues < 1 || opts->queues > NETDEV_MAX_QUEUES)) {
        error_setg(errp, "vhost-dp netdev '%s': queues=%u is out of range: "
                   "1 to %d", name, opts->queues, NETDEV_MAX_QUEUES);
        error_append_hint(errp, "A driver may have fewer queues: some queue "
                          "pairs then share one.\n");
        return false;
    }
    if (opts->has_busy_poll_us && opts->busy_poll_us > BUSY_POLL_MAX_US) {
        error_setg(errp, "vhost-dp netdev '%s': busy-poll-us=%u is out of "
                   "range: 0 to %d microseconds", name, opts->busy_poll_us,
                   BUSY_POLL_MAX_US);
        error_append_hint(errp, "50 is enough for traffic that comes without "
                          "long pauses; 0 turns polling off.\n");
        return false;
    }
    return true;
}

/* ---- Making one ---- */

int net_init_vhost_dp(const Netdev *opts, const char *name,
                      NetClientState *peer, Error **errp)
{
    ERRP_GUARD();
    const NetdevVhostDPOptions *dp = &opts->u.vhost_dp;
    unsigned queues = dp->has_queues ? dp->queues : 1;
    VhostDPNetdev *netdev;
    g_autofree IOThread **iothreads = NULL;
    VhostDPDriver *drv;
    unsigned i;

    if (peer) {
        error_setg(errp, "vhost-dp cannot be connected to a hub");
        error_append_hint(errp, "Use -netdev vhost-dp and -device "
                          "virtio-net-pci instead of -net.\n");
        return -1;
    }
    if (!netdev_check_options(dp, name, errp)) {
        return -1;
    }
    iothreads = netdev_choose_iothreads(dp, name, queues, errp);
    if (!iothreads) {
        return -1;
    }
    drv = vhost_dp_driver_claim(dp->driver, name, queues, errp);
    if (!drv) {
        return -1;
    }

    netdev = g_new0(VhostDPNetdev, 1);
    netdev->id = g_strdup(name);
    netdev->drv = drv;
    vhost_dp_driver_get_caps(drv, &netdev->caps);
    netdev->busy_poll_us = dp->has_busy_poll_us ? dp->busy_poll_us : 0;
    netdev->mac_spoof_check = dp->mac_spoof_check;
    netdev->nqueues = queues;
    netdev->queue = g_new0(NetVhostDPState *, queues);
    netdev->link_bh = qemu_bh_new(netdev_link_bh, netdev);
    netdev->vm_change = qemu_add_vm_change_state_handler(netdev_vm_changed,
                                                         netdev);
    timer_init_ms(&netdev->link_timer, QEMU_CLOCK_REALTIME, netdev_link_bh,
                  netdev);
    timer_init_ms(&netdev->retry_timer, QEMU_CLOCK_REALTIME,
                  netdev_retry_start, netdev);
    QTAILQ_INSERT_TAIL(&vhost_dp_netdevs, netdev, next);

    netdev->ports = vhost_dp_portset_new(netdev->id, queues, drv,
                                         &netdev->caps, iothreads,
                                         netdev->busy_poll_us,
                                         netdev_link_changed, netdev, errp);
    if (!netdev->ports) {
        netdev_free(netdev);
        return -1;
    }
    for (i = 0; i < queues; i++) {
        netdev_add_queue(netdev, i);
    }
    for (i = 0; i < queues; i++) {
        if (!netdev_init_vhost(netdev, netdev->queue[i], errp)) {
            /* Cleans all of them up, and then the netdev */
            qemu_del_net_client(&netdev->queue[0]->nc);
            return -1;
        }
    }
    vhost_dp_netdev_ask_driver(netdev);
    return 0;
}
