/*
 * vhost-dp: the data path of a queue pair whose peer is a virtio device
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: what the functions of the dataplane API do runs in the
 * queue pair's IOThread and needs no lock.  Which set the pair is to use is
 * decided elsewhere, at any time: @wanted, guarded by @lock, and a bottom half
 * in the IOThread that follows it.  The pair holds a reference to the set that
 * it uses, so nobody waits for it to let go.  Frames that are lent keep their
 * set until they are released.
 *
 * The peer is asked to call only when somebody waits: for frames, while
 * reception is enabled and there are none; for room, when a burst did not fit.
 * Otherwise what it has used is found by the next look.
 *
 * A queue that the peer broke takes the link down, and the pair does not look
 * at the set any more.
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qapi/util.h"
#include "vq-int.h"
#include "trace.h"

/*
 * How often a transmit queue is looked at before others get their turn: a peer
 * may use buffers all the time, or only claim to
 */
#define PAIR_TX_LOOKS 16

struct VhostDPVqPair {
    /* Set once */
    unsigned index;
    VhostDPVqFailed *failed;
    void *opaque;

    QemuMutex lock;             /* guards: */
    VhostDPVqSet *wanted;       /* holds a reference */
    char *reason;               /* why it is NULL */
    QEMUBH *bh;                 /* while attached */
    uint64_t violations[VHOST_DP_PEER_VIOLATION__MAX];

    /* The IOThread's own, from attach to detach */
    VhostDPPort *port;
    AioContext *ctx;
    VhostDPVqSet *set;          /* holds a reference */
    VhostDPVq *rx, *tx;         /* queues of the set; NULL: not usable */
    VhostDPVqSet *lent;         /* replaced, but frames of it are lent */
    bool rx_enabled;
    bool tx_blocked;            /* the peer is to call when there is room */
};

VhostDPVqPair *vhost_dp_vqpair_new(unsigned index, VhostDPVqFailed *failed,
                                   void *opaque)
{
    VhostDPVqPair *pair = g_new0(VhostDPVqPair, 1);

    pair->index = index;
    pair->failed = failed;
    pair->opaque = opaque;
    pair->reason = g_strdup("there is no peer yet");
    qemu_mutex_init(&pair->lock);
    return pair;
}

void vhost_dp_vqpair_free(VhostDPVqPair *pair)
{
    if (!pair) {
        return;
    }
    assert(!pair->bh);
    if (pair->wanted) {
        vhost_dp_vqset_unref(pair->wanted);
    }
    qemu_mutex_destroy(&pair->lock);
    g_free(pair->reason);
    g_free(pair);
}

void vhost_dp_vqpair_set(VhostDPVqPair *pair, VhostDPVqSet *set,
                         const char *reason)
{
    QEMU_LOCK_GUARD(&pair->lock);

    if (pair->wanted) {
        vhost_dp_vqset_unref(pair->wanted);
    }
    pair->wanted = set ? vhost_dp_vqset_ref(set) : NULL;
    g_free(pair->reason);
    pair->reason = g_strdup(set ? NULL : reason);
    if (pair->bh) {
        qemu_bh_schedule(pair->bh);
    }
}

void vhost_dp_vqpair_count_violation(VhostDPVqPair *pair,
                                     VhostDPPeerViolation violation)
{
    QEMU_LOCK_GUARD(&pair->lock);

    qatomic_set(&pair->violations[violation],
                    pair->violations[violation] + 1);
}

VhostDPPeerInfo *vhost_dp_vqpair_query(VhostDPVqPair *const *pair, unsigned n,
                                       const VhostDPVqSet *set,
                                       uint64_t connects)
{
    VhostDPPeerInfo *info = g_new0(VhostDPPeerInfo, 1);
    VhostDPPeerViolationInfoList **tail = &info->violations;
    unsigned v, i;

    info->connected = set != NULL;
    info->connects = connects;
    if (set) {
        info->has_features = true;
        info->features = set->features;
        info->has_shared_memory = true;
        info->shared_memory = set->size;
    }
    for (v = 0; v < VHOST_DP_PEER_VIOLATION__MAX; v++) {
        uint64_t count = 0;

        for (i = 0; i < n; i++) {
            count += qatomic_read(&pair[i]->violations[v]);
        }
        if (count) {
            VhostDPPeerViolationInfo *each = g_new0(VhostDPPeerViolationInfo,
                                                    1);

            each->violation = v;
            each->count = count;
            QAPI_LIST_APPEND(tail, each);
        }
    }
    return info;
}

/* ---- Losses, and the end of a set ---- */

static void pair_report_drops(VhostDPVqPair *pair, VhostDPVq *vq)
{
    unsigned i;

    if (likely(!vq->any_dropped)) {
        return;
    }
    for (i = 0; i < VHOST_DP_DROP_REASON__MAX; i++) {
        if (vq->rx) {
            vhost_dp_port_drop_rx(pair->port, i, vq->dropped[i]);
        } else {
            vhost_dp_port_drop_tx(pair->port, i, vq->dropped[i]);
        }
        vq->dropped[i] = 0;
    }
    vq->any_dropped = false;
}

