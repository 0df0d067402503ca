/*
 * vhost-dp: which queue pair gets a received frame
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: with RSS (virtio 1.3, 5.1.6.5.7) the hash of a frame
 * chooses its queue pair, whichever pair's driver received it.  Frames for
 * other pairs are copied into the inboxes of their ports, target by target,
 * once for each burst; the others stay lent, and are delivered as they are
 * without RSS.  What the guest asks for is a snapshot, which the port's bottom
 * half takes over; so bursts look at it without a lock.  A turn ends when there
 * is a newer one, so at most one burst that came after the guest's command is
 * placed by an old one: that of a thread which was about to ask the driver.
 *
 * Another port's queue may be full while the guest has buffers here, and the
 * other way round.  The former fills an inbox, which loses frames then.  For
 * the latter, the port's own frames that find no buffers go to its own inbox,
 * and the driver is asked for more meanwhile.  While the own inbox has any of
 * them, later ones follow them there: frames of a flow never overtake each
 * other.
 *
 * When the rules change, a flow may move to another pair, and its frames there
 * must not overtake those that wait in an inbox.  So the driver is not asked
 * for frames until all inboxes are done with what they have from this port: the
 * fence.  That takes microseconds, unless a target has no buffers; then its
 * inbox is emptied after STEER_FENCE_NS.
 *
 * Without RSS, and with fewer driver queues than pairs, frames go to the pair
 * that last sent for their flow (port-flows.c).  That changes all the time, so
 * there is no fence for it: each bucket of flows has a path, and stays with the
 * pair that it has until that is done with what it got from this port.
 *
 * Inboxes of pairs that the guest has enabled are opened by control, before the
 * guest's command ends: which pair a frame goes to does not depend on when the
 * target's thread gets a CPU.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/timer.h"
#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp/offload/classify.h"
#include "net/vhost-dp/offload/rx-filter.h"
#include "port-rx-steer.h"
#include "trace.h"

/* How long the rules may wait for a target without buffers */
#define STEER_FENCE_NS (2 * SCALE_MS)

/* Another port of the netdev, or the port itself */
typedef struct SteerTarget {
    uint64_t position;          /* of the last frame that went to its inbox */
    uint8_t n;                  /* frames of the burst at hand that go there */
    uint8_t first;              /* their indices: a list in PortSteer.next */
    uint8_t last;
} SteerTarget;

/* Where the frames of a bucket of flows go */
typedef struct SteerPath {
    uint64_t position;          /* of the last one in the target's inbox */
    uint32_t burst;             /* in which the last ones came */
    uint16_t target;            /* 1 + its number; 0: none came yet */
} SteerPath;

struct PortSteer {
    VhostDPControl *control;    /* a reference, or NULL */
    SteerPath *path;            /* VHOST_DP_FLOWS of them, or NULL: not used */
    uint32_t burst;             /* counts bursts */
    int64_t fence_end;          /* ns, QEMU_CLOCK_REALTIME */
    VhostDPFrame *past;         /* see vhost_dp_port_rx_past_frames() */
    /* Scratch space of a burst */
    unsigned ntouched;
    uint16_t touched[VHOST_DP_BURST_FRAMES];    /* targets with n > 0 */
    uint8_t next[VHOST_DP_BURST_FRAMES];
    int16_t bucket[VHOST_DP_BURST_FRAMES];      /* of frames; -1: no flow */
    SteerTarget target[];       /* one for each port of the netdev */
};

QEMU_BUILD_BUG_ON(VHOST_DP_BURST_FRAMES > 64);  /* bits of a mask */

static PortSteer *steer_get(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;

    if (!rx->steer) {
        rx->steer = g_malloc0(sizeof(*rx->steer) +
                              port->set->nports * sizeof(SteerTarget));
    }
    return rx->steer;
}

void vhost_dp_port_rx_steer_free(PortSteer *steer)
{
    if (steer) {
        vhost_dp_control_unref(steer->control);
        g_free(steer->past);
        g_free(steer->path);
        g_free(steer);
    }
}

