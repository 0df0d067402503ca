/*
 * vhost-dp: tests of the cache of what an IOMMU translates
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/virtio/vhost-dp-iotlb.h"

#define READ    VHOST_DP_IOTLB_READ
#define WRITE   VHOST_DP_IOTLB_WRITE
#define PAGE    VHOST_DP_IOTLB_PAGE_SIZE
#define ALL     VHOST_DP_IOTLB_ENTRIES

/* Never looked into */
static VhostDPRegion region[2];

static uint8_t *host_of(uint64_t page)
{
    return (uint8_t *)(uintptr_t)(0x100000000ULL + page * PAGE);
}

static void insert(VhostDPIotlb *tlb, uint64_t page, unsigned access)
{
    vhost_dp_iotlb_insert(tlb, page * PAGE, access, host_of(page), region);
}

static bool has(VhostDPIotlb *tlb, uint64_t page, unsigned access)
{
    const VhostDPIotlbEntry *entry = vhost_dp_iotlb_find(tlb, page * PAGE,
                                                         access);

    if (entry) {
        g_assert_true(entry->host == host_of(page));
        g_assert_true(entry->region == region);
    }
    return entry != NULL;
}

static unsigned count(VhostDPIotlb *tlb, uint64_t npages)
{
    unsigned n = 0;
    uint64_t page;

    for (page = 0; page < npages; page++) {
        n += has(tlb, page, READ);
    }
    return n;
}

static void test_empty(void)
{
    g_autofree VhostDPIotlb *tlb = vhost_dp_iotlb_new();

    g_assert_false(has(tlb, 0, READ));
    g_assert_false(has(tlb, UINT64_MAX / PAGE, WRITE));
    g_assert_false(vhost_dp_iotlb_has_misses(tlb));
    vhost_dp_iotlb_invalidate(tlb, 0, PAGE);
    vhost_dp_iotlb_invalidate(tlb, 0, UINT64_MAX);
}

/* Every byte of a page is found, and none of its neighbours */
static void test_page_borders(void)
{
    g_autofree VhostDPIotlb *tlb = vhost_dp_iotlb_new();
    uint64_t last = UINT64_MAX / PAGE;

    insert(tlb, 5, READ);
    insert(tlb, last, READ);
    g_assert_nonnull(vhost_dp_iotlb_find(tlb, 5 * PAGE + 1, READ));
    g_assert_nonnull(vhost_dp_iotlb_find(tlb, 6 * PAGE - 1, READ));
    g_assert_null(vhost_dp_iotlb_find(tlb, 5 * PAGE - 1, READ));
    g_assert_null(vhost_dp_iotlb_find(tlb, 6 * PAGE, READ));
    g_assert_nonnull(vhost_dp_iotlb_find(tlb, UINT64_MAX, READ));
    g_assert_false(has(tlb, 0, READ));
}

/* What was asked for one kind of access says nothing about the other */
static void test_access(void)
{
    g_autofree VhostDPIotlb *tlb = vhost_dp_iotlb_new();

    insert(tlb, 1, READ);
    insert(tlb, 2, WRITE);
    g_assert_true(has(tlb, 1, READ));
    g_assert_false(has(tlb, 1, WRITE));
    g_assert_true(has(tlb, 2, WRITE));
    g_assert_false(has(tlb, 2, READ));

    insert(tlb, 1, WRITE);
    g_assert_true(has(tlb, 1, READ));
    g_assert_true(has(tlb, 1, WRITE));
    vhost_dp_iotlb_invalidate(tlb, 1 * PAGE, PAGE);
    g_assert_false(has(tlb, 1, READ));
    g_assert_false(has(tlb, 1, WRITE));
}

/* A page that leads elsewhere now keeps nothing of what it was */
static void test_replace(void)
{
    g_autofree VhostDPIotlb *tlb = vhost_dp_iotlb_new();
    const VhostDPIotlbEntry *entry;

    insert(tlb, 1, READ);
    vhost_dp_iotlb_insert(tlb, PAGE, WRITE, host_of(9), &region[1]);
    g_assert_null(vhost_dp_iotlb_find(tlb, PAGE, READ));
    entry = vhost_dp_iotlb_find(tlb, PAGE, WRITE);
    g_assert_nonnull(entry);
    g_assert_true(entry->host == host_of(9));
    g_assert_true(entry->region == &region[1]);
}

