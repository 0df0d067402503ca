/*
 * vhost-dp: a driver and a device that share a split virtqueue, for unit tests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_ring.h"
#include "vhost-dp-rig.h"

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

static const unsigned sizes[] = { 1, 2, 4, 256, 1024 };

static uint64_t rig_features(Rig *r)
{
    return r->s.event_idx ? 1ULL << VIRTIO_RING_F_EVENT_IDX : 0;
}

Rig *rig_new_stopped(Setup s)
{
    Rig *r = g_new0(Rig, 1);

    if (!s.num) {
        s.num = 16;
    }
    r->s = s;
    r->mm = mock_memory_new(layout, ARRAY_SIZE(layout));
    r->mem = mock_memory_table(r->mm, 0);
    mock_queue_init(&r->q, r->mm, s.num, DESC_GPA, AVAIL_GPA, USED_GPA,
                    s.start, s.event_idx, s.big_endian);
    vhost_dp_vring_init(&r->vq, s.writable);
    r->vq.num = s.num;
    r->vq.swap = s.big_endian != HOST_BIG_ENDIAN;
    r->vq.desc.gpa = DESC_GPA;
    r->vq.avail.gpa = AVAIL_GPA;
    r->vq.used.gpa = USED_GPA;
    vhost_dp_vring_set_base(&r->vq, s.start);
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
    mock_queue_destroy(&r->q);
    mock_memory_free(r->mm);
    g_free(r);
}

int rig_add(Rig *r, uint64_t gpa, uint32_t len)
{
    MockSeg seg = { gpa, len, r->s.writable };

    return mock_queue_add(&r->q, &seg, 1);
}

void rig_offer(Rig *r, unsigned n, uint32_t len)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        g_assert_cmpint(rig_add(r, DATA_GPA + i * 16, len), >=, 0);
    }
    mock_queue_publish(&r->q);
}

unsigned rig_pop(Rig *r, unsigned max)
{
    return vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, max, UINT32_MAX);
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
        g_assert_true(mock_queue_get_used(&r->q, &id, &len));
        g_assert_cmpuint(id, ==, r->burst.chain[i].id);
        g_assert_cmpuint(len, ==, 100 + i);
    }
    g_assert_false(mock_queue_get_used(&r->q, &id, &len));
    return call;
}

void check_used(Rig *r, uint32_t id, uint32_t len)
{
    uint32_t got_id, got_len;

    g_assert_true(mock_queue_get_used(&r->q, &got_id, &got_len));
    g_assert_cmpuint(got_id, ==, id);
    g_assert_cmpuint(got_len, ==, len);
}

void check_no_used(Rig *r)
{
    uint32_t id, len;

    g_assert_false(mock_queue_get_used(&r->q, &id, &len));
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

void rig_reset(Rig *r)
{
    vhost_dp_vring_stop(&r->vq);
    mock_queue_destroy(&r->q);
    mock_queue_init(&r->q, r->mm, r->s.num, DESC_GPA, AVAIL_GPA, USED_GPA, 0,
                    r->s.event_idx, r->s.big_endian);
    vhost_dp_vring_set_base(&r->vq, 0);
    g_assert_cmpint(rig_start(r), ==, 0);
    g_assert_false(r->vq.broken);
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
}

void rig_test_sizes(const char *name, GTestDataFunc func)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *path = g_strdup_printf(RIG_SPLIT "%s/%u", name,
                                                sizes[i]);

        g_test_add_data_func(path, &sizes[i], func);
    }
}

void rig_test_event(const char *name, GTestDataFunc func)
{
    g_autofree char *flags = g_strdup_printf(RIG_SPLIT "%s/flags", name);
    g_autofree char *event = g_strdup_printf(RIG_SPLIT "%s/event-idx", name);

    g_test_add_data_func(flags, NULL, func);
    g_test_add_data_func(event, "", func);
}
