/*
 * vhost-dp: a guest for unit tests, made of fake memory and a virtio driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: each area is an allocation of its own, so that a
 * sanitizer sees an access past its end.  A MemoryRegionCache remembers its
 * area in mrs.mr, which nobody dereferences.  Ring indices and event fields
 * are accessed atomically: a test may run driver and device in two threads.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/memalign.h"
#include "system/xen.h"
#include "mock.h"

#define MOCK_ALIGN          64

/* The specification's numbers, written down once more on purpose */
#define DESC_SIZE           16
#define DESC_F_NEXT         1
#define DESC_F_WRITE        2
#define DESC_F_INDIRECT     4
#define USED_ELEM_SIZE      8
#define AVAIL_F_NO_INTERRUPT 1
#define USED_F_NO_NOTIFY    1

static bool area_compares(const MockArea *a)
{
    return a->kind == MOCK_RAM;
}

static MockArea *find_area(MockMemory *mm, uint64_t gpa)
{
    unsigned i;

    for (i = 0; i < mm->nareas; i++) {
        MockArea *a = &mm->areas[i];

        if (gpa >= a->gpa && gpa - a->gpa < a->size) {
            return a;
        }
    }
    return NULL;
}

/* In place of system/physmem.c */

int64_t address_space_cache_init(MemoryRegionCache *cache, AddressSpace *as,
                                 hwaddr addr, hwaddr len, bool is_write)
{
    MockMemory *mm = container_of(as, MockMemory, as);
    MockArea *a = find_area(mm, addr);

    g_assert_cmpuint(len, >, 0);
    g_assert_nonnull(a);
    if (a->kind == MOCK_ERROR) {
        return -EINVAL;
    }
    len = MIN(len, a->gpa + a->size - addr);
    if (a->piece) {
        len = MIN(len, a->piece);
    }
    cache->ptr = a->kind == MOCK_DEVICE ? NULL : a->host + (addr - a->gpa);
    cache->xlat = addr - a->gpa;
    cache->len = len;
    cache->fv = (FlatView *)mm;
    cache->mrs.mr = (MemoryRegion *)a;
    cache->is_write = is_write;
    mm->refs++;
    mm->inits++;
    return len;
}

/* This is not Xen */
bool xen_allowed;

/* As while a migration runs: all writes are of interest */
uint8_t memory_region_get_dirty_log_mask(MemoryRegion *mr)
{
    return 1 << DIRTY_MEMORY_MIGRATION;
}

void address_space_cache_invalidate(MemoryRegionCache *cache, hwaddr addr,
                                    hwaddr access_len)
{
    MockArea *a = (MockArea *)cache->mrs.mr;

    g_assert_true(cache->is_write);
    g_assert_nonnull(cache->ptr);
    g_assert_cmpuint(addr, <=, cache->len);
    g_assert_cmpuint(access_len, <=, cache->len - addr);
    if (area_compares(a)) {
        memset(a->dirty + cache->xlat + addr, 1, access_len);
    }
}

void address_space_cache_destroy(MemoryRegionCache *cache)
{
    MockMemory *mm = (MockMemory *)cache->fv;

    if (!cache->mrs.mr) {
        return;
    }
    g_assert_cmpuint(mm->refs, >, 0);
    mm->refs--;
    cache->mrs.mr = NULL;
    cache->ptr = NULL;
}

/* Guest memory */