/* It never holds more than its entries, and the oldest goes first */
static void test_bounded(void)
{
    g_autofree VhostDPIotlb *tlb = vhost_dp_iotlb_new();
    uint64_t page;

    for (page = 0; page < ALL; page++) {
        insert(tlb, page, READ);
    }
    g_assert_cmpuint(count(tlb, ALL), ==, ALL);
    insert(tlb, ALL, READ);
    g_assert_cmpuint(count(tlb, ALL + 1), ==, ALL);
    g_assert_false(has(tlb, 0, READ));
    g_assert_true(has(tlb, 1, READ));

    for (page = 0; page < 5 * ALL; page++) {
        insert(tlb, page * 977, READ);
    }
    g_assert_cmpuint(count(tlb, 5 * ALL * 977), ==, ALL);
}

/*
 * Pages of one chain all get in, whatever their addresses: with a table that
 * is indexed by address, two of them could throw each other out for ever.
 */
static void test_any_pages_fit_together(void)
{
    static const uint64_t strides[] = {
        1, 2, 16, 4096, 1 << 20, 1 << 30, 4095, 4097,
    };
    unsigned i, j;

    for (i = 0; i < ARRAY_SIZE(strides); i++) {
        g_autofree VhostDPIotlb *tlb = vhost_dp_iotlb_new();

        for (j = 0; j < 1024; j++) {
            insert(tlb, j * strides[i], READ);
        }
        for (j = 0; j < 1024; j++) {
            g_assert_true(has(tlb, j * strides[i], READ));
        }
    }
}

/* Ranges small and large, aligned or not, forget exactly their pages */
static void test_invalidate(void)
{
    static const struct {
        uint64_t iova, size;
        unsigned first, n;      /* pages that are gone */
    } ranges[] = {
        { 3 * PAGE, PAGE, 3, 1 },
        { 3 * PAGE + 5, 1, 3, 1 },
        { 4 * PAGE - 1, 2, 3, 2 },
        { 0, 64 * PAGE, 0, 64 },
        { 0, 65 * PAGE, 0, 65 },
        { 1, 64 * PAGE, 0, 65 },
        { 10 * PAGE, 80 * PAGE, 10, 80 },
        { 50 * PAGE, UINT64_MAX - 50 * PAGE, 50, 50 },
        { 99 * PAGE, 1ULL << 40, 99, 1 },
        { 100 * PAGE, 1ULL << 40, 0, 0 },
        /* Everything: nothing at all, and what wraps around */
        { 0, 0, 0, 100 },
        { 50 * PAGE, 0, 0, 100 },
        { 50 * PAGE, UINT64_MAX, 0, 100 },
        { UINT64_MAX, 2, 0, 100 },
    };
    unsigned i, page;

    for (i = 0; i < ARRAY_SIZE(ranges); i++) {
        g_autofree VhostDPIotlb *tlb = vhost_dp_iotlb_new();

        for (page = 0; page < 100; page++) {
            insert(tlb, page, READ);
        }
        vhost_dp_iotlb_invalidate(tlb, ranges[i].iova, ranges[i].size);
        for (page = 0; page < 100; page++) {
            bool gone = page >= ranges[i].first &&
                        page < ranges[i].first + ranges[i].n;

            g_assert_cmpint(has(tlb, page, READ), ==, !gone);
        }
    }
}

/* Misses are noted once, for each user, and are bounded */
static void test_misses(void)
{
    g_autofree VhostDPIotlb *tlb = vhost_dp_iotlb_new();
    unsigned i;

    vhost_dp_iotlb_miss(tlb, 0, 7 * PAGE + 3, READ);
    vhost_dp_iotlb_miss(tlb, 0, 7 * PAGE + 9, READ);
    g_assert_cmpuint(tlb->misses[0].n, ==, 1);
    g_assert_cmphex(tlb->misses[0].tag[0], ==, 7 * PAGE | READ);
    vhost_dp_iotlb_miss(tlb, 0, 7 * PAGE, WRITE);
    g_assert_cmpuint(tlb->misses[0].n, ==, 2);
    g_assert_cmpuint(tlb->misses[1].n, ==, 0);

    for (i = 0; i < 2 * VHOST_DP_IOTLB_MISSES; i++) {
        vhost_dp_iotlb_miss(tlb, 0, i * PAGE, READ);
    }
    g_assert_cmpuint(tlb->misses[0].n, ==, VHOST_DP_IOTLB_MISSES);
    g_assert_false(vhost_dp_iotlb_has_room(tlb, 0));
    g_assert_true(vhost_dp_iotlb_has_room(tlb, 1));
    vhost_dp_iotlb_flush(tlb);
    g_assert_false(vhost_dp_iotlb_has_misses(tlb));
}

