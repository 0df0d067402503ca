/*
 * vhost-dp: model of a port's turns, and of what it tells driver and guest
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is shown of the code:
 *
 *   turn, pass         vhost_dp_port_turn(), turn_pass(); TURN_* is
 *                      PortTurnState
 *   receive            vhost_dp_port_rx(), rx_deliver(), rx_follow(); RX_* is
 *                      PortRxState
 *   settle             vhost_dp_port_rx_settle()
 *   notified           vhost_dp_port_notified()
 *   polls              port_poll_is_on(); vhost_dp_port_poll_end()
 *   kick               port_kick(), vhost_dp_port_rx_kicked()
 *   event              a driver's handler, which calls vhost_dp_port_ready()
 *   resolve            vhost_dp_pair_resolve()
 *
 * A queue that runs all the time: port.pml shows how it starts and stops.  The
 * host's frames come one by one, and the guest posts as many buffers.  Polling
 * begins and ends at any time, where the code would ask the clock.  One look at
 * the ring may find that the vIOMMU has to be asked, and the main loop then
 * asks it.  Memory is consistent: ring.pml shows the barriers.
 *
 * The driver has a level-triggered fd, or, with AT_ONCE, hears of a frame when
 * it comes, and says in rx_enable what there is.  With RX_POLL it can be polled
 * (VhostDPCaps).
 *
 * Shown, by the absence of "invalid end state": the port never sleeps with a
 * frame and a buffer for it.  By assertions: the driver has no handler that
 * would fire in vain, while there are no buffers or the vIOMMU does not answer,
 * and is not asked for frames when it may not call, unless it is polled;
 * in state GUEST the guest was asked to kick, and frames are lent; what a
 * driver says in rx_enable comes inside of a turn, which has yet to look at it.
 *
 * Broken variants, by -D:
 *   NO_LAST_PASS     polling ends without one more pass
 *   KEEP_GUEST       a look that takes notifications away stays in GUEST
 *   NO_NEWS          what the driver says in rx_enable is not looked at
 *   SETTLE_FIRST     the driver is told before the pass, not after it
 *   ENABLE_GUEST     the driver may call while there are no buffers
 *   NO_KICKED        a kick does not change the state
 *   ASK_DISABLED     the driver is asked for frames while it may not call
 */

#ifndef FRAMES
#define FRAMES 3
#endif

mtype = { TURN_IDLE, TURN_RUNNING, TURN_MORE, TURN_POLL, TURN_PARKED };
mtype = { RX_DRIVER, RX_GUEST, RX_GUEST_POLL };

/* The host, and the driver */
byte coming = FRAMES;           /* frames that did not come yet */
byte have;
bool may_call;
bool event;                     /* of a frame: with AT_ONCE only */

/* The guest, and its ring */
byte unposted = FRAMES;         /* buffers */
byte buffers;
bool asked;                     /* to kick */
bool kicked;                    /* the eventfd */

/* The port */
mtype state = TURN_IDLE;
mtype rx = RX_DRIVER;
byte lent;
bool ready = true;              /* as when the queue was started just now */
bool news;
bool polls;
bool bh = true;

bool may_miss = true;
bool resolving;                 /* the main loop was told to */
byte delivered;

active proctype host()
{
    do
#ifdef AT_ONCE
    :: atomic { coming > 0 -> coming--; have++; event = event || may_call }
#else
    :: atomic { coming > 0 -> coming--; have++ }
#endif
    :: coming == 0 -> break
    od
}

active proctype guest()
{
    do
    :: unposted > 0 ->
        d_step { unposted--; buffers++ };
        if
        :: asked -> kicked = true
        :: else
        fi
    :: unposted == 0 -> break
    od
}

active proctype main_loop()
{
end:
    do
    :: atomic { resolving -> resolving = false; bh = true }
    od
}

/* ---- The IOThread ---- */

inline settle()
{
#ifdef ENABLE_GUEST
    shall_call = state != TURN_PARKED;
#else
    shall_call = rx == RX_DRIVER && state != TURN_PARKED;
#endif
#ifdef RX_POLL
    shall_call = shall_call && !polls;
#endif
    if
    :: shall_call && !may_call ->
        may_call = true;
#ifndef NO_NEWS
        more = more || ready;
#endif
#ifdef AT_ONCE
        if
        :: have > 0 ->
            ready = true;
            assert(state == TURN_RUNNING);
            news = true
        :: else
        fi
#endif
    :: else -> may_call = shall_call
    fi;
    shall_call = false
}

