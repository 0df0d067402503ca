/*
 * vhost-dp: qtests, the driver's side of virtqueues
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Split and packed virtqueues behind one set of functions, so that a test of
 * one is a test of the other: see virtq.h.  Here it is remembered which chains
 * the device has.  Sections are those of the virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "guest.h"

#define RING_ALIGN 4096

/* ---- Setting a ring up ---- */

void dp_ring_init(DpQueue *q, uint64_t at)
{
    QVirtQueue *vq = &q->pci.vq;
    size_t driver = virtq_driver_size(q->packed, vq->size);
    size_t device = virtq_device_size(q->packed, vq->size);
    /* The device area of a split ring, as of legacy drivers (2.7.2) */
    size_t used_at = ROUND_UP(virtq_desc_size(vq->size) + driver,
                              q->packed ? 1 : RING_ALIGN);
    uint8_t *host;

    vq->align = RING_ALIGN;
    vq->desc = at ?: dp_alloc(q->guest, used_at + device);
    vq->avail = vq->desc + virtq_desc_size(vq->size);
    vq->used = vq->desc + used_at;
    host = dp_host(q->guest, vq->desc);
    memset(host, 0, used_at + device);
    virtq_init(&q->ring, q->packed, vq->event, vq->size, host,
               dp_host(q->guest, vq->avail), dp_host(q->guest, vq->used));
    q->nfree = vq->size;
    q->chain = g_new0(DpChain, vq->size);
    q->order = g_new0(uint16_t, vq->size);
}

void dp_ring_destroy(DpQueue *q)
{
    g_free(q->chain);
    g_free(q->order);
    memset(q, 0, sizeof(*q));
}

/* ---- Making buffers available ---- */

static uint16_t buf_flags(const DpBuf *buf)
{
    return buf->write ? VRING_DESC_F_WRITE : 0;
}

static uint16_t take_desc(DpQueue *q)
{
    return q->next_desc++ % q->pci.vq.size;
}

/* Remember a chain that was made available */
static void chain_add(DpQueue *q, uint16_t id, const DpBuf *first,
                      unsigned ndescs)
{
    DpChain *chain = &q->chain[id];

    g_assert_cmpuint(chain->ndescs, ==, 0);
    g_assert_cmpuint(ndescs, <=, q->nfree);
    chain->first = *first;
    chain->ndescs = ndescs;
    q->nfree -= ndescs;
    q->order[q->nadded++ % q->pci.vq.size] = id;
}

/* An ID that no chain has */
static uint16_t packed_take_id(DpQueue *q)
{
    g_assert_cmpuint(q->nfree, >, 0);
    while (q->chain[q->next_desc % q->pci.vq.size].ndescs) {
        q->next_desc++;
    }
    return take_desc(q);
}

static uint16_t add_split(DpQueue *q, const DpBuf *bufs, unsigned n)
{
    uint16_t head = take_desc(q);
    uint16_t i = head;
    unsigned k;

    chain_add(q, head, bufs, n);
    for (k = 0; k < n; k++) {
        bool last = k == n - 1;
        uint16_t next = last ? 0 : take_desc(q);

        virtq_set_desc(&q->ring.desc[i], bufs[k].addr, bufs[k].len,
                       buf_flags(&bufs[k]) | (last ? 0 : VRING_DESC_F_NEXT),
                       next);
        i = next;
    }
    virtq_add_head(&q->ring, head);
    return head;
}

static uint16_t add_packed(DpQueue *q, const DpBuf *bufs, unsigned n)
{
    uint16_t id = packed_take_id(q);
    unsigned k;

    chain_add(q, id, bufs, n);
    for (k = 0; k < n; k++) {
        virtq_add_packed_desc(&q->ring, bufs[k].addr, bufs[k].len, id,
                              buf_flags(&bufs[k]) |
                              (k == n - 1 ? 0 : VRING_DESC_F_NEXT));
    }
    return id;
}

uint16_t dp_add(DpQueue *q, const DpBuf *bufs, unsigned n)
{
    return q->packed ? add_packed(q, bufs, n) : add_split(q, bufs, n);
}

uint64_t dp_make_table(DpQueue *q, const DpBuf *bufs, unsigned n)
{
    uint64_t table = dp_alloc(q->guest, n * sizeof(struct vring_desc));
    struct vring_desc *desc = dp_host(q->guest, table);
    unsigned k;

    for (k = 0; k < n; k++) {
        uint16_t flags = buf_flags(&bufs[k]);

        if (q->packed) {
            virtq_set_packed_desc((struct vring_packed_desc *)&desc[k],
                                  bufs[k].addr, bufs[k].len, 0, flags);
        } else if (k < n - 1) {
            virtq_set_desc(&desc[k], bufs[k].addr, bufs[k].len,
                           flags | VRING_DESC_F_NEXT, k + 1);
        } else {
            virtq_set_desc(&desc[k], bufs[k].addr, bufs[k].len, flags, 0);
        }
    }
    return table;
}

