/*
 * vhost-dp: the engine, which moves frames between a queue pair and a driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a port is the engine of one queue pair.  It lives in
 * one AioContext, that of an IOThread, where all ring work and all driver I/O
 * of the pair happen.
 *
 * Work comes as a kick from the guest, as vhost_dp_port_ready() from the
 * driver, or as the port's bottom half.  Each starts a turn: bursts from and
 * to the guest, alternating, until neither has anything left or 100 us are
 * over; then the bottom half gives the other users of the thread their chance.
 * While a queue is busy the guest is asked not to kick; before it goes to
 * sleep the guest is asked to kick, and the ring is looked at once more.
 * With busy polling the sleep comes later: see port-poll.c.
 *
 * A queue pair that the guest disabled (multiqueue) is still served, or its
 * frames would be stuck: those from the guest are dropped and counted, those to
 * it are given to the first pair (port-inbox.c).
 *
 * Everything that control operations change (started or not, kick fds, dead
 * or alive) is only noted by them, under the backend's lock.  The same bottom
 * half brings the actual state (fd handlers, driver attached) in line with
 * what is wanted, whatever order the changes came in.
 *
 * Who may touch what is said in port-int.h.  The port's memory belongs to
 * the IOThread once it is dead: the bottom half detaches the driver, tells
 * vhost_dp_port_delete(), and hands the rest to a bottom half in the main
 * loop, the only place where an IOThread can be joined.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "net/eth.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_net.h"
#include "port-int.h"
#include "trace.h"

/* How long a turn may take before the other users of the thread get theirs */
#define PORT_TURN_NS (100 * SCALE_US)

/* ---- A turn ---- */

void vhost_dp_port_flush(VhostDPEnginePort *port, unsigned queue)
{
    VhostDPVring *vq = &port->backend.vq[queue];

    if (!vq->nshadow) {
        return;
    }
    if (vhost_dp_vring_flush(vq)) {
        port->backend.call_pending[queue] = true;
        port->call = true;
    } else {
        vhost_dp_count(&port->stats[queue].calls_suppressed, 1);
    }
}

/* At the end of a turn: one call for all that was used in it */
static void port_call(VhostDPEnginePort *port)
{
    if (port->call) {
        port->call = false;
        qemu_mutex_lock(&port->backend.lock);
        vhost_dp_backend_call(&port->backend);
        qemu_mutex_unlock(&port->backend.lock);
    }
}

/*
 * A burst from and one to the guest.  *@more is set if there may be more work.
 * Returns false if a control operation waits, or the vIOMMU does not answer at
 * once: port_resume() will be called.
 */
static bool port_pass(VhostDPEnginePort *port, bool *more)
{
    bool tx_more, rx_more;

    port->news = false;
    port->worked = false;
    *more = false;
    if (!vhost_dp_backend_may_run(&port->backend)) {
        return false;
    }
    tx_more = vhost_dp_port_tx(port);
    if (!vhost_dp_backend_may_run(&port->backend)) {
        return false;
    }
    rx_more = vhost_dp_port_rx(port);
    port->poll_look = false;
    if (unlikely(port->missed)) {
        port->missed = false;
        if (!vhost_dp_backend_resolve(&port->backend)) {
            /* A driver with frames would wake us up in vain, all the time */
            port->parked = true;
            vhost_dp_port_rx_update(port);
            return false;
        }
        tx_more = true;
    }
    *more = tx_more || rx_more || port->news;
    return true;
}

/* @poll: there was no notification, and nothing was left to do */
static void port_turn(VhostDPEnginePort *port, bool poll)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    int64_t end = now + PORT_TURN_NS;
    bool all, more;

    port->in_turn = true;
    port->more = false;
    port->poll_scheduled = false;
    port->poll_look = poll;
    vhost_dp_port_poll_begin(port, now);
    do {
        all = port_pass(port, &more);
        now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
        /* Also of a pass that a control operation cut short */
        vhost_dp_port_poll_extend(port, now);
        if (all && (more ? now >= end : !vhost_dp_port_poll_end(port, now))) {
            port->more = more;
            port->poll_scheduled = port->polling && !more;
            break;
        }
    } while (all);
    port_call(port);
    port->in_turn = false;
    if (port->more || port->poll_scheduled) {
        qemu_bh_schedule(port->bh);
    }
}

