/*
 * vhost-dp: differential test: the driver of two guests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: every store goes to both guests.  What a device wrote
 * is read from both and has to be the same.  It shares no code with either
 * device.  Guest and host are little-endian here: so is a modern device, and
 * the other byte order is a matter of the unit tests.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "differential.h"

#define F_NEXT          1
#define F_WRITE         2
#define F_INDIRECT      4
#define F_AVAIL         (1 << 7)
#define F_USED          (1 << 15)

#define EVENT_ENABLE    0
#define EVENT_DISABLE   1
#define EVENT_DESC      2

typedef struct Seg {
    uint64_t gpa;
    uint32_t len;
    bool writable;
} Seg;

static void put16(Driver *d, uint64_t gpa, uint16_t v)
{
    stw_le_p(guest_ptr(d->guest[0], gpa), v);
    stw_le_p(guest_ptr(d->guest[1], gpa), v);
}

static uint16_t get16(Driver *d, unsigned guest, uint64_t gpa)
{
    return lduw_le_p(guest_ptr(d->guest[guest], gpa));
}

/* A descriptor of either format: the last two fields are @a and @b */
static void put_desc(Driver *d, uint64_t gpa, uint64_t addr, uint32_t len,
                     uint16_t a, uint16_t b)
{
    unsigned i;

    for (i = 0; i < 2; i++) {
        uint8_t *p = guest_ptr(d->guest[i], gpa);

        stq_le_p(p, addr);
        stl_le_p(p + 8, len);
        stw_le_p(p + 12, a);
        stw_le_p(p + 14, b);
    }
}

uint16_t place_after(const Config *c, uint16_t place, unsigned n)
{
    unsigned i = (place & ~PLACE_WRAP) + n;
    uint16_t wrap = place & PLACE_WRAP;

    for (; i >= c->num; i -= c->num) {
        wrap ^= PLACE_WRAP;
    }
    return i | wrap;
}

/* Flags that make a descriptor at @place available */
static uint16_t avail_flags(uint16_t place)
{
    return place & PLACE_WRAP ? F_AVAIL : F_USED;
}

static uint16_t used_flags(uint16_t place)
{
    return place & PLACE_WRAP ? F_AVAIL | F_USED : 0;
}

void driver_init(Driver *d, const Config *c)
{
    unsigned i;

    for (i = 0; i < 2; i++) {
        memset(guest_ptr(d->guest[i], DESC_GPA), 0, RING_END - DESC_GPA);
    }
    d->c = *c;
    d->next = d->published = d->last_used = c->start;
    d->nfree = d->nids = c->num;
    for (i = 0; i < c->num; i++) {
        d->free[i] = d->ids[i] = c->num - 1 - i;
    }
    memset(d->out, 0, sizeof(d->out));
    d->oldest = d->nfifo = 0;
    d->in_batch[0] = d->in_batch[1] = false;
    if (!c->packed) {
        put16(d, AVAIL_GPA + 2, c->start);
        put16(d, USED_GPA + 2, c->start);
        return;
    }
    for (i = 0; i < c->num; i++) {
        /* All are used: those before the start in its round */
        bool wrap = !!(c->start & PLACE_WRAP) ^ (i >= (c->start & ~PLACE_WRAP));

        put16(d, DESC_GPA + i * 16 + 14, wrap ? F_AVAIL | F_USED : 0);
    }
}

/* Chains */

static unsigned random_segs(Driver *d, Seg *segs, unsigned max)
{
    unsigned n = 1 + rnd(chance(8) ? max : MIN(max, 4));
    /* Readable ones come first (2.7.4.2); there is one of the direction */
    unsigned nread = d->c.writable ? (chance(4) ? rnd(n) : 0)
                                   : (chance(4) ? 1 + rnd(n) : n);
    unsigned i;

    for (i = 0; i < n; i++) {
        segs[i].len = 1 + rnd(chance(4) ? 6000 : 200);
        /* Often across the border of two areas */
        segs[i].gpa = DATA_GPA + (chance(4) ? 0x5000 - rnd(segs[i].len)
                                            : rnd(DATA_SIZE - segs[i].len));
        segs[i].writable = i >= nread;
    }
    return n;
}

