/*
 * vhost-dp-throttle: limits of bits and packets per second
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a filter, with a leaky bucket (qemu/throttle.h) for the
 * bits and one for the packets of each direction.  A frame that passes raises
 * the levels; while a bucket is full nothing passes.  Nothing is lost either:
 * what the guest sends waits in its ring, as if the interface were full, and
 * what comes in waits in the driver below, whose reception is disabled.  A
 * timer ends the wait.
 *
 * What counts is what goes over a wire: the segments of a GSO frame, each with
 * its headers.
 *
 * The pairs of a netdev share the buckets, unless per-queue=on; so do filters
 * of other netdevs that name this one with group=.  The buckets' lock is a
 * leaf, held for some arithmetic.  A received frame can be longer than what is
 * left of a limit: the debt is paid by waiting longer afterwards.
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qemu/throttle.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp/filter.h"

#define TYPE_VHOST_DP_THROTTLE "vhost-dp-throttle"
OBJECT_DECLARE_SIMPLE_TYPE(VhostDPThrottle, VHOST_DP_THROTTLE)

/* A limit may be raised during a wait: look again so often */
#define THROTTLE_MAX_WAIT_NS (20 * SCALE_MS)

/* Received frames that are let in by what is left of a limit are so long */
#define THROTTLE_RX_BITS (8 * 1514)

/* Shorter headers than those of UDP over IPv4 were not told by the host */
#define THROTTLE_MIN_HEADERS 42
#define THROTTLE_USUAL_HEADERS 66

#define THROTTLE_MAX_LENGTH 3600

enum { THROTTLE_TX, THROTTLE_RX, THROTTLE_DIRECTIONS };
enum { THROTTLE_BITS, THROTTLE_PACKETS, THROTTLE_KINDS };

/* What a frame is on the wire, by kind */
typedef struct ThrottleUnits {
    uint64_t n[THROTTLE_KINDS];
} ThrottleUnits;

/* The buckets that some queue pairs share */
typedef struct ThrottleBuckets {
    unsigned refs;              /* BQL */
    bool limited[THROTTLE_DIRECTIONS];      /* atomic: there is a limit */

    QemuMutex lock;             /* a leaf; guards what follows */
    LeakyBucket bucket[THROTTLE_DIRECTIONS][THROTTLE_KINDS];
    int64_t leaked_at[THROTTLE_DIRECTIONS]; /* ns, QEMU_CLOCK_REALTIME */
} ThrottleBuckets;

typedef struct ThrottleQueue {
    VhostDPFilterQueue parent;
    ThrottleBuckets *limits;     /* with a reference, from open to close */

    /* The IOThread's own */
    QEMUTimer timer[THROTTLE_DIRECTIONS];
    bool rx_wanted;             /* the port above enabled reception */
    bool rx_held;               /* reception waits for the timer */
    bool rx_owed;               /* READY_RX is due when rx_held ends */
    bool rx_enabled;            /* last call of the inner rx_enable */
    uint64_t waits[THROTTLE_DIRECTIONS];    /* read by others with atomics */
} ThrottleQueue;

/* A limit, as the user wrote it */
typedef struct ThrottleOption {
    char *avg;
    char *max;
    uint32_t length;
} ThrottleOption;

struct VhostDPThrottle {
    VhostDPFilter parent_obj;

    /* Options; BQL */
    ThrottleOption option[THROTTLE_DIRECTIONS][THROTTLE_KINDS];
    char *group;
    bool per_queue;

    ThrottleBuckets *limits;     /* of the options, with a reference */
};

static ThrottleQueue *throttle_queue(VhostDPDriver *drv, unsigned pair)
{
    return container_of(vhost_dp_filter_queue(drv, pair), ThrottleQueue,
                        parent);
}

/* ---- Limits ---- */

static ThrottleBuckets *limits_new(void)
{
    ThrottleBuckets *limits = g_new0(ThrottleBuckets, 1);

    limits->refs = 1;
    qemu_mutex_init(&limits->lock);
    return limits;
}

static ThrottleBuckets *limits_ref(ThrottleBuckets *limits)
{
    limits->refs++;
    return limits;
}

static void limits_unref(ThrottleBuckets *limits)
{
    if (--limits->refs == 0) {
        qemu_mutex_destroy(&limits->lock);
        g_free(limits);
    }
}

