/*
 * vhost-dp: the engine, which moves frames between a queue pair and a driver
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The netdev has one port for each queue pair.  See port.c for how a port
 * works and include/net/vhost-dp.h for what drivers do with it.
 */

#ifndef NET_VHOST_DP_PORT_H
#define NET_VHOST_DP_PORT_H

#include "net/vhost-dp.h"
#include "net/vhost-dp-control.h"
#include "hw/virtio/vhost-dp-pair.h"
#include "system/iothread.h"

/* The engine of one queue pair, which implements VhostDPPort for its driver */
typedef struct VhostDPEnginePort VhostDPEnginePort;

/* All ports of one netdev */
typedef struct VhostDPPortSet VhostDPPortSet;

/**
 * vhost_dp_portset_new: make the engine of a netdev
 * @netdev: the netdev's id
 * @nports: number of queue pairs; each has a port
 * @drv: the driver, claimed and open
 * @caps: the capabilities of @drv
 * @iothreads: an IOThread for each port; NULL: each port makes its own
 * @busy_poll_us: how long to poll after the last work, in microseconds, or 0
 * @link_changed: called with @opaque when the driver's link of a port has
 *                changed, or vhost_dp_portset_follows() may tell something new;
 *                in any thread, without a lock
 *
 * The driver is attached later, in the IOThreads.  Frames for pairs that the
 * guest does not use go to the first pair.
 *
 * Lock: BQL.  Returns NULL with @errp set if there are not enough descriptors
 * or threads; then the driver was not called.
 */
VhostDPPortSet *vhost_dp_portset_new(const char *netdev, unsigned nports,
                                     VhostDPDriver *drv,
                                     const VhostDPCaps *caps,
                                     IOThread **iothreads,
                                     uint32_t busy_poll_us,
                                     void (*link_changed)(void *opaque),
                                     void *opaque, Error **errp);

/**
 * vhost_dp_portset_delete: stop the engine, detach the driver, free the ports
 *
 * Called after vhost_dev_cleanup() for each port.  Waits until the driver is
 * detached, so that the caller can close it.  (This is no vhost operation;
 * those must not wait.)  The IOThreads need neither the BQL nor the main loop
 * to get there, unless a handler of another device on a shared IOThread does,
 * as with all QEMU devices that wait for an IOThread.
 *
 * Lock: BQL.
 */
void vhost_dp_portset_delete(VhostDPPortSet *set);

/**
 * vhost_dp_portset_set_driver: have all ports use another driver
 * @drv: claimed and open for as many queue pairs, of which it may have fewer
 * @caps: the capabilities of @drv
 * @no_way_back: ports that cannot be attached to @drv have no driver then; they
 *               try again, and their link is down.  False: they keep the
 *               driver that they have.
 *
 * Returns at once; vhost_dp_portset_follows() tells what became of it.  Each
 * port delivers, or drops and counts, the frames that its driver has lent,
 * detaches that, and attaches @drv.  The guest's queues go on meanwhile.  Both
 * drivers have to be open until all ports have followed.
 *
 * Lock: BQL.
 */
void vhost_dp_portset_set_driver(VhostDPPortSet *set, VhostDPDriver *drv,
                                 const VhostDPCaps *caps, bool no_way_back);

typedef enum VhostDPPortSetState {
    VHOST_DP_PORTSET_MOVING,    /* some ports may use another driver */
    VHOST_DP_PORTSET_REFUSED,   /* at least one kept the driver it had */
    VHOST_DP_PORTSET_FOLLOWED,  /* no port uses any other driver */
} VhostDPPortSetState;

/**
 * vhost_dp_portset_follows: what became of vhost_dp_portset_set_driver()?
 * @why: set to why a driver could not be attached, newly allocated, if the
 *       result is VHOST_DP_PORTSET_REFUSED
 *
 * Lock: BQL.
 */
VhostDPPortSetState vhost_dp_portset_follows(VhostDPPortSet *set, char **why);

