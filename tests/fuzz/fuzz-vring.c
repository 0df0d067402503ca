/*
 * vhost-dp: fuzz target: virtqueues in memory that belongs to the input
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: an input writes to the guest's memory, whatever and
 * wherever it likes, and takes the device through its operations.  After each
 * of them memory is compared with what it was: a byte that changed must have
 * been handed over to the device for that, and reported as dirty.  What is
 * outside of memory is AddressSanitizer's to see, each area being an
 * allocation of its own; a loop without end is libFuzzer's.
 *
 * Behind an IOMMU, pages come and go as the input says: what is popped has to
 * be in pages that the device may use for that, and so has what is written, and
 * to ask for what is missing has to end.
 *
 * The driver can write at any time, so some inputs have stores that come to
 * pass inside of an operation: in vhost_dp_memory_search(), between two copies
 * of the device's, and with each write that it reports.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"
#include "hw/virtio/vhost-dp-vring.h"
#include "fuzz-vring.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not g_assert(): libFuzzer wants the stack of where it was */
#define check(cond)                                                     \
    do {                                                                \
        if (unlikely(!(cond))) {                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);  \
            __builtin_trap();                                           \
        }                                                               \
    } while (0)

#define MAX_OPS         256     /* of an input: longer ones find no more */
#define MAX_ALLOWED     (VHOST_DP_VRING_BURST + 4)
#define MAX_MUTATIONS   8
#define MAX_ROUNDS      100     /* until all is there that a burst needs */

typedef struct Input {
    const uint8_t *data;
    size_t left;
} Input;

typedef struct Mutation {
    uint8_t area;
    uint16_t offset;
    uint8_t value;
} Mutation;

typedef struct Fuzz {
    uint8_t config;
    MockMemory *mm;
    VhostDPMemory *mem;
    VhostDPVring vq;
    VhostDPBurst burst;
    unsigned pushed;            /* chains of the burst */
    VhostDPUsed shadow[VHOST_DP_VRING_BURST];
    unsigned nshadow;           /* pushed and not flushed */

    MockRange allowed[MAX_ALLOWED];
    unsigned nallowed;

    VhostDPIotlb *iotlb;        /* behind an IOMMU, or NULL */
    uint8_t access[ARRAY_SIZE(fuzz_pages)]; /* VHOST_DP_IOTLB_* */

    Mutation mutations[MAX_MUTATIONS];
    unsigned nmutations;
    bool mutated;               /* memory is not what the device has seen */
    bool checking;              /* it is we who look */
} Fuzz;

static Fuzz fuzz;
static VhostDPIotlb *the_iotlb;
static const char *only;        /* one format: see run.py */

static uint8_t in8(Input *in)
{
    if (!in->left) {
        return 0;
    }
    in->left--;
    return *in->data++;
}

static uint16_t in16(Input *in)
{
    uint8_t low = in8(in);

    return low | in8(in) << 8;
}

static bool is_packed(void)
{
    return fuzz.config & FUZZ_CONFIG_PACKED;
}

static uint16_t guest16(uint16_t v)
{
    return fuzz.vq.swap ? bswap16(v) : v;
}

/* Memory */

static void poke(uint8_t area, uint16_t offset, uint8_t value)
{
    MockArea *a = &fuzz.mm->areas[area % fuzz.mm->nareas];

    if (a->kind == MOCK_RAM) {
        a->host[offset % a->size] = value;
        /* The driver may: only what the device changes is looked for */
        a->before[offset % a->size] = value;
    }
}

static void mutate(void)
{
    if (fuzz.nmutations) {
        Mutation *m = &fuzz.mutations[--fuzz.nmutations];

        poke(m->area, m->offset, m->value);
        fuzz.mutated = true;
    }
}

unsigned __real_vhost_dp_memory_search(const VhostDPMemory *mem, uint64_t gpa);
unsigned __wrap_vhost_dp_memory_search(const VhostDPMemory *mem, uint64_t gpa);

unsigned __wrap_vhost_dp_memory_search(const VhostDPMemory *mem, uint64_t gpa)
{
    if (!fuzz.checking) {
        mutate();
    }
    return __real_vhost_dp_memory_search(mem, gpa);
}

