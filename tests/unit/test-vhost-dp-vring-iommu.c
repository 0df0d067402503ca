/*
 * vhost-dp: tests of virtqueues behind a vIOMMU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each page of guest memory is somewhere else in QEMU, so rings and buffers
 * that cross pages are never in one piece.
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/virtio_ring.h"
#include "tests/vhost-dp/lib/rig.h"

#define PAGE VHOST_DP_IOTLB_PAGE_SIZE

static Setup make_setup(bool packed, bool event_idx, unsigned skew)
{
    return (Setup) {
        .packed = packed, .event_idx = event_idx, .skew = skew,
        .num = 1024, .iommu = true, .writable = true,
    };
}

static unsigned pop_once(Rig *r)
{
    return vhost_dp_vring_pop(&r->vq, r->mem, &r->burst, VHOST_DP_VRING_BURST,
                              UINT32_MAX);
}

/* All that the device writes to rings is reported, page by page */
static void check_marks_what_it_writes(Rig *r)
{
    unsigned n = 100;
    unsigned i;

    rig_offer(r, n, 8);
    mock_memory_snapshot(r->mm);
    vhost_dp_vring_disable_notify(&r->vq);
    g_assert_cmpuint(rig_pop(r, n), ==, n);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    g_assert_false(vhost_dp_vring_enable_notify(&r->vq));
    mock_memory_check(r->mm);
    for (i = 0; i < n; i++) {
        check_used(r, r->burst.chain[i].id, 100 + i);
    }
}

/* Several rounds of rings whose parts lie across pages, in odd places, too */
static void test_rings_across_pages(const void *packed)
{
    static const unsigned skews[] = { 0, 16, 0x7f0, 0xff0 };
    unsigned i, j, event;

    for (i = 0; i < ARRAY_SIZE(skews); i++) {
        for (event = 0; event < 2; event++) {
            Rig *r = rig_new(make_setup(packed, event, skews[i]));

            for (j = 0; j < 60; j++) {
                rig_turn(r, 1 + j * 37 % 200);
                check_marks_what_it_writes(r);
            }
            check_healthy(r);
            rig_free(r);
        }
    }
}

/* A start asks for nothing; the first look misses the whole ring at once */
static void test_ring_is_found_late(const void *packed)
{
    Rig *r = rig_new(make_setup(packed, false, 0));

    g_assert_false(vhost_dp_iotlb_has_misses(r->iotlb));
    rig_offer(r, 3, 8);
    g_assert_cmpuint(pop_once(r), ==, 0);
    g_assert_true(r->vq.missed);
    /* Descriptors of a packed queue are read and written */
    g_assert_cmpuint(rig_resolve(r), ==, packed ? 4 * 2 + 2 : 4 + 1 + 3);
    g_assert_cmpuint(pop_once(r), ==, 0);
    g_assert_true(r->vq.missed);
    g_assert_cmpuint(rig_resolve(r), ==, 1);
    g_assert_cmpuint(pop_once(r), ==, 3);
    g_assert_false(r->vq.missed);
    check_healthy(r);
    rig_free(r);
}

/* All pages that a burst lacks are asked for at once, not chain by chain */
static void test_looks_ahead(const void *packed)
{
    Rig *r = rig_new(make_setup(packed, false, 0));
    unsigned i;

    rig_turn(r, 1);
    for (i = 0; i < 20; i++) {
        g_assert_cmpint(rig_add(r, DATA_GPA + (i + 1) * PAGE + 5, PAGE), >=,
                        0);
    }
    rig_publish(r);
    g_assert_cmpuint(pop_once(r), ==, 0);
    g_assert_true(r->vq.missed);
    g_assert_cmpuint(rig_resolve(r), ==, 21);
    g_assert_cmpuint(pop_once(r), ==, 20);
    for (i = 0; i < 20; i++) {
        MockRange segs[] = {
            { DATA_GPA + (i + 1) * PAGE + 5, PAGE - 5 },
            { DATA_GPA + (i + 2) * PAGE, 5 },
        };

        check_chain(r, i, r->burst.chain[i].id, segs, 2);
    }
    check_healthy(r);
    rig_free(r);
}

