/*
 * vhost-dp: the driver side of a packed virtqueue, for unit tests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: descriptors are written at once, all but the flags of
 * the first one that is not published: the device looks at them in order.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "mock-packed.h"

/* The specification's numbers, written down once more on purpose */
#define DESC_SIZE           16
#define DESC_LEN            8
#define DESC_ID             12
#define DESC_FLAGS          14
#define DESC_F_NEXT         1
#define DESC_F_WRITE        2
#define DESC_F_INDIRECT     4
#define EVENT_FLAGS         2

/* Places */

static unsigned place_index(uint16_t place)
{
    return place & ~MOCK_PACKED_WRAP;
}

static bool place_wrap(uint16_t place)
{
    return place & MOCK_PACKED_WRAP;
}

uint16_t mock_packed_after(MockPacked *q, uint16_t place, unsigned n)
{
    while (n--) {
        place++;
        if (place_index(place) == q->num) {
            place = place_wrap(place) ? 0 : MOCK_PACKED_WRAP;
        }
    }
    return place;
}

uint16_t mock_packed_avail(uint16_t place)
{
    return place_wrap(place) ? MOCK_PACKED_AVAIL : MOCK_PACKED_USED;
}

static uint64_t desc_gpa(MockPacked *q, unsigned i)
{
    return q->desc + i * DESC_SIZE;
}

/* Fields */

uint16_t mock_packed_desc_flags(MockPacked *q, unsigned i)
{
    return mock_load16(q->mm, q->big_endian, desc_gpa(q, i) + DESC_FLAGS);
}

void mock_packed_set_flags(MockPacked *q, unsigned i, uint16_t flags)
{
    mock_store16(q->mm, q->big_endian, desc_gpa(q, i) + DESC_FLAGS, flags);
}

uint16_t mock_packed_device_flags(MockPacked *q)
{
    return mock_load16(q->mm, q->big_endian, q->device + EVENT_FLAGS);
}

uint16_t mock_packed_device_event(MockPacked *q)
{
    return mock_load16(q->mm, q->big_endian, q->device);
}

void mock_packed_set_driver_flags(MockPacked *q, uint16_t flags)
{
    mock_store16(q->mm, q->big_endian, q->driver + EVENT_FLAGS, flags);
}

void mock_packed_set_driver_event(MockPacked *q, uint16_t place)
{
    mock_store16(q->mm, q->big_endian, q->driver, place);
    /* The flags say that the event is there (2.8.14) */
    smp_wmb();
    mock_packed_set_driver_flags(q, MOCK_PACKED_DESC);
}

MockRange mock_packed_range_used(MockPacked *q, unsigned first, unsigned n)
{
    return (MockRange) { desc_gpa(q, first) + DESC_LEN,
                         n * DESC_SIZE - DESC_LEN };
}

MockRange mock_packed_range_device_flags(MockPacked *q)
{
    return (MockRange) { q->device + EVENT_FLAGS, 2 };
}

MockRange mock_packed_range_device_event(MockPacked *q)
{
    return (MockRange) { q->device, 4 };
}

/* Chains */

void mock_packed_init(MockPacked *q, MockMemory *mm, unsigned num,
                      uint64_t desc, uint64_t driver, uint64_t device,
                      uint16_t start, bool event_idx, bool big_endian)
{
    unsigned i;

    memset(q, 0, sizeof(*q));
    q->mm = mm;
    q->num = num;
    q->event_idx = event_idx;
    q->big_endian = big_endian;
    q->desc = desc;
    q->driver = driver;
    q->device = device;
    q->next = start;
    q->published = start;
    q->last_used = start;
    q->junk = true;

    q->nfree = num;
    q->nids = num;
    q->ids = g_new0(uint16_t, num);
    q->ndescs = g_new0(uint16_t, num);
    for (i = 0; i < num; i++) {
        bool this_round = i < place_index(start);
        bool wrap = place_wrap(start) == this_round;

        q->ids[i] = num - 1 - i;
        /* As the device left them */
        mock_packed_set_flags(q, i, wrap ? MOCK_PACKED_AVAIL |
                                           MOCK_PACKED_USED : 0);
    }
    mock_store16(q->mm, q->big_endian, q->driver, start);
    mock_packed_set_driver_flags(q, MOCK_PACKED_ENABLE);
    mock_store16(q->mm, q->big_endian, q->device, 0);
    mock_store16(q->mm, q->big_endian, q->device + EVENT_FLAGS,
                 MOCK_PACKED_ENABLE);
}

void mock_packed_destroy(MockPacked *q)
{
    g_free(q->ids);
    g_free(q->ndescs);
    memset(q, 0, sizeof(*q));
}

void mock_packed_shuffle(MockPacked *q, GRand *rand)
{
    mock_shuffle(q->ids, q->nids, rand);
}

void mock_packed_write_desc(MockPacked *q, uint64_t gpa, uint64_t addr,
                            uint32_t len, uint16_t id, uint16_t flags)
{
    uint8_t raw[DESC_SIZE];

    addr = mock_swap64(q->big_endian, addr);
    len = mock_swap32(q->big_endian, len);
    id = mock_swap16(q->big_endian, id);
    flags = mock_swap16(q->big_endian, flags);
    memcpy(raw, &addr, 8);
    memcpy(raw + DESC_LEN, &len, 4);
    memcpy(raw + DESC_ID, &id, 2);
    memcpy(raw + DESC_FLAGS, &flags, 2);
    mock_memory_write(q->mm, gpa, raw, sizeof(raw));
}

