/*
 * vhost-dp: tests of virtqueues of both formats: two threads, random walks
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/processor.h"
#include "qemu/thread.h"
#include "standard-headers/linux/virtio_ring.h"
#include "tests/vhost-dp/lib/rig.h"

static bool driver_sees_used(Rig *r)
{
    return r->s.packed ? mock_packed_has_used(&r->p)
                       : mock_queue_used_idx(&r->q) != r->q.last_used;
}

/*
 * Two threads: no kick and no call gets lost (2.7.10.1, 2.7.13.4.1, 2.7.7;
 * 2.8.10 and 2.8.21.3), and a batch is visible as a whole.
 */

typedef struct Race {
    Rig *r;
    unsigned total;
    unsigned kicks;             /* written by the driver */
    unsigned calls;             /* written by the device */
    unsigned lost;              /* waits that ended although there was work */
} Race;

#define RACE_TIMEOUT_US     (20 * G_USEC_PER_SEC)

/*
 * Wait until *@event is not @seen any more.  This spins, because the windows
 * of these races are so narrow that sleeping threads hardly ever meet there.
 */
static bool race_wait(unsigned *event, unsigned seen)
{
    gint64 deadline = 0;
    unsigned i;

    for (i = 1; qatomic_read(event) == seen; i++) {
        if (i % 1024 == 0) {
            gint64 now = g_get_monotonic_time();

            if (!deadline) {
                deadline = now + RACE_TIMEOUT_US;
            } else if (now > deadline) {
                return false;
            }
            g_thread_yield();
        }
    }
    return true;
}

static void *race_driver(void *opaque)
{
    Race *race = opaque;
    Rig *r = race->r;
    MockSeg segs[] = { { DATA_GPA, 4 }, { DATA_GPA + 8, 4 } };
    unsigned added = 0, done = 0, batch = 0, polls;
    uint32_t id, len;

    while (done < race->total && !qatomic_read(&race->lost)) {
        unsigned seen = qatomic_read(&race->calls);

        while (rig_get_used(r, &id, &len)) {
            /* The length is how many follow in the same flush */
            g_assert_cmpuint(len / 1000, ==, done % 1000);
            g_assert_true(!batch || len % 1000 == batch - 1);
            batch = len % 1000;
            g_assert_true(!batch || driver_sees_used(r));
            done++;
        }
        while (added < race->total &&
               rig_add_chain(r, segs, 1 + (r->s.packed && added % 2)) >= 0) {
            added++;
            if (rig_publish(r)) {
                qatomic_set(&race->kicks, race->kicks + 1);
            }
        }
        if (done == race->total) {
            break;
        }
        /* Poll at times: elements have to be there before the index */
        for (polls = 0; polls < 200 * (done % 2) &&
             !driver_sees_used(r); polls++) {
            cpu_relax();
        }
        if (r->s.event_idx) {
            rig_want_call_at(r, 0);
        } else {
            rig_want_call(r);
        }
        /* The wish, and then one more look (2.7.7 and 2.8.10) */
        smp_mb();
        if (!driver_sees_used(r) && !race_wait(&race->calls, seen) &&
            driver_sees_used(r)) {
            qatomic_inc(&race->lost);
        }
        if (!r->s.event_idx || r->s.packed) {
            rig_want_no_call(r);
        }
    }
    return NULL;
}

static void race_device(Race *race)
{
    Rig *r = race->r;
    unsigned done = 0;

    while (done < race->total && !qatomic_read(&race->lost)) {
        unsigned seen = qatomic_read(&race->kicks);
        unsigned n, i;

        vhost_dp_vring_disable_notify(&r->vq);
        while ((n = rig_pop(r, 8))) {
            for (i = 0; i < n; i++) {
                vhost_dp_vring_push(&r->vq, &r->burst.chain[i],
                                    done++ % 1000 * 1000 + n - 1 - i);
            }
            if (vhost_dp_vring_flush(&r->vq)) {
                qatomic_set(&race->calls, race->calls + 1);
            }
        }
        if (done < race->total && !vhost_dp_vring_enable_notify(&r->vq) &&
            !race_wait(&race->kicks, seen) &&
            vhost_dp_vring_enable_notify(&r->vq)) {
            /* No kick came, but there is something */
            qatomic_inc(&race->lost);
        }
    }
}