static void area_alloc(MockArea *a)
{
    /* The end is exact, and alignment is that of the guest address */
    unsigned misalign = a->gpa % MOCK_ALIGN;
    uint64_t i;

    a->host = NULL;
    a->alloc = NULL;
    a->before = NULL;
    a->dirty = NULL;
    switch (a->kind) {
    case MOCK_RAM:
        a->alloc = qemu_memalign(MOCK_ALIGN, misalign + a->size);
        a->host = (uint8_t *)a->alloc + misalign;
        for (i = 0; i < a->size; i++) {
            a->host[i] = 0xa0 ^ (a->gpa + i) ^ ((a->gpa + i) >> 8);
        }
        a->before = g_memdup2(a->host, a->size);
        a->dirty = g_malloc0(a->size);
        break;
    case MOCK_RESERVED:
        a->host = mmap(NULL, a->size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        g_assert_true(a->host != MAP_FAILED);
        break;
    case MOCK_DEVICE:
    case MOCK_ERROR:
        break;
    }
}

MockMemory *mock_memory_new(const MockArea *areas, unsigned n)
{
    MockMemory *mm = g_new0(MockMemory, 1);
    unsigned i;

    mm->nareas = n;
    mm->areas = g_memdup2(areas, n * sizeof(*areas));
    for (i = 0; i < n; i++) {
        area_alloc(&mm->areas[i]);
    }
    return mm;
}

MockMemory *mock_memory_clone(const MockMemory *mm)
{
    MockMemory *copy = mock_memory_new(mm->areas, mm->nareas);
    unsigned i;

    for (i = 0; i < mm->nareas; i++) {
        if (area_compares(&mm->areas[i])) {
            memcpy(copy->areas[i].host, mm->areas[i].host, mm->areas[i].size);
        }
    }
    mock_memory_snapshot(copy);
    return copy;
}

void mock_memory_free(MockMemory *mm)
{
    unsigned i;

    if (!mm) {
        return;
    }
    g_assert_cmpuint(mm->refs, ==, 0);
    for (i = 0; i < mm->nareas; i++) {
        MockArea *a = &mm->areas[i];

        if (a->kind == MOCK_RESERVED) {
            munmap(a->host, a->size);
        }
        qemu_vfree(a->alloc);
        g_free(a->before);
        g_free(a->dirty);
    }
    g_free(mm->areas);
    g_free(mm);
}

VhostDPMemory *mock_memory_table(MockMemory *mm, uint64_t skip)
{
    g_autofree MemoryRegionSection *sections = NULL;
    unsigned i, n = 0;

    sections = g_new0(MemoryRegionSection, mm->nareas);
    for (i = 0; i < mm->nareas; i++) {
        if (i < 64 && (skip >> i) & 1) {
            continue;
        }
        sections[n].offset_within_address_space = mm->areas[i].gpa;
        sections[n].size = int128_make64(mm->areas[i].size);
        n++;
    }
    return vhost_dp_memory_new(&mm->as, sections, n);
}

void *mock_memory_ptr(MockMemory *mm, uint64_t gpa, uint64_t len)
{
    MockArea *a = find_area(mm, gpa);

    g_assert_nonnull(a);
    g_assert_nonnull(a->host);
    g_assert_cmpuint(len, <=, a->gpa + a->size - gpa);
    return a->host + (gpa - a->gpa);
}

static void mock_memory_copy(MockMemory *mm, uint64_t gpa, uint8_t *buf,
                             uint64_t len, bool write)
{
    while (len) {
        MockArea *a = find_area(mm, gpa);
        uint64_t n;
        uint8_t *host;

        g_assert_nonnull(a);
        n = MIN(len, a->gpa + a->size - gpa);
        host = a->host + (gpa - a->gpa);
        memcpy(write ? host : buf, write ? buf : host, n);
        gpa += n;
        buf += n;
        len -= n;
    }
}

void mock_memory_write(MockMemory *mm, uint64_t gpa, const void *buf,
                       uint64_t len)
{
    mock_memory_copy(mm, gpa, (uint8_t *)buf, len, true);
}

void mock_memory_read(MockMemory *mm, uint64_t gpa, void *buf, uint64_t len)
{
    mock_memory_copy(mm, gpa, buf, len, false);
}

void mock_memory_snapshot(MockMemory *mm)
{
    unsigned i;

    for (i = 0; i < mm->nareas; i++) {
        MockArea *a = &mm->areas[i];

        if (area_compares(a)) {
            memcpy(a->before, a->host, a->size);
            memset(a->dirty, 0, a->size);
        }
    }
}

void mock_memory_check(MockMemory *mm)
{
    const uint64_t chunk = 256;
    unsigned i;

    for (i = 0; i < mm->nareas; i++) {
        MockArea *a = &mm->areas[i];
        uint64_t from, j;

        if (!area_compares(a)) {
            continue;
        }
        for (from = 0; from < a->size; from += chunk) {
            uint64_t n = MIN(chunk, a->size - from);

            if (!memcmp(a->host + from, a->before + from, n)) {
                continue;
            }
            for (j = from; j < from + n; j++) {
                if (a->host[j] != a->before[j] && !a->dirty[j]) {
                    g_error("byte at 0x%" PRIx64 " was written and not "
                            "reported", a->gpa + j);
                }
            }
        }
    }
}

static bool in_ranges(const MockRange *ranges, unsigned n, uint64_t gpa)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        if (gpa - ranges[i].gpa < ranges[i].len) {
            return true;
        }
    }
    return false;
}

