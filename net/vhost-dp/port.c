/*
 * vhost-dp: the engine, which moves frames between a queue pair and a driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a port is the engine of one queue pair.  It lives in
 * one AioContext, that of an IOThread, where all ring work and all driver I/O
 * of the pair happen; port-int.h says in which files, and port-turn.c when.
 * This one is about a port's life.
 *
 * Everything that control operations change (started or not, kick fds, dead
 * or alive) is only noted by them, under the pair's lock.  One bottom half
 * brings the actual state (fd handlers, driver attached, what becomes of
 * frames) in line with what is wanted, whatever order the changes came in.
 *
 * A driver may have fewer queue pairs than the netdev.  Then the other ports
 * are not attached: see port-tx-share.c.
 *
 * The driver is one of the things that are wanted.  To the guest a move from
 * one to another is a pause: its queues go on, what the old driver did not take
 * stays in the ring, and the link is what the drivers say of it before and
 * afterwards.
 *
 * A queue pair that the guest disabled (multiqueue) is still served, or its
 * frames would be stuck: those from the guest are dropped and counted, those to
 * it are given to the first pair (port-inbox.c).
 *
 * The port's memory belongs to the IOThread once it is dead: the bottom half
 * detaches the driver.  The last of the netdev's ports to do so tells
 * vhost_dp_portset_delete(), and hands them all to a bottom half in the main
 * loop, the only place where an IOThread can be joined.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"
#include "qapi/error.h"
#include "net/eth.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_net.h"
#include "port.h"
#include "port-frame.h"
#include "port-rx.h"
#include "port-turn.h"
#include "port-tx.h"
#include "port-tx-share.h"
#include "trace.h"

/* The most bursts of a driver that is about to be detached */
#define PORT_DRAIN_BURSTS 16

/* ---- For drivers ---- */

static VhostDPEnginePort *port_of_driver(VhostDPPort *port)
{
    return container_of(port, VhostDPEnginePort, port);
}

static void port_ready(VhostDPPort *p, unsigned what)
{
    VhostDPEnginePort *port = port_of_driver(p);

    if (what & VHOST_DP_READY_RX) {
        vhost_dp_port_rx_ready(port);
    }
    if (what & VHOST_DP_READY_TX) {
        vhost_dp_port_tx_ready(port);
    }
    vhost_dp_port_notified(port);
}

static void port_drop_rx(VhostDPPort *p, VhostDPDropReason reason, uint64_t n)
{
    port_drop(port_of_driver(p), VHOST_DP_RX, reason, n);
}

static void port_drop_tx(VhostDPPort *p, VhostDPDropReason reason, uint64_t n)
{
    port_drop(port_of_driver(p), VHOST_DP_TX, reason, n);
}

static void port_set_tx_offloads(VhostDPPort *p, uint32_t offloads)
{
    VhostDPEnginePort *port = port_of_driver(p);

    port->caps.tx_offloads = offloads & port->most_tx_offloads;
    qatomic_set(&port->tx_offloads, port->caps.tx_offloads);
}

static void port_set_queues(VhostDPPort *p, unsigned n)
{
    VhostDPEnginePort *port = port_of_driver(p);

    n = MAX(1, MIN(n, port->caps.max_queue_pairs));
    if (port->nqueues != n) {
        port->nqueues = n;
        vhost_dp_port_rx_queues(port);
        vhost_dp_port_tx_reroute(port);
    }
}

static void port_set_link(VhostDPPort *p, bool up, const char *reason)
{
    VhostDPEnginePort *port = port_of_driver(p);
    const char *why = up ? NULL : reason ?: "unknown reason";

    if (vhost_dp_port_link_set_down(&port->link, why)) {
        trace_vhost_dp_port_link(port->set->netdev, port->index, up, why ?: "");
        port->set->link_changed(port->set->opaque);
    }
}

