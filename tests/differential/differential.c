/*
 * vhost-dp: differential test of the rings against QEMU's own virtio.c
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the driver does random things to two guests with the
 * same content.  A turn of the device is done by vhost-dp's rings on one and by
 * virtio.c on the other: chains, used elements, the rings in memory, calls,
 * wishes for kicks and the base that is handed over have to agree after each.
 * A hand-over may exchange the guests: then each goes on where the other was.
 *
 * What may differ, and how it is compared all the same:
 *
 * - A packed used descriptor has VIRTQ_DESC_F_WRITE if bytes were written
 *   (2.8.4); virtio.c never sets it.  The bit is masked, and checked in ours.
 * - virtio.c forgets at the end of a packed ring when it called last, and calls
 *   once more.  Ours has to be what the driver asked for; theirs has to call.
 * - With IN_ORDER vhost-dp writes one used element for what it used of a
 *   transmit queue (2.7.9, 2.8.8), virtio.c writes all: the driver takes both.
 * - With EVENT_IDX virtio.c moves a split ring's avail_event with each chain it
 *   takes, vhost-dp when it wants a kick.  They have to agree when both want
 *   one and there is nothing left to be seen; until then the driver may kick
 *   for one and not for the other.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"
#include "differential.h"

#define OPS_PER_ROUND   1000    /* about, then rings of another kind */

static const char *const counter_names[N_COUNTERS] = {
    "chains", "rewound", "turns out of order", "calls", "no calls",
    "calls of virtio.c only", "kicks", "no kicks", "found by looking again",
    "waiting for a kick", "hand-overs", "exchanges", "resets", "remaps",
    "broken", "wraps", "calls for an empty ring",
};

static uint64_t done;           /* operations of this case */
static uint64_t state;          /* of rnd() */
static Run run;

void rnd_seed(uint64_t s)
{
    /* Not zero, and neighbours do not look alike */
    state = (s + 1) * 0x9e3779b97f4a7c15ULL;
}

/* xorshift64* */
unsigned rnd(unsigned below)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return ((state * 0x2545f4914f6cdd1dULL) >> 32) * below >> 32;
}

void failed(const char *what, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    printf("not ok - %s\n"
           "# %s\n"
           "# operation %" PRIu64 ": %s, %s, %u entries, start 0x%x%s%s%s%s%s\n"
           "# repeat: vhost-dp-differential --format=%s --seed=%" PRIu64
           " --ops=%" PRIu64 " --verbose\n",
           what, text, done, options.format,
           run.c.writable ? "rx" : "tx", run.c.num,
           run.c.start, run.c.in_order ? ", IN_ORDER" : "",
           run.c.event_idx ? ", EVENT_IDX" : "",
           run.c.notify_on_empty ? ", NOTIFY_ON_EMPTY" : "",
           run.bad ? ", the driver broke a rule: " : "", run.bad ?: "",
           options.format, options.seed, done);
    fflush(NULL);
    /* Not exit(): QEMU's handlers expect a machine to take down */
    _exit(1);
}

static void G_GNUC_PRINTF(1, 2) note(const char *fmt, ...)
{
    va_list ap;

    if (options.verbose) {
        printf("# %" PRIu64 " ", done);
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        printf("\n");
    }
}

/* The device */

static uint64_t ours_features(Run *r)
{
    return 1ULL << VIRTIO_F_VERSION_1 |
           (r->c.packed ? 1ULL << VIRTIO_F_RING_PACKED : 0) |
           (r->c.event_idx ? 1ULL << VIRTIO_RING_F_EVENT_IDX : 0) |
           (r->c.in_order ? 1ULL << VIRTIO_F_IN_ORDER : 0) |
           (r->c.notify_on_empty ? 1ULL << VIRTIO_F_NOTIFY_ON_EMPTY : 0);
}

static void start(Run *r, uint32_t ours_base, uint32_t theirs_base)
{
    int ret;

    vhost_dp_memory_free(r->mem);
    r->mem = guest_table(&r->guest[r->ours_on]);
    /* Nothing but the base is handed over */
    memset(&r->vq, 0xee, sizeof(r->vq));
    vhost_dp_vring_init(&r->vq, r->c.writable);
    r->vq.num = r->c.num;
    r->vq.desc.gpa = DESC_GPA;
    r->vq.driver.gpa = AVAIL_GPA;
    r->vq.device.gpa = USED_GPA;
    vhost_dp_vring_set_base(&r->vq, ours_base);
    ret = vhost_dp_vring_start(&r->vq, r->mem, ours_features(r));
    expect(ret == 0, "start at base 0x%x: %d", ours_base, ret);

    r->theirs.guest = &r->guest[!r->ours_on];
    theirs_start(&r->theirs, theirs_base);

    r->seen = ours_base;
    r->notify = true;
    r->armed = false;
    r->decided = false;
    r->undecided = 0;
    check_memory(r);
}

