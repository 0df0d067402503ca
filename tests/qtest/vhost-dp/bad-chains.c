/*
 * vhost-dp: qtests, chains that break the rules of virtqueues
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "bad-chains.h"

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

/* A descriptor as it stands there, right or wrong */
typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
} Desc;

/* ---- Tools ---- */

uint64_t good_buffer(const Victim *v)
{
    uint64_t addr = dp_alloc(v->rig->guest, 2048);
    uint8_t *p = dp_host(v->rig->guest, addr);

    memset(p, 0, 2048);
    dp_make_frame(p + v->rig->nic->hdr_len, 100, 1);
    return addr;
}

/* Descriptors from the start of the ring, each followed by the one behind it */
static void add_chain(const Victim *v, const Desc *descs, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        const Desc *d = &descs[i];

        if (v->q->packed) {
            virtq_add_packed_desc(&v->q->ring, d->addr, d->len, 0, d->flags);
        } else {
            virtq_set_desc(&v->q->ring.desc[i], d->addr, d->len, d->flags,
                           i + 1);
        }
    }
    if (!v->q->packed) {
        virtq_add_head(&v->q->ring, 0);
    }
}

static void add_one(const Victim *v, uint64_t addr, uint32_t len,
                    uint16_t flags)
{
    add_chain(v, &(Desc) { addr, len, flags }, 1);
}

/* An indirect table; NEXT is for split queues (section 2.8.7) */
static void write_table(const Victim *v, uint64_t table, const Desc *descs,
                        unsigned n)
{
    struct vring_desc *to = dp_host(v->rig->guest, table);
    unsigned i;

    for (i = 0; i < n; i++) {
        const Desc *d = &descs[i];

        if (v->q->packed) {
            virtq_set_packed_desc((struct vring_packed_desc *)&to[i], d->addr,
                                  d->len, 0, d->flags & ~NEXT);
        } else {
            virtq_set_desc(&to[i], d->addr, d->len, d->flags, i + 1);
        }
    }
}

static void add_table(const Victim *v, const Desc *descs, unsigned n)
{
    uint64_t table = dp_alloc(v->rig->guest, n * 16);

    write_table(v, table, descs, n);
    add_one(v, table, n * 16, INDIRECT);
}

/* A table of @n descriptors of the same flags */
static void add_long_table(const Victim *v, unsigned n, uint32_t len,
                           uint16_t flags)
{
    g_autofree Desc *descs = g_new(Desc, n);
    uint64_t buf = v->rig->guest->ram_at + 0x100000;
    unsigned i;

    for (i = 0; i < n; i++) {
        descs[i] = (Desc) { buf, len, flags | (i < n - 1 ? NEXT : 0) };
    }
    add_table(v, descs, n);
}

uint64_t end_of_ram(const Victim *v)
{
    return v->rig->guest->ram_at + DP_RAM_SIZE;
}

/* ---- The available ring, split (section 2.7.13.3) ---- */

static void available_too_far(const Victim *v)
{
    v->q->ring.next += v->q->pci.vq.size + 1;
}

static void available_back(const Victim *v)
{
    v->q->ring.next--;
}

static void bad_head(const Victim *v)
{
    virtq_add_head(&v->q->ring, v->q->pci.vq.size);
}

/* ---- Chains that lead nowhere, or do not end (section 2.7.5.3.1) ---- */

static void bad_next(const Victim *v)
{
    add_one(v, good_buffer(v), 114, v->dir | NEXT);
    v->q->ring.desc[0].next = cpu_to_le16(v->q->pci.vq.size);
}

static void bad_next_in_table(const Victim *v)
{
    add_table(v, &(Desc) { good_buffer(v), 114, v->dir | NEXT }, 1);
}

static void loop_of_one(const Victim *v)
{
    add_one(v, good_buffer(v), 114, v->dir | NEXT);
    v->q->ring.desc[0].next = 0;
}

static void loop_of_two(const Victim *v)
{
    uint64_t buf = good_buffer(v);

    add_chain(v, (Desc[]) { { buf, 114, v->dir | NEXT },
                            { buf, 1, v->dir | NEXT } }, 2);
    v->q->ring.desc[1].next = 0;
}

static void loop_in_table(const Victim *v)
{
    Desc desc = { good_buffer(v), 114, v->dir | NEXT };
    uint64_t table = dp_alloc(v->rig->guest, 16);

    virtq_set_desc(dp_host(v->rig->guest, table), desc.addr, desc.len,
                   desc.flags, 0);
    add_one(v, table, 16, INDIRECT);
}

/* All of the ring, and the last descriptor says that there is more */
static void chain_without_end(const Victim *v)
{
    unsigned n = v->q->pci.vq.size;
    g_autofree Desc *descs = g_new(Desc, n);
    uint64_t buf = good_buffer(v);
    unsigned i;

    for (i = 0; i < n; i++) {
        descs[i] = (Desc) { buf, 20, v->dir | NEXT };
    }
    add_chain(v, descs, n);
    if (!v->q->packed) {
        v->q->ring.desc[n - 1].next = 0;
    }
}

