/*
 * vhost-dp: qtests, the guest's side of a virtio-net device
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A small virtio-net driver.  Guest RAM is shared with the test, so that it
 * works on the rings at the same time as QEMU does, as a real guest would.
 */

#ifndef TESTS_QTEST_VHOST_DP_GUEST_H
#define TESTS_QTEST_VHOST_DP_GUEST_H

#include "libqtest.h"
#include "libqos/libqos-malloc.h"
#include "libqos/virtio-pci.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_net.h"
#include "standard-headers/linux/virtio_ring.h"
#include "vhost-dp-host.h"

#define DP_FEATURE(name) (1ull << (name))

/* What most tests negotiate */
#define DP_FEATURES_DEFAULT \
    (DP_FEATURE(VIRTIO_F_VERSION_1) | DP_FEATURE(VIRTIO_NET_F_MAC) | \
     DP_FEATURE(VIRTIO_NET_F_STATUS))

/* Size of the rings, where the driver may choose it */
#define DP_RING_SIZE 64

/* Guest-physical addresses behind which there is no RAM */
#define DP_GPA_UNMAPPED 0x80000000ull
#define DP_GPA_NOT_RAM  0xfec00000ull       /* the I/O APIC */

enum { DP_RX, DP_TX, DP_CTRL, DP_QUEUES };

typedef struct DpGuest DpGuest;

/* One buffer of a chain */
typedef struct DpBuf {
    uint64_t addr;
    uint32_t len;
    bool write;
} DpBuf;

typedef struct DpQueue {
    QVirtQueuePCI pci;
    DpGuest *guest;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t avail_idx;         /* what is published, and what comes next */
    uint16_t published;
    uint16_t used_idx;
    uint16_t next_desc;         /* descriptors are taken in turn */
} DpQueue;

/* One virtio-net device, with its driver */
typedef struct DpNic {
    DpGuest *guest;
    unsigned slot;
    QVirtioPCIDevice *pci;
    QVirtioDevice *vdev;
    uint64_t features;
    size_t hdr_len;
    DpQueue queue[DP_QUEUES];
} DpNic;

struct DpGuest {
    QTestState *qts;
    QGuestAllocator alloc;
    QPCIBus *bus;
    uint8_t *ram;
    int ram_fd;
};

/**
 * dp_guest_new: start QEMU with more options
 *
 * The machine is a PC; slots from 4 on are free.
 */