static bool refused(VhostDPIotlb *tlb, unsigned user, uint64_t page)
{
    return vhost_dp_iotlb_is_refused(tlb, user, page * PAGE + 3, READ);
}

/* What was refused is a user's, and forgotten with whatever may change it */
static void test_refused(void)
{
    g_autofree VhostDPIotlb *tlb = vhost_dp_iotlb_new();
    unsigned i;

    for (i = 0; i < 5; i++) {
        vhost_dp_iotlb_refuse(tlb, 0, 7 * PAGE | READ);
        vhost_dp_iotlb_refuse(tlb, 1, 8 * PAGE | READ);
        g_assert_true(refused(tlb, 0, 7));
        g_assert_false(refused(tlb, 0, 8));
        g_assert_false(refused(tlb, 1, 7));
        g_assert_false(vhost_dp_iotlb_is_refused(tlb, 0, 7 * PAGE, WRITE));
        g_assert_false(has(tlb, 7, READ));
        g_assert_false(vhost_dp_iotlb_has_misses(tlb));
        switch (i) {
        case 0:
            vhost_dp_iotlb_forget(tlb, 0);
            g_assert_false(refused(tlb, 0, 7));
            g_assert_true(refused(tlb, 1, 8));
            vhost_dp_iotlb_forget(tlb, 1);
            break;
        case 1:
            vhost_dp_iotlb_invalidate(tlb, 99 * PAGE, PAGE);
            break;
        case 2:
            vhost_dp_iotlb_invalidate(tlb, 0, 0);
            break;
        case 3:
            vhost_dp_iotlb_invalidate(tlb, 0, 1000 * PAGE);
            break;
        default:
            vhost_dp_iotlb_flush(tlb);
        }
        g_assert_false(refused(tlb, 0, 7));
        g_assert_false(refused(tlb, 1, 8));
    }
}

/* Compare with a plain list, over many random operations */
static void test_random(void)
{
    enum { PAGES = 3 * ALL };
    g_autofree VhostDPIotlb *tlb = vhost_dp_iotlb_new();
    g_autofree unsigned *known = g_new0(unsigned, PAGES);
    unsigned i, page;

    for (i = 0; i < 200000; i++) {
        page = g_test_rand_int_range(0, PAGES);
        if (g_test_rand_int_range(0, 100)) {
            unsigned access = g_test_rand_bit() ? READ : WRITE;

            insert(tlb, page, access);
            known[page] |= access;
            g_assert_true(has(tlb, page, access));
        } else {
            unsigned n = g_test_rand_int_range(1, 200);
            unsigned j;

            vhost_dp_iotlb_invalidate(tlb, page * PAGE, n * PAGE);
            for (j = page; j < MIN(page + n, PAGES); j++) {
                known[j] = 0;
            }
        }
    }
    /* It may have forgotten, but invented nothing */
    for (page = 0; page < PAGES; page++) {
        g_assert_false(has(tlb, page, READ) && !(known[page] & READ));
        g_assert_false(has(tlb, page, WRITE) && !(known[page] & WRITE));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost-dp/iotlb/empty", test_empty);
    g_test_add_func("/vhost-dp/iotlb/page-borders", test_page_borders);
    g_test_add_func("/vhost-dp/iotlb/access", test_access);
    g_test_add_func("/vhost-dp/iotlb/replace", test_replace);
    g_test_add_func("/vhost-dp/iotlb/bounded", test_bounded);
    g_test_add_func("/vhost-dp/iotlb/any-pages-fit-together",
                    test_any_pages_fit_together);
    g_test_add_func("/vhost-dp/iotlb/invalidate", test_invalidate);
    g_test_add_func("/vhost-dp/iotlb/misses", test_misses);
    g_test_add_func("/vhost-dp/iotlb/refused", test_refused);
    g_test_add_func("/vhost-dp/iotlb/random", test_random);
    return g_test_run();
}
