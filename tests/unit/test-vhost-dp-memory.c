/*
 * vhost-dp: tests of the memory table
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "tests/vhost-dp/lib/mock.h"

#define NONE    UINT64_MAX

/* @gpa is in the region that begins at @region (NONE: in no region) */
static void check_lookup(VhostDPMemory *mem, uint64_t gpa, uint64_t region)
{
    unsigned i = vhost_dp_memory_search(mem, gpa);
    unsigned hit;

    if (region == NONE) {
        g_assert_cmpuint(i, ==, mem->nregions);
    } else {
        g_assert_cmpuint(i, <, mem->nregions);
        g_assert_cmphex(mem->regions[i].gpa, ==, region);
    }

    /* Whatever was hit last, the answer is the same */
    for (hit = 0; hit <= mem->nregions + 1; hit++) {
        unsigned h = hit;
        VhostDPRegion *r = vhost_dp_memory_find(mem, &h, gpa);

        if (region == NONE) {
            g_assert_null(r);
            g_assert_cmpuint(h, ==, hit);
        } else {
            g_assert_true(r == &mem->regions[i]);
            g_assert_cmpuint(h, ==, i);
        }
    }
}

static void check_map(MockMemory *mm, VhostDPMemory *mem, uint64_t gpa,
                      uint64_t want, uint64_t expect)
{
    unsigned hit = 0;
    uint64_t len = want;
    VhostDPRegion *region = NULL;
    uint8_t *host = vhost_dp_memory_map(mem, &hit, gpa, &len, &region);

    g_assert_cmpuint(len, ==, expect);
    g_assert_true(host == mock_memory_ptr(mm, gpa, len));
    g_assert_true(region == &mem->regions[hit]);
    g_assert_cmphex(gpa - region->gpa, ==, host - region->host);
}

static const MockArea layout[] = {
    { .gpa = 0x1000, .size = 0x1000 },
    { .gpa = 0x2000, .size = 0x10 },            /* a neighbour */
    { .gpa = 0x2010, .size = 1 },               /* as small as can be */
    { .gpa = 0x2011, .size = 0xfef },
    { .gpa = 0x8000, .size = 0x2000 },          /* behind a gap */
    { .gpa = 0x100000000ULL, .size = 0x1000 },
    { .gpa = 0xfffffffffffff000ULL, .size = 0xfff },
};

static void test_empty(void)
{
    MockMemory *mm = mock_memory_new(NULL, 0);
    VhostDPMemory *mem = mock_memory_table(mm, 0);
    unsigned hit = 0;
    uint64_t len = 1;
    VhostDPRegion *region;

    g_assert_nonnull(mem);
    g_assert_cmpuint(mem->nregions, ==, 0);
    check_lookup(mem, 0, NONE);
    check_lookup(mem, UINT64_MAX, NONE);
    g_assert_null(vhost_dp_memory_map(mem, &hit, 0x1000, &len, &region));
    vhost_dp_memory_free(mem);
    vhost_dp_memory_free(NULL);
    mock_memory_free(mm);
}