VhostDPFrame *vhost_dp_port_rx_past_frames(VhostDPEnginePort *port)
{
    PortSteer *steer = steer_get(port);

    if (!steer->past) {
        steer->past = g_new(VhostDPFrame, VHOST_DP_BURST_FRAMES);
    }
    return steer->past;
}

/* ---- A burst ---- */

static void steer_hash(const VhostDPControl *control, VhostDPFrame *frame,
                       const uint8_t *head)
{
    VhostDPHash hash = {};

    if (control->toeplitz) {
        hash = vhost_dp_classify(control->toeplitz, control->state.hash_types,
                                 head, MIN(frame->len, VHOST_DP_HEAD_BYTES));
    }
    frame->hash = hash.value;
    frame->hash_report = hash.report;
}

/* Nobody has looked at the frame, and drivers set no hash */
static void steer_no_hash(VhostDPFrame *frame)
{
    frame->hash = 0;
    frame->hash_report = VIRTIO_NET_HASH_REPORT_NONE;
}

/* Drops the frames that the guest does not want.  Returns how many are left. */
static unsigned steer_filter(VhostDPEnginePort *port, VhostDPFrame *frames,
                             unsigned n)
{
    const VhostDPControl *control = port->rx->steer->control;
    unsigned left = control->filters ?
                    vhost_dp_rx_filter_frames(control, frames, n) : n;

    port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_FILTERED, n - left);
    return left;
}

/* Were all frames of a bucket delivered that came in earlier bursts? */
static bool steer_path_is_done(VhostDPEnginePort *port, const SteerPath *path)
{
    unsigned t = path->target - 1;

    if (path->burst == port->rx->steer->burst) {
        return false;
    }
    if (t == port->index) {
        /* Those that found no buffers have got into the inbox later */
        return !vhost_dp_port_rx_self_waits(port) && !port->rx->soft_left;
    }
    return vhost_dp_inbox_is_done(port->set->port[t]->inbox, path->position);
}

/* The pair of frame number @i of a burst, by who sent for its flow */
static __attribute__((noinline)) unsigned
steer_follow_flow(VhostDPEnginePort *port, const VhostDPFrame *frame,
                  unsigned i, unsigned self)
{
    PortSteer *steer = port->rx->steer;
    unsigned npairs = MIN(port->set->nports, steer->control->state.pairs);
    int bucket = vhost_dp_flows_bucket(frame, false);
    SteerPath *path;
    unsigned t;

    steer->bucket[i] = bucket;
    if (bucket < 0) {
        return self;
    }
    path = &steer->path[bucket];
    t = vhost_dp_flows_find(port->set->flows, bucket, self);
    if (t >= npairs) {
        t = self;
    }
    if (path->target != t + 1 &&
        (!path->target || steer_path_is_done(port, path))) {
        path->target = t + 1;
    }
    path->burst = steer->burst;
    return path->target - 1;
}

/*
 * Frames @first to @end of a burst have been put into inboxes.  Those in
 * @refused went to @self.
 */
static void steer_end_burst(VhostDPEnginePort *port, unsigned first,
                            unsigned end, uint64_t refused, unsigned self)
{
    PortSteer *steer = port->rx->steer;
    unsigned i;

    if (unlikely(refused)) {
        /* They may wait here when the pair runs again that they are for */
        vhost_dp_port_rx_raise_fence(port);
    }
    for (i = first; steer->path && i < end; i++) {
        SteerPath *path = &steer->path[MAX(steer->bucket[i], 0)];

        if (steer->bucket[i] < 0) {
            continue;
        }
        if (refused & (1ULL << i)) {
            path->target = self + 1;
        }
        path->position = steer->target[path->target - 1].position;
    }
    steer->burst++;
}

