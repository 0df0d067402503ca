/*
 * vhost-dp: a driver and a device that share virtqueues, for unit tests
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/iov.h"
#include "qapi/error.h"
#include "vhost-dp-vq-rig.h"

static const Format formats[] = {
    { "split/64", false, false, 64 },
    { "split/event-idx/64", false, true, 64 },
    { "split/event-idx/1024", false, true, 1024 },
    { "packed/64", true, false, 64 },
    { "packed/event-idx/64", true, true, 64 },
    { "packed/event-idx/1024", true, true, 1024 },
};

static void rig_start_device(Rig *r, VhostDPVring *dev, VhostDPVq *vq)
{
    vhost_dp_vring_init(dev, vq->rx);
    dev->num = vq->num;
    dev->swap = HOST_BIG_ENDIAN;        /* it is a modern device (1.4) */
    dev->desc.gpa = VHOST_DP_VQ_IOVA + vhost_dp_vqset_offset(r->set, vq->desc);
    dev->driver.gpa = VHOST_DP_VQ_IOVA +
                     vhost_dp_vqset_offset(r->set, vq->driver);
    dev->device.gpa = VHOST_DP_VQ_IOVA +
                    vhost_dp_vqset_offset(r->set, vq->device);
    vhost_dp_vring_set_base(dev, vq->packed ? 0x80008000 : 0);
    g_assert_cmpint(vhost_dp_vring_start(dev, r->mem, r->set->features), ==,
                    0);
}

Rig *rig_new(const Format *f, uint64_t without)
{
    uint64_t features = VHOST_DP_VQ_FEATURES & ~without;
    Rig *r = g_new0(Rig, 1);
    MockArea area = { .gpa = VHOST_DP_VQ_IOVA, .kind = MOCK_RESERVED };

    features &= f->packed ? -1ULL : ~(1ULL << VIRTIO_F_RING_PACKED);
    features &= f->event_idx ? -1ULL : ~(1ULL << VIRTIO_RING_F_EVENT_IDX);
    r->f = f;
    r->set = vhost_dp_vqset_new(1, f->num, VHOST_DP_VQ_SMALL_PAGES,
                                &error_abort);
    vhost_dp_vqset_start(r->set, features);
    r->rx = &r->set->vq[0];
    r->tx = &r->set->vq[1];

    area.size = r->set->size;
    r->mm = mock_memory_new(&area, 1);
    munmap(r->mm->areas[0].host, area.size);
    /* As another process has it: its own mapping of the same memory */
    r->mm->areas[0].host = mmap(NULL, area.size, PROT_READ | PROT_WRITE,
                                MAP_SHARED, r->set->fd, 0);
    g_assert_true(r->mm->areas[0].host != MAP_FAILED);
    r->mem = mock_memory_table(r->mm, 0);
    rig_start_device(r, &r->dev_rx, r->rx);
    rig_start_device(r, &r->dev_tx, r->tx);
    return r;
}

void rig_free(Rig *r)
{
    vhost_dp_memory_free(r->mem);
    mock_memory_free(r->mm);
    vhost_dp_vqset_unref(r->set);
    g_free(r);
}

void fill(uint8_t *buf, size_t len, unsigned seed)
{
    size_t i;

    for (i = 0; i < len; i++) {
        buf[i] = seed * 31 + i + (i >> 8);
    }
}

void check_places(VhostDPVq *vq)
{
    g_autofree uint8_t *seen = g_new0(uint8_t, vq->num);
    unsigned i, k, nfree = 0;

    for (i = 0; i < vq->num; i++) {
        for (k = 0; k < vq->bufs[i].nbufs; k++) {
            g_assert_cmpuint(i + k, <, vq->num);
            seen[i + k]++;
        }
    }
    for (i = vq->first_used; vq->nlent && i < vq->nused; i++) {
        seen[vq->used[i]]++;
    }
    for (i = 0; i < vq->num; i++) {
        bool is_free = !vq->rx && !test_bit(i, vq->busy);

        g_assert_cmpuint(seen[i], ==, !is_free);
        g_assert_true(!is_free || i >= vq->first_free);
        nfree += is_free;
    }
    g_assert_true(vq->rx || vq->nfree == nfree);
}

