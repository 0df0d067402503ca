/*
 * vhost-dp: first inputs for the ring's fuzz target
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the drivers of the unit tests (lib/mock*) do what
 * a guest does, on memory as the target has it; what they changed becomes
 * stores of the input, with the device's operations between them.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "tests/vhost-dp/lib/mock-packed.h"
#include "fuzz-vring.h"

#define MAX_POKE 255

typedef struct Generator {
    GByteArray *out;
    GRand *rand;
    MockMemory *mm;
    bool packed, writable;
    MockQueue q;
    MockPacked p;
} Generator;

static void put8(Generator *g, uint8_t v)
{
    g_byte_array_append(g->out, &v, 1);
}

static void put16(Generator *g, uint16_t v)
{
    put8(g, v);
    put8(g, v >> 8);
}

static unsigned rnd(Generator *g, unsigned below)
{
    return g_rand_int_range(g->rand, 0, below);
}

static void put_poke(Generator *g, unsigned area, uint64_t offset,
                     unsigned len)
{
    put8(g, FUZZ_POKE);
    put8(g, area);
    put16(g, offset);
    put8(g, len);
    g_byte_array_append(g->out, g->mm->areas[area].host + offset, len);
}

/* What the driver wrote since the last time */
static void put_changes(Generator *g)
{
    unsigned i;

    for (i = 0; i < g->mm->nareas; i++) {
        MockArea *a = &g->mm->areas[i];
        uint64_t from = 0, to;

        if (a->kind != MOCK_RAM) {
            continue;
        }
        while (from < a->size) {
            if (a->host[from] == a->before[from]) {
                from++;
                continue;
            }
            for (to = from + 1; to < a->size && to - from < MAX_POKE &&
                 a->host[to] != a->before[to]; to++) {
                continue;
            }
            put_poke(g, i, from, to - from);
            from = to;
        }
    }
    mock_memory_snapshot(g->mm);
}

static void add_chain(Generator *g, unsigned number)
{
    uint64_t table = FUZZ_TABLE_GPA + number * 64 % 0x380;
    MockSeg segs[4];
    unsigned n = 1 + rnd(g, 4);
    unsigned i;

    for (i = 0; i < n; i++) {
        segs[i].len = 1 + rnd(g, 200);
        segs[i].gpa = FUZZ_DATA_GPA + rnd(g, FUZZ_DATA_SIZE - segs[i].len);
        segs[i].writable = g->writable;
        if (!rnd(g, 16)) {
            /* Two of these are more than 32 bits can count */
            segs[i].gpa = FUZZ_HUGE_GPA;
            segs[i].len = 0xc0000000;
        }
    }
    if (rnd(g, 2)) {
        if (g->packed) {
            mock_packed_add_indirect(&g->p, segs, n, table);
        } else {
            mock_queue_add_indirect(&g->q, segs, n, rnd(g, 2) ? n - 1 : 0,
                                    table, g->rand);
        }
    } else if (g->packed) {
        mock_packed_add(&g->p, segs, n);
    } else {
        mock_queue_add(&g->q, segs, n);
    }
}

static void put_turn(Generator *g)
{
    static const uint8_t after[] = {
        FUZZ_ENABLE, FUZZ_DISABLE, FUZZ_RESTART, FUZZ_FLUSH
    };
    unsigned i, n = 1 + rnd(g, 6);

    for (i = 0; i < n; i++) {
        add_chain(g, i);
    }
    if (g->packed) {
        mock_packed_publish(&g->p);
    } else {
        mock_queue_publish(&g->q);
    }
    put_changes(g);
    put8(g, FUZZ_POP);
    put8(g, rnd(g, 3) ? 63 : rnd(g, 4));
    put16(g, rnd(g, 3) ? 0 : 1 + rnd(g, 300));
    put8(g, FUZZ_USE);
    put8(g, rnd(g, 2) ? 63 : rnd(g, 4));
    put8(g, rnd(g, 256));
    put8(g, FUZZ_FLUSH);
    if (!rnd(g, 3)) {
        put8(g, after[rnd(g, ARRAY_SIZE(after))]);
    }
    if (!rnd(g, 6)) {
        put8(g, FUZZ_REMAP);
        put8(g, rnd(g, 2) ? 0 : 1 << rnd(g, 8));
    }
    if (!rnd(g, 6)) {
        put8(g, FUZZ_ACCESS);
        put8(g, rnd(g, ARRAY_SIZE(fuzz_pages)));
        put8(g, rnd(g, 3) ? 3 : rnd(g, 4));
    }
    if (!rnd(g, 6)) {
        put8(g, FUZZ_MUTATE);
        put8(g, rnd(g, 4));
        put16(g, rnd(g, 0x200));
        put8(g, rnd(g, 256));
    }
}

static void generate(Generator *g, uint8_t config, uint8_t size, uint16_t start)
{
    bool event_idx = config & FUZZ_CONFIG_EVENT_IDX;
    bool big_endian = config & FUZZ_CONFIG_BIG_ENDIAN;
    unsigned num;
    unsigned turns = 1 + rnd(g, 6);

    g->packed = config & FUZZ_CONFIG_PACKED;
    g->writable = config & FUZZ_CONFIG_WRITABLE;
    num = fuzz_num(g->packed, size);
    if (g->packed) {
        start = (start & 0x7fff) % num | (start & 0x8000);
    }
    put8(g, config);
    put8(g, size);
    put16(g, start);
    g->mm = fuzz_memory(config);
    mock_memory_snapshot(g->mm);
    if (g->packed) {
        mock_packed_init(&g->p, g->mm, num, FUZZ_DESC_GPA, FUZZ_AVAIL_GPA,
                         FUZZ_USED_GPA, start, event_idx, big_endian);
    } else {
        mock_queue_init(&g->q, g->mm, num, FUZZ_DESC_GPA, FUZZ_AVAIL_GPA,
                        FUZZ_USED_GPA, start, event_idx, big_endian);
    }
    put_changes(g);
    /* The queue has started on other memory: now it is the driver's */
    put8(g, FUZZ_RESTART);
    while (turns--) {
        put_turn(g);
    }
    if (g->packed) {
        mock_packed_destroy(&g->p);
    } else {
        mock_queue_destroy(&g->q);
    }
    mock_memory_free(g->mm);
}

int main(int argc, char **argv)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    unsigned i;

    if (argc != 2) {
        error_report("usage: generate-vring DIRECTORY");
        return 2;
    }
    for (i = 0; i < 256; i++) {
        g_autofree char *name = g_strdup_printf("%s/generated-%03u", argv[1],
                                                i);
        Generator g = { .out = g_byte_array_new(), .rand = rand };
        g_autoptr(GError) err = NULL;

        generate(&g, i % FUZZ_CONFIGS, g_rand_int(rand), g_rand_int(rand));
        if (!g_file_set_contents(name, (char *)g.out->data, g.out->len,
                                 &err)) {
            error_report("%s", err->message);
            return 1;
        }
        g_byte_array_unref(g.out);
    }
    return 0;
}