static void test_borders(void)
{
    MockMemory *mm = mock_memory_new(layout, ARRAY_SIZE(layout));
    VhostDPMemory *mem = mock_memory_table(mm, 0);

    g_assert_cmpuint(mem->nregions, ==, ARRAY_SIZE(layout));
    check_lookup(mem, 0, NONE);
    check_lookup(mem, 0xfff, NONE);
    check_lookup(mem, 0x1000, 0x1000);
    check_lookup(mem, 0x1fff, 0x1000);
    check_lookup(mem, 0x2000, 0x2000);
    check_lookup(mem, 0x200f, 0x2000);
    check_lookup(mem, 0x2010, 0x2010);
    check_lookup(mem, 0x2011, 0x2011);
    check_lookup(mem, 0x2fff, 0x2011);
    check_lookup(mem, 0x3000, NONE);
    check_lookup(mem, 0x7fff, NONE);
    check_lookup(mem, 0x8000, 0x8000);
    check_lookup(mem, 0x9fff, 0x8000);
    check_lookup(mem, 0xa000, NONE);
    check_lookup(mem, 0xffffffff, NONE);
    check_lookup(mem, 0x100000000ULL, 0x100000000ULL);
    check_lookup(mem, 0x100000fffULL, 0x100000000ULL);
    check_lookup(mem, 0x100001000ULL, NONE);
    /* An offset must not be compared in 32 bits */
    check_lookup(mem, 0x200001000ULL, NONE);
    check_lookup(mem, 0xfffffffffffff000ULL, 0xfffffffffffff000ULL);
    check_lookup(mem, 0xfffffffffffffffeULL, 0xfffffffffffff000ULL);
    check_lookup(mem, 0xffffffffffffffffULL, NONE);

    vhost_dp_memory_free(mem);
    mock_memory_free(mm);
}

static void test_map_length(void)
{
    MockMemory *mm = mock_memory_new(layout, ARRAY_SIZE(layout));
    VhostDPMemory *mem = mock_memory_table(mm, 0);

    check_map(mm, mem, 0x1000, 1, 1);
    check_map(mm, mem, 0x1000, 0x1000, 0x1000);
    check_map(mm, mem, 0x1000, 0x1001, 0x1000);
    check_map(mm, mem, 0x1fff, 1, 1);
    check_map(mm, mem, 0x1fff, 2, 1);
    check_map(mm, mem, 0x2008, 8, 8);
    check_map(mm, mem, 0x2008, 9, 8);
    check_map(mm, mem, 0x2010, 100, 1);
    check_map(mm, mem, 0x9000, 0x2000, 0x1000);
    check_map(mm, mem, 0x9fff, UINT64_MAX, 1);
    check_map(mm, mem, 0x100000800ULL, UINT32_MAX, 0x800);

    vhost_dp_memory_free(mem);
    mock_memory_free(mm);
}

/* Compare the search with a scan, for tables of every size up to 40 */
static void test_search_any_size(void)
{
    enum { MAX = 40, STEP = 16 };
    MockArea areas[MAX];
    unsigned n, i;

    for (i = 0; i < MAX; i++) {
        /* Two of three touch the next one */
        areas[i] = (MockArea) { .gpa = 0x100 + i * STEP,
                                .size = i % 3 ? STEP : STEP / 2 };
    }
    for (n = 1; n <= MAX; n++) {
        MockMemory *mm = mock_memory_new(areas, n);
        VhostDPMemory *mem = mock_memory_table(mm, 0);
        uint64_t gpa;

        for (gpa = 0xf0; gpa < 0x110 + n * STEP; gpa++) {
            unsigned expect = n;

            for (i = 0; i < n; i++) {
                if (gpa >= areas[i].gpa && gpa < areas[i].gpa + areas[i].size) {
                    expect = i;
                }
            }
            g_assert_cmpuint(vhost_dp_memory_search(mem, gpa), ==, expect);
        }
        vhost_dp_memory_free(mem);
        mock_memory_free(mm);
    }
}

/* The last hit is used without a search, and replaced by a search */
static void test_last_hit(void)
{
    MockMemory *mm = mock_memory_new(layout, ARRAY_SIZE(layout));
    VhostDPMemory *mem = mock_memory_table(mm, 0);
    unsigned header = 0, data = 0;

    g_assert_nonnull(vhost_dp_memory_find(mem, &header, 0x8000));
    g_assert_cmpuint(header, ==, 4);
    g_assert_nonnull(vhost_dp_memory_find(mem, &header, 0x9000));
    g_assert_cmpuint(header, ==, 4);
    g_assert_nonnull(vhost_dp_memory_find(mem, &data, 0x2010));
    g_assert_cmpuint(data, ==, 2);
    g_assert_cmpuint(header, ==, 4);
    /* A miss keeps it */
    g_assert_null(vhost_dp_memory_find(mem, &header, 0x5000));
    g_assert_cmpuint(header, ==, 4);

    vhost_dp_memory_free(mem);
    mock_memory_free(mm);
}