static const VhostDPPortOps port_ops = {
    .ready = port_ready,
    .drop_rx = port_drop_rx,
    .drop_tx = port_drop_tx,
    .set_link = port_set_link,
    .set_tx_offloads = port_set_tx_offloads,
    .set_queues = port_set_queues,
};

/* ---- Reconciling wanted and actual state (tests/models/port.pml) ---- */

static void port_set_driver_state(VhostDPEnginePort *port,
                                  PortDriverState state)
{
    qatomic_set(&port->driver_state, state);
}

/*
 * From now on port->drv is @drv, which is not attached.  The driver may have no
 * queue pair for this port.
 */
static void port_take_driver(VhostDPEnginePort *port, VhostDPDriver *drv,
                             const VhostDPCaps *caps)
{
    port->drv = drv;
    port->dc = VHOST_DP_DRIVER_GET_CLASS(drv);
    port->caps = *caps;
    qatomic_set(&port->tx_offloads, caps->tx_offloads);
    port->most_tx_offloads = caps->tx_offloads;
    port->nqueues = caps->max_queue_pairs;
    if (port->index >= port->nqueues) {
        port->dc = &vhost_dp_port_no_driver;
        port->caps.rx_poll = true;
        port->caps.rx_on_demand = false;
        port->caps.rx_into = false;
    }
}

static bool port_try_attach(VhostDPEnginePort *port, Error **errp)
{
    bool attached = port->dc->attach(port->drv, port->index, &port->port,
                                     port->ctx, errp);

    trace_vhost_dp_port_attach(port->set->netdev, port->index, port->drv->id,
                               attached);
    if (attached) {
        port_set_driver_state(port, PORT_DRIVER_ACTIVE);
    }
    return attached;
}

static void port_attach(VhostDPEnginePort *port)
{
    g_autoptr(Error) err = NULL;

    if (!port_is_attached(port)) {
        port_try_attach(port, &err);
    }
    if (vhost_dp_port_link_set_detached(&port->link,
                                        err ? error_get_pretty(err) : NULL)) {
        port->set->link_changed(port->set->opaque);
    }
}

static void port_detach(VhostDPEnginePort *port)
{
    vhost_dp_port_rx_drop(port, VHOST_DP_DROP_REASON_STOPPED);
    vhost_dp_port_rx_off(port);
    vhost_dp_port_tx_drop_rest(port, VHOST_DP_DROP_REASON_STOPPED);
    vhost_dp_port_rx_settle(port);
    if (port_is_attached(port)) {
        port->dc->detach(port->drv, port->index);
        port_set_driver_state(port, PORT_DRIVER_DETACHED);
        trace_vhost_dp_port_detach(port->set->netdev, port->index);
    }
}

/* Follow the guest, which enables and disables queue pairs (multiqueue) */
static void port_set_active(VhostDPEnginePort *port, bool active)
{
    bool steered;

    if (!port_is_attached(port) || port_is_inactive(port) == !active) {
        return;
    }
    steered = port->dc->set_active &&
              port->dc->set_active(port->drv, port->index, active);
    port_set_driver_state(port, active ? PORT_DRIVER_ACTIVE :
                                steered ? PORT_DRIVER_STEERED :
                                          PORT_DRIVER_INACTIVE);
    trace_vhost_dp_port_set_active(port->set->netdev, port->index, active);
}

/* What control wants */
typedef struct PortWanted {
    VhostDPDriver *drv;
    VhostDPCaps caps;
    bool no_way_back;
    unsigned drv_change;
    bool dead;
    bool enabled;               /* the guest uses the pair */
    bool link_down;             /* the NIC's, and so nothing runs */
    bool runs[VHOST_DP_QUEUES]; /* and is not broken */
    bool restarted[VHOST_DP_QUEUES];    /* since the last look */
    VhostDPControl *control;    /* a reference, or NULL */
} PortWanted;

