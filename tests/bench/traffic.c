/*
 * vhost-dp bench: moving frames through the rings
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One thread is the guest's driver of all queue pairs, and on the other side
 * the sender into the interface: there is nobody else that could disturb the
 * data path's thread on the other core.  It never waits while there is
 * something to do, and never kicks unless the device asks for it.
 *
 * A counted run starts and ends with a quiet device, because the CPU time of
 * a thread is exact only when it sleeps.
 *
 * Receiving from an interface is done in one of two ways.  In a stream, the
 * source has a number of frames on their way and sends another when one
 * arrives, so nothing is lost at any speed; the data path is then often
 * faster than the source, and goes to sleep in between.  With --fill, frames
 * pile up in the interface's queue while the guest has no buffers, and are
 * then received flat out; only this part is counted.
 */

#include "qemu/osdep.h"
#include "qemu/processor.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"
#include "traffic.h"
#include "util.h"

/* No progress for that long: maybe the device does not poll after all */
#define DOUBT_NS (100 * 1000000LL)

/* No progress for that long is a failure */
#define STALL_NS (5 * 1000000000LL)

/* What is on its way at the end of a run has to come within that time */
#define DRAIN_NS (20 * 1000000000LL)

/* Time for the device to fall asleep */
#define SETTLE_NS (3 * 1000000LL)

/* ---- Single steps ---- */

unsigned load_reap_tx(Load *l, Pair *p)
{
    RingUsed used[RING_BATCH];
    unsigned n = ring_reap(&p->tx, used, RING_BATCH);
    unsigned i;

    for (i = 0; i < n; i++) {
        if (unlikely(used[i].id >= p->tx.nbuf)) {
            bench_fail("the device returned buffer %u of %u on a TX queue",
                       used[i].id, p->tx.nbuf);
        }
        p->tx_free[p->tx_nfree++] = used[i].id;
    }
    p->tx_done += n;
    if (unlikely(p->tx_done > p->tx_posted)) {
        bench_fail("the device returned more TX buffers than it got");
    }
    return n;
}

unsigned load_post_tx(Load *l, Pair *p, unsigned n)
{
    uint16_t ids[RING_BATCH];
    unsigned at = l->dev.hdr_len + frame_number_at(&l->o->shape);
    unsigned i;

    n = MIN(MIN(n, p->tx_nfree), RING_BATCH);
    if (!n) {
        return 0;
    }
    for (i = 0; i < n; i++) {
        ids[i] = p->tx_free[--p->tx_nfree];
        frame_set_number(p->tx_buf[ids[i]], at, p->tx_posted++);
    }
    if (ring_post(&p->tx, ids, n)) {
        notify_tx(&l->notify, p->index);
    }
    return n;
}

/*
 * Post all free receive buffers.  Returns true if a kick is needed.
 *
 * They are posted in the order of their addresses, side by side in memory, as
 * those that Linux cuts from larger pieces.
 */
static bool post_rx(Load *l, Pair *p)
{
    bool kick = false;
    unsigned done, n;

    for (done = 0; done < p->rx_nfree; done += n) {
        n = MIN(p->rx_nfree - done, RING_BATCH);
        kick |= ring_post(&p->rx, &p->rx_free[done], n);
    }
    p->rx_nfree = 0;
    return kick;
}

void load_post_rx(Load *l, Pair *p)
{
    if (post_rx(l, p)) {
        notify_rx(&l->notify, p->index);
    }
}

/* Those that notify_find() sent have number 0, and a mirror sends them back */
static bool is_probe(const Load *l, const uint8_t *frame, uint32_t len)
{
    static const uint8_t zero[8];
    unsigned at = frame_number_at(&l->expect);

    return l->expect.kind == FRAME_ECHO && len >= at + sizeof(zero) &&
           memcmp(frame + at, zero, sizeof(zero)) == 0;
}