/* Who runs the queue next expects kicks: a stop leaves the wish for them */
static void check_wants_kicks(Run *r)
{
    virtio_queue_set_notification(r->theirs.vq, 1);
    if (!r->c.packed && r->c.event_idx) {
        uint16_t event = lduw_le_p(ours_ptr(r, USED_GPA + 4 + r->c.num * 8));

        expect(event == r->seen, "stopped: avail_event 0x%x, seen 0x%x", event,
               r->seen);
    }
    check_rings(r);
}

/* Both stop, and one goes on where the other was; or where it was itself */
static void op_hand_over(Run *r)
{
    bool exchange = chance(2);
    uint32_t ours, theirs;

    note("hand over%s", exchange ? ", exchange" : "");
    vhost_dp_vring_stop(&r->vq);
    check_wants_kicks(r);
    ours = vhost_dp_vring_get_base(&r->vq);
    theirs = theirs_stop(&r->theirs);
    expect(ours == theirs, "base 0x%x, and 0x%x", ours, theirs);
    r->ours_on ^= exchange;
    r->counters[exchange ? N_EXCHANGES : N_HAND_OVERS]++;
    start(r, exchange ? theirs : ours, exchange ? ours : theirs);
}

/* New rings: after a reset of the device, or of the queue (2.6.1) */
static void restart(Run *r, bool device)
{
    uint32_t base = r->c.start;

    vhost_dp_vring_stop(&r->vq);
    theirs_reset(&r->theirs, &r->c, device);
    driver_init(&r->driver, &r->c);
    r->bad = NULL;
    if (r->c.packed) {
        base |= base << 16;
    }
    start(r, base, base);
}

/* A queue that has run before, often one whose indices wrap soon */
static void random_start(Config *c)
{
    if (c->packed) {
        c->start = rnd(c->num) | (chance(2) ? PLACE_WRAP : 0);
    } else {
        c->start = chance(2) ? rnd(65536) : 65535 - rnd(3 * c->num);
    }
}

static void op_reset(Run *r)
{
    /* Theirs is broken until the device is reset, ours until the queue is */
    bool device = r->bad || chance(2);

    note("reset %s", device ? "device" : "queue");
    r->counters[N_RESETS]++;
    if (chance(2)) {
        r->c.start = r->c.packed ? PLACE_WRAP : 0;
    } else {
        random_start(&r->c);
    }
    restart(r, device);
}

static void new_round(Run *r)
{
    static const unsigned split[] = { 1, 2, 4, 8, 16, 32, 64, 256, 1024 };
    static const unsigned packed[] = { 1, 2, 3, 5, 8, 13, 32, 100, 256, 1024 };

    r->c.writable = chance(2);
    r->c.notify_on_empty = chance(2);
    if (r->c.packed) {
        r->c.num = packed[rnd(ARRAY_SIZE(packed))];
    } else {
        r->c.num = split[rnd(ARRAY_SIZE(split))];
    }
    random_start(&r->c);
    note("new rings: %s, %u entries, start 0x%x",
         r->c.writable ? "rx" : "tx", r->c.num, r->c.start);
    restart(r, true);
}

static void op_remap(Run *r)
{
    VhostDPMemory *mem = guest_table(&r->guest[r->ours_on]);

    note("remap");
    vhost_dp_vring_remap(&r->vq, mem);
    vhost_dp_memory_free(r->mem);
    r->mem = mem;
    virtio_init_region_cache(r->theirs.vdev, 0);
    r->counters[N_REMAPS]++;
}

static void op_disable_notify(Run *r)
{
    note("no kicks");
    vhost_dp_vring_disable_notify(&r->vq);
    virtio_queue_set_notification(r->theirs.vq, 0);
    r->notify = false;
    r->armed = false;
    check_rings(r);
}

