/*
 * vhost-dp: tests of virtqueues: what a driver must not do
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A table says what is in the ring, and in an indirect table, for each rule
 * that is broken.  Sections are those of the virtio specification, version 1.3:
 * where there are two, the first one is about split rings and the second one
 * about packed ones.
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_ring.h"
#include "tests/vhost-dp/lib/rig.h"

enum {
    NUM = 16,           /* of the queue */
    BAD = 8,            /* split: first descriptor to misuse */
    BAD_ID = 9,         /* packed: buffer id */
    MAX_DESCS = 4,
};

typedef enum Kind {
    END,                /* no descriptor: those before are all */
    READ,
    WRITE,
    OWN,                /* of the queue's direction */
    OTHER,
    TABLE,              /* a reference to an indirect table */
} Kind;

typedef struct Desc {
    Kind kind;
    uint64_t gpa;
    uint32_t len;
} Desc;

typedef struct Violation {
    const char *name;
    unsigned formats;
    VhostDPViolation why;
    Desc chain[MAX_DESCS + 1];
    /* Chained as far as the chain's last descriptor says that it is long */
    Desc table[MAX_DESCS + 1];
    uint64_t table_gpa;         /* 0: TABLE_GPA */
    void (*add)(Rig *r);        /* instead of these */
} Violation;

static uint16_t desc_flags(Rig *r, Kind kind)
{
    switch (kind) {
    case WRITE:
        return VRING_DESC_F_WRITE;
    case OWN:
        return r->s.writable ? VRING_DESC_F_WRITE : 0;
    case OTHER:
        return r->s.writable ? 0 : VRING_DESC_F_WRITE;
    case TABLE:
        return VRING_DESC_F_INDIRECT;
    default:
        return 0;
    }
}

/* Descriptor @i of a table; a packed ring's have no NEXT (2.8.7) */
static void put_in_table(Rig *r, uint64_t table, unsigned i, Desc d, bool more)
{
    uint64_t gpa = table + 16 * i;
    uint16_t flags = desc_flags(r, d.kind);

    if (r->s.packed) {
        mock_packed_write_desc(&r->p, gpa, d.gpa, d.len, 0, flags);
    } else {
        mock_queue_write_desc(&r->q, gpa, d.gpa, d.len,
                              flags | (more ? VRING_DESC_F_NEXT : 0), i + 1);
    }
}

static void put_chain(Rig *r, const Desc *descs)
{
    unsigned i;

    for (i = 0; descs[i].kind; i++) {
        const Desc *d = &descs[i];
        uint16_t flags = desc_flags(r, d->kind) |
                         (d[1].kind ? VRING_DESC_F_NEXT : 0);

        if (r->s.packed) {
            mock_packed_add_desc(&r->p, d->gpa, d->len, BAD_ID, flags);
        } else {
            mock_queue_set_desc(&r->q, BAD + i, d->gpa, d->len, flags,
                                BAD + i + 1);
        }
    }
    if (!r->s.packed) {
        mock_queue_add_head(&r->q, BAD);
    }
}

static void put_table_reference(Rig *r, uint32_t len)
{
    put_chain(r, (Desc[]) { { TABLE, TABLE_GPA, len }, { } });
}

static void add_violation(Rig *r, const Violation *v)
{
    uint64_t gpa = v->table_gpa ? v->table_gpa : TABLE_GPA;
    uint32_t len = 0;
    unsigned i;

    if (v->add) {
        v->add(r);
        return;
    }
    for (i = 0; v->chain[i].kind; i++) {
        len = v->chain[i].len;
    }
    for (i = 0; v->table[i].kind; i++) {
        put_in_table(r, gpa, i, v->table[i], (i + 1) * 16 < len);
    }
    put_chain(r, v->chain);
}

/* What does not fit into the table of violations */