static void pair_broken(VhostDPVqPair *pair, VhostDPVq *vq)
{
    g_autofree char *reason = NULL;

    reason = g_strdup_printf("the peer broke a rule on %s queue %u: %s",
                             vq->rx ? "receive" : "transmit", pair->index,
                             VhostDPPeerViolation_str(vq->violation));
    trace_vhost_dp_vqpair_broken(pair->index, reason);
    vhost_dp_vqpair_count_violation(pair, vq->violation);
    pair->rx = NULL;
    pair->tx = NULL;
    pair->tx_blocked = false;
    vhost_dp_port_set_link(pair->port, false, reason);
    pair->failed(pair->opaque, pair->index, pair->set, vq->violation);
}

/* Frames that the peer has not sent, as far as one can know */
static unsigned pair_count_unsent(VhostDPVq *vq)
{
    vhost_dp_vq_tx_reap(vq);
    return vq->nout;
}

static void pair_drop_unsent(VhostDPVqPair *pair, unsigned n)
{
    if (n) {
        vhost_dp_port_drop_tx(pair->port, VHOST_DP_DROP_REASON_LINK_DOWN, n);
    }
}

void vhost_dp_vqpair_tx_take_back(VhostDPVqPair *pair)
{
    if (pair->tx) {
        pair_drop_unsent(pair, vhost_dp_vq_tx_take_back(pair->tx));
        /* If the queue broke just now, the next burst tells */
        qemu_bh_schedule(pair->bh);
    }
}

/* ---- Calls ---- */

static void pair_rx_called(void *opaque)
{
    VhostDPVqPair *pair = opaque;

    vhost_dp_vq_clear_call(&pair->set->vq[2 * pair->index]);
    if (pair->rx && pair->rx_enabled) {
        vhost_dp_port_ready(pair->port, VHOST_DP_READY_RX);
    }
}

static void pair_tx_called(void *opaque)
{
    VhostDPVqPair *pair = opaque;
    unsigned looks = 0;

    vhost_dp_vq_clear_call(&pair->set->vq[2 * pair->index + 1]);
    if (!pair->tx || !pair->tx_blocked) {
        return;
    }
    while (!vhost_dp_vq_tx_reap(pair->tx)) {
        if (!vhost_dp_vq_enable_call(pair->tx)) {
            return;
        }
        if (++looks == PAIR_TX_LOOKS) {
            qemu_bh_schedule(pair->bh);
            return;
        }
    }
    /* The next burst finds room, or reports that the queue is broken */
    pair->tx_blocked = false;
    vhost_dp_vq_disable_call(pair->tx);
    vhost_dp_port_ready(pair->port, VHOST_DP_READY_TX);
}

static void pair_listen(VhostDPVqPair *pair, bool listen)
{
    VhostDPVq *vq = &pair->set->vq[2 * pair->index];

    aio_set_fd_handler(pair->ctx, event_notifier_get_fd(&vq[0].call),
                       listen ? pair_rx_called : NULL, NULL, NULL, NULL, pair);
    aio_set_fd_handler(pair->ctx, event_notifier_get_fd(&vq[1].call),
                       listen ? pair_tx_called : NULL, NULL, NULL, NULL, pair);
}

/* ---- Following @wanted ---- */

static void pair_leave_set(VhostDPVqPair *pair)
{
    VhostDPVqSet *set = pair->set;
    VhostDPVq *vq;

    if (!set) {
        return;
    }
    if (pair->index >= set->pairs) {
        pair->set = NULL;
        vhost_dp_vqset_unref(set);
        return;
    }
    vq = &set->vq[2 * pair->index];
    pair_listen(pair, false);
    pair_drop_unsent(pair, pair_count_unsent(&vq[1]));
    pair->set = NULL;
    pair->rx = NULL;
    pair->tx = NULL;
    if (vq[0].nlent) {
        pair->lent = set;
    } else {
        vhost_dp_vqset_unref(set);
    }
}

/* The peer may have fewer queue pairs than the netdev */
static void pair_use_set(VhostDPVqPair *pair, VhostDPVqSet *set)
{
    pair->set = set;
    vhost_dp_port_set_queues(pair->port, set->pairs);
    if (pair->index >= set->pairs) {
        return;
    }
    pair->rx = &set->vq[2 * pair->index];
    pair->tx = pair->rx + 1;
    pair_listen(pair, true);
    vhost_dp_port_set_tx_offloads(pair->port,
                                  vhost_dp_vq_tx_offloads(set->features));
}

static void pair_follow(VhostDPVqPair *pair)
{
    g_autofree char *reason = NULL;
    VhostDPVqSet *set = NULL;

    WITH_QEMU_LOCK_GUARD(&pair->lock) {
        reason = g_strdup(pair->reason);
        if (pair->wanted && pair->wanted == pair->set) {
            return;
        }
        if (pair->wanted) {
            set = vhost_dp_vqset_ref(pair->wanted);
        }
    }
    trace_vhost_dp_vqpair_follow(pair->index, set, set ? set->features : 0,
                                 reason ?: "");
    pair_leave_set(pair);
    if (set) {
        pair_use_set(pair, set);
    }
    vhost_dp_port_set_link(pair->port, set != NULL, reason);
}

