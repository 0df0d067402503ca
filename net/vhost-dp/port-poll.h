/*
 * vhost-dp: busy polling of a port
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A state machine on points in time, which does not use the port: see
 * port-poll.c.  Thread: the port's IOThread.  Times are in ns of
 * QEMU_CLOCK_REALTIME.
 */

#ifndef NET_VHOST_DP_PORT_POLL_H
#define NET_VHOST_DP_PORT_POLL_H

/*
 *     OFF --turn begins, and the window is open--> BEGUN
 *     BEGUN --work found--> WORKED --found without a notification--> HIT
 *     any --the window has passed without work--> OFF
 */
typedef enum PortPollState {
    PORT_POLL_OFF,              /* without work the port sleeps */
    PORT_POLL_BEGUN,            /* polls; no work found since polling began */
    PORT_POLL_WORKED,           /* polls; work was found */
    PORT_POLL_HIT,              /* polls; work was found by polling */
} PortPollState;

/* Written by port-poll.c, and by the functions below */
typedef struct PortPoll {
    PortPollState state;
    bool looking;               /* only polling causes this or the next pass */
    bool worked;                /* this pass has found work */
    int64_t limit;              /* busy-poll-us=; 0: never poll.  Set once. */
    int64_t window;             /* how long to poll after work; 0: do not */
    int64_t until;              /* when polling ends */
    int64_t worked_at;          /* end of the last pass that found work */
} PortPoll;

/* Does the port poll, so that notifications stay off? */
static inline bool port_poll_is_on(const PortPoll *poll)
{
    return poll->state != PORT_POLL_OFF;
}

/* Note that this pass has found work */
static inline void port_poll_worked(PortPoll *poll)
{
    poll->worked = true;
}

/* Note that this pass has found work without a notification */
static inline void port_poll_hit(PortPoll *poll)
{
    poll->worked = true;
    poll->state = PORT_POLL_HIT;
}

/* Only polling causes the next pass */
static inline void port_poll_look(PortPoll *poll)
{
    poll->looking = true;
}

/* The rest of this pass is not caused by polling */
static inline void port_poll_looked(PortPoll *poll)
{
    poll->looking = false;
}

/* @limit: the longest time to poll; 0: never poll */
void vhost_dp_port_poll_init(PortPoll *poll, int64_t limit);

/* A turn begins at @now */
void vhost_dp_port_poll_turn(PortPoll *poll, int64_t now);

/* A pass ends at @now: polling goes on for the window if it has found work */
void vhost_dp_port_poll_pass(PortPoll *poll, int64_t now);

/**
 * vhost_dp_port_poll_end: there is no work at @now
 *
 * Returns true if polling has ended just now: the caller has to make one more
 * pass, which asks for notifications.
 */
bool vhost_dp_port_poll_end(PortPoll *poll, int64_t now);

#endif /* NET_VHOST_DP_PORT_POLL_H */
