/*
 * vhost-dp: what the guest asks for by the control queue
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A VhostDPControl is a snapshot of it: made by the netdev under the BQL,
 * published by vhost_dp_control_new(), and never changed afterwards.  Each port
 * of the netdev has a reference, and uses it under its queue pair's lock.  When
 * the guest asks for something else, the ports get another snapshot.
 */

#ifndef NET_VHOST_DP_CONTROL_H
#define NET_VHOST_DP_CONTROL_H

/* Bytes of a MAC address.  Some users include <linux/if_ether.h>. */
#define VHOST_DP_MAC_LEN 6

#define VHOST_DP_CONTROL_MACS 64
#define VHOST_DP_CONTROL_VLANS 4096
#define VHOST_DP_CONTROL_KEY 40
#define VHOST_DP_CONTROL_INDIRECTION 128

/* A power of two, and more than twice as many as there are addresses */
#define VHOST_DP_CONTROL_SLOTS 256

/**
 * VhostDPControlState: what the guest asks for, and what it may do
 *
 * Receive filter (virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3), automatic steering
 * (5.1.6.5.5), RSS and hash report (5.1.6.5.6, 5.1.6.5.7).
 */
typedef struct VhostDPControlState {
    /* Receive mode; a device begins with promisc alone */
    bool promisc;
    bool allmulti;
    bool alluni;
    bool nomulti;
    bool nouni;
    bool nobcast;

    /* The device's own address, also where the filter is off */
    uint8_t mac[VHOST_DP_MAC_LEN];

    /* No frame that the guest sends from another address than @source leaves */
    bool check_source;
    uint8_t source[VHOST_DP_MAC_LEN];

    /*
     * The address table: @nmacs entries, those from @first_multi on in the
     * second, multicast part of the guest's command.  A part that was too long
     * is empty, and overflows: it takes all addresses of its kind.
     */
    unsigned nmacs;
    unsigned first_multi;
    bool uni_overflow;
    bool multi_overflow;
    uint8_t macs[VHOST_DP_CONTROL_MACS][VHOST_DP_MAC_LEN];

    /* Which VLANs pass: bit n % 32 of word n / 32; all without CTRL_VLAN */
    uint32_t vlans[VHOST_DP_CONTROL_VLANS / 32];

    /* Active queue pairs, at least 1 */
    uint16_t pairs;

    /* Does RSS choose the queue pair, are hashes reported in headers? */
    bool rss;
    bool hash_report;

    /* VIRTIO_NET_RSS_HASH_TYPE_*; 0 if neither is so */
    uint32_t hash_types;
    uint8_t key[VHOST_DP_CONTROL_KEY];

    /*
     * Valid with @rss: the queue pair of a hash is
     * indirection[hash & (indirection_len - 1)], that of a frame without a hash
     * @default_pair.  All of them are less than @pairs; the length is a power
     * of two.
     */
    uint16_t default_pair;
    uint16_t indirection_len;
    uint16_t indirection[VHOST_DP_CONTROL_INDIRECTION];
} VhostDPControlState;

typedef struct VhostDPControl {
    VhostDPControlState state;

    /* What follows from it: does a burst have to look at received frames? */
    bool filters;               /* not every frame goes to the guest */
    bool hashes;                /* the guest gets hashes */
    bool steers;                /* hashes choose the queue pair */

    /* Of the key, with which frames are hashed; NULL: without a hash */
    struct VhostDPToeplitz *toeplitz;

    /*
     * The addresses that the filter lets pass, those of the table and the
     * device's own: each is in the first slot from its hash on that was free.
     * See vhost_dp_control_has_mac().
     */
    uint64_t multiplier;
    uint64_t slot[VHOST_DP_CONTROL_SLOTS];

    unsigned refs;              /* atomic */
} VhostDPControl;

/**
 * vhost_dp_control_new: make a snapshot of @state
 *
 * What is out of bounds in @state was not asked for: it may come from a
 * migration stream.
 *
 * Thread: any.  Returns the first reference.
 */
VhostDPControl *vhost_dp_control_new(const VhostDPControlState *state);

/**
 * vhost_dp_control_ref: another reference, for whoever has one
 *
 * Thread: any.  Returns @control.
 */
VhostDPControl *vhost_dp_control_ref(VhostDPControl *control);

/**
 * vhost_dp_control_unref: drop a reference; the last one frees the snapshot
 * @control: may be NULL
 *
 * Thread: any.
 */
void vhost_dp_control_unref(VhostDPControl *control);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VhostDPControl, vhost_dp_control_unref)

/* An address as a number that is never 0 */
static inline uint64_t vhost_dp_control_mac_value(const uint8_t *mac)
{
    return (uint64_t)mac[0] << 40 | (uint64_t)mac[1] << 32 |
           (uint64_t)mac[2] << 24 | (uint64_t)mac[3] << 16 |
           (uint64_t)mac[4] << 8 | mac[5] | 1ULL << 48;
}

/* Where to look for the address first; the others follow, in a circle */
static inline unsigned vhost_dp_control_slot(const VhostDPControl *control,
                                             uint64_t value)
{
    return value * control->multiplier >> 56;
}

QEMU_BUILD_BUG_ON(VHOST_DP_CONTROL_SLOTS != 1 << (64 - 56));

/**
 * vhost_dp_control_has_mac: does the filter let frames to @mac pass by name?
 *
 * It does for the device's own address, unless that is a multicast one, and
 * for the addresses in the part of the table that is for their kind.
 */
static inline bool vhost_dp_control_has_mac(const VhostDPControl *control,
                                            const uint8_t *mac)
{
    uint64_t value = vhost_dp_control_mac_value(mac);
    unsigned i = vhost_dp_control_slot(control, value);

    while (control->slot[i] && control->slot[i] != value) {
        i = (i + 1) % VHOST_DP_CONTROL_SLOTS;
    }
    return control->slot[i];
}

#endif /* NET_VHOST_DP_CONTROL_H */