/* Chains before the one that missed are taken; it comes with the next look */
static void test_takes_what_is_known(const void *packed)
{
    Rig *r = rig_new(make_setup(packed, false, 0));

    rig_turn(r, 1);
    rig_add(r, DATA_GPA, 8);
    rig_add(r, DATA_GPA + 8 * PAGE, 8);
    rig_add(r, DATA_GPA + 16, 8);
    rig_publish(r);
    g_assert_cmpuint(pop_once(r), ==, 1);
    g_assert_true(r->vq.missed);
    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    g_assert_cmpuint(rig_resolve(r), ==, 1);
    g_assert_cmpuint(pop_once(r), ==, 2);
    check_healthy(r);
    rig_free(r);
}

/* Nothing is found any more in a range that was invalidated */
static void test_invalidated_buffer(const void *packed)
{
    Rig *r = rig_new(make_setup(packed, false, 0));

    rig_turn(r, 1);
    vhost_dp_iotlb_invalidate(r->iotlb, DATA_GPA, PAGE);
    vhost_dp_vring_unmapped(&r->vq, DATA_GPA, PAGE);
    rig_offer(r, 1, 8);
    g_assert_cmpuint(pop_once(r), ==, 0);
    g_assert_true(r->vq.missed);
    /* The ring stayed: it is the buffer alone */
    g_assert_cmpuint(rig_resolve(r), ==, 1);
    g_assert_cmpuint(pop_once(r), ==, 1);
    check_healthy(r);
    rig_free(r);
}

/* Any page of the ring: it is looked for again, and goes on where it was */
static void test_invalidated_ring(const void *packed)
{
    static const uint64_t pages[] = {
        DESC_GPA, DESC_GPA + 3 * PAGE, AVAIL_GPA, USED_GPA,
    };
    Rig *r = rig_new(make_setup(packed, true, 0));
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(pages); i++) {
        rig_turn(r, 5);
        vhost_dp_iotlb_invalidate(r->iotlb, pages[i], PAGE);
        vhost_dp_vring_unmapped(&r->vq, pages[i], PAGE);
        rig_offer(r, 1, 8);
        vhost_dp_vring_disable_notify(&r->vq);
        /* It cannot sleep: nobody could ask the driver to kick */
        g_assert_true(vhost_dp_vring_enable_notify(&r->vq));
        g_assert_cmpuint(pop_once(r), ==, 0);
        g_assert_true(r->vq.missed);
        g_assert_cmpuint(rig_resolve(r), >=, 1);
        g_assert_cmpuint(pop_once(r), ==, 1);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, r->burst.chain[0].id, 100);
    }
    check_healthy(r);
    rig_free(r);
}

/* A ring, or a buffer to be written, that the IOMMU refuses stops the queue */
static void test_fault(const void *packed)
{
    static const uint64_t pages[] = { DATA_GPA, DESC_GPA + PAGE, USED_GPA };
    unsigned i, writable;

    for (writable = 0; writable < 2; writable++) {
        for (i = writable ? 0 : 1; i < ARRAY_SIZE(pages); i++) {
            Setup setup = make_setup(packed, false, 0);
            Rig *r;

            setup.writable = writable;
            r = rig_new(setup);
            r->no_access = pages[i];
            rig_offer(r, 1, 8);
            g_assert_cmpuint(rig_pop(r, 1), ==, 0);
            check_broken(r, VHOST_DP_VIOLATION_IOMMU_FAULT);
            /* The driver mends that, and what was refused is forgotten */
            r->no_access = 0;
            vhost_dp_iotlb_forget(r->iotlb, r->vq.iotlb_user);
            rig_reset(r);
            rig_turn(r, 3);
            rig_free(r);
        }
    }
}

/*
 * A queue that broke at one page of its ring misses no other: whoever looks at
 * it would ask the IOMMU for ever
 */