/* ---- What a descriptor says ---- */

/* Sections 2.7.4.2 and 2.8.5: device-readable ones come first */
static void bad_order(const Victim *v)
{
    uint64_t buf = good_buffer(v);

    add_chain(v, (Desc[]) { { buf, 114, WRITE | NEXT }, { buf, 114, 0 } }, 2);
}

static void bad_order_in_table(const Victim *v)
{
    uint64_t buf = good_buffer(v);

    add_table(v, (Desc[]) { { buf, 114, WRITE | NEXT }, { buf, 114, 0 } }, 2);
}

void zero_length(const Victim *v)
{
    add_one(v, good_buffer(v), 0, v->dir);
}

static void zero_length_at_end(const Victim *v)
{
    uint64_t buf = good_buffer(v);

    add_chain(v, (Desc[]) { { buf, 114, v->dir | NEXT }, { buf, 0, v->dir } },
              2);
}

static void zero_length_in_table(const Victim *v)
{
    uint64_t buf = good_buffer(v);

    add_table(v, (Desc[]) { { buf, 114, v->dir | NEXT }, { buf, 0, v->dir } },
              2);
}

static void wrong_direction(const Victim *v)
{
    add_one(v, good_buffer(v), 114, v->dir ^ WRITE);
}

static void wrong_direction_in_table(const Victim *v)
{
    add_table(v, &(Desc) { good_buffer(v), 114, v->dir ^ WRITE }, 1);
}

/* ---- Indirect tables (sections 2.7.5.3.1 and 2.8.19) ---- */

static void nested(const Victim *v)
{
    add_table(v, &(Desc) { good_buffer(v), 16, INDIRECT }, 1);
}

static void nested_at_end(const Victim *v)
{
    uint64_t buf = good_buffer(v);

    add_table(v, (Desc[]) { { buf, 114, v->dir | NEXT },
                            { buf, 16, INDIRECT } }, 2);
}

static void size_odd(const Victim *v)
{
    add_one(v, good_buffer(v), 24, INDIRECT);
}

static void size_zero(const Victim *v)
{
    add_one(v, good_buffer(v), 0, INDIRECT);
}

static void table_unmapped(const Victim *v)
{
    add_one(v, DP_GPA_UNMAPPED, 16, INDIRECT);
}

static void table_not_ram(const Victim *v)
{
    add_one(v, DP_GPA_NOT_RAM, 16, INDIRECT);
}

static void table_wraps(const Victim *v)
{
    add_one(v, -16ull, 32, INDIRECT);
}

/* The first descriptor is RAM's last 16 bytes */
static void table_leaves_ram(const Victim *v)
{
    write_table(v, end_of_ram(v) - 16,
                &(Desc) { good_buffer(v), 114, v->dir | NEXT }, 1);
    add_one(v, end_of_ram(v) - 16, 32, INDIRECT);
}

static void table_then_more(const Victim *v)
{
    uint64_t buf = good_buffer(v);

    add_chain(v, (Desc[]) { { buf, 16, INDIRECT | NEXT },
                            { buf, 114, v->dir } }, 2);
}

static void more_then_table(const Victim *v)
{
    uint64_t buf = good_buffer(v);

    add_chain(v, (Desc[]) { { buf, 114, v->dir | NEXT },
                            { buf, 16, INDIRECT } }, 2);
}

/* All descriptors are fine, and 4 GiB in all */
static void chain_length(const Victim *v)
{
    add_long_table(v, 70, 63 << 20, v->dir);
}

static void too_many_segments(const Victim *v)
{
    add_long_table(v, 1025, 1, v->dir);
}

/* Not one of them is of use, but they take their time */
static void too_many_descriptors(const Victim *v)
{
    add_long_table(v, 1026, 1, v->dir ^ WRITE);
}

/* ---- Where a buffer is ---- */

static void buffer_unmapped(const Victim *v)
{
    add_one(v, DP_GPA_UNMAPPED, 114, v->dir);
}

static void buffer_not_ram(const Victim *v)
{
    add_one(v, DP_GPA_NOT_RAM, 114, v->dir);
}

static void buffer_of_a_device(const Victim *v)
{
    add_one(v, v->rig->nic->pci->bar.addr, 114, v->dir);
}

static void buffer_leaves_ram(const Victim *v)
{
    add_one(v, end_of_ram(v) - 50, 114, v->dir);
}

static void buffer_wraps(const Victim *v)
{
    add_one(v, -50ull, 114, v->dir);
}

static void second_buffer_unmapped(const Victim *v)
{
    add_chain(v, (Desc[]) { { good_buffer(v), 114, v->dir | NEXT },
                            { DP_GPA_UNMAPPED, 1, v->dir } }, 2);
}