/* All buffers of a frame are there: rx_piece[0] to [rx_have - 1] */
static void frame_arrived(Load *l, Pair *p)
{
    const RingUsed *piece = p->rx_piece;
    const uint8_t *first = p->rx_buf[piece[0].id];
    const struct virtio_net_hdr_v1 *hdr = (const void *)first;
    uint32_t have = piece[0].len - l->dev.hdr_len;
    bool full = l->o->check_all || p->check.frames % 16 == 0 ||
                l->expect.size <= 256 || have < 128;
    const uint8_t *frame = first + l->dev.hdr_len;
    uint32_t len = have;
    unsigned i;

    for (i = 1; i < p->rx_have; i++) {
        len += piece[i].len;
    }
    if (full && p->rx_have > 1 && len <= FRAME_ROOM) {
        uint32_t at = have;

        memcpy(p->rx_whole, frame, have);
        for (i = 1; i < p->rx_have; i++) {
            memcpy(p->rx_whole + at, p->rx_buf[piece[i].id], piece[i].len);
            at += piece[i].len;
        }
        frame = p->rx_whole;
        have = len;
    }
    if (unlikely(is_probe(l, frame, have))) {
        return;
    }
    frame_check_vnet(&l->expect, &p->check, hdr);
    frame_check(&l->expect, &p->check, frame, len, have, p->index,
                l->expect.kind == FRAME_ECHO, full);
    p->rx_bytes += len;
}

static void piece_arrived(Load *l, Pair *p, const RingUsed *used)
{
    if (unlikely(used->id >= p->rx.nbuf || used->len > p->rx.segs[0].len)) {
        bench_fail("the device returned buffer %u of %u with %u bytes in %u",
                   used->id, p->rx.nbuf, used->len, p->rx.segs[0].len);
    }
    if (!p->rx_have) {
        struct virtio_net_hdr_v1 *hdr = (void *)p->rx_buf[used->id];

        if (unlikely(used->len <= l->dev.hdr_len)) {
            bench_fail("the device returned a receive buffer with %u bytes",
                       used->len);
        }
        /* Should be 1 without mergeable buffers, too; QEMU leaves it 0 */
        p->rx_pieces = l->o->mergeable ? hdr->num_buffers : 1;
        if (unlikely(!p->rx_pieces || p->rx_pieces > p->rx.num)) {
            bench_fail("a received frame has num_buffers == %u", p->rx_pieces);
        }
    }
    p->rx_piece[p->rx_have++] = *used;
}

unsigned load_reap_rx(Load *l, Pair *p)
{
    RingUsed used[RING_BATCH];
    unsigned n = ring_reap(&p->rx, used, RING_BATCH);
    unsigned frames = 0;
    unsigned i, j;

    for (i = 0; i < n; i++) {
        __builtin_prefetch(p->rx_buf[used[i].id & (p->rx.num - 1)]);
    }
    for (i = 0; i < n; i++) {
        piece_arrived(l, p, &used[i]);
        if (p->rx_have == p->rx_pieces) {
            frame_arrived(l, p);
            for (j = 0; j < p->rx_have; j++) {
                p->rx_free[p->rx_nfree++] = p->rx_piece[j].id;
            }
            p->rx_have = 0;
            frames++;
        }
    }
    return frames;
}

/* Take what is at the sink, and check it */
static unsigned look_at_sink(Load *l)
{
    static uint8_t frame[FRAME_ROOM];
    struct virtio_net_hdr_v1 hdr;
    FrameCheck *check = &l->pair[0].sink_check;
    unsigned n = 0;
    uint32_t len;
    int64_t when;

    while (n < 64 && (len = host_sink_receive(l->sink, frame, &hdr, &when))) {
        frame_check_vnet(&l->o->shape, check, &hdr);
        frame_check(&l->o->shape, check, frame, len, len, 0, true, true);
        n++;
    }
    return n;
}

static void check_one(const char *where, unsigned pair, const FrameCheck *c)
{
    if (c->bad) {
        bench_fail("%s, queue pair %u: %" PRIu64 " of %" PRIu64 " frames are "
                   "wrong; the first: %s", where, pair, c->bad, c->frames,
                   c->why);
    }
    if (c->lost) {
        bench_fail("%s, queue pair %u: %" PRIu64 " frames were lost besides "
                   "%" PRIu64 " that came", where, pair, c->lost, c->frames);
    }
}