static void race_test(Setup s)
{
    Race race = { .total = g_test_slow() ? 20000000 : 200000 };
    QemuThread thread;

    race.r = rig_new(s);
    qemu_thread_create(&thread, "driver", race_driver, &race,
                       QEMU_THREAD_JOINABLE);
    race_device(&race);
    qemu_thread_join(&thread);
    g_assert_cmpuint(race.lost, ==, 0);
    check_healthy(race.r);
    rig_free(race.r);
}

static void test_race(Setup s)
{
    s.num = 2;
    race_test(s);
    if (s.packed) {
        s.num = 5;
        race_test(s);
    }
}

/*
 * The flags that make a descriptor available are those that it is taken with:
 * a driver that changes them all the time gets nothing checked and other
 * things used.
 */

typedef struct Flicker {
    Rig *r;
    bool end;
} Flicker;

static void *flicker_driver(void *opaque)
{
    Flicker *f = opaque;
    unsigned i;

    for (i = 0; !qatomic_read(&f->end); i++) {
        /* Available; and not, but as a buffer of the other direction */
        mock_packed_set_flags(&f->r->p, 0, i % 2 ? MOCK_PACKED_AVAIL :
                              VRING_DESC_F_WRITE);
    }
    return NULL;
}

static void test_flags_read_once(Setup s)
{
    Flicker f;
    QemuThread thread;
    gint64 end = g_get_monotonic_time() + G_USEC_PER_SEC;
    unsigned changes = 0, last = 0, i, n;

    s.num = 4;
    f = (Flicker) { .r = rig_new(s) };
    mock_packed_set_desc(&f.r->p, 0, DATA_GPA, 4, 0, 0);
    qemu_thread_create(&thread, "driver", flicker_driver, &f,
                       QEMU_THREAD_JOINABLE);
    /* So often that it met both, one after the other */
    for (i = 1; changes < 50000 && !f.r->vq.broken; i++) {
        if (i % 1024 == 0 && g_get_monotonic_time() > end) {
            break;
        }
        n = rig_pop(f.r, 1);
        vhost_dp_vring_rewind(&f.r->vq, &f.r->burst, n);
        changes += n != last;
        last = n;
    }
    qatomic_set(&f.end, true);
    qemu_thread_join(&thread);
    check_healthy(f.r);
    rig_free(f.r);
}

/*
 * A random walk of both sides, compared with a model: every chain is delivered
 * once, in order, with the right bytes, over stops, starts, and memory that
 * moves.
 */

enum {
    WALK_NUM = 64,
    WALK_SEGS = 8,
    WALK_STEPS = 4000,
    WALK_DATA = DATA_GPA + 0x400,
    WALK_DATA_SLOT = 0x7e0,             /* 64 of them; regions end inside */
    WALK_TABLE = BORDER_GPA - 0x4008,
    WALK_TABLE_SLOT = 0x200,
};

typedef struct WalkChain {
    int id;
    unsigned ndescs;            /* entries of the ring */
    unsigned nsegs;
    MockSeg segs[WALK_SEGS];
    uint32_t len;               /* bytes of the queue's direction */
    uint32_t used;
} WalkChain;

typedef struct Walk {
    Rig *r;
    GRand *rand;
    WalkChain chain[WALK_NUM];          /* by serial number */
    /* Serial numbers: collected <= flushed <= published <= added */
    uint32_t added, published, flushed, collected;
    uint32_t looked;                    /* chains known at the last look */
    bool first;                         /* no decision since the start */
    bool asleep;                        /* the device waits for a kick */
    uint32_t event;             /* entry for which the driver wants a call */
    /* The same in entries of the ring */
    uint32_t descs_flushed, descs_decided, descs_collected;
    bool no_interrupt;
    bool by_event;              /* or else by no_interrupt */
    unsigned kicks, calls, stops;
} Walk;

static unsigned dice(Walk *w, unsigned n)
{
    return g_rand_int_range(w->rand, 0, n);
}

static WalkChain *walk_chain(Walk *w, uint32_t serial)
{
    return &w->chain[serial % WALK_NUM];
}

static uint8_t walk_byte(uint32_t serial, uint32_t pos)
{
    return serial * 31 + pos * 7 + (pos >> 8);
}