static void pair_bh(void *opaque)
{
    VhostDPVqPair *pair = opaque;

    pair_follow(pair);
    if (pair->rx && pair->rx_enabled && vhost_dp_vq_enable_call(pair->rx)) {
        vhost_dp_port_ready(pair->port, VHOST_DP_READY_RX);
    }
    /* A new peer has room; without a peer the waiting frames are dropped */
    pair->tx_blocked = false;
    vhost_dp_port_ready(pair->port, VHOST_DP_READY_TX);
}

void vhost_dp_vqpair_attach(VhostDPVqPair *pair, VhostDPPort *port,
                            AioContext *ctx)
{
    pair->port = port;
    pair->ctx = ctx;
    pair->rx_enabled = false;
    pair->tx_blocked = false;
    WITH_QEMU_LOCK_GUARD(&pair->lock) {
        pair->bh = aio_bh_new(ctx, pair_bh, pair);
    }
    pair_follow(pair);
}

void vhost_dp_vqpair_detach(VhostDPVqPair *pair)
{
    WITH_QEMU_LOCK_GUARD(&pair->lock) {
        qemu_bh_delete(pair->bh);
        pair->bh = NULL;
    }
    pair_leave_set(pair);
    pair->port = NULL;
}

/* ---- Frames ---- */

static void pair_flush(VhostDPVq *vq)
{
    if (vhost_dp_vq_flush(vq)) {
        event_notifier_set(&vq->kick);
    }
}

unsigned vhost_dp_vqpair_tx_burst(VhostDPVqPair *pair, VhostDPFrame *frames,
                                  unsigned n)
{
    VhostDPVq *vq = pair->tx;
    unsigned taken = 0, looks = 0;

    while (vq) {
        taken += vhost_dp_vq_tx(vq, frames + taken, n - taken);
        pair_flush(vq);
        pair_report_drops(pair, vq);
        if (unlikely(vq->broken)) {
            pair_broken(pair, vq);
            break;
        }
        if (taken == n) {
            return n;
        }
        if (!vhost_dp_vq_enable_call(vq)) {
            pair->tx_blocked = true;
            return taken;
        }
        if (++looks == PAIR_TX_LOOKS) {
            pair->tx_blocked = true;
            qemu_bh_schedule(pair->bh);
            return taken;
        }
    }
    vhost_dp_port_drop_tx(pair->port, VHOST_DP_DROP_REASON_LINK_DOWN,
                          n - taken);
    return n;
}

unsigned vhost_dp_vqpair_rx_burst(VhostDPVqPair *pair, VhostDPFrame *frames,
                                  unsigned n)
{
    VhostDPVq *vq = pair->rx;
    unsigned got;
    bool more;

    if (!vq) {
        return 0;
    }
    got = vhost_dp_vq_rx(vq, frames, n, &more);
    if (!got && !more && pair->rx_enabled && vhost_dp_vq_enable_call(vq)) {
        got = vhost_dp_vq_rx(vq, frames, n, &more);
    }
    if (unlikely(vq->any_dropped)) {
        pair_report_drops(pair, vq);
        pair_flush(vq);
    }
    if (got) {
        vhost_dp_vq_disable_call(vq);
    } else if (unlikely(vq->broken)) {
        pair_broken(pair, vq);
    } else if (unlikely(more)) {
        /* 0 would tell the engine that no frame waits: more may be there */
        vhost_dp_port_ready(pair->port, VHOST_DP_READY_RX);
    }
    return got;
}

void vhost_dp_vqpair_rx_release(VhostDPVqPair *pair, unsigned n)
{
    VhostDPVqSet *set = pair->lent ?: pair->set;
    VhostDPVq *vq = &set->vq[2 * pair->index];

    vhost_dp_vq_rx_release(vq, n);
    if (unlikely(pair->lent)) {
        if (!vq->nlent) {
            vhost_dp_vqset_unref(pair->lent);
            pair->lent = NULL;
        }
        return;
    }
    pair_flush(vq);
}

void vhost_dp_vqpair_rx_enable(VhostDPVqPair *pair, bool enable)
{
    pair->rx_enabled = enable;
    if (!pair->rx) {
        return;
    }
    if (!enable) {
        vhost_dp_vq_disable_call(pair->rx);
    } else if (vhost_dp_vq_enable_call(pair->rx)) {
        vhost_dp_port_ready(pair->port, VHOST_DP_READY_RX);
    }
}

void vhost_dp_vqpair_get_caps(VhostDPCaps *caps)
{
    *caps = (VhostDPCaps) {
        .max_queue_pairs = VHOST_DP_VQ_MAX_PAIRS,
        .max_frame = VHOST_DP_MAX_FRAME,
        .max_segments = IOV_MAX,
        .tx_offloads = VHOST_DP_OFFLOAD_ALL,
        .rx_offloads = VHOST_DP_OFFLOAD_ALL,
        .rx_poll = true,
    };
}
