/*
 * vhost-dp bench: counts allocations of each thread, to be preloaded
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * With COUNT_MALLOC set to a file's name, that file is an array of
 * {thread-id, allocations}, 64 bits each, which guard.py reads while the
 * program runs or afterwards.
 */

#include "qemu/osdep.h"
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define MAX_THREADS 256

typedef struct Slot {
    uint64_t tid;
    uint64_t count;
} Slot;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t size);

static Slot *slots;
static int used;
static __thread Slot *mine __attribute__((tls_model("initial-exec")));

static void __attribute__((constructor)) setup(void)
{
    const char *name = getenv("COUNT_MALLOC");
    int fd = name ? open(name, O_RDWR | O_CREAT, 0600) : -1;
    size_t size = MAX_THREADS * sizeof(Slot);
    void *map;

    if (fd < 0) {
        return;
    }
    if (ftruncate(fd, size) == 0) {
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        slots = map == MAP_FAILED ? NULL : map;
    }
    close(fd);
}

static void count(void)
{
    if (!mine && slots) {
        int i = __atomic_fetch_add(&used, 1, __ATOMIC_RELAXED);

        if (i < MAX_THREADS) {
            mine = &slots[i];
            mine->tid = syscall(SYS_gettid);
        }
    }
    if (mine) {
        mine->count++;
    }
}

void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

void *realloc(void *ptr, size_t size)
{
    count();
    return __libc_realloc(ptr, size);
}
