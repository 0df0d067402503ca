/*
 * vhost-dp: the hash of a received frame
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Virtio 1.3, 5.1.6.4.3: which fields of a frame are hashed, by the hash types
 * that the guest enabled, and the Toeplitz hash of them.  Pure functions: any
 * thread, with or without a lock.
 */

#ifndef NET_VHOST_DP_OFFLOAD_CLASSIFY_H
#define NET_VHOST_DP_OFFLOAD_CLASSIFY_H

/* Two IPv6 addresses and two ports */
#define VHOST_DP_HASH_INPUT 36

/* The bytes of a key that this many bytes of input need */
#define VHOST_DP_HASH_KEY   (VHOST_DP_HASH_INPUT + 4)

/* For one key: what each byte, at each place of the input, adds to the hash */
typedef struct VhostDPToeplitz {
    uint32_t sum[VHOST_DP_HASH_INPUT][256];
} VhostDPToeplitz;

/* The hash of a frame */
typedef struct VhostDPHash {
    uint32_t value;             /* 0 if there is none */
    uint8_t report;             /* VIRTIO_NET_HASH_REPORT_* */
} VhostDPHash;

/**
 * vhost_dp_toeplitz_init: prepare to hash with a key
 * @key: VHOST_DP_HASH_KEY bytes; a shorter key is followed by zeros
 */
void vhost_dp_toeplitz_init(VhostDPToeplitz *toeplitz, const uint8_t *key);

/**
 * vhost_dp_classify: find a frame's hash
 * @head: the first bytes of the frame.  Somebody else may change them while it
 *        is hashed: the hash is then of one or the other content.
 * @head_len: their number: VHOST_DP_HEAD_BYTES, or all of a shorter frame
 * @types: enabled hash types, VIRTIO_NET_RSS_HASH_TYPE_*
 *
 * Behind any number of VLAN tags; a tunnel's frame is hashed by its outer
 * headers.  All fragments of a datagram have the same hash, that of their
 * addresses, as only the first of them has ports.  So has a packet whose TCP
 * or UDP header is not complete in @head.
 *
 * Returns VIRTIO_NET_HASH_REPORT_NONE in @report if the frame has no hash of an
 * enabled type.
 */
VhostDPHash vhost_dp_classify(const VhostDPToeplitz *toeplitz, uint32_t types,
                              const uint8_t *head, size_t head_len);

#endif /* NET_VHOST_DP_OFFLOAD_CLASSIFY_H */