static void test_ring_refused_and_missed(const void *packed)
{
    Rig *r = rig_new(make_setup(packed, false, 0));
    unsigned i;

    r->no_access = DESC_GPA;
    rig_offer(r, 1, 8);
    g_assert_cmpuint(pop_once(r), ==, 0);
    g_assert_cmpuint(rig_resolve(r), >, 1);
    /* Others take the place of the pages that are known */
    for (i = 0; i < VHOST_DP_IOTLB_ENTRIES; i++) {
        vhost_dp_iotlb_insert(r->iotlb, HIGH_GPA + i * PAGE,
                              VHOST_DP_IOTLB_READ, r->mem->regions[20].host,
                              &r->mem->regions[20]);
    }
    g_assert_cmpuint(pop_once(r), ==, 0);
    check_broken(r, VHOST_DP_VIOLATION_IOMMU_FAULT);
    g_assert_false(r->vq.missed);
    rig_free(r);
}

static Rig *new_transmit(bool packed)
{
    Setup setup = make_setup(packed, false, 0);
    Rig *r;

    setup.writable = false;
    r = rig_new(setup);
    rig_turn(r, 1);
    return r;
}

static void use_all(Rig *r)
{
    unsigned i;

    rig_push(r);
    vhost_dp_vring_flush(&r->vq);
    for (i = 0; i < r->burst.nchains; i++) {
        check_used(r, r->burst.chain[i].id, 100 + i);
    }
    check_no_used(r);
}

/* The next chain is lost, and those before and behind it are not */
static void check_lost(Rig *r, int id)
{
    const MockRange good = { DATA_GPA + 16, 8 };

    g_assert_cmpint(id, >=, 0);
    rig_add(r, DATA_GPA + 16, 8);
    rig_publish(r);

    /* It comes again if it is left */
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 1);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    check_chain(r, 0, id, NULL, 0);
    g_assert_true(vhost_dp_chain_is_unreadable(&r->burst.chain[0]));
    g_assert_cmpint(r->burst.unreadable, ==, VHOST_DP_VIOLATION_IOMMU_FAULT);
    use_all(r);

    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    check_chain(r, 0, r->burst.chain[0].id, &good, 1);
    use_all(r);
    check_healthy(r);
}

/* A buffer to be read that the IOMMU refuses costs its frame */
static void test_refused(const void *packed)
{
    const uint64_t bad = DATA_GPA + 7 * PAGE;
    const MockSeg chains[][3] = {
        { { bad, 8 } },
        { { bad - 4, 8 } },
        { { DATA_GPA, 12 }, { bad + 100, 8 }, { DATA_GPA + 100, 8 } },
        { { bad, 12 }, { DATA_GPA, 8 }, { USED_GPA + 8 * PAGE, 8, true } },
        /* More pages than are asked for at once */
        { { HIGH_GPA, 200 * PAGE } },
        { { DATA_GPA, 12 }, { bad - 4, 80 * PAGE } },
    };
    Rig *r = new_transmit(packed);
    unsigned i, n;

    for (i = 0; i < ARRAY_SIZE(chains); i++) {
        for (n = 1; n < 3 && chains[i][n].len; n++) {
            /* Count them */
        }
        r->no_access = bad;
        check_lost(r, rig_add_chain(r, chains[i], n));
        check_lost(r, rig_add_indirect(r, chains[i], n, TABLE_GPA));
        /* A page is asked for anew when the driver got its buffer back */
        r->no_access = 0;
        rig_add(r, bad, 8);
        rig_publish(r);
        g_assert_cmpuint(rig_pop(r, 64), ==, 1);
        check_chain(r, 0, r->burst.chain[0].id, &(MockRange) { bad, 8 }, 1);
        use_all(r);
        vhost_dp_iotlb_invalidate(r->iotlb, DATA_GPA, 8 * PAGE);
    }
    check_healthy(r);
    rig_free(r);
}

/* Each chain of a ring, and its neighbours are asked for at the same time */
static void test_refused_all(const void *packed)
{
    Rig *r = new_transmit(packed);
    unsigned i, n;

    for (i = 0; i < 200; i++) {
        rig_add(r, HIGH_GPA + i * PAGE, 8);
    }
    rig_publish(r);
    for (i = 0; i < 200; i += n) {
        n = rig_pop(r, 64);
        g_assert_cmpuint(n, ==, 1);
        g_assert_true(vhost_dp_chain_is_unreadable(&r->burst.chain[0]));
        use_all(r);
    }
    check_healthy(r);
    rig_turn(r, 5);
    rig_free(r);
}