inline fetch()
{
    if
#ifdef ASK_DISABLED
    :: ready ->
#elif defined(RX_POLL)
    :: ready && may_call || polls ->
        assert(may_call || polls);
#else
    :: ready && may_call ->
#endif
#ifndef RX_POLL
        assert(may_call);
#endif
        ready = false;
        d_step {
            if
            :: have > 0 -> have--; lent = 1; ready = true
            :: else
            fi
        }
    :: else
    fi
}

/* There are no buffers, or the vIOMMU has to be asked: "missed" */
inline deliver()
{
    asked = false;
    if
    :: buffers > 0 ->
        if
        :: d_step { buffers--; lent--; delivered++ };
           rx = RX_DRIVER;
           more = true
        :: may_miss ->
           d_step { may_miss = false; missed = true };
           look_again = true
        fi
    :: else ->
        if
        :: polls -> rx = RX_GUEST_POLL
        :: else ->
            asked = true;
            if
            :: buffers > 0 -> look_again = true
            :: else -> rx = RX_GUEST
            fi
        fi
    fi;
    if
    :: look_again ->
        d_step { look_again = false; more = true };
        if
#ifndef KEEP_GUEST
        :: rx == RX_GUEST -> rx = RX_GUEST_POLL
#endif
        :: else
        fi
    :: else
    fi
}

inline receive()
{
    if
    :: rx == RX_GUEST && !polls
    :: else ->
        if
        :: lent == 0 -> fetch()
        :: else
        fi;
        if
        :: lent > 0 -> deliver()
        :: else
        fi
    fi;
    assert(rx != RX_GUEST || (asked && lent > 0))
}

/* Leaves "all" and "more" */
inline pass()
{
    d_step { news = false; more = false; all = true };
    receive();
    if
    :: missed ->
        missed = false;
        if
        :: more = true          /* the BQL was free */
        :: d_step { state = TURN_PARKED; all = false };
           resolving = true
        fi
    :: else
    fi
}

inline turn()
{
    state = TURN_RUNNING;
    if
    :: polls = true             /* the window is open */
    :: true
    fi;
again:
#ifdef SETTLE_FIRST
    settle();
    pass();
#else
    pass();
    settle();
#endif
#ifndef NO_NEWS
    more = more || news;
#endif
    if
    :: !all                     /* TURN_PARKED */
    :: all && more ->
        if
        :: goto again
        :: d_step { state = TURN_MORE; bh = true }  /* the time is over */
        fi
    :: all && !more && polls ->
        if
        :: d_step { state = TURN_POLL; bh = true }
        :: polls = false;
#ifdef NO_LAST_PASS
           state = TURN_IDLE
#else
           goto again
#endif
        fi
    :: all && !more && !polls -> state = TURN_IDLE
    fi
}

active proctype iothread()
{
    bool all, more, missed, look_again, shall_call;

loop:
    if
    :: atomic { bh -> bh = false }
    :: atomic { kicked -> kicked = false };
#ifndef NO_KICKED
       d_step {
           if
           :: rx == RX_GUEST || rx == RX_GUEST_POLL -> rx = RX_DRIVER
           :: else
           fi
       };
#endif
       if
       :: state == TURN_MORE || state == TURN_PARKED -> goto loop
       :: else
       fi
#ifdef AT_ONCE
    :: atomic { event -> event = false; ready = true };
       if
       :: state == TURN_MORE || state == TURN_PARKED -> goto loop
       :: else
       fi
#else
    :: atomic { may_call && have > 0 && state != TURN_MORE ->
                assert(rx == RX_DRIVER && state != TURN_PARKED);
                ready = true }
#endif
    :: delivered == FRAMES && !bh && !kicked && !event -> goto done
    fi;
    turn();
    goto loop;
done:
    skip
}

/*
 * run.py checks that
 *   holds:
 *   holds: AT_ONCE
 *   holds: RX_POLL
 *   holds: RX_POLL AT_ONCE
 *   breaks: NO_LAST_PASS: invalid end state
 *   breaks: KEEP_GUEST: assertion violated ((rx!=7)||(asked&&(lent>0)))
 *   breaks: NO_NEWS AT_ONCE: invalid end state
 *   breaks: SETTLE_FIRST: assertion violated ((rx==8)&&(state!=1))
 *   breaks: ENABLE_GUEST: assertion violated ((rx==8)&&(state!=1))
 *   breaks: NO_KICKED: invalid end state
 *   breaks: ASK_DISABLED: assertion violated may_call
 */
