/*
 * vhost-dp bench: the QEMU under test
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A QEMU without a guest CPU: machine microvm, accelerator qtest, guest RAM in
 * a memory file that is mapped here, too.  The qtest protocol stands for the
 * guest's accesses to device registers, QMP for the administrator.
 */

#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

typedef struct Machine {
    pid_t pid;
    int pidfd;
    int qtest_fd;
    FILE *qmp;                  /* both directions */
    uint8_t *ram;               /* guest address 0 */
    uint64_t ram_size;
    uint64_t ram_next;          /* see machine_alloc() */
} Machine;

/**
 * machine_start: start QEMU
 * @argv: the program and the caller's arguments
 * @ram_size: bytes of guest RAM
 * @device: the -device argument of the network card
 *
 * Exits with a message if QEMU does; QEMU writes its own to stderr.  It is
 * killed when this program ends, however it ends.
 */
void machine_start(Machine *m, char *const *argv, uint64_t ram_size,
                   const char *device);

/**
 * machine_stop: end QEMU and wait for it
 */
void machine_stop(Machine *m);

/**
 * machine_alloc: take zeroed guest RAM for good
 * @gpa: set to its guest address
 */
void *machine_alloc(Machine *m, size_t size, size_t align, uint64_t *gpa);

/**
 * machine_readl, machine_readw, machine_writel: access a register (46 us)
 */
uint16_t machine_readw(Machine *m, uint64_t addr);
uint32_t machine_readl(Machine *m, uint64_t addr);
void machine_writel(Machine *m, uint64_t addr, uint32_t value);

/**
 * machine_qmp: execute a QMP command
 * @command: the line to send
 *
 * Returns the reply's line, {"return": ...} or {"error": ...}, to be freed.
 */
char *machine_qmp(Machine *m, const char *command);

/**
 * machine_thread_name: read the name of a thread into @name
 */
void machine_thread_name(pid_t pid, pid_t tid, char name[32]);

#endif /* BENCH_MACHINE_H */
