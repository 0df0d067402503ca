/*
 * vhost-dp: driver-side virtqueues, and a device that breaks rules
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test writes to the ring what no device may.  Sections are those of the
 * virtio specification, version 1.3.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "vhost-dp-vq-rig.h"

static struct vring_used *used_ring(Rig *r)
{
    return r->rx->device;
}

/* Make the next used element say @id and @len */
static void write_used(Rig *r, uint32_t id, uint32_t len)
{
    VhostDPVq *vq = r->rx;

    if (vq->packed) {
        struct vring_packed_desc *desc = vq->desc;

        desc += vq_index(vq->next_used);
        desc->id = cpu_to_le16(id);
        desc->len = cpu_to_le32(len);
        desc->flags = cpu_to_le16((vq->next_used & VQ_WRAP ?
                                   VQ_AVAIL | VQ_USED : 0) |
                                  VRING_DESC_F_WRITE);
    } else {
        struct vring_used_elem *elem;

        elem = &used_ring(r)->ring[vq->next_used & (vq->num - 1)];
        elem->id = cpu_to_le32(id);
        elem->len = cpu_to_le32(len);
        used_ring(r)->idx = cpu_to_le16(vq->next_used + 1);
    }
}

static void write_num_buffers(Rig *r, unsigned buf, uint16_t n)
{
    struct virtio_net_hdr_v1 *hdr = (void *)vq_buf(r->rx, buf);

    memset(hdr, 0, sizeof(*hdr));
    hdr->num_buffers = cpu_to_le16(n);
}

static void bad_id(Rig *r)
{
    write_used(r, r->rx->num, 100);
}

static void bad_id_large(Rig *r)
{
    write_used(r, 0xffff, 100);
}

/* A buffer comes back a second time while the frame is lent */
static void bad_id_twice(Rig *r)
{
    VhostDPFrame frame;
    bool more;

    write_num_buffers(r, 3, 1);
    write_used(r, 3, 100);
    g_assert_cmpuint(vhost_dp_vq_rx(r->rx, &frame, 1, &more), ==, 1);
    write_used(r, 3, 100);
}

static void bad_len(Rig *r)
{
    write_num_buffers(r, 0, 1);
    write_used(r, 0, BUF + 1);
}

static void bad_len_large(Rig *r)
{
    write_num_buffers(r, 0, 1);
    write_used(r, 0, UINT32_MAX);
}

static void bad_short(Rig *r)
{
    write_num_buffers(r, 0, 1);
    write_used(r, 0, HDR - 1);
}

static void bad_no_buffers(Rig *r)
{
    write_num_buffers(r, 0, 0);
    write_used(r, 0, 100);
}

static void bad_many_buffers(Rig *r)
{
    write_num_buffers(r, 0, 0xffff);
    write_used(r, 0, 100);
}

static void bad_missing_buffers(Rig *r)
{
    write_num_buffers(r, 0, 3);
    write_used(r, 0, 100);
}

static void bad_index(Rig *r)
{
    used_ring(r)->idx = cpu_to_le16(r->rx->num + 1);
}

static void bad_index_back(Rig *r)
{
    used_ring(r)->idx = cpu_to_le16(-1);
}

static const struct {
    const char *name;
    void (*act)(Rig *r);
    VhostDPPeerViolation violation;
    bool split_only;
} violations[] = {
    { "id", bad_id, VHOST_DP_PEER_VIOLATION_USED_ID },
    { "id-large", bad_id_large, VHOST_DP_PEER_VIOLATION_USED_ID },
    { "id-twice", bad_id_twice, VHOST_DP_PEER_VIOLATION_USED_ID },
    { "length", bad_len, VHOST_DP_PEER_VIOLATION_USED_LENGTH },
    { "length-large", bad_len_large, VHOST_DP_PEER_VIOLATION_USED_LENGTH },
    { "short", bad_short, VHOST_DP_PEER_VIOLATION_SHORT_HEADER },
    { "no-buffers", bad_no_buffers, VHOST_DP_PEER_VIOLATION_BUFFER_COUNT },
    { "many-buffers", bad_many_buffers, VHOST_DP_PEER_VIOLATION_BUFFER_COUNT },
    { "missing-buffers", bad_missing_buffers,
      VHOST_DP_PEER_VIOLATION_INCOMPLETE_FRAME },
    { "index", bad_index, VHOST_DP_PEER_VIOLATION_USED_INDEX, true },
    { "index-back", bad_index_back, VHOST_DP_PEER_VIOLATION_USED_INDEX, true },
};