VhostDPFrame rig_frame(Rig *r, struct iovec *iov, unsigned pieces,
                       uint32_t len)
{
    VhostDPFrame frame = { .iov = iov, .iovcnt = pieces, .len = len };
    uint32_t at = 0;
    unsigned i;

    g_assert_cmpuint(pieces, <=, len);
    for (i = 0; i < pieces; i++) {
        uint32_t n = i == pieces - 1 ? len - at : len / pieces;

        iov[i] = (struct iovec) { r->out + at, n };
        at += n;
    }
    return frame;
}

size_t device_take(Rig *r, uint8_t *buf, size_t size)
{
    size_t len;

    g_assert_cmpuint(vhost_dp_vring_pop(&r->dev_tx, r->mem, &r->burst, 1,
                                        UINT32_MAX), ==, 1);
    /* Passt of 2025 takes frames of one descriptor only */
    g_assert_cmpuint(r->burst.chain[0].ndescs, ==, 1);
    len = iov_to_buf(r->burst.chain[0].iov, r->burst.chain[0].nsegs, 0, buf,
                     size);
    g_assert_cmpuint(len, ==, r->burst.chain[0].len);
    vhost_dp_vring_push(&r->dev_tx, &r->burst.chain[0], 0);
    vhost_dp_vring_flush(&r->dev_tx);
    return len;
}

bool device_put_hdr(Rig *r, const struct virtio_net_hdr_v1 *hdr,
                    uint32_t len)
{
    unsigned n = DIV_ROUND_UP(HDR + len, BUF);
    struct virtio_net_hdr_v1 copy = *hdr;
    struct iovec from[] = { { &copy, HDR }, { r->out, len } };
    size_t at = 0;
    unsigned i;

    g_assert_cmpuint(vhost_dp_vring_pop(&r->dev_rx, r->mem, &r->burst, n,
                                        UINT32_MAX), ==, n);
    if (!hdr->num_buffers) {
        copy.num_buffers = cpu_to_le16(n);
    }
    for (i = 0; i < n; i++) {
        VhostDPChain *chain = &r->burst.chain[i];
        size_t part = MIN(HDR + len - at, BUF);

        g_assert_cmpuint(chain->nsegs, ==, 1);
        g_assert_cmpuint(chain->len, ==, BUF);
        iov_to_buf(from, 2, at, chain->iov[0].iov_base, part);
        vhost_dp_vring_push(&r->dev_rx, chain, part);
        at += part;
    }
    return vhost_dp_vring_flush(&r->dev_rx);
}

bool device_put(Rig *r, uint32_t len)
{
    struct virtio_net_hdr_v1 hdr = {};

    return device_put_hdr(r, &hdr, len);
}

VhostDPFrame check_rx(Rig *r, uint32_t len)
{
    VhostDPFrame frame[VHOST_DP_BURST_FRAMES];
    bool more;
    unsigned i;

    g_assert_cmpuint(vhost_dp_vq_rx(r->rx, frame, ARRAY_SIZE(frame), &more),
                     ==, 1);
    g_assert_false(more);
    g_assert_cmpuint(frame[0].len, ==, len);
    for (i = 0; i < frame[0].iovcnt; i++) {
        g_assert_cmpuint(frame[0].iov[i].iov_len, >, 0);
    }
    g_assert_cmpuint(iov_size(frame[0].iov, frame[0].iovcnt), ==, len);
    iov_to_buf(frame[0].iov, frame[0].iovcnt, 0, r->in, len);
    g_assert_cmpmem(r->in, len, r->out, len);
    vhost_dp_vq_rx_release(r->rx, 1);
    vhost_dp_vq_flush(r->rx);
    return frame[0];
}

void rig_add_test(const char *name, GTestDataFunc func)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(formats); i++) {
        g_autofree char *path = g_strdup_printf("/vhost-dp/vq/%s/%s",
                                                formats[i].name, name);

        g_test_add_data_func(path, &formats[i], func);
    }
}
