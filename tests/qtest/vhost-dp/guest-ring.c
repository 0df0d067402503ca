/*
 * vhost-dp: qtests, the driver's side of virtqueues
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Split and packed virtqueues behind one set of functions, so that a test of
 * one is a test of the other.  Guest RAM is shared with QEMU, which works on
 * the ring at the same time; hence the barriers.  Sections are those of the
 * virtio specification, version 1.3.
 *
 * Places in a ring are counted from the start in 64 bits.  A split ring's
 * index is the lower 16 bits of that; a packed ring's place is the remainder,
 * and the wrap counter follows from the quotient.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "guest.h"

#define RING_ALIGN 4096

#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED  (1u << VRING_PACKED_DESC_F_USED)

/* ---- Places in a packed ring (section 2.8.1) ---- */

static bool packed_wrap(const DpQueue *q, uint64_t place)
{
    return !(place / q->pci.vq.size % 2);
}

/* As event suppression has it (section 2.8.14) */
static uint16_t packed_off_wrap(const DpQueue *q, uint64_t place)
{
    return place % q->pci.vq.size |
           packed_wrap(q, place) << VRING_PACKED_EVENT_F_WRAP_CTR;
}

static struct vring_packed_desc *packed_desc(DpQueue *q, uint64_t place)
{
    return &q->pdesc[place % q->pci.vq.size];
}

/* ---- Setting a ring up ---- */

void dp_ring_init(DpQueue *q, uint64_t at)
{
    QVirtQueue *vq = &q->pci.vq;
    size_t size = q->packed ? vq->size * sizeof(*q->pdesc) +
                              2 * sizeof(*q->driver_event) :
                              qvring_size(vq->size, RING_ALIGN);
    uint8_t *host;

    vq->align = RING_ALIGN;
    vq->desc = at ?: dp_alloc(q->guest, size);
    host = dp_host(q->guest, vq->desc);
    memset(host, 0, size);
    if (q->packed) {
        vq->avail = vq->desc + vq->size * sizeof(*q->pdesc);
        vq->used = vq->avail + sizeof(*q->driver_event);
        q->pdesc = (void *)host;
        q->driver_event = dp_host(q->guest, vq->avail);
        q->device_event = dp_host(q->guest, vq->used);
    } else {
        vq->avail = vq->desc + vq->size * sizeof(*q->desc);
        vq->used = ROUND_UP(vq->avail + (3 + vq->size) * sizeof(uint16_t),
                            RING_ALIGN);
        q->desc = (void *)host;
        q->avail = dp_host(q->guest, vq->avail);
        q->used = dp_host(q->guest, vq->used);
    }
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

void dp_set_desc(struct vring_desc *desc, uint64_t addr, uint32_t len,
                 uint16_t flags, uint16_t next)
{
    desc->addr = cpu_to_le64(addr);
    desc->len = cpu_to_le32(len);
    desc->flags = cpu_to_le16(flags);
    desc->next = cpu_to_le16(next);
}

void dp_set_packed_desc(struct vring_packed_desc *desc, uint64_t addr,
                        uint32_t len, uint16_t id, uint16_t flags)
{
    desc->addr = cpu_to_le64(addr);
    desc->len = cpu_to_le32(len);
    desc->id = cpu_to_le16(id);
    desc->flags = cpu_to_le16(flags);
}

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

void dp_add_head(DpQueue *q, uint16_t head)
{
    g_assert_false(q->packed);
    q->avail->ring[q->avail_idx++ % q->pci.vq.size] = cpu_to_le16(head);
}

/*
 * The flags of the first descriptor that is not published are held back: the
 * device looks at descriptors in order, so it sees none behind that one.
 */
void dp_add_packed_desc(DpQueue *q, uint64_t addr, uint32_t len, uint16_t id,
                        uint16_t flags)
{
    struct vring_packed_desc *desc = packed_desc(q, q->avail_idx);

    g_assert_true(q->packed);
    flags |= packed_wrap(q, q->avail_idx) ? PACKED_AVAIL : PACKED_USED;
    if (q->avail_idx == q->published) {
        q->first_flags = flags;
        flags = le16_to_cpu(desc->flags);
    }
    dp_set_packed_desc(desc, addr, len, id, flags);
    q->avail_idx++;
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

        dp_set_desc(&q->desc[i], bufs[k].addr, bufs[k].len,
                    buf_flags(&bufs[k]) | (last ? 0 : VRING_DESC_F_NEXT),
                    next);
        i = next;
    }
    dp_add_head(q, head);
    return head;
}