/* What turns out not to be RAM is a hole; its neighbours are not affected */
static void test_not_ram(void)
{
    static const MockArea areas[] = {
        { .gpa = 0x0, .size = 0x1000, .kind = MOCK_DEVICE },
        { .gpa = 0x1000, .size = 0x1000 },
        { .gpa = 0x2000, .size = 0x1000, .kind = MOCK_DEVICE, .piece = 0x10 },
        { .gpa = 0x3000, .size = 0x1000 },
        { .gpa = 0x4000, .size = 0x1000, .kind = MOCK_DEVICE },
    };
    MockMemory *mm = mock_memory_new(areas, ARRAY_SIZE(areas));
    VhostDPMemory *mem = mock_memory_table(mm, 0);

    g_assert_cmpuint(mem->nregions, ==, 2);
    g_assert_cmpuint(mm->refs, ==, 2);
    check_lookup(mem, 0xfff, NONE);
    check_lookup(mem, 0x1000, 0x1000);
    check_lookup(mem, 0x2000, NONE);
    check_lookup(mem, 0x2fff, NONE);
    check_lookup(mem, 0x3000, 0x3000);
    check_lookup(mem, 0x4000, NONE);
    check_map(mm, mem, 0x1800, 0x1000, 0x800);
    vhost_dp_memory_free(mem);
    mock_memory_free(mm);
}

static void test_only_not_ram(void)
{
    static const MockArea areas[] = {
        { .gpa = 0x0, .size = 0x1000, .kind = MOCK_DEVICE },
    };
    MockMemory *mm = mock_memory_new(areas, ARRAY_SIZE(areas));
    VhostDPMemory *mem = mock_memory_table(mm, 0);

    g_assert_cmpuint(mem->nregions, ==, 0);
    g_assert_cmpuint(mm->refs, ==, 0);
    check_lookup(mem, 0, NONE);
    vhost_dp_memory_free(mem);
    mock_memory_free(mm);
}

/* address_space_cache_init() may do less than it was asked for */
static void test_several_caches(void)
{
    static const MockArea areas[] = {
        { .gpa = 0x1000, .size = 0x1000, .piece = 0x300 },
        { .gpa = 0x2000, .size = 0x1000 },
    };
    MockMemory *mm = mock_memory_new(areas, ARRAY_SIZE(areas));
    VhostDPMemory *mem = mock_memory_table(mm, 0);
    VhostDPRegion *region = NULL;
    unsigned hit = 0;
    uint64_t len;
    uint8_t *host;
    unsigned i;

    g_assert_cmpuint(mem->nregions, ==, 7);
    g_assert_cmpuint(mem->regions[0].size, ==, 0x300);
    g_assert_cmpuint(mem->regions[5].size, ==, 0x100);
    for (i = 1; i < mem->nregions; i++) {
        g_assert_cmphex(mem->regions[i].gpa, ==,
                        mem->regions[i - 1].gpa + mem->regions[i - 1].size);
    }
    check_lookup(mem, 0x12ff, 0x1000);
    check_lookup(mem, 0x1300, 0x1300);
    check_lookup(mem, 0x1fff, 0x1f00);
    check_map(mm, mem, 0x1200, 0x1000, 0x100);

    /* Dirty marking is relative to the right cache */
    mock_memory_snapshot(mm);
    len = 8;
    host = vhost_dp_memory_map(mem, &hit, 0x1608, &len, &region);
    g_assert_nonnull(host);
    memset(host, 0x55, len);
    vhost_dp_memory_dirty(region, host, len);
    mock_memory_check_exact(mm, &(MockRange) { 0x1608, 8 }, 1);

    vhost_dp_memory_free(mem);
    mock_memory_free(mm);
}