static unsigned page_number(uint64_t gpa)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(fuzz_pages); i++) {
        if (gpa - fuzz_pages[i].gpa < fuzz_pages[i].size) {
            break;
        }
    }
    return i;
}

static bool page_may(uint64_t gpa, unsigned access)
{
    unsigned i = page_number(gpa);

    return i < ARRAY_SIZE(fuzz_pages) && (fuzz.access[i] & access);
}

static void allow(uint64_t gpa, uint64_t len)
{
    check(fuzz.nallowed < MAX_ALLOWED);
    fuzz.allowed[fuzz.nallowed++] = (MockRange) { gpa, len };
}

static bool is_allowed(uint64_t gpa)
{
    unsigned i;

    if (fuzz.iotlb && !page_may(gpa, VHOST_DP_IOTLB_WRITE)) {
        return false;
    }
    for (i = 0; i < fuzz.nallowed; i++) {
        if (gpa - fuzz.allowed[i].gpa < fuzz.allowed[i].len) {
            return true;
        }
    }
    return false;
}

/* After an operation: what changed was allowed, and was reported */
static void check_writes(void)
{
    unsigned i;
    uint64_t j;

    for (i = 0; i < fuzz.mm->nareas; i++) {
        MockArea *a = &fuzz.mm->areas[i];

        if (a->kind != MOCK_RAM || !memcmp(a->host, a->before, a->size)) {
            continue;
        }
        for (j = 0; j < a->size; j++) {
            if (a->host[j] != a->before[j]) {
                check(is_allowed(a->gpa + j));
                check(a->dirty[j]);
                a->before[j] = a->host[j];
            }
        }
        memset(a->dirty, 0, a->size);
    }
    fuzz.nallowed = 0;
}

/* What a wish for kicks is written to */
static void allow_notify(void)
{
    uint64_t used = fuzz.vq.device.gpa;

    if (is_packed()) {
        allow(used, 4);
    } else if (fuzz.config & FUZZ_CONFIG_EVENT_IDX) {
        allow(used + 4 + fuzz.vq.num * 8, 2);
    } else {
        allow(used, 2);
    }
}

/* The IOMMU */

/* Answer what was missed */
static void resolve(void)
{
    VhostDPIotlbMisses *misses = &fuzz.iotlb->misses[fuzz.vq.iotlb_user];
    unsigned i;

    if (misses->n) {
        fuzz.iotlb->refused[fuzz.vq.iotlb_user].n = 0;
    }
    for (i = 0; i < misses->n; i++) {
        uint64_t page = misses->tag[i] & ~VHOST_DP_IOTLB_OFFSET_MASK;
        unsigned access = misses->tag[i] & VHOST_DP_IOTLB_OFFSET_MASK;
        unsigned region = vhost_dp_memory_search(fuzz.mem, page);

        check(access == VHOST_DP_IOTLB_READ || access == VHOST_DP_IOTLB_WRITE);
        if (region == fuzz.mem->nregions || !page_may(page, access)) {
            vhost_dp_iotlb_refuse(fuzz.iotlb, fuzz.vq.iotlb_user,
                                  misses->tag[i]);
        } else {
            vhost_dp_iotlb_insert(fuzz.iotlb, page, access,
                                  fuzz.mem->regions[region].host,
                                  &fuzz.mem->regions[region]);
        }
    }
    misses->n = 0;
}

/* Chains */

static bool read_desc(uint64_t gpa, struct vring_packed_desc *desc)
{
    unsigned i;
    uint8_t raw[16];

    for (i = 0; i < sizeof(raw); i++) {
        unsigned hit = 0;
        uint64_t len = 1;
        VhostDPRegion *region;
        uint8_t *host = vhost_dp_memory_map(fuzz.mem, &hit, gpa + i, &len,
                                            &region);

        if (!host) {
            return false;
        }
        raw[i] = *host;
    }
    memcpy(desc, raw, sizeof(raw));
    if (fuzz.vq.swap) {
        bswap64s(&desc->addr);
        bswap32s(&desc->len);
        bswap16s(&desc->id);
        bswap16s(&desc->flags);
    }
    if (!is_packed()) {
        /* flags and next in the place of id and flags */
        desc->flags = desc->id;
    }
    return true;
}

