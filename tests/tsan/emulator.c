/*
 * vhost-dp stress: the parts of QEMU that surround the data path
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "system/cpus.h"
#include "qemu/memfd.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/virtio/vhost-dp-backend.h"
#include "hw/virtio/virtio.h"
#include "emulator.h"

#define MAX_LISTENERS 8

/* Mappings that are no longer used stay inaccessible for so long */
#define MAX_GRAVES 64

/* ---- The BQL: all of stubs/iothread-lock.c, so that it is not linked ---- */

static QemuMutex bql;
static __thread bool bql_is_mine;

bool bql_locked(void)
{
    return bql_is_mine;
}

void bql_lock_impl(const char *file, int line)
{
    g_assert_false(bql_is_mine);
    qemu_mutex_lock(&bql);
    bql_is_mine = true;
}

bool bql_trylock(void)
{
    g_assert_false(bql_is_mine);
    bql_is_mine = !qemu_mutex_trylock(&bql);
    return bql_is_mine;
}

void bql_unlock(void)
{
    g_assert_true(bql_is_mine);
    bql_is_mine = false;
    qemu_mutex_unlock(&bql);
}

void bql_block_unlock(bool increase)
{
}

void rust_bql_mock_lock(void)
{
}

void emulator_main_loop(void)
{
    main_loop_wait(false);
}

/* ---- Guest RAM ---- */

/* A FlatView, as far as vhost-dp can see one.  BQL. */
typedef struct View {
    uint8_t *ram;
    unsigned refs;              /* caches */
} View;

uint8_t *emulator_guest_ram;
AddressSpace address_space_memory;

static int ram_fd;
static uint8_t *graves[MAX_GRAVES];
static unsigned next_grave;
static uint8_t dirty[EMULATOR_RAM_SIZE / 4096];
static MemoryListener *listeners[MAX_LISTENERS];

static uint8_t *map_ram(void)
{
    uint8_t *ram = mmap(NULL, EMULATOR_RAM_SIZE, PROT_READ | PROT_WRITE,
                        MAP_SHARED, ram_fd, 0);

    g_assert_true(ram != MAP_FAILED);
    return ram;
}

static View *current_view(void)
{
    return (View *)address_space_memory.current_map;
}

static void new_view(void)
{
    View *view = g_new0(View, 1);

    view->ram = map_ram();
    qatomic_rcu_set(&address_space_memory.current_map, (FlatView *)view);
}

static void bury(View *view)
{
    uint8_t **grave = &graves[next_grave++ % MAX_GRAVES];

    g_assert_cmpuint(view->refs, ==, 0);
    g_assert_cmpint(mprotect(view->ram, EMULATOR_RAM_SIZE, PROT_NONE), ==, 0);
    if (*grave) {
        munmap(*grave, EMULATOR_RAM_SIZE);
    }
    *grave = view->ram;
    g_free(view);
}

int64_t address_space_cache_init(MemoryRegionCache *cache, AddressSpace *as,
                                 hwaddr addr, hwaddr len, bool is_write)
{
    View *view = current_view();

    g_assert_true(bql_is_mine && as == &address_space_memory);
    g_assert_cmpuint(addr + len, <=, EMULATOR_RAM_SIZE);
    view->refs++;
    cache->fv = (FlatView *)view;
    cache->ptr = view->ram + addr;
    cache->xlat = addr;
    cache->len = len;
    cache->is_write = is_write;
    return len;
}

void address_space_cache_destroy(MemoryRegionCache *cache)
{
    g_assert_true(bql_is_mine);
    ((View *)cache->fv)->refs--;
    cache->ptr = NULL;
}

void address_space_cache_invalidate(MemoryRegionCache *cache, hwaddr addr,
                                    hwaddr access_len)
{
    g_assert_cmpuint(addr + access_len, <=, cache->len);
    qatomic_set(&dirty[(cache->xlat + addr) / 4096], 1);
}

void memory_listener_register(MemoryListener *listener, AddressSpace *as)
{
    unsigned i;

    g_assert_true(bql_is_mine && as == &address_space_memory);
    for (i = 0; listeners[i]; i++) {
        g_assert_cmpuint(i + 1, <, MAX_LISTENERS);
    }
    listeners[i] = listener;
}

void memory_listener_unregister(MemoryListener *listener)
{
    unsigned i;

    g_assert_true(bql_is_mine);
    for (i = 0; listeners[i] != listener; i++) {
        g_assert_cmpuint(i + 1, <, MAX_LISTENERS);
    }
    listeners[i] = NULL;
}

void emulator_move_ram(void (*tell)(void))
{
    View *old = current_view();
    unsigned i;

    new_view();
    if (tell) {
        tell();
    }
    for (i = 0; i < MAX_LISTENERS; i++) {
        if (listeners[i]) {
            listeners[i]->commit(listeners[i]);
        }
    }
    bury(old);
}

/* There is no vIOMMU */

MemoryRegion *flatview_translate(FlatView *fv, hwaddr addr, hwaddr *xlat,
                                 hwaddr *len, bool is_write, MemTxAttrs attrs)
{
    g_assert_not_reached();
}

/* ---- hw/virtio/virtio.c: what follows a fault, and here there is none ---- */

void virtio_notify_config(VirtIODevice *vdev)
{
    g_assert_not_reached();
}

void virtio_queue_reset(VirtIODevice *vdev, uint32_t queue_index)
{
    g_assert_not_reached();
}

void virtio_error(VirtIODevice *vdev, const char *fmt, ...)
{
    g_assert_not_reached();
}

void emulator_init(void)
{
    qemu_mutex_init(&bql);
    qemu_init_main_loop(&error_abort);
    ram_fd = qemu_memfd_create("stress", EMULATOR_RAM_SIZE, false, 0, 0,
                               &error_abort);
    emulator_guest_ram = map_ram();
    new_view();
}
