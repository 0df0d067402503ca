/*
 * vhost-dp: model of how a port follows what control wants, and how it ends
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is shown of the code:
 *
 *   start, stop        vhost_dp_pair_set_kick(), vhost_dp_pair_start(), _stop()
 *   delete             vhost_dp_portset_delete(), and the netdev after it
 *   bottom_half        port_bh(), port_look(), port_reconcile(), port_detach(),
 *                      port_end()
 *   kicked             port_kick()
 *   burst              vhost_dp_port_tx() after vhost_dp_pair_may_run();
 *                      "restarted" is what port_queue_runs() compares
 *   watched, kick_fd   vhost_dp_port_watch_kick(), pair_copy_kick()
 *   main_loop          portset_free_bh()
 *   attached           driver_state: any but PORT_DRIVER_DETACHED
 *
 * Control holds the BQL; one thread stands for all that do.  lock.pml shows
 * the lock itself; here it is a plain mutex, and memory is consistent.
 *
 * Shown, by assertions: a burst runs only on rings that are mapped, with a
 * driver that is open; what a descriptor refers to is not replaced while a
 * handler watches it; nothing that is left of a queue, such as the rest of a
 * frame, comes to be used when the queue was started anew; a bottom half is not
 * scheduled when it was deleted; nobody touches a port that was freed.  And by
 * the absence of "invalid end state": handlers follow each start and stop, and
 * a deletion ends.
 *
 * Broken variants, by -D:
 *   NO_RUNNING_CHECK  a burst does not look whether the queue runs
 *   FIRST_SLOT        a start does not ask which descriptor is watched
 *   WATCH_LATE        handlers change after the lock was released
 *   NO_GENERATION     a burst does not look whether the queue was restarted
 *   KEEP_REST         the bottom half does not drop the rest
 *   CLEAR_LATE        "changed" is cleared after the look at what is wanted
 *   CHANGED_FIRST     control says so before it has changed something
 *   UNLOCK_RESUMES    delete unlocks as other operations do
 *   EVENT_FIRST       "detached" is set before the driver is detached
 *   FREE_HERE         the bottom half frees the port, not the main loop
 *   KEEP_HANDLERS     a dead port's handlers stay
 */

/* Kick descriptors are 0 and 1 */
#define NONE 2

mtype = { NOBODY, CONTROL, IOTHREAD, MAIN };

mtype lock = NOBODY;
mtype bql = NOBODY;
byte want;

/* Guarded by lock */
bool dead;
bool running;
bool restarted;                 /* generations differ */
byte kick_fd = NONE;
byte watched = NONE;            /* what control thinks of "handler" */

bool yielded;                   /* atomic */
bool changed;                   /* atomic */
bool scheduled;                 /* the bottom half */
bool bh_alive = true;
bool detached;                  /* QemuEvent */
bool free_scheduled;            /* in the main loop */
bool freed;

byte handler = NONE;            /* fd that the IOThread watches */
bool attached;
bool rest;                      /* of a frame that was sent in part */
bool rest_of_before;            /* and the queue was started since */

bool mapped;                    /* rings, as control knows */
bool driver_open = true;

#define SAME_STATE (handler == kick_fd)

inline acquire(who)
{
    atomic { assert(!freed); lock == NOBODY -> lock = who }
}

inline release(who)
{
    d_step { assert(!freed && lock == who); lock = NOBODY }
}

inline schedule()
{
    d_step { assert(!freed); assert(bh_alive); scheduled = true }
}

inline tell_changed()
{
    changed = true;
    schedule()
}

/* ---- Control ---- */

inline control_lock()
{
    want++;
    acquire(CONTROL)
}

inline control_unlock()
{
    release(CONTROL);
    want--;
    if
    :: yielded -> yielded = false; schedule()
    :: else
    fi
}

inline start()
{
#ifdef CHANGED_FIRST
    tell_changed();
#endif
    mapped = true;
    control_lock();
#ifdef FIRST_SLOT
    kick_fd = 0;
#else
    kick_fd = (watched == 0 -> 1 : 0);
#endif
    /* dup3() */
    assert(handler != kick_fd);
    d_step { running = true; restarted = true; rest_of_before = rest };
    control_unlock();
#ifndef CHANGED_FIRST
    tell_changed();
#endif
}

inline stop()
{
#ifdef CHANGED_FIRST
    tell_changed();
#endif
    control_lock();
    running = false;
    kick_fd = NONE;
    control_unlock();
    /* From here on the rings can be somebody else's memory */
    mapped = false;
#ifndef CHANGED_FIRST
    tell_changed();
#endif
}