/* There is a kick, or news from the driver */
static void port_notified(VhostDPEnginePort *port)
{
    if (port->in_turn) {
        /* From inside a driver function: the turn below us goes on */
        port->news = true;
        return;
    }
    /*
     * A port whose bottom half is about to go on has had its turn; the fds of
     * a busy port would otherwise give it a second one in each round.  One
     * that waits for the vIOMMU goes on when there is an answer.
     */
    if (!port->more && !port->parked) {
        port_turn(port, false);
    }
}

static void port_kick(EventNotifier *notifier)
{
    PortKick *kick = container_of(notifier, PortKick, notifier);
    VhostDPEnginePort *port = kick->port;
    bool running;

    WITH_QEMU_LOCK_GUARD(&port->backend.lock) {
        running = port->backend.vq[kick->queue].running;
    }
    if (!running) {
        /* Not for us: the handler is about to be removed */
        return;
    }
    event_notifier_test_and_clear(notifier);
    vhost_dp_count(&port->stats[kick->queue].kicks, 1);
    if (kick->queue == VHOST_DP_RX) {
        port->rx_starved = false;
        vhost_dp_port_rx_update(port);
    }
    port_notified(port);
}

/* ---- For drivers ---- */

static VhostDPEnginePort *port_of_driver(VhostDPPort *port)
{
    return container_of(port, VhostDPEnginePort, port);
}

static void port_ready(VhostDPPort *p, unsigned what)
{
    VhostDPEnginePort *port = port_of_driver(p);

    if (what & VHOST_DP_READY_RX) {
        port->rx_ready = true;
    }
    if (what & VHOST_DP_READY_TX) {
        port->tx_blocked = false;
        port->tx_room = true;
    }
    port_notified(port);
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
}

static void port_set_link(VhostDPPort *p, bool up, const char *reason)
{
    VhostDPEnginePort *port = port_of_driver(p);

    WITH_QEMU_LOCK_GUARD(&port->side_lock) {
        const char *why = up ? NULL : reason ?: "unknown reason";

        /* The reason may be a new one, such as "deleted" after "down" */
        if (port->link_up == up && !g_strcmp0(port->link_reason, why)) {
            return;
        }
        port->link_up = up;
        g_free(port->link_reason);
        port->link_reason = g_strdup(why);
    }
    trace_vhost_dp_port_link(port->netdev, port->index, up, reason ?: "");
    port->link_changed(port->opaque);
}

static const VhostDPPortOps port_ops = {
    .ready = port_ready,
    .drop_rx = port_drop_rx,
    .drop_tx = port_drop_tx,
    .set_link = port_set_link,
    .set_tx_offloads = port_set_tx_offloads,
};

/* ---- Reconciling wanted and actual state (tests/models/port.pml) ---- */

/* @why the driver cannot be attached, or NULL if it is */
static void port_set_attach_error(VhostDPEnginePort *port, const char *why)
{
    WITH_QEMU_LOCK_GUARD(&port->side_lock) {
        if (!why && !port->attach_error) {
            return;
        }
        g_free(port->attach_error);
        port->attach_error = g_strdup(why);
    }
    port->link_changed(port->opaque);
}

static void port_attach(VhostDPEnginePort *port)
{
    Error *err = NULL;

    if (port->attached) {
        return;
    }
    qatomic_set(&port->attached,
                port->dc->attach(port->drv, port->index, &port->port,
                                 port->ctx, &err));
    trace_vhost_dp_port_attach(port->netdev, port->index, port->attached);
    port->inactive = false;
    if (port->attached) {
        port_set_attach_error(port, NULL);
    } else {
        port_set_attach_error(port, error_get_pretty(err));
        error_free(err);
    }
}

/* Follow the guest, which enables and disables queue pairs (multiqueue) */
static void port_set_active(VhostDPEnginePort *port, bool active)
{
    if (!port->attached || port->inactive == !active) {
        return;
    }
    port->steered = port->dc->set_active &&
                    port->dc->set_active(port->drv, port->index, active);
    port->inactive = !active;
    trace_vhost_dp_port_set_active(port->netdev, port->index, active);
}