static uint64_t table_of(uint16_t id)
{
    return TABLE_GPA + id * MAX_DESCS * 16;
}

static void split_put_table(Driver *d, uint64_t table, const Seg *segs,
                            unsigned n)
{
    uint16_t slot[MAX_DESCS];
    unsigned i;

    /* The first is the table's first, the others are in any order */
    for (i = 0; i < n; i++) {
        slot[i] = i;
    }
    for (i = n - 1; i > 1; i--) {
        unsigned j = 1 + rnd(i);
        uint16_t t = slot[i];

        slot[i] = slot[j];
        slot[j] = t;
    }
    for (i = 0; i < n; i++) {
        put_desc(d, table + slot[i] * 16, segs[i].gpa, segs[i].len,
                 (segs[i].writable ? F_WRITE : 0) | (i + 1 < n ? F_NEXT : 0),
                 i + 1 < n ? slot[i + 1] : rnd(65536));
    }
}

static void split_put_head(Driver *d, uint16_t head)
{
    put16(d, AVAIL_GPA + 4 + d->next % d->c.num * 2, head);
    d->next++;
}

static uint16_t split_add(Driver *d, const Seg *segs, unsigned n,
                          bool indirect)
{
    uint16_t head = d->free[d->nfree - 1];
    unsigned i;

    if (indirect) {
        split_put_table(d, table_of(head), segs, n);
        put_desc(d, DESC_GPA + head * 16, table_of(head), n * 16,
                 F_INDIRECT, rnd(65536));
        d->nfree--;
    } else {
        for (i = 0; i < n; i++) {
            uint16_t slot = d->free[--d->nfree];
            uint16_t next = i + 1 < n ? d->free[d->nfree - 1] : rnd(65536);

            put_desc(d, DESC_GPA + slot * 16, segs[i].gpa, segs[i].len,
                     (segs[i].writable ? F_WRITE : 0) |
                     (i + 1 < n ? F_NEXT : 0), next);
            d->link[slot] = next;
        }
    }
    split_put_head(d, head);
    return head;
}

/* @flags without AVAIL and USED; publishing is left to driver_publish() */
static void packed_put(Driver *d, uint64_t addr, uint32_t len, uint16_t id,
                       uint16_t flags)
{
    uint64_t gpa = DESC_GPA + (d->next & ~PLACE_WRAP) * 16;

    flags |= avail_flags(d->next);
    if (d->next == d->published) {
        d->first_flags = flags;
        /*
         * Until then it is what it was: used, or never written.  Or it looks
         * like used in this round: that is not available either (2.8.1).
         */
        flags = chance(2) ? get16(d, 0, gpa + 14) & (F_AVAIL | F_USED)
                          : used_flags(d->next);
    }
    put_desc(d, gpa, addr, len, id, flags);
    d->next = place_after(&d->c, d->next, 1);
    d->nfree--;
}

static uint16_t packed_add(Driver *d, const Seg *segs, unsigned n,
                           bool indirect)
{
    uint16_t id = d->ids[--d->nids];
    unsigned i;

    if (indirect) {
        /* Here only WRITE has a meaning (2.8.7) */
        for (i = 0; i < n; i++) {
            put_desc(d, table_of(id) + i * 16, segs[i].gpa, segs[i].len,
                     rnd(65536), segs[i].writable ? F_WRITE : 0);
        }
        packed_put(d, table_of(id), n * 16, id, F_INDIRECT);
        return id;
    }
    for (i = 0; i < n; i++) {
        /* Only the last one's id counts (2.8.6) */
        packed_put(d, segs[i].gpa, segs[i].len, i + 1 < n ? rnd(65536) : id,
                   (segs[i].writable ? F_WRITE : 0) |
                   (i + 1 < n ? F_NEXT : 0));
    }
    return id;
}

static unsigned driver_room(Driver *d)
{
    return !d->c.packed || d->nids ? d->nfree : 0;
}