DpGuest *dp_guest_new(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* The same with the QEMU binary in environment variable @var */
DpGuest *dp_guest_new_env(const char *var, const char *options);

void dp_guest_free(DpGuest *guest);

/* Guest memory.  It is not freed one by one. */
uint64_t dp_alloc(DpGuest *guest, size_t size);
void *dp_host(DpGuest *guest, uint64_t gpa);

/* After a reset of the machine, which forgets the BARs */
void dp_guest_was_reset(DpGuest *guest);

/**
 * dp_nic_new: find and start the virtio-net device in @slot
 * @features: to be negotiated; all of them must be offered
 */
DpNic *dp_nic_new(DpGuest *guest, unsigned slot, uint64_t features);

/* The same in steps */
DpNic *dp_nic_probe(DpGuest *guest, unsigned slot);
void dp_nic_start(DpNic *nic, uint64_t features);
void dp_nic_use_msix(DpNic *nic);       /* before the start */
void dp_nic_reset(DpNic *nic);
void dp_nic_free(DpNic *nic);

uint8_t dp_nic_status(DpNic *nic);
bool dp_nic_link(DpNic *nic);

/* MSI-X: was there an interrupt since the last look? */
bool dp_queue_interrupted(DpNic *nic, unsigned queue);
bool dp_config_interrupted(DpNic *nic);

/* Rings */

/* Make a chain of @n buffers available, without telling.  Returns its head. */
uint16_t dp_add(DpQueue *q, const DpBuf *bufs, unsigned n);
uint16_t dp_add_indirect(DpQueue *q, const DpBuf *bufs, unsigned n);

/* The lower layer: descriptors, and an entry of the available ring */
void dp_set_desc(struct vring_desc *desc, uint64_t addr, uint32_t len,
                 uint16_t flags, uint16_t next);
void dp_add_head(DpQueue *q, uint16_t head);

/*
 * Publish what was added, and kick if the device wants to be told.  Returns
 * whether it was.
 */
bool dp_publish(DpQueue *q);
void dp_kick(DpQueue *q);

/* Take an element off the used ring; false if there is none */
bool dp_get_used(DpQueue *q, uint16_t *head, uint32_t *len);

/* Wait for an element */
uint16_t dp_wait_used(DpQueue *q, uint32_t *len);

void dp_set_no_interrupt(DpQueue *q, bool set);
void dp_set_used_event(DpQueue *q, uint16_t idx);

/* Frames */

/*
 * Send @frame from one buffer, with the virtio-net header @hdr (or none) in
 * front, and wait until it is used.
 */
void dp_transmit(DpNic *nic, const struct virtio_net_hdr *hdr,
                 const void *frame, size_t len);

/* Send a made-up frame and see that it arrives on @sock */
void dp_check_transmit(DpNic *nic, int sock, size_t len, unsigned seed);

/* Post @n receive buffers of @size bytes each; the address of the first */
uint64_t dp_post(DpNic *nic, unsigned n, size_t size);

/*
 * Wait for a frame that the device put into buffers of one descriptor each,
 * and copy it.  @hdr may be NULL.  Returns its length.
 */
size_t dp_receive(DpNic *nic, struct virtio_net_hdr_v1 *hdr, void *frame,
                  size_t size);

/* Give a made-up frame to @sock and see that it arrives; posts the buffer */
void dp_check_receive(DpNic *nic, int sock, size_t len, unsigned seed);

/* All together */

typedef struct DpSetup {
    const char *device;         /* more options of the device */
    uint64_t features;          /* more than the default ones */
    bool bare;                  /* no default ones */
} DpSetup;

/* A NIC on netdev vd0 and tap0, with a packet socket at the other end */
typedef struct DpRig {
    DpGuest *guest;
    QTestState *qts;
    DpNic *nic;
    DpQueue *rx, *tx;
    int sock;
    uint8_t *frame, *got;       /* DP_MAX_FRAME bytes each */
} DpRig;

#define DP_NETDEV \
    "-object vhost-dp-tap,id=tap0 -netdev vhost-dp,id=vd0,driver=tap0 "
#define DP_DEVICE \
    "-device virtio-net-pci,netdev=vd0,id=nic,addr=04.0,romfile=,"
#define DP_SLOT 4

DpRig *dp_rig_start(const DpSetup *setup, bool vnet_hdr);
DpRig *dp_rig_new(uint64_t features);
void dp_rig_free(DpRig *rig);

/* QMP */

/* The entry of netdev @id in query-vhost-dp, or NULL */
QDict *dp_query(QTestState *qts, const char *id);

/*
 * A counter of the first queue pair of netdev @id.  @name: of a member, or
 * "drop:REASON" or "violation:KIND".
 */
uint64_t dp_counter(QTestState *qts, const char *id, unsigned queue,
                    const char *name);
void dp_wait_counter(QTestState *qts, const char *id, unsigned queue,
                     const char *name, uint64_t value);
char *dp_queue_state(QTestState *qts, const char *id, unsigned queue);

/*
 * A response that must be an error, with a text that has all of the strings.
 * Frees it.
 */
void dp_check_error(QDict *response, ...) G_GNUC_NULL_TERMINATED;

/* Threads and descriptors of QEMU */
typedef struct DpUsage {
    unsigned fds;
    unsigned threads;
} DpUsage;

DpUsage dp_usage(QTestState *qts);

/* Wait until as much is in use as was before */
void dp_check_usage(QTestState *qts, DpUsage before);

#endif