/* Lock held: as long as that is so, the states are about what @wanted says */
static void port_look(VhostDPEnginePort *port, PortWanted *wanted)
{
    VhostDPPair *pair = &port->pair;
    unsigned i;

    wanted->drv = port->conf.drv;
    wanted->caps = port->conf.caps;
    wanted->no_way_back = port->conf.no_way_back;
    wanted->drv_change = port->conf.drv_change;
    wanted->dead = port->conf.dead;
    wanted->control = port->conf.control ?
                      vhost_dp_control_ref(port->conf.control) : NULL;
    wanted->enabled = pair->enabled;
    wanted->link_down = !pair->vq[VHOST_DP_RX].running && port->conf.nic_down;
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        bool listen = pair->vq[i].running && !wanted->dead;

        vhost_dp_port_watch_kick(port, i, listen ? pair->kick[i].fd : -1);
        wanted->runs[i] = pair->vq[i].running && !pair->vq[i].broken;
        wanted->restarted[i] = pair->generation[i] != port->generation[i];
        port->generation[i] = pair->generation[i];
    }
}

/*
 * Give the guest what the driver has received, as long as it takes it; under a
 * flood that has no end, so not for long
 */
static void port_drain(VhostDPEnginePort *port)
{
    unsigned i;

    for (i = 0; i < PORT_DRAIN_BURSTS; i++) {
        if (!vhost_dp_pair_may_run(&port->pair) ||
            vhost_dp_port_rx(port) != PORT_MORE) {
            break;
        }
    }
}

/* Use the wanted driver.  If it refuses, @errp is set. */
static void port_change_driver(VhostDPEnginePort *port,
                               const PortWanted *wanted, Error **errp)
{
    VhostDPDriver *old = port->drv;
    VhostDPCaps old_caps = port->caps;

    old_caps.tx_offloads = port->most_tx_offloads;
    port_drain(port);
    vhost_dp_port_link_hold(&port->link);
    port_detach(port);
    port_take_driver(port, wanted->drv, &wanted->caps);
    if (port_try_attach(port, errp)) {
        return;
    }
    if (!wanted->no_way_back) {
        port_take_driver(port, old, &old_caps);
    }
    /* What the wanted driver said of its link is void; the old one speaks */
    vhost_dp_port_link_hold(&port->link);
}

/*
 * Follow what is wanted of the driver, once.  Control looks at the result under
 * the lock, and closes drivers that no port uses.  It may want the old driver
 * again already: what was followed is a change, and not a driver.
 */
static void port_follow_driver(VhostDPEnginePort *port,
                               const PortWanted *wanted)
{
    g_autoptr(Error) err = NULL;
    bool change = port->drv != wanted->drv;

    if (port->followed == wanted->drv_change) {
        return;
    }
    if (change) {
        port_change_driver(port, wanted, &err);
    }
    port_attach(port);
    if (change && vhost_dp_port_link_let_go(&port->link)) {
        port->set->link_changed(port->set->opaque);
    }
    WITH_QEMU_LOCK_GUARD(&port->pair.lock) {
        port->followed = wanted->drv_change;
        g_free(port->refusal);
        port->refusal = err && !wanted->no_way_back ?
                        g_strdup(error_get_pretty(err)) : NULL;
    }
    trace_vhost_dp_port_follow(port->set->netdev, port->index, wanted->drv->id,
                               port->drv == wanted->drv);
}

static void port_reconcile_tx(VhostDPEnginePort *port,
                              const PortWanted *wanted)
{
    if (!port_is_attached(port)) {
        vhost_dp_port_tx_lose(port, VHOST_DP_DROP_REASON_LINK_DOWN);
    } else if (!wanted->enabled) {
        vhost_dp_port_tx_lose(port, VHOST_DP_DROP_REASON_DISABLED);
    } else {
        vhost_dp_port_tx_open(port);
    }
}