/* The pair of a frame that has its hash; @self: if nothing says another one */
static inline unsigned steer_choose(VhostDPEnginePort *port,
                                    const VhostDPFrame *frame, unsigned i,
                                    unsigned self)
{
    const PortSteer *steer = port->rx->steer;
    const VhostDPControl *control = steer->control;
    const VhostDPControlState *state = &control->state;

    if (steer->path) {
        return steer_follow_flow(port, frame, i, self);
    }
    if (!control->steers) {
        return self;
    }
    return frame->hash_report == VIRTIO_NET_HASH_REPORT_NONE ?
           state->default_pair :
           state->indirection[frame->hash & (state->indirection_len - 1)];
}

static inline void steer_add(PortSteer *steer, unsigned t, unsigned i)
{
    SteerTarget *target = &steer->target[t];

    if (!target->n++) {
        target->first = i;
        steer->touched[steer->ntouched++] = t;
    } else {
        steer->next[target->last] = i;
    }
    target->last = i;
}

/* Puts what was added into the inboxes.  Returns a mask of what nobody took. */
static uint64_t steer_put(VhostDPEnginePort *port, const VhostDPFrame *frames)
{
    PortSteer *steer = port->rx->steer;
    uint8_t which[VHOST_DP_BURST_FRAMES];
    uint64_t refused = 0;
    uint64_t steered = 0;
    unsigned i, j, k;

    for (i = 0; i < steer->ntouched; i++) {
        unsigned t = steer->touched[i];
        SteerTarget *target = &steer->target[t];

        for (j = 0, k = target->first; j < target->n; j++) {
            which[j] = k;
            k = steer->next[k];
        }
        if (!vhost_dp_inbox_put(port->set->port[t]->inbox, frames, which,
                                target->n, &target->position)) {
            for (j = 0; j < target->n; j++) {
                refused |= 1ULL << which[j];
            }
        } else if (t != port->index) {
            steered += target->n;
        }
        target->n = 0;
    }
    steer->ntouched = 0;
    vhost_dp_count(&port->stats[VHOST_DP_RX].steered, steered);
    return refused;
}

/* Puts the frames in @mask into one inbox.  Returns a mask as steer_put(). */
static uint64_t steer_to(VhostDPEnginePort *port, unsigned t,
                         const VhostDPFrame *frames, uint64_t mask)
{
    for (; mask; mask &= mask - 1) {
        steer_add(port->rx->steer, t, ctz64(mask));
    }
    return steer_put(port, frames);
}

/* Frames that are no longer lent leave no gaps */
static void steer_keep(PortRx *rx, uint64_t own)
{
    unsigned n = 0;
    unsigned i;

    for (i = 0; i < rx->end; i++) {
        VhostDPFrame *from = &rx->frames[i];
        VhostDPFrame *to = &rx->frames[n];

        if (!(own & (1ULL << i))) {
            continue;
        }
        if (from != to) {
            *to = *from;
            if (from->iov == from->inl) {
                to->iov = to->inl;
            }
        }
        n++;
    }
    rx->end = n;
}

bool vhost_dp_port_rx_self_waits(VhostDPEnginePort *port)
{
    const PortSteer *steer = port->rx->steer;
    uint64_t position = steer ? steer->target[port->index].position : 0;

    return !vhost_dp_inbox_is_done(port->inbox, position);
}

void vhost_dp_port_rx_look(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;
    PortSteer *steer = rx->steer;
    bool self_waits = vhost_dp_port_rx_self_waits(port);
    uint64_t own = 0;
    uint64_t refused = 0;
    unsigned i, n, t;

    rx->end = steer_filter(port, rx->frames, rx->end);
    if (!(rx->looks & (PORT_RX_HASHES | PORT_RX_STEERS))) {
        return;
    }
    for (i = 0; i < rx->end; i++) {
        VhostDPFrame *frame = &rx->frames[i];

        steer_hash(steer->control, frame, port_rx_head(rx, frame));
        t = steer_choose(port, frame, i, port->index);
        if (t == port->index && likely(!self_waits)) {
            own |= 1ULL << i;
        } else {
            steer_add(steer, t, i);
        }
    }
    n = rx->end;
    if (steer->ntouched) {
        /* What a pair that does not run refuses comes here */
        refused = steer_put(port, rx->frames);
        steer_keep(rx, own | (self_waits ? steer_to(port, port->index,
                                                    rx->frames, refused) :
                                           refused));
    }
    steer_end_burst(port, 0, n, refused, port->index);
}

