/*
 * vhost-dp: qtests, the guest's side of a virtio-net device
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A small virtio-net driver for split and packed virtqueues, with one or more
 * queue pairs.  Guest RAM is shared with the test, so that it
 * works on the rings at the same time as QEMU does, as a real guest would.
 * guest.c has the machine and the device, guest-mmio.c a device that is not on
 * PCI, guest-ring.c the rings, guest-rig.c frames and what most tests start
 * with, guest-qmp.c what QEMU says about all that.
 */

#ifndef TESTS_QTEST_VHOST_DP_GUEST_H
#define TESTS_QTEST_VHOST_DP_GUEST_H

#include <sys/resource.h>
#include "libqtest.h"
#include "libqos/generic-pcihost.h"
#include "libqos/libqos-malloc.h"
#include "libqos/virtio-mmio.h"
#include "libqos/virtio-pci.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_net.h"
#include "standard-headers/linux/virtio_ring.h"
#include "tests/vhost-dp/lib/virtq.h"
#include "driver-table.h"
#include "host.h"

#define DP_FEATURE(name) (1ull << (name))

/* What most tests negotiate */
#define DP_FEATURES_DEFAULT \
    (DP_FEATURE(VIRTIO_F_VERSION_1) | DP_FEATURE(VIRTIO_NET_F_MAC) | \
     DP_FEATURE(VIRTIO_NET_F_STATUS))

/* Size of the rings, where the driver may choose it and nothing else is said */
#define DP_RING_SIZE 64

#define DP_RAM_SIZE (64u * 1024 * 1024)

/* Guest-physical addresses behind which there is no RAM */
#define DP_GPA_UNMAPPED 0x80000000ull
#define DP_GPA_NOT_RAM  dp_gpa_not_ram()    /* a device's registers */

/* Of a queue pair: virtqueue 2 * pair + one of these */
enum { DP_RX, DP_TX };

#define DP_MAX_PAIRS 8
#define DP_MAX_QUEUES (2 * DP_MAX_PAIRS + 1)

typedef struct DpGuest DpGuest;

/* One buffer of a chain */
typedef struct DpBuf {
    uint64_t addr;
    uint32_t len;
    bool write;
} DpBuf;

/* A chain that the device has */
typedef struct DpChain {
    DpBuf first;
    uint16_t ndescs;            /* entries of the ring, 0: not in use */
} DpChain;

typedef struct DpQueue {
    QVirtQueuePCI pci;
    DpGuest *guest;
    bool packed, in_order;
    bool stock;                 /* virtio.c, which sets no F_WRITE when used */

    Virtq ring;

    uint16_t next_desc;         /* split: descriptors, packed: IDs, in turn */
    unsigned nfree;             /* descriptors */
    DpChain *chain;             /* by ID: of the head, or the buffer */
    uint16_t *order;            /* the IDs as they were added */
    unsigned nadded, ngot;
    bool in_batch;              /* IN_ORDER: up to this ID they are used */
    uint16_t batch_id;
    uint32_t batch_len;
} DpQueue;

/* One virtio-net device, with its driver */
typedef struct DpNic {
    DpGuest *guest;
    unsigned slot;
    QVirtioPCIDevice *pci;      /* one of the two */
    QVirtioMMIODevice *mmio;
    QVirtioDevice *vdev;
    bool late;                  /* rings are set up after DRIVER_OK */
    uint64_t features;
    size_t hdr_len;
    unsigned ring_size;         /* where the driver may choose it */
    unsigned max_pairs;         /* that were set up */
    uint64_t ring_at[DP_MAX_QUEUES];    /* where rings are; 0: anywhere */
    DpQueue queue[DP_MAX_QUEUES];
    DpQueue *ctrl;              /* one of them, or NULL */
} DpNic;

struct DpGuest {
    QTestState *qts;
    QGuestAllocator alloc;
    QPCIBus *bus;
    QGenericPCIHost virt;       /* machine virt has this one */
    uint64_t ram_at;            /* guest-physical */
    uint8_t *ram;
    int ram_fd;
    /* More memory that the test has mapped, see dp_host() */
    uint8_t *more;
    uint64_t more_at;
    size_t more_size;
    bool packed;                /* NICs have packed virtqueues */
    bool mmio;                  /* no PCI bus */
};