inline delete()
{
    want++;
    acquire(CONTROL);
    dead = true;
    tell_changed();
#ifdef UNLOCK_RESUMES
    control_unlock();
#else
    release(CONTROL);
    want--;
#endif
    detached;
    d_step { assert(!freed); yielded = false };
    /* The netdev closes the driver */
    driver_open = false
}

active proctype control()
{
    atomic { bql == NOBODY -> bql = CONTROL };
next:
    if
    :: !running -> start()
    :: running -> stop()
    :: !running -> delete(); goto done
    fi;
    if
    :: true
    /* The IOThread needs no other operation to get in line */
    :: true -> SAME_STATE
    fi;
    goto next;
done:
    bql = NOBODY
}

/* ---- The port's IOThread ---- */

inline burst()
{
    if
    :: want != 0 -> yielded = true
    :: else
    fi;
    if
    :: want == 0 ->
        acquire(IOTHREAD);
        if
#ifdef NO_RUNNING_CHECK
        :: true ->
#elif defined(NO_GENERATION)
        :: running ->
#else
        :: running && !restarted ->
#endif
            assert(mapped);
            assert(attached && driver_open);
            if
            :: rest -> assert(!rest_of_before); rest = false
            /* The driver takes all of a frame, or a part of it */
            :: !rest
            :: !rest -> rest = true
            fi
        :: else
        fi;
        release(IOTHREAD)
    :: else
    fi
}

inline kicked()
{
    acquire(IOTHREAD);
    on = running;
    release(IOTHREAD);
    if
    :: on -> on = false; burst()
    :: else
    fi
}

inline drop_rest()
{
    d_step { rest = false; rest_of_before = false }
}

inline detach()
{
    drop_rest();
    if
    :: attached -> assert(driver_open); attached = false
    :: else
    fi
}

/* Leaves whether the port is dead in "end" */
inline reconcile()
{
    acquire(IOTHREAD);
    end = dead;
#ifdef KEEP_HANDLERS
    watched = (end -> watched : (running -> kick_fd : NONE));
#else
    watched = (running && !end -> kick_fd : NONE);
#endif
#ifndef WATCH_LATE
    handler = watched;
#endif
    d_step { again = restarted || !running; restarted = false };
    release(IOTHREAD);

#ifdef WATCH_LATE
    handler = watched;
#endif
#ifdef EVENT_FIRST
    detached = end;
#endif
    if
    :: end -> detach()
    :: else ->
        attached = true;
#ifndef KEEP_REST
        if
        :: again -> drop_rest()
        :: else
        fi
#endif
    fi;
    again = false
}

active proctype iothread()
{
    bool on, end, again;

loop:
    if
    :: atomic { scheduled -> scheduled = false }
    :: handler != NONE && bh_alive -> kicked(); goto loop
    fi;

    /* The bottom half */
#ifdef CLEAR_LATE
    if
    :: changed -> reconcile(); changed = false
    :: else
    fi;
#else
    if
    :: atomic { changed -> changed = false }; reconcile()
    :: else
    fi;
#endif
    if
    :: end ->
        /* A bottom half that is deleted does not run any more */
        d_step { bh_alive = false; scheduled = false }
#ifdef FREE_HERE
        freed = true;
#else
        free_scheduled = true;
#endif
        detached = true
    :: else ->
        burst();
        goto loop
    fi
}

/* ---- The main loop ---- */

active proctype main_loop()
{
#ifdef FREE_HERE
    freed;
#else
    atomic { free_scheduled && bql == NOBODY -> bql = MAIN };
    freed = true;
#endif
    assert(handler == NONE);
    assert(!scheduled && !attached && !rest);
    bql = NOBODY
}

/*
 * run.py checks that
 *   holds:
 *   breaks: NO_RUNNING_CHECK: assertion violated mapped
 *   breaks: FIRST_SLOT: assertion violated (handler!=kick_fd)
 *   breaks: WATCH_LATE: assertion violated (handler!=kick_fd)
 *   breaks: NO_GENERATION: assertion violated !(rest_of_before)
 *   breaks: KEEP_REST: assertion violated !(rest_of_before)
 *   breaks: CLEAR_LATE: invalid end state
 *   breaks: CHANGED_FIRST: invalid end state
 *   breaks: UNLOCK_RESUMES: assertion violated bh_alive
 *   breaks: EVENT_FIRST: assertion violated driver_open
 *   breaks: FREE_HERE: assertion violated !(freed)
 *   breaks: KEEP_HANDLERS: assertion violated (handler==2)
 */