void mock_packed_set_desc(MockPacked *q, unsigned i, uint64_t addr,
                          uint32_t len, uint16_t id, uint16_t flags)
{
    mock_packed_write_desc(q, desc_gpa(q, i), addr, len, id, flags);
}

void mock_packed_add_desc(MockPacked *q, uint64_t addr, uint32_t len,
                          uint16_t id, uint16_t flags)
{
    uint64_t gpa = desc_gpa(q, place_index(q->next));
    uint32_t raw_len = mock_swap32(q->big_endian, len);

    addr = mock_swap64(q->big_endian, addr);
    id = mock_swap16(q->big_endian, id);
    flags |= mock_packed_avail(q->next);
    mock_memory_write(q->mm, gpa, &addr, 8);
    mock_memory_write(q->mm, gpa + DESC_LEN, &raw_len, 4);
    mock_memory_write(q->mm, gpa + DESC_ID, &id, 2);
    if (q->next == q->published) {
        q->first_flags = flags;
    } else {
        mock_store16(q->mm, q->big_endian, gpa + DESC_FLAGS, flags);
    }
    q->next = mock_packed_after(q, q->next, 1);
}

static int take_id(MockPacked *q, unsigned ndescs)
{
    uint16_t id;

    if (q->nfree < ndescs || !q->nids) {
        return -1;
    }
    q->nfree -= ndescs;
    id = q->ids[--q->nids];
    g_assert_cmpuint(q->ndescs[id], ==, 0);
    q->ndescs[id] = ndescs;
    return id;
}

int mock_packed_add(MockPacked *q, const MockSeg *segs, unsigned n)
{
    int id = take_id(q, n);
    unsigned i;

    for (i = 0; id >= 0 && i < n; i++) {
        bool last = i + 1 == n;

        /* Only the last one's buffer id has a meaning (2.8.6) */
        mock_packed_add_desc(q, segs[i].gpa, segs[i].len,
                             last || !q->junk ? id : 0xdead + i,
                             (segs[i].writable ? DESC_F_WRITE : 0) |
                             (last ? 0 : DESC_F_NEXT));
    }
    return id;
}

int mock_packed_add_indirect(MockPacked *q, const MockSeg *segs, unsigned n,
                             uint64_t table)
{
    int id = take_id(q, 1);
    unsigned i;

    if (id < 0) {
        return -1;
    }
    for (i = 0; i < n; i++) {
        uint16_t flags = segs[i].writable ? DESC_F_WRITE : 0;

        /* Reserved, to be ignored (2.8.7) */
        if (q->junk) {
            flags |= i % 3 ? DESC_F_NEXT : MOCK_PACKED_AVAIL;
        }
        mock_packed_write_desc(q, table + i * DESC_SIZE, segs[i].gpa,
                               segs[i].len, q->junk ? 0xbeef : 0, flags);
    }
    mock_packed_add_desc(q, table, n * DESC_SIZE, id, DESC_F_INDIRECT);
    return id;
}

bool mock_packed_publish(MockPacked *q)
{
    uint16_t from = q->published;
    uint16_t flags, event;

    if (q->next != from) {
        /* What the flags lead to before the flags (2.8.21.1) */
        smp_wmb();
        mock_packed_set_flags(q, place_index(from), q->first_flags);
        q->published = q->next;
    }
    /* The flags before the look at the device's wish (2.8.21.3) */
    smp_mb();
    flags = mock_packed_device_flags(q);
    if (flags != MOCK_PACKED_DESC) {
        return flags == MOCK_PACKED_ENABLE;
    }
    g_assert_true(q->event_idx);
    /* The event after the flags that say so (2.8.14) */
    smp_rmb();
    /* Was the descriptor that the device waits for among those added? */
    event = mock_packed_device_event(q);
    while (from != q->published) {
        if (from == event) {
            return true;
        }
        from = mock_packed_after(q, from, 1);
    }
    return false;
}

bool mock_packed_has_used(MockPacked *q)
{
    uint16_t flags = mock_packed_desc_flags(q, place_index(q->last_used));
    uint16_t both = MOCK_PACKED_AVAIL | MOCK_PACKED_USED;

    return (flags & both) == (place_wrap(q->last_used) ? both : 0);
}

void mock_packed_take_back(MockPacked *q, uint32_t id)
{
    g_assert_cmpuint(id, <, q->num);
    g_assert_cmpuint(q->ndescs[id], >, 0);
    q->last_used = mock_packed_after(q, q->last_used, q->ndescs[id]);
    q->nfree += q->ndescs[id];
    q->ids[q->nids++] = id;
    q->ndescs[id] = 0;
}

bool mock_packed_get_used(MockPacked *q, uint32_t *id, uint32_t *len)
{
    uint64_t gpa = desc_gpa(q, place_index(q->last_used));
    uint16_t flags;
    uint16_t id16;

    if (!mock_packed_has_used(q)) {
        return false;
    }
    /* The descriptor after its flags (2.8.22) */
    smp_rmb();
    mock_memory_read(q->mm, gpa + DESC_LEN, len, 4);
    mock_memory_read(q->mm, gpa + DESC_ID, &id16, 2);
    *len = mock_swap32(q->big_endian, *len);
    *id = mock_swap16(q->big_endian, id16);

    /* Only with WRITE does the length have a meaning (2.8.4) */
    flags = mock_packed_desc_flags(q, place_index(q->last_used));
    g_assert_cmphex(flags & ~(MOCK_PACKED_AVAIL | MOCK_PACKED_USED), ==,
                    *len ? DESC_F_WRITE : 0);

    mock_packed_take_back(q, *id);
    return true;
}
