/*
 * vhost-dp: checksums in software
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: the Internet checksum (RFC 1071) is the same in either
 * byte order, and words of 64 bits can be summed up and folded at the end.
 * That is why this does not use net/checksum.c, which adds single bytes: here
 * it is the largest part of the work on a frame.
 *
 * Payload is read where it is, in guest memory perhaps.  A guest that changes
 * it meanwhile sends itself a frame with a wrong checksum, no more.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "net/eth.h"
#include "standard-headers/linux/virtio_net.h"
#include "offload.h"

static inline uint16_t csum_fold(uint64_t sum)
{
    sum = (sum >> 32) + (uint32_t)sum;
    sum = (sum >> 32) + (uint32_t)sum;
    sum = (sum >> 16) + (uint16_t)sum;
    sum = (sum >> 16) + (uint16_t)sum;
    return (sum >> 16) + (uint16_t)sum;
}

/* Two halves that cannot overflow, in place of one sum with carry */
static inline void csum_word(uint64_t *low, uint64_t *high, const uint8_t *p)
{
    uint64_t word = ldq_he_p(p);

    *low += (uint32_t)word;
    *high += word >> 32;
}

uint16_t vhost_dp_csum(const void *buf, size_t len)
{
    uint64_t low[2] = {}, high[2] = {};
    const uint8_t *p = buf;
    uint8_t tail[8] = {};

    for (; len >= 32; len -= 32, p += 32) {
        csum_word(&low[0], &high[0], p);
        csum_word(&low[1], &high[1], p + 8);
        csum_word(&low[0], &high[0], p + 16);
        csum_word(&low[1], &high[1], p + 24);
    }
    for (; len >= 8; len -= 8, p += 8) {
        csum_word(&low[0], &high[0], p);
    }
    memcpy(tail, p, len);
    csum_word(&low[1], &high[1], tail);
    return csum_fold(low[0] + low[1] + high[0] + high[1]);
}

uint16_t vhost_dp_csum_addresses(const uint8_t *head, size_t l3, bool ip6)
{
    return ip6 ? vhost_dp_csum(head + l3 + offsetof(struct ip6_header, ip6_src),
                               2 * sizeof(struct in6_address)) :
                 vhost_dp_csum(head + l3 + offsetof(struct ip_header, ip_src),
                               2 * sizeof(uint32_t));
}

uint16_t vhost_dp_csum_iov(const struct iovec *iov, unsigned iovcnt,
                           size_t offset, size_t len)
{
    uint16_t sum = 0;
    bool odd = false;
    unsigned i;

    for (i = 0; i < iovcnt && len; i++) {
        size_t n;
        uint16_t part;

        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        n = MIN(len, iov[i].iov_len - offset);
        part = vhost_dp_csum(iov[i].iov_base + offset, n);
        /* Behind an odd number of bytes, words are the other way round */
        sum = vhost_dp_csum_add(sum, odd ? bswap16(part) : part);
        odd ^= n & 1;
        len -= n;
        offset = 0;
    }
    return sum;
}

void vhost_dp_offload_finish_checksum(VhostDPFrame *frame)
{
    size_t field = frame->csum_start + frame->csum_offset;
    /* The field holds the sum of the pseudo header, which is to be added */
    uint16_t sum = ~vhost_dp_csum_iov(frame->iov, frame->iovcnt,
                                      frame->csum_start,
                                      frame->len - frame->csum_start);

    if (!sum) {
        /* For UDP, zero means none (RFC 768); for the others both are zero */
        sum = 0xffff;
    }
    iov_from_buf(frame->iov, frame->iovcnt, field, &sum, sizeof(sum));
    frame->flags = 0;
}