/* Before the own part on receive, after it on transmit */
static void bad_zero_other(Rig *r)
{
    static const Desc rx[] = { { OTHER, DATA_GPA, 0 }, { OWN, DATA_GPA, 4 },
                               { } };
    static const Desc tx[] = { { OWN, DATA_GPA, 4 }, { OTHER, DATA_GPA, 0 },
                               { } };

    put_chain(r, r->s.writable ? rx : tx);
}

static void bad_segments(Rig *r)
{
    unsigned i, n = VHOST_DP_VRING_MAX_SEGS + 1;

    for (i = 0; i < n; i++) {
        put_in_table(r, TABLE_GPA, i, (Desc) { OWN, DATA_GPA, 1 }, i + 1 < n);
    }
    put_table_reference(r, n * 16);
}

/* 1024 descriptors, but one buffer is in two regions */
static void bad_segments_cut(Rig *r)
{
    unsigned i, n = VHOST_DP_VRING_MAX_SEGS;

    for (i = 0; i < n; i++) {
        bool more = i + 1 < n;

        put_in_table(r, TABLE_GPA, i,
                     (Desc) { OWN, 0x2a344, more ? 1 : 2 }, more);
    }
    put_table_reference(r, n * 16);
}

/*
 * The same with descriptors of the other direction, in a table that claims to
 * be huge: loops are bounded, as the lock is held meanwhile
 */
static void bad_segments_other(Rig *r)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_VRING_MAX_SEGS + 1; i++) {
        put_in_table(r, TABLE_GPA, i, (Desc) { OTHER, DATA_GPA, 1 }, true);
    }
    put_table_reference(r, 0xfffffff0);
}

/* Split: chains of own making */

static void split_desc(Rig *r, unsigned i, Kind kind, unsigned next)
{
    mock_queue_set_desc(&r->q, BAD + i, DATA_GPA, 4,
                        desc_flags(r, kind) | VRING_DESC_F_NEXT, BAD + next);
}

static void bad_head_beyond(Rig *r)
{
    mock_queue_add_head(&r->q, NUM);
}

static void bad_head_far_beyond(Rig *r)
{
    mock_queue_add_head(&r->q, 65535);
}

static void bad_next_beyond(Rig *r)
{
    split_desc(r, 0, OWN, NUM - BAD);
    mock_queue_add_head(&r->q, BAD);
}

/* A number that would be fine in the ring's own table */
static void bad_indirect_next_beyond(Rig *r)
{
    mock_queue_write_desc(&r->q, TABLE_GPA, DATA_GPA, 4,
                          desc_flags(r, OWN) | VRING_DESC_F_NEXT, 2);
    put_in_table(r, TABLE_GPA, 2, (Desc) { OWN, DATA_GPA, 4 }, false);
    put_table_reference(r, 2 * 16);
}

static void bad_loop_self(Rig *r)
{
    split_desc(r, 0, OWN, 0);
    mock_queue_add_head(&r->q, BAD);
}

static void bad_loop_of_two(Rig *r)
{
    split_desc(r, 0, OWN, 1);
    split_desc(r, 1, OWN, 2);
    split_desc(r, 2, OWN, 1);
    mock_queue_add_head(&r->q, BAD);
}

static void bad_loop_other(Rig *r)
{
    split_desc(r, 0, OTHER, 0);
    mock_queue_add_head(&r->q, BAD);
}

static void bad_loop_indirect(Rig *r)
{
    put_in_table(r, TABLE_GPA, 0, (Desc) { OWN, DATA_GPA, 4 }, true);
    mock_queue_write_desc(&r->q, TABLE_GPA + 16, DATA_GPA, 4,
                          desc_flags(r, OWN) | VRING_DESC_F_NEXT, 0);
    put_table_reference(r, 2 * 16);
}

/* Packed: around the ring, into what the device has; 14 are left of 16 */
static void bad_chain_around(Rig *r)
{
    unsigned i;

    for (i = 0; i < NUM - 2; i++) {
        mock_packed_add_desc(&r->p, DATA_GPA, 4, BAD_ID,
                             desc_flags(r, OWN) | VRING_DESC_F_NEXT);
    }
}