void mock_memory_check_exact(MockMemory *mm, const MockRange *ranges,
                             unsigned n)
{
    unsigned i;

    mock_memory_check(mm);
    for (i = 0; i < mm->nareas; i++) {
        MockArea *a = &mm->areas[i];
        uint64_t j;

        for (j = 0; area_compares(a) && j < a->size; j++) {
            bool want = in_ranges(ranges, n, a->gpa + j);

            if (a->dirty[j] != want) {
                g_error("byte at 0x%" PRIx64 " was %sreported as written",
                        a->gpa + j, want ? "not " : "");
            }
        }
    }
}

/* What both drivers use */

uint16_t mock_load16(MockMemory *mm, bool big_endian, uint64_t gpa)
{
    uint16_t *p = mock_memory_ptr(mm, gpa, sizeof(*p));

    return mock_swap16(big_endian, qatomic_read(p));
}

void mock_store16(MockMemory *mm, bool big_endian, uint64_t gpa, uint16_t v)
{
    uint16_t *p = mock_memory_ptr(mm, gpa, sizeof(*p));

    qatomic_set(p, mock_swap16(big_endian, v));
}

void mock_shuffle(uint16_t *v, unsigned n, GRand *rand)
{
    while (n > 1) {
        unsigned i = g_rand_int_range(rand, 0, n--);
        uint16_t tmp = v[i];

        v[i] = v[n];
        v[n] = tmp;
    }
}

/* The driver: addresses in the rings (virtio 1.3, 2.7.6 and 2.7.8) */

static uint64_t avail_flags_gpa(MockQueue *q)
{
    return q->avail;
}

static uint64_t avail_idx_gpa(MockQueue *q)
{
    return q->avail + 2;
}

static uint64_t avail_ring_gpa(MockQueue *q, uint16_t idx)
{
    return q->avail + 4 + 2 * (idx % q->num);
}

static uint64_t used_event_gpa(MockQueue *q)
{
    return q->avail + 4 + 2 * q->num;
}

static uint64_t used_idx_gpa(MockQueue *q)
{
    return q->used + 2;
}

static uint64_t used_elem_gpa(MockQueue *q, uint16_t idx)
{
    return q->used + 4 + USED_ELEM_SIZE * (idx % q->num);
}

static uint64_t avail_event_gpa(MockQueue *q)
{
    return q->used + 4 + USED_ELEM_SIZE * q->num;
}

uint16_t mock_queue_used_idx(MockQueue *q)
{
    return mock_load16(q->mm, q->big_endian, used_idx_gpa(q));
}

uint16_t mock_queue_used_flags(MockQueue *q)
{
    return mock_load16(q->mm, q->big_endian, q->used);
}

uint16_t mock_queue_avail_event(MockQueue *q)
{
    return mock_load16(q->mm, q->big_endian, avail_event_gpa(q));
}

void mock_queue_set_avail_idx(MockQueue *q, uint16_t idx)
{
    mock_store16(q->mm, q->big_endian, avail_idx_gpa(q), idx);
}