static void test_dirty_exact(void)
{
    static const uint64_t gpas[] = { 0x1000, 0x1fff, 0x2000, 0x2010, 0x8123,
                                     0x100000ff0ULL };
    MockMemory *mm = mock_memory_new(layout, ARRAY_SIZE(layout));
    VhostDPMemory *mem = mock_memory_table(mm, 0);
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(gpas); i++) {
        VhostDPRegion *region = NULL;
        unsigned hit = 0;
        uint64_t len = 12;
        uint8_t *host;

        mock_memory_snapshot(mm);
        host = vhost_dp_memory_map(mem, &hit, gpas[i], &len, &region);
        g_assert_nonnull(host);
        memset(host, 0x55, len);
        vhost_dp_memory_dirty(region, host, len);
        mock_memory_check_exact(mm, &(MockRange) { gpas[i], len }, 1);
    }
    vhost_dp_memory_free(mem);
    mock_memory_free(mm);
}

/* A table keeps its references, whatever other tables come and go */
static void test_references(void)
{
    MockMemory *mm = mock_memory_new(layout, ARRAY_SIZE(layout));
    VhostDPMemory *a = mock_memory_table(mm, 0);
    VhostDPMemory *b = mock_memory_table(mm, 1 << 1 | 1 << 4);

    g_assert_cmpuint(a->nregions, ==, ARRAY_SIZE(layout));
    g_assert_cmpuint(b->nregions, ==, ARRAY_SIZE(layout) - 2);
    g_assert_cmpuint(mm->refs, ==, 2 * ARRAY_SIZE(layout) - 2);
    vhost_dp_memory_free(a);
    g_assert_cmpuint(mm->refs, ==, ARRAY_SIZE(layout) - 2);
    check_lookup(b, 0x2000, NONE);
    check_lookup(b, 0x2010, 0x2010);
    check_lookup(b, 0x8000, NONE);
    vhost_dp_memory_free(b);
    g_assert_cmpuint(mm->refs, ==, 0);
    mock_memory_free(mm);
}

/* A section that cannot be mapped is left out; the others are there */
static void test_init_fails(void)
{
    static const MockArea areas[] = {
        { .gpa = 0x1000, .size = 0x1000 },
        { .gpa = 0x2000, .size = 0x1000, .kind = MOCK_ERROR },
        { .gpa = 0x3000, .size = 0x1000 },
    };
    MockMemory *mm = mock_memory_new(areas, ARRAY_SIZE(areas));
    VhostDPMemory *mem = mock_memory_table(mm, 0);

    g_assert_cmpuint(mem->nregions, ==, 2);
    check_lookup(mem, 0x1000, 0x1000);
    check_lookup(mem, 0x2000, NONE);
    check_lookup(mem, 0x3000, 0x3000);
    vhost_dp_memory_free(mem);
    mock_memory_free(mm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost-dp/memory/empty-table", test_empty);
    g_test_add_func("/vhost-dp/memory/lookup-at-borders", test_borders);
    g_test_add_func("/vhost-dp/memory/lookup-like-a-scan",
                    test_search_any_size);
    g_test_add_func("/vhost-dp/memory/last-hit", test_last_hit);
    g_test_add_func("/vhost-dp/memory/map-ends-with-region", test_map_length);
    g_test_add_func("/vhost-dp/memory/not-ram-is-left-out", test_not_ram);
    g_test_add_func("/vhost-dp/memory/no-ram-at-all", test_only_not_ram);
    g_test_add_func("/vhost-dp/memory/section-in-several-caches",
                    test_several_caches);
    g_test_add_func("/vhost-dp/memory/dirty-is-exact", test_dirty_exact);
    g_test_add_func("/vhost-dp/memory/references-are-balanced",
                    test_references);
    g_test_add_func("/vhost-dp/memory/init-failure-is-left-out",
                    test_init_fails);
    return g_test_run();
}
