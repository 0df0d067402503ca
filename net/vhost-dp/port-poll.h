/*
 * vhost-dp: busy polling of a port
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A state machine on points in time, which knows no port: see port-poll.c.
 * Everything here is the port's IOThread's own.  Times are in ns of
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
    PORT_POLL_BEGUN,            /* it polls; there was no work since it began */
    PORT_POLL_WORKED,           /* there was */
    PORT_POLL_HIT,              /* and polling itself found some */
} PortPollState;

/* Written by port-poll.c, and by the functions below */
typedef struct PortPoll {
    PortPollState state;
    bool looking;               /* nothing else causes the next pass, or did */
    bool worked;                /* the pass at hand has found work */
    int64_t limit;              /* busy-poll-us=; 0: never poll.  Set once. */
    int64_t window;             /* how long to poll after work; 0: do not */
    int64_t until;              /* when polling ends */
    int64_t worked_at;          /* when a pass found work last */
} PortPoll;

/* Do notifications stay off? */
static inline bool port_poll_is_on(const PortPoll *poll)
{
    return poll->state != PORT_POLL_OFF;
}

/* The pass at hand has found work */
static inline void port_poll_worked(PortPoll *poll)
{
    poll->worked = true;
}

/* So it has, and there was no notification of it */
static inline void port_poll_hit(PortPoll *poll)
{
    poll->worked = true;
    poll->state = PORT_POLL_HIT;
}

/* The next pass has no other cause than that the port polls */
static inline void port_poll_look(PortPoll *poll)
{
    poll->looking = true;
}

/* What follows in the pass at hand is no look for its own sake */
static inline void port_poll_looked(PortPoll *poll)
{
    poll->looking = false;
}

/* @limit: how long to poll at most; 0: never */
void vhost_dp_port_poll_init(PortPoll *poll, int64_t limit);

/* A turn begins at @now */
void vhost_dp_port_poll_turn(PortPoll *poll, int64_t now);

/* A pass is over at @now: goes on for a while if it has found work */
void vhost_dp_port_poll_pass(PortPoll *poll, int64_t now);

/**
 * vhost_dp_port_poll_end: there is no work at @now
 *
 * Returns true if polling has ended just now: the caller has to make one more
 * pass, which asks for notifications.
 */
bool vhost_dp_port_poll_end(PortPoll *poll, int64_t now);

#endif /* NET_VHOST_DP_PORT_POLL_H */