/* Frames that nobody takes are lost, and not for later */
static void port_reconcile_rx(VhostDPEnginePort *port,
                              const PortWanted *wanted)
{
    if (!port_is_attached(port)) {
        vhost_dp_port_rx_off(port);
    } else if (wanted->enabled && wanted->runs[VHOST_DP_RX]) {
        vhost_dp_port_rx_open(port);
    } else if (port->caps.rx_on_demand) {
        vhost_dp_port_rx_off(port);
    } else if (!wanted->enabled &&
               port->driver_state != PORT_DRIVER_STEERED) {
        vhost_dp_port_rx_discard(port, VHOST_DP_DROP_REASON_DISABLED);
    } else if (wanted->enabled && wanted->link_down) {
        vhost_dp_port_rx_discard(port, VHOST_DP_DROP_REASON_LINK_DOWN);
    } else {
        vhost_dp_port_rx_off(port);
    }
}

/*
 * Brings the port in line with what control wants (tests/models/port.pml).
 * Returns false if it is dead: then the driver is detached for good.
 */
static bool port_reconcile(VhostDPEnginePort *port)
{
    VhostDPDropReason why;
    PortWanted wanted;

    WITH_QEMU_LOCK_GUARD(&port->pair.lock) {
        port_look(port, &wanted);
    }
    if (wanted.dead) {
        vhost_dp_control_unref(wanted.control);
        port_detach(port);
        vhost_dp_inbox_retire(port->inbox);
        return false;
    }
    /* What is left of before must not come to a queue that starts or stops */
    why = wanted.enabled ? VHOST_DP_DROP_REASON_STOPPED :
                           VHOST_DP_DROP_REASON_DISABLED;
    if (!wanted.runs[VHOST_DP_RX] || wanted.restarted[VHOST_DP_RX] ||
        !wanted.enabled) {
        vhost_dp_port_rx_drop(port, why);
    }
    if (!wanted.runs[VHOST_DP_TX] || wanted.restarted[VHOST_DP_TX] ||
        !wanted.enabled) {
        vhost_dp_port_tx_drop_rest(port, why);
    }
    vhost_dp_port_rx_control(port, wanted.control);
    port_follow_driver(port, &wanted);
    port_attach(port);
    vhost_dp_port_rx_queues(port);
    port_set_active(port, wanted.enabled);
    port_reconcile_tx(port, &wanted);
    port_reconcile_rx(port, &wanted);
    vhost_dp_port_rx_admit(port);
    /* The NIC may be a new one, or have come by migration */
    port->set->link_changed(port->set->opaque);
    return true;
}

static void port_free(VhostDPEnginePort *port)
{
    /* Joins the thread if it was the port's own */
    object_unref(OBJECT(port->iothread));
    g_free(port->iothread_name);
    vhost_dp_inbox_free(port->inbox);
    vhost_dp_outbox_free(port->outbox);
    g_free(port->outboxes);
    vhost_dp_control_unref(port->conf.control);
    vhost_dp_pair_destroy(&port->pair);
    vhost_dp_port_link_destroy(&port->link);
    vhost_dp_port_tx_free(port->tx);
    vhost_dp_port_rx_free(port->rx);
    g_free(port->refusal);
    qemu_vfree(port->burst);
    qemu_vfree(port);
}

/* Main loop: no IOThread has anything to do with the ports any more */
static void portset_free_bh(void *opaque)
{
    VhostDPPortSet *set = opaque;
    unsigned i;

    for (i = 0; i < set->nports; i++) {
        port_free(set->port[i]);
    }
    qemu_event_destroy(&set->detached);
    g_free(set->netdev);
    g_free(set->flows);
    g_free(set);
}

/* The driver is detached, and nothing schedules the bottom half any more */
static void port_end(VhostDPEnginePort *port)
{
    VhostDPPortSet *set = port->set;

    qemu_bh_delete(port->bh);
    timer_del(&port->call_timer);
    if (qatomic_fetch_dec(&set->nattached) == 1) {
        qemu_event_set(&set->detached);
        /* From here on vhost_dp_portset_delete() may have returned */
        aio_bh_schedule_oneshot(qemu_get_aio_context(), portset_free_bh, set);
    }
}