/* Of @len bytes at @gpa, those that a buffer of the right direction has */
static uint64_t find_in_table(uint64_t table, uint64_t n, uint64_t gpa,
                              uint64_t len, bool indirect)
{
    struct vring_packed_desc desc;
    uint64_t found = 0;
    uint64_t i;

    for (i = 0; i < n && read_desc(table + i * 16, &desc); i++) {
        uint64_t here = 0;

        if (desc.flags & VRING_DESC_F_INDIRECT) {
            if (!indirect) {
                here = find_in_table(desc.addr, MIN(desc.len / 16, 128), gpa,
                                     len, true);
            }
        } else if (!(desc.flags & VRING_DESC_F_WRITE) == !fuzz.vq.writable &&
                   gpa >= desc.addr && gpa - desc.addr < desc.len) {
            here = MIN(len, desc.len - (gpa - desc.addr));
        }
        found = MAX(found, here);
    }
    return found;
}

/*
 * A segment is part of a buffer of the right direction in some descriptor, or
 * behind an IOMMU, where neighbours are joined, of several.
 */
static void check_segment(const VhostDPChain *chain, unsigned i)
{
    VhostDPRegion *region = chain->region[i];
    uint64_t offset = (uint8_t *)chain->iov[i].iov_base - region->host;
    uint64_t len = chain->iov[i].iov_len;

    check(region >= fuzz.mem->regions &&
          region < fuzz.mem->regions + fuzz.mem->nregions);
    check(len && offset < region->size && len <= region->size - offset);
    check(!fuzz.iotlb || page_may(region->gpa, fuzz.vq.writable ?
                                  VHOST_DP_IOTLB_WRITE : VHOST_DP_IOTLB_READ));
    if (!fuzz.mutated) {
        uint64_t gpa = region->gpa + offset;
        uint64_t found;

        for (; len; gpa += found, len -= found) {
            found = find_in_table(fuzz.vq.desc.gpa, fuzz.vq.num, gpa, len,
                                  false);
            check(found && (found == len || fuzz.iotlb));
        }
    }
}

static void check_burst(unsigned n, unsigned max)
{
    struct iovec *iov = fuzz.burst.iov;
    unsigned ndescs = 0;
    unsigned i, j;

    fuzz.checking = true;
    check(n == fuzz.burst.nchains && n <= max && n <= fuzz.vq.num);
    check(!n || fuzz.vq.running);
    for (i = 0; i < n; i++) {
        VhostDPChain *chain = &fuzz.burst.chain[i];
        uint64_t len = 0;

        check(chain->iov == iov && chain->ndescs);
        check(!vhost_dp_chain_is_unreadable(chain) || !fuzz.vq.writable);
        check(chain->nsegs <= VHOST_DP_VRING_MAX_SEGS);
        for (j = 0; j < chain->nsegs; j++) {
            check_segment(chain, j);
            len += chain->iov[j].iov_len;
        }
        check(len == chain->len);
        check(is_packed() || chain->id < fuzz.vq.num);
        iov += chain->nsegs;
        check(chain->ndescs <= fuzz.vq.num);
        ndescs += chain->ndescs;
    }
    check(iov == fuzz.burst.iov + fuzz.burst.nsegs);
    check(iov <= fuzz.burst.iov + ARRAY_SIZE(fuzz.burst.iov));
    /* In a split ring, chains may have the same descriptors */
    check(!is_packed() || ndescs <= fuzz.vq.num);
    check(!is_packed() || fuzz.vq.inflight <= fuzz.vq.num);
    fuzz.checking = false;
}

static unsigned pending(void)
{
    return fuzz.burst.nchains - fuzz.pushed;
}

static void rewind_rest(void)
{
    vhost_dp_vring_rewind(&fuzz.vq, &fuzz.burst, pending());
    check(fuzz.burst.nchains == fuzz.pushed);
}

/* Where @n descriptors after @place are */
static uint16_t place_after(uint16_t place, unsigned n)
{
    unsigned i = (place & 0x7fff) + n;

    return i < fuzz.vq.num ? i | (place & 0x8000)
                           : (i - fuzz.vq.num) | (~place & 0x8000);
}