/**
 * vhost_dp_portset_port: the port of queue pair @index
 *
 * Thread: any.  The port is valid until vhost_dp_portset_delete().
 */
VhostDPEnginePort *vhost_dp_portset_port(VhostDPPortSet *set, unsigned index);

/**
 * vhost_dp_portset_set_control: what the guest now asks for
 *
 * Bursts that begin later follow it, in all ports.  Each port takes a
 * reference.  Lock: BQL.
 */
void vhost_dp_portset_set_control(VhostDPPortSet *set, VhostDPControl *control);

/**
 * vhost_dp_port_pair: the port's pair, for vhost_dev_init()
 *
 * Thread: any.  Lock: none.
 */
VhostDPPair *vhost_dp_port_pair(VhostDPEnginePort *port);

/**
 * vhost_dp_port_set_hdr_len: set the length of the virtio-net header
 * @len: 10, 12 or 20 bytes
 *
 * Lock: BQL.
 */
void vhost_dp_port_set_hdr_len(VhostDPEnginePort *port, unsigned len);

/**
 * vhost_dp_port_set_mtu: set the length of the longest packet for the guest
 * @mtu: bytes behind the Ethernet header, or 0 for no limit
 *
 * Lock: BQL.
 */
void vhost_dp_port_set_mtu(VhostDPEnginePort *port, uint16_t mtu);

/**
 * vhost_dp_port_set_hdr_endian: set the byte order of a legacy guest's header
 *
 * Lock: BQL.
 */
void vhost_dp_port_set_hdr_endian(VhostDPEnginePort *port, bool big_endian);

/**
 * vhost_dp_port_set_offloads: set the metadata that the guest accepts
 * @offloads: VHOST_DP_OFFLOAD_*
 *
 * Lock: BQL.
 */
void vhost_dp_port_set_offloads(VhostDPEnginePort *port, uint32_t offloads);

/**
 * vhost_dp_port_set_coalesce: say how long calls of a queue may be delayed
 * @queue: VHOST_DP_RX or VHOST_DP_TX
 * @max_packets: the call is due with so many packets
 * @max_usecs: or so many microseconds after the first of them
 *
 * With a zero, or with one packet, calls are not delayed.  If the parameters
 * change, a delayed call is made at once.
 *
 * Lock: BQL.
 */
void vhost_dp_port_set_coalesce(VhostDPEnginePort *port, unsigned queue,
                                uint32_t max_packets, uint32_t max_usecs);

/**
 * vhost_dp_port_set_nic_link: say whether the NIC's link is up
 *
 * While it is down, virtio-net stops vhost, and the port drops what the driver
 * receives, instead of leaving it in the driver.  Lock: BQL.
 */
void vhost_dp_port_set_nic_link(VhostDPEnginePort *port, bool up);

/**
 * vhost_dp_port_get_link: is the driver's link of this port up?
 * @reason: if not NULL, set to why the link is down, newly allocated, or to
 *          NULL if it is up
 *
 * Thread: any.
 */
bool vhost_dp_port_get_link(VhostDPEnginePort *port, char **reason);

/**
 * vhost_dp_port_is_started: does vhost run the queue pair?
 *
 * Lock: BQL.
 */
bool vhost_dp_port_is_started(VhostDPEnginePort *port);

/**
 * vhost_dp_port_inject: send a frame that QEMU made, such as an announcement
 * @buf: the frame, without a virtio-net header; copied
 *
 * Lock: BQL.
 */
void vhost_dp_port_inject(VhostDPEnginePort *port, const void *buf, size_t len);

/**
 * vhost_dp_port_query: describe state and counters, for QMP
 *
 * Lock: BQL.  Returns newly allocated memory.
 */
VhostDPQueuePairInfo *vhost_dp_port_query(VhostDPEnginePort *port);

#endif /* NET_VHOST_DP_PORT_H */
