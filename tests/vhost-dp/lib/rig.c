/*
 * vhost-dp: a driver and a device that share a virtqueue, for unit tests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"
#include "rig.h"

static const MockArea layout[] = {
    [AREA_BOTTOM] = { .gpa = 0, .size = BOTTOM_SIZE },
    [AREA_RING]   = { .gpa = DESC_GPA, .size = 0x8000 },
    [AREA_DATA0]  = { .gpa = DATA_GPA, .size = 0xa345 },
    [AREA_BYTE]   = { .gpa = 0x2a345, .size = 1 },
    [AREA_DATA1]  = { .gpa = 0x2a346, .size = 0x5cba },
    [AREA_SMALL]  = { .gpa = SMALL_GPA, .size = 8 },
    [AREA_DATA2]  = { .gpa = 0x30008, .size = 0xfff8 },
    [AREA_TABLE0] = { .gpa = TABLE_GPA, .size = 0x8008 },
    [AREA_TABLE1] = { .gpa = BORDER_GPA, .size = 0x7ff8 },
    [AREA_DEVICE] = { .gpa = DEVICE_GPA, .size = 0x1000,
                      .kind = MOCK_DEVICE },
    [AREA_LAST]   = { .gpa = LAST_GPA, .size = LAST_SIZE },
    [AREA_HIGH]   = { .gpa = HIGH_GPA, .size = 0x1000 },
    [AREA_HUGE]   = { .gpa = HUGE_GPA, .size = GiB, .kind = MOCK_RESERVED },
    [AREA_TOP]    = { .gpa = -TOP_SIZE, .size = TOP_SIZE },
};

static const unsigned split_sizes[] = { 1, 2, 4, 256, 1024 };
/* Not only powers of two (section 2.8.10.1) */
static const unsigned packed_sizes[] = { 1, 2, 3, 7, 256, 1000, 1024 };

static uint64_t rig_features(Rig *r)
{
    uint64_t features = 0;

    if (r->s.event_idx) {
        features |= 1ULL << VIRTIO_RING_F_EVENT_IDX;
    }
    if (r->s.notify_on_empty) {
        features |= 1ULL << VIRTIO_F_NOTIFY_ON_EMPTY;
    }
    if (r->s.in_order) {
        features |= 1ULL << VIRTIO_F_IN_ORDER;
    }
    if (r->s.packed) {
        features |= 1ULL << VIRTIO_F_RING_PACKED;
    }
    return features;
}

/* Ring addresses are moved by Setup.skew */
static uint64_t rig_ring(const Rig *r, uint64_t gpa)
{
    return gpa + r->s.skew;
}

static MockMemory *rig_new_pages(void)
{
    MockArea pages[IOMMU_PAGES];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(pages); i++) {
        pages[i] = (MockArea) {
            .gpa = DESC_GPA + i * VHOST_DP_IOTLB_PAGE_SIZE,
            .size = VHOST_DP_IOTLB_PAGE_SIZE,
        };
    }
    return mock_memory_new(pages, ARRAY_SIZE(pages));
}

unsigned rig_resolve(Rig *r)
{
    VhostDPIotlbMisses *misses = &r->iotlb->misses[r->vq.iotlb_user];
    unsigned n = misses->n;
    unsigned i;

    r->iotlb->refused[r->vq.iotlb_user].n = 0;
    for (i = 0; i < n; i++) {
        uint64_t page = misses->tag[i] & ~VHOST_DP_IOTLB_OFFSET_MASK;
        unsigned region = vhost_dp_memory_search(r->mem, page);

        if (region == r->mem->nregions || page == r->no_access) {
            vhost_dp_iotlb_refuse(r->iotlb, r->vq.iotlb_user, misses->tag[i]);
        } else {
            vhost_dp_iotlb_insert(r->iotlb, page,
                                  misses->tag[i] & VHOST_DP_IOTLB_OFFSET_MASK,
                                  r->mem->regions[region].host,
                                  &r->mem->regions[region]);
        }
    }
    misses->n = 0;
    r->resolved += n;
    return n;
}

