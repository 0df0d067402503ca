/*
 * vhost-dp: fuzz target: offload metadata, checksums and segmentation
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: an input is what a guest controls: the metadata of a
 * frame, and its bytes.  Metadata that passes the check must keep the promises
 * of VhostDPFrame, and nothing that is then done in software may read or write
 * outside of the frame, which is an allocation of exactly its length.  A frame
 * from the host is hashed, too.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "standard-headers/linux/virtio_net.h"
#include "net/vhost-dp/offload/classify.h"
#include "net/vhost-dp/offload/offload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define check(cond)                                                     \
    do {                                                                \
        if (unlikely(!(cond))) {                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);  \
            __builtin_trap();                                           \
        }                                                               \
    } while (0)

/*
 * Flags, GSO type, four numbers; what the receiver takes and other choices;
 * where the frame is cut in two; and how often the rest is repeated
 */
#define HEADER          14

#define CHOICE_RECEIVED (1 << 7)        /* from the host, not from the guest */

typedef struct Input {
    VhostDPFrame frame;
    uint8_t choices;
    uint16_t cut;
    uint8_t repeat;
    uint8_t *bytes;
} Input;

static void read_input(Input *in, const uint8_t *data, size_t size)
{
    VhostDPFrame *f = &in->frame;
    size_t once = size - HEADER;
    size_t len, i;

    memset(in, 0, sizeof(*in));
    f->flags = data[0];
    f->gso_type = data[1];
    f->hdr_len = lduw_le_p(data + 2);
    f->gso_size = lduw_le_p(data + 4);
    f->csum_start = lduw_le_p(data + 6);
    f->csum_offset = lduw_le_p(data + 8);
    in->choices = data[10];
    in->cut = lduw_le_p(data + 11);
    in->repeat = data[13];

    /* Large frames of small inputs: the last 64 bytes again and again */
    len = MIN(once + in->repeat * 64, VHOST_DP_MAX_FRAME);
    in->bytes = g_malloc(len);
    for (i = 0; i < len; i++) {
        in->bytes[i] = data[HEADER + (i < once ? i :
                                      once - 1 - i % MIN(once, 64))];
    }
    f->len = len;
}

static void check_promises(const VhostDPFrame *f, uint32_t head_len)
{
    if (f->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        check(f->csum_start + f->csum_offset + 2 <= f->len);
    }
    if (f->gso_type) {
        check(f->gso_size > 0);
        check(f->hdr_len > 0 && f->hdr_len <= head_len);
        check(f->hdr_len <= f->len);
    }
}

/* The payload of all segments, in order, is that of the frame */
static void segment(const Input *in, const uint8_t *head)
{
    const VhostDPFrame *f = &in->frame;
    uint32_t offloads = in->choices & VHOST_DP_OFFLOAD_ALL;
    struct iovec iov[3];
    uint8_t *seg_head = g_malloc(VHOST_DP_HEAD_BYTES);
    g_autofree uint8_t *copy = NULL;
    struct iovec detached;
    VhostDPSegmenter seg;
    unsigned left, i;
    size_t bytes = 0, max;

    vhost_dp_segmenter_init(&seg, f, head, 0x12345678);
    vhost_dp_segmenter_set_units(&seg, 1 + (in->cut >> 8) % 70);
    left = vhost_dp_segmenter_left(&seg);
    max = vhost_dp_segmenter_max_frame(&seg);
    check(left <= f->len);
    for (; !vhost_dp_segmenter_done(&seg); vhost_dp_segmenter_advance(&seg)) {
        VhostDPFrame s;

        check(left-- == vhost_dp_segmenter_left(&seg));
        vhost_dp_segmenter_make(&seg, offloads, &s, seg_head, iov);
        check(s.len <= max && s.iovcnt <= ARRAY_SIZE(iov));
        check(s.gso_type == 0 ||
              (s.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 && seg.units > 1 &&
               !vhost_dp_offload_too_many(&s, s.hdr_len, seg.units)));
        check(iov_size(s.iov, s.iovcnt) == s.len);
        check(s.len > s.iov[0].iov_len || s.iovcnt == 1);
        for (i = 0; i < s.iovcnt; i++) {
            vhost_dp_csum(s.iov[i].iov_base, s.iov[i].iov_len);
        }
        check_promises(&s, s.iov[0].iov_len);
        bytes += s.len - s.iov[0].iov_len;
        if (!copy && in->cut % 3 == 0) {
            copy = g_malloc(VHOST_DP_MAX_FRAME);
            vhost_dp_segmenter_detach(&seg, copy, &detached);
        }
    }
    check(left == 0 && bytes == f->len - f->hdr_len);
    g_free(seg_head);
}

/* The hash is of an enabled type, and does not depend on the others */
static void classify(const Input *in, const uint8_t *head, size_t head_len)
{
    static const uint8_t key[VHOST_DP_HASH_KEY] = { 0x6d, 0x5a, 0x56, 0xda };
    static VhostDPToeplitz toeplitz;
    uint32_t types = in->cut & 0x1ff;
    VhostDPHash hash, again;

    if (!toeplitz.sum[0][0x80]) {
        vhost_dp_toeplitz_init(&toeplitz, key);
    }
    hash = vhost_dp_classify(&toeplitz, types, head, head_len);
    if (hash.report == VIRTIO_NET_HASH_REPORT_NONE) {
        check(!hash.value);
        return;
    }
    check(types & (1u << (hash.report - 1)));
    again = vhost_dp_classify(&toeplitz, 1u << (hash.report - 1), head,
                              head_len);
    check(again.report == hash.report && again.value == hash.value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input in;
    VhostDPFrame *f = &in.frame;
    g_autofree uint8_t *head = NULL;
    uint8_t *first, *second;
    size_t head_len, cut;
    bool good, fits;

    if (size <= HEADER) {
        return 0;
    }
    read_input(&in, data, size);
    head_len = MIN(f->len, VHOST_DP_HEAD_BYTES);
    head = g_memdup2(in.bytes, head_len);
    if (in.choices & CHOICE_RECEIVED) {
        classify(&in, head, head_len);
    }

    fits = f->gso_type && vhost_dp_offload_fits(f, head, head_len) &&
           (f->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
           f->gso_type != VIRTIO_NET_HDR_GSO_UDP;
    good = in.choices & CHOICE_RECEIVED
           ? vhost_dp_offload_check_received(f, head, head_len)
           : vhost_dp_offload_check(f, head, head_len);
    /* What the guest would get as it is can be segmented, too */
    check(good || !fits || !(in.choices & CHOICE_RECEIVED));
    if (good) {
        check_promises(f, head_len);
        /* As the engine: headers in memory of ours, the rest where it was */
        cut = head_len + (f->len > head_len
                          ? in.cut % (f->len - head_len) : 0);
        memcpy(in.bytes, head, head_len);
        first = g_memdup2(in.bytes, cut);
        second = g_memdup2(in.bytes + cut, f->len - cut);
        f->iov = f->inl;
        f->inl[0] = (struct iovec) { first, cut };
        f->inl[1] = (struct iovec) { second, f->len - cut };
        f->iovcnt = cut < f->len ? 2 : 1;
        vhost_dp_offload_allowed(f, in.choices & VHOST_DP_OFFLOAD_ALL);
        if (f->gso_type) {
            segment(&in, head);
        } else if (f->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
            vhost_dp_offload_finish_checksum(f);
            check(!f->flags && !f->gso_type);
        }
        g_free(first);
        g_free(second);
    }
    g_free(in.bytes);
    return 0;
}