/* No answer may come when the chain that it is about is gone */
static void test_refused_and_missed(const void *packed)
{
    const uint64_t good = DATA_GPA + 5 * PAGE, bad = DATA_GPA + 6 * PAGE;
    const MockSeg chain[] = { { good, 8 }, { bad, 8 } };
    Rig *r = new_transmit(packed);
    VhostDPIotlb *tlb = r->iotlb;
    unsigned i;

    r->no_access = bad;
    rig_add_chain(r, chain, ARRAY_SIZE(chain));
    rig_publish(r);
    g_assert_cmpuint(pop_once(r), ==, 0);
    g_assert_cmpuint(rig_resolve(r), ==, 2);
    /* Others take the place of the first page */
    for (i = 0; i < VHOST_DP_IOTLB_ENTRIES; i++) {
        vhost_dp_iotlb_insert(tlb, HIGH_GPA + i * PAGE, VHOST_DP_IOTLB_READ,
                              r->mem->regions[20].host, &r->mem->regions[20]);
    }
    g_assert_cmpuint(pop_once(r), ==, 0);
    g_assert_true(r->vq.missed);
    g_assert_cmpuint(rig_pop(r, 64), ==, 1);
    g_assert_true(vhost_dp_chain_is_unreadable(&r->burst.chain[0]));
    g_assert_false(vhost_dp_iotlb_has_misses(tlb));
    use_all(r);
    check_healthy(r);
    rig_free(r);
}

/* The rest of such a chain is checked, and a table is a part of the ring */
static void test_refused_and_worse(const void *packed)
{
    const MockSeg empty[] = { { HIGH_GPA, 8 }, { DATA_GPA, 0 } };
    const MockSeg order[] = {
        { HIGH_GPA, 8 }, { DATA_GPA, 8, true }, { DATA_GPA, 8 },
    };
    const MockSeg good[] = { { DATA_GPA, 8 } };
    Rig *r = new_transmit(packed);

    rig_add_chain(r, empty, ARRAY_SIZE(empty));
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    check_broken(r, VHOST_DP_VIOLATION_ZERO_LENGTH);
    rig_free(r);

    r = new_transmit(packed);
    rig_add_chain(r, order, ARRAY_SIZE(order));
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    check_broken(r, VHOST_DP_VIOLATION_DESCRIPTOR_ORDER);
    rig_free(r);

    r = new_transmit(packed);
    r->no_access = TABLE_GPA;
    rig_add_indirect(r, good, ARRAY_SIZE(good), TABLE_GPA);
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 64), ==, 0);
    check_broken(r, VHOST_DP_VIOLATION_IOMMU_FAULT);
    rig_free(r);
}

/* A chain of more pages than could be known at once is refused, not retried */
static void test_too_many_pages(const void *packed)
{
    Rig *r = rig_new(make_setup(packed, false, 0));
    VhostDPIotlb *tlb = r->iotlb;
    uint64_t page;

    rig_turn(r, 1);
    /* They are all the same in QEMU: it is about their number */
    for (page = 0; page < 1100; page++) {
        vhost_dp_iotlb_insert(tlb, HIGH_GPA + page * PAGE,
                              VHOST_DP_IOTLB_WRITE, r->mem->regions[20].host,
                              &r->mem->regions[20]);
    }
    rig_add(r, HIGH_GPA, 1024 * PAGE);
    rig_publish(r);
    g_assert_cmpuint(pop_once(r), ==, 1);
    vhost_dp_vring_rewind(&r->vq, &r->burst, 1);
    rig_reset(r);
    rig_add(r, HIGH_GPA, 1025 * PAGE);
    rig_publish(r);
    g_assert_cmpuint(rig_pop(r, 1), ==, 0);
    check_broken(r, VHOST_DP_VIOLATION_CHAIN_SEGMENTS);
    rig_free(r);
}