static void buffer_in_table_unmapped(const Victim *v)
{
    add_table(v, &(Desc) { DP_GPA_UNMAPPED, 114, v->dir }, 1);
}

/* ---- The virtio-net header (section 5.1.6) ---- */

static void short_header(const Victim *v)
{
    add_one(v, good_buffer(v), v->rig->nic->hdr_len - 1, 0);
}

static void short_header_of_two(const Victim *v)
{
    uint64_t buf = good_buffer(v);

    add_chain(v, (Desc[]) { { buf, 4, NEXT },
                            { buf, v->rig->nic->hdr_len - 5, 0 } }, 2);
}

static void short_header_in_table(const Victim *v)
{
    uint64_t buf = good_buffer(v);

    add_table(v, (Desc[]) { { buf, 1, NEXT }, { buf, 1, NEXT },
                            { buf, 1, 0 } }, 3);
}

const Row rows[] = {
    { "available-index/too-far", "available-index", available_too_far, SPLIT },
    { "available-index/back", "available-index", available_back, SPLIT },
    { "descriptor-index/head", "descriptor-index", bad_head, SPLIT },
    { "descriptor-index/next", "descriptor-index", bad_next, SPLIT },
    { "descriptor-index/table", "descriptor-index", bad_next_in_table, SPLIT },
    { "descriptor-loop/ring", "descriptor-loop", chain_without_end, BOTH },
    { "descriptor-loop/one", "descriptor-loop", loop_of_one, SPLIT },
    { "descriptor-loop/two", "descriptor-loop", loop_of_two, SPLIT },
    { "descriptor-loop/table", "descriptor-loop", loop_in_table, SPLIT },
    { "descriptor-order/chain", "descriptor-order", bad_order, BOTH },
    { "descriptor-order/table", "descriptor-order", bad_order_in_table, BOTH },
    { "zero-length/first", "zero-length", zero_length, BOTH },
    { "zero-length/last", "zero-length", zero_length_at_end, BOTH },
    { "zero-length/table", "zero-length", zero_length_in_table, BOTH },
    { "no-buffer/chain", "no-buffer", wrong_direction, BOTH },
    { "no-buffer/table", "no-buffer", wrong_direction_in_table, BOTH },
    { "indirect-nested/first", "indirect-nested", nested, BOTH },
    { "indirect-nested/last", "indirect-nested", nested_at_end, BOTH },
    { "indirect-chained/first", "indirect-chained", table_then_more, PACKED },
    { "indirect-chained/last", "indirect-chained", more_then_table, PACKED },
    { "indirect-size/odd", "indirect-size", size_odd, BOTH },
    { "indirect-size/zero", "indirect-size", size_zero, BOTH },
    { "table-address/unmapped", "table-address", table_unmapped, BOTH },
    { "table-address/not-ram", "table-address", table_not_ram, BOTH },
    { "table-address/wraps", "table-address", table_wraps, BOTH },
    { "table-address/leaves-ram", "table-address", table_leaves_ram, BOTH },
    { "buffer-address/unmapped", "buffer-address", buffer_unmapped, BOTH,
      RX_ONLY },
    { "buffer-address/not-ram", "buffer-address", buffer_not_ram, BOTH,
      RX_ONLY },
    { "buffer-address/device", "buffer-address", buffer_of_a_device, BOTH,
      RX_ONLY },
    { "buffer-address/leaves-ram", "buffer-address", buffer_leaves_ram, BOTH,
      RX_ONLY },
    { "buffer-address/wraps", "buffer-address", buffer_wraps, BOTH, RX_ONLY },
    { "buffer-address/second", "buffer-address", second_buffer_unmapped, BOTH,
      RX_ONLY },
    { "buffer-address/table", "buffer-address", buffer_in_table_unmapped, BOTH,
      RX_ONLY },
    { "chain-length", "chain-length", chain_length, BOTH },
    { "chain-segments/own", "chain-segments", too_many_segments, BOTH },
    { "chain-segments/other", "chain-segments", too_many_descriptors, BOTH },
    { "short-header/one", "short-header", short_header, BOTH,
      TX_ONLY },
    { "short-header/two", "short-header", short_header_of_two, BOTH,
      TX_ONLY },
    { "short-header/table", "short-header", short_header_in_table, BOTH,
      TX_ONLY },
};

const unsigned nrows = ARRAY_SIZE(rows);

bool row_applies(const Row *row, unsigned queue)
{
    return (row->formats & (dp_test_is_packed() ? PACKED : SPLIT)) &&
           row->queues != (queue % 2 == DP_RX ? TX_ONLY : RX_ONLY);
}

void run_row(DpRig *r, const Row *row, unsigned queue)
{
    Victim v = {
        .rig = r,
        .q = &r->nic->queue[queue],
        .dir = queue % 2 == DP_RX ? WRITE : 0,
    };

    row->fn(&v);
    dp_publish(v.q);
}
