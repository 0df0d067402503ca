/*
 * vhost-dp: qtests, the host's side of a tap interface
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every test runs in a network namespace of its own, so names of interfaces
 * are free to choose, and nothing but the test sends frames.  host.c has the
 * tests and their namespaces, host-if.c the interfaces, host-frames.c packet
 * sockets and frames.
 */

#ifndef TESTS_QTEST_VHOST_DP_HOST_H
#define TESTS_QTEST_VHOST_DP_HOST_H

#include <linux/if_ether.h>
#include "standard-headers/linux/virtio_net.h"

/* How long a test waits for anything before it fails */
#define DP_TIMEOUT_US (20 * G_USEC_PER_SEC)

/* How long a test looks for something that must not happen */
#define DP_QUIET_US (30 * 1000)

/* The longest frame that the tests move */
#define DP_MAX_FRAME 70000

/* EtherType of the tests' frames (IEEE 802, local experimental) */
#define DP_ETHERTYPE 0x88b5

/* The same for what is a lot of work, where all is slow (tests/nested) */
#define DP_LONG_TIMEOUT_US (6 * DP_TIMEOUT_US)

/* Poll @condition until it holds.  The test fails if that takes too long. */
#define dp_wait_until(condition) dp_wait_until_for(DP_TIMEOUT_US, condition)