static void port_bh(void *opaque)
{
    VhostDPEnginePort *port = opaque;

    vhost_dp_port_turn_hold(port);
    if (qatomic_xchg(&port->changed, false) && !port_reconcile(port)) {
        port_end(port);
        return;
    }
    vhost_dp_port_tx_look(port);
    vhost_dp_port_tx_injected(port);
    if (unlikely(vhost_dp_inbox_is_expired(port->inbox))) {
        vhost_dp_port_rx_expire(port);
    }
    if (unlikely(vhost_dp_inbox_ready(port->inbox))) {
        vhost_dp_port_rx_count_inbox(port);
    }
    vhost_dp_port_turn(port);
}

/* ---- What the pair tells ---- */

/* Lock held: does control want the receive queue to get frames? */
static bool port_wants_rx(const VhostDPEnginePort *port)
{
    const VhostDPPair *pair = &port->pair;
    const VhostDPVring *vq = &pair->vq[VHOST_DP_RX];

    return pair->enabled && vq->running && !vq->broken && !port->conf.dead;
}

/*
 * Lock held.  Other pairs' threads may have frames for this one before its own
 * thread knows that it runs, and those are not to be lost: so the inbox is
 * opened here.  It is closed by vhost_dp_port_rx_admit().
 */
static void port_note_change(VhostDPEnginePort *port)
{
    uint32_t generation = port->pair.generation[VHOST_DP_RX];

    if (port_wants_rx(port)) {
        vhost_dp_inbox_open(port->inbox, port->admitted != generation);
        port->admitted = generation;
    }
    qatomic_set(&port->changed, true);
}

static void port_changed(void *opaque)
{
    VhostDPEnginePort *port = opaque;

    vhost_dp_pair_lock(&port->pair);
    port_note_change(port);
    vhost_dp_pair_unlock(&port->pair);
    qemu_bh_schedule(port->bh);
}

static void port_resume(void *opaque)
{
    VhostDPEnginePort *port = opaque;

    qemu_bh_schedule(port->bh);
}

static const VhostDPPairClient port_pair_client = {
    .changed = port_changed,
    .resume = port_resume,
};

/* ---- For the netdev ---- */

/*
 * A name for an IOThread of @port's own: short, as Linux cuts thread names at
 * 15 characters, and free.  A netdev of the same id that was deleted lives
 * until its NIC goes, so a second choice may be needed.  Ids have no ':'.
 */
static char *port_choose_thread_name(VhostDPEnginePort *port)
{
    g_autofree char *base = port->index ?
        g_strdup_printf("dp-%s:%u", port->set->netdev, port->index) :
        g_strdup_printf("dp-%s", port->set->netdev);
    char *name = g_strdup(base);
    unsigned i;

    for (i = 1; object_resolve_path_component(object_get_internal_root(),
                                              name); i++) {
        g_free(name);
        name = g_strdup_printf("%s::%u", base, i);
    }
    return name;
}

static bool port_set_iothread(VhostDPEnginePort *port, IOThread *iothread,
                              Error **errp)
{
    ERRP_GUARD();

    if (iothread) {
        port->iothread_name = iothread_get_id(iothread);
    } else {
        port->iothread_name = port_choose_thread_name(port);
        iothread = iothread_create(port->iothread_name, errp);
        if (!iothread) {
            error_prepend(errp, "vhost-dp netdev '%s': queue pair %u: its "
                          "IOThread cannot be created: ", port->set->netdev,
                          port->index);
            error_append_hint(errp, "Raise QEMU's limit on threads "
                              "(RLIMIT_NPROC, the cgroup's pids.max) or on "
                              "descriptors (RLIMIT_NOFILE),\nor let queue "
                              "pairs share an IOThread that exists: "
                              "iothread=ID\n");
            return false;
        }
        port->own_iothread = true;
    }
    port->iothread = iothread;
    object_ref(OBJECT(iothread));
    port->ctx = iothread_get_aio_context(iothread);
    return true;
}