/* Pages that are neighbours in QEMU make one segment */
static void test_neighbours_are_joined(const void *packed)
{
    Rig *r = rig_new(make_setup(packed, false, 0));
    VhostDPRegion *region = &r->mem->regions[20];

    rig_turn(r, 1);
    vhost_dp_iotlb_insert(r->iotlb, HIGH_GPA, VHOST_DP_IOTLB_WRITE,
                          region->host, region);
    vhost_dp_iotlb_insert(r->iotlb, HIGH_GPA + PAGE, VHOST_DP_IOTLB_WRITE,
                          region->host + PAGE, region);
    rig_add(r, HIGH_GPA + 100, PAGE);
    rig_publish(r);
    g_assert_cmpuint(pop_once(r), ==, 1);
    g_assert_cmpuint(r->burst.chain[0].nsegs, ==, 1);
    g_assert_cmpuint(r->burst.chain[0].iov[0].iov_len, ==, PAGE);
    g_assert_true(r->burst.chain[0].iov[0].iov_base == region->host + 100);
    rig_free(r);
}

/* Without an IOMMU in between, addresses are looked up as they are */
static void test_identity(const void *packed)
{
    Rig *r = rig_new(make_setup(packed, true, 0xff0));

    r->iotlb->identity = true;
    rig_turn(r, 100);
    rig_turn(r, 100);
    g_assert_cmpuint(r->resolved, ==, 0);
    /* And back */
    r->iotlb->identity = false;
    vhost_dp_vring_unmapped(&r->vq, 0, 0);
    rig_turn(r, 100);
    g_assert_cmpuint(r->resolved, >, 0);
    check_healthy(r);
    rig_free(r);
}

/*
 * An IOMMU that does not tell what it unmaps: what was known of buffers is not
 * used for others.  What is not used yet stays known, as does what the other
 * queue knows, or each of the two could keep the other from getting on.
 */
static void test_silent_iommu(const void *packed)
{
    Rig *r = rig_new(make_setup(packed, false, 0));
    const uint64_t gpa = DATA_GPA + 3 * PAGE, other = DATA_GPA + 5 * PAGE;
    VhostDPRegion *region = &r->mem->regions[20];
    unsigned i;

    r->iotlb->transient = true;
    rig_turn(r, 1);
    vhost_dp_iotlb_insert(r->iotlb, gpa,
                          vhost_dp_iotlb_kind(r->iotlb, 0,
                                              VHOST_DP_IOTLB_WRITE),
                          region->host, region);
    for (i = 0; i < 3; i++) {
        rig_add(r, gpa, 8);
        rig_add(r, other, 8);
        rig_publish(r);
        g_assert_cmpuint(pop_once(r), ==, 0);
        g_assert_true(r->vq.missed);
        g_assert_cmpuint(rig_resolve(r), ==, 2);
        g_assert_cmpuint(pop_once(r), ==, 2);
        vhost_dp_vring_rewind(&r->vq, &r->burst, 2);
        g_assert_cmpuint(pop_once(r), ==, 2);
        check_chain(r, 0, r->burst.chain[0].id, &(MockRange) { gpa, 8 }, 1);
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        check_used(r, r->burst.chain[0].id, 100);
        check_used(r, r->burst.chain[1].id, 101);
    }
    vhost_dp_iotlb_insert(r->iotlb, other,
                          vhost_dp_iotlb_kind(r->iotlb, 0,
                                              VHOST_DP_IOTLB_READ),
                          region->host, region);
    vhost_dp_iotlb_forget(r->iotlb, 1);
    g_assert_nonnull(vhost_dp_iotlb_find(r->iotlb, other,
                                         VHOST_DP_IOTLB_READ));
    vhost_dp_iotlb_forget(r->iotlb, 0);
    g_assert_null(vhost_dp_iotlb_find(r->iotlb, other, VHOST_DP_IOTLB_READ));
    check_healthy(r);
    rig_free(r);
}