static void op_enable_notify(Run *r)
{
    bool ours = vhost_dp_vring_enable_notify(&r->vq);
    /* As virtio-net does for receive: with what it has seen */
    bool theirs = virtio_queue_enable_notification_and_check(
        r->theirs.vq, r->c.packed ? r->seen & ~PLACE_WRAP : r->seen);

    note("kicks; more %d", ours);
    expect(ours == theirs, "more: %d, and %d", ours, theirs);
    expect(ours == (r->driver.published != r->seen),
           "more: %d, seen 0x%x of 0x%x", ours, r->seen,
           r->driver.published);
    if (!r->c.packed && r->c.event_idx) {
        uint64_t gpa = USED_GPA + 4 + r->c.num * 8;
        uint16_t event = lduw_le_p(ours_ptr(r, gpa));

        expect(event == r->seen, "avail_event 0x%x, seen 0x%x", event,
               r->seen);
        if (!ours) {
            check_same(r, "avail_event", gpa, 2);
        }
    }
    r->notify = true;
    r->armed = !ours;
    r->counters[ours ? N_MORE : N_ARMED]++;
    check_rings(r);
}

/* Their device has broken, too, and at the same chain */
static void check_broken(Run *r)
{
    VirtQueueElement *elem = theirs_pop(&r->theirs);

    note("broken by %s", r->bad);
    expect(r->bad, "a violation, %s, of nobody",
           VhostDPViolation_str(r->vq.violation));
    expect(violations(r) == 1, "%" PRIu64 " violations", violations(r));
    if (elem) {
        /* virtio-net, not virtio.c, wants buffers of its direction */
        expect(!(r->c.writable ? elem->in_num : elem->out_num),
               "%s: only ours is broken", r->bad);
        theirs_drop(&r->theirs, elem);
    } else {
        expect(r->theirs.vdev->broken, "%s: only ours is broken", r->bad);
    }
    r->counters[N_BROKEN]++;
}

/* Take chains; returns their number.  0 with @burst full does not happen. */
static unsigned pop(Run *r)
{
    unsigned max = 1 + rnd(chance(4) ? VHOST_DP_VRING_BURST : 8);
    uint32_t max_bytes = chance(8) ? 1 + rnd(2000) : UINT32_MAX;
    unsigned n = vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, max, max_bytes);
    uint64_t bytes = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        expect(bytes < max_bytes, "%u chains of %u bytes", n, max_bytes);
        r->elem[i] = theirs_pop(&r->theirs);
        expect(r->elem[i], "chain %u of %u: virtio.c has none", i, n);
        check_chain(r, &r->burst.chain[i], r->elem[i]);
        bytes += r->burst.chain[i].len;
    }
    expect(n <= max, "%u chains, at most %u", n, max);
    r->counters[N_CHAINS] += n;
    if (r->vq.broken) {
        check_broken(r);
        return n;
    }
    if (n < max && bytes < max_bytes && !r->burst.full) {
        VirtQueueElement *elem = theirs_pop(&r->theirs);

        expect(!elem && !r->theirs.vdev->broken,
               "%u chains: virtio.c has another, or broke", n);
    }
    expect(n || !r->burst.full, "no chain, and no room");
    r->seen = r->c.packed ? vhost_dp_vring_get_base(&r->vq)
                          : r->driver.published;
    r->armed = false;
    return n;
}

/* Fill the buffers of chain @i of both; returns the used length */
static uint32_t write_chain(Run *r, unsigned i)
{
    VhostDPChain *chain = &r->burst.chain[i];
    uint32_t len = !r->c.writable || chance(8) ? 0 :
                   chance(8) ? chain->len : rnd(chain->len + 1);
    uint32_t left = len;
    unsigned j;

    for (j = 0; left; j++) {
        size_t part = MIN(left, chain->iov[j].iov_len);
        int byte = rnd(256);

        memset(chain->iov[j].iov_base, byte, part);
        vhost_dp_memory_dirty(chain->region[j], chain->iov[j].iov_base, part);
        memset(r->elem[i]->in_sg[j].iov_base, byte, part);
        left -= part;
    }
    return len;
}

/* Ours has VIRTQ_DESC_F_WRITE exactly if bytes were written (2.8.4) */
static void check_write_flag(Run *r, uint16_t place, uint32_t len)
{
    const struct vring_packed_desc *a = ours_ptr(r, DESC_GPA);
    const struct vring_packed_desc *b = theirs_ptr(r, DESC_GPA);
    unsigned i = place & ~PLACE_WRAP;

    expect(!(a[i].flags & VRING_DESC_F_WRITE) == !len &&
           !(b[i].flags & VRING_DESC_F_WRITE),
           "used descriptor %u, length %u: flags 0x%x, and 0x%x", i, len,
           a[i].flags, b[i].flags);
}