#define WHY(reason) VHOST_DP_VIOLATION_ ## reason
#define LAST_END (LAST_GPA + LAST_SIZE)

static const Violation bad_chains[] = {
    /* 2.7.13.1 and 2.7.5 */
    { "head-beyond-table", FOR_SPLIT, WHY(DESCRIPTOR_INDEX),
      .add = bad_head_beyond },
    { "head-far-beyond-table", FOR_SPLIT, WHY(DESCRIPTOR_INDEX),
      .add = bad_head_far_beyond },
    { "next-beyond-table", FOR_SPLIT, WHY(DESCRIPTOR_INDEX),
      .add = bad_next_beyond },
    { "indirect-next-beyond-table", FOR_SPLIT, WHY(DESCRIPTOR_INDEX),
      .add = bad_indirect_next_beyond },
    /* 2.7.5.2: drivers must not add loops; 2.8.17: not longer than the queue */
    { "loop-of-one", FOR_SPLIT, WHY(DESCRIPTOR_LOOP), .add = bad_loop_self },
    { "loop-behind-first", FOR_SPLIT, WHY(DESCRIPTOR_LOOP),
      .add = bad_loop_of_two },
    { "loop-in-other-direction", FOR_SPLIT, WHY(DESCRIPTOR_LOOP),
      .add = bad_loop_other },
    { "loop-in-table", FOR_SPLIT, WHY(DESCRIPTOR_LOOP),
      .add = bad_loop_indirect },
    { "chain-around-ring", FOR_PACKED, WHY(DESCRIPTOR_LOOP),
      .add = bad_chain_around },
    /* 2.7.4.2, 2.8.5 and 2.8.17 */
    { "readable-after-writable", FOR_BOTH, WHY(DESCRIPTOR_ORDER),
      .chain = { { READ, DATA_GPA, 4 }, { WRITE, DATA_GPA, 4 },
                 { READ, DATA_GPA, 4 } } },
    { "readable-after-writable-in-table", FOR_BOTH, WHY(DESCRIPTOR_ORDER),
      .chain = { { TABLE, TABLE_GPA, 32 } },
      .table = { { WRITE, DATA_GPA, 4 }, { READ, DATA_GPA, 4 } } },
    { "readable-table-after-writable", FOR_SPLIT, WHY(DESCRIPTOR_ORDER),
      .chain = { { WRITE, DATA_GPA, 4 }, { TABLE, TABLE_GPA, 16 } },
      .table = { { READ, DATA_GPA, 4 } } },
    /* 2.7.5, 2.8.13: a length is not zero */
    { "zero-length-first", FOR_BOTH, WHY(ZERO_LENGTH),
      .chain = { { OWN, DATA_GPA, 0 }, { OWN, DATA_GPA, 4 } } },
    { "zero-length-last", FOR_BOTH, WHY(ZERO_LENGTH),
      .chain = { { OWN, DATA_GPA, 12 }, { OWN, DATA_GPA, 0 } } },
    { "zero-length-in-table", FOR_BOTH, WHY(ZERO_LENGTH),
      .chain = { { TABLE, TABLE_GPA, 32 } },
      .table = { { OWN, DATA_GPA, 4 }, { OWN, DATA_GPA, 0 } } },
    { "zero-length-other-direction", FOR_BOTH, WHY(ZERO_LENGTH),
      .add = bad_zero_other },
    /* 2.7.5.3.1; 2.8.7 and 2.8.19 */
    { "table-in-table", FOR_BOTH, WHY(INDIRECT_NESTED),
      .chain = { { TABLE, TABLE_GPA, 32 } },
      .table = { { OWN, DATA_GPA, 4 }, { TABLE, TABLE_GPA + 32, 16 },
                 { OWN, DATA_GPA, 4 } } },
    { "table-in-itself", FOR_BOTH, WHY(INDIRECT_NESTED),
      .chain = { { TABLE, TABLE_GPA, 16 } },
      .table = { { TABLE, TABLE_GPA, 16 } } },
    { "table-first-in-chain", FOR_PACKED, WHY(INDIRECT_CHAINED),
      .chain = { { TABLE, TABLE_GPA, 16 }, { OWN, DATA_GPA, 4 } },
      .table = { { OWN, DATA_GPA, 4 } } },
    { "table-last-in-chain", FOR_PACKED, WHY(INDIRECT_CHAINED),
      .chain = { { OWN, DATA_GPA, 4 }, { TABLE, TABLE_GPA, 16 } },
      .table = { { OWN, DATA_GPA, 4 } } },
    { "table-of-no-bytes", FOR_BOTH, WHY(INDIRECT_SIZE),
      .chain = { { TABLE, TABLE_GPA, 0 } } },
    { "table-of-15-bytes", FOR_BOTH, WHY(INDIRECT_SIZE),
      .chain = { { TABLE, TABLE_GPA, 15 } },
      .table = { { OWN, DATA_GPA, 4 } } },
    { "table-of-17-bytes", FOR_BOTH, WHY(INDIRECT_SIZE),
      .chain = { { TABLE, TABLE_GPA, 17 } },
      .table = { { OWN, DATA_GPA, 4 } } },
    { "table-in-gap", FOR_BOTH, WHY(TABLE_ADDRESS),
      .chain = { { TABLE, GAP_GPA, 16 } } },
    { "table-in-device", FOR_BOTH, WHY(TABLE_ADDRESS),
      .chain = { { TABLE, DEVICE_GPA, 16 } } },
    { "table-wraps-address-space", FOR_BOTH, WHY(TABLE_ADDRESS),
      .chain = { { TABLE, -16ULL, 32 } },
      .table = { { OWN, DATA_GPA, 4 }, { OWN, DATA_GPA, 4 } },
      .table_gpa = -16ULL },
    /* Half of a descriptor is RAM, and it is not to be used */
    { "table-ends-in-gap", FOR_BOTH, WHY(TABLE_ADDRESS),
      .chain = { { TABLE, LAST_END - 8, 16 } } },
    { "table-continues-in-gap", FOR_BOTH, WHY(TABLE_ADDRESS),
      .chain = { { TABLE, LAST_END - 16, 32 } },
      .table = { { OWN, DATA_GPA, 4 } }, .table_gpa = LAST_END - 16 },
    /* 2.7.5, 2.8.13: addr is a guest-physical address: see is_unreadable() */
    { "buffer-in-gap", FOR_BOTH, WHY(BUFFER_ADDRESS),
      .chain = { { OWN, DATA_GPA, 12 }, { OWN, GAP_GPA, 4 } } },
    { "first-buffer-in-gap", FOR_BOTH, WHY(BUFFER_ADDRESS),
      .chain = { { OWN, GAP_GPA, 4 } } },
    { "buffer-in-device", FOR_BOTH, WHY(BUFFER_ADDRESS),
      .chain = { { OWN, DATA_GPA, 12 }, { OWN, DEVICE_GPA + 16, 4 } } },
    { "buffer-ends-in-gap", FOR_BOTH, WHY(BUFFER_ADDRESS),
      .chain = { { OWN, DATA_GPA, 12 }, { OWN, GAP_GPA - 4, 5 } } },
    { "buffer-ends-in-device", FOR_BOTH, WHY(BUFFER_ADDRESS),
      .chain = { { OWN, DATA_GPA, 12 }, { OWN, DEVICE_GPA - 4, 8 } } },
    { "buffer-wraps-address-space", FOR_BOTH, WHY(BUFFER_ADDRESS),
      .chain = { { OWN, DATA_GPA, 12 }, { OWN, -4ULL, 8 } } },
    { "buffer-larger-than-memory", FOR_BOTH, WHY(BUFFER_ADDRESS),
      .chain = { { OWN, DATA_GPA, 12 }, { OWN, DATA_GPA, UINT32_MAX - 12 } } },
    { "chain-of-4-gib", FOR_BOTH, WHY(CHAIN_LENGTH),
      .chain = { { OWN, HUGE_GPA, GiB }, { OWN, HUGE_GPA, GiB },
                 { OWN, HUGE_GPA, GiB }, { OWN, HUGE_GPA, GiB } } },
    { "chain-of-1025-segments", FOR_BOTH, WHY(CHAIN_SEGMENTS),
      .add = bad_segments },
    { "chain-of-1025-segments-by-cut", FOR_BOTH, WHY(CHAIN_SEGMENTS),
      .add = bad_segments_cut },
    { "chain-of-too-many-in-other-direction", FOR_BOTH, WHY(CHAIN_SEGMENTS),
      .add = bad_segments_other },
    { "no-buffer", FOR_BOTH, WHY(NO_BUFFER),
      .chain = { { OTHER, DATA_GPA, 4 } } },
    { "no-buffer-in-table", FOR_BOTH, WHY(NO_BUFFER),
      .chain = { { TABLE, TABLE_GPA, 32 } },
      .table = { { OTHER, DATA_GPA, 4 }, { OTHER, DATA_GPA, 4 } } },
};

