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
#include "hw/virtio/vhost-dp-pair.h"
#include "system/iothread.h"

/* The engine of one queue pair: the port of the driver right below it */
typedef struct VhostDPEnginePort VhostDPEnginePort;

/* Those of one netdev */
typedef struct VhostDPPortSet VhostDPPortSet;

/**
 * vhost_dp_portset_new: make the engine of a netdev
 * @netdev: the netdev's id
 * @nports: number of queue pairs; each has a port
 * @drv: the driver, claimed and open
 * @caps: what @drv can do
 * @iothreads: where each port runs; NULL: in an IOThread of its own
 * @busy_poll_us: microseconds to poll after the last work, or 0
 * @link_changed: called when the driver's link of a port changes, with
 *                @opaque, in any thread, with no lock
 *
 * The driver is attached soon, in the IOThreads.  Frames for pairs that the
 * guest does not use go to the first one.
 *
 * Lock: BQL.  Returns NULL with @errp set if there are too few descriptors or
 * threads: then the driver has not been touched.
 */
VhostDPPortSet *vhost_dp_portset_new(const char *netdev, unsigned nports,
                                     VhostDPDriver *drv,
                                     const VhostDPCaps *caps,
                                     IOThread **iothreads,
                                     uint32_t busy_poll_us,
                                     void (*link_changed)(void *opaque),
                                     void *opaque, Error **errp);

/**
 * vhost_dp_portset_delete: stop the engine, detach the driver, drop the ports
 *
 * vhost_dev_cleanup() was called for each of them.  Waits until the driver is
 * detached, so that the caller can close it: this is not one of the vhost
 * operations, which must not wait.  Nothing of vhost-dp needs the BQL, or the
 * main loop, to get there.  (Another device's handler on a shared IOThread may;
 * QEMU's own devices wait for their IOThreads in the same way.)
 *
 * Lock: BQL.
 */
void vhost_dp_portset_delete(VhostDPPortSet *set);

/**
 * vhost_dp_portset_port: the port of queue pair @index
 *
 * Thread: any.  It is there until vhost_dp_portset_delete().
 */
VhostDPEnginePort *vhost_dp_portset_port(VhostDPPortSet *set, unsigned index);

/**
 * vhost_dp_port_pair: what to give to vhost_dev_init()
 */
VhostDPPair *vhost_dp_port_pair(VhostDPEnginePort *port);

/**
 * vhost_dp_port_set_hdr_len: length of the virtio-net header, 10, 12 or 20
 *
 * Lock: BQL.
 */
void vhost_dp_port_set_hdr_len(VhostDPEnginePort *port, unsigned len);

/**
 * vhost_dp_port_set_mtu: the longest packet that the guest is to get
 * @mtu: bytes behind the Ethernet header, or 0 for any number
 *
 * Lock: BQL.
 */
void vhost_dp_port_set_mtu(VhostDPEnginePort *port, uint16_t mtu);

/**
 * vhost_dp_port_set_hdr_endian: byte order of a legacy guest's header
 *
 * Lock: BQL.
 */
void vhost_dp_port_set_hdr_endian(VhostDPEnginePort *port, bool big_endian);

/**
 * vhost_dp_port_set_offloads: what the guest takes in received frames
 * @offloads: VHOST_DP_OFFLOAD_*
 *
 * Lock: BQL.
 */
void vhost_dp_port_set_offloads(VhostDPEnginePort *port, uint32_t offloads);

/**
 * vhost_dp_port_set_nic_link: whether the NIC's link is up
 *
 * While it is down, virtio-net stops vhost, and what the driver receives is
 * dropped instead of kept for later.  Lock: BQL.
 */
void vhost_dp_port_set_nic_link(VhostDPEnginePort *port, bool up);

/**
 * vhost_dp_port_get_link: the driver's link of this port
 * @reason: if not NULL, set to why the link is down, to be freed, or NULL
 *
 * Thread: any.
 */
bool vhost_dp_port_get_link(VhostDPEnginePort *port, char **reason);

/**
 * vhost_dp_port_is_started: whether vhost runs the queue pair
 *
 * Lock: BQL.
 */
bool vhost_dp_port_is_started(VhostDPEnginePort *port);

/**
 * vhost_dp_port_inject: send a frame of QEMU's own, such as an announcement
 * @buf: the frame, without a virtio-net header; copied
 *
 * Lock: BQL.
 */
void vhost_dp_port_inject(VhostDPEnginePort *port, const void *buf, size_t len);

/**
 * vhost_dp_port_query: state and counters, for QMP
 *
 * Lock: BQL.
 */
VhostDPQueuePairInfo *vhost_dp_port_query(VhostDPEnginePort *port);

#endif /* NET_VHOST_DP_PORT_H */