/**
 * dp_guest_new: start QEMU with more options
 *
 * The machine is a PC, or virt for AArch64; slots from 4 on are free.  In a
 * test of packed virtqueues (dp_add_ring_test()) all virtio-net devices offer
 * them, and dp_nic_start() negotiates them if it does VIRTIO_F_VERSION_1.
 *
 * The environment variable VHOST_DP_QTEST_TAP_DRIVER names another driver for
 * tap interfaces that is to be used in place of vhost-dp-tap (tests/nested).
 */
DpGuest *dp_guest_new(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* The same with the QEMU binary in environment variable @var */
DpGuest *dp_guest_new_env(const char *var, const char *options);

/*
 * The same with out-of-band commands (exec-oob), for the destination of a
 * migration.  The environment variable QTEST_QEMU_BINARY_DST, if there is one,
 * names its QEMU, which may be of another version.
 */
DpGuest *dp_guest_new_oob(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/*
 * The same without PCI: machine microvm, or virt.  NICs are virtio-net-device,
 * and dp_nic_probe() finds one whatever its slot.
 */
DpGuest *dp_guest_new_mmio(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/*
 * One of these: @mmio as of dp_guest_new_mmio(), @oob as of dp_guest_new_oob();
 * @var may be NULL; @split_ram: RAM is in two pieces of the same size.
 */
DpGuest *dp_guest_new_on(bool mmio, const char *var, const char *options,
                         bool split_ram, bool oob);

void dp_guest_free(DpGuest *guest);

/* The machine alone, for tests that need no guest.  @var may be NULL. */
QTestState *dp_qemu_new(const char *var);

/* What -M takes.  VHOST_DP_QTEST_MACHINE in the environment is another one. */
const char *dp_machine(void);

uint64_t dp_gpa_not_ram(void);

/*
 * Options for QEMU to run under KVM, whose interrupts of PCI devices take other
 * ways, with a vCPU that does nothing; or NULL, and the test is skipped.  If
 * KVM does not work after all, QEMU does without.
 */
const char *dp_kvm_options(void);

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

/* For dp_nic_probe() and its like: the NIC of a guest without PCI */
void dp_mmio_probe(DpNic *nic);
void dp_mmio_set_queue_size(DpNic *nic, uint16_t size);
void dp_mmio_enable_queue(DpNic *nic);

/* MSI-X: was there an interrupt since the last look? */
bool dp_queue_interrupted(DpNic *nic, unsigned queue);
bool dp_config_interrupted(DpNic *nic);

/* Section 5.1.6.5: a command on the control queue.  Returns the answer. */
uint8_t dp_nic_ctrl(DpNic *nic, uint8_t class, uint8_t command,
                    const void *data, size_t len);

/* Section 5.1.6.5.5: use the first @n queue pairs; needs VIRTIO_NET_F_MQ */
void dp_nic_set_pairs(DpNic *nic, unsigned n);

/*
 * Section 4.1.4.3.2 (queue_reset): take one queue away from the device, and
 * set it up again, empty; needs VIRTIO_F_RING_RESET.
 */
void dp_queue_reset(DpNic *nic, unsigned queue);
void dp_queue_restart(DpNic *nic, unsigned queue);

/* Rings: the same functions for split and packed ones */

/* @at: where in guest memory, or 0 for any place */
void dp_ring_init(DpQueue *q, uint64_t at);
void dp_ring_destroy(DpQueue *q);

/*
 * Make a chain of @n buffers available, without telling.  Returns its ID: the
 * head (split), or the buffer ID (packed).
 */
uint16_t dp_add(DpQueue *q, const DpBuf *bufs, unsigned n);
uint16_t dp_add_indirect(DpQueue *q, const DpBuf *bufs, unsigned n);

/* The same again, for a used chain of one buffer */
uint16_t dp_add_again(DpQueue *q, uint16_t id);

/* The first buffer of a chain; also after it was used */
const DpBuf *dp_first_buf(const DpQueue *q, uint16_t id);

/* An indirect table, and a descriptor that refers to one, right or wrong */
uint64_t dp_make_table(DpQueue *q, const DpBuf *bufs, unsigned n);
uint16_t dp_add_table(DpQueue *q, uint64_t table, uint32_t size);

/* DpQueue.ring and virtq.h are the lower layer, for what no driver would do */

/*
 * Publish what was added, and kick if the device wants to be told.  Returns
 * whether it was.
 */
bool dp_publish(DpQueue *q);

/* The same without a kick; may be called by any thread of the test */
void dp_publish_quietly(DpQueue *q);

void dp_kick(DpQueue *q);

/*
 * Would it kick for one more chain?  A receive queue wants that while a frame
 * waits for buffers, and not from when a frame was received until then.
 */
bool dp_wants_kick(DpQueue *q);

/* Is there a used chain? */
bool dp_has_used(DpQueue *q);

/* Take a used chain off the ring; false if there is none */
bool dp_get_used(DpQueue *q, uint16_t *id, uint32_t *len);

/* Wait for one */
uint16_t dp_wait_used(DpQueue *q, uint32_t *len);

void dp_set_no_interrupt(DpQueue *q, bool set);

/*
 * EVENT_IDX: an interrupt for the @n-th used chain from now on; in a packed
 * ring all chains have one descriptor.
 */
void dp_set_used_event(DpQueue *q, unsigned n);

/* Frames */

/*
 * Send @frame from one buffer, with the virtio-net header @hdr (or none) in
 * front, and wait until it is used.
 */
void dp_transmit(DpNic *nic, const struct virtio_net_hdr *hdr,
                 const void *frame, size_t len);
void dp_transmit_on(DpNic *nic, unsigned pair,
                    const struct virtio_net_hdr *hdr, const void *frame,
                    size_t len);

/* Send a made-up frame and see that it arrives on @sock */
void dp_check_transmit(DpNic *nic, int sock, size_t len, unsigned seed);
void dp_check_transmit_on(DpNic *nic, unsigned pair, int sock, size_t len,
                          unsigned seed);

/* Post @n receive buffers of @size bytes each; the address of the first */
uint64_t dp_post(DpNic *nic, unsigned n, size_t size);
uint64_t dp_post_on(DpNic *nic, unsigned pair, unsigned n, size_t size);

/*
 * Wait for a frame that the device put into buffers of one descriptor each,
 * and copy it.  @hdr may be NULL.  Returns its length.
 */
size_t dp_receive(DpNic *nic, struct virtio_net_hdr_v1 *hdr, void *frame,
                  size_t size);
size_t dp_receive_on(DpNic *nic, unsigned pair, struct virtio_net_hdr_v1 *hdr,
                     void *frame, size_t size);

/* Give a made-up frame to @sock and see that it arrives; posts the buffer */
void dp_check_receive(DpNic *nic, int sock, size_t len, unsigned seed);

/* All together */

typedef struct DpSetup {
    const char *device;         /* more options of the device */
    const char *more;           /* of QEMU */
    uint64_t features;          /* more than the default ones */
    bool bare;                  /* no default ones */
    unsigned pairs;             /* 0 means 1, without VIRTIO_NET_F_MQ */
    bool null;                  /* vhost-dp-null instead of a tap */
    const char *driver;         /* more options of the driver */
    /* Options of a vhost-dp-throttle, lim0, on top of the driver, or NULL */
    const char *filter;
    /* Options of a vhost-dp-dump, dump0, on top of that, or NULL */
    const char *dump;
    const char *netdev;         /* more options of the netdev */
    bool msix;
    bool mmio;                  /* as dp_guest_new_mmio() */
    bool late;                  /* see DpNic */
    unsigned ring_size;         /* 0 means DP_RING_SIZE */
    bool split_ram;             /* RAM is in two pieces of the same size */
    const char *qemu;           /* dp_qemu_*(), or NULL */
    bool oob;                   /* as dp_guest_new_oob() */
    const char *options;        /* what is in front of the netdev, or NULL */
    unsigned slot;              /* 0 means DP_SLOT */
    /* Called before the NIC is looked for, or NULL */
    void (*prepare)(DpGuest *guest, void *opaque);
    void *opaque;
} DpSetup;

/*
 * A NIC on netdev vd0 and a tap, tap0, with a packet socket at the other end;
 * or on vhost-dp-null, null0.
 */
typedef struct DpRig {
    DpGuest *guest;
    QTestState *qts;
    DpNic *nic;
    DpQueue *rx, *tx;           /* of the first queue pair */
    unsigned pairs;
    const char *options;        /* as in DpSetup */
    const char *device;
    uint64_t features;
    int sock;                   /* -1: none */
    uint8_t *frame, *got;       /* DP_MAX_FRAME bytes each */
} DpRig;

#define DP_NETDEV \
    "-object vhost-dp-tap,id=tap0 -netdev vhost-dp,id=vd0,driver=tap0 "
#define DP_DEVICE \
    "-device virtio-net-pci,netdev=vd0,id=nic,addr=04.0,romfile=,"
#define DP_SLOT 4
#define DP_MMIO_DEVICE "-device virtio-net-device,netdev=vd0,id=nic,"

DpRig *dp_rig_start(const DpSetup *setup, bool vnet_hdr);

/* The same with the socket on @ifname, or none if it is NULL */
DpRig *dp_rig_start_on(const DpSetup *setup, const char *ifname, bool vnet_hdr);
DpRig *dp_rig_new(uint64_t features);
void dp_rig_free(DpRig *rig);

/* Reset the device and start it again as it was */
void dp_rig_restart(DpRig *rig);

/*
 * The driver goes on, as it is, in the QEMU and the RAM of @other, which gets
 * those that it had; the socket stays.
 */
void dp_rig_swap(DpRig *rig, DpGuest *other);

/* End QEMU, and keep RAM and driver for dp_rig_swap() */
void dp_rig_quit(DpRig *rig);

/*
 * The guest sends on all queue pairs, @fn happens to interface @name meanwhile,
 * and the link goes down with @word in the reason.  No frame is left behind.
 */
void dp_change_under_traffic(DpRig *rig, void (*fn)(const char *name),
                             const char *name, const char *word);

/* QMP */

/* The entry of netdev @id in query-vhost-dp, or NULL */
QDict *dp_query(QTestState *qts, const char *id);

/*
 * A counter of virtqueue @queue of netdev @id.  @name: of a member, or
 * "drop:REASON" or "violation:KIND".
 */
uint64_t dp_counter(QTestState *qts, const char *id, unsigned queue,
                    const char *name);
void dp_wait_counter(QTestState *qts, const char *id, unsigned queue,
                     const char *name, uint64_t value);

/* A counter of one of its filters, of which 0 is the one on top */
uint64_t dp_filter_counter(QTestState *qts, const char *id, unsigned filter,
                           const char *name);

char *dp_queue_state(QTestState *qts, const char *id, unsigned queue);

/*
 * Has the link of netdev vd0 this state, its reason this word in it, if @word
 * is not NULL, and has the rig's NIC, if there is one, seen it?
 */
bool dp_link_is(DpRig *rig, bool up, const char *word);

/*
 * A response that must be an error, with a text that has all of the strings.
 * Frees it.
 */
void dp_check_error(QDict *response, ...) G_GNUC_NULL_TERMINATED;

/* A command, as JSON, that must fail, in a QEMU with a vhost-dp-null, null0 */
typedef struct DpBadCommand {
    const char *name;           /* of the test */
    const char *command;
    const char *texts[3];       /* that are in the error; NULL ends them */
} DpBadCommand;

/* Add tests "PREFIX/NAME" of the function, for dp_check_bad_command() */
void dp_add_bad_commands(const char *prefix, const DpBadCommand *commands,
                         unsigned n, void (*fn)(const void *command));
void dp_check_bad_command(const void *command);

/* A command, as JSON, that must succeed */
void dp_run_good(QTestState *qts, const char *command);

/* Netdev vd0 moves to another driver, which has to work; or the response */
void dp_set_driver(QTestState *qts, const char *driver);
QDict *dp_try_set_driver(QTestState *qts, const char *driver);
void dp_check_driver(QTestState *qts, const char *driver);

/* A netdev on a TAP interface of its own, 'good', can be added and deleted */
void dp_check_goes_on(QTestState *qts);

/* Sends @n descriptors as 'a', 'b', ..., and closes them here */
void dp_send_fds(QTestState *qts, const int *fd, unsigned n);

/* Those that nobody asked for are still the monitor's: closes them there */
void dp_close_fds(QTestState *qts, unsigned n);

/* Wait until the IOThreads have attached all drivers, or say why not */
void dp_wait_settled(QTestState *qts);

/* Threads and descriptors of QEMU, those that IOThreads open included */
typedef struct DpUsage {
    unsigned fds;
    unsigned threads;
} DpUsage;

DpUsage dp_usage(QTestState *qts);

/* Wait until as much is in use as was before */
void dp_check_usage(QTestState *qts, DpUsage before);

/*
 * Let QEMU have @left more descriptors than it has.  Returns its limit of
 * before, for dp_set_limit_fds().
 */
struct rlimit dp_limit_fds(QTestState *qts, unsigned left);
void dp_set_limit_fds(QTestState *qts, struct rlimit limit);

/* Bytes of private memory, but for what is executable */
size_t dp_heap(QTestState *qts);

/*
 * How often to repeat what may leak: @n times, or as often as the environment
 * says (VHOST_DP_QTEST_ROUNDS).
 */
unsigned dp_rounds(unsigned n);

#endif