/* The chain fills the packed ring, and would be no violation elsewhere */
static bool fills_ring(const Violation *v)
{
    return v->add == bad_chain_around;
}

static void check_violation(const Violation *v, Setup s)
{
    Rig *r = rig_new(s);

    rig_add(r, DATA_GPA, 4);
    rig_add(r, DATA_GPA + 16, 5);
    add_violation(r, v);
    if (!fills_ring(v)) {
        rig_add(r, DATA_GPA + 32, 6);
    }
    rig_publish(r);
    mock_memory_snapshot(r->mm);

    /* What came before is delivered, and nothing else */
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    g_assert_cmpuint(r->burst.nsegs, ==, 2);
    check_chain(r, 0, 0, &(MockRange) { DATA_GPA, 4 }, 1);
    check_chain(r, 1, 1, &(MockRange) { DATA_GPA + 16, 5 }, 1);
    check_progress(r, 2, 0);
    rig_push(r);
    g_assert_true(vhost_dp_vring_flush(&r->vq));
    check_used(r, 0, 100);
    check_used(r, 1, 101);
    check_no_used(r);
    check_broken(r, v->why);
    mock_memory_check(r->mm);

    rig_reset(r);
    g_assert_true(rig_turn(r, 3));
    g_assert_cmpuint(violations(r), ==, 1);
    /* Counters go on */
    if (!fills_ring(v)) {
        add_violation(r, v);
        rig_publish(r);
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        g_assert_true(r->vq.broken);
        g_assert_cmpuint(r->vq.violations[v->why], ==, 2);
        g_assert_cmpuint(violations(r), ==, 2);
    }
    rig_free(r);
}

