/*
 * vhost-dp: model of the notifications of a virtqueue, both ways
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A driver (the guest's) and a device (vhost-dp's) share a ring.  Each works
 * as long as there is something to do, with notifications suppressed; then it
 * asks to be notified, looks once more, and sleeps.  A notification that is
 * not sent and should have been leaves both asleep for ever: spin reports an
 * "invalid end state".
 *
 * What is shown of the code:
 *
 *   device_enable   split_enable_notify(), packed_enable_notify()
 *   device_disable  split_disable_notify(), packed_disable_notify()
 *   device_flush    split_flush(), packed_flush(): the index, or the flags of
 *                   the first descriptor, are one store
 *   need_call       split_need_call(), packed_need_call()
 *   device          tx_burst(), rx_deliver(), vhost_dp_port_turn(),
 *                   vhost_dp_port_call()
 *
 * The driver does what the specification asks of it (virtio 1.3, 2.7.7,
 * 2.7.10, 2.7.13.4, 2.8.10, 2.8.21.3).
 *
 * Format, by -D: SPLIT_FLAGS, SPLIT_EVENT, PACKED_FLAGS or PACKED_EVENT.
 * -DNEED=2 is a receive queue whose frames take two chains: the device leaves
 * one in the ring and wants to be told of the second.  The device may look at
 * an empty ring any number of times before it goes to sleep: busy polling.
 *
 * Indices wrap: at 8 in a split ring, which stands for 65536; a packed ring
 * has NUM entries, by default three, no power of two.
 *
 * Memory: a store is visible to its writer at once and to the other at any
 * time later, in any order with other stores; smp_mb() waits until all are.
 * So smp_wmb() has no effect in the model, and that it passes shows that no
 * wake-up depends on it (what is in the descriptors does, see the comments
 * there).  Loads happen in the order of the program.
 *
 * Broken variants, by -D:
 *   NO_DEVICE_MB     no smp_mb() before the device's second look
 *   NO_CALL_MB       no smp_mb() before need_call
 *   NO_KICK_MB       the same at fault in the driver
 *   NO_RECHECK       the device does not look again
 *   RECHECK_FIRST    the device looks, and then asks to be notified
 *   CALL_FIRST       the device decides to call, and then publishes
 *   CALL_FORGOTTEN   the last decision of a turn replaces those before
 *   CALL_NOT_SENT    a pending call waits for the next turn
 *   EVENT_TAKEN      the event is what was taken, not what was seen
 *   EVENT_PLAIN      indices are compared without regard to the wrap
 *   OLD_AT_CALL      the old index is that of the last call, not decision
 */

#ifndef NEED
#define NEED 1
#endif

#if defined(PACKED_FLAGS) || defined(PACKED_EVENT)
#ifndef NUM
#define NUM 3
#endif
#define MODULUS (2 * NUM)       /* index, and the wrap counter above it */
#else
#define NUM 2
#define MODULUS 8
#endif

#if defined(SPLIT_EVENT) || defined(PACKED_EVENT)
#define EVENT
#endif

#define AFTER(place, n)         (((place) + (n)) % MODULUS)
#define DISTANCE(from, to)      (((to) + MODULUS - (from)) % MODULUS)

/* Words in guest memory, each written by one side */
#define AVAIL       0           /* driver: how far it has got */
#define USED_EVENT  1           /* driver: where it wants to be called */
#define CALL_FLAGS  2           /* driver: whether it wants to be called */
#define USED        3           /* device: how far it has got */
#define AVAIL_EVENT 4           /* device: where it wants a kick */
#define KICK_FLAGS  5           /* device: whether it wants a kick */
#define NWORDS      6

#define ENABLE      0
#define DISABLE     1
#define AT_EVENT    2           /* packed: see the event */

byte own[NWORDS];               /* as the writer sees it */
byte memory[NWORDS];            /* as the other side sees it */

bool kick;                      /* eventfds */
bool call;

/* Store buffers */
#define DRAIN(word) \
    atomic { memory[word] != own[word] -> memory[word] = own[word] }

active proctype buffers()
{
end:
    do
    :: DRAIN(AVAIL)
    :: DRAIN(USED)
#ifdef EVENT
    :: DRAIN(USED_EVENT)
    :: DRAIN(AVAIL_EVENT)
#endif
#ifndef SPLIT_EVENT
    :: DRAIN(CALL_FLAGS)
    :: DRAIN(KICK_FLAGS)
#endif
    od
}