static void walk_make_segs(Walk *w, WalkChain *c, uint32_t serial)
{
    bool writable = w->r->s.writable;
    uint64_t gpa = WALK_DATA + (serial % WALK_NUM) * WALK_DATA_SLOT;
    uint64_t end = gpa + WALK_DATA_SLOT;
    unsigned nown = 1 + dice(w, WALK_SEGS - 2);
    unsigned nother = dice(w, 4) ? 0 : 1 + dice(w, 2);
    unsigned i;

    c->nsegs = nown + nother;
    c->len = 0;
    c->used = 0;
    for (i = 0; i < c->nsegs; i++) {
        bool mine = writable ? i >= nother : i < nown;
        unsigned room = (end - gpa) / (c->nsegs - i);
        uint32_t len = 1 + (dice(w, 2) ? dice(w, room / 2) : dice(w, 16));

        c->segs[i] = (MockSeg) { gpa, len, mine == writable };
        gpa += len + dice(w, room / 4);
        c->len += mine ? len : 0;
    }
    g_assert_cmphex(gpa, <=, end);
}

/* Go through the bytes of the queue's direction, as the guest sees them */
static void walk_guest_bytes(Walk *w, uint32_t serial, uint32_t len,
                             bool fill)
{
    WalkChain *c = walk_chain(w, serial);
    uint8_t buf[WALK_DATA_SLOT];
    uint32_t pos = 0;
    unsigned i, j;

    for (i = 0; i < c->nsegs; i++) {
        MockSeg *seg = &c->segs[i];
        uint32_t n = MIN(seg->len, len - pos);

        if (seg->writable != w->r->s.writable) {
            continue;
        }
        if (!fill) {
            mock_memory_read(w->r->mm, seg->gpa, buf, n);
        }
        for (j = 0; j < n; j++, pos++) {
            if (fill) {
                buf[j] = walk_byte(serial, pos);
            } else {
                g_assert_cmphex(buf[j], ==, walk_byte(serial, pos));
            }
        }
        if (fill) {
            mock_memory_write(w->r->mm, seg->gpa, buf, n);
        }
    }
    g_assert_cmpuint(pos, ==, len);
}

static void walk_add_chain(Walk *w, WalkChain *c, unsigned ndirect,
                           uint64_t table)
{
    Rig *r = w->r;
    bool direct = ndirect == c->nsegs;

    if (dice(w, 4) == 0) {
        rig_shuffle(r, w->rand);
    }
    if (!r->s.packed) {
        c->id = mock_queue_add_indirect(&r->q, c->segs, c->nsegs, ndirect,
                                        table, w->rand);
    } else if (direct) {
        c->id = rig_add_chain(r, c->segs, c->nsegs);
    } else {
        c->id = rig_add_indirect(r, c->segs, c->nsegs, table);
    }
    c->ndescs = r->s.packed && direct ? c->nsegs : 1;
}

static void walk_add(Walk *w)
{
    Rig *r = w->r;
    unsigned n = 1 + dice(w, 8);
    bool kick;

    while (n-- && w->added - w->collected < WALK_NUM) {
        WalkChain *c = walk_chain(w, w->added);
        uint64_t table = WALK_TABLE + dice(w, 0x100) +
                         (w->added % WALK_NUM) * WALK_TABLE_SLOT;
        unsigned ndirect;

        walk_make_segs(w, c, w->added);
        ndirect = dice(w, 2) ? c->nsegs : dice(w, c->nsegs + 1);
        walk_add_chain(w, c, ndirect, table);
        if (c->id < 0) {
            break;
        }
        if (!r->s.writable) {
            walk_guest_bytes(w, w->added, c->len, true);
        }
        w->added++;
    }
    if (w->added == w->published || dice(w, 8) == 0) {
        return;
    }
    kick = rig_publish(r);
    w->published = w->added;
    w->kicks += kick;
    if (w->asleep) {
        g_assert_true(kick);
        w->asleep = false;
    }
}

/* The burst's chain is the one of the model, byte by byte */
static void walk_check_chain(Walk *w, VhostDPChain *chain, uint32_t serial)
{
    WalkChain *c = walk_chain(w, serial);
    unsigned i, seg = 0;
    uint32_t pos = 0, in_seg = 0;

    g_assert_cmpint(chain->id, ==, c->id);
    g_assert_cmpuint(chain->len, ==, c->len);
    for (i = 0; i < chain->nsegs; i++) {
        uint8_t *base = chain->iov[i].iov_base;
        size_t left = chain->iov[i].iov_len;

        g_assert_cmpuint(left, >, 0);
        while (left) {
            uint32_t n;

            if (c->segs[seg].writable != w->r->s.writable ||
                in_seg == c->segs[seg].len) {
                seg++;
                in_seg = 0;
                g_assert_cmpuint(seg, <, c->nsegs);
                continue;
            }
            n = MIN(left, c->segs[seg].len - in_seg);
            g_assert_true(base == mock_memory_ptr(w->r->mm,
                                                  c->segs[seg].gpa + in_seg,
                                                  n));
            base += n;
            left -= n;
            in_seg += n;
            pos += n;
        }
    }
    g_assert_cmpuint(pos, ==, c->len);
}