/* Lock held.  Returns for how many ns nothing may pass, or 0. */
static int64_t limits_wait(ThrottleBuckets *limits, unsigned direction)
{
    LeakyBucket *bucket = limits->bucket[direction];

    return MAX(throttle_compute_wait(&bucket[THROTTLE_BITS]),
               throttle_compute_wait(&bucket[THROTTLE_PACKETS]));
}

/* Lock held */
static void limits_leak(ThrottleBuckets *limits, unsigned direction)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    int64_t delta = now - limits->leaked_at[direction];
    unsigned i;

    limits->leaked_at[direction] = now;
    if (delta > 0) {
        for (i = 0; i < THROTTLE_KINDS; i++) {
            throttle_leak_bucket(&limits->bucket[direction][i], delta);
        }
    }
}

/* Lock held */
static void limits_add(ThrottleBuckets *limits, unsigned direction,
                       const ThrottleUnits *units, int sign)
{
    unsigned i;

    for (i = 0; i < THROTTLE_KINDS; i++) {
        LeakyBucket *bucket = &limits->bucket[direction][i];

        bucket->level = MAX(bucket->level + sign * (double)units->n[i], 0);
        bucket->burst_level = MAX(bucket->burst_level +
                                  sign * (double)units->n[i], 0);
    }
}

/* Buckets whose limit changes are empty afterwards */
static void limits_configure(ThrottleBuckets *limits,
                             LeakyBucket (*bucket)[THROTTLE_KINDS])
{
    unsigned i, j;

    QEMU_LOCK_GUARD(&limits->lock);
    for (i = 0; i < THROTTLE_DIRECTIONS; i++) {
        limits_leak(limits, i);
        for (j = 0; j < THROTTLE_KINDS; j++) {
            LeakyBucket *old = &limits->bucket[i][j];

            if (old->avg != bucket[i][j].avg || old->max != bucket[i][j].max ||
                old->burst_length != bucket[i][j].burst_length) {
                *old = bucket[i][j];
            }
        }
        qatomic_set(&limits->limited[i], bucket[i][THROTTLE_BITS].avg ||
                                         bucket[i][THROTTLE_PACKETS].avg);
    }
}

/* What is left of a limit at once; the level is not above it */
static double bucket_room(const LeakyBucket *bucket)
{
    double room;

    if (!bucket->avg) {
        return VHOST_DP_BURST_FRAMES * (double)THROTTLE_RX_BITS;
    }
    room = (bucket->max ? bucket->max * (double)bucket->burst_length :
            bucket->avg / 10.0) - bucket->level;
    if (bucket->burst_length > 1) {
        room = MIN(room, bucket->max / 10.0 - bucket->burst_level);
    }
    return MAX(room, 0);
}

/* ---- Frames ---- */

static ThrottleUnits throttle_units(const VhostDPFrame *frame)
{
    ThrottleUnits units;
    uint64_t headers, segments;

    if (likely(!frame->gso_type || !frame->gso_size)) {
        return (ThrottleUnits) { .n = { frame->len * 8ULL, 1 } };
    }
    headers = frame->hdr_len >= THROTTLE_MIN_HEADERS ? frame->hdr_len :
              THROTTLE_USUAL_HEADERS;
    headers = MIN(headers, frame->len);
    segments = MAX(1, DIV_ROUND_UP(frame->len - headers, frame->gso_size));
    units.n[THROTTLE_PACKETS] = segments;
    units.n[THROTTLE_BITS] = 8 * (frame->len + (segments - 1) * headers);
    return units;
}

/* Be called again when something may pass */
static void throttle_wait(ThrottleQueue *q, unsigned direction, int64_t wait)
{
    timer_mod(&q->timer[direction],
              qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
              MIN(wait, THROTTLE_MAX_WAIT_NS) + 1);
    qatomic_set(&q->waits[direction], q->waits[direction] + 1);
}

static void throttle_tx_timer(void *opaque)
{
    ThrottleQueue *q = opaque;

    vhost_dp_port_ready(q->parent.above, VHOST_DP_READY_TX);
}