/* Nothing happens to it before port_changed().  Returns NULL with @errp set. */
static VhostDPEnginePort *port_new(VhostDPPortSet *set, unsigned index,
                                   unsigned nports, VhostDPDriver *drv,
                                   const VhostDPCaps *caps, IOThread *iothread,
                                   uint32_t busy_poll_us, Error **errp)
{
    VhostDPEnginePort *port = qemu_memalign(PORT_CACHE_LINE, sizeof(*port));
    unsigned i;

    memset(port, 0, sizeof(*port));
    port->port.ops = &port_ops;
    port->set = set;
    port->index = index;
    port->tx_owner = index;
    if (!vhost_dp_pair_init(&port->pair, set->netdev,
                            &port_pair_client, port, errp)) {
        goto fail;
    }
    if (!port_set_iothread(port, iothread, errp)) {
        vhost_dp_pair_destroy(&port->pair);
        goto fail;
    }
    port_take_driver(port, drv, caps);
    port->conf.drv = drv;
    port->conf.caps = *caps;
    port->conf.hdr_len = sizeof(struct virtio_net_hdr);
    port->conf.hdr_swap = HOST_BIG_ENDIAN;
    port->conf.rx_safe_len = UINT32_MAX;
    port->fragment_id = g_random_int();
    port->burst = qemu_memalign(PORT_CACHE_LINE, sizeof(*port->burst));
    port->tx = vhost_dp_port_tx_new();
    port->rx = vhost_dp_port_rx_new();
    vhost_dp_port_poll_init(&port->poll, busy_poll_us * (int64_t)SCALE_US);
    vhost_dp_port_link_init(&port->link);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        port->kick[i].queue = i;
        port->kick[i].port = port;
    }
    trace_vhost_dp_port_new(set->netdev, index, port->iothread_name,
                            port->iothread->thread_id, busy_poll_us);
    port->bh = aio_bh_new(port->ctx, port_bh, port);
    aio_timer_init(port->ctx, &port->call_timer, QEMU_CLOCK_REALTIME,
                   SCALE_NS, vhost_dp_port_call_timer, port);
    port->inbox = vhost_dp_inbox_new(port->bh);
    if (nports > 1) {
        port->outbox = vhost_dp_outbox_new();
        port->outboxes = g_new0(unsigned long, BITS_TO_LONGS(nports));
    }
    return port;

fail:
    g_free(port->iothread_name);
    qemu_vfree(port);
    return NULL;
}

/* Frees its name; the reference that the port holds keeps the thread */
static void port_release_iothread(VhostDPEnginePort *port)
{
    if (port->own_iothread) {
        iothread_destroy(port->iothread);
    }
}

VhostDPPortSet *vhost_dp_portset_new(const char *netdev, unsigned nports,
                                     VhostDPDriver *drv,
                                     const VhostDPCaps *caps,
                                     IOThread **iothreads,
                                     uint32_t busy_poll_us,
                                     void (*link_changed)(void *opaque),
                                     void *opaque, Error **errp)
{
    VhostDPPortSet *set = g_malloc0(sizeof(*set) +
                                    nports * sizeof(set->port[0]));
    unsigned i;

    set->netdev = g_strdup(netdev);
    set->link_changed = link_changed;
    set->opaque = opaque;
    set->nattached = nports;
    qemu_event_init(&set->detached, false);
    set->flows = nports > 1 ? g_new0(VhostDPFlows, 1) : NULL;
    for (i = 0; i < nports; i++) {
        set->port[i] = port_new(set, i, nports, drv, caps, iothreads[i],
                                busy_poll_us, errp);
        if (!set->port[i]) {
            goto fail;
        }
        set->nports++;
    }
    for (i = 0; i < nports; i++) {
        port_changed(set->port[i]);
    }
    return set;

fail:
    /* None of them has worked */
    for (i = 0; i < set->nports; i++) {
        qemu_bh_delete(set->port[i]->bh);
        port_release_iothread(set->port[i]);
    }
    aio_bh_schedule_oneshot(qemu_get_aio_context(), portset_free_bh, set);
    return NULL;
}