/* Exits with a message if something wrong was received up to now */
static void check_received(Load *l)
{
    unsigned i;

    for (i = 0; i < l->o->pairs; i++) {
        check_one("received", i, &l->pair[i].check);
        check_one("at the sink", i, &l->pair[i].sink_check);
    }
}

/* ---- Loops ---- */

/* Notices when nothing moves any more */
typedef struct Watch {
    int64_t last;
    unsigned quiet;             /* looks without progress */
} Watch;

static void watch(Load *l, Watch *w, bool progress, const char *what)
{
    if (progress) {
        w->quiet = 0;
        w->last = 0;
        return;
    }
    cpu_relax();
    if (++w->quiet % 1024) {
        return;
    }
    bench_check_stop();
    if (!w->last) {
        w->last = bench_now();
    } else if (bench_now() - w->last > STALL_NS) {
        bench_fail("%s: nothing happened for %lld s (sent %" PRIu64 ", of "
                   "which %" PRIu64 " are done; received %" PRIu64 ")", what,
                   STALL_NS / 1000000000, l->pair[0].tx_posted,
                   l->pair[0].tx_done, l->pair[0].check.frames);
    } else if (l->notify.polls && bench_now() - w->last > DOUBT_NS) {
        notify_doubt(&l->notify);
    } else if (l->o->pairs > 1 || l->o->nap) {
        /* Leave the core to a second data-path thread, or to the peer's */
        bench_sleep(20000);
    }
}

/* How many frames may be sent now, to keep the rate? */
static unsigned allowed(const Options *o, int64_t start, uint64_t done,
                        unsigned max)
{
    uint64_t due;

    if (!o->rate) {
        return max;
    }
    due = (double)(bench_now() - start) * o->rate / 1e9;
    return due > done ? MIN(due - done, max) : 0;
}

/* Send what is free in pair @p; @base is tx_posted at the start */
static bool step_tx(Load *l, Pair *p, int64_t start, uint64_t base)
{
    unsigned done = load_reap_tx(l, p);
    /* Whole batches, as long as it goes flat out */
    bool enough = p->tx_nfree >= MIN(l->o->batch, p->tx.nbuf) || l->o->rate;
    unsigned max = l->o->batch;
    unsigned n = 0;

    if (l->o->expect == EXPECT_ECHO) {
        /* No more than there are buffers to receive them again */
        uint64_t on_way = p->tx_posted - p->check.next;

        max = MIN(max, on_way < l->o->window ? l->o->window - on_way : 0);
    }
    if (enough) {
        n = load_post_tx(l, p, allowed(l->o, start, p->tx_posted - base, max));
    }
    return done || n;
}

/* Send into the interface what the window allows */
static bool step_source(Load *l, Pair *p, int64_t start, uint64_t base)
{
    uint64_t on_way = p->source.next - p->check.frames;
    unsigned room = on_way < l->o->window ? l->o->window - on_way : 0;
    unsigned n = MIN(MIN(room, HOST_BATCH),
                     allowed(l->o, start, p->source.next - base, HOST_BATCH));

    /* Small batches cost the sender more than it waits for large ones */
    if (!n || (n < MIN(16, l->o->window) && !l->o->rate)) {
        return false;
    }
    return host_source_send(&p->source, n) > 0;
}

static bool step_rx(Load *l, Pair *p)
{
    unsigned n = load_reap_rx(l, p);

    if (p->rx_nfree >= MIN(RING_BATCH, p->rx.nbuf / 4)) {
        load_post_rx(l, p);
    }
    return n > 0;
}

/* Wait until everything that was sent is done, and received */
static void drain(Load *l)
{
    bool from_source = l->o->source && options_receives(l->o);
    bool echo = l->o->expect == EXPECT_ECHO && l->o->mode == MODE_BOTH;
    int64_t end = bench_now() + DRAIN_NS;
    Watch w = {};
    unsigned i;
    bool left;

    do {
        bool progress = false;

        if (bench_now() > end) {
            check_received(l);
            bench_fail("at the end: not everything came within %lld s",
                       DRAIN_NS / 1000000000);
        }

        left = false;
        for (i = 0; i < l->o->pairs; i++) {
            Pair *p = &l->pair[i];

            progress |= load_reap_tx(l, p) > 0;
            if (options_receives(l->o)) {
                progress |= load_reap_rx(l, p) > 0;
                load_post_rx(l, p);
            }
            left |= p->tx_done < p->tx_posted;
            left |= from_source && p->check.next < p->source.next;
            left |= echo && p->check.next < p->tx_posted;
        }
        if (l->sink >= 0) {
            progress |= look_at_sink(l) > 0;
            left |= l->pair[0].sink_check.next < l->pair[0].tx_posted;
        }
        watch(l, &w, progress, "at the end");
    } while (left);
}