static void rig_init_driver(Rig *r)
{
    if (r->s.packed) {
        mock_packed_init(&r->p, r->mm, r->s.num, rig_ring(r, DESC_GPA),
                         rig_ring(r, AVAIL_GPA), rig_ring(r, USED_GPA),
                         r->s.start ^ MOCK_PACKED_WRAP, r->s.event_idx,
                         r->s.big_endian);
    } else {
        mock_queue_init(&r->q, r->mm, r->s.num, rig_ring(r, DESC_GPA),
                        rig_ring(r, AVAIL_GPA), rig_ring(r, USED_GPA),
                        r->s.start, r->s.event_idx, r->s.big_endian);
    }
}

static void rig_destroy_driver(Rig *r)
{
    if (r->s.packed) {
        mock_packed_destroy(&r->p);
    } else {
        mock_queue_destroy(&r->q);
    }
}

void rig_begin_before_end(Setup *s, unsigned n)
{
    s->start = s->packed ? s->num - n : 0x10000 - n;
}

/* What counts entries, @n after the first: an index, or a place */
static uint16_t rig_entry(Rig *r, unsigned n)
{
    uint16_t first = r->s.start ^ MOCK_PACKED_WRAP;
    uint16_t wrap;

    if (!r->s.packed) {
        return r->s.start + n;
    }
    n += first & ~MOCK_PACKED_WRAP;
    wrap = n / r->s.num % 2 ? MOCK_PACKED_WRAP : 0;
    return (n % r->s.num) | ((first & MOCK_PACKED_WRAP) ^ wrap);
}

uint32_t rig_base(Rig *r, unsigned taken, unsigned used)
{
    uint32_t base = rig_entry(r, taken);

    return r->s.packed ? base | (uint32_t)rig_entry(r, used) << 16 : base;
}

static void rig_init_device(Rig *r, uint32_t base)
{
    vhost_dp_vring_init(&r->vq, r->s.writable);
    r->vq.num = r->s.num;
    r->vq.swap = r->s.big_endian != HOST_BIG_ENDIAN;
    r->vq.desc.gpa = rig_ring(r, DESC_GPA);
    r->vq.driver.gpa = rig_ring(r, AVAIL_GPA);
    r->vq.device.gpa = rig_ring(r, USED_GPA);
    r->vq.iotlb = r->iotlb;
    r->vq.iotlb_user = 1;
    vhost_dp_vring_set_base(&r->vq, base);
}

void rig_hand_over(Rig *r)
{
    uint32_t base = vhost_dp_vring_get_base(&r->vq);

    memset(&r->vq, 0xee, sizeof(r->vq));
    rig_init_device(r, base);
}

Rig *rig_new_stopped(Setup s)
{
    Rig *r = g_new0(Rig, 1);

    if (!s.num) {
        s.num = 16;
    }
    r->s = s;
    r->mm = s.iommu ? rig_new_pages() :
                      mock_memory_new(layout, ARRAY_SIZE(layout));
    r->iotlb = s.iommu ? vhost_dp_iotlb_new() : NULL;
    r->mem = mock_memory_table(r->mm, 0);
    rig_init_driver(r);
    rig_init_device(r, rig_base(r, 0, 0));
    return r;
}

int rig_start(Rig *r)
{
    return vhost_dp_vring_start(&r->vq, r->mem, rig_features(r));
}

Rig *rig_new(Setup s)
{
    Rig *r = rig_new_stopped(s);

    g_assert_cmpint(rig_start(r), ==, 0);
    return r;
}

void rig_free(Rig *r)
{
    vhost_dp_vring_stop(&r->vq);
    vhost_dp_memory_free(r->mem);
    rig_destroy_driver(r);
    mock_memory_free(r->mm);
    g_free(r->iotlb);
    g_free(r);
}

int rig_add_chain(Rig *r, const MockSeg *segs, unsigned n)
{
    return r->s.packed ? mock_packed_add(&r->p, segs, n)
                       : mock_queue_add(&r->q, segs, n);
}

int rig_add(Rig *r, uint64_t gpa, uint32_t len)
{
    MockSeg seg = { gpa, len, r->s.writable };

    return rig_add_chain(r, &seg, 1);
}

