/*
 * vhost-dp stress: the parts of QEMU that surround the data path
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Stands for system/cpus.c (the BQL), system/physmem.c and system/memory.c
 * (guest RAM and who listens to it), hw/virtio/virtio.c.
 *
 * Guest RAM is a memory file.  The guest has it mapped once, for good.  QEMU's
 * mapping is replaced by emulator_move_ram(), and the old one becomes
 * inaccessible when nobody refers to it, so a pointer that is kept too long
 * ends the test.
 *
 * All of guest RAM is there twice, at guest address 0 and behind that.  An
 * IOMMU translates each page to one of the two, and as soon as its device was
 * told that this changed, the other one is inaccessible in QEMU's mapping: a
 * page that is touched after its unmap ends the test, too.
 */

#ifndef TESTS_TSAN_EMULATOR_H
#define TESTS_TSAN_EMULATOR_H

#include "system/memory.h"

/* Each guest has a part of it */
#define EMULATOR_PARTS 4
#define EMULATOR_PART_SIZE (2 * MiB)
#define EMULATOR_RAM_SIZE (EMULATOR_PARTS * EMULATOR_PART_SIZE)

/* What the guest's memory table says */
#define EMULATOR_RAM_TWICE (2 * EMULATOR_RAM_SIZE)

/* An IOMMU in front of one device, which has a part of guest RAM */
typedef struct EmulatorIommu {
    AddressSpace as;            /* for virtio's dma_as */
    uint64_t start, size;       /* of that part */
    bool bypass;                /* the device passes */
} EmulatorIommu;

/* Guest RAM as the guest sees it, at guest address 0 */
extern uint8_t *emulator_guest_ram;

void emulator_init(void);

/**
 * emulator_move_ram: guest RAM is somewhere else in QEMU from now on
 * @tell: called before the listeners are, as vhost.c tells started devices
 *
 * Afterwards nobody may refer to the old place.  Lock: BQL.
 */
void emulator_move_ram(void (*tell)(void));

/**
 * emulator_change_other: something that is not guest RAM comes or goes
 *
 * Afterwards nobody may refer to the memory map as it was.  Lock: BQL.
 */
void emulator_change_other(void);

/*
 * All of this: BQL.  @tell is called after a translation changed, and before
 * the page that was there becomes inaccessible.
 */
void emulator_iommu_init(EmulatorIommu *iommu, uint64_t start, uint64_t size);
void emulator_iommu_remap(EmulatorIommu *iommu, uint64_t iova,
                          void (*tell)(void *opaque, uint64_t iova),
                          void *opaque);
void emulator_iommu_set_bypass(EmulatorIommu *iommu, bool bypass);

/* One iteration of the main loop.  Thread: main.  Lock: BQL. */
void emulator_main_loop(void);

#endif /* TESTS_TSAN_EMULATOR_H */
