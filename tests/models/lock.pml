/*
 * vhost-dp: model of the queue pair's lock between control and a busy engine
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is shown of the code:
 *
 *   control_lock, control_unlock   vhost_dp_pair_lock(), _unlock()
 *   may_run                        vhost_dp_pair_may_run()
 *   engine                         port_bh(), vhost_dp_port_turn(),
 *                                  vhost_dp_port_call()
 *   bh                             qemu_bh_schedule(port->bh): port_resume()
 *
 * The engine always has more to do.  Control operations come at any time, from
 * CONTROLS threads, or never again.  (All of QEMU's hold the BQL, so there is
 * one at a time; the protocol does not depend on it.)  The mutex is as unfair
 * as can be: whoever is about to take it may win.
 *
 * Shown: nobody holds the lock while somebody else does; from the moment that
 * an operation wants the lock, the engine ends the burst in progress or about
 * to begin and starts no other ("bursts <= 1"); the engine, told not to run,
 * is told to go on (otherwise spin reports an "invalid end state").
 *
 * Memory: the engine's store to yielded may become visible late, up to its
 * smp_mb(); "want" changes by read-modify-write operations, which do not wait.
 *
 * Broken variants, by -D:
 *   NO_MB            no smp_mb() in may_run
 *   NO_RECHECK       may_run does not look at want again
 *   RECHECK_FIRST    may_run looks again, and then sets yielded
 *   TAKE_FIRST       unlock takes yielded before it lowers want
 *   FIRST_RESUMES    who lowers want takes yielded, although others want it,
 *                    and does not resume then
 *   WANT_LATE        an operation raises want when it has the lock
 *   NO_WANT          the engine does not look at want
 */

#ifndef CONTROLS
#define CONTROLS 2
#endif

#define ENGINE  CONTROLS
#define NOBODY  (CONTROLS + 1)

byte holder = NOBODY;           /* of the mutex */
byte want;
bool yielded;
bool yielded_pending;           /* a store that the others do not see yet */
bool bh = true;

bool waiting[CONTROLS];         /* want is raised, the lock not taken yet */
byte bursts[CONTROLS];          /* since then */
bool in_burst;

inline mutex_lock(who)
{
    atomic { holder == NOBODY -> holder = who }
}

inline mutex_unlock(who)
{
    d_step { assert(holder == who); holder = NOBODY }
}

active proctype buffer()
{
end:
    do
    :: atomic { yielded_pending -> yielded = true; yielded_pending = false }
    od
}

/* ---- Control ---- */

inline control_lock(who)
{
    d_step {
        waiting[who] = true;
        bursts[who] = (in_burst -> 1 : 0);
#ifndef WANT_LATE
        want++
#endif
    };
    mutex_lock(who);
#ifdef WANT_LATE
    want++;
#endif
    d_step { waiting[who] = false; bursts[who] = 0 }
}

inline control_unlock(who)
{
    mutex_unlock(who);
#ifdef TAKE_FIRST
    d_step { was = yielded; yielded = false };
    d_step { want--; last = (want == 0) };
    if
    :: was && last -> bh = true
    :: else
    fi;
#elif defined(FIRST_RESUMES)
    d_step { want--; last = (want == 0) };
    d_step { was = yielded; yielded = false };
    if
    :: was && last -> bh = true
    :: else
    fi;
#else
    d_step { want--; last = (want == 0) };
    if
    :: last ->
        d_step { was = yielded; yielded = false };
        if
        :: was -> bh = true
        :: else
        fi
    :: else
    fi;
#endif
    was = false;
    last = false
}

active [CONTROLS] proctype control()
{
    byte me = _pid - 1;         /* buffer is 0 */
    bool was, last;

    assert(me < CONTROLS);
    do
    :: control_lock(me);
       /* Change what a burst uses */
       assert(holder == me && !in_burst);
       control_unlock(me)
    :: break
    od
}

/* ---- The engine ---- */

/* Leaves the answer in "may" */
inline may_run()
{
#ifdef NO_WANT
    may = true
#else
    may = (want == 0);
    if
    :: may
    :: else ->
#ifdef RECHECK_FIRST
        may = (want == 0);
        yielded_pending = true;
        d_step { yielded = true; yielded_pending = false }
#else
        yielded_pending = true;
#ifndef NO_MB
        d_step { yielded = true; yielded_pending = false };
#endif
#ifndef NO_RECHECK
        may = (want == 0)
#endif
#endif
    fi
#endif
}

inline burst()
{
    mutex_lock(ENGINE);
    d_step {
        in_burst = true;
        i = 0;
        do
        :: i < CONTROLS ->
            if
            :: waiting[i] -> bursts[i]++; assert(bursts[i] <= 1)
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0
    }
    d_step { assert(holder == ENGINE); in_burst = false }
    mutex_unlock(ENGINE)
}

active proctype engine()
{
    bool may;
    byte i;

wait:
    /* The event loop: no end state, as there is work to do */
    atomic { bh -> bh = false };

turn:
    may_run();
    if
    :: may ->
        burst();
        if
        :: goto turn
        :: bh = true            /* time is over: others may want the thread */
        fi
    :: else
    fi;
    /* One call for all that was used: vhost_dp_port_call() */
    mutex_lock(ENGINE);
    mutex_unlock(ENGINE);
    goto wait
}

/*
 * run.py checks that
 *   holds: CONTROLS=1
 *   holds: CONTROLS=2
 *   holds: CONTROLS=3
 *   breaks: NO_MB: invalid end state
 *   breaks: NO_RECHECK: invalid end state
 *   breaks: RECHECK_FIRST: invalid end state
 *   breaks: TAKE_FIRST: invalid end state
 *   breaks: FIRST_RESUMES: invalid end state
 *   breaks: WANT_LATE: assertion violated (bursts[i]<=1)
 *   breaks: NO_WANT: assertion violated (bursts[i]<=1)
 */