static unsigned throttle_tx_burst(VhostDPDriver *drv, unsigned pair,
                                  VhostDPFrame *frames, unsigned n)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);
    ThrottleQueue *q = throttle_queue(drv, pair);
    ThrottleBuckets *limits = q->limits;
    ThrottleUnits units[VHOST_DP_BURST_FRAMES];
    unsigned pass = 0;
    unsigned taken = 0;
    int64_t wait = 0;

    if (!qatomic_read(&limits->limited[THROTTLE_TX])) {
        return f->inner_dc->tx_burst(f->inner, pair, frames, n);
    }
    WITH_QEMU_LOCK_GUARD(&limits->lock) {
        limits_leak(limits, THROTTLE_TX);
        while (pass < n && !(wait = limits_wait(limits, THROTTLE_TX))) {
            units[pass] = throttle_units(&frames[pass]);
            limits_add(limits, THROTTLE_TX, &units[pass], 1);
            pass++;
        }
    }
    if (pass) {
        taken = f->inner_dc->tx_burst(f->inner, pair, frames, pass);
    }
    if (unlikely(taken < pass)) {
        /* The driver below says when it has room */
        QEMU_LOCK_GUARD(&limits->lock);
        while (pass > taken) {
            limits_add(limits, THROTTLE_TX, &units[--pass], -1);
        }
    } else if (pass < n) {
        throttle_wait(q, THROTTLE_TX, wait);
    }
    return taken;
}

/* Tell the driver below what is wanted of it */
static void throttle_rx_update(ThrottleQueue *q)
{
    VhostDPFilter *f = q->parent.filter;
    bool enable = q->rx_wanted && !q->rx_held;

    if (enable == q->rx_enabled) {
        return;
    }
    q->rx_enabled = enable;
    f->inner_dc->rx_enable(f->inner, q->parent.pair, enable);
    if (enable && q->rx_owed) {
        /* Frames that the driver below has read ahead make no event */
        q->rx_owed = false;
        vhost_dp_port_ready(q->parent.above, VHOST_DP_READY_RX);
    }
}

static void throttle_rx_timer(void *opaque)
{
    ThrottleQueue *q = opaque;

    q->rx_held = false;
    throttle_rx_update(q);
}

static void throttle_rx_enable(VhostDPDriver *drv, unsigned pair, bool enable)
{
    ThrottleQueue *q = throttle_queue(drv, pair);

    q->rx_wanted = enable;
    throttle_rx_update(q);
}

/* Returns how many frames may come in, of @n; if none, the timer is set */
static unsigned throttle_rx_room(ThrottleQueue *q, unsigned n)
{
    ThrottleBuckets *limits = q->limits;
    int64_t wait;

    if (q->rx_held) {
        q->rx_owed = true;
        return 0;
    }
    WITH_QEMU_LOCK_GUARD(&limits->lock) {
        const LeakyBucket *bucket = limits->bucket[THROTTLE_RX];

        limits_leak(limits, THROTTLE_RX);
        wait = limits_wait(limits, THROTTLE_RX);
        if (!wait) {
            double frames = MIN(bucket_room(&bucket[THROTTLE_BITS]) /
                                THROTTLE_RX_BITS,
                                bucket_room(&bucket[THROTTLE_PACKETS]));

            return frames < n ? MAX(1, (unsigned)frames) : n;
        }
    }
    q->rx_held = true;
    q->rx_owed = true;
    throttle_rx_update(q);
    throttle_wait(q, THROTTLE_RX, wait);
    return 0;
}

static void throttle_rx_count(ThrottleQueue *q, const VhostDPFrame *frames,
                              unsigned n)
{
    unsigned i;

    QEMU_LOCK_GUARD(&q->limits->lock);
    for (i = 0; i < n; i++) {
        ThrottleUnits units = throttle_units(&frames[i]);

        limits_add(q->limits, THROTTLE_RX, &units, 1);
    }
}

static unsigned throttle_rx_burst(VhostDPDriver *drv, unsigned pair,
                                  VhostDPFrame *frames, unsigned n)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);
    ThrottleQueue *q = throttle_queue(drv, pair);
    bool limited = qatomic_read(&q->limits->limited[THROTTLE_RX]);

    /* A limit may have been taken away while it held frames back */
    if (limited || q->rx_held) {
        n = throttle_rx_room(q, n);
    }
    if (n) {
        n = f->inner_dc->rx_burst(f->inner, pair, frames, n);
    }
    if (limited && n) {
        throttle_rx_count(q, frames, n);
    }
    return n;
}