static uint16_t add_reference(DpQueue *q, uint64_t table, uint32_t size,
                              const DpBuf *first)
{
    uint16_t id = q->packed ? packed_take_id(q) : take_desc(q);

    chain_add(q, id, first, 1);
    if (q->packed) {
        virtq_add_packed_desc(&q->ring, table, size, id, VRING_DESC_F_INDIRECT);
    } else {
        virtq_set_desc(&q->ring.desc[id], table, size, VRING_DESC_F_INDIRECT,
                       0);
        virtq_add_head(&q->ring, id);
    }
    return id;
}

uint16_t dp_add_table(DpQueue *q, uint64_t table, uint32_t size)
{
    DpBuf nothing = {};

    return add_reference(q, table, size, &nothing);
}

uint16_t dp_add_indirect(DpQueue *q, const DpBuf *bufs, unsigned n)
{
    g_assert_true(q->pci.vq.indirect);
    return add_reference(q, dp_make_table(q, bufs, n),
                         n * sizeof(struct vring_desc), bufs);
}

const DpBuf *dp_first_buf(const DpQueue *q, uint16_t id)
{
    return &q->chain[id].first;
}

uint16_t dp_add_again(DpQueue *q, uint16_t id)
{
    DpBuf buf = *dp_first_buf(q, id);

    return dp_add(q, &buf, 1);
}

/* ---- Telling the device ---- */

void dp_kick(DpQueue *q)
{
    q->pci.vq.vdev->bus->virtqueue_kick(q->pci.vq.vdev, &q->pci.vq);
}

bool dp_wants_kick(DpQueue *q)
{
    Virtq more = q->ring;       /* as if a chain had been added */

    more.next = virtq_after(&more, more.next, 1);
    return virtq_needs_kick(&more, q->ring.next);
}

void dp_publish_quietly(DpQueue *q)
{
    virtq_publish_quietly(&q->ring);
}

bool dp_publish(DpQueue *q)
{
    bool kick = virtq_publish(&q->ring);

    if (kick) {
        dp_kick(q);
    }
    return kick;
}

/* ---- Used buffers ---- */

bool dp_has_used(DpQueue *q)
{
    return q->in_batch || virtq_count_used(&q->ring);
}

/* Read what the device wrote at the place that is next */
static void read_used(DpQueue *q, uint16_t *id, uint32_t *len)
{
    VirtqUsed used = virtq_read_used(&q->ring);

    *id = used.id;
    *len = q->stock || used.wrote ? used.len : 0;
}

/*
 * Sections 2.7.9 and 2.8.6, IN_ORDER: an element may stand for all chains up
 * to its own, and the next one is that many places on.
 */
static void next_in_order(DpQueue *q, uint16_t *id, uint32_t *len)
{
    uint16_t oldest = q->order[q->ngot % q->pci.vq.size];

    if (!q->in_batch) {
        read_used(q, &q->batch_id, &q->batch_len);
    }
    q->in_batch = oldest != q->batch_id;
    *id = oldest;
    /* What is skipped counts as written to in full */
    *len = q->in_batch ? q->chain[oldest].first.len : q->batch_len;
}

bool dp_get_used(DpQueue *q, uint16_t *id, uint32_t *len)
{
    uint16_t used_id;
    uint32_t used_len;
    DpChain *chain;

    if (!dp_has_used(q)) {
        return false;
    }
    if (q->in_order) {
        next_in_order(q, &used_id, &used_len);
    } else {
        read_used(q, &used_id, &used_len);
    }
    g_assert_cmpuint(used_id, <, q->pci.vq.size);
    chain = &q->chain[used_id];
    /* A chain is used once */
    g_assert_cmpuint(chain->ndescs, >, 0);
    virtq_skip_used(&q->ring, chain->ndescs);
    q->nfree += chain->ndescs;
    q->ngot++;
    chain->ndescs = 0;
    if (id) {
        *id = used_id;
    }
    if (len) {
        *len = used_len;
    }
    return true;
}

uint16_t dp_wait_used(DpQueue *q, uint32_t *len)
{
    uint16_t id;

    dp_wait_until(dp_get_used(q, &id, len));
    return id;
}

/* ---- When to be told ---- */

void dp_set_no_interrupt(DpQueue *q, bool set)
{
    virtq_set_no_call(&q->ring, set);
}

void dp_set_used_event(DpQueue *q, unsigned n)
{
    g_assert_true(q->ring.event_idx);
    virtq_set_used_event(&q->ring,
                         virtq_after(&q->ring, q->ring.reaped, n - 1));
}