/* A buffer that cannot be read: its chain is given back, and that is all */
static bool is_unreadable(const Violation *v)
{
    return v->why == VHOST_DP_VIOLATION_BUFFER_ADDRESS;
}

static int add_unreadable(Rig *r, const Desc *chain, bool indirect)
{
    MockSeg segs[MAX_DESCS];
    unsigned n;

    for (n = 0; chain[n].kind; n++) {
        segs[n] = (MockSeg) { chain[n].gpa, chain[n].len,
                              desc_flags(r, chain[n].kind) };
    }
    return indirect ? rig_add_indirect(r, segs, n, TABLE_GPA)
                    : rig_add_chain(r, segs, n);
}

/* Chain @i of the burst is one whose buffers are not to be looked at */
static void check_unreadable_chain(Rig *r, unsigned i, int id)
{
    check_chain(r, i, id, NULL, 0);
    g_assert_true(vhost_dp_chain_is_unreadable(&r->burst.chain[i]));
}

static void check_unreadable(const Desc *chain, Setup s, bool indirect)
{
    Rig *r = rig_new(s);
    unsigned ndescs = 1;
    int id[4];

    while (!indirect && chain[ndescs].kind) {
        ndescs++;
    }
    id[0] = rig_add(r, DATA_GPA, 4);
    id[1] = add_unreadable(r, chain, indirect);
    id[2] = rig_add(r, DATA_GPA + 16, 5);
    id[3] = rig_add(r, DATA_GPA + 32, 6);
    rig_publish(r);
    mock_memory_snapshot(r->mm);

    /* The chain can be left in the queue, and comes again */
    g_assert_cmpuint(rig_pop(r, 2), ==, 2);
    check_unreadable_chain(r, 1, id[1]);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 1);
    check_progress(r, 1, 0);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, id[0], 100);

    /* It ends a burst */
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    g_assert_cmpuint(r->burst.nsegs, ==, 0);
    check_unreadable_chain(r, 0, id[1]);
    g_assert_cmpuint(r->burst.chain[0].ndescs, ==, ndescs);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, id[1], 100);
    g_assert_cmpuint(rig_pop(r, 64), ==, 2);
    check_chain(r, 0, id[2], &(MockRange) { DATA_GPA + 16, 5 }, 1);
    check_chain(r, 1, id[3], &(MockRange) { DATA_GPA + 32, 6 }, 1);
    check_progress(r, 3 + (s.packed ? ndescs : 1),
                   1 + (s.packed ? ndescs : 1));
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_used(r, id[2], 100);
    check_used(r, id[3], 101);
    check_no_used(r);
    mock_memory_check(r->mm);

    /* Whoever uses the chain counts it */
    check_healthy(r);
    g_assert_true(rig_turn(r, 3) || s.event_idx);
    rig_free(r);
}