/* What comes for this pair is for the first one from now on, or no longer */
static void port_set_redirect(VhostDPEnginePort *port, bool redirect)
{
    if (port->rx_redirect == redirect) {
        return;
    }
    port->rx_redirect = redirect;
    if (redirect) {
        vhost_dp_inbox_join(port->first_inbox);
    } else {
        vhost_dp_inbox_leave(port->first_inbox);
    }
    trace_vhost_dp_port_redirect(port->netdev, port->index, redirect);
}

static void port_detach(VhostDPEnginePort *port)
{
    port->rx_active = false;
    port->rx_discard = false;
    vhost_dp_port_rx_drop(port, VHOST_DP_DROP_REASON_STOPPED);
    vhost_dp_inbox_retire(port->inbox);
    port_set_redirect(port, false);
    vhost_dp_port_tx_drop_rest(port, VHOST_DP_DROP_REASON_STOPPED);
    vhost_dp_port_rx_update(port);
    if (port->attached) {
        port->dc->detach(port->drv, port->index);
        qatomic_set(&port->attached, false);
        trace_vhost_dp_port_detach(port->netdev, port->index);
    }
}

/*
 * Listen to @fd for kicks of a queue, or to nothing if it is -1.  Lock held:
 * control replaces what another descriptor refers to.
 */
static void port_watch_kick(VhostDPEnginePort *port, unsigned queue, int fd)
{
    PortKick *kick = &port->kick[queue];
    int *watched = &port->backend.kick[queue].watched;

    if (*watched == fd) {
        return;
    }
    if (*watched >= 0) {
        aio_set_event_notifier(port->ctx, &kick->notifier, NULL, NULL, NULL);
    }
    *watched = fd;
    if (fd >= 0) {
        event_notifier_init_fd(&kick->notifier, fd);
        aio_set_event_notifier(port->ctx, &kick->notifier, port_kick, NULL,
                               NULL);
    }
}

/* Returns false if the port is dead: then the driver is detached for good */
static bool port_reconcile(VhostDPEnginePort *port)
{
    VhostDPBackend *be = &port->backend;
    bool restarted[VHOST_DP_QUEUES];
    bool dead, enabled, rx_active, nic_down, tx_active;
    unsigned i;

    WITH_QEMU_LOCK_GUARD(&be->lock) {
        dead = port->dead;
        for (i = 0; i < VHOST_DP_QUEUES; i++) {
            bool listen = be->vq[i].running && !dead;

            port_watch_kick(port, i, listen ? be->kick[i].fd : -1);
            restarted[i] = be->generation[i] != port->generation[i];
            port->generation[i] = be->generation[i];
        }
        enabled = be->enabled;
        rx_active = be->vq[VHOST_DP_RX].running && enabled &&
                    !be->vq[VHOST_DP_RX].broken;
        tx_active = be->vq[VHOST_DP_TX].running &&
                    !be->vq[VHOST_DP_TX].broken;
        nic_down = !be->vq[VHOST_DP_RX].running && port->nic_down;
    }

    if (dead) {
        port_detach(port);
        return false;
    }
    port_attach(port);
    if (!rx_active || restarted[VHOST_DP_RX]) {
        if (enabled) {
            vhost_dp_port_rx_drop(port, VHOST_DP_DROP_REASON_STOPPED);
        } else {
            vhost_dp_port_rx_hand_over(port, VHOST_DP_DROP_REASON_DISABLED);
        }
        vhost_dp_inbox_open(port->inbox, false);
    }
    if (!tx_active || restarted[VHOST_DP_TX] || !enabled) {
        vhost_dp_port_tx_drop_rest(port, enabled ?
                                   VHOST_DP_DROP_REASON_STOPPED :
                                   VHOST_DP_DROP_REASON_DISABLED);
    }
    port_set_active(port, enabled);
    port->rx_active = rx_active;
    /* Frames that nobody takes are lost, and not for later */
    port->rx_discard = !port->caps.rx_on_demand &&
                       (enabled ? nic_down : !port->steered);
    port->rx_discard_reason = enabled ? VHOST_DP_DROP_REASON_LINK_DOWN :
                                        VHOST_DP_DROP_REASON_DISABLED;
    port_set_redirect(port, port->rx_discard && !enabled &&
                            port->first_inbox);
    vhost_dp_inbox_open(port->inbox, rx_active);
    vhost_dp_port_inbox_count(port);
    port->rx_starved = false;
    port->rx_ready = true;
    port->tx_blocked = false;
    vhost_dp_port_rx_update(port);
    /* The NIC may be a new one, or have come by migration */
    port->link_changed(port->opaque);
    return true;
}