void vhost_dp_port_rx_look_past(VhostDPEnginePort *port, VhostDPFrame *frames,
                                unsigned n)
{
    PortRx *rx = port->rx;
    PortSteer *steer = rx->steer;
    uint64_t refused;
    unsigned i;

    n = steer_filter(port, frames, n);
    for (i = 0; i < n; i++) {
        steer_hash(steer->control, &frames[i], port_rx_head(rx, &frames[i]));
        steer_add(steer, steer_choose(port, &frames[i], i, port->index), i);
    }
    refused = steer_put(port, frames);
    port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_STOPPED,
              ctpop64(steer_to(port, port->index, frames, refused)));
    steer_end_burst(port, 0, n, refused, port->index);
}

bool vhost_dp_port_rx_wait_in_inbox(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;
    PortSteer *steer = steer_get(port);
    unsigned i;

    for (i = rx->next + !!rx->soft_left; i < rx->end; i++) {
        steer_add(steer, port->index, i);
    }
    port_drop(port, VHOST_DP_RX, VHOST_DP_DROP_REASON_STOPPED,
              ctpop64(steer_put(port, rx->frames)));
    if (!rx->soft_left) {
        /* What was prepared of a frame is prepared again */
        vhost_dp_port_soft_rx_end(rx->soft);
        rx->next = rx->end;
        return true;
    }
    /* What is left of it is in rx->soft, but for the metadata */
    rx->frames[0] = rx->frames[rx->next];
    rx->next = 0;
    rx->end = 1;
    return false;
}

unsigned vhost_dp_port_rx_hand_over(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;
    PortSteer *steer = steer_get(port);
    const VhostDPControl *control = steer->control;
    uint64_t refused, lost;
    unsigned i, t;

    if (rx->looks & PORT_RX_LOOKS) {
        rx->end = rx->next + steer_filter(port, &rx->frames[rx->next],
                                          rx->end - rx->next);
    }
    for (i = rx->next; i < rx->end; i++) {
        VhostDPFrame *frame = &rx->frames[i];

        t = 0;
        if (rx->looks & PORT_RX_LOOKS) {
            steer_hash(control, frame, port_rx_head(rx, frame));
            t = steer_choose(port, frame, i, 0);
        } else {
            steer_no_hash(frame);
        }
        steer_add(steer, t == port->index ? 0 : t, i);
    }
    refused = steer_put(port, rx->frames);
    lost = steer_to(port, 0, rx->frames, refused);
    if (rx->looks & PORT_RX_LOOKS) {
        steer_end_burst(port, rx->next, rx->end, refused, 0);
    }
    return ctpop64(lost);
}

bool vhost_dp_port_rx_look_at(VhostDPEnginePort *port, VhostDPFrame *frame,
                              const uint8_t *head)
{
    const VhostDPControl *control = port->rx->steer->control;
    size_t len = MIN(frame->len, VHOST_DP_RX_FILTER_BYTES);

    if (port->rx->looks & PORT_RX_HASHES) {
        steer_hash(control, frame, head);
    }
    return !(port->rx->looks & PORT_RX_FILTERS) ||
           vhost_dp_rx_filter_passes(control, head, len);
}

/* ---- Changes ---- */

static bool steer_is_same(const VhostDPControl *a, const VhostDPControl *b)
{
    const VhostDPControlState *x, *y;

    if (!a || !b || !a->steers || !b->steers) {
        return (a && a->steers) == (b && b->steers);
    }
    x = &a->state;
    y = &b->state;
    return x->hash_types == y->hash_types &&
           x->default_pair == y->default_pair &&
           x->indirection_len == y->indirection_len &&
           !memcmp(x->key, y->key, sizeof(x->key)) &&
           !memcmp(x->indirection, y->indirection,
                   x->indirection_len * sizeof(x->indirection[0]));
}