bool driver_add(Driver *d)
{
    Seg segs[MAX_DESCS];
    bool indirect = chance(3);
    unsigned room = driver_room(d);
    unsigned i, n;
    Outstanding *o;
    uint16_t id;

    if (!room) {
        return false;
    }
    n = random_segs(d, segs, indirect ? MAX_DESCS : MIN(MAX_DESCS, room));
    id = d->c.packed ? packed_add(d, segs, n, indirect)
                     : split_add(d, segs, n, indirect);
    o = &d->out[id];
    expect(!o->busy, "id %u is given twice: the test is wrong", id);
    *o = (Outstanding) { .busy = true, .ndescs = indirect ? 1 : n };
    d->fifo[(d->oldest + d->nfifo++) % MAX_NUM] = id;
    for (i = 0; i < n; i++) {
        if (segs[i].writable == d->c.writable) {
            o->len += segs[i].len;
        }
    }
    return true;
}

/* Rules that are broken */

enum { BAD_ZERO, BAD_ORDER, BAD_DIRECTION, BAD_TABLE_SIZE, BAD_TABLE_EMPTY,
       BAD_LOOP, BAD_NEXT, BAD_HEAD, NBAD };

static const char *const bad_names[NBAD] = {
    "zero length", "wrong order", "no buffer of the direction",
    "table of 24 bytes", "empty table", "loop", "next outside of the table",
    "head outside of the table",
};

static bool split_add_bad(Driver *d, unsigned kind, bool indirect)
{
    uint16_t own = d->c.writable ? F_WRITE : 0;
    uint16_t head = d->free[d->nfree - 1];
    uint16_t second = d->nfree > 1 ? d->free[d->nfree - 2] : head;
    uint64_t table = DESC_GPA;
    uint64_t at;

    if (kind == BAD_HEAD) {
        split_put_head(d, d->c.num + rnd(65536 - d->c.num));
        return true;
    }
    if ((kind == BAD_ORDER || kind == BAD_ZERO) && !indirect &&
        second == head) {
        return false;
    }
    if (indirect) {
        table = table_of(head);
        put_desc(d, DESC_GPA + head * 16, table,
                 kind == BAD_TABLE_SIZE ? 24 : kind == BAD_TABLE_EMPTY ? 0
                 : 32, F_INDIRECT, 0);
        second = 1;
    } else if (kind == BAD_TABLE_SIZE || kind == BAD_TABLE_EMPTY) {
        return false;
    }
    at = table + (indirect ? 0 : head * 16);
    switch (kind) {
    case BAD_ZERO:
        /* Behind a good one, or there would be no buffer, either */
        put_desc(d, at, DATA_GPA, 4, own | F_NEXT, second);
        put_desc(d, table + second * 16, DATA_GPA, 0, own, 0);
        break;
    case BAD_ORDER:
        put_desc(d, at, DATA_GPA, 4, F_WRITE | F_NEXT, second);
        put_desc(d, table + second * 16, DATA_GPA, 4, 0, 0);
        break;
    case BAD_DIRECTION:
        put_desc(d, at, DATA_GPA, 4, own ^ F_WRITE, 0);
        break;
    case BAD_LOOP:
        put_desc(d, at, DATA_GPA, 4, own | F_NEXT, second);
        put_desc(d, table + second * 16, DATA_GPA, 4, own | F_NEXT,
                 indirect ? 0 : head);
        break;
    case BAD_NEXT:
        put_desc(d, at, DATA_GPA, 4, own | F_NEXT,
                 indirect ? 2 + rnd(100) : d->c.num + rnd(100));
        break;
    }
    split_put_head(d, head);
    return true;
}

static bool packed_add_bad(Driver *d, unsigned kind)
{
    uint16_t own = d->c.writable ? F_WRITE : 0;
    unsigned i;

    switch (kind) {
    case BAD_ZERO:
    case BAD_ORDER:
        if (d->nfree < 2) {
            return false;
        }
        if (kind == BAD_ZERO) {
            packed_put(d, DATA_GPA, 4, 0, own | F_NEXT);
            packed_put(d, DATA_GPA, 0, 0, own);
            return true;
        }
        packed_put(d, DATA_GPA, 4, 0, F_WRITE | F_NEXT);
        packed_put(d, DATA_GPA, 4, 0, 0);
        return true;
    case BAD_DIRECTION:
        packed_put(d, DATA_GPA, 4, 0, own ^ F_WRITE);
        return true;
    case BAD_TABLE_SIZE:
        packed_put(d, TABLE_GPA, 24, 0, F_INDIRECT);
        return true;
    case BAD_TABLE_EMPTY:
        packed_put(d, TABLE_GPA, 0, 0, F_INDIRECT);
        return true;
    case BAD_LOOP:
        /*
         * All around, with nothing else in the ring: a chain that runs into
         * others is seen by vhost-dp, which knows what it has, not by
         * virtio.c.
         */
        if (d->nfree < d->c.num) {
            return false;
        }
        for (i = 0; i < d->c.num; i++) {
            packed_put(d, DATA_GPA, 4, 0, own | F_NEXT);
        }
        return true;
    }
    return false;
}

