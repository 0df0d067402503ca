/*
 * vhost-dp bench: the rings and buffers that frames move through
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"
#include "traffic.h"
#include "util.h"

static uint64_t wanted_features(const Options *o)
{
    uint64_t want = 1ULL << VIRTIO_F_VERSION_1;
    bool offload = o->shape.csum || o->shape.gso_size;

    want |= o->packed ? 1ULL << VIRTIO_F_RING_PACKED : 0;
    want |= o->event_idx ? 1ULL << VIRTIO_RING_F_EVENT_IDX : 0;
    want |= o->indirect ? 1ULL << VIRTIO_RING_F_INDIRECT_DESC : 0;
    want |= o->mergeable ? 1ULL << VIRTIO_NET_F_MRG_RXBUF : 0;
    if (o->pairs > 1) {
        want |= 1ULL << VIRTIO_NET_F_CTRL_VQ | 1ULL << VIRTIO_NET_F_MQ;
    }
    if (offload) {
        want |= 1ULL << VIRTIO_NET_F_CSUM | 1ULL << VIRTIO_NET_F_GUEST_CSUM;
    }
    if (o->shape.gso_size) {
        want |= 1ULL << VIRTIO_NET_F_HOST_TSO4 |
                1ULL << VIRTIO_NET_F_GUEST_TSO4;
    }
    return want;
}

/* Cut header and frame into the descriptors of a guest: headers, then data */
static void cut_segments(const Load *l, RingSeg *segs, uint64_t gpa)
{
    unsigned n = l->o->segs;
    uint32_t len = l->dev.hdr_len + l->o->shape.size;
    uint32_t head = n == 1 ? len : l->dev.hdr_len + 54;
    unsigned i;

    if (n == 2 && l->o->shape.size < 128) {
        head = l->dev.hdr_len;
    }
    segs[0] = (RingSeg) { gpa, head };
    gpa += head;
    len -= head;
    for (i = 1; i < n; i++) {
        uint32_t piece = len / (n - i);

        segs[i] = (RingSeg) { gpa, piece };
        gpa += piece;
        len -= piece;
    }
}

static void init_tx(Load *l, Pair *p)
{
    const Options *o = l->o;
    Ring *ring = &p->tx;
    size_t room = ROUND_UP(l->dev.hdr_len + o->shape.size, 64);
    unsigned i;

    ring->packed = o->packed;
    ring->event_idx = o->event_idx;
    ring->indirect = o->indirect;
    ring->num = o->ring_size;
    ring->nsegs = o->segs;
    ring->nbuf = ring_max_buffers(ring);
    if (o->buffers) {
        ring->nbuf = MIN(ring->nbuf, o->buffers);
    }
    ring->segs = g_new0(RingSeg, ring->nbuf * ring->nsegs);
    p->tx_buf = g_new0(uint8_t *, ring->nbuf);
    p->tx_free = g_new0(uint16_t, ring->nbuf);
    for (i = 0; i < ring->nbuf; i++) {
        uint64_t gpa;

        p->tx_buf[i] = machine_alloc(&l->machine, room, 64, &gpa);
        frame_build_vnet(&o->shape,
                         (struct virtio_net_hdr_v1 *)p->tx_buf[i]);
        frame_build(&o->shape, p->tx_buf[i] + l->dev.hdr_len, p->index,
                    i * 37, true);
        cut_segments(l, &ring->segs[i * ring->nsegs], gpa);
        p->tx_free[p->tx_nfree++] = ring->nbuf - 1 - i;
    }
    ring_init(ring, &l->machine);
    l->dev.tx[p->index] = ring;
}

uint32_t load_rx_buffer_size(const Load *l)
{
    uint32_t whole = l->dev.hdr_len + l->o->shape.size;

    if (l->o->rx_buffer) {
        return l->o->rx_buffer;
    }
    if (!l->o->mergeable) {
        return MAX(whole, l->dev.hdr_len + 1514);
    }
    /* As Linux does: its size follows the frames', up to a page */
    return whole > 1536 ? 4096 : 1536;
}

static void init_rx(Load *l, Pair *p)
{
    const Options *o = l->o;
    Ring *ring = &p->rx;
    uint32_t size = load_rx_buffer_size(l);
    unsigned i;

    if (!o->mergeable && size < l->dev.hdr_len + o->shape.size) {
        bench_fail("a frame of %u bytes does not fit into a receive buffer "
                   "of %u bytes, and --mergeable is off", o->shape.size, size);
    }
    ring->packed = o->packed;
    ring->event_idx = o->event_idx;
    ring->device_writes = true;
    ring->num = o->ring_size;
    ring->nsegs = 1;
    ring->nbuf = ring->num;
    if (o->buffers) {
        ring->nbuf = MIN(ring->nbuf, o->buffers);
    }
    ring->segs = g_new0(RingSeg, ring->nbuf);
    p->rx_buf = g_new0(uint8_t *, ring->nbuf);
    p->rx_free = g_new0(uint16_t, ring->nbuf);
    for (i = 0; i < ring->nbuf; i++) {
        RingSeg *seg = &ring->segs[i];

        seg->len = size;
        p->rx_buf[i] = machine_alloc(&l->machine, ROUND_UP(size, 64), 64,
                                     &seg->gpa);
        p->rx_free[p->rx_nfree++] = i;
    }
    p->rx_whole = g_malloc(128 * KiB);
    ring_init(ring, &l->machine);
    l->dev.rx[p->index] = ring;
}

static void init_expect(Load *l)
{
    const Options *o = l->o;

    l->expect = o->shape;
    l->expect.kind = o->expect == EXPECT_NULL ? FRAME_NULL :
                     o->expect == EXPECT_ECHO ? FRAME_ECHO :
                     o->expect == EXPECT_ANY ? FRAME_ANY : FRAME_OWN;
    if (o->expect == EXPECT_NULL || o->expect == EXPECT_ANY) {
        l->expect.gso_size = 0;
        l->expect.csum = false;
    }
}

void load_init(Load *l)
{
    const Options *o = l->o;
    unsigned i;

    init_expect(l);
    device_find(&l->dev, &l->machine, wanted_features(o));
    l->dev.pairs = o->pairs;
    l->pair = g_new0(Pair, o->pairs);
    for (i = 0; i < o->pairs; i++) {
        l->pair[i].index = i;
        init_rx(l, &l->pair[i]);
        init_tx(l, &l->pair[i]);
    }
    if (o->tap) {
        host_interface_up(o->tap, o->fill ? o->fill + 2048 : 0);
    }
    l->user = o->shape.user ? host_user_open() : -1;
    notify_prepare(&l->notify, &l->dev);
    device_start(&l->dev);
    /* What runs in another process is DPDK or the like */
    notify_find(&l->notify, o->threads->len > 0);

    for (i = 0; i < o->pairs; i++) {
        if (options_sends(o)) {
            /* That was buffer 0, whose number is 0 */
            l->pair[i].tx_posted = 1;
            l->pair[i].tx_done = 1;
            l->pair[i].sink_check.next = 1;
            l->pair[i].check.next = o->expect == EXPECT_ECHO;
        }
        if (o->source) {
            host_source_open(&l->pair[i].source, o->source, &o->shape, i);
        }
    }
    l->sink = o->sink ? host_sink_open(o->sink) : -1;
}
