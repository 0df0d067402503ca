/*
 * vhost-dp: busy polling
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: runs in the port's IOThread; see port-turn.c.  With
 * busy-poll-us= a port that has run out of work does not sleep at once.  Its
 * bottom half schedules itself and looks again at each round of the event
 * loop, so that the other users of the thread, other ports that poll among
 * them, have their turn in between.
 *
 * Meanwhile notifications are off both ways: the guest is not asked to kick,
 * and a driver that can look for frames without a system call (rx_poll) is
 * polled by rx_burst, with its own events off.  Other drivers keep their fd
 * handlers: the event loop looks at all fds of the thread with one system
 * call per round, or with none where it uses io_uring, while a read that
 * finds nothing would cost one for each queue pair.
 *
 * Polling ends when there was no work for a window of time, which opens with
 * the first work: a wake-up for nothing leads to no polling.  Then one more
 * pass, in state OFF, does what any pass does before the port sleeps: it asks
 * the guest to kick, and the driver to call, and looks once more.  Nothing else
 * ends polling, so no wake-up is lost.
 *
 * The window backs off.  It is busy-poll-us= as long as polling finds work.
 * Each time that it passes in vain it is halved, down to none at all; when
 * the next work turns out to have come within busy-poll-us= of the last,
 * where a full window would have found it, the window is full again.  So
 * traffic that is too sparse for polling does not pay for it.
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "port-poll.h"

/* A window that is shorter than one round of the event loop finds nothing */
#define POLL_WINDOW_MIN_NS (2 * SCALE_US)

void vhost_dp_port_poll_init(PortPoll *poll, int64_t limit)
{
    *poll = (PortPoll) { .limit = limit, .window = limit };
}

void vhost_dp_port_poll_turn(PortPoll *poll, int64_t now)
{
    if (!poll->limit || poll->state != PORT_POLL_OFF) {
        return;
    }
    if (now - poll->worked_at < poll->limit) {
        poll->window = poll->limit;
    }
    if (poll->window) {
        poll->state = PORT_POLL_BEGUN;
        poll->until = now;
    }
}

void vhost_dp_port_poll_pass(PortPoll *poll, int64_t now)
{
    if (poll->worked && poll->limit) {
        /* The pass may be the one that was to end polling */
        vhost_dp_port_poll_turn(poll, now);
        if (poll->state == PORT_POLL_BEGUN) {
            poll->state = PORT_POLL_WORKED;
        }
        poll->worked_at = now;
        poll->until = now + poll->window;
    }
    poll->worked = false;
    poll->looking = false;
}

bool vhost_dp_port_poll_end(PortPoll *poll, int64_t now)
{
    if (poll->state == PORT_POLL_OFF || now < poll->until) {
        return false;
    }
    if (poll->state == PORT_POLL_HIT) {
        poll->window = poll->limit;
    } else if (poll->state == PORT_POLL_WORKED) {
        poll->window /= 2;
        if (poll->window < POLL_WINDOW_MIN_NS) {
            poll->window = 0;
        }
    }
    poll->state = PORT_POLL_OFF;
    return true;
}
