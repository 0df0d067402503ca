/*
 * vhost-dp: qtests, a NIC behind an IOMMU
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "iommu-rig.h"

void env_see(Env *e, unsigned i)
{
    void *at = e->guest->more + i * DP_PAGE_SIZE;

    g_assert(mmap(at, DP_PAGE_SIZE, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_FIXED, e->guest->ram_fd,
                  e->page[i]) == at);
}

static void env_make_window(Env *e)
{
    DpGuest *guest = e->guest;
    uint64_t base = dp_alloc(guest, WINDOW_SIZE);
    unsigned i;

    e->spare = dp_alloc(guest, SPARE_PAGES * DP_PAGE_SIZE);
    guest->more = mmap(NULL, WINDOW_SIZE, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert(guest->more != MAP_FAILED);
    guest->more_at = WINDOW_AT;
    guest->more_size = WINDOW_SIZE;
    for (i = 0; i < WINDOW_PAGES; i++) {
        e->page[i] = base + (WINDOW_PAGES - 1 - i) * DP_PAGE_SIZE;
        env_see(e, i);
        dp_iommu_map(e->iommu, WINDOW_AT + i * DP_PAGE_SIZE, e->page[i],
                     DP_PAGE_SIZE, DP_MAP_BOTH);
    }
    alloc_destroy(&guest->alloc);
    alloc_init(&guest->alloc, ALLOC_NO_FLAGS, WINDOW_AT,
               WINDOW_AT + WINDOW_SIZE, DP_PAGE_SIZE);
}

static void env_prepare(DpGuest *guest, void *opaque)
{
    Env *e = opaque;

    e->guest = guest;
    if (e->before) {
        e->before(guest);
    }
    e->iommu = dp_iommu_new(guest, e->kind, e->bdf);
    if (e->identity) {
        dp_iommu_map_range(e->iommu, 0, 0, DP_RAM_SIZE, DP_MAP_BOTH);
    } else {
        env_make_window(e);
    }
}

Env *env_start_after(DpIommuKind kind, DpSetup setup, bool identity,
                     void (*before)(DpGuest *guest))
{
    Env *e = g_new0(Env, 1);

    e->kind = kind;
    e->identity = identity;
    e->bdf = (setup.slot ?: DP_SLOT) << 3;
    setup.device = setup.device ?: ENV_DEVICE;
    setup.options = setup.options ?: dp_iommu_options(kind);
    setup.features |= DP_FEATURE(VIRTIO_F_ACCESS_PLATFORM);
    e->before = before;
    setup.prepare = env_prepare;
    setup.opaque = e;
    e->rig = dp_rig_start(&setup, false);
    return e;
}

Env *env_start(DpIommuKind kind, DpSetup setup, bool identity)
{
    return env_start_after(kind, setup, identity, NULL);
}

void env_free(Env *e)
{
    uint8_t *more = e->guest->more;

    dp_iommu_free(e->iommu);
    dp_rig_free(e->rig);
    if (more) {
        munmap(more, WINDOW_SIZE);
    }
    g_free(e);
}

uint64_t env_spare(Env *e)
{
    g_assert_cmpuint(e->nused, <, SPARE_PAGES);
    return e->spare + e->nused++ * DP_PAGE_SIZE;
}

uint64_t env_counter(Env *e, unsigned queue, const char *name)
{
    return dp_counter(e->rig->qts, "vd0", queue, name);
}

void env_check_no_violation(Env *e)
{
    unsigned q;

    for (q = DP_RX; q <= DP_TX; q++) {
        g_autofree char *state = dp_queue_state(e->rig->qts, "vd0", q);

        g_assert_cmpstr(state, ==, "running");
        g_assert_cmpuint(env_counter(e, q, "violation:iommu-fault"), ==, 0);
    }
    g_assert_false(dp_nic_status(e->rig->nic) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

void env_check_both_ways(Env *e, unsigned seed)
{
    dp_check_transmit(e->rig->nic, e->rig->sock, 1514, seed);
    dp_check_receive(e->rig->nic, e->rig->sock, 1514, seed + 1);
}

/* ---- Pages that are watched ---- */

uint8_t *watched_host(Env *e, const Watched *w, unsigned i, bool mapped)
{
    return dp_host(e->guest, w->page[i][w->second[i] == mapped]);
}

void watched_init(Env *e, Watched *w)
{
    unsigned i;

    for (i = 0; i < WATCHED; i++) {
        w->iova[i] = HOLE_AT + i * DP_PAGE_SIZE;
        w->page[i][0] = env_spare(e);
        w->page[i][1] = env_spare(e);
        w->second[i] = false;
        memset(watched_host(e, w, i, false), POISON, DP_PAGE_SIZE);
        dp_iommu_map(e->iommu, w->iova[i], w->page[i][0], DP_PAGE_SIZE,
                     DP_MAP_BOTH);
    }
}

void watched_swap(Env *e, Watched *w, unsigned i, unsigned access)
{
    w->second[i] = !w->second[i];
    dp_iommu_remap(e->iommu, w->iova[i], w->page[i][w->second[i]], access);
    memset(watched_host(e, w, i, false), POISON, DP_PAGE_SIZE);
}

void check_poison(const uint8_t *page)
{
    unsigned i;

    for (i = 0; i < DP_PAGE_SIZE; i++) {
        g_assert_cmphex(page[i], ==, POISON);
    }
}

/* ---- Traffic ---- */

static gpointer feeder_run(gpointer opaque)
{
    Feeder *f = opaque;
    unsigned i = 0;

    while (!qatomic_read(&f->stop)) {
        bool any = false;

        while (dp_get_used(f->q, NULL, NULL)) {
            qatomic_set(&f->used, f->used + 1);
        }
        while (f->q->nfree) {
            DpBuf buf = { f->w->iova[i++ % WATCHED], WATCHED_BUFFER,
                          f->write };

            dp_add(f->q, &buf, 1);
            any = true;
        }
        if (any) {
            dp_publish_quietly(f->q);
            qatomic_set(&f->kick, true);
        } else {
            g_usleep(20);
        }
    }
    return NULL;
}

void feeder_start(Feeder *f)
{
    qatomic_set(&f->stop, false);
    qatomic_set(&f->kick, true);
    f->thread = g_thread_new("feeder", feeder_run, f);
}

void feeder_stop(Feeder *f)
{
    qatomic_set(&f->stop, true);
    g_thread_join(f->thread);
}

void feeder_kick(Feeder *f)
{
    if (qatomic_xchg(&f->kick, false)) {
        dp_kick(f->q);
    }
}

void feeder_progress(Feeder *f, unsigned n)
{
    uint64_t used = qatomic_read(&f->used);
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;

    while (qatomic_read(&f->used) < used + n) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        feeder_kick(f);
    }
}