/* Used elements go to the places behind the last ones */
static void allow_used(void)
{
    uint16_t place = fuzz.vq.used_idx;
    unsigned i;

    for (i = 0; i < fuzz.nshadow; i++) {
        if (is_packed()) {
            allow(fuzz.vq.desc.gpa + (place & 0x7fff) * 16 + 8, 8);
            place = place_after(place, fuzz.shadow[i].ndescs);
        } else {
            allow(fuzz.vq.device.gpa + 4 + place++ % fuzz.vq.num * 8, 8);
        }
    }
    if (fuzz.nshadow && !is_packed()) {
        allow(fuzz.vq.device.gpa + 2, 2);
    }
}

static void flush(void)
{
    rewind_rest();
    allow_used();
    vhost_dp_vring_flush(&fuzz.vq);
    check_writes();
    check(!fuzz.vq.nshadow);
    fuzz.nshadow = 0;
    fuzz.pushed = 0;
    fuzz.burst.nchains = 0;
    fuzz.mutated = false;
}

static unsigned pop(unsigned max, uint32_t max_bytes)
{
    unsigned rounds = 0;
    unsigned n;

    for (;;) {
        if (fuzz.iotlb && !fuzz.vq.device.host) {
            /* The ring is found, and begins */
            allow_notify();
        }
        n = vhost_dp_vring_pop(&fuzz.vq, fuzz.mem, &fuzz.burst, max,
                               max_bytes);
        if (n || !fuzz.vq.missed) {
            return n;
        }
        check(fuzz.iotlb && rounds++ < MAX_ROUNDS);
        resolve();
    }
}

static void op_pop(Input *in)
{
    unsigned max = 1 + in8(in) % VHOST_DP_VRING_BURST;
    uint32_t max_bytes = in16(in);
    bool broken = fuzz.vq.broken;
    unsigned n;

    flush();
    n = pop(max, max_bytes ?: UINT32_MAX);
    check(!broken || !n);
    check_writes();
    check_burst(n, max);
}

/* As the engine fills a receive buffer: here its first and last bytes */
static void write_segment(const VhostDPChain *chain, unsigned i)
{
    VhostDPRegion *region = chain->region[i];
    uint8_t *host = chain->iov[i].iov_base;
    size_t len = chain->iov[i].iov_len;

    if (region->size > UINT32_MAX) {
        return;
    }
    allow(region->gpa + (host - region->host), len);
    host[0] ^= 1;
    host[len - 1] ^= 2;
    vhost_dp_memory_dirty(region, host, len);
    check_writes();
}

static void op_use(Input *in)
{
    unsigned n = MIN(1 + in8(in), pending());
    uint8_t part = in8(in);
    unsigned i, j;

    for (i = 0; i < n; i++) {
        VhostDPChain *chain = &fuzz.burst.chain[fuzz.pushed++];
        uint32_t len = (uint64_t)chain->len * part / 255;

        for (j = 0; j < chain->nsegs; j++) {
            if (fuzz.vq.writable && part) {
                write_segment(chain, j);
            } else {
                /* To be read, as a driver does */
                volatile uint8_t *host = chain->iov[j].iov_base;

                (void)host[0];
                (void)host[chain->iov[j].iov_len - 1];
            }
        }
        fuzz.shadow[fuzz.nshadow++] = (VhostDPUsed) {
            .id = chain->id, .ndescs = chain->ndescs, .len = len,
        };
        vhost_dp_vring_push(&fuzz.vq, chain, len);
    }
}

/* Control */

static uint64_t features(void)
{
    return (is_packed() ? 1ULL << VIRTIO_F_RING_PACKED : 0) |
           (fuzz.config & FUZZ_CONFIG_EVENT_IDX
            ? 1ULL << VIRTIO_RING_F_EVENT_IDX : 0);
}

static void stop(void)
{
    flush();
    allow_notify();
    vhost_dp_vring_stop(&fuzz.vq);
    check_writes();
    check(!fuzz.vq.running);
}