/* Main loop: the IOThread has nothing to do with the port any more */
static void port_free_bh(void *opaque)
{
    VhostDPEnginePort *port = opaque;
    PortInject *packet, *next;

    /* Joins the thread if it was the port's own */
    object_unref(OBJECT(port->iothread));
    g_free(port->iothread_name);
    QSIMPLEQ_FOREACH_SAFE(packet, &port->inject, next, next) {
        g_free(packet);
    }
    vhost_dp_inbox_unref(port->inbox);
    vhost_dp_inbox_unref(port->first_inbox);
    vhost_dp_backend_destroy(&port->backend);
    qemu_event_destroy(&port->detached);
    qemu_mutex_destroy(&port->side_lock);
    g_free(port->link_reason);
    g_free(port->attach_error);
    g_free(port->tx_bounce);
    g_free(port->rx_copy);
    vhost_dp_port_soft_free(port);
    g_free(port->netdev);
    g_free(port);
}

static void port_bh(void *opaque)
{
    VhostDPEnginePort *port = opaque;

    if (port->parked) {
        port->parked = false;
        vhost_dp_port_rx_update(port);
    }
    if (qatomic_xchg(&port->changed, false) && !port_reconcile(port)) {
        qemu_bh_delete(port->bh);
        qemu_event_set(&port->detached);
        /* From here on vhost_dp_port_delete() may have returned */
        aio_bh_schedule_oneshot(qemu_get_aio_context(), port_free_bh, port);
        return;
    }
    /* The driver may call vhost_dp_port_ready(): not now, but just after */
    port->in_turn = true;
    vhost_dp_port_tx_injected(port);
    port->in_turn = false;
    if (unlikely(vhost_dp_inbox_ready(port->inbox))) {
        vhost_dp_port_inbox_count(port);
    }
    port_turn(port, port->poll_scheduled);
}

/* ---- What the backend tells ---- */

static void port_changed(void *opaque)
{
    VhostDPEnginePort *port = opaque;

    qatomic_set(&port->changed, true);
    qemu_bh_schedule(port->bh);
}

static void port_resume(void *opaque)
{
    VhostDPEnginePort *port = opaque;

    qemu_bh_schedule(port->bh);
}

