/*
 * vhost-dp: qtests, a guest of libslirp
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "slirp-guest.h"

const uint8_t slirp_guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

/* ---- Frames ---- */

uint16_t slirp_sum(const uint8_t *p, size_t len, uint32_t sum)
{
    size_t i;

    for (i = 0; i < len; i++) {
        sum += i & 1 ? p[i] : p[i] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

size_t slirp_make_arp(uint8_t *f, uint16_t op, uint32_t from, uint32_t to,
                      const uint8_t to_mac[6])
{
    static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };

    memset(f, 0, 60);
    memcpy(f, op == 1 ? broadcast : to_mac, 6);
    memcpy(f + 6, slirp_guest_mac, 6);
    stw_be_p(f + 12, ETH_P_ARP);
    stw_be_p(f + 14, 1);
    stw_be_p(f + 16, ETH_P_IP);
    f[18] = 6;
    f[19] = 4;
    stw_be_p(f + 20, op);
    memcpy(f + 22, slirp_guest_mac, 6);
    stl_be_p(f + 28, from);
    if (op == 2) {
        memcpy(f + 32, to_mac, 6);
    }
    stl_be_p(f + 38, to);
    return 60;
}

size_t slirp_make_ip(uint8_t *f, const uint8_t to_mac[6], uint8_t proto,
                     uint32_t from, uint32_t to, size_t len)
{
    uint8_t *ip = f + ETH_LEN;

    memset(f, 0, ETH_LEN + IP_LEN);
    memcpy(f, to_mac, 6);
    memcpy(f + 6, slirp_guest_mac, 6);
    stw_be_p(f + 12, ETH_P_IP);
    ip[0] = 0x45;
    stw_be_p(ip + 2, IP_LEN + len);
    ip[8] = 64;
    ip[9] = proto;
    stl_be_p(ip + 12, from);
    stl_be_p(ip + 16, to);
    stw_be_p(ip + 10, ~slirp_sum(ip, IP_LEN, 0));
    return ETH_LEN + IP_LEN + len;
}

uint16_t slirp_udp_sum(const uint8_t *f, size_t len)
{
    const uint8_t *ip = f + ETH_LEN;
    size_t udp_len = len - ETH_LEN - IP_LEN;

    return slirp_sum(f + ETH_LEN + IP_LEN, udp_len,
                     slirp_sum(ip + 12, 8, IPPROTO_UDP + udp_len));
}

size_t slirp_make_udp(const Slirp *s, uint8_t *f, uint16_t port,
                      const char *text, bool partial)
{
    size_t udp_len = UDP_LEN + strlen(text);
    size_t len = slirp_make_ip(f, s->host_mac, IPPROTO_UDP, GUEST_IP, HOST_IP,
                               udp_len);
    uint8_t *udp = f + ETH_LEN + IP_LEN;

    stw_be_p(udp, GUEST_PORT);
    stw_be_p(udp + 2, port);
    stw_be_p(udp + 4, udp_len);
    stw_be_p(udp + 6, 0);
    memcpy(udp + 8, text, strlen(text));
    stw_be_p(udp + 6, partial ?
             slirp_sum(f + ETH_LEN + 12, 8, IPPROTO_UDP + udp_len) :
             ~slirp_udp_sum(f, len));
    return len;
}

size_t slirp_make_ping(const Slirp *s, uint8_t *f, size_t n)
{
    uint8_t *icmp = f + ETH_LEN + IP_LEN;
    size_t i;

    memset(icmp, 0, 8);
    icmp[0] = 8;
    stw_be_p(icmp + 4, 0x1234);
    stw_be_p(icmp + 6, n);
    for (i = 0; i < n; i++) {
        icmp[8 + i] = i * 7 + n;
    }
    stw_be_p(icmp + 2, ~slirp_sum(icmp, 8 + n, 0));
    return slirp_make_ip(f, s->host_mac, IPPROTO_ICMP, GUEST_IP, HOST_IP,
                         8 + n);
}

/* ---- The guest ---- */

size_t slirp_receive(Slirp *s, uint16_t ethertype)
{
    for (;;) {
        size_t len;

        dp_post(s->nic, 1, sizeof(s->got));
        len = dp_receive(s->nic, NULL, s->got, sizeof(s->got));
        g_assert_cmpint(len, >=, ETH_LEN);
        if (lduw_be_p(s->got + 12) == ethertype) {
            return len;
        }
    }
}

static void learn_host_mac(Slirp *s)
{
    uint8_t f[60];
    size_t len = slirp_make_arp(f, 1, GUEST_IP, HOST_IP, NULL);

    dp_transmit(s->nic, NULL, f, len);
    do {
        slirp_receive(s, ETH_P_ARP);
    } while (lduw_be_p(s->got + 20) != 2);
    g_assert_cmphex(ldl_be_p(s->got + 28), ==, HOST_IP);
    memcpy(s->host_mac, s->got + 22, 6);
}

Slirp *slirp_start_on(const char *qemu, bool user, const char *options)
{
    g_autofree char *all = g_strdup_printf(user ?
        "-netdev user,id=vd0%s " DP_DEVICE :
        "-object vhost-dp-slirp,id=s0%s -netdev vhost-dp,id=vd0,driver=s0 "
        DP_DEVICE, options);
    uint64_t features = user ? 0 : DP_FEATURE(VIRTIO_NET_F_CSUM);
    Slirp *s = g_new0(Slirp, 1);

    dp_if_up("lo");
    s->guest = dp_guest_new_env(qemu, all);
    s->qts = s->guest->qts;
    s->nic = dp_nic_new(s->guest, DP_SLOT, DP_FEATURES_DEFAULT | features |
                        DP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    s->nic->queue[DP_RX].stock = s->nic->queue[DP_TX].stock = user;
    learn_host_mac(s);
    return s;
}

Slirp *slirp_start(const char *options)
{
    return slirp_start_on(NULL, false, options);
}

void slirp_end(Slirp *s)
{
    dp_nic_free(s->nic);
    dp_guest_free(s->guest);
    g_free(s);
}

void slirp_check_ping(Slirp *s, size_t n)
{
    uint8_t f[sizeof(s->got)];
    const uint8_t *got = s->got + ETH_LEN + IP_LEN;
    size_t len = slirp_make_ping(s, f, n);

    dp_transmit(s->nic, NULL, f, len);
    do {
        g_assert_cmpint(slirp_receive(s, ETH_P_IP), >=, ETH_LEN + IP_LEN + 8);
    } while (s->got[ETH_LEN + 9] != IPPROTO_ICMP);
    g_assert_cmphex(got[0], ==, 0);
    g_assert_cmpmem(got + 4, 4 + n, f + ETH_LEN + IP_LEN + 4, 4 + n);
    g_assert_cmphex(slirp_sum(got, 8 + n, 0), ==, 0xffff);
}