inline driver_mb()
{
    d_step {
        memory[AVAIL] = own[AVAIL];
        memory[USED_EVENT] = own[USED_EVENT];
        memory[CALL_FLAGS] = own[CALL_FLAGS]
    }
}

inline device_mb()
{
    d_step {
        memory[USED] = own[USED];
        memory[AVAIL_EVENT] = own[AVAIL_EVENT];
        memory[KICK_FLAGS] = own[KICK_FLAGS]
    }
}

/* Is event among [old, now)?  vring_need_event(), packed_relative() */
#ifdef EVENT_PLAIN
#define INDEX(place)            ((place) % (MODULUS == 8 -> 8 : NUM))
#define NEED_EVENT(event, now, old) \
    (INDEX(event) >= INDEX(old) && INDEX(event) < INDEX(now))
#elif defined(PACKED_EVENT)
#define INDEX(place)            ((place) % NUM)
#define RELATIVE(place, now) \
    (INDEX(place) - ((place) / NUM != (now) / NUM -> NUM : 0))
#define NEED_EVENT(event, now, old) \
    (((INDEX(now) - RELATIVE(event, now) - 1) & 255) < \
     ((INDEX(now) - RELATIVE(old, now)) & 255))
#else
#define NEED_EVENT(event, now, old) \
    (DISTANCE(event, now) != 0 && DISTANCE(event, now) <= DISTANCE(old, now))
#endif

/* What one side has to know about the other's wish, and how it is asked */
#if defined(SPLIT_EVENT)
#define WANTED(flags, event, now, old) NEED_EVENT(memory[event], now, old)
#define ASK(flags, event, place)    own[event] = place
#define HUSH(flags)                 skip
#elif defined(PACKED_EVENT)
#define WANTED(flags, event, now, old) \
    (memory[flags] == ENABLE || \
     (memory[flags] == AT_EVENT && NEED_EVENT(memory[event], now, old)))
#define ASK(flags, event, place) \
    own[event] = place; own[flags] = AT_EVENT
#define HUSH(flags)                 own[flags] = DISABLE
#else
#define WANTED(flags, event, now, old) (memory[flags] == ENABLE)
#define ASK(flags, event, place)    own[flags] = ENABLE
#define HUSH(flags)                 own[flags] = DISABLE
#endif

/* ---- The guest's driver ---- */

active proctype driver()
{
    byte avail, used, old;

post:
    /* One or more buffers, as long as there is room */
    old = avail;
    do
    :: DISTANCE(used, avail) < NUM -> avail = AFTER(avail, 1)
    :: avail != old -> break
    od;
    own[AVAIL] = avail;
#ifndef NO_KICK_MB
    driver_mb();
#endif
    if
    :: WANTED(KICK_FLAGS, AVAIL_EVENT, avail, old) -> kick = true
    :: else
    fi;
    old = 0;

reap:
    used = memory[USED];
    if
    /* It may post before it reaps, and has to if the device wants more */
    :: DISTANCE(used, avail) < NUM -> goto post
    :: DISTANCE(used, avail) >= NEED
    fi;

    /* Nothing to do: sleep */
    ASK(CALL_FLAGS, USED_EVENT, used);
    driver_mb();
    if
    :: memory[USED] != used
    :: else -> atomic { call -> call = false }
    fi;
    HUSH(CALL_FLAGS);
    goto reap
}

/* ---- The device ---- */

inline device_publish()
{
    own[USED] = AFTER(own[USED], n)
}

/* need_call(): leaves the decision in "wanted" */
inline need_call()
{
#ifndef NO_CALL_MB
    device_mb();
#endif
    wanted = WANTED(CALL_FLAGS, USED_EVENT, AFTER(own[USED], late), signalled);
#ifdef OLD_AT_CALL
    if
    :: wanted -> signalled = AFTER(own[USED], late)
    :: else
    fi
#elif defined(EVENT)
    signalled = AFTER(own[USED], late)
#endif
}

inline device_flush()
{
#ifdef CALL_FIRST
    late = n;
    need_call();
    late = 0;
    device_publish();
#else
    device_publish();
    need_call();
#endif
#ifdef CALL_FORGOTTEN
    pending = wanted
#else
    pending = pending || wanted
#endif
}