static void test_violations(const void *opaque)
{
    const Format *f = opaque;
    VhostDPFrame frame;
    unsigned i;
    bool more;

    for (i = 0; i < ARRAY_SIZE(violations); i++) {
        Rig *r;

        if (f->packed && violations[i].split_only) {
            continue;
        }
        g_test_message("%s", violations[i].name);
        r = rig_new(f, 0);
        violations[i].act(r);
        g_assert_cmpuint(vhost_dp_vq_rx(r->rx, &frame, 1, &more), ==, 0);
        g_assert_true(r->rx->broken);
        g_assert_cmpint(r->rx->violation, ==, violations[i].violation);
        /* It is left alone from now on */
        write_num_buffers(r, 1, 1);
        write_used(r, 1, 100);
        g_assert_cmpuint(vhost_dp_vq_rx(r->rx, &frame, 1, &more), ==, 0);
        g_assert_false(more);
        g_assert_false(vhost_dp_vq_enable_call(r->rx));
        g_assert_false(vhost_dp_vq_flush(r->rx));
        rig_free(r);
    }
}

/* Write to a random place of the shared memory, mostly to the rings */
static void scribble(Rig *r)
{
    VhostDPVq *vq = g_test_rand_bit() ? r->rx : r->tx;
    uint16_t value = g_test_rand_bit() ? g_test_rand_int() :
                     g_test_rand_int_range(0, vq->num);
    size_t ring = vq->buf - (uint8_t *)vq->desc;
    size_t at = g_test_rand_int_range(0, 8) ?
                (uint8_t *)vq->desc - r->set->base +
                g_test_rand_int_range(0, ring / 2) * 2 :
                g_test_rand_int_range(0, r->set->size / 2) * 2;

    stw_he_p(r->set->base + at, value);
}

/* A device that writes anything anywhere: see check_places() */
static void test_garbage(const void *opaque)
{
    unsigned round, i;
    bool more;

    for (round = 0; round < 200; round++) {
        Rig *r = rig_new(opaque, 0);
        VhostDPFrame frames[VHOST_DP_BURST_FRAMES], out[4];
        struct iovec iov[ARRAY_SIZE(out)];

        for (i = 0; i < 200 && !(r->rx->broken && r->tx->broken); i++) {
            unsigned n = g_test_rand_int_range(0, 20), k;

            if (!r->rx->broken && i % 4 == 0) {
                uint16_t id = g_test_rand_int_range(0, r->f->num);

                write_num_buffers(r, id, g_test_rand_int_range(0, 3));
                write_used(r, id, g_test_rand_int_range(0, 2 * BUF));
            }
            while (n--) {
                scribble(r);
            }
            for (k = 0; k < ARRAY_SIZE(out); k++) {
                out[k] = rig_frame(r, &iov[k], 1,
                                   g_test_rand_int_range(14, 20000));
            }
            vhost_dp_vq_tx(r->tx, out, ARRAY_SIZE(out));
            vhost_dp_vq_flush(r->tx);
            vhost_dp_vq_enable_call(r->tx);
            check_places(r->tx);
            n = vhost_dp_vq_rx(r->rx, frames, ARRAY_SIZE(frames), &more);
            for (k = 0; k < n; k++) {
                /* All of it is memory that is ours */
                g_assert_cmpuint(iov_size(frames[k].iov, frames[k].iovcnt),
                                 ==, frames[k].len);
                iov_to_buf(frames[k].iov, frames[k].iovcnt, 0, r->in,
                           frames[k].len);
            }
            if (!r->rx->broken) {
                check_places(r->rx);
            }
            vhost_dp_vq_rx_release(r->rx, n);
            vhost_dp_vq_flush(r->rx);
            vhost_dp_vq_enable_call(r->rx);
        }
        rig_free(r);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add_test("violations", test_violations);
    rig_add_test("garbage", test_garbage);
    return g_test_run();
}