static const VhostDPBackendClient port_backend_client = {
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
        g_strdup_printf("dp-%s:%u", port->netdev, port->index) :
        g_strdup_printf("dp-%s", port->netdev);
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
                          "IOThread cannot be created: ", port->netdev,
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

VhostDPEnginePort *vhost_dp_port_new(const char *netdev, unsigned index,
                                     VhostDPEnginePort *first,
                                     VhostDPDriver *drv,
                                     const VhostDPCaps *caps,
                                     IOThread *iothread, uint32_t busy_poll_us,
                                     void (*link_changed)(void *opaque),
                                     void *opaque, Error **errp)
{
    VhostDPEnginePort *port = g_new0(VhostDPEnginePort, 1);
    unsigned i;

    port->port.ops = &port_ops;
    port->netdev = g_strdup(netdev);
    port->index = index;
    if (!vhost_dp_backend_init(&port->backend, netdev, &port_backend_client,
                               port, errp)) {
        goto fail;
    }
    if (!port_set_iothread(port, iothread, errp)) {
        vhost_dp_backend_destroy(&port->backend);
        goto fail;
    }
    port->drv = drv;
    port->dc = VHOST_DP_DRIVER_GET_CLASS(drv);
    port->caps = *caps;
    port->most_tx_offloads = caps->tx_offloads;
    port->busy_poll_ns = busy_poll_us * (int64_t)SCALE_US;
    port->poll_window = port->busy_poll_ns;
    port->link_changed = link_changed;
    port->opaque = opaque;
    port->link_up = true;
    port->hdr_len = sizeof(struct virtio_net_hdr);
    port->hdr_swap = HOST_BIG_ENDIAN;
    port->rx_safe_len = UINT32_MAX;
    port->fragment_id = g_random_int();
    QSIMPLEQ_INIT(&port->inject);
    qemu_mutex_init(&port->side_lock);
    qemu_event_init(&port->detached, false);
    for (i = 0; i < VHOST_DP_QUEUES; i++) {
        port->kick[i].queue = i;
        port->kick[i].port = port;
    }
    trace_vhost_dp_port_new(netdev, index, port->iothread_name,
                            port->iothread->thread_id, busy_poll_us);
    port->bh = aio_bh_new(port->ctx, port_bh, port);
    port->inbox = vhost_dp_inbox_new(port->bh);
    port->first_inbox = first ? vhost_dp_inbox_ref(first->inbox) : NULL;
    port_changed(port);
    return port;

fail:
    g_free(port->iothread_name);
    g_free(port->netdev);
    g_free(port);
    return NULL;
}

void vhost_dp_port_delete(VhostDPEnginePort *port)
{
    VhostDPBackend *be = &port->backend;

    /*
     * All of it under the lock: as soon as the bottom half can see @dead, it
     * may delete itself.  So no vhost_dp_backend_unlock(), which schedules it.
     */
    qatomic_inc(&be->want);
    WITH_QEMU_LOCK_GUARD(&be->lock) {
        port->dead = true;
        port_changed(port);
    }
    qatomic_dec(&be->want);
    qemu_event_wait(&port->detached);
    /* The bottom half is gone: nobody may be told to resume any more */
    qatomic_set(&be->yielded, false);

    if (port->own_iothread) {
        /* Frees its name; the reference that we hold keeps the thread */
        iothread_destroy(port->iothread);
    }
}

VhostDPBackend *vhost_dp_port_backend(VhostDPEnginePort *port)
{
    return &port->backend;
}

void vhost_dp_port_set_hdr_len(VhostDPEnginePort *port, unsigned len)
{
    vhost_dp_backend_lock(&port->backend);
    port->hdr_len = len;
    vhost_dp_backend_unlock(&port->backend);
}

void vhost_dp_port_set_mtu(VhostDPEnginePort *port, uint16_t mtu)
{
    vhost_dp_backend_lock(&port->backend);
    port->mtu = mtu;
    port->rx_safe_len = mtu ? sizeof(struct eth_header) + mtu : UINT32_MAX;
    vhost_dp_backend_unlock(&port->backend);
}

void vhost_dp_port_set_hdr_endian(VhostDPEnginePort *port, bool big_endian)
{
    vhost_dp_backend_lock(&port->backend);
    port->hdr_swap = big_endian != HOST_BIG_ENDIAN;
    vhost_dp_backend_unlock(&port->backend);
}

void vhost_dp_port_set_offloads(VhostDPEnginePort *port, uint32_t offloads)
{
    vhost_dp_backend_lock(&port->backend);
    port->offloads = offloads;
    vhost_dp_backend_unlock(&port->backend);
}

void vhost_dp_port_set_nic_link(VhostDPEnginePort *port, bool up)
{
    bool changed;

    vhost_dp_backend_lock(&port->backend);
    changed = port->nic_down == up;
    port->nic_down = !up;
    vhost_dp_backend_unlock(&port->backend);
    if (changed) {
        port_changed(port);
    }
}

bool vhost_dp_port_get_link(VhostDPEnginePort *port, char **reason)
{
    QEMU_LOCK_GUARD(&port->side_lock);

    if (reason) {
        *reason = g_strdup(port->attach_error ?: port->link_reason);
    }
    return port->link_up && !port->attach_error;
}

bool vhost_dp_port_is_started(VhostDPEnginePort *port)
{
    return port->backend.started;
}

void vhost_dp_port_inject(VhostDPEnginePort *port, const void *buf, size_t len)
{
    PortInject *packet;

    /* One byte more than a driver takes is enough to be counted as too large */
    len = MIN(len, VHOST_DP_MAX_FRAME + 1);
    WITH_QEMU_LOCK_GUARD(&port->side_lock) {
        if (port->ninject == PORT_INJECT_MAX) {
            port->inject_lost++;
        } else {
            packet = g_malloc(sizeof(*packet) + len);
            packet->len = len;
            memcpy(packet->data, buf, len);
            QSIMPLEQ_INSERT_TAIL(&port->inject, packet, next);
            port->ninject++;
        }
    }
    qemu_bh_schedule(port->bh);
}

/* ---- Query ---- */

static VhostDPQueueInfo *port_query_queue(VhostDPEnginePort *port,
                                          unsigned queue)
{
    const PortStats *stats = &port->stats[queue];
    VhostDPBackend *be = &port->backend;
    VhostDPQueueInfo *info = g_new0(VhostDPQueueInfo, 1);
    uint64List **sizes = &info->burst_sizes;
    VhostDPDropInfoList **drops = &info->drops;
    VhostDPViolationInfoList **violations = &info->violations;
    VhostDPVring *vq = &be->vq[queue];
    unsigned i;

    /* All but @broken changes under the BQL, which we hold */
    info->state = !vq->running ? VHOST_DP_QUEUE_STATE_STOPPED :
                  qatomic_read(&vq->broken) ? VHOST_DP_QUEUE_STATE_BROKEN :
                  VHOST_DP_QUEUE_STATE_RUNNING;
    info->size = vq->num;

    info->packets = qatomic_read_u64(&stats->packets);
    info->bytes = qatomic_read_u64(&stats->bytes);
    for (i = 0; i < PORT_BURST_SIZES; i++) {
        uint64_t n = qatomic_read_u64(&stats->bursts[i]);

        info->bursts += n;
        QAPI_LIST_APPEND(sizes, n);
    }
    info->polls = qatomic_read_u64(&stats->polls);
    info->poll_hits = qatomic_read_u64(&stats->poll_hits);
    info->kicks = qatomic_read_u64(&stats->kicks);
    info->kicks_suppressed = qatomic_read_u64(&stats->kicks_suppressed);
    info->iotlb_hits = qatomic_read_u64(&vq->iotlb_hits);
    info->iotlb_misses = qatomic_read_u64(&vq->iotlb_misses);
    info->calls = qatomic_read_u64(&be->calls[queue]);
    info->calls_suppressed = qatomic_read_u64(&stats->calls_suppressed);
    info->direct_packets = qatomic_read_u64(&stats->direct);
    info->software_checksums = qatomic_read_u64(&stats->soft_checksums);
    info->software_segments = qatomic_read_u64(&stats->soft_segments);

    for (i = 0; i < VHOST_DP_DROP_REASON__MAX; i++) {
        uint64_t n = qatomic_read_u64(&stats->drops[i]);

        if (n) {
            VhostDPDropInfo *drop = g_new0(VhostDPDropInfo, 1);

            drop->reason = i;
            drop->frames = n;
            QAPI_LIST_APPEND(drops, drop);
        }
    }
    for (i = 0; i < VHOST_DP_VIOLATION__MAX; i++) {
        uint64_t n = qatomic_read_u64(&vq->violations[i]);

        if (n) {
            VhostDPViolationInfo *violation = g_new0(VhostDPViolationInfo, 1);

            violation->violation = i;
            violation->count = n;
            QAPI_LIST_APPEND(violations, violation);
        }
    }
    return info;
}

VhostDPQueuePairInfo *vhost_dp_port_query(VhostDPEnginePort *port)
{
    VhostDPQueuePairInfo *info = g_new0(VhostDPQueuePairInfo, 1);

    info->index = port->index;
    info->iothread = g_strdup(port->iothread_name);
    info->thread_id = port->iothread->thread_id;
    /* These are written under the BQL, which we hold */
    info->enabled = port->backend.enabled;
    info->attached = qatomic_read(&port->attached);
    info->has_ring_format = port->backend.started;
    info->ring_format =
        port->backend.features & (1ULL << VIRTIO_F_RING_PACKED) ?
        VHOST_DP_RING_FORMAT_PACKED : VHOST_DP_RING_FORMAT_SPLIT;
    info->rx = port_query_queue(port, VHOST_DP_RX);
    info->tx = port_query_queue(port, VHOST_DP_TX);
    return info;
}
