/*
 * vhost-dp: model of how a port follows what control wants, and how it ends
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is shown of the code:
 *
 *   start, stop        backend_set_vring_kick(), backend_do_start(), _stop()
 *   delete             vhost_dp_port_delete(), and the netdev after it
 *   bottom_half        port_bh(), port_reconcile(), port_detach()
 *   kicked             port_kick()
 *   burst              vhost_dp_port_tx() after vhost_dp_backend_may_run()
 *   main_loop          port_free_bh()
 *
 * Control holds the BQL; one thread stands for all that do.  lock.pml shows
 * the lock itself; here it is a plain mutex, and memory is consistent.
 *
 * Shown, by assertions: a burst runs only on rings that are mapped, with a
 * driver that is open; a handler never watches a descriptor that was closed
 * (its number could be another's by then); a bottom half is not scheduled when
 * it was deleted; nobody touches a port that was freed.  And by the absence of
 * "invalid end state": handlers follow each start and stop, old descriptors
 * are closed, and a deletion ends.
 *
 * Broken variants, by -D:
 *   NO_RUNNING_CHECK  a burst does not look whether the queue runs
 *   CLOSE_AT_ONCE     control closes a kick fd while its handler is there
 *   CLEAR_LATE        "changed" is cleared after the look at what is wanted
 *   CHANGED_FIRST     control says so before it has changed something
 *   UNLOCK_RESUMES    delete unlocks as other operations do
 *   EVENT_FIRST       "detached" is set before the driver is detached
 *   FREE_HERE         the bottom half frees the port, not the main loop
 *   KEEP_HANDLERS     a dead port's handlers stay
 */

#define NFDS 2

mtype = { NOBODY, CONTROL, IOTHREAD, MAIN };

mtype lock = NOBODY;
mtype bql = NOBODY;
byte want;

/* Guarded by lock */
bool dead;
bool running;
byte kick_fd = NFDS;            /* NFDS: none */
bool stale[NFDS];

bool yielded;                   /* atomic */
bool changed;                   /* atomic */
bool scheduled;                 /* the bottom half */
bool bh_alive = true;
bool detached;                  /* QemuEvent */
bool free_scheduled;            /* in the main loop */
bool freed;

byte handler = NFDS;            /* fd that the IOThread watches */
bool attached;

bool mapped;                    /* rings, as control knows */
bool driver_open = true;
bool fd_open[NFDS];

#define SAME_STATE \
    (handler == kick_fd && !stale[0] && !stale[1])

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
    /* A descriptor gets the lowest free number */
    atomic {
        fd = 0;
        do
        :: fd < NFDS && fd_open[fd] -> fd++
        :: else -> break
        od;
        if
        :: fd == NFDS -> fd = 0; goto next       /* the model has no more */
        :: else
        fi;
        fd_open[fd] = true;
        mapped = true
    };
    control_lock();
    kick_fd = fd;
    running = true;
    control_unlock();
    fd = 0;
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
#ifdef CLOSE_AT_ONCE
    fd_open[kick_fd] = false;
#else
    stale[kick_fd] = true;
#endif
    kick_fd = NFDS;
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
    byte fd;

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
#else
        :: running ->
#endif
            assert(mapped);
            assert(attached && driver_open)
        :: else
        fi;
        release(IOTHREAD)
    :: else
    fi
}

inline kicked()
{
    assert(fd_open[handler]);
    acquire(IOTHREAD);
    on = running;
    release(IOTHREAD);
    if
    :: on -> on = false; burst()
    :: else
    fi
}

inline detach()
{
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
    fd = (running && !dead -> kick_fd : NFDS);
    d_step {
        old[0] = stale[0]; stale[0] = false;
        old[1] = stale[1]; stale[1] = false
    }
    release(IOTHREAD);

#ifdef KEEP_HANDLERS
    handler = (end -> handler : fd);
#else
    handler = fd;
#endif
    fd = 0;
    d_step {
        fd_open[0] = fd_open[0] && !old[0]; old[0] = false;
        fd_open[1] = fd_open[1] && !old[1]; old[1] = false
    };
#ifdef EVENT_FIRST
    detached = end;
#endif
    if
    :: end -> detach()
    :: else -> attached = true
    fi
}

active proctype iothread()
{
    byte fd;
    bool old[2];
    bool on, end;

loop:
    if
    :: atomic { scheduled -> scheduled = false }
    :: handler != NFDS && bh_alive -> kicked(); goto loop
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
    assert(handler == NFDS);
    assert(!scheduled && !attached && !fd_open[0] && !fd_open[1]);
    bql = NOBODY
}

/*
 * run.py checks that
 *   holds:
 *   breaks: NO_RUNNING_CHECK: assertion violated mapped
 *   breaks: CLOSE_AT_ONCE: assertion violated fd_open[handler]
 *   breaks: CLEAR_LATE: invalid end state
 *   breaks: CHANGED_FIRST: invalid end state
 *   breaks: UNLOCK_RESUMES: assertion violated bh_alive
 *   breaks: EVENT_FIRST: assertion violated driver_open
 *   breaks: FREE_HERE: assertion violated !(freed)
 *   breaks: KEEP_HANDLERS: assertion violated (handler==2)
 */