/*
 * Not here, because virtio.c does not mind: buffers that are not RAM (it
 * bounces them), a table within a table, INDIRECT with NEXT, an available
 * index that is too far ahead.  Not here, because it is vhost-dp that does not
 * mind: an indirect table in two regions; descriptors before the one that
 * refers to a table (2.7.5.3.2).  The unit tests have them.
 */
const char *driver_add_bad(Driver *d)
{
    unsigned kind = rnd(NBAD);

    if (!driver_room(d)) {
        return NULL;
    }
    if (d->c.packed ? !packed_add_bad(d, kind)
                    : !split_add_bad(d, kind, chance(2) ||
                                     kind == BAD_TABLE_SIZE ||
                                     kind == BAD_TABLE_EMPTY)) {
        return NULL;
    }
    return bad_names[kind];
}

/* Notifications */

/* Is @event met by going from @old to @new?  (2.7.7.2) */
static bool met(uint16_t event, uint16_t old, uint16_t new)
{
    uint16_t i;

    for (i = old; i != new; i++) {
        if (i == event) {
            return true;
        }
    }
    return false;
}

static bool wants_kick(Driver *d, unsigned guest, uint16_t old)
{
    uint16_t flags, event, i;

    if (!d->c.packed) {
        if (d->c.event_idx) {
            return met(get16(d, guest, USED_GPA + 4 + d->c.num * 8), old,
                       d->next);
        }
        return !(get16(d, guest, USED_GPA) & 1);
    }
    flags = get16(d, guest, USED_GPA + 2);
    event = get16(d, guest, USED_GPA);
    if (flags != EVENT_DESC) {
        return flags == EVENT_ENABLE;
    }
    for (i = old; i != d->next; i = place_after(&d->c, i, 1)) {
        if (i == event) {
            return true;
        }
    }
    return false;
}

bool driver_publish(Driver *d, bool kick[2])
{
    uint16_t old = d->published;

    if (d->next == old) {
        return false;
    }
    if (d->c.packed) {
        put16(d, DESC_GPA + (old & ~PLACE_WRAP) * 16 + 14, d->first_flags);
    } else {
        put16(d, AVAIL_GPA + 2, d->next);
    }
    kick[0] = wants_kick(d, 0, old);
    kick[1] = wants_kick(d, 1, old);
    d->published = d->next;
    return true;
}

void driver_set_event(Driver *d)
{
    uint16_t place;

    if (!d->c.packed && d->c.event_idx) {
        put16(d, AVAIL_GPA + 4 + d->c.num * 2,
              chance(8) ? rnd(65536) : d->last_used + rnd(d->c.num + 4) - 2);
    } else if (!d->c.packed) {
        put16(d, AVAIL_GPA, rnd(2));
    } else {
        place = place_after(&d->c, d->last_used, rnd(d->c.num * 2));
        put16(d, AVAIL_GPA, d->c.event_idx ? place : rnd(65536));
        put16(d, AVAIL_GPA + 2, rnd(d->c.event_idx ? 3 : 2));
    }
}