/* A table of the other direction's descriptors, but for the last one */
static void write_huge_table(Rig *r, uint64_t table, uint64_t last)
{
    unsigned i;

    for (i = 0; i < VHOST_DP_VRING_MAX_SEGS; i++) {
        bool end = i == VHOST_DP_VRING_MAX_SEGS - 1;
        uint16_t flags = end ? VRING_DESC_F_WRITE : VRING_DESC_F_NEXT;
        uint64_t addr = end ? last : DATA_GPA;

        if (r->s.packed) {
            mock_packed_write_desc(&r->p, table + i * 16, addr, 8, 0, flags);
        } else {
            mock_queue_write_desc(&r->q, table + i * 16, addr, 8, flags,
                                  end ? 0 : i + 1);
        }
    }
}

static void offer_tables(Rig *r, uint64_t first, uint64_t table, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        uint64_t addr = i ? table : first;

        if (r->s.packed) {
            mock_packed_add_desc(&r->p, addr, VHOST_DP_VRING_MAX_SEGS * 16, i,
                                 VRING_DESC_F_INDIRECT);
        } else {
            mock_queue_set_desc(&r->q, i, addr, VHOST_DP_VRING_MAX_SEGS * 16,
                                VRING_DESC_F_INDIRECT, 0);
            mock_queue_add_head(&r->q, i);
        }
    }
    rig_publish(r);
}

/*
 * Looking at descriptors takes time, with the lock held: a burst ends after a
 * number of them, whether or not they have buffers of the queue's direction.
 */
static void check_descriptors_are_limited(Rig *r, unsigned n)
{
    const unsigned most = VHOST_DP_VRING_MAX_DESCS + VHOST_DP_VRING_MAX_SEGS;
    unsigned total = 0;
    unsigned taken;

    do {
        taken = pop_once(r);
        g_assert_cmpuint(taken, <=, 2);
        g_assert_cmpuint(r->burst.ndescs, <=, most);
        g_assert_cmpint(r->burst.full, ==, taken == 2);
        total += taken;
        rig_push(r);
        vhost_dp_vring_flush(&r->vq);
        if (r->vq.missed) {
            rig_resolve(r);
        }
    } while (taken || r->vq.missed);
    g_assert_cmpuint(total, ==, n);
    check_healthy(r);
}

static void test_descriptors_are_limited(const void *packed)
{
    const uint64_t other_table = TABLE_GPA + 8 * PAGE;
    unsigned iommu;

    for (iommu = 0; iommu < 2; iommu++) {
        Setup setup = make_setup(packed, false, 0);
        Rig *r;

        setup.iommu = iommu;
        r = rig_new(setup);
        write_huge_table(r, TABLE_GPA, DATA_GPA);
        write_huge_table(r, other_table, DATA_GPA + 5 * PAGE);
        offer_tables(r, other_table, TABLE_GPA, 100);
        check_descriptors_are_limited(r, 100);
        if (iommu) {
            /* The first one misses, and those behind it do not */
            vhost_dp_iotlb_invalidate(r->iotlb, DATA_GPA + 5 * PAGE, PAGE);
            offer_tables(r, other_table, TABLE_GPA, 100);
            check_descriptors_are_limited(r, 100);
        }
        rig_free(r);
    }
}

static void add(const char *name, GTestDataFunc func)
{
    g_autofree char *split = g_strdup_printf("%siommu/%s", RIG_SPLIT, name);
    g_autofree char *packed = g_strdup_printf("%siommu/%s", RIG_PACKED, name);

    g_test_add_data_func(split, NULL, func);
    g_test_add_data_func(packed, "", func);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("rings-across-pages", test_rings_across_pages);
    add("ring-is-found-late", test_ring_is_found_late);
    add("looks-ahead", test_looks_ahead);
    add("takes-what-is-known", test_takes_what_is_known);
    add("invalidated-buffer", test_invalidated_buffer);
    add("invalidated-ring", test_invalidated_ring);
    add("fault", test_fault);
    add("ring-refused-and-missed", test_ring_refused_and_missed);
    add("refused", test_refused);
    add("refused-all", test_refused_all);
    add("refused-and-missed", test_refused_and_missed);
    add("refused-and-worse", test_refused_and_worse);
    add("too-many-pages", test_too_many_pages);
    add("neighbours-are-joined", test_neighbours_are_joined);
    add("identity", test_identity);
    add("descriptors-are-limited", test_descriptors_are_limited);
    add("silent-iommu", test_silent_iommu);
    return g_test_run();
}