active proctype device()
{
    byte taken, seen, signalled, n, late;
    bool wanted, pending;

turn:
    HUSH(KICK_FLAGS);

pop:
    seen = memory[AVAIL];
    n = DISTANCE(taken, seen);
    if
    :: n >= NEED ->
        /* A burst: some of them or all */
        do
        :: n > NEED -> n--
        :: break
        od;
        taken = AFTER(taken, n);
        device_flush();
        n = 0;
        goto pop
    :: n < NEED -> goto pop     /* busy polling */
    :: n < NEED
    fi;

    n = 0;
#ifdef RECHECK_FIRST
    if
    :: memory[AVAIL] != seen -> goto pop
    :: else
    fi;
#endif
#ifdef EVENT_TAKEN
    ASK(KICK_FLAGS, AVAIL_EVENT, taken);
#else
    ASK(KICK_FLAGS, AVAIL_EVENT, seen);
#endif
#ifndef NO_DEVICE_MB
    device_mb();
#endif
#if !defined(NO_RECHECK) && !defined(RECHECK_FIRST)
    if
    :: memory[AVAIL] != seen -> goto turn
    :: else
    fi;
#endif

    /* The end of a turn */
#ifndef CALL_NOT_SENT
    if
    :: pending -> pending = false; call = true
    :: else
    fi;
#endif
    atomic { kick -> kick = false };
#ifdef CALL_NOT_SENT
    if
    :: pending -> pending = false; call = true
    :: else
    fi;
#endif
    goto turn
}

/*
 * run.py checks that
 *   holds: SPLIT_FLAGS
 *   holds: SPLIT_FLAGS NEED=2
 *   holds: SPLIT_EVENT
 *   holds: SPLIT_EVENT NEED=2
 *   holds: PACKED_FLAGS
 *   holds: PACKED_FLAGS NEED=2
 *   holds: PACKED_EVENT NUM=2
 *   holds: PACKED_EVENT NEED=2
 *   breaks: SPLIT_FLAGS NO_DEVICE_MB: invalid end state
 *   breaks: SPLIT_FLAGS NO_CALL_MB: invalid end state
 *   breaks: SPLIT_FLAGS NO_KICK_MB: invalid end state
 *   breaks: SPLIT_FLAGS NO_RECHECK: invalid end state
 *   breaks: SPLIT_FLAGS RECHECK_FIRST: invalid end state
 *   breaks: SPLIT_FLAGS CALL_FIRST: invalid end state
 *   breaks: SPLIT_FLAGS CALL_NOT_SENT: invalid end state
 *   breaks: SPLIT_EVENT NO_DEVICE_MB: invalid end state
 *   breaks: SPLIT_EVENT NO_CALL_MB: invalid end state
 *   breaks: SPLIT_EVENT NO_KICK_MB: invalid end state
 *   breaks: SPLIT_EVENT NO_RECHECK: invalid end state
 *   breaks: SPLIT_EVENT RECHECK_FIRST: invalid end state
 *   breaks: SPLIT_EVENT CALL_FIRST: invalid end state
 *   breaks: SPLIT_EVENT CALL_NOT_SENT: invalid end state
 *   breaks: SPLIT_EVENT CALL_FORGOTTEN: invalid end state
 *   breaks: SPLIT_EVENT NEED=2 EVENT_TAKEN: invalid end state
 *   breaks: SPLIT_EVENT EVENT_PLAIN: invalid end state
 *   breaks: SPLIT_EVENT OLD_AT_CALL: invalid end state
 *   breaks: PACKED_EVENT NO_DEVICE_MB: invalid end state
 *   breaks: PACKED_EVENT NO_CALL_MB: invalid end state
 *   breaks: PACKED_EVENT NO_KICK_MB: invalid end state
 *   breaks: PACKED_EVENT NO_RECHECK: invalid end state
 *   breaks: PACKED_EVENT RECHECK_FIRST: invalid end state
 *   breaks: PACKED_EVENT CALL_FIRST: invalid end state
 *   breaks: PACKED_EVENT CALL_NOT_SENT: invalid end state
 *   breaks: PACKED_EVENT NUM=2 CALL_FORGOTTEN: invalid end state
 *   breaks: PACKED_EVENT NEED=2 EVENT_TAKEN: invalid end state
 *   breaks: PACKED_EVENT EVENT_PLAIN: invalid end state
 *   breaks: PACKED_EVENT OLD_AT_CALL: invalid end state
 */