int rig_add_indirect(Rig *r, const MockSeg *segs, unsigned n, uint64_t table)
{
    return r->s.packed ? mock_packed_add_indirect(&r->p, segs, n, table) :
           mock_queue_add_indirect(&r->q, segs, n, 0, table, NULL);
}

void rig_shuffle(Rig *r, GRand *rand)
{
    if (r->s.packed) {
        mock_packed_shuffle(&r->p, rand);
    } else {
        mock_queue_shuffle(&r->q, rand);
    }
}

void rig_rewrite(Rig *r, unsigned n, int id, uint64_t gpa, uint32_t len,
                 uint16_t flags)
{
    uint16_t place = rig_entry(r, n);

    if (r->s.packed) {
        mock_packed_set_desc(&r->p, place & ~MOCK_PACKED_WRAP, gpa, len, id,
                             flags | mock_packed_avail(place));
    } else {
        mock_queue_set_desc(&r->q, id, gpa, len, flags, 0);
    }
}

bool rig_publish(Rig *r)
{
    return r->s.packed ? mock_packed_publish(&r->p)
                       : mock_queue_publish(&r->q);
}

bool rig_get_used(Rig *r, uint32_t *id, uint32_t *len)
{
    return r->s.packed ? mock_packed_get_used(&r->p, id, len)
                       : mock_queue_get_used(&r->q, id, len);
}

void rig_take_back(Rig *r, uint32_t id)
{
    if (r->s.packed) {
        mock_packed_take_back(&r->p, id);
    } else {
        mock_queue_take_back(&r->q, id);
    }
}

void rig_want_call(Rig *r)
{
    if (r->s.packed) {
        mock_packed_set_driver_flags(&r->p, MOCK_PACKED_ENABLE);
    } else {
        mock_queue_set_avail_flags(&r->q, 0);
    }
}

void rig_want_no_call(Rig *r)
{
    if (r->s.packed) {
        mock_packed_set_driver_flags(&r->p, MOCK_PACKED_DISABLE);
    } else {
        mock_queue_set_avail_flags(&r->q, VRING_AVAIL_F_NO_INTERRUPT);
    }
}

void rig_want_call_at(Rig *r, int distance)
{
    if (r->s.packed) {
        /* Two rounds are the same place */
        unsigned n = distance < 0 ? 2 * r->s.num + distance : distance;

        mock_packed_set_driver_event(
            &r->p, mock_packed_after(&r->p, r->p.last_used, n));
    } else {
        mock_queue_set_used_event(&r->q, r->q.last_used + distance);
    }
}

void rig_offer(Rig *r, unsigned n, uint32_t len)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        g_assert_cmpint(rig_add(r, DATA_GPA + i * 16, len), >=, 0);
    }
    rig_publish(r);
}

int rig_offer_chain(Rig *r, unsigned n)
{
    g_autofree MockSeg *segs = g_new0(MockSeg, n);
    unsigned i;
    int id;

    for (i = 0; i < n; i++) {
        segs[i] = (MockSeg) { DATA_GPA + 16 * i, 4, r->s.writable };
    }
    id = rig_add_chain(r, segs, n);
    g_assert_cmpint(id, >=, 0);
    rig_publish(r);
    return id;
}

unsigned rig_pop(Rig *r, unsigned max)
{
    unsigned n;

    do {
        n = vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, max, UINT32_MAX);
        if (r->vq.missed && n) {
            vhost_dp_vring_rewind(&r->vq, &r->burst, n);
        }
    } while (r->vq.missed && rig_resolve(r) && !r->vq.broken);
    return r->burst.nchains;
}

void rig_push(Rig *r)
{
    unsigned i;

    for (i = 0; i < r->burst.nchains; i++) {
        vhost_dp_vring_push(&r->vq, &r->burst.chain[i], 100 + i);
    }
}

bool rig_turn(Rig *r, unsigned n)
{
    uint32_t id, len;
    bool call;
    unsigned i;

    rig_offer(r, n, 8);
    g_assert_cmpuint(rig_pop(r, VHOST_DP_VRING_BURST), ==, n);
    rig_push(r);
    call = vhost_dp_vring_flush(&r->vq);
    for (i = 0; i < n; i++) {
        g_assert_true(rig_get_used(r, &id, &len));
        g_assert_cmpuint(id, ==, r->burst.chain[i].id);
        g_assert_cmpuint(len, ==, 100 + i);
    }
    g_assert_false(rig_get_used(r, &id, &len));
    return call;
}