/* Section 6.3: VIRTIO_F_NOTIFY_ON_EMPTY calls for that alone */
static bool call_for_empty(Run *r, uint16_t now)
{
    return !r->c.packed && r->c.notify_on_empty && r->driver.published == now;
}

static void check_call(Run *r, bool ours, bool theirs, uint16_t before,
                       uint16_t after, unsigned count)
{
    bool wraps = r->c.packed && (before ^ after) & PLACE_WRAP;
    bool wanted;

    r->undecided += count;
    if (call_for_empty(r, after)) {
        /* Such a call says nothing about the driver's wishes */
        wanted = true;
        r->counters[N_EMPTY_CALLS]++;
    } else {
        wanted = driver_wants_call(&r->driver, r->decided, r->undecided,
                                   after);
        r->undecided = 0;
        r->decided = true;
    }
    expect(ours == wanted, "call: %d, the driver wants %d", ours, wanted);
    if (ours != theirs) {
        expect(wraps && r->c.event_idx && theirs, "call: %d, and %d", ours,
               theirs);
        r->counters[N_EXTRA_CALLS]++;
    }
    r->counters[ours ? N_CALLS : N_NO_CALLS]++;
    r->counters[N_WRAPS] += wraps || (!r->c.packed && after < before);
}

static uint16_t used_place(Run *r)
{
    return r->c.packed ? vhost_dp_vring_get_base(&r->vq) >> 16
                       : lduw_le_p(ours_ptr(r, USED_GPA + 2));
}

/* Give chains order[0 .. n-1] back, and make that visible */
static void use(Run *r, const unsigned *order, unsigned n)
{
    uint16_t before = used_place(r);
    uint16_t place = before;
    uint32_t len[VHOST_DP_VRING_BURST];
    unsigned count = 0;
    bool ours, theirs;
    unsigned i;

    for (i = 0; i < n; i++) {
        VhostDPChain *chain = &r->burst.chain[order[i]];
        VirtQueueElement *elem = r->elem[order[i]];
        Outstanding *o = &r->driver.out[chain->id];

        len[i] = write_chain(r, order[i]);
        o->used = true;
        o->used_len = len[i];
        vhost_dp_vring_push(&r->vq, chain, len[i]);
        virtqueue_fill(r->theirs.vq, elem, len[i], i);
        g_free(elem);
        count += r->c.packed ? chain->ndescs : 1;
    }
    ours = vhost_dp_vring_flush(&r->vq);
    theirs = theirs_flush(&r->theirs, n);
    if (r->c.packed) {
        for (i = 0; i < n; i++) {
            if (i == 0 || !batches(r)) {
                check_write_flag(r, place, len[i]);
            }
            place = place_after(&r->c, place,
                                r->burst.chain[order[i]].ndescs);
        }
    } else {
        place += n;
    }
    expect(used_place(r) == place, "used 0x%x, not 0x%x", used_place(r),
           place);
    check_call(r, ours, theirs, before, place, count);
    check_rings(r);
}

static void op_turn(Run *r)
{
    unsigned order[VHOST_DP_VRING_BURST];
    unsigned n = pop(r);
    unsigned keep, first, i;

    note("turn: %u chains", n);
    if (r->vq.broken) {
        for (i = 0; i < n; i++) {
            theirs_drop(&r->theirs, r->elem[i]);
        }
        op_reset(r);
        return;
    }
    keep = chance(4) ? rnd(n + 1) : n;
    vhost_dp_vring_rewind(&r->vq, &r->burst, n - keep);
    theirs_rewind(&r->theirs, r->elem + keep, n - keep);
    r->counters[N_REWOUND] += n - keep;
    if (!keep) {
        return;
    }

    for (i = 0; i < keep; i++) {
        order[i] = i;
    }
    if (keep > 1 && !r->c.in_order && chance(4)) {
        for (i = keep - 1; i > 0; i--) {
            unsigned j = rnd(i + 1);
            unsigned t = order[i];

            order[i] = order[j];
            order[j] = t;
        }
        r->counters[N_DISORDER]++;
    }
    first = chance(4) ? 1 + rnd(keep) : keep;
    use(r, order, first);
    if (first < keep) {
        use(r, order + first, keep - first);
    }
}

/* The driver */