bool driver_wants_call(Driver *d, bool valid, unsigned count, uint16_t now)
{
    uint16_t event;
    unsigned i;

    if (!d->c.packed && !d->c.event_idx) {
        return !(get16(d, 0, AVAIL_GPA) & 1);
    }
    if (!d->c.packed) {
        return !valid || met(get16(d, 0, AVAIL_GPA + 4 + d->c.num * 2),
                             now - count, now);
    }
    switch (get16(d, 0, AVAIL_GPA + 2)) {
    case EVENT_DISABLE:
        return false;
    case EVENT_ENABLE:
        return true;
    }
    event = get16(d, 0, AVAIL_GPA);
    for (i = count; i; i--) {
        /* From one round before the place back, without dividing */
        if (place_after(&d->c, now, 2 * d->c.num - i) == event) {
            return true;
        }
    }
    return !valid;
}

/* Used elements */

static bool element_there(Driver *d, unsigned guest)
{
    uint64_t gpa = DESC_GPA + (d->last_used & ~PLACE_WRAP) * 16;
    uint16_t flags;

    if (!d->c.packed) {
        return get16(d, guest, USED_GPA + 2) != d->last_used;
    }
    flags = get16(d, guest, gpa + 14) & (F_AVAIL | F_USED);
    return d->last_used != d->published && flags == used_flags(d->last_used);
}

static uint32_t element_id(Driver *d, unsigned guest, uint32_t *len)
{
    uint64_t gpa;

    if (!d->c.packed) {
        gpa = USED_GPA + 4 + d->last_used % d->c.num * 8;
        *len = ldl_le_p(guest_ptr(d->guest[guest], gpa + 4));
        return ldl_le_p(guest_ptr(d->guest[guest], gpa));
    }
    gpa = DESC_GPA + (d->last_used & ~PLACE_WRAP) * 16;
    *len = ldl_le_p(guest_ptr(d->guest[guest], gpa + 8));
    return get16(d, guest, gpa + 12);
}

/*
 * Is the next chain used in @guest?  With IN_ORDER one element may say so of
 * this and of later ones, where nothing was written (2.7.9, 2.8.8): then there
 * are no elements for the others.
 */
static bool next_used(Driver *d, unsigned guest, uint32_t *id)
{
    uint32_t len;

    if (!d->in_batch[guest]) {
        if (!element_there(d, guest)) {
            return false;
        }
        *id = element_id(d, guest, &len);
        expect(*id < d->c.num && d->out[*id].busy && d->out[*id].used,
               "used id %u was not given", *id);
        expect(len == d->out[*id].used_len, "id %u: length %u, not %u", *id,
               len, d->out[*id].used_len);
        d->in_batch[guest] = true;
        d->batch_end[guest] = *id;
    }
    if (d->c.in_order) {
        *id = d->fifo[d->oldest];
        expect(d->nfifo && d->out[*id].used, "batch up to %u: %u was not used",
               d->batch_end[guest], *id);
        expect(*id == d->batch_end[guest] || !d->out[*id].used_len,
               "batch up to %u: length of %u is lost", d->batch_end[guest],
               *id);
    }
    d->in_batch[guest] = d->batch_end[guest] != *id;
    return true;
}

static void forget_chain(Driver *d, uint16_t id)
{
    unsigned i = 0;

    /* All of the used ones are among the oldest: a burst at most */
    while (d->fifo[(d->oldest + i) % MAX_NUM] != id) {
        i++;
    }
    for (; i > 0; i--) {
        d->fifo[(d->oldest + i) % MAX_NUM] =
            d->fifo[(d->oldest + i - 1) % MAX_NUM];
    }
    d->oldest = (d->oldest + 1) % MAX_NUM;
    d->nfifo--;
}

bool driver_take_used(Driver *d)
{
    uint32_t id = 0, other = 0;
    bool used = next_used(d, 0, &id);
    uint16_t slot;
    unsigned i;

    expect(used == next_used(d, 1, &other) && id == other,
           "used %d: id %u, and %u", used, id, other);
    if (!used) {
        return false;
    }
    forget_chain(d, id);
    d->out[id].busy = false;
    if (d->c.packed) {
        d->last_used = place_after(&d->c, d->last_used, d->out[id].ndescs);
        d->ids[d->nids++] = id;
        d->nfree += d->out[id].ndescs;
        return true;
    }
    d->last_used++;
    slot = id;
    for (i = 0; i < d->out[id].ndescs; i++) {
        d->free[d->nfree++] = slot;
        slot = d->link[slot];
    }
    return true;
}