/* Use a chain: read what the driver sent, or write something for it */
static uint32_t walk_use(Walk *w, VhostDPChain *chain, uint32_t serial)
{
    WalkChain *c = walk_chain(w, serial);
    uint32_t len = w->r->s.writable ? dice(w, c->len + 1) : c->len;
    uint32_t pos = 0;
    unsigned i, j;

    for (i = 0; i < chain->nsegs && pos < len; i++) {
        uint8_t *base = chain->iov[i].iov_base;
        uint32_t n = MIN(chain->iov[i].iov_len, len - pos);

        for (j = 0; j < n; j++, pos++) {
            if (w->r->s.writable) {
                base[j] = walk_byte(serial, pos);
            } else {
                g_assert_cmphex(base[j], ==, walk_byte(serial, pos));
            }
        }
        if (w->r->s.writable) {
            vhost_dp_memory_dirty(chain->region[i], base, n);
        }
    }
    g_assert_cmpuint(pos, ==, len);
    c->used = w->r->s.writable ? len : 0;
    return c->used;
}

static bool walk_expect_call(Walk *w)
{
    if (!w->by_event) {
        return !w->no_interrupt;
    }
    return w->first || ((int32_t)(w->event - w->descs_decided) >= 0 &&
                        (int32_t)(w->descs_flushed - w->event) > 0);
}

static void walk_burst(Walk *w)
{
    Rig *r = w->r;
    unsigned max = 1 + dice(w, 16);
    uint32_t max_bytes = dice(w, 3) ? UINT32_MAX : 1 + dice(w, 4096);
    uint32_t ready = w->published - w->flushed;
    uint32_t bytes = 0;
    unsigned n, keep, i;

    mock_memory_snapshot(r->mm);
    if (dice(w, 2)) {
        vhost_dp_vring_disable_notify(&r->vq);
        w->asleep = false;
    }
    n = vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, max, max_bytes);
    w->looked = r->s.packed ? w->flushed + n : w->published;
    g_assert_cmpuint(n, <=, MIN(ready, max));
    for (i = 0; i < n; i++) {
        g_assert_cmpuint(bytes, <, max_bytes);
        walk_check_chain(w, &r->burst.chain[i], w->flushed + i);
        bytes += r->burst.chain[i].len;
    }
    g_assert_true(n == MIN(ready, max) || bytes >= max_bytes);

    keep = dice(w, 3) ? n : dice(w, n + 1);
    for (i = 0; i < keep; i++) {
        vhost_dp_vring_push(&r->vq, &r->burst.chain[i],
                            walk_use(w, &r->burst.chain[i], w->flushed + i));
        w->descs_flushed += walk_chain(w, w->flushed + i)->ndescs;
    }
    vhost_dp_vring_rewind(&r->vq, &r->burst, n - keep);
    w->flushed += keep;
    if (keep) {
        bool call = vhost_dp_vring_flush(&r->vq);

        g_assert_cmpint(call, ==, walk_expect_call(w));
        w->calls += call;
        w->descs_decided = w->descs_flushed;
        w->first = false;
    } else {
        g_assert_false(vhost_dp_vring_flush(&r->vq));
    }
    check_progress(r, w->descs_flushed, w->descs_flushed);
    mock_memory_check(r->mm);
}

static void walk_sleep(Walk *w)
{
    bool more;

    mock_memory_snapshot(w->r->mm);
    more = vhost_dp_vring_enable_notify(&w->r->vq);
    mock_memory_check(w->r->mm);
    g_assert_cmpint(more, ==, w->published != w->looked);
    w->asleep = !more;
}

/* The driver says when it wants to be called next */
static void walk_wish(Walk *w, uint32_t collected)
{
    Rig *r = w->r;

    w->by_event = r->s.event_idx && !(r->s.packed && dice(w, 4) == 0);
    w->no_interrupt = dice(w, 2);
    if (!w->by_event && w->no_interrupt) {
        rig_want_no_call(r);
    } else if (!w->by_event) {
        rig_want_call(r);
    } else {
        w->event = collected + dice(w, 24) - (r->s.packed ? 0 : 4);
        rig_want_call_at(r, (int32_t)(w->event - collected));
    }
}