static void op_publish(Run *r)
{
    bool kick[2];

    if (!driver_publish(&r->driver, kick)) {
        return;
    }
    note("publish up to 0x%x: kick %d, and %d", r->driver.published,
         kick[r->ours_on], kick[!r->ours_on]);
    if (r->armed) {
        expect(kick[0] && kick[1], "no kick for who waits: %d, and %d",
               kick[r->ours_on], kick[!r->ours_on]);
    } else if (r->c.packed || !r->c.event_idx) {
        expect(kick[0] == kick[1], "kick %d, and %d", kick[r->ours_on],
               kick[!r->ours_on]);
        expect(!kick[0] || r->notify, "a kick that nobody wants");
    }
    r->armed = false;
    r->counters[kick[r->ours_on] ? N_KICKS : N_NO_KICKS]++;
}

static void op_add(Run *r)
{
    unsigned n = 1 + rnd(chance(8) ? r->c.num : 4);

    if (r->bad) {
        return;
    }
    note("add %u", n);
    while (n && driver_add(&r->driver)) {
        n--;
    }
    if (chance(2)) {
        op_publish(r);
    }
}

static void op_bad(Run *r)
{
    if (!r->bad) {
        r->bad = driver_add_bad(&r->driver);
        if (r->bad) {
            note("bad: %s", r->bad);
            op_publish(r);
        }
    }
}

static void op_take_used(Run *r)
{
    unsigned n = chance(2) ? UINT_MAX : 1 + rnd(8);
    unsigned i = 0;

    while (i < n && driver_take_used(&r->driver)) {
        i++;
    }
    note("take %u used", i);
}

static void op_set_event(Run *r)
{
    note("event");
    driver_set_event(&r->driver);
}

static const struct {
    unsigned weight;
    void (*op)(Run *r);
} table[] = {
    { 300, op_turn }, { 250, op_add }, { 100, op_publish },
    { 150, op_take_used }, { 60, op_set_event }, { 60, op_enable_notify },
    { 40, op_disable_notify }, { 20, op_hand_over }, { 8, op_remap },
    { 4, op_bad }, { 2, op_reset },
};

static void (*pick_op(void))(Run *r)
{
    unsigned sum = 0;
    unsigned i, x;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        sum += table[i].weight;
    }
    x = rnd(sum);
    for (i = 0; x >= table[i].weight; i++) {
        x -= table[i].weight;
    }
    return table[i].op;
}

/* Can it happen in this case? */
static bool can_happen(const Config *c, unsigned counter)
{
    switch (counter) {
    case N_EXTRA_CALLS:
        return c->packed && c->event_idx;
    case N_DISORDER:
        return !c->in_order;
    case N_EMPTY_CALLS:
        return !c->packed;
    default:
        return true;
    }
}

static void run_case(Run *r, unsigned number)
{
    unsigned i;

    r->c.event_idx = number & 1;
    r->c.in_order = number & 2;
    memset(r->counters, 0, sizeof(r->counters));
    rnd_seed(options.seed ^ (uint64_t)(number << 1 | r->c.packed) << 32);
    new_round(r);
    for (done = 1; done <= options.ops; done++) {
        pick_op()(r);
        if (chance(OPS_PER_ROUND)) {
            check_memory(r);
            new_round(r);
            /* Let the RCU thread, which needs the BQL, free old mappings */
            bql_unlock();
            bql_lock();
        }
    }
    check_memory(r);
    for (i = 0; i < N_COUNTERS; i++) {
        printf("# %s: %" PRIu64 "\n", counter_names[i], r->counters[i]);
        /* A long run has everything in it, or it shows nothing */
        expect(r->counters[i] || !can_happen(&r->c, i) ||
               options.ops < OPS_PER_CASE,
               "never happened: %s", counter_names[i]);
    }
}

int main(int argc, char **argv)
{
    /* Numbered by features: see run_case() */
    static const char *const names[] = {
        "flags", "event-idx", "in-order/flags", "in-order/event-idx"
    };
    unsigned i;

    options_parse(argc, argv);
    run.c.packed = !strcmp(options.format, "packed");
    start_qemu(argv[0]);
    guest_init(&run.guest[0], "guest0");
    guest_init(&run.guest[1], "guest1");
    theirs_init(&run.theirs);
    run.driver.guest[0] = &run.guest[0];
    run.driver.guest[1] = &run.guest[1];

    printf("TAP version 13\n1..%zu\n# seed %" PRIu64 ", %" PRIu64
           " operations each\n", ARRAY_SIZE(names), options.seed,
           options.ops);
    for (i = 0; i < ARRAY_SIZE(names); i++) {
        run_case(&run, i);
        printf("ok %u - /vhost-dp/differential/%s/%s\n", i + 1,
               options.format, names[i]);
        fflush(stdout);
    }
    _exit(0);
}