static int throttle_rx_into(VhostDPDriver *drv, unsigned pair,
                            VhostDPFrame *frame, uint8_t *head,
                            const struct iovec *iov, unsigned iovcnt)
{
    VhostDPFilter *f = VHOST_DP_FILTER(drv);
    ThrottleQueue *q = throttle_queue(drv, pair);
    bool limited = qatomic_read(&q->limits->limited[THROTTLE_RX]);
    int r;

    if ((limited || q->rx_held) && !throttle_rx_room(q, 1)) {
        return 0;
    }
    r = f->inner_dc->rx_into(f->inner, pair, frame, head, iov, iovcnt);
    if (limited && r > 0) {
        throttle_rx_count(q, frame, 1);
    }
    return r;
}

static bool throttle_attach(VhostDPDriver *drv, unsigned pair,
                            VhostDPPort *port, AioContext *ctx, Error **errp)
{
    ThrottleQueue *q = throttle_queue(drv, pair);

    q->rx_wanted = false;
    q->rx_held = false;
    q->rx_owed = false;
    q->rx_enabled = false;
    aio_timer_init(ctx, &q->timer[THROTTLE_TX], QEMU_CLOCK_REALTIME, SCALE_NS,
                   throttle_tx_timer, q);
    aio_timer_init(ctx, &q->timer[THROTTLE_RX], QEMU_CLOCK_REALTIME, SCALE_NS,
                   throttle_rx_timer, q);
    return vhost_dp_filter_attach(drv, pair, port, ctx, errp);
}

static void throttle_detach(VhostDPDriver *drv, unsigned pair)
{
    ThrottleQueue *q = throttle_queue(drv, pair);
    unsigned i;

    for (i = 0; i < THROTTLE_DIRECTIONS; i++) {
        timer_del(&q->timer[i]);
    }
    vhost_dp_filter_detach(drv, pair);
}

/* ---- Options ---- */

static const char *const option_names[THROTTLE_DIRECTIONS][THROTTLE_KINDS] = {
    [THROTTLE_TX] = { "tx-bps", "tx-pps" },
    [THROTTLE_RX] = { "rx-bps", "rx-pps" },
};

/* The id of the group, or NULL.  A property set to "" has no value. */
static const char *throttle_group(const VhostDPThrottle *t)
{
    return t->group && *t->group ? t->group : NULL;
}

/* "200k" is 200000; NULL and "0" are no limit */
static bool throttle_parse(const char *name, const char *suffix,
                           const char *text, uint64_t *value, Error **errp)
{
    ERRP_GUARD();

    *value = 0;
    if (!text) {
        return true;
    }
    if (qemu_strtosz_metric(text, NULL, value) < 0 ||
        *value > THROTTLE_VALUE_MAX) {
        error_setg(errp, "%s%s=%s is not a rate: a number from 0 to %lld is "
                   "needed, for one second", name, suffix, text,
                   THROTTLE_VALUE_MAX);
        error_append_hint(errp, "Suffixes are powers of 1000: 200k, 1.5M, "
                          "10G.  0 is no limit.\n");
        return false;
    }
    return true;
}

static bool throttle_parse_limit(const ThrottleOption *option,
                                 const char *name, LeakyBucket *bucket,
                                 Error **errp)
{
    ERRP_GUARD();

    *bucket = (LeakyBucket) { .burst_length = option->length };
    if (!throttle_parse(name, "", option->avg, &bucket->avg, errp) ||
        !throttle_parse(name, "-max", option->max, &bucket->max, errp)) {
        return false;
    }
    if (bucket->max && bucket->max < bucket->avg) {
        error_setg(errp, "%s-max=%s is less than %s=%s", name, option->max,
                   name, option->avg);
        return false;
    }
    if (bucket->max && !bucket->avg) {
        error_setg(errp, "%s-max=%s is about bursts: it needs %s=", name,
                   option->max, name);
        return false;
    }
    if (option->length < 1 || option->length > THROTTLE_MAX_LENGTH) {
        error_setg(errp, "%s-max-length=%u is out of range: 1 to %d seconds",
                   name, option->length, THROTTLE_MAX_LENGTH);
        return false;
    }
    if (option->length > 1 && !bucket->max) {
        error_setg(errp, "%s-max-length=%u is about bursts: it needs %s-max=",
                   name, option->length, name);
        return false;
    }
    return true;
}

