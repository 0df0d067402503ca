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
 */

#ifndef TESTS_TSAN_EMULATOR_H
#define TESTS_TSAN_EMULATOR_H

#include "exec/memory.h"

#define EMULATOR_RAM_SIZE (4 * MiB)

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

/* One iteration of the main loop.  Thread: main.  Lock: BQL. */
void emulator_main_loop(void);

#endif /* TESTS_TSAN_EMULATOR_H */
