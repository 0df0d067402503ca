/*
 * vhost-dp: qtests, a guest of libslirp
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest speaks ARP, ICMP and UDP with libslirp, and through it with sockets
 * of the test, which has a network namespace of its own.
 */

#ifndef TESTS_QTEST_VHOST_DP_SLIRP_GUEST_H
#define TESTS_QTEST_VHOST_DP_SLIRP_GUEST_H

#include "guest.h"

#define ETH_LEN 14
#define IP_LEN 20
#define UDP_LEN 8
#define PAYLOAD (ETH_LEN + IP_LEN + UDP_LEN)

/* What -netdev user calls them by default */
#define HOST_IP  0x0a000202u
#define GUEST_IP 0x0a00020fu
#define GUEST_PORT 5001

extern const uint8_t slirp_guest_mac[6];

typedef struct Slirp {
    DpGuest *guest;
    QTestState *qts;
    DpNic *nic;
    uint8_t host_mac[6];
    uint8_t got[2048];
} Slirp;

/* ---- Frames ---- */

/* The Internet checksum (RFC 1071) of @len bytes and of @sum */
uint16_t slirp_sum(const uint8_t *p, size_t len, uint32_t sum);

/* The following return the length of the frame that they make in @f */

/* @op: 1, a question, or 2, an answer to @to_mac */
size_t slirp_make_arp(uint8_t *f, uint16_t op, uint32_t from, uint32_t to,
                      const uint8_t to_mac[6]);

/* The headers before @len bytes */
size_t slirp_make_ip(uint8_t *f, const uint8_t to_mac[6], uint8_t proto,
                     uint32_t from, uint32_t to, size_t len);

/*
 * A datagram to @port of the host.  With @partial only the pseudo header is
 * summed, as for checksum offload.
 */
size_t slirp_make_udp(const Slirp *s, uint8_t *f, uint16_t port,
                      const char *text, bool partial);

/* The sum of a datagram with its pseudo header: 0xffff if it is right */
uint16_t slirp_udp_sum(const uint8_t *f, size_t len);

/* The question of a ping, with @n bytes that depend on it */
size_t slirp_make_ping(const Slirp *s, uint8_t *f, size_t n);

/* ---- The guest ---- */

/*
 * A guest that knows the host's address, on netdev vd0: vhost-dp-slirp, or
 * with @user -netdev user.  @qemu: as for dp_guest_new_env().  @options begin
 * with a comma.
 */
Slirp *slirp_start_on(const char *qemu, bool user, const char *options);
Slirp *slirp_start(const char *options);
void slirp_end(Slirp *s);

/*
 * The next frame of @ethertype, into @s->got; others (IPv6's announcements) are
 * skipped.  Returns its length.
 */
size_t slirp_receive(Slirp *s, uint16_t ethertype);

/* The host answers a ping; other frames are skipped */
void slirp_check_ping(Slirp *s, size_t n);

#endif