#define dp_wait_until_for(timeout_us, condition) \
    do { \
        int64_t end_ = g_get_monotonic_time() + (timeout_us); \
        while (!(condition)) { \
            if (g_get_monotonic_time() > end_) { \
                g_error("%s:%d: timeout: %s", __FILE__, __LINE__, \
                        #condition); \
            } \
            g_usleep(100); \
        } \
    } while (0)

/**
 * dp_test_init: g_test_init(), and a user and network namespace
 *
 * Where namespaces or tap interfaces are not to be had, tests that were added
 * by dp_add_test() are skipped and say why.
 *
 * Also the entry of QEMU without CAP_NET_ADMIN: see dp_qemu_unprivileged(),
 * and without io_uring.
 */
void dp_test_init(int *argc, char ***argv);

/**
 * dp_add: add a test that needs a network namespace, and gets a new one
 */
void dp_add_test(const char *path, const void *data,
                 void (*fn)(const void *data));

/**
 * dp_add_ring_test: the same, for each ring format
 *
 * The test is added twice, with split/ and packed/ in front of its path.
 */
void dp_add_ring_test(const char *path, const void *data,
                      void (*fn)(const void *data));

/*
 * Add a test with the name of an environment variable as its data, as
 * dp_qemu_unprivileged() returns it, for QEMU with all of -sandbox.  If QEMU
 * was built without, the test is skipped.
 */
void dp_add_sandbox_test(const char *path, void (*fn)(const void *data));

/* The same with all of the test's privileges */
void dp_add_privileged_sandbox_test(const char *path,
                                    void (*fn)(const void *data));

/* Skip all tests, if @why is not NULL */
void dp_skip_all(const char *why);

/* For one of them alone */
void dp_add_split_test(const char *path, const void *data,
                       void (*fn)(const void *data));
void dp_add_packed_test(const char *path, const void *data,
                        void (*fn)(const void *data));

/* Is the test that runs one of packed virtqueues? */
bool dp_test_is_packed(void);

/**
 * dp_qemu_unprivileged: runs QEMU without CAP_NET_ADMIN and CAP_NET_RAW, and
 * without those that overrule the modes of files
 *
 * Returns the name of an environment variable, for qtest_init_ext().
 */
const char *dp_qemu_unprivileged(void);

/* The same without io_uring, as where seccomp forbids it */
const char *dp_qemu_without_io_uring(void);

/* Does io_uring work here? */
bool dp_has_io_uring(void);

/* Write to a file, of /proc for example.  Returns whether that worked. */
bool dp_write_file(const char *path, const char *text);

/* May this process have AF_XDP sockets received into? */
bool dp_has_xdp(void);

/* Interfaces */

#define DP_TAP_DEVICE "/dev/net/tun"

/*
 * Create a tap interface, or attach to one.  @flags: IFF_VNET_HDR and the like
 * in addition to IFF_TAP | IFF_NO_PI; pass IFF_NO_PI to take it away.
 */
int dp_tap_open(const char *name, int flags);

/* Create a pair of virtual Ethernet interfaces, both of them running */
void dp_veth_new(const char *name, const char *peer);

/* The same with more than one receive and transmit queue */
void dp_veth_new_queues(const char *name, const char *peer, unsigned queues);

/*
 * Create a macvtap interface on top of @lower, and set it up.  Returns false
 * if it cannot be had.
 */
bool dp_macvtap_new(const char *name, const char *lower);

/* A tunnel, by IPv4 or IPv6 */
typedef struct DpVxlan {
    bool ip6;
    bool checksum;              /* of the outer UDP header */
} DpVxlan;

/*
 * Create one that leads through @lower, which gets an address, to the other end
 * of its cable, @peer.  Set it up.  If it cannot be had, returns false, and the
 * test is skipped.
 */
bool dp_vxlan_new(const char *name, const DpVxlan *vxlan, const char *lower,
                  const char *peer);

/* Frames with more segments are segmented before this interface; 0: none are */
void dp_if_set_gso_max_segs(const char *name, uint32_t n);

/* Give @name an address, of IPv6 without asking the network about it */
void dp_if_add_address6(const char *name, const char *address);
void dp_neighbour_add6(const char *name, const char *address,
                       const uint8_t mac[6]);

/*
 * Wait until the interface has a carrier, and the kernel has seen it: what is
 * sent before that is lost.
 */
void dp_if_wait_running(const char *name);

/* How many users want the interface to receive all frames */
unsigned dp_if_promiscuity(const char *name);

void dp_tap_set_persistent(int fd, bool persistent);

/* Create a tap interface that stays when nobody has it open */
void dp_tap_new(const char *name, int flags);

bool dp_if_exists(const char *name);
void dp_if_up(const char *name);
void dp_if_down(const char *name);
void dp_if_set_mtu(const char *name, int mtu);
void dp_if_set_address(const char *name, const char *address);
void dp_if_delete(const char *name);
void dp_if_rename(const char *name, const char *new_name);

/* Move an interface to network namespace @netns, where it is down */
void dp_if_move(const char *name, int netns);

/* The network namespace of the calling thread */
int dp_netns_open(void);
void dp_netns_enter(int netns);

/* Enter a new one, where nothing but the tests sends frames */
bool dp_netns_enter_new(void);

/* A new one, which the thread does not enter */
int dp_netns_new(void);

void dp_if_get_mac(const char *name, uint8_t mac[6]);
void dp_arp_add(const char *name, const char *address, const uint8_t mac[6]);
void dp_set_ip_forward(void);

/**
 * dp_sock_open: a packet socket on @name, which is made up
 * @vnet_hdr: frames are sent and received with their offload metadata
 */
int dp_sock_open(const char *name, bool vnet_hdr);

/* Send a frame.  @hdr: the offload metadata, if the socket has vnet_hdr */
void dp_sock_send(int sock, const struct virtio_net_hdr *hdr,
                  const void *frame, size_t len);

/*
 * Receive a frame, of the EtherType @type unless it is 0, within @timeout_us;
 * if that is 0, one that is there.  Returns its length, or 0 if there is none.
 */
size_t dp_sock_recv(int sock, uint16_t type, struct virtio_net_hdr *hdr,
                    void *frame, size_t size, int64_t timeout_us);

/* Frames */

/* An Ethernet frame with contents that depend on @seed; @len >= 14 */
void dp_make_frame(uint8_t *frame, size_t len, unsigned seed);

/*
 * An Ethernet frame with an IPv4 packet and a TCP or UDP header, with the
 * checksum that NEEDS_CSUM asks for: that of the pseudo header.
 * Returns the length of the headers.
 */
size_t dp_make_ip_frame(uint8_t *frame, size_t len, uint8_t proto,
                        unsigned seed);

/* The metadata that goes with dp_make_ip_frame() */
struct virtio_net_hdr dp_make_hdr(uint8_t proto, uint8_t gso_type,
                                  uint16_t gso_size);

/* Check the IPv4 and the TCP or UDP checksums of a frame */
bool dp_checksum_ok(const uint8_t *frame, size_t len);

/* Do what NEEDS_CSUM in the metadata asks for */
void dp_checksum_complete(uint8_t *frame, size_t len,
                          const struct virtio_net_hdr *hdr);

#define dp_assert_frame(got, got_len, want, want_len) \
    g_assert_cmpmem(got, got_len, want, want_len)

#define DP_IP_HEADERS(proto) (14 + 20 + ((proto) == IPPROTO_TCP ? 20 : 8))

#endif
