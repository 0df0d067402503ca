/*
 * vhost-dp: tests of receive filters
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "net/vhost-dp/offload/rx-filter.h"

static const uint8_t own_mac[] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

/* One of a few addresses: broadcast, our own, multicast and unicast ones */
static void make_mac(uint8_t *mac, unsigned i)
{
    const uint8_t made[] = { i & 1 ? 0x33 : 0x02, 0x33, 0, 0, 0, i };

    memcpy(mac, made, VHOST_DP_MAC_LEN);
    if (i == 0) {
        memcpy(mac, own_mac, VHOST_DP_MAC_LEN);
    } else if (i == 1) {
        memset(mac, 0xff, VHOST_DP_MAC_LEN);
    }
}

static bool is_listed(const VhostDPControlState *s, const uint8_t *mac,
                      unsigned from, unsigned to)
{
    while (from < to && memcmp(s->macs[from], mac, VHOST_DP_MAC_LEN)) {
        from++;
    }
    return from < to;
}

/*
 * What the specification says, in the order in which it says it: each rule
 * either adds frames or takes some away (virtio 1.3, 5.1.6.5.1 to .3).
 */
static bool model(const VhostDPControlState *s, const uint8_t *head, size_t len)
{
    bool tagged, multi, bcast, pass;
    char mac[13] = "";
    unsigned i;

    if (s->promisc) {
        return true;
    }
    if (len < 14) {
        return false;
    }
    for (i = 0; i < 6; i++) {
        sprintf(mac + 2 * i, "%02x", head[i]);
    }
    bcast = !strcmp(mac, "ffffffffffff");
    multi = strchr("13579bdf", mac[1]) && !bcast;
    tagged = head[12] == 0x81 && head[13] == 0x00;

    pass = bcast;
    pass |= !multi && !bcast && !memcmp(head, s->mac, 6);
    pass |= !multi && !bcast && is_listed(s, head, 0, s->first_multi);
    pass |= multi && is_listed(s, head, s->first_multi, s->nmacs);
    pass |= multi && (s->allmulti || s->multi_overflow);
    pass |= !multi && !bcast && (s->alluni || s->uni_overflow);
    pass &= !(bcast && s->nobcast);
    pass &= !(multi && s->nomulti);
    pass &= !(!multi && !bcast && s->nouni);
    if (tagged) {
        unsigned vid = len < 16 ? 0 : (head[14] & 15) * 256 + head[15];

        pass &= len >= 16 && (s->vlans[vid >> 5] & 1u << (vid & 31));
    }
    return pass;
}

static void random_state(VhostDPControlState *s)
{
    bool *modes[] = { &s->promisc, &s->allmulti, &s->alluni, &s->nomulti,
                      &s->nouni, &s->nobcast, &s->uni_overflow,
                      &s->multi_overflow };
    unsigned i;

    memset(s, 0, sizeof(*s));
    for (i = 0; i < ARRAY_SIZE(modes); i++) {
        *modes[i] = g_test_rand_int_range(0, 5) == 0;
    }
    make_mac(s->mac, g_test_rand_int_range(0, 3));
    s->nmacs = g_test_rand_int_range(0, 8);
    s->first_multi = g_test_rand_int_range(0, s->nmacs + 1);
    for (i = 0; i < s->nmacs; i++) {
        make_mac(s->macs[i], g_test_rand_int_range(0, 12));
    }
    for (i = 0; i < ARRAY_SIZE(s->vlans); i++) {
        s->vlans[i] = g_test_rand_int();
    }
}

static void random_head(uint8_t *head)
{
    make_mac(head, g_test_rand_int_range(0, 12));
    memset(head + 6, 2, 6);
    stw_be_p(head + 12, g_test_rand_bit() ? 0x8100 : 0x0800);
    stw_be_p(head + 14, g_test_rand_int());
}

static void test_model(void)
{
    unsigned passed[2] = {};
    unsigned round, i;

    for (round = 0; round < 5000; round++) {
        VhostDPControlState state;
        g_autoptr(VhostDPControl) control = NULL;

        random_state(&state);
        control = vhost_dp_control_new(&state);
        for (i = 0; i < 100; i++) {
            size_t len = g_test_rand_int_range(0, 10) ? 16 : i % 17;
            g_autofree uint8_t *head = g_malloc(MAX(len, 1));
            uint8_t made[16];
            bool pass;

            /* Memory of its own, so that sanitizers see a byte too much */
            random_head(made);
            memcpy(head, made, len);
            pass = vhost_dp_rx_filter_passes(control, head, len);
            g_assert_cmpint(pass, ==, model(&state, made, len));
            passed[pass]++;
        }
    }
    g_assert_cmpuint(passed[0], >, 50000);
    g_assert_cmpuint(passed[1], >, 50000);
}