static void check_variants(const Violation *v, bool packed)
{
    unsigned i;

    for (i = 0; i < 4; i++) {
        Setup s = { .num = NUM, .packed = packed, .writable = i & 1,
                    .big_endian = i & 2 };

        if (is_unreadable(v) && !s.writable) {
            check_unreadable(v->chain, s, false);
            check_unreadable(v->chain, s, true);
        } else {
            check_violation(v, s);
        }
    }
}

static void test_split_violation(gconstpointer opaque)
{
    check_variants(opaque, false);
}

static void test_packed_violation(gconstpointer opaque)
{
    check_variants(opaque, true);
}

static void add_chain_tests(const Violation *v)
{
    g_autofree char *split = g_strdup_printf(RIG_SPLIT "violation/%s",
                                             v->name);
    g_autofree char *packed = g_strdup_printf(RIG_PACKED "violation/%s",
                                              v->name);

    if (v->formats & FOR_SPLIT) {
        g_test_add_data_func(split, v, test_split_violation);
    }
    if (v->formats & FOR_PACKED) {
        g_test_add_data_func(packed, v, test_packed_violation);
    }
}

/* The first reason is kept, whatever follows */
static void test_first_violation_is_kept(Setup s)
{
    Rig *r = rig_new(s);

    vhost_dp_vring_violation(&r->vq, VHOST_DP_VIOLATION_SHORT_HEADER);
    check_broken(r, VHOST_DP_VIOLATION_SHORT_HEADER);
    vhost_dp_vring_violation(&r->vq, VHOST_DP_VIOLATION_ZERO_LENGTH);
    g_assert_cmpint(r->vq.violation, ==, VHOST_DP_VIOLATION_SHORT_HEADER);
    g_assert_cmpuint(r->vq.violations[VHOST_DP_VIOLATION_ZERO_LENGTH], ==, 1);
    rig_free(r);
}

/*
 * What is behind a buffer that cannot be read is checked all the same: the
 * chain is given back only if the ring is as it should be.
 */