/* While frames are steered, all inboxes keep memory for them */
static void steer_join(VhostDPEnginePort *port, bool join)
{
    unsigned i;

    for (i = 0; i < port->set->nports; i++) {
        if (join) {
            vhost_dp_inbox_join(port->set->port[i]->inbox);
        } else {
            vhost_dp_inbox_leave(port->set->port[i]->inbox);
        }
    }
    trace_vhost_dp_port_steer(port->set->netdev, port->index, join);
}

void vhost_dp_port_rx_raise_fence(VhostDPEnginePort *port)
{
    if (port->set->nports == 1) {
        return;
    }
    steer_get(port)->fence_end = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                                 STEER_FENCE_NS;
    port->rx->looks |= PORT_RX_FENCE;
}

bool vhost_dp_port_rx_fence_is_over(VhostDPEnginePort *port)
{
    PortSteer *steer = port->rx->steer;
    bool late = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) >= steer->fence_end;
    /* The rest of a frame of which the guest has a part is in no inbox */
    bool over = !port->rx->soft_left || late;
    unsigned i;

    for (i = 0; i < port->set->nports; i++) {
        VhostDPInbox *inbox = port->set->port[i]->inbox;

        if (vhost_dp_inbox_is_done(inbox, steer->target[i].position)) {
            continue;
        }
        over = false;
        if (late) {
            vhost_dp_inbox_expire(inbox);
        }
    }
    if (over) {
        port->rx->looks &= ~PORT_RX_FENCE;
    }
    return over;
}

void vhost_dp_port_rx_set_control(VhostDPEnginePort *port,
                                  VhostDPControl *control)
{
    PortRx *rx = port->rx;
    PortSteer *steer = steer_get(port);
    VhostDPControl *old = steer->control;
    unsigned i;

    if (control == old) {
        vhost_dp_control_unref(control);
        return;
    }
    steer->control = control;
    if (!steer_is_same(old, control)) {
        vhost_dp_port_rx_raise_fence(port);
    }
    vhost_dp_control_unref(old);

    if (!(rx->looks & PORT_RX_HASHES) && rx->source != PORT_RX_FROM_INBOX) {
        for (i = rx->next; i < rx->end; i++) {
            steer_no_hash(&rx->frames[i]);
        }
        vhost_dp_port_soft_rx_set_no_hash(rx->soft);
    }
    rx->looks &= PORT_RX_FENCE | PORT_RX_STEERS;
    if (control && control->filters) {
        rx->looks |= PORT_RX_FILTERS;
    }
    if (control && control->hashes) {
        rx->looks |= PORT_RX_HASHES;
    }
    vhost_dp_port_rx_update_steering(port);
}

void vhost_dp_port_rx_update_steering(VhostDPEnginePort *port)
{
    PortRx *rx = port->rx;
    const VhostDPControl *control = rx->steer ? rx->steer->control : NULL;
    bool several = control && port->set->nports > 1;
    bool rss = several && control->steers;
    bool flows = several && !rss && control->state.pairs > 1 &&
                 port->nqueues < port->set->nports;
    bool steered = rx->looks & PORT_RX_STEERS;
    /* Others receive nothing */
    bool paths = flows && port->index < port->nqueues;

    port->notes_flows = flows;
    if (several && paths != !!rx->steer->path) {
        g_free(rx->steer->path);
        rx->steer->path = paths ? g_new0(SteerPath, VHOST_DP_FLOWS) : NULL;
        vhost_dp_port_rx_raise_fence(port);
    }
    rx->looks &= ~PORT_RX_STEERS;
    if (rss || paths) {
        rx->looks |= PORT_RX_STEERS;
    }
    if (steered != (rss || paths)) {
        steer_join(port, rss || paths);
    }
}