void mock_queue_set_avail_flags(MockQueue *q, uint16_t flags)
{
    mock_store16(q->mm, q->big_endian, avail_flags_gpa(q), flags);
}

void mock_queue_set_used_event(MockQueue *q, uint16_t idx)
{
    mock_store16(q->mm, q->big_endian, used_event_gpa(q), idx);
}

MockRange mock_queue_range_flags(MockQueue *q)
{
    return (MockRange) { q->used, 2 };
}

MockRange mock_queue_range_used_idx(MockQueue *q)
{
    return (MockRange) { used_idx_gpa(q), 2 };
}

MockRange mock_queue_range_elems(MockQueue *q, unsigned first, unsigned n)
{
    return (MockRange) { used_elem_gpa(q, first), n * USED_ELEM_SIZE };
}

MockRange mock_queue_range_avail_event(MockQueue *q)
{
    return (MockRange) { avail_event_gpa(q), 2 };
}

/* The driver: chains */

void mock_queue_init(MockQueue *q, MockMemory *mm, unsigned num,
                     uint64_t desc, uint64_t avail, uint64_t used,
                     uint16_t start, bool event_idx, bool big_endian)
{
    unsigned i;

    memset(q, 0, sizeof(*q));
    q->mm = mm;
    q->num = num;
    q->event_idx = event_idx;
    q->big_endian = big_endian;
    q->desc = desc;
    q->avail = avail;
    q->used = used;
    q->next_avail = start;
    q->avail_idx = start;
    q->last_used = start;

    q->free = g_new0(uint16_t, num);
    q->ndesc = g_new0(uint16_t, num);
    q->chain = g_new0(uint16_t, num * num);
    q->nfree = num;
    for (i = 0; i < num; i++) {
        q->free[i] = num - 1 - i;
    }

    mock_store16(q->mm, q->big_endian, avail_flags_gpa(q), 0);
    mock_store16(q->mm, q->big_endian, avail_idx_gpa(q), start);
    mock_store16(q->mm, q->big_endian, q->used, 0);
    mock_store16(q->mm, q->big_endian, used_idx_gpa(q), start);
    if (event_idx) {
        mock_store16(q->mm, q->big_endian, used_event_gpa(q), start);
        mock_store16(q->mm, q->big_endian, avail_event_gpa(q), start);
    }
}

void mock_queue_destroy(MockQueue *q)
{
    g_free(q->free);
    g_free(q->ndesc);
    g_free(q->chain);
    memset(q, 0, sizeof(*q));
}

void mock_queue_shuffle(MockQueue *q, GRand *rand)
{
    mock_shuffle(q->free, q->nfree, rand);
}

void mock_queue_write_desc(MockQueue *q, uint64_t gpa, uint64_t addr,
                           uint32_t len, uint16_t flags, uint16_t next)
{
    uint8_t raw[DESC_SIZE];

    addr = mock_swap64(q->big_endian, addr);
    len = mock_swap32(q->big_endian, len);
    flags = mock_swap16(q->big_endian, flags);
    next = mock_swap16(q->big_endian, next);
    memcpy(raw, &addr, 8);
    memcpy(raw + 8, &len, 4);
    memcpy(raw + 12, &flags, 2);
    memcpy(raw + 14, &next, 2);
    mock_memory_write(q->mm, gpa, raw, sizeof(raw));
}

void mock_queue_set_desc(MockQueue *q, unsigned i, uint64_t addr, uint32_t len,
                         uint16_t flags, uint16_t next)
{
    mock_queue_write_desc(q, q->desc + i * DESC_SIZE, addr, len, flags, next);
}

void mock_queue_add_head(MockQueue *q, uint16_t head)
{
    mock_store16(q->mm, q->big_endian, avail_ring_gpa(q, q->next_avail), head);
    q->next_avail++;
}

