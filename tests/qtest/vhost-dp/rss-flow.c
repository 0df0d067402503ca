/*
 * vhost-dp: qtests, flows, and what RSS makes of them
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_net.h"
#include "rss-flow.h"

/* ---- Frames ---- */

void dp_random_bytes(uint8_t *p, size_t len)
{
    while (len--) {
        *p++ = g_test_rand_int();
    }
}

void dp_random_flow(Flow *f)
{
    static const uint8_t protocols[] = { 6, 17, 1 };
    bool ip6 = g_test_rand_bit();
    unsigned proto = protocols[g_test_rand_int_range(0, 3)];
    uint8_t *ip = f->data + 14, *l4;

    memset(f, 0, sizeof(*f));
    memset(f->data, 0xff, 6);
    if (!g_test_rand_int_range(0, 10)) {
        /* ARP has no hash */
        stw_be_p(f->data + 12, 0x0806);
        f->len = 60;
        return;
    }
    stw_be_p(f->data + 12, ip6 ? 0x86dd : 0x0800);
    if (ip6) {
        ip[0] = 0x60;
        ip[6] = proto;
        dp_random_bytes(ip + 8, 32);
        memcpy(f->input, ip + 8, 32);
        f->input_len = 32;
        f->report = VIRTIO_NET_HASH_REPORT_IPv6;
        l4 = ip + 40;
    } else {
        ip[0] = 0x45;
        ip[9] = proto;
        dp_random_bytes(ip + 12, 8);
        memcpy(f->input, ip + 12, 8);
        f->input_len = 8;
        f->report = VIRTIO_NET_HASH_REPORT_IPv4;
        l4 = ip + 20;
    }
    dp_random_bytes(l4, 4);
    l4[12] = 0x50;
    if (proto != 1) {
        memcpy(f->input + f->input_len, l4, 4);
        f->input_len += 4;
        f->report += proto == 6 ? 1 : 2;
    }
    f->len = MAX(l4 + 24 - f->data, 60);
}

void dp_flow_set_number(Flow *f, uint32_t number)
{
    stw_be_p(f->data + 6, 0x0200);
    stl_be_p(f->data + 8, number);
}

/* ---- RSS ---- */

void dp_random_rss(Rss *rss, unsigned pairs)
{
    unsigned i;

    rss->types = DP_RSS_TYPES;
    rss->len = DP_RSS_TABLE >> g_test_rand_int_range(0, 4);
    for (i = 0; i < rss->len; i++) {
        rss->table[i] = g_test_rand_int_range(0, pairs);
    }
    rss->unclassified = g_test_rand_int_range(0, pairs);
    rss->max_tx = pairs;
    rss->key_len = DP_RSS_KEY;
    dp_random_bytes(rss->key, DP_RSS_KEY);
}

size_t dp_rss_command(const Rss *rss, uint8_t *p)
{
    unsigned i;

    stl_le_p(p, rss->types);
    stw_le_p(p + 4, rss->len - 1);
    stw_le_p(p + 6, rss->unclassified);
    p += 8;
    for (i = 0; i < rss->len; i++, p += 2) {
        stw_le_p(p, rss->table[i % DP_RSS_TABLE]);
    }
    stw_le_p(p, rss->max_tx);
    p[2] = rss->key_len;
    memcpy(p + 3, rss->key, MIN(rss->key_len, DP_RSS_KEY));
    return 8 + 2 * rss->len + 3 + MIN(rss->key_len, DP_RSS_KEY);
}

/* Bit by bit, as the RSS specification has it */
uint32_t dp_toeplitz(const uint8_t *key, const uint8_t *input, unsigned len)
{
    uint32_t hash = 0;
    unsigned i, k;

    for (i = 0; i < len * 8; i++) {
        if (!(input[i / 8] & (0x80 >> i % 8))) {
            continue;
        }
        for (k = 0; k < 32; k++) {
            unsigned bit = i + k;

            if (key[bit / 8] & (0x80 >> bit % 8)) {
                hash ^= 0x80000000u >> k;
            }
        }
    }
    return hash;
}