static void test_unreadable_and_worse(Setup s)
{
    static const Violation worse[] = {
        { "order", FOR_BOTH, WHY(DESCRIPTOR_ORDER),
          .chain = { { READ, GAP_GPA, 4 }, { WRITE, DATA_GPA, 4 },
                     { READ, DATA_GPA, 4 } } },
        { "zero", FOR_BOTH, WHY(ZERO_LENGTH),
          .chain = { { READ, GAP_GPA, 4 }, { READ, DATA_GPA, 4 },
                     { READ, DATA_GPA, 0 } } },
        { "nested", FOR_BOTH, WHY(INDIRECT_NESTED),
          .chain = { { TABLE, TABLE_GPA, 32 } },
          .table = { { READ, GAP_GPA, 4 }, { TABLE, TABLE_GPA + 32, 16 } } },
        /* Nobody reads this one */
        { "writable", FOR_BOTH, WHY(BUFFER_ADDRESS),
          .chain = { { READ, DATA_GPA, 4 }, { WRITE, -4ULL, 8 } } },
    };
    unsigned i;

    s.num = NUM;
    for (i = 0; i < ARRAY_SIZE(worse); i++) {
        check_violation(&worse[i], s);
    }
}

/* The longest chain there is, and not one buffer of it can be read */
static void test_unreadable_whole_ring(Setup s)
{
    g_autofree MockSeg *segs = g_new0(MockSeg, NUM);
    unsigned i;
    Rig *r;

    s.num = NUM;
    r = rig_new(s);
    for (i = 0; i < NUM; i++) {
        segs[i] = (MockSeg) { i % 2 ? DEVICE_GPA : GAP_GPA, UINT32_MAX,
                              false };
    }
    g_assert_cmpint(rig_add_chain(r, segs, NUM), >=, 0);
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    check_unreadable_chain(r, 0, r->burst.chain[0].id);
    g_assert_cmpuint(r->burst.chain[0].ndescs, ==, NUM);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_healthy(r);
    check_used(r, r->burst.chain[0].id, 100);
    g_assert_true(rig_turn(r, NUM) || s.event_idx);
    rig_free(r);
}

static int64_t thread_cpu_ns(void)
{
    struct timespec t;

    g_assert_cmpint(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), ==, 0);
    return t.tv_sec * NANOSECONDS_PER_SECOND + t.tv_nsec;
}

/*
 * Loops are bounded, however large a table claims to be: the lock is held
 * meanwhile.  "next" has 16 bits, so 65536 descriptors are more than enough
 * to find any loop; 2^28 would take seconds.
 */
static void test_loop_in_huge_table(Setup s)
{
    unsigned writable;

    for (writable = 0; writable < 2; writable++) {
        Rig *r;
        int64_t begin;

        s.writable = writable;
        r = rig_new(s);
        mock_queue_write_desc(&r->q, TABLE_GPA, DATA_GPA, 4,
                              desc_flags(r, OTHER) | VRING_DESC_F_NEXT, 0);
        put_table_reference(r, 0xfffffff0);
        rig_publish(r);
        begin = thread_cpu_ns();
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        g_assert_cmpint(thread_cpu_ns() - begin, <,
                        NANOSECONDS_PER_SECOND / 4);
        g_assert_true(r->vq.broken);
        g_assert_cmpuint(violations(r), ==, 1);
        rig_free(r);
    }
}

/* NEXT in all descriptors, in either direction: there is no end */
static void test_endless_chain(Setup s)
{
    unsigned i, j;

    s.num = NUM;
    rig_begin_before_end(&s, NUM - 2);
    for (i = 0; i < 4; i++) {
        Rig *r;

        s.writable = i & 1;
        r = rig_new(s);
        for (j = 0; j < NUM; j++) {
            rig_rewrite(r, j, BAD_ID, DATA_GPA, 4, VRING_DESC_F_NEXT |
                        desc_flags(r, i & 2 ? OWN : OTHER));
        }
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        check_broken(r, VHOST_DP_VIOLATION_DESCRIPTOR_LOOP);
        rig_reset(r);
        g_assert_true(rig_turn(r, NUM));
        rig_free(r);
    }
}

/* Section 2.7.6: no more entries than the queue has are in the ring */

