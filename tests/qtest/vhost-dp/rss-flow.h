/*
 * vhost-dp: qtests, flows, and what RSS makes of them
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Independent of vhost-dp and of QEMU: hashes are computed bit by bit.
 */

#ifndef TESTS_QTEST_VHOST_DP_RSS_FLOW_H
#define TESTS_QTEST_VHOST_DP_RSS_FLOW_H

#define DP_RSS_KEY 40
#define DP_RSS_TABLE 128
#define DP_RSS_TYPES 0x1ff

/* Ethernet with a number in the source address, then the packet */
typedef struct Flow {
    uint8_t data[128];
    size_t len;
    uint8_t input[36];          /* of the hash */
    unsigned input_len;
    unsigned report;            /* virtio-net's name for what is hashed */
} Flow;

/* Section 5.1.6.5.7.1 */
typedef struct Rss {
    uint32_t types;
    unsigned len;               /* of the table */
    uint16_t unclassified;
    uint16_t table[DP_RSS_TABLE];
    uint16_t max_tx;
    uint8_t key_len;
    uint8_t key[DP_RSS_KEY];
} Rss;

void dp_random_bytes(uint8_t *p, size_t len);

/* TCP, UDP, ICMP over IPv4 or IPv6, or ARP, at least 60 bytes */
void dp_random_flow(Flow *f);

/* Numbers a frame of the flow, in a field that is not hashed */
void dp_flow_set_number(Flow *f, uint32_t number);

/* For @pairs queue pairs, with all hash types */
void dp_random_rss(Rss *rss, unsigned pairs);

/* The command's data; returns its length */
size_t dp_rss_command(const Rss *rss, uint8_t *p);

uint32_t dp_toeplitz(const uint8_t *key, const uint8_t *input, unsigned len);

#endif