static void walk_collect(Walk *w)
{
    Rig *r = w->r;
    unsigned n = dice(w, 16);
    uint32_t id, len;

    while (n-- && rig_get_used(r, &id, &len)) {
        WalkChain *c = walk_chain(w, w->collected);

        g_assert_cmpuint(w->collected, !=, w->flushed);
        g_assert_cmpint(id, ==, c->id);
        g_assert_cmpuint(len, ==, c->used);
        if (r->s.writable) {
            walk_guest_bytes(w, w->collected, len, false);
        }
        w->collected++;
        w->descs_collected += c->ndescs;
    }
    walk_wish(w, w->descs_collected);
}

static void walk_restart(Walk *w)
{
    Rig *r = w->r;

    mock_memory_snapshot(r->mm);
    vhost_dp_vring_stop(&r->vq);
    check_progress(r, w->descs_flushed, w->descs_flushed);
    if (dice(w, 2)) {
        rig_hand_over(r);
    }
    g_assert_cmpint(rig_start(r), ==, 0);
    mock_memory_check(r->mm);
    w->first = true;
    w->looked = w->flushed;
    w->asleep = false;
    w->stops++;
}

static void walk_step(Walk *w)
{
    unsigned what = dice(w, 100);

    if (what < 35) {
        walk_add(w);
    } else if (what < 70) {
        walk_burst(w);
    } else if (what < 80) {
        walk_sleep(w);
    } else if (what < 97) {
        walk_collect(w);
    } else if (what < 99) {
        walk_restart(w);
    } else {
        rig_move_memory(w->r, 1ULL << AREA_HIGH);
    }
}

static void walk(Setup s, uint32_t seed)
{
    Walk *w = g_new0(Walk, 1);
    unsigned i;

    w->r = rig_new(s);
    w->rand = g_rand_new_with_seed(seed);
    w->first = true;
    w->by_event = s.event_idx && !s.packed;
    for (i = 0; i < WALK_STEPS; i++) {
        walk_step(w);
    }
    /* To the end */
    while (w->collected != w->added) {
        walk_add(w);
        walk_burst(w);
        walk_collect(w);
        if (w->added > 100 * WALK_STEPS) {
            g_assert_not_reached();
        }
        if (w->added > WALK_STEPS / 2) {
            while (w->collected != w->added) {
                rig_publish(w->r);
                w->published = w->added;
                walk_burst(w);
                walk_collect(w);
            }
        }
    }
    g_assert_cmpuint(w->added, >, 1000);
    g_assert_cmpuint(w->kicks, >, 10);
    g_assert_cmpuint(w->calls, >, 10);
    g_assert_cmpuint(w->stops, >, 10);
    check_healthy(w->r);
    g_rand_free(w->rand);
    rig_free(w->r);
    g_free(w);
}

static void test_random_walk(gconstpointer opaque)
{
    unsigned variant = GPOINTER_TO_UINT(opaque);
    bool packed = variant & 8;
    unsigned round, rounds = g_test_slow() ? 50 : 1;

    for (round = 0; round < rounds; round++) {
        uint32_t seed = 0x76640000 + 16 * round + variant;

        g_test_message("seed 0x%x", seed);
        walk((Setup) {
            .num = packed ? 59 : WALK_NUM,
            .packed = packed,
            .start = packed ? 57 : 65536 - 500,
            .event_idx = variant & 1,
            .writable = variant & 2,
            .big_endian = variant & 4,
        }, seed);
    }
}

static const RigTest tests[] = {
    { "no-lost-wake-up", test_race, FOR_BOTH | BY_EVENT },
    { "flags-read-once", test_flags_read_once, FOR_PACKED },
};

static void add_random_tests(void)
{
    unsigned i;

    for (i = 0; i < 16; i++) {
        g_autofree char *path = NULL;

        path = g_strdup_printf("%srandom-walk/%s-%s-%s",
                               i & 8 ? RIG_PACKED : RIG_SPLIT,
                               i & 2 ? "rx" : "tx",
                               i & 1 ? "event-idx" : "flags",
                               i & 4 ? "big-endian" : "little-endian");
        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_random_walk);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add_tests(tests, ARRAY_SIZE(tests));
    add_random_tests();
    return g_test_run();
}
