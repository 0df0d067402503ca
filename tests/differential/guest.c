/*
 * vhost-dp: differential test: two guests with the same memory
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the guests' memory is QEMU's own (MemoryRegion and
 * AddressSpace), so that virtio.c works on it as it does in an emulator.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "differential.h"

static const struct {
    const char *name;
    uint64_t gpa;
    uint64_t size;
} areas[NAREAS] = {
    [AREA_RING] = { "ring", DESC_GPA, RING_END - DESC_GPA },
    [AREA_TABLE] = { "table", TABLE_GPA, MAX_NUM * MAX_DESCS * 16 },
    /* Neighbours in guest addresses, not in QEMU's: buffers are cut here */
    [AREA_DATA0] = { "data0", DATA_GPA, 0x5000 },
    [AREA_DATA1] = { "data1", DATA_GPA + 0x5000, 0x1000 },
    [AREA_DATA2] = { "data2", DATA_GPA + 0x6000, DATA_SIZE - 0x6000 },
};

void guest_init(Guest *g, const char *name)
{
    unsigned i;

    memory_region_init(&g->root, NULL, name, UINT64_MAX);
    for (i = 0; i < NAREAS; i++) {
        g_autofree char *full = g_strdup_printf("%s-%s", name, areas[i].name);

        memory_region_init_ram(&g->ram[i], NULL, full, areas[i].size,
                               &error_fatal);
        memory_region_add_subregion(&g->root, areas[i].gpa, &g->ram[i]);
    }
    address_space_init(&g->as, &g->root, name);
}

VhostDPMemory *guest_table(Guest *g)
{
    MemoryRegionSection sections[NAREAS];
    unsigned i;

    for (i = 0; i < NAREAS; i++) {
        sections[i] = (MemoryRegionSection) {
            .mr = &g->ram[i],
            .offset_within_address_space = areas[i].gpa,
            .size = int128_make64(areas[i].size),
        };
    }
    return vhost_dp_memory_new(&g->as, sections, NAREAS);
}

void *guest_ptr(Guest *g, uint64_t gpa)
{
    unsigned i;

    for (i = 0; i < NAREAS; i++) {
        if (gpa - areas[i].gpa < areas[i].size) {
            return (uint8_t *)memory_region_get_ram_ptr(&g->ram[i]) +
                   (gpa - areas[i].gpa);
        }
    }
    g_assert_not_reached();
}

bool guest_data_equal(Guest *a, Guest *b)
{
    unsigned i;

    for (i = AREA_TABLE; i < NAREAS; i++) {
        if (memcmp(memory_region_get_ram_ptr(&a->ram[i]),
                   memory_region_get_ram_ptr(&b->ram[i]), areas[i].size)) {
            return false;
        }
    }
    return true;
}
