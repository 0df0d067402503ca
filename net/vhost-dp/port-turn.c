/*
 * vhost-dp: when the engine works
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: work comes as a kick from the guest, as
 * vhost_dp_port_ready() from the driver, or as the port's bottom half.  Each
 * starts a turn: bursts from and to the guest, alternating, until neither has
 * anything left or 100 us are over; then the bottom half gives the other users
 * of the thread their chance.  While a queue is busy the guest is asked not to
 * kick; before it goes to sleep the guest is asked to kick, and the ring is
 * looked at once more.  With busy polling the sleep comes later: see
 * port-poll.c.
 *
 * One burst each way is a pass.  After each pass the driver's calls are enabled
 * or disabled, as the states say.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "port-frame.h"
#include "port-rx.h"
#include "port-turn.h"
#include "port-tx.h"

/* How long a turn may take before the other users of the thread get theirs */
#define PORT_TURN_NS (100 * SCALE_US)

/*
 * Not if a control operation waits, or has changed something that the bottom
 * half has not seen yet: what the guest does after the operation must find the
 * change in effect.
 */
static bool turn_may_go_on(VhostDPEnginePort *port)
{
    return likely(!qatomic_read(&port->changed)) &&
           vhost_dp_pair_may_run(&port->pair);
}

/*
 * A burst from and one to the guest.  *@more is set if there may be more work.
 * Returns false if the bottom half is, or will be, scheduled: by control, or
 * when the vIOMMU has answered.
 */
static bool turn_pass(VhostDPEnginePort *port, bool *more)
{
    VhostDPPair *pair = &port->pair;
    unsigned left;

    port->turn.news = false;
    *more = false;
    if (!turn_may_go_on(port)) {
        return false;
    }
    left = vhost_dp_port_tx(port);
    if (!turn_may_go_on(port)) {
        return false;
    }
    left |= vhost_dp_port_rx(port);
    if (unlikely(left & PORT_MISSED)) {
        if (!vhost_dp_pair_resolve(pair)) {
            /* A driver with frames would wake us up in vain, all the time */
            port->turn.state = PORT_TURN_PARKED;
            return false;
        }
        left |= PORT_MORE;
    }
    *more = left & PORT_MORE;
    return true;
}

void vhost_dp_port_turn_hold(VhostDPEnginePort *port)
{
    if (port->turn.state == PORT_TURN_POLL) {
        port_poll_look(&port->poll);
    }
    port->turn.state = PORT_TURN_RUNNING;
}

void vhost_dp_port_turn(VhostDPEnginePort *port)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    int64_t end = now + PORT_TURN_NS;
    PortTurn *turn = &port->turn;
    PortTurnState next = PORT_TURN_IDLE;
    bool all, more;

    turn->state = PORT_TURN_RUNNING;
    vhost_dp_port_poll_turn(&port->poll, now);
    do {
        all = turn_pass(port, &more);
        now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
        /* Also of a pass that a control operation cut short */
        vhost_dp_port_poll_pass(&port->poll, now);
        if (unlikely(port->delayed)) {
            vhost_dp_port_call_due(port, now);
        }
        if (vhost_dp_port_rx_settle(port) || turn->news) {
            more = true;
        }
        if (all && (more ? now >= end :
                           !vhost_dp_port_poll_end(&port->poll, now))) {
            next = more ? PORT_TURN_MORE :
                   port_poll_is_on(&port->poll) ? PORT_TURN_POLL :
                                                  PORT_TURN_IDLE;
            break;
        }
    } while (all);
    vhost_dp_port_call(port);
    if (turn->state == PORT_TURN_RUNNING) {
        turn->state = next;
    }
    if (next != PORT_TURN_IDLE) {
        qemu_bh_schedule(port->bh);
    }
}

void vhost_dp_port_notified(VhostDPEnginePort *port)
{
    switch (port->turn.state) {
    case PORT_TURN_RUNNING:
        /* From inside a driver function: the turn below us goes on */
        port->turn.news = true;
        break;
    case PORT_TURN_MORE:
        /*
         * A port whose bottom half is about to go on has had its turn; the fds
         * of a busy port would otherwise give it a second one in each round
         */
    case PORT_TURN_PARKED:
        /* The answer to the miss schedules the bottom half */
        break;
    case PORT_TURN_IDLE:
    case PORT_TURN_POLL:
        vhost_dp_port_turn(port);
        break;
    }
}

/* ---- Kicks ---- */

static void port_kick(EventNotifier *notifier)
{
    PortKick *kick = container_of(notifier, PortKick, notifier);
    VhostDPEnginePort *port = kick->port;
    bool running;

    WITH_QEMU_LOCK_GUARD(&port->pair.lock) {
        running = port->pair.vq[kick->queue].running;
    }
    if (!running) {
        /* Not for us: the handler is about to be removed */
        return;
    }
    event_notifier_test_and_clear(notifier);
    vhost_dp_count(&port->stats[kick->queue].kicks, 1);
    if (kick->queue == VHOST_DP_RX) {
        vhost_dp_port_rx_kicked(port);
    }
    vhost_dp_port_notified(port);
}

void vhost_dp_port_watch_kick(VhostDPEnginePort *port, unsigned queue, int fd)
{
    PortKick *kick = &port->kick[queue];
    int *watched = &port->pair.kick[queue].watched;

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