/* Also whether they fit each other */
static bool throttle_parse_all(const VhostDPThrottle *t,
                               LeakyBucket (*bucket)[THROTTLE_KINDS],
                               Error **errp)
{
    ERRP_GUARD();
    unsigned i, j;

    for (i = 0; i < THROTTLE_DIRECTIONS; i++) {
        for (j = 0; j < THROTTLE_KINDS; j++) {
            if (!throttle_parse_limit(&t->option[i][j], option_names[i][j],
                                      &bucket[i][j], errp)) {
                return false;
            }
            if (throttle_group(t) && bucket[i][j].avg) {
                error_setg(errp, "%s= and group=%s exclude each other",
                           option_names[i][j], t->group);
                error_append_hint(errp, "The limits of '%s' count for the "
                                  "whole group: set them there.\n", t->group);
                return false;
            }
        }
    }
    return true;
}

static bool throttle_check_options(VhostDPDriver *drv, Error **errp)
{
    VhostDPThrottle *t = VHOST_DP_THROTTLE(drv);
    LeakyBucket bucket[THROTTLE_DIRECTIONS][THROTTLE_KINDS];

    if (!vhost_dp_filter_check_options(drv, errp)) {
        return false;
    }
    if (throttle_group(t) && t->per_queue) {
        error_setg(errp, "per-queue=on and group=%s exclude each other",
                   t->group);
        return false;
    }
    return throttle_parse_all(t, bucket, errp);
}

/*
 * A limit was set.  While the object is made, or nobody uses the driver, it may
 * not fit the others yet.
 */
static void throttle_changed(VhostDPDriver *drv)
{
    VhostDPThrottle *t = VHOST_DP_THROTTLE(drv);
    LeakyBucket bucket[THROTTLE_DIRECTIONS][THROTTLE_KINDS];
    unsigned i;

    if (!throttle_parse_all(t, bucket, NULL)) {
        return;
    }
    limits_configure(t->limits, bucket);
    for (i = 0; t->per_queue && i < VHOST_DP_FILTER(drv)->nqueues; i++) {
        limits_configure(throttle_queue(drv, i)->limits, bucket);
    }
}

#define THROTTLE_OPTIONS(_name, _direction, _kind, _what, _unit) \
    VHOST_DP_OPTION(_name, STR, VhostDPThrottle, \
        option[_direction][_kind].avg, \
        "limit of " _what ", " _unit " per second; k, M and G are powers of " \
        "1000 (default: 0, no limit)", \
        .changed = throttle_changed, .live = true), \
    VHOST_DP_OPTION(_name "-max", STR, VhostDPThrottle, \
        option[_direction][_kind].max, \
        "the same during bursts (default: 0, none but those of 100 ms)", \
        .changed = throttle_changed, .live = true), \
    VHOST_DP_OPTION(_name "-max-length", UINT32, VhostDPThrottle, \
        option[_direction][_kind].length, \
        "how long a burst may last, in seconds (default: 1)", \
        .changed = throttle_changed, .live = true)

static const VhostDPOption throttle_options[] = {
    THROTTLE_OPTIONS("tx-bps", THROTTLE_TX, THROTTLE_BITS,
                     "what the guest sends", "bits"),
    THROTTLE_OPTIONS("tx-pps", THROTTLE_TX, THROTTLE_PACKETS,
                     "what the guest sends", "packets"),
    THROTTLE_OPTIONS("rx-bps", THROTTLE_RX, THROTTLE_BITS,
                     "what the guest receives", "bits"),
    THROTTLE_OPTIONS("rx-pps", THROTTLE_RX, THROTTLE_PACKETS,
                     "what the guest receives", "packets"),
    VHOST_DP_OPTION("group", STR, VhostDPThrottle, group,
        "id of another vhost-dp-throttle, whose limits count for both "
        "together"),
    VHOST_DP_OPTION("per-queue", BOOL, VhostDPThrottle, per_queue,
        "the limits are for each queue pair, not for all of them together "
        "(default: off)"),
    { }
};

/* ---- Control ---- */