/* The frames that are left are in order, with their pieces and metadata */
static void test_frames(void)
{
    VhostDPControlState state = { .nobcast = true, .pairs = 1 };
    g_autoptr(VhostDPControl) control = NULL;
    VhostDPFrame frames[64];
    uint8_t data[64][64];
    struct iovec more[64][3];
    unsigned wanted = 0;
    unsigned i, n;

    memcpy(state.mac, own_mac, VHOST_DP_MAC_LEN);
    memset(state.vlans, 0xff, sizeof(state.vlans));
    control = vhost_dp_control_new(&state);
    for (i = 0; i < 64; i++) {
        VhostDPFrame *frame = &frames[i];
        size_t len = i % 5 ? 64 : i % 17;
        unsigned first = i % 7;

        memset(data[i], i, sizeof(data[i]));
        make_mac(data[i], g_test_rand_bit());
        *frame = (VhostDPFrame) { .len = len, .iov = frame->inl, .iovcnt = 1,
                                  .csum_start = i };
        frame->inl[0] = (struct iovec) { data[i], len };
        if (first && first + 1 < len) {
            frame->inl[0].iov_len = first;
            frame->inl[1] = (struct iovec) { data[i] + first, len - first };
            frame->iovcnt = 2;
        }
        if (i % 3 == 0 && len > 20) {
            more[i][0] = (struct iovec) { data[i], 1 };
            more[i][1] = (struct iovec) { data[i] + 1, 10 };
            more[i][2] = (struct iovec) { data[i] + 11, len - 11 };
            frame->iov = more[i];
            frame->iovcnt = 3;
        }
    }
    n = vhost_dp_rx_filter_frames(control, frames, 64);
    for (i = 0; i < 64; i++) {
        const VhostDPFrame *frame = &frames[wanted];
        size_t len = i % 5 ? 64 : i % 17;

        if (len < 14 || data[i][0] == 0xff) {
            continue;
        }
        g_assert_cmpuint(wanted, <, n);
        g_assert_cmpuint(frame->csum_start, ==, i);
        g_assert_cmpuint(frame->len, ==, len);
        g_assert_true(frame->iov[0].iov_base == data[i]);
        g_assert_true(frame->iov == frame->inl || frame->iov == more[i]);
        wanted++;
    }
    g_assert_cmpuint(wanted, ==, n);
    g_assert_cmpuint(n, >, 0);
    g_assert_cmpuint(vhost_dp_rx_filter_frames(control, frames, 0), ==, 0);
}

/* What a frame costs with 1 and with 64 addresses; for people to read */
static void test_time(void)
{
    static const unsigned nmacs[] = { 1, 64 };
    unsigned round, i;

    for (round = 0; round < ARRAY_SIZE(nmacs); round++) {
        VhostDPControlState state = { .nmacs = nmacs[round], .pairs = 1,
                                      .first_multi = nmacs[round] };
        g_autoptr(VhostDPControl) control = NULL;
        uint8_t head[64][16] = {};
        unsigned passed = 0;
        int64_t start;

        for (i = 0; i < state.nmacs; i++) {
            make_mac(state.macs[i], 2 + 2 * i);
        }
        control = vhost_dp_control_new(&state);
        for (i = 0; i < 64; i++) {
            make_mac(head[i], 2 + 2 * i);
        }
        start = g_get_monotonic_time();
        for (i = 0; i < 1000000; i++) {
            passed += vhost_dp_rx_filter_passes(control, head[i % 64], 16);
        }
        g_test_message("%u addresses: %.1f ns a frame", nmacs[round],
                       (g_get_monotonic_time() - start) / 1e3);
        g_assert_cmpuint(passed, >, 0);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost-dp/filter/model", test_model);
    g_test_add_func("/vhost-dp/filter/frames", test_frames);
    g_test_add_func("/vhost-dp/filter/time", test_time);
    return g_test_run();
}