static void start(void)
{
    uint32_t base = vhost_dp_vring_get_base(&fuzz.vq);
    int ret;

    allow_notify();
    ret = vhost_dp_vring_start(&fuzz.vq, fuzz.mem, features());
    check_writes();
    check(fuzz.vq.running == (ret == 0));
    /* Going on from there is going on from the same place */
    check(vhost_dp_vring_get_base(&fuzz.vq) ==
          (is_packed() || ret ? base : (uint16_t)base));
}

static void op_remap(Input *in)
{
    uint64_t skip = in8(in);
    MockMemory *mm = mock_memory_clone(fuzz.mm);
    VhostDPMemory *mem = mock_memory_table(mm, skip);

    if (fuzz.iotlb) {
        /* The ring has to be found again, which no burst waits for */
        flush();
        vhost_dp_iotlb_flush(fuzz.iotlb);
    }
    /* Chains are pointers into the old memory; what was pushed is not */
    rewind_rest();
    vhost_dp_vring_remap(&fuzz.vq, mem);
    vhost_dp_memory_free(fuzz.mem);
    mock_memory_free(fuzz.mm);
    fuzz.mm = mm;
    fuzz.mem = mem;
    check_writes();
}

static void op_move_ring(Input *in)
{
    unsigned which = in8(in) % 3;
    uint16_t offset = in16(in);
    VhostDPRingPart *part = which == 0 ? &fuzz.vq.desc :
                            which == 1 ? &fuzz.vq.driver : &fuzz.vq.device;

    stop();
    part->gpa = offset;
    start();
}

static void op_access(Input *in)
{
    unsigned i = in8(in) % ARRAY_SIZE(fuzz.access);
    uint8_t access = in8(in) & (VHOST_DP_IOTLB_READ | VHOST_DP_IOTLB_WRITE);
    uint64_t page = fuzz_pages[i].gpa;

    if (!fuzz.iotlb) {
        return;
    }
    flush();
    fuzz.access[i] = access;
    vhost_dp_iotlb_invalidate(fuzz.iotlb, page, VHOST_DP_IOTLB_PAGE_SIZE);
    vhost_dp_vring_unmapped(&fuzz.vq, page, VHOST_DP_IOTLB_PAGE_SIZE);
    check_writes();
}

/* Two bytes of a ring; NULL: they are not RAM */
static void *ring_ptr(uint64_t gpa)
{
    uint64_t len = 2;
    unsigned hit = 0;
    VhostDPRegion *region;

    return vhost_dp_memory_map(fuzz.mem, &hit, gpa, &len, &region);
}

/* The driver says that there is more, be it true or not */
static void op_avail(Input *in)
{
    uint8_t n = in8(in);
    uint16_t *p;

    if (!fuzz.vq.running) {
        return;
    }
    if (is_packed()) {
        uint16_t place = place_after(vhost_dp_vring_get_base(&fuzz.vq),
                                     n % fuzz.vq.num);
        p = ring_ptr(fuzz.vq.desc.gpa + (place & 0x7fff) * 16 +
                     offsetof(struct vring_packed_desc, flags));
        if (p) {
            *p = guest16((guest16(*p) & ~0x8080) |
                         (place & 0x8000 ? 0x80 : 0x8000));
        }
    } else {
        p = ring_ptr(fuzz.vq.driver.gpa + 2);
        if (p) {
            *p = guest16(guest16(*p) + n);
        }
    }
    mock_memory_snapshot(fuzz.mm);
}

static void op_poke(Input *in)
{
    uint8_t area = in8(in);
    uint16_t offset = in16(in);
    unsigned n = in8(in);

    while (n-- && in->left) {
        poke(area, offset++, in8(in));
    }
    /* A burst has been looked at already */
    fuzz.mutated |= fuzz.burst.nchains != 0;
}

static void op_mutate(Input *in)
{
    Mutation m = { .area = in8(in), .offset = in16(in), .value = in8(in) };

    if (fuzz.nmutations < MAX_MUTATIONS) {
        fuzz.mutations[fuzz.nmutations++] = m;
    }
}