void vhost_dp_portset_delete(VhostDPPortSet *set)
{
    unsigned i;

    for (i = 0; i < set->nports; i++) {
        VhostDPEnginePort *port = set->port[i];
        VhostDPPair *pair = &port->pair;

        /*
         * All of it under the lock: as soon as the bottom half can see @dead,
         * it may end the port.  So no vhost_dp_pair_unlock(), which
         * schedules it.
         */
        qatomic_inc(&pair->want);
        WITH_QEMU_LOCK_GUARD(&pair->lock) {
            port->conf.dead = true;
            port_note_change(port);
            qemu_bh_schedule(port->bh);
        }
        qatomic_dec(&pair->want);
    }
    qemu_event_wait(&set->detached);
    for (i = 0; i < set->nports; i++) {
        /* The bottom half is gone: nobody may be told to resume any more */
        qatomic_set(&set->port[i]->pair.yielded, false);
        port_release_iothread(set->port[i]);
    }
}

void vhost_dp_portset_set_driver(VhostDPPortSet *set, VhostDPDriver *drv,
                                 const VhostDPCaps *caps, bool no_way_back)
{
    unsigned i;

    for (i = 0; i < set->nports; i++) {
        VhostDPEnginePort *port = set->port[i];

        vhost_dp_pair_lock(&port->pair);
        port->conf.drv = drv;
        port->conf.caps = *caps;
        port->conf.no_way_back = no_way_back;
        port->conf.drv_change++;
        vhost_dp_pair_unlock(&port->pair);
        port_changed(port);
    }
}

VhostDPPortSetState vhost_dp_portset_follows(VhostDPPortSet *set, char **why)
{
    VhostDPPortSetState state = VHOST_DP_PORTSET_FOLLOWED;
    unsigned i;

    for (i = 0; i < set->nports && state != VHOST_DP_PORTSET_REFUSED; i++) {
        VhostDPEnginePort *port = set->port[i];

        vhost_dp_pair_lock(&port->pair);
        if (port->followed != port->conf.drv_change) {
            state = VHOST_DP_PORTSET_MOVING;
        } else if (port->refusal) {
            state = VHOST_DP_PORTSET_REFUSED;
            *why = g_strdup_printf("queue pair %u: %s", i, port->refusal);
        }
        vhost_dp_pair_unlock(&port->pair);
    }
    return state;
}

VhostDPEnginePort *vhost_dp_portset_port(VhostDPPortSet *set, unsigned index)
{
    return set->port[index];
}

void vhost_dp_portset_set_control(VhostDPPortSet *set, VhostDPControl *control)
{
    unsigned i;

    for (i = 0; i < set->nports; i++) {
        VhostDPEnginePort *port = set->port[i];
        VhostDPControl *old = port->conf.control;

        vhost_dp_control_ref(control);
        vhost_dp_pair_lock(&port->pair);
        port->conf.control = control;
        port->conf.checks_source = control->state.check_source;
        port_note_change(port);
        vhost_dp_pair_unlock(&port->pair);
        qemu_bh_schedule(port->bh);
        vhost_dp_control_unref(old);
    }
}

void vhost_dp_port_set_nic_link(VhostDPEnginePort *port, bool up)
{
    bool changed;

    vhost_dp_pair_lock(&port->pair);
    changed = port->conf.nic_down == up;
    port->conf.nic_down = !up;
    vhost_dp_pair_unlock(&port->pair);
    if (changed) {
        port_changed(port);
    }
}