static uint16_t seg_flags(const MockSeg *seg, bool last)
{
    return (seg->writable ? DESC_F_WRITE : 0) | (last ? 0 : DESC_F_NEXT);
}

int mock_queue_add_indirect(MockQueue *q, const MockSeg *segs, unsigned n,
                            unsigned ndirect, uint64_t table, GRand *rand)
{
    unsigned nindirect = n - ndirect;
    unsigned need = ndirect + (nindirect ? 1 : 0);
    g_autofree uint16_t *place = g_new(uint16_t, nindirect + 1);
    uint16_t *chain;
    uint16_t head;
    unsigned i;

    g_assert_cmpuint(need, >, 0);
    if (q->nfree < need) {
        return -1;
    }
    q->nfree -= need;
    head = q->free[q->nfree + need - 1];
    chain = &q->chain[head * q->num];
    for (i = 0; i < need; i++) {
        chain[i] = q->free[q->nfree + need - 1 - i];
    }
    q->ndesc[head] = need;

    for (i = 0; i < ndirect; i++) {
        bool last = i + 1 == need;

        mock_queue_set_desc(q, chain[i], segs[i].gpa, segs[i].len,
                            seg_flags(&segs[i], last),
                            last ? 0xdead : chain[i + 1]);
    }
    if (nindirect) {
        mock_queue_set_desc(q, chain[ndirect], table, nindirect * DESC_SIZE,
                            DESC_F_INDIRECT, 0xdead);
    }

    /* The first descriptor of a table is the chain's first (2.7.5.3) */
    for (i = 0; i < nindirect; i++) {
        place[i] = i;
    }
    if (rand && nindirect > 1) {
        mock_shuffle(place + 1, nindirect - 1, rand);
    }
    for (i = 0; i < nindirect; i++) {
        const MockSeg *seg = &segs[ndirect + i];
        bool last = i + 1 == nindirect;

        mock_queue_write_desc(q, table + place[i] * DESC_SIZE,
                              seg->gpa, seg->len, seg_flags(seg, last),
                              last ? 0xdead : place[i + 1]);
    }
    mock_queue_add_head(q, head);
    return head;
}

int mock_queue_add(MockQueue *q, const MockSeg *segs, unsigned n)
{
    return mock_queue_add_indirect(q, segs, n, n, 0, NULL);
}

bool mock_queue_publish(MockQueue *q)
{
    uint16_t added = q->next_avail - q->avail_idx;
    uint16_t event;

    /* Entries before the index (virtio 1.3, 2.7.13.3) */
    smp_wmb();
    mock_store16(q->mm, q->big_endian, avail_idx_gpa(q), q->next_avail);
    q->avail_idx = q->next_avail;
    /* The index before the look at the device's wish (2.7.13.4.1) */
    smp_mb();
    if (!q->event_idx) {
        return !(mock_queue_used_flags(q) & USED_F_NO_NOTIFY);
    }
    /* Was the entry that the device waits for among those added? */
    event = mock_queue_avail_event(q);
    for (; added; added--) {
        if ((uint16_t)(q->avail_idx - added) == event) {
            return true;
        }
    }
    return false;
}

void mock_queue_take_back(MockQueue *q, uint32_t id)
{
    unsigned i;

    q->last_used++;
    if (id < q->num) {
        for (i = q->ndesc[id]; i > 0; i--) {
            q->free[q->nfree++] = q->chain[id * q->num + i - 1];
        }
        q->ndesc[id] = 0;
    }
}

bool mock_queue_get_used(MockQueue *q, uint32_t *id, uint32_t *len)
{
    uint32_t elem[2];

    if (mock_queue_used_idx(q) == q->last_used) {
        return false;
    }
    /* The element after the index */
    smp_rmb();
    mock_memory_read(q->mm, used_elem_gpa(q, q->last_used), elem,
                     sizeof(elem));
    *id = mock_swap32(q->big_endian, elem[0]);
    *len = mock_swap32(q->big_endian, elem[1]);
    mock_queue_take_back(q, *id);
    return true;
}