/* Mostly a place that the ring has, or few inputs would start a queue */
static uint16_t base_place(uint16_t v)
{
    return v & 0x4000 ? v : (v & 0x7fff) % fuzz.vq.num | (v & 0x8000);
}

static void one_op(Input *in)
{
    bool more;
    uint32_t base;

    switch (in8(in) % FUZZ_NOPS) {
    case FUZZ_POKE:
        op_poke(in);
        break;
    case FUZZ_AVAIL:
        op_avail(in);
        break;
    case FUZZ_POP:
        op_pop(in);
        break;
    case FUZZ_USE:
        op_use(in);
        break;
    case FUZZ_REWIND:
        rewind_rest();
        break;
    case FUZZ_FLUSH:
        flush();
        break;
    case FUZZ_ENABLE:
        if (fuzz.vq.running) {
            allow_notify();
            more = vhost_dp_vring_enable_notify(&fuzz.vq);
            check(!more || !fuzz.vq.broken);
        }
        check_writes();
        break;
    case FUZZ_DISABLE:
        if (fuzz.vq.running) {
            allow_notify();
            vhost_dp_vring_disable_notify(&fuzz.vq);
        }
        check_writes();
        break;
    case FUZZ_RESTART:
        stop();
        start();
        break;
    case FUZZ_START_AT:
        stop();
        base = base_place(in16(in));
        base |= (uint32_t)base_place(in16(in)) << 16;
        vhost_dp_vring_set_base(&fuzz.vq, base);
        start();
        break;
    case FUZZ_REMAP:
        op_remap(in);
        break;
    case FUZZ_MOVE_RING:
        op_move_ring(in);
        break;
    case FUZZ_MUTATE:
        op_mutate(in);
        break;
    case FUZZ_ACCESS:
        op_access(in);
        break;
    }
}

static void check_violations(void)
{
    uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < VHOST_DP_VIOLATION__MAX; i++) {
        sum += fuzz.vq.violations[i];
    }
    check(!fuzz.vq.broken || sum);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    only = getenv("VHOST_DP_FUZZ_FORMAT");
    the_iotlb = vhost_dp_iotlb_new();
    /* An input has to do the same each time */
    the_iotlb->multiplier = 0x9e3779b97f4a7c15ULL;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input in = { data, size };
    unsigned i;
    uint32_t base;

    if (size < FUZZ_HEADER) {
        return 0;
    }
    memset(&fuzz, 0, sizeof(fuzz));
    fuzz.config = in8(&in);
    if (only) {
        fuzz.config &= ~FUZZ_CONFIG_PACKED;
        fuzz.config |= strcmp(only, "packed") ? 0 : FUZZ_CONFIG_PACKED;
    }
    fuzz.mm = fuzz_memory(fuzz.config);
    fuzz.mem = mock_memory_table(fuzz.mm, 0);
    vhost_dp_vring_init(&fuzz.vq, fuzz.config & FUZZ_CONFIG_WRITABLE);
    fuzz.vq.num = fuzz_num(is_packed(), in8(&in));
    fuzz.vq.swap = !!(fuzz.config & FUZZ_CONFIG_BIG_ENDIAN) != HOST_BIG_ENDIAN;
    if (fuzz.config & FUZZ_CONFIG_IOMMU) {
        vhost_dp_iotlb_flush(the_iotlb);
        fuzz.iotlb = the_iotlb;
        fuzz.vq.iotlb = the_iotlb;
        fuzz.vq.iotlb_user = 1;
        memset(fuzz.access, VHOST_DP_IOTLB_READ | VHOST_DP_IOTLB_WRITE,
               sizeof(fuzz.access));
    }
    fuzz.vq.desc.gpa = FUZZ_DESC_GPA;
    fuzz.vq.driver.gpa = FUZZ_AVAIL_GPA;
    fuzz.vq.device.gpa = FUZZ_USED_GPA;
    base = in16(&in);
    vhost_dp_vring_set_base(&fuzz.vq, is_packed() ? base | base << 16 : base);
    start();

    for (i = 0; i < MAX_OPS && in.left; i++) {
        one_op(&in);
    }
    stop();
    check_violations();
    vhost_dp_memory_free(fuzz.mem);
    mock_memory_free(fuzz.mm);
    return 0;
}
