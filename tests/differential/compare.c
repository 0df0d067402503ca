/*
 * vhost-dp: differential test, what has to be the same on both sides
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/virtio_ring.h"
#include "differential.h"

void *ours_ptr(Run *r, uint64_t gpa)
{
    return guest_ptr(&r->guest[r->ours_on], gpa);
}

void *theirs_ptr(Run *r, uint64_t gpa)
{
    return guest_ptr(&r->guest[!r->ours_on], gpa);
}

void check_same(Run *r, const char *what, uint64_t gpa, size_t len)
{
    const uint8_t *a = ours_ptr(r, gpa);
    const uint8_t *b = theirs_ptr(r, gpa);
    size_t i = 0;

    if (!memcmp(a, b, len)) {
        return;
    }
    while (a[i] == b[i]) {
        i++;
    }
    expect(false, "%s, byte %zu: ours 0x%02x, theirs 0x%02x", what, i, a[i],
           b[i]);
}

static void check_packed_descs(Run *r)
{
    const struct vring_packed_desc *a = ours_ptr(r, DESC_GPA);
    const struct vring_packed_desc *b = theirs_ptr(r, DESC_GPA);
    unsigned i;

    for (i = 0; i < r->c.num; i++) {
        expect(a[i].addr == b[i].addr && a[i].len == b[i].len &&
               a[i].id == b[i].id &&
               !((a[i].flags ^ b[i].flags) & ~VRING_DESC_F_WRITE),
               "descriptor %u: length %u id %u flags 0x%x, "
               "and %u %u 0x%x", i, a[i].len, a[i].id, a[i].flags, b[i].len,
               b[i].id, b[i].flags);
    }
}

/* Ours makes one used element of many */
bool batches(Run *r)
{
    return r->c.in_order && !r->c.writable;
}

void check_rings(Run *r)
{
    unsigned num = r->c.num;

    if (r->c.packed) {
        if (!batches(r)) {
            check_packed_descs(r);
        }
        check_same(r, "driver event", AVAIL_GPA, 4);
        check_same(r, "device event", USED_GPA, 4);
    } else {
        check_same(r, "descriptor table", DESC_GPA, num * 16);
        check_same(r, "available ring", AVAIL_GPA, 6 + num * 2);
        check_same(r, "used ring", USED_GPA, batches(r) ? 4 : 4 + num * 8);
    }
}

void check_memory(Run *r)
{
    check_rings(r);
    expect(guest_data_equal(&r->guest[0], &r->guest[1]), "buffers differ");
}

uint64_t violations(Run *r)
{
    uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < VHOST_DP_VIOLATION__MAX; i++) {
        sum += r->vq.violations[i];
    }
    return sum;
}

/* A chain of ours and an element of theirs are the same buffers */
void check_chain(Run *r, const VhostDPChain *chain,
                 const VirtQueueElement *elem)
{
    unsigned n = r->c.writable ? elem->in_num : elem->out_num;
    const hwaddr *addr = r->c.writable ? elem->in_addr : elem->out_addr;
    const struct iovec *sg = r->c.writable ? elem->in_sg : elem->out_sg;
    const Outstanding *o = &r->driver.out[chain->id];
    uint64_t len = 0;
    unsigned i;

    expect(chain->id == elem->index, "id %u, and %u", chain->id, elem->index);
    /* In a split ring, virtio.c counts chains */
    expect(elem->ndescs == (r->c.packed ? chain->ndescs : 1),
           "id %u: %u descriptors, and %u", chain->id, chain->ndescs,
           elem->ndescs);
    expect(chain->nsegs == n, "id %u: %u segments, and %u", chain->id,
           chain->nsegs, n);
    for (i = 0; i < n; i++) {
        const VhostDPRegion *region = chain->region[i];
        uint64_t gpa = (uint8_t *)chain->iov[i].iov_base - region->host +
                       region->gpa;

        expect(gpa == addr[i] && chain->iov[i].iov_len == sg[i].iov_len,
               "id %u segment %u: 0x%" PRIx64 "+%zu, and 0x%" PRIx64 "+%zu",
               chain->id, i, gpa, chain->iov[i].iov_len, addr[i],
               sg[i].iov_len);
        expect(!memcmp(chain->iov[i].iov_base, sg[i].iov_base,
                       sg[i].iov_len), "id %u segment %u", chain->id, i);
        len += sg[i].iov_len;
    }
    expect(chain->len == len, "id %u: length %u, not %" PRIu64, chain->id,
           chain->len, len);
    expect(o->busy && !o->used && o->len == len &&
           chain->ndescs == o->ndescs,
           "id %u, length %" PRIu64 " was not given", chain->id, len);
}