static void stream(Load *l, double seconds, uint64_t packets)
{
    bool tx = options_sends(l->o);
    bool rx = options_receives(l->o);
    uint64_t tx_base[DEVICE_MAX_PAIRS], source_base[DEVICE_MAX_PAIRS];
    uint64_t rx_base = l->pair[0].check.frames;
    int64_t start = bench_now();
    int64_t end = start + seconds * 1e9;
    Watch w = {};
    unsigned turn;
    unsigned i;

    for (i = 0; i < l->o->pairs; i++) {
        tx_base[i] = l->pair[i].tx_posted;
        source_base[i] = l->pair[i].source.next;
    }
    for (turn = 0; ; turn++) {
        bool progress = false;

        for (i = 0; i < l->o->pairs; i++) {
            Pair *p = &l->pair[i];

            if (tx) {
                progress |= step_tx(l, p, start, tx_base[i]);
            }
            if (rx) {
                progress |= step_rx(l, p);
            }
            if (rx && l->o->source) {
                progress |= step_source(l, p, start, source_base[i]);
            }
        }
        if (l->sink >= 0) {
            progress |= look_at_sink(l) > 0;
        }
        watch(l, &w, progress || l->o->rate, "during the run");
        if (turn % 64 == 0) {
            bench_check_stop();
            check_received(l);
            if (bench_now() >= end) {
                break;
            }
        }
        if (packets && (tx ? l->pair[0].tx_posted - tx_base[0]
                           : l->pair[0].check.frames - rx_base) >= packets) {
            break;
        }
    }
}

typedef struct Snapshot {
    Usage data, all;
    uint64_t tx, rx, rx_bytes;
    int64_t when;
} Snapshot;

static void snapshot(Load *l, Snapshot *s)
{
    unsigned i;

    memset(s, 0, sizeof(*s));
    for (i = 0; i < l->o->pairs; i++) {
        s->tx += l->pair[i].tx_done;
        s->rx += l->pair[i].check.frames;
        s->rx_bytes += l->pair[i].rx_bytes;
    }
    threads_usage(&l->data_threads, &s->data);
    threads_usage(&l->all_threads, &s->all);
    s->when = bench_now();
}

static void count(Load *l, const Snapshot *from, const Snapshot *to)
{
    Result *r = &l->result;

    r->tx_packets += to->tx - from->tx;
    r->rx_packets += to->rx - from->rx;
    r->tx_bytes += (to->tx - from->tx) * l->o->shape.size;
    r->rx_bytes += to->rx_bytes - from->rx_bytes;
    usage_add(&r->data, &from->data, &to->data);
    usage_add(&r->all, &from->all, &to->all);
}

/* Is there a moment of rest at the end of a run? */
static bool can_rest(const Load *l)
{
    return !options_receives(l->o) || l->o->source ||
           l->o->expect == EXPECT_ECHO;
}

static void run_stream(Load *l)
{
    const Options *o = l->o;
    Snapshot from, to;
    int64_t end;

    stream(l, o->warmup, 0);
    if (can_rest(l)) {
        drain(l);
        bench_sleep(SETTLE_NS);
    }
    snapshot(l, &from);
    stream(l, o->packets ? 86400 : o->seconds, o->packets);
    if (can_rest(l)) {
        drain(l);
        end = bench_now();
        bench_sleep(SETTLE_NS);
        snapshot(l, &to);
    } else {
        snapshot(l, &to);
        end = to.when;
    }
    l->result.wall_ns = end - from.when;
    count(l, &from, &to);
}