static void test_avail_index_jumps(Setup s)
{
    static const uint16_t bad[] = { 9, 10, 1000, 32768, 65535 };
    unsigned i;

    s.num = 8;
    s.start = 65530;
    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        Rig *r = rig_new(s);

        mock_queue_set_avail_idx(&r->q, 65530 + bad[i]);
        g_assert_cmpuint(rig_pop(r, 64), ==, 0);
        check_broken(r, VHOST_DP_VIOLATION_AVAILABLE_INDEX);
        rig_reset(r);
        g_assert_true(rig_turn(r, 3));
        rig_free(r);
    }
}

/* As many as the queue has are fine, but not one more behind them */
static void test_avail_index_jumps_later(Setup s)
{
    Rig *r;

    s.num = 8;
    r = rig_new(s);
    rig_offer(r, 8, 4);
    g_assert_cmpuint(rig_pop(r, 3), ==, 3);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    mock_queue_set_avail_idx(&r->q, 11);
    g_assert_cmpuint(rig_pop(r, 3), ==, 3);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    check_healthy(r);
    mock_queue_set_avail_idx(&r->q, 15);
    g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    check_broken(r, VHOST_DP_VIOLATION_AVAILABLE_INDEX);
    rig_free(r);
}

/* Section 2.8.1: descriptors are the device's until it has used them */

static void test_taken_back(Setup s)
{
    Rig *r;
    unsigned i;

    s.num = 8;
    r = rig_new(s);
    rig_offer(r, 8, 4);
    g_assert_cmpuint(rig_pop(r, 8), ==, 8);
    for (i = 0; i < 8; i++) {
        mock_packed_set_desc(&r->p, i, DATA_GPA, 4, i, mock_packed_avail(0));
    }
    g_assert_cmpuint(rig_pop(r, 8), ==, 0);
    check_broken(r, VHOST_DP_VIOLATION_AVAILABLE_INDEX);
    rig_reset(r);
    g_assert_true(rig_turn(r, 8));
    rig_free(r);
}

/* A chain that runs into descriptors which the device has */
static void test_chain_into_taken(Setup s)
{
    Rig *r;
    unsigned i;

    s.num = 8;
    r = rig_new(s);
    rig_offer(r, 5, 4);
    g_assert_cmpuint(rig_pop(r, 8), ==, 5);
    rig_push(r);
    for (i = 5; i < 8; i++) {
        rig_rewrite(r, i, 7, DATA_GPA, 4, VRING_DESC_F_NEXT);
    }
    mock_packed_set_desc(&r->p, 0, DATA_GPA, 4, 7, mock_packed_avail(0));
    g_assert_cmpuint(rig_pop(r, 8), ==, 0);
    check_broken(r, VHOST_DP_VIOLATION_DESCRIPTOR_LOOP);
    /* What was pushed before is used all the same */
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_flush(&r->vq);
    check_written(r, 0, 5);
    rig_free(r);
}

static const RigTest tests[] = {
    { "violation/first-is-kept", test_first_violation_is_kept, FOR_BOTH },
    { "violation/unreadable-and-worse", test_unreadable_and_worse, FOR_BOTH },
    { "violation/unreadable-whole-ring", test_unreadable_whole_ring,
      FOR_BOTH },
    { "violation/loop-in-huge-table", test_loop_in_huge_table, FOR_SPLIT },
    { "violation/avail-index-jumps", test_avail_index_jumps, FOR_SPLIT },
    { "violation/avail-index-jumps-later", test_avail_index_jumps_later,
      FOR_SPLIT },
    { "violation/endless-chain", test_endless_chain, FOR_PACKED },
    { "violation/taken-back", test_taken_back, FOR_PACKED },
    { "violation/chain-into-taken", test_chain_into_taken, FOR_PACKED },
};

int main(int argc, char **argv)
{
    unsigned i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < ARRAY_SIZE(bad_chains); i++) {
        add_chain_tests(&bad_chains[i]);
    }
    rig_add_tests(tests, ARRAY_SIZE(tests));
    return g_test_run();
}
