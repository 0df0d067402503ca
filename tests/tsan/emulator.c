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
#include "system/xen.h"
#include "qemu/memfd.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/virtio/vhost-dp-pair.h"
#include "hw/virtio/virtio.h"
#include "emulator.h"

#define MAX_LISTENERS 16
#define PAGE_SIZE 4096

/* Mappings that are no longer used stay inaccessible for so long */
#define MAX_GRAVES 64

/* ---- The BQL: all of stubs/iothread-lock.c, so that it is not linked ---- */

static QemuMutex bql;
static __thread bool bql_is_mine;
static __thread bool bql_was_tried;

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
    bql_was_tried = bql_is_mine;
    return bql_is_mine;
}

void bql_unlock(void)
{
    g_assert_true(bql_is_mine);
    bql_is_mine = false;
    qemu_mutex_unlock(&bql);
    if (bql_was_tried) {
        /* What the IOMMU said may change before it can be used */
        bql_was_tried = false;
        g_usleep(20);
    }
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
static uint8_t dirty[EMULATOR_RAM_TWICE / PAGE_SIZE];
static MemoryRegion ram_region, iommu_region;
static bool second[EMULATOR_RAM_SIZE / PAGE_SIZE];  /* that is in use */
static MemoryListener *listeners[MAX_LISTENERS];

static uint8_t *map_ram(void)
{
    uint8_t *ram = mmap(NULL, EMULATOR_RAM_TWICE, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned i;

    g_assert_true(ram != MAP_FAILED);
    for (i = 0; i < 2; i++) {
        void *half = ram + i * EMULATOR_RAM_SIZE;

        g_assert_true(mmap(half, EMULATOR_RAM_SIZE, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_FIXED, ram_fd, 0) == half);
    }
    return ram;
}

static View *current_view(void)
{
    return (View *)address_space_memory.current_map;
}

/* May QEMU touch @len bytes from @addr on? */
static void protect(uint8_t *ram, uint64_t addr, uint64_t len, bool may)
{
    g_assert_cmpint(mprotect(ram + addr, len,
                             may ? PROT_READ | PROT_WRITE : PROT_NONE), ==, 0);
}

/* That of the two places of a page that is not in use is out of bounds */
static void protect_page(uint8_t *ram, unsigned page)
{
    uint64_t first = page * PAGE_SIZE;

    protect(ram, first, PAGE_SIZE, !second[page]);
    protect(ram, first + EMULATOR_RAM_SIZE, PAGE_SIZE, second[page]);
}

static void new_view(void)
{
    View *view = g_new0(View, 1);
    unsigned i;

    view->ram = map_ram();
    protect(view->ram, EMULATOR_RAM_SIZE, EMULATOR_RAM_SIZE, false);
    for (i = 0; i < ARRAY_SIZE(second); i++) {
        if (second[i]) {
            protect_page(view->ram, i);
        }
    }
    qatomic_rcu_set(&address_space_memory.current_map, (FlatView *)view);
}

static void bury(View *view)
{
    uint8_t **grave = &graves[next_grave++ % MAX_GRAVES];

    g_assert_cmpuint(view->refs, ==, 0);
    g_assert_cmpint(mprotect(view->ram, EMULATOR_RAM_TWICE, PROT_NONE), ==, 0);
    if (*grave) {
        munmap(*grave, EMULATOR_RAM_TWICE);
    }
    *grave = view->ram;
    g_free(view);
}

int64_t address_space_cache_init(MemoryRegionCache *cache, AddressSpace *as,
                                 hwaddr addr, hwaddr len, bool is_write)
{
    View *view = current_view();

    g_assert_true(bql_is_mine && as == &address_space_memory);
    g_assert_cmpuint(addr + len, <=, EMULATOR_RAM_TWICE);
    view->refs++;
    cache->mrs.mr = &ram_region;
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

bool xen_allowed;

uint8_t memory_region_get_dirty_log_mask(MemoryRegion *mr)
{
    return 1 << DIRTY_MEMORY_MIGRATION;
}

void address_space_cache_invalidate(MemoryRegionCache *cache, hwaddr addr,
                                    hwaddr access_len)
{
    g_assert_cmpuint(addr + access_len, <=, cache->len);
    qatomic_set(&dirty[(cache->xlat + addr) / PAGE_SIZE], 1);
}

/* A member of MemoryListener: region_add or region_del */
typedef void ListenerCall(MemoryListener *listener,
                          MemoryRegionSection *section);

/* In an IOMMU's address space there is an IOMMU, or there is none */
static void tell_iommu_listener(MemoryListener *listener, ListenerCall *change,
                                bool bypass)
{
    MemoryRegionSection section = {
        .mr = bypass ? &ram_region : &iommu_region,
    };

    change(listener, &section);
}

static bool is_bypassed(const MemoryListener *listener)
{
    return container_of(listener->address_space, EmulatorIommu, as)->bypass;
}

void memory_listener_register(MemoryListener *listener, AddressSpace *as)
{
    unsigned i;

    g_assert_true(bql_is_mine);
    for (i = 0; listeners[i]; i++) {
        g_assert_cmpuint(i + 1, <, MAX_LISTENERS);
    }
    listeners[i] = listener;
    listener->address_space = as;
    if (as != &address_space_memory) {
        tell_iommu_listener(listener, listener->region_add,
                            is_bypassed(listener));
        listener->commit(listener);
    }
}

void memory_listener_unregister(MemoryListener *listener)
{
    unsigned i;

    g_assert_true(bql_is_mine);
    for (i = 0; listeners[i] != listener; i++) {
        g_assert_cmpuint(i + 1, <, MAX_LISTENERS);
    }
    listeners[i] = NULL;
    if (listener->address_space != &address_space_memory) {
        tell_iommu_listener(listener, listener->region_del,
                            is_bypassed(listener));
        listener->commit(listener);
    }
}

/* As memory_region_transaction_commit(): whatever it was that changed */
static void commit(void)
{
    unsigned i;

    for (i = 0; i < MAX_LISTENERS; i++) {
        if (listeners[i]) {
            listeners[i]->commit(listeners[i]);
        }
    }
}

void emulator_change_other(void)
{
    View *old = current_view();
    View *view = g_new0(View, 1);

    view->ram = old->ram;
    qatomic_rcu_set(&address_space_memory.current_map, (FlatView *)view);
    commit();
    /* Or a device that was unplugged would not go */
    g_assert_cmpuint(old->refs, ==, 0);
    g_free(old);
}

void emulator_move_ram(void (*tell)(void))
{
    View *old = current_view();

    new_view();
    if (tell) {
        tell();
    }
    commit();
    bury(old);
}

/* ---- The IOMMU ---- */

MemoryRegion *flatview_translate(FlatView *fv, hwaddr addr, hwaddr *xlat,
                                 hwaddr *len, bool is_write, MemTxAttrs attrs)
{
    EmulatorIommu *iommu = (EmulatorIommu *)fv;

    g_assert_true(bql_is_mine);
    *xlat = addr;
    if (iommu->bypass) {
        return &ram_region;
    }
    g_assert_cmphex(addr - iommu->start, <, iommu->size);
    *len = MIN(*len, PAGE_SIZE - addr % PAGE_SIZE);
    if (second[addr / PAGE_SIZE]) {
        *xlat += EMULATOR_RAM_SIZE;
    }
    return &ram_region;
}

/* Known to tell what it unmaps */
static const TypeInfo iommu_region_info = {
    .name = "virtio-iommu-memory-region",
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(MemoryRegion),
};

void emulator_iommu_init(EmulatorIommu *iommu, uint64_t start, uint64_t size)
{
    if (!iommu_region.is_iommu) {
        type_register_static(&iommu_region_info);
        object_initialize(&iommu_region, sizeof(iommu_region),
                          iommu_region_info.name);
        iommu_region.is_iommu = true;
    }
    ram_region.ram = true;
    iommu->start = start;
    iommu->size = size;
    iommu->as.current_map = (FlatView *)iommu;
}

void emulator_iommu_remap(EmulatorIommu *iommu, uint64_t iova,
                          void (*tell)(void *opaque, uint64_t iova),
                          void *opaque)
{
    unsigned page = iova / PAGE_SIZE;
    uint8_t *ram = current_view()->ram;

    g_assert_cmphex(iova - iommu->start, <, iommu->size);
    if (iommu->bypass) {
        return;
    }
    second[page] = !second[page];
    protect(ram, page * PAGE_SIZE, PAGE_SIZE, true);
    protect(ram, page * PAGE_SIZE + EMULATOR_RAM_SIZE, PAGE_SIZE, true);
    tell(opaque, page * PAGE_SIZE);
    protect_page(ram, page);
}

/* A device that passes uses the first places, whatever the IOMMU says */
void emulator_iommu_set_bypass(EmulatorIommu *iommu, bool bypass)
{
    uint8_t *ram = current_view()->ram;
    unsigned page = iommu->start / PAGE_SIZE;
    unsigned end = page + iommu->size / PAGE_SIZE;
    unsigned i;

    if (bypass == iommu->bypass) {
        return;
    }
    protect(ram, iommu->start, iommu->size, true);
    protect(ram, iommu->start + EMULATOR_RAM_SIZE, iommu->size, true);
    for (i = 0; i < MAX_LISTENERS; i++) {
        if (listeners[i] && listeners[i]->address_space == &iommu->as) {
            tell_iommu_listener(listeners[i], listeners[i]->region_del,
                                iommu->bypass);
            tell_iommu_listener(listeners[i], listeners[i]->region_add,
                                bypass);
        }
    }
    iommu->bypass = bypass;
    commit();
    memset(&second[page], 0, end - page);
    for (; page < end; page++) {
        protect_page(ram, page);
    }
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