/* Let the interface's queue fill while the guest has no buffers */
static void fill(Load *l, Pair *p)
{
    unsigned per_frame = l->o->mergeable ?
        DIV_ROUND_UP(l->dev.hdr_len + l->o->shape.size,
                     load_rx_buffer_size(l)) : 1;
    unsigned posted = (p->rx.nbuf - p->rx_nfree) / per_frame;
    uint64_t goal = p->source.next + l->o->fill + posted;
    uint64_t in_queue = l->o->fill;
    Watch w = {};

    while (p->source.next < goal) {
        /* No more than the queue can hold: a full one loses frames */
        uint64_t room = in_queue - (p->source.next - p->check.next);
        unsigned n = MIN(MIN(goal - p->source.next, room), HOST_BATCH);
        unsigned sent = n ? host_source_send(&p->source, n) : 0;

        /* The buffers that the device still has are used up meanwhile */
        load_reap_rx(l, p);
        watch(l, &w, sent, "filling the interface's queue");
    }
    while (p->source.next - p->check.next > in_queue) {
        watch(l, &w, load_reap_rx(l, p) > 0, "filling the interface's queue");
    }
}

static void fill_and_drain(Load *l, bool counted)
{
    Pair *p = &l->pair[0];
    Snapshot from, to;
    Watch w = {};
    int64_t end;

    fill(l, p);
    bench_sleep(SETTLE_NS);
    load_reap_rx(l, p);
    snapshot(l, &from);
    load_post_rx(l, p);
    while (p->check.next < p->source.next) {
        watch(l, &w, step_rx(l, p), "receiving");
    }
    end = bench_now();
    /* Leave the ring empty, so that the next frames stay outside */
    bench_sleep(SETTLE_NS);
    snapshot(l, &to);
    if (counted) {
        l->result.wall_ns += end - from.when;
        count(l, &from, &to);
    }
}

static void run_fill(Load *l)
{
    int64_t end = bench_now() + l->o->warmup * 1e9;

    drain(l);
    do {
        fill_and_drain(l, false);
    } while (bench_now() < end);
    end = bench_now() + l->o->seconds * 1e9;
    do {
        fill_and_drain(l, true);
        bench_check_stop();
    } while (bench_now() < end &&
             (!l->o->packets || l->result.rx_packets < l->o->packets));
}

static void run_idle(Load *l)
{
    Snapshot from, to;
    int64_t end;

    bench_sleep(l->o->warmup * 1e9);
    snapshot(l, &from);
    end = from.when + l->o->seconds * 1e9;
    while (bench_now() < end) {
        bench_sleep(MIN(end - bench_now(), 100000000));
        bench_check_stop();
    }
    snapshot(l, &to);
    l->result.wall_ns = to.when - from.when;
    count(l, &from, &to);
}

/* The first buffers go to a device that has frames already, as far as we can */
static void start_rx(Load *l, Pair *p)
{
    if (l->o->source) {
        host_source_send(&p->source, 4);
        bench_sleep(SETTLE_NS);
    }
    post_rx(l, p);
    notify_find_rx(&l->notify, p->index);
}

void load_run(Load *l)
{
    unsigned i;

    samples_init(&l->result.latency);
    samples_init(&l->result.back);
    for (i = 0; i < l->o->pairs; i++) {
        if (options_receives(l->o)) {
            start_rx(l, &l->pair[i]);
        } else if (l->o->mode == MODE_IDLE) {
            load_post_rx(l, &l->pair[i]);
        }
    }
    if (l->o->mode == MODE_IDLE) {
        run_idle(l);
    } else if (l->o->mode >= MODE_LATENCY_TX) {
        latency_run(l);
    } else if (l->o->fill) {
        run_fill(l);
    } else {
        run_stream(l);
    }
}

void load_check(Load *l)
{
    check_received(l);
    if (options_sends(l->o) && !l->result.tx_packets) {
        bench_fail("nothing was sent");
    }
    if (l->user >= 0) {
        host_user_check(l->user, &l->o->shape);
    }
    if (options_receives(l->o) && !l->result.rx_packets) {
        bench_fail("nothing was received");
    }
}