void check_used(Rig *r, uint32_t id, uint32_t len)
{
    uint32_t got_id, got_len;

    g_assert_true(rig_get_used(r, &got_id, &got_len));
    g_assert_cmpuint(got_id, ==, id);
    g_assert_cmpuint(got_len, ==, len);
}

void check_no_used(Rig *r)
{
    uint32_t id, len;

    g_assert_false(rig_get_used(r, &id, &len));
}

void check_chain(Rig *r, unsigned i, int id, const MockRange *segs,
                 unsigned n)
{
    VhostDPChain *chain = &r->burst.chain[i];
    uint32_t sum = 0;
    unsigned j;

    g_assert_cmpuint(i, <, r->burst.nchains);
    g_assert_cmpint(chain->id, ==, id);
    g_assert_cmpuint(chain->nsegs, ==, n);
    for (j = 0; j < n; j++) {
        VhostDPRegion *region = chain->region[j];
        uint8_t *base = chain->iov[j].iov_base;

        g_assert_cmpuint(chain->iov[j].iov_len, ==, segs[j].len);
        g_assert_true(base == mock_memory_ptr(r->mm, segs[j].gpa,
                                              segs[j].len));
        g_assert_cmphex(base - region->host + region->gpa, ==, segs[j].gpa);
        sum += segs[j].len;
    }
    g_assert_cmpuint(chain->len, ==, sum);
}

void check_progress(Rig *r, unsigned taken, unsigned used)
{
    g_assert_cmphex(vhost_dp_vring_get_base(&r->vq), ==,
                    rig_base(r, taken, used));
    if (!r->s.packed) {
        g_assert_cmphex(mock_queue_used_idx(&r->q), ==, rig_entry(r, used));
    }
}

void check_asks_kick(Rig *r, unsigned n)
{
    if (r->s.packed) {
        /* DESC must not be used without EVENT_IDX (2.8.14) */
        g_assert_cmphex(mock_packed_device_flags(&r->p), ==,
                        r->s.event_idx ? MOCK_PACKED_DESC :
                                         MOCK_PACKED_ENABLE);
    } else {
        g_assert_cmphex(mock_queue_used_flags(&r->q), ==, 0);
    }
    if (r->s.event_idx) {
        g_assert_cmphex(r->s.packed ? mock_packed_device_event(&r->p) :
                                      mock_queue_avail_event(&r->q), ==,
                        rig_entry(r, n));
    }
}

void check_asks_no_kick(Rig *r)
{
    if (r->s.packed) {
        g_assert_cmphex(mock_packed_device_flags(&r->p), ==,
                        MOCK_PACKED_DISABLE);
    } else {
        /* The flags must not be used with EVENT_IDX (2.7.10) */
        g_assert_cmphex(mock_queue_used_flags(&r->q), ==,
                        r->s.event_idx ? 0 : VRING_USED_F_NO_NOTIFY);
    }
}

MockRange rig_range_asks(Rig *r)
{
    if (r->s.packed) {
        return r->s.event_idx ? mock_packed_range_device_event(&r->p) :
                                mock_packed_range_device_flags(&r->p);
    }
    return r->s.event_idx ? mock_queue_range_avail_event(&r->q) :
                            mock_queue_range_flags(&r->q);
}

void check_written(Rig *r, unsigned first, unsigned n)
{
    unsigned before_wrap = MIN(n, r->s.num - first);
    MockRange ranges[3];
    unsigned nranges = 0;

    if (r->s.packed) {
        ranges[nranges++] = mock_packed_range_used(&r->p, first, before_wrap);
        if (before_wrap < n) {
            ranges[nranges++] = mock_packed_range_used(&r->p, 0,
                                                       n - before_wrap);
        }
    } else {
        ranges[nranges++] = mock_queue_range_elems(&r->q, first, before_wrap);
        if (before_wrap < n) {
            ranges[nranges++] = mock_queue_range_elems(&r->q, 0,
                                                       n - before_wrap);
        }
        ranges[nranges++] = mock_queue_range_used_idx(&r->q);
    }
    mock_memory_check_exact(r->mm, ranges, nranges);
}