/* The limits of another filter.  Returns NULL with @errp set on failure. */
static ThrottleBuckets *throttle_find_group(const char *id, Error **errp)
{
    ERRP_GUARD();
    Object *obj = object_resolve_path_component(object_get_objects_root(), id);
    VhostDPThrottle *other;

    obj = obj ? object_dynamic_cast(obj, TYPE_VHOST_DP_THROTTLE) : NULL;
    if (!obj) {
        error_setg(errp, "group=%s: there is no " TYPE_VHOST_DP_THROTTLE
                   " with this id", id);
        error_append_hint(errp, "Create the one that has the limits first.\n");
        return NULL;
    }
    other = VHOST_DP_THROTTLE(obj);
    if (throttle_group(other)) {
        error_setg(errp, "group=%s: that one belongs to group '%s' itself", id,
                   other->group);
        error_append_hint(errp, "Use group=%s.\n", other->group);
        return NULL;
    }
    if (other->per_queue) {
        error_setg(errp, "group=%s: that one has per-queue=on, and so no limit "
                   "for several queues", id);
        return NULL;
    }
    return other->limits;
}

static bool throttle_open(VhostDPDriver *drv, unsigned queue_pairs,
                          Error **errp)
{
    VhostDPThrottle *t = VHOST_DP_THROTTLE(drv);
    LeakyBucket bucket[THROTTLE_DIRECTIONS][THROTTLE_KINDS];
    ThrottleBuckets *limits = t->limits;
    unsigned i;

    throttle_parse_all(t, bucket, &error_abort);
    if (throttle_group(t)) {
        limits = throttle_find_group(t->group, errp);
        if (!limits) {
            return false;
        }
    }
    if (!vhost_dp_filter_open(drv, queue_pairs, errp)) {
        return false;
    }
    for (i = 0; i < queue_pairs; i++) {
        ThrottleQueue *q = throttle_queue(drv, i);

        if (t->per_queue) {
            q->limits = limits_new();
            limits_configure(q->limits, bucket);
        } else {
            q->limits = limits_ref(limits);
        }
    }
    return true;
}

static void throttle_close(VhostDPDriver *drv)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_FILTER(drv)->nqueues; i++) {
        limits_unref(throttle_queue(drv, i)->limits);
    }
    vhost_dp_filter_close(drv);
}

static void throttle_add_counters(VhostDPFilter *f, VhostDPCounterList ***tail)
{
    static const char *const names[] = { "tx-waits", "rx-waits" };
    unsigned i, j;

    for (i = 0; i < THROTTLE_DIRECTIONS; i++) {
        uint64_t n = 0;

        for (j = 0; j < f->nqueues; j++) {
            ThrottleQueue *q = throttle_queue(VHOST_DP_DRIVER(f), j);

            n += qatomic_read(&q->waits[i]);
        }
        vhost_dp_filter_add_counter(tail, names[i], n);
    }
}

/* ---- The object ---- */

static void throttle_instance_init(Object *obj)
{
    VhostDPThrottle *t = VHOST_DP_THROTTLE(obj);
    unsigned i, j;

    t->limits = limits_new();
    for (i = 0; i < THROTTLE_DIRECTIONS; i++) {
        for (j = 0; j < THROTTLE_KINDS; j++) {
            t->option[i][j].length = 1;
        }
    }
}

static void throttle_instance_finalize(Object *obj)
{
    limits_unref(VHOST_DP_THROTTLE(obj)->limits);
}

static void throttle_class_init(ObjectClass *oc, const void *data)
{
    VhostDPDriverClass *dc = VHOST_DP_DRIVER_CLASS(oc);
    VhostDPFilterClass *fc = VHOST_DP_FILTER_CLASS(oc);

    dc->check_options = throttle_check_options;
    dc->open = throttle_open;
    dc->close = throttle_close;
    dc->attach = throttle_attach;
    dc->detach = throttle_detach;
    dc->tx_burst = throttle_tx_burst;
    dc->rx_burst = throttle_rx_burst;
    dc->rx_into = throttle_rx_into;
    dc->rx_enable = throttle_rx_enable;

    fc->queue_size = sizeof(ThrottleQueue);
    fc->add_counters = throttle_add_counters;

    vhost_dp_driver_add_options(oc, throttle_options);
}

static const TypeInfo throttle_info = {
    .name = TYPE_VHOST_DP_THROTTLE,
    .parent = TYPE_VHOST_DP_FILTER,
    .instance_size = sizeof(VhostDPThrottle),
    .instance_init = throttle_instance_init,
    .instance_finalize = throttle_instance_finalize,
    .class_init = throttle_class_init,
};

static void throttle_register_types(void)
{
    type_register_static(&throttle_info);
}

type_init(throttle_register_types)