static uint16_t add_packed(DpQueue *q, const DpBuf *bufs, unsigned n)
{
    uint16_t id = packed_take_id(q);
    unsigned k;

    chain_add(q, id, bufs, n);
    for (k = 0; k < n; k++) {
        dp_add_packed_desc(q, bufs[k].addr, bufs[k].len, id,
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
            dp_set_packed_desc((struct vring_packed_desc *)&desc[k],
                               bufs[k].addr, bufs[k].len, 0, flags);
        } else if (k < n - 1) {
            dp_set_desc(&desc[k], bufs[k].addr, bufs[k].len,
                        flags | VRING_DESC_F_NEXT, k + 1);
        } else {
            dp_set_desc(&desc[k], bufs[k].addr, bufs[k].len, flags, 0);
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
        dp_add_packed_desc(q, table, size, id, VRING_DESC_F_INDIRECT);
    } else {
        dp_set_desc(&q->desc[id], table, size, VRING_DESC_F_INDIRECT, 0);
        dp_add_head(q, id);
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

/* Section 2.7.13.4: does the device want to be told? */
static bool want_kick_split(DpQueue *q, uint64_t old)
{
    uint16_t *avail_event = (uint16_t *)&q->used->ring[q->pci.vq.size];

    if (q->pci.vq.event) {
        return vring_need_event(le16_to_cpu(qatomic_read(avail_event)),
                                q->avail_idx, old);
    }
    return !(le16_to_cpu(qatomic_read(&q->used->flags)) &
             VRING_USED_F_NO_NOTIFY);
}

/* Section 2.8.21.3.1: the same */
static bool want_kick_packed(DpQueue *q, uint64_t old)
{
    uint16_t flags = le16_to_cpu(qatomic_read(&q->device_event->flags));
    uint16_t now = q->avail_idx % q->pci.vq.size;
    uint16_t off_wrap, event;

    if (flags != VRING_PACKED_EVENT_FLAG_DESC) {
        g_assert_cmpuint(flags, <=, VRING_PACKED_EVENT_FLAG_DISABLE);
        return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
    }
    g_assert_true(q->pci.vq.event);
    /* The flags before the place that they speak of */
    smp_rmb();
    off_wrap = le16_to_cpu(qatomic_read(&q->device_event->off_wrap));
    event = off_wrap & ~(1u << VRING_PACKED_EVENT_F_WRAP_CTR);
    if (off_wrap >> VRING_PACKED_EVENT_F_WRAP_CTR !=
        packed_wrap(q, q->avail_idx)) {
        event -= q->pci.vq.size;
    }
    return vring_need_event(event, now, now - (q->avail_idx - old));
}

static bool want_kick(DpQueue *q, uint64_t old)
{
    return q->packed ? want_kick_packed(q, old) : want_kick_split(q, old);
}

bool dp_wants_kick(DpQueue *q)
{
    uint64_t now = q->avail_idx++;      /* as if a chain had been added */
    bool want = want_kick(q, now);

    q->avail_idx = now;
    return want;
}

/* Returns what was published before */
static uint64_t publish(DpQueue *q)
{
    uint64_t old = q->published;

    /* The chains, and the ring's entries, before what makes them valid */
    smp_wmb();
    if (!q->packed) {
        qatomic_set(&q->avail->idx, cpu_to_le16(q->avail_idx));
    } else if (q->avail_idx != old) {
        qatomic_set(&packed_desc(q, old)->flags, cpu_to_le16(q->first_flags));
    }
    q->published = q->avail_idx;
    return old;
}

void dp_publish_quietly(DpQueue *q)
{
    publish(q);
}

bool dp_publish(DpQueue *q)
{
    uint64_t old = publish(q);

    /* That before the look at what the device wants */
    smp_mb();
    if (want_kick(q, old)) {
        dp_kick(q);
        return true;
    }
    return false;
}

/* ---- Used buffers ---- */

/* Section 2.8.1.3 */
static bool packed_has_used(DpQueue *q)
{
    uint16_t flags = le16_to_cpu(qatomic_read(&packed_desc(q,
                                                     q->used_idx)->flags));
    bool wrap = packed_wrap(q, q->used_idx);

    return !!(flags & PACKED_AVAIL) == wrap && !!(flags & PACKED_USED) == wrap;
}

bool dp_has_used(DpQueue *q)
{
    if (q->in_batch) {
        return true;
    }
    if (q->packed) {
        return packed_has_used(q);
    }
    return le16_to_cpu(qatomic_read(&q->used->idx)) != (uint16_t)q->used_idx;
}

/* Read what the device wrote at the place that is next */
static void read_used(DpQueue *q, uint16_t *id, uint32_t *len)
{
    /* Whether there is something before what it is */
    smp_rmb();
    if (q->packed) {
        const struct vring_packed_desc *desc = packed_desc(q, q->used_idx);

        *id = le16_to_cpu(desc->id);
        /* Section 2.8.4: without the flag the length means nothing */
        *len = q->stock || le16_to_cpu(desc->flags) & VRING_DESC_F_WRITE ?
               le32_to_cpu(desc->len) : 0;
    } else {
        const struct vring_used_elem *elem =
            &q->used->ring[q->used_idx % q->pci.vq.size];

        *id = le32_to_cpu(elem->id);
        *len = le32_to_cpu(elem->len);
    }
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
    q->used_idx += q->packed ? chain->ndescs : 1;
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
    if (q->packed) {
        qatomic_set(&q->driver_event->flags,
                    cpu_to_le16(set ? VRING_PACKED_EVENT_FLAG_DISABLE :
                                      VRING_PACKED_EVENT_FLAG_ENABLE));
    } else {
        qatomic_set(&q->avail->flags,
                    cpu_to_le16(set ? VRING_AVAIL_F_NO_INTERRUPT : 0));
    }
    /* Before the caller looks at the ring */
    smp_mb();
}

void dp_set_used_event(DpQueue *q, unsigned n)
{
    uint64_t place = q->used_idx + n - 1;

    g_assert_true(q->pci.vq.event);
    if (q->packed) {
        qatomic_set(&q->driver_event->off_wrap,
                    cpu_to_le16(packed_off_wrap(q, place)));
        /* The place before the flags that speak of it */
        smp_wmb();
        qatomic_set(&q->driver_event->flags,
                    cpu_to_le16(VRING_PACKED_EVENT_FLAG_DESC));
    } else {
        qatomic_set(&q->avail->ring[q->pci.vq.size], cpu_to_le16(place));
    }
    /* Before the caller looks at the ring */
    smp_mb();
}