uint64_t violations(Rig *r)
{
    uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < VHOST_DP_VIOLATION__MAX; i++) {
        sum += r->vq.violations[i];
    }
    return sum;
}

void check_healthy(Rig *r)
{
    g_assert_false(r->vq.broken);
    g_assert_cmpuint(violations(r), ==, 0);
}

void check_broken(Rig *r, VhostDPViolation why)
{
    g_assert_true(r->vq.broken);
    g_assert_cmpint(r->vq.violation, ==, why);
    g_assert_cmpuint(r->vq.violations[why], ==, 1);
    g_assert_cmpuint(violations(r), ==, 1);
    g_assert_cmpuint(rig_pop(r, VHOST_DP_VRING_BURST), ==, 0);
    g_assert_cmpuint(r->burst.nchains, ==, 0);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    vhost_dp_vring_disable_notify(&r->vq);
    g_assert_cmpuint(rig_pop(r, VHOST_DP_VRING_BURST), ==, 0);
    g_assert_cmpuint(violations(r), ==, 1);
}

static void reset(Rig *r, bool packed)
{
    vhost_dp_vring_stop(&r->vq);
    rig_destroy_driver(r);
    r->s.packed = packed;
    r->s.start = 0;
    rig_init_driver(r);
    vhost_dp_vring_set_base(&r->vq, rig_base(r, 0, 0));
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_false(r->vq.broken);
}

void rig_reset(Rig *r)
{
    reset(r, r->s.packed);
}

void rig_change_format(Rig *r)
{
    reset(r, !r->s.packed);
}

void rig_move_memory(Rig *r, uint64_t skip)
{
    MockMemory *mm = mock_memory_clone(r->mm);
    VhostDPMemory *mem = mock_memory_table(mm, skip);

    vhost_dp_vring_remap(&r->vq, mem);
    vhost_dp_memory_free(r->mem);
    mock_memory_free(r->mm);
    r->mm = mm;
    r->mem = mem;
    r->q.mm = mm;
    r->p.mm = mm;
}

/* One run of a test */
typedef struct RigCase {
    const RigTest *test;
    Setup s;
} RigCase;

static void run_case(gconstpointer opaque)
{
    const RigCase *c = opaque;

    c->test->run(c->s);
}

static void add_case(const RigTest *test, Setup s)
{
    RigCase c = { .test = test, .s = s };
    g_autoptr(GString) path = g_string_new(s.packed ? RIG_PACKED : RIG_SPLIT);

    g_string_append(path, test->name);
    if (test->how & BY_SIZE) {
        g_string_append_printf(path, "/%u", s.num);
    }
    if (test->how & BY_EVENT) {
        g_string_append(path, s.event_idx ? "/event-idx" : "/flags");
    }
    g_test_add_data_func_full(path->str, g_memdup2(&c, sizeof(c)), run_case,
                              g_free);
}

static void add_events(const RigTest *test, Setup s)
{
    add_case(test, s);
    if (test->how & BY_EVENT) {
        s.event_idx = true;
        add_case(test, s);
    }
}

static void add_format(const RigTest *test, bool packed)
{
    const unsigned *sizes = packed ? packed_sizes : split_sizes;
    unsigned n = packed ? ARRAY_SIZE(packed_sizes) : ARRAY_SIZE(split_sizes);
    unsigned i;

    if (!(test->how & BY_SIZE)) {
        add_events(test, (Setup) { .packed = packed });
        return;
    }
    for (i = 0; i < n; i++) {
        add_events(test, (Setup) { .packed = packed, .num = sizes[i] });
    }
}

void rig_add_tests(const RigTest *tests, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        if (tests[i].how & FOR_SPLIT) {
            add_format(&tests[i], false);
        }
        if (tests[i].how & FOR_PACKED) {
            add_format(&tests[i], true);
        }
    }
}
