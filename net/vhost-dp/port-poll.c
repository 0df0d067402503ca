/*
 * vhost-dp: busy polling
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the port's IOThread; see port.c.  With
 * busy-poll-us= a port that has run out of work does not sleep at once.  Its
 * bottom half schedules itself and looks again at each round of the event
 * loop, so that the other users of the thread, other ports that poll among
 * them, have their turn in between.
 *
 * Meanwhile notifications are off both ways: the guest is not asked to kick,
 * and a driver that says what there is without a system call (rx_poll) is
 * asked by rx_burst, with its own events off.  Other drivers keep their fd
 * handlers: the event loop looks at all fds of the thread with one system
 * call per round, or with none where it uses io_uring, while a read that
 * finds nothing would cost one for each queue pair.
 *
 * Polling ends when there was no work for a window of time, which opens with
 * the first work: a wake-up for nothing leads to no polling.  Then one more
 * pass, with @polling false, does what any turn does before the port sleeps:
 * it asks the guest to kick, or the driver to call, and looks once more.
 * Nothing else ends polling, so no wake-up is lost.
 *
 * The window backs off.  It is busy-poll-us= as long as polling finds work.
 * Each time that it passes in vain it is halved, down to none at all; when
 * the next work turns out to have come within busy-poll-us= of the last,
 * where a full window would have found it, the window is full again.  So
 * traffic that is too sparse for polling does not pay for it.
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "port-int.h"

/* A window that is shorter than one round of the event loop finds nothing */
#define POLL_WINDOW_MIN_NS (2 * SCALE_US)

void vhost_dp_port_poll_begin(VhostDPEnginePort *port, int64_t now)
{
    if (!port->busy_poll_ns || port->polling) {
        return;
    }
    if (now - port->worked_at < port->busy_poll_ns) {
        port->poll_window = port->busy_poll_ns;
    }
    if (port->poll_window) {
        port->polling = true;
        port->poll_open = false;
        port->poll_hit = false;
        port->poll_until = now;
        vhost_dp_port_rx_update(port);
    }
}

void vhost_dp_port_poll_extend(VhostDPEnginePort *port, int64_t now)
{
    if (port->worked && port->busy_poll_ns) {
        /* The pass may be the one that was to end polling */
        vhost_dp_port_poll_begin(port, now);
        port->poll_open = true;
        port->worked_at = now;
        port->poll_until = now + port->poll_window;
    }
}

bool vhost_dp_port_poll_end(VhostDPEnginePort *port, int64_t now)
{
    if (!port->polling || now < port->poll_until) {
        return false;
    }
    if (port->poll_hit) {
        port->poll_window = port->busy_poll_ns;
    } else if (port->poll_open) {
        port->poll_window /= 2;
        if (port->poll_window < POLL_WINDOW_MIN_NS) {
            port->poll_window = 0;
        }
    }
    port->polling = false;
    port->rx_starved = false;
    vhost_dp_port_rx_update(port);
    return true;
}
